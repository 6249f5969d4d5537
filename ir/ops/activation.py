# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: the activations of neural networks.

All but relu are formulas of other ops, which fuse.  What multiplies x by something that vanishes
bounds x from below first, so that −inf gives the limit and not inf · 0.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tensor import Node, Tensor, TensorLike
from .arithmetic import absolute, clip, maximum, minimum, multiply, negative, square
from .build import elementwise, primitive
from .conversion import rounded_once
from .logic import where
from .special import normal_cdf
from .transcendental import exp, expm1, logistic, sigmoid, softplus
from .trigonometry import a_float, tanh

__all__ = [
    "celu",
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "silu",
]

# Below it sigmoid(x) and softplus(x) are 0 in every dtype.
_LOWEST = -1000.0


@elementwise("maximum(x, 0)", lambda x: np.maximum(x, x.dtype.type(0)), lambda x, y: [x > 0])
def relu(x: TensorLike) -> Tensor:
    """max(x, 0); the derivative at 0 is 0."""
    ...


def relu6(x: TensorLike) -> Tensor:
    """min(max(x, 0), 6); the derivative is 0 at 0 and 1 at 6."""
    return minimum(relu(x), 6.0)


@rounded_once
def leaky_relu(x: Tensor, negative_slope: TensorLike = 0.01) -> Tensor:
    """x where it is positive, else negative_slope · x; the derivative at 0 is the slope."""
    return where(x > 0.0, x, multiply(x, negative_slope))


def prelu(x: TensorLike, slope: TensorLike) -> Tensor:
    """leaky_relu with a slope that is a tensor, to be learnt."""
    return leaky_relu(x, slope)


@rounded_once
def elu(x: Tensor, alpha: TensorLike = 1.0) -> Tensor:
    """x where it is positive, else alpha · (eˣ − 1)."""
    return where(x > 0.0, x, multiply(alpha, expm1(minimum(x, 0.0))))


@rounded_once
def celu(x: Tensor, alpha: TensorLike = 1.0) -> Tensor:
    """x where it is positive, else alpha · (e^(x/alpha) − 1), whose slope is continuous."""
    low = minimum(x, 0.0) / alpha
    return where(x > 0.0, x, multiply(alpha, expm1(low)))


@rounded_once
def selu(x: Tensor) -> Tensor:
    """λ · elu(x, α), with the λ and α that keep mean 0 and variance 1 over layers.

    Klambauer, Unterthiner, Mayr, Hochreiter: Self-normalizing neural networks (2017).
    """
    return multiply(1.0507009873554805, elu(x, 1.6732632423543772))


_RISE, _CUBE = math.sqrt(8 / math.pi), math.sqrt(8 / math.pi) * 0.044715


def _cubic(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x bounded, u = √(8/π) (t + 0.044715 t³) of that t, and du/dt: beyond ±40 sigmoid(u) is 0 or
    1, and this keeps u finite."""
    t = minimum(maximum(x, -40.0), 40.0)
    w = square(t)
    return t, t * (_CUBE * w + _RISE), 3.0 * _CUBE * w + _RISE


def _sigmoids(u: Tensor) -> tuple[Tensor, Tensor]:
    """sigmoid(u) and sigmoid(u) · sigmoid(−u), of one exponential and one division."""
    e = exp(-absolute(u))
    less = e / (1.0 + e)  # at most a half
    more = 1.0 - less
    return where(u < 0.0, less, more), less * more


def _numpy_slope(x: Any) -> Any:
    t = np.clip(x, -40, 40)
    w = np.square(t)
    u = t * (_CUBE * w + _RISE)
    return (logistic(u) + t * logistic(u) * logistic(-u) * (3 * _CUBE * w + _RISE)).astype(x.dtype)


def _expand_tanh_gelu(node: Node) -> list[Tensor]:
    (x,) = node.operands
    return [maximum(x, -40.0) * _sigmoids(_cubic(x)[1])[0]]


def _expand_slope(node: Node) -> list[Tensor]:
    t, u, rise = _cubic(node.operands[0])
    above, both = _sigmoids(u)
    return [above + t * both * rise]


def _second_slope(x: Tensor) -> Tensor:
    t, u, rise = _cubic(x)
    above, below = sigmoid(u), sigmoid(-u)
    bend = t * ((below - above) * square(rise) + 6.0 * _CUBE * t)
    return above * below * (2.0 * rise + bend)


def _batch(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    return [Node(node.op, operands, {}).results[0]]


_SAMPLES: Any = ((((5,),), {}), (((3, 4),), {}), (((0, 1),), {}), (((),), {}))


@primitive(
    kind="composite",
    infer=a_float,
    reference=_numpy_slope,
    partials=lambda x, y: [_second_slope(x)],
    saturates=True,
    batch=_batch,
    expand=_expand_slope,
    samples=_SAMPLES,
)
def tanh_gelu_slope(x: Tensor) -> Tensor:
    """The derivative of tanh_gelu: sigmoid(u) + x sigmoid(u) sigmoid(−u) du/dx.

    A kernel that needs the value as well has all but the last few operations of it anyway.
    """
    ...


@primitive(
    kind="composite",
    infer=a_float,
    reference=lambda x: np.maximum(x, -40) * logistic(x * (_CUBE * (x * x) + _RISE)),
    partials=lambda x, y: [tanh_gelu_slope(x)],
    saturates=True,
    batch=_batch,
    expand=_expand_tanh_gelu,
    samples=_SAMPLES,
)
def tanh_gelu(x: Tensor) -> Tensor:
    """x · sigmoid(u), u = √(8/π) (x + 0.044715 x³), which is 0 at −∞.

    Its derivative says what bounds do only once: that of the formula, op by op, would have each of
    them choose.
    """
    ...


@rounded_once
def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x · Φ(x), Φ the normal distribution; or near it, x · sigmoid(√(8/π) (x + 0.044715 x³)).

    Hendrycks, Gimpel: Gaussian error linear units (2016).  The second form is the one written
    with ½ (1 + tanh) there.  Both keep their digits for negative x.
    """
    return tanh_gelu(x) if approximate else maximum(x, -40.0) * normal_cdf(x)


@rounded_once
def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x)."""
    return maximum(x, _LOWEST) * sigmoid(x)


@rounded_once
def mish(x: Tensor) -> Tensor:
    """x · tanh(softplus(x)) (Misra, Mish, 2019)."""
    return maximum(x, _LOWEST) * tanh(softplus(x))


def log_sigmoid(x: TensorLike) -> Tensor:
    """ln sigmoid(x), without loss for either sign of x."""
    return negative(softplus(negative(x)))


def hard_tanh(x: TensorLike) -> Tensor:
    """x kept between −1 and 1; derivative 1 at the bounds."""
    return clip(x, -1.0, 1.0)


@rounded_once
def hard_sigmoid(x: Tensor) -> Tensor:
    """x / 6 + ½ kept between 0 and 1."""
    return clip(x + 3.0, 0.0, 6.0) / 6.0


@rounded_once
def hard_silu(x: Tensor) -> Tensor:
    """x · hard_sigmoid(x) (Howard et al., Searching for MobileNetV3, 2019)."""
    return maximum(x, -3.0) * hard_sigmoid(x)
