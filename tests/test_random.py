# pyright: standard
"""Random numbers: the same on every target, distributed as they say, independent key by key."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.dims import symbol
from gradloom.ir.tensor import Tensor

from .cuda_device import simulated
from .formulas_random import philox

NumpyArray = np.ndarray[Any, Any]
R = gl.random
KEY = R.key(0x0123456789ABCDEF)
MANY = 1_000_000


def compiled(*tensors: Tensor) -> list[NumpyArray]:
    """The values by compiled code."""
    found = gl.function([], list(tensors))()
    return found if isinstance(found, list) else [found]


# --- keys -----------------------------------------------------------------------------------------


def words(key: NumpyArray, count: int, stream: int = 0, word: int = 0) -> list[int]:
    own = (int(key[0]), int(key[1]))
    return [philox(i, own, stream)[word] for i in range(count)]


def test_a_key_is_its_seed():
    for seed in (0, 1, 2**32 - 1, 2**32, 2**63 + 5, 2**64 - 1):
        assert R.key(seed).eval().tolist() == [seed % 2**32, seed // 2**32]
    assert R.key(-1).eval().tolist() == R.key(2**64 - 1).eval().tolist()
    assert R.key(np.int64(7)).eval().tolist() == [7, 0]
    seeds = np.array([[3, -1], [2**40, -(2**62)]])
    x = gl.placeholder((2, 2), "int64", name="x")
    wanted = [[[s % 2**32, s % 2**64 // 2**32] for s in row] for row in seeds.tolist()]
    assert R.key(x).eval({"x": seeds}).tolist() == wanted
    assert gl.function([x], R.key(x))(seeds).tolist() == wanted


def test_split_and_fold_in_by_their_definitions():
    key = KEY.eval()
    flat = words(key, 6, stream=1)
    assert R.split(KEY, 3).eval().reshape(-1).tolist() == flat
    own = words(key, 2, stream=2)
    data = 5 + 2**35
    mixed = np.array([own[0] ^ data % 2**32, own[1] ^ data // 2**32])
    assert R.fold_in(KEY, data).eval().tolist() == words(mixed, 2, stream=2)
    n = gl.placeholder((), "int64", name="n")
    folded = gl.function([n], R.fold_in(KEY, n))
    for value in (0, 1, data, -3):
        assert folded(np.array(value)).tolist() == R.fold_in(KEY, value).eval().tolist()


def test_keys_do_not_meet():
    """What is folded into, or split from, small seeds: thousands of keys, all different."""
    seeds, numbers = gl.arange(60), gl.arange(60)
    keys = R.fold_in(R.key(seeds)[:, None], numbers)
    found = [keys, R.split(R.key(seeds), 60), R.key(seeds)[:, None]]
    rows = np.concatenate([k.reshape((-1, 2)).eval() for k in found])
    assert len(np.unique(rows, axis=0)) == len(rows) == 60 * 121


def test_streams_of_split_keys_are_independent():
    """Correlations of 40 streams, at the same place and one apart, are those of chance."""
    n = 20_000
    keys = [*R.split(KEY, 20).eval(), *(R.fold_in(KEY, i).eval() for i in range(19)), KEY.eval()]
    u = R.uniform(np.array(keys), (n,)).eval().astype(np.float64) - 0.5
    u /= np.sqrt(np.mean(u * u, axis=1, keepdims=True))
    for other in (u, np.roll(u, 1, axis=1)):
        correlation = u @ other.T / n * math.sqrt(n)  # normal numbers, but for itself
        if other is u:
            np.fill_diagonal(correlation, 0)
        assert np.max(np.abs(correlation)) < 4.5
        assert 0.9 < np.std(correlation) < 1.1


# --- words ----------------------------------------------------------------------------------------


def test_bits_and_uniform_by_their_definitions():
    key = KEY.eval()
    first, second = words(key, 50), words(key, 50, word=1)
    assert R.bits(KEY, (5, 10)).eval().reshape(-1).tolist() == first
    for bits in (8, 16):
        assert R.bits(KEY, 50, f"uint{bits}").eval().tolist() == [w % 2**bits for w in first]
    wide = [a << 32 | b for a, b in zip(first, second, strict=True)]
    assert R.bits(KEY, 50, "uint64").eval().tolist() == wide
    assert R.uniform(KEY, 50).eval().tolist() == [(w >> 8) / 2**24 for w in first]
    u = R.uniform(KEY, 50, dtype="float64").eval()
    assert u.tolist() == [
        ((a >> 5) << 26 | b >> 6) / 2**53 for a, b in zip(first, second, strict=True)
    ]


RANGES = [
    (0, 2, "int64"),
    (-3, 4, "int8"),
    (0, 10**6, "int32"),
    (-(2**31), 2**31, "int32"),
    (0, 2**32, "uint32"),
    (0, 2**32 - 1, "int64"),
    (-(2**62), 2**62 + 12345, "int64"),
    (-(2**63), 2**63, "int64"),
    (0, 2**64, "uint64"),
    (7, 8, "int64"),
]


@pytest.mark.parametrize(("low", "high", "dtype"), RANGES)
def test_randint_by_its_definition(low: int, high: int, dtype: str):
    """⌊span · k / 2ⁿ⌋ in Python's integers; from bounds as numbers and as tensors."""
    key, count = KEY.eval(), 40
    span = high - low
    parts = (span.bit_length() + 31) // 32
    bounds = [gl.placeholder((), dtype, name=name) for name in "ab"]
    fed = high <= np.iinfo(dtype).max
    for tensors in (False, True)[: 1 + fed]:
        n = (2 if dtype.endswith("64") else 1) if tensors else parts
        drawn = [words(key, count, word=i) for i in range(n + 1)]
        k = [sum(w << 32 * i for i, w in enumerate(column)) for column in zip(*drawn, strict=True)]
        wanted = [low + (span * number >> 32 * (n + 1)) for number in k]
        x = R.randint(KEY, (count,), *(bounds if tensors else (low, high)), dtype=dtype)
        feeds = dict(zip("ab", np.array([low, high], dtype), strict=True)) if tensors else {}
        assert x.dtype.name == dtype
        assert x.eval(feeds).tolist() == wanted
        assert gl.function(bounds if tensors else [], x)(**feeds).tolist() == wanted


