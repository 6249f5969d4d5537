"""Run a CUDA Program step by step, each kernel in the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradloom.ir.dims import evaluate
from gradloom.ir.interpret import bind_dims, evaluate_attribute
from gradloom.ir.op import TABLE
from gradloom.ir.ops.control import placeholder_like
from gradloom.ir.program import Check, Copy, Host, Launch, Loop, Program, Step

from .cuda_simulator import Order, run_kernel

Array = np.ndarray[Any, Any]


class CheckFailed(Exception):
    """What a kernel or host step reported."""


class ProgramSimulator:
    """Buffers as flat arrays, steps in order; windows are slices of what they walk over."""

    def __init__(self, program: Program, order: Order = "forward") -> None:
        self.program, self.order = program, order
        self.kernels = {kernel.name: kernel for kernel in program.kernels}
        self.types = {buffer.name: buffer for buffer in program.buffers}

    def run(self, values: Mapping[str, Any]) -> list[Array]:
        """The outputs, given inputs and parameters by name; parameters change in place."""
        leaves = [*self.program.of_kind("input"), *self.program.of_kind("parameter")]
        tensors = [placeholder_like(leaf.type, leaf.name) for leaf in leaves]
        shapes = [np.shape(values[leaf.name]) for leaf in leaves]
        self.binding = bind_dims(tensors, shapes, [leaf.name for leaf in leaves])
        self.memory: dict[str, Array] = {}
        self.windows: dict[str, int] = {}
        self.failed: tuple[int, int] | None = None
        for buffer in self.program.buffers:
            size = evaluate(buffer.type.size, self.binding)
            if buffer.kind in ("input", "parameter"):
                given = np.ascontiguousarray(values[buffer.name], buffer.type.dtype.numpy)
                self.memory[buffer.name] = given.reshape(-1)
            elif buffer.value is not None:
                self.memory[buffer.name] = buffer.value.values.reshape(-1).copy()
            elif buffer.kind != "window":
                self.memory[buffer.name] = np.zeros(size, buffer.type.dtype.numpy)
        if not self.steps(self.program.steps):
            raise CheckFailed(self.failed)
        return [
            self.memory[name].reshape(
                [evaluate(dim, self.binding) for dim in self.types[name].type.shape]
            )
            for name in self.program.outputs
        ]

    def array(self, name: str) -> Array:
        buffer = self.types[name]
        if buffer.kind != "window":
            return self.memory[name]
        size = evaluate(buffer.type.size, self.binding)
        step = self.windows[name]
        return self.array(buffer.of)[step * size : (step + 1) * size]

    def steps(self, steps: Sequence[Step]) -> bool:
        return all(self.step(step) for step in steps)

    def step(self, step: Step) -> bool:
        match step:
            case Launch(name, arguments, sizes):
                kernel = self.kernels[name]
                formal = [argument.name for argument in kernel.arguments]
                arrays = dict(zip(formal, map(self.array, arguments), strict=True))
                numbers = [evaluate(size, self.binding) for size in sizes]
                parameters = dict(zip(kernel.parameters, numbers, strict=True))
                status = run_kernel(kernel, kernel.source, arrays, parameters, self.order)
                if status[0] and self.failed is None:
                    self.failed = (int(status[0]), int(status[1]))
            case Copy(destination, source):
                self.array(destination)[...] = self.array(source)
            case Host(op, operands, results, attrs, _):
                arguments = [self.shaped(name) for name in operands]
                plain = {key: evaluate_attribute(v, self.binding) for key, v in attrs}
                values = TABLE[op].reference(*arguments, **plain)
                for name, value in zip(results, [values], strict=True):
                    self.array(name)[...] = np.reshape(value, -1)
            case Check():
                return self.failed is None
            case Loop(count, windows, body):
                total = evaluate(count, self.binding)
                for i in range(total):
                    for name in windows:
                        self.windows[name] = total - 1 - i if self.types[name].reverse else i
                    if not self.steps(body):
                        return False
        return True

    def shaped(self, name: str) -> Array:
        shape = [evaluate(dim, self.binding) for dim in self.types[name].type.shape]
        return self.array(name).reshape(shape)
