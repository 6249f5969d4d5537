"""CUDA source of a contraction: tiles in shared memory, the rest of the body behind the sum.

A block of 16 × 16 threads owns a tile of the result; thread (y, x) owns its elements
(y + 16·a, x + 16·b), so that neighbours read and write neighbouring addresses and no two
threads of a warp meet in one bank.  Each element is summed over k from 0 up, with fused
multiply-add for floats, wherever it lies: its bits depend neither on tile nor on batch.  A sum
starts at zero, or at what stands at its own place of another array.
"""

from __future__ import annotations

from ..ir.kernel import Access, Axis, Contract, Kernel, Reduce, Store
from ..ir.launch import TILE_DEPTH, TILE_SIDE, elements_per_thread
from .cuda_text import (
    Lines,
    Names,
    address,
    comment,
    converted,
    instruction_lines,
    memory_type,
    product,
    unflatten,
    value_dtypes,
)
from .scalar import literal


def emit_tiles(kernel: Kernel, lines: Lines) -> None:
    """The body of a kernel with contractions, all axes of which are parallel."""
    _Tiles(kernel, lines).emit()


class _Tiles:
    def __init__(self, kernel: Kernel, lines: Lines) -> None:
        self.kernel, self.lines = kernel, lines
        self.contractions = [item for item in kernel.body if isinstance(item, Contract)]
        self.check()
        *self.batch, self.rows, self.columns = kernel.axes
        self.row_count = elements_per_thread(self.rows.extent)
        self.column_count = elements_per_thread(self.columns.extent)
        names = self.names = Names(kernel)
        self.x, self.y, self.thread = names.fresh("x"), names.fresh("y"), names.fresh("thread")
        self.a, self.b = names.fresh("a"), names.fresh("b")
        self.first_row, self.first_column = names.fresh("first_row"), names.fresh("first_column")
        self.lhs_tile = {c.result: names.fresh("lhs_tile") for c in self.contractions}
        self.rhs_tile = {c.result: names.fresh("rhs_tile") for c in self.contractions}
        self.sums = {c.result: names.fresh("sums") for c in self.contractions}

    def check(self) -> None:
        if any(axis.role == "reduce" for axis in self.kernel.axes) or self.kernel.chunk:
            raise ValueError(f"{self.kernel.name}: a contraction stands beside no reduced axis")
        if any(isinstance(item, Reduce) for item in self.kernel.body):
            raise ValueError(f"{self.kernel.name}: a contraction stands beside no reduction")
        if any(c.lhs.terms or c.rhs.terms for c in self.contractions):
            raise ValueError(f"{self.kernel.name}: a contraction reads no computed addresses")

    def emit(self) -> None:
        lines, names = self.lines, self.names
        tall, wide = TILE_SIDE * self.row_count, TILE_SIDE * self.column_count
        for c in self.contractions:
            kind = memory_type(c.dtype)
            # One more column, so that what is written down a column falls into different banks.
            lines.add(
                f"{self.lhs_tile[c.result]} = "
                f"cuda.shared.array(({TILE_DEPTH}, {tall + 1}), {kind})",
                f"{self.rhs_tile[c.result]} = cuda.shared.array(({TILE_DEPTH}, {wide}), {kind})",
                f"{self.sums[c.result]} = "
                f"cuda.local.array(({self.row_count}, {self.column_count}), {kind})",
            )
        tile, total = names.fresh("tile"), names.fresh("total")
        row_tiles, column_tiles = names.fresh("row_tiles"), names.fresh("column_tiles")
        sizes = [axis.extent for axis in self.batch]
        lines.add(
            f"{self.x} = cuda.threadIdx.x",
            f"{self.y} = cuda.threadIdx.y",
            f"{self.thread} = {TILE_SIDE} * {self.y} + {self.x}",
            f"{row_tiles} = index(quotient({self.rows.extent} + {tall - 1}, {tall}))",
            f"{column_tiles} = index(quotient({self.columns.extent} + {wide - 1}, {wide}))",
            f"{total} = index({product([*sizes, row_tiles, column_tiles])})",
        )
        lines.add(f"{tile} = index(cuda.blockIdx.x)")
        lines.open(f"while {tile} < {total}:")
        depth = lines.depth
        batch = [(axis.name, axis.extent) for axis in self.batch]
        grid = [(self.first_row, row_tiles), (self.first_column, column_tiles)]
        lines.add(
            *unflatten(tile, [*batch, *grid]),
            f"{self.first_row} = index({tall} * {self.first_row})",
            f"{self.first_column} = index({wide} * {self.first_column})",
        )
        for contraction in self.contractions:
            self.sum(contraction)
        self.epilogue()
        lines.depth = depth
        lines.add(f"{tile} = index({tile} + cuda.gridDim.x)")

    def place(self) -> tuple[str, str]:
        """The row and the column of an element that the thread owns."""
        return (
            f"{self.rows.name} = {self.first_row} + {self.y} + {TILE_SIDE} * {self.a}",
            f"{self.columns.name} = {self.first_column} + {self.x} + {TILE_SIDE} * {self.b}",
        )

    def each_element(self) -> None:
        self.lines.open(f"for {self.a} in range({self.row_count}):")
        self.lines.open(f"for {self.b} in range({self.column_count}):")

    def sum(self, c: Contract) -> None:
        """The loop over k: load a slice of both operands, meet, multiply, meet again."""
        lines, names = self.lines, self.names
        sums, left, right = (table[c.result] for table in (self.sums, self.lhs_tile, self.rhs_tile))
        depth = lines.depth
        self.each_element()
        lines.add(f"{sums}[{self.a}, {self.b}] = {self.zero(c)}")
        if c.initial is not None:
            i, j = self.rows, self.columns
            lines.add(*self.place())
            lines.open(f"if {i.name} < {i.extent} and {j.name} < {j.extent}:")
            source = f"{c.initial.argument}[{address(c.initial, self.kernel.axes)}]"
            lines.add(f"{sums}[{self.a}, {self.b}] = {source}")
        lines.depth = depth
        first, k = names.fresh("first_k"), names.fresh("k")
        lines.open(f"for {first} in range(index(0), index({c.depth}), index({TILE_DEPTH})):")
        self.load_lhs(c, first)
        self.load_rhs(c, first)
        lines.add("cuda.syncthreads()")
        lines.open(f"for {k} in range({TILE_DEPTH}):")
        self.each_element()
        x = f"{left}[{k}, {self.y} + {TILE_SIDE} * {self.a}]"
        y = f"{right}[{k}, {self.x} + {TILE_SIDE} * {self.b}]"
        element = f"{sums}[{self.a}, {self.b}]"
        if c.dtype.is_float:
            value = f"fma({x}, {y}, {element})"
        else:
            value = converted(f"{element} + {x} * {y}", c.dtype)
        lines.add(f"{element} = {value}{comment(c.loc)}")
        lines.depth = depth + 1
        lines.add("cuda.syncthreads()")
        lines.depth = depth

    @staticmethod
    def zero(c: Contract) -> str:
        return literal(0.0 if c.dtype.is_float else 0, c.dtype)

    def load_lhs(self, c: Contract, first: str) -> None:
        """Neighbouring threads load along k where lhs is contiguous there, else along i."""
        tall = TILE_SIDE * self.row_count
        flat, row, step = (self.names.fresh(name) for name in ("e", "row", "step"))
        if c.lhs.strides[-1] == 1:
            places = [f"{row} = {flat} // {TILE_DEPTH}", f"{step} = {flat} % {TILE_DEPTH}"]
        else:
            places = [f"{row} = {flat} % {tall}", f"{step} = {flat} // {tall}"]
        i, k = self.rows.name, self.names.fresh("k")
        axes = (*self.batch, self.rows, Axis(k, c.depth, "reduce"))
        self.load(
            c,
            f"for {flat} in range({self.thread}, {tall * TILE_DEPTH}, {TILE_SIDE**2}):",
            [*places, f"{i} = {self.first_row} + {row}", f"{k} = {first} + {step}"],
            f"{i} < {self.rows.extent} and {k} < {c.depth}",
            (c.lhs, axes),
            f"{self.lhs_tile[c.result]}[{step}, {row}]",
        )

    def load_rhs(self, c: Contract, first: str) -> None:
        """Neighbouring threads load along j, where rhs is contiguous."""
        wide = TILE_SIDE * self.column_count
        flat, column, step = (self.names.fresh(name) for name in ("e", "column", "step"))
        j, k = self.columns.name, self.names.fresh("k")
        axes = (*self.batch, Axis(k, c.depth, "reduce"), self.columns)
        self.load(
            c,
            f"for {flat} in range({self.thread}, {wide * TILE_DEPTH}, {TILE_SIDE**2}):",
            [
                f"{column} = {flat} % {wide}",
                f"{step} = {flat} // {wide}",
                f"{j} = {self.first_column} + {column}",
                f"{k} = {first} + {step}",
            ],
            f"{j} < {self.columns.extent} and {k} < {c.depth}",
            (c.rhs, axes),
            f"{self.rhs_tile[c.result]}[{step}, {column}]",
        )

    def load(
        self,
        c: Contract,
        head: str,
        places: list[str],
        inside: str,
        source: tuple[Access, tuple[Axis, ...]],
        target: str,
    ) -> None:
        """Fill one shared tile; zeros stand outside the operand."""
        lines, value = self.lines, self.names.fresh("value")
        access, axes = source
        lines.open(head)
        lines.add(*places, f"{value} = {self.zero(c)}")
        lines.add(f"if {inside}:", f"    {value} = {access.argument}[{address(access, axes)}]")
        lines.add(f"{target} = {value}")
        lines.depth -= 1

    def epilogue(self) -> None:
        """What comes behind the sums, at every element that the thread owns."""
        lines = self.lines
        dtypes = value_dtypes(self.kernel)
        i, j = self.rows, self.columns
        row, column = self.place()
        lines.open(f"for {self.a} in range({self.row_count}):")
        lines.add(row)
        lines.open(f"if {i.name} < {i.extent}:")
        lines.open(f"for {self.b} in range({self.column_count}):")
        lines.add(column)
        lines.open(f"if {j.name} < {j.extent}:")
        stored = {item.access.argument for item in self.kernel.body if isinstance(item, Store)}
        stores: list[Store] = []
        for item in self.kernel.body:
            if isinstance(item, Contract):
                lines.add(f"{item.result} = {self.sums[item.result]}[{self.a}, {self.b}]")
                # Where nothing else goes, the sums may be an output.
                if item.scratch is not None and item.scratch.argument not in stored:
                    stores.append(Store(item.scratch, item.result))
            elif isinstance(item, Store):
                stores.append(item)
            else:
                lines.add(*instruction_lines(item, self.kernel.axes, dtypes))
        for store in stores:
            lines.add(*instruction_lines(store, self.kernel.axes, dtypes))
