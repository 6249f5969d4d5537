"""Which cases of a campaign run: conftest's own draw, on tests made for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = """import pytest

@pytest.mark.campaign(3)
@pytest.mark.parametrize("n", range(19))
def test_many(n): ...

def test_one(): ...
"""


@pytest.fixture
def collected(tmp_path: Path) -> Callable[..., list[str]]:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_made.py").write_text(TESTS)

    def collect(*options: str) -> list[str]:
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]

    return collect


def test_one_of_each_few_cases_is_drawn(collected: Callable[..., list[str]]) -> None:
    drawn, slow = collected("-m", "not slow"), collected("-m", "slow")
    assert len({*drawn, *slow}) == len(drawn) + len(slow) == 20 and drawn.pop() == "test_one"
    numbers = [int(name.removeprefix("test_many[").removesuffix("]")) for name in drawn]
    assert [n // 3 for n in numbers] == list(range(7))
    assert {n % 3 for n in numbers} == {0, 1, 2}, "no place is always left out"
    some = [f"test_made.py::{name}" for name in (drawn[0], drawn[1], slow[0])]
    assert collected("-m", "not slow", *some) == drawn[:2], "whatever else was asked for"
