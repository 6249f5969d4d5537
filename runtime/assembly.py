"""The team in LLVM assembly: barrier, worker, mailboxes, and what the steps of a native program do.

Memory of a team, from an address `state` that is a multiple of 128:
  the barrier: +0: generation; +8: arrivals; +16: the word handed over at the last one;
  +24: the generation that a sleeper waits for; +32: whether any slept lately; +40: pauses to spin;
  +48: whether a worker was woken for this call, and nobody has waited for it yet;
  +56: how many workers there are
  +64: whether a call has the team; +72: whether this was the team of a process that forked
  +128 * t: mailbox of thread t: generation, asleep, program, table, dims, status, nth, state;
  and +64 in it, the system's handle of that thread, for the join
A barrier and a letter are one cache line each, which goes over once when the last arrives or the
letter is posted, and once when it is read; no other is in the pair that processors fetch at once.
"""

from __future__ import annotations

import platform
import sys

from . import arrays
from .launcher import ASK, CALL, OTHER, QUICK
from .results import RESULTS

MAILBOX = 128  # bytes
MAX_THREADS = 256
WORKING, GONE = 56, 72  # words of the state, in bytes
# Pauses (of some 25 ns here) before a thread in a barrier sleeps: at least and at most, as the last
# waits were long or short; every so many barriers, the most is tried again. An idle worker waits
# twice as long. Nobody yields: who is given the core keeps it for milliseconds. Where a worker had
# to be woken, which in a virtual machine takes longer than many a call, the most is tried again,
# and the wait for it tells nothing: else threads would sleep sooner, and be woken each call.
FEWEST, MOST, EVERY = 64, 8192, 61

# The number of the system call; None: no workers on this system.
_FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine()) if sys.platform == "linux" else None
WORKERS = _FUTEX is not None
_PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}

