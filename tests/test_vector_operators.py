# pyright: basic
"""Operators, conversions and simple functions of CPU kernels against NumPy, for every dtype."""

from __future__ import annotations

import ctypes
import operator
import warnings
from typing import Any

import numpy as np
import pytest
from numba import TypingError

from gradloom.runtime.loader import load_kernel

LANES = 16
# The results (None) and errors of Numba's convention, then ours.
PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 2)
NUMPY = {
    "bool": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
    "f32": np.float32, "f64": np.float64,
}  # fmt: skip
INTEGERS = [dtype for dtype in NUMPY if dtype[0] in "iu"]
FLOATS = ["f32", "f64"]
DTYPES = list(NUMPY)


def evaluate(
    outputs: list[tuple[str, str]], inputs: list[tuple[str, np.ndarray]], lanes: int = LANES
) -> list[np.ndarray]:
    """The values of expressions of v0, v1, …, each with its dtype, on those arrays."""
    size = len(inputs[0][1])
    results = [np.zeros(size, NUMPY[dtype]) for dtype, _ in outputs]
    arrays = [np.ascontiguousarray(array, NUMPY[dtype]) for dtype, array in inputs]
    lines = ["def kernel(buffers, dims, status, tid, nth):", "    n = dims[0]"]
    for number, (dtype, _) in enumerate([*outputs, *inputs]):
        lines.append(f"    p{number} = {dtype}_pointer(buffers, {number})")
    lines += [f"    for i in range(0, n, {lanes}):", "        m = lanes(n - i)"]
    for number in range(len(inputs)):
        lines.append(f"        v{number} = load(p{len(outputs) + number}, i, m)")
    for number, (_, expression) in enumerate(outputs):
        lines.append(f"        store(p{number}, i, {expression}, m)")
    function = PROTOTYPE(load_kernel("\n".join(lines), lanes))
    table = np.array([array.ctypes.data for array in (*results, *arrays)], np.int64)
    dims = np.array([size], np.int64)
    unused, status = np.zeros(2, np.int64), np.zeros(2, np.int64)
    function(*(array.ctypes.data for array in (unused, unused, table, dims, status)), 0, 1)
    return results


def samples(dtype: str, seed: int = 0) -> np.ndarray:
    """Special values first, then random ones of every size."""
    random = np.random.default_rng(seed)
    if dtype == "bool":
        return random.integers(0, 2, 61).astype(np.bool_)
    if dtype in FLOATS:
        special = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, -2.5, 3.0, 1e-42, -7.0]
        spread = random.standard_normal(80) * 10.0 ** random.uniform(-3, 3, 80)
        return np.concatenate([special, spread]).astype(NUMPY[dtype])
    limits = np.iinfo(NUMPY[dtype])
    special = [0, 1, 2, 3, limits.max, limits.min, limits.max - 1, limits.min + 1]
    special += [-1, -2, 7] if limits.min < 0 else [7]
    wide = random.integers(limits.min, limits.max, 60, NUMPY[dtype], endpoint=True)
    narrow = random.integers(-9 if limits.min < 0 else 0, 10, 20, NUMPY[dtype])
    return np.concatenate([np.array(special, NUMPY[dtype]), wide, narrow])


