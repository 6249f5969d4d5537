# pyright: basic
"""How a product is cut into tiles: the tiles for each width of vectors, what goes with a block."""

from __future__ import annotations

from dataclasses import dataclass

from .building import Builder, Value, larger, number, quotient
from .micro_kernel import Tile

IN_TIME = 64  # steps that leave time to ask for what the next tile needs


@dataclass(frozen=True)
class Operands:
    """What a product is called with: addresses, each with its strides, sizes, and the start.

    soon: what will be written once the sums are there, C itself or what they go into.
    panel_stride: from one panel of B to the next, 0 where it has none; None where it never has.
    """

    a: tuple[Value, Value, Value]
    b: tuple[Value, Value, Value]
    c: tuple[Value, Value]
    soon: tuple[Value, Value]
    sizes: tuple[Value, Value, Value]
    initial: tuple[Value, Value]
    panel_stride: Value | None = None


@dataclass(frozen=True)
class Block:
    """The same of one block of columns and one segment; and whether what comes next is asked for,
    and whether A is in strips, if it can."""

    a: tuple[Value, Value, Value]
    b: tuple[Value, Value]
    c: tuple[Value, Value]
    soon: tuple[Value, Value]
    sizes: tuple[Value, Value, Value]
    start: tuple[Value, Value, Value]
    ahead: tuple[Value, Value]
    panel: tuple[Value, Value]
    asked: Value
    gathered: Value | None


@dataclass(frozen=True)
class Cut:
    """How a product is cut: terms of a segment, how many columns go in wide blocks, columns of
    such a block, whether there is but one row, whether there are few, which take B as it is,
    whether blocks of B are turned into a panel, whether the first tile copies them to one, and
    whether blocks of A are copied to strips, if that can be."""

    most: Value
    whole: Value
    width: Value
    single: Value
    few: Value
    packs: Value
    keeps: Value
    gathers: Value | None


@dataclass(frozen=True)
class Plan:
    """The tiles for one width of vectors: for blocks of many columns, for those of two vectors and
    of one, each a higher and a lower one; for many rows of one vector; and for one row. Wide tiles
    that are not the middle ones, too, are only for full blocks."""

    wide: tuple[Tile, Tile]
    middle: tuple[Tile, Tile]
    narrow: tuple[Tile, Tile]
    tall: Tile
    thin: Tile

    @property
    def tiles(self) -> list[Tile]:
        """Each once."""
        return list(dict.fromkeys([*self.wide, *self.middle, *self.narrow, self.tall, self.thin]))


# As many accumulators as leave registers for a row of B and a broadcast; more of them spill. Where
# columns are many, as few loads as can be: about as many vectors of B as rows.
PLANS = {
    16: Plan(
        (Tile(5, 4), Tile(4, 4)),
        (Tile(8, 2), Tile(4, 2)),
        (Tile(8, 1), Tile(4, 1)),
        Tile(16, 1),
        Tile(1, 8),
    ),
    8: Plan(
        (Tile(6, 2), Tile(3, 2)),
        (Tile(6, 2), Tile(3, 2)),
        (Tile(6, 1), Tile(3, 1)),
        Tile(12, 1),
        Tile(1, 8),
    ),
    4: Plan(
        (Tile(4, 2), Tile(2, 2)),
        (Tile(4, 2), Tile(2, 2)),
        (Tile(4, 1), Tile(2, 1)),
        Tile(8, 1),
        Tile(1, 8),
    ),
}


def even(builder: Builder, whole: Value, most: Value, multiple: Value) -> Value:
    """How long the parts of `whole` are, if they are as few as `most` allows, and about equal; at
    least one `multiple`, of which `most` is one."""
    parts = quotient(builder, builder.sub(builder.add(whole, most), number(1)), most)
    parts = larger(builder, parts, number(1))
    share = quotient(builder, builder.sub(builder.add(whole, parts), number(1)), parts)
    share = builder.udiv(builder.sub(builder.add(share, multiple), number(1)), multiple)
    return builder.mul(larger(builder, share, number(1)), multiple)


def tiled(builder: Builder, rows: Value, tiles: tuple[Tile, Tile]) -> tuple[Value, Value]:
    """How many tiles have so many rows, which is as few as can be, and how many of them must be
    the higher ones: these come first."""
    high, low = (number(tile.rows) for tile in tiles)
    count = builder.udiv(builder.add(rows, builder.sub(high, number(1))), high)
    if tiles[0].rows == tiles[1].rows:
        return count, count
    more = builder.sub(high, low)
    above = larger(builder, builder.sub(rows, builder.mul(count, low)), number(0))
    return count, builder.udiv(builder.add(above, builder.sub(more, number(1))), more)


def row_of(builder: Builder, n: Value, tall: Value, tiles: tuple[Tile, Tile]) -> Value:
    """The first row of tile n, where the first `tall` are the higher ones."""
    high, low = (number(tile.rows) for tile in tiles)
    lower = larger(builder, builder.sub(n, tall), number(0))
    return builder.sub(builder.mul(n, high), builder.mul(lower, builder.sub(high, low)))
