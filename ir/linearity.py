"""Whether a graph is linear in some of its inputs, as far as its structure tells.

A rule of a custom derivative serves the other mode too, as its transpose, if it is linear in what
it takes first.  That is shown op by op.  A value that depends on the inputs is linear in them if
its op is linear in the operands that do, and no other operand adds anything: an element-wise op
whose partials by them do not depend on them, and which is 0 where they are 0; sums, views, products
with one factor that does not depend on them, and the like.  What is not shown counts as not linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np

from .graph import Graph, topological
from .loc import located, quote
from .ops.while_loop import loop_of
from .tensor import Node, Tensor

_ADDING = ("concat", "scatter_add", "scatter_set")  # linear in all operands of group 0 together
_RIGHT_SIDE = ("solve", "triangular_solve")  # linear in the second operand


def why_not_linear(graph: Graph, count: int, given: Sequence[Tensor] = ()) -> str:
    """The op and line where `graph` stops to be linear in its first `count` inputs, or "".

    given: tensors of the graph around, which the last inputs stand for.
    """
    last = graph.inputs[len(graph.inputs) - len(given) :]
    walk = _Walk(graph.inputs[:count], dict(zip(last, given, strict=True)))
    walk.follow(graph.nodes)
    for output in graph.outputs:
        if output in walk.otherwise:
            return walk.otherwise[output]
        if output not in walk.linear and not walk.is_zero(output):
            return f"{_told(walk.outer.get(output, output).node)}, which is not 0 where it is 0"
    return ""


def _told(node: Node) -> str:
    return f"{node.op.name} at {quote(node.loc)}"


class _Walk:
    """linear: tensors that are linear in the inputs.  otherwise: what depends on them in another
    way, with the reason.  outer: what stands for other inputs in the graph around."""

    def __init__(self, inputs: Iterable[Tensor], outer: dict[Tensor, Tensor]) -> None:
        self.linear: set[Tensor] = set(inputs)
        self.outer = outer
        self.otherwise: dict[Tensor, str] = {}

    def follow(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if any(t in self.linear or t in self.otherwise for t in node.operands):
                self.add(node)

    def is_zero(self, tensor: Tensor) -> bool:
        """Whether a tensor is seen to be 0 everywhere."""
        tensor = self.outer.get(tensor, tensor)
        while tensor.node.op.kind == "view" or tensor.node.op.name == "cast":
            tensor = self.outer.get(tensor.node.operands[0], tensor.node.operands[0])
        node = tensor.node
        return node.op.name == "constant" and not np.any(node.attrs["value"].values)

    def add(self, node: Node) -> None:
        """Say of each result of a node, which reads what depends on the inputs, how it does."""
        moving = [i for i, operand in enumerate(node.operands) if operand in self.linear]
        told = [self.otherwise[t] for t in node.operands if t in self.otherwise]
        if node.op.name == "checked":  # (condition, value) -> value
            told = [self.otherwise[t] for t in node.operands[1:] if t in self.otherwise]
        of_regions = {"scan": self._add_loop, "while_loop": self._add_loop}
        of_regions |= {"custom": self._add_custom, "switch": self._add_switch}
        if node.op.name in of_regions and not told:
            of_regions[node.op.name](node, moving)
        elif not told and self._is_linear(node, moving):
            self.linear.update(node.results)
        else:
            why = (told or [_told(node)])[0]
            self.otherwise.update(dict.fromkeys(node.results, why))

    def _is_linear(self, node: Node, moving: Sequence[int]) -> bool:
        op, operands = node.op, node.operands
        if op.kind == "request":
            return self._is_linear_request(node)
        if op.no_gradient or not node.results[0].dtype.is_float:
            return False
        if op.name == "checked":
            return True
        if op.kind == "elementwise":
            return self._constant_partials(node, moving) and self._is_zero_at_zero(node, moving)
        if op.name in _ADDING:
            return all(t in self.linear or self.is_zero(t) for t in node.group(0))
        if op.name in _RIGHT_SIDE:
            return operands[0] not in self.linear
        if op.name == "linear_recurrence":  # y[t] = a[t] · y[t - 1] + x[t]
            return operands[0] not in self.linear
        return len(moving) == 1 and moving[0] in op.linear

    def _constant_partials(self, node: Node, moving: Sequence[int]) -> bool:
        assert node.op.partials is not None
        with located(node.loc):
            partials: Sequence[Any] = node.op.partials(*node.operands, *node.results)
        depends = {*self.linear, *self.otherwise, *node.results}
        for partial in (partials[i] for i in moving):
            if partial is None:
                return False
            if isinstance(partial, Tensor):
                made = topological([partial])
                if any(not depends.isdisjoint(inner.results) for inner in made):
                    return False
        return True

    def _is_zero_at_zero(self, node: Node, moving: Sequence[int]) -> bool:
        """Whether an element-wise op is 0 where what moves is, whatever the others are."""
        choices: list[list[Any]] = []
        for i, operand in enumerate(node.operands):
            dtype = np.dtype("f4") if operand.dtype.is_float else operand.dtype.numpy
            values: list[Any] = [True, False] if operand.dtype.kind == "b" else [2, 3]
            values = [0] if i in moving or self.is_zero(operand) else values
            choices.append([np.asarray(value, dtype) for value in values])
        with np.errstate(all="ignore"):
            return all(not np.any(node.op.reference(*v, **node.attrs)) for v in product(*choices))

    def _is_linear_request(self, node: Node) -> bool:
        """A derivative is linear in its directions, and in what it is a derivative of."""
        outputs, wrt, given = node.group(0), node.group(1), node.group(2)
        if any(tensor in self.linear for tensor in wrt):
            return False
        first, second = outputs, given
        if not any(tensor in self.linear for tensor in first):
            first, second = given, outputs
        return all(t in self.linear or self.is_zero(t) for t in first) and not any(
            t in self.linear for t in second
        )

    def _add_custom(self, node: Node, moving: Sequence[int]) -> None:
        """The function must be linear, and what its own rules say too."""
        inner = self._inside(node.regions[0], node.operands, moving)
        self._copy(node.results, node.regions[0].outputs, inner)
        for kind, rule in zip(node.attrs["rules"], node.regions[1:], strict=True):
            taken = node.results if kind == "vjp" else node.group(0)
            blame = why_not_linear(rule, sum(tensor.dtype.is_float for tensor in taken))
            if blame:
                self.otherwise.update(dict.fromkeys(node.results, blame))

    def _add_loop(self, node: Node, moving: Sequence[int]) -> None:
        """Carries that start linear, or at 0, are taken to be linear until a step says otherwise.

        What turns out to be linear without having started so is shown to be neither; nor is
        anything where the end of the loop depends on what is linear.
        """
        loop = loop_of(node)
        body, count = loop.body, len(loop.carries)
        carried = body.outputs[:count]
        zero = {i for i, t in enumerate(loop.carries) if t.dtype.is_float and self.is_zero(t)}
        own = zero.union(moving)
        while True:
            inner = self._inside(body, loop.flow, sorted(own), count)
            stay = [t in inner.linear or inner.is_zero(t) for t in carried]
            constant = {i for i in own & zero if not stay[i]}
            if not constant:
                break
            own -= constant
        why = ""
        for i, after in enumerate(carried):
            if after in inner.otherwise or (i in own) != stay[i]:
                why = why or inner.otherwise.get(after) or f"carry {i} of {_told(node)}"
        if loop.proceed is not None and not why:
            asks = [place for place, i in enumerate(loop.asked) if i in own]
            asked = self._inside(loop.proceed, [loop.flow[i] for i in loop.asked], asks, count)
            why = next((asked.otherwise.get(t, "") for t in loop.proceed.outputs), "")
        if why:
            self.otherwise.update(dict.fromkeys(node.results, why))
            return
        self._copy(node.results, [*body.outputs, *body.inputs[:count]], inner)

    def _add_switch(self, node: Node, moving: Sequence[int]) -> None:
        """Linear is what each branch gives as something linear, or as 0."""
        given, inside = node.group(1), [i - 1 for i in moving]
        walks = [self._inside(branch, given, inside) for branch in node.regions]
        for i, result in enumerate(node.results):
            ways = [(walk, b.outputs[i]) for walk, b in zip(walks, node.regions, strict=True)]
            told = [walk.otherwise[t] for walk, t in ways if t in walk.otherwise]
            if not told and all(t in walk.linear or walk.is_zero(t) for walk, t in ways):
                self.linear.add(result)
            elif told or any(t in walk.linear for walk, t in ways):
                self.otherwise[result] = (told or [_told(node)])[0]

    def _inside(
        self, region: Graph, operands: Sequence[Tensor], moving: Sequence[int], own: int = 0
    ) -> _Walk:
        """A walk of a region; its first `own` inputs are what no operand is."""
        pairs = list(zip(region.inputs, operands, strict=True))[own:]
        outer = {inside: self.outer.get(outside, outside) for inside, outside in pairs}
        inner = _Walk((region.inputs[i] for i in moving), outer)
        inner.follow(region.nodes)
        return inner

    def _copy(self, results: Sequence[Tensor], inside: Sequence[Tensor], inner: _Walk) -> None:
        for result, value in zip(results, inside, strict=False):
            if value in inner.linear:
                self.linear.add(result)
            elif value in inner.otherwise:
                self.otherwise[result] = inner.otherwise[value]
