# pyright: standard
"""The examples of recurrent networks: small in CI, in full behind the slow marker."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom as gl

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are written where a test may write."""
    monkeypatch.chdir(tmp_path)


def example(name: str) -> Any:
    """An example as a module of its own."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- a lag ----------------------------------------------------------------------------------------


def test_sequences_begin_with_the_symbol_that_is_asked_for() -> None:
    lag = example("lag")
    x, t = lag.sequences(np.random.default_rng(0), 500)
    assert x.shape == (lag.LAG + 1, 500, 8) and x.dtype == np.float32
    np.testing.assert_array_equal(x.sum(axis=2), 1)
    np.testing.assert_array_equal(x[0].argmax(axis=1), t)
    assert set(t) == {0, 1, 2, 3} and not x[1:, :, :4].any()


def test_gradients_vanish_in_one_network_only(capsys: pytest.CaptureFixture[str]) -> None:
    """After a few steps of learning the loss is finite; the norms are those before any."""
    accuracies = example("lag").main(["--steps", "2"])
    printed = capsys.readouterr().out
    assert set(accuracies) == {"simple", "lstm"}
    assert "simple: vanishing" in printed and "lstm: steady" in printed
    first, last = (re.search(rf"^ +{n} +(\S+) +(\S+)$", printed, re.MULTILINE) for n in (0, 100))
    assert first is not None and last is not None
    assert float(first[1]) < 1e-20 * float(last[1]) and float(first[2]) > 1e-2 * float(last[2])


def test_both_examples_have_kingmas_and_bas_steps() -> None:
    """Three steps by hand: moving means of g and g², without their bias; the gradient clipped."""
    for name in ("lag", "characters"):
        module = example(name)
        w = gl.parameter(np.array([1.0, -2.0]), name="w")
        scale = gl.placeholder((), "float64", name="scale")
        loss = scale * gl.sum(gl.square(w))
        step = gl.function([scale], loss, updates=module.adam(loss, [w]))
        value, mean, square = w.value, np.zeros(2), np.zeros(2)
        for k, factor in enumerate((0.01, 3.0, 0.2), 1):
            step(factor)
            g = 2 * factor * value
            g = g * min(1, module.CLIP / np.linalg.norm(g))
            mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
            fresh, size = mean / (1 - 0.9**k), np.sqrt(square / (1 - 0.999**k))
            value = value - module.RATE * fresh / (size + 1e-8)
            np.testing.assert_allclose(w.value, value, rtol=1e-6)


@pytest.mark.slow
def test_an_lstm_bridges_the_lag_and_the_simple_network_does_not() -> None:
    accuracies = example("lag").main([])
    assert accuracies["simple"] < 0.35 and accuracies["lstm"] > 0.95


# --- characters -----------------------------------------------------------------------------------


def test_text_is_cut_and_counted() -> None:
    characters = example("characters")
    known, text, held_out = characters.load()
    assert known[-1] == "�" and len(set(known)) == len(known) > 60
    whole = "\n".join(characters.topics[name] for name in sorted(characters.topics))
    assert len(text) + len(held_out) == len(whole) and len(text) == len(whole) * 9 // 10
    shown = "".join(known[i] for i in np.concatenate([text, held_out]))
    assert all(a == b or b == "�" for a, b in zip(whole, shown, strict=True))
    assert shown.count("�") < 0.01 * len(shown)
    # of two letters in turn each says what comes next; of "aab…" a is followed by either
    assert characters.bigram_entropy(np.array([0, 1] * 50), 2) == pytest.approx(0)
    found = characters.bigram_entropy(np.array([0, 0, 1] * 1000 + [0]), 2)
    assert found == pytest.approx(2 / 3)
    columns = characters.side_by_side(np.arange(23), 3)
    np.testing.assert_array_equal(columns[:, 1], np.arange(7, 15))
    np.testing.assert_array_equal(columns[0], [0, 7, 14])


def test_a_model_learns_keeps_its_state_and_writes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    characters = example("characters")
    for name, size in {"BATCH": 4, "STEPS": 6, "EMBEDDED": 5, "HIDDEN": 8, "SHOWN": 2}.items():
        monkeypatch.setattr(characters, name, size)
    made: list[Any] = []
    build = characters.build
    monkeypatch.setattr(characters, "build", lambda *args: made.extend(build(*args)) or made)
    found, entropy = characters.main(["--chunks", "3"])
    assert 3 < entropy < 4 and entropy < found < 7
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("chunk") for line in lines) == 2
    assert lines.count("-" * 80) == 3

    learn, measure, draw = made
    state = next(p for p in learn.graph.parameters if p.name == "state")
    rng = np.random.default_rng(0)
    chunk = rng.integers(0, 7, (7, 4))
    state.value = np.zeros((4, 8), np.float32)
    first = learn(chunk[:-1], chunk[1:])
    kept = state.value
    assert np.abs(kept).max() > 1e-3, "the next chunk begins where this one ends"
    assert learn(chunk[:-1], chunk[1:]) < first
    assert not np.array_equal(state.value, kept)
    assert measure(chunk[:-1, :2], chunk[1:, :2]).shape == ()
    drawn = draw([1, 2, 1], 5)
    assert drawn.shape == (240, 3) and drawn.min() >= 0 and drawn.max() < 77
    np.testing.assert_array_equal(drawn, draw([1, 2, 1], 5))
    assert not np.array_equal(drawn, draw([1, 2, 1], 6))


@pytest.mark.slow
def test_text_held_out_takes_fewer_bits_than_a_table_of_pairs() -> None:
    found, entropy = example("characters").main([])
    assert found < entropy
