"""Merge: loops of the same steps of which neither waits for the other become one.

A step of a loop costs launches and barriers besides its work; side by side two bodies share them,
and kernels.  As in `fuse`, legality is by levels: that of a node is the number of loops on the
longest path to it, so a way from one loop to another climbs, and those of one level can all merge
without closing a cycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.graph import Graph, inline
from ..ir.loc import located
from ..ir.loc import merge as merge_locs
from ..ir.ops.control import placeholder_like
from ..ir.ops.scan import Scan, make_scan
from ..ir.tensor import Node, Tensor
from .report import Report
from .walk import in_regions


def merge(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with scans of one level, length, direction and limit as one; in regions too."""
    graph = in_regions(graph, lambda region: merge(region, report))
    level: dict[Node, int] = {}
    alike: dict[Any, list[Node]] = {}
    for node in graph.nodes:
        below = max((level.get(operand.node, 0) for operand in node.operands), default=0)
        level[node] = below + (node.op.name == "scan")
        if node.op.name == "scan" and Scan(node).proceed is None:
            scan = Scan(node)
            key = level[node], str(scan.length), scan.reverse, id(scan.limit)
            alike.setdefault(key, []).append(node)
    groups = {group[0]: group for group in alike.values() if len(group) > 1}
    if not groups:
        return graph
    done = {node for group in groups.values() for node in group}
    mapping: dict[Tensor, Tensor] = {}
    # What a level's loops read stands on lower levels: so they come before all else of theirs.
    for node in sorted(graph.nodes, key=lambda n: (level[n], n.op.name != "scan")):
        if node in groups:
            parts = [_over(part, mapping) for part in groups[node]]
            for old, new in zip(groups[node], _merged(parts), strict=True):
                mapping.update(zip(old.results, new, strict=True))
            if report is not None:
                lines = merge_locs(part.loc for part in groups[node])
                report.append(Report("loops side by side", "scan", lines))
        elif node not in done:
            made = _over(node, mapping)
            if made is not node:
                mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping)


def _over(node: Node, mapping: dict[Tensor, Tensor]) -> Node:
    return node.remake([mapping.get(operand, operand) for operand in node.operands])


def _merged(nodes: Sequence[Node]) -> list[list[Tensor]]:
    """The results of each scan, from one that does the steps of all."""
    scans = [Scan(node) for node in nodes]
    first = scans[0]
    carries = [carry for scan in scans for carry in scan.carries]
    starts = [placeholder_like(carry.type, f"carry{i}") for i, carry in enumerate(carries)]
    entries: dict[Tensor, Tensor] = {}
    fixed: dict[Tensor, Tensor] = {}
    finals: list[Tensor] = []
    rows: list[Tensor] = []
    own = iter(starts)
    for scan in scans:
        body, n, m = scan.body, len(scan.carries), len(scan.sequences)
        for known, operands, inputs in (
            (entries, scan.sequences, body.inputs[n : n + m]),
            (fixed, scan.constants, body.inputs[n + m :]),
        ):
            for operand, leaf in zip(operands, inputs, strict=True):
                known.setdefault(operand, placeholder_like(leaf.type, leaf.node.attrs["name"]))
        arguments = [next(own) for _ in range(n)]
        arguments += [entries[operand] for operand in scan.sequences]
        arguments += [fixed[operand] for operand in scan.constants]
        outputs = inline(body, arguments)
        finals += outputs[:n]
        rows += outputs[n:]
    inputs = [*starts, *entries.values(), *fixed.values()]
    closed = Graph(first.body.name, inputs, [*finals, *rows], parameters=())
    with located(merge_locs(node.loc for node in nodes)):
        made = make_scan(
            closed, carries, [*entries], [*fixed], first.length, first.reverse, None, first.limit
        )
    found: list[list[Tensor]] = []
    n = k = 0
    for scan in scans:
        carried, stacked = len(scan.carries), len(scan.stacked)
        parts = [*made.finals[n : n + carried], *made.stacked[k : k + stacked]]
        found.append([*parts, *made.history[n : n + carried]])
        n, k = n + carried, k + stacked
    return found
