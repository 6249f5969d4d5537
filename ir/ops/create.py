# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Arrays made from their index alone, or of one number."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isfinite
from typing import Any, cast

import numpy as np

from .. import dtypes as dt
from ..dims import Dim, DimLike, Shape, as_dim, floordiv, maximum
from ..errors import ArgumentError, DTypeError, ShapeError
from ..shapes import broadcast as broadcast_shapes
from ..tensor import Tensor, TensorLike, TensorType
from .build import as_tensor, as_tensors, constant, primitive
from .conversion import astype
from .logic import where
from .shape import broadcast_to, reshape

__all__ = [
    "arange",
    "empty",
    "empty_like",
    "full",
    "full_like",
    "linspace",
    "meshgrid",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]


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


Bound = int | float | Dim | str


def arange(
    start: Bound, stop: Bound | None = None, step: Bound = 1, dtype: dt.DTypeLike | None = None
) -> Tensor:
    """start, start + step, … before `stop`; from 0 below `start` where `stop` is None.

    The bounds and the step are numbers, sizes, or names of sizes: they fix how many entries there
    are, ⌈(stop − start) / step⌉.  int64 unless one of them is a float; then float32, each entry
    start + i·step in the result's dtype.  Raises ArgumentError for a step of 0 and for tensors.
    """
    given = (0, start, step) if stop is None else (start, stop, step)
    first, last, by = (_bound(bound) for bound in given)
    floats = [bound for bound in (first, last, by) if isinstance(bound, float)]
    if by == 0:
        raise ArgumentError("the step must not be 0")
    count: DimLike
    if not floats:
        ways = cast(tuple[DimLike, DimLike, DimLike], (first, last, by))
        count = _count(*ways)
    elif any(isinstance(bound, Dim) for bound in (first, last, by)):
        raise ArgumentError("a range of floats has no named sizes for bounds")
    else:
        a, b, c = cast(tuple[float, float, float], (first, last, by))
        length = (b - a) / c
        if not isfinite(length):
            raise ArgumentError(f"a range from {a} to {b} by {c} has no number of entries")
        count = max(ceil(length), 0)
    wanted = dt.as_dtype(dtype or ("float32" if floats else "int64"))
    index = iota(shape=(count,), axis=0)
    index = astype(index, wanted) if floats else index
    found = index if by == 1 else index * by
    return astype(found if first == 0 else found + first, wanted)


def _bound(value: Any) -> int | float | Dim:
    if isinstance(value, (Dim, str)):
        return as_dim(value) if isinstance(value, str) else value
    if isinstance(value, (float, np.floating)):
        return float(value)
    if isinstance(value, Tensor) or not hasattr(value, "__index__"):
        raise ArgumentError(f"a bound is a number or a size, got {value!r}")
    return value.__index__()


def _count(start: DimLike, stop: DimLike, step: DimLike) -> DimLike:
    """⌈(stop − start) / step⌉, not less than 0; sizes never are."""
    length = stop - start
    if isinstance(step, int) and step < 0:
        length, step = -length, -step
    count = floordiv(length + (step - 1), step)
    return count if start == 0 and isinstance(stop, Dim) and step == 1 else maximum(count, 0)


def linspace(
    start: TensorLike,
    stop: TensorLike,
    num: DimLike | str = 50,
    endpoint: bool = True,
    dtype: dt.DTypeLike | None = None,
) -> Tensor:
    """`num` numbers at equal distances from `start` to `stop`, along a new first axis.

    start, stop: numbers or float tensors, which broadcast; the derivative flows to both.
    endpoint: whether `stop` is the last of them, to the last bit.
    Entry i is start + i·(stop − start)/n with n = num − 1, or num without the endpoint.
    """
    count = as_dim(num)
    (low, high), wanted = as_tensors([start, stop]), dt.as_dtype(dtype or "float32")
    if dtype is None and low.dtype.is_float:
        wanted = low.dtype
    if not wanted.is_float:
        raise DTypeError(f"needs a float dtype, got {wanted}")
    low, high = _in_dtype(start, wanted), _in_dtype(stop, wanted)
    steps = maximum(count - 1 if endpoint else count, 1)
    rank = len(broadcast_shapes([low.shape, high.shape]))
    index = iota(shape=(count, *[1] * rank), axis=0)
    found = low + astype(index, wanted) * ((high - low) / steps)
    return where((index == steps) & (index > 0), high, found) if endpoint else found


def meshgrid(*arrays: TensorLike, indexing: str = "xy") -> list[Tensor]:
    """Each of some vectors over the grid of all, as NumPy has it.

    indexing: "ij" gives axis i to vector i; "xy" exchanges the first two axes.
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"indexing is 'xy' or 'ij', got {indexing!r}")
    tensors = [as_tensor(array) for array in arrays]
    rank = len(tensors)
    order = list(range(rank))
    if indexing == "xy" and rank > 1:
        order[:2] = [1, 0]
    shape: list[DimLike] = [1] * rank
    for tensor, axis in zip(tensors, order, strict=True):
        if tensor.ndim > 1:
            raise ShapeError(f"needs vectors or numbers, got {tensor.type}")
        shape[axis] = tensor.size
    return [
        broadcast_to(reshape(t, tuple(t.size if i == axis else 1 for i in range(rank))), shape)
        for t, axis in zip(tensors, order, strict=True)
    ]


def _in_dtype(value: TensorLike, dtype: dt.DTypeLike) -> Tensor:
    """`value` as a tensor of `dtype`; a Python float straight, with all its digits."""
    if isinstance(value, float):
        return constant(value, dtype)
    return astype(as_tensor(value), dtype)


def full(shape: Any, fill_value: TensorLike, dtype: dt.DTypeLike | None = None) -> Tensor:
    """`fill_value` everywhere."""
    sizes = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    scalar = as_tensor(fill_value) if dtype is None else _in_dtype(fill_value, dtype)
    return broadcast_to(scalar, sizes)


def zeros(shape: Any, dtype: dt.DTypeLike | None = None) -> Tensor:
    """0 everywhere, float32 by default; `shape` may hold dimensions and names of them."""
    return full(shape, constant(0, dtype or "float32"))


def ones(shape: Any, dtype: dt.DTypeLike | None = None) -> Tensor:
    """1 everywhere, float32 by default; `shape` may hold dimensions and names of them."""
    return full(shape, constant(1, dtype or "float32"))


def full_like(x: TensorLike, fill_value: TensorLike, dtype: dt.DTypeLike | None = None) -> Tensor:
    """`fill_value` in the shape of `x`, and in its dtype unless `dtype` says otherwise."""
    tensor = as_tensor(x)
    return full(tensor.shape, fill_value, tensor.dtype if dtype is None else dtype)


def zeros_like(x: TensorLike, dtype: dt.DTypeLike | None = None) -> Tensor:
    """0 in the shape of `x`, and in its dtype unless `dtype` says otherwise."""
    return full_like(x, 0, dtype)


def ones_like(x: TensorLike, dtype: dt.DTypeLike | None = None) -> Tensor:
    """1 in the shape of `x`, and in its dtype unless `dtype` says otherwise."""
    return full_like(x, 1, dtype)


def empty(shape: Any, dtype: dt.DTypeLike = "float32") -> Tensor:
    """zeros: there is no array without values in a graph."""
    return zeros(shape, dtype)


def empty_like(x: TensorLike, dtype: dt.DTypeLike | None = None) -> Tensor:
    """zeros_like: there is no array without values in a graph."""
    return zeros_like(x, dtype)
