# pyright: basic
"""Runs a loaded program with one thread after the other, each from barrier to barrier.

Between two barriers threads may be arbitrarily far apart.  Here one does all that stands there
before the next one begins, in a given order; so what one reads of another without a barrier it
reads too early, in one order or its reverse, on each run and not now and then.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from gradloom.ir.parameter import Parameter
from gradloom.ir.units import part
from gradloom.runtime import driver, executable
from gradloom.runtime.executable import Context, Executable

_KERNEL = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 2)
_HOST = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


def staggered(
    loaded: Executable,
    arrays: Sequence[np.ndarray],
    parameters: Sequence[Parameter],
    order: Sequence[int],
    barriers: bool = True,
) -> list[np.ndarray]:
    """What the program gives where its threads, as many as `order` names, run in that order.

    The program must have been loaded for as many.  barriers: False leaves out all that the sizes
    decide about.
    """
    tiny, executable.TINY = executable.TINY, 0
    try:
        instance = loaded.instance(arrays, parameters)
    finally:
        executable.TINY = tiny
    assert instance.threads == len(order)
    context: Any = Context(instance, parameters)
    context.arena[...] = 0xFF  # nan, and not what an earlier call may have left here
    context.run = _Run(context, order, barriers)
    instance.contexts.append(context)
    return loaded(arrays, parameters)


class _StoppedError(Exception):
    """The program or a loop is left."""


class _Run:
    def __init__(self, context: Context, order: Sequence[int], barriers: bool) -> None:
        self.context, self.order, self.barriers = context, order, barriers
        self.table, self.numbers = context.table, context.instance.numbers
        self.pending: list[driver.Launch | driver.Turns | driver.Copy] = []
        self.count = 0  # of barriers

    def __call__(self, arrays: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> int:
        """As a context runs: bind the arrays of the call, then all steps; the status."""
        executable = self.context.instance.executable
        names = [*(buffer.name for buffer in executable.inputs), *executable.program.outputs]
        for array, name in zip((*arrays, *results), names, strict=True):
            self.context.place(name, array.ctypes.data)
        self.context.status[0] = 0
        with suppress(_StoppedError):  # by a check: the status tells
            self.steps(executable.layout.steps)
        self.barrier()
        return self.context.status[0]

    def barrier(self) -> None:
        self.count += bool(self.pending)
        for thread in self.order:
            for step in self.pending:
                self.one(step, thread)
        self.pending = []

    def one(self, step: driver.Launch | driver.Turns | driver.Copy, thread: int) -> None:
        threads = len(self.order)
        if isinstance(step, driver.Turns):
            parts = self.numbers[step.parts]
            for turn in range(*part(parts, thread, threads)):
                for launch in step.steps:
                    self.part(launch, turn, parts)
            return
        self.part(step, thread, threads)

    def part(self, step: driver.Launch | driver.Copy, thread: int, threads: int) -> None:
        table = self.table
        if isinstance(step, driver.Launch):
            status = ctypes.addressof(self.context.status)
            result = (ctypes.c_int64 * 2)()
            place = ctypes.addressof(result)
            buffers = ctypes.addressof(table) + 8 * step.buffers
            dims = ctypes.addressof(self.numbers) + 8 * step.dims
            kernel = _KERNEL(table[step.function])
            code = kernel(place, place + 8, buffers, dims, status, thread, threads)
            assert code in (0, -2)
            return
        size = self.numbers[step.nbytes]
        low, high = (64 * n for n in part(-(-size // 64), thread, threads))
        if low < high:
            to, source = table[step.destination] + low, table[step.source] + low
            ctypes.memmove(to, source, min(high, size) - low)

    def steps(self, steps: Sequence[driver.Step]) -> None:
        for step in steps:
            if isinstance(step, driver.Turns):
                if not self.numbers[step.parts]:
                    self.steps(step.steps)
                    continue
                first, then = step.steps
                assert first.wait is not None and then.wait is not None
                assert not self.numbers[then.wait]
                if self.numbers[first.wait] and self.barriers:
                    self.barrier()
                self.pending.append(step)
                continue
            if isinstance(step, (driver.Launch, driver.Copy)):
                if step.wait is None or (self.numbers[step.wait] and self.barriers):
                    self.barrier()
                self.pending.append(step)
                continue
            self.barrier()
            self.leave_if_failed()
            if isinstance(step, driver.Host):
                word = step.number & 0xFFFFFFFF
                if _HOST(self.table[step.callback])(word) != ~word:
                    self.context.status[0] = driver.HostCallback.RAISED
                self.leave_if_failed()
            elif isinstance(step, driver.Branch):
                chosen = self.word(step.index, ctypes.c_int64)
                self.steps(step.bodies[min(max(chosen, 0), len(step.bodies) - 1)])
            elif isinstance(step, driver.Loop):
                self.loop(step)

    def leave_if_failed(self) -> None:
        if self.context.status[0]:
            raise _StoppedError

    def word(self, slot: int, kind: Any) -> int:
        return kind.from_address(self.table[slot]).value

    def loop(self, step: driver.Loop) -> None:
        before = list(self.table)
        count = self.numbers[step.count]
        if step.limit is not None:
            limited = min(max(self.word(step.limit, ctypes.c_int64), 0), count)
            for slot, stride in step.skips if limited else ():
                self.table[slot] += self.numbers[stride] * (count - limited)
            count = limited
        taken = 0
        try:
            while taken < count and self.body(step):
                taken += 1
                for slot, stride in step.advances:
                    self.table[slot] += self.numbers[stride]
        finally:
            self.table[:] = before
        if step.steps is not None:
            ctypes.c_int64.from_address(self.table[step.steps]).value = taken

    def body(self, step: driver.Loop) -> bool:
        """One step of the loop; whether it was taken to its end."""
        start = 0
        for n, inner in enumerate(step.body):
            if isinstance(inner, driver.Break):
                self.steps(step.body[start:n])
                self.barrier()
                self.leave_if_failed()
                if not self.word(inner.flag, ctypes.c_int8):
                    return False
                start = n + 1
        self.steps(step.body[start:])
        self.barrier()
        self.leave_if_failed()
        return True
