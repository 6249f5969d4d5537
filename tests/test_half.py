"""float16 and bfloat16: conversions bit by bit, and ops that round float32's result once.

The oracle of conversions is NumPy for float16 and ml_dtypes for bfloat16 where these round once,
and exact fractions where they do not.
"""

from __future__ import annotations

import bisect
import itertools
import subprocess
import sys
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir import dtypes as dt
from gradloom.ir.dtypes import HALVES, DType
from gradloom.ir.half import widened
from gradloom.runtime import cuda_scalar
from gradloom.runtime.cuda_vocabulary import python_vocabulary

from .op_cases import assert_same
from .test_cuda_vocabulary import run as run_llvm

NumpyArray = np.ndarray[Any, Any]

PATTERNS = np.arange(2**16, dtype=np.uint16)
by_half = pytest.mark.parametrize("half", HALVES, ids=str)


def every(half: DType) -> NumpyArray:
    """All halves there are."""
    return PATTERNS.view(half.numpy)


def finite(half: DType) -> NumpyArray:
    """float64: the finite halves from 0 up."""
    values = widened(every(half)[:0x8000])
    return values[np.isfinite(values)].astype(np.float64)


@cache
def ladder(half: DType) -> list[Fraction]:
    """The finite halves from 0 up, exactly."""
    return [Fraction(value) for value in finite(half).tolist()]


def nearest(value: float, half: DType) -> float:
    """`value`, a number as it is, rounded to nearest, ties to even, by the definition."""
    steps = ladder(half)
    size, sign = abs(Fraction(value)), -1.0 if value < 0 else 1.0
    if size >= steps[-1] + (steps[-1] - steps[-2]) / 2:
        return sign * np.inf
    below = bisect.bisect_right(steps, size) - 1
    if below + 1 < len(steps):
        down, up = size - steps[below], steps[below + 1] - size
        below += down > up or (down == up and below % 2 == 1)
    return sign * float(steps[below])


def compiled_and_interpreted(y: gl.Tensor, feeds: dict[str, Any]) -> tuple[NumpyArray, NumpyArray]:
    inputs = [leaf for leaf in gl.Graph("g", (), [y]).free]
    function = gl.function(inputs, y)
    return function(**feeds), y.eval(feeds)


def around(half: DType) -> NumpyArray:
    """float64: every finite half, the middles between them, and what is next to a middle."""
    values = finite(half)
    above = np.append(values[1:], 2 * values[-1] - values[-2])
    middles = (values + above) / 2
    found = np.concatenate(
        [values, middles, np.nextafter(middles, np.inf), np.nextafter(middles, 0)]
    )
    more = [np.inf, np.nan, 1e300, 1e-300, 3.4e38, 1e-45]
    return np.concatenate([found, -found, more, np.negative(more)])


# --- conversions ----------------------------------------------------------------------------------


@pytest.mark.campaign(2)
@by_half
def test_every_half_to_every_dtype(half: DType) -> None:
    """To float32 exactly; to the others as that float32 goes."""
    x = gl.placeholder(("N",), half, name="x")
    wide = widened(every(half))
    for dtype in dt.ALL:
        got, interpreted = compiled_and_interpreted(
            x.astype(dtype) if dtype != half else x + 0, {"x": every(half)}
        )
        assert got.dtype == dtype.numpy
        assert_same(got, interpreted, dtype)
        if dtype.is_float:
            with np.errstate(all="ignore"):
                assert_same(got, wide.astype(dtype.numpy), dtype)
            assert (np.signbit(got) == np.signbit(wide))[~np.isnan(wide)].all()
        elif dtype.kind == "b":
            assert_same(got, wide != 0, dtype)
        else:
            limits = gl.iinfo(dtype)
            for bits in range(0, 2**16, 251):
                number = float(wide[bits])
                wanted = 0 if number != number else max(min(number, limits.max), limits.min)
                assert int(got[bits]) == int(wanted), number


@by_half
def test_float32_to_half(half: DType) -> None:
    rng = np.random.default_rng(1)
    with np.errstate(over="ignore"):
        edges = around(half).astype(np.float32)
    bits = edges.view(np.uint32)
    patterns = [bits, bits + 1, bits - 1, rng.integers(0, 2**32, 200_000, dtype=np.uint32)]
    values = np.concatenate(patterns).view(np.float32)
    x = gl.placeholder(("N",), name="x")
    got, interpreted = compiled_and_interpreted(x.astype(half), {"x": values})
    with np.errstate(all="ignore"):
        wanted = values.astype(half.numpy)
    assert_same(got, wanted, half)
    assert_same(interpreted, wanted, half)
    known = ~np.isnan(values)
    assert (np.signbit(got) == np.signbit(values))[known].all()


