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

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from greenlet import getcurrent, greenlet

from gradloom.ir.kernel import Kernel
from gradloom.ir.launch import Dimensions, launch_configuration
from gradloom.runtime.cuda_vocabulary import python_vocabulary

Order = Literal["forward", "reverse"]
Index = int | tuple[int, ...]


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


@dataclass(slots=True)
class _Touched:
    """Who was at an element: its last writer; blocks that read it; readers since a barrier."""

    writer: tuple[int, int, int] | None = None  # block, epoch, thread
    blocks: set[int] = field(default_factory=set[int])
    epoch: int = -1
    readers: set[int] = field(default_factory=set[int])


class Memory:
    """An array that checks every access."""

    def __init__(self, name: str, array: np.ndarray, *, races: bool, filled: bool) -> None:
        self.name, self.array, self.races = name, array, races
        self.written = np.full(array.shape, filled)
        self.touched: dict[Index, _Touched] = {}

    def _check(self, index: Any) -> None:
        indices = index if isinstance(index, tuple) else (index,)
        if len(indices) != self.array.ndim:
            raise BoundsError(f"{self.name} has {self.array.ndim} axes, not {len(indices)}")
        for i, size in zip(indices, self.array.shape, strict=True):
            if not isinstance(i, (int, np.integer)) or not 0 <= i < size:
                raise BoundsError(f"{self.name}[{index}] is outside {self.array.shape}")

    def _touch(self, index: Index, writes: bool) -> None:
        if not self.races:
            return
        thread = _thread()
        block, epoch, me = thread.block.number, thread.block.epoch, thread.number
        seen = self.touched.setdefault(index, _Touched())
        meets = False
        if seen.writer is not None:
            its_block, its_epoch, its_thread = seen.writer
            meets = its_block != block or (its_epoch == epoch and its_thread != me)
        if writes:
            meets |= bool(seen.blocks - {block})
            meets |= block in seen.blocks and seen.epoch == epoch and bool(seen.readers - {me})
        if meets:
            raise RaceError(f"{self.name}[{index}]: thread {me} of block {block} meets another")
        if writes:
            seen.writer = (block, epoch, me)
            return
        if seen.epoch != epoch or block not in seen.blocks:
            seen.readers = set()
        seen.epoch = epoch
        seen.blocks.add(block)
        seen.readers.add(me)

    def __getitem__(self, index: Any) -> Any:
        self._check(index)
        if not self.written[index]:
            raise SimulatorError(f"{self.name}[{index}] is read and was never written")
        self._touch(index, False)
        return self.array[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check(index)
        if not isinstance(value, np.generic) or value.dtype != self.array.dtype:
            kind = getattr(value, "dtype", type(value).__name__)
            raise SimulatorError(f"{self.name} is {self.array.dtype} and was given {kind}")
        self._touch(index, True)
        self.written[index] = True
        self.array[index] = value


class _Block:
    """The threads of one block, run from barrier to barrier."""

    def __init__(self, number: int, size: Dimensions, call: Any, order: Order) -> None:
        self.number, self.order = number, order
        self.epoch = 0
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
        while True:
            step = 1 if self.order == "forward" else -1
            for thread in self.threads[::step]:
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
            self.epoch += 1


class _Cuda:
    """What kernels may use of ``cuda``."""

    def __init__(self, grid: Dimensions, block: Dimensions) -> None:
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

    @staticmethod
    def _empty(name: str, shape: Any, dtype: Any, races: bool) -> Memory:
        return Memory(name, np.zeros(shape, dtype), races=races, filled=False)

    def _shared(self, shape: Any, dtype: Any) -> Memory:
        """One array for each place in the text, the same for all threads of a block."""
        block, line = _thread().block, sys._getframe(1).f_lineno
        if line not in block.shared:
            block.shared[line] = self._empty(f"shared memory of line {line}", shape, dtype, True)
        return block.shared[line]

    def _local(self, shape: Any, dtype: Any) -> Memory:
        return self._empty("local memory", shape, dtype, False)


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
    status = np.zeros(2, np.int64)
    buffers = [
        Memory(a.name, _bytes(arrays[a.name]), races=True, filled=True) for a in kernel.arguments
    ]
    last = Memory("status", status, races=False, filled=True)
    namespace: dict[str, Any] = {**python_vocabulary(), "cuda": _Cuda(blocks, block)}
    exec(compile(source, f"<{kernel.name}>", "exec"), namespace)
    function = namespace[kernel.name]
    sizes = [parameters[name] for name in kernel.parameters]

    def call() -> None:
        with np.errstate(all="ignore"):  # of this greenlet
            function(*buffers, *sizes, last)

    for number in range(blocks[0]):
        _Block(number, block, call, order).run()
    return status


def _bytes(array: np.ndarray) -> np.ndarray:
    """A bool or half array as kernels see it."""
    assert array.ndim == 1
    if array.dtype.itemsize == 2 and array.dtype.kind not in "iu":
        return array.view(np.uint16)
    return array.view(np.uint8) if array.dtype == np.bool_ else array
