"""Compile within a budget of bytes: loops in segments and values computed again, where needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..ir.dims import DimLike, evaluate
from ..ir.errors import ArgumentError
from ..ir.graph import Graph
from ..ir.ops.scan import SCAN, Scan
from ..ir.ops.segments import segmented, sizes_of
from ..ir.plan import plan
from ..ir.tensor import Node, Tensor
from .cost import total
from .evict import Budgeted, evict
from .lower import generate, lower
from .pipeline import Compilation
from .requests import has_requests
from .schedule import Work, better_order
from .updates import before_updates, direct_updates

ATTEMPTS = 8  # with less and less for what lives at once, since the plan has gaps and copies


def compile_within(
    graph: Graph,
    plain: Compilation,
    compiled: Callable[[Graph], Compilation],
    budget: int,
    binding: Mapping[str, int],
) -> Compilation:
    """A compilation whose plan under `binding` takes at most `budget` bytes.

    plain: that without a budget.  compiled: what makes such of a graph.  In turn: as it is; with
    values computed again; with loops in segments of the square root of their length, then in
    segments of segments.
    ArgumentError with the least bytes that were reached where that is more.
    """
    assert plain.program is not None
    before = least = plan(plain.program, binding).total
    flops = _flops(plain.stages["fuse"], binding)
    for segments in ("", "sqrt", "log"):
        made = plain
        if segments:
            cut = in_segments(graph, segments, binding)
            if cut is graph:
                break
            made = compiled(cut)
        clones, reached = _within(made, budget, binding)
        least = min(least, reached)
        if reached <= budget:
            added = _flops(made.stages[list(made.stages)[-1]], binding) - flops
            made.budgeted = Budgeted(budget, before, reached, clones, segments, flops, added)
            return made
    raise ArgumentError(
        f"memory_budget: @{graph.name} takes {before} bytes of temporaries, and {least} at least "
        f"with values computed again, more than the budget of {budget}"
    )


def _flops(graph: Graph, binding: Mapping[str, int]) -> int:
    return evaluate(total(graph.nodes).flops, binding)


def in_segments(graph: Graph, checkpoint: str, binding: Mapping[str, int]) -> Graph:
    """The graph with segments in loops of a fixed number of steps; itself where there are none."""
    if not has_requests(graph):
        return graph
    mapping: dict[Tensor, Tensor] = {}
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
                continue
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping) if mapping else graph


def _within(
    made: Compilation, budget: int, binding: Mapping[str, int]
) -> tuple[Sequence[Node], int]:
    """Put clones into a compilation, where its plan needs them; the clones, and the least bytes."""
    program = made.program
    assert program is not None
    least = plan(program, binding).total
    if least <= budget:
        return (), least
    graph, guarded, room = made.stages["fuse"], program.guarded, budget
    direct = {} if guarded else direct_updates(graph)
    overwrites: dict[Node, list[Tensor]] = {}
    for value, parameter in direct.items():
        overwrites.setdefault(value.node, []).append(parameter)

    def size(dim: DimLike) -> int:
        return max(evaluate(dim, binding), 0)

    work = Work(graph, before_updates(graph, direct), direct, size)
    steps = better_order(work, greedily=True)
    floor = max(map(work.at_once, steps), default=0)
    for _ in range(ATTEMPTS):
        room = max(room, floor)
        found = evict(work, steps, room, overwrites)
        if not found.clones:
            break
        origins: dict[str, Tensor] = {}
        tried = lower(found.graph, program.target, guarded, found.order, origins)
        reached = plan(tried, binding).total
        least = min(least, reached)
        if reached <= budget:
            made.program, made.origins, made.order = generate(tried), origins, found.order
            made.stages["evict"] = found.graph
            return found.clones, reached
        if room == floor:
            break
        room = int(room * min(0.95, budget / reached))
    return (), least
