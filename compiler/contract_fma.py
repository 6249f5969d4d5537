"""Multiply-add: chosen here, before fusion, so that no later choice changes a bit of a result.

Of numbers wherever a product is added to something, whoever reads the product too: those then have
a multiplication of their own, for the addition that is gone.  If it went by readers, a function
that `checkpoint` computes again, where less is read, would give other bits than the first time.
For the same reason a product counts that comes from outside of the checkpoint:
``after(x·y, g) + z`` is ``after(x, g) · after(y, g) + z``.

Of matrices where the sum is to stand in place
of what the product is added to, which is a carry of a loop or a parameter, such as the gradient by
a weight that a backward loop adds up: the sums of the product then start at the old values and are
stored over them, in one pass over memory instead of three.  Elsewhere nothing is gained, since the
product's epilogue may add as well; and a product that may leave the loop (``hoist.py``) shall.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.graph import Graph
from ..ir.loc import located, merge
from ..ir.ops.arithmetic import fma
from ..ir.ops.checkpoint import after
from ..ir.ops.contraction import matmul_add
from ..ir.ops.scan import SCAN, Scan
from ..ir.ops.while_loop import WHILE
from ..ir.tensor import Node, Tensor
from .hoist import Known, when_known
from .report import Report
from .walk import remake


def contract_fma(
    graph: Graph, report: list[Report] | None = None, loop: Node | None = None
) -> Graph:
    """x·y + z, x·y − z and z − x·y of floats as one op, of two products with the first as x·y; and
    z + x @ y where it takes the place of z.

    loop: the scan or while whose region this graph is, if it is one.
    """
    replaces = _replaces(graph, loop)
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        contracted = _onto(graph, node, replaces, mapping)
        if contracted is None:
            contracted = _contracted(node, mapping)
        if contracted is not None:
            mapping[node.results[0]] = contracted
            if report is not None:
                report.append(Report("fma", node.op.name, contracted.node.loc))
            continue
        inner = node if node.op in (SCAN, WHILE) else None
        made = remake(node, mapping, lambda g, n=inner: contract_fma(g, report, n))
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping) if mapping else graph


def _replaces(graph: Graph, loop: Node | None) -> dict[Tensor, Tensor]:
    """New values of parameters and carries to the old ones, but those of a scan that are made of
    what is known before its step."""
    found = {new: old for old, new in graph.updates}
    if loop is not None:
        known = when_known(Scan(loop)) if loop.op is SCAN else {}
        for old, new in zip(graph.inputs[: loop.groups[0]], graph.outputs, strict=False):
            if all(known.get(x, Known.LATE) is Known.LATE for x in new.node.operands):
                found[new] = old
    return found


def _onto(
    graph: Graph, node: Node, replaces: Mapping[Tensor, Tensor], mapping: dict[Tensor, Tensor]
) -> Tensor | None:
    """z + x @ y where it takes the place of the matrix z, and the product has no other use."""
    old = replaces.get(node.results[0])
    if old is None or node.op.name != "add" or old.ndim != 2:
        return None
    x, y = node.operands
    product = y if x is old else x
    once = product.node.op.name == "matmul" and len(graph.users[product]) == 1
    if not once or product in graph.results_set or old.type != product.type:
        return None
    if (y if product is x else x) is not old:
        return None
    left, right = (mapping.get(operand, operand) for operand in product.node.operands)
    with located(merge([node.loc, product.node.loc])):
        return matmul_add(left, right, mapping.get(old, old))


def _contracted(node: Node, mapping: dict[Tensor, Tensor]) -> Tensor | None:
    if node.op.name not in ("add", "subtract") or not node.results[0].dtype.is_float:
        return None
    first, second = map(_before, node.operands)
    if first is second:
        return None
    for position, product in enumerate((first.node, second.node)):
        same_shape = product.results[0].shape == node.results[0].shape
        if product.op.name in ("multiply", "square") and same_shape:
            return _fma(node, position, product, mapping)
    return None


def _before(tensor: Tensor) -> Tensor:
    """What `tensor` has the values of, whatever it waits for."""
    while tensor.node.op.name == "after":
        tensor = tensor.node.operands[0]
    return tensor


def _fma(node: Node, position: int, product: Node, mapping: dict[Tensor, Tensor]) -> Tensor:
    x, y = (
        _since(mapping.get(t, t), node.operands[position], mapping)
        for t in (product.operands[0], product.operands[-1])
    )
    other = node.operands[1 - position]
    z = mapping.get(other, other)
    with located(merge([node.loc, product.loc])):
        if node.op.name == "add":
            return fma(x, y, z)
        return fma(x, y, -z) if position == 0 else fma(-x, y, z)


def _since(factor: Tensor, operand: Tensor, mapping: dict[Tensor, Tensor]) -> Tensor:
    """The factor of a product, once all is there that `operand` waits for."""
    while operand.node.op.name == "after":
        factor = after(factor, *(mapping.get(t, t) for t in operand.node.operands[1:]))
        operand = operand.node.operands[0]
    return factor
