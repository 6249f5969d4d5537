# pyright: basic
"""Native programs: the steps of one call as one function that every thread of the team runs.

    int64 program(void **table, int64 *dims, int64 *status, void *state, int64 tid, int64 nth)

`instructions.py` says what the steps are, `writer.py` writes the function. It holds no address, so
its object is kept on disk like any other.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

from . import clock, native
from .forks import wait_at_fork
from .instructions import Branch, Break, Check, Copy, Host, Launch, Loop, Step, Timed, Turns
from .team import Call, default_threads, load, run, the_team
from .writer import program_source

__all__ = [
    "Branch",
    "Break",
    "Call",
    "Check",
    "Copy",
    "Host",
    "HostCallback",
    "Launch",
    "Loop",
    "Step",
    "Timed",
    "Turns",
    "default_threads",
    "load",
    "native_program",
    "program_source",
    "run",
    "the_team",
]


_lock = threading.RLock()
wait_at_fork(lambda: (_lock,))
_programs: dict[str, int] = {}


def prepare() -> None:
    """Load what every program refers to, at its first use."""
    with _lock:
        load()


def native_program(steps: Sequence[Step]) -> int:
    """The address of the function that runs `steps`; equal steps are one function, kept on disk."""
    text = program_source(steps)
    digest = hashlib.sha256(f"{native.host().identity} {text}".encode()).hexdigest()
    with _lock:
        where = _programs.get(digest)
        if where is None:
            load()
            if "@gradloom_stamp(" in text:
                clock.load()
            symbol = f"gradloom_program_{digest[:32]}"
            data, _ = native.cached_object(
                "program-" + digest,
                lambda: native.compile_object(
                    text.replace("@program(", f"@{symbol}("), simplify=False
                ),
            )
            native.load_object(data)
            where = _programs[digest] = native.address(symbol)
        return where


class HostCallback:
    """A Python function of the step's number as a native callback, `address`.

    What it raises stops the program with status `RAISED` and waits in `take_error`.  One call at a
    time.

    Native code calls the `send` of a generator: a signal that waits for Python (Ctrl-C) is handled
    when Python code begins, here inside the `try` already.  A second one may strike behind it,
    while the first is put down.  That ends the generator, and then this callback is `spent`.
    Native code takes for success only what `steps.py` says, so whatever happens is noticed.
    """

    RAISED = -2

    def __init__(self, function: Callable[[int], object]) -> None:
        failed: list[BaseException | None] = [None]

        def answers() -> Generator[int, int, None]:
            answer = 0
            while True:
                try:
                    while True:
                        word = yield answer
                        answer = 0
                        low = word & 0xFFFFFFFF
                        function(low - (low >> 31 << 32))
                        answer = ~word
                except GeneratorExit:
                    return
                except BaseException as error:
                    failed[0] = error  # before anything that lets a signal in
                    answer = 0

        self._calls: Any = answers()
        next(self._calls)
        self._failed = failed
        self._pointer = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(self._calls.send)
        self.address: int = ctypes.cast(self._pointer, ctypes.c_void_p).value or 0

    @property
    def spent(self) -> bool:
        """Whether it can be called no more."""
        return self._calls.gi_frame is None

    def take_error(self) -> BaseException | None:
        """What the function raised in the last run; None if nothing."""
        error, self._failed[0] = self._failed[0], None
        return error
