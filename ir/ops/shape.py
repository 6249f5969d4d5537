# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Other shapes over the same numbers: reshape, permute, broadcast.

A view costs nothing: it is strides over the same memory.  It reads each number unchanged, which is
what the rules mean by ``view``.  Slices stand in `slicing.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import Dim, DimLike, Shape, as_dim, floordiv, product
from ..errors import ArgumentError, ShapeError
from ..op import TABLE, View
from ..shapes import broadcast as broadcast_shapes
from ..shapes import contiguous_strides, normalise_axes, normalise_axis, unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import apply, as_tensor, primitive

__all__ = [
    "broadcast_arrays",
    "broadcast_to",
    "expand",
    "expand_dims",
    "matrix_transpose",
    "moveaxis",
    "permute_dims",
    "reshape",
    "squeeze",
    "swapaxes",
    "transpose",
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


def moved_ones(shape: Shape, before: Shape, after: Shape) -> Shape:
    """The shape that broadcasts to `after` as `shape` does to `before`, from which `after` differs
    in axes of size 1 only; ShapeError where there is none."""
    if not only_ones_differ(before, after):
        raise ShapeError(f"{before} and {after} differ in more than axes of size 1")
    if broadcast_shapes([shape, before]) != before:
        raise ShapeError(f"{shape} does not broadcast to {before}")
    sizes = (*[1] * (len(before) - len(shape)), *shape)
    kept = iter([own for own, size in zip(sizes, before, strict=True) if size != 1])
    return tuple(next(kept) if size != 1 else 1 for size in after)


def _view_reshape(node: Node, view: View) -> View | None:
    before, after = node.operands[0].shape, node.results[0].shape
    if only_ones_differ(before, after):
        kept = iter(s for s, size in zip(view.strides, before, strict=True) if size != 1)
        strides = tuple(next(kept) if size != 1 else 0 for size in after)
        return View(strides, view.offset)
    if view.strides == _dense(before):
        return View(_dense(after), view.offset)
    strides = _regrouped(before, view.strides, after)
    return None if strides is None else View(strides, view.offset)


def _regrouped(
    before: Shape, strides: Sequence[DimLike], after: Shape
) -> tuple[DimLike, ...] | None:
    """The strides of axes that neighbours are joined to, or that one is parted into.

    None where neighbours that one stride does not walk were joined.
    """
    left = [(n, s) for n, s in zip(before, strides, strict=True) if n != 1]
    sizes = [size for size in after if size != 1]
    found: list[DimLike] = []
    while left and sizes:
        whole, stride = left.pop(0)
        own = [sizes.pop(0)]
        while (target := product(own)) != whole:
            if target == 0 or whole == 0:
                return None
            if sizes and floordiv(whole, target) * target == whole:
                own.append(sizes.pop(0))
            elif left and stride == left[0][0] * left[0][1]:
                extent, stride = left.pop(0)
                whole = whole * extent
            else:
                return None
        found += [stride * product(own[i + 1 :]) for i in range(len(own))]
    if left or sizes:
        return None
    each = iter(found)
    return tuple(0 if size == 1 else next(each) for size in after)


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


def moveaxis(
    x: TensorLike, source: int | Sequence[int], destination: int | Sequence[int]
) -> Tensor:
    """Each axis of `source` moved to its place of `destination`; the others keep their order."""
    tensor = as_tensor(x)
    given = [list(axes) if isinstance(axes, Sequence) else [axes] for axes in (source, destination)]
    if len(given[0]) != len(given[1]):
        raise ArgumentError(f"{len(given[0])} axes do not move to {len(given[1])} places")
    for axes in given:
        normalise_axes(axes, tensor.ndim)  # raises where one is named twice
    sources, places = ([normalise_axis(axis, tensor.ndim) for axis in axes] for axes in given)
    order = [axis for axis in range(tensor.ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return permute_dims(tensor, order)


def swapaxes(x: TensorLike, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged."""
    tensor = as_tensor(x)
    order = list(range(tensor.ndim))
    first, second = normalise_axis(axis1, tensor.ndim), normalise_axis(axis2, tensor.ndim)
    order[first], order[second] = second, first
    return permute_dims(tensor, order)


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


def broadcast_arrays(*arrays: TensorLike) -> list[Tensor]:
    """Each array repeated to the common shape of all."""
    tensors = [as_tensor(array) for array in arrays]
    shape = broadcast_shapes([tensor.shape for tensor in tensors])
    return [broadcast_to(tensor, shape) for tensor in tensors]


def expand(x: TensorLike, shape: Sequence[DimLike | str]) -> Tensor:
    """As broadcast_to, where −1 keeps the size that the axis has."""
    tensor, target = as_tensor(x), list(shape)
    extra = len(target) - tensor.ndim
    for axis, size in enumerate(target):
        if isinstance(size, int) and size == -1:
            if axis < extra:
                raise ArgumentError(f"axis {axis} is new, so -1 tells no size")
            target[axis] = tensor.shape[axis - extra]
    return broadcast_to(tensor, target)


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


# --- for batching rules ---


def spread_batch(operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    """The operands with a leading batch axis each; those without one are repeated along it."""
    count = next(x.shape[0] for x, flag in zip(operands, batched, strict=True) if flag)
    return [
        x if flag else broadcast_to(x, (count, *x.shape))
        for x, flag in zip(operands, batched, strict=True)
    ]