# --- every distribution ---------------------------------------------------------------------------


def phi(x: NumpyArray) -> NumpyArray:
    return np.vectorize(math.erfc)(-x / math.sqrt(2)) / 2


def truncated(low: float, high: float) -> Callable[[NumpyArray], NumpyArray]:
    """Φ between two bounds, from the end where it is small."""
    if low + high > 0:
        return lambda x: 1 - truncated(-high, -low)(-x)
    start, end = phi(np.array([low, high]))
    return lambda x: (phi(x) - start) / (end - start)


# The numbers; their distribution function; mean and variance, where they exist.
Distribution = tuple[Callable[..., Tensor], Callable[..., Any], float | None, float | None]
EULER = 0.5772156649015329
DISTRIBUTIONS: dict[str, Distribution] = {
    "uniform": (R.uniform, lambda x: x, 0.5, 1 / 12),
    "uniform between": (
        lambda k, s, dtype: R.uniform(k, s, -2, 5, dtype),
        lambda x: (x + 2) / 7,
        1.5,
        49 / 12,
    ),
    "normal": (R.normal, phi, 0, 1),
    "normal of": (
        lambda k, s, dtype: R.normal(k, s, 3, 0.5, dtype),
        lambda x: phi((x - 3) / 0.5),
        3,
        0.25,
    ),
    "truncated normal": (
        lambda k, s, dtype: R.truncated_normal(k, s, dtype=dtype),
        truncated(-2, 2),
        0,
        0.7737413,
    ),
    "tail": (
        lambda k, s, dtype: R.truncated_normal(k, s, 3, 5, dtype),
        truncated(3, 5),
        3.2828222,
        0.0701366,
    ),
    "lopsided": (
        lambda k, s, dtype: R.truncated_normal(k, s, -6, 1, dtype),
        truncated(-6, 1),
        -0.2875999,
        0.6296862,
    ),
    "half": (
        lambda k, s, dtype: R.truncated_normal(k, s, 0, math.inf, dtype),
        truncated(0, math.inf),
        math.sqrt(2 / math.pi),
        1 - 2 / math.pi,
    ),
    "exponential": (
        lambda k, s, dtype: R.exponential(k, s, 2.0, dtype),
        lambda x: -np.expm1(-2 * x),
        0.5,
        0.25,
    ),
    "gumbel": (R.gumbel, lambda x: np.exp(-np.exp(-x)), EULER, math.pi**2 / 6),
    "laplace": (
        R.laplace,
        lambda x: np.where(x < 0, np.exp(-abs(x)) / 2, 1 - np.exp(-abs(x)) / 2),
        0,
        2,
    ),
    "logistic": (R.logistic, lambda x: 1 / (1 + np.exp(-x)), 0, math.pi**2 / 3),
    "cauchy": (R.cauchy, lambda x: 0.5 + np.arctan(x) / math.pi, None, None),
    "gamma of ½": (
        lambda k, s, dtype: R.gamma(k, 0.5, s, dtype),
        lambda x: np.vectorize(math.erf)(np.sqrt(x)),
        0.5,
        0.5,
    ),
    "gamma of 1": (lambda k, s, dtype: R.gamma(k, 1.0, s, dtype), lambda x: -np.expm1(-x), 1, 1),
    "gamma of 3": (
        lambda k, s, dtype: R.gamma(k, 3.0, s, dtype),
        lambda x: 1 - np.exp(-x) * (1 + x + x * x / 2),
        3,
        3,
    ),
    "arcsine": (
        lambda k, s, dtype: R.beta(k, 0.5, 0.5, s, dtype),
        lambda x: 2 / math.pi * np.arcsin(np.sqrt(x)),
        0.5,
        1 / 8,
    ),
    "beta": (
        lambda k, s, dtype: R.beta(k, 3.0, 1.0, s, dtype),
        lambda x: x**3,
        3 / 4,
        3 / 80,
    ),
}
FEW = ("uniform between", "normal", "tail", "gumbel", "cauchy", "gamma of ½")


