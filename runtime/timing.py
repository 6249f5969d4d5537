# pyright: basic
"""Times of a program's steps, measured in calls like any other, but on copies of the parameters."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from ..ir.parameter import Parameter, aligned_empty, hold
from ..ir.program import Program
from .executable import Executable

ENOUGH = 0.5  # seconds of repeats, where nobody says how many
MOST = 100  # repeats then


@dataclass(frozen=True)
class Timing:
    """counts, seconds: of each launch, copy and host step, in the order of `walk`: how often it
    runs in a call, and the time of all these runs.  call: seconds of a call without clocks.  These
    are medians over `repeats` calls; best: the least of `seconds`.  binding: the sizes.  threads:
    how many a call may use.
    """

    counts: list[int]
    seconds: list[float]
    best: list[float]
    call: float
    repeats: int
    binding: dict[str, int]
    threads: int


class _Copy:
    """What an executable needs of a parameter, with the value that it has now."""

    def __init__(self, parameter: Parameter, lock: Any) -> None:
        self.lock = lock
        self.first = parameter.buffer.copy()
        self.buffer = aligned_empty(self.first.shape, self.first.dtype)


def measure(
    program: Program,
    threads: int | None,
    arrays: Sequence[np.ndarray],
    parameters: Sequence[Parameter],
    repeat: int | None = None,
) -> Timing:
    """Call `program` `repeat` times without clocks, and as often with one around each step.

    Each call is the same one, on the values that the parameters have now.  Before the first of
    either kind is one that warms up.  Without `repeat` each goes on for half a second.  Raises what
    a call raises.
    """
    with ExitStack() as stack:  # the values belong together
        hold(parameters, stack)
        lock = threading.RLock()
        copies = [_Copy(parameter, lock) for parameter in parameters]

    def call(executable: Executable) -> float:
        """One call; its seconds."""
        for copy in copies:
            copy.buffer[...] = copy.first
        if executable.stamps is not None:
            ctypes.memset(executable.stamps, 0, ctypes.sizeof(executable.stamps))
        start = time.perf_counter()
        executable(arrays, copies)  # type: ignore[arg-type]
        return time.perf_counter() - start

    plain = Executable(program, threads)
    call(plain)
    calls = [call(plain) for _ in _rounds(repeat)]
    plain.last[0] = None
    for instance in plain.instances.values():
        instance.contexts.clear()  # its memory is free for the next
    timed = Executable(program, threads, timed=True)
    assert timed.stamps is not None
    call(timed)
    stamps: list[list[int]] = []
    for _ in _rounds(repeat):
        call(timed)
        stamps.append(list(timed.stamps))
    counts, times = ([*zip(*(words[odd::2] for words in stamps), strict=True)] for odd in (0, 1))
    (instance,) = timed.instances.values()
    return Timing(
        [round(median(repeats)) for repeats in counts],
        [median(repeats) / 1e9 for repeats in times],
        [min(repeats) / 1e9 for repeats in times],
        median(calls),
        len(stamps),
        instance.binding,
        instance.threads,
    )


def _rounds(repeat: int | None) -> Iterator[None]:
    """Once for each call to be made."""
    begun = time.perf_counter()
    for done in range(repeat or MOST):
        if repeat is None and done and time.perf_counter() - begun > ENOUGH:
            return
        yield
