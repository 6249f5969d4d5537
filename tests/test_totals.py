"""Sums of products that loops only add up: one product behind the loop, and the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.ops.contraction import matmul_add
from gradloom.ir.plan import lifetimes, nbytes
from gradloom.ir.program import Launch, Loop
from gradloom.ir.tensor import Tensor

from .cuda_device import simulated
from .random_loops import LENGTHS, check_bits, drawn_arrays, scans_of, without

TOTALS = frozenset({"totals"})
ROWS, WIDTH, STATE = 3, 5, 40


def recurrent(
    length: int | str, rows: int | str = ROWS, dtype: str = "float32"
) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs, and gradients through a loop whose state is made of a sequence and two weights."""
    x = gl.placeholder((rows, length, WIDTH), dtype, "x")
    by_x = gl.placeholder((WIDTH, STATE), dtype, "by_x")
    by_h = gl.placeholder((STATE, STATE), dtype, "by_h")

    def body(h: Tensor, entry: Tensor) -> Any:
        h = gl.tanh(entry @ by_x + h @ by_h * 0.2)
        return h, None

    last, _ = gl.scan(body, gl.zeros((rows, STATE), dtype), gl.moveaxis(x, 1, 0))
    loss = gl.sum(gl.square(last))
    return [x, by_x, by_h], gl.grad(loss, [by_x, by_h])


def sums_left(function: Any) -> int:
    """How many sums of products the loops of a function add up themselves."""
    scans = scans_of(function)
    return sum(n.op.name == "matmul_add" for scan in scans for n in scan.body.walk())


@pytest.mark.campaign(3)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", LENGTHS)
def test_gradients_by_weights(length: int, dtype: str) -> None:
    inputs, outputs = recurrent("T", ROWS, dtype)
    arrays = drawn_arrays(inputs, {"T": length}, 0)
    made = check_bits(inputs, outputs, arrays, TOTALS)
    assert sums_left(made) == 0
    assert sums_left(without(TOTALS, inputs, outputs)) == 2
    alone = gl.function(inputs, outputs, threads=1)(*arrays)
    for one, two in zip(alone, gl.function(inputs, outputs, threads=2)(*arrays), strict=True):
        np.testing.assert_array_equal(one, two)


def test_as_many_rows_as_the_call_has() -> None:
    """Of sizes with names a table says where the rows of all steps are."""
    x = gl.placeholder(("B", "T", STATE), name="x")
    start = gl.zeros((STATE, STATE))
    total, _ = gl.scan(lambda total, x: (total + x.T @ x, None), start, gl.moveaxis(x, 1, 0))
    for rows, length in ((3, 7), (1, 1), (0, 2), (2, 0)):
        arrays = drawn_arrays([x], {"T": length, "B": rows}, 0)
        made = check_bits([x], [total, x + 1], arrays, TOTALS)
        assert sums_left(made) == 0


@pytest.mark.campaign(2)
@pytest.mark.parametrize("batch", [(), (ROWS,)], ids=["alone", "batch"])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_cells(name: str, batch: tuple[int, ...]) -> None:
    """What a cell's weights share is kept once, and no step copies a part of it; the state alone,
    a vector, is a row."""
    weights = getattr(gl.recurrent, f"{name}_weights")(WIDTH, STATE)
    cell = getattr(gl.recurrent, name)(**weights)
    zero = gl.zeros((*batch, STATE))
    x = gl.placeholder(("T", *batch, WIDTH), name="x")
    last, _ = gl.scan(cell, (zero, zero) if name == "lstm" else zero, x)
    loss = gl.sum(gl.square(last if name == "gru" else last[0]))
    outputs = gl.grad(loss, [*weights.values()])
    for length in (0, 3):
        arrays = drawn_arrays([x], {"T": length}, length)
        made = check_bits([x], outputs, arrays, TOTALS, tolerance=None)
        assert sums_left(made) == 0
    (_, back) = scans_of(made)
    assert len(back.stacked) == {"lstm": 1, "gru": 2}[name]
    steps = [step for loop in made.program.steps if isinstance(loop, Loop) for step in loop.body]
    copied = [step for step in steps if isinstance(step, Launch) and "copy" in step.kernel]
    assert not copied


