"""What a kernel makes lies where something lay that it is the last to read, if it may."""

from __future__ import annotations

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.lower import generate
from gradloom.ir.plan import plan
from gradloom.ir.program import Program
from gradloom.runtime.executable import Executable

F32 = np.float32

PROGRAM = """
program places on cpu lanes 8 {{
  input x: f32[40,40]
  temporary a: f32[40,40]
  temporary b: {b}[40,40]
  temporary c: f32[40,40]
  window w: f32[40] of a
  output out0: f32[40,40]
  kernel make(a0: f32, a1: f32, a2: out {b}) over i: parallel 40, j: parallel 40 {{
    v0 = load a0[{walk}] : f32
    v1 = load a1[{whose}j] : f32
    v2 = add v0, v1 : f32
    v3 = cast v2 {{dtype={b}}} : {b}
    store a2[40*i + j] = v3
  }}
  kernel read(a0: {b}, a1: f32, a2: out f32) over i: parallel 40, j: parallel 40 {{
    v0 = load a0[40*i + j] : {b}
    v1 = load a1[{row}j] : f32
    v2 = cast v0 {{dtype=f32}} : f32
    v3 = multiply v1, v2 : f32
    store a2[40*i + j] = v3
  }}
  steps {{
    copy a = x
    launch make(a, {also}, b)
    launch read(b, {other}, c)
    copy out0 = c
  }}
  return out0
}}
"""


def places(b: str = "f32", walk: str = "40*i + j", also: str = "x", other: str = "x") -> Program:
    whose, row = ("" if name == "w" else "40*i + " for name in (also, other))
    text = PROGRAM.format(b=b, walk=walk, also=also, whose=whose, other=other, row=row)
    return generate(gl.parse_program(text))


@pytest.mark.parametrize(
    ("options", "over"),
    [
        ({}, {"b": "a", "c": "b"}),
        ({"walk": "i + 40*j"}, {"c": "b"}),  # reads where another index has stored
        ({"b": "f64"}, {}),  # more bytes
        ({"other": "a"}, {"c": "b"}),  # somebody reads it afterwards
        ({"other": "b"}, {"b": "a", "c": "b"}),  # twice, each at the same place
        ({"also": "a", "walk": "i + 40*j"}, {"c": "b"}),  # twice, once where it is not
        ({"other": "w"}, {"c": "b"}),  # afterwards by way of a window
        ({"also": "w"}, {"c": "b"}),  # whose row all others need
    ],
    ids=["chain", "transposed", "more", "later", "twice", "elsewhere", "window later", "window"],
)
def test_who_lies_where(options: dict[str, str], over: dict[str, str]) -> None:
    program = places(**options)
    planned = plan(program, {})
    assert planned.over == over
    assert ("b" in over) == (planned.offsets["a"] == planned.offsets["b"])
    assert ("c" in over) == (planned.offsets["b"] == planned.offsets["c"])
    x = np.random.default_rng(0).standard_normal((40, 40)).astype(F32)
    values = {"x": x, "a": x, "w": x[0]}
    values["b"] = (x.T if "walk" in options else x) + values[options.get("also", "x")]
    wanted = values["b"] * values[options.get("other", "x")]
    for threads in (1, 2):
        (found,) = Executable(program, threads)([x])
        np.testing.assert_array_equal(found, wanted)


def test_one_result_alone_takes_a_place() -> None:
    text = """
program both on cpu lanes 8 {
  input x: f32[100]
  temporary a: f32[100]
  temporary b: f32[100]
  temporary c: f32[100]
  output out0: f32[100]
  kernel halves(a0: f32, a1: out f32, a2: out f32) over i: parallel 100 {
    v0 = load a0[i] : f32
    v1 = negative v0 : f32
    v2 = exp v0 : f32
    store a1[i] = v1
    store a2[i] = v2
  }
  kernel sum(a0: f32, a1: f32, a2: out f32) over i: parallel 100 {
    v0 = load a0[i] : f32
    v1 = load a1[i] : f32
    v2 = add v0, v1 : f32
    store a2[i] = v2
  }
  steps {
    copy a = x
    launch halves(a, b, c)
    launch sum(b, c, out0)
  }
  return out0
}
"""
    program = generate(gl.parse_program(text))
    planned = plan(program, {})
    assert planned.over == {"b": "a"} and planned.offsets["c"] != planned.offsets["b"]
    x = np.linspace(-1, 1, 100, dtype=F32)
    (found,) = Executable(program, 2)([x])
    np.testing.assert_allclose(found, np.exp(x) - x, rtol=1e-6)


