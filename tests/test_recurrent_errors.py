# pyright: standard
"""Wrong uses of recurrent networks: what is told, with the user's line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import gradloom as gl
from gradloom.ir.errors import ArgumentError, ShapeError
from gradloom.ir.tensor import Tensor

R = gl.recurrent


def wrong_uses() -> dict[str, tuple[type[Exception], str, Callable[[], Any]]]:
    def zeros(*shape: int) -> Tensor:
        return gl.zeros(shape)

    w = R.lstm_weights(3, 4)
    cell, h, xs = R.lstm(**w), zeros(2, 4), zeros(5, 2, 3)
    simple = R.simple(zeros(3, 4), zeros(4, 4))
    lengths = gl.zeros((3,), "int64")
    fed = R.feedback(simple, lambda h: h, forced=True)
    pair = ((h, h), (h, h))
    return {
        "gates": (
            ShapeError,
            "lstm: columns of u, f32[3,8], and the 4 gates (i, f, g, o) of size 3 "
            "differ: 8 against 12",
            lambda: R.lstm(zeros(3, 12), zeros(3, 8)),
        ),
        "vectors": (ShapeError, "gru: w and u are matrices", lambda: R.gru(h, zeros(3))),
        "bias": (
            ShapeError,
            "simple: columns of b, f32[3],",
            lambda: R.simple(zeros(3, 4), zeros(4, 4), zeros(3)),
        ),
        "wide bias": (
            ShapeError,
            "b has one axis",
            lambda: R.leaky(zeros(3, 4), zeros(4, 4), h, 1),
        ),
        "peepholes": (
            ShapeError,
            "peepholes are [3, 4], got f32[2,4]",
            lambda: R.lstm(w["w"], w["u"], None, zeros(2, 4)),
        ),
        "long peepholes": (
            ShapeError,
            "sizes of peepholes, f32[3,5],",
            lambda: R.lstm(w["w"], w["u"], None, zeros(3, 5)),
        ),
        "reset": (
            ArgumentError,
            "reset is 'before' or 'after' the product, got 'never'",
            lambda: R.gru(zeros(3, 12), zeros(4, 12), reset="never"),
        ),
        "d": (
            ArgumentError,
            "d is used where the reset comes after",
            lambda: R.gru(zeros(3, 12), zeros(4, 12), d=zeros(4)),
        ),
        "entry": (
            ShapeError,
            "lstm: sizes of x, f32[2,4], and of the weights differ: 4 against 3",
            lambda: gl.scan(cell, (h, h), zeros(5, 2, 4)),
        ),
        "number": (ShapeError, "x has no axis", lambda: gl.scan(cell, (h, h), zeros(5))),
        "state": (
            ShapeError,
            "lstm: sizes of the state, f32[2,3],",
            lambda: gl.scan(cell, (zeros(2, 3), h), xs),
        ),
        "cell state": (
            ShapeError,
            "lstm: sizes of c, f32[2,3],",
            lambda: gl.scan(cell, (h, zeros(2, 3)), xs),
        ),
        "no pair": (
            ArgumentError,
            "lstm: the carry of an LSTM is a pair (h, c)",
            lambda: gl.scan(cell, h, xs),
        ),
        "dtypes": (
            gl.GradloomError,
            "matmul: i64 and f32 do not promote",
            lambda: gl.scan(simple, h.astype("int64"), xs),
        ),
        "batches": (
            ShapeError,
            "add: sizes of axis 0 differ: 2 against 3",
            lambda: gl.scan(simple, zeros(3, 4), xs),
        ),
        "no cell": (ArgumentError, "stacked: there is no cell", lambda: R.stacked()),
        "stack": (
            ArgumentError,
            "2 stacked cells carry as many parts",
            lambda: gl.scan(R.stacked(simple, simple), h, xs),
        ),
        "directions": (
            ArgumentError,
            "bidirectional: init is a pair of carries",
            lambda: R.bidirectional(cell, cell, h, xs),
        ),
        "one direction": (
            ShapeError,
            "sizes of x, f32[4], and of the weights differ",
            lambda: R.bidirectional(cell, cell, pair, h),
        ),
        "lengths": (
            ShapeError,
            "with lengths of 3 samples",
            lambda: R.bidirectional(cell, cell, pair, xs, lengths),
        ),
        "feedback": (
            ArgumentError,
            "feedback: the carry is a pair",
            lambda: gl.scan(fed, h, (xs, xs, None)),
        ),
        "forced": (
            ArgumentError,
            "feedback: x is (x, target, use)",
            lambda: gl.scan(fed, (h, h), xs),
        ),
        "use": (
            ShapeError,
            "use has more axes than y",
            lambda: fed((h, h), (xs[0], h, gl.zeros((5, 2, 1), "bool"))),
        ),
        "first": (
            ShapeError,
            "shifted: first is an entry of the targets, got f32[2,4] for f32[2,4]",
            lambda: R.shifted(h, h),
        ),
        "sizes": (
            ArgumentError,
            "gru_weights: hidden is a number of units >= 1, got 0",
            lambda: R.gru_weights(3, 0),
        ),
        "integers": (ArgumentError, "weights are floats", lambda: R.lstm_weights(3, 4, 0, "int64")),
    }


@pytest.mark.parametrize("name", wrong_uses())
def test_wrong_uses_are_told(name: str) -> None:
    kind, told, use = wrong_uses()[name]
    with pytest.raises(kind) as caught:
        use()
    assert told in str(caught.value)
    assert "test_recurrent_errors.py:" in str(caught.value), "the user's line"
