"""One pass, for who wants to see what it does."""

from __future__ import annotations

from ..ir.graph import Graph


def run_pass(graph: Graph, name: str) -> Graph:
    """One pass by its name, verified: what a pass's unit test calls."""
    from ..compiler import pipeline  # which most processes need not import

    return pipeline.run_pass(graph, name)
