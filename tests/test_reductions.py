# pyright: standard
"""Reductions as users call them: over any axes, at every dtype, against NumPy and SciPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import ArgumentError, DTypeError
from gradloom.ir.tensor import Tensor

NumpyArray = np.ndarray[Any, Any]
AXES = [None, 0, 1, -1, (0, 2), (-1, 0), (1, 2), ()]
SOME = [None, 1, (-1, 0), ()]
SHAPES = [(3, 4, 5), (1, 1, 1), (2, 1, 33), (4, 0, 2)]


def runs(
    build: Callable[[Tensor], list[Tensor]], arrays: Sequence[NumpyArray], named: bool = True
) -> list[list[list[NumpyArray]]]:
    """For each array the results by the interpreter and compiled, with a name for each size."""
    first = arrays[0]
    x = gl.placeholder(tuple("BCDE"[: first.ndim]) if named else first.shape, first.dtype.name)
    function = gl.function([x], build(x))
    found: list[list[list[NumpyArray]]] = []
    for array in arrays:
        fixed = gl.placeholder(array.shape, array.dtype.name)
        interpreted = [tensor.eval({fixed: array}) for tensor in build(fixed)]
        found.append([[np.asarray(v) for v in values] for values in (interpreted, function(array))])
    return found


def everywhere(
    build: Callable[[Tensor], list[Tensor]], x: NumpyArray, named: bool = True
) -> list[list[NumpyArray]]:
    """As `runs`, for one array."""
    return runs(build, [x], named)[0]


def both(build: Callable[[Tensor], Tensor], x: NumpyArray, named: bool = True) -> list[NumpyArray]:
    """As `everywhere`, of one result."""
    return [values[0] for values in everywhere(lambda t: [build(t)], x, named)]


def drawn(shape: tuple[int, ...], dtype: str = "float64", seed: int = 0) -> NumpyArray:
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if "int" in dtype:
        return rng.integers(0 if dtype[0] == "u" else -4, 5, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def check(
    build: Callable[[Tensor], list[Tensor]],
    by_numpy: Callable[[NumpyArray], list[Any]],
    *arrays: NumpyArray,
    tolerance: float = 1e-12,
) -> None:
    for x, found in zip(arrays, runs(build, arrays), strict=True):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = [np.asarray(value) for value in by_numpy(x)]
        for got in found:
            for value, right in zip(got, wanted, strict=True):
                assert value.dtype == right.dtype
                assert value.shape == right.shape
                np.testing.assert_allclose(value, right, rtol=tolerance, atol=tolerance)


FLOATING: dict[str, tuple[Callable[..., Tensor], Callable[..., Any]]] = {
    "sum": (gl.sum, np.sum),
    "prod": (gl.prod, np.prod),
    "mean": (gl.mean, np.mean),
    "var": (gl.var, np.var),
    "std": (gl.std, np.std),
    "unbiased": (
        lambda x, **a: gl.var(x, correction=1, **a),
        lambda x, **a: np.var(x, ddof=1, **a),
    ),
    "any": (gl.any, np.any),
    "all": (gl.all, np.all),
    "count_nonzero": (gl.count_nonzero, np.count_nonzero),
}


@pytest.mark.campaign(3)
@pytest.mark.parametrize("name", FLOATING)
def test_over_any_axes(name: str):
    build, by_numpy = FLOATING[name]
    check(
        lambda t: [build(t, axis=a, keepdims=a is None or a == 1) for a in AXES],
        lambda t: [by_numpy(t, axis=a, keepdims=a is None or a == 1) for a in AXES],
        *(np.where(x < -1, 0, x) for x in map(drawn, SHAPES)),
    )


@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_exponentials_over_any_axes(name: str):
    special = pytest.importorskip("scipy.special")
    check(
        lambda t: [getattr(gl, name)(t, a) for a in SOME],
        lambda t: [getattr(special, name)(t, a) for a in SOME],
        *(drawn(shape) * 300 for shape in SHAPES[:3]),
    )


def test_gradient_of_logsumexp_over_several_axes_is_softmax():
    special = pytest.importorskip("scipy.special")
    check(
        lambda t: [gl.grad(gl.sum(gl.square(gl.logsumexp(t, (0, 2)))), t)],
        lambda t: [2 * special.logsumexp(t, (0, 2), keepdims=True) * special.softmax(t, (0, 2))],
        drawn((3, 4, 5)),
    )


def test_logsumexp_stays_finite_and_keeps_digits():
    huge = np.full((4, 5), 1e4, np.float32)
    (at, *compiled) = both(lambda t: gl.logsumexp(t, None), huge)
    for got in (at, *compiled):
        np.testing.assert_allclose(got, 1e4 + np.log(20), rtol=1e-7)
    small = np.full((2, 3), -40.0)
    small[1, 2] = 0
    for got in both(lambda t: gl.logsumexp(t, (0, 1)), small):
        np.testing.assert_allclose(got, np.log1p(5 * np.exp(-40.0)), rtol=1e-14)
    for got in both(lambda t: gl.logsumexp(t, None), np.full((2, 2), -np.inf)):
        assert got == -np.inf


# --- dtypes ---------------------------------------------------------------------------------------

ACCUMULATED = {
    **{name: "int64" for name in ("bool", "int8", "int16", "int32", "int64")},
    **{name: "uint64" for name in ("uint8", "uint16", "uint32", "uint64")},
    **{name: name for name in ("float32", "float64")},
}


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "float32"])
def test_integers_add_up_in_the_widest_dtype(dtype: str):
    x = drawn((3, 4, 5), dtype) if dtype != "int8" else np.full((3, 4, 5), 127, "int8")
    check(
        lambda t: [f(t, a) for f in (gl.sum, gl.prod) for a in (None, 1)],
        lambda t: [f(t, a, dtype=ACCUMULATED[dtype]) for f in (np.sum, np.prod) for a in (None, 1)],
        x,
        tolerance=1e-5,
    )


def test_the_dtype_of_a_sum_can_be_chosen():
    names = ("int8", "int32", "float32", "float64")
    check(
        lambda t: [gl.sum(t, 1, dtype=d) for d in names],
        lambda t: [np.sum(t, 1, dtype=d) for d in names],
        np.full((3, 100), 100, np.int8),
    )
    check(
        lambda t: [gl.sum(t, dtype="float64")],
        lambda t: [np.sum(t, dtype=np.float64)],
        drawn((70,), "float32"),
    )


EXTREMES = {
    "max": (gl.max, np.max),
    "min": (gl.min, np.min),
    "argmax": (gl.argmax, np.argmax),
    "argmin": (gl.argmin, np.argmin),
}


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64"])
def test_extremes_at_every_dtype(dtype: str):
    check(
        lambda t: [f(t, a, keepdims=a == 0) for f, _ in EXTREMES.values() for a in (None, 0)],
        lambda t: [f(t, a, keepdims=a == 0) for _, f in EXTREMES.values() for a in (None, 0)],
        drawn((3, 4, 5), dtype),
    )


def test_ties_and_nan():
    check(
        lambda t: [f(t, a) for f, _ in EXTREMES.values() for a in (None, 0, 1)],
        lambda t: [f(t, a) for _, f in EXTREMES.values() for a in (None, 0, 1)],
        np.array([[1.0, 3.0, 3.0], [np.nan, 2.0, np.nan], [-np.inf, -np.inf, np.inf]]),
    )
    x = np.array([np.nan, 0.0, -0.0, np.inf])
    check(lambda t: [gl.count_nonzero(t)], lambda t: [np.count_nonzero(t)], x)


@pytest.mark.parametrize("function", [gl.mean, gl.var, gl.std])
@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_statistics_are_of_floats(function: Any, dtype: str):
    with pytest.raises(DTypeError, match="needs a float dtype"):
        function(gl.placeholder((3,), dtype))


@pytest.mark.parametrize(
    "function", [gl.sum, gl.mean, gl.var, gl.std, gl.max, gl.any, gl.count_nonzero, gl.logsumexp]
)
def test_axes_that_there_are_not(function: Any):
    x = gl.placeholder((3, 4))
    for axis in (2, -3, (0, 2), (0, 0), (1, -1)):
        with pytest.raises(ArgumentError, match="axis"):
            function(x, axis=axis)


# --- derivatives of what is composed --------------------------------------------------------------


def slopes(function: Callable[[NumpyArray], Any], x: NumpyArray, step: float = 1e-6) -> NumpyArray:
    """Central differences of a scalar function."""
    found = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        found[place] = (function(x + moved) - function(x - moved)) / (2 * step)
    return found


@pytest.mark.parametrize("axis", [None, 0, (0, 2)])
def test_derivatives_of_variance_and_deviation(axis: Any):
    x = drawn((3, 2, 4))
    weight = drawn(np.shape(np.var(x, axis)), seed=3)
    for build, by_numpy in ((gl.var, np.var), (gl.std, np.std)):
        for got in both(
            lambda t, f=build: gl.grad(gl.sum(f(t, axis, correction=1) * weight), t), x, False
        ):
            wanted = slopes(lambda a, f=by_numpy: np.sum(f(a, axis, ddof=1) * weight), x)
            np.testing.assert_allclose(got, wanted, atol=1e-8)


def test_derivative_of_deviation_where_all_are_equal():
    x = np.array([[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]])
    for got in both(lambda t: gl.grad(gl.sum(gl.std(t, 1)), t), x):
        np.testing.assert_array_equal(got[0], 0.0)
        assert np.all(np.isfinite(got))
        assert got[1, 2] > 0.1


def test_a_correction_that_is_no_number():
    for function in (gl.var, gl.std):
        with pytest.raises(ArgumentError, match="correction is a number"):
            function(gl.placeholder((3,)), correction="1")


def test_variance_beside_a_large_mean():
    x = (1e4 + drawn((1000,))).astype("float32")
    wanted = np.var(x.astype(np.float64))
    for got in both(gl.var, x):
        np.testing.assert_allclose(got, wanted, rtol=1e-5)


# --- digits of long float32 sums ------------------------------------------------------------------

LAYOUTS: list[tuple[tuple[int, ...], Any]] = [
    ((3_333_334, 3), 0),
    ((10_000_000,), None),
    ((10_000_000, 3), 0),
    ((3, 10_000_000), 1),
    ((1000, 10_000), None),
    ((1000, 10_000), (0, 1)),
    ((100, 100, 1000), (0, 2)),
]


def long_sums(shape: tuple[int, ...], axis: Any, named: bool) -> None:
    """The relative error of sums, means and variances of positive numbers; equal ones, whose
    roundings all point one way, are the worst."""
    sizes: Any = tuple("BCD"[: len(shape)]) if named else shape
    x = gl.placeholder(sizes)
    outputs = [gl.sum(x, axis), gl.mean(x, axis), gl.var(x, axis)]
    functions = [gl.function([x], outputs, threads=threads) for threads in (1, 2)]
    rng = np.random.default_rng(0)
    for array in (rng.random(shape, np.float32), np.full(shape, 0.1, np.float32)):
        wide = array.astype(np.float64)
        results = [function(array) for function in functions]
        for one, two in zip(*results, strict=True):
            np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(results[0][0], np.sum(wide, axis), rtol=2e-7)
        np.testing.assert_allclose(results[0][1], np.mean(wide, axis), rtol=3e-7)
        np.testing.assert_allclose(results[0][2], np.var(wide, axis), rtol=1e-6, atol=1e-15)


def test_long_sums_keep_their_digits():
    long_sums(*LAYOUTS[0], named=False)


@pytest.mark.slow
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_long_sums_keep_their_digits_in_any_layout(layout: tuple[Any, Any], named: bool):
    long_sums(*layout, named)


def test_sums_of_infinities_and_what_overflows():
    """What is compensated must not make nan of inf."""
    large = np.finfo(np.float32).max
    rows = np.zeros((6, 1000), np.float32)
    rows[0, 5], rows[1, 5] = np.inf, -np.inf
    rows[2, [3, 900]] = np.inf, -np.inf
    rows[3, 7] = np.nan
    rows[4, :] = large
    rows[5, [1, 2]] = large, -large
    wanted = [np.inf, -np.inf, np.nan, np.nan, np.inf, 0]
    for array, axis in ((rows, 1), (np.ascontiguousarray(rows.T), 0)):
        x = gl.placeholder(("B", "N"))
        np.testing.assert_array_equal(gl.function([x], gl.sum(x, axis))(array), wanted)


def test_a_sum_is_the_same_whatever_it_is_fused_with():
    x = gl.placeholder(("B", "N"))
    outputs = [gl.sum(gl.exp(x), axis=a) * gl.mean(x, axis=a) for a in (0, 1)]
    array = drawn((700, 500), "float32")
    whole, apart = (gl.function([x], outputs, fusion=f)(array) for f in (True, False))
    for one, two in zip(whole, apart, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("function", [gl.argmax, gl.argmin])
def test_nothing_has_no_largest_entry(function: Any) -> None:
    with pytest.raises(gl.GradloomError, match="there is no entry along axis 1"):
        function(gl.zeros((3, 0)), axis=1)
