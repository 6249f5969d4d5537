# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Arrays made from their index alone, or of one number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import DimLike, Shape, as_dim
from ..tensor import Tensor, TensorLike, TensorType
from .build import as_tensor, constant, primitive
from .conversion import astype
from .shape import broadcast_to

__all__ = ["arange", "full", "ones", "ones_like", "zeros", "zeros_like"]


@primitive(
    kind="generator",
    infer=lambda *, shape, axis: TensorType(dt.int64, shape),
    reference=lambda shape, axis: np.broadcast_to(
        np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape
    ),
    code="index",
    no_gradient="its result is no float",
    samples=(((), {"shape": (3, 4), "axis": 0}), ((), {"shape": (0,), "axis": 0})),
)
def iota(*, shape: Shape, axis: int) -> Tensor:
    """int64: the index along `axis`."""
    ...


def arange(stop: DimLike | str, dtype: dt.DTypeLike = "int64") -> Tensor:
    """0, 1, … below `stop`, a size."""
    return astype(iota(shape=(as_dim(stop),), axis=0), dtype)


def full(shape: Any, value: TensorLike, dtype: dt.DTypeLike | None = None) -> Tensor:
    """`value` everywhere."""
    sizes = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    scalar = as_tensor(value)
    return broadcast_to(scalar if dtype is None else astype(scalar, dtype), sizes)


def zeros(shape: Any, dtype: dt.DTypeLike = "float32") -> Tensor:
    """0 everywhere; `shape` may hold dimensions and names of them."""
    return full(shape, constant(0, dtype))


def ones(shape: Any, dtype: dt.DTypeLike = "float32") -> Tensor:
    """1 everywhere; `shape` may hold dimensions and names of them."""
    return full(shape, constant(1, dtype))


def zeros_like(x: TensorLike) -> Tensor:
    """0 in the shape and dtype of `x`."""
    tensor = as_tensor(x)
    return zeros(tensor.shape, tensor.dtype)


def ones_like(x: TensorLike) -> Tensor:
    """1 in the shape and dtype of `x`."""
    tensor = as_tensor(x)
    return ones(tensor.shape, tensor.dtype)
