"""Parts of concats written in place: in loops, branches, updates, budgets, guards, on CUDA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.fuse import fuse
from gradloom.compiler.lower import lower
from gradloom.ir.graph import Graph
from gradloom.ir.ops.shape import reshape_to
from gradloom.ir.plan import plan
from gradloom.ir.program import Loop, walk
from gradloom.ir.target import Target
from gradloom.ir.tensor import Tensor

from .cuda_device import simulated
from .test_concat import check, copies, whole

NumpyArray = np.ndarray[Any, Any]


def in_loop(body: Callable[[Tensor, Tensor], Any], kept: bool) -> tuple[list[Tensor], list[Tensor]]:
    """A scan over rows of 4 with a carry of 4; kept: whether what it stacks is read."""
    xs = gl.placeholder(("T", 4), name="xs")  # a loop of few steps would be written out
    start = gl.placeholder((4,), name="start")
    last, stacked = gl.scan(body, start, xs)
    outputs = [last, stacked] if kept else [last]
    return [xs, start], outputs


BODIES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    # Neither half may be written over the carry before the other has read it.
    "carry": lambda c, x: ((y := gl.concat([c[2:] + x[:2], c[:2] - gl.sum(c)])), y * 2),
    "rows": lambda c, x: (c + x, gl.concat([c[:1] * 2, gl.cumsum(x)[1:] + 1, x[:1] - c[:1]])),
    "both": lambda c, x: ((y := gl.concat([x[1:] * 2, gl.sum(c)[None]])), y),
    "constants": lambda c, x: (gl.concat([gl.zeros(2), c[:2] + x[:2]]), gl.concat([gl.ones(3), x])),
    "read again": lambda c, x: ((h := c * 2)[::-1] + x, gl.concat([h, gl.tanh(h * 0)])),
    "a branch": lambda c, x: (
        gl.cond(gl.sum(c) > 0, lambda: gl.concat([c[:2] - x[2:], x[:2] * 2]), lambda: c + x),
        c,
    ),
}


@pytest.mark.campaign(4)
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_in_loops(body: Callable[[Tensor, Tensor], Any], kept: bool) -> None:
    inputs, outputs = in_loop(body, kept)
    check(
        inputs, outputs, [whole(np.random.default_rng(1), 3, 4), whole(np.random.default_rng(2), 4)]
    )


def test_gradients_through_loops_of_gates() -> None:
    """As an LSTM does: no step of the way back copies or masks."""
    xs, h0 = gl.placeholder((5, "B", 2), "float64", "xs"), gl.placeholder(("B", 3), "float64", "h0")
    w, u = gl.placeholder((2, 9), "float64", "w"), gl.placeholder((3, 9), "float64", "u")

    def cell(h: Tensor, x: Tensor) -> Any:
        a, b, c = gl.split(x @ w + h @ u, 3, axis=1)
        return gl.tanh(a) * h + gl.sigmoid(b) * c, None

    last, _ = gl.scan(cell, h0, xs)
    loss = gl.sum(last * last)
    inputs = [xs, h0, w, u]
    function = gl.function(inputs, gl.grad(loss, inputs))
    assert "iota" not in str(function.program)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in ((5, 4, 2), (4, 3), (2, 9), (3, 9))]
    exact = [
        output.eval(dict(zip(inputs, arrays, strict=True))) for output in gl.grad(loss, inputs)
    ]
    for found, expected in zip(function(*arrays), exact, strict=True):
        np.testing.assert_allclose(found, expected, 1e-12, 1e-12)


def test_part_outlives_the_concat() -> None:
    """A loop takes the concat's memory over; a part that is read behind the loop is not there."""
    x, xs = gl.placeholder((4,), name="x"), gl.placeholder(("T", 8), name="xs")
    part = x * 2 + 1
    last, _ = gl.scan(lambda c, x: (c + x, None), gl.concat([part, part - 3]), xs)
    rng = np.random.default_rng(0)
    check([x, xs], [gl.sum(last) * part, last[0] + part], [whole(rng, 4), whole(rng, 5, 8)])
    assert copies(gl.function([x, xs], [last, gl.sum(last) * part]).program) == 1
    assert copies(gl.function([x, xs], last).program) == 0


