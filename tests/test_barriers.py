# pyright: basic
"""Which steps wait for which: never too few barriers, and none where threads keep to their rows."""

from __future__ import annotations

import itertools
from random import Random

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.graph import Graph
from gradloom.ir.units import box
from gradloom.runtime import executable
from gradloom.runtime.executable import Executable

from .graphs import Seeded, feeds_of, graph_of_seed
from .loop_bodies import World, build, draw_loop
from .loop_ways import Looped
from .staggered import staggered
from .test_loops_campaign import feeds_of as loop_feeds
from .test_loops_campaign import with_derivatives


def network(sizes=(12, 40, 24, 5), momentum=False):
    """A training step; weights as arrays, and the function that makes it anew."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype("f4") * 0.2 for s in itertools.pairwise(sizes)]
    arrays += [np.zeros(n, "f4") for n in sizes[1:]]
    parameters = [gl.parameter(a) for a in arrays]
    x = gl.placeholder(("B", sizes[0]), name="x")
    t = gl.placeholder(("B",), "int64", name="t")
    h, layers = x, len(sizes) - 1
    for n in range(layers):
        h = h @ parameters[n] + parameters[layers + n]
        h = gl.tanh(h) if n + 1 < layers else h
    rows = gl.take_along_axis(gl.log_softmax(h, axis=1), t[:, None], axis=1)
    loss = -gl.mean(rows)
    gradients = gl.grad(loss, parameters)
    updates = {p: p - 0.1 * g for p, g in zip(parameters, gradients, strict=True)}
    if momentum:
        for p, g in zip(parameters, gradients, strict=True):
            m = gl.parameter(np.zeros_like(p.value))
            updates |= {m: 0.9 * m + g, p: p - 0.1 * (0.9 * m + g)}
    step = gl.function([x, t], loss, updates=updates, threads=1)
    return step, arrays, parameters


def batch(size, width=12, classes=5):
    rng = np.random.default_rng(size)
    return rng.normal(size=(size, width)).astype("f4"), rng.integers(0, classes, size)


ORDERS = [(0, 1), (1, 0), (0, 1, 2), (2, 1, 0)]


def same(found, wanted):
    return all(a.tobytes() == b.tobytes() for a, b in zip(found, wanted, strict=True))


def compare(program, arrays, about, parameters=()):
    """The results in any order of threads are those of one thread."""
    one = Executable(program, 1)
    start = [p.value for p in parameters]

    def after(results):
        made = [*results, *(p.value for p in parameters)]
        for p, value in zip(parameters, start, strict=True):
            p.value = value
        return made

    wanted = after(one(arrays, parameters))
    loaded = {n: Executable(program, n) for n in (2, 3)}
    for order in ORDERS:
        found = after(staggered(loaded[len(order)], arrays, parameters, order))
        assert same(found, wanted), (about, order)
    return loaded


@pytest.mark.campaign(3)
@pytest.mark.parametrize("size", [1, 7, 32, 33, 100])
@pytest.mark.parametrize("momentum", [False, True])
def test_training_steps(size: int, momentum: bool) -> None:
    step, _, _ = network(momentum=momentum)
    compare(step.program, list(batch(size)), size, step._parameters)


@pytest.mark.parametrize("size", [9, 32, 60])
def test_layers_that_are_shared_out_by_columns(size: int) -> None:
    """Few rows of a wide layer: a thread has columns of it, and all rows of those."""
    step, _, _ = network((12, 64, 70, 5))
    compare(step.program, list(batch(size)), size, step._parameters)


def test_products_that_read_windows() -> None:
    rng = np.random.default_rng(0)
    w = gl.parameter(rng.normal(size=(4, 2, 3, 3)).astype("f4"))
    b = gl.parameter(np.zeros(4, "f4"))
    x = gl.placeholder(("B", 2, 8, 8), name="x")
    h = gl.relu(gl.nn.conv2d(x, w, padding="same") + b[:, None, None])
    loss = gl.mean(gl.square(gl.nn.max_pool2d(h, 2)))
    updates = {p: p - 0.1 * g for p, g in zip((w, b), gl.grad(loss, [w, b]), strict=True)}
    step = gl.function([x], [loss, gl.grad(loss, x)], updates=updates, threads=1)
    compare(step.program, [rng.normal(size=(5, 2, 8, 8)).astype("f4")], "conv", step._parameters)


def test_no_barrier_is_missing_by_chance() -> None:
    """Without those that the sizes decide about the new parameters are others."""
    found: list[list[bytes]] = []
    for order, barriers in (((0, 1), True), ((0, 1), False), ((1, 0), False)):
        step, _, parameters = network()
        loaded = Executable(step.program, 2)
        staggered(loaded, list(batch(32)), step._parameters, order, barriers)
        found.append([p.value.tobytes() for p in parameters])
    assert found[0] != found[1] or found[0] != found[2]


def waiting(function, arrays, threads=2):
    """By run of launches and copies: how many of them wait."""
    loaded = Executable(function.program, threads)
    tiny, executable.TINY = executable.TINY, 0
    try:
        instance = loaded.instance(arrays, function._parameters)
    finally:
        executable.TINY = tiny
    return [sum(instance.numbers[slot] for slot in run.slots) for run in loaded.layout.runs]


def test_rows_stay_with_their_thread() -> None:
    """Three layers and what follows them are one thread's rows to the end."""
    x = gl.placeholder(("B", 16), name="x")
    ws = [gl.placeholder((16, 16), name=f"w{n}") for n in range(3)]
    h = x
    for w in ws:
        h = gl.tanh(h @ w)
    rows = gl.function([x, *ws], gl.softmax(h, axis=1), threads=1)
    arrays = [np.ones((32, 16), "f4"), *[np.ones((16, 16), "f4")] * 3]
    assert waiting(rows, arrays) == [1]  # the first
    odd = [np.ones((37, 16), "f4"), *arrays[1:]]  # the softmax's rows are not the tiles'
    assert waiting(rows, odd) == [2]


