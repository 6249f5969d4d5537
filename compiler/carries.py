"""What of a loop's body may be written over what it read, and what is copied at last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from ..ir.graph import Graph
from ..ir.op import Op
from ..ir.ops.control import FUSED
from ..ir.ops.scan import SCAN
from ..ir.ops.while_loop import WHILE
from ..ir.tensor import Node, Tensor
from .schedule import ALIASES
from .storage import Lowering, Stored, is_whole, move

Edges = dict[Node, list[Node]]


def root(tensor: Tensor) -> Tensor:
    """What a tensor was before it was reshaped: the same memory."""
    while tensor.node.op.name == "reshape":
        tensor = tensor.node.operands[0]
    return tensor


def views_of(graph: Graph, tensors: Iterable[Tensor]) -> set[Tensor]:
    """The tensors, and all that are the same memory."""
    found = set(tensors)
    for node in graph.nodes:
        if node.op.kind in ALIASES and node.operands[0] in found:
            found.update(node.results)
    return found


def is_private(state: Lowering, graph: Graph, tensor: Tensor, reader: Node) -> bool:
    """Whether `reader` alone reads the tensor, once, and a kernel of this graph makes it, in each
    run of it."""
    if sum(operand is tensor for operand in reader.operands) != 1:
        return False
    while len(graph.users[tensor]) == 1 and tensor not in graph.results_set:
        if tensor.node.op.kind != "view":
            if tensor.node in state.fixed:
                return False
            return tensor.node.op is FUSED or tensor.node.op.kind in ("concat", "scatter", "host")
        reader = tensor.node
        tensor = reader.operands[0]
    return False


def is_read_as_written(body: Graph, entry: Tensor, y: Tensor) -> bool:
    """Whether one kernel alone reads `entry`, an input of the body, element by element, each where
    it writes the same element of `y`."""
    made = root(y)
    node = made.node
    if node.op is not FUSED or entry in body.results_set or body.users.get(entry) != [node]:
        return False
    region = node.regions[0]
    reads = [own for own, x in zip(region.inputs, node.operands, strict=True) if x is entry]
    result = region.outputs[made.index]
    if len(reads) != 1 or (entry.type, reads[0].type) != (made.type, result.type):
        return False
    return result.node.op.kind == "elementwise" and all(
        inner.op.kind in ("leaf", "elementwise")
        or (inner.op.kind == "contraction" and not any(x is reads[0] for x in inner.operands))
        for inner in region.nodes
    )


def overwriting(
    body: Graph, nodes: Sequence[Node], candidates: Mapping[Tensor, Tensor]
) -> tuple[dict[Tensor, Tensor], list[Node]]:
    """Which new values may be written over carries, and `nodes` in an order in which they may.

    candidates: new value -> carry, an input of the body.  The node that makes the new value has to
    come behind all others that read the old one.  What it reads of the old value itself is looked
    at where it is lowered, if it is a kernel; a scatter changes its array in place, and a loop
    begins where its carry lies.
    """
    after: Edges = {node: [] for node in nodes}
    for node in nodes:
        for maker in dict.fromkeys(operand.node for operand in node.operands):
            if maker in after:
                after[maker].append(node)
    accepted: dict[Tensor, Tensor] = {}
    for made, carry in candidates.items():
        old = views_of(body, [carry])
        maker = made.node
        readers = [
            node
            for node in nodes
            if node is not maker and any(operand in old for operand in node.operands)
        ]
        if _may_begin_there(maker, made, carry, old) and not _reaches(maker, readers, after):
            accepted[made] = carry
            for reader in readers:
                after[reader].append(maker)
    return accepted, _ordered(nodes, after)


def _may_begin_there(maker: Node, made: Tensor, carry: Tensor, old: set[Tensor]) -> bool:
    """Whether the memory of `carry`, known as `old`, may hold what the node makes."""
    reads = [i for i, operand in enumerate(maker.operands) if operand in old]
    op: Op = maker.op
    if not reads or op is FUSED:
        return True
    if len(reads) > 1 or maker.operands[reads[0]] is not carry:
        return False
    if op in (SCAN, WHILE):  # as its carry of the same number
        return reads[0] < maker.groups[0] and maker.results[reads[0]] is made
    return op.kind == "scatter" and reads == [0]


def _reaches(start: Node, goals: Sequence[Node], after: Edges) -> bool:
    """Whether any goal comes after `start`."""
    wanted, seen, stack = set(goals), {start}, [start]
    while stack:
        for node in after[stack.pop()]:
            if node in wanted:
                return True
            if node not in seen:
                seen.add(node)
                stack.append(node)
    return False


def _ordered(nodes: Sequence[Node], after: Edges) -> list[Node]:
    """The nodes in an order that keeps to `after`, else as it was."""
    place = {node: i for i, node in enumerate(nodes)}
    waits = [0] * len(nodes)
    for node in nodes:
        for other in after[node]:
            waits[place[other]] += 1
    ready = [i for i, count in enumerate(waits) if count == 0]
    heapify(ready)
    order: list[Node] = []
    while ready:
        node = nodes[heappop(ready)]
        order.append(node)
        for other in after[node]:
            waits[place[other]] -= 1
            if waits[place[other]] == 0:
                heappush(ready, place[other])
    return order


def assign(state: Lowering, values: Sequence[tuple[str, Tensor, Stored]]) -> None:
    """Copy tensors from where they lie to their targets, all at once: one may lie where another
    is to go."""
    waiting = [
        (target, tensor, source)
        for target, tensor, source in values
        if source.buffer != target or not is_whole(state, source, tensor.type)
    ]
    while waiting:
        read = {state.base(source.buffer) for _, _, source in waiting}
        free = [i for i, (target, _, _) in enumerate(waiting) if state.base(target) not in read]
        target, tensor, source = waiting.pop(free[0] if free else 0)
        if free:
            move(state, tensor, source, target)
        else:  # they wait for each other in a ring
            held = state.temporary(tensor.type)
            move(state, tensor, source, held.buffer)
            waiting.append((target, tensor, held))
