# pyright: standard
"""Sorted order against NumPy: ties, nan, both directions, derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
def test_sort(dtype: str):
    rng = np.random.default_rng(5)
    x = rng.integers(0, 4, (6, 9)).astype(dtype)
    if x.dtype.kind == "f":
        x[0, 3:5], x[1, 0], x[2, 1], x[3, 3] = np.nan, np.inf, -np.inf, -0.0
    t = gl.placeholder(("N", 9), dtype)
    outputs = [f(t, a, d) for f in (gl.sort, gl.argsort) for a in (0, 1) for d in (False, True)]
    function = gl.function([t], outputs)
    got = function(x)
    for i, axis in enumerate((0, 1)):
        np.testing.assert_array_equal(got[2 * i], np.sort(x, axis))
        np.testing.assert_array_equal(got[2 * i + 1], np.flip(np.sort(x, axis), axis))
        np.testing.assert_array_equal(got[4 + 2 * i], np.argsort(x, axis, kind="stable"))
        places = got[5 + 2 * i]
        descending = np.take_along_axis(x, places, axis)
        np.testing.assert_array_equal(descending, np.flip(np.sort(x, axis), axis))
        before, after = np.split(places, [-1], axis)[0], np.split(places, [1], axis)[1]
        low, high = np.split(descending, [-1], axis)[0], np.split(descending, [1], axis)[1]
        same = (low == high) | ((low != low) & (high != high))
        assert np.all(~same | (before < after))  # equal entries, nan too, stay in order
    assert all(len(array) == 0 for array in function(x[:0]))


def test_sort_derivative():
    x = gl.placeholder(5, "float64")
    w = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    value = gl.sum(gl.sort(x * x, descending=True) * gl.constant(w))
    a = np.array([0.5, -2.0, 1.0, 3.0, -0.25])
    slope = gl.function([x], gl.grad(value, x))(a)
    rank = np.argsort(np.argsort(-(a**2)))
    np.testing.assert_allclose(slope, 2 * a * w[rank])


def test_top_k():
    x = gl.placeholder(("N", 6), "float64")
    found = [gl.top_k(x, 4, 1), gl.top_k(x, 3, 0), gl.top_k(x, 0)]
    slope = gl.grad(gl.sum(found[0].values ** 2), x)
    function = gl.function([x], [*(part for pair in found for part in pair), slope])
    rng = np.random.default_rng(3)
    for size in (5, 1, 0):
        a = rng.integers(0, 4, (size, 6)).astype(np.float64)
        if size > 1:
            a[1, 2] = np.nan
        got = function(a)
        order = 5 - np.argsort(a[:, ::-1], 1, kind="stable")[:, ::-1]
        np.testing.assert_array_equal(got[1], order[:, :4])
        np.testing.assert_array_equal(got[0], np.take_along_axis(a, order[:, :4], 1))
        np.testing.assert_array_equal(got[2], np.sort(a, 0)[::-1][:3])
        np.testing.assert_array_equal(np.take_along_axis(a, got[3], 0), got[2])
        assert got[4].shape == (size, 0)
        is_chosen = np.zeros_like(a)
        np.put_along_axis(is_chosen, order[:, :4], 1.0, 1)
        np.testing.assert_array_equal(got[6], np.where(is_chosen > 0, 2 * a, 0))


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_searchsorted(dtype: str):
    rng = np.random.default_rng(6)
    row, values = gl.placeholder("N", dtype), gl.placeholder((3, "M"), dtype)
    outputs = [gl.searchsorted(row, values), gl.searchsorted(row, values, "right")]
    function = gl.function([row, values], outputs)
    for n, m in [(0, 2), (1, 0), (20, 30)]:
        a = np.sort(rng.integers(0, 9, n)).astype(dtype)
        b = rng.integers(-1, 10, (3, m)).astype(dtype)
        if dtype == "float32" and m > 2:
            a[-1], b[0, 1], b[1, 1] = np.nan, np.nan, np.inf
        for got, side in zip(function(a, b), ("left", "right"), strict=True):
            np.testing.assert_array_equal(got, np.searchsorted(a, b, side))


@pytest.mark.parametrize("size", [3, 9])
def test_unique(size: int):
    x = gl.placeholder((2, "N"), "float32")
    outputs = [*gl.unique_all(x, size, -1.0), gl.unique_values(x, size), *gl.unique_counts(x, size)]
    outputs += [gl.unique_inverse(x, size).inverse_indices]
    slope = gl.grad(gl.sum(gl.unique_values(x, 3, 0.0) * gl.constant([1.0, 2.0, 3.0])), x)
    function = gl.function([x], [*outputs, slope])
    rng = np.random.default_rng(2)
    for count in (10, 1):
        a = rng.integers(0, 5, (2, count)).astype(np.float32)
        if count > 1:
            a[0, 2] = a[1, 3] = np.nan
        got = function(a)
        values, first, inverse, counts = np.unique(a, True, True, True)
        room = max(size - len(values), 0)
        np.testing.assert_array_equal(got[0], np.append(values[:size], [-1] * room))
        np.testing.assert_array_equal(got[1], np.append(first[:size], [first[0]] * room))
        np.testing.assert_array_equal(got[2], inverse)
        np.testing.assert_array_equal(got[3], np.append(counts[:size], [0] * room))
        np.testing.assert_array_equal(got[4], np.append(values[:size], [values[0]] * room))
        np.testing.assert_array_equal(got[5:7], [got[4], got[3]])
        np.testing.assert_array_equal(got[7], inverse)
        wanted = np.zeros(a.size)
        wanted[first[:3]] = [1, 2, 3][: len(first)]
        np.testing.assert_array_equal(got[8].reshape(-1), wanted)
    empty = function(np.zeros((2, 0), np.float32))
    np.testing.assert_array_equal(empty[0], [-1.0] * size)
    np.testing.assert_array_equal(empty[3], [0] * size)


def test_nonzero():
    x = gl.placeholder(("N", 3), "bool")
    y = gl.placeholder(("N", 3), "float64")
    rows, columns = gl.nonzero(x, 4)
    function = gl.function([x, y], [rows, columns, y[rows, columns], *gl.nonzero(y, 2, -1)])
    rng = np.random.default_rng(1)
    for size in (3, 2, 1):
        mask, a = rng.random((size, 3)) < 0.5, rng.normal(size=(size, 3)).round()
        got = function(mask, a)
        places = np.argwhere(mask)[:4]
        places = np.concatenate([places, np.zeros((4 - len(places), 2), np.int64)])
        np.testing.assert_array_equal(np.stack(got[:2], 1), places)
        np.testing.assert_array_equal(got[2], a[tuple(places.T)])
        others = np.argwhere(a)[:2]
        others = np.concatenate([others, np.full((2 - len(others), 2), -1)])
        np.testing.assert_array_equal(np.stack(got[3:], 1), others)
    (empty,) = gl.nonzero(gl.constant(np.zeros(0)), 2)
    assert empty.eval().tolist() == [0, 0]
    assert gl.nonzero(gl.constant(5.0), 2) == ()


BAD: Any = 2.5


def test_errors():
    x = gl.placeholder((2, 3))
    for make, message in [
        (lambda: gl.sort(x, 2), "sort: axis 2 is out of range"),
        (lambda: gl.top_k(x, 4), "top_k: axis 1 of f32.2,3. has no 4 entries"),
        (lambda: gl.top_k(x, -1), "must not be negative"),
        (lambda: gl.searchsorted(x, 1.0), "needs a sorted vector"),
        (lambda: gl.searchsorted(x[0], 1.0, "both"), "side is 'left' or 'right'"),
        (lambda: gl.searchsorted(x[0], gl.ones(2, "int32")), "do not promote"),
        (lambda: gl.unique_values(x, -1), "must not be negative"),
        (lambda: gl.nonzero(x, BAD), "a size is an integer"),
    ]:
        with pytest.raises(gl.GradloomError, match=message):
            make()
    with pytest.raises(gl.GradloomError, match=r"argsort .*its result is no float"):
        gl.grad(gl.sum(gl.astype(gl.argsort(x), "float32")), x)
