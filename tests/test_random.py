# pyright: standard
"""Random numbers: keys, words, and that all are the same wherever they are computed."""

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
from .distributions import (
    DISTRIBUTIONS,
    FEW,
    KEY,
    MANY,
    NumpyArray,
    R,
    compiled,
    few,
    ulps,
    words,
)

# --- keys -----------------------------------------------------------------------------------------


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


# --- the same everywhere --------------------------------------------------------------------------


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
    (lambda: R.uniform(KEY, 3, dtype="int32"), gl.GradloomError, "floats, not i32"),
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
