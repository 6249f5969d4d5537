# pyright: basic
"""Tiles of a product, in registers, as LLVM IR: what `tile` cuts every contraction into.

Each step loads a row of B as vectors, broadcasts one element of A per row, and multiplies and
adds.  One function goes down the tiles of a block, one below the other: a processor that works on
the last steps of one reads ahead into the next, if there is little text between them.  Where an
element of A is, two strides tell, or two tables of offsets; a third table may say which steps to
take at all.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Literal, Self

from llvmlite import ir

from .building import Builder, Value, lane_list, number, undefined, zeros
from .straight import Way, straight

UNROLL = 4
FEW = 2  # steps written out where there are runs
AHEAD = 6  # steps before which a tile that reads a block first asks for its rows

INT = ir.IntType(64)
POINTER = ir.PointerType()
_ELEMENTS: dict[str, ir.Type] = {
    "f32": ir.FloatType(),
    "f64": ir.DoubleType(),
    "i32": ir.IntType(32),
    "i64": ir.IntType(64),
}
_BYTES = {"f32": 4, "f64": 8, "i32": 4, "i64": 8}


Besides = Literal["", "asks", "keeps"]  # what a tile does besides its sums


@dataclass(frozen=True)
class Tile:
    """A block of C held in registers: `rows` rows of `vectors` vectors."""

    rows: int
    vectors: int


class Writer:
    """Writes the functions of one element type into a module."""

    def __init__(self, name: str, lanes: int, fused: bool) -> None:
        prefix, _, dtype = name.rpartition("_")
        self.by_tables, self.by_runs = prefix != "", prefix == "in"
        self.dtype = dtype
        self.element = _ELEMENTS[dtype]
        self.use(max(lanes * 4 // _BYTES[dtype], 1))
        self.align = _BYTES[dtype]
        self.fused = fused
        self.module = ir.Module(name)
        # Where registers are masked for little one version serves inside and edge, if both occur.
        self.always_masked = lanes == 16

    def of_lanes(self, lanes: int) -> Self:
        """The same for vectors of so many lanes."""
        other = copy(self)
        other.use(lanes)
        return other

    def use(self, lanes: int) -> None:
        self.lanes = lanes
        self.vector = ir.VectorType(self.element, lanes)
        self.mask = ir.VectorType(ir.IntType(1), lanes)
        self.zero = zeros(self.vector)

    def _intrinsic(self, name: str, result: ir.Type, operands: list[ir.Type]) -> ir.Function:
        found = self.module.globals.get(name)
        if found is None:
            found = ir.Function(self.module, ir.FunctionType(result, operands), name)
        return found

    def at(self, builder: Builder, base: Value, index: Value) -> Value:
        return builder.gep(base, [index], source_etype=self.element)

    def entry(self, builder: Builder, table: Value, index: Value) -> Value:
        """The address of table[index], 64 bits each."""
        return builder.gep(table, [index], source_etype=INT)

    def onward(self, builder: Builder, way: Value, count: Value, place: Value) -> Value:
        """Where `count` further steps along `way` lead to from `place`: an offset along a stride,
        or an entry of a table."""
        if self.by_tables:
            return self.entry(builder, place, count)
        return builder.add(place, builder.mul(way, count))

    def offset(self, builder: Builder, way: Value, index: Value) -> Value:
        """The offset in A of entry `index` along `way`, a stride or a table."""
        if self.by_tables:
            return builder.load(self.entry(builder, way, index), align=8, typ=INT)
        return builder.mul(way, index)

    def load_here(self, builder: Builder, place: Value) -> Value:
        """An entry of a table, read where it stands in the text, which LLVM would do as late as it
        can: a processor does not look far ahead of a tile's sums."""
        return builder.load_atomic(place, "monotonic", 8, typ=INT)

    def gap(self, builder: Builder, table: Value) -> Value:
        """From the first entry of a table to the second."""
        first, second = (
            builder.load(self.entry(builder, table, number(n)), align=8, typ=INT) for n in (0, 1)
        )
        return builder.sub(second, first)

    def freeze(self, builder: Builder, value: Value) -> Value:
        """The same value, but LLVM does not ask how it came to be: places a few strides from it
        stay sums that an address can hold, instead of additions from one to the next."""
        frozen = ir.instructions.Instruction(builder.block, value.type, "freeze", [value])
        builder._insert(frozen)
        return frozen

    def splat(self, builder: Builder, scalar: Value, vector: ir.VectorType) -> Value:
        nothing, picks = undefined(vector), lane_list((0,) * vector.count)
        first = builder.insert_element(nothing, scalar, number(0, 32))
        return builder.shuffle_vector(first, nothing, picks)

    def load(self, builder: Builder, pointer: Value, mask: Value | None) -> Value:
        if mask is None:
            return builder.load(pointer, align=self.align, typ=self.vector)
        kind = f"v{self.lanes}{self.dtype}"
        name = f"llvm.masked.load.{kind}.p0"
        align = number(self.align, 32)
        function = self._intrinsic(name, self.vector, [POINTER, align.type, self.mask, self.vector])
        return builder.call(function, [pointer, align, mask, self.zero])

    def store(self, builder: Builder, value: Value, pointer: Value, mask: Value | None) -> None:
        if mask is None:
            builder.store(value, pointer, align=self.align)
            return
        name = f"llvm.masked.store.v{self.lanes}{self.dtype}.p0"
        align = number(self.align, 32)
        function = self._intrinsic(
            name, ir.VoidType(), [self.vector, POINTER, align.type, self.mask]
        )
        builder.call(function, [value, pointer, align, mask])

    def multiply_add(self, builder: Builder, x: Value, y: Value, z: Value) -> Value:
        if self.dtype[0] == "i":
            return builder.add(builder.mul(x, y), z)
        if not self.fused:
            return builder.fadd(builder.fmul(x, y), z)
        name = f"llvm.fma.v{self.lanes}{self.dtype}"
        return builder.call(self._intrinsic(name, self.vector, [self.vector] * 3), [x, y, z])

    def by_units(self, builder: Builder, tile: Tile, row, steps, b: tuple, gap, runs, masks):
        """What goes `through` steps that are neighbours; of products that have runs (`ragged`)."""
        raise NotImplementedError

    def prefetch(
        self, builder: Builder, pointer: Value, written: bool = False, first_cache: bool = False
    ) -> None:
        """Ask for a line of memory that will be wanted, into the second cache or the first as well;
        any address will do."""
        word = ir.IntType(32)
        function = self._intrinsic("llvm.prefetch.p0", ir.VoidType(), [POINTER, word, word, word])
        hints = [number(value, 32) for value in (int(written), 3 if first_cache else 2, 1)]
        builder.call(function, [pointer, *hints])

    def masks(self, builder: Builder, columns: Value, vectors: int) -> list[Value]:
        wide = ir.VectorType(ir.IntType(32), self.lanes)
        count = self.splat(builder, builder.trunc(columns, ir.IntType(32)), wide)
        return [
            builder.icmp_signed("<", lane_list(tuple(range(first, first + self.lanes))), count)
            for first in range(0, vectors * self.lanes, self.lanes)
        ]

    def through_all(self, builder: Builder, through, depth: Value, sums: list, _: list) -> list:
        """`through` all steps of a tile."""
        return through(number(0), depth, sums)

    def _ask_to_write(self, builder: Builder, tile: Tile, place: Value, row: Value) -> None:
        """Ask for the tile at `place`, rows so far apart."""
        for _ in range(tile.rows):
            for v in range(tile.vectors):
                part = self.at(builder, place, number(v * self.lanes))
                self.prefetch(builder, part, written=True)
            place = self.at(builder, place, row)

    def _started(self, builder: Builder, given: tuple, rows: list, parts: list, masks: list):
        """What the sums of a tile start from: these rows of what is `given`, an address and a
        stride, or zeros where the third of it holds."""
        start, start_row, fresh = given
        entry = builder.block
        resume, begin = (builder.append_basic_block(label) for label in ("resume", "begin"))
        builder.cbranch(fresh, begin, resume)
        builder.position_at_end(resume)
        first = [self.at(builder, start, builder.mul(row, start_row)) for row in rows]
        kept = [
            self.load(builder, self.at(builder, row, part), mask)
            for row in first
            for part, mask in zip(parts, masks, strict=True)
        ]
        builder.branch(begin)
        builder.position_at_end(begin)
        sums = []
        for value in kept:
            phi = builder.phi(self.vector)
            phi.add_incoming(self.zero, entry)
            phi.add_incoming(value, resume)
            sums.append(phi)
        return sums

    def tile(
        self,
        tile: Tile,
        masked: bool,
        besides: Besides = "",
        full: bool = False,
        way: Way | None = None,
    ) -> ir.Function:
        """tile(a, a_row, a_col, a_next, b, b_row, c, c_row, soon, soon_row, asked, rows, columns,
        depth, start, start_row, fresh, ahead, ahead_row) for the tiles of C, one below the other,
        that have so many rows.  a_row and a_col are strides, and a_next leads from a tile's first
        element of A to that of the next; or they are tables of offsets, without a_next and ahead.

        1 <= rows, 1 <= columns <= the tile's, depth >= 0. The sums start from the rows at `start`,
        or from zeros where they are `fresh`. Where `asked`, what the next tile reads of A is asked
        for meanwhile, and the next one of those at `soon`, which will be written.

        besides: "asks", for rows from `ahead` on, too, a part of them in each of some tiles behind
        the first; "keeps", in rows from `ahead` on, the rows of B that it reads, and asks for them
        a few steps before.
        full: for all rows of tiles only, which in a table must be as far apart everywhere; then
        few registers tell where they are.
        way: for all rows only, and where A is a "line" or a "column" of neighbours (`straight`).
        With runs there are four more: the runs and their number, the unit in which they count, and
        the number of the first step here.
        """
        name = f"tile_{tile.rows}x{tile.vectors}" + ("_masked" if masked else "")
        name += f"_{besides}" if besides else ""
        name += "_full" if full else ""
        name += f"_{way}" if way else ""
        ways = [POINTER, POINTER] if self.by_tables else [INT, INT, INT]
        signature = [
            POINTER, *ways, POINTER, INT, POINTER, INT, POINTER, INT, ir.IntType(1), INT, INT, INT,
            POINTER, INT, ir.IntType(1),
        ]  # fmt: skip
        signature += [] if self.by_tables else [POINTER, INT]
        signature += [POINTER, INT, INT, INT] if self.by_runs else []
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), signature), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        a, a_row, a_col, *others = function.args
        a_next, ahead, ahead_row = number(tile.rows), None, None
        if not self.by_tables:
            a_next, *others, ahead, ahead_row = others
        (
            b, b_row, c, c_row, soon, soon_row, asked, rows, columns, depth,
            start, start_row, fresh, *runs,
        ) = others  # fmt: skip
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        masks = self.masks(builder, columns, tile.vectors) if masked else [None] * tile.vectors
        parts = [number(v * self.lanes) for v in range(tile.vectors)]
        height = number(tile.rows)
        odds: dict[int, Value] = {}
        if way == "line" and not self.by_tables:
            a_col = number(1)
        elif way == "column":
            a_row = number(1)
        elif full:
            apart = self.gap(builder, a_row) if self.by_tables else a_row
            apart = builder.mul(apart, number(_BYTES[self.dtype]))
            odds = {n: builder.mul(apart, number(n)) for n in (1, 3, 5, 7)}

        # Tile by tile: of A, the first element goes on, or the table that tells the rows.
        tops = [rows, a_row if self.by_tables else a, c, soon, start]
        tops += [number(-1)] if besides == "asks" else []
        before, head, following = (
            builder.block,
            *(function.append_basic_block(label) for label in ("tile", "next")),
        )
        builder.branch(head)
        builder.position_at_end(head)
        phis = []
        for value in tops:
            phis.append(builder.phi(value.type))
            phis[-1].add_incoming(value, before)
        left, top_of_a, c, soon, start, *turn = phis
        last = builder.sub(left, number(1))
        numbers = [number(i) for i in range(tile.rows)]
        if not (full or way):  # the last row again, if there are no more
            clamped = [builder.icmp_signed("<", row, last) for row in numbers]
            numbers = [
                builder.select(less, row, last) for less, row in zip(clamped, numbers, strict=True)
            ]
        if self.by_tables:
            factors = [self.at(builder, a, self.offset(builder, top_of_a, row)) for row in numbers]
        else:
            factors = [self.at(builder, top_of_a, builder.mul(a_row, row)) for row in numbers]

        with builder.if_then(asked):
            below = self.at(builder, soon, builder.mul(height, soon_row))
            self._ask_to_write(builder, tile, below, soon_row)
            if not self.by_tables:
                for factor in factors:
                    self.prefetch(builder, self.at(builder, factor, a_next))
        if turn:
            in_time = builder.icmp_unsigned("<", turn[0], number(UNROLL))
            from_row = builder.mul(builder.udiv(depth, number(UNROLL)), turn[0])
            ahead = self.at(builder, ahead, builder.mul(from_row, ahead_row))
            ahead = builder.select(in_time, ahead, b)
            ahead_row = builder.select(in_time, ahead_row, number(0))

        sums = self._started(builder, (start, start_row, fresh), numbers, parts, masks)

        def places(offset: Value) -> list[Value]:
            """Where the elements of A of a step are."""
            if not full:
                return [self.at(builder, row_of_a, offset) for row_of_a in factors]
            found = [self.freeze(builder, self.at(builder, factors[0], offset))]
            for row in range(1, tile.rows):  # a processor adds 1, 2, 4 or 8 times a register
                near = row % 8 or 8
                power = near & -near
                bytes_on = builder.mul(odds[near // power], number(power))
                base = found[row - near]
                found.append(builder.gep(base, [bytes_on], source_etype=ir.IntType(8)))
            return found

        def step(k: int, offset: Value, b_here: Value, sums: list, target: Value) -> list:
            here = self.at(builder, b_here, builder.mul(b_row, number(k)))
            here = self.freeze(builder, here) if full else here
            row_of_b = [
                self.load(builder, self.at(builder, here, part), mask)
                for part, mask in zip(parts, masks, strict=True)
            ]
            result = []
            for i, place in enumerate(places(offset)):
                scalar = builder.load(place, align=self.align, typ=self.element)
                factor = self.splat(builder, scalar, self.vector)
                for v, row in enumerate(row_of_b):
                    result.append(
                        self.multiply_add(builder, factor, row, sums[i * tile.vectors + v])
                    )
            if target is not None:
                later = self.at(builder, here, builder.mul(b_row, number(AHEAD)))
                for part in parts:
                    self.prefetch(builder, self.at(builder, later, part), first_cache=True)
                for part, value in zip(parts, row_of_b, strict=True):
                    self.store(builder, value, self.at(builder, target, part), None)
            return result

        def loop(label: str, k0: Value, ends: tuple, here: tuple, sums: list, steps: int):
            """Steps from k0 on, at `here`: places in A and in B; and in what is `ahead`, if that
            matters, or by tables the offset of step k0. ends: before which step this and all loops
            end."""
            end, last = ends
            before = builder.block
            body, after = (function.append_basic_block(label + part) for part in ("", "_end"))
            builder.cbranch(builder.icmp_signed("<", k0, end), body, after)
            builder.position_at_end(body)
            heads = []
            for value in (k0, *here, *sums):
                phi = builder.phi(value.type)
                phi.add_incoming(value, before)
                heads.append(phi)
            k, a_place, b_here = heads[:3]
            other = heads[3] if len(here) == 3 else None
            running = heads[len(here) + 1 :]
            if steps > 1 and besides == "asks":
                for part in parts:
                    self.prefetch(builder, self.at(builder, other, part))
            target = other if besides == "keeps" else None
            onward = builder.add(k, number(steps))
            for u in range(steps):
                if self.by_tables:  # whose entry is read a step before it is needed
                    offset, place = other, self.entry(builder, a_place, number(u + 1))
                    if u == steps - 1:
                        more = builder.icmp_signed("<", onward, last)
                        place = builder.select(more, place, a_place)
                    other = self.load_here(builder, place)
                else:
                    offset = builder.add(a_place, builder.mul(a_col, number(u)))
                running = step(u, offset, b_here, running, target)
            following = [
                onward,
                self.onward(builder, a_col, number(steps), a_place),
                self.at(builder, b_here, builder.mul(b_row, number(steps))),
                *running,
            ]
            if other is not None:
                further = other if self.by_tables else self.at(builder, other, ahead_row)
                following.insert(3, further)
            for phi, value in zip(heads, following, strict=True):
                phi.add_incoming(value, body)
            builder.cbranch(builder.icmp_signed("<", following[0], end), body, after)
            builder.position_at_end(after)
            results = []
            for initial, value in zip((k0, *here, *sums), following, strict=True):
                phi = builder.phi(value.type)
                phi.add_incoming(initial, before)
                phi.add_incoming(value, body)
                results.append(phi)
            return results[0], tuple(results[1 : len(here) + 1]), results[len(here) + 1 :]

        def through(first: Value, end: Value, sums: list) -> list:
            """The steps from `first` to before `end`."""
            # LLVM holds what several steps load, and spills where these are many. So it does with
            # stores between the steps; with runs it does so beyond a few. The tiles at edges, of
            # less work (by tables alone they do it all), are compiled sooner.
            unroll = min(UNROLL, (40 if full else 64) // (tile.rows * tile.vectors))
            edge = masked and not full and tile.rows > 1 and self.by_runs == self.by_tables
            unroll = 1 if besides == "keeps" or edge else FEW if self.by_runs else unroll
            rounds = builder.udiv(builder.sub(end, first), number(unroll))
            whole = builder.add(first, builder.mul(rounds, number(unroll)))
            place, other = number(0), (ahead,) if besides else ()
            if self.by_tables:
                place = self.entry(builder, a_col, first)
                some = builder.icmp_signed("<", first, end)
                other = (builder.load(builder.select(some, place, a_row), align=8, typ=INT),)
            here = (place, self.at(builder, b, builder.mul(b_row, first)), *other)
            k, here, sums = loop("steps", first, (whole, end), here, sums, unroll)
            return loop("rest", k, (end, end), here, sums, 1)[2] if unroll > 1 else sums

        if way and not self.by_tables:
            stride = a_row if way == "line" else a_col
            soon_b = (ahead, ahead_row) if besides else None
            where = (b, b_row), stride, depth
            sums = straight(self, builder, way, factors, *where, sums, masks, soon_b)
        else:
            if way:
                where = factors[0], a_col, (b, b_row), self.gap(builder, a_row)
                through = self.by_units(builder, tile, *where, runs, masks)
            sums = self.through_all(builder, through, depth, sums, runs)

        row_of_c = c
        for i in range(tile.rows):
            if i:
                row_of_c = self.at(builder, row_of_c, c_row)
            if i and not (full or way):
                more = function.append_basic_block(f"row{i}")
                builder.cbranch(builder.icmp_signed("<", number(i), left), more, following)
                builder.position_at_end(more)
            for v, (part, mask) in enumerate(zip(parts, masks, strict=True)):
                place = self.at(builder, row_of_c, part)
                self.store(builder, sums[i * tile.vectors + v], place, mask)
        builder.branch(following)
        builder.position_at_end(following)
        onward = [
            builder.sub(left, height),
            self.entry(builder, top_of_a, a_next) if self.by_tables
            else self.at(builder, top_of_a, a_next),
            *(
                self.at(builder, top, builder.mul(height, row))
                for top, row in ((c, c_row), (soon, soon_row), (start, start_row))
            ),
            *(builder.add(n, number(1)) for n in turn),
        ]  # fmt: skip
        for phi, value in zip(phis, onward, strict=True):
            phi.add_incoming(value, following)
        done = function.append_basic_block("done")
        builder.cbranch(builder.icmp_signed(">", onward[0], number(0)), head, done)
        builder.position_at_end(done)
        builder.ret_void()
        return function
