# pyright: basic
"""The clock of programs that are timed, in LLVM assembly; other programs know nothing of it."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace

from . import native
from .instructions import Branch, Copy, Host, Launch, Loop, Step, Timed, Turns

# What fills a pair of seconds (i64) and nanoseconds, and the type of the latter.
_CALL, _NANOSECONDS = {
    "win32": ("i32 @_timespec64_get(ptr %now, i32 1)", "i32"),
    "darwin": ("i32 @clock_gettime(i32 6, ptr %now)", "i64"),
}.get(sys.platform, ("i32 @clock_gettime(i32 1, ptr %now)", "i64"))

_CLOCK = """
declare DECLARED

; stamps[2 * number + 1] += sign * nanoseconds; where sign is 1, stamps[2 * number] += 1
define void @gradloom_stamp(ptr %stamps, i64 %number, i64 %sign) nounwind {
  %now = alloca [2 x i64]
  %ignored = call CALL
  %seconds = load i64, ptr %now
  %rest.p = getelementptr i64, ptr %now, i64 1
  %rest.n = load KIND, ptr %rest.p
  %rest = WIDEN
  %whole = mul i64 %seconds, 1000000000
  %time = add i64 %whole, %rest
  %signed = mul i64 %time, %sign
  %first = mul i64 %number, 2
  %count.p = getelementptr i64, ptr %stamps, i64 %first
  %sum.p = getelementptr i64, ptr %count.p, i64 1
  %sum = load i64, ptr %sum.p
  %sum.new = add i64 %sum, %signed
  store i64 %sum.new, ptr %sum.p
  %ends = icmp eq i64 %sign, 1
  %one = zext i1 %ends to i64
  %count = load i64, ptr %count.p
  %count.new = add i64 %count, %one
  store i64 %count.new, ptr %count.p
  ret void
}
"""


def _text() -> str:
    declared = _CALL.replace(" %now", "").replace("i32 1", "i32").replace("i32 6", "i32")
    widen = "zext i32 %rest.n to i64" if _NANOSECONDS == "i32" else "add i64 %rest.n, 0"
    text = _CLOCK.replace("DECLARED", declared).replace("CALL", _CALL)
    return text.replace("KIND", _NANOSECONDS).replace("WIDEN", widen)


@functools.cache
def load() -> None:
    """Load the clock: a program with stamps in it refers to that."""
    text = _text()
    key = "clock-" + hashlib.sha256(f"{native.host().identity} {text}".encode()).hexdigest()
    data, _ = native.cached_object(key, lambda: native.compile_object(text))
    native.load_object(data)


def timed(steps: Sequence[Step], stamps: int) -> tuple[tuple[Step, ...], int]:
    """The steps with a clock around each launch, copy and host call, and how many there are.

    They are numbered from 0 on as `ir.program.walk` meets them; `table[stamps]` holds the times.
    """
    count = 0

    def inside(steps: Sequence[Step]) -> tuple[Step, ...]:
        nonlocal count
        made: list[Step] = []
        for step in steps:
            if isinstance(step, (Launch, Copy, Host)):
                made.append(Timed(step, stamps, count))
                count += 1
            elif isinstance(step, Turns):
                made += inside(step.steps)
            elif isinstance(step, Loop):
                made.append(replace(step, body=inside(step.body)))
            elif isinstance(step, Branch):
                made.append(replace(step, bodies=tuple(inside(body) for body in step.bodies)))
            else:
                made.append(step)
        return tuple(made)

    return inside(steps), count
