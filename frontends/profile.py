"""Function.profile: where the time of a call goes, by step, by op and by the user's line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..ir.dims import evaluate
from ..ir.errors import ArgumentError
from ..ir.kernel_cost import KernelCost, kernel_cost
from ..ir.loc import Loc
from ..ir.parameter import Parameter
from ..ir.plan import nbytes
from ..ir.program import Copy, Host, Launch, Program, walk
from ..ir.tensor import Node, Tensor
from .table import aligned, count, lines_of

_SHOWN = 20  # rows of a printed table
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_STEP_HEAD = "time|best|share|runs|bytes|flops|GB/s|GFLOP/s|of peak|step|lines".split("|")
_NODE_HEAD = "time|share|nodes|op|lines".split("|")


@dataclass(frozen=True, slots=True)
class StepTime:
    """One step of the program that ran: a kernel, a copy of bytes, or a call of NumPy (host).

    count: how often it ran in one call, more than once in a loop.  seconds: of all these runs, the
    median over the repeats, of which `best` was the shortest: far below where other processes
    wanted the cores.  share: of the time of all steps.  flops, bytes: that all these runs have to
    do and to move.  least: the seconds that this takes at the machine's peaks.
    """

    kind: str
    name: str
    count: int
    seconds: float
    best: float
    share: float
    flops: int
    bytes: int
    least: float
    loc: Loc

    @property
    def of_peak(self) -> float:
        """The share of the roofline that is reached: 1 is all there is.

        More only where what it reads lies in a cache, which is faster than memory.
        """
        return self.least / self.seconds if self.seconds else 0.0

    def rate(self, amount: int) -> float:
        """So many operations or bytes as 10⁹ a second."""
        return amount / self.seconds / 1e9 if self.seconds else 0.0

    def cells(self) -> list[str]:
        name = f"{self.name} (host)" if self.kind == "host" else self.name
        times = [_time(self.seconds), _time(self.best), f"{self.share:.1%}", count(self.count)]
        work = [count(self.bytes), count(self.flops)]
        rates = [f"{self.rate(self.bytes):.3g}", f"{self.rate(self.flops):.3g}"]
        return [*times, *work, *rates, f"{self.of_peak:.0%}", name, lines_of(self.loc)]


@dataclass(frozen=True, slots=True)
class NodeTime:
    """What the nodes of one op at the same lines took; `nodes`: how many there are.

    What is fused has no time of its own: a kernel's time is shared among its nodes, by the sum of
    a node's operations and of the bytes that it reads and writes outside of the kernel.
    """

    op: str
    loc: Loc
    nodes: int
    seconds: float
    share: float

    def cells(self) -> list[str]:
        times = [_time(self.seconds), f"{self.share:.1%}", count(self.nodes)]
        return [*times, self.op, lines_of(self.loc)]


@dataclass(frozen=True)
class Profile:
    """Where the time of one call goes; printable.

    rows: the steps that ran, nodes: what they computed, both with the longest first.  seconds: of
    all steps; call: of a whole call, measured apart, without clocks in it.  float32, float64:
    operations a second, and bandwidth: bytes a second, at most, as measured on these `threads`.
    """

    name: str
    rows: tuple[StepTime, ...]
    nodes: tuple[NodeTime, ...]
    seconds: float
    call: float
    repeats: int
    threads: int
    float32: float
    float64: float
    bandwidth: float

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        runs = sum(row.count for row in self.rows)
        lines = [
            f"@{self.name}: a call takes {_time(self.call)} on {threads}; alone between clocks its "
            f"{runs} steps take {_time(self.seconds)} (medians of {self.repeats})",
            f"peaks, as measured: {self.float32 / 1e9:.3g} GFLOP/s, {self.float64 / 1e9:.3g} of 64 "
            f"bits, {self.bandwidth / 1e9:.3g} GB/s",
        ]
        if self.rows:
            lines += ["", *_table(_STEP_HEAD, self.rows, (9, 10))]
            lines += ["", *_table(_NODE_HEAD, self.nodes, (3, 4))]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<profile of @{self.name}: {len(self.rows)} steps, {_time(self.seconds)}>"


def _time(seconds: float) -> str:
    for unit, name in _UNITS:
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e9:.0f} ns"


def _table(head: Sequence[str], rows: Sequence[Any], left: Sequence[int]) -> list[str]:
    lines = aligned([[*head], *(row.cells() for row in rows[:_SHOWN])], left)
    rest = rows[_SHOWN:]
    if rest:
        lines.append(f"and {len(rest)} more, {sum(row.share for row in rest):.1%} of the time")
    return lines


def profiled(
    program: Program,
    origins: Mapping[str, Tensor],
    threads: int | None,
    arrays: Sequence[np.ndarray[Any, Any]],
    parameters: Sequence[Parameter],
    repeat: int | None,
) -> Profile:
    """The profile of calls of `program`; origins: what each of its buffers was made for.

    Raises what a call would raise; ArgumentError for `repeat` below 1, or another target.
    """
    if repeat is not None and (not isinstance(repeat, int) or repeat < 1):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"profile: repeat must be a number >= 1, got {repeat!r}")
    if program.target.kind != "cpu":
        raise ArgumentError(f"profile: @{program.name} is for {program.target.kind}, not for cpu")
    from ..runtime.peaks import peaks
    from ..runtime.timing import measure

    timing = measure(program, threads, arrays, parameters, repeat)
    most, total = peaks(timing.threads), sum(timing.seconds)
    works = _works(program, origins, timing.binding)
    rows: list[StepTime] = []
    nodes = _Nodes(timing.binding)
    times = zip(works, timing.counts, timing.seconds, timing.best, strict=True)
    for work, runs, seconds, best in times:
        if runs == 0:
            continue  # of a branch that was not taken, or of a loop of no steps
        spent = work.cost
        least = most.seconds(spent.flops, spent.wide, spent.bytes)
        loc = work.origin.loc if work.origin is not None else ()
        figures = (_share(seconds, total), runs * spent.flops, runs * spent.bytes, runs * least)
        rows.append(StepTime(work.kind, work.name, runs, seconds, best, *figures, loc))
        nodes.add(work, seconds)
    rows.sort(key=lambda row: -row.seconds)
    peak = most.float32, most.float64, most.bandwidth
    calls = total, timing.call, timing.repeats, timing.threads
    return Profile(program.name, tuple(rows), nodes.times(total), *calls, *peak)


def _share(seconds: float, total: float) -> float:
    return seconds / total if total else 0.0


class _Work(NamedTuple):
    """What one run of a step does."""

    kind: str
    name: str
    cost: KernelCost
    origin: Node | None


def _works(
    program: Program, origins: Mapping[str, Tensor], binding: Mapping[str, int]
) -> list[_Work]:
    """Of each launch, copy and host step, in the order of `walk`."""
    kernels = {kernel.name: kernel for kernel in program.kernels}
    sizes = {buffer.name: nbytes(buffer, binding) for buffer in program.buffers}
    made: list[_Work] = []
    for step in walk(program.steps):
        match step:
            case Launch(name, arguments, numbers, origin):
                kernel = kernels[name]
                values = (evaluate(number, binding) for number in numbers)
                given = dict(zip(kernel.parameters, values, strict=True))
                buffers = [(argument, sizes[argument]) for argument in arguments]
                work = kernel_cost(kernel, given, buffers)
                made.append(_Work("kernel", name, work, origin))
            case Copy(destination, source):
                work = KernelCost(0, 0, sizes[source], sizes[source])
                tensor = origins.get(source, origins.get(destination))
                origin = None if tensor is None else tensor.node
                made.append(_Work("copy", "copy of bytes", work, origin))
            case Host(op=name, operands=operands, results=results, origin=origin):
                flops = 0 if origin is None else _flops(origin, binding)
                read, written = (sum(sizes[x] for x in names) for names in (operands, results))
                made.append(_Work("host", name, KernelCost(flops, 0, read, written), origin))
            case _:
                pass
    return made


def _flops(node: Node, binding: Mapping[str, int]) -> int:
    from ..compiler.cost import cost  # late: the compiler, which a program from disk does not need

    return evaluate(cost(node).flops, binding)


class _Nodes:
    """Shares the times of steps among the nodes that they compute."""

    def __init__(self, binding: Mapping[str, int]) -> None:
        self.binding = binding
        self.nodes: dict[tuple[str, Loc], set[Node]] = {}
        self.seconds: dict[tuple[str, Loc], float] = {}

    def add(self, work: _Work, seconds: float) -> None:
        weights = self.weights(work.origin)
        total = sum(weights.values())
        for node, weight in weights.items():
            part = weight / total if total else 1 / len(weights)
            self.note(node.op.name, node.loc, node, part * seconds)
        if not weights:
            self.note(work.name, (), None, seconds)

    def note(self, op: str, loc: Loc, node: Node | None, seconds: float) -> None:
        key = op, loc
        self.nodes.setdefault(key, set()).update([] if node is None else [node])
        self.seconds[key] = self.seconds.get(key, 0.0) + seconds

    def weights(self, origin: Node | None) -> dict[Node, int]:
        """What share of the step each node has: its operations and bytes outside of the kernel."""
        if origin is None or origin.op.name != "fused":
            return {} if origin is None else {origin: 1}
        region = origin.regions[0]
        outside = {*region.inputs, *region.outputs}
        found: dict[Node, int] = {}
        for node in region.nodes:
            if node.op.kind == "leaf":
                continue
            moved = [x for x in (*node.operands, *node.results) if x in outside]
            size = sum(evaluate(x.size, self.binding) * x.dtype.bytes for x in moved)
            found[node] = _flops(node, self.binding) + size
        return found

    def times(self, total: float) -> tuple[NodeTime, ...]:
        rows = [
            NodeTime(op, loc, max(len(self.nodes[op, loc]), 1), seconds, _share(seconds, total))
            for (op, loc), seconds in self.seconds.items()
        ]
        return tuple(sorted(rows, key=lambda row: -row.seconds))
