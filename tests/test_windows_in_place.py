# pyright: standard
"""Products whose left side is laid out nowhere: the walk in the Kernel, its tables, convolutions.

The oracle is the reference interpreter, of kernels and of graphs; `test_tile.py` and `test_nn.py`
hold the parts to NumPy and SciPy.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.emit_cpu import emit_cpu
from gradloom.compiler.pipeline import compile_graph
from gradloom.frontends.function import cpu_target
from gradloom.ir.dims import evaluate
from gradloom.ir.kernel_text import parse_kernel
from gradloom.ir.program import Launch, Loop, walk
from gradloom.ir.target import Target
from gradloom.ir.units import touched
from gradloom.runtime import contractions
from gradloom.runtime.executable import Executable
from gradloom.runtime.loader import load_kernel

from .kernel_interpreter import interpret_kernel
from .nn_cases import numbers
from .op_cases import close
from .staggered import staggered
from .test_tile import DTYPES, WIDTHS, contract

WALK = """kernel walked(a0: f64, a1: f64, a2: i64, a3: i64, a4: out f64; d0, d1, d2) \
over i: parallel d0, j: parallel 21, k: parallel d1 {
  v0 = contract a0[50*i + 3] by a2, a3 of 6 at -7, a1[d1*j + k] over d2 in \
a4[21*d1*i + d1*j + k] : f64
  v1 = tanh v0 : f64
  store a4[21*d1*i + d1*j + k] = v1
}"""
WALK = WALK.replace("21*d1*i", "d3*i").replace("d0, d1, d2)", "d0, d1, d2, d3)")
CALL = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 5, ctypes.c_int64, ctypes.c_int64)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_walk_means_the_same_interpreted_and_compiled(threads: int) -> None:
    kernel = parse_kernel(WALK)
    assert parse_kernel(str(kernel)) == kernel
    lanes = cpu_target().lanes
    call = CALL(load_kernel(emit_cpu(kernel, lanes), lanes))
    rng = np.random.default_rng(0)
    for batch, columns, depth in [(2, 5, 18), (1, 33, 6), (3, 1, 0), (0, 4, 6)]:
        sizes = {"d0": batch, "d1": columns, "d2": depth, "d3": 21 * columns}
        arrays = {
            "a0": rng.normal(size=300),
            "a1": rng.normal(size=max(21, depth) * columns),
            "a2": rng.integers(20, 60, 21),
            "a3": rng.integers(0, 60, 6),
            "a4": np.full(batch * 21 * columns + 1, 9.0),
        }
        given = {**arrays, "a4": arrays["a4"].copy()}
        interpret_kernel(kernel, arrays, sizes)
        table = (ctypes.c_int64 * 5)(*(given[a.name].ctypes.data for a in kernel.arguments))
        dims, unused = (ctypes.c_int64 * 4)(*sizes.values()), (ctypes.c_int64 * 8)()
        for thread in range(threads):
            call(unused, unused, table, dims, unused, thread, threads)
        np.testing.assert_allclose(given["a4"], arrays["a4"], 1e-12, 1e-12)


def test_tables_of_a_loop_are_made_once() -> None:
    """Before the outermost of a loop of loops: sizes stay."""
    x = gl.placeholder(("B", 2, "H", "W"), "float64", "x")
    w = gl.placeholder((2, 2, 3, 3), "float64", "w")

    def step(image: Any, _: Any) -> Any:
        return gl.tanh(gl.nn.conv2d(image, w, padding="same")), None

    def steps(image: Any, _: Any) -> Any:
        return gl.scan(step, image, None, length=3)[0], None

    last, _ = gl.scan(steps, x, None, length=2)
    outputs = [last, gl.grad(gl.sum(gl.square(last)), w)]
    function = gl.function([x, w], outputs)
    loops = [loop for loop in function.program.steps if isinstance(loop, Loop)]
    inside = [step for loop in loops for step in walk(loop.body)]
    assert loops and not [s for s in inside if isinstance(s, Launch) and "offsets" in s.kernel]
    arrays = [numbers(2, 2, 5, 4), numbers(2, 2, 3, 3)]
    for value, got in zip(outputs, function(*arrays), strict=True):
        close(got, value.eval({x: arrays[0], w: arrays[1]}))


def test_threads_that_walk_wait_for_all_that_is_written() -> None:
    """What a walk reads only its tables know, and a kernel may have written those."""
    sizes = {"d0": 2, "d1": 5, "d2": 18, "d3": 105}
    for thread in (0, 1):
        found = touched(parse_kernel(WALK), sizes, 8, thread, 2)
        for name, length in (("a0", 300), ("a2", 21), ("a3", 6)):
            low, high = found[name]
            assert low <= 0 and length <= high


def by_tables(
    dtype: str,
    lanes: int,
    walk: tuple[Any, Any, Any, int, int],
    b: Any,
    c: Any,
    start: Any = None,
) -> None:
    """C = A . B (+ start) in place, arrays of contiguous rows; the walk over A: the array, tables
    of rows and of steps, how many rounds of these, and how far on each begins."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    kinds: Any = [pointer, pointer, pointer, number, number, pointer, number, number]
    kinds += [pointer, number] * 2
    function = ctypes.CFUNCTYPE(None, *kinds, *[number] * 3, pointer, number)(
        contractions.contraction(f"at_{dtype}", lanes)
    )
    a, rows, steps, rounds, stride = walk
    columns = b.shape[1]
    more = (None, 0) if start is None else (start.ctypes.data, columns)
    function(
        a.ctypes.data, rows.ctypes.data, steps.ctypes.data, rounds, stride,
        b.ctypes.data, columns, 1, *(c.ctypes.data, columns) * 2,
        len(rows), columns, len(steps), *more,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_tables_of_offsets(dtype: str) -> None:
    """Every path of the micro-kernel: segments, one row, edges, rounds, sums that go on."""
    rng, kind = np.random.default_rng(1), DTYPES[dtype]
    for rows, columns, steps, rounds in [
        (5, 7, 3, 2), (33, 40, 17, 3), (1, 70, 5, 2), (9, 16, 900, 2), (80, 40, 401, 2),
        (3, 3, 0, 2), (3, 3, 4, 0),
    ]:  # fmt: skip
        a = rng.integers(-9, 9, 2000).astype(kind)
        at, by = rng.integers(100, 900, rows), rng.integers(0, 900, steps)
        b = rng.integers(-9, 9, (steps * rounds, columns)).astype(kind)
        start = rng.integers(-9, 9, (rows, columns)).astype(kind)
        left = [a[at[:, None] + by + 37 * n] for n in range(rounds)]
        product = np.concatenate([np.zeros((rows, 0), kind), *left], 1) @ b
        for initial in (None, start):
            c = np.full((rows, columns), 77, kind)
            by_tables(dtype, cpu_target().lanes, (a, at, by, rounds, 37), b, c, initial)
            np.testing.assert_array_equal(c, product + (0 if initial is None else start))


def _images(seed: int) -> tuple[Any, ...]:
    """Shapes of image and kernel, and the arguments of a convolution, drawn."""
    rng = np.random.default_rng(seed)
    n, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2, 3]))
    kernel = tuple(map(int, rng.integers(1, 4, n)))
    dilation = tuple(map(int, rng.integers(1, 3, n)))
    pads = tuple((int(low), int(high)) for low, high in rng.integers(0, 3, (n, 2)))
    span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = tuple(int(s + rng.integers(0, 9)) for s in span)
    stride = tuple(map(int, rng.integers(1, 4, n)))
    channels, outputs = (int(c) * groups for c in rng.integers(1, 20, 2))
    batch = int(rng.choice([0, 1, 2, 5]))
    image, weights = (batch, channels, *size), (outputs, channels // groups, *kernel)
    return image, weights, {
        "stride": stride, "padding": pads, "dilation": dilation, "groups": groups
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_drawn_convolutions(seed: int) -> None:
    _check_drawn(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 200))
def test_more_drawn_convolutions(seed: int) -> None:
    _check_drawn(seed)


def _check_drawn(seed: int) -> None:
    """Value and both derivatives; sizes fixed, the batch named, or everything named."""
    image, kernel, options = _images(seed)
    convolve = [gl.nn.conv1d, gl.nn.conv2d, gl.nn.conv3d][len(image) - 3]
    data, weights = numbers(*image, seed=seed), numbers(*kernel, seed=seed + 1)
    named = {
        0: image,
        1: ("B", *image[1:]),
        2: ("B", image[1], *"HWD"[: len(image) - 2]),
    }[seed % 3]
    x, w = gl.placeholder(named, "float64", "x"), gl.placeholder(kernel, "float64", "w")
    y = convolve(x, w, **options)
    outputs = [y, *gl.grad(gl.sum(gl.sin(y)), [x, w])]
    graph = gl.Graph("g", [x, w], outputs)
    program = compile_graph(graph, cpu_target()).program
    assert program is not None
    found = [run(program, data, weights, threads) for threads in (1, 2)]
    loaded = Executable(program, 2)
    found += [staggered(loaded, [data, weights], [], order) for order in ((0, 1), (1, 0))]
    for value, got, *others in zip(outputs, *found, strict=True):
        for other in others:  # no bit depends on the threads
            np.testing.assert_array_equal(got, other)
        close(got, value.eval({x: data, w: weights}))


def run(program: Any, x: Any, w: Any, threads: int) -> list[Any]:
    executable = Executable(program, threads=threads)
    return [np.array(result) for result in executable([x, w], [])]


def _step(shape: tuple[Any, ...]) -> gl.Graph:
    x = gl.placeholder(shape, "float32", "x")
    w = gl.placeholder((6, 4, 5, 5), "float32", "w")
    y = gl.nn.conv2d(x, w, padding="same")
    return gl.Graph("g", [x, w], [y, *gl.grad(gl.sum(y * y), [x, w])])


def test_no_columns_in_memory() -> None:
    """A patches matrix would be 25 times the image; on a GPU there is one still."""
    program = compile_graph(_step(("B", 4, 20, 20)), cpu_target()).program
    assert program is not None
    sizes = {b.name: evaluate(b.type.size, {"B": 8}) for b in program.buffers}
    image = 8 * 6 * 24 * 24  # the largest: a cotangent with its padding
    assert max(sizes.values()) == image
    tables = [b for b in program.of_kind("constant") if b.type.dtype == gl.int64]
    assert {evaluate(b.type.size, {}) for b in tables} == {20 * 20, 4 * 25, 6 * 25}
    other = compile_graph(_step(("B", 4, 20, 20)), Target("cuda")).program
    assert other is not None
    assert all(b.type.dtype != gl.int64 for b in other.of_kind("constant"))
    assert max(evaluate(b.type.size, {"B": 8}) for b in other.buffers) >= 25 * image // 2


def test_tables_of_named_sizes_are_made_in_the_call() -> None:
    program = compile_graph(_step(("B", 4, "H", "W")), cpu_target()).program
    assert program is not None
    launched = [step.kernel for step in program.steps if isinstance(step, Launch)]
    assert any(name.startswith("offsets") for name in launched)
    sizes = {b.name: evaluate(b.type.size, {"B": 8, "H": 20, "W": 20}) for b in program.buffers}
    assert max(sizes.values()) == 8 * 6 * 24 * 24


def test_infinities_stay_where_they_are_seen() -> None:
    x, w = numbers(1, 2, 6, 6).astype(np.float32), numbers(3, 2, 3, 3).astype(np.float32)
    x[0, 1, 2, 3], x[0, 0, 5, 0] = np.inf, np.nan
    a, b = gl.placeholder(x.shape, name="x"), gl.placeholder(w.shape, name="w")
    y = gl.nn.conv2d(a, b, padding=1)
    got = gl.function([a, b], y)(x, w)
    seen = np.zeros((6, 6), bool)
    seen[1:4, 2:5] = seen[4:6, 0:2] = True
    assert (np.isfinite(got) == ~seen).all()
    np.testing.assert_allclose(got, y.eval({a: x, b: w}), 1e-5, 1e-5)


@pytest.mark.parametrize("stride", [2, 3, (1, 2)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_spread_inputs_without_their_zeros(stride: Any, dilation: int) -> None:
    """The gradient by the input of a strided convolution: no array has zeros between entries."""
    x, w = gl.placeholder(("B", 3, 13, 12), "float64", "x"), numbers(5, 3, 3, 4)
    y = gl.nn.conv2d(x, w, stride, 1, dilation)
    by_x = gl.grad(gl.sum(gl.sin(y)), x)
    program = compile_graph(gl.Graph("g", [x], [by_x]), cpu_target()).program
    assert program is not None
    data = numbers(2, 3, 13, 12)
    close(Executable(program, 1)([data])[0], by_x.eval({x: data}))
    spread = 5 * (y.shape[2] * 2) * (y.shape[3] * 2) if stride == 2 else 0
    if spread and dilation == 1:
        sizes = [evaluate(b.type.size, {"B": 1}) for b in program.buffers]
        assert max(sizes) < evaluate(spread, {})


def test_a_channel_a_group_is_a_sum_and_no_product() -> None:
    x = gl.placeholder(("B", 4, 9, 12), "float64", "x")
    w = gl.placeholder((4, 1, 3, 3), "float64", "w")
    y = gl.nn.conv2d(x, w, (2, 1), 1, groups=4)
    outputs = [y, *gl.grad(gl.sum(y * y), [x, w])]
    program = compile_graph(gl.Graph("g", [x, w], outputs), cpu_target()).program
    assert program is not None and not any("matmul" in k.name for k in program.kernels)
    for n in (0, 1, 3):
        data, weights = numbers(n, 4, 9, 12), numbers(4, 1, 3, 3)
        for value, got in zip(outputs, gl.function([x, w], outputs)(data, weights), strict=True):
            close(got, value.eval({x: data, w: weights}))


@pytest.mark.campaign(6)
@pytest.mark.parametrize("beside", ["rows", "steps", "neither", "almost"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lanes", WIDTHS)
def test_tables_of_neighbours(lanes: int, dtype: str, beside: str) -> None:
    """Blocks of A are copied where rows or steps are neighbours: the bits of the usual product."""
    rng, kind = np.random.default_rng(2), DTYPES[dtype]
    for rows, columns, steps, rounds in [
        (24, 128, 12, 1), (23, 130, 40, 1), (131, 200, 300, 2), (300, 129, 17, 3), (64, 140, 0, 1),
        (128, 128, 256, 1), (256, 129, 700, 1),
    ]:  # fmt: skip
        a = (rng.standard_normal(3000) * 99).astype(kind)
        at, by = rng.integers(100, 900, rows), rng.integers(0, 900, steps)
        if beside != "neither":
            table = at if beside == "rows" else by
            table[:] = 250 + np.arange(len(table))
            table[-1:] += beside == "almost"
        b = (rng.standard_normal((steps * rounds, columns)) * 9).astype(kind)
        start = (rng.standard_normal((rows, columns)) * 9).astype(kind)
        whole = np.concatenate([a[at[:, None] + by + 37 * n] for n in range(rounds)], 1)
        for initial in (None, start):
            found, wanted = (np.full((rows, columns), 77, kind) for _ in range(2))
            by_tables(dtype, lanes, (a, at, by, rounds, 37), b, found, initial)
            contract(dtype, lanes, np.ascontiguousarray(whole), b, wanted, initial)
            np.testing.assert_array_equal(found, wanted)
