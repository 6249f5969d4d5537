"""Parameters: named state that all functions share."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from .errors import ArgumentError
from .tensor import Node, Tensor, TensorType

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An uninitialised C-contiguous array that starts at a multiple of ALIGNMENT."""
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes].view(dtype).reshape(shape)


class Parameter(Tensor):
    """A tensor with a value that outlives the call.  Identity, not name, tells two apart."""

    __slots__ = ("buffer", "lock")

    def __init__(self, node: Node, type_: TensorType, value: np.ndarray[Any, Any]) -> None:
        super().__init__(node, 0, type_)
        node.results = (self,)
        self.buffer = aligned_empty(value.shape, value.dtype)
        self.buffer[...] = value
        self.lock = threading.Lock()

    @property
    def name(self) -> str:
        return self.node.attrs["name"]

    @property
    def value(self) -> np.ndarray[Any, Any]:
        """The current value, as a copy; setting it needs the same shape, and a dtype that fits."""
        with self.lock:
            return self.buffer.copy()

    @value.setter
    def value(self, value: Any) -> None:
        array = np.asarray(value)
        if array.shape != self.buffer.shape or not np.can_cast(
            array.dtype, self.buffer.dtype, "same_kind"
        ):
            raise ArgumentError(
                f"parameter {self.name} is {self.type}, got {array.dtype}{list(array.shape)}"
            )
        with self.lock:
            self.buffer[...] = array
