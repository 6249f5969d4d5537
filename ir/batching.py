"""Batching: a graph over one more leading axis, by each op's batching rule."""

from __future__ import annotations

from collections.abc import Sequence

from .dims import DimLike
from .errors import GradloomError
from .graph import Graph
from .loc import located
from .ops.build import apply
from .ops.contraction import align_batch
from .ops.control import placeholder_like
from .ops.shape import broadcast_to
from .tensor import Node, Tensor, TensorType


def batch_node(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> Sequence[Tensor]:
    """The node's results over operands of which some carry a leading batch axis."""
    if node.op.batch is not None:
        return node.op.batch(node, operands, batched)
    if node.op.kind != "elementwise":
        raise GradloomError(f"{node.op.name} has no batching rule")
    aligned = align_batch(operands, batched)
    return [apply(node.op, aligned, **node.attrs)]


def batch_results(
    graph: Graph, arguments: Sequence[Tensor], batched: Sequence[bool], size: DimLike
) -> list[Tensor]:
    """The graph's results, each with a leading axis of `size`, over arguments with or without."""
    mapping = dict(zip((*graph.inputs, *graph.parameters), arguments, strict=True))
    carrying = {
        leaf for leaf, flag in zip((*graph.inputs, *graph.parameters), batched, strict=True) if flag
    }
    for node in graph.nodes:
        flags = [operand in carrying for operand in node.operands]
        operands = [mapping.get(operand, operand) for operand in node.operands]
        with located(node.loc):
            if any(flags):
                results = batch_node(node, operands, flags)
                carrying.update(node.results)
            else:
                results = node.remake(operands).results
        mapping.update(zip(node.results, results, strict=True))
    found: list[Tensor] = []
    for result in graph.results:
        value = mapping.get(result, result)
        found.append(value if result in carrying else broadcast_to(value, (size, *value.shape)))
    return found


def batch_graph(graph: Graph, batched: Sequence[bool], size: DimLike) -> Graph:
    """A region whose flagged inputs, and all outputs, have a leading axis of `size`."""
    inputs: list[Tensor] = []
    for leaf, flag in zip(graph.inputs, batched, strict=True):
        shape = (size, *leaf.shape) if flag else leaf.shape
        inputs.append(placeholder_like(TensorType(leaf.dtype, shape), leaf.node.attrs["name"]))
    return Graph(graph.name, inputs, batch_results(graph, inputs, batched, size))
