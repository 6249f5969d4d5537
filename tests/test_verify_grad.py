# pyright: standard
"""gl.verify_grad: right derivatives pass in every mode and order, planted mistakes are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import ArgumentError, GradientError

RNG = np.random.default_rng(3)
X, W = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2))


def network(x: Any, w: Any) -> Any:
    return gl.log_softmax(gl.tanh(x @ w), axis=1), gl.logsumexp(x * x)


def test_right_derivatives_pass() -> None:
    found = gl.verify_grad(network, (X, W))
    assert set(found.errors) == {
        *(("reverse",), ("forward",), ("reverse", "reverse"), ("reverse", "forward")),
        *(("forward", "reverse"), ("forward", "forward")),
    }
    assert found.comparisons == 2 * 2 * 6  # inputs, directions, modes
    assert max(found.errors.values()) < 1e-6
    assert "forward over reverse: " in str(found)
    third = gl.verify_grad(lambda x: gl.sum(gl.sin(x) * x), X, order=3, directions=1)
    assert ("reverse", "forward", "reverse") in third.errors


@pytest.mark.parametrize("size", [1.0, 0.5])
def test_slopes_of_what_saturates_pass(size: float) -> None:
    """Sums near 16 and 8: what is left of 1 − tanh² there is mostly rounding."""
    rng = np.random.default_rng(0)
    inputs = size * rng.random((3, 64)), rng.random((64, 2))
    gl.verify_grad(lambda x, w: gl.sum(gl.tanh(x @ w)), inputs)


def test_structures_integers_and_the_interpreter() -> None:
    table = {"rows": np.arange(12.0, dtype="float32").reshape(4, 3) / 5, "scale": 0.7}
    places = np.array([0, 2, 2])

    def picked(parts: Any, at: Any) -> Any:
        return {"y": parts["rows"][at] * gl.exp(parts["scale"]), "at": at}

    for compiled in (True, False):
        found = gl.verify_grad(picked, (table, places), compiled=compiled, directions=1)
        assert found.comparisons == 2 * 6


def test_loops_roots_and_sizes() -> None:
    def loop(h: Any, xs: Any) -> Any:
        return gl.scan(lambda c, x: (gl.tanh(c * 0.5 + x), c * x), h, xs)

    gl.verify_grad(loop, (RNG.normal(size=2), RNG.normal(size=(4, 2))), directions=1)
    gl.verify_grad(lambda a: gl.linalg.inv(a), np.eye(3) + 0.1 * RNG.normal(size=(3, 3)))
    for size in (1e-6, 1.0, 1e6):  # the step goes with the size of the input
        gl.verify_grad(lambda x: gl.sqrt(x) * x, size * (1 + RNG.random(4)), directions=1)
    gl.verify_grad(lambda x: gl.sum(x * 2), np.zeros((0, 3)))
    gl.verify_grad(lambda x: x * x, np.zeros(1))
    gl.verify_grad(lambda x: gl.stop_gradient(gl.constant(1.0)) * x, 2.0)


@gl.custom_derivative(vjp=lambda u, y, x: u * (1.0 - gl.square(y)) * 1.001)
def wrong_reverse(x: Any) -> Any:
    return gl.tanh(x)


@gl.custom_derivative(
    vjp=lambda u, y, x: u * gl.cos(x), jvp=lambda t, y, x: t * gl.cos(x) + t * 1e-4
)
def wrong_forward(x: Any) -> Any:
    return gl.sin(x)


@gl.custom_derivative(vjp=lambda u, y, x: u * gl.stop_gradient(gl.exp(x)))
def wrong_second(x: Any) -> Any:
    return gl.exp(x)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (wrong_reverse, "order 1 (reverse) by inputs[0] along direction 0"),
        (wrong_forward, "order 1 (forward) by inputs[0]"),
        (wrong_second, "order 2 (reverse over reverse) by inputs[0]"),
        (gl.stop_gradient, "is 0.0, but differences give"),
    ],
)
def test_a_wrong_rule_is_named(function: Any, told: str) -> None:
    gl.verify_grad(lambda x: gl.tanh(x) + gl.sin(x) + gl.exp(x), X)
    with pytest.raises(GradientError) as caught:
        gl.verify_grad(lambda x: function(x) * 2.0, X)
    assert told in str(caught.value)
    assert "at test_verify_grad.py:" in str(caught.value)
    assert "or a nan at inputs[0][0]?" in str(caught.value).replace("[0][0, 0]", "[0][0]")
    with pytest.raises(GradientError, match=r"by inputs\[1\]\['w'\]"):
        gl.verify_grad(lambda x, p: x + function(p["w"]), (X, {"w": X}))


def test_no_number_is_no_derivative() -> None:
    with pytest.raises(GradientError, match="or a nan, which the function itself gives"):
        gl.verify_grad(lambda x: gl.log(x), np.array([1.0, -1.0]))
    with pytest.raises(GradientError, match=r"or a nan at inputs\[0\]\[1\]\?"):
        gl.verify_grad(lambda x: gl.sqrt(gl.abs(x)), np.array([1.0, 0.0]))
    kink = r"a kink within 2h = 0\.0002 \|v\|, or a nan at inputs\[1\]\['w'\]\[1, 0\]\?"
    points = (np.array([1.0, 2.0]), {"w": np.array([[1.0, 2.0], [0.0, 3.0]])})
    with pytest.raises(GradientError, match=kink):
        gl.verify_grad(lambda x, p: gl.abs(x) + gl.abs(p["w"]), points)


def test_the_seed_decides() -> None:
    first, second, again = (gl.verify_grad(network, (X, W), seed=s) for s in (1, 2, 1))
    assert first == again != second


def test_nothing_to_differentiate() -> None:
    with pytest.raises(ArgumentError, match=r"no input is a float.*at test_verify_grad\.py"):
        gl.verify_grad(lambda i: i + 1, np.arange(3))
    with pytest.raises(ArgumentError, match="no result is a float"):
        gl.verify_grad(lambda x: gl.argmax(x), X)
    for wrong in (gl.placeholder((3,)), 3, None):
        with pytest.raises(ArgumentError, match=r"needs a function and .*at test_verify_grad\.py"):
            gl.verify_grad(wrong, X)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"are arrays.*f32\[3\].*at test_verify_grad\.py"):
        gl.verify_grad(lambda x: x, (gl.placeholder((3,)),))
    with pytest.raises(ArgumentError, match="at least 1"):
        gl.verify_grad(lambda x: x, X, order=0)
