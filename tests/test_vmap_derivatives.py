# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Derivatives of layers under vmap, and derivatives of those: compiled as interpreted, and right.

Many axes of size 1 come and go in these graphs, so this is where `lift` has most to move.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.lift import lift
from gradloom.ir.errors import ShapeError, VerifyError
from gradloom.ir.graph import Graph
from gradloom.ir.ops.shape import moved_ones
from gradloom.ir.tensor import Tensor

from .op_cases import close

NumpyArray = np.ndarray[Any, Any]
WIDTH = 4


def feeds_of(inputs: list[Tensor], seed: int) -> dict[str, NumpyArray]:
    """Numbers for placeholders, 3 for each symbol."""
    rng = np.random.default_rng(seed)
    sizes = [[size if isinstance(size, int) else 3 for size in x.shape] for x in inputs]
    return {
        x.node.attrs["name"]: rng.normal(size=size) for x, size in zip(inputs, sizes, strict=True)
    }


def compiled_is_interpreted(inputs: list[Tensor], output: Tensor, seed: int = 0) -> NumpyArray:
    feeds = feeds_of(inputs, seed)
    result = gl.function(inputs, output)(*feeds.values())
    expected = gl.evaluate(Graph("expected", inputs, [output]), feeds)
    close(result, expected, 1e-9)
    return result


def layer_inputs(batch: str | int) -> list[Tensor]:
    shapes = {"x": (batch, WIDTH), "w": (WIDTH, WIDTH), "b": (WIDTH,), "v": (WIDTH, 2)}
    return [gl.placeholder(shape, "float64", name) for name, shape in shapes.items()]


# --- lift --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [7, "B"])
def test_a_value_that_broadcasts_is_moved_once(size: int | str) -> None:
    a = gl.placeholder((2, size, 5), "float64", "a")
    b = gl.placeholder((size, 5), "float64", "b")
    moved = gl.reshape(a * (1 + gl.sin(b)) * gl.exp(b), (2, a.shape[1], 1, 5))
    (multiply,) = lift(Graph("f", [a, b], [moved])).outputs
    assert multiply.node.op.name == "multiply"
    result = compiled_is_interpreted([a, b], moved)
    given = feeds_of([a, b], 0)
    expected = given["a"] * (1 + np.sin(given["b"])) * np.exp(given["b"])
    close(result, expected[:, :, None, :], 1e-12)


def test_moved_ones_refuses_what_does_not_fit() -> None:
    assert moved_ones((7, 5), (2, 7, 5), (2, 7, 1, 5)) == (1, 7, 1, 5)
    assert moved_ones((), (2, 1), (2,)) == (1,)
    for shape, before, after in (
        ((1, 7, 1, 5), (2, 7, 5), (2, 7, 1, 5)),  # moved already
        ((7, 5), (2, 7, 5), (2, 7, 1)),
        ((3, 5), (2, 7, 5), (2, 7, 1, 5)),
    ):
        with pytest.raises(ShapeError):
            moved_ones(shape, before, after)


# --- the verifier ------------------------------------------------------------------------------


