# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: the activations of neural networks.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

import numpy as np

from ..tensor import Tensor, TensorLike
from .arithmetic import multiply
from .build import elementwise
from .conversion import rounded_once
from .transcendental import sigmoid

__all__ = [
    "relu",
    "silu",
]


@elementwise("maximum(x, 0)", lambda x: np.maximum(x, x.dtype.type(0)), lambda x, y: [x > 0])
def relu(x: TensorLike) -> Tensor:
    """max(x, 0); the derivative at 0 is 0."""
    ...


@rounded_once
def silu(x: TensorLike) -> Tensor:
    """x · sigmoid(x)."""
    return multiply(x, sigmoid(x))
