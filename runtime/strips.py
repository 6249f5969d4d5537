# pyright: basic
"""Copies of A for the products, in the order in which it is used.

Where the columns of A lie in order, as in a gradient by weights, the rows of a tile are neighbours
and each step is somewhere else: on another page, and if pages are what they are apart, in the same
few places of the cache.  So a block of A goes to strips: what one tile reads in one step, one step
behind the other.

Where tables say where A is, and the rows or the steps turn out to be neighbours, as those of a
sequence that is gone through backwards, a block of it is copied to a matrix, and what is left is
the usual product.
"""

from __future__ import annotations

from llvmlite import ir

from .blocking import Plan, even, row_of, tiled
from .building import Builder, Value, counted, number, smaller, zeros
from .micro_kernel import _BYTES, INT, POINTER
from .panel import BYTES, Packer

ROWS = 128  # of A in a block, which stays in the second cache while blocks of B go by
FEWEST = 24  # rows, and half of them steps, from which on a copy pays
TOGETHER = 3  # tiles, which read about a line


class Gatherer(Packer):
    """Writes the functions that copy A, of one element type."""

    plan: Plan

    def has_strips(self) -> bool:
        """Whether this product has any: each step of a tile is one vector, or less."""
        return not self.by_tables and self.lanes >= self.plan.wide[0].rows

    @property
    def steps(self) -> int:
        """How many steps a strip may have; a block's then stay in the second cache."""
        return BYTES // _BYTES[self.dtype] // ROWS

    def strips_length(self) -> int:
        """How many elements the strips of a block take."""
        tile, low = self.plan.wide
        return (ROWS + tile.rows) * self.steps + (ROWS // low.rows + 2) * self.lanes

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
        step = self.of_lanes(1 << (self.plan.wide[0].rows - 1).bit_length())
        count, tall = tiled(builder, rows, self.plan.wide)
        last = builder.sub(count, number(1))
        with counted(builder, number(0), count, number(TOGETHER)) as n:
            tiles = []
            for more in range(TOGETHER):
                one = smaller(builder, builder.add(n, number(more)), last)
                i = row_of(builder, one, tall, self.plan.wide)
                high = self.height(builder, one, tall)
                (mask,) = step.masks(builder, smaller(builder, builder.sub(rows, i), high), 1)
                target = self.at(builder, strips, self.strip(builder, one, i, depth))
                tiles.append((self.at(builder, a, i), high, mask, target))
            with counted(builder, number(0), depth, number(1)) as k:
                row = builder.mul(k, a_col)
                for source, high, mask, target in tiles:
                    value = step.load(builder, self.at(builder, source, row), mask)
                    there = self.at(builder, target, builder.mul(k, high))
                    step.store(builder, value, there, None)
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

    def neighbours(self) -> ir.Function:
        """neighbours(table, count): whether each entry is one more than the one before."""
        flag = ir.IntType(1)
        function = ir.Function(self.module, ir.FunctionType(flag, [POINTER, INT]), "neighbours")
        function.linkage = "internal"
        function.attributes.add("nounwind")
        table, count = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        first = builder.load(table, align=8, typ=INT)
        with counted(builder, number(0), count, number(1)) as n:
            value = builder.load(self.entry(builder, table, n), align=8, typ=INT)
            same = builder.icmp_signed("==", value, builder.add(first, n))
            with builder.if_then(builder.not_(same)):
                builder.ret(ir.Constant(flag, False))
        builder.ret(ir.Constant(flag, True))
        return function

    def by_copies(self, usual: str) -> ir.Function:
        """by_copies(room, a, row_table, step_table, b, b_row, b_col, c, c_row, soon, soon_row,
        rows, columns, depth, initial, initial_row): does the product, if it is large enough, and
        rows or steps are neighbours; tells whether it did.

        room: of BYTES. usual: the name of the product by strides.
        """
        flag = ir.IntType(1)
        right = [POINTER, INT, INT]
        rest = [POINTER, INT, POINTER, INT, INT, INT, INT, POINTER, INT]
        kind = ir.FunctionType(ir.VoidType(), [POINTER, INT, INT, *right, INT, *rest])
        product = ir.Function(self.module, kind, usual)
        kind = ir.FunctionType(flag, [POINTER, POINTER, POINTER, POINTER, *right, *rest])
        function = ir.Function(self.module, kind, "by_copies")
        function.linkage = "internal"
        for attribute in ("noinline", "nounwind"):
            function.attributes.add(attribute)
        room, a, row_table, step_table, b, b_row, b_col, c, c_row, *more = function.args
        soon, soon_row, rows, columns, depth, initial, initial_row = more
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        no, neighbours = ir.Constant(flag, False), self.neighbours()

        width = self.plan.middle[0].vectors * self.lanes
        for value, least in ((rows, FEWEST), (depth, FEWEST // 2), (columns, 4 * width)):
            with builder.if_then(builder.icmp_signed("<", value, number(least))):
                builder.ret(no)
        beside = builder.call(neighbours, [row_table, rows])
        with builder.if_then(builder.not_(beside)):
            behind = builder.call(neighbours, [step_table, depth])
            with builder.if_then(builder.not_(behind)):
                builder.ret(no)

        height = even(builder, rows, number(ROWS), number(self.lanes))
        length = even(builder, depth, number(self.steps), number(self.lanes))
        with counted(builder, number(0), depth, length) as k:
            steps = smaller(builder, builder.sub(depth, k), length)
            first = builder.icmp_signed("==", k, number(0))
            start = builder.select(first, initial, c)
            start_row = builder.select(first, initial_row, c_row)
            nothing = builder.icmp_unsigned("==", start, zeros(POINTER))
            right = self.at(builder, b, builder.mul(k, b_row))
            with counted(builder, number(0), rows, height) as i:
                left = smaller(builder, builder.sub(rows, i), height)
                some, others = self.entry(builder, row_table, i), self.entry(builder, step_table, k)
                along, to = (
                    builder.select(beside, some, others),
                    builder.select(beside, left, steps),
                )
                across = builder.select(beside, others, some)
                count = builder.select(beside, steps, left)
                pitch = builder.and_(builder.add(to, number(self.lanes - 1)), number(-self.lanes))
                self.copied(builder, room, pitch, a, (along, to), (across, count))

                def below(base: Value, row: Value, i: Value = i) -> Value:
                    return self.at(builder, base, builder.mul(i, row))

                one = number(1)
                strides = builder.select(beside, one, pitch), builder.select(beside, pitch, one)
                beginning = builder.select(nothing, start, below(start, start_row))
                arguments = [
                    room, *strides, right, b_row, b_col, number(0), below(c, c_row), c_row,
                    below(soon, soon_row), soon_row, left, columns, steps, beginning, start_row,
                ]  # fmt: skip
                builder.call(product, arguments)
        builder.ret(ir.Constant(flag, True))
        return function

    def copied(
        self,
        builder: Builder,
        room: Value,
        pitch: Value,
        a: Value,
        along: tuple[Value, Value],
        across: tuple[Value, Value],
    ) -> None:
        """room[n * pitch + m] = a[across[n] + along[m]], where entries `along` are neighbours; a
        table and a count each."""
        (table, to), (others, count) = along, across
        source = self.at(builder, a, builder.load(table, align=8, typ=INT))
        with counted(builder, number(0), count, number(1)) as n:
            offset = builder.load(self.entry(builder, others, n), align=8, typ=INT)
            here = self.at(builder, source, offset)
            there = self.at(builder, room, builder.mul(n, pitch))
            with counted(builder, number(0), to, number(self.lanes)) as m:
                (mask,) = self.masks(builder, builder.sub(to, m), 1)
                value = self.load(builder, self.at(builder, here, m), mask)
                self.store(builder, value, self.at(builder, there, m), None)
