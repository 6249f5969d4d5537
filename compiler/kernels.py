"""Lower a fused group to a Kernel: axes, affine accesses, and scalar instructions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..ir.array import Array
from ..ir.dims import Dim, DimLike, Shape
from ..ir.dtypes import DType
from ..ir.graph import Graph
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
    Reduce,
    Role,
    Size,
    Store,
    Term,
)
from ..ir.op import View
from ..ir.shapes import broadcast, contiguous_strides
from ..ir.tensor import Node, Tensor
from .fuse import Space, space_of

Strides = tuple[DimLike, ...]


@dataclass(slots=True)
class Draft:
    """A kernel in the making: symbolic strides over the full index space, not yet collapsed.

    sources: what stands behind each input of the region.  checks: gives a failing condition its
    number.
    """

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

    def align(self, shape: Shape, strides: Strides) -> Strides:
        """Strides over the whole space of something that is right-aligned in it."""
        own = tuple(0 if n == 1 else stride for n, stride in zip(shape, strides, strict=True))
        return (*[0] * (len(self.shape) - len(own)), *own)


def space_of_region(region: Graph) -> Space:
    """The index space that all nodes of a region share."""
    spaces = [
        space_of(node) or Space(node.results[0].shape)
        for node in region.nodes
        if node.op.name not in ("constant", "dimension", "iota") or len(region.nodes) == 1
    ]
    return Space(
        broadcast([space.shape for space in spaces]),
        next((space.reduced for space in spaces if space.reduced is not None), None),
        max(space.chunk for space in spaces),
        next((space.contraction for space in spaces if space.contraction is not None), None),
    )


def build_kernel(
    region: Graph, sources: Sequence[View], check: Callable[[Node], int]
) -> tuple[Kernel, tuple[DimLike, ...], int | None]:
    """The kernel of a region.

    sources: how each input lies in its buffer.  Arguments are the inputs' buffers, then the
    outputs'.  Returns the kernel, the sizes that its parameters stand for, and the position of the
    output that a contraction uses as scratch; equal to the number of outputs where it needs
    one more buffer; None without contraction.
    """
    space = space_of_region(region)
    rank = len(space.shape)
    reduced = space.reduced or ()
    roles: list[Role] = ["reduce" if axis in reduced else "parallel" for axis in range(rank)]
    draft = Draft(space.shape, roles, space.chunk, check)
    inputs = {
        tensor: (draft.argument(tensor.dtype, False), view)
        for tensor, view in zip(region.inputs, sources, strict=True)
    }
    outputs = [draft.argument(tensor.dtype, True) for tensor in region.outputs]
    scratch: int | None = None
    if space.contraction is not None:
        (made,) = (n for n in region.nodes if n.op.kind == "contraction")
        product = made.results[0]
        same = [i for i, tensor in enumerate(region.outputs) if tensor.type == product.type]
        own = [i for i in same if region.outputs[i] is product]
        scratch = [*own, *same, len(outputs)][0]
        if scratch == len(outputs):
            outputs.append(draft.argument(product.dtype, True))
        name = outputs[scratch]
        _contract(draft, made, inputs, name)
    for node in region.nodes:
        _lower_node(draft, node, inputs)
    for position, (tensor, name) in enumerate(zip(region.outputs, outputs, strict=False)):
        if scratch == position and tensor.node.op.kind == "contraction":
            continue
        value = _operand(draft, tensor, inputs)
        strides: Strides = (0,) * rank
        if "chunk" not in tensor.node.attrs:  # else one a piece, which the kernel counts itself
            strides = draft.align(tensor.shape, contiguous_strides(tensor.shape))
        draft.body.append(Store(Access(name, strides), value))  # type: ignore[arg-type]
    kernel, sizes = finish(draft, _name(region))
    return kernel, sizes, scratch


def _name(region: Graph) -> str:
    names = [n.op.name for n in region.nodes if n.op.name not in ("constant", "dimension")]
    if len(names) > 3:
        names = [names[0], names[-2], names[-1]]
    return "_".join(names if len(names) > 1 else [*names, "kernel"])


Inputs = dict[Tensor, tuple[str, View]]


def _operand(draft: Draft, tensor: Tensor, inputs: Inputs) -> str:
    """The name of a tensor's value at the current index, loaded where it is an input."""
    if tensor not in draft.names:
        argument, view = inputs[tensor]
        access = Access(argument, draft.align(tensor.shape, view.strides), view.offset)  # type: ignore[arg-type]
        load = Load(draft.fresh(), access, tensor.dtype)
        draft.names[tensor] = draft.add(load, tensor.dtype)
    return draft.names[tensor]


