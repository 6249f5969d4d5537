# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Other shapes over the same numbers, and numbers made from the index alone.

The views (reshape, permute, broadcast_to, slice) cost nothing: they are strides.  They read each
number unchanged, which is what the rules mean by ``view``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import Dim, DimLike, Shape, as_dim, floordiv, product
from ..errors import ArgumentError, ShapeError
from ..op import TABLE, View
from ..shapes import contiguous_strides, normalise_axes, normalise_axis, unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import apply, as_tensor, constant, primitive
from .conversion import astype

__all__ = [
    "arange",
    "broadcast_to",
    "expand_dims",
    "full",
    "matrix_transpose",
    "moveaxis",
    "ones",
    "ones_like",
    "permute_dims",
    "reshape",
    "squeeze",
    "transpose",
    "zeros",
    "zeros_like",
]

# --- reshape ----------------------------------------------------------------------------------


def _infer_reshape(x: TensorType, *, shape: Shape) -> TensorType:
    unify(x.size, product(shape), "numbers of elements")
    return TensorType(x.dtype, shape)


def _without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def only_ones_differ(before: Shape, after: Shape) -> bool:
    """Whether two shapes are the same but for axes of size 1."""
    return _without_ones(before) == _without_ones(after)


def _view_reshape(node: Node, view: View) -> View | None:
    before, after = node.operands[0].shape, node.results[0].shape
    if only_ones_differ(before, after):
        kept = iter(s for s, size in zip(view.strides, before, strict=True) if size != 1)
        strides = tuple(next(kept) if size != 1 else 0 for size in after)
        return View(strides, view.offset)
    if view.strides != _dense(before):
        return None
    return View(_dense(after), view.offset)


def _dense(shape: Shape) -> tuple[DimLike, ...]:
    return tuple(
        0 if size == 1 else stride
        for size, stride in zip(shape, contiguous_strides(shape), strict=True)
    )


