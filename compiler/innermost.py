"""Sums over images whose channels lie innermost in memory: they are added up as they lie.

A product over windows leaves the channels last, and what follows is in that order too, by
`orders.py`.  The gradient by a bias sums that over everything but the channels, which the graph
sees in front: vectors along the last axis would be gathered from far apart.  So such a sum is told
here, in the graph, to go along the channels: over each image, and then over the batch.  The order
of additions is thereby part of the graph, and no bit depends on what a kernel fuses or reads.
"""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.loc import located
from ..ir.op import TABLE
from ..ir.ops.build import apply
from ..ir.ops.shape import inverse, only_ones_differ, permute
from ..ir.tensor import Node, Tensor
from .walk import remake

_SAME = ("slice", "flip", "after", "broadcast_to")  # views of the same axes


def innermost(graph: Graph) -> Graph:
    """sum(x over all but c) -> sum(sum(x with c last)) where c lies innermost; in regions too.

    Each region on its own: how values lie that come into it, it does not see.
    """
    axis_of: dict[Tensor, int] = {}
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = remake(node, mapping, innermost)
        if node.op.name == "sum":
            axis = _axis(axis_of, node.operands[0])
            with located(node.loc):
                made = _along(made, axis)
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
        if len(node.results) == 1:
            found = _innermost(node, axis_of)
            if found is not None:
                axis_of[node.results[0]] = found
    return graph.map(mapping) if mapping else graph


def _along(node: Node, axis: int) -> Node:
    """The sum, in vectors along `axis` if that is kept and its last axis is not."""
    (x,), axes = node.operands, node.attrs["axes"]
    long = [i for i, size in enumerate(x.shape) if size != 1]
    summed = [i for i in long if i in axes]
    if not summed or axis in axes or x.shape[axis] == 1 or long[-1] not in axes:
        return node
    order = (*[i for i in range(x.ndim) if i != axis], axis)
    made = permute(x, axes=order)
    for group in (summed[1:], summed[:1]):
        if group:
            places = tuple(sorted(order.index(i) for i in group))
            made = apply(TABLE["sum"], [made], axes=places)
    return permute(made, axes=inverse(order)).node


def _axis(axis_of: dict[Tensor, int], x: Tensor) -> int:
    return axis_of.get(x, x.ndim - 1)


def _innermost(node: Node, axis_of: dict[Tensor, int]) -> int | None:
    """The axis of a node's result that lies innermost in memory, where that is not the last."""
    (result,) = node.results
    last = result.ndim - 1
    found: int | None = None
    match node.op.kind:
        case "elementwise":
            for operand in node.operands:
                if operand in axis_of and operand.shape == result.shape:
                    found = axis_of[operand]
        case "gather" | "reduction" if result.ndim == node.operands[0].ndim:
            axes: tuple[int, ...] = node.attrs.get("axes", ())
            found = axis_of.get(node.operands[0])
            found = None if found in axes else found
        case "view" | "order":
            found = _seen(node, _axis(axis_of, node.operands[0]))
        case _:
            pass
    return None if found is None or found == last else found


def _seen(node: Node, axis: int) -> int | None:
    """The place of the innermost axis of a view's operand in the view."""
    (x, *_), (result,) = node.operands, node.results
    if x.ndim == 0:
        return None
    if node.op.name == "permute":
        axes: tuple[int, ...] = node.attrs["axes"]
        return axes.index(axis)
    if node.op.name == "reshape":
        if not only_ones_differ(x.shape, result.shape) or x.shape[axis] == 1:
            return None
        rank = sum(size != 1 for size in x.shape[:axis])
        return [i for i, size in enumerate(result.shape) if size != 1][rank]
    if node.op.name == "windows":
        counts: tuple[object, ...] = node.attrs["counts"]
        return axis if axis < x.ndim - len(counts) else None
    return axis if node.op.name in _SAME and result.ndim == x.ndim else None
