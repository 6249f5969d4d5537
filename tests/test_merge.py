"""Loops side by side as one, what is there twice, and short loops written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.pipeline import run_pass
from gradloom.ir.graph import Graph
from gradloom.ir.ops.scan import Scan, make_scan
from gradloom.ir.tensor import Tensor

from .random_loops import check_bits, drawn_arrays, ops_in, scans_of

X = gl.placeholder((6, 3), "float32", "x")
LONG = gl.placeholder((9, 3), "float32", "long")
C = gl.placeholder((3,), "float32", "c")
W = gl.placeholder((3, 3), "float32", "w")
N = gl.placeholder((), "int64", "n")


def scans_in(graph: Graph) -> list[Scan]:
    return [Scan(node) for node in graph.walk() if node.op.name == "scan"]


def after(name: str, outputs: list[Tensor]) -> list[Scan]:
    """The scans behind one pass, which keeps values and does nothing twice."""
    graph = Graph("g", [], outputs)
    graph = Graph("g", graph.free, outputs)
    made = run_pass(graph, name)
    assert run_pass(made, name) == made
    feeds = dict(zip(made.inputs, drawn_arrays(made.inputs, {}, 0), strict=True))
    found, wanted = gl.evaluate(made, feeds), gl.evaluate(graph, feeds)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    return scans_in(made)


def loop(xs: Tensor, c: Tensor, factor: float, reverse: bool = False) -> tuple[Tensor, Tensor]:
    """A scan of its own for each factor."""
    found: tuple[Tensor, Tensor] = gl.scan(
        lambda h, x: (gl.tanh(h * factor + x), h * x), c, xs, reverse=reverse
    )
    return found


# --- merge ----------------------------------------------------------------------------------------


def test_loops_that_do_not_wait_for_each_other_are_one() -> None:
    a, b, c = loop(X, C, 0.5), loop(X, gl.sin(C), 0.25), loop(gl.cos(X), C, 2.0)
    (scan,) = after("merge", [*a, *b, *c])
    assert (len(scan.carries), len(scan.sequences), len(scan.stacked)) == (3, 2, 3)


def test_a_loop_that_waits_for_another_stays_behind_it() -> None:
    a = loop(X, C, 0.5)
    b = loop(X, a[0], 0.25)
    c = loop(a[1], C, 2.0)
    d = loop(X, C, 3.0)
    first, second = after("merge", [*b, *c, *d])
    assert (len(first.carries), len(second.carries)) == (2, 2)


def test_merging_closes_no_cycle() -> None:
    """a → b and c → d: a could merge with d, or b with c, but not both."""
    a, c = loop(X, C, 0.5), loop(LONG, C, 0.25)
    b, d = loop(LONG, a[0], 2.0), loop(X, c[0], 3.0)
    assert len(after("merge", [*b, *d])) == 4


def test_loops_of_other_steps_stay_apart() -> None:
    limited = [
        make_scan(Graph("body", [C], [C * f], parameters=()), [C], [], [], 6, False, None, limit)
        for f, limit in ((2.0, N), (3.0, N), (5.0, N + 1))
    ]
    outputs = [*loop(X, C, 0.5), *loop(X, C, 0.25, reverse=True), *loop(LONG, C, 2.0)]
    outputs += [scan.finals[0] for scan in limited]
    found = after("merge", outputs)
    assert sorted(len(scan.carries) for scan in found) == [1, 1, 1, 1, 2]


def test_loops_in_loops_merge_as_well() -> None:
    def body(c: Tensor, x: Tensor) -> Any:
        a = gl.scan(lambda h, _: (gl.sin(h) * x, None), c, length=20)[0]
        b = gl.scan(lambda h, _: (gl.cos(h) + x, None), c, length=20)[0]
        return a + b, None

    last, _ = gl.scan(body, C, X)
    assert len(after("merge", [last, loop(X, C, 0.5)[0]])) == 2


def test_gradients_of_several_losses() -> None:
    """The ways there of two recurrences are one loop, and so are their ways back."""
    xs = gl.placeholder((30, 4, 3), "float32", "xs")
    v = gl.placeholder((3, 3), "float32", "v")
    start = gl.zeros((4, 3))

    def loss(w: Tensor) -> Tensor:
        return gl.sum(gl.scan(lambda h, x: (gl.tanh(h @ w + x), None), start, xs)[0])

    inputs, outputs = [xs, W, v], [gl.grad(loss(W), W), gl.grad(loss(v), v)]
    made = check_bits(inputs, outputs, drawn_arrays(inputs, {}, 0))
    assert len(scans_of(made)) == 2
    assert "loops side by side" in [report.rule for report in made.report.others]


# --- alike ----------------------------------------------------------------------------------------


def test_a_loop_with_its_tangent_computes_the_values_once() -> None:
    xs = gl.placeholder((30, 4, 3), "float32", "xs")
    start = gl.placeholder((4, 3), "float32", "start")
    last, _ = gl.scan(lambda h, x: (gl.tanh(h @ W + x), None), start, xs)
    moved = gl.jvp(gl.sum(last), W, gl.ones((3, 3)))
    inputs = [xs, start, W]
    made = check_bits(inputs, [last, moved], drawn_arrays(inputs, {}, 0))
    (scan,) = scans_of(made)
    assert ops_in(scan.body).count("tanh") == 1
    assert len(scan.carries) == 2


def test_carries_that_stay_equal_are_one() -> None:
    def body(carry: Any, x: Tensor) -> Any:
        a, b, c, d = carry
        return (a * x + gl.sin(b), b * x + gl.sin(a), c * x, d + c), (a, b)

    carry, ys = gl.scan(body, (C, C, C, C), X)
    (scan,) = after("alike", [*carry, *ys])
    assert len(scan.carries) == 3
    assert not scan.stacked  # the history is what they were


def test_carries_that_change_places_and_never_differ_are_constants() -> None:
    (a, b, c), ys = gl.scan(lambda t, x: ((t[1], t[0], t[2] + t[0] * x), t[1]), (C, C, C), X)
    (scan,) = after("alike", [a, b, c, ys])
    assert len(scan.carries) == 1
    assert len(scan.constants) == 1


def test_what_is_given_twice_is_given_once() -> None:
    other = Graph(
        "body",
        [C, *(t := [gl.placeholder((3,), "float32", f"t{i}") for i in range(4)])],
        [C * t[0] + t[1] * t[2] - t[3], t[0], t[1], t[3]],
        parameters=(),
    )
    scan = make_scan(other, [C], [X, X], [W[0], W[0]], 6, False)
    outputs = [*scan.finals, *scan.stacked]
    made = run_pass(Graph("g", [C, X, W], outputs), "cse")
    (small,) = after("alike", [*made.outputs])
    assert (len(small.sequences), len(small.constants), len(small.stacked)) == (1, 1, 1)


def test_a_loop_that_stops_keeps_rows_that_are_zero() -> None:
    """Its rows are not those of the sequence, and its last carry need not be the first."""
    t = gl.placeholder((3,), "float32", "t")
    body = Graph(
        "body",
        [C, t, *(u := [gl.placeholder((3,), "float32", "u")])],
        [C + u[0], t + u[0], u[0]],
        parameters=(),
    )
    proceed = Graph("proceed", [C, t], [gl.sum(t) < 1.0])
    scan = make_scan(body, [C, C], [X], [], 6, False, proceed)
    assert scan.steps is not None
    outputs = [*scan.finals, *scan.stacked, *scan.history, scan.steps]
    (small,) = after("alike", outputs)
    assert (len(small.carries), len(small.stacked)) == (1, 1)


# --- unroll ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 2])
@pytest.mark.parametrize("reverse", [False, True])
def test_short_loops_are_written_out(length: int, reverse: bool) -> None:
    xs = gl.placeholder((length, 3), "float32", "xs")
    last, ys = loop(xs, C, 0.5, reverse)
    loss = gl.sum(last) + gl.sum(ys * gl.sin(ys))
    inputs = [xs, C]
    outputs = [loss, last, ys, *gl.grad(loss, [xs, C] if length else [C])]
    made = check_bits(inputs, outputs, drawn_arrays(inputs, {}, 0))
    assert not scans_of(made)
    assert scans_of(made, "dead-2")


def test_long_large_and_named_loops_stay() -> None:
    wide = gl.placeholder((100, 300), "float32", "wide")
    assert len(after("unroll", [gl.scan(lambda h, x: (h * x, None), C, X)[0]])) == 0
    assert len(after("unroll", [gl.scan(lambda h, _: (h * 2, None), C, length=49)[0]])) == 1
    assert len(after("unroll", [gl.scan(lambda h, _: (h * 2, None), wide, length=4)[0]])) == 1
    named = gl.placeholder(("T", 3), "float32", "named")
    graph = Graph("g", [named, C], [gl.scan(lambda h, x: (h * x, None), C, named)[0]])
    assert run_pass(graph, "unroll") == graph


def test_a_loop_with_a_limit_is_not_written_out() -> None:
    body = Graph("body", [C], [C * 2], parameters=())
    scan = make_scan(body, [C], [], [], 1, False, None, N)
    assert len(after("unroll", [*scan.finals])) == 1
    none = make_scan(body, [C], [], [], 0, False, Graph("p", [C], [gl.sum(C) < 0]), N)
    assert none.steps is not None
    assert not after("unroll", [*none.finals, *none.history, none.steps])
