# pyright: basic
"""2^n and multiplication by it, emitted as LLVM IR; see `maths`."""

from __future__ import annotations

from llvmlite import ir

from . import native
from .lanes import Lanes, declare, integer_type

FRACTION_BITS = {32: 23, 64: 52}
BIAS = {32: 127, 64: 1023}
REGISTER = 512  # bits of the vectors that `vscalef` takes
CURRENT_ROUNDING = 4


def power_of_two(exponent: Lanes, factor: float = 1.0) -> Lanes:
    """factor·2^exponent of an integer vector, in the range of normal numbers; of factor 1 it is 0
    one below that."""
    start = exponent.as_floats().constant(factor).as_bits()
    return ((exponent << FRACTION_BITS[exponent.bits]) + start).as_floats()


def scale(x: Lanes, exponent: Lanes, number: Lanes | None = None) -> Lanes:
    """x·2^exponent for any exponent within twice the dtype's, rounded once if x is about 1.

    number: the integer `exponent` as a float, where that is at hand.  AVX-512 has an instruction
    that wants it so, and gives the same bits as the two multiplications.
    """
    if number is not None and _has_instruction(x):
        return _scale_by_instruction(x, number)
    half = exponent >> 1
    return x * power_of_two(half) * power_of_two(exponent - half)


def _has_instruction(x: Lanes) -> bool:
    is_vector = isinstance(x.type, ir.VectorType)
    return is_vector and x.type.count * x.bits % REGISTER == 0 and native.host().lanes == 16


def _scale_by_instruction(x: Lanes, number: Lanes) -> Lanes:
    """`vscalefps` or `vscalefpd` on each register that the vectors fill."""
    count = REGISTER // x.bits
    parts = [
        _scaled(x.part(first, count), number.part(first, count))
        for first in range(0, x.type.count, count)
    ]
    return Lanes.joined(parts)


def _scaled(x: Lanes, number: Lanes) -> Lanes:
    mask, rounding = integer_type(x.type.count), integer_type(32)
    name = f"llvm.x86.avx512.mask.scalef.{'ps' if x.bits == 32 else 'pd'}.512"
    callee = declare(x.builder.module, name, x.type, [x.type] * 3 + [mask, rounding])
    everywhere, as_it_is = ir.Constant(mask, -1), ir.Constant(rounding, CURRENT_ROUNDING)
    arguments = [x.value, number.value, x.value, everywhere, as_it_is]
    return Lanes(x.builder, x.builder.call(callee, arguments))
