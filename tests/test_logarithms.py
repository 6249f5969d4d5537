# pyright: standard
"""Exponentials and logarithms in many spellings, each against mpmath, value and gradient.

The rows and the way they are judged are the stability table's (benchmarks/stability.py): float32,
inputs such as ±1e4, 0 and 1e±30, an error of at most 1e-5 of the value, or of the largest entry
of a row.  These rows are further spellings of the same families.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import gradloom as gl
from gradloom.benchmarks.exponentials import (
    ALL,
    CHOSEN,
    LIKELY,
    ONE_HOT,
    OTHER,
    PAIRS,
    POSITIVE,
    SMALL,
    SOFT,
    SOME,
    rows,
)
from gradloom.benchmarks.expressions import Expression, family
from gradloom.benchmarks.stability import judge, meets
from gradloom.compiler.positive import has_log, is_positive
from gradloom.compiler.stabilise import stabilise
from gradloom.ir.graph import Graph

from .graphs import placeholder

ROWS: list[Any] = [dict(row, t=ONE_HOT, w=OTHER, m=SOME, i=CHOSEN) for row in rows()]
P = "(p := exp(x) / sum(exp(x), 1, keepdims=True))"
GROWING = [1e-8, 1e-3, 0.5, 3.0, 20.0, 100.0, 1e4]
FALLING = [-1e4, -100.0, *SMALL, 3.0, 80.0]
TAILS = [-1e4, -100.0, -30.0, -5.0, -1.0, -1e-4, 0.0, 0.5, 3.0]
GIVEN: Any = [{"p": LIKELY, "t": [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]], "w": OTHER}]
TWO: Any = [{"p": LIKELY, "q": OTHER, "w": SOFT}]
BINARY: Any = [
    {
        "p": [0.0, 1.0, 0.5, 1e-30, 0.999, 1.0, 0.25, 1e-8],
        "t": [0.0, 1.0, 0.25, 1.0, 0.0, 0.75, 1.0, 0.0],
        "w": [1.0, 2.0, 0.5, 1.0, 3.0, 0.0, 0.0, 4.0],
    }
]

SPELLINGS: list[Expression] = [
    *family(
        "softmax",
        ROWS,
        "exp(x) / sum(exp(x), 1, keepdims=True) * w",
        "exp(x) * m * (1 / sum(exp(x) * m, 1, keepdims=True))",
        "m * (exp(x) * (1 / sum(m * exp(x), 1, keepdims=True)))",
        "exp(x) * w * sum(exp(x) * w, 1, keepdims=True) ** -1",
        "m * exp(x) / (sum(m * exp(x), 1, keepdims=True) + 1e-8)",
        "exp(x) / (sum(exp(x), 1, keepdims=True) + 1e-6)",
        "exp(x) / sum(exp(x), (0, 1), keepdims=True)",
        "exp(x) * exp(-log(sum(exp(x), 1, keepdims=True)))",
        "exp(x - log(sum(exp(x), 1, keepdims=True)))",
        "exp(x) / mean(exp(x), 1, keepdims=True) / 3",
        "10.0 ** x / sum(10.0 ** x, 1, keepdims=True)",
        "matmul(exp(x), transpose(w)) / sum(exp(x), 1, keepdims=True)",
        "sum(exp(x) * w, 1) / sum(exp(x), 1)",
        "exp(x[:, 0]) / sum(exp(x), 1)",
        "exp(x)[:, 0] / sum(exp(x), 1)",
        "sqrt(exp(x) / sum(exp(x), 1, keepdims=True))",
        "exp(x) ** 2 / sum(exp(x) ** 2, 1, keepdims=True)",
        "(1 / exp(x)) / sum(1 / exp(x), 1, keepdims=True)",
        "1 - exp(x) / sum(exp(x), 1, keepdims=True)",
        "where(m > 0, exp(x), 0.0) / sum(where(m > 0, exp(x), 0.0), 1, keepdims=True)",
        "exp(x - mean(x, 1, keepdims=True))"
        " / sum(exp(x - mean(x, 1, keepdims=True)), 1, keepdims=True)",
    ),
    *family(
        "log-softmax",
        ROWS,
        "x - (c := max(x, 1, keepdims=True)) - log(sum(exp(x - c), 1, keepdims=True))",
        "x - ((c := max(x, 1, keepdims=True)) + log(sum(exp(x - c), 1, keepdims=True)))",
        "-log(sum(exp(x), 1, keepdims=True)) + x",
        "log(sum(exp(x), 1)) - x[:, 1]",
        "mean(log(sum(exp(x), 1)) - x[arange(2), i])",
        "log(sum(exp(x), 1)) - sum(x * t, 1)",
        "log(sum(exp(x), 1)) - log(sum(t * exp(x), 1))",
        "log(exp(x)[arange(2), i] / sum(exp(x), 1))",
        "log(softmax(x, 1) + 1e-8)",
        "log(maximum(softmax(x, 1), 1e-7))",
        "log(mean(softmax(x, 1), 0))",
        "log(where(m > 0, softmax(x, 1), 1.0))",
    ),
    *family(
        "logsumexp",
        ROWS,
        "log(mean(exp(x)))",
        "log(sum(exp(x) * w, 1) / sum(w, 1))",
        "log1p(sum(exp(x), 1))",
        "log(sum(exp(x) + exp(-x), 1))",
        "log(sum(exp(x) ** 2, 1)) / 2",
        "log(exp(x[:, 0]) * 2 + exp(x[:, 1]) / 3)",
        "log(sqrt(sum(exp(x), 1)))",
        "sum(exp(x), 1) ** 0.01",
        "log(max(exp(x), 1))",
        "log(w * exp(x) + m * exp(-x))",
    ),
    *family(
        "sigmoid",
        [{"x": ALL}],
        "exp(x / 2) / (exp(x / 2) + exp(-x / 2))",
        "1 / (1 + 2.0 ** (-x))",
        "1 - 0.5 * (1 + tanh(x / 2))",
        "-1 / (1 + exp(-x))",
        "0.5 / (0.5 + 0.5 * exp(-x))",
        "1 / (1 + exp(-x)) ** 2",
        "1 / sqrt(1 + exp(-x))",
        "x * exp(x) / (1 + exp(x))",
        "exp(x - log(1 + exp(x)))",
        alone=True,
    ),
    *family(
        "softplus",
        [{"x": ALL}],
        "log(1 + exp(x) / 4)",
        "log(1 + 2.0 ** x)",
        "log(exp(x) + 0.5)",
        "log(1 + exp(x) + exp(2 * x))",
        "log(1 + sqrt(exp(x)))",
        "log(1 / (1 + exp(-x)) ** 2)",
        "log(1 + exp(x)) - log(1 + exp(-x))",
        "log(3 * sigmoid(x))",
        "-log(1 + 1 / exp(x))",
        alone=True,
    ),
    *family(
        "two exponentials",
        [PAIRS],
        "log(exp(x) * 2 + exp(y))",
        "log((exp(x) + exp(y)) / 2)",
        "x + log1p(exp(y - x))",
        "log(exp(x) + exp(y)) - x",
        "(exp(x) - exp(y)) / (exp(x) + exp(y))",
        "2 * exp(x) / (2 * exp(x) + 3 * exp(y))",
        "exp(x) / (exp(y) + exp(x) + 1)",
        "exp(x) * exp(y) / (exp(x) + exp(y)) ** 2",
        "log(exp(x - y) + exp(y - x))",
    ),
    *family(
        "binary cross-entropy",
        BINARY,
        "-w * t * log(p) - w * (1 - t) * log(1 - p)",
        "-(t * log(p) * w + (1 - t) * log(1 - p) * w)",
        "t * -log(p) + (1 - t) * -log(1 - p)",
        "-mean(w * (t * log(p) + (1 - t) * log(1 - p)))",
        "-t * (1 - p) ** 2 * log(p) - (1 - t) * p ** 2 * log(1 - p)",
        alone=True,
    ),
    *family(
        "cross-entropy",
        ROWS,
        f"-log(sum({P} * t, 1, keepdims=True))",
        f"-log(sum(where(t > 0, {P}, 0.0), 1))",
        f"-sum(t * log({P} + 1e-8), 1)",
        f"-log(transpose({P})[i, arange(2)])",
        f"-sum((1 - {P}[arange(2), i]) ** 2 * log(p[arange(2), i]))",
        f"exp(-sum({P} * log(p), 1))",
    ),
    *family(
        "given probabilities",
        GIVEN,
        "-sum(w * (t * log(p)), 1)",
        "sum(t * (log(t) - log(p)), 1)",
        "exp(-sum(t * log(p), 1))",
        "-sum(w * t / 2 * log(p))",
    ),
    *family(
        "entropy and divergence",
        TWO,
        "sum(p * log(1 / p), 1)",
        "sum(p * log(2 * p / (p + q)) + q * log(2 * q / (p + q)), 1) / 2",
        "-sum(p * log(q / p), 1)",
        "sum(p * log(p / q) - p + q, 1)",
        "sum(w * p * log(p / q), 1)",
        "-(p * log(p) + (1 - p) * log(1 - p))",
    ),
    *family(
        "log1p",
        [{"x": [-0.5, *POSITIVE, 0.0, -1e-8]}],
        "log(1 + x * x / 2)",
        "log(sqrt(1 + x ** 2))",
        "log((x + 1) ** 2)",
        "log(x ** 4)",
        "log(x / (1 + x))",
        alone=True,
    ),
    *family(
        "log1p",
        [{"x": SMALL}],
        "log((1 - x) / (1 + x))",
        "log(1 - x * x)",
        "log((1 - x) * (1 + x))",
        alone=True,
    ),
    *family(
        "expm1",
        [{"x": FALLING}],
        "2.0 ** x - 1",
        "(exp(x) - 1) * exp(-x)",
        "3 * exp(x) - 3",
        "sqrt(exp(x)) - 1",
        "where(x > 0, x, 1.5 * (exp(x) - 1))",
        alone=True,
    ),
    *family(
        "expm1",
        [{"x": GROWING}],
        "log(expm1(x))",
        "log(exp(x) - 1) - x",
        "exp(x) / (exp(x) - 1)",
        "log(exp(x) - exp(-x))",
        "log(sinh(x))",
        "log(tanh(x))",
        "log(cosh(x))",
        "log((exp(x) - 1) / (exp(x) + 1))",
        alone=True,
    ),
    *family(
        "tails",
        [{"x": TAILS}],
        "log(0.5 * erfc(-x / root2))",
        "log(erfc(-x))",
        "log(erfc(-x) * 0.5) * 2",
        alone=True,
    ),
    *family(
        "double exponentials",
        [{"x": [-1e4, -100.0, -5.0, -1.0, 0.0, 1.0, 3.0, 100.0, 1e4]}],
        "exp(x - exp(x))",
        "exp(x) * exp(-exp(x))",
        "log(1 - exp(-exp(x)))",
        alone=True,
    ),
]


@pytest.mark.campaign(8)
@pytest.mark.parametrize("row", SPELLINGS, ids=lambda row: f"{row.family}: {row.text}")
def test_spelling(row: Expression):
    errors = judge(row, ["gradloom"])["gradloom"]
    assert meets(errors), errors


def test_spellings_differ():
    assert max(Counter(row.text for row in SPELLINGS).values()) == 1


# --- other modes, and what must not change -----------------------------------------------------

X = np.array([-1e4, -90.0, -1.0, 0.0, 1e-30, 2.0, 90.0, 1e4], np.float32)
SMOOTH: dict[str, Any] = {
    "sigmoid": lambda x: 1 / (1 + gl.exp(-x)),
    "softplus": lambda x: gl.log(1 + gl.exp(x)),
    "softmax": lambda x: gl.exp(x) / gl.sum(gl.exp(x)),
    "weighted softmax": lambda x: gl.abs(x) * gl.exp(x) / gl.sum(gl.abs(x) * gl.exp(x)),
    "logsumexp": lambda x: gl.log(gl.sum(gl.exp(x))),
    "log of a weighted sum": lambda x: gl.log(gl.sum(gl.exp(x) * gl.cos(x) ** 2)),
    "entropy": lambda x: gl.sum((p := gl.softmax(x)) * gl.log(p)),
    "quotient": lambda x: x / (gl.abs(x) + gl.exp(x)),
    "log normal tail": lambda x: gl.log(gl.normal_cdf(gl.clip(x, -1e4, 90.0))),
    "log cosh": lambda x: gl.log(gl.cosh(x)),
}


@pytest.mark.campaign(4)
@pytest.mark.parametrize("name", SMOOTH)
def test_forward_and_second_derivatives_are_finite(name: str):
    x = gl.placeholder((8,), name="x")
    y = gl.sum(SMOOTH[name](x) * gl.constant(np.linspace(0.5, 2, 8), "float32"))
    slope = gl.grad(y, x)
    tangent = gl.jvp(y, x, gl.ones((8,)))
    function = gl.function([x], [y, slope, tangent, gl.grad(gl.sum(slope * slope), x)])
    value, gradient, moved, second = function(X)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.isfinite(second).all()
    scale = max(1.0, float(np.abs(gradient).sum()))
    np.testing.assert_allclose(moved, gradient.sum(dtype=np.float64), atol=1e-5 * scale)


NAN_STAYS: dict[str, Any] = {
    "weighted": lambda x: (x * 0.0) * gl.log(x),
    "ratio": lambda x: gl.abs(x) * gl.log(x / gl.abs(x)),
    "product": lambda x: gl.log(x * gl.exp(x)),
    "sum": lambda x: gl.log(x * 1e4 + gl.exp(x)),
    "difference": lambda x: gl.log(gl.exp(x) - 1),
    "quotient": lambda x: gl.log(x / (gl.exp(x) + gl.exp(-x))),
    "one less": lambda x: gl.log(1 - gl.exp(-x)),
    "power": lambda x: gl.log(x**3 * gl.sigmoid(x)),
}


@pytest.mark.parametrize("name", NAN_STAYS)
def test_no_rule_hides_the_logarithm_of_a_negative_number(name: str):
    x = gl.placeholder((2,), name="x")
    (value,) = gl.function([x], [NAN_STAYS[name](x)])(np.array([-2.0, -0.5], np.float32))
    assert np.isnan(value).all()


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (3, 1)])
def test_empty_and_single(shape: tuple[int, int], axis: int | None):
    x, w = gl.placeholder(shape, name="x"), gl.placeholder(shape, name="w")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32), np.ones(shape, np.float32)]
    e = w * gl.exp(x)
    total = gl.sum(e, axis=axis, keepdims=True)
    shares, log = gl.function([x, w], [e / total, gl.log(total)])(*arrays)
    wide = np.exp(arrays[0].astype(np.float64))
    sums = wide.sum(axis, keepdims=True)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(shares, wide / sums, 1e-6)
        np.testing.assert_allclose(log, np.log(sums), 1e-6, 1e-6)


def test_what_has_a_logarithm():
    x, y = placeholder("x", (3,)), placeholder("y", (3,))
    chained = gl.exp(x)
    for _ in range(10_000):  # not by recursion
        chained = chained * 0.5 + 1.0
    have = [
        *(gl.exp(x), gl.sigmoid(x), gl.softmax(x)[1:], 2 * gl.exp(x) / gl.exp2(y), 2.0**x),
        *(gl.exp(x) ** y, gl.sqrt(gl.exp(x) + 1), gl.max(gl.exp(x)), gl.mean(gl.exp(x)), chained),
        *(gl.where(x > 0, gl.exp(x), 0.0), gl.maximum(gl.softmax(x), 1e-7), 1e-8 + gl.sigmoid(x)),
    ]
    have_none = [x, -gl.exp(x), gl.exp(x) - 1, x * gl.exp(x), gl.exp(x) + y, gl.tanh(x)]
    numbers = [gl.constant(2.0), gl.constant([0.0, 1.0])]
    assert [has_log(t) for t in have] == [True] * len(have)
    assert [is_positive(t) for t in have_none] == [False] * len(have_none)
    assert [(has_log(t), is_positive(t)) for t in numbers] == [(False, True)] * 2


def test_ordinary_cross_entropy_stays_what_it_was():
    """One log_softmax and a gather: no general rule gets in between."""
    x, labels = gl.placeholder(("B", 10), name="x"), gl.placeholder(("B",), "int64", "labels")
    p = gl.exp(x) / gl.sum(gl.exp(x), axis=1, keepdims=True)
    loss = -gl.mean(gl.log(p[gl.arange(x.shape[0]), labels]))
    ops = Counter(node.op.name for node in stabilise(Graph("g", [x, labels], [loss])).nodes)
    assert ops["log_softmax"] == 1
    assert ops.keys().isdisjoint({"exp", "log", "softmax", "centred_exp", "weighted_log"})


@pytest.mark.campaign(3)
@pytest.mark.parametrize(
    ("function", "exact"),
    [
        (gl.log1mexp, lambda x: mp.log(-mp.expm1(-abs(x)))),
        (gl.log_cosh, lambda x: mp.log1p(mp.expm1(abs(x)) ** 2 / mp.exp(abs(x)) / 2)),
        (gl.exprel, lambda x: mp.expm1(x) / x if x else mp.mpf(1)),
        (gl.log_erfc, lambda x: mp.log1p(-mp.erf(x)) if x < 1 else mp.log(mp.erfc(x))),
        (gl.log_normal_cdf, lambda x: mp.log(mp.ncdf(x)) if x < 0 else mp.log1p(-mp.ncdf(-x))),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_new_functions_to_their_last_digits(function: Any, exact: Any, dtype: str):
    values = np.array([-1e-30, -1e-6, 1e-3, 0.3, 0.8, 1.7, 6.0, 8.9, 11.9, 12.1, 30.0], dtype)
    values = np.concatenate([-values, values])
    if function is gl.log1mexp:
        values = -np.abs(values)
    x = gl.placeholder(values.shape, dtype, "x")
    y = function(x)
    found, slopes = gl.function([x], [y, gl.grad(gl.sum(y), x)])(values)
    bar = 64 * float(np.finfo(values.dtype).eps)
    with mp.workdps(160):
        for value, got, slope in zip(values, found, slopes, strict=True):
            at = mp.mpf(float(value))
            wanted = exact(at)
            if abs(wanted) > np.finfo(values.dtype).tiny:
                assert abs(mp.mpf(float(got)) / wanted - 1) < bar, (value, got, wanted)
            step = mp.mpf(10) ** -40 * (abs(at) + 1 if at else 1)
            if abs(at) > 1e-20:
                slope_wanted = (exact(at * (1 + step)) - exact(at * (1 - step))) / (2 * step * at)
                if abs(slope_wanted) > np.finfo(values.dtype).tiny:
                    off = abs(mp.mpf(float(slope)) / slope_wanted - 1)
                    assert off < bar * max(1, float(at) ** 2), (value, slope, slope_wanted)


def test_a_divergence_from_what_is_impossible_is_infinite() -> None:
    """Σ t ln(t / q) where q is 0 and t is not; and 0 where both are."""
    t, q = gl.placeholder((2,), "float32", name="t"), gl.placeholder((2,), "float32", name="q")
    function = gl.function([t, q], [gl.sum(t * gl.log(t / q)), t * gl.log(t / q)])
    assert any(node.op.name == "weighted_log_ratio" for node in function.stages["dead"].nodes)
    total, parts = function(np.array([0.5, 0.0], np.float32), np.array([0.0, 0.0], np.float32))
    assert total == np.inf and parts.tolist() == [np.inf, 0.0]
    total, parts = function(np.array([-0.5, 0.25], np.float32), np.array([0.5, -0.0], np.float32))
    assert np.isnan(parts[0]) and np.isnan(total)
