"""Masks of positions that kernels would store are data of the program.

A mask such as where windows lie within an image depends on positions and sizes alone.  Where it
takes more operations than memory does, no kernel makes it again (`recompute.py`): some would only
compute it, in each call the same.  If its sizes are numbers and it is small, it is computed now.
Only integers and bools are: the bits of these do not depend on who computes them.
"""

from __future__ import annotations

from math import prod
from typing import Any, cast

from ..ir.dims import Dim
from ..ir.graph import Graph
from ..ir.interpret import run_graph
from ..ir.loc import located
from ..ir.ops.build import constant
from ..ir.tensor import Node, Tensor
from .recompute import is_number, made_where_read

LARGEST = 1 << 14  # elements


def masks(graph: Graph) -> Graph:
    """The graph with constants for what is made of positions, is stored and is small."""
    known: set[Node] = set()
    for node in graph.nodes:
        if is_number(node) or node.op.name == "iota" or _is_exact(node, known):
            if not any(map(_is_symbolic, (node.results[0].shape, *node.attrs.values()))):
                known.add(node)
    inline = made_where_read(graph)
    stored = [node.results[0] for node in graph.nodes if _is_stored(graph, node, known, inline)]
    if not stored:
        return graph
    values = run_graph(Graph("masks", [], stored), (), {})
    mapping: dict[Tensor, Tensor] = {}
    for tensor, value in zip(stored, values, strict=True):
        with located(tensor.node.loc):
            mapping[tensor] = constant(value)
    for node in graph.nodes:
        if node not in known:
            made = node.remake([mapping.get(operand, operand) for operand in node.operands])
            if made is not node:
                mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping)


def _is_symbolic(value: Any) -> bool:
    """Whether a size in the attribute is only known at a call."""
    if isinstance(value, tuple):
        return any(map(_is_symbolic, cast("tuple[Any, ...]", value)))
    return isinstance(value, Dim)


def _is_exact(node: Node, known: set[Node]) -> bool:
    """Whether the node is made of known values, and of integers alone."""
    if node.op.kind != "elementwise" and node.op.name != "reshape":
        return False
    exact = not any(t.dtype.is_float for t in (*node.results, *node.operands))
    return exact and not node.op.check and all(t.node in known for t in node.operands)


def _is_stored(graph: Graph, node: Node, known: set[Node], inline: frozenset[Node]) -> bool:
    """Whether others than what is known too read the node's value, from memory."""
    value = node.results[0]
    if node not in known or node in inline or node.op.name == "constant":
        return False
    others = [user for user in graph.users.get(value, ()) if user not in known]
    size = prod(size for size in value.shape if isinstance(size, int))
    return size <= LARGEST and (bool(others) or value in graph.results_set)
