"""Expand composites: softmax and its like become the formulas that kernels are made of."""

from __future__ import annotations

from ..ir.graph import Graph, topological
from ..ir.loc import located
from ..ir.tensor import Tensor
from .report import Report
from .walk import remake


def expand(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph without composites, those that their formulas hold included; in regions too."""
    while True:
        mapping: dict[Tensor, Tensor] = {}
        again = False
        for node in graph.nodes:
            made = remake(node, mapping, lambda region: expand(region, report))
            results = made.results
            if made.op.kind == "composite":
                assert made.op.expand is not None
                with located(made.loc):
                    results = tuple(made.op.expand(made))
                stop = [operand.node for operand in made.operands]
                again |= any(n.op.kind == "composite" for n in topological(results, stop))
                if report is not None:
                    report.append(Report(f"expand {made.op.name}", made.op.name, made.loc))
            if results is not node.results:
                mapping.update(zip(node.results, results, strict=True))
        if mapping:
            graph = graph.map(mapping)
        if not again:
            return graph
