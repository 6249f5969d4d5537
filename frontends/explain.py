"""explain_grad: where a gradient comes from, node by node, and what becomes of it on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import TYPE_CHECKING, Any

from ..ir.dims import DimLike
from ..ir.dims import evaluate as evaluate_dim
from ..ir.errors import ArgumentError
from ..ir.graph import Graph
from ..ir.interpret import bind_feeds, run_graph
from ..ir.loc import Loc, current_loc, quote
from ..ir.tensor import Tensor
from .gradient_values import (
    Numbers,
    NumpyArray,
    marks,
    norm,
    norms_along,
    numbers,
    percent,
)
from .table import aligned, count, lines_of

if TYPE_CHECKING:
    from ..compiler.trace import Passage, Trace

_SHOWN = 60  # rows of a printed explanation; of longer ones the middle is left out
_INDENT = " " * 6
_EXTREMES = 3  # nodes that are named as those that shrink and grow the gradient most


@dataclass(frozen=True, slots=True)
class Row:
    """A node on the way from the loss back to the tensor.

    op, type, loc: the node as compiled; was: the user's ops that it stands for, if others.
    uses: how often nodes read its value.  ways: on how many ways a derivative arrives.
    flops, bytes: of its derivative, with nothing fused; formulas where sizes are symbolic.
    cut: why the way ends here.  steps: of a loop.  notes: what else there is to know.
    scale: whether it multiplies the derivative by numbers alone, whatever the values are.

    With feeds: value and cotangent (of what arrives) in figures; factor: the norm of what it passes
    on over the norm of what arrives; marks: saturation, overflow and the like;
    step_norms: of a loop, the norm of the cotangent that reaches its state after each step.
    """

    op: str
    type: str
    loc: Loc
    was: Sequence[str]
    uses: int
    ways: int
    flops: DimLike
    bytes: DimLike
    cut: str = ""
    steps: DimLike | None = None
    notes: Sequence[str] = ()
    scale: bool = False
    value: Numbers | None = None
    cotangent: Numbers | None = None
    factor: float | None = None
    marks: Sequence[str] = ()
    step_norms: NumpyArray | None = None


@dataclass(frozen=True)
class GradientExplanation:
    """What `explain_grad` found; `str` is the explanation.

    rows: from the loss back to the tensor.  exists: whether any way leads.
    ways: how many.  gradient: its figures, and value: the tensor's, where there are feeds.
    """

    loss: str
    tensor: str
    exists: bool
    ways: int
    rows: Sequence[Row]
    value: Numbers | None = None
    gradient: Numbers | None = None

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<gradient of {self.loss} by {self.tensor}: {len(self.rows)} nodes>"

    def text(self, most: int = _SHOWN) -> str:
        """The explanation with at most about `most` rows; all that bear a mark or cut count."""
        return "\n".join([self._head(), *self._table(most), *self._end()])

    def _head(self) -> str:
        head = f"the gradient of {self.loss}\n  by {self.tensor}"
        if not self.rows and not self.exists:
            return f"{head}\nthere is none: the loss does not depend on it at all"
        if not self.exists:
            return f"{head}\nthere is none: every way from it to the loss is cut"
        flops, moved = _sum(row.flops for row in self.rows), _sum(row.bytes for row in self.rows)
        return (
            f"{head}\n{count(self.ways)} way{'s' * (self.ways != 1)}, {len(self.rows)} nodes; "
            f"the derivative takes {count(flops)} operations and moves {count(moved)} bytes "
            "with nothing fused"
        )

    def _table(self, most: int) -> list[str]:
        if not self.rows:
            return []
        fed = self.gradient is not None
        titles = ["", "op", "type", "used", "ways", "flops", "bytes"]
        titles += ["value", "norm", "zero", "factor"] if fed else []
        chosen = _chosen(self.rows, most)
        cells = [_cells(i + 1, self.rows[i], fed) for i in chosen]
        head, *printed = aligned([[*titles, "line"], *cells], left=(1, 2, len(titles)))
        lines = [head]
        after = 0
        for i, text in zip(chosen, printed, strict=True):
            if i > after:
                lines.append(_left_out(self.rows[after:i]))
            after = i + 1
            lines += [text, *(f"{_INDENT}{told}" for told in _told(self.rows[i]))]
        return lines

    def _end(self) -> list[str]:
        if self.gradient is None:
            return []
        lines = [
            f"value: {self.value}",
            f"gradient: {self.gradient}, norm {self.gradient.norm:.3g}",
        ]
        changing = [i for i, row in enumerate(self.rows) if not row.scale]
        scaling = [i for i, row in enumerate(self.rows) if row.scale]
        for what, chosen in (
            ("its norm shrinks most at", self._extremes(changing, shrinking=True)),
            ("its norm grows most at", self._extremes(changing, shrinking=False)),
            (
                "by constants alone, whatever the values are, at",
                self._extremes(scaling, shrinking=True) + self._extremes(scaling, shrinking=False),
            ),
        ):
            if chosen:
                named = [f"{self.rows[i].op} (row {i + 1}, ×{f:.3g})" for f, i in chosen]
                lines.append(f"{what} {', '.join(named)}")
        return lines

    def _extremes(self, places: Sequence[int], shrinking: bool) -> list[tuple[float, int]]:
        """Factor and place of the rows that shrink (grow) the norm most, if any does much."""
        known = [(factor, i) for i in places if (factor := self.rows[i].factor) is not None]
        chosen = [(f, i) for f, i in known if (f < 0.5 if shrinking else f > 2)]  # no nan
        return sorted(chosen, reverse=not shrinking)[:_EXTREMES]


def _chosen(rows: Sequence[Row], most: int) -> list[int]:
    """The rows that are shown: both ends, and in between those that there is something about."""
    if len(rows) <= most:
        return list(range(len(rows)))
    ends = {*range(most // 2), *range(len(rows) - most // 2, len(rows))}
    special = [
        i for i, row in enumerate(rows) if row.marks or row.cut or row.step_norms is not None
    ]
    chosen = ends.union(special[: most // 2])
    for i in sorted(chosen):  # what is shorter than its mention
        chosen.update(i + 1 + k for k in range(2) if i + 3 in chosen or i + 2 in chosen)
    return sorted(i for i in chosen if i < len(rows))


def _left_out(rows: Sequence[Row]) -> str:
    kinds = Counter(row.op for row in rows).most_common()
    named = ", ".join(f"{times} {op}" for op, times in kinds[:5])
    return f"{_INDENT}… {len(rows)} nodes: {named}{', …' * (len(kinds) > 5)}"


def _cells(number: int, row: Row, fed: bool) -> list[str]:
    cost = [count(row.flops), count(row.bytes)] if row.ways else ["", ""]
    cells = [str(number), row.op, row.type, str(row.uses), count(row.ways), *cost]
    if fed:
        value, arriving = row.value, row.cotangent
        cells.append(
            "" if value is None or not value.size else f"{value.low:.3g} … {value.high:.3g}"
        )
        cells.append("" if arriving is None else f"{arriving.norm:.3g}")
        cells.append("" if arriving is None else percent(arriving.zero))
        cells.append("" if row.factor is None or isnan(row.factor) else f"×{row.factor:.3g}")
    return [*cells, lines_of(row.loc)]


def _told(row: Row) -> list[str]:
    """What stands below a row."""
    told: list[str] = []
    if row.was:
        told.append(f"was {', '.join(row.was)}")
    if row.cut:
        told.append(f"cut: {row.cut}")
    if row.steps is not None:
        told.append(f"a loop of {row.steps} steps")
    told += row.notes
    if row.step_norms is not None and row.step_norms.size:
        first, last = row.step_norms[0], row.step_norms[-1]
        told.append(f"cotangent of the state: norm {first:.3g} after step 0, {last:.3g} at the end")
    for what, figures in (("value", row.value), ("cotangent", row.cotangent)):
        odd = "" if figures is None else figures.odd()
        told += [f"{what}: {odd}"] if odd else []
    return told + [f"! {mark}" for mark in row.marks]


def _sum(costs: Iterable[DimLike]) -> DimLike:
    total: DimLike = 0
    for cost in costs:
        total = total + cost
    return total


def explain_grad(
    loss: Tensor, w: Tensor, feeds: Mapping[Any, Any] | None = None
) -> GradientExplanation:
    """Where ∂loss/∂w comes from: each node on the ways from the scalar `loss` back to `w`.

    A row tells the node's op, type and user lines, what its derivative costs, how often its value
    is used, on how many ways a derivative arrives, and where a way is cut and why.  The nodes are
    those that are compiled, after naive formulas have been made stable; a row names the user's ops
    that it stands for.  Loops and custom derivatives are one node each.

    feeds: arrays by input, tensor or name (parameters have their values): then the forward values
    and the cotangents are computed, by the reference interpreter in the graph's own dtypes, and
    each row has their range and norm, the shares of zero, subnormal, nan and infinite entries, the
    factor by which the node changes the gradient's norm, and marks: saturated, dead, underflow,
    overflow, nan.  Symbolic sizes in costs are then numbers.

    Where no way leads the explanation says so (nothing is raised).  GradientError: `loss` is no
    scalar of floats.  ArgumentError: what is given is no tensor, an input has no array, or a name
    in `feeds` is none of theirs.
    """
    for value in (loss, w):
        if not isinstance(value, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(
                f"explain_grad: explains the gradient of a tensor by one, got {value!r}, "
                f"at {quote(current_loc())}"
            )
    names = _told_tensor(loss), _told_tensor(w)
    if not w.dtype.is_float:
        return GradientExplanation(names[0], f"{names[1]}, which is no float", False, 0, ())
    from ..compiler.trace import trace

    found = trace(loss, w)
    exists = found.gradient is not None
    if feeds is None or not exists:
        rows = [_row(passage) for passage in found.passages]
        return GradientExplanation(*names, exists, found.ways, rows)
    free = Graph("explain_grad", (), [loss, w]).free
    values, binding = _evaluate(found, feeds, Graph("explain_grad", free, [loss, w]))
    rows = [_fed_row(passage, values, binding) for passage in found.passages]
    assert found.gradient is not None
    figures = numbers([values(found.wrt)]), numbers([values(found.gradient)])
    return GradientExplanation(*names, exists, found.ways, rows, *figures)


def _told_tensor(tensor: Tensor) -> str:
    name = tensor.node.attrs.get("name") or tensor.node.op.name
    return f"{name}: {tensor.type}, from {quote(tensor.node.loc)}"


def _row(passage: Passage, **more: Any) -> Row:
    node = passage.node
    notes = [f"operand {i} gets none" for i in passage.dropped if not passage.cut]
    if node.op.name == "custom":
        notes.append(f"the function {node.regions[0].name}, by the derivative it was given")
    if node.op.name == "switch":
        notes.append(f"the derivative of the branch taken, of {len(node.regions)}")
    if not passage.arriving and not passage.cut:
        notes.append("no derivative arrives here")
    fields: dict[str, Any] = {
        "op": node.op.name,
        "type": ", ".join(str(result.type) for result in node.results),
        "loc": node.loc,
        "was": passage.was,
        "uses": passage.uses,
        "ways": passage.ways,
        "flops": passage.cost.flops,
        "bytes": passage.cost.bytes,
        "cut": passage.cut,
        "steps": node.attrs["length"] if node.op.name == "scan" else None,
        "notes": notes,
        "scale": passage.only_scales,
    }
    return Row(**{**fields, **more})


Values = Callable[[Tensor], NumpyArray]


def _evaluate(
    found: Trace, feeds: Mapping[Any, Any], asked: Graph
) -> tuple[Values, dict[str, int]]:
    """What gives each tensor of the trace its value, and the sizes that the feeds bind."""
    wanted: list[Tensor] = [found.loss, found.wrt]
    for passage in found.passages:
        maybe = [*passage.arriving, *passage.passed, *passage.partials]
        maybe += passage.state_cotangents()
        wanted += [*passage.node.operands, *passage.node.results]
        wanted += [tensor for tensor in maybe if tensor is not None]
    if found.gradient is not None:
        wanted.append(found.gradient)
    wanted = list(dict.fromkeys(wanted))
    from ..compiler.trace import stable

    graph = stable(wanted)
    arrays, binding = bind_feeds(graph, feeds, "explain_grad", asked)
    place = {tensor: i for i, tensor in enumerate(wanted)}
    results = run_graph(graph, arrays, binding)
    return lambda tensor: results[place[tensor]], binding


def _fed_row(passage: Passage, values: Values, binding: Mapping[str, int]) -> Row:
    arriving = [values(tensor) for tensor in passage.arriving if tensor is not None]
    passed = [values(tensor) for tensor in passage.passed if tensor is not None]
    arrived = norm(arriving)
    history = [values(tensor) for tensor in passage.state_cotangents()]
    length = passage.node.attrs["length"] if passage.node.op.name == "scan" else None
    return _row(
        passage,
        steps=None if length is None else evaluate_dim(length, binding),
        flops=evaluate_dim(passage.cost.flops, binding),
        bytes=evaluate_dim(passage.cost.bytes, binding),
        value=numbers([values(result) for result in passage.node.results]),
        cotangent=numbers(arriving) if arriving else None,
        factor=(norm(passed) / arrived if arrived > 0 else nan) if passed else None,
        marks=marks(passage, values),
        step_norms=norms_along(history) if history else None,
    )
