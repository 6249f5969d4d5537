# pyright: standard
"""Rows of the stability table whose trouble is exponentials and logarithms.

exp overflows and underflows, log of what underflowed is infinite, and 0 · log 0 is nan.
"""

from __future__ import annotations

from typing import Any

from gradloom.benchmarks.expressions import Inputs, family

# Inputs of element-wise formulas.
_BELOW = (-1e4, -100.0, -80.0, -20.0, -3.0, -0.5, -1e-4)
WIDE = [*_BELOW, 0.0, 1e-30, 0.25, 2.0, 17.0, 88.0, 100.0, 1e4]
ALL = [-1e30, *WIDE, 1e30]
NONZERO = [value for value in WIDE if value != 0]
POSITIVE = [1e-30, 1e-8, 1e-3, 0.25, 1.5, 3.0, 17.0, 100.0, 1e4, 1e8, 1e30]
SMALL = [-0.5, -1e-3, -1e-8, -1e-30, 0.0, 1e-30, 1e-8, 1e-4, 0.25, 0.75]
PAIRS = {
    "x": [1e4, -1e4, 100.0, 0.5, -100.0, 1e4, -3.0, 88.0, 0.0],
    "y": [9999.0, -9998.0, 101.0, -0.25, 100.0, -1e4, -3.0, 90.0, 1e-4],
}
# Inputs of formulas over rows: far apart, large, large and close, ordinary; one nearly certain.
FAR = [[1e4, 0.0, -1e4], [-1e4, 100.0, 1e4]]
LARGE = [[100.0, 101.0, 99.0], [-100.0, -101.0, -99.5]]
CLOSE = [[-1e4, -9999.0, -9998.0], [1e4, 9999.0, 9998.5]]
PLAIN = [[0.5, -0.25, 1e-3], [0.0, 1e-30, -2.0]]
SURE = [[20.0, 0.0, -20.0], [1.0, 22.0, 2.0]]
LIKELIER = [[12.0, -3.0, 0.5], [-1.0, 0.25, 10.0]]
LOGITS = (FAR, LARGE, CLOSE, PLAIN, SURE, LIKELIER)
SOME = [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]
ONE_HOT = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
SOFT = [[0.5, 0.25, 0.25], [0.0, 0.125, 0.875]]
CHOSEN = [2, 0]
LIKELY = [[0.5, 0.5, 0.0], [1e-30, 0.25, 0.75]]
OTHER = [[0.25, 0.75, 0.0], [0.125, 0.5, 0.375]]


def rows(**data: Any) -> list[Inputs]:
    return [{"x": logits, **data} for logits in LOGITS]


# Without 1e-30, where the gradient sigmoid(x) − t at t = 0.5 is what rounding leaves.
_LOGITS = [value for value in NONZERO if value != 1e-30]
_SIGMOIDS = {"x": _LOGITS, "t": [k % 5 / 4 for k in range(len(_LOGITS))]}
_BINARY = {
    "p": [0.0, 1.0, 0.5, 1e-30, 0.999, 1.0, 0.25, 1e-8],
    "t": [0.0, 1.0, 0.25, 1.0, 0.0, 0.75, 1.0, 0.0],
    "w": [1.0, 2.0, 0.5, 1.0, 3.0, 0.0, 0.0, 4.0],
}
_CERTAIN = {"p": [0.5, 1e-30, 0.75, 0.25, 1.0, 0.0], "t": [1.0, 1.0, 0.0, 0.0, 1.0, 0.0]}
_EXACT = "t * log1p(exp(-x)) + (1 - t) * log1p(exp(x))"
_SOFTMAX = "(p := exp(x) / sum(exp(x), 1, keepdims=True))"
_GIVEN = [{"p": LIKELY, "t": [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]], "w": OTHER, "i": [1, 2]}]

