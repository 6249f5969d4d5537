# pyright: standard
"""A small deterministic simulator of CUDA blocks, for the text of ``compiler/emit_cuda.py``.

Each thread is a greenlet that runs until a barrier; threads run in forward or reverse order.
Blocks run one after another.  What goes unnoticed on a device most of the time is an error here:

 - an index out of bounds (negative ones too), of buffers, shared and local arrays;
 - reading shared or local memory that nothing was written to, in this block;
 - a store of another dtype than the array's (a value that was promoted by accident);
 - a barrier that not all threads of a block reach, or that they reach at different lines;
 - a race: two threads at one element, at least one writing, with no barrier between them, and
   in one buffer, blocks that meet at all.  The status words alone may race.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from greenlet import getcurrent, greenlet

from gradloom.ir.kernel import Kernel
from gradloom.ir.launch import Dimensions, launch_configuration
from gradloom.runtime.cuda_vocabulary import python_vocabulary

Order = Literal["forward", "reverse"]


class SimulatorError(Exception):
    """The kernel did what it must not do."""


class DivergenceError(SimulatorError):
    """Threads of a block that do not meet at one barrier."""


class RaceError(SimulatorError):
    """Two threads at one element without order."""


class BoundsError(SimulatorError, IndexError):
    """An index outside an array."""


class _Thread(greenlet):
    """One thread: where it is, and the line of the barrier at which it waits (0: none)."""

    block: _Block
    threadIdx: SimpleNamespace  # noqa: N815
    number: int
    waits_at: int = 0


def _thread() -> _Thread:
    current = getcurrent()
    assert isinstance(current, _Thread)
    return current


BITS = 32
NOBODY, SEVERAL = -1, -2


@dataclass
class Now:
    """Which thread of which block runs, and when: a number for each stretch between two barriers of
    a block, whose lowest `BITS` are those of the block."""

    thread: int = 0
    block: int = 0
    moment: int = 0

    def at(self, block: int, barriers: int) -> None:
        """From now on a block runs that is behind so many barriers."""
        self.block, self.moment = block, (barriers << BITS) + block


class Memory:
    """An array that checks every access.

    Lists tell who was at a place: the last writer, and when; when it was read last, since then by
    which thread, and ever by which block.
    """

    def __init__(self, name: str, array: np.ndarray, now: Now | None, filled: bool) -> None:
        """now: of the threads that may race; None where only one comes here."""
        self.name, self.shape, self.now = name, array.shape, now
        self.cells = array.reshape(-1)
        self.filled = bytearray([filled]) * array.size
        self.writer, self.written, self.reader, self.read, self.block = (
            [NOBODY] * (array.size if now else 0) for _ in range(5)
        )

    def _place(self, index: Any) -> int:
        """Which of the cells is meant."""
        shape = self.shape
        if len(shape) == 2 and type(index) is tuple and len(index) == 2:  # most are: be quick
            row, column = index
            if type(row) is type(column) is int and 0 <= row < shape[0] and 0 <= column < shape[1]:
                return row * shape[1] + column
        indices = index if type(index) is tuple else (index,)
        if len(indices) != len(shape):
            raise BoundsError(f"{self.name} has {len(shape)} axes, not {len(indices)}")
        place = 0
        for i, size in zip(indices, shape, strict=True):
            if not isinstance(i, (int, np.integer)) or not 0 <= i < size:
                raise BoundsError(f"{self.name}[{index}] is outside {shape}")
            place = place * size + int(i)
        return place

    def _meets(self, place: int, now: Now) -> bool:
        """Whether another thread wrote here, with no barrier of the same block since then."""
        written = self.written[place]
        if written == now.moment:
            return self.writer[place] != now.thread
        return written != NOBODY and written & ((1 << BITS) - 1) != now.block

    def _raced(self, index: Any, now: Now) -> RaceError:
        here = f"{self.name}[{index}]"
        return RaceError(f"{here}: thread {now.thread} of block {now.block} meets another")

    def __getitem__(self, index: Any) -> Any:
        place = self._place(index)
        if not self.filled[place]:
            raise SimulatorError(f"{self.name}[{index}] is read and was never written")
        now = self.now
        if now is None:
            return self.cells[place]
        if self._meets(place, now):
            raise self._raced(index, now)
        if self.read[place] != now.moment:
            self.read[place], self.reader[place] = now.moment, now.thread
        elif self.reader[place] != now.thread:
            self.reader[place] = SEVERAL
        if self.block[place] != now.block:
            self.block[place] = now.block if self.block[place] == NOBODY else SEVERAL
        return self.cells[place]

    def __setitem__(self, index: Any, value: Any) -> None:
        place = self._place(index)
        if not isinstance(value, np.generic) or value.dtype != self.cells.dtype:
            kind = getattr(value, "dtype", type(value).__name__)
            raise SimulatorError(f"{self.name} is {self.cells.dtype} and was given {kind}")
        now = self.now
        if now is not None:
            others = self.block[place] not in (NOBODY, now.block)
            others |= self.read[place] == now.moment and self.reader[place] != now.thread
            if others or self._meets(place, now):
                raise self._raced(index, now)
            self.written[place], self.writer[place] = now.moment, now.thread
        self.filled[place] = True
        self.cells[place] = value


class _Block:
    """The threads of one block, run from barrier to barrier."""

    def __init__(self, number: int, size: Dimensions, call: Any, order: Order, now: Now) -> None:
        self.number, self.order, self.now = number, order, now
        self.shared: dict[int, Memory] = {}
        self.threads: list[_Thread] = []
        for z in range(size[2]):
            for y in range(size[1]):
                for x in range(size[0]):
                    thread = _Thread(call)
                    thread.block, thread.number = self, len(self.threads)
                    thread.threadIdx = SimpleNamespace(x=x, y=y, z=z)
                    self.threads.append(thread)

    def run(self) -> None:
        now = self.now
        for barriers in itertools.count():
            now.at(self.number, barriers)
            step = 1 if self.order == "forward" else -1
            for thread in self.threads[::step]:
                now.thread = thread.number
                thread.switch()
            waiting = [thread for thread in self.threads if not thread.dead]
            if not waiting:
                return
            places = {thread.waits_at for thread in waiting}
            if len(waiting) < len(self.threads) or len(places) > 1:
                raise DivergenceError(
                    f"block {self.number}: {len(waiting)} of {len(self.threads)} threads wait, "
                    f"at lines {sorted(places)}"
                )


class _Cuda:
    """What kernels may use of ``cuda``."""

    def __init__(self, grid: Dimensions, block: Dimensions, now: Now) -> None:
        self.now = now
        self.gridDim = SimpleNamespace(x=grid[0], y=grid[1], z=grid[2])
        self.blockDim = SimpleNamespace(x=block[0], y=block[1], z=block[2])
        self.shared = SimpleNamespace(array=self._shared)
        self.local = SimpleNamespace(array=self._local)

    @property
    def threadIdx(self) -> SimpleNamespace:  # noqa: N802
        return _thread().threadIdx

    @property
    def blockIdx(self) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(x=_thread().block.number, y=0, z=0)

    def grid(self, axes: int) -> int:
        assert axes == 1
        return self.blockIdx.x * self.blockDim.x + self.threadIdx.x

    def gridsize(self, axes: int) -> int:
        assert axes == 1
        return self.gridDim.x * self.blockDim.x

    def syncthreads(self) -> None:
        thread = _thread()
        thread.waits_at = sys._getframe(1).f_lineno
        parent = thread.parent
        assert parent is not None
        parent.switch()

    def _shared(self, shape: Any, dtype: Any) -> Memory:
        """One array for each place in the text, the same for all threads of a block."""
        block, line = _thread().block, sys._getframe(1).f_lineno
        if line not in block.shared:
            name = f"shared memory of line {line}"
            block.shared[line] = Memory(name, np.empty(shape, dtype), self.now, filled=False)
        return block.shared[line]

    def _local(self, shape: Any, dtype: Any) -> Memory:
        return Memory("local memory", np.empty(shape, dtype), None, filled=False)


def run_kernel(
    kernel: Kernel,
    source: str,
    arrays: Mapping[str, np.ndarray],
    parameters: Mapping[str, int],
    order: Order = "forward",
    grid: int | None = None,
) -> np.ndarray:
    """Run the text of `kernel` on flat arrays, in place; returns the two status words.

    grid: blocks to launch, if not as many as ``launch_configuration`` says.
    """
    blocks, block = launch_configuration(kernel, parameters)
    if grid is not None:
        blocks = (grid, 1, 1)
    status, now = np.zeros(2, np.int64), Now()
    buffers = [Memory(a.name, _bytes(arrays[a.name]), now, filled=True) for a in kernel.arguments]
    last = Memory("status", status, None, filled=True)
    namespace: dict[str, Any] = {**python_vocabulary(), "cuda": _Cuda(blocks, block, now)}
    exec(compile(source, f"<{kernel.name}>", "exec"), namespace)
    function = namespace[kernel.name]
    sizes = [parameters[name] for name in kernel.parameters]

    def call() -> None:
        with np.errstate(all="ignore"):  # of this greenlet
            function(*buffers, *sizes, last)

    for number in range(blocks[0]):
        _Block(number, block, call, order, now).run()
    return status


def _bytes(array: np.ndarray) -> np.ndarray:
    """A bool or half array as kernels see it."""
    assert array.ndim == 1
    if array.dtype.itemsize == 2 and array.dtype.kind not in "iu":
        return array.view(np.uint16)
    return array.view(np.uint8) if array.dtype == np.bool_ else array
