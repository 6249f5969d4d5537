# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Sliding windows, a view, and their transpose, which adds up where windows overlap.

Both know their result's sizes from attributes: what a user may ask for (padding, windows that fit)
is the public functions' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any

import numpy as np

from ..dims import Dim, DimLike, Shape, ceildiv, maximum
from ..errors import DTypeError, ShapeError
from ..op import View
from ..shapes import unify
from ..tensor import Node, Tensor, TensorType
from .build import apply, constant, primitive
from .create import iota
from .gather import gather
from .logic import where
from .reduction import squeeze_axes, sum_
from .shape import permute, reshape

__all__: list[str] = []

Ints = tuple[int, ...]


def may_be_negative(size: DimLike) -> bool:
    """Whether a size may turn out below 0: not where it only adds and multiplies symbols."""
    if isinstance(size, int):
        return size < 0
    return any(
        factor < 0 or any(not isinstance(atom, str) for atom in monomial)
        for monomial, factor in size.terms
    )


def check_counts(counts: Shape) -> None:
    """Numbers must not be negative; sizes that may turn out so are at least 1, or the call
    fails."""
    for count in counts:
        if isinstance(count, int) and count < 0:
            raise ShapeError(f"{count} windows do not exist")
        if isinstance(count, Dim) and may_be_negative(count):
            unify(count, maximum(count, 1), "numbers of windows")


def span_of(count: DimLike, window: DimLike, stride: int, dilation: int) -> DimLike:
    """Entries from the start of the first window to the end of the last; 0 where there is none."""
    if count == 0 or window == 0:
        return 0
    span = stride * (count - 1) + dilation * (window - 1) + 1
    return maximum(span, 0) if may_be_negative(span) else span


def where_all(conditions: Sequence[Tensor], x: Tensor, other: Tensor) -> Tensor:
    """x where all conditions hold."""
    together = conditions[0]
    for condition in conditions[1:]:
        together = together & condition
    return where(together, x, other)


# --- windows ----------------------------------------------------------------------------------


def _infer_windows(
    x: TensorType, *, counts: Shape, sizes: Shape, strides: Ints, dilations: Ints
) -> TensorType:
    n = len(counts)
    if not n == len(sizes) == len(strides) == len(dilations) or n > x.ndim:
        raise ShapeError(f"needs a count, size, stride and dilation for each of {n} last axes")
    check_counts(counts)
    lead, last = x.shape[: x.ndim - n], x.shape[x.ndim - n :]
    spans = map(span_of, counts, sizes, strides, dilations)
    for axis, (size, span) in enumerate(zip(last, spans, strict=True), len(lead)):
        if isinstance(span, int) and isinstance(size, int) and span > size:
            raise ShapeError(f"windows over {span} entries leave axis {axis} of size {size}")
    return TensorType(x.dtype, (*lead, *counts, *sizes))


def _numpy_windows(x: Any, counts: Any, sizes: Any, strides: Any, dilations: Any) -> Any:
    n = len(counts)
    places = tuple(
        s * np.arange(count).reshape(-1, 1) + d * np.arange(size)
        for count, size, s, d in zip(counts, sizes, strides, dilations, strict=True)
    )
    for axis, place in enumerate(places, x.ndim - n):  # one axis becomes two, the second goes last
        x = np.moveaxis(np.take(x, place, axis), axis + 1, -1)
    return x


def _view_windows(node: Node, view: View) -> View:
    counts, sizes = node.attrs["counts"], node.attrs["sizes"]
    lead, last = view.strides[: len(view.strides) - len(counts)], view.strides[-len(counts) :]

    def walked(extents: Shape, steps: Ints) -> list[DimLike]:
        triples = zip(extents, steps, last, strict=True)
        return [0 if extent == 1 else step * stride for extent, step, stride in triples]

    return View(
        (*lead, *walked(counts, node.attrs["strides"]), *walked(sizes, node.attrs["dilations"])),
        view.offset,
    )


def _transpose_windows(node: Node, cotangent: Tensor, _: int) -> Tensor:
    shape, attrs = node.operands[0].shape, node.attrs
    return overlap_add(
        cotangent,
        shape=shape[len(shape) - len(attrs["counts"]) :],
        strides=attrs["strides"],
        dilations=attrs["dilations"],
    )


