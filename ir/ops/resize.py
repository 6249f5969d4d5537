"""Images of another size, and windows as columns and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..dims import DimLike, as_dim, floordiv, product
from ..errors import ArgumentError, DTypeError, ShapeError
from ..shapes import unify
from ..tensor import Tensor, TensorLike
from .build import as_tensor, dimension
from .conversion import astype, rounded_once
from .create import iota
from .gather import gather
from .shape import permute, reshape
from .slicing import slice_
from .window import overlap_add
from .window_arguments import frame, integers, seen, spatial_axes

__all__ = ["fold", "resize", "unfold"]


def _sizes(size: Any, n: int) -> list[DimLike]:
    single = isinstance(size, str) or not isinstance(size, Sequence)
    items: list[Any] = [size] * n if single else [*size]
    if len(items) != n:
        raise ArgumentError(f"size is one or {n} sizes, got {size!r}")
    sizes = [as_dim(item) for item in items]
    if any(item == 0 for item in sizes):
        raise ShapeError(f"size is at least 1, got {size!r}")
    return sizes


@rounded_once
def resize(x: TensorLike, size: Any, method: str = "nearest") -> Tensor:
    """The spatial axes of (N, C, S…) at other sizes, from the entries next to each new one.

    size: one for all spatial axes or one for each; may be symbolic.
    method: "nearest", any dtype; "linear", floats, between two entries on each axis.
    Entries are centres of equal cells: entry i of S' stands at (i + ½) S / S' − ½, and beyond the
    first and last centre the edge goes on (``align_corners=False`` of PyTorch, whose
    "nearest-exact" and "bilinear" these are).  A smaller image is not smoothed first: pool for it.
    """
    tensor = as_tensor(x)
    n = spatial_axes(tensor)
    if method not in ("nearest", "linear"):
        raise ArgumentError(f'method is "nearest" or "linear", got {method!r}')
    if method == "linear" and not tensor.dtype.is_float:
        raise DTypeError(f"linear needs a float dtype, got {tensor.type}; cast with .astype")
    for axis, count in enumerate(_sizes(size, n), 2):
        if tensor.shape[axis] == 0:
            raise ShapeError(f"axis {axis} of {tensor.type} is empty")
        if tensor.shape[axis] != count:
            along = _nearest if method == "nearest" else _linear
            tensor = along(tensor, axis, count)
    return tensor


def _centres(x: Tensor, axis: int, count: DimLike) -> Tensor:
    """(2 i + 1) S for each new entry i: where its centre stands, in cells of 1 / (2 count)."""
    shape = tuple(count if i == axis else 1 for i in range(x.ndim))
    return (iota(shape=shape, axis=axis) * 2 + 1) * x.shape[axis]


def _nearest(x: Tensor, axis: int, count: DimLike) -> Tensor:
    return gather(x, _centres(x, axis, count) // (2 * count), axes=(axis,))


def _linear(x: Tensor, axis: int, count: DimLike) -> Tensor:
    """Whole numbers until the weight, so that no rounding chooses another entry."""
    cell = 2 * count
    place = _centres(x, axis, count) - count
    low = place // cell
    weight = astype(place - low * cell, x.dtype) / dimension(cell, x.dtype)
    before, behind = gather(x, low, axes=(axis,)), gather(x, low + 1, axes=(axis,))
    return before * (1.0 - weight) + behind * weight  # beyond the edge both are the last entry


# --- windows as columns -------------------------------------------------------------------------


def unfold(
    x: TensorLike, size: Any, stride: Any = 1, padding: Any = "valid", dilation: Any = 1
) -> Tensor:
    """The windows of (N, C, S…) as columns: (N, C · ΠK, ΠO), as PyTorch's unfold lays them out.

    Row c·ΠK + k holds entry k of each window of channel c.  Arguments as in conv2d.
    """
    tensor = as_tensor(x)
    n = spatial_axes(tensor)
    sizes = integers(size, n, "size")
    walk = frame(tensor.shape[2:], sizes, stride, padding, dilation, "a window")
    found = seen(tensor, walk)
    order = (0, 1, *range(2 + n, 2 + 2 * n), *range(2, 2 + n))
    rows = product((tensor.shape[1], *sizes))
    return reshape(permute(found, axes=order), (tensor.shape[0], rows, product(walk.counts)))


def fold(
    x: TensorLike,
    output_size: Sequence[DimLike],
    size: Any,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
) -> Tensor:
    """The transpose of unfold: columns (N, C · ΠK, ΠO) to (N, C, output_size…), adding up where
    windows overlap.

    Raises ShapeError where the columns are not as many as windows of an array of that size.
    """
    tensor = as_tensor(x)
    if tensor.ndim != 3:
        raise ShapeError(f"the columns need 3 axes (N, C · ΠK, windows), got {tensor.type}")
    shape = tuple(as_dim(item) for item in output_size)
    n = len(shape)
    sizes = integers(size, n, "size")
    walk = frame(shape, sizes, stride, padding, dilation, "a window")
    batch, rows, columns = tensor.shape
    channels = floordiv(rows, product(sizes))
    if channels * product(sizes) != rows:
        raise ShapeError(f"{rows} rows do not divide into windows of {product(sizes)} entries")
    unify(columns, product(walk.counts), "numbers of windows")
    apart = reshape(tensor, (batch, channels, *sizes, *walk.counts))
    order = (0, 1, *range(2 + n, 2 + 2 * n), *range(2, 2 + n))
    around = tuple(low + size + high for size, (low, high) in zip(shape, walk.pads, strict=True))
    made = overlap_add(
        permute(apart, axes=order), shape=around, strides=walk.strides, dilations=walk.dilations
    )
    if walk.is_unpadded:
        return made
    starts = (0, 0, *(low for low, _ in walk.pads))
    return slice_(made, starts=starts, sizes=(batch, channels, *shape), steps=(1,) * made.ndim)
