"""Random numbers of continuous distributions, by the inverse of their distribution functions, and
draws from categories.

Each is a formula over one uniform number that has all its digits in both tails, so that rare
values are as rare as they should be: the normal ones reach ±6.3 in float32 and ±9.2 in float64.
All are differentiable by their parameters, as location and scale of a fixed draw.
"""

from __future__ import annotations

import math
from typing import Any

from ..dims import Shape
from ..dtypes import DType, DTypeLike
from ..errors import ArgumentError, DTypeError, ShapeError
from ..shapes import normalise_axis
from ..tensor import Tensor, TensorLike
from .arithmetic import clip, fma, minimum
from .build import as_tensor, constant
from .conversion import astype
from .logic import where
from .philox import as_shape
from .quantiles import normal_quantile
from .reduction import argmax
from .special import erfc
from .transcendental import log, log1p
from .trigonometry import cos, sin
from .types import finfo
from .uniform import (
    arguments,
    check_fits,
    check_number,
    check_positive,
    drawn_wide,
    fraction,
    side_and_tail,
)

__all__ = [
    "categorical",
    "cauchy",
    "exponential",
    "gumbel",
    "laplace",
    "logistic",
    "normal",
    "truncated_normal",
]


def _placed(z: Tensor, location: Any, scale: Any) -> Tensor:
    """location + scale · z, rounded once."""
    if isinstance(location, float) and location == 0.0:
        return z if isinstance(scale, float) and scale == 1.0 else z * scale
    return fma(z, scale, location)


# --- normal ---------------------------------------------------------------------------------------


def standard_normal(key: Tensor, sizes: Shape, dtype: DType) -> Tensor:
    """The normal distribution with mean 0 and variance 1."""
    is_low, tail = side_and_tail(key, sizes, dtype)
    z = normal_quantile(tail)
    return where(is_low, z, -z)


