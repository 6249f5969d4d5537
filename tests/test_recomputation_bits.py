# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""What is computed again has the same bits: random functions with and without checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir import dtypes as dt
from gradloom.ir.graph import rebuild
from gradloom.ir.tensor import Tensor

from .graphs import feeds_of, graph_of_seed

Wrap = Callable[[Any], Any]

# No number: those that stand outside of a function, rules put together with those inside.
FACTOR = gl.parameter(np.float32(1.3), "factor")

# Where a rule finds a formula that goes on across the border, the one exception there is: numbers
# of products inside and outside; a factor outside of a logarithm inside; a constant that one part
# hands to the other, which then gathers by what it does not know to be 0, or chooses by what it
# does not know to be true.
ACROSS = {
    *(("second_order", seed) for seed in (106, 172, 184, 190)),
    *((way, 190) for way in ("alone", "nested")),
    *(("nested", seed) for seed in (40, 148)),
}


def plainly(function: Any) -> Any:
    return function


class Drawn:
    """A random function of four floats and an integer, in two parts with a border anywhere."""

    def __init__(self, seed: int) -> None:
        self.graph = graph_of_seed(seed, dt.float32)
        work = [node for node in self.graph.nodes if node.op.kind != "leaf"]
        cut = int(np.random.default_rng(seed).integers(len(work) + 1))
        self.first, self.second = work[:cut], work[cut:]
        read = {t for node in self.second for t in node.operands} | self.graph.outputs_set
        self.between = [t for node in self.first for t in node.results if t in read]

    def __call__(self, wrap: Wrap, nested: bool, inputs: Sequence[Tensor]) -> Tensor:
        """A number made of all outputs; `wrap` goes around each part, and around both."""

        def first(*own: Tensor) -> list[Tensor]:
            mapping = dict(zip(self.graph.inputs, own, strict=True))
            rebuild(self.first, mapping)
            return [mapping.get(t, t) for t in self.between]

        def second(own: Sequence[Tensor], between: Sequence[Tensor]) -> Tensor:
            mapping = dict(zip(self.graph.inputs, own, strict=True))
            mapping.update(zip(self.between, between, strict=True))
            rebuild(self.second, mapping)
            outputs = (mapping.get(t, t) for t in self.graph.outputs)
            return sum((gl.sum(t * t + t) for t in outputs if t.dtype.is_float), gl.constant(0.0))

        def both(*own: Tensor) -> Tensor:
            return wrap(second)(own, wrap(first)(*own))

        return (wrap(both) if nested else both)(*inputs)


def scaled(inputs: Sequence[Tensor], by: Any) -> list[Tensor]:
    """Products, which functions read from outside, and integers as they are."""
    return [gl.sin(t) * by if t.dtype.is_float else t for t in inputs]


def alone(drawn: Drawn, wrap: Wrap, inputs: Sequence[Tensor]) -> Tensor:
    return drawn(wrap, False, scaled(inputs, FACTOR))


def nested(drawn: Drawn, wrap: Wrap, inputs: Sequence[Tensor]) -> Tensor:
    return drawn(wrap, True, scaled(inputs, FACTOR)) + drawn(wrap, True, inputs)


def in_a_body(drawn: Drawn, wrap: Wrap, inputs: Sequence[Tensor]) -> Tensor:
    def body(carry: Any, row: Any) -> Any:
        return gl.tanh(drawn(wrap, False, scaled(inputs, carry + row))), carry * row

    last, ys = gl.scan(body, gl.constant(0.3), gl.constant([0.5, 0.9, 1.2]))
    return last + gl.sum(ys)


def around_a_loop(drawn: Drawn, wrap: Wrap, inputs: Sequence[Tensor]) -> Tensor:
    return wrap(lambda *own: in_a_body(drawn, plainly, own))(*scaled(inputs, FACTOR))


def mapped(drawn: Drawn, wrap: Wrap, inputs: Sequence[Tensor]) -> Tensor:
    ys = gl.vmap(lambda by: drawn(wrap, False, scaled(inputs, by)))(gl.constant([0.7, 1.1]))
    return gl.sum(gl.tanh(ys))


def second_order(drawn: Drawn, wrap: Wrap, inputs: Sequence[Tensor]) -> Tensor:
    loss = with_readers(drawn(wrap, False, scaled(inputs, FACTOR)), inputs)
    return sum((gl.sum(g * g) for g in slopes(loss, inputs)), loss)


WAYS = {
    function.__name__: function
    for function in (alone, nested, in_a_body, around_a_loop, mapped, second_order)
}


def with_readers(loss: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """The loss with another reader of each input, in front and behind."""
    floats = [t for t in inputs if t.dtype.is_float]
    return sum((gl.sum(gl.exp(-t * t)) for t in floats), loss)


def slopes(loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    return list(gl.grad(loss, [t for t in inputs if t.dtype.is_float]))


def values(way: str, seed: int, wrap: Wrap, **options: Any) -> list[Any]:
    drawn = Drawn(seed)
    inputs = list(drawn.graph.inputs)
    loss = with_readers(WAYS[way](drawn, wrap, inputs), inputs)
    step = gl.function(inputs, [loss, *slopes(loss, inputs)], **options)
    return step(*feeds_of(drawn.graph, seed, 3, 0.7).values())


def check(way: str, seed: int) -> None:
    wanted, found = values(way, seed, plainly), values(way, seed, gl.checkpoint)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b, f"{way} {seed}")


@pytest.mark.campaign(3)
@pytest.mark.parametrize("way", WAYS)
def test_random_functions(way: str) -> None:
    for seed in (3, 5):
        check(way, seed)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ten", range(20))
def test_many_random_functions(way: str, ten: int) -> None:
    for seed in range(10 * ten, 10 * ten + 10):
        if (way, seed) not in ACROSS:
            check(way, seed)
