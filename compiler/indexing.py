"""Rules about computed indices, which need code: selections by one-hot masks and by counting.

A selection that is written as what it is, a gather along one axis, is one that ``log`` sees
softmax through, and whose derivative needs no scatter.
"""

from __future__ import annotations

import numpy as np

from ..ir import dtypes as dt
from ..ir.array import Array
from ..ir.dims import DimLike
from ..ir.dtypes import DType
from ..ir.op import TABLE
from ..ir.ops.build import constant
from ..ir.ops.create import iota
from ..ir.ops.gather import gather
from ..ir.ops.logic import equal, where
from ..ir.ops.shape import only_ones_differ, reshape
from ..ir.ops.transcendental import log
from ..ir.tensor import Node, Tensor
from .pattern import uniform
from .rewrite import Rule


def _behind_squeeze(tensor: Tensor) -> Tensor:
    """What a reshape that only adds or drops axes of size 1 reshapes."""
    node = tensor.node
    if node.op.name == "reshape" and only_ones_differ(node.operands[0].shape, tensor.shape):
        return node.operands[0]
    return tensor


def _counts_to(dtype: DType, size: DimLike) -> bool:
    """Whether an integer of `dtype` can be any position along an axis, without wrapping."""
    largest = size - 1 if isinstance(size, int) else dt.int64.highest
    return dtype.is_integer and dtype.highest >= largest


def _counts(index: Tensor, axis: int, size: DimLike) -> bool:
    """Whether `index` is 0, 1, … below `size` along `axis`, its only axis not of size 1."""
    if index.shape != tuple(size if i == axis else 1 for i in range(index.ndim)):
        return False
    source = _behind_squeeze(index)
    for _ in range(4):  # a cast, a check and reshapes may stand between
        node = source.node
        if node.op.name == "wrap_index" and node.attrs["size"] == size:
            source = _behind_squeeze(node.operands[0])
        elif node.op.name == "cast" and _counts_to(source.dtype, size):
            source = _behind_squeeze(node.operands[0])
    node = source.node
    if node.op.name == "iota":
        return node.attrs["shape"][node.attrs["axis"]] == size != 1
    value = node.attrs.get("value")
    if not isinstance(value, Array) or not isinstance(size, int):
        return False
    return bool(np.array_equal(value.values.reshape(-1), np.arange(size)))


def _gather_by_counting(node: Node) -> Tensor | None:
    x, *indices = node.operands
    axes: tuple[int, ...] = node.attrs["axes"]
    kept = [
        i
        for i, (index, axis) in enumerate(zip(indices, axes, strict=True))
        if not _counts(index, axis, x.shape[axis])
    ]
    if len(kept) == len(indices):
        return None
    if not kept:
        return x
    return gather(x, *[indices[i] for i in kept], axes=tuple(axes[i] for i in kept))


def _scatter_to_own_place(node: Node) -> Tensor | None:
    x, updates, *indices = node.operands
    if len(indices) != 1 or uniform(x) != 0:
        return None
    (index,), (axis,) = indices, node.attrs["axes"]
    if updates.shape[axis] != 1 or index.shape[axis] != 1:
        return None
    sizes = tuple(size if i == axis else 1 for i, size in enumerate(x.shape))
    place = equal(iota(shape=sizes, axis=axis), index)
    return where(place, updates, constant(0, x.dtype))


def _one_hot(mask: Tensor) -> tuple[Tensor, int, DimLike] | None:
    """The valid index, the axis (from the last, negative) and the size of a one-hot mask."""
    node = mask.node
    if node.op.name == "cast":
        node = node.operands[0].node
    if node.op.name != "equal":
        return None
    for counted, index in (node.operands, node.operands[::-1]):
        if counted.node.op.name != "iota" or index.dtype != dt.int64:
            continue
        shape = counted.shape
        axis: int = counted.node.attrs["axis"] - counted.ndim
        if any(size != 1 for i, size in enumerate(shape, -len(shape)) if i != axis):
            continue
        checked = _behind_squeeze(index).node
        if checked.op.name != "wrap_index" or checked.attrs["size"] != shape[axis]:
            continue
        if -axis > index.ndim or index.shape[axis] == 1:
            return index, axis, shape[axis]
    return None


def _sum_with_one_hot(node: Node) -> Tensor | None:
    (product,), axes = node.operands, node.attrs["axes"]
    inner = product.node
    if inner.op.name == "multiply":
        pairs = [inner.operands, inner.operands[::-1]]
    elif inner.op.name == "weighted_log" and _one_hot(inner.operands[0]) is not None:
        pairs = [(inner.operands[0], log(inner.operands[1]))]
    elif inner.op.name == "where" and uniform(inner.operands[2]) == 0:
        pairs = [inner.operands[:2]]
    else:
        return None
    for mask, x in pairs:
        found = _one_hot(mask)
        if found is None or x.shape != product.shape or found[0].ndim > x.ndim:
            continue
        index, place, size = found
        axis = x.ndim + place
        if axis not in axes or x.shape[axis] != size:
            continue
        aligned = reshape(index, (*[1] * (x.ndim - index.ndim), *index.shape))
        selected = gather(x, aligned, axes=(axis,))
        rest = tuple(a for a in axes if a != axis)
        return Node(TABLE["sum"], [selected], {"axes": rest}).results[0] if rest else selected
    return None


INDEXING = (
    Rule(
        "gather(x, arange(n), i) -> gather(x, i)",
        "an axis of size n that is indexed by counting to n is not indexed",
        code=_gather_by_counting,
        roots=("gather",),
    ),
    Rule(
        "scatter_add(0, x, i) -> where(iota == i, x, 0)",
        "one update for each line goes to one place: a comparison fuses, and needs no atomics",
        code=_scatter_to_own_place,
        roots=("scatter_add",),
    ),
    Rule(
        "sum(x * (iota == i), a) -> gather(x, i)",
        "all but one term are zero where x is finite; the index is known to be in range",
        code=_sum_with_one_hot,
        roots=("sum",),
    ),
)
