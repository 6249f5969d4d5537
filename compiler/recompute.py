"""Which values a kernel makes for itself instead of reading them: those that cost less than memory.

Numbers and positions always; and what element-wise ops make of these alone, such as the mask
``arange(n)[:, None] >= arange(n)``, where its operations take no longer than to store the result
and load it again.  A mask of random bits is not among them: Philox counts 60 operations for a
byte.  Where readers spread a value over other axes, they would make each entry many times, but
load it from memory once and from the cache thereafter: ``x + cos(arange(256))`` stores the cosines.
A value is the same bits wherever it is made, so this choice changes no result.
"""

from __future__ import annotations

from math import inf

from ..ir.dims import product
from ..ir.graph import Graph
from ..ir.tensor import Node

OPERATIONS_A_BYTE = 3  # that a core does while it moves a byte, measured on large arrays
OPERATIONS_A_CACHED_BYTE = 1  # while it loads one that was loaded just before


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
                if total <= _operations_saved(graph, node):
                    operations[node] = total
    return frozenset(operations)


def _operations_saved(graph: Graph, node: Node) -> float:
    """What each time costs that an entry is stored and loaded instead of made, in operations.

    With r reads an entry: one store and one load from memory, and r − 1 loads from the cache.
    """
    reads = max([1, *(_reads(node, user) for user in graph.users.get(node.results[0], ()))])
    rare = 2 * OPERATIONS_A_BYTE - OPERATIONS_A_CACHED_BYTE
    return node.results[0].dtype.bytes * (OPERATIONS_A_CACHED_BYTE + rare / reads)


def _reads(node: Node, user: Node) -> float:
    """How often an element-wise `user` reads each entry of what it broadcasts.

    A single entry counts once: compilers take what is the same everywhere out of the loops.
    """
    value, result = node.results[0], user.results[0]
    if user.op.kind != "elementwise" or value.size == 1:
        return 1
    own = (*[1] * (result.ndim - value.ndim), *value.shape)
    count = product(size for size, n in zip(result.shape, own, strict=True) if n == 1)
    return count if isinstance(count, int) and count else inf  # a named size may be large
