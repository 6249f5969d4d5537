# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Sorted order.  nan counts as the largest number, as in sorted arrays of NumPy, max and argmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes as dt
from ..dims import DimLike, as_dim, minimum
from ..errors import ArgumentError, DTypeError, ShapeError
from ..shapes import normalise_axis, unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensor, primitive
from .conversion import of_one_dtype
from .gather import gather
from .indexing import take
from .shape import reshape, spread_batch
from .slicing import slice_axis

__all__ = ["argsort", "searchsorted", "sort", "top_k"]


def _infer(x: TensorType, *, axis: int, descending: bool) -> TensorType:
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"axis {axis} is not one of {x.ndim} axes")
    return TensorType(dt.int64, x.shape)


def _argsort(x: Any, axis: int, descending: bool) -> Any:
    if not descending:
        return np.argsort(x, axis, kind="stable")
    backwards = np.argsort(np.flip(x, axis), axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(backwards, axis)  # so that equal entries keep their order


def _batch(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    attrs = node.attrs
    return [argsort_(*operands, axis=attrs["axis"] + 1, descending=attrs["descending"])]


@primitive(
    kind="host",
    infer=_infer,
    reference=_argsort,
    no_gradient="its result is no float",
    batch=_batch,
    samples=(
        (((7,),), {"axis": 0, "descending": False}),
        (((3, 40),), {"axis": 1, "descending": True}),
        (((4, 3, 2),), {"axis": 0, "descending": False}),
        (((1, 1),), {"axis": 1, "descending": True}),
        (((0, 2),), {"axis": 0, "descending": False}),
    ),
)
def argsort_(x: Tensor, *, axis: int, descending: bool) -> Tensor:
    """The places of the entries along `axis` in sorted order; equal ones stay in order."""
    ...


def argsort(x: TensorLike, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """int64 places of the entries of `x` along `axis` in sorted order.

    Equal entries stay in order, also where `descending`; `stable` is there for the standard's
    sake and changes nothing.  nan counts as the largest.  Computed by NumPy on the host.
    """
    tensor = as_tensor(x)
    place = normalise_axis(axis, tensor.ndim)
    return argsort_(tensor, axis=place, descending=bool(descending))


def sort(x: TensorLike, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """`x` in order along `axis`: ascending with nan last, or `descending` with nan first.

    The derivative of a sorted entry goes to where it came from; among equal ones the order stays.
    """
    tensor = as_tensor(x)
    place = normalise_axis(axis, tensor.ndim)
    return gather(tensor, argsort(tensor, place, descending, stable), axes=(place,))


class TopK(NamedTuple):
    """values: the largest entries.  indices: where they stand, int64."""

    values: Tensor
    indices: Tensor


def top_k(x: TensorLike, k: DimLike | str, axis: int = -1) -> TopK:
    """The `k` largest entries of `x` along `axis`, in descending order, and where they stand.

    Of equal ones the first come first; nan counts as the largest.  The derivative goes to the
    entries that are chosen.  ShapeError where `k` is more than there are; of a named size as many
    as there turn out to be.
    """
    tensor = as_tensor(x)
    place, count = normalise_axis(axis, tensor.ndim), as_dim(k)
    size = tensor.shape[place]
    if isinstance(count, int) and isinstance(size, int) and count > size:
        raise ShapeError(f"axis {place} of {tensor.type} has no {count} entries")
    order = argsort(tensor, place, descending=True)
    chosen = slice_axis(order, place, 0, minimum(count, size))
    return TopK(gather(tensor, chosen, axes=(place,)), chosen)


# --- searchsorted ---


def _infer_search(x: TensorType, values: TensorType, *, right: bool) -> TensorType:
    if x.dtype != values.dtype:
        raise DTypeError(f"operands must have one dtype, got {x.dtype} and {values.dtype}")
    if x.ndim < 1 or x.ndim != values.ndim:
        raise ShapeError("needs vectors, or as many leading axes")
    for axis, (size, other) in enumerate(zip(x.shape[:-1], values.shape[:-1], strict=True)):
        unify(size, other, f"sizes of axis {axis}")
    return TensorType(dt.int64, values.shape)


def _search(x: Any, values: Any, right: bool) -> Any:
    found = np.zeros(values.shape, np.int64)
    for row in np.ndindex(*values.shape[:-1]):
        found[row] = np.searchsorted(x[row], values[row], "right" if right else "left")
    return found


def _batch_search(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    return [searchsorted_(*spread_batch(operands, batched), right=node.attrs["right"])]


@primitive(
    kind="host",
    infer=_infer_search,
    reference=_search,
    no_gradient="its result is no float",
    batch=_batch_search,
    samples=(
        (((9,), (20,)), {"right": False}),
        (((9,), (20,)), {"right": True}),
        (((2, 5), (2, 3)), {"right": True}),
        (((0,), (2,)), {"right": False}),
        (((1,), (0,)), {"right": False}),
    ),
    prepare=lambda x, values: (np.sort(x, -1), values),
)
def searchsorted_(x: Tensor, values: Tensor, *, right: bool) -> Tensor:
    """How many entries of each row of sorted x lie before each of that row's values; `right`: not
    behind it."""
    ...


def searchsorted(
    x: TensorLike, values: TensorLike, side: str = "left", sorter: TensorLike | None = None
) -> Tensor:
    """int64: where each of `values` (any shape) goes in a sorted vector to keep it sorted.

    side: "left" of equal entries, or "right".  sorter: indices that sort x, where x is not sorted.
    In a vector that is not sorted the places mean nothing.  Computed by NumPy on the host.
    """
    if side not in ("left", "right"):
        raise ArgumentError(f"side is 'left' or 'right', got {side!r}")
    row, wanted = of_one_dtype([x, values])
    flat = reshape(wanted, (-1,))
    if row.ndim != 1:
        raise ShapeError(f"needs a sorted vector, got {row.type}")
    if sorter is not None:
        row = take(row, sorter)
    return reshape(searchsorted_(row, flat, right=side == "right"), wanted.shape)
