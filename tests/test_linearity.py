# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Which rules of custom derivatives serve the other mode, and what the others are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import GradientError
from gradloom.ir.tensor import Tensor
from gradloom.ir.text import constants_of

X = gl.placeholder((3,), "float64", "x")
A = np.array([0.5, -1.0, 2.0])
EYE = np.eye(3)
REVERSED = gl.constant([2, 1, 0])


def double(x: Tensor) -> Tensor:
    return x * 2.0


def nothing(kind: str = "float64") -> Tensor:
    return gl.zeros(3, kind)


def summed(u: Tensor, x: Tensor, start: float, step: Any = lambda h: h * 0.5) -> Tensor:
    def body(h: Tensor, row: Any) -> tuple[Tensor, Tensor]:
        return step(h) + row[0] * row[1], h

    return gl.scan(body, gl.constant(start, "float64"), (u, x))[1]


# fmt: off
LINEAR: dict[str, Any] = {
    "none": lambda u, r, x: None,
    "factor": lambda u, r, x: (1 - r * r) * u - u / gl.exp(x),
    "mask": lambda u, r, x: gl.where(x > 0, u, 0.0),
    "zeros": lambda u, r, x: u + nothing(),
    "cast": lambda u, r, x: u.astype("float32").astype("float64") - gl.mean(u),
    "product": lambda u, r, x: gl.matmul(EYE * x, u) + gl.einsum("i,i->i", u, x),
    "views": lambda u, r, x: gl.flip(u) + gl.roll(u, 1) + gl.pad(u[1:], ((0, 1),)),
    "gather": lambda u, r, x: gl.take(u, REVERSED, axis=0),
    "scatter": lambda u, r, x: nothing().at[REVERSED].add(u),
    "concat": lambda u, r, x: gl.concat([u[:1], nothing()[:1], u[2:]]),
    "running": lambda u, r, x: gl.cumulative_sum(u),
    "solve": lambda u, r, x: gl.linalg.solve(EYE * gl.exp(x), u),
    "gradient": lambda u, r, x: gl.grad(gl.sum(gl.sin(x) * u), x) + gl.vjp(gl.cos(x), x, u),
    "loop": lambda u, r, x: summed(u, x, 0.0),
    "custom": lambda u, r, x: gl.custom_derivative(gl.negative, vjp=lambda w, r, x: -w)(u),
    "check": lambda u, r, x: gl.check(u, u < 9, "large"),
}
OTHERWISE: dict[str, tuple[Any, str]] = {
    "clip": (lambda u, r, x: gl.clip(2 * u, -1, 1), "maximum"),
    "square": (lambda u, r, x: u * u, "multiply"),
    "affine": (lambda u, r, x: u + 1.0, "add"),
    "constant": (lambda u, r, x: 1.0, "which is not 0 where it is 0"),
    "other branch": (lambda u, r, x: gl.where(x > 0, u, 5.0), "where"),
    "branch by it": (lambda u, r, x: gl.where(u > 0, u, 0.0), "greater"),
    "rounded": (lambda u, r, x: gl.round(u), "round"),
    "stopped": (lambda u, r, x: gl.stop_gradient(u), "stop_gradient"),
    "normed": (lambda u, r, x: u / gl.max(gl.abs(u)), "abs"),
    "affine concat": (lambda u, r, x: gl.concat([u[:2], x[2:]]), "concat"),
    "affine loop": (lambda u, r, x: summed(u, x, 1.0), "add"),
    "bent loop": (lambda u, r, x: summed(u, x, 0.0, gl.tanh), "add"),
    "bent custom": (lambda u, r, x: gl.custom_derivative(gl.sin, vjp=lambda w, r, x: w)(u), "sin"),
    "tap": (lambda u, r, x: gl.clip_gradient(u, 1.0), "maximum"),
}
# fmt: on


@pytest.mark.parametrize("kind", ["vjp", "jvp"])
def test_what_is_seen_to_be_linear(kind: str) -> None:
    for name, rule in LINEAR.items():
        y = gl.custom_derivative(double, **{kind: rule})(X)
        assert "one_way" not in y.node.attrs, name
    for name, (rule, op) in OTHERWISE.items():
        y = gl.custom_derivative(double, **{kind: rule})(X)
        blame = y.node.attrs.get("one_way", "")
        assert op in blame and "test_linearity.py:" in blame, name


def test_transposes_of_rules_that_are_linear() -> None:
    """The matrix of each rule, from either mode: that the rule was rightly let through."""
    outputs: list[Tensor] = []
    for rule in LINEAR.values():
        y = gl.custom_derivative(double, vjp=rule)(X)
        outputs += [gl.jacobian(y, X, "reverse"), gl.jacobian(y, X, "forward")]
    results = gl.function([X], outputs)(A)
    for name, reverse, forward in zip(LINEAR, results[::2], results[1::2], strict=True):
        np.testing.assert_allclose(reverse, forward, 1e-6, err_msg=name)


def test_a_rule_that_is_not_linear_serves_one_mode() -> None:
    rule = OTHERWISE["clip"][0]
    y = gl.custom_derivative(double, vjp=rule)(X)
    z = gl.custom_derivative(double, jvp=rule)(X)
    compiled = gl.function([X], [gl.grad(gl.sum(3 * y), X), gl.jvp(z, X, gl.ones_like(X))])
    for found in compiled(A):
        np.testing.assert_array_equal(found, [1, 1, 1])
    twice = gl.stack([y, y])  # of its jacobian, forward mode would be the cheaper one
    np.testing.assert_array_equal(gl.function([X], gl.jacobian(twice, X))(A), [EYE, EYE])
    column = gl.jacobian(z[:1], X)  # and here reverse mode
    np.testing.assert_array_equal(gl.function([X], column)(A), EYE[:1])
    graph = compiled.graph
    assert gl.parse(str(graph), constants_of(graph)) == graph

    forward = (gl.jvp(y, X, X), gl.jacobian(y, X, "forward"), gl.hvp(gl.sum(y * y), X, X))
    for asked in (*forward, gl.vmap(lambda a: gl.jvp(y * a, X, X))(X)):
        with pytest.raises(GradientError) as caught:
            gl.function([X], asked)
        told = str(caught.value)
        assert "forward mode meets the vjp of double" in told
        assert "not seen to be linear in its cotangent" in told
        assert "maximum at test_linearity.py:" in told and "gl.clip(2 * u, -1, 1)" in told
        assert "write a jvp as well, or use gl.tap" in told
        assert "called at test_linearity.py:" in told
    with pytest.raises(GradientError, match="reverse mode meets the jvp of double"):
        gl.function([X], gl.grad(gl.sum(z), X))


def test_batching_and_taps() -> None:
    rows = gl.placeholder((2, 3), "float64", "rows")
    own = gl.custom_derivative(double, vjp=OTHERWISE["clip"][0])
    y = gl.vmap(own)(rows)
    found = gl.function([rows], gl.grad(gl.sum(3 * y), rows))(np.ones((2, 3)))
    np.testing.assert_array_equal(found, np.ones((2, 3)))
    with pytest.raises(GradientError, match="maximum at"):
        gl.function([rows], gl.jvp(y, rows, rows))
    tapped = gl.clip_gradient(X, 1.0)
    both = [gl.grad(gl.sum(3 * tapped), X), gl.jvp(3 * tapped, X, gl.ones_like(X))]
    for got, wanted in zip(gl.function([X], both)(A), (1, 3), strict=True):
        np.testing.assert_array_equal(got, [wanted] * 3)
