# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Linear recurrences: h[i] = a[i] · h[i−1] + b[i], in order along an axis.

Both modes of the derivative of a recurrence are recurrences again, one of them from the end.  So
are those of running products, extremes and log-sums (``cumulative.py``): there is no division by
an entry, which might be 0, and nothing overflows that the values themselves do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..op import MaybeTensors
from ..shapes import broadcast, normalise_axis, unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensors, constant, primitive
from .create import full
from .join import concat_
from .shape import broadcast_to, spread_batch
from .slicing import flip, slice_axis

__all__ = ["linear_recurrence"]


def same_type(x: TensorType, *, axis: int) -> TensorType:
    """The type rule of what has a value at every index of `axis`."""
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"axis {axis} is not one of {x.ndim} axes")
    return x


def floating_type(x: TensorType, *, axis: int) -> TensorType:
    """`same_type`, of floats."""
    if not x.dtype.is_float:
        raise DTypeError(f"needs a float dtype, got {x.dtype}")
    return same_type(x, axis=axis)


def _infer_recurrence(a: TensorType, b: TensorType, *, axis: int) -> TensorType:
    if a.dtype != b.dtype or a.ndim != b.ndim:
        raise DTypeError(f"needs two operands of one type, got {a} and {b}")
    pairs = zip(a.shape, b.shape, strict=True)
    shape = tuple(unify(m, n, f"sizes of axis {i}") for i, (m, n) in enumerate(pairs))
    return floating_type(TensorType(a.dtype, shape), axis=axis)


def _numpy_recurrence(a: Any, b: Any, axis: int) -> Any:
    wide = np.float64 if a.dtype == np.float32 else a.dtype
    factors, terms = (np.moveaxis(x.astype(wide), axis, 0) for x in (a, b))
    result = np.zeros_like(terms)
    state = np.zeros(terms.shape[1:], wide)
    for i, (factor, term) in enumerate(zip(factors, terms, strict=True)):
        state = result[i] = factor * state + term
    return np.moveaxis(result, 0, axis).astype(a.dtype)


def before(x: Tensor, axis: int, first: float) -> Tensor:
    """The entry one index before along `axis`, `first` at the beginning."""
    shape = tuple(1 if i == axis else size for i, size in enumerate(x.shape))
    start = full(shape, constant(first, x.dtype))
    return slice_axis(concat_(start, x, axis=axis), axis, 0, x.shape[axis])


def from_end(a: Tensor, cotangent: Tensor, axis: int) -> Tensor:
    """s[i] = cotangent[i] + a[i+1] · s[i+1]: the transpose of a recurrence in its terms b."""
    factors = before(flip(a, axis), axis, 0.0)
    return flip(linear_recurrence_(factors, flip(cotangent, axis), axis=axis), axis)


def _vjp_recurrence(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), axis = cotangents, node.attrs["axis"]
    if ct is None:
        return [None, None]
    terms = from_end(node.operands[0], ct, axis)
    return [terms * before(node.results[0], axis, 0.0), terms]


def _jvp_recurrence(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (da, db), axis = tangents, node.attrs["axis"]
    if da is not None:
        moved = da * before(node.results[0], axis, 0.0)
        db = moved if db is None else db + moved
    return [None if db is None else linear_recurrence_(node.operands[0], db, axis=axis)]


def batch_axis(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    """The same along the axis behind."""
    spread = spread_batch(operands, batched)
    return [Node(node.op, spread, {"axis": node.attrs["axis"] + 1}).results[0]]


CASES: Any = (
    ((5,), 0),
    ((3, 4), 1),
    ((3, 4), 0),
    ((2, 3, 4), 1),
    ((3, 40), 1),
    ((40, 3), 0),
    ((0, 4), 1),
    ((4, 0), 1),
    ((1, 3), 0),
)


@primitive(
    kind="cumulative",
    infer=_infer_recurrence,
    reference=_numpy_recurrence,
    vjp=_vjp_recurrence,
    jvp=_jvp_recurrence,
    batch=batch_axis,
    combine="fma",
    identity="zero",
    flops=2,
    samples=tuple(((shape, shape), {"axis": axis}) for shape, axis in CASES),
)
def linear_recurrence_(a: Tensor, b: Tensor, *, axis: int) -> Tensor:
    """h[i] = a[i] · h[i−1] + b[i] along `axis`, from h[−1] = 0 on."""
    ...


def linear_recurrence(
    a: TensorLike, b: TensorLike, axis: int = -1, reverse: bool = False
) -> Tensor:
    """h[i] = a[i] · h[i−1] + b[i] along `axis`, from h[−1] = 0 on, each step rounded once.

    a, b: floats, broadcast against each other.  reverse: from the end, h[i] = a[i] · h[i+1] + b[i].
    To begin with a value h₀, add a[0] · h₀ to b[0].  With a constant `a` this is an exponential
    moving sum; with a = 1 a cumulative one.
    """
    factors, terms = as_tensors([a, b])
    shape = broadcast([factors.shape, terms.shape])
    place = normalise_axis(axis, len(shape))
    operands = [broadcast_to(x, shape) for x in (factors, terms)]
    if not reverse:
        return linear_recurrence_(*operands, axis=place)
    return flip(linear_recurrence_(*(flip(x, place) for x in operands), axis=place), place)