def pairs(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Every sample with every other."""
    values = samples(dtype)
    left, right = np.meshgrid(values, values)
    return left.ravel(), right.ravel()


def same(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal, NaN to NaN, and also in the sign of zeros."""
    expected = np.asarray(expected)
    np.testing.assert_array_equal(actual, expected)
    if expected.dtype.kind == "f":
        zero = expected == 0
        np.testing.assert_array_equal(np.signbit(actual[zero]), np.signbit(expected[zero]))


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """NumPy warns of overflow and division by zero, which are meant here."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


COMPARISONS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
ARITHMETIC = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "&": operator.and_, "|": operator.or_, "^": operator.xor,
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_comparisons_and_choice(dtype: str) -> None:
    a, b = pairs(dtype)
    outputs = [("bool", f"v0 {symbol} v1") for symbol in COMPARISONS]
    outputs += [(dtype, "where(v0 < v1, v0, v1)")]
    outputs += [(dtype, "maximum(v0, v1)"), (dtype, "minimum(v0, v1)")]
    results = evaluate(outputs, [(dtype, a), (dtype, b)])
    for compare, result in zip(COMPARISONS.values(), results, strict=False):
        same(result, compare(a, b))
    same(results[6], np.where(a < b, a, b))
    # Which zero NumPy returns depends on its loops; ours is the greater for maximum.
    np.testing.assert_array_equal(results[7], np.maximum(a, b))
    np.testing.assert_array_equal(results[8], np.minimum(a, b))
    if dtype in FLOATS:
        zeros = (a == 0) & (b == 0)
        same(np.signbit(results[7][zeros]), np.signbit(a[zeros]) & np.signbit(b[zeros]))
        same(np.signbit(results[8][zeros]), np.signbit(a[zeros]) | np.signbit(b[zeros]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic(dtype: str) -> None:
    a, b = pairs(dtype)
    symbols = "+*&|^" if dtype == "bool" else "+-*/" if dtype in FLOATS else "+-*&|^"
    outputs = [(dtype, f"v0 {symbol} v1") for symbol in symbols]
    expected = [ARITHMETIC[symbol](a, b) for symbol in symbols]
    if dtype == "bool":
        outputs, expected = [*outputs, (dtype, "~v0")], [*expected, ~a]
    else:
        outputs += [(dtype, "-v0"), (dtype, "absolute(v0)"), (dtype, "sign(v0)")]
        expected += [-a, np.abs(a), np.sign(a)]
    if dtype in INTEGERS:
        outputs, expected = [*outputs, (dtype, "~v0")], [*expected, ~a]
    for result, wanted in zip(evaluate(outputs, [(dtype, a), (dtype, b)]), expected, strict=True):
        same(result, wanted)


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
def test_floor_division_and_remainder(dtype: str) -> None:
    a, b = pairs(dtype)
    if dtype in FLOATS:
        random = np.random.default_rng(5)
        limits = np.finfo(NUMPY[dtype])
        huge = limits.max * random.uniform(0.1, 1, 99)
        tiny = limits.smallest_subnormal * random.integers(1, 99, 99)
        a = np.concatenate([a, huge, -huge, huge, tiny]).astype(NUMPY[dtype])
        b = np.concatenate([b, tiny, tiny, a[100:199], tiny[::-1]]).astype(NUMPY[dtype])
    quotient, remainder = evaluate(
        [(dtype, "v0 // v1"), (dtype, "v0 % v1")], [(dtype, a), (dtype, b)]
    )
    infinite = np.isinf(a) | np.isinf(b) if dtype in FLOATS else np.zeros(a.shape, bool)
    whole = np.floor_divide(a, b)
    same(quotient, np.where(infinite, (a / b).astype(whole.dtype), whole))
    same(remainder, np.remainder(a, b))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_random_integer_division(dtype: str) -> None:
    random = np.random.default_rng(9)
    limits = np.iinfo(NUMPY[dtype])
    a = random.integers(limits.min, limits.max, 20000, NUMPY[dtype], endpoint=True)
    b = random.integers(limits.min, limits.max, 20000, NUMPY[dtype], endpoint=True)
    b >>= random.integers(0, limits.bits, 20000, NUMPY[dtype])
    # Dividends next to a multiple, where a rounded quotient would be one off.
    a[:9000] = a[:9000] // np.where(b[:9000] == 0, 1, b[:9000]) * b[:9000] - 1
    quotient, remainder = evaluate(
        [(dtype, "v0 // v1"), (dtype, "v0 % v1")], [(dtype, a), (dtype, b)]
    )
    same(quotient, a // b)
    same(remainder, a % b)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_shifts(dtype: str) -> None:
    a = samples(dtype)
    bits = np.iinfo(NUMPY[dtype]).bits
    counts = [*range(bits + 2), 127] + ([-1, -128] if dtype[0] == "i" else [])
    a, b = (x.ravel() for x in np.meshgrid(a, np.array(counts, NUMPY[dtype])))
    left, right = evaluate([(dtype, "v0 << v1"), (dtype, "v0 >> v1")], [(dtype, a), (dtype, b)])
    same(left, a << b)
    same(right, a >> b)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_powers(dtype: str) -> None:
    """Against Python's, wrapped; negative exponents leave 1 / x towards zero, 0 of 0."""
    limits = np.iinfo(NUMPY[dtype])
    exponents = [0, 1, 2, 3, 5, 31, 64, 127, *([-1, -2, -3, -128] if dtype[0] == "i" else [])]
    a, b = (x.ravel() for x in np.meshgrid(samples(dtype), np.array(exponents, NUMPY[dtype])))
    (result,) = evaluate([(dtype, "power(v0, v1)")], [(dtype, a), (dtype, b)])
    span = 1 << limits.bits
    for x, y, found in zip(a.tolist(), b.tolist(), result.tolist(), strict=True):
        exact = x**y if y >= 0 else {1: 1, -1: 1 - y % 2 * 2}.get(x, 0)
        assert (found - exact) % span == 0, (x, y, found)


def truncated(values: np.ndarray, dtype: str) -> np.ndarray:
    """Float to integer in Python's exact arithmetic: towards zero, saturating, NaN to 0."""
    limits = np.iinfo(NUMPY[dtype])
    result = []
    for value in values.tolist():
        if value != value:
            result.append(0)
        elif abs(value) == np.inf:
            result.append(limits.max if value > 0 else limits.min)
        else:
            result.append(min(max(int(value), limits.min), limits.max))
    return np.array(result, NUMPY[dtype])


@pytest.mark.parametrize("source", DTYPES)
def test_conversions(source: str) -> None:
    a = samples(source)
    if source in FLOATS:
        edges = [np.exp2(bits) for bits in (7, 8, 15, 16, 31, 32, 63, 64)]
        edges = np.array([*edges, 1e30, 1e300, 127.9, 255.9, 0.9], NUMPY[source])
        near = [edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf), edges - 1]
        a = np.concatenate([a, *near, *(-x for x in near)]).astype(NUMPY[source])
    outputs = [(target, ("boolean" if target == "bool" else target) + "(v0)") for target in DTYPES]
    for target, result in zip(DTYPES, evaluate(outputs, [(source, a)]), strict=True):
        saturates = source in FLOATS and target in INTEGERS
        same(result, truncated(a, target) if saturates else a.astype(NUMPY[target]))


