# ruff: noqa: E501 (a row of a table is a line)
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Wrong derivatives of one's own, taps and limits: each has one clear error, with the user's line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import gradloom as gl
from gradloom.ir.tensor import Tensor

from .test_custom import B3, slope

X = gl.placeholder(B3, "float64", "x")
Y = gl.placeholder(("B",), "float64", "y")
N = gl.placeholder(("B",), "int64", "n")
LEAKED: list[Tensor] = []


def leaking(x: Tensor) -> Tensor:
    LEAKED[:] = [gl.exp(x)]
    return LEAKED[0] * 2.0


def pulled(vjp: Any, function: Any = gl.sin, *args: Any) -> Callable[[], Any]:
    return lambda: gl.custom_derivative(function, vjp=vjp)(*(args or (X,)))


def two(x: Tensor, y: Tensor) -> Tensor:
    return x * y[:, None]


def endless(x: Tensor) -> Tensor:
    return gl.custom_derivative(ENDLESS, vjp=lambda u, r, x: u)(x)


ENDLESS = gl.custom_derivative(lambda x: gl.sin(x), vjp=lambda u, r, x: u * ENDLESS(x))

# fmt: off
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no rule": (lambda: gl.custom_derivative(gl.sin), "needs a function, and a vjp or a jvp"),
    "no function": (lambda: gl.custom_derivative(3, vjp=slope), "needs a function"),  # type: ignore[arg-type]
    "by name": (lambda: gl.custom_derivative(gl.sin, vjp=slope)(x=X), "by position, got x="),
    "no tensor": (lambda: gl.custom_derivative(gl.sin, vjp=slope)("x"), "no tensor"),
    "no argument": (lambda: gl.custom_derivative(lambda: X, vjp=slope)(), "at least one tensor"),
    "no result": (pulled(slope, lambda x: None), "at least one tensor"),
    "shape": (pulled(lambda u, r, x: u[0]), "the vjp of sin gives f64[3] for argument x, which is f64[B,3]"),
    "dtype": (pulled(lambda u, r, x: u.astype("float32")), "gives f32[B,3] for argument x, which is f64[B,3]"),
    "which argument": (pulled(lambda u, r, x, y: (u, u), two, X, Y), "for argument y, which is f64[B]"),
    "one for two": (pulled(lambda u, r, x, y: u, two, X, Y), "gives f64[B,3] where a tuple of 2 is needed, for argument x, argument y"),
    "part of a structure": (pulled(lambda u, r, p: {"a": u, "b": [u]}, lambda p: p["a"] * p["b"][0][:, None], {"a": X, "b": [Y]}), "for argument p['b'][0], which is f64[B]"),
    "other keys": (pulled(lambda u, r, p: {"c": u}, lambda p: p["a"], {"a": X}), "a dict of 1 with 'c' for argument p, which is a dict of 1 with 'a'"),
    "an integer's": (pulled(lambda u, r, y, n: (u, u), lambda y, n: y * n.astype("float64"), Y, N), "argument n, which is i64[B] and has no derivative; give None"),
    "tangent": (lambda: gl.custom_derivative(gl.sum, jvp=lambda t, r, x: t)(X), "the jvp of sum gives f64[B,3] for the result, which is f64[]"),
    "no tensor from a rule": (pulled(lambda u, r, x: "u"), "no tensor"),
    "too few parameters": (pulled(lambda u, x: u), "is called as vjp(cotangent, result, and 1 argument)"),
    "closure": (pulled(slope, lambda x: x * gl.exp(Y)[:, None]), "depends on <input y: f64[B]> and would get no derivative; make it an argument or stop_gradient it"),
    "closure over a gradient": (pulled(slope, lambda x: x * gl.grad(gl.sum(Y * Y), Y)[:, None]), "make it an argument or stop_gradient it"),
    "leak": (pulled(lambda u, r, x: u * LEAKED[0], leaking), "exists inside the function alone"),
    "without an end": (lambda: ENDLESS(X), "without an end; use its result"),
    "tap by no function": (lambda: gl.tap(X, 3), "fn is a function of the cotangent, got 3"),  # type: ignore[arg-type]
    "tap of integers": (lambda: gl.tap(N, lambda u: u), "no gradient of what holds no float"),
    "tap that changes a shape": (lambda: gl.tap(X, gl.sum), "tap: fn gives f64[] for argument x, which is f64[B,3]"),
    "negative limit": (lambda: gl.clip_gradient(X, -1.0), "limit is a number of at least 0, got -1.0"),
    "nan limit": (lambda: gl.clip_gradient(X, float("nan")), "limit is a number of at least 0, got nan"),
    "integer limit": (lambda: gl.clip_gradient(X, N), "limit is a float, got i64[B]"),
    "norm of many": (lambda: gl.clip_by_global_norm(X, Y), "max_norm is a scalar, got f64[B]"),
    "norm of integers": (lambda: gl.clip_by_global_norm([N], 1.0), "gradients are floats"),
    "bool norm": (lambda: gl.clip_gradient_by_global_norm(X, True), "max_norm is a number of at least 0, got True"),
}
# fmt: on


@pytest.mark.parametrize(("make", "says"), WRONG.values(), ids=WRONG)
def test_wrong_uses(make: Callable[[], Any], says: str):
    with pytest.raises(gl.GradloomError) as caught:
        make()
    message = str(caught.value)
    assert says in message
    assert "test_custom" in message