@pytest.mark.campaign(3)
@pytest.mark.parametrize("seed", range(10))
def test_random_loops(seed: int) -> None:
    loop = draw_loop(Seeded(seed))
    world = World(loop)
    graph = with_derivatives(world.inputs, build(loop, world, Looped))
    compare(gl.compile(graph).program, loop_feeds(graph, seed), seed)


@pytest.mark.parametrize("seed", range(10))
def test_random_graphs(seed: int) -> None:
    graph = graph_of_seed(seed)
    feeds = feeds_of(graph, seed, (3, 17, 40)[seed % 3])
    arrays = [np.asarray(value) for value in feeds.values()]
    compare(gl.compile(graph).program, arrays, seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many(block: int) -> None:
    for seed in range(1000 + 10 * block, 1010 + 10 * block):
        test_random_loops(seed)
        test_random_graphs(seed)


def test_box_of_flat_indices() -> None:
    """Between the indices of the flat range there is no tighter box along the first axes."""
    random = Random(0)
    for _ in range(300):
        counts = [random.randint(1, 5) for _ in range(random.randint(0, 4))]
        size = int(np.prod(counts, dtype=int))
        first = random.randrange(size)
        end = random.randint(first + 1, size)
        inside = np.array(np.unravel_index(np.arange(first, end), counts or (1,)))
        found = box(counts, first, end)
        assert len(found) == len(counts)
        cut = False
        for (low, high), places in zip(found, inside, strict=False):
            assert low <= places.min() and places.max() < high
            if not cut:
                assert (low, high) == (places.min(), places.max() + 1)
            cut = cut or high - low > 1


def test_a_graph_of_many_launches() -> None:
    """Far more of them than are compared with each other."""
    x = gl.placeholder((200, "B", 4), name="x")
    outputs = [gl.sum(x[n], axis=0) for n in range(200)]
    program = gl.compile(Graph("many", [x], outputs)).program
    assert len(program.kernels) == 2  # one for what starts at 0
    compare(program, [np.ones((200, 40, 4), "f4")], "many")
