"""How products lie in memory: turned as they are read, heads side by side, parts of a concat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.turn import turn
from gradloom.frontends.function import Function
from gradloom.ir.tensor import Tensor

RNG = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return RNG.normal(size=shape).astype("float32")


def copies(function: Function) -> list[str]:
    """The kernels that only move numbers."""
    return [kernel.name for kernel in function.kernels if kernel.name.startswith("copy")]


def turned(text: str) -> list[str]:
    """The ops of a graph behind the pass."""
    graph = turn(gl.parse(text))
    gl.verify(graph)
    return [node.op.name for node in graph.nodes]


def test_the_transpose_of_a_product_of_a_transpose_is_a_product() -> None:
    text = """graph @f(%x: f32[B,8], %g: f32[B,5]) {
      %0 = permute %x {axes=(1, 0)} : f32[8,B]
      %1 = matmul %0, %g : f32[8,5]
      %2 = permute %1 {axes=(1, 0)} : f32[5,8]
      return %2
    }"""
    assert turned(text) == ["permute", "matmul"]
    assert turned(text.replace("return %2", "return %2, %1")).count("permute") == 2
    plain = text.replace("%0 = permute %x {axes=(1, 0)}", "%0 = exp %x").replace(
        "f32[B,8]", "f32[8,B]"
    )
    assert turned(plain) == ["exp", "matmul", "permute"]


def test_axes_of_a_batch_go_along() -> None:
    """[b, i, h, j] is made of [b, h, j, i] and of [b, h, i, j] alike."""
    text = """graph @f(%q: f32[2,6,4,3], %s: f32[2,4,6,5]) {
      %0 = permute %q {axes=(0, 2, 3, 1)} : f32[2,4,3,6]
      %1 = matmul %0, %s : f32[2,4,3,5]
      %2 = permute %1 {axes=(0, 3, 1, 2)} : f32[2,5,4,3]
      return %2
    }"""
    before, after = gl.parse(text), turn(gl.parse(text))
    gl.verify(after)
    assert str(before) != str(after)
    feeds = {"q": draw(2, 6, 4, 3), "s": draw(2, 4, 6, 5)}
    for one, other in zip(gl.evaluate(before, feeds), gl.evaluate(after, feeds), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_weight_that_is_read_transposed_is_updated_in_one_kernel(threads: int) -> None:
    values = draw(20, 33), draw(7, 20)
    step: list[Any] = []
    for written in (False, True):
        x = gl.placeholder(("B", 33), name="x")
        w, v = (gl.parameter(value) for value in values)
        h = x @ w.T
        y = h @ v.T
        loss = gl.sum(gl.square(y))
        gradients = gl.grad(loss, [w, v])
        if written:  # by hand, in the order of the sums that are expected
            back = 2 * y
            gradients = [(back @ v).T @ x, back.T @ h]
        updates = {p: p - 0.1 * g for p, g in zip((w, v), gradients, strict=True)}
        function = gl.function([x], loss, updates, threads=threads)
        function(np.linspace(-1, 1, 33 * 9, dtype="float32").reshape(9, 33))
        step.append([w.value, v.value])
        assert copies(function) == []
        assert len([k for k in function.kernels if "matmul" in k.name]) <= 4
    np.testing.assert_array_equal(step[0][0], step[1][0])
    np.testing.assert_array_equal(step[0][1], step[1][1])


def heads(x: Tensor, w: Tensor, v: Tensor, count: int) -> Tensor:
    """Self-attention of some heads: of x · w, all of queries, keys and values."""
    size = (*x.shape[:2], count, v.shape[0] // count)
    parts = gl.split(x @ w, 3, axis=-1)
    q, k, values = (gl.moveaxis(part.reshape(size), 2, 1) for part in parts)
    shares = gl.softmax(q @ gl.moveaxis(k, 3, 2), axis=-1) @ values
    return gl.moveaxis(shares, 1, 2).reshape((*x.shape[:2], v.shape[0])) @ v


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("count", [1, 4])
def test_attention_and_its_gradients_copy_nothing(count: int, named: bool) -> None:
    """Heads are read where they lie in the product, and written where they are read."""
    x = gl.placeholder(("B" if named else 3, 5, 12), name="x")
    w, v = gl.placeholder((12, 24), name="w"), gl.placeholder((8, 12), name="v")
    loss = gl.sum(gl.square(heads(x, w, v, count)))
    outputs = [loss, *gl.grad(loss, [x, w, v])]
    feeds = {"x": draw(3, 5, 12) / 4, "w": draw(12, 24), "v": draw(8, 12)}
    found = [gl.function([x, w, v], outputs, threads=threads) for threads in (1, 3)]
    found.append(gl.function([x, w, v], outputs, fusion=False))
    assert copies(found[0]) == []
    first, *others = [function(**feeds) for function in found]
    for other in others:
        for one, two in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, two)
    for one, two in zip(first, gl.evaluate(found[0].graph, feeds), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-5 * float(np.abs(two).max()))


def test_a_product_goes_where_a_concat_wants_it() -> None:
    """Also through another order of its axes, but not where it is wanted twice."""
    x, y = gl.placeholder((4, 6, 5), name="x"), gl.placeholder((4, 5, 8), name="y")
    part = gl.moveaxis(x @ y, 0, 1).reshape((6, 32))
    both = gl.concat([part, gl.exp(part)], axis=1)
    feeds = {"x": draw(4, 6, 5), "y": draw(4, 5, 8)}
    function = gl.function([x, y], both)
    assert copies(function) == []
    wanted = np.moveaxis(feeds["x"] @ feeds["y"], 0, 1).reshape(6, 32)
    np.testing.assert_allclose(
        function(**feeds), np.concatenate([wanted, np.exp(wanted)], 1), rtol=2e-5
    )
    twice = gl.function([x, y], gl.concat([part, part], axis=1))
    np.testing.assert_allclose(
        twice(**feeds), np.concatenate([wanted, wanted], 1), rtol=2e-5, atol=1e-6
    )
