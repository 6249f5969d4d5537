"""Explanations of gradients: what they say is true of graphs whose answer is known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.cost import cost
from gradloom.frontends.explain import Row
from gradloom.frontends.gradient_values import norm, numbers
from gradloom.ir.dims import evaluate
from gradloom.ir.errors import ArgumentError, GradientError
from gradloom.ir.tensor import Tensor

HERE = Path(__file__).name


def line() -> int:
    """The number of the calling line."""
    return sys._getframe(1).f_lineno  # pyright: ignore[reportPrivateUsage]


def row(explanation: gl.GradientExplanation, op: str) -> Row:
    """The only row of an op."""
    (found,) = [found for found in explanation.rows if found.op == op]
    return found


def names(explanation: gl.GradientExplanation) -> list[str]:
    return [found.op for found in explanation.rows]


# --- without numbers --------------------------------------------------------------------------


def test_nodes_in_order_with_lines_uses_and_cost():
    x = gl.placeholder(("B", 8), name="x")
    w = gl.parameter(np.ones((8, 4), np.float32), name="w")
    z = x @ w
    first = line() - 1
    h = gl.tanh(z)
    loss = gl.sum(h * gl.exp(h))
    told = gl.explain_grad(loss, w)
    assert told.exists and names(told)[-5:] == ["sum", "multiply", "exp", "tanh", "matmul"]
    assert [str(found) for found in row(told, "matmul").loc] == [f"{HERE}:{first}"]
    assert [str(found) for found in row(told, "tanh").loc] == [f"{HERE}:{first + 2}"]
    assert row(told, "tanh").uses == 2 and row(told, "matmul").uses == 1
    assert row(told, "tanh").ways == told.ways == 2
    b = x.shape[0]
    assert row(told, "matmul").flops == 2 * 8 * 4 * b, "one product, by w alone"
    fed = gl.explain_grad(loss, w, {x: np.ones((5, 8), np.float32)})
    assert row(fed, "matmul").flops == 2 * 8 * 4 * 5
    text = str(told)
    assert "64*B" in text and f"tanh      f32[B,4]  {2:>4}" in text


def test_cost_of_ops():
    x, y = gl.placeholder((6, 5), name="x"), gl.placeholder((5, 3), name="y")
    assert cost((x @ y).node) == (2 * 6 * 5 * 3, 4 * (30 + 15 + 18))
    assert cost((x + x).node) == (30, 4 * (30 + 30))
    assert cost(gl.sum(x, axis=0, keepdims=True).node).flops == 30
    assert cost(gl.permute_dims(x, (1, 0)).node) == (0, 0)
    softmax = cost(gl.softmax(x, axis=1).node)
    assert isinstance(softmax.flops, int) and softmax.flops > 30 * 15, "an exp an element at least"

    def body(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return carry + x * x, carry

    last, _ = gl.scan(body, gl.zeros((5,)), x)
    assert cost(last.node).flops == 6 * 2 * 5


def test_cost_of_decompositions():
    """The counts of Golub & Van Loan, but for lower powers of the size."""
    n, b = 30, gl.placeholder(("B", 30, 4))
    x = gl.placeholder((n, n))
    assert cost(gl.linalg.cholesky(x).node).flops == n**3 // 3
    assert cost(gl.linalg.det(x).node).flops == 2 * n**3 // 3
    solved = cost(gl.linalg.solve(gl.placeholder(("B", n, n)), b).node).flops
    assert evaluate(solved, {"B": 5}) == 5 * (2 * n**3 // 3 + 2 * n * n * 4)
    assert cost(gl.linalg.eigh(x)[0].node).flops == 9 * n**3
    tall = gl.placeholder((50, n))
    assert cost(gl.linalg.svd(tall)[1].node).flops == 22 * 50 * n**2
    assert cost(gl.linalg.qr(gl.placeholder((0, n)))[0].node).flops == 0


def test_what_stands_for_several_ops_names_them():
    x = gl.placeholder((3, 4), name="x")
    p = gl.exp(x) / gl.sum(gl.exp(x), axis=1, keepdims=True)
    told = gl.explain_grad(-gl.mean(gl.log(p)[:, 0]), x)
    assert set(row(told, "log_softmax").was) == {"log", "divide", "exp", "sum"}
    assert "was log, divide, exp, sum" in str(told)


def cut_by_user(x: Tensor) -> Tensor:
    return gl.stop_gradient(gl.sin(x))


def cut_by_comparison(x: Tensor) -> Tensor:
    return gl.where(x > 0, 1.0, 2.0)


def cut_by_argmax(x: Tensor) -> Tensor:
    return gl.argmax(x, axis=0).astype("float32")


def cut_by_integers(x: Tensor) -> Tensor:
    return x.astype("int32").astype("float32")


def cut_by_rounding(x: Tensor) -> Tensor:
    return gl.floor(x) + gl.sign(x)


@pytest.mark.parametrize(
    ("build", "op", "why"),
    [
        (cut_by_user, "stop_gradient", "the user asked for none here"),
        (cut_by_comparison, "greater", "no float"),
        (cut_by_argmax, "equal", "no float"),
        (cut_by_integers, "cast", "no float"),
        (cut_by_rounding, "floor", "step function"),
    ],
)
def test_cut_ways_say_why_and_where(build: Callable[[Tensor], Tensor], op: str, why: str):
    x = gl.placeholder((4,), name="x")
    other = build(x)
    told = gl.explain_grad(gl.sum(other), x)
    assert not told.exists and "every way from it to the loss is cut" in str(told)
    cuts = [found for found in told.rows if found.cut and found.op == op]
    assert cuts and any(why in found.cut for found in cuts)
    here = f"{HERE}:{build.__code__.co_firstlineno + 1}"
    assert all(str(found.loc[0]) == here for found in cuts)
    assert f"cut: {cuts[0].cut}" in str(told) and here in str(told)
    beside = gl.explain_grad(gl.sum(other) + gl.sum(x * gl.exp(x)), x)
    assert beside.exists and beside.ways == 2
    assert any(found.cut for found in beside.rows)


def test_no_dependence_no_float_and_the_loss_itself():
    x, y = gl.placeholder((4,), name="x"), gl.placeholder((4,), "int64", name="y")
    assert "does not depend on it at all" in str(gl.explain_grad(gl.sum(gl.sin(x)), gl.ones((2,))))
    told = gl.explain_grad(gl.sum(x), y)
    assert not told.exists and "no float" in str(told)
    loss = gl.sum(x)
    told = gl.explain_grad(loss, loss, {"x": np.ones(4, np.float32)})
    assert told.exists and told.ways == 1
    assert told.gradient is not None and told.gradient.norm == 1.0


def test_wrong_use_is_told():
    x = gl.placeholder((4,), name="x")
    with pytest.raises(GradientError, match="must be a scalar"):
        gl.explain_grad(x, x)
    with pytest.raises(ArgumentError, match=r"got 'w', at test_explain\.py"):
        gl.explain_grad(gl.sum(x), "w")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="no value for x"):
        gl.explain_grad(gl.sum(x), x, {})


def test_ten_thousand_nodes_stay_readable():
    x = gl.placeholder((2,), name="x")
    y = x
    for _ in range(3400):
        y = gl.sin(y * 1.5) + 0.5
    told = gl.explain_grad(gl.sum(y), x)
    assert len(told.rows) > 10_000
    lines = str(told).splitlines()
    assert len(lines) < 80 and any("… " in text and " nodes: " in text for text in lines)


def test_ways_that_double_are_counted():
    x = gl.placeholder((), name="x")
    y = x
    for _ in range(100):
        y = gl.sin(y) * gl.cos(y)
    told = gl.explain_grad(y, x)
    assert told.ways == 2**100 and "1e30 ways" in str(told)


# --- with numbers -----------------------------------------------------------------------------


def test_numbers_are_those_of_the_arrays():
    array = np.array([0, 1e-40, np.nan, np.inf, -3, 4, 0, 0], np.float32)
    found = numbers([array])
    assert (found.low, found.high, found.size) == (-3, 4, 8)
    assert (found.zero, found.subnormal, found.nan, found.infinite) == (3 / 8, 1 / 8, 1 / 8, 1 / 8)
    assert numbers([np.zeros((0, 3), np.float32)]).size == 0
    assert norm([np.array([3e200, 4e200])]) == pytest.approx(5e200)
    assert norm([np.array([3e-200]), np.array([4e-200])]) == pytest.approx(5e-200)
    assert np.isnan(norm([np.array([np.nan, np.inf])]))


def test_cotangents_and_factors_equal_those_by_hand():
    rng = np.random.default_rng(0)
    xs, ws = rng.standard_normal((5, 3)), rng.standard_normal((3, 4))
    x = gl.placeholder((5, 3), "float64", name="x")
    w = gl.parameter(ws, name="w")
    loss = gl.sum(gl.tanh(x @ w) ** 2)
    told = gl.explain_grad(loss, w, {"x": xs})
    h = np.tanh(xs @ ws)
    by_h = 2 * h
    by_z = by_h * (1 - h * h)
    gradient = np.linalg.norm(xs.T @ by_z)
    tanh, matmul = row(told, "tanh"), row(told, "matmul")
    assert tanh.cotangent is not None and tanh.cotangent.norm == pytest.approx(np.linalg.norm(by_h))
    assert tanh.value is not None and tanh.value.high == pytest.approx(h.max())
    assert tanh.factor == pytest.approx(np.linalg.norm(by_z) / np.linalg.norm(by_h))
    assert matmul.factor == pytest.approx(gradient / np.linalg.norm(by_z))
    assert told.gradient is not None and told.gradient.norm == pytest.approx(gradient)
    product = np.prod([found.factor for found in told.rows if found.factor is not None])
    assert product == pytest.approx(gradient), "one way: the factors multiply"


def explained(build: Callable[[Tensor], Tensor], values: Any) -> gl.GradientExplanation:
    array = np.asarray(values, np.float32)
    x = gl.placeholder(array.shape, name="x")
    return gl.explain_grad(gl.sum(build(x)), x, {x: array})


def faint(x: Tensor) -> Tensor:
    return gl.sin(x * 1e-30) * 1e-30


def beyond_five(x: Tensor) -> Tensor:
    return gl.relu(x - 5.0)


def log_of_one_more(x: Tensor) -> Tensor:
    return gl.log(x * x + 1.0)


def softmax(x: Tensor) -> Tensor:
    return gl.softmax(x, axis=1)[:, 0]


@pytest.mark.parametrize(
    ("build", "values", "op", "mark"),
    [
        (gl.sigmoid, [20.0] * 20, "sigmoid", "saturated"),
        (gl.tanh, [-20.0] * 19 + [0.0], "tanh", "saturated"),
        (softmax, [[50.0, 0, 0]] * 4, "softmax", "saturated"),
        (gl.relu, [[-1.0, 2.0, 3.0], [-2.0, -1.0, 4.0]], "relu", "dead: 1 of 3 units"),
        (gl.exp, [-200.0, 0.0], "exp", "its value underflows to 0 in 50 %"),
        (gl.exp, [200.0, 0.0], "exp", "its value overflows here in 50 %"),
        (gl.log, [-1.0, 2.0], "log", "its value becomes nan here in 50 %"),
        (gl.rsqrt, [1e-30, 1.0], "rsqrt", "the derivative overflows here in 50 %"),
        (
            faint,
            [1.0, 2.0],
            "multiply",
            "cotangent · slope underflows",
        ),
        (beyond_five, [1.0, 2.0], "relu", "nothing of the gradient gets through"),
    ],
)
def test_marks(build: Callable[[Tensor], Tensor], values: Any, op: str, mark: str):
    told = explained(build, values)
    marks = [text for found in told.rows if found.op == op for text in found.marks]
    assert any(mark in text for text in marks), marks
    assert f"! {next(text for text in marks if mark in text)}" in str(told)


@pytest.mark.parametrize(
    "build",
    [gl.sigmoid, gl.tanh, softmax, gl.relu, gl.exp, log_of_one_more, gl.sqrt],
)
def test_nothing_is_marked_where_all_is_well(build: Callable[[Tensor], Tensor]):
    told = explained(build, np.linspace(0.1, 2.0, 20).reshape(5, 4))
    assert [found.marks for found in told.rows if found.marks] == []


def test_masks_are_no_underflow():
    told = explained(lambda x: gl.exp(gl.where(x > 0, x, -gl.inf)), [1.0, -1.0])
    assert row(told, "exp").marks == []


def test_a_product_with_zero_is_no_underflow():
    assert row(explained(gl.square, [0.0, 1.0]), "square").marks == []
    (mark,) = row(explained(gl.square, [1e-30, 1.0]), "square").marks
    assert "its value underflows to 0 in 50 %" in mark


def test_naive_formulas_have_the_numbers_of_the_stable_ones():
    x = gl.placeholder((2, 3), name="x")
    p = gl.exp(x) / gl.sum(gl.exp(x), axis=1, keepdims=True)
    loss = -gl.mean(gl.log(p)[:, 0])
    told = gl.explain_grad(loss, x, {"x": np.array([[1e4, 0, 0], [0, 1e4, 1]], np.float32)})
    for found in told.rows:
        assert found.cotangent is not None and found.cotangent.nan == 0
        assert found.value is not None and found.value.nan == found.value.infinite == 0
    inner = gl.explain_grad(loss, p, {"x": np.ones((2, 3), np.float32)})
    assert inner.exists and inner.gradient is not None
    assert inner.gradient.norm == pytest.approx(np.sqrt(2) * 3 / 2)


def test_halves_and_empty_arrays():
    for dtype in ("float16", "bfloat16"):
        x = gl.placeholder((3,), dtype, name="x")
        fed = {"x": np.ones(3, getattr(gl, dtype).numpy)}
        told = gl.explain_grad(gl.sum(gl.tanh(x)).astype("float32"), x, fed)
        assert told.gradient is not None and told.gradient.norm > 0.5
    x = gl.placeholder(("B", 3), name="x")
    told = gl.explain_grad(gl.sum(gl.relu(gl.tanh(x))), x, {"x": np.zeros((0, 3), np.float32)})
    assert told.gradient is not None and told.gradient.size == 0 and "empty" in str(told)


def test_a_loop_is_one_node_with_its_steps():
    xs = gl.placeholder(("T", 2), "float64", name="xs")
    u = gl.parameter(np.array([[0.3, 0.1], [-0.1, 0.2]]), name="u")

    def body(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = h @ u + x
        return h, h

    h, _ = gl.scan(lambda h, x: body(h, x), gl.zeros((1, 2), "float64"), xs)
    told = gl.explain_grad(gl.sum(h), u, {"xs": np.ones((6, 2))})
    loop = row(told, "scan")
    assert loop.steps == 6 and "a loop of 6 steps" in str(told)
    assert isinstance(loop.flops, int) and loop.flops > 6 * 8
    expected = [
        np.linalg.norm(np.ones(2) @ np.linalg.matrix_power(u.value.T, 5 - t)) for t in range(6)
    ]
    assert loop.step_norms is not None and np.allclose(loop.step_norms, expected)
    assert "norm" in str(told) and gl.explain_grad(gl.sum(h), u).rows[-1].steps == xs.shape[0]


def test_custom_derivatives_and_taps_are_one_node_each():
    def rounded(x: Tensor) -> Tensor:
        return gl.round(x)

    def straight_through(cotangent: Tensor, _y: Tensor, _x: Tensor) -> Tensor:
        return 3.0 * cotangent

    x = gl.placeholder((4,), name="x")
    tapped = gl.tap(gl.sin(x), lambda cotangent: 0.25 * cotangent)
    loss = gl.sum(gl.custom_derivative(rounded, vjp=straight_through)(tapped))
    told = gl.explain_grad(loss, x, {"x": np.ones(4, np.float32)})
    assert names(told)[-3:] == ["custom", "custom", "sin"]
    assert [found.factor for found in told.rows[-3:-1]] == pytest.approx([3.0, 0.25])
    assert "the function rounded" in str(told) and "the function tap" in str(told)


def test_gradients_of_gradients_are_explained():
    x = gl.placeholder((4,), name="x")
    values = np.linspace(0.1, 1.0, 4, dtype=np.float32)
    penalty = gl.sum(gl.grad(gl.sum(gl.sin(x)), x) ** 2)
    told = gl.explain_grad(penalty, x, {"x": values})
    assert told.gradient is not None
    expected = np.linalg.norm(-2 * np.cos(values) * np.sin(values))
    assert told.gradient.norm == pytest.approx(expected, rel=1e-5)


def test_constant_factors_are_told_apart():
    """A mean divides by its count; what shrinks the gradient is the saturated op."""
    x, w = gl.placeholder(("B", 4), name="x"), gl.placeholder((4, 3), name="w")
    loss = gl.mean(3.0 * gl.tanh(5.0 * (x @ w)))
    feeds = {"x": np.ones((50, 4), np.float32), "w": np.full((4, 3), 0.1, np.float32)}
    told = gl.explain_grad(loss, w, feeds)
    scaling = {found.op for found in told.rows if found.scale}
    assert scaling >= {"divide", "sum", "multiply"} and not scaling & {"tanh", "matmul"}
    *_, shrinks, grows, scales = str(told).splitlines()
    assert shrinks.startswith("its norm shrinks most at tanh (row ") and "divide" not in shrinks
    assert grows.startswith("its norm grows most at matmul (row ")
    assert scales.startswith("by constants alone, whatever the values are, at divide (row ")
