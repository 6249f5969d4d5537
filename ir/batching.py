"""Batching: a graph over one more leading axis, by each op's batching rule.

Derivative requests stay requests.  Samples do not meet, so that the gradient of a batch of outputs
is the batch of gradients; a request by something that all samples share becomes one by a copy for
each sample.  So the rules still see what the user wrote between the two, and make it stable before
it is differentiated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .dims import DimLike
from .errors import GradloomError
from .graph import Graph, between
from .loc import located
from .op import TABLE
from .ops.build import apply
from .ops.contraction import align_batch
from .ops.control import placeholder_like
from .ops.create import ones
from .ops.request import ask, extra_axes
from .ops.shape import broadcast_to, moveaxis
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
    batch = batched_values(graph, arguments, batched, size)
    return [batch.spread(result) for result in graph.results]


def batched_values(
    graph: Graph, arguments: Sequence[Tensor], batched: Sequence[bool], size: DimLike
) -> Batch:
    """What the graph's tensors become over arguments with a leading axis of `size` or without."""
    leaves = (*graph.inputs, *graph.parameters)
    values = dict(zip(leaves, arguments, strict=True))
    carrying = {leaf for leaf, flag in zip(leaves, batched, strict=True) if flag}
    own = {*(node for node in graph.nodes), *(leaf.node for leaf in graph.free)}
    apart = len({*arguments}) == len(arguments) and own.isdisjoint(t.node for t in arguments)
    batch = Batch(size, values, carrying, apart)
    batch.walk(graph.nodes)
    return batch


class Batch:
    """What tensors of a graph become over one more axis.

    values: each tensor's value, where that is another tensor.  carrying: the tensors whose value
    has the leading axis of `size`.  apart: whether the leaves' values are tensors of their own,
    which the graph reads as these leaves alone.
    """

    def __init__(
        self, size: DimLike, values: dict[Tensor, Tensor], carrying: set[Tensor], apart: bool
    ) -> None:
        self.size, self.values, self.carrying, self.apart = size, values, carrying, apart

    def value(self, tensor: Tensor) -> Tensor:
        """The tensor's value, with the axis or without."""
        return self.values.get(tensor, tensor)

    def spread(self, tensor: Tensor) -> Tensor:
        """The tensor's value with the axis, repeated along it where all samples share it."""
        value = self.value(tensor)
        return value if tensor in self.carrying else broadcast_to(value, (self.size, *value.shape))

    def walk(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            self.add(node)

    def add(self, node: Node) -> None:
        """Find the values of the node's results from those of its operands."""
        operands = [self.value(operand) for operand in node.operands]
        flags = [operand in self.carrying for operand in node.operands]
        results: Sequence[Tensor]
        with located(node.loc):
            if all(a is b for a, b in zip(operands, node.operands, strict=True)):
                return
            if node.op.kind == "request":
                results = self._request(node)
            elif any(flags):
                results = batch_node(node, operands, flags)
            else:
                results = node.remake(operands).results
        for result, value in zip(node.results, results, strict=True):
            self.values[result] = value
            if value.ndim > result.ndim:  # a rule may leave out what all samples share
                self.carrying.add(result)

    def _request(self, node: Node) -> list[Tensor]:
        """The request over the values, where its own operands have others.

        It is asked of outputs made again from a `wrt` of its own: the values of two leaves may be
        one tensor, and what all samples share is asked about in each sample apart.
        """
        outputs, wrt, given = node.group(0), node.group(1), node.group(2)
        axes = extra_axes(node)
        samples = any(tensor in self.carrying for tensor in (*outputs, *wrt))
        own = self
        if not self.apart or any(not self._is_own(tensor, samples) for tensor in wrt):
            own = Batch(self.size, dict(self.values), set(self.carrying), self.apart)
            asked = dict.fromkeys(wrt)
            own._pin(asked, samples)
            for step in between(outputs, asked)[0]:
                own.add(step)
                own._pin([result for result in step.results if result in asked], samples)
        if not samples:
            given_batch = any(tensor in self.carrying for tensor in given)
            seeds = [self.spread(t) if given_batch else self.value(t) for t in given]
            ends, starts = ([own.value(t) for t in tensors] for tensors in (outputs, wrt))
            return list(ask(node.op, ends, starts, seeds, axes + given_batch))
        ends, starts = ([own.spread(t) for t in tensors] for tensors in (outputs, wrt))
        seeds = [self.spread(t) for t in given]
        if not given:  # the gradient of a scalar
            seeds = [ones((self.size,), ends[0].dtype)]
        if axes == 0:
            return list(ask(node.op, ends, starts, seeds, 0))
        seeds = [moveaxis(t, 0, axes) for t in seeds]  # the entries' axis stands behind the others
        return [moveaxis(t, axes, 0) for t in ask(node.op, ends, starts, seeds, axes)]

    def _is_own(self, tensor: Tensor, samples: bool) -> bool:
        return tensor.node.op.kind == "leaf" and (tensor in self.carrying) == samples

    def _pin(self, tensors: Iterable[Tensor], samples: bool) -> None:
        """Give each of `tensors` a value that nothing else is, with the axis if `samples`."""
        for tensor in tensors:
            value = self.spread(tensor) if samples else self.value(tensor)
            self.values[tensor] = apply(TABLE["pin"], [value])
            if samples:
                self.carrying.add(tensor)


def batch_graph(graph: Graph, batched: Sequence[bool], size: DimLike) -> Graph:
    """A region whose flagged inputs, and all outputs, have a leading axis of `size`."""
    inputs = batched_inputs(graph, batched, size)
    results = batch_results(graph, inputs, batched, size)
    return Graph(graph.name, inputs, results, parameters=())


def batched_inputs(graph: Graph, batched: Sequence[bool], size: DimLike) -> list[Tensor]:
    """Inputs like those of `graph`, the flagged ones with a leading axis of `size`."""
    inputs: list[Tensor] = []
    for leaf, flag in zip(graph.inputs, batched, strict=True):
        shape = (size, *leaf.shape) if flag else leaf.shape
        inputs.append(placeholder_like(TensorType(leaf.dtype, shape), leaf.node.attrs["name"]))
    return inputs


def batch_leading(graph: Graph, arguments: Sequence[Tensor], count: int) -> list[Tensor]:
    """The graph's results over the first `count` axes of the arguments, which all have them."""
    sizes, flags = arguments[0].shape[:count], [True] * len(arguments)
    for size in reversed(sizes[1:]):
        graph = batch_graph(graph, flags, size)
    return batch_results(graph, arguments, flags, sizes[0])
