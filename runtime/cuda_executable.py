# pyright: standard
"""A Program run on a device: buffers there, steps in order on its one stream.

Which device is left to ``Device``, so that the tests run programs on a simulated one.  For each
binding of the dimensions the device memory is allocated once and kept.  Parameters live on the
host, where all functions share them: a call takes them along and brings back those that it wrote.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Literal

import numpy as np

from ..ir.dims import evaluate
from ..ir.errors import GradloomError
from ..ir.half import is_finite
from ..ir.interpret import bind_dims, evaluate_attribute
from ..ir.kernel import Kernel
from ..ir.launch import Dimensions, is_narrow, launch_configuration
from ..ir.op import TABLE
from ..ir.parameter import Parameter, hold
from ..ir.plan import check_sizes, nbytes, plan, window_start
from ..ir.program import (
    Branch,
    Break,
    Buffer,
    Check,
    Copy,
    Host,
    Launch,
    Loop,
    Program,
    Step,
    reads_and_writes,
    walk,
)


class Device(ABC):
    """Memory by address, and kernels on one stream; what is asked for happens in that order."""

    @abstractmethod
    def enter(self) -> None:
        """Make this the device of the calling thread."""

    @abstractmethod
    def allocate(self, nbytes: int) -> int: ...

    @abstractmethod
    def release(self, address: int) -> None: ...

    @abstractmethod
    def write(self, address: int, array: np.ndarray[Any, Any]) -> None:
        """Copy from the host; `array` may be changed as soon as this returns."""

    @abstractmethod
    def read(self, address: int, array: np.ndarray[Any, Any]) -> None:
        """Copy to the host, when all before it is done."""

    @abstractmethod
    def copy(self, destination: int, source: int, nbytes: int) -> None: ...

    @abstractmethod
    def load(self, kernel: Kernel, narrow: bool) -> Any:
        """Something that `launch` takes for the kernel, compiled for 32-bit indices or 64."""

    @abstractmethod
    def launch(
        self,
        function: Any,
        grid: Dimensions,
        block: Dimensions,
        pointers: Sequence[int],
        sizes: Sequence[int],
        status: int,
        narrow: bool,
    ) -> None: ...


class _Instance:
    """A program under one binding of its dimensions: memory, and what each launch needs."""

    def __init__(self, executable: CudaExecutable, binding: dict[str, int]) -> None:
        self.executable, self.binding = executable, binding
        program, device = executable.program, executable.device
        check_sizes(program, binding)
        memory = plan(program, binding)
        self.owned = [device.allocate(memory.total)]
        self.bases = {name: self.owned[0] + at for name, at in memory.offsets.items()}
        self.bases |= executable.constants
        for buffer in program.buffers:
            if buffer.kind in ("input", "parameter", "output"):
                self.bases[buffer.name] = device.allocate(nbytes(buffer, binding))
                self.owned.append(self.bases[buffer.name])
        self.windows: dict[str, int] = {}  # by how many entries each window has moved
        self.launches: dict[int, tuple[Any, ...]] = {}

    def shape(self, buffer: Buffer) -> tuple[int, ...]:
        return tuple(evaluate(dim, self.binding) for dim in buffer.type.shape)

    def address(self, name: str) -> int:
        buffer = self.executable.buffers[name]
        if not buffer.of:
            return self.bases[name]
        start = window_start(buffer, self.executable.buffers[buffer.of], self.binding)
        moved = self.windows.get(name, 0) * nbytes(buffer, self.binding)
        return self.address(buffer.of) + start + moved

    def empty(self, name: str) -> np.ndarray[Any, Any]:
        buffer = self.executable.buffers[name]
        return np.empty(self.shape(buffer), buffer.type.dtype.numpy)

    def number(self, name: str) -> int:
        """The one number in a buffer."""
        array = self.empty(name)
        self.executable.device.read(self.address(name), array)
        return int(array)

    def run(self, steps: Sequence[Step]) -> bool:
        """Run `steps`; False where the program is to be left."""
        return all(self.step(step) for step in steps)

    def step(self, step: Step) -> bool:
        device = self.executable.device
        match step:
            case Launch():
                self.launch(step)
            case Copy(destination, source):
                size = nbytes(self.executable.buffers[destination], self.binding)
                device.copy(self.address(destination), self.address(source), size)
            case Host():
                self.host(step)
            case Check():
                return self.executable.failure()[0] == 0
            case Branch(index, bodies):
                chosen = min(max(self.number(index), 0), len(bodies) - 1)
                return self.run(bodies[chosen])
            case Loop():
                return self.loop(step)
            case Break():
                raise ValueError("a Break stands at the top level of a loop's body")
        return True

    def loop(self, loop: Loop) -> bool:
        """Run a loop; False where the program is to be left."""
        count = None if loop.count is None else evaluate(loop.count, self.binding)
        total = count
        if loop.limit:
            limit = self.number(loop.limit)
            total = limit if count is None else min(limit, count)
        left = (count or 0) - (total or 0)
        taken, way = 0, "on"
        while way == "on" and (total is None or taken < total):
            for name in loop.windows:
                reverse = self.executable.buffers[name].reverse
                self.windows[name] = -(left + taken) if reverse else taken
            way = self.trip(loop.body)
            taken += way == "on"
        for name in loop.windows:
            self.windows.pop(name, None)
        if loop.steps:
            self.executable.device.write(self.address(loop.steps), np.array(taken, np.int64))
        return way != "leave"

    def trip(self, body: Sequence[Step]) -> Literal["on", "break", "leave"]:
        """Run the body of a loop once; what to do then: go on, leave the loop or the program."""
        for step in body:
            if isinstance(step, Break):
                if self.executable.failure()[0]:
                    return "leave"
                if not self.number(step.flag):
                    return "break"
            elif not self.step(step):
                return "leave"
        return "on"

    def launch(self, step: Launch) -> None:
        executable = self.executable
        found = self.launches.get(id(step))
        if found is None:
            kernel = executable.kernels[step.kernel]
            sizes = [evaluate(size, self.binding) for size in step.sizes]
            parameters = dict(zip(kernel.parameters, sizes, strict=True))
            narrow = is_narrow(kernel, parameters)
            grid, block = launch_configuration(kernel, parameters)
            found = executable.function(kernel, narrow), grid, block, sizes, narrow
            self.launches[id(step)] = found
        function, grid, block, sizes, narrow = found
        pointers = [self.address(name) for name in step.arguments]
        executable.device.launch(function, grid, block, pointers, sizes, executable.status, narrow)

    def host(self, step: Host) -> None:
        """Compute a host step by its op's reference, on the host."""
        device = self.executable.device
        operands = [self.empty(name) for name in step.operands]
        for name, array in zip(step.operands, operands, strict=True):
            device.read(self.address(name), array)
        attrs = {key: evaluate_attribute(value, self.binding) for key, value in step.attrs}
        try:
            with np.errstate(all="ignore"):
                values = TABLE[step.op].reference(*operands, **attrs)
        except GradloomError as error:
            raise self.executable.program.checks[step.check - 1].of_host(error) from None
        values = values if isinstance(values, (tuple, list)) else [values]
        for name, value in zip(step.results, values, strict=True):
            result = self.empty(name)
            result[...] = value
            device.write(self.address(name), result)
            if self.executable.program.guarded and not is_finite(result):
                if self.executable.failure()[0] == 0:
                    device.write(self.executable.status, np.array([1, 0]))


