# pyright: basic
"""Panels of B for the products: a block of columns, its rows one behind the other, on the stack.

Tiles read rows of B as vectors.  Where B lies transposed, as the weights of a layer do on the way
back, as many columns as a vector has lanes are read along k instead, and turned in registers: in
log2(lanes) rounds of exchanges between vectors whose numbers differ in one bit (Eklundh, IEEE
Trans. Computers 21, 1972).
"""

from __future__ import annotations

from llvmlite import ir

from .building import Builder, Value, counted, number, smaller, transposed, zeros
from .micro_kernel import _BYTES, INT, POINTER, Writer

BYTES = 128 << 10  # of a panel: it comes from the second cache as fast as tiles read it
DEEPEST = 512  # rows of a panel: with them go as many columns of A, which stay there, too


class Packer(Writer):
    """Writes the function that fills panels of one element type."""

    def room(self, vectors: int) -> int:
        """How many rows of so many vectors a panel holds; a multiple of the lanes."""
        row = vectors * self.lanes * _BYTES[self.dtype]
        return min(max(BYTES // row // self.lanes, 1) * self.lanes, DEEPEST)

    def memory(self, builder: Builder, count: int) -> Value:
        """So many elements on the stack; to be called where a function begins."""
        memory = builder.alloca(self.element, count)
        memory.align = 64
        return memory

    def packer(self) -> ir.Function:
        """pack(panel, width, b, b_row, b_col, columns, depth): panel[k][j] = B[k, j].

        The panel's rows are `width` long, whole vectors; what lies behind `columns` is of no
        value. Its depth is rounded up to whole vectors.
        """
        signature = [POINTER, INT, POINTER, INT, INT, INT, INT]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), signature), "pack")
        function.linkage = "internal"
        for attribute in ("noinline", "nounwind"):
            function.attributes.add(attribute)
        panel, width, b, b_row, b_col, columns, depth = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        turned = builder.icmp_signed("==", b_row, number(1))
        with builder.if_else(turned) as (transposed, spread):
            with transposed:
                self._turned(builder, panel, width, b, b_col, columns, depth)
            with spread:
                self._gathered(builder, panel, width, b, (b_row, b_col), columns, depth)
        builder.ret_void()
        return function

    def _turned(self, builder, panel, width, b, b_col, columns, depth) -> None:
        """Blocks of lanes × lanes, each turned in registers."""
        lanes = number(self.lanes)
        with counted(builder, number(0), columns, lanes) as j:
            heads = self.heads(builder, b, b_col, j, columns)
            target = self.at(builder, panel, j)
            with counted(builder, number(0), depth, lanes) as k:
                (mask,) = self.masks(builder, builder.sub(depth, k), 1)
                block = [self.load(builder, self.at(builder, head, k), mask) for head in heads]
                further = builder.add(k, builder.mul(b_col, lanes))
                for head in heads:  # what the next columns need
                    self.prefetch(builder, self.at(builder, head, further))
                for i, row in enumerate(transposed(builder, block)):
                    place = builder.mul(builder.add(k, number(i)), width)
                    self.store(builder, row, self.at(builder, target, place), None)

    def row_times_turned(self) -> ir.Function:
        """row(c, a, a_col, b, b_col, columns, depth, start): one row of C, if the rows of B are
        neighbours and the depth, not zero, is of whole vectors; its sums start from `start`, or
        from zeros where that is null.

        Blocks of B are turned in registers and used at once: nobody reads them again.
        """
        signature = [POINTER, POINTER, INT, POINTER, INT, INT, INT, POINTER]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), signature), "row")
        function.linkage = "internal"
        for attribute in ("noinline", "nounwind"):
            function.attributes.add(attribute)
        c, a, a_col, b, b_col, columns, depth, start = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        fresh = builder.icmp_unsigned("==", start, zeros(POINTER))
        with counted(builder, number(0), columns, number(self.lanes)) as j:
            heads = self.heads(builder, b, b_col, j, columns)
            (mask,) = self.masks(builder, builder.sub(columns, j), 1)
            given = builder.select(fresh, zeros(self.mask), mask)
            sums = self.load(builder, self.at(builder, start, j), given)
            before = builder.block
            body, after = (function.append_basic_block(label) for label in ("steps", "done"))
            builder.branch(body)
            builder.position_at_end(body)
            k, running = builder.phi(INT), builder.phi(self.vector)
            k.add_incoming(number(0), before)
            running.add_incoming(sums, before)
            block = [self.load(builder, self.at(builder, head, k), None) for head in heads]
            total = running
            for n, row in enumerate(transposed(builder, block)):
                place = self.at(builder, a, builder.mul(builder.add(k, number(n)), a_col))
                scalar = builder.load(place, align=self.align, typ=self.element)
                factor = self.splat(builder, scalar, self.vector)
                total = self.multiply_add(builder, factor, row, total)
            further = builder.add(k, number(self.lanes))
            k.add_incoming(further, body)
            running.add_incoming(total, body)
            builder.cbranch(builder.icmp_signed("<", further, depth), body, after)
            builder.position_at_end(after)
            self.store(builder, total, self.at(builder, c, j), mask)
        builder.ret_void()
        return function

    def heads(self, builder: Builder, b, b_col, j, columns) -> list[Value]:
        """Where columns j and on begin, as many as a vector has lanes; those behind the last are
        the last once more."""
        last = builder.sub(columns, number(1))
        heads = []
        for i in range(self.lanes):
            column = smaller(builder, builder.add(j, number(i)), last)
            heads.append(self.at(builder, b, builder.mul(column, b_col)))
        return heads

    def _gathered(self, builder, panel, width, b, strides, columns, depth) -> None:
        """Element by element."""
        b_row, b_col = strides
        with counted(builder, number(0), depth, number(1)) as k:
            source = self.at(builder, b, builder.mul(k, b_row))
            target = self.at(builder, panel, builder.mul(k, width))
            with counted(builder, number(0), columns, number(1)) as j:
                value = builder.load(
                    self.at(builder, source, builder.mul(j, b_col)),
                    align=self.align,
                    typ=self.element,
                )
                builder.store(value, self.at(builder, target, j), align=self.align)
