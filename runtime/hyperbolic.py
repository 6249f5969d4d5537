# pyright: basic
"""Hyperbolic functions and their inverses on vectors, emitted as LLVM IR; see `maths`."""

from __future__ import annotations

import math

from .coefficients import SINH
from .lanes import Lanes, absolute, at_most, copysign, fma, in_double, polynomial, select
from .maths import NAN, exp_minus_one, log1p, reduce_exponent, scale

# Beyond this the square of a number is all that its sum with 1 holds, and is finite still.
HUGE = 2.0**100


def _half_exp(size: Lanes) -> Lanes:
    """½ e^size for size ≥ 0, which overflows no sooner than sinh and cosh do."""
    r, n, exponent = reduce_exponent(at_most(size, 90.0 if size.bits == 32 else 711.0))
    return scale(exp_minus_one(r) + 1.0, exponent - 1, n - 1.0)


def sinh(x: Lanes) -> Lanes:
    """(e^x − e^-x) / 2: an odd polynomial up to 1, where the difference would cancel."""
    size = absolute(x)
    square = size * size
    near = fma(size * square, polynomial(square, SINH[x.bits]), size)
    half = _half_exp(size)
    return copysign(select(size < 1.0, near, half - 0.25 / half), x)


def cosh(x: Lanes) -> Lanes:
    """(e^x + e^-x) / 2."""
    half = _half_exp(absolute(x))
    return half + 0.25 / half


def _log_of_two_or_one(large: Lanes, size: Lanes, ordinary: Lanes) -> Lanes:
    """log(1 + ordinary), or log(2·size) where `large`, without computing 2·size."""
    result = log1p(select(large, size, ordinary))
    return result + select(large, result.constant(math.log(2.0)), 0.0)


@in_double
def asinh(x: Lanes) -> Lanes:
    """log(|x| + √(x² + 1)) with the sign of x; near 0 as log(1 + small)."""
    size = absolute(x)
    square = size * size
    more = size + square / ((square + 1.0).function("sqrt") + 1.0)
    return copysign(_log_of_two_or_one(size > HUGE, size, more), x)


@in_double
def acosh(x: Lanes) -> Lanes:
    """log(x + √(x² − 1)); NaN below 1."""
    t = x - 1.0
    more = t + (t * (t + 2.0)).function("sqrt")
    return select(x < 1.0, NAN, _log_of_two_or_one(x > HUGE, x, more))


@in_double
def atanh(x: Lanes) -> Lanes:
    """½ log((1 + x) / (1 − x)); infinite at ±1, NaN beyond."""
    size = absolute(x)
    return copysign(log1p((size + size) / (1.0 - size)) * 0.5, x)
