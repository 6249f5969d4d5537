# pyright: standard
"""Rows of the stability table as they stand in models: activations, losses, normalisation."""

from __future__ import annotations

from gradloom.benchmarks.exponentials import (
    ALL,
    CHOSEN,
    LIKELY,
    ONE_HOT,
    OTHER,
    PAIRS,
    SOME,
    WIDE,
    Inputs,
    rows,
)
from gradloom.benchmarks.expressions import family

_AWAY = [value for value in WIDE if abs(value) > 0.1]
_MEANS: list[Inputs] = [{"x": [1e4, -30.0, 0.5, 3.0], "y": [1.0, 20.0, 0.25, -1e4]}]
_BETWEEN = [0.0, 1.0, 1e-30, 1e-8, 0.25, 0.75, 0.9999999]
_ZERO_TO_ONE = [0.0, 1e-30, 1e-8, 1e-4, 0.25, 0.75, 0.9999]
_OPEN = [1e-30, 1e-8, 0.25, 0.75, 0.9999999]
_HUGE = [[3.0, -4.0, 12.0], [1e30, -2e30, 1e29]]
_ALIKE: list[Inputs] = [
    {"x": [[3.0, 3.0, 3.0], [0.5, 1.0, -2.0]]},
    {"x": [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]},
]

