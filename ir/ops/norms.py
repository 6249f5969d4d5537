# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Norms, ranks, powers and products of matrices and vectors, as formulas of other ops.

The Euclidean length is an op of its own, so that rules can name it: its squares are those of
x over the largest |x|, which neither overflow nor underflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from operator import index
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import DimLike
from ..errors import ArgumentError, DTypeError, ShapeError
from ..op import MaybeTensors
from ..shapes import broadcast, keep_axes, normalise_axes, normalise_axis, unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .arithmetic import abs as absolute
from .arithmetic import maximum, square
from .build import as_tensor, primitive
from .contraction import matmul
from .conversion import astype, of_one_dtype, rounded_once, stop_gradient
from .diagonal import diagonal
from .gated import gated_multiply
from .indexing import take
from .logic import equal, isfinite, not_equal, where
from .matrices import check_matrix, identity_like
from .reduction import max, max_, min, squeeze_axes, sum, sum_
from .shape import broadcast_to, expand_dims, reshape
from .solving import inv, tolerance
from .spectral import svdvals
from .transcendental import sqrt

__all__ = [
    "cross",
    "kron",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "outer",
    "trace",
    "vector_norm",
]


def _infer_length(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    if not x.dtype.is_float:
        raise DTypeError(f"needs a float dtype, got {x.dtype}")
    if normalise_axes(axes, x.ndim) != axes:
        raise ShapeError(f"axes must be in order and counted from the front, got {axes}")
    return TensorType(x.dtype, keep_axes(x.shape, axes))


def _numpy_length(x: Any, axes: tuple[int, ...]) -> Any:
    top = np.max(np.abs(x), axes, keepdims=True, initial=0)
    scale = np.where(np.isfinite(top) & (top > 0), top, 1)
    wide = np.float64 if x.dtype == np.float32 else x.dtype
    squares = np.square((x / scale).astype(wide))
    return (scale * np.sqrt(np.sum(squares, axes, keepdims=True))).astype(x.dtype)


def _expand_length(node: Node) -> list[Tensor]:
    x, axes = node.operands[0], node.attrs["axes"]
    top = max_(absolute(x), axes=axes)
    scale = where(isfinite(top) & (top > 0.0), top, 1.0)
    return [scale * sqrt(sum_(square(x / scale), axes=axes))]


def _direction(node: Node) -> Tensor:
    """∂length/∂x: x over its length, and 0 where both are."""
    length = node.results[0]
    return node.operands[0] / where(equal(length, 0.0), 1.0, length)


def _vjp_length(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,) = cotangents
    return [None if ct is None else gated_multiply(ct, _direction(node))]


def _jvp_length(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (t,) = tangents
    if t is None:
        return [None]
    return [sum_(gated_multiply(t, _direction(node)), axes=node.attrs["axes"])]


def _batch_length(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    return [length_(operands[0], axes=tuple(axis + 1 for axis in node.attrs["axes"]))]


@primitive(
    kind="composite",
    infer=_infer_length,
    reference=_numpy_length,
    vjp=_vjp_length,
    jvp=_jvp_length,
    batch=_batch_length,
    expand=_expand_length,
    samples=(
        (((5,),), {"axes": (0,)}),
        (((3, 4),), {"axes": (1,)}),
        (((3, 4),), {"axes": (0, 1)}),
        (((2, 3, 40),), {"axes": (0, 2)}),
        (((1, 1),), {"axes": (1,)}),
        (((0, 4),), {"axes": (1,)}),
        (((4, 0),), {"axes": (1,)}),
    ),
)
def length_(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    """√(Σ x²) over `axes`, kept as size 1; the derivative is x over it, and 0 where it is 0."""
    ...


def root(total: Tensor, order: float) -> Tensor:
    """total to the power of 1 / order; at 0 the derivative is 0, not infinite."""
    nothing = equal(total, 0.0)
    some = where(nothing, 1.0, total)
    return where(nothing, 0.0, sqrt(some) if order == 2 else some ** (1.0 / order))


def _power(x: Tensor, order: float) -> Tensor:
    """x ≥ 0 to the power of `order` > 0; at 0 the derivative is 0, not infinite."""
    nothing = equal(x, 0.0)
    return where(nothing, 0.0, where(nothing, 1.0, x) ** order)


@rounded_once
def vector_norm(
    x: TensorLike,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    ord: float | str = 2,
) -> Tensor:
    """(Σ |x|ᵖ)^(1/p) over `axis` (None: all), for p = `ord`.

    ord: any number; inf is the largest |x|, −inf the smallest, 0 counts what is not 0.
    The derivative is finite everywhere for p ≥ 1: where the norm is 0, it is 0.
    """
    tensor = as_tensor(x)
    if not tensor.dtype.is_float:
        raise DTypeError(f"needs a float dtype, got {tensor.dtype}; cast with .astype")
    if isinstance(ord, str):
        raise ArgumentError(f"ord is a number, got {ord!r}")
    if ord == 0:
        return sum(astype(not_equal(tensor, 0.0), tensor.dtype), axis, keepdims)
    if ord == 2:
        axes = normalise_axes(axis, tensor.ndim)
        length = length_(tensor, axes=axes) if axes else absolute(tensor)
        return length if keepdims else squeeze_axes(length, axes)
    size = absolute(tensor)
    if ord == inf:
        return maximum(max(size, axis, keepdims), 0.0)  # 0 where there is nothing
    if ord == -inf:
        return min(size, axis, keepdims)
    if ord == 1:
        return sum(size, axis, keepdims)
    if ord < 0:
        return root(sum(size**ord, axis, keepdims), ord)
    # By the largest entry, so that no power overflows.  The norm scales as x does: whatever number
    # it is divided by and multiplied with again, the derivative is the same.
    top = stop_gradient(max(size, axis, keepdims=True))
    scale = where(isfinite(top) & (top > 0.0), top, 1.0)
    total = root(sum(_power(size / scale, ord), axis, keepdims=True), ord) * scale
    return total if keepdims else squeeze_axes(total, normalise_axes(axis, tensor.ndim))


@rounded_once
def matrix_norm(x: TensorLike, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """A norm of matrices, the last two axes.

    ord: "fro" √Σ x², "nuc" Σ s of the singular values s, 2 their largest and −2 their smallest,
    1 the largest sum of |x| in a column, −1 the smallest, inf and −inf those of rows.
    """
    tensor = as_tensor(x)
    check_matrix(tensor.type)
    if ord == "fro":
        return vector_norm(tensor, (-2, -1), keepdims)
    if ord in (1, -1, inf, -inf):
        axis = -2 if ord in (1, -1) else -1
        sums = sum(absolute(tensor), axis, keepdims=True)
        fold: Any = max if ord in (1, inf) else min
        result = fold(sums, (-2, -1), keepdims=True)
    elif ord in (2, -2, "nuc"):
        values = expand_dims(svdvals(tensor), -1)
        fold = {2: max, -2: min, "nuc": sum}[ord]
        result = fold(values, (-2, -1), keepdims=True)
    else:
        raise ArgumentError(f"ord is 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {ord!r}")
    if ord in (1, 2, inf):
        result = maximum(result, 0.0)  # 0 where there is nothing
    return result if keepdims else reshape(result, tensor.shape[:-2])


def matrix_rank(x: TensorLike, rtol: TensorLike | None = None) -> Tensor:
    """int64: how many singular values are above rtol times the largest.

    rtol: a number, or one a matrix; None: the larger size times the spacing of the dtype at 1.
    """
    tensor = as_tensor(x)
    check_matrix(tensor.type)
    values = svdvals(tensor)
    line = expand_dims(tolerance(tensor, rtol), -1) * max(values, -1, keepdims=True)
    return sum(astype(values > line, dt.int64), -1)


def matrix_power(x: TensorLike, n: int) -> Tensor:
    """Square matrices multiplied n times, by repeated squaring; of the inverse for n < 0."""
    tensor = as_tensor(x)
    if tensor.ndim < 2:
        raise ShapeError(f"needs matrices, which have at least two axes, got {tensor.type}")
    unify(tensor.shape[-2], tensor.shape[-1], "the sizes of a square matrix")
    n = index(n)
    if n < 0:
        tensor, n = inv(tensor), -n
    result: Tensor | None = None
    while n:
        if n % 2:
            result = tensor if result is None else matmul(result, tensor)
        n //= 2
        if n:
            tensor = matmul(tensor, tensor)
    return identity_like(tensor) if result is None else result


def trace(x: TensorLike, offset: int = 0, dtype: dt.DTypeLike | None = None) -> Tensor:
    """The sum of a diagonal of matrices: the main one, or `offset` to its right.

    dtype: as of sum; None adds integers up as int64 or uint64.
    """
    return sum(diagonal(x, offset), -1, dtype=dtype)


def cross(x: TensorLike, y: TensorLike, axis: int = -1) -> Tensor:
    """The cross product of vectors of 3 along `axis`; the other axes broadcast."""
    left, right = of_one_dtype([x, y])
    if left.ndim != right.ndim and axis >= 0:
        raise ArgumentError(f"axis {axis} of {left.type} and {right.type}: count it from the last")
    for tensor in (left, right):
        if tensor.shape[normalise_axis(axis, tensor.ndim)] != 3:
            raise ShapeError(f"needs vectors of 3 along axis {axis}, got {tensor.type}")
    shape = broadcast([left.shape, right.shape])
    left, right = broadcast_to(left, shape), broadcast_to(right, shape)

    def turned(tensor: Tensor, *order: int) -> Tensor:
        return take(tensor, order, axis)

    return turned(left, 1, 2, 0) * turned(right, 2, 0, 1) - turned(left, 2, 0, 1) * turned(
        right, 1, 2, 0
    )


def outer(x: TensorLike, y: TensorLike) -> Tensor:
    """x[i] · y[j] of two vectors."""
    left, right = of_one_dtype([x, y])
    if left.ndim != 1 or right.ndim != 1:
        raise ShapeError(f"needs two vectors, got {left.type} and {right.type}")
    return expand_dims(left, 1) * right


def kron(x: TensorLike, y: TensorLike) -> Tensor:
    """The Kronecker product: each entry of x times all of y; the shorter shape gets leading 1s."""
    left, right = of_one_dtype([x, y])
    rank = left.ndim if left.ndim > right.ndim else right.ndim
    one: tuple[DimLike, ...] = (*[1] * (rank - left.ndim), *left.shape)
    other: tuple[DimLike, ...] = (*[1] * (rank - right.ndim), *right.shape)
    spread = reshape(left, tuple(size for n in one for size in (n, 1)))
    repeated = reshape(right, tuple(size for n in other for size in (1, n)))
    return reshape(spread * repeated, tuple(a * b for a, b in zip(one, other, strict=True)))
