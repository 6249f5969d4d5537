# pyright: basic
"""Exponentials, logarithms, hyperbolic functions and erf on vectors, emitted as LLVM IR.

Each function takes and returns a `Lanes` of float32 or float64; the dtype is the vector's. No calls
of a C library, no fast-math flags: NaN, infinities, signed zeros and subnormals are kept. `fma` is
assumed to be an instruction, and multiplication and addition are never contracted by LLVM, so that
every target computes the same bits.
"""

from __future__ import annotations

import math

from .coefficients import (
    COTH,
    ERF,
    EXP,
    EXP2,
    HALF_COTH,
    LN2,
    LN2_ROUNDED,
    LOG2_E,
    LOG2_E_PARTS,
    LOG_32,
    LOG_64,
    LOG_ERFC,
    QUANTILE_CENTRE,
    QUANTILE_FAR,
    QUANTILE_TAIL,
)
from .lanes import Lanes, absolute, at_least, at_most, copysign, fma, polynomial, select
from .scaling import BIAS, FRACTION_BITS, power_of_two, scale

INF = math.inf
NAN = math.nan

# Added to a number it rounds it to an integer, which then stands in the low bits of the sum.
ROUNDER = {32: 12582912.0, 64: 6755399441055744.0}


def round_to_integer(x: Lanes, factor: float = 1.0) -> tuple[Lanes, Lanes]:
    """x·factor rounded to an integer: as a float, and as an integer vector of the same width.

    For |x·factor| < 2^22 (float32) or 2^51. No conversion instruction: of NaN that is undefined,
    and for float64 it is missing before AVX-512.
    """
    rounder = ROUNDER[x.bits]
    sum_ = x + rounder if factor == 1.0 else fma(x, factor, rounder)
    return sum_ - rounder, sum_.as_bits() - x.constant(rounder).as_bits()


