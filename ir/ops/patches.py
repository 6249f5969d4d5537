# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Windows as rows of a matrix, zeros around the image included: what a convolution multiplies.

Where such a matrix is the left side of a product, nobody need lay it out, nor the zeros: see
`compiler/walks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..dims import Shape, product
from ..errors import DTypeError, ShapeError
from ..op import View
from ..tensor import Node, Tensor, TensorType
from .build import constant, primitive
from .create import iota
from .gather import gather
from .shape import permute, reshape
from .window import Ints, check_counts, overlap_add, span_of, where_all, windows

__all__: list[str] = []


def spread_out(x: Tensor, lows: Shape, spreads: Ints, spans: Shape) -> Tensor:
    """(N, G, C, spans…): x at low + i·spread of each axis, 0 elsewhere; what lies outside is cut
    off.

    What is moved is padded first, so that a convolution and its derivative pad one array.
    """
    axes_moved = x.node.attrs["axes"] if x.node.op.name == "permute" else ()
    if axes_moved[3:] == tuple(range(3, x.ndim)) and axes_moved:
        inner = spread_out(x.node.operands[0], lows, spreads, spans)
        return x if inner is x.node.operands[0] else permute(inner, axes=axes_moved)
    indices: list[Tensor] = []
    inside: list[Tensor] = []
    axes: list[int] = []
    for axis, (low, spread, span) in enumerate(zip(lows, spreads, spans, strict=True), 3):
        size = x.shape[axis]
        enough = span <= size if isinstance(span, int) and isinstance(size, int) else span == size
        if low == 0 and spread == 1 and enough:
            continue
        ones = tuple(span if i == axis else 1 for i in range(x.ndim))
        away = iota(shape=ones, axis=axis) - low
        place = away // spread if spread > 1 else away
        inside += [away >= 0, place < size]
        if spread > 1:
            inside.append(away % spread == 0)
        indices.append(place)
        axes.append(axis)
    if not axes:
        return x
    return where_all(inside, gather(x, *indices, axes=tuple(axes)), constant(0, x.dtype))


def _infer(
    x: TensorType, *, counts: Shape, sizes: Ints, lows: Ints, strides: Ints, dilations: Ints
) -> TensorType:
    n = len(counts)
    if not n == len(sizes) == len(lows) == len(strides) == len(dilations) == x.ndim - 3:
        raise ShapeError(f"needs five numbers for each of {x.ndim - 3} axes")
    if x.dtype.kind == "b":
        raise DTypeError("needs a number dtype, got bool")
    check_counts(counts)
    batch, groups, channels = x.shape[:3]
    return TensorType(x.dtype, (groups, product(counts) * batch, product(sizes) * channels))


def _numpy(x: Any, counts: Any, sizes: Any, lows: Any, strides: Any, dilations: Any) -> Any:
    n = len(counts)
    for axis in range(n):  # one axis becomes two, the second goes last
        place = np.arange(counts[axis])[:, None] * strides[axis] - lows[axis]
        place = place + np.arange(sizes[axis]) * dilations[axis]
        good = (place >= 0) & (place < x.shape[3 + axis])
        if x.shape[3 + axis] == 0:
            shape = (*x.shape[: 3 + axis], *place.shape, *x.shape[4 + axis :])
            met = np.zeros(shape, x.dtype)
        else:
            met = np.take(x, np.where(good, place, 0), 3 + axis)
            ones = (1,) * (met.ndim - 5 - axis)
            met = np.where(good.reshape((*place.shape, *ones)), met, np.zeros((), x.dtype))
        x = np.moveaxis(met, 4 + axis, -1)
    batch, groups, channels = x.shape[:3]
    places, entries = range(3, 3 + n), range(3 + n, 3 + 2 * n)
    x = np.transpose(x, (1, *places, 0, *entries, 2))
    return x.reshape((groups, prod(counts) * batch, prod(sizes) * channels))


def _transpose(node: Node, cotangent: Tensor, _: int) -> Tensor:
    (x,), attrs = node.operands, node.attrs
    counts, sizes, n = attrs["counts"], attrs["sizes"], x.ndim - 3
    batch, groups, channels = x.shape[:3]
    apart = reshape(cotangent, (groups, *counts, batch, *sizes, channels))
    axes = (n + 1, 0, 2 * n + 2, *range(1, n + 1), *range(n + 2, 2 * n + 2))
    strides, dilations = attrs["strides"], attrs["dilations"]
    spans = tuple(map(span_of, counts, sizes, strides, dilations))
    whole = overlap_add(
        permute(apart, axes=axes), shape=spans, strides=strides, dilations=dilations
    )
    return spread_out(whole, tuple(-low for low in attrs["lows"]), (1,) * n, x.shape[3:])


def _batch(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    """The new axis joins the batch."""
    (x,) = operands
    more, batch, groups = x.shape[:3]
    counts = node.attrs["counts"]
    made = patches(reshape(x, (more * batch, *x.shape[2:])), **node.attrs)
    depth = made.shape[2]
    apart = reshape(made, (groups, product(counts), more, batch, depth))
    result = permute(apart, axes=(2, 0, 1, 3, 4))
    return [reshape(result, (more, groups, product(counts) * batch, depth))]


def _expand(node: Node) -> list[Tensor]:
    """With the zeros in memory, as a view that a reshape then copies."""
    (x,), attrs = node.operands, node.attrs
    n = x.ndim - 3
    counts, strides, dilations = attrs["counts"], attrs["strides"], attrs["dilations"]
    spans = tuple(map(span_of, counts, attrs["sizes"], strides, dilations))
    padded = spread_out(x, attrs["lows"], (1,) * n, spans)
    seen = windows(
        padded, counts=counts, sizes=attrs["sizes"], strides=strides, dilations=dilations
    )
    rows = permute(seen, axes=(1, *range(3, 3 + n), 0, *range(3 + n, 3 + 2 * n), 2))
    return [reshape(rows, node.results[0].shape)]


def _view(node: Node, view: View) -> None:
    """Zeros lie nowhere."""


@primitive(
    kind="view",
    infer=_infer,
    reference=_numpy,
    linear=(0,),
    transpose=_transpose,
    batch=_batch,
    view=_view,
    expand=_expand,
    samples=(
        (
            ((2, 1, 3, 7),),
            {"counts": (5,), "sizes": (3,), "lows": (0,), "strides": (1,), "dilations": (1,)},
        ),
        (
            ((2, 2, 1, 4, 3),),
            {
                "counts": (3, 2),
                "sizes": (2, 3),
                "lows": (1, 2),
                "strides": (2, 1),
                "dilations": (1, 2),
            },
        ),
        (
            ((1, 1, 1, 1),),
            {"counts": (1,), "sizes": (1,), "lows": (0,), "strides": (1,), "dilations": (1,)},
        ),
        (
            ((0, 1, 2, 2),),
            {"counts": (3,), "sizes": (2,), "lows": (1,), "strides": (1,), "dilations": (1,)},
        ),
    ),
)
def patches(
    x: Tensor, *, counts: Shape, sizes: Ints, lows: Ints, strides: Ints, dilations: Ints
) -> Tensor:
    """Windows as rows: (N, G, C, S…) → (G, counts… · N, sizes… · C), 0 outside of S….

    result[g, (o…, n), (k…, c)] = x[n, g, c, o·stride + k·dilation − low].  The images of a batch
    are side by side, since their windows at one place reach over the same edges.
    """
    ...
