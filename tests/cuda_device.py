# pyright: standard
"""A CUDA device that is none: the real runtime on it, its kernels in the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.compiler.pipeline import compile_graph
from gradloom.frontends.function import Function
from gradloom.ir.graph import Graph
from gradloom.ir.kernel import Kernel
from gradloom.ir.launch import Dimensions
from gradloom.ir.target import Target
from gradloom.runtime.cuda_executable import CudaExecutable, Device

from .cuda_simulator import Order, run_kernel


class SimulatedDevice(Device):
    """Device memory as host arrays at made-up addresses; kernels run when they are launched."""

    def __init__(self, order: Order = "forward") -> None:
        self.order: Order = order
        self.memory: dict[int, np.ndarray] = {}
        self.next = 1 << 20
        self.loaded: list[tuple[str, bool]] = []

    def enter(self) -> None:
        pass

    def allocate(self, nbytes: int) -> int:
        address = self.next
        self.memory[address] = np.full(max(nbytes, 8), 0xFF, np.uint8)
        self.next += (nbytes // 4096 + 2) * 4096
        return address

    def release(self, address: int) -> None:
        del self.memory[address]

    def at(self, address: int) -> np.ndarray:
        base = max(start for start in self.memory if start <= address)
        return self.memory[base][address - base :]

    def write(self, address: int, array: np.ndarray) -> None:
        self.at(address)[: array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)

    def read(self, address: int, array: np.ndarray) -> None:
        found = self.at(address)[: array.nbytes]
        array[...] = found.view(array.dtype).reshape(array.shape)

    def copy(self, destination: int, source: int, nbytes: int) -> None:
        self.at(destination)[:nbytes] = self.at(source)[:nbytes].copy()

    def load(self, kernel: Kernel, narrow: bool) -> Any:
        self.loaded.append((kernel.name, narrow))
        return kernel

    def launch(
        self,
        function: Any,
        grid: Dimensions,
        block: Dimensions,
        pointers: Sequence[int],
        sizes: Sequence[int],
        status: int,
        narrow: bool,
    ) -> None:
        kernel: Kernel = function
        arrays: dict[str, np.ndarray] = {}
        for argument, pointer in zip(kernel.arguments, pointers, strict=True):
            memory = self.at(pointer)
            size = argument.dtype.bytes
            arrays[argument.name] = memory[: len(memory) // size * size].view(argument.dtype.numpy)
        parameters = dict(zip(kernel.parameters, sizes, strict=True))
        words = run_kernel(kernel, kernel.source, arrays, parameters, self.order, grid=grid[0])
        own = self.at(status)[:16].view(np.int64)
        if own[0] == 0:
            own[:] = words


def simulated(function: Function, order: Order = "forward") -> CudaExecutable:
    """The function's program for CUDA, on a simulated device."""
    return simulated_graph(function.graph, order, function.program.guarded)


def simulated_graph(
    graph: Graph, order: Order = "forward", guarded: bool = False
) -> CudaExecutable:
    """The graph's program for CUDA, on a simulated device."""
    program = compile_graph(graph, Target("cuda"), guarded=guarded).program
    assert program is not None
    return CudaExecutable(program, SimulatedDevice(order))
