# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise arithmetic and rounding.

Integers: sums, differences, products and powers wrap around, as do −x and |x| of the lowest number
and its quotient by −1.  Quotients are rounded down, so that a remainder has the divisor's sign; by
0 both are 0.  A negative exponent gives 1 / x towards zero, so 0 but for x = ±1.  Shifts by less
than 0 or by all bits and more shift every bit out: 0, or −1 for what was negative and goes right.
Nothing traps, and the interpreter, CPU and CUDA agree.  Floats follow IEEE 754.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError
from ..tensor import Tensor, TensorLike
from .build import as_tensor, elementwise
from .logic import equal, signbit, where

__all__ = [
    "abs",
    "absolute",
    "add",
    "ceil",
    "clip",
    "copysign",
    "divide",
    "floor",
    "floor_divide",
    "fma",
    "fmax",
    "hypot",
    "maximum",
    "minimum",
    "mod",
    "multiply",
    "negative",
    "nextafter",
    "positive",
    "reciprocal",
    "remainder",
    "rint",
    "round",
    "sign",
    "square",
    "subtract",
    "true_divide",
    "trunc",
]

_STEP = "it is a step function: the derivative is zero or undefined"


@elementwise("x + y", np.add, lambda x, y, z: [1.0, 1.0], commutative=True)
def add(x: TensorLike, y: TensorLike) -> Tensor:
    """x + y; integers wrap around."""
    ...


@elementwise("x - y", np.subtract, lambda x, y, z: [1.0, -1.0])
def subtract(x: TensorLike, y: TensorLike) -> Tensor:
    """x − y; integers wrap around."""
    ...


@elementwise("x * y", np.multiply, lambda x, y, z: [y, x], commutative=True)
def multiply(x: TensorLike, y: TensorLike) -> Tensor:
    """x · y; integers wrap around."""
    ...


@elementwise(
    "x / y", np.divide, lambda x, y, z: [1 / y, -z / y], singular=True, dtypes="floating", flops=4
)
def divide(x: TensorLike, y: TensorLike) -> Tensor:
    """x / y for floats, by IEEE 754: 1/0 is inf, 0/0 nan."""
    ...


def _fma(x: Any, y: Any, z: Any) -> Any:
    # The product of floats is exact in twice as many bits; longdouble has no more than some.
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    return (x.astype(wide) * y + z).astype(x.dtype)


@elementwise(
    "fma(x, y, z)",
    _fma,
    lambda x, y, z, r: [y, x, 1.0],
    dtypes="floating",
    flops=2,
)
def fma(x: TensorLike, y: TensorLike, z: TensorLike) -> Tensor:
    """x · y + z, rounded once."""
    ...


def _by_zero(function: Any) -> Any:
    def reference(x: Any, y: Any) -> Any:
        if x.dtype.kind == "f":
            return function(x, y)
        return np.where(y == 0, np.zeros((), x.dtype), function(x, np.where(y == 0, 1, y)))

    return reference


def _floor_divide(x: Any, y: Any) -> Any:
    if x.dtype.kind != "f":
        return np.floor_divide(x, y)
    return np.where(np.isinf(x) | np.isinf(y), x / y, np.floor_divide(x, y))


@elementwise("x // y", _by_zero(_floor_divide), no_gradient=_STEP, flops=6)
def floor_divide(x: TensorLike, y: TensorLike) -> Tensor:
    """⌊x / y⌋; integer division by zero gives 0.

    With an infinity x / y, as the array API has it: ∞ // 2 = ∞ (NumPy: nan), 2 // −∞ = −0.
    """
    ...


@elementwise(
    "x % y",
    _by_zero(np.remainder),
    lambda x, y, z: [1.0, -floor_divide(x, y)],
    flops=6,
)
def remainder(x: TensorLike, y: TensorLike) -> Tensor:
    """x − y·⌊x / y⌋, with the sign of y; integer remainder by zero gives 0."""
    ...


@elementwise("-x", np.negative, lambda x, y: [-1.0])
def negative(x: TensorLike) -> Tensor:
    """−x."""
    ...


@elementwise("absolute(x)", np.abs, lambda x, y: [sign(x)])
def abs(x: TensorLike) -> Tensor:
    """|x|; the derivative at 0 is 0."""
    ...


@elementwise("sign(x)", np.sign, no_gradient=_STEP)
def sign(x: TensorLike) -> Tensor:
    """−1, 0 or 1; nan for nan."""
    ...


@elementwise("x * x", np.square, lambda x, y: [2.0 * x])
def square(x: TensorLike) -> Tensor:
    """x²."""
    ...


