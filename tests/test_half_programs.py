# pyright: standard
"""Programs on float16 and bfloat16: training, loops, text, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.pipeline import compile_graph
from gradloom.ir import dtypes as dt
from gradloom.ir.dtypes import DType
from gradloom.ir.half import converted, widened
from gradloom.ir.target import Target
from gradloom.runtime import cuda

from .cuda_device import simulated
from .op_cases import assert_same
from .test_half_ops import NumpyArray, by_half, halves, steps_apart


def layers(half: DType) -> tuple[gl.Tensor, gl.Tensor, gl.Tensor, list[gl.Parameter]]:
    """A classifier of two layers: its inputs, its loss, its parameters."""
    x, labels = gl.placeholder(("B", 6), half, name="x"), gl.placeholder(("B",), "int64", name="t")
    w1 = gl.parameter(halves(half, (6, 16), "w1", scale=0.4), name="w1")
    b1 = gl.parameter(np.zeros(16), name="b1", dtype=half)
    w2 = gl.parameter(halves(half, (16, 3), "w2", scale=0.4), name="w2")
    logits = gl.tanh(x @ w1 + b1) @ w2
    picked = gl.take_along_axis(gl.log_softmax(logits, axis=1), labels[:, None], axis=1)
    return x, labels, -gl.mean(picked), [w1, b1, w2]


def task(half: DType, count: int) -> tuple[NumpyArray, NumpyArray]:
    x = halves(half, (count, 6), "task", count)
    return x, np.argmax(widened(x)[:, :3], axis=1)


@by_half
def test_training(half: DType) -> None:
    """Parameters are halves and are updated in place; batches of any size; the loss falls."""
    x, labels, loss, parameters = layers(half)
    slopes = gl.grad(loss, parameters)
    assert [g.type for g in slopes] == [p.type for p in parameters]
    updates = {p: p - 0.5 * g for p, g in zip(parameters, slopes, strict=True)}
    step = gl.function([x, labels], loss, updates)
    losses = [float(step(*task(half, count))) for count in [32, 7, 1, 32] * 15]
    assert losses[0] > 0.8
    assert losses[-1] < 0.3
    assert all(p.value.dtype == half.numpy for p in parameters)


@by_half
def test_what_is_fused_changes_no_bit(half: DType) -> None:
    x, labels, loss, parameters = layers(half)
    outputs = [loss, *gl.grad(loss, parameters)]
    fused = gl.function([x, labels], outputs)
    apart = gl.function([x, labels], outputs, fusion=False)
    assert len(fused.kernels) < len(apart.kernels)
    feeds = task(half, 33)
    for got, other in zip(fused(*feeds), apart(*feeds), strict=True):
        assert got.tobytes() == other.tobytes()


@pytest.mark.campaign(2)
@by_half
def test_cuda_program_in_the_simulator(half: DType) -> None:
    x, labels, loss, parameters = layers(half)
    kept = gl.where(x > 0, x, 0.25)
    outputs = [loss, *gl.grad(loss, parameters), kept, x.T, (x * 50).astype("int8"), x > 1]
    function = gl.function([x, labels], outputs)
    wanted = function(*task(half, 5))
    found = simulated(function, "reverse")([*task(half, 5)], parameters)
    for got, expected in zip(found, wanted, strict=True):
        assert got.dtype == expected.dtype
        if got.dtype == half.numpy:
            assert steps_apart(got, expected) <= 1
        else:
            assert_same(got, expected, half)


@pytest.mark.skipif(bool(cuda.missing_packages()), reason="needs the cuda extra")
@by_half
def test_cuda_text_compiles(half: DType) -> None:
    x, labels, loss, parameters = layers(half)
    graph = gl.Graph("g", [x, labels], [loss, *gl.grad(loss, parameters), labels.astype(half)])
    program = compile_graph(graph, Target("cuda")).program
    assert program is not None
    for kernel in program.kernels:
        text = cuda.compile_to_ptx(kernel.source, kernel, (9, 0)).text
        assert not any(".f16" in line or ".bf16" in line for line in text.splitlines())


@by_half
def test_widen_writes_the_casts_and_nothing_drops_them(half: DType) -> None:
    x = gl.placeholder(("N",), half, name="x")
    function = gl.function([x], x * x + x)
    assert str(function.stages["widen"]).count(" cast ") == 5  # of x, twice; of x * x; 2 results
    (kernel,) = function.kernels
    assert kernel.source.count(f"= {half}(") == 2  # one rounding an op, no multiply-add
    values = halves(half, 1000, "casts")
    with np.errstate(all="ignore"):
        assert_same(function(values), values * values + values, half)


def test_a_cast_there_and_back_is_none_where_it_is_exact() -> None:
    x, y = gl.placeholder((4,), "float16", name="x"), gl.placeholder((4,), "float32", name="y")
    back = gl.run_pass(gl.Graph("g", [x], [x.astype("float32").astype("float16")]), "simplify")
    assert not back.nodes
    for other in ("float16", "bfloat16"):
        lossy = gl.Graph("g", [y], [y.astype(other).astype("float32")])
        assert len(gl.run_pass(lossy, "simplify").nodes) == 2
    z = gl.placeholder((4,), "bfloat16", name="z")
    for leaf, other in ((x, "bfloat16"), (z, "float16"), (x, "int64"), (z, "bool")):
        across = gl.Graph("g", [leaf], [leaf.astype(other).astype(leaf.dtype)])
        assert len(gl.run_pass(across, "simplify").nodes) == 2


def test_softmax_and_mean_are_rounded_once() -> None:
    x = gl.placeholder((2, 500), "float16", name="x")
    values = halves(dt.float16, (2, 500), "softmax", scale=3.0)
    wide = values.astype(np.float64)
    e = np.exp(wide - wide.max(1, keepdims=True))
    function = gl.function([x], [gl.softmax(x, axis=1), gl.mean(x), gl.var(x), gl.silu(x)])
    wanted = [e / e.sum(1, keepdims=True), wide.mean(), wide.var(), wide / (1 + np.exp(-wide))]
    for got, exact in zip(function(values), wanted, strict=True):
        assert steps_apart(got, converted(np.asarray(exact), dt.float16)) <= 1


def test_mean_of_more_entries_than_float16_counts() -> None:
    x = gl.placeholder(("N",), "float16", name="x")
    function = gl.function([x], [gl.mean(x), gl.sum(x)])
    mean, total = function(np.full(100_000, 3.0, np.float16))
    assert mean == 3.0
    assert total == np.inf


@by_half
def test_scan_carries_halves(half: DType) -> None:
    """Each step's carry is rounded: what a loop of NumPy on halves gives."""
    start, xs = gl.placeholder((4,), half, name="s"), gl.placeholder(("T", 4), half, name="xs")
    last, ys = gl.scan(lambda c, x: (c + x, c * x), start, xs)
    slope = gl.grad(gl.sum(last) + gl.sum(ys), xs)
    function = gl.function([start, xs], [last, ys, slope])
    s, values = halves(half, 4, "start"), halves(half, (9, 4), "steps")
    carry, products = s, [half.numpy.type(0)] * 0
    for row in values:
        products.append(carry * row)
        carry = carry + row
    got_last, got_ys, got_slope = function(s, values)
    assert_same(got_last, carry, half)
    assert_same(got_ys, np.stack(products), half)
    assert_same(got_slope, slope.eval({"s": s, "xs": values}), half)
    empty = function(s, values[:0])
    assert_same(empty[0], s, half)


