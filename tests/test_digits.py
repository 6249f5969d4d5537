"""The digits example trains through the compiled path to the accuracy that README promises."""

import importlib.util
import re
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits.py"


def test_digits_reaches_its_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn", reason="the digits come with pip install '.[examples]'")
    spec = importlib.util.spec_from_file_location("digits", EXAMPLE)
    assert spec is not None and spec.loader is not None
    digits = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(digits)

    accuracy = digits.main(["--seed", "0", "--epochs", "30"])

    lines = capsys.readouterr().out.splitlines()
    assert accuracy >= 0.97
    assert lines[-1] == f"held-out accuracy: {accuracy:.4f}"
    assert len(lines) == 31
    for line in lines[:-1]:
        assert re.fullmatch(
            r"epoch +\d+  loss \d+\.\d{4}  accuracy [01]\.\d{4}  +[\d,]+ samples/s", line
        )
