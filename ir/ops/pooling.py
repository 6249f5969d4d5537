"""Pooling: one number for each window of the spatial axes, of N C S… with any number of these.

Windows are a view, so a pool is a reduction over strides: no columns are laid out in memory.
"""

from __future__ import annotations

from math import inf
from typing import Any

from ..dims import Shape, ceildiv, product
from ..errors import ArgumentError, DTypeError, ShapeError
from ..shapes import unify
from ..tensor import Tensor, TensorLike
from .arithmetic import absolute, maximum, minimum
from .build import as_tensor, constant, dimension
from .contraction import for_products
from .conversion import astype, rounded_once, stop_gradient
from .convolve import convolve
from .create import iota
from .gather import gather
from .logic import isfinite, where
from .norms import root
from .reduction import max as largest
from .reduction import max_, squeeze_axes, sum_
from .shape import reshape
from .statistics import mean
from .transcendental import pow as power
from .window_arguments import Frame, check_rank, frame, integers, seen, spatial_axes

__all__ = [
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "global_avg_pool",
    "global_max_pool",
    "l2_pool",
    "lp_pool",
    "max_pool",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "weighted_pool",
]


def _floats(x: TensorLike) -> Tensor:
    tensor = as_tensor(x)
    if not tensor.dtype.is_float:
        raise DTypeError(f"needs a float dtype, got {tensor.type}; cast with .astype")
    return tensor


def _walk(x: Tensor, size: Any, stride: Any, padding: Any, dilation: Any = 1) -> Frame:
    """The windows of a pool: by default side by side, and none of them over padding alone."""
    n = spatial_axes(x)
    sizes = integers(size, n, "size")
    step = sizes if stride is None else stride
    walk = frame(x.shape[2:], sizes, step, padding, dilation, "a window")
    for (low, high), window, d in zip(walk.pads, sizes, walk.dilations, strict=True):
        half = (d * (window - 1) + 1) // 2
        if isinstance(low, int) and isinstance(high, int) and max(low, high) > half:
            raise ArgumentError(
                f"padding is at most half a window, {half} for size {window}, got {padding!r}"
            )
    return walk


