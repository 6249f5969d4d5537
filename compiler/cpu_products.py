"""CPU source of a product: what a thread runs of it, the call of the tiles, the rest of the body.

Threads share out tiles of rows, and strips of columns where there are fewer such tiles than
threads.  What follows the product goes over a panel of some rows while they are in cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ..ir.kernel import Access, Axis, Contract, Kernel, Size
from ..ir.loc import Loc
from ..ir.units import NARROW, TILE, WIDE
from .cpu_text import product, total

PANEL = 64  # rows of a product that its epilogue goes over while they are in cache


class Emitter(Protocol):
    """What this file needs of the writer of a kernel."""

    kernel: Kernel

    def line(self, text: str, loc: Loc = ()) -> None: ...
    def begin(self, text: str) -> None: ...
    def unravel(self, axes: Sequence[Axis], flat: str) -> None: ...
    def vectors(self, index: str, low: Size, high: Size) -> None: ...
    def address(self, access: Access) -> str: ...
    def stages(self, loops: Sequence[Axis]) -> None: ...


def product_text(emitter: Emitter, item: Contract) -> None:
    """Strips of columns, tiles of rows in each: the product, then the rest of the body."""
    line, begin = emitter.line, emitter.begin
    *batch, rows, columns = emitter.kernel.axes
    i, j = rows.name, columns.name
    alone = len(emitter.kernel.body) == 1
    _tiles(emitter, batch, rows, columns)
    line(f"top = max(low - p * tiles, 0) * {TILE}")
    line(f"bottom = min((high - p * tiles) * {TILE}, {rows.extent})")
    if alone:
        line("first = top")
        line("count = bottom - top")
    else:
        begin(f"for first in range(top, bottom, {PANEL}):")
        line(f"count = min({PANEL}, bottom - first)")
    _call(emitter, item)
    if alone:
        return
    begin(f"for {i} in range(first, first + count):")
    if isinstance(columns.extent, int) and columns.extent <= NARROW:
        emitter.vectors(j, 0, columns.extent)
    else:
        line("right = left + width")
        emitter.vectors(j, "left", "right")
    place = emitter.address(replace(item.scratch, strides=(*item.scratch.strides[:-1], 1)))
    line(f"{item.result} = load({item.scratch.argument}, {place}, m)")
    emitter.stages([])


def _tiles(emitter: Emitter, batch: Sequence[Axis], rows: Axis, columns: Axis) -> None:
    """The loop over what this thread runs of each strip of columns, `left` to left + width: the
    tiles from `low` to `high`, counted through all strips and the batch.

    As `ir/units.py` has it.
    """
    line = emitter.line
    wide = columns.extent
    line(f"tiles = max(({rows.extent} + {TILE - 1}) // {TILE}, 1)")
    cut = isinstance(wide, str) or wide > NARROW
    if cut:
        blocks = product(*(axis.extent for axis in batch), "tiles")
        line(f"parts = (nth - 1) // max({blocks}, 1) + 1")
        share = f"(({wide} + parts - 1) // parts + {WIDE - 1}) // {WIDE} * {WIDE}"
        line(f"strip = max({NARROW}, {share})")
        line(f"strips = ({wide} + strip - 1) // strip")
    line(f"units = {product(*(axis.extent for axis in batch), 'strips' if cut else 1, 'tiles')}")
    line("low = units * tid // nth")
    line("high = units * (tid + 1) // nth")
    emitter.begin("for p in range(low // tiles, (high + tiles - 1) // tiles):")
    line("left = p % strips * strip" if cut else "left = 0")
    line(f"width = min(strip, {wide} - left)" if cut else f"width = {wide}")
    if batch:
        line("o = p // strips" if cut else "o = p")
        emitter.unravel(batch, "o")


def _call(emitter: Emitter, item: Contract) -> None:
    """The product of `count` rows from `first` on and `width` columns from `left` on."""
    batch = emitter.kernel.axes[:-2]

    def at(access: Access, *inner: str) -> str:
        lead = [product(a.name, s) for a, s in zip(batch, access.strides, strict=False)]
        return f"offset({access.argument}, {total(str(access.offset), *lead, *inner)})"

    *_, a_row, a_depth = item.lhs.strides
    *_, b_depth, b_column = item.rhs.strides
    start = ""
    if item.initial is not None:
        row = item.initial.strides[-2]
        start = f", {at(item.initial, product('first', row), 'left')}, {row}"
    depth: Size = item.depth
    if item.walk is None:
        left = f"{item.dtype}({at(item.lhs, product('first', a_row))}, {a_row}, {a_depth}"
    else:
        walk, depth = item.walk, item.walk.period
        rounds = 1 if depth == item.depth else f"{item.depth} // max({depth}, 1)"
        left = f"{item.dtype}({at(item.lhs, '0')}, offset({walk.rows}, first), {walk.steps}"
        if (runs := walk.runs) is None:
            left = f"at_{left}, {rounds}, {walk.stride}"
        else:
            left = f"in_{left}, {runs.table}, {runs.most}, {runs.group}, {runs.unit}, first"
    right = f"{at(item.rhs, product('left', b_column))}, {b_depth}, {b_column}"
    row = item.scratch.strides[-2]
    out = f"{at(item.scratch, product('first', row), 'left')}, {row}"
    emitter.line(f"contract_{left}, {right}, {out}, count, width, {depth}{start})", item.loc)
