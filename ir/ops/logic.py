# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: comparisons, tests, logic, and choice.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

import numpy as np

from .. import dtypes as dt
from ..op import TABLE
from ..tensor import Tensor, TensorLike
from .build import call_elementwise, elementwise
from .conversion import astype

__all__ = [
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "equal",
    "greater",
    "greater_equal",
    "invert",
    "isfinite",
    "isinf",
    "isnan",
    "left_shift",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "right_shift",
    "signbit",
    "where",
]

_INTEGER = "its result is no float"


def _never(x: Tensor) -> Tensor:
    return not_equal(x, x)


def _always(x: Tensor) -> Tensor:
    return equal(x, x)


@elementwise("isnan(x)", np.isnan, dtypes="test", no_gradient=_INTEGER, integers=_never)
def isnan(x: TensorLike) -> Tensor:
    """Whether x is nan; an integer is not."""
    ...


@elementwise("isinf(x)", np.isinf, dtypes="test", no_gradient=_INTEGER, integers=_never)
def isinf(x: TensorLike) -> Tensor:
    """Whether x is inf or −inf; an integer is not."""
    ...


@elementwise("isfinite(x)", np.isfinite, dtypes="test", no_gradient=_INTEGER, integers=_always)
def isfinite(x: TensorLike) -> Tensor:
    """Whether x is neither nan nor infinite; an integer always is."""
    ...


@elementwise("signbit(x)", np.signbit, dtypes="test", no_gradient=_INTEGER)
def signbit(x: TensorLike) -> Tensor:
    """Whether the sign bit of x is set: of negative numbers, of −0 and of some nan."""
    ...


@elementwise("x == y", np.equal, dtypes="equal", no_gradient=_INTEGER, commutative=True)
def equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x = y."""
    ...


@elementwise("x != y", np.not_equal, dtypes="equal", no_gradient=_INTEGER, commutative=True)
def not_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x ≠ y."""
    ...


@elementwise("x < y", np.less, dtypes="compare", no_gradient=_INTEGER)
def less(x: TensorLike, y: TensorLike) -> Tensor:
    """x < y."""
    ...


@elementwise("x <= y", np.less_equal, dtypes="compare", no_gradient=_INTEGER)
def less_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x ≤ y."""
    ...


@elementwise("x > y", np.greater, dtypes="compare", no_gradient=_INTEGER)
def greater(x: TensorLike, y: TensorLike) -> Tensor:
    """x > y."""
    ...


@elementwise("x >= y", np.greater_equal, dtypes="compare", no_gradient=_INTEGER)
def greater_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x ≥ y."""
    ...


@elementwise("x & y", np.bitwise_and, dtypes="bitwise", no_gradient=_INTEGER, commutative=True)
def bitwise_and(x: TensorLike, y: TensorLike) -> Tensor:
    """Bitwise and; on bool the logical one."""
    ...


@elementwise("x | y", np.bitwise_or, dtypes="bitwise", no_gradient=_INTEGER, commutative=True)
def bitwise_or(x: TensorLike, y: TensorLike) -> Tensor:
    """Bitwise or; on bool the logical one."""
    ...


@elementwise("x ^ y", np.bitwise_xor, dtypes="bitwise", no_gradient=_INTEGER, commutative=True)
def bitwise_xor(x: TensorLike, y: TensorLike) -> Tensor:
    """Bitwise exclusive or."""
    ...


@elementwise("~x", np.invert, dtypes="bitwise", no_gradient=_INTEGER)
def bitwise_invert(x: TensorLike) -> Tensor:
    """Bitwise not; on bool the logical one."""
    ...


@elementwise("x << y", np.left_shift, dtypes="integer", no_gradient=_INTEGER)
def bitwise_left_shift(x: TensorLike, y: TensorLike) -> Tensor:
    """x · 2ʸ, which wraps; 0 where y is negative or not below the number of bits."""
    ...


@elementwise("x >> y", np.right_shift, dtypes="integer", no_gradient=_INTEGER)
def bitwise_right_shift(x: TensorLike, y: TensorLike) -> Tensor:
    """⌊x / 2ʸ⌋; where y is negative or not below the number of bits 0, or −1 of negative x."""
    ...


@elementwise(
    "where(condition, x, y)",
    np.where,
    lambda c, x, y, z: [None, c, ~c],
    dtypes="where",
)
def where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """x where the bool `condition` holds, else y."""
    ...


def logical_and(x: TensorLike, y: TensorLike) -> Tensor:
    """x and y, of bools."""
    return _logical("bitwise_and", x, y)


def logical_or(x: TensorLike, y: TensorLike) -> Tensor:
    """x or y, of bools."""
    return _logical("bitwise_or", x, y)


def logical_xor(x: TensorLike, y: TensorLike) -> Tensor:
    """Either x or y, of bools."""
    return _logical("bitwise_xor", x, y)


def logical_not(x: TensorLike) -> Tensor:
    """Not x, of bools."""
    return _logical("bitwise_invert", x)


def _logical(name: str, *values: TensorLike) -> Tensor:
    return call_elementwise(TABLE[name], [astype(value, dt.bool_) for value in values])


bitwise_not = invert = bitwise_invert
left_shift = bitwise_left_shift
right_shift = bitwise_right_shift
