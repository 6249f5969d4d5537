# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Taps and clipping, against closed forms and against NumPy in more digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.graph import Graph
from gradloom.ir.tensor import Tensor

from .op_cases import close, slopes_of
from .test_custom import B3, array, run

NumpyArray = np.ndarray[Any, Any]


def test_a_tap_changes_cotangents_and_nothing_else():
    x, v = gl.placeholder(B3, "float64", "x"), gl.placeholder(B3, "float64", "v")
    loss = gl.sum(gl.exp(gl.tap(x, lambda u: 2.0 * u + 1.0)))
    slopes = gl.grad(loss, x)
    outputs = [loss, slopes, gl.jvp(loss, x, v), gl.jvp(slopes, x, v)]
    for batch in (0, 1, 4):
        a, d = array(batch, 3), array(batch, 3, seed=1)
        e = np.exp(a)
        wanted = [np.sum(e), 2 * e + 1, np.sum(e * d), 2 * e * d]
        for got, value in zip(run([x, v], outputs, a, d), wanted, strict=True):
            np.testing.assert_allclose(got, value, 1e-10)


def test_the_gradient_is_read_before_and_behind_a_tap():
    x = gl.placeholder(B3, "float64", "x")
    before = gl.exp(x)
    tapped = gl.clip_gradient(before, 0.5)
    loss = gl.sum(gl.square(tapped))
    a = array(4, 3)
    found = run([x], gl.grad(loss, [tapped, before, x]), a)
    e = np.exp(a)
    for got, value in zip(found, (2 * e, np.full_like(a, 0.5).clip(None, 2 * e)), strict=False):
        close(got, value, 1e-12)
    close(found[2], found[1] * e, 1e-12)


def test_a_tap_of_a_structure_sees_all_cotangents_at_once():
    x, y = gl.placeholder((3,), "float64", "x"), gl.placeholder((2,), "float64", "y")
    n = gl.placeholder((2,), "int64", "n")
    seen: list[Any] = []

    def fn(cotangents: Any) -> Any:
        seen.append(cotangents)
        (first, second), whole = cotangents["w"], cotangents["n"]
        assert whole is None
        return {"w": (first + gl.sum(second), None), "n": None}

    out = gl.tap({"w": (x, y), "n": n}, fn)
    assert out["n"].type == n.type and isinstance(out["w"], tuple)
    some = gl.grad(gl.sum(out["w"][0]) + 2.0 * gl.sum(out["w"][1]), [x, y])
    only = gl.grad(gl.sum(out["w"][0]), x)  # none reaches y: zeros there
    found = run([x, y, n], [*some, only, out["n"]], array(3), array(2), np.arange(2))
    for got, value in zip(found, ([5.0] * 3, [0.0] * 2, [1.0] * 3, [0, 1]), strict=True):
        np.testing.assert_array_equal(got, value)


def test_a_threshold_that_is_computed_or_a_parameter():
    """It may be differentiated by: a clipped gradient moves with its limit."""
    x, limit = gl.placeholder((3,), "float64", "x"), gl.parameter(np.array(2.0), "limit")
    slopes = gl.grad(gl.sum(gl.square(gl.clip_gradient(x, limit * 2.0))), x)
    function = gl.function([x], [slopes, gl.grad(gl.sum(slopes), limit)])
    values, by_limit = function(np.array([-3.0, 1.0, 5.0]))
    np.testing.assert_array_equal(values, [-4.0, 2.0, 4.0])
    assert by_limit == 0.0  # -2 + 2
    assert function(np.array([0.0, 1.0, 5.0]))[1] == 2.0
    limit.value = np.array(0.5)
    np.testing.assert_array_equal(function(np.array([-3.0, 0.1, 5.0]))[0], [-1.0, 0.2, 1.0])


def test_equal_taps_stay_apart():
    """Each clips what comes to it: no pass may take two for one, since their sum is another."""
    x = gl.placeholder((3,), "float64", "x")
    loss = gl.sum(10.0 * gl.clip_gradient(x, 3.0)) + gl.sum(10.0 * gl.clip_gradient(x, 3.0))
    np.testing.assert_array_equal(run([x], [gl.grad(loss, x)], array(3))[0], [6.0] * 3)
    np.testing.assert_array_equal(gl.function([x], gl.grad(loss, x))(array(3)), [6.0] * 3)


