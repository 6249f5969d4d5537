"""Aligned text for what reports print."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

from ..ir.dims import DimLike
from ..ir.loc import Loc

_MOST_LINES = 3  # of user code that a row names
_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**4, "k"))


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> list[str]:
    """The rows as lines whose columns stand below each other; those of `left` from the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        cells = [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def count(number: DimLike) -> str:
    """A number of things: exact up to 10 000, then ``12.3k``; a formula as it is."""
    if not isinstance(number, int):
        return str(number)
    if number >= 10**16:
        return f"1e{number.bit_length() * log10(2):.0f}"
    for unit, letter in _UNITS:
        if number >= unit:
            return f"{number / (unit if unit != 10**4 else 1000):.3g}{letter}"
    return str(number)


def lines_of(loc: Loc) -> str:
    """The first of the lines that a node stems from, and how many more there are."""
    more = f" +{len(loc) - _MOST_LINES}" if len(loc) > _MOST_LINES else ""
    return ", ".join(map(str, loc[:_MOST_LINES])) + more
