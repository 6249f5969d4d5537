# pyright: basic
"""Native programs: branches, breaks, loops with limits, and how a call is interrupted."""

import time

import numpy as np
import pytest

from gradloom.runtime import native
from gradloom.runtime.driver import (
    Branch,
    Break,
    Check,
    Copy,
    Host,
    HostCallback,
    Launch,
    Loop,
    native_program,
)

from . import native_kernels
from .processes import alarm, together

# Kernels in the convention of Numba's. The last thread does what one does alone: it is not the
# caller, and the others run ahead of it.
KERNELS = """
; the last thread: n = buffers[0] counts up; the byte at buffers[1] becomes n < dims[0]
define i32 @control_count(ptr %r, ptr %e, ptr %b, ptr %d, ptr %s, i64 %tid, i64 %nth) {
  %next = add i64 %tid, 1
  %last = icmp eq i64 %next, %nth
  br i1 %last, label %go, label %out
go:
  %p = load ptr, ptr %b
  %f.p = getelementptr ptr, ptr %b, i64 1
  %f = load ptr, ptr %f.p
  %n = load i64, ptr %p
  %n1 = add i64 %n, 1
  store i64 %n1, ptr %p
  %most = load i64, ptr %d
  %more = icmp slt i64 %n, %most
  %byte = zext i1 %more to i8
  store i8 %byte, ptr %f
  br label %out
out:
  ret i32 0
}
; every thread writes dims[0] to the int64 at buffers[0]
define i32 @control_put(ptr %r, ptr %e, ptr %b, ptr %d, ptr %s, i64 %tid, i64 %nth) {
  %p = load ptr, ptr %b
  %x = load i64, ptr %d
  store i64 %x, ptr %p
  ret i32 0
}
; the last thread fails with 42 where the int64 at buffers[0] is dims[0]
define i32 @control_fail(ptr %r, ptr %e, ptr %b, ptr %d, ptr %s, i64 %tid, i64 %nth) {
  %next = add i64 %tid, 1
  %last = icmp eq i64 %next, %nth
  %p = load ptr, ptr %b
  %v = load i64, ptr %p
  %x = load i64, ptr %d
  %is = icmp eq i64 %v, %x
  %both = and i1 %is, %last
  br i1 %both, label %bad, label %out
bad:
  store i64 42, ptr %s
  br label %out
out:
  ret i32 0
}
; the last thread: after a while the int64 at buffers[0] becomes dims[0]
define i32 @control_late(ptr %r, ptr %e, ptr %b, ptr %d, ptr %s, i64 %tid, i64 %nth) {
entry:
  %next = add i64 %tid, 1
  %last = icmp eq i64 %next, %nth
  br i1 %last, label %spin, label %out
spin:
  %i = phi i64 [0, %entry], [%i1, %spin]
  %v = load volatile i64, ptr %d
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, 300000
  br i1 %more, label %spin, label %end
end:
  %p = load ptr, ptr %b
  store i64 %v, ptr %p
  br label %out
out:
  ret i32 0
}
"""
ADD, COUNT, PUT, FAIL, LATE = range(5)
FIRST = 6  # the first slot of the table that is not a kernel's or the callback's
ENDLESS = (1 << 63) - 1
THREADS = pytest.mark.parametrize("threads", [1, 2, 3])


@pytest.fixture(scope="module")
def kernels():
    native.load_object(native.compile_object(KERNELS))
    own = [native.address(f"control_{name}") for name in ("count", "put", "fail", "late")]
    return [native_kernels.load_kernels()["add"], *own]


class Memory(native_kernels.Memory):
    """A table of kernels, a callback, and the addresses of `arrays`."""

    def __init__(self, kernels, arrays, dims, callback=None):
        self.arrays, self.callback = arrays, callback
        addresses = [array.ctypes.data for array in arrays]
        self.first = [*kernels, callback.address if callback else 0, *addresses]
        super().__init__(self.first, dims)


def numbers(*values):
    return np.array(values, np.int64)