def test_scalars_become_vectors() -> None:
    a = samples("f32")
    outputs = [
        ("f32", "v0 * 2 + 0.5"), ("f32", "1.0 - v0"), ("f32", "maximum(v0, 0.0)"),
        ("f32", "v0 * n"), ("f32", "where(v0 > 0, 1, v0)"), ("f32", "f32(0.1)"),
        ("i8", "i8(300)"), ("u8", "u8(300.7)"), ("bool", "boolean(n)"), ("i64", "i64(1) << 40"),
        ("f64", "f64(v0) + 0.1"), ("u32", "u32(4294967295) + 2"), ("f32", "fma(v0, 2.0, 1.0)"),
    ]  # fmt: skip
    one = np.ones(a.size)
    f32 = np.float32
    expected = [
        a * f32(2) + f32(0.5), f32(1) - a, np.maximum(a, f32(0)), a * f32(a.size),
        np.where(a > 0, f32(1), a), one * f32(0.1), one * 44, one * 255, one > 0, one * 2.0**40,
        a.astype(np.float64) + 0.1, one, a * f32(2) + f32(1),
    ]  # fmt: skip
    for (dtype, _), result, wanted in zip(
        outputs, evaluate(outputs, [("f32", a)]), expected, strict=True
    ):
        np.testing.assert_array_equal(result, wanted.astype(NUMPY[dtype]))


def test_dtypes_do_not_mix() -> None:
    with pytest.raises(TypingError):
        evaluate([("f32", "v0 + v1")], [("f32", np.ones(3)), ("f64", np.ones(3))])
    with pytest.raises(TypingError):
        evaluate([("f32", "exp(v0)")], [("i32", np.ones(3))])


@pytest.mark.parametrize("dtype", FLOATS)
def test_rounding_and_classes(dtype: str) -> None:
    exact = {name: getattr(np, name) for name in ("floor", "ceil", "rint", "trunc", "sqrt")}
    classes = {name: getattr(np, name) for name in ("isnan", "isinf", "isfinite")}
    a = np.concatenate([samples(dtype), [0.5, 1.5, -0.5, -0.2, 2.0**23, 2.0**52 + 1]])
    a = a.astype(NUMPY[dtype])
    outputs = [(dtype, f"{name}(v0)") for name in exact]
    outputs += [("bool", f"{name}(v0)") for name in classes]
    outputs += [(dtype, "copysign(v0, v1)")]
    results = evaluate(outputs, [(dtype, a), (dtype, a[::-1])])
    for result, function in zip(results, [*exact.values(), *classes.values()], strict=False):
        same(result, function(a))
    same(results[-1], np.copysign(a, a[::-1]))


def test_fma_rounds_once() -> None:
    a = np.float32(1) + np.exp2(np.arange(-23, -1)).astype(np.float32)
    wide = a.astype(np.float64)
    (result,) = evaluate([("f32", "fma(v0, v0, v1)")], [("f32", a), ("f32", -a * a)])
    same(result, (wide * wide - a * a).astype(np.float32))
    assert result.any()


@pytest.mark.parametrize("lanes", [4, 8])
def test_other_widths_compute_the_same_bits(lanes: int) -> None:
    a = samples("f32")
    outputs = [
        ("f32", "tanh(v0) + exp(v0) * sigmoid(v0)"),
        ("i32", "i32(v0) // 3"),
        ("f32", "v0 % 3"),
    ]
    for wide, narrow in zip(
        evaluate(outputs, [("f32", a)]), evaluate(outputs, [("f32", a)], lanes), strict=True
    ):
        same(narrow, wide)
