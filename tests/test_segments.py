# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""scan(checkpoint=...): the same values and gradients with the carries of fewer steps kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import ArgumentError

Checkpoint = Any


def draw(*shape: int, seed: int = 0, dtype: str = "float64") -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def step(carry: Any, x: Any) -> Any:
    """A body with a structure, a weight from outside, a count, and ys of two kinds."""
    w = WEIGHT
    h = gl.tanh(carry["h"] @ w + x[0]) * gl.astype(x[1] > 0, "float64") + 0.5 * carry["h"]
    return {"h": h, "n": carry["n"] + 1}, (gl.sum(h) * carry["h"], carry["n"])


WEIGHT = gl.parameter(draw(3, 3, seed=9) / 2, "w")


def run(length: int | str, checkpoint: Checkpoint, reverse: bool) -> gl.Function:
    x = gl.placeholder((length, 2, 3), "float64", "x")
    z, h = gl.placeholder((length,), "float64", "z"), gl.placeholder((2, 3), "float64", "h")
    init = {"h": h, "n": gl.constant(0)}
    last, (ys, counts) = gl.scan(step, init, (x, z), reverse=reverse, checkpoint=checkpoint)
    loss = gl.sum(last["h"] ** 2) + gl.sum(gl.sin(ys))
    values = [loss, last["h"], last["n"], ys, counts, *gl.grad(loss, [x, h, WEIGHT])]
    values += gl.jvp([loss], [h], [gl.ones((2, 3), "float64")])
    return gl.function([x, z, h], values)


def feeds(length: int) -> list[Any]:
    return [draw(length, 2, 3), draw(length, seed=1), draw(2, 3, seed=2)]


def assert_alike(found: Any, wanted: Any) -> None:
    """The same bits: sums over the steps of a segment begin at what came before it."""
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.campaign(3)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 2, 7, 100, 101])
def test_the_flat_loop_with_fewer_carries(length: int, reverse: bool) -> None:
    wanted = run(length, None, reverse)(*feeds(length))
    for checkpoint in {7: (1, 3, 10, "sqrt", "log"), 101: ("log",), 1: (1,)}.get(length, ("sqrt",)):
        assert_alike(run(length, checkpoint, reverse)(*feeds(length)), wanted)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_named_length(reverse: bool) -> None:
    flat, cut = run("T", None, reverse), run("T", 4, reverse)
    for length in (0, 1, 3, 4, 9, 16):
        assert_alike(cut(*feeds(length)), flat(*feeds(length)))


def test_the_interpreter() -> None:
    x = gl.placeholder((7, 3), "float64", "x")
    last, ys = gl.scan(
        lambda h, v: (gl.sin(h @ WEIGHT + v), h), gl.zeros(3, "float64"), x, checkpoint=2
    )
    loss = gl.sum(last) + gl.sum(ys)
    value = draw(7, 3)
    h, total = np.zeros(3), 0.0
    for row in value:
        total, h = total + h.sum(), np.sin(h @ WEIGHT.value + row)
    np.testing.assert_allclose(loss.eval({x: value}), total + h.sum())
    compiled = gl.function([x], gl.grad(loss, x))(value)
    np.testing.assert_allclose(gl.grad(loss, x).eval({x: value}), compiled, 1e-12)


def test_second_order_and_vmap() -> None:
    def values(checkpoint: Checkpoint) -> Any:
        x = gl.placeholder((4, 9, 2), "float64", "x")
        w = gl.parameter(draw(2, seed=3), "w")

        def loss(row: Any) -> Any:
            body = lambda h, v: (gl.tanh(h * w + v), None)  # noqa: E731
            return gl.sum(gl.scan(body, gl.zeros(2, "float64"), row, checkpoint=checkpoint)[0])

        gradients = gl.vmap(lambda row: gl.grad(loss(row), row))(x)
        one = loss(x[0])
        again = gl.grad(gl.sum(gl.grad(one, w) ** 2), [w, x])
        return gl.function([x], [gradients, gl.hessian(one, w), *again])(draw(4, 9, 2))

    for a, b in zip(values(3), values(None), strict=True):
        np.testing.assert_allclose(a, b, 1e-11, 1e-12)


