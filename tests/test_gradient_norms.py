"""Norms of gradients over depth: networks and loops that are known to vanish or explode."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import ArgumentError, GradientError
from gradloom.ir.tensor import Tensor


def network(
    activation: Callable[[Tensor], Tensor], scale: float, depth: int = 30
) -> tuple[Tensor, list[gl.Parameter], list[Tensor], dict[str, Any]]:
    """A loss of a deep network, its weights and activations from the input on, and feeds."""
    rng, width = np.random.default_rng(0), 16
    x, t = gl.placeholder(("B", width), name="x"), gl.placeholder(("B", width), name="t")
    h: Tensor = x
    weights: list[gl.Parameter] = []
    layers: list[Tensor] = []
    for i in range(depth):
        value = rng.standard_normal((width, width)) * scale / np.sqrt(width)
        weights.append(gl.parameter(value.astype(np.float32), name=f"w{i}"))
        h = activation(h @ weights[-1])
        layers.append(h)
    feeds = {"x": rng.standard_normal((8, width)), "t": rng.standard_normal((8, width))}
    return gl.mean((h - t) ** 2), weights, layers, {k: v.astype("f") for k, v in feeds.items()}


@pytest.mark.parametrize(
    ("activation", "scale", "verdict"),
    [
        (gl.tanh, 0.4, "vanishing"),
        (gl.tanh, 8.0, "exploding"),
        (gl.relu, np.sqrt(2.0), "steady"),
    ],
)
def test_deep_networks(activation: Callable[[Tensor], Tensor], scale: float, verdict: str):
    loss, weights, layers, feeds = network(activation, scale)
    by_weight = gl.gradient_norms(loss, weights, feeds)
    assert by_weight.verdict == verdict
    assert list(by_weight.norms)[:2] == ["w0", "w1"]
    by_layer = gl.gradient_norms(loss, {f"layer {i}": h for i, h in enumerate(layers)}, feeds)
    assert by_layer.verdict == verdict and "layer 29" in by_layer.norms
    text = str(by_layer).splitlines()
    assert len(text) == 31 and text[-1].startswith(f"{verdict}: the first norm is")
    assert "0.001" in text[-1], "the criterion"
    first, last = (text[i].count("▇") for i in (0, 29))
    assert verdict == "steady" or (first < last) == (verdict == "vanishing")


def test_norms_equal_those_of_the_gradients():
    loss, weights, layers, feeds = network(gl.tanh, 1.0, depth=4)
    for tensors in (weights, layers):
        found = gl.gradient_norms(loss, tensors, feeds)
        for value, tensor in zip(found.values, tensors, strict=True):
            gradient = gl.grad(loss, tensor).eval(feeds)
            assert value == pytest.approx(np.linalg.norm(gradient), rel=1e-5)
        assert found.ratio == pytest.approx(found.values[0] / found.values[-1])
    weights[3].value = weights[3].value * 2
    doubled = gl.gradient_norms(loss, weights, feeds)
    assert not np.allclose(doubled.values, gl.gradient_norms(loss, layers, feeds).values)


def test_many_layers_give_the_same_as_few():
    loss, _, layers, feeds = network(gl.tanh, 1.5, depth=20)
    every = gl.gradient_norms(loss, layers, feeds)
    few = gl.gradient_norms(loss, layers[::4], feeds)
    assert np.allclose(every.values[::4], few.values, rtol=1e-5)


def test_a_recurrent_network_over_time():
    rng = np.random.default_rng(1)
    xs = gl.placeholder(("T", 3, 8), "float64", name="xs")
    u = gl.parameter(0.15 * rng.standard_normal((8, 8)), name="u")

    def body(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = gl.tanh(h @ u + x)
        return h, h

    last, states = gl.scan(body, gl.zeros((3, 8), "float64"), xs)
    feeds = {"xs": rng.standard_normal((25, 3, 8))}
    by_state = gl.gradient_norms(
        gl.sum(last), states, feeds
    )  # the loss reads no state but the last
    assert by_state.by_step and by_state.verdict == "vanishing" and len(by_state.values) == 25
    # By hand: the cotangent of each state, through all later steps.
    values, back = states.eval(feeds), np.ones((3, 8))
    expected: list[float] = []
    for h in values[::-1]:
        expected.insert(0, float(np.linalg.norm(back)))
        back = (back * (1 - h * h)) @ u.value.T
    assert np.allclose(by_state.norms, expected)
    by_input = gl.gradient_norms(gl.sum(last), xs, feeds)
    assert by_input.verdict == "vanishing"
    assert "times a step" in str(by_input)
    wide = np.linalg.norm(gl.grad(gl.sum(last), xs).eval(feeds), axis=(1, 2))
    assert np.allclose(by_input.norms, wide)


def test_states_that_the_loss_reads_count_both_ways():
    """y = carry before the step, and a loss over all of them; the scan runs backwards in time."""
    xs = gl.placeholder((4,), "float64", name="xs")
    a = 0.5
    _, ys = gl.scan(lambda h, x: (a * h + x, h), gl.zeros((), "float64"), xs, reverse=True)
    found = gl.gradient_norms(gl.sum(ys), ys, {"xs": np.zeros(4)})
    # the value at step i is read by the loss, and halved at each of the i steps that follow it
    assert np.allclose(found.norms, [sum(a**k for k in range(i + 1)) for i in range(4)])


def test_odd_norms():
    x = gl.placeholder((3,), name="x")
    values = {"x": np.array([0.0, 1.0, 2.0], np.float32)}
    assert gl.gradient_norms(gl.sum(gl.log(x) * 0.5), [x], values).verdict == "not finite"
    assert gl.gradient_norms(gl.sum(gl.relu(-x - 1.0)), [x], values).verdict == "zero"
    empty = gl.gradient_norms(gl.sum(x), [], values)
    assert len(empty.values) == 0 and empty.verdict == "empty"
    assert str(empty) == "empty: there are no tensors"
    states = gl.scan(lambda c, v: (c + v, c * v), 0.0, gl.placeholder((0,), name="v"))[1]
    none = gl.gradient_norms(gl.sum(states), states, {"v": np.zeros(0, "f")})
    assert str(none) == "empty: there are no steps"
    small = gl.gradient_norms(gl.sum(x * 1e-30), [x], values)
    assert small.values[0] == pytest.approx(np.sqrt(3) * 1e-30), "squares would underflow"


def test_wrong_uses_of_norms_are_told():
    x = gl.placeholder((3,), name="x")
    with pytest.raises(ArgumentError, match=r"no array for x: f32\[3\], at test_gradient_no"):
        gl.gradient_norms(gl.sum(x * x), [x])
    with pytest.raises(GradientError, match="does not depend on"):
        gl.gradient_norms(gl.sum(x), [gl.placeholder((3,), name="y")], {"x": np.ones(3, "f")})
    with pytest.raises(gl.GradloomError, match="one tensor has its steps along axis 0"):
        gl.gradient_norms(gl.sum(x), gl.sum(x), {"x": np.ones(3, "f")})


def test_a_parameter_that_is_fed_has_that_value():
    x = gl.placeholder((3,), name="x")
    w = gl.parameter(np.ones(3, np.float32), name="w")
    loss, ones = gl.sum(w * w * x), np.ones(3, np.float32)
    for feeds in ({"x": ones, "w": 100 * ones}, {x: ones, w: 100 * ones}):
        found = gl.gradient_norms(loss, [w], feeds)
        assert found.values[0] == pytest.approx(200 * np.sqrt(3))
        assert found.floors[0] == pytest.approx(100 * np.sqrt(3) * 2.0**-23)
        assert np.isclose(gl.explain_grad(loss, w, feeds).gradient.norm, found.values[0])  # pyright: ignore[reportOptionalMemberAccess]
    assert gl.gradient_norms(loss, [w], {"x": ones}).values[0] == pytest.approx(2 * np.sqrt(3))
    np.testing.assert_array_equal(w.value, ones)


def test_what_is_fed_must_be_known():
    x = gl.placeholder((3,), name="x")
    w = gl.parameter(np.ones(3, np.float32), name="w")
    loss, ones = gl.sum(w * x), np.ones(3, np.float32)
    graph = gl.function([x], loss).graph
    asked: dict[str, Callable[[Any], Any]] = {
        "gradient_norms": lambda feeds: gl.gradient_norms(loss, [w], feeds),
        "explain_grad": lambda feeds: gl.explain_grad(loss, w, feeds),
        "eval": loss.eval,
        "evaluate": lambda feeds: gl.evaluate(graph, feeds),
    }
    for name, ask in asked.items():
        ask({"x": ones, "w": ones})
        ask({x: ones, w: ones, gl.placeholder((3,), name="other"): ones})
        wrong = "is no input or parameter here; known: x: f32[3], w: f32[3]"
        cases: tuple[tuple[Any, str], ...] = (
            ({"x": ones, "typo": ones}, f"{name}: 'typo' {wrong}"),
            ({"x": ones, 3: ones}, f"{name}: 3 {wrong}"),
            ({"x": ones, gl.exp(x): ones}, wrong),
            (ones, f"{name}: feeds are a dict of arrays by tensor or name, got a ndarray"),
            ({}, f"{name}: no "),
        )
        for feeds, told in cases:
            with pytest.raises(ArgumentError) as caught:
                ask(feeds)
            assert told in str(caught.value)
            assert "test_gradient_norms.py:" in str(caught.value)
        with pytest.raises(gl.GradloomError) as caught:
            ask({"x": np.ones(4, np.float32)})
        assert name in str(caught.value) and "x has size 4" in str(caught.value)
    rewritten = gl.sum(gl.stop_gradient(x) * 0.0 + w)  # a rule may drop what the user feeds
    assert gl.explain_grad(rewritten, w, {"x": ones}).gradient is not None


def test_wrong_tensors_are_told():
    x = gl.placeholder((3,), name="x")
    loss, ones = gl.sum(x * x), np.ones(3, np.float32)
    for tensors in ([ones], 3, {x}, [x, "x"], {"a": 3}):
        with pytest.raises(ArgumentError, match=r"gradient_norms: .* at test_gradient_norms.py:"):
            gl.gradient_norms(loss, tensors, {"x": ones})  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"gradient_norms: .* got 3.0, at test_"):
        gl.gradient_norms(3.0, [x], {"x": ones})  # type: ignore[arg-type]


def test_plot_draws_or_says_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    x = gl.placeholder((3,), name="x")
    found = gl.gradient_norms(gl.sum(x * x), [x], {"x": np.ones(3, np.float32)})

    class Axes:
        def __init__(self) -> None:
            self.calls: dict[str, Any] = {}

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *args, **_: self.calls.update({name: args})

    axes = Axes()
    assert found.plot(axes) is axes
    assert np.allclose(axes.calls["semilogy"][1], found.values)
    assert axes.calls["set_title"] == ("steady",)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ArgumentError, match=r"pip install .gradloom\[plot\]"):
        found.plot()
