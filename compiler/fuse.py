"""Fusion: partition the graph into kernels, each a `fused` node with a region.

Every value gets a *level*, the number of kernel borders on its longest path from the inputs.  A
node joins its operands' group where it can read them at its own index (same index space, same
reduced axes), and keeps their level; else it starts a group one level up.  An edge between two
groups thus always climbs, so no grouping can close a cycle: legality needs no search, and the pass
is linear.  Afterwards groups sink: one whose first readers are a single group joins that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir.array import Array
from ..ir.errors import GradloomError
from ..ir.graph import Graph, rebuild
from ..ir.loc import merge
from ..ir.ops.build import CONSTANT, apply
from ..ir.ops.control import FUSED, placeholder_like
from ..ir.tensor import Node, Tensor
from .borders import borders, cone
from .recompute import is_number, made_where_read
from .space import Space, is_read, may_be_skipped, reads_at_index, space_of

MOST_NODES = 48  # a kernel's cap: longer ones compile slower than they save


@dataclass(eq=False, slots=True)
class Group:
    """Nodes that become one kernel."""

    space: Space
    level: int
    nodes: list[Node] = field(default_factory=list[Node])
    after: Group | None = None  # takes what this one was too full, or of another space, for
    stores: set[Tensor] = field(default_factory=set[Tensor])  # its results, told by `borders`


def _total(space: Space, groups: list[Group]) -> Space | None:
    """The space of a node together with `groups`; None where they do not fit into one kernel."""
    total: Space | None = space
    for group in groups:
        total = total.join(group.space) if total is not None else None
    return total if sum(len(group.nodes) for group in groups) < MOST_NODES else None


def fuse(
    graph: Graph,
    enabled: bool = True,
    side_by_side: bool = True,
    places: dict[Node, Node] | None = None,
) -> Graph:
    """The graph with every computation inside `fused` nodes; one node each unless `enabled`.

    side_by_side: join what has nothing to do with each other, for fewer kernels; the results of
    such a kernel live at once.  places: is told where each node went.
    """
    inline = made_where_read(graph, enabled)
    groups = partition(graph, inline, enabled)
    if enabled:
        _sink(graph, groups)
        if side_by_side:
            _merge(groups)
    borders(graph, groups, inline, enabled)
    return _build(graph, groups, inline, enabled, {} if places is None else places)


def _in_memory(graph: Graph, node: Node) -> bool:
    """Whether a result or a reader that is no kernel needs as an array what kernels make again."""
    (value,) = node.results
    return not is_number(node) and (
        value in graph.results_set
        or any(
            operand is value and not reads_at_index(user, position)
            for user in graph.users.get(value, ())
            for position, operand in enumerate(user.operands)
        )
    )


def partition(graph: Graph, inline: frozenset[Node], enabled: bool = True) -> dict[Node, Group]:
    """The group of each node that a kernel computes, by levels."""
    group_of, level_of = dict[Node, Group](), dict[Node, int]()
    for node in graph.nodes:
        space = space_of(node) if node not in inline or _in_memory(graph, node) else None
        level = 0
        candidates: dict[Group, None] = {}
        for position, operand in enumerate(node.operands):
            maker = operand.node
            if not is_read(inline, node, position):
                continue
            group = group_of.get(maker)
            below = group.level if group is not None else level_of.get(maker, 0)
            if group is None:
                level = max(level, below)
            elif enabled and space is not None and reads_at_index(node, position):
                level = max(level, below)
                candidates[group] = None
            else:
                level = max(level, below + 1)
        level_of[node] = level
        if space is None:  # a step of its own: its readers stand above it
            level_of[node] = level + (node.op.kind in ("host", "region", "scatter", "concat"))
            continue
        joined = [group for group in candidates if group.level == level]
        total = _total(space, joined)
        if joined and total is None:
            after = joined[0].after  # which may have joined another group since
            joined = [group_of[after.nodes[0]]] if after is not None else []
            total = _total(space, joined)
            if total is None or any(group.level <= level for group in joined):
                joined, total = [], space
        if joined:
            first, *others = joined
            for other in others:
                first.nodes += other.nodes
                for member in other.nodes:
                    group_of[member] = first
            assert total is not None
            first.space = total
        else:
            blocked = [group for group in candidates if group.level == level]
            first = Group(space, level + 1 if blocked else level)
            for group in blocked:
                group.after = group.after or first
        level_of[node] = first.level
        first.nodes.append(node)
        group_of[node] = first
    return group_of


def _sink(graph: Graph, group_of: dict[Node, Group]) -> None:
    """Move groups into the one group that reads them first, rows only into what folds them too."""
    groups = list(dict.fromkeys(group_of.values()))
    for group in sorted(groups, key=lambda g: -g.level):
        if group.space.contraction is not None:
            continue
        readers: dict[Group, bool] = {}
        blocked = False
        for node in group.nodes:
            for user in graph.users.get(node.results[0], ()):
                reader = group_of.get(user)
                if reader is None:  # a view, a host call, a loop: the value must exist by then
                    blocked = True
                elif reader is not group:
                    plain = all(
                        reads_at_index(user, i)
                        for i, operand in enumerate(user.operands)
                        if operand is node.results[0]
                    )
                    readers[reader] = readers.get(reader, True) and plain
        if blocked or not readers:
            continue
        lowest = min(reader.level for reader in readers)
        first = [reader for reader in readers if reader.level == lowest]
        if len(first) != 1 or not readers[first[0]]:
            continue
        target = first[0]
        if group.space.reduced not in (None, target.space.reduced):
            continue
        space = group.space.join(target.space)
        if space is None or len(group.nodes) + len(target.nodes) > 2 * MOST_NODES:
            continue
        target.space = space
        target.nodes = group.nodes + target.nodes
        for node in group.nodes:
            group_of[node] = target


def _merge(group_of: dict[Node, Group]) -> None:
    """Join small element-wise groups of one level and space: nothing leads from one to another."""
    open_groups: dict[tuple[int, Space], Group] = {}
    for group in dict.fromkeys(group_of.values()):
        if group.space.reduced is not None or group.space.contraction is not None:
            continue
        key = (group.level, group.space)
        other = open_groups.setdefault(key, group)
        if other is group:
            continue
        if len(other.nodes) + len(group.nodes) > MOST_NODES:
            open_groups[key] = group
            continue
        other.nodes += group.nodes
        for node in group.nodes:
            group_of[node] = other


def _build(
    graph: Graph,
    group_of: dict[Node, Group],
    inline: frozenset[Node],
    enabled: bool,
    places: dict[Node, Node],
) -> Graph:
    """Each group as a `fused` node, in an order in which every operand is ready."""
    mapping: dict[Tensor, Tensor] = {}
    for item in _order(graph, group_of, inline):
        if isinstance(item, Group):
            if not item.nodes:  # its readers make all that it did
                continue
            for part in _apart(item, group_of):
                made = _emit(part, inline, mapping)
                for node in part.nodes:
                    if group_of[node] is item or node not in places:
                        places[node] = made
            continue
        operands = [mapping.get(operand, operand) for operand in item.operands]
        made = item.remake(operands)
        if item.regions and item.op is not FUSED:
            regions = tuple(fuse(region, enabled) for region in item.regions)
            made = Node(item.op, operands, item.attrs, item.groups, regions, item.loc)
        if made is not item:
            mapping.update(zip(item.results, made.results, strict=True))
        places[item] = made
    return graph.map(mapping)


def _apart(group: Group, group_of: dict[Node, Group]) -> list[Group]:
    """The group, and before it what it would not compute where one of its axes is empty.

    A value of fewer axes is computed at every index of those that it lacks: at none, if there is
    none.  If it is stored, that would leave what was in memory before.
    """
    left = group.nodes
    parts: list[Group] = []
    for node in group.nodes:
        (value,) = node.results
        if node not in left or value not in group.stores:
            continue
        if may_be_skipped(value.shape, group.space):
            part = cone(left, [value])
            own = {n for n in part if group_of[n] is group}
            left = [n for n in left if n not in own]
            read = {operand for n in left for operand in n.operands} | group.stores
            stores = {n.results[0] for n in own} & read
            parts.append(Group(Space(value.shape), group.level, part, stores=stores))
    if not parts:
        return [group]
    stores = group.stores & {n.results[0] for n in left}
    last = cone(left, stores)
    return [*parts, Group(group.space, group.level, last, stores=stores)] if last else parts


def _order(
    graph: Graph, group_of: dict[Node, Group], inline: frozenset[Node]
) -> list[Group | Node]:
    """Groups and lone nodes, each after what it reads."""
    order: list[Group | Node] = []
    opened, done = set[Group | Node](), set[Group | Node]()
    for start in graph.nodes:
        stack: list[tuple[Group | Node, bool]] = [(group_of.get(start, start), False)]
        while stack:
            item, ready = stack.pop()
            if ready:
                order.append(item)
                done.add(item)
                continue
            if item in opened:
                continue
            opened.add(item)
            stack.append((item, True))
            members = dict.fromkeys(item.nodes if isinstance(item, Group) else [item])
            for node in members:
                for position, operand in enumerate(node.operands):
                    below = group_of.get(operand.node, operand.node)
                    unready = operand.node not in members and below not in done
                    if unready and is_read(inline, node, position):
                        assert below not in opened, "two groups read each other"
                        stack.append((below, False))
    return order


def _scalar(tensor: Tensor) -> Tensor | None:
    """The rank-0 constant behind views that only repeat it."""
    while tensor.node.op.kind == "view":
        tensor = tensor.node.operands[0]
    value = tensor.node.attrs.get("value")
    if tensor.node.op.name == "constant" and isinstance(value, Array):
        number = value.uniform()
        if number is None:
            return None
        return (
            tensor if tensor.ndim == 0 else apply(CONSTANT, (), value=Array(value.values.flat[0]))
        )
    return tensor if tensor.node.op.name == "dimension" else None


def _emit(group: Group, inline: frozenset[Node], mapping: dict[Tensor, Tensor]) -> Node:
    """The group's node."""
    members = set(group.nodes)
    reads = [
        operand
        for node in group.nodes
        for position, operand in enumerate(node.operands)
        if operand.node not in members and is_read(inline, node, position)
    ]
    outer = list(dict.fromkeys(reads))
    outputs = [value for node in group.nodes if (value := node.results[0]) in group.stores]
    inner: dict[Tensor, Tensor] = {}
    for scalars in (_scalars(group, outer), {}):
        memory = [operand for operand in outer if operand not in scalars]
        inner = scalars | {t: placeholder_like(t.type, f"a{i}") for i, t in enumerate(memory)}
        outer = memory if scalars else outer
        if _rebuilds(group.nodes, inner):
            break
        outer = list(dict.fromkeys(reads))
    inputs = [inner[operand] for operand in outer if operand in inner]
    region = Graph("kernel", inputs, [inner.get(output, output) for output in outputs])
    operands = [mapping.get(operand, operand) for operand in outer]
    loc = merge(node.loc for node in group.nodes)
    made = Node(FUSED, operands, {}, None, (region,), loc)
    mapping.update(zip(outputs, made.results, strict=True))
    return made


def _rebuilds(nodes: list[Node], mapping: dict[Tensor, Tensor]) -> bool:
    """Make the nodes again over other operands; whether all results keep their types.

    A scalar in the place of an array can change the shape of a result, and so be none that an
    index may have.
    """
    try:
        rebuild(nodes, mapping)
    except GradloomError:
        return False
    return all(mapping.get(t, t).type == t.type for node in nodes for t in node.results)


def _scalars(group: Group, outer: list[Tensor]) -> dict[Tensor, Tensor]:
    """Operands that are one number throughout, and that only element-wise nodes read."""
    others = {
        operand
        for node in group.nodes
        if node.op.kind != "elementwise"
        for operand in node.operands
    }
    found = {operand: _scalar(operand) for operand in outer if operand not in others}
    return {operand: scalar for operand, scalar in found.items() if scalar is not None}
