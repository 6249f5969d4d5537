"""Convolutions as users write them: kernels that slide over one, two or three spatial axes.

A bias is the user's to add: ``conv2d(x, w) + b[:, None, None]``.
"""

from __future__ import annotations

from typing import Any

from ..dims import DimLike, floordiv, product
from ..errors import ArgumentError, ShapeError
from ..shapes import unify
from ..tensor import Tensor, TensorLike
from .contraction import for_products, matmul_
from .conversion import astype
from .convolve import convolve
from .shape import permute, reshape
from .slicing import flip as turned_round
from .window_arguments import check_rank, frame, integers, pads_of, seen

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "locally_connected1d",
    "locally_connected2d",
]


def _group_size(channels: DimLike, groups: int, what: str) -> DimLike:
    size = floordiv(channels, groups)
    if size * groups != channels:
        raise ShapeError(f"{channels} {what} do not divide into {groups} groups")
    return size


def _check(x: Tensor, w: Tensor, n: int, kernel: str, groups: Any) -> int:
    check_rank(x, n)
    check_rank(w, n, "the kernel", kernel)
    if any(size == 0 for size in w.shape[2:]):
        raise ShapeError(f"the kernel {w.type} has no entries")
    return integers(groups, 1, "groups")[0]


def _check_channels(channels: DimLike, wanted: DimLike, groups: int) -> None:
    if isinstance(channels, int) and isinstance(wanted, int) and channels != wanted:
        among = f" in each of {groups} groups" if groups > 1 else ""
        raise ShapeError(f"the input has {channels} channels{among}, the kernel is for {wanted}")
    unify(channels, wanted, "numbers of channels")


def _conv(
    n: int,
    x: TensorLike,
    w: TensorLike,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    flip: bool,
) -> Tensor:
    (left, right), dtype = for_products([x, w])
    count = _check(left, right, n, "O I", groups)
    inputs = _group_size(left.shape[1], count, "channels of the input")
    outputs = _group_size(right.shape[0], count, "kernels")
    _check_channels(inputs, right.shape[1], count)
    walk = frame(left.shape[2:], right.shape[2:], stride, padding, dilation, "a kernel")
    kernel = turned_round(right, tuple(range(2, n + 2))) if flip else right
    made = convolve(
        reshape(left, (left.shape[0], count, inputs, *left.shape[2:])),
        reshape(kernel, (count, outputs, *right.shape[1:])),
        counts=walk.counts,
        lows=tuple(low for low, _ in walk.pads),
        strides=walk.strides,
        dilations=walk.dilations,
        spreads=(1,) * n,
    )
    return astype(reshape(made, (left.shape[0], right.shape[0], *walk.counts)), dtype)


def conv1d(
    x: TensorLike,
    w: TensorLike,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    flip: bool = False,
) -> Tensor:
    """Kernels over one axis, (N, C, W) and (O, C / groups, K) → (N, O, W'): see conv2d."""
    return _conv(1, x, w, stride, padding, dilation, groups, flip)


def conv2d(
    x: TensorLike,
    w: TensorLike,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    flip: bool = False,
) -> Tensor:
    """Kernels over two axes: (N, C, H, W) and (O, C / groups, K, L) → (N, O, H', W').

    result[n, o, i, j] = Σ x[n, c, i·stride + k·dilation − pad, …] · w[o, c, k, l], which is the
    cross-correlation that all frameworks call convolution; ``flip=True`` turns the kernel round
    and gives what mathematics calls so.  Floats and integers, as matmul; add a bias yourself:
    ``+ b[:, None, None]``.

    stride, dilation: an integer or one for each axis.
    padding: "valid" for none; "same" for ⌈size / stride⌉ results, the odd zero behind; an
        integer, one for each axis, or a pair (before, behind) for each.
    groups: kernels and channels are divided into so many, each over its own channels.
    Raises ShapeError where the channels or groups do not fit, or a kernel is larger than the
    padded input; ArgumentError for a stride below 1 and the like.  Where a size is symbolic, the
    call checks that at least one window fits.

    Padding has no part in a sum.  Where it is quicker, though (little of the image is padded, or
    batch or channels are few), compiled code multiplies by zeros: then, as in other frameworks, a
    weight that is infinite or nan makes nan of what it meets there, and which is left open.
    """
    return _conv(2, x, w, stride, padding, dilation, groups, flip)


def conv3d(
    x: TensorLike,
    w: TensorLike,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    flip: bool = False,
) -> Tensor:
    """Kernels over three axes, (N, C, D, H, W) and (O, C / groups, K, L, M): see conv2d."""
    return _conv(3, x, w, stride, padding, dilation, groups, flip)


