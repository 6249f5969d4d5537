"""What begins a call, in LLVM assembly: look at the arrays, take the team, post letters, run.

Three functions as Python's own are. `gradloom_enter` is called with a tuple of arrays and a list of
results, and bound to the address of a `Call`'s words (`team.py`):
  program, table, dims, status, state, nth, tiny, times alone, whether to watch the next call,
  moves, how many moves, calls left to make as was found best, whether that is alone,
  how many arrays, what they must be like, whether Python's lock is kept, how many results,
  what these are like, where of the results that are kept those begin that go next
Where an array is not like those that the table was made for, nothing happens and the answer is
`OTHER`; where Python must see to the team, or the call is to be watched, it is `ASK`.

`gradloom_claim` is bound to the address of a status: its third word is whether somebody has what
belongs to it, and who finds it 0 has it from then on. It tells whether that is so.

`gradloom_function` is what a `Function` does when it is called. Its `_last` is a list that begins
with None, or with the tuple of a call (`QUICK`): that is made from beginning to end, and what
`_build` makes of the list of results is the answer. Where anything must be done that was not done
last time, or a check fails, nothing has changed, and the answer is that of its method `_usual`.
"""

# Answers. A program's are 0, numbers of checks, or -1 and -2.
OTHER, ASK = -16, -17

# What the tuple of a call holds: the address of its words, and who keeps that memory; of its
# parameters one (or None), what its lock is called there, that lock, what takes it, whether that
# waits (False), what gives it back; a list of the results of two earlier calls, or None (see
# `results.py`); and for each result three: what makes it, and with what.
QUICK = ("words", "keeper", "shared", "name", "lock", "acquire", "blocking", "release", "kept")

