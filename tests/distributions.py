# pyright: standard
"""The distributions of ``gl.random``: how each is drawn, and its distribution function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import gradloom as gl
from gradloom.ir.tensor import Tensor

from .formulas_random import philox

NumpyArray = np.ndarray[Any, Any]
R = gl.random
KEY = R.key(0x0123456789ABCDEF)
MANY = 1_000_000


def compiled(*tensors: Tensor) -> list[NumpyArray]:
    """The values by compiled code."""
    found = gl.function([], list(tensors))()
    return found if isinstance(found, list) else [found]


def words(key: NumpyArray, count: int, stream: int = 0, word: int = 0) -> list[int]:
    own = (int(key[0]), int(key[1]))
    return [philox(i, own, stream)[word] for i in range(count)]


def ulps(a: NumpyArray, b: NumpyArray) -> float:
    gap = np.abs(a.astype(np.longdouble) - b.astype(np.longdouble))
    return float(np.max(gap / np.spacing(np.abs(b)), initial=0))


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
    "half of it": (
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
