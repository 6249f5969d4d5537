"""Random programs of loops, branches and breaks, and what they mean, step by step in NumPy.

Each program turns a row of integers `v` over and over, by an amount that depends on the way taken;
so any step too many, too few or in another order shows in the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np

from gradloom.compiler.emit_cpu import emit_cpu
from gradloom.compiler.emit_cuda import emit_cuda
from gradloom.frontends.function import cpu_target
from gradloom.ir.dims import evaluate, parse_dim
from gradloom.ir.dtypes import bool_, int64
from gradloom.ir.kernel_text import parse_kernel
from gradloom.ir.program import Branch, Break, Buffer, BufferKind, Copy, Launch, Loop, Program, Step
from gradloom.ir.target import Target
from gradloom.ir.tensor import TensorType

NumpyArray = np.ndarray[Any, Any]
WIDTH = 20
T = parse_dim("T")
NUMBERS = 4  # inputs that are one number each
KERNELS = [
    parse_kernel(text)
    for text in (
        f"""kernel mix(a0: i64, a1: i64, a2: out i64) over i: parallel {WIDTH} {{
  v0 = load a0[i] : i64
  v1 = constant 3 : i64
  v2 = multiply v0, v1 : i64
  v3 = load a1[i] : i64
  v4 = add v2, v3 : i64
  store a2[i] = v4
}}""",
        f"""kernel shift(a0: i64, a1: i64, a2: out i64) over i: parallel {WIDTH} {{
  v0 = load a0[i] : i64
  v1 = constant 5 : i64
  v2 = multiply v0, v1 : i64
  v3 = load a1[0] : i64
  v4 = add v2, v3 : i64
  store a2[i] = v4
}}""",
        """kernel tick(a0: i64, a1: i64, a2: out i64, a3: out bool) over i: parallel 1 {
  v0 = load a0[0] : i64
  v1 = constant 1 : i64
  v2 = add v0, v1 : i64
  v3 = load a1[0] : i64
  v4 = less v0, v3 : bool
  store a2[0] = v2
  store a3[0] = v4
}""",
    )
]


class _Draw:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.buffers: list[Buffer] = []
        self.count = 0
        scalar, row = TensorType(int64, ()), TensorType(int64, (WIDTH,))
        self.scalar, self.row = scalar, row
        self.inputs = [self.buffer("input", TensorType(int64, (T, WIDTH))) for _ in range(2)]
        self.numbers = [self.buffer("input", scalar) for _ in range(NUMBERS)]
        self.zero = self.buffer("input", scalar)
        self.start = self.buffer("input", row)
        self.held = self.buffer("temporary", TensorType(int64, (T, WIDTH)))
        self.v, self.u = self.buffer("temporary", row), self.buffer("temporary", row)
        self.outputs = [
            self.buffer("output", row),
            self.buffer("output", TensorType(int64, (T, WIDTH))),
        ]

    def buffer(
        self, kind: BufferKind, type_: TensorType, of: str = "", reverse: bool = False
    ) -> str:
        self.count += 1
        name = f"{kind[0]}{self.count}"
        self.buffers.append(Buffer(name, kind, type_, None, of, reverse))
        return name

    def program(self, target: Target) -> Program:
        steps = [
            Copy(self.v, self.start),
            Copy(self.outputs[1], self.inputs[0]),
            Copy(self.held, self.inputs[1]),
            *(step for _ in range(3) for step in self.steps(3, self.numbers, [])),
            Copy(self.outputs[0], self.v),
        ]
        lanes = cpu_target().lanes
        kernels = [
            k.with_source(emit_cpu(k, lanes) if target.kind == "cpu" else emit_cuda(k))
            for k in KERNELS
        ]
        return Program(
            "drawn", target, tuple(self.buffers), tuple(kernels), tuple(steps), tuple(self.outputs)
        )

    def turned(self, by: str, kernel: str = "mix") -> list[Step]:
        return [Launch(kernel, (self.v, by, self.u), ()), Copy(self.v, self.u)]

    def steps(self, depth: int, scalars: list[str], rows: list[str]) -> list[Step]:
        """scalars: numbers of up to 5; rows: windows, the last of each pair may be written."""
        found: list[Step] = []
        for _ in range(self.random.randint(0 if depth < 3 else 1, 3)):
            kind = self.random.choice("row row number write branch loop loop".split())
            if kind == "row":
                found += self.turned(self.random.choice([self.start, *rows]))
            elif kind == "number":
                found += self.turned(self.random.choice(scalars), "shift")
            elif kind == "write" and rows:
                found.append(Copy(rows[-1], self.v))
            elif kind == "branch" and depth:
                ways = [
                    tuple(self.steps(depth - 1, scalars, rows))
                    for _ in range(self.random.randint(1, 3))
                ]
                found.append(Branch(self.random.choice(scalars), tuple(ways)))
            elif kind == "loop" and depth:
                found += self.loop(depth - 1, scalars, rows)
        return found

    def loop(self, depth: int, scalars: list[str], rows: list[str]) -> list[Step]:
        count, flag = self.buffer("temporary", self.scalar), self.buffer("temporary", FLAG)
        following, taken = (self.buffer("temporary", self.scalar) for _ in range(2))
        endless = self.random.random() < 0.4
        windows = [
            self.buffer("window", self.row, of, self.random.random() < 0.5)
            for of in (self.inputs[0], self.held, self.outputs[1])
            if not endless
        ]
        limit = self.random.choice(scalars) if self.random.random() < 0.5 else ""
        tick = [
            Launch("tick", (count, self.random.choice(scalars), following, flag), ()),
            Copy(count, following),
        ]
        ask = [Break(flag)] if endless or self.random.random() < 0.5 else []
        inner = self.steps(depth, [*scalars, count], [*rows, *windows])
        if windows:
            inner += [*self.turned(self.random.choice(windows)), Copy(windows[-1], self.v)]
        at = self.random.randint(0, len(inner))
        # The number of a trip that is not whole is written over: it may not be seen to change.
        body = (*tick, *inner[:at], *ask, *inner[at:])
        loop = Loop(None if endless else T, tuple(windows), body, limit, taken)
        return [Copy(count, self.zero), loop, *self.turned(taken, "shift")]


FLAG = TensorType(bool_, ())


def draw(seed: int, target: Target) -> Program:
    return _Draw(seed).program(target)


def feeds(seed: int, size: int) -> list[NumpyArray]:
    """The inputs of any drawn program."""
    rng = np.random.default_rng(seed)
    sequences = [rng.integers(-9, 9, (size, WIDTH)) for _ in range(2)]
    scalars = [np.array(rng.integers(-2, 5), np.int64) for _ in range(NUMBERS)]
    return [*sequences, *scalars, np.array(0, np.int64), rng.integers(-9, 9, WIDTH)]


# --- what a program means -------------------------------------------------------------------------


class Reference:
    """A program run on NumPy arrays, one step after another."""

    def __init__(self, program: Program, arrays: Sequence[NumpyArray], size: int) -> None:
        self.buffers = {buffer.name: buffer for buffer in program.buffers}
        self.binding = {"T": size}
        self.memory: dict[str, NumpyArray] = {}
        for buffer in program.buffers:
            shape = tuple(evaluate(dim, self.binding) for dim in buffer.type.shape)
            self.memory[buffer.name] = np.full(shape, 77, buffer.type.dtype.numpy)
        for buffer, array in zip(program.of_kind("input"), arrays, strict=True):
            self.memory[buffer.name] = array.copy()
        self.entries: dict[str, int] = {}
        self.trips = 0
        self.run(program.steps)
        self.results = [self.memory[name] for name in program.outputs]

    def at(self, name: str) -> NumpyArray:
        buffer = self.buffers[name]
        return self.at(buffer.of)[self.entries[name]] if buffer.of else self.memory[name]

    def run(self, steps: Sequence[Step]) -> bool:
        """Run steps; whether a break ended them."""
        for step in steps:
            match step:
                case Launch("tick", (count, most, following, flag)):
                    self.at(following)[...] = self.at(count) + 1
                    self.at(flag)[...] = self.at(count) < self.at(most)
                case Launch(kernel, (row, by, result)):
                    factor = {"mix": 3, "shift": 5}[kernel]
                    self.at(result)[...] = self.at(row) * factor + self.at(by)
                case Copy(destination, source):
                    self.at(destination)[...] = self.at(source)
                case Break(flag):
                    if not self.at(flag):
                        return True
                case Branch(index, bodies):
                    self.run(bodies[int(np.clip(self.at(index), 0, len(bodies) - 1))])
                case Loop():
                    self.loop(step)
                case _:
                    raise AssertionError(step)
        return False

    def loop(self, loop: Loop) -> None:
        most = self.binding["T"] if loop.count is not None else 10**9
        if loop.limit:
            most = min(most, max(int(self.at(loop.limit)), 0))
        taken = 0
        for number in range(most):
            for window in loop.windows:
                reverse = self.buffers[window].reverse
                self.entries[window] = most - 1 - number if reverse else number
            self.trips += 1
            if self.run(loop.body):
                break
            taken += 1
        self.at(loop.steps)[...] = taken
