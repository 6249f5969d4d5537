# pyright: basic
"""float16 and bfloat16 to float32 and back, emitted as LLVM IR.

A half in a register is the 16 bits of it, as an integer. The formulas below are integer arithmetic
on these bits, for any processor, a GPU too; a processor that has instructions for float16 is left
to use them, with the same results but for what a nan carries. Without them LLVM would call a
function of libgcc, and kernels call nothing.
"""

from __future__ import annotations

from llvmlite import ir

from .lanes import DOUBLE, FLOAT, Lanes, integer_type, select

HALVES = ("f16", "bf16")
HALF = ir.HalfType()  # LLVM's own float16


def widen(half: Lanes, dtype: str, instructions: bool) -> Lanes:
    """The float32 that is equal to each half; `half` holds their bits."""
    if dtype == "f16" and instructions:
        return half.cast("bitcast", HALF).cast("fpext", FLOAT)
    bits = half.cast("zext", integer_type(32))
    if dtype == "bf16":  # the upper half of a float32
        return (bits << 16).as_floats()
    magnitude = bits & 0x7FFF
    # Read as float32, exponents are too small by 127 - 15; the product is exact, subnormals too.
    scaled = ((magnitude << 13).as_floats() * 2.0**112).as_bits()
    result = select(magnitude < 0x7C00, scaled, scaled | 0x7F800000)  # infinities and nan
    return (result | (bits & 0x8000) << 16).as_floats()


def narrow(x: Lanes, dtype: str, instructions: bool) -> Lanes:
    """The bits of the half nearest to each float32, ties to even, once too large infinite."""
    if dtype == "f16" and instructions:
        return x.cast("fptrunc", HALF).cast("bitcast", integer_type(16))
    rounded = _narrow_bf16(x) if dtype == "bf16" else _narrow_f16(x)
    return rounded.cast("trunc", integer_type(16))


def _to_even(bits: Lanes, dropped: int) -> Lanes:
    """The bits without the last `dropped`, rounded; a carry is right to run into the exponent."""
    is_odd = bits.shift_right_logical(dropped) & 1
    return (bits + (2 ** (dropped - 1) - 1) + is_odd).shift_right_logical(dropped)


def _narrow_bf16(x: Lanes) -> Lanes:
    bits = x.as_bits()
    return select(x == x, _to_even(bits, 16), bits.shift_right_logical(16) | 0x40)


def _narrow_f16(x: Lanes) -> Lanes:
    bits = x.as_bits()
    magnitude = bits & 0x7FFFFFFF
    normal = _to_even(magnitude - ((127 - 15) << 23), 13)
    # Below 2**-14 the last place is 2**-24 for all, as it is in [0.5, 1): adding 0.5 rounds to it.
    half = x.constant(0.5)
    subnormal = (magnitude.as_floats() + half).as_bits() - half.as_bits()
    result = select(magnitude < ((127 - 14) << 23), subnormal, normal)
    result = select(magnitude < ((127 + 16) << 23), result, 0x7C00)
    result = select(x == x, result, 0x7E00)
    return result | bits.shift_right_logical(16) & 0x8000


def to_odd(x: Lanes) -> Lanes:
    """float64 as float32, rounded towards zero, the last bit set if that was inexact.

    What is then rounded to a half is rounded as if once (see ``ir/half.py``).
    """
    near = x.cast("fptrunc", FLOAT)
    back = near.cast("fpext", DOUBLE)
    got, wanted = _magnitude(back), _magnitude(x)
    up, down = got > wanted, got < wanted  # neither where x is nan
    towards_zero = near.as_bits() - up.cast("zext", integer_type(32))
    return (towards_zero | (up | down).cast("zext", integer_type(32))).as_floats()


def _magnitude(x: Lanes) -> Lanes:
    return (x.as_bits() & (2**63 - 1)).as_floats()


def exact_double(x: Lanes, signed: bool) -> Lanes:
    """Integers of 64 bits as float64, to odd where they have more bits than that."""
    limit = 2**53
    large = x.compare(">=", limit, signed)
    odd = (x & ~4095) | ((x & 4095) != 0).cast("zext", integer_type(64)) << 12
    if signed:
        large = large | (x <= -limit)
    return select(large, odd, x).cast("sitofp" if signed else "uitofp", DOUBLE)
