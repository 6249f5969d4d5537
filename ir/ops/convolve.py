# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""The sum over windows that convolutions are: one op, and its own transpose.

It knows its result's sizes from attributes, and reads zeros wherever there is no input.  So what a
convolution's derivatives ask for is always another one of these, of both modes and all orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, prod
from typing import Any, TypeGuard

import numpy as np

from .. import dtypes as dt
from ..dims import DimLike, Shape, product
from ..errors import DTypeError, ShapeError
from ..shapes import unify
from ..tensor import Node, Tensor, TensorType
from .build import primitive
from .contraction import matmul_
from .create import zeros
from .join import stack
from .patches import patches, spread_out
from .reduction import sum_
from .shape import permute, reshape
from .slicing import flip, slice_, slice_axis
from .window import Ints, check_counts, span_of, windows

__all__: list[str] = []

_ROW = 8  # entries worth a vector
_INSIDE = 0.97  # the share of a convolution's products from which on zeros are stored
_LARGEST = 1 << 20  # entries of all windows, of which a table says where they are on the image
_FEW = 4096  # windows that are rows of one product, whatever entry they are of


def _infer_convolve(
    x: TensorType,
    w: TensorType,
    *,
    counts: Shape,
    lows: Shape,
    strides: Ints,
    dilations: Ints,
    spreads: Ints,
) -> TensorType:
    n = len(counts)
    if not n == len(lows) == len(strides) == len(dilations) == len(spreads):
        raise ShapeError(f"needs five numbers for each of {n} axes")
    if x.ndim != n + 3 or w.ndim != n + 3:
        raise ShapeError(f"operands need {n + 3} axes")
    if x.dtype != w.dtype or not (x.dtype.is_float or x.dtype in (dt.int32, dt.int64)):
        raise DTypeError(f"operands must share a float, i32 or i64, got {x.dtype} and {w.dtype}")
    groups = unify(x.shape[1], w.shape[0], "numbers of groups")
    unify(x.shape[2], w.shape[2], "numbers of channels")
    check_counts(counts)
    return TensorType(x.dtype, (x.shape[0], groups, w.shape[1], *counts))


def _numpy_convolve(
    x: Any, w: Any, counts: Any, lows: Any, strides: Any, dilations: Any, spreads: Any
) -> Any:
    """For each entry of the kernel, the product of its weights and what they meet, added up.

    What meets no input has no part in a sum: there an infinite weight would else make it nan.
    """
    result = np.zeros((x.shape[0], w.shape[0], w.shape[1], *counts), x.dtype)
    for place in np.ndindex(*w.shape[3:]):
        met, into = x, list[Any]()
        for axis, k in enumerate(place):
            at = np.arange(counts[axis]) * strides[axis] + k * dilations[axis] - lows[axis]
            entry, between = np.divmod(at, spreads[axis])
            good = (between == 0) & (entry >= 0) & (entry < x.shape[3 + axis])
            met = np.take(met, entry[good], 3 + axis)
            into.append(np.flatnonzero(good))
        flat = met.reshape((*met.shape[:3], prod(met.shape[3:])))
        made = np.matmul(w[(slice(None),) * 3 + place], flat)
        result[(slice(None),) * 3 + np.ix_(*into)] += made.reshape(*made.shape[:3], *met.shape[3:])
    return result


def _transpose_convolve(node: Node, cotangent: Tensor, position: int) -> Tensor:
    """Convolutions again.  With o·stride + k·dilation = i·spread + low:

    by x: solved for i, stride and spread change places, and the kernel is turned round;
    by w: solved for k, stride and dilation change places; the batch is what is summed over.
    """
    x, w = node.operands
    attrs = dict(node.attrs)
    rest = tuple(range(3, x.ndim))
    if position == 0:
        lows = zip(attrs["lows"], attrs["dilations"], w.shape[3:], strict=True)
        attrs |= {
            "counts": x.shape[3:],
            "lows": tuple(d * (size - 1) - low for low, d, size in lows),
            "strides": attrs["spreads"],
            "spreads": attrs["strides"],
        }
        turned = permute(flip(w, rest), axes=(0, 2, 1, *rest))
        return convolve(cotangent, turned, **attrs)
    attrs |= {
        "counts": w.shape[3:],
        "strides": attrs["dilations"],
        "dilations": attrs["strides"],
    }
    swapped = permute(x, axes=(2, 1, 0, *rest))  # (C, G, N, …) and (G, O, N, …): N is summed over
    kernel = permute(cotangent, axes=(1, 2, 0, *rest))
    return permute(convolve(swapped, kernel, **attrs), axes=(1, 2, 0, *rest))


