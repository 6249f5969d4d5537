# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Element-wise: other dtypes, and the identities that stop a gradient or hide a node.

`partials` get the operands and the result and give ∂result/∂operand for each operand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce, wraps
from typing import Any, Concatenate, ParamSpec

import numpy as np

from .. import dtypes as dt
from ..dtypes import DType, DTypeLike
from ..half import converted, widened
from ..tensor import Tensor, TensorLike
from .build import as_tensor, as_tensors, elementwise

P = ParamSpec("P")

__all__ = [
    "astype",
    "conj",
    "real",
    "stop_gradient",
]


def _cast(x: Any, dtype: DType) -> Any:
    x = widened(x)
    if x.dtype.kind == "f" and dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        whole = np.trunc(np.nan_to_num(x.astype(np.float64), posinf=np.inf, neginf=-np.inf))
        low, high = whole <= float(limits.min), whole >= float(limits.max)
        safe = np.where(low | high, 0, whole).astype(dtype.numpy)
        return np.where(low, limits.min, np.where(high, limits.max, safe))
    return converted(x, dtype)


@elementwise(
    "dtype(x)",
    lambda x, dtype: _cast(x, dtype),
    lambda x, y: [1.0 if x.dtype.is_float else None],
    dtypes="cast",
)
def cast(x: TensorLike, *, dtype: DType) -> Tensor:
    """Convert to `dtype`.  Floats become integers towards zero, saturating, nan giving 0.

    A number becomes a half by one rounding to the nearest, ties to even, whatever it was before.
    """
    ...


def astype(x: TensorLike, dtype: DTypeLike) -> Tensor:
    """`x` converted to `dtype`; itself where it has it already."""
    tensor, target = as_tensor(x), dt.as_dtype(dtype)
    return tensor if tensor.dtype == target else cast(tensor, dtype=target)


def of_one_dtype(values: Sequence[TensorLike]) -> list[Tensor]:
    """Tensors of the dtype that all promote to."""
    tensors = as_tensors(values)
    common = reduce(dt.promote, [tensor.dtype for tensor in tensors])
    return [astype(tensor, common) for tensor in tensors]


def rounded_once(formula: Callable[Concatenate[Any, P], Tensor]) -> Callable[..., Tensor]:
    """For a public function of several ops: a half is taken to float32 and rounded at the end."""

    @wraps(formula)
    def function(x: TensorLike, *args: P.args, **named: P.kwargs) -> Tensor:
        tensor = as_tensor(x)
        if not tensor.dtype.is_half:
            return formula(tensor, *args, **named)
        return astype(formula(astype(tensor, dt.float32), *args, **named), tensor.dtype)

    return function


@elementwise("x", lambda x: x, dtypes="any", no_gradient="the user asked for none here")
def stop_gradient(x: TensorLike) -> Tensor:
    """x, through which no derivative flows."""
    ...


@elementwise("x", lambda x: x, lambda x, y: [1.0], dtypes="any")
def pin(x: TensorLike) -> Tensor:
    """x, hidden from rewriting: what a gradient is asked about must stay a node."""
    ...


def real(x: TensorLike) -> Tensor:
    """The real part of x, which is x itself: there are no complex numbers here."""
    return as_tensor(x)


conj = real


def accumulated(x: Tensor, dtype: dt.DTypeLike | None) -> Tensor:
    """`x` in the dtype to add or multiply up in: `dtype`, or where None the standard's choice,
    int64 of integers and bools (uint64 of unsigned ones) and their own of floats."""
    if dtype is None and not x.dtype.is_float:
        dtype = dt.uint64 if x.dtype.kind == "u" else dt.int64
    return x if dtype is None else astype(x, dtype)
