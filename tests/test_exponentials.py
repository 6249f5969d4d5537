# pyright: standard
"""Rules about exponentials and logarithms at ordinary operands: no digit is lost, no value made
infinite, in float32 and in halves; and what they cost in nodes stays in proportion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.stabilise import stabilise
from gradloom.ir.graph import Graph

Formula = Callable[..., Any]
NEAR = [1e-9, -1e-7, 1e-5, 1e-3, 0.5, -3.0, 60.0]


def values(
    formula: Formula, feeds: Sequence[Sequence[float]], dtype: str, gradients: bool = False
) -> list[tuple[Any, Any]]:
    """What the interpreter and compiled code make of a formula (and of its gradients)."""
    inputs = [gl.placeholder((len(feed),), dtype, name=f"x{i}") for i, feed in enumerate(feeds)]
    made = formula(*inputs)
    outputs = [made, *(gl.grad(gl.sum(made), inputs) if gradients else ())]
    arrays = [np.asarray(feed, dtype) for feed in feeds]
    with np.errstate(all="ignore"):
        plain = [t.eval(dict(zip(inputs, arrays, strict=True))) for t in outputs]
    return list(zip(plain, gl.function(inputs, outputs)(*arrays), strict=True))


def exactly(formula: Formula, feeds: Sequence[Sequence[float]], dtype: str) -> Any:
    """With the digits of float64, as the interpreter computes it."""
    kept = [[float(value) for value in np.asarray(feed, dtype)] for feed in feeds]
    return values(formula, kept, "float64")[0][0]


QUOTIENTS: dict[str, Formula] = {
    "x / sinh x": lambda x: x / gl.sinh(x),
    "1 / sinh x": lambda x: 1 / gl.sinh(x),
    "tanh x / sinh x": lambda x: gl.tanh(x) / gl.sinh(x),
    "exp x / sinh x": lambda x: gl.exp(x) / gl.sinh(x),
    "sinh 0.3x / sinh x": lambda x: gl.sinh(0.3 * x) / gl.sinh(x),
    "cosh x / sinh x": lambda x: gl.cosh(x) / gl.sinh(x),
    "log(|x| + sinh |x|)": lambda x: gl.log(gl.abs(x) + gl.sinh(gl.abs(x))),
    "1 / (exp x - exp 2x)": lambda x: 1 / (gl.exp(x) - gl.exp(2 * x)),
}


@pytest.mark.campaign(3)
@pytest.mark.parametrize("name", QUOTIENTS)
def test_sinh_keeps_its_digits(name: str) -> None:
    """A difference of two exponentials that is a divisor or has a logarithm."""
    ((_, found),) = values(QUOTIENTS[name], [NEAR], "float32")
    np.testing.assert_allclose(found, exactly(QUOTIENTS[name], [NEAR], "float32"), 3e-6, 1e-38)


def test_slope_of_x_over_sinh() -> None:
    x = np.asarray([1e-9, 1e-5, 1e-3, 0.5, 3.0, -60.0], "float32")
    found = values(lambda x: x / gl.sinh(x), [x.tolist()], "float32", gradients=True)[1][1]
    exact = x.astype("float64")
    series = -exact / 3 + 7 * exact**3 / 90
    slope = (1 - exact / np.tanh(exact)) / np.sinh(exact)
    np.testing.assert_allclose(found, np.where(abs(exact) < 0.01, series, slope), rtol=1e-5)


def test_exponents_are_not_read_through_a_cast_that_rounds() -> None:
    x = gl.placeholder((4,), "float32", name="x")
    rounded = gl.astype(gl.exp(x), "float16")
    feed = np.asarray([5.1, 5.3, 4.9, 3.0], "float32")
    e = np.exp(feed).astype("float16")
    found = gl.function([x], rounded / gl.sum(rounded))(feed)
    np.testing.assert_array_equal(found, e / np.sum(e.astype("float32")).astype("float16"))


def test_halves_are_centred_in_float32() -> None:
    """Exponents of 10 and more would be rounded by 1 % in float16."""
    feeds = [[9.3, 20.1, 300.0], [1.7, 2.3, 0.1], [9.1, 19.7, 299.5]]

    def formula(x: Any, y: Any, z: Any) -> Any:
        return y * gl.exp(x) / (gl.exp(x) * y + gl.exp(z) * 3)

    ((_, found),) = values(formula, feeds, "float16")
    x, y, z = (np.asarray(feed, "float16").astype("float64") for feed in feeds)
    np.testing.assert_allclose(found.astype("float64"), 1 / (1 + np.exp(z - x) * 3 / y), rtol=2e-3)


# --- what it costs ------------------------------------------------------------------------------


def _sums_and_differences(x: Any, rounds: int) -> Any:
    a, b = gl.exp(x), gl.exp(gl.sin(x))
    for _ in range(rounds):
        a, b = a + b, a - b
    return 1 / a + gl.log(b)


def _without_exponentials(x: Any, rounds: int) -> Any:
    a, b = x, gl.sin(x)
    for _ in range(rounds):
        a, b = a + b, a - b
    return 1 / a + gl.log(b)


def _logistic_map(x: Any, rounds: int) -> Any:
    a = gl.sigmoid(x)
    for _ in range(rounds):
        a = 3.7 * a * (1 - a)
    return gl.log(a)


def _mixture(x: Any, rounds: int) -> Any:
    total = gl.sigmoid(x) * 0.1
    for i in range(rounds):
        total = total + 0.1 * gl.exp(x * float(i))
    return gl.log(total)


@pytest.mark.parametrize(
    ("formula", "rounds", "most"),
    [
        (_sums_and_differences, 40, 600),
        (_without_exponentials, 60, 300),
        (_logistic_map, 14, 400),
        (_mixture, 20, 300),
    ],
)
def test_shared_operands_are_read_once(formula: Formula, rounds: int, most: int) -> None:
    """Of tensors that are used twice, round after round, there are 2 ** rounds paths."""
    x = gl.placeholder((4,), name="x")
    graph = stabilise(Graph("shared", [x], [formula(x, rounds)]))
    assert len(graph.nodes) < most, len(graph.nodes)


# --- what is multiplied in another order may overflow --------------------------------------------

PRODUCTS: dict[str, tuple[Formula, list[list[float]], str]] = {
    "a number below": (lambda x, z: x / (1e-4 + gl.exp(z)), [[10.0, 2.0], [2.0, -3.0]], "float16"),
    "a small number": (lambda x, z: x / (1e-8 + gl.exp(z)), [[1e31, 2.0], [2.0, -9.0]], "float32"),
    "terms that cancel": (
        lambda x, y, z, w: x * (gl.log(y) + (z - w)),
        [[1e30, 2.0], [3.0, 2.0], [1e10, 1.0], [1e10, 2.0]],
        "float32",
    ),
    "products of halves": (
        lambda x, y, z: x * (gl.log(y) - gl.log(z)),
        [[3e4, 2.0], [600.0, 2.0], [200.0, 3.0]],
        "float16",
    ),
    "quotients, then a log": (
        lambda a, b, c: (a / b) * (c / b) * gl.log(a),
        [[1e25, 2.0], [1e25, 3.0], [1e25, 4.0]],
        "float32",
    ),
    "numbers, then a log": (
        lambda a, b, y: (a / 500.0) * (b / 500.0) * gl.log(y),
        [[400.0, 2.0], [450.0, 100.0], [3.0, 4.0]],
        "float16",
    ),
    "quotients and exponentials": (
        lambda a, b, c, z: (a / b) * gl.exp(z) * (c / b) * gl.exp(z),
        [[1e25, 2.0], [1e25, 3.0], [1e25, 4.0], [1.0, 2.0]],
        "float32",
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_keep_their_order(name: str) -> None:
    formula, feeds, dtype = PRODUCTS[name]
    ((_, found),) = values(formula, feeds, dtype)
    exact = exactly(formula, feeds, dtype)
    np.testing.assert_allclose(
        found.astype("float64"), exact, rtol=1e-5 if dtype == "float32" else 4e-2
    )


def test_two_infinite_logarithms_have_an_infinite_product() -> None:
    ((_, found),) = values(lambda y: (gl.log(y) + 2) * (gl.log(y) + 1), [[0.0, 1.0]], "float32")
    assert found.tolist() == [np.inf, 2.0]


def test_logarithms_vanish_with_their_factors() -> None:
    """p · (log p − log q) and its like, where p, or the weight of all, is 0."""
    p, q = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 0.25, 1.0]
    exact = np.asarray([0, 0, 0.5 * np.log(2), 0])
    for formula in (
        lambda p, q: p * (gl.log(p) - gl.log(q)),
        lambda p, q: (gl.log(p) - gl.log(q)) * p,
        lambda p, q: p * gl.log(p / q),
    ):
        np.testing.assert_allclose(values(formula, [p, q], "float32")[0][1], exact, rtol=1e-6)
    (value, by_p) = values(lambda p: p * gl.log(p), [[0.0, 1e-30, 0.5, 2.0]], "float32", True)
    kept = np.asarray([1e-30, 0.5, 2.0])
    np.testing.assert_allclose(value[1], [0, *(kept * np.log(kept))], rtol=1e-6)
    np.testing.assert_allclose(by_p[1][1:], np.log(kept) + 1, rtol=1e-6)


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, y, z: gl.logaddexp(gl.logaddexp(x, y), z),
        lambda x, y, z: gl.log(gl.exp(x) + gl.exp(y) + gl.exp(z)),
        lambda x, y, z: gl.logaddexp(x, gl.logaddexp(y, z + 2)),
    ],
)
def test_three_exponentials_are_one_kernel(formula: Formula) -> None:
    inputs = [gl.placeholder(("N",), name=name) for name in "xyz"]
    value = formula(*inputs)
    outputs = [value, *gl.grad(gl.sum(value), inputs)]
    assert len(gl.function(inputs, outputs).kernels) == 1


@pytest.mark.campaign(2)
@pytest.mark.parametrize(
    "terms",
    [
        [1e4, 9999.0, 9998.5],
        [-1e4, -1e4, -1e4, -9999.0],
        [9999.0, -1e4, 1e4],
        [-np.inf, 9999.5, 1e4],
        [1e4, -np.inf, -np.inf, 9998.0],
        [0.5, -0.25, 40.0],
    ],
)
def test_slopes_of_nested_logaddexp_are_shares(terms: list[float]) -> None:
    """Sums near 1e4 are off by 5e-4, and a slope that is read off them by as much; of four terms
    in a chain second orders still are."""
    inputs = [gl.placeholder((), name=f"x{i}") for i in range(len(terms))]
    exact = np.exp(np.asarray(terms) - max(terms))
    exact /= exact.sum()
    chain = reduce(gl.logaddexp, inputs)
    pairs = gl.logaddexp(gl.logaddexp(inputs[0], inputs[1]), reduce(gl.logaddexp, inputs[2:][::-1]))
    for total in (chain, pairs):
        slopes = gl.grad(total, inputs)
        by_all = gl.jvp(total, inputs, [gl.constant(float(i)) for i in range(len(terms))])
        compiled = gl.function(inputs, [*slopes, by_all, *gl.grad(slopes[0], inputs)])
        results = compiled(*map(np.float32, terms))
        found, (tangent, own, *others) = results[: len(terms)], results[len(terms) :]
        np.testing.assert_allclose(found, exact, rtol=3e-6)
        np.testing.assert_allclose(tangent, exact @ np.arange(len(terms)), rtol=3e-6)
        np.testing.assert_allclose(own, exact[0] * (1 - exact[0]), rtol=3e-4, atol=1e-8)
        np.testing.assert_allclose(others, -exact[0] * exact[1:], rtol=3e-4, atol=1e-20)


def test_slopes_of_nested_logaddexp_at_infinity() -> None:
    inputs = [gl.placeholder((), name=name) for name in "xyz"]
    total = reduce(gl.logaddexp, inputs)
    slopes = gl.function(inputs, gl.grad(total, inputs))
    inf = np.float32(np.inf)
    for terms, exact in (
        ((-inf, -inf, -inf), [0.25, 0.25, 0.5]),  # no share is better than another: as by pairs
        ((inf, inf, 1.0), [0.5, 0.5, 0.0]),
        ((1.0, 2.0, inf), [0.0, 0.0, 1.0]),
        ((inf, -inf, 0.0), [1.0, 0.0, 0.0]),
    ):
        np.testing.assert_array_equal(slopes(*map(np.float32, terms)), exact)


def test_cross_entropy_of_logits_has_one_softplus() -> None:
    x, y = (gl.placeholder(("N",), name=name) for name in "xy")
    graph = stabilise(Graph("losses", [x, y], [gl.softplus(x) - x * y]))
    assert [node.op.name for node in graph.nodes].count("softplus") == 1
    feeds = [[40.0, -40.0, 0.0, 20.0, -20.0], [1.0, 0.0, 0.5, 1.0, 1.0]]
    (value, by_x, _) = values(lambda x, y: gl.softplus(x) - x * y, feeds, "float32", True)
    u, v = np.asarray(feeds)
    exact = np.log1p(np.exp(-abs(u))) + np.where(u > 0, (1 - v) * u, -u * v)
    np.testing.assert_allclose(value[1], exact, rtol=1e-6)
    slope = np.where(u > 0, (1 - v) - 1 / (1 + np.exp(abs(u))), 1 / (1 + np.exp(-u)) - v)
    np.testing.assert_allclose(by_x[1], slope, rtol=1e-6, atol=1e-16)
