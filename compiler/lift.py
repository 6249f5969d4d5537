"""Lift: move reshapes that only add or drop axes of size 1 above element-wise ops.

They then stand at memory, where they are free, and no longer part what one kernel could compute.
For the same reason one moves behind what a loop adds a sum over some axes to.
"""

from __future__ import annotations

from ..ir.dims import Shape
from ..ir.graph import Graph
from ..ir.loc import located
from ..ir.ops.build import apply
from ..ir.ops.create import iota
from ..ir.ops.shape import moved_ones, only_ones_differ, reshape
from ..ir.tensor import Node, Tensor
from .walk import remake


def lift(graph: Graph) -> Graph:
    """reshape(f(x, y)) -> f(reshape(x), reshape(y)) where nothing else reads f(x, y).

    Positions in another shape are positions, made where they are read.
    """
    wanted = _wanted(graph)
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        operands = [mapping.get(operand, operand) for operand in node.operands]
        shape = wanted.get(node)
        if shape is not None:
            before = node.results[0].shape
            with located(node.loc):
                moved = [
                    operand if was.node in wanted else _moved(operand, before, shape)
                    for was, operand in zip(node.operands, operands, strict=True)
                ]
                mapping[node.results[0]] = apply(node.op, moved, **node.attrs)
        elif node.op.name == "reshape" and operands[0].shape == node.results[0].shape:
            mapping[node.results[0]] = operands[0]
        elif node.op.name == "reshape" and _are_positions(operands[0], node.results[0].shape):
            with located(node.loc):
                mapping[node.results[0]] = _reshaped(operands[0], node.results[0].shape)
        else:
            made = remake(node, mapping, lambda region: lift(_with_sums(region)))
            if made is not node:
                mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping) if mapping else graph


def _with_sums(region: Graph) -> Graph:
    """f(t, reshape(sum(x))) -> reshape(f(reshape(t), sum(x))) for an input t and a result of the
    region, such as a sum that a loop carries: one kernel adds up a step and adds that to t.

    Not outside of loops: a parameter's new value waits for all else, and so would what is summed.
    """
    mapping: dict[Tensor, Tensor] = {}
    for output in dict.fromkeys(region.outputs):
        node, shape = output.node, output.shape
        if node.op.kind != "elementwise" or output in region.users:
            continue
        sums = [t for t in node.operands if _is_own_sum(region, t) and t.shape == shape]
        if len(sums) != 1:
            continue
        rest = [t for t in node.operands if t is not sums[0] and t.shape != ()]
        if not rest or any(t.node.op.name != "input" for t in rest):
            continue
        (total,) = sums[0].node.operands
        with located(node.loc):
            moved = [
                total if t is sums[0] else _moved(t, shape, total.shape) for t in node.operands
            ]
            mapping[output] = reshape(apply(node.op, moved, **node.attrs), shape)
    return region.map(mapping) if mapping else region


def _is_own_sum(region: Graph, tensor: Tensor) -> bool:
    """Whether the tensor is a reduction without its axes, and nothing else reads either."""
    node = tensor.node
    if node.op.name != "reshape" or not only_ones_differ(node.operands[0].shape, tensor.shape):
        return False
    alone = all(
        len(region.users[t]) == 1 and t not in region.results_set
        for t in (tensor, node.operands[0])
    )
    return alone and node.operands[0].node.op.kind == "reduction"


def _are_positions(x: Tensor, shape: Shape) -> bool:
    """Whether x in that shape is the index along an axis still."""
    if x.node.op.name != "iota":
        return False
    axis: int = x.node.attrs["axis"]
    return x.shape[axis] != 1 and only_ones_differ(x.shape, shape)


def _reshaped(x: Tensor, shape: Shape) -> Tensor:
    """x with axes of size 1 added or dropped; of positions, positions."""
    if not _are_positions(x, shape):
        return reshape(x, shape)
    place = sum(size != 1 for size in x.shape[: x.node.attrs["axis"]])
    return iota(shape=shape, axis=[i for i, size in enumerate(shape) if size != 1][place])


def _moved(operand: Tensor, before: Shape, after: Shape) -> Tensor:
    """An operand that broadcasts to `before` as one that broadcasts to `after` alike; a number as
    itself."""
    if operand.shape in ((), after):
        return operand
    return _reshaped(operand, moved_ones(operand.shape, before, after))


def _wanted(graph: Graph) -> dict[Node, Shape]:
    """The shape in which to compute an element-wise node instead of its own: its only reader's.

    Where that broadcasts, it is the shape that broadcasts to the reader's.
    """
    at_memory: set[Node] = set()  # of arrays and positions: nothing is parted from what feeds it
    for node in graph.nodes:
        if node.op.kind == "elementwise" and all(
            operand.shape == ()
            or operand.node.op.kind in ("leaf", "view")
            or operand.node.op.name == "iota"
            or operand.node in at_memory
            for operand in node.operands
        ):
            at_memory.add(node)
    wanted: dict[Node, Shape] = {}
    for node in reversed(graph.nodes):
        result = node.results[0]
        users = graph.users.get(result, ())
        if node not in at_memory or len(users) != 1 or result in graph.results_set:
            continue
        (user,) = users
        if user.op.name == "reshape" and only_ones_differ(result.shape, user.attrs["shape"]):
            wanted[node] = user.attrs["shape"]
        elif user in wanted and result.shape != ():
            wanted[node] = moved_ones(result.shape, user.results[0].shape, wanted[user])
    return wanted
