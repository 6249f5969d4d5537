# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (structures of tensors)
"""Loops = the graphs they unroll to = the reference interpreter: values, derivatives of both modes
and of second order; with fixed bodies over 0 to 100 steps, and with random ones in each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradloom as gl
from gradloom.ir import dtypes as dt
from gradloom.ir.graph import Graph
from gradloom.ir.ops.control import placeholder_like
from gradloom.ir.ops.request import gradient, pushforward
from gradloom.ir.tensor import Tensor

from .graphs import Drawn, Seeded, placeholder
from .loop_bodies import INNER, OUTER, Loop, World, build, draw_loop
from .loop_ways import Looped, Unrolled

Arrays = list[Any]
MODES = ("forward", "reverse")


# --- derivatives of both ways --------------------------------------------------------------------


def with_derivatives(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], second: tuple[str, ...] = ()
) -> Graph:
    """The outputs f, uᵀ∂f and ∂f·d for inputs u and d; and the second derivative, from uᵀ∂f along
    d, in the modes that are named."""
    values = [t for t in outputs if t.dtype.is_float]
    wrt = [t for t in inputs if t.dtype.is_float]
    weights = [placeholder_like(t.type, f"weight{i}") for i, t in enumerate(values)]
    directions = [placeholder_like(t.type, f"direction{i}") for i, t in enumerate(wrt)]
    slopes: list[Tensor] = []
    if values:
        pulled = gradient(values, wrt, weights)
        slopes = [*pulled, *pushforward(values, wrt, directions)]
        for mode in second:
            slopes += (gradient if mode == "reverse" else pushforward)(pulled, wrt, directions)
    return Graph("both", [*inputs, *weights, *directions], [*outputs, *slopes])


def feeds_of(graph: Graph, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    feeds: Arrays = []
    for leaf in graph.inputs:
        shape: Any = leaf.shape
        values = rng.normal(size=shape) * 0.7 if leaf.dtype.is_float else rng.integers(0, 7, shape)
        feeds.append(
            np.asarray(values % 2 if leaf.dtype == dt.bool_ else values).astype(leaf.dtype.numpy)
        )
    return feeds


def interpreted(graph: Graph, arrays: Arrays) -> Arrays:
    names = [graph.names[leaf] for leaf in graph.inputs]
    found = gl.evaluate(graph, dict(zip(names, arrays, strict=True)))
    return found if isinstance(found, list) else [found]


def compiled(graph: Graph, arrays: Arrays, **how: Any) -> Arrays:
    found = gl.compile(graph, **how)(*arrays)
    return list(found) if isinstance(found, (tuple, list)) else [found]


def assert_near(got: Arrays, wanted: Arrays, tolerance: float, about: str) -> None:
    for i, (a, b) in enumerate(zip(got, wanted, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape and a.dtype == b.dtype, f"{about}, result {i}"
        if a.dtype.kind != "f":
            np.testing.assert_array_equal(a, b, f"{about}, result {i}")
            continue
        allowed = tolerance * (1 + np.max(np.abs(b), initial=0))
        assert np.all(np.abs(a - b) <= allowed), f"{about}, result {i}: {a} for {b}"


def assert_same(got: Arrays, wanted: Arrays, about: str) -> None:
    for i, (a, b) in enumerate(zip(got, wanted, strict=True)):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), f"{about}, result {i}: {a}, {b}"


# --- fixed bodies --------------------------------------------------------------------------------

W = placeholder("w", (3, 3), dt.float64)
START = placeholder("start", (3,), dt.float64)
FROM = placeholder("from", (), dt.int64)
Made = tuple[list[Tensor], list[Tensor]]


def _rows(length: int) -> Tensor:
    return placeholder("xs", (length, 3), dt.float64)


def _recurrence(carry: Any, x: Tensor) -> tuple[Any, Any]:
    h, n = carry
    after = gl.tanh(W @ h + x) * (1 + 0.1 * gl.astype(n % 3, "float64"))
    return (after, n + 1), {"h": after * x, "n": n, "old": h}


def _scanned(way: Any, length: int, reverse: bool = False, **more: Any) -> Made:
    xs = _rows(length)
    (h, n), ys = way.scan(_recurrence, (START, FROM), xs, length, reverse, **more)
    return [W, START, FROM, xs], [h, n, ys["h"], ys["n"], ys["old"]]


def _until(way: Any, length: int, reverse: bool = False) -> Made:
    return _scanned(way, length, reverse, until=lambda carry: gl.sum(carry[0] ** 2) > 0.9)


def _lengths(way: Any, length: int, reverse: bool = False) -> Made:
    xs, lengths = _rows(length), placeholder("lengths", (3,), dt.int64)
    own = lengths * 17 % (length + 1)

    def body(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return gl.sin(h + x * W[0]), h * x

    h, ys = way.scan(body, START, xs, length, reverse, lengths=own)
    return [W, START, xs, lengths], [h, ys]


def _repeated(way: Any, length: int) -> Made:
    """As many trips as FROM says, at most `length`."""
    h, n = way.repeat(
        lambda state: state[1] < gl.minimum(FROM, length),
        lambda state: (gl.tanh(W @ state[0] + START), state[1] + 1),
        (START, gl.constant(0, "int64")),
        length,
    )
    return [W, START, FROM], [h, n]


def _branching(way: Any, length: int) -> Made:
    """A branch in each step; one that would be infinite is not taken."""
    xs = _rows(length)

    def body(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        low = gl.min(h)
        root = way.cond(low > 0, lambda a: gl.sqrt(a), lambda a: W @ a, h)
        index = gl.astype(gl.floor(gl.sum(x)), "int64")
        ways = [lambda a: a * x, lambda a: gl.sin(a), lambda a: a - START]
        return gl.tanh(root + x), way.switch(index, ways, root)

    h, ys = way.scan(body, START, xs, length)
    return [W, START, xs], [h, ys]


def _mapped(way: Any, length: int) -> Made:
    xs = _rows(length)
    one, two = way.map(lambda x: (gl.softmax(W @ x), gl.sum(x * START)), xs)
    return [W, START, xs], [one, two]


def _joined(way: Any, length: int, reverse: bool = False) -> Made:
    """Affine maps one after the other: their matrices do not commute."""
    xs = _rows(length)
    matrices = gl.tanh(gl.expand_dims(xs, 2) * W)
    maps = (matrices, xs)

    def after(a: Any, b: Any) -> Any:
        mixed = gl.matmul(b[0], gl.expand_dims(a[1], -1))
        return gl.matmul(b[0], a[0]), gl.squeeze(mixed, -1) + b[1]

    one, two = way.join(after, maps, reverse)
    return [W, xs], [one, two]


def _checkpointed(way: Any, length: int) -> Made:
    xs = _rows(length)

    def body(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        after = way.checkpoint(lambda h, x: gl.tanh(W @ gl.sin(h) + x))(h, x)
        return after, after * x

    h, ys = way.scan(body, START, xs, length)
    return [W, START, xs], [h, ys]


FIXED: dict[str, Callable[[Any, int], Made]] = {
    "scan": _scanned,
    "scan reversed": lambda way, length: _scanned(way, length, True),
    "until": _until,
    "until reversed": lambda way, length: _until(way, length, True),
    "lengths": _lengths,
    "lengths reversed": lambda way, length: _lengths(way, length, True),
    "while": _repeated,
    "branches": _branching,
    "segments": lambda way, length: _scanned(way, length, checkpoint="sqrt"),
    "map": _mapped,
    "join": _joined,
    "join reversed": lambda way, length: _joined(way, length, True),
    "checkpoint": _checkpointed,
}


CASES = [(name, length) for name in FIXED for length in (0, 1, 2, 100)]


@pytest.mark.campaign(5)
@pytest.mark.parametrize(("name", "length"), CASES)
def test_a_loop_is_its_unrolled_graph(name: str, length: int) -> None:
    """Values and both modes; second order where the unrolled graph is small."""
    if length == 100 and "join" in name:
        length = 5  # the rounds of more entries are many kernels
    looped, unrolled = (
        with_derivatives(*FIXED[name](way, length), second=MODES if length == 2 else ())
        for way in (Looped, Unrolled)
    )
    arrays = feeds_of(looped, length)
    with np.errstate(all="ignore"):
        wanted = interpreted(unrolled, arrays)
        assert_near(interpreted(looped, arrays), wanted, 1e-9, "interpreted")
    found = compiled(looped, arrays)
    assert_near(found, wanted, 1e-9, "compiled")
    assert_same(compiled(looped, arrays, threads=1), found, "one thread")
    if length:
        assert any(np.any(a) for a in wanted[len(wanted) // 2 :]), "some derivative is not 0"


# --- random bodies -------------------------------------------------------------------------------


def check(loop: Loop, seed: int, thorough: bool = False) -> None:
    """All of one loop."""
    world = World(loop)
    second = MODES[seed // 3 % 2 :][:1] if seed % 3 == 0 else ()
    graphs = [
        with_derivatives(world.inputs, build(loop, world, way), second)
        for way in (Looped, Unrolled)
    ]
    looped, unrolled = graphs
    arrays = feeds_of(looped, seed)
    tolerance = 2e-4 if loop.is_mixed() else 1e-9
    with np.errstate(all="ignore"):
        wanted = interpreted(unrolled, arrays)
        assert_near(interpreted(looped, arrays), wanted, tolerance, "interpreted")
    found = compiled(looped, arrays, threads=1)
    assert_near(found, wanted, tolerance, "compiled")
    assert_same(compiled(looped, arrays, threads=2), found, "two threads")
    if loop.form == "segments":
        flat = build(replace(loop, form="scan"), world, Looped)
        graph = with_derivatives(world.inputs, flat, second)
        assert_same(compiled(graph, arrays), found, "without segments")
    if thorough:
        assert_same(compiled(looped, arrays, fusion=False), found, "without fusion")
        assert_near(compiled(unrolled, arrays), wanted, tolerance, "compiled unrolled")


@pytest.mark.campaign(4)
@pytest.mark.parametrize("seed", range(20))
def test_random_loops(seed: int) -> None:
    check(draw_loop(Seeded(seed)), seed, thorough=seed == 0)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_random_loops(block: int) -> None:
    for seed in range(100 + 30 * block, 130 + 30 * block):
        check(draw_loop(Seeded(seed)), seed, thorough=True)


@pytest.mark.slow
@settings(max_examples=50)
@given(st.data())
def test_drawn_loops(data: st.DataObject) -> None:
    """The same, made simpler where it fails."""
    check(draw_loop(Drawn(data.draw)), 0)


def test_drawn_loops_are_of_all_kinds() -> None:
    """And most of them hold another."""
    loops = [draw_loop(Seeded(seed)) for seed in range(300)]
    inside = [loop for outer in loops for loop in outer.inner()]
    assert {loop.form for loop in loops} == {*OUTER}
    assert {loop.form for loop in inside} == {*INNER}
    assert sum(bool(loop.inner()) for loop in loops) > 150
    assert {loop.length for loop in loops} >= {0, 1, 2, 5}
    pairs = {(outer.form, loop.form) for outer in loops for loop in outer.inner()}
    assert len(pairs) > 40
