"""Parameters: named state that all functions share."""

from __future__ import annotations

import math
import os
import threading
from ctypes import addressof, c_char
from typing import Any
from weakref import WeakSet

import numpy as np

from .errors import ArgumentError
from .half import converted, may_become
from .tensor import Node, Tensor, TensorType

_parameters: WeakSet[Parameter] = WeakSet()
ALIGNMENT = 64  # bytes: a cache line, and the widest vector


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An uninitialised C-contiguous array that starts at a multiple of ALIGNMENT."""
    nbytes = math.prod(shape) * dtype.itemsize
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -addressof(c_char.from_buffer(raw)) % ALIGNMENT  # pyright: ignore[reportArgumentType]
    return np.ndarray(shape, dtype, raw, start)


class Parameter(Tensor):
    """A tensor with a value that outlives the call.  Identity, not name, tells two apart."""

    __slots__ = ("buffer", "lock")

    def __init__(self, node: Node, type_: TensorType, value: np.ndarray[Any, Any]) -> None:
        super().__init__(node, 0, type_)
        node.results = (self,)
        self.buffer = aligned_empty(value.shape, value.dtype)
        self.buffer[...] = value
        self.lock = threading.RLock()  # knows who holds it, for those who are interrupted
        _parameters.add(self)

    @property
    def name(self) -> str:
        return self.node.attrs["name"]

    @property
    def value(self) -> np.ndarray[Any, Any]:
        """The current value, as a copy: changing that changes nothing here.

        Setting it needs the same shape, and a dtype that fits; ArgumentError otherwise.
        """
        with self.lock:
            return self.buffer.copy()

    @value.setter
    def value(self, value: Any) -> None:
        array = np.asarray(value)
        if array.shape != self.buffer.shape or not may_become(array.dtype, self.dtype):
            raise ArgumentError(
                f"parameter {self.name} is {self.type}, got {array.dtype}{list(array.shape)}"
            )
        with self.lock:
            self.buffer[...] = converted(array, self.dtype)


class _Fork:
    """A fork waits for the calls in progress: the child has whole values, and free locks."""

    def __init__(self) -> None:
        self.held: list[Parameter] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self.acquire, after_in_parent=self.release, after_in_child=self.release
            )

    def acquire(self) -> None:
        self.held = sorted(_parameters, key=id)  # the order in which calls take them
        for parameter in self.held:
            parameter.lock.acquire()

    def release(self) -> None:
        for parameter in self.held:
            parameter.lock.release()
        self.held = []


_fork = _Fork()
