"""Lean: what is read long after it was made is made again by the kernels that read it.

A layer stores all that the way back reads of it: of ``y = tanh(z)·sigmoid(z)``, z = x·w, these are
y and four values more.  Each is a few operations on z, and z is a product of what is kept anyway,
x for the gradient by w.  So the kernel of the way back may make z and all four for itself, which
takes no memory at all, where a clone of the kernel (`evict.py`) has to store what it makes.

This stands before fusion: the clones are nodes of ``after(x, …)``, which keeps them behind what the
way back has come to, and fusion puts them into the kernel of their reader.  They are the same ops
of the same values, and fusion changes no bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..ir.graph import Graph
from ..ir.ops.checkpoint import after
from ..ir.tensor import Node, Tensor
from .fuse import MOST_NODES, fuse
from .recompute import is_number
from .schedule import ALIASES, Size, Work, better_order
from .space import reads_at_index
from .updates import before_updates, direct_updates

HOT = 0.5  # far is a read across a border where as many of the most bytes live


def lean(graph: Graph, products: bool, size: Size) -> tuple[Graph, Sequence[Node]]:
    """The graph with clones for such reads, not fused yet; and the clones.

    products: matrix products are made again as well, not only what stands element by element.
    """
    return _Lean(graph, products, size).all()


@dataclass
class _Plan:
    """Of one step: what it shall not read any more, the nodes that make it again, behind what."""

    dropped: dict[Tensor, None] = field(default_factory=dict[Tensor, None])
    nodes: dict[Node, None] = field(default_factory=dict[Node, None])
    ends: dict[Tensor, None] = field(default_factory=dict[Tensor, None])
    behind: list[Tensor] = field(default_factory=list[Tensor])


class _Lean:
    """The nodes of a graph by the kernels they would be in, in the order of these."""

    def __init__(self, graph: Graph, products: bool, size: Size) -> None:
        self.graph, self.products = graph, products
        places: dict[Node, Node] = {}
        fused = fuse(graph, side_by_side=False, places=places)
        direct = direct_updates(fused)
        self.work = work = Work(fused, before_updates(fused, direct), direct, size)
        steps = better_order(work, greedily=True)
        position = {node: i for i, node in enumerate(steps)}
        self.at = {node: position[made] for node, made in places.items() if made in position}
        self.members: list[list[Node]] = [[] for _ in steps]
        for node in graph.nodes:
            if node in self.at:
                self.members[self.at[node]].append(node)
        behind = [live for _, live in work.living(steps)]
        self.hot: list[int] = [0]  # how many borders before that behind each step are hot
        for live in behind:
            self.hot.append(self.hot[-1] + (live > HOT * max(behind)))
        self.owner: dict[Tensor, Tensor] = {}
        for node in graph.nodes:
            if node.op.kind in ALIASES:
                self.owner[node.results[0]] = self.owner_of(node.operands[0])
        self.kept = self._kept()
        self.place = {node: i for i, node in enumerate(graph.nodes)}
        self.mapping: dict[Tensor, Tensor] = {}
        self.done: set[Node] = set()

    def owner_of(self, tensor: Tensor) -> Tensor:
        return self.owner.get(tensor, tensor)

    def _is_far(self, tensor: Tensor, position: int) -> bool:
        """Whether many bytes live at some time between the making of it and that step."""
        made = self.at.get(tensor.node)
        return made is not None and made < position and self.hot[position] > self.hot[made]

    def _kept(self) -> set[Tensor]:
        """What is stored for long in any case: who reads it there reads it as an array."""
        kept = {self.owner_of(result) for result in self.graph.results}
        for node, position in self.at.items():
            for i, operand in enumerate(node.operands):
                if operand in self.owner or not reads_at_index(node, i):
                    owner = self.owner_of(operand)
                    if self._is_far(owner, position):
                        kept.add(owner)
        return kept

    # --- what to make again -------------------------------------------------------------------

    def _plan(self, position: int) -> _Plan | None:
        """What the step makes again; None where that keeps as much as it saves."""
        plan = _Plan()
        nodes = self.members[position]
        for node in nodes:
            for i, operand in enumerate(node.operands):
                if reads_at_index(node, i) and operand not in self.kept:
                    if self._is_far(operand, position):
                        plan.dropped[operand] = None
        if not plan.dropped:
            return None
        for tensor in plan.dropped:
            self._trace(tensor, plan)
        more = {self.owner_of(end) for end in plan.ends} - self.kept
        more = {owner for owner in more if owner.node in self.at}
        plan.behind = self._behind(nodes, position, plan)
        saved = self._bytes(plan.dropped.keys() - more) > self._bytes(more - plan.dropped.keys())
        if saved and plan.behind and len(plan.nodes) + len(nodes) <= MOST_NODES:
            self.kept |= more
            return plan
        self.kept |= plan.dropped.keys()
        return None

    def _bytes(self, tensors: Iterable[Tensor]) -> int:
        return sum(self.work.nbytes(tensor) for tensor in tensors)

    def _trace(self, tensor: Tensor, plan: _Plan) -> None:
        """The nodes that make `tensor` out of what is kept, or is an end for other reasons."""
        stack = [tensor]
        while stack:
            found = stack.pop()
            node = found.node
            if is_number(node) or node in plan.nodes or found in plan.ends:
                continue
            again = node.op.kind == "elementwise" and not node.op.check
            product = self.products and node.op.kind == "contraction"
            if found in self.kept or not (again or product):
                plan.ends[found] = None
            else:
                plan.nodes[node] = None
                if product:
                    plan.ends.update(dict.fromkeys(node.operands))
                else:
                    stack += node.operands

    def _behind(self, nodes: Sequence[Node], position: int, plan: _Plan) -> list[Tensor]:
        """What the clones are to come after: late values that are made of none of them.

        A kernel has one product.  Where the clones bring one, they come after the values of this
        step that they meet, which then are a kernel before theirs; else they join this kernel.
        """
        meets: dict[Tensor, None] = {}
        given: dict[Tensor, None] = {}
        own, later = set(nodes), set[Node]()
        for node in nodes:
            reads = any(operand in plan.dropped for operand in node.operands)
            if reads or any(operand.node in later for operand in node.operands):
                later.add(node)
            for operand in node.operands:
                if operand.node in own:
                    if reads and operand.node not in later:
                        meets[operand] = None
                elif operand not in plan.dropped:
                    owner = self.owner_of(operand)
                    if owner.node in self.at and not self._is_far(owner, position):
                        given[operand] = None
        brings = any(node.op.kind == "contraction" for node in plan.nodes)
        return list((meets or given) if brings else (given or meets))

    # --- the graph ----------------------------------------------------------------------------

    def all(self) -> tuple[Graph, Sequence[Node]]:
        """The steps again in their order, so that what clones come after is there."""
        clones: list[Node] = []
        for position, nodes in enumerate(self.members):
            plan = self._plan(position)
            again: dict[Tensor, Tensor] = {}
            waiting: list[Node] = []
            depends = set[Node]()
            for node in nodes:
                reads = plan is not None and any(t in plan.dropped for t in node.operands)
                if reads or any(operand.node in depends for operand in node.operands):
                    waiting.append(node)
                    depends.add(node)
                else:
                    self._make(node)
            if plan is not None:
                again = self._clones(plan)
                clones += plan.nodes
            for node in waiting:
                for operand in node.operands:
                    if operand not in again:
                        self._make(operand.node)
                self._remake(node, again)
        for result in self.graph.results:
            self._make(result.node)
        return self.graph.map(self.mapping), clones

    def _make(self, node: Node) -> None:
        """Make a node over what now stands for its operands, behind those that are not made yet."""
        stack = [node]
        while stack:
            missing = [t.node for t in stack[-1].operands if t.node not in self.done]
            if missing:
                stack += missing
            else:
                self._remake(stack.pop(), {})

    def _remake(self, node: Node, again: Mapping[Tensor, Tensor]) -> None:
        if node not in self.done:
            operands = [again.get(t, self.mapping.get(t, t)) for t in node.operands]
            made = node.remake(operands)
            self.mapping.update(zip(node.results, made.results, strict=True))
            self.done.add(node)

    def _clones(self, plan: _Plan) -> dict[Tensor, Tensor]:
        """By what is dropped: the same made again, of the ends behind what it is to come after."""
        for tensor in (*plan.behind, *plan.ends):
            self._make(tensor.node)
        behind = [self.mapping[tensor] for tensor in plan.behind]
        found = {end: after(self.mapping[end], *behind) for end in plan.ends}
        for node in sorted(plan.nodes, key=self.place.__getitem__):
            operands = [found[t] if t in found else t for t in node.operands]
            for result, clone in zip(node.results, node.remake(operands).results, strict=True):
                found.setdefault(result, clone)
        return {tensor: found[tensor] for tensor in plan.dropped}