_COMMON = """
declare i64 @syscall(i64, ...)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)
{declare_pause}

; Whether the caller is the last to arrive: it then does what must be done alone, and releases.
define i1 @gradloom_barrier_arrive(ptr %state, i64 %nth) nounwind {{
  %alone = icmp eq i64 %nth, 1
  br i1 %alone, label %yes, label %count
count:
  %arrivals.p = getelementptr i8, ptr %state, i64 8
  %before = atomicrmw add ptr %arrivals.p, i64 1 acq_rel
  %now = add i64 %before, 1
  %last = icmp eq i64 %now, %nth
  ret i1 %last
yes:
  ret i1 true
}}

; The others go on; all get %word, which stands until the last has arrived at the next barrier.
define void @gradloom_barrier_release(ptr %state, i64 %word, i64 %nth) nounwind {{
  %alone = icmp eq i64 %nth, 1
  br i1 %alone, label %out, label %signal
signal:
  %seen.p = getelementptr i8, ptr %state, i64 16
  store i64 %word, ptr %seen.p
  %arrivals.p = getelementptr i8, ptr %state, i64 8
  store atomic i64 0, ptr %arrivals.p monotonic, align 8
  %old = load atomic i64, ptr %state monotonic, align 8
  %new = add i64 %old, 1
  store atomic i64 %new, ptr %state seq_cst, align 8
  %asleep.p = getelementptr i8, ptr %state, i64 24
  %asleep = load atomic i64, ptr %asleep.p seq_cst, align 8
  %ring = icmp eq i64 %asleep, %new
  br i1 %ring, label %wake, label %out
wake:
  call i64 (i64, ...) @syscall(
    i64 {futex}, ptr %state, i32 129, i32 {everyone}, ptr null, ptr null, i32 0)
  br label %out
out:
  ret void
}}

; Wait until `generation` (read before arriving) is over; the word handed over there. Spin, then
; sleep: the one waited for may wait for this core, or be in a long call of the host.
; No sleeper is forgotten: it notes in `asleep` what it waits for, then looks at the generation; the
; last to arrive ends the generation, then looks at `asleep`: in the one order of these four, one of
; the two sees the other; and the kernel lets nobody sleep whose generation is over. `asleep` only
; grows, so who is late cannot wipe out who sleeps at the next barrier. A signal is one look more.
define i64 @gradloom_barrier_wait(ptr %state, i64 %generation) nounwind {{
entry:
  %asleep.p = getelementptr i8, ptr %state, i64 24
  %slept.p = getelementptr i8, ptr %state, i64 32
  %pauses.p = getelementptr i8, ptr %state, i64 40
  %rung.p = getelementptr i8, ptr %state, i64 48
  %rung = load atomic i64, ptr %rung.p monotonic, align 8
  %woken = icmp ne i64 %rung, 0
  %tells = select i1 %woken, i64 0, i64 1
  %learned = load atomic i64, ptr %pauses.p monotonic, align 8
  %turn = urem i64 %generation, {every}
  %try = icmp eq i64 %turn, 0
  %pauses = select i1 %try, i64 {most}, i64 %learned
  br label %look
look:
  %n = phi i64 [0, %entry], [%n1, %again]
  %now = load atomic i64, ptr %state acquire, align 8
  %over = icmp ne i64 %now, %generation
  br i1 %over, label %out, label %wait
wait:
  %n1 = add i64 %n, 1
  {pause}
  %patient = icmp sle i64 %n1, %pauses
  br i1 %patient, label %again, label %sleep
sleep:
  %next = add i64 %generation, 1
  %r = atomicrmw umax ptr %asleep.p, i64 %next seq_cst
  %s = atomicrmw umax ptr %slept.p, i64 %tells monotonic
  %late = load atomic i64, ptr %state seq_cst, align 8
  %still = icmp eq i64 %late, %generation
  br i1 %still, label %park, label %again
park:
  %word = trunc i64 %generation to i32
  call i64 (i64, ...) @syscall(
    i64 {futex}, ptr %state, i32 128, i32 %word, ptr null, ptr null, i32 0)
  br label %again
again:
  br label %look
out:
  %seen.p = getelementptr i8, ptr %state, i64 16
  %seen = load i64, ptr %seen.p
  %short = icmp sle i64 %n, %pauses
  %double = shl i64 %pauses, 1
  %more = call i64 @llvm.umin.i64(i64 %double, i64 {most})
  %half = lshr i64 %learned, 1
  %less = call i64 @llvm.umax.i64(i64 %half, i64 {fewest})
  store atomic i64 0, ptr %rung.p monotonic, align 8
  %slower = select i1 %woken, i64 %learned, i64 %less
  %wanted = select i1 %short, i64 %more, i64 %slower
  %keep = icmp eq i64 %wanted, %learned
  br i1 %keep, label %done, label %learn
learn:
  store atomic i64 %wanted, ptr %pauses.p monotonic, align 8
  br label %done
done:
  ret i64 %seen
}}

; To be read before arriving: what `gradloom_barrier_wait` waits to be over.
define i64 @gradloom_barrier_generation(ptr %state, i64 %nth) nounwind {{
  %alone = icmp eq i64 %nth, 1
  br i1 %alone, label %single, label %team
single:
  ret i64 0
team:
  %generation = load atomic i64, ptr %state acquire, align 8
  ret i64 %generation
}}

; All get the status word as it is when the last arrives, whatever is written to it meanwhile.
define i64 @gradloom_barrier(ptr %state, ptr %status, i64 %nth) nounwind {{
  %alone = icmp eq i64 %nth, 1
  br i1 %alone, label %single, label %team
single:
  %own = load i64, ptr %status
  ret i64 %own
team:
  %generation = load atomic i64, ptr %state acquire, align 8
  %last = call i1 @gradloom_barrier_arrive(ptr %state, i64 %nth)
  br i1 %last, label %release, label %wait
release:
  %word = load i64, ptr %status
  call void @gradloom_barrier_release(ptr %state, i64 %word, i64 %nth)
  ret i64 %word
wait:
  %seen = call i64 @gradloom_barrier_wait(ptr %state, i64 %generation)
  ret i64 %seen
}}
"""

