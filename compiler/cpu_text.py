"""Pieces of the text of a CPU kernel: sums and products of sizes, and one step of a fold."""

from __future__ import annotations

from ..ir.kernel import Reduce, Running, Size
from . import scalar

_OPERATORS = {"add": "+", "multiply": "*"}


def product(*factors: Size) -> str:
    """The product of sizes."""
    kept = [str(f) for f in factors if f != 1]
    return "0" if 0 in factors else " * ".join(kept) or "1"


def total(*terms: str) -> str:
    """The sum of terms, without those that are 0."""
    kept = [term for term in terms if term != "0"]
    return " + ".join(kept) or "0"


def minus_one(extent: Size) -> Size:
    """The last index of an axis, 0 where it has none."""
    return max(extent - 1, 0) if isinstance(extent, int) else f"max({extent} - 1, 0)"


def combined(combine: str, before: str, *operands: str) -> str:
    """The accumulator after one more step."""
    sign = _OPERATORS.get(combine)
    if sign is not None:
        return f"{before} {sign} {operands[0]}"
    return f"{combine}({', '.join([before, *operands])})"


def identity(fold: Reduce | Running) -> str:
    """The neutral element of a reduction, or what a running value begins with."""
    dtype = fold.dtype
    name = scalar.type_name(dtype)
    match fold.identity:
        case "zero" | "one":
            number = int(fold.identity == "one")
            return f"{name}({float(number) if dtype.is_float else number})"
        case _:
            lowest = fold.identity == "lowest"
            if dtype.is_float:
                return f"{name}({'-' if lowest else ''}inf)"
            if dtype.kind == "b":
                return f"{name}({not lowest})"
            span = 1 << (dtype.bits - (dtype.kind == "i"))
            low = -span if dtype.kind == "i" else 0
            return f"{name}({low if lowest else span - 1})"
