# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Random recurrent functions for the tests of passes over loops, and functions compiled without
some passes, to compare bits with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np

import gradloom as gl
from gradloom.compiler import pipeline
from gradloom.frontends.kept import Kept
from gradloom.ir.dims import DimLike
from gradloom.ir.graph import Graph
from gradloom.ir.ops.scan import Scan
from gradloom.ir.tensor import Tensor

from .graphs import Dice, Seeded

NumpyArray = np.ndarray[Any, Any]
LENGTHS = (0, 1, 2, 7)
OVER_LOOPS = frozenset({"merge", "alike", "residual", "hoist", "contained", "totals", "unroll"})
BATCH, SIZE = 3, 9


def without(names: frozenset[str], *arguments: Any, **options: Any) -> Any:
    """The function compiled without the passes of these names, and not kept on disk as if with."""
    rest = tuple(name for name in pipeline.AFTER if name not in names)
    with (
        mock.patch.object(pipeline, "AFTER", rest),
        mock.patch.object(Kept, "find", lambda _: None),
        mock.patch.object(Kept, "keep", lambda *_: None),
    ):
        return gl.function(*arguments, **options)


def check_bits(
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    arrays: Sequence[Any],
    names: frozenset[str] = OVER_LOOPS,
    tolerance: float | None = 1e-4,
) -> Any:
    """The function: it gives the bits that it gives without the passes, near the interpreter's
    where there is a tolerance."""
    made = gl.function(inputs, outputs)
    found, plain = made(*arrays), without(names, inputs, outputs)(*arrays)
    for a, b in zip(found, plain, strict=True):
        np.testing.assert_array_equal(a, b)
    if tolerance is None:
        return made
    wanted = gl.evaluate(Graph("g", inputs, outputs), dict(zip(inputs, arrays, strict=True)))
    for a, c in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.astype("f8"), np.asarray(c).astype("f8"), tolerance, tolerance)
    return made


def scans_of(function: Any, stage: str = "fuse") -> list[Scan]:
    """The scans of a function's graph after a pass, those of regions included."""
    nodes = function.stages[stage].walk()
    return [Scan(node) for node in nodes if node.op.name == "scan"]


def ops_in(graph: Graph) -> list[str]:
    """The names of all ops in a region, sorted."""
    return sorted(node.op.name for node in graph.walk())


def drawn_arrays(inputs: Sequence[Tensor], sizes: dict[str, int], seed: int) -> list[NumpyArray]:
    """Small numbers for each input."""
    rng = np.random.default_rng(seed)

    def number(size: DimLike) -> int:
        return size if isinstance(size, int) else sizes[str(size)]

    shapes = [tuple(map(number, tensor.shape)) for tensor in inputs]
    return [
        rng.integers(0, SIZE, shape)
        if tensor.dtype.is_integer
        else (rng.normal(size=shape) / 2).astype(tensor.dtype.numpy)
        for tensor, shape in zip(inputs, shapes, strict=True)
    ]


class RandomLoop:
    """A loop drawn by dice: inputs, and as results a loss, its gradients, and integers."""

    def __init__(self, seed: int, length: int | str, dtype: str = "float32") -> None:
        dice = Seeded(seed)
        shape = (BATCH, SIZE)
        self.xs = gl.placeholder((length, *shape), dtype, "xs")
        self.ids = gl.placeholder((length, BATCH), "int64", "ids")
        self.weights = [gl.placeholder((SIZE, SIZE), dtype, f"w{i}") for i in range(3)]
        self.bias = gl.placeholder((SIZE,), dtype, "bias")
        self.state = gl.placeholder(shape, dtype, "state")
        self.inputs = [self.xs, self.ids, *self.weights, self.bias, self.state]
        carry: Any = (self.state, gl.tanh(self.state), gl.constant(0))
        total = gl.sum(self.bias)
        integers: list[Tensor] = []
        for _ in range(dice.integer(1, 2)):
            body = self._body(dice)
            xs = (self.xs, self.ids)
            a: Tensor
            b: Tensor
            (a, b, count), (y, z) = gl.scan(body, carry, xs, length, reverse=dice.flag())
            total = total + gl.sum(a * b) + gl.sum(y * y)
            integers += [count, z]
            carry = (b, a, count) if dice.flag() else carry
        wrt = [*self.weights, self.bias, self.state, self.xs]
        total = total + sum((gl.sum(t) * 0.5 for t in wrt), gl.constant(0.0, dtype))
        self.outputs = [total, *gl.grad(total, wrt), *integers]

    def _body(self, dice: Dice) -> Callable[[Any, Any], Any]:
        steps = [(dice.integer(0, 9), dice.integer(0, 99), dice.integer(0, 99)) for _ in range(9)]

        def body(carry: Any, entry: Any) -> Any:
            a, b, count = carry
            x, ids = entry
            pool: list[Tensor] = [x, a, b, x]
            for kind, i, j in steps:
                value = self._step(kind, pool[-1 - i % len(pool)], pool[-1 - j % len(pool)], i, ids)
                pool.append(value)
            after = gl.tanh(pool[-1])
            order = gl.argsort(pool[-2], axis=1)
            return (after, gl.sin(pool[-3]) + b * 0.5, count + gl.sum(ids)), (pool[-2] * a, order)

        return body

    def _step(self, kind: int, x: Tensor, y: Tensor, i: int, ids: Tensor) -> Tensor:
        weight = self.weights[i % 3]
        match kind:
            case 0 | 1:
                return x @ weight
            case 2:
                return gl.tanh(x @ weight + self.bias)
            case 3:
                return x @ gl.exp(weight.T) * 0.1 + y
            case 4:
                return (weight @ x.T).T + gl.take(weight, ids, axis=0)
            case 5:
                return x - y * gl.softmax(y, axis=-1)
            case 6:
                return gl.check(x + y, gl.all(x == x), "a number")
            case 7:
                return (x @ y.T) @ gl.sin(y)
            case 8:
                return x + gl.where(gl.random.bernoulli(gl.random.key(i), 0.5, x.shape), y, 0.0)
            case _:
                return gl.sin(x) * y
