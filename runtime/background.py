"""Work that goes on beside the calling thread."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """`work()` in a thread of its own, begun at once."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._values: list[T] = []
        self._errors: list[BaseException] = []

        def attempt() -> None:
            try:
                self._values.append(work())
            except BaseException as error:
                self._errors.append(error)

        self._thread = threading.Thread(target=attempt)
        self._thread.start()

    def wait(self) -> None:
        """Until it is done, or has failed."""
        self._thread.join()

    def result(self) -> T:
        """What it returned, once it has; what it raised is raised here."""
        self.wait()
        if self._errors:
            raise self._errors[0]
        return self._values[0]


@contextmanager
def without_collector() -> Generator[None]:
    """No garbage collection meanwhile: a fifth of the time while much is built, and kept."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
