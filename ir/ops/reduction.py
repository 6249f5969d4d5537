# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Reductions.  In the graph a reduction keeps its axes as size 1: one form for every rule to meet.

``keepdims=False`` of the public functions is a reshape behind it.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import Shape, ceildiv, product
from ..errors import DTypeError, ShapeError
from ..op import TABLE, MaybeTensors, Op, register
from ..shapes import contiguous_strides, keep_axes, normalise_axes
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensor, primitive
from .conversion import accumulated, astype
from .create import iota
from .cumulative import product_of_others
from .logic import equal, isnan, where
from .shape import broadcast_to, reshape

__all__ = ["all", "amax", "amin", "any", "argmax", "argmin", "max", "min", "prod", "sum"]

Axis = int | Sequence[int] | None


def _reduced(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    if normalise_axes(axes, x.ndim) != axes:
        raise ShapeError(f"axes must be in order and counted from the front, got {axes}")
    return TensorType(x.dtype, keep_axes(x.shape, axes))


def _numeric(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    if x.dtype.kind == "b":
        raise DTypeError("needs a number dtype, got bool")
    return _reduced(x, axes=axes)


def _batch(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    axes = tuple(axis + 1 for axis in node.attrs["axes"])
    return [Node(node.op, operands, {"axes": axes}).results[0]]


_SAMPLES: tuple[Any, ...] = tuple(
    ((shape,), {"axes": axes})
    for shape, axes in [
        ((5,), (0,)),
        ((3, 4), (1,)),
        ((3, 4), (0,)),
        ((2, 3, 4), (1,)),
        ((2, 3, 4), (0, 2)),
        ((3, 40), (0, 1)),
        ((0, 4), (1,)),
        ((4, 0), (1,)),
        ((1, 1), (0,)),
        ((), ()),
    ]
)


def _sum(x: Any, axes: tuple[int, ...]) -> Any:
    """In float64, since NumPy adds up in order along any axis but the last."""
    wide = np.float64 if x.dtype.kind == "f" else x.dtype
    return np.sum(x, axes, dtype=wide, keepdims=True).astype(x.dtype)


def _prod(x: Any, axes: tuple[int, ...]) -> Any:
    return np.prod(x, axes, dtype=x.dtype, keepdims=True)


@primitive(
    kind="reduction",
    infer=_numeric,
    reference=_sum,
    linear=(0,),
    transpose=lambda node, cotangent, _: broadcast_to(cotangent, node.operands[0].shape),
    batch=_batch,
    combine="add",
    identity="zero",
    samples=_SAMPLES,
)
def sum_(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    """Σ over `axes`; 0 where they are empty."""
    ...


def _others(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Π over `axes` of all entries but the one itself: ∂Π/∂x, exact also where some are 0."""
    *rest, last = axes
    own = product_of_others(x, last)
    return own * _others(prod_(x, axes=(last,)), rest) if rest else own


def _vjp_prod(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), x, axes = cotangents, node.operands[0], node.attrs["axes"]
    return [ct if ct is None or not axes else ct * _others(x, axes)]


def _jvp_prod(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (t,), x, axes = tangents, node.operands[0], node.attrs["axes"]
    return [t if t is None or not axes else sum_(t * _others(x, axes), axes=axes)]


@primitive(
    kind="reduction",
    infer=_numeric,
    reference=_prod,
    vjp=_vjp_prod,
    jvp=_jvp_prod,
    batch=_batch,
    combine="multiply",
    identity="one",
    samples=_SAMPLES,
)
def prod_(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    """Π over `axes`; 1 where they are empty."""
    ...


def _winners(node: Node) -> Tensor:
    """True at the first entry that equals the result alone: where a derivative goes."""
    x, y, axes = node.operands[0], node.results[0], node.attrs["axes"]
    position = _position(x.shape, axes)
    beyond = product(x.shape[axis] for axis in axes)
    if isinstance(beyond, int) and beyond < 1 << 31:  # twice as many to a vector
        position = astype(position, dt.int32)
    first = min_(where(equal(x, y), position, beyond), axes=axes)  # beyond all where none is: nan
    return equal(position, first)


def _position(shape: Shape, axes: Sequence[int]) -> Tensor:
    """The flat index within the reduced axes, broadcast over the others."""
    strides = contiguous_strides(tuple(shape[axis] for axis in axes))
    result: Any = 0
    for axis, stride in zip(axes, strides, strict=True):
        sizes = tuple(size if i == axis else 1 for i, size in enumerate(shape))
        result = iota(shape=sizes, axis=axis) * stride + result
    return broadcast_to(as_tensor(result), shape)


def _winner_vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (cotangent,) = cotangents
    return [None if cotangent is None else where(_winners(node), cotangent, 0.0)]


def _winner_jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (tangent,) = tangents
    if tangent is None:
        return [None]
    return [sum_(where(_winners(node), tangent, 0.0), axes=node.attrs["axes"])]


def _limit(x: Any, name: str) -> Any:
    """The lowest or highest of x's dtype; a float may be wider than the project's own."""
    return getattr(dt.float64 if x.dtype.kind == "f" else dt.as_dtype(x.dtype), name)


@primitive(
    kind="reduction",
    infer=_reduced,
    reference=lambda x, axes: np.max(x, axes, keepdims=True, initial=_limit(x, "lowest")),
    vjp=_winner_vjp,
    jvp=_winner_jvp,
    batch=_batch,
    combine="maximum",
    identity="lowest",
    samples=_SAMPLES,
)
def max_(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    """The largest entry, nan if one is; the lowest value where `axes` are empty.

    The derivative goes to the first of equal winners.
    """
    ...


@primitive(
    kind="reduction",
    infer=_reduced,
    reference=lambda x, axes: np.min(x, axes, keepdims=True, initial=_limit(x, "highest")),
    vjp=_winner_vjp,
    jvp=_winner_jvp,
    batch=_batch,
    combine="minimum",
    identity="highest",
    samples=_SAMPLES,
)
def min_(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    """The smallest entry, nan if one is; the highest value where `axes` are empty."""
    ...


def squeeze_axes(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Drop `axes`, all of size 1."""
    return reshape(x, tuple(size for i, size in enumerate(x.shape) if i not in axes))


def _public(function: Any, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    axes = normalise_axes(axis, x.ndim)
    result = function(x, axes=axes) if axes else x
    return result if keepdims else squeeze_axes(result, axes)


def sum(
    x: TensorLike,
    axis: Axis = None,
    keepdims: bool = False,
    dtype: dt.DTypeLike | None = None,
) -> Tensor:
    """Σ over `axis` (None: all), 0 where there is nothing.

    dtype: to add up in, and of the result; None: int64 of integers and bools (uint64 of unsigned
    ones), their own of floats.  float32 is summed with compensation where it is long: the relative
    error does not grow with the number of positive entries.
    """
    return _public(sum_, accumulated(as_tensor(x), dtype), axis, keepdims)


def prod(
    x: TensorLike,
    axis: Axis = None,
    keepdims: bool = False,
    dtype: dt.DTypeLike | None = None,
) -> Tensor:
    """Π over `axis` (None: all), 1 where there is nothing.

    dtype: to multiply in, and of the result, as of `sum`.  The derivative, the product of the
    others, is exact where entries are 0.
    """
    return _public(prod_, accumulated(as_tensor(x), dtype), axis, keepdims)


def max(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest entry over `axis` (None: all); nan if one is.

    The derivative goes to the first of equal winners.
    """
    return _public(max_, as_tensor(x), axis, keepdims)


def min(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest entry over `axis` (None: all); nan if one is.

    The derivative goes to the first of equal winners.
    """
    return _public(min_, as_tensor(x), axis, keepdims)


def any(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether any entry is true (not zero)."""
    return _public(max_, astype(x, dt.bool_), axis, keepdims)


def all(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether all entries are true (not zero)."""
    return _public(min_, astype(x, dt.bool_), axis, keepdims)


def argmax(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """int64 index of the first largest entry (of the first nan) along `axis`, None: flattened."""
    return _arg(max_, as_tensor(x), axis, keepdims)


def argmin(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """int64 index of the first smallest entry (of the first nan) along `axis`, None: flattened."""
    return _arg(min_, as_tensor(x), axis, keepdims)


def _arg(function: Any, x: Tensor, axis: int | None, keepdims: bool) -> Tensor:
    axes = normalise_axes(axis, x.ndim)
    count = product(x.shape[a] for a in axes)
    if count == 0:
        raise ShapeError(f"there is no entry along axis {axis} of {x.type}")
    is_best = equal(x, function(x, axes=axes))
    if x.dtype.is_float:
        is_best = is_best | isnan(x)
    result = min_(where(is_best, _position(x.shape, axes), count), axes=axes)
    return result if keepdims else squeeze_axes(result, axes)


amax, amin = max, min


# --- pieces of long reductions (see compiler/split.py) ------------------------------------------


def _infer_partial(x: TensorType, *, axis: int, chunk: int) -> TensorType:
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"axis {axis} is not one of {x.ndim} axes")
    return TensorType(
        x.dtype, tuple(ceildiv(size, chunk) if i == axis else 1 for i, size in enumerate(x.shape))
    )


def _partial(function: Any) -> Any:
    def reference(x: Any, axis: int, chunk: int) -> Any:
        axes = tuple(range(x.ndim))
        starts = range(0, x.shape[axis], chunk)
        pieces = [
            np.take(x, range(i, builtins.min(i + chunk, x.shape[axis])), axis) for i in starts
        ]
        if not pieces:
            return np.zeros([0 if i == axis else 1 for i in axes], x.dtype)
        return np.concatenate([function(piece, axes) for piece in pieces], axis)

    return reference


for _whole in (TABLE["sum"], TABLE["prod"], TABLE["max"], TABLE["min"]):
    register(
        Op(
            name=f"partial_{_whole.name}",
            kind="reduction",
            infer=lambda node: (_infer_partial(node.operands[0].type, **node.attrs),),
            reference=_partial(_whole.reference),
            doc=f"The {_whole.name} of everything, by pieces of `chunk` entries of `axis`.",
            operands=("x",),
            attributes=("axis", "chunk"),
            combine=_whole.combine,
            identity=_whole.identity,
            no_gradient="it is made after differentiation",
            samples=(
                (((5,),), {"axis": 0, "chunk": 2}),
                (((70, 3),), {"axis": 0, "chunk": 32}),
                (((1, 0),), {"axis": 1, "chunk": 4}),
            ),
        )
    )
