# pyright: basic
"""Accuracy of the vector mathematics, in units in the last place, and its special values.

Functions, their references and bounds, and what is drawn stand in `benchmarks/accuracy.py`. The
bounds are what was measured with a small margin; the goals were 2 ULP for float32, 3 for float64,
4 for `power`, `sin` and `cos`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from gradloom.benchmarks.accuracy import (
    DTYPES,
    FUNCTIONS,
    PAIRS,
    arguments_of,
    compute,
    distance,
    exact_distance,
    measured,
    page,
)


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """NumPy warns of overflow and invalid arguments, which are meant here."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def check(errors: np.ndarray, bound: float, *arrays: np.ndarray) -> None:
    worst = int(np.argmax(errors))
    shown = ", ".join(repr(array[worst]) for array in arrays)
    assert errors[worst] <= bound, f"{errors[worst]:.3f} ULP at (arguments, result) {shown}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32(name: str) -> None:
    function = FUNCTIONS[name]
    x = arguments_of(function, "f32", 100_000)
    result = compute(f"{name}(x)", "f32", x)
    check(distance(result, function.wide(x.astype(np.float64))), function.bounds[0], x, result)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_everywhere(name: str) -> None:
    """Four million bit patterns, at even distances: every exponent with 8 000 mantissas."""
    x = np.arange(0, 2**32, 1021, dtype=np.int64).astype(np.uint32).view(np.float32)
    result, bound = compute(f"{name}(x)", "f32", x), FUNCTIONS[name].bounds[0]
    wide = FUNCTIONS[name].wide(x.astype(np.float64))
    check(distance(result, wide), bound, x, result)


@pytest.mark.campaign(4)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64(name: str) -> None:
    function = FUNCTIONS[name]
    x = arguments_of(function, "f64", 1000)
    result = compute(f"{name}(x)", "f64", x)
    errors = exact_distance(result, function.exact, function.wide(x), x)
    check(errors, function.bounds[1], x, result)


