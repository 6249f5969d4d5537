# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: logarithms of the tails of the normal distribution, where itself it underflows.

Far out both follow from the asymptotic series of Mills' ratio R(x) = (1 − Φ(x)) / φ(x),

    x R(x) = 1 − 1/x² + 3/x⁴ − 15/x⁶ + … = Σ (−1)ᵏ (2k − 1)!! / x²ᵏ

(Abramowitz and Stegun, Handbook of mathematical functions, 26.2.12), and so do their derivatives,
without 0 / 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..op import TABLE
from ..tensor import Tensor, TensorLike
from .build import elementwise
from .logic import where
from .special import erfc, normal_cdf
from .transcendental import exp

__all__ = ["log_erfc", "log_normal_cdf"]

# From x = 12 on the last term is below float64's rounding.
_SERIES = [1.0]
for _k in range(1, 15):
    _SERIES.append(-_SERIES[-1] * (2 * _k - 1))


def _tail(u: Any) -> Any:
    """x R(x) − 1 at u = 1 / x², of numbers, arrays and tensors alike."""
    total = 0.0 * u + _SERIES[-1]
    for coefficient in _SERIES[-2:0:-1]:
        total = total * u + coefficient
    return total * u


def _tail_code(u: str) -> str:
    """The same as the code of a kernel."""
    total = repr(_SERIES[-1])
    for coefficient in _SERIES[-2:0:-1]:
        total = f"({total} * ({u}) + {coefficient!r})"
    return f"{total} * ({u})"


def _log_cdf(x: float) -> float:
    if x < -12.0:
        far = -0.5 * (x * x) - math.log(-x * math.sqrt(2 * math.pi))
        return far + math.log1p(_tail(1 / (x * x)))
    tail = float(TABLE["normal_cdf"].reference(np.float64(-abs(x))))
    return math.log1p(-tail) if x > 0 else math.log(tail) if x == x else x


def _slope_of_log_cdf(x: Tensor) -> Tensor:
    """φ(x) / Φ(x)"""
    is_far = x < -12.0
    far, near = where(is_far, x, -12.0), where(is_far, 0.0, x)
    density = exp(-0.5 * (near * near)) / math.sqrt(2 * math.pi)
    return where(is_far, -far / (1.0 + _tail(1.0 / (far * far))), density / normal_cdf(near))


@elementwise(
    "where(x < -12, -0.5 * (x * x) - log(x * -2.5066282746310002)"
    f" + log1p({_tail_code('1 / (x * x)')}),"
    " where(x > 0, log1p(-normal_cdf(-x)), log(normal_cdf(x))))",
    lambda x: np.vectorize(_log_cdf, otypes=[np.float64])(x).astype(x.dtype),
    lambda x, y: [_slope_of_log_cdf(x)],
    dtypes="floating",
    flops=120,
)
def log_normal_cdf(x: TensorLike) -> Tensor:
    """ln ½ erfc(−x/√2), which far below 0 is −x²/2 and less; its derivative is φ(x) / Φ(x)."""
    ...


def _log_erfc(x: float) -> float:
    if x > 9.0:
        far = -(x * x) - math.log(x * math.sqrt(math.pi))
        return far + math.log1p(_tail(0.5 / (x * x)))
    return math.log1p(-math.erf(x)) if x < 0.25 else math.log(math.erfc(x)) if x == x else x


def _slope_of_log_erfc(x: Tensor) -> Tensor:
    """−2/√π exp(−x²) / erfc(x)"""
    is_far = x > 9.0
    far, near = where(is_far, x, 9.0), where(is_far, 0.0, x)
    density = exp(-(near * near)) * (-2 / math.sqrt(math.pi))
    return where(is_far, -2.0 * far / (1.0 + _tail(0.5 / (far * far))), density / erfc(near))


@elementwise(
    "where(x > 9, -(x * x) - log(x * 1.772453850905516)"
    f" + log1p({_tail_code('0.5 / (x * x)')}),"
    " where(x < 0.25, log1p(-erf(x)), log(erfc(x))))",
    lambda x: np.vectorize(_log_erfc, otypes=[np.float64])(x).astype(x.dtype),
    lambda x, y: [_slope_of_log_erfc(x)],
    dtypes="floating",
    flops=120,
)
def log_erfc(x: TensorLike) -> Tensor:
    """ln erfc(x), which far above 0 is −x² and less; its derivative is −2/√π exp(−x²) / erfc(x)."""
    ...