# --- text, errors, sizes ------------------------------------------------------------------------


@by_half
def test_text_round_trip(half: DType) -> None:
    x = gl.placeholder(("B", 3), half, name="x")
    edge = gl.constant([0.1, float("inf"), float("-inf"), float("nan"), -0.0, 1e-7], half)
    large = gl.constant(halves(half, (40, 1), "large"))
    graph = gl.Graph("g", [x], [x * 0.1 + edge[:3], large * 2, edge])
    again = gl.parse(str(graph))
    assert again == graph
    feeds = {"x": halves(half, (2, 3), "text")}
    for got, wanted in zip(gl.evaluate(again, feeds), gl.evaluate(graph, feeds), strict=True):
        assert got.tobytes() == wanted.tobytes()
    program = gl.compile(graph).program
    assert str(gl.parse_program(str(program))) == str(program)


def test_a_python_number_becomes_a_half_first() -> None:
    x = gl.placeholder((1,), "float16", name="x")
    got = gl.function([x], x * 0.1)(np.ones(1, np.float16))
    assert got[0] == np.float16(0.1)


@by_half
def test_values_that_do_not_fit_are_named(half: DType) -> None:
    x = gl.placeholder((2,), half, name="x")
    function = gl.function([x], x + 1)
    with pytest.raises(TypeError, match=rf"got float32\[2\] for x: {half}.*astype.gl.{half!r}"):
        function(np.ones(2, np.float32))
    other = np.ones(2, dt.bfloat16.numpy if half == dt.float16 else np.float16)
    with pytest.raises(TypeError, match=f"got {other.dtype}"):
        function(other)
    assert function([1.0, 2.0]).dtype == half.numpy  # Python's numbers are weak here too
    w = gl.parameter([1.0, 2.0], dtype=half)
    w.value = np.array([1.0, 3.0])
    assert w.value.tolist() == [1.0, 3.0]
    assert w.value.dtype == half.numpy
    with pytest.raises(gl.GradloomError, match="got complex128"):
        w.value = np.ones(2, complex)


