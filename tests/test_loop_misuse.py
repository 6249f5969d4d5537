# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportArgumentType=false, reportCallIssue=false
# (wrong uses)
"""Functions that are traced, written as if they ran on numbers; and tensors taken out of them.

The message names the line in the function, not only the one that the loop is asked for in.
"""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import GradloomError
from gradloom.ir.tensor import Tensor

# --- Python where there are only tensors ----------------------------------------------------------


def assigns(a: Tensor) -> Tensor:
    a[0] = 1.0  # there
    return a


def asks(a: Tensor) -> Tensor:
    if gl.sum(a) > 0:  # there
        return a
    return -a


def both(a: Tensor) -> Tensor:
    return gl.where(a[0] > 0 and a[1] > 0, a, -a)  # there


def between(a: Tensor) -> Tensor:
    return gl.where(0 < a[0] < 1, a, -a)  # there


def larger(a: Tensor) -> Tensor:
    return a + max(a[0], a[1])  # there


def a_float(a: Tensor) -> Tensor:
    return a + float(a[0])  # there


def by_math(a: Tensor) -> Tensor:
    return a + math.exp(a[0])  # there


def counts(a: Tensor) -> Tensor:
    for _ in range(gl.argmax(a)):  # type: ignore[call-overload]  # there
        a = a + 1
    return a


def has_a_length(a: Tensor) -> Tensor:
    return a / len(a[0])  # there


def unpacks(a: Tensor) -> Tensor:
    first, *_ = a  # there
    return a + first


def numbers(a: Tensor) -> Tensor:
    return a + np.asarray(a)  # there


def reshapes(a: Tensor) -> Tensor:
    return gl.reshape(a, (gl.argmax(a), -1))  # there


def raises(a: Tensor) -> Tensor:
    raise gl.ArgumentError("too much")  # there


MISUSED: dict[Callable[[Tensor], Tensor], str] = {
    assigns: "x.at[...].set(...)",
    asks: "gl.cond(...)",
    both: "&, | and ~",
    between: "&, | and ~",
    larger: "gl.maximum",
    a_float: "gl.astype(...)",
    by_math: "gl.exp(...)",
    counts: "gl.while_loop(...)",
    has_a_length: ".shape[0]",
    unpacks: "gl.unstack(x)",
    numbers: "a body is called once",
    reshapes: "made at",
    raises: "too much",
}

TRACED: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Any]] = {
    "scan": lambda f, x, xs: gl.scan(lambda c, a: (f(c), a), x, xs),
    "until": lambda f, x, xs: gl.scan(lambda c, a: (c, a), x, xs, until=lambda c: gl.all(f(c) > 0)),
    "while_loop": lambda f, x, xs: gl.while_loop(lambda c: gl.sum(c) < 9, f, x),
    "cond": lambda f, x, xs: gl.cond(gl.sum(x) > 0, f, lambda a: a, x),
    "switch": lambda f, x, xs: gl.switch(gl.argmax(x), [lambda a: a, f], x),
    "map": lambda f, x, xs: gl.map(f, xs),
    "associative_scan": lambda f, x, xs: gl.associative_scan(lambda a, b: f(a) + b, xs),
    "vmap": lambda f, x, xs: gl.vmap(f)(xs),
    "checkpoint": lambda f, x, xs: gl.checkpoint(f)(x),
    "scan in a scan": lambda f, x, xs: gl.scan(
        lambda c, a: (gl.scan(lambda d, b: (f(d), b), c, xs)[0], a), x, xs
    ),
    "vmap in a map": lambda f, x, xs: gl.map(lambda a: gl.vmap(f)(xs) + a, xs),
}


