"""Function.profile: what a call's steps have to do, how often they ran; nothing changes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.frontends.profile import Profile, StepTime, profiled
from gradloom.ir.errors import ArgumentError
from gradloom.ir.loc import current_loc
from gradloom.ir.program import Copy, Host, Launch, walk
from gradloom.ir.target import Target
from gradloom.runtime import clock
from gradloom.runtime.driver import program_source
from gradloom.runtime.executable import Executable
from gradloom.runtime.peaks import peaks

from .graphs import feeds_of, graph_of_seed

F32 = np.float32
RNG = np.random.default_rng(3)


def draw(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(F32)


def kernel(profile: Profile, part: str) -> StepTime:
    (row,) = [row for row in profile.rows if part in row.name]
    return row


def test_work_is_what_one_counts_by_hand() -> None:
    x = gl.placeholder(("B", 30), "float32", "x")
    w = gl.parameter(draw(30, 20), "w")
    b = gl.parameter(draw(20), "b")
    y = gl.function([x], x @ w)
    for rows in (8, 50):
        (row,) = y.profile(draw(rows, 30), repeat=1).rows
        assert row.flops == 2 * rows * 30 * 20
        assert row.bytes == 4 * (rows * 30 + 30 * 20 + rows * 20)
    biased = gl.function([x], gl.maximum(x @ w + b, 0.0))
    (row,) = biased.profile(draw(8, 30), repeat=1).rows
    assert row.flops == 2 * 8 * 30 * 20 + 2 * 8 * 20
    assert row.bytes == 4 * (8 * 30 + 30 * 20 + 20 + 8 * 20)
    fused = gl.function([x], gl.maximum(x * 2.0 + 1.0, 0.0))  # an fma is two operations
    (row,) = fused.profile(draw(100, 30), repeat=1).rows
    assert (row.flops, row.bytes) == (3 * 3000, 8 * 3000)
    rowsums = gl.function([x], gl.sum(x, axis=1))
    (row,) = rowsums.profile(draw(100, 30), repeat=1).rows
    assert (row.flops, row.bytes) == (3000, 4 * 3000 + 4 * 100)


def test_a_broadcast_operand_and_an_overlap_count_once() -> None:
    x = gl.placeholder((1000,), "float32", "x")
    v = gl.placeholder((40, 1), "float32", "v")
    (row,) = gl.function([x, v], x * v).profile(draw(1000), draw(40, 1), repeat=1).rows
    assert (row.flops, row.bytes) == (40_000, 4 * (1000 + 40 + 40_000))
    (row,) = gl.function([x], x[1:] - x[:-1]).profile(draw(1000), repeat=1).rows
    assert (row.flops, row.bytes) == (999, 4 * (1000 + 999))
    wide = gl.placeholder((64,), "float64", "x")
    found = gl.function([wide], wide + wide[::-1]).profile(np.ones(64), repeat=1).rows
    assert sum(row.flops for row in found) == 64


def test_a_convolution_reads_its_image_once() -> None:
    x = gl.placeholder(("B", 8, 20, 20), "float32", "x")
    w = gl.parameter(draw(16, 8, 5, 5), "w")
    function = gl.function([x], gl.nn.conv2d(x, w))
    rows = function.profile(draw(4, 8, 20, 20), repeat=1).rows
    (product,) = [row for row in rows if "matmul" in row.name]
    assert product.flops == 2 * 4 * 16 * 16 * 16 * 8 * 25
    needed = 4 * (4 * 8 * 20 * 20 + 16 * 8 * 25 + 4 * 16 * 16 * 16)
    assert needed <= product.bytes < 1.5 * needed  # and the tables of where windows begin


def test_shares_add_up_and_rates_are_amounts_by_time() -> None:
    function, arrays, _ = network()
    told = function.profile(*arrays, repeat=3)
    assert told.repeats == 3 and told.seconds > 0 and told.call > 0 and told.threads >= 1
    assert abs(sum(row.share for row in told.rows) - 1) < 1e-9
    assert abs(sum(row.share for row in told.nodes) - 1) < 1e-9
    assert abs(sum(row.seconds for row in told.nodes) - told.seconds) < 1e-9
    for rows in (told.rows, told.nodes):
        assert [r.seconds for r in rows] == sorted((r.seconds for r in rows), reverse=True)
    assert all(0 < row.best <= row.seconds for row in told.rows)
    row = told.rows[0]
    assert row.rate(row.flops) == pytest.approx(row.flops / row.seconds / 1e9)
    work = max(row.flops / told.float32, row.bytes / told.bandwidth)
    assert row.least == pytest.approx(work) and row.of_peak == pytest.approx(work / row.seconds)


def network() -> tuple[gl.Function, list[Any], list[gl.Parameter]]:
    """A step of training with random numbers: it changes its weight, a counter and a key."""
    x = gl.placeholder(("B", 16), "float32", "x")
    w = gl.parameter(draw(16, 8), "w")
    key = gl.parameter(gl.random.key(7).eval(), "key")
    count = gl.parameter(np.int64(0), "count")
    use, following = gl.unstack(gl.random.split(key))
    kept = gl.random.uniform(use, (16,)) < 0.9
    loss = gl.mean(gl.square(gl.tanh(gl.where(kept, x, 0.0) @ w)))
    changes: Any = {w: w - 0.1 * gl.grad(loss, w), key: following, count: count + 1}
    return gl.function([x], loss, changes, name="step"), [draw(32, 16)], [w, key, count]


@pytest.mark.parametrize("threads", [1, 2])
def test_nothing_changes(threads: int) -> None:
    made = network()[0]
    function = gl.compile(made.graph, threads=threads, parameters=dict(parameters_of(made)))
    state = [value for _, value in parameters_of(made)]
    batch = draw(300, 16)
    before = [parameter.value for parameter in state]
    function.profile(batch, repeat=4)
    for parameter, value in zip(state, before, strict=True):
        assert parameter.value.tobytes() == value.tobytes()
    function(batch)
    assert int(state[-1].value) == 1 or any(int(p.value) == 1 for p in state if p.ndim == 0)


def parameters_of(function: gl.Function) -> list[tuple[str, Any]]:
    return [(function.graph.names[leaf], leaf) for leaf in function.graph.parameters]


def test_loops_count_their_steps_and_branches_run_one_way() -> None:
    x = gl.placeholder(("T", 8), "float32", "x")
    w = gl.parameter(draw(8, 8), "w")

    def cell(h: Any, v: Any) -> Any:
        h = gl.tanh(h @ w + v)
        return h, h

    last, _ = gl.scan(cell, gl.zeros((8,)), x)
    function = gl.function([x], gl.sum(last))
    for steps in (40, 100):
        told = function.profile(draw(steps, 8), repeat=2)
        inside = [row for row in told.rows if row.count == steps]
        assert inside and sum(row.flops for row in inside) >= steps * 2 * 64
        assert sum(row.bytes for row in inside) >= steps * 4 * (64 + 8 + 8 + 8)
        assert all(row.count in (1, steps) for row in told.rows)
    assert function.profile(draw(0, 8), repeat=1).seconds >= 0

    which = gl.placeholder((), "bool", "which")
    y = gl.cond(which, lambda: gl.exp(x) @ w, lambda: gl.sin(x))
    either = gl.function([which, x], y)
    taken = either.profile(True, draw(5, 8), repeat=2)
    other = either.profile(False, draw(5, 8), repeat=2)
    assert {node.op for node in taken.nodes} >= {"matmul", "exp"}
    assert "sin" not in {node.op for node in taken.nodes}
    assert "sin" in {node.op for node in other.nodes}
    assert {node.op for node in other.nodes}.isdisjoint({"matmul", "exp"})


def test_steps_until_a_condition_are_counted() -> None:
    x = gl.placeholder((100,), "float32", "x")

    def body(carry: Any) -> Any:
        y, n = carry
        return y * 0.5 + gl.sum(y), n + 1

    made = gl.while_loop(lambda carry: carry[1] < 7, body, (x, gl.constant(0)))
    told = gl.function([x], list(made)).profile(draw(100), repeat=2)
    assert max(row.count for row in told.rows) in (7, 8)  # the condition is asked once more


def test_each_repeat_is_the_same_call() -> None:
    steps = gl.parameter(np.int64(5), "steps")
    x = gl.placeholder((300,), "float32", "x")
    start = (x, gl.constant(0))
    last, _ = gl.while_loop(lambda c: c[1] < steps, lambda c: (gl.sin(c[0]), c[1] + 1), start)
    told = gl.function([x], last, {steps: steps * 2}).profile(draw(300), repeat=5)
    assert {node.op for node in told.nodes} >= {"sin", "multiply"}
    assert max(row.count for row in told.rows) in (5, 6) and int(steps.value) == 5


def test_the_lines_are_those_of_the_launch_though_kernels_are_shared() -> None:
    x = gl.placeholder((50, 50), "float32", "x")
    first = gl.exp(x @ x)
    (one,) = current_loc()
    second = gl.exp(first @ first)
    (two,) = current_loc()
    function = gl.function([x], second)
    assert len(function.kernels) == 1
    rows = function.profile(draw(50, 50) / 50, repeat=1).rows
    lines = sorted(row.loc[0].number for row in rows)
    assert lines == [one.number - 1, two.number - 1]
    assert f"test_profile.py:{one.number - 1}" in str(function.profile(draw(50, 50) / 50, repeat=1))


def test_host_steps_and_copies() -> None:
    x = gl.placeholder((6, 6), "float32", "x")
    told = gl.function([x], [gl.argsort(x, axis=1), x]).profile(draw(6, 6), repeat=1)
    (host,) = [row for row in told.rows if row.kind == "host"]
    assert host.name == "argsort" and host.bytes == 36 * (4 + 8)
    copies = [row for row in told.rows if row.kind == "copy"]
    assert 2 * 36 * 4 in [row.bytes for row in copies] and not any(row.flops for row in copies)
    assert "argsort (host)" in str(told)


def test_no_steps_and_no_elements() -> None:
    x = gl.placeholder(("B", 3), "float32", "x")
    empty = gl.function([x], [])
    told = empty.profile(draw(2, 3))
    assert (told.rows, told.nodes, told.seconds) == ((), (), 0.0)
    assert "its 0 steps" in str(told)
    (row,) = gl.function([x], gl.exp(x)).profile(draw(0, 3), repeat=1).rows
    assert (row.flops, row.bytes, row.count) == (0, 0, 1)
    (row,) = gl.function([x], gl.sum(x, axis=0)).profile(draw(0, 3), repeat=1).rows
    assert (row.flops, row.bytes) == (0, 12)
    (row,) = gl.function([], gl.ones((2,)) + gl.parameter(draw(2))).profile(repeat=1).rows
    assert (row.flops, row.bytes) == (2, 16)


def test_the_table() -> None:
    function, arrays, _ = network()
    told = function.profile(*arrays, repeat=2)
    text = str(told)
    assert text.startswith("@step: a call takes ") and "GFLOP/s" in text and "of peak" in text
    head = next(line for line in text.splitlines() if line.split()[:2] == ["time", "best"])
    assert head.split()[2:] == "share runs bytes flops GB/s GFLOP/s of peak step lines".split()
    assert len(re.findall(r"test_profile\.py:\d+", text)) >= len(told.rows)
    assert repr(told).startswith("<profile of @step: ")


def message(call: Any, *arrays: Any, **named: Any) -> tuple[type[BaseException], str]:
    with pytest.raises(gl.GradloomError) as caught:
        call(*arrays, **named)
    return type(caught.value), str(caught.value)


def test_errors_are_those_of_a_call() -> None:
    x = gl.placeholder(("B", 4), "float32", "x")
    i = gl.placeholder((), "int64", "i")
    function = gl.function([x, i], gl.exp(x)[i])
    good = draw(3, 4)
    bad: list[tuple[Any, ...]] = [
        (good,),
        (good, 0, 1),
        (good.astype(np.float64), 0),
        (draw(3, 5), 0),
        (draw(3), 0),
        (good, 3),
        (x, 0),
    ]
    for given in bad:
        assert message(function, *given) == message(function.profile, *given)
    assert message(function, good, z=1) == message(function.profile, good, z=1)
    assert function.profile(good, i=1, repeat=1).rows
    for repeat in (0, -1, 1.5):
        with pytest.raises(ArgumentError, match="repeat must be a number >= 1"):
            function.profile(good, 0, repeat=repeat)  # type: ignore[arg-type]


def test_guarded_functions() -> None:
    x = gl.placeholder((3,), "float32", "x")
    function = gl.function([x], gl.log(x), check_numerics=True)
    assert function.profile(np.ones(3, F32), repeat=1).rows
    bad = np.array([1, -1, 2], F32)
    assert message(function, bad) == message(function.profile, bad)
    masked = gl.function([x], gl.where(x > 0, gl.log(x), 0.0), check_numerics=True)
    assert masked.profile(bad, repeat=1).rows


def test_a_failed_call_changes_nothing_and_the_next_works() -> None:
    x = gl.placeholder((), "float32", "x")
    w = gl.parameter(F32(2), "w")
    function = gl.function([x], [], {w: w * gl.check(x, x > 0, "positive")})
    with pytest.raises(gl.CheckError, match="positive"):
        function.profile(F32(-1))
    assert float(w.value) == 2
    assert function.profile(F32(3), repeat=2).rows and float(w.value) == 2
    function(F32(3))
    assert float(w.value) == 6


@pytest.mark.parametrize("threads", [1, 2])
def test_clocks_change_no_bit_and_the_plain_program_has_none(threads: int) -> None:
    x = gl.placeholder(("T", 64, 64), "float32", "x")
    w = gl.parameter(draw(64, 64) / 8, "w")

    def rnn(h: Any, v: Any) -> Any:
        h = gl.tanh(h @ w + v)
        return h, h

    last, all_ = gl.scan(rnn, gl.zeros((64, 64)), x)
    some = gl.cond(gl.sum(last) > 0, lambda: gl.exp(last), lambda: gl.sin(last))
    outputs = [gl.argsort(some, axis=0), all_, gl.grad(gl.sum(some), w)]
    function = gl.function([x], outputs, threads=threads)
    given = draw(20, 64, 64)
    timed = Executable(function.program, threads, timed=True)
    for own, plain in zip(timed([given], [w]), function(given), strict=True):
        assert own.tobytes() == plain.tobytes()
    steps = Executable(function.program, threads).layout.steps
    assert "stamp" not in program_source(steps)
    changed, count = clock.timed(steps, 0)
    text = program_source(changed)
    assert text.count("call void @gradloom_stamp(") == 2 * count
    assert count == sum(isinstance(s, (Launch, Copy, Host)) for s in walk(function.program.steps))


def test_only_the_cpu() -> None:
    function = gl.function([], gl.zeros((2,)))
    program = replace(function.program, target=Target("cuda"))
    with pytest.raises(ArgumentError, match="is for cuda, not for cpu"):
        profiled(program, {}, None, [], [], None)


def test_peaks_are_those_of_a_machine() -> None:
    one = peaks(1)
    assert peaks(1) is one and one.threads == 1
    assert 1e8 < one.float64 < one.float32 < 1e13 and 1e8 < one.bandwidth < 1e13
    assert one.seconds(10, 0, 0) == 10 / one.float32 < one.seconds(10, 10, 0)
    assert one.seconds(10, 5, 10**9) == 10**9 / one.bandwidth


def test_drawn_functions() -> None:
    for seed in range(16):
        graph = graph_of_seed(seed)
        feeds = feeds_of(graph, seed, 3)
        known = {graph.names[leaf]: feeds[graph.names[leaf]] for leaf in graph.parameters}
        function = gl.compile(graph, known)
        told = function.profile(*(feeds[graph.names[leaf]] for leaf in graph.inputs), repeat=1)
        assert all(row.loc and row.count == 1 for row in told.rows if "scan" not in str(graph))
        for rows in (told.rows, told.nodes):
            assert abs(sum(row.share for row in rows) - bool(rows)) < 1e-9


def test_functions_made_from_text_and_within_a_budget() -> None:
    x = gl.placeholder((64, 256), "float32", "x")
    weights = [gl.parameter(draw(256, 256) / 16, f"w{i}") for i in range(6)]
    value = x
    for weight in weights:
        value = gl.tanh(value @ weight)
    outputs = gl.grad(gl.mean(value), weights)
    plain = gl.function([x], outputs)
    again = gl.compile(gl.parse(str(plain.graph)), {w.name: w for w in weights})
    (first, *_), (other, *_) = (
        sorted((row.loc, row.flops) for row in f.profile(draw(64, 256), repeat=1).rows)
        for f in (plain, again)
    )
    assert [line.number for line in first[0]] == [line.number for line in other[0]]
    small = gl.function([x], outputs, memory_budget=plain.memory().total * 3 // 4)
    assert small.recomputed.rows
    moved = sum(row.bytes for row in small.profile(draw(64, 256), repeat=1).rows)
    assert moved > sum(row.bytes for row in plain.profile(draw(64, 256), repeat=1).rows)
