"""Short rows, side by side in the lanes of vectors."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from numpy.typing import NDArray

import gradloom as gl
from gradloom.compiler.cpu_panels import LONGEST, MOST
from gradloom.compiler.emit_cpu import emit_cpu
from gradloom.compiler.orders import LANES
from gradloom.ir.dtypes import BY_SHORT
from gradloom.ir.kernel_text import parse_kernel
from gradloom.ir.units import COLUMNS, block_length
from gradloom.runtime.loader import load_kernel

from .kernel_interpreter import interpret_kernel
from .test_emit_cpu import KERNEL

CENTRE = """
kernel centre(a0: {0}, a1: out {0}, a2: out {0}; d0, d1) over i: reduce {1}, j: parallel d0 {{
  v0 = load a0[i + d1*j] : {0}
  v1 = reduce add v0 from zero : {0}
  v2 = subtract v0, v1 : {0}
  store a1[i + d1*j] = v2
  store a2[j] = v1
}}"""


@pytest.mark.campaign(3)
@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("dtype", ["f32", "f64", "i8", "u16", "i32", "i64"])
def test_rows_go_in_and_out_through_panels(dtype: str, lanes: int) -> None:
    numpy = BY_SHORT[dtype].name
    for length in (2, 7, LONGEST):
        kernel = parse_kernel(CENTRE.format(dtype, length))
        text = emit_cpu(kernel, lanes)
        assert text.count("rows_into(") == text.count("rows_out(") == 1
        assert "strided" not in text
        assert f"{dtype}_inside({2 * length * lanes})" in text  # stacks of threads may be small
        call = KERNEL(load_kernel(text, lanes))
        for rows in (0, 1, lanes - 1, lanes, 2 * lanes + 3):
            apart = length + 3  # what lies between the rows is not to be touched
            values = np.arange(max(rows, 1) * apart) % 23
            expected = {"a0": values.astype(numpy), "a1": -values.astype(numpy)}
            expected["a2"] = np.full(rows + 1, 77, numpy)
            actual = {name: array.copy() for name, array in expected.items()}
            sizes = {"d0": rows, "d1": apart}
            interpret_kernel(kernel, expected, sizes)
            table = (ctypes.c_int64 * 3)(*[actual[name].ctypes.data for name in actual])
            dims, status = (ctypes.c_int64 * 2)(rows, apart), (ctypes.c_int64 * 2)()
            unused = (ctypes.c_int64 * 8)()
            for thread in range(3):
                call(unused, unused, table, dims, status, thread, 3)
            for name, array in actual.items():
                np.testing.assert_array_equal(array, expected[name], name)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "bool", "uint8", "int16"])
def test_rows_of_few_bits_go_through_panels(dtype: str) -> None:
    """Element by element these would take longer than a vector a row did."""
    x = gl.placeholder(("B", 10), dtype, name="x")
    made = x ^ gl.any(x, axis=-1, keepdims=True) if dtype == "bool" else x - gl.max(x, -1, True)
    function = gl.function([x], made, threads=2)
    (kernel,) = function.kernels
    assert kernel.source.count("rows_into(") == kernel.source.count("rows_out(") == 1
    assert "strided" not in kernel.source
    for rows in (0, 1, 16, 37):
        bits = np.arange(rows * 10).reshape(rows, 10) % 7 % 2
        values = gl.constant(bits).astype(dtype).eval({})
        np.testing.assert_array_equal(function(values), gl.evaluate(function.graph, {"x": values}))


def test_panels_take_what_memory_there_is() -> None:
    loads = "\n".join(f"v{n} = load a0[{n}00 + i + 999*j] : f32" for n in range(1, 80))
    sums = "\n".join(f"v{79 + n} = reduce add v{n} from zero : f32" for n in range(1, 80))
    stores = "\n".join(f"store a1[{n}00 + j] = v{79 + n}" for n in range(1, 80))
    text = f"kernel many(a0: f32, a1: out f32; d0) over i: reduce 16, j: parallel d0 {{\n{loads}\n"
    made = emit_cpu(parse_kernel(f"{text}{sums}\n{stores}\n}}"), 16)
    assert made.count("rows_into(") == MOST // (16 * 16 * 4) < 79
    assert made.count("load_strided(") == 79 - made.count("rows_into(")


def softmax_like(x: gl.Tensor) -> list[gl.Tensor]:
    total = gl.sum(x * x, axis=-1, keepdims=True)
    largest = gl.max(x, axis=-1)
    return [gl.softmax(x, axis=-1), gl.log_softmax(x, axis=-1), x / gl.sqrt(total + 1), largest]


@pytest.mark.campaign(3)
@pytest.mark.parametrize("length", [2, 3, 4, 5, 10, LANES - 1, LANES])
def test_rows_of_any_number(length: int) -> None:
    x = gl.placeholder(("B", length), name="x")
    made = softmax_like(x)
    ours = gl.function([x], made, threads=2)
    alone = gl.function([x], made, threads=1)
    rng = np.random.default_rng(length)
    for rows in (0, 1, 3, 15, 16, 17, 100):
        values = rng.normal(size=(rows, length)).astype("float32")
        for given in (values, values * 1e4, _with_specials(values), np.asfortranarray(values)):
            results = ours(given)
            for result, again, reference in zip(
                results, alone(given), gl.evaluate(ours.graph, {"x": given}), strict=True
            ):
                np.testing.assert_array_equal(result, again)
                np.testing.assert_allclose(result, reference, 1e-5, 1e-6)


def _with_specials(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows with an infinity, and with a nan."""
    made = values.copy()
    made[1::5, 0], made[3::7, -1] = -np.inf, np.nan
    return made


def test_bits_hang_on_the_shape_alone() -> None:
    """Not on what a sum is fused with, nor on whether it is written over a parameter."""
    values = np.random.default_rng(3).normal(size=(40, 11)).astype("float32")
    x = gl.placeholder(("B", 11), name="x")
    total = gl.sum(x, axis=-1)
    (plain,) = gl.function([x], [total])(values)
    beside, _ = gl.function([x], [total, gl.softmax(x, axis=-1) * total[:, None]])(values)
    state = gl.parameter(np.zeros(40, "float32"), name="state")
    rows = gl.placeholder((40, 11), name="rows")
    gl.function([rows], [], updates={state: gl.sum(rows, axis=-1)})(values)
    np.testing.assert_array_equal(plain, beside)
    np.testing.assert_array_equal(plain, state.value)


def test_blocks_of_columns_are_several_vectors() -> None:
    for shape, axis, vectors in [
        (("B", 10), 1, 1),
        ((10, "B"), 0, COLUMNS),
        ((4, "B"), 0, COLUMNS),
    ]:
        x = gl.placeholder(shape, name="x")
        (kernel,) = gl.function([x], gl.sum(x, axis=axis)).kernels
        assert block_length(kernel, 16) == 16 * vectors, shape


def test_rows_stay_rows_where_they_are_few_or_long() -> None:
    for shape, across in [
        (("B", 10), True),
        ((8, 10), False),
        ((16, 10), True),
        (("B", 16), False),
    ]:
        x = gl.placeholder(shape, name="x")
        function = gl.function([x], gl.softmax(x, axis=-1))
        (kernel,) = function.kernels
        assert (kernel.axes[-1].role == "parallel") == across, shape
