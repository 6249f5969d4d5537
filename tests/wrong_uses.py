"""Wrong uses: functions that end in one clear error, which names the line to blame."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import gradloom as gl
from gradloom.ir.errors import GradloomError
from gradloom.ir.tensor import Tensor

MARK = "# here"


class Wrong(NamedTuple):
    """What must raise `error`, and words of the message; one line of it is marked `# here`."""

    run: Callable[[Tensor, Tensor], Any]
    error: type[GradloomError]
    words: tuple[str, ...]

    def __str__(self) -> str:
        return self.run.__name__

    def check(self) -> None:
        """That the message holds the words and names the marked line."""
        x, xs = gl.placeholder((3,), "float64", "x"), gl.placeholder((4, 3), "float64", "xs")
        with pytest.raises(GradloomError) as caught:
            self.run(x, xs)
        message = str(caught.value)
        assert type(caught.value) is self.error, message
        for word in self.words:
            assert word in message
        lines, first = inspect.getsourcelines(self.run)
        marked = [first + i for i, line in enumerate(lines) if MARK in line]
        assert len(marked) == 1, "one line is to blame"
        file = Path(inspect.getsourcefile(self.run) or "").name
        assert f"{file}:{marked[0]}" in message, message


class Cases(list[Wrong]):
    """Those of a file, entered by decorating them."""

    def wrong(self, error: type[GradloomError], *words: str) -> Callable[[Any], Any]:
        """A decorator for a case that raises `error` with these words."""

        def enter(function: Callable[[Tensor, Tensor], Any]) -> Any:
            self.append(Wrong(function, error, words))
            return function

        return enter
