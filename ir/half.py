# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (arrays of any dtype)
"""float16 and bfloat16: formats to store numbers in, with the arithmetic of float32.

An op on halves takes its operands to float32, which is exact, computes there, and rounds its result
once, to the nearest half, ties to even.  This module says which ops that concerns and how NumPy
does it, for the reference interpreter; ``compiler/widen.py`` makes the same explicit in a graph.
Rounding is the one of IEEE 754: subnormal results are kept, what is too large becomes infinite,
nan stays nan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .dtypes import DType, bfloat16, float16, float32

if TYPE_CHECKING:
    from .tensor import Node

NumpyArray = np.ndarray[Any, Any]

# What only moves values, or holds graphs in which others compute.
_MOVING = ("leaf", "view", "order", "gather", "concat", "region", "request")


def computes_in_float32(node: Node) -> bool:
    """Whether `node` has an operand or a result of halves and does more than move numbers.

    A cast is not among them: it is what the others are made explicit with.
    """
    op = node.op
    if op.kind in _MOVING or op.name == "cast" or op.code == "x" or op.dtypes == "where":
        return False
    return any(tensor.dtype.is_half for tensor in (*node.operands, *node.results))


def wide_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes with float32 in place of a half."""
    return {
        key: float32 if isinstance(value, DType) and value.is_half else value
        for key, value in attrs.items()
    }


def widened(array: NumpyArray) -> NumpyArray:
    """Halves as float32, exactly; anything else as it is."""
    if array.dtype.itemsize != 2 or array.dtype.kind in "iub":
        return array
    with np.errstate(invalid="ignore"):  # of a nan that signals
        return array.astype(np.float32)


def is_finite(array: NumpyArray) -> bool:
    """Whether an array holds neither nan nor infinity."""
    return array.dtype.kind in "iub" or bool(np.isfinite(widened(array)).all())


def converted(array: NumpyArray, dtype: DType) -> NumpyArray:
    """`array` as `dtype`, by NumPy's rules, but that halves are rounded once from any dtype."""
    if array.dtype == dtype.numpy:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype == float16:
            return widened(array).astype(np.float16)
        if dtype == bfloat16:
            return _one_step_short(widened(array)).astype(dtype.numpy)
        return widened(array).astype(dtype.numpy)


def may_become(source: np.dtype[Any], target: DType) -> bool:
    """Whether numbers of that dtype may be given for `target`: of its kind or a lower one.

    ml_dtypes would let complex numbers become bfloat16.
    """
    plain = np.dtype(np.float32)
    wanted = plain if target == bfloat16 else target.numpy
    return np.can_cast(plain if source.name == "bfloat16" else source, wanted, "same_kind")


def _one_step_short(array: NumpyArray) -> NumpyArray:
    """Numbers as float32 that round to the same bfloat16 as they do themselves.

    Rounding twice to nearest can go wrong at a tie that the first rounding makes.  Rounding to odd
    first is safe (Boldo and Melquiond 2008): towards zero, with the last bit set if that was
    inexact, so that a tie stays one only where it is.
    """
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:  # to odd, at 2**12
        large = (array >= 2**53) | (array <= -(2**53) if array.dtype.kind == "i" else False)
        number = array.dtype.type
        odd = (array & ~number(4095)) | np.where(array & number(4095), number(4096), number(0))
        array = np.where(large, odd, array)
    exact = array.astype(np.float64)
    near = exact.astype(np.float32)
    back = near.astype(np.float64)
    bits = near.view(np.uint32) - (np.abs(back) > np.abs(exact))
    inexact = (back != exact) & ~np.isnan(exact)
    return (bits.astype(np.uint32) | inexact).view(np.float32)


def fits(array: np.ndarray[Any, Any], wanted: DType) -> bool:
    """Whether Python numbers, read as `array`, may become `wanted`: in its range or kind."""
    if array.size == 0:
        return True
    if array.dtype.kind in "iu" and wanted.kind in "iu":
        limits = np.iinfo(wanted.numpy)
        return limits.min <= int(array.min()) and int(array.max()) <= limits.max
    return may_become(array.dtype, wanted)