class CudaExecutable:
    """A program ready to be called, one call at a time.

    device: the process's GPU where None.
    """

    def __init__(self, program: Program, device: Device | None = None) -> None:
        if device is None:
            from .cuda import device as first_device

            device = first_device()
        self.program, self.device = program, device
        self.buffers = {buffer.name: buffer for buffer in program.buffers}
        self.kernels = {kernel.name: kernel for kernel in program.kernels}
        self.inputs = program.of_kind("input")
        self.parameters = program.of_kind("parameter")
        self.written = _written(program)
        self.lock = threading.Lock()
        self.instances: dict[Any, _Instance] = {}
        self._functions: dict[tuple[str, bool], Any] = {}
        device.enter()
        self.status = device.allocate(16)
        self.constants: dict[str, int] = {}
        for buffer in program.of_kind("constant"):
            assert buffer.value is not None
            values = np.ascontiguousarray(buffer.value.values)
            self.constants[buffer.name] = device.allocate(values.nbytes)
            device.write(self.constants[buffer.name], values)

    def function(self, kernel: Kernel, narrow: bool) -> Any:
        key = (kernel.name, narrow)
        if key not in self._functions:
            self._functions[key] = self.device.load(kernel, narrow)
        return self._functions[key]

    def failure(self) -> tuple[int, int]:
        """The number of a check that failed, 0 where none did, and the value it failed on."""
        words = np.zeros(2, np.int64)
        self.device.read(self.status, words)
        return int(words[0]), int(words[1])

    def _instance(self, shapes: Sequence[tuple[int, ...]]) -> _Instance:
        key = tuple(shapes)
        if key not in self.instances:
            buffers = (*self.inputs, *self.parameters)
            names = [buffer.name for buffer in buffers]
            types = [buffer.type for buffer in buffers]
            binding = bind_dims(types, shapes, names, self.program.constraints)
            self.instances[key] = _Instance(self, binding)
        return self.instances[key]

    def __call__(
        self,
        arrays: Sequence[np.ndarray[Any, Any]],
        parameters: Sequence[Parameter] = (),
    ) -> list[np.ndarray[Any, Any]]:
        """Run on C-contiguous arrays of the right dtypes; the results are new arrays.

        Raises what a check or host step raised; then no parameter has changed.
        """
        device = self.device
        with self.lock, ExitStack() as stack:
            hold(parameters, stack)
            device.enter()
            values = [*arrays, *(parameter.buffer for parameter in parameters)]
            instance = self._instance([value.shape for value in values])
            instance.windows.clear()
            device.write(self.status, np.zeros(2, np.int64))
            for buffer, value in zip((*self.inputs, *self.parameters), values, strict=True):
                device.write(instance.bases[buffer.name], np.ascontiguousarray(value))
            instance.run(self.program.steps)
            if self.program.checks:
                number, value = self.failure()
                if number:
                    raise self.program.checks[number - 1].raised(value)
            results = [instance.empty(name) for name in self.program.outputs]
            for name, result in zip(self.program.outputs, results, strict=True):
                device.read(instance.address(name), result)
            for buffer, parameter in zip(self.parameters, parameters, strict=True):
                if buffer.name in self.written:
                    device.read(instance.bases[buffer.name], parameter.buffer)
            return results


def _written(program: Program) -> set[str]:
    """The buffers that the program writes."""
    steps = walk(program.steps)
    return {name for step in steps for name in reads_and_writes(step, program)[1]}
