# pyright: basic
"""LLVM in several threads at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from gradloom.runtime import native, tile
from gradloom.tests.processes import run


def text(terms: int) -> str:
    """A function that adds so many numbers it is given."""
    lines = [
        f"  %a{i} = getelementptr i64, ptr %x, i64 {i}\n  %v{i} = load i64, ptr %a{i}\n"
        f"  %s{i + 1} = add i64 %s{i}, %v{i}"
        for i in range(terms)
    ]
    body = "\n".join(["  %s0 = add i64 0, 0", *lines])
    return f"define i64 @sum{terms}(ptr %x) {{\n{body}\n  ret i64 %s{terms}\n}}"


def test_threads_make_what_one_makes() -> None:
    texts = [text(count) for count in range(1, 200, 7)] * 2
    alone = [native.compile_object(one) for one in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(native.compile_object, texts)) == alone


def test_others_may_use_llvm_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = threading.Event()

    def emit(*arguments):
        inside.set()
        try:
            return native_emit(*arguments)
        finally:
            inside.clear()

    native_emit = native._emit
    monkeypatch.setattr(native, "_emit", emit)
    long = tile.source("f32", 16)
    thread = threading.Thread(target=native.compile_object, args=(long, False))
    thread.start()
    inside.wait()
    asked = 0
    while inside.is_set():
        llvm.get_host_cpu_name()
        asked += 1
    thread.join()
    assert asked > 10


def test_wrong_text_is_an_error_and_no_more() -> None:
    before = native.compile_object(text(3))
    for wrong in ("define i64 @f( {", "define i64 @f() { ret i32 0 }"):
        for _ in range(2 * len(native._seats)):
            with pytest.raises(RuntimeError):
                native.compile_object(wrong)
    assert native.compile_object(text(3)) == before


def test_a_fork_while_threads_make_object_code() -> None:
    out = run(
        """
import os, signal, threading, time
from gradloom.runtime import contractions, native, tile
long = tile.source("turn_f32", 16)
made = native.compile_object(long, simplify=False)
done = False
def work():
    while not done:
        native.compile_object(long, simplify=False)
threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads: thread.start()
codes = []
for _ in range(4):
    time.sleep(0.01)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        good = native.compile_object(long, simplify=False) == made
        os._exit(0 if good and contractions.contraction("turn_f32", 16) else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
done = True
for thread in threads: thread.join()
print(codes)
"""
    )
    assert out.strip() == str([0] * 4)


def test_a_fork_while_a_product_waits_for_another(tmp_path: Path) -> None:
    """The product by tables calls the usual one, which must be there before."""
    out = run(
        """
import os, signal, threading
from gradloom.runtime import contractions, native
lanes = native.host().lanes
signal.alarm(60)
found = []
threads = [
    threading.Thread(target=lambda: found.append(contractions.contraction("at_i32", lanes)))
    for _ in range(3)
]
for thread in threads: thread.start()
codes = []
while any(thread.is_alive() for thread in threads):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if contractions.contraction("at_i32", lanes) else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(set(codes), len(set(found)))
""",
        GRADLOOM_CACHE_DIR=str(tmp_path),
    )
    assert out.strip() == "{0} 1"


def test_an_error_that_is_kept_lets_go_of_the_module() -> None:
    out = run(
        """
import gc
from gradloom.runtime import native
def fail(module):
    raise ValueError("as Ctrl-C might")
def compile():
    try:
        native.compile_object("define void @f() { ret void }", prepare=fail)
    except ValueError as error:
        kept = error  # whose traceback knows this frame: for the garbage collector
for _ in range(5):
    compile()
    gc.collect()
print("well")
"""
    )
    assert out.strip() == "well"


def test_an_interrupt_while_a_fork_waits_takes_no_lock_from_others() -> None:
    out = run(
        """
import os, signal, threading
from gradloom.runtime import contractions, driver, loader, native
lanes = native.host().lanes
contractions.contraction("turn_f32", lanes)
native.compile_object("define void @f() { ret void }")
def strike(_, frame):
    if frame.f_code.co_name == "take" and frame.f_locals["lock"] is lock:
        raise KeyboardInterrupt
    signal.setitimer(signal.ITIMER_REAL, 0.05)  # the fork has not come to this lock
signal.signal(signal.SIGALRM, strike)
ours = [loader._lock, *contractions._locks(), driver._lock, *(seat.lock for seat in native._seats)]
def attempt():
    free = [lock.acquire(blocking=False) for lock in ours]
    for lock, was in zip(ours, free):
        if was: lock.release()
    found.append([n for n, was in enumerate(free) if not was])
for number, lock in enumerate(ours):
    taken, done, found = threading.Event(), threading.Event(), []
    def hold():
        with lock:  # fails if somebody released it
            taken.set()
            done.wait()
    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    child = os.fork()  # Python tells of the interrupt, and forks
    if child == 0: os._exit(0)
    os.waitpid(child, 0)
    other = threading.Thread(target=attempt)
    other.start()
    other.join()
    done.set()
    holder.join()
    assert found == [[number]], (number, found)
print("well")
"""
    )
    assert out.strip() == "well"


def test_an_interrupt_leaves_llvmlite_to_other_threads() -> None:
    out = run(
        """
import os, signal, sys, threading, time
import llvmlite.binding as llvm
from gradloom.runtime import native
native.host()
native.load_object(native.compile_object("define void @f() { ret void }"))
signal.signal(signal.SIGALRM, signal.default_int_handler)
sys.setswitchinterval(0.5)
held, asked = threading.Event(), threading.Event()
def other():
    with llvm.ffi.lib._lock:
        held.set()
        asked.wait()
        time.sleep(0.2)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        pass  # the main thread has the lock by now, and waits for the GIL
holder = threading.Thread(target=other)
holder.start()
held.wait()
try:
    asked.set()
    native.address("f")
    print("not interrupted")
except KeyboardInterrupt:
    pass
holder.join()
later = threading.Thread(target=llvm.get_host_cpu_name, daemon=True)
later.start()
later.join(10)
print("stuck" if later.is_alive() else "well")
"""
    )
    assert out.strip() == "well"


@pytest.mark.skipif(native.host().cpu not in native._PADDED, reason="without the erratum")
def test_branches_are_padded() -> None:
    """LLVM then wants sections to begin where it counts from: read from the object's headers."""
    loop = """define i64 @twice(i64 %n) {
    entry:
      br label %again
    again:
      %m = phi i64 [%n, %entry], [%m2, %again]
      %m2 = mul i64 %m, %m
      %more = icmp slt i64 %m2, 1000
      br i1 %more, label %again, label %out
    out:
      ret i64 %m2
    }"""
    data = native.compile_object(loop)
    assert data[:4] == b"\x7fELF"
    table, size, count = (
        int.from_bytes(data[a:b], "little") for a, b in ((40, 48), (58, 60), (60, 62))
    )
    headers = [data[table + n * size :][:size] for n in range(count)]
    words = [[int.from_bytes(h[n : n + 8], "little") for n in (8, 32, 48)] for h in headers]
    code = [align for flags, length, align in words if flags & 4 and length]
    assert code
    assert all(align % 32 == 0 for align in code)
