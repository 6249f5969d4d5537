# pyright: basic
"""Sine, cosine and tangent on vectors, emitted as LLVM IR; see `maths` for the conventions."""

from __future__ import annotations

from .coefficients import COSINE, HALF_PI, SINE, TWO_OVER_PI
from .lanes import Lanes, absolute, any_lane, fma, in_double, polynomial, select
from .large_angles import LARGE, reduce_large
from .maths import round_to_integer


def _quadrant_and_rest(x: Lanes) -> tuple[Lanes, Lanes]:
    """The integer n and r of x = n·π/2 + r, |r| ≤ π/4; n is right modulo 4."""
    n, count = round_to_integer(x, TWO_OVER_PI)
    r = x
    for part in HALF_PI[x.bits]:
        r = fma(n, -part, r)
    builder, size = x.builder, absolute(x)
    ordinary = builder.block
    with builder.if_then(any_lane(size >= LARGE), likely=False):
        large = size >= LARGE
        far_count, far_r = reduce_large(x)
        merged_count, merged_r = select(large, far_count, count), select(large, far_r, r)
        unusual = builder.block
    results = []
    for usual, other in ((count, merged_count), (r, merged_r)):
        phi = builder.phi(usual.type)
        phi.add_incoming(usual.value, ordinary)
        phi.add_incoming(other.value, unusual)
        results.append(Lanes(builder, phi))
    return results[0], results[1]


def _sine_and_cosine(r: Lanes) -> tuple[Lanes, Lanes]:
    """Both for |r| ≤ π/4."""
    square = r * r
    sine = fma(r * square, polynomial(square, SINE[r.bits]), r)
    start = fma(square, -0.5, square.constant(1.0))
    return sine, fma(square * square, polynomial(square, COSINE[r.bits]), start)


def _turn(x: Lanes, quarter: int) -> Lanes:
    """sin(x + quarter·π/2)."""
    count, r = _quadrant_and_rest(x)
    sine, cosine = _sine_and_cosine(r)
    count = count + quarter
    sign = (count & 2) << (x.bits - 2)
    chosen = select((count & 1) == 0, sine, cosine)
    return (chosen.as_bits() ^ sign).as_floats()


def sin(x: Lanes) -> Lanes:
    """sin x, x in radians."""
    return select(x == 0.0, x, _turn(x, 0))


def cos(x: Lanes) -> Lanes:
    """cos x, x in radians."""
    return _turn(x, 1)


@in_double
def tan(x: Lanes) -> Lanes:
    """tan x, x in radians: a quarter turn further it is −1 / tan."""
    count, r = _quadrant_and_rest(x)
    sine, cosine = _sine_and_cosine(r)
    odd = (count & 1) != 0
    quotient = select(odd, -cosine, sine) / select(odd, sine, cosine)
    return select(x == 0.0, x, quotient)
