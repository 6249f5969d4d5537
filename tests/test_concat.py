"""Concats: sums of slices' gradients become them, and kernels write straight into their parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.pipeline import run_pass
from gradloom.ir.dims import evaluate, maximum, minimum, never_negative, symbol
from gradloom.ir.graph import Graph
from gradloom.ir.ops.slicing import embed
from gradloom.ir.program import Launch, Program, walk
from gradloom.ir.tensor import Tensor

NumpyArray = np.ndarray[Any, Any]
Read = Callable[[Tensor], Sequence[Tensor]]


def whole(rng: np.random.Generator, *shape: int) -> NumpyArray:
    """Small integers as floats: what is added and multiplied here has no rounding."""
    return rng.integers(-3, 4, shape).astype("float32")


def copies(program: Program) -> int:
    """How many copy kernels a call launches, each step of a loop counted once."""
    steps = [step for step in walk(program.steps) if isinstance(step, Launch)]
    return sum(step.kernel.startswith("copy") for step in steps)


def ops(graph: Graph) -> Counter[str]:
    return Counter(node.op.name for node in graph.walk())


def check(
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    feeds: Sequence[NumpyArray],
    most_copies: int | None = None,
) -> None:
    """Compiled, fused or not, is bit for bit what the interpreter says of the graph as built."""
    named = dict(zip(inputs, feeds, strict=True))
    for fusion in (True, False):
        function = gl.function(list(inputs), list(outputs), fusion=fusion)
        for found, output in zip(function(*feeds), outputs, strict=True):
            np.testing.assert_array_equal(found, output.eval(named))
        if most_copies is not None:
            assert copies(function.program) <= most_copies


# --- sums that are concats ------------------------------------------------------------------------


def gradient(read: Read, *shape: Any) -> tuple[Graph, Tensor]:
    """The graph of the gradient of Σ weight · part by what the parts are read from."""
    x = gl.placeholder(shape, name="x")
    loss = sum((gl.sum(part * part * (i + 1)) for i, part in enumerate(read(x))), gl.zeros(()))
    return Graph("g", [x], [gl.grad(loss, x)]), x


READS: dict[str, tuple[Read, tuple[Any, ...], int]] = {
    "split": (lambda x: gl.split(x, 4, axis=1), ("B", 8), 4),
    "split by name": (lambda x: gl.split(x, 3, axis=0), ("3*N", 2), 3),
    "out of order": (lambda x: [x[4:], x[:1], x[1:4]], (6, 2), 3),
    "with gaps": (lambda x: [x[:, 5:6], x[:, 1:3]], ("B", 8), 5),
    "entries": (gl.unstack, (5, 2), 5),
    "named halves": (lambda x: [x[: x.shape[0] - 2], x[x.shape[0] - 2 :]], ("N+2", 2), 2),
    "behind a name": (lambda x: [x[-1:], x[-3:-1]], ("N+3", 2), 3),
    "all but the last": (lambda x: [x[:-1], x[-1:]], ("N", 2), 2),
    "where names cut": (lambda x: gl.split(x, [1, 3]), ("N", 2), 3),
    "an empty slice": (lambda x: [x[:2], x[2:2], x[2:]], (5, 2), 2),
}


@pytest.mark.campaign(3)
@pytest.mark.parametrize(("read", "shape", "parts"), READS.values(), ids=READS)
def test_gradient_of_slices_is_one_concat(read: Read, shape: tuple[Any, ...], parts: int) -> None:
    graph, x = gradient(read, *shape)
    function = gl.compile(graph)
    made = function.stages["pieces"]
    assert ops(made)["embed"] == 0
    assert ops(made)["concat"] == 1
    (found,) = (node for node in made.nodes if node.op.name == "concat")
    assert len(found.operands) == parts
    for size in (0, 1, 4):
        value = whole(np.random.default_rng(size), *evaluated(x.shape, size))
        np.testing.assert_array_equal(function(value), graph.outputs[0].eval({x: value}))


def evaluated(shape: Sequence[Any], size: int) -> list[int]:
    return [evaluate(n, {"B": size, "N": size}) for n in shape]


def test_never_negative() -> None:
    """What is said of all sizes holds for each."""
    random = Random(0)
    sizes = [symbol("B"), symbol("N"), 0, 1, 3]
    said = 0
    for _ in range(400):
        made: list[Any] = list(sizes)
        for _ in range(4):
            a, b = random.choices(made, k=2)
            made.append(random.choice([minimum(a, b), maximum(a, b), a - b, a + b]))
        values = [evaluate(made[-1], {"B": b, "N": n}) for b in range(9) for n in range(9)]
        if never_negative(made[-1]):
            said += 1
            assert min(values) >= 0, made[-1]
    assert said > 100
    n = symbol("N")
    assert never_negative(minimum(3, n) - minimum(1, n))
    assert maximum(n - minimum(3, n), 0) == n - minimum(3, n)
    assert not never_negative(n - 1)


def laid(x: Tensor, start: int, size: int) -> Tensor:
    """x from `start` on among zeros: the gradient by what x is a slice of."""
    return embed(x, starts=(start,), steps=(1,), shape=(size,))


def test_sums_nested_either_way() -> None:
    """Pieces and at most one other chain of terms, however they are nested, in any order."""
    random = Random(3)
    for _ in range(40):
        cuts = sorted(random.sample(range(11), random.randint(2, 5)))
        xs = [gl.placeholder((b - a,), name=f"x{a}") for a, b in pairwise(cuts)]
        t = gl.placeholder((10,), name="t")
        terms = [laid(x, a, 10) for x, a in zip(xs, cuts, strict=False)]
        if random.random() < 0.5:
            terms.append(gl.absolute(t))
        random.shuffle(terms)
        while len(terms) > 1:
            i = random.randrange(len(terms) - 1)
            terms[i : i + 2] = [terms[i] + terms[i + 1]]
        graph = Graph("g", [*xs, t], terms)
        found = ops(run_pass(graph, "pieces"))
        assert (found["embed"], found["concat"]) == ((0, 1) if len(xs) > 1 else (1, 0))
        rng = np.random.default_rng(0)
        feeds = {x: rng.normal(size=x.shape).astype("float32") for x in (*xs, t)}  # type: ignore[arg-type]
        made = run_pass(graph, "pieces").outputs[0].eval(feeds)
        np.testing.assert_array_equal(made, graph.outputs[0].eval(feeds))
        np.testing.assert_array_equal(gl.compile(graph)(*feeds.values()), made)


STAYS: dict[str, Read] = {
    "an entry twice": lambda x: [x[:3], x[2:]],
    "a slice twice": lambda x: [x[:2], x[:2] * 1.0 + x[2:4]],
    "every other": lambda x: [x[::2], x[1::2]],
    "cut along two axes": lambda x: [x[:2, :1], x[2:, :1]],
    "rows and columns": lambda x: [x[:2], x[:, :1]],
    "one": lambda x: [x[:2]],
}


@pytest.mark.campaign(2)
@pytest.mark.parametrize("read", STAYS.values(), ids=STAYS)
def test_what_stays_a_sum_is_right(read: Read) -> None:
    graph, x = gradient(read, 5, 2)
    value = whole(np.random.default_rng(0), 5, 2)
    np.testing.assert_array_equal(gl.compile(graph)(value), graph.outputs[0].eval({x: value}))


def test_overlapping_slices_are_added() -> None:
    graph, x = gradient(lambda x: [x[:3], x[2:]], 5)
    assert ops(gl.compile(graph).stages["pieces"])["concat"] == 0
    np.testing.assert_array_equal(graph.outputs[0].eval({x: np.ones(5, "f4")}), [2, 2, 6, 4, 4])


def test_terms_keep_their_order() -> None:
    """(a + t) + (b + u) has no concat: at a's entries t would meet u first."""
    a, b = gl.placeholder((2,), name="a"), gl.placeholder((3,), name="b")
    t, u = gl.placeholder((5,), name="t"), gl.placeholder((5,), name="u")
    total = (laid(a, 0, 5) + t) + (laid(b, 2, 5) + u)
    function = gl.function([a, b, t, u], total)
    assert ops(function.stages["pieces"])["concat"] == 0
    feeds = [np.full(x.shape, n, "f4") for x, n in ((a, 1), (b, 1), (t, 2**25), (u, -(2**25)))]  # type: ignore[arg-type]
    np.testing.assert_array_equal(function(*feeds), [0, 0, 0, 0, 0])


