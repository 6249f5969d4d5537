"""Parts: what a concat puts behind one another is written there by the kernels that make it.

A part's kernel stores to a slice of the concat's buffer through that slice's strides, and nothing
is left to copy.  Others may read the part there while they come before the concat does: so its
memory is free, or can be written over, as soon as nothing reads the concat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..ir.dims import DimLike, Shape
from ..ir.graph import Graph
from ..ir.op import View
from ..ir.ops.control import FUSED
from ..ir.ops.shape import inverse, reshape
from ..ir.tensor import Node, Tensor
from .carries import root
from .storage import Lowering, Stored, dense, right_sides


def parts_in_place(
    state: Lowering, graph: Graph, nodes: Sequence[Node], wanted: dict[Tensor, Stored]
) -> dict[Tensor, Stored]:
    """`wanted`, and where parts of concats among `nodes`, which run in this order, are to go."""
    concats = [node for node in nodes if node.op.kind == "concat"]
    if not concats:
        return wanted
    wanted = dict(wanted)
    when = {node: i for i, node in enumerate(nodes)}
    for node in reversed(concats):  # one may be a part of another
        (result,) = node.results
        if result in state.at_once:
            continue
        target = wanted.get(result)
        at = dense(result.type) if target is None else target.view
        for part, place in slices(node, at):
            made = _made(part)
            taken = made in wanted or made in state.overwritten or made.node not in when
            if taken or not _stores_anywhere(made):
                continue
            view = _as_made(part, made, place)
            if view is None or not _may_lie(graph, made, view, node, when):
                continue
            if target is None:
                target = wanted[result] = state.temporary(result.type)
                state.origins[target.buffer] = result
            wanted[made] = Stored(target.buffer, view)
    return wanted


def slices(node: Node, view: View) -> Iterator[tuple[Tensor, View]]:
    """The parts of a concat but for empty ones, and how each lies where the whole lies so."""
    axis: int = node.attrs["axis"]
    start: DimLike = 0
    for part in node.operands:
        if part.size != 0:
            yield part, View(view.strides, view.offset + start * view.strides[axis])
        start = start + part.shape[axis]


def lies_at(there: Stored, place: Stored, shape: Shape) -> bool:
    """Whether two places of an array of that shape are one."""
    if (there.buffer, there.view.offset) != (place.buffer, place.view.offset):
        return False
    strides = zip(shape, there.view.strides, place.view.strides, strict=True)
    return all(size == 1 or a == b for size, a, b in strides)


def _stores_anywhere(made: Tensor) -> bool:
    """Whether what makes the tensor can store it with any strides."""
    node = made.node
    if node.op is FUSED:  # pieces of a sum are counted by the kernel itself
        return "chunk" not in node.regions[0].outputs[made.index].node.attrs
    return node.op.kind == "concat"


def _made(part: Tensor) -> Tensor:
    """What a part was before its axes were put in another order, joined or parted."""
    while part.node.op.name in ("reshape", "permute"):
        part = part.node.operands[0]
    return part


def _as_made(part: Tensor, made: Tensor, place: View) -> View | None:
    """The view of `made` by which `part`, the same numbers in another shape, lies at `place`."""
    while part is not made:
        node = part.node
        (before,) = node.operands
        if node.op.name == "permute":
            strides = tuple(place.strides[axis] for axis in inverse(node.attrs["axes"]))
            place = View(strides, place.offset)
        else:
            origin = root(part)
            before = origin if origin.shape == part.shape else before  # there and back
            back = reshape(part, before.shape).node
            if before.shape != part.shape:
                seen = None if back.op.view is None else back.op.view(back, place)
                if seen is None:
                    return None
                place = seen
        part = before
    return place


def _may_lie(
    graph: Graph, made: Tensor, view: View, concat: Node, when: Mapping[Node, int]
) -> bool:
    """Whether all others that read `made` come before the concat, and can read it as `view`."""
    reached = [(made, view)]
    for tensor, lies in reached:
        if tensor in graph.results_set:
            return False
        for user in graph.users.get(tensor, ()):
            if user.op.kind == "view":
                assert user.op.view is not None
                seen = user.op.view(user, lies)
                if seen is None:
                    return False
                reached.append((user.results[0], seen))
            elif user is concat:
                continue
            elif when.get(user, when[concat]) >= when[concat]:
                return False
            elif user.op is FUSED:
                right = any(tensor is other for other in right_sides(user))
                if right and lies.strides[-1] != 1:
                    return False
            elif user.op.kind not in ("concat", "scatter"):
                return False
    return True
