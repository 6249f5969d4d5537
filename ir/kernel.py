"""The Kernel language: one fused walk over an index space, in scalar operations.

A kernel has axes; each is parallel or reduced.  Its body is a list of instructions in order of
computation: affine loads, scalar operations (rows of the op table), reductions over all reduced
axes, stores.  A value that does not depend on a reduction is computed at every index; one that
does, only once per index of the parallel axes, or again at every index where it meets values of
the full space: the *stage* of an instruction is the number of reductions it waits for, and every
stage walks the reduced axes again.  Running values walk the one reduced axis in order, and have a
value at every index of it.

Sizes and strides are integers or the kernel's own parameters ``d0``, ``d1``…, which a launch
supplies; so one kernel serves every batch size, and equal work elsewhere is an equal kernel.

    kernel add_tanh(a0: f32, a1: f32, a2: out f32; d0) over i: parallel d0, j: parallel 10 {
      v0 = load a0[10*i + j] : f32
      v1 = load a1[j] : f32
      v2 = add v0, v1 : f32    @ digits.py:12
      v3 = tanh v2 : f32    @ digits.py:12
      store a2[10*i + j] = v3
    }

CPU and CUDA source are both made from this form.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .dtypes import DType
from .loc import Loc

Size = int | str  # a number, or a parameter of the kernel
SHORT = 256  # terms up to which a float32 sum keeps its digits as it is
BLOCK = 16  # terms of a long one that are added up plainly
Role = Literal["parallel", "reduce"]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of the index space."""

    name: str
    extent: Size
    role: Role


@dataclass(frozen=True, slots=True)
class Argument:
    """A buffer: its dtype, and whether the kernel writes it."""

    name: str
    dtype: DType
    is_output: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """A computed part of an address: value · stride, the value clamped to [0, extent)."""

    value: str
    stride: Size
    extent: Size


@dataclass(frozen=True, slots=True)
class Access:
    """An element of a buffer: offset + Σ axis · stride + Σ terms, counted in elements."""

    argument: str
    strides: tuple[Size, ...]
    offset: Size = 0
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """result = buffer[access]"""

    result: str
    access: Access
    dtype: DType


@dataclass(frozen=True, slots=True)
class Index:
    """result = offset + Σ axis · stride, int64"""

    result: str
    strides: tuple[Size, ...]
    offset: Size = 0


@dataclass(frozen=True, slots=True)
class Constant:
    """result = a number, or a parameter of the kernel"""

    result: str
    value: bool | int | float | str
    dtype: DType


@dataclass(frozen=True, slots=True)
class Compute:
    """result = op(operands), an entry of the op table with a scalar expression.

    check: the number under which a failed condition of the op is reported; 0 where it has none.
    """

    result: str
    op: str
    operands: tuple[str, ...]
    dtype: DType
    attrs: tuple[tuple[str, Any], ...] = ()
    check: Size = 0
    loc: Loc = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Reduce:
    """result = operand folded over all reduced axes by `combine`, from `identity` on"""

    result: str
    combine: str
    operand: str
    dtype: DType
    identity: str
    loc: Loc = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Running:
    """result = combine(result one index before, *operands), in order along the one reduced axis.

    Before the first index stands `identity`.
    """

    result: str
    combine: str
    operands: tuple[str, ...]
    dtype: DType
    identity: str
    loc: Loc = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Runs:
    """Which steps the rows of a walk take: each group of `group` rows those in its own runs.

    table: an argument of int64.  Its line of 1 + 2 · most numbers for group g holds the next group
    that takes other steps, then where each run of steps begins and ends, in units of `unit` steps;
    runs that there are not are empty.  So windows that reach over an image's edge read nothing
    there, and what would be multiplied by the zeros around it is left out.
    """

    table: str
    most: Size
    group: Size
    unit: Size