CALL = """
declare ptr @PyLong_AsVoidPtr(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyBool_FromLong(i64)
declare ptr @PyList_New(i64)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare void @PyErr_Clear()
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
@gradloom_none = external global i8
@gradloom_true = external global i8
@gradloom_name_last = external global i8
@gradloom_name_build = external global i8
@gradloom_name_usual = external global i8

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

define internal i64 @call(ptr %call, ptr %tuple, ptr %results) nounwind {{
  %ask = call i1 @asks(ptr %call)
  br i1 %ask, label %python, label %known
python:
  ret i64 {answer_ask}
known:
  %inputs.p = getelementptr i64, ptr %call, i64 13
  %inputs = load i64, ptr %inputs.p
  %words.p = getelementptr i64, ptr %call, i64 14
  %words = load ptr, ptr %words.p
  %bound = icmp eq ptr %words, null
  br i1 %bound, label %begin, label %look
look:
  %args = getelementptr i8, ptr %tuple, i64 {items}
  %length.p = getelementptr i8, ptr %tuple, i64 {length}
  %length = load i64, ptr %length.p
  %good = call i1 @alike(ptr %args, i64 %length, i64 %inputs, ptr %words)
  br i1 %good, label %prepare, label %other
other:
  ret i64 {answer_other}
prepare:
  call void @bind(ptr %call, ptr %args, i64 %inputs, ptr %results)
  br label %begin
begin:
  %result = call i64 @begin(ptr %call)
  ret i64 %result
}}

; Whether Python must see to the team, or watch the call.
define internal i1 @asks(ptr %call) nounwind {{
  %nth.p = getelementptr i64, ptr %call, i64 5
  %nth = load i64, ptr %nth.p
  %several = icmp sgt i64 %nth, 1
  br i1 %several, label %team, label %no
team:
  %watch.p = getelementptr i64, ptr %call, i64 8
  %watch = load i64, ptr %watch.p
  %state.p = getelementptr i64, ptr %call, i64 4
  %state = load ptr, ptr %state.p
  %watched = icmp ne i64 %watch, 0
  %none = icmp eq ptr %state, null
  %either = or i1 %watched, %none
  br i1 %either, label %yes, label %forked
forked:
  %gone.p = getelementptr i8, ptr %state, i64 {gone}
  %gone = load i64, ptr %gone.p
  %stale = icmp ne i64 %gone, 0
  br i1 %stale, label %yes, label %no
yes:
  ret i1 true
no:
  ret i1 false
}}

; Run what is bound, with Python's lock if that is to be kept.
define internal i64 @begin(ptr %call) nounwind {{
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

; Python's lock is held: no thread comes between looking and taking.
define internal i1 @claim(ptr %status) nounwind {{
  %busy.p = getelementptr i64, ptr %status, i64 2
  %busy = load i64, ptr %busy.p
  store i64 1, ptr %busy.p
  %free = icmp eq i64 %busy, 0
  ret i1 %free
}}

define ptr @gradloom_claim(ptr %self, ptr %given, i64 %count) nounwind {{
  %status = call ptr @PyLong_AsVoidPtr(ptr %self)
  %free = call i1 @claim(ptr %status)
  %word = zext i1 %free to i64
  %answer = call ptr @PyBool_FromLong(i64 %word)
  ret ptr %answer
}}

; What a `Function` does when it is called.
define ptr @gradloom_function(ptr %self, ptr %args, i64 %count, ptr %names) nounwind {{
  %given = alloca ptr
  %plain = icmp eq ptr %names, null
  br i1 %plain, label %last, label %usual
last:
  %known = call ptr @PyObject_GetAttr(ptr %self, ptr @gradloom_name_last)
  %lost = icmp eq ptr %known, null
  br i1 %lost, label %out, label %try
try:
  %results = call ptr @quick(ptr %known, ptr %args, i64 %count)
  call void @Py_DecRef(ptr %known)
  %failed = icmp eq ptr %results, null
  br i1 %failed, label %out, label %done
done:
  %refused = icmp eq ptr %results, @gradloom_none
  br i1 %refused, label %usual, label %build
build:
  %builder = call ptr @PyObject_GetAttr(ptr %self, ptr @gradloom_name_build)
  %unable = icmp eq ptr %builder, null
  br i1 %unable, label %drop, label %shape
shape:
  store ptr %results, ptr %given
  %structure = call ptr @PyObject_Vectorcall(ptr %builder, ptr %given, i64 1, ptr null)
  call void @Py_DecRef(ptr %builder)
  br label %drop
drop:
  %built = phi ptr [null, %build], [%structure, %shape]
  call void @Py_DecRef(ptr %results)
  br label %out
usual:
  %way = call ptr @PyObject_GetAttr(ptr %self, ptr @gradloom_name_usual)
  %no.way = icmp eq ptr %way, null
  br i1 %no.way, label %out, label %python
python:
  %said = call ptr @PyObject_Vectorcall(ptr %way, ptr %args, i64 %count, ptr %names)
  call void @Py_DecRef(ptr %way)
  br label %out
out:
  %answer = phi ptr [null, %last], [null, %try], [%built, %drop], [null, %usual], [%said, %python]
  ret ptr %answer
}}

; A call like the last one, from beginning to end, with what the list %last begins with. Whatever
; makes an object may collect garbage, which may run anything and change the arrays: so they are
; looked at once more when nothing else is to be made.
define internal ptr @quick(ptr %last, ptr %args, i64 %count) nounwind {{
  %items.p = getelementptr i8, ptr %last, i64 {list_items}
  %items = load ptr, ptr %items.p
  %known = load ptr, ptr %items
  %nothing = icmp eq ptr %known, @gradloom_none
  br i1 %nothing, label %refuse, label %look
look:
  %tuple = getelementptr i8, ptr %known, i64 {items}
  %words = load ptr, ptr %tuple
  %call = call ptr @PyLong_AsVoidPtr(ptr %words)
  %ask = call i1 @asks(ptr %call)
  br i1 %ask, label %refuse, label %compare
compare:
  %inputs.p = getelementptr i64, ptr %call, i64 13
  %inputs = load i64, ptr %inputs.p
  %like.p = getelementptr i64, ptr %call, i64 14
  %like = load ptr, ptr %like.p
  %same = call i1 @alike(ptr %args, i64 %count, i64 %inputs, ptr %like)
  br i1 %same, label %free, label %refuse
free:
  %status.p = getelementptr i64, ptr %call, i64 3
  %status = load ptr, ptr %status.p
  %mine = call i1 @claim(ptr %status)
  br i1 %mine, label %make, label %refuse
make:
  call void @Py_IncRef(ptr %known)
  %count.p = getelementptr i64, ptr %call, i64 16
  %results = load i64, ptr %count.p
  %list = call ptr @PyList_New(i64 %results)
  %failed = icmp eq ptr %list, null
  br i1 %failed, label %leave, label %fill
fill:
  %good = call i1 @filled(ptr %call, ptr %tuple, i64 %results, ptr %list)
  br i1 %good, label %take, label %drop
take:
  %taken = call i1 @take(ptr %tuple)
  br i1 %taken, label %again, label %other
again:
  %still = call i1 @alike(ptr %args, i64 %count, i64 %inputs, ptr %like)
  br i1 %still, label %go, label %back
back:
  call void @give(ptr %tuple)
  br label %other
go:
  call void @bind(ptr %call, ptr %args, i64 %inputs, ptr %list)
  %result = call i64 @begin(ptr %call)
  call void @give(ptr %tuple)
  %well = icmp eq i64 %result, 0
  br i1 %well, label %leave, label %other
other:
  br label %drop
drop:
  %instead = phi ptr [null, %fill], [@gradloom_none, %other]
  call void @Py_DecRef(ptr %list)
  br label %leave
leave:
  %answer = phi ptr [null, %make], [%list, %go], [%instead, %drop]
  %busy.p = getelementptr i64, ptr %status, i64 2
  store i64 0, ptr %busy.p
  call void @Py_DecRef(ptr %known)
  ret ptr %answer
refuse:
  ret ptr @gradloom_none
}}

; Take the lock of the parameters, if it is free and still theirs.
define internal i1 @take(ptr %tuple) nounwind {{
  %shared.p = getelementptr ptr, ptr %tuple, i64 {shared}
  %shared = load ptr, ptr %shared.p
  %none = icmp eq ptr %shared, @gradloom_none
  br i1 %none, label %yes, label %ask
ask:
  %acquire.p = getelementptr ptr, ptr %tuple, i64 {acquire}
  %acquire = load ptr, ptr %acquire.p
  %blocking.p = getelementptr ptr, ptr %tuple, i64 {blocking}
  %answer = call ptr @PyObject_Vectorcall(ptr %acquire, ptr %blocking.p, i64 1, ptr null)
  %got = icmp eq ptr %answer, @gradloom_true
  call void @Py_DecRef(ptr %answer)
  br i1 %got, label %look, label %no
look:
  %name.p = getelementptr ptr, ptr %tuple, i64 {name}
  %name = load ptr, ptr %name.p
  %theirs = call ptr @PyObject_GetAttr(ptr %shared, ptr %name)
  %lock.p = getelementptr ptr, ptr %tuple, i64 {lock}
  %lock = load ptr, ptr %lock.p
  %same = icmp eq ptr %theirs, %lock
  call void @Py_DecRef(ptr %theirs)
  br i1 %same, label %yes, label %back
back:
  call void @give(ptr %tuple)
  br label %no
yes:
  ret i1 true
no:
  call void @PyErr_Clear()
  ret i1 false
}}

define internal void @give(ptr %tuple) nounwind {{
  %shared.p = getelementptr ptr, ptr %tuple, i64 {shared}
  %shared = load ptr, ptr %shared.p
  %none = icmp eq ptr %shared, @gradloom_none
  br i1 %none, label %out, label %back
back:
  %release.p = getelementptr ptr, ptr %tuple, i64 {release}
  %release = load ptr, ptr %release.p
  %answer = call ptr @PyObject_Vectorcall(ptr %release, ptr null, i64 0, ptr null)
  call void @Py_DecRef(ptr %answer)
  br label %out
out:
  ret void
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