@pytest.mark.slow
def test_on_the_simulated_device() -> None:
    """Windows that go forwards over what lies backwards."""
    xs, start = gl.placeholder(("T", 2, 3), name="xs"), gl.placeholder((3, 3), name="start")

    def body(carry: tuple[Tensor, Tensor], x: Tensor) -> Any:
        total, h = carry
        return (matmul_add(x.T, x - h, total), h + x), None

    (total, last), _ = gl.scan(body, (start, gl.zeros((2, 3))), xs, reverse=True)
    function = gl.function([xs, start], [total, last])
    assert sums_left(function) == 0
    arrays = [np.arange(18, dtype="f4").reshape(3, 2, 3), np.ones((3, 3), "f4")]
    for got, expected in zip(simulated(function)(arrays), function(*arrays), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_what_would_take_more_memory_than_it_saves_stays() -> None:
    inputs, outputs = recurrent(64, 4 * STATE)
    assert sums_left(gl.function(inputs, outputs)) == 2


def apart(function: gl.Function, batch: int) -> int:
    """The most bytes of temporaries that live at a step, what it reads beside what it makes."""
    spans, sizes = lifetimes(function.program), dict[int, int]()
    for buffer in function.program.of_kind("temporary"):
        first, last = spans[buffer.name]
        for step in range(first, last + 1):
            sizes[step] = sizes.get(step, 0) + nbytes(buffer, {"B": batch})
    return max(sizes.values())


@pytest.mark.parametrize(
    ("name", "along"), [("plain", 0), ("projected", 0), ("gru", 1), ("lstm", 1)]
)
def test_large_batches_take_little_more_memory(name: str, along: int) -> None:
    """Where rows have no number: calls with many take about what they take without the pass, if
    there no result lies over what it is made of."""
    x = gl.placeholder((50, "B", STATE) if along == 0 else ("B", 50, STATE), name="x")
    entries = gl.moveaxis(x, along, 0)
    zero = gl.zeros((entries.shape[1], STATE))
    weights = [gl.parameter(np.ones((STATE, STATE), "f4"), n) for n in ("by_h", "by_x")]

    def cell(h: Tensor, entry: Tensor) -> Any:
        return gl.tanh((entry if name == "plain" else entry @ weights[1]) + h @ weights[0]), None

    if name in ("gru", "lstm"):
        found = getattr(gl.recurrent, f"{name}_weights")(STATE, STATE)
        cell, weights = getattr(gl.recurrent, name)(**found), [*found.values()]
    last, _ = gl.scan(cell, (zero, zero) if name == "lstm" else zero, entries)
    loss = gl.sum(gl.square(last[0] if name == "lstm" else last))
    outputs = gl.grad(loss, weights[:1] if name == "plain" else weights)
    made, plain = gl.function([x], outputs), without(TOTALS, [x], outputs)
    assert made.memory(B=4096).total < 1.3 * apart(plain, 4096)
    if name in ("projected", "lstm"):  # the rows lie where products for all steps lay
        assert sums_left(made) == 0 < sums_left(plain)


def test_segments_stay_small() -> None:
    """A loop of loops keeps less than all steps need: neither of them keeps more."""
    x = gl.placeholder((64, ROWS, STATE), name="x")
    w = gl.placeholder((STATE, STATE), name="w")

    def body(h: Tensor, entry: Tensor) -> Any:
        return gl.tanh(h @ w + entry), None

    last, _ = gl.scan(body, gl.zeros((ROWS, STATE)), x, checkpoint=8)
    plain, _ = gl.scan(body, gl.zeros((ROWS, STATE)), x)
    made = [gl.function([x, w], gl.grad(gl.sum(h**2), w)) for h in (last, plain)]
    assert [sums_left(function) > 0 for function in made] == [True, False]
    arrays = drawn_arrays([x, w], {}, 1)
    np.testing.assert_array_equal(made[0](*arrays), made[1](*arrays))


def _halves(h: Tensor, x: Tensor) -> Tensor:
    return gl.concat([gl.sin(x), h], axis=1)


Body = Callable[[Tensor, Tensor, Tensor], Any]

# Bodies of a carry `total` and a state, whether forwards or backwards, and sums that stay.
BODIES: dict[str, tuple[Body, int]] = {
    "start": (lambda total, x, h: ((matmul_add(x.T, x * h, total), h), None), 0),
    "stacked": (lambda total, x, h: ((matmul_add(x.T, x * h, total), h), x * h), 0),
    "of the state": (lambda total, x, h: ((matmul_add(h.T, x, total), gl.sin(h + x)), h), 0),
    "of a part": (lambda total, x, h: ((matmul_add(x[:, 1:4].T, h, total), gl.sin(h + x)), h), 0),
    "read": (lambda total, x, h: ((matmul_add(x.T, x, total), h * total[0, 0]), None), 1),
    "read behind": (lambda total, x, h: ((matmul_add(x.T, x, total), h), total), 1),
    "turned": (lambda total, x, h: ((matmul_add(gl.flip(x, 1).T, x, total), h), None), 0),
    "a row": (lambda total, x, h: ((total + gl.flip(h[0])[:, None] @ x[1:2], gl.sin(h)), h), 0),
    "part": (lambda total, x, h: ((total + h.T @ gl.sin(x), gl.sin(h)), _halves(h, x)), 0),
    "no columns": (lambda total, x, h: ((matmul_add(x.T @ h, h.T @ x, total), h), None), 1),
    "fixed": (lambda total, x, h: ((matmul_add(gl.ones((2, ROWS)), x, total), h), None), 1),
}


@pytest.mark.campaign(4)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", BODIES)
def test_bodies(name: str, reverse: bool) -> None:
    body, stay = BODIES[name]
    xs = gl.placeholder(("T", ROWS, STATE), name="xs")
    state = gl.placeholder((ROWS, STATE), name="state")
    height = {"of a part": 3, "fixed": 2}.get(name, STATE)
    start = gl.placeholder((height, STATE), name="start")
    (total, last), rows = gl.scan(
        lambda carry, x: body(carry[0], x, carry[1]), (start, state), xs, reverse=reverse
    )
    inputs, outputs = [xs, state, start], [total, last, *([] if rows is None else [rows])]
    for length in LENGTHS:
        arrays = drawn_arrays(inputs, {"T": length}, length)
        made = check_bits(inputs, outputs, arrays, TOTALS)
        assert sums_left(made) == stay
