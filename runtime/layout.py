# pyright: basic
"""Where a program's steps find what they name: slots of its address table, and its numbers.

Neither depends on the sizes; the numbers are formulas until a binding gives them values.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ..ir.barriers import Run
from ..ir.plan import nbytes
from ..ir.program import Branch, Break, Check, Copy, Host, Launch, Loop, Program, Step, chain, walk
from ..ir.turns import may_take_turns
from . import driver

ENDLESS = (1 << 63) - 1  # steps


class Layout:
    """Slots of the table and of the numbers, and the native steps that name them."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.buffers = {buffer.name: buffer for buffer in program.buffers}
        self.kernels = {kernel.name: kernel for kernel in program.kernels}
        self.functions = {kernel.name: n for n, kernel in enumerate(program.kernels)}
        self.callback = len(self.functions)
        self.size = self.callback + 1
        self.slots: dict[str, list[int]] = {name: [] for name in self.buffers}
        self.numbers: list[Any] = []  # a dimension, or a function of the binding
        self.hosts: list[tuple[Host, list[int], list[int]]] = []
        self.windows: dict[str, list[str]] = {}  # buffer: it and all that are windows of it
        for name in self.buffers:
            for base in self.bases(name):
                self.windows.setdefault(base, []).append(name)
        self.runs: list[Run] = []
        self.loops: list[Loop] = []  # those whose bodies are being laid out
        self.steps = self.sequence(program.steps)
        self.looks = any(isinstance(step, Loop) for step in walk(program.steps))

    def slot(self, name: str) -> int:
        self.slots[name].append(self.size)
        self.size += 1
        return self.size - 1

    def number(self, value: Any) -> int:
        self.numbers.append(value)
        return len(self.numbers) - 1

    def sequence(self, steps: Sequence[Step]) -> tuple[driver.Step, ...]:
        """Steps in order.  Each launch and copy has a number that says whether it must wait."""
        made: list[driver.Step] = []
        together: list[tuple[Launch | Copy, int]] = []

        def close() -> None:
            if len(together) > 1:
                steps, slots = zip(*together, strict=True)
                turns = {} if self.loops else self.turns(made, steps)
                self.runs.append(Run(steps, slots, tuple(self.loops), turns))
            together.clear()

        for step in steps:
            if isinstance(step, (Launch, Copy)):
                together.append((step, self.number(1)))
                made.append(self.step(step, together[-1][1]))
            else:
                close()
                made.append(self.step(step))
        close()
        return tuple(made)

    def turns(self, made: list[driver.Step], steps: Sequence[Launch | Copy]) -> dict[int, int]:
        """Join pairs of the last steps that may take turns; by step, the slot of their parts."""
        begin, found = len(made) - len(steps), dict[int, int]()
        for n, pair in reversed(list(enumerate(pairwise(steps)))):
            if n + 1 not in found and may_take_turns(self.kernels, *pair):
                found[n] = self.number(0)
                here = slice(begin + n, begin + n + 2)
                joined = tuple(step for step in made[here] if isinstance(step, driver.Launch))
                made[here] = [driver.Turns(joined, found[n])]
        return found

    def step(self, step: Step, wait: int | None = None) -> driver.Step:
        match step:
            case Launch(kernel, arguments, sizes):
                first = self.size
                for argument in arguments:
                    self.slot(argument)
                dims = len(self.numbers)
                self.numbers += sizes
                return driver.Launch(self.functions[kernel], first, dims, wait)
            case Copy(destination, source):
                buffer = self.buffers[destination]
                size = self.number(lambda binding: nbytes(buffer, binding))
                return driver.Copy(self.slot(destination), self.slot(source), size, wait)
            case Host(operands=operands, results=results):
                reads = [self.slot(name) for name in operands]
                writes = [self.slot(name) for name in results]
                self.hosts.append((step, reads, writes))
                return driver.Host(self.callback, len(self.hosts) - 1)
            case Check():
                return driver.Check()
            case Break(flag):
                return driver.Break(self.slot(flag))
            case Branch(index, bodies):
                ways = tuple(map(self.sequence, bodies))
                return driver.Branch(self.slot(index), ways)
            case Loop():
                return self.loop(step)

    def loop(self, step: Loop) -> driver.Loop:
        self.loops.append(step)
        body = self.sequence(step.body)
        self.loops.pop()
        forward: list[tuple[int, int]] = []
        backward: list[tuple[int, int]] = []
        for window in step.windows:
            buffer = self.buffers[window]
            sign = -1 if buffer.reverse else 1
            stride = self.number(lambda b, x=buffer, s=sign: s * nbytes(x, b))
            moves = backward if buffer.reverse else forward
            for name in self.windows[window]:
                moves += [(slot, stride) for slot in self.slots[name]]
        return driver.Loop(
            self.number(ENDLESS if step.count is None else step.count),
            (*forward, *backward),
            body,
            limit=self.slot(step.limit) if step.limit else None,
            skips=tuple(backward) if step.limit else (),
            steps=self.slot(step.steps) if step.steps else None,
            look=self.callback,
        )

    def bases(self, name: str) -> list[str]:
        """The buffer and the chain of those it is a window of."""
        return [buffer.name for buffer in chain(name, self.buffers)]
