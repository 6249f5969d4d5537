"""The order of a program's steps, so that threads seldom wait for each other.

`schedule` orders a graph so that few bytes live at once.  Where a step is a microsecond's work,
what it costs is the barrier before it, and several steps can share one.  Each step has a *round*:
the number of barriers on the longest way to it, along what it reads and writes.  Steps are sorted
by rounds, and else stay as they were, so all of one round run behind one barrier.

Which steps wait is found at nominal sizes and for two threads; the program is right in any case,
since each binding of the sizes places its own barriers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..ir.barriers import Finder, Use
from ..ir.dims import symbols
from ..ir.kernel import Compute, Kernel, Store
from ..ir.parameter import ALIGNMENT
from ..ir.plan import Plan, nbytes, plan
from ..ir.program import Check, Copy, Launch, Program, Step
from .nominal import NOMINAL

THREADS = 2
MOST_BYTES = 1 << 20  # of temporaries: beyond, steps take far longer than barriers
MOST_STEPS = 256


def order_steps(program: Program) -> Program:
    """The program with its steps between loops and host calls in rounds.

    Where it is small, and takes hardly more memory so.
    """
    if len(program.steps) > MOST_STEPS:
        return program
    dims = {dim for buffer in program.buffers for dim in buffer.type.shape}
    binding = {name: NOMINAL for dim in dims for name in symbols(dim)}
    room = plan(program, binding).total
    if room > MOST_BYTES:
        return program
    rounds = _Rounds(program, binding)
    steps: list[Step] = []
    segment: list[Launch | Copy | Check] = []
    for step in program.steps:
        if isinstance(step, (Launch, Copy, Check)):
            segment.append(step)
        else:
            steps += [*rounds.sorted(segment), step]
            segment = []
    steps += rounds.sorted(segment)
    made = replace(program, steps=tuple(steps))
    return made if plan(made, binding).total <= room + room // 8 else program


class _Rounds:
    def __init__(self, program: Program, binding: Mapping[str, int]) -> None:
        offsets: dict[str, int] = {}
        end = 0
        for buffer in program.of_kind("temporary"):  # each in memory of its own
            offsets[buffer.name] = end
            end += -(-nbytes(buffer, binding) // ALIGNMENT) * ALIGNMENT
        self.finder = Finder(program, Plan(offsets, end, {}), binding, THREADS)
        self.failing = {kernel.name for kernel in program.kernels if _can_fail(kernel)}
        self.parameters = {buffer.name for buffer in program.of_kind("parameter")}

    def sorted(self, steps: Sequence[Launch | Copy | Check]) -> list[Launch | Copy | Check]:
        """Steps between two that all threads wait for, by rounds."""
        rounds: list[int] = []
        last = 0  # the round of the check before, behind which parameters are written
        asked = 0  # the latest round of what can fail
        known: dict[tuple[str, int], list[tuple[int, Use]]] = {}  # by memory: who touched it
        for step in steps:
            if isinstance(step, Check):
                last = asked = asked + 1
                rounds.append(last)
                continue
            uses = self.finder.uses(step, ())
            at = 0
            for use in uses:
                if use.writes and use.memory in self.parameters:
                    at = max(at, last)
                for before, other in known.get((use.memory, use.extent[0]), ()):
                    if use.writes or other.writes:
                        at = max(at, before + use.needs_order(other))
            if isinstance(step, Launch) and step.kernel in self.failing:
                at = max(at, last)
                asked = max(asked, at)
            for use in uses:
                known.setdefault((use.memory, use.extent[0]), []).append((at, use))
            rounds.append(at)
        checks = [isinstance(step, Check) for step in steps]
        order = sorted(range(len(steps)), key=lambda n: (rounds[n], not checks[n], n))
        return [steps[n] for n in order]


def _can_fail(kernel: Kernel) -> bool:
    return any(isinstance(item, (Compute, Store)) and item.check != 0 for item in kernel.body)
