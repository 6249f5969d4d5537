# pyright: basic
"""The steps of a tile where the elements of A that it reads are neighbours: in each row ("line") or
in each step ("column").

Then most places are a register and a number that stands in the text, and a step is its loads, its
multiply-adds and nothing else.  A processor that shares its core takes up half as many instructions
a cycle, so what finds places costs as much as what multiplies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from llvmlite import ir

from .building import Builder, Value, number, stepped

if TYPE_CHECKING:
    from .micro_kernel import Writer

Way = Literal["line", "column"]
WAYS: tuple[Way, ...] = ("line", "column")

TOGETHER = 4  # steps written out
APART = 3  # rows of a line from one whose place is known to the next


def straight(
    writer: Writer,
    builder: Builder,
    way: Way,
    rows: list[Value],
    b: tuple[Value, Value],
    stride: Value,
    depth: Value,
    sums: list[Value],
    masks: list[Value | None],
    ahead: tuple[Value, Value] | None = None,
) -> list[Value]:
    """The sums of a tile after `depth` steps.

    rows: where each row of A begins; stride: from one of them to the next ("line"), or from one
    step to the next ("column"). b: where the rows of B begin, and their stride. ahead: the same of
    rows that are asked for meanwhile, one in each `TOGETHER` steps.
    """
    vectors = len(masks)
    width = writer.align
    bases = rows[::APART] if way == "line" else [rows[0]]
    place_b, row_b = b
    places = [place_b, *bases, *([ahead[0]] if ahead else [])]
    gaps_a, gaps_b = (_Gaps(writer, builder, value, TOGETHER) for value in (stride, row_b))
    parts = [number(v * writer.lanes) for v in range(vectors)]

    def steps(count: int, k: Value, end: Value, values: list[Value]) -> tuple[Value, list[Value]]:
        """Steps from k to `end`, so many at a time."""

        def body(_: Value, values: list[Value]) -> list[Value]:
            # LLVM shall not know what these places come from: it would make one of them the sum of
            # another and a register, which takes longer to load from.
            b_here, *here = (writer.freeze(builder, v) for v in values[: 1 + len(bases)])
            running = values[len(places) :]
            soon = values[1 + len(bases) : len(places)]
            for place in soon if count > 1 else ():
                for part in parts:
                    writer.prefetch(builder, writer.at(builder, place, part))
            for u in range(count):
                row_of_b = [
                    writer.load(builder, writer.at(builder, gaps_b.on(b_here, u), part), mask)
                    for part, mask in zip(parts, masks, strict=True)
                ]
                for i in range(len(rows)):
                    if way == "line":
                        place = gaps_a.on(here[i // APART], i % APART)
                        place = writer.at(builder, place, number(u))
                    else:
                        place = writer.at(builder, gaps_a.on(here[0], u), number(i))
                    scalar = builder.load(place, align=width, typ=writer.element)
                    factor = writer.splat(builder, scalar, writer.vector)
                    for v, row in enumerate(row_of_b):
                        at = i * vectors + v
                        running[at] = writer.multiply_add(builder, factor, row, running[at])
            if way == "line":
                onward = [writer.at(builder, base, number(count)) for base in here]
            else:
                onward = [gaps_a.on(base, count) for base in here]
            asked = [writer.at(builder, place, ahead[1]) for place in soon if ahead]
            return [gaps_b.on(b_here, count), *onward, *asked, *running]

        return stepped(builder, k, end, number(count), values, body)

    whole = builder.and_(depth, number(-TOGETHER))
    k, values = steps(TOGETHER, number(0), whole, [*places, *sums])
    return steps(1, k, depth, values)[1][len(places) :]


class _Gaps:
    """Places up to `most` strides further on: a processor adds 1, 2, 4 or 8 times a register."""

    def __init__(self, writer: Writer, builder: Builder, stride: Value, most: int) -> None:
        self.builder = builder
        apart = builder.mul(stride, number(writer.align))
        self.odd = {
            n: writer.freeze(builder, builder.mul(apart, number(n))) for n in range(1, most + 1, 2)
        }

    def on(self, base: Value, n: int) -> Value:
        """The place n strides behind `base`."""
        if n == 0:
            return base
        power = n & -n
        gap = self.builder.mul(self.odd[n // power], number(power))
        return self.builder.gep(base, [gap], source_etype=ir.IntType(8))
