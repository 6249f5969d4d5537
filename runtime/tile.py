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

Since A is read element by element, it need not be a matrix in memory: a second function, `at_…`,
finds A[i, k] at rows[i] + steps[k], tables of offsets. So windows over an image are the rows of a
convolution's product, and nobody lays them out.

Every element type is one object a function, compiled at its first use and kept in the disk cache.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from dataclasses import dataclass

from llvmlite import ir

from . import micro_kernel, native
from .building import Value, counted, larger, number, smaller
from .micro_kernel import INT, POINTER, UNROLL, Tile, Writer

PREFIX = "gradloom_contract_"
SEGMENT = 400  # contraction steps of B's column block kept in cache at a time
STREAMED = 8  # and where a tile has all rows, so that B is read but once, and B's rows are long:
LONG = 1000  # columns; the processor then sees a few rows that are read on and on


@dataclass(frozen=True)
class Plan:
    """The tiles for one width of vectors: inside, for one vector of columns, and for one row."""

    wide: Tile
    narrow: Tile
    thin: Tile


# As many accumulators as leave registers for a row of B and a broadcast; more of them spill.
_PLANS = {
    16: Plan(Tile(8, 2), Tile(8, 1), Tile(1, 8)),
    8: Plan(Tile(6, 2), Tile(6, 1), Tile(1, 8)),
    4: Plan(Tile(4, 2), Tile(4, 1), Tile(1, 8)),
}


class _Products(Writer):
    """Writes the products of one element type into a module."""

    def __init__(self, name: str, lanes: int, fused: bool) -> None:
        super().__init__(name, lanes, fused)
        self.symbol = f"{PREFIX}{name}_{lanes}"

    def contraction(self, plan: Plan) -> None:
        """The public function: cuts the product into tiles, column blocks outside, rows inside.

        contract(a, a_row, a_col, b, b_row, c, c_row, rows, columns, depth, initial, initial_row),
        or contract_at(a, row_table, step_table, periods, stride, b, …): the table of `depth` steps
        is gone through `periods` times, each `stride` further on in A.  Its sums start from
        `initial`, rows of unit stride, or from zeros where that is null.
        """
        ways = [POINTER, POINTER, INT, INT] if self.by_tables else [INT, INT]
        signature = [
            POINTER, *ways, POINTER, INT, POINTER, INT, INT, INT, INT, POINTER, INT,
        ]  # fmt: skip
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), signature), self.symbol)
        function.attributes.add("nounwind")
        a, a_row, a_col, *more = function.args
        variants = {
            (tile, masked): self.tile(tile, masked)
            for tile in (plan.wide, plan.narrow, plan.thin)
            for masked in ((True,) if self.always_masked else (True, False))
        }
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        if not self.by_tables:
            b, b_row, *rest = more
            self.sweep(builder, plan, variants, (a, a_row, a_col, b, b_row), rest, None)
        else:
            periods, stride, b, b_row, c, c_row, rows, columns, depth, *start = more
            nothing = builder.icmp_signed("<=", periods, number(0))
            depth = builder.select(nothing, number(0), depth)
            with counted(builder, number(0), larger(builder, periods, number(1)), number(1)) as n:
                here = self.at(builder, a, builder.mul(n, stride))
                below = builder.mul(builder.mul(n, depth), b_row)
                operands = (here, a_row, a_col, self.at(builder, b, below), b_row)
                later = builder.icmp_signed(">", n, number(0))
                rest = (c, c_row, rows, columns, depth, *start)
                self.sweep(builder, plan, variants, operands, rest, later)
        builder.ret_void()

    def sweep(self, builder, plan, variants, operands, rest, later) -> None:
        """C = A . B, or C += A . B where `later` holds."""
        a, a_row, a_col, b, b_row = operands
        c, c_row, rows, columns, depth, initial, initial_row = rest
        depth = larger(builder, depth, number(0))
        once = builder.icmp_signed("<=", rows, number(plan.wide.rows))
        streams = builder.and_(once, builder.icmp_signed(">=", columns, number(LONG)))
        most = builder.select(streams, number(STREAMED), number(SEGMENT))
        parts = builder.sdiv(builder.sub(builder.add(depth, most), number(1)), most)
        segments = larger(builder, parts, number(1))
        length = builder.sdiv(builder.sub(builder.add(depth, segments), number(1)), segments)
        length = builder.and_(builder.add(length, number(UNROLL - 1)), number(-UNROLL))
        length = larger(builder, length, number(UNROLL))

        with counted(builder, number(0), larger(builder, depth, number(1)), length) as k:
            part_depth = smaller(builder, builder.sub(depth, k), length)
            part_a, part_col = a, a_col
            if self.by_tables:
                part_col = self.entry(builder, a_col, k)
            else:
                part_a = self.at(builder, a, builder.mul(k, a_col))
            part_b = self.at(builder, b, builder.mul(k, b_row))
            first = builder.icmp_signed("==", k, number(0))
            if later is not None:
                first = builder.and_(first, builder.not_(later))
            nothing = builder.icmp_unsigned("==", initial, ir.Constant(POINTER, None))
            fresh = builder.and_(first, nothing)
            start = builder.select(first, initial, c)
            start_row = builder.select(first, initial_row, c_row)

            def down(tile: Tile, column: Value, width: Value) -> None:
                """All row tiles of the columns column .. column + width."""
                block_b = self.at(builder, part_b, column)
                block_c = self.at(builder, c, column)
                block_start = self.at(builder, start, column)
                with counted(builder, number(0), rows, number(tile.rows)) as i:
                    rows_a, rows_way = part_a, a_row
                    if self.by_tables:
                        rows_way = self.entry(builder, a_row, i)
                    else:
                        rows_a = self.at(builder, part_a, builder.mul(i, a_row))
                    arguments = [
                        rows_a, rows_way, part_col, block_b, b_row,
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


def source(dtype: str, lanes: int) -> str:
    """LLVM assembly of `gradloom_contract_<dtype>_<lanes>`, for vectors of `lanes` float32.

    dtype: of the elements; with `at_` in front, of the function that goes by tables.
    """
    tiles = _Products(dtype, lanes, native.host().fused)
    tiles.contraction(_PLANS[lanes])
    return str(tiles.module)


@functools.cache
def _own_text() -> bytes:
    texts: list[bytes] = []
    for path in (__file__, micro_kernel.__file__):
        with open(path, "rb") as file:
            texts.append(file.read())
    return b"".join(texts)


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
                key, lambda: native.compile_object(source(dtype, lanes), simplify=False)
            )
            native.load_object(data)
            where = native.address(symbol)
            _loaded[dtype, lanes] = where
        return where


def provide(dtype: str, lanes: int) -> None:
    """Make `gradloom_contract_<dtype>` known to the objects loaded from now on."""
    native.add_symbol(PREFIX + dtype, contraction(dtype, lanes))