def _window_axes(x: Tensor) -> tuple[int, ...]:
    """Of (N, C, O…, K…): the axes of the entries of a window."""
    return tuple(range(x.ndim // 2 + 1, x.ndim))


# --- the largest ------------------------------------------------------------------------------


def max_pool(
    x: TensorLike, size: Any, stride: Any = None, padding: Any = "valid", dilation: Any = 1
) -> Tensor:
    """The largest entry of each window: (N, C, S…) → (N, C, O…), of any number of spatial axes.

    size: of a window: an integer or one for each spatial axis.
    stride: as `size` where it is None: windows lie side by side.
    padding: as in conv2d, at most half a window; what is padded counts as −∞.
    Any dtype.  nan where an entry is; the derivative goes to the first of equal winners.
    Raises ShapeError where a window is larger than the padded input.
    """
    tensor = as_tensor(x)
    walk = _walk(tensor, size, stride, padding, dilation)
    found = seen(tensor, walk, tensor.dtype.lowest)
    axes = _window_axes(found)
    return squeeze_axes(max_(found, axes=axes), axes)


def _of_rank(x: TensorLike, n: int) -> Tensor:
    tensor = as_tensor(x)
    check_rank(tensor, n)
    return tensor


def max_pool1d(
    x: TensorLike, size: Any, stride: Any = None, padding: Any = "valid", dilation: Any = 1
) -> Tensor:
    """The largest entry of each window of (N, C, W): see max_pool."""
    return max_pool(_of_rank(x, 1), size, stride, padding, dilation)


def max_pool2d(
    x: TensorLike, size: Any, stride: Any = None, padding: Any = "valid", dilation: Any = 1
) -> Tensor:
    """The largest entry of each window of (N, C, H, W): see max_pool."""
    return max_pool(_of_rank(x, 2), size, stride, padding, dilation)


def max_pool3d(
    x: TensorLike, size: Any, stride: Any = None, padding: Any = "valid", dilation: Any = 1
) -> Tensor:
    """The largest entry of each window of (N, C, D, H, W): see max_pool."""
    return max_pool(_of_rank(x, 3), size, stride, padding, dilation)


# --- means ------------------------------------------------------------------------------------


def _entries_inside(shape: Shape, walk: Frame) -> Tensor:
    """How many entries of each window are no padding, O…."""
    n = len(shape)
    total: Tensor | None = None
    for axis, (count, size, (low, _), window, stride) in enumerate(
        zip(walk.counts, shape, walk.pads, walk.sizes, walk.strides, strict=True)
    ):
        ones = tuple(count if i == axis else 1 for i in range(n))
        start = iota(shape=ones, axis=axis) * stride - low
        inside = minimum(start + window, size) - maximum(start, 0)
        total = inside if total is None else total * inside
    assert total is not None
    return total


@rounded_once
def avg_pool(
    x: TensorLike,
    size: Any,
    stride: Any = None,
    padding: Any = "valid",
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of floats: (N, C, S…) → (N, C, O…).

    Padding counts as zeros, or not at all where `count_include_pad` is False: then each sum is
    divided by the number of entries that are there.  The rest as in max_pool.
    """
    tensor = _floats(x)
    walk = _walk(tensor, size, stride, padding)
    found = seen(tensor, walk)
    axes = _window_axes(found)
    total = squeeze_axes(sum_(found, axes=axes), axes)
    if count_include_pad or walk.is_unpadded:
        return total / dimension(product(walk.sizes), tensor.dtype)
    return total / astype(_entries_inside(tensor.shape[2:], walk), tensor.dtype)


def avg_pool1d(
    x: TensorLike,
    size: Any,
    stride: Any = None,
    padding: Any = "valid",
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (N, C, W): see avg_pool."""
    return avg_pool(_of_rank(x, 1), size, stride, padding, count_include_pad)


def avg_pool2d(
    x: TensorLike,
    size: Any,
    stride: Any = None,
    padding: Any = "valid",
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (N, C, H, W): see avg_pool."""
    return avg_pool(_of_rank(x, 2), size, stride, padding, count_include_pad)


def avg_pool3d(
    x: TensorLike,
    size: Any,
    stride: Any = None,
    padding: Any = "valid",
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (N, C, D, H, W): see avg_pool."""
    return avg_pool(_of_rank(x, 3), size, stride, padding, count_include_pad)


@rounded_once
def lp_pool(
    x: TensorLike, p: float, size: Any, stride: Any = None, padding: Any = "valid"
) -> Tensor:
    """(Σ |x|ᵖ)^(1/p) over each window of floats, for p ≥ 1: (N, C, S…) → (N, C, O…).

    Computed as m (Σ |x/m|ᵖ)^(1/p) with m the largest |x|, so that no power overflows.  The
    derivative of a window of zeros counts as 0.  The rest as in max_pool.
    """
    if not p >= 1:
        raise ArgumentError(f"p is at least 1, got {p!r}")
    tensor = _floats(x)
    found = absolute(seen(tensor, _walk(tensor, size, stride, padding)))
    axes = _window_axes(found)
    if p == inf:
        return squeeze_axes(max_(found, axes=axes), axes)
    top = stop_gradient(max_(found, axes=axes))  # any scale gives the same value and derivative
    scale = where(isfinite(top) & (top > 0.0), top, 1.0)
    total = sum_(power(found / scale, float(p)), axes=axes)
    return squeeze_axes(scale * root(total, p), axes)


def l2_pool(x: TensorLike, size: Any, stride: Any = None, padding: Any = "valid") -> Tensor:
    """√Σ x² over each window of floats: lp_pool with p = 2."""
    return lp_pool(x, 2, size, stride, padding)


def weighted_pool(
    x: TensorLike, weights: TensorLike, stride: Any = None, padding: Any = "valid"
) -> Tensor:
    """Σ of weight times entry over each window: (N, C, S…) → (N, C, O…).

    weights: (K…), the same for all channels, or (C, K…), for each its own; Gaussian windows and
    blurs are this.  Other arguments as in max_pool.
    """
    (left, right), dtype = for_products([x, weights])
    n = spatial_axes(left)
    if right.ndim not in (n, n + 1):
        raise ShapeError(f"the weights need {n} or {n + 1} axes, got {right.type}")
    sizes = right.shape[right.ndim - n :]
    steps: Any = sizes if stride is None else stride
    walk = frame(left.shape[2:], sizes, steps, padding, 1, "a window")
    batch, channels = left.shape[:2]
    each = right.ndim > n  # for each channel a kernel, else channels are as good as a batch
    if each:
        unify(channels, right.shape[0], "numbers of channels")
    lead = (batch, channels) if each else (batch * channels, 1)
    made = convolve(
        reshape(left, (*lead, 1, *left.shape[2:])),
        reshape(right, (lead[1], 1, 1, *sizes)),
        counts=walk.counts,
        lows=tuple(low for low, _ in walk.pads),
        strides=walk.strides,
        dilations=walk.dilations,
        spreads=(1,) * n,
    )
    return astype(reshape(made, (batch, channels, *walk.counts)), dtype)


# --- over everything, and in as many parts as are wanted ---------------------------------------


def global_avg_pool(x: TensorLike, keepdims: bool = False) -> Tensor:
    """The mean over all spatial axes of floats: (N, C, S…) → (N, C), or with axes of size 1."""
    tensor = _floats(x)
    return mean(tensor, tuple(range(2, spatial_axes(tensor) + 2)), keepdims)


def global_max_pool(x: TensorLike, keepdims: bool = False) -> Tensor:
    """The largest entry over all spatial axes: (N, C, S…) → (N, C), or with axes of size 1."""
    tensor = as_tensor(x)
    return largest(tensor, tuple(range(2, spatial_axes(tensor) + 2)), keepdims)


def _parts(x: Tensor, axis: int, count: int, value: Any) -> tuple[Tensor, Tensor]:
    """The axis in two: `count` parts and their entries, `value` behind the short ones; and how
    many entries each has.  Part i of size S goes from ⌊i S / count⌋ to ⌈(i + 1) S / count⌉."""
    size = x.shape[axis]
    if size == 0:
        raise ShapeError(f"axis {axis} of {x.type} is empty")
    even = isinstance(size, int) and size % count == 0
    longest = ceildiv(size, count) + (0 if even else 1)
    rank = x.ndim + 1
    part = iota(shape=tuple(count if i == axis else 1 for i in range(rank)), axis=axis)
    entry = iota(shape=tuple(longest if i == axis + 1 else 1 for i in range(rank)), axis=axis + 1)
    first = part * size // count
    length = (part * size + (size - 1 + count)) // count - first
    apart = reshape(x, (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
    met = gather(apart, first + entry, axes=(axis,))
    return where(entry < length, met, constant(value, x.dtype)), length


@rounded_once
def adaptive_avg_pool(x: TensorLike, size: Any) -> Tensor:
    """Means of floats over `size` parts of each spatial axis: (N, C, S…) → (N, C, size…).

    Part i of an axis goes from ⌊i S / size⌋ to before ⌈(i + 1) S / size⌉, as in PyTorch: parts
    are alike up to one entry, and may overlap by one.
    """
    tensor = _floats(x)
    for axis, count in enumerate(integers(size, spatial_axes(tensor), "size"), 2):
        met, length = _parts(tensor, axis, count, 0.0)
        means = sum_(met, axes=(axis + 1,)) / astype(length, tensor.dtype)
        tensor = squeeze_axes(means, (axis + 1,))
    return tensor


def adaptive_max_pool(x: TensorLike, size: Any) -> Tensor:
    """The largest entry of each of `size` parts of each spatial axis: see adaptive_avg_pool."""
    tensor = as_tensor(x)
    for axis, count in enumerate(integers(size, spatial_axes(tensor), "size"), 2):
        met, _ = _parts(tensor, axis, count, tensor.dtype.lowest)
        tensor = squeeze_axes(max_(met, axes=(axis + 1,)), (axis + 1,))
    return tensor
