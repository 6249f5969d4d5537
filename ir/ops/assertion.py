# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Assertions about values, which hold or make the call fail."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, CheckError
from ..tensor import Tensor, TensorLike
from .build import elementwise

__all__ = ["check"]


def _checked(condition: Any, x: Any, message: str) -> Any:
    condition, x = np.broadcast_arrays(condition, x)
    if not condition.all():
        value = x[~condition][0].item()
        raise CheckError(f"{message}: it is {value:{'g' if isinstance(value, float) else 'd'}}")
    return x


@elementwise(
    "x",
    _checked,
    lambda condition, x, result: [None, 1.0],
    dtypes="where",
    check="condition",
)
def checked(condition: TensorLike, x: TensorLike, *, message: str) -> Tensor:
    """x; where the condition does not hold, the call fails with the message."""
    ...


def check(x: TensorLike, condition: TensorLike, message: str) -> Tensor:
    """x, and the call fails unless the bool `condition` holds everywhere.

    The two broadcast together; the result has the dtype of x and its derivative is that of x.
    A failing call raises CheckError with `message`, a value of x at which it failed and the line
    of this check, and changes no parameter.  What nothing needs is not computed: use the result
    in place of x.

    Raises DTypeError for a condition that is no bool, ShapeError where the shapes do not fit, and
    ArgumentError for a message that is no text.
    """
    if not isinstance(message, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"the message must be text, got {message!r}")
    return checked(condition, x, message=message)
