"""CUDA source from a Kernel: one Python function over Numba's ``cuda`` and a vocabulary.

    def add_tanh(a0, a1, a2, d0, status):
        total = index(10 * d0)
        n = index(cuda.grid(1))
        while n < total:
            i = quotient(n, 10)
            j = modulus(n, 10)
            v0 = a0[10 * i + j]
            ...
            n = index(n + cuda.gridsize(1))

Arguments are pointers to elements, sizes are integers; ``index`` is int32 where the launch
allows it and int64 otherwise (``ir/launch.py``, which also says how a kernel lies on the grid).
Bools are bytes in memory.  The text uses ``cuda.grid``, ``gridsize``, ``threadIdx``,
``blockIdx``, ``gridDim``, ``shared.array``, ``local.array`` and ``syncthreads`` and nothing else
of CUDA, so that a small simulator can run it.

Loops that hold a barrier have bounds that are the same for all threads of a block.
"""

from __future__ import annotations

from ..ir.dtypes import DType
from ..ir.kernel import Compute, Instruction, Kernel, Load, Reduce, Running, Store
from ..ir.launch import layout, parallel_axes, reduced_axes, row_threads, varies
from .cuda_text import (
    Lines,
    Names,
    combined,
    comment,
    instruction_lines,
    memory_type,
    product,
    read,
    unflatten,
    value_dtypes,
    written,
)
from .cuda_tiles import emit_tiles
from .scalar import identity, two_sum


def emit_cuda(kernel: Kernel) -> str:
    """The source of `kernel` for CUDA: arguments in order, then parameters, then status."""
    lines = Lines()
    arguments = [argument.name for argument in kernel.arguments]
    lines.open(f"def {kernel.name}({', '.join([*arguments, *kernel.parameters, 'status'])}):")
    match layout(kernel):
        case "threads":
            _Walks(kernel, lines).emit_threads()
        case "rows":
            _Walks(kernel, lines).emit_rows()
        case "tiles":
            emit_tiles(kernel, lines)
    return str(lines)


