"""Python processes that run a text, and threads that run together, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest


def start(code: str, **environment: str | None) -> subprocess.Popen[str]:
    """A Python process that runs `code`; an environment variable of None is taken away."""
    values = {**os.environ, **{k: v for k, v in environment.items() if v is not None}}
    for name, value in environment.items():
        if value is None:
            values.pop(name, None)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=values,
    )


def finish(process: subprocess.Popen[str], timeout: float = 55) -> str:
    """What a process that ends well printed."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"the process hangs\n{out}\n{err}")
    assert process.returncode == 0, f"exit {process.returncode}\n{out}\n{err}"
    return out


def run(code: str, **environment: str | None) -> str:
    return finish(start(code, **environment))


def together(*works: Callable[[], object]) -> None:
    """Run all at once, each in a thread; raise what one of them raised."""
    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(work) for work in works]:
            future.result(timeout=50)
