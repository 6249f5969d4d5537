"""The driver of rules: formulas (or small functions) tried at every node until none applies.

Each walk goes once through the graph in order, so a node's operands are rewritten before it, and
what one rule makes another may match.  Walks are repeated while something changes, a bounded
number of times.  A rule can only put a value of the same type in a node's place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from ..ir.errors import GradloomError
from ..ir.graph import Graph
from ..ir.loc import Loc, located, merge
from ..ir.ops.build import constant
from ..ir.ops.shape import broadcast_to
from ..ir.tensor import Node, Tensor
from .cse import cse
from .pattern import (
    SELECTING,
    Apply,
    Match,
    Pattern,
    build,
    candidates,
    find,
    ops_of,
    orders,
    parse_pattern,
)
from .positive import has_log, is_positive
from .report import Report
from .requests import asked_about, has_requests
from .walk import remake
from .widen import rounded_once

_MOST_WALKS = 32
_MOST_AT_A_NODE = 16
_MOST_OPERANDS = 3  # of nodes for which it is kept what rules come into question
_ARITHMETIC = {  # in an inner place, as reports call it
    "add": "sum",
    "subtract": "difference",
    "multiply": "product",
    "divide": "quotient",
    "negative": "negative",
    "gated_multiply": "product",
    "gated_divide": "quotient",
}

Code = Callable[[Node], Tensor | None]
Candidates = tuple[frozenset[str] | None, ...]
Origins = dict[tuple[str, Loc], Sequence[str]]


def _told(name: str) -> str:
    return _ARITHMETIC.get(name, name).replace("_", "-")


@dataclass(frozen=True, eq=False)
class Rule:
    """`formula` is ``left -> right``, and `reason` why the right side is better and as true.

    condition: what the formula cannot say, from the match.
    logs: variables of which each must be positive, and one have a logarithm of its own.
    code, roots: where a formula cannot say it at all, a function that tries a node of one of the
    ops `roots` and gives the replacement; the formula then is for the reader.
    beside: ops of which one makes an operand, or `code` has nothing to do.
    forgets: the right side lacks a tensor of the left.  Such a rule waits until no derivative is
    asked for: the derivative by that tensor is zero, but no path would lead to it any more.
    late: waits until the rules that are not find nothing more: for general rules, which would
    hide from plain ones what they look for.
    whole: of halves, what `code` makes is computed in float32 and rounded once.  For what no other
    rule looks into: terms that are far larger than their sum, and numbers a half cannot be.
    title: what reports call it, where `name` finds no good name in the formula.
    """

    formula: str
    reason: str
    condition: Callable[[Match], bool] | None = None
    logs: tuple[str, ...] = field(default=(), kw_only=True)
    code: Code | None = field(default=None, kw_only=True)
    roots: tuple[str, ...] = field(default=(), kw_only=True)
    beside: tuple[str, ...] = field(default=(), kw_only=True)
    forgets: bool = field(default=False, kw_only=True)
    late: bool = field(default=False, kw_only=True)
    whole: bool = field(default=False, kw_only=True)
    title: str = field(default="", kw_only=True)

    @cached_property
    def left(self) -> Pattern:
        return parse_pattern(self.formula.split("->")[0])

    @cached_property
    def right(self) -> Pattern:
        return parse_pattern(self.formula.split("->")[1])

    @cached_property
    def orders(self) -> tuple[tuple[Pattern, Candidates], ...]:
        """The left side with the operands of commutative ops in every order, and for each the ops
        that its operands can be results of: most patterns are out of the question at a glance."""
        assert isinstance(self.left, Apply)
        return tuple(
            (order, tuple(map(candidates, order.operands)))
            for order in orders(self.left)
            if isinstance(order, Apply)
        )

    @cached_property
    def root_ops(self) -> tuple[str, ...]:
        """Names of the ops at which the rule is tried."""
        if self.code is not None:
            return self.roots
        assert isinstance(self.left, Apply)
        return (self.left.op.name,)

    @cached_property
    def name(self) -> str:
        """What reports call it: ``log-softmax`` for a rule that finds one, ``log of exp`` where
        nothing but these meet, else its formula."""
        if self.title:
            return self.title
        try:
            left, right = list(ops_of(self.left)), list(ops_of(self.right))
        except (ValueError, SyntaxError):  # of a rule in code it may be prose
            return self.formula
        plain = {*_ARITHMETIC, *left, "sum", "cumulative_sum"}
        new = [name for name in right if name not in plain]
        moved = left[0] not in _ARITHMETIC and left[0] in right[1:] and new[:1] != right[:1]
        if not moved and right and right[0] not in _ARITHMETIC:
            return _told(right[0])
        if not moved and new:  # else a log, say, goes inwards: log(where(…)) -> where(…log…)
            return _told(new[0])
        special = [name for name in left if name not in _ARITHMETIC]
        inner = left[1:] if special[:1] == left[:1] else special
        told = [_told(name) for name in (*left[:1], *inner[:1])]
        return " of ".join(told) if special else self.formula

    def __repr__(self) -> str:
        return f"<rule {self.formula}>"

    def _holds(self, match: Match) -> bool:
        if self.logs:
            positive = [match.tensors[name] for name in self.logs]
            if not (all(map(is_positive, positive)) and any(map(has_log, positive))):
                return False
        return self.condition is None or self.condition(match)

    def may_apply(self, ops: Sequence[str]) -> bool:
        """Whether it could hold at a node whose operands are results of `ops`."""
        if self.code is not None:
            return not self.beside or any(name in self.beside for name in ops)
        return any(_may_stand(inner, ops) for _, inner in self.orders)

    def apply(self, node: Node, opaque: Iterable[Tensor] = ()) -> tuple[Tensor, list[Node]] | None:
        """What to put in place of the node's result, and the nodes that this was read from."""
        root = node.results[0]
        if self.code is not None:
            if any(operand in opaque and _has_inside(operand) for operand in node.operands):
                return None
            with located(node.loc):
                made = self.code(node)
                if made is not None and self.whole and root.dtype.is_half:
                    made = rounded_once(made, node.operands)
                fitted = None if made is None else _fit(made, root)
            return None if fitted is None else (fitted, [node])
        ops = [operand.node.op.name for operand in node.operands]
        for order, inner in self.orders:
            match = find(order, root, opaque) if _may_stand(inner, ops) else None
            if match is None or not self._holds(match):
                continue
            with located(merge(n.loc for n in match.nodes)):
                try:
                    built = build(self.right, match)
                except (GradloomError, ValueError):
                    continue
                made = built if isinstance(built, Tensor) else constant(built, root.dtype)
                fitted = _fit(made, root)
            if fitted is not None:
                return fitted, match.nodes
        return None


