# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Contractions: sums of products over shared axes, all of them matrix products in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import DimLike, product
from ..errors import ArgumentError, DTypeError, ShapeError
from ..op import TABLE
from ..shapes import broadcast, normalise_axis, unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import apply, as_tensors, primitive
from .contraction_order import Label, Labels
from .conversion import astype, of_one_dtype
from .shape import expand_dims, matrix_transpose, moveaxis, permute_dims, reshape, squeeze, sum_to

__all__ = ["dot", "matmul", "tensordot", "vecdot"]

# Those that there are tiles for, and the halves, which become float32 before.
_DTYPES = (*dt.HALVES, dt.float32, dt.float64, dt.int32, dt.int64)


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
    if x.ndim > 2 and y.ndim == 2 and x.shape[:-1] == cotangent.shape[:-1]:
        rows = product(x.shape[:-1])  # of all entries: one product, and no sum of products
        left = matrix_transpose(reshape(x, (rows, x.shape[-1])))
        return matmul_(left, reshape(cotangent, (rows, cotangent.shape[-1])))
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


def _work(node: Node) -> DimLike:
    """2·m·k·n for each product of m × k and k × n."""
    return 2 * node.results[0].size * node.operands[0].shape[-1]


@primitive(
    kind="contraction",
    infer=_infer,
    reference=np.matmul,
    linear=(0, 1),
    transpose=_transpose,
    batch=_batch,
    work=_work,
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


def _infer_onto(x: TensorType, y: TensorType, total: TensorType) -> TensorType:
    product = _infer(x, y)
    if product != total:
        raise ShapeError(f"the product is {product}, what it is added to {total}")
    return product


@primitive(
    kind="contraction",
    infer=_infer_onto,
    reference=lambda x, y, total: total + np.matmul(x, y),
    no_gradient="it is made after differentiation",
    work=_work,
    samples=tuple(
        (shapes, {})
        for shapes in [
            ((3, 3), (3, 3), (3, 3)),
            ((3, 4), (4, 5), (3, 5)),
            ((2, 3, 4), (4, 5), (2, 3, 5)),
            ((1, 4), (4, 1), (1, 1)),
            ((0, 4), (4, 3), (0, 3)),
            ((2, 0), (0, 3), (2, 3)),
            ((33, 17), (17, 35), (33, 35)),
        ]
    ),
)
def matmul_add(x: Tensor, y: Tensor, total: Tensor) -> Tensor:
    """total + Σₖ x[…, i, k] · y[…, k, j]: the product's sums start at `total`, so that they can
    be added up where it lies; floats by fused multiply-add in order of k."""
    ...


def for_products(values: Sequence[TensorLike]) -> tuple[list[Tensor], dt.DType]:
    """Tensors of one dtype that there are products for, and the dtype that the result is to have.

    Integers that there are no tiles for go by int64: sums of products wrap alike in more bits.
    """
    tensors = of_one_dtype(values)
    own = tensors[0].dtype
    if own.is_integer and own not in _DTYPES:
        tensors = [astype(tensor, dt.int64) for tensor in tensors]
    return tensors, own


def matmul(x: TensorLike, y: TensorLike) -> Tensor:
    """The matrix product by the standard's rules: vectors count as a row or a column.

    x, y: numbers of any dtype with at least one axis; the leading axes of matrices broadcast.
    Integers wrap around.
    """
    (left, right), own = for_products([x, y])
    if left.ndim == 0 or right.ndim == 0:
        raise ShapeError(f"operands need at least one axis, got {left.type} and {right.type}")
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
    return astype(reshape(result, tuple(shape)), own)


def dot(x: TensorLike, y: TensorLike) -> Tensor:
    """NumPy's name for matmul of vectors and matrices."""
    left, right = as_tensors([x, y])
    if left.ndim > 2 or right.ndim > 2:
        raise ShapeError(f"is for vectors and matrices, got {left.type} and {right.type}")
    return matmul(left, right)


def vecdot(x: TensorLike, y: TensorLike, axis: int = -1) -> Tensor:
    """Σ x · y over `axis`, which counts from the last where the numbers of axes differ.

    The other axes broadcast; `axis` must have the same size in both.
    """
    left, right = of_one_dtype([x, y])
    if left.ndim != right.ndim and axis >= 0:
        raise ArgumentError(f"axis {axis} of {left.type} and {right.type}: count it from the last")
    left, right = (moveaxis(t, normalise_axis(axis, t.ndim), -1) for t in (left, right))
    unify(left.shape[-1], right.shape[-1], "the sizes of the axis")
    return _summed_product(left, right, 1)


def tensordot(x: TensorLike, y: TensorLike, axes: Any = 2) -> Tensor:
    """Σ x · y over pairs of axes; then come the other axes of x, and those of y.

    axes: how many, the last of x with the first of y; or the axes of x and the axes of y.
    """
    left, right = of_one_dtype([x, y])
    if isinstance(axes, int):
        if not 0 <= axes <= min(left.ndim, right.ndim):
            raise ArgumentError(f"{left.type} and {right.type} have no {axes} axes to pair")
        pair: Any = (range(left.ndim - axes, left.ndim), range(axes))
    elif isinstance(axes, Sequence) and len(axes) == 2:
        pair = [[given] if isinstance(given, int) else given for given in axes]
    else:
        raise ArgumentError(f"axes are a number or a pair of sequences, got {axes!r}")
    own = [normalise_axis(axis, left.ndim) for axis in pair[0]]
    other = [normalise_axis(axis, right.ndim) for axis in pair[1]]
    if len(own) != len(other) or len(set(own)) != len(own) or len(set(other)) != len(other):
        raise ArgumentError(f"axes must name as many axes of both, each once, got {axes!r}")
    for a, b in zip(own, other, strict=True):
        unify(left.shape[a], right.shape[b], f"the sizes of axis {a} and axis {b}")
    labels = list(range(left.ndim))
    others = [own[other.index(b)] if b in other else left.ndim + b for b in range(right.ndim)]
    wanted = [label for label in (*labels, *others) if labels.count(label) != others.count(label)]
    result, found = contract(left, labels, right, others, wanted)
    return permute_to(result, found, wanted)


# --- products over labelled axes ----------------------------------------------------------------


def sum_over(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Σ over `axes`, which go; in the dtype of x."""
    if not axes:
        return x
    return squeeze(apply(TABLE["sum"], [x], axes=tuple(sorted(axes))), axes)


def _summed_product(x: Tensor, y: Tensor, count: int) -> Tensor:
    """Σ x · y over the last `count` axes; of halves added up in float32, as matmul does."""
    own = x.dtype
    if own.is_half and count:
        x, y = astype(x, dt.float32), astype(y, dt.float32)
    result = x * y
    return astype(sum_over(result, range(result.ndim - count, result.ndim)), own)


def permute_to(x: Tensor, labels: Labels, wanted: Labels) -> Tensor:
    """The axes in another order."""
    order = [labels.index(label) for label in wanted]
    return x if order == list(range(x.ndim)) else permute_dims(x, order)


def contract(
    x: Tensor, x_labels: Labels, y: Tensor, y_labels: Labels, wanted: Labels
) -> tuple[Tensor, Labels]:
    """The product of x and y, summed over the labels that are not wanted, and the labels of its
    axes in the order that comes of itself.

    Each operand has a label once, of the same size in both, and one that it has alone is wanted.
    What both have and is wanted is a batch; without any sum, or where nothing else remains, this
    is an element-wise product.
    """
    shared = [label for label in x_labels if label in y_labels and label not in wanted]
    batch = [label for label in wanted if label in x_labels and label in y_labels]
    rows = [label for label in x_labels if label not in y_labels]
    columns = [label for label in y_labels if label not in x_labels]
    if not shared or not (rows or columns):
        order = [*[label for label in wanted if label in {*x_labels, *y_labels}], *shared]
        pair = (_spread(x, x_labels, order), _spread(y, y_labels, order))
        return _summed_product(*pair, len(shared)), wanted
    if rows and columns and wanted.index(columns[0]) < wanted.index(rows[0]):
        return contract(y, y_labels, x, x_labels, wanted)
    sizes = dict(zip((*x_labels, *y_labels), (*x.shape, *y.shape), strict=True))
    result = matmul(
        _grouped(x, x_labels, batch, [rows, shared]),
        _grouped(y, y_labels, batch, [shared, columns]),
    )
    found = [*batch, *rows, *columns]
    return reshape(result, tuple(sizes[label] for label in found)), found


def _spread(x: Tensor, labels: Labels, order: Labels) -> Tensor:
    """The axes in this order, with size 1 where x has none."""
    own = [label for label in order if label in labels]
    new = [axis for axis, label in enumerate(order) if label not in labels]
    return expand_dims(permute_to(x, labels, own), new)


def _grouped(x: Tensor, labels: Labels, batch: Labels, pair: Sequence[Labels]) -> Tensor:
    """The batch axes, then each group of axes as one.

    A group is joined where it stands and then moved, since what is moved first must be copied to
    be joined.
    """
    groups = [*([label] for label in batch), *pair]
    filled = [group for group in groups if group]
    placed = sorted(filled, key=lambda group: min(labels.index(label) for label in group))
    sizes = dict(zip(labels, x.shape, strict=True))
    ordered = permute_to(x, labels, [label for group in placed for label in group])
    joined = reshape(ordered, tuple(_size(sizes, group) for group in placed))
    moved = permute_to(joined, [g[0] for g in placed], [g[0] for g in filled])
    return reshape(moved, tuple(_size(sizes, group) for group in groups))


def _size(sizes: dict[Label, DimLike], group: Labels) -> DimLike:
    return product(sizes[label] for label in group)
