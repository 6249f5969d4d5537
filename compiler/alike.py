"""Alike: what a loop is given, carries or gives out twice, it has once.

Derivatives and merged loops repeat things: a tangent's loop carries the values that the value's
loop carries.  Carries are one if they start alike and their next values are alike given that they
were; so all that start alike count as one until their next values tell them apart, which is how
equality in a loop is found at all.  A carry that never changes is a constant.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import Graph, rebuild
from ..ir.loc import located
from ..ir.ops.scan import Scan, make_scan
from ..ir.ops.shape import broadcast_to
from ..ir.tensor import Tensor
from .cse import cse
from .report import Report
from .walk import in_regions


def alike(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph in which no scan has two carries, operands or outputs that are the same, nor gives
    out what it was given; in regions too."""
    graph = in_regions(graph, lambda region: alike(region, report))
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = node.remake([mapping.get(operand, operand) for operand in node.operands])
        results: Sequence[Tensor] = made.results
        if made.op.name == "scan":
            results = _without_copies(Scan(made))
            if report is not None and results is not made.results:
                report.append(Report("equal parts of a loop", "scan", node.loc))
        if results is not node.results:
            mapping.update(zip(node.results, results, strict=True))
    return graph.map(mapping) if mapping else graph


def _without_copies(scan: Scan) -> Sequence[Tensor]:
    """The results of the scan, from one without copies."""
    results: Sequence[Tensor] = scan.node.results
    while True:
        made = _once(scan)
        if made is None:
            return results
        scan, known = made
        results = [known.get(result, result) for result in results]


def _once(scan: Scan) -> tuple[Scan, dict[Tensor, Tensor]] | None:
    """A smaller scan, and the old results to what they are; None where nothing is there twice."""
    body, n, m = scan.body, len(scan.carries), len(scan.sequences)
    all_steps = scan.proceed is None and scan.limit is None
    carried, entries, fixed = body.inputs[:n], body.inputs[n : n + m], body.inputs[n + m :]
    over = _first(scan.sequences, entries)
    given = _first(scan.constants, fixed)
    same = {leaf: over[operand] for operand, leaf in zip(scan.sequences, entries, strict=True)}
    same |= {leaf: given[operand] for operand, leaf in zip(scan.constants, fixed, strict=True)}
    leaders = _leaders(scan, same)
    same |= {leaf: carried[leader] for leaf, leader in zip(carried, leaders, strict=True)}
    kept = [i for i, leader in enumerate(leaders) if i == leader]
    still = [i for i in kept if all_steps and same.get(body.outputs[i]) is carried[i]]
    kept = [i for i in kept if i not in still]
    for i in still:
        leaf = given.setdefault(scan.carries[i], carried[i])
        same |= {other: leaf for other, leader in zip(carried, leaders, strict=True) if leader == i}

    rows: dict[Tensor, Tensor] = {carried[i]: scan.history[i] for i in kept}
    if all_steps:
        rows |= {leaf: operand for operand, leaf in over.items()}
    emitted: list[int] = []
    known: dict[Tensor, Tensor] = {}
    for position, output in enumerate(body.outputs[n:], n):
        value = same.get(output, output)
        if value not in rows:
            rows[value] = scan.node.results[position]
            emitted.append(position)
        known[scan.node.results[position]] = rows[value]
    fewer = len(over) < m or len(_first(scan.constants, fixed)) < len(fixed)
    if not (fewer or len(kept) < n or len(emitted) < len(scan.stacked)):
        return None

    mapping = dict(same)
    rebuild(body.nodes, mapping)
    outputs = [mapping.get(body.outputs[i], body.outputs[i]) for i in (*kept, *emitted)]
    inputs = [*(carried[i] for i in kept), *over.values(), *given.values()]
    proceed = scan.proceed
    if proceed is not None:
        leaves = dict(zip((*carried, *fixed), proceed.inputs, strict=True))
        own = {leaf: leaves[same[other]] for other, leaf in leaves.items()}
        rebuild(proceed.nodes, own)
        asked = [own.get(output, output) for output in proceed.outputs]
        read = [leaves[leaf] for leaf in inputs if leaf in leaves]
        proceed = Graph(proceed.name, read, asked, parameters=())
    with located(scan.node.loc):
        made = make_scan(
            Graph(body.name, inputs, outputs, parameters=()),
            [scan.carries[i] for i in kept],
            [*over],
            [*given],
            scan.length,
            scan.reverse,
            proceed,
            scan.limit,
        )
        for i in still:
            known[scan.finals[i]] = scan.carries[i]
            shape = (scan.length, *scan.carries[i].shape)
            known[scan.history[i]] = broadcast_to(scan.carries[i], shape)
    new = dict(zip((scan.finals[i] for i in kept), made.finals, strict=True))
    new |= zip((scan.history[i] for i in kept), made.history, strict=True)
    new |= zip((scan.node.results[i] for i in emitted), made.stacked, strict=True)
    known = {result: new.get(value, value) for result, value in known.items()} | new
    for i, leader in enumerate(leaders):
        if i != leader:
            known[scan.finals[i]] = known[scan.finals[leader]]
            known[scan.history[i]] = known[scan.history[leader]]
    if scan.steps is not None and made.steps is not None:
        known[scan.steps] = made.steps
    return made, known


def _first(operands: Sequence[Tensor], leaves: Sequence[Tensor]) -> dict[Tensor, Tensor]:
    """Each operand once, to the first leaf that it is given to."""
    found: dict[Tensor, Tensor] = {}
    for operand, leaf in zip(operands, leaves, strict=True):
        found.setdefault(operand, leaf)
    return found


def _leaders(scan: Scan, same: dict[Tensor, Tensor]) -> list[int]:
    """For each carry the first that is always equal to it."""
    body = scan.body
    classes: list[object] = [id(carry) for carry in scan.carries]
    while True:
        first: dict[object, int] = {}
        leaders = [first.setdefault(which, i) for i, which in enumerate(classes)]
        if len(first) == len(leaders):
            return leaders
        mapping = dict(same)
        mapping |= {body.inputs[i]: body.inputs[leader] for i, leader in enumerate(leaders)}
        rebuild(body.nodes, mapping)
        outputs = [mapping.get(output, output) for output in body.outputs]
        found = cse(Graph(body.name, body.inputs, outputs, parameters=())).outputs
        classes = [(leader, id(found[i])) for i, leader in enumerate(leaders)]
        if len(set(classes)) == len(first):
            return leaders
