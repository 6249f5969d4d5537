# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""memory_budget: what meets a budget meets larger ones, the least that is named is met, and the
kernels of the way back make again what takes too much; the bits stay."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.fuse import fuse
from gradloom.compiler.lean import lean
from gradloom.compiler.nominal import nominal
from gradloom.ir.errors import ArgumentError
from gradloom.ir.graph import Graph
from gradloom.ir.verify import verify

from .test_budget import drawn_network

F32 = np.float32
Network = Callable[..., tuple[gl.Function, list[Any]]]  # with what it is fed


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(F32)


def weights(count: int, size: int) -> list[Any]:
    return [gl.parameter(draw(size, size, seed=i) / size**0.5, f"w{i}") for i in range(count)]


def gated(value: Any, weight: Any) -> Any:
    """The way back reads four values of it, which are all made of one product."""
    return gl.tanh(value @ weight) * gl.sigmoid(value @ weight)


def gated_layers(count: int, layer: Any = gated, **options: Any) -> tuple[gl.Function, list[Any]]:
    ws = weights(count, 32)
    value = x = gl.placeholder((64, 32), name="x")
    for w in ws:
        value = layer(value, w)
    return gl.function([x], gl.grad(gl.sum(value**2), ws), **options), [draw(64, 32)]


def two(**options: Any) -> tuple[gl.Function, list[Any]]:
    return gated_layers(2, **options)


def normal(value: Any) -> Any:
    away = value - gl.mean(value, 1, keepdims=True)
    return away / gl.sqrt(gl.mean(away**2, 1, keepdims=True) + 1e-5)


def descent(**options: Any) -> tuple[gl.Function, list[Any]]:
    """A step that changes nothing in the end, so that it can be run again."""
    ws = weights(4, 24)
    value = x = gl.placeholder((40, 24), name="x")
    for w in ws:
        value = value + normal(gl.gelu(value @ w))
    loss = gl.mean(value**2)
    updates = dict(zip(ws, ws, strict=True)) | {ws[0]: ws[0] - 0.0 * gl.grad(loss, ws[0])}
    return gl.function([x], [loss, *gl.grad(loss, ws)], updates, **options), [draw(40, 24)]


def attention(**options: Any) -> tuple[gl.Function, list[Any]]:
    """Heads of attention, residuals, and masks of random bits."""
    ws = weights(4, 24)
    value = x = gl.placeholder((24, 24), name="x")
    for i, (q, k) in enumerate(zip(ws[::2], ws[1::2], strict=True)):
        scores = gl.softmax((value @ q) @ (value @ k).T / 5, 1)
        key = gl.random.fold_in(gl.random.key(3), i)
        value = value + gl.nn.dropout(gl.sin(scores @ value), key, 0.25)
    loss = gl.sum(gl.exp(-value))
    return gl.function([x], [loss, *gl.grad(loss, [x, *ws])], **options), [draw(24, 24)]


def loop(**options: Any) -> tuple[gl.Function, list[Any]]:
    w, u = weights(2, 12)
    x = gl.placeholder((50, 8, 12), name="x")

    def step(h: Any, row: Any) -> Any:
        return gated(gl.concatenate([h, row], 1), gl.concatenate([w, u])), h

    last, rows = gl.scan(step, gl.zeros((8, 12)), x)
    loss = gl.sum(last**2) + gl.mean(gl.exp(rows))
    return gl.function([x], [loss, *gl.grad(loss, [w, u])], **options), [draw(50, 8, 12)]


def branches(**options: Any) -> tuple[gl.Function, list[Any]]:
    """Values that are read near and far, in forms that no kernel makes again."""
    ws = weights(3, 20)
    value = x = gl.placeholder((20, 20), name="x")
    first = gl.tanh(x @ ws[0])
    for w in ws:
        value = gl.cumsum(gl.softplus(value @ w), 1) / 20 + first * value.T
        value = gl.where(value > 1, gl.log(1 + value * value), gl.sort(value, 0))
    loss = gl.mean(value) + gl.logsumexp(first, (0, 1))
    return gl.function([x], [loss, *gl.grad(loss, [x, *ws])], **options), [draw(20, 20)]


def least_of(network: Network) -> int:
    with pytest.raises(ArgumentError) as caught:
        network(memory_budget=1)
    (found,) = re.findall(r"and (\d+) at least", str(caught.value))
    return int(found)