def test_infinite_and_halves() -> None:
    """Zeros change nothing, whatever stands there; nor do casts come between halves."""
    x = gl.placeholder((6,), "float16", name="x")
    parts = gl.split(x, 3)
    loss = gl.sum(gl.exp(parts[0])) + gl.sum(gl.sqrt(parts[1])) + gl.sum(parts[2] * parts[2])
    function = gl.function([x], gl.grad(loss, x))
    assert ops(function.stages["pieces"])["concat"] == 1
    value = np.array([np.inf, 1, -1, 4, np.nan, 300], "float16")
    found = function(value)
    expected = np.array([np.inf, np.e, np.nan, 0.25, np.nan, 600], "float16")
    np.testing.assert_array_equal(found, expected)


def test_unrolled_steps_are_one_concat() -> None:
    x = gl.placeholder((60, 2), name="x")
    h = gl.zeros(2)
    for row in gl.unstack(x):
        h = h * 0.5 + row
    function = gl.function([x], gl.grad(gl.sum(h * h), x))
    assert ops(function.stages["pieces"])["concat"] == 1
    assert ops(function.stages["pieces"])["embed"] == 0
    found = function(np.ones((60, 2), "f4"))
    np.testing.assert_allclose(found[-4:, 0], 4 * 0.5 ** np.arange(3, -1, -1.0), 1e-6)


