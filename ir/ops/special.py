# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: the error function and its kin, logit, sinc.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tensor import Tensor, TensorLike
from .arithmetic import abs, floor, round, square
from .build import elementwise
from .conversion import rounded_once
from .logic import where
from .transcendental import exp
from .trigonometry import sin

__all__ = [
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "logit",
    "normal_cdf",
    "sinc",
]

_erf = np.vectorize(math.erf, otypes=[np.float64])


@elementwise(
    "erf(x)",
    lambda x: _erf(x).astype(x.dtype),
    lambda x, y: [(2 / math.sqrt(math.pi)) * exp(-x * x)],
    saturates=True,
    dtypes="floating",
    flops=25,
)
def erf(x: TensorLike) -> Tensor:
    """The error function 2/√π ∫₀ˣ exp(−t²) dt."""
    ...


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


@elementwise(
    "erfc(x)",
    lambda x: _erfc(x).astype(x.dtype),
    lambda x, y: [(-2 / math.sqrt(math.pi)) * exp(-x * x)],
    saturates=True,
    dtypes="floating",
    flops=45,
)
def erfc(x: TensorLike) -> Tensor:
    """1 − erf(x), to its own last digits also where erf(x) is nearly 1."""
    ...


def _find_erfinv(x: float) -> float:
    """Newton's method from a value that is right to some 2 digits.

    Winitzki, A handy approximation for the error function and its inverse (2008).
    """
    size = math.fabs(x)
    if not size < 1.0:
        return math.copysign(math.inf, x) if size == 1.0 else math.nan
    logarithm = math.log((1.0 - size) * (1.0 + size))
    middle = 2 / (math.pi * 0.147) + 0.5 * logarithm
    y = math.sqrt(math.sqrt(middle * middle - logarithm / 0.147) - middle)
    for _ in range(5):
        error = math.erf(y) - size if size < 0.5 else (1.0 - size) - math.erfc(y)
        y -= error * 0.5 * math.sqrt(math.pi) * math.exp(y * y)
    return math.copysign(y, x)


_erfinv = np.vectorize(_find_erfinv, otypes=[np.float64])


@elementwise(
    "erfinv(x)",
    lambda x: _erfinv(x).astype(x.dtype),
    lambda x, y: [(0.5 * math.sqrt(math.pi)) * exp(y * y)],
    singular=True,
    dtypes="floating",
    flops=80,
    derivatives_at=(-0.9, 0.9),
)
def erfinv(x: TensorLike) -> Tensor:
    """The y whose erf is x; ±inf at ±1, nan beyond."""
    ...


def _cdf(x: float) -> float:
    """½ erfc(−x/√2), the argument corrected by what its rounding lost.

    erfc multiplies a relative error of its argument t by 2t².  (The product's error is Dekker's:
    A floating-point technique for extending the available precision, 1971.)
    """
    x = float(x)  # NumPy's own float32 would compute in 24 bits
    if not math.fabs(x) < 60.0:
        return math.nan if x != x else float(x > 0)
    high, low = 0.7071067811865476, -4.833646656726457e-17  # √½
    t = -x * high

    def halves(a: float) -> tuple[float, float]:
        c = 134217729.0 * a
        return c - (c - a), a - (c - (c - a))

    (x1, x2), (h1, h2) = halves(-x), halves(high)
    lost = ((x1 * h1 - t) + x1 * h2 + x2 * h1) + x2 * h2 - x * low
    return 0.5 * math.erfc(t) - lost * math.exp(-t * t) / math.sqrt(math.pi)


_normal_cdf = np.vectorize(_cdf, otypes=[np.float64])


@elementwise(
    "normal_cdf(x)",
    lambda x: _normal_cdf(x).astype(x.dtype),
    lambda x, y: [(1 / math.sqrt(2 * math.pi)) * exp(-0.5 * (x * x))],
    saturates=True,
    dtypes="floating",
    flops=45,
)
def normal_cdf(x: TensorLike) -> Tensor:
    """½ erfc(−x/√2): how likely a standard normal variable is below x."""
    ...


def _logit(x: Any) -> Any:
    wide = x.astype(np.float64) if x.dtype == np.float32 else x
    near = 2 * np.arctanh(np.where((wide > 0.25) & (wide < 0.75), 2 * wide - 1, 0))
    far = np.log(wide) - np.log1p(-wide)
    return np.where((wide > 0.25) & (wide < 0.75), near, far).astype(x.dtype)


@elementwise(
    "where(absolute(x - 0.5) < 0.25, 2 * atanh(2 * x - 1), log(x / (1 - x)))",
    _logit,
    lambda x, y: [1 / (x * (1.0 - x))],
    singular=True,
    dtypes="floating",
    flops=60,
    derivatives_at=(0.05, 0.95),
)
def logit(x: TensorLike) -> Tensor:
    """ln(x / (1 − x)), the number whose sigmoid is x; −inf at 0, inf at 1, nan outside."""
    ...


@rounded_once
def sinc(x: Tensor) -> Tensor:
    """sin(πx) / (πx), and 1 at 0; exactly 0 at other whole numbers.

    Near 0 by its Taylor series, of which all derivatives are right as well.
    """
    is_small = abs(x) < 0.5
    z = square(where(is_small, x, 0.0))
    series = z * (math.pi**24 / math.factorial(25))
    for k in range(11, 0, -1):
        series = z * (series + (-1) ** k * (math.pi ** (2 * k) / math.factorial(2 * k + 1)))
    large = where(is_small, 1.0, x)
    whole = round(large)
    sign = 1.0 - 4.0 * (0.5 * whole - floor(0.5 * whole))  # of an odd one −1
    return where(is_small, 1.0 + series, sign * sin(math.pi * (large - whole)) / (math.pi * large))


# (1 + 2x) erfcx(x) for x ≥ 0 as a polynomial in t = (x − 3.75) / (x + 3.75), the variable of
# Shepherd and Laframboise (Chebyshev approximation of (1 + 2x) exp(x²) erfc x in 0 ≤ x < ∞,
# Mathematics of Computation 36, 1981): interpolated in 24 Chebyshev nodes with 60 digits.
_ERFCX = (
    *(1.2375126308378275, -0.14024059858554702, 0.003585415485479575, 0.08227673849014977),
    *(-0.10880393014246645, 0.09230432116025894, -0.05869339857631061, 0.028362277420377335),
    *(-0.00974657968596217, 0.001755625843431864, 0.000293714390578856, -0.00029015404203352704),
    *(5.164649341002877e-05, 2.2384138525656757e-05, -1.1437980374495534e-05),
    *(-9.733875167494142e-07, 1.7419011945194367e-06, -5.741076073013916e-08),
    *(-2.4851108650210706e-07, 2.3398534313040898e-08, 3.195398612057818e-08),
    *(-3.798189797736207e-09, -2.618520156503145e-09, 3.2052623379289157e-10),
)


@rounded_once
def erfcx(x: Tensor) -> Tensor:
    """exp(x²) · erfc(x), about 1 / (x √π) for large x, where the factors are ∞ and 0."""
    size = where(x < 0.0, -x, x)
    t = 1.0 - 7.5 / (size + 3.75)
    total = t * _ERFCX[-1]
    for coefficient in _ERFCX[-2:0:-1]:
        total = t * (total + coefficient)
    right = (total + _ERFCX[0]) / (1.0 + 2.0 * size)
    return where(x < 0.0, 2.0 * exp(square(x)) - right, right)