@pytest.mark.parametrize("traced", TRACED)
@pytest.mark.parametrize("misuse", MISUSED, ids=lambda f: f.__name__)
def test_the_line_in_the_body_is_named(misuse: Any, traced: str) -> None:
    x, xs = gl.placeholder((3,), "float64", "x"), gl.placeholder((4, 3), "float64", "xs")
    with pytest.raises(GradloomError) as caught:
        TRACED[traced](misuse, x, xs)
    lines, first = inspect.getsourcelines(misuse)
    (number,) = (first + i for i, line in enumerate(lines) if "# there" in line)
    message = str(caught.value)
    assert MISUSED[misuse] in message
    if misuse is not raises or traced not in ("vmap", "checkpoint"):  # they pass errors on
        assert f"\n  at test_loop_misuse.py:{number}: `" in message
    assert message.count("\n  at ") <= 1
    frames = [frame.lineno for frame in traceback.extract_tb(caught.tb)]
    assert number in frames, "the traceback leads there as well"


def test_outside_of_bodies_there_is_eval() -> None:
    x = gl.placeholder((3,), "float64", "x")
    with pytest.raises(gl.SymbolicError, match=r"see also \.eval\(\)"):
        float(x[0])
    with pytest.raises(gl.SymbolicError) as caught:
        gl.map(lambda a: float(a), x)
    assert ".eval()" not in str(caught.value)
    with pytest.raises(gl.SymbolicError, match=r"see also \.eval\(\)"):
        float(x[0])


# --- leaks ---------------------------------------------------------------------------------------

LEAKING: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Any]] = {
    **{key: TRACED[key] for key in ("scan", "while_loop", "map", "vmap", "checkpoint")},
    "until": TRACED["until"],
    "scan in a scan": TRACED["scan in a scan"],
}

USES: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    "function": lambda kept, x, xs: gl.function([x, xs], kept),
    "behind": lambda kept, x, xs: gl.function([x, xs], gl.sum(gl.exp(kept) + x) * 2),
    "eval": lambda kept, x, xs: kept.eval({"x": np.zeros(3), "xs": np.zeros((4, 3))}),
    "grad by it": lambda kept, x, xs: gl.grad(gl.sum(xs), kept),
    "grad of it": lambda kept, x, xs: gl.grad(gl.sum(kept), x),
    "jvp of it": lambda kept, x, xs: gl.jvp(kept, x, x),
    "another loop": lambda kept, x, xs: gl.scan(lambda c, a: (c + kept, a), x, xs),
    "a checkpoint": lambda kept, x, xs: gl.checkpoint(lambda a: a + kept)(x),
    "a vmap": lambda kept, x, xs: gl.vmap(lambda a: a + kept)(xs),
    "a branch": lambda kept, x, xs: gl.function(
        [x, xs], gl.cond(gl.sum(x) > 0, lambda: kept, lambda: x)
    ),
    "updates": lambda kept, x, xs: gl.function(
        [x, xs], updates=[(p := gl.parameter(np.zeros(3), "p"), p + kept)]
    ),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("traced", LEAKING)
def test_a_leak_names_the_body(traced: str, use: str) -> None:
    """The message names what is used outside, its line, and the line of the loop."""
    x, xs = gl.placeholder((3,), "float64", "x"), gl.placeholder((4, 3), "float64", "xs")
    kept: list[Tensor] = []

    def leaks(a: Tensor) -> Tensor:
        kept.append(gl.tanh(a))  # the line
        return kept[0] * 2

    LEAKING[traced](leaks, x, xs)
    with pytest.raises(GradloomError) as caught:
        USES[use](kept[0], x, xs)
    message = str(caught.value)
    where = "function of the" if traced in ("vmap", "checkpoint") else "of the loop made at"
    assert where in message and "it has no value outside" in message, message
    assert "<tanh: f64[3]>, made at test_loop_misuse.py" in message
    assert "kept.append(gl.tanh(a))  # the line" in message


def test_what_a_branch_makes_is_no_leak() -> None:
    """It is computed outside as well: there is nothing in a branch that is not there outside."""
    x = gl.placeholder((3,), "float64", "x")
    kept: list[Tensor] = []

    def doubled() -> Tensor:
        kept.append(x * 2)
        return kept[0]

    y = gl.cond(gl.sum(x) > 0, doubled, lambda: x)
    both = gl.function([x], [y, kept[0]])(-np.ones(3))
    assert [b.tolist() for b in both] == [[-1.0] * 3, [-2.0] * 3]
