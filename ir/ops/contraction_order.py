"""In which order a product of several operands is summed: the pairs that take the fewest
operations.

The cost of a pair is the number of entries of its index space, which is the product of the sizes
of all its labels: as many multiplications, and as many additions where a label is summed.  Up to
`_EXACT` operands all orders are compared, by dynamic programming over subsets of operands; among
more, the pair that makes memory grow least goes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from ..dims import DimLike, evaluate, symbols

_EXACT = 8  # operands; 3**8 splits of subsets are looked at
_STAND_IN = 32  # what a named size counts as

Label = int | str
Labels = Sequence[Label]


@dataclass(frozen=True, slots=True)
class Step:
    """Operands number `first` and `second` leave the list, their product is put at its end."""

    first: int
    second: int
    operands: tuple[Labels, Labels]
    result: Labels
    flops: int


def as_number(size: DimLike) -> int:
    """A size as the cost counts it."""
    return max(evaluate(size, dict.fromkeys(symbols(size), _STAND_IN)), 0)


def find_order(
    terms: Sequence[Labels], output: Labels, sizes: Mapping[Label, int], optimize: bool | str
) -> list[Step]:
    """The pairs one after the other; the last gives `output`.

    optimize: False goes from left to right, "greedy" by growth, and True or "optimal" compares
    all orders where there are few operands.
    """
    if optimize is False:
        pairs = [(0, 1)] + [(0, len(terms) - i - 1) for i in range(1, len(terms) - 1)]
        pairs = pairs[: len(terms) - 1]
    elif optimize == "greedy" or len(terms) > _EXACT:
        pairs = _greedy(terms, output, sizes)
    else:
        pairs = _exact(terms, output, sizes)
    left = list(terms)
    steps: list[Step] = []
    for first, second in pairs:
        pair = (left[first], left[second])
        rest = [term for i, term in enumerate(left) if i not in (first, second)]
        result = output if not rest else _kept(pair, rest, output)
        steps.append(Step(first, second, pair, result, _flops(pair, result, sizes)))
        left = [*rest, result]
    return steps


def _kept(pair: Sequence[Labels], rest: Sequence[Labels], output: Labels) -> Labels:
    """The labels of a product that are read later."""
    needed = {*output, *(label for term in rest for label in term)}
    return tuple(dict.fromkeys(label for term in pair for label in term if label in needed))


def _flops(pair: Sequence[Labels], result: Labels, sizes: Mapping[Label, int]) -> int:
    every = {label for term in pair for label in term}
    return prod(sizes[label] for label in every) * (2 if every - {*result} else 1)


def _exact(
    terms: Sequence[Labels], output: Labels, sizes: Mapping[Label, int]
) -> list[tuple[int, int]]:
    """The cheapest of all orders: the best of a subset is the best of both parts of a split, and
    the last product."""
    count = len(terms)
    every = (1 << count) - 1

    def chosen(mask: int) -> list[Labels]:
        return [term for i, term in enumerate(terms) if mask >> i & 1]

    kept = {mask: _kept(chosen(mask), chosen(every - mask), output) for mask in range(1, every + 1)}
    for i, term in enumerate(terms):
        kept[1 << i] = term
    cost: dict[int, int] = {1 << i: 0 for i in range(count)}
    split: dict[int, int] = {}
    for mask in range(1, every + 1):
        part = (mask - 1) & mask
        while part:
            other = mask - part
            if part > other:  # each split once
                pair = (kept[part], kept[other])
                total = cost[part] + cost[other] + _flops(pair, kept[mask], sizes)
                if mask not in cost or total < cost[mask]:
                    cost[mask], split[mask] = total, part
            part = (part - 1) & mask

    pairs: list[tuple[int, int]] = []
    left = [1 << i for i in range(count)]

    def perform(mask: int) -> None:
        if mask not in split:
            return
        parts = (split[mask], mask - split[mask])
        for part in parts:
            perform(part)
        first, second = sorted(left.index(part) for part in parts)
        pairs.append((first, second))
        del left[second], left[first]
        left.append(mask)

    perform(every)
    return pairs


def _greedy(
    terms: Sequence[Labels], output: Labels, sizes: Mapping[Label, int]
) -> list[tuple[int, int]]:
    """Always the pair whose product is smallest beside what it replaces."""
    left: list[Labels] = list(terms)
    pairs: list[tuple[int, int]] = []

    def entries(term: Labels) -> int:
        return prod(sizes[label] for label in term)

    def growth(place: tuple[int, int]) -> tuple[int, int]:
        pair = (left[place[0]], left[place[1]])
        result = _kept(pair, [t for i, t in enumerate(left) if i not in place], output)
        return entries(result) - sum(map(entries, pair)), _flops(pair, result, sizes)

    while len(left) > 1:
        places = [(i, j) for j in range(len(left)) for i in range(j)]
        best = min(places, key=growth)
        pair = (left[best[0]], left[best[1]])
        rest = [term for i, term in enumerate(left) if i not in best]
        left = [*rest, _kept(pair, rest, output)]
        pairs.append(best)
    return pairs
