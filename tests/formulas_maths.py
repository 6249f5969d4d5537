# pyright: standard
"""Independent formulas for element-wise ops: mpmath's digits, Python's integers.

Most entries need none here: a reference that is one function of NumPy stands for itself, and where
an entry's `code` is a formula of other functions, that is the second definition (`by_code`).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

from gradloom.ir import dtypes as dt
from gradloom.ir.op import Op

NumpyArray = np.ndarray[Any, Any]


def _exact(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """A formula over mpmath's numbers with 50 digits."""

    def scalar(x: Any) -> float:
        with mpmath.workdps(50):
            return float(function(mpmath.mpf(float(x))))

    return np.vectorize(scalar, otypes=[np.float64])


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


def _beyond(x: Any, low: int, high: int) -> Any:
    """What goes to −inf and inf at the ends of an interval, and is nan outside."""
    return -mpmath.inf if x == low else mpmath.inf if x == high else mpmath.nan


def _erfinv(x: Any) -> Any:
    return mpmath.erfinv(x) if -1 < x < 1 else _beyond(x, -1, 1)


def _floor_divide(x: Any, y: Any) -> Any:
    """⌊x / y⌋ of Python's integers, 0 by 0; NumPy's own for floats that are finite."""
    if x.dtype.kind == "f":
        finite = np.isfinite(x) & np.isfinite(y)
        return np.where(finite, np.floor_divide(x, y), x / y)
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


def _tanh_gelu(x: Any) -> Any:
    if abs(x) > 1000:
        return max(x, 0)
    u = mpmath.sqrt(8 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)
    return x / (1 + mpmath.exp(-u))


FORMULAS: dict[str, Callable[..., Any]] = {
    "cast": _cast,
    "fma": lambda x, y, z: x.astype(np.longdouble) * y + z,
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "pow": _power,
    "erf": _exact(lambda x: mpmath.erf(x)),
    "erfc": _exact(lambda x: 0 if x > 100 else mpmath.erfc(x)),
    "erfinv": _exact(_erfinv),
    "normal_cdf": _exact(lambda x: 0 if x < -100 else mpmath.ncdf(x)),
    "logit": _exact(lambda x: mpmath.log(x / (1 - x)) if 0 < x < 1 else _beyond(x, 0, 1)),
    "xlogy": _x_times(np.log),
    "xlog1py": _x_times(np.log1p),
    "sigmoid": _exact(lambda x: 1 / (1 + mpmath.exp(-x))),
    "tanh_gelu": _exact(_tanh_gelu),
    "tanh_gelu_slope": _exact(
        lambda x: float(x > 0) if abs(x) > 1000 else mpmath.diff(_tanh_gelu, x, h=1e-20)
    ),
}


def called(code: str) -> set[str]:
    """The functions that an entry's code calls."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    return {ast.unparse(call.func) for call in calls}


def by_code(op: Op) -> Callable[..., Any]:
    """An element-wise entry's code as a formula: in NumPy's longdouble, or in mpmath's digits
    where it calls what NumPy lacks; integers in their own dtype."""
    functions = {name: FORMULAS.get(name) or getattr(np, name) for name in called(op.code)}

    def formula(*arrays: NumpyArray) -> Any:
        wide = [a.astype(np.longdouble) if a.dtype.kind == "f" else a for a in arrays]
        names = {**functions, **dict(zip(op.operands, wide, strict=True))}
        return eval(op.code, {"__builtins__": {}}, names)

    return formula