@dataclass(frozen=True, slots=True)
class Walk:
    """How a contraction finds lhs[i, k] where no strides say it: at
    rows[i] + steps[k mod period] + ⌊k / period⌋ · stride, behind where the access starts.

    rows, steps: arguments of int64, offsets in elements.  So windows over an image are the rows
    of a product, and are laid out nowhere.
    runs: of the steps that are taken at all, where these are not the same for all rows.
    """

    rows: str
    steps: str
    period: Size
    stride: Size
    runs: Runs | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """result[i, j] = Σₖ lhs[i, k] · rhs[k, j] over the last two (parallel) axes i and j.

    The strides of `lhs` and `rhs` are per axis; that of their own axis in place of j, or i, is
    the stride along k.  rhs has unit stride along j or along k.  The sum stands in `scratch`, in
    an output argument and of unit stride along j, before the rest of the body reads it; None: it
    stays inside.

    walk: where lhs[i, k] is, if its strides along i and k, then 0, do not say it.
    panel_stride: where rhs is a matrix in panels, each all the rows of w columns, which are
    PANEL_ROW bytes, the elements from one panel to the next.  Behind where the access starts,
    rhs[k, j] is ⌊j / w⌋ · panel_stride + k · w + j mod w; the strides of rhs are w and 1.  Behind
    the last column anything may stand.  Else 0.
    initial: what each sum starts from in place of 0, of unit stride along j.  It is read before
    the sum is stored, and so may be the same memory.
    """

    result: str
    lhs: Access
    rhs: Access
    depth: Size
    scratch: Access | None
    dtype: DType
    initial: Access | None = None
    walk: Walk | None = None
    panel_stride: Size = 0
    loc: Loc = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Store:
    """buffer[access] = operand.

    combine: a scalar operation (add, maximum, minimum) of what stands there and the operand; or
    ``last``, which takes the operand.  With any of these the reduced axes go in order.
    check: the number under which a float that this makes is reported if it is not finite, or 0.
    """

    access: Access
    operand: str
    combine: str = ""
    check: Size = 0


Instruction = Load | Index | Constant | Compute | Reduce | Running | Contract | Store


