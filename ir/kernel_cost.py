"""What one launch of a kernel costs: the operations that it must do, the bytes that it must move.

Each value counts once, at as many indices as it has different ones: a row that is added to all rows
of a matrix is read once, and its exponential computed once, however often a loop may do so.  So
the figures are those that one counts by hand from the formula, and time above them is to be gained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from .dtypes import DType
from .kernel import (
    Access,
    Compute,
    Constant,
    Contract,
    Index,
    Kernel,
    Load,
    Reduce,
    Running,
    Size,
    Store,
)
from .op import TABLE


@dataclass(frozen=True, slots=True)
class KernelCost:
    """flops: arithmetic operations, `Op.flops` a value, of which `wide` work on 64-bit numbers.

    read, written: bytes of the elements that are read and that are written.
    """

    flops: int = 0
    wide: int = 0
    read: int = 0
    written: int = 0

    @property
    def bytes(self) -> int:
        return self.read + self.written


def kernel_cost(
    kernel: Kernel, sizes: Mapping[str, int], buffers: Sequence[tuple[str, int]]
) -> KernelCost:
    """The cost of a launch of `kernel`.

    sizes: its parameters' values.  buffers: of each argument the buffer's name and bytes.  What
    several arguments, computed addresses or overlapping windows read of a buffer is not more.
    """
    return _Visit(kernel, sizes, buffers).cost()


Touched = Counter[Access | None]  # elements of a buffer by access; None: of a product's panels


class _Visit:
    """Goes through the body; `varies` is told of each value along which axes it differs."""

    def __init__(
        self, kernel: Kernel, sizes: Mapping[str, int], buffers: Sequence[tuple[str, int]]
    ) -> None:
        self.kernel, self.sizes = kernel, sizes
        pairs = list(zip(kernel.arguments, buffers, strict=True))
        self.place = {own.name: name for own, (name, _) in pairs}
        self.buffers = {name: (own.dtype.bytes, size) for own, (name, size) in pairs}
        self.extents = [self.number(axis.extent) for axis in kernel.axes]
        self.reduced = {n for n, axis in enumerate(kernel.axes) if axis.role == "reduce"}
        self.varies: dict[str, frozenset[int]] = {}
        self.dtypes: dict[str, DType] = {}
        self.flops = self.wide = 0
        self.reads: dict[str, Touched] = {}
        self.writes: dict[str, Touched] = {}

    def number(self, size: Size) -> int:
        return self.sizes[size] if isinstance(size, str) else size

    def points(self, axes: frozenset[int]) -> int:
        return prod(self.extents[axis] for axis in axes)

    def cost(self) -> KernelCost:
        for item in self.kernel.body:
            match item:
                case Load(result, access, dtype):
                    self.made(result, self.touch(self.reads, access), dtype)
                case Index(result, strides):
                    self.varies[result] = self.along(strides)
                case Constant(result, _, dtype):
                    self.made(result, frozenset(), dtype)
                case Compute(result, op, operands, dtype):
                    axes = self.union(operands)
                    self.made(result, axes, dtype)
                    bits = max([dtype.bits, *self.bits(operands)])
                    self.count(TABLE[op].flops * self.points(axes), bits)
                case Reduce(result, _, operand, dtype):
                    axes = self.varies[operand] | self.reduced
                    self.made(result, axes - self.reduced, dtype)
                    self.count(self.points(axes), dtype.bits)
                case Running(result, combine, operands, dtype):
                    axes = self.union(operands) | self.reduced
                    self.made(result, axes, dtype)
                    self.count(self.combined(combine) * self.points(axes), dtype.bits)
                case Contract():
                    self.contract(item)
                case Store():
                    self.store(item)
        return KernelCost(self.flops, self.wide, self.moved(self.reads), self.moved(self.writes))

    def made(self, result: str, axes: frozenset[int], dtype: DType) -> None:
        self.varies[result], self.dtypes[result] = axes, dtype

    def bits(self, operands: Sequence[str]) -> list[int]:
        """Of the operands that are no positions."""
        return [self.dtypes[name].bits for name in operands if name in self.dtypes]

    def count(self, flops: int, bits: int) -> None:
        self.flops += flops
        self.wide += flops if bits == 64 else 0

    @staticmethod
    def combined(combine: str) -> int:
        return TABLE[combine].flops if combine in TABLE else 1

    def along(self, strides: Sequence[Size]) -> frozenset[int]:
        return frozenset(n for n, stride in enumerate(strides) if self.number(stride) != 0)

    def union(self, operands: Sequence[str]) -> frozenset[int]:
        return frozenset[int]().union(*(self.varies[name] for name in operands))

    def touch(self, table: dict[str, Touched], access: Access) -> frozenset[int]:
        """Note the elements of an access; the axes along which they differ."""
        axes = self.along(access.strides) | self.union([term.value for term in access.terms])
        empty = prod(self.extents) == 0
        self.note(table, access, 0 if empty else self.points(axes))
        return axes

    def note(self, table: dict[str, Touched], access: Access, elements: int) -> None:
        """What two arguments read at the same place of one buffer is read once."""
        buffer = self.place[access.argument]
        table.setdefault(buffer, Counter())[replace(access, argument=buffer)] = elements

    def panel(self, table: dict[str, Touched], argument: str, elements: int) -> None:
        table.setdefault(self.place[argument], Counter())[None] += elements

    def contract(self, item: Contract) -> None:
        *batch, rows, columns = range(len(self.extents))
        depth = self.number(item.depth)
        self.made(item.result, frozenset(range(len(self.extents))), item.dtype)
        self.count(2 * prod(self.extents) * depth, item.dtype.bits)
        for access, side in ((item.lhs, rows), (item.rhs, columns)):
            met = self.along(access.strides)
            if item.walk is not None:  # its tables may lead anywhere along the rows
                met = met | {rows}
            own = [n for n in (*batch, side) if n in met]
            if prod(self.extents):
                elements = depth * prod(self.extents[n] for n in own)
                self.panel(self.reads, access.argument, elements)
        if item.walk is not None:
            self.panel(self.reads, item.walk.rows, self.extents[rows])
            self.panel(self.reads, item.walk.steps, self.number(item.walk.period))
            if (runs := item.walk.runs) is not None:
                groups = -(-self.extents[rows] // max(self.number(runs.group), 1))
                self.panel(self.reads, runs.table, groups * (2 * self.number(runs.most) + 1))
        if item.initial is not None:
            self.touch(self.reads, item.initial)
        if item.scratch is not None:
            self.panel(self.writes, item.scratch.argument, prod(self.extents))

    def store(self, item: Store) -> None:
        axes = self.touch(self.writes, item.access)
        if item.combine:
            self.touch(self.reads, item.access)
            if item.combine != "last":
                every = axes | self.varies[item.operand] | self.reduced
                self.count(
                    self.combined(item.combine) * self.points(every), max(self.bits([item.operand]))
                )
        elif not axes & self.reduced:  # behind the reduction, which may have been of nothing
            elements = self.points(axes)
            if self.kernel.chunk and not axes:  # one a piece
                elements = -(-self.extents[0] // self.kernel.chunk)
            self.note(self.writes, item.access, elements)

    def moved(self, table: dict[str, Touched]) -> int:
        """Bytes of the elements noted in `table`, each once, as far as can be told."""
        total = 0
        for name, touched in table.items():
            width, capacity = self.buffers[name]
            panels = touched.pop(None, 0)
            accesses = [access for access in touched if access is not None]
            walked = sum(touched.values())
            if walked and not any(access.terms for access in accesses):
                walked = min(walked, self.span(accesses))
            total += min((walked + panels) * width, capacity)
        return total

    def span(self, accesses: Iterable[Access]) -> int:
        """Elements from the first to the last one that affine accesses meet."""
        first: list[int] = []
        last: list[int] = []
        for access in accesses:
            place = self.number(access.offset)
            pairs = zip(access.strides, self.extents, strict=True)
            reach = [self.number(stride) * (extent - 1) for stride, extent in pairs]
            first.append(place + sum(step for step in reach if step < 0))
            last.append(place + sum(step for step in reach if step > 0))
        return max(last) - min(first) + 1
