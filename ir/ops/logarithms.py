# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: logarithms of sums and differences, and what else rules make naive formulas of.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tensor import Tensor, TensorLike
from .arithmetic import abs
from .build import elementwise
from .logic import equal, isinf, where
from .transcendental import exp, expm1, log, log1p, sigmoid
from .trigonometry import tanh

__all__ = ["exprel", "log1mexp", "log_cosh"]

_LOG2 = 0.6931471805599453


def _wide(x: Any) -> Any:
    """`x` with more digits than it has."""
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def _log1mexp(x: Any) -> Any:
    near = np.log(-np.expm1(np.where(x > -_LOG2, x, -1)))
    return np.where(x > -_LOG2, near, np.log1p(-np.exp(np.minimum(x, 0)))).astype(x.dtype)


@elementwise(
    "where(x > -0.6931471805599453, log(-expm1(x)), log1p(-exp(x)))",
    _log1mexp,
    lambda x, y: [exp(x) / expm1(x)],
    singular=True,
    dtypes="floating",
    flops=60,
    derivatives_at=(-3.0, -0.1),
)
def log1mexp(x: TensorLike) -> Tensor:
    """ln(1 − eˣ) for x < 0, exact near 0 and far below; −inf at 0, nan above.

    Mächler, Accurately computing log(1 − exp(−|a|)) (2012).
    """
    ...


def _log_cosh(x: Any) -> Any:
    size = np.abs(x)
    half = np.sinh(0.5 * np.minimum(size, 1))
    small = np.log1p(2 * half * half)
    return np.where(size < 1, small, size - _LOG2 + np.log1p(np.exp(-2 * size))).astype(x.dtype)


@elementwise(
    "where(absolute(x) < 1, log1p(2 * (sinh(0.5 * x) * sinh(0.5 * x))),"
    " (absolute(x) - 0.6931471805599453) + log1p(exp(-2 * absolute(x))))",
    _log_cosh,
    lambda x, y: [tanh(x)],
    dtypes="floating",
    flops=90,
)
def log_cosh(x: TensorLike) -> Tensor:
    """ln cosh x, x²/2 near 0 and |x| − ln 2 far away: a smooth absolute value."""
    ...


def _log1p_square(x: Any) -> Any:
    size = np.abs(x)
    large = np.maximum(size, 1)
    small = np.minimum(size, 1)
    far = 2 * np.log(large) + np.log1p((1 / large) ** 2)
    return np.where(size > 1, far, np.log1p(small * small)).astype(x.dtype)


def _slope_of_log1p_square(x: Tensor, is_large: Tensor) -> Tensor:
    small, large = where(is_large, 0.0, x), where(is_large, x, 1.0)
    return where(is_large, 2.0 / (large + 1 / large), 2.0 * small / (1.0 + small * small))


@elementwise(
    "where(absolute(x) > 1, 2 * log(absolute(x)) + log1p((1 / x) * (1 / x)), log1p(x * x))",
    _log1p_square,
    lambda x, y: [_slope_of_log1p_square(x, abs(x) > 1.0)],
    dtypes="floating",
    flops=60,
)
def log1p_square(x: TensorLike) -> Tensor:
    """ln(1 + x²), whose square never overflows: rules make it of the naive formula."""
    ...


def _exp_difference(x: Any, y: Any) -> Any:
    low, high = np.minimum(x, y), np.maximum(x, y)
    size = np.where(low == high, x.dtype.type(0), -np.exp(high) * np.expm1(low - high))
    return np.where((x != x) | (y != y), x + y, np.where(x < y, -size, size)).astype(x.dtype)


@elementwise(
    "where(x == y, 0, where(x < y, exp(y) * expm1(x - y), -exp(x) * expm1(y - x)))",
    _exp_difference,
    lambda x, y, z: [exp(x), -exp(y)],
    singular=True,
    dtypes="floating",
    flops=45,
)
def exp_difference(x: TensorLike, y: TensorLike) -> Tensor:
    """eˣ − eʸ, to its last digits also where x and y are near each other, and 0 where equal."""
    ...


def _weighted_log(x: Any, y: Any) -> Any:
    return np.where((x == 0) & (y == 0), x.dtype.type(0), x * np.log(y))


def _slopes_of_weighted_log(x: Tensor, y: Tensor) -> list[Tensor]:
    if x is y:
        is_none = equal(x, 0.0)
        return [where(is_none, 0.0, log(x)), where(is_none, x, 1.0)]
    is_none = equal(x, 0.0) & equal(y, 0.0)  # pyright: ignore[reportGeneralTypeIssues]
    return [where(is_none, 0.0, log(y)), x / where(is_none, 1.0, y)]


@elementwise(
    "where((x == 0) & (y == 0), 0, x * log(y))",
    _weighted_log,
    lambda x, y, z: _slopes_of_weighted_log(x, y),
    singular=True,
    dtypes="floating",
    flops=17,
    derivatives_at=(0.1, 3.0),
)
def weighted_log(x: TensorLike, y: TensorLike) -> Tensor:
    """x · ln y, and its limit 0 where both are 0: what rules make of the product.

    Unlike xlogy it is nan where y has no logarithm, as the product is; at (0, 0) the derivatives
    are 0 too.
    """
    ...


def _weighted_log1p(x: Any, y: Any) -> Any:
    return np.where((x == 0) & (y == -1), x.dtype.type(0), x * np.log1p(y))


