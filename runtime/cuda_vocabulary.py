# pyright: standard
"""The names that CUDA kernels are written in, in two forms: for plain Python and for a device.

``python_vocabulary()`` works on NumPy scalars: kernels then run in a simulator, and it says in
a few lines what every name means.  ``runtime/cuda_intrinsics.py`` says the same to a compiler.

 - ``f32``, ``i64``, ``boolean`` …: convert, or give a number a dtype.  Floats become integers
   towards zero, saturating, nan giving 0.  ``float32``, ``uint8`` …: types of shared arrays.
 - ``f16``, ``bf16``: round to a half, which is its bits, a uint16; ``from_f16``, ``from_bf16``: the
   float32 that such bits stand for.
 - ``index``: the integer type of indices.  ``quotient``, ``modulus``: of an index that is not
   negative by a size; ``clamp(value, extent)``: the index in [0, extent) that is nearest.
 - ``floor_divide``, ``remainder``: as NumPy's, integers by 0 giving 0; ``invert``: bitwise, on
   bools logical; ``maximum``, ``minimum``: nan if one is.
 - ``left_shift``, ``right_shift``: of integers; by a count outside of [0, bits) all bits go, and
   the sign fills up.  ``power`` of integers wraps; a negative exponent gives 1 / x, towards zero.
 - ``where(condition, x, y)``, ``fma(x, y, z)`` (rounded once), and functions by NumPy's names.
 - ``gated_multiply``, ``gated_divide``: as the ops of that name, which derivatives are full of, so
   that one name compiles faster than their formula does.
 - ``word(x)``: what a status word tells of a number: an int64, or the bits of a float64.
 - ``philox(counter, key0, key1, stream, word)``: that word of Philox4x32-10, uint32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.dtypes import ALL, HALVES, DType
from ..ir.half import converted
from ..ir.op import TABLE

Vocabulary = dict[str, Any]

# Names of one operand and one result of the same float dtype, with libdevice's name for them.
FLOAT_FUNCTIONS = {
    "sqrt": "sqrt",
    "exp": "exp",
    "exp2": "exp2",
    "expm1": "expm1",
    "log": "log",
    "log1p": "log1p",
    "log2": "log2",
    "log10": "log10",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "asin": "asin",
    "acos": "acos",
    "atan": "atan",
    "sinh": "sinh",
    "cosh": "cosh",
    "tanh": "tanh",
    "asinh": "asinh",
    "acosh": "acosh",
    "atanh": "atanh",
    "cbrt": "cbrt",
    "erf": "erf",
    "erfc": "erfc",
    "erfinv": "erfinv",
    "normal_cdf": "normcdf",
    "floor": "floor",
    "ceil": "ceil",
    "rint": "rint",
    "trunc": "trunc",
}


def _cast(dtype: DType) -> Callable[[Any], Any]:
    scalar = dtype.numpy.type

    def convert(x: Any) -> Any:
        if dtype.is_integer and isinstance(x, (float, np.floating)):
            limits = np.iinfo(dtype.numpy)
            if np.isnan(x):
                return scalar(0)
            if x <= float(limits.min):
                return scalar(limits.min)
            return scalar(limits.max) if x >= float(limits.max) else scalar(int(x))
        if dtype.is_integer and isinstance(x, (int, np.integer)):
            bits = int(x) & ((1 << dtype.bits) - 1)
            if dtype.kind == "i" and bits >> (dtype.bits - 1):
                bits -= 1 << dtype.bits
            return scalar(bits)
        return scalar(x)

    return convert


def _by_zero(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def call(x: Any, y: Any) -> Any:
        if isinstance(x, np.floating) or y != 0:
            return function(x, y)
        return x.dtype.type(0)

    return call


def _floor_divide(x: Any, y: Any) -> Any:
    if isinstance(x, np.floating) and (np.isinf(x) or np.isinf(y)):
        return x / y
    return np.floor_divide(x, y)


def _power(x: Any, y: Any) -> Any:
    if isinstance(x, np.floating):
        return np.power(x, y)
    base, exponent = int(x), int(y)
    if exponent >= 0:
        bits = 8 * x.dtype.itemsize
        power = pow(base, exponent, 1 << bits)
        signed = x.dtype.kind == "i" and power >> (bits - 1)
        return x.dtype.type(power - (1 << bits) if signed else power)
    unit = base if exponent % 2 else 1  # of ±1
    return x.dtype.type(unit if abs(base) == 1 else 0)


def _fma(x: Any, y: Any, z: Any) -> Any:
    if x.dtype == np.float32:  # the product is exact in float64
        return np.float32(float(x) * float(y) + float(z))
    return x * y + z


def _sigmoid(x: Any) -> Any:
    one = x.dtype.type(1)
    e = np.exp(-np.abs(x))
    return one / (one + e) if x >= 0 else e / (one + e)


def _word(x: Any) -> Any:
    return np.float64(x).view(np.int64) if isinstance(x, np.floating) else np.int64(x)


def _to_half(dtype: DType) -> Callable[[Any], Any]:
    return lambda x: converted(np.asarray(x), dtype).view(np.uint16)[()]


def _from_half(dtype: DType) -> Callable[[Any], Any]:
    return lambda bits: np.uint16(bits).view(dtype.numpy).astype(np.float32)


_MASK = 0xFFFFFFFF
PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
PHILOX_STEPS = (0x9E3779B9, 0xBB67AE85)


def _philox(counter: Any, key0: Any, key1: Any, stream: Any, word: Any) -> Any:
    number, first, second = int(counter), int(key0), int(key1)
    words = [number & _MASK, (number >> 32) & _MASK, int(stream), 0]
    for _ in range(10):
        p, q = (m * w for m, w in zip(PHILOX_MULTIPLIERS, words[::2], strict=True))
        words = [(q >> 32) ^ words[1] ^ first, q & _MASK, (p >> 32) ^ words[3] ^ second, p & _MASK]
        first, second = (
            (k + s) & _MASK for k, s in zip((first, second), PHILOX_STEPS, strict=True)
        )
    return np.uint32(words[int(word)])


def python_vocabulary() -> Vocabulary:
    """The vocabulary over NumPy scalars."""
    functions = {name: getattr(np, name) for name in FLOAT_FUNCTIONS if hasattr(np, name)}
    numbers = [dtype for dtype in ALL if dtype.kind != "b" and not dtype.is_half]
    casts = {dtype.short: _cast(dtype) for dtype in numbers}
    casts |= {dtype.short: _to_half(dtype) for dtype in HALVES}
    casts |= {f"from_{dtype}": _from_half(dtype) for dtype in HALVES}
    types = {dtype.name: dtype.numpy.type for dtype in numbers}
    return {
        **types,
        **casts,
        **functions,
        "boolean": np.bool_,
        "nan": math.nan,
        "inf": math.inf,
        "index": int,
        "quotient": lambda n, size: n // size,
        "modulus": lambda n, size: n % size,
        "clamp": lambda value, extent: max(min(int(value), extent - 1), 0),
        "floor_divide": _by_zero(_floor_divide),
        "remainder": _by_zero(np.remainder),
        "invert": np.invert,
        "maximum": np.maximum,
        "minimum": np.minimum,
        "absolute": np.abs,
        "sign": np.sign,
        "isnan": np.isnan,
        "isinf": np.isinf,
        "isfinite": np.isfinite,
        "where": lambda condition, x, y: x if condition else y,
        "word": _word,
        "fma": _fma,
        "power": _power,
        "left_shift": np.left_shift,
        "right_shift": np.right_shift,
        "copysign": np.copysign,
        "signbit": np.signbit,
        "nextafter": np.nextafter,
        "hypot": np.hypot,
        "atan2": np.atan2,
        "erf": lambda x: x.dtype.type(math.erf(x)),
        "erfc": lambda x: x.dtype.type(math.erfc(x)),
        "erfinv": lambda x: TABLE["erfinv"].reference(x)[()],
        "normal_cdf": lambda x: TABLE["normal_cdf"].reference(x)[()],
        "rsqrt": lambda x: x.dtype.type(1) / np.sqrt(x),
        "sigmoid": _sigmoid,
        "normal_quantile": lambda x: x.dtype.type(TABLE["normal_quantile"].reference(x)),
        "gated_multiply": lambda x, y: TABLE["gated_multiply"].reference(x, y)[()],
        "gated_divide": lambda x, y: TABLE["gated_divide"].reference(x, y)[()],
        "philox": _philox,
    }
