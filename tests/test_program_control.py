"""Loops that end when they will, branches: programs written as text, planned and run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.emit_cpu import emit_cpu
from gradloom.compiler.emit_cuda import emit_cuda
from gradloom.frontends.function import cpu_target
from gradloom.ir.errors import CheckError, ParseError
from gradloom.ir.kernel_text import parse_kernel
from gradloom.ir.plan import lifetimes, plan
from gradloom.ir.program import Branch, Break, Copy, Loop, Program, bodies, walk
from gradloom.ir.target import Target
from gradloom.runtime.cuda_executable import CudaExecutable
from gradloom.runtime.executable import Executable

from .cuda_device import SimulatedDevice
from .drawn_programs import Reference, draw, feeds
from .processes import alarm

# --- text and plan --------------------------------------------------------------------------------

EVERY_STEP = """
program control on cpu lanes 8 {
  input x: f32[T,3]
  input n: i64[]
  input go: bool[]
  temporary a: f32[3]
  temporary b: f32[3]
  temporary c: f32[3]
  temporary d: f32[3]
  temporary flag: bool[]
  temporary which: i64[]
  temporary taken: i64[]
  window w: f32[3] of x reverse
  output out0: f32[3]
  output out1: i64[]
  steps {
    copy a = x
    copy which = n
    loop T over (w) upto n counting taken {
      copy flag = go
      break unless flag
      branch which {
        case {
          copy b = w
          copy a = b
        }
        case {
        }
        case {
          loop T over () {
            copy c = a
            copy d = c
          }
          loop over () counting taken {
            break unless go
          }
          loop over () upto n {
            check
          }
        }
      }
    }
    copy out0 = a
    copy out1 = taken
  }
  return out0, out1
}
"""


def control() -> Program:
    return gl.parse_program(EVERY_STEP)


def test_text_reads_back() -> None:
    program = control()
    assert str(program) == EVERY_STEP.strip()
    assert gl.parse_program(str(program)) == program
    loop = program.steps[2]
    assert isinstance(loop, Loop)
    assert (str(loop.count), loop.windows, loop.limit, loop.steps) == ("T", ("w",), "n", "taken")
    branch = loop.body[2]
    assert loop.body[1] == Break("flag")
    assert isinstance(branch, Branch)
    assert (branch.index, [len(body) for body in branch.bodies]) == ("which", [2, 0, 3])
    inner = [step for step in branch.bodies[2] if isinstance(step, Loop)]
    assert [(step.count is None, step.limit, step.steps) for step in inner] == [
        (False, "", ""),
        (True, "", "taken"),
        (True, "n", ""),
    ]
    assert [step.destination for step in walk(program.steps) if isinstance(step, Copy)] == [
        "a", "which", "flag", "b", "a", "c", "d", "out0", "out1",
    ]  # fmt: skip
    assert bodies(loop) == (loop.body,)
    assert bodies(loop.body[0]) == ()


@pytest.mark.parametrize(
    "wrong",
    ["break flag", "branch {", "branch which over () {", "loop T {", "loop T over () upto {"],
)
def test_text_that_is_none(wrong: str) -> None:
    with pytest.raises(ParseError, match="is no step"):
        gl.parse_program(EVERY_STEP.replace("branch which {", wrong))


def test_lifetimes() -> None:
    spans = lifetimes(control())
    start, end = 3, 19  # of the loop, in order of the text
    assert spans["a"] == (1, 20)
    assert spans["which"] == (2, end)  # read in each step of the loop
    assert spans["n"] == (2, end)
    assert spans["go"] == (start, end)
    assert spans["taken"] == (start, 21)
    # Within a step of the loop, or of the loop in it:
    assert (spans["flag"], spans["b"], spans["c"], spans["d"]) == (
        (4, 5),
        (7, 8),
        (10, 11),
        (11, 11),
    )
    assert spans["x"] == (1, end)


def test_ways_of_a_branch_share_memory() -> None:
    text = """
