"""Segments: a scan as a scan of scans, which keeps fewer carries for its way back.

The way back through a scan reads the carry that entered each step: T of them.  Over segments of S
steps the outer scan keeps the carry that entered each of the T / S segments, and the inner one
computes those of one segment at a time again: T / S + S carries for one more pass forwards.  The
inner scan may have segments too (Griewank 1992: log T carries for log T passes).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any

from ..dims import DimLike, floordiv
from ..errors import ArgumentError
from ..graph import Graph
from ..tensor import Tensor, TensorType
from .checkpoint import after, make_checkpoint
from .control import placeholder_like
from .join import concat_
from .scan import make_scan
from .shape import reshape
from .slicing import slice_axis

__all__: list[str] = []

BRANCHES = 4  # segments of a segment: 2 keep as many carries for twice the passes, 8 keep more

Loop = tuple[Sequence[Tensor], Sequence[Tensor]]  # the last carries, and what is stacked


def sizes_of(length: DimLike, checkpoint: Any) -> tuple[int, ...]:
    """The steps of a segment, of the segments in it, and so on, as `scan` is asked for them.

    ArgumentError for what is no such wish, and where it needs a length that is a number.
    """
    if checkpoint is None:
        return ()
    if isinstance(checkpoint, int) and not isinstance(checkpoint, bool) and checkpoint >= 1:
        return (checkpoint,)
    if checkpoint not in ("sqrt", "log"):
        raise ArgumentError(
            f"checkpoint is None, the number of steps in a segment, 'sqrt' or 'log', "
            f"got {checkpoint!r}"
        )
    if not isinstance(length, int):
        raise ArgumentError(
            f"checkpoint={checkpoint!r} needs a length that is a number, got {length}; "
            "give the number of steps in a segment instead"
        )
    if checkpoint == "sqrt":
        return (isqrt(max(length - 1, 0)) + 1,)  # rounded up
    sizes: list[int] = []
    while length > BRANCHES:
        length = -(-length // BRANCHES)
        sizes.append(length)
    return tuple(sizes)


def segmented(
    body: Graph,
    carries: Sequence[Tensor],
    sequences: Sequence[Tensor],
    constants: Sequence[Tensor],
    length: DimLike,
    reverse: bool,
    sizes: Sequence[int],
) -> Loop:
    """What a scan of these parts gives, by scans over segments of `sizes`, the outermost first.

    Steps that are left over make a loop of their own behind the others.  All stand in one function
    of what it is given, a checkpoint of no argument: so their derivative by a sequence or a weight
    is added to others as one, as that of the plain loop is.
    """
    flow = [*carries, *sequences, *constants]
    own = [placeholder_like(t.type, f"x{i}") for i, t in enumerate(flow)]
    n, m = len(carries), len(carries) + len(sequences)
    finals, stacked = _divided(body, own[:n], own[n:m], own[m:], length, reverse, sizes)
    results = make_checkpoint(Graph("divided", own, [*finals, *stacked]), [], flow)
    return results[:n], results[n:]


def _divided(
    body: Graph,
    carries: Sequence[Tensor],
    sequences: Sequence[Tensor],
    constants: Sequence[Tensor],
    length: DimLike,
    reverse: bool,
    sizes: Sequence[int],
) -> Loop:
    if not sizes:
        made = make_scan(body, carries, sequences, constants, length, reverse)
        return made.finals, made.stacked
    size, *rest = sizes
    count = floordiv(length, size)
    left = length - size * count
    if count == 0 or (count == 1 and left == 0):
        return _divided(body, carries, sequences, constants, length, reverse, rest)

    def whole(carries: Sequence[Tensor]) -> Loop:
        rows = [slice_axis(x, 0, 0, size * count) for x in sequences]
        blocks = [reshape(x, (count, size, *x.shape[1:])) for x in rows]
        outer = _segments(body, carries, blocks, constants, size, reverse, rest)
        made = make_scan(outer, carries, blocks, constants, count, reverse)
        return made.finals, [reshape(y, (size * count, *y.shape[2:])) for y in made.stacked]

    def behind(carries: Sequence[Tensor]) -> Loop:
        rows = [slice_axis(x, 0, size * count, left) for x in sequences]
        return _divided(body, carries, rows, constants, left, reverse, rest)

    if left == 0:
        return whole(carries)
    first, then = (behind, whole) if reverse else (whole, behind)
    between, one = first(carries)
    finals, other = then(between)
    before, last = (other, one) if reverse else (one, other)
    pairs = zip(before, last, strict=True)
    return finals, [concat_(*pair, axis=0) for pair in pairs]


def _segments(
    body: Graph,
    carries: Sequence[Tensor],
    blocks: Sequence[Tensor],
    constants: Sequence[Tensor],
    size: int,
    reverse: bool,
    rest: Sequence[int],
) -> Graph:
    """The body of the outer scan: a segment, computed again on the way back."""
    n, m = len(carries), len(blocks)
    types = [t.type for t in carries]
    types += [TensorType(block.dtype, block.shape[1:]) for block in blocks]
    types += [t.type for t in constants]
    inner, outer = ([placeholder_like(t, f"x{i}") for i, t in enumerate(types)] for _ in range(2))
    entries = inner[n : n + m]
    if n:  # what depends on entries alone is not to be computed for all segments at once
        entries = [after(x, *inner[:n]) for x in entries]
    finals, stacked = _divided(body, inner[:n], entries, inner[n + m :], size, reverse, rest)
    segment = Graph(body.name, inner, [*finals, *stacked])
    results = make_checkpoint(segment, outer[: n + m], outer[n + m :])
    return Graph("segments", outer, results)