def _lower_node(draft: Draft, node: Node, inputs: Inputs) -> None:
    op, (result, *_) = node.op, node.results
    if result in draft.names:
        return
    name = ""
    match op.kind:
        case "leaf":
            value = node.attrs.get("size")
            if isinstance(node.attrs.get("value"), Array):
                value = node.attrs["value"].values.item()
            made: Any = Constant(draft.fresh(), value, result.dtype)  # type: ignore[arg-type]
            name = draft.add(made, result.dtype)
        case "elementwise":
            operands = tuple(_operand(draft, operand, inputs) for operand in node.operands)
            if op.code == "x":
                name = operands[0]
            else:
                attrs = tuple((key, value) for key, value in node.attrs.items())
                number = draft.check(node) if op.check else 0
                made = Compute(
                    draft.fresh(), op.name, operands, result.dtype, attrs, number, node.loc
                )
                name = draft.add(made, result.dtype)
        case "reduction":
            operand = _operand(draft, node.operands[0], inputs)
            made = Reduce(
                draft.fresh(), op.combine, operand, result.dtype, op.identity, node.loc
            )
            name = draft.add(made, result.dtype)
        case "generator":
            name = _generator(draft, node, inputs)
        case "gather":
            name = _gather(draft, node, inputs)
        case _:
            raise AssertionError(f"{op.name} is no part of a kernel")
    draft.names[result] = name


def _generator(draft: Draft, node: Node, inputs: Inputs) -> str:
    from ..ir import dtypes as dt

    shape: Shape = node.attrs["shape"]
    if node.op.name == "iota":
        own = tuple(int(axis == node.attrs["axis"]) for axis in range(len(shape)))
        return draft.add(Index(draft.fresh(), draft.align(shape, own)), dt.int64)  # type: ignore[arg-type]
    strides = draft.align(shape, contiguous_strides(shape))
    index = draft.add(Index(draft.fresh(), strides), dt.int64)  # type: ignore[arg-type]
    key = node.operands[0]
    argument, view = inputs[key]
    batch = (*key.shape[:-1], *[1] * len(shape))
    lead = draft.align(batch, (*view.strides[:-1], *[0] * len(shape)))
    words: list[str] = []
    for word in range(2):
        access = Access(argument, lead, view.offset + word * view.strides[-1])  # type: ignore[arg-type]
        words.append(draft.add(Load(draft.fresh(), access, key.dtype), key.dtype))
    attrs = (("stream", node.attrs["stream"]),)
    made = Compute(
        draft.fresh(), node.op.name, (index, *words), node.results[0].dtype, attrs, 0, node.loc
    )
    return draft.add(made, node.results[0].dtype)


def _gather(draft: Draft, node: Node, inputs: Inputs) -> str:
    x, indices, axes = node.operands[0], node.operands[1:], node.attrs["axes"]
    argument, view = inputs[x]
    fixed = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    terms = tuple(
        Term(_operand(draft, index, inputs), view.strides[axis], x.shape[axis])  # type: ignore[arg-type]
        for index, axis in zip(indices, axes, strict=True)
    )
    access = Access(argument, draft.align(fixed, view.strides), view.offset, terms)  # type: ignore[arg-type]
    return draft.add(Load(draft.fresh(), access, x.dtype), x.dtype)


