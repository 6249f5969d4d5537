# pyright: basic
"""Products of which each row takes some of the steps only, written as LLVM IR.

Windows that reach over the edges of an image meet zeros there.  Here nobody stores these zeros,
and nobody multiplies by them: rows come in groups whose windows reach over the same edges (the same
place in all images of a batch), and a table says which runs of steps a group takes.  A tile never
goes beyond a group.  What is left out would add 0 · w to a sum: no bit changes.

The rows of a group are mostly as far apart everywhere, as are the images of a batch.  Where the
table turns out to be so, tiles need few registers to know where they are, and can have more rows.
"""

from __future__ import annotations

from llvmlite import ir

from .blocking import IN_TIME, even
from .building import Builder, Value, counted, larger, number, quotient, smaller, stepped, zeros
from .micro_kernel import INT, POINTER, UNROLL, Tile, Writer
from .straight import straight

SEGMENT = 1024  # steps: that each tile begins once more costs more than B in the second cache does
LOW = 2  # rows of a low tile
LONG = 8  # steps of a unit worth a loop of their own
PACKED = 64  # rows for which a block of B is copied to where its rows lie side by side


class Ragged(Writer):
    """Writes the products of one element type into a module."""

    def contraction(self, symbol: str, height: int) -> None:
        """The public function, for tiles of so many rows: segments of steps outside, blocks of
        columns in these, rows inside.

        contract_in(a, row_table, step_table, runs, most, group, unit, first, b, b_row, 1, c,
        c_row, soon, soon_row, rows, columns, depth, initial, initial_row): rows `first` and on,
        whose table of offsets begins there, and the runs of all groups.  The rest is as in `tile`.
        """
        signature = [
            *[POINTER] * 4, INT, INT, INT, INT, POINTER, INT, INT, POINTER, INT, POINTER, INT,
            INT, INT, INT, POINTER, INT,
        ]  # fmt: skip
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), signature), symbol)
        function.attributes.add("nounwind")
        (
            a, row_table, step_table, runs, most, group, unit, begin,
            b, b_row, _, c, c_row, soon, soon_row, rows, columns, depth, initial, initial_row,
        ) = function.args  # fmt: skip
        tiles = tuple((Tile(n, 2), Tile(n, 1)) for n in (height, LOW))
        # A mask costs little; the regular tiles, which do most of the work, have none.
        self.variants = {
            (tile, masked): self.tile(tile, masked)
            for pair in tiles
            for tile in pair
            for masked in (True, False)
            if masked or not self.always_masked
        }
        self.regular = {
            tile: self.tile(tile, False, full=True)
            for tile in (Tile(height, 2), Tile(2 * height, 1))
        }
        self.straight = {tile: self.tile(tile, False, way="line") for tile in self.regular}
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        widest = number(tiles[0][0].vectors * self.lanes)
        panel = builder.alloca(self.element, SEGMENT * tiles[0][0].vectors * self.lanes)
        panel.align = 64  # pyright: ignore[reportAttributeAccessIssue]
        panel = builder.inttoptr(builder.ptrtoint(panel, INT), POINTER)  # without its pointee
        # Rows of B that are far apart would not stay in the first cache.
        packs = builder.and_(
            builder.icmp_signed(">", columns, widest),
            builder.icmp_signed(">=", rows, number(PACKED)),
        )
        group = larger(builder, group, number(1))
        line = builder.add(builder.mul(most, number(2)), number(1))
        depth = larger(builder, depth, number(0))
        length = even(builder, depth, number(SEGMENT), number(UNROLL))
        nothing = builder.icmp_unsigned("==", initial, zeros(POINTER))
        spaced = self.spaced()
        beside = builder.call(self.beside(), [step_table, depth, unit])
        units = larger(builder, quotient(builder, length, unit), number(1))  # none is cut
        length = builder.select(beside, builder.mul(units, unit), length)

        def down(column, width, k, steps, tiles, regular) -> None:
            """All rows of the columns column .. column + width, group by group."""
            right = self.at(builder, self.at(builder, b, builder.mul(k, b_row)), column)
            ways = self.entry(builder, step_table, k)
            first = builder.icmp_signed("==", k, number(0))
            fresh = builder.and_(first, nothing)
            start = self.at(builder, builder.select(first, initial, c), column)
            start_row = builder.select(first, initial_row, c_row)
            target, below = self.at(builder, c, column), self.at(builder, soon, column)
            tile, few = tiles
            line_of_b = number(tile.vectors * self.lanes)
            with builder.if_then(packs), counted(builder, number(0), steps, number(1)) as r:
                row = self.at(builder, right, builder.mul(r, b_row))
                place = self.at(builder, panel, builder.mul(r, line_of_b))
                for v, mask in enumerate(self.masks(builder, width, tile.vectors)):
                    part = number(v * self.lanes)
                    value = self.load(builder, self.at(builder, row, part), mask)
                    self.store(builder, value, self.at(builder, place, part), None)
            right = builder.select(packs, panel, right)
            right_row = builder.select(packs, line_of_b, b_row)
            asked = builder.icmp_signed(">=", steps, number(IN_TIME))
            before = builder.block
            head, body, after = (function.append_basic_block(f"group{x}") for x in ("", "_in", "s"))
            now = builder.sdiv(begin, group)
            builder.branch(head)
            builder.position_at_end(head)
            here = builder.phi(INT)
            here.add_incoming(now, before)
            low = builder.sub(builder.mul(here, group), begin)
            builder.cbranch(builder.icmp_signed("<", low, rows), body, after)
            builder.position_at_end(body)
            entry = self.entry(builder, runs, builder.mul(here, line))
            following = builder.load(entry, align=8, typ=INT)
            own = self.entry(builder, entry, number(1))
            high = builder.sub(builder.mul(following, group), begin)
            high = smaller(builder, high, rows)
            full = builder.icmp_signed("==", width, line_of_b)
            begun, step, done = (function.append_basic_block(f"rows{x}") for x in ("", "_in", "_s"))
            lowest, entered = larger(builder, low, number(0)), builder.block
            builder.branch(begun)
            builder.position_at_end(begun)
            i = builder.phi(INT)
            i.add_incoming(lowest, entered)
            builder.cbranch(builder.icmp_signed("<", i, high), step, done)
            builder.position_at_end(step)
            left, ways_to = builder.sub(high, i), self.entry(builder, row_table, i)
            checked = builder.select(full, left, number(0))
            several = builder.udiv(builder.call(spaced, [ways_to, checked]), number(regular.rows))
            several = builder.mul(several, number(regular.rows))
            whole = builder.icmp_signed(">", several, number(0))
            count = builder.select(whole, several, number(tile.rows))
            some = smaller(builder, left, count)
            arguments = [
                a, ways_to, ways, right, right_row,
                self.at(builder, target, builder.mul(i, c_row)), c_row,
                self.at(builder, below, builder.mul(i, soon_row)), soon_row, asked,
                some, width, steps,
                self.at(builder, start, builder.mul(i, start_row)), start_row, fresh,
                own, most, unit, k,
            ]  # fmt: skip
            with builder.if_else(whole) as (evenly, anyhow):
                with evenly, builder.if_else(beside) as (in_units, apart):
                    with in_units:
                        builder.call(self.straight[regular], arguments)
                    with apart:
                        builder.call(self.regular[regular], arguments)
                with anyhow:
                    scant = builder.icmp_signed("<=", left, number(few.rows))
                    with builder.if_else(scant) as (rest, more):
                        with rest:
                            self.call(builder, few, width, arguments)
                        with more:
                            self.call(builder, tile, width, arguments)
            i.add_incoming(builder.add(i, count), builder.block)
            builder.branch(begun)
            builder.position_at_end(done)
            here.add_incoming(following, builder.block)
            builder.branch(head)
            builder.position_at_end(after)

        (wide, slim), (low_wide, low_slim) = tiles
        regular_wide, regular_slim = self.regular
        step = number(wide.vectors * self.lanes)
        with counted(builder, number(0), larger(builder, depth, number(1)), length) as k:
            steps = smaller(builder, builder.sub(depth, k), length)
            with counted(builder, number(0), columns, step) as j:
                width = smaller(builder, builder.sub(columns, j), step)
                narrow = builder.icmp_signed("<=", width, number(self.lanes))
                with builder.if_else(narrow) as (one, two):
                    with one:
                        down(j, width, k, steps, (slim, low_slim), regular_slim)
                    with two:
                        down(j, width, k, steps, (wide, low_wide), regular_wide)
        builder.ret_void()

    def spaced(self) -> ir.Function:
        """spaced(table, count): how many of the first entries are as far apart everywhere."""
        function = ir.Function(self.module, ir.FunctionType(INT, [POINTER, INT]), "spaced")
        function.linkage = "internal"
        function.attributes.add("nounwind")
        table, count = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        with builder.if_then(builder.icmp_signed("<", count, number(3))):
            builder.ret(count)
        gap = self.gap(builder, table)
        with counted(builder, number(2), count, number(1)) as n:
            before = self.entry(builder, table, builder.sub(n, number(1)))
            same = builder.icmp_signed("==", self.gap(builder, before), gap)
            with builder.if_then(builder.not_(same)):
                builder.ret(n)
        builder.ret(count)
        return function

    def beside(self) -> ir.Function:
        """beside(table, depth, unit): whether the steps of a unit are neighbours, and so many that
        they are worth a loop, and not too many for a segment."""
        flag = ir.IntType(1)
        kind = ir.FunctionType(flag, [POINTER, INT, INT])
        function = ir.Function(self.module, kind, "beside")
        function.linkage = "internal"
        function.attributes.add("nounwind")
        table, depth, unit = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        no = ir.Constant(flag, False)
        few = builder.icmp_signed("<", unit, number(LONG))
        with builder.if_then(
            builder.or_(few, builder.icmp_signed(">", unit, number(SEGMENT // 2)))
        ):
            builder.ret(no)
        with counted(builder, number(0), depth, unit) as k:
            first = self.entry(builder, table, k)
            with counted(builder, number(1), unit, number(1)) as n:
                before = self.entry(builder, first, builder.sub(n, number(1)))
                gap = self.gap(builder, before)
                with builder.if_then(builder.icmp_signed("!=", gap, number(1))):
                    builder.ret(no)
        builder.ret(ir.Constant(flag, True))
        return function

    def by_units(self, builder, tile: Tile, row, steps, b, gap, runs, masks):
        """What goes through steps of a run, unit by unit, where those of a unit are neighbours, and
        rows from `row` on are `gap` apart."""
        place_b, row_b = b
        unit = runs[2]

        def through(first: Value, end: Value, sums: list) -> list:
            def body(k: Value, sums: list) -> list:
                offset = builder.load(self.entry(builder, steps, k), align=8, typ=INT)
                here = self.at(builder, row, offset)
                rows = [
                    self.at(builder, here, builder.mul(gap, number(n))) for n in range(tile.rows)
                ]
                right = self.at(builder, place_b, builder.mul(row_b, k)), row_b
                return straight(self, builder, "line", rows, right, gap, unit, sums, masks)

            return stepped(builder, first, end, unit, sums, body)[1]

        return through

    def through_all(self, builder: Builder, through, depth: Value, sums: list, runs: list) -> list:
        """`through` the runs of a tile, as far as they are among the steps that are here."""
        table, most, unit, passed = runs

        def bound(place: Value) -> Value:
            units = builder.load(self.entry(builder, table, place), align=8, typ=INT)
            step = builder.sub(builder.mul(units, unit), passed)
            return smaller(builder, larger(builder, step, number(0)), depth)

        function, before = builder.function, builder.block
        head, body, after = (function.append_basic_block(f"run{part}") for part in ("", "_in", "s"))
        builder.branch(head)
        builder.position_at_end(head)
        run = builder.phi(INT)
        run.add_incoming(number(0), before)
        running = [builder.phi(self.vector) for _ in sums]
        for phi, value in zip(running, sums, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", run, most), body, after)
        builder.position_at_end(body)
        low = builder.mul(run, number(2))
        first = bound(low)
        end = larger(builder, bound(builder.add(low, number(1))), first)
        for phi, value in zip(running, through(first, end, running), strict=True):
            phi.add_incoming(value, builder.block)
        run.add_incoming(builder.add(run, number(1)), builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return running

    def call(self, builder, tile: Tile, width, arguments) -> None:
        if (tile, False) not in self.variants:
            builder.call(self.variants[tile, True], arguments)
            return
        full = builder.icmp_signed("==", width, number(tile.vectors * self.lanes))
        with builder.if_else(full) as (inside, edge):
            with inside:
                builder.call(self.variants[tile, False], arguments)
            with edge:
                builder.call(self.variants[tile, True], arguments)
