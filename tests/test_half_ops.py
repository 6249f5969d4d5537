"""Ops and programs on float16 and bfloat16: computed in float32, each result rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.pipeline import compile_graph
from gradloom.ir import dtypes as dt
from gradloom.ir.dtypes import HALVES, DType
from gradloom.ir.half import converted, widened
from gradloom.ir.op import Op
from gradloom.ir.target import Target
from gradloom.runtime import cuda

from .cuda_device import simulated
from .op_cases import (
    OPS,
    Case,
    assert_same,
    cases,
    generator,
    graph_of,
    interpret,
    ordinary_arrays,
    run,
)

NumpyArray = np.ndarray[Any, Any]

by_half = pytest.mark.parametrize("half", HALVES, ids=str)


def halves(half: DType, shape: Any, *key: object, scale: float = 1.0) -> NumpyArray:
    values: Any = generator(*key).normal(size=shape) * scale
    return converted(np.asarray(values), half)


def steps_apart(a: NumpyArray, b: NumpyArray) -> int:
    """How many halves lie between two arrays' entries at most; nan lies at nan."""

    def place(x: NumpyArray) -> NumpyArray:
        bits = np.where(np.isnan(widened(x)), 0x7FFF, x.view(np.uint16)).astype(np.int64)
        return np.where(bits & 0x8000, -(bits & 0x7FFF), bits)

    return int(np.abs(place(a) - place(b)).max(initial=0))


# --- every op -------------------------------------------------------------------------------------


def half_cases(op: Op, half: DType) -> list[Case]:
    return [c for c in cases(op, [half]) if any(t.is_half for t in c.dtypes)]


def check(found: list[Case]) -> None:
    """Compiled code against the interpreter: the same float32 operations but for the last bit of
    a few, so the same half, or its neighbour where that bit decides a tie."""
    graph = graph_of(*found)
    arrays = [array for case in found for array in ordinary_arrays(case)]
    results = run(gl.compile(graph), arrays)
    for got, wanted, output in zip(results, interpret(graph, arrays), graph.outputs, strict=True):
        about = output.node
        assert got.dtype == wanted.dtype == output.dtype.numpy, about
        assert got.shape == wanted.shape, about
        if output.dtype.is_half:
            assert steps_apart(got, wanted) <= 1, about
        elif output.dtype.is_float:
            np.testing.assert_allclose(got, wanted, 1e-5, 1e-6)
        else:
            assert_same(got, wanted, about)


def test_ops_compiled() -> None:
    """A case of so many ops that take floats, half of them in each of the two."""
    rng = generator("halves")
    takes = [op for op in OPS if half_cases(op, HALVES[0])]
    found: list[Case] = []
    chosen: list[int] = rng.permutation(len(takes))[:36].tolist()
    for number in chosen:
        own = half_cases(takes[number], HALVES[len(found) % 2])
        found.append(own[rng.integers(len(own))])
    assert len(found) == 36
    for start in range(0, len(found), 12):
        check(found[start : start + 12])


@pytest.mark.slow
@by_half
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_op_compiled(op: Op, half: DType) -> None:
    found = half_cases(op, half)
    if found:
        check(found)


@by_half
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_op_rounds_the_float32_result_once(op: Op, half: DType) -> None:
    """By the reference, which knows no halves, on what the operands are in float32."""
    for case in half_cases(op, half)[:4]:
        arrays = ordinary_arrays(case)
        wide = [widened(array) for array in arrays]
        dtypes = [dt.float32 if t.is_half else t for t in case.dtypes]
        attrs = {k: dt.float32 if v == half else v for k, v in case.attrs.items()}
        plain = interpret(graph_of(Case(op, tuple(dtypes), case.shapes, attrs)), wide)
        for got, wanted in zip(interpret(graph_of(case), arrays), plain, strict=True):
            if got.dtype == half.numpy:
                wanted = converted(wanted, half)
            assert_same(got, wanted, case)


