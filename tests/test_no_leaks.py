# pyright: reportUnknownLambdaType=false
"""What a choice leaves out leaves no nan in a derivative, of any order and in both modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.ops.request import pushforward
from gradloom.ir.tensor import Tensor

NumpyArray = np.ndarray[Any, Any]
Formula = Callable[[Any], Any]

POINTS = np.array([-1e30, -1e4, -3.0, -1.0, 0.0, 0.5, 0.75, 1.0, 3.0, 1e4, 1e30], np.float32)
WEIGHTS = np.arange(1, len(POINTS) + 1, dtype=np.float32)


def _nonzero(x: Tensor) -> Tensor:
    return gl.not_equal(x, 0.0)


# (the formula, where it is chosen, and its first and second derivative there; 0 elsewhere)
CASES: dict[str, tuple[Formula, Formula, Formula, Formula]] = {
    "sqrt": (
        lambda x: gl.where(x > 0, gl.sqrt(x), 0.0),
        lambda x: x > 0,
        lambda x: 0.5 * x**-0.5,
        lambda x: -0.25 * x**-1.5,
    ),
    "sqrt of what is cut off": (
        lambda x: gl.sqrt(gl.relu(x)),
        lambda x: x > 0,
        lambda x: 0.5 * x**-0.5,
        lambda x: -0.25 * x**-1.5,
    ),
    "mask times sqrt": (
        lambda x: gl.astype(x > 0, "float32") * gl.sqrt(gl.abs(x)),
        lambda x: x > 0,
        lambda x: 0.5 * x**-0.5,
        lambda x: -0.25 * x**-1.5,
    ),
    "log": (
        lambda x: gl.where(x > 0, gl.log(x), 0.0),
        lambda x: x > 0,
        lambda x: 1 / x,
        lambda x: -1 / x**2,
    ),
    "log in the branch not taken": (
        lambda x: gl.where(x <= 0, 0.0, gl.log(x)),
        lambda x: x > 0,
        lambda x: 1 / x,
        lambda x: -1 / x**2,
    ),
    "entropy": (
        lambda x: gl.where(x > 0, x * gl.log(x), 0.0),
        lambda x: x > 0,
        lambda x: np.log(x) + 1,
        lambda x: 1 / x,
    ),
    "sign": (
        lambda x: gl.where(_nonzero(x), x / gl.abs(x), 0.0),
        lambda x: x != 0,
        lambda x: 0 * x,
        lambda x: 0 * x,
    ),
    "quotient": (
        lambda x: gl.where(_nonzero(x), 2.0 / x, 0.0),
        lambda x: x != 0,
        lambda x: -2 / x**2,
        lambda x: 4 / x**3,
    ),
    "exp": (
        lambda x: gl.where(x < 80, gl.exp(x), 0.0),
        lambda x: x < 80,
        lambda x: np.exp(x),
        lambda x: np.exp(x),
    ),
    "powers on both sides": (
        lambda x: gl.where(x > 0, x**1.5, gl.where(x < 0, -((-x) ** 1.5), 0.0)),
        lambda x: x != 0,
        lambda x: 1.5 * np.abs(x) ** 0.5,
        lambda x: 0.75 * np.sign(x) * np.abs(x) ** -0.5,
    ),
    "nested": (
        lambda x: gl.where(x > 0, gl.where(x < 2, gl.log(x), gl.sqrt(x - 2.0)), 0.0),
        lambda x: x > 0,
        lambda x: np.where(x < 2, 1 / x, 0.5 * np.clip(x - 2, 1e-9, None) ** -0.5),
        lambda x: np.where(x < 2, -1 / x**2, -0.25 * np.clip(x - 2, 1e-9, None) ** -1.5),
    ),
    "a bounded op of nan": (
        lambda x: gl.where(x > 0, gl.tanh(gl.sqrt(x)), 0.0),
        lambda x: x > 0,
        lambda x: (1 - np.tanh(x**0.5) ** 2) * 0.5 * x**-0.5,
        lambda x: -(1 - np.tanh(x**0.5) ** 2) * (0.25 * x**-1.5 + 0.5 * np.tanh(x**0.5) / x),
    ),
    "a product that overflows": (
        lambda x: gl.where(gl.abs(x) < 2, (x * x) * (x * x) * ((x * x) * (x * x)), 0.0),
        lambda x: np.abs(x) < 2,
        lambda x: 8 * x**7,
        lambda x: 56 * x**6,
    ),
    "inverse sines": (
        lambda x: gl.where(gl.abs(x) < 1, gl.asin(x) + gl.acos(x) + gl.atanh(x), 0.0),
        lambda x: np.abs(x) < 1,
        lambda x: 1 / (1 - x * x),
        lambda x: 2 * x / (1 - x * x) ** 2,
    ),
    "flat beyond all powers": (
        lambda x: gl.where(_nonzero(x), gl.exp(-1 / (x * x)), 0.0),
        lambda x: x != 0,
        lambda x: np.exp(-1 / x**2) * 2 / x**3,
        lambda x: np.exp(-1 / x**2) * (4 / x**6 - 6 / x**4),
    ),
    "what saturates": (
        lambda x: 1.0 / (1.5 + gl.exp(x)),
        lambda x: x == x,
        lambda x: -1 / (1.5 * np.exp(-x / 2) + np.exp(x / 2)) ** 2,
        lambda x: (
            (1 - 1.5 * np.exp(-x)) / (1.5 * np.exp(-x / 3) + np.exp(2 * x / 3)) ** 3 * np.exp(x)
        ),
    ),
    "an infinite slope meets 0": (
        lambda x: (x * x * x * x) ** 0.75,
        lambda x: np.abs(x) < 1e5,
        lambda x: 3 * x * np.abs(x),
        lambda x: 6 * np.abs(x),
    ),
}


def _asked(formula: Formula) -> list[Tensor]:
    x = gl.placeholder(POINTS.shape, name="x")
    y = formula(x)
    first = gl.grad(gl.sum(y), x)
    weights = gl.constant(WEIGHTS)
    (tangent,) = pushforward([y], [x], [weights])
    (of_first,) = pushforward([first], [x], [weights])
    return [x, first, gl.grad(gl.sum(first * weights), x), tangent, of_first]


@pytest.mark.campaign(3)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("how", ["interpreted", "compiled"])
def test_both_orders_and_modes(name: str, how: str):
    formula, chosen, slope, curvature = CASES[name]
    x, *outputs = _asked(formula)
    if how == "compiled":
        found = gl.function([x], outputs)(POINTS)
    else:
        found = [output.eval({x: POINTS}) for output in outputs]
    exact: Any = POINTS.astype(np.float64)
    with np.errstate(all="ignore"):
        taken = chosen(exact)
        first = np.where(taken, slope(exact), 0.0)
        second = np.where(taken, curvature(exact), 0.0)
    if name == "what saturates":  # float64 itself overflows
        first, second = np.nan_to_num(first, nan=0.0), np.nan_to_num(second, nan=0.0)
    if name == "an infinite slope meets 0":
        second[~taken] = first[~taken] = np.nan  # not judged: the square overflows
    wanted = [first, second * WEIGHTS, first * WEIGHTS, second * WEIGHTS]
    for what, got, value in zip(
        ("reverse", "twice", "forward", "mixed"), found, wanted, strict=True
    ):
        judged = np.isfinite(value) & (np.abs(value) < 1e38)
        allowed = 1e-5 * np.abs(value) + (1e-5 if name == "sign" else 1e-28)
        bad = judged & ~(np.abs(got - value) <= allowed)
        assert not bad.any(), f"{what} at {POINTS[bad]}: {got[bad]} for {value[bad]}"


def test_classes_that_are_not_asked_for_may_be_impossible():
    """∂(−log p[t])/∂p of probabilities that are 0: 0, not 0 · ∞."""
    p = gl.placeholder((3, 4), name="p")
    t = gl.placeholder((3,), "int64", name="t")
    losses = [
        -gl.sum(gl.log(p)[gl.arange(3), t]),
        -gl.sum(gl.one_hot(t, 4) * gl.log(gl.maximum(p, 1e-30))),
        -gl.sum(gl.take_along_axis(gl.log(p), t[:, None], axis=1)),
    ]
    values = np.array([[0, 1, 0, 0], [0.5, 0, 0.5, 0], [0.25, 0.25, 0.25, 0.25]], np.float32)
    targets = np.array([1, 2, 0])
    wanted = np.zeros((3, 4), np.float32)
    wanted[np.arange(3), targets] = [-1, -2, -4]
    squares = np.where(wanted == 0, 0, wanted**2)
    for loss in losses:
        first = gl.grad(loss, p)
        second = gl.grad(gl.sum(first), p)
        found = gl.function([p, t], [first, second])(values, targets)
        np.testing.assert_allclose(found[0], wanted, 1e-6)
        np.testing.assert_allclose(found[1], squares, 1e-6)


def test_slices_gathers_and_padding_leave_nothing():
    x = gl.placeholder((6,), name="x")
    values = np.array([-1, 0, 0, 4, 9, 0], np.float32)
    for chosen in (
        gl.sqrt(x)[3:5],
        gl.take(gl.sqrt(x), gl.constant([3, 4])),
        gl.max(gl.where(x > 0, gl.log(x), 0.0)),
        gl.tanh(gl.log(x))[3:5],
        gl.flip(gl.sqrt(x))[1:3],
    ):
        slope = gl.function([x], gl.grad(gl.sum(chosen), x))(values)
        assert np.isfinite(slope).all()
        assert np.array_equal(slope != 0, [False] * 3 + [chosen.ndim > 0, True, False])


def test_a_safe_division_by_both():
    x = gl.placeholder((4,), name="x")
    y = gl.placeholder((4,), name="y")
    total = gl.sum(gl.where(gl.not_equal(y, 0.0), x / y, 0.0))
    found = gl.function([x, y], gl.grad(total, [x, y]))(
        np.array([1, 0, 2, 3], np.float32), np.array([0, 0, 4, -1], np.float32)
    )
    np.testing.assert_array_equal(found[0], [0, 0, 0.25, -1])
    np.testing.assert_array_equal(found[1], [0, 0, -0.125, -3])


def test_powers_of_zero():
    x = gl.placeholder((4,), name="x")
    y = gl.placeholder((4,), name="y")
    total = gl.sum(gl.pow(x, y))
    found = gl.function([x, y], gl.grad(total, [x, y]))(
        np.array([0, 0, 0, 2], np.float32), np.array([1, 2, 0, 3], np.float32)
    )
    np.testing.assert_array_equal(found[0], [1, 0, 0, 12])
    np.testing.assert_allclose(found[1], [0, 0, 0, 8 * np.log(2)], 1e-6)


def test_a_row_that_is_masked_altogether():
    """Attention: no key for the second query, whose scores are all −∞."""
    scores = gl.placeholder((2, 3), name="scores")
    mask = gl.placeholder((2, 3), "bool", name="mask")
    weights = gl.softmax(gl.where(mask, scores, -np.inf), axis=1)
    some = gl.any(mask, axis=1, keepdims=True)
    total = gl.sum(gl.where(some, weights * gl.constant([[1.0, 2.0, 3.0]]), 0.0))
    slope = gl.function([scores, mask], gl.grad(total, scores))(
        np.zeros((2, 3), np.float32), np.array([[True, True, False], [False] * 3])
    )
    np.testing.assert_allclose(slope, [[-0.25, 0.25, 0], [0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_in_other_dtypes(dtype: str):
    x = gl.placeholder((3,), dtype, name="x")
    slope = gl.grad(gl.sum(gl.where(x > 0, gl.tanh(gl.sqrt(x)), 0.0)), x)
    values = gl.astype(gl.constant([-1.0, 0.0, 1.0]), dtype).eval({})
    found = gl.function([x], slope)(values)
    assert found.dtype == values.dtype
    assert np.array_equal(found.astype(np.float64)[:2], [0, 0])
    assert float(found[2]) == pytest.approx(0.5 * (1 - np.tanh(1) ** 2), rel=1e-2)


def test_a_true_infinity_stays():
    """The slope of √|x| at 0 from the right is infinite, and so is that of log: nothing hides."""
    x = gl.placeholder((2,), name="x")
    for root in (gl.sqrt(x), gl.log(x), x**0.5):
        slope = gl.function([x], gl.grad(gl.sum(root), x))(np.array([0, 1], np.float32))
        assert slope[0] == np.inf
        assert np.isfinite(slope[1])


def test_a_nan_that_takes_part_stays():
    x = gl.placeholder((3,), name="x")
    slope = gl.function([x], gl.grad(gl.sum(gl.sqrt(x) * 2.0), x))(
        np.array([np.nan, -1, 4], np.float32)
    )
    assert np.isnan(slope[:2]).all()
    assert slope[2] == 0.5
