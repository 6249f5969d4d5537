# pyright: standard
"""Random numbers are distributed as they say, and follow their parameters."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir import dtypes as dt
from gradloom.ir.dims import symbol
from gradloom.ir.ops.uniform import fraction, side_and_tail
from gradloom.ir.tensor import Tensor

from .distributions import (
    DISTRIBUTIONS,
    KEY,
    MANY,
    R,
    assert_distributed,
    compiled,
    kolmogorov_smirnov,
    truncated,
    words,
)
from .formulas_random import normal_quantile as mpmath_normal

# --- every distribution ---------------------------------------------------------------------------


by_name = pytest.mark.parametrize("name", DISTRIBUTIONS)


@pytest.mark.campaign(4)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@by_name
def test_a_million_numbers(name: str, dtype: str):
    """By compiled code; Kolmogorov and Smirnov's test, mean and variance, for this seed."""
    build = DISTRIBUTIONS[name][0]
    (x,) = compiled(build(KEY, (MANY,), dtype=dtype))
    assert x.dtype == dtype
    assert_distributed(x, DISTRIBUTIONS[name])


def test_by_scipy():
    """The same with SciPy's test, and by the interpreter, of another key."""
    stats = pytest.importorskip("scipy.stats")
    key = R.fold_in(KEY, 1).eval()
    for name, (build, function, *_) in DISTRIBUTIONS.items():
        x = build(key, (10_000,), dtype="float32").eval()
        assert stats.kstest(x.astype(np.float64), function).pvalue > 1e-4, name


def test_tails_reach_as_far_as_they_should():
    """Far numbers come about as often as their probability says: no tail is cut off."""
    (z,) = compiled(R.normal(R.key(5), (20 * MANY,)))
    for bound, expected in ((4, 20e6 * 6.334e-5), (5, 20e6 * 5.733e-7)):
        found = int(np.sum(np.abs(z) > bound))
        assert abs(found - expected) < 4.5 * math.sqrt(expected)


# Seeds whose first word is 0, 2³¹ − 1, 2³¹ and 2³² − 1, found by trying 8·10⁹.
EXTREME = {0: 1836991927, 2**31 - 1: 3391122501, 2**31: 8071768748, 2**32 - 1: 1352247272}


def test_extreme_words_give_finite_numbers():
    """The ends and the middle of each distribution: as far as the docstrings say, no farther."""
    keys = R.key(np.array([*EXTREME.values()]))
    assert R.bits(keys).eval().tolist() == [*EXTREME]
    end, middle = 0.5 * 2.0**-32, 0.5
    odd = {  # lower tail from the middle outwards, by words 2³¹ … and 0 …
        "normal": lambda tail: mpmath_normal(tail),
        "laplace": lambda tail: math.log(2 * tail),
        "logistic": lambda tail: math.log(tail / (1 - tail)),
        "cauchy": lambda tail: -1 / math.tan(math.pi * tail),
    }
    for name, lower in odd.items():
        (x,) = compiled(DISTRIBUTIONS[name][0](keys, (), dtype="float32"))
        wanted = [-lower(end), -lower(middle), lower(middle), lower(end)]
        np.testing.assert_allclose(x, wanted, 1e-6, 1e-6, err_msg=name)
    (waits, top, u) = compiled(R.exponential(keys), R.gumbel(keys), R.uniform(keys))
    np.testing.assert_allclose(waits, [-math.log(end), math.log(2), math.log(2), 0], 1e-6)
    half = -math.log(math.log(2))
    np.testing.assert_allclose(top, [-math.log(end), half, half, -math.log(24 * math.log(2))], 1e-6)
    np.testing.assert_array_equal(u, [0, 0.5 - 2.0**-24, 0.5, 1 - 2.0**-24])
    for build, *_ in DISTRIBUTIONS.values():
        (x,) = compiled(build(keys, (), dtype="float32"))
        assert np.isfinite(x).all()


def test_fractions_by_their_definition():
    """Of exact numbers, rounded once or, in float64, where the words are joined."""
    pairs = list(zip(*(words(KEY.eval(), 200, word=i) for i in range(2)), strict=True))
    near, far = fraction(KEY, (200,), dt.float32), fraction(KEY, (200,), dt.float64)
    np.testing.assert_allclose(near.eval(), [(a + 0.5) / 2**32 for a, _ in pairs], 1e-7)
    exact = [float(Fraction(2 * ((a << 32) + b) + 1, 2**65)) for a, b in pairs]
    np.testing.assert_allclose(far.eval(), exact, 3e-16)
    for dtype, bits, tolerance in ((dt.float32, 32, 1e-7), (dt.float64, 64, 3e-16)):
        is_low, tail = side_and_tail(KEY, (200,), dtype)
        whole = [a if bits == 32 else (a << 32) + b for a, b in pairs]
        signed = [k - 2**bits if k >= 2 ** (bits - 1) else k for k in whole]
        assert is_low.eval().tolist() == [k < 0 for k in signed]
        ends = [float(abs(Fraction(2 * k + 1, 2 ** (bits + 1)))) for k in signed]
        np.testing.assert_allclose(tail.eval(), ends, tolerance)


