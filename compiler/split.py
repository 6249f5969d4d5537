"""Split long reductions: a sum over everything becomes sums of fixed pieces, then their sum.

The pieces run in parallel, and their length is part of the graph: the bits of the result depend
neither on the number of threads nor on what the reduction is fused with.
"""

from __future__ import annotations

from ..ir.dims import product
from ..ir.graph import Graph
from ..ir.loc import located
from ..ir.op import TABLE
from ..ir.ops.build import apply
from ..ir.tensor import Node, Tensor
from .walk import remake

PIECE = 16384  # elements: long enough to hide a launch, short enough to share out


def split(graph: Graph) -> Graph:
    """Reduce in two steps wherever all axes are reduced and the size is large or unknown.

    What adds up pieces is not split again.
    """
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = remake(node, mapping, split)
        if made.op.kind == "reduction" and "chunk" not in made.attrs:
            with located(node.loc):
                made = _split(made)
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping) if mapping else graph


def _split(node: Node) -> Node:
    x, axes = node.operands[0], node.attrs["axes"]
    long = [axis for axis, size in enumerate(x.shape) if size != 1]
    size = product(x.shape)
    if not long or any(axis not in axes for axis in long):
        return node
    if (isinstance(size, int) and size <= PIECE) or "chunk" in x.node.attrs:
        return node
    inner = product(x.shape[axis] for axis in long[1:])
    chunk = max(1, PIECE // max(inner, 1)) if isinstance(inner, int) else 16
    pieces = apply(TABLE[f"partial_{node.op.name}"], [x], axis=long[0], chunk=chunk)
    return apply(node.op, [pieces], axes=(long[0],)).node
