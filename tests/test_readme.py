"""What README shows is true: its Python runs as written, and its commands name what exists."""

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPT = "\n".join(re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What README's blocks print, run in order as one script in a process of its own."""
    script = tmp_path_factory.mktemp("readme") / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, script.name],
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_first_script_trains(printed: str) -> None:
    """Zero weights give log 10 at first; three batches of it make the loss fall or stay near."""
    losses = [float(line) for line in printed.splitlines()[:3]]
    assert math.isclose(losses[0], math.log(10), rel_tol=1e-6)
    assert losses[1] != losses[0] and all(1.0 < loss < 4.0 for loss in losses)


def test_stages_and_kernels_are_shown(printed: str) -> None:
    assert re.search(r"= gradient ", printed), "the graph as built has a gradient node"
    assert re.search(r"^differentiate\S* \d+ nodes$", printed, re.MULTILINE)
    assert "log_softmax" in printed, "the stabilised graph"
    assert re.search(r"^ *def \w+\(buffers, dims, status, tid, nth\):$", printed, re.MULTILINE)


def test_explanations_are_those_that_are_shown(printed: str) -> None:
    shown = README[README.index("    log-softmax at") : README.index("With feeds there are")]
    assert [line for line in shown.splitlines() if line[4:].rstrip() not in printed] == []


def test_the_loop_takes_every_length(printed: str) -> None:
    assert printed.splitlines().count("(3, 16)") == 2


def test_new_op_and_pass_work(printed: str) -> None:
    lines = printed.splitlines()
    assert "0.25" in lines, "the slope of softsign at 1"
    last_graph = printed[printed.rindex("graph @") :]
    assert "square" in last_graph and "multiply" not in last_graph


@pytest.mark.parametrize(
    "command",
    [
        "pip install -e '.[examples]' && python examples/digits.py",
        "pip install -e '.[test]' && pytest -n 2",
    ],
)
def test_both_commands_stand_on_lines_of_their_own(command: str) -> None:
    assert f"\n    {command}\n" in README


def test_links_and_commands_name_files_that_exist() -> None:
    named = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    named += re.findall(r"python (\S+\.py)", README)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
