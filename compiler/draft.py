"""A kernel in the making: instructions over the full index space, with dimensions for sizes.

`finish` makes the Kernel of it: it merges axes that every access walks as one, and turns what is
symbolic, and where accesses start, into parameters of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..ir.dims import Dim, DimLike, Shape
from ..ir.dtypes import DType, int64
from ..ir.kernel import (
    Access,
    Argument,
    Axis,
    Compute,
    Constant,
    Contract,
    Index,
    Instruction,
    Kernel,
    Load,
    Role,
    Runs,
    Size,
    Store,
    Term,
)
from ..ir.op import View
from ..ir.tensor import Node, Tensor

SHORT = 64  # elements of an axis that is gone through in a few vectors
MANY_COLUMNS = 512  # of that many, sums save more time than their own kernel takes to compile

Strides = tuple[DimLike, ...]


@dataclass(slots=True)
class Draft:
    """shape, roles: the index space.  check: gives a failing condition its number."""

    shape: Shape
    roles: list[Role]
    chunk: int
    check: Callable[[Node], int]
    arguments: list[Argument] = field(default_factory=list[Argument])
    body: list[Any] = field(default_factory=list[Any])
    names: dict[Tensor, str] = field(default_factory=dict[Tensor, str])
    dtypes: dict[str, DType] = field(default_factory=dict[str, DType])

    def fresh(self) -> str:
        return f"v{len(self.dtypes)}"

    def add(self, instruction: Any, dtype: DType) -> str:
        self.body.append(instruction)
        self.dtypes[instruction.result] = dtype
        return instruction.result

    def argument(self, dtype: DType, is_output: bool) -> str:
        name = f"a{len(self.arguments)}"
        self.arguments.append(Argument(name, dtype, is_output))
        return name

    def access(
        self,
        argument: str,
        shape: Shape,
        view: View,
        terms: Sequence[tuple[str, DimLike, DimLike]] = (),
    ) -> Access:
        """An access whose sizes are dimensions still; `finish` gives them names.

        terms: value, stride and extent of each computed part.
        """
        strides: Any = self.align(shape, view.strides)
        offset: Any = view.offset
        made: list[Term] = []
        for value, stride, extent in terms:
            walked: Any = (stride, extent)
            made.append(Term(value, *walked))
        return Access(argument, strides, offset, tuple(made))

    def load(
        self,
        tensor: Tensor,
        argument: str,
        view: View,
        terms: Sequence[tuple[str, DimLike, DimLike]] = (),
        shape: Shape | None = None,
    ) -> str:
        """Load a tensor's element; its name.  shape: of the part that `view` walks, if not all."""
        access = self.access(argument, tensor.shape if shape is None else shape, view, terms)
        return self.add(Load(self.fresh(), access, tensor.dtype), tensor.dtype)

    def align(self, shape: Shape, strides: Strides) -> Strides:
        """Strides over the whole space of something that is right-aligned in it."""
        own = tuple(0 if n == 1 else stride for n, stride in zip(shape, strides, strict=True))
        return (*[0] * (len(self.shape) - len(own)), *own)

    def index(self, strides: Strides) -> str:
        """The position that `strides` count; its name."""
        walked: Any = strides
        return self.add(Index(self.fresh(), walked), int64)

    def store(
        self,
        operand: str,
        argument: str,
        shape: Shape,
        view: View,
        terms: Sequence[tuple[str, DimLike, DimLike]] = (),
        combine: str = "",
    ) -> None:
        """Store a value, or combine it with what stands there."""
        access = self.access(argument, shape, view, terms)
        self.body.append(Store(access, operand, combine))

    def constant(self, value: Any, dtype: DType) -> str:
        """A number, or a dimension; its name."""
        return self.add(Constant(self.fresh(), value, dtype), dtype)

    def reorder(self, order: Sequence[int]) -> None:
        """Walk the axes in another order."""

        def moved(item: Any) -> Any:
            match item:
                case Load(access=access) | Store(access=access):
                    strides = tuple(access.strides[axis] for axis in order)
                    return replace(item, access=replace(access, strides=strides))
                case Index(strides=strides):
                    return replace(item, strides=tuple(strides[axis] for axis in order))
                case _:
                    return item

        self.shape = tuple(self.shape[axis] for axis in order)
        self.roles = [self.roles[axis] for axis in order]
        self.body = [moved(item) for item in self.body]


