# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""map and associative_scan against NumPy, loops over entries, and cumulative ops."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.graph import Graph
from gradloom.ir.tensor import Tensor

from .loop_cases import Both
from .op_cases import close

NumpyArray = np.ndarray[Any, Any]


# --- map ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 4])
def test_map(length: int) -> None:
    """Structures in and out, what is read from outside, and gradients, as by vmap."""
    xs = gl.placeholder(("T", 2), "float64", "xs")
    ks = gl.placeholder(("T",), "int64", "ks")
    w = gl.placeholder((2, 2), "float64", "w")

    def function(entry: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        return gl.tanh(w @ entry["x"]), [entry["k"] + 1]

    both: list[list[Tensor]] = []
    for made in (gl.map(function, {"x": xs, "k": ks}), gl.vmap(function)({"x": xs, "k": ks})):
        values, (more,) = made
        loss = gl.sum(values * values)
        slopes = gl.grad(loss, [w, xs])
        second = gl.grad(gl.sum(slopes[0] * w), xs)
        both.append([values, more, *slopes, second, gl.jvp(loss, w, w)])
    rng = np.random.default_rng(length)
    arrays = rng.normal(size=(length, 2)), np.arange(length), rng.normal(size=(2, 2))
    count = len(both[0])
    found = Both([xs, ks, w], [*both[0], *both[1]])(*arrays)
    for got, wanted in zip(found[:count], found[count:], strict=True):
        close(got, wanted, 1e-12)
    assert found[1].tolist() == list(range(1, length + 1))


def test_wrong_uses_of_map() -> None:
    x = gl.placeholder((3,), name="x")
    wrong: Any = x
    two: Any = lambda a, b: a  # noqa: E731
    for make, told in (
        (lambda: gl.map(gl.sin, []), "map goes over tensors"),
        (lambda: gl.map(gl.sin, 1.0), "but xs is f32[]"),
        (lambda: gl.map(two, x), "the function is called with (an entry of xs)"),
        (lambda: gl.map(lambda e: e[0], (x, x[:2])), "xs[0] is f32[3] but xs[1] is f32[2]"),
        (lambda: gl.map(wrong, x), "the function is a function, got"),
        (lambda: gl.map(lambda e: e @ e, x), "matmul"),
    ):
        with pytest.raises(gl.GradloomError) as caught:
            make()
        assert told in str(caught.value)
        assert "test_mapping.py:" in str(caught.value)


# --- associative_scan -----------------------------------------------------------------------------

LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 13]


def folded(
    function: Callable[[Any, Any], Any], rows: NumpyArray, backwards: bool = False
) -> NumpyArray:
    """What associative_scan means, by NumPy."""
    found = np.array(rows)
    order = list(range(len(rows)))[:: -1 if backwards else 1]
    for before, here in pairwise(order):
        found[here] = function(found[before], rows[here])
    return found


@pytest.mark.campaign(4)
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("length", LENGTHS)
def test_products_of_matrices(length: int, backwards: bool) -> None:
    """They do not commute; with a number and with a name for the length."""
    values = np.random.default_rng(length).normal(size=(length, 3, 3))
    for size in (length, "T"):
        xs = gl.placeholder((size, 3, 3), "float64", "xs")
        made = gl.associative_scan(lambda a, b: a @ b, xs, reverse=backwards)
        wanted = folded(np.matmul, values, backwards)
        close(Both([xs], [made])(values)[0], wanted, 1e-11)


