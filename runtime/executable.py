# pyright: basic
"""A loaded Program: kernels compiled, steps native, memory planned once per binding of the sizes.

For each binding of the dimensions an Instance holds the numbers (strides, extents, byte
counts) and the memory plan; each concurrent call of it has a Context: an arena, a table and a
status word.  Contexts are kept and reused, so that a warm call allocates only its results.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np

from ..ir.barriers import waits
from ..ir.dims import evaluate
from ..ir.errors import ArgumentError, GradloomError
from ..ir.half import is_finite
from ..ir.interpret import bind_dims, evaluate_attribute
from ..ir.kernel import Contract
from ..ir.op import TABLE
from ..ir.parameter import ALIGNMENT, Parameter, aligned_empty, share_lock
from ..ir.plan import check_sizes, nbytes, plan, window_start
from ..ir.program import Branch, Buffer, Copy, Launch, Loop, Program, Step, walk
from . import clock, driver
from .launcher import ASK, OTHER
from .layout import Layout
from .loader import load_kernels
from .pools import submit
from .team import MAX_THREADS, default_threads

TINY = 40_000  # scalar operations below which a second thread costs more than it does
SHORT = 1_000_000  # below which a sleeping one is not worth waking
FEW = 4_000  # in a step of a loop, below which its barriers cost more than a second thread does
ROUNDS = 1_000  # that a loop of unknown length is taken to have
KEPT = 1 << 29  # bytes of temporaries kept for sizes that were used before
_AGAIN = 1 << 16  # bytes of results up to which they are kept for later calls
_ALIGN_FROM = 1 << 18  # bytes from which a result is worth aligning: that takes microseconds


class Instance:
    """A program under one binding of its dimensions.  contexts: those that native code may claim,
    or has; who claims one in Python takes it out meanwhile, so that it is not lost when that is
    interrupted."""

    def __init__(self, executable: Executable, binding: dict[str, int]) -> None:
        self.executable, self.binding = executable, binding
        layout, program = executable.layout, executable.program
        numbers = [
            value(binding) if callable(value) else evaluate(value, binding)
            for value in layout.numbers
        ]
        self.numbers = (ctypes.c_int64 * max(len(numbers), 1))(*numbers)
        check_sizes(program, binding)
        self.plan = plan(program, binding)
        self.outputs = [
            (
                aligned_empty if nbytes(buffer, binding) >= _ALIGN_FROM else np.empty,
                tuple(evaluate(dim, binding) for dim in buffer.type.shape),
                buffer.type.dtype.numpy,
            )
            for buffer in map(program.buffer, program.outputs)
        ]
        self.shapes = [
            tuple(evaluate(dim, binding) for dim in buffer.type.shape)
            for buffer in executable.inputs
        ]
        self.work = _work(program, binding)
        self.copied = sum(
            nbytes(program.buffer(step.source), binding)
            for step in walk(program.steps)
            if isinstance(step, Copy)
        )
        self.threads = 1 if self.work < TINY else min(executable.threads, MAX_THREADS)
        if self.threads > 1 or any(run.turns for run in layout.runs):
            found = waits(program, layout.runs, self.plan, binding, self.threads)
            for slot, number in found.items():
                self.numbers[slot] = int(number)
        self.contexts: list[Context] = []

    def claimed(self, parameters: Sequence[Parameter]) -> Context:
        """A context that nobody has; it is back in `contexts` when it is released."""
        for context in tuple(self.contexts):
            if context.claim():
                with suppress(ValueError):  # all were forgotten
                    self.contexts.remove(context)
                return context
        context = Context(self, parameters)
        context.claim()
        return context

    def shift(self, name: str) -> int:
        """Bytes from the start of the buffer at the end of the chain to a window's first entry."""
        layout = self.executable.layout
        windows = [layout.buffers[link] for link in layout.bases(name)[:-1]]
        return sum(window_start(w, layout.buffers[w.of], self.binding) for w in windows)


