# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Drawn functions with their true derivatives as rules of their own: nothing may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.tensor import Tensor

from .test_custom import B3, run

NumpyArray = np.ndarray[Any, Any]
MATRIX = np.random.default_rng(7).normal(size=(3, 3)) / 2
STEPS: tuple[Callable[[Tensor], Tensor], ...] = (
    gl.sin,
    gl.tanh,
    lambda x: gl.exp(-x * x),
    lambda x: x - gl.log(gl.sum(gl.exp(x), -1, keepdims=True)),
    lambda x: gl.cumulative_sum(x, axis=-1),
    lambda x: gl.matmul(x, MATRIX),
    lambda x: x[..., ::-1] * x,
    lambda x: gl.sqrt(1.0 + x * x),
    lambda x: gl.max(x, -1, keepdims=True) - x,
    lambda x: gl.where(x > 0.0, x, 0.1 * x),
)


def check_true_rules(seed: int) -> None:
    """With rules that ask for the true derivatives, a custom function is the function itself:
    its value, both modes, second order, batched, in a loop, and nested in another."""
    rng = np.random.default_rng(seed)
    steps = [STEPS[i] for i in rng.integers(0, len(STEPS), 3)]

    def plain(x: Tensor) -> Tensor:
        for step in steps:
            x = step(x)
        return x

    def vjp(u: Tensor, r: Tensor, x: Tensor) -> Tensor:
        return gl.vjp(plain(x), x, u)

    def jvp(t: Tensor, r: Tensor, x: Tensor) -> Tensor:
        return gl.jvp(plain(x), x, t)

    rules = ({"vjp": vjp}, {"jvp": jvp}, {"vjp": vjp, "jvp": jvp})[seed % 3]
    own = gl.custom_derivative(plain, **rules)
    x, v = gl.placeholder(B3, "float64", "x"), gl.placeholder(B3, "float64", "v")
    batch = int(rng.integers(0, 4))
    arrays = [rng.normal(size=(batch, 3)) for _ in range(2)]
    results: list[list[NumpyArray]] = []
    for f in (plain, own):

        def loss(x: Tensor, f: Callable[[Tensor], Tensor] = f) -> Tensor:
            return gl.sum(gl.sin(f(f(x))))

        slopes = gl.grad(loss(x), x)
        looped, _ = gl.scan(lambda c, _, f=f: (f(c) + x, None), v, length=2)
        outputs = [f(x), slopes, gl.jvp(loss(x), x, v), gl.jvp(slopes, x, v)]
        outputs += [gl.vmap(lambda row, loss=loss: gl.grad(loss(row), row))(x)]
        outputs += [gl.grad(gl.sum(slopes * v), x), *gl.grad(gl.sum(looped), [x, v])]
        results.append(run([x, v], outputs, *arrays))
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, 1e-8, 1e-8, err_msg=f"seed {seed}")


def test_true_rules_change_nothing():
    check_true_rules(8)  # of which fusion once made a kernel twice


@pytest.mark.slow
def test_many_true_rules_change_nothing():
    for seed in range(100):
        check_true_rules(seed)
