# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: what rules put in place of differences that cancel, with derivatives that do not.

A form without cancellation may well have a derivative with one: (x − y) (x + y) has
(x + y) + (x − y), while that of x² − y² is 2x.  These ops have the value of the one form and the
derivative of the other.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

from ..tensor import Tensor, TensorLike
from .build import elementwise

__all__: list[str] = []


@elementwise(
    "(x - y) * (x + y)",
    lambda x, y: (x - y) * (x + y),
    lambda x, y, z: [2.0 * x, -2.0 * y],
    dtypes="floating",
    flops=3,
)
def difference_of_squares(x: TensorLike, y: TensorLike) -> Tensor:
    """x² − y²; the difference of two squares, each of them rounded, would lose what they share."""
    ...


@elementwise(
    "x / y",
    lambda x, y, z: x / y,
    lambda x, y, z, r: [None, -(z / y) / y, 1 / y],
    singular=True,
    dtypes="floating",
    flops=4,
    prepare=lambda x, y, z: [z + y, y, z],
)
def quotient_of(x: TensorLike, y: TensorLike, z: TensorLike) -> Tensor:
    """x / y with the derivative of z / y, for an x that is z + c · y: both differ by the number c.

    1 / (1 + x) − 1 is −x / (1 + x), with the derivative of 1 / (1 + x), in which nothing cancels.
    """
    ...
