"""Where a call's results come from, in LLVM assembly.

Small ones that nobody else refers to any more are used again: to make an array takes as long as a
small program.  Those of two calls are kept, since whoever calls in a loop mostly still has the last
one's.  What `launcher.py` calls is `filled`; `QUICK` says what its tuple holds.
"""

RESULTS = """
; Find or make the results; false where Python raised an error.
define internal i1 @filled(ptr %call, ptr %tuple, i64 %results, ptr %list) nounwind {{
  %items.p = getelementptr i8, ptr %list, i64 {list_items}
  %items = load ptr, ptr %items.p
  %kept.p = getelementptr ptr, ptr %tuple, i64 {kept}
  %kept = load ptr, ptr %kept.p
  %none = icmp eq ptr %kept, @gradloom_none
  br i1 %none, label %new, label %first
first:
  %like.p = getelementptr i64, ptr %call, i64 17
  %like = load ptr, ptr %like.p
  %olds.p = getelementptr i8, ptr %kept, i64 {list_items}
  %olds = load ptr, ptr %olds.p
  %one = call i1 @again(ptr %olds, i64 %results, ptr %like, ptr %items)
  br i1 %one, label %yes, label %second
second:
  %others = getelementptr ptr, ptr %olds, i64 %results
  %two = call i1 @again(ptr %others, i64 %results, ptr %like, ptr %items)
  br i1 %two, label %yes, label %new
new:
  %made = call i1 @made(ptr %tuple, i64 %results, ptr %items)
  br i1 %made, label %ask, label %no
ask:
  br i1 %none, label %yes, label %keep
keep:
  %turn.p = getelementptr i64, ptr %call, i64 18
  %turn = load i64, ptr %turn.p
  %turned = sub i64 %results, %turn
  store i64 %turned, ptr %turn.p
  %all.p = getelementptr i8, ptr %kept, i64 {list_items}
  %all = load ptr, ptr %all.p
  %places = getelementptr ptr, ptr %all, i64 %turn
  call void @replace(ptr %places, i64 %results, ptr %items)
  br label %yes
yes:
  ret i1 true
no:
  ret i1 false
}}

; Fill the items with these old results, if all are like results and nobody else refers to them.
define internal i1 @again(ptr %olds, i64 %results, ptr %like, ptr %items) nounwind {{
entry:
  %same = call i1 @alike(ptr %olds, i64 %results, i64 %results, ptr %like)
  br i1 %same, label %next, label %no
next:
  %n = phi i64 [0, %entry], [%n1, %look]
  %more = icmp slt i64 %n, %results
  br i1 %more, label %look, label %take
look:
  %object.p = getelementptr ptr, ptr %olds, i64 %n
  %object = load ptr, ptr %object.p
  %users = load i32, ptr %object
  %flags.p = getelementptr i8, ptr %object, i64 {flags}
  %flags = load i32, ptr %flags.p
  %fresh = and i32 %flags, {as_made}
  %weak.p = getelementptr i8, ptr %object, i64 {weak}
  %weak = load ptr, ptr %weak.p
  %c0 = icmp eq i32 %users, 1
  %c1 = icmp eq i32 %fresh, {as_made}
  %c2 = icmp eq ptr %weak, null
  %c01 = and i1 %c0, %c1
  %nobodys = and i1 %c01, %c2
  %n1 = add i64 %n, 1
  br i1 %nobodys, label %next, label %no
take:
  call void @replace(ptr %items, i64 %results, ptr %olds)
  ret i1 true
no:
  ret i1 false
}}

; Let so many places refer to what the others do.
define internal void @replace(ptr %places, i64 %count, ptr %others) nounwind {{
entry:
  br label %next
next:
  %n = phi i64 [0, %entry], [%n1, %dropped]
  %more = icmp slt i64 %n, %count
  br i1 %more, label %one, label %out
one:
  %new.p = getelementptr ptr, ptr %others, i64 %n
  %new = load ptr, ptr %new.p
  %place = getelementptr ptr, ptr %places, i64 %n
  %old = load ptr, ptr %place
  call void @Py_IncRef(ptr %new)
  store ptr %new, ptr %place
  %n1 = add i64 %n, 1
  %nothing = icmp eq ptr %old, null
  br i1 %nothing, label %dropped, label %drop
drop:
  call void @Py_DecRef(ptr %old)
  br label %dropped
dropped:
  br label %next
out:
  ret void
}}

; Make the results; false where Python raised an error.
define internal i1 @made(ptr %tuple, i64 %results, ptr %items) nounwind {{
entry:
  br label %next
next:
  %n = phi i64 [0, %entry], [%n1, %good]
  %triple = phi ptr [%tuple, %entry], [%triple1, %good]
  %more = icmp slt i64 %n, %results
  br i1 %more, label %make, label %yes
make:
  %maker.p = getelementptr ptr, ptr %triple, i64 {makers}
  %maker = load ptr, ptr %maker.p
  %shape.p = getelementptr ptr, ptr %maker.p, i64 1
  %array = call ptr @PyObject_Vectorcall(ptr %maker, ptr %shape.p, i64 2, ptr null)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %no, label %good
good:
  %place = getelementptr ptr, ptr %items, i64 %n
  store ptr %array, ptr %place
  %n1 = add i64 %n, 1
  %triple1 = getelementptr ptr, ptr %triple, i64 3
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}}
"""
