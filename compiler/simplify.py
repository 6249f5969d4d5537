"""Simplify: fewer and plainer ops of the same value."""

from __future__ import annotations

from ..ir.graph import Graph
from .report import Report
from .requests import has_requests
from .rewrite import rewrite
from .rules import SIMPLIFY, UNPIN

_ALL_TAKEN = (UNPIN, *SIMPLIFY)


def simplify(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with the SIMPLIFY rules applied, and pins dropped once no request is left."""
    result, reports = rewrite(graph, SIMPLIFY if has_requests(graph) else _ALL_TAKEN, report or ())
    if report is not None:
        report.extend(reports)
    return result
