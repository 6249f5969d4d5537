# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Arrays behind one another, and apart again: concat, stack, split, repeat.

`concat` is the only op of its kind: a buffer of its own, to whose slices the parts are written or
copied.  All others are made of it and of views.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..dims import Dim, DimLike, floordiv, maximum, minimum
from ..errors import ArgumentError, DTypeError, ShapeError
from ..op import MaybeTensors
from ..shapes import normalise_axis, unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_integer, as_tensor, primitive
from .conversion import of_one_dtype
from .create import zeros
from .indexing import take
from .shape import broadcast_to, expand_dims, reshape, spread_batch, squeeze
from .slicing import slice_axis

__all__ = ["concat", "concatenate", "repeat", "roll", "split", "stack", "tile", "unstack"]


def _infer(*parts: TensorType, axis: int) -> TensorType:
    if not parts:
        raise ShapeError("needs at least one part")
    first = parts[0]
    if not 0 <= axis < first.ndim:
        raise ShapeError(f"axis {axis} is not one of {first.ndim} axes")
    shape = list(first.shape)
    for part in parts[1:]:
        if part.dtype != first.dtype:
            raise DTypeError(f"parts must have one dtype, got {first.dtype} and {part.dtype}")
        if part.ndim != first.ndim:
            raise ShapeError(f"parts must have as many axes, got {first} and {part}")
        for i, size in enumerate(part.shape):
            if i == axis:
                shape[i] = shape[i] + size
            else:
                shape[i] = unify(shape[i], size, f"sizes of axis {i}")
    return TensorType(first.dtype, tuple(shape))


def _vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (cotangent,), axis = cotangents, node.attrs["axis"]
    found: list[Tensor | None] = []
    start: DimLike = 0
    for part in node.operands:
        size = part.shape[axis]
        found.append(None if cotangent is None else slice_axis(cotangent, axis, start, size))
        start = start + size
    return found


def _jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    moving = [
        zeros(part.shape, part.dtype) if tangent is None else tangent
        for part, tangent in zip(node.operands, tangents, strict=True)
    ]
    return [concat_(*moving, axis=node.attrs["axis"])]


