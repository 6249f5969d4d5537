# pyright: basic
"""The cube root and the length of a vector, emitted as LLVM IR; see `maths`."""

from __future__ import annotations

from .lanes import Lanes, absolute, copysign, fma, in_double, select
from .maths import INF, exp2, log2


@in_double
def cbrt(x: Lanes) -> Lanes:
    """The real cube root: 2^(⅓ log2 |x|), and a Newton step with an exact remainder."""
    size = absolute(x)
    # The remainder of a small number needs bits that subnormal numbers lack.
    small = size < 2.0**-900
    lifted = select(small, size * 2.0**300, size)
    root = exp2(log2(lifted) * (1.0 / 3.0))
    square = root * root
    rest = fma(-root, square, lifted) - root * fma(root, root, -square)
    root = root + rest / (square * 3.0)
    root = select(small, root * 2.0**-100, root)
    ordinary = (size > 0.0) & (size < INF)
    return copysign(select(ordinary, root, size), x)


def _scaled_length(a: Lanes, b: Lanes) -> Lanes:
    """√(a² + b²) of float64 by way of numbers whose squares neither over- nor underflow."""
    larger = select(a > b, a, b)
    factor = select(larger > 2.0**500, larger.constant(2.0**-600), 1.0)
    factor = select(larger < 2.0**-400, larger.constant(2.0**600), factor)
    inverse = select(larger > 2.0**500, larger.constant(2.0**600), 1.0)
    inverse = select(larger < 2.0**-400, larger.constant(2.0**-600), inverse)
    a, b = a * factor, b * factor
    return fma(a, a, b * b).function("sqrt") * inverse


def hypot(x: Lanes, y: Lanes) -> Lanes:
    """√(x² + y²) without overflow; infinite if one is, beside NaN too."""
    a, b = absolute(x), absolute(y)
    infinite = (a == INF) | (b == INF)
    # The squares of float32 are exact in float64 and far from its limits.
    length = in_double(_scaled_length if x.bits == 64 else _length)(a, b)
    return select(infinite, INF, length)


def _length(a: Lanes, b: Lanes) -> Lanes:
    return fma(a, a, b * b).function("sqrt")
