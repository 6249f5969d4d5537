# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Reading and writing at computed indices: the primitives under everything that indexes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import DimLike
from ..errors import DTypeError, IndexRangeError, ShapeError
from ..op import MaybeTensors, Op
from ..shapes import broadcast as broadcast_shapes
from ..shapes import unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import constant, elementwise, primitive
from .create import iota, zeros
from .logic import equal, where
from .shape import broadcast_to, reshape, spread_batch

__all__: list[str] = []


def _check_indices(x: TensorType, indices: Sequence[TensorType], axes: tuple[int, ...]) -> None:
    if len(indices) != len(axes) or len(set(axes)) != len(axes):
        raise ShapeError(f"needs one index for each of the axes {axes}")
    for type_ in indices:
        if type_.dtype != dt.int64 or type_.ndim != x.ndim:
            raise DTypeError(f"an index must be int64 with {x.ndim} axes, got {type_}")


def _infer_gather(x: TensorType, *indices: TensorType, axes: tuple[int, ...]) -> TensorType:
    _check_indices(x, indices, axes)
    own = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    return TensorType(x.dtype, broadcast_shapes([own, *(index.shape for index in indices)]))


def _numpy_index(shape: Sequence[int], like: Any, indices: Any, axes: Any) -> tuple[Any, ...]:
    """A full NumPy index: the given ones at `axes`, the plain position elsewhere."""
    given = dict(zip(axes, indices, strict=True))
    rank = len(shape)
    return tuple(
        np.clip(given[axis], 0, max(shape[axis] - 1, 0))
        if axis in given
        else np.zeros([1] * rank, np.int64)
        if shape[axis] == 1
        else np.arange(like[axis]).reshape([-1 if i == axis else 1 for i in range(rank)])
        for axis in range(rank)
    )


def _gather(x: Any, *indices: Any, axes: Any) -> Any:
    own = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    shape = np.broadcast_shapes(own, *(index.shape for index in indices))
    if 0 in x.shape:
        return np.zeros(shape, x.dtype)
    if x.ndim == 0:
        return x
    return np.broadcast_to(x[_numpy_index(x.shape, shape, indices, axes)], shape)


def _transpose_gather(node: Node, cotangent: Tensor, _: int) -> Tensor:
    x, indices, axes = node.operands[0], node.operands[1:], node.attrs["axes"]
    spread = [  # axes along which x itself was repeated count as indexed at 0
        axis
        for axis, size in enumerate(x.shape)
        if axis not in axes and size == 1 and cotangent.shape[axis] != 1
    ]
    zero = constant(np.zeros([1] * x.ndim, np.int64))
    return scatter_add(
        zeros(x.shape, x.dtype),
        cotangent,
        *indices,
        *[zero] * len(spread),
        axes=(*axes, *spread),
    )


def _lead(x: Tensor, batched: bool) -> Tensor:
    """A leading batch axis: the one there is, or one of size 1."""
    return x if batched else reshape(x, (1, *x.shape))


