"""Evict: a program within a budget of bytes, by computing some values again.

The steps are gone through in order as they would run.  Where a step has no room, what lives and is
cheapest to have again is dropped; where something dropped is read, clones of the steps that made it
stand before the reader, back to what still lives.  All uses are known, so the choice is by the next
one: the least ``operations / (bytes * steps until the next use)`` goes, where the operations are
those of all that was dropped around it (Kirisame et al. 2021 do so while a program runs; among
values known in advance the one used last is the one to drop, Belady 1966).

A clone has the region of its original, so it is the same kernel and gives the same bits.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..ir.graph import Graph
from ..ir.tensor import Node, Tensor
from .cost import cost
from .schedule import ALIASES, Work, with_views

MOST_PASSES = 8  # as many clones as that many times the steps: then a budget is hopeless


@dataclass(frozen=True)
class Recomputation:
    """A graph in which values are made twice, the order of its nodes, and which nodes are clones.

    peak: the bytes that live at once, as far as nodes tell.
    """

    graph: Graph
    order: Sequence[Node]
    clones: Sequence[Node]
    peak: int


@dataclass(frozen=True)
class Budgeted:
    """What was given up for a budget.

    plain, reached: bytes of temporaries without and with it.  clones: kernels and loops that run
    once more, each as often as it does; again: ops that kernels compute again.  segments: how
    loops keep their carries, "" for all; sizes: the steps of segments, and of those in them.
    flops, added: operations of the plain function, and how many more there are now.
    """

    budget: int
    plain: int
    reached: int
    clones: Sequence[Node]
    again: Sequence[Node]
    segments: str
    sizes: Sequence[Sequence[int]]
    flops: int
    added: int


def evict(
    work: Work, steps: Sequence[Node], budget: int, overwrites: Mapping[Node, Sequence[Tensor]]
) -> Recomputation:
    """The steps, in their order, with clones between, so that about `budget` bytes live at once.

    overwrites: the parameters that a step writes over, which no clone behind it can read.
    """
    run = _Run(work, steps, budget, overwrites)
    run.all()
    graph = work.graph.map({t: run.resolve(t) for t in work.graph.results})
    needed = set(graph.nodes)
    order = with_views(graph, [node for node in run.emitted if node in needed])
    clones = [node for node in run.clones if node in needed]
    return Recomputation(graph, order, clones, run.peak)


class _Neighbours:
    """Sets of dropped values that are made of each other, and what each set costs to have again.

    A value that lives again takes its cost out of the set; the set stays one.
    """

    def __init__(self) -> None:
        self.number: dict[Tensor, int] = {}
        self.above: list[int] = []
        self.total: list[float] = []

    def _root(self, owner: Tensor) -> int:
        number = self.number[owner]
        while self.above[number] != number:
            self.above[number] = self.above[self.above[number]]
            number = self.above[number]
        return number

    def add(self, owner: Tensor, own: float, beside: Iterable[Tensor]) -> None:
        top = self.number[owner] = len(self.above)
        self.above.append(top)
        self.total.append(own)
        for root in {self._root(other) for other in beside}:
            self.above[root] = top
            self.total[top] += self.total[root]

    def remove(self, owner: Tensor, own: float) -> None:
        self.total[self._root(owner)] -= own

    def cost(self, beside: Iterable[Tensor]) -> float:
        return sum(self.total[root] for root in sorted({self._root(other) for other in beside}))


class _Run:
    """The steps as they run: what lives, what was dropped, and what is emitted."""

    def __init__(
        self,
        work: Work,
        steps: Sequence[Node],
        budget: int,
        overwrites: Mapping[Node, Sequence[Tensor]],
    ) -> None:
        self.work, self.steps, self.budget, self.overwrites = work, steps, budget, overwrites
        self.uses: dict[Tensor, deque[int]] = {owner: deque() for owner in work.bytes}
        self.made_of: dict[Tensor, list[Tensor]] = {owner: [] for owner in work.bytes}
        for position, node in enumerate(steps):
            for owner in work.reads[node]:
                self.uses[owner].append(position)
                self.made_of[owner] += work.makes[node]
        self.around = {
            owner: (*work.reads[owner.node], *self.made_of[owner]) for owner in work.bytes
        }
        self.cost = {node: self._cost(node) for node in steps}
        self.held = self._held()
        self.live: dict[Tensor, None] = {}
        self.bytes = self.peak = self.position = 0
        self.dropped: set[Tensor] = set()
        self.spoiled: set[Node] = set()  # they read parameters that have been written over
        self.lost: set[Tensor] = set()  # dropped, and not to be made again
        self.pending: Counter[Tensor] = Counter()
        self.neighbours = _Neighbours()
        self.current: dict[Tensor, Tensor] = {}
        self.views: dict[tuple[Tensor, Tensor], Tensor] = {}
        self.most = MOST_PASSES * len(steps)
        self.ran: set[Node] = set()
        self.emitted: list[Node] = []
        self.clones: list[Node] = []

    def _cost(self, node: Node) -> float:
        found = cost(node)
        return 1.0 + self.work.size(found.flops) + self.work.size(found.bytes)

    def _held(self) -> dict[Tensor, int]:
        """What NumPy makes is not made again: until when it lives, for all that is made of it."""
        last: dict[Tensor, int] = {}
        for node in reversed(self.steps):
            for owner in self.work.makes[node]:
                uses = self.uses[owner]
                below = [last[o] for o in self.made_of[owner] if o.node.op.kind != "host"]
                last[owner] = max([uses[-1] if uses else -1, *below])
        return {owner: end for owner, end in last.items() if owner.node.op.kind == "host"}

    # --- the walk -----------------------------------------------------------------------------

    def all(self) -> None:
        waiting: list[Node] = []
        for position, node in enumerate(self.steps):
            self.position = position
            waiting.append(node)
            if node not in self.overwrites:
                self.step(waiting.pop())
            waiting = [update for update in waiting if not self._update(update)]
        self.position = len(self.steps)
        self.together(waiting)  # those of which each is made of what another writes over

    def _update(self, node: Node) -> bool:
        """Run a step that writes over parameters, unless clones may still read the old values."""
        needed = [owner for owner in self.dropped if self._next_use(owner) is not None]
        wanted = set(self.overwrites[node])
        for clone in self._missing(needed):
            if any(self.work.owner_of(operand) in wanted for operand in clone.operands):
                return False
        self.step(node)
        self._spoil(wanted)
        return True

    def _spoil(self, parameters: set[Tensor]) -> None:
        """What read these parameters cannot run again, nor what is made of what it made."""
        owner_of = self.work.owner_of
        for node in self.ran:
            if any(owner_of(operand) in parameters for operand in node.operands):
                self.spoiled.add(node)
        lost = [owner for owner in self.dropped if owner.node in self.spoiled]
        while lost:
            owner = lost.pop()
            if owner not in self.lost:
                self.lost.add(owner)
                lost += [other for other in self.made_of[owner] if other in self.dropped]

    def step(self, node: Node) -> None:
        """Run a step, behind clones of what it reads and does not live."""
        self.together([node])

    def together(self, nodes: Sequence[Node]) -> None:
        """Run steps, behind clones of what any of them reads and does not live."""
        missing = self._missing([owner for node in nodes for owner in self.work.reads[node]])
        for each in (*missing, *nodes):
            self.pending.update(self.work.reads[each])
        for each in missing:
            self._run(each, is_clone=True)
        for node in nodes:
            self._run(node, is_clone=False)

    def _missing(self, owners: Iterable[Tensor]) -> list[Node]:
        """The steps that make what of `owners` does not live, each behind those it needs."""
        order: list[Node] = []
        done: set[Node] = set()
        stack = [(owner.node, False) for owner in owners if owner not in self.live]
        while stack:
            node, ready = stack.pop()
            if ready:
                order.append(node)
            elif node not in done:
                done.add(node)
                stack.append((node, True))
                below = [owner.node for owner in self.work.reads[node] if owner not in self.live]
                stack += [(inner, False) for inner in below if inner not in done]
        return order

    def _run(self, node: Node, is_clone: bool) -> None:
        work = self.work
        need = sum(work.bytes[owner] for owner in work.makes[node])
        self._make_room(need + work.inside[node])
        self.peak = max(self.peak, self.bytes + need + work.inside[node])
        operands = [self.resolve(operand, is_clone) for operand in node.operands]
        made = node.remake(operands)
        if is_clone:
            made = Node(node.op, operands, node.attrs, node.groups, node.regions, node.loc)
            self.clones.append(made)
        else:
            self.ran.add(node)
        self.emitted.append(made)
        for owner, result in zip(node.results, made.results, strict=True):
            if owner not in self.live:
                self.current[owner] = result
                self.live[owner] = None
                self.bytes += work.bytes[owner]
                if owner in self.dropped:
                    self.dropped.discard(owner)
                    self.neighbours.remove(owner, self.cost[node])
        self.pending.subtract(work.reads[node])
        for owner in (*work.reads[node], *work.makes[node]):
            if owner in self.live and self._is_done(owner):
                self._drop(owner)

    def _next_use(self, owner: Tensor) -> int | None:
        """The position of the next step that reads it."""
        uses = self.uses[owner]
        while uses and self.steps[uses[0]] in self.ran:
            uses.popleft()
        return uses[0] if uses else None

    def _is_done(self, owner: Tensor) -> bool:
        if owner in self.work.kept or self.pending[owner] > 0:
            return False
        return self._next_use(owner) is None and self.held.get(owner, -1) <= self.position

    def _make_room(self, need: int) -> None:
        while self.bytes + need > self.budget and len(self.clones) < self.most:
            choice = min(
                (owner for owner in self.live if self._may_drop(owner)),
                key=self._score,
                default=None,
            )
            if choice is None:
                return
            self._drop(choice)

    def _may_drop(self, owner: Tensor) -> bool:
        if not self.work.bytes[owner] or owner in self.work.kept or owner in self.held:
            return False
        if self.pending[owner] > 0 or owner.node in self.spoiled:
            return False
        return not self.lost or self.lost.isdisjoint(self.work.reads[owner.node])

    def _score(self, owner: Tensor) -> float:
        """Operations to have it again, by the bytes and steps that it is away."""
        again = self.cost[owner.node] + self.neighbours.cost(self._beside(owner))
        use = self._next_use(owner)
        away = (len(self.steps) if use is None else use) - self.position
        return again / (self.work.bytes[owner] * max(away, 1))

    def _beside(self, owner: Tensor) -> list[Tensor]:
        dropped = self.dropped
        return [other for other in self.around[owner] if other in dropped]

    def _drop(self, owner: Tensor) -> None:
        beside = self._beside(owner)
        del self.live[owner]
        self.bytes -= self.work.bytes[owner]
        self.dropped.add(owner)
        if owner.node in self.spoiled or not self.lost.isdisjoint(self.work.reads[owner.node]):
            self.lost.add(owner)
        self.neighbours.add(owner, self.cost[owner.node], beside)

    # --- the graph ----------------------------------------------------------------------------

    def resolve(self, tensor: Tensor, is_clone: bool = False) -> Tensor:
        """What now stands for a tensor: a clone's result, or a view of it.

        A clone has views of its own, lest a copy that one asks for lives on for the other.  The
        order of the steps is fixed here, so `after` has done its work.
        """
        chain: list[Tensor] = []
        while tensor not in self.current and tensor.node.op.kind in ALIASES:
            chain.append(tensor)
            tensor = tensor.node.operands[0]
        result = self.current.get(tensor, tensor)
        for view in reversed(chain):
            if view.node.op.kind == "view":
                key, node = (view, result), view.node
                if is_clone:
                    result = Node(node.op, [result], node.attrs, loc=node.loc).results[0]
                else:
                    if key not in self.views:
                        self.views[key] = node.remake([result]).results[0]
                    result = self.views[key]
        return result