def test_halves_are_rounded_once():
    """Numbers of float16 and bfloat16 are those of float32, rounded; uniform ones have as many
    steps as there are halves below 1."""
    for dtype, digits in (("float16", 11), ("bfloat16", 8)):
        wanted = [w >> 32 - digits for w in words(KEY.eval(), 50)]
        u = R.uniform(KEY, 50, dtype=dtype)
        assert (gl.astype(u, "float32") * 2.0**digits).eval().tolist() == wanted
        scale = gl.astype(np.array([1.0, 3.0], np.float32), dtype)
        for build in (R.normal, R.gumbel, R.cauchy):
            plain = build(KEY, (9, 2), 0.0, np.array([1.0, 3.0], np.float32))
            for half in (build(KEY, (9, 2), 0.0, scale), build(KEY, (9, 2), 0.0, scale, dtype)):
                assert half.dtype.name == dtype
                same = gl.astype(plain, dtype)
                np.testing.assert_array_equal(half.eval(), same.eval())
        assert R.gamma(KEY, 2.0, 3, dtype).dtype.name == dtype
        assert R.truncated_normal(KEY, 3, dtype=dtype).dtype.name == dtype
        scores = gl.astype(np.array([0.5, 1.0], np.float32), dtype)
        assert R.categorical(KEY, scores, shape=9).eval().shape == (9,)
        assert R.bernoulli(KEY, scores).eval().tolist()[1]


def test_truncated_normal_of_tensors():
    """Bounds of their own for every number, in either tail and across; and their derivatives."""
    low = np.array([-np.inf, -1.0, 0.5, 3.0, -6.0, -4.0, -1e-3, 30.0])
    high = np.array([0.5, 2.0, np.inf, 4.0, -5.0, 6.0, 1e-3, 31.0])
    a, b = (gl.placeholder((8,), "float64", name=name) for name in "ab")
    x = R.truncated_normal(KEY, (50_000, 8), a, b)
    (found,) = [gl.function([a, b], x)(low, high)]
    for own, least, most in zip(found.T, low, high, strict=True):
        assert least <= own.min() <= own.max() <= most
        assert kolmogorov_smirnov(own, truncated(least, most)) > 1e-4
    few = R.truncated_normal(KEY, (2, 8), a, b)
    inner = np.array([-2.0, -1.0, 0.5, 3.0, -6.0, -4.0, -1e-3, 7.0])
    outer = np.array([0.5, 2.0, 1.5, 4.0, -5.0, 6.0, 1e-3, 8.0])
    slopes = gl.function([a, b], gl.grad(gl.sum(few), [a, b]))(inner, outer)
    for position, slope in enumerate(slopes):
        ends = [
            few.eval({"a": inner + h * (1 - position), "b": outer + h * position})
            for h in (1e-6, -1e-6)
        ]
        np.testing.assert_allclose(slope, (ends[0] - ends[1]).sum(0) / 2e-6, 1e-5, 1e-6)


# --- parameters -----------------------------------------------------------------------------------


def test_parameters_give_shape_and_dtype():
    mean = gl.placeholder(("B", 1), "float64", name="mean")
    std = gl.placeholder((3,), "float64", name="std")
    x = R.normal(KEY, None, mean, std)
    assert str(x.type) == "f64[B,3]"
    values = {"mean": np.zeros((5, 1)), "std": np.ones(3)}
    np.testing.assert_array_equal(x.eval(values), R.normal(KEY, (5, 3), dtype="float64").eval())
    assert str(R.bernoulli(KEY, np.array([0.1, 0.9], np.float32)).type) == "bool[2]"
    assert str(R.uniform(KEY, None, 0.0, np.ones(4)).type) == "f64[4]"


