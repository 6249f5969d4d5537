# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: powers, roots, exponentials and logarithms.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..tensor import Node, Tensor, TensorLike
from .arithmetic import maximum
from .build import elementwise
from .conversion import stop_gradient
from .logic import equal, isfinite, isinf, where

__all__ = [
    "cbrt",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "pow",
    "power",
    "rsqrt",
    "sigmoid",
    "softplus",
    "sqrt",
    "xlog1py",
    "xlogy",
]


def _power(x: Any, y: Any) -> Any:
    if x.dtype.kind != "i":
        return np.power(x, y)
    unit = np.where(y % 2 == 0, x * x, x)  # of ±1
    inverse = np.where((x == 1) | (x == -1), unit, x.dtype.type(0))
    return np.where(y < 0, inverse, np.power(x, np.maximum(y, 0)))


@elementwise(
    "power(x, y)",
    _power,
    lambda x, y, z: [
        where(equal(y, 0.0), 0.0, y * pow(x, y - 1.0)),  # pyright: ignore[reportGeneralTypeIssues]
        where(x > 0.0, z * log(where(x > 0.0, x, 1.0)), 0.0),
    ],
    singular=True,
    flops=30,
    derivatives_at=(0.2, 2.0),
)
def pow(x: TensorLike, y: TensorLike) -> Tensor:
    """x to the power y, by IEEE 754 (0⁰ = 1, nan for negative x and fractional y).

    Integers wrap around; a negative exponent gives 1 / x⁻ʸ towards zero, 0 of 0.
    """
    ...


@elementwise(
    "sqrt(x)",
    np.sqrt,
    lambda x, y: [0.5 / y],
    singular=True,
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
    singular=True,
    dtypes="floating",
    flops=10,
    derivatives_at=(0.1, 4.0),
)
def rsqrt(x: TensorLike) -> Tensor:
    """1/√x."""
    ...


@elementwise(
    "cbrt(x)",
    np.cbrt,
    lambda x, y: [1 / (3.0 * (y * y))],
    singular=True,
    dtypes="floating",
    flops=60,
    derivatives_at=(0.1, 4.0),
)
def cbrt(x: TensorLike) -> Tensor:
    """∛x, the real one: negative for negative x."""
    ...


@elementwise("exp(x)", np.exp, lambda x, y: [y], singular=True, dtypes="floating", flops=15)
def exp(x: TensorLike) -> Tensor:
    """eˣ."""
    ...


@elementwise(
    "exp2(x)", np.exp2, lambda x, y: [math.log(2) * y], singular=True, dtypes="floating", flops=14
)
def exp2(x: TensorLike) -> Tensor:
    """2ˣ; exact where x is whole."""
    ...


@elementwise(
    "expm1(x)", np.expm1, lambda x, y: [exp(x)], singular=True, dtypes="floating", flops=20
)
def expm1(x: TensorLike) -> Tensor:
    """eˣ − 1, exact near 0."""
    ...


@elementwise(
    "log(x)",
    np.log,
    lambda x, y: [1 / x],
    singular=True,
    dtypes="floating",
    flops=15,
    derivatives_at=(0.1, 3.0),
)
def log(x: TensorLike) -> Tensor:
    """ln x; −inf at 0, nan below."""
    ...


@elementwise(
    "log1p(x)",
    np.log1p,
    lambda x, y: [1 / (1.0 + x)],
    singular=True,
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
    singular=True,
    dtypes="floating",
    flops=16,
    derivatives_at=(0.1, 3.0),
)
def log2(x: TensorLike) -> Tensor:
    """The logarithm to base 2."""
    ...


@elementwise(
    "log10(x)",
    np.log10,
    lambda x, y: [(1 / math.log(10)) / x],
    singular=True,
    dtypes="floating",
    flops=40,
    derivatives_at=(0.1, 3.0),
)
def log10(x: TensorLike) -> Tensor:
    """The logarithm to base 10; exact for powers of ten."""
    ...


_parts: WeakKeyDictionary[Node, tuple[Tensor, Tensor]] = WeakKeyDictionary()


def _is_sum(x: Tensor) -> bool:
    return x.node.op.name == "logaddexp"


def _top(x: Tensor) -> Tensor:
    """The largest of the terms whose exponentials `x` is the sum of, or `x`."""
    return _parts[x.node][0] if _is_sum(x) else x


