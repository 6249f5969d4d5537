# pyright: standard
"""Ops and programs on float16 and bfloat16: computed in float32, each result rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir import dtypes as dt
from gradloom.ir.dtypes import HALVES, DType
from gradloom.ir.half import converted, widened
from gradloom.ir.op import Op

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
