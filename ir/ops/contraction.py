# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Contractions: sums of products over a shared axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import dtypes as dt
from ..errors import DTypeError, ShapeError
from ..shapes import broadcast, unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensors, primitive
from .conversion import astype
from .shape import matrix_transpose, reshape, sum_to

__all__ = ["dot", "matmul"]

_DTYPES = (dt.float32, dt.float64, dt.int32, dt.int64)  # those that there are tiles for


def _infer(x: TensorType, y: TensorType) -> TensorType:
    if x.ndim < 2 or y.ndim < 2:
        raise ShapeError("operands need at least two axes")
    if x.dtype != y.dtype or x.dtype not in _DTYPES:
        names = ", ".join(map(str, _DTYPES))
        raise DTypeError(f"operands must share one of {names}, got {x.dtype} and {y.dtype}")
    unify(x.shape[-1], y.shape[-2], "inner sizes")
    batch = broadcast([x.shape[:-2], y.shape[:-2]])
    return TensorType(x.dtype, (*batch, x.shape[-2], y.shape[-1]))


def _transpose(node: Node, cotangent: Tensor, position: int) -> Tensor:
    x, y = node.operands
    if position == 0:
        return sum_to(matmul_(cotangent, matrix_transpose(y)), x.shape)
    return sum_to(matmul_(matrix_transpose(x), cotangent), y.shape)


def align_batch(operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    """Operands of one rank, so that their leading batch axes meet when they broadcast."""
    rank = max(x.ndim - flag for x, flag in zip(operands, batched, strict=True)) + 1
    return [
        reshape(x, (x.shape[0], *[1] * (rank - x.ndim), *x.shape[1:])) if flag else x
        for x, flag in zip(operands, batched, strict=True)
    ]


def _batch(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    x, y = align_batch(operands, batched)
    return [matmul_(x, y)]


@primitive(
    kind="contraction",
    infer=_infer,
    reference=np.matmul,
    linear=(0, 1),
    transpose=_transpose,
    batch=_batch,
    samples=tuple(
        (shapes, {})
        for shapes in [
            ((3, 4), (4, 5)),
            ((2, 3, 4), (4, 5)),
            ((3, 4), (2, 4, 5)),
            ((2, 1, 3, 4), (3, 4, 2)),
            ((1, 4), (4, 1)),
            ((0, 4), (4, 3)),
            ((2, 0), (0, 3)),
            ((33, 17), (17, 35)),
        ]
    ),
)
def matmul_(x: Tensor, y: Tensor) -> Tensor:
    """Σₖ x[…, i, k] · y[…, k, j], leading axes broadcasting; floats by fused multiply-add in
    order of k."""
    ...


def matmul(x: TensorLike, y: TensorLike) -> Tensor:
    """The matrix product by the standard's rules: vectors count as a row or a column."""
    left, right = as_tensors([x, y])
    if left.ndim == 0 or right.ndim == 0:
        raise ShapeError(f"operands need at least one axis, got {left.type} and {right.type}")
    if left.dtype != right.dtype:
        common = dt.promote(left.dtype, right.dtype)
        left, right = astype(left, common), astype(right, common)
    own = left.dtype
    if own.is_integer and own not in _DTYPES:  # sums of products wrap alike in more bits
        return astype(matmul(astype(left, dt.int64), astype(right, dt.int64)), own)
    row, column = left.ndim == 1, right.ndim == 1
    if row:
        left = reshape(left, (1, left.shape[0]))
    if column:
        right = reshape(right, (right.shape[0], 1))
    result = matmul_(left, right)
    shape = list(result.shape)
    if column:
        del shape[-1]
    if row:
        del shape[-1 if column else -2]
    return reshape(result, tuple(shape))


def dot(x: TensorLike, y: TensorLike) -> Tensor:
    """NumPy's name for matmul of vectors and matrices."""
    left, right = as_tensors([x, y])
    if left.ndim > 2 or right.ndim > 2:
        raise ShapeError(f"is for vectors and matrices, got {left.type} and {right.type}")
    return matmul(left, right)
