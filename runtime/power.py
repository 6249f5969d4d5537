# pyright: basic
"""Powers and decimal logarithms on vectors, emitted as LLVM IR; see `maths` for the conventions.

The exponent b·log2|a| reaches 1024, so that its logarithm needs ten bits more than the result. For
float32 it is computed in float64; for float64 as a sum of two floats, high and low.
"""

from __future__ import annotations

from .coefficients import ARTANH, EXP2, LOG2_E_PARTS, LOG10_2_PARTS, TWO_THIRDS
from .lanes import (
    DOUBLE,
    FLOAT,
    Lanes,
    absolute,
    at_least,
    at_most,
    copysign,
    fma,
    in_double,
    polynomial,
    select,
)
from .maths import INF, NAN, log2, log_specials, round_to_integer, scale, split

Pair = tuple[Lanes, Lanes]


def _product(a: Pair, b: Pair) -> Pair:
    high = a[0] * b[0]
    return high, fma(a[0], b[0], -high) + fma(a[0], b[1], a[1] * b[0])


def _sum(large: Lanes, small: Pair) -> Pair:
    """Of a float and a smaller pair."""
    high = large + small[0]
    return high, (small[0] - (high - large)) + small[1]


def _log2_pair(x: Lanes) -> Pair:
    """log2 of positive finite float64 numbers as high + low, to about 66 bits."""
    mantissa, exponent = split(x)
    f = mantissa - 1.0
    # s = f / (2 + f), the quotient corrected by its remainder.
    high, low = _sum(f.constant(2.0), (f, f.constant(0.0)))
    inverse = 1.0 / high
    quotient = f * inverse
    remainder = fma(-quotient, low, fma(-quotient, high, f))
    s = quotient, remainder * inverse
    square = _product(s, s)
    rest = square[0] * polynomial(square[0], ARTANH)
    cubic = _sum(f.constant(TWO_THIRDS[0]), (rest, f.constant(TWO_THIRDS[1])))
    series = _sum(f.constant(2.0), _product(square, cubic))
    base = tuple(f.constant(part) for part in LOG2_E_PARTS[64])
    return _sum(exponent, _product(_product(s, series), (base[0], base[1])))


def _exp2_pair(y: Pair) -> Lanes:
    high = at_most(at_least(y[0], -1100.0), 1100.0)
    # Out of that range, low may be the NaN of ∞ − ∞.
    low = select(high == y[0], y[1], 0.0)
    n, exponent = round_to_integer(high)
    r = (high - n) + low
    return scale(fma(r, polynomial(r, EXP2[64]), 1.0), exponent)


def _power_of_size(size: Lanes, b: Lanes) -> Lanes:
    """size^b for size ≥ 0; NaN where size is 1 and b infinite."""
    if size.bits == 32:
        wide_b = b.cast("fpext", DOUBLE)
        y = wide_b * log2(size.cast("fpext", DOUBLE))
        high = at_most(at_least(y, -1100.0), 1100.0)
        return _exp2_pair((high, y.constant(0.0))).cast("fptrunc", FLOAT)
    high, low = _log2_pair(size)
    special = select(size == 0.0, high.constant(-INF), INF)
    ordinary = (size > 0.0) & (size < INF)
    high, low = select(ordinary, high, special), select(ordinary, low, 0.0)
    product = b * high
    return _exp2_pair((product, fma(b, high, -product) + b * low))


def power(a: Lanes, b: Lanes) -> Lanes:
    """a^b with the special values of C's ``pow``, which NumPy shares."""
    size = absolute(a)
    result = _power_of_size(size, b)
    half = b * 0.5
    whole = b.function("trunc") == b
    odd = whole & (half.function("trunc") != half)
    result = select(odd, copysign(result, a), result)
    result = select((a < 0.0) & (a > -INF) & ~whole, NAN, result)
    result = select((a != a) | (b != b), NAN, result)
    one = (a == 1.0) | (b == 0.0) | ((size == 1.0) & (absolute(b) == INF))
    return select(one, 1.0, result)


@in_double
def log10(x: Lanes) -> Lanes:
    """Logarithm to the base 10, exact for powers of ten."""
    base = tuple(x.constant(part) for part in LOG10_2_PARTS)
    high, low = _product(_log2_pair(x), (base[0], base[1]))
    return log_specials(x, high + low)
