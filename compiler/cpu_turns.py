"""CPU source of a transposed copy: the calls that turn blocks of it in registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..ir.kernel import Access, Axis, Kernel, Load, Store
from ..ir.units import SIDE, outer_axes, turned
from .cpu_text import product, total


class Emitter(Protocol):
    """What this file needs of the writer of a kernel."""

    kernel: Kernel

    def line(self, text: str) -> None: ...
    def share(self, units: str) -> None: ...
    def unravel(self, axes: Sequence[Axis], flat: str) -> None: ...


def turned_text(emitter: Emitter) -> None:
    """For each index of the axes that stay, and some of the last axis: one call."""
    kernel, line = emitter.kernel, emitter.line
    across = turned(kernel)
    load, store = kernel.body
    assert across is not None and isinstance(load, Load) and isinstance(store, Store)
    outer, last = outer_axes(kernel), kernel.axes[-1]
    line(f"blocks = ({last.extent} + {SIDE - 1}) // {SIDE}")
    emitter.share(product(*(axis.extent for axis in outer), "blocks"))
    if outer:
        line("o = u // blocks")
        emitter.unravel(outer, "o")
    line(f"start = u % blocks * {SIDE}")
    line(f"count = min({SIDE}, {last.extent} - start)")

    def place(access: Access) -> str:
        pairs = zip(kernel.axes, access.strides, strict=True)
        steps = [product(axis.name, stride) for axis, stride in pairs if axis in outer]
        steps.append(product("start", access.strides[-1]))
        return f"offset({access.argument}, {total(str(access.offset), *steps)})"

    row, column = store.access.strides[across], load.access.strides[-1]
    line(
        f"turn_{load.dtype.short}({place(store.access)}, {row}, {place(load.access)}, {column}, "
        f"{kernel.axes[across].extent}, count)"
    )
