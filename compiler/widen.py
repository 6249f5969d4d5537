"""Widen: arithmetic on float16 and bfloat16 becomes arithmetic on float32, in plain sight.

Halves are stored and moved; an op on them computes in float32 and is rounded once (see
``ir/half.py``).  Here that is written down as casts, ``f16(op(f32(x), …))``, so that kernels need
only load, store and cast halves, and what is computed does not depend on what is fused: the
rounding between two ops is a node, which no rule drops.  Composites are widened whole, before they
are expanded: a softmax is rounded once, at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.dtypes import float32
from ..ir.graph import Graph
from ..ir.half import computes_in_float32, wide_attributes
from ..ir.loc import located
from ..ir.op import MaybeTensors
from ..ir.ops.conversion import astype
from ..ir.tensor import Node, Tensor
from .walk import remake


def widen(graph: Graph) -> Graph:
    """f(x) -> cast(f(cast(x, f32)), f16) for each op that does more than move halves."""
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = remake(node, mapping, widen)
        results = made.results
        if computes_in_float32(made):
            with located(made.loc):
                results = tuple(as_before(in_float32(made).results, made.results))
        if results is not node.results:
            mapping.update(zip(node.results, results, strict=True))
    return graph.map(mapping) if mapping else graph


def wide(tensor: Tensor) -> Tensor:
    """A tensor of halves as float32; any other as it is."""
    return astype(tensor, float32) if tensor.dtype.is_half else tensor


def in_float32(node: Node) -> Node:
    """The node on its operands as float32."""
    made = {operand: wide(operand) for operand in node.operands}
    operands = [made[operand] for operand in node.operands]
    attrs = wide_attributes(node.attrs)
    return Node(node.op, operands, attrs, node.groups, node.regions, node.loc)


def rounded_once(made: Tensor, known: Sequence[Tensor]) -> Tensor:
    """`made`, of halves, computed in float32 from what there is: what `known` are made of."""
    there, pending = set(known), list(known)
    while pending:
        new = [operand for operand in pending.pop().node.operands if operand not in there]
        there.update(new)
        pending += new
    mapping: dict[Tensor, Tensor] = {}

    def widened(tensor: Tensor) -> Tensor:
        node = tensor.node
        if tensor not in mapping:
            if tensor in there or not node.operands:
                mapping[tensor] = wide(tensor)
            else:
                operands = [widened(operand) for operand in node.operands]
                attrs = wide_attributes(node.attrs)
                remade = Node(node.op, operands, attrs, node.groups, node.regions, node.loc)
                mapping.update(zip(node.results, remade.results, strict=True))
        return mapping[tensor]

    return astype(widened(made), made.dtype)


def as_before(values: MaybeTensors, before: Sequence[Tensor]) -> list[Any]:
    """The values that are of other dtypes than `before` rounded to those."""
    return [
        None if value is None else astype(value, tensor.dtype)
        for value, tensor in zip(values, before, strict=True)
    ]