@drawn_wide
def normal(
    key: TensorLike,
    shape: Any = None,
    mean: TensorLike = 0.0,
    std: TensorLike = 1.0,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Normal numbers: mean + std · Φ⁻¹(u), u with all its digits in both tails.

    One random word a number in float32, two in float64.  The same on every target to 2 units in the
    last place.  shape: the sizes, or those of the parameters; dtype likewise, or float32.
    ArgumentError for a number std < 0.
    """
    own, sizes, target, (centre, spread) = arguments(key, shape, dtype, mean, std)
    check_number("a mean", centre, -math.inf)
    check_number("a standard deviation", spread, 0)
    return _placed(standard_normal(own, sizes, target), centre, spread)


@drawn_wide
def truncated_normal(
    key: TensorLike,
    shape: Any = None,
    lower: TensorLike = -2.0,
    upper: TensorLike = 2.0,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Standard normal numbers, of those in [lower, upper] only: Φ⁻¹ of uniform numbers between
    Φ(lower) and Φ(upper).

    Counted from the end of the nearer tail, so that intervals far out keep their digits: numbers
    are exact to some 2⁻²³ in float32.  The bounds may be infinite; scale and shift the result.
    Differentiable by the bounds.  shape: the sizes, or those of the bounds; dtype likewise, or
    float32.  ArgumentError for numbers with lower ≥ upper, or so far out (beyond 12.9, in float64
    37) that the dtype cannot hold their probability; of such Tensors the result is a bound.
    """
    own, sizes, target, (low, high) = arguments(key, shape, dtype, lower, upper)
    if isinstance(low, float) and isinstance(high, float):
        if not low < high:
            raise ArgumentError(f"needs lower < upper, got {low:g} and {high:g}")
        near, far = (-low, -high) if low + high > 0 else (high, low)
        if _tail(-near) - _tail(-far) < finfo(target).smallest_normal:
            raise ArgumentError(f"[{low:g}, {high:g}] is too far out for {target}")
    low, high = (x if isinstance(x, Tensor) else constant(x, target) for x in (low, high))
    mirrored = low + high > 0.0
    a = where(mirrored, -high, low)  # in the lower half: the smaller tail ends there
    b = where(mirrored, -low, high)
    is_above = b > 0.0
    start, rest = (0.5 * erfc(math.sqrt(0.5) * x) for x in (-a, abs(b)))  # Φ(a), Φ(−|b|)
    mass = where(is_above, 1.0 - rest, rest) - start
    is_low, tail = side_and_tail(own, sizes, target)
    is_low = is_low ^ mirrored  # so that the result grows with the uniform number either way
    # From a upwards; or from b downwards, whose Φ is counted from 1 where b is above 0.
    step = where(is_low | is_above, mass, -mass)
    z = normal_quantile(fma(tail, step, where(is_low, start, rest)))
    z = where(~is_low & is_above, -z, z)
    return clip(where(mirrored, -z, z), low, high)


def _tail(x: float) -> float:
    """The normal distribution above x."""
    return math.erfc(x / math.sqrt(2)) / 2


# --- by logarithms --------------------------------------------------------------------------------


@drawn_wide
def exponential(
    key: TensorLike, shape: Any = None, rate: TensorLike = 1.0, dtype: DTypeLike | None = None
) -> Tensor:
    """Exponential numbers of density rate · e^(−rate·x): −ln(u) / rate, at most 22.9 / rate in
    float32 and 45 / rate in float64.  ArgumentError for a number rate ≤ 0."""
    own, sizes, target, (speed,) = arguments(key, shape, dtype, rate)
    check_positive("a rate", speed)
    waited = -log(fraction(own, sizes, target))
    return waited if isinstance(speed, float) and speed == 1.0 else waited / speed


def _standard_gumbel(key: Tensor, sizes: Shape, dtype: DType) -> Tensor:
    """−ln(−ln(1 − u)), u with all its digits near 0, where the large numbers come from."""
    below_one = 1.0 - finfo(dtype).eps / 2
    return -log(-log1p(-minimum(fraction(key, sizes, dtype), below_one)))


@drawn_wide
def gumbel(
    key: TensorLike,
    shape: Any = None,
    location: TensorLike = 0.0,
    scale: TensorLike = 1.0,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Gumbel numbers, the limit of the largest of many: location − scale · ln(−ln u).

    They reach 22.9 in float32.  ArgumentError for a number scale ≤ 0.
    """
    own, sizes, target, (centre, spread) = arguments(key, shape, dtype, location, scale)
    check_number("a location", centre, -math.inf)
    check_positive("a scale", spread)
    return _placed(_standard_gumbel(own, sizes, target), centre, spread)


@drawn_wide
def laplace(
    key: TensorLike,
    shape: Any = None,
    location: TensorLike = 0.0,
    scale: TensorLike = 1.0,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Numbers of density e^(−|x − location|/scale) / 2scale: ln(2u) from either end.

    ArgumentError for a number scale ≤ 0.
    """
    own, sizes, target, (centre, spread) = arguments(key, shape, dtype, location, scale)
    check_number("a location", centre, -math.inf)
    check_positive("a scale", spread)
    is_low, tail = side_and_tail(own, sizes, target)
    z = log(tail * 2.0)
    return _placed(where(is_low, z, -z), centre, spread)


@drawn_wide
def logistic(
    key: TensorLike,
    shape: Any = None,
    location: TensorLike = 0.0,
    scale: TensorLike = 1.0,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Numbers whose distribution function is a sigmoid: location + scale · ln(u / (1 − u)).

    ArgumentError for a number scale ≤ 0.
    """
    own, sizes, target, (centre, spread) = arguments(key, shape, dtype, location, scale)
    check_number("a location", centre, -math.inf)
    check_positive("a scale", spread)
    is_low, tail = side_and_tail(own, sizes, target)
    z = log(tail) - log1p(-tail)
    return _placed(where(is_low, z, -z), centre, spread)


@drawn_wide
def cauchy(
    key: TensorLike,
    shape: Any = None,
    location: TensorLike = 0.0,
    scale: TensorLike = 1.0,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Cauchy numbers: location + scale · tan(π(u − ½)).  ArgumentError for a number scale ≤ 0."""
    own, sizes, target, (centre, spread) = arguments(key, shape, dtype, location, scale)
    check_number("a location", centre, -math.inf)
    check_positive("a scale", spread)
    is_low, tail = side_and_tail(own, sizes, target)
    angle = tail * math.pi
    z = cos(angle) / sin(angle)
    return _placed(where(is_low, -z, z), centre, spread)


# --- categories -----------------------------------------------------------------------------------


def categorical(key: TensorLike, logits: TensorLike, axis: int = -1, shape: Any = None) -> Tensor:
    """int64 draws of an index along `axis` with probability softmax(logits).

    The place of the largest of logits + Gumbel numbers (Gumbel 1954; of ties, all but impossible,
    the first).  shape: the sizes of the result, to which those of `logits` without `axis`
    broadcast; None for just these.  An index of logit −inf is not drawn while there is another.
    There is no derivative.  ShapeError where shapes do not fit, or no index exists.
    """
    own, scores = as_tensor(key), as_tensor(logits)
    if not scores.dtype.is_float:
        raise DTypeError(f"logits are floats, got {scores.type}")
    if scores.dtype.is_half:
        scores = astype(scores, "float32")
    place = normalise_axis(axis, scores.ndim)
    count, rest = scores.shape[place], (*scores.shape[:place], *scores.shape[place + 1 :])
    if isinstance(count, int) and count == 0:
        raise ShapeError(f"there is nothing to draw from along axis {axis} of {scores.type}")
    sizes = rest if shape is None else as_shape(shape)
    check_fits(rest, sizes)
    from_end = scores.ndim - place
    at = len(sizes) + 1 - from_end
    noise = _standard_gumbel(own, (*sizes[:at], count, *sizes[at:]), scores.dtype)
    return argmax(scores + noise, axis=-from_end)
