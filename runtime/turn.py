# pyright: basic
"""Transposed copies, written as LLVM IR: blocks of lanes × lanes are turned in registers.

Copied element by element, a transposition takes a load and an insertion for each; here each line of
memory is read and written as whole vectors.
"""

from __future__ import annotations

from llvmlite import ir

from .building import counted, number, transposed, zeros
from .micro_kernel import INT, POINTER
from .panel import Packer


class Turner(Packer):
    """Writes the copy of one element type into a module."""

    def copy(self, symbol: str) -> None:
        """turn(target, target_row, source, source_row, rows, columns):
        target[i · target_row + j] = source[i + j · source_row] for i < rows, j < columns."""
        kind = ir.FunctionType(ir.VoidType(), [POINTER, INT, POINTER, INT, INT, INT])
        function = ir.Function(self.module, kind, symbol)
        function.attributes.add("nounwind")
        target, target_row, source, source_row, rows, columns = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        lanes = number(self.lanes)
        nothing = zeros(self.mask)
        with counted(builder, number(0), columns, lanes) as j:
            heads = self.heads(builder, source, source_row, j, columns)
            (across,) = self.masks(builder, builder.sub(columns, j), 1)
            with counted(builder, number(0), rows, lanes) as i:
                left = builder.sub(rows, i)
                (down,) = self.masks(builder, left, 1)
                block = [self.load(builder, self.at(builder, head, i), down) for head in heads]
                for n, row in enumerate(transposed(builder, block)):
                    place = builder.mul(builder.add(i, number(n)), target_row)
                    place = self.at(builder, target, builder.add(place, j))
                    mask = across
                    if n:
                        there = builder.icmp_signed("<", number(n), left)
                        mask = builder.select(there, across, nothing)
                    self.store(builder, row, place, mask)
        builder.ret_void()
