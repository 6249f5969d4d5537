"""CPU source, compiled, means what the Kernel means, whichever thread does which part."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from gradloom.compiler.emit_cpu import emit_cpu
from gradloom.compiler.keep import kept_value
from gradloom.frontends.function import cpu_target
from gradloom.ir.kernel_text import parse_kernel
from gradloom.runtime.loader import load_kernels

from .cuda_kernels import CASES, make_arrays
from .kernel_interpreter import interpret_kernel

LANES = cpu_target().lanes
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
KERNEL = ctypes.CFUNCTYPE(
    ctypes.c_int32, *[ctypes.c_void_p] * 5, ctypes.c_int64, ctypes.c_int64
)  # Numba's convention: result, exception, then the five arguments

ADDRESSES = dict(
    zip(
        CASES,
        load_kernels([emit_cpu(case.kernel, LANES) for case in CASES.values()], LANES),
        strict=True,
    )
)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("name", CASES)
def test_compiled_kernel_equals_interpreted(name: str, threads: int) -> None:
    case = CASES[name]
    kernel = case.kernel
    call = KERNEL(ADDRESSES[name])
    for sizes in case.sizes:
        expected, actual = make_arrays(case, sizes), make_arrays(case, sizes)
        interpret_kernel(kernel, expected, sizes)
        pointers = [actual[argument.name].ctypes.data for argument in kernel.arguments]
        table = (ctypes.c_int64 * len(pointers))(*pointers)
        dims = (ctypes.c_int64 * (len(sizes) + 1))(*[sizes[p] for p in kernel.parameters])
        status = (ctypes.c_int64 * 2)()
        unused = (ctypes.c_int64 * 8)()
        for thread in range(threads):
            call(unused, unused, table, dims, status, thread, threads)
        assert status[0] == 0
        for argument in kernel.arguments:
            a, dtype = argument.name, argument.dtype
            if not argument.is_output or not dtype.is_float:
                np.testing.assert_array_equal(actual[a], expected[a], a)
            else:
                tolerance = TOLERANCE[dtype.name]
                np.testing.assert_allclose(actual[a], expected[a], tolerance, tolerance)


def test_source_of_a_row_kernel() -> None:
    kernel = parse_kernel(
        """kernel centre(a0: f32, a1: out f32; d0) over i: parallel d0, j: reduce 10 {
          v0 = load a0[10*i + j] : f32
          v1 = reduce maximum v0 from lowest : f32    @ loss.py:3
          v2 = subtract v0, v1 : f32    @ loss.py:4
          store a1[10*i + j] = v2
        }"""
    )
    assert emit_cpu(kernel, 16) == (
        "def centre(buffers, dims, status, tid, nth):\n"
        "    a0 = f32_pointer(buffers, 0)\n"
        "    a1 = f32_pointer(buffers, 1)\n"
        "    d0 = dims[0]\n"
        "    units = d0\n"
        "    for u in range(quotient(units * tid, nth), quotient(units * (tid + 1), nth)):\n"
        "        o = u\n"
        "        i = o\n"
        "        v1_rank = rank_maximum(f32(-inf))\n"
        "        m = lanes(10)\n"
        "        for j in range(0, 10, 16):\n"
        "            v0 = load(a0, i * 10 + j, m)\n"
        "            v1_rank = maximum(v1_rank, rank_maximum(where(m, v0, f32(-inf))))"
        "  # loss.py:3\n"
        "        v1 = ranked(reduce_maximum(v1_rank))\n"
        "        m = lanes(10)\n"
        "        for j in range(0, 10, 16):\n"
        "            v0 = load(a0, i * 10 + j, m)\n"
        "            v2 = v0 - v1  # loss.py:4\n"
        "            store(a1, i * 10 + j, v2, m)\n"
    )


def test_source_of_vectors_whose_number_is_not_known() -> None:
    kernel = parse_kernel(
        """kernel double(a0: f32, a1: out f32; d0) over i: parallel d0 {
          v0 = load a0[i] : f32
          v1 = add v0, v0 : f32
          store a1[i] = v1
        }"""
    )
    assert emit_cpu(kernel, 16) == (
        "def double(buffers, dims, status, tid, nth):\n"
        "    a0 = f32_pointer(buffers, 0)\n"
        "    a1 = f32_pointer(buffers, 1)\n"
        "    d0 = dims[0]\n"
        "    a1_past = is_past(d0 * 8, a1, a0)\n"
        "    blocks = (d0 + 4095) // 4096\n"
        "    units = blocks\n"
        "    for u in range(quotient(units * tid, nth), quotient(units * (tid + 1), nth)):\n"
        "        start = u % blocks * 4096\n"
        "        end = min(start + 4096, d0)\n"
        "        i_rest = end - start & 15\n"
        "        i_whole = end - i_rest\n"
        "        for tail in range(1 - min(i_whole - start, 1), 1 + min(i_rest, 1)):\n"
        "            m = lanes(16 + tail * (i_rest - 16))\n"
        "            for i in range(start + tail * (i_whole - start), "
        "i_whole + tail * i_rest, 16):\n"
        "                v0 = load_far(a0, i, m)\n"
        "                v1 = v0 + v0\n"
        "                store_past(a1, i, v1, m, a1_past > tail)\n"
        "    fence(a1_past)\n"
    )


def test_a_fence_is_behind_whatever_went_past_the_caches() -> None:
    """The first output may be an input's memory, and the second not."""
    kernel = parse_kernel(
        """kernel both(a0: f32, a1: out f32, a2: out f32; d0) over i: parallel d0 {
          v0 = load a0[i] : f32
          v1 = add v0, v0 : f32
          store a1[i] = v1
          store a2[i] = v0
        }"""
    )
    text = emit_cpu(kernel, 16)
    assert text.endswith("    fence(a1_past | a2_past)\n")
    load_kernels([text], 16)


