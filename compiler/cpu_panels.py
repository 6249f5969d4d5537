"""Panels: what the lanes of a vector read and write where their elements lie far apart.

Where rows go side by side in the lanes, and each row lies in order, the elements of a vector are a
row apart.  So the rows of all lanes are turned once, in registers, into memory of the thread's own,
from which every walk over them loads whole vectors, and what is made of them goes back that way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..ir.dtypes import DType
from ..ir.kernel import Access, Kernel, Load, Store

LONGEST = 16  # entries of a row that are turned: what follows is more text than it is worth
MOST = 1 << 16  # bytes of all panels


@dataclass(frozen=True)
class Panel:
    """dtype: of the elements; start: where it begins, in elements of the memory that all panels of
    this dtype share; length: of a row; is_read, is_written: in memory proper."""

    dtype: DType
    start: int
    length: int
    is_read: bool
    is_written: bool

    @property
    def memory(self) -> str:
        return f"{self.dtype.short}_panels"


def panels_of(kernel: Kernel, lanes: int, dtypes: Mapping[str, DType]) -> dict[Access, Panel]:
    """The accesses that go through panels: rows along the one axis that is reduced, of a known
    size, while lanes go along another.  dtypes: of the arguments."""
    reduced = [n for n, axis in enumerate(kernel.axes) if axis.role == "reduce"]
    if len(reduced) != 1 or kernel.axes[-1].role == "reduce":
        return {}
    (across,) = reduced
    length = kernel.axes[across].extent
    if not isinstance(length, int) or not 1 < length <= LONGEST:
        return {}
    found: dict[Access, Panel] = {}
    used: dict[DType, int] = {}
    taken = 0  # bytes
    for item in kernel.body:
        if not isinstance(item, (Load, Store)):
            continue
        access, dtype = item.access, dtypes[item.access.argument]
        apart = access.strides[across] == 1 and access.strides[-1] not in (0, 1)
        plain = not access.terms and not (isinstance(item, Store) and item.combine)
        if not apart or not plain:
            continue
        before = found.get(access)
        if before is None:
            own = length * lanes * dtype.bytes
            if taken + own > MOST:
                continue
            taken += own
            start = used.get(dtype, 0)
            used[dtype] = start + length * lanes
            before = Panel(dtype, start, length, False, False)
        reads = before.is_read or isinstance(item, Load)
        writes = before.is_written or isinstance(item, Store)
        found[access] = Panel(dtype, before.start, length, reads, writes)
    return found
