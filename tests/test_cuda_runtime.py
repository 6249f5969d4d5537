# pyright: standard
"""The CUDA runtime without a GPU: its error, and whole calls on a simulated device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import CudaUnavailableError, IndexRangeError
from gradloom.runtime import cuda

from .cuda_device import simulated


def test_training_steps_on_the_device_equal_the_cpu() -> None:
    rng = np.random.default_rng(0)
    x = gl.placeholder(("B", 6), name="x")
    t = gl.placeholder(("B",), "int64", name="t")
    w = gl.parameter(rng.normal(size=(6, 5)).astype("float32"), name="w")
    p = gl.exp(x @ w) / gl.sum(gl.exp(x @ w), axis=1, keepdims=True)
    loss = -gl.mean(gl.log(gl.take_along_axis(p, t[:, None], axis=1)))
    step = gl.function([x, t], loss, updates={w: w - 0.1 * gl.grad(loss, w)})
    on_device = simulated(step)
    start = w.value
    feeds = [(rng.normal(size=(b, 6)).astype("float32"), rng.integers(0, 5, b)) for b in (4, 1, 4)]
    losses = [step(*feed) for feed in feeds]
    after = w.value
    w.value = start
    for feed, expected in zip(feeds, losses, strict=True):
        np.testing.assert_allclose(on_device(feed, [w])[0], expected, 2e-5, 1e-5)
    np.testing.assert_allclose(w.value, after, 2e-5, 1e-5)
    assert len(on_device.instances) == 2  # memory is kept for each shape


def test_a_failed_call_changes_no_parameter() -> None:
    x = gl.placeholder((3,), "int64", name="x")
    w = gl.parameter(np.ones((4, 2), "float32"), name="w")
    loss = gl.sum(gl.take(w, x, axis=0))
    step = gl.function([x], loss, updates={w: w - gl.grad(loss, w)})
    on_device = simulated(step)
    with pytest.raises(IndexRangeError, match="9"):
        on_device([np.array([0, 9, 1])], [w])
    assert (w.value == 1).all()
    (total,) = on_device([np.array([0, 3, 1])], [w])
    assert total == 6 and w.value.sum() == 2


def test_a_size_that_would_be_negative() -> None:
    x = gl.placeholder(("B",), name="x")
    fewer = simulated(gl.function([x], gl.zeros((x.shape[0] - 3,))))
    with pytest.raises(gl.ShapeError, match="B-3 would be -1"):
        fewer([np.ones(2, "float32")])


@pytest.mark.campaign(2)
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_loops_and_host_steps(count: int) -> None:
    rng = np.random.default_rng(2)
    x = gl.placeholder(("T", 3), name="x")
    w = gl.parameter(rng.normal(size=(3, 3)).astype("float32"), name="w")

    def body(carry: Any, row: Any) -> tuple[Any, Any]:
        new = gl.tanh(carry * 0.5 + row @ w)
        return new, gl.sum(new * carry)

    final, ys = gl.scan(body, gl.zeros((3,)), x)
    square = w @ w.T + 2.0 * gl.constant(np.eye(3, dtype="float32"))
    loss = gl.sum(gl.solve(square, 1.5 * final[:, None])) + gl.sum(ys)
    step = gl.function([x], [loss, ys], updates={w: w - 0.1 * gl.grad(loss, w)})
    on_device = simulated(step)
    start = w.value
    feed = rng.normal(size=(count, 3)).astype("float32")
    expected, after = step(feed), w.value
    w.value = start
    for a, b in zip(on_device([feed], [w]), expected, strict=True):
        np.testing.assert_allclose(a, b, 2e-5, 1e-5)
    np.testing.assert_allclose(w.value, after, 2e-5, 1e-5)


def test_without_a_gpu_one_error_says_what_was_found() -> None:
    try:
        cuda.require_gpu()
    except CudaUnavailableError as error:
        assert isinstance(error, RuntimeError)
        assert 'target="cuda" needs an NVIDIA GPU' in str(error)
        x = gl.placeholder((3,), name="x")
        with pytest.raises(CudaUnavailableError):
            gl.function([x], x + 1, target="cuda")
        return
    pytest.skip("there is a GPU")
