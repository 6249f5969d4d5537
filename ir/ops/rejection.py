# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Random numbers by rejection: gamma, and what is made of gamma numbers."""

from __future__ import annotations

from typing import Any

from ..dims import Shape
from ..dtypes import DType, DTypeLike
from ..errors import ShapeError
from ..tensor import Tensor, TensorLike
from .build import as_tensor, constant, elementwise
from .composite import softmax
from .create import iota
from .distributions import standard_normal
from .logic import equal, less, where
from .philox import as_shape, split
from .reduction import min, sum
from .shape import expand_dims
from .transcendental import exp, log, sigmoid, sqrt
from .uniform import arguments, check_positive, drawn_wide, fraction

__all__ = ["beta", "dirichlet", "gamma"]

ATTEMPTS = 8  # a proposal fails at most once in 20: all of them once in 3·10¹⁰


@elementwise(
    "x",
    lambda x: x,
    dtypes="floating",
    no_gradient="a number drawn by rejection jumps as its parameters change",
)
def drawn(x: TensorLike) -> Tensor:
    """x, a number drawn by rejection: through it no derivative flows."""
    ...


def _log_gamma(key: Tensor, sizes: Shape, dtype: DType, concentration: Any) -> Tensor:
    """The logarithms of gamma numbers, which do not vanish where these do.

    Marsaglia and Tsang 2000, "A simple method for generating gamma variables": for α ≥ 1, d = α − ⅓
    and z normal, d·(1 + z/√9d)³ is accepted with a chance that makes it gamma distributed; for
    α < 1 a gamma number of α + 1 times u^(1/α) is.  All attempts are made at once, along an axis
    in front, and the first good one is taken; with none, which nobody will see, the last.
    """
    alpha = concentration
    if isinstance(alpha, float):
        alpha = constant(alpha, dtype)
    keys = split(key, ATTEMPTS + 1)  # so that number i does not depend on how many there are
    tries = keys[..., :ATTEMPTS, :]
    is_small = less(alpha, 1.0)
    d = where(is_small, alpha + 1.0, alpha) - 1 / 3
    rank = len(sizes)
    spread = expand_dims(d, d.ndim - rank) if d.ndim > rank else d  # the attempts' axis
    z = standard_normal(tries, sizes, dtype)
    chance = log(fraction(tries, sizes, dtype, second=True))
    root = 1.0 + z / sqrt(9.0 * spread)
    is_positive = root > 0.0
    v = where(is_positive, root * root * root, 1.0)
    is_good = is_positive & less(chance, 0.5 * z * z + spread * (1.0 - v + log(v)))
    number = iota(shape=(ATTEMPTS, *[1] * rank), axis=0)
    front = -rank - 1
    first = min(where(is_good, number, ATTEMPTS - 1), axis=front, keepdims=True)
    chosen = sum(where(equal(number, first), v, 0.0), axis=front)
    boost = log(fraction(keys[..., ATTEMPTS, :], sizes, dtype)) / alpha
    return drawn(log(d * chosen) + where(is_small, boost, 0.0))


@drawn_wide
def gamma(
    key: TensorLike,
    concentration: TensorLike,
    shape: Any = None,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Gamma numbers of density x^(α−1) e^(−x) / Γ(α), α = `concentration`; divide by a rate.

    By Marsaglia and Tsang's rejection (2000), with eight attempts.  shape: the sizes, or those of
    `concentration`.  Small α give numbers that vanish in the dtype, then 0.  There is no derivative
    by `concentration`: the number drawn jumps as it changes.  ArgumentError for a number ≤ 0.
    """
    own, sizes, target, (alpha,) = arguments(key, shape, dtype, concentration)
    check_positive("a concentration", alpha)
    return exp(_log_gamma(own, sizes, target, alpha))


@drawn_wide
def beta(
    key: TensorLike,
    a: TensorLike,
    b: TensorLike,
    shape: Any = None,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Beta numbers of density ∝ x^(a−1) (1 − x)^(b−1): x/(x + y) of gamma numbers of a and b.

    shape: the sizes, or those of the parameters.  No derivative.  ArgumentError for numbers ≤ 0.
    """
    own, sizes, target, (first, second) = arguments(key, shape, dtype, a, b)
    check_positive("a", first)
    check_positive("b", second)
    keys = split(own)
    x = _log_gamma(keys[..., 0, :], sizes, target, first)
    y = _log_gamma(keys[..., 1, :], sizes, target, second)
    return sigmoid(x - y)


@drawn_wide
def dirichlet(
    key: TensorLike,
    concentration: TensorLike,
    shape: Any = None,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Points of density ∝ Π xᵢ^(αᵢ−1) whose coordinates, along the last axis, add up to 1.

    Gamma numbers over their sum.  concentration: α, at least one axis.  shape: the sizes without
    that axis, or those of `concentration`.  No derivative.  ShapeError for a scalar α.
    """
    alpha = as_tensor(concentration)
    if alpha.ndim == 0:
        raise ShapeError("the concentration needs an axis for the coordinates")
    full = None if shape is None else (*as_shape(shape), alpha.shape[-1])
    own, sizes, target, (alpha,) = arguments(key, full, dtype, alpha)
    return softmax(_log_gamma(own, sizes, target, alpha), axis=-1)
