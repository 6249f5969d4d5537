"""Common sub-expressions: nodes that compute the same from the same become one node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.graph import Graph
from ..ir.loc import Loc, merge
from ..ir.tensor import Node, Tensor
from .report import Report
from .requests import asked_about

# At a tie their derivative goes to the first operand, so the order means something.
_ORDERED = ("maximum", "minimum")
# Its rule need not be linear: what clips two cotangents apart is not what clips their sum.
APART = ("custom",)


def cse(graph: Graph, report: list[Report] | None = None) -> Graph:
    """One node for all that are equal, with the lines of all of them; in regions too."""
    asked = asked_about(graph)
    same: dict[Tensor, Tensor] = {}  # a result to that of the first equal node
    first: dict[Any, Node] = {}
    kept: list[Node] = []
    lines: dict[Node, list[Loc]] = {}
    regions: dict[Node, tuple[Graph, ...]] = {}
    for node in graph.nodes:
        if node.regions:
            inner = tuple(cse(region, report) for region in node.regions)
            if any(a is not b for a, b in zip(inner, node.regions, strict=True)):
                regions[node] = inner
        operands = [same.get(operand, operand) for operand in node.operands]
        key = node_key(node, operands, regions.get(node, node.regions))
        found = first.get(key)
        alone = node.op.name in APART or not asked.isdisjoint(node.results)
        if found is not None and not alone:
            same.update(zip(node.results, found.results, strict=True))
            lines.setdefault(found, [found.loc]).append(node.loc)
            if report is not None:
                report.append(Report("common sub-expression", node.op.name, node.loc))
            continue
        if not alone:
            first[key] = node
        kept.append(node)
    if not same and not regions:
        return graph
    mapping: dict[Tensor, Tensor] = {}
    for node in kept:
        operands = [_final(operand, same, mapping) for operand in node.operands]
        loc = merge(lines[node]) if node in lines else node.loc
        if node in regions or loc != node.loc:
            inner = regions.get(node, node.regions)
            made = Node(node.op, operands, node.attrs, node.groups, inner, loc)
        else:
            made = node.remake(operands)
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return graph.map({result: _final(result, same, mapping) for result in graph.results})


def _final(tensor: Tensor, same: dict[Tensor, Tensor], mapping: dict[Tensor, Tensor]) -> Tensor:
    representative = same.get(tensor, tensor)
    return mapping.get(representative, representative)


def node_key(node: Node, operands: Sequence[Tensor], regions: Sequence[Graph]) -> Any:
    """Equal for nodes that compute the same of `operands`."""
    numbers = [id(operand) for operand in operands]
    if node.op.commutative and node.op.name not in _ORDERED:
        numbers.sort()
    inner = tuple(region.key for region in regions)
    return node.op.name, tuple(numbers), tuple(node.attrs.items()), node.groups, inner
