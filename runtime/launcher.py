"""What begins a call, in LLVM assembly: look at the arrays, take the team, post letters, run.

`gradloom_enter` is a function as Python's own are, called with a tuple of arrays and a list of
results, and bound to the address of a `Call`'s words (`team.py`):
  program, table, dims, status, state, nth, tiny, times alone, whether to watch the next call,
  moves, how many moves, calls left to make as was found best, whether that is alone,
  how many arrays, what they must be like, whether Python's lock is kept
Where an array is not like those that the table was made for, nothing happens and the answer is
`OTHER`; where Python must see to the team, or the call is to be watched, it is `ASK`.
"""

# Answers. A program's are 0, numbers of checks, or -1 and -2.
OTHER, ASK = -16, -17

CALL = """
declare ptr @PyLong_AsVoidPtr(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)

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

define ptr @gradloom_enter(ptr %self, ptr %given, i64 %count) nounwind {{
  %call = call ptr @PyLong_AsVoidPtr(ptr %self)
  %args = load ptr, ptr %given
  %results.p = getelementptr ptr, ptr %given, i64 1
  %results = load ptr, ptr %results.p
  %status = call i64 @call(ptr %call, ptr %args, ptr %results)
  %answer = call ptr @PyLong_FromLongLong(i64 %status)
  ret ptr %answer
}}

define internal i64 @call(ptr %call, ptr %args, ptr %results) nounwind {{
entry:
  %nth.p = getelementptr i64, ptr %call, i64 5
  %nth = load i64, ptr %nth.p
  %several = icmp sgt i64 %nth, 1
  br i1 %several, label %team, label %known
team:
  %watch.p = getelementptr i64, ptr %call, i64 8
  %watch = load i64, ptr %watch.p
  %state.p = getelementptr i64, ptr %call, i64 4
  %state = load ptr, ptr %state.p
  %watched = icmp ne i64 %watch, 0
  %none = icmp eq ptr %state, null
  %either = or i1 %watched, %none
  br i1 %either, label %ask, label %forked
forked:
  %gone.p = getelementptr i8, ptr %state, i64 {gone}
  %gone = load i64, ptr %gone.p
  %stale = icmp ne i64 %gone, 0
  br i1 %stale, label %ask, label %known
ask:
  ret i64 {answer_ask}
known:
  %words.p = getelementptr i64, ptr %call, i64 14
  %words = load ptr, ptr %words.p
  %bound = icmp eq ptr %words, null
  br i1 %bound, label %begin, label %look
look:
  %inputs.p = getelementptr i64, ptr %call, i64 13
  %inputs = load i64, ptr %inputs.p
  %good = call i1 @alike(ptr %args, i64 %inputs, ptr %words)
  br i1 %good, label %prepare, label %other
other:
  ret i64 {answer_other}
prepare:
  call void @bind(ptr %call, ptr %args, i64 %inputs, ptr %results)
  br label %begin
begin:
  %keeps.p = getelementptr i64, ptr %call, i64 15
  %keeps = load i64, ptr %keeps.p
  %short = icmp ne i64 %keeps, 0
  br i1 %short, label %locked, label %unlocked
locked:
  %soon = call i64 @run(ptr %call)
  ret i64 %soon
unlocked:
  %thread = call ptr @PyEval_SaveThread()
  %result = call i64 @run(ptr %call)
  call void @PyEval_RestoreThread(ptr %thread)
  ret i64 %result
}}

; A tiny call is not worth waking a sleeping worker for; but where such calls keep coming, it is
; woken now and then to see whether it can help. The next call is to be watched (see `Pace`) where
; a thread slept at a barrier, or when what was found best was done long enough.
define internal i64 @run(ptr %call) nounwind {{
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
  %watch.p = getelementptr i64, ptr %call, i64 8
  %left.p = getelementptr i64, ptr %call, i64 11
  %left = load i64, ptr %left.p
  %settled = icmp sgt i64 %left, 0
  br i1 %settled, label %follow, label %ready
follow:
  %less = sub i64 %left, 1
  store i64 %less, ptr %left.p
  %ends = icmp eq i64 %less, 0
  %watch = zext i1 %ends to i64
  store i64 %watch, ptr %watch.p
  %best.p = getelementptr i64, ptr %call, i64 12
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
