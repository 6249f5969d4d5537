"""Borders: what kernels hand on through memory, and what their readers make again instead.

A kernel that reads y = f(z) of another may as well read z and apply f itself, where f is a few
element-wise operations: of ``tanh(sin(x @ w + b))``, whose derivative reads several values, only
the product is worth storing.  Each value that is read across a border is stored and loaded, or made
again by each reader from others, which in turn are stored or made again.  Both have a price, in
operations, and the cheapest choice is a minimum cut (a problem of closures: Picard 1976).  It is
found for one group of makers at a time, from the last to the first, so all who read a value are
known by then.

A clone is the same op of the same values, and a value has the same bits wherever it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..ir.dims import product
from ..ir.graph import Graph
from ..ir.tensor import Node, Tensor
from .cut import FOREVER, Cut
from .nominal import nominal
from .recompute import OPERATIONS_A_BYTE
from .schedule import ALIASES
from .space import is_read, reads_at_index

if TYPE_CHECKING:
    from .fuse import Group

MOST_NODES = 96  # in a kernel with what it makes again
END = 1 << 60  # the level of what reads at the end


@dataclass
class _Reads:
    """Who reads what, so far: groups at their own index, anybody as an array; the last of them.

    Memory counts by its owner, which views share.
    """

    owner: dict[Tensor, Tensor] = field(default_factory=dict[Tensor, Tensor])
    at_index: dict[Tensor, dict[Group, None]] = field(
        default_factory=dict[Tensor, "dict[Group, None]"]
    )
    arrays: set[Tensor] = field(default_factory=set[Tensor])
    last: dict[Tensor, int] = field(default_factory=dict[Tensor, int])

    def owner_of(self, tensor: Tensor) -> Tensor:
        return self.owner.get(tensor, tensor)

    def array(self, tensor: Tensor, level: int) -> None:
        """`tensor` is read at that level, or later, as an array."""
        self.arrays.add(tensor)
        owner = self.owner_of(tensor)
        self.last[owner] = max(self.last.get(owner, 0), level)


def borders(
    graph: Graph, group_of: Mapping[Node, Group], inline: frozenset[Node], cut: bool
) -> None:
    """Tell each group what it stores, and give it what it makes again; `cut`: whether any does.

    What a group made for others only, who now make it themselves, leaves it.
    """
    position = {node: i for i, node in enumerate(graph.nodes)}
    groups = sorted(dict.fromkeys(group_of.values()), key=lambda group: -group.level)
    reads = _first_reads(graph, group_of)
    for group in groups:
        own = sorted((n for n in group.nodes if group_of[n] is group), key=position.__getitem__)
        values = [node.results[0] for node in own]
        wanted = [value for value in values if value in reads.at_index]
        group.stores = {value for value in values if value in reads.arrays}
        chosen = _Choice(group, own, wanted, reads, inline).made() if cut and wanted else None
        if chosen is None:
            group.stores.update(wanted)
        else:
            stored, again = chosen
            group.stores |= stored
            for reader, nodes in again.items():
                reader.nodes = sorted([*nodes, *reader.nodes], key=position.__getitem__)
                _note(reader, nodes, reads, group_of, inline)
        group.nodes = cone(sorted(group.nodes, key=position.__getitem__), group.stores)
        _note(group, group.nodes, reads, group_of, inline)


def _first_reads(graph: Graph, group_of: Mapping[Node, Group]) -> _Reads:
    """What is read as an array; of what no group makes, all reads are such."""
    reads = _Reads()
    for node in graph.nodes:
        if node.op.kind in ALIASES:
            reads.owner[node.results[0]] = reads.owner_of(node.operands[0])
    for result in graph.results:
        reads.array(result, END)
    for node in reversed(graph.nodes):
        group = group_of.get(node)
        level = END if group is None else group.level
        if node.op.kind in ALIASES:
            level = reads.last.get(reads.owner_of(node.results[0]), 0)
        for position, operand in enumerate(node.operands):
            if operand.node not in group_of or not reads_at_index(node, position):
                reads.array(operand, level)
    return reads


def _note(
    reader: Group,
    nodes: Iterable[Node],
    reads: _Reads,
    group_of: Mapping[Node, Group],
    inline: frozenset[Node],
) -> None:
    """A group reads the operands of these nodes, which it computes."""
    members = set(reader.nodes)
    for node in nodes:
        for position, operand in enumerate(node.operands):
            if operand.node in members or not is_read(inline, node, position):
                continue
            if operand.node in group_of and reads_at_index(node, position):
                reads.at_index.setdefault(operand, {})[reader] = None
            else:
                reads.array(operand, reader.level)


@dataclass
class _Choice:
    """What one group stores of what others want to read."""

    group: Group
    nodes: list[Node]
    wanted: list[Tensor]
    reads: _Reads
    inline: frozenset[Node]

    def made(self) -> tuple[set[Tensor], dict[Group, list[Node]]] | None:
        """What it stores besides arrays, and what its readers make again; None: nothing is."""
        stored = self._stored()
        again: dict[Group, list[Node]] = {}
        for value in self.wanted:
            for reader in self.reads.at_index[value]:
                again.setdefault(reader, [])
        makers = {node: None for node in self.nodes}
        for reader, nodes in again.items():
            ends = stored | _read_as_arrays(reader)
            stack = [value for value in self.wanted if reader in self.reads.at_index[value]]
            while stack:
                value = stack.pop()
                if value.node in makers and value not in ends and value.node not in nodes:
                    nodes.append(value.node)
                    stack += self._operands(value.node)
            if len(nodes) + len(reader.nodes) > MOST_NODES:
                return None
        return (stored, again) if any(again.values()) else None

    def _operands(self, node: Node) -> list[Tensor]:
        """What the node reads, and does not make for itself in any case."""
        return [x for i, x in enumerate(node.operands) if is_read(self.inline, node, i)]

    def _stored(self) -> set[Tensor]:
        """The cheapest values to store, so that all that is wanted can be made of what is."""
        cut = Cut()
        readers = {value: dict(self.reads.at_index[value]) for value in self.wanted}
        values = [node.results[0] for node in self.nodes]
        for value in self.wanted:
            cut.edge("source", (value, "needed"), FOREVER)
        for value in reversed(values):
            if value not in readers:
                continue
            if value.node.op.kind != "elementwise" or value.node.op.check:
                cut.edge((value, "needed"), "sink", self._kept(value, readers[value]))
                continue
            again = sum(nominal(product(r.space.shape)) for r in readers[value])
            cut.edge((value, "needed"), (value, "again"), self._kept(value, readers[value]))
            cut.edge((value, "again"), "sink", again * value.node.op.flops)
            for operand in self._operands(value.node):
                cut.edge((value, "again"), (operand, "needed"), FOREVER)
                readers.setdefault(operand, {}).update(readers[value])
        own = set(values)
        for value, who in readers.items():
            if value not in own:
                others = who.keys() - self.reads.at_index.get(value, {}).keys()
                cut.edge((value, "needed"), "sink", self._kept(value, others))
        needed = cut.source_side("source", "sink")
        return {v for v in values if (v, "needed") in needed and (v, "again") not in needed}

    def _kept(self, value: Tensor, readers: Iterable[Group]) -> int:
        """Operations that take as long as to load a value in each reader, and to store it.

        Readers that read it anyway are none of `readers`.  What is stored anyway, but would live
        longer, counts as if it were stored for this.
        """
        readers = list(readers)
        owner = self.reads.owner_of(value)
        lasts = owner.node.op.kind == "leaf" or owner.node.op.name in ("input", "parameter")
        level = max((reader.level for reader in readers), default=0)
        lasts = lasts or self.reads.last.get(owner, 0) >= level
        moves = len(readers) + (not lasts)
        return nominal(product(value.shape)) * value.dtype.bytes * moves * OPERATIONS_A_BYTE


def _read_as_arrays(group: Group) -> set[Tensor]:
    """What the group reads in memory in any case, such as the sides of its product."""
    return {
        operand
        for node in group.nodes
        for position, operand in enumerate(node.operands)
        if not reads_at_index(node, position)
    }


def cone(nodes: Iterable[Node], wanted: Iterable[Tensor]) -> list[Node]:
    """Those of `nodes`, in their order, that `wanted` is made by."""
    needed = {value.node for value in wanted}
    found: list[Node] = []
    for node in reversed(list(nodes)):
        if node in needed:
            found.append(node)
            needed.update(operand.node for operand in node.operands)
    return found[::-1]
