"""How the threads of a CPU share out a kernel: what its text and its barriers must agree on.

A kernel's work comes in units, of which each thread runs one contiguous part.  What a unit is
depends on the layout:

``panels``  a contraction: TILE rows of a strip of columns of one entry of the batch;
``pieces``  a sum that is split: one piece of the first axis;
``rows``    the last axis is reduced: an index of the parallel axes;
``squares`` a transposed copy: an index of the axes that stay, and some of the last axis;
``blocks``  else: an index of the outer parallel axes, and a block of the last axis; where that is
            short, a unit has all of some axes before it, too, which are then plain loops.

The parts of threads depend on their number, the results do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Literal

from .dtypes import DType
from .kernel import Access, Axis, Contract, Kernel, Load, Size, Store

Layout = Literal["panels", "pieces", "rows", "blocks", "squares"]
Range = tuple[int, int]  # from, to: the second is beyond the last

SHARE = 4096  # elements of the last axis in a block
COLUMNS = 4  # vectors of the last axis in a block, where other axes are reduced
TILE = 8  # rows of a product that are a unit
INSIDE = 1 << 17  # bytes of sums of a product that a thread keeps to itself
NARROW, WIDE = 32, 32  # columns of a strip: at least, and a multiple of
PANEL_ROW = 256  # bytes: the widest tiles of a product with the widest vectors
MUCH = 1 << 17  # elements of weights, of which each thread had better read its part only
LINE = 64  # elements of the last axis that take less time than to find out where they are
NEST = 1024  # elements of a unit that has several axes
SIDE = 32  # elements of the last axis in a block of a transposed copy
LEAST = 8  # elements of an axis that is worth turning
CACHED = 1 << 25  # bytes that a kernel may move and find in a cache afterwards
ANYWHERE = 1 << 48  # more elements than there are


def layout(kernel: Kernel) -> Layout:
    if any(isinstance(item, Contract) for item in kernel.body):
        return "panels"
    if turned(kernel) is not None:
        return "squares"
    if kernel.axes[-1].role == "parallel":
        return "blocks"
    return "pieces" if kernel.chunk else "rows"


def turned(kernel: Kernel) -> int | None:
    """The axis along which a copy reads neighbours, if it writes them along the last one."""
    match kernel.body:
        case (Load(result, read, dtype), Store(written, operand)) if operand == result:
            simple = dtype.name in ("float32", "float64", "int32", "int64")
            simple = simple and not (read.terms or written.terms)
        case _:
            return None
    *outer, last = kernel.axes
    if not simple or written.strides[-1] != 1 or read.strides[-1] in (0, 1):
        return None
    if any(axis.role == "reduce" for axis in kernel.axes) or is_short(last):
        return None
    for n in reversed(range(len(outer))):
        if read.strides[n] == 1 and written.strides[n] != 0 and not is_short(outer[n]):
            return n
    return None


def is_short(axis: Axis) -> bool:
    return isinstance(axis.extent, int) and axis.extent < LEAST


def outer_axes(kernel: Kernel) -> list[Axis]:
    """The axes whose indices units count, besides panels, pieces and blocks."""
    match layout(kernel):
        case "panels":
            return list(kernel.axes[:-2])
        case "pieces":
            return []
        case "rows":
            return [axis for axis in kernel.axes if axis.role == "parallel"]
        case "squares":
            return [axis for n, axis in enumerate(kernel.axes[:-1]) if n != turned(kernel)]
        case "blocks":
            within = inner_axes(kernel)
            return [a for a in kernel.axes[:-1] if a.role == "parallel" and a not in within]


def inner_axes(kernel: Kernel) -> list[Axis]:
    """The parallel axes before the last one that a unit of ``blocks`` has all of."""
    last, found = kernel.axes[-1].extent, list[Axis]()
    if not isinstance(last, int) or last > LINE:
        return []
    size = last
    for axis in kernel.axes:
        if axis.role == "reduce":
            if not isinstance(axis.extent, int):
                return []
            size *= axis.extent
    first, *others = [axis for axis in kernel.axes[:-1] if axis.role == "parallel"] or [None]
    for axis in reversed(others):
        assert axis is not None and first is not None
        if not isinstance(axis.extent, int) or size * axis.extent > NEST:
            break
        size *= axis.extent
        found.insert(0, axis)
    return found


def block_length(kernel: Kernel, lanes: int) -> int:
    """How many elements of the last axis are a block: a vector of short rows that lie side by side,
    of which a small batch has few; of what lies along the lanes several, as a block takes a while
    to begin."""
    reduced = [axis.extent for axis in kernel.axes if axis.role == "reduce"]
    if not reduced:
        return SHARE
    known = [size for size in reduced if isinstance(size, int)]
    few = len(known) == len(reduced) and prod(known) <= lanes
    loads = [item.access for item in kernel.body if isinstance(item, Load)]
    rows = any(access.strides[-1] not in (0, 1) for access in loads)
    return lanes if few and rows else COLUMNS * lanes


def panel_columns(dtype: DType) -> int:
    """How many columns of a matrix make a panel: see `Contract`."""
    return PANEL_ROW // dtype.bytes


def strip_multiple(item: Contract) -> int:
    """Columns that a strip of a product has a multiple of: so that none begins inside a panel."""
    return WIDE if item.panel_stride == 0 else max(WIDE, panel_columns(item.dtype))


def strip_length(
    rows: int, columns: int, depth: int, entries: int, threads: int, step: int = WIDE
) -> int:
    """How many columns of a product are a strip, where the batch has so many entries: all, where
    there are as many tiles of rows as threads, and else as many as leave some for each.

    And so also where there are no more rows than columns, and the weights are many.  Then threads
    exchange results rather than weights: those that one step writes are read by the same thread in
    the next.  step: of columns, see `strip_multiple`.
    """
    few = rows <= columns and depth * columns >= MUCH
    blocks = entries if few else entries * max(-(-rows // TILE), 1)
    parts = (threads - 1) // max(blocks, 1) + 1
    share = -(-columns // parts)
    return max(NARROW, -(-share // step) * step)


def part(units: int, thread: int, threads: int) -> Range:
    """The units that a thread runs."""
    return units * thread // threads, units * (thread + 1) // threads


def touched(
    kernel: Kernel, parameters: Mapping[str, int], lanes: int, thread: int, threads: int
) -> dict[str, Range]:
    """The elements of each argument that a thread may touch: the first and one beyond the last.

    Nothing in between needs to be touched; what is not named is not.
    """
    walk = _Walk(kernel, parameters)
    units = walk.units(lanes, thread, threads)
    return walk.ranges() if units else {}


class _Walk:
    """The part of a kernel's index space that one thread walks, as an index range an axis."""

    def __init__(self, kernel: Kernel, parameters: Mapping[str, int]) -> None:
        self.kernel, self.parameters = kernel, parameters
        self.box: list[Range] = [(0, self.value(axis.extent)) for axis in kernel.axes]
        self.pieces: Range = (0, 1)

    def value(self, size: Size) -> int:
        return self.parameters[size] if isinstance(size, str) else size

    def units(self, lanes: int, thread: int, threads: int) -> bool:
        """Narrow the box to what the thread walks; whether there is anything."""
        kernel, kind = self.kernel, layout(self.kernel)
        outer = [kernel.axes.index(axis) for axis in outer_axes(kernel)]
        counts = [self.box[n][1] for n in outer]
        inner: list[tuple[int, int]] = []  # axes that are cut, each in lengths of
        match kind:
            case "panels":
                rows, columns = len(kernel.axes) - 2, len(kernel.axes) - 1
                item = next(item for item in kernel.body if isinstance(item, Contract))
                sizes = self.box[rows][1], self.box[columns][1], self.value(item.depth)
                strip = strip_length(*sizes, prod(counts), threads, strip_multiple(item))
                inner = [(columns, strip), (rows, TILE)]
            case "blocks":
                inner = [(len(kernel.axes) - 1, block_length(kernel, lanes))]
            case "squares":
                inner = [(len(kernel.axes) - 1, SIDE)]
            case "pieces":
                inner = [(0, kernel.chunk)]
            case "rows":
                pass
        counts += [-(-self.box[n][1] // length) for n, length in inner]
        first, end = part(prod(counts), thread, threads)
        if first >= end:
            return False
        cut = box(counts, first, end)
        for n, found in zip(outer, cut, strict=False):
            self.box[n] = found
        for (n, length), (low, high) in zip(inner, cut[len(outer) :], strict=True):
            self.pieces = low, high
            self.box[n] = (low * length, min(high * length, self.box[n][1]))
        return True

    def ranges(self) -> dict[str, Range]:
        """The elements that lie between the first and the last that the box touches."""
        found: dict[str, Range] = {}

        def touch(argument: str, low: int, high: int) -> None:
            before = found.get(argument, (low, high + 1))
            found[argument] = min(before[0], low), max(before[1], high + 1)

        for item in self.kernel.body:
            match item:
                case Load(access=access):
                    touch(access.argument, *self.spanned(access, self.box))
                case Store(access=access):
                    low, high = self.spanned(access, self.box)
                    if self.kernel.chunk and not any(map(self.value, access.strides)):
                        low, high = low + self.pieces[0], low + self.pieces[1] - 1
                    touch(access.argument, low, high)
                case Contract():
                    for argument, low, high in self.product(item):
                        touch(argument, low, high)
                case _:
                    pass
        return found

    def spanned(self, access: Access, box: Sequence[Range]) -> Range:
        """The lowest and the highest element of an access."""
        low = high = self.value(access.offset)
        steps = [
            (self.value(stride), start, end - 1)
            for stride, (start, end) in zip(access.strides, box, strict=True)
        ]
        steps += [(self.value(t.stride), 0, self.value(t.extent) - 1) for t in access.terms]
        for stride, first, last in steps:
            low += min(stride * first, stride * last)
            high += max(stride * first, stride * last)
        return low, high

    def product(self, item: Contract) -> list[tuple[str, int, int]]:
        """What a contraction reads, and the rows that it writes."""
        *batch, rows, columns = self.box
        depth = (0, self.value(item.depth))
        found: list[tuple[str, int, int]] = []
        if item.scratch is not None:
            found.append((item.scratch.argument, *self.spanned(item.scratch, self.box)))
        if depth[1] > 0:
            found.append((item.lhs.argument, *self.spanned(item.lhs, [*batch, rows, depth])))
            low, high = self.spanned(item.rhs, [*batch, depth, columns])
            if item.panel_stride != 0:  # from the first panel to the last
                wide, start = panel_columns(item.dtype), self.value(item.rhs.offset)
                stride = self.value(item.panel_stride)
                low = start + columns[0] // wide * stride
                high = start + (columns[1] - 1) // wide * stride + depth[1] * wide - 1
            found.append((item.rhs.argument, low, high))
        if item.walk is not None:  # where, only its tables know
            anywhere = [item.lhs.argument, item.walk.rows, item.walk.steps]
            if item.walk.runs is not None:
                anywhere.append(item.walk.runs.table)
            found += [(argument, -ANYWHERE, ANYWHERE) for argument in anywhere]
        if item.initial is not None:
            found.append((item.initial.argument, *self.spanned(item.initial, self.box)))
        return found


def box(counts: Sequence[int], first: int, end: int) -> list[Range]:
    """The index range on each axis of the flat indices from `first` to before `end`.

    Axes before the one on which the two ends differ stand still, those behind it are walked whole.
    """
    found: list[Range] = []
    last, whole = end - 1, prod(counts)
    for n, count in enumerate(counts):
        whole //= count
        low, high = first // whole, last // whole
        found.append((low, high + 1))
        first, last = first % whole, last % whole
        if low != high:
            found += [(0, other) for other in counts[n + 1 :]]
            break
    return found
