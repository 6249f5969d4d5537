# pyright: standard
"""A pool and its gradient share kernels with what stands around them: `compiler/blocks.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.pipeline import run_pass
from gradloom.ir.graph import Graph

SIZES = [((2, 3, 8, 6), 2), ((1, 2, 9, 7), (3, 2)), ((2, 1, 6), 3), ((3, 2, 4, 4, 2), 2)]


def _activated(x: Any, bias: Any) -> Any:
    return gl.relu(x + bias)


def _curved(x: Any, bias: Any) -> Any:
    return gl.tanh(gl.square(x) - bias) * x


@pytest.mark.campaign(3)
@pytest.mark.parametrize("made", [_activated, _curved])
@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_values_and_gradients_are_those_of_the_interpreter(
    made: Any, shape: tuple[int, ...], size: Any
) -> None:
    rng = np.random.default_rng(3)
    ones = (1,) * (len(shape) - 2)
    x = gl.placeholder(shape, name="x")
    bias = gl.placeholder((shape[1], *ones), name="b")
    pooled = gl.nn.max_pool(made(x, bias), size) + gl.nn.avg_pool(made(x, bias), size)
    loss = gl.sum(gl.sin(pooled))
    results = [pooled, *gl.grad(loss, [x, bias])]
    values = [rng.normal(size=t.shape).astype(np.float32) for t in (x, bias)]
    values[0].flat[::5] = 0.5  # equal winners
    computed = gl.function([x, bias], results)(*values)
    feeds = dict(zip((x, bias), values, strict=True))
    for got, want in zip(computed, [t.eval(feeds) for t in results], strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def test_a_network_stores_no_activation_of_full_size() -> None:
    x = gl.placeholder(("B", 4, 8, 8), name="x")
    w = gl.placeholder((16, 4, 3, 3), name="w")
    b = gl.placeholder((16,), name="b")
    y = gl.nn.max_pool2d(gl.relu(gl.nn.conv2d(x, w, padding="same") + b[:, None, None]), 2)
    step = gl.function([x, w, b], gl.grad(gl.sum(y * y), [w, b]))
    step(*(np.ones(shape, np.float32) for shape in ((2, 4, 8, 8), (16, 4, 3, 3), (16,))))
    full = [
        buffer
        for buffer in step.program.buffers
        if buffer.kind == "temporary" and str(buffer.type.size) == "1024*B"
    ]
    dtypes = sorted(str(buffer.type.dtype) for buffer in full)
    assert dtypes == ["f32", "f32"]  # the product, and its gradient


def test_what_others_read_stays() -> None:
    """A value that is a result, or read by what takes no blocks, is made in its own axes."""
    x = gl.placeholder((2, 3, 4, 4), name="x")
    y = gl.exp(x)
    z = gl.relu(y - 1.0)
    results = [gl.nn.max_pool2d(z, 2), gl.sum(z, axis=1), y]
    value = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    for got, tensor in zip(gl.function([x], results)(value), results, strict=True):
        np.testing.assert_allclose(got, tensor.eval({x: value}), rtol=1e-5, atol=1e-6)


def test_masks_meet_only_where_both_choose_zero() -> None:
    """where(a, where(b, x, 0), c) keeps its c."""
    x = gl.placeholder((1, 1, 4, 4), name="x")
    pool = gl.sum(gl.nn.max_pool2d(x, 2) * 3.0)
    for other in (0.0, -0.0, 2.0):
        result = gl.where(x > 0, gl.grad(pool, x), other)
        value = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
        want = result.eval({x: value})
        got = gl.function([x], result)(value)
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


def test_windows_that_overlap_stay() -> None:
    x = gl.placeholder((1, 2, 6, 6), name="x")
    y = gl.nn.max_pool2d(gl.exp(x), 3, stride=2)
    graph = Graph("overlapping", [x], [y])
    assert run_pass(graph, "blocks") is graph
