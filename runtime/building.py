# pyright: basic
"""Constants, counted loops and transpositions in functions written with llvmlite's builder.

llvmlite makes a constant of each lane of a vector, every time: as much work as all the rest of a
micro-kernel's text. Constants here are made once and know their text.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llvmlite import ir

# llvmlite's own annotations do not fit its use.
Builder = Any
Value = Any

INT = ir.IntType(64)


class TextConstant(ir.Constant):
    """A constant given by its text, without its type; llvmlite asks for the lanes of some."""

    def __init__(self, type_: Any, text: str, lanes: tuple[ir.Constant, ...] = ()) -> None:
        self.type = type_
        self.text = text
        self.constant = lanes

    def _get_reference(self) -> str:
        return self.text


@functools.lru_cache(maxsize=256)
def number(value: int, bits: int = 64) -> ir.Constant:
    """An integer of so many bits."""
    return ir.Constant(ir.IntType(bits), value)


@functools.lru_cache(maxsize=64)
def zeros(type_: Any) -> ir.Constant:
    """All bits zero: in each lane 0, 0.0, or false; the null pointer."""
    return TextConstant(type_, "zeroinitializer")


@functools.lru_cache(maxsize=64)
def undefined(type_: Any) -> ir.Constant:
    """Any value: where all lanes are written afterwards."""
    return TextConstant(type_, "undef")


@functools.lru_cache(maxsize=256)
def lane_list(numbers: tuple[int, ...], bits: int = 32) -> ir.Constant:
    """An integer in each lane; which lanes a shuffle takes."""
    lanes = tuple(number(n, bits) for n in numbers)
    text = f"<{', '.join(f'i{bits} {n}' for n in numbers)}>" if any(numbers) else "zeroinitializer"
    return TextConstant(ir.VectorType(ir.IntType(bits), len(numbers)), text, lanes)


@contextlib.contextmanager
def counted(builder: Builder, start: Value, end: Value, step: Value) -> Iterator[Value]:
    """A counted loop (step > 0, also no trip at all); the body is written inside the `with`."""
    function = builder.function
    before = builder.block
    head, body, after = (
        function.append_basic_block(label) for label in ("for", "for_body", "for_end")
    )
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(INT)
    index.add_incoming(start, before)
    builder.cbranch(builder.icmp_signed("<", index, end), body, after)
    builder.position_at_end(body)
    yield index
    index.add_incoming(builder.add(index, step), builder.block)
    builder.branch(head)
    builder.position_at_end(after)


def stepped(
    builder: Builder,
    start: Value,
    end: Value,
    step: Value,
    values: Sequence[Value],
    body: Callable[[Value, list[Value]], list[Value]],
) -> tuple[Value, list[Value]]:
    """A loop over an index from `start` on, while it is less than `end`, that carries `values`;
    `body` writes a trip, of the index and the values, and gives what they are in the next.

    Returns what the index and the values are behind it.
    """
    function = builder.function
    before = builder.block
    trip, after = (function.append_basic_block(label) for label in ("steps", "steps_end"))
    builder.cbranch(builder.icmp_signed("<", start, end), trip, after)
    builder.position_at_end(trip)
    heads = []
    for value in (start, *values):
        phi = builder.phi(value.type)
        phi.add_incoming(value, before)
        heads.append(phi)
    onward = builder.add(heads[0], step)
    following = [onward, *body(heads[0], heads[1:])]
    last = builder.block
    builder.cbranch(builder.icmp_signed("<", onward, end), trip, after)
    builder.position_at_end(after)
    found = []
    for phi, first, value in zip(heads, (start, *values), following, strict=True):
        phi.add_incoming(value, last)
        found.append(builder.phi(value.type))
        found[-1].add_incoming(first, before)
        found[-1].add_incoming(value, last)
    return found[0], found[1:]


def larger(builder: Builder, x: Value, y: Value) -> Value:
    return builder.select(builder.icmp_signed(">", x, y), x, y)


def smaller(builder: Builder, x: Value, y: Value) -> Value:
    return builder.select(builder.icmp_signed("<", x, y), x, y)


def quotient(builder: Builder, x: Value, y: Value) -> Value:
    """x / y, rounded down, of integers with sign; 0 where y is not positive.

    For sizes and shares, of which most quotients are 0, 1 or, by one thread, x itself: these are
    found by comparing, in a few cycles instead of the 25 to 90 of a division.  A call: not for
    inner loops.
    """
    module = builder.module
    function = module.globals.get("quotient")
    if function is None:
        function = ir.Function(module, ir.FunctionType(INT, [INT, INT]), "quotient")
        function.linkage = "internal"
        function.attributes.add("nounwind")
        _write_quotient(ir.IRBuilder(function.append_basic_block("entry")), *function.args)
    return builder.call(function, [x, y])


def _write_quotient(builder: Builder, x: Value, y: Value) -> None:
    less = builder.icmp_signed("<", x, y)
    once = builder.icmp_signed("<", builder.sub(x, y), y)
    by_one = builder.icmp_signed("==", y, number(1))
    usual = builder.and_(builder.icmp_signed(">=", x, number(0)), builder.or_(less, once))
    positive = builder.icmp_signed(">", y, number(0))
    usual = builder.and_(positive, builder.or_(by_one, usual))
    found = builder.select(by_one, x, builder.zext(builder.not_(less), INT))
    with builder.if_then(usual, likely=True):
        builder.ret(found)
    divisor = builder.select(positive, y, number(1))
    down = builder.icmp_signed("<", builder.srem(x, divisor), number(0))
    divided = builder.sub(builder.sdiv(x, divisor), builder.zext(down, INT))
    builder.ret(builder.select(positive, divided, number(0)))


def transposed(builder: Builder, block: Sequence[Value]) -> list[Value]:
    """As many vectors as each has lanes, a power of two: vector i of the result has lane i of each.

    In log2(lanes) rounds of exchanges between vectors whose numbers differ in one bit (Eklundh,
    IEEE Trans. Computers 21, 1972).  The highest bit comes first: where only the first few results
    are wanted, most of what later rounds would do is for nobody, and goes.
    """
    count = len(block)
    step = count // 2
    while step:
        following = list(block)
        for i in (i for i in range(count) if not i & step):
            low, high = block[i], block[i | step]
            # Of two vectors, numbered on: lane `step` further off goes to the other.
            first = [n if not n & step else n - step + count for n in range(count)]
            second = [n + step if not n & step else n + count for n in range(count)]
            for place, picks in ((i, first), (i | step, second)):
                following[place] = builder.shuffle_vector(low, high, lane_list(tuple(picks)))
        block, step = following, step // 2
    return list(block)
