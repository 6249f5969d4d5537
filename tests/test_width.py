"""Vectors of several registers where formulas are long: which kernels have them, and what they do
at the ends of rows."""

from __future__ import annotations

import ctypes
import re

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.emit_cpu import emit_cpu, width
from gradloom.frontends.function import cpu_target
from gradloom.ir.kernel import Kernel
from gradloom.ir.kernel_text import parse_kernel
from gradloom.ir.units import touched
from gradloom.runtime.loader import load_kernel

from .test_emit_cpu import KERNEL


def chain(columns: int | str, *ops: str, dtype: str = "f32", rows: bool = False) -> Kernel:
    """Functions, one of the other, of an array or of each row of one."""
    where = f"{columns}*i + j" if rows else "j"
    lines = [f"  v{n + 1} = {op} v{n} : {dtype}" for n, op in enumerate(ops)]
    sizes = ["d0"] * rows + [str(columns)] * isinstance(columns, str)
    head = f"kernel chain(a0: {dtype}, a1: out {dtype}" + (f"; {', '.join(sizes)}" if sizes else "")
    axes = "i: parallel d0, " * rows + f"j: parallel {columns}"
    body = [f"  v0 = load a0[{where}] : {dtype}", *lines, f"  store a1[{where}] = v{len(ops)}"]
    return parse_kernel("\n".join([f"{head}) over {axes} {{", *body, "}"]))


def folded(
    columns: int | str, *ops: str, count: int = 1, along: str = "j", dtype: str = "f32"
) -> Kernel:
    """Rows of functions of an array folded into one, or each into a number, `count` times."""
    names = [f"a{n + 1}: out {dtype}" for n in range(count)]
    head = f"kernel folded(a0: {dtype}, {', '.join(names)}" + ("; d0" if columns == "d0" else "")
    lines = [f"  x0 = load a0[{columns}*i + j] : {dtype}"]
    lines += [f"  x{n + 1} = {op} x{n} : {dtype}" for n, op in enumerate(ops)]
    for n in range(count):
        lines += [
            f"  v{n + 1} = reduce add x{len(ops)} from zero : {dtype}",
            f"  store a{n + 1}[{along}] = v{n + 1}",
        ]
    roles = ("reduce 5", "parallel") if along == "j" else ("parallel 5", "reduce")
    return parse_kernel(
        "\n".join([f"{head}) over i: {roles[0]}, j: {roles[1]} {columns} {{", *lines, "}"])
    )


VARIANCE = """kernel variance(a0: f32, a1: out f32) over i: reduce 5, j: parallel 512 {
  v0 = load a0[512*i + j] : f32
  v1 = reduce add v0 from zero : f32
  v2 = subtract v0, v1 : f32
  v3 = multiply v2, v2 : f32
  v4 = reduce add v3 from zero : f32
  v5 = reduce maximum v3 from lowest : f32
  v6 = add v4, v5 : f32
  store a1[j] = v6
}"""

PRODUCT = """kernel product(a0: f32, a1: f32, a2: f32, a3: out f32; d0, d1, d2) \
over i: parallel d0, j: parallel d1 {
  v0 = contract a0[d2*i + j], a1[d1*i + j] over d2 : f32
  v1 = load a2[j] : f32
  v2 = add v0, v1 : f32
  v3 = tanh v2 : f32
  store a3[d1*i + j] = v3
}"""


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (chain("d1", "exp"), 64),
        (chain("d1", "exp", "tanh", "sigmoid", "exp"), 64),
        (chain("d1", *["tanh"] * 5), 32),  # more values wait at a time
        (chain("d1", *["tanh"] * 11), 16),
        (chain("d1", "negative", "sqrt"), 16),  # memory takes longer
        (chain("d1", "exp", dtype="f64"), 32),  # already two registers
        (chain("d1", "exp", rows=True), 16),  # rows may be short
        (chain(128, "exp", rows=True), 64),
        (chain(96, "exp", rows=True), 32),  # no half-empty vectors
        (chain(10, "exp", rows=True), 16),
        (chain(1000, "exp"), 64),
        (folded(512), 64),  # four registers of each row
        (folded(520), 64),
        (folded(96), 32),
        (folded(10), 16),
        (folded("d0"), 16),  # columns may be few
        (folded(512, count=2), 64),
        (folded(512, count=3), 16),  # each sum has vectors of its own
        (folded(512, along="i"), 16),
        (folded(512, dtype="f64"), 32),  # already two registers
        (folded(512, *["tanh"] * 5), 32),
        (parse_kernel(VARIANCE), 64),  # three sums, but no more than two at a time
        (parse_kernel(PRODUCT), 32),
        (parse_kernel(PRODUCT.replace("f32", "f64")), 16),
        (parse_kernel(PRODUCT.replace("tanh", "negative")), 16),
    ],
)
def test_how_wide(kernel: Kernel, expected: int) -> None:
    assert width(kernel, 16) == expected
    said = re.findall(r"vectors\((\d+)\)", emit_cpu(kernel, 16))
    assert said == ([str(expected)] if expected != 16 else [])
    assert width(kernel, 8) == 8  # registers are too few


STRIDED = """kernel apart(a0: f32, a1: out f32; d0) over j: parallel d0 {
  v0 = load a0[2*j] : f32
  v1 = exp v0 : f32
  store a1[j] = v1
}"""


