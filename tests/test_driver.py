# pyright: basic
"""Native programs and the team that runs them."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from gradloom.ir.errors import ArgumentError
from gradloom.runtime import driver, native
from gradloom.runtime.driver import Call, Check, Copy, Host, HostCallback, Launch, Loop
from gradloom.runtime.team import MAX_THREADS, Team, load

# Kernels in the convention of Numba's, each with one buffer p = buffers[0] of int64.
KERNELS = """
; p[tid] += dims[0]
define i32 @test_add(ptr %r, ptr %e, ptr %b, ptr %d, ptr %s, i64 %tid, i64 %nth) {
  %p = load ptr, ptr %b
  %q = getelementptr i64, ptr %p, i64 %tid
  %v = load i64, ptr %q
  %x = load i64, ptr %d
  %w = add i64 %v, %x
  store i64 %w, ptr %q
  ret i32 0
}
; thread 0 sums what all left: p[64] = 3 * p[64] + p[0] + ... + p[nth - 1], and p[.] = p[64]
define i32 @test_mix(ptr %r, ptr %e, ptr %b, ptr %d, ptr %s, i64 %tid, i64 %nth) {
entry:
  %p = load ptr, ptr %b
  %first = icmp eq i64 %tid, 0
  br i1 %first, label %go, label %out
go:
  %t = getelementptr i64, ptr %p, i64 64
  %old = load i64, ptr %t
  %three = mul i64 %old, 3
  br label %loop
loop:
  %i = phi i64 [0, %go], [%i1, %loop]
  %sum = phi i64 [%three, %go], [%sum1, %loop]
  %q = getelementptr i64, ptr %p, i64 %i
  %v = load i64, ptr %q
  %sum1 = add i64 %sum, %v
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %nth
  br i1 %more, label %loop, label %end
end:
  store i64 %sum1, ptr %t
  ret i32 0
out:
  ret i32 -2
}
; thread dims[0] reports dims[1]
define i32 @test_fail(ptr %r, ptr %e, ptr %b, ptr %d, ptr %s, i64 %tid, i64 %nth) {
  %who = load i64, ptr %d
  %me = icmp eq i64 %who, %tid
  br i1 %me, label %bad, label %good
bad:
  %site.p = getelementptr i64, ptr %d, i64 1
  %site = load i64, ptr %site.p
  store i64 %site, ptr %s
  ret i32 0
good:
  ret i32 0
}
define i32 @test_raise(ptr %r, ptr %e, ptr %b, ptr %d, ptr %s, i64 %tid, i64 %nth) {
  ret i32 1
}
"""


@pytest.fixture(scope="module")
def kernels():
    native.load_object(native.compile_object(KERNELS))
    return {name: native.address(f"test_{name}") for name in ("add", "mix", "fail", "raise")}


class Memory:
    """Table, dims and status as a caller would own them."""

    def __init__(self, table, dims):
        self.table = np.array(table, np.int64)
        self.dims = np.array(dims, np.int64)
        self.status = np.zeros(2, np.int64)

    def call(self, steps, **options):
        addresses = (self.table.ctypes.data, self.dims.ctypes.data, self.status.ctypes.data)
        return Call(driver.native_program(steps), *addresses, **{"paced": False, **options})


THREADS = pytest.mark.parametrize("threads", [1, 2, 3])


@THREADS
def test_launches_in_order(kernels, threads):
    """Each thread adds, the first mixes: wrong without a barrier on either side."""
    data = np.zeros(65, np.int64)
    memory = Memory([kernels["add"], kernels["mix"], data.ctypes.data], [5, 1])
    steps = [Launch(0, 2, 0), Launch(1, 2, 0), Launch(0, 2, 1), Launch(1, 2, 0)] * 3
    call = memory.call(steps)
    expected, own = 0, 0
    for _ in range(200):
        assert call(threads) == 0
        for add in (5, 1) * 3:
            own += add
            expected = (3 * expected + threads * own) & (2**64 - 1)
    assert int(data[64]) & (2**64 - 1) == expected
    assert (data[:threads] == own).all()


@THREADS
def test_an_empty_program(threads):
    memory = Memory([0], [0])
    assert memory.call([])(threads) == 0
    memory.status[0] = 9
    assert memory.call([])(threads) == 9


@THREADS
@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65, 1000, 4096, 100_003])
def test_copy(threads, nbytes):
    source = np.random.default_rng(0).integers(0, 256, nbytes + 64, np.uint8)
    target = np.full(nbytes + 64, 7, np.uint8)
    memory = Memory([source.ctypes.data, target.ctypes.data], [nbytes])
    assert memory.call([Copy(1, 0, 0)])(threads) == 0
    np.testing.assert_array_equal(target[:nbytes], source[:nbytes])
    assert (target[nbytes:] == 7).all()


@THREADS
@pytest.mark.parametrize("outer, inner", [(0, 3), (1, 1), (3, 0), (4, 5), (-2, 3)])
def test_nested_loops_walk_and_restore(kernels, threads, outer, inner):
    rows, cols = max(outer, 0), max(inner, 0)
    data = np.zeros((6, 6, 8), np.int64)
    other = np.zeros(8, np.int64)
    first = [kernels["add"], data.ctypes.data, other.ctypes.data]
    # dims: add, outer, inner, bytes of a cell, bytes of a row less the inner walk (which is
    # restored)
    memory = Memory(first, [2, outer, inner, data.strides[1], data.strides[0]])
    steps = [
        Loop(
            1,
            ((1, 4),),
            (Loop(2, ((1, 3),), (Launch(0, 1, 0), Check())), Launch(0, 2, 0)),
        ),
        Launch(0, 2, 0),
    ]
    call = memory.call(steps)
    for _ in range(5):
        assert call(threads) == 0
        assert memory.table.tolist() == first
    assert (data[:rows, :cols, :threads] == 10).all()
    assert data.sum() == 10 * rows * cols * threads
    assert (other[:threads] == 10 * (rows + 1)).all()


@pytest.mark.parametrize("threads, who", [(1, 0), (2, 0), (2, 1), (3, 2)])
def test_check_leaves_together_and_restores(kernels, threads, who):
    data = np.zeros(65, np.int64)
    first = [kernels["add"], kernels["fail"], data.ctypes.data]
    # dims: who, site, trips, bytes, amount
    memory = Memory(first, [who, 42, 3, 16, 1])
    fails = Loop(2, ((2, 3),), (Launch(0, 2, 4), Loop(2, ((2, 3),), (Launch(1, 2, 0), Check()))))
    call = memory.call([fails, Launch(0, 2, 4)])
    for _ in range(20):
        memory.status[:] = 0
        assert call(threads) == 42
        assert memory.table.tolist() == first
    assert data[0] == 20  # the first add of the loop only; nothing after the check


@THREADS
def test_without_a_check_the_program_goes_on(kernels, threads):
    data = np.zeros(65, np.int64)
    memory = Memory([kernels["add"], kernels["fail"], data.ctypes.data], [0, 42, 1])
    assert memory.call([Launch(1, 2, 0), Launch(0, 2, 2)])(threads) == 42
    assert (data[:threads] == 1).all()


def test_a_kernel_that_raises_is_a_failure(kernels):
    memory = Memory([kernels["raise"], 0], [0])
    assert memory.call([Launch(0, 1, 0)])() == -1


@THREADS
def test_host_calls(kernels, threads):
    data = np.zeros(65, np.int64)
    calls = []

    def host(number):
        calls.append((number, int(data[0]), threading.get_ident()))

    callback = HostCallback(host)
    memory = Memory([kernels["add"], callback.address, data.ctypes.data], [1, 3, 0])
    steps = [Host(1, 7), Loop(1, (), (Launch(0, 2, 0, wait=2), Host(1, 8))), Host(1, 9)]
    assert memory.call(steps)(threads) == 0
    me = threading.get_ident()
    assert calls == [(7, 0, me), (8, 1, me), (8, 2, me), (8, 3, me), (9, 3, me)]
    assert callback.take_error() is None


@THREADS
def test_a_host_call_in_a_loop_stops_the_program(kernels, threads):
    data = np.zeros(65, np.int64)
    seen = []

    def host(number):
        seen.append(number)
        if len(seen) == 3:
            raise KeyError("inside")

    callback = HostCallback(host)
    first = [kernels["add"], callback.address, data.ctypes.data]
    memory = Memory(first, [1, 10, 64])
    call = memory.call([Loop(1, ((2, 2),), (Launch(0, 2, 0), Host(1, 4))), Launch(0, 2, 0)])
    assert call(threads) == HostCallback.RAISED
    assert seen == [4, 4, 4]
    assert memory.table.tolist() == first
    assert data[:32:8].tolist() == [1, 1, 1, 0]
    assert isinstance(callback.take_error(), KeyError)
    assert callback.take_error() is None


def test_a_host_that_cannot_be_called_stops_the_program(kernels, monkeypatch):
    """As where a second signal ended what puts down the first: native code gets no answer, but
    finds the last one where that would be."""
    told, seen = [], []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    callback = HostCallback(seen.append)
    memory = Memory([callback.address], [])
    call = memory.call([Host(0, 4)])
    for _ in range(3):
        assert call(1) == 0 and not callback.spent
    callback._calls.close()
    for _ in range(3):
        memory.status[0] = 0
        assert call(1) == HostCallback.RAISED and callback.spent
    assert seen == [4] * 3 and len(told) == 3 and callback.take_error() is None


def test_a_slow_thread_hears_the_word_of_its_own_program(kernels):
    """A thread late at the barrier where its program stops, while the next, without it, runs."""
    data = np.zeros(256, np.int64)
    memory = Memory([kernels["add"], kernels["fail"], data.ctypes.data], [0, 42, 3, 1])
    stops = memory.call([Loop(2, (), (Launch(0, 2, 3), Launch(1, 2, 0), Check()))])
    ends = memory.call([Launch(0, 2, 3), Check()])
    goes = memory.call([Launch(0, 2, 3), Check()] * 5)
    for n in range(1, 1001):
        memory.status[:] = 0
        assert stops(5) == 42
        memory.status[:] = 0
        assert goes(2) == 0
        assert ends(5) == 0
        memory.status[0] = 7
        assert goes(2) == 7
        assert data[:6].tolist() == [8 * n, 8 * n, 2 * n, 2 * n, 2 * n, 0]


def test_a_long_host_call(kernels):
    """The other threads sleep, and come back."""
    callback = HostCallback(lambda number: time.sleep(0.1))
    data = np.zeros(65, np.int64)
    memory = Memory([kernels["add"], callback.address, data.ctypes.data], [1])
    assert memory.call([Host(1, 0), Launch(0, 2, 0)])(2) == 0
    assert data[:2].tolist() == [1, 1]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
def test_nobody_sleeps_through_the_end_of_a_barrier(kernels):
    """Host calls that take about as long as a thread spins, while signals wake the caller."""
    rng = np.random.default_rng(0)
    waits = rng.choice([0, 1e-6, 3e-5, 1e-4, 2.1e-4, 3e-4], 200)

    def host(number):
        end = time.perf_counter() + waits[number]
        while time.perf_counter() < end:
            pass

    callback = HostCallback(host)
    data = np.zeros(65, np.int64)
    memory = Memory([kernels["add"], kernels["mix"], callback.address, data.ctypes.data], [1])
    steps = [step for n in range(200) for step in (Host(2, n), Launch(0, 3, 0), Launch(1, 3, 0))]
    call, own, mixed, rung = memory.call(steps), [0, 0, 0], 0, []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
    try:
        for n in range(8):
            assert call(2 + n % 2) == 0
            for _ in range(200):
                threads = 2 + n % 2
                own[:threads] = [count + 1 for count in own[:threads]]
                mixed = (3 * mixed + sum(own[:threads])) & (2**64 - 1)
            assert int(data[64]) & (2**64 - 1) == mixed
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rung and data[:3].tolist() == [1600, 1600, 800]


def test_a_hundred_thousand_hot_launches(kernels):
    data = np.zeros(65, np.int64)
    memory = Memory([kernels["add"], data.ctypes.data], [1])
    call = memory.call([Launch(0, 1, 0), Launch(0, 1, 0)])
    for _ in range(50_000):
        call(2)
    assert data[:2].tolist() == [100_000, 100_000]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no workers elsewhere")
@pytest.mark.parametrize("tiny", [False, True])
def test_a_sleeping_worker_wakes(kernels, tiny):
    data = np.zeros(65, np.int64)
    memory = Memory([kernels["add"], data.ctypes.data], [1])
    call = memory.call([Launch(0, 1, 0)], tiny=tiny)
    call(2)
    for _ in range(20):
        deadline = time.monotonic() + 30
        while not driver.the_team.asleep() and time.monotonic() < deadline:
            time.sleep(0.001)
        assert time.monotonic() < deadline
        before = data[1]
        call(2)
        assert tiny or data[1] - before == 1
    assert data[0] == 21
    if tiny:
        assert before < 10  # it was spared, but for the race with a waking worker
        # Called again and again it is fetched in the end.
        deadline = time.monotonic() + 30
        while data[1] == before and time.monotonic() < deadline:
            call(2)
        assert data[1] > before


def test_more_threads_than_there_can_be(kernels):
    team = Team()
    data = np.zeros(MAX_THREADS + 65, np.int64)
    memory = Memory([kernels["add"], data.ctypes.data], [1])
    call = memory.call([Launch(0, 1, 0)], team=team)
    assert call(6) == 0
    assert data[:6].tolist() == [1] * 6 or not sys.platform.startswith("linux")
    team.stop()
    assert call(6) == 0  # stopped: alone
    assert data[0] == 2


def system_threads():
    return set(os.listdir("/proc/self/task"))


def none_left(others):
    """Whether there are no threads but `others`; one that was joined is listed for a while."""
    deadline = time.monotonic() + 30
    while system_threads() - others and time.monotonic() < deadline:
        time.sleep(0.001)
    return not system_threads() - others


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no workers elsewhere")
def test_no_worker_is_forgotten_where_starting_it_was_interrupted():
    """Nobody could end a worker that was not counted, and it would read letters to the next."""

    def strike(*_):
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    load()
    team, armed, struck = Team(), False, 0
    over = threading.Event()
    beside = threading.Thread(target=over.wait, daemon=True)  # gets signals that are held back
    beside.start()
    others = system_threads()
    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
    try:
        for size in range(2, MAX_THREADS, 2):
            try:
                armed = True
                team.grow(size)
                armed = False
            except KeyboardInterrupt:
                struck += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert struck and 1 < team.size < MAX_THREADS
    assert len(system_threads() - others) == team.size - 1
    team.stop()
    assert none_left(others)
    over.set()
    beside.join()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no workers elsewhere")
def test_a_team_that_is_stopped_while_it_grows():
    load()
    others = system_threads()
    for wait in np.linspace(0, 2e-3, 40):
        team = Team()
        team.grow(2)
        beside = threading.Thread(target=team.grow, args=(60,))
        beside.start()
        time.sleep(wait)
        team.stop()
        assert team.size == 1
        beside.join()
        assert team.size == team.grow(60) == 1
    assert none_left(others)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no workers elsewhere")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_handlers_that_call_and_fork_while_a_team_grows(kernels):
    """Both processes get results of their own, of whichever team they then have."""
    team, data, children = Team(), np.zeros(MAX_THREADS + 65, np.int64), []
    memory = Memory([kernels["add"], data.ctypes.data], [1])
    call = memory.call([Launch(0, 1, 0)], team=team)

    def strike(*_):
        children.append((os.getpid(), call(3), os.fork()))

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 5e-4)
    try:
        status = call(200)
        signal.pause() if not children else None  # the machine was quick
    finally:
        signal.signal(signal.SIGALRM, before)
        ((parent, inner, child),) = children
        if child == 0:
            os._exit(0 if status == inner == 0 and data[0] == 2 else 1)
    deadline = time.monotonic() + 20
    while not (finished := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    if not finished[0]:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert finished[0] and os.waitstatus_to_exitcode(finished[1]) == 0
    assert parent == os.getpid() and (status, inner, data[0]) == (0, 0, 2)
    team.stop()


def test_two_python_threads(kernels):
    """One has the team, the other runs alone; both get their own results."""
    failures = []

    def work():
        data = np.zeros(65, np.int64)
        memory = Memory([kernels["add"], kernels["mix"], data.ctypes.data], [1])
        call = memory.call([Launch(0, 2, 0), Launch(1, 2, 0)] * 3)
        for n in range(3000):
            if call(2) or data[0] != 3 * (n + 1):
                failures.append((n, data[:2].tolist()))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_call_from_a_host_call(kernels):
    data = np.zeros(65, np.int64)
    inner = Memory([kernels["add"], data.ctypes.data], [1])
    inner_call = inner.call([Launch(0, 1, 0)])
    callback = HostCallback(lambda number: inner_call(2))
    memory = Memory([callback.address], [0])
    assert memory.call([Host(0, 0)])(2) == 0
    assert data[:2].tolist() == [1, 0]


def test_the_team_can_be_held(kernels):
    """As by a call: then another runs alone."""
    data = np.zeros(65, np.int64)
    memory = Memory([kernels["add"], data.ctypes.data], [1])
    call = memory.call([Launch(0, 1, 0)])
    call(2)
    assert driver.the_team.take()
    try:
        assert not driver.the_team.take()
        call(2)
        assert data[:2].tolist() == [2, 1]
    finally:
        driver.the_team.leave()
    call(2)
    assert data[:2].tolist() == [3, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork(kernels):
    data = np.zeros(65, np.int64)
    memory = Memory([kernels["add"], data.ctypes.data], [1])
    call = memory.call([Launch(0, 1, 0)])
    call(2)
    assert driver.the_team.take()  # the child must not inherit that
    try:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for _ in range(100):
                    call(2)
                fresh = driver.native_program([Launch(0, 1, 0)] * 2)
                table, dims, status = memory.table, memory.dims, memory.status
                driver.run(fresh, table.ctypes.data, dims.ctypes.data, status.ctypes.data, 2)
                code = 0 if data[:2].tolist() == [103, 103] else 2
            finally:
                os._exit(code)
    finally:
        driver.the_team.leave()
    deadline = time.monotonic() + 20
    finished, status = os.waitpid(child, os.WNOHANG)
    while not finished and time.monotonic() < deadline:
        time.sleep(0.01)
        finished, status = os.waitpid(child, os.WNOHANG)
    if not finished:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert finished and os.waitstatus_to_exitcode(status) == 0
    call(2)
    assert data[:2].tolist() == [2, 2]


def test_the_process_ends_quietly():
    """With a worker spinning, with one asleep, and with another thread inside a program."""
    script = """