def _may_stand(inner: Candidates, ops: Sequence[str]) -> bool:
    """Whether operands that are results of `ops` could be what a pattern has in their places."""
    return len(inner) == len(ops) and all(
        names is None or name in names for names, name in zip(inner, ops, strict=True)
    )


def _has_inside(tensor: Tensor) -> bool:
    """Whether a rule in code could look into a tensor that a derivative is asked by."""
    return tensor.node.op.kind != "leaf" and tensor.node.op.name != "pin"


def _fit(made: Tensor, root: Tensor) -> Tensor | None:
    """`made` with the type of `root`, by broadcasting at most."""
    if made.type == root.type:
        return made
    if made.dtype != root.dtype or made.ndim > root.ndim:
        return None
    tail = root.shape[root.ndim - made.ndim :]
    if any(size not in (1, wanted) for size, wanted in zip(made.shape, tail, strict=True)):
        return None
    return broadcast_to(made, root.shape)


def _core(made: Tensor, nodes: Sequence[Node]) -> str:
    """The op that a rule made of `nodes`, behind what only selects; empty where it made none."""
    known = {operand for node in nodes for operand in node.operands}
    while made not in known and made.node.op.kind in SELECTING:
        made = made.node.operands[0]
    return "" if made in known else made.node.op.name