@THREADS
@pytest.mark.parametrize("where", ["first", "last"])
@pytest.mark.parametrize("most", [0, 1, 4])
def test_an_endless_loop_ends_by_its_break(kernels, threads, where, most):
    """The flag is overwritten right behind the break: a slow thread must not read that."""
    data, count, flag, taken = np.zeros((6, 8), np.int64), numbers(0), numbers(0), numbers(-7)
    memory = Memory(kernels, [count, flag, data, taken], [most, 0, 1, ENDLESS, 64])
    ask = (Launch(COUNT, FIRST, 0), Break(FIRST + 1), Launch(PUT, FIRST + 1, 1))
    work = (Launch(ADD, FIRST + 2, 2),)
    body = (*ask, *work) if where == "first" else (*work, *ask)
    call = memory.call([Loop(3, ((FIRST + 2, 4),), body, steps=FIRST + 3)])
    for n in range(1, 101):
        count[0] = 0
        assert call(threads) == 0
        assert taken[0] == most
        assert count[0] == most + 1
        assert memory.table.tolist() == memory.first
        trips = most if where == "first" else most + 1
        assert data[:trips, :threads].tolist() == [[n] * threads] * trips
        assert data.sum() == n * trips * threads


@THREADS
def test_a_break_leaves_the_innermost_loop_only(kernels, threads):
    data, count, flag, taken, inner = (numbers(*[0] * 8) for _ in range(5))
    memory = Memory(kernels, [count, flag, data, taken, inner, numbers(0)], [2, 5, 1, 10, 8])
    reset = Copy(FIRST, FIRST + 5, 4)
    inside = Loop(
        3, (), (Launch(COUNT, FIRST, 0), Break(FIRST + 1), Launch(ADD, FIRST + 2, 2)), None, (),
        FIRST + 4,
    )  # fmt: skip
    call = memory.call([Loop(1, (), (reset, inside), steps=FIRST + 3)])
    for n in range(1, 101):
        assert call(threads) == 0
        assert (taken[0], inner[0]) == (5, 2)
        assert data[:threads].tolist() == [10 * n] * threads


@THREADS
@pytest.mark.parametrize("trips", [0, 1, 5])
@pytest.mark.parametrize("limit", [-(2**63), -1, 0, 1, 3, 5, 6, 2**63 - 1])
def test_a_limit(kernels, threads, trips, limit):
    """Windows forward and backward; the limit is overwritten in the first step."""
    taken, most = min(max(limit, 0), trips), numbers(limit)
    forward, backward, steps = np.zeros((6, 8), np.int64), np.zeros((6, 8), np.int64), numbers(-7)
    last = backward[max(trips - 1, 0)]
    memory = Memory(kernels, [forward, last, most, steps], [trips, 64, -64, 1, limit])
    moves = ((FIRST, 1), (FIRST + 1, 2))
    ends = Launch(PUT, FIRST + 2, 3)
    body = (ends, Launch(ADD, FIRST, 3), Launch(ADD, FIRST + 1, 3))
    loop = Loop(0, moves, body, limit=FIRST + 2, skips=moves[1:], steps=FIRST + 3)
    call = memory.call([loop])
    for n in range(1, 31):
        most[0] = limit
        assert call(threads) == 0
        assert steps[0] == taken
        assert memory.table.tolist() == memory.first
        for array in (forward, backward):
            assert (array[:taken, :threads] == n).all()
            assert array.sum() == n * taken * threads


@THREADS
@pytest.mark.parametrize("most", [0, 1, 2, 3])
def test_a_break_in_a_limited_loop(kernels, threads, most):
    """At most 3 steps of 5, backward; the loop is left within step 1, 2, 3, or by its limit."""
    rows, count, flag, limit, steps = (
        np.zeros((6, 8), np.int64),
        *(numbers(n) for n in (0, 0, 3, 7)),
    )
    memory = Memory(kernels, [rows[4], count, flag, limit, steps], [5, -64, most, 1])
    body = (Launch(COUNT, FIRST + 1, 2), Break(FIRST + 2), Launch(ADD, FIRST, 3))
    moves = ((FIRST, 1),)
    call = memory.call([Loop(0, moves, body, FIRST + 3, moves, FIRST + 4)])
    for n in range(1, 31):
        count[0] = 0
        assert call(threads) == 0
        assert steps[0] == most
        assert memory.table.tolist() == memory.first
        assert (rows[3 - most : 3, :threads] == n).all()
        assert rows.sum() == n * most * threads


