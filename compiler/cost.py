"""What a node costs: operations and bytes, as formulas in the dimensions.

The figures are of the graph as it stands, with nothing fused: each node reads its operands and
writes its results once.  Fusion saves bytes, never operations; what a row of two nodes tells about
their proportion stays true.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple

from ..ir.dims import DimLike, maximum
from ..ir.graph import topological
from ..ir.tensor import Node, Tensor
from .differentiate import differentiate_all

_FREE = ("leaf", "view", "order", "request")  # no arithmetic, and no memory of their own
_MOVES = ("gather", "concat")


class Cost(NamedTuple):
    """Floating-point (or integer) operations, and bytes read and written."""

    flops: DimLike
    bytes: DimLike

    def plus(self, other: Cost, times: DimLike = 1) -> Cost:
        """This and `times` the other."""
        return Cost(self.flops + times * other.flops, self.bytes + times * other.bytes)


NOTHING = Cost(0, 0)


def cost(node: Node) -> Cost:
    """The cost of one node.

    Element-wise ops, gathers, scatters and host calls count `Op.flops` an element of their
    results, reductions and running values one of their operand; products and decompositions of
    matrices say themselves (`Op.work`); a composite costs what its formula costs, a loop its
    regions times its length, or once where it has none, a switch the most that a branch does.
    """
    op = node.op
    if op.kind in _FREE:
        return NOTHING
    if node.regions:
        steps = node.attrs["length"] if op.name == "scan" else 1
        bodies = [differentiate_all(region) for region in node.regions]
        if op.name == "switch":
            return _most(total(body.nodes) for body in bodies)
        inner = total(inner for body in bodies for inner in body.nodes)
        return NOTHING.plus(inner, steps)
    moved = _bytes(node.operands) + _bytes(node.results)
    if op.work is not None:
        return Cost(op.work(node), moved)
    if op.expand is not None:
        stop = [operand.node for operand in node.operands]
        return Cost(total(topological(list(op.expand(node)), stop)).flops, moved)
    if op.kind in _MOVES:
        return Cost(0, moved)
    counted = node.operands if op.kind in ("reduction", "cumulative") else node.results
    elements: DimLike = 0
    for tensor in counted[:1] if op.kind == "reduction" else counted:
        elements = elements + tensor.size
    return Cost(op.flops * elements, moved)


def total(nodes: Iterable[Node]) -> Cost:
    """The cost of several nodes."""
    result = NOTHING
    for node in nodes:
        result = result.plus(cost(node))
    return result


def _most(costs: Iterable[Cost]) -> Cost:
    """The largest of each figure."""
    return reduce(lambda a, b: Cost(maximum(a.flops, b.flops), maximum(a.bytes, b.bytes)), costs)


def _bytes(tensors: Iterable[Tensor]) -> DimLike:
    """A scalar constant stands in the code."""
    count: DimLike = 0
    for tensor in dict.fromkeys(tensors):
        if tensor.node.op.name != "constant" or tensor.ndim > 0:
            count = count + tensor.size * tensor.dtype.bytes
    return count