def _batch(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    return [concat_(*spread_batch(operands, batched), axis=node.attrs["axis"] + 1)]


@primitive(
    kind="concat",
    infer=_infer,
    reference=lambda *parts, axis: np.concatenate(parts, axis),
    vjp=_vjp,
    jvp=_jvp,
    batch=_batch,
    samples=(
        (((3, 4), (2, 4)), {"axis": 0}),
        (((3, 4), (3, 1), (3, 2)), {"axis": 1}),
        (((2, 0), (2, 3)), {"axis": 1}),
        (((0, 3), (0, 3)), {"axis": 0}),
        (((1,),), {"axis": 0}),
    ),
)
def concat_(*parts: Tensor, axis: int) -> Tensor:
    """The parts behind one another along `axis`; other sizes are the same."""
    ...


def _parts(values: Sequence[TensorLike]) -> list[Tensor]:
    if isinstance(values, Tensor) or not hasattr(values, "__len__"):
        raise ArgumentError(f"takes a list or tuple of arrays, got {type(values).__name__}")
    if not len(values):
        raise ArgumentError("needs at least one array")
    return of_one_dtype(values)


def concat(arrays: Sequence[TensorLike], axis: int | None = 0) -> Tensor:
    """The arrays behind one another along `axis`; None: all flattened.

    arrays: with as many axes each and the same sizes but along `axis`; dtypes promote.
    The derivative of each is its slice of the cotangent.
    """
    parts = _parts(arrays)
    if axis is None:
        parts, axis = [reshape(part, (-1,)) for part in parts], 0
    place = normalise_axis(axis, parts[0].ndim)
    return concat_(*parts, axis=place) if len(parts) > 1 else parts[0]


concatenate = concat


def stack(arrays: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Arrays of one shape behind one another along a new axis, `axis` of the result."""
    parts = _parts(arrays)
    place = normalise_axis(axis, parts[0].ndim + 1)
    shape = parts[0].shape
    for part in parts[1:]:
        if part.ndim != len(shape):
            raise ShapeError(f"arrays must have one shape, got {parts[0].type} and {part.type}")
        for mine, other in zip(part.shape, shape, strict=True):
            unify(mine, other, "sizes of stacked arrays")
    return concat([expand_dims(part, place) for part in parts], place)


def unstack(x: TensorLike, axis: int = 0) -> tuple[Tensor, ...]:
    """The entries of `x` along `axis`, whose size must be a number, without that axis."""
    tensor = as_tensor(x)
    place = normalise_axis(axis, tensor.ndim)
    size = _static(tensor.shape[place], f"axis {place} of {tensor.type}")
    return tuple(squeeze(slice_axis(tensor, place, i, 1), place) for i in range(size))


def _static(size: DimLike, what: str) -> int:
    if isinstance(size, Dim):
        raise ShapeError(f"{what} must be a number, not a named size")
    return size


def split(
    x: TensorLike, indices_or_sections: int | Sequence[DimLike], axis: int = 0
) -> list[Tensor]:
    """NumPy's split: parts of `x` along `axis`, which are views.

    indices_or_sections: a number of equal parts (ShapeError where they are not equal), or the
    places at which to cut; places count from the end where negative and stop at the ends.
    """
    tensor = as_tensor(x)
    place = normalise_axis(axis, tensor.ndim)
    size = tensor.shape[place]
    if isinstance(indices_or_sections, (Sequence, np.ndarray)):
        cuts: list[DimLike] = [0, *(_cut(cut, size) for cut in indices_or_sections), size]
        sizes = [maximum(b - a, 0) for a, b in pairwise(cuts)]
        return [slice_axis(tensor, place, a, n) for a, n in zip(cuts, sizes, strict=False)]
    count = as_integer(indices_or_sections, "a number of sections", 1)
    each = floordiv(size, count)
    if each * count != size:
        raise ShapeError(f"axis {place} of {tensor.type} does not split into {count} equal parts")
    return [slice_axis(tensor, place, each * i, each) for i in range(count)]


def _cut(place: DimLike, size: DimLike) -> DimLike:
    """A place at which to cut, as a slice's bound."""
    if not isinstance(place, Dim):
        place = as_integer(place, "a place to cut")
        place = size + place if place < 0 else place
    return minimum(maximum(place, 0), size)


def tile(x: TensorLike, repetitions: int | Sequence[int] | np.ndarray[Any, Any]) -> Tensor:
    """`x` so many times behind itself along each axis, axes counted from the last as in NumPy."""
    tensor = as_tensor(x)
    if isinstance(repetitions, np.ndarray):
        repetitions = repetitions.tolist()
    given = repetitions if isinstance(repetitions, Sequence) else [repetitions]
    counts = [as_integer(n, "a number of repetitions", 0) for n in given]
    rank = max(len(counts), tensor.ndim)
    counts = [1] * (rank - len(counts)) + counts
    shape = (*[1] * (rank - tensor.ndim), *tensor.shape)
    spread = reshape(tensor, tuple(n for size in shape for n in (1, size)))
    pairs = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)
    sizes = tuple(n * size for n, size in zip(counts, shape, strict=True))
    return reshape(broadcast_to(spread, pairs), sizes)


def repeat(
    x: TensorLike,
    repeats: int | Sequence[int] | np.ndarray[Any, Any],
    axis: int | None = None,
) -> Tensor:
    """Each entry of `x` along `axis` so many times in a row; None: of the flattened `x`.

    repeats: one number for all entries, or a number for each, which the shape of the result
    depends on and which are therefore no tensor.
    """
    tensor = as_tensor(x)
    if axis is None:
        tensor, axis = reshape(tensor, (-1,)), 0
    place = normalise_axis(axis, tensor.ndim)
    if isinstance(repeats, (Sequence, np.ndarray)) and np.ndim(repeats):
        counts = [as_integer(count, "a number of repeats", 0) for count in repeats]
        if len(counts) != 1:
            if tensor.shape[place] != len(counts):
                raise ShapeError(f"{len(counts)} repeats do not fit axis {axis} of {tensor.type}")
            places = np.repeat(np.arange(len(counts)), np.array(counts, np.int64))
            return take(tensor, places, place)
        repeats = counts[0]
    count = as_integer(repeats, "a number of repeats", 0)
    spread = expand_dims(tensor, place + 1)
    before, (size, *after) = tensor.shape[:place], tensor.shape[place:]
    return reshape(
        broadcast_to(spread, (*before, size, count, *after)), (*before, size * count, *after)
    )


def roll(
    x: TensorLike,
    shift: DimLike | Sequence[DimLike],
    axis: int | Sequence[int] | None = None,
) -> Tensor:
    """Entry i of `axis` at i + shift, those that leave coming in at the other end.

    A shift is a number or a size.  Several shifts and axes go one after the other; None: of the
    flattened `x`.
    """
    tensor = as_tensor(x)
    if axis is None:
        flat = roll(reshape(tensor, (-1,)), shift, 0)
        return reshape(flat, tensor.shape)
    axes = list(axis) if isinstance(axis, Sequence) else [axis]
    shifts = list(shift) if isinstance(shift, Sequence) else [shift]
    if len(axes) != len(shifts) and 1 not in (len(axes), len(shifts)):
        raise ArgumentError(f"{len(shifts)} shifts do not fit {len(axes)} axes")
    count = max(len(axes), len(shifts)) if axes and shifts else 0
    axes, shifts = axes * (count // len(axes) if axes else 0), shifts * (count // len(shifts))
    for one, by in zip(axes, shifts, strict=True):
        place = normalise_axis(one, tensor.ndim)
        size, by = tensor.shape[place], by if isinstance(by, Dim) else as_integer(by, "a shift")
        whole = maximum(size, 1)
        turn = by - floordiv(by, whole) * whole  # the remainder; 0 for a size that turns out 0
        if turn != 0:
            last = slice_axis(tensor, place, size - turn, turn)
            tensor = concat([last, slice_axis(tensor, place, 0, size - turn)], place)
    return tensor
