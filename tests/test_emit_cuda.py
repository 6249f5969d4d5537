# pyright: standard
"""CUDA source, run in a simulator, means what the Kernel means."""

from __future__ import annotations

import numpy as np
import pytest

from gradloom.compiler.emit_cuda import emit_cuda
from gradloom.ir.errors import IndexRangeError
from gradloom.ir.kernel_text import parse_kernel
from gradloom.ir.launch import is_narrow, launch_configuration, layout, row_threads

from .cuda_kernels import CASES, Case, make_arrays
from .cuda_simulator import (
    BoundsError,
    DivergenceError,
    Memory,
    Now,
    Order,
    RaceError,
    SimulatorError,
    run_kernel,
)
from .kernel_interpreter import interpret_kernel

ORDERS: tuple[Order, ...] = ("forward", "reverse")
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def compare(case: Case, sizes: dict[str, int], order: Order, grid: int | None) -> None:
    kernel = case.kernel
    expected, actual = make_arrays(case, sizes), make_arrays(case, sizes)
    interpret_kernel(kernel, expected, sizes)
    status = run_kernel(kernel, emit_cuda(kernel), actual, sizes, order, grid)
    assert status[0] == 0
    for argument in kernel.arguments:
        name, dtype = argument.name, argument.dtype
        if not argument.is_output or not dtype.is_float:
            np.testing.assert_array_equal(actual[name], expected[name], name)
        else:
            tolerance = TOLERANCE[dtype.name]
            np.testing.assert_allclose(actual[name], expected[name], tolerance, tolerance)


@pytest.mark.campaign(6)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", CASES)
def test_simulated_kernel_equals_interpreted(name: str, order: Order) -> None:
    for sizes in CASES[name].sizes:
        compare(CASES[name], sizes, order, None)


@pytest.mark.campaign(4)
@pytest.mark.parametrize("name", CASES)
def test_fewer_blocks_than_work(name: str) -> None:
    compare(CASES[name], CASES[name].sizes[-1], "forward", 2)


def test_layouts() -> None:
    found = {name: layout(case.kernel) for name, case in CASES.items()}
    assert found["flat"] == found["softmax by columns"] == "threads"
    assert found["softmax by rows"] == found["everything, in pieces"] == "rows"
    assert found["scatter along the last axis"] == "threads"  # adds in order
    assert found["running along rows, behind a sum"] == "threads"
    assert found["product"] == "tiles"


def test_every_barrier_is_needed() -> None:
    """Take away one barrier after the other: the simulator must notice each time."""
    count = 0
    for name in ("softmax by rows", "product", "a row's own value in place", "any and all"):
        case = CASES[name]
        kernel, sizes = case.kernel, case.sizes[-1]
        lines = emit_cuda(kernel).splitlines()
        for number, line in enumerate(lines):
            if "cuda.syncthreads()" not in line:
                continue
            count += 1
            broken = [*lines[:number], line.replace("cuda.syncthreads()", "pass")]
            text = "\n".join([*broken, *lines[number + 1 :]])
            for order in ORDERS:
                with pytest.raises((RaceError, SimulatorError)):
                    run_kernel(kernel, text, make_arrays(case, sizes), sizes, order, 1)
    assert count >= 10


def test_failed_check_is_reported_and_stays_inside() -> None:
    case = CASES["gather"]
    sizes = case.sizes[1]
    for bad in (5, -6, 2**40):
        arrays = make_arrays(case, sizes)
        arrays["a1"][7] = bad
        status = run_kernel(case.kernel, emit_cuda(case.kernel), arrays, sizes)
        assert status.tolist() == [3, bad]
        with pytest.raises(IndexRangeError):
            interpret_kernel(case.kernel, arrays, sizes)


def test_user_lines_are_comments() -> None:
    assert "v3 = tanh(v2)  # digits.py:12" in emit_cuda(CASES["flat"].kernel)


def test_source_of_a_small_kernel() -> None:
    """The text as a whole, once: it is meant to be read."""
    assert emit_cuda(CASES["flat"].kernel) == (
        "def add_tanh(a0, a1, a2, d0, status):\n"
        "    total = index(10 * d0)\n"
        "    n = index(cuda.grid(1))\n"
        "    while n < total:\n"
        "        i = quotient(n, 10)\n"
        "        j = modulus(n, 10)\n"
        "        v0 = a0[10 * i + j]\n"
        "        v1 = a1[j]\n"
        "        v2 = v0 + v1  # digits.py:12\n"
        "        v3 = tanh(v2)  # digits.py:12\n"
        "        a2[10 * i + j] = v3\n"
        "        n = index(n + cuda.gridsize(1))\n"
    )


def test_names_that_collide() -> None:
    """Axes and values may have the names that the text would like to use."""
    kernel = parse_kernel(
        """kernel clash(row: f32, total: out f32; d0, d1) over n: parallel d0, partial: reduce d1 {
          shared = load row[d1*n + partial] : f32
          r = reduce add shared from zero : f32
          store total[n] = r
        }"""
    )
    sizes = {"d0": 3, "d1": 4}
    arrays = {"row": np.arange(12, dtype=np.float32), "total": np.zeros(3, np.float32)}
    run_kernel(kernel, emit_cuda(kernel), arrays, sizes)
    assert arrays["total"].tolist() == [6, 22, 38]


