"""Lower a fused group to a Kernel: axes, affine accesses, and scalar instructions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from ..ir.array import Array
from ..ir.dims import DimLike, Shape
from ..ir.dtypes import int64
from ..ir.graph import Graph
from ..ir.kernel import Access, Compute, Contract, Kernel, Reduce, Role, Running, Runs, Walk
from ..ir.op import View
from ..ir.shapes import broadcast, contiguous_strides
from ..ir.tensor import Node, Tensor
from .draft import Draft, Strides, finish
from .space import Space, space_of
from .storage import Walked


def space_of_region(region: Graph) -> Space:
    """The index space that all nodes of a region share."""
    made = ("constant", "dimension", "iota")  # at any index; alone they are stored
    computed = [node for node in region.nodes if node.op.name not in made]
    spaces = [space_of(node) or Space(node.results[0].shape) for node in computed or region.nodes]
    return Space(
        broadcast([space.shape for space in spaces]),
        next((space.reduced for space in spaces if space.reduced is not None), None),
        max(space.chunk for space in spaces),
        next((space.contraction for space in spaces if space.contraction is not None), None),
        any(space.ordered for space in spaces),
    )


def build_kernel(
    region: Graph,
    sources: Sequence[View],
    check: Callable[[Node], int],
    targets: Sequence[View | None] | None = None,
    walk: Walked | None = None,
    order: Sequence[int] | None = None,
    panel_stride: DimLike = 0,
) -> tuple[Kernel, tuple[DimLike, ...]]:
    """The kernel of a region.

    sources, targets: how each input and each output lies in its buffer; None: as all of it.
    walk: how its product finds its left side, if the strides of that do not say it.
    order: of the axes, if not their own.  panel_stride: of its right side, if that is in panels.
    Arguments are the inputs' buffers, a walk's tables, then the outputs'.  Returns the kernel and
    the sizes that its parameters stand for.
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
    count = 0 if walk is None else 2 if walk.runs is None else 3
    tables = [draft.argument(int64, False) for _ in range(count)]
    outputs = [draft.argument(tensor.dtype, True) for tensor in region.outputs]
    places = targets or [None] * len(outputs)
    left: int | None = None  # the output in which a product leaves its sums as they are
    if space.contraction is not None:
        (made,) = (n for n in region.nodes if n.op.kind == "contraction")
        for i, tensor in enumerate(region.outputs):
            if tensor is made.results[0] and left is None and _has_unit_rows(tensor, places[i]):
                left = i
        if left is None:
            _contract(draft, made, inputs)
        else:
            _contract(draft, made, inputs, outputs[left], places[left])
        draft.body[-1] = replace(draft.body[-1], panel_stride=panel_stride)
        if walk is not None:
            period, stride = cast(Any, (walk.period, walk.stride))
            found = Walk(tables[0], tables[1], period, stride)
            if walk.runs is not None:
                sizes = cast(Any, (walk.runs.most, walk.runs.group, walk.runs.unit))
                found = replace(found, runs=Runs(tables[2], *sizes))
            draft.body[-1] = replace(draft.body[-1], walk=found)
    for node in region.nodes:
        _lower_node(draft, node, inputs)
    for position, (tensor, name) in enumerate(zip(region.outputs, outputs, strict=True)):
        if left == position:
            continue
        value = _operand(draft, tensor, inputs)
        view = places[position] or View(contiguous_strides(tensor.shape), 0)
        if "chunk" in tensor.node.attrs:  # one a piece, which the kernel counts itself
            view = View((0,) * tensor.ndim, 0)
        draft.store(value, name, tensor.shape, view)
    if order is not None:
        draft.reorder(order)
    return finish(draft, _name(region))


def _name(region: Graph) -> str:
    names = [n.op.name for n in region.nodes if n.op.name not in ("constant", "dimension")]
    names = [name for name in names if name != "cast"] or names
    if len(names) > 3:
        names = [names[0], names[-2], names[-1]]
    return "_".join(names if len(names) > 1 else [*names, "kernel"])


Inputs = dict[Tensor, tuple[str, View]]


