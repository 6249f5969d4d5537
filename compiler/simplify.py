"""Simplify: fewer and plainer ops of the same value."""

from __future__ import annotations

from ..ir.graph import Graph
from .report import Report
from .rewrite import rewrite
from .rules import SIMPLIFY


def simplify(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with the SIMPLIFY rules applied."""
    result, reports = rewrite(graph, SIMPLIFY, report or ())
    if report is not None:
        report.extend(reports)
    return result
