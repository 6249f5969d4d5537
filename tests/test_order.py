"""Sorted order against NumPy: ties, nan, both directions, derivatives."""

from __future__ import annotations

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


def test_errors():
    x = gl.placeholder((2, 3))
    with pytest.raises(gl.GradloomError, match="axis 2 is out of range"):
        gl.sort(x, 2)
    with pytest.raises(gl.GradloomError, match=r"argsort .*its result is no float"):
        gl.grad(gl.sum(gl.astype(gl.argsort(x), "float32")), x)
