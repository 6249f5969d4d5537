# pyright: standard
"""What docs/loops.md shows is true: its Python runs as written, and it names what exists."""

from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom as gl

from .op_cases import close

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "loops.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_its_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, page)
    kept = [int(line.split()[1]) for line in capsys.readouterr().out.splitlines()[:3]]
    assert kept[0] > 10 * kept[1] > 25 * kept[2], "all carries, √T of them, log T of them"
    assert page["fitted"].memory().total <= 2**20 and "of 20 steps" in str(
        page["fitted"].recomputed
    )
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 3, 8)).astype("f")
    loss, slopes = page["step"](values, [0, 1, 2], [5, 0, 2])
    padded = values.copy()
    padded[2:, 2] = np.nan
    again, same = page["step"](padded, [0, 1, 2], [5, 0, 2])
    assert loss == again and 0.5 < loss < 2
    for name, weight in page["weights"].items():
        assert slopes[name].shape == weight.shape
        np.testing.assert_array_equal(slopes[name], same[name])
    states = [np.zeros((3, 8), np.float32)] * 3
    for x in values:
        states.append(np.tanh(x / 2 + states[-1] / 2 + states[-3] / 2))
    close(gl.function([page["xs"]], page["skipping"])(values), states[3:], 1e-5)


def test_it_names_what_exists() -> None:
    for name in re.findall(r"gl\.([a-z_.]+)", PAGE):
        found: Any = gl
        for part in name.split("."):
            found = getattr(found, part)
    assert [
        path for path in re.findall(r"python (\S+\.py)", PAGE) if not (ROOT / path).exists()
    ] == []
    assert {"scan", "cond", "switch", "while_loop", "map", "associative_scan", "checkpoint"} <= set(
        re.findall(r"gl\.([a-z_]+)", PAGE)
    )


def test_what_it_says_of_bodies() -> None:
    """A key used again, dtypes of NumPy's scalars, counting loops, taps of sequences."""
    x = gl.placeholder(("T",), name="x")
    key = gl.random.key(1)
    _, same = gl.scan(lambda c, _: (c, gl.random.uniform(key, ())), None, length=3)
    keys = gl.random.split(key, 3)
    _, drawn = gl.scan(lambda c, k: (c, gl.random.uniform(k, ())), None, keys)
    counted, _ = gl.scan(lambda c, i: (c * 2 + i, None), 0, gl.arange(2, 5))
    pairs, _ = gl.scan(lambda c, x: (c + x[0] * x[1], None), 0.0, (x[1:], x[:-1]))
    results = gl.function([x], [same, drawn, counted, pairs])(np.arange(4, dtype="f"))
    assert len(set(results[0])) == 1 and len(set(results[1])) == 3
    assert results[2] == ((0 * 2 + 2) * 2 + 3) * 2 + 4
    assert results[3] == 0 * 1 + 1 * 2 + 2 * 3
    assert (x * np.float64(2)).dtype == gl.float64 and (x * 2.0).dtype == gl.float32
    y = x * 2
    assert y.eval({x: np.ones(2, "f")}).tolist() == [2, 2]


def test_errors_are_named_and_pythons_own() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for error in (ValueError, TypeError, IndexError):
        assert error.__name__ in readme
    for name in re.findall(r"gl\.([A-Z][A-Za-z]+Error)", readme):
        assert issubclass(getattr(gl, name), gl.GradloomError)
    assert issubclass(gl.ShapeError, ValueError) and issubclass(gl.GradientError, ValueError)
    assert issubclass(gl.ArgumentError, ValueError) and issubclass(gl.DTypeError, TypeError)
    assert issubclass(gl.SymbolicError, TypeError) and issubclass(gl.AxisError, IndexError)
    assert issubclass(gl.IndexRangeError, IndexError)


def test_errors_of_docstrings_are_exported() -> None:
    """Every error that the docstring of a public function names can be caught as gl.<name>."""
    named = {
        name
        for public in dir(gl)
        for name in re.findall(
            r"\b([A-Z][A-Za-z]+Error)\b", getattr(getattr(gl, public), "__doc__", "") or ""
        )
    }
    assert len(named) > 6
    assert [name for name in named if not hasattr(gl, name) and not hasattr(builtins, name)] == []
