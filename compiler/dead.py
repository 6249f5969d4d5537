"""Dead results: what a loop or a branch computes and nobody reads is taken out of it.

Nodes that nothing needs are never part of a Graph; this is about the results of a ``scan``,
``while_loop`` or ``switch``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..ir.graph import Graph, topological
from ..ir.loc import located
from ..ir.ops.branch import make_switch
from ..ir.ops.scan import Scan, make_scan
from ..ir.ops.while_loop import While, loop_of, make_while
from ..ir.tensor import Node, Tensor
from .report import Report


@dataclass(frozen=True, slots=True)
class _Kept:
    """Positions of what stays: carries, outputs (of the body, from the carries on), operands."""

    carries: list[int]
    outputs: list[int]
    operands: list[int]


def dead(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with unused outputs of loops and switches dropped, carries that only feed
    themselves, and the operands that nothing then reads; in regions too.

    Whether a carry's history is read costs nothing to say: it is kept with its carry.
    """
    kept = _find_kept(graph)
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        operands = [mapping.get(operand, operand) for operand in node.operands]
        if node in kept:
            prune = _prune_switch if node.op.name == "switch" else _prune
            results = prune(node, operands, kept[node], report)
            if results is not None:
                mapping.update(results)
                continue
        inner = tuple(dead(region, report) for region in node.regions)
        if any(a is not b for a, b in zip(inner, node.regions, strict=True)):
            made = Node(node.op, operands, node.attrs, node.groups, inner, node.loc)
        else:
            made = node.remake(operands)
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping) if mapping else graph


def _find_kept(graph: Graph) -> dict[Node, _Kept]:
    """For every loop and switch, what must stay; from the results backwards: less is then read."""
    live = set(graph.results)
    kept: dict[Node, _Kept] = {}
    for node in reversed(graph.nodes):
        if live.isdisjoint(node.results):
            continue
        if node.op.name in ("scan", "while_loop"):
            loop = loop_of(node)
            kept[node] = _of_loop(loop, live)
            live.update(loop.flow[i] for i in kept[node].operands)
            live.update(node.operands[len(loop.flow) :])  # a limit
        elif node.op.name == "switch":
            kept[node] = _of_switch(node, live)
            live.update(node.operands[i] for i in kept[node].operands)
        else:
            live.update(node.operands)
    return kept


def _of_loop(loop: Scan | While, live: set[Tensor]) -> _Kept:
    body, count, total = loop.body, len(loop.carries), len(loop.body.outputs)
    outputs = [i for i in range(count, total) if loop.node.results[i] in live]
    carries = {i for i in range(count) if loop.finals[i] in live}
    if isinstance(loop, Scan):
        carries |= {i for i in range(count) if loop.history[i] in live}
    asked: set[int] = set()
    if loop.proceed is not None:
        asked = {loop.asked[i] for i in _inputs_read(loop.proceed, range(1))}
        carries |= {i for i in asked if i < count}
    while True:
        read = _inputs_read(body, [*sorted(carries), *outputs])
        more = carries | {i for i in read if i < count}
        if more == carries:
            break
        carries = more
    operands = sorted({*carries, *read, *asked})
    return _Kept(sorted(carries), outputs, operands)


def _of_switch(node: Node, live: set[Tensor]) -> _Kept:
    outputs = [i for i, result in enumerate(node.results) if result in live]
    read = {i for branch in node.regions for i in _inputs_read(branch, outputs)}
    return _Kept([], outputs, [0, *(1 + i for i in sorted(read))])


def _inputs_read(body: Graph, outputs: Iterable[int]) -> set[int]:
    place = {leaf: i for i, leaf in enumerate(body.inputs)}
    order = topological([body.outputs[i] for i in outputs])
    return {place[node.results[0]] for node in order if node.op.name == "input"}


def _prune(
    node: Node, operands: list[Tensor], kept: _Kept, report: list[Report] | None
) -> Mapping[Tensor, Tensor] | None:
    """The results that stay to those of a smaller loop; None where nothing is to drop."""
    loop = loop_of(node)
    body, flow, total = loop.body, len(loop.flow), len(loop.body.outputs)
    count = len(loop.carries)
    sequences = flow - count - len(loop.constants)
    if len(kept.operands) == flow and len(kept.carries) + len(kept.outputs) == total:
        return None

    def kept_of(low: int, high: int) -> list[Tensor]:
        return [operands[i] for i in kept.operands if low <= i < high]

    smaller = Graph(
        body.name,
        [body.inputs[i] for i in kept.operands],
        [body.outputs[i] for i in (*kept.carries, *kept.outputs)],
    )
    smaller = dead(smaller, report)
    proceed = loop.proceed
    if proceed is not None:
        inputs = dict(zip(loop.asked, proceed.inputs, strict=True))
        taken = [inputs[i] for i in kept.operands if i in inputs]
        proceed = Graph(proceed.name, taken, proceed.outputs)
    carries, constants = kept_of(0, count), kept_of(count + sequences, flow)
    made: Scan | While
    with located(node.loc):
        if isinstance(loop, Scan):
            over = kept_of(count, count + sequences)
            limit = operands[flow] if loop.limit is not None else None
            made = make_scan(
                smaller, carries, over, constants, loop.length, loop.reverse, proceed, limit
            )
        else:
            assert proceed is not None
            made = make_while(proceed, smaller, carries, constants)
    if report is not None:
        report.append(Report("unused results of a loop", node.op.name, node.loc))
    pairs = [(loop.finals[i], t) for i, t in zip(kept.carries, made.finals, strict=True)]
    if isinstance(loop, Scan) and isinstance(made, Scan):
        pairs += [(node.results[i], t) for i, t in zip(kept.outputs, made.stacked, strict=True)]
        pairs += [(loop.history[i], t) for i, t in zip(kept.carries, made.history, strict=True)]
    if loop.steps is not None and made.steps is not None:
        pairs.append((loop.steps, made.steps))
    return dict(pairs)


def _prune_switch(
    node: Node, operands: list[Tensor], kept: _Kept, report: list[Report] | None
) -> Mapping[Tensor, Tensor] | None:
    """The results that stay to those of a smaller switch; None where nothing is to drop."""
    if len(kept.operands) == len(node.operands) and len(kept.outputs) == len(node.results):
        return None
    index, *given = kept.operands
    branches = [
        dead(
            Graph(
                branch.name,
                [branch.inputs[i - 1] for i in given],
                [branch.outputs[i] for i in kept.outputs],
            ),
            report,
        )
        for branch in node.regions
    ]
    with located(node.loc):
        made = make_switch(operands[index], [operands[i] for i in given], branches)
    if report is not None:
        report.append(Report("unused results of a branch", node.op.name, node.loc))
    return dict(zip((node.results[i] for i in kept.outputs), made.results, strict=True))