@elementwise(
    "where((x == 0) & (y == -1), 0, x * log1p(y))",
    _weighted_log1p,
    lambda x, y, z: [
        where(equal(x, 0.0) & equal(y, -1.0), 0.0, log1p(y)),  # pyright: ignore[reportGeneralTypeIssues]
        x / where(equal(x, 0.0) & equal(y, -1.0), 1.0, 1.0 + y),
    ],
    singular=True,
    dtypes="floating",
    flops=22,
    derivatives_at=(-0.5, 3.0),
)
def weighted_log1p(x: TensorLike, y: TensorLike) -> Tensor:
    """x · ln(1 + y), and its limit 0 where x is 0 and y −1: what rules make of the product."""
    ...


@elementwise(
    "exp(x - y) * (1 + where(absolute(x - y) < 1000,"
    " (x - ((x - y) - ((x - y) - x))) - (y + ((x - y) - x)), 0))",
    lambda x, y: np.exp(_wide(x) - y).astype(x.dtype),
    lambda x, y, z: [z, -z],
    singular=True,
    dtypes="floating",
    flops=16,
)
def centred_exp(x: TensorLike, y: TensorLike) -> Tensor:
    """exp(x − y), where y is a centre: rules that centre exponentials leave this one alone.

    What the difference is rounded by, exp would multiply by its size; it is added afterwards
    (Knuth's two-sum, TAOCP 4.2.2).
    """
    ...


def _weighted_log_ratio(w: Any, x: Any, y: Any) -> Any:
    x, y = _wide(x), _wide(y)
    is_near = np.abs(x - y) < 0.5 * np.maximum(np.abs(x), np.abs(y))
    ratio = np.where(is_near, 2, x / y)
    is_negative = (np.sign(x) * np.sign(y) < 0) | ((x < 0) & (y == 0))
    apart = np.log(np.abs(x)) - np.log(np.abs(y)) + np.log(np.where(is_negative, -1.0, 1.0))
    far = np.where((ratio == 0) | np.isinf(ratio), apart, np.log(ratio))
    product = w * np.where(is_near, np.log1p((x - y) / y), far)
    return np.where((w == 0) & (x >= 0) & (y >= 0), 0, product).astype(w.dtype)


def _slopes_of_log_ratio(w: Tensor, x: Tensor, y: Tensor) -> list[Tensor]:
    is_none = equal(w, 0.0)
    x = where(is_none & equal(x, 0.0), 1.0, x)  # pyright: ignore[reportGeneralTypeIssues]
    y = where(is_none & equal(y, 0.0), 1.0, y)  # pyright: ignore[reportGeneralTypeIssues]
    return [log(x / y), w / x, -(w / y)]


@elementwise(
    "where((w == 0) & (x >= 0) & (y >= 0), 0, w * where("
    "absolute(x - y) < 0.5 * maximum(absolute(x), absolute(y)), "  # the difference is exact
    "where(absolute(x) > absolute(y), log1p((x - y) / y), -log1p((y - x) / x)), "
    "where((x / y - x / y == 0) & (y / x - y / x == 0), log(x / y), "  # both are finite
    "(log(absolute(x)) - log(absolute(y))) + "
    "log(where((sign(x) * sign(y) < 0) | ((x < 0) & (y == 0)), -1, 1)))))",
    _weighted_log_ratio,
    lambda w, x, y, z: _slopes_of_log_ratio(w, x, y),
    singular=True,
    dtypes="floating",
    flops=22,
    derivatives_at=(0.1, 3.0),
)
def weighted_log_ratio(w: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """w · ln(x / y), and its limit 0 where w is 0 and x or y too: rules make it of the product."""
    ...


def _slope_of_exprel(x: Tensor, y: Tensor) -> Tensor:
    """(eˣ − y) / x, and its Taylor series Σ (k + 1) xᵏ / (k + 2)! where that cancels."""
    is_small = abs(x) < 1.0
    small, large = where(is_small, x, 0.0), where(is_small, 1.0, x)
    series = small * 0.0
    for k in range(15, -1, -1):
        series = series * small + (k + 1) / math.factorial(k + 2)
    return where(is_small, series, exp(large) / large - where(is_small, 0.0, y) / large)


@elementwise(
    "where(x == 0, 1 + x, expm1(x) / x)",
    lambda x: np.where(x == 0, 1, np.expm1(x) / np.where(x == 0, 1, x)).astype(x.dtype),
    lambda x, y: [_slope_of_exprel(x, y)],
    dtypes="floating",
    flops=26,
)
def exprel(x: TensorLike) -> Tensor:
    """(eˣ − 1) / x, and its limit 1 at 0; its derivatives are right there as well."""
    ...


def _sigmoid_entropy(x: Any) -> Any:
    size = np.abs(x)
    e = np.exp(-size)
    return (np.log1p(e) + np.where(e == 0, 0, size * e / (1 + e))).astype(x.dtype)


@elementwise(
    "log1p(exp(-absolute(x)))"
    " + where(exp(-absolute(x)) == 0, 0, absolute(x) * sigmoid(-absolute(x)))",
    _sigmoid_entropy,
    lambda x, y: [-(where(isinf(x), 0.0, x) * sigmoid(x) * sigmoid(-x))],
    dtypes="floating",
    flops=70,
)
def sigmoid_entropy(x: TensorLike) -> Tensor:
    """−p ln p − (1 − p) ln(1 − p) of p = sigmoid(x): the entropy of a coin with the log-odds x."""
    ...