@by_half
def test_arithmetic_is_that_of_numpy(half: DType) -> None:
    """NumPy's float16 and ml_dtypes' bfloat16 round float32's result as well."""
    edges = [0, 1, 2, 0x7F, 0x80, 0x3FF, 0x400, 0x7BFF, 0x7C00, 0x7E00, 0x7F7F, 0x7F80, 0x7FC0]
    patterns = np.array([*edges, *(0x8000 | bits for bits in edges), *range(0, 2**16, 131)])
    values = patterns.astype(np.uint16).view(half.numpy)
    left, right = (grid.reshape(-1) for grid in np.meshgrid(values, values))
    a, b = gl.placeholder(("N",), half, name="a"), gl.placeholder(("N",), half, name="b")
    outputs = [a + b, a - b, a * b, a / b, gl.maximum(a, b), gl.sqrt(a), gl.abs(a), -a]
    compared = [a < b, a == b, gl.isnan(a), gl.isfinite(a)]
    got = gl.function([a, b], [*outputs, *compared])(left, right)
    with np.errstate(all="ignore"):
        wanted = [left + right, left - right, left * right, left / right]
        wanted += [np.maximum(left, right), np.sqrt(left), np.abs(left), -left]
        wanted += [left < right, left == right, np.isnan(left), np.isfinite(left)]
    for found, expected in zip(got, wanted, strict=True):
        assert_same(found, expected, half)


def differentiable(op: Op) -> bool:
    return op.partials is not None or op.transpose is not None or op.vjp is not None


@by_half
@pytest.mark.parametrize("op", [op for op in OPS if differentiable(op)], ids=lambda op: op.name)
def test_derivative_is_that_of_float32_rounded(op: Op, half: DType) -> None:
    """Of halves, and within a few of their steps although a rule may be ten ops."""
    case = next((c for c in half_cases(op, half) if graph_of(c).outputs[0].dtype == half), None)
    if case is None or op.prepare is not None:
        return
    arrays = ordinary_arrays(case, between=op.derivatives_at)
    found: list[list[NumpyArray]] = []
    for dtype in (half, dt.float32):
        dtypes = tuple(dtype if t.is_half else t for t in case.dtypes)
        attrs = {k: dtype if v == half else v for k, v in case.attrs.items()}
        graph = graph_of(Case(op, dtypes, case.shapes, attrs))
        wrt = [x for x in graph.inputs if x.dtype.is_float]
        y = graph.outputs[0]
        weights = gl.constant(generator(str(op)).normal(size=y.shape), half).astype(dtype)
        slopes = gl.grad(gl.sum(y * weights), wrt)
        assert [slope.type for slope in slopes] == [x.type for x in wrt]
        own = [converted(widened(x), t) for x, t in zip(arrays, dtypes, strict=True)]
        found.append(interpret(gl.Graph("slopes", graph.inputs, slopes), own))
    for got, wanted in zip(*found, strict=True):
        scale = np.maximum(np.abs(wanted), np.abs(wanted).max(initial=0) / 8 + 1e-3)
        assert (np.abs(widened(got) - wanted) <= 2 * gl.finfo(half).eps * scale).all(), case


# --- programs -------------------------------------------------------------------------------------


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


# --- text, dtypes, errors -------------------------------------------------------------------------


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


def test_promotion() -> None:
    """Within floats the wider one; the two halves, which hold each other not, meet in float32."""
    f16, bf16 = gl.placeholder((2,), gl.float16), gl.placeholder((2,), gl.bfloat16)
    f32, f64 = gl.placeholder((2,), gl.float32), gl.placeholder((2,), gl.float64)
    whole, truth = gl.placeholder((2,), gl.int32), gl.placeholder((2,), gl.bool)
    assert (f16 + bf16).dtype == gl.float32
    assert (f16 + f32).dtype == (bf16 * f32).dtype == gl.float32
    assert (f16 @ f64).dtype == (bf16 - f64).dtype == gl.float64
    assert (f16 + 2).dtype == (2.5 * f16).dtype == gl.float16
    assert (bf16 / 3).dtype == gl.where(truth, bf16, 0.0).dtype == gl.bfloat16
    with pytest.raises(gl.GradloomError, match="f16 and i32 do not promote"):
        gl.result_type(gl.float16, gl.int32)
    with pytest.raises(TypeError, match="i32"):
        f16 + whole  # pyright: ignore[reportUnusedExpression]


