# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: products in which a zero wins, for derivatives.

Where nothing flows into an op, nothing flows out, however steep the op is: of
``where(x > 0, log(x), 0)`` at 0 the cotangent of the logarithm is 0 and its slope infinite, and
0 · ∞ would be nan.  The derivatives of both ops are gated too, so this holds in every order.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor, TensorLike
from .build import elementwise

__all__: list[str] = []


def _product(x: Any, y: Any) -> Any:
    return np.where((x == 0) | (y == 0), x.dtype.type(0), x * y)


def _quotient(x: Any, y: Any) -> Any:
    return np.where((x == 0) | np.isinf(y), x.dtype.type(0), x / y)


@elementwise(
    "gated_multiply(x, y)",
    _product,
    lambda x, y, z: [y, x],
    singular=True,
    dtypes="floating",
    commutative=True,
    flops=3,
)
def gated_multiply(x: TensorLike, y: TensorLike) -> Tensor:
    """x · y, and 0 where one of them is 0, be the other infinite or nan."""
    ...


@elementwise(
    "gated_divide(x, y)",
    _quotient,
    lambda x, y, z: [1 / y, -gated_divide(z, y)],  # pyright: ignore[reportGeneralTypeIssues]
    singular=True,
    dtypes="floating",
    flops=6,
)
def gated_divide(x: TensorLike, y: TensorLike) -> Tensor:
    """x / y, and 0 where x is 0 or y infinite, be the other as it may."""
    ...
