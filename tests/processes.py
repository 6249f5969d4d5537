"""Python processes that run a text, threads that run together, and alarms, for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest


def start(code: str, **environment: str | None) -> subprocess.Popen[str]:
    """A Python process that runs `code`; an environment variable of None is taken away.

    It leads a group of its own, which `finish` ends with it.
    """
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
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 55) -> str:
    """What a process that ends well printed."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # also its children, which hold its pipes
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


@contextmanager
def alarm(seconds: float, error: type[Exception]) -> Generator[None]:
    """Raise `error` in the main thread after so long, and every 5 seconds while the block lasts.

    Once is not enough to end what has no other end: what a handler raises while a callback of the
    garbage collector runs (JAX installs one) is printed by Python and lost.
    """

    def strike(*_: Any) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, 5)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
