# pyright: standard
"""Zeros around images that nobody stores or multiplies by: the runs in the Kernel, convolutions.

The oracle is the reference interpreter, of kernels and of graphs.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.emit_cpu import emit_cpu
from gradloom.compiler.pipeline import compile_graph, run_pass
from gradloom.frontends.function import cpu_target
from gradloom.ir.dims import evaluate
from gradloom.ir.kernel_text import parse_kernel
from gradloom.ir.target import Target
from gradloom.ir.text import parse
from gradloom.runtime.executable import Executable
from gradloom.runtime.loader import load_kernel

from .kernel_interpreter import interpret_kernel
from .nn_cases import numbers
from .op_cases import close
from .staggered import staggered

RUNS = """kernel ragged(a0: T, a1: T, a2: i64, a3: i64, a4: i64, a5: out T; d0, d1, d2, d3, \
d4, d5) \
over i: parallel 2, j: parallel d0, k: parallel d1 {
  v0 = contract a0[50*i + -7] by a2, a3 of d2 at 0 in a4 of 2 every d3 by d4, a1[d1*j + k] over d2 \
in a5[d5*i + d1*j + k] : T
  v1 = negative v0 : T
  store a5[d5*i + d1*j + k] = v1
}"""
CALL = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 5, ctypes.c_int64, ctypes.c_int64)
TAKEN = [[1, 0, 2, 3, 5], [3, 1, 5, 0, 0], [3, 1, 5, 0, 0], [4, 0, 0, 0, 0], [5, 4, 5, 0, 0]]


@pytest.mark.campaign(2)
@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32"])
def test_runs_mean_the_same_interpreted_and_compiled(dtype: str, lanes: int) -> None:
    """Groups of one row and of many, runs of a few steps and beyond a segment, empty ones; rows
    anywhere, and as far apart everywhere but for one."""
    kernel = parse_kernel(RUNS.replace("T", dtype))
    assert parse_kernel(str(kernel)) == kernel
    call = CALL(load_kernel(emit_cpu(kernel, lanes), lanes))
    rng = np.random.default_rng(0)
    kind = {"f32": np.float32, "f64": np.float64, "i32": np.int32}[dtype]
    anywhere = [(1, 5, 1), (7, 33, 3), (20, 16, 1), (3, 70, 250), (0, 3, 2)]
    apart = [(40, 16, 3, 2), (37, 32, 1, -1), (33, 70, 2, 0)]
    for group, columns, unit, *gap in anywhere + apart:
        rows, depth = 5 * group, 5 * unit
        values = dict(zip(kernel.parameters, (rows, columns, depth, group, unit), strict=False))
        values["d5"] = rows * columns
        arrays = {
            "a0": rng.integers(-9, 9, 300).astype(kind),
            "a1": rng.integers(-9, 9, max(depth, rows) * columns).astype(kind),
            "a2": rng.integers(20, 60, rows),
            "a3": rng.integers(0, 60, depth),
            "a4": np.array(TAKEN).reshape(-1),
            "a5": np.full(2 * rows * columns + 1, 9, kind),
        }
        if gap:
            arrays["a2"] = 100 + gap[0] * (np.arange(rows) % group)
            arrays["a2"][group + 5] += 1
        taken = np.zeros(depth, bool)  # what no run takes may lead anywhere
        for line in TAKEN:
            for low, high in (line[1:3], line[3:5]):
                taken[low * unit : high * unit] = True
        given = {**arrays, "a5": arrays["a5"].copy()}
        given["a3"] = np.where(taken, given["a3"], 1 << 40)
        interpret_kernel(kernel, arrays, values)
        for threads in (1, 2, 3):
            out = given["a5"].copy()
            buffers = [out if a.name == "a5" else given[a.name] for a in kernel.arguments]
            table = (ctypes.c_int64 * 6)(*(buffer.ctypes.data for buffer in buffers))
            dims, unused = (ctypes.c_int64 * 6)(*values.values()), (ctypes.c_int64 * 8)()
            for thread in range(threads):
                call(unused, unused, table, dims, unused, thread, threads)
            np.testing.assert_array_equal(out, arrays["a5"])


CASES: list[tuple[Any, Any, dict[str, Any]]] = [
    ((8, 9, 5, 6), (11, 9, 3, 3), {"padding": "same"}),
    (("B", 16, 6, 4), (9, 16, 5, 3), {"padding": "same"}),
    (("B", 8, 7, 9), (8, 8, 3, 4), {"padding": 2, "stride": (2, 1)}),
    (("B", 18, 8, 8), (16, 9, 3, 3), {"padding": 2, "dilation": 2, "groups": 2}),
    (("B", 8, 6), (17, 8, 3), {"padding": 1}),
    (("B", 8, 3, 4, 3), (8, 8, 3, 3, 3), {"padding": 1}),
    ((9, 8, 2, 2), (10, 8, 5, 5), {"padding": 3}),
]


@pytest.mark.parametrize(("image", "kernel", "options"), CASES)
def test_convolutions_and_their_gradients(image: Any, kernel: Any, options: Any) -> None:
    x, w = gl.placeholder(image, "float64", "x"), gl.placeholder(kernel, "float64", "w")
    y = [gl.nn.conv1d, gl.nn.conv2d, gl.nn.conv3d][len(image) - 3](x, w, **options)
    outputs = [y, *gl.grad(gl.sum(gl.sin(y)), [x, w])]
    program = compile_graph(gl.Graph("g", [x, w], outputs), cpu_target()).program
    assert program is not None
    assert sum(" every " in str(kernel) for kernel in program.kernels) >= 1
    assert not any("gather" in kernel.name for kernel in program.kernels)  # nothing is padded
    for batch in (0, 1, 3, 10) if image[0] == "B" else image[:1]:
        data, weights = numbers(batch, *image[1:]), numbers(*kernel)
        one = [np.array(t) for t in Executable(program, 1)([data, weights], [])]
        loaded = Executable(program, 2)
        others = [staggered(loaded, [data, weights], [], order) for order in ((0, 1), (1, 0))]
        for value, got, *same in zip(outputs, one, *others, strict=True):
            for other in same:  # no bit depends on the threads
                np.testing.assert_array_equal(got, other)
            close(got, value.eval({x: data, w: weights}))


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("size", [1, 8])
def test_what_meets_no_input_has_no_part_in_a_sum(size: int, bad: float) -> None:
    """A weight that only meets padding, or the zeros between spread inputs, may be anything.

    The interpreter for all shapes; compiled code where nobody stores the zeros.
    """
    x = gl.placeholder((size, size, 2, 2), "float64", "x")
    w = gl.placeholder((size, size, 3, 3), "float64", "w")
    data, weights, clean = numbers(size, size, 2, 2), *2 * [numbers(size, size, 3, 3)]
    weights = weights.copy()
    weights[:, :, 0, 0] = bad
    y = gl.nn.conv2d(x, w, padding=1)
    spread = gl.nn.conv_transpose2d(x, w, stride=3)
    by = gl.placeholder((size, size, 2, 2), "float64", "by")
    (slope,) = gl.grad(gl.sum(y * by), [x])
    feeds, finite = {x: data, w: weights, by: data}, {x: data, w: clean, by: data}
    for value, met in (
        (y, (..., 1, 1)),
        (spread, (..., slice(None, None, 3), slice(None, None, 3))),
        (slope, (..., 0, 0)),
    ):
        found, wanted = value.eval(feeds), value.eval(finite)
        there = np.zeros(found.shape, bool)
        there[met] = True
        assert (np.isfinite(found) == ~there).all()
        np.testing.assert_array_equal(found[~there], wanted[~there])
        if size == 8:
            step = gl.function([x, w, by], value)
            np.testing.assert_allclose(step(data, weights, data), found, 1e-9, 1e-12)


def test_no_zeros_in_memory() -> None:
    """On CPU no array is larger than images are; on a GPU the zeros are stored."""
    x, w = gl.placeholder(("B", 8, 6, 6), name="x"), gl.placeholder((8, 8, 5, 5), name="w")
    y = gl.nn.conv2d(x, w, padding="same")
    graph = gl.Graph("g", [x, w], [y, *gl.grad(gl.sum(y * y), [x, w])])
    for target, zeros in ((cpu_target(), False), (Target("cuda"), True)):
        program = compile_graph(graph, target).program
        assert program is not None
        sizes = [evaluate(b.type.size, {"B": 16}) for b in program.buffers]
        floats = [b.type.dtype.is_float for b in program.buffers]
        largest = max(size for size, is_float in zip(sizes, floats, strict=True) if is_float)
        assert (largest > 16 * 8 * 6 * 6) == zeros


def test_large_windows_over_large_images_are_padded() -> None:
    """A table of what each has of the image would be larger than the image."""
    for image, kernel, far in (
        ((8, 8, 6), 5, 1),
        ((8, 8, 4096), 4097, 0),
        ((8, 8, *[24] * 3), 7, 0),
    ):
        n = len(image) - 2
        x = gl.placeholder(image, name="x")
        w = gl.placeholder((8, 8, *[kernel] * n), name="w")
        y = [gl.nn.conv1d, gl.nn.conv2d, gl.nn.conv3d][n - 1](x, w, padding="same")
        graph = run_pass(gl.Graph("g", [x, w], [y]), "expand")
        assert sum(node.op.name == "patches" for node in graph.nodes) == far


def test_patches_that_others_read_are_made() -> None:
    """Only products take them as they are; behind the pass there are windows of what is padded."""
    x, w = gl.placeholder(("B", 8, 6, 6), name="x"), gl.placeholder((8, 8, 3, 3), name="w")
    graph = run_pass(gl.Graph("g", [x, w], [gl.nn.conv2d(x, w, padding=1)]), "expand")
    (node,) = [node for node in graph.nodes if node.op.name == "patches"]
    both = gl.Graph("g", [x, w], [*graph.outputs, node.results[0]])
    assert run_pass(graph, "halos") is graph
    assert all(node.op.name != "patches" for node in run_pass(both, "halos").nodes)
    data, weights = numbers(2, 8, 6, 6).astype("f4"), numbers(8, 8, 3, 3).astype("f4")
    for graph in (both, run_pass(both, "halos")):
        program = compile_graph(graph, cpu_target()).program
        assert program is not None
        for got, want in zip(
            Executable(program, 1)([data, weights], []),
            gl.evaluate(both, {"x": data, "w": weights}),
            strict=True,
        ):
            np.testing.assert_allclose(got, want, 1e-5, 1e-5)


def test_patches_of_sizes_that_a_call_gives_are_made() -> None:
    """Of other sizes there is no table before the call."""
    for size, shown in ((6, True), ("H", False)):
        graph = parse(f"""graph @g(%x: f32[8,1,8,{size}], %w: f32[1,24,8]) {{
            %0 = patches %x {{counts=({size},), sizes=(3,), lows=(1,), strides=(1,), \
dilations=(1,)}} : f32[1,8*{size},24]
            %1 = matmul %0, %w : f32[1,8*{size},8]
            return %1
        }}""")
        made = run_pass(graph, "halos")
        assert any(node.op.name == "patches" for node in made.nodes) == shown
        data, weights = numbers(8, 1, 8, 6).astype("f4"), numbers(1, 24, 8).astype("f4")
        (found,), (wanted,) = (
            gl.compile(graph)(data, weights),
            gl.evaluate(graph, {"x": data, "w": weights}),
        )
        np.testing.assert_allclose(found, wanted, 1e-5, 1e-5)
