"""The standard's functions of data types: what they hold, and what comes of two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import DType, DTypeLike, as_dtype, promote
from ..errors import ArgumentError, DTypeError
from ..tensor import Tensor, TensorLike
from .build import as_tensors, is_weak

__all__ = ["can_cast", "finfo", "iinfo", "isdtype", "result_type"]


@dataclass(frozen=True)
class FloatInfo:
    """bits: of a number.  eps: from 1 to the next number.  smallest_normal: below it digits go."""

    dtype: DType
    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float


@dataclass(frozen=True)
class IntegerInfo:
    """bits: of a number.  max, min: the greatest and the least."""

    dtype: DType
    bits: int
    max: int
    min: int


def _dtype_of(value: Any) -> DType:
    """The dtype of a tensor or an array, or the one that `value` names."""
    if isinstance(value, Tensor):
        return value.dtype
    own: DTypeLike = value if isinstance(value, DType) else getattr(value, "dtype", value)
    return as_dtype(own)


def finfo(dtype: DTypeLike | Tensor) -> FloatInfo:
    """Limits of a float dtype (or of a tensor's): bits, eps, max, min, smallest_normal, dtype.

    Raises DTypeError for others.
    """
    own = _dtype_of(dtype)
    if not own.is_float:
        raise DTypeError(f"needs a float dtype, got {own}; iinfo is for integers")
    largest = 2 ** (own.bits - own.digits - 1) - 1  # exponent: the rest of the bits, but the sign
    eps = 2.0 ** (1 - own.digits)
    top = (2 - eps) * 2.0**largest
    return FloatInfo(own, own.bits, eps, top, -top, 2.0 ** (1 - largest))


def iinfo(dtype: DTypeLike | Tensor) -> IntegerInfo:
    """Limits of an integer dtype (or of a tensor's): bits, max, min, dtype.

    Raises DTypeError for others.
    """
    own = _dtype_of(dtype)
    if not own.is_integer:
        raise DTypeError(f"needs an integer dtype, got {own}; finfo is for floats")
    return IntegerInfo(own, own.bits, int(own.highest), int(own.lowest))


_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "",
    "numeric": "iuf",
}


def isdtype(dtype: DTypeLike, kind: DTypeLike | tuple[Any, ...]) -> bool:
    """Whether `dtype` is `kind`, a dtype or a name of the standard, or one of a tuple of those.

    The names: "bool", "signed integer", "unsigned integer", "integral", "real floating",
    "complex floating" (there are none), "numeric".  Raises DTypeError for other names.
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    own = as_dtype(dtype)
    if isinstance(kind, str) and kind in _KINDS:
        return own.kind in [*_KINDS[kind]]
    return own == as_dtype(kind)


def result_type(*arrays_and_dtypes: TensorLike | DTypeLike) -> DType:
    """The dtype that arrays, dtypes and Python scalars have together.

    Scalars are weak: they take the dtype of the others.  Raises DTypeError where two do not
    promote or a scalar does not fit, and ArgumentError without arguments.
    """
    if not arrays_and_dtypes:
        raise ArgumentError("needs at least one array or dtype")
    scalars = [value for value in arrays_and_dtypes if is_weak(value)]
    strong = [_dtype_of(value) for value in arrays_and_dtypes if not is_weak(value)]
    if not strong:
        return _promoted([tensor.dtype for tensor in as_tensors(scalars)])
    common = _promoted(strong)
    as_tensors([np.zeros((), common.numpy), *scalars])  # fails where a scalar does not fit
    return common


def _promoted(dtypes: list[DType]) -> DType:
    common = dtypes[0]
    for dtype in dtypes[1:]:
        common = promote(common, dtype)
    return common


def can_cast(from_: DTypeLike | Tensor, to: DTypeLike) -> bool:
    """Whether promotion alone may make a `to` of a `from_` (a dtype or an array): no kind changes,
    and nothing is lost."""
    source, target = _dtype_of(from_), as_dtype(to)
    try:
        return promote(source, target) == target
    except DTypeError:
        return False
