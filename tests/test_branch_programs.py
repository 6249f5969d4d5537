# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Branches in whole programs: one alone runs, in loops and nested, with parameters, checks, nans,
and on the simulated CUDA device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.frontends.function import Function
from gradloom.ir.errors import CheckError, NumericsError
from gradloom.ir.graph import Graph
from gradloom.ir.op import TABLE
from gradloom.ir.tensor import Tensor

from .cuda_device import simulated

NumpyArray = np.ndarray[Any, Any]


def draw(*shape: int, seed: int = 0) -> NumpyArray:
    return np.random.default_rng(seed).normal(size=shape)


def ops_of(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.walk()]


# --- one alone runs -----------------------------------------------------------------------------


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """How often NumPy sorts and solves for compiled programs."""
    found = {"argsort": 0, "solve": 0}
    for name in found:
        op = TABLE[name]

        def counted(*arrays: Any, name: str = name, op: Any = op, **attrs: Any) -> Any:
            found[name] += 1
            return op.reference(*arrays, **attrs)

        monkeypatch.setitem(TABLE, name, replace(op, reference=counted))
    yield found


@pytest.mark.parametrize("threads", [1, 2])
def test_the_branch_taken_alone_runs(counts: dict[str, int], threads: int) -> None:
    x = gl.placeholder((200, 200), "float64", "x")
    p = gl.placeholder((), "bool", "p")
    y = gl.cond(
        p,
        lambda: gl.sum(gl.astype(gl.argsort(gl.check(x, gl.sum(x) < 0, "not taken")), "float64")),
        lambda: gl.sum(gl.solve(x + 50.0 * gl.eye(200, dtype="float64"), x)),
    )
    run = gl.function([p, x], [y, gl.grad(y, x)], threads=threads)
    array = np.abs(draw(200, 200))
    value, slope = run(False, array)
    assert counts == {"argsort": 0, "solve": 3}  # the value, and for the slope again with its own
    system = array + 50 * np.eye(200)
    np.testing.assert_allclose(value, np.linalg.solve(system, array).sum(), 1e-9)
    with pytest.raises(CheckError, match="not taken"):
        run(True, array)
    counts.update(argsort=0, solve=0)
    value, slope = run(True, -array)
    assert counts["solve"] == 0 and counts["argsort"] >= 1
    assert not slope.any()
    assert value == np.argsort(-array).sum()


