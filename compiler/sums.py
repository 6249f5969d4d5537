"""Sums: one that a loop carries from zeros, and that is added to something behind it, starts there.

``total + scan(zeros, c -> c + v)`` is ``scan(total, c -> c + v)``.  That is one addition less, but
the reason is another: the gradient by a weight is such a sum.  Of a loop in segments, a scan of
scans, it so is the sum of the plain loop, added up in the same order to the same bits, however the
steps are divided.
"""

from __future__ import annotations

from ..ir.graph import Graph, rebuild, topological
from ..ir.loc import located
from ..ir.ops.scan import Scan, make_scan
from ..ir.tensor import Node, Tensor
from .pattern import uniform
from .report import Report
from .walk import in_regions


def sums(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with sums that scans carry from zeros started at what they are added to; in
    regions too."""
    graph = in_regions(graph, lambda region: sums(region, report))
    while True:
        scans = [Scan(node) for node in graph.nodes if node.op.name == "scan"]
        ends = {final: _start(graph, final) for scan in scans for final in scan.finals}
        additions = {graph.users[final][0] for final, begin in ends.items() if begin is not None}
        found = next(filter(None, (_continued(graph, scan, additions) for scan in scans)), None)
        if found is None:
            return graph
        graph = _started(graph, *found)
        if report is not None:
            stems = [addition for addition, _ in found[1].values()]
            report += [Report("sum continued", node.op.name, node.loc) for node in stems]


# Positions of carries, each with the addition behind that it may start at, and what is added to.
Starts = dict[int, tuple[Node, Tensor]]


def _continued(graph: Graph, scan: Scan, additions: set[Node]) -> tuple[Scan, Starts] | None:
    """A scan that sums begin in, and where they may start: sums that end in `scan`, which may
    continue those of the scan where they begin.

    additions: all behind such sums.  Those that stand inside of a sum go first, so that the sums of
    a loop's parts are one, as that of the whole loop is, before they meet another.
    """
    found: dict[Node, Starts] = {}
    for final in scan.finals:
        begin = _start(graph, final)
        if begin is None:
            continue
        (addition,), (first, place) = graph.users[final], begin
        if _is_made_by(_other(addition, final), additions):
            continue
        left, right = addition.operands
        if final is left and _start(graph, right) is not None:
            continue  # of two sums the second goes on from the first
        found.setdefault(first.node, {})[place] = addition, final
    return next(((Scan(node), starts) for node, starts in found.items()), None)


def _start(graph: Graph, final: Tensor) -> tuple[Scan, int] | None:
    """Where the sum that ends as `final` begins, if it may begin at what is added to it behind."""
    node, users = final.node, graph.users.get(final, ())
    if node.op.name != "scan" or final.index >= node.groups[0] or final in graph.results_set:
        return None
    if len(users) != 1 or users[0].op.name != "add":
        return None
    begin, total = _begin(graph, Scan(node), final.index), _other(users[0], final)
    if begin is None or total is final or total.type != final.type:
        return None
    waits = begin[0].node in topological([total], [operand.node for operand in begin[0].flow])
    return None if waits else begin


def _begin(graph: Graph, scan: Scan, i: int) -> tuple[Scan, int] | None:
    """The scan, and the position there, where the sum that is carry i of `scan` begins with 0."""
    while _is_sum(scan, i) and not _is_read(graph, scan.history[i]):
        init = scan.carries[i]
        if uniform(init) == 0:
            return scan, i
        if init.node.op.name != "scan" or init.index >= init.node.groups[0]:
            return None
        alone = len(graph.users[init]) == 1 and init not in graph.results_set
        if not alone or _added(graph, scan.node, init) is None:
            return None
        scan, i = Scan(init.node), init.index
    return None


def _is_made_by(total: Tensor, additions: set[Node]) -> bool:
    """Whether one of the additions is among those that make `total`, one upon the other."""
    pending, seen = [total.node], set[Node]()
    while pending:
        node = pending.pop()
        if node in additions:
            return True
        if node.op.name == "add" and node not in seen:
            seen.add(node)
            pending += [operand.node for operand in node.operands]
    return False


def _other(addition: Node, operand: Tensor) -> Tensor:
    x, y = addition.operands
    return y if x is operand else x


def _is_sum(scan: Scan, i: int) -> bool:
    """Whether the scan does nothing with carry i but to add to it, be it in a loop inside."""
    body, proceed = scan.body, scan.proceed
    value, after = body.inputs[i], body.outputs[i]
    if value is after or (proceed is not None and _is_read(proceed, proceed.inputs[i])):
        return False
    while value is not after:
        users = body.users.get(value, ())
        if len(users) != 1 or value in body.outputs_set:
            return False
        added = _added(body, users[0], value)
        if added is None:
            return False
        value = added
    return sum(output is after for output in body.outputs) == 1 and after not in body.users


def _added(body: Graph, node: Node, value: Tensor) -> Tensor | None:
    """What the node makes of `value`, where all it does is to add to it."""
    places = [i for i, operand in enumerate(node.operands) if operand is value]
    if len(places) != 1:
        return None
    if node.op.name == "add" and node.results[0].type == value.type:
        return node.results[0]
    if node.op.name != "scan" or places[0] >= node.groups[0]:
        return None
    scan, i = Scan(node), places[0]
    return scan.finals[i] if not _is_read(body, scan.history[i]) and _is_sum(scan, i) else None


def _is_read(graph: Graph, tensor: Tensor) -> bool:
    return tensor in graph.results_set or tensor in graph.users


def _started(graph: Graph, scan: Scan, starts: Starts) -> Graph:
    """The graph in which these sums start at what they are added to."""
    carries = list(scan.carries)
    for i, (addition, final) in starts.items():
        carries[i] = _other(addition, final)
    with located(scan.node.loc):
        made = make_scan(
            scan.body,
            carries,
            scan.sequences,
            scan.constants,
            scan.length,
            scan.reverse,
            scan.proceed,
            scan.limit,
        )
    mapping = dict(zip(scan.node.results, made.node.results, strict=True))
    additions = dict(starts.values())
    for node in graph.nodes:
        if node in additions:
            final = additions[node]
            mapping[node.results[0]] = mapping.get(final, final)
        elif node is not scan.node:
            rebuild([node], mapping)
    return graph.map(mapping)
