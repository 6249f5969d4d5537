# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Reading and adding at computed indices: the primitives under everything that indexes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import DimLike
from ..errors import DTypeError, IndexRangeError, ShapeError
from ..shapes import broadcast as broadcast_shapes
from ..shapes import unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import constant, elementwise, primitive
from .create import zeros
from .shape import broadcast_to, reshape

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


def _scatter_add(x: Any, updates: Any, *indices: Any, axes: Any) -> Any:
    result = x.copy()
    if x.ndim == 0:
        return result + updates
    if updates.size:
        places = _numpy_index(x.shape, updates.shape, indices, axes)
        np.add.at(result, tuple(np.broadcast_arrays(*places, updates)[:-1]), updates)
    return result


def _transpose_scatter(node: Node, cotangent: Tensor, position: int) -> Tensor:
    if position == 0:
        return cotangent
    updates, indices = node.operands[1], node.operands[2:]
    return broadcast_to(gather(cotangent, *indices, axes=node.attrs["axes"]), updates.shape)


def _jvp_scatter(node: Node, tangents: Sequence[Tensor | None]) -> list[Tensor | None]:
    x, _, *indices = node.operands
    tx, tu = tangents[:2]
    if tx is None and tu is None:
        return [None]
    tx = zeros(x.shape, x.dtype) if tx is None else tx
    return [tx if tu is None else scatter_add(tx, tu, *indices, axes=node.attrs["axes"])]


def _batch_scatter(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    count = next(t.shape[0] for t, flag in zip(operands, batched, strict=True) if flag)
    led = [_lead(t, flag) for t, flag in zip(operands, batched, strict=True)]
    x, updates = (broadcast_to(t, (count, *t.shape[1:])) for t in led[:2])
    axes = tuple(axis + 1 for axis in node.attrs["axes"])
    return [scatter_add(x, updates, *led[2:], axes=axes)]


@primitive(
    kind="scatter",
    infer=_infer_scatter,
    reference=_scatter_add,
    groups=("", "at"),
    linear=(0, 1),
    transpose=_transpose_scatter,
    jvp=_jvp_scatter,
    batch=_batch_scatter,
    samples=(
        ((_I, (3, 1), (3, 1)), {"axes": (1,)}),
        ((_I, (3, 2), (3, 1)), {"axes": (1,)}),
        ((_I, (5, 4), (5, 1)), {"axes": (0,)}),
        ((_I, (2, 6), (2, 6), (2, 6)), {"axes": (0, 1)}),
        ((_I, (0, 4), (0, 1)), {"axes": (0,)}),
    ),
)
def scatter_add(x: Tensor, updates: Tensor, *indices: Tensor, axes: tuple[int, ...]) -> Tensor:
    """x with updates added at computed places, in order of the updates where places coincide.

    The transpose of gather; as there, indices are trusted.
    """
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