class _Walks:
    """A kernel without contraction: per parallel index, a walk of the reduced axes a stage."""

    def __init__(self, kernel: Kernel, lines: Lines) -> None:
        self.kernel, self.lines = kernel, lines
        self.names = Names(kernel)
        self.dtypes = value_dtypes(kernel)
        self.full, self.stages = kernel.full(), kernel.stages()
        self.parallel = [(axis.name, axis.extent) for axis in parallel_axes(kernel)]
        self.reduced = [(axis.name, axis.extent) for axis in reduced_axes(kernel)]
        self.piece = self.names.fresh("piece") if kernel.chunk else ""

    # --- what is computed where ---

    def add(self, item: Instruction) -> None:
        piece = self.piece
        if isinstance(item, Store) and varies(self.kernel, item, self.full):
            piece = ""
        self.lines.add(*instruction_lines(item, self.kernel.axes, self.dtypes, piece))

    def row_level(self, stage: int) -> list[Instruction]:
        """What is computed once per parallel index, before the walk of `stage`."""
        return [
            item
            for item in self.kernel.body
            if not isinstance(item, (Store, Reduce))
            and not self.full[item.result]
            and self.stages[item.result] == stage
        ]

    def reductions(self, stage: int) -> list[Reduce]:
        return [
            item
            for item in self.kernel.body
            if isinstance(item, Reduce) and self.stages[item.operand] == stage
        ]

    def row_stores(self) -> list[Store]:
        return [
            item
            for item in self.kernel.body
            if isinstance(item, Store) and not varies(self.kernel, item, self.full)
        ]

    def store_stage(self, store: Store) -> int:
        """The walk in which a full store happens: the last one, if its buffer is also read."""
        for item in self.kernel.body:
            if isinstance(item, Load) and item.access.argument == store.access.argument:
                return self.last_stage()
        values = [store.operand, *(term.value for term in store.access.terms)]
        return max(self.stages[value] for value in values)

    def walk(self, stage: int) -> list[Instruction]:
        """The instructions inside the walk of `stage`, in order: its roots and their operands."""
        needed: set[str] = {item.operand for item in self.reductions(stage)}
        chosen: list[Instruction] = []
        for item in reversed(self.kernel.body):
            match item:
                case Store(access, operand):
                    if varies(self.kernel, item, self.full) and self.store_stage(item) == stage:
                        needed |= {operand, *(term.value for term in access.terms)}
                        chosen.append(item)
                    continue
                case Reduce():
                    continue
                case Compute(result, check=check) if check != 0 and self.stages[result] == stage:
                    needed.add(result)
                case _:
                    pass
            if item.result in needed and self.full[item.result]:
                if isinstance(item, (Compute, Running)):
                    needed |= set(item.operands)
                if isinstance(item, Load):
                    needed |= {term.value for term in item.access.terms}
                chosen.append(item)
        return chosen[::-1]

    def last_stage(self) -> int:
        return max(self.stages.values(), default=0)

    # --- the parallel space, and pieces of the first axis ---

    def open_work(self, flat: str, first: str) -> None:
        """The loop over the parallel indices, the piece of a chunked kernel before them.

        A ``while``: Numba would divide to find the number of steps of a ``range``.
        """
        axes = list(self.parallel)
        if self.piece:
            chunk, extent = self.kernel.chunk, self.reduced[0][1]
            pieces = self.names.fresh("pieces")
            self.lines.add(f"{pieces} = index(quotient({extent} + {chunk - 1}, {chunk}))")
            axes.insert(0, (self.piece, pieces))
        total = self.names.fresh("total")
        self.lines.add(f"{total} = index({product(size for _, size in axes)})")
        self.lines.add(f"{flat} = index({first})")
        self.lines.open(f"while {flat} < {total}:")
        self.lines.add(*unflatten(flat, axes))
        if self.piece:
            self.first, self.length = self.names.fresh("first"), self.names.fresh("length")
            chunk, extent = self.kernel.chunk, self.reduced[0][1]
            self.lines.add(
                f"{self.first} = index({self.piece} * {chunk})",
                f"{self.length} = index(min({chunk}, {extent} - {self.first}))",
            )

    # --- layout threads ---

    def emit_threads(self) -> None:
        """One thread per parallel index; the reduced axes are loops, in order."""
        flat = self.names.fresh("n")
        self.open_work(flat, "cuda.grid(1)")
        for stage in range(self.last_stage() + 1):
            for item in self.row_level(stage):
                self.add(item)
            reductions, body = self.reductions(stage), self.walk(stage)
            for reduce in reductions:
                self.begin_fold(reduce, reduce.result)
            for item in body:
                if isinstance(item, Running):
                    self.lines.add(f"{item.result} = {identity(item)}")
            if not reductions and not body:
                continue
            depth = self.lines.depth
            for position, (name, extent) in enumerate(self.reduced):
                bounds = f"index({extent})"
                if self.piece and position == 0:
                    bounds = f"{self.first}, index({self.first} + {self.length})"
                self.lines.open(f"for {name} in range({bounds}):")
            for item in body:
                self.add(item)
            for reduce in reductions:
                self.fold_into(reduce, reduce.result)
            self.lines.depth = depth
        for item in self.row_stores():
            self.add(item)
        self.lines.add(f"{flat} = index({flat} + cuda.gridsize(1))")

    def begin_fold(self, reduce: Reduce, partial: str) -> None:
        self.lines.add(f"{partial} = {identity(reduce)}")
        if self.kernel.compensates(reduce):
            self.lines.add(f"{partial}_lost = {identity(reduce)}")

    def fold_into(self, reduce: Reduce, partial: str) -> None:
        dtype = reduce.dtype
        value = reduce.operand
        if self.dtypes[value] != dtype:
            value = f"{'boolean' if dtype.kind == 'b' else dtype.short}({value})"
        if self.kernel.compensates(reduce):
            for line in two_sum(partial, value, identity(reduce)):
                self.lines.add(line + comment(reduce.loc))
            return
        text = combined(reduce.combine, partial, value, dtype)
        self.lines.add(f"{partial} = {text}{comment(reduce.loc)}")

    # --- layout rows ---

    def emit_rows(self) -> None:
        """One block per parallel index: threads stride over the reduced axes, then fold a tree."""
        threads = row_threads(self.kernel)
        shared = self.declare_shared(threads)
        self.thread, count = self.names.fresh("thread"), self.names.fresh("count")
        self.lines.add(f"{self.thread} = cuda.threadIdx.x")
        flat = self.names.fresh("row")
        self.open_work(flat, "cuda.blockIdx.x")
        reduced = list(self.reduced)
        if self.piece:
            reduced[0] = (reduced[0][0], self.length)
        self.lines.add(f"{count} = index({product(size for _, size in reduced)})")
        synchronised = True  # since the last load that all threads make
        for stage in range(self.last_stage() + 1):
            for item in self.row_level(stage):
                self.add(item)
                synchronised = synchronised and not isinstance(item, Load)
            reductions, body = self.reductions(stage), self.walk(stage)
            partials = [self.names.fresh("partial") for _ in reductions]
            for reduce, partial in zip(reductions, partials, strict=True):
                self.begin_fold(reduce, partial)
            if reductions or body:
                step = self.names.fresh("r")
                self.lines.open(f"for {step} in range(index({self.thread}), {count}, {threads}):")
                self.lines.add(*unflatten(step, reduced))
                if self.piece:
                    name = reduced[0][0]
                    self.lines.add(f"{name} = index({self.first} + {name})")
                for item in body:
                    self.add(item)
                for reduce, partial in zip(reductions, partials, strict=True):
                    self.fold_into(reduce, partial)
                self.lines.depth -= 1
            if reductions:
                self.tree(reductions, partials, shared, threads)
                synchronised = True
        stores = self.row_stores()
        if stores:
            if not synchronised:
                self.lines.add("cuda.syncthreads()")
            self.lines.open(f"if {self.thread} == 0:")
            for item in stores:
                self.add(item)
            self.lines.depth -= 1
        self.lines.add(f"{flat} = index({flat} + cuda.gridDim.x)")

    def declare_shared(self, threads: int) -> dict[tuple[DType, int], str]:
        """Shared arrays: one for each reduction of a stage; stages use the same ones again."""
        shared: dict[tuple[DType, int], str] = {}
        for stage in range(self.last_stage() + 1):
            for position, reduce in enumerate(self.reductions(stage)):
                if (reduce.dtype, position) not in shared:
                    name = self.names.fresh("shared")
                    shared[reduce.dtype, position] = name
                    kind = memory_type(reduce.dtype)
                    self.lines.add(f"{name} = cuda.shared.array({threads}, {kind})")
        return shared

    def tree(
        self,
        reductions: list[Reduce],
        partials: list[str],
        shared: dict[tuple[DType, int], str],
        threads: int,
    ) -> None:
        """Fold the threads' partial results: neighbours at distance threads/2, /4, … 1.

        The last barrier keeps the result until all have read it.
        """
        lines, thread, width = self.lines, self.thread, self.names.fresh("width")
        arrays = [shared[reduce.dtype, n] for n, reduce in enumerate(reductions)]
        for array, reduce, partial in zip(arrays, reductions, partials, strict=True):
            lines.add(f"{array}[{thread}] = {written(partial, reduce.dtype)}")
        lines.add("cuda.syncthreads()", f"{width} = {threads // 2}")
        lines.open(f"while {width} > 0:")
        lines.open(f"if {thread} < {width}:")
        for array, reduce in zip(arrays, reductions, strict=True):
            left = read(f"{array}[{thread}]", reduce.dtype)
            right = read(f"{array}[{thread} + {width}]", reduce.dtype)
            text = written(combined(reduce.combine, left, right, reduce.dtype), reduce.dtype)
            lines.add(f"{array}[{thread}] = {text}")
        lines.depth -= 1
        lines.add("cuda.syncthreads()", f"{width} //= 2")
        lines.depth -= 1
        for array, reduce in zip(arrays, reductions, strict=True):
            lines.add(f"{reduce.result} = {read(f'{array}[0]', reduce.dtype)}")
        lines.add("cuda.syncthreads()")
