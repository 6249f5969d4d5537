# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: powers, exponentials, logarithms, trigonometry.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tensor import Tensor, TensorLike
from .build import elementwise
from .logic import equal, where

__all__ = [
    "cos",
    "erf",
    "exp",
    "expm1",
    "log",
    "log1p",
    "log2",
    "pow",
    "power",
    "rsqrt",
    "sigmoid",
    "sin",
    "softplus",
    "sqrt",
    "tanh",
]


@elementwise(
    "power(x, y)",
    np.power,
    lambda x, y, z: [
        where(equal(y, 0.0), 0.0, y * pow(x, y - 1.0)),  # pyright: ignore[reportGeneralTypeIssues]
        where(x > 0.0, z * log(where(x > 0.0, x, 1.0)), 0.0),
    ],
    dtypes="floating",
    flops=30,
    derivatives_at=(0.2, 2.0),
)
def pow(x: TensorLike, y: TensorLike) -> Tensor:
    """x to the power y, by IEEE 754 (0⁰ = 1, nan for negative x and fractional y)."""
    ...


@elementwise(
    "sqrt(x)",
    np.sqrt,
    lambda x, y: [0.5 / y],
    dtypes="floating",
    flops=6,
    derivatives_at=(0.1, 4.0),
)
def sqrt(x: TensorLike) -> Tensor:
    """√x; nan below 0."""
    ...


@elementwise(
    "1 / sqrt(x)",
    lambda x: 1 / np.sqrt(x),
    lambda x, y: [-0.5 * y / x],
    dtypes="floating",
    flops=10,
    derivatives_at=(0.1, 4.0),
)
def rsqrt(x: TensorLike) -> Tensor:
    """1/√x."""
    ...


@elementwise("exp(x)", np.exp, lambda x, y: [y], dtypes="floating", flops=15)
def exp(x: TensorLike) -> Tensor:
    """eˣ."""
    ...


@elementwise("expm1(x)", np.expm1, lambda x, y: [y + 1.0], dtypes="floating", flops=20)
def expm1(x: TensorLike) -> Tensor:
    """eˣ − 1, exact near 0."""
    ...


@elementwise(
    "log(x)", np.log, lambda x, y: [1 / x], dtypes="floating", flops=15, derivatives_at=(0.1, 3.0)
)
def log(x: TensorLike) -> Tensor:
    """ln x; −inf at 0, nan below."""
    ...


@elementwise(
    "log1p(x)",
    np.log1p,
    lambda x, y: [1 / (1.0 + x)],
    dtypes="floating",
    flops=20,
    derivatives_at=(-0.5, 3.0),
)
def log1p(x: TensorLike) -> Tensor:
    """ln(1 + x), exact near 0."""
    ...


@elementwise(
    "log2(x)",
    np.log2,
    lambda x, y: [(1 / math.log(2)) / x],
    dtypes="floating",
    flops=16,
    derivatives_at=(0.1, 3.0),
)
def log2(x: TensorLike) -> Tensor:
    """The logarithm to base 2."""
    ...


@elementwise("sin(x)", np.sin, lambda x, y: [cos(x)], dtypes="floating", flops=20)
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


_erf = np.vectorize(math.erf, otypes=[np.float64])


@elementwise(
    "erf(x)",
    lambda x: _erf(x).astype(x.dtype),
    lambda x, y: [(2 / math.sqrt(math.pi)) * exp(-x * x)],
    dtypes="floating",
    flops=25,
)
def erf(x: TensorLike) -> Tensor:
    """The error function 2/√π ∫₀ˣ exp(−t²) dt."""
    ...


def _stable_sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


@elementwise(
    "sigmoid(x)",
    _stable_sigmoid,
    lambda x, y: [y * sigmoid(-x)],  # pyright: ignore[reportGeneralTypeIssues]
    dtypes="floating",
    flops=20,  # pyright: ignore[reportGeneralTypeIssues]
)
def sigmoid(x: TensorLike) -> Tensor:
    """1 / (1 + e⁻ˣ), accurate on both sides."""
    ...


@elementwise(
    "maximum(x, 0) + log1p(exp(-absolute(x)))",
    lambda x: (np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))).astype(x.dtype),
    lambda x, y: [sigmoid(x)],
    dtypes="floating",
    flops=40,
)
def softplus(x: TensorLike) -> Tensor:
    """ln(1 + eˣ), which neither overflows nor loses small values."""
    ...


power = pow