def test_elements_of_another_size() -> None:
    """Half as many take as many bytes, but a store goes over two of those still to be read."""
    text = """
program wider on cpu lanes 8 {
  input x: f32[200]
  temporary a: f32[200]
  temporary b: f64[100]
  output out0: f64[100]
  kernel widen(a0: f32, a1: out f64) over i: parallel 100 {
    v0 = load a0[i] : f32
    v1 = cast v0 {dtype=f64} : f64
    store a1[i] = v1
  }
  steps {
    copy a = x
    launch widen(a, b)
    copy out0 = b
  }
  return out0
}
"""
    program = generate(gl.parse_program(text))
    assert plan(program, {}).over == {}
    x = np.arange(200, dtype=F32)
    (found,) = Executable(program, 1)([x])
    np.testing.assert_array_equal(found, x[:100].astype(float))


def test_a_result_of_more_elements() -> None:
    """Of which this kernel makes the first half: there is no room where the operand lies."""
    text = """
program halves on cpu lanes 8 {
  input x: f32[100]
  temporary a: f32[100]
  temporary b: f32[100]
  temporary c: f32[200]
  output out0: f32[200]
  kernel first(a0: f32, a1: out f32) over i: parallel 100 {
    v0 = load a0[i] : f32
    v1 = negative v0 : f32
    store a1[i] = v1
  }
  kernel second(a0: f32, a1: out f32) over i: parallel 100 {
    v0 = load a0[i] : f32
    v1 = negative v0 : f32
    store a1[i + 100] = v1
  }
  steps {
    copy a = x
    launch first(x, b)
    launch first(a, c)
    launch second(b, c)
    copy out0 = c
  }
  return out0
}
"""
    program = generate(gl.parse_program(text))
    assert plan(program, {}).over == {}
    x = np.arange(100, dtype=F32)
    (found,) = Executable(program, 1)([x])
    np.testing.assert_array_equal(found, np.concatenate([-x, x]))


def test_a_sum_in_chunks_stores_where_its_next_chunks_may_load() -> None:
    chunks = 64
    y = gl.placeholder((chunks * 16384,), name="y")
    u = gl.placeholder((chunks,), name="u")
    function = gl.function([y, u], gl.sum(gl.tanh(y) * gl.cumsum(u)[0]))
    sums = [b.name for b in function.program.of_kind("temporary") if b.type.size == chunks]
    assert len(sums) > 1 and not plan(function.program, {}).over
    rng = np.random.default_rng(2)
    feeds = [rng.random(chunks * 16384, F32), 1 + rng.random(chunks, F32)]
    wanted = np.sum(np.tanh(feeds[0].astype(float))) * feeds[1][0]
    np.testing.assert_allclose(function(*feeds), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("outer", "n", "m", "columns"), [(8, 6, 6, 1), (32, 16, 8, 8)], ids=["of rows", "of steps"]
)
def test_tables_are_not_written_over(outer: int, n: int, m: int, columns: int) -> None:
    """A left side that is no matrix in memory: each row's and each step's offset is in a table."""
    x = gl.placeholder((outer, "N", outer, "M"), "float64", name="x")
    w = gl.placeholder((outer * outer, columns), "float64", name="w")
    matrix = gl.reshape(gl.transpose(x, (1, 3, 0, 2)), (x.shape[1] * x.shape[3], outer * outer))
    function = gl.function([x, w], gl.cumsum(gl.tanh(matrix @ w * 0.01), axis=0))
    binding = {"N": n, "M": m}
    kinds = {b.name: b.type.dtype.name for b in function.program.buffers}
    assert "int64" in {kinds[b.name] for b in function.program.of_kind("temporary")}
    assert "int64" not in map(kinds.get, plan(function.program, binding).over.values())
    rng = np.random.default_rng(3)
    feeds = [rng.random((outer, n, outer, m)), rng.random((outer * outer, columns))]
    left = feeds[0].transpose(1, 3, 0, 2).reshape(n * m, outer * outer)
    wanted = np.cumsum(np.tanh(left @ feeds[1] * 0.01), axis=0)
    np.testing.assert_allclose(function(*feeds), wanted, rtol=1e-12)


def test_rows_that_are_summed_first() -> None:
    """A softmax walks its row again and again, and stores in the last walk alone."""
    x, w = gl.placeholder(("B", 64), name="x"), gl.placeholder((64, 64), name="w")
    function = gl.function([x, w], gl.softmax(x @ w, axis=1) @ w)
    program, told = function.program, function.memory(B=32)
    ((weights, scores),) = plan(program, {"B": 32}).over.items()
    assert told.total == told.live == 32 * 64 * 4
    assert [row.buffer for row in told.rows] in ([weights], [scores])
    rng = np.random.default_rng(1)
    feeds = [rng.standard_normal(s).astype(F32) for s in ((32, 64), (64, 64))]
    scores = feeds[0] @ feeds[1]
    powers = np.exp(scores - scores.max(1, keepdims=True))
    wanted = powers / powers.sum(1, keepdims=True) @ feeds[1]
    np.testing.assert_allclose(function(*feeds), wanted, rtol=1e-4, atol=1e-5)
