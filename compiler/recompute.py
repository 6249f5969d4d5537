"""Which values a kernel makes for itself instead of reading them: those that cost less than memory.

Numbers and positions always; and what element-wise ops make of these alone, such as the mask
``arange(n)[:, None] >= arange(n)``, where its operations take no longer than to store the result
and load it again.  A mask of random bits is not among them: Philox counts 60 operations for a
byte.  A value is the same bits wherever it is made, so this choice changes no result.
"""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.tensor import Node

OPERATIONS_A_BYTE = 3  # that a core does while it moves a byte, measured on large arrays


def is_number(node: Node) -> bool:
    """Whether the node is a constant or a size of rank 0."""
    return node.op.name in ("constant", "dimension") and node.results[0].ndim == 0


def made_where_read(graph: Graph, enabled: bool = True) -> frozenset[Node]:
    """The nodes that every kernel makes again which reads them at its own index.

    Unless `enabled`, numbers and positions alone: without them there is no kernel.
    """
    operations: dict[Node, int] = {}  # for one element, with all that it is made of
    for node in graph.nodes:
        if is_number(node) or node.op.name == "iota":
            operations[node] = 0
        elif enabled and node.op.kind == "elementwise" and not node.op.check:
            if all(operand.node in operations for operand in node.operands):
                total = node.op.flops + sum(operations[o.node] for o in node.operands)
                if total <= OPERATIONS_A_BYTE * 2 * node.results[0].dtype.bytes:
                    operations[node] = total
    return frozenset(operations)
