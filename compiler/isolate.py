"""Isolate: give what a derivative is asked about a place of its own.

``grad(loss, p)`` of an intermediate p needs p to stay in the way to the loss, while the loss
itself should be free to be computed without it (log softmax instead of softmax).  So the way from
p to the loss is cloned for the request, with ``pin(p)`` in place of p: no rule sees through a pin.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import Graph, rebuild, topological
from ..ir.loc import located
from ..ir.op import TABLE
from ..ir.ops.build import apply
from ..ir.ops.request import extra_axes, gradient, pushforward
from ..ir.tensor import Node, Tensor
from .report import Report
from .walk import remake


def isolate(graph: Graph, report: list[Report] | None = None) -> Graph:
    """One request for all leaves, and one for each intermediate tensor, over its own clone."""
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = remake(node, mapping, lambda region: isolate(region, report))
        results: Sequence[Tensor] = made.results
        if made.op.kind == "request" and any(_is_computed(t) for t in made.group(1)):
            with located(made.loc):
                split = _split_gradient if made.op.name == "gradient" else _split_pushforward
                results = split(made)
            if report is not None:
                report.append(Report("isolate", made.op.name, made.loc))
        if results is not node.results:
            mapping.update(zip(node.results, results, strict=True))
    return graph.map(mapping) if mapping else graph


def _is_computed(tensor: Tensor) -> bool:
    return tensor.node.op.kind != "leaf" and tensor.node.op.name != "pin"


def _parts(wrt: Sequence[Tensor]) -> list[list[int]]:
    """Positions of `wrt` by request: those that need no clone, then each of the others."""
    free = [i for i, tensor in enumerate(wrt) if not _is_computed(tensor)]
    alone = [[i] for i, tensor in enumerate(wrt) if _is_computed(tensor)]
    return [free, *alone] if free else alone


def _clone(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The outputs over pins in place of computed `wrt`, and the pins."""
    pins = {tensor: apply(TABLE["pin"], [tensor]) for tensor in wrt if _is_computed(tensor)}
    mapping = dict(pins)
    rebuild(topological(outputs), mapping)
    return [mapping.get(t, t) for t in outputs], [pins.get(t, t) for t in wrt]


def _split_gradient(node: Node) -> list[Tensor]:
    outputs, wrt, cotangents = node.group(0), node.group(1), node.group(2)
    results: dict[int, Tensor] = {}
    for part in _parts(wrt):
        ends, starts = _clone(outputs, [wrt[i] for i in part])
        results.update(zip(part, gradient(ends, starts, cotangents, extra_axes(node)), strict=True))
    return [results[i] for i in range(len(wrt))]


def _split_pushforward(node: Node) -> list[Tensor]:
    outputs, wrt, tangents = node.group(0), node.group(1), node.group(2)
    sums: list[Tensor] = []
    for part in _parts(wrt):
        ends, starts = _clone(outputs, [wrt[i] for i in part])
        found = pushforward(ends, starts, [tangents[i] for i in part], extra_axes(node))
        sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else list(found)
    return sums