class Context:
    """What one call at a time works on: who has claimed it, until it is released."""

    def __init__(self, instance: Instance, parameters: Sequence[Parameter]) -> None:
        executable = instance.executable
        layout = executable.layout
        self.instance = instance
        self.arena = aligned_empty((max(instance.plan.total, ALIGNMENT),), np.dtype(np.uint8))
        self.table = (ctypes.c_int64 * layout.size)()
        self.status = (ctypes.c_int64 * 3)()
        self.claim = driver.load().claim(ctypes.addressof(self.status))
        for name, slot in layout.functions.items():
            self.table[slot] = executable.addresses[name]
        start = self.arena.ctypes.data
        for name, offset in instance.plan.offsets.items():
            self.place(name, start + offset)
        for name, array in executable.constants.items():
            self.place(name, array.ctypes.data)
        for buffer, parameter in zip(executable.parameters, parameters, strict=True):
            self.place(buffer.name, parameter.buffer.ctypes.data)
        self.outputs = instance.outputs
        inputs = [buffer.name for buffer in executable.inputs]
        moving = enumerate((*inputs, *executable.program.outputs))
        types = zip(executable.dtypes, instance.shapes, strict=True)
        calls = layout.hosts or layout.looks
        self.host = driver.HostCallback(self.run_host) if calls else None
        if self.host is not None:
            self.table[layout.callback] = self.host.address
        if executable.stamps is not None:
            self.table[layout.size - 1] = ctypes.addressof(executable.stamps)
        self.call = driver.Call(
            executable.native,
            ctypes.addressof(self.table),
            ctypes.addressof(instance.numbers),
            ctypes.addressof(self.status),
            tiny=instance.work < SHORT,
            types=tuple(types),
            moves=[(n, *target) for n, name in moving for target in self.targets(name)],
            results=[(dtype, shape) for _, shape, dtype in self.outputs],
            keeps=instance.work < TINY and instance.copied < TINY and not layout.looks,
        )
        self.run, self.words = self.call.on(instance.threads)

    def quick(self, shared: Parameter | None) -> tuple[Any, ...] | None:
        """What native code makes a call with, see `launcher.QUICK`; None where steps or loops call
        Python, which may raise what must not be lost."""
        if self.host is not None:
            return None
        found = (None,) * 5
        if shared is not None:
            lock = shared.lock
            found = "lock", lock, lock.acquire, False, lock.release
        makers = (thing for maker in self.outputs for thing in maker)
        size = sum(prod(shape) * dtype.itemsize for _, shape, dtype in self.outputs)
        kept = [None] * (2 * len(self.outputs)) if size <= _AGAIN else None
        return self.words, self, shared, *found, kept, *makers

    def ask(self, arrays: Sequence[np.ndarray], results: list[np.ndarray]) -> int:
        """Run where `run` had to ask: for threads, or to be watched."""
        return self.call(self.instance.threads, arrays, results)

    def targets(self, name: str) -> list[tuple[int, int]]:
        """The slots that a buffer's address belongs in, with what is added to it in each."""
        layout = self.instance.executable.layout
        return [
            (slot, self.instance.shift(other))
            for other in layout.windows[name]
            for slot in layout.slots[other]
        ]

    def place(self, name: str, address: int) -> None:
        for slot, shift in self.targets(name):
            self.table[slot] = address + shift

    def run_host(self, number: int) -> None:
        """Compute a host step by its op's reference, on arrays over the program's memory.

        A number below 0 is a loop that asks whether to go on: Python has by now handled signals.
        """
        if number < 0:
            return
        executable, binding = self.instance.executable, self.instance.binding
        step, reads, writes = executable.layout.hosts[number]
        buffers = executable.layout.buffers
        arrays = [
            _array_at(self.table[slot], buffers[name], binding)
            for slot, name in zip((*reads, *writes), (*step.operands, *step.results), strict=True)
        ]
        operands, results = arrays[: len(reads)], arrays[len(reads) :]
        attrs = {key: evaluate_attribute(value, binding) for key, value in step.attrs}
        try:
            with np.errstate(all="ignore"):
                values = TABLE[step.op].reference(*operands, **attrs)
        except GradloomError as error:
            raise executable.program.checks[step.check - 1].of_host(error) from None
        values = values if isinstance(values, (tuple, list)) else [values]
        for target, value in zip(results, values, strict=True):
            target[...] = value
        if executable.program.guarded and not all(map(is_finite, results)):
            self.status[0] = self.status[0] or 1


def _array_at(address: int, buffer: Buffer, binding: dict[str, int]) -> np.ndarray:
    shape = tuple(evaluate(dim, binding) for dim in buffer.type.shape)
    memory = (ctypes.c_char * nbytes(buffer, binding)).from_address(address)
    return np.frombuffer(memory, buffer.type.dtype.numpy).reshape(shape)  # type: ignore[arg-type]


def _work(program: Program, binding: dict[str, int]) -> int:
    """Scalar operations of a call, roughly."""
    kernels = {kernel.name: kernel for kernel in program.kernels}

    def cost(steps: Sequence[Step]) -> int:
        total = 0
        for step in steps:
            if isinstance(step, Loop):
                once = cost(step.body)
                count = ROUNDS if step.count is None else evaluate(step.count, binding)
                total += once if once < FEW else count * once
            elif isinstance(step, Branch):
                total += max(map(cost, step.bodies))
            elif isinstance(step, Launch):
                kernel = kernels[step.kernel]
                sizes = dict(
                    zip(kernel.parameters, (evaluate(s, binding) for s in step.sizes), strict=True)
                )
                points = 1
                for axis in kernel.axes:
                    points *= axis.extent if isinstance(axis.extent, int) else sizes[axis.extent]
                for item in kernel.body:
                    if isinstance(item, Contract):
                        depth = item.depth if isinstance(item.depth, int) else sizes[item.depth]
                        total += points * depth
                total += points * max(len(kernel.body), 1)
        return total

    return cost(program.steps)


