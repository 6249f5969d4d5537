# pyright: basic
"""Integers and counted loops in functions written with llvmlite's builder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from llvmlite import ir

# llvmlite's own annotations do not fit its use.
Builder = Any
Value = Any

INT = ir.IntType(64)


def number(value: int) -> ir.Constant:
    return ir.Constant(INT, value)


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


def larger(builder: Builder, x: Value, y: Value) -> Value:
    return builder.select(builder.icmp_signed(">", x, y), x, y)


def smaller(builder: Builder, x: Value, y: Value) -> Value:
    return builder.select(builder.icmp_signed("<", x, y), x, y)
