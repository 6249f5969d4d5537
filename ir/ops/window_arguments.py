# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (what users write: numbers of any kind)
"""What users write about windows: sizes, strides, dilations and paddings, as numbers an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..dims import DimLike, Shape, ceildiv, floordiv, maximum
from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor
from .build import as_integer
from .padding import filled
from .window import Ints, windows

Pads = tuple[tuple[DimLike, DimLike], ...]


class Frame(NamedTuple):
    """Windows over padded axes: how many there are, what is padded before and behind, and how the
    windows lie."""

    counts: Shape
    pads: Pads
    sizes: Shape
    strides: Ints
    dilations: Ints

    @property
    def is_unpadded(self) -> bool:
        return all(low == 0 and high == 0 for low, high in self.pads)


def integers(value: Any, n: int, what: str, least: int = 1) -> Ints:
    """An integer for each of `n` axes, of one for all or one for each."""
    items: list[Any] = list(value) if isinstance(value, Sequence) else [value] * n
    if len(items) != n:
        raise ArgumentError(f"{what} is an integer or {n} of them, got {value!r}")
    return tuple(as_integer(item, what, least) for item in items)


def check_rank(x: Tensor, n: int, what: str = "the input", kind: str = "N C") -> None:
    """ShapeError unless `x` has two axes and `n` spatial ones."""
    if x.ndim != n + 2:
        axes = " ".join("DHW"[3 - n :]) if n <= 3 else f"and {n} more"
        raise ShapeError(f"{what} needs {n + 2} axes ({kind} {axes}), got {x.type}")


def spatial_axes(x: Tensor) -> int:
    """How many axes there are behind N and C; ShapeError where there are none."""
    if x.ndim < 3:
        raise ShapeError(f"the input needs three axes or more (N C and spatial ones), got {x.type}")
    return x.ndim - 2


def pads_of(padding: Any, n: int) -> Pads:
    """A pair of paddings for each of `n` axes, of an integer, one for each, or pairs."""
    items = list(padding) if isinstance(padding, Sequence) else [padding]
    if items and all(isinstance(item, Sequence) and not isinstance(item, str) for item in items):
        if len(items) != n or any(len(item) != 2 for item in items):
            raise ArgumentError(f"padding is an integer, {n} of them or {n} pairs, got {padding!r}")
        pairs = [integers(item, 2, "a pair of paddings", 0) for item in items]
        return tuple((low, high) for low, high in pairs)
    return tuple((pad, pad) for pad in integers(padding, n, "padding", 0))


def frame(shape: Shape, sizes: Shape, stride: Any, padding: Any, dilation: Any, what: str) -> Frame:
    """The windows of `sizes` over spatial axes of `shape`; errors where none fits.

    padding: "valid" for none, "same" for ⌈size / stride⌉ windows (what does not divide by two goes
    behind, as in TensorFlow and PyTorch), an integer, one for each axis, or pairs.
    """
    n = len(shape)
    strides, dilations = integers(stride, n, "stride"), integers(dilation, n, "dilation")
    reach = tuple(d * (size - 1) + 1 for d, size in zip(dilations, sizes, strict=True))
    if padding == "same":
        counts = tuple(ceildiv(size, s) for size, s in zip(shape, strides, strict=True))
        pads: list[tuple[DimLike, DimLike]] = []
        for size, count, s, span in zip(shape, counts, strides, reach, strict=True):
            missing = maximum((count - 1) * s + span - size, 0)
            low = floordiv(missing, 2)
            pads.append((low, missing - low))
        return Frame(counts, tuple(pads), sizes, strides, dilations)
    if isinstance(padding, str) and padding != "valid":
        raise ArgumentError(f'padding is "valid", "same", integers or pairs, got {padding!r}')
    given = pads_of(0 if padding == "valid" else padding, n)
    found: list[DimLike] = []
    for size, (low, high), s, span in zip(shape, given, strides, reach, strict=True):
        room = size + low + high - span
        if isinstance(room, int) and room < 0:
            around = f" padded by {low} and {high}" if low or high else ""
            raise ShapeError(f"{what} of {span} entries does not fit into {size}{around}")
        found.append(floordiv(room, s) + 1)
    return Frame(tuple(found), given, sizes, strides, dilations)


def seen(x: Tensor, frame: Frame, value: Any = None) -> Tensor:
    """(…, counts…, sizes…): the windows over the last axes of `x`, padded by `value` or zero."""
    lead = x.ndim - len(frame.pads)
    return windows(
        filled(x, [*[(0, 0)] * lead, *frame.pads], value),
        counts=frame.counts,
        sizes=frame.sizes,
        strides=frame.strides,
        dilations=frame.dilations,
    )
