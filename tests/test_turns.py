# pyright: reportPrivateUsage=false
"""A product and its reader take turns: only where parts are apart; no bit changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir import barriers, turns
from gradloom.ir.units import touched
from gradloom.runtime import executable
from gradloom.runtime.driver import Turns, program_source
from gradloom.runtime.executable import Executable

from .staggered import staggered


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns for what is small enough for a test."""
    monkeypatch.setattr(turns, "LARGE", 0)
    monkeypatch.setattr(turns, "PART", 1 << 10)


def pooled() -> Any:
    """A convolution, its bias, relu and pool, and the gradient by the kernel."""
    rng = np.random.default_rng(3)
    w, b = rng.normal(size=(4, 1, 3, 3)).astype("f4"), rng.normal(size=4).astype("f4")
    w, b = gl.parameter(w, name="w"), gl.parameter(b, name="b")
    x = gl.placeholder(("B", 1, 8, 8), name="x")
    h = gl.nn.conv2d(x, w, padding="same") + b[:, None, None]
    pool = gl.nn.max_pool2d(gl.relu(h), 2)
    return gl.function([x], [pool, gl.grad(gl.sum(pool * pool), w)], threads=1)


def parts_of(loaded: Executable, arrays: list[np.ndarray], parameters: Any) -> list[int]:
    instance = loaded.instance(arrays, parameters)
    return [instance.numbers[slot] for run in loaded.layout.runs for slot in run.turns.values()]


@pytest.mark.parametrize("batch", [0, 1, 2, 5, 12, 24])
def test_turns_change_no_bit(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executable, "TINY", 0)
    function, x = pooled(), np.random.default_rng(1).normal(size=(batch, 1, 8, 8)).astype("f4")
    parameters = function._parameters
    with monkeypatch.context() as patch:
        patch.setattr(turns, "LARGE", 1 << 40)
        plain = Executable(function.program, 1)
        wanted = plain([x], parameters)
        assert not any(parts_of(plain, [x], parameters))
    for threads, orders in ((1, [(0,)]), (2, [(0, 1), (1, 0)]), (3, [(2, 0, 1)])):
        loaded = Executable(function.program, threads)
        parts = parts_of(loaded, [x], parameters)
        assert parts[0] == 0 and parts[1] % threads == 0  # by weights, all of it is read at once
        assert bool(parts[1]) == (batch % threads == 0 and batch >= 2 * threads)
        for order in orders:
            found = staggered(loaded, [x], parameters, order)
            assert [a.tobytes() for a in found] == [a.tobytes() for a in wanted]
        found = loaded([x], parameters)
        assert [a.tobytes() for a in found] == [a.tobytes() for a in wanted]


def test_against_the_definition() -> None:
    function, x = pooled(), np.random.default_rng(2).normal(size=(6, 1, 8, 8)).astype("f4")
    found = Executable(function.program, 2)([x], function._parameters)[0]
    w, b = (p.value for p in function._parameters)
    padded = np.pad(x[:, 0], ((0, 0), (1, 1), (1, 1))).astype("f8")
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    sums = np.einsum("nijkl,okl->noij", seen, w[:, 0]) + b[:, None, None]
    wanted = np.maximum(sums, 0).reshape(6, 4, 4, 2, 4, 2).max((3, 5))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_none_where_a_part_reads_what_others_make() -> None:
    """Sums of columns read all rows; the same program without numbers for turns waits."""
    x, w = gl.placeholder(("B", 24), name="x"), gl.placeholder((24, 24), name="w")
    y = x @ w
    function = gl.function([x, w], [gl.sum(y, axis=0), y], threads=1)
    arrays = [np.ones((96, 24), "f4"), np.ones((24, 24), "f4")]
    loaded = Executable(function.program, 2)
    assert parts_of(loaded, arrays, []) == [0]
    assert isinstance(loaded.layout.steps[0], Turns)
    assert "@gradloom_step_launch" in program_source(loaded.layout.steps)
    np.testing.assert_array_equal(staggered(loaded, arrays, [], (1, 0))[0], np.full(24, 96 * 24.0))


def test_a_binding_looks_at_few_ways_to_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here no way is one: the results lie over the image, of which any row of the product may read
    anything."""
    monkeypatch.setattr(executable, "TINY", 0)
    asked: list[int] = []

    def counting(*given: Any) -> Any:
        asked.append(given[-1])
        return touched(*given)

    for module in (barriers, turns):
        monkeypatch.setattr(module, "touched", counting)
    w = gl.parameter(np.ones((32, 3, 3, 3), "f4"), name="w")
    x = gl.placeholder(("B", 3, 8, 8), name="x")
    function = gl.function([x], gl.sin(gl.relu(gl.nn.conv2d(x, w, padding="same"))), threads=1)
    loaded = Executable(function.program, 2)
    arrays = [np.ones((512, 3, 8, 8), "f4")]
    parts_of(loaded, arrays, function._parameters)
    assert max(asked) >= 512 and len(asked) <= 16 * max(asked)
