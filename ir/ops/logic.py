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
    "bitwise_or",
    "bitwise_xor",
    "equal",
    "greater",
    "greater_equal",
    "invert",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "where",
]

_INTEGER = "its result is no float"


@elementwise("isnan(x)", np.isnan, dtypes="test", no_gradient=_INTEGER)
def isnan(x: TensorLike) -> Tensor:
    """Whether x is nan."""
    ...


@elementwise("isinf(x)", np.isinf, dtypes="test", no_gradient=_INTEGER)
def isinf(x: TensorLike) -> Tensor:
    """Whether x is inf or −inf."""
    ...


@elementwise("isfinite(x)", np.isfinite, dtypes="test", no_gradient=_INTEGER)
def isfinite(x: TensorLike) -> Tensor:
    """Whether x is neither nan nor infinite."""
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


invert = bitwise_invert
