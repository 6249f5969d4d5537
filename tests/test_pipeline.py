"""The pipeline: order constraints, and compiled = optimised = reference on random graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import gradloom as gl
from gradloom.compiler.pipeline import AFTER, BEFORE, ORDER, PASSES, ROUND, compile_graph
from gradloom.ir import dtypes as dt
from gradloom.ir.graph import Graph
from gradloom.ir.target import Target
from gradloom.ir.tensor import Node, Tensor, TensorType
from gradloom.ir.text import constants_of

from .graphs import feeds_of, graphs
from .precise import evaluate_precisely


@pytest.mark.parametrize(("first", "second", "reason"), ORDER)
def test_order(first: str, second: str, reason: str) -> None:
    sequence = [*BEFORE, *ROUND, *AFTER]
    assert sequence.index(first) < sequence.index(second), reason


def test_every_pass_is_used_and_documented() -> None:
    assert set(PASSES) == {*BEFORE, *ROUND, *AFTER}
    assert all(function.__doc__ for function in PASSES.values())


def test_select_comes_after_the_last_simplify() -> None:
    """simplify makes gathers of one-hot sums, which select turns back where they are computed."""
    assert AFTER.index("select") > max(i for i, name in enumerate(AFTER) if name == "simplify")


def as_list(results: Any) -> list[Any]:
    """Several results as they are, one as a list."""
    return results if isinstance(results, list) else [results]  # pyright: ignore[reportUnknownVariableType]


def check_compiled(graph: Graph, batch: int) -> None:
    feeds = feeds_of(graph, 0, batch)
    values = list(feeds.values())
    fused = gl.compile(graph)
    results = as_list(fused(*values))
    expected = evaluate_precisely(graph, feeds)
    for found, value, tensor in zip(results, expected, graph.outputs, strict=True):
        assert found.dtype == tensor.dtype.numpy
        wide = np.asarray(value)
        good = np.isfinite(wide) & (np.abs(wide) < 1e30)
        scale = 1 + np.max(np.abs(wide), where=good, initial=0)
        tolerance = (3e-4 if tensor.dtype.bits == 32 else 1e-9) * float(scale)
        np.testing.assert_allclose(found[good], wide[good].astype("f8"), 1e-3, tolerance)
    plain = as_list(gl.compile(graph, fusion=False)(*values))
    for a, b in zip(results, plain, strict=True):
        np.testing.assert_array_equal(a, b)
    for stage in fused.stages.values():
        assert gl.parse(str(stage), constants_of(stage)) == stage
    assert gl.parse_program(str(fused.program)) == fused.program


@settings(max_examples=12)
@given(graph=graphs(smooth=True))
def test_random_graphs(graph: Graph) -> None:
    check_compiled(graph, 3)


@pytest.mark.slow
@settings(max_examples=300)
@given(graph=graphs(smooth=True, most_nodes=25))
def test_many_random_graphs(graph: Graph) -> None:
    for batch in (0, 1, 5):
        check_compiled(graph, batch)


def test_a_wrong_node_is_found_behind_the_pass_that_made_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where all other nodes were found right before, and are not looked at again."""

    def wrong(graph: Graph) -> Graph:
        (old,) = graph.outputs
        node = Node(old.node.op, old.node.operands, old.node.attrs)
        node.results = (Tensor(node, 0, TensorType(dt.float64, old.shape)),)
        return graph.replace(node.results)

    x = gl.placeholder((3,), "float32", "x")
    monkeypatch.setitem(PASSES, "masks", wrong)
    with pytest.raises(gl.VerifyError, match="after masks"):
        compile_graph(Graph("g", [x], [gl.exp(gl.sin(x))]), Target())