def few(key: Any, shape: Any) -> list[Tensor]:
    """Some of the distributions in float32."""
    return [DISTRIBUTIONS[name][0](key, shape, dtype="float32") for name in FEW]


by_name = pytest.mark.parametrize("name", DISTRIBUTIONS)


def kolmogorov_smirnov(x: NumpyArray, distribution: Callable[[NumpyArray], Any]) -> float:
    """The probability of a distance as large, by Kolmogorov's series (good for large samples)."""
    u = np.asarray(distribution(np.sort(x.astype(np.float64))))
    place = np.arange(len(u))
    distance = max(np.max(u - place / len(u)), np.max((place + 1) / len(u) - u))
    t = math.sqrt(len(u)) * distance
    if t < 0.2:
        return 1.0
    return 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * t) ** 2) for k in range(1, 100))


def assert_distributed(x: NumpyArray, distribution: Distribution) -> None:
    _, function, mean, variance = distribution
    assert np.isfinite(x).all()
    chance = kolmogorov_smirnov(x, function)
    assert chance > 1e-4, chance
    if mean is not None and variance is not None:
        deviation = np.mean(x, dtype=np.float64) - mean
        assert abs(deviation) < 4.5 * math.sqrt(variance / len(x))
        square = (x.astype(np.float64) - mean) ** 2
        assert abs(np.mean(square) - variance) < 4.5 * math.sqrt(np.var(square) / len(x))


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
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


# --- the same everywhere --------------------------------------------------------------------------


def ulps(a: NumpyArray, b: NumpyArray) -> float:
    gap = np.abs(a.astype(np.longdouble) - b.astype(np.longdouble))
    return float(np.max(gap / np.spacing(np.abs(b)), initial=0))


def exact(shape: Any) -> list[Tensor]:
    """What is the same bit for bit."""
    return [
        R.bits(KEY, shape),
        R.bits(KEY, shape, "uint64"),
        R.uniform(KEY, shape),
        R.uniform(KEY, shape, dtype="float64"),
        R.uniform(KEY, shape, -1.3, 2.7),
        R.randint(KEY, shape, -5, 100),
        R.bernoulli(KEY, 0.3, shape),
        R.split(KEY, 3),
        R.fold_in(KEY, 9),
    ]


