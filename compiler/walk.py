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
