"""The CUDA source of whole programs, in the simulator, equals what the CPU computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest

import gradloom as gl
from gradloom.frontends.function import Function

from .cuda_device import simulated
from .cuda_simulator import Order

Built = tuple[Function, Callable[[int], dict[str, Any]], list[gl.Parameter]]


def naive_softmax() -> Built:
    rng = np.random.default_rng(0)
    x = gl.placeholder(("B", 6), name="x")
    t = gl.placeholder(("B",), "int64", name="t")
    w = gl.parameter(rng.normal(size=(6, 5)).astype("float32"), name="w")
    p = gl.exp(x @ w) / gl.sum(gl.exp(x @ w), axis=1, keepdims=True)
    loss = -gl.mean(gl.log(gl.take_along_axis(p, t[:, None], axis=1)))
    step = gl.function([x, t], loss, updates={w: w - 0.1 * gl.grad(loss, w)})
    return step, lambda b: {"x": rng.normal(size=(b, 6)), "t": rng.integers(0, 5, b)}, [w]


def perceptron() -> Built:
    rng = np.random.default_rng(1)
    sizes = (7, 9, 4)
    x = gl.placeholder(("B", 7), name="x")
    t = gl.placeholder(("B",), "int64", name="t")
    h: Any = x
    parameters: list[gl.Parameter] = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        w = gl.parameter(rng.normal(size=(a, b)).astype("float32") * 0.5, name=f"w{i}")
        c = gl.parameter(np.zeros(b, "float32"), name=f"b{i}")
        parameters += [w, c]
        h = h @ w + c
        if i == 0:
            h = gl.tanh(h)
    loss = -gl.mean(gl.take_along_axis(gl.log_softmax(h), t[:, None], axis=1))
    grads = gl.grad(loss, parameters)
    updates = {p: p - 0.1 * g for p, g in zip(parameters, grads, strict=True)}
    step = gl.function([x, t], [loss, gl.argmax(h, axis=1)], updates=updates)
    return step, lambda b: {"x": rng.normal(size=(b, 7)), "t": rng.integers(0, 4, b)}, parameters


def recurrence() -> Built:
    rng = np.random.default_rng(2)
    x = gl.placeholder(("T", 3), name="x")
    w = gl.parameter(rng.normal(size=(3, 4)).astype("float32"), name="w")

    def body(carry: Any, row: Any) -> tuple[Any, Any]:
        new = gl.tanh(carry * 0.5 + row @ w)
        return new, gl.sum(new * carry)

    final, ys = gl.scan(body, gl.zeros((4,)), x)
    loss = gl.sum(final) + gl.sum(ys * ys)
    step = gl.function([x], [loss, ys], updates={w: w - 0.1 * gl.grad(loss, w)})
    return step, lambda b: {"x": rng.normal(size=(b, 3))}, [w]


def every_kind() -> Built:
    rng = np.random.default_rng(3)
    x = gl.placeholder(("B", 4), name="x")
    t = gl.placeholder(("B",), "int64", name="t")
    table = gl.parameter(rng.normal(size=(6, 4)).astype("float32"), name="table")
    rows = gl.take(table, t, axis=0)
    noise = gl.random.uniform(gl.random.key(7), x.shape)
    square = gl.matmul(x.T, x) + 4.0 * gl.constant(np.eye(4, dtype="float32"))
    solved = gl.solve(square, gl.transpose(rows))
    y = gl.sum(solved * gl.transpose(noise)) + gl.sum(x[::2, 1:] * rows[::2, :3])
    step = gl.function([x, t], y, updates={table: table - 0.1 * gl.grad(y, table)})
    return step, lambda b: {"x": rng.normal(size=(b, 4)), "t": rng.integers(0, 6, b)}, [table]


def image_network() -> Built:
    rng = np.random.default_rng(4)
    x = gl.placeholder(("B", 2, 4, 5), name="x")
    w = gl.parameter(rng.normal(size=(4, 1, 3, 2)).astype("float32"), name="w")
    b = gl.parameter(rng.normal(size=4).astype("float32"), name="b")
    y = gl.relu(gl.nn.conv2d(x, w, stride=(1, 2), padding=1, groups=2) + b[:, None, None])
    z = gl.nn.max_pool2d(y, 2, 1) + gl.nn.avg_pool2d(y, 2, 1)
    loss = gl.sum(gl.tanh(z))
    grads = gl.grad(loss, [w, b])
    updates = {p: p - 0.1 * g for p, g in zip((w, b), grads, strict=True)}
    step = gl.function([x], [loss, z], updates=updates)
    return step, lambda b: {"x": rng.normal(size=(b, 2, 4, 5))}, [w, b]


def writes() -> Built:
    rng = np.random.default_rng(4)
    x = gl.placeholder(("B", 4), name="x")
    t = gl.placeholder(("B",), "int64", name="t")
    table = gl.parameter(rng.normal(size=(6, 4)).astype("float32"), name="table")
    joined = gl.concat([x, gl.flip(x, 0) * 2.0, table[1:3]])
    parts = [table.at[t].set(x), table.at[t, ::2].max(x[:, 1:3]), table.at[1:4, 0].add(2.0)]
    y = sum(gl.sum(part * part) for part in [*parts, table.at[t].add(x)]) + gl.sum(joined**2)
    window = gl.scan(
        lambda carry, row: (gl.concat([carry[1:], row[:1]]), gl.max(carry)), gl.zeros(3), x
    )
    outputs = [y, joined, *parts, gl.grad(y, x), *window]
    step = gl.function([x, t], outputs, updates={table: table - 0.1 * gl.grad(y, table)})
    return step, lambda b: {"x": rng.normal(size=(b, 4)), "t": rng.integers(0, 6, b)}, [table]


BUILDS = [naive_softmax, perceptron, recurrence, every_kind, image_network, writes]


@pytest.mark.campaign(6)
@pytest.mark.parametrize(("order", "batches"), [("forward", (0, 5)), ("reverse", (1,))])
@pytest.mark.parametrize("build", BUILDS)
def test_simulated_program_equals_cpu(
    build: Callable[[], Built], order: Order, batches: Sequence[int]
) -> None:
    check(build, order, batches)


@pytest.mark.slow
@pytest.mark.parametrize(("order", "batches"), [("forward", (1, 2, 9)), ("reverse", (0, 3, 5))])
@pytest.mark.parametrize("build", BUILDS)
def test_more_batches(build: Callable[[], Built], order: Order, batches: Sequence[int]) -> None:
    check(build, order, batches)


def check(build: Callable[[], Built], order: Order, batches: Sequence[int]) -> None:
    step, draw, parameters = build()
    on_device = simulated(step, order)
    assert gl.parse_program(str(on_device.program)) == on_device.program
    for batch in batches:
        feeds = {
            name: np.asarray(value, "int64" if name == "t" else "float32")
            for name, value in draw(batch).items()
        }
        before = [parameter.value for parameter in parameters]
        found = on_device(list(feeds.values()), parameters)
        after_device = [parameter.value for parameter in parameters]
        for parameter, value in zip(parameters, before, strict=True):
            parameter.value = value
        result: Any = step(**feeds)
        expected = cast("list[Any]", result if isinstance(result, list) else [result])
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, 2e-5, 1e-5)
        for parameter, value in zip(parameters, after_device, strict=True):
            np.testing.assert_allclose(value, parameter.value, 2e-5, 1e-5)
