"""Orders of products: none is cheaper among few operands; greedy ones, and what they look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from gradloom.ir.ops import contraction_order
from gradloom.ir.ops.contraction_order import Label, Labels, find_order

from .op_cases import generator


def test_no_order_is_cheaper():
    """Against every order, tried one by one."""

    def every_cost(terms: list[str], output: str, sizes: dict[str, int]) -> list[int]:
        if len(terms) == 1:
            return [0]
        found: list[int] = []
        for j in range(len(terms)):
            for i in range(j):
                rest = [t for k, t in enumerate(terms) if k not in (i, j)]
                both = set(terms[i] + terms[j])
                kept = both & set("".join(rest) + output)
                own = int(np.prod([sizes[x] for x in both])) * (2 if both - kept else 1)
                found += [
                    own + cost for cost in every_cost([*rest, "".join(sorted(kept))], output, sizes)
                ]
        return found

    rng = generator("orders")
    for _ in range(20):
        sizes = {label: int(rng.integers(1, 9)) for label in "abcdef"}
        terms = ["".join(rng.permutation(list("abcdef"))[: rng.integers(1, 4)]) for _ in range(4)]
        every = sorted(set("".join(terms)))
        output = "".join(x for x in every if "".join(terms).count(x) == 1) + every[0]
        output = "".join(dict.fromkeys(output))
        steps = find_order(terms, output, sizes, True)  # type: ignore[arg-type]
        assert sum(step.flops for step in steps) == min(every_cost(terms, output, sizes))


def plainly_greedy(terms: list[str], output: str, sizes: dict[str, int]) -> list[tuple[int, int]]:
    """The definition: look at all pairs before each step."""
    pairs: list[tuple[int, int]] = []
    while len(terms) > 1:
        found: list[tuple[int, int, int, int, str]] = []
        for j in range(len(terms)):
            for i in range(j):
                rest = output + "".join(t for k, t in enumerate(terms) if k not in (i, j))
                both = "".join(dict.fromkeys(terms[i] + terms[j]))
                kept = "".join(label for label in both if label in rest)
                new, *old = (
                    int(np.prod([sizes[x] for x in t])) for t in (kept, terms[i], terms[j])
                )
                work = int(np.prod([sizes[x] for x in both])) * (1 if kept == both else 2)
                found.append((new - sum(old), work, j, i, kept))
        *_, j, i, kept = min(found)
        pairs.append((i, j))
        terms = [*(t for k, t in enumerate(terms) if k not in (i, j)), kept]
    return pairs


def test_greedy_orders_are_what_they_are_defined_as():
    rng = generator("greedy")
    for _ in range(40):
        sizes = {label: int(rng.integers(0, 6)) for label in "abcdefgh"}
        terms = ["".join(rng.permutation([*sizes])[: rng.integers(0, 5)]) for _ in range(9)]
        output = "".join(label for label in "aceg" if label in "".join(terms))
        steps = find_order(terms, output, sizes, "greedy")  # type: ignore[arg-type]
        assert [(s.first, s.second) for s in steps] == plainly_greedy(terms, output, sizes)


def test_greedy_orders_look_at_each_pair_once(monkeypatch: pytest.MonkeyPatch):
    looks: list[Sequence[Labels]] = []

    def counted(pair: Sequence[Labels], result: Labels, sizes: Mapping[Label, int]) -> int:
        looks.append(pair)
        return plain(pair, result, sizes)

    plain = contraction_order._flops  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(contraction_order, "_flops", counted)
    count = 40
    sizes: dict[Label, int] = dict.fromkeys(range(count + 1), 3)
    steps = find_order([(n, n + 1) for n in range(count)], (0, count), sizes, True)
    assert len(steps) == count - 1
    assert len(looks) <= count * count
