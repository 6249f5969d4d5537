"""How a kernel lies on a grid of CUDA threads: the one thing its text and its launch must share.

A kernel takes one of three layouts:

``threads``  one thread per index of the parallel axes, which walks the reduced axes in order;
``rows``     one block per index of the parallel axes, whose threads share the reduced axes;
``tiles``    one block per tile of a contraction.

Blocks stride over the work, so any grid is right and an empty kernel needs no case of its own.
The number of threads that share a row is a property of the kernel, never of the device or of
the launch: it fixes the order of a reduction, and so its bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Literal

from .kernel import Axis, Contract, Kernel, Running, Size, Store

Layout = Literal["threads", "rows", "tiles"]
Dimensions = tuple[int, int, int]

THREADS = 128  # of a block in layout `threads`
ROW_THREADS = 256  # of a block that shares a row, unless the row is known to be shorter
TILE_SIDE = 16  # a tile has 16 × 16 threads, each with up to 4 × 4 elements
TILE_DEPTH = 16
MOST_BLOCKS = 1 << 16
_NARROW = 1 << 30  # indices below this, and a stride of the grid beyond, fit in 32 bits


def parallel_axes(kernel: Kernel) -> list[Axis]:
    return [axis for axis in kernel.axes if axis.role == "parallel"]


def reduced_axes(kernel: Kernel) -> list[Axis]:
    return [axis for axis in kernel.axes if axis.role == "reduce"]


def varies(kernel: Kernel, store: Store, full: Mapping[str, bool]) -> bool:
    """Whether `store` writes at every index of the reduced axes, not once behind them.

    What combines with the old element does, whatever it adds.
    """
    if store.combine and reduced_axes(kernel):
        return True
    own = any(
        stride != 0 and axis.role == "reduce"
        for stride, axis in zip(store.access.strides, kernel.axes, strict=True)
    )
    return own or full[store.operand] or any(full[t.value] for t in store.access.terms)


def layout(kernel: Kernel) -> Layout:
    """The layout of `kernel`.

    Neighbouring threads should read neighbouring elements, so the role of the last axis
    decides; but running values, and what combines along the reduced axes, walk them in order.
    """
    if any(isinstance(item, Contract) for item in kernel.body):
        return "tiles"
    if not kernel.axes or kernel.axes[-1].role == "parallel":
        return "threads"
    if any(isinstance(item, Running) for item in kernel.body):
        return "threads"
    full = kernel.full()
    stores = [item for item in kernel.body if isinstance(item, Store)]
    ordered = any(item.combine != "" and varies(kernel, item, full) for item in stores)
    return "threads" if ordered else "rows"


def row_threads(kernel: Kernel) -> int:
    """The threads that share a row: a power of two from a warp up, fewer for short rows."""
    sizes = [axis.extent for axis in reduced_axes(kernel)]
    if kernel.chunk:
        sizes[0] = min(kernel.chunk, sizes[0]) if isinstance(sizes[0], int) else kernel.chunk
    if any(isinstance(size, str) for size in sizes):
        return ROW_THREADS
    count = prod(int(size) for size in sizes)
    return min(max(1 << max(count - 1, 0).bit_length(), 32), ROW_THREADS)


def elements_per_thread(size: Size) -> int:
    """How many elements of a tile's side one thread has, 1, 2 or 4: small sides waste none."""
    if isinstance(size, str) or size > 2 * TILE_SIDE:
        return 4
    return 2 if size > TILE_SIDE else 1


def _value(size: Size, parameters: Mapping[str, int]) -> int:
    return parameters[size] if isinstance(size, str) else size


def _pieces(size: int, length: int) -> int:
    return -(-size // length)


def _spaces(kernel: Kernel, parameters: Mapping[str, int]) -> tuple[int, int]:
    """The numbers of indices that the text flattens: pieces of work, and steps within one."""
    parallel = [_value(axis.extent, parameters) for axis in parallel_axes(kernel)]
    reduced = [_value(axis.extent, parameters) for axis in reduced_axes(kernel)]
    if kernel.chunk:
        parallel.insert(0, _pieces(reduced[0], kernel.chunk))
        reduced[0] = min(reduced[0], kernel.chunk)
    return prod(parallel), prod(reduced)


def _tiles(kernel: Kernel, parameters: Mapping[str, int]) -> int:
    *batch, rows, columns = kernel.axes
    count = prod(_value(axis.extent, parameters) for axis in batch)
    for axis in (rows, columns):
        side = TILE_SIDE * elements_per_thread(axis.extent)
        count *= _pieces(_value(axis.extent, parameters), side)
    return count


def launch_configuration(
    kernel: Kernel, parameters: Mapping[str, int]
) -> tuple[Dimensions, Dimensions]:
    """(grid, block) of a launch, each as sizes along x, y and z; at least one block."""
    work, _ = _spaces(kernel, parameters)
    threads: Dimensions
    match layout(kernel):
        case "threads":
            blocks, threads = _pieces(work, THREADS), (THREADS, 1, 1)
        case "rows":
            blocks, threads = work, (row_threads(kernel), 1, 1)
        case "tiles":
            blocks, threads = _tiles(kernel, parameters), (TILE_SIDE, TILE_SIDE, 1)
    return (min(max(blocks, 1), MOST_BLOCKS), 1, 1), threads


def is_narrow(kernel: Kernel, parameters: Mapping[str, int]) -> bool:
    """Whether 32-bit indices are enough for this launch.

    They are about twice as fast where a flat index must be divided.  Only what counts is
    narrow: parameters and flattened indices; addresses are always computed in 64 bits.
    """
    sizes = [_value(axis.extent, parameters) for axis in kernel.axes]
    depths = [_value(i.depth, parameters) for i in kernel.body if isinstance(i, Contract)]
    counts = [*sizes, *depths, *_spaces(kernel, parameters), *map(abs, parameters.values())]
    return max(counts, default=0) < _NARROW
