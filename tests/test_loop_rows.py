# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Sequences that are some rows of an array: loops read them where they lie, without a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl

from .cuda_device import simulated

CUTS: dict[str, tuple[Callable[[Any], Any], bool]] = {  # and whether a copy is needed
    "first": (lambda x: x[:70], False),
    "last": (lambda x: x[4:], False),
    "pairs": (lambda x: gl.reshape(x[3:99], (48, 2, 5)), False),
    "columns": (lambda x: x[2:60, :3], True),
    "every other": (lambda x: x[::2], True),
    "from inside a row": (lambda x: gl.reshape(x, (555,))[3:], True),
}


def weighed(rows: Any, reverse: bool) -> Any:
    """A sum in which it shows in which order the rows came."""
    zero = gl.zeros(rows.shape[1:])
    return gl.scan(lambda h, row: (h * 0.5 + row, h * row), zero, rows, reverse=reverse)


def expected(rows: Any, reverse: bool) -> Any:
    last, made = np.zeros(rows.shape[1:], np.float32), np.zeros_like(rows)
    for i in range(len(rows))[:: -1 if reverse else 1]:
        made[i], last = last * rows[i], last * np.float32(0.5) + rows[i]
    return last, made


@pytest.mark.campaign(3)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cut", CUTS)
def test_rows_of_an_array(cut: str, reverse: bool) -> None:
    rows, copied = CUTS[cut]
    x = gl.placeholder((111, 5), name="x")
    value = np.random.default_rng(0).standard_normal((111, 5)).astype(np.float32)
    function = gl.function([x], list(weighed(rows(x), reverse)))
    wanted = expected(np.asarray(rows(gl.constant(value)).eval()), reverse)
    for results in (function(value), simulated(function)([value])):
        for found, each in zip(results, wanted, strict=True):
            np.testing.assert_allclose(found, each, 1e-6, 1e-6)
    assert ("x" in {buffer.of for buffer in function.program.buffers}) != copied


@pytest.mark.parametrize("reverse", [False, True])
def test_rows_of_the_entry_of_an_outer_loop(reverse: bool) -> None:
    """Where they lie moves with each step of the outer loop."""
    x = gl.placeholder(("T", 60, 4), name="x")

    def body(h: Any, block: Any) -> Any:
        last, rows = weighed(block[1:52], reverse)
        return h * 0.25 + last, rows

    function = gl.function([x], list(gl.scan(body, gl.zeros((4,)), x, reverse=not reverse)))
    for length in (0, 1, 3):
        value = np.random.default_rng(1).standard_normal((length, 60, 4)).astype(np.float32)
        last, made = np.zeros(4, np.float32), np.zeros((length, 51, 4), np.float32)
        for i in range(length)[:: 1 if reverse else -1]:
            inner, made[i] = expected(value[i, 1:52], reverse)
            last = last * np.float32(0.25) + inner
        for results in (function(value), simulated(function)([value])):
            for found, each in zip(results, (last, made), strict=True):
                np.testing.assert_allclose(found, each, 1e-6, 1e-6)


def test_rows_left_over_by_segments() -> None:
    """105 steps in segments of 10: neither the first 100 nor the last 5 are copied."""

    def build(checkpoint: int | None) -> gl.Function:
        x, w = gl.placeholder(("T", 8, 12), name="x"), gl.parameter(np.eye(12, dtype="f4") / 4)
        cell: Any = lambda h, row: (gl.tanh(h @ w + row), None)  # noqa: E731
        last, _ = gl.scan(cell, gl.zeros((8, 12)), x, checkpoint=checkpoint)
        return gl.function([x], gl.grad(gl.sum(last**2), w))

    plain, cut = build(None), build(10)
    assert cut.memory(T=105).total < 12_000 < 40_000 < plain.memory(T=105).total
    for steps in (0, 4, 10, 105):
        value = np.random.default_rng(2).standard_normal((steps, 8, 12)).astype(np.float32)
        np.testing.assert_array_equal(cut(value), plain(value))