def _batch_convolve(
    node: Node, operands: Sequence[Tensor], batched: Sequence[bool]
) -> list[Tensor]:
    """The new axis joins the batch of x, the output channels of w, or the groups of both."""
    x, w = operands
    result = node.results[0]
    if all(batched):
        b, n, groups = x.shape[:3]
        x = reshape(_exchange(x), (n, b * groups, *x.shape[3:]))
        w = reshape(w, (b * groups, *w.shape[2:]))
        made = convolve(x, w, **node.attrs)
        return [_exchange(reshape(made, (n, b, *result.shape[1:])))]
    if batched[0]:
        b, n = x.shape[:2]
        made = convolve(reshape(x, (b * n, *x.shape[2:])), w, **node.attrs)
        return [reshape(made, (b, *result.shape))]
    b, groups, outputs = w.shape[:3]
    w = reshape(_exchange(w), (groups, b * outputs, *w.shape[3:]))
    made = convolve(x, w, **node.attrs)
    made = reshape(made, (*result.shape[:2], b, *result.shape[2:]))
    return [permute(made, axes=(2, 0, 1, *range(3, made.ndim)))]


def _exchange(x: Tensor) -> Tensor:
    """The first two axes exchanged."""
    return permute(x, axes=(1, 0, *range(2, x.ndim)))


def _expand_convolve(node: Node) -> list[Tensor]:
    """One product of matrices a group and entry, of the windows as rows ("im2col") and the kernels.

    Chellapilla, Puri, Simard, "High performance convolutional neural networks for document
    processing", 2006.  The windows need not be laid out: see `compiler/walks.py`.
    """
    (x, w), attrs = node.operands, node.attrs
    parted = _by_residues(node)
    if parted is not None:
        return [parted]
    n = x.ndim - 3
    counts, strides, dilations = attrs["counts"], attrs["strides"], attrs["dilations"]
    sizes = w.shape[3:]
    spans = tuple(map(span_of, counts, sizes, strides, dilations))
    padded = spread_out(x, attrs["lows"], attrs["spreads"], spans)
    batch, (groups, outputs, channels) = x.shape[0], w.shape[:3]
    if padded is x and product(sizes) == 1 and counts == x.shape[3:]:
        pixels = reshape(x, (batch, groups, channels, product(counts)))  # columns as they are
        made = matmul_(reshape(w, (groups, outputs, channels)), pixels)
        return [reshape(made, (batch, groups, outputs, *counts))]
    places, entries = tuple(range(3, 3 + n)), tuple(range(3 + n, 3 + 2 * n))
    far = _reaches_far(node)
    if outputs != 1 and far is not None:
        made = patches(
            x, counts=counts, sizes=far, lows=attrs["lows"], strides=strides, dilations=dilations
        )
        ordered = permute(w, axes=(0, *places, 2, 1))
        made = matmul_(made, reshape(ordered, (groups, made.shape[2], outputs)))
        made = reshape(made, (groups, *counts, batch, outputs))
        return [permute(made, axes=(1 + n, 0, 2 + n, *range(1, 1 + n)))]
    seen = windows(padded, counts=counts, sizes=sizes, strides=strides, dilations=dilations)
    depth, positions = channels * product(sizes), product(counts)
    if outputs == 1 and (channels == 1 or _fills(counts[-1])):  # sums along the rows of images
        columns = permute(seen, axes=(0, 1, 2, *entries, *places))
        weights = reshape(w, (groups, channels, *sizes, *[1] * n))
        made = sum_(columns * weights, axes=tuple(range(2, 3 + n)))
        return [reshape(made, node.results[0].shape)]
    if batch == outputs == 1 and _is_long(sizes, counts):  # its gradient: a sum over all images
        rows = permute(seen, axes=(0, 1, *places, 2, *entries))
        weights = reshape(w, (groups, *[1] * n, channels, *sizes))
        made = sum_(rows * weights, axes=tuple(range(2 + n, 3 + 2 * n)))
        return [reshape(made, node.results[0].shape)]
    kernels = reshape(permute(w, axes=(0, 2, *places, 1)), (groups, depth, outputs))
    if _as_rows(batch, positions):
        rows = permute(seen, axes=(1, 0, *places, 2, *entries))  # G, N, O…, C, K…
        made = matmul_(reshape(rows, (groups, batch * positions, depth)), kernels)
        made = reshape(made, (groups, batch, *counts, outputs))
        return [permute(made, axes=(1, 0, 2 + n, *range(2, 2 + n)))]
    rows = permute(seen, axes=(0, 1, *places, 2, *entries))
    made = matmul_(reshape(rows, (batch, groups, positions, depth)), kernels)
    made = reshape(made, (batch, groups, *counts, outputs))
    return [permute(made, axes=(0, 1, 2 + n, *range(2, 2 + n)))]


