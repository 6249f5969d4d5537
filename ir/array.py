# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (arrays of any dtype)
"""Constant data inside a graph."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

_INLINE = 16  # elements up to which a constant prints as its numbers
_large: WeakValueDictionary[str, Array] = WeakValueDictionary()


class Array:
    """An immutable NumPy array with equality by content; nan equals nan.

    Small ones print as numbers.  A large one prints as ``blob("…")``, the hash of its content;
    while it lives in the process the parser finds it by that hash.
    """

    def __init__(self, values: Any) -> None:
        self.values: np.ndarray[Any, Any] = np.array(values, order="C", copy=True)
        if self.is_inline and self.values.dtype.kind in "fV":  # bfloat16 is a V
            self.values[self.values != self.values] = np.nan  # one nan, as in the text
        self.values.setflags(write=False)
        if not self.is_inline:
            _large[self.digest] = self

    @property
    def is_inline(self) -> bool:
        return self.values.size <= _INLINE

    @cached_property
    def digest(self) -> str:
        head = f"{self.values.dtype.name}{self.values.shape}".encode()
        return hashlib.sha256(head + self.values.tobytes()).hexdigest()[:32]

    def uniform(self) -> float | int | bool | None:
        """The one number that fills the array, or None; 0.0 and -0.0 are two."""
        return self._filled_with

    @cached_property
    def _filled_with(self) -> float | int | bool | None:
        if self.values.size == 0:
            return None
        bits = self.values.view(f"u{self.values.itemsize}")
        return self.values.flat[0].item() if (bits == bits.flat[0]).all() else None

    def __str__(self) -> str:
        if not self.is_inline:
            return f'blob("{self.digest}")'
        if self.values.ndim == 0:
            return _number(self.values[()])
        return "[" + ", ".join(_number(value) for value in self.values.flat) + "]"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Array)
            and self.values.dtype == other.values.dtype
            and self.values.shape == other.values.shape
            and str(self) == str(other)
        )

    def __hash__(self) -> int:
        return hash((str(self), self.values.shape))


def large(digest: str) -> Array | None:
    """The living array with that hash."""
    return _large.get(digest)


def _number(value: Any) -> str:
    """The shortest text that reads back as exactly `value`."""
    if isinstance(value, np.bool_):
        return "true" if value else "false"
    if not isinstance(value, np.integer):  # bfloat16 is no np.floating
        short = str(value) if isinstance(value, np.floating) else repr(float(str(value)))
        return (
            short if np.isnan(value) or type(value)(float(short)) == value else repr(float(value))
        )
    return str(value)
