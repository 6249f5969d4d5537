"""Networks of cells: in depth, in both directions of time, and with the output fed back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.errors import ArgumentError, ShapeError
from ...ir.explain import explained
from ...ir.ops import as_tensor, concat, expand_dims, scan, where
from ...ir.ops.control import flatten
from ...ir.ops.slicing import slice_axis
from ...ir.shapes import unify
from ...ir.tensor import Tensor, TensorLike
from .cells import Cell

__all__ = ["bidirectional", "feedback", "shifted", "stacked"]


@explained
def stacked(*cells: Cell) -> Cell:
    """One cell of several, each of which reads the y of the one before; y is the last one's.

    carry: a tuple of theirs.  One scan of stacked cells gives what a scan a cell gives, and keeps
    no sequence in between.  ArgumentError for no cell, or a carry with another number of parts.
    """
    if not cells:
        raise ArgumentError("there is no cell to stack")

    @explained
    def stacked(carry: Any, x: Any) -> tuple[Any, Any]:
        if not isinstance(carry, (tuple, list)) or len(carry) != len(cells):  # pyright: ignore[reportUnknownArgumentType]
            raise ArgumentError(f"{len(cells)} stacked cells carry as many parts, got {carry!r}")
        carries: list[Any] = []
        for cell, own in zip(cells, carry, strict=True):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            own, x = cell(own, x)
            carries.append(own)
        return tuple(carries), x

    return stacked


@explained
def bidirectional(
    forward: Cell, backward: Cell, init: Any, xs: Any, lengths: TensorLike | None = None
) -> tuple[Any, Any]:
    """A scan of `forward` and one of `backward` from the end, with ys side by side.

    init: a pair of carries.  xs, lengths: as for `scan`; with lengths, each sample's way back
    begins at its own last entry.  Returns the pair of last carries, and ys whose
    last axis holds what `forward` has seen until then, then what `backward` has seen from there on.
    ArgumentError where init is no pair.  Schuster and Paliwal, Bidirectional recurrent neural
    networks (1997).
    """
    if not isinstance(init, (tuple, list)) or len(init) != 2:  # pyright: ignore[reportUnknownArgumentType]
        raise ArgumentError(f"init is a pair of carries, forward and backward, got {init!r}")
    after, ahead = scan(forward, init[0], xs, lengths=lengths)
    before, behind = scan(backward, init[1], xs, reverse=True, lengths=lengths)
    return (after, before), concat([ahead, behind], axis=-1)


@explained
def feedback(cell: Cell, readout: Callable[[Any], Any], forced: bool = False) -> Cell:
    """A cell whose output y = readout(y of `cell`) is an input of its next step.

    Each step runs `cell` on [x, y of the step before] along the last axis; x None: on y alone.
    carry: (the carry of `cell`, y of the step before), which begins with any y, often zeros.

    forced: x is (x, target, use) instead, and where `use`, a bool tensor, the cell sees `target` in
    place of y: that of the step before, see `shifted`.  use None means always, which is teacher
    forcing (Williams and Zipser 1989); one that is drawn for each step or sample is scheduled
    sampling (Bengio et al. 2015).  The gradient goes through y where it is used.

    The network of output to hidden is Jordan's, Attractor dynamics and parallelism in a
    connectionist sequential machine (1986): ``feedback(cell, readout)`` of a cell that does not use
    its own state.  ArgumentError for a carry that is no pair, or an x that has not three parts.
    """

    @explained
    def feedback(carry: Any, x: Any) -> tuple[Any, Any]:
        if not isinstance(carry, (tuple, list)) or len(carry) != 2:  # pyright: ignore[reportUnknownArgumentType]
            raise ArgumentError(f"the carry is a pair (carry of the cell, y), got {carry!r}")
        inner, seen = carry  # pyright: ignore[reportUnknownVariableType]
        seen = as_tensor(seen)  # pyright: ignore[reportUnknownArgumentType]
        if forced:
            if not isinstance(x, (tuple, list)) or len(x) != 3:  # pyright: ignore[reportUnknownArgumentType]
                raise ArgumentError(f"x is (x, target, use), got {x!r}")
            x, target, use = x  # pyright: ignore[reportUnknownVariableType]
            seen = as_tensor(target) if use is None else _chosen(as_tensor(use), target, seen)  # pyright: ignore[reportUnknownArgumentType]
        inner, y = cell(inner, seen if x is None else concat([x, seen], axis=-1))
        y = readout(y)
        return (inner, y), y

    return feedback


def _chosen(use: Tensor, target: Any, y: Tensor) -> Tensor:
    """The target where `use`, which may lack y's last axes, for each sample, say."""
    if use.ndim > y.ndim:
        raise ShapeError(f"use has more axes than y: {use.type} and {y.type}")
    return where(expand_dims(use, tuple(range(use.ndim, y.ndim))), target, y)


@explained
def shifted(targets: Any, first: Any) -> Any:
    """The targets one step later: `first`, then all of them but the last, as sequences that
    `feedback` is forced with.

    targets: [T, …], or a structure of such; first: what stands at step 0, […] each.
    ShapeError where the two do not fit.
    """

    def one(sequence: TensorLike, start: TensorLike) -> Tensor:
        after, head = as_tensor(sequence), as_tensor(start)
        if after.ndim != head.ndim + 1:
            raise ShapeError(f"first is an entry of the targets, got {head.type} for {after.type}")
        return slice_axis(concat([expand_dims(head, 0), after]), 0, 0, after.shape[0])

    sequences, build = flatten(targets)
    heads, _ = flatten(first)
    unify(len(sequences), len(heads), "numbers of targets and of first entries")
    return build([one(*pair) for pair in zip(sequences, heads, strict=True)])
