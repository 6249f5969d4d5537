"""Totals: sums of products that a loop only adds up are one product behind it.

The gradient by a weight is such a sum: in each step of the way back a product of few rows is added
to a matrix, which no cache close to a core holds together with what the step else needs.  Kept for
all steps, these rows are the rows of one product, as long as the loop.  A product's sums are chains
of multiply-adds from a start on, row by row, and so are those of the loop: no bit changes as long
as the rows stand in the order of the steps.  A loop that goes backwards is one that goes forwards
over flipped sequences; so its rows do.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import copysign
from typing import NamedTuple

from ..ir.graph import Graph
from ..ir.loc import located
from ..ir.ops.contraction import matmul_, matmul_add
from ..ir.ops.scan import SCAN, Scan, make_scan
from ..ir.ops.shape import permute_dims, reshape
from ..ir.ops.slicing import flip
from ..ir.ops.while_loop import WHILE
from ..ir.tensor import Node, Tensor
from .contained import place_in, slice_in
from .hoist import Known, for_all_steps, when_known
from .nominal import nominal
from .pattern import uniform
from .report import Report
from .unroll import pays
from .walk import remake

SOME = 32  # rows in a batch of as many as a call has
MANY = 4096  # and where there are many
MORE = 1.25  # times as much memory may then be needed


STORES = ("region", "contraction")  # what reads arrays that no kernel of its own makes


class Total(NamedTuple):
    """A carry to which each step adds rowsᵀ @ right: by its number, and the node that adds."""

    place: int
    node: Node
    rows: Tensor
    right: Tensor


def totals(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with sums of products that scans only add up as products behind them, where what
    is kept for these is less than what is no longer gone through; in branches too.

    Not in loops: who has a loop of loops may have cut it in segments, to keep little.
    """
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        if node.op in (SCAN, WHILE):
            made = node.remake([mapping.get(operand, operand) for operand in node.operands])
        else:
            made = remake(node, mapping, lambda region: totals(region, report))
        results: Sequence[Tensor] = made.results
        if made.op.name == "scan":
            results = _shortened(graph, Scan(node), Scan(made), report)
        if results is not node.results:
            mapping.update(zip(node.results, results, strict=True))
    return graph.map(mapping) if mapping else graph


def _shortened(
    graph: Graph, before: Scan, scan: Scan, report: list[Report] | None
) -> Sequence[Tensor]:
    """The results of the scan, by a loop with fewer sums; `before`: as it stands in the graph."""
    unread = _unread(graph, before)
    found = _worthwhile(scan, [total for total in _totals(scan) if total.place in unread])
    if not found or not _finds_room(graph, before, _kept(scan, found)):
        return scan.node.results
    if report is not None:
        report += [Report("added up behind the loop", "matmul", t.node.loc) for t in found]
    return _behind(scan, found)


def _unread(graph: Graph, scan: Scan) -> set[int]:
    """The numbers of the carries whose values on the way nobody reads."""
    read = graph.results_set | graph.users.keys()
    return {i for i, history in enumerate(scan.history) if history not in read}


def _totals(scan: Scan) -> list[Total]:
    """The sums that the body does nothing with but to add to them; none of a loop that may stop,
    since what it reads of steps that it does not take counts for nothing."""
    if scan.proceed is not None or scan.limit is not None or pays(scan):
        return []
    body, known, found = scan.body, when_known(scan), list[Total]()
    for i, (before, after) in enumerate(
        zip(body.inputs, body.outputs[: len(scan.carries)], strict=False)
    ):
        node = after.node
        if node.op.name != "matmul_add" or node.operands[2] is not before:
            continue
        reads = [t for user in {*body.users[before]} for t in user.operands if t is before]
        gives = [t for t in body.outputs if t is before or t is after]
        left, right = node.operands[:2]
        if len(reads) > 1 or len(gives) > 1 or after in body.users:
            continue
        rows = _rows(left)
        if rows is None or any(known[t] is Known.BEFORE or _is_of_a_loop(t) for t in (left, right)):
            continue
        found.append(Total(i, node, rows, right))
    return _as_parts(found)


def _rows(left: Tensor) -> Tensor | None:
    """The matrix whose columns are those of a left side as rows, if there is one."""
    if left.node.op.name == "permute":
        return left.node.operands[0]
    return reshape(left, left.shape[::-1]) if left.shape[1] == 1 else None


def _origin(tensor: Tensor) -> Tensor:
    """What a tensor is a view of."""
    while tensor.node.op.kind == "view":
        tensor = tensor.node.operands[0]
    return tensor


def _is_of_a_loop(tensor: Tensor) -> bool:
    """Whether a loop inside made it, step by step: to keep less than all steps need."""
    while tensor.node.op.kind in ("view", "order"):
        tensor = tensor.node.operands[0]
    return tensor.node.op.name == "scan"


def _as_parts(found: Sequence[Total]) -> list[Total]:
    """The same, with what is part of a concat that another reads as a slice of that: so the two
    are kept as one."""
    read = dict.fromkeys(_origin(t) for total in found for t in (total.rows, total.right))
    wholes = [tensor for tensor in read if tensor.node.op.name == "concat"]

    def part(tensor: Tensor) -> Tensor:
        made = tensor
        while made.node.op.name == "reshape":
            made = made.node.operands[0]
        for whole in wholes:
            if place_in(made, whole) is not None:
                found = slice_in(made, whole, whole)
                return found if tensor is made else reshape(found, tensor.shape)
        return tensor

    return [total._replace(rows=part(total.rows), right=part(total.right)) for total in found]


