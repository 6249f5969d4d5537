"""Every row of the stability table meets the bar: compiled, and in the modes it does not print."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.benchmarks.exact import Truth, curvature
from gradloom.benchmarks.expressions import Expression
from gradloom.benchmarks.stability import BAR, DIGITS, TABLE, error, judge, meets, truth_of, weights
from gradloom.benchmarks.systems import gradloom_names
from gradloom.ir.graph import Graph

mp: Any = pytest.importorskip("mpmath")

NAMES = [f"{row.family}: {row.text}" for row in TABLE]


@pytest.mark.campaign(3)
@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_value_and_gradient(row: Expression) -> None:
    """The compiled function, asked for both at once."""
    found = judge(row, ["gradloom"])["gradloom"]
    assert meets(found), f"error of value and gradient: {found}"


def _stabilised(row: Expression, inputs: dict[str, Any]) -> tuple[Graph, Any, Any]:
    """A graph of the row's tangent and of its second derivative, as it is before it is fused."""
    leaves = {
        name: gl.placeholder(array.shape, str(array.dtype), name=name)
        for name, array in inputs.items()
    }
    value = row.formula(gradloom_names(), leaves)
    wanted = [leaves[name] for name in row.by(inputs)]
    directions = [gl.constant(weights(inputs[name].shape)) for name in row.by(inputs)]
    shape: Any = value.shape
    tangent = gl.jvp(value, wanted, directions)
    gradients = gl.grad(gl.sum(value * weights(shape)), wanted)
    products = [gl.sum(g * v) for g, v in zip(gradients, directions, strict=True)]
    second = gl.grad(sum(products[1:], products[0]), wanted)
    compiled = gl.function(list(leaves.values()), [tangent, *second])
    return compiled.stages["dead"], shape, len(second)


@pytest.mark.campaign(8)
@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_tangent_and_second_derivative(row: Expression) -> None:
    """The tangent to the same bar; the second derivative is finite wherever it exactly is."""
    for case in row.cases:
        inputs = row.arrays(case)
        by = row.by(case)
        graph, shape, _ = _stabilised(row, inputs)
        with np.errstate(all="ignore"):
            tangent, *second = gl.evaluate(graph, inputs)
        directions = {name: weights(inputs[name].shape) for name in by}
        truth = truth_of(row, inputs)
        size = truth.tangent(directions, absolute=True)
        assert error(tangent, truth.tangent(directions), row.alone, size) <= BAR
        exact = curvature(row.exact, inputs, by, weights(shape), directions, DIGITS)
        for name, found in zip(by, second, strict=True):
            apart = error(found, exact[name], row.alone)
            assert np.isfinite(apart), f"{name}: {found} where {exact[name]} is right"


# --- the judge itself -------------------------------------------------------------------------


def _truth(text: str, **inputs: Any) -> Truth:
    arrays = {name: np.asarray(values, np.float32) for name, values in inputs.items()}
    row = Expression("test", text, [inputs])
    return Truth(row.formula, arrays, row.by(inputs), 60)


def test_truths_are_equal_to_their_formulas() -> None:
    """Where a row's exact value is written otherwise; at inputs where 100 digits suffice."""
    for row in (row for row in TABLE if row.truth):
        inputs = {name: array.clip(-8, 8) for name, array in row.arrays(row.cases[0]).items()}
        given, written = truth_of(row, inputs), Truth(row.formula, inputs, ["x"], DIGITS)
        ones = np.ones(given.shape)
        pairs = [(given.value, written.value)]
        pairs.append((given.gradient("x", ones), written.gradient("x", ones)))
        for a, b in pairs:
            close = [mp.almosteq(x, y, 1e-40) for x, y in zip(a.flat, b.flat, strict=True)]
            assert all(close), row.text


def test_exact_derivatives_are_those_of_the_formula() -> None:
    """Each scalar function's slope is mpmath's own derivative of it."""
    from gradloom.benchmarks.exact import SCALAR

    for name, (function, _) in SCALAR.items():
        truth = _truth(f"{name}(x)", x=[0.375])
        with mp.workdps(40):
            assert mp.almosteq(truth.gradient("x", [1.0])[0], mp.diff(function, 0.375), 1e-20), name


def test_exact_jacobian_of_a_softmax() -> None:
    """p (δ − p), which nothing in exact.py says."""
    logits = [0.5, -1.0, 2.0]
    truth = _truth("exp(x) / sum(exp(x), 0)", x=logits)
    p = np.exp(logits) / np.exp(logits).sum()
    weight = np.array([1.0, 0.5, -2.0])
    wanted = p * (weight - weight @ p)
    assert np.allclose(truth.gradient("x", weight).astype(float), wanted, rtol=1e-6)
    tangent = truth.tangent({"x": weight}).astype(float)
    assert np.allclose(tangent, wanted, rtol=1e-6), "the Jacobian is symmetric"


def test_conventions_where_two_rules_meet() -> None:
    """0 · log 0 is 0, the norm's slope at 0 is 0, a branch not taken has no slope."""
    assert _truth("x * log(x)", x=[0.0]).value[0] == 0
    assert _truth("sqrt(sum(x * x))", x=[0.0, 0.0]).gradient("x", 1.0)[0] == 0
    branch = _truth("where(x > 0, sqrt(x), 3 * x)", x=[0.0])
    assert branch.gradient("x", [1.0])[0] == 3


def test_curvature_of_a_cube() -> None:
    x = np.array([2.0], np.float32)
    row = Expression("test", "x ** 3", [])
    found = curvature(row.formula, {"x": x}, ["x"], [1.0], {"x": np.ones(1)}, 40)
    assert mp.almosteq(found["x"][0], 12, 1e-20)


def test_error_sees_what_is_wrong() -> None:
    exact = np.array([mp.mpf(1), mp.mpf("1e-20"), mp.inf, mp.mpf("1e50")], object)
    right = [1.0, 1e-20, 5.0, np.nan]
    assert error(right, exact, alone=True) < 1e-6, "beyond float32 nothing is judged"
    assert np.isnan(error([np.nan, *right[1:]], exact, alone=False))
    assert error([-np.inf, *right[1:]], exact, alone=False) == np.inf
    doubled = [1.0, 2e-20, 5.0, np.nan]
    assert error(doubled, exact, alone=True) == pytest.approx(1)
    assert error(doubled, exact, alone=False) < 1e-19
    with pytest.raises(ValueError, match="shape"):
        error([1.0], exact, alone=True)


def test_a_naive_softmax_would_be_seen() -> None:
    """The bar is missed by the reference interpreter, which computes the formula as it stands."""
    (row,) = [r for r in TABLE if r.text == "exp(x) / sum(exp(x), 1, keepdims=True)"]
    inputs = row.arrays(row.cases[0])
    x = gl.placeholder((2, 3), name="x")
    with np.errstate(all="ignore"):
        naive = row.formula(gradloom_names(), {"x": x}).eval(inputs)
    assert not error(naive, truth_of(row, inputs).value, row.alone) <= BAR


def test_names_and_inputs_of_the_table() -> None:
    assert len(TABLE) >= 80
    assert len({(row.family, row.text, str(row.cases)) for row in TABLE}) == len(TABLE)
    for row in TABLE:
        for case in row.cases:
            assert row.by(case), row.text
