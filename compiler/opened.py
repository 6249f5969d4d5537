"""Opened: the way that a derivative takes through functions of ``checkpoint``.

Reverse mode has to add the same cotangents in the same order, be a function a checkpoint or not:
else their sum has other bits.  So it walks the graph in which every such function stands in its
place, what is computed twice counts as one, and ``after(x)`` is x: that of the plain function.
Only the values that its rules read are taken from elsewhere: those inside of a checkpoint from a
copy of the function, of its arguments as they are *after* the first cotangent that comes there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..ir.graph import rebuild, topological
from ..ir.op import MaybeTensors
from ..ir.ops.checkpoint import after
from ..ir.tensor import Node, Tensor
from .cse import APART, node_key


def opens(node: Node) -> bool:
    """Whether the node is a function that is computed again: of no argument, there is none."""
    return node.op.name == "checkpoint" and node.groups[0] > 0


class _Copy:
    """The function of a checkpoint, computed again as soon as it is read; in another's, perhaps."""

    def __init__(self, node: Node, outer: _Copy | None) -> None:
        self.node, self.outer = node, outer
        self.values: dict[Tensor, Tensor] = {}

    def made(self, node: Node, seeds: Sequence[Tensor]) -> Node:
        """The copy of a node of the function, which does not start before `seeds` are there."""
        if not self.values:
            again = self.node if self.outer is None else self.outer.made(self.node, seeds)
            count, region = self.node.groups[0], self.node.regions[0]
            inputs = [after(x, *seeds) for x in again.operands[:count]]
            inputs += again.operands[count:]
            self.values = rebuild(region.nodes, dict(zip(region.inputs, inputs, strict=True)))
        result = node.results[0]
        return self.values.get(result, result).node


class Opened:
    """The graph of `outputs` as the derivative by `wrt` goes through it.

    outputs, wrt: the same there.
    """

    def __init__(self, outputs: Sequence[Tensor], wrt: Iterable[Tensor]) -> None:
        self._asked = set(wrt)
        self._known: dict[Any, Node] = {}
        self._homes: dict[Node, tuple[Node, _Copy | None]] = {}
        order, mapping = topological(outputs), dict[Tensor, Tensor]()
        if any(opens(node) or node.op.name == "after" for node in order):
            self._open(order, mapping, None)
        self.outputs = [mapping.get(tensor, tensor) for tensor in outputs]
        self.wrt = [mapping.get(tensor, tensor) for tensor in wrt]

    def read(self, node: Node, cotangents: MaybeTensors) -> Node:
        """Whose values the rule of `node` is to read, where these cotangents arrive."""
        source, copy = self._homes.get(node, (node, None))
        return (
            source if copy is None else copy.made(source, [t for t in cotangents if t is not None])
        )

    def _open(
        self, nodes: Iterable[Node], mapping: dict[Tensor, Tensor], copy: _Copy | None
    ) -> None:
        for node in nodes:
            operands = [mapping.get(operand, operand) for operand in node.operands]
            results: Sequence[Tensor]
            alone = node.op.name in APART or not self._asked.isdisjoint(node.results)
            if opens(node) and not alone:
                region = node.regions[0]
                inner = dict(zip(region.inputs, operands, strict=True))
                self._open(region.nodes, inner, _Copy(node, copy))
                results = [inner.get(output, output) for output in region.outputs]
            elif node.op.name == "after" and not alone:
                results = operands[:1]
            else:
                results = self._once(node, operands, alone, copy).results
            mapping.update(zip(node.results, results, strict=True))

    def _once(self, node: Node, operands: list[Tensor], alone: bool, copy: _Copy | None) -> Node:
        """The node over `operands`, or an equal one; its values are those outside, if there are."""
        made = node.remake(operands)
        key = node_key(node, operands, node.regions)
        found = None if alone else self._known.get(key)
        if found is None or (made is node and self._homes[found] == (found, None)):
            self._homes[made] = node, copy
            if not alone:
                self._known[key] = made
            return made
        if copy is None and self._homes[found][1] is not None:
            self._homes[found] = node, None
        return found