def test_only_neighbours() -> None:
    assert width(parse_kernel(STRIDED), 16) == 16


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_ends_of_arrays(lanes: int, dtype: str) -> None:
    """Nothing is read or written behind the last element, whatever the last vector lacks."""
    call = KERNEL(load_kernel(emit_cpu(chain("d0", "exp", "tanh", dtype=dtype), lanes), lanes))
    numpy_dtype = {"f32": np.float32, "f64": np.float64}[dtype]
    for size in [0, 1, 2, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 127, 128, 129, 200, 4095, 4161]:
        x = np.linspace(-3, 3, size).astype(numpy_dtype)
        out = np.full(size + 64, 7.0, numpy_dtype)
        table = (ctypes.c_int64 * 2)(x.ctypes.data, out.ctypes.data)
        status, unused = (ctypes.c_int64 * 2)(), (ctypes.c_int64 * 8)()
        dims = (ctypes.c_int64 * 1)(size)
        for thread in range(2):
            call(unused, unused, table, dims, status, thread, 2)
        np.testing.assert_allclose(out[:size], np.tanh(np.exp(x)), 1e-6)
        assert (out[size:] == 7.0).all(), size


@pytest.mark.parametrize("columns", [1, 10, 16, 17, 31, 32, 33, 48, 63, 64, 70, 300])
def test_rows_behind_a_product(columns: int) -> None:
    rng = np.random.default_rng(4)
    x, w, b = gl.placeholder(("B", "I")), gl.placeholder(("I", "O")), gl.placeholder(("O",))
    layer = gl.function([x, w, b], gl.tanh(x @ w + b), threads=2)
    for rows in (0, 1, 5, 40):
        xs, ws = rng.normal(size=(rows, 20)), rng.normal(size=(20, columns)) / 5
        bs = rng.normal(size=columns)
        arrays = [array.astype(np.float32) for array in (xs, ws, bs)]
        found = layer(*arrays)
        np.testing.assert_allclose(found, np.tanh(arrays[0] @ arrays[1] + arrays[2]), 1e-5, 1e-5)


def test_no_bit_depends_on_the_width() -> None:
    """Rows of 96 go by 32, of 128 by 64 and of 100 by 16: each element is the same formula."""
    x = np.random.default_rng(0).normal(size=(5, 128)).astype(np.float32) * 30
    x[0, :4] = np.nan, np.inf, -np.inf, -0.0
    found: list[np.ndarray] = []
    for columns in (96, 100, 128):
        a = gl.placeholder((5, columns), name="a")
        apply = gl.function([a], gl.tanh(a) * gl.exp(-gl.absolute(a)))
        found.append(np.asarray(apply(x[:, :columns])))
    for part in found[:2]:
        np.testing.assert_array_equal(part, found[2][:, : part.shape[1]])


@pytest.mark.parametrize("name", ["sum", "max", "mean"])
@pytest.mark.parametrize("rows", [2, 40, 700])
def test_no_bit_of_a_fold_depends_on_the_width(rows: int, name: str) -> None:
    """Columns that only a call knows go by 16, many that the compiler knows by 64."""
    fold = getattr(gl, name)
    x = np.random.default_rng(1).normal(size=(rows, 579)).astype(np.float32) * 30
    x[0, 500:503], x[:, 503] = (np.nan, np.inf, -np.inf), -0.0
    a = gl.placeholder((rows, "C"), name="a")
    narrow = gl.function([a], fold(a, axis=0))
    assert "vectors(" not in str(narrow.program)
    for columns in (512, 520, 575, 576, 579):
        b = gl.placeholder((rows, columns), name="b")
        wide = gl.function([b], fold(b, axis=0), threads=2)
        assert "vectors(64)" in str(wide.program) or cpu_target().lanes < 16
        found, expected = (np.asarray(f(x[:, :columns])) for f in (wide, narrow))
        np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_the_text_tells_how_wide_it_is() -> None:
    with pytest.raises(ValueError, match="power of two"):
        load_kernel("def kernel(buffers, dims, status, tid, nth):\n    vectors(24)\n", 16)


@pytest.mark.parametrize("columns", [1, 64, 96, 512, 520, 575, 579])
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_threads_fold_the_columns_that_barriers_think_they_do(lanes: int, columns: int) -> None:
    kernel = folded(columns)
    call = KERNEL(load_kernel(emit_cpu(kernel, lanes), lanes))
    x = np.random.default_rng(0).normal(size=(5, columns)).astype(np.float32)
    out = np.full(columns + 64, np.nan, np.float32)
    table = (ctypes.c_int64 * 2)(x.ctypes.data, out.ctypes.data)
    status, unused = (ctypes.c_int64 * 2)(), (ctypes.c_int64 * 8)()
    for thread in range(3):
        before = np.isnan(out)
        call(unused, unused, table, unused, status, thread, 3)
        (written,) = (before & ~np.isnan(out)).nonzero()
        low, high = touched(kernel, {}, lanes, thread, 3).get("a1", (0, 0))
        np.testing.assert_array_equal(written, np.arange(low, high))
    np.testing.assert_allclose(out[:columns], x.sum(axis=0), 1e-4, 1e-5)
    assert np.isnan(out[columns:]).all()
