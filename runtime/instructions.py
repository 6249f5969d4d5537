# pyright: basic
"""What a native program is made of: the steps of a Program with slots for names.

`table` holds addresses (of kernels, of buffers, of callbacks), `dims` numbers; a step names slots
in them. So a program holds no address.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """Call the kernel at `table[function]` with `&table[buffers]`, `&dims[dims]`.

    wait: it stands behind a barrier unless `dims[wait]` is 0; None: in any case.
    """

    function: int
    buffers: int
    dims: int
    wait: int | None = None


@dataclass(frozen=True)
class Copy:
    """Copy `dims[nbytes]` bytes from `table[source]` to `table[destination]` (not overlapping).

    wait: as of a launch.
    """

    destination: int
    source: int
    nbytes: int
    wait: int | None = None


@dataclass(frozen=True)
class Turns:
    """Run two launches in turns, in `dims[parts]` parts: each thread the first part of its own of
    the one and then of the other, then the next part.  Where that is 0, one after the other.
    """

    steps: tuple[Launch, ...]
    parts: int


@dataclass(frozen=True)
class Host:
    """Call `HostCallback` `table[callback]` with `number`, on the calling thread; if that fails,
    stop."""

    callback: int
    number: int


@dataclass(frozen=True)
class Check:
    """Leave the program if `status[0]` is set."""


@dataclass(frozen=True)
class Break:
    """Leave the innermost loop if the byte at `table[flag]` is 0, the program if something failed.

    It stands at the top level of a loop's body.
    """

    flag: int


@dataclass(frozen=True)
class Branch:
    """Run the body whose number is the int64 at `table[index]`, or the nearest there is."""

    index: int
    bodies: tuple[tuple[Step, ...], ...]


@dataclass(frozen=True)
class Loop:
    """Run `body` `dims[count]` times; after each, `table[slot] += dims[stride]` per advance.

    The slots have their first values again after the loop, however it is left. What fails in a step
    ends the program behind it.

    limit: the int64 at `table[limit]` is read once: at most that many steps.
    skips: of a loop with a limit, `table[slot] += dims[stride] * n` before the first step, where n
        is the number of steps that the limit leaves out.
    steps: the int64 at `table[steps]` becomes the number of steps that were taken to their end.
    look: about once a second the calling thread calls `HostCallback` `table[look]` with -1 behind a
        step, which ends the program if it fails: so the host can interrupt it.
    """

    count: int
    advances: tuple[tuple[int, int], ...]
    body: tuple[Step, ...]
    limit: int | None = None
    skips: tuple[tuple[int, int], ...] = ()
    steps: int | None = None
    look: int | None = None


@dataclass(frozen=True)
class Timed:
    """Run the step between two looks at the clock, each behind a barrier.

    Of the int64 pairs at `table[stamps]` number `number` then holds how often that was done, and
    the nanoseconds that it took. See `clock.py`.
    """

    step: Launch | Copy | Host
    stamps: int
    number: int


Step = Launch | Turns | Copy | Host | Check | Break | Branch | Loop | Timed
