# pyright: basic
"""Reduction of large angles to a quadrant, emitted as LLVM IR.

For |x| ≥ 2^20 the product x·2/π needs as many bits of 2/π as the exponent of x is large; but bits
worth 4 or more turn the angle by whole circles and may be left out (Payne and Hanek, 1983). So a
table holds, for each range of 32 exponents, (2^base · 2/π) mod 4 as a sum of four floats. Products
with them are exact as pairs of floats, and what is a multiple of 4 is dropped from each.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from llvmlite import ir

from .coefficients import HALF_PI
from .lanes import DOUBLE, Lanes, absolute, constant, declare, fma, integer_type, like, select
from .maths import BIAS, FRACTION_BITS, round_to_integer

LARGE_EXPONENT = 20
LARGE = 2.0**LARGE_EXPONENT
RANGE = 32
PARTS = 4
# Bits behind the point of the integers that the table is computed with.
DIGITS = 1400

Pair = tuple[Lanes, Lanes]


def _arccotangent(n: int, one: int) -> int:
    """one·arccot(n), by its series."""
    power, total, k = one // n, 0, 0
    while power:
        total += -power // (2 * k + 1) if k % 2 else power // (2 * k + 1)
        power //= n * n
        k += 1
    return total


def _base(group: int) -> int:
    """Exponent of the power of two that a group's angles are divided by."""
    return LARGE_EXPONENT + RANGE * group - FRACTION_BITS[64]


@functools.cache
def two_over_pi_parts() -> list[float]:
    """(2^base · 2/π) mod 4 in four parts, for every group of exponents."""
    one = 1 << DIGITS
    pi = 4 * (4 * _arccotangent(5, one) - _arccotangent(239, one))
    two_over_pi = (2 * one * one) // pi
    groups = (BIAS[64] - LARGE_EXPONENT) // RANGE + 1
    parts = []
    for group in range(groups):
        base = _base(group)
        # In units of 2^-kept, few enough for a float's range.
        kept = 300
        shift = DIGITS - kept - base
        rest = (two_over_pi >> shift) % (4 << kept)
        for _ in range(PARTS):
            part = math.ldexp(float(rest), -kept)
            rest -= int(math.ldexp(part, kept))
            parts.append(part)
    return parts


def _table(module: ir.Module) -> Any:
    found: Any = module.globals.get("gradloom_two_over_pi")
    if found is None:
        parts = two_over_pi_parts()
        array = ir.ArrayType(DOUBLE, len(parts))
        found = ir.GlobalVariable(module, array, "gradloom_two_over_pi")
        found.linkage, found.global_constant = "internal", True
        found.initializer = ir.Constant(array, parts)
    return found


def _part(table: Any, row: Lanes, number: int) -> Lanes:
    """One part of each lane's group."""
    builder, count = row.builder, row.type.count
    pointer = ir.PointerType()
    start = builder.bitcast(table, pointer)
    address = builder.gep(start, [(row * PARTS + number).value], source_etype=DOUBLE)
    # llvmlite has no notion of a gep over a vector of indices; LLVM does.
    address.type = ir.VectorType(pointer, count)
    vector = ir.VectorType(DOUBLE, count)
    everywhere = constant(ir.VectorType(integer_type(1), count), 1)
    align = ir.Constant(integer_type(32), 8)
    arguments = [address, align, everywhere, constant(vector, 0.0)]
    name = f"llvm.masked.gather.v{count}f64.v{count}p0"
    callee = declare(builder.module, name, vector, [x.type for x in arguments])
    return Lanes(builder, builder.call(callee, arguments))


def _modulo_four(x: Lanes) -> Lanes:
    """x less a multiple of 4, exactly."""
    return x - (x * 0.25).function("rint") * 4.0


def _two_product(a: Lanes, b: Lanes) -> Pair:
    high = a * b
    return high, fma(a, b, -high)


def _two_sum(a: Lanes, b: Lanes) -> Pair:
    high = a + b
    back = high - a
    return high, (a - (high - back)) + (b - back)


def _reduce_double(x: Lanes, table: Any) -> Pair:
    """n modulo 4, as a float, and r of a finite x ≥ LARGE."""
    word = x.as_bits()
    row = ((word >> FRACTION_BITS[64]) - (BIAS[64] + LARGE_EXPONENT)) >> (RANGE.bit_length() - 1)
    row = select(row < 0, 0, row)
    base = row * RANGE + _base(0)
    scaled = (word - (base << FRACTION_BITS[64])).as_floats()
    products = [_two_product(scaled, _part(table, row, number)) for number in range(PARTS)]
    # Terms from about 2 downwards: each pair's high part is as large as the low part before it.
    a, a_low = _two_sum(_modulo_four(products[0][0]), _modulo_four(products[0][1]))
    b, b_low = _two_sum(a, _modulo_four(products[1][0]))
    whole = b.function("rint")
    b = b - whole
    small, tail = _two_sum(a_low, b_low)
    for term in (_modulo_four(products[1][1]), products[2][0]):
        small, lost = _two_sum(small, term)
        tail = tail + lost
    tail = tail + products[2][1] + products[3][0]
    # They may carry the fraction 2^-18 beyond a half, which the polynomials allow for.
    high, low = _two_sum(b, small)
    low = low + tail
    main, half_pi = high * HALF_PI[64][0], HALF_PI[64]
    rest = fma(high, half_pi[0], -main) + fma(high, half_pi[1], low * half_pi[0])
    return whole, main + rest


def _define(function: ir.Function) -> None:
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    x = Lanes(builder, function.args[0])
    size = absolute(x if x.bits == 64 else x.cast("fpext", DOUBLE))
    n, r = _reduce_double(size, _table(function.module))
    negative = x < 0.0
    n, r = select(negative, -n, n), select(negative, -r, r)
    r = r if x.bits == 64 else r.cast("fptrunc", x.type.element)
    n = n if x.bits == 64 else n.cast("fptrunc", x.type.element)
    # Of infinity the result is NaN.
    pair = ir.Constant(function.function_type.return_type, ir.Undefined)
    pair = builder.insert_value(pair, round_to_integer(n)[1].value, 0)
    builder.ret(builder.insert_value(pair, (r + (x - x)).value, 1))


def reduce_large(x: Lanes) -> Pair:
    """n modulo 4, an integer vector, and r of x = n·π/2 + r, |r| ≤ π/4, for |x| ≥ LARGE."""
    module = x.builder.module
    name = f"gradloom_reduce_angle_f{x.bits}"
    function = module.globals.get(name)
    if function is None:
        result = ir.LiteralStructType([like(x.type, integer_type(x.bits)), x.type])
        function = ir.Function(module, ir.FunctionType(result, [x.type]), name)
        function.linkage = "internal"
        _define(function)
    both = x.builder.call(function, [x.value])
    return (
        Lanes(x.builder, x.builder.extract_value(both, 0)),
        Lanes(x.builder, x.builder.extract_value(both, 1)),
    )