@elementwise(
    "maximum(x, y)",
    np.maximum,
    lambda x, y, z: [x >= y, ~(x >= y)],
    commutative=True,
)
def maximum(x: TensorLike, y: TensorLike) -> Tensor:
    """The larger of x and y; nan if one is.  At a tie the derivative goes to x."""
    ...


@elementwise("where((x >= y) | (y != y), x, y)", np.fmax, lambda x, y, z: [z == x, z != x])
def fmax(x: TensorLike, y: TensorLike) -> Tensor:
    """The larger of x and y; of a number and nan the number.  At a tie the derivative goes to x."""
    ...


@elementwise(
    "minimum(x, y)",
    np.minimum,
    lambda x, y, z: [x <= y, ~(x <= y)],
    commutative=True,
)
def minimum(x: TensorLike, y: TensorLike) -> Tensor:
    """The smaller of x and y; nan if one is.  At a tie the derivative goes to x."""
    ...


def _itself(x: Tensor) -> Tensor:
    return x


@elementwise("floor(x)", np.floor, dtypes="floating", no_gradient=_STEP, integers=_itself)
def floor(x: TensorLike) -> Tensor:
    """⌊x⌋; of integers x itself."""
    ...


@elementwise("ceil(x)", np.ceil, dtypes="floating", no_gradient=_STEP, integers=_itself)
def ceil(x: TensorLike) -> Tensor:
    """⌈x⌉; of integers x itself."""
    ...


@elementwise("rint(x)", np.rint, dtypes="floating", no_gradient=_STEP, integers=_itself)
def round(x: TensorLike) -> Tensor:
    """The nearest whole number, halves to even; of integers x itself."""
    ...


@elementwise("trunc(x)", np.trunc, dtypes="floating", no_gradient=_STEP, integers=_itself)
def trunc(x: TensorLike) -> Tensor:
    """x without its fraction; of integers x itself."""
    ...


@elementwise(
    "copysign(x, y)",
    np.copysign,
    lambda x, y, z: [where(signbit(y), -sign(x), sign(x)), None],  # pyright: ignore[reportGeneralTypeIssues]
    dtypes="floating",
)
def copysign(x: TensorLike, y: TensorLike) -> Tensor:
    """|x| with the sign of y, be it that of a zero or nan; the derivative at x = 0 is 0."""
    ...


@elementwise("nextafter(x, y)", np.nextafter, lambda x, y, z: [1.0, None], dtypes="floating")
def nextafter(x: TensorLike, y: TensorLike) -> Tensor:
    """The float next to x on the way to y; y where they are equal."""
    ...


@elementwise(
    "hypot(x, y)",
    np.hypot,
    lambda x, y, z: [cosine(x, y), cosine(y, x)],
    dtypes="floating",
    flops=12,
)
def hypot(x: TensorLike, y: TensorLike) -> Tensor:
    """√(x² + y²) without overflow; inf if one is infinite.  The derivative at the origin is 0."""
    ...


def _cosine(x: Any, y: Any) -> Any:
    length = np.hypot(x, y)
    return x / np.where(length == 0, x.dtype.type(1), length)


def _cosine_slopes(x: Tensor, y: Tensor, _: Any) -> list[Tensor]:
    """y² / length³ and −x y / length³, of which nothing overflows; 0 at the origin."""
    length = hypot(x, y)
    other = cosine(y, x) / where(equal(length, 0.0), 1.0, length)
    return [cosine(y, x) * other, -cosine(x, y) * other]


@elementwise(
    "x / where(hypot(x, y) == 0, 1, hypot(x, y))",
    _cosine,
    _cosine_slopes,
    saturates=True,
    dtypes="floating",
    flops=30,
)
def cosine(x: TensorLike, y: TensorLike) -> Tensor:
    """x / √(x² + y²), and 0 at the origin: the cosine of the angle of the point (x, y).

    Its derivative by x is (y / √(x² + y²))² over that length, with nothing that cancels.
    """
    ...


def positive(x: TensorLike) -> Tensor:
    """x itself, a number."""
    tensor = as_tensor(x)
    if tensor.dtype.kind == "b":
        raise DTypeError(f"needs numeric dtype, got {tensor.dtype}")
    return tensor


def reciprocal(x: TensorLike) -> Tensor:
    """1 / x."""
    return divide(1.0, x)


def clip(x: TensorLike, min: TensorLike = None, max: TensorLike = None) -> Tensor:
    """x kept between `min` and `max`, either of which may be None; derivative 1 at the bounds."""
    result = as_tensor(x)
    if min is not None:
        result = maximum(result, min)
    return result if max is None else minimum(result, max)


true_divide = divide


mod = remainder


rint = round


absolute = abs
