# pyright: standard
"""Formulas for ops whose reference is more than one function of NumPy, made in another way.

Maths in more digits, integers by Python's own, what moves numbers entry by entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

from gradloom.ir import dtypes as dt

from .formulas_cumulative import FORMULAS as CUMULATIVE
from .formulas_linalg import EQUATIONS as EQUATIONS
from .formulas_linalg import FORMULAS as LINALG
from .formulas_random import FORMULAS as RANDOM
from .formulas_shape import FORMULAS as SHAPE
from .formulas_shape import by_entry
from .formulas_windows import FORMULAS as WINDOWS

NumpyArray = np.ndarray[Any, Any]


def _wide(function: Callable[..., Any]) -> Callable[..., Any]:
    """A formula over NumPy's longdouble."""

    def formula(*arrays: NumpyArray, **attrs: Any) -> Any:
        return function(*(np.asarray(a, np.longdouble) for a in arrays), **attrs)

    return formula


def _exact(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """A formula over mpmath's numbers with 50 digits."""

    def scalar(x: Any) -> float:
        with mpmath.workdps(50):
            return float(function(mpmath.mpf(float(x))))

    return np.vectorize(scalar, otypes=[np.float64])


def _beyond(x: Any, low: int, high: int) -> Any:
    """What goes to −inf and inf at the ends of an interval, and is nan outside."""
    return -mpmath.inf if x == low else mpmath.inf if x == high else mpmath.nan


def _erfinv(x: Any) -> Any:
    return mpmath.erfinv(x) if -1 < x < 1 else _beyond(x, -1, 1)


def _softmax(x: NumpyArray, axis: int) -> Any:
    e = np.exp(x - np.max(x, axis, keepdims=True, initial=-np.inf))
    return e / np.sum(e, axis, keepdims=True)


def _cast(x: NumpyArray, dtype: dt.DType) -> NumpyArray:
    """By Python's own numbers."""
    limits = np.iinfo(dtype.numpy) if dtype.is_integer else None

    def one(value: Any) -> Any:
        if limits is not None and isinstance(value, float):
            if math.isnan(value):
                return 0
            whole = value if math.isinf(value) else int(value)
            return int(min(max(whole, int(limits.min)), int(limits.max)))
        if limits is not None:
            span = int(limits.max) - int(limits.min) + 1
            return (int(value) - int(limits.min)) % span + int(limits.min)
        return value

    flat = [one(value) for value in x.reshape(-1).tolist()]
    return np.array(flat, dtype.numpy).reshape(x.shape)


def _pieces(function: Any) -> Callable[..., Any]:
    def formula(x: NumpyArray, axis: int, chunk: int) -> Any:
        count = -(-x.shape[axis] // chunk)
        shape = [count if i == axis else 1 for i in range(x.ndim)]

        def piece(place: tuple[int, ...]) -> Any:
            start = place[axis] * chunk
            return function(np.take(x, range(start, min(start + chunk, x.shape[axis])), axis))

        if x.dtype == bool:
            return by_entry(shape, piece, x)
        return by_entry(shape, piece, x.astype(np.longdouble) if x.dtype.kind == "f" else x)

    return formula


def _lowest(x: NumpyArray, largest: bool = False) -> Any:
    if x.dtype.kind == "f":
        return np.inf if largest else -np.inf
    limits = np.iinfo(np.int8 if x.dtype == bool else x.dtype)
    return limits.max if largest else limits.min


def _extreme(largest: bool) -> Callable[..., Any]:
    def fold(x: NumpyArray, axes: Any = None) -> Any:
        keep = axes is not None
        if x.dtype == bool:
            return (np.any if largest else np.all)(x, axes, keepdims=keep)
        function: Any = np.max if largest else np.min
        return function(x, axes, keepdims=keep, initial=_lowest(x, not largest))

    return fold


def _embed(x: NumpyArray, starts: Any, steps: Any, shape: Any) -> Any:
    result = np.zeros(shape, x.dtype)
    for place in np.ndindex(*x.shape):
        result[tuple(b + s * i for b, s, i in zip(starts, steps, place, strict=True))] = x[place]
    return result


def _slice(x: NumpyArray, starts: Any, sizes: Any, steps: Any) -> Any:
    return by_entry(
        sizes,
        lambda place: x[tuple(b + s * i for b, s, i in zip(starts, steps, place, strict=True))],
        x,
    )


def _floor_divide(x: Any, y: Any) -> Any:
    """⌊x / y⌋ of Python's integers, 0 by 0; NumPy's own for floats."""
    if x.dtype.kind == "f":
        return np.floor_divide(x, y)
    pairs = zip(x.reshape(-1).tolist(), y.reshape(-1).tolist(), strict=True)
    whole = np.array([a // b if b else 0 for a, b in pairs], object)
    return _cast(whole, dt.as_dtype(x.dtype)).reshape(x.shape)


def _remainder(x: Any, y: Any) -> Any:
    if x.dtype.kind == "f":
        return np.remainder(x, y)
    pairs = zip(x.reshape(-1).tolist(), y.reshape(-1).tolist(), strict=True)
    return np.array([a % b if b else 0 for a, b in pairs], x.dtype).reshape(x.shape)


def _power(x: Any, y: Any) -> Any:
    """Python's powers of integers, wrapped; the quotient 1 / x⁻ʸ towards zero, 0 of 0."""
    if x.dtype.kind == "f":
        # glibc's powl(−inf, −2⁶³) is inf: of infinities in float64
        wide = np.power(x.astype(np.longdouble), y)
        return np.where(np.isinf(x), np.power(x.astype(np.float64), y), wide)
    span = 1 << 64

    def one(a: int, b: int) -> int:
        return pow(a, b, span) if b >= 0 else int(1 / a) ** (b % 2) if abs(a) == 1 else 0

    pairs = zip(x.reshape(-1).tolist(), y.reshape(-1).tolist(), strict=True)
    whole = np.array([one(a, b) for a, b in pairs], object)
    return _cast(whole, dt.as_dtype(x.dtype)).reshape(x.shape)


def _x_times(function: Any) -> Callable[..., Any]:
    def formula(x: NumpyArray, y: NumpyArray) -> Any:
        product = x.astype(np.longdouble) * function(y.astype(np.longdouble))
        return np.where((x == 0) & ~np.isnan(y), 0, product)

    return formula


def _iota(shape: Any, axis: int) -> Any:
    return by_entry(shape, lambda place: place[axis], np.zeros(0, np.int64))


# Formulas of their own for entries whose reference is more than one function of NumPy.
INDEPENDENT: dict[str, Callable[..., Any]] = {
    "cast": _cast,
    "fma": _wide(lambda x, y, z: x * y + z),
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "rsqrt": _wide(lambda x: 1 / np.sqrt(x)),
    "pow": _power,
    "erf": _exact(lambda x: mpmath.erf(x)),
    "erfc": _exact(lambda x: 0 if x > 100 else mpmath.erfc(x)),
    "erfinv": _exact(_erfinv),
    "normal_cdf": _exact(lambda x: 0 if x < -100 else mpmath.ncdf(x)),
    "logit": _exact(lambda x: mpmath.log(x / (1 - x)) if 0 < x < 1 else _beyond(x, 0, 1)),
    "xlogy": _x_times(np.log),
    "xlog1py": _x_times(np.log1p),
    "sigmoid": _exact(lambda x: 1 / (1 + mpmath.exp(-x))),
    "softplus": _exact(lambda x: mpmath.log(1 + mpmath.exp(x))),
    "relu": lambda x: np.where(x < 0, 0, x).astype(x.dtype),
    "wrap_index": lambda index, size: (np.mod(index, size)).astype(index.dtype),
    "stop_gradient": lambda x: x,
    "pin": lambda x: x,
    "sum": lambda x, axes: np.sum(
        x, axes, dtype=np.longdouble if x.dtype.kind == "f" else x.dtype, keepdims=True
    ),
    "max": _extreme(largest=True),
    "min": _extreme(largest=False),
    "prod": lambda x, axes: np.prod(
        x, axes, dtype=np.longdouble if x.dtype.kind == "f" else x.dtype, keepdims=True
    ),
    "partial_prod": _pieces(lambda piece: np.prod(piece, dtype=piece.dtype)),
    "partial_sum": _pieces(lambda piece: np.sum(piece, dtype=piece.dtype)),
    "partial_max": _pieces(_extreme(largest=True)),
    "partial_min": _pieces(_extreme(largest=False)),
    "matmul": lambda x, y: np.einsum("...ik,...kj->...ij", x, y),
    "softmax": _wide(_softmax),
    "log_softmax": _wide(lambda x, axis: np.log(_softmax(x, axis))),
    "logsumexp": _wide(lambda x, axes: np.log(np.sum(np.exp(x), axes, keepdims=True))),
    "embed": _embed,
    "slice": _slice,
    "iota": _iota,
    **RANDOM,
    **SHAPE,
    **CUMULATIVE,
    **LINALG,
    **WINDOWS,
}
