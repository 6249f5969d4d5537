"""Multiply-add: chosen here, before fusion, so that no later choice changes a bit of a result."""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.loc import located, merge
from ..ir.ops.arithmetic import fma
from ..ir.tensor import Node, Tensor
from .report import Report
from .walk import remake


def contract_fma(graph: Graph, report: list[Report] | None = None) -> Graph:
    """x·y + z, x·y − z and z − x·y of floats as one op where the product has no other use."""
    results = set(graph.results)
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        contracted = None
        for position, operand in enumerate(node.operands):
            if node.op.name not in ("add", "subtract") or not operand.dtype.is_float:
                break
            product = operand.node
            if product.op.name not in ("multiply", "square") or operand in results:
                continue
            once = len(graph.users[operand]) == 1 and node.operands[0] is not node.operands[1]
            if once and operand.shape == node.results[0].shape:
                contracted = _fma(node, position, mapping)
                break
        if contracted is not None:
            mapping[node.results[0]] = contracted
            if report is not None:
                report.append(Report("fma", node.op.name, contracted.node.loc))
            continue
        made = remake(node, mapping, lambda region: contract_fma(region, report))
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping) if mapping else graph


def _fma(node: Node, position: int, mapping: dict[Tensor, Tensor]) -> Tensor:
    product, other = node.operands[position].node, node.operands[1 - position]
    x, y = (mapping.get(t, t) for t in (product.operands[0], product.operands[-1]))
    z = mapping.get(other, other)
    with located(merge([node.loc, product.loc])):
        if node.op.name == "add":
            return fma(x, y, z)
        return fma(x, y, -z) if position == 0 else fma(-x, y, z)
