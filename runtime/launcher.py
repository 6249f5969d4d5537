"""What begins a call, in LLVM assembly: take the arrays, the team, put letters into mailboxes, run.

`gradloom_call` is given the words of a `Call` (`team.py`):
  program, table, dims, status, state, nth, tiny, times alone, whether to watch the next call,
  objects, moves, how many moves, calls left to make as was found best, whether that is alone
Objects are the call's arrays as Python has them: NumPy's begin with the address of their data, and
to read it there takes nothing, where `array.ctypes.data` takes a microsecond.
"""

from __future__ import annotations

import ctypes

import numpy as np

DATA = object.__basicsize__  # behind what every object of Python begins with


def check_arrays() -> None:
    """ImportError where arrays are laid out differently."""
    array = np.empty(1)
    if ctypes.c_void_p.from_address(id(array) + DATA).value != array.ctypes.data:
        raise ImportError("gradloom: arrays of this NumPy on this Python do not begin as expected")


CALL = """
; Put the addresses of the arrays into the table, and clear the status. moves: triples of the place
; in objects, the slot, and what is added to the address in that slot.
define internal void @bind(ptr %call, ptr %objects, ptr %table, ptr %status) nounwind {{
entry:
  %moves.p = getelementptr i64, ptr %call, i64 11
  %moves = load i64, ptr %moves.p
  %triples.p = getelementptr i64, ptr %call, i64 10
  %triples = load ptr, ptr %triples.p
  store i64 0, ptr %status
  br label %next
next:
  %n = phi i64 [0, %entry], [%n1, %move]
  %more = icmp slt i64 %n, %moves
  br i1 %more, label %move, label %out
move:
  %triple = getelementptr [3 x i64], ptr %triples, i64 %n
  %index = load i64, ptr %triple
  %slot.p = getelementptr i64, ptr %triple, i64 1
  %slot = load i64, ptr %slot.p
  %shift.p = getelementptr i64, ptr %triple, i64 2
  %shift = load i64, ptr %shift.p
  %object.p = getelementptr ptr, ptr %objects, i64 %index
  %object = load ptr, ptr %object.p
  %data.p = getelementptr i8, ptr %object, i64 {data}
  %data = load i64, ptr %data.p
  %address = add i64 %data, %shift
  %place = getelementptr i64, ptr %table, i64 %slot
  store i64 %address, ptr %place
  %n1 = add i64 %n, 1
  br label %next
out:
  ret void
}}

; Take the team if nobody has it; whether that is so. It is one call's from before the letters are
; posted to behind the last barrier. Done here, no exception of Python can come in between.
define i1 @gradloom_take(ptr %state) nounwind {{
  %taken.p = getelementptr i8, ptr %state, i64 64
  %pair = cmpxchg ptr %taken.p, i64 0, i64 1 acquire monotonic
  %mine = extractvalue {{ i64, i1 }} %pair, 1
  ret i1 %mine
}}

define void @gradloom_leave(ptr %state) nounwind {{
  %taken.p = getelementptr i8, ptr %state, i64 64
  store atomic i64 0, ptr %taken.p release, align 8
  ret void
}}

; A tiny call is not worth waking a sleeping worker for; but where such calls keep coming, it is
; woken now and then to see whether it can help. The next call is to be watched (see `Pace`) where
; a thread slept at a barrier, or when what was found best was done long enough.
define i64 @gradloom_call(ptr %call) nounwind {{
entry:
  %program = load ptr, ptr %call
  %table.p = getelementptr i64, ptr %call, i64 1
  %table = load ptr, ptr %table.p
  %dims.p = getelementptr i64, ptr %call, i64 2
  %dims = load ptr, ptr %dims.p
  %status.p = getelementptr i64, ptr %call, i64 3
  %status = load ptr, ptr %status.p
  %state.p = getelementptr i64, ptr %call, i64 4
  %state = load ptr, ptr %state.p
  %nth.p = getelementptr i64, ptr %call, i64 5
  %nth = load i64, ptr %nth.p
  %objects.p = getelementptr i64, ptr %call, i64 9
  %objects = load ptr, ptr %objects.p
  %bound = icmp eq ptr %objects, null
  br i1 %bound, label %begin, label %prepare
prepare:
  call void @bind(ptr %call, ptr %objects, ptr %table, ptr %status)
  br label %begin
begin:
  %watch.p = getelementptr i64, ptr %call, i64 8
  %left.p = getelementptr i64, ptr %call, i64 12
  %left = load i64, ptr %left.p
  %settled = icmp sgt i64 %left, 0
  br i1 %settled, label %follow, label %ready
follow:
  %less = sub i64 %left, 1
  store i64 %less, ptr %left.p
  %ends = icmp eq i64 %less, 0
  %watch = zext i1 %ends to i64
  store i64 %watch, ptr %watch.p
  %best.p = getelementptr i64, ptr %call, i64 13
  %best = load i64, ptr %best.p
  %best.alone = icmp ne i64 %best, 0
  br i1 %best.alone, label %run, label %ready
ready:
  %more = icmp sgt i64 %nth, 1
  br i1 %more, label %weigh, label %run
weigh:
  %tiny.p = getelementptr i64, ptr %call, i64 6
  %tiny = load i64, ptr %tiny.p
  %asleep.p = getelementptr i8, ptr %state, i64 {asleep}
  %asleep = load atomic i64, ptr %asleep.p acquire, align 8
  %both = and i64 %tiny, %asleep
  %alone = icmp ne i64 %both, 0
  br i1 %alone, label %count, label %take
count:
  %times.p = getelementptr i64, ptr %call, i64 7
  %times = load i64, ptr %times.p
  %times.1 = add i64 %times, 1
  %times.2 = and i64 %times.1, 15
  store i64 %times.2, ptr %times.p
  %enough = icmp eq i64 %times.2, 0
  br i1 %enough, label %ring, label %run
ring:
  call void @gradloom_ring(ptr %state)
  br label %run
take:
  %mine = call i1 @gradloom_take(ptr %state)
  br i1 %mine, label %post, label %run
post:
  %tid = phi i64 [1, %take], [%next, %post]
  call void @gradloom_post(ptr %state, i64 %tid,
    ptr %program, ptr %table, ptr %dims, ptr %status, i64 %nth)
  %next = add i64 %tid, 1
  %others = icmp slt i64 %next, %nth
  br i1 %others, label %post, label %run
run:
  %n = phi i64 [1, %follow], [1, %ready], [1, %count], [1, %ring], [1, %take], [%nth, %post]
  %result = call i64 %program(ptr %table, ptr %dims, ptr %status, ptr %state, i64 0, i64 %n)
  %together = icmp sgt i64 %n, 1
  br i1 %together, label %ask, label %out
ask:
  %slept.p = getelementptr i8, ptr %state, i64 32
  %slept = load atomic i64, ptr %slept.p monotonic, align 8
  %any = icmp ne i64 %slept, 0
  br i1 %any, label %note, label %leave
note:
  store atomic i64 0, ptr %slept.p monotonic, align 8
  br i1 %settled, label %leave, label %tell
tell:
  store i64 1, ptr %watch.p
  br label %leave
leave:
  call void @gradloom_leave(ptr %state)
  br label %out
out:
  ret i64 %result
}}
"""