def reduce_exponent(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """r and the integer n of x = n ln 2 + r, |r| ≤ ½ ln 2: n as a float and as an integer."""
    n, exponent = round_to_integer(x, LOG2_E)
    high, low = LN2[x.bits]
    return fma(n, -low, fma(n, -high, x)), n, exponent


def exp_minus_one(r: Lanes) -> Lanes:
    """e^r − 1 for |r| ≤ ½ ln 2."""
    return fma(r * r, polynomial(r, EXP[r.bits]), r)


def exp_of_rest(r: Lanes) -> Lanes:
    """e^r for |r| ≤ ½ ln 2."""
    return fma(fma(polynomial(r, EXP[r.bits]), r, 1.0), r, 1.0)


def exp_normal(x: Lanes) -> Lanes:
    """e^x where neither x nor the result leaves the normal numbers."""
    r, _, exponent = reduce_exponent(x)
    return exp_of_rest(r) * power_of_two(exponent)


def exp(x: Lanes) -> Lanes:
    """e^x."""
    low, high = (-104.0, 89.0) if x.bits == 32 else (-746.0, 710.0)
    r, n, exponent = reduce_exponent(at_most(at_least(x, low), high))
    return scale(exp_of_rest(r), exponent, n)


def exp2(x: Lanes) -> Lanes:
    """2^x; exact where x is an integer."""
    low, high = (-151.0, 129.0) if x.bits == 32 else (-1076.0, 1025.0)
    bounded = at_most(at_least(x, low), high)
    n, exponent = round_to_integer(bounded)
    r = bounded - n
    return scale(fma(r, polynomial(r, EXP2[x.bits]), 1.0), exponent, n)


def expm1(x: Lanes) -> Lanes:
    """e^x − 1, precise near 0."""
    # Below `low` the result is −1 to the last bit; that keeps 2^-n finite.
    low, high = (-20.0, 89.0) if x.bits == 32 else (-40.0, 710.0)
    r, n, exponent = reduce_exponent(at_most(at_least(x, low), high))
    # 2^n (p + 1) − 1 = 2^n (p + (1 − 2^-n)); for large n the small term no longer matters.
    bounded = select(exponent > 64, 64, exponent)
    shifted = exp_minus_one(r) + (1.0 - power_of_two(-bounded))
    return copysign(scale(shifted, exponent, n), x)


def tanh(x: Lanes) -> Lanes:
    """1 − 2 / (e^2|x| + 1), and near 0 |x| − |x| g / (1 + g), both in the same division.

    |x| = ½ n ln 2 + h, where n is 0 near 0; g = h coth h − 1 and p = 1 + g − h, so that
    e^2|x| = 2^n (p + 2h) / p.
    """
    size = at_most(absolute(x), 10.0 if x.bits == 32 else 20.0)
    is_far = size > 0.6
    n, exponent = round_to_integer(size, 2 * LOG2_E)
    # One part of ln 2 will do: the larger n is, the less h matters.
    h = select(is_far, fma(n, -0.5 * LN2_ROUNDED[x.bits], size), size)
    square = h * h
    g = square * polynomial(square, COTH[x.bits])
    whole = g + 1.0
    p = whole - h
    inverse, double = power_of_two(-exponent), power_of_two(1 - exponent)
    above = select(is_far, p, g) * select(is_far, double, h)
    below = select(is_far, fma(inverse + 1.0, p, h + h), whole)
    return copysign(select(is_far, 1.0, h) - above / below, x)


def sigmoid(x: Lanes) -> Lanes:
    """1 / (1 + e^-x)."""
    return _sigmoid_32(x) if x.bits == 32 else _sigmoid_64(x)


def _sigmoid_32(x: Lanes) -> Lanes:
    """sigmoid(−|x|) = s / (s + s 2^n e^r), where |x| = n ln 2 + r, |r| ≤ ½ ln 2; for x ≥ 0 one
    minus that.

    So sigmoid(x) and sigmoid(−x), whose product is the derivative, share all but the last step.  A
    small s keeps all from overflowing, and 1.5 times a power of two keeps the sum from being just
    above such a power where the quotient is just below one, which would add their roundings.  The
    sum is total + s 2^n (e^r − 1); what total = s 2^n + s loses by rounding is put to r.
    """
    s = 1.5 * 2.0**-32
    r, _, exponent = reduce_exponent(at_most(absolute(x), 104.0))
    power, inverse = power_of_two(exponent, s), power_of_two(-exponent, 1 / s)
    total = power + s
    lost = s - (total - power)
    rest = fma(r * r, polynomial(r, EXP[x.bits]), fma(lost, inverse, r))
    less = x.constant(s) / fma(power, rest, total)
    return select(x < 0.0, less, 1.0 - less)


def _sigmoid_64(x: Lanes) -> Lanes:
    """1 / (1 + e^-x), in one division; for positive x as 1 − sigmoid(−x).

    −|x| = n ln 2 + r and p = r coth ½ r + r, so that e^r = p / (p − 2r) and the result is
    2^n p / (p + 2^n p − 2r), from where it is small as 2^n (1 + (2r − 2^n p) / (…)).
    """
    r, n, exponent = reduce_exponent(at_least(-absolute(x), -746.0))
    square = r * r
    p = fma(square, polynomial(square, HALF_COTH[x.bits]), 2.0) + r
    twice, least = r + r, -BIAS[x.bits]
    power = power_of_two(select(exponent > least, exponent, least))
    is_small = n < -1.5
    above = select(is_small, fma(-power, p, twice), p)
    ratio = above / fma(power + 1.0, p, -twice)
    result = scale(select(is_small, ratio + 1.0, ratio), exponent, n)
    return select(x < 0.0, result, 1.0 - result)


def to_float(exponent: Lanes) -> Lanes:
    """A small integer vector as floats of its width, by the bits of the rounder."""
    rounder = exponent.as_floats().constant(ROUNDER[exponent.bits])
    return (exponent + rounder.as_bits()).as_floats() - rounder


def _split_normal(x: Lanes) -> tuple[Lanes, Lanes]:
    """m in [√½, √2) and the integer vector e of x = m·2^e; x positive, normal and finite."""
    fraction = FRACTION_BITS[x.bits]
    root = x.constant(math.sqrt(0.5)).as_bits()
    word = x.as_bits() - root
    mantissa = ((word & ((1 << fraction) - 1)) + root).as_floats()
    return mantissa, word >> fraction


def split(x: Lanes) -> tuple[Lanes, Lanes]:
    """m in [√½, √2) and e, both floats, of x = m·2^e; x positive and finite, also subnormal."""
    tiny = x < 2.0 ** (1 - BIAS[x.bits])
    lift = FRACTION_BITS[x.bits] + 2
    mantissa, exponent = _split_normal(select(tiny, x * 2.0**lift, x))
    return mantissa, to_float(exponent) - select(tiny, x.constant(lift), 0.0)


def _log_correction(f: Lanes) -> Lanes:
    """log(1 + f) − f, for 1 + f in [√½, √2)."""
    square = f * f
    if f.bits == 32:
        return fma(square, f.constant(-0.5), square * f * polynomial(f, LOG_32))
    # log(1 + f) = 2 artanh(s) = f − f²/2 + s (f²/2 + R), where R = s² · polynomial.
    s = f / (f + 2.0)
    s_square = s * s
    half = square * 0.5
    return fma(s, fma(s_square, polynomial(s_square, LOG_64), half), -half)


def log_specials(x: Lanes, result: Lanes, zero: float = 0.0) -> Lanes:
    """Below `zero` the result is NaN, at it −∞; +∞ and NaN are their own logarithms."""
    result = select(x < INF, result, x)
    result = select(x < zero, NAN, result)
    return select(x == zero, -INF, result)


def log(x: Lanes) -> Lanes:
    """Natural logarithm."""
    mantissa, exponent = split(x)
    f = mantissa - 1.0
    high, low = LN2[x.bits]
    result = fma(exponent, high, f + fma(exponent, low, _log_correction(f)))
    return log_specials(x, result)


def log2(x: Lanes) -> Lanes:
    """Logarithm to the base 2; exact for powers of two."""
    mantissa, exponent = split(x)
    f = mantissa - 1.0
    high, low = LOG2_E_PARTS[x.bits]
    rest = fma(f, low, _log_correction(f) * high)
    return log_specials(x, exponent + fma(f, high, rest))


def log1p(x: Lanes) -> Lanes:
    """log(1 + x), precise near 0."""
    total = x + 1.0
    # What the addition lost, exactly.
    back = total - 1.0
    lost = (1.0 - (total - back)) + (x - back)
    mantissa, exponent = _split_normal(total)
    n = to_float(exponent)
    # Where the exponent is 0 this f is x itself, so that nothing is lost near 0.
    f = mantissa - 1.0
    # Once x is large nothing matters that was lost, and the power leaves the normal numbers.
    small = x < 2.0 ** (FRACTION_BITS[x.bits] + 2)
    f = select(small, fma(lost, power_of_two(-exponent), f), f)
    high, low = LN2[x.bits]
    result = fma(n, high, f + fma(n, low, _log_correction(f)))
    return select(x == 0.0, x, log_specials(x, result, -1.0))


def erf(x: Lanes) -> Lanes:
    """The error function: an odd polynomial up to 1, then 1 − e^g(|x|)."""
    size = absolute(x)
    square = size * size
    near = fma(size, polynomial(square, ERF[x.bits]), size)
    t = at_most(at_least(size, 1.0) - 1.0, 3.0 if x.bits == 32 else 5.0)
    far = 1.0 - exp_normal(polynomial(t, LOG_ERFC[x.bits]))
    return copysign(select(size < 1.0, near, far), x)


def normal_quantile(p: Lanes) -> Lanes:
    """The inverse of the normal distribution function: rational functions of p − ½ near ½, and of
    √(−log) of the tail elsewhere (after Wichura, AS 241, with fits of our own).

    They stand for what is left of simple first guesses, so that their own rounding hardly shows.
    """
    tail = select(p < 0.5, p, 1.0 - p)
    x = 0.5 - tail
    w = -log(tail)
    t = w.function("sqrt")
    lost = fma(-t, t, w) / (t + t)  # what the root's rounding took from it
    is_central = x <= 0.425
    parts = [(fma(-x, x, 0.180625), QUANTILE_CENTRE[p.bits]), (t - 1.6, QUANTILE_TAIL[p.bits])]
    if p.bits == 64:
        parts.append((t - 5.0, QUANTILE_FAR))
    centre, *tails = [[polynomial(s, part) for part in pair] for s, pair in parts]
    above, below = tails[0]
    if p.bits == 64:
        above, below = (select(t > 5.0, b, a) for a, b in zip(*tails, strict=True))
    rest = select(is_central, centre[0], above) / select(is_central, centre[1], below)
    central = fma(x, rest, x * math.sqrt(2 * math.pi))
    size = select(is_central, central, select(tail > 0.0, t + (rest + lost), t))
    return copysign(size, p - 0.5)


def rsqrt(x: Lanes) -> Lanes:
    """1 / √x."""
    return 1.0 / x.function("sqrt")


def nextafter(x: Lanes, y: Lanes) -> Lanes:
    """The float next to x on the way to y; y where they are equal."""
    word = x.as_bits()
    away = (y > x) ^ (x < 0.0)
    moved = select(away, word + 1, word - 1).as_floats()
    smallest = copysign(word.constant(1).as_floats(), y)
    moved = select(x == 0.0, smallest, moved)
    moved = select((x != x) | (y != y), NAN, moved)
    return select(x == y, y, moved)


def maximum(a: Lanes, b: Lanes) -> Lanes:
    """The greater; NaN if one is NaN; +0 over −0.

    `b` first: the code asks for the sign of the first operand before all else, and `a` is what a
    reduction has so far, which is to wait for as little as can be.
    """
    return b.function("maximum", a)


def minimum(a: Lanes, b: Lanes) -> Lanes:
    """The lesser; NaN if one is NaN; −0 under +0."""
    return b.function("minimum", a)


def in_order(word: Lanes) -> Lanes:
    """The bits of floats as integers in the order of the numbers, −0 below +0; and back."""
    return word ^ ((word >> (word.bits - 1)) & ((1 << (word.bits - 1)) - 1))


def rank_up(x: Lanes) -> Lanes:
    """Integers in the order of the numbers, NaN above all: their largest is `maximum`'s."""
    ranks = in_order(x.as_bits())
    return select(x == x, ranks, (1 << (x.bits - 1)) - 1)


def rank_down(x: Lanes) -> Lanes:
    """Integers in the order of the numbers, NaN below all: their least is `minimum`'s."""
    ranks = in_order(x.as_bits())
    return select(x == x, ranks, -(1 << (x.bits - 1)))


def ranked(ranks: Lanes) -> Lanes:
    """The numbers of ranks."""
    return in_order(ranks).as_floats()


def sign(x: Lanes) -> Lanes:
    """−1, 0 or 1; NaN stays."""
    result = select(x > 0.0, x.constant(1.0), select(x < 0.0, x.constant(-1.0), 0.0))
    return select(x == x, result, x)
