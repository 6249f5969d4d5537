# pyright: basic
"""Error functions and the normal distribution on vectors, emitted as LLVM IR; see `maths`.

Far out they are e^(−s)·P: the digits of the exponent s count for s times as much in the result, so
s is carried as a sum of two floats.
"""

from __future__ import annotations

import math

from .coefficients import ERF, ERFC, ERFC_LOW, ERFINV, ERFINV_TAIL, ERFINV_TAIL_CENTRE, LN2, LOG2_E
from .lanes import (
    DOUBLE,
    FLOAT,
    Lanes,
    absolute,
    at_least,
    at_most,
    copysign,
    fma,
    polynomial,
    select,
)
from .maths import INF, NAN, erf, exp, exp_minus_one, log, round_to_integer, scale

# √½ in two parts, each a float of the dtype.
SQRT_HALF = {
    32: (0.7071067690849304, 1.2101617485882343e-08),
    64: (0.7071067811865476, -4.833646656726457e-17),
}

# Below this erfc is made of erf, without losing digits.
NEAR = 0.75

# From here on erfc is 0.
LIMIT = {32: 10.5, 64: 28.0}


def _square(x: Lanes) -> tuple[Lanes, Lanes]:
    """x² exactly as a sum of two floats, for x that does not overflow."""
    square = x * x
    return square, fma(x, x, -square)


def _tail(size: Lanes, size_more: Lanes, square: Lanes, more: Lanes) -> tuple[Lanes, Lanes]:
    """erfc(size + size_more) for size ≥ NEAR, its square given in two parts: f and n of f·2^n.

    As e^(−size²)·P / (1 + 2·size) in a smooth P, as Shepherd and Laframboise proposed (Chebyshev
    approximation of (1 + 2x) exp(x²) erfc x, 1981), with what sum, quotient and P lose.
    """
    t = (size - 3.0) / (size + 3.0)
    first, *rest = ERFC[size.bits]
    slope = polynomial(t, rest)
    smooth = fma(t, slope, size.constant(first))
    smooth_lost = fma(t, slope, first - smooth) + ERFC_LOW[size.bits]
    divisor = fma(size, 2.0, size.constant(1.0))
    divisor_lost = fma(size, 2.0, 1.0 - divisor) + size_more * 2.0
    inverse = 1.0 / divisor
    quotient = smooth * inverse
    lost = fma(-quotient, divisor, smooth) + fma(-quotient, divisor_lost, smooth_lost)
    n, exponent = round_to_integer(-square, LOG2_E)
    high, low = LN2[size.bits]
    power = exp_minus_one(fma(n, -high, -square) - fma(n, low, more))
    return quotient + fma(quotient, power, lost * inverse), exponent


def erfc(x: Lanes) -> Lanes:
    """1 − erf x, to its own last digits also where erf x is nearly 1."""
    size = absolute(x)
    # 1 − x first, which is exact for x ≥ ½.
    near = fma(-x, polynomial(x * x, ERF[x.bits]), 1.0 - x)
    bounded = at_most(at_least(size, NEAR), LIMIT[x.bits])
    far = scale(*_tail(bounded, x.constant(0.0), *_square(bounded)))
    return select(size < NEAR, near, select(x < 0.0, 2.0 - far, far))


def normal_cdf(x: Lanes) -> Lanes:
    """½ erfc(−x/√2): the part of a normal distribution that lies below x."""
    high, low = SQRT_HALF[x.bits]
    t = x * high
    # Near 0, ½ + ½ erf(t), without loss where that is a difference.
    linear = fma(x, 0.5 * low, fma(x, 0.5 * high, x.constant(0.5)))
    near = fma(t * 0.5, polynomial(t * t, ERF[x.bits]), linear)
    bounded = at_most(at_least(absolute(x), NEAR * math.sqrt(2.0)), LIMIT[x.bits] * math.sqrt(2.0))
    square, more = _square(bounded)
    size = bounded * high
    size_more = fma(bounded, low, fma(bounded, high, -size))
    far, exponent = _tail(size, size_more, square * 0.5, more * 0.5)
    far = scale(far, exponent - 1)
    return select(absolute(t) < NEAR, near, select(x < 0.0, far, 1.0 - far))


def _rough_erfinv(size: Lanes, bits: int) -> Lanes:
    """erfinv of 0 ≤ size < 1 in float64, to the digits of float32, or to half of float64's.

    By polynomials in w = −log(1 − size²) or its root, as Giles proposed (Approximating the erfinv
    function, GPU Computing Gems 2, 2011).
    """
    w = -log((1.0 - size) * (size + 1.0))
    root = at_least(w, 5.0).function("sqrt")
    far = polynomial(root - ERFINV_TAIL_CENTRE[bits], ERFINV_TAIL[bits])
    return size * select(w < 5.0, polynomial(w - 2.5, ERFINV), far)


def erfinv(x: Lanes) -> Lanes:
    """The y whose erf is x; infinite at ±1, NaN beyond."""
    size = absolute(x)
    inside = select(size < 1.0, size, 0.0)
    if x.bits == 32:
        result = _rough_erfinv(inside.cast("fpext", DOUBLE), 32).cast("fptrunc", FLOAT)
    else:
        rough = _rough_erfinv(inside, 64)
        # Halley's step; next to 1 with erfc, which has digits that erf has not.
        error = select(size < 0.5, erf(rough) - inside, (1.0 - inside) - erfc(rough))
        step = error * exp(rough * rough) * (0.5 * math.sqrt(math.pi))
        result = rough - step / fma(rough, step, 1.0)
    result = select(size < 1.0, result, select(size == 1.0, x.constant(INF), NAN))
    return copysign(result, x)
