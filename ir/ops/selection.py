# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (indices as users write them: anything)
"""What an index means: ``x[...]`` and ``x.at[...]`` both take it apart here.

An index is walked once, from left to right, and becomes three steps on x, each an op:

    x[1:, None, i, ::2, j]     a slice       start, size and step on each axis of x
                               a reshape     new axes come, axes with an int go
                               a gather      the index arrays, broadcast together, at their axes

A read takes the steps forwards; a write takes them backwards, with a scatter for the gather.

Boolean masks that are data of the program (not tensors) are the integer arrays of their true
places, as in NumPy; so their number is known.  Sizes may be symbolic throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index as as_int
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..array import Array
from ..dims import Dim, DimLike, Shape, floordiv, maximum, minimum, product
from ..errors import ArgumentError, DTypeError, IndexRangeError
from ..shapes import broadcast as broadcast_shapes
from ..shapes import unify
from ..tensor import Tensor, TensorLike
from .build import as_tensor, constant
from .conversion import astype
from .gather import wrap_index
from .shape import broadcast_to, inverse, permute_dims, reshape

__all__: list[str] = []

_FULL = slice(None)


@dataclass(frozen=True, slots=True)
class Selection:
    """The three steps of an index into an array of one shape.

    starts, sizes, steps: of the slice.
    shape: behind the reshape.
    arrays: of the gather, int64, broadcast together, by the axis of `shape` that each indexes.
    in_front: whether the arrays' own axes come first; else they stand where the first array does.
    """

    starts: tuple[DimLike, ...]
    sizes: Shape
    steps: tuple[int, ...]
    shape: Shape
    arrays: dict[int, Tensor]
    in_front: bool

    def is_whole(self, shape: Shape) -> bool:
        """Whether the slice takes all of an array of `shape` as it is."""
        return (
            self.sizes == shape
            and all(start == 0 for start in self.starts)
            and all(step == 1 for step in self.steps)
        )

    @property
    def array_shape(self) -> Shape:
        """The common shape of the arrays."""
        return broadcast_shapes([array.shape for array in self.arrays.values()])

    @property
    def result(self) -> Shape:
        """The shape of what the index selects."""
        if not self.arrays:
            return self.shape
        rest = [size for axis, size in enumerate(self.shape) if axis not in self.arrays]
        place = 0 if self.in_front else self._first
        return (*rest[:place], *self.array_shape, *rest[place:])

    @property
    def _first(self) -> int:
        return min(self.arrays)

    def flat_arrays(self) -> list[Tensor]:
        """The arrays as gather takes them: flat, along the axis of the first one."""
        common = self.array_shape
        count = product(common)
        place = tuple(count if i == self._first else 1 for i in range(len(self.shape)))
        return [reshape(broadcast_to(a, common), place) for a in self.arrays.values()]

    def _gathered(self) -> tuple[Shape, tuple[int, ...]]:
        """The shape that gather gives, less its axes of the other arrays, and the order of
        these axes in the result, the arrays' counted as one."""
        count, first = product(self.array_shape), self._first
        others = [axis for axis in range(len(self.shape)) if axis not in self.arrays]
        kept = sorted([first, *others])
        sizes = tuple(count if axis == first else self.shape[axis] for axis in kept)
        order = list(range(len(kept)))
        if self.in_front:
            order.insert(0, order.pop(kept.index(first)))
        return sizes, tuple(order)

    def arrange(self, gathered: Tensor) -> Tensor:
        """What gather gives, with its axes where NumPy puts them."""
        sizes, order = self._gathered()
        return reshape(permute_dims(reshape(gathered, sizes), order), self.result)

    def disarrange(self, values: Tensor) -> Tensor:
        """The way back: values in the shape of the result as a scatter takes its updates."""
        sizes, order = self._gathered()
        count, first = product(self.array_shape), self._first
        moved = permute_dims(reshape(values, tuple(sizes[i] for i in order)), inverse(order))
        target = tuple(
            count if axis == first else 1 if axis in self.arrays else size
            for axis, size in enumerate(self.shape)
        )
        return reshape(moved, target)


