"""The memory plan: where each temporary lies, once the dimensions are known.

A temporary lives from the first step that touches it to the last; one that is touched inside a
loop but also outside it lives through the whole loop, and so does one that is read before it is
written.  Two that never live at the same step may share memory.  The planner is greedy by size
(largest first, lowest offset that is free), which is close to the lower bound on deep networks
(Pisarchyk and Lee 2020).

What a kernel makes may lie where something lay that it is the last to read, if it reads each
element of that before it stores one there: then these lines are in the caches already.

What is small beside the others keeps its memory to itself for some steps more on either side:
where it lay in what another step has just left, each thread had to wait until all had done so.
What is large starts with a page, for the reason that `aligned_empty` has.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from .dims import evaluate
from .errors import ShapeError
from .kernel import Contract
from .parameter import ALIGNMENT, PAGE
from .program import (
    Buffer,
    Launch,
    Loop,
    Program,
    Step,
    bodies,
    chain,
    reads_and_writes,
    walk,
)

SMALL = 128  # how many small temporaries take as much as all together, at least
MINOR = 16  # and as much as the largest
WALKED = 16 * PAGE  # bytes from which a temporary starts with a page
ASIDE = 8  # steps before and behind a small temporary in which its memory is its own


@dataclass(frozen=True, slots=True)
class Plan:
    """offsets: bytes from the start of the arena, by buffer; total: bytes of the arena.

    over: what a result takes the memory of, that its kernel reads, by the result.
    """

    offsets: Mapping[str, int]
    total: int
    over: Mapping[str, str]


def nbytes(buffer: Buffer, binding: Mapping[str, int]) -> int:
    """The bytes of a buffer under `binding`."""
    size = buffer.type.dtype.bytes
    for dim in buffer.type.shape:
        size *= evaluate(dim, binding)
    return size


def window_start(window: Buffer, base: Buffer, binding: Mapping[str, int]) -> int:
    """Bytes from the start of `base` to where a window over it lies before any step."""
    length = evaluate(base.type.shape[0], binding) if base.type.shape else 1
    start = evaluate(window.start, binding)
    if window.reverse:
        start = max(length - 1 - start, 0)
    return start * (nbytes(base, binding) // max(length, 1))


def lifetimes(program: Program) -> dict[str, tuple[int, int]]:
    """First and last step, by number in order of the text, of each buffer."""
    spans: dict[str, tuple[int, int]] = {}
    buffers = {buffer.name: buffer for buffer in program.buffers}
    clock = 0

    def base(name: str) -> str:
        return chain(name, buffers)[-1].name

    def touches(step: Step) -> tuple[list[str], list[str]]:
        reads, writes = reads_and_writes(step, program)
        moved = step.windows if isinstance(step, Loop) else ()
        return list(map(base, reads)), list(map(base, (*writes, *moved)))

    everywhere: Counter[str] = Counter()  # how often each is touched
    kept: set[str] = set()  # read first: in a loop they hold what the step before left
    for step in walk(program.steps):
        reads, writes = touches(step)
        kept.update(name for name in reads if name not in everywhere)
        everywhere.update(reads + writes)

    def touch(name: str, first: int, last: int) -> None:
        low, high = spans.get(name, (first, last))
        spans[name] = (min(low, first), max(high, last))

    def visit(steps: tuple[Step, ...]) -> Counter[str]:
        nonlocal clock
        touched: Counter[str] = Counter()
        for step in steps:
            clock += 1
            start = clock
            inner: Counter[str] = Counter()
            for body in bodies(step):
                inner += visit(body)
            if isinstance(step, Loop):
                clock += 1
                for name, times in inner.items():
                    if times < everywhere[name] or name in kept:
                        touch(name, start, clock)
                for name in map(base, step.windows):
                    touch(name, start, clock)
            reads, writes = touches(step)
            for name in reads:  # of a loop or a branch: before what is in it
                touch(name, start, start)
            for name in writes:  # of a loop: behind it
                touch(name, clock, clock)
            touched += inner
            touched.update(reads + writes)
        return touched

    visit(program.steps)
    return spans


def check_sizes(program: Program, binding: Mapping[str, int]) -> None:
    """ShapeError where a size of a buffer, or one that a kernel walks over, would be negative."""
    kernels = {kernel.name: kernel for kernel in program.kernels}
    sizes = {dim for buffer in program.buffers for dim in buffer.type.shape}
    for step in walk(program.steps):
        if isinstance(step, Launch):
            kernel = kernels[step.kernel]
            given = dict(zip(kernel.parameters, step.sizes, strict=True))
            walked = [axis.extent for axis in kernel.axes]
            walked += [item.depth for item in kernel.body if isinstance(item, Contract)]
            sizes.update(given[size] for size in walked if isinstance(size, str))
    for dim in sizes:
        if (size := evaluate(dim, binding)) < 0:
            raise ShapeError(f"the size {dim} would be {size} in this call")


def plan(program: Program, binding: Mapping[str, int]) -> Plan:
    """Offsets for all temporaries under `binding`."""
    spans = lifetimes(program)
    sizes = {
        buffer.name: nbytes(buffer, binding)
        for buffer in program.of_kind("temporary")
        if buffer.name in spans
    }
    small = min(sum(sizes.values()) // SMALL, max(sizes.values(), default=0) // MINOR)
    over = _taken_over(program, spans, {n: size for n, size in sizes.items() if size > small})
    tenants = {name: [name] for name in sizes if name not in over}  # of one place, by the first
    for result in sorted(over, key=lambda name: spans[name]):
        tenants[result] = tenants.pop(over[result])
        tenants[result].append(result)
    order = [
        (sizes[names[0]], (spans[names[0]][0], spans[names[-1]][1]), names)
        for names in tenants.values()
    ]
    order.sort(key=lambda place: (-place[0], *place[1:]))
    offsets: dict[str, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first and last step; by offset
    for size, (first, last), names in order:
        room = -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
        if size <= small:
            first, last = first - ASIDE, last + ASIDE
        offset, unit = 0, PAGE if size >= WALKED else ALIGNMENT
        alive = [(start, end) for start, end, a, b in placed if a <= last and first <= b]
        for start, end in alive:
            if start - offset >= room:
                break
            if end > offset:
                offset = -(-end // unit) * unit
        offsets.update(dict.fromkeys(names, offset))
        insort(placed, (offset, offset + room, first, last))
    return Plan(offsets, max((end for _, end, _, _ in placed), default=0), over)


def _taken_over(
    program: Program, spans: Mapping[str, tuple[int, int]], sizes: Mapping[str, int]
) -> dict[str, str]:
    """The temporaries that may lie where something lay that their kernels are the last to read; all
    of those in `sizes`.  What a window lies over that the kernel also has is not written over."""
    kernels = {kernel.name: kernel for kernel in program.kernels}
    buffers = {buffer.name: buffer for buffer in program.buffers}
    over: dict[str, str] = {}
    taken: set[str] = set()

    @cache
    def may_overwrite(kernel: str, result: str, read: tuple[str, ...]) -> bool:
        return kernels[kernel].may_overwrite(result, read)

    for step in walk(program.steps):
        if not isinstance(step, Launch):
            continue
        pairs = list(zip(step.arguments, kernels[step.kernel].arguments, strict=True))
        read = [name for name, argument in pairs if not argument.is_output]
        written = {name: argument.name for name, argument in pairs if argument.is_output}
        windows = {base.name for name in step.arguments for base in chain(name, buffers)[1:]}
        for result, own in written.items():
            for name in read:
                if (
                    sizes.get(result, 0) == sizes.get(name)
                    and spans[result][0] == spans[name][1]
                    and buffers[result].type.dtype.bytes == buffers[name].type.dtype.bytes
                    and not (name in taken or name in written or name in windows)
                    and may_overwrite(
                        step.kernel, own, tuple(a.name for n, a in pairs if n == name)
                    )
                ):
                    over[result] = name
                    taken.add(name)
                    break
    return over