# --- collapsing axes, and naming sizes ----------------------------------------------------------


def finish(draft: Draft, name: str) -> tuple[Kernel, tuple[DimLike, ...]]:
    """Collapse axes that every access walks as one, and make parameters: see `size`, `number`."""
    keep = 2 if any(isinstance(item, Contract) for item in draft.body) else 0
    extents, roles, groups = _collapse(draft, keep)
    parameters: list[DimLike] = []  # what d0, d1, … stand for
    names: dict[DimLike, Size] = {}

    def parameter(value: DimLike) -> Size:
        parameters.append(value)
        return f"d{len(parameters) - 1}"

    def named(value: DimLike) -> Size:
        """A parameter, the same one wherever the value stands."""
        if value not in names:
            names[value] = parameter(value)
        return names[value]

    def size(value: Any) -> Size:
        """An integer as it is, a symbolic size as a parameter."""
        return named(value) if isinstance(value, Dim) else value

    # Sums of columns differ in nothing but how many there are, products in nothing but sizes: of
    # which each side of a product has its own, though some may be equal.  Many columns are worth a
    # kernel of their own, as its vectors can be wider (`emit_cpu.py: width`).
    columns = len(roles) > 1 and roles[-1] == "parallel" and set(roles[:-1]) == {"reduce"}
    columns = columns and not (isinstance(extents[-1], int) and extents[-1] >= MANY_COLUMNS)

    # What only moves numbers is the same work whatever their places.
    moves = all(isinstance(item, (Load, Store, Constant)) for item in draft.body)

    def length(value: Any) -> Size:
        """An extent or stride; where kernels are equal but for it, a parameter in any case."""
        if value in (0, 1):
            return size(value)
        if moves:
            return parameter(value)
        return named(value) if keep or columns else size(value)

    def own(value: Any) -> Size:
        """An extent of a product, or a stride of its sides."""
        return size(value) if value in (0, 1) else parameter(value)

    def number(value: Any) -> Size:
        """Where an access starts, or the number of a check: a parameter of its own unless 0.

        So the same work on another part of an array, or elsewhere, is an equal kernel.
        """
        return 0 if value == 0 else parameter(value)

    def pick(strides: Any) -> tuple[Size, ...]:
        return tuple(length(strides[group[-1]] if group else 0) for group in groups)

    def side(item: Access) -> Access:
        strides = tuple(map(own, (item.strides[group[-1]] if group else 0 for group in groups)))
        return Access(item.argument, strides, number(item.offset))

    def access(item: Access) -> Access:
        terms = tuple(Term(t.value, length(t.stride), length(t.extent)) for t in item.terms)
        return Access(item.argument, pick(item.strides), number(item.offset), terms)

    # The same work on another number of elements is an equal kernel, where it is one flat walk.
    flat = roles == ["parallel"] and extents[0] not in (0, 1)
    extent = own if keep else length
    lengths = [parameter(extents[0])] if flat else list(map(extent, extents))
    if moves and not flat:  # the shape of the innermost loops is known where they are short
        inner = [
            e if isinstance(e, int) and e <= SHORT else d
            for e, d in zip(extents, lengths, strict=True)
        ]
        lengths[-2:] = inner[-2:]
    if columns:  # how long a sum is decides how it is added up
        lengths[:-1] = map(size, extents[:-1])
    letters = ["ijklpqrs"[n] if n < 8 else f"ax{n}" for n in range(len(roles))]  # m is the mask
    axes = tuple(
        Axis(letter, length, role)
        for letter, length, role in zip(letters, lengths, roles, strict=True)
    )
    body: list[Instruction] = []
    for item in draft.body:
        match item:
            case Load():
                body.append(Load(item.result, access(item.access), item.dtype))
            case Index():
                body.append(Index(item.result, pick(item.strides), number(item.offset)))
            case Constant():
                body.append(Constant(item.result, size(item.value), item.dtype))
            case Compute():
                attrs = tuple((key, size(value)) for key, value in item.attrs)
                body.append(
                    Compute(
                        item.result,
                        item.op,
                        item.operands,
                        item.dtype,
                        attrs,
                        number(item.check),
                        item.loc,
                    )
                )
            case Contract():
                initial = None if item.initial is None else access(item.initial)
                lhs, rhs, depth = side(item.lhs), side(item.rhs), own(item.depth)
                made = replace(item, lhs=lhs, rhs=rhs, depth=depth, initial=initial)
                made = replace(made, panel_stride=own(item.panel_stride))
                if item.scratch is not None:
                    made = replace(made, scratch=access(item.scratch))
                if item.walk is not None:
                    same = item.walk.period == item.depth
                    period = depth if same else own(item.walk.period)
                    walk = replace(item.walk, period=period, stride=own(item.walk.stride))
                    if (runs := walk.runs) is not None:
                        sizes = (own(runs.most), own(runs.group), own(runs.unit))
                        walk = replace(walk, runs=Runs(runs.table, *sizes))
                    made = replace(made, walk=walk)
                body.append(made)
            case Store():
                body.append(Store(access(item.access), item.operand, item.combine))
            case _:
                body.append(item)
    arguments, made = tuple(draft.arguments), tuple(f"d{n}" for n in range(len(parameters)))
    kernel = Kernel(name, arguments, made, axes, tuple(body), draft.chunk)
    return kernel, tuple(parameters)


