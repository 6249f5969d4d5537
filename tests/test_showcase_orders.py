# pyright: standard
"""The k-th derivatives of benchmarks/derivatives.py: what they are, and how the graph grows."""

from __future__ import annotations

import importlib
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.polynomial import Chebyshev

import gradloom as gl
from gradloom.compiler.fuse import partition
from gradloom.compiler.pipeline import compile_graph
from gradloom.compiler.recompute import made_where_read
from gradloom.frontends.function import cpu_target
from gradloom.ir.graph import Graph


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "benchmarks"), *sys.path])
    yield importlib.import_module("derivatives")
    sys.modules.pop("derivatives")


def derivatives_along(module: Any, most: int) -> list[float]:
    """dᵏ/dεᵏ of the loss at w + ε v, by a polynomial through it: nothing of ours."""
    x, t, weights, direction = module.data()

    def loss(step: float) -> float:
        *hidden, last = (w + step * v for w, v in zip(weights, direction, strict=True))
        h: Any = x
        for w in hidden:
            h = np.tanh(h @ w)
        return float(np.mean((h @ last - t) ** 2))

    values: Any = np.vectorize(loss)
    fitted = Chebyshev.interpolate(values, 40, [-1.0, 1.0])
    return [float(fitted.deriv(k)(0.0)) if k else loss(0.0) for k in range(most + 1)]


def test_the_first_three_derivatives(benchmark: Any) -> None:
    x, t, weights, direction = benchmark.data()
    for order, wanted in enumerate(derivatives_along(benchmark, 3)):
        inputs, value = benchmark.built(order)
        found = gl.function(inputs, value)(x, t, *weights, *direction)
        np.testing.assert_allclose(found, wanted, rtol=10.0 ** (2 * order - 13))


def test_they_are_those_of_jax(benchmark: Any) -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    ours, theirs = benchmark.in_gradloom(3), benchmark.in_jax(3)
    np.testing.assert_allclose(ours["value"], theirs["value"], rtol=1e-10)
    assert ours["rewritten"] < theirs["equations"]


def test_the_graph_little_more_than_doubles_with_each_order(benchmark: Any) -> None:
    """Reverse over reverse doubles the walk each time; sharing and rewriting keep it at that."""
    sizes: list[int] = []
    kernels: list[int] = []
    for order in range(1, 6):
        inputs, value = benchmark.built(order)
        made = compile_graph(Graph("g", inputs, [value]), cpu_target())
        assert made.program is not None
        sizes.append(len(made.stages["split"].nodes))
        kernels.append(len(made.program.kernels))
    growth = [after / before for before, after in pairwise(sizes)]
    assert max(growth) < 2.3, sizes
    assert kernels[-1] < sizes[-1] / 4, kernels


def test_a_large_derivative_is_cut_into_kernels(benchmark: Any) -> None:
    """Each node stands in one kernel, also where full groups hand on to others that then merge."""
    inputs, value = benchmark.built(6)
    stages = compile_graph(Graph("g", inputs, [value]), cpu_target()).stages
    (*_, graph, _fused) = stages.values()
    group_of = partition(graph, made_where_read(graph))
    for group in set(group_of.values()):
        assert len(set(group.nodes)) == len(group.nodes)
        assert all(group_of[node] is group for node in group.nodes)