@pytest.mark.campaign(2)
@pytest.mark.parametrize("quarters", [(0, 2), (1, 3)])
@pytest.mark.parametrize("network", [two, descent, attention, loop, branches])
def test_what_meets_a_budget_meets_larger_ones(network: Network, quarters: tuple[int, ...]) -> None:
    plain, feeds = network()
    wanted = plain(*feeds)
    total, least = plain.memory().total, least_of(network)
    assert least < total
    with pytest.raises(ArgumentError, match=f"and {least} at least"):
        network(memory_budget=least - 1)
    for budget in (*(least + (total - least) * n // 4 for n in quarters), total - 1):
        small, _ = network(memory_budget=budget)
        assert small.memory().total == small.recomputed.reached <= budget
        if budget < total - 1:
            for a, b in zip(small(*feeds), wanted, strict=True):
                np.testing.assert_array_equal(a, b)


def test_as_little_as_with_checkpoints_by_hand() -> None:
    """And with as few operations more: never every product again, and where there is room for one
    value more than few layers take, none."""
    for count, more, products in ((2, 0, True), (2, 64 * 32 * 4, False), (16, 0, True)):
        by_hand, feeds = gated_layers(count, gl.checkpoint(gated))
        budget = by_hand.memory().total + more
        small, _ = gated_layers(count, memory_budget=budget)
        told = small.recomputed
        assert 0 < told.added < 0.4 * told.flops
        assert "sigmoid" in str(told) and ("matmul" in str(told)) == products
        plain, _ = gated_layers(count)
        for a, b in zip(small(*feeds), plain(*feeds), strict=True):
            np.testing.assert_array_equal(a, b)


def test_values_of_few_operations_cost_next_to_nothing() -> None:
    """Half is met with no product more: of 15 functions of one, 4 make 4 of 5 of what is kept."""
    plain, _ = gated_layers(16)
    small, _ = gated_layers(16, memory_budget=plain.memory().total * 11 // 20)
    assert small.recomputed.added < 0.15 * small.recomputed.flops
    assert "matmul" not in str(small.recomputed)


def test_segments_of_a_named_length() -> None:
    """What is told is what can be asked for: a number of steps, not the root of a name."""

    def build(**options: Any) -> gl.Function:
        w = gl.parameter(draw(12, 12) / 4, "w")
        x = gl.placeholder(("T", 8, 12), name="x")
        last, _ = gl.scan(lambda h, row: (gl.tanh(h @ w + row), None), gl.zeros((8, 12)), x)
        return gl.function([x], gl.grad(gl.sum(last**2), w), **options)

    plain = build()
    small = build(memory_budget=plain.memory(T=100).total // 2, sizes={"T": 100})
    assert small.recomputed.segments == "sqrt" and small.recomputed.sizes == ((10,),)
    assert "loops keep the carries of segments of 10 steps" in str(small.recomputed)
    for steps in (0, 1, 9, 10, 37, 100):
        x = draw(steps, 8, 12)
        np.testing.assert_array_equal(small(x), plain(x))


def split_graph(function: gl.Function) -> Graph:
    names = list(function.stages)
    return function.stages[names[names.index("fuse") - 1]]


@pytest.mark.campaign(2)
@pytest.mark.parametrize("products", [False, True])
def test_drawn_networks_keep_their_bits(products: bool) -> None:
    """The graph with clones has the same values, before fusion and behind it."""
    clones = 0
    for seed in range(4):
        function, _ = drawn_network(seed)
        graph = split_graph(function)
        made, again = lean(graph, products, nominal)
        verify(made, "lean")
        verify(fused := fuse(made, side_by_side=False), "fuse")
        clones += len(again)
        feeds = {t: draw(24, 24, seed=seed) / 3 for t in (*graph.inputs, *graph.parameters)}
        wanted, *found = (gl.evaluate(each, feeds) for each in (graph, made, fused))
        for values in found:
            np.testing.assert_equal(values, wanted)
    assert clones > 10


def test_what_lives_briefly_is_read_as_before() -> None:
    """Forwards alone nothing is far, and no kernel makes anything again."""
    value = x = gl.placeholder((8, 8), name="x")
    for w in weights(4, 8):
        value = gated(value, w)
    assert lean(split_graph(gl.function([x], value)), True, nominal)[1] == []
