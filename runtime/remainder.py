# pyright: basic
"""Floor division and remainder of floats, with NumPy's special values, emitted as LLVM IR."""

from __future__ import annotations

from llvmlite import ir

from .lanes import Lanes, absolute, any_lane, copysign, fma, select
from .maths import INF, NAN, split
from .scaling import scale

# A quotient of fewer bits than this is reduced exactly in one step.
STEP_BITS = {32: 20, 64: 48}


def _step(r: Lanes, b: Lanes) -> Lanes:
    """r mod b for 0 ≤ r and r/b < 2^22 (float32) or 2^51, exactly.

    The rounded quotient is at most one too large, and r − q·b has no more bits than b.
    """
    quotient = (r / b).function("trunc")
    rest = fma(-quotient, b, r)
    return select(rest < 0.0, rest + b, rest)


def _define_remainder(function: ir.Function) -> None:
    """The function r mod b of finite r ≥ 0, b > 0: long division, some 48 bits at a time."""
    entry, loop, end = (function.append_basic_block(n) for n in ("entry", "loop", "end"))
    start, b = function.args
    builder = ir.IRBuilder(entry)
    many = 2.0 ** (STEP_BITS[Lanes(builder, b).bits] + 1)
    builder.cbranch(any_lane(Lanes(builder, start) / Lanes(builder, b) > many), loop, end)

    builder = ir.IRBuilder(loop)
    current = builder.phi(start.type)
    r, divisor = Lanes(builder, current), Lanes(builder, b)
    difference = split(r)[1] - split(divisor)[1] - float(STEP_BITS[r.bits])
    large = r / divisor > many
    exponent = select(large, difference, 0.0).cast("fptosi", ir.IntType(r.bits))
    half = exponent >> 1
    shifted = scale(scale(divisor, half), exponent - half)
    following = select(large, _step(r, shifted), r)
    builder.cbranch(any_lane(following / divisor > many), loop, end)
    current.add_incoming(start, entry)
    current.add_incoming(following.value, loop)

    builder = ir.IRBuilder(end)
    last = builder.phi(start.type)
    last.add_incoming(start, entry)
    last.add_incoming(following.value, loop)
    builder.ret(_step(Lanes(builder, last), Lanes(builder, b)).value)


def fmod(a: Lanes, b: Lanes) -> Lanes:
    """a − b·trunc(a/b), exactly; a's sign."""
    name = f"gradloom_remainder_f{a.bits}"
    function = a.builder.module.globals.get(name)
    if function is None:
        signature = ir.FunctionType(a.type, [a.type, a.type])
        function = ir.Function(a.builder.module, signature, name)
        function.linkage = "internal"
        _define_remainder(function)
    size, divisor = absolute(a), absolute(b)
    usable = (size < INF) & (divisor > 0.0) & (divisor < INF)
    arguments = [select(usable, size, 0.0).value, select(usable, divisor, 1.0).value]
    result = copysign(Lanes(a.builder, a.builder.call(function, arguments)), a)
    unusual = select((divisor == INF) & (size < INF), a, NAN)
    return select(usable, result, unusual)


def divide(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """floor(a/b) and the remainder with b's sign, as NumPy's ``floor_divide`` and ``remainder``.

    But a quotient of or by an infinity is a/b, as the array API has it: ∞ // 2 = ∞, 2 // −∞ = −0.
    """
    rest = fmod(a, b)
    exact = rest == 0.0
    opposite = ((b < 0.0) ^ (rest < 0.0)) & ~exact
    quotient = (a - rest) / b
    quotient = select(opposite, quotient - 1.0, quotient)
    floor = quotient.function("floor")
    floor = select(quotient - floor > 0.5, floor + 1.0, floor)
    floor = select(quotient == 0.0, copysign(quotient.constant(0.0), a / b), floor)
    remainder = select(exact, copysign(rest, b), select(opposite, rest + b, rest))
    special = (b == 0.0) | (absolute(a) == INF) | (absolute(b) == INF)
    return select(special, a / b, floor), remainder