@pytest.mark.parametrize("limit", [1, 3, 5])
def test_a_limited_loop_backward_goes_down_from_the_limit(kernels, limit):
    """Which rows in which order: the row that is written becomes the number of the step."""
    rows, count, flag, most = np.zeros((6, 1), np.int64), numbers(0), numbers(0), numbers(limit)
    memory = Memory(kernels, [count, flag, rows[4], most], [5, -8, 8, 0])
    body = (Launch(COUNT, FIRST, 0), Copy(FIRST + 2, FIRST, 2))
    moves = ((FIRST + 2, 1),)
    assert memory.call([Loop(0, moves, body, limit=FIRST + 3, skips=moves)])(2) == 0
    assert rows[:, 0].tolist() == [*range(limit, 0, -1), *[0] * (6 - limit)]


@THREADS
def test_a_branch(kernels, threads):
    """The index is overwritten in each body: a slow thread must take the same way."""
    data = [np.zeros(8, np.int64) for _ in range(4)]
    index = numbers(0)
    memory = Memory(kernels, [index, *data], [1, 0, 1, 2])
    bodies = tuple(
        (Launch(PUT, FIRST, 1 + (way + 1) % 3), Launch(ADD, FIRST + 1 + way, 0)) for way in range(3)
    )
    call = memory.call([Branch(FIRST, bodies), Launch(ADD, FIRST + 4, 0)])
    ways = {-(2**63): 0, -1: 0, 0: 0, 1: 1, 2: 2, 3: 2, 2**63 - 1: 2}
    for n in range(1, 101):
        for number in ways:
            index[0] = number
            assert call(threads) == 0
        for way in range(3):
            assert data[way][:threads].tolist() == [n * list(ways.values()).count(way)] * threads
        assert data[3][:threads].tolist() == [n * len(ways)] * threads


@THREADS
def test_limits_by_a_window_and_steps_read_at_once(kernels, threads):
    """The caller writes the number of steps, the last thread copies it."""
    limits, steps, found = np.arange(500) % 3, numbers(0), np.full(500, 7)
    memory = Memory(kernels, [limits, steps, found], [500, 5, 8])
    inner = Loop(1, (), (), limit=FIRST, steps=FIRST + 1)
    moves = ((FIRST, 2), (FIRST + 2, 2))
    call = memory.call([Loop(0, moves, (inner, Copy(FIRST + 2, FIRST + 1, 2)))])
    for _ in range(10):
        found[:] = 7
        assert call(threads) == 0
        np.testing.assert_array_equal(found, limits)


@THREADS
def test_what_follows_waits_for_the_branch(kernels, threads):
    """Also where another way of it, or a loop without a trip, would leave nothing to wait for."""
    value, index, seen = numbers(0), numbers(1), []
    callback = HostCallback(lambda number: seen.append(int(value[0])))
    memory = Memory(kernels, [value, index], [1, 2, 0], callback)
    late = Branch(FIRST + 1, ((), (Launch(LATE, FIRST, 0), Loop(2, (), ())), ()))
    later = Branch(FIRST + 1, ((), (Launch(LATE, FIRST, 1),)))
    call = memory.call([late, Host(FIRST - 1, 0), later, Host(FIRST - 1, 0)])
    for n in range(1, 21):
        assert call(threads) == 0
        assert seen == [1, 2] * n


@THREADS
def test_loops_in_branches_in_loops(kernels, threads):
    """The index counts 1, 2, 3; way 1 nothing, way 2 a loop over rows, way 3 a limited one."""
    index, flag, limit, rows, data = (
        numbers(0), numbers(0), numbers(2), np.zeros((4, 8), np.int64), np.zeros(8, np.int64)
    )  # fmt: skip
    memory = Memory(kernels, [index, flag, limit, rows, data, numbers(0)], [4, 64, 1, 10, 3, 8])
    moves = ((FIRST + 3, 1),)
    ways = (
        (),
        (),
        (Loop(0, moves, (Launch(ADD, FIRST + 3, 2),)),),
        (Loop(0, moves, (Launch(ADD, FIRST + 3, 3), Branch(FIRST, ((),))), limit=FIRST + 2),),
    )
    trip = (Launch(COUNT, FIRST, 4), Branch(FIRST, ways), Launch(ADD, FIRST + 4, 2))
    call = memory.call([Copy(FIRST, FIRST + 5, 5), Loop(4, (), trip), Launch(ADD, FIRST + 4, 3)])
    for n in range(1, 101):
        assert call(threads) == 0
        assert memory.table.tolist() == memory.first
        assert rows[:, :threads].tolist() == [[v * n] * threads for v in (11, 11, 1, 1)]
        assert data[:threads].tolist() == [13 * n] * threads


