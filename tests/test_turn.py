# pyright: standard
"""Transposed copies: blocks that are turned in registers, and how threads share them out."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.emit_cpu import emit_cpu
from gradloom.compiler.pipeline import compile_graph
from gradloom.frontends.function import cpu_target
from gradloom.ir.kernel_text import parse_kernel
from gradloom.ir.program import Launch
from gradloom.ir.units import layout, touched
from gradloom.runtime import contractions
from gradloom.runtime.loader import load_kernel

from .kernel_interpreter import interpret_kernel

TYPES = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64}
CALL = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 5, ctypes.c_int64, ctypes.c_int64)
COPY = """kernel copy(a0: f32, a1: out f32; d0, d1, d2, d3, d4, d5, d6) over i: parallel 3, \
j: parallel d0, k: parallel d1 {
  v0 = load a0[d2*i + j + d3*k + 5] : f32
  store a1[d4*i + d5*j + k + d6] = v0
}"""


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_edge_of_blocks(dtype: str, lanes: int) -> None:
    """Nothing is read or written beyond the sides."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    kinds = (pointer, number, pointer, number, number, number)
    turn = ctypes.CFUNCTYPE(None, *kinds)(contractions.contraction(f"turn_{dtype}", lanes))
    sizes = [0, 1, lanes - 1, lanes, lanes + 1, 2 * lanes + 3]
    for rows, columns in itertools.product(sizes, sizes):
        source = np.arange(columns * (rows + 3)).reshape(columns, rows + 3).astype(TYPES[dtype])
        target = np.full((rows, columns + 2), 7, TYPES[dtype])
        turn(target.ctypes.data, columns + 2, source.ctypes.data, rows + 3, rows, columns)
        np.testing.assert_array_equal(target[:, :columns], source[:, :rows].T)
        assert (target[:, columns:] == 7).all()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_turned_copy_means_the_same_interpreted_and_compiled(threads: int) -> None:
    kernel = parse_kernel(COPY)
    assert layout(kernel) == "squares"
    lanes = cpu_target().lanes
    call = CALL(load_kernel(emit_cpu(kernel, lanes), lanes))
    for rows, columns in [(17, 70), (1, 33), (40, 1), (0, 5), (5, 0)]:
        strides = (rows * columns, rows, rows * columns, columns, 1)
        sizes = dict(zip(kernel.parameters, (rows, columns, *strides), strict=True))
        arrays = {
            "a0": np.arange(3 * rows * columns + 5, dtype=np.float32),
            "a1": np.full(3 * rows * columns + 2, 9, np.float32),
        }
        out = arrays["a1"].copy()
        interpret_kernel(kernel, arrays, sizes)
        table = (ctypes.c_int64 * 2)(arrays["a0"].ctypes.data, out.ctypes.data)
        dims, unused = (ctypes.c_int64 * 7)(*sizes.values()), (ctypes.c_int64 * 8)()
        for thread in range(threads):
            before = out.copy()
            call(unused, unused, table, dims, unused, thread, threads)
            (written,) = (out != before).nonzero()
            if written.size:  # barriers go by this
                low, high = touched(kernel, sizes, lanes, thread, threads)["a1"]
                assert low <= written[0] and written[-1] < high
        np.testing.assert_array_equal(out, arrays["a1"])


@pytest.mark.parametrize(
    ("shape", "order"), [((3, 40, 33), (0, 2, 1)), ((2, 9, 3, 8), (2, 3, 0, 1)), ((3, 5), (1, 0))]
)
def test_only_what_is_long_is_turned(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    for named in (shape, ("B", *shape[1:])):
        x = gl.placeholder(named, "float32", "x")
        made = compile_graph(gl.Graph("g", [x], [gl.transpose(x, order)]), cpu_target()).program
        assert made is not None
        assert any("turn_f32(" in kernel.source for kernel in made.kernels) == (shape != (3, 5))
        data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        found = gl.function([x], gl.transpose(x, order))(data)
        np.testing.assert_array_equal(found, data.transpose(order))


def test_what_is_read_again_and_again_the_other_way_round_is_turned_first() -> None:
    """Copying once is less than gathering each vector from far apart, twice or more."""
    x, y = gl.placeholder(("B", 16, 20), name="x"), gl.placeholder((3, 20, "B", 16), name="y")
    result = gl.moveaxis(x, 2, 0) * y
    program = compile_graph(gl.Graph("g", [x, y], [result]), cpu_target()).program
    assert program is not None
    assert [kernel.name for kernel in program.kernels] == ["copy", "multiply_kernel"]
    assert "load_strided" not in "".join(kernel.source for kernel in program.kernels)
    rng = np.random.default_rng(0)
    for n in (0, 1, 9):
        a = rng.normal(size=(n, 16, 20)).astype(np.float32)
        b = rng.normal(size=(3, 20, n, 16)).astype(np.float32)
        found = gl.function([x, y], result)(a, b)
        np.testing.assert_array_equal(found, np.moveaxis(a, 2, 0) * b)


@pytest.mark.parametrize("shape", [(65, 48, 3, 3), (170, 50, 1, 3), (91, 330, 2)])
def test_what_is_short_is_turned_with_what_lies_beside_it(shape: tuple[int, ...]) -> None:
    """Filters, with outputs last and their entries in front: in two steps, and exactly."""
    order = (*range(2, len(shape)), 1, 0)
    x = gl.placeholder(shape, "float32", "x")
    result = gl.transpose(x, order)
    program = compile_graph(gl.Graph("g", [x], [result]), cpu_target()).program
    assert program is not None
    assert sum(isinstance(step, Launch) for step in program.steps) == 2
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(gl.function([x], result)(data), data.transpose(order))
