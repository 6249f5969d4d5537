"""Random graphs over the whole op table: optimised = reference = compiled; idempotent passes."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings

import gradloom as gl
from gradloom.compiler.pipeline import AFTER, BEFORE, PASSES, ROUND
from gradloom.ir.graph import Graph
from gradloom.ir.verify import verify

from .graphs import graphs
from .test_pipeline import check_compiled

QUICK = 15


def check_passes(graph: Graph) -> None:
    """Each pass of the pipeline, in turn, keeps types, does nothing twice, and reads back."""
    assert gl.parse(str(graph)) == graph
    for name in dict.fromkeys([*BEFORE, *ROUND, *AFTER]):
        after = PASSES[name](graph)
        verify(after, name)
        assert [t.type for t in after.results] == [t.type for t in graph.results], name
        assert PASSES[name](after) == after, name
        again = gl.parse(str(after))
        assert again == after, name
        assert str(again) == str(after), name
        graph = after


@settings(max_examples=QUICK, phases=[Phase.generate])
@given(graph=graphs(smooth=True, entries=True))
def test_graphs_of_all_entries(graph: Graph) -> None:
    check_passes(graph)
    check_compiled(graph, 3)


@pytest.mark.slow
@settings(max_examples=2000, phases=[Phase.generate], derandomize=True)
@given(graph=graphs(smooth=True, entries=True, most_nodes=16))
def test_many_graphs_of_all_entries(graph: Graph) -> None:
    check_passes(graph)
    for batch in (0, 1, 5):
        check_compiled(graph, batch)
