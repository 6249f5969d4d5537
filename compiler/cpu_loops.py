"""Lines of a CPU kernel and the loops among them: shares of threads, vectors, reduced axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

from ..ir.kernel import BLOCK, Axis, Kernel, Reduce, Size
from ..ir.loc import Loc
from .cpu_text import difference, total
from .scalar import identity

WRITTEN_OUT = 4  # places of a walk that are so few that none needs a loop


class Loops:
    """Lines of text that are written one after the other, and the depth of the next."""

    def __init__(self, kernel: Kernel, lanes: int, step: int) -> None:
        """step: how far the vectors of a reduced last axis lie apart, 1 where it goes in order."""
        self.kernel, self.lanes, self.step = kernel, lanes, step
        self.axes = kernel.axes
        self.lines: list[str] = []
        self.depth = 1
        self.tail = "0"  # says in the text that the mask leaves lanes out

    def line(self, text: str, loc: Loc = ()) -> None:
        comment = f"  # {', '.join(map(str, loc))}" if loc else ""
        self.lines.append("    " * self.depth + text + comment)

    def begin(self, text: str) -> None:
        self.line(text)
        self.depth += 1

    def share(self, units: str) -> None:
        """The loop over this thread's part of the units of work."""
        self.line(f"units = {units}")
        self.begin("for u in range(quotient(units * tid, nth), quotient(units * (tid + 1), nth)):")

    def unravel(self, axes: Sequence[Axis], flat: str) -> None:
        """The indices of `axes` from a flat one."""
        for axis in reversed(axes):
            first = axis is axes[0]
            self.line(f"{axis.name} = {flat}" if first else f"{axis.name} = {flat} % {axis.extent}")
            if not first:
                self.line(f"{flat} = {flat} // {axis.extent}")

    def vectors(
        self, index: str, low: Size, high: Size, around: Callable[[str], None] | None = None
    ) -> None:
        """Open the loop over the vectors from `low` to before `high`.

        What is left behind the last whole vector has a loop of its own around the same body, so
        that the mask never changes within one.  around: opens a loop over rows, which stands inside
        that over the two masks; it is told what is 1 in the text where the mask leaves lanes out.
        """
        lanes = self.lanes
        if low == 0 and isinstance(high, int) and (high < lanes or high % lanes == 0):
            self.line(f"m = lanes({min(high, lanes)})")
            if around:
                around(str(int(high < lanes)))
            self.begin(f"for {index} in range(0, {high}, {lanes}):")
            return
        whole, rest = f"{index}_whole", f"{index}_rest"
        self.line(f"{rest} = {difference(high, low)} & {lanes - 1}")
        self.line(f"{whole} = {high} - {rest}")
        self.tail = "tail"
        some = f"min({difference(whole, low)}, 1)"
        self.begin(f"for tail in range(1 - {some}, 1 + min({rest}, 1)):")
        self.line(f"m = lanes({lanes} + tail * ({rest} - {lanes}))")
        begin = total(str(low), f"tail * {difference(whole, low, True)}")
        end = f"{whole} + tail * {rest}"
        if around:  # bounds are found once, not for each row
            self.line(f"{index}_begin = {begin}")
            self.line(f"{index}_end = {end}")
            begin, end = f"{index}_begin", f"{index}_end"
            around(self.tail)
        self.begin(f"for {index} in range({begin}, {end}, {lanes}):")

    def few_places(self, axes: Sequence[Axis], long: Sequence[Reduce]) -> list[tuple[int, ...]]:
        """The indices of the reduced axes, where these are so few that a walk is written out; else
        an empty tuple, which stands for loops."""
        sizes = [axis.extent for axis in axes if isinstance(axis.extent, int)]
        plain = len(sizes) == len(axes) and not long and self.axes[-1].role == "parallel"
        if not plain or not 0 < prod(sizes) <= WRITTEN_OUT:
            return [()]
        return list(product(*map(range, sizes)))

    def reduction_loops(self, axes: Sequence[Axis], long: Sequence[Reduce]) -> int:
        """Open the loops over the reduced axes, the vector one with its mask.

        The innermost goes in blocks where sums are `long`, or, where that is a vector at most, the
        one around it: each block has an accumulator of its own.  Returns the depth of what stands
        in a block, behind the loop within.
        """
        chunk, depth = self.kernel.chunk, self.depth
        extent, most = axes[-1].extent, self.step if axes[-1] is self.axes[-1] else 1
        is_short = len(axes) > 1 and isinstance(extent, int) and extent <= most
        blocked = axes[-2] if is_short else axes[-1]
        for axis in axes:
            low: Size = 0
            high: Size = axis.extent
            if chunk and axis is self.axes[0]:
                self.line(f"start = u * {chunk}")
                self.line(f"end = min(start + {chunk}, {high})")
                low, high = "start", "end"
            step = self.step if axis is self.axes[-1] else 1
            if long and axis is blocked:
                block, length = f"{axis.name}_block", BLOCK * step
                is_one = isinstance(high, int) and high <= length
                self.begin(f"for {block} in range({low}, {high}, {length}):")
                for fold in long:
                    self.line(f"{fold.result}_block = {identity(fold)}")
                depth = self.depth
                if not is_one:
                    self.line(f"{block}_end = min({block} + {length}, {high})")
                    low, high = block, f"{block}_end"
            if step > 1:
                self.vectors(axis.name, low, high)
                continue
            if axis is self.axes[-1]:
                self.line("m = lanes(1)")
            self.begin(f"for {axis.name} in range({low}, {high}):")
        return depth
