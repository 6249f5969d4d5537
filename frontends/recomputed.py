"""Function.recomputed: what is computed again for the sake of a memory budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir.dims import symbols
from ..ir.errors import ArgumentError
from ..ir.graph import Graph
from ..ir.loc import Loc, current_loc, quote
from .memory import text
from .table import aligned, count, lines_of

if TYPE_CHECKING:
    from ..compiler.evict import Budgeted

_SHOWN = 20  # rows of a printed table


@dataclass(frozen=True, slots=True)
class Again:
    """What runs once more or several times: a kernel, a loop, or ops of a line in the kernels that
    read what they make."""

    ops: str
    loc: Loc
    times: int


@dataclass(frozen=True)
class Recomputed:
    """What a function does again to keep to a budget, in bytes of temporaries.

    plain, reached: without the budget and with it.  rows: what runs again, in the order in which
    it first does.  segments: ``"sqrt"`` or ``"log"`` where loops keep fewer carries so, else "".
    sizes: by length of a loop, the steps of its segments, of the segments in these, and so on.
    flops: operations of the plain function; added: how many more there are now.
    """

    budget: int | None
    plain: int
    reached: int
    rows: tuple[Again, ...]
    segments: str
    sizes: Sequence[Sequence[int]]
    flops: int
    added: int

    @classmethod
    def of(cls, made: Budgeted | None) -> Recomputed:
        if made is None:
            return cls(None, 0, 0, (), "", (), 0, 0)
        found: Counter[tuple[str, Loc]] = Counter()
        for node in made.clones:
            inner = node.regions[0].nodes if node.op.name == "fused" else [node]
            names = dict.fromkeys(n.op.name for n in inner if n.op.kind != "leaf")
            found[" ".join(names), node.loc] += 1
        lines: dict[Loc, Counter[str]] = {}
        for node in made.again:
            lines.setdefault(node.loc, Counter())[node.op.name] += 1
        rows = [Again(ops, loc, times) for (ops, loc), times in found.items()]
        rows += [Again(" ".join(ops), loc, max(ops.values())) for loc, ops in lines.items()]
        parts = made.budget, made.plain, made.reached, tuple(rows), made.segments, made.sizes
        return cls(*parts, made.flops, made.added)

    @property
    def saved(self) -> int:
        """Bytes less than without the budget."""
        return self.plain - self.reached

    def __str__(self) -> str:
        if self.budget is None:
            return "no memory_budget: nothing is computed again for one"
        lines = [
            f"{text(self.plain)} of temporaries, {text(self.reached)} within the budget of "
            f"{text(self.budget)}; {count(self.added)} operations more than {count(self.flops)}"
        ]
        if self.segments:
            steps = "; ".join(" of ".join(map(str, sizes)) for sizes in self.sizes)
            lines.append(f"loops keep the carries of segments of {steps} steps")
        shown = self.rows[:_SHOWN]
        cells = [[f"{row.times}x", row.ops, lines_of(row.loc)] for row in shown]
        lines += [f"  {line}" for line in (aligned(cells, left=(1, 2)) if cells else [])]
        if self.rows[_SHOWN:]:
            lines.append(f"  and {len(self.rows) - _SHOWN} more")
        return "\n".join(lines)


def budget_sizes(
    graph: Graph, budget: int | None, sizes: Mapping[str, int] | None
) -> dict[str, int]:
    """The sizes that a budget is for; ArgumentError where one is missing or is none of them."""
    if budget is None:
        if sizes:
            raise ArgumentError(f"sizes are for a memory_budget, at {quote(current_loc())}")
        return {}
    where = f"at {quote(current_loc())}"
    if not isinstance(budget, int) or isinstance(budget, bool) or budget < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"memory_budget is a number of bytes, got {budget!r}, {where}")
    leaves = (*graph.inputs, *graph.parameters)
    needed = {name for leaf in leaves for size in leaf.shape for name in symbols(size)}
    given = dict(sizes or {})
    for name in sorted(needed - given.keys()):
        raise ArgumentError(
            f"a memory_budget is for given sizes: say what {name} is, "
            f"as in sizes={{{name!r}: 128}}, {where}"
        )
    for name, value in given.items():
        if name not in needed:
            raise ArgumentError(f"sizes: no dimension is called {name!r}, {where}")
        if not isinstance(value, int) or value < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(f"sizes: {name} is a number, got {value!r}, {where}")
    return given
