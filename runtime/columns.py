# pyright: basic
"""The tiles of a block of columns of a product, from its first row to its last.

`tile` cuts a product into blocks; here it is chosen which of the functions of `micro_kernel` go
down a block, from which row on and for how many, and what they are called with.
"""

from __future__ import annotations

from dataclasses import replace

from llvmlite import ir

from .blocking import Block, Cut, tiled
from .building import Builder, Value, number, smaller
from .micro_kernel import Besides, Tile
from .straight import WAYS, Way
from .strips import Gatherer


class Columns(Gatherer):
    """Writes the calls of tiles, of one element type; `variants` are their functions, by tile,
    whether they have masks, and what they do besides; `straight` those for full tiles where A's
    elements are neighbours, by tile, what else they do, and way."""

    variants: dict[tuple[Tile, bool, Besides], ir.Function]
    straight: dict[tuple[Tile, Besides, Way], ir.Function]

    def maskings(self, tile: Tile) -> tuple[bool, ...]:
        """In which versions a tile is needed: with masks, without. Wide ones that are not the
        middle ones, too, are only for full blocks."""
        if tile in self.plan.wide and tile not in self.plan.middle:
            return (False,)
        return (True,) if self.always_masked else (True, False)

    def has(self, tile: Tile, besides: Besides = "") -> bool:
        """Whether there is a function for such a tile wherever A's elements are."""
        return (tile, self.maskings(tile)[0], besides) in self.variants

    def is_masked(self, tile: Tile) -> bool:
        """Whether the straight versions of a tile have masks: else they are for all its columns."""
        return self.always_masked and tile == self.plan.tall

    def many(self, builder: Builder, cut: Cut, block: Block) -> None:
        """The tiles of a block of many columns."""
        with builder.if_else(cut.single) as (one, more):
            with one:
                self.down(builder, (self.plan.thin, self.plan.thin), block)
            with more:
                if self.by_tables:
                    self.down(builder, self.plan.wide, block)
                    return
                low = self.plan.wide[1]
                with builder.if_else(cut.few) as (plain, panel):
                    with panel:
                        self.down(builder, self.plan.wide, block, cut.keeps)
                    with plain:
                        self.down(builder, (low, low), block, asks=True)

    def rest(self, builder: Builder, block: Block) -> None:
        """The tiles of a block of the columns that are left."""
        slim = builder.icmp_signed("<=", block.sizes[1], number(self.lanes))
        with builder.if_else(slim) as (narrow, some):
            with narrow:
                left = block if self.by_tables else self.regular(builder, self.plan.tall, block)
                self.down(builder, self.plan.narrow, left)
            with some:
                self.down(builder, self.plan.middle, block)

    def regular(self, builder: Builder, tile: Tile, block: Block) -> Block:
        """As many full tiles as a block has rows for; the rows that are left."""
        rows, height = block.sizes[0], number(tile.rows)
        done = builder.mul(builder.udiv(rows, height), height)
        done = self.where_known(builder, tile, block, done)
        self.below(builder, tile, block, number(0), number(0), done)
        return self.part(builder, block, done, builder.sub(rows, done))

    def where_known(self, builder: Builder, tile: Tile, block: Block, count: Value) -> Value:
        """`count`, or 0 where such a tile has no function for what A is."""
        if self.has(tile):
            return count
        _, a_row, a_col = block.a
        ways = (builder.icmp_signed("==", stride, number(1)) for stride in (a_row, a_col))
        return builder.select(builder.or_(*ways), count, number(0))

    def part(self, builder: Builder, block: Block, i: Value, rows: Value) -> Block:
        """So many rows of a block from row i on; A by strides."""

        def below(base: Value, row: Value) -> Value:
            return self.at(builder, base, builder.mul(i, row))

        (a, a_row, a_col), (c, c_row), (soon, soon_row) = block.a, block.c, block.soon
        start, start_row, fresh = block.start
        return replace(
            block,
            a=(below(a, a_row), a_row, a_col),
            c=(below(c, c_row), c_row),
            soon=(below(soon, soon_row), soon_row),
            start=(below(start, start_row), start_row, fresh),
            sizes=(rows, *block.sizes[1:]),
        )

    def down(
        self,
        builder: Builder,
        tiles: tuple[Tile, Tile],
        block: Block,
        keeps: Value | None = None,
        asks: bool = False,
    ) -> None:
        """All row tiles of a block of columns; the last ones may be the lower tile.

        keeps: whether the first tile leaves the block of B in the panel, from which the others take
        it. asks: whether tiles ask for the next block meanwhile."""
        high, low = tiles
        rows = block.sizes[0]
        if high == low:
            self.below(builder, high, block, number(0), number(0), rows, "asks" if asks else "")
            return
        _, tall = tiled(builder, rows, tiles)
        tall = self.where_known(builder, high, block, tall)
        above = smaller(builder, builder.mul(tall, number(high.rows)), rows)
        passed = number(0)
        if keeps is not None:  # only higher tiles know how to
            keeps = builder.and_(keeps, builder.icmp_signed(">", tall, number(0)))
            passed = builder.select(keeps, number(1), number(0))
            begun = smaller(builder, builder.mul(passed, number(high.rows)), above)
            self.below(builder, high, block, number(0), number(0), begun, "keeps")
            kept = (
                builder.select(keeps, value, other)
                for value, other in zip(block.panel, block.b, strict=True)
            )
            block = replace(block, b=tuple(kept))
        done = builder.mul(passed, number(high.rows))
        self.below(builder, high, block, passed, done, builder.sub(above, done))
        self.below(builder, low, block, tall, above, builder.sub(rows, above))

    def below(
        self,
        builder: Builder,
        tile: Tile,
        block: Block,
        n: Value,
        i: Value,
        rows: Value,
        besides: Besides = "",
    ) -> None:
        """So many rows of a block, from row i on, where the n-th tile begins."""
        (a, a_row, a_col), (c, c_row), (soon, soon_row) = block.a, block.c, block.soon
        start, start_row, fresh = block.start
        _, width, depth = block.sizes
        # One that can ask for rows asks for what it reads where nobody wants more.
        ahead = {"asks": block.ahead, "keeps": block.panel, "": (block.b[0], number(0))}[besides]
        ahead = () if self.by_tables else ahead
        with builder.if_then(builder.icmp_signed(">", rows, number(0))):
            if self.by_tables:
                here, onward, ways = a, number(0), [self.entry(builder, a_row, i), a_col]
            else:
                height = number(tile.rows)
                here = self.at(builder, a, builder.mul(i, a_row))
                onward = builder.mul(height, a_row)
                if block.gathered is not None:
                    strip = self.at(builder, a, self.strip(builder, n, i, depth))
                    gap = builder.add(builder.mul(height, depth), number(self.lanes))
                    here = builder.select(block.gathered, strip, here)
                    a_col = builder.select(block.gathered, height, a_col)
                    onward = builder.select(block.gathered, gap, onward)
                ways = [a_row, a_col, onward]

            def arguments(here: Value, i: Value, rows: Value) -> list[Value]:
                return [
                    here, *ways, *block.b,
                    self.at(builder, c, builder.mul(i, c_row)), c_row,
                    self.at(builder, soon, builder.mul(i, soon_row)), soon_row, block.asked,
                    rows, width, depth,
                    self.at(builder, start, builder.mul(i, start_row)), start_row, fresh, *ahead,
                ]  # fmt: skip

            for way in WAYS:
                straight = self.straight.get((tile, besides, way))
                if straight is None:
                    continue
                fits = builder.icmp_signed("==", a_col if way == "line" else a_row, number(1))
                if not self.is_masked(tile):
                    whole = builder.icmp_signed("==", width, number(tile.vectors * self.lanes))
                    fits = builder.and_(fits, whole)
                count = builder.select(fits, builder.udiv(rows, number(tile.rows)), number(0))
                done = builder.mul(count, number(tile.rows))
                with builder.if_then(builder.icmp_signed(">", count, number(0))):
                    builder.call(straight, arguments(here, i, done))
                here = self.at(builder, here, builder.mul(count, onward))
                i, rows = builder.add(i, done), builder.sub(rows, done)
            if self.has(tile, besides):
                with builder.if_then(builder.icmp_signed(">", rows, number(0))):
                    self.call(builder, tile, width, arguments(here, i, rows), besides)

    def call(
        self,
        builder: Builder,
        tile: Tile,
        width: Value,
        arguments: list[Value],
        besides: Besides = "",
    ) -> None:
        versions = self.maskings(tile)
        if len(versions) == 1:
            builder.call(self.variants[tile, versions[0], besides], arguments)
            return
        full = builder.icmp_signed("==", width, number(tile.vectors * self.lanes))
        with builder.if_else(full) as (inside, edge):
            with inside:
                builder.call(self.variants[tile, False, besides], arguments)
            with edge:
                builder.call(self.variants[tile, True, besides], arguments)
