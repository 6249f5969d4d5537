"""Data types: their names, sizes and promotion.

Names follow the Python array API standard (``float32``); the text form uses the short name
(``f32``).  Promotion is the standard's: within a kind the wider type wins, a signed and an
unsigned integer meet in the next wider signed one, and kinds never mix silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import DTypeError


@dataclass(frozen=True, slots=True)
class DType:
    """An element type: ``kind`` is one of ``b`` bool, ``i`` signed, ``u`` unsigned, ``f`` float."""

    name: str
    short: str
    kind: str
    bits: int

    @property
    def bytes(self) -> int:
        return max(self.bits // 8, 1)

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.name)

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    def __str__(self) -> str:
        return self.short

    def __repr__(self) -> str:
        return self.name


bool_ = DType("bool", "bool", "b", 1)
int8, int16, int32, int64 = (DType(f"int{n}", f"i{n}", "i", n) for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (DType(f"uint{n}", f"u{n}", "u", n) for n in (8, 16, 32, 64))
float32, float64 = (DType(f"float{n}", f"f{n}", "f", n) for n in (32, 64))

ALL = (bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64)
BY_SHORT = {dtype.short: dtype for dtype in ALL}
BY_NAME = {dtype.name: dtype for dtype in ALL}

DTypeLike = DType | str | type | np.dtype[Any]


def as_dtype(value: DTypeLike) -> DType:
    """The DType that `value` names: a DType, a name, a short name or anything NumPy accepts.

    Raises DTypeError for a type the project does not have (float16, complex, objects).
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, str) and value in BY_SHORT:
        return BY_SHORT[value]
    try:
        name = np.dtype(value).name
    except TypeError:
        raise DTypeError(f"{value!r} is no data type") from None
    if name not in BY_NAME:
        raise DTypeError(f"dtype {name} is not supported; have {', '.join(BY_NAME)}")
    return BY_NAME[name]


def promote(left: DType, right: DType) -> DType:
    """The standard's common type of two arrays; DTypeError where the kinds differ."""
    if left == right:
        return left
    if left.kind == right.kind:
        return left if left.bits > right.bits else right
    if left.is_integer and right.is_integer:
        signed, unsigned = (left, right) if left.kind == "i" else (right, left)
        bits = max(signed.bits, 2 * unsigned.bits)
        if bits <= 64:
            return BY_SHORT[f"i{bits}"]
    raise DTypeError(
        f"{left} and {right} do not promote to a common type; cast one of them with .astype"
    )
