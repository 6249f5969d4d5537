"""CPU source from a Kernel: readable Python over the vector vocabulary, which Numba compiles.

Everything is a vector of `lanes` elements along the last axis; tails are masked.  Two shapes of
code come out.  Where the last axis is parallel, threads share out blocks of it, and reduced axes
are loops inside with one accumulator a lane.  Where it is reduced, threads share out the indices
of the parallel axes, and the accumulator's lanes are folded, in a fixed order, behind the loop.
A running value is its own accumulator; where the last axis is reduced, it goes from lane to lane.
A contraction calls the tile micro-kernel on panels of rows and applies the rest of the body to
each panel while it is in cache.

Long formulas are chains in which each operation waits for the one before.  A processor fills the
time with the next vectors, as far ahead as it looks; where it cannot look far enough, a vector of
several registers puts independent operations side by side (`width`).  Such vectors also serve
where rows are folded into one: they read more of a row before they turn to the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod

from ..ir.dtypes import DType, int64
from ..ir.kernel import (
    Access,
    Axis,
    Compute,
    Constant,
    Contract,
    Index,
    Instruction,
    Kernel,
    Load,
    Reduce,
    Running,
    Store,
)
from ..ir.op import TABLE
from ..ir.units import CACHED, block_length, inner_axes, layout, outer_axes
from . import scalar
from .cpu_loops import Loops
from .cpu_panels import Panel, panels_of
from .cpu_products import product_text
from .cpu_text import combined, minus_one, product, total
from .cpu_turns import turned_text
from .keep import kept_value
from .scalar import identity, two_sum

LONG = 14  # operations an element of a function that is a chain: exp and all that is longer
OPERATIONS = {4: 80, 2: 200}  # at most, where a vector has so many registers
FOLDS = 2  # at most in one walk over the rows, each of which keeps up to three such vectors
MANY = 16  # lanes of processors that have twice the registers


def emit_cpu(kernel: Kernel, lanes: int) -> str:
    """The source of `kernel`: one function over (buffers, dims, status, tid, nth)."""
    return _Emitter(kernel, lanes).source()


def width(kernel: Kernel, lanes: int) -> int:
    """The elements of the vectors that a kernel goes by: `lanes`, or several times as many.

    So it is in plain loops over formulas that are long, but not so long that registers are too few,
    as each operation then has independent ones beside it; and where rows are folded into one, so
    that more of a row is read before the next, which often lies in another page. Not where rows
    would end in a vector with little in it, nor where only a call knows how long they are, except
    behind a product: at most twice as many. Half as many of 8 bytes.
    """
    if lanes != MANY or not all(map(_is_plain, kernel.body)):
        return lanes
    flops = [TABLE[item.op].flops for item in kernel.body if isinstance(item, Compute)]
    stage = kernel.stages()
    walks = Counter(stage[item.result] for item in kernel.body if isinstance(item, Reduce))
    folds = max(walks.values(), default=0)
    *outer, last = kernel.axes
    if last.role == "reduce" or folds > FOLDS or not (folds or max(flops, default=0) >= LONG):
        return lanes
    count = max((count for count, most in OPERATIONS.items() if sum(flops) <= most), default=1)
    product = any(isinstance(item, Contract) for item in kernel.body)
    count = min(count, 2) if product else count
    if any(argument.dtype.bytes == 8 for argument in kernel.arguments):
        count //= 2
    if isinstance(last.extent, str):
        return lanes * max(count, 1) if product or not outer else lanes
    while count > 1:
        needed, taken = -(-last.extent // lanes), -(-last.extent // (lanes * count)) * count
        if 8 * taken <= 9 * needed:
            return lanes * count
        count //= 2
    return lanes


def _is_plain(item: Instruction) -> bool:
    """Whether all lanes of it are neighbours in memory, or the same."""
    if isinstance(item, (Load, Store)):
        combines = isinstance(item, Store) and item.combine != ""
        return not (combines or item.access.terms) and item.access.strides[-1] in (0, 1)
    return isinstance(item, (Constant, Compute, Contract, Reduce))


def is_ranked(fold: Reduce) -> bool:
    """Whether what a fold has so far is kept as integers in the order of the numbers.

    The largest of integers is one instruction, where that of floats has to ask for nan and for
    the signs of zeros, each time before the next number can come.
    """
    return fold.combine in ("maximum", "minimum") and fold.dtype.is_float and not fold.dtype.is_half


def accumulator(fold: Reduce) -> str:
    """The name of what a fold has so far."""
    return f"{fold.result}_rank" if is_ranked(fold) else fold.result


class _Emitter(Loops):
    def __init__(self, kernel: Kernel, lanes: int) -> None:
        scatters = any(isinstance(item, Store) and item.combine for item in kernel.body)
        wide = width(kernel, lanes)
        super().__init__(kernel, wide, 1 if scatters else wide)
        self.registers = wide // lanes
        self.stage, self.full, self.level = kernel.stages(), kernel.full(), kernel.level()
        self.dtypes: dict[str, DType] = {a.name: a.dtype for a in kernel.arguments}
        for item in kernel.body:
            if isinstance(item, Index):
                self.dtypes[item.result] = scalar.INDEX
            elif not isinstance(item, Store):
                self.dtypes[item.result] = item.dtype
        self.past: list[str] = []
        self.panels: dict[Access, Panel] = {}
        self.kept = kept_value(kernel)
        self.reduced = [n for n, axis in enumerate(self.axes) if axis.role == "reduce"]
        self.last = len(self.axes) - 1
        self.vector_is_reduced = self.last in self.reduced

    def source(self) -> str:
        kernel = self.kernel
        self.lines.append(f"def {kernel.name}(buffers, dims, status, tid, nth):")
        if self.registers > 1:
            self.line(f"vectors({self.lanes})")
        for n, argument in enumerate(kernel.arguments):
            self.line(f"{argument.name} = {argument.dtype}_pointer(buffers, {n})")
        for n, parameter in enumerate(kernel.parameters):
            self.line(f"{parameter} = dims[{n}]")
        match layout(kernel):
            case "panels":
                product_text(self, next(i for i in kernel.body if isinstance(i, Contract)))
            case "squares":
                turned_text(self)
            case "blocks":
                self.blocks()
            case "rows" | "pieces":
                self.rows()
        return "\n".join(self.lines) + "\n"

    # --- loops

    def blocks(self) -> None:
        """The last axis is parallel."""
        *_, vector = self.axes
        outer = outer_axes(self.kernel)
        block = block_length(self.kernel, self.lanes // self.registers)
        self.past = self.stores_past()
        self.panels = panels_of(self.kernel, self.lanes, self.dtypes)
        last = {panel.memory: panel for panel in self.panels.values()}
        for name, panel in last.items():
            size = panel.start + panel.length * self.lanes
            self.line(f"{name} = {panel.dtype.short}_inside({size})")
        single = isinstance(vector.extent, int) and vector.extent <= block
        if not single:
            self.line(f"blocks = ({vector.extent} + {block - 1}) // {block}")
        self.share(product(*(axis.extent for axis in outer), 1 if single else "blocks"))
        if outer:
            self.line("o = u" if single else "o = u // blocks")
            self.unravel(outer, "o")
        for axis in inner_axes(self.kernel):
            self.begin(f"for {axis.name} in range(0, {axis.extent}):")
        if single:
            self.vectors(vector.name, 0, vector.extent)
        else:
            self.line(f"start = u % blocks * {block}")
            self.line(f"end = min(start + {block}, {vector.extent})")
            self.vectors(vector.name, "start", "end")
        if self.panels:
            end = vector.extent if single else "end"
            self.line(f"count = min({end} - {vector.name}, {self.lanes})")
        self.turn(into=True)
        self.stages([self.axes[n] for n in self.reduced])
        self.turn(into=False)
        if self.past:
            self.depth = 1
            self.line(f"fence({' | '.join(f'{name}_past' for name in self.past)})")

    def turn(self, into: bool) -> None:
        """Fill the panels that are read, or put back what was written to panels."""
        for access, panel in self.panels.items():
            if not (panel.is_read if into else panel.is_written):
                continue
            here = f"offset({panel.memory}, {panel.start})" if panel.start else panel.memory
            there = f"offset({access.argument}, {self.address(access, self.reduced)})"
            name, row = "rows_into" if into else "rows_out", access.strides[self.last]
            self.line(f"{name}({here}, {there}, {row}, {panel.length}, count)")

    def stores_past(self) -> list[str]:
        """The outputs that go past the caches where they are large, as lines of the kernel say.

        A plain store reads a line first that it then writes over.  Not where axes are reduced,
        whose inputs are more than the results, nor where a vector does not fill a register.
        """
        kernel = self.kernel
        moved = sum(a.dtype.bytes for a in kernel.arguments)
        extents = [axis.extent for axis in self.axes]
        known = [size for size in extents if isinstance(size, int)]
        small = len(known) == len(extents) and prod(known) * moved < CACHED
        if self.reduced or small or (isinstance(extents[-1], int) and extents[-1] < self.lanes):
            return []
        inputs = [a.name for a in kernel.arguments if not a.is_output]
        found: list[str] = []
        for argument in kernel.arguments:
            stores = kernel.stores(argument.name)
            plain = all(not s.combine and not s.access.terms for s in stores)
            if argument.is_output and argument.dtype.bits >= 32 and plain:
                if all(s.access.strides[-1] == 1 for s in stores):
                    names = ", ".join([argument.name, *inputs])
                    self.line(
                        f"{argument.name}_past = is_past({product(*extents, moved)}, {names})"
                    )
                    found.append(argument.name)
        return found

    def rows(self) -> None:
        """The last axis is reduced."""
        outer, chunk = outer_axes(self.kernel), self.kernel.chunk
        if chunk:
            first = self.axes[0]
            self.share(f"({first.extent} + {chunk - 1}) // {chunk}")
        else:
            self.share(product(*(axis.extent for axis in outer)))
            if outer:
                self.line("o = u")
                self.unravel(outer, "o")
        self.stages([self.axes[n] for n in self.reduced])

    def stages(self, loops: Sequence[Axis]) -> None:
        """The body: values of the row, then a walk over the reduced axes, and so on."""
        body = self.kernel.body
        count = max([0, *self.stage.values()])
        for stage in range(count + 1):
            for item in body:
                if not isinstance(item, (Store, Reduce, Contract)) and not self.full[item.result]:
                    if self.stage[item.result] == stage:
                        self.instruction(item)
            stores = [item for item in body if isinstance(item, Store) and self.at(item) == stage]
            if not loops:
                for item in stores:
                    self.instruction(item)
                continue
            for item in stores:
                if not self.inside(item):
                    self.instruction(item)
            folds = [
                item
                for item in body
                if isinstance(item, Reduce) and self.stage[item.result] == stage + 1
            ]
            inner = [item for item in stores if self.inside(item)]
            if folds or inner or any(self.is_checked(item, stage) for item in body):
                self.walk(loops, stage, folds, inner)

    def walk(
        self, loops: Sequence[Axis], stage: int, folds: Sequence[Reduce], stores: Sequence[Store]
    ) -> None:
        """One walk over the reduced axes: what `folds` and `stores` need, again if need be."""
        for fold in folds:
            start = identity(fold)
            start = f"rank_{fold.combine}({start})" if is_ranked(fold) else start
            self.line(f"{accumulator(fold)} = {start}")
        long = [fold for fold in folds if self.kernel.compensates(fold)]
        for fold in long:
            self.line(f"{fold.result}_lost = {identity(fold)}")
        needed = {fold.operand for fold in folds} | {store.operand for store in stores}
        for store in stores:
            needed |= {term.value for term in store.access.terms}
        chosen: list[Instruction] = []
        for item in reversed(self.kernel.body):
            if isinstance(item, (Store, Reduce, Contract)) or not self.full[item.result]:
                continue
            kept = self.kept if self.kept and item.result == self.kept.value else None
            if kept and stage > kept.stage and item.result in needed:
                chosen.append(Load(kept.value, kept.access, self.dtypes[kept.value]))
            elif item.result in needed or self.is_checked(item, stage):
                chosen.append(item)
                if isinstance(item, (Compute, Running)):
                    needed |= set(item.operands)
                elif isinstance(item, Load):
                    needed |= {term.value for term in item.access.terms}
        for item in reversed(chosen):
            if isinstance(item, Running):
                self.line(f"{item.result} = {identity(item)}")
        depth = inside = self.depth
        for place in self.few_places(loops, long):
            if place:
                for axis, index in zip(loops, place, strict=True):
                    self.line(f"{axis.name} = {index}")
            else:
                inside = self.reduction_loops(loops, long)
            self.visit(stage, chosen, folds, long, stores)
        self.depth = inside
        for fold in long:
            for line in two_sum(fold.result, f"{fold.result}_block", identity(fold)):
                self.line(line, fold.loc)
        self.depth = depth
        for fold in folds:
            value = accumulator(fold)
            if self.vector_is_reduced:
                value = f"reduce_{fold.combine}({value})"
            if is_ranked(fold):
                value = f"ranked({value})"
            if value != fold.result:
                self.line(f"{fold.result} = {value}")

    def visit(
        self,
        stage: int,
        chosen: Sequence[Instruction],
        folds: Sequence[Reduce],
        long: Sequence[Reduce],
        stores: Sequence[Store],
    ) -> None:
        """What a walk does at one place: `chosen`, last things first, folds and stores."""
        for item in reversed(chosen):
            self.instruction(item, check=self.stage[item.result] == stage)  # type: ignore[union-attr]
        for fold in folds:
            value = fold.operand
            if self.vector_is_reduced:
                value = f"where(m, {value}, {identity(fold)})"
            if is_ranked(fold):
                value = f"rank_{fold.combine}({value})"
            place = f"{fold.result}_block" if fold in long else accumulator(fold)
            self.line(f"{place} = {combined(fold.combine, place, value)}", fold.loc)
        if self.kept and stage == self.kept.stage:
            self.instruction(Store(self.kept.access, self.kept.value))
        for store in stores:
            self.instruction(store)

    def is_checked(self, item: Instruction, stage: int) -> bool:
        """Whether the walk of `stage` must compute `item`, whoever reads it: it may fail."""
        if not isinstance(item, Compute) or not item.check or not self.full[item.result]:
            return False
        return self.stage[item.result] == stage

    def at(self, store: Store) -> int:
        """The stage of a store: that of what it waits for."""
        values = [store.operand, *(term.value for term in store.access.terms)]
        return max(self.stage[value] for value in values)

    def inside(self, store: Store) -> bool:
        """Whether a store happens at every index of the reduced axes."""
        return store.combine != "" or any(store.access.strides[n] != 0 for n in self.reduced)

    # --- instructions

    def address(self, access: Access, without: Sequence[int] = ()) -> str:
        """Of an element, or of the first one along the axes `without` which it is given."""
        terms = [
            product(axis.name, stride)
            for n, (axis, stride) in enumerate(zip(self.axes, access.strides, strict=True))
            if stride != 0 and n not in without
        ]
        return total(str(access.offset), *terms)

    def panel_place(self, panel: Panel) -> str:
        """Where a panel has what the lanes need at the present index of the reduced axis."""
        (across,) = self.reduced
        return total(str(panel.start), product(self.axes[across].name, self.lanes))

    def vector_index(self, access: Access) -> tuple[str, str]:
        """Element numbers as a vector, and the mask that also knows empty buffers."""
        stride = access.strides[self.last]
        text = f"index({self.address(access)}, {stride})"
        mask = "m"
        for term in access.terms:
            wide = self.dtypes[term.value] == scalar.INDEX
            value = term.value if wide else f"i64({term.value})"
            value = f"minimum(maximum({value}, i64(0)), i64({minus_one(term.extent)}))"
            text += f" + {value} * i64({term.stride})"
            if not isinstance(term.extent, int) or term.extent == 0:
                mask += f" & lanes({product(term.extent, self.lanes)})"
        return text, mask

    def instruction(self, item: Instruction, check: bool = True) -> None:
        match item:
            case Load(result, access, _):
                self.line(f"{result} = {self.load(access, self.full[result])}")
            case Index(result, strides, _):
                access = Access("", strides, item.offset)
                self.line(f"{result} = index({self.address(access)}, {strides[self.last]})")
            case Constant():
                self.line(f"{item.result} = {scalar.constant(item)}")
            case Compute():
                text = f"{item.result} = {scalar.expression(item, self.dtypes)}"
                if item.check and check:
                    good = scalar.condition(item, self.dtypes)
                    mask = "m & " if self.full[item.result] or not self.vector_is_reduced else ""
                    bad = f"{mask}~({good})"
                    value = scalar.reported(item)
                    value = value if self.dtypes[value] == int64 else f"word({value})"
                    self.line(f"fail(status, {item.check}, {value}, {bad})", item.loc)
                self.line(text, item.loc)
            case Running(result, combine, operands):
                joined = combined(combine, result, *operands)
                if self.vector_is_reduced:
                    joined = f"running_{combine}({', '.join([result, *operands])})"
                self.line(f"{result} = {joined}", item.loc)
            case Store():
                self.store(item)
            case Reduce() | Contract():
                raise AssertionError("handled by the loops")

    def far(self) -> str:
        """How the names end of accesses to what caches may not hold, in loops that have two masks
        (`vector_memory.py`); not in a product, which has asked for its blocks."""
        return "" if self.tail == "0" or layout(self.kernel) == "panels" else "_far"

    def load(self, access: Access, full: bool) -> str:
        argument, stride = access.argument, access.strides[self.last]
        one = self.vector_is_reduced and not full  # one value for the row
        if access.terms:
            index, mask = self.vector_index(access)
            if one:
                mask = mask.replace("m", "all_lanes()", 1)
            elif stride == 1 and self.level.issuperset(t.value for t in access.terms):
                return f"load({argument}, first_lane({index}), {mask})"
            return f"gather({argument}, {index}, {mask})"
        panel = self.panels.get(access)
        if panel is not None:
            return f"load({panel.memory}, {self.panel_place(panel)}, m)"
        address = self.address(access)
        if stride == 0 or one:
            return f"broadcast({argument}, {address})"
        if stride == 1:
            return f"load{self.far()}({argument}, {address}, m)"
        return f"load_strided({argument}, {address}, {stride}, m)"

    def store(self, item: Store) -> None:
        access, operand = item.access, item.operand
        argument, stride = access.argument, access.strides[self.last]
        if item.combine or access.terms:
            index, mask = self.vector_index(access)
            self.line(f"place = {index}")
            value = operand
            if item.combine not in ("", "last"):
                value = combined(item.combine, f"gather({argument}, place, {mask})", operand)
            if item.check and self.dtypes[operand].is_float:
                self.line(f"total = {value}")
                value = "total"
                self.line(f"fail(status, {item.check}, word(total), {mask} & ~isfinite(total))")
            self.line(f"scatter({argument}, place, {value}, {mask})")
            return
        panel = self.panels.get(access)
        if panel is not None:
            self.line(f"store({panel.memory}, {self.panel_place(panel)}, {operand}, m)")
            return
        address = self.address(access)
        if self.kernel.chunk and not any(access.strides):
            address = total(address, "u")
        if stride == 0:
            self.line(f"store_one({argument}, {address}, {operand})")
        elif argument in self.past:
            self.line(
                f"store_past({argument}, {address}, {operand}, m, {argument}_past > {self.tail})"
            )
        elif stride == 1:
            self.line(f"store{self.far()}({argument}, {address}, {operand}, m)")
        else:
            self.line(f"store_strided({argument}, {address}, {stride}, {operand}, m)")
