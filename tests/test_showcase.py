# pyright: standard
"""The examples of higher derivatives, on data, against closed forms written down apart from them.

They need scikit-learn's data sets: ``pip install -e '.[examples]'``, as README's first command and
CI do; without it these tests skip themselves.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom as gl

pytest.importorskip("sklearn", reason="the data sets come with pip install '.[examples]'")
EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> Any:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def close(got: Any, wanted: Any, tolerance: float) -> None:
    """Within `tolerance` of each number, next to zero of the largest."""
    largest = float(np.max(np.abs(wanted)))
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=1e-3 * tolerance * largest)


# --- Newton's method ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def newton() -> Any:
    return example("newton")


def test_newton_converges_in_twelve_steps(newton: Any) -> None:
    found = newton.main()
    x, t = newton.load()
    assert len(found.steps) <= 12
    assert found.slopes[-1] <= 1e-10
    assert found.steps[-1] <= 1e-10
    p = 1 / (1 + np.exp(-x @ found.w))
    assert np.linalg.norm(x.T @ (p - t) / len(t) + newton.RIDGE * found.w) <= 1e-10


@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0])
def test_its_hessian_is_the_closed_form(newton: Any, scale: float) -> None:
    """XᵀDX / N + ridge, D = p (1 − p), also where the model is sure of every sample."""
    features, targets = newton.load()
    w = np.random.default_rng(0).normal(size=features.shape[1]) * scale
    inputs = [
        gl.placeholder(a.shape, "float64", name=name) for a, name in ((features, "x"), (w, "w"))
    ]
    loss = newton.logistic_loss(inputs[0], gl.constant(targets), inputs[1])
    got = gl.function(inputs, gl.hessian(loss, inputs[1]))(features, w)
    z = features @ w
    d = np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z))) ** 2
    wanted = features.T @ (d[:, None] * features) / len(targets) + newton.RIDGE * np.eye(len(w))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-10)


# --- maximum likelihood ---------------------------------------------------------------------------


def test_regression_is_the_normal_equations_table() -> None:
    """Coefficients, standard errors, t and R² to eight digits; σ² by likelihood is RSS / n."""
    module = example("regression")
    found = module.main()
    x, y, _ = module.load()
    (n, p), inverse = x.shape, np.linalg.inv(x.T @ x)
    b = np.linalg.lstsq(x, y)[0]
    rss = float(np.sum((y - x @ b) ** 2))
    errors = np.sqrt(rss / (n - p) * np.diag(inverse))
    for got, wanted in zip(found[:3], (b, errors, b / errors), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-8)
    np.testing.assert_allclose(found.r2, 1 - rss / np.sum((y - y.mean()) ** 2), rtol=1e-8)
    np.testing.assert_allclose(found.variance, rss / n, rtol=1e-8)


def test_its_information_is_the_closed_form() -> None:
    """Blocks XᵀX / σ², Xᵀr / σ² and Σ r² / 2σ², away from the maximum too."""
    module = example("regression")
    rng = np.random.default_rng(0)
    x, y, estimates = rng.normal(size=(9, 3)), rng.normal(size=9), rng.normal(size=4)
    a = gl.placeholder((4,), "float64", name="estimates")
    loss = module.negative_log_likelihood(gl.constant(x), gl.constant(y), a[:-1], a[-1])
    got = gl.function([a], gl.hessian(loss, a))(estimates)
    variance, r = np.exp(estimates[-1]), y - x @ estimates[:-1]
    cross = x.T @ r / variance
    wanted = np.block([[x.T @ x / variance, cross[:, None]], [cross, r @ r / variance / 2]])
    close(got, wanted, 1e-12)


# --- the contractive penalty ----------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 7])
def test_contraction_and_its_slopes_are_the_closed_form(samples: int) -> None:
    """Σⱼ (hⱼ (1 − hⱼ))² Σᵢ wᵢⱼ², a sample's mean, differentiated by hand."""
    module = example("contractive")
    rng = np.random.default_rng(samples)
    values = [rng.normal(size=shape) for shape in ((samples, 5), (5, 4), (4,))]
    x = gl.placeholder(("B", 5), "float64", name="x")
    w = gl.placeholder((5, 4), "float64", name="w")
    b = gl.placeholder((4,), "float64", name="b")
    penalty = module.contraction(x, w, b)
    got = gl.function([x, w, b], [penalty, *gl.grad(penalty, [w, b])])(*values)

    pictures, weights, bias = values
    h = 1 / (1 + np.exp(-pictures @ weights - bias))
    slope, size = h * (1 - h), np.sum(weights**2, axis=0)
    by_bias = 2 * slope**2 * (1 - 2 * h) * size
    by_weights = (2 * np.sum(slope**2, axis=0) * weights + pictures.T @ by_bias) / samples
    wanted = [np.mean(slope**2 @ size), by_weights, np.mean(by_bias, axis=0)]
    for one, other in zip(got, wanted, strict=True):
        close(one, other, 1e-12)


def test_the_penalty_falls_in_training() -> None:
    found = example("contractive").main(["--epochs", "6"])
    (free, penalised) = found.values()
    assert penalised[-1][1] < 0.8 * penalised[0][1]  # with the penalty in the loss it falls,
    assert free[-1][1] > 1.5 * free[0][1]  # without it rises;
    assert penalised[-1][0] < 0.6 * penalised[0][0]  # and the pictures come back all the same


# --- products with the Hessian --------------------------------------------------------------------


def test_a_product_never_builds_the_hessian() -> None:
    module = example("hvp")
    made = module.build()
    assert made.size >= 100_000
    assert made.peak < 100 * 8 * made.size
    sizes = [t.size for g in made.hvp.stages.values() for n in g.nodes for t in n.results]
    assert max(size for size in sizes if isinstance(size, int)) < 10 * made.size

    weights = module.start(made.size)
    rng = np.random.default_rng(2)
    u, v = (rng.normal(size=made.size) for _ in range(2))
    product = made.hvp(weights, v)
    step = 1e-5
    slopes = (made.gradient(weights + step * v) - made.gradient(weights - step * v)) / (2 * step)
    np.testing.assert_allclose(product, slopes, rtol=0, atol=1e-6 * np.max(np.abs(slopes)))
    np.testing.assert_allclose(u @ product, v @ made.hvp(weights, u), rtol=1e-9)