class _Table:
    """Rules by the op of a node and those of its operands: few of hundreds come into question."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.by_root: dict[str, list[Rule]] = {}  # an op that came later has no rules
        for rule in rules:
            for name in rule.root_ops:
                self.by_root.setdefault(name, []).append(rule)
        self.by_ops: dict[tuple[str, ...], list[Rule]] = {}

    def at(self, node: Node) -> Sequence[Rule]:
        """The rules that may hold at `node`, in their order."""
        ops = tuple(operand.node.op.name for operand in node.operands)
        key = (node.op.name, *ops)
        found = self.by_ops.get(key)
        if found is None:
            found = [rule for rule in self.by_root.get(node.op.name, ()) if rule.may_apply(ops)]
            if len(ops) <= _MOST_OPERANDS:
                self.by_ops[key] = found
        return found


_table = lru_cache(maxsize=16)(_Table)


def rewrite(
    graph: Graph, rules: Sequence[Rule], earlier: Iterable[Report] = ()
) -> tuple[Graph, list[Report]]:
    """The graph with `rules` applied wherever they hold, regions included, and what was done.

    earlier: reports of rewriting before, from which is known what an op stood for.
    """
    waiting = has_requests(graph)
    fitting = tuple(rule for rule in rules if not (waiting and rule.forgets))
    plain = tuple(rule for rule in fitting if not rule.late)
    reports: list[Report] = []
    origins = {(report.made, report.loc): report.was for report in earlier}
    settled: set[Node] = set()
    for stage in (plain, fitting) if len(plain) < len(fitting) else (plain,):
        for _ in range(_MOST_WALKS):
            graph = cse(graph)
            before = len(reports)
            graph = _Walk(_table(stage), reports, origins, settled).graph(graph)
            if len(reports) == before:
                break
    return graph, reports


class _Walk:
    """One walk.

    origins: remembers what an op that a rule made, at its lines, stood for.
    settled: nodes at which no rule holds, but for late ones perhaps.  What a rule reads stands
    above the node and never changes, so later walks need not try again.
    """

    def __init__(
        self, table: _Table, reports: list[Report], origins: Origins, settled: set[Node]
    ) -> None:
        self.table = table
        self.reports = reports
        self.origins = origins
        self.settled = settled

    def graph(self, graph: Graph) -> Graph:
        mapping: dict[Tensor, Tensor] = {}
        opaque = asked_about(graph)
        for node in graph.nodes:
            made = remake(node, mapping, self.graph)
            if not opaque.isdisjoint(node.results):
                opaque.update(made.results)
            elif len(made.results) == 1:
                result = self.reduce(made, opaque)
                if result is not node.results[0]:
                    mapping[node.results[0]] = result
                continue
            if made is not node:
                mapping.update(zip(node.results, made.results, strict=True))
        return graph.map(mapping) if mapping else graph

    def reduce(self, node: Node, opaque: set[Tensor]) -> Tensor:
        result = node.results[0]
        for _ in range(_MOST_AT_A_NODE):
            replacement = self.step(result, opaque)
            if replacement is None:
                self.settled.add(result.node)
                break
            result = replacement
            if result in opaque or len(result.node.results) != 1:
                break
        return result

    def step(self, tensor: Tensor, opaque: set[Tensor]) -> Tensor | None:
        node = tensor.node
        settled = node in self.settled
        for rule in self.table.at(node):
            found = None if settled and not rule.late else rule.apply(node, opaque)
            if found is not None:
                made, nodes = found
                was = [w for n in nodes for w in self.origins.get((n.op.name, n.loc), (n.op.name,))]
                names, loc = tuple(dict.fromkeys(was)), merge(n.loc for n in nodes)
                now = _core(made, nodes)
                if now:
                    self.origins.setdefault((now, loc), names)
                self.reports.append(
                    Report(rule.name, node.op.name, loc, names, now, rule.formula, rule.reason)
                )
                return made
        return None