def test_interpreter_and_compiled_code_agree_bit_for_bit():
    tensors = exact((MANY // 4,))
    for tensor, got in zip(tensors, compiled(*tensors), strict=True):
        np.testing.assert_array_equal(got, tensor.eval())


def test_normal_is_the_same_to_two_ulp():
    for dtype, size, allowed in (("float32", MANY, 2), ("float64", MANY // 5, 5)):
        z = R.normal(KEY, (size,), dtype=dtype)
        (got,) = compiled(z)
        assert 0 < ulps(got, z.eval()) <= allowed


@pytest.mark.parametrize("order", ["forward", "reverse"])
def test_cuda_in_the_simulator(order: Any):
    function = gl.function([], [*exact((3, 7)), R.normal(KEY, (3, 7))])
    *same, normal = zip(simulated(function, order)([], []), function(), strict=True)
    for got, wanted in same:
        np.testing.assert_array_equal(got, wanted)
    assert ulps(*normal) <= 2


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch):
    tensors = few(KEY, (50_000,))
    found: list[list[NumpyArray]] = []
    for count in ("1", "2"):
        monkeypatch.setenv("GRADLOOM_THREADS", count)
        found.append(compiled(*tensors))
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_sizes():
    """Nothing, one number, and a size that is known at the call; a longer array starts alike."""
    n = gl.placeholder(("N",), name="n")
    tensors = few(KEY, (symbol("N"), 2))
    tensors += [R.bernoulli(KEY, 0.5, ("N", 2)), R.randint(KEY, ("N", 2), 0, 9)]
    function = gl.function([n], tensors)
    longest = function(np.zeros(37, np.float32))
    for size in (0, 1, 5):
        for got, wanted in zip(function(np.zeros(size, np.float32)), longest, strict=True):
            np.testing.assert_array_equal(got, wanted[:size])
    assert R.normal(KEY).eval().shape == ()
    assert R.uniform(KEY, (0, 3)).eval().shape == (0, 3)


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


# --- inside other things --------------------------------------------------------------------------


def test_vmap_over_keys_is_a_loop():
    keys = R.split(KEY, 3)
    arrays = keys.eval()
    for name in FEW:

        def draw(key: Any, name: str = name) -> Tensor:
            return DISTRIBUTIONS[name][0](key, (4, 2), dtype="float32")

        loop = np.stack([draw(key).eval() for key in arrays])
        np.testing.assert_array_equal(gl.vmap(draw)(keys).eval(), loop)
        np.testing.assert_array_equal(draw(keys).eval(), loop)  # keys along leading axes: the same
    folded = gl.vmap(lambda i: R.fold_in(KEY, i))(gl.arange(4)).eval()
    np.testing.assert_array_equal(folded, [R.fold_in(KEY, i).eval() for i in range(4)])


def test_keys_in_a_loop():
    """By folding in the step, and by carrying a key that is split."""
    w = gl.placeholder((3,), name="w")

    def by_step(total: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        noise = R.normal(R.fold_in(KEY, step), (3,))
        return total + w * noise, noise

    def by_carry(carry: Any, _: Any) -> tuple[Any, Tensor]:
        key, total = carry
        keys = R.split(key)
        noise = R.uniform(keys[0], (3,))
        return (keys[1], total + w * noise), noise

    start = gl.zeros((3,))
    total, noises = gl.scan(by_step, start, gl.arange(4))
    (_, other), uniforms = gl.scan(by_carry, (KEY, start), length=4)
    gradient = gl.grad(gl.sum(total) + gl.sum(other), w)
    got = gl.function([w], [noises, uniforms, gradient])(np.ones(3, np.float32))
    expected = np.stack([R.normal(R.fold_in(KEY, i), (3,)).eval() for i in range(4)])
    assert ulps(got[0], expected) <= 2
    key = KEY
    for row in got[1]:
        keys = R.split(key)
        np.testing.assert_array_equal(row, R.uniform(keys[0], (3,)).eval())
        key = keys[1]
    np.testing.assert_allclose(got[2], np.sum(got[0] + got[1], axis=0), 1e-5)


# --- what does not fit ----------------------------------------------------------------------------

X = gl.placeholder(("B", 3), name="x")
ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: R.key(1.5), gl.GradloomError, "a seed is an integer, got 1.5"),
    (lambda: R.key(2**64), gl.GradloomError, "64 bits"),
    (lambda: R.key(True), gl.GradloomError, "64 bits"),
    (lambda: R.key(X), gl.GradloomError, "a seed is an integer, got f32"),
    (lambda: R.fold_in(KEY, "a"), gl.GradloomError, "what is folded in is an integer"),
    (lambda: R.split(KEY, -1), gl.GradloomError, "must not be negative"),
    (lambda: R.bits(X, 3), gl.GradloomError, r"a key is u32\[2\], got f32"),
    (lambda: R.bits(np.zeros(3, np.uint32), 3), gl.GradloomError, r"a key is u32\[2\]"),
    (lambda: R.bits(KEY, 3, "int32"), gl.GradloomError, "unsigned"),
    (lambda: R.uniform(KEY, (-2,)), gl.GradloomError, "must not be negative"),
    (lambda: R.uniform(KEY, (2.5,)), gl.GradloomError, "a size is an integer"),
    (lambda: R.uniform(KEY, 3, 1.0, 1.0), gl.GradloomError, "needs low < high"),
    (lambda: R.uniform(KEY, 3, 2.0, 1.0), gl.GradloomError, "got 2 and 1"),
    (lambda: R.uniform(KEY, 3, 0.0, math.nan), gl.GradloomError, "needs low < high"),
    (lambda: R.uniform(KEY, 3, dtype="int32"), gl.GradloomError, "f32 or f64, not i32"),
    (lambda: R.uniform(KEY, (2,), X), gl.GradloomError, "uniform"),
    (lambda: R.normal(KEY, (3,), X), gl.GradloomError, "does not fit"),
    (lambda: R.normal(KEY, (1, 3), X), gl.GradloomError, "does not fit"),
    (lambda: R.normal(KEY, (3,), std=-1.0), gl.GradloomError, "a standard deviation must be"),
    (lambda: R.normal(KEY, (3,), math.nan), gl.GradloomError, "a mean must be"),
    (lambda: R.normal(KEY, 3, np.zeros(3), dtype="float32"), gl.GradloomError, "cast with .ast"),
    (lambda: R.truncated_normal(KEY, 3, 2, 1), gl.GradloomError, "lower < upper"),
    (lambda: R.truncated_normal(KEY, 3, math.nan, 1), gl.GradloomError, "lower < upper"),
    (lambda: R.truncated_normal(KEY, 3, 20, 21), gl.GradloomError, "too far out for f32"),
    (lambda: R.exponential(KEY, 3, 0.0), gl.GradloomError, "a rate must be positive"),
    (lambda: R.gumbel(KEY, 3, 0.0, -1.0), gl.GradloomError, "a scale must be positive"),
    (lambda: R.bernoulli(KEY, 1.5), gl.GradloomError, r"in \[0, 1\], got 1.5"),
    (lambda: R.bernoulli(KEY, -0.1), gl.GradloomError, r"in \[0, 1\]"),
    (lambda: R.bernoulli(KEY, math.nan), gl.GradloomError, r"in \[0, 1\]"),
    (lambda: R.randint(KEY, 3, 5, 5), gl.GradloomError, "needs low < high"),
    (lambda: R.randint(KEY, 3, 0, 300, "uint8"), gl.GradloomError, "both u8"),
    (lambda: R.randint(KEY, 3, 0.5, 3), gl.GradloomError, "a bound is an integer"),
    (lambda: R.randint(KEY, 3, 0, 3, "float32"), gl.GradloomError, "integers, not f32"),
    (lambda: R.categorical(KEY, np.zeros((3, 0), np.float32)), gl.GradloomError, "nothing to dr"),
    (lambda: R.categorical(KEY, np.arange(3)), gl.GradloomError, "logits are floats"),
    (lambda: R.categorical(KEY, X, axis=2), gl.GradloomError, "axis"),
    (lambda: R.categorical(KEY, X, shape=(4, 7)), gl.GradloomError, "categorical"),
    (lambda: R.gamma(KEY, 0.0), gl.GradloomError, "a concentration must be positive"),
    (lambda: R.gamma(KEY, X, (4,)), gl.GradloomError, "does not fit"),
    (lambda: R.beta(KEY, 1.0, -1.0), gl.GradloomError, "b must be positive"),
    (lambda: R.dirichlet(KEY, 1.0), gl.GradloomError, "needs an axis"),
    (lambda: R.permutation(KEY, -1), gl.GradloomError, "must not be negative"),
    (lambda: R.permutation(KEY, X, axis=2), gl.GradloomError, "axis"),
    (lambda: R.choice(KEY, 0), gl.GradloomError, "nothing to choose from"),
    (lambda: R.choice(KEY, 3, (4,), replace=False), gl.GradloomError, "4 of 3 entries"),
    (lambda: R.choice(KEY, 3, ("N",), replace=False), gl.GradloomError, "must be a number"),
    (lambda: R.choice(KEY, 3, p=np.ones(4, np.float32)), gl.GradloomError, "probabilities"),
    (lambda: R.choice(KEY, 3, p=X), gl.GradloomError, "p needs one axis"),
    (lambda: gl.nn.dropout(X, KEY, 1.5), gl.GradloomError, r"in \[0, 1\], got 1.5"),
    (lambda: gl.nn.dropout(gl.arange(3), KEY), gl.GradloomError, "needs a float"),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_what_does_not_fit(number: int):
    call, kind, message = ERRORS[number]
    with pytest.raises(kind, match=message) as caught:
        call()
    assert "at test_random.py:" in str(caught.value)