@THREADS
@pytest.mark.parametrize("notices", ["break", "end of the step", "check", "branch", "limit"])
def test_a_failure_ends_a_loop_that_would_not_end(kernels, threads, notices):
    data, count, flag, index = numbers(*[0] * 8), numbers(0), numbers(0), numbers(1)
    memory = Memory(
        kernels, [count, flag, data, index], [ENDLESS, 3, 8, ENDLESS, 1]
    )  # dims: most, where it fails, stride, trips, amount
    behind = Launch(ADD, FIRST + 2, 4)
    notice = {
        "break": (Break(FIRST + 1), behind),
        "end of the step": (),
        "check": (Check(), behind),
        "branch": (Branch(FIRST + 3, ((), (behind,))),),
        "limit": (Loop(4, (), (behind,), limit=FIRST + 3),),
    }[notices]
    body = (Launch(COUNT, FIRST, 0), Launch(FAIL, FIRST, 1), *notice)
    moves = ((FIRST + 2, 2),)
    within = Branch(FIRST + 3, ((), (Loop(3, moves, body), Launch(ADD, FIRST + 2, 4))))
    call = memory.call([Loop(4, moves, (within, behind)), behind])
    for n in range(1, 51):
        count[0] = memory.status[0] = 0
        assert call(threads) == 42
        assert count[0] == 3
        assert memory.table.tolist() == memory.first
        assert data[0] == (0 if notices == "end of the step" else n)
        assert not data[threads + 1 :].any()  # the two steps before it failed


def test_two_python_threads(kernels):

    def work():
        data, count, flag, index = numbers(*[0] * 8), numbers(0), numbers(0), numbers(0)
        memory = Memory(kernels, [count, flag, data, index, numbers(0)], [3, 1, ENDLESS, 8])
        ways = Branch(FIRST, ((), (), (Launch(ADD, FIRST + 2, 1),), ()))
        body = (Launch(COUNT, FIRST, 0), Break(FIRST + 1), ways)
        call = memory.call([Copy(FIRST, FIRST + 4, 3), Loop(2, (), body, steps=FIRST + 3)])
        for n in range(1, 1001):
            assert call(2) == 0
            assert (data[0], index[0]) == (n, 3)

    together(*[work] * 3)


@pytest.mark.parametrize("slot", ["top", "branch"])
def test_a_break_outside_a_loop_is_refused(slot):
    steps = [Break(0)] if slot == "top" else [Loop(0, (), (Branch(1, ((Break(0),),)),))]
    with pytest.raises(ValueError, match="top level of a loop's body"):
        native_program(steps)


# --- interruption ---------------------------------------------------------------------------------


class StopError(Exception):
    pass


@THREADS
def test_a_signal_ends_an_endless_loop(kernels, threads):
    """The handler runs while the call does, and what it raises comes out of it."""
    data = numbers(*[0] * 8)
    asked = []
    callback = HostCallback(asked.append)
    memory = Memory(kernels, [data], [ENDLESS, 64, 1], callback)
    call = memory.call(
        [Loop(0, (), (Launch(ADD, FIRST, 2),), look=FIRST - 1), Launch(PUT, FIRST, 0)]
    )
    start = time.monotonic()
    with alarm(0.2, StopError):
        assert call(threads) == HostCallback.RAISED
    assert time.monotonic() - start < 10
    assert isinstance(callback.take_error(), StopError)
    assert set(asked) <= {-1}
    assert data[:threads].tolist() == [data[0]] * threads
    assert data[0] > 1


def test_a_signal_that_comes_in_a_host_call(kernels):
    """Also where the handler runs before the callback's first line: nothing is lost or printed."""
    calls = []
    callback = HostCallback(calls.append)
    memory = Memory(kernels, [], [10**9], callback)
    call = memory.call([Loop(0, (), (Host(FIRST - 1, 3),))])
    for n in range(5):
        memory.status[0] = 0
        with alarm(0.01 + 0.003 * n, StopError):
            assert call(2) == HostCallback.RAISED
        assert isinstance(callback.take_error(), StopError)


def test_looking_costs_no_call_of_the_host_in_short_programs(kernels):
    callback = HostCallback(lambda number: 1 / 0)
    data = numbers(*[0] * 8)
    memory = Memory(kernels, [data], [10, 1], callback)
    call = memory.call([Loop(0, (), (Launch(ADD, FIRST, 1),), look=FIRST - 1)])
    assert sum(call(2) == 0 for _ in range(50)) >= 48  # the second may turn in one