def test_location_and_scale_are_differentiable():
    a = gl.placeholder((3,), "float64", name="a")
    b = gl.placeholder((3,), "float64", name="b")
    cases: list[tuple[Any, Any, Any]] = [
        (R.normal(KEY, None, a, b), None, R.normal(KEY, (3,), dtype="float64")),
        (R.gumbel(KEY, None, a, b), None, R.gumbel(KEY, (3,), dtype="float64")),
        (R.laplace(KEY, None, a, b), None, R.laplace(KEY, (3,), dtype="float64")),
        (R.logistic(KEY, None, a, b), None, R.logistic(KEY, (3,), dtype="float64")),
        (R.cauchy(KEY, None, a, b), None, R.cauchy(KEY, (3,), dtype="float64")),
        (R.uniform(KEY, None, a, b), 1, R.uniform(KEY, (3,), dtype="float64")),
    ]
    feeds = {"a": np.array([1.0, -2.0, 0.5]), "b": np.array([2.0, 0.3, 1.5])}
    for x, bounded, standard in cases:
        by_a, by_b = gl.function([a, b], gl.grad(gl.sum(x), [a, b]))(**feeds)
        z = standard.eval()
        np.testing.assert_allclose(by_a, 1 - z if bounded else np.ones(3), 1e-12)
        np.testing.assert_allclose(by_b, z, 1e-12)
    rate = gl.placeholder((), "float64", name="rate")
    mean_wait = gl.sum(R.exponential(KEY, (4,), rate))
    z = R.exponential(KEY, (4,), dtype="float64").eval()
    got = gl.function([rate], gl.grad(mean_wait, rate))(np.array(2.0))
    np.testing.assert_allclose(got, -np.sum(z) / 4, 1e-12)


def test_uniform_stays_below_its_upper_bound():
    """low + (high − low)·u rounds to `high` now and then: then it is `low`."""
    (x,) = compiled(R.uniform(KEY, (4 * MANY,), 1.0, 1.0 + 2.0**-20))
    assert x.min() == 1.0
    assert x.max() < 1.0 + 2.0**-20
    assert len(np.unique(x)) == 8


def test_bernoulli():
    (never, always, third) = compiled(
        R.bernoulli(KEY, 0, (MANY,)), R.bernoulli(KEY, 1.0, (MANY,)), R.bernoulli(KEY, 0.3, (MANY,))
    )
    assert not never.any()
    assert always.all()
    assert abs(np.mean(third) - 0.3) < 4.5 * math.sqrt(0.21 / MANY)


