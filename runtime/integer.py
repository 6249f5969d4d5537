# pyright: basic
"""Integer arithmetic that cannot trap, and the random number generator, emitted as LLVM IR."""

from __future__ import annotations

from llvmlite import ir

from .lanes import DOUBLE, FLOAT, Lanes, any_lane, constant, integer_type, select

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)


def _truncating_quotient(a: Lanes, b: Lanes, signed: bool) -> Lanes:
    """a / b towards zero for a divisor that is not 0, and no overflow.

    Up to 32 bits by a division of floats, which vectors have: if the quotient is no integer it is
    at least 1/a away from one, relatively, and that is more than the float's rounding.
    """
    if a.bits == 64:
        emit = a.builder.sdiv if signed else a.builder.udiv
        return Lanes(a.builder, emit(a.value, b.value))
    extend, to_float, to_integer = (
        ("sext", "sitofp", "fptosi") if signed else ("zext", "uitofp", "fptoui")
    )
    whole = a.value.type.element
    middle = integer_type(32)
    float_type = FLOAT if a.bits <= 16 else DOUBLE

    def widen(x: Lanes) -> Lanes:
        return x.cast(extend, middle).cast(to_float, float_type)

    return (widen(a) / widen(b)).cast(to_integer, middle).cast("trunc", whole)


def divide(a: Lanes, b: Lanes, signed: bool) -> tuple[Lanes, Lanes]:
    """Quotient rounded down and remainder with the divisor's sign; by 0 both are 0."""
    by_zero = b == 0
    smallest = 1 << (a.bits - 1)
    unsafe = by_zero | ((b == -1) & (a == smallest)) if signed else by_zero
    # a / 1 is what the smallest integer over −1 wraps to.
    divisor = select(unsafe, b.constant(1), b)
    quotient = _truncating_quotient(a, divisor, signed)
    remainder = a - quotient * divisor
    if signed:
        down = (remainder != 0) & ((remainder ^ divisor) < 0)
        quotient = select(down, quotient - 1, quotient)
        remainder = select(down, remainder + divisor, remainder)
    return select(by_zero, quotient.constant(0), quotient), select(
        by_zero, remainder.constant(0), remainder
    )


def _define_power(function: ir.Function) -> None:
    """The function a^b of b as an unsigned number: a square for each bit of b until none is set."""
    entry, loop, end = (function.append_basic_block(n) for n in ("entry", "loop", "end"))
    a, b = function.args
    one = constant(a.type, 1)
    builder = ir.IRBuilder(entry)
    builder.branch(loop)

    builder = ir.IRBuilder(loop)
    result, base, rest = (Lanes(builder, builder.phi(a.type)) for _ in range(3))
    product = select((rest & 1) != 0, result * base, result)
    square, following = base * base, rest.shift_right_logical(1)
    for phi, first, later in (
        (result, one, product),
        (base, a, square),
        (rest, b, following),
    ):
        phi.value.add_incoming(first, entry)
        phi.value.add_incoming(later.value, loop)
    builder.cbranch(any_lane(following != 0), loop, end)
    ir.IRBuilder(end).ret(product.value)


def power(a: Lanes, b: Lanes, signed: bool) -> Lanes:
    """a^b, which wraps; for negative b 1 / a^−b towards zero, where 1 / 0 is 0."""
    name = f"gradloom_power_i{a.bits}"
    function = a.builder.module.globals.get(name)
    if function is None:
        signature = ir.FunctionType(a.type, [a.type, a.type])
        function = ir.Function(a.builder.module, signature, name)
        function.linkage = "internal"
        _define_power(function)
    if not signed:
        return Lanes(a.builder, a.builder.call(function, [a.value, b.value]))
    # Of negative exponents only ±1 keep anything, and there the sign of the exponent is nothing.
    negative = b < 0
    unit = (a == 1) | (a == -1)
    exponent = select(negative, b & 1, b)
    result = Lanes(a.builder, a.builder.call(function, [a.value, exponent.value]))
    return select(negative & ~unit, 0, result)


def shift_left(a: Lanes, count: Lanes) -> Lanes:
    """a·2^count; 0 where the count is not in [0, bits)."""
    inside = count.compare("<", a.bits, signed=False)
    return select(inside, a << select(inside, count, 0), 0)


def shift_right(a: Lanes, count: Lanes, signed: bool) -> Lanes:
    """a / 2^count rounded down; only the sign is left where the count is not in [0, bits)."""
    inside = count.compare("<", a.bits, signed=False)
    if signed:
        return a >> select(inside, count, a.bits - 1)
    return select(inside, a.shift_right_logical(select(inside, count, 0)), 0)


def philox(counter: Lanes, key0: Lanes, key1: Lanes, stream: Lanes, word: Lanes) -> Lanes:
    """One of the four words of Philox4x32-10 of the counter (low, high, stream, 0) and the key.

    Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).  Each word
    has 64 bits to itself, of which the upper half is never read: so the products of 32 by 32 bits
    need no moving of lanes.  `word` is a constant in kernels, and LLVM drops the choice; where a
    kernel asks for several words of one counter it computes the rounds once.
    """
    wide, low = integer_type(64), 0xFFFFFFFF
    chosen = word.cast("zext", wide)
    k0, k1 = key0.cast("zext", wide), key1.cast("zext", wide)
    c0, c1, c2 = counter, counter.shift_right_logical(32), stream.cast("zext", wide)
    c3 = c2.constant(0)
    for _ in range(10):
        p0, p1 = (c0 & low) * MULTIPLIERS[0], (c2 & low) * MULTIPLIERS[1]
        c0, c2 = p1.shift_right_logical(32) ^ c1 ^ k0, p0.shift_right_logical(32) ^ c3 ^ k1
        c1, c3 = p1, p0
        k0, k1 = k0 + KEY_STEPS[0], k1 + KEY_STEPS[1]
    found = select(chosen == 0, c0, select(chosen == 1, c1, select(chosen == 2, c2, c3)))
    return found.cast("trunc", integer_type(32))
