"""gl.check: assertions that hold or make the call fail, wherever they stand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import ArgumentError, CheckError, DTypeError, ShapeError

from .cuda_device import simulated

GOOD = np.array([[1.0, 2.0, 0.5], [3.0, 4.0, 9.0]], "float32")
BAD = np.array([[1.0, 2.0, 0.5], [3.0, -4.25, -9.0]], "float32")


def rooted(x: gl.Tensor) -> gl.Tensor:
    return gl.sqrt(gl.check(x, x >= 0, "a root needs no negative number")) * 2.0


def test_it_gives_x_and_names_message_value_and_line() -> None:
    x = gl.placeholder(("B", 3), name="x")
    y = rooted(x)
    step = gl.function([x], y)
    assert len(step.kernels) == 1
    np.testing.assert_array_equal(step(GOOD), gl.function([x], gl.sqrt(x) * 2.0)(GOOD))
    for call in (lambda: step(BAD), lambda: y.eval({x: BAD}), lambda: simulated(step)([BAD], [])):
        with pytest.raises(CheckError) as caught:
            call()
        text = str(caught.value)
        assert text.startswith("a root needs no negative number: it is -4.25, at test_check.py:")
        assert "gl.sqrt(gl.check(" in text
    np.testing.assert_array_equal(step(GOOD), y.eval({x: GOOD}))


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float16", "bfloat16", "float64", "bool"])
def test_the_value_of_each_dtype(dtype: str) -> None:
    x = gl.placeholder(("N",), dtype, name="x")
    limit = gl.placeholder((), dtype, name="limit")
    step = gl.function([x, limit], gl.check(x, x == limit, "differs"))
    like = x.dtype.numpy
    good, bad = np.array([1, 1], like), np.array([1, 0 if dtype == "bool" else 5], like)
    np.testing.assert_array_equal(step(good, like.type(1)), good)
    with pytest.raises(CheckError, match=rf"^differs: it is {0 if dtype == 'bool' else 5}, at"):
        step(bad, like.type(1))


def test_a_failing_step_changes_no_parameter() -> None:
    x = gl.placeholder(("B", 3), name="x")
    w = gl.parameter(np.ones(3, "float32"), name="w")
    loss = gl.sum(rooted(x) * w)
    new = gl.check(w - 0.1 * gl.grad(loss, w), w < 100, "w grows")
    step = gl.function([x], loss, updates={w: new})
    with pytest.raises(CheckError):
        step(BAD)
    np.testing.assert_array_equal(w.value, np.ones(3))
    step(GOOD)
    assert not np.array_equal(w.value, np.ones(3))
    w.value = np.full(3, 200.0, "float32")
    with pytest.raises(CheckError, match=r"^w grows"):
        step(GOOD)
    np.testing.assert_array_equal(w.value, np.full(3, 200.0))


def test_in_a_row_a_loop_and_a_batch() -> None:
    x = gl.placeholder(("B", 3), name="x")
    row = gl.softmax(rooted(x), axis=1)
    _, ys = gl.scan(lambda c, r: (c + gl.sum(rooted(r)), c), gl.constant(0.0), x)
    many = gl.vmap(rooted)(x)
    for y in (row, ys, many, gl.max(rooted(x), axis=1), rooted(x) @ gl.matrix_transpose(x)):
        step = gl.function([x], y)
        np.testing.assert_allclose(step(GOOD), y.eval({x: GOOD}), 1e-6)
        with pytest.raises(CheckError, match="it is -"):
            step(BAD)
        with pytest.raises(CheckError, match="it is -"):
            simulated(step)([BAD], [])
        assert gl.parse(str(step.graph)) == step.graph
        assert gl.parse_program(str(step.program)) == step.program
    assert np.shape(gl.function([x], row)(np.ones((0, 3), "float32"))) == (0, 3)


def test_its_derivative_is_that_of_x() -> None:
    x = gl.placeholder(("B", 3), name="x")
    y = gl.sum(rooted(x))
    plain = gl.grad(gl.sum(gl.sqrt(x) * 2.0), x)
    np.testing.assert_array_equal(gl.grad(y, x).eval({x: GOOD}), plain.eval({x: GOOD}))
    twice = gl.grad(gl.sum(gl.grad(y, x)), x)
    np.testing.assert_allclose(twice.eval({x: GOOD}), -0.5 * GOOD**-1.5, 1e-6)
    with pytest.raises(CheckError):
        gl.function([x], gl.grad(y, x))(BAD)


def test_it_is_folded_only_where_it_holds() -> None:
    held = gl.function([], gl.check(gl.constant(2.0), gl.constant(True), "never"))
    assert float(held()) == 2.0
    assert "checked" not in str(held.stages["fold-2"])
    fails = gl.function([], gl.check(gl.constant(2.0), gl.constant(False), "always"))
    with pytest.raises(CheckError, match=r"^always: it is 2"):
        fails()


def test_what_does_not_fit() -> None:
    x = gl.placeholder(("B", 3), name="x")
    wrong: Any = 3
    with pytest.raises(DTypeError, match="must be bool"):
        gl.check(x, x, "no")
    with pytest.raises(ShapeError):
        gl.check(x, gl.constant([True, False]), "no")
    with pytest.raises(ArgumentError, match="must be text"):
        gl.check(x, x > 0, wrong)


def test_any_message_comes_back() -> None:
    x = gl.placeholder(("N",), name="x")
    for message in ('a "b" {c} \\ d\ne', "ä → ß", "", "{", "%s {0}"):
        graph = gl.function([x], gl.check(x, x > 0, message))
        assert gl.parse(str(graph.graph)) == graph.graph
        assert gl.parse_program(str(graph.program)) == graph.program
        with pytest.raises(CheckError) as caught:
            graph(np.zeros(1, "float32"))
        assert str(caught.value).startswith(message + ": it is 0, at ")
