# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: trigonometric and hyperbolic functions and their inverses.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor, TensorLike
from .arithmetic import hypot
from .build import elementwise
from .logic import equal, where
from .transcendental import rsqrt

__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "sin",
    "sinh",
    "tan",
    "tanh",
]


@elementwise("sin(x)", np.sin, lambda x, y: [cos(x)], dtypes="floating", flops=20)  # pyright: ignore[reportGeneralTypeIssues]
def sin(x: TensorLike) -> Tensor:
    """sin x, x in radians."""
    ...


@elementwise("cos(x)", np.cos, lambda x, y: [-sin(x)], dtypes="floating", flops=20)  # pyright: ignore[reportGeneralTypeIssues]
def cos(x: TensorLike) -> Tensor:
    """cos x, x in radians."""
    ...


@elementwise("tanh(x)", np.tanh, lambda x, y: [1.0 - y * y], dtypes="floating", flops=20)
def tanh(x: TensorLike) -> Tensor:
    """(eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)."""
    ...


@elementwise(
    "tan(x)",
    np.tan,
    lambda x, y: [1.0 + y * y],
    singular=True,
    dtypes="floating",
    flops=30,
    derivatives_at=(-1.4, 1.4),
)
def tan(x: TensorLike) -> Tensor:
    """tan x, x in radians."""
    ...


@elementwise(
    "asin(x)",
    np.asin,
    lambda x, y: [rsqrt((1.0 - x) * (1.0 + x))],
    singular=True,
    dtypes="floating",
    flops=25,
    derivatives_at=(-0.9, 0.9),
)
def asin(x: TensorLike) -> Tensor:
    """The angle in [−π/2, π/2] whose sine is x; nan outside of [−1, 1]."""
    ...


@elementwise(
    "acos(x)",
    np.acos,
    lambda x, y: [-rsqrt((1.0 - x) * (1.0 + x))],
    singular=True,
    dtypes="floating",
    flops=25,
    derivatives_at=(-0.9, 0.9),
)
def acos(x: TensorLike) -> Tensor:
    """The angle in [0, π] whose cosine is x; nan outside of [−1, 1]."""
    ...


@elementwise("atan(x)", np.atan, lambda x, y: [1 / (1.0 + x * x)], dtypes="floating", flops=30)
def atan(x: TensorLike) -> Tensor:
    """The angle in [−π/2, π/2] whose tangent is x."""
    ...


def _angle_slopes(y: Tensor, x: Tensor, _: Any) -> list[Tensor]:
    """x / r² and −y / r², with no square that overflows; 0 at the origin."""
    length = hypot(y, x)
    r = where(equal(length, 0.0), 1.0, length)
    return [(x / r) / r, -(y / r) / r]


@elementwise("atan2(y, x)", np.atan2, _angle_slopes, dtypes="floating", flops=60)
def atan2(y: TensorLike, x: TensorLike) -> Tensor:
    """The angle of the point (x, y) in [−π, π], by the signs of zeros too.

    The derivatives at the origin are 0.
    """
    ...


@elementwise("sinh(x)", np.sinh, lambda x, y: [cosh(x)], singular=True, dtypes="floating", flops=25)  # pyright: ignore[reportGeneralTypeIssues]
def sinh(x: TensorLike) -> Tensor:
    """(eˣ − e⁻ˣ) / 2."""
    ...


@elementwise("cosh(x)", np.cosh, lambda x, y: [sinh(x)], singular=True, dtypes="floating", flops=20)  # pyright: ignore[reportGeneralTypeIssues]
def cosh(x: TensorLike) -> Tensor:
    """(eˣ + e⁻ˣ) / 2."""
    ...


@elementwise("asinh(x)", np.asinh, lambda x, y: [1 / hypot(x, 1.0)], dtypes="floating", flops=60)
def asinh(x: TensorLike) -> Tensor:
    """ln(x + √(x² + 1)), the number whose sinh is x."""
    ...


@elementwise(
    "acosh(x)",
    np.acosh,
    lambda x, y: [rsqrt(x - 1.0) * rsqrt(x + 1.0)],
    singular=True,
    dtypes="floating",
    flops=60,
    derivatives_at=(1.1, 4.0),
)
def acosh(x: TensorLike) -> Tensor:
    """ln(x + √(x² − 1)), the number ≥ 0 whose cosh is x; nan below 1."""
    ...


@elementwise(
    "atanh(x)",
    np.atanh,
    lambda x, y: [1 / ((1.0 - x) * (1.0 + x))],
    singular=True,
    dtypes="floating",
    flops=40,
    derivatives_at=(-0.9, 0.9),
)
def atanh(x: TensorLike) -> Tensor:
    """½ ln((1 + x) / (1 − x)), the number whose tanh is x; ±inf at ±1, nan beyond."""
    ...


arccos = acos
arccosh = acosh
arcsin = asin
arcsinh = asinh
arctan = atan
arctan2 = atan2
arctanh = atanh