import sys, threading, time
import numpy as np
from gradloom.runtime import driver
memory = np.zeros(4, np.int64)
callback = driver.HostCallback(lambda number: time.sleep(number / 1000))
memory[0] = callback.address
program = driver.native_program([driver.Host(0, int(sys.argv[1]))])
address = memory.ctypes.data
call = driver.Call(program, address, address + 8, address + 16)
if sys.argv[2] == "thread":
    threading.Thread(target=call, args=(2,), daemon=True).start()
    time.sleep(0.02)
else:
    call(2)
time.sleep(float(sys.argv[3]))
"""
    for arguments in (["0", "main", "0"], ["0", "main", "0.1"], ["50", "thread", "0"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=30
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_threads_by_default(monkeypatch):
    monkeypatch.delenv("GRADLOOM_THREADS", raising=False)
    available = driver.default_threads()
    assert available >= 1
    monkeypatch.setenv("GRADLOOM_THREADS", "1")
    assert driver.default_threads() == 1
    monkeypatch.setenv("GRADLOOM_THREADS", "100000")
    assert driver.default_threads() == available
    for wrong in ("0", "-1", "two"):
        monkeypatch.setenv("GRADLOOM_THREADS", wrong)
        with pytest.raises(ArgumentError, match="GRADLOOM_THREADS"):
            driver.default_threads()


def test_equal_steps_are_one_program():
    steps = [Launch(0, 1, 0), Check()]
    assert driver.native_program(steps) == driver.native_program(list(steps))
    assert driver.native_program(steps) != driver.native_program(steps[:1])


def test_the_program_is_a_plain_function(kernels):
    data = np.zeros(65, np.int64)
    memory = Memory([kernels["add"], data.ctypes.data], [4])
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    kind = ctypes.CFUNCTYPE(number, pointer, pointer, pointer, pointer, number, number)
    function = kind(driver.native_program([Launch(0, 1, 0)]))
    addresses = (memory.table.ctypes.data, memory.dims.ctypes.data, memory.status.ctypes.data)
    assert function(*addresses, None, 0, 1) == 0
    assert data[0] == 4
