"""Random graphs over the whole op table: optimised = reference = compiled; idempotent passes."""

from __future__ import annotations

import pytest

import gradloom as gl
from gradloom.compiler.pipeline import AFTER, BEFORE, PASSES, ROUND
from gradloom.ir.graph import Graph
from gradloom.ir.op import TABLE
from gradloom.ir.text import constants_of
from gradloom.ir.verify import verify

from .graphs import graph_of_seed
from .test_pipeline import check_compiled

NOT_DRAWN = {
    *("argsort", "searchsorted", "eigh", "svd", "qr", "pinv", "triangular_solve"),
    *("input", "parameter", "fused", "pin", "wrap_index", "checked", "weighted_log_ratio"),
    *("after", "checkpoint"),  # test_checkpoint.py
    "matmul_add",  # test_accumulate.py
    *("switch", "while_loop"),  # test_loops_campaign.py
    "custom",  # test_custom_campaign.py draws them
    *("partial_sum", "partial_max", "partial_min", "partial_prod"),
}


def check_passes(graph: Graph) -> None:
    """Each pass of the pipeline, in turn, keeps types, does nothing twice, and reads back."""
    assert gl.parse(str(graph), constants_of(graph)) == graph
    for name in dict.fromkeys([*BEFORE, *ROUND, *AFTER]):
        after = PASSES[name](graph)
        verify(after, name)
        assert [t.type for t in after.results] == [t.type for t in graph.results], name
        assert PASSES[name](after) == after, name
        again = gl.parse(str(after), constants_of(after))
        assert again == after, name
        assert str(again) == str(after), name
        graph = after


@pytest.mark.campaign(3)
@pytest.mark.parametrize("seed", range(12))
def test_graphs_of_all_entries(seed: int) -> None:
    graph = graph_of_seed(seed)
    check_passes(graph)
    check_compiled(graph, 3)


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(20))
def test_many_graphs_of_all_entries(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        graph = graph_of_seed(seed)
        check_passes(graph)
        check_compiled(graph, (0, 1, 5)[seed % 3])


def test_the_table_is_drawn() -> None:
    """But for what jumps where a number is rounded, has no value, or is made by passes."""
    names = {node.op.name for seed in range(2000) for node in graph_of_seed(seed).walk()}
    missing = {op.name for op in TABLE.values() if op.kind != "request"} - names
    assert missing <= NOT_DRAWN, missing - NOT_DRAWN
