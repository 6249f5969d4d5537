"""What leaves loops, and what the way back finds stored: bits, and what is left inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.hoist import hoist
from gradloom.compiler.pipeline import run_pass
from gradloom.compiler.residual import residual
from gradloom.ir.graph import Graph
from gradloom.ir.ops.scan import Scan, make_scan
from gradloom.ir.tensor import Tensor

from .random_loops import LENGTHS, RandomLoop, check_bits, drawn_arrays, ops_in, scans_of


def check_random(seed: int, length: int, named: bool, dtype: str) -> None:
    loop = RandomLoop(seed, "T" if named else length, dtype)
    arrays = drawn_arrays(loop.inputs, {"T": length}, seed)
    check_bits(loop.inputs, loop.outputs, arrays, tolerance=1e-6 if dtype == "float64" else None)


@pytest.mark.campaign(2)
@pytest.mark.parametrize("seed", range(4))
def test_random_loops(seed: int) -> None:
    """The same bits as without the passes, for any body, length, and dtype."""
    dtype = ("float32", "float64", "float16")[seed % 3]
    check_random(seed, LENGTHS[seed % 4], seed % 2 == 0, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4, 120))
def test_many_random_loops(seed: int) -> None:
    dtype = ("float32", "float64", "float16")[seed % 3]
    check_random(seed, LENGTHS[seed % 4], seed % 2 == 0, dtype)


def lstm(length: int | str, size: int = 17) -> tuple[list[Tensor], list[Tensor]]:
    """The inputs, and a loss with its gradients by all weights, naively written."""
    xs = gl.placeholder((length, 5, 3), "float32", "xs")
    wx = gl.placeholder((3, 4 * size), "float32", "wx")
    wh = gl.placeholder((size, 4 * size), "float32", "wh")
    bias = gl.placeholder((4 * size,), "float32", "bias")

    def body(carry: tuple[Tensor, Tensor], x: Tensor) -> Any:
        h, c = carry
        i, f, g, o = gl.split(x @ wx + h @ wh + bias, 4, axis=-1)
        c = gl.sigmoid(f) * c + gl.sigmoid(i) * gl.tanh(g)
        h = gl.sigmoid(o) * gl.tanh(c)
        return (h, c), h

    _, ys = gl.scan(body, (gl.zeros((5, size)), gl.zeros((5, size))), xs)
    loss = gl.sum(gl.square(ys))
    return [xs, wx, wh, bias], [loss, *gl.grad(loss, [wx, wh, bias])]


@pytest.mark.parametrize("length", [0, 1, 7])
def test_lstm(length: int) -> None:
    """One product is left in the loop, and on the way back none of the forward ones but that for
    the state; those for the weights are one each behind it."""
    inputs, outputs = lstm("T")
    made = check_bits(inputs, outputs, drawn_arrays(inputs, {"T": length}, 0))
    forward, back = scans_of(made)
    assert ops_in(forward.body).count("matmul") == 1
    assert ops_in(back.body).count("matmul") == 1  # by h
    assert ops_in(back.body).count("matmul_add") == 0
    assert ops_in(made.stages["fuse"]).count("matmul") == 5  # and one for all x
    assert len(forward.stacked) == 2  # h, and what enters the gates
    titles = [report.rule for report in made.report.others]
    expected = {"product of all steps at once", "kept from the loop before"}
    assert expected | {"added up behind the loop"} <= set(titles)


def hoisted(body: Callable[[Tensor, Tensor], Any]) -> tuple[Graph, Graph]:
    """A graph over one scan, and the region of its loop, behind hoist."""
    xs = gl.placeholder((4, 3, 9), "float32", "xs")
    state = gl.placeholder((3, 9), "float32", "state")
    last, ys = gl.scan(body, state, xs)
    inputs = [xs, state]
    graph = Graph("g", inputs, [last] if ys is None else [last, ys])
    graph = Graph("g", [*inputs, *graph.free], graph.outputs)
    made = run_pass(graph, "hoist")
    assert run_pass(made, "hoist") == made  # nothing is done twice
    (scan,) = (node for node in made.nodes if node.op.name == "scan")
    return made, scan.regions[0]


W = gl.placeholder((9, 9), "float32", "w")
B = gl.placeholder((9,), "float32", "b")


def test_element_wise_ops_behind_a_product_leave_with_it() -> None:
    made, body = hoisted(lambda c, x: (gl.tanh(gl.sin(x * 2 @ W + B) + c), None))
    assert ops_in(body) == ["add", "tanh"]
    assert ops_in(made).count("matmul") == 1


def test_products_of_columns_leave_as_one_product_of_rows() -> None:
    vector = gl.placeholder((9,), "float32", "vector")
    xs = gl.placeholder((4, 9), "float32", "xs")
    last, _ = gl.scan(lambda c, x: (gl.tanh(W @ x + c), None), vector, xs)
    made = run_pass(Graph("g", [xs, vector, W], [last]), "hoist")
    (product,) = (node for node in made.walk() if node.op.name == "matmul")
    assert product.results[0].shape == (4, 9)
    assert product in made.nodes


def test_a_product_that_waits_for_the_carry_stays() -> None:
    _, body = hoisted(lambda c, x: (gl.tanh((x + c) @ W), None))
    assert ops_in(body) == ["add", "matmul", "tanh"]


def test_a_product_of_two_entries_stays() -> None:
    """Over all steps its result would be far larger than what it is made of."""
    _, body = hoisted(lambda c, x: (c + x @ (x.T @ x), None))
    assert ops_in(body).count("matmul") == 2


def test_checks_host_calls_and_what_waits_for_them_stay() -> None:
    def body(c: Tensor, x: Tensor) -> Any:
        order = gl.take_along_axis(x, gl.argsort(x, axis=1), axis=1)
        checked = gl.check(x, x > 0, "positive")
        return c + order @ W + checked @ W, None

    _, inside = hoisted(body)
    assert ops_in(inside).count("matmul") == 2


def test_a_check_of_what_never_changes_stays() -> None:
    """The loop may take no step, and then nothing is to fail."""
    c = gl.placeholder((9,), "float32", "c")
    checked = gl.check(gl.exp(B), B > 0, "positive")
    body = Graph("body", [c, B], [c + gl.sin(checked)], parameters=())
    length = gl.placeholder(("T",), "float32", "named").shape[0]
    scan = make_scan(body, [c], [], [B], length, False)
    made = run_pass(Graph("g", [c, B], scan.finals), "hoist")
    assert "checked" not in [node.op.name for node in made.nodes]


def test_halves_are_kept_as_halves() -> None:
    """Not as the float32 numbers that their products are computed in."""
    xs = gl.placeholder(("T", 3, 9), "float16", "xs")
    weight = gl.placeholder((9, 9), "float16", "weight")
    start = gl.zeros((3, 9), "float16")
    last, _ = gl.scan(lambda h, x: (gl.tanh(x @ weight + h @ weight), None), start, xs)
    inputs, outputs = [xs, weight], [last, gl.grad(gl.sum(last), weight)]
    made = check_bits(inputs, outputs, drawn_arrays(inputs, {"T": 7}, 0), tolerance=None)
    for scan in scans_of(made):
        assert {str(t.dtype) for t in (*scan.sequences, *scan.stacked)} == {"f16"}


def test_what_is_the_same_in_every_step_leaves() -> None:
    v = gl.placeholder((9, 9), "float32", "v")

    def body(c: Tensor, x: Tensor) -> Any:
        loss = gl.sum(gl.tanh(c @ gl.exp(v)))
        return gl.grad(loss, c), None

    made, inside = hoisted(body)
    text = run_pass(made, "differentiate")
    made = run_pass(text, "hoist")
    (scan,) = (node for node in made.nodes if node.op.name == "scan")
    assert {"exp", "permute"}.isdisjoint(ops_in(scan.regions[0]))
    assert "request" not in ops_in(inside)


def test_cheap_invariants_stay() -> None:
    """They are made where they are read, sooner than loaded."""
    c = gl.placeholder((9,), "float32", "c")
    after = c * (B + 1) + gl.arange(9, dtype="float32") * 0.5 + gl.exp(B)
    scan = make_scan(Graph("body", [c, B], [after], parameters=()), [c], [], [B], 4, False)
    made = run_pass(Graph("g", [c, B], scan.finals), "hoist")
    assert [node.op.name for node in made.nodes] == ["exp", "scan"]
    assert ops_in(made.nodes[1].regions[0]).count("add") == 3


def test_products_for_a_loop_inside_stay_in_its_segment() -> None:
    """Loops of loops keep less in memory than all steps need: so does what they read."""
    xs = gl.placeholder((4, 5, 3, 9), "float32", "xs")
    state = gl.placeholder((3, 9), "float32", "state")

    def segment(c: Tensor, part: Tensor) -> Any:
        return gl.scan(lambda h, x: (gl.tanh(x @ W + h), None), c, part)

    last, _ = gl.scan(segment, state, xs)
    loss = gl.sum(last)
    inputs = [xs, state, W]
    outputs = [loss, *gl.grad(loss, inputs)]
    made = check_bits(inputs, outputs, drawn_arrays(inputs, {}, 0))
    assert "matmul" not in [node.op.name for node in made.stages["hoist"].nodes]
    inner = [scan for scan in scans_of(made, "hoist") if scan.length == 5]
    assert sum(ops_in(scan.body).count("matmul") for scan in inner) == 1  # both are of the way back
    assert sum(ops_in(scan.body).count("matmul_add") for scan in inner) == 1


def test_a_stopping_loop_computes_no_steps_that_it_may_not_take() -> None:
    """What is the same in every step leaves all the same."""
    c = gl.placeholder((3, 9), "float32", "c")
    x = gl.placeholder((3, 9), "float32", "x")
    xs = gl.placeholder((4, 3, 9), "float32", "xs")
    body = Graph("body", [c, x, W], [gl.tanh(x @ gl.exp(W) + c)], parameters=())
    proceed = Graph("proceed", [c, W], [gl.sum(c) < gl.sum(W)])
    scan = make_scan(body, [c], [xs], [W], 4, False, proceed)
    made = run_pass(Graph("g", [c, xs, W], scan.finals), "hoist")
    (node,) = (node for node in made.nodes if node.op.name == "scan")
    assert ops_in(node.regions[0]) == ["add", "matmul", "tanh"]
    assert len(node.regions[1].inputs) == 3
    feeds = dict(zip(made.inputs, drawn_arrays(made.inputs, {}, 0), strict=True))
    before = Graph("g", [c, xs, W], scan.finals)
    np.testing.assert_array_equal(gl.evaluate(made, feeds), gl.evaluate(before, feeds))


def test_the_way_back_keeps_the_host_calls_of_the_way_there() -> None:
    state = gl.placeholder((4, 4), "float32", "state")

    def body(c: Tensor, _: None) -> Any:
        return gl.tanh(c @ gl.linalg.inv(c + 4 * gl.eye(4))), None

    last, _ = gl.scan(body, state, length=30)
    loss = gl.sum(last)
    made = check_bits([state], [loss, gl.grad(loss, state)], drawn_arrays([state], {}, 0))
    forward, back = scans_of(made)
    assert ops_in(forward.body).count("solve") == 1
    assert ops_in(back.body).count("solve") == 1  # of its own: with the transpose


@pytest.mark.parametrize("as_many", [True, False])
def test_only_what_the_other_loop_computed_is_read_from_it(as_many: bool) -> None:
    """Rows of steps that a loop did not take are 0, and not what another makes of its history."""
    c = gl.placeholder((3, 9), "float32", "c")
    h = gl.placeholder((3, 9), "float32", "h")
    sum_ = c @ W + B
    body = Graph("body", [c, W, B], [sum_], parameters=())
    proceed = Graph("proceed", [c, W, B], [gl.sum(c * c) < 1e3])
    first = make_scan(body, [c], [], [W, B], 6, False, proceed)
    again = Graph("again", [c, h, W, B], [c + gl.tanh(h @ W + B)], parameters=())
    limit = first.steps if as_many else None
    second = make_scan(again, [c], [first.history[0]], [W, B], 6, True, None, limit)
    graph = Graph("g", [c, W, B], [*first.finals, *second.finals])
    made = run_pass(graph, "residual")
    scans = [Scan(node) for node in made.nodes if node.op.name == "scan"]
    assert ("matmul" not in ops_in(scans[1].body)) == as_many
    feeds = dict(zip(made.inputs, drawn_arrays(made.inputs, {}, 0), strict=True))
    for a, b in zip(gl.evaluate(made, feeds), gl.evaluate(graph, feeds), strict=True):
        np.testing.assert_array_equal(a, b)


def test_short_products_are_computed_again() -> None:
    """An outer product is larger than what it is made of."""
    state = gl.placeholder((3, 9), "float32", "state")
    last, _ = gl.scan(lambda c, _: (gl.sin(c @ gl.tanh(c.T @ c)), None), state, length=30)
    loss = gl.sum(last)
    made = check_bits(
        [state], [loss, gl.grad(loss, state)], drawn_arrays([state], {}, 0), tolerance=None
    )
    forward, _ = scans_of(made)
    assert all(y.shape[1:] == (3, 9) for y in (*forward.stacked, *forward.history))


def test_passes_leave_other_graphs_alone() -> None:
    graph = Graph("g", [W], [gl.exp(W) @ W])
    assert hoist(graph) is graph
    assert residual(graph) is graph


def test_second_derivatives_read_what_the_first_loop_kept() -> None:
    xs = gl.placeholder((6, 3, 9), "float32", "xs")
    state = gl.placeholder((3, 9), "float32", "state")
    last, _ = gl.scan(lambda c, x: (gl.tanh(x @ W + c @ W.T), None), state, xs)
    slope = gl.grad(gl.sum(last * last), W)
    inputs = [xs, state, W]
    outputs = [gl.grad(gl.sum(slope * slope), W), slope]
    made = check_bits(inputs, outputs, drawn_arrays(inputs, {}, 0), tolerance=1e-3)
    counts = [ops_in(scan.body).count("matmul") for scan in scans_of(made)]
    plain = [ops_in(scan.body).count("matmul") for scan in scans_of(made, "fold-3")]
    assert sum(counts) < sum(plain)
