"""vmap: a function of tensors over one more axis of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from ..ir.batching import batched_values
from ..ir.bodies import Body, leaked, told_leak
from ..ir.dims import DimLike
from ..ir.errors import ArgumentError, AxisError, DTypeError, ShapeError
from ..ir.graph import Graph
from ..ir.loc import current_loc, quote
from ..ir.ops import moveaxis
from ..ir.ops.control import flatten, placeholder_like
from ..ir.shapes import unify
from ..ir.tensor import Tensor, TensorLike, TensorType

Axes = Any  # an int or None, or a tuple, list or dict of such


def vmap(function: Callable[..., Any], in_axes: Axes = 0, out_axes: Axes = 0) -> Any:
    """`function` over one more axis of its arguments: what a loop over the entries would stack.

    in_axes: the axis of the arguments that holds the entries, None for those that all entries
    share; for all arguments alike, or a tuple with one for each, where a structure (arguments may
    be nested tuples, lists and dicts of tensors) may have one for all of it, or a structure of its
    own.  out_axes: likewise, where the results have the axis; None for a result that is the same
    for all entries.

    What the function reads besides its arguments is shared by all entries.  Derivatives asked for
    inside are those of each entry.  Raises ArgumentError for what is no function, where no argument
    has the axis, and where axes and arguments are structured differently, AxisError where an
    argument has no such axis, ShapeError where their sizes differ.
    """

    if not callable(function) or isinstance(function, Tensor):
        raise _error(f"goes over a function, as in gl.vmap(f)(x); got {function!r}")

    @wraps(function)
    def batched(*args: TensorLike) -> Any:
        if isinstance(in_axes, (tuple, list)) and len(in_axes) != len(args):  # pyright: ignore[reportUnknownArgumentType]
            raise _error(f"in_axes {in_axes!r} do not fit {len(args)} arguments")
        tensors, build = _flat(args, "an argument")
        places = _axes_of("in_axes", in_axes, args, "arguments")
        flags = [axis is not None for axis, _ in places]
        if not any(flags):
            raise _error(f"no argument has an axis to go over: in_axes {in_axes!r}")
        moved = [
            tensor if axis is None else _moved(tensor, axis, 0, f"{name} is {tensor.type}")
            for tensor, (axis, name) in zip(tensors, places, strict=True)
        ]
        size = _common_size(tensors, moved, places)
        inner = [
            placeholder_like(TensorType(t.dtype, t.shape[1:] if flag else t.shape), f"entry{i}")
            for i, (t, flag) in enumerate(zip(moved, flags, strict=True))
        ]
        with Body("the function of the vmap", inner):
            result = function(*build(inner))
        leaves, build_results = _flat(result, "a result")
        to = _axes_of("out_axes", out_axes, result, "results")
        graph = Graph("vmap", inner, leaves, parameters=())
        leak = leaked(graph.free)
        if leak is not None:
            raise _error(told_leak(leak, leaves))
        batch = batched_values(graph, moved, flags, size)
        found: list[Tensor] = []
        for leaf, (axis, name) in zip(leaves, to, strict=True):
            if axis is not None:
                what = f"out_axes of {name}, {leaf.type}"
                found.append(_moved(batch.spread(leaf), 0, axis, what))
            elif leaf in batch.carrying:
                raise _error(f"out_axes None of {name}: {leaf!r} differs from entry to entry")
            else:
                found.append(batch.value(leaf))
        return build_results(found)

    return batched


def _error(message: str, kind: Any = ArgumentError) -> Any:
    return kind(f"vmap: {message}, at {quote(current_loc())}")


def _flat(tree: Any, what: str) -> Any:
    try:
        return flatten(tree)
    except DTypeError as error:
        raise _error(f"{what} is no tensor: {error}", DTypeError) from None


def _common_size(
    tensors: Sequence[Tensor], moved: Sequence[Tensor], places: Sequence[tuple[int | None, str]]
) -> DimLike:
    """How many entries there are; ShapeError where two arguments disagree, with both types."""
    rows = [
        (front.shape[0], f"{name} is {tensor.type}, axis {axis}")
        for tensor, front, (axis, name) in zip(tensors, moved, places, strict=True)
        if axis is not None
    ]
    size, first = rows[0]
    for own, what in rows[1:]:
        try:
            size = unify(size, own)
        except ShapeError as error:
            raise _error(f"{error}: {first}; {what}", ShapeError) from None
    return size


def _moved(tensor: Tensor, source: int, place: int, what: str) -> Tensor:
    if source == place and tensor.ndim > 0:
        return tensor
    try:
        return moveaxis(tensor, source, place)
    except AxisError:
        message = f"axis {source or place} is out of range for {tensor.ndim} dimensions: {what}"
        raise _error(message, AxisError) from None


def _axes_of(what: str, axes: Axes, tree: Any, path: str) -> list[tuple[int | None, str]]:
    """An axis for each leaf of `tree`, and the leaf's name.

    `axes` has the structure of `tree`, or one axis for all from some depth on.
    """
    if tree is None:
        return []
    keys: list[Any] = []
    if isinstance(tree, dict):
        keys = list(tree)  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(tree, (tuple, list)):
        keys = list(range(len(tree)))  # pyright: ignore[reportUnknownArgumentType]
    parts: list[Any] = []
    if axes is None or (hasattr(axes, "__index__") and not isinstance(axes, bool)):
        if not isinstance(tree, (dict, tuple, list)):
            return [(axes, path)]
        parts = [axes] * len(keys)
    elif isinstance(axes, dict) and isinstance(tree, dict) and axes.keys() == tree.keys():  # pyright: ignore[reportUnknownMemberType]
        parts = [axes[key] for key in keys]
    elif (
        isinstance(axes, (tuple, list))
        and isinstance(tree, (tuple, list))
        and len(axes) == len(keys)  # pyright: ignore[reportUnknownArgumentType]
    ):
        parts = list(axes)  # pyright: ignore[reportUnknownArgumentType]
    else:
        raise _error(f"{what} {axes!r} do not fit {path}")
    found: list[tuple[int | None, str]] = []
    for part, key in zip(parts, keys, strict=True):
        found += _axes_of(what, part, tree[key], f"{path}[{key!r}]")
    return found
