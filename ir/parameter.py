"""Parameters: named state that all functions share."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from ctypes import addressof, c_char
from itertools import repeat
from typing import Any
from weakref import WeakSet

import numpy as np

from .errors import ArgumentError
from .half import converted, may_become
from .tensor import Node, Tensor, TensorType

_parameters: WeakSet[Parameter] = WeakSet()
_sharing = threading.RLock()  # held while locks are exchanged, and by a fork
ALIGNMENT = 64  # bytes: a cache line, and the widest vector
PAGE = 4096  # bytes
LARGE = 4 * PAGE  # bytes of an array that starts with a page


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An uninitialised C-contiguous array that starts at a multiple of ALIGNMENT, a large one at
    one of PAGE.

    Processors compare addresses within a page only, at first: where a result starts a little
    further into one than an operand, each load waits for the store before it, as if it read that
    (a kernel then takes up to three times as long).
    NumPy's large arrays start 16 bytes into a page.
    """
    nbytes = math.prod(shape) * dtype.itemsize
    unit = PAGE if nbytes >= LARGE else ALIGNMENT
    raw = np.empty(nbytes + unit, np.uint8)
    start = -addressof(c_char.from_buffer(raw)) % unit  # pyright: ignore[reportArgumentType]
    return np.ndarray(shape, dtype, raw, start)


class Parameter(Tensor):
    """A tensor with a value that outlives the call.  Identity, not name, tells two apart.

    lock: who holds it has the value to himself.  Parameters that one call needs share theirs
    (`share_lock`), so a call takes one lock, however many parameters it has.
    """

    __slots__ = ("buffer", "lock")

    def __init__(self, node: Node, type_: TensorType, value: np.ndarray[Any, Any]) -> None:
        super().__init__(node, 0, type_)
        node.results = (self,)
        self.buffer = aligned_empty(value.shape, value.dtype)
        self.buffer[...] = value
        self.lock = threading.RLock()  # knows who holds it, for those who are interrupted
        with _sharing:
            _parameters.add(self)

    @property
    def name(self) -> str:
        return self.node.attrs["name"]

    @property
    def value(self) -> np.ndarray[Any, Any]:
        """The current value, as a copy: changing that changes nothing here.

        Setting it needs the same shape, and a dtype that fits; ArgumentError otherwise.
        """
        with ExitStack() as stack:
            hold((self,), stack)
            return self.buffer.copy()

    @value.setter
    def value(self, value: Any) -> None:
        array = np.asarray(value)
        if array.shape != self.buffer.shape or not may_become(array.dtype, self.dtype):
            raise ArgumentError(
                f"parameter {self.name} is {self.type}, got {array.dtype}{list(array.shape)}"
            )
        value = converted(array, self.dtype)
        with ExitStack() as stack:
            hold((self,), stack)
            self.buffer[...] = value


def share_lock(parameters: Sequence[Parameter]) -> None:
    """Give these parameters one lock, and all that share one with any of them already.

    Who has waited for a lock must look whether it is still the parameter's.
    """
    if len({id(parameter.lock) for parameter in parameters}) < 2:
        return  # who share a lock always will; a signal's handler may hold it, and must not wait
    with _sharing:
        locks = {id(parameter.lock): parameter.lock for parameter in parameters}
        if len(locks) < 2:
            return
        kept = next(iter(locks.values()))
        try:
            for lock in locks.values():
                lock.acquire()
            moved = [parameter for parameter in _parameters if id(parameter.lock) in locks]
            # One call that runs no Python: neither a signal's handler nor a thread comes between.
            list(map(Parameter.lock.__set__, moved, repeat(kept)))  # pyright: ignore
        finally:
            for lock in locks.values():
                with suppress(RuntimeError):  # not held: interrupted before
                    lock.release()


def hold(parameters: Iterable[Parameter], stack: ExitStack) -> None:
    """Have the values of these parameters to oneself until the end of `stack`."""
    parameters = tuple(parameters)
    share_lock(parameters)
    while parameters:
        lock = parameters[0].lock
        stack.enter_context(lock)
        if parameters[0].lock is lock:
            return


class _Fork:
    """A fork waits for the calls in progress: the child has whole values, and free locks."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self.acquire, after_in_parent=self.release, after_in_child=self.release
            )

    def acquire(self) -> None:
        _sharing.acquire()
        locks = {id(parameter.lock): parameter.lock for parameter in list(_parameters)}
        self.held = list(locks.values())
        for lock in self.held:
            lock.acquire()

    def release(self) -> None:
        for lock in self.held:
            lock.release()
        self.held = []
        _sharing.release()


_fork = _Fork()
