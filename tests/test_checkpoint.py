# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""gl.checkpoint: the same values and gradients with less memory, computed again on the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import ArgumentError
from gradloom.ir.ops.checkpoint import after
from gradloom.ir.ops.conversion import pin

Array = Any
Wrap = Callable[[Any], Any]


def plainly(function: Any) -> Any:
    return function


def draw(*shape: int, seed: int = 0, dtype: str = "float32") -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def same(found: Any, wanted: Any) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def network(wrap: Wrap, layers: int = 16, each: int = 4) -> tuple[Any, Any, list[Any]]:
    """A loss of x, in parts of `each` layers: x, the loss, the weights."""
    x = gl.placeholder((64, 64), "float32", "x")
    weights = [gl.parameter(draw(64, 64, seed=i) / 8, f"w{i}") for i in range(layers)]

    def part(value: Any, start: int) -> Any:
        for weight in weights[start : start + each]:
            value = gl.tanh(value @ weight) * 1.5 + value
        return value

    value = x
    for start in range(0, layers, each):
        value = wrap(lambda value, start=start: part(value, start))(value)
    return x, gl.mean(value * value), weights


def compiled(wrap: Wrap, each: int = 4, **options: Any) -> gl.Function:
    x, loss, weights = network(wrap, each=each)
    return gl.function([x], [loss, *gl.grad(loss, [x, *weights])], **options)


@pytest.mark.parametrize("fusion", [True, False])
def test_the_same_bits_with_less_memory(fusion: bool) -> None:
    """Four parts of four layers keep a value a part, and those of one part at a time."""
    plain, again = compiled(plainly, fusion=fusion), compiled(gl.checkpoint, fusion=fusion)
    value = draw(64, 64)
    same(again(value), plain(value))
    assert again.memory().total < 0.45 * plain.memory().total
    assert len(again.program.steps) > len(plain.program.steps)


