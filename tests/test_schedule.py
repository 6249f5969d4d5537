"""The order in which nodes run: all of them once, operands first, and never more memory."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings

import gradloom as gl
from gradloom.compiler.pipeline import compile_graph
from gradloom.compiler.schedule import Work, schedule
from gradloom.ir.graph import Graph
from gradloom.ir.plan import nbytes, plan
from gradloom.ir.program import Check, Copy, Launch
from gradloom.ir.target import Target
from gradloom.ir.tensor import Node

from .graphs import graphs

CPU = Target("cpu", 8)


def linear_network(layers: int, size: int | str = 64) -> Graph:
    """A product a layer, and the gradients by all weights: with no other use of what it makes."""
    x = gl.placeholder((size, 64), "float32", "x")
    weights = [gl.parameter(np.eye(64, dtype=np.float32), f"w{i}") for i in range(layers)]
    value = x
    for weight in weights:
        value = value @ weight
    loss = gl.sum(value * value)
    return Graph("network", [x], [loss, *gl.grad(loss, weights)])


def fused(graph: Graph) -> Graph:
    return compile_graph(graph, CPU).stages["fuse"]


def assert_is_an_order(graph: Graph, order: list[Node]) -> None:
    assert len(order) == len(set(order)) and set(order) == set(graph.nodes)
    known = {*graph.inputs, *graph.parameters}
    for node in order:
        assert known.issuperset(node.operands)
        known.update(node.results)


@settings(max_examples=25)
@given(graphs())
def test_every_node_once_operands_first_and_no_more_bytes(drawn: Graph) -> None:
    graph = fused(drawn)
    order = schedule(graph)
    assert_is_an_order(graph, order)
    work = Work(graph)
    steps = [node for node in order if node in work.reads]
    assert work.peak(steps) <= work.peak(work.steps)


@pytest.mark.parametrize("size", [64, "B"])
def test_what_is_read_last_goes_first(size: int | str) -> None:
    """In the graph's own order each weight's gradient comes when all cotangents are there."""
    graph = fused(linear_network(12, size))
    order, work = schedule(graph), Work(graph)
    assert_is_an_order(graph, order)
    steps = [node for node in order if node in work.reads]
    values = 64 * 64 * 4 if size == 64 else 128 * 64 * 4  # the nominal size
    assert work.peak(work.steps) > 20 * values
    assert 11 * values < work.peak(steps) < 15 * values


def test_the_plan_sees_the_same() -> None:
    graph = linear_network(12)
    function = gl.compile(graph, {graph.names[p]: p for p in graph.parameters})
    assert plan(function.program, {}).total < 16 * 64 * 64 * 4


def test_large_temporaries_start_with_a_page() -> None:
    graph, size = linear_network(4, 260), 260 * 64 * 4
    program = gl.compile(graph, {graph.names[p]: p for p in graph.parameters}).program
    planned = plan(program, {})
    large = {planned.offsets[b.name] for b in program.of_kind("temporary") if nbytes(b, {}) == size}
    assert size % 4096 and large == {k * (size // 4096 + 1) * 4096 for k in range(len(large))}
    assert len(large) > 2 and planned.total < len(large) * (size + 4096)


def test_updates_need_no_memory_and_run_as_soon_as_the_old_value_is_not_read() -> None:
    graph = linear_network(8)
    loss, *gradients = graph.outputs
    updates = [(p, p - 0.1 * g) for p, g in zip(graph.parameters, gradients, strict=True)]
    program = compile_graph(Graph("step", graph.inputs, [loss], updates), CPU).program
    assert program is not None
    assert not any(isinstance(step, Copy) for step in program.steps)
    written = [
        i
        for i, step in enumerate(program.steps)
        if isinstance(step, Launch) and any(name in ("w1", "w7") for name in step.arguments[-2:])
    ]
    assert written[0] < len(program.steps) - 8  # not all of them at the end


def test_no_parameter_is_written_before_the_last_check() -> None:
    x, index = gl.placeholder((4, 4), "float32", "x"), gl.placeholder((4,), "int64", "index")
    weights = [gl.parameter(np.eye(4, dtype=np.float32), f"w{i}") for i in range(3)]
    value = x
    for weight in weights:
        value = gl.tanh(value @ weight)
    loss = gl.sum(value[gl.arange(4), index])
    updates = {w: w - g for w, g in zip(weights, gl.grad(loss, weights), strict=True)}
    step = gl.function([x, index], loss, updates)
    (check,) = (i for i, item in enumerate(step.program.steps) if isinstance(item, Check))
    names = {f"w{i}" for i in range(3)}
    kernels = {kernel.name: kernel for kernel in step.kernels}
    for i, item in enumerate(step.program.steps):
        if isinstance(item, Launch):
            pairs = zip(item.arguments, kernels[item.kernel].arguments, strict=True)
            if any(name in names and argument.is_output for name, argument in pairs):
                assert i > check
    before = [w.value.copy() for w in weights]
    with pytest.raises(gl.GradloomError, match="out of range"):
        step(np.ones((4, 4), np.float32), np.array([0, 1, 2, 9]))
    for weight, value in zip(weights, before, strict=True):
        np.testing.assert_array_equal(weight.value, value)
    step(np.ones((4, 4), np.float32), np.array([0, 1, 2, 3]))
    assert all((w.value != old).any() for w, old in zip(weights, before, strict=True))


def test_a_parameter_that_is_updated_by_its_transpose() -> None:
    """Its kernel reads the old value at another place than it writes."""
    w = gl.parameter(np.arange(9.0, dtype=np.float32).reshape(3, 3), "w")
    v = gl.parameter(np.ones((3, 3), np.float32), "v")
    step = gl.function([], gl.sum(w.T * v), {w: w + w.T, v: v + w.T})
    value = w.value.copy()
    np.testing.assert_allclose(step(), value.sum())
    np.testing.assert_array_equal(w.value, value + value.T)
    np.testing.assert_array_equal(v.value, 1 + value.T)


def test_a_long_chain_takes_little_time() -> None:
    x = gl.placeholder((16, 16), "float32", "x")
    value = x
    for _ in range(5000):
        value = gl.tanh(value @ x)
    graph = gl.run_pass(Graph("chain", [x], [value]), "fuse")
    start = time.perf_counter()
    order = schedule(graph)
    assert time.perf_counter() - start < 5
    assert len(order) == len(graph.nodes)


def test_an_update_waits_for_what_reads_the_old_value_and_for_what_may_fail() -> None:
    """Both stand behind it in the graph's order, which its results fix."""
    w = gl.parameter(np.arange(300.0, dtype=np.float32).reshape(3, 100), "w")
    v = gl.parameter(np.ones((100, 3), np.float32), "v")
    limit = gl.placeholder((), "float32", "limit")
    read = gl.tanh(w.T @ gl.sum(w, 1, keepdims=True))
    updates = {w: w * 2.0, v: gl.check(v - read, limit > 0, "no")}
    step = gl.function([limit], (), updates)
    old = w.value.copy()
    with pytest.raises(gl.CheckError):
        step(-1.0)
    np.testing.assert_array_equal(w.value, old)
    np.testing.assert_array_equal(v.value, np.ones((100, 3)))
    step(1.0)
    np.testing.assert_array_equal(w.value, 2 * old)
    expected = 1 - np.tanh(old.T @ old.sum(1, keepdims=True))
    np.testing.assert_allclose(v.value, np.broadcast_to(expected, (100, 3)), 1e-6)