def test_sizes_that_a_symbol_could_only_meet_as_a_number_are_refused() -> None:
    b, c = gl.placeholder(("B", 5), name="b"), gl.placeholder(("C", 2), name="c")
    size, other = b.shape[0], c.shape[0]
    for shape in ((size, 1), (size * size,), (size + size,)):
        with pytest.raises(ShapeError, match="numbers of elements differ"):
            gl.reshape(b, shape)
    with pytest.raises(ShapeError):
        gl.reshape(gl.ones((size, other)), (2, other))
    assert [str(e) for e in Graph("f", [b], [gl.reshape(b, (other, 5))]).constraints] == [
        "5*B == 5*C"
    ]
    halves = gl.reshape(b, (size // 2, 2, 5))  # for even B
    assert len(Graph("f", [b], [halves]).constraints) == 1


def test_the_verifier_finds_a_pass_that_takes_sizes_for_equal() -> None:
    b, c = gl.placeholder(("B", 5), name="b"), gl.placeholder(("C", 5), name="c")
    graph = Graph("f", [b, c], [gl.exp(b)])
    assert graph.constraints == ()
    broken = graph.replace([gl.reshape(c, b.shape)])
    with pytest.raises(VerifyError, match="takes 5"):
        gl.verify(broken, "broken")
    said = Graph("f", [b, c], [gl.exp(b), b + c])
    assert said.constraints
    gl.verify(said.replace([gl.reshape(c, b.shape), gl.concat([b, c], 0) * 2]), "fine")


# --- layers ------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": gl.tanh,
    "sigmoid": gl.sigmoid,
    "softplus": gl.softplus,
    "silu": gl.silu,
    "sin": gl.sin,
    "square": gl.square,
}


@pytest.mark.parametrize("name", ["tanh", "silu"])
def test_jacobians_and_hessians_of_a_layer(name: str) -> None:
    _layer(name, "B")


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("batch", ["B", 3])
def test_jacobians_and_hessians_of_each_layer(name: str, batch: str | int) -> None:
    _layer(name, batch)


def _layer(name: str, batch: str | int) -> None:
    """The Jacobian also against central differences, the Hessian against the Jacobian's."""
    activation = ACTIVATIONS[name]
    x, w, b, v = inputs = layer_inputs(batch)

    def layer(one: Tensor) -> Tensor:
        return activation(one @ w + b) @ v

    def loss(one: Tensor) -> Tensor:
        return gl.sum(layer(one) ** 2)

    values = list(feeds_of(inputs, 0).values())
    forward = gl.function(inputs, gl.vmap(layer)(x))
    jacobian = compiled_is_interpreted(inputs, gl.vmap(lambda one: gl.jacobian(layer(one), one))(x))
    close(jacobian, differences(forward, values), 1e-6)
    gradient = gl.function(inputs, gl.vmap(lambda one: gl.grad(loss(one), one))(x))
    hessian = compiled_is_interpreted(inputs, gl.vmap(lambda one: gl.hessian(loss(one), one))(x))
    close(hessian, differences(gradient, values), 1e-6)
    compiled_is_interpreted(inputs, gl.vmap(lambda one: gl.jacobian(layer(one), w))(x))
    compiled_is_interpreted(
        inputs,
        gl.vmap(lambda one: gl.vmap(lambda two: gl.jacobian(layer(one * two), one))(x))(x),
    )


def differences(function: Callable[..., NumpyArray], values: list[NumpyArray]) -> NumpyArray:
    """The derivative of each entry's outputs by each of its numbers, the last axis."""
    x, *rest = values
    step = 1e-5 * np.eye(WIDTH)
    return np.stack(
        [(function(x + s, *rest) - function(x - s, *rest)) / 2e-5 for s in step], axis=-1
    )


# --- drawn -------------------------------------------------------------------------------------


def draw_network(draw: random.Random) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A function of a row (or rows), weights and a bias: layers of many spellings."""
    layers: list[Callable[[Tensor, Tensor, Tensor], Tensor]] = [
        lambda h, w, b: gl.tanh(h @ w + b),
        lambda h, w, b: gl.sigmoid(h @ w * 2 + b) + h,
        lambda h, w, b: h * gl.sigmoid(h @ w + b),
        lambda h, w, b: h * (1 + gl.sin(b)),
        lambda h, w, b: h * h * b,
        lambda h, w, b: h * gl.sum(h * b, axis=-1, keepdims=True),
        lambda h, w, b: (h - gl.mean(h, axis=-1, keepdims=True)) / (1 + gl.exp(b)),
        lambda h, w, b: gl.softmax(h, axis=-1) * b,
        lambda h, w, b: gl.cumulative_sum(gl.sin(h), axis=-1),
        lambda h, w, b: h * gl.expand_dims(gl.sin(h[..., 1]), -1),
        lambda h, w, b: h - gl.logsumexp(h * b, axis=-1, keepdims=True),
    ]
    chosen = draw.choices(layers, k=draw.randint(1, 2))

    def network(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        for layer in chosen:
            h = layer(h, w, b)
        return h + 0.125 * b  # all that is asked by b has a way from it

    return network


def derivative_of_seed(seed: int) -> tuple[list[Tensor], Tensor]:
    draw = random.Random(seed)
    x, w, b, v = inputs = layer_inputs(draw.choice(["B", "B", 3]))
    network, narrow = draw_network(draw), draw.random() < 0.5

    def values(one: Tensor) -> Tensor:
        return network(one, w, b) @ v if narrow else network(one, w, b)

    def loss(one: Tensor) -> Tensor:
        return gl.sum(gl.sin(values(one)))

    asked: list[Callable[[Tensor], Tensor]] = [
        lambda one: gl.jacobian(values(one), one),
        lambda one: gl.jacobian(values(one), one, mode="forward"),
        lambda one: gl.jacobian(values(one), b),
        lambda one: gl.hessian(loss(one), one),
        lambda one: gl.jacobian(gl.jacobian(values(one), one), one),
        lambda one: gl.hvp(loss(one), one, b),
        lambda one: gl.vmap(lambda two: gl.jacobian(values(one * two), one))(x),
        lambda one: gl.vjp(values(one), one, gl.sin(values(one))),
    ]
    return inputs, gl.vmap(draw.choice(asked), out_axes=draw.choice([0, 0, 1]))(x)


@pytest.mark.campaign(3)
@pytest.mark.parametrize("seed", range(8))
def test_drawn_derivatives_under_vmap(seed: int) -> None:
    compiled_is_interpreted(*derivative_of_seed(seed), seed)


@pytest.mark.slow
@pytest.mark.parametrize("ten", range(20))
def test_many_drawn_derivatives_under_vmap(ten: int) -> None:
    for seed in range(10 * ten + 8, 10 * ten + 18):
        compiled_is_interpreted(*derivative_of_seed(seed), seed)
