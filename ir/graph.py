"""The Graph: typed nodes in one order, from inputs and parameters to outputs and updates.

A Graph is a closed, immutable view of the nodes that its outputs need: nodes that nothing needs
are not part of it.  Their order is fixed by the outputs alone (each node stands before its first
user, operands from left to right), so two graphs that compute the same nodes print the same text,
whatever passes they went through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from .dims import DimLike
from .loc import Loc
from .shapes import collect_equalities
from .tensor import Node, Tensor

LEAVES = ("input", "parameter")


class Constraint:
    """Two sizes that a call must find equal, and the lines that ask for it."""

    __slots__ = ("left", "loc", "right")

    def __init__(self, left: DimLike, right: DimLike, loc: Loc) -> None:
        self.left, self.right, self.loc = left, right, loc

    def __str__(self) -> str:
        return f"{self.left} == {self.right}"


class Graph:
    """inputs and parameters: leaf tensors; outputs: tensors; updates: (parameter, new value)."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        updates: Iterable[tuple[Tensor, Tensor]] = (),
        parameters: Sequence[Tensor] | None = None,
        constraints: Sequence[Constraint] | None = None,
    ) -> None:
        self.name = name
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.updates = tuple(updates)
        order = topological([*self.outputs, *(value for _, value in self.updates)])
        self.nodes = tuple(node for node in order if node.op.name not in LEAVES)
        if parameters is None:
            targets = [target for target, _ in self.updates]
            leaves = [node.results[0] for node in order if node.op.name == "parameter"]
            parameters = list(dict.fromkeys([*leaves, *targets]))
        self.parameters = tuple(parameters)
        known = {*self.inputs, *self.parameters}
        self.free = tuple(
            node.results[0]
            for node in order
            if node.op.name in LEAVES and node.results[0] not in known
        )
        self._constraints = None if constraints is None else tuple(constraints)

    @cached_property
    def constraints(self) -> tuple[Constraint, ...]:
        """The equalities of sizes that the type rules assumed, each once."""
        if self._constraints is not None:
            return self._constraints
        found: dict[str, Constraint] = {}
        for node in self.walk():
            with collect_equalities() as equalities:
                node.op.infer(node)
            for left, right in equalities:
                constraint = Constraint(left, right, node.loc)
                found.setdefault(str(constraint), constraint)
        return tuple(found.values())

    def replace(
        self,
        outputs: Sequence[Tensor],
        updates: Iterable[tuple[Tensor, Tensor]] | None = None,
    ) -> Graph:
        """The graph with other results over the same inputs, parameters and constraints."""
        changed = self.updates if updates is None else updates
        return Graph(self.name, self.inputs, outputs, changed, self.parameters, self.constraints)

    def map(self, mapping: Mapping[Tensor, Tensor]) -> Graph:
        """The graph with results looked up in `mapping` where they stand there."""
        return self.replace(
            [mapping.get(output, output) for output in self.outputs],
            [(target, mapping.get(value, value)) for target, value in self.updates],
        )

    @property
    def results(self) -> tuple[Tensor, ...]:
        """All tensors that must be computed: outputs, then new values of parameters."""
        return (*self.outputs, *(value for _, value in self.updates))

    @cached_property
    def results_set(self) -> frozenset[Tensor]:
        return frozenset(self.results)

    @cached_property
    def outputs_set(self) -> frozenset[Tensor]:
        return frozenset(self.outputs)

    @cached_property
    def users(self) -> dict[Tensor, list[Node]]:
        """The nodes that read each tensor, in order; one entry per node."""
        users: dict[Tensor, list[Node]] = {}
        for node in self.nodes:
            for operand in dict.fromkeys(node.operands):
                users.setdefault(operand, []).append(node)
        return users

    @cached_property
    def names(self) -> dict[Tensor, str]:
        """The printed name of every tensor, without the percent sign."""
        names: dict[Tensor, str] = {}
        taken: set[str] = set()
        for leaf in (*self.inputs, *self.parameters, *self.free):
            base = name = leaf.node.attrs["name"]
            count = 0
            while name in taken:
                count += 1
                name = f"{base}_{count}"
            taken.add(name)
            names[leaf] = name
        number = 0
        for node in self.nodes:
            for result in node.results:
                while str(number) in taken:
                    number += 1
                names[result] = str(number)
                number += 1
        return names

    def __str__(self) -> str:
        from .text import print_graph

        return print_graph(self)

    def __repr__(self) -> str:
        return f"<graph @{self.name}: {len(self.nodes)} nodes>"

    @cached_property
    def key(self) -> str:
        """The text without lines: equal for equal graphs."""
        from .text import print_graph

        return print_graph(self, locs=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def walk(self) -> Iterator[Node]:
        """All nodes, those of regions after the node that holds them."""
        for node in self.nodes:
            yield node
            for region in node.regions:
                yield from region.walk()


def topological(outputs: Sequence[Tensor], stop: Iterable[Node] = ()) -> list[Node]:
    """The nodes that `outputs` need, operands first; the walk does not pass beyond `stop`."""
    done: set[Node] = set(stop)
    order: list[Node] = []
    stack: list[tuple[Node, int]] = []
    for output in outputs:
        if output.node not in done:
            done.add(output.node)
            stack.append((output.node, 0))
        while stack:
            node, position = stack.pop()
            operands = node.operands
            while position < len(operands) and operands[position].node in done:
                position += 1
            if position < len(operands):
                child = operands[position].node
                stack.append((node, position + 1))
                done.add(child)
                stack.append((child, 0))
            else:
                order.append(node)
    return order


def between(outputs: Sequence[Tensor], wrt: Iterable[Tensor]) -> tuple[list[Node], set[Tensor]]:
    """The nodes on paths from `wrt` to `outputs`, in order, and the tensors that depend on wrt."""
    depends = set(wrt)
    path: list[Node] = []
    for node in topological(outputs):
        if any(operand in depends for operand in node.operands):
            path.append(node)
            depends.update(node.results)
    return path, depends


def rebuild(order: Iterable[Node], mapping: dict[Tensor, Tensor]) -> dict[Tensor, Tensor]:
    """Remake the nodes of `order` over `mapping`, extending it; the heart of most passes."""
    for node in order:
        made = node.remake([mapping.get(operand, operand) for operand in node.operands])
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return mapping


def inline(graph: Graph, arguments: Sequence[Tensor]) -> list[Tensor]:
    """The results of `graph` with its inputs replaced by `arguments`."""
    mapping = dict(zip(graph.inputs, arguments, strict=True))
    rebuild(graph.nodes, mapping)
    return [mapping.get(result, result) for result in graph.results]
