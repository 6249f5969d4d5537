# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""What may be written over a carry or an entry of a sequence, and what may not: programs that read
the old value in odd ways, or pass carries round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.program import Loop
from gradloom.ir.tensor import Tensor

from .loop_cases import run
from .op_cases import close


def compared(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Compiled code, with fusion and without, gives what the interpreter gives."""
    rng = np.random.default_rng(0)
    shapes: list[Any] = [tensor.shape for tensor in inputs]
    arrays = [rng.normal(size=shape) * 0.5 for shape in shapes]
    wanted = run(inputs, outputs, *arrays)
    for fusion in (True, False):
        found = gl.function([*inputs], [*outputs], fusion=fusion)(*arrays)
        for got, value in zip(found, wanted, strict=True):
            close(got, value, 1e-9)


@pytest.mark.parametrize("bounded", [True, False])
def test_carries_change_places_in_rows(bounded: bool) -> None:
    """The loop inside leaves a carry in the rows that the outer one stacks, where the other carry
    is read from."""
    a, b = (gl.placeholder((5,), "float64", name) for name in "ab")
    xs = gl.placeholder((7, 5), "float64", "xs")

    def outer(carry: Any, x: Tensor) -> Any:
        p, q = carry
        inner = (p + x, q * x, gl.constant(0, "int64"))

        def turn(c: Any) -> Any:
            return c[1], c[0], c[2] + 1

        if bounded:
            (u, v, _), _ = gl.scan(
                lambda c, _: (turn(c), None), inner, length=9, until=lambda c: c[2] >= 5
            )
        else:
            u, v, _ = gl.while_loop(lambda c: c[2] < 5, turn, inner)
        return (p + 1, q * 0.5), (u, v)

    (p, q), (us, vs) = gl.scan(outer, (a, b), xs)
    compared([a, b, xs], [p, q, us, vs])


def test_gradients_of_checkpoints_in_a_step() -> None:
    """The function that is computed again reads the old carry under another name."""
    a, b = (gl.placeholder((40,), "float64", name) for name in "ab")
    w = gl.placeholder((40, 40), "float64", "w")
    loss = gl.checkpoint(lambda v, u: gl.sum(gl.tanh(w @ gl.tanh(w @ (v * u)))))

    def step(carry: Any, _: Any) -> Any:
        p, q = carry
        return (gl.sin(p) + 1, q - 0.1 * gl.grad(loss(p, q), p)), None

    (p, q), _ = gl.scan(step, (a, b), length=6)
    compared([a, b, w], [p, q])


def test_a_sum_that_ends_its_loop_starts_at_zero() -> None:
    """Not at what it is added to: the condition reads it."""
    xs = gl.placeholder((20,), "float64", "xs")
    start = gl.placeholder((), "float64", "start")
    zero = gl.zeros((), "float64")
    total, _ = gl.scan(lambda c, x: (c + x, None), zero, xs, until=lambda c: c > 3)
    function = gl.function([xs, start], total + start)
    assert function(np.ones(20), 10.0) == 14


STEPS, ROWS, WIDTH = 40, 4, 24
Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

# Of the next state h and what is kept of each step: how a step makes them of h and its entry e, a
# product of all steps.  Whether what is kept may be written over e.
KEPT: dict[str, tuple[Step, bool]] = {
    "sum": (lambda h, e: (gl.tanh(e + h), e + h * 0.5), True),
    "behind a product": (lambda h, e: (gl.tanh(h @ WEIGHTS) + e, h @ WEIGHTS + e), True),
    "read again later": (lambda h, e: (gl.tanh(h @ WEIGHTS) * e, e + h * 0.5), False),
    "what was read": (lambda h, e: (gl.tanh(e + h), e), False),
    "a left factor": (lambda h, e: (gl.tanh(h), gl.tanh(e @ WEIGHTS) + h), False),
    "turned": (lambda h, e: (gl.tanh(h), gl.flip(e, axis=1) + h), False),
    "summed": (lambda h, e: (gl.tanh(h), gl.softmax(e, axis=1) + h), False),
}
WEIGHTS = gl.placeholder((WIDTH, WIDTH), "float64", "weights")


def stacked(step: Step, seen: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs and results of a loop over products, which others see, too, if `seen`."""
    xs = gl.placeholder((STEPS, ROWS, WIDTH), "float64", "xs")
    start = gl.placeholder((ROWS, WIDTH), "float64", "start")
    entries = xs @ WEIGHTS
    h, kept = gl.scan(step, start, entries)
    more = [gl.sum(gl.sin(entries))] if seen else []
    return [xs, start, WEIGHTS], [h, gl.sum(gl.cos(kept), axis=0), *more]


def large_buffers(inputs: list[Tensor], outputs: list[Tensor]) -> int:
    """How many buffers there are for numbers of all steps."""
    program = gl.function(inputs, outputs).program
    assert any(isinstance(step, Loop) for step in program.steps)
    size = STEPS * ROWS * WIDTH
    return sum(b.kind == "temporary" and b.type.size == size for b in program.buffers)


@pytest.mark.campaign(3)
@pytest.mark.parametrize("case", KEPT)
def test_what_is_kept_of_steps_replaces_their_entries(case: str) -> None:
    step, replaces = KEPT[case]
    compared(*stacked(step))
    if replaces:
        assert large_buffers(*stacked(step)) == 1
        compared(*stacked(step, seen=True))
        assert large_buffers(*stacked(step, seen=True)) == 2


def test_entries_of_loops_in_loops_are_replaced() -> None:
    """Each step of the loop outside finds them as they were made."""
    step, _ = KEPT["sum"]
    xs = gl.placeholder((STEPS, ROWS, WIDTH), "float64", "xs")
    start = gl.placeholder((ROWS, WIDTH), "float64", "start")

    def outer(c: Tensor, _: Any) -> Any:
        _, first = gl.scan(step, c, xs @ WEIGHTS)
        _, second = gl.scan(step, c, xs @ (WEIGHTS * gl.mean(c)))
        return gl.mean(gl.sin(first) + gl.cos(second), axis=0), None

    c, _ = gl.scan(outer, start, length=3)
    compared([xs, start, WEIGHTS], [c])