def _worthwhile(scan: Scan, found: Sequence[Total]) -> list[Total]:
    """Those for which a step keeps fewer numbers than it would go through, all of one right side
    together, for they share it."""
    chosen: list[Total] = []
    for right in dict.fromkeys(_origin(total.right) for total in found):
        group = [total for total in found if _origin(total.right) is right]
        kept = sum(map(_size, _kept(scan, group)))
        if kept <= sum(_size(total.node.results[0]) for total in group):
            chosen += group
    return chosen


def _size(tensor: Tensor, some: int = SOME) -> int:
    """How many numbers it holds; where sizes have names, of a small batch."""
    return nominal(tensor.size, some)


def _finds_room(graph: Graph, scan: Scan, kept: Sequence[Tensor]) -> bool:
    """Whether all steps may keep as much, for a batch of as many rows as a call has: where these
    are many, what then lives is not much more than what lives somewhere anyway, each result beside
    what it is made of."""
    if all(isinstance(tensor.size, int) for tensor in kept):
        return True
    ends, stored = dict[Tensor, int](), dict[Tensor, None]()
    for place, node in enumerate(graph.nodes):
        for tensor in _reads(node):
            turned = tensor.node.op.name == "permute" and node.op.kind == "region"
            origin = tensor if turned else _origin(tensor)
            ends[origin] = place
            if turned or (origin.node.op.kind != "leaf" and node.op.kind in STORES):
                stored[origin] = None
    place_of = {node: place for place, node in enumerate(graph.nodes)}
    changes = [0] * (len(place_of) + 1)
    for tensor in stored:
        changes[place_of[tensor.node]] += _size(tensor, MANY)
        changes[ends[tensor] + 1] -= _size(tensor, MANY)
    lives = list(accumulate(changes))
    more = nominal(scan.length, MANY) * sum(_size(tensor, MANY) for tensor in kept)
    return lives[place_of[scan.node]] + more <= MORE * max(lives)


def _reads(node: Node) -> Sequence[Tensor]:
    """What a node reads; of a scan no sequence that its steps do nothing with."""
    if node.op is not SCAN:
        return node.operands
    scan = Scan(node)
    inputs, used = scan.body.inputs, scan.body.users
    entries = inputs[len(scan.carries) : len(scan.carries) + len(scan.sequences)]
    idle = {
        sequence
        for sequence, entry in zip(scan.sequences, entries, strict=True)
        if entry not in used and entry not in scan.body.results_set
    }
    return [tensor for tensor in node.operands if tensor not in idle]


def _kept(scan: Scan, found: Sequence[Total]) -> list[Tensor]:
    """What of the body has to be kept for them: what is no part of a sequence, nor kept anyway.

    Of views that together are no smaller it is what they are views of.
    """
    start = len(scan.carries)
    there = {*scan.body.inputs[start : start + len(scan.sequences)], *scan.body.outputs[start:]}
    views: dict[Tensor, dict[Tensor, None]] = {}
    for total in found:
        for tensor in (total.rows, total.right):
            views.setdefault(_origin(tensor), {})[tensor] = None
    kept: list[Tensor] = []
    for origin, seen in views.items():
        if origin not in there:
            whole = _size(origin) <= sum(map(_size, seen))
            kept += [origin] if whole else seen
    return kept


def _behind(scan: Scan, found: Sequence[Total]) -> list[Tensor]:
    """The results of the scan, made by one that goes forwards without these sums."""
    body, n = scan.body, len(scan.carries)
    gone, kept = {total.place for total in found}, _kept(scan, found)
    stays = [i for i in range(n) if i not in gone]

    def turned(tensor: Tensor) -> Tensor:
        return flip(tensor, 0) if scan.reverse else tensor

    with located(scan.node.loc):
        made = make_scan(
            Graph(
                body.name,
                [*(body.inputs[i] for i in stays), *body.inputs[n:]],
                [*(body.outputs[i] for i in stays), *body.outputs[n:], *kept],
                parameters=(),
            ),
            [scan.carries[i] for i in stays],
            [turned(sequence) for sequence in scan.sequences],
            scan.constants,
            scan.length,
            reverse=False,
        )
        count = len(scan.stacked)
        finals = dict(zip(stays, made.finals, strict=True))
        history = dict(zip(stays, map(turned, made.history), strict=True))
        stacked = [turned(rows) for rows in made.stacked[:count]]
    there = dict(zip((*body.outputs[n:], *kept), made.stacked, strict=True))
    read = dict.fromkeys(tensor for total in found for tensor in (total.rows, total.right))
    wholes = dict(zip(read, for_all_steps(made, [*read], there), strict=True))
    for total in found:
        with located(total.node.loc):
            finals[total.place] = _product(
                wholes[total.rows], wholes[total.right], scan.carries[total.place]
            )
            history[total.place] = scan.history[total.place]  # that nobody reads
    return [*(finals[i] for i in range(n)), *stacked, *(history[i] for i in range(n))]


def _product(rows: Tensor, right: Tensor, start: Tensor) -> Tensor:
    """start + Σₜ rows[t]ᵀ @ right[t]"""
    length, count, width = rows.shape
    left = reshape(permute_dims(rows, (2, 0, 1)), (width, length * count))
    right = reshape(right, (length * count, right.shape[-1]))
    number = uniform(start)
    if number == 0 and copysign(1, number) > 0:
        return matmul_(left, right)
    return matmul_add(left, right, start)
