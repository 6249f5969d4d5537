"""What passes that go through a graph once, regions included, have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..ir.graph import Graph
from ..ir.tensor import Node, Tensor


def remake(node: Node, mapping: Mapping[Tensor, Tensor], inner: Callable[[Graph], Graph]) -> Node:
    """The node over `mapping`, its regions passed through `inner`; itself if nothing changes."""
    operands = [mapping.get(operand, operand) for operand in node.operands]
    regions = tuple(inner(region) for region in node.regions)
    if any(a is not b for a, b in zip(regions, node.regions, strict=True)):
        return Node(node.op, operands, node.attrs, node.groups, regions, node.loc)
    return node.remake(operands)


def in_regions(graph: Graph, inner: Callable[[Graph], Graph]) -> Graph:
    """The graph with its regions passed through `inner`."""
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = remake(node, mapping, inner)
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping) if mapping else graph