def test_clip_gradient_of_entries():
    x = gl.placeholder(("B",), name="x")
    u = gl.placeholder(("B",), name="u")
    clipped = gl.grad(gl.clip_gradient([x, x], 1.5)[1], x, u)
    given = np.array([-np.inf, -2, -1.5, -0.0, 1e-40, 1, 2, np.inf, np.nan], "f4")
    found = run([x, u], [clipped], given, given)[0]
    np.testing.assert_array_equal(found, np.clip(given, -1.5, 1.5))


def test_clipping_within_a_loop():
    """The gradient of a recurrence, clipped at each step so that it cannot explode."""
    xs, start = gl.placeholder((6,), "float64", "xs"), gl.placeholder((), "float64", "s")
    w = gl.placeholder((), "float64", "w")

    def body(c: Tensor, x: Tensor) -> tuple[Tensor, None]:
        return gl.clip_gradient(c, 2.0) * w + x, None

    last, _ = gl.scan(body, start, xs)
    slopes = gl.grad(last, [start, w])
    a = array(6)
    states = [0.5]
    for x in a:
        states.append(states[-1] * 3.0 + x)
    back, by_w = 1.0, 0.0
    for state in states[-2::-1]:
        by_w += back * state
        back = min(3.0 * back, 2.0)
    found = run([xs, start, w], slopes, a, np.array(0.5), np.array(3.0))
    close(found[0], back)
    close(found[1], by_w, 1e-12)


# --- by the global norm -------------------------------------------------------------------------


def by_numpy(gradients: Sequence[NumpyArray], limit: float) -> list[NumpyArray]:
    """The definition, in digits and exponents to spare."""
    wide = [np.asarray(g, np.longdouble) for g in gradients]
    norm = np.sqrt(sum(np.sum(g * g) for g in wide))
    factor = np.longdouble(1.0) if norm <= limit else np.longdouble(limit) / norm
    return [np.asarray(g * factor, np.float64) for g in wide]


CASES: dict[str, tuple[str, list[Any], float]] = {
    "within": ("float32", [[0.3, -0.4], [[0.1], [0.2]]], 1.0),
    "above": ("float32", [[3.0, -4.0], [[12.0]]], 1.0),
    "just the limit": ("float64", [[3.0, -4.0], [[12.0]]], 13.0),
    "zero": ("float64", [[0.0, 0.0], [-0.0]], 1.0),
    "limit zero": ("float64", [[3.0, -4.0], [0.0]], 0.0),
    "zero and zero": ("float64", [[0.0, 0.0], [0.0]], 0.0),
    "squares overflow": ("float32", [[3e38, -3e38], [3e38] * 100], 5.0),
    "squares underflow": ("float32", [[3e-30, -4e-30], [1.2e-29]], 1e-30),
    "subnormal": ("float32", [[3e-40, -4e-40], [0.0]], 1e-40),
    "below a huge limit": ("float32", [[3e-40, -4e-40], [0.0]], 1e30),
    "endless limit": ("float32", [[3e38, -3e38], [1.0]], float("inf")),
    "one entry": ("float64", [-7.0], 2.0),
    "one and nothing": ("float64", [[], [6.0, 8.0], []], 5.0),
    "nothing": ("float64", [[], []], 5.0),
    "far apart": ("float64", [[1e200, 1.0], [1e-200]], 1.0),
}


