"""Sums that loops continue: the gradient of a loop in segments has the bits of the plain loop's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.pipeline import run_pass
from gradloom.ir.graph import Graph
from gradloom.ir.ops.scan import Scan
from gradloom.ir.tensor import Tensor

from .random_loops import NumpyArray

Body = Callable[[Any, Any], Any]


def within(body: Body) -> Body:
    """A loop over a segment, as the step of another."""
    return lambda carry, part: gl.scan(body, carry, part)


def gradients(parts: tuple[int, ...], dtype: str, tail: int = 0) -> list[NumpyArray]:
    """The gradients of a recurrent loss over the steps in these segments of segments, and then
    `tail` steps one by one."""
    size, count = 17, int(np.prod(parts))
    xs = gl.placeholder((count + tail, 5, 3), dtype, "xs")
    wx = gl.placeholder((3, 3 * size), dtype, "wx")
    wh = gl.placeholder((size, 3 * size), dtype, "wh")
    bias = gl.placeholder((3 * size,), dtype, "bias")
    start = gl.placeholder((5, size), dtype, "start")

    def body(h: Tensor, x: Tensor) -> Any:
        f, g, o = gl.split(x @ wx + h @ wh + bias, 3, axis=-1)
        h = gl.sigmoid(f) * h + gl.sigmoid(o) * gl.tanh(g)
        return h, h * h

    step: Body = body
    for _ in parts[1:]:
        step = within(step)
    last, ys = gl.scan(step, start, gl.reshape(xs[:count], (*parts, 5, 3)))
    total = gl.sum(gl.square(wh)) + gl.sum(gl.reshape(ys, (count, 5, size)))
    if tail:
        last, more = gl.scan(body, last, xs[count:])
        total = gl.sum(gl.square(wh)) + gl.sum(
            gl.concatenate([gl.reshape(ys, (count, 5, size)), more])
        )
    loss = total + gl.sum(last)
    inputs = [xs, wx, wh, bias, start]
    function = gl.function(inputs, [loss, *gl.grad(loss, inputs)])
    rng = np.random.default_rng(0)
    shapes: list[Any] = [tensor.shape for tensor in inputs]
    arrays = [np.asarray(rng.normal(size=shape), xs.dtype.numpy) for shape in shapes]
    return function(*arrays)


@pytest.mark.parametrize(
    ("parts", "tail"), [((3, 4), 0), ((2, 2, 3), 0), ((12, 1), 0), ((1, 12), 0), ((2, 5), 2)]
)
def test_segments_change_no_bit(parts: tuple[int, ...], tail: int) -> None:
    plain = gradients((12,), "float32")
    for found, wanted in zip(gradients(parts, "float32", tail), plain, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_segments_of_halves_change_no_bit() -> None:
    """Each addition of a sum of halves is rounded, so the order matters all the more."""
    plain = gradients((12,), "float16")
    for found, wanted in zip(gradients((3, 4), "float16"), plain, strict=True):
        np.testing.assert_array_equal(found, wanted)


X = gl.placeholder((6, 3), "float32", "x")
T = gl.placeholder((3,), "float32", "t")


def starts(outputs: list[Tensor]) -> list[Tensor]:
    """What the carries of the scans start at, behind the pass."""
    graph = Graph("g", [X, T], outputs)
    made = run_pass(graph, "sums")
    assert run_pass(made, "sums") == made
    rng = np.random.default_rng(0)
    feeds: dict[Any, Any] = {X: rng.normal(size=(6, 3)), T: rng.normal(size=3)}
    feeds = {tensor: value.astype("float32") for tensor, value in feeds.items()}
    for a, b in zip(gl.evaluate(made, feeds), gl.evaluate(graph, feeds), strict=True):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)
    return [c for node in made.nodes if node.op.name == "scan" for c in Scan(node).carries]


def test_a_sum_starts_at_what_it_is_added_to() -> None:
    last, _ = gl.scan(lambda c, x: (c + x * x, None), gl.zeros((3,)), X)
    assert starts([gl.sin(T) + last])[0].node.op.name == "sin"
    assert starts([last + T])[0] is T


def reads(c: Tensor, x: Tensor) -> Any:
    """The carry is read besides."""
    return c + x * c, None


def gives_out(c: Tensor, x: Tensor) -> Any:
    """What the carry was is a result as well."""
    return c + x, c


def multiplies(c: Tensor, x: Tensor) -> Any:
    """No sum."""
    return c * x, None


@pytest.mark.parametrize("body", [reads, gives_out, multiplies])
def test_other_carries_start_where_they_did(body: Body) -> None:
    last, ys = gl.scan(body, gl.zeros((3,)), X)
    outputs = [last + T] if ys is None else [last + T, ys]
    assert starts(outputs)[0].node.op.name == "broadcast_to"


def test_sums_that_do_not_start_at_zero_or_are_read_twice_stay() -> None:
    last, _ = gl.scan(lambda c, x: (c + x, None), gl.ones((3,)), X)
    assert starts([last + T])[0] is not T
    last, _ = gl.scan(lambda c, x: (c + x, None), gl.zeros((3,)), X)
    assert starts([last + T, last])[0] is not T
    assert starts([last + last])[0] is not T


def test_a_sum_cannot_start_at_what_waits_for_it() -> None:
    (a, b), _ = gl.scan(
        lambda c, x: ((c[0] + x, c[1] + x * x), None), (gl.zeros((3,)), gl.zeros((3,))), X
    )
    assert all(carry.node.op.name == "broadcast_to" for carry in starts([a + gl.sin(b), b + T])[:1])


def test_two_sums_cannot_start_at_each_other() -> None:
    a, _ = gl.scan(lambda c, x: (c + x, None), gl.zeros((3,)), X)
    b, _ = gl.scan(lambda c, x: (c + x * x, None), gl.zeros((3,)), X)
    found = starts([a + gl.sin(b) * 2, b + T])
    assert len(found) == 2
    assert len(starts([a + b])) == 2


def test_a_sum_over_several_loops_starts_in_the_first() -> None:
    a, _ = gl.scan(lambda c, x: (c + x, None), gl.zeros((3,)), X)
    b, _ = gl.scan(lambda c, x: (c + x * x, None), a, X)
    assert starts([b + T])[0] is T
    assert starts([b + T, a])[0] is not T  # where it is between is read


@pytest.mark.parametrize("checkpoint", [2, 3, "sqrt", "log"])
def test_of_two_sums_the_second_goes_on_from_the_first(checkpoint: Any) -> None:
    """Neither waits for the other: the gradient by what a body stacks as it is."""
    g, u = gl.placeholder((), "float64", "g"), gl.placeholder((11,), "float64", "u")

    def slope(how: Any) -> Any:
        _, rows = gl.scan(
            lambda n, _: (n + 1, g), gl.constant(0, "int64"), None, 11, checkpoint=how
        )
        values = np.random.default_rng(0).normal(size=11)
        return gl.function([g, u], gl.grad(gl.sum(rows * u), g))(1.0, values)

    assert slope(checkpoint) == slope(None)


@pytest.mark.parametrize("checkpoint", [3, "sqrt", "log"])
def test_the_parts_of_a_loop_meet_before_they_meet_another(checkpoint: Any) -> None:
    """Two loops that wait for no other read one weight: the order of the two is that of the plain
    loops, although each is in segments with steps left over."""

    def slope(how: Any) -> Any:
        x, y = (gl.placeholder((11, 4), "float32", name) for name in "xy")
        dice = np.random.default_rng(0)
        weight, *rows = (dice.normal(size=(n, 4)).astype("float32") for n in (4, 11, 11))
        w = gl.parameter(weight / 2, "w")
        a, b = (
            gl.scan(lambda h, r: (gl.tanh(h @ w + r), h), x[0], xs, checkpoint=how)[1]
            for xs in (x, y)
        )
        return gl.function([x, y], gl.grad(gl.sum(a * y) + gl.sum(gl.sin(b)), w))(*rows)

    np.testing.assert_array_equal(slope(checkpoint), slope(None))
