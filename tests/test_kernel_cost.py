# pyright: standard
"""What a kernel has to move, against the addresses that it meets when it is run by definition."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.dims import evaluate
from gradloom.ir.kernel import Contract
from gradloom.ir.kernel_cost import kernel_cost
from gradloom.ir.plan import nbytes
from gradloom.ir.program import Launch, walk

from . import kernel_interpreter
from .graphs import graph_of_seed

Met = dict[int, set[int]]  # the addresses at which each array was met, by its identity


@pytest.fixture
def met(monkeypatch: Any) -> Met:
    found: Met = defaultdict(set)
    run: Any = kernel_interpreter._Run  # pyright: ignore[reportPrivateUsage]
    checked = run.checked

    def noting(address: Any, buffer: Any) -> Any:
        found[id(buffer)].update(np.ravel(address).tolist())
        return checked(address, buffer)

    monkeypatch.setattr(run, "checked", staticmethod(noting))
    return found


def compare(function: gl.Function, binding: dict[str, int], rng: Any, met: Met) -> tuple[int, int]:
    """Check each launch: never less than what it meets.

    Gives how many launches there were, and how many were to the byte what was met.
    """
    program = function.program
    known = {kernel.name: kernel for kernel in program.kernels}
    sizes = {buffer.name: nbytes(buffer, binding) for buffer in program.buffers}
    exact = launches = 0
    for step in walk(program.steps):
        if not isinstance(step, Launch):
            continue
        kernel = known[step.kernel]
        numbers = [evaluate(size, binding) for size in step.sizes]
        parameters = dict(zip(kernel.parameters, numbers, strict=True))
        sides: Any = [axis.extent for axis in kernel.axes]
        if not all(parameters.get(side, side) for side in sides):
            continue  # the interpreter reads an operand of a product that has no elements
        memory: dict[str, Any] = {}
        for own, name in zip(kernel.arguments, step.arguments, strict=True):
            values = rng.integers(0, 2, sizes[name] // own.dtype.bytes)
            memory.setdefault(name, values.astype(own.dtype.numpy))
        arrays = {
            own.name: memory[name]
            for own, name in zip(kernel.arguments, step.arguments, strict=True)
        }
        met.clear()
        try:
            kernel_interpreter.interpret_kernel(kernel, arrays, parameters)
        except gl.GradloomError:
            continue  # a check failed on numbers that are not those of the call
        cost = kernel_cost(kernel, parameters, [(name, sizes[name]) for name in step.arguments])
        pairs = list(zip(kernel.arguments, step.arguments, strict=True))
        written = {name for own, name in pairs if own.is_output}
        moved = {name: len(met[id(array)]) * array.itemsize for name, array in memory.items()}
        launches += 1
        reads = sum(moved[name] for name in memory.keys() - written)
        assert cost.read >= reads, str(kernel)
        if not any(isinstance(item, Contract) for item in kernel.body):
            assert cost.written >= sum(moved[name] for name in written), str(kernel)
        exact += cost.read == reads
    return launches, exact


@pytest.mark.parametrize(
    "seeds", [range(20), pytest.param(range(20, 3000), marks=pytest.mark.slow)]
)
def test_drawn_programs_move_what_is_counted(seeds: range, met: Met) -> None:
    rng = np.random.default_rng(0)
    launches = exact = 0
    for seed in seeds:
        function = gl.compile(graph_of_seed(seed))
        made, same = compare(function, {"B": 3}, rng, met)
        launches, exact = launches + made, exact + same
    assert launches > 2 * len(seeds)
    assert exact > 0.9 * launches
