# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: logarithms of sums and differences, and what else rules make naive formulas of.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor, TensorLike
from .arithmetic import abs
from .build import elementwise
from .logic import equal, where
from .transcendental import exp, expm1, log, log1p, sigmoid
from .trigonometry import tanh

__all__ = ["log1mexp", "log_cosh"]

_LOG2 = 0.6931471805599453


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
    size = np.where(low == high, 0 * x, -np.exp(high) * np.expm1(low - high))
    return np.where((x != x) | (y != y), x + y, np.where(x < y, -size, size)).astype(x.dtype)


@elementwise(
    "where(x == y, x * 0, where(x < y, exp(y) * expm1(x - y), -exp(x) * expm1(y - x)))",
    _exp_difference,
    lambda x, y, z: [exp(x), -exp(y)],
    singular=True,
    dtypes="floating",
    flops=45,
)
def exp_difference(x: TensorLike, y: TensorLike) -> Tensor:
    """eˣ − eʸ, to its last digits also where x and y are near each other."""
    ...


def _weighted_log(x: Any, y: Any) -> Any:
    return np.where((x == 0) & (y == 0), x.dtype.type(0), x * np.log(y))


@elementwise(
    "where((x == 0) & (y == 0), 0, x * log(y))",
    _weighted_log,
    lambda x, y, z: [
        where(equal(x, 0.0) & equal(y, 0.0), 0.0, log(y)),  # pyright: ignore[reportGeneralTypeIssues]
        x / where(equal(x, 0.0) & equal(y, 0.0), 1.0, y),
    ],
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
    "exp(x - y)",
    lambda x, y: np.exp(x - y),
    lambda x, y, z: [z, None],
    singular=True,
    dtypes="floating",
    flops=16,
)
def centred_exp(x: TensorLike, y: TensorLike) -> Tensor:
    """exp(x − y), where y is a centre that the formula around it does not depend on.

    So there is no derivative by y, and rules that centre exponentials leave this one alone.
    """
    ...


def _logistic_loss(x: Any, y: Any) -> Any:
    linear = np.where(x > 0, (1 - y) * x, -(y * x))
    return (linear + np.log1p(np.exp(-np.abs(x)))).astype(x.dtype)


@elementwise(
    "where(x > 0, (1 - y) * x, -(y * x)) + log1p(exp(-absolute(x)))",
    _logistic_loss,
    lambda x, y, z: [where(x > 0.0, (1.0 - y) - sigmoid(-x), sigmoid(x) - y), -x],
    dtypes="floating",
    flops=45,
)
def logistic_loss(x: TensorLike, y: TensorLike) -> Tensor:
    """ln(1 + eˣ) − x · y, the cross-entropy of the label y and the logit x.

    With all its digits also where it vanishes, for a large x and y = 1.
    """
    ...