program ways on cpu lanes 8 {
  input x: f32[100]
  input n: i64[]
  temporary index: i64[]
  temporary a: f32[100]
  temporary b: f32[100]
  temporary c: f32[100]
  output out0: f32[100]
  steps {
    copy index = n
    branch index {
      case {
        copy a = x
        copy out0 = a
      }
      case {
        copy b = x
        copy c = b
        copy out0 = c
      }
    }
  }
  return out0
}
"""
    program = gl.parse_program(text)
    spans = lifetimes(program)
    assert spans["index"] == (1, 2)
    assert spans["a"] == (3, 4)
    assert spans["b"] == (5, 6)
    assert spans["c"] == (6, 7)
    planned = plan(program, {})
    assert planned.offsets["a"] == planned.offsets["b"] != planned.offsets["c"]
    assert planned.total < 3 * 400


def test_a_loop_reads_its_limit_first_and_writes_its_steps_last() -> None:
    text = """
program ends on cpu lanes 8 {
  input n: i64[]
  temporary limit: i64[]
  temporary inside: i64[]
  temporary taken: i64[]
  output out0: i64[]
  steps {
    copy limit = n
    loop over () upto limit counting taken {
      copy inside = n
    }
    copy out0 = taken
  }
  return out0
}
"""
    spans = lifetimes(gl.parse_program(text))
    assert spans["limit"] == (1, 2)
    assert spans["inside"] == (3, 3)
    assert spans["taken"] == (4, 5)


def test_what_lives_through_a_loop() -> None:
    """A carry, what is read before it is written, what a window moves over; the rest shares."""
    text = """
program ends on cpu lanes 8 {
  input x: f32[T,100]
  temporary carry: f32[100]
  temporary late: f32[100]
  temporary rows: f32[T,100]
  temporary a: f32[100]
  temporary b: f32[100]
  temporary c: f32[100]
  temporary d: f32[100]
  window w: f32[100] of x
  window v: f32[100] of rows
  output out0: f32[100]
  steps {
    copy carry = x
    loop T over (w, v) {
      copy a = late
      copy b = a
      copy v = b
      loop T over () {
        copy c = b
        copy d = c
      }
      copy a = b
      copy late = a
      copy carry = late
    }
    copy out0 = carry
  }
  return out0
}
"""
    program = gl.parse_program(text)
    spans = lifetimes(program)
    through = (2, 13)
    assert spans["carry"] == (1, 14)
    assert spans["late"] == spans["rows"] == through
    assert spans["a"] == (3, 11)
    assert spans["b"] == (4, 10)  # the loop within reads it again and again
    assert (spans["c"], spans["d"]) == ((7, 8), (8, 8))
    planned = plan(program, {"T": 1})
    assert planned.total == 448 * 7  # all live at step 8, each rounded up to whole cache lines


# --- drawn programs -------------------------------------------------------------------------------


def same(program: Program, executable: Executable | CudaExecutable, seed: int) -> int:
    """Compare with the reference; how many trips through loops there were."""
    trips = 0
    for size in (0, 1, 4):
        given = feeds(seed, size)
        wanted = Reference(program, given, size)
        for _ in range(3):
            found = executable(given)
            for a, b in zip(found, wanted.results, strict=True):
                np.testing.assert_array_equal(a, b, f"program {seed}, T = {size}")
        trips += wanted.trips
    return trips


def on_the_cpu(seeds: Iterable[int]) -> None:
    trips = 0
    for seed in seeds:
        program = draw(seed, cpu_target())
        assert gl.parse_program(str(program)) == program
        for threads in (1, 2):
            executable = Executable(program, threads)
            for instance in (executable.instance(feeds(seed, size), ()) for size in (0, 1, 4)):
                instance.threads = threads  # however little there is to do
            trips += same(program, executable, seed)
    assert trips > 0


def on_the_device(seeds: Iterable[int]) -> None:
    for seed in seeds:
        program = draw(seed, Target("cuda"))
        same(program, CudaExecutable(program, SimulatedDevice()), seed)


def test_drawn_programs() -> None:
    on_the_cpu(range(8))


def test_drawn_programs_on_a_device() -> None:
    on_the_device(range(2))


@pytest.mark.slow
def test_many_drawn_programs() -> None:
    on_the_cpu(range(8, 2000))


@pytest.mark.slow
def test_many_drawn_programs_on_a_device() -> None:
    on_the_device(range(2, 300))


# --- loops that would not end ---------------------------------------------------------------------


def counts(check: bool, target: Target) -> Program:
    """Counts up to `most` in an endless loop and gives the number of steps; may fail at `bad`."""
    extra = "  v5 = not_equal v0, v6 : bool\n  v7 = checked v5, v2 check 1 : i64\n" if check else ""
    kernel = parse_kernel(
        f"""kernel count(a0: i64, a1: i64, a2: i64, a3: out i64, a4: out bool) over i: parallel 1 {{
  v0 = load a0[0] : i64
  v1 = constant 1 : i64
  v2 = add v0, v1 : i64
  v3 = load a1[0] : i64
  v6 = load a2[0] : i64
{extra}  v4 = less v0, v3 : bool
  store a3[0] = {"v7" if check else "v2"}
  store a4[0] = v4
}}"""
    )
    source = emit_cpu(kernel, cpu_target().lanes) if target.kind == "cpu" else emit_cuda(kernel)
    text = """
