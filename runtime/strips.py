# pyright: basic
"""Strips of A for the products: what one tile reads of it in one step, one step behind the other.

Where the columns of A lie in order, as in a gradient by weights, the rows of a tile are neighbours
and each step is somewhere else: on another page, and if pages are what they are apart, in the same
few places of the cache.  So the first block of columns is worth a copy in the order of use.
"""

from __future__ import annotations

from llvmlite import ir

from .blocking import Plan, row_of, tiled
from .building import Builder, Value, counted, number, smaller
from .micro_kernel import _BYTES, INT, POINTER
from .panel import BYTES, Packer

FEWEST = 24  # rows, and half of them steps, from which on a copy pays


class Gatherer(Packer):
    """Writes the function that fills strips of one element type."""

    plan: Plan

    def strips(self, builder: Builder) -> Value:
        """Room for strips; to be called where a function begins."""
        room = builder.alloca(self.element, BYTES // _BYTES[self.dtype])
        room.align = 64
        return room

    def rows_in_strips(self, builder: Builder, depth: Value) -> Value:
        """How many rows of so many steps there is room for."""
        low = self.plan.wide[1].rows
        room = BYTES // _BYTES[self.dtype] - 2 * self.lanes
        gap = -(-self.lanes // low)
        return builder.udiv(number(room), builder.add(depth, number(gap)))

    def strip(self, builder: Builder, n: Value, i: Value, depth: Value) -> Value:
        """Where the strip of tile n begins, whose first row is i."""
        gaps = builder.mul(n, number(self.lanes))
        return builder.add(builder.mul(i, depth), gaps)

    def gatherer(self) -> ir.Function:
        """gather(strips, a, a_col, rows, depth): strips[tile][k][row] = A[row, k].

        Every step is stored as a whole vector; what is too much of it the next one writes over,
        and behind the last is a gap.
        """
        signature = [POINTER, POINTER, INT, INT, INT]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), signature), "gather")
        function.linkage = "internal"
        for attribute in ("noinline", "nounwind"):
            function.attributes.add(attribute)
        strips, a, a_col, rows, depth = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        count, tall = tiled(builder, rows, self.plan.wide)
        with counted(builder, number(0), count, number(1)) as n:
            i = row_of(builder, n, tall, self.plan.wide)
            high = self.height(builder, n, tall)
            source = self.at(builder, a, i)
            target = self.at(builder, strips, self.strip(builder, n, i, depth))
            (mask,) = self.masks(builder, smaller(builder, builder.sub(rows, i), high), 1)
            with counted(builder, number(0), depth, number(1)) as k:
                here = self.at(builder, source, builder.mul(k, a_col))
                value = self.load(builder, here, mask)
                there = self.at(builder, target, builder.mul(k, high))
                self.store(builder, value, there, None)
        builder.ret_void()
        return function

    def height(self, builder: Builder, n: Value, tall: Value) -> Value:
        """How many rows tile n has, of which the first `tall` are the higher ones."""
        tile, low = self.plan.wide
        lower = builder.icmp_signed(">=", n, tall)
        return builder.select(lower, number(low.rows), number(tile.rows))

    def gathers(
        self, builder: Builder, strides: tuple[Value, Value], sizes: tuple[Value, Value, Value]
    ) -> Value:
        """Whether strips are worth their time: A's columns lie in order, `sizes` are large enough;
        of the columns of B those count that go in wide tiles."""
        (row, col), (rows, columns, depth) = strides, sizes
        width = self.plan.wide[0].vectors * self.lanes
        found = builder.icmp_signed("==", row, number(1))
        for value, least in ((col, 2), (rows, FEWEST), (depth, FEWEST // 2), (columns, 2 * width)):
            found = builder.and_(found, builder.icmp_signed(">=", value, number(least)))
        return found