@pytest.mark.campaign(4)
@pytest.mark.parametrize(("dtype", "given", "limit"), CASES.values(), ids=CASES)
def test_clip_by_global_norm(dtype: str, given: list[Any], limit: float):
    arrays = [np.array(g, dtype) for g in given]
    inputs = [gl.placeholder(a.shape, dtype, f"g{i}") for i, a in enumerate(arrays)]
    clipped = gl.clip_by_global_norm(inputs, limit)
    assert isinstance(clipped, list) and [t.type for t in clipped] == [t.type for t in inputs]
    for got, value in zip(run(inputs, clipped, *arrays), by_numpy(arrays, limit), strict=True):
        np.testing.assert_allclose(got, value, 3e-7, 2e-45 if dtype == "float32" else 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_norm_that_is_no_number_spreads(bad: float):
    x, y = gl.placeholder(("B",), name="x"), gl.placeholder((), name="y")
    clipped = gl.clip_by_global_norm({"x": x, "y": y}, 1.0)
    found = run([x, y], [clipped["x"], clipped["y"]], np.array([1, bad], "f4"), np.float32(0.1))
    assert all(np.isnan(value).all() for value in found)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_sizes_known_at_the_call_and_dtypes_that_differ(batch: int):
    x, y = gl.placeholder(("B", 2), "float16", "x"), gl.placeholder(("B",), "float64", "y")
    limit = gl.placeholder((), "float32", "limit")
    clipped = gl.clip_by_global_norm((x, y), limit)
    a, b = (300 * array(batch, 2)).astype("f2"), array(batch, seed=1)
    found = gl.function([x, y, limit], list(clipped))(a, b, np.float32(0.5))
    for got, value, given in zip(found, by_numpy([a, b], 0.5), (a, b), strict=True):
        assert got.dtype == given.dtype
        np.testing.assert_allclose(got.astype("f8"), value, 1e-3 if given is a else 1e-12)


@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_the_derivative_of_clipping_by_norm(limit: float):
    x, y = gl.placeholder((3,), "float64", "x"), gl.placeholder((2, 2), "float64", "y")
    first, second = gl.clip_by_global_norm([x, y], limit)
    loss = gl.sum(gl.sin(first)) + gl.sum(second * second * second)
    arrays = [array(3), array(2, 2, seed=1)]
    found = run([x, y], gl.grad(loss, [x, y]), *arrays)
    for i, got in enumerate(found):
        np.testing.assert_allclose(
            got, slopes_of(Graph("g", [x, y], [loss]), arrays, i), 1e-6, 1e-8
        )
    at_zero = run([x, y], gl.grad(loss, [x, y]), np.zeros(3), np.zeros((2, 2)))
    close(at_zero[0], np.ones(3))
    close(at_zero[1], np.zeros((2, 2)))


def test_a_tap_by_global_norm_clips_all_parameters_together():
    w, b = gl.parameter(array(3, 2), "w"), gl.parameter(array(2, seed=1), "b")
    x = gl.placeholder(("B", 3), "float64", "x")

    def loss(p: dict[str, Tensor]) -> Tensor:
        return gl.sum(gl.square(gl.tanh(x @ p["w"] + p["b"])))

    tapped = loss(gl.clip_gradient_by_global_norm({"w": w, "b": b}, 0.1))
    plain = gl.grad(loss({"w": w, "b": b}), [w, b])
    values = list(gl.clip_by_global_norm(plain, 0.1))
    a = array(5, 3, seed=2)
    found = gl.function([x], [*gl.grad(tapped, [w, b]), *values, *plain])(a)
    for got, value, definition in zip(found[:2], found[2:4], by_numpy(found[4:], 0.1), strict=True):
        close(got, definition, 1e-12)
        close(value, definition, 1e-12)
    step = gl.function([x], tapped, updates={w: w - gl.grad(tapped, w)})
    before = w.value.copy()
    step(a)
    close(w.value, before - found[0], 1e-12)


def test_each_sample_is_clipped_apart():
    """As differentially private training asks: by a tap in the function, and as values."""
    w, x = gl.placeholder((3,), "float64", "w"), gl.placeholder(B3, "float64", "x")

    def slopes(row: Tensor) -> Tensor:
        return gl.grad(gl.square(gl.sum(w * row)), w)

    def tapped(row: Tensor) -> Tensor:
        return gl.grad(gl.square(gl.sum(gl.clip_gradient_by_global_norm(w, 1.0) * row)), w)

    by_value = gl.vmap(lambda row: gl.clip_by_global_norm(slopes(row), 1.0))(x)
    outputs = [gl.sum(by_value, 0), gl.sum(gl.vmap(tapped)(x), 0)]
    b = array(3, seed=1)
    for batch in (0, 1, 5):
        a = array(batch, 3)
        each = [by_numpy([2 * (row @ b) * row], 1.0)[0] for row in a]
        for got in run([w, x], outputs, b, a):
            close(got, np.sum(each, 0) if each else np.zeros(3), 1e-12)
