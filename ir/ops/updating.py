# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (indices as users write them: anything)
"""Writing by index: ``x.at[...].set(values)`` and its kin give a new array.

The steps of an index (`selection.py`) taken backwards: a scatter into the slice, and the slice put
back in its place.  So a write without index arrays is element-wise, and joins kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..dims import DimLike
from ..dtypes import promote
from ..errors import DTypeError, GradloomError, ShapeError
from ..explain import explain
from ..loc import current_loc
from ..shapes import normalise_axis
from ..tensor import Tensor, TensorLike
from .arithmetic import maximum, minimum
from .build import as_tensor, as_tensors
from .conversion import astype
from .gather import gather, scatter_add, scatter_max, scatter_min, scatter_set
from .indexing import along, starts_within, take_slice
from .logic import where
from .selection import Selection, as_index, select
from .shape import broadcast_to, reshape
from .slicing import covered, embed

__all__ = ["dynamic_update_slice", "put_along_axis"]


def _larger(old: Tensor, new: Tensor) -> Tensor:
    return old | new if old.dtype.kind == "b" else maximum(old, new)


def _smaller(old: Tensor, new: Tensor) -> Tensor:
    return old & new if old.dtype.kind == "b" else minimum(old, new)


# For each way to write: the scatter, and what it does to one entry.
_WAYS: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "set": (scatter_set, lambda old, new: new),
    "add": (scatter_add, lambda old, new: old + new),
    "max": (scatter_max, _larger),
    "min": (scatter_min, _smaller),
}


class At:
    """``x.at``: indexed, a place in x to write to."""

    __slots__ = ("_x",)

    def __init__(self, x: Tensor) -> None:
        self._x = x

    def __getitem__(self, index: Any) -> Place:
        return Place(self._x, index)


class Place:
    """``x.at[index]``: its methods give x with other entries there.

    values: anything that broadcasts to the shape of ``x[index]``, of a dtype that promotes to
    that of x.  Derivatives flow to the entries and values that are in the result.
    """

    __slots__ = ("_index", "_x")

    def __init__(self, x: Tensor, index: Any) -> None:
        self._x, self._index = x, index

    def set(self, values: TensorLike) -> Tensor:
        """x with `values` there; where an index names a place twice, the last value stays."""
        return self._write("set", values)

    def add(self, values: TensorLike) -> Tensor:
        """x with `values` added, as often as the index names a place."""
        return self._write("add", values)

    def max(self, values: TensorLike) -> Tensor:
        """x with the larger of its entry and all `values` for it; nan if one is."""
        return self._write("max", values)

    def min(self, values: TensorLike) -> Tensor:
        """x with the smaller of its entry and all `values` for it; nan if one is."""
        return self._write("min", values)

    def _write(self, way: str, values: TensorLike) -> Tensor:
        x = self._x
        try:
            return _write(x, select(x, self._index), values, way)
        except GradloomError as error:
            if error.explained:
                raise
            operands = [value for value in (x, values) if isinstance(value, Tensor)]
            raise explain(error, f"x.at[...].{way}", operands, current_loc()) from None


def _write(x: Tensor, chosen: Selection, values: TensorLike, way: str) -> Tensor:
    scatter, combine = _WAYS[way]
    new = _fitting(x, values, chosen.result)
    old = take_slice(x, chosen)
    if chosen.arrays:
        updates = chosen.disarrange(new)
        new = scatter(old, updates, *chosen.flat_arrays(), axes=tuple(chosen.arrays))
    else:
        new = combine(old, new)
    new = reshape(new, chosen.sizes)
    if chosen.is_whole(x.shape):
        return new
    new = embed(new, starts=chosen.starts, steps=chosen.steps, shape=x.shape)
    inside = covered(chosen.starts, chosen.sizes, chosen.steps, x.shape)
    return where(inside, new, x)


def _fitting(x: Tensor, values: TensorLike, shape: Sequence[DimLike]) -> Tensor:
    """Values in the dtype of `x` and in `shape`."""
    _, new = as_tensors([x, values])
    if promote(x.dtype, new.dtype) != x.dtype:
        raise DTypeError(f"{new.type} does not fit into {x.type}; cast it with .astype")
    extra = new.ndim - len(shape)
    if extra > 0 and all(size == 1 for size in new.shape[:extra]):  # as NumPy assigns
        new = reshape(new, new.shape[extra:])
    return broadcast_to(astype(new, x.dtype), shape)


def put_along_axis(
    x: TensorLike, indices: TensorLike, values: TensorLike, axis: int = -1
) -> Tensor:
    """`x` with x[i, indices[i, j]] = values[i, j] for axis 1, and alike: a new array.

    Other axes than `axis` broadcast; of several values for one place the last one stays.
    """
    tensor, index = as_tensor(x), as_tensor(indices)
    place = normalise_axis(axis, tensor.ndim)
    if index.ndim != tensor.ndim:
        raise ShapeError(f"the index {index.type} has not as many axes as {tensor.type}")
    shape = tuple(index.shape[i] if i == place else n for i, n in enumerate(tensor.shape))
    index = broadcast_to(as_index(index, tensor.shape[place]), shape)
    return scatter_set(tensor, _fitting(tensor, values, shape), index, axes=(place,))


def dynamic_update_slice(
    x: TensorLike, update: TensorLike, starts: Sequence[TensorLike] | Tensor
) -> Tensor:
    """`x` with `update` in place of as many entries from `starts` on, which are data.

    starts: as dynamic_slice has them: moved so that the update lies inside `x`.
    """
    tensor = as_tensor(x)
    new = as_tensors([tensor, update])[1]
    if new.ndim != tensor.ndim:
        raise ShapeError(f"the update {new.type} has not as many axes as {tensor.type}")
    new = _fitting(tensor, new, new.shape)
    places = starts_within(tensor, starts, new.shape)
    inside: Any = True
    indices: list[Tensor] = []
    axes: list[int] = []
    for axis, (size, count) in enumerate(zip(tensor.shape, new.shape, strict=True)):
        if size == count:
            continue
        away = along(axis, size, tensor.ndim) - places[axis]
        inside = inside & (away >= 0) & (away < count)
        indices.append(away)  # outside of the update it is clamped, and not chosen
        axes.append(axis)
    if not axes:
        return new
    return where(inside, gather(new, *indices, axes=tuple(axes)), tensor)
