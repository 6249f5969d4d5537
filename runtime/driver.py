# pyright: basic
"""Native programs: the steps of one call as one function that every thread of the team runs.

    int64 program(void **table, int64 *dims, int64 *status, void *state, int64 tid, int64 nth)

`table` holds addresses (of kernels, of buffers, of callbacks), `dims` numbers: a step names slots
in them. So the code holds no address, and its object is kept on disk like any other. Every step
ends with a barrier unless it says that it needs none. `status[0]` is zero until something fails;
the program returns it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import native
from .team import Call, default_threads, load, run, the_team

__all__ = [
    "Call",
    "Check",
    "Copy",
    "Host",
    "HostCallback",
    "Launch",
    "Loop",
    "Step",
    "default_threads",
    "native_program",
    "program_source",
    "run",
    "the_team",
]


@dataclass(frozen=True)
class Launch:
    """Call the kernel at `table[function]` with `&table[buffers]`, `&dims[dims]`.

    `barrier=False`: the step after it is split alike, so a thread needs only what it made itself.
    """

    function: int
    buffers: int
    dims: int
    barrier: bool = True


@dataclass(frozen=True)
class Copy:
    """Copy `dims[nbytes]` bytes from `table[source]` to `table[destination]` (not overlapping)."""

    destination: int
    source: int
    nbytes: int


@dataclass(frozen=True)
class Host:
    """Call `int64 table[callback](int64 number)` on the calling thread; stop unless it gives 0."""

    callback: int
    number: int


@dataclass(frozen=True)
class Check:
    """Leave the program if `status[0]` is set."""


@dataclass(frozen=True)
class Loop:
    """Run `body` `dims[count]` times; after each, `table[slot] += dims[stride]` per advance.

    The slots have their first values again after the loop, however it is left.
    """

    count: int
    advances: tuple[tuple[int, int], ...]
    body: tuple[Step, ...]


Step = Launch | Copy | Host | Check | Loop

# The kinds of steps, once a program: `frame` holds the program's arguments. A step is then one
# call, and the code generator has little to do.
_HEAD = """
declare i64 @gradloom_barrier_generation(ptr, i64)
declare i1 @gradloom_barrier_arrive(ptr, i64)
declare i64 @gradloom_barrier_release(ptr, ptr, i64)
declare i64 @gradloom_barrier_wait(ptr, i64)
declare i64 @gradloom_barrier(ptr, ptr, i64)
declare void @gradloom_step_launch(ptr, i64, i64, i64)
declare void @gradloom_step_copy(ptr, i64, i64, i64)
declare void @gradloom_step_host(ptr, i64, i64)
declare void @gradloom_step_advance(ptr, i64, i64, i64)