@by_half
def test_a_bitwise_op_refuses_halves(half: DType) -> None:
    x = gl.placeholder((2,), half, name="x")
    with pytest.raises(TypeError, match=str(half)):
        gl.bitwise_and(x, x)


@by_half
def test_widest_and_emptiest_shapes(half: DType) -> None:
    x = gl.placeholder(("B", "N"), half, name="x")
    function = gl.function([x], [gl.exp(x), gl.sum(x, axis=1), gl.max(x, axis=0), x[::-1] * 2])
    for shape in [(0, 3), (2, 0), (1, 1), (3, 65)]:
        values = halves(half, shape, shape)
        wide = widened(values)
        wanted = [np.exp(wide), wide.astype(np.float64).sum(1)]
        got = function(values)
        for found, exact in zip(got, wanted, strict=False):
            assert steps_apart(found, converted(np.asarray(exact), half)) <= 1
        assert_same(got[2], wide.max(0, initial=-np.inf).astype(half.numpy), half)
        assert_same(got[3], (wide[::-1] * 2).astype(half.numpy), half)


# --- functions of several ops ---------------------------------------------------------------------

FORMULAS: dict[str, Callable[[gl.Tensor], gl.Tensor]] = {
    "mean": lambda x: gl.mean(x, (2, 3)),
    "var": lambda x: gl.var(x, (2, 3)),
    "avg_pool": lambda x: gl.nn.avg_pool2d(x, 2),
    "avg_pool of what is there": lambda x: gl.nn.avg_pool2d(x, 2, 1, 1, False),
    "adaptive_avg_pool": lambda x: gl.nn.adaptive_avg_pool(x, 3),
    "l2_pool": lambda x: gl.nn.l2_pool(x, 2),
    "resize": lambda x: gl.nn.resize(x, 6, "linear"),
    "vector_norm": lambda x: gl.linalg.vector_norm(x, (2, 3)),
    "3-norm": lambda x: gl.linalg.vector_norm(x, (2, 3), ord=3),
    "matrix_norm": lambda x: gl.linalg.matrix_norm(x),
    "vecdot": lambda x: gl.vecdot(x, x),
    "einsum": lambda x: gl.einsum("ijkl,ijkl->i", x, x),
    "tensordot": lambda x: gl.tensordot(x, x, 4),
}


@pytest.mark.campaign(4)
@by_half
@pytest.mark.parametrize("name", FORMULAS)
def test_a_function_of_several_ops_rounds_once(name: str, half: DType) -> None:
    """Also where a sum or a square on the way is more than a half can hold."""
    rng = np.random.default_rng(2)
    products, means = ("vecdot", "einsum", "tensordot"), ("mean", "avg_pool", "adaptive_avg_pool")
    largest = 16.0 if name in products else 6e4 if name in means else 7e3
    values = converted(rng.uniform(0.5, 1.0, (2, 3, 4, 4)) * largest, half)
    x = gl.placeholder(values.shape, half, name="x")
    wide = gl.placeholder(values.shape, name="wide")
    wanted = converted(FORMULAS[name](wide).eval({"wide": widened(values)}), half)
    result = FORMULAS[name](x)
    assert_same(result.eval({"x": values}), wanted, name)
    found = gl.function([x], result)(values)
    assert found.dtype == half.numpy
    assert steps_apart(found, wanted) <= 1
