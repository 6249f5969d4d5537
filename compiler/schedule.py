"""Schedule: the order in which the nodes of a fused graph run, so that few bytes live at once.

A graph's own order is fixed by its results, depth first: it knows nothing of memory.  Here a node
is taken when all it reads is there; of those that could be taken it is the one that adds least to
what lives, what it makes less what it is the last to read; of several such, the first in the
graph's order.  That is greedy, so the graph's own order is kept where it needs no more.

Sizes that a call binds are taken to be `NOMINAL`: one order serves all calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heappop, heappush

from ..ir.dims import DimLike
from ..ir.graph import Graph
from ..ir.tensor import Node, Tensor
from .nominal import nominal
from .storage import fills_buffer

ALIASES = ("view", "order")  # kinds of nodes whose result is the memory of the first operand
_NO_STEP = (*ALIASES, "leaf")

Size = Callable[[DimLike], int]


class Work:
    """A graph as memory sees it: the nodes that are steps, and the buffers that they read and make.

    A view has no memory and is no step: who reads it reads the `owner` of its memory.  Inputs,
    parameters and constants count no bytes, nor does what is written straight to a result.

    steps: in the graph's order.  reads, makes: by step, owners.  bytes: of each owner.
    kept: owners that live to the end.  inside: by step, what lives only while it runs.
    after: by step, those that it must follow, though it reads nothing of theirs.
    """

    def __init__(
        self,
        graph: Graph,
        after: Mapping[Node, Iterable[Node]] | None = None,
        direct: Iterable[Tensor] = (),
        size: Size = nominal,
    ) -> None:
        self.graph, self.size = graph, size
        self.after = {node: tuple(others) for node, others in (after or {}).items()}
        self.owner: dict[Tensor, Tensor] = {}
        self.steps = [node for node in graph.nodes if node.op.kind not in _NO_STEP]
        self.reads: dict[Node, tuple[Tensor, ...]] = {}
        self.makes: dict[Node, tuple[Tensor, ...]] = {}
        self.bytes: dict[Tensor, int] = {}
        self.inside: dict[Node, int] = {}
        waits: dict[Tensor, tuple[Node, ...]] = {}
        for node in graph.nodes:
            if node.op.kind in ALIASES:
                self.owner[node.results[0]] = self.owner_of(node.operands[0])
                before = [w for operand in node.operands for w in waits.get(operand, ())]
                before += [self.owner_of(other).node for other in node.operands[1:]]
                if before:
                    waits[node.results[0]] = tuple(dict.fromkeys(before))
        for node in self.steps:
            self.makes[node] = node.results
            for result in node.results:
                self.bytes[result] = self.nbytes(result)
            read = dict.fromkeys(self.owner_of(operand) for operand in node.operands)
            self.reads[node] = tuple(owner for owner in read if owner in self.bytes)
            self.inside[node] = self._inside(node)
            later = [w for operand in node.operands for w in waits.get(operand, ())]
            if later:
                known = self.after.get(node, ())
                self.after[node] = (*known, *(w for w in later if w.op.kind not in _NO_STEP))
        self.kept: set[Tensor] = set()
        straight = set(direct)
        for output in graph.outputs:
            made = output
            while made.node.op.name == "reshape":
                made = made.node.operands[0]
            if fills_buffer(made.node):
                straight.add(made)
        for result in graph.results:
            self.kept.add(self.owner_of(result))
        self.bytes.update(dict.fromkeys(straight, 0))

    def owner_of(self, tensor: Tensor) -> Tensor:
        return self.owner.get(tensor, tensor)

    def nbytes(self, tensor: Tensor) -> int:
        count = tensor.dtype.bytes
        for size in tensor.shape:
            count *= self.size(size)
        return count

    def _inside(self, node: Node) -> int:
        """Bytes that live while a loop runs, besides its operands and results."""
        if node.op.kind != "region" or node.op.name == "fused":
            return 0
        return max((_peak_of_region(region, self.size) for region in node.regions), default=0)

    def readers(self) -> dict[Tensor, int]:
        """How many steps read each owner; one more where it is kept."""
        count = dict.fromkeys(self.bytes, 0)
        for read in self.reads.values():
            for owner in read:
                count[owner] += 1
        for owner in self.kept:
            if owner in count:
                count[owner] += 1
        return count

    def at_once(self, node: Node) -> int:
        """The bytes that live while a step runs, were there no others."""
        touched = dict.fromkeys((*self.reads[node], *self.makes[node]))
        return sum(self.bytes[owner] for owner in touched) + self.inside[node]

    def peak(self, order: Iterable[Node]) -> int:
        """The most bytes that live at once."""
        return max((most for most, _ in self.living(order)), default=0)

    def living(self, order: Iterable[Node]) -> Iterator[tuple[int, int]]:
        """The bytes that live while each step runs, and those that still do behind it."""
        left = self.readers()
        live = 0
        for node in order:
            live += sum(self.bytes[owner] for owner in self.makes[node])
            most = live + self.inside[node]
            for owner in self.reads[node]:
                left[owner] -= 1
            for owner in (*self.reads[node], *self.makes[node]):
                if left[owner] == 0:
                    live -= self.bytes[owner]
            yield most, live


def _peak_of_region(region: Graph, size: Size) -> int:
    work = Work(region, size=size)
    return work.peak(better_order(work))


def schedule(
    graph: Graph,
    after: Mapping[Node, Iterable[Node]] | None = None,
    direct: Iterable[Tensor] = (),
) -> list[Node]:
    """All nodes of `graph` in the order in which they are to run.

    after: nodes that a node must follow, though it reads nothing of theirs.
    direct: results that are written straight over a parameter, and so need no memory.
    """
    work = Work(graph, after, direct)
    return with_views(graph, better_order(work))


def with_views(graph: Graph, steps: Iterable[Node]) -> list[Node]:
    """The steps with views and leaves between, each before its first reader."""
    done: set[Node] = set()
    order: list[Node] = []

    def make(start: Node) -> None:
        stack = [(start, False)]
        while stack:
            node, ready = stack.pop()
            if ready:
                order.append(node)
            elif node not in done and node.op.name not in ("input", "parameter"):
                done.add(node)
                stack.append((node, True))
                below = [t.node for t in node.operands if t.node.op.kind in _NO_STEP]
                stack += [(inner, False) for inner in reversed(below)]

    for step in steps:
        make(step)
    for result in graph.results:
        if result.node.op.kind in _NO_STEP:
            make(result.node)
    return order


def better_order(work: Work, greedily: bool = False) -> list[Node]:
    """The graph's order or the greedy one, whichever needs fewer bytes; where both need as many,
    the graph's, unless `greedily`."""
    given = _first_possible(work)
    greedy = _greedy(work)
    return greedy if work.peak(greedy) < work.peak(given) + greedily else given


