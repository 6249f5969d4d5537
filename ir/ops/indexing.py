# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Reading and adding at computed indices, and everything that ``x[...]`` means."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import Dim, DimLike, Shape, floordiv, maximum, minimum
from ..errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from ..shapes import broadcast as broadcast_shapes
from ..shapes import normalise_axis, unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensor, constant, elementwise, primitive
from .conversion import astype
from .logic import equal
from .shape import broadcast_to, expand_dims, iota, moveaxis, reshape, slice_, zeros

__all__ = ["getitem", "one_hot", "take", "take_along_axis"]

# --- the primitives ---------------------------------------------------------------------------


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


# --- what users write -------------------------------------------------------------------------


def _as_index(index: TensorLike, size: DimLike) -> Tensor:
    tensor = as_tensor(index)
    if not tensor.dtype.is_integer:
        raise DTypeError(f"an index must be an integer, got {tensor.type}")
    return wrap_index(astype(tensor, dt.int64), size=size)


def take_along_axis(x: TensorLike, indices: TensorLike, axis: int = -1) -> Tensor:
    """result[i, j] = x[i, indices[i, j]] for axis 1, and alike; negative indices count back."""
    tensor, index = as_tensor(x), as_tensor(indices)
    place = normalise_axis(axis, tensor.ndim)
    if index.ndim != tensor.ndim:
        raise ShapeError(f"the index {index.type} has not as many axes as {tensor.type}")
    return gather(tensor, _as_index(index, tensor.shape[place]), axes=(place,))


def take(x: TensorLike, indices: TensorLike, axis: int | None = None) -> Tensor:
    """Entries of `x` at `indices` (any shape) along `axis`; None means of the flattened `x`."""
    tensor = as_tensor(x)
    if axis is None:
        tensor, axis = reshape(tensor, (-1,)), 0
    return _index_arrays(tensor, {normalise_axis(axis, tensor.ndim): as_tensor(indices)}, None)


def _index_arrays(x: Tensor, arrays: dict[int, Tensor], front: bool | None) -> Tensor:
    """Integer arrays, broadcast together, at some axes of `x`; their axes replace the first of
    those, or come first if `front`."""
    shape = broadcast_shapes([array.shape for array in arrays.values()])
    axes = tuple(arrays)
    flat: list[Tensor] = []
    count: DimLike = 1
    for size in shape:
        count = count * size
    for axis, array in arrays.items():
        index = _as_index(array, x.shape[axis])
        index = reshape(broadcast_to(index, shape), (count,))
        place = tuple(count if i == axes[0] else 1 for i in range(x.ndim))
        flat.append(reshape(index, place))
    result = gather(x, *flat, axes=axes)
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    if front:
        result = moveaxis(result, axes[0], 0)
        kept = [x.shape[i] for i in rest]
        return reshape(result, (*shape, *kept))
    sizes: list[DimLike] = []
    for i in range(x.ndim):
        if i == axes[0]:
            sizes += shape
        elif i not in axes:
            sizes.append(x.shape[i])
    return reshape(result, tuple(sizes))


def _slice_bounds(item: slice, size: DimLike) -> tuple[DimLike, DimLike, int]:
    """start, size and step of a slice of an axis of `size`, clamped as Python clamps."""
    for bound_ in (item.start, item.stop):
        if isinstance(bound_, Tensor) or not (bound_ is None or hasattr(bound_, "__index__")):
            raise ArgumentError(f"a slice's bounds are integers or sizes, got {bound_!r}")
    step = 1 if item.step is None else item.step
    if isinstance(step, (Dim, Tensor)) or not hasattr(step, "__index__") or index(step) == 0:
        raise ArgumentError(f"a slice's step is an integer other than 0, got {item.step!r}")
    step = index(step)
    if isinstance(size, int) and not isinstance(item.start, Dim) and not isinstance(item.stop, Dim):
        start, stop, step = item.indices(size)
        return start, len(range(start, stop, step)), step
    low, high = (0, size) if step > 0 else (-1, size - 1)

    def bound(value: Any, default: DimLike) -> DimLike:
        if value is None:
            return default
        if not isinstance(value, Dim):
            value = index(value)
            value = size + value if value < 0 else value
        return minimum(maximum(value, low), high)

    start = bound(item.start, low if step > 0 else high)
    stop = bound(item.stop, high if step > 0 else low)
    length = stop - start if step > 0 else start - stop
    count = maximum(floordiv(length + (abs(step) - 1), abs(step)), 0)
    if isinstance(length, Dim) and item.start is None and item.stop is None:
        count = floordiv(length + (abs(step) - 1), abs(step))
    return start, count, step


def getitem(x: Tensor, index: Any) -> Tensor:
    """``x[index]``: ints, slices, ``...``, None and integer arrays, as in NumPy.

    Boolean masks have a size that only the data knows; use where(mask, x, 0) instead.
    """
    items: list[Any] = list(index) if isinstance(index, tuple) else [index]
    used = sum(item is not None and item is not Ellipsis for item in items)
    if used > x.ndim:
        raise IndexRangeError(f"{used} indices for {x.type}")
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise ArgumentError("an index may hold one ellipsis")
    at = dots[0] if dots else len(items)
    items[at : at + 1] = [slice(None)] * (x.ndim - used)

    starts: list[DimLike] = []
    sizes: list[DimLike] = []
    steps: list[DimLike] = []
    arrays: dict[int, Tensor] = {}  # by axis of x
    layout: list[int | str | None] = []  # axis of x, a new axis, or a dropped one
    for item in items:
        if item is None:
            layout.append(None)
            continue
        axis = len(starts)
        start, count, step = 0, x.shape[axis], 1
        if isinstance(item, slice):
            start, count, step = _slice_bounds(item, x.shape[axis])
            layout.append(axis)
        elif isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            size = x.shape[axis]
            if isinstance(size, int):
                if not -size <= item < size:
                    raise IndexRangeError(
                        f"index {item} is out of range for axis {axis} of {x.type}"
                    )
                start, count = int(item) % size, 1
                layout.append("dropped")
            else:
                arrays[axis] = constant(int(item), dt.int64)
                layout.append(axis)
        else:
            array = as_tensor(item)
            if array.dtype.kind == "b":
                raise ArgumentError(
                    "a boolean mask gives a size that only the data knows; use where(mask, x, 0)"
                )
            arrays[axis] = array
            layout.append(axis)
        starts.append(start)
        sizes.append(count)
        steps.append(step)
    result = x
    plain = all(
        (start, step) == (0, 1) and count == size
        for start, count, step, size in zip(starts, sizes, steps, x.shape, strict=True)
    )
    if not plain:
        result = slice_(x, starts=tuple(starts), sizes=tuple(sizes), steps=tuple(steps))
    shape: list[DimLike] = []
    axes: dict[int, Tensor] = {}
    for entry in layout:
        if entry is None:
            shape.append(1)
        elif isinstance(entry, int):
            if entry in arrays:
                axes[len(shape)] = arrays[entry]
            shape.append(result.shape[entry])
    result = reshape(result, tuple(shape))
    if not axes:
        return result
    places = sorted(axes)
    apart = places != list(range(places[0], places[-1] + 1))
    return _index_arrays(result, axes, apart)


def one_hot(x: TensorLike, classes: DimLike, dtype: dt.DTypeLike = "float32") -> Tensor:
    """1 at the class of each integer label, else 0: a new last axis of size `classes`."""
    labels = _as_index(x, classes)
    shape: Shape = (*[1] * labels.ndim, classes)
    return astype(equal(expand_dims(labels, -1), iota(shape=shape, axis=labels.ndim)), dtype)
