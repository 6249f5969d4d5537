"""CPU source of a product: what a thread runs of it, the call of the tiles, the rest of the body.

Threads share out tiles of rows, or strips of columns: where weights are many, or tiles fewer than
threads (`ir/units.py`).  What follows the product goes over a panel of some rows while they are in
cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from ..ir.kernel import Access, Axis, Contract, Kernel, Load, Size, Store
from ..ir.loc import Loc
from ..ir.units import INSIDE, MUCH, NARROW, TILE, panel_columns, strip_multiple
from .cpu_text import product, total

VECTOR = 16  # elements of which rows of sums are a multiple, so that vectors lie in one line
PANEL = 128  # rows at most of a product that its epilogue goes over while they are in cache


class Emitter(Protocol):
    """What this file needs of the writer of a kernel."""

    kernel: Kernel

    def line(self, text: str, loc: Loc = ()) -> None: ...
    def begin(self, text: str) -> None: ...
    def unravel(self, axes: Sequence[Axis], flat: str) -> None: ...
    def vectors(self, index: str, low: Size, high: Size, around: Callable[[str], None]) -> None: ...
    def address(self, access: Access) -> str: ...
    def stages(self, loops: Sequence[Axis]) -> None: ...


def product_text(emitter: Emitter, item: Contract) -> None:
    """Strips of columns, tiles of rows in each: the product, then the rest of the body."""
    line, begin = emitter.line, emitter.begin
    *batch, rows, columns = emitter.kernel.axes
    i, j = rows.name, columns.name
    every_other = _reads_where_it_writes(emitter.kernel)

    def rows_here(masked: str) -> None:
        # A load waits for a store under a mask that reaches, masked or not, into what it reads; so
        # rows that are shorter than a vector do not follow the one before them.
        if every_other and masked != "0":
            begin(f"for odd in range(0, 1 + {masked}):")
            begin(f"for {i} in range(first + odd, first + count, 1 + {masked}):")
        else:
            begin(f"for {i} in range(first, first + count):")

    alone = len(emitter.kernel.body) == 1
    soon = _goes_into(emitter.kernel, item)
    _tiles(emitter, item, batch, rows, columns)
    line(f"top = max(low - p * tiles, 0) * {TILE}")
    line(f"bottom = min((high - p * tiles) * {TILE}, {rows.extent})")
    if alone:
        line("first = top")
        line("count = bottom - top")
    else:
        line(f"panels = max((bottom - top + {PANEL - 1}) // {PANEL}, 1)")
        tall = f"(bottom - top + {TILE - 1}) // {TILE} + panels - 1"
        line(f"height = quotient({tall}, panels) * {TILE}")
        begin(f"for first in range(top, bottom, max(height, {TILE})):")
        line("count = min(height, bottom - first)")
    if item.scratch is None:
        step = strip_multiple(item)
        span = INSIDE // item.dtype.bytes // PANEL // step * step
        line(f"sums = {item.dtype}_inside()")
        begin(f"for start in range(left, left + width, {span}):")
        line(f"part = min(left + width - start, {span})")
        line(f"pitch = (part + {VECTOR - 1}) // {VECTOR} * {VECTOR}")
        _call(emitter, item, ("start", "part"), "sums, pitch", soon)
        line("right = start + part")
        emitter.vectors(j, "start", "right", rows_here)
        line(f"{item.result} = load(sums, ({i} - first) * pitch + {j} - start, m)")
        emitter.stages([])
        return
    row = item.scratch.strides[-2]
    place = at(item.scratch, batch, product("first", row), "left")
    _call(emitter, item, ("left", "width"), f"{place}, {row}", soon)
    if alone:
        return
    if isinstance(columns.extent, int) and columns.extent <= NARROW:
        emitter.vectors(j, 0, columns.extent, rows_here)
    else:
        line("right = left + width")
        emitter.vectors(j, "left", "right", rows_here)
    place = emitter.address(replace(item.scratch, strides=(*item.scratch.strides[:-1], 1)))
    line(f"{item.result} = load({item.scratch.argument}, {place}, m)")
    emitter.stages([])


def _tiles(
    emitter: Emitter, item: Contract, batch: Sequence[Axis], rows: Axis, columns: Axis
) -> None:
    """The loop over what this thread runs of each strip of columns, `left` to left + width: the
    tiles from `low` to `high`, counted through all strips and the batch.

    As `ir/units.py` has it.
    """
    line = emitter.line
    wide, step = columns.extent, strip_multiple(item)
    line(f"tiles = max(({rows.extent} + {TILE - 1}) // {TILE}, 1)")
    cut = isinstance(wide, str) or wide > NARROW
    if cut:
        above = f"max({rows.extent} - {wide}, {MUCH} - {product(item.depth, wide)})"
        line(f"many = min(max({above}, 0), 1)")
        blocks = product(*(axis.extent for axis in batch), "((tiles - 1) * many + 1)")
        line(f"parts = quotient(nth - 1, max({blocks}, 1)) + 1")
        share = f"(quotient({wide} + parts - 1, parts) + {step - 1}) // {step} * {step}"
        line(f"strip = max({NARROW}, {share})")
        line(f"strips = quotient({wide} + strip - 1, strip)")
    line(f"units = {product(*(axis.extent for axis in batch), 'strips' if cut else 1, 'tiles')}")
    line("low = quotient(units * tid, nth)")
    line("high = quotient(units * (tid + 1), nth)")
    emitter.begin("for p in range(quotient(low, tiles), quotient(high + tiles - 1, tiles)):")
    if cut or batch:
        line("o = quotient(p, strips)" if cut else "o = p")
    line("left = (p - o * strips) * strip" if cut else "left = 0")
    line(f"width = min(strip, {wide} - left)" if cut else f"width = {wide}")
    if batch:
        emitter.unravel(batch, "o")


def at(access: Access, batch: Sequence[Axis], *inner: str) -> str:
    """The address of an element of this entry of the batch."""
    lead = [product(a.name, s) for a, s in zip(batch, access.strides, strict=False)]
    return f"offset({access.argument}, {total(str(access.offset), *lead, *inner)})"


def _goes_into(kernel: Kernel, item: Contract) -> Access | None:
    """What the rest of the body reads, or else writes, along with the sums, like these row by row:
    an update reads the old weights."""
    along = [
        other.access
        for kind in (Load, Store)
        for other in kernel.body
        if isinstance(other, kind) and not other.access.terms
    ]
    dtypes = {argument.name: argument.dtype for argument in kernel.arguments}
    for access in along:
        same = dtypes[access.argument] == item.dtype
        if same and access.strides[-1] == 1 and access.strides[-2] != 0:
            return access
    return None


def _reads_where_it_writes(kernel: Kernel) -> bool:
    """Whether something is read along with a result, as the old weights in an update; it may have
    the same memory."""
    stores = [item.access.strides for item in kernel.body if isinstance(item, Store)]
    return any(isinstance(item, Load) and item.access.strides in stores for item in kernel.body)


def _call(
    emitter: Emitter, item: Contract, columns: tuple[str, str], out: str, soon: Access | None
) -> None:
    """The product of `count` rows from `first` on, and as many columns, into `out`.

    columns: the first, and how many.  out: where, and the stride of its rows.  soon: what the sums
    go into, which is asked for meanwhile; None: just there.
    """
    batch = emitter.kernel.axes[:-2]
    first, many = columns
    *_, a_row, a_depth = item.lhs.strides
    *_, b_depth, b_column = item.rhs.strides
    start = ""
    if item.initial is not None:
        row = item.initial.strides[-2]
        start = f", {at(item.initial, batch, product('first', row), first)}, {row}"
    depth: Size = item.depth
    if item.walk is None:
        left = f"{item.dtype}({at(item.lhs, batch, product('first', a_row))}, {a_row}, {a_depth}"
    else:
        walk, depth = item.walk, item.walk.period
        rounds = 1 if depth == item.depth else f"{item.depth} // max({depth}, 1)"
        left = f"{item.dtype}({at(item.lhs, batch, '0')}, offset({walk.rows}, first), {walk.steps}"
        if (runs := walk.runs) is None:
            left = f"at_{left}, {rounds}, {walk.stride}"
        else:
            left = f"in_{left}, {runs.table}, {runs.most}, {runs.group}, {runs.unit}, first"
    near = out
    if soon is not None:
        row = soon.strides[-2]
        near = f"{at(soon, batch, product('first', row), first)}, {row}"
    column = product(first, b_column)
    if item.panel_stride != 0 and first != "0":  # where a panel begins
        column = f"{first} // {panel_columns(item.dtype)} * {item.panel_stride}"
    right = f"{at(item.rhs, batch, column)}, {b_depth}, {b_column}"
    right += f", {item.panel_stride}" * (item.walk is None)
    sizes = f"count, {many}, {depth}"
    emitter.line(f"contract_{left}, {right}, {out}, {near}, {sizes}{start})", item.loc)
