# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise ops: each entry is one scalar expression, its NumPy twin and its partials.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import DimLike
from ..dtypes import DType, DTypeLike
from ..errors import IndexRangeError
from ..op import TABLE
from ..tensor import Tensor, TensorLike
from .build import as_tensor, call_elementwise, elementwise

_STEP = "it is a step function: the derivative is zero or undefined"
_INTEGER = "its result is no float"


@elementwise(
    "dtype(x)",
    lambda x, dtype: _cast(x, dtype),
    lambda x, y: [1.0 if x.dtype.is_float else None],
    dtypes="cast",
)
def cast(x: TensorLike, *, dtype: DType) -> Tensor:
    """Convert to `dtype`.  Floats become integers towards zero, saturating, nan giving 0."""
    ...


def _cast(x: Any, dtype: DType) -> Any:
    if x.dtype.kind == "f" and dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        whole = np.trunc(np.nan_to_num(x.astype(np.float64), posinf=np.inf, neginf=-np.inf))
        low, high = whole <= float(limits.min), whole >= float(limits.max)
        safe = np.where(low | high, 0, whole).astype(dtype.numpy)
        return np.where(low, limits.min, np.where(high, limits.max, safe))
    return x.astype(dtype.numpy)


def astype(x: TensorLike, dtype: DTypeLike) -> Tensor:
    """`x` converted to `dtype`; itself where it has it already."""
    tensor, target = as_tensor(x), dt.as_dtype(dtype)
    return tensor if tensor.dtype == target else cast(tensor, dtype=target)


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


@elementwise("x / y", np.divide, lambda x, y, z: [1 / y, -z / y], dtypes="floating", flops=4)
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


@elementwise("x // y", _by_zero(np.floor_divide), no_gradient=_STEP, flops=6)
def floor_divide(x: TensorLike, y: TensorLike) -> Tensor:
    """⌊x / y⌋; integer division by zero gives 0."""
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


@elementwise("maximum(x, 0)", lambda x: np.maximum(x, x.dtype.type(0)), lambda x, y: [x > 0])
def relu(x: TensorLike) -> Tensor:
    """max(x, 0); the derivative at 0 is 0."""
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


@elementwise(
    "minimum(x, y)",
    np.minimum,
    lambda x, y, z: [x <= y, ~(x <= y)],
    commutative=True,
)
def minimum(x: TensorLike, y: TensorLike) -> Tensor:
    """The smaller of x and y; nan if one is.  At a tie the derivative goes to x."""
    ...


@elementwise("floor(x)", np.floor, dtypes="floating", no_gradient=_STEP)
def floor(x: TensorLike) -> Tensor:
    """⌊x⌋."""
    ...


@elementwise("ceil(x)", np.ceil, dtypes="floating", no_gradient=_STEP)
def ceil(x: TensorLike) -> Tensor:
    """⌈x⌉."""
    ...


@elementwise("rint(x)", np.rint, dtypes="floating", no_gradient=_STEP)
def round(x: TensorLike) -> Tensor:
    """The nearest whole number, halves to even."""
    ...


@elementwise("trunc(x)", np.trunc, dtypes="floating", no_gradient=_STEP)
def trunc(x: TensorLike) -> Tensor:
    """x without its fraction."""
    ...


@elementwise("isnan(x)", np.isnan, dtypes="test", no_gradient=_INTEGER)
def isnan(x: TensorLike) -> Tensor:
    """Whether x is nan."""
    ...


@elementwise("isinf(x)", np.isinf, dtypes="test", no_gradient=_INTEGER)
def isinf(x: TensorLike) -> Tensor:
    """Whether x is inf or −inf."""
    ...


@elementwise("isfinite(x)", np.isfinite, dtypes="test", no_gradient=_INTEGER)
def isfinite(x: TensorLike) -> Tensor:
    """Whether x is neither nan nor infinite."""
    ...


@elementwise("x == y", np.equal, dtypes="equal", no_gradient=_INTEGER, commutative=True)
def equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x = y."""
    ...


@elementwise("x != y", np.not_equal, dtypes="equal", no_gradient=_INTEGER, commutative=True)
def not_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x ≠ y."""
    ...


@elementwise("x < y", np.less, dtypes="compare", no_gradient=_INTEGER)
def less(x: TensorLike, y: TensorLike) -> Tensor:
    """x < y."""
    ...