def test_categorical_draws_by_the_softmax():
    logits = np.array([[0.0, 1.0, -1.0, -np.inf], [2.0, 2.0, 2.0, 2.0]], np.float32)
    draws = R.categorical(KEY, logits, shape=(MANY // 4, 2))
    (found,) = compiled(draws)
    assert found.dtype == np.int64
    for row, column in zip(logits, found.T, strict=True):
        p = np.exp(row) / np.sum(np.exp(row))
        counts = np.bincount(column, minlength=4)
        assert counts[p == 0].sum() == 0
        expected = (p * len(column))[p > 0]
        statistic = np.sum((counts[p > 0] - expected) ** 2 / expected)
        assert statistic < 25  # χ² of at most 3 degrees of freedom: 1.5e-5
    along = R.categorical(KEY, logits.T, axis=0, shape=(MANY // 4, 2))
    assert str(along.type) == f"i64[{MANY // 4},2]"
    assert str(R.categorical(KEY, logits, axis=0).type) == "i64[4]"


def test_gamma_of_a_tensor():
    """Concentrations of their own, far apart; SciPy's distribution functions."""
    stats = pytest.importorskip("scipy.stats")
    alpha = gl.placeholder(("A",), "float64", name="alpha")
    draws = R.gamma(KEY, alpha, (40_000, symbol("A")))
    values = np.array([0.05, 0.9, 1.0, 2.5, 40.0, 1e4])
    found = gl.function([alpha], draws)(values)
    for a, x in zip(values, found.T, strict=True):
        assert stats.kstest(x, stats.gamma(a).cdf).pvalue > 1e-4
    with pytest.raises(gl.GradloomError, match="drawn by rejection jumps"):
        gl.grad(gl.sum(draws), alpha)
    scale = gl.placeholder((), "float64", name="scale")
    slope = gl.function([alpha, scale], gl.grad(gl.sum(draws[0] * scale), scale))
    np.testing.assert_allclose(slope(values, np.array(2.0)), np.sum(found[0]), 1e-12)


def test_dirichlet():
    alpha = np.array([[0.2, 1.0, 3.0], [5.0, 5.0, 5.0]])
    (x,) = compiled(R.dirichlet(KEY, alpha, (50_000, 2)))
    assert x.shape == (50_000, 2, 3)
    np.testing.assert_allclose(x.sum(-1), 1, 1e-12)
    total = alpha.sum(-1, keepdims=True)
    mean = alpha / total
    variance = mean * (1 - mean) / (total + 1)
    assert (np.abs(x.mean(0) - mean) < 4.5 * np.sqrt(variance / len(x))).all()
    np.testing.assert_allclose(x.var(0), variance, 0.03)


def test_permutation():
    for n in (0, 1, 2, 50):
        assert sorted(R.permutation(KEY, n).eval().tolist()) == list(range(n))
    counts = np.zeros((4, 4))
    orders = R.permutation(R.split(KEY, 40_000), 4).eval()
    for place in range(4):
        counts[place] = np.bincount(orders[:, place], minlength=4)
    assert np.sum((counts - 10_000) ** 2) / 10_000 < 40  # χ² of 9 degrees of freedom: 1e-5
    _, each = np.unique(orders, axis=0, return_counts=True)
    assert np.sum((each - 40_000 / 24) ** 2) / (40_000 / 24) < 65  # of 23: 1e-5
    x = gl.placeholder(("B", 3), name="x")
    value = np.arange(21, dtype=np.float32).reshape(7, 3)
    rows = gl.function([x], R.permutation(KEY, x))(value)
    assert sorted(rows.tolist()) == value.tolist()
    np.testing.assert_array_equal(rows, value[R.permutation(KEY, 7).eval()])
    columns = R.permutation(KEY, x, axis=1).eval({"x": value})
    np.testing.assert_array_equal(columns, value[:, R.permutation(KEY, 3).eval()])


def test_choice():
    n = 30_000
    p = np.array([0.1, 0.0, 0.6, 0.3], np.float32)
    even, uneven = compiled(R.choice(KEY, 4, (n,)), R.choice(KEY, 4, (n,), p=p))
    for drawn, expected in ((even, np.full(4, n / 4)), (uneven, p * n)):
        counts = np.bincount(drawn, minlength=4)
        known = expected > 0
        assert not counts[~known].any()
        assert np.sum((counts - expected)[known] ** 2 / expected[known]) < 25
    table = np.arange(12.0).reshape(4, 3)
    index = R.choice(KEY, 4, (2, 5)).eval()
    np.testing.assert_array_equal(R.choice(KEY, table, (2, 5)).eval(), table[index])
    index = R.choice(KEY, 3, (2,)).eval()
    np.testing.assert_array_equal(R.choice(KEY, table, (2,), axis=1).eval(), table[:, index])
    assert sorted(R.choice(KEY, 6, (2, 3), replace=False).eval().reshape(-1)) == list(range(6))
    firsts = R.choice(R.split(KEY, n), 4, (3,), replace=False, p=p).eval()
    assert all(sorted(row) == [0, 2, 3] for row in firsts[:200].tolist())
    counts = np.bincount(firsts[:, 0], minlength=4)
    assert np.sum((counts - p * n)[p > 0] ** 2 / (p * n)[p > 0]) < 25


# --- dropout --------------------------------------------------------------------------------------


def test_dropout():
    """Each entry is kept with a probability of 1 − rate and grows by as much; so does its slope."""
    x = gl.placeholder(("N", 4), name="x")
    rate = gl.placeholder((), name="rate")
    value = np.random.default_rng(0).normal(size=(MANY // 8, 4)).astype(np.float32)
    for share in (0.0, 0.25, 0.9):
        for given, feeds in ((share, {}), (rate, {"rate": np.array(share, np.float32)})):
            y = gl.nn.dropout(x, KEY, given)
            inputs = [x, rate] if feeds else [x]
            got, slope = gl.function(inputs, [y, gl.grad(gl.sum(y), x)])(x=value, **feeds)
            kept = R.bernoulli(KEY, np.float32(1) - np.float32(share), value.shape).eval()
            deviation = 4.5 * math.sqrt(share * (1 - share) / value.size)
            assert abs(np.mean(kept) - (1 - share)) <= deviation
            np.testing.assert_allclose(got, np.where(kept, value / (1 - share), 0), 1e-6)
            np.testing.assert_allclose(slope, np.where(kept, 1 / (1 - share), 0), 1e-6)
    assert not gl.nn.dropout(value[:9], KEY, 1.0).eval().any()
    assert gl.nn.dropout(np.zeros((0, 3), np.float32), KEY).eval().shape == (0, 3)
    half = gl.astype(value[:50], "bfloat16")
    expected = gl.where(R.bernoulli(KEY, 0.5, (50, 4)), half * 2.0, 0.0)
    np.testing.assert_array_equal(gl.nn.dropout(half, KEY).eval(), expected.eval())


def test_dropout_of_steps_in_a_loop():
    """A mask of its own for each step, the same one in the gradient's loop."""
    x = gl.placeholder((5,), name="x")

    def body(total: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        y = gl.nn.dropout(x * total, R.fold_in(KEY, step), 0.4)
        return total + y, y

    total, ys = gl.scan(body, gl.ones((5,)), gl.arange(6))
    value = np.linspace(0.5, 1.5, 5, dtype=np.float32)
    got, slope = gl.function([x], [ys, gl.grad(gl.sum(total), x)])(value)
    kept = np.stack([R.bernoulli(R.fold_in(KEY, i), 0.6, (5,)).eval() for i in range(6)])
    np.testing.assert_array_equal(got != 0, kept)
    grown = value[:, None] * kept.T / 0.6
    expected = np.prod(1 + grown, 1) * np.sum(kept.T / 0.6 / (1 + grown), 1)
    np.testing.assert_allclose(slope, expected, 1e-4)
