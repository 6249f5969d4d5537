"""Lower loops, so that no step copies what it can write where the next one reads it.

A carry whose values of all steps are wanted lives in its *trail*, memory of one entry more than
there are steps: a step reads one entry and writes the next, through two windows.  The last carry,
the history, and the new carries where they are stacked, are parts of the trail.  Any other carry
has one buffer, in which a kernel replaces the old value where it may (``carries.py``); what is
left is copied when a step is done.  In the same way what is stacked replaces a sequence that
nobody else reads, entry by entry: half the memory goes through the caches then.  A loop that may
stop early has no trails, since its last carry could lie anywhere; and rows of steps not taken are
zeros beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ..ir.array import Array
from ..ir.dims import DimLike
from ..ir.dtypes import float32, float64
from ..ir.graph import Graph
from ..ir.op import View
from ..ir.ops.branch import SWITCH
from ..ir.ops.control import FUSED
from ..ir.ops.scan import SCAN, Scan
from ..ir.ops.while_loop import WHILE, While, loop_of
from ..ir.program import Break, Loop
from ..ir.tensor import Node, Tensor, TensorType
from ..ir.units import panel_columns
from .carries import assign, is_private, is_read_as_written, overwriting, root, views_of
from .nominal import NOMINAL, nominal
from .schedule import schedule
from .storage import (
    Lowering,
    Stored,
    as_type,
    contiguous,
    copy,
    dense,
    fills_buffer,
    in_panels,
    is_whole,
    move,
    right_sides,
    rows,
    sole_right,
    typed,
)

MANY = 16  # steps for which a copy of a matrix is worth its time
LARGE = 1 << 15  # bytes of a matrix that the first cache has no room for beside the rest

Places = dict[Tensor, Stored]
Lower = Callable[[Lowering, Graph, Places, Places, list[Node]], None]  # `lower_nodes`, which calls


def lower_loop(
    state: Lowering, graph: Graph, stored: Places, wanted: Places, node: Node, lower: Lower
) -> None:
    """Steps before the loop, the loop, and where its results lie: those in `wanted` there."""
    _Loop(state, graph, stored, wanted, loop_of(node), lower).lowered()


@dataclass
class _Loop:
    """A scan or while_loop on its way to a native loop.

    inner: where the body's tensors lie.  windows: those that the loop moves.  trails: by number of
    the carry.  carried: the buffers that take the new carries.  rows: windows that take an entry in
    each step, and which.  replaced: of what is stacked, the entry over which each is written.
    """

    state: Lowering
    graph: Graph
    stored: Places
    wanted: Places
    loop: Scan | While
    lower: Lower
    inner: Places = field(default_factory=dict[Tensor, Stored])
    windows: list[str] = field(default_factory=list[str])
    trails: dict[int, str] = field(default_factory=dict[int, str])
    carried: list[str] = field(default_factory=list[str])
    rows: list[tuple[str, Tensor]] = field(default_factory=list[tuple[str, Tensor]])
    replaced: dict[Tensor, Tensor] = field(default_factory=dict[Tensor, Tensor])

    def lowered(self) -> None:
        state, loop = self.state, self.loop
        self.place_carries()
        self.place_sequences()
        late = self.place_rows()
        fixed = self.lower_fixed(loop.body, self.inner, loop.body.inputs[len(loop.carries) :])
        asked = self.asked()
        limit = "" if loop.limit is None else typed(state, self.stored, loop.limit)

        before, state.steps = state.steps, []
        outermost = state.early is None
        if outermost:
            state.early = before
        if loop.proceed is not None:
            rest = [node for node in loop.proceed.nodes if node.op.kind != "leaf"]
            self.lower(state, loop.proceed, asked, {}, rest)
            state.steps.append(Break(typed(state, asked, loop.proceed.outputs[0])))
        self.lower_body([node for node in schedule(loop.body) if node not in fixed])
        body, state.steps = tuple(state.steps), before
        if outermost:
            state.early = None

        count = ""
        if loop.steps is not None and self.is_read(loop.steps):
            type_ = loop.steps.type
            place = self.stored[loop.steps] = self.wanted.get(loop.steps) or state.temporary(type_)
            count = as_type(state, place.buffer, type_)
        state.steps.append(Loop(loop.length, tuple(self.windows), body, limit, count))
        for i, final in enumerate(loop.finals):
            if self.is_read(final):
                self.leave(final, self.last(i))
        for result, place in late:
            self.leave(result, place)

    # --- where things lie ---------------------------------------------------------------------

    @cached_property
    def entering(self) -> tuple[Tensor, ...]:
        """The carries as the body gets them."""
        return self.loop.body.inputs[: len(self.loop.carries)]

    @cached_property
    def leaving(self) -> tuple[Tensor, ...]:
        """The carries as the body leaves them."""
        return self.loop.body.outputs[: len(self.loop.carries)]

    @cached_property
    def stacked(self) -> list[tuple[Tensor, Tensor]]:
        """What of the body is kept of each step, and the result that holds it."""
        loop = self.loop
        inside = (*loop.body.outputs[len(loop.carries) :], *self.entering)
        pairs = zip(inside, (*loop.stacked, *loop.history), strict=False)  # none of a while_loop
        return [(y, result) for y, result in pairs if self.is_read(result)]

    @property
    def length(self) -> DimLike:
        """How many entries trails and stacked results have; a while_loop has none of these."""
        return 0 if self.loop.length is None else self.loop.length

    @property
    def stops(self) -> bool:
        """Whether it is not known where the last step stands."""
        return self.loop.proceed is not None or self.loop.limit is not None

    def is_read(self, result: Tensor) -> bool:
        return result in self.graph.results_set or bool(self.graph.users.get(result))

    def window(self, of: str, type_: TensorType, start: DimLike = 0, flipped: bool = False) -> str:
        """A buffer that the loop moves over `of`; the other way where that is `flipped`."""
        reverse = self.loop.reverse is not flipped
        made = self.state.buffer("window", type_, of=of, reverse=reverse, start=start)
        self.windows.append(made)
        return made

    def part(self, i: int, type_: TensorType, start: DimLike) -> Stored:
        """A part of a trail."""
        return Stored(
            self.state.buffer("window", type_, of=self.trails[i], start=start), dense(type_)
        )

    def place_carries(self) -> None:
        """Trails, or buffers, with what enters the first step in them."""
        state, loop = self.state, self.loop
        for i, carry in enumerate(loop.carries):
            before, after = self.entering[i], self.leaving[i]
            type_, target = carry.type, self.wanted.get(loop.finals[i])
            kept = any(
                y in {before, after} and result not in self.wanted for y, result in self.stacked
            )
            if kept and after is not before and not self.stops:
                entries = TensorType(type_.dtype, (self.length + 1, *type_.shape))
                trail = self.trails[i] = state.temporary(entries).buffer
                first = self.part(i, type_, self.length if loop.reverse else 0)
                move(state, carry, self.stored[carry], first.buffer)
                self.inner[before] = Stored(self.window(trail, type_), dense(type_))
                self.carried.append(self.window(trail, type_, 1))
                continue
            place = self.stored[carry]
            own = state.buffers[place.buffer].kind == "temporary" and is_whole(state, place, type_)
            if target is None and own and is_private(state, self.graph, carry, loop.node):
                target = replace(place, panels=None)
            target = target or state.temporary(type_)
            if place.buffer != target.buffer:
                move(state, carry, place, target.buffer)
            self.inner[before] = target
            self.carried.append(target.buffer)

    def place_sequences(self) -> None:
        loop, n = self.loop, len(self.loop.carries)
        for sequence, entry in zip(loop.sequences, loop.body.inputs[n:], strict=False):
            place = self.stored[sequence]
            if place.view.strides[0] == 0:  # all entries are one
                view = View(place.view.strides[1:], place.view.offset)
                self.inner[entry] = Stored(place.buffer, view)
                continue
            turned = _turned(place, sequence.type)
            flipped = turned.view.strides == dense(sequence.type).strides and not self.stops
            lies = {sequence: turned if flipped else place}
            window = self.window(rows(self.state, lies, sequence), entry.type, flipped=flipped)
            self.inner[entry] = Stored(window, dense(entry.type))
        fixed = loop.body.inputs[n + len(loop.sequences) :]
        for constant, own in zip(loop.constants, fixed, strict=True):
            self.inner[own] = self.stored[constant]

    def place_rows(self) -> list[tuple[Tensor, Stored]]:
        """Windows over what is stacked; returns results that lie elsewhere when all is done."""
        late: list[tuple[Tensor, Stored]] = []
        constants = set(self.loop.body.inputs[len(self.loop.carries) + len(self.loop.sequences) :])
        for y, result in self.stacked:
            place = self.kept(y)
            if place is not None:
                late.append((result, place))
                continue
            if self.replaces(y, result):
                continue
            place = self.stored[result] = self.wanted.get(result) or self.state.temporary(
                result.type
            )
            if y in constants and not self.stops:
                lies = self.inner[y]
                view = View((0, *lies.view.strides), lies.view.offset)
                copy(self.state, result, Stored(lies.buffer, view), place)
                continue
            if self.stops:
                zero = Array(np.zeros((), result.dtype.numpy))
                scalar = TensorType(result.dtype, ())
                name = self.state.buffer("constant", scalar, value=zero)
                copy(self.state, result, Stored(name, View((0,) * result.ndim, 0)), place)
            all_rows = as_type(self.state, place.buffer, result.type)
            self.rows.append((self.window(all_rows, y.type), y))
        return late

    def replaces(self, y: Tensor, result: Tensor) -> bool:
        """Whether each step writes `y` over its entry of a sequence, which so becomes `result`."""
        loop, n = self.loop, len(self.loop.carries)
        if self.stops or result in self.wanted:
            return False
        for sequence, entry in zip(loop.sequences, loop.body.inputs[n:], strict=False):
            place = self.stored[sequence]
            own = self.state.buffers[place.buffer].kind == "temporary"
            if (
                own
                and sequence.type == result.type
                and entry not in set(self.replaced.values())
                and is_whole(self.state, place, sequence.type)
                and is_private(self.state, self.graph, sequence, loop.node)
                and is_read_as_written(loop.body, entry, y)
            ):
                self.stored[result] = place
                self.replaced[root(y)] = entry
                self.rows.append((self.inner[entry].buffer, y))
                return True
        return False

    def kept(self, y: Tensor) -> Stored | None:
        """Where the values of a carry in all steps lie anyway, where all are taken."""
        if self.stops:
            return None
        for i, (before, after) in enumerate(zip(self.entering, self.leaving, strict=True)):
            if y is before and y is after and not self.stops:  # it stays as it is
                place = self.inner[y]
                return Stored(place.buffer, View((0, *place.view.strides), place.view.offset))
            if i in self.trails and (y is before or y is after):
                type_ = TensorType(y.dtype, (self.length, *y.shape))
                return self.part(i, type_, int((y is after) != self.loop.reverse))
        return None

    def last(self, i: int) -> Stored:
        """Where a carry lies when all steps are done."""
        if i in self.trails:
            end = 0 if self.loop.reverse else self.length
            return self.part(i, self.entering[i].type, end)
        return self.inner[self.entering[i]]

    def leave(self, result: Tensor, place: Stored) -> None:
        """A result that lies at `place`; copied to where it is wanted."""
        target = self.wanted.get(result, place)
        if target.buffer != place.buffer:
            move(self.state, result, place, target.buffer)
        self.stored[result] = target

    # --- steps --------------------------------------------------------------------------------

    def lower_fixed(self, region: Graph, inner: Places, inputs: Sequence[Tensor]) -> set[Node]:
        """What is the same in each step, before the loop: views of constants, kernels of nothing
        else (masks, say), and where a reader needs them dense, copies.  Returns these nodes."""
        fixed = {tensor for tensor in inputs if inner[tensor].buffer not in self.windows}
        nodes: list[Node] = []
        for node in region.nodes:
            can_move = node.op.kind in ("view", "leaf") or (
                node.op is FUSED
                and not self.state.guarded
                and not any(item.op.check for item in node.regions[0].nodes)
            )
            if can_move and all(operand in fixed for operand in node.operands):
                fixed.update(node.results)
                nodes.append(node)
        self.state.fixed.update(nodes)
        self.lower(self.state, region, inner, {}, nodes)
        for node in region.nodes:
            for tensor in _dense_operands(node):
                if tensor in fixed:
                    contiguous(self.state, inner, tensor)
            for right in _repeated_rights(node, self.steps) if self.state.walks else ():
                if right in fixed and inner[right].panels is None:
                    panels = in_panels(self.state, right, inner[right])
                    inner[right] = replace(inner[right], panels=panels)
            for tensor in _right_sides(node):
                if tensor in fixed and inner[tensor].panels is None:
                    if inner[tensor].view.strides[-1] != 1:
                        contiguous(self.state, inner, tensor)
        return set(nodes)

    @property
    def steps(self) -> int:
        """How many steps there may be."""
        return NOMINAL if self.loop.length is None else nominal(self.loop.length)

    def asked(self) -> Places:
        """Where the inputs of `proceed` lie, and its numbers, which are made before the loop."""
        proceed, asked = self.loop.proceed, dict[Tensor, Stored]()
        if proceed is not None:
            for i, own in zip(self.loop.asked, proceed.inputs, strict=True):
                asked[own] = self.inner[self.loop.body.inputs[i]]
            numbers = [node for node in proceed.nodes if node.op.kind == "leaf"]
            self.lower(self.state, proceed, asked, {}, numbers)
        return asked

    def lower_body(self, nodes: list[Node]) -> None:
        """One step; what it leaves is written where it belongs, or copied there."""
        state, body, inner = self.state, self.loop.body, self.inner
        known = views_of(body, body.inputs)  # before anything is computed
        first = [node for node in nodes if node.results[0] in known]
        self.lower(state, body, inner, {}, first)
        rows = list(self.rows)
        stays: list[tuple[str, Tensor]] = []
        for i, (target, after) in enumerate(zip(self.carried, self.leaving, strict=True)):
            (rows if i in self.trails else stays).append((target, after))
        for target, y in rows:
            if y in known:  # a carry may be overwritten later on
                move(state, y, inner[y], target)
        rows = [(target, y) for target, y in rows if y not in known]

        wanted: Places = {}
        for target, y in rows:
            made = root(y)
            entry = self.replaced.get(made)
            if entry is not None and inner[entry].buffer == target:
                state.overwritten[made] = target
            elif fills_buffer(made.node):
                wanted.setdefault(made, Stored(target, dense(made.type)))
        candidates: dict[Tensor, Tensor] = {}
        for i, (before, after) in enumerate(zip(self.entering, self.leaving, strict=True)):
            made = root(after)
            free = made not in wanted and made not in self.replaced
            if i not in self.trails and fills_buffer(made.node) and free:
                if views_of(body, [before]).isdisjoint(y for _, y in stays):
                    candidates.setdefault(made, before)
        rest = [node for node in nodes if node not in set(first)]
        candidates = {made: old for made, old in candidates.items() if made.node in set(rest)}
        accepted, order = overwriting(body, rest, candidates)
        for made, before in accepted.items():
            if made.node.op is FUSED:
                state.overwritten[made] = inner[before].buffer
            else:
                wanted[made] = Stored(inner[before].buffer, dense(made.type))
                state.at_once.add(made)
        self.lower(state, body, inner, wanted, order)
        for target, y in rows:
            if inner[y].buffer != target or not is_whole(state, inner[y], y.type):
                move(state, y, inner[y], target)
        assign(state, [(target, y, inner[y]) for target, y in stays])


def _repeated_rights(node: Node, steps: int) -> list[Tensor]:
    """The right sides of products that are worth a copy in panels if they are the same in so many
    steps: each would copy them, block by block, or else find their rows far apart.

    Of a loop, what its own products read in all of its steps."""
    if node.op in (SCAN, WHILE):
        loop = loop_of(node)
        times = NOMINAL if loop.length is None else nominal(loop.length)
        made = [_repeated_rights(inner, steps * times) for inner in loop.body.nodes]
        found = {tensor for some in made for tensor in some}
        own = loop.body.inputs[len(loop.body.inputs) - len(loop.constants) :]
        return [x for x, inside in zip(loop.constants, own, strict=True) if inside in found]
    right = sole_right(node) if node.op is FUSED else None
    if right is None or right.dtype not in (float32, float64) or _reads_no_panels(node):
        return []
    depth, columns = right.shape
    if not (isinstance(depth, int) and isinstance(columns, int)) or steps < MANY:
        return []
    size = depth * columns * right.dtype.bytes
    return [right] if columns > panel_columns(right.dtype) and size >= LARGE else []


def _reads_no_panels(node: Node) -> bool:
    """Whether a fused product has but one row, for which whole rows are best, or a left side of
    which tables of offsets say where it lies, not strides."""
    region = node.regions[0]
    outside = dict(zip(region.inputs, node.operands, strict=True))
    product = next(inner for inner in region.nodes if inner.op.kind == "contraction")
    left = outside.get(product.operands[0])
    if product.results[0].shape[-2] == 1:
        return True
    while left is not None and left.node.op.view is not None:
        (operand,) = left.node.operands
        if left.node.op.view(left.node, dense(operand.type)) is None:
            return True
        left = operand
    return False


def _turned(place: Stored, type_: TensorType) -> Stored:
    """Where the entries of a sequence lie from the last to the first."""
    step, *rest = place.view.strides
    offset = place.view.offset + (type_.shape[0] - 1) * step
    return Stored(place.buffer, View((-1 * step, *rest), offset))


def _dense_operands(node: Node) -> Sequence[Tensor]:
    """Operands that a node needs in C order."""
    if node.op is SCAN:
        return Scan(node).sequences
    return node.operands if node.op.kind == "host" else ()


def _right_sides(node: Node) -> list[Tensor]:
    """Operands that products read as their right sides, perhaps in what is inside the node."""
    if node.op is FUSED:
        return right_sides(node)
    constants: Sequence[Tensor] = ()
    if node.op is SWITCH:
        constants = node.group(1)
    elif node.op in (SCAN, WHILE):
        constants = loop_of(node).constants
    found: set[Tensor] = set()
    for region in node.regions:
        inside = {tensor for item in region.nodes for tensor in _right_sides(item)}
        fixed = region.inputs[len(region.inputs) - len(constants) :]
        found |= {x for x, own in zip(constants, fixed, strict=True) if own in inside}
    return [x for x in constants if x in found]