define i64 @program(ptr %table, ptr %dims, ptr %status, ptr %state, i64 %tid, i64 %nth) nounwind {
entry:
  %frame = alloca [5 x i64]
  %frame1 = getelementptr i64, ptr %frame, i64 1
  %frame2 = getelementptr i64, ptr %frame, i64 2
  %frame3 = getelementptr i64, ptr %frame, i64 3
  %frame4 = getelementptr i64, ptr %frame, i64 4
  store ptr %table, ptr %frame
  store ptr %dims, ptr %frame1
  store ptr %status, ptr %frame2
  store i64 %tid, ptr %frame3
  store i64 %nth, ptr %frame4
  %caller = icmp eq i64 %tid, 0
  br label %begin
begin:
"""


class _Writer:
    """Writes the body: a list of lines, and the label of the block that they are in."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.block = "begin"
        self.count = 0
        self.dirty = False  # whether anything may have run since the last barrier
        self.open = False  # whether the next step must wait for it

    def emit(self, line: str) -> None:
        self.lines.append("  " + line)

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def value(self, expression: str) -> str:
        name = "%" + self.name("v")
        self.emit(f"{name} = {expression}")
        return name

    def begin(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    def only(self, condition: str, stem: str) -> str:
        """Begin a block run where `condition` holds; the label of what comes after it."""
        then, after = self.name(stem), self.name(stem)
        self.emit(f"br i1 {condition}, label %{then}, label %{after}")
        self.begin(then)
        return after

    def close(self, after: str) -> None:
        self.emit(f"br label %{after}")
        self.begin(after)

    def barrier(self) -> str:
        self.dirty = self.open = False
        return self.value("call i64 @gradloom_barrier(ptr %state, ptr %status, i64 %nth)")

    def leave_if(self, word: str, leave: str) -> None:
        stay = self.name("stay")
        bad = self.value(f"icmp ne i64 {word}, 0")
        self.emit(f"br i1 {bad}, label %{leave}, label %{stay}")
        self.begin(stay)

    def steps(self, steps: Sequence[Step], leave: str) -> None:
        for step in steps:
            if isinstance(step, Check):
                self.leave_if(self.barrier(), leave)
                continue
            if self.open or (self.dirty and isinstance(step, Host)):
                self.barrier()
            if isinstance(step, Launch):
                self.call("launch", step.function, step.buffers, step.dims)
                self.dirty, self.open = True, step.barrier
            elif isinstance(step, Copy):
                self.call("copy", step.destination, step.source, step.nbytes)
                self.dirty = self.open = True
            elif isinstance(step, Host):
                after = self.only("%caller", "host")
                self.call("host", step.callback, step.number)
                self.close(after)
                self.leave_if(self.barrier(), leave)
            else:
                self.loop(step, leave)

    def call(self, kind: str, *numbers: int | str) -> None:
        operands = "".join(f", i64 {number}" for number in numbers)
        self.emit(f"call void @gradloom_step_{kind}(ptr %frame{operands})")

    def loop(self, step: Loop, leave: str) -> None:
        head, body, last, waits, after, undo = (
            self.name(stem) for stem in ("loop", "body", "last", "waits", "after", "undo")
        )
        index = "%" + self.name("i")
        following = "%" + self.name("i")
        place = self.value(f"getelementptr i64, ptr %dims, i64 {step.count}")
        count = self.value(f"load i64, ptr {place}")

        def advance(times: str) -> None:
            for slot, stride in step.advances:
                self.call("advance", slot, stride, times)

        before, dirty = self.block, self.dirty
        self.emit(f"br label %{head}")
        self.begin(head)
        closing = self.name("closing")
        self.emit(f"{index} = phi i64 [0, %{before}], [{following}, %{closing}]")
        self.emit(
            f"br i1 {self.value(f'icmp slt i64 {index}, {count}')}, label %{body}, label %{after}"
        )
        self.begin(body)
        self.steps(step.body, undo)
        # The last thread to arrive moves the slots on (or back), while the others wait.
        self.emit(f"{following} = add i64 {index}, 1")
        generation = self.value("call i64 @gradloom_barrier_generation(ptr %state, i64 %nth)")
        arrived = self.value("call i1 @gradloom_barrier_arrive(ptr %state, i64 %nth)")
        self.emit(f"br i1 {arrived}, label %{last}, label %{waits}")
        self.begin(last)
        more = self.value(f"icmp slt i64 {following}, {count}")
        back = self.value(f"sub i64 0, {index}")
        advance(self.value(f"select i1 {more}, i64 1, i64 {back}"))
        self.value("call i64 @gradloom_barrier_release(ptr %state, ptr %status, i64 %nth)")
        self.emit(f"br label %{closing}")
        self.begin(waits)
        self.value(f"call i64 @gradloom_barrier_wait(ptr %state, i64 {generation})")
        self.emit(f"br label %{closing}")
        self.begin(closing)
        self.emit(f"br label %{head}")
        # Left in the middle, behind a barrier: nobody reads the table any more.
        self.begin(undo)
        restored = self.only("%caller", "restore")
        advance(self.value(f"sub i64 0, {index}"))
        self.close(restored)
        self.emit(f"br label %{leave}")
        self.begin(after)
        self.dirty, self.open = dirty, False  # there may have been no trip at all


def program_source(steps: Sequence[Step]) -> str:
    """LLVM assembly of the program, under the name `program`."""
    writer = _Writer()
    writer.steps(steps, "leave")
    writer.emit("br label %leave")
    writer.begin("leave")
    # Behind this the caller may free everything and begin another program. However the program is
    # left, and though nothing may have run since a barrier before: there a thread was told whether
    # to go on, and that word must stand until the last one has read it.
    writer.barrier()
    after = writer.only("%caller", "caller")
    writer.emit(f"ret i64 {writer.value('load i64, ptr %status')}")
    writer.begin(after)
    writer.emit("ret i64 0")
    return _HEAD + "\n".join(writer.lines) + "\n}\n"


_lock = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child must not find it held by a thread it has not
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
_programs: dict[str, int] = {}


def native_program(steps: Sequence[Step]) -> int:
    """The address of the function that runs `steps`; equal steps are one function, kept on disk."""
    text = program_source(steps)
    digest = hashlib.sha256(f"{native.host().identity} {text}".encode()).hexdigest()
    with _lock:
        where = _programs.get(digest)
        if where is None:
            load()
            symbol = f"gradloom_program_{digest[:32]}"
            data, _ = native.cached_object(
                "program-" + digest,
                lambda: native.compile_object(text.replace("@program(", f"@{symbol}("), level=0),
            )
            native.load_object(data)
            where = _programs[digest] = native.address(symbol)
        return where


class HostCallback:
    """A Python function of the step's number as a native callback, `address`.

    What it raises stops the program with status `RAISED` and waits in `take_error`.
    """

    RAISED = -2

    def __init__(self, function: Callable[[int], int | None]) -> None:
        errors: dict[int, BaseException] = {}

        def call(number: int) -> int:
            try:
                return int(function(number) or 0)
            except BaseException as error:
                errors[threading.get_ident()] = error
                return self.RAISED

        self._errors = errors
        self._pointer = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(call)
        self.address: int = ctypes.cast(self._pointer, ctypes.c_void_p).value or 0

    def take_error(self) -> BaseException | None:
        """What the function raised in this thread's last run; None if nothing."""
        return self._errors.pop(threading.get_ident(), None)
