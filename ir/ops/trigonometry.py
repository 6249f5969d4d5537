# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: trigonometric and hyperbolic functions and their inverses.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError
from ..op import MaybeTensors
from ..tensor import Node, Tensor, TensorLike, TensorType
from .arithmetic import abs as absolute
from .arithmetic import hypot, square
from .build import elementwise, primitive
from .gated import gated_multiply
from .logic import equal, where
from .transcendental import exp, rsqrt

__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "sech",
    "sin",
    "sinh",
    "tan",
    "tanh",
]


@elementwise("sin(x)", np.sin, lambda x, y: [cos(x)], dtypes="floating", flops=20)  # pyright: ignore[reportGeneralTypeIssues]
def sin(x: TensorLike) -> Tensor:
    """sin x, x in radians."""
    ...


@elementwise("cos(x)", np.cos, lambda x, y: [-sin(x)], dtypes="floating", flops=20)  # pyright: ignore[reportGeneralTypeIssues]
def cos(x: TensorLike) -> Tensor:
    """cos x, x in radians."""
    ...


@elementwise(
    "tanh(x)", np.tanh, lambda x, y: [tanh_slope(x)], saturates=True, dtypes="floating", flops=20
)
def tanh(x: TensorLike) -> Tensor:
    """(eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)."""
    ...


def a_float(x: TensorType) -> TensorType:
    """The type of x, which must be one of floats."""
    if not x.dtype.is_float:
        raise DTypeError(f"needs a float dtype, got {x.dtype}")
    return x


def _numpy_tanh_slope(x: Any) -> Any:
    e = np.exp(-2 * np.abs(x))
    return 4 * e / np.square(1 + e)


def _vjp_tanh_slope(node: Node, derivatives: MaybeTensors) -> MaybeTensors:
    (given,), x, slope = derivatives, node.operands[0], node.results[0]
    return [None if given is None else gated_multiply(given, -2.0 * tanh(x) * slope)]


def _is_at_hand(x: Tensor) -> bool:
    """Whether `x` is made of inputs by a few element-wise ops, so that a kernel has it anyway."""
    pending = [x.node]
    for _ in range(16):
        if not pending:
            return True
        node = pending.pop()
        while node.op.kind == "order":  # computed again, it has the same form: the same bits
            node = node.operands[0].node
        if node.op.kind not in ("elementwise", "view", "leaf", "generator"):
            return False
        pending.extend(operand.node for operand in node.operands)
    return False


def _expand_tanh_slope(node: Node) -> list[Tensor]:
    (x,) = node.operands
    if not _is_at_hand(x):
        y = tanh(x)
        return [1.0 - y * y]
    e = exp(-2.0 * absolute(x))
    return [4.0 * e / square(1.0 + e)]


@primitive(
    kind="composite",
    infer=a_float,
    reference=_numpy_tanh_slope,
    vjp=_vjp_tanh_slope,
    jvp=_vjp_tanh_slope,  # element by element both modes are one
    batch=lambda node, operands, _: [Node(node.op, operands, {}).results[0]],
    expand=_expand_tanh_slope,
    samples=((((5,),), {}), (((3, 4),), {}), (((0, 1),), {}), (((),), {})),
)
def tanh_slope(x: Tensor) -> Tensor:
    """1 / cosh(x)², the derivative of tanh, with the digits that 1 − y² has no more for y near ±1.

    In a network, where x is a product and y = tanh(x) is what is kept of it, it is 1 − y² all the
    same: an error of 1e-7 of the largest slope, for one array less in memory.
    """
    ...


@elementwise(
    "tan(x)",
    np.tan,
    lambda x, y: [1.0 + y * y],
    singular=True,
    dtypes="floating",
    flops=30,
    derivatives_at=(-1.4, 1.4),
)
def tan(x: TensorLike) -> Tensor:
    """tan x, x in radians."""
    ...


