"""What the steps of a native program do, in LLVM assembly; programs are calls of these.

`frame` holds the program's arguments: table, dims, status, tid, nth; and the second in which the
host was last asked.
"""

import sys

_TIME = "_time64" if sys.platform == "win32" else "time"  # whole seconds: some nanoseconds a call

STEPS = """
declare i64 @TIME(ptr)
declare ptr @PyGILState_GetThisThreadState()
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal void @fail(ptr %status, i64 %code) nounwind {
  %now = load i64, ptr %status
  %clean = icmp eq i64 %now, 0
  br i1 %clean, label %set, label %out
set:
  store i64 %code, ptr %status
  br label %out
out:
  ret void
}

; 0 and -2 ("None") are Numba's ways to return; anything else is an exception.
define void @gradloom_step_launch(ptr %frame, i64 %function, i64 %buffers, i64 %dims) nounwind {
  %result = alloca ptr
  %exception = alloca ptr
  %table.a = load ptr, ptr %frame
  %dims.p = getelementptr i64, ptr %frame, i64 1
  %dims.a = load ptr, ptr %dims.p
  %status.p = getelementptr i64, ptr %frame, i64 2
  %status = load ptr, ptr %status.p
  %tid.p = getelementptr i64, ptr %frame, i64 3
  %tid = load i64, ptr %tid.p
  %nth.p = getelementptr i64, ptr %frame, i64 4
  %nth = load i64, ptr %nth.p
  %f.p = getelementptr ptr, ptr %table.a, i64 %function
  %f = load ptr, ptr %f.p
  %b = getelementptr i64, ptr %table.a, i64 %buffers
  %d = getelementptr i64, ptr %dims.a, i64 %dims
  %code = call i32 %f(ptr %result, ptr %exception, ptr %b, ptr %d, ptr %status, i64 %tid, i64 %nth)
  switch i32 %code, label %bad [i32 0, label %good i32 -2, label %good]
bad:
  call void @fail(ptr %status, i64 -1)
  ret void
good:
  ret void
}

; Each thread copies its share, cut at cache lines.
define void @gradloom_step_copy(ptr %frame, i64 %destination, i64 %source, i64 %nbytes) nounwind {
  %table = load ptr, ptr %frame
  %dims.p = getelementptr i64, ptr %frame, i64 1
  %dims = load ptr, ptr %dims.p
  %tid.p = getelementptr i64, ptr %frame, i64 3
  %tid = load i64, ptr %tid.p
  %nth.p = getelementptr i64, ptr %frame, i64 4
  %nth = load i64, ptr %nth.p
  %to.p = getelementptr ptr, ptr %table, i64 %destination
  %to = load ptr, ptr %to.p
  %from.p = getelementptr ptr, ptr %table, i64 %source
  %from = load ptr, ptr %from.p
  %total.p = getelementptr i64, ptr %dims, i64 %nbytes
  %total = load i64, ptr %total.p
  %rounded = add i64 %total, 63
  %lines = ashr i64 %rounded, 6
  %next = add i64 %tid, 1
  %low.1 = mul i64 %lines, %tid
  %low.2 = sdiv i64 %low.1, %nth
  %low = shl i64 %low.2, 6
  %high.1 = mul i64 %lines, %next
  %high.2 = sdiv i64 %high.1, %nth
  %high.3 = shl i64 %high.2, 6
  %within = icmp slt i64 %high.3, %total
  %high = select i1 %within, i64 %high.3, i64 %total
  %any = icmp slt i64 %low, %high
  br i1 %any, label %copy, label %out
copy:
  %length = sub i64 %high, %low
  %to.here = getelementptr i8, ptr %to, i64 %low
  %from.here = getelementptr i8, ptr %from, i64 %low
  call void @llvm.memcpy.p0.p0.i64(ptr %to.here, ptr %from.here, i64 %length, i1 false)
  br label %out
out:
  ret void
}

; What a callback gives that has failed in Python is whatever stood there, perhaps what another gave
; before.  So each is asked with another number in the upper half of its own, and succeeded if it
; gives that with all bits turned.  -2 is `HostCallback.RAISED`.
; A daemon's call may outlive Python by what the process takes to end.  No thread is known to Python
; then, and who asks it all the same makes the process crash: the call ends there.
@asked = internal global i64 0

define void @gradloom_step_host(ptr %frame, i64 %callback, i64 %number) nounwind {
  %table = load ptr, ptr %frame
  %status.p = getelementptr i64, ptr %frame, i64 2
  %status = load ptr, ptr %status.p
  %f.p = getelementptr ptr, ptr %table, i64 %callback
  %f = load ptr, ptr %f.p
  %known = call ptr @PyGILState_GetThisThreadState()
  %over = icmp eq ptr %known, null
  br i1 %over, label %bad, label %ask
ask:
  %ticket = atomicrmw add ptr @asked, i64 4294967296 monotonic
  %low = and i64 %number, 4294967295
  %word = or i64 %ticket, %low
  %answer = call i64 %f(i64 %word)
  %turned = xor i64 %answer, -1
  %good = icmp eq i64 %turned, %word
  br i1 %good, label %out, label %bad
bad:
  call void @fail(ptr %status, i64 -2)
  br label %out
out:
  ret void
}

; table[slot] += dims[stride] * times
define void @gradloom_step_advance(ptr %frame, i64 %slot, i64 %stride, i64 %times) nounwind {
  %table = load ptr, ptr %frame
  %dims.p = getelementptr i64, ptr %frame, i64 1
  %dims = load ptr, ptr %dims.p
  %place = getelementptr i64, ptr %table, i64 %slot
  %old = load i64, ptr %place
  %stride.p = getelementptr i64, ptr %dims, i64 %stride
  %bytes = load i64, ptr %stride.p
  %by = mul i64 %bytes, %times
  %new = add i64 %old, %by
  store i64 %new, ptr %place
  ret void
}

; Ask the host about once a second whether to go on.
define void @gradloom_step_look(ptr %frame, i64 %callback) nounwind {
  %last.p = getelementptr i64, ptr %frame, i64 5
  %last = load i64, ptr %last.p
  %now = call i64 @TIME(ptr null)
  %same = icmp eq i64 %now, %last
  br i1 %same, label %out, label %later
later:
  store i64 %now, ptr %last.p
  %first = icmp eq i64 %last, 0
  br i1 %first, label %out, label %ask
ask:
  call void @gradloom_step_host(ptr %frame, i64 %callback, i64 -1)
  br label %out
out:
  ret void
}
""".replace("@TIME", "@" + _TIME)
