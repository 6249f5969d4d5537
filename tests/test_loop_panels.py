# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Weights of a loop are laid out once, in panels, as its products read them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.emit_cpu import emit_cpu
from gradloom.ir.kernel import Contract
from gradloom.ir.kernel_text import parse_kernel
from gradloom.ir.program import Launch, walk
from gradloom.ir.program_text import parse_program
from gradloom.ir.units import touched
from gradloom.runtime.loader import load_kernel

from .loop_cases import run as interpreted
from .test_emit_cpu import KERNEL, LANES

STEPS = 20


def run(function: Any, *arguments: Any) -> list[np.ndarray]:
    return [np.asarray(result) for result in function(*arguments)]


def by_panels(function: Any) -> list[Contract]:
    """The products that read panels."""
    body = [item for kernel in function.program.kernels for item in kernel.body]
    return [item for item in body if isinstance(item, Contract) and item.panel_stride != 0]


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


@pytest.mark.campaign(2)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("size", "dtype"), [(128, "float32"), (150, "float32"), (97, "float64")])
def test_both_ways_through_a_loop(size: int, dtype: str, transposed: bool) -> None:
    inputs, outputs = recurrence(size, dtype, transposed)
    rng = np.random.default_rng(0)
    function, alone = (gl.function(inputs, outputs, threads=threads) for threads in (2, 1))
    assert len(by_panels(function)) == 2  # there, and back
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
    assert by_panels(twice) and not by_panels(short)
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
        assert not by_panels(function), name
    inputs, outputs = recurrence(64, "float32")
    assert not by_panels(gl.function(inputs, outputs))


def test_readers_of_another_kind_find_the_matrix_itself() -> None:
    """Here rows of it are added in each step, too."""
    w = gl.placeholder((128, 128), name="w")
    h = gl.placeholder((5, 128), name="h")

    def step(h: Any, i: Any) -> Any:
        return gl.tanh(h @ w) + gl.take(w, i, axis=0) * w[3] + gl.sum(w * w), None

    last, _ = gl.scan(step, h, gl.arange(STEPS))
    function = gl.function([w, h], last)
    assert by_panels(function)
    values, state = np.random.default_rng(2).standard_normal((2, 128, 128)).astype(np.float32) / 99
    expected = state = state[:5]
    for i in range(STEPS):
        expected = np.tanh(expected @ values) + values[i] * values[3] + np.sum(values * values)
    np.testing.assert_allclose(function(values, state), expected, 1e-4, 1e-4)


PRODUCT = """kernel product(a0: f32, a1: f32, a2: out f32; d0, d1, d2, d3) \
over i: parallel d0, j: parallel d1 {
  v0 = contract a0[d2*i + j], a1[64*i + j] in panels of d3 over d2 in a2[d1*i + j] : f32
}"""


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("columns", [65, 150, 512, 700])
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_what_threads_touch(rows: int, columns: int, threads: int) -> None:
    """Each reads nothing of the panels but what barriers are told, and all do all the work."""
    kernel, depth, rng = parse_kernel(PRODUCT), 10, np.random.default_rng(5)
    a = rng.standard_normal((rows, depth)).astype(np.float32)
    b = rng.standard_normal((depth, columns)).astype(np.float32)
    count = -(-columns // 64)
    wide = np.zeros((depth, count * 64), np.float32)
    wide[:, :columns] = b
    panels = wide.reshape(depth, count, 64).transpose(1, 0, 2).copy().reshape(-1)
    out = np.zeros((rows, columns), np.float32)
    sizes = {"d0": rows, "d1": columns, "d2": depth, "d3": depth * 64}
    call = KERNEL(load_kernel(emit_cpu(kernel, LANES), LANES))
    dims, status = (ctypes.c_int64 * 4)(*sizes.values()), (ctypes.c_int64 * 2)()
    for thread in range(threads):
        low, high = touched(kernel, sizes, LANES, thread, threads).get("a1", (0, 0))
        known = np.full_like(panels, np.nan)
        known[low:high] = panels[low:high]
        table = (ctypes.c_int64 * 3)(a.ctypes.data, known.ctypes.data, out.ctypes.data)
        call((ctypes.c_int64 * 8)(), (ctypes.c_int64 * 8)(), table, dims, status, thread, threads)
    np.testing.assert_allclose(out, a @ b, 1e-4, 1e-4)


def test_the_text_says_so() -> None:
    inputs, outputs = recurrence(150, "float32")
    program = gl.function(inputs, outputs).program
    assert " in panels of d" in str(program)
    assert str(parse_program(str(program))) == str(program)


def inner(h: Any, w: Any) -> Any:
    return gl.scan(lambda h, _: (gl.tanh(h @ w), None), h, gl.zeros((STEPS,)))[0]


OUTER: dict[str, Any] = {  # (w, ws, h) -> the last h of a loop of loops over three matrices
    "the same": lambda w, ws, h: gl.scan(lambda h, _: (inner(h, w), None), h, ws)[0],
    "of a sequence": lambda w, ws, h: gl.scan(lambda h, v: (inner(h, v), None), h, ws)[0],
    "made in each step": lambda w, ws, h: gl.scan(
        lambda h, v: (inner(h, gl.tanh(v + w)), None), h, ws
    )[0],
    "a carry": lambda w, ws, h: gl.scan(
        lambda c, v: ((inner(c[0], c[1]), c[1] * 0.5 + v), None), (h, w), ws
    )[0][0],
    "kept in few steps": lambda w, ws, h: gl.scan(
        lambda h, v: (gl.checkpoint(inner)(h, v), None), h, ws
    )[0],
}


@pytest.mark.parametrize("case", OUTER)
def test_loops_of_loops(case: str) -> None:
    """Each inner loop reads the weights of its own step, and so does the way back through it: the
    interpreter says what is right."""
    w, ws = gl.placeholder((96, 96), name="w"), gl.placeholder((3, 96, 96), name="ws")
    h = gl.placeholder((6, 96), name="h")
    last = OUTER[case](w, ws, h)
    loss = gl.sum(gl.square(last))
    unused = gl.sum(w) * 0.0 + gl.sum(ws) * 0.0
    outputs = [last, *gl.grad(loss + unused, [w, ws, h])]
    function = gl.function([w, ws, h], outputs, threads=2)
    assert by_panels(function)
    random = np.random.default_rng(3)
    arrays = [  # small: what grows from step to step would make roundings grow, too
        (random.standard_normal(shape) / 16).astype(np.float32)
        for shape in ((96, 96), (3, 96, 96), (6, 96))
    ]
    wanted = interpreted([w, ws, h], outputs, *arrays)
    for found, expected in zip(function(*arrays), wanted, strict=True):
        size = max(float(np.abs(expected).max()), 1e-30)
        np.testing.assert_allclose(found / size, expected / size, 0, 1e-4)


def test_a_copy_serves_all_inner_loops() -> None:
    w, h = gl.placeholder((96, 96), name="w"), gl.placeholder((6, 96), name="h")
    last = gl.scan(lambda h, _: (inner(h, w), None), h, gl.zeros((3,)))[0]
    steps = gl.function([w, h], last).program.steps
    reads = [x for x in walk(steps) if isinstance(x, Launch) and "w" in x.arguments]
    assert len(reads) == 2  # all whole panels, and the rest
    assert all(read in steps for read in reads)