MODELS = [
    *family(
        "activations",
        [{"x": ALL}],
        "where(x > 0, x, exp(x) - 1)",
        "1.0507 * where(x > 0, x, 1.6733 * (exp(x) - 1))",
        "x * tanh(log(1 + exp(x)))",
        "exp(x) / (1 + exp(x)) ** 2",
        "exp(-x) / (exp(-x) + 1) ** 2",
        "x * exp(x) / (exp(x) + 1)",
        "where(x > 20, x, log(1 + exp(x)))",
        "where(x >= 0, 1 / (1 + exp(-x)), exp(x) / (1 + exp(x)))",
        "exp(-log(1 + exp(-x)))",
        "0.5 * x * (1 + tanh(x / 2))",
        alone=True,
    ),
    *family(
        "activations",
        [{"x": _AWAY}],
        "0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x**3)))",
        alone=True,
    ),
    *family(
        "attention",
        rows(m=SOME),
        "(e := exp(where(m > 0, x, -inf))) / sum(e, 1, keepdims=True)",
        "where(m > 0, x - log(sum(where(m > 0, exp(x), 0.0), 1, keepdims=True)), 0.0)",
        "exp(x - log(sum(exp(x), 1, keepdims=True)))",
        "exp(x) / (sum(exp(x), 1, keepdims=True) + 1e-8)",
        "matmul(exp(x) / sum(exp(x), 1, keepdims=True), transpose(m))",
        "matmul(exp(x), transpose(m)) / sum(exp(x), 1, keepdims=True)",
        "sqrt(exp(x) / sum(exp(x), 1, keepdims=True))",
        "(exp(x) / sum(exp(x), 1, keepdims=True)) ** 2",
        "exp(x) ** 0.5 / sum(exp(x) ** 0.5, 1, keepdims=True)",
    ),
    *family(
        "losses of logits",
        rows(t=ONE_HOT, i=CHOSEN, w=OTHER),
        "-log(exp(x)[arange(2), i] / sum(exp(x), 1))",
        "-log(exp(x[arange(2), i]) / sum(exp(x), 1))",
        "log(sum(exp(x), 1)) - log(sum(t * exp(x), 1))",
        "-log(exp(x[:, 0]) / (exp(x[:, 0]) + sum(exp(x[:, 1:]), 1)))",
        "-mean(log(exp(x) / sum(exp(x), 1, keepdims=True) + 1e-8))",
        "-log(prod((exp(x) / sum(exp(x), 1, keepdims=True)) ** t, 1))",
        "-log(prod(1 / (1 + exp(-x)), 1))",
        "-mean(sum(t * log(maximum(softmax(x, 1), 1e-30)), 1))",
        "log(sum(exp(4 * x), 1)) / 4",
        "log(sum(exp(x), 1)) - log(sum(exp(x / 2), 1))",
        "-sum(softmax(w, 1) * log(exp(x) / sum(exp(x), 1, keepdims=True)), 1)",
        "log(1 + sum(exp(x), 1))",
        "sum(log(1 + exp(-x * (2 * t - 1))), 1)",
        "log(1 + sum(exp(x - x[:, :1]), 1))",
    ),
    *family(
        "losses of probabilities",
        [{"p": _BETWEEN}],
        "-(p * log(p) + (1 - p) * log(1 - p))",
        alone=True,
    ),
    *family("losses of probabilities", [{"p": _ZERO_TO_ONE}], "-log(1 - p)", alone=True),
    *family(
        "losses of probabilities",
        [{"p": _OPEN}],
        "log(p / (1 - p))",
        "log(p) - log(1 - p)",
        "-log(1 / p - 1)",
        alone=True,
    ),
    *family(
        "losses of probabilities",
        [{"p": [0.0, 1.0, 0.25, 0.5], "q": [0.5, 0.25, 0.75, 1e-30]}],
        "p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))",
        "p * (log(p) - log(q)) + (1 - p) * (log(1 - p) - log(1 - q))",
    ),
    *family(
        "losses of probabilities",
        [{"p": LIKELY, "t": ONE_HOT, "w": OTHER}],
        "exp(-mean(log(sum((1 - t) * p + t, 1))))",
        "-sum(w * t * log(p + (1 - t)), 1)",
        "-sum((1 - p) ** 2 * t * log(p), 1)",
        "sum(p * log(p) / 2, 1)",
    ),
    *family(
        "densities",
        _MEANS,
        "log(exp(-((x - y) ** 2) / 2) / sqrt(2 * pi))",
        "log(exp(-x * x) + exp(-y * y))",
        "log(0.25 * exp(-((x - 1) ** 2) / 2) + 0.75 * exp(-((x - y) ** 2) / 2))",
        "exp(-x * x) / (exp(-x * x) + exp(-y * y))",
    ),
    *family(
        "densities",
        [PAIRS],
        "log(cosh(x - y))",
        "log(exp(x - y) + exp(y - x))",
        "log(1 + exp(x) + exp(y))",
        "log(exp(x) * exp(y) + 1)",
    ),
    *family(
        "densities",
        [{"x": [-1e4, -30.0, -5.0, -0.5, 0.25, 3.0, 9.0]}],
        "log(1 - 0.5 * (1 - erf(x / root2)))",
        alone=True,
        truth="log(erfc(-x / root2) / 2)",
    ),
    *family(
        "densities",
        [{"x": [-5.0, -0.5, 0.25, 3.0, 9.0, 30.0, 1e4]}],
        "exp(-x * x / 2) / (1 - erf(x / root2))",
        alone=True,
        truth="exp(-x * x / 2) / erfc(x / root2)",
    ),
    *family(
        "normalisation",
        [{"x": _HUGE}, {"x": [[1e-30, 2e-30, 0.0]]}, {"x": [[0.0, 0.0, 0.0]]}],
        "x / sqrt(mean(x * x, 1, keepdims=True) + 0.0001)",
        "x / sqrt(sum(x**2, 1, keepdims=True) + 0.0001)",
        "x / (sqrt(sum(x**2, 1, keepdims=True)) + 0.0001)",
        "x / maximum(sqrt(sum(x**2, 1, keepdims=True)), 0.0001)",
        "sqrt(1 + sum(x * x, 1)) - 1",
    ),
    *family(
        "normalisation",
        _ALIKE,
        "sqrt(mean((x - mean(x, 1, keepdims=True)) ** 2, 1))",
        "sqrt(sum((x[:, None] - x[None]) ** 2, 2))",
        "x / (sqrt(mean((x - mean(x)) ** 2)) + 1)",
        "sqrt(sum((x - stop_gradient(x)) ** 2, 1))",
        "where(sum(x * x, 1, keepdims=True) > 0, x / sqrt(sum(x * x, 1, keepdims=True)), 0.0)",
    ),
    *family(
        "normalisation",
        [{"x": [-1e30, -1e4, -0.5, -1e-30, 0.0, 1e-4, 3.0, 1e30]}],
        "sqrt(1 + x * x)",
        "x / sqrt(1 + x * x)",
        "sqrt(x * x + 1) - 1",
        "where(abs(x) < 1, x * x / 2, abs(x) - 0.5)",
        alone=True,
    ),
    *family(
        "differences",
        [{"x": [0.0, 1e-30, 1e-8, 1e-4, 0.5, 3.0]}],
        "1 - cos(x) ** 2",
        "exp(x) - exp(-x)",
        "(exp(x) - 1 / exp(x)) / 2",
        "0.5 * log((1 + x / 4) / (1 - x / 4))",
        "exp(x) * exp(-x / 2) - 1",
        alone=True,
    ),
    *family(
        "differences",
        [{"x": [1.0, 1.5, 3.0, 1e4, 1e30]}],
        "log(x + sqrt(x * x - 1))",
        "1 / (1 + x) - 1 / (2 + x)",
        alone=True,
    ),
]
