"""Stabilise: formulas that overflow, underflow or cancel become ops that do not."""

from __future__ import annotations

from ..ir.graph import Graph
from .report import Report
from .rewrite import rewrite
from .rules import SIMPLIFY, STABILISE


def stabilise(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with the STABILISE rules applied.

    They meet what they look for once signs, neutral elements and axes of size 1 are out of the
    way, so the SIMPLIFY rules are applied with them.
    """
    result, reports = rewrite(graph, (*STABILISE, *SIMPLIFY), report or ())
    if report is not None:
        report.extend(reports)
    return result
