"""What fusion, and the passes right before it, make of small graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.fuse import MOST_NODES, fuse
from gradloom.compiler.lift import lift
from gradloom.compiler.select import select
from gradloom.compiler.split import PIECE, split
from gradloom.ir.dims import symbol
from gradloom.ir.graph import Graph
from gradloom.ir.program import Launch


def kernels(graph: Graph) -> list[list[str]]:
    """The ops of each fused node, in order."""
    skip = ("constant", "dimension")
    return [
        [inner.op.name for inner in node.regions[0].nodes if inner.op.name not in skip]
        for node in graph.nodes
        if node.op.name == "fused"
    ]


CASES = {
    "a chain with broadcasts is one kernel": (
        """graph @f(%x: f32[B,10], %b: f32[10]) {
          %0 = add %x, %b : f32[B,10]
          %1 = tanh %0 : f32[B,10]
          return %1
        }""",
        [["add", "tanh"]],
    ),
    "a softmax is one kernel": (
        """graph @f(%x: f32[B,10]) {
          %0 = max %x {axes=(1,)} : f32[B,1]
          %1 = subtract %x, %0 : f32[B,10]
          %2 = exp %1 : f32[B,10]
          %3 = sum %2 {axes=(1,)} : f32[B,1]
          %4 = divide %2, %3 : f32[B,10]
          return %4
        }""",
        [["max", "subtract", "exp", "sum", "divide"]],
    ),
    "sums over different axes are two kernels": (
        """graph @f(%x: f32[B,10]) {
          %0 = exp %x : f32[B,10]
          %1 = sum %0 {axes=(1,)} : f32[B,1]
          %2 = sum %0 {axes=(0,)} : f32[1,10]
          return %1, %2
        }""",
        [["exp", "sum"], ["sum"]],
    ),
    "a product takes what follows it as its epilogue": (
        """graph @f(%x: f32[B,8], %w: f32[8,10], %b: f32[10]) {
          %0 = matmul %x, %w : f32[B,10]
          %1 = add %0, %b : f32[B,10]
          %2 = tanh %1 : f32[B,10]
          return %2
        }""",
        [["matmul", "add", "tanh"]],
    ),
    "what a gather reads must lie in memory, its index need not": (
        """graph @f(%x: f32[B,10], %i: i64[B,1]) {
          %0 = exp %x : f32[B,10]
          %1 = wrap_index %i {size=10} : i64[B,1]
          %2 = gather %0 at %1 {axes=(1,)} : f32[B,1]
          %3 = log %2 : f32[B,1]
          return %3
        }""",
        [["exp"], ["wrap_index", "gather", "log"]],
    ),
    "not even where the gather has the shape of what it reads": (
        """graph @f(%x: f32[B,10], %i: i64[B,10]) {
          %0 = exp %x : f32[B,10]
          %1 = gather %0 at %i {axes=(1,)} : f32[B,10]
          return %1
        }""",
        [["exp"], ["gather"]],
    ),
    "a way out of a group and back closes no cycle": (
        """graph @f(%x: f32[4,4]) {
          %0 = exp %x : f32[4,4]
          %1 = permute %0 {axes=(1, 0)} : f32[4,4]
          %2 = matmul %0, %1 : f32[4,4]
          %3 = add %2, %0 : f32[4,4]
          return %3
        }""",
        [["exp"], ["matmul", "add"]],
    ),
    "rows that are folded go to what folds them again": (
        """graph @f(%x: f32[B,10], %i: i64[B,1]) {
          %0 = wrap_index %i {size=10} : i64[B,1]
          %1 = multiply %i, %0 : i64[B,1]
          %2 = cast %1 {dtype=f32} : f32[B,1]
          %3 = multiply %x, %2 : f32[B,10]
          %4 = sum %3 {axes=(1,)} : f32[B,1]
          %5 = matmul %x, %w : f32[B,10]
          %6 = multiply %5, %4 : f32[B,10]
          %7 = max %6 {axes=(1,)} : f32[B,1]
          return %7
        }""".replace("%i: i64[B,1])", "%i: i64[B,1], %w: f32[10,10])"),
        [["matmul"], ["wrap_index", "multiply", "cast", "multiply", "sum", "multiply", "max"]],
    ),
    "columns that are folded do not": (
        """graph @f(%x: f32[B,10], %w: f32[10,10]) {
          %0 = exp %x : f32[B,10]
          %1 = sum %0 {axes=(0,)} : f32[1,10]
          %2 = matmul %x, %w : f32[B,10]
          %3 = multiply %2, %1 : f32[B,10]
          %4 = max %3 {axes=(1,)} : f32[B,1]
          return %4
        }""",
        [["matmul"], ["exp", "sum"], ["multiply", "max"]],
    ),
    "independent ones of a space merge": (
        """graph @f(%x: f32[8], %y: f32[8]) {
          %0 = exp %x : f32[8]
          %1 = tanh %y : f32[8]
          return %0, %1
        }""",
        [["exp", "tanh"]],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_kernels(name: str) -> None:
    text, expected = CASES[name]
    graph = gl.parse(text)
    fused = fuse(graph)
    gl.verify(fused)
    assert kernels(fused) == expected
    alone = fuse(graph, enabled=False)
    gl.verify(alone)
    assert all(len(ops) == 1 for ops in kernels(alone))


def test_a_kernel_has_a_size_cap() -> None:
    x = gl.placeholder((8,), name="x")
    y = x
    for _ in range(10 * MOST_NODES):
        y = gl.tanh(y)
    sizes = [len(ops) for ops in kernels(fuse(Graph("f", [x], [y])))]
    assert sum(sizes) == 10 * MOST_NODES
    assert max(sizes) <= 2 * MOST_NODES
    assert len(sizes) <= 11


def test_long_reductions_are_split() -> None:
    x = gl.placeholder(("N", 10), name="x")
    small = gl.placeholder((PIECE,), name="small")
    graph = split(Graph("f", [x, small], [gl.sum(x), gl.max(small), gl.sum(x, axis=1)]))
    names = [node.op.name for node in graph.nodes]
    assert names.count("partial_sum") == 1
    assert "partial_max" not in names


def test_lift_moves_squeezes_to_memory() -> None:
    x = gl.placeholder(("B", 1), name="x")
    graph = lift(Graph("f", [x], [gl.reshape(gl.exp(gl.tanh(x)), ("B",))]))
    assert [node.op.name for node in graph.nodes] == ["reshape", "tanh", "exp"]
    total = gl.reshape(gl.exp(gl.sum(x, axis=0, keepdims=True)), ())
    kept = lift(Graph("f", [x], [total]))  # nothing may part the sum from exp
    assert [node.op.name for node in kept.nodes] == ["sum", "exp", "reshape"]


def test_lift_moves_what_broadcasts_along() -> None:
    """A bias between two layers whose arrays differ in an axis of size 1."""
    x, b = gl.placeholder(("B", 3, 4), name="x"), gl.placeholder((3, 1), name="b")
    graph = lift(Graph("f", [x, b], [gl.reshape(gl.tanh(x + b), ("B", 1, 3, 4))]))
    assert [node.op.name for node in graph.nodes] == ["reshape", "reshape", "add", "tanh"]
    shapes = [operand.shape for operand in graph.nodes[2].operands]
    assert shapes == [(symbol("B"), 1, 3, 4), (1, 1, 3, 1)]


def test_axes_of_sums_are_dropped_where_values_are_stored() -> None:
    """What else is read from memory does not part a sum from what is made of it."""
    x, p = gl.placeholder(("B", 4), name="x"), gl.placeholder((4,), name="p")
    slope = gl.sum(x, axis=0)
    graph = lift(Graph("f", [x, p], [p - 0.1 * (slope + 0.5 * p)]))
    computed = [node.op.name for node in graph.nodes if node.op.kind != "leaf"]
    assert computed[-2:] == ["subtract", "reshape"]
    assert lift(graph) == graph
    (kernel,) = kernels(fuse(graph))
    assert kernel == ["sum", "multiply", "add", "multiply", "subtract"]
    other = lift(Graph("g", [x, p], [slope * gl.max(gl.exp(x), axis=0)]))
    assert [node.op.name for node in other.nodes][-2:] == ["multiply", "reshape"]
    factor = gl.exp(p)  # for others too, who may compute it
    computed = lift(Graph("h", [x, p], [factor, slope * factor]))
    assert [node.op.name for node in computed.nodes][-1] == "multiply"


@pytest.mark.parametrize("rule", ["plain", "momentum", "adam"])
@pytest.mark.parametrize("check", [False, True])
def test_a_sum_and_the_updates_made_of_it_are_one_kernel(rule: str, check: bool) -> None:
    """Which writes over all the parameters, where nothing can fail behind it."""
    start = np.linspace(-1, 1, 12).astype("f4")
    x = gl.placeholder(("B", 12), name="x")
    p, m, v = (gl.parameter(np.abs(start) * k, name=name) for k, name in enumerate("pmv", 1))
    g = gl.sum(x * x, axis=0)
    updates = {p: p - 0.1 * g}
    if rule == "momentum":
        updates = {m: 0.9 * m + g, p: p - 0.1 * (0.9 * m + g)}
    elif rule == "adam":
        first, second = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        updates = {m: first, v: second, p: p - 0.1 * first / (gl.sqrt(second) + 1e-8)}
    outputs = [gl.check(x, x >= 0, "negative")] if check else []
    values = np.random.default_rng(0).normal(size=(9, 12)).astype("f4") ** 2
    results: list[list[bytes]] = []
    ways: list[dict[str, Any]] = [{}, {"fusion": False}, {"threads": 1}]
    for how in ways:
        for parameter, k in zip((p, m, v), (1, 2, 3), strict=True):
            parameter.value = np.abs(start) * k
        step = gl.function([x], outputs, updates=updates, **how)
        if not how:
            assert len(step.kernels) == 1 + check
            assert not [buffer for buffer in step.program.buffers if buffer.kind == "temporary"]
        step(values)
        results.append([parameter.value.tobytes() for parameter in (p, m, v)])
    assert results[0] == results[1] == results[2]
    old = [parameter.value for parameter in (p, m, v)]
    if check:
        with pytest.raises(gl.CheckError, match="negative"):
            gl.function([x], outputs, updates=updates)(-values)
        np.testing.assert_array_equal(old, [parameter.value for parameter in (p, m, v)])


def test_a_sum_that_others_wait_for_is_made_apart() -> None:
    """Then its update may write over the parameter, and needs no copy."""
    x, p = gl.placeholder(("B", 4), name="x"), gl.parameter(np.ones(4, "f4"), name="p")
    slope = gl.sum(x, axis=0)
    loss = gl.check(gl.sum(x), gl.sum(slope * slope) < 1e9, "too large")
    step = gl.function([x], loss, updates={p: p - 0.1 * slope})
    last = step.program.steps[-1]
    assert isinstance(last, Launch) and last.arguments.count("p") == 2
    step(np.full((2, 4), 5.0, "f4"))
    np.testing.assert_array_equal(p.value, np.zeros(4))
    with pytest.raises(gl.CheckError):
        step(np.full((2, 4), 1e6, "f4"))
    np.testing.assert_array_equal(p.value, np.zeros(4))


def test_sums_of_columns_are_one_kernel_whatever_their_number() -> None:
    xs = [gl.placeholder(("B", n), name=f"x{n}") for n in (3, 10, 64, 200)]
    function = gl.function(xs, [gl.sum(x, axis=0) for x in xs])
    assert len(function.kernels) == 1
    values = [np.random.default_rng(n).normal(size=(40, int(x.shape[1]))) for n, x in enumerate(xs)]
    for found, x in zip(function(*[v.astype("f4") for v in values]), values, strict=True):
        np.testing.assert_allclose(found, x.sum(0), rtol=1e-5, atol=1e-5)
    short = [gl.placeholder((5, n), name=f"x{n}") for n in (3, 10)]  # no sum is compensated
    assert len(gl.function(short, [gl.sum(x, axis=0) for x in short]).kernels) == 1


def test_select_only_where_the_row_is_computed() -> None:
    x = gl.placeholder(("B", 10), name="x")
    t = gl.placeholder(("B",), "int64", name="t")
    computed = gl.take_along_axis(gl.exp(x), t[:, None], axis=1)
    stored = gl.take_along_axis(x, t[:, None], axis=1)
    graph = select(Graph("f", [x, t], [computed, stored]))
    assert [node.op.name for node in graph.nodes].count("gather") == 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_select_finds_every_number(dtype: str) -> None:
    x = gl.placeholder(("B", 3), dtype, name="x")
    t = gl.placeholder(("B", 1), "int64", name="t")
    function = gl.function([x, t], gl.take_along_axis(-x, t, axis=1))
    assert len(function.kernels) == 1
    numbers = np.array([0.0, -0.0, 1.5, np.inf, -np.inf, np.nan, 2.0**-24, -1e4], dtype)
    rows = np.stack([np.roll(numbers, k) for k in range(3)], axis=1)
    places = np.arange(len(rows))[:, None] % 3
    found, wanted = function(rows, places), np.take_along_axis(-rows, places, axis=1)
    np.testing.assert_array_equal(found, wanted)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(found)[known], np.signbit(wanted)[known])


def test_what_broadcasts_is_moved_once():
    """A reshape behind a product, one factor of which is made of a smaller array alone."""
    x, y = gl.placeholder((5, 1, 3), name="x"), gl.placeholder((5, 1, 1), name="y")
    product = gl.reshape(x * (y + 1.0), (5, 3))
    graph = lift(Graph("g", [x, y], [product]))
    values = [np.arange(15, dtype=np.float32).reshape(5, 1, 3), np.ones((5, 1, 1), np.float32)]
    np.testing.assert_array_equal(gl.compile(graph)(*values), 2 * values[0][:, 0])


@pytest.mark.parametrize("fusion", [True, False])
def test_what_has_fewer_axes_is_there_for_an_empty_batch(fusion: bool) -> None:
    """A kernel of rows computes a number once a row: the stored one must not wait for rows."""
    x, z = gl.placeholder(("B", 4), name="x"), gl.placeholder((), name="z")
    rate = gl.parameter(np.float32(0.5), name="rate")
    new = gl.tanh(rate) * gl.exp(z)
    other = gl.log1p(z * z) * new
    outputs = [gl.softmax(x, axis=1) * new + other, other]
    step = gl.function([x, z], outputs, updates={rate: new}, fusion=fusion)
    for rows in (0, 2, 0):
        rate.value = np.float32(0.5)
        told, number = step(np.ones((rows, 4), np.float32), np.float32(1))
        wanted = np.tanh(0.5) * np.e
        np.testing.assert_allclose(rate.value, wanted, 1e-6)
        np.testing.assert_allclose(number, np.log(2) * wanted, 1e-6)
        np.testing.assert_allclose(
            told, np.full((rows, 4), 0.25 * wanted + np.log(2) * wanted), 1e-5
        )