# --- parts written in place -----------------------------------------------------------------------


def test_no_copies() -> None:
    rng = np.random.default_rng(0)
    x = gl.placeholder(("B", 4), name="x")
    w = gl.placeholder((4, 3), name="w")
    y = x @ w
    outputs = {
        "kernels": gl.concat([x * 2, y + 1, y], 1),
        "sums": gl.stack([gl.sum(x * 3, 1), gl.max(x, 1)], 0),
        "columns": gl.stack([gl.sum(x * 3, 1), gl.max(x, 1)], 1),
        "nested": gl.concat([gl.concat([x + 1, x + x], 0), x * 5, x - 1], 0),
        "an input": gl.concat([x, x + 3], 1),
        "twice": gl.stack([x - 3, x - 3], 1),
        "reshaped": gl.concat([gl.reshape(x * x, (-1,)), gl.sum(x, 1)], 0),
        "read before": gl.concat([y, gl.tanh(y * 0) @ w[:3]], 1),
    }
    allowed = {"an input": 1, "twice": 1}
    for name, output in outputs.items():
        for batch in (0, 1, 5):
            feeds = [whole(rng, batch, 4), whole(rng, 4, 3)]
            check([x, w], [output], feeds, allowed.get(name, 0))


def drawn(random: Random, leaves: Sequence[Tensor], depth: int) -> Tensor:
    """A [B, n] of concats, slices, products and element-wise kernels."""
    kind = random.choice(["leaf", "kernel", "concat", "concat", "slice", "product"])
    if depth == 0 or kind == "leaf":
        return random.choice(leaves)
    x = drawn(random, leaves, depth - 1)
    n: Any = x.shape[1]
    if kind == "kernel":
        return random.choice([x * 2, x - 1, -x, x + gl.sum(x, 1)[:, None]])
    if kind == "product":
        return x @ gl.astype(gl.reshape(gl.arange(n * 2), (n, 2)) % 3 - 1, "float64")
    if kind == "slice":
        start = random.randint(0, n)
        return x[:, start : random.randint(start, n)]
    parts = [x, *(drawn(random, leaves, depth - 1) for _ in range(random.randint(1, 2)))]
    parts += random.sample(parts, random.randint(0, 1))
    return gl.concat([part * random.choice([1, 1, 3]) for part in parts], 1)


def check_drawn(seed: int) -> None:
    """Drawn concats and their gradient, in float64: the numbers stay whole."""
    random, rng = Random(seed), np.random.default_rng(seed)
    widths = [random.choice([0, 1, 2, 17]) for _ in range(3)]
    leaves = [gl.placeholder(("B", n), "float64", f"x{i}") for i, n in enumerate(widths)]
    outputs = [drawn(random, leaves, 3) for _ in range(2)]
    outputs.append(gl.concat([outputs[0] + 1, outputs[1] * 2, outputs[0], *leaves], 1))
    outputs += gl.grad(gl.sum(outputs[-1] * outputs[-1]), leaves)
    for batch in (1, 4):
        check(leaves, outputs, [whole(rng, batch, n).astype("f8") for n in widths])


@pytest.mark.campaign(3)
@pytest.mark.parametrize("seed", range(8))
def test_drawn_concats(seed: int) -> None:
    check_drawn(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 200))
def test_many_drawn_concats(seed: int) -> None:
    check_drawn(seed)
