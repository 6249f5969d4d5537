# pyright: basic
"""The team: the calling thread and raw worker threads that run native programs side by side.

A worker spins on its mailbox for a while, then sleeps on a futex; the launcher wakes it only if it
sleeps. Where other processes want the cores, a call may be quicker alone (`Pace`). Workers run no
Python and take no signals. One call uses the team at a time: a second one, from another Python
thread, runs alone. After a fork the child has a fresh team without workers. Where there are no
futexes (not Linux, or another processor) the team is the calling thread alone.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..ir.errors import ArgumentError
from . import arrays, native
from .assembly import GONE, MAILBOX, MAX_THREADS, MOST, WORKERS, WORKING, team_source
from .launcher import ASK, OTHER
from .pace import Pace
from .steps import STEPS


class Launcher(NamedTuple):
    """What binds functions of `launcher.py` to the addresses that they need."""

    enter: Callable[[int], Callable[[Any, Any], int]]
    claim: Callable[[int], Callable[[], bool]]


@functools.cache
def load() -> Launcher:
    """Load the team's native functions (programs refer to the barrier)."""
    arrays.load()
    text = team_source() + STEPS
    what = f"{native.host().identity} {text}"
    key = "team-" + hashlib.sha256(what.encode()).hexdigest()
    data, _ = native.cached_object(key, lambda: native.compile_object(text))
    native.load_object(data)
    _grow()
    names = (f"gradloom_{name}" for name in Launcher._fields)
    return Launcher(*(arrays.functions_at(native.address(name)) for name in names))


def native_call(owner: type, says: str) -> Any:
    """What a class whose objects are called as `launcher.py` says has for its `__call__`."""
    load()
    return arrays.method_at(native.address("gradloom_function"), owner, "__call__", says)


def default_threads() -> int:
    """The processors that this process may use, or `GRADLOOM_THREADS` where that is fewer."""
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:
        available = os.cpu_count() or 1
    wanted = os.environ.get("GRADLOOM_THREADS", "").strip()
    if not wanted:
        return available
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ArgumentError(f"GRADLOOM_THREADS must be a number of threads >= 1, not {wanted!r}")
    return min(available, int(wanted))


@functools.cache
def _grow() -> Callable[[int, int], int]:
    """`gradloom_grow`; known once the team is loaded, before any lock of a call is held."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
    return kind(native.address("gradloom_grow"))


class Team:
    """Worker threads, started when first needed, at most `MAX_THREADS` with the caller."""

    def __init__(self) -> None:
        self._registered = False
        self._closed = False
        self.state = 0
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        if self.state:  # this process forked: who is bound to that team must ask
            ctypes.c_int64.from_address(self.state + GONE).value = 1
        self._growing = threading.RLock()  # a signal's handler may make a call, too
        memory = (ctypes.c_char * (MAILBOX * (MAX_THREADS + 1)))()
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))  # for good: a worker may still look
        self.state = -(-ctypes.addressof(memory) // MAILBOX) * MAILBOX
        ctypes.c_int64.from_address(self.state + 40).value = MOST

    def take(self) -> bool:
        """Take the team if nobody has it, as a call does; whether that is so."""
        load()
        function = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(native.address("gradloom_take"))
        return function(self.state)

    def leave(self) -> None:
        """Let others have the team."""
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(native.address("gradloom_leave"))(self.state)

    @property
    def size(self) -> int:
        """The threads there are, the caller with them."""
        return 1 + ctypes.c_int64.from_address(self.state + WORKING).value

    def asleep(self) -> bool:
        """Whether a launch on two threads would have to wake the worker first (or start it)."""
        if self.size == 1:
            return True
        return ctypes.c_int64.from_address(self.state + MAILBOX + 8).value != 0

    def grow(self, threads: int) -> int:
        """Start workers until there are `threads` threads; how many there then are, or 1 where
        the team has stopped."""
        function = _grow()
        with self._growing:
            if not self._registered:
                atexit.register(self.stop)
                self._registered = True
            return 1 if self._closed else function(self.state, min(threads, MAX_THREADS))

    def stop(self) -> None:
        """End the workers: at the end of the process nothing may run in what is being torn down."""
        self._closed = True
        with self._growing:
            if self.size == 1:
                return
            patience = time.monotonic() + 1
            while not self.take():  # for good: who calls from now on runs alone
                if time.monotonic() > patience:  # a thread is stuck in a program: leave it be
                    return
                time.sleep(1e-3)
            ctypes.CFUNCTYPE(None, ctypes.c_void_p)(native.address("gradloom_stop"))(self.state)


class _Words(ctypes.Structure):
    """What native calls are bound to; see `launcher.py`."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            *("program", "table", "dims", "status", "state", "threads", "tiny", "times"),
            *("watch", "moves", "count", "left", "alone", "inputs", "alike", "keeps", "results"),
            *("outcomes", "turn"),
        )
    ]


