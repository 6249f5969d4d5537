"""Updates: which new values of parameters are written straight over the old ones, and when.

Such a kernel needs no memory for what it makes.  It runs when nothing can fail any more, so that a
call that fails changes no parameter, and when all others have read the old value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ..ir.graph import Graph
from ..ir.ops.control import FUSED
from ..ir.tensor import Node, Tensor
from .carries import root
from .schedule import ALIASES


def direct_updates(graph: Graph) -> dict[Tensor, Tensor]:
    """What kernels make that may be written over parameters, with these.

    It is the new value or what that is a reshape of.  The kernel cannot fail, makes nothing that
    others read, and of the others that make new values none reads the old one, nor is the old one
    a result.
    """
    found: dict[Tensor, Tensor] = {}
    new_values = {value: root(value) for _, value in graph.updates}
    makers = {made.node for made in new_values.values()}
    count = Counter(root(value) for _, value in graph.updates)

    def needed(made: Tensor) -> bool:
        if made not in count or _readers(graph, made):
            return True
        results = [view for view in _views(graph, made) if view in graph.results_set]
        return any(v in graph.outputs_set or new_values.get(v) is not made for v in results)

    for parameter, value in graph.updates:
        made = new_values[value]
        node = made.node
        if node.op is not FUSED or count[made] > 1:
            continue
        others = [reader for reader in _readers(graph, parameter) if reader is not node]
        blocked = any(reader in makers for reader in others)
        kept = any(map(needed, node.results))
        if not (kept or can_fail(node) or blocked or _is_result(graph, parameter)):
            found[made] = parameter
    # all that a kernel makes must be such updates
    return {v: p for v, p in found.items() if all(r in found for r in v.node.results)}


def before_updates(graph: Graph, direct: Mapping[Tensor, Tensor]) -> dict[Node, list[Node]]:
    """What must run before each kernel that writes over parameters."""
    failing = [node for node in graph.nodes if can_fail(node)] if direct else []
    before: dict[Node, list[Node]] = {}
    for value, parameter in direct.items():
        known = before.setdefault(value.node, list(failing))
        known += [node for node in _readers(graph, parameter) if node is not value.node]
    return before


def in_order(
    graph: Graph, direct: Mapping[Tensor, Tensor], order: Sequence[Node]
) -> dict[Tensor, Tensor]:
    """Of `direct`, what a given order of the steps allows: nobody reads the old value afterwards.

    What a budget has computed again may read a parameter long after its first readers did.
    """
    place = {node: number for number, node in enumerate(order)}
    early = {
        value.node
        for value, parameter in direct.items()
        for reader in _readers(graph, parameter)
        if place.get(reader, -1) > place[value.node]
    }
    return {value: parameter for value, parameter in direct.items() if value.node not in early}


def can_fail(node: Node) -> bool:
    """Whether a call may fail at the node, or at one in its regions."""
    inner = [node, *(n for region in node.regions for n in region.walk())]
    return any(n.op.check or n.op.kind == "host" for n in inner)


def _views(graph: Graph, tensor: Tensor) -> list[Tensor]:
    """The tensor and all that is the same memory."""
    found = [tensor]
    for view in found:
        users = [node for node in graph.users.get(view, ()) if node.op.kind in ALIASES]
        found += [node.results[0] for node in users if node.operands[0] is view]
    return found


def _readers(graph: Graph, tensor: Tensor) -> list[Node]:
    """The steps that read the tensor or a view of it."""
    users = [node for view in _views(graph, tensor) for node in graph.users.get(view, ())]
    return [node for node in dict.fromkeys(users) if node.op.kind not in ALIASES]


def _is_result(graph: Graph, tensor: Tensor) -> bool:
    return any(view in graph.results_set for view in _views(graph, tensor))