def _walked(item: Any) -> list[Any]:
    """The strides of everything in an instruction that moves with the axes."""
    match item:
        case Load(access=access) | Store(access=access):
            return [access.strides]
        case Index(strides=strides):
            return [strides]
        case Contract(lhs=lhs, rhs=rhs, scratch=scratch, initial=initial):
            found = [access.strides for access in (lhs, scratch, initial) if access is not None]
            *batch, _, column = rhs.strides  # which no row moves
            return [*found, (*batch, 0, column)]
        case _:
            return []


def _has_plain_rows(item: Any) -> bool:
    """Whether the rows of a product's left side lie at strides, not where a table says."""
    return not isinstance(item, Contract) or item.walk is None


def _collapse(draft: Draft, keep: int) -> tuple[list[DimLike], list[Role], list[list[int]]]:
    """Drop axes of size 1 and merge parallel neighbours that all accesses walk as one.

    Of the last `keep` axes, those of a product, the rows may take a batch in, whose entries then
    are more rows of one product; else they stay as they are.  Reduced axes never merge: which lane
    adds which number would depend on what else the kernel holds.  Returns extents, roles, and the
    original axes of each.
    """
    walked = [strides for item in draft.body for strides in _walked(item)]
    rank = len(draft.shape)
    rows = rank - keep if keep and all(map(_has_plain_rows, draft.body)) else rank
    groups: list[list[int]] = []
    extents: list[DimLike] = []
    for axis in range(rank):
        extent = draft.shape[axis]
        fixed = axis >= rank - keep
        if extent == 1 and not fixed:
            continue
        if groups and (not fixed or axis == rows):
            before = groups[-1][-1]
            both = {draft.roles[before], draft.roles[axis]}
            if both == {"parallel"} and all(w[before] == w[axis] * extent for w in walked):
                groups[-1].append(axis)
                extents[-1] = extents[-1] * extent
                continue
        groups.append([axis])
        extents.append(extent)
    roles: list[Role] = [draft.roles[group[-1]] for group in groups]
    if "reduce" in draft.roles and "reduce" not in roles:  # something is folded, once
        groups, extents, roles = [[], *groups], [1, *extents], ["reduce", *roles]
    if not groups:
        groups, extents, roles = [[]], [1], ["parallel"]
    return extents, roles, groups
