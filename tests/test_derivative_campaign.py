"""Derivatives of random graphs over the whole table: forward = reverse = central differences, first
and second order, interpreted and compiled.

Differences are taken in extended precision along directions whose steps are exact, so that what is
left of their error is the step's.  Where they show no derivative (a kink that a graph hits by ties,
a pole, an overflow) nothing is judged; how often that may happen is bounded.  Then every public
function that is no entry of the table, by the same measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import isfunction
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir import dtypes as dt
from gradloom.ir.graph import Graph
from gradloom.ir.interpret import evaluate_graph
from gradloom.ir.op import TABLE
from gradloom.ir.ops import fft
from gradloom.ir.ops.control import flatten, placeholder_like
from gradloom.ir.ops.request import gradient, pushforward
from gradloom.ir.tensor import Tensor

from .derivative_formulas import ALIASES, PUBLIC, TOOLS, WITHOUT
from .graphs import feeds_of, graph_of_seed
from .precise import evaluate_precisely
from .test_op_derivatives import DIFFERENTIABLE, expanded, has_derivative

Arrays = dict[str, Any]
STEP = 2.0**-20
GRID = 2.0**-16  # of operands and directions: a step rounds nothing; and few are equal by chance
BATCHES = (3, 1, 0, 4, 2)


LEFT_OUT = {
    "drawn": "a number drawn by rejection jumps",
    "quotient_of": "its derivative is that of operands which differ by a number, not of any",
}
ROUNDING = float(np.finfo(np.longdouble).eps)


class Campaign:
    """A graph's outputs f with, for drawn u, d and e: ∂f·d, uᵀ∂f, and the derivatives of uᵀ∂f
    along d and along e."""

    def __init__(self, graph: Graph, seed: int) -> None:
        self.values = [t for t in graph.outputs if t.dtype.is_float]
        self.wrt = [t for t in graph.inputs if t.dtype.is_float]
        self.names = [graph.names[t] for t in self.wrt]
        weights = _like("u", self.values)
        directions = [_like(name, self.wrt) for name in "de"]
        pushed = pushforward(self.values, self.wrt, directions[0])
        pulled = gradient(self.values, self.wrt, weights)
        seconds = [pushforward(pulled, self.wrt, direction) for direction in directions]
        inputs = [*graph.inputs, *weights, *directions[0], *directions[1]]
        outputs = [*self.values, *pushed, *pulled, *seconds[0], *seconds[1]]
        self.graph = Graph("campaign", inputs, outputs)
        plain = expanded(Graph("values", graph.inputs, self.values))
        first = seed % len(BATCHES)
        for batch in (*BATCHES[first:], *BATCHES[:first]):  # a graph may divide by its batch
            self.feeds = self._drawn(seed, batch)
            found = evaluate_precisely(plain, self.feeds)
            if all(np.isfinite(value).all() for value in found):
                break

    def _drawn(self, seed: int, batch: int) -> Arrays:
        return {
            name: np.round(array / GRID) * GRID if array.dtype.kind == "f" else array
            for name, array in feeds_of(self.graph, seed, batch, 1.0).items()
        }

    def moved(self, step: float) -> Arrays:
        """The inputs, `step` times the direction d away."""
        feeds = dict(self.feeds)
        for i, name in enumerate(self.names):
            feeds[name] = feeds[name] + step * feeds[f"d{i}"]
        return feeds

    def split(self, found: Sequence[Any]) -> list[list[Any]]:
        """Outputs by what they are."""
        m, n = len(self.values), len(self.wrt)
        remaining = iter(found)
        return [[next(remaining) for _ in range(count)] for count in (m, m, n, n, n)]

    def dot(self, name: str, values: Sequence[Any]) -> Any:
        return sum(np.sum(self.feeds[f"{name}{i}"] * value) for i, value in enumerate(values))

    def size(self, name: str, values: Sequence[Any]) -> Any:
        """That of what `dot` adds up."""
        return sum(
            np.sum(np.abs(self.feeds[f"{name}{i}"] * value)) for i, value in enumerate(values)
        )


def _like(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    return [placeholder_like(t.type, f"{name}{i}") for i, t in enumerate(tensors)]


# --- judging --------------------------------------------------------------------------------------


class Slopes:
    """Central differences of an array, and where they show that there is a derivative.

    `ahead`, `back`: one step off and two.  A kink shows as one-sided slopes that differ, a pole as
    slopes that depend on the step; and what is much larger than its slope hides it by rounding.
    """

    def __init__(self, at: Any, ahead: Sequence[Any], back: Sequence[Any]) -> None:
        with np.errstate(all="ignore"):
            near, far = (
                (a - b) / (2 * i * STEP)
                for i, (a, b) in enumerate(zip(ahead, back, strict=True), 1)
            )
            bend = np.abs((ahead[0] - at) - (at - back[0])) / STEP
            size = 1 + np.abs(near)
            hidden = np.abs(at) * ROUNDING / STEP + np.abs(near - far)
            self.judged = (bend < 1e-2 * size) & (hidden < 1e-7 * size) & (size < 1e12)
        self.values = near

    def check(self, got: Any, about: object) -> None:
        """`got` is the derivative, wherever there is one."""
        assert got.shape == self.values.shape, about
        assert_near_where(self.judged, got, self.values, 1e-6, about)


class Tally(NamedTuple):
    """How many derivatives there are, how many were judged, and how many of these are not 0."""

    total: int
    judged: int
    moving: int


def assert_near_where(where: Any, got: Any, wanted: Any, tolerance: float, about: object) -> None:
    """Within `tolerance` of each number (or of 1), and of a thousandth of it of the largest."""
    got, wanted = np.asarray(got)[where], np.asarray(wanted)[where]
    allowed = tolerance * (1 + np.abs(wanted) + 1e-3 * np.max(np.abs(wanted), initial=0))
    bad = ~(np.abs(got - wanted) <= allowed)
    assert not bad.any(), f"{about}: {got[bad][:4]} for {wanted[bad][:4]}"


def check_graph(seed: int, graph: Graph, is_compiled: bool) -> Tally:
    """All of a graph."""
    made = Campaign(graph, seed)
    plain = expanded(made.graph)
    points = {k: made.split(evaluate_precisely(plain, made.moved(k * STEP))) for k in range(-2, 3)}
    slopes = [
        [
            Slopes(
                points[0][part][i],
                [points[k][part][i] for k in (1, 2)],
                [points[k][part][i] for k in (-1, -2)],
            )
            for i in range(len(points[0][part]))
        ]
        for part in (0, 2)
    ]
    _, pushed, _, second, _ = points[0]
    for place, (got, wanted) in enumerate(zip((pushed, second), slopes, strict=True)):
        for a, b in zip(got, wanted, strict=True):
            b.check(a, (seed, "second order" if place else "forward"))
    check_symmetry(made, points[0], 1e-9, seed)

    interpreted = evaluate_graph(made.graph, made.feeds)["outputs"]
    in_range = made.split([np.isfinite(x) for x in interpreted])  # of float64, on the way too
    ways = {"interpreted": interpreted}
    if is_compiled:
        ways["compiled"] = gl.compile(made.graph)(**made.feeds)
    for way, found in ways.items():
        parts = made.split(found)
        for part, by in ((1, 0), (3, 1)):
            rows = zip(parts[part], points[0][part], slopes[by], in_range[part], strict=True)
            for got, wanted, slope, is_finite in rows:
                where = slope.judged & is_finite
                assert_near_where(where, got, wanted, 1e-6, (seed, way, part))
        check_symmetry(made, parts, 1e-7, (seed, way))
    every = [slope for kind in slopes for slope in kind]
    moving = [np.sum(slope.judged & (slope.values != 0)) for slope in every]
    return Tally(
        sum(slope.judged.size for slope in every),
        sum(int(np.sum(slope.judged)) for slope in every),
        sum(int(count) for count in moving),
    )


def check_symmetry(made: Campaign, parts: Sequence[Any], tolerance: float, about: object) -> None:
    """uᵀ(∂f·d) = (uᵀ∂f)·d, and eᵀHd = dᵀHe, where H = ∂²(uᵀf)."""
    values, pushed, pulled, second, other = parts
    least = 1 + made.size("u", values)  # what cancels on the way is not small itself
    for left, right, what in (
        (("u", pushed), ("d", pulled), "reverse"),
        (("e", second), ("d", other), "symmetry"),
    ):
        found = [made.dot(*side) for side in (left, right)]
        sizes = [least, made.size(*left), made.size(*right)]
        if np.isfinite(sum(sizes)):
            assert abs(found[0] - found[1]) <= tolerance * max(sizes), (about, what, found)


def check_seeds(seeds: Sequence[int], every: int) -> None:
    """All graphs of these seeds, one of `every` compiled too."""
    made: list[Tally] = []
    for seed in seeds:
        graph = graph_of_seed(seed, dt.float64)
        if all(node.op.name not in LEFT_OUT for node in graph.walk()):
            made.append(check_graph(seed, graph, seed % every == 0))
    total, judged, moving = (sum(counts) for counts in zip(*made, strict=True))
    assert judged > 0.8 * total, f"judged {judged} of {total}"
    assert moving > len(made), f"only {moving} are not zero"


def test_random_graphs() -> None:
    check_seeds(range(40), 10)


@pytest.mark.slow
@pytest.mark.parametrize("fifty", range(10))
def test_many_random_graphs(fifty: int) -> None:
    check_seeds(range(50 * fifty, 50 * fifty + 50), 1)


@pytest.mark.slow
def test_many_more_random_graphs() -> None:
    check_seeds(range(500, 3000), 10**6)


# --- coverage -------------------------------------------------------------------------------------


def test_every_entry_with_a_derivative_is_checked() -> None:
    """By test_op_derivatives, from its samples; but for those that hold graphs: they have files."""
    entries = {op.name for op in TABLE.values() if has_derivative(op)}
    assert entries - {op.name for op in DIFFERENTIABLE} == {
        *("scan", "while_loop", "switch", "checkpoint", "custom")
    }


def test_every_public_function_is_checked_or_named() -> None:
    rooms: dict[str, Any] = {"": gl, "random.": gl.random, "linalg.": gl.linalg, "nn.": gl.nn}
    public = {
        prefix + name
        for prefix, room in {**rooms, "fft.": fft}.items()
        for name, value in vars(room).items()
        if isfunction(value) and not name.startswith("_") and value.__module__.count(".ops")
        if name not in TABLE and (not prefix or name in room.__all__)
    }
    known = {*PUBLIC, *ALIASES, *WITHOUT, *TOOLS}
    assert public <= known, f"add to derivative_formulas.py: {public - known}"


def function_graph(function: Callable[..., Any], shapes: Sequence[tuple[int, ...]]) -> Graph:
    inputs = [gl.placeholder(shape, "float64", name=f"x{i}") for i, shape in enumerate(shapes)]
    outputs, _ = flatten(function(*inputs))
    return Graph("public", inputs, [gl.sin(t) if t.dtype.is_float else t for t in outputs])


@pytest.mark.campaign(4)
@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions(name: str) -> None:
    """Functions made of entries, one in three compiled; a sine behind makes linear ones curved."""
    function, *shapes = PUBLIC[name]
    is_compiled = list(PUBLIC).index(name) % 3 == 0
    made = check_graph(7, function_graph(function, shapes), is_compiled)
    assert made.judged == made.total
    assert made.moving > 0


@pytest.mark.parametrize("order", ["values", "backwards"])
def test_loops(order: str) -> None:
    """A scan by its start, its sequences and what it captures."""

    def looped(start: Any, rows: Any, w: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            new = gl.tanh(carry @ w + row)
            return new, new * row

        return gl.scan(step, start, rows, reverse=order == "backwards")

    check = check_graph(3, function_graph(looped, [(3,), (4, 3), (3, 3)]), is_compiled=True)
    assert check.judged == check.total == check.moving


@pytest.mark.parametrize("kind", ["vjp", "jvp", "both"])
def test_custom_derivatives(kind: str) -> None:
    """Of x exp(y) / 2 by one rule or two, in the modes and orders that need the other as well."""

    def vjp(u: Any, result: Any, x: Any, y: Any) -> Any:
        return u * gl.exp(y) / 2, u * result

    def jvp(v: Any, result: Any, x: Any, y: Any) -> Any:
        return v[0] * gl.exp(y) / 2 + v[1] * result

    rules: dict[str, Any] = {"vjp": vjp, "jvp": jvp}
    given = rules if kind == "both" else {kind: rules[kind]}

    def formula(x: Any, y: Any) -> Any:
        return x * gl.exp(y) / 2

    function = gl.custom_derivative(formula, **given)
    check = check_graph(5, function_graph(function, [(3,), (3,)]), is_compiled=True)
    assert check.judged == check.total == check.moving