def select(x: Tensor, index: Any) -> Selection:
    """The steps that `index` means for `x`.

    Raises IndexRangeError for what is out of range where the size is a number, ArgumentError for
    what is no index, DTypeError for arrays of other than integers.
    """
    items = _expanded(x, list(index) if isinstance(index, tuple) else [index])
    bounds: list[tuple[DimLike, DimLike, int]] = []  # start, size and step for each axis of x
    shape: list[DimLike] = []
    arrays: dict[int, Tensor] = {}
    for item in items:
        axis = len(bounds)
        if item is Ellipsis:
            continue
        if item is None:
            shape.append(1)
        elif isinstance(item, slice):
            bounds.append(_slice_bounds(item, x.shape[axis]))
            shape.append(bounds[-1][1])
        elif isinstance(item, bool):  # an axis of size 1, taken once or not at all
            arrays[len(shape)] = constant(np.zeros(int(item), np.int64))
            shape.append(1)
        elif isinstance(item, int) and isinstance(x.shape[axis], int):
            bounds.append((_checked(item, x, axis), 1, 1))
        else:
            bounds.append((0, x.shape[axis], 1))
            arrays[len(shape)] = _index_array(item, x, axis)
            shape.append(x.shape[axis])
    starts, sizes, steps = zip(*bounds, strict=True) if bounds else ((), (), ())
    made = Selection(starts, sizes, steps, tuple(shape), arrays, _are_apart(items))
    if arrays:
        made.array_shape  # noqa: B018  (raises where the arrays do not broadcast)
    return made


def _are_apart(items: Sequence[Any]) -> bool:
    """Whether anything stands between the index arrays; ints count as arrays beside arrays."""
    places = [
        i
        for i, item in enumerate(items)
        if item is not None and item is not Ellipsis and not isinstance(item, slice)
    ]
    return bool(places) and places[-1] - places[0] >= len(places)


def _expanded(x: Tensor, items: Sequence[Any]) -> list[Any]:
    """The items as None, Ellipsis, slices, bools, ints and integer arrays: one for each axis of x,
    where the ellipsis stands for no axis any more, but still keeps arrays apart."""
    plain = [_plain(item) for item in items]
    used = sum(_axes_of(item) for item in plain)
    if used > x.ndim:
        raise IndexRangeError(f"{used} indices for {x.type}")
    dots = [i for i, item in enumerate(plain) if item is Ellipsis]
    if len(dots) > 1:
        raise ArgumentError("an index may hold one ellipsis")
    at = dots[0] + 1 if dots else len(plain)
    plain[at:at] = [_FULL] * (x.ndim - used)
    made: list[Any] = []
    axis = 0
    for item in plain:
        made += _places(item, x, axis) if _is_mask(item) else [item]
        axis += _axes_of(item)
    return made


def _plain(item: Any) -> Any:
    """An item as None, Ellipsis, a slice, a bool, an int, an array, or a tensor of integers."""
    if item is None or item is Ellipsis or isinstance(item, (slice, bool)):
        return item
    if isinstance(item, (int, np.integer)):
        return int(item)
    array = _as_array(item)
    return bool(array) if _is_mask(array) and array.ndim == 0 else array


def _is_mask(item: Any) -> bool:
    return isinstance(item, np.ndarray) and item.dtype.kind == "b"


def _axes_of(item: Any) -> int:
    """How many axes an item indexes."""
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    return item.ndim if _is_mask(item) else 1