@elementwise(
    "asin(x)",
    np.asin,
    lambda x, y: [rsqrt((1.0 - x) * (1.0 + x))],
    singular=True,
    dtypes="floating",
    flops=25,
    derivatives_at=(-0.9, 0.9),
)
def asin(x: TensorLike) -> Tensor:
    """The angle in [−π/2, π/2] whose sine is x; nan outside of [−1, 1]."""
    ...


@elementwise(
    "acos(x)",
    np.acos,
    lambda x, y: [-rsqrt((1.0 - x) * (1.0 + x))],
    singular=True,
    dtypes="floating",
    flops=25,
    derivatives_at=(-0.9, 0.9),
)
def acos(x: TensorLike) -> Tensor:
    """The angle in [0, π] whose cosine is x; nan outside of [−1, 1]."""
    ...


@elementwise(
    "atan(x)",
    np.atan,
    lambda x, y: [1 / (1.0 + x * x)],
    saturates=True,
    dtypes="floating",
    flops=30,
)
def atan(x: TensorLike) -> Tensor:
    """The angle in [−π/2, π/2] whose tangent is x."""
    ...


def _angle_slopes(y: Tensor, x: Tensor, _: Any) -> list[Tensor]:
    """x / r² and −y / r², with no square that overflows; 0 at the origin."""
    length = hypot(y, x)
    r = where(equal(length, 0.0), 1.0, length)
    return [(x / r) / r, -(y / r) / r]


@elementwise("atan2(y, x)", np.atan2, _angle_slopes, dtypes="floating", flops=60)
def atan2(y: TensorLike, x: TensorLike) -> Tensor:
    """The angle of the point (x, y) in [−π, π], by the signs of zeros too.

    The derivatives at the origin are 0.
    """
    ...


def _sech(x: Any) -> Any:
    return 1 / np.cosh(x)


@elementwise("sinh(x)", np.sinh, lambda x, y: [cosh(x)], singular=True, dtypes="floating", flops=25)  # pyright: ignore[reportGeneralTypeIssues]
def sinh(x: TensorLike) -> Tensor:
    """(eˣ − e⁻ˣ) / 2."""
    ...


@elementwise("cosh(x)", np.cosh, lambda x, y: [sinh(x)], singular=True, dtypes="floating", flops=20)  # pyright: ignore[reportGeneralTypeIssues]
def cosh(x: TensorLike) -> Tensor:
    """(eˣ + e⁻ˣ) / 2."""
    ...


@elementwise(
    "1 / cosh(x)", _sech, lambda x, y: [-y * tanh(x)], saturates=True, dtypes="floating", flops=24
)
def sech(x: TensorLike) -> Tensor:
    """1 / cosh x; the derivative −tanh(x) sech(x) is no quotient of infinities."""
    ...


@elementwise("asinh(x)", np.asinh, lambda x, y: [1 / hypot(x, 1.0)], dtypes="floating", flops=60)
def asinh(x: TensorLike) -> Tensor:
    """ln(x + √(x² + 1)), the number whose sinh is x."""
    ...


@elementwise(
    "acosh(x)",
    np.acosh,
    lambda x, y: [rsqrt(x - 1.0) * rsqrt(x + 1.0)],
    singular=True,
    dtypes="floating",
    flops=60,
    derivatives_at=(1.1, 4.0),
)
def acosh(x: TensorLike) -> Tensor:
    """ln(x + √(x² − 1)), the number ≥ 0 whose cosh is x; nan below 1."""
    ...


@elementwise(
    "atanh(x)",
    np.atanh,
    lambda x, y: [1 / ((1.0 - x) * (1.0 + x))],
    singular=True,
    dtypes="floating",
    flops=40,
    derivatives_at=(-0.9, 0.9),
)
def atanh(x: TensorLike) -> Tensor:
    """½ ln((1 + x) / (1 − x)), the number whose tanh is x; ±inf at ±1, nan beyond."""
    ...


arccos = acos
arccosh = acosh
arcsin = asin
arcsinh = asinh
arctan = atan
arctan2 = atan2
arctanh = atanh
