"""Pieces of the text of a CPU kernel: sums and products of sizes, and one step of a fold."""

from __future__ import annotations

from ..ir.kernel import Size

_OPERATORS = {"add": "+", "multiply": "*"}


def product(*factors: Size) -> str:
    """The product of sizes."""
    kept = [str(f) for f in factors if f != 1]
    return "0" if 0 in factors else " * ".join(kept) or "1"


def total(*terms: str) -> str:
    """The sum of terms, without those that are 0."""
    kept = [term for term in terms if term != "0"]
    return " + ".join(kept) or "0"


def difference(high: Size, low: Size, enclosed: bool = False) -> str:
    """high − low, in parentheses where it is a factor."""
    if low == 0:
        return str(high)
    return f"({high} - {low})" if enclosed else f"{high} - {low}"


def minus_one(extent: Size) -> Size:
    """The last index of an axis, 0 where it has none."""
    return max(extent - 1, 0) if isinstance(extent, int) else f"max({extent} - 1, 0)"


def combined(combine: str, before: str, *operands: str) -> str:
    """The accumulator after one more step."""
    sign = _OPERATORS.get(combine)
    if sign is not None:
        return f"{before} {sign} {operands[0]}"
    return f"{combine}({', '.join([before, *operands])})"
