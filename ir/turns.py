"""Turns: what a product makes is read by the kernel behind it while it is in a cache.

A pool cannot be the epilogue of a convolution's product, since it walks another index space; behind
a large product it would read from far away what was written long ago.  But both kernels' work comes
in units (``units.py``), which may be shared out to more parts than there are threads.  Where no
part of the one touches what other parts of the other write, a thread runs part after part, of the
product and then of its reader, and waits for nobody.  Results never depend on how units are shared
out, so no bit changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from .dims import evaluate
from .kernel import Kernel
from .plan import nbytes
from .program import Buffer, Copy, Launch
from .units import layout, touched

LARGE = 1 << 18  # bytes of a thread's part of what is handed on: more of it leaves near caches
PART = 1 << 18  # bytes of it in a turn
WIDER = 2  # a turn may be so many times shorter than that, if work cannot be cut otherwise
TRIED = 4  # numbers of parts whose parts are all looked at


def may_take_turns(
    kernels: Mapping[str, Kernel], first: Launch | Copy, then: Launch | Copy
) -> bool:
    """Whether the first is a product, and the other one, which is none, reads what it makes."""
    if isinstance(first, Copy) or isinstance(then, Copy):
        return False
    product, reader = kernels[first.kernel], kernels[then.kernel]
    if layout(product) != "panels" or layout(reader) == "panels":
        return False
    return any(True for _ in _handed(product, first, reader, then))


def likely_turns(
    kernels: Mapping[str, Kernel],
    buffers: Mapping[str, Buffer],
    pair: tuple[Launch, Launch],
    binding: Mapping[str, int],
    lanes: int,
    threads: int,
) -> Iterator[int]:
    """A few numbers of parts, the smallest first, multiples of the number of threads: the first two
    parts of the reader and the last one read no more than those of the product make."""
    product, reader = (kernels[step.kernel] for step in pair)
    handed = _handed(product, pair[0], reader, pair[1])
    size = sum(nbytes(buffers[pair[0].arguments[n]], binding) for n, _ in handed)
    if size <= LARGE * threads:
        return
    parameters = [
        dict(zip(kernel.parameters, (evaluate(s, binding) for s in step.sizes), strict=True))
        for kernel, step in zip((product, reader), pair, strict=True)
    ]

    def fits(parts: int, number: int) -> bool:
        made = touched(product, parameters[0], lanes, number, parts)
        read = touched(reader, parameters[1], lanes, number, parts)
        for n, m in handed:
            written = made.get(product.arguments[n].name, (0, 0))
            wanted = read.get(reader.arguments[m].name, written)
            if wanted[0] < written[0] or wanted[1] > written[1]:
                return False
        return True

    least = max(-(-size // (PART * threads)), 2)
    numbers = range(least * threads, (WIDER * least + 1) * threads, threads)
    found = (parts for parts in numbers if all(fits(parts, n) for n in (0, 1, parts - 1)))
    yield from islice(found, TRIED)


def _handed(
    product: Kernel, first: Launch, reader: Kernel, then: Launch
) -> Sequence[tuple[int, int]]:
    """The arguments of the one that are arguments of the other: its results, read there."""
    return [
        (n, m)
        for n, made in enumerate(first.arguments)
        for m, read in enumerate(then.arguments)
        if made == read and product.arguments[n].is_output and not reader.arguments[m].is_output
    ]