def _conv_transpose(
    n: int,
    x: TensorLike,
    w: TensorLike,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: Any,
) -> Tensor:
    (left, right), dtype = for_products([x, w])
    count = _check(left, right, n, "I O", groups)
    inputs = _group_size(left.shape[1], count, "channels of the input")
    _check_channels(left.shape[1], right.shape[0], 1)
    strides, dilations = integers(stride, n, "stride"), integers(dilation, n, "dilation")
    more = integers(output_padding, n, "output_padding", 0)
    pads = pads_of(padding, n)
    sizes, outputs = right.shape[2:], right.shape[1]
    counts: list[DimLike] = []
    lows: list[DimLike] = []
    for axis, (size, window) in enumerate(zip(left.shape[2:], sizes, strict=True)):
        if more[axis] >= max(strides[axis], dilations[axis]):
            raise ArgumentError(
                f"output_padding is below stride or dilation, got {output_padding!r}"
            )
        low, high = pads[axis]
        reach = dilations[axis] * (window - 1)
        made = (size - 1) * strides[axis] + 1 + reach - low - high + more[axis]
        if isinstance(made, int) and made < 1:
            raise ShapeError(f"padding by {low} and {high} leaves nothing of axis {axis + 2}")
        counts.append(made)
        lows.append(reach - low)
    rest = tuple(range(3, n + 3))
    kernel = turned_round(reshape(right, (count, inputs, outputs, *sizes)), rest)
    result = convolve(
        reshape(left, (left.shape[0], count, inputs, *left.shape[2:])),
        permute(kernel, axes=(0, 2, 1, *rest)),
        counts=tuple(counts),
        lows=tuple(lows),
        strides=(1,) * n,
        dilations=dilations,
        spreads=strides,
    )
    return astype(reshape(result, (left.shape[0], outputs * count, *counts)), dtype)


def conv_transpose1d(
    x: TensorLike,
    w: TensorLike,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The transpose of conv1d: (N, I, W) and (I, O / groups, K): see conv_transpose2d."""
    return _conv_transpose(1, x, w, stride, padding, output_padding, dilation, groups)


def conv_transpose2d(
    x: TensorLike,
    w: TensorLike,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The transpose of conv2d: (N, I, H, W) and (I, O / groups, K, L) → (N, O, H', W').

    What conv2d with the same numbers has as its gradient by the input, as in PyTorch.  Each input
    entry spreads the kernel over the output, `stride` apart:
    H' = (H − 1)·stride + dilation·(K − 1) + 1 − padding before and behind + output_padding.

    padding: entries to cut off: an integer, one for each axis, or a pair for each.
    output_padding: entries more at the end of each axis, fewer than stride or dilation.
    Raises ShapeError where the channels do not fit or nothing is left.
    """
    return _conv_transpose(2, x, w, stride, padding, output_padding, dilation, groups)


def conv_transpose3d(
    x: TensorLike,
    w: TensorLike,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The transpose of conv3d: (N, I, D, H, W) and (I, O / groups, K, L, M)."""
    return _conv_transpose(3, x, w, stride, padding, output_padding, dilation, groups)


def _locally_connected(
    n: int, x: TensorLike, w: TensorLike, stride: Any, padding: Any, dilation: Any
) -> Tensor:
    (left, right), dtype = for_products([x, w])
    check_rank(left, n)
    if right.ndim != 2 * n + 2:
        raise ShapeError(
            f"the kernels need {2 * n + 2} axes ({n} of positions, O I, {n} of a kernel), "
            f"got {right.type}"
        )
    places, (outputs, channels), sizes = (
        right.shape[:n],
        right.shape[n : n + 2],
        right.shape[n + 2 :],
    )
    if any(size == 0 for size in sizes):
        raise ShapeError(f"the kernels {right.type} have no entries")
    _check_channels(left.shape[1], channels, 1)
    walk = frame(left.shape[2:], sizes, stride, padding, dilation, "a kernel")
    for axis, (count, place) in enumerate(zip(walk.counts, places, strict=True)):
        unify(count, place, f"numbers of positions along axis {axis + 2}")
    order = (*range(2, 2 + n), 1, *range(2 + n, 2 + 2 * n), 0)  # O…, C, K…, N
    depth = channels * product(sizes)
    columns = reshape(permute(seen(left, walk), axes=order), (*walk.counts, depth, left.shape[0]))
    made = matmul_(reshape(right, (*places, outputs, depth)), columns)
    return astype(permute(made, axes=(n + 1, n, *range(n))), dtype)


def locally_connected1d(
    x: TensorLike, w: TensorLike, stride: Any = 1, padding: Any = "valid", dilation: Any = 1
) -> Tensor:
    """A kernel of its own for each position: (N, C, W) and (W', O, C, K) → (N, O, W')."""
    return _locally_connected(1, x, w, stride, padding, dilation)


def locally_connected2d(
    x: TensorLike, w: TensorLike, stride: Any = 1, padding: Any = "valid", dilation: Any = 1
) -> Tensor:
    """A kernel of its own for each position: (N, C, H, W), (H', W', O, C, K, L) → (N, O, H', W').

    As conv2d with the kernel w[i, j] at position (i, j).  Raises ShapeError where `w` has not as
    many positions as there are windows.
    """
    return _locally_connected(2, x, w, stride, padding, dilation)
