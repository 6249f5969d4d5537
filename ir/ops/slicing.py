# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Slices, which are views too, and their transpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import DimLike, Shape
from ..errors import ShapeError
from ..op import View
from ..shapes import normalise_axes
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensor, constant, primitive
from .create import iota

__all__ = ["flip"]

Sizes = tuple[DimLike, ...]


def _check_slice(shape: Shape, starts: Sizes, sizes: Sizes, steps: Sizes) -> None:
    if not len(starts) == len(sizes) == len(steps) == len(shape):
        raise ShapeError(f"needs a start, size and step for each of {len(shape)} axes")
    for size, start, count, step in zip(shape, starts, sizes, steps, strict=True):
        numbers = (size, start, count, step)
        if all(isinstance(n, int) for n in numbers) and count:
            last = start + step * (count - 1)
            if not (0 <= start < size and 0 <= last < size):  # type: ignore[operator]
                raise ShapeError(f"slice from {start} to {last} leaves an axis of size {size}")


def _infer_slice(x: TensorType, *, starts: Sizes, sizes: Sizes, steps: Sizes) -> TensorType:
    _check_slice(x.shape, starts, sizes, steps)
    return TensorType(x.dtype, sizes)


def _slices(starts: Any, sizes: Any, steps: Any) -> tuple[Any, ...]:
    return np.ix_(*[b + s * np.arange(n) for b, n, s in zip(starts, sizes, steps, strict=True)])


def _batch_slice(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    (x,), attrs = operands, node.attrs
    starts, steps = (0, *attrs["starts"]), (1, *attrs["steps"])
    return [slice_(x, starts=starts, sizes=(x.shape[0], *attrs["sizes"]), steps=steps)]


def _view_slice(node: Node, view: View) -> View:
    starts, steps = node.attrs["starts"], node.attrs["steps"]
    offset = view.offset
    for start, stride in zip(starts, view.strides, strict=True):
        offset = offset + start * stride
    strides = tuple(step * stride for step, stride in zip(steps, view.strides, strict=True))
    return View(strides, offset)


def _transpose_slice(node: Node, cotangent: Tensor, _: int) -> Tensor:
    shape, attrs = node.operands[0].shape, node.attrs
    if cotangent.shape == shape:  # everything, some axes backwards: twice that is nothing
        return slice_(cotangent, **attrs)
    return embed(cotangent, starts=attrs["starts"], steps=attrs["steps"], shape=shape)


@primitive(
    kind="view",
    infer=_infer_slice,
    reference=lambda x, starts, sizes, steps: x[_slices(starts, sizes, steps)] if x.ndim else x,
    linear=(0,),
    transpose=_transpose_slice,
    batch=_batch_slice,
    view=_view_slice,
    samples=(
        (((5, 4),), {"starts": (1, 0), "sizes": (2, 2), "steps": (2, 3)}),
        (((5,),), {"starts": (4,), "sizes": (5,), "steps": (-1,)}),
        (((5, 2),), {"starts": (0, 0), "sizes": (0, 2), "steps": (1, 1)}),
    ),
)
def slice_(x: Tensor, *, starts: Sizes, sizes: Sizes, steps: Sizes) -> Tensor:
    """Entries start + step·i for i < size of each axis; steps are ints, perhaps negative."""
    ...


def _infer_embed(x: TensorType, *, starts: Sizes, steps: Sizes, shape: Shape) -> TensorType:
    _check_slice(shape, starts, x.shape, steps)
    return TensorType(x.dtype, shape)


def _embed_reference(x: Any, starts: Any, steps: Any, shape: Any) -> Any:
    result = np.zeros(shape, x.dtype)
    if x.ndim:
        result[_slices(starts, x.shape, steps)] = x
        return result
    return x


def _places(starts: Sizes, sizes: Shape, steps: Sizes, shape: Shape) -> dict[int, Tensor]:
    """Which entry of a slice each index into `shape` is, by axis; less than 0 for those between
    entries; axes that are taken whole are left out."""
    from .logic import where

    found: dict[int, Tensor] = {}
    for axis, (start, count, step, size) in enumerate(
        zip(starts, sizes, steps, shape, strict=True)
    ):
        if (start, step) == (0, 1) and size == count:
            continue
        along = tuple(size if i == axis else 1 for i in range(len(shape)))
        away = iota(shape=along, axis=axis) - start
        found[axis] = away if step == 1 else where(away % step == 0, away // step, -1)
    return found


def covered(starts: Sizes, sizes: Shape, steps: Sizes, shape: Shape) -> Tensor:
    """bool: which entries of an array of `shape` a slice takes."""
    inside: Any = constant(True)
    for axis, place in _places(starts, sizes, steps, shape).items():
        inside = inside & (place >= 0) & (place < sizes[axis])
    return inside


def _expand_embed(node: Node) -> list[Tensor]:
    from .gather import gather
    from .logic import where

    x, attrs = node.operands[0], node.attrs
    slice_of = (attrs["starts"], x.shape, attrs["steps"], attrs["shape"])
    places = _places(*slice_of)
    if not places:
        return [x]
    value = gather(x, *places.values(), axes=tuple(places))  # clamped where it is not chosen
    return [where(covered(*slice_of), value, constant(0, x.dtype))]


def _transpose_embed(node: Node, cotangent: Tensor, _: int) -> Tensor:
    starts, steps = node.attrs["starts"], node.attrs["steps"]
    return slice_(cotangent, starts=starts, sizes=node.operands[0].shape, steps=steps)


def _batch_embed(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    (x,), attrs = operands, node.attrs
    starts, steps = (0, *attrs["starts"]), (1, *attrs["steps"])
    return [embed(x, starts=starts, steps=steps, shape=(x.shape[0], *attrs["shape"]))]


@primitive(
    kind="composite",
    infer=_infer_embed,
    reference=_embed_reference,
    linear=(0,),
    transpose=_transpose_embed,
    batch=_batch_embed,
    expand=_expand_embed,
    samples=(
        (((2, 2),), {"starts": (1, 0), "steps": (2, 3), "shape": (5, 4)}),
        (((3,),), {"starts": (2,), "steps": (-1,), "shape": (4,)}),
        (((0,),), {"starts": (0,), "steps": (1,), "shape": (3,)}),
    ),
)
def embed(x: Tensor, *, starts: Sizes, steps: Sizes, shape: Shape) -> Tensor:
    """Zeros of `shape` with `x` at start + step·i of each axis: the transpose of slice."""
    ...


# --- made of slices ---------------------------------------------------------------------------


def slice_axis(x: Tensor, axis: int, start: DimLike, size: DimLike) -> Tensor:
    """Entries from `start` on of one axis."""
    if start == 0 and size == x.shape[axis]:
        return x
    return slice_(
        x,
        starts=tuple(start if i == axis else 0 for i in range(x.ndim)),
        sizes=tuple(size if i == axis else n for i, n in enumerate(x.shape)),
        steps=(1,) * x.ndim,
    )


def flip(x: TensorLike, axis: int | Sequence[int] | None = None) -> Tensor:
    """`x` backwards along `axis` (None: along all axes); a view."""
    tensor = as_tensor(x)
    axes = normalise_axes(axis, tensor.ndim)
    return slice_(
        tensor,
        starts=tuple(size - 1 if i in axes else 0 for i, size in enumerate(tensor.shape)),
        sizes=tensor.shape,
        steps=tuple(-1 if i in axes else 1 for i in range(tensor.ndim)),
    )