@pytest.mark.parametrize("dtype", DTYPES)
def test_signs_of_zero(dtype: str) -> None:
    """Odd functions keep the sign of zero, and of results too small to be told from it."""
    tiny = np.finfo(DTYPES[dtype]).smallest_subnormal
    x = np.array([0.0, -0.0, tiny, -tiny], DTYPES[dtype])
    odd = ("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "erf", "erfinv", "cbrt")
    for name in ("expm1", "log1p", *odd):
        result = compute(f"{name}(x)", dtype, x)
        np.testing.assert_array_equal(np.signbit(result), np.signbit(x), err_msg=name)
        np.testing.assert_array_equal(result[:2], x[:2], err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_roots_and_logarithms(dtype: str) -> None:
    wide = np.float64 if dtype == "f64" else np.float32
    whole = np.arange(1, 200, dtype=wide)
    np.testing.assert_array_equal(compute("cbrt(x)", dtype, whole * whole * whole), whole)
    tens = np.arange(0, 23 if dtype == "f64" else 11).astype(wide)
    powers = np.array([10**n for n in range(tens.size)], wide)
    np.testing.assert_array_equal(compute("log10(x)", dtype, powers), tens)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_of_two(name: str, dtype: str) -> None:
    bounds, wide, exact = PAIRS[name]
    single = dtype == "f32"
    random, size = np.random.default_rng(5), 50_000 if single else 800
    word, float_ = (np.uint32, np.float32) if single else (np.uint64, np.float64)
    limits = np.finfo(float_)
    special = [0.0, 1.0, 2.5, np.inf, np.nan, limits.max, limits.tiny, limits.smallest_subnormal]
    edges = np.array([*special, *np.negative(special)], float_)
    y, x = (axis.ravel() for axis in np.meshgrid(edges, edges))
    result, wanted = compute(f"{name}(x, y)", dtype, y, x), wide(y.astype(np.float64), x)
    check(distance(result, wanted), 1.5, y, x, result)
    zero = result == 0
    np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(wanted[zero]))

    patterns = random.integers(0, np.iinfo(word).max, (2, size), word, endpoint=True).view(float_)
    near = random.normal(size=(2, size)).astype(float_)
    alike = patterns[0] * random.uniform(0.2, 5, size).astype(float_)
    y, x = (
        np.concatenate(p)
        for p in ((patterns[0], near[0], patterns[0]), (patterns[1], near[1], alike))
    )
    result, wanted = compute(f"{name}(x, y)", dtype, y, x), wide(y.astype(np.float64), x)
    if single:
        check(distance(result, wanted), bounds[0], y, x, result)
    else:
        check(exact_distance(result, exact, wanted, y, x), bounds[1], y, x, result)


@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_and_signs(dtype: str) -> None:
    limits = np.finfo(DTYPES[dtype])
    values = [0.0, 1.0, 1.5, 2.0, np.inf, np.nan, limits.max, limits.tiny]
    values += [limits.smallest_subnormal, np.nextafter(limits.tiny, DTYPES[dtype](0))]
    grid = np.array([*values, *np.negative(values)], DTYPES[dtype])
    a, b = (x.ravel() for x in np.meshgrid(grid, grid))
    for result, wanted in (
        (compute("nextafter(x, y)", dtype, a, b), np.nextafter(a, b)),
        (compute(f"{dtype}(signbit(x))", dtype, grid), np.signbit(grid)),
    ):
        np.testing.assert_array_equal(result, wanted)
        known = ~np.isnan(result)
        np.testing.assert_array_equal(np.signbit(result)[known], np.signbit(wanted)[known])


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_powers_of_two(dtype: str) -> None:
    digits = np.finfo(DTYPES[dtype])
    exponents = np.arange(digits.minexp - digits.nmant, digits.maxexp).astype(DTYPES[dtype])
    powers = np.ldexp(DTYPES[dtype](1), exponents.astype(np.int32))
    np.testing.assert_array_equal(compute("exp2(x)", dtype, exponents), powers)
    np.testing.assert_array_equal(compute("log2(x)", dtype, powers), exponents)


@pytest.mark.parametrize("dtype", DTYPES)
def test_power_of_special_values(dtype: str) -> None:
    values = [0.0, 1.0, 2.0, 3.0, 0.5, 2.5, np.inf, np.nan, 1e-40, 1e30, 2.0**24 + 1, 2.0**53, 7.0]
    grid = np.array([*values, *np.negative(values)], DTYPES[dtype])
    a, b = (x.ravel() for x in np.meshgrid(grid, grid))
    result, expected = compute("power(x, y)", dtype, a, b), np.power(a, b)
    np.testing.assert_array_equal(np.signbit(result), np.signbit(expected) & ~np.isnan(expected))
    wide = np.power(a.astype(np.float64), b) if dtype == "f32" else expected
    check(distance(result, wide), 2.0, a, b, result)


def test_power_of_float32() -> None:
    random = np.random.default_rng(3)
    patterns = random.integers(0, 2**32, (2, 50_000), np.uint32).view(np.float32)
    a = [patterns[0], random.uniform(0, 3, 50_000), random.uniform(0.9, 1.1, 50_000)]
    b = [patterns[1], random.uniform(-80, 80, 50_000), random.uniform(-900, 900, 50_000)]
    x, y = (np.concatenate(parts).astype(np.float32) for parts in (a, b))
    result = compute("power(x, y)", "f32", x, y)
    check(distance(result, np.power(x.astype(np.float64), y)), 1.0, x, y, result)


def test_power_of_float64() -> None:
    random = np.random.default_rng(3)
    size = 1500
    a = [
        random.uniform(0, 3, size),
        random.uniform(0.5, 2, size),
        np.exp(random.uniform(-5, 5, size)),
    ]
    b = [
        random.uniform(-600, 600, size),
        random.uniform(-1e3, 1e3, size),
        random.uniform(-9, 9, size),
    ]
    x, y = (np.concatenate(parts) for parts in (a, b))
    result = compute("power(x, y)", "f64", x, y)
    check(exact_distance(result, lambda p, q: p**q, np.power(x, y), x, y), 1.2, x, y, result)


def test_no_library_calls_and_no_fast_math() -> None:
    """The IR of every function calls LLVM's own intrinsics only, with no flag changing values."""
    from llvmlite import ir

    from gradloom.runtime.lanes import Lanes
    from gradloom.runtime.vector_operators import FUNCTIONS as EMITTERS

    module = ir.Module()
    for dtype, element in (("f32", ir.FloatType()), ("f64", ir.DoubleType())):
        vector = ir.VectorType(element, 8)
        for name in (*FUNCTIONS, *PAIRS, "power", "nextafter"):
            count = 1 if name in FUNCTIONS else 2
            kind = ir.FunctionType(vector, [vector] * count)
            function = ir.Function(module, kind, f"{name}_{dtype}")
            builder = ir.IRBuilder(function.append_basic_block())
            values = [Lanes(builder, argument) for argument in function.args]
            builder.ret(EMITTERS[name][2](dtype, *values).value)
    text = str(module)
    declared = [line.split("@")[1] for line in text.split("\n") if line.startswith("declare")]
    assert declared and all(line.strip('"').startswith("llvm.") for line in declared)
    for flag in ("fast", "nnan", "ninf", "nsz", "arcp", "contract", "afn", "reassoc"):
        assert f" {flag} " not in text


def test_the_table() -> None:
    """Of a look at one function: its errors are below its bounds, and stand in the row."""
    row = measured("tanh", quick=True)
    bounds = FUNCTIONS["tanh"].bounds
    assert 0.5 < row.single[0] <= bounds[0] and 0.5 < row.double[0] <= bounds[1]
    assert 0 < row.single[1] < 0.5 and 0 < row.double[1] < 0.5
    assert f"| `tanh` | {row.single[0]:.2f} | {row.single[1]:.3f} | " in page([row])
