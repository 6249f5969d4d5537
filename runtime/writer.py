# pyright: basic
"""Writes a native program: its steps as one LLVM function that every thread of the team runs.

Every step stands behind a barrier, if anything ran since the last one; a launch or a copy where a
number that it names says so. `status[0]` is zero until something fails; the program returns it.

What the program asks its own data, a flag, an index or a limit, one thread reads for all: the last
to arrive at a barrier, which hands the word over as it releases the others. If each read for
itself, a slow one could find what a quick one wrote there since. The place of that word is written
again only by the last to arrive at the next barrier, when all have read it. In the same way the
last to arrive moves the windows of a loop, while nobody looks at the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .instructions import Branch, Break, Check, Copy, Host, Launch, Loop, Step, Timed, Turns

# The kinds of steps, once a program: `frame` holds the program's arguments. A step is then one
# call, and the code generator has little to do.
_HEAD = """
declare i64 @gradloom_barrier_generation(ptr, i64)
declare i1 @gradloom_barrier_arrive(ptr, i64)
declare void @gradloom_barrier_release(ptr, i64, i64)
declare i64 @gradloom_barrier_wait(ptr, i64)
declare i64 @gradloom_barrier(ptr, ptr, i64)
declare void @gradloom_step_launch(ptr, i64, i64, i64)
declare void @gradloom_step_copy(ptr, i64, i64, i64)
declare void @gradloom_step_host(ptr, i64, i64)
declare void @gradloom_step_advance(ptr, i64, i64, i64)
declare void @gradloom_step_look(ptr, i64)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)