class Call:
    """A program bound to its memory, which the caller keeps alive; to be run again and again."""

    __slots__ = (
        *("_alone", "_kept", "_pace", "_paced", "_single", "_team", "_together", "_words"),
    )

    def __init__(
        self,
        program: int,
        table: int,
        dims: int,
        status: int,
        tiny: bool = False,
        team: Team | None = None,
        paced: bool = True,
        types: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        moves: Sequence[tuple[int, int, int]] = (),
        results: Sequence[tuple[Any, tuple[int, ...]]] = (),
        keeps: bool = False,
    ) -> None:
        """tiny: too short to wake a sleeping worker for. paced: see `Pace`; else never alone.

        types: dtype and shape of each array that a call is given. It then begins with a clear
        status. moves: (array, slot, shift): where in the table to put the address of which array's
        data, results counted behind the arrays, and what to add. results: theirs. keeps: on one
        thread, it keeps Python's lock, which for some microseconds nobody misses.
        """
        triples = (ctypes.c_int64 * (3 * len(moves)))(*(n for move in moves for n in move))
        wanted, made = (
            (ctypes.c_int64 * max(len(words), 1))(*words)
            for words in map(arrays.expectations, (types or (), results))
        )
        looks = 0 if types is None else ctypes.addressof(wanted)
        bound = (len(types or ()), looks, int(keeps), len(results), ctypes.addressof(made), 0)
        last = (ctypes.addressof(triples), len(moves), 0, 0, *bound)
        self._single = _Words(program, table, dims, status, 0, 1, 0, 0, 0, *last)
        self._words = _Words(program, table, dims, status, 0, 1, int(tiny), 0, int(paced), *last)
        launch = load().enter
        self._alone = launch(ctypes.addressof(self._single))
        self._together = launch(ctypes.addressof(self._words))
        self._kept = triples, wanted, made, types
        self._team = team or the_team
        self._paced = paced
        self._pace: Pace | None = None

    def on(self, threads: int) -> tuple[Callable[[Any, Any], int], int]:
        """A function that makes the call on `threads` threads, of its arrays and its results, and
        where its words are.

        It may answer `ASK`: then call this object.
        """
        if threads > 1 and WORKERS:
            self._words.threads = threads
            return self._together, ctypes.addressof(self._words)
        return self._alone, ctypes.addressof(self._single)

    def __call__(self, threads: int = 1, arrays: Any = (), results: Any = None) -> int:
        """Run on `threads` threads, without Python's lock; the status word, or `OTHER`.

        On the caller alone where the team is taken by another call, or cannot grow (for that many
        threads it was found which steps must wait), or only gets in its own way (`Pace`).
        """
        team, words = self._team, self._words
        answer = ASK
        while threads > 1 and answer == ASK:
            state = team.state  # before its size: a signal's handler may fork, and its child asks
            if threads > team.size and team.grow(threads) < threads:
                break
            words.state, words.threads = state, threads
            if words.watch and self._paced:
                answer = self._watched(arrays, results)
            else:
                words.watch = 0
                answer = self._together(arrays, results)
        return self._alone(arrays, results) if answer == ASK else answer

    def _watched(self, arrays: Any, results: Any) -> int:
        """Run as the pace says."""
        words = self._words
        if self._pace is None:
            self._pace = Pace()
        pace = self._pace
        words.watch = 0
        started = time.perf_counter()
        how = self._together if pace.together else self._alone
        status = how(arrays, results)
        if status in (OTHER, ASK):  # nothing was done: no trial
            words.watch = 1
            return status
        calls = pace.took(time.perf_counter() - started, words.watch != 0)
        if calls > 0:
            words.left, words.alone = calls, int(not pace.settled)
        elif calls == pace.DONE:
            self._pace = None
        words.watch = int(calls == 0)
        return status


_call = functools.lru_cache(maxsize=256)(Call)


def run(program: int, table: int, dims: int, status: int, threads: int = 1) -> int:
    """Run a native program; see `Call`, which a caller with much to run holds itself."""
    return _call(program, table, dims, status)(threads)


the_team = Team()
