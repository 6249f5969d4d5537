"""Trace: the way a derivative takes from a scalar back to a tensor, node by node.

It is the way of the compiled program: the graph has been made stable as `compile_graph` does it, so
that a node that stands for several of the user's shows them (``was``), and the cotangents are those
that the differentiation pass would pass on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..ir.graph import LEAVES, Graph, topological
from ..ir.half import computes_in_float32
from ..ir.op import MaybeTensors
from ..ir.ops.create import ones
from ..ir.ops.request import gradient
from ..ir.ops.scan import Scan
from ..ir.tensor import Node, Tensor
from .cost import NOTHING, Cost, total
from .differentiate import pull
from .pipeline import BEFORE, ROUND, Compilation
from .requests import has_requests
from .rules import STABILISE
from .widen import in_float32


@dataclass(eq=False)
class Passage:
    """What one node on the way does to the derivative.

    reads: its operands that depend on the tensor asked about.
    arriving: the cotangents of its results, None where none arrives.
    passed: those it passes on to its operands; None for what does not depend on the tensor.
    dropped: positions of the operands that depend on it, are floats, and still get none.
    cost: of that step.  uses: how often nodes of the graph read its results.
    ways: the number of ways on which the derivative arrives.
    cut: why it passes none on, where it does not.
    was: the user's ops that it stands for.
    varying: all tensors of the graph that depend on inputs or parameters.
    """

    node: Node
    reads: Sequence[Tensor]
    varying: set[Tensor]
    arriving: MaybeTensors = ()
    passed: MaybeTensors = ()
    dropped: Sequence[int] = ()
    cost: Cost = NOTHING
    uses: int = 0
    ways: int = 0
    cut: str = ""
    was: Sequence[str] = ()

    @cached_property
    def partials(self) -> list[Tensor | None]:
        """∂result/∂operand of an element-wise node, where it is a tensor."""
        node = in_float32(self.node) if computes_in_float32(self.node) else self.node
        if node.op.partials is None:
            return []
        found: Sequence[Any] = node.op.partials(*node.operands, *node.results)
        return [partial if isinstance(partial, Tensor) else None for partial in found]

    @property
    def only_scales(self) -> bool:
        """Whether the derivative is multiplied by numbers alone, whatever values there are."""
        if self.node.op.partials is None:
            return self.node.op.kind == "view" or self.node.op.name == "sum"
        reads, pairs = {*self.reads}, zip(self.node.operands, self.partials, strict=True)
        stack = [t for operand, t in pairs if operand in reads and t is not None]
        while stack:
            tensor = stack.pop()
            if tensor in self.varying:
                return False
            stack += tensor.node.operands
        return True

    def state_cotangents(self) -> list[Tensor]:
        """Of a loop, the cotangents of its float carries as they leave each step, along axis 0.

        They are what enters the steps of the loop that goes the other way.
        """
        if self.node.op.name != "scan":
            return []
        carries = sum(carry.dtype.is_float for carry in self.node.group(0))
        for value in self.passed:
            if value is not None and value.node.op.name == "scan":
                return list(Scan(value.node).history[:carries])
        return []


@dataclass
class Trace:
    """passages: from the loss back to `wrt`, which is a leaf or the `pin` that stands for it.

    gradient: None where no way leads.  ways: how many do.  uses: how often nodes read `wrt`.
    """

    loss: Tensor
    wrt: Tensor
    passages: list[Passage]
    gradient: Tensor | None
    ways: int
    uses: int


def trace(loss: Tensor, wrt: Tensor) -> Trace:
    """The passages between `wrt`, a float, and `loss`, a scalar; GradientError if they are not."""
    request, was = _as_compiled(gradient([loss], [wrt])[0])
    (loss,), (wrt,) = request.group(0), request.group(1)
    order = topological([loss])
    depends = {wrt}
    passages: dict[Node, Passage] = {}
    uses: dict[Tensor, int] = {}
    varying = {wrt}
    for node in order:
        if node.op.name in LEAVES or not varying.isdisjoint(node.operands):
            varying.update(node.results)
        for operand in node.operands:
            uses[operand] = uses.get(operand, 0) + 1
        if node is not wrt.node and any(operand in depends for operand in node.operands):
            reads = [operand for operand in node.operands if operand in depends]
            passages[node] = Passage(
                node, reads, varying, was=was.get((node.op.name, node.loc), ())
            )
            depends.update(node.results)
    for passage in passages.values():
        passage.uses = sum(uses.get(result, 0) for result in passage.node.results)
    found = _follow(loss, wrt, depends, passages)
    back = list(reversed(passages.values()))
    ways = _count_ways(loss, back)
    for passage in back:
        passage.cut = _why_cut(passage)
    return Trace(loss, wrt, back, found, ways.get(wrt, 0), uses.get(wrt, 0))


def stable(outputs: Sequence[Tensor]) -> Graph:
    """The graph of `outputs` without requests, made stable as a compiled one is."""
    made = Compilation(_graph(outputs))
    graph = made.graph
    for name in BEFORE:
        graph = made.run(name, graph, False)
    while has_requests(graph):
        for name in ROUND:
            graph = made.run(name, graph, False)
    return graph


def _graph(outputs: Sequence[Tensor]) -> Graph:
    return Graph("explain", Graph("explain", (), outputs).free, outputs)


def _as_compiled(asked: Tensor) -> tuple[Node, dict[tuple[str, Any], Sequence[str]]]:
    """The request as it stands when its turn comes to be expanded, and what its ops were."""
    made = Compilation(_graph([asked]))
    graph = made.graph
    for name in BEFORE:
        graph = made.run(name, graph, False)
    while has_requests(_graph(graph.outputs[0].node.operands)):
        for name in ROUND:
            graph = made.run(name, graph, False)
    stable_rules = {rule.formula for rule in STABILISE}
    was = {
        (report.made, report.loc): report.was
        for report in made.reports
        if report.formula in stable_rules
    }
    return graph.outputs[0].node, was


def _follow(
    loss: Tensor, wrt: Tensor, depends: set[Tensor], passages: dict[Node, Passage]
) -> Tensor | None:
    """Take the derivative, and note at each node what arrives, what is passed on, and its cost."""
    seen = set(topological([loss, wrt]))

    def note(node: Node, arriving: MaybeTensors, found: MaybeTensors) -> None:
        passage = passages[node]
        pairs = list(zip(node.operands, found, strict=True))
        passage.arriving = arriving
        passage.passed = [value if operand in depends else None for operand, value in pairs]
        passage.dropped = [
            i
            for i, (operand, value) in enumerate(pairs)
            if value is None and operand in depends and operand.dtype.is_float
        ]
        passage.cost = total(_made_since(passage.passed, seen))

    (found,) = pull([loss], [ones((), loss.dtype)], [wrt], note)
    return found


def _made_since(values: MaybeTensors, seen: set[Node]) -> Iterable[Node]:
    """The nodes that `values` need and that are not among `seen`, which grows by them."""
    stack = [value.node for value in values if value is not None]
    made: list[Node] = []
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            made.append(node)
            stack += [operand.node for operand in node.operands]
    return made


def _count_ways(loss: Tensor, back: Sequence[Passage]) -> dict[Tensor, int]:
    """On how many ways the derivative arrives at each tensor."""
    ways = {loss: 1}
    for passage in back:
        passage.ways = sum(
            ways.get(result, 0)
            for result, value in zip(passage.node.results, passage.arriving, strict=False)
            if value is not None
        )
        for operand, value in zip(passage.node.operands, passage.passed, strict=False):
            if value is not None:
                ways[operand] = ways.get(operand, 0) + passage.ways
    return ways


def _why_cut(passage: Passage) -> str:
    """Why a node passes nothing on; empty where it does, or where nothing arrives to pass on."""
    node = passage.node
    if any(value is not None for value in passage.passed):
        return ""
    reads_floats = any(operand.dtype.is_float for operand in passage.reads)
    if passage.arriving and not reads_floats:
        return "what it reads is no float"
    if passage.arriving or reads_floats:
        if node.op.no_gradient:
            return node.op.no_gradient
        if not any(result.dtype.is_float for result in node.results):
            return "its result is no float"
    return "its rule gives none" if passage.arriving else ""