SOFTMAX = """kernel softmax(a0: f32, a1: out f32; d0) over i: parallel d0, j: reduce 37 {
  v0 = load a0[37*i + j] : f32
  v1 = reduce maximum v0 from lowest : f32
  v2 = subtract v0, v1 : f32
  v3 = exp v2 : f32
  v4 = reduce add v3 from zero : f32
  v5 = divide v3, v4 : f32
  LAST
  store a1[37*i + j] = v6
}"""


@pytest.mark.parametrize(
    ("last", "kept"),
    [
        ("v6 = add v5, v5 : f32", True),
        ("v6 = add v5, v0 : f32", False),  # a1 may be a0, which is read once more
    ],
)
def test_exponentials_of_a_softmax_are_computed_once(last: str, kept: bool) -> None:
    """They wait where the results will stand, which may be where the input stood."""
    kernel = parse_kernel(SOFTMAX.replace("LAST", last))
    found, source = kept_value(kernel), emit_cpu(kernel, LANES)
    assert (found is not None and (found.value, found.stage) == ("v3", 1)) == kept
    assert source.count("exp(") == (1 if kept else 2)
    assert kernel.may_overwrite("a1", ["a0"])
    x = np.random.default_rng(0).normal(size=(5, 37)).astype(np.float32)
    call, status = KERNEL(load_kernels([source], LANES)[0]), (ctypes.c_int64 * 2)()
    table = (ctypes.c_int64 * 2)(x.ctypes.data, x.ctypes.data)
    powers = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    shares = powers / powers.sum(1, keepdims=True)
    expected = shares + (shares if kept else x)
    unused = (ctypes.c_int64 * 8)()
    call(unused, unused, table, (ctypes.c_int64 * 1)(5), status, 0, 1)
    np.testing.assert_allclose(x, expected, 1e-6)


def test_what_is_not_worth_keeping() -> None:
    """A difference is computed again sooner than it is stored and loaded."""
    kernel = parse_kernel(
        SOFTMAX.replace("exp v2", "add v2, v2").replace("LAST", "v6 = add v5, v5 : f32")
    )
    assert kept_value(kernel) is None