def test_memory_by_the_length_of_the_parts() -> None:
    """n values are kept with parts of 1, sqrt(n) with parts of sqrt(n)."""
    kept = [compiled(gl.checkpoint, each=each).memory().total // 64**2 // 4 for each in (1, 4, 16)]
    plain = compiled(plainly).memory().total // 64**2 // 4
    assert kept[1] < kept[0] < plain and kept[1] < kept[2]


def test_nested() -> None:
    def halves(part: Any) -> Any:
        return gl.checkpoint(lambda v: gl.checkpoint(part)(gl.checkpoint(part)(v)))

    def run(wrap: Wrap) -> Any:
        x, w = gl.placeholder((5,), "float32", "x"), gl.parameter(draw(5), "w")

        def part(v: Any) -> Any:
            for _ in range(3):
                v = gl.sin(v * w) + v
            return v

        double = halves(part) if wrap is gl.checkpoint else lambda v: part(part(v))
        y = gl.sum(double(double(x)))
        return gl.function([x], [y, *gl.grad(y, [x, w])])(draw(5, seed=1))

    same(run(gl.checkpoint), run(plainly))


def second(wrap: Wrap) -> Any:
    x, w = gl.placeholder((4,), "float64", "x"), gl.parameter(draw(4, dtype="float64"), "w")
    part = wrap(lambda v: gl.tanh(v * w) * gl.exp(v) + w * w)
    y = gl.sum(part(part(x)) ** 2)
    v = gl.constant(draw(4, seed=3, dtype="float64"))
    gradient = gl.grad(y, x)
    every = [y, gradient, gl.hessian(y, x), *gl.grad(gl.sum(gradient * v), [x, w])]
    every += [*gl.jvp([y], [x], [v]), *gl.jvp([gradient], [x], [v])]
    return gl.function([x], every)(draw(4, seed=2, dtype="float64"))


def test_second_derivatives_and_both_modes() -> None:
    same(second(gl.checkpoint), second(plainly))


def test_interpreter_and_differences() -> None:
    x, w = gl.placeholder((3,), "float64", "x"), gl.parameter(draw(3, dtype="float64"), "w")
    y = gl.sum(gl.checkpoint(lambda v: gl.sin(v * w))(x) * x)
    feeds = {x: draw(3, seed=4, dtype="float64")}
    v, k = feeds[x], w.value
    expected = v * k * np.cos(v * k) + np.sin(v * k)
    np.testing.assert_allclose(y.eval(feeds), np.sum(v * np.sin(v * k)))
    np.testing.assert_allclose(gl.grad(y, x).eval(feeds), expected)
    np.testing.assert_allclose(gl.grad(y, w).eval(feeds), v * v * np.cos(v * k))
    assert gl.verify_grad(lambda v: gl.checkpoint(lambda u: gl.exp(u) * u)(v), [draw(3)])


def test_structures_captured_tensors_and_other_arguments() -> None:
    def run(wrap: Wrap) -> Any:
        x, y = gl.placeholder((3,), "float32", "x"), gl.placeholder((3,), "float32", "y")
        w, n = gl.parameter(draw(3), "w"), gl.placeholder((3,), "int64", "n")
        outer = gl.exp(y)

        @wrap
        def part(pair: Any, *, scale: float, name: str, more: Any = None) -> Any:
            assert name == "name" and more is None
            value = gl.sin(pair["a"] * w) * outer * scale + pair["b"][1]
            return {"value": value, "pair": (pair["b"][0] + 1, value > 0), "none": None}

        found = part({"a": x, "b": (n, y)}, scale=2.0, name="name")
        assert found["none"] is None
        loss = gl.sum(found["value"] * gl.where(found["pair"][1], 2.0, y)) + 0.0 * gl.sum(x)
        step = gl.function([x, y, n], [loss, found["pair"][0], *gl.grad(loss, [x, y, w])])
        return step(draw(3, seed=1), draw(3, seed=2), np.arange(3))

    def wrong(run: Any) -> Any:
        return [np.asarray(value) for value in run]

    same(wrong(run(gl.checkpoint)), wrong(run(plainly)))


def test_in_the_body_of_a_scan() -> None:
    """The steps of the way back compute the inner values again from the carry in any case; here
    also those of a scan inside the step, whose history else stands for a step at a time."""

    def run(wrap: Wrap) -> Any:
        x, w = gl.placeholder(("T", 4), "float32", "x"), gl.parameter(draw(4, 4) / 2, "w")
        cell = wrap(lambda h, row: gl.tanh(h @ w + row))
        last, ys = gl.scan(lambda h, row: (cell(h, row), cell(h, row * 2)), gl.zeros(4), x)
        loss = gl.sum(last) + gl.sum(ys * ys)
        step = gl.function([x], [loss, *gl.grad(loss, [x, w])])
        return [value for length in (0, 1, 5) for value in step(draw(length, 4, seed=1))]

    same(run(gl.checkpoint), run(plainly))


def test_a_scan_inside_keeps_no_history() -> None:
    def memory(wrap: Wrap) -> tuple[int, Any]:
        x, w = gl.placeholder((64, 32), "float32", "x"), gl.parameter(draw(32, 32) / 6, "w")

        def run(value: Any) -> Any:
            return gl.scan(lambda h, _: (gl.tanh(h @ w), None), value, None, 20)[0]

        value = x
        for _ in range(5):
            value = wrap(run)(value)
        loss = gl.mean(value * value)
        step = gl.function([x], [loss, *gl.grad(loss, [x, w])])
        return step.memory().total, step(draw(64, 32))

    (plain, values), (again, others) = memory(plainly), memory(gl.checkpoint)
    same(others, values)
    assert again < 0.5 * plain


def test_vmap() -> None:
    def run(wrap: Wrap) -> Any:
        xs, w = gl.placeholder((6, 3), "float32", "x"), gl.parameter(draw(3), "w")
        part = wrap(lambda v, k: gl.sin(v * w) * gl.sum(v) + k)
        ys = gl.vmap(lambda x: part(x, w))(xs)
        gradients = gl.vmap(lambda x: gl.grad(gl.sum(part(x, gl.ones(3)) ** 2), x))(xs)
        loss = gl.sum(ys * ys)
        return gl.function([xs], [ys, gradients, *gl.grad(loss, [xs, w])])(draw(6, 3, seed=1))

    same(run(gl.checkpoint), run(plainly))


def test_arguments_that_are_made_of_each_other() -> None:
    """The derivative by an argument is not taken by way of another."""

    def run(wrap: Wrap) -> Any:
        x = gl.placeholder((3,), "float64", "x")
        part = wrap(lambda a, b: gl.sin(a) * b)
        y = gl.sin(x)
        value = gl.sum(part(x, y) + part(y, y))
        tangent = gl.jvp([value], [x], [gl.ones(3, "float64")])
        return gl.function([x], [value, gl.grad(value, x), *tangent])(draw(3, dtype="float64"))

    same(run(gl.checkpoint), run(plainly))


def test_random_numbers_are_the_same_again() -> None:
    def run(wrap: Wrap) -> Any:
        x, key = gl.placeholder((100,), "float32", "x"), gl.random.key(3)
        part = wrap(lambda v, key: gl.nn.dropout(gl.exp(v), key, 0.5) * v)
        y = gl.sum(part(x, key))
        return gl.function([x], [y, gl.grad(y, x)])(draw(100))

    same(run(gl.checkpoint), run(plainly))


def test_text() -> None:
    x, loss, weights = network(gl.checkpoint, 4, 2)
    graph = gl.Graph("network", [x], [loss, *gl.grad(loss, weights)])
    assert gl.parse(str(graph)) == graph
    assert "checkpoint %x given %w0, %w1 (" in str(graph)
    step = gl.compile(graph, {f"w{i}": weight for i, weight in enumerate(weights)})
    names = {node.op.name for node in step.stages["fuse"].walk()}
    assert "after" in names and "checkpoint" not in names


def test_after_is_no_copy_and_is_not_merged() -> None:
    x = gl.placeholder((8, 8), "float32", "x")
    first = gl.exp(x @ x)
    second = gl.exp(x @ after(x, gl.sum(first)))
    both = gl.function([x], gl.sum(first * x) + gl.sum(second * x))
    products = [step for step in both.program.steps if "matmul" in str(step)]
    assert len(products) == 2 and "copy" not in str(both.program)
    value = draw(8, 8)
    np.testing.assert_allclose(both(value), 2 * np.sum(np.exp(value @ value) * value), 1e-5)


def test_two_gradients_by_one_tensor() -> None:
    """What is added up for one of them is none of the other's."""
    x = gl.placeholder((4,), "float64", "x")
    y = pin(x * 2)
    sine, cosine = (gl.grad(gl.sum(f(y)), y) for f in (gl.sin, gl.cos))
    values = np.linspace(-1, 1, 4)
    first, second = gl.function([x], [x * 3 + sine, x + cosine])(values)
    np.testing.assert_allclose(first, 3 * values + np.cos(2 * values), rtol=1e-12)
    np.testing.assert_allclose(second, values - np.sin(2 * values), rtol=1e-12)


def test_errors() -> None:
    x = gl.placeholder((3,), "float32", "x")
    with pytest.raises(ArgumentError, match="needs a function, got 3"):
        gl.checkpoint(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="no argument is a tensor"):
        gl.checkpoint(lambda: gl.sin(x))()
    with pytest.raises(gl.GradloomError, match=r"test_checkpoint\.py"):
        gl.checkpoint(lambda v: v @ gl.ones(4))(x)
    with pytest.raises(gl.GradloomError, match="tensor"):
        gl.checkpoint(lambda v: "text")(x)