class Executable:
    """A program ready to be called.

    threads: how many threads large calls use; results do not depend on it.
    timed: calls, one at a time, add to `stamps` how often each launch, copy and host step ran, and
        the nanoseconds it took: a pair a step, in the order of `walk`.
    """

    def __init__(self, program: Program, threads: int | None = None, timed: bool = False) -> None:
        self.program = program
        self.threads = default_threads() if threads is None else threads
        self.layout = Layout(program)
        steps, self.stamps = self.layout.steps, None
        if timed:
            steps, count = clock.timed(steps, self.layout.size)
            self.layout.size += 1
            self.stamps = (ctypes.c_int64 * (2 * count))()
        sources = [kernel.source for kernel in program.kernels]
        names = [kernel.name for kernel in program.kernels]
        with ThreadPoolExecutor(1) as pool:  # the steps are compiled beside the kernels
            native = submit(pool, driver.native_program, steps)
            found = load_kernels(sources, program.target.lanes) if sources else []
        self.native = native.result()
        self.addresses = dict(zip(names, found, strict=True))
        self.inputs = program.of_kind("input")
        self.dtypes = [buffer.type.dtype.numpy for buffer in self.inputs]
        self.parameters = program.of_kind("parameter")
        self.constants: dict[str, np.ndarray] = {}
        for buffer in program.of_kind("constant"):
            assert buffer.value is not None
            values = buffer.value.values
            self.constants[buffer.name] = aligned_empty(values.shape, values.dtype)
            self.constants[buffer.name][...] = values
        self.names = [buffer.name for buffer in (*self.inputs, *self.parameters)]
        self.instances: dict[Any, Instance] = {}
        self.lock = threading.Lock()
        self.last: list[Any] = [None]  # what a call like the last one is made with
        self.shared: Any = None  # a parameter, if there is any: its lock is that of all

    def instance(self, arrays: Sequence[np.ndarray], parameters: Sequence[Parameter]) -> Instance:
        """The instance for the shapes of these inputs; made and checked at their first use."""
        key = tuple([array.shape for array in arrays])
        shapes = [*key, *(parameter.buffer.shape for parameter in parameters)]
        types = [buffer.type for buffer in (*self.inputs, *self.parameters)]
        binding = bind_dims(types, shapes, self.names, self.program.constraints)
        made = Instance(self, binding)  # not under the lock: a fork would have to wait for it
        with self.lock:
            found = self.instances.setdefault(key, made)
            self.forget()
        return found

    def forget(self) -> None:
        """Let go of the sizes met first, where the memory kept for all of them is too much."""
        held = sum(instance.plan.total for instance in self.instances.values())
        for oldest in list(self.instances)[:-1]:
            if held <= KEPT:
                break
            instance = self.instances.pop(oldest)
            instance.contexts.clear()  # a context knows its instance: a cycle
            self.last[0] = None  # which may hold one of these
            held -= instance.plan.total

    def __call__(
        self, arrays: Sequence[np.ndarray], parameters: Sequence[Parameter] = ()
    ) -> list[np.ndarray]:
        """Run on C-contiguous arrays of the right dtypes; the results are new arrays.

        Raises what a check or host step raised; then no parameter has changed.
        """
        key = tuple([array.shape for array in arrays])
        instance = self.instances.get(key) or self.instance(arrays, parameters)
        if parameters and self.shared is None:
            share_lock(parameters)
            self.shared = parameters[0]
        # Equal dtypes, but some may be of another name.
        pairs = zip(arrays, self.dtypes, strict=True)
        given = tuple(
            [array if array.dtype is dtype else array.view(dtype) for array, dtype in pairs]
        )
        context = instance.claimed(parameters)
        try:
            results = self.results(context, given)
            self.last[0] = context.quick(self.shared)
        finally:
            if context.host is None or not context.host.spent:
                context.status[2] = 0
                instance.contexts.append(context)
        return results

    def results(self, context: Context, arrays: tuple[Any, ...]) -> list[np.ndarray]:
        """Those of a call, made with a context.

        A KeyboardInterrupt may come between any two lines.
        """
        results: list[np.ndarray] = []
        for empty, shape, dtype in context.outputs:
            results.append(empty(shape, dtype))
        shared = self.shared
        if shared is None:
            status = context.run(arrays, results)
            if status == ASK:
                status = context.ask(arrays, results)
        else:
            lock = shared.lock
            try:
                lock.acquire()
                while lock is not shared.lock:  # it was exchanged while we waited
                    lock.release()
                    lock = shared.lock
                    lock.acquire()
                status = context.run(arrays, results)
                if status == ASK:
                    status = context.ask(arrays, results)
                lock.release()
            except BaseException:  # who holds the lock is asked the lock
                with suppress(RuntimeError):
                    lock.release()
                raise
        if status == OTHER:
            raise ArgumentError("an array was changed while it was passed to a call")
        if status:
            self.fail(context, status)
        return results

    def fail(self, context: Context, status: int) -> None:
        """Raise what stopped the call."""
        value = context.status[1]
        host = context.host
        error = host.take_error() if host is not None else None
        if error is not None:
            raise error
        if status < 0:
            raise GradloomError("Python could not run a step of the call; above it says why")
        raise self.program.checks[status - 1].raised(value)
