"""Select: read one entry a row as a maximum over the row, where the row is computed anyway.

A gather needs its array in memory, and so parts the kernel that makes the array from the one that
reads it.  Where each row is read at one place and the rows are short, the same value is
``max(where(position == index, x, -inf))``, which joins the kernel that makes x: the loss of a
classifier is then a by-product of its softmax.  A sum would make 0 of -0; a maximum is exact.
"""

from __future__ import annotations

from math import inf

from ..ir.graph import Graph
from ..ir.loc import located
from ..ir.ops.conversion import astype
from ..ir.ops.create import iota
from ..ir.ops.logic import equal, where
from ..ir.ops.reduction import max_
from ..ir.tensor import Node, Tensor
from .walk import remake
from .widen import wide

LONGEST = 256  # entries of a row up to which a walk is cheaper than a trip through memory
_COMPUTED = ("elementwise", "reduction")


def select(graph: Graph) -> Graph:
    """gather(x) at one index a row -> max(where(iota == index, x, -inf))."""
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = remake(node, mapping, select)
        if made.op.kind == "gather" and _reads_one(made):
            with located(made.loc):
                made = _maximum(made)
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping) if mapping else graph


def _reads_one(node: Node) -> bool:
    x, *indices = node.operands
    if len(indices) != 1 or x.node.op.kind not in _COMPUTED or not x.dtype.is_float:
        return False
    axis: int = node.attrs["axes"][0]
    length = x.shape[axis]
    others = tuple(1 if i == axis else size for i, size in enumerate(x.shape))
    return isinstance(length, int) and length <= LONGEST and node.results[0].shape == others


def _maximum(node: Node) -> Node:
    x, index = node.operands
    (axis,) = node.attrs["axes"]
    shape = tuple(size if i == axis else 1 for i, size in enumerate(x.shape))
    here = equal(iota(shape=shape, axis=axis), index)
    picked = max_(where(here, wide(x), -inf), axes=(axis,))
    return astype(picked, x.dtype).node
