"""Compile within a budget of bytes: loops in segments and values computed again, where needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..ir.dims import DimLike, evaluate
from ..ir.errors import ArgumentError
from ..ir.graph import Graph
from ..ir.ops.scan import SCAN, Scan
from ..ir.ops.segments import segmented, sizes_of
from ..ir.plan import plan
from ..ir.program import Program
from ..ir.tensor import Node, Tensor
from .cost import total
from .evict import Budgeted, evict
from .fuse import fuse
from .lean import lean
from .lower import generate, lower
from .pipeline import Compilation
from .requests import has_requests
from .schedule import Work, better_order
from .updates import before_updates, direct_updates

STEP = 0.9  # from each number of bytes that may live at once to the next that is tried
FINER = 3  # numbers tried between one that is enough and the one before

Binding = Mapping[str, int]


def compile_within(
    graph: Graph,
    plain: Compilation,
    compiled: Callable[[Graph], Compilation],
    budget: int,
    binding: Binding,
    fusion: bool = True,
) -> Compilation:
    """A compilation whose plan under `binding` takes at most `budget` bytes.

    plain: that without a budget.  compiled: what makes such of a graph.  In turn: as it is; with
    values computed again; with loops in segments of the square root of their length, then in
    segments of segments.  What is tried before it is found that a budget cannot be met does not
    depend on the budget: what meets one meets all larger ones, and the least is met itself.
    ArgumentError with the least bytes that were reached where that is more.
    """
    assert plain.program is not None
    before = least = plan(plain.program, binding).total
    flops = _flops(plain.stages["fuse"], binding)
    for segments in ("", "sqrt", "log"):
        made, steps = plain, ()
        if segments:
            cut, steps = in_segments(graph, segments, binding)
            if cut is graph:
                break
            made = compiled(cut)
        assert made.program is not None
        reached = plan(made.program, binding).total
        clones: Sequence[Node] = ()
        again: Sequence[Node] = ()
        if reached > budget:
            least = min(least, reached)
            found: list[tuple[_Search, _Outcome]] = []
            for search in _searches(made, binding, fusion):
                outcome, least = search.within(budget, least)
                found += [(search, outcome)] if outcome is not None else []
            if not found:
                continue
            search, outcome = min(found, key=lambda pair: pair[1].flops)
            best = search.finer(outcome, budget)
            clones, again, reached = best.clones, best.again, best.reached
            made.program, made.origins = generate(best.program), best.origins
            made.order, made.stages["evict"] = best.order, best.graph
        added = _flops(made.stages[list(made.stages)[-1]], binding) - flops
        made.budgeted = Budgeted(
            budget, before, reached, clones, again, segments, steps, flops, added
        )
        return made
    raise ArgumentError(
        f"memory_budget: @{graph.name} takes {before} bytes of temporaries, and {least} at least "
        f"with values computed again, more than the budget of {budget}"
    )


def _flops(graph: Graph, binding: Binding) -> int:
    return evaluate(total(graph.nodes).flops, binding)


def in_segments(
    graph: Graph, checkpoint: str, binding: Binding
) -> tuple[Graph, tuple[tuple[int, ...], ...]]:
    """The graph with segments in loops of a fixed number of steps, and their sizes; itself where
    there are none."""
    if not has_requests(graph):
        return graph, ()
    mapping: dict[Tensor, Tensor] = {}
    found: dict[tuple[int, ...], None] = {}
    for node in graph.nodes:
        made = node.remake([mapping.get(operand, operand) for operand in node.operands])
        if made.op is SCAN:
            scan = Scan(made)
            sizes = sizes_of(evaluate(scan.length, binding), checkpoint)
            if scan.proceed is None and scan.limit is None and sizes and sizes[0] > 1:
                parts = (scan.body, scan.carries, scan.sequences, scan.constants)
                finals, stacked = segmented(*parts, scan.length, scan.reverse, sizes)
                results = (*finals, *stacked)
                mapping.update(zip(node.results, results, strict=False))
                found[sizes] = None
                continue
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return (graph.map(mapping), tuple(found)) if mapping else (graph, ())


# --- computing again ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Outcome:
    """A program in which some is computed again, and what it takes."""

    graph: Graph
    order: Sequence[Node]
    clones: Sequence[Node]
    again: Sequence[Node]
    program: Program
    origins: dict[str, Tensor]
    reached: int
    flops: int


def _searches(made: Compilation, binding: Binding, fusion: bool) -> Iterator[_Search]:
    """Over graphs whose kernels make again what is read far away, and over the fused graph.

    Those that reach the least come first, so that less is tried of the others.
    """
    assert made.program is not None
    program, fused = made.program, made.stages["fuse"]
    if fusion:
        names = list(made.stages)
        most: Sequence[Node] = ()
        split = made.stages[names[names.index("fuse") - 1]]
        for products in (True, False):
            leaner, again = lean(split, products, lambda dim: max(evaluate(dim, binding), 0))
            if products or any(node.op.kind == "contraction" for node in most):
                yield _Search(fuse(leaner, side_by_side=False), again, program, binding)
            most = again
    yield _Search(fused, (), program, binding)


class _Search:
    """What a fused graph takes with clones, by how many bytes may live at once.

    That is to be found by trying: the plan of the lowered program has gaps and copies.
    """

    def __init__(
        self, graph: Graph, again: Sequence[Node], program: Program, binding: Binding
    ) -> None:
        self.again, self.program, self.binding = again, program, binding
        direct = {} if program.guarded else direct_updates(graph)
        self.overwrites: dict[Node, list[Tensor]] = {}
        for value, parameter in direct.items():
            self.overwrites.setdefault(value.node, []).append(parameter)

        def size(dim: DimLike) -> int:
            return max(evaluate(dim, binding), 0)

        self.work = Work(graph, before_updates(graph, direct), direct, size)
        self.steps = better_order(self.work, greedily=True)
        self.tried: dict[int, _Outcome] = {}
        floor = max(map(self.work.at_once, self.steps), default=0)
        self.rooms = [self.work.peak(self.steps)]  # descending
        while self.rooms[-1] > floor:
            self.rooms.append(max(int(self.rooms[-1] * STEP), floor))

    def within(self, budget: int, least: int) -> tuple[_Outcome | None, int]:
        """One that takes no more, of few operations, None where all take more; and the least bytes
        that were reached, here or where `least` is from.

        First those with the most room that the budget allows; then those with more, from below,
        since plans may take less than it seemed, but none with more than was reached already.
        """
        inside = [room for room in self.rooms if room <= budget]
        for room in (*inside, *reversed(self.rooms[: len(self.rooms) - len(inside)])):
            if room > budget and room > least:
                break
            outcome = self._try(room)
            least = min(least, outcome.reached)
            if outcome.reached <= budget:
                return outcome, least
        return None, least

    def finer(self, best: _Outcome, budget: int) -> _Outcome:
        """One that has as much room as there is, between that of `best` and the next larger."""
        low = next(room for room, outcome in self.tried.items() if outcome is best)
        place = self.rooms.index(low)
        high = self.rooms[place - 1] if place else low
        for _ in range(FINER):
            room = (low + high) // 2
            if room in (low, high) or not best.clones:
                break
            outcome = self._try(room)
            if outcome.reached <= budget:
                low = room
                best = min(best, outcome, key=lambda each: each.flops)
            else:
                high = room
        return best

    def _try(self, room: int) -> _Outcome:
        if room not in self.tried:
            found = evict(self.work, self.steps, room, self.overwrites)
            origins: dict[str, Tensor] = {}
            target, guarded = self.program.target, self.program.guarded
            program = lower(found.graph, target, guarded, found.order, origins)
            reached = plan(program, self.binding).total
            flops = _flops(found.graph, self.binding)
            parts = found.graph, found.order, found.clones, self.again
            self.tried[room] = _Outcome(*parts, program, origins, reached, flops)
        return self.tried[room]
