"""Lift: move reshapes that only add or drop axes of size 1 above element-wise ops.

They then stand at memory, where they are free, and no longer part what one kernel could compute.
Those behind sums move the other way, for the same reason (`late_axes.py`).
"""

from __future__ import annotations

from ..ir.dims import Shape
from ..ir.graph import Graph
from ..ir.loc import located
from ..ir.ops.build import apply
from ..ir.ops.create import iota
from ..ir.ops.shape import moved_ones, only_ones_differ, reshape
from ..ir.tensor import Node, Tensor
from .late_axes import late_axes
from .walk import remake


def lift(graph: Graph) -> Graph:
    """reshape(f(x, y)) -> f(reshape(x), reshape(y)) where nothing else reads f(x, y).

    Positions in another shape are positions, made where they are read.
    """
    graph = late_axes(graph)
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
            made = remake(node, mapping, lift)
            if made is not node:
                mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping) if mapping else graph


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
