# pyright: standard
"""``gl.nn``: pools, resizing and columns by their definitions; edges, and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl

from .nn_cases import NumpyArray, both, first, image, loops, numbers, refused
from .op_cases import close, slopes_of

# --- pools --------------------------------------------------------------------------------------


def pooled(fold: Callable[..., Any], x: NumpyArray, size: Any, stride: Any) -> NumpyArray:
    """The fold of every window."""
    counts = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], size, stride, strict=True)]
    result = np.zeros((*x.shape[:2], *counts), x.dtype)
    for place in np.ndindex(*counts):
        cut = tuple(slice(o * s, o * s + k) for o, k, s in zip(place, size, stride, strict=True))
        result[(..., *place)] = fold(x[(..., *cut)], axis=tuple(range(2, x.ndim)))
    return result


@pytest.mark.parametrize("n", [1, 2, 3])
def test_pools_fold_each_window(n: int):
    x = first(numbers(2, 3, 6, 5, 4), n)
    size, stride = (3, 2, 2)[:n], (1, 2, 3)[:n]
    largest = [gl.nn.max_pool1d, gl.nn.max_pool2d, gl.nn.max_pool3d][n - 1]
    average = [gl.nn.avg_pool1d, gl.nn.avg_pool2d, gl.nn.avg_pool3d][n - 1]
    close(both(lambda x: largest(x, size, stride), x), pooled(np.max, x, size, stride))
    close(both(lambda x: average(x, size, stride), x), pooled(np.mean, x, size, stride))
    close(both(lambda x: largest(x, 2), x), pooled(np.max, x, [2] * n, [2] * n))
    root = both(lambda x: gl.nn.l2_pool(x, size, stride), x)
    close(root, np.sqrt(pooled(np.sum, x * x, size, stride)))
    steep = both(lambda x: gl.nn.lp_pool(x, float("inf"), size, stride), x)
    close(steep, pooled(np.max, np.abs(x), size, stride))
    weights = numbers(*size)
    flat = x.reshape(6, 1, *x.shape[2:])
    wanted = loops(flat, weights[None, None], stride, [(0, 0)] * n)
    close(both(lambda x: gl.nn.weighted_pool(x, weights, stride), x).reshape(wanted.shape), wanted)


def test_padding_never_wins_and_may_count_or_not():
    x = -1 - np.abs(numbers(2, 3, 5))
    around = np.pad(x, [(0, 0), (0, 0), (1, 1)], constant_values=-np.inf)
    close(both(lambda x: gl.nn.max_pool1d(x, 3, 2, 1), x), pooled(np.max, around, [3], [2]))
    whole = (10 * x).astype(np.int32)
    got = both(lambda x: gl.nn.max_pool1d(x, 3, 2, 1), whole)
    least = np.iinfo(np.int32).min
    wide = np.pad(whole, [(0, 0), (0, 0), (1, 1)], constant_values=least)
    assert np.array_equal(got, pooled(np.max, wide, [3], [2]))
    zeros = np.pad(x, [(0, 0), (0, 0), (1, 1)])
    close(both(lambda x: gl.nn.avg_pool1d(x, 3, 2, 1), x), pooled(np.mean, zeros, [3], [2]))
    nothing = np.pad(x, [(0, 0), (0, 0), (1, 1)], constant_values=np.nan)
    inside = both(lambda x: gl.nn.avg_pool1d(x, 3, 2, 1, count_include_pad=False), x)
    close(inside, pooled(np.nanmean, nothing, [3], [2]))


def test_the_first_of_equal_winners_has_the_gradient():
    x = image(1, 1, 4)
    slope = gl.grad(gl.sum(gl.nn.max_pool1d(x, 2)), x)
    assert np.array_equal(gl.function([x], slope)([[[3.0, 3.0, 1.0, 2.0]]]), [[[1, 0, 0, 1]]])
    overlap = gl.grad(gl.sum(gl.nn.max_pool1d(x, 3, 1)), x)
    assert np.array_equal(gl.function([x], overlap)([[[0.0, 9.0, 9.0, 1.0]]]), [[[0, 2, 0, 0]]])


def test_nan_and_infinity_go_through_pools():
    x = np.array([[[1.0, np.nan, -np.inf, -np.inf, np.inf, 2.0]]])
    assert np.array_equal(
        both(lambda x: gl.nn.max_pool1d(x, 2), x), [[[np.nan, -np.inf, np.inf]]], True
    )
    assert np.array_equal(
        both(lambda x: gl.nn.l2_pool(x, 2), x), [[[np.nan, np.inf, np.inf]]], True
    )


def test_padding_is_below_every_number():
    x = np.array([[[-np.inf, -np.inf, -3e38]]])
    assert np.array_equal(both(lambda x: gl.nn.max_pool1d(x, 3, 2, 1), x), [[[-np.inf, -3e38]]])


def test_lp_pools_neither_overflow_nor_divide_by_zero():
    large = np.full((1, 1, 4), 1e30, np.float32)
    x = image(1, 1, 4, dtype="float32")
    y = gl.nn.lp_pool(x, 3, 2)
    value, slope = gl.function([x], [y, gl.grad(gl.sum(y), x)])(large)
    np.testing.assert_allclose(value, 2 ** (1 / 3) * large[..., :2], rtol=1e-6)
    np.testing.assert_allclose(slope, np.full((1, 1, 4), 2 ** (-2 / 3)), rtol=1e-6)
    value, slope = gl.function([x], [y, gl.grad(gl.sum(y), x)])(0 * large)
    assert not value.any() and not slope.any()


@pytest.mark.parametrize("p", [1, 2, 2.5])
def test_slopes_of_lp_pools(p: float):
    x = image(1, 2, 6)
    loss = gl.sum(gl.nn.lp_pool(x, p, 3, 2, 1) * numbers(1, 2, 3))
    data = numbers(1, 2, 6)
    slope = gl.grad(loss, x).eval({x: data})
    close(slope, slopes_of(gl.Graph("g", [x], [loss]), [data], 0), 1e-8)


def test_global_and_adaptive_pools():
    x = numbers(2, 3, 7, 5)
    close(both(lambda x: gl.nn.global_avg_pool(x), x), x.mean((2, 3)))
    close(both(lambda x: gl.nn.global_max_pool(x, keepdims=True), x), x.max((2, 3), keepdims=True))
    for name, fold in (("avg", np.mean), ("max", np.max)):
        pool = getattr(gl.nn, f"adaptive_{name}_pool")
        for count in [(1, 1), (3, 5), (7, 2), (10, 4)]:
            got = both(lambda x, pool=pool, count=count: pool(x, count), x)
            for i, j in np.ndindex(*count):
                rows = slice(i * 7 // count[0], -(-(i + 1) * 7 // count[0]))
                columns = slice(j * 5 // count[1], -(-(j + 1) * 5 // count[1]))
                close(got[:, :, i, j], fold(x[:, :, rows, columns], axis=(2, 3)))
        by_name = both(lambda x, pool=pool: pool(x, 3), x, names=[("B", 3, "H", "W")])
        close(by_name, pool(gl.constant(x), 3).eval({}))


def test_pools_over_named_sizes():
    x = image("B", 2, "H")
    y = gl.nn.max_pool1d(x, 3, 2, 1) + gl.nn.avg_pool1d(x, 3, 2, 1, False)
    function = gl.function([x], [y, gl.grad(gl.sum(y * y), x)])
    for shape in [(2, 2, 1), (1, 2, 6), (0, 2, 5)]:
        got, slope = function(numbers(*shape))
        assert got.shape == (*shape[:2], (shape[2] - 1) // 2 + 1)
        fixed = image(*shape)
        same = gl.nn.max_pool1d(fixed, 3, 2, 1) + gl.nn.avg_pool1d(fixed, 3, 2, 1, False)
        wanted = gl.grad(gl.sum(same * same), fixed).eval({fixed: numbers(*shape)})
        close(slope, wanted)
    with pytest.raises(gl.GradloomError, match="does not hold in this call"):
        function(numbers(2, 2, 0))


def test_errors_of_pools():
    x = image(2, 3, 5)
    refused("a window of 6 entries does not fit into 5", lambda: gl.nn.max_pool1d(x, 6))
    refused("the input needs 4 axes (N C H W), got f64[2,3,5]", lambda: gl.nn.max_pool2d(x, 2))
    refused("needs three axes or more", lambda: gl.nn.max_pool(x[0], 2))
    refused("size is at least 1, got 0", lambda: gl.nn.max_pool(x, 0))
    refused("padding is at most half a window, 1 for size 3", lambda: gl.nn.avg_pool(x, 3, 1, 2))
    refused("needs a float dtype", lambda: gl.nn.avg_pool(gl.astype(x, "int32"), 2))
    refused("p is at least 1, got 0.5", lambda: gl.nn.lp_pool(x, 0.5, 2))
    refused("the weights need 1 or 2 axes", lambda: gl.nn.weighted_pool(x, numbers(1, 1, 1)))
    refused("numbers of channels differ", lambda: gl.nn.weighted_pool(x, numbers(2, 3)))
    refused("axis 2 of f64[2,3,0] is empty", lambda: gl.nn.adaptive_avg_pool(x[:, :, :0], 2))


# --- other sizes, and columns -------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 5, 7, 12])
def test_resizing_by_centres_of_cells(size: int):
    x = numbers(2, 1, 5, 4)
    got = both(lambda x: gl.nn.resize(x, (size, 4)), x)
    centres = (np.arange(size) + 0.5) * 5 / size
    close(got, x[:, :, np.minimum(np.floor(centres + 1e-9), 4).astype(int)])
    got = both(lambda x: gl.nn.resize(x, (size, 4), "linear"), x)
    for row, column in np.ndindex(2, 4):
        wanted = np.interp(centres - 0.5, np.arange(5), x[row, 0, :, column])
        close(got[row, 0, :, column], wanted)


def test_resizing_over_named_sizes_and_whole_numbers():
    x = numbers(1, 2, 4, 3)
    twice = both(
        lambda x: gl.nn.resize(x, [2 * n for n in x.shape[2:]]), x, names=[(1, 2, "H", "W")]
    )
    close(twice, x.repeat(2, 2).repeat(2, 3))
    labels = np.arange(12).reshape(1, 1, 4, 3)
    assert np.array_equal(both(lambda x: gl.nn.resize(x, 2), labels)[0, 0], [[3, 5], [9, 11]])
    refused("linear needs a float dtype", lambda: gl.nn.resize(labels, 2, "linear"))
    refused('"nearest" or "linear", got \'cubic\'', lambda: gl.nn.resize(x, 2, "cubic"))
    refused("size is one or 2 sizes", lambda: gl.nn.resize(x, (1, 2, 3)))
    refused("size is at least 1, got 0", lambda: gl.nn.resize(x, 0))
    refused("axis 2 of f64[1,2,0,3] is empty", lambda: gl.nn.resize(x[:, :, :0], 2))


def test_nothing_resized_is_no_crash():
    """The transpose of reading an empty image writes nothing."""
    x = image(1, 2, "H")
    for method in ("nearest", "linear"):
        y = gl.nn.resize(x, 3, method)
        graph = gl.Graph("g", [x], [y, gl.grad(gl.sum(y), x)])
        empty = numbers(1, 2, 0)
        for value, slope in (gl.compile(graph)(empty), gl.evaluate(graph, {"image": empty})):
            assert not value.any() and value.shape == (1, 2, 3) and slope.shape == empty.shape


def test_columns_are_windows_and_fold_adds_them_up():
    x = numbers(2, 3, 5, 6)
    got = both(lambda x: gl.nn.unfold(x, (2, 3), (1, 2), 0, (2, 1)), x)
    assert got.shape == (2, 18, 6)
    for c, k, m, i, j in np.ndindex(3, 2, 3, 3, 2):
        close(got[:, c * 6 + k * 3 + m, i * 2 + j], x[:, c, i + 2 * k, 2 * j + m])
    back = both(lambda y: gl.nn.fold(y, (5, 6), (2, 3), (1, 2), 0, (2, 1)), got)
    count = both(lambda y: gl.nn.fold(y, (5, 6), (2, 3), (1, 2), 0, (2, 1)), np.ones_like(got))
    close(back, count * x)
    pixels = image(2, 3, 5, 4)
    program = gl.compile(gl.Graph("g", [pixels], [gl.nn.unfold(pixels, 1)])).program
    assert not program.kernels  # columns of one entry are the image as it lies
    refused("18 rows do not divide into windows of 4", lambda: gl.nn.fold(got, (5, 6), 2))
    refused("numbers of windows differ: 6 against 20", lambda: gl.nn.fold(got, (6, 6), (2, 3)))
    refused("the columns need 3 axes", lambda: gl.nn.fold(x, (5, 6), 2))