def _operand(draft: Draft, tensor: Tensor, inputs: Inputs) -> str:
    """The name of a tensor's value at the current index, loaded where it is an input."""
    if tensor not in draft.names:
        draft.names[tensor] = draft.load(tensor, *inputs[tensor])
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
            name = draft.constant(value, result.dtype)
        case "elementwise":
            operands = tuple(_operand(draft, operand, inputs) for operand in node.operands)
            if op.code == "x" and not op.check:
                name = operands[0]
            else:
                attrs = tuple((k, v) for k, v in node.attrs.items() if not isinstance(v, str))
                number = draft.check(node) if op.check else 0
                made: Any = Compute(
                    draft.fresh(), op.name, operands, result.dtype, attrs, number, node.loc
                )
                name = draft.add(made, result.dtype)
        case "reduction":
            operand = _operand(draft, node.operands[0], inputs)
            made = Reduce(draft.fresh(), op.combine, operand, result.dtype, op.identity, node.loc)
            name = draft.add(made, result.dtype)
        case "cumulative":
            operands = tuple(_operand(draft, operand, inputs) for operand in node.operands)
            if result.shape[node.attrs["axis"]] == 1:  # what follows the identity is the operand
                name = operands[-1]
            else:
                made = Running(
                    draft.fresh(), op.combine, operands, result.dtype, op.identity, node.loc
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
    shape: Shape = node.attrs["shape"]
    if node.op.name == "iota":
        own = tuple(int(axis == node.attrs["axis"]) for axis in range(len(shape)))
        return draft.index(draft.align(shape, own))
    index = draft.index(draft.align(shape, contiguous_strides(shape)))
    key = node.operands[0]
    argument, view = inputs[key]
    batch = (*key.shape[:-1], *[1] * len(shape))
    *lead, step = view.strides
    words = [
        draft.load(
            key, argument, View((*lead, *[0] * len(shape)), view.offset + word * step), shape=batch
        )
        for word in range(2)
    ]
    attrs = (("stream", node.attrs["stream"]), ("word", node.attrs["word"]))
    made = Compute(
        draft.fresh(), node.op.name, (index, *words), node.results[0].dtype, attrs, 0, node.loc
    )
    return draft.add(made, node.results[0].dtype)


def _gather(draft: Draft, node: Node, inputs: Inputs) -> str:
    x, *indices = node.operands
    axes: tuple[int, ...] = node.attrs["axes"]
    argument, view = inputs[x]
    fixed = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    terms = [
        (_operand(draft, index, inputs), view.strides[axis], x.shape[axis])
        for index, axis in zip(indices, axes, strict=True)
    ]
    return draft.load(x, argument, view, terms, fixed)


def _has_unit_rows(output: Tensor, view: View | None) -> bool:
    """Whether a product can leave its sums in an output that lies so; None: as all of a buffer."""
    return view is None or view.strides[-1] == 1 or output.shape[-1] == 1


def _contract(
    draft: Draft, node: Node, inputs: Inputs, out: str = "", view: View | None = None
) -> None:
    """Strides of lhs and rhs by axis of the result; the shared axis stands in the other's place.

    out: the argument that the sums go to, if to any; view: how they lie there, if not as all of it.
    """
    x, y, *totals = node.operands
    (a, left), (b, right) = inputs[x], inputs[y]
    rank = len(draft.shape)

    def batch(tensor: Tensor, strides: Strides) -> Strides:
        lead = tuple(
            0 if n == 1 else stride
            for n, stride in zip(tensor.shape[:-2], strides[:-2], strict=True)
        )
        return (*[0] * (rank - 2 - len(lead)), *lead)

    def access(argument: str, strides: Strides, offset: Any) -> Access:
        walked: Any = strides
        return Access(argument, walked, offset)

    lhs = access(a, (*batch(x, left.strides), *left.strides[-2:]), left.offset)
    column = 1 if y.shape[-1] == 1 else right.strides[-1]
    rhs = access(b, (*batch(y, right.strides), right.strides[-2], column), right.offset)
    result, depth = node.results[0], cast(Any, x.shape[-1])
    view = view or View(contiguous_strides(result.shape), 0)
    scratch = access(out, view.strides, view.offset) if out else None
    initial = None
    for total in totals:
        argument, view = inputs[total]
        initial = draft.access(argument, total.shape, view)
    made = Contract(draft.fresh(), lhs, rhs, depth, scratch, result.dtype, initial, loc=node.loc)
    draft.names[result] = draft.add(made, result.dtype)