EXPONENTIALS = [
    *family(
        "softmax",
        rows(),
        "exp(x) / sum(exp(x), 1, keepdims=True)",
        "exp(x) * (1 / sum(exp(x), 1, keepdims=True))",
        "sum(exp(x), 1, keepdims=True) ** -1 * exp(x)",
        "exp(x - max(x, 1, keepdims=True))"
        " / sum(exp(x - max(x, 1, keepdims=True)), 1, keepdims=True)",
        "(e := exp(x - stop_gradient(max(x, 1, keepdims=True)))) / sum(e, 1, keepdims=True)",
        "exp(x / 2) / sum(exp(x / 2), 1, keepdims=True)",
        "exp(-x) / sum(exp(-x), 1, keepdims=True)",
        "exp(transpose(x)) / sum(exp(transpose(x)), 0, keepdims=True)",
        "exp(x) / sum(exp(x))",
        "exp(reshape(x, (6,))) / sum(exp(reshape(x, (6,))), 0)",
        "exp(x) / reshape(sum(exp(x), 1), (2, 1))",
        "3 * exp(x) / (2 * sum(exp(x), 1, keepdims=True))",
        "exp(x) / (1 + sum(exp(x), 1, keepdims=True))",
        "2.0 ** x / sum(2.0**x, 1, keepdims=True)",
        "exp(x[:, 0]) / (exp(x[:, 0]) + exp(x[:, 1]) + exp(x[:, 2]))",
        "float32((e := exp(float64(x))) / sum(e, 1, keepdims=True))",
        "(exp(x) / sum(exp(x), 1, keepdims=True))[:, 1:] * 4",
    ),
    *family(
        "softmax, masked",
        rows(m=SOME, w=OTHER),
        "m * exp(x) / sum(m * exp(x), 1, keepdims=True)",
        "(e := where(m > 0, exp(x), 0.0)) / sum(e, 1, keepdims=True)",
        "(e := exp(where(m > 0, x, -1e30))) / sum(e, 1, keepdims=True)",
        "exp(x) * w / sum(w * exp(x), 1, keepdims=True)",
    ),
    *family(
        "sigmoid",
        [{"x": ALL}],
        "1 / (1 + exp(-x))",
        "1 / (exp(-x) + 1)",
        "exp(x) / (1 + exp(x))",
        "(1 + exp(-x)) ** -1",
        "1 / (1 + 1 / exp(x))",
        "1 - 1 / (1 + exp(x))",
        "exp(-x) / (1 + exp(-x))",
        "0.5 * (1 + tanh(x / 2))",
        "0.5 + 0.5 * tanh(0.5 * x)",
        "3 / (1 + exp(-2 * x))",
        "1 / (1 + 2 * exp(-x))",
        "x / (1 + exp(-x))",
        "x * (1 / (1 + exp(-x)))",
        alone=True,
    ),
    *family(
        "sigmoid",
        [PAIRS],
        "exp(x) / (exp(x) + exp(y))",
        "1 / (1 + exp(y - x))",
        alone=True,
    ),
    *family(
        "softplus",
        [{"x": ALL}],
        "log(1 + exp(x))",
        "log(exp(-x) + 1)",
        "log1p(exp(x))",
        "log(1 + exp(2 * x)) / 2",
        "log(2 + exp(x))",
        "-log(1 / (1 + exp(x)))",
        alone=True,
    ),
    *family("softplus", [{"x": ALL}], "x + log(1 + exp(-x))", alone=True, truth="log1p(exp(x))"),
    *family(
        "log-sigmoid",
        [{"x": ALL}],
        "log(1 / (1 + exp(-x)))",
        "-log(1 + exp(-x))",
        "log(sigmoid(x))",
        "log(exp(x) / (1 + exp(x)))",
        "log((1 + exp(-x)) ** -1)",
        "x - log(1 + exp(x))",
        "log(1 - sigmoid(-x))",
        "log(1 - 1 / (1 + exp(x)))",
        "log(0.5 * (1 + tanh(x / 2)))",
        alone=True,
        truth="-log1p(exp(-x))",
    ),
    *family(
        "logaddexp",
        [PAIRS],
        "log(exp(x) + exp(y))",
        "log(exp(y) + exp(x)) - 1",
        "y + log(1 + exp(x - y))",
        "log(0.5 * exp(x) + 0.25 * exp(y))",
        "-log(exp(-x) + exp(-y))",
        "log(exp(x) + exp(y) + exp(x / 2))",
    ),
    *family(
        "logaddexp", [{"x": [1e4, 100.0, 3.0], "y": [9999.0, -1e4, 2.5]}], "log(exp(x) - exp(y))"
    ),
    *family(
        "logsumexp",
        rows(w=OTHER, m=SOME),
        "log(sum(exp(x), 1))",
        "log(sum(exp(x), 1, keepdims=True))",
        "max(x, 1) + log(sum(exp(x - max(x, 1, keepdims=True)), 1))",
        "(c := stop_gradient(max(x, 1, keepdims=True))) + log(sum(exp(x - c), 1, keepdims=True))",
        "-log(sum(exp(-x), 0))",
        "log(mean(exp(x), 1))",
        "log(sum(w * exp(x), 1))",
        "log(sum(exp(2 * x), 1)) / 2",
        "log(sum(where(m > 0, exp(x), 0.0), 1))",
        "log(sum(exp(x)))",
        "log(exp(x[:, 0]) + sum(exp(x[:, 1:]), 1))",
        "log(sum(exp(reshape(transpose(x), (6,)))))",
    ),
    *family(
        "log-softmax",
        rows(),
        "log(exp(x) / sum(exp(x), 1, keepdims=True))",
        "x - log(sum(exp(x), 1, keepdims=True))",
        "log(softmax(x, 1))",
        "log(softmax(x, 1)[:, 1])",
        "log(transpose(exp(x) * (1 / sum(exp(x), 1, keepdims=True))))",
    ),
    *family(
        "log1p",
        [{"x": [-0.5, *POSITIVE, 0.0, -1e-8]}],
        "log(1 + x)",
        "log(x + 1)",
        "log(1 + x * x)",
        "log(1 + 2 * x)",
        "log(1 / (1 + x))",
        alone=True,
    ),
    *family(
        "log1p",
        [{"x": SMALL}],
        "log(1 - x)",
        "-log(1 - x)",
        "log((1 + x) / (1 - x))",
        "log(1 + x) - log(1 - x)",
        alone=True,
    ),
    *family(
        "expm1",
        [{"x": [-1e4, -100.0, *SMALL, 3.0, 80.0]}],
        "exp(x) - 1",
        "-1 + exp(x)",
        "1 - exp(x)",
        "exp(x / 2) - 1",
        alone=True,
    ),
    *family("expm1", [{"x": [-0.5, -1e-4, 1e-30, 1e-8, 2.0]}], "(exp(x) - 1) / x", alone=True),
    *family(
        "expm1",
        [{"x": [1e-8, 1e-3, 0.5, 3.0, 20.0, 100.0, 1e4]}],
        "log(exp(x) - 1)",
        "log(1 - exp(-x))",
        "1 / (exp(x) - 1)",
        alone=True,
    ),
    *family("expm1", [{"x": [1.0, -3.0, 60.0], "y": [1.0001, -3.0, 60.5]}], "exp(x) - exp(y)"),
    *family(
        "binary cross-entropy",
        [_BINARY],
        "-(t * log(p) + (1 - t) * log(1 - p))",
        "-w * (log(p) * t + log(1 - p) * (1 - t))",
        "(t - 1) * log(1 - p) - t * log(p)",
        alone=True,
    ),
    *family(
        "binary cross-entropy",
        [_BINARY | {"t": [0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0]}],
        "-log(where(t > 0.5, p, 1 - p))",
        "where(t > 0.5, -log(p), -log(1 - p))",
        "-log(p**t * (1 - p) ** (1 - t))",
        "-mean(t * log(p) + (1 - t) * log(1 - p))",
        alone=True,
    ),
    *family("binary cross-entropy", [_CERTAIN], "-log(t * p + (1 - t) * (1 - p))", alone=True),
    *family(
        "binary cross-entropy",
        [_SIGMOIDS],
        "-(t * log(p := 1 / (1 + exp(-x))) + (1 - t) * log(1 - p))",
        alone=True,
        truth=_EXACT,
    ),
    *family(
        "binary cross-entropy",
        [_SIGMOIDS],
        "-(2 * t * log(p := sigmoid(x)) + 3 * (1 - t) * log(1 - p))",
        alone=True,
        truth="2 * t * log1p(exp(-x)) + 3 * (1 - t) * log1p(exp(x))",
    ),
    *family(
        "binary cross-entropy",
        [{"x": _LOGITS, "t": [0.25 + k % 3 / 4 for k in range(len(_LOGITS))]}],
        "log(1 + exp(x)) - t * x",
        "maximum(x, 0.0) - x * t + log(1 + exp(-abs(x)))",
        alone=True,
    ),
    *family(
        "binary cross-entropy",
        [_SIGMOIDS | {"t": [float(k % 2) for k in range(len(_LOGITS))]}],
        "-log(where(t > 0.5, p := 1 / (1 + exp(-x)), 1 - p))",
        "where(t > 0.5, -log(p := 1 / (1 + exp(-x))), -log(1 - p))",
        alone=True,
        truth=_EXACT,
    ),
    *family(
        "binary cross-entropy",
        [_SIGMOIDS],
        "-mean(t * log(p := sigmoid(x)) + (1 - t) * log(1 - p))",
        truth=f"mean({_EXACT})",
    ),
    *family(
        "cross-entropy of logits",
        rows(t=ONE_HOT, w=OTHER, i=CHOSEN),
        f"-sum(t * log({_SOFTMAX}), 1)",
        f"-mean(log({_SOFTMAX})[arange(2), i])",
        f"-log({_SOFTMAX}[arange(2), i])",
        f"-log(take_along_axis({_SOFTMAX}, i[:, None], 1))",
        f"-log(sum(t * {_SOFTMAX}, 1))",
        f"-sum(w * log({_SOFTMAX}) * t)",
        f"-sum((0.75 * t + 0.25 / 3) * log({_SOFTMAX}), 1)",
        f"where(t > 0, -log({_SOFTMAX}), 0.0)",
        f"-sum(w * log({_SOFTMAX}), 1)",
        f"-sum(t * (1 - {_SOFTMAX}) ** 2 * log(p), 1)",
        "sum(t * (log(sum(exp(x), 1, keepdims=True)) - x), 1)",
        f"exp(-mean(log({_SOFTMAX}[arange(2), i])) / 1024)",
    ),
    *family(
        "cross-entropy of probabilities",
        _GIVEN,
        "-sum(t * log(p), 1)",
        "-sum(w * t * log(p), 1)",
        "-mean(log(p)[arange(2), i])",
        "-mean(log(p[arange(2), i]))",
        "-sum(log(take_along_axis(p, i[:, None], 1)))",
        "-log(sum(t * p, 1))",
        "-sum(where(t > 0, t * log(p), 0.0), 1)",
        "-sum(t * log(p / sum(p, 1, keepdims=True)))",
    ),
    *family(
        "entropy and divergence",
        [{"p": LIKELY, "q": OTHER}],
        "-sum(p * log(p), 1)",
        "-sum(log(p) * p)",
        "sum(p * (log(p) - log(q)), 1)",
        "sum(p * log(p / q), 1)",
        "sum(p * log(p) - p * log(q), 1)",
        "sum(p * log(p / (m := (p + q) / 2)) + q * log(q / m), 1) / 2",
        "sum(where(p > 0, p * log(p), 0.0), 1)",
    ),
    *family(
        "entropy and divergence",
        [{"q": OTHER, "t": SOFT}],
        "sum(t * log(t / q), 1)",
        "sum(t * (log(t) - log(q)), 1)",
    ),
    *family(
        "entropy and divergence",
        [{"x": logits, "y": [[1.0, 0.0, -0.5], [0.25, -1.0, 0.5]]} for logits in LOGITS],
        f"-sum({_SOFTMAX} * log(p), 1)",
        f"sum({_SOFTMAX} * (log(p) - log(softmax(y, 1))), 1)",
        f"sum({_SOFTMAX} * log(p / softmax(y, 1)), 1)",
        f"sum(softmax(y, 1) * log(softmax(y, 1) / {_SOFTMAX}), 1)",
    ),
    *family(
        "entropy and divergence",
        [{"x": [value for value in WIDE if abs(value) > 0.1]}],  # the gradient is 0 at 0
        "-((p := 1 / (1 + exp(-x))) * log(p) + (1 - p) * log(1 - p))",
        alone=True,
        truth="log1p(exp(-x)) / (1 + exp(-x)) + log1p(exp(x)) / (1 + exp(x))",
    ),
    *family(
        "logarithms",
        [{"x": [value for value in WIDE if 1e-3 < abs(value) <= 100]}],
        "log(1 - tanh(x) ** 2)",
        "log((p := 1 / (1 + exp(-x))) * (1 - p))",
        "sqrt((p := 1 / (1 + exp(-x))) * (1 - p))",
        "-log(1 / (1 + exp(-x - 1)) - 1 / (1 + exp(1 - x)))",
        "log(exp(log(1 + exp(x))) - 1)",
        "log(abs(exp(x) - 1))",
        alone=True,
    ),
    *family(
        "logarithms",
        [{"x": logits} for logits in (LARGE, PLAIN, SURE)],
        "log(sum(concat([exp(x), exp(2 * x)], 1), 1))",
        f"-log(1 - {_SOFTMAX}[:, 0])",
        f"log({_SOFTMAX} / (1 - p))",
    ),
    *family(
        "logarithms",
        [{"x": [[1e-20, 1e-25, 0.5], [1e20, 1e25, 3.0]]}],
        "log(prod(x, 1))",
    ),
]
