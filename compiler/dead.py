"""Dead results: what a loop computes and nobody reads is taken out of the loop.

Nodes that nothing needs are never part of a Graph; this is about the results of a ``scan``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..ir.graph import Graph, topological
from ..ir.loc import located
from ..ir.ops.scan import Scan, make_scan
from ..ir.tensor import Node, Tensor
from .report import Report


@dataclass(frozen=True, slots=True)
class _Kept:
    """Positions of what stays: carries, outputs (of the body, from the carries on), operands."""

    carries: list[int]
    outputs: list[int]
    operands: list[int]


def dead(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with unused outputs of scans dropped, carries that only feed themselves, and
    the operands that nothing then reads; in regions too.

    Whether a carry's history is read costs nothing to say: it is kept with its carry.
    """
    kept = _find_kept(graph)
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        operands = [mapping.get(operand, operand) for operand in node.operands]
        if node in kept:
            results = _prune(node, operands, kept[node], report)
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
    """For every scan, what must stay; from the results backwards, since less is then read."""
    live = set(graph.results)
    kept: dict[Node, _Kept] = {}
    for node in reversed(graph.nodes):
        if live.isdisjoint(node.results):
            continue
        if node.op.name == "scan":
            kept[node] = _of_scan(node, live)
            live.update(node.operands[i] for i in kept[node].operands)
            live.update(node.group(3))
        else:
            live.update(node.operands)
    return kept


def _of_scan(node: Node, live: set[Tensor]) -> _Kept:
    scan = Scan(node)
    body, count, total = scan.body, len(scan.carries), len(scan.body.outputs)
    outputs = [i for i in range(count, total) if node.results[i] in live]
    carries = {i for i in range(count) if scan.finals[i] in live or scan.history[i] in live}
    asked: set[int] = set()
    if scan.proceed is not None:
        behind = len(scan.sequences)  # it takes carries and constants
        places = _inputs_read(scan.proceed, range(1))
        asked = {i if i < count else i + behind for i in places}
        carries |= {i for i in asked if i < count}
    while True:
        read = _inputs_read(body, [*sorted(carries), *outputs])
        more = carries | {i for i in read if i < count}
        if more == carries:
            break
        carries = more
    operands = sorted({*carries, *read, *asked})
    return _Kept(sorted(carries), outputs, operands)


def _inputs_read(body: Graph, outputs: Iterable[int]) -> set[int]:
    place = {leaf: i for i, leaf in enumerate(body.inputs)}
    order = topological([body.outputs[i] for i in outputs])
    return {place[node.results[0]] for node in order if node.op.name == "input"}


def _prune(
    node: Node, operands: list[Tensor], kept: _Kept, report: list[Report] | None
) -> Mapping[Tensor, Tensor] | None:
    """The results that stay to those of a smaller scan; None where nothing is to drop."""
    scan = Scan(node)
    body, flow, total = scan.body, len(scan.flow), len(scan.body.outputs)
    count, sequences = len(scan.carries), len(scan.sequences)
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
    proceed = scan.proceed
    if proceed is not None:
        taken = [i for i in kept.operands if not count <= i < count + sequences]
        inputs = [proceed.inputs[i if i < count else i - sequences] for i in taken]
        proceed = Graph(proceed.name, inputs, proceed.outputs)
    with located(node.loc):
        made = make_scan(
            smaller,
            kept_of(0, count),
            kept_of(count, count + sequences),
            kept_of(count + sequences, flow),
            scan.length,
            scan.reverse,
            proceed,
            operands[flow] if scan.limit is not None else None,
        )
    if report is not None:
        report.append(Report("unused results of a loop", node.op.name, node.loc))
    pairs = [(scan.finals[i], t) for i, t in zip(kept.carries, made.finals, strict=True)]
    pairs += [(node.results[i], t) for i, t in zip(kept.outputs, made.stacked, strict=True)]
    pairs += [(scan.history[i], t) for i, t in zip(kept.carries, made.history, strict=True)]
    if scan.steps is not None and made.steps is not None:
        pairs.append((scan.steps, made.steps))
    return dict(pairs)
