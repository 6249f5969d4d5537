"""Linear regression by maximum likelihood: the table of a statistics package from one formula.

The negative log-likelihood of normal noise, in the coefficients and the log of its variance, is all
that is written down.  Newton's method with gradloom's Hessian finds the maximum: coefficients and
variance side by side, since in both at once the function is not convex.  The inverse of the whole
Hessian there, the observed information, is the covariance of the estimates.

Degrees of freedom: the likelihood estimates σ² = RSS / n.  As packages do, the table divides by
n − p for p coefficients instead, which makes each standard error √(n / (n − p)) times as large.

    python examples/regression.py
"""

import math
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes  # pyright: ignore[reportMissingTypeStubs]

import gradloom as gl

ENOUGH = 1e-13  # of a Newton step, next to the estimate
MOST_STEPS = 50

Array = NDArray[Any]


class Fit(NamedTuple):
    """An entry a coefficient, the constant first; and of the whole: R², σ² by likelihood."""

    coefficients: Array
    errors: Array
    t: Array
    r2: float
    variance: float


def load() -> tuple[Array, Array, list[str]]:
    """442 patients, a column of ones first; how their diabetes went on; the columns' names."""
    data = cast(Any, load_diabetes())
    return (
        np.column_stack([np.ones(len(data.data)), data.data]),
        data.target,
        ["constant", *data.feature_names],
    )


def negative_log_likelihood(
    x: gl.Tensor, y: gl.Tensor, b: gl.Tensor, log_variance: gl.Tensor
) -> gl.Tensor:
    """−log p(y | x) = Σ ½ (log 2π + log σ² + (y − xb)² / σ²)."""
    residual = y - x @ b
    return gl.sum(0.5 * (math.log(2 * math.pi) + log_variance + residual**2 / gl.exp(log_variance)))


def fit(features: Array, targets: Array) -> Fit:
    """Newton's method on the coefficients and on log σ², from the mean and variance of y."""
    count, size = features.shape
    x = gl.placeholder(("N", size), "float64", name="x")
    y = gl.placeholder(("N",), "float64", name="y")
    start = [targets.mean(), *[0.0] * (size - 1), math.log(targets.var())]
    estimates = gl.parameter(np.array(start), name="estimates")
    loss = negative_log_likelihood(x, y, estimates[:-1], estimates[-1])
    information = gl.hessian(loss, estimates)
    g = gl.grad(loss, estimates)
    of_coefficients = gl.linalg.solve(information[:-1, :-1], g[:-1])
    d = gl.concat([of_coefficients, g[-1:] / information[-1, -1]])
    length = gl.max(gl.abs(d) / (1 + gl.abs(estimates)))
    step = gl.function([x, y], [loss, length], updates={estimates: estimates - d})
    covariance = gl.function([x, y], gl.linalg.inv(information))

    for number in range(1, MOST_STEPS + 1):
        value, moved = step(features, targets)
        print(f"{number:2d}  -log likelihood {value:.9f}  step {moved:.1e}")
        if moved < ENOUGH:
            break
    b, variance = estimates.value[:-1], math.exp(estimates.value[-1])
    by_likelihood = np.sqrt(np.diag(covariance(features, targets))[:-1])
    errors = by_likelihood * math.sqrt(count / (count - size))
    return Fit(b, errors, b / errors, 1 - variance / targets.var(), variance)


def main() -> Fit:
    features, targets, names = load()
    found = fit(features, targets)
    print(f"\n{'':10s} {'estimate':>12s} {'std. error':>12s} {'t':>8s}")
    for name, b, error, t in zip(names, *found[:3], strict=True):
        print(f"{name:10s} {b:12.4f} {error:12.4f} {t:8.3f}")
    print(f"R² {found.r2:.6f}")
    return found


if __name__ == "__main__":
    main()