class _Waiting:
    """What each step still waits for."""

    def __init__(self, work: Work) -> None:
        self.count: dict[Node, int] = {}
        self.followers: dict[Node, list[Node]] = {}
        for node in work.steps:
            makers = [owner.node for owner in work.reads[node]]
            before = dict.fromkeys([*makers, *work.after.get(node, ())])
            self.count[node] = len(before)
            for other in before:
                self.followers.setdefault(other, []).append(node)

    def done(self, node: Node) -> list[Node]:
        """The steps that waited for `node` last."""
        ready: list[Node] = []
        for follower in self.followers.get(node, ()):
            self.count[follower] -= 1
            if self.count[follower] == 0:
                ready.append(follower)
        return ready


def _taken(
    work: Work, cost: Callable[[Node], int], changed: Callable[[Node], Iterable[Node]]
) -> list[Node]:
    """Steps by a heap of those that are ready; `changed`: whose cost falls when one is taken."""
    position = {node: i for i, node in enumerate(work.steps)}
    waiting = _Waiting(work)
    heap: list[tuple[int, int]] = []
    ready: set[Node] = set()
    order: list[Node] = []

    def offer(node: Node) -> None:
        heappush(heap, (cost(node), position[node]))

    for node in work.steps:
        if waiting.count[node] == 0:
            ready.add(node)
            offer(node)
    while heap:
        _, place = heappop(heap)
        node = work.steps[place]
        if node not in ready:  # taken at a lower cost
            continue
        ready.discard(node)
        order.append(node)
        for other in changed(node):
            if other in ready:
                offer(other)
        for other in waiting.done(node):
            ready.add(other)
            offer(other)
    assert len(order) == len(work.steps), "what must follow each other runs in a circle"
    return order


def _first_possible(work: Work) -> list[Node]:
    """The graph's order, but for nodes that must wait for others."""
    if not work.after:
        return work.steps
    return _taken(work, lambda node: 0, lambda node: ())


def _greedy(work: Work) -> list[Node]:
    left = work.readers()
    readers: dict[Tensor, list[Node]] = {}
    for node in work.steps:
        for owner in work.reads[node]:
            readers.setdefault(owner, []).append(node)
    made = {node: sum(work.bytes[owner] for owner in work.makes[node]) for node in work.steps}

    def cost(node: Node) -> int:
        return made[node] - sum(work.bytes[owner] for owner in work.reads[node] if left[owner] == 1)

    def changed(node: Node) -> list[Node]:
        last: list[Node] = []
        for owner in work.reads[node]:
            left[owner] -= 1
            if left[owner] == 1:
                last += readers[owner]
        return last

    return _taken(work, cost, changed)
