"""Everything that ``x[...]`` means, and its kin."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import Dim, DimLike, Shape, floordiv, maximum, minimum
from ..errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from ..shapes import broadcast as broadcast_shapes
from ..shapes import normalise_axis
from ..tensor import Tensor, TensorLike
from .build import as_tensor, constant
from .conversion import astype
from .create import iota
from .gather import gather, wrap_index
from .logic import equal
from .shape import broadcast_to, expand_dims, moveaxis, reshape
from .slicing import slice_

__all__ = ["getitem", "one_hot", "take", "take_along_axis"]


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