define i64 @program(ptr %table, ptr %dims, ptr %status, ptr %state, i64 %tid, i64 %nth) nounwind {
entry:
  %frame = alloca [6 x i64]
  %frame1 = getelementptr i64, ptr %frame, i64 1
  %frame2 = getelementptr i64, ptr %frame, i64 2
  %frame3 = getelementptr i64, ptr %frame, i64 3
  %frame4 = getelementptr i64, ptr %frame, i64 4
  %frame5 = getelementptr i64, ptr %frame, i64 5
  store ptr %table, ptr %frame
  store ptr %dims, ptr %frame1
  store ptr %status, ptr %frame2
  store i64 %tid, ptr %frame3
  store i64 %nth, ptr %frame4
  store i64 0, ptr %frame5
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
        self.dirty = False
        return self.value("call i64 @gradloom_barrier(ptr %state, ptr %status, i64 %nth)")

    def hand_over(self, alone: Callable[[], str]) -> str:
        """A barrier whose last thread runs what `alone` writes; the word that this gives, to all.

        The others wait meanwhile.
        """
        last, waits, after = self.name("last"), self.name("waits"), self.name("after")
        generation = self.value("call i64 @gradloom_barrier_generation(ptr %state, i64 %nth)")
        arrived = self.value("call i1 @gradloom_barrier_arrive(ptr %state, i64 %nth)")
        self.emit(f"br i1 {arrived}, label %{last}, label %{waits}")
        self.begin(last)
        word = alone()
        self.emit(f"call void @gradloom_barrier_release(ptr %state, i64 {word}, i64 %nth)")
        origin = self.block
        self.emit(f"br label %{after}")
        self.begin(waits)
        seen = self.value(f"call i64 @gradloom_barrier_wait(ptr %state, i64 {generation})")
        self.close(after)
        self.dirty = False
        return self.value(f"phi i64 [{word}, %{origin}], [{seen}, %{waits}]")

    def leave_if(self, condition: str, leave: str) -> None:
        stay = self.name("stay")
        self.emit(f"br i1 {condition}, label %{leave}, label %{stay}")
        self.begin(stay)

    def leave_if_set(self, status: str, leave: str) -> None:
        self.leave_if(self.value(f"icmp ne i64 {status}, 0"), leave)

    def load(self, kind: str, slot: int) -> str:
        """What lies at `table[slot]`."""
        place = self.value(f"getelementptr ptr, ptr %table, i64 {slot}")
        address = self.value(f"load ptr, ptr {place}")
        return self.value(f"load {kind}, ptr {address}")

    def unless_failed(self, word: str) -> str:
        """`word`, but -1 where something failed so far."""
        status = self.value("load i64, ptr %status")
        failed = self.value(f"icmp ne i64 {status}, 0")
        return self.value(f"select i1 {failed}, i64 -1, i64 {word}")

    def between(self, low: str, word: str, high: str) -> str:
        word = self.value(f"call i64 @llvm.smin.i64(i64 {word}, i64 {high})")
        return self.value(f"call i64 @llvm.smax.i64(i64 {word}, i64 {low})")

    def call(self, kind: str, *numbers: int | str) -> None:
        operands = "".join(f", i64 {number}" for number in numbers)
        self.emit(f"call void @gradloom_step_{kind}(ptr %frame{operands})")

    def advance(self, moves: Sequence[tuple[int, int]], times: str) -> None:
        for slot, stride in moves:
            self.call("advance", slot, stride, times)

    def steps(self, steps: Sequence[Step], leave: str) -> None:
        for step in steps:
            self.step(step, leave)

    def step(self, step: Step, leave: str) -> None:
        if isinstance(step, Check):
            self.leave_if_set(self.barrier(), leave)
            return
        if isinstance(step, Branch):
            self.branch(step, leave)
            return
        if isinstance(step, Timed):
            self.timed(step, leave)
            return
        if isinstance(step, Turns):
            self.turns(step)
            return
        if self.dirty:
            self.wait(step.wait if isinstance(step, (Launch, Copy)) else None)
        if isinstance(step, Launch):
            self.call("launch", step.function, step.buffers, step.dims)
            self.dirty = True
        elif isinstance(step, Copy):
            self.call("copy", step.destination, step.source, step.nbytes)
            self.dirty = True
        elif isinstance(step, Host):
            after = self.only("%caller", "host")
            self.call("host", step.callback, step.number)
            self.close(after)
            self.leave_if_set(self.barrier(), leave)
        elif isinstance(step, Loop):
            _LoopWriter(self, step, leave).write()
        else:
            raise ValueError("a Break stands at the top level of a loop's body")

    def turns(self, step: Turns) -> None:
        """The two launches for each part of this thread's own."""
        first, then = step.steps
        if self.dirty:
            self.wait(first.wait)
        place = self.value(f"getelementptr i64, ptr %dims, i64 {step.parts}")
        number = self.value(f"load i64, ptr {place}")
        parts = self.value(f"call i64 @llvm.smax.i64(i64 {number}, i64 %nth)")
        low = self.value(f"mul i64 {parts}, %tid")
        part = self.value(f"sdiv i64 {low}, %nth")
        high = self.value(f"sdiv i64 {self.value(f'add i64 {low}, {parts}')}, %nth")
        self.emit(f"store i64 {parts}, ptr %frame4")
        before, body, after = self.block, self.name("turn"), self.name("after")
        index, following = "%" + self.name("i"), "%" + self.name("i")
        self.emit(f"br label %{body}")
        self.begin(body)
        came = self.name("came")
        self.emit(f"{index} = phi i64 [{part}, %{before}], [{following}, %{came}]")
        self.emit(f"store i64 {index}, ptr %frame3")
        self.call("launch", first.function, first.buffers, first.dims)
        self.wait(then.wait)
        self.call("launch", then.function, then.buffers, then.dims)
        self.emit(f"{following} = add i64 {index}, 1")
        more = self.value(f"icmp slt i64 {following}, {high}")
        self.emit(f"br label %{came}")
        self.begin(came)
        self.emit(f"br i1 {more}, label %{body}, label %{after}")
        self.begin(after)
        self.emit("store i64 %tid, ptr %frame3")
        self.emit("store i64 %nth, ptr %frame4")
        self.dirty = True

    def timed(self, step: Timed, leave: str) -> None:
        """The step, from when all threads are done with what is before it until the last is."""
        if self.dirty:
            self.barrier()
        self.stamp(step, -1)
        self.step(step.step, leave)
        if self.dirty:
            self.barrier()
        self.stamp(step, 1)

    def stamp(self, step: Timed, sign: int) -> None:
        """Let the calling thread add the time, which it subtracted before."""
        after = self.only("%caller", "stamp")
        place = self.value(f"getelementptr ptr, ptr %table, i64 {step.stamps}")
        stamps = self.value(f"load ptr, ptr {place}")
        self.emit(f"call void @gradloom_stamp(ptr {stamps}, i64 {step.number}, i64 {sign})")
        self.close(after)

    def wait(self, slot: int | None) -> None:
        """A barrier; where there is a slot, only if the number in it is not 0."""
        if slot is None:
            self.barrier()
            return
        place = self.value(f"getelementptr i64, ptr %dims, i64 {slot}")
        number = self.value(f"load i64, ptr {place}")
        after = self.only(self.value(f"icmp ne i64 {number}, 0"), "wait")
        self.barrier()
        self.close(after)

    def branch(self, step: Branch, leave: str) -> None:
        def choose() -> str:
            index = self.load("i64", step.index)
            return self.unless_failed(self.between("0", index, str(len(step.bodies) - 1)))

        chosen = self.hand_over(choose)
        ways = [self.name("way") for _ in step.bodies]
        table = " ".join(f"i64 {number}, label %{way}" for number, way in enumerate(ways))
        self.emit(f"switch i64 {chosen}, label %{leave} [{table}]")
        join = self.name("join")
        dirty = False
        for way, body in zip(ways, step.bodies, strict=True):
            self.begin(way)
            self.dirty = False
            self.steps(body, leave)
            dirty = dirty or self.dirty
            self.emit(f"br label %{join}")
        self.begin(join)
        self.dirty = dirty


class _LoopWriter:
    """Writes one loop.  index: steps taken; count: how many at most; skipped: those left out."""

    def __init__(self, writer: _Writer, step: Loop, leave: str) -> None:
        self.writer, self.step, self.leave = writer, step, leave
        place = writer.value(f"getelementptr i64, ptr %dims, i64 {step.count}")
        self.count = writer.value(f"load i64, ptr {place}")
        self.skipped = "0"
        self.index = "%" + writer.name("i")
        self.after = writer.name("after")

    def write(self) -> None:
        writer, index = self.writer, self.index
        if self.step.limit is not None:
            self.limit()
        head, body, undo = (writer.name(stem) for stem in ("loop", "body", "undo"))
        closing, following = writer.name("closing"), "%" + writer.name("i")
        before = writer.block
        writer.emit(f"br label %{head}")
        writer.begin(head)
        writer.emit(f"{index} = phi i64 [0, %{before}], [{following}, %{closing}]")
        more = writer.value(f"icmp slt i64 {index}, {self.count}")
        writer.emit(f"br i1 {more}, label %{body}, label %{self.after}")
        writer.begin(body)
        for step in self.step.body:
            if isinstance(step, Break):
                self.break_unless(step.flag)
            else:
                writer.step(step, undo)
        if self.step.look is not None:
            after = writer.only("%caller", "look")
            writer.call("look", self.step.look)
            writer.close(after)
        writer.emit(f"{following} = add i64 {index}, 1")
        status = writer.hand_over(lambda: self.move_on(following))
        writer.leave_if_set(status, self.leave)
        writer.emit(f"br label %{closing}")
        writer.begin(closing)
        writer.emit(f"br label %{head}")
        # Left in the middle, behind a barrier: nobody reads the table any more.
        writer.begin(undo)
        restored = writer.only("%caller", "restore")
        self.restore()
        writer.close(restored)
        writer.emit(f"br label %{self.leave}")
        writer.begin(self.after)
        writer.dirty = False
        if self.step.steps is not None:
            place = writer.value(f"getelementptr ptr, ptr %table, i64 {self.step.steps}")
            address = writer.value(f"load ptr, ptr {place}")
            stored = writer.only("%caller", "taken")
            writer.emit(f"store i64 {index}, ptr {address}")
            writer.close(stored)
            writer.dirty = True

    def limit(self) -> None:
        """Read the limit; make `count` of it, and move the windows past what it leaves out."""
        writer, step = self.writer, self.step
        assert step.limit is not None
        slot, trips = step.limit, self.count

        def skipped(count: str) -> str:  # nothing moves where there is no step to undo it
            some = writer.value(f"icmp sgt i64 {count}, 0")
            left_out = writer.value(f"sub i64 {trips}, {count}")
            return writer.value(f"select i1 {some}, i64 {left_out}, i64 0")

        def begin() -> str:
            limited = writer.between("0", writer.load("i64", slot), trips)
            count = writer.unless_failed(limited)
            if step.skips:
                writer.advance(step.skips, skipped(count))
            return count

        self.count = writer.hand_over(begin)
        writer.leave_if(writer.value(f"icmp slt i64 {self.count}, 0"), self.leave)
        if step.skips:
            self.skipped = skipped(self.count)

    def restore(self) -> None:
        """The slots as they were before the loop."""
        writer = self.writer
        writer.advance(self.step.advances, writer.value(f"sub i64 0, {self.index}"))
        writer.advance(self.step.skips, writer.value(f"sub i64 0, {self.skipped}"))

    def break_unless(self, flag: int) -> None:
        writer = self.writer

        def ask() -> str:
            byte = writer.load("i8", flag)
            holds = writer.value(f"icmp ne i8 {byte}, 0")
            word = writer.unless_failed(writer.value(f"zext i1 {holds} to i64"))
            if self.step.advances or self.step.skips:
                ends = writer.value(f"icmp ne i64 {word}, 1")
                after = writer.only(ends, "ends")
                self.restore()
                writer.close(after)
            return word

        word, stay = writer.hand_over(ask), writer.name("stay")
        ways = f"i64 0, label %{self.after} i64 1, label %{stay}"
        writer.emit(f"switch i64 {word}, label %{self.leave} [{ways}]")
        writer.begin(stay)

    def move_on(self, following: str) -> str:
        """Move the windows on, or back behind the last step; the status."""
        writer, step = self.writer, self.step
        status = writer.value("load i64, ptr %status")
        if step.advances or step.skips:
            good = writer.value(f"icmp eq i64 {status}, 0")
            left = writer.value(f"icmp slt i64 {following}, {self.count}")
            more = writer.value(f"and i1 {good}, {left}")
            back = writer.value(f"sub i64 0, {self.index}")
            writer.advance(step.advances, writer.value(f"select i1 {more}, i64 1, i64 {back}"))
            back = writer.value(f"sub i64 0, {self.skipped}")
            writer.advance(step.skips, writer.value(f"select i1 {more}, i64 0, i64 {back}"))
        return status


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
    text = _HEAD + "\n".join(writer.lines) + "\n}\n"
    stamped = "@gradloom_stamp(" in text
    return ("declare void @gradloom_stamp(ptr, i64, i64)\n" if stamped else "") + text
