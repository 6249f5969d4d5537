"""Distinct values, and places of what is not zero: as many as the caller says.

How many there are only the data knows, and a graph needs to know: `size` gives room for so many;
room that is left is filled, and what does not fit is left out.  All is made of sorts and gathers.
"""

from __future__ import annotations

from typing import NamedTuple

from ..dims import DimLike, as_dim
from ..shapes import contiguous_strides
from ..tensor import Tensor, TensorLike
from .build import as_tensor
from .conversion import astype
from .create import iota
from .gather import gather
from .logic import isnan, not_equal, where
from .order import argsort, searchsorted, sort
from .shape import reshape

__all__ = ["nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"]


class UniqueAll(NamedTuple):
    """values: in order.  indices: where each first stands in the flattened array.
    inverse_indices: for each entry of the array, which of the values it is.  counts: how often."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """values: in order.  counts: how often each stands in the array."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """values: in order.  inverse_indices: for each entry of the array, which of them it is."""

    values: Tensor
    inverse_indices: Tensor


def _read(x: Tensor, places: Tensor) -> Tensor:
    """Entries of a vector; the nearest where a place is none."""
    return gather(x, places, axes=(0,))


def unique_all(
    x: TensorLike, size: DimLike | str, fill_value: TensorLike | None = None
) -> UniqueAll:
    """The first `size` distinct values of `x` in order, with all that the standard knows of them.

    Where there are fewer, the rest are `fill_value` (None: the least value) with count 0 and the
    index of the least value; where there are more, only the values and counts of the least are
    given, and inverse indices of the others lie beyond.  nan is one value, the largest (as in
    NumPy; the standard counts each on its own).  The derivative of a value goes to its first entry.
    """
    tensor = as_tensor(x)
    flat, room = reshape(tensor, (-1,)), as_dim(size)
    count = flat.size
    order = argsort(flat)
    ranked = _read(flat, order)
    place = iota(shape=(count,), axis=0)
    before = _read(ranked, place - 1)
    is_new = not_equal(ranked, before)
    if tensor.dtype.is_float:
        is_new = is_new & ~(isnan(ranked) & isnan(before))
    is_new = is_new | (place == 0)
    # Where each run of equal values starts in the sorted array: these first, then `count`s.
    starts = sort(where(is_new, place, count))
    run = iota(shape=(room,), axis=0)
    first = where(run < count, _read(starts, run), count)
    following = where(run + 1 < count, _read(starts, run + 1), count)
    is_there = first < count
    source = where(is_there, first, 0)
    values, indices = _read(ranked, source), _read(order, source)
    if fill_value is not None:
        values = where(is_there, values, fill_value)
    rank = searchsorted(starts, place, side="right") - 1
    inverse = reshape(_read(rank, argsort(order)), tensor.shape)
    return UniqueAll(values, indices, inverse, following - first)


def unique_counts(
    x: TensorLike, size: DimLike | str, fill_value: TensorLike | None = None
) -> UniqueCounts:
    """The first `size` distinct values of `x` and how often each is there; see unique_all."""
    found = unique_all(x, size, fill_value)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(
    x: TensorLike, size: DimLike | str, fill_value: TensorLike | None = None
) -> UniqueInverse:
    """The first `size` distinct values of `x` and which of them each entry is; see unique_all."""
    found = unique_all(x, size, fill_value)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(
    x: TensorLike, size: DimLike | str, fill_value: TensorLike | None = None
) -> Tensor:
    """The first `size` distinct values of `x`, in order; see unique_all."""
    return unique_all(x, size, fill_value).values


def nonzero(x: TensorLike, size: DimLike | str, fill_value: TensorLike = 0) -> tuple[Tensor, ...]:
    """The places of the first `size` entries of `x` that are not 0, an int64 vector for each axis.

    Where there are fewer, the rest are `fill_value`.  With a mask for x this is what ``y[mask]``
    needs: ``y[nonzero(mask, size)]``, of which the first ``count_nonzero(mask)`` are meant.
    """
    tensor = as_tensor(x)
    count, room = tensor.size, as_dim(size)
    is_there = reshape(astype(tensor, "bool"), (-1,))
    places = sort(where(is_there, iota(shape=(count,), axis=0), count))
    run = iota(shape=(room,), axis=0)
    found = where(run < count, _read(places, run), count)
    strides = contiguous_strides(tensor.shape)
    return tuple(
        where(found < count, found // stride % size_, fill_value)
        for stride, size_ in zip(strides, tensor.shape, strict=True)
    )