def _by_residues(node: Node) -> Tensor | None:
    """A convolution of a spread input without the zeros in it, along one axis at a time.

    The entries k that meet x, and not a zero, are those with o·stride + k·dilation ≡ low modulo
    the spread.  They depend on o modulo a period only, and are then every so-manieth: so the
    results of one residue are a convolution by fewer weights, and those of all take turns.
    Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016.
    """
    (x, w), attrs = node.operands, node.attrs
    spread_axes = [i for i, spread in enumerate(attrs["spreads"]) if spread > 1]
    for axis in spread_axes:
        count, low, size = attrs["counts"][axis], attrs["lows"][axis], w.shape[3 + axis]
        if isinstance(count, int) and isinstance(low, int) and isinstance(size, int) and count > 1:
            break
    else:
        return None
    stride, dilation, spread = (attrs[k][axis] for k in ("strides", "dilations", "spreads"))
    period, jump = spread // gcd(spread, stride), spread // gcd(spread, dilation)
    rounds = -(-count // period)

    def changed(**values: DimLike) -> dict[str, Any]:
        """The attributes with other numbers on the axis."""
        return {k: (*v[:axis], values[k], *v[axis + 1 :]) for k, v in attrs.items()}

    parts: list[Tensor] = []
    for residue in range(min(period, count)):
        ahead = residue * stride - low
        entries = [k for k in range(size) if (ahead + k * dilation) % spread == 0]
        if not entries:
            shape = list(node.results[0].shape)
            shape[3 + axis] = rounds
            parts.append(zeros(tuple(shape), x.dtype))
            continue
        one = (0,) * (3 + axis), (0,) * (w.ndim - 4 - axis)
        fewer = slice_(
            w,
            starts=(*one[0], entries[0], *one[1]),
            sizes=(*w.shape[: 3 + axis], len(entries), *w.shape[4 + axis :]),
            steps=(*[1] * (3 + axis), jump, *[1] * (w.ndim - 4 - axis)),
        )
        made = changed(
            counts=rounds,
            lows=-(ahead + entries[0] * dilation) // spread,
            strides=period * stride // spread,
            dilations=jump * dilation // spread,
            spreads=1,
        )
        parts.append(convolve(x, fewer, **made))
    shape = list(node.results[0].shape)
    shape[3 + axis] = rounds * len(parts)
    return slice_axis(reshape(stack(parts, 4 + axis), tuple(shape)), 3 + axis, 0, count)


def _is_long(sizes: Shape, counts: Shape) -> bool:
    """Whether there are few windows, and rows in them that fill vectors."""
    last, few = sizes[-1], product(counts)
    return _fills(last) and isinstance(few, int) and few <= last * _ROW


def _fills(size: DimLike) -> TypeGuard[int]:
    return isinstance(size, int) and size >= _ROW


def _reaches_far(node: Node) -> Ints | None:
    """The windows' sizes where many of the products are by zeros around the image, and groups of
    windows that reach over the same edges are large: then the zeros are left out, unless the table
    of what each window has of the image would be large itself.

    The same for a convolution and for its gradient by the kernel, which change batch and channels.
    """
    (x, w), attrs = node.operands, node.attrs
    if any(isinstance(size, int) and size < _ROW for size in (x.shape[0], x.shape[2])):
        return None
    if any(spread != 1 for spread in attrs["spreads"]):
        return None
    entries = product((*attrs["counts"], *w.shape[3:]))
    if not isinstance(entries, int) or not 0 < entries <= _LARGEST:
        return None
    inside, sizes = 1.0, list[int]()
    names = ("counts", "lows", "strides", "dilations")
    for *numbers, size, extent in zip(
        *(attrs[name] for name in names), w.shape[3:], x.shape[3:], strict=True
    ):
        count, low, stride, dilation = numbers
        known = all(isinstance(number, int) for number in (count, low, extent))
        if not (known and isinstance(size, int)):
            return None
        sizes.append(size)
        place = np.arange(count)[:, None] * stride + np.arange(size) * dilation - low
        inside *= float(np.mean((place >= 0) & (place < extent)))
    return tuple(sizes) if inside < _INSIDE else None


def _as_rows(batch: DimLike, positions: DimLike) -> bool:
    """Whether the entries of the batch are rows of one product: so where there are few windows in
    each, which would not fill tiles."""
    rows = batch * positions
    return isinstance(rows, int) and isinstance(batch, int) and rows <= _FEW


def _sample(x: Ints, w: Ints, counts: Ints, **changed: Ints) -> Any:
    n = len(counts)
    plain = {"lows": (0,) * n, **dict.fromkeys(("strides", "dilations", "spreads"), (1,) * n)}
    return (x, w), {"counts": counts, **plain, **changed}


@primitive(
    kind="composite",
    infer=_infer_convolve,
    reference=_numpy_convolve,
    linear=(0, 1),
    transpose=_transpose_convolve,
    batch=_batch_convolve,
    expand=_expand_convolve,
    combine="add",
    samples=(
        _sample((2, 1, 3, 7), (1, 2, 3, 3), (5,)),
        _sample((1, 2, 2, 5), (2, 1, 2, 2), (4,), lows=(2,), strides=(2,), dilations=(3,)),
        _sample((2, 1, 1, 4), (1, 2, 1, 3), (7,), lows=(1,), spreads=(2,)),
        _sample((1, 1, 1, 6), (1, 1, 1, 2), (3,), lows=(-1,), strides=(2,), spreads=(3,)),
        _sample(
            (2, 1, 2, 4, 3), (1, 2, 2, 3, 2), (2, 2), lows=(1, 0), strides=(2, 1), dilations=(1, 2)
        ),
        _sample((1, 1, 2, 2, 3, 2), (1, 2, 2, 1, 2, 2), (2, 2, 1)),
        _sample((2, 1, 3, 4, 2), (1, 2, 3, 1, 1), (4, 2)),
        _sample((0, 1, 2, 4), (1, 2, 2, 3), (2,)),
        _sample((2, 1, 0, 4), (1, 2, 0, 3), (2,)),
        _sample((2, 1, 1, 0), (1, 1, 1, 1), (2,), lows=(1,)),
    ),
)
def convolve(
    x: Tensor,
    w: Tensor,
    *,
    counts: Shape,
    lows: Shape,
    strides: Ints,
    dilations: Ints,
    spreads: Ints,
) -> Tensor:
    """Sums over windows, by groups of channels: (N, G, C, S…), (G, O, C, K…) → (N, G, O, counts…).

    result[n, g, o, p…] = Σ x[n, g, c, i…] · w[g, o, c, k…] over c and all i, k with
    i·spread + low = p·stride + k·dilation on each axis: `low` counts zeros before x, a spread
    of s puts s − 1 zeros between its entries, and behind it there are as many as are needed.
    """
    ...
