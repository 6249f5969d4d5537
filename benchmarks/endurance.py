"""Two threads train for a million steps, a third asks the first's network; no bit may differ.

    python benchmarks/endurance.py --steps 1000000

Each of two threads trains `mlp_small` with parameters of its own.  Beside them a third calls a
function without updates, the loss, on the parameters that the first trains.  Every loss and all
last parameters must have the bits of the same training done before by one thread of one core; what
the third sees must be losses of that training, in its order: it never reads parameters of which
some are older than others.  Memory must not grow.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from machine import positive
from workloads import Array, Workload, mlp_small

FIRST_PART = 0.1  # of the steps, after which memory must be flat


@dataclass
class Training:
    """A network, its data, the losses before each step and behind the last; `threads` a call."""

    workload: Workload
    steps: int
    threads: int | None = None
    losses: Array = field(init=False)

    def __post_init__(self) -> None:
        from in_gradloom import descent, gl, network

        x, t, self.parameters, loss = network(self.workload)
        updates = descent(loss, self.parameters)
        self.step: Any = gl.function([x, t], loss, updates, threads=self.threads)
        self.infer: Any = gl.function([x, t], loss, threads=self.threads)
        self.losses = np.full(self.steps + 1, np.nan, np.float32)
        self.ask()  # compiles it

    def run(self, seen: Callable[[int], None] = lambda step: None) -> None:
        for step in range(self.steps):
            self.losses[step] = self.step(*self.workload.inputs)
            seen(step)
        self.losses[-1] = self.ask()

    def ask(self) -> Any:
        return self.infer(*self.workload.inputs)

    def same_as(self, other: Training) -> bool:
        """Bit for bit."""
        ours, theirs = (
            [training.losses, *(p.value for p in training.parameters)] for training in (self, other)
        )
        return all(a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class Outcome:
    """same: whether both trainings have the bits of those done alone.  asked: calls of the third.
    strange: how many of these gave no loss of the training, or one from before the last seen.
    growth: bytes that the process took more at the end than after the first part of the steps.
    """

    same: bool
    asked: int
    strange: int
    growth: int
    seconds: float


def resident() -> int:
    """Bytes of memory that the process has; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def workloads() -> list[Workload]:
    """The same data, other parameters."""
    first = mlp_small()
    second = [array / 2 for array in first.parameters]
    return [first, Workload(first.model, first.inputs, second)]


@dataclass
class Answers:
    """What the third thread was told, each but once in a row; in memory that was there before."""

    values: Array
    asked: int = 0
    kept: int = 0

    def add(self, answer: float) -> None:
        self.asked += 1
        last = len(self.values) - 1
        if self.kept == 0 or answer != self.values[min(self.kept - 1, last)]:
            self.values[min(self.kept, last)] = answer
            self.kept += 1

    def strange(self, losses: Array) -> int:
        """How many are no loss, or only losses of steps before one that was seen already."""
        steps = {float(loss): (step, step) for step, loss in enumerate(losses)}
        for step, loss in reversed(list(enumerate(losses))):
            steps[float(loss)] = (step, steps[float(loss)][1])
        reached, count = 0, max(0, self.kept - len(self.values))
        for answer in self.values[: self.kept]:
            first, last = steps.get(float(answer), (-1, -1))
            count += last < reached
            reached = max(reached, first)
        return count


def endure(steps: int) -> Outcome:
    """Train alone, then all at once, and compare."""
    alone = [Training(workload, steps, threads=1) for workload in workloads()]
    for training in alone:
        training.run()
    together = [Training(workload, steps) for workload in workloads()]
    answers = Answers(np.full(steps + 1, np.nan, np.float32))
    done = threading.Event()
    errors: list[BaseException] = []
    sizes: list[int] = []

    def measured(step: int) -> None:
        if step == int(FIRST_PART * steps):
            sizes.append(resident())

    def ask() -> None:
        while not done.is_set():
            answers.add(together[0].ask())

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)

        return threading.Thread(target=run)

    trainers = [guarded(lambda: together[0].run(measured)), guarded(together[1].run)]
    asker = guarded(ask)
    start = time.perf_counter()
    for thread in (*trainers, asker):
        thread.start()
    for thread in trainers:
        thread.join()
    seconds = time.perf_counter() - start
    done.set()
    asker.join()
    if errors:
        raise errors[0]
    growth = resident() - sizes[0]
    same = all(a.same_as(b) for a, b in zip(alone, together, strict=True))
    return Outcome(same, answers.asked, answers.strange(alone[0].losses), growth, seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says; 1 where a bit differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=positive, default=1_000_000)
    options = parser.parse_args(arguments)
    outcome = endure(options.steps)
    print(
        f"{options.steps:,} steps in each of two threads, {outcome.seconds:.0f} s: "
        f"{'the same bits' if outcome.same else 'OTHER BITS'}; {outcome.asked:,} questions beside, "
        f"{outcome.strange} with a strange answer; memory {outcome.growth / 2**20:+.2f} MiB"
    )
    return int(not outcome.same or outcome.strange > 0)


if __name__ == "__main__":
    raise SystemExit(main())