@pytest.mark.campaign(2)
@pytest.mark.parametrize("size", [6, "T"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_cumulative_ops(axis: int, size: int | str) -> None:
    """Sums, maxima and their derivatives are those of the cumulative ops."""
    shape = [2, 3, 4]
    shape[axis] = 6
    sizes: list[Any] = list(shape)
    sizes[axis] = size
    xs = gl.placeholder(tuple(sizes), "float64", "xs")
    outputs: list[Tensor] = []
    for by_scan, plain in (
        (gl.associative_scan(gl.add, xs, axis), gl.cumsum(xs, axis)),
        (gl.associative_scan(gl.maximum, xs, axis), gl.cumulative_max(xs, axis)),
        (gl.associative_scan(gl.multiply, xs, axis), gl.cumprod(xs, axis)),
    ):
        for made in (by_scan, plain):
            slope = gl.grad(gl.sum(gl.sin(made)), xs)
            outputs += [made, slope, gl.jvp(made, xs, xs)]
    values = np.random.default_rng(0).normal(size=shape)
    found = Both([xs], outputs)(values)
    for start in range(0, len(found), 6):
        for got, wanted in zip(found[start : start + 3], found[start + 3 : start + 6], strict=True):
            close(got, wanted, 1e-10)


@pytest.mark.parametrize("size", [5, "T"])
def test_compositions_of_affine_maps(size: int | str) -> None:
    """h[t] = a[t] · h[t - 1] + b[t], from h[-1] = 0, as a structure; a number read from outside."""
    a, b = (gl.placeholder((size,), "float64", name) for name in "ab")
    scale = gl.placeholder((), "float64", "scale")

    def compose(f: dict[str, Tensor], g: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"b": g["b"] + g["a"] * f["b"] * scale / scale, "a": f["a"] * g["a"]}

    made = gl.associative_scan(compose, {"a": a, "b": b})
    by_scan, _ = gl.grad(made["b"][-1], [a, scale])
    values = np.random.default_rng(0).normal(size=(2, 5))
    found = Both([a, b, scale], [made["b"], by_scan])(*values, 1.5)
    state, states = 0.0, list[float]()
    for slope, offset in zip(*values, strict=True):
        state = slope * state + offset
        states.append(state)
    close(found[0], states)
    behind = np.append(np.cumprod(values[0][:0:-1])[::-1], 1.0)
    close(found[1], np.array([0.0, *states[:-1]]) * behind, 1e-11)


def test_few_rounds() -> None:
    """1000 entries take rounds, not a loop: no more than two calls for each power of two."""
    xs = gl.placeholder((1000, 2, 2), name="xs")
    made = gl.associative_scan(lambda a, b: a @ b, xs)
    ops = [node.op.name for node in Graph("g", [xs], [made]).nodes]
    assert ops.count("matmul") <= 20 and "scan" not in ops


def test_integers_and_vmap() -> None:
    xs = gl.placeholder((2, 5), "int64", "xs")
    made = gl.vmap(lambda row: gl.associative_scan(gl.minimum, row))(xs)
    values = np.array([[3, 1, 2, 0, 5], [9, 9, 8, 10, 1]])
    assert Both([xs], [made])(values)[0].tolist() == np.minimum.accumulate(values, 1).tolist()


def test_wrong_uses_of_associative_scan() -> None:
    x = gl.placeholder((3, 2), name="x")
    both, wrong = (x, x[:2]), dict[str, Any](tensor=x, one=lambda a: a)
    cases: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: gl.associative_scan(gl.add, []), ValueError, "goes over tensors"),
        (lambda: gl.associative_scan(gl.add, 1.0), ValueError, "but xs is f32[]"),
        (lambda: gl.associative_scan(gl.add, x, 2), IndexError, "axis 2"),
        (lambda: gl.associative_scan(wrong["tensor"], x), ValueError, "the function is a function"),
        (
            lambda: gl.associative_scan(wrong["one"], x),
            ValueError,
            "called with (the result so far, an entry of xs)",
        ),
        (
            lambda: gl.associative_scan(lambda a, b: a[0] + b, both),
            ValueError,
            "xs[0] is f32[3,2] but xs[1] is f32[2,2]",
        ),
        (
            lambda: gl.associative_scan(lambda a, b: (a, b), x),
            ValueError,
            "the function gives a tuple of 2 for an entry of xs, which is f32[2]",
        ),
        (
            lambda: gl.associative_scan(lambda a, b: gl.sum(a + b), x),
            ValueError,
            "takes f32[2] as an entry of xs but gives f32[]",
        ),
        (
            lambda: gl.associative_scan(lambda a, b: a > b, x),
            TypeError,
            "takes f32[2] as an entry of xs but gives bool[2]",
        ),
    ]
    for make, kind, told in cases:
        with pytest.raises(kind) as caught:
            make()
        assert told in str(caught.value), str(caught.value)
        assert "test_mapping.py:" in str(caught.value)