def test_a_python_number_becomes_a_half_first() -> None:
    x = gl.placeholder((1,), "float16", name="x")
    got = gl.function([x], x * 0.1)(np.ones(1, np.float16))
    assert got[0] == np.float16(0.1)


@by_half
def test_values_that_do_not_fit_are_named(half: DType) -> None:
    x = gl.placeholder((2,), half, name="x")
    function = gl.function([x], x + 1)
    with pytest.raises(TypeError, match=rf'got float32\[2\] for x: {half}.*"{half!r}"'):
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


def test_limits() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for dtype in (gl.float16, gl.bfloat16, gl.float32, gl.float64):
        mine, theirs = gl.finfo(dtype), ml_dtypes.finfo(dtype.numpy)
        for name in ("bits", "eps", "max", "min", "smallest_normal"):
            assert getattr(mine, name) == float(getattr(theirs, name)), (dtype, name)
        assert mine.dtype == dtype
    for dtype in dt.INTEGERS:
        mine, theirs = gl.iinfo(dtype), np.iinfo(dtype.numpy)
        assert (mine.bits, mine.max, mine.min) == (theirs.bits, theirs.max, theirs.min)
    assert gl.finfo(gl.placeholder((), "bfloat16")).eps == 2.0**-7
    assert gl.iinfo("int8").max == 127
    with pytest.raises(TypeError, match="needs a float dtype, got i32"):
        gl.finfo("int32")
    with pytest.raises(TypeError, match="needs an integer dtype, got f16"):
        gl.iinfo(gl.float16)


NUMPYS = [dtype for dtype in dt.ALL if dtype != dt.bfloat16]


def test_functions_of_dtypes() -> None:
    """Against NumPy where it keeps kinds apart as the standard does."""
    kinds = ["bool", "signed integer", "unsigned integer", "integral", "real floating", "numeric"]
    for dtype in NUMPYS:
        for kind in [*kinds, "complex floating"]:
            assert gl.isdtype(dtype, kind) == np.isdtype(dtype.numpy, kind), (dtype, kind)
        assert gl.isdtype(dtype, (dtype, "bool"))
        assert not gl.isdtype(dtype, "complex floating")
    assert gl.isdtype(gl.bfloat16, "real floating")
    assert not gl.isdtype(gl.bfloat16, ("integral", gl.float16))
    for left in NUMPYS:
        for right in NUMPYS:
            together = np.result_type(left.numpy, right.numpy)
            if left.kind == right.kind or (left.is_integer and together.kind in "iu"):
                if right.is_integer == left.is_integer:
                    assert gl.result_type(left, right).numpy == together
                    assert gl.can_cast(left, right) == (together == right.numpy)
    assert not gl.can_cast(gl.int8, gl.float32)
    assert not gl.can_cast(gl.float16, gl.bfloat16)
    assert gl.can_cast(gl.placeholder((), "bfloat16"), "float32")
    assert gl.result_type(np.ones(2, np.float16), 1.5, 2) == gl.float16
    assert gl.result_type(1.5) == gl.float32
    assert gl.result_type(gl.int8, 3) == gl.int8
    with pytest.raises(TypeError, match="does not fit i8"):
        gl.result_type(gl.int8, 0.5)
    with pytest.raises(gl.GradloomError, match="at least one"):
        gl.result_type()
    with pytest.raises(TypeError, match="'floating' is no data type"):
        gl.isdtype(gl.float32, "floating")


def test_constants_and_dtypes_by_name() -> None:
    assert (gl.pi, gl.e, gl.inf) == (np.pi, np.e, np.inf)
    assert np.isnan(gl.nan)
    assert gl.newaxis is None
    for dtype in dt.ALL:
        assert getattr(gl, dtype.name) is dtype
        assert gl.astype(gl.zeros((2,)), dtype).dtype is dtype
    x = gl.placeholder((2,))
    assert x[:, gl.newaxis].shape == (2, 1)


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
