"""Newton's method on a logistic regression, with the Hessian that gradloom derives.

The loss is written as in the lecture, −mean(t log p + (1 − t) log(1 − p)) + ridge/2 · ‖w‖² with
p = 1/(1 + exp(−Xw)), and nothing else: slope and curvature follow from it, and both are computed in
the stable form, however sure the model becomes.  Every step solves H d = g and moves w to w − d;
near the minimum each doubles the number of right digits.

    python examples/newton.py
"""

from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer  # pyright: ignore[reportMissingTypeStubs]

import gradloom as gl

RIDGE = 1e-4  # on all coefficients; without it some would go to infinity: the data separate
ENOUGH = 1e-12  # of the gradient's norm
MOST_STEPS = 20

Array = NDArray[Any]


class Fit(NamedTuple):
    """The coefficients, and the gradient's and the step's norm at each iteration."""

    w: Array
    slopes: list[float]
    steps: list[float]


def load() -> tuple[Array, Array]:
    """Features of 569 tumours, standardised, with a column of ones; whether each is benign."""
    data = cast(Any, load_breast_cancer())
    features = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    return np.column_stack([np.ones(len(features)), features]), data.target.astype(np.float64)


def logistic_loss(x: gl.Tensor, t: gl.Tensor, w: gl.Tensor) -> gl.Tensor:
    """The mean loss of a sample, and the ridge."""
    p = 1 / (1 + gl.exp(-(x @ w)))
    return -gl.mean(t * gl.log(p) + (1 - t) * gl.log(1 - p)) + RIDGE / 2 * gl.sum(w * w)


def fit(features: Array, targets: Array) -> Fit:
    """Newton's method from w = 0."""
    count = features.shape[1]
    x = gl.placeholder(("N", count), "float64", name="x")
    t = gl.placeholder(("N",), "float64", name="t")
    w = gl.parameter(np.zeros(count), name="w")
    loss = logistic_loss(x, t, w)
    g = gl.grad(loss, w)
    d = gl.linalg.solve(gl.hessian(loss, w), g)
    norms = [gl.linalg.vector_norm(v) for v in (g, d)]
    step = gl.function([x, t], [loss, *norms], updates={w: w - d})

    slopes: list[float] = []
    steps: list[float] = []
    while len(steps) < MOST_STEPS and (not slopes or slopes[-1] > ENOUGH):
        value, slope, length = step(features, targets)
        slopes.append(float(slope))
        steps.append(float(length))
        print(f"{len(steps):2d}  loss {value:.12f}  |gradient| {slope:.2e}  |step| {length:.2e}")
    return Fit(w.value, slopes, steps)


def main() -> Fit:
    features, targets = load()
    found = fit(features, targets)
    right = np.count_nonzero((features @ found.w > 0) == (targets > 0)) / len(targets)
    print(f"{len(found.steps)} steps; {right:.1%} of the samples on the right side")
    return found


if __name__ == "__main__":
    main()