def _less(x: Tensor, y: Tensor) -> Tensor:
    """x − y with the digits that sums of exponentials lose: ln(eᵃ + eᵇ) near 1e4 is off by 5e-4.

    Such a sum is its largest term, which is not rounded, and a small rest.
    """
    tops = [where(isfinite(_top(t)), _top(t), 0.0) if _is_sum(t) else t for t in (x, y)]
    difference = tops[0] - tops[1]
    if _is_sum(x):
        difference = difference + _parts[x.node][1]
    return difference - _parts[y.node][1] if _is_sum(y) else difference


def _take_apart(*tensors: Tensor) -> None:
    """Finds the parts of sums of exponentials, innermost first."""
    pending = list(tensors)
    while pending:
        x = pending[-1]
        operands = x.node.operands if _is_sum(x) and x.node not in _parts else ()
        missing = [t for t in operands if _is_sum(t) and t.node not in _parts]
        if operands and not missing:
            top = stop_gradient(maximum(*map(_top, operands)))
            centre = where(isfinite(top), top, 0.0)
            _parts[x.node] = top, logaddexp(*(_less(t, centre) for t in operands))
        if missing:
            pending += missing
        else:
            pending.pop()


def _difference(x: Tensor, y: Tensor) -> Tensor:
    """x − y, and 0 for infinities of one sign."""
    _take_apart(x, y)
    return where(isinf(x) & equal(x, y), 0.0, _less(x, y))  # pyright: ignore[reportGeneralTypeIssues]


@elementwise(
    "where(x == y, x + 0.6931471805599453, maximum(x, y) + log1p(exp(-absolute(x - y))))",
    np.logaddexp,
    lambda x, y, z: [sigmoid(_difference(x, y)), sigmoid(_difference(y, x))],
    saturates=True,
    dtypes="floating",
    commutative=True,
    flops=40,
)
def logaddexp(x: TensorLike, y: TensorLike) -> Tensor:
    """ln(eˣ + eʸ), without overflow; −inf of −inf and −inf."""
    ...


def _x_log_y(x: Any, y: Any) -> Any:
    return np.where((x == 0) & (y == y), x.dtype.type(0), x * np.log(y))


def _x_log1p_y(x: Any, y: Any) -> Any:
    return np.where((x == 0) & (y == y), x.dtype.type(0), x * np.log1p(y))


@elementwise(
    "where((x == 0) & (y == y), 0, x * log(y))",
    _x_log_y,
    lambda x, y, z: [
        where(equal(x, 0.0) & equal(y, 0.0), 0.0, log(y)),  # pyright: ignore[reportGeneralTypeIssues]
        x / where(equal(x, 0.0), 1.0, y),
    ],
    singular=True,
    dtypes="floating",
    flops=17,
    derivatives_at=(0.1, 3.0),
)
def xlogy(x: TensorLike, y: TensorLike) -> Tensor:
    """x · ln y, and 0 where x is 0 and y no nan; at (0, 0) the derivatives are 0 too."""
    ...


@elementwise(
    "where((x == 0) & (y == y), 0, x * log1p(y))",
    _x_log1p_y,
    lambda x, y, z: [
        where(equal(x, 0.0) & equal(y, -1.0), 0.0, log1p(y)),  # pyright: ignore[reportGeneralTypeIssues]
        x / where(equal(x, 0.0), 1.0, 1.0 + y),
    ],
    singular=True,
    dtypes="floating",
    flops=22,
    derivatives_at=(-0.5, 3.0),
)
def xlog1py(x: TensorLike, y: TensorLike) -> Tensor:
    """x · ln(1 + y), and 0 where x is 0 and y no nan; at (0, −1) the derivatives are 0 too."""
    ...


def logistic(x: Any) -> Any:
    """1 / (1 + e⁻ˣ) of an array."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


@elementwise(
    "sigmoid(x)",
    logistic,
    lambda x, y: [y * sigmoid(-x)],  # pyright: ignore[reportGeneralTypeIssues]
    saturates=True,
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
    saturates=True,
    dtypes="floating",
    flops=40,
)
def softplus(x: TensorLike) -> Tensor:
    """ln(1 + eˣ), which neither overflows nor loses small values."""
    ...


power = pow
