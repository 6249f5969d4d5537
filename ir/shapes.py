"""Rules on shapes that the type rules of many ops share."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from operator import index
from typing import NamedTuple

from .dims import Dim, DimLike, Shape, evaluate, relates_symbols, solve, symbols
from .errors import ArgumentError, AxisError, ShapeError


class Equality(NamedTuple):
    """Two sizes that must turn out equal when the function is called."""

    left: DimLike
    right: DimLike


class _Collector(threading.local):
    found: list[Equality] | None = None


_collector = _Collector()


@contextmanager
def collect_equalities() -> Generator[list[Equality]]:
    """Record the equalities that type rules assume while they run inside."""
    before, _collector.found = _collector.found, []
    try:
        yield _collector.found
    finally:
        _collector.found = before


def unify(left: DimLike, right: DimLike, what: str = "sizes") -> DimLike:
    """The common size of two; ShapeError where they can never, or should not, be equal.

    A symbol against a constant is an error, in disguise too (``5*B`` against ``B`` asks that B is
    0); two unrelated symbolic sizes become an equality that is checked at the call.
    """
    if left == right:
        return left
    both = isinstance(left, Dim) and isinstance(right, Dim)
    if not both or not relates_symbols(left - right):
        raise ShapeError(f"{what} differ: {left} against {right}")
    if _collector.found is not None:
        _collector.found.append(Equality(*sorted((left, right), key=str)))
    return min(left, right, key=str)


# Sizes to try: of many divisors, and large, so that ``B//2*2 == B`` and ``max(B, 3) == B`` hold.
_STEP = 5040
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


def counterexample(claim: Equality, known: Sequence[Equality]) -> dict[str, int] | None:
    """Sizes for which all of `known` hold and `claim` does not, if a few attempts find some."""
    names = sorted({name for pair in (claim, *known) for side in pair for name in symbols(side)})
    for shift in range(3):
        binding: dict[str, int] = {}
        for name in names:
            for left, right in known:  # what is bound tells more of what is not
                for side, other in ((left, right), (right, left)):
                    if symbols(side) <= binding.keys():
                        solve(other, evaluate(side, binding), binding)
            place = names.index(name) + shift
            binding.setdefault(name, _STEP * _PRIMES[place % len(_PRIMES)])
        if all(_holds(pair, binding) for pair in known) and not _holds(claim, binding):
            return binding
    return None


def _holds(pair: Equality, binding: Mapping[str, int]) -> bool:
    return evaluate(pair.left, binding) == evaluate(pair.right, binding)


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The common shape by the standard's rule; nothing but a literal 1 broadcasts."""
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[DimLike] = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1:
                known = result[axis]
                result[axis] = size if known == 1 else unify(known, size, f"sizes of axis {axis}")
    return tuple(result)


def normalise_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front; AxisError where there is no such axis."""
    if not hasattr(axis, "__index__"):
        raise ArgumentError(f"an axis is an integer, got {axis!r}")
    axis = index(axis)
    if not -rank <= axis < rank:
        raise AxisError(f"axis {axis} is out of range for {rank} dimensions")
    return axis % rank


def normalise_axes(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Sorted, distinct axes; None means all of them."""
    if axis is None:
        return tuple(range(rank))
    axes = list(axis) if isinstance(axis, Sequence) else [axis]
    result = tuple(sorted({normalise_axis(a, rank) for a in axes}))
    if len(result) != len(axes):
        raise ArgumentError(f"axis {axis} names an axis twice")
    return result


def keep_axes(shape: Shape, axes: Sequence[int]) -> Shape:
    """`shape` with size 1 at `axes`."""
    return tuple(1 if i in axes else size for i, size in enumerate(shape))


def contiguous_strides(shape: Shape) -> tuple[DimLike, ...]:
    """Strides, in elements, of a C-contiguous array; a size of 0 counts as 1, so that only axes
    that are not walked have stride 0."""
    strides: list[DimLike] = []
    step: DimLike = 1
    for size in reversed(shape):
        strides.append(step)
        step = step * (1 if size == 0 else size)
    return tuple(reversed(strides))
