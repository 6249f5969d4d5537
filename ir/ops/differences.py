# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""What rules put in place of differences that cancel, with derivatives that do not.

A form without cancellation may well have a derivative with one: (x − y) (x + y) has
(x + y) + (x − y), while that of x² − y² is 2x.  These ops have the value of the one form and the
derivative of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from ..errors import DTypeError, ShapeError
from ..op import MaybeTensors
from ..tensor import Node, Tensor, TensorLike, TensorType
from .arithmetic import add
from .build import elementwise, primitive
from .gated import gated_divide, gated_multiply
from .shape import spread_batch

__all__: list[str] = []


def _difference_of_squares(x: Any, y: Any) -> Any:
    a, b = x / 2, y / 2
    return 4 * ((a - b) * (a + b))


@elementwise(
    "4 * ((0.5 * x - 0.5 * y) * (0.5 * x + 0.5 * y))",
    _difference_of_squares,
    lambda x, y, z: [2.0 * x, -2.0 * y],
    dtypes="floating",
    flops=7,
)
def difference_of_squares(x: TensorLike, y: TensorLike) -> Tensor:
    """x² − y² as (x − y) (x + y); the squares, each of them rounded, would lose what they share.

    (By halves, so that neither factor overflows where the other is 0.)
    """
    ...


def _like_all(x: TensorType, y: TensorType, z: TensorType) -> TensorType:
    if not x.dtype.is_float:
        raise DTypeError(f"needs a float dtype, got {x.dtype}")
    if not x == y == z:
        raise ShapeError(f"operands must have one type, got {x}, {y}, {z}")
    return x


def _vjp_quotient(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), (_, y, z) = cotangents, node.operands
    if ct is None:
        return [None, None, None]
    return [None, gated_multiply(ct, -(z / y) / y), gated_divide(ct, y)]


def _jvp_quotient(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (_, y, z), (_, ty, tz) = node.operands, tangents
    parts: list[Tensor] = []
    if ty is not None:
        parts.append(gated_multiply(ty, -(z / y) / y))
    if tz is not None:
        parts.append(gated_divide(tz, y))
    return [reduce(add, parts) if parts else None]


def _batch_quotient(
    node: Node, operands: Sequence[Tensor], batched: Sequence[bool]
) -> list[Tensor]:
    return [Node(node.op, spread_batch(operands, batched), {}).results[0]]


@primitive(
    kind="composite",
    infer=_like_all,
    reference=lambda x, y, z: x / y,
    vjp=_vjp_quotient,
    jvp=_jvp_quotient,
    batch=_batch_quotient,
    expand=lambda node: [node.operands[0] / node.operands[1]],
    prepare=lambda x, y, z: [z + y, y, z],
    samples=((((5,),) * 3, {}), (((3, 4),) * 3, {}), (((0, 1),) * 3, {}), (((),) * 3, {})),
)
def quotient_of(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """x / y with the derivative of z / y, for an x that is z + c · y: both differ by the number c.

    1 / (1 + x) − 1 is −x / (1 + x), with the derivative of 1 / (1 + x), in which nothing cancels.
    """
    ...
