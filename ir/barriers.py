"""Which steps of a program must wait for what other threads did before them.

A step waits where a thread touches bytes that another one wrote since the last barrier, or writes
bytes that another one touched.  What each thread touches follows from how the kernels' work is
shared out (``units.py``), from the memory plan, and from the sizes; so this is found once per
binding.  Rows that one kernel makes and the next one reads, split alike, need no barrier, nor do
updates of one parameter each.

A buffer's part is taken as all bytes from the first to the last that a thread touches.  That may
place a barrier too many, never one too few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .dims import evaluate
from .plan import Plan, nbytes, window_start
from .program import Buffer, Copy, Launch, Loop, Program, chain
from .turns import likely_turns
from .units import Range, part, touched

MOST = 64  # steps without a barrier between them: those that follow are compared with all of these
LINE = 64  # bytes: where copies are cut
ARENA = ""  # the memory of all temporaries


@dataclass(frozen=True, slots=True)
class Run:
    """Launches and copies in a row, in the bodies of these loops, from the outermost on.

    slots: the number of each step that becomes whether it must wait; the first waits in any case.
    turns: of the first of two launches that may take turns (`turns.py`): the number that becomes
        in how many parts they do, 0 where they do not.
    """

    steps: tuple[Launch | Copy, ...]
    slots: tuple[int, ...]
    loops: tuple[Loop, ...]
    turns: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Use:
    """What the threads touch of one buffer, in bytes of the memory in which that lies.

    parts: by thread; None where it touches nothing.  extent: all of the buffer at the end of a
    chain of windows.  moves: by how much a step of each loop moves the parts forwards, and back.
    """

    memory: str
    extent: Range
    writes: bool
    parts: tuple[Range | None, ...]
    moves: tuple[Range, ...]

    def joined(self, many: int) -> Use:
        """The same, where each thread has so many of these parts, one behind the other."""
        groups = [self.parts[n : n + many] for n in range(0, len(self.parts), many)]
        known = [[part for part in group if part is not None] for group in groups]
        spans = [
            (min(low for low, _ in parts), max(high for _, high in parts)) if parts else None
            for parts in known
        ]
        return replace(self, parts=tuple(spans))

    def needs_order(self, other: Use) -> bool:
        """Whether a barrier must stand between the two."""
        if self.memory != other.memory or not (self.writes or other.writes):
            return False
        if not _overlap(self.extent, other.extent):
            return False
        if self.moves != other.moves:  # in some step of a loop they may be the same bytes
            return True
        return any(
            part is not None and any(rest is not None and _overlap(part, rest) for rest in sides)
            for part, *sides in zip(
                self.parts, _before(other.parts), _before(other.parts[::-1])[::-1], strict=True
            )
        )


def _before(parts: Sequence[Range | None]) -> list[Range | None]:
    """For each part, from the first to the last byte of all the parts before it."""
    found: list[Range | None] = []
    so_far: Range | None = None
    for now in parts:
        found.append(so_far)
        if now is not None and so_far is not None:
            so_far = min(so_far[0], now[0]), max(so_far[1], now[1])
        elif now is not None:
            so_far = now
    return found


def _overlap(one: Range, two: Range) -> bool:
    return one[0] < two[1] and two[0] < one[1]


def waits(
    program: Program,
    runs: Sequence[Run],
    memory: Plan,
    binding: Mapping[str, int],
    threads: int,
) -> dict[int, int]:
    """By slot, whether the step must wait, if the program runs on that many threads, or in how many
    parts it and the next one take turns."""
    finder = Finder(program, memory, binding, threads)
    found: dict[int, int] = {}
    for run in runs:
        since: list[list[Use]] = []  # by step
        together: list[Use] | None = None  # of the second of two that take turns
        for number, (step, slot) in enumerate(zip(run.steps, run.slots, strict=True)):
            if together is not None:
                since.append(together)
                found[slot] = False
                together = None
                continue
            uses = finder.uses(step, run.loops)
            both = uses
            if number in run.turns and (pair := finder.pair(run.steps[number : number + 2])):
                found[run.turns[number]], uses, together = pair
                both = [*uses, *together]
            must = len(since) == MOST or any(
                use.needs_order(other) for use in both for earlier in since for other in earlier
            )
            if since:
                found[slot] = must
            since = [uses] if must else [*since, uses]
    return found


class Finder:
    """Finds what steps touch.  memory: where temporaries lie.  some: threads, if not all, whose
    parts of launches are looked at."""

    def __init__(
        self,
        program: Program,
        memory: Plan,
        binding: Mapping[str, int],
        threads: int,
        some: Sequence[int] | None = None,
    ) -> None:
        self.program, self.plan = program, memory
        self.binding, self.threads = binding, threads
        self.some = range(threads) if some is None else some
        self.lanes = program.target.lanes
        self.kernels = {kernel.name: kernel for kernel in program.kernels}
        self.buffers = {buffer.name: buffer for buffer in program.buffers}
        self.known: dict[tuple[str, tuple[int, ...]], list[dict[str, Range]]] = {}

    def uses(self, step: Launch | Copy, loops: Sequence[Loop]) -> list[Use]:
        if isinstance(step, Copy):
            size = nbytes(self.buffers[step.destination], self.binding)
            lines = [part(-(-size // LINE), n, self.threads) for n in range(self.threads)]
            parts = [(low * LINE, min(high * LINE, size)) for low, high in lines]
            found = [(step.source, False, parts), (step.destination, True, parts)]
        else:
            kernel = self.kernels[step.kernel]
            by_thread = self.touched(step)
            found = [
                (name, argument.is_output, [t.get(argument.name) for t in by_thread])
                for argument, name in zip(kernel.arguments, step.arguments, strict=True)
            ]
        made = [self.use(name, writes, parts, loops) for name, writes, parts in found]
        return [use for use in made if use is not None]

    def pair(self, steps: Sequence[Launch | Copy]) -> tuple[int, list[Use], list[Use]] | None:
        """In how many parts two launches take turns, and what threads touch then; None: in none."""
        first, then = steps
        assert isinstance(first, Launch) and isinstance(then, Launch)
        pair = first, then
        ways = self.kernels, self.buffers, pair, self.binding, self.lanes, self.threads
        for parts in likely_turns(*ways):
            for some in (sorted({0, 1, parts - 1}), range(parts)):  # a few mostly tell
                finder = Finder(self.program, self.plan, self.binding, parts, some)
                one, two = finder.uses(first, ()), finder.uses(then, ())
                if any(use.needs_order(other) for use in two for other in one):
                    break
            else:
                many = parts // self.threads
                return parts, [use.joined(many) for use in one], [use.joined(many) for use in two]
        return None

    def touched(self, step: Launch) -> list[dict[str, Range]]:
        """By thread, the bytes of each argument of a launch; equal launches are asked once."""
        kernel = self.kernels[step.kernel]
        sizes = tuple(evaluate(size, self.binding) for size in step.sizes)
        if (step.kernel, sizes) not in self.known:
            width = {argument.name: argument.dtype.bytes for argument in kernel.arguments}
            parameters = dict(zip(kernel.parameters, sizes, strict=True))
            self.known[step.kernel, sizes] = [
                {
                    name: (low * width[name], high * width[name])
                    for name, (low, high) in touched(
                        kernel, parameters, self.lanes, thread, self.threads
                    ).items()
                }
                for thread in self.some
            ]
        return self.known[step.kernel, sizes]

    def use(
        self, name: str, writes: bool, parts: Sequence[Range | None], loops: Sequence[Loop]
    ) -> Use | None:
        """Parts of a buffer as parts of the memory that it lies in; None where nobody writes."""
        windows = chain(name, self.buffers)
        base = windows[-1]
        if base.kind in ("input", "constant"):
            return None
        memory, first = base.name, 0
        if base.kind == "temporary":
            memory, first = ARENA, self.plan.offsets[base.name]
        start = first + sum(
            window_start(window, over, self.binding) for window, over in pairwise(windows)
        )
        moved = [None if p is None else (start + p[0], start + p[1]) for p in parts]
        extent = first, first + nbytes(base, self.binding)
        moves = tuple(self.moved(windows, loop) for loop in loops)
        return Use(memory, extent, writes, tuple(moved), moves)

    def moved(self, windows: Sequence[Buffer], loop: Loop) -> Range:
        """Bytes by which a step of the loop moves a window, itself or one it lies over."""
        steps = [w for w in windows if w.name in loop.windows]
        ahead, back = (
            sum(nbytes(window, self.binding) for window in steps if window.reverse is reverse)
            for reverse in (False, True)
        )
        return ahead, back
