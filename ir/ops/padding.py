# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (widths as users write them: anything)
"""Padding: more entries at both ends of axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dims import Dim, DimLike
from ..dims import maximum as maximum_dim
from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor, TensorLike
from .arithmetic import clip
from .build import as_integer, as_tensor, as_tensors
from .create import iota
from .gather import gather
from .logic import where
from .slicing import covered, embed

__all__ = ["pad"]

# Which entry of an axis of n a place before, in or behind it shows: from place and n.
_MODES: dict[str, Callable[[Tensor, DimLike], Tensor]] = {
    "edge": lambda place, n: clip(place, 0, n - 1),
    "wrap": lambda place, n: place % maximum_dim(n, 1),
    "reflect": lambda place, n: _folded(place % maximum_dim(2 * n - 2, 1), n, 2 * n - 2),
    "symmetric": lambda place, n: _folded(place % maximum_dim(2 * n, 1), n, 2 * n - 1),
}


def _folded(place: Tensor, n: DimLike, top: DimLike) -> Tensor:
    """A place of a period that runs up through n entries and down again."""
    return where(place < n, place, top - place)


def pad(
    x: TensorLike,
    pad_width: Any,
    mode: str = "constant",
    constant_values: TensorLike | None = None,
) -> Tensor:
    """`x` with more entries before and behind, as NumPy's pad.

    pad_width: a number for all ends, a pair (before, behind) for all axes, or a pair an axis.
    mode: "constant", all `constant_values` (one number or scalar tensor, None: zero); "edge", the
    outermost entry; "reflect", the entries mirrored at it; "symmetric", the same with it doubled;
    "wrap", the other end's entries.
    Widths may exceed the axis; an axis of size 0 takes only "constant".
    The derivative of an entry is the sum over its copies.
    """
    tensor = as_tensor(x)
    widths = _widths(pad_width, tensor.ndim)
    if mode == "constant":
        return filled(tensor, widths, constant_values)
    if mode not in _MODES:
        known = ", ".join(["constant", *_MODES])
        raise ArgumentError(f"mode is one of {known}; got {mode!r}")
    for axis, (before, behind) in enumerate(widths):
        size = tensor.shape[axis]
        if before == 0 and behind == 0:
            continue
        if size == 0:
            raise ShapeError(f"axis {axis} of {tensor.type} is empty: {mode!r} has nothing to show")
        shape = tuple(before + size + behind if i == axis else 1 for i in range(tensor.ndim))
        place = iota(shape=shape, axis=axis) - before
        tensor = gather(tensor, _MODES[mode](place, size), axes=(axis,))
    return tensor


def filled(
    x: Tensor, widths: Sequence[tuple[DimLike, DimLike]], value: TensorLike | None = None
) -> Tensor:
    """`x` with so many entries of `value` (None: zero) before and behind each axis."""
    _, fill = as_tensors([x, False if value is None else value])
    if fill.dtype != x.dtype or fill.ndim:
        raise ArgumentError(f"the value must be one number of {x.dtype}, got {fill.type}")
    starts, steps = tuple(before for before, _ in widths), (1,) * x.ndim
    shape = tuple(a + n + b for n, (a, b) in zip(x.shape, widths, strict=True))
    if shape == x.shape:
        return x
    held = embed(x, starts=starts, steps=steps, shape=shape)
    return held if value is None else where(covered(starts, x.shape, steps, shape), held, fill)


def _widths(given: Any, rank: int) -> list[tuple[DimLike, DimLike]]:
    """A pair of widths an axis from what NumPy allows: a number, a pair, or pairs."""
    rows: Any = given.tolist() if isinstance(given, np.ndarray) else given
    if not isinstance(rows, (list, tuple)):
        rows = [(rows, rows)]
    elif not any(isinstance(row, (list, tuple)) for row in rows):
        rows = [rows]
    found: list[tuple[DimLike, DimLike]] = []
    for row in rows:
        if not isinstance(row, (list, tuple)) or len(row) not in (1, 2):
            raise ArgumentError(f"pad_width is a number, a pair, or a pair an axis; got {given!r}")
        found.append((_width(row[0]), _width(row[-1])))
    if len(found) == 1:
        found *= rank
    if len(found) != rank:
        raise ArgumentError(f"{len(found)} pairs of widths do not fit {rank} axes")
    return found


def _width(value: Any) -> DimLike:
    return value if isinstance(value, Dim) else as_integer(value, "a width", 0)
