"""The size of what is compiled does not depend on how often a loop goes round."""

from __future__ import annotations

import pytest

import gradloom as gl
from gradloom.frontends.function import Function
from gradloom.ir.program import walk
from gradloom.ir.tensor import Tensor

WIDTH, BATCH = 6, 3


def training_step(steps: int, checkpoint: int | str | None = None) -> Function:
    """Loss and gradients of an LSTM over `steps` steps."""
    weights = gl.recurrent.lstm_weights(WIDTH, WIDTH, seed=0)
    cell = gl.recurrent.lstm(**weights)
    xs = gl.placeholder((steps, BATCH, WIDTH), name="xs")
    start = gl.zeros((BATCH, WIDTH))

    def body(carry: tuple[Tensor, Tensor], x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        return cell(carry, x)

    _, ys = gl.scan(body, (start, start), xs, checkpoint=checkpoint)
    loss = gl.sum(gl.square(ys))
    return gl.function([xs], [loss, gl.grad(loss, xs)])


@pytest.mark.parametrize("checkpoint", [None, "sqrt"])
def test_compiled_size_is_that_of_a_step(checkpoint: str | None):
    small, large = (training_step(steps, checkpoint) for steps in (1024, 4096))
    sizes = [
        [len(list(graph.walk())) for graph in compiled.stages.values()]
        for compiled in (small, large)
    ]
    assert sizes[0] == sizes[1]
    assert len(small.kernels) == len(large.kernels)
    assert len(list(walk(small.program.steps))) == len(list(walk(large.program.steps)))
