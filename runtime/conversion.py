# pyright: basic
"""Conversions between the dtypes, lane by lane, emitted as LLVM IR.

The rules hold on every target and for every value: integers wrap, floats become integers by
truncation and saturate, NaN becomes 0, a number is true unless it is 0, what becomes a half (see
`half`) is rounded once.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from . import half, native
from .half import HALVES
from .lanes import DOUBLE, FLOAT, Lanes, bit_width, integer_type, select

INTEGERS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
FLOATS = ("f32", "f64")
DTYPES = ("bool", *INTEGERS, *FLOATS)  # those that there is arithmetic on
STORED = (*DTYPES, *HALVES)


def is_signed(dtype: str) -> bool:
    return dtype.startswith("i")


def register_type(dtype: str) -> Any:
    """LLVM's type of one lane in a register; of a half its bits."""
    if dtype == "bool":
        return integer_type(1)
    if dtype in FLOATS:
        return FLOAT if dtype == "f32" else DOUBLE
    if dtype in HALVES:
        return integer_type(16)
    return integer_type(int(dtype[1:]))


def memory_type(dtype: str) -> Any:
    """LLVM's type of one element in memory, where a bool is a byte."""
    return integer_type(8) if dtype == "bool" else register_type(dtype)


def item_size(dtype: str) -> int:
    """Bytes of one element in memory."""
    return bit_width(memory_type(dtype)) // 8


def float_to_integer(x: Lanes, dtype: str) -> Lanes:
    """Truncation towards zero, saturating; NaN gives 0.

    LLVM's own saturating conversion becomes scalar code, lane by lane, on x86. The bounds are
    powers of two, so that each is exact in either float.
    """
    signed = is_signed(dtype)
    bits = int(dtype[1:])
    top = 2 ** (bits - 1) if signed else 2**bits
    bottom = -top if signed else 0
    inside = (x >= float(bottom)) & (x < float(top))
    safe = select(inside, x, 0.0)
    # Narrow integers are converted through 32 bits, for which there are instructions.
    wide = integer_type(max(bits, 32))
    whole = safe.cast("fptosi" if signed or bits < 32 else "fptoui", wide)
    whole = whole if bits >= 32 else whole.cast("trunc", integer_type(bits))
    result = select(x >= float(top), whole.constant(top - 1), whole)
    return select(x < float(bottom), result.constant(bottom), result) if signed else result


def convert(x: Lanes, source: str, target: str) -> Lanes:
    """`x` of dtype `source` as dtype `target`; scalars as well as vectors."""
    if source == target:
        return x
    if source in HALVES:
        return convert(half.widen(x, source, native.host().halves), "f32", target)
    if target in HALVES:
        return half.narrow(nearly(x, source), target, native.host().halves)
    element = register_type(target)
    if target == "bool":
        return x != 0
    if source in FLOATS:
        if target in FLOATS:
            return x.cast("fpext" if target == "f64" else "fptrunc", element)
        return float_to_integer(x, target)
    if target in FLOATS:
        return x.cast("sitofp" if is_signed(source) else "uitofp", element)
    if isinstance(element, ir.IntType) and element.width > x.bits:
        return x.cast("sext" if is_signed(source) else "zext", element)
    return x.cast("trunc", element) if element.width < x.bits else x


def nearly(x: Lanes, source: str) -> Lanes:
    """`x` as float32, so that what is rounded to a half from there is rounded as if once."""
    if source in ("i64", "u64"):
        return half.to_odd(half.exact_double(x, is_signed(source)))
    if source in ("i32", "u32", "f64"):
        return half.to_odd(convert(x, source, "f64"))
    return convert(x, source, "f32")