_THREADS = """
declare i32 @sigfillset(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)

; Start workers until there are %threads threads with the caller; how many there then are. One grows
; at a time. No exception of Python's comes between a start and its count: a worker that nobody
; knows of would read the letters to the next. Workers keep the mask: signals are for Python.
define i64 @gradloom_grow(ptr %state, i64 %threads) nounwind {{
entry:
  %all = alloca [128 x i8], align 8
  %before = alloca [128 x i8], align 8
  %f = call i32 @sigfillset(ptr %all)
  %b = call i32 @pthread_sigmask(i32 0, ptr %all, ptr %before)
  %working.p = getelementptr i8, ptr %state, i64 {working}
  br label %count
count:
  %workers = load i64, ptr %working.p
  %size = add i64 %workers, 1
  %enough = icmp sge i64 %size, %threads
  br i1 %enough, label %out, label %start
start:
  %offset = mul i64 %size, {mailbox}
  %box = getelementptr i8, ptr %state, i64 %offset
  %state.p = getelementptr i64, ptr %box, i64 7
  %handle.p = getelementptr i64, ptr %box, i64 8
  store ptr %state, ptr %state.p
  %refused = call i32 @pthread_create(ptr %handle.p, ptr null, ptr @gradloom_worker, ptr %box)
  %fine = icmp eq i32 %refused, 0
  br i1 %fine, label %started, label %out
started:
  store i64 %size, ptr %working.p
  br label %count
out:
  %r = call i32 @pthread_sigmask(i32 2, ptr %before, ptr null)
  ret i64 %size
}}

; End the workers. The caller has the team.
define void @gradloom_stop(ptr %state) nounwind {{
entry:
  %working.p = getelementptr i8, ptr %state, i64 {working}
  br label %count
count:
  %tid = load i64, ptr %working.p
  %none = icmp eq i64 %tid, 0
  br i1 %none, label %out, label %end
end:
  call void @gradloom_post(
    ptr %state, i64 %tid, ptr null, ptr null, ptr null, ptr null, i64 0)
  %offset = mul i64 %tid, {mailbox}
  %box = getelementptr i8, ptr %state, i64 %offset
  %handle.p = getelementptr i64, ptr %box, i64 8
  %handle = load i64, ptr %handle.p
  %j = call i32 @pthread_join(i64 %handle, ptr null)
  %fewer = sub i64 %tid, 1
  store i64 %fewer, ptr %working.p
  br label %count
out:
  ret void
}}

define ptr @gradloom_worker(ptr %box) nounwind {{
entry:
  %asleep.p = getelementptr i64, ptr %box, i64 1
  %program.p = getelementptr i64, ptr %box, i64 2
  %table.p = getelementptr i64, ptr %box, i64 3
  %dims.p = getelementptr i64, ptr %box, i64 4
  %status.p = getelementptr i64, ptr %box, i64 5
  %nth.p = getelementptr i64, ptr %box, i64 6
  %state.p = getelementptr i64, ptr %box, i64 7
  %state = load ptr, ptr %state.p
  %here = ptrtoint ptr %box to i64
  %there = ptrtoint ptr %state to i64
  %distance = sub i64 %here, %there
  %tid = sdiv i64 %distance, {mailbox}
  %pauses.p = getelementptr i8, ptr %state, i64 40
  br label %idle
idle:
  %done = phi i64 [0, %entry], [%letter, %work]
  br label %rested
rested:
  %pauses = load atomic i64, ptr %pauses.p monotonic, align 8
  %spin = shl i64 %pauses, 1
  br label %look
look:
  %n = phi i64 [0, %rested], [%n1, %wait]
  %letter = load atomic i64, ptr %box acquire, align 8
  %new = icmp ne i64 %letter, %done
  br i1 %new, label %read, label %wait
wait:
  %n1 = add i64 %n, 1
  {pause}
  %tired = icmp sgt i64 %n1, %spin
  br i1 %tired, label %sleep, label %look
sleep:
  store atomic i64 1, ptr %asleep.p seq_cst, align 8
  %again = load atomic i64, ptr %box seq_cst, align 8
  %still = icmp eq i64 %again, %done
  br i1 %still, label %park, label %rested
park:
  %word = trunc i64 %done to i32
  %r = call i64 (i64, ...) @syscall(
    i64 {futex}, ptr %box, i32 128, i32 %word, ptr null, ptr null, i32 0)
  br label %awake
awake:
  store atomic i64 0, ptr %asleep.p seq_cst, align 8
  br label %rested
read:
  store atomic i64 0, ptr %asleep.p monotonic, align 8
  %program = load ptr, ptr %program.p
  %table = load ptr, ptr %table.p
  %dims = load ptr, ptr %dims.p
  %status = load ptr, ptr %status.p
  %nth = load i64, ptr %nth.p
  %stop = icmp eq ptr %program, null
  br i1 %stop, label %leave, label %work
work:
  call i64 %program(ptr %table, ptr %dims, ptr %status, ptr %state, i64 %tid, i64 %nth)
  br label %idle
leave:
  ret ptr null
}}

; Wake the first worker without a letter, for a long look.
define void @gradloom_ring(ptr %state) nounwind {{
  %pauses.p = getelementptr i8, ptr %state, i64 40
  store atomic i64 {most}, ptr %pauses.p monotonic, align 8
  %box = getelementptr i8, ptr %state, i64 {mailbox}
  %r = call i64 (i64, ...) @syscall(
    i64 {futex}, ptr %box, i32 129, i32 1, ptr null, ptr null, i32 0)
  ret void
}}

; Put a letter into the mailbox of thread %tid, and ring if its owner sleeps. A null program: stop.
define void @gradloom_post(ptr %state, i64 %tid,
    ptr %program, ptr %table, ptr %dims, ptr %status, i64 %nth) nounwind {{
  %offset = mul i64 %tid, {mailbox}
  %box = getelementptr i8, ptr %state, i64 %offset
  %asleep.p = getelementptr i64, ptr %box, i64 1
  %program.p = getelementptr i64, ptr %box, i64 2
  %table.p = getelementptr i64, ptr %box, i64 3
  %dims.p = getelementptr i64, ptr %box, i64 4
  %status.p = getelementptr i64, ptr %box, i64 5
  %nth.p = getelementptr i64, ptr %box, i64 6
  store ptr %program, ptr %program.p
  store ptr %table, ptr %table.p
  store ptr %dims, ptr %dims.p
  store ptr %status, ptr %status.p
  store i64 %nth, ptr %nth.p
  %old = atomicrmw add ptr %box, i64 1 seq_cst
  %asleep = load atomic i64, ptr %asleep.p seq_cst, align 8
  %ring = icmp ne i64 %asleep, 0
  br i1 %ring, label %wake, label %out
wake:
  %rung.p = getelementptr i8, ptr %state, i64 48
  store atomic i64 1, ptr %rung.p monotonic, align 8
  %pauses.p = getelementptr i8, ptr %state, i64 40
  store atomic i64 {most}, ptr %pauses.p monotonic, align 8
  %r = call i64 (i64, ...) @syscall(
    i64 {futex}, ptr %box, i32 129, i32 1, ptr null, ptr null, i32 0)
  br label %out
out:
  ret void
}}
"""

