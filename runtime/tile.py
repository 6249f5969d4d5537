# pyright: basic
"""Contraction micro-kernels: `C[rows x cols] = A . B` on pointers with strides, written as LLVM IR.

A tile of C lives in registers while the contraction axis is walked: each step loads a row of B as
vectors, broadcasts one element of A per row, and multiplies and adds. Edges take the same code:
rows beyond the last are clamped to the last (computed again, not stored), lanes beyond the last
column are masked. A long contraction is cut into segments so that a column block of B stays in
cache while the tiles go down the rows; a later segment starts from what the earlier one stored. So
each element of C is one chain of multiply-adds, in the order of the contraction axis, from zero or
what is given to start from, which may be C itself: its bits do not depend on where in a tile it
lies, nor on how a product is divided into calls, nor on the width of the vectors.

Every element type is one object, compiled at its first use and kept in the disk cache.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from dataclasses import dataclass

from llvmlite import ir

from . import native
from .building import Builder, Value, counted, larger, number, smaller

PREFIX = "gradloom_contract_"
SEGMENT = 400  # contraction steps of B's column block kept in cache at a time
UNROLL = 4

_INT = ir.IntType(64)
_POINTER = ir.PointerType()
_ELEMENTS: dict[str, ir.Type] = {
    "f32": ir.FloatType(),
    "f64": ir.DoubleType(),
    "i32": ir.IntType(32),
    "i64": ir.IntType(64),
}
_BYTES = {"f32": 4, "f64": 8, "i32": 4, "i64": 8}


@dataclass(frozen=True)
class Tile:
    """A block of C held in registers: `rows` rows of `vectors` vectors."""

    rows: int
    vectors: int


@dataclass(frozen=True)
class Plan:
    """The tiles for one width of vectors: inside, for one vector of columns, and for one row."""

    wide: Tile
    narrow: Tile
    thin: Tile


# As many accumulators as leave registers for a row of B and a broadcast; more of them spill.
_PLANS = {
    16: Plan(Tile(8, 2), Tile(8, 1), Tile(1, 4)),
    8: Plan(Tile(6, 2), Tile(6, 1), Tile(1, 4)),
    4: Plan(Tile(4, 2), Tile(4, 1), Tile(1, 4)),
}


class _Tiles:
    """Writes the functions of one element type into a module."""

    def __init__(self, dtype: str, lanes: int, fused: bool) -> None:
        self.dtype = dtype
        self.element = _ELEMENTS[dtype]
        self.lanes = max(lanes * 4 // _BYTES[dtype], 1)
        self.vector = ir.VectorType(self.element, self.lanes)
        self.mask = ir.VectorType(ir.IntType(1), self.lanes)
        self.zero = ir.Constant(self.vector, None)
        self.align = _BYTES[dtype]
        self.fused = fused
        self.symbol = f"{PREFIX}{dtype}_{lanes}"
        self.module = ir.Module(self.symbol)
        # Where registers are masked for free one version serves inside and edge.
        self.always_masked = lanes == 16

    def _intrinsic(self, name: str, result: ir.Type, operands: list[ir.Type]) -> ir.Function:
        found = self.module.globals.get(name)
        if found is None:
            found = ir.Function(self.module, ir.FunctionType(result, operands), name)
        return found

    def at(self, builder: Builder, base: Value, index: Value) -> Value:
        return builder.gep(base, [index], source_etype=self.element)

    def splat(self, builder: Builder, scalar: Value, vector: ir.VectorType) -> Value:
        lane0 = ir.Constant(ir.IntType(32), 0)
        undefined = ir.Constant(vector, ir.Undefined)
        picks = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
        return builder.shuffle_vector(
            builder.insert_element(undefined, scalar, lane0), undefined, picks
        )

    def load(self, builder: Builder, pointer: Value, mask: Value | None) -> Value:
        if mask is None:
            return builder.load(pointer, align=self.align, typ=self.vector)
        kind = f"v{self.lanes}{self.dtype}"
        name = f"llvm.masked.load.{kind}.p0"
        align = ir.Constant(ir.IntType(32), self.align)
        function = self._intrinsic(
            name, self.vector, [_POINTER, align.type, self.mask, self.vector]
        )
        return builder.call(function, [pointer, align, mask, self.zero])

    def store(self, builder: Builder, value: Value, pointer: Value, mask: Value | None) -> None:
        if mask is None:
            builder.store(value, pointer, align=self.align)
            return
        name = f"llvm.masked.store.v{self.lanes}{self.dtype}.p0"
        align = ir.Constant(ir.IntType(32), self.align)
        function = self._intrinsic(
            name, ir.VoidType(), [self.vector, _POINTER, align.type, self.mask]
        )
        builder.call(function, [value, pointer, align, mask])

    def multiply_add(self, builder: Builder, x: Value, y: Value, z: Value) -> Value:
        if self.dtype[0] == "i":
            return builder.add(builder.mul(x, y), z)
        if not self.fused:
            return builder.fadd(builder.fmul(x, y), z)
        name = f"llvm.fma.v{self.lanes}{self.dtype}"
        return builder.call(self._intrinsic(name, self.vector, [self.vector] * 3), [x, y, z])

    def masks(self, builder: Builder, columns: Value, vectors: int) -> list[Value]:
        wide = ir.VectorType(ir.IntType(32), self.lanes)
        count = self.splat(builder, builder.trunc(columns, ir.IntType(32)), wide)
        return [
            builder.icmp_signed(
                "<",
                ir.Constant(wide, [v * self.lanes + lane for lane in range(self.lanes)]),
                count,
            )
            for v in range(vectors)
        ]

    def tile(self, tile: Tile, masked: bool) -> ir.Function:
        """tile(a, a_row, a_col, b, b_row, c, c_row, rows, columns, depth, start, start_row, fresh)
        for one tile of C.

        1 <= rows, 1 <= columns <= the tile's, depth >= 0. The sums start from the tile at `start`,
        or from zeros where they are `fresh`.
        """
        name = f"tile_{tile.rows}x{tile.vectors}" + ("_masked" if masked else "")
        signature = [
            _POINTER, _INT, _INT, _POINTER, _INT, _POINTER, _INT, _INT, _INT, _INT,
            _POINTER, _INT, ir.IntType(1),
        ]  # fmt: skip
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), signature), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        (
            a, a_row, a_col, b, b_row, c, c_row, rows, columns, depth, start, start_row, fresh,
        ) = function.args  # fmt: skip
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        masks = self.masks(builder, columns, tile.vectors) if masked else [None] * tile.vectors
        last = builder.sub(rows, number(1))
        numbers = [number(i) for i in range(tile.rows)]
        numbers = [
            builder.select(builder.icmp_signed("<", row, last), row, last) for row in numbers
        ]
        factors = [self.at(builder, a, builder.mul(row, a_row)) for row in numbers]
        targets = [self.at(builder, c, builder.mul(row, c_row)) for row in numbers]
        parts = [number(v * self.lanes) for v in range(tile.vectors)]

        entry, resume, begin = (
            builder.block,
            *(function.append_basic_block(label) for label in ("resume", "begin")),
        )
        builder.cbranch(fresh, begin, resume)
        builder.position_at_end(resume)
        first = [self.at(builder, start, builder.mul(row, start_row)) for row in numbers]
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

        def step(k: int, a_offset: Value, b_here: Value, sums: list) -> list:
            here = self.at(builder, b_here, builder.mul(b_row, number(k)))
            row_of_b = [
                self.load(builder, self.at(builder, here, part), mask)
                for part, mask in zip(parts, masks, strict=True)
            ]
            offset = builder.add(a_offset, builder.mul(a_col, number(k)))
            result = []
            for i, row_of_a in enumerate(factors):
                scalar = builder.load(
                    self.at(builder, row_of_a, offset), align=self.align, typ=self.element
                )
                factor = self.splat(builder, scalar, self.vector)
                for v, row in enumerate(row_of_b):
                    result.append(
                        self.multiply_add(builder, factor, row, sums[i * tile.vectors + v])
                    )
            return result

        def loop(label: str, k0: Value, end: Value, a0, b0, sums: list, steps: int):
            before = builder.block
            body, after = (function.append_basic_block(label + part) for part in ("", "_end"))
            builder.cbranch(builder.icmp_signed("<", k0, end), body, after)
            builder.position_at_end(body)
            heads = []
            for value in (k0, a0, b0, *sums):
                phi = builder.phi(value.type)
                phi.add_incoming(value, before)
                heads.append(phi)
            k, a_offset, b_here, *running = heads
            for u in range(steps):
                running = step(u, a_offset, b_here, running)
            following = [
                builder.add(k, number(steps)),
                builder.add(a_offset, builder.mul(a_col, number(steps))),
                self.at(builder, b_here, builder.mul(b_row, number(steps))),
                *running,
            ]
            for phi, value in zip(heads, following, strict=True):
                phi.add_incoming(value, body)
            builder.cbranch(builder.icmp_signed("<", following[0], end), body, after)
            builder.position_at_end(after)
            results = []
            for initial, value in zip((k0, a0, b0, *sums), following, strict=True):
                phi = builder.phi(value.type)
                phi.add_incoming(initial, before)
                phi.add_incoming(value, body)
                results.append(phi)
            return results[0], results[1], results[2], results[3:]

        whole = builder.and_(depth, number(-UNROLL))
        k, a_offset, b_here, sums = loop("steps", number(0), whole, number(0), b, sums, UNROLL)
        _, _, _, sums = loop("rest", k, depth, a_offset, b_here, sums, 1)

        for i, target in enumerate(targets):
            if i:
                following = function.append_basic_block(f"row{i}")
                done = function.append_basic_block(f"done{i}")
                builder.cbranch(builder.icmp_signed("<", number(i), rows), following, done)
                builder.position_at_end(done)
                builder.ret_void()
                builder.position_at_end(following)
            for v, (part, mask) in enumerate(zip(parts, masks, strict=True)):
                self.store(
                    builder, sums[i * tile.vectors + v], self.at(builder, target, part), mask
                )
        builder.ret_void()
        return function

    def contraction(self, plan: Plan) -> None:
        """The public function: cuts the product into tiles, column blocks outside, rows inside.

        Its sums start from `initial`, rows of unit stride, or from zeros where that is null.
        """
        signature = [
            _POINTER, _INT, _INT, _POINTER, _INT, _POINTER, _INT, _INT, _INT, _INT, _POINTER, _INT,
        ]  # fmt: skip
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), signature), self.symbol)
        function.attributes.add("nounwind")
        (
            a, a_row, a_col, b, b_row, c, c_row, rows, columns, depth, initial, initial_row,
        ) = function.args  # fmt: skip
        variants = {
            (tile, masked): self.tile(tile, masked)
            for tile in (plan.wide, plan.narrow, plan.thin)
            for masked in ((True,) if self.always_masked else (True, False))
        }
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        depth = larger(builder, depth, number(0))
        segments = larger(
            builder,
            builder.sdiv(builder.add(depth, number(SEGMENT - 1)), number(SEGMENT)),
            number(1),
        )
        length = builder.sdiv(builder.sub(builder.add(depth, segments), number(1)), segments)
        length = builder.and_(builder.add(length, number(UNROLL - 1)), number(-UNROLL))
        length = larger(builder, length, number(UNROLL))

        with counted(builder, number(0), larger(builder, depth, number(1)), length) as k:
            part_depth = smaller(builder, builder.sub(depth, k), length)
            part_a = self.at(builder, a, builder.mul(k, a_col))
            part_b = self.at(builder, b, builder.mul(k, b_row))
            first = builder.icmp_signed("==", k, number(0))
            nothing = builder.icmp_unsigned("==", initial, ir.Constant(_POINTER, None))
            fresh = builder.and_(first, nothing)
            start = builder.select(first, initial, c)
            start_row = builder.select(first, initial_row, c_row)

            def down(tile: Tile, column: Value, width: Value) -> None:
                """All row tiles of the columns column .. column + width."""
                block_b = self.at(builder, part_b, column)
                block_c = self.at(builder, c, column)
                block_start = self.at(builder, start, column)
                with counted(builder, number(0), rows, number(tile.rows)) as i:
                    arguments = [
                        self.at(builder, part_a, builder.mul(i, a_row)), a_row, a_col,
                        block_b, b_row,
                        self.at(builder, block_c, builder.mul(i, c_row)), c_row,
                        builder.sub(rows, i), width, part_depth,
                        self.at(builder, block_start, builder.mul(i, start_row)), start_row, fresh,
                    ]  # fmt: skip
                    if self.always_masked:
                        builder.call(variants[tile, True], arguments)
                    else:
                        full = builder.icmp_signed("==", width, number(tile.vectors * self.lanes))
                        with builder.if_else(full) as (whole, edge):
                            with whole:
                                builder.call(variants[tile, False], arguments)
                            with edge:
                                builder.call(variants[tile, True], arguments)

            def across(tile: Tile) -> None:
                step = number(tile.vectors * self.lanes)
                with counted(builder, number(0), columns, step) as j:
                    width = smaller(builder, builder.sub(columns, j), step)
                    if tile is plan.wide:
                        slim = builder.icmp_signed("<=", width, number(self.lanes))
                        with builder.if_else(slim) as (narrow, wide):
                            with narrow:
                                down(plan.narrow, j, width)
                            with wide:
                                down(plan.wide, j, width)
                    else:
                        down(tile, j, width)

            with builder.if_else(builder.icmp_signed("==", rows, number(1))) as (one, many):
                with one:
                    across(plan.thin)
                with many:
                    across(plan.wide)
        builder.ret_void()


def source(dtype: str, lanes: int) -> str:
    """LLVM assembly of `gradloom_contract_<dtype>_<lanes>`, for vectors of `lanes` float32."""
    tiles = _Tiles(dtype, lanes, native.host().fused)
    tiles.contraction(_PLANS[lanes])
    return str(tiles.module)


@functools.cache
def _own_text() -> bytes:
    with open(__file__, "rb") as file:
        return file.read()


_lock = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child must not find it held by a thread it has not
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
_loaded: dict[tuple[str, int], int] = {}


def contraction(dtype: str, lanes: int) -> int:
    """The address of a contraction; compiled once a machine, loaded once a process."""
    with _lock:
        where = _loaded.get((dtype, lanes))
        if where is None:
            text = hashlib.sha256(_own_text()).hexdigest()
            what = f"tile {dtype} {lanes} {text} {native.host().identity}"
            key = "tile-" + hashlib.sha256(what.encode()).hexdigest()
            symbol = f"{PREFIX}{dtype}_{lanes}"
            # Level 0: the text is what the machine should do, and the passes only cost their time.
            data, _ = native.cached_object(
                key, lambda: native.compile_object(source(dtype, lanes), level=0)
            )
            native.load_object(data)
            where = native.address(symbol)
            _loaded[dtype, lanes] = where
        return where


def provide(dtype: str, lanes: int) -> None:
    """Make `gradloom_contract_<dtype>` known to the objects loaded from now on."""
    native.add_symbol(PREFIX + dtype, contraction(dtype, lanes))
