# pyright: standard
"""Derivatives of ``gl.linalg``: both modes and second order against central differences, the points
where they are hard, and linear algebra in a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.graph import Graph

from .matrices import general, placeholders, positive, square
from .op_cases import close, interpret, slopes_of

NumpyArray = np.ndarray[Any, Any]
Function = Callable[..., Any]
L = gl.linalg
inf = float("inf")

SMOOTH: list[tuple[str, Function, list[NumpyArray]]] = [
    ("inv", L.inv, [square(3, 3)]),
    ("det", L.det, [general(2, 3, 3)]),
    ("logabsdet", lambda x: L.slogdet(x).logabsdet, [general(2, 3, 3)]),
    ("pinv", L.pinv, [general(3, 2)]),
    ("pinv of wide", L.pinv, [general(2, 4)]),
    ("vector", L.solve, [square(2, 3, 3), general(3)]),
    ("matrix_power", lambda x: L.matrix_power(x, -3), [square(2, 2)]),
    ("svdvals", L.svdvals, [general(3, 4)]),
    ("cross", L.cross, [general(2, 3), general(3)]),
    ("kron", L.kron, [general(2, 2), general(3, 1)]),
    ("trace", lambda x: L.trace(x, 1), [general(2, 3, 3)]),
    (
        "triangular",
        lambda a, b: L.triangular_solve(a, b, transpose=True),
        [square(3, 3), general(2, 3, 2)],
    ),
    ("wide qr", lambda x: L.qr(x).R[..., -1], [general(2, 4)]),
    *(
        (f"matrix_norm {o}", lambda x, o=o: L.matrix_norm(x, ord=o), [general(2, 3, 4)])
        for o in ("fro", "nuc", 1, -1, 2, -2, inf, -inf)
    ),
    *(
        (f"vector_norm {o}", lambda x, o=o: L.vector_norm(x, axis=0, ord=o), [general(3, 4)])
        for o in (1, 2, 3, 0.5, -1, inf, -inf)
    ),
    ("einsum of inverses", lambda x: gl.einsum("ij,ki->jk", L.inv(x), x), [square(3, 3)]),
]


@pytest.mark.parametrize("row", SMOOTH, ids=lambda row: row[0])
def test_derivatives(row: tuple[str, Function, list[NumpyArray]]):
    """Reverse mode against central differences, forward mode against reverse."""
    _, function, arrays = row
    inputs = placeholders(arrays)
    loss = gl.sum(gl.sin(function(*inputs)))
    direction = [gl.constant(general(*a.shape, seed=7)) for a in arrays]
    graph = Graph("slopes", inputs, [gl.jvp(loss, inputs, direction), *gl.grad(loss, inputs)])
    pushed, *slopes = interpret(graph, arrays)
    for i, slope in enumerate(slopes):
        close(slope, slopes_of(Graph("loss", inputs, [loss]), arrays, i), 2e-7)
    close(pushed, sum(np.sum(s * d.eval()) for s, d in zip(slopes, direction, strict=True)), 1e-10)


SECOND: list[tuple[str, Function, NumpyArray]] = [
    ("cholesky", lambda x: L.cholesky(x @ x.mT + gl.eye(3, dtype="float64")), general(3, 3)),
    ("solve", lambda x: L.solve(x, gl.ones((3, 2), "float64")), square(3, 3)),
    ("inv", L.inv, square(3, 3)),
    ("logabsdet", lambda x: L.slogdet(x).logabsdet, square(3, 3)),
    ("eigvalsh", lambda x: L.eigvalsh(x + x.mT), square(3, 3)),
    ("qr", lambda x: L.qr(x).R, square(3, 3)),
    ("vector_norm", lambda x: L.vector_norm(x, axis=1), general(3, 3)),
]


@pytest.mark.parametrize("row", SECOND, ids=lambda row: row[0])
def test_second_derivatives(row: tuple[str, Function, NumpyArray]):
    """The gradient of a directional derivative, reverse over reverse, compiled."""
    _, function, array = row
    (x,) = placeholders([array])
    loss = gl.sum(gl.sin(function(x)))
    direction = gl.constant(general(3, 3, seed=5))
    once = gl.sum(gl.grad(loss, x) * direction)
    found = gl.compile(Graph("second", [x], [gl.grad(once, x)]))(array)
    close(found, slopes_of(Graph("once", [x], [once]), [array], 0), 2e-6)


def test_gradients_of_symmetric_matrices_are_symmetric():
    (x,) = placeholders([positive(3, 3)])
    weight = general(3, 3, seed=3)
    for function in (L.cholesky, lambda x: L.eigh(x).eigenvectors, lambda x: L.eigh(x)[0][:, None]):
        slope = gl.grad(gl.sum(function(x) * weight), x).eval({"x0": positive(3, 3)})
        np.testing.assert_array_equal(slope, slope.T)
        assert np.abs(slope).max() > 1e-3


def test_derivatives_where_values_are_equal_are_finite():
    """The gradient of what depends on eigenvalues alone is right; that of vectors is finite."""
    x = gl.placeholder((3, 3), "float64", "x")
    feeds = {"x": 2 * np.eye(3)}
    close(gl.grad(gl.sum(L.eigvalsh(x)), x).eval(feeds), np.eye(3))
    close(gl.grad(gl.sum(L.svdvals(x)), x).eval(feeds), np.eye(3))
    close(gl.grad(L.matrix_norm(x, ord="nuc"), x).eval(feeds), np.eye(3))
    close(gl.grad(gl.sum(L.pinv(x)), x).eval(feeds), -np.ones((3, 3)) / 4)
    for result in (*L.eigh(x), *L.svd(x)):
        assert np.isfinite(gl.grad(gl.sum(gl.sin(result)), x).eval(feeds)).all()
    assert np.isfinite(gl.grad(gl.sum(L.svd(x).U), x).eval({"x": np.zeros((3, 3))})).all()


@pytest.mark.parametrize("order", [1, 1.5, 2, 3, inf])
def test_vector_norm_at_zero(order: float):
    x = gl.placeholder((2, 3), "float64", "x")
    array = np.array([[0.0, 0, 0], [1, 0, -2]])
    norm = L.vector_norm(x, axis=1, ord=order)
    slope = gl.grad(gl.sum(norm), x)
    second = gl.grad(gl.sum(slope * slope), x)
    first, curvature = interpret(Graph("norm", [x], [slope, second]), [array])
    assert not first[0].any()
    assert np.isfinite(first).all() and np.isfinite(curvature).all()
    dual = {1: inf, inf: 1}.get(order) or order / (order - 1)
    close(np.linalg.norm(first[1], ord=dual), 1)
    assert norm.eval({"x": array})[0] == 0


def test_no_derivative_of_a_completed_basis():
    x = gl.placeholder((3, 2), "float64", "x")
    for result, instead in [
        (L.svd(x).U, "full_matrices=False"),
        (L.qr(x, mode="complete").Q, "mode='reduced'"),
    ]:
        with pytest.raises(gl.GradloomError, match=instead) as caught:
            gl.grad(gl.sum(result), x).eval({"x": general(3, 2)})
        assert "test_linalg_derivatives.py" in str(caught.value)


# --- together with the rest -----------------------------------------------------------------------


def test_a_gaussian_likelihood_learns():
    """ln p(y) of a Gaussian with covariance L Lᵀ, its gradient in a compiled function."""
    y = general(50, 3) @ np.array([[2.0, 0, 0], [1, 1, 0], [0, 0.5, 1]])
    data = gl.placeholder(("N", 3), "float64", "data")
    scale = gl.parameter(np.eye(3), name="scale")
    covariance = scale @ scale.mT
    white = L.triangular_solve(L.cholesky(covariance), data.mT, lower=True)
    loss = 0.5 * gl.mean(gl.sum(white * white, axis=0)) + 0.5 * L.slogdet(covariance).logabsdet
    step = gl.function([data], loss, updates={scale: scale - 0.1 * gl.grad(loss, scale)})
    losses = [float(step(y)) for _ in range(300)]
    close(scale.value @ scale.value.T, y.T @ y / 50, 1e-3)
    assert losses[-1] < losses[0]


def test_inside_a_loop():
    """A host call in the body of a scan, and the gradient through it."""
    x = gl.placeholder((2, 2), "float64", "x")
    ones = gl.ones((4, 2), "float64")

    def body(state: gl.Tensor, entry: gl.Tensor) -> Any:
        after = L.solve(x, state + entry)
        return after, after

    final, _ = gl.scan(body, gl.zeros(2, "float64"), ones)
    loss = gl.sum(final)
    array = square(2, 2)
    wanted = np.zeros(2)
    for _ in range(4):
        wanted = np.linalg.solve(array, wanted + 1)
    graph = Graph("loop", [x], [final, gl.grad(loss, x)])
    got, slope = gl.compile(graph)(array)
    close(got, wanted)
    close(slope, slopes_of(Graph("loss", [x], [loss]), [array], 0), 1e-7)