def _contract(draft: Draft, node: Node, inputs: Inputs, scratch: str) -> None:
    """Strides of lhs and rhs by axis of the result; the shared axis stands in the other's place."""
    x, y = node.operands
    (a, left), (b, right) = inputs[x], inputs[y]
    rank = len(draft.shape)

    def batch(tensor: Tensor, strides: Strides) -> Strides:
        lead = tuple(
            0 if n == 1 else stride
            for n, stride in zip(tensor.shape[:-2], strides[:-2], strict=True)
        )
        return (*[0] * (rank - 2 - len(lead)), *lead)

    lhs = Access(a, (*batch(x, left.strides), left.strides[-2], left.strides[-1]), left.offset)  # type: ignore[arg-type]
    rhs = Access(b, (*batch(y, right.strides), right.strides[-2], 1), right.offset)  # type: ignore[arg-type]
    result = node.results[0]
    made = Contract(draft.fresh(), lhs, rhs, x.shape[-1], scratch, result.dtype, node.loc)  # type: ignore[arg-type]
    draft.names[result] = draft.add(made, result.dtype)


# --- collapsing axes, and naming sizes ----------------------------------------------------------


def finish(draft: Draft, name: str) -> tuple[Kernel, tuple[DimLike, ...]]:
    """Collapse axes that every access walks as one, and give symbolic sizes parameter names."""
    keep = 2 if any(isinstance(item, Contract) for item in draft.body) else 0
    extents, roles, chunk, groups = _collapse(draft, keep)
    sizes: dict[DimLike, str] = {}

    def size(value: Any) -> Size:
        if isinstance(value, Dim):
            return sizes.setdefault(value, f"d{len(sizes)}")
        return value

    def number(check: Any) -> Size:
        """A check's number as a parameter too, so that equal work is an equal kernel."""
        return sizes.setdefault(check, f"d{len(sizes)}")

    def pick(strides: Any) -> tuple[Size, ...]:
        return tuple(size(strides[group[-1]] if group else 0) for group in groups)

    def access(item: Access) -> Access:
        terms = tuple(Term(t.value, size(t.stride), size(t.extent)) for t in item.terms)
        return Access(item.argument, pick(item.strides), size(item.offset), terms)

    axes = tuple(
        Axis("ijklmnpq"[n] if n < 8 else f"i{n}", size(extent), role)
        for n, (extent, role) in enumerate(zip(extents, roles, strict=True))
    )
    body: list[Instruction] = []
    for item in draft.body:
        match item:
            case Load():
                body.append(Load(item.result, access(item.access), item.dtype))
            case Index():
                body.append(Index(item.result, pick(item.strides), size(item.offset)))
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
                        number(item.check) if item.check else 0,
                        item.loc,
                    )
                )
            case Contract():
                lhs, rhs = access(item.lhs), access(item.rhs)
                body.append(
                    Contract(
                        item.result, lhs, rhs, size(item.depth), item.scratch, item.dtype, item.loc
                    )
                )
            case Store():
                body.append(Store(access(item.access), item.operand, item.accumulate))
            case _:
                body.append(item)
    kernel = Kernel(
        name, tuple(draft.arguments), tuple(sizes.values()), axes, tuple(body), chunk
    )
    return kernel, tuple(sizes)


def _walked(item: Any) -> list[Any]:
    """The strides of everything in an instruction that moves with the axes."""
    match item:
        case Load(access=access) | Store(access=access):
            return [access.strides]
        case Index(strides=strides):
            return [strides]
        case Contract(lhs=lhs, rhs=rhs):
            return [lhs.strides, rhs.strides]
        case _:
            return []


def _collapse(
    draft: Draft, keep: int
) -> tuple[list[DimLike], list[Role], int, list[list[int]]]:
    """Drop axes of size 1 and merge neighbours that all accesses walk as one.

    The last `keep` axes stay as they are.  Returns extents, roles, the chunk in the merged first
    axis, and the original axes of each.
    """
    walked = [strides for item in draft.body for strides in _walked(item)]
    rank = len(draft.shape)
    groups: list[list[int]] = []
    extents: list[DimLike] = []
    chunk = draft.chunk
    for axis in range(rank):
        extent = draft.shape[axis]
        fixed = axis >= rank - keep
        if extent == 1 and not fixed:
            continue
        if groups and not fixed:
            before = groups[-1][-1]
            same = draft.roles[before] == draft.roles[axis]
            joint = all(s[before] == s[axis] * extent for s in walked)
            splits = chunk and len(groups) == 1
            if same and joint and not (splits and not isinstance(extent, int)):
                if splits:
                    assert isinstance(extent, int)
                    chunk *= extent
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
    return extents, roles, chunk, groups