def _batch(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    return [apply(node.op, operands, **node.attrs)]  # leading axes are any number


@primitive(
    kind="view",
    infer=_infer_windows,
    reference=_numpy_windows,
    linear=(0,),
    transpose=_transpose_windows,
    batch=_batch,
    view=_view_windows,
    samples=(
        (((7,),), {"counts": (5,), "sizes": (3,), "strides": (1,), "dilations": (1,)}),
        (((2, 9),), {"counts": (3,), "sizes": (2,), "strides": (2,), "dilations": (3,)}),
        (
            ((2, 5, 7),),
            {"counts": (2, 3), "sizes": (2, 2), "strides": (3, 2), "dilations": (1, 2)},
        ),
        (((4, 1),), {"counts": (4, 1), "sizes": (1, 1), "strides": (1, 2), "dilations": (1, 1)}),
        (((3, 2),), {"counts": (0,), "sizes": (2,), "strides": (1,), "dilations": (1,)}),
        (((0, 4),), {"counts": (2,), "sizes": (2,), "strides": (2,), "dilations": (1,)}),
    ),
)
def windows(x: Tensor, *, counts: Shape, sizes: Shape, strides: Ints, dilations: Ints) -> Tensor:
    """Windows over the last axes: result[…, o…, k…] = x[…, o·stride + k·dilation …].

    (…, S₁…Sₙ) becomes (…, counts…, sizes…), all over the same memory.
    """
    ...


# --- its transpose ----------------------------------------------------------------------------


def _infer_overlap_add(
    x: TensorType, *, shape: Shape, strides: Ints, dilations: Ints
) -> TensorType:
    n = len(shape)
    if x.dtype.kind == "b":
        raise DTypeError("needs a number dtype, got bool")
    if not n == len(strides) == len(dilations) or 2 * n > x.ndim:
        raise ShapeError(f"needs a stride and dilation for each of {n} axes, and two axes of each")
    lead = x.shape[: x.ndim - 2 * n]
    made = TensorType(x.dtype, (*lead, *shape))
    counts, sizes = x.shape[x.ndim - 2 * n : x.ndim - n], x.shape[x.ndim - n :]
    _infer_windows(made, counts=counts, sizes=sizes, strides=strides, dilations=dilations)
    return made


def _numpy_overlap_add(x: Any, shape: Any, strides: Any, dilations: Any) -> Any:
    n = len(shape)
    lead, counts, sizes = np.split(np.array(x.shape), [x.ndim - 2 * n, x.ndim - n])
    result = np.zeros((*lead, *shape), x.dtype)
    if 0 in counts:
        return result
    for place in np.ndindex(*sizes):
        numbers = zip(place, counts, strides, dilations, strict=True)
        target = [slice(k * d, k * d + s * (count - 1) + 1, s) for k, count, s, d in numbers]
        result[(..., *target)] += x[(..., *place)]
    return result


def _expand_overlap_add(node: Node) -> list[Tensor]:
    """Position p is entry k of window o where p = o·stride + k·dilation.

    The k that belong to p are those with k·dilation ≡ p modulo the stride: with g the greatest
    common divisor of the two, every (stride / g)-th from the first on, if g divides p at all.
    Each p thus gathers what it needs and adds it up in order, and no two write to one place.
    """
    (x,), shape = node.operands, node.attrs["shape"]
    n = len(shape)
    lead = x.ndim - 2 * n
    counts, sizes = x.shape[lead : lead + n], x.shape[lead + n :]
    if node.attrs["strides"] == sizes and all(d == 1 for d in node.attrs["dilations"]):
        if shape == tuple(o * k for o, k in zip(counts, sizes, strict=True)):  # side by side
            pairs = [axis for i in range(n) for axis in (lead + i, lead + n + i)]
            return [reshape(permute(x, axes=(*range(lead), *pairs)), (*x.shape[:lead], *shape))]
    indices: list[Tensor] = []
    inside: list[Tensor] = []
    for i, (size, stride, dilation) in enumerate(
        zip(shape, node.attrs["strides"], node.attrs["dilations"], strict=True)
    ):
        o_axis, k_axis = lead + i, lead + n + i
        count, window = x.shape[o_axis], x.shape[k_axis]
        common = gcd(stride, dilation)
        period = stride // common
        inverse = pow(dilation // common, -1, period)
        ones: list[DimLike] = [1] * x.ndim
        ones[o_axis] = size
        position = iota(shape=tuple(ones), axis=o_axis)
        ones[o_axis], ones[k_axis] = 1, ceildiv(window, period)
        round_ = iota(shape=tuple(ones), axis=k_axis)
        k = (position // common * inverse) % period + round_ * period
        o = (position - k * dilation) // stride
        inside += [k < window, o >= 0, o < count]
        if common > 1:
            inside.append(position % common == 0)
        indices += [o, k]
    axes = tuple(axis for i in range(n) for axis in (lead + i, lead + n + i))
    met = where_all(inside, gather(x, *indices, axes=axes), constant(0, x.dtype))
    rest = tuple(range(lead + n, x.ndim))
    return [squeeze_axes(sum_(met, axes=rest), rest)]


def _transpose_overlap_add(node: Node, cotangent: Tensor, _: int) -> Tensor:
    shape, attrs = node.operands[0].shape, node.attrs
    n = len(attrs["shape"])
    return windows(
        cotangent,
        counts=shape[len(shape) - 2 * n : len(shape) - n],
        sizes=shape[len(shape) - n :],
        strides=attrs["strides"],
        dilations=attrs["dilations"],
    )


@primitive(
    kind="composite",
    infer=_infer_overlap_add,
    reference=_numpy_overlap_add,
    linear=(0,),
    transpose=_transpose_overlap_add,
    batch=_batch,
    expand=_expand_overlap_add,
    combine="add",
    samples=(
        (((5, 3),), {"shape": (7,), "strides": (1,), "dilations": (1,)}),
        (((2, 3, 2),), {"shape": (9,), "strides": (2,), "dilations": (3,)}),
        (((4, 3),), {"shape": (40,), "strides": (10,), "dilations": (4,)}),
        (((2, 2, 3, 2, 2),), {"shape": (5, 7), "strides": (3, 2), "dilations": (1, 2)}),
        (((0, 2),), {"shape": (3,), "strides": (1,), "dilations": (1,)}),
        (((1, 1),), {"shape": (1,), "strides": (1,), "dilations": (1,)}),
    ),
)
def overlap_add(x: Tensor, *, shape: Shape, strides: Ints, dilations: Ints) -> Tensor:
    """The transpose of windows: (…, O₁…Oₙ, K₁…Kₙ) becomes (…, shape…), each entry the sum of all
    x[…, o…, k…] with o·stride + k·dilation its position; 0 where no window reaches."""
    ...
