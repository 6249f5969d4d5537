"""In which order a product of several operands is summed: the pairs that take the fewest
operations.

The cost of a pair is the number of entries of its index space, which is the product of the sizes
of all its labels: as many multiplications, and as many additions where a label is summed.  Up to
`_EXACT` operands all orders are compared, by dynamic programming over subsets of operands; among
more, the pair that makes memory grow least goes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
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
    """Always the pair whose product is smallest beside what it replaces.

    What a pair would become does not change while others are multiplied: a label that its rest
    needs, the rest needs still.  So each pair is looked at once, and waits in a heap.
    """
    left: dict[int, Labels] = {}  # by number, in the order of the list
    uses = Counter(label for term in (*terms, output) for label in {*term})
    heap: list[tuple[int, int, int, int, Labels]] = []  # growth, flops, the pair, the product

    def entries(term: Labels) -> int:
        return prod(sizes[label] for label in term)

    def add(second: int, new: Labels) -> None:
        for first, old in left.items():
            own = Counter([*dict.fromkeys(old), *dict.fromkeys(new)])
            result = tuple(label for label, count in own.items() if uses[label] > count)
            growth = entries(result) - entries(old) - entries(new)
            flops = _flops((old, new), result, sizes)
            heappush(heap, (growth, flops, second, first, result))
        left[second] = new

    for number, term in enumerate(terms):
        add(number, term)
    pairs: list[tuple[int, int]] = []
    while len(left) > 1:
        *_, second, first, result = heappop(heap)
        if first not in left or second not in left:
            continue
        numbers = list(left)
        pairs.append((numbers.index(first), numbers.index(second)))
        uses.subtract([*{*left.pop(first)}, *{*left.pop(second)}])
        uses.update({*result})
        add(len(terms) + len(pairs) - 1, result)
    return pairs
