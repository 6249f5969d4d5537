# pyright: basic
"""Contraction micro-kernels: `C[rows x cols] = A . B` on pointers with strides, written as LLVM IR.

A tile of C lives in registers while the contraction axis is walked: each step loads a row of B as
vectors, broadcasts one element of A per row, and multiplies and adds. Edges take the same code:
rows beyond the last are clamped to the last (computed again, not stored), lanes beyond the last
column are masked, but for tiles that are only given all their rows, or full blocks. A long
contraction is cut into segments so that a column block of B stays in cache while the tiles go down
the rows; a later segment starts from what the earlier one stored. So each element of C is one chain
of multiply-adds, in the order of the contraction axis, from zero or what is given to start from,
which may be C itself: its bits do not depend on where in a tile it lies, nor on how a product is
divided into calls, nor on the width of the vectors.

Where some tiles read a block of B, the first one asks for each of its rows a few steps before, and
leaves it in a panel, rows one behind the other, if they are not so already: in B each may be on
another page, and wants the same few places in the cache if they are a power of two apart. Fewer
tiles read it where it is, and ask for the next block meanwhile. Where the columns of B, not its
rows, lie in order, each block is first turned (`panel`). Where the columns of A lie in order,
blocks of it are copied in the order of use (`strips`).

Since A is read element by element, it need not be a matrix in memory: a second function, `at_…`,
finds A[i, k] at rows[i] + steps[k], tables of offsets. So windows over an image are the rows of a
convolution's product, and nobody lays them out; where the tables hold neighbours, as those of a
sequence gone through backwards, a copy of a block makes it the usual product.
"""

from __future__ import annotations

from dataclasses import replace

from llvmlite import ir

from ..ir.dtypes import BY_SHORT
from ..ir.units import panel_columns
from . import native
from .blocking import IN_TIME, PLANS, Block, Cut, Operands, Plan, even
from .building import Builder, Value, counted, larger, number, quotient, smaller, zeros
from .columns import Columns
from .contractions import symbol
from .micro_kernel import _BYTES, INT, POINTER, UNROLL, Besides, Tile
from .panel import BYTES
from .ragged import Ragged
from .straight import WAYS
from .strips import ROWS
from .turn import Turner

SEGMENT = 400  # contraction steps of B's column block kept in cache at a time
STREAMED = 16  # the same where C has so few rows that B is read but once, and at least
LONG = 1000  # columns: short segments read a few of B's rows on and on, as processors foresee
DEEP = 512  # steps from which on eight rows count as few: below, caches keep B between calls
MUCH = 1 << 20  # bytes, where C is more than the second cache holds
KEPT = 24  # rows for which a block of B is worth a copy, its rows one behind the other