@elementwise("x <= y", np.less_equal, dtypes="compare", no_gradient=_INTEGER)
def less_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x ≤ y."""
    ...


@elementwise("x > y", np.greater, dtypes="compare", no_gradient=_INTEGER)
def greater(x: TensorLike, y: TensorLike) -> Tensor:
    """x > y."""
    ...


@elementwise("x >= y", np.greater_equal, dtypes="compare", no_gradient=_INTEGER)
def greater_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x ≥ y."""
    ...


@elementwise("x & y", np.bitwise_and, dtypes="bitwise", no_gradient=_INTEGER, commutative=True)
def bitwise_and(x: TensorLike, y: TensorLike) -> Tensor:
    """Bitwise and; on bool the logical one."""
    ...


@elementwise("x | y", np.bitwise_or, dtypes="bitwise", no_gradient=_INTEGER, commutative=True)
def bitwise_or(x: TensorLike, y: TensorLike) -> Tensor:
    """Bitwise or; on bool the logical one."""
    ...


@elementwise("x ^ y", np.bitwise_xor, dtypes="bitwise", no_gradient=_INTEGER, commutative=True)
def bitwise_xor(x: TensorLike, y: TensorLike) -> Tensor:
    """Bitwise exclusive or."""
    ...


@elementwise("~x", np.invert, dtypes="bitwise", no_gradient=_INTEGER)
def bitwise_invert(x: TensorLike) -> Tensor:
    """Bitwise not; on bool the logical one."""
    ...


@elementwise(
    "where(condition, x, y)",
    np.where,
    lambda c, x, y, z: [None, c, ~c],
    dtypes="where",
)
def where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """x where the bool `condition` holds, else y."""
    ...


@elementwise("x", lambda x: x, dtypes="any", no_gradient="the user asked for none here")
def stop_gradient(x: TensorLike) -> Tensor:
    """x, through which no derivative flows."""
    ...


@elementwise("x", lambda x: x, lambda x, y: [1.0], dtypes="any")
def pin(x: TensorLike) -> Tensor:
    """x, hidden from rewriting: what a gradient is asked about must stay a node."""
    ...


def _wrap_index(index: Any, size: int) -> Any:
    bad = (index < -size) | (index >= size)
    if np.any(bad):
        raise IndexRangeError(f"index {index[bad].flat[0]} is out of range for size {size}")
    return np.where(index < 0, index + size, index)


@elementwise(
    "where(index < 0, index + size, index)",
    _wrap_index,
    dtypes="signed",
    check="(index >= -size) & (index < size)",
    no_gradient=_INTEGER,
)
def wrap_index(index: TensorLike, *, size: DimLike) -> Tensor:
    """A valid index from 0 up; negative ones count from the end, others make the call fail."""
    ...


# Names of the standard and of NumPy for the same things.


def logical_and(x: TensorLike, y: TensorLike) -> Tensor:
    """x and y, of bools."""
    return _logical("bitwise_and", x, y)


def logical_or(x: TensorLike, y: TensorLike) -> Tensor:
    """x or y, of bools."""
    return _logical("bitwise_or", x, y)


def logical_xor(x: TensorLike, y: TensorLike) -> Tensor:
    """Either x or y, of bools."""
    return _logical("bitwise_xor", x, y)


def logical_not(x: TensorLike) -> Tensor:
    """Not x, of bools."""
    return _logical("bitwise_invert", x)


def _logical(name: str, *values: TensorLike) -> Tensor:
    return call_elementwise(TABLE[name], [astype(value, dt.bool_) for value in values])


def reciprocal(x: TensorLike) -> Tensor:
    """1 / x."""
    return divide(1.0, x)


def silu(x: TensorLike) -> Tensor:
    """x · sigmoid(x)."""
    return multiply(x, sigmoid(x))


def clip(x: TensorLike, min: TensorLike = None, max: TensorLike = None) -> Tensor:
    """x kept between `min` and `max`, either of which may be None; derivative 1 at the bounds."""
    result = as_tensor(x)
    if min is not None:
        result = maximum(result, min)
    return result if max is None else minimum(result, max)


def identity(x: TensorLike) -> Tensor:
    """x itself."""
    return as_tensor(x)


true_divide = divide
power = pow
mod = remainder
rint = round
absolute = abs
invert = bitwise_invert
