"""Where in the user's code a node stems from."""

from __future__ import annotations

import linecache
import os
import re
import sys
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_ROOMS = (
    *(os.path.join(_ROOT, room, "") for room in ("ir", "compiler", "runtime", "frontends")),
    os.path.join(_ROOT, "__init__.py"),
)
_MOST_TEXT = 120  # characters of a line that a message quotes
_MOST_LINES = 8  # a node that stems from more lines names the first ones


class Line(NamedTuple):
    """A line of a source file."""

    file: str
    number: int

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.number}"

    def quote(self) -> str:
        """The line with its text, where the file can still be read."""
        text = linecache.getline(self.file, self.number).strip()
        text = text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"
        return f"{self}: `{text}`" if text else str(self)


Loc = tuple[Line, ...]  # a set, kept sorted
_LINE = re.compile(r"(.+?):(\d+)(?:, |$)")


def print_loc(loc: Loc) -> str:
    """The lines as they end a line of a text form."""
    return "    @ " + ", ".join(map(str, loc)) if loc else ""


def parse_loc(text: str) -> Loc:
    """The lines that ``file.py:3, other.py:4`` names."""
    return tuple(Line(file, int(number)) for file, number in _LINE.findall(text))


class _Here(threading.local):
    loc: Loc | None = None


_here = _Here()


def current_loc() -> Loc:
    """The loc of a node built now: the one set by `located`, else the user's calling line.

    The user's line is that of the innermost frame outside the four rooms, so that examples,
    tests and notebooks count as the user.
    """
    if _here.loc is not None:
        return _here.loc
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_ROOMS):
            return (Line(name, frame.f_lineno),)
        frame = frame.f_back
    return ()


def innermost_line(traceback: TracebackType | None) -> Loc:
    """The user's line that is deepest in a traceback; none where there is no user's frame."""
    found: Loc = ()
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if not name.startswith(_ROOMS):
            found = (Line(name, traceback.tb_lineno),)
        traceback = traceback.tb_next
    return found


@contextmanager
def located(loc: Loc) -> Generator[None]:
    """Nodes built inside stem from `loc`: how a pass passes lines on."""
    before, _here.loc = _here.loc, loc
    try:
        yield
    finally:
        _here.loc = before


def merge(locs: Iterable[Loc]) -> Loc:
    """The union of several locs, bounded."""
    lines = {line for loc in locs for line in loc}
    return tuple(sorted(lines)[:_MOST_LINES])


def quote(loc: Loc) -> str:
    """The lines of `loc` for an error message."""
    return "; ".join(line.quote() for line in loc) or "an unknown line"
