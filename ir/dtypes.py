"""Data types: their names, sizes and promotion.

Names follow the Python array API standard (``float32``); the text form uses the short name
(``f32``).  Promotion is the standard's: within a kind the wider type wins, a signed and an
unsigned integer meet in the next wider signed one, and kinds never mix silently.  float16 and
bfloat16, of which neither holds the other, meet in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import DTypeError


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """An element type: ``kind`` is one of ``b`` bool, ``i`` signed, ``u`` unsigned, ``f`` float.

    Equal to what names it as well: ``x.dtype == "float32"``, ``x.dtype == np.float32``.
    """

    name: str
    short: str
    kind: str
    bits: int

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, (str, type, np.dtype)):
            try:
                other = as_dtype(other)  # pyright: ignore[reportUnknownArgumentType]
            except DTypeError:
                return False
        return isinstance(other, DType) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def bytes(self) -> int:
        return max(self.bits // 8, 1)

    @property
    def numpy(self) -> np.dtype[Any]:
        """NumPy's dtype; bfloat16, which NumPy lacks, is that of ml_dtypes, imported here."""
        if self.name == "bfloat16":
            from ml_dtypes import bfloat16 as extension

            return np.dtype(extension)
        return np.dtype(self.name)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The same, under the name by which NumPy asks for it: ``np.ones(3, gl.bfloat16)``."""
        return self.numpy

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_half(self) -> bool:
        """Whether values are only stored so, and computed with in float32 (see `half`)."""
        return self.kind == "f" and self.bits == 16

    @property
    def digits(self) -> int:
        """Binary digits: integers up to 2**digits are exact."""
        if self.kind != "f":
            return self.bits - (self.kind == "i")
        return {"f16": 11, "bf16": 8, "f32": 24, "f64": 53}[self.short]

    @property
    def lowest(self) -> bool | int | float:
        """What is below no other value: False, the least integer, −∞."""
        if self.kind == "b":
            return False
        return -math.inf if self.kind == "f" else -(2**self.digits) * (self.kind == "i")

    @property
    def highest(self) -> bool | int | float:
        """What is above no other value: True, the greatest integer, +∞."""
        if self.kind == "b":
            return True
        return math.inf if self.kind == "f" else 2**self.digits - 1

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
float16, float32, float64 = (DType(f"float{n}", f"f{n}", "f", n) for n in (16, 32, 64))
bfloat16 = DType("bfloat16", "bf16", "f", 16)

INTEGERS = (int8, int16, int32, int64, uint8, uint16, uint32, uint64)
HALVES = (float16, bfloat16)
ALL = (bool_, *INTEGERS, *HALVES, float32, float64)
BY_SHORT = {dtype.short: dtype for dtype in ALL}
BY_NAME = {dtype.name: dtype for dtype in ALL}

DTypeLike = DType | str | type | np.dtype[Any]


def as_dtype(value: DTypeLike) -> DType:
    """The DType that `value` names: a DType, a name, a short name or anything NumPy accepts.

    Raises DTypeError for a type the project does not have (complex, objects).
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, str) and (value in BY_SHORT or value in BY_NAME):
        return BY_SHORT.get(value) or BY_NAME[value]
    try:
        if value is None or (isinstance(value, str) and not value.isalnum()):  # pyright: ignore[reportUnnecessaryComparison]
            raise TypeError  # NumPy takes None for float64, and a string for a list of fields
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
    if left.is_half and right.is_half:
        return float32
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


def holds(target: DType, source: DType) -> bool:
    """Whether every value of `source` is one of `target`, so that a cast there and back is none."""
    if target == source or source.kind == "b":
        return True
    if target.digits < source.digits:
        return False
    if target.is_float:
        return (source, target) != (bfloat16, float16)  # float16 has the digits, not the range
    return source.is_integer and (source.kind == "u" or target.kind == "i")
