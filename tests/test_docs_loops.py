# pyright: standard
"""What docs/loops.md shows is true: its Python runs as written, and it names what exists."""

from __future__ import annotations

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
    assert page["fitted"].memory().total <= 2**20 and "sqrt" in str(page["fitted"].recomputed)
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