def test_reshaped_there_and_back() -> None:
    """Late passes may leave two reshapes, one behind the other, that are nothing together."""
    x = gl.placeholder((4,), name="x")
    part = reshape_to(reshape_to(x * 2, shape=(2, 2)), shape=(4,))
    program = lower(fuse(Graph("g", [x], [gl.concat([part, x + 1])])), Target("cpu"))
    assert copies(program) == 0


def test_results_and_updates() -> None:
    """A part that is a result, or a parameter's new value, has memory of its own."""
    p = gl.parameter(np.arange(3, dtype="f4"), name="p")
    x = gl.placeholder((3,), name="x")
    new = p * 2 + x
    function = gl.function([x], [gl.concat([new, x + 1]), x + 1], updates={p: new})
    joined, part = function(np.ones(3, "f4"))
    np.testing.assert_array_equal(joined, [1, 3, 5, 2, 2, 2])
    np.testing.assert_array_equal(part, [2, 2, 2])
    np.testing.assert_array_equal(p.value, [1, 3, 5])


def test_less_memory() -> None:
    """The parts need no memory besides that of the concat."""
    x = gl.placeholder((1000,), name="x")
    y = gl.concat([gl.sin(x), gl.cos(x), gl.sin(x) * 2])
    program = gl.function([x], gl.sum(y * y)).program
    assert plan(program, {}).total < 4 * 3000 * 1.5


def test_budget() -> None:
    """Parts that are made again are made into the same places."""
    x = gl.placeholder((64, 32), name="x")
    h, kept = x, list[Tensor]()
    for i in range(6):
        h = gl.concat([gl.sin(h[:, 16:]), gl.cos(h[:, :16] + i)], 1)
        kept.append(h)
    loss = gl.sum(h * gl.square(sum(kept[1:], kept[0])))
    plain = gl.function([x], gl.grad(loss, x))
    tight = gl.function(
        [x], gl.grad(loss, x), memory_budget=int(plan(plain.program, {}).total * 0.8)
    )
    value = np.random.default_rng(0).normal(size=(64, 32)).astype("f4")
    np.testing.assert_array_equal(tight(value), plain(value))


def test_numbers_are_checked_in_parts() -> None:
    x = gl.placeholder((3,), name="x")
    function = gl.function([x], gl.concat([gl.log(x), x * 2]), check_numerics=True)
    found = function(np.ones(3, "f4"))
    np.testing.assert_array_equal(found, [0, 0, 0, 2, 2, 2])
    with pytest.raises(gl.NumericsError, match="log"):
        function(np.array([1, -1, 1], "f4"))


@pytest.mark.parametrize("order", ["forward", "reverse"])
def test_on_cuda(order: Any) -> None:
    """Stores through slices from element-wise kernels, sums and products, in a loop as well."""
    x, w = gl.placeholder(("B", 4), name="x"), gl.placeholder((4, 3), name="w")
    y = x @ w
    outputs: Sequence[Tensor] = [
        gl.concat([y, x * 2, y + 1, gl.sum(x, 1)[:, None]], 1),
        gl.stack([gl.max(x, 1), gl.sum(x * 3, 1)], 0),
        gl.scan(
            lambda c, r: (gl.concat([c[2:] + r[:2], r[:2]]), gl.stack([c, r * c])), x[0] * 0, x
        )[1],
    ]
    step = gl.function([x, w], list(outputs))
    on_device = simulated(step, order)
    rng = np.random.default_rng(0)
    for batch in (1, 5):
        feeds = [whole(rng, batch, 4), whole(rng, 4, 3)]
        for found, expected in zip(on_device(feeds, []), step(*feeds), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("axis", [0, 1, (0, 2)])
def test_a_step_of_a_sum_is_one_kernel(axis: Any) -> None:
    """What a loop adds up over axes of each step is added to the carry where it is summed."""
    xs = gl.placeholder(("T", 3, 4, 2), name="xs")
    start = gl.sum(xs[0] * 0 + 1, axis)
    last, _ = gl.scan(lambda c, x: (c - gl.sum(x * x, axis), None), start, xs)
    for steps in (1, 6):
        check([xs], [last], [whole(np.random.default_rng(0), steps, 3, 4, 2)])
    (loop,) = (s for s in walk(gl.function([xs], last).program.steps) if isinstance(s, Loop))
    assert len(loop.body) == 1