# Where there are no workers: the same names for one thread.
_SINGLE = """
define i64 @gradloom_barrier_generation(ptr %state, i64 %nth) nounwind {{ ret i64 0 }}
define i1 @gradloom_barrier_arrive(ptr %state, i64 %nth) nounwind {{ ret i1 true }}
define void @gradloom_barrier_release(ptr %state, i64 %word, i64 %nth) nounwind {{ ret void }}
define i64 @gradloom_barrier_wait(ptr %state, i64 %generation) nounwind {{ ret i64 0 }}
define i64 @gradloom_barrier(ptr %state, ptr %status, i64 %nth) nounwind {{
  %word = load i64, ptr %status
  ret i64 %word
}}
define void @gradloom_post(ptr %state, i64 %tid,
    ptr %program, ptr %table, ptr %dims, ptr %status, i64 %nth) nounwind {{
  ret void
}}
define i64 @gradloom_grow(ptr %state, i64 %threads) nounwind {{ ret i64 1 }}
define void @gradloom_ring(ptr %state) nounwind {{ ret void }}
"""


def team_source() -> str:
    """LLVM assembly of everything that programs and the launcher refer to."""
    call = arrays.ARRAYS + RESULTS + CALL
    places = {
        "asleep": MAILBOX + 8,
        "gone": GONE,
        "working": WORKING,
        "answer_other": OTHER,
        "answer_ask": ASK,
        "head": arrays.HEAD,
        "type": arrays.HEAD - 8,
        "data": arrays.DATA,
        "ndim": arrays.NDIM,
        "shape": arrays.SHAPE,
        "dtype": arrays.DTYPE,
        "flags": arrays.FLAGS,
        "weak": arrays.WEAK,
        "as_made": arrays.AS_MADE,
        "length": arrays.LENGTH,
        "items": arrays.ITEMS,
        "list_items": arrays.LIST_ITEMS,
        **{name: place for place, name in enumerate(QUICK)},
        "makers": len(QUICK),
    }
    if not WORKERS:
        return (_SINGLE + call).format(**places)
    declare, pause = _PAUSE[platform.machine()]
    return (_COMMON + _THREADS + call).format(
        **places,
        declare_pause=declare,
        pause=pause,
        futex=_FUTEX,
        mailbox=MAILBOX,
        fewest=FEWEST,
        most=MOST,
        every=EVERY,
        everyone=MAX_THREADS,
    )
