"""Contained: a concat of what another holds side by side is a slice of that.

The gradient by the gates of a cell is laid side by side for the weights of all of them, and once
more for those of some.  Of two such concats one is enough, and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir.dims import DimLike
from ..ir.graph import Graph, rebuild
from ..ir.loc import located
from ..ir.ops.slicing import slice_axis
from ..ir.tensor import Node, Tensor
from .walk import in_regions


def contained(graph: Graph) -> Graph:
    """The graph with slices for such concats; in regions too."""
    graph = in_regions(graph, contained)
    concats = [node for node in graph.nodes if node.op.name == "concat"]
    holders: dict[Node, Node] = {}  # of a concat that becomes a slice, what holds it
    for node in concats:
        wholes = [other for other in concats if _holds(other, node)]
        for whole in sorted(wholes, key=lambda other: -len(other.operands)):
            # What it holds besides may be made of this one.
            if node not in _in_order(whole.results, holders):
                holders[node] = whole
                break
    if not holders:
        return graph
    mapping: dict[Tensor, Tensor] = {}
    for node in _in_order(graph.results, holders):
        whole = holders.get(node)
        if whole is None:
            rebuild([node], mapping)
            continue
        (made,), (held,) = node.results, whole.results
        with located(node.loc):
            mapping[made] = slice_in(made, held, mapping.get(held, held))
    return graph.map(mapping)


def _in_order(results: Sequence[Tensor], holders: Mapping[Node, Node]) -> dict[Node, None]:
    """What `results` need, each node behind what it is made of, and behind what holds it."""
    order: dict[Node, None] = {}
    stack = [(result.node, False) for result in reversed(results)]
    seen = set[Node]()
    while stack:
        node, ready = stack.pop()
        if ready:
            order[node] = None
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            needs = [holders[node]] if node in holders else [t.node for t in node.operands]
            stack += [(need, False) for need in reversed(needs)]
    return order


def _holds(whole: Node, part: Node) -> bool:
    """Whether `whole` is a longer concat than `part` that holds it."""
    longer = len(whole.operands) > len(part.operands)
    return longer and place_in(part.results[0], whole.results[0]) is not None


def place_in(tensor: Tensor, whole: Tensor) -> DimLike | None:
    """Where along its axis `whole` holds `tensor`: a concat of it, or of what it is itself a
    concat of, and more; None where it does not."""
    node, axis = tensor.node, int(whole.node.attrs["axis"])
    own = node.op.name == "concat" and node.attrs["axis"] == axis
    parts, there = node.operands if own else (tensor,), whole.node.operands
    start: DimLike = 0
    for i in range(len(there) - len(parts) + 1):
        if all(a is b for a, b in zip(there[i:], parts, strict=False)):
            return start
        start = start + there[i].shape[axis]
    return None


def slice_in(tensor: Tensor, whole: Tensor, held: Tensor) -> Tensor:
    """`tensor` as a slice of `held`, which stands for the concat `whole`; itself if it is none."""
    start, axis = place_in(tensor, whole), int(whole.node.attrs["axis"])
    return tensor if start is None else slice_axis(held, axis, start, tensor.shape[axis])