def test_each_step_of_a_loop_takes_its_own(counts: dict[str, int]) -> None:
    xs = gl.placeholder((6, 3), "float64", "xs")

    def body(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        new = gl.cond(
            gl.sum(x) > 0, lambda: carry + gl.astype(gl.argsort(x), "float64"), lambda: carry * 2.0
        )
        return new, gl.sum(new)

    last, ys = gl.scan(body, gl.zeros(3, "float64"), xs)
    rows = draw(6, 3)
    found = gl.function([xs], [last, ys])(rows)
    assert counts["argsort"] == int((rows.sum(1) > 0).sum())
    carry, sums = np.zeros(3), []
    for row in rows:
        carry = carry + np.argsort(row) if row.sum() > 0 else carry * 2
        sums.append(carry.sum())
    np.testing.assert_allclose(found[0], carry)
    np.testing.assert_allclose(found[1], sums)


# --- in loops, nested, batched ------------------------------------------------------------------


def looped(xs: Tensor, h: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """A cond on the carry, in a cond on the entry, in a scan."""

    def step(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        def inner() -> tuple[Tensor, Tensor]:
            return gl.cond(
                gl.sum(carry) < 1,
                lambda: (gl.tanh(carry @ w) + x, gl.sum(carry)),
                lambda: (carry * x, gl.sum(w)),
            )

        return gl.cond(x[0] > 0, inner, lambda: (carry - 0.1 * x, x[1]))

    return gl.scan(step, h, xs)


def unrolled(xs: NumpyArray, h: NumpyArray) -> list[bool | None]:
    """Which ways the loop takes: none of the inner ones, the first, or the second."""
    w, ways = draw(3, 3, seed=5), []
    for x in xs:
        if not x[0] > 0:
            h, way = h - 0.1 * x, None
        elif h.sum() < 1:
            h, way = np.tanh(h @ w) + x, True
        else:
            h, way = h * x, False
        ways.append(way)
    return ways


def chosen(ways: list[bool | None], xs: Tensor, h: Tensor, w: Tensor) -> Tensor:
    """The same loss with these ways, as plain graph."""
    total: Any = 0.0
    for i, way in enumerate(ways):
        x = xs[i]
        if way is None:
            h, y = h - 0.1 * x, x[1]
        else:
            h, y = (gl.tanh(h @ w) + x, gl.sum(h)) if way else (h * x, gl.sum(w))
        total = total + y * y
    return total + gl.sum(h * h)


def test_nested_in_a_loop_with_derivatives() -> None:
    xs, h, w, v = (
        gl.placeholder(shape, "float64", name)
        for name, shape in (("xs", (6, 3)), ("h", (3,)), ("w", (3, 3)), ("v", (3, 3)))
    )
    arrays = [draw(6, 3, seed=3), draw(3, seed=4) + 1, draw(3, 3, seed=5), draw(3, 3, seed=6)]
    ways = unrolled(arrays[0], arrays[1])
    assert {*ways} == {None, True, False}
    last, ys = looped(xs, h, w)
    asked = []
    for loss in (gl.sum(last * last) + gl.sum(ys * ys), chosen(ways, xs, h, w)):
        forward = gl.jvp(loss, w, v)
        asked.append([loss, *gl.grad(loss, [xs, h, w]), forward, gl.hvp(loss, w, v)])
        asked[-1].append(gl.grad(forward, h))
    found, expected = (gl.function([xs, h, w, v], list(each))(*arrays) for each in asked)
    feeds = dict(zip((xs, h, w, v), arrays, strict=True))
    for tensor, a, b in zip(asked[0], found, expected, strict=True):
        np.testing.assert_allclose(a, b, 1e-9, 1e-11)
        np.testing.assert_allclose(tensor.eval(feeds), b, 1e-9, 1e-11)


def test_a_batch_of_loops_of_branches() -> None:
    xs, h, w = (
        gl.placeholder(shape, "float64", name)
        for name, shape in (("xs", (4, 6, 3)), ("h", (4, 3)), ("w", (3, 3)))
    )
    last, ys = gl.vmap(looped, in_axes=(0, 0, None))(xs, h, w)
    slope = gl.grad(gl.sum(last * last) + gl.sum(ys * ys), w)
    arrays = [draw(4, 6, 3), draw(4, 3, seed=1), draw(3, 3, seed=5)]
    found = gl.function([xs, h, w], [last, ys, slope])(*arrays)
    x1, h1 = gl.placeholder((6, 3), "float64", "x"), gl.placeholder((3,), "float64", "h1")
    last, ys = looped(x1, h1, w)
    loss = gl.sum(last * last) + gl.sum(ys * ys)
    single = gl.function([x1, h1, w], [last, ys, gl.grad(loss, w)])
    each = [single(x, h, arrays[2]) for x, h in zip(arrays[0], arrays[1], strict=True)]
    np.testing.assert_allclose(found[0], [one[0] for one in each], 1e-10)
    np.testing.assert_allclose(found[1], [one[1] for one in each], 1e-10)
    np.testing.assert_allclose(found[2], sum(one[2] for one in each), 1e-10)


def test_a_copy_made_in_one_branch_is_not_there_elsewhere() -> None:
    """A product wants its right side dense: each branch makes a copy, and so does what follows."""
    x, y = (gl.placeholder((40, 40), "float64", name) for name in "xy")
    p = gl.placeholder((), "bool", "p")
    turned = x.T[::2]
    z = gl.cond(p, lambda: y[:, :20] @ turned, lambda: (2.0 * y[:, :20]) @ turned)
    run = gl.function([p, x, y], [z, (3.0 * y[:, :20]) @ turned])
    a, b = draw(40, 40), draw(40, 40, seed=1)
    product = b[:, :20] @ a.T[::2]
    for taken in (True, False):
        found, after = run(taken, a, b)
        np.testing.assert_allclose(found, product * (1 if taken else 2), 1e-10)
        np.testing.assert_allclose(after, product * 3, 1e-10)


@pytest.mark.parametrize("nodes", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_branch_of_many_nodes(nodes: int) -> None:
    x = gl.placeholder((4,), "float64", "x")
    p = gl.placeholder((), "bool", "p")

    def long() -> Tensor:
        y = x
        for _ in range(nodes // 2):
            y = y * 0.999 + 0.001
        return y

    y = gl.cond(p, long, lambda: x)
    run = gl.function([p, x], [y, gl.grad(gl.sum(y), x)])
    value, slope = run(True, np.zeros(4))
    np.testing.assert_allclose(value, 1 - 0.999 ** (nodes // 2))
    np.testing.assert_allclose(slope, 0.999 ** (nodes // 2))
    np.testing.assert_array_equal(run(False, np.full(4, 2.0))[0], 2)


# --- parameters, checks, nans -------------------------------------------------------------------


def test_updates_by_a_branch() -> None:
    x = gl.placeholder((3,), "float64", "x")
    p = gl.placeholder((), "bool", "p")
    w, v = (gl.parameter(np.ones(3), name=name) for name in "wv")
    new = gl.cond(p, lambda: w + x, lambda: w)
    swapped = gl.cond(p, lambda: (v, w), lambda: (w, v))
    bad = gl.cond(p, lambda: gl.check(v, gl.all(x > 0), "positive"), lambda: v * 3.0)
    step = gl.function([p, x], gl.sum(new), updates={w: new, v: bad})
    assert step(True, [1.0, 2.0, 3.0]) == 9
    np.testing.assert_array_equal(w.value, [2, 3, 4])
    with pytest.raises(CheckError, match="positive"):
        step(True, [-1.0, 2.0, 3.0])
    np.testing.assert_array_equal(w.value, [2, 3, 4])
    assert step(False, [-1.0, 2.0, 3.0]) == 9
    np.testing.assert_array_equal(v.value, [3, 3, 3])
    exchange = gl.function([p], [], updates={w: swapped[0], v: swapped[1]})
    exchange(True)
    np.testing.assert_array_equal(w.value, [3, 3, 3])
    np.testing.assert_array_equal(v.value, [2, 3, 4])
    exchange(False)
    np.testing.assert_array_equal(w.value, [3, 3, 3])


def test_check_numerics_walks_the_branch_taken() -> None:
    x = gl.placeholder((2,), name="x")
    p = gl.placeholder((), "bool", "p")

    def root() -> Tensor:
        inside = gl.sqrt(x)
        return inside * 2.0

    y = gl.cond(p, root, lambda: x)
    step = gl.function([p, x], y, check_numerics=True)
    np.testing.assert_array_equal(step(False, np.array([-1, 4], "float32")), [-1, 4])
    np.testing.assert_array_equal(step(True, np.array([1, 4], "float32")), [2, 4])
    with pytest.raises(NumericsError) as caught:
        step(True, np.array([-1, 4], "float32"))
    lines = str(caught.value).splitlines()
    assert "sqrt made nan in 1 of 2 numbers" in lines[0]
    assert "inside = gl.sqrt(x)" in lines[0]
    assert any("in then, a branch at test_branch_programs.py" in line for line in lines)
    with pytest.raises(NumericsError, match="input x holds nan"):
        step(False, np.array([np.nan, 4], "float32"))
    some = gl.function([p, x], gl.cond(p, root, lambda: x)[1:], check_numerics=True)
    np.testing.assert_array_equal(some(True, np.array([-1, 4], "float32")), [4])
    unasked = gl.cond(p, lambda: (root(), x), lambda: (x, x))[1]
    assert (
        gl.function([p, x], unasked, check_numerics=True)(True, -np.ones(2, "float32")) < 0
    ).all()


def test_check_numerics_in_loops_of_branches() -> None:
    xs = gl.placeholder((5, 2), name="xs")

    def body(carry: Tensor, x: Tensor) -> tuple[Tensor, None]:
        return gl.cond(x[0] > 0, lambda: carry + gl.log(x), lambda: carry - x), None

    last, _ = gl.scan(body, gl.zeros(2), xs)
    step = gl.function([xs], [last, gl.grad(gl.sum(last), xs)], check_numerics=True)
    rows = np.ones((5, 2), "float32")
    rows[1] = -1
    assert np.isfinite(step(rows)[0]).all()
    rows[3, 1] = -2
    with pytest.raises(NumericsError) as caught:
        step(rows)
    message = str(caught.value)
    assert "log made nan" in message and "in then, a branch" in message
    assert "in step 3 of the loop" in message


# --- on the simulated device --------------------------------------------------------------------


def test_on_the_cuda_device() -> None:
    xs = gl.placeholder(("T", 3), name="xs")
    i = gl.placeholder((), "int64", "i")
    w = gl.parameter(draw(3).astype("float32"), name="w")

    def body(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        new = gl.cond(gl.sum(x) > 0, lambda: gl.tanh(carry * w) + x, lambda: carry * x)
        return new, gl.sum(new)

    last, ys = gl.scan(body, gl.ones(3), xs)
    loss = gl.switch(i, [lambda: gl.sum(last), lambda: gl.sum(ys * ys), lambda: gl.sum(xs * w)])
    step: Function = gl.function([i, xs], [loss, ys], updates={w: w - 0.1 * gl.grad(loss, w)})
    device = simulated(step)
    for steps in (0, 3):
        for index in (-1, 1, 5):
            rows = draw(steps, 3, seed=index + 7).astype("float32")
            before = w.value
            found = device([np.array(index), rows], [w])
            after, w.value = w.value, before
            for a, b in zip(found, step(index, rows), strict=True):
                np.testing.assert_allclose(a, b, 2e-5, 1e-5)
            np.testing.assert_allclose(after, w.value, 2e-5, 1e-5)
