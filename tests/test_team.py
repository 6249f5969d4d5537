# pyright: basic
"""The team: workers that start, sleep and end, whoever calls, forks or interrupts meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from gradloom.ir.errors import ArgumentError
from gradloom.runtime import driver
from gradloom.runtime import team as team_module
from gradloom.runtime.driver import Launch
from gradloom.runtime.pace import Pace
from gradloom.runtime.team import MAX_THREADS, Team, load

from .native_kernels import Memory, load_kernels
from .processes import together


@pytest.fixture(scope="module")
def kernels():
    return load_kernels()


def exit_code(child):
    """Of a forked process; None where it hangs, and then it is ended."""
    deadline = time.monotonic() + 20
    while not (found := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    if found[0]:
        return os.waitstatus_to_exitcode(found[1])
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


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
    assert exit_code(child) == 0
    assert parent == os.getpid() and (status, inner, data[0]) == (0, 0, 2)
    team.stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no workers elsewhere")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_within_a_call_that_is_watched(kernels, monkeypatch):
    """As by a signal's handler, which may come anywhere."""
    children = []

    class Forking(Pace):
        def __init__(self):
            super().__init__()
            children.append(os.fork())

    team, data = Team(), np.zeros(65, np.int64)
    memory = Memory([kernels["add"], data.ctypes.data], [1])
    call = memory.call([Launch(0, 1, 0)], team=team, paced=True)
    monkeypatch.setattr(team_module, "Pace", Forking)
    status = call(2)
    if children[0] == 0:
        os._exit(0 if status == 0 and data[0] == 1 else 1)
    assert exit_code(children[0]) == 0
    assert (status, data[0], len(children)) == (0, 1, 1)
    team.stop()


def test_two_python_threads(kernels):
    """One has the team, the other runs alone; both get their own results."""

    def work():
        data = np.zeros(65, np.int64)
        memory = Memory([kernels["add"], kernels["mix"], data.ctypes.data], [1])
        call = memory.call([Launch(0, 2, 0), Launch(1, 2, 0)] * 3)
        for n in range(3000):
            assert call(2) == 0
            assert data[0] == 3 * (n + 1)

    together(*[work] * 3)


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
    assert exit_code(child) == 0
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
