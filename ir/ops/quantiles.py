# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: the inverse of a distribution function, which turns uniform numbers into others.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tensor import Tensor, TensorLike
from .build import elementwise
from .transcendental import exp

__all__ = ["normal_quantile"]

_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])
_FAR = 4.5  # from here on a continued fraction gives erfc, which is soon too small to hold


def _excess(y: Any, tail: Any) -> tuple[Any, Any]:
    """ln(½ erfc(y) / tail) for y > 0 and what it falls by y, inverted: for Newton's method.

    Far out both come from Laplace's continued fraction e^(−y²) / (√π erfc(y)) = y + ½/(y + 1/(y +
    1½/(y + …))).
    """
    near = np.minimum(y, _FAR)
    area = _erfc(near)
    ratio = area * np.exp(near * near)
    far = np.maximum(y, _FAR)
    fraction = far
    for k in range(40, 0, -1):
        fraction = far + k / 2 / fraction
    ratio = np.where(y < _FAR, ratio, 1 / (math.sqrt(math.pi) * fraction))
    excess = -far * far - np.log(2 * math.sqrt(math.pi) * fraction) - np.log(tail)
    return np.where(y < _FAR, np.log(area / 2 / tail), excess), ratio * math.sqrt(math.pi) / 2


def _near_half(tail: Any) -> Any:
    """The y with ½ erfc(y) = tail for tails near ½: of erf, since y is small beside the tail."""
    x = 1 - 2 * tail
    y = math.sqrt(math.pi) / 2 * x * (1 + math.pi / 12 * x * x)  # the start of its series
    for _ in range(3):
        y = y + (x - _erf(y)) * np.exp(y * y) * math.sqrt(math.pi) / 2
    return y


def _near_zero(tail: Any) -> Any:
    """The y with ½ erfc(y) = tail for small tails: of the logarithm, which is concave, so that any
    start will do; this one is the first of an asymptotic series."""
    y = np.sqrt(-np.log(tail))
    y = y - np.log(2 * math.sqrt(math.pi) * y) / (2 * y)
    for _ in range(4):
        excess, step = _excess(y, tail)
        y = y + excess * step
    return y


def _normal_quantile(p: Any) -> Any:
    """The equation Φ(z) = ½ erfc(−z/√2) = p, solved by Newton's method in float64."""
    wide = np.asarray(p, np.float64)
    given = np.where((wide > 0) & (wide < 1), wide, 0.5)
    tail = np.minimum(given, 1 - given)
    size = math.sqrt(2) * np.piecewise(tail, [tail > 0.25], [_near_half, _near_zero])
    z = np.where(wide == 0, -np.inf, np.where(wide == 1, np.inf, np.copysign(size, wide - 0.5)))
    return np.where((wide >= 0) & (wide <= 1), z, np.nan).astype(p.dtype)


@elementwise(
    "normal_quantile(p)",
    _normal_quantile,
    lambda p, z: [math.sqrt(2 * math.pi) * exp(0.5 * z * z)],
    dtypes="floating",
    flops=45,
    derivatives_at=(0.02, 0.98),
)
def normal_quantile(p: TensorLike) -> Tensor:
    """The z with Φ(z) = p: the inverse of the standard normal distribution function.

    −inf at 0, inf at 1, nan outside.  Of p near 1 only 1 − p tells z, with as few digits as that
    has: for the upper tail give 1 − p, and take −z.
    """
    ...
