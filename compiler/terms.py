"""Formulas about two terms of a sum, or two factors of a product, wherever in it they stand.

``(softplus(x) - y) - x`` holds ``softplus(x) - x`` in no order that a pattern could find.  So a
sum of three or more terms is laid out, and the rules are tried at each two of them; products and
quotients likewise.  What logarithms are multiplied by is gathered here too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir.op import TABLE
from ..ir.ops.arithmetic import add, divide, multiply, negative, subtract
from ..ir.ops.gated import gated_multiply
from ..ir.ops.logarithms import weighted_log, weighted_log1p, weighted_log_ratio
from ..ir.tensor import Node, Tensor
from .pattern import uniform
from .positive import has_log
from .rewrite import Rule

_MOST = 10  # terms that are laid out
Term = tuple[Tensor, bool]  # a term, and whether it is added (a factor: whether it multiplies)


def laid_out(tensor: Tensor, plus: str, minus: str, most: int = _MOST) -> list[Term]:
    """`tensor` as a sum of at most so many terms (or product of factors), its first term first."""
    found: list[Term] = []
    pending: list[Term] = [(tensor, True)]
    while pending:
        term, positive = pending.pop()
        node = term.node
        if len(found) + len(pending) < most and node.op.name in (plus, minus):
            first, second = node.operands
            pending.append((second, positive == (node.op.name == plus)))
            pending.append((first, positive))
        elif node.op.name == "negative" and plus == "add":
            pending.append((node.operands[0], not positive))
        else:
            found.append((term, positive))
    return found


def joined(
    terms: Sequence[Term], plus: Callable[..., Tensor], minus: Callable[..., Tensor]
) -> Tensor:
    """The sum in the order of `terms`: in another, x / y · (z / y), say, may overflow."""
    (total, positive), *rest = terms
    if not positive:
        total = negative(total) if plus is add else divide(1.0, total)
    for term, positive in rest:
        total = plus(total, term) if positive else minus(total, term)
    return total


def _pair(rules: Sequence[Rule], a: Term, b: Term, plus: str, minus: str) -> Term | None:
    """The term that a rule makes of two."""
    if not a[1]:
        if b[1]:
            a, b = b, a
        elif plus == "multiply":
            return None
    positive = a[1]
    op = TABLE[plus if a[1] == b[1] else minus]
    node = Node(op, [a[0], b[0]], {})
    for rule in rules:
        if op.name in rule.root_ops:
            found = rule.apply(node)
            if found is not None:
                return found[0], positive
    return None


def _search(
    node: Node, rules: Sequence[Rule], plus: str, minus: str, interesting: frozenset[str]
) -> list[Term] | None:
    """The terms of `node` after one pair of them has become one, or None."""
    if not any(t.node.op.name in (plus, minus, "negative") for t in node.operands):
        return None
    terms = laid_out(node.results[0], plus, minus)
    if len(terms) < 3:
        return None
    if not any(t.node.op.name in interesting for t, _ in terms):
        return None
    for i, a in enumerate(terms):
        for b in terms[i + 1 :]:
            if a[0] is b[0] and a[1] != b[1] and plus == "add":
                return [t for t in terms if t is not a and t is not b]
            if a[0].node.op.name in interesting or b[0].node.op.name in interesting:
                made = _pair(rules, a, b, plus, minus)
                if made is not None:
                    return [made if t is a else t for t in terms if t is not b]
    return None


def sum_rule(formula: str, reason: str, rules: Sequence[Rule], *interesting: str) -> Rule:
    """A rule that tries `rules` at each two terms of a sum, of which one is `interesting`."""

    def code(node: Node) -> Tensor | None:
        if not node.results[0].dtype.is_float:
            return None
        terms = _search(node, rules, "add", "subtract", frozenset(interesting))
        return None if terms is None else joined(terms, add, subtract)

    return Rule(formula, reason, code=code, roots=("add", "subtract"), title="terms that cancel")


def product_rule(formula: str, reason: str, rules: Sequence[Rule], *interesting: str) -> Rule:
    """A rule that tries `rules` at each two factors of a product, of which one is `interesting`."""

    def code(node: Node) -> Tensor | None:
        if not node.results[0].dtype.is_float:
            return None
        factors = _search(node, rules, "multiply", "divide", frozenset(interesting))
        return None if factors is None else joined(factors, multiply, divide)

    return Rule(
        formula, reason, code=code, roots=("multiply", "divide"), title="factors that cancel"
    )


# --- 0 · log 0 --------------------------------------------------------------------------------

_LOGS: dict[str, Callable[..., Tensor]] = {"log": weighted_log, "log1p": weighted_log1p}
_WEIGHTED: dict[str, Callable[..., Tensor]] = {
    "weighted_log": weighted_log,
    "weighted_log1p": weighted_log1p,
    "weighted_log_ratio": weighted_log_ratio,
}
_MAY_HOLD_LOGS = frozenset({*_LOGS, *_WEIGHTED, "log1mexp", "add", "subtract", "negative"})


def _weigh(weight: Tensor, terms: Sequence[Term]) -> Tensor:
    """weight · Σ terms, with 0 for the product of 0 and log 0."""
    weighted: list[Term] = []
    for term, positive in terms:
        name, operands = term.node.op.name, term.node.operands
        if name == "log1mexp":
            made = gated_multiply(weight, term)
        elif name in _LOGS:
            made = _LOGS[name](weight, *operands)
        elif name in _WEIGHTED:
            made = _WEIGHTED[name](weight * operands[0], *operands[1:])
        else:
            made = weight * term
        weighted.append((made, positive))
    return joined(weighted, add, subtract)


def _log_times(node: Node) -> Tensor | None:
    factors = laid_out(node.results[0], "multiply", "divide")
    for i, (factor, multiplies) in enumerate(factors):
        rest = [*factors[:i], *factors[i + 1 :]]
        if not multiplies or factor.node.op.name not in _MAY_HOLD_LOGS:
            continue
        if not any(up and uniform(t) is None for t, up in rest):
            continue
        if factor.node.op.name == "log" and factor.node.operands[0].node.op.name == "divide":
            x, y = factor.node.operands[0].node.operands
            if has_log(x) or has_log(y):
                return None
            inside = [t for side in (x, y) for t, _ in laid_out(side, "multiply", "divide")]
            if any(up and any(t is other for other in inside) for t, up in rest):
                return weighted_log_ratio(joined(rest, multiply, divide), x, y)
        terms = laid_out(factor, "add", "subtract")
        if any(t.node.op.name in _LOGS and has_log(t.node.operands[0]) for t, _ in terms):
            return None  # it becomes something else first
        if any(t.node.op.name in (*_LOGS, *_WEIGHTED, "log1mexp") for t, _ in terms):
            return _weigh(joined(rest, multiply, divide), terms)
    return None


WEIGHTED = Rule(
    "x * log(y) -> weighted_log(x, y)",
    "0 * log(0) is nan, its limit is 0: no surprise at what cannot happen",
    code=_log_times,
    roots=("multiply", "divide"),
    late=True,
)
