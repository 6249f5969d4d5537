# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (indices as users write them: anything)
"""Reading by index: ``x[...]``, take and its kin, and slices whose places are data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes as dt
from ..dims import DimLike, Shape, as_dim
from ..errors import DTypeError, ShapeError
from ..shapes import normalise_axis
from ..tensor import Tensor, TensorLike
from .arithmetic import maximum, minimum
from .build import as_tensor
from .conversion import astype
from .create import iota
from .gather import gather
from .logic import equal
from .selection import Selection, as_index, select
from .shape import expand_dims, reshape
from .slicing import slice_

__all__ = ["dynamic_slice", "getitem", "one_hot", "take", "take_along_axis"]


def getitem(x: Tensor, index: Any) -> Tensor:
    """``x[index]`` as NumPy 2 has it.

    index: ints, slices, ``...``, None, integer arrays, lists and tensors, and masks whose data is
    known; or a tuple of these.  Named sizes may be bounds of slices.  A boolean tensor selects as
    many entries as only the data knows, and is an error.  An int or a known array that is out of
    range of a known size is an error here; one that only the call knows makes the call fail.
    """
    tensor = as_tensor(x)
    chosen = select(tensor, index)
    found = take_slice(tensor, chosen)
    if not chosen.arrays:
        return found
    return chosen.arrange(gather(found, *chosen.flat_arrays(), axes=tuple(chosen.arrays)))


def take_slice(x: Tensor, chosen: Selection) -> Tensor:
    """The slice and the reshape of an index: what its arrays then read, or replace."""
    if not chosen.is_whole(x.shape):
        x = slice_(x, starts=chosen.starts, sizes=chosen.sizes, steps=chosen.steps)
    return reshape(x, chosen.shape)


def take(x: TensorLike, indices: TensorLike, axis: int | None = None) -> Tensor:
    """Entries of `x` at `indices` (any shape) along `axis`; None means of the flattened `x`."""
    tensor = as_tensor(x)
    if axis is None:
        tensor, axis = reshape(tensor, (-1,)), 0
    place = normalise_axis(axis, tensor.ndim)
    array = as_tensor(indices)
    if not array.dtype.is_integer:
        raise DTypeError(f"an index must be an integer, got {array.type}")
    return getitem(tensor, (*[slice(None)] * place, array))


def take_along_axis(x: TensorLike, indices: TensorLike, axis: int = -1) -> Tensor:
    """result[i, j] = x[i, indices[i, j]] for axis 1, and alike; negative indices count back.

    Other axes than `axis` broadcast.
    """
    tensor, index = as_tensor(x), as_tensor(indices)
    place = normalise_axis(axis, tensor.ndim)
    if index.ndim != tensor.ndim:
        raise ShapeError(f"the index {index.type} has not as many axes as {tensor.type}")
    return gather(tensor, as_index(index, tensor.shape[place]), axes=(place,))


def one_hot(x: TensorLike, classes: DimLike | str, dtype: dt.DTypeLike = "float32") -> Tensor:
    """1 at the class of each integer label, else 0: a new last axis of size `classes`."""
    count = as_dim(classes)
    labels = as_index(x, count)
    shape: Shape = (*[1] * labels.ndim, count)
    return astype(equal(expand_dims(labels, -1), iota(shape=shape, axis=labels.ndim)), dtype)


# --- slices at places that are data ---


def starts_within(x: Tensor, starts: Sequence[TensorLike] | Tensor, sizes: Shape) -> list[Tensor]:
    """A start for each axis of `x`, moved so that so many entries from it on lie inside."""
    if isinstance(starts, Tensor):
        if starts.ndim != 1 or starts.shape[0] != x.ndim:
            raise ShapeError(f"needs a start for each of {x.ndim} axes, got {starts.type}")
        starts = [starts[axis] for axis in range(x.ndim)]
    if len(starts) != x.ndim or len(sizes) != x.ndim:
        raise ShapeError(
            f"needs a start and a size for each axis of {x.type}, "
            f"got {len(starts)} and {len(sizes)}"
        )
    found: list[Tensor] = []
    for axis, (start, size, all_) in enumerate(zip(starts, sizes, x.shape, strict=True)):
        place = as_tensor(start)
        if not place.dtype.is_integer or place.ndim:
            raise DTypeError(f"start {axis} must be one integer, got {place.type}")
        room = all_ - size
        if isinstance(room, int) and room < 0:
            raise ShapeError(f"{size} entries do not fit into axis {axis} of {x.type}")
        found.append(maximum(minimum(astype(place, dt.int64), room), 0))
    return found


def along(axis: int, size: DimLike, rank: int) -> Tensor:
    """0, 1, … below `size` along one of `rank` axes."""
    return iota(shape=tuple(size if i == axis else 1 for i in range(rank)), axis=axis)


def dynamic_slice(
    x: TensorLike, starts: Sequence[TensorLike] | Tensor, sizes: Sequence[DimLike | str]
) -> Tensor:
    """So many entries of each axis of `x` from places that are data.

    starts: an integer (or scalar tensor) for each axis, or a tensor of all.  A start that would
    leave the array is moved to the nearest that does not (as XLA's DynamicSlice does), so no
    start is an error; a negative one does not count from the end.  Where a named size turns out
    smaller than what is taken of it, its last entry repeats.
    sizes: of the result.
    """
    tensor = as_tensor(x)
    target = tuple(as_dim(size) for size in sizes)
    places = starts_within(tensor, starts, target)
    moved = [
        (axis, along(axis, target[axis], tensor.ndim) + places[axis])
        for axis in range(tensor.ndim)
        if target[axis] != tensor.shape[axis]
    ]
    if not moved:
        return tensor
    return gather(tensor, *[index for _, index in moved], axes=tuple(axis for axis, _ in moved))
