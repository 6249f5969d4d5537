# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Weights of a loop are laid out once, in panels, as its products read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.kernel import Contract
from gradloom.ir.program_text import parse_program

STEPS = 20


def run(function: Any, *arguments: Any) -> list[np.ndarray]:
    return [np.asarray(result) for result in function(*arguments)]


def products(program: Any) -> list[Contract]:
    return [item for k in program.kernels for item in k.body if isinstance(item, Contract)]


def recurrence(size: int, dtype: str, transposed: bool = False, steps: int = STEPS) -> Any:
    """h ← tanh(h @ w + x) and its gradients by w and the first h: both ways through the loop."""
    w = gl.placeholder((size, size), dtype, name="w")
    h, xs = gl.placeholder(("B", size), dtype, name="h"), gl.placeholder(("B", size), dtype, "x")

    def step(h: Any, _: Any) -> Any:
        return gl.tanh(h @ (w.T if transposed else w) + xs), None

    last, _ = gl.scan(step, h, gl.zeros((steps,), dtype))
    return [w, h, xs], [last, *gl.grad(gl.sum(gl.square(last)), [w, h])]


def by_numpy(w: Any, h: Any, x: Any, transposed: bool) -> list[np.ndarray]:
    w, h, x = (np.asarray(array, np.longdouble) for array in (w, h, x))
    m = w.T if transposed else w
    hs = [h]
    for _ in range(STEPS):
        hs.append(np.tanh(hs[-1] @ m + x))
    slope, total = 2 * hs[-1], np.zeros_like(m)
    for before, after in zip(hs[-2::-1], hs[:0:-1], strict=True):
        slope = slope * (1 - after * after)
        total, slope = total + before.T @ slope, slope @ m.T
    return [hs[-1], total.T if transposed else total, slope]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("size", "dtype"), [(128, "float32"), (150, "float32"), (97, "float64")])
def test_both_ways_through_a_loop(size: int, dtype: str, transposed: bool) -> None:
    inputs, outputs = recurrence(size, dtype, transposed)
    rng = np.random.default_rng(0)
    function, alone = (gl.function(inputs, outputs, threads=threads) for threads in (2, 1))
    panels = [item for item in products(function.program) if item.panel != 0]
    assert len(panels) == 2  # there, and back
    w = (rng.standard_normal((size, size)) / size**0.5).astype(dtype)
    tolerance = {"float32": 2e-4, "float64": 1e-11}[dtype]
    for batch in (0, 1, 3, 16, 40, 130):
        h, x = rng.standard_normal((2, batch, size)).astype(dtype)
        found = run(function, w, h, x)
        for result, single, expected in zip(
            found, run(alone, w, h, x), by_numpy(w, h, x, transposed), strict=True
        ):
            np.testing.assert_array_equal(result, single)
            np.testing.assert_allclose(result, expected, tolerance, tolerance)


def test_no_bit_differs_from_a_short_loop() -> None:
    """Which reads the weights where they are."""
    w, h, x = np.random.default_rng(1).standard_normal((3, 96, 96)).astype(np.float32) / 9
    inputs, outputs = recurrence(96, "float32", steps=2 * STEPS)
    twice = gl.function(inputs, outputs[0])
    inputs, outputs = recurrence(96, "float32", steps=8)
    short = gl.function(inputs, outputs[0])
    assert any(item.panel != 0 for item in products(twice.program))
    assert not any(item.panel != 0 for item in products(short.program))
    expected = h
    for _ in range(5):
        expected = np.asarray(short(w, expected, x))
    np.testing.assert_array_equal(twice(w, h, x), expected)


def test_where_no_panels_are_made() -> None:
    """Small weights, few steps, one row; or where steps read more of them than a product does."""
    w = gl.placeholder((128, 128), name="w")
    h = gl.placeholder(("B", 128), name="h")
    one = gl.placeholder((1, 128), name="h")

    def loop(step: Any, start: Any, steps: int = STEPS) -> Any:
        return gl.scan(lambda h, _: (step(h), None), start, gl.zeros((steps,)))[0]

    cases = {
        "few steps": (h, loop(lambda h: gl.tanh(h @ w), h, 10)),
        "one row": (one, loop(lambda h: gl.tanh(h @ w), one)),
        "it changes": (w, loop(lambda v: gl.tanh(v @ v), w)),
    }
    for name, (start, result) in cases.items():
        inputs = [w] if start is w else [w, start]
        function = gl.function(inputs, result)
        assert not any(item.panel != 0 for item in products(function.program)), name
    inputs, outputs = recurrence(64, "float32")
    assert not any(item.panel != 0 for item in products(gl.function(inputs, outputs).program))


def test_readers_of_another_kind_find_the_matrix_itself() -> None:
    """Here rows of it are added in each step, too."""
    w = gl.placeholder((128, 128), name="w")
    h = gl.placeholder((5, 128), name="h")

    def step(h: Any, i: Any) -> Any:
        return gl.tanh(h @ w) + gl.take(w, i, axis=0) * w[3] + gl.sum(w * w), None

    last, _ = gl.scan(step, h, gl.arange(STEPS))
    function = gl.function([w, h], last)
    assert any(item.panel != 0 for item in products(function.program))
    values, state = np.random.default_rng(2).standard_normal((2, 128, 128)).astype(np.float32) / 99
    expected = state = state[:5]
    for i in range(STEPS):
        expected = np.tanh(expected @ values) + values[i] * values[3] + np.sum(values * values)
    np.testing.assert_allclose(function(values, state), expected, 1e-4, 1e-4)


def test_the_text_says_so() -> None:
    inputs, outputs = recurrence(150, "float32")
    program = gl.function(inputs, outputs).program
    assert " in panels of d" in str(program)
    assert str(parse_program(str(program))) == str(program)


def test_loops_of_loops() -> None:
    """The inner loop's weights are the same in all steps of the outer one, too."""
    w = gl.placeholder((128, 128), name="w")
    h = gl.placeholder((6, 128), name="h")

    def inner(h: Any, _: Any) -> Any:
        return gl.tanh(h @ w), None

    def outer(h: Any, _: Any) -> Any:
        return gl.scan(inner, h, gl.zeros((STEPS,)))[0] + 0.5, None

    function = gl.function([w, h], gl.scan(outer, h, gl.zeros((3,)))[0])
    values, state = np.random.default_rng(3).standard_normal((2, 128, 128)).astype(np.float32) / 9
    expected = state = state[:6]
    for _ in range(3):
        for _ in range(STEPS):
            expected = np.tanh(expected @ values)
        expected = expected + np.float32(0.5)
    np.testing.assert_allclose(function(values, state), expected, 1e-4, 1e-4)
