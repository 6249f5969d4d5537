"""Whole training programs: one compilation for all batch sizes, text for every stage, gradients of
deep graphs, and the same bits however they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.differentiate import differentiate
from gradloom.ir.graph import Graph
from gradloom.ir.tensor import Tensor
from gradloom.runtime.executable import TINY
from gradloom.runtime.loader import statistics

NumpyArray = np.ndarray[Any, Any]
SIZES = (0, 1, 3, 37, 128, 1000)


def data(rows: int, seed: int = 0) -> tuple[NumpyArray, NumpyArray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 64)).astype(np.float32)
    return x, rng.integers(0, 10, rows)


def start(*shape: int) -> NumpyArray:
    return (np.random.default_rng(3).normal(size=shape) * 0.1).astype(np.float32)


def naive(**options: Any) -> tuple[gl.Function, list[gl.Parameter]]:
    """The script of the README: softmax regression, written as in a lecture."""
    x = gl.placeholder(("B", 64), name="x")
    t = gl.placeholder(("B",), "int64", name="t")
    w = gl.parameter(start(64, 10), name="w")
    p = gl.exp(x @ w) / gl.sum(gl.exp(x @ w), axis=1, keepdims=True)
    loss = -gl.mean(gl.log(gl.take_along_axis(p, t[:, None], axis=1)))
    dw = gl.grad(loss, w)
    return gl.function([x, t], loss, updates={w: w - 0.1 * dw}, **options), [w]


def mlp(**options: Any) -> tuple[gl.Function, list[gl.Parameter]]:
    """A multilayer perceptron with momentum."""
    x = gl.placeholder(("B", 64), name="x")
    t = gl.placeholder(("B",), "int64", name="t")
    names = {"w1": (64, 128), "b1": (128,), "w2": (128, 64), "b2": (64,), "w3": (64, 10)}
    values = [gl.parameter(start(*shape), name=name) for name, shape in names.items()]
    speeds = [gl.parameter(np.zeros(s, np.float32), name=f"v_{n}") for n, s in names.items()]
    w1, b1, w2, b2, w3 = values
    h = gl.relu(x @ w1 + b1)
    h = gl.tanh(h @ w2 + b2)
    rows = gl.log_softmax(h @ w3)[gl.arange(x.shape[0]), t]
    loss = -gl.mean(rows)
    updates: dict[gl.Parameter, Tensor] = {}
    for value, speed, slope in zip(values, speeds, gl.grad(loss, values), strict=True):
        faster = 0.9 * speed - 0.1 * slope
        updates[speed] = faster
        updates[value] = value + faster
    return gl.function([x, t], {"loss": loss, "h": h}, updates=updates, **options), [
        *values,
        *speeds,
    ]


Program = Callable[..., tuple[gl.Function, list[gl.Parameter]]]
by_program = pytest.mark.parametrize("program", [naive, mlp])


def train(program: Program, rows: int, steps: int = 3, **options: Any) -> list[NumpyArray]:
    """All outputs of some steps, then all parameters."""
    step, parameters = program(**options)
    found: list[NumpyArray] = []
    for seed in range(steps):
        result = step(*data(rows, seed))
        found += result.values() if isinstance(result, dict) else [result]
    return [*found, *(parameter.value for parameter in parameters)]


# --- sizes ----------------------------------------------------------------------------------------


@by_program
def test_one_compilation_serves_all_sizes(program: Program):
    step, parameters = program()
    step(*data(5))
    before = statistics()
    for rows in SIZES:
        first = [parameter.value for parameter in parameters]
        wanted: Any = gl.evaluate(step.stages["differentiate"], feeds(step, rows))
        got: Any = step(*data(rows))
        wanted = wanted if program is mlp else [wanted]
        got = got.values() if program is mlp else [got]
        for left, right in zip(got, wanted, strict=True):
            np.testing.assert_allclose(left, right, rtol=2e-5, atol=2e-6)
        if rows == 0:  # the mean of nothing is nan, and so is every parameter afterwards
            for parameter, value in zip(parameters, first, strict=True):
                parameter.value = value
    after = statistics()
    assert (after.compiled, after.loaded_from_disk) == (before.compiled, before.loaded_from_disk)


def feeds(step: gl.Function, rows: int) -> dict[str, Any]:
    """Inputs by name; parameters have their own values."""
    return dict(zip("xt", data(rows), strict=True))


def test_the_next_function_of_the_same_kernels_compiles_none():
    first, _ = naive()
    first(*data(3))
    before = statistics()
    second, _ = naive()
    second(*data(4))
    assert statistics().compiled == before.compiled


def test_parts_of_an_array_share_their_kernels():
    """Where a part starts is a parameter of the kernel, not a number in its text."""
    x = gl.placeholder((40, 5), name="x")
    parts = [gl.placeholder((3,), name=f"p{n}") for n in range(60)]
    rows = gl.unstack(x)
    values = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
    joined = gl.function([x], gl.concat([gl.cumulative_sum(row) for row in rows]))
    assert len(joined.kernels) <= 4  # the first starts at 0
    np.testing.assert_allclose(joined(values), values.cumsum(1).reshape(-1), rtol=1e-5, atol=1e-6)
    stacked = gl.function(parts, gl.stack(parts))
    assert len(stacked.kernels) == 2
    given = [np.full(3, n, "float32") for n in range(60)]
    np.testing.assert_array_equal(stacked(*given), given)
    back = gl.function([x], gl.grad(gl.sum(gl.stack([gl.sin(row) for row in rows]) ** 2), x))
    assert len(back.kernels) < 10
    np.testing.assert_allclose(back(values), np.sin(2 * values), rtol=1e-4, atol=1e-6)


# --- text -----------------------------------------------------------------------------------------


@by_program
def test_every_stage_reads_back(program: Program):
    step, _ = program()
    assert len(step.stages) > 10
    assert any(node.op.name == "gradient" for node in step.graph.nodes)
    for name, graph in {"as built": step.graph, **step.stages}.items():
        again = gl.parse(str(graph))
        assert again == graph, name
        assert str(again) == str(graph), name
        gl.verify(again)
    assert gl.parse_program(str(step.program)) == step.program
    assert str(gl.parse_program(str(step.program))) == str(step.program)


def test_stages_are_in_order_and_change_something():
    step, _ = naive()
    names = list(step.stages)
    assert names[0] == "release"
    assert names.index("stabilise") < names.index("differentiate") < names.index("fuse")
    assert any(name.startswith("stabilise-") for name in names)
    assert all(node.op.kind != "request" for node in step.stages["differentiate"].walk())


def test_training_from_text_is_the_same():
    step, (w,) = naive()
    again = gl.compile(gl.parse(str(step.graph)), parameters={"w": start(64, 10)})
    (other,) = (p for p in again.graph.parameters)
    assert other.type == w.type
    shared = gl.parameter(start(64, 10), name="w")
    third = gl.compile(gl.parse(str(step.graph)), parameters={"w": shared})
    for seed, rows in enumerate([32, 7, 100]):
        batch = data(rows, seed)
        losses = [function(*batch) for function in (step, again, third)]
        assert losses[0].tobytes() == losses[1].tobytes() == losses[2].tobytes()
    assert w.value.tobytes() == shared.value.tobytes()
    assert not np.array_equal(w.value, start(64, 10))


# --- deep graphs ----------------------------------------------------------------------------------


def repeated(depth: int, f: Callable[[Tensor], Tensor]) -> Graph:
    """The gradient of Σ f(f(…f(w)))."""
    w = gl.placeholder((4, 4), "float64", name="w")
    z: Tensor = w
    for _ in range(depth):
        z = f(z)
    return Graph("deep", [w], [gl.grad(gl.sum(z), w)])


MATRIX = np.random.default_rng(0).normal(size=(4, 4)) * 0.5


def scalar(v: Tensor) -> Tensor:
    return gl.tanh(v) * 1.5


def layer(v: Tensor) -> Tensor:
    return gl.tanh(gl.matmul(v, gl.constant(MATRIX)) + v)


def twice_used(v: Tensor) -> Tensor:
    """f(v) = g(v) · g(v): expanded by paths instead of nodes there would be 2ⁿ terms."""
    e = gl.tanh(v)
    return e * e + e


@pytest.mark.parametrize("f", [scalar, layer, twice_used])
def test_deep_composition_stays_linear(f: Callable[[Tensor], Tensor]):
    counts: dict[int, int] = {}
    for depth in (10, 100, 1000):
        graph = differentiate(gl.run_pass(repeated(depth, f), "cse"))
        counts[depth] = len(graph.nodes)
        ops = [node.op.name for node in graph.nodes]
        assert depth - 1 <= ops.count("tanh") <= depth  # the last is asked for its slope alone
        products = ops.count("matmul")
        assert products == (2 * depth if f is layer else 0)
        assert not any(name in ops for name in ("exp", "gradient"))
    assert counts[1000] - counts[100] == 10 * (counts[100] - counts[10])
    assert counts[10] < 20 * 10


def test_deep_composition_runs():
    function = gl.compile(repeated(100, layer))
    w = np.random.default_rng(1).normal(size=(4, 4))
    (wanted,) = [gl.evaluate(differentiate(repeated(100, layer)), {"w": w})]
    np.testing.assert_allclose(function(w), wanted, rtol=1e-9, atol=1e-12)


# --- bits -----------------------------------------------------------------------------------------


def assert_same_bits(left: list[NumpyArray], right: list[NumpyArray]) -> None:
    for a, b in zip(left, right, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


@by_program
@pytest.mark.parametrize("rows", [1, 37, 3000])
def test_same_bits_fused_and_unfused(program: Program, rows: int):
    assert_same_bits(
        train(program, rows, fusion=True, threads=1), train(program, rows, fusion=False, threads=1)
    )


@pytest.mark.campaign(3)
@by_program
@pytest.mark.parametrize("fusion", [True, False])
@pytest.mark.parametrize("rows", [3000, 40_000])
def test_same_bits_with_one_and_two_threads(program: Program, fusion: bool, rows: int):
    first = train(program, rows, 2, fusion=fusion, threads=1)
    for _ in range(2):
        assert_same_bits(first, train(program, rows, 2, fusion=fusion, threads=2))


@by_program
def test_two_threads_are_used_at_that_size(program: Program):
    step, _ = program(threads=2)
    step(*data(3000))
    (instance,) = step._executable.instances.values()  # pyright: ignore[reportPrivateUsage]
    assert instance.work >= TINY
    assert instance.threads == 2


@by_program
def test_same_bits_again(program: Program):
    assert_same_bits(train(program, 128), train(program, 128))


@pytest.mark.parametrize("shape", [(37, 19), (100, 50), (64, 100), (3, 1000, 7)])
def test_a_sum_beside_other_operands_has_the_same_bits(shape: tuple[int, ...]) -> None:
    """Which lane adds which number must not depend on what the kernel holds besides."""
    rng = np.random.default_rng(0)
    x = gl.placeholder(shape, name="x")
    b = gl.placeholder((1, *shape[1:]), name="b")
    total = gl.sum(gl.exp(x) * b)
    values = [rng.normal(size=s).astype("float32") for s in (shape, (1, *shape[1:]))]
    fused, plain = (gl.function([x, b], total, fusion=f)(*values) for f in (True, False))
    assert fused == plain