def _batch_gather(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    x, *indices = [_lead(t, flag) for t, flag in zip(operands, batched, strict=True)]
    return [gather(x, *indices, axes=tuple(axis + 1 for axis in node.attrs["axes"]))]


_I = (3, 4)
_INDEXED: Any = (
    ((_I, (3, 1)), {"axes": (1,)}),
    ((_I, (5, 1)), {"axes": (0,)}),
    ((_I, (5, 4)), {"axes": (0,)}),
    ((_I, (2, 6), (2, 6)), {"axes": (0, 1)}),
    ((_I, (0, 4)), {"axes": (0,)}),
    (((1, 4), (3, 2)), {"axes": (1,)}),
)


@primitive(
    kind="gather",
    infer=_infer_gather,
    reference=_gather,
    groups=("", "at"),
    linear=(0,),
    transpose=_transpose_gather,
    batch=_batch_gather,
    samples=_INDEXED,
)
def gather(x: Tensor, *indices: Tensor, axes: tuple[int, ...]) -> Tensor:
    """x at computed places: result[i] = x[i, with the indices' values at `axes`].

    All have the same number of axes and broadcast together.  Indices are trusted: those from
    users go through wrap_index; one out of range reads the nearest end.
    """
    ...


def _infer_scatter(
    x: TensorType, updates: TensorType, *indices: TensorType, axes: tuple[int, ...]
) -> TensorType:
    _check_indices(x, indices, axes)
    if updates.dtype != x.dtype or updates.ndim != x.ndim:
        raise DTypeError(f"updates {updates} do not fit {x}")
    for axis, (size, count) in enumerate(zip(x.shape, updates.shape, strict=True)):
        if axis not in axes:
            unify(size, count, f"sizes of axis {axis}")
    shape = broadcast_shapes([updates.shape, *(index.shape for index in indices)])
    if shape != updates.shape:
        raise ShapeError(f"indices of shape {shape} do not fit updates {updates}")
    return x


def _writing(write: Any) -> Any:
    """The reference of a scatter: `write` gets a copy of x, a full NumPy index and the updates."""

    def reference(x: Any, updates: Any, *indices: Any, axes: Any) -> Any:
        result = x.copy()
        if x.ndim == 0:
            write(result, (), updates)
        elif updates.size and result.size:
            places = _numpy_index(x.shape, updates.shape, indices, axes)
            write(result, tuple(np.broadcast_arrays(*places, updates)[:-1]), updates)
        return result

    return reference


def _put(result: Any, place: Any, updates: Any) -> None:
    result[place] = updates  # the last one stays where places coincide


def _batch_scatter(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    x, updates, *_ = spread_batch(operands, batched)
    indices = [_lead(t, flag) for t, flag in zip(operands[2:], batched[2:], strict=True)]
    axes = tuple(axis + 1 for axis in node.attrs["axes"])
    return [_scatter(node.op, x, updates, indices, axes)]


def _scatter(
    op: Op, x: Tensor, updates: Tensor, indices: Sequence[Tensor], axes: Sequence[int]
) -> Tensor:
    operands = (x, updates, *indices)
    return Node(op, operands, {"axes": tuple(axes)}, (2, len(indices))).results[0]


_WRITTEN: Any = (
    ((_I, (3, 1), (3, 1)), {"axes": (1,)}),
    ((_I, (3, 2), (3, 1)), {"axes": (1,)}),
    ((_I, (5, 4), (5, 1)), {"axes": (0,)}),
    ((_I, (2, 6), (2, 6), (2, 6)), {"axes": (0, 1)}),
    ((_I, (0, 4), (0, 1)), {"axes": (0,)}),
)

# --- scatter_add: linear ---


def _transpose_scatter(node: Node, cotangent: Tensor, position: int) -> Tensor:
    return cotangent if position == 0 else _at_updates(node, cotangent)


def _at_updates(node: Node, x: Tensor) -> Tensor:
    """What stands in `x` where each of a scatter's updates goes."""
    updates, indices = node.operands[1], node.operands[2:]
    return broadcast_to(gather(x, *indices, axes=node.attrs["axes"]), updates.shape)


def _jvp_scatter(node: Node, tangents: Sequence[Tensor | None]) -> list[Tensor | None]:
    x, _, *indices = node.operands
    tx, tu = tangents[:2]
    if tx is None and tu is None:
        return [None]
    tx = zeros(x.shape, x.dtype) if tx is None else tx
    return [tx if tu is None else scatter_add(tx, tu, *indices, axes=node.attrs["axes"])]


@primitive(
    kind="scatter",
    infer=_infer_scatter,
    reference=_writing(np.add.at),
    groups=("", "at"),
    linear=(0, 1),
    transpose=_transpose_scatter,
    jvp=_jvp_scatter,
    batch=_batch_scatter,
    combine="add",
    samples=_WRITTEN,
)
def scatter_add(x: Tensor, updates: Tensor, *indices: Tensor, axes: tuple[int, ...]) -> Tensor:
    """x with updates added at computed places, in order of the updates where places coincide.

    The transpose of gather; as there, indices are trusted.
    """
    ...


# --- scatter_set, scatter_max, scatter_min: one entry wins each place ---


def _winners(node: Node) -> tuple[Tensor, Tensor]:
    """Where the result of a scatter is x's own entry, and which updates are in the result.

    Each update has its number.  Of those for one place the last wins where they are set; else the
    first that equals the result, unless x itself does.
    """
    x, updates, *indices = node.operands
    axes, count = node.attrs["axes"], updates.size
    number = reshape(iota(shape=(count,), axis=0), updates.shape)
    nobody = constant(-1, dt.int64)
    if node.op.combine == "last":
        winner = scatter_max(broadcast_to(nobody, x.shape), number, *indices, axes=axes)
    else:
        result = node.results[0]
        own = where(equal(x, result), nobody, count)
        claims = where(equal(updates, _at_updates(node, result)), number, count)
        winner = scatter_min(own, claims, *indices, axes=axes)
    return equal(winner, nobody), equal(_at_updates(node, winner), number)


def _vjp_winners(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (cotangent,), rest = cotangents, [None] * (len(node.operands) - 2)
    if cotangent is None:
        return [None, None, *rest]
    of_x, of_updates = _winners(node)
    arriving = _at_updates(node, cotangent)
    return [where(of_x, cotangent, 0.0), where(of_updates, arriving, 0.0), *rest]


def _jvp_winners(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    x, _, *indices = node.operands
    tx, tu = tangents[:2]
    if tx is None and tu is None:
        return [None]
    of_x, of_updates = _winners(node)
    kept = zeros(x.shape, x.dtype) if tx is None else where(of_x, tx, 0.0)
    if tu is None:
        return [kept]
    return [scatter_add(kept, where(of_updates, tu, 0.0), *indices, axes=node.attrs["axes"])]


@primitive(
    kind="scatter",
    infer=_infer_scatter,
    reference=_writing(_put),
    groups=("", "at"),
    vjp=_vjp_winners,
    jvp=_jvp_winners,
    batch=_batch_scatter,
    combine="last",
    samples=_WRITTEN,
)
def scatter_set(x: Tensor, updates: Tensor, *indices: Tensor, axes: tuple[int, ...]) -> Tensor:
    """x with updates in place of its entries; of several for one place the last one stays.

    Only that one has a derivative, and entries of x that are gone have none.
    """
    ...


@primitive(
    kind="scatter",
    infer=_infer_scatter,
    reference=_writing(np.maximum.at),
    groups=("", "at"),
    vjp=_vjp_winners,
    jvp=_jvp_winners,
    batch=_batch_scatter,
    combine="maximum",
    samples=_WRITTEN,
)
def scatter_max(x: Tensor, updates: Tensor, *indices: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The larger of x's entry and all updates for its place; the derivative goes to the winner,
    to x or the first update where several are equal."""
    ...


@primitive(
    kind="scatter",
    infer=_infer_scatter,
    reference=_writing(np.minimum.at),
    groups=("", "at"),
    vjp=_vjp_winners,
    jvp=_jvp_winners,
    batch=_batch_scatter,
    combine="minimum",
    samples=_WRITTEN,
)
def scatter_min(x: Tensor, updates: Tensor, *indices: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The smaller of x's entry and all updates for its place; the derivative goes to the winner,
    to x or the first update where several are equal."""
    ...


# --- indices from users ---


def _wrap_index(index: Any, size: int) -> Any:
    bad = (index < -size) | (index >= size)
    if np.any(bad):
        raise IndexRangeError(f"index {index[bad].flat[0]} is out of range for size {size}")
    return np.where(index < 0, index + size, index)


@elementwise(
    "where(index < 0, index + size, index)",
    _wrap_index,
    dtypes="signed",
    check="(index >= -size) & (index < size)",
    no_gradient="its result is no float",
)
def wrap_index(index: TensorLike, *, size: DimLike) -> Tensor:
    """A valid index from 0 up; negative ones count from the end, others make the call fail."""
    ...