def _as_array(item: Any) -> Any:
    """An index array: a tensor of integers, or a NumPy array where the values are known."""
    if isinstance(item, Tensor):
        value = item.node.attrs.get("value")
        if isinstance(value, Array):
            return value.values
        if item.dtype.kind == "b":
            raise ArgumentError(
                "a boolean mask that is a tensor selects as many entries as only its data knows; "
                "use where(mask, x, 0), or nonzero(mask, size=...)"
            )
        if not item.dtype.is_integer:
            raise DTypeError(f"an index must be an integer, got {item.type}")
        return item
    if isinstance(item, Dim):
        return as_tensor(item)
    if isinstance(item, (list, tuple)) and not item:
        return np.zeros(0, np.int64)
    try:
        array = np.asarray(item)
    except (ValueError, TypeError):
        array = np.asarray(None)
    if array.dtype.kind == "O":
        raise ArgumentError(f"{item!r} is no index")
    if array.dtype.kind not in "biu":
        raise DTypeError(f"an index must be an integer, got an array of {array.dtype}")
    return array


def _places(mask: Any, x: Tensor, axis: int) -> list[Any]:
    """The true places of a mask over axes of x from `axis` on, as an array for each axis."""
    for i, size in enumerate(mask.shape):
        unify(size, x.shape[axis + i], f"sizes of the mask and of axis {axis + i}")
    return list(np.nonzero(mask))


def _checked(item: int, x: Tensor, axis: int) -> int:
    """An index into an axis whose size is a number, counted from its front."""
    size = as_int(x.shape[axis])
    if not -size <= item < size:
        raise IndexRangeError(f"index {item} is out of range for axis {axis} of {x.type}")
    return item % size


def _index_array(item: Any, x: Tensor, axis: int) -> Tensor:
    """An index array with valid entries: checked now where they are known, else at the call."""
    size = x.shape[axis]
    if isinstance(item, Tensor) or not isinstance(size, int):
        return as_index(item, size)
    values = np.asarray(item)
    bad = (values < -size) | (values >= size)
    if np.any(bad):
        first = values[bad].flat[0]
        raise IndexRangeError(f"index {first} is out of range for axis {axis} of {x.type}")
    values = values.astype(np.int64)
    return constant(np.where(values < 0, values + size, values))


def as_index(index: TensorLike, size: DimLike) -> Tensor:
    """Integers as int64 from 0 up; the call fails where one is out of range."""
    tensor = as_tensor(index)
    if not tensor.dtype.is_integer:
        raise DTypeError(f"an index must be an integer, got {tensor.type}")
    return wrap_index(astype(tensor, dt.int64), size=size)


def _slice_bounds(item: slice[Any, Any, Any], size: DimLike) -> tuple[DimLike, DimLike, int]:
    """start, size and step of a slice of an axis of `size`, clamped as Python clamps.

    A bound that is a named size counts from the front, also where it turns out negative.
    """
    for bound_ in (item.start, item.stop):
        if isinstance(bound_, Tensor):
            raise ArgumentError(
                "a slice's bounds are integers or sizes, got a tensor; use dynamic_slice"
            )
        if not (bound_ is None or hasattr(bound_, "__index__")):
            raise ArgumentError(f"a slice's bounds are integers or sizes, got {bound_!r}")
    step = 1 if item.step is None else item.step
    if isinstance(step, (Dim, Tensor)) or not hasattr(step, "__index__") or as_int(step) == 0:
        raise ArgumentError(f"a slice's step is an integer other than 0, got {item.step!r}")
    step = as_int(step)
    if isinstance(size, int) and not isinstance(item.start, Dim) and not isinstance(item.stop, Dim):
        start, stop, step = item.indices(size)
        return start, len(range(start, stop, step)), step
    low, high = (0, size) if step > 0 else (-1, size - 1)

    def bound(value: Any, default: DimLike) -> DimLike:
        if value is None:
            return default
        if not isinstance(value, Dim):
            value = as_int(value)
            value = size + value if value < 0 else value
        return minimum(maximum(value, low), high)

    start = bound(item.start, low if step > 0 else high)
    stop = bound(item.stop, high if step > 0 else low)
    length = stop - start if step > 0 else start - stop
    count = floordiv(length + (abs(step) - 1), abs(step))
    if isinstance(length, Dim) and item.start is None and item.stop is None:
        return start, count, step  # never negative
    return start, maximum(count, 0), step
