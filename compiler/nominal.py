"""Sizes that only a call knows, as numbers: for choices that must not wait, and be right for none.

What is chosen so is right for all sizes, and best for some.
"""

from __future__ import annotations

from ..ir.dims import DimLike, evaluate, symbols

NOMINAL = 128


def nominal(size: DimLike, number: int = NOMINAL) -> int:
    """A size with `number` in the place of each name."""
    if isinstance(size, int):
        return size
    return max(evaluate(size, dict.fromkeys(symbols(size), number)), 0)