def test_lengths_of_samples() -> None:
    def values(checkpoint: Checkpoint) -> Any:
        x = gl.placeholder((8, 3, 2), "float64", "x")
        ends = gl.placeholder((3,), "int64", "ends")
        w = gl.parameter(draw(2, seed=3), "w")
        init = gl.zeros((3, 2), "float64")
        last, ys = gl.scan(
            lambda h, v: (gl.tanh(h * w + v), h + v), init, x, lengths=ends, checkpoint=checkpoint
        )
        loss = gl.sum(last) + gl.sum(ys * ys)
        every, given = [last, ys, *gl.grad(loss, [w, x])], (draw(8, 3, 2), np.array([8, 0, 5]))
        if checkpoint is None:
            return [value.eval(dict(zip([x, ends], given, strict=True))) for value in every]
        return gl.function([x, ends], every)(*given)

    for a, b in zip(values(3), values(None), strict=True):
        np.testing.assert_allclose(a, b, 1e-12, 1e-13)


def kept(length: int, checkpoint: Checkpoint) -> float:
    """Carries that the loss and its gradient hold at the peak: bytes by those of one carry."""
    x = gl.placeholder((length, 1, 4), "float32", "x")
    w, u = (gl.parameter(draw(n, 16, dtype="float32"), name) for n, name in ((16, "w"), (4, "u")))
    init = gl.zeros((64, 16), "float32")
    last, _ = gl.scan(lambda h, v: (gl.tanh(h @ w + v @ u), None), init, x, checkpoint=checkpoint)
    loss = gl.sum(last)
    return gl.function([x], [loss, *gl.grad(loss, [w, u])]).memory().total / (64 * 16 * 4)


def test_memory_grows_like_the_length_its_root_or_its_logarithm() -> None:
    """Four times the steps: four times the carries, twice as many, or four more for each level."""
    lengths = (25, 100, 400)
    flat, root, log = ([kept(n, c) for n in lengths] for c in (None, "sqrt", "log"))
    assert flat[2] - flat[1] == pytest.approx(4 * (flat[1] - flat[0]), rel=0.05)
    assert flat[2] - flat[1] > 280
    assert root[2] - root[1] == pytest.approx(2 * (root[1] - root[0]), rel=0.15)
    assert 15 < root[2] - root[1] < 45
    assert log[2] - log[1] == pytest.approx(log[1] - log[0], abs=6)
    assert log[2] - log[1] < 15
    assert root[2] < 0.25 * flat[2] and log[2] < 0.2 * flat[2]


def test_wrong_uses() -> None:
    x = gl.placeholder(("T", 3), "float32", "x")
    y = gl.placeholder((5, 3), "float32", "y")
    init = gl.zeros(3)

    def scan(xs: Any, **options: Any) -> Any:
        return gl.scan(lambda h, v: (h + v, None), init, xs, **options)

    for wrong in (0, -1, True, "half", 2.5):
        with pytest.raises(ArgumentError, match="checkpoint is None, the number of steps"):
            scan(y, checkpoint=wrong)
    for name in ("sqrt", "log"):
        with pytest.raises(ArgumentError, match=f"checkpoint='{name}' needs a length .* got T"):
            scan(x, checkpoint=name)
    with pytest.raises(ArgumentError, match="does not take until"):
        scan(y, checkpoint=2, until=lambda h: gl.sum(h) > 3)


@pytest.mark.parametrize("segment", [2, 4, "sqrt", "log"])
def test_images_have_the_bits_of_the_plain_loop(segment: Any) -> None:
    """Sums of bias gradients, also where a segment is one step long and is written out."""
    rng = np.random.default_rng(0)
    x = gl.placeholder((2, 4, 6, 6), name="x")
    w, b = gl.placeholder((4, 4, 3, 3), name="w"), gl.placeholder((4,), name="b")

    def body(h: Any, _: Any) -> tuple[Any, Any]:
        y = gl.tanh(gl.nn.conv2d(h, w, padding="same") + b[:, None, None])
        return y, gl.sum(y * y)

    feeds = [rng.normal(size=t.shape).astype(np.float32) / 3 for t in (x, w, b)]

    def found(checkpoint: Any) -> list[Any]:
        last, sums = gl.scan(body, x, None, length=5, checkpoint=checkpoint)
        loss = gl.sum(last * last) + gl.sum(sums)
        return gl.function([x, w, b], gl.grad(loss, [x, w, b]))(*feeds)

    for a, plain in zip(found(segment), found(None), strict=True):
        np.testing.assert_array_equal(a, plain)
