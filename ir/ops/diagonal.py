# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Diagonals and triangles of matrices (the last two axes)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import DimLike, Shape, as_dim, maximum, minimum
from ..errors import ArgumentError, ShapeError
from ..op import View
from ..shapes import normalise_axis
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_integer, as_tensor, constant, primitive
from .conversion import astype
from .create import iota
from .logic import where
from .shape import expand_dims, permute_dims
from .slicing import embed

__all__ = ["diagonal", "eye", "tril", "triu"]


def _length(shape: Shape, offset: int) -> DimLike:
    rows, columns = shape[-2:]
    return maximum(minimum(rows - max(-offset, 0), columns - max(offset, 0)), 0)


def _infer(x: TensorType, *, offset: int) -> TensorType:
    if x.ndim < 2:
        raise ShapeError(f"needs at least two axes, got {x}")
    return TensorType(x.dtype, (*x.shape[:-2], _length(x.shape, offset)))


def _transpose(node: Node, cotangent: Tensor, _: int) -> Tensor:
    return spread_diagonal(cotangent, node.attrs["offset"], node.operands[0].shape)


def spread_diagonal(x: Tensor, offset: int, shape: Shape) -> Tensor:
    """Zeros of `shape` with `x` on a diagonal: the transpose of diagonal."""
    first = (*[0] * (x.ndim - 1), max(-offset, 0))
    rows = embed(x, starts=first, steps=(1,) * x.ndim, shape=shape[:-1])
    return where(_away(shape) == offset, expand_dims(rows, -1), constant(0, x.dtype))


def _away(shape: Shape) -> Tensor:
    """column − row of each entry of a matrix: on which diagonal it lies."""
    rows, columns = shape[-2:]
    return iota(shape=(1, columns), axis=1) - iota(shape=(rows, 1), axis=0)


def _view(node: Node, view: View) -> View:
    offset: int = node.attrs["offset"]
    *lead, row, column = view.strides
    start = view.offset + row * max(-offset, 0) + column * max(offset, 0)
    return View((*lead, row + column), start)


def _batch(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    return [diagonal_(*operands, offset=node.attrs["offset"])]


@primitive(
    kind="view",
    infer=_infer,
    reference=lambda x, offset: np.diagonal(x, offset, -2, -1),
    linear=(0,),
    transpose=_transpose,
    batch=_batch,
    view=_view,
    samples=(
        (((4, 4),), {"offset": 0}),
        (((2, 3, 5),), {"offset": 1}),
        (((5, 3),), {"offset": -2}),
        (((1, 1),), {"offset": 0}),
        (((1, 4),), {"offset": 3}),
        (((2, 2),), {"offset": 7}),
        (((0, 3),), {"offset": 0}),
    ),
)
def diagonal_(x: Tensor, *, offset: int) -> Tensor:
    """x[..., i, i + offset] over i: one stride that is the sum of two."""
    ...


def diagonal(x: TensorLike, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """The diagonal of the matrices along two axes, as a new last axis; a view.

    offset: 0 is the main diagonal, positive ones lie to its right.  (NumPy's function takes the
    first two axes by default, the array API standard, which this follows, the last two.)
    """
    tensor = as_tensor(x)
    if tensor.ndim < 2:
        raise ShapeError(f"needs at least two axes, got {tensor.type}")
    pair = [normalise_axis(axis, tensor.ndim) for axis in (axis1, axis2)]
    if pair[0] == pair[1]:
        raise ArgumentError(f"axis1 and axis2 must differ, got {axis1} and {axis2}")
    rest = [axis for axis in range(tensor.ndim) if axis not in pair]
    return diagonal_(permute_dims(tensor, [*rest, *pair]), offset=as_integer(offset, "offset"))


def _triangle(x: TensorLike, keep: Any) -> Tensor:
    tensor = as_tensor(x)
    if tensor.ndim < 2:
        raise ShapeError(f"needs at least two axes, got {tensor.type}")
    return where(keep(_away(tensor.shape)), tensor, constant(0, tensor.dtype))


def _number(k: Any) -> Any:
    """The number of a diagonal within int64: beyond any size all are outside alike."""
    return max(-(2**62), min(k, 2**62)) if isinstance(k, int) else k


def tril(x: TensorLike, k: int = 0) -> Tensor:
    """The lower triangles of matrices: 0 above diagonal `k`."""
    return _triangle(x, lambda away: away <= _number(k))


def triu(x: TensorLike, k: int = 0) -> Tensor:
    """The upper triangles of matrices: 0 below diagonal `k`."""
    return _triangle(x, lambda away: away >= _number(k))


def eye(
    rows: DimLike | str,
    columns: DimLike | str | None = None,
    k: int = 0,
    dtype: dt.DTypeLike | None = None,
) -> Tensor:
    """A matrix with 1 on diagonal `k` and 0 elsewhere; `columns` are as many as `rows` if None.

    dtype: float32 by default.
    """
    count = as_dim(rows)
    shape = (count, count if columns is None else as_dim(columns))
    return astype(_away(shape) == _number(k), dtype or "float32")