program counts on cpu lanes 8 {
  input most: i64[]
  input bad: i64[]
  input zero: i64[]
  temporary n: i64[]
  temporary next: i64[]
  temporary go: bool[]
  output taken: i64[]
  check CheckError "it is bad"
  steps {
    copy n = zero
    loop over () counting taken {
      launch count(n, most, bad, next, go)
      copy n = next
      break unless go
    }
  }
  return taken
}
"""
    program = gl.parse_program(text)
    return replace(program, target=target, kernels=(kernel.with_source(source),))


def arguments(most: int, bad: int = -1) -> list[np.ndarray[Any, Any]]:
    return [np.array(number, np.int64) for number in (most, bad, 0)]


def executables(check: bool) -> list[Executable | CudaExecutable]:
    found: list[Executable | CudaExecutable] = []
    for threads in (1, 2):
        executable = Executable(counts(check, cpu_target()), threads)
        executable.instance(arguments(0), ()).threads = threads
        found.append(executable)
    return [*found, CudaExecutable(counts(check, Target("cuda")), SimulatedDevice())]


@pytest.mark.parametrize("which", range(3))
def test_a_failing_check_ends_an_endless_loop(which: int) -> None:
    executable = executables(True)[which]
    assert executable(arguments(7))[0] == 7
    for _ in range(3):
        with pytest.raises(CheckError, match="it is bad"):
            executable(arguments(2**62, 5))
        assert executable(arguments(7, 8))[0] == 7


@pytest.mark.parametrize("which", range(3))
def test_a_call_that_would_not_end_is_interrupted(which: int) -> None:
    """What the signal's handler raises comes out of the call; the next call is as any other."""

    class LateError(Exception):
        pass

    executable = executables(False)[which]
    with pytest.raises(LateError), alarm(0.05, LateError):
        executable(arguments(2**62))
    for most in (0, 9):
        assert executable(arguments(most))[0] == most


def test_work_of_loops_and_branches() -> None:
    """A branch costs its dearest way; steps of a loop too short for two threads count once."""

    def work(steps: str, size: int) -> int:
        program = gl.parse_program(WORK.replace("STEPS", steps))
        return Executable(program).instance([np.zeros(size, np.int64)], ()).work

    launch = "launch copy(x, a; T)"
    once = work(launch, 10_000)
    assert once >= 10_000
    way = f"case {{\n{launch}\n}}"
    two = f"case {{\n{launch}\n{launch}\n}}"
    assert work(f"branch i {{\n{way}\n{two}\n{way}\n}}", 10_000) == 2 * once
    assert work(f"loop 5 over () {{\n{launch}\n}}", 10_000) == 5 * once
    assert work(f"loop over () {{\n{launch}\n}}", 10_000) > 100 * once
    assert work(f"loop 5 over () {{\n{launch}\n}}", 100) == work(launch, 100)
    assert work(f"loop over () {{\n{launch}\n}}", 100) == work(launch, 100)


WORK = """
program work on cpu lanes 8 {
  input x: i64[T]
  constant i: i64[] = 1
  temporary a: i64[T]
  kernel copy(a0: i64, a1: out i64; d0) over i: parallel d0 {
    v0 = load a0[i] : i64
    store a1[i] = v0
  }
  | def copy(buffers, dims, status, tid, nth):
  |     pass
  steps {
STEPS
  }
  return
}
"""
