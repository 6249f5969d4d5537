# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Graphs of ten thousand nodes, deep nesting, many sizes: time and memory stay in proportion."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl

F32 = np.float32


def chain(nodes: int) -> tuple[gl.Tensor, gl.Tensor]:
    x = gl.placeholder(("B",), name="x")
    y = x
    for i in range(nodes):
        y = gl.tanh(y) if i % 2 else y * x
    return x, gl.sum(y)


def wide(nodes: int) -> tuple[gl.Tensor, gl.Tensor]:
    x = gl.placeholder(("B",), name="x")
    total = x
    for i in range(nodes // 3):
        total = total + gl.exp(x * (i / nodes))
    return x, gl.sum(total)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        result = work()
        return result, time.process_time() - began
    finally:
        gc.enable()


REWRITING = (
    *("cse", "isolate", "stabilise", "simplify", "fold", "dead", "expand"),
    *("contract_fma", "lift", "split", "fuse"),
)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [chain, wide])
@pytest.mark.parametrize("passes", [(), REWRITING])
def test_time_is_linear_in_the_nodes(shape: Any, passes: tuple[str, ...]) -> None:
    def measure(nodes: int) -> dict[str, float]:
        seconds: dict[str, float] = {}
        (x, y), seconds["build"] = timed(lambda: shape(nodes))
        graph, seconds["graph"] = timed(lambda: gl.Graph("big", [x], [y]))
        asked, seconds["ask"] = timed(lambda: gl.Graph("big", [x], [gl.grad(y, x)]))
        text, seconds["print"] = timed(lambda: str(graph))
        parsed, seconds["parse"] = timed(lambda: gl.parse(text))
        same, seconds["equal"] = timed(lambda: parsed == graph)
        _, seconds["verify"] = timed(lambda: gl.verify(graph))
        feeds = {"x": np.full(3, 0.5, F32)}
        value, seconds["evaluate"] = timed(lambda: gl.evaluate(graph, feeds))
        gradient, seconds["differentiate"] = timed(lambda: gl.run_pass(asked, "differentiate"))
        slope, seconds["evaluate gradient"] = timed(lambda: gl.evaluate(gradient, feeds))
        for name in passes:
            gradient, seconds[name] = timed(lambda g=gradient, n=name: gl.run_pass(g, n))
        assert same and np.isfinite(value) and np.isfinite(slope).all()
        return seconds

    small, big = measure(1000), measure(10_000)
    slow = {
        name: f"{small[name]:.3f} s at 1000 nodes, {seconds:.3f} s at 10 000"
        for name, seconds in big.items()
        if seconds > 0.3 and seconds > 30 * small[name]
    }
    assert not slow


@pytest.mark.parametrize("shape", [chain, wide])
def test_a_big_graph_compiles_and_runs(shape: Any) -> None:
    x, y = shape(1000)
    f = gl.function([x], [y, gl.grad(y, x)])
    feeds = {"x": np.array([0.5, -0.25, 0.75], F32)}
    for found, expected in zip(f(**feeds), gl.evaluate(f.graph, feeds), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert gl.parse_program(str(f.program)) == f.program


def test_a_gate_behind_many_numbers():
    """Whether a scale may be 0 is not asked of thousands of ops one within the other."""
    x = gl.placeholder((3,), name="x")
    y = gl.sqrt(x)
    for _ in range(1000):
        y = y / 1.0001
    graph = gl.Graph("f", [x], [gl.grad(gl.sum(y), x)])
    for name in ("differentiate", "stabilise"):
        graph = gl.run_pass(graph, name)
    assert len(graph.nodes) < 2500


def test_deeply_nested_outputs_and_scans() -> None:
    x = gl.placeholder((3,), name="x")
    nested: Any = x * 2
    for _ in range(100):
        nested = [nested]
    found = gl.function([x], nested)([1, 2, 3])
    for _ in range(100):
        (found,) = found
    np.testing.assert_array_equal(found, [2, 4, 6])

    def loop(depth: int, carry: gl.Tensor) -> gl.Tensor:
        if depth == 0:
            return carry * 0.5 + x
        return gl.scan(lambda c, _: (loop(depth - 1, c), None), carry, length=2)[0]

    f = gl.function([x], loop(4, gl.zeros((3,))))
    expected = np.zeros(3)
    for _ in range(16):
        expected = expected * 0.5 + np.array([1, 2, 3])
    np.testing.assert_allclose(f([1, 2, 3]), expected, rtol=1e-5)


def test_many_sizes_do_not_hold_memory_for_ever() -> None:
    resource = pytest.importorskip("resource")
    x = gl.placeholder(("B",), name="x")
    f = gl.function([x], gl.max(gl.exp(x) * gl.sum(x)) + gl.sum(gl.sin(x)[::-1] @ gl.cos(x)))
    data = np.zeros(1_000_000, F32)
    for size in range(100):
        f(data[: 900_000 + size * 1000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for size in range(400):
        f(data[: 900_000 + size * 200])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 1200, f"{grown:.0f} MiB for 400 sizes"
