"""Axes that a sum keeps are dropped late: where values are stored, not between two ops.

A reduction keeps its axes as size 1; the reshape that drops them parts it from what is done with
the sum, such as ``p - 0.1 * reshape(sum(x))``.  In a kernel's index space the axes cost nothing, so
reshapes move down through what else is only read from memory, and the sum, its update, and all that
an optimiser does in between are one kernel.

That is done where it all ends in updates, or all in results.  A sum that others read too, such as
a norm that gradients are clipped by, is made apart: a kernel that makes what others wait for must
not write over a parameter.
"""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.loc import located
from ..ir.ops.build import apply
from ..ir.ops.shape import moved_ones, only_ones_differ, reshape
from ..ir.tensor import Node, Tensor


def late_axes(graph: Graph) -> Graph:
    """f(p, reshape(g)) -> reshape(f(reshape(p), g)) where g is made of sums, and p is in memory."""
    mapping: dict[Tensor, Tensor] = {}
    kept: dict[Tensor, Tensor] = {}  # what was reshaped: as it was before
    of_sums: set[Tensor] = set()  # what the kernel of a reduction computes, for one end
    shared: set[Tensor] = set()  # and for others
    at_memory = {*graph.inputs, *graph.parameters}
    ends = _ends(graph)
    for node in graph.nodes:
        made = node.remake([mapping.get(operand, operand) for operand in node.operands])
        result = made.results[0]
        match made.op.kind:
            case "leaf":
                at_memory.add(result)
            case "view":
                (operand, *_) = made.operands
                if operand in at_memory:
                    at_memory.add(result)
                if made.op.name == "reshape" and operand in of_sums:
                    if only_ones_differ(operand.shape, result.shape):
                        kept[result] = operand
            case "reduction":
                one_end = ends[node.results[0]] in ({"update"}, {"output"})
                (of_sums if one_end else shared).add(result)
            case "elementwise":
                whole = _whole(made, kept, at_memory)
                if whole is not None:
                    with located(made.loc):
                        result = reshape(whole, result.shape)
                    kept[result] = whole
                    of_sums.add(whole)
                    mapping[node.results[0]] = result
                    continue
                same = {t for t in made.operands if t.shape == result.shape}
                if same & shared:
                    shared.add(result)
                elif same & of_sums:
                    of_sums.add(result)
                elif all(t.shape == () or t in at_memory for t in made.operands):
                    if _has_one_reader(graph, node.results[0]):  # `lift` takes it along
                        at_memory.add(result)
            case _:
                pass
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping) if mapping else graph


def _ends(graph: Graph) -> dict[Tensor, set[str]]:
    """What each value comes to through element-wise ops and reshapes: update, output, other."""
    new_values = {value for _, value in graph.updates}
    ends: dict[Tensor, set[str]] = {}
    for node in reversed(graph.nodes):
        for result in node.results:
            found = {"update"} if result in new_values else set[str]()
            found |= {"output"} if result in graph.outputs_set else set[str]()
            for user in graph.users.get(result, ()):
                plain = user.op.kind == "elementwise" and not user.op.check
                goes_on = plain or user.op.name == "reshape"
                found |= ends[user.results[0]] if goes_on else {"other"}
            ends[result] = found
    return ends


def _has_one_reader(graph: Graph, tensor: Tensor) -> bool:
    return len(graph.users.get(tensor, ())) == 1 and tensor not in graph.results_set


def _whole(node: Node, kept: dict[Tensor, Tensor], at_memory: set[Tensor]) -> Tensor | None:
    """The node's result with the axes of its sums; None where it reads none, or anything else."""
    result = node.results[0]
    sums = [t for t in node.operands if t in kept and t.shape == result.shape]
    shapes = {kept[t].shape for t in sums}
    if node.op.check or len(shapes) != 1:
        return None
    shape = shapes.pop()
    operands: list[Tensor] = []
    for t in node.operands:
        if t in kept and t.shape == result.shape:
            operands.append(kept[t])
        elif t.shape == ():
            operands.append(t)
        elif t in at_memory:
            with located(node.loc):
                operands.append(reshape(t, moved_ones(t.shape, result.shape, shape)))
        else:
            return None
    with located(node.loc):
        return apply(node.op, operands, **node.attrs)
