"""Release: what stood apart for the sake of derivatives joins the rest once all are taken.

A pin keeps a place to differentiate by, ``stop_gradient`` ends a path, a custom function brings a
rule that must be found as a whole.  Until then no rule of rewriting may see through them; after
that they only stand in the way of rules and of fusion.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import Graph, inline
from ..ir.tensor import Tensor
from .report import Report
from .requests import has_requests
from .walk import remake


def release(graph: Graph, report: list[Report] | None = None) -> Graph:
    """pin(x) -> x, stop_gradient(x) -> x, custom(x) -> its function of x, checkpoint(x) likewise;
    in regions too.

    While a derivative is still asked for, anywhere, the graph stays as it is.
    """
    return graph if has_requests(graph) else _release(graph, [] if report is None else report)


def _release(graph: Graph, report: list[Report]) -> Graph:
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = remake(node, mapping, lambda region: _release(region, report))
        results: Sequence[Tensor] = made.results
        if made.op.name in ("pin", "stop_gradient"):
            results = made.operands
        elif made.op.name in ("custom", "checkpoint"):
            results = inline(made.regions[0], made.operands)
        if results is not made.results:
            report.append(Report("release", made.op.name, made.loc))
        if results is not node.results:
            mapping.update(zip(node.results, results, strict=True))
    return graph.map(mapping) if mapping else graph
