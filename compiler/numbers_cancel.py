"""Rules about what is left of a sum when numbers in it go."""

from __future__ import annotations

from ..ir.tensor import Node, Tensor
from .pattern import Match
from .polynomial import number
from .rewrite import Rule


def _numbers_cancel(node: Node) -> Tensor | None:
    """x of (x + c) − c."""
    for total, c in (node.operands, node.operands[::-1]):
        value = number(c)
        if value and total.node.op.name in ("add", "subtract") and total.dtype.is_float:
            x, d = total.node.operands
            inner = number(d)
            if inner is None and total.node.op.name == "add":
                x, d = d, x
                inner = number(d)
            if inner is None or x.shape != node.results[0].shape:
                continue
            inner = inner if total.node.op.name == "add" else -inner
            if node.op.name == "subtract" and total is not node.operands[0]:
                continue
            if inner + (value if node.op.name == "add" else -value) == 0:
                return x
    return None


def _is_positive_number(match: Match) -> bool:
    return (number(match.tensors["y"]) or 0.0) > 0


NUMBERS = (
    Rule(
        "x + c - c -> x",
        "exact, where the sum is rounded",
        code=_numbers_cancel,
        title="sum with numbers",
        roots=("add", "subtract"),
    ),
    Rule(
        "1 - cosine(x, y) -> where(less(0, x), "
        "square(cosine(y, x)) / (1 + cosine(x, y)), 1 + cosine(-x, y))",
        "1 - 1 for large x",
        _is_positive_number,
    ),
)