def _batch_reshape(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    (x,) = operands
    return [reshape_to(x, shape=(x.shape[0], *node.attrs["shape"]))]


@primitive(
    kind="view",
    infer=_infer_reshape,
    reference=lambda x, shape: np.reshape(x, shape),
    linear=(0,),
    transpose=lambda node, ct, _: reshape_to(ct, shape=node.operands[0].shape),
    batch=_batch_reshape,
    view=_view_reshape,
    samples=(
        (((3, 4),), {"shape": (2, 6)}),
        (((0, 4),), {"shape": (4, 0)}),
        (((1,),), {"shape": ()}),
        (((2, 3),), {"shape": (2, 1, 3)}),
    ),
)
def reshape_(x: Tensor, *, shape: Shape) -> Tensor:
    """The same numbers in C order in another shape of as many elements."""
    ...


reshape_to = reshape_


def reshape(x: TensorLike, shape: Any) -> Tensor:
    """`x` in another shape of as many elements; one size may be -1, to be worked out."""
    tensor = as_tensor(x)
    sizes = list(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else [shape]
    unknown = [i for i, size in enumerate(sizes) if not isinstance(size, (Dim, str)) and size == -1]
    if len(unknown) > 1:
        raise ArgumentError(f"only one size may be -1, got {tuple(sizes)}")
    for i in unknown:
        sizes[i] = 1
    target = tuple(as_dim(size) for size in sizes)
    if unknown:
        rest = product(target)
        missing = floordiv(tensor.size, rest) if rest != 0 else 0
        if missing * rest != tensor.size:
            raise ShapeError(f"{tensor.type} does not divide into {tuple(shape)}")
        target = (*target[: unknown[0]], missing, *target[unknown[0] + 1 :])
    return tensor if target == tensor.shape else reshape_to(tensor, shape=target)


def expand_dims(x: TensorLike, axis: int | Sequence[int]) -> Tensor:
    """A new axis of size 1 at `axis` of the result."""
    tensor = as_tensor(x)
    axes = list(axis) if isinstance(axis, Sequence) else [axis]
    rank = tensor.ndim + len(axes)
    places = normalise_axes(axes, rank)
    sizes = iter(tensor.shape)
    return reshape(tensor, tuple(1 if i in places else next(sizes) for i in range(rank)))


def squeeze(x: TensorLike, axis: int | Sequence[int]) -> Tensor:
    """Drop `axis`, which must have size 1."""
    tensor = as_tensor(x)
    axes = normalise_axes(axis, tensor.ndim)
    for a in axes:
        if tensor.shape[a] != 1:
            raise ShapeError(f"axis {a} of {tensor.type} is not of size 1")
    return reshape(tensor, tuple(size for i, size in enumerate(tensor.shape) if i not in axes))


# --- permute ----------------------------------------------------------------------------------


def _infer_permute(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    if sorted(axes) != list(range(x.ndim)):
        raise ShapeError(f"axes {axes} are no permutation of {x.ndim} axes")
    return TensorType(x.dtype, tuple(x.shape[axis] for axis in axes))


@primitive(
    kind="view",
    infer=_infer_permute,
    reference=lambda x, axes: np.transpose(x, axes),
    linear=(0,),
    transpose=lambda node, ct, _: permute(ct, axes=inverse(node.attrs["axes"])),  # pyright: ignore[reportGeneralTypeIssues]
    batch=lambda node, operands, _: [
        permute(operands[0], axes=(0, *(axis + 1 for axis in node.attrs["axes"])))  # pyright: ignore[reportGeneralTypeIssues]
    ],
    view=lambda node, view: View(
        tuple(view.strides[axis] for axis in node.attrs["axes"]), view.offset
    ),
    samples=(
        (((3, 4),), {"axes": (1, 0)}),
        (((2, 3, 4),), {"axes": (2, 0, 1)}),
        (((0, 1),), {"axes": (1, 0)}),
    ),
)
def permute(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    """Result axis i is operand axis axes[i]."""
    ...


def inverse(axes: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes `axes`."""
    return tuple(sorted(range(len(axes)), key=lambda i: axes[i]))


def permute_dims(x: TensorLike, axes: Sequence[int]) -> Tensor:
    """Result axis i is axis axes[i] of `x`."""
    tensor = as_tensor(x)
    return permute(tensor, axes=tuple(normalise_axis(axis, tensor.ndim) for axis in axes))


def transpose(x: TensorLike, axes: Sequence[int] | None = None) -> Tensor:
    """NumPy's transpose: all axes reversed, or permuted by `axes`."""
    tensor = as_tensor(x)
    return permute_dims(tensor, range(tensor.ndim)[::-1] if axes is None else axes)


def matrix_transpose(x: TensorLike) -> Tensor:
    """The last two axes exchanged."""
    tensor = as_tensor(x)
    if tensor.ndim < 2:
        raise ShapeError(f"needs at least two axes, got {tensor.type}")
    return permute_dims(tensor, [*range(tensor.ndim - 2), tensor.ndim - 1, tensor.ndim - 2])


def moveaxis(x: TensorLike, source: int, destination: int) -> Tensor:
    """Axis `source` moved to place `destination`."""
    tensor = as_tensor(x)
    axes = list(range(tensor.ndim))
    axis = axes.pop(normalise_axis(source, tensor.ndim))
    axes.insert(normalise_axis(destination, tensor.ndim), axis)
    return permute_dims(tensor, axes)


# --- broadcast --------------------------------------------------------------------------------


def _infer_broadcast(x: TensorType, *, shape: Shape) -> TensorType:
    if x.ndim > len(shape):
        raise ShapeError(f"{x.ndim} axes do not broadcast to {len(shape)}")
    for size, wanted in zip(x.shape, shape[len(shape) - x.ndim :], strict=True):
        if size != 1:
            unify(size, wanted)
    return TensorType(x.dtype, shape)


def _view_broadcast(node: Node, view: View) -> View:
    before, after = node.operands[0].shape, node.attrs["shape"]
    strides = [
        0 if size == 1 else stride for size, stride in zip(before, view.strides, strict=True)
    ]
    return View((*[0] * (len(after) - len(before)), *strides), view.offset)


def _batch_broadcast(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    (x,) = operands
    shape: Shape = node.attrs["shape"]
    ones = (1,) * (len(shape) - (x.ndim - 1))
    spread = reshape(x, (x.shape[0], *ones, *x.shape[1:]))
    return [broadcast_to(spread, (x.shape[0], *shape))]


@primitive(
    kind="view",
    infer=_infer_broadcast,
    reference=lambda x, shape: np.broadcast_to(x, shape),
    linear=(0,),
    transpose=lambda node, ct, _: sum_to(ct, node.operands[0].shape),
    batch=_batch_broadcast,
    view=_view_broadcast,
    samples=(
        (((3, 1),), {"shape": (3, 4)}),
        (((4,),), {"shape": (3, 4)}),
        (((1,),), {"shape": (0,)}),
        (((),), {"shape": (2, 2)}),
    ),
)
def broadcast_to_(x: Tensor, *, shape: Shape) -> Tensor:
    """Repeat along new axes and axes of size 1."""
    ...


broadcast = broadcast_to_


def broadcast_to(x: TensorLike, shape: Sequence[DimLike | str]) -> Tensor:
    """`x` repeated along new leading axes and axes of size 1 to have `shape`."""
    tensor, target = as_tensor(x), tuple(as_dim(size) for size in shape)
    return tensor if tensor.shape == target else broadcast(tensor, shape=target)


def sum_to(x: Tensor, shape: Shape) -> Tensor:
    """The transpose of broadcasting `shape` to that of `x`: sum over what was repeated."""
    if x.shape == shape:
        return x
    extra = x.ndim - len(shape)
    axes = tuple(
        axis
        for axis, size in enumerate(x.shape)
        if axis < extra or (shape[axis - extra] == 1 and size != 1)
    )
    return reshape(apply(TABLE["sum"], [x], axes=axes) if axes else x, shape)


# --- slice and its transpose ------------------------------------------------------------------

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


@primitive(
    kind="view",
    infer=_infer_slice,
    reference=lambda x, starts, sizes, steps: x[_slices(starts, sizes, steps)] if x.ndim else x,
    linear=(0,),
    transpose=lambda node, ct, _: embed(  # pyright: ignore[reportGeneralTypeIssues]
        ct,
        starts=node.attrs["starts"],
        steps=node.attrs["steps"],
        shape=node.operands[0].shape,
    ),
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


def _expand_embed(node: Node) -> list[Tensor]:
    from .arithmetic import clip
    from .indexing import gather
    from .logic import where

    x, shape = node.operands[0], node.attrs["shape"]
    value = x
    inside: Tensor | None = None
    indices: list[Tensor] = []
    axes: list[int] = []
    for axis, (start, step) in enumerate(
        zip(node.attrs["starts"], node.attrs["steps"], strict=True)
    ):
        size, count = shape[axis], x.shape[axis]
        if (start, step) == (0, 1) and size == count:
            continue
        ones = tuple(size if i == axis else 1 for i in range(x.ndim))
        away = iota(shape=ones, axis=axis) - start
        place = away // step
        good = (place >= 0) & (place < count) & (away % step == 0)
        inside = good if inside is None else inside & good
        indices.append(clip(place, 0, count - 1))
        axes.append(axis)
    if inside is None:
        return [value]
    zero = constant(0, x.dtype)
    return [where(inside, gather(value, *indices, axes=tuple(axes)), zero)]


def _batch_embed(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    (x,), attrs = operands, node.attrs
    starts, steps = (0, *attrs["starts"]), (1, *attrs["steps"])
    return [embed(x, starts=starts, steps=steps, shape=(x.shape[0], *attrs["shape"]))]


@primitive(
    kind="composite",
    infer=_infer_embed,
    reference=_embed_reference,
    linear=(0,),
    transpose=lambda node, ct, _: slice_(
        ct,
        starts=node.attrs["starts"],
        sizes=node.operands[0].shape,
        steps=node.attrs["steps"],
    ),
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


# --- from the index ---------------------------------------------------------------------------


@primitive(
    kind="generator",
    infer=lambda *, shape, axis: TensorType(dt.int64, shape),
    reference=lambda shape, axis: np.broadcast_to(
        np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape
    ),
    code="index",
    no_gradient="its result is no float",
    samples=(((), {"shape": (3, 4), "axis": 0}), ((), {"shape": (0,), "axis": 0})),
)
def iota(*, shape: Shape, axis: int) -> Tensor:
    """int64: the index along `axis`."""
    ...


def arange(stop: DimLike | str, dtype: dt.DTypeLike = "int64") -> Tensor:
    """0, 1, … below `stop`, a size."""
    return astype(iota(shape=(as_dim(stop),), axis=0), dtype)


def full(shape: Any, value: TensorLike, dtype: dt.DTypeLike | None = None) -> Tensor:
    """`value` everywhere."""
    sizes = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    scalar = as_tensor(value)
    return broadcast_to(scalar if dtype is None else astype(scalar, dtype), sizes)


def zeros(shape: Any, dtype: dt.DTypeLike = "float32") -> Tensor:
    """0 everywhere; `shape` may hold dimensions and names of them."""
    return full(shape, constant(0, dtype))


def ones(shape: Any, dtype: dt.DTypeLike = "float32") -> Tensor:
    """1 everywhere; `shape` may hold dimensions and names of them."""
    return full(shape, constant(1, dtype))


def zeros_like(x: TensorLike) -> Tensor:
    """0 in the shape and dtype of `x`."""
    tensor = as_tensor(x)
    return zeros(tensor.shape, tensor.dtype)


def ones_like(x: TensorLike) -> Tensor:
    """1 in the shape and dtype of `x`."""
    tensor = as_tensor(x)
    return ones(tensor.shape, tensor.dtype)
