# pyright: basic
"""Native programs: what their steps do, on any number of threads."""

import ctypes
import signal
import sys
import threading
import time

import numpy as np
import pytest

from gradloom.runtime import driver
from gradloom.runtime.driver import Check, Copy, Host, HostCallback, Launch, Loop

from .native_kernels import Memory, load_kernels

THREADS = pytest.mark.parametrize("threads", [1, 2, 3])


@pytest.fixture(scope="module")
def kernels():
    return load_kernels()


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


def test_a_call_from_a_host_call(kernels):
    data = np.zeros(65, np.int64)
    inner = Memory([kernels["add"], data.ctypes.data], [1])
    inner_call = inner.call([Launch(0, 1, 0)])
    callback = HostCallback(lambda number: inner_call(2))
    memory = Memory([callback.address], [0])
    assert memory.call([Host(0, 0)])(2) == 0
    assert data[:2].tolist() == [1, 0]


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