def test_specials_of_functions() -> None:
    """The edges at which the plain-Python vocabulary could differ from the table."""
    case = CASES["functions"]
    edges = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-40, 88.0, -120.0]
    pairs = np.array([(x, y) for x in edges for y in edges], np.float32)
    expected, actual = ({} for _ in range(2))
    for arrays in (expected, actual):
        arrays |= make_arrays(case, {"d0": len(pairs)})
        arrays["a0"][:], arrays["a1"][:] = pairs.T
    interpret_kernel(case.kernel, expected, {"d0": len(pairs)})
    run_kernel(case.kernel, emit_cuda(case.kernel), actual, {"d0": len(pairs)})
    for name in ("a2", "a3", "a4"):
        np.testing.assert_allclose(actual[name], expected[name], 1e-4, 1e-6)


def test_launch_configuration() -> None:
    flat, rows, tiles = (CASES[n].kernel for n in ("flat", "softmax by rows", "product"))
    assert launch_configuration(flat, {"d0": 100}) == ((8, 1, 1), (128, 1, 1))
    assert launch_configuration(flat, {"d0": 0}) == ((1, 1, 1), (128, 1, 1))
    assert launch_configuration(rows, {"d0": 7, "d1": 3}) == ((7, 1, 1), (256, 1, 1))
    assert launch_configuration(tiles, {"d0": 65, "d1": 3}) == ((2, 1, 1), (16, 16, 1))
    assert row_threads(CASES["short rows of two axes"].kernel) == 32
    pieces = CASES["everything, in pieces"].kernel
    assert launch_configuration(pieces, {"d0": 37}) == ((3, 1, 1), (64, 1, 1))
    assert is_narrow(flat, {"d0": 1000}) and not is_narrow(flat, {"d0": 1 << 28})


def test_contraction_beside_reduction_is_refused() -> None:
    kernel = parse_kernel(
        """kernel bad(a0: f32, a1: f32, a2: out f32; d0) over i: parallel d0, j: parallel d0 {
          v0 = contract a0[4*i + j], a1[d0*i + j] over 4 in a2[d0*i + j] : f32
          v1 = reduce add v0 from zero : f32
        }"""
    )
    with pytest.raises(ValueError, match="beside no reduction"):
        emit_cuda(kernel)


# --- the simulator itself -----------------------------------------------------------------------

TWO = parse_kernel(
    """kernel two(a0: out f32; d0) over i: parallel 1, j: reduce d0 {
      v0 = load a0[j] : f32
      v1 = reduce add v0 from zero : f32
      store a0[0] = v1
    }"""
)


@pytest.mark.parametrize(
    ("error", "body"),
    [
        (BoundsError, "a0[cuda.grid(1)] = f32(0.0)"),
        (BoundsError, "a0[-1] = f32(0.0)"),
        (SimulatorError, "a0[0] = f64(0.0)"),
        (SimulatorError, "a0[cuda.threadIdx.x % 2] = cuda.shared.array(1, float32)[0]"),
        (RaceError, "a0[0] = f32(0.0)"),
        (DivergenceError, "cuda.threadIdx.x == 3 or cuda.syncthreads()"),
        (
            DivergenceError,
            "if cuda.threadIdx.x < 5:\n        cuda.syncthreads()\n    else:\n"
            "        cuda.syncthreads()",
        ),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_simulator_notices(error: type[Exception], body: str, order: Order) -> None:
    arrays = {"a0": np.zeros(4, np.float32)}
    with pytest.raises(error):
        run_kernel(TWO, f"def two(a0, d0, status):\n    {body}\n", arrays, {"d0": 4}, order)


@pytest.mark.parametrize(
    ("accesses", "races"),
    [
        ("w000 w001", True),
        ("w000 r001", True),
        ("r000 w001", True),
        ("r000 r001 w000", True),
        ("r000 r001 w001", True),
        ("r000 r000 w000 r000 w000", False),
        ("w000 r011 w011", False),
        ("r000 w011", False),
        ("r000 r001 r010 w010", False),
        ("w000 r110", True),
        ("w000 w100", True),
        ("r000 w110", True),
        ("r000 r100 w100", True),
        ("r000 r100 r000", False),
    ],
)
def test_who_meets(accesses: str, races: bool) -> None:
    """Reads and writes, each by a block, behind so many barriers, by a thread: the last one."""
    now = Now()
    memory = Memory("a", np.zeros(1, np.float32), now, filled=True)
    *before, last = accesses.split()

    def access(text: str) -> None:
        block, barriers, thread = map(int, text[1:])
        now.at(block, barriers)
        now.thread = thread
        if text[0] == "w":
            memory[0] = np.float32(1)
        else:
            assert memory[0] in (0, 1)

    for text in before:
        access(text)
    if races:
        with pytest.raises(RaceError):
            access(last)
    else:
        access(last)


def test_simulator_notices_blocks_that_meet() -> None:
    arrays = {"a0": np.zeros(4, np.float32)}
    text = "def two(a0, d0, status):\n    if cuda.threadIdx.x == 0:\n        a0[0] = f32(1.0)\n"
    with pytest.raises(RaceError):
        run_kernel(TWO, text, arrays, {"d0": 4}, grid=2)
