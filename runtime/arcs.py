# pyright: basic
"""The inverse trigonometric functions on vectors, emitted as LLVM IR; see `maths`."""

from __future__ import annotations

import math

from .coefficients import ARC_SINE, ARC_TANGENT, HALF_PI
from .lanes import Lanes, absolute, at_most, copysign, fma, in_double, polynomial, select
from .maths import INF, split
from .scaling import scale

# tan(π/8): up to here the polynomial reaches, above it the angle is taken from π/4.
EIGHTH = math.sqrt(2.0) - 1.0


def _from_half_pi(angle: Lanes) -> Lanes:
    """π/2 − angle, with π/2 to twice the digits."""
    high, low, _ = HALF_PI[angle.bits]
    return high - (angle - low)


def _arc_sine(size: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """Whether size > ½, and in two parts asin(size), or, where it is, asin(√((1 − size) / 2)).

    For then asin(size) = π/2 − 2 asin(√((1 − size) / 2)), and 1 − size is exact.
    """
    large = size > 0.5
    square = select(large, (1.0 - size) * 0.5, size * size)
    s = select(large, square.function("sqrt"), size)
    return large, s, s * square * polynomial(square, ARC_SINE[size.bits])


def asin(x: Lanes) -> Lanes:
    """arcsin x; NaN outside of [−1, 1]."""
    large, s, more = _arc_sine(absolute(x))
    high, low, _ = HALF_PI[x.bits]
    difference = high - s * 2.0
    lost = (high - difference) - s * 2.0
    far = difference + (lost - (more * 2.0 - low))
    return copysign(select(large, far, s + more), x)


def acos(x: Lanes) -> Lanes:
    """arccos x; NaN outside of [−1, 1]."""
    large, s, more = _arc_sine(absolute(x))
    angle = s + more
    far = select(x < 0.0, _from_half_pi(angle), angle) * 2.0
    return select(large, far, _from_half_pi(copysign(angle, x)))


def _angle(n: Lanes, d: Lanes) -> Lanes:
    """arctan(n / d) for finite n ≥ 0 and d ≥ 0 of ordinary size, not both 0.

    The smaller by the larger, then where that is above tan(π/8) by
    arctan(t) = π/4 + arctan((t − 1) / (t + 1)). What sums and quotient lost is put back.
    """
    steep = n > d
    small, large = select(steep, d, n), select(steep, n, d)
    middle = small > large * EIGHTH
    difference = small - large
    total = small + large
    difference_lost = small - (difference + large)
    total_lost = small - (total - large)
    top = select(middle, difference, small)
    bottom = select(middle, total, large)
    q = top / bottom
    lost = select(middle, fma(-q, total_lost, difference_lost), 0.0)
    rest = (fma(-q, bottom, top) + lost) / bottom
    square = q * q
    angle = q + fma(q * square, polynomial(square, ARC_TANGENT[n.bits]), rest)
    high, low, _ = HALF_PI[n.bits]
    angle = select(middle, 0.5 * high + (angle + 0.5 * low), angle)
    return select(steep, _from_half_pi(angle), angle)


def atan(x: Lanes) -> Lanes:
    """arctan x."""
    # From this bound on the result is π/2 to the last bit.
    size = at_most(absolute(x), 2.0**30 if x.bits == 32 else 2.0**60)
    return copysign(_angle(size, size.constant(1.0)), x)


@in_double
def atan2(y: Lanes, x: Lanes) -> Lanes:
    """The angle of the point (x, y), in [−π, π], by the signs of zeros and infinities too."""
    n, d = absolute(y), absolute(x)
    infinite = (n == INF) | (d == INF)
    n = select(infinite, select(n == INF, n.constant(1.0), 0.0), n)
    d = select(infinite, select(d == INF, d.constant(1.0), 0.0), d)
    larger = select(n > d, n, d)
    zero = larger == 0.0
    # Both by the same power of two, so that neither their sum nor a remainder leaves the range.
    exponent = -split(select(zero, 1.0, larger))[1]
    word = exponent.cast("fptosi", exponent.as_bits().type.element)
    angle = _angle(scale(n, word), select(zero, 1.0, scale(d, word)))
    high, low, _ = HALF_PI[64]
    negative = x.as_bits() < 0
    angle = select(negative, 2.0 * high - (angle - 2.0 * low), angle)
    return select((x != x) | (y != y), x + y, copysign(angle, y))