@dataclass(frozen=True, slots=True, repr=False)
class Kernel:
    """See the module.  chunk: the first axis, reduced, is split into pieces of that length, and
    each gives one result; 0 where it is not split.  source: the text a backend made of it."""

    name: str
    arguments: tuple[Argument, ...]
    parameters: tuple[str, ...]
    axes: tuple[Axis, ...]
    body: tuple[Instruction, ...]
    chunk: int = 0
    source: str = field(default="", compare=False)

    def with_source(self, source: str) -> Kernel:
        return replace(self, source=source)

    @property
    def key(self) -> Kernel:
        """The kernel without its name, with constants as text: equal for equal work.

        As numbers 0.0 and -0.0 would be equal, and nan would not be.
        """
        body = tuple(
            replace(item, value=repr(item.value)) if isinstance(item, Constant) else item
            for item in self.body
        )
        return replace(self, name="", body=body)

    def stages(self) -> dict[str, int]:
        """The number of reductions that each value waits for.  A Reduce result is one later."""
        stage: dict[str, int] = {}
        for instruction in self.body:
            match instruction:
                case Load(result=result, access=access):
                    stage[result] = max((stage[t.value] for t in access.terms), default=0)
                case Index(result=result) | Constant(result=result) | Contract(result=result):
                    stage[result] = 0
                case (
                    Compute(result=result, operands=operands)
                    | Running(result=result, operands=operands)
                ):
                    stage[result] = max((stage[name] for name in operands), default=0)
                case Reduce(result=result, operand=operand):
                    stage[result] = stage[operand] + 1
                case Store():
                    pass
        return stage

    def full(self) -> dict[str, bool]:
        """Whether each value varies along the reduced axes (and must be computed inside them)."""
        reduced = [n for n, axis in enumerate(self.axes) if axis.role == "reduce"]
        full: dict[str, bool] = {}
        for instruction in self.body:
            match instruction:
                case Load(result=result, access=access):
                    own = any(access.strides[n] != 0 for n in reduced)
                    full[result] = own or any(full[t.value] for t in access.terms)
                case Index(result=result, strides=strides):
                    full[result] = any(strides[n] != 0 for n in reduced)
                case Compute(result=result, operands=operands):
                    full[result] = any(full[name] for name in operands)
                case Running(result=result):
                    full[result] = True
                case Constant(result=result) | Reduce(result=result) | Contract(result=result):
                    full[result] = False
                case Store():
                    pass
        return full

    def level(self) -> set[str]:
        """The values that are the same all along the last axis."""
        found: set[str] = set()
        for item in self.body:
            match item:
                case Constant(result=result):
                    found.add(result)
                case Index(result=result, strides=strides):
                    found |= {result} if strides[-1] == 0 else set()
                case Load(result=result, access=access):
                    still = access.strides[-1] == 0 and found.issuperset(
                        term.value for term in access.terms
                    )
                    found |= {result} if still else set()
                case Compute(result=result, operands=operands):
                    found |= {result} if found.issuperset(operands) else set()
                case _:
                    pass
        return found

    def compensates(self, fold: Reduce) -> bool:
        """Whether a sum carries along what its additions round off.

        So where float32 sums may be long.  What s + x loses is itself a float, found in six
        operations (Knuth's two-sum, TAOCP 4.2.2); added to the next term, it keeps the relative
        error of a sum of positive terms at a few roundings, however many there are (Kahan, CACM 8,
        1965).  A backend may add up to BLOCK terms plainly before each such step.
        """
        if fold.combine != "add" or not fold.dtype.is_float or fold.dtype.bits > 32:
            return False
        terms = 1
        for n, axis in enumerate(self.axes):
            size = axis.extent
            if axis.role == "reduce":
                if n == 0 and self.chunk:
                    size = min(self.chunk, size) if isinstance(size, int) else self.chunk
                if isinstance(size, str):
                    return True
                terms *= size
        return terms > SHORT

    def stores(self, argument: str) -> list[Store]:
        """The stores to one argument."""
        return [
            item
            for item in self.body
            if isinstance(item, Store) and item.access.argument == argument
        ]

    def may_overwrite(self, output: str, inputs: Collection[str]) -> bool:
        """Whether `output` may be the same memory as `inputs`.

        So where each element is stored once, by whoever read the old one, and not before the
        last walk over the reduced axes, which would read it again.  What is not loaded element by
        element, such as a table, may not be written over, nor may anything by a chunk of a sum,
        which stores where the next chunks may load.
        """
        stores, known = self.stores(output), set[str]()
        for item in self.body:
            if isinstance(item, Load):
                known.add(item.access.argument)
            elif isinstance(item, Contract) and item.initial is not None:
                known.add(item.initial.argument)
        if self.chunk or not known.issuperset(inputs):
            return False
        for item in self.body:
            if isinstance(item, Contract):
                if {item.lhs.argument, item.rhs.argument} & {output, *inputs}:
                    return False
                if item.initial is not None and item.initial.argument in {output, *inputs}:
                    return self._adds_in_place(item, output, inputs)
                if item.scratch is not None and item.scratch.argument == output:
                    return not inputs
        if len(stores) != 1:
            return not stores and not inputs
        (store,) = stores
        walked = [(axis, s) for axis, s in zip(self.axes, store.access.strides, strict=True)]
        moving = {axis.role: set[bool]() for axis in self.axes}
        for axis, stride in walked:
            if axis.extent != 1:
                moving[axis.role].add(stride != 0)
        once = moving.get("parallel", set()) <= {True} and len(moving.get("reduce", set())) <= 1
        if store.combine or store.access.terms or not once:
            return False
        stage, full = self.stages(), self.full()
        last = max([0, *stage.values()])
        for item in self.body:
            if isinstance(item, Load) and item.access.argument in inputs:
                same = item.access.strides == store.access.strides and not item.access.terms
                early = full[item.result] and stage[store.operand] < last
                if not same or item.access.offset != store.access.offset or early:
                    return False
        return True

    def _adds_in_place(self, item: Contract, output: str, inputs: Collection[str]) -> bool:
        """Whether a contraction alone reads `inputs`, where it then puts its sums: in `output`."""
        assert item.initial is not None
        if item.scratch is None:
            return False
        whole = len(self.axes) == 2 and item.initial.offset == item.scratch.offset
        for axis, before, behind in zip(
            self.axes, item.initial.strides, item.scratch.strides, strict=True
        ):
            whole = whole and (before == behind or axis.extent == 1)
        read = {other.access.argument for other in self.body if isinstance(other, Load)}
        sole = item.scratch.argument == output and not self.stores(output)
        return whole and sole and read.isdisjoint(inputs)

    def __repr__(self) -> str:
        return f"<kernel {self.name}: {len(self.body)} instructions>"

    def __str__(self) -> str:
        from .kernel_text import print_kernel

        return print_kernel(self)