def integers(half: DType, dtype: DType) -> NumpyArray:
    """Integers of all sizes, the middles between two halves and their neighbours first."""
    rng = np.random.default_rng(2)
    limits = gl.iinfo(dtype)
    steps = [int(step) for step in ladder(half) if step.denominator == 1]
    middles = [(a + b) // 2 + d for a, b in itertools.pairwise(steps) for d in (-1, 0, 1)]
    signed = [*middles, *(-m for m in middles)]
    signed += [limits.max, limits.min, limits.max - 1, 2**24 + 1]
    chosen = [m for m in signed if limits.min <= m <= limits.max]
    random = rng.integers(limits.min, limits.max, 2000, dtype=dtype.numpy, endpoint=True)
    shifts = rng.integers(0, dtype.bits, 2000).astype(dtype.numpy)
    return np.concatenate([np.array(chosen, dtype.numpy), random >> shifts])


@pytest.mark.campaign(3)
@by_half
@pytest.mark.parametrize("source", [dt.float64, dt.int32, dt.int64, dt.uint64, dt.int8], ids=str)
def test_wide_numbers_to_half_are_rounded_once(half: DType, source: DType) -> None:
    values = around(half) if source.is_float else integers(half, source)
    x = gl.placeholder(("N",), source, name="x")
    got, interpreted = compiled_and_interpreted(x.astype(half), {"x": values})
    assert_same(got, interpreted, source)
    rng = np.random.default_rng(3)
    for place in rng.integers(0, len(values), 4000).tolist():
        value, found = values[place].item(), float(got[place])
        if np.isnan(value):
            assert np.isnan(found)
        else:
            assert found == (nearest(value, half) if np.isfinite(value) else value), value


def test_two_roundings_would_not_do() -> None:
    """One more than a middle, by too little for float32."""
    value = np.array([1 + 2.0**-8 + 2.0**-40])
    x = gl.placeholder((1,), "float64", name="x")
    for got in compiled_and_interpreted(x.astype("bfloat16"), {"x": value}):
        assert float(got[0]) == 1 + 2.0**-7
    assert float(value.astype(np.float32).astype(dt.bfloat16.numpy)[0]) == 1.0


@pytest.mark.campaign(2)
@by_half
def test_conversions_without_instructions(half: DType) -> None:
    """What a GPU, and a processor without float16, does: the formulas on bits."""
    name = half.short
    plain = python_vocabulary()

    def widen(builder: Any, _: Any, bits: Any) -> Any:
        return cuda_scalar.from_half(builder, name, bits)

    def narrow(builder: Any, own: Any, x: Any) -> Any:
        return cuda_scalar.to_half(builder, name, own, x)

    rows = [(bits,) for bits in PATTERNS[::3]]
    found = run_llvm([dt.uint16], dt.float32, widen, rows)
    assert_same(found, widened(every(half)[::3]), half)
    assert_same(np.array([plain[f"from_{name}"](*row) for row in rows]), found, half)
    with np.errstate(over="ignore"):
        single = around(half)[::17].astype(np.float32)
    for dtype, values in (
        (dt.float32, single),
        (dt.float64, around(half)[::17]),
        (dt.int64, integers(half, dt.int64)[::9]),
        (dt.uint64, integers(half, dt.uint64)[::9]),
    ):
        rows = [(value,) for value in values]
        made = run_llvm([dtype], dt.uint16, narrow, rows).view(half.numpy)
        wanted = gl.constant(values).astype(half).eval()
        assert_same(made, wanted, dtype)
        told = np.array([plain[name](*row) for row in rows]).view(half.numpy)
        assert_same(told, wanted, dtype)


def test_ml_dtypes_is_imported_when_it_is_needed() -> None:
    program = """
import sys, gradloom as gl
x = gl.placeholder((2,), "float16")
gl.function([x], x * 2)
assert gl.result_type(gl.float16, gl.bfloat16) == gl.float32
assert "ml_dtypes" not in sys.modules
gl.placeholder((2,), "bfloat16").dtype.numpy
assert "ml_dtypes" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