class _Products(Columns):
    """Writes the products of one element type into a module."""

    def __init__(self, name: str, lanes: int, fused: bool) -> None:
        super().__init__(name, lanes, fused)
        self.symbol, self.usual = symbol(name, lanes), symbol(self.dtype, lanes)
        self.panel_columns = panel_columns(BY_SHORT[self.dtype])

    def contraction(self, plan: Plan) -> None:
        """The public function.

        contract(a, a_row, a_col, b, b_row, b_col, panel_stride, c, c_row, soon, soon_row, rows,
        columns, depth, initial, initial_row), or contract_at(a, row_table, step_table, periods,
        stride, b, b_row, b_col, c, …): the table of `depth` steps is gone through `periods` times,
        each `stride` further on in A.  Its sums start from `initial`, rows of unit stride, or from
        zeros where that is null.  What stands at `soon`, rows of unit stride as C's, is asked for
        meanwhile: what the sums will be stored to, or go into.  Where `panel_stride` is not 0, B
        lies in panels (`ir.kernel.Contract`), of which b_row and b_col are the strides inside.
        """
        self.plan = plan
        high, low = plan.wide
        for tile in (*plan.wide, *plan.middle):  # none reads across the end of a panel
            assert self.panel_columns % (tile.vectors * self.lanes) == 0
        wanted: list[tuple[Tile, Besides]] = [(tile, "") for tile in plan.tiles]
        full = []
        if self.by_tables:
            wanted.remove((plan.tall, ""))
        else:
            wanted[wanted.index((low, ""))] = low, "asks"
            wanted.append((high, "keeps"))
            if self.always_masked:  # hardly any left side is neither
                wanted.remove((high, ""))
                wanted.remove((plan.tall, ""))
            # Higher tiles by one row come as often as there are rows for (`tiled`).
            full = [plan.tall, high] if high.rows == low.rows + 1 else [plan.tall]
        self.variants = {
            (tile, masked, besides): self.tile(tile, masked, besides, tile in full)
            for tile, besides in wanted
            for masked in self.maskings(tile)
        }
        self.straight = {}
        if not self.by_tables:
            for tile in dict.fromkeys((high, low, plan.middle[0], plan.tall)):
                for way in WAYS:
                    self.straight[tile, "", way] = self.tile(tile, self.is_masked(tile), way=way)
            self.straight[low, "asks", "line"] = self.tile(low, False, "asks", way="line")
            # Where there is nothing to ask for, it asks for what is there.
            for masked in self.maskings(low):
                self.variants[low, masked, ""] = self.variants[low, masked, "asks"]
        self.pack = self.packer()
        ways = [POINTER, POINTER, INT, INT] if self.by_tables else [INT, INT]
        right = [POINTER, INT, INT, *([] if self.by_tables else [INT])]
        rest = [*right, POINTER, INT, POINTER, INT, INT, INT, INT, POINTER, INT]
        kind = ir.FunctionType(ir.VoidType(), [POINTER, *ways, *rest])
        function = ir.Function(self.module, kind, self.symbol)
        function.attributes.add("nounwind")
        a, a_row, a_col, *more = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        panel = self.memory(builder, BYTES // _BYTES[self.dtype])
        if not self.by_tables:
            if self.has_strips():
                self.gather = self.gatherer()
                self.strips = self.memory(builder, self.strips_length())
            b, b_row, b_col, panel_stride, c, c_row, soon, soon_row, rows, columns, *start = more
            # One column is the row of the transposed product, which goes along its vectors.
            in_line = builder.icmp_signed("==", c_row, number(1))
            nothing = builder.icmp_unsigned("==", start[1], zeros(POINTER))
            also = builder.or_(nothing, builder.icmp_signed("==", start[2], number(1)))
            turns = builder.and_(builder.icmp_signed("==", columns, number(1)), in_line)
            turns = builder.and_(turns, also)

            def either(x: Value, y: Value) -> Value:
                return builder.select(turns, x, y)

            operands = Operands(
                (either(b, a), either(b_col, a_row), either(b_row, a_col)),
                (either(a, b), either(a_col, b_row), either(a_row, b_col)),
                (c, c_row),
                (soon, soon_row),
                (either(columns, rows), either(rows, columns), start[0]),
                (start[1], start[2]),
                either(number(0), panel_stride),
            )
            left, done = self.one_row(builder, operands)
            with builder.if_then(builder.not_(done)):
                self.product(builder, panel, left, None)
        else:
            periods, stride, b, b_row, b_col, *more = more
            c, c_row, soon, soon_row, rows, columns, depth, *start = more
            nothing = builder.icmp_signed("<=", periods, number(0))
            depth = builder.select(nothing, number(0), depth)
            by_copies = self.by_copies(self.usual)
            with counted(builder, number(0), larger(builder, periods, number(1)), number(1)) as n:
                here = self.at(builder, a, builder.mul(n, stride))
                below = builder.mul(builder.mul(n, depth), b_row)
                operands = Operands(
                    (here, a_row, a_col),
                    (self.at(builder, b, below), b_row, b_col),
                    (c, c_row),
                    (soon, soon_row),
                    (rows, columns, depth),
                    (start[0], start[1]),
                )
                later = builder.icmp_signed(">", n, number(0))
                first = builder.select(later, c, start[0]), builder.select(later, c_row, start[1])
                arguments = [
                    panel, *operands.a, *operands.b, *operands.c, *operands.soon,
                    *operands.sizes, *first,
                ]  # fmt: skip
                done = builder.call(by_copies, arguments)
                with builder.if_then(builder.not_(done)):
                    self.product(builder, panel, operands, later)
        builder.ret_void()

    def one_row(self, builder: Builder, given: Operands) -> tuple[Operands, Value]:
        """Where C is one row and the rows of B are neighbours, as in a matrix times a vector, the
        steps of whole vectors are done here; what is left, and whether that is nothing."""
        (a, a_row, a_col), (b, b_row, b_col), (c, c_row) = given.a, given.b, given.c
        (rows, columns, depth), (initial, initial_row) = given.sizes, given.initial
        lies = builder.icmp_signed("==", rows, number(1))
        for value, same in ((b_row, "=="), (b_col, "!=")):
            lies = builder.and_(lies, builder.icmp_signed(same, value, number(1)))
        steps = builder.and_(larger(builder, depth, number(0)), number(-self.lanes))
        steps = builder.select(lies, steps, number(0))
        some = builder.icmp_signed(">", steps, number(0))
        with builder.if_then(some):
            arguments = [c, a, a_col, b, b_col, columns, steps, initial]
            builder.call(self.row_times_turned(), arguments)
        left = builder.sub(depth, steps)
        done = builder.and_(some, builder.icmp_signed("==", left, number(0)))
        rest = replace(
            given,
            a=(self.at(builder, a, builder.mul(steps, a_col)), a_row, a_col),
            b=(self.at(builder, b, builder.mul(steps, b_row)), b_row, b_col),
            sizes=(rows, columns, left),
            initial=(
                builder.select(some, c, initial),
                builder.select(some, c_row, initial_row),
            ),
        )
        return rest, done

    @property
    def slim(self) -> int:
        """Steps of a segment where the columns of B are one vector."""
        return BYTES // _BYTES[self.dtype] // self.lanes

    def product(self, builder: Builder, panel: Value, given: Operands, later: Value | None) -> None:
        """C = A . B, or C += A . B where `later` holds."""
        (_, _, b_col), (rows, columns, _) = given.b, given.sizes
        plan, lanes = self.plan, self.lanes
        single = builder.icmp_signed("==", rows, number(1))
        single = builder.and_(single, builder.icmp_signed(">", columns, number(2 * lanes)))
        by_panels = ir.Constant(ir.IntType(1), False)
        if given.panel_stride is not None:
            by_panels = builder.icmp_signed("!=", given.panel_stride, number(0))
            single = builder.and_(single, builder.not_(by_panels))  # thin tiles are wider than one
        packs = builder.icmp_signed("!=", b_col, number(1))
        once = builder.icmp_signed("<=", rows, number(plan.middle[0].rows))
        lowest = builder.icmp_signed("<=", rows, number(plan.wide[1].rows))
        lowest = builder.and_(by_panels, lowest)  # one tile as well, which reads whole rows of B
        once = builder.and_(once, builder.not_(builder.or_(single, lowest)))

        def either(wide: int, thin: int) -> Value:
            return builder.select(single, number(thin), number(wide))

        # The last block is wide, too, if it needs all vectors and its tile has masks; a few rows
        # are better off in one tile, which reads B but once.
        width = either(plan.wide[0].vectors * lanes, plan.thin.vectors * lanes)
        over = lanes - 1 if True in self.maskings(plan.wide[0]) else 0
        over = either(over, plan.thin.vectors * lanes - 1)
        whole = builder.mul(quotient(builder, builder.add(columns, over), width), width)
        whole = builder.select(once, number(0), whole)
        some = builder.icmp_signed("==", whole, number(0))
        room = either(self.room(plan.wide[0].vectors), self.room(plan.thin.vectors))
        room = builder.select(some, number(self.room(plan.middle[0].vectors)), room)
        deep = builder.icmp_signed(">=", given.sizes[2], number(DEEP))
        high, low = (number(tile.rows) for tile in plan.middle)
        short = builder.icmp_signed("<=", rows, builder.select(deep, high, low))
        streams = builder.and_(short, builder.icmp_signed(">=", columns, number(LONG)))
        streams = builder.and_(streams, builder.not_(builder.or_(single, by_panels)))
        slim = builder.icmp_signed("<=", columns, number(lanes))
        slim = builder.select(slim, number(self.slim), number(SEGMENT))
        most = builder.select(streams, number(STREAMED), slim)
        keeps = builder.icmp_signed(">=", rows, number(KEPT))
        few = builder.not_(builder.or_(keeps, packs))  # so many fewer than are copied to strips
        few = builder.and_(few, builder.not_(by_panels))
        compact = builder.icmp_signed("==", given.b[1], width)  # B is a panel itself
        compact = builder.or_(compact, by_panels)
        keeps = builder.and_(keeps, builder.not_(builder.or_(builder.or_(packs, some), compact)))
        most = builder.select(builder.or_(packs, keeps), room, most)
        gathers = None
        if self.has_strips():
            gathers = self.gathers(builder, given.a[1:], (rows, whole, given.sizes[2]))
            fewer = smaller(builder, most, number(self.steps))
            most = builder.select(gathers, fewer, most)
        cut = Cut(most, whole, width, single, few, packs, keeps, gathers)
        self.sweep(builder, given, later, cut, panel)

    def sweep(
        self, builder: Builder, given: Operands, later: Value | None, cut: Cut, panel: Value
    ) -> None:
        """Segments of terms outside, blocks of columns in each, tiles down the rows inside."""
        (a, a_row, a_col), (b, b_row, b_col), (c, c_row) = given.a, given.b, given.c
        (rows, columns, depth), (initial, initial_row) = given.sizes, given.initial
        soon, soon_row = given.soon
        depth = larger(builder, depth, number(0))
        multiple = max(self.lanes, UNROLL)
        length = smaller(builder, even(builder, depth, cut.most, number(multiple)), cut.most)
        height = even(builder, rows, number(ROWS), number(1))
        much = builder.icmp_signed(">", builder.mul(rows, c_row), number(MUCH // self.align))

        with counted(builder, number(0), larger(builder, depth, number(1)), length) as k:
            part_depth = smaller(builder, builder.sub(depth, k), length)
            part_a, part_col = a, a_col
            if self.by_tables:
                part_col = self.entry(builder, a_col, k)
            else:
                part_a = self.at(builder, a, builder.mul(k, a_col))
            part_b = self.at(builder, b, builder.mul(k, b_row))
            in_time = builder.icmp_signed(">=", part_depth, number(IN_TIME))
            asked = builder.or_(much, in_time)
            first = builder.icmp_signed("==", k, number(0))
            if later is not None:
                first = builder.and_(first, builder.not_(later))
            nothing = builder.icmp_unsigned("==", initial, zeros(POINTER))
            fresh = builder.and_(first, nothing)
            start = builder.select(first, initial, c)
            start_row = builder.select(first, initial_row, c_row)

            def column(j: Value) -> Value:
                """Where column j of B begins."""
                if given.panel_stride is None:
                    return self.at(builder, part_b, builder.mul(j, b_col))
                before = builder.udiv(j, number(self.panel_columns))
                inside = builder.and_(j, number(self.panel_columns - 1))
                offset = builder.add(builder.mul(before, given.panel_stride), inside)
                plain = builder.icmp_signed("==", given.panel_stride, number(0))
                offset = builder.select(plain, builder.mul(j, b_col), offset)
                return self.at(builder, part_b, offset)

            def block(i: Value, j: Value, width: Value, gathered: Value | None) -> Block:
                """The block of `width` columns from j on, of rows i and on."""
                right, right_row = column(j), b_row
                ahead = column(builder.add(j, width))
                wide = smaller(builder, builder.sub(columns, j), width)
                with builder.if_then(cut.packs):
                    builder.call(self.pack, [panel, width, right, b_row, b_col, wide, part_depth])
                right = builder.select(cut.packs, panel, right)
                right_row = builder.select(cut.packs, width, right_row)
                here, way = part_a, a_row
                if self.by_tables:
                    way = self.entry(builder, a_row, i)
                else:
                    here = self.at(builder, part_a, builder.mul(i, a_row))

                def place(base: Value, row: Value) -> Value:
                    return self.at(builder, base, builder.add(builder.mul(i, row), j))

                if gathered is not None:
                    here = builder.select(gathered, self.strips, here)

                return Block(
                    (here, way, part_col),
                    (right, right_row),
                    (place(c, c_row), c_row),
                    (place(soon, soon_row), soon_row),
                    (smaller(builder, builder.sub(rows, i), height), wide, part_depth),
                    (place(start, start_row), start_row, fresh),
                    (ahead, b_row),
                    (panel, width),
                    asked,
                    gathered,
                )

            middle = number(self.plan.middle[0].vectors * self.lanes)
            with counted(builder, number(0), rows, height) as i:
                if cut.gathers is not None:
                    with builder.if_then(cut.gathers):
                        left = smaller(builder, builder.sub(rows, i), height)
                        here = self.at(builder, part_a, i)
                        builder.call(self.gather, [self.strips, here, a_col, left, part_depth])
                with counted(builder, number(0), cut.whole, cut.width) as j:
                    self.many(builder, cut, block(i, j, cut.width, cut.gathers))
                with counted(builder, cut.whole, columns, middle) as j:
                    self.rest(builder, block(i, j, middle, None))


def source(dtype: str, lanes: int) -> str:
    """LLVM assembly of the contraction of this `symbol`, for vectors of `lanes` float32.

    dtype: of the elements; with `at_` in front, of the function that goes by tables, with `in_` of
    the one that also goes by runs, with `turn_` of what only copies, transposed.
    """
    if dtype.startswith("turn_"):
        turner = Turner(dtype, lanes, native.host().fused)
        turner.copy(symbol(dtype, lanes))
        return str(turner.module)
    if dtype.startswith("in_"):
        some = Ragged(dtype, lanes, native.host().fused)
        some.contraction(symbol(dtype, lanes), PLANS[lanes].middle[0].rows)
        return str(some.module)
    tiles = _Products(dtype, lanes, native.host().fused)
    plan = PLANS[lanes]
    tiles.contraction(replace(plan, wide=plan.middle) if tiles.by_tables else plan)
    return str(tiles.module)
