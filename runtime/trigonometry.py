# pyright: basic
"""Sine and cosine on vectors, emitted as LLVM IR; see `maths` for the conventions."""

from __future__ import annotations

from .coefficients import COSINE, HALF_PI, SINE, TWO_OVER_PI
from .lanes import Lanes, absolute, any_lane, fma, polynomial, select
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


def _turn(x: Lanes, quarter: int) -> Lanes:
    """sin(x + quarter·π/2)."""
    count, r = _quadrant_and_rest(x)
    square = r * r
    sine = fma(r * square, polynomial(square, SINE[x.bits]), r)
    start = fma(square, -0.5, square.constant(1.0))
    cosine = fma(square * square, polynomial(square, COSINE[x.bits]), start)
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
