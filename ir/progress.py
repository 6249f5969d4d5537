"""Progress: what a compilation is at, as a line on stderr, once it has taken a second.

Only where stderr is a terminal, or if GRADLOOM_PROGRESS=1; never if GRADLOOM_PROGRESS=0.  On a
terminal the line is written over, and gone when all is done; elsewhere there is one a second.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

PATIENCE = 1.0  # seconds


class _Work(threading.local):
    """What this thread compiles, since when, and when that was told last; "" for nothing."""

    name = ""
    told = 0.0
    shown = False


_work = _Work()


@contextmanager
def watched(name: str) -> Generator[None]:
    """What `tell` says inside is about `name`; the outermost counts."""
    if _work.name:
        yield
        return
    _work.name, _work.told, _work.shown = name, time.monotonic(), False
    try:
        yield
    finally:
        _work.name = ""
        if _work.shown and _is_terminal():
            _write("\r\x1b[K")


def tell(what: str) -> None:
    """Say what is being done, if it has been a second since the start, or since this was told."""
    if not _work.name:
        return
    now = time.monotonic()
    # Asking the stream lets other threads run, and who compiles waits to go on: seldom, therefore.
    if now - _work.told < PATIENCE and not (_work.shown and _is_terminal()):
        return
    terminal = _is_terminal()
    if not _wanted(terminal):
        return
    _work.told, _work.shown = now, True
    line = f"gradloom: {_work.name}: {what}"
    _write(f"\r{line[:100]}\x1b[K" if terminal else line + "\n")


def _write(text: str) -> None:
    with suppress(OSError, ValueError):  # who closes the stream wants no lines
        sys.stderr.write(text)
        sys.stderr.flush()


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # None, somebody's own stream, or closed
        return False


def _wanted(terminal: bool) -> bool:
    chosen = os.environ.get("GRADLOOM_PROGRESS", "")
    return sys.stderr is not None and (terminal if chosen not in ("0", "1") else chosen == "1")  # pyright: ignore[reportUnnecessaryComparison]
