"""Derivative requests as passes see them."""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.tensor import Tensor


def asked_about(graph: Graph) -> set[Tensor]:
    """The tensors by which a derivative is asked for.

    They must stay the nodes that they are: another node of the same value is, to a derivative,
    another variable.
    """
    return {tensor for node in graph.nodes if node.op.kind == "request" for tensor in node.group(1)}


def has_requests(graph: Graph) -> bool:
    """Whether a derivative is still to be taken, in a region perhaps."""
    return any(node.op.kind == "request" for node in graph.walk())
