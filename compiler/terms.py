"""Formulas about two terms of a sum, or two factors of a product, wherever in it they stand.

``(softplus(x) - y) - x`` holds ``softplus(x) - x`` in no order that a pattern could find.  So a
sum of three or more terms is laid out, and the rules are tried at each two of them; products and
quotients likewise.  What logarithms are multiplied by is gathered here too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..ir.op import TABLE
from ..ir.ops.arithmetic import add, divide, negative, subtract
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


def rebuilt(
    tensor: Tensor, terms: Sequence[Term], instead: Mapping[int, Tensor | None]
) -> Tensor | None:
    """`tensor`, laid out as `terms`, with others in some places, or (None) without those terms.

    What is left is added, or multiplied, in the order that it was: another may overflow.
    """
    left = [(term, instead.get(i, term)) for i, (term, _) in enumerate(terms)][::-1]

    def made(tensor: Tensor) -> Tensor | None:
        if tensor is left[-1][0]:
            return left.pop()[1]
        node = tensor.node
        parts = [made(operand) for operand in node.operands]
        kept = [part for part in parts if part is not None]
        if len(kept) == len(parts):
            return Node(node.op, kept, {}).results[0]
        if not kept or node.op.name in ("add", "multiply") or parts[0] is not None:
            return kept[0] if kept else None
        return negative(kept[0]) if node.op.name == "subtract" else divide(1.0, kept[0])

    return made(tensor)


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
) -> Tensor | None:
    """The sum or product `node` after one pair of its terms has become one, or None."""
    if not any(t.node.op.name in (plus, minus, "negative") for t in node.operands):
        return None
    root = node.results[0]
    terms = laid_out(root, plus, minus)
    if len(terms) < 3:
        return None
    if not any(t.node.op.name in interesting for t, _ in terms):
        return None
    for i, a in enumerate(terms):
        for j in range(i + 1, len(terms)):
            b = terms[j]
            if a[0] is b[0] and a[1] != b[1] and plus == "add":
                return rebuilt(root, terms, {i: None, j: None})
            if a[0].node.op.name in interesting or b[0].node.op.name in interesting:
                made = _pair(rules, a, b, plus, minus)
                if made is not None:
                    place, other = (i, j) if a[1] == made[1] else (j, i)
                    return rebuilt(root, terms, {place: made[0], other: None})
    return None


def sum_rule(formula: str, reason: str, rules: Sequence[Rule], *interesting: str) -> Rule:
    """A rule that tries `rules` at each two terms of a sum, of which one is `interesting`."""

    def code(node: Node) -> Tensor | None:
        if not node.results[0].dtype.is_float:
            return None
        return _search(node, rules, "add", "subtract", frozenset(interesting))

    return Rule(formula, reason, code=code, roots=("add", "subtract"), title="terms that cancel")


def product_rule(formula: str, reason: str, rules: Sequence[Rule], *interesting: str) -> Rule:
    """A rule that tries `rules` at each two factors of a product, of which one is `interesting`."""

    def code(node: Node) -> Tensor | None:
        if not node.results[0].dtype.is_float:
            return None
        return _search(node, rules, "multiply", "divide", frozenset(interesting))

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


def _is_log(tensor: Tensor) -> bool:
    return tensor.node.op.name in (*_LOGS, *_WEIGHTED, "log1mexp")


def _weighted(weight: Tensor, log: Tensor) -> Tensor:
    """weight · log, with 0 for the product of 0 and log 0."""
    name, operands = log.node.op.name, log.node.operands
    if name in _LOGS:
        return _LOGS[name](weight, *operands)
    if name in _WEIGHTED:
        return _WEIGHTED[name](weight * operands[0], *operands[1:])
    return gated_multiply(weight, log)


def _weigh(weight: Tensor, total: Tensor, terms: Sequence[Term]) -> Tensor:
    """weight · total, with the logarithms among its terms weighted one by one.

    The other terms stay together: they may cancel, and their products overflow.
    """
    logs = [(_weighted(weight, term), sign) for term, sign in terms if _is_log(term)]
    others = rebuilt(total, terms, {i: None for i, (t, _) in enumerate(terms) if _is_log(t)})
    weighted = joined(logs, add, subtract)
    return weighted if others is None else weighted + weight * others


def _vanishes_with(rest: Sequence[Term], log: Tensor) -> bool:
    """Whether a factor of what a logarithm is of is one of `rest` too."""
    inside = [t for t, _ in laid_out(log.node.operands[0], "multiply", "divide")]
    return any(up and any(t is other for other in inside) for t, up in rest)


def _log_times(node: Node) -> Tensor | None:
    root = node.results[0]
    factors = laid_out(root, "multiply", "divide")
    for i, (factor, multiplies) in enumerate(factors):
        rest = [*factors[:i], *factors[i + 1 :]]
        if not multiplies or not any(up and uniform(t) is None for t, up in rest):
            continue
        if factor.node.op.name == "log" and factor.node.operands[0].node.op.name == "divide":
            x, y = factor.node.operands[0].node.operands
            if has_log(x) or has_log(y):
                return None
            if _vanishes_with(rest, factor):
                weight = rebuilt(root, factors, {i: None})
                return None if weight is None else weighted_log_ratio(weight, x, y)
        terms = laid_out(factor, "add", "subtract")
        if any(t.node.op.name in _LOGS and has_log(t.node.operands[0]) for t, _ in terms):
            return None  # it becomes something else first
        logs = [t for t, _ in terms if _is_log(t)]
        apart = len(terms) == 1 or (len(logs) == len(terms) and not factor.dtype.is_half)
        if logs and (apart or any(_vanishes_with(rest, t) for t in logs)):
            weight = rebuilt(root, factors, {i: None})
            return None if weight is None else _weigh(weight, factor, terms)
    return None


WEIGHTED = Rule(
    "x * log(y) -> weighted_log(x, y)",
    "0 * log(0) is nan, its limit is 0: no surprise at what cannot happen",
    code=_log_times,
    roots=("multiply", "divide"),
    late=True,
)
