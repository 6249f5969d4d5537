# pyright: basic
"""What a warm call allocates, and what it finds of its arrays."""

import contextlib
import gc
import inspect
import itertools
import pickle
import sys
import threading
import time
import tracemalloc
import weakref

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.parameter import share_lock
from gradloom.runtime import executable
from gradloom.runtime.executable import Context
from gradloom.runtime.launcher import QUICK

F32 = np.float32


def left_behind(call, calls: int) -> int:
    """Bytes that so many calls leave behind, the least of some tries.

    Python keeps freed lists and tuples, and forgets them now and then.
    """
    gc.disable()
    tracemalloc.start()
    try:
        found = [0]
        for _ in range(4):
            for _ in range(calls):
                call()
            found.append(tracemalloc.get_traced_memory()[0])
        return min(after - before for before, after in itertools.pairwise(found))
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("threads", [1, 2])
def test_warm_calls_leave_nothing_behind(threads):
    x = gl.placeholder(("B", 64), name="x")
    ws = [gl.parameter(np.ones((64, 64), F32) / 64, name=f"w{n}") for n in range(4)]
    y = x
    for w in ws:
        y = gl.tanh(y @ w)
    loss = gl.sum(y)
    updates = {w: w - 1e-3 * gl.grad(loss, w) for w in ws}
    step = gl.function([x], [loss, y], updates=updates, threads=threads)
    rows = np.ones((128, 64), F32)
    assert left_behind(lambda: step(rows), 200) < 200  # not a byte a call
    small = np.ones((1, 64), F32)
    assert left_behind(lambda: step(small), 200) < 200


def test_a_failing_call_leaves_nothing_behind():
    x = gl.placeholder((3,), name="x")
    f = gl.function([x], gl.check(x, gl.all(x > 0), "positive"))

    for _ in range(20):
        with pytest.raises(gl.CheckError):
            f(np.zeros(3, F32))
    (instance,) = f._executable.instances.values()
    assert len(instance.contexts) == 1, "one context serves them all"
    assert f(np.ones(3, F32)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("threads", [1, 2])
def test_each_call_reads_the_arrays_it_is_given(threads):
    """Arrays that die between calls, that are views, and the same one twice."""
    x, y = gl.placeholder(("B", 7), name="x"), gl.placeholder(("B", 7), name="y")
    f = gl.function([x, y], [x - y, gl.sum(x, axis=0), x], threads=threads)
    rng = np.random.default_rng(0)
    for n in range(200):
        rows = 7000 if n % 20 == 0 else int(rng.integers(0, 9))
        block = rng.standard_normal((rows + 2, 7)).astype(F32)
        a, b = block[2:], (block[2:] if n % 3 == 0 else np.array(block[:rows]))
        difference, total, same = f(a, b)
        np.testing.assert_array_equal(difference, a - b)
        np.testing.assert_array_equal(same, a)
        np.testing.assert_allclose(total, a.sum(0), rtol=1e-4, atol=1e-3)
        assert not np.shares_memory(same, a)


def test_an_interrupted_call_leaves_no_parameter_locked():
    """An exception between any two lines of taking the locks, calling and giving them back."""
    x = gl.placeholder((), name="x")
    ws = [gl.parameter(np.zeros(5, F32), name=f"w{n}") for n in range(3)]
    step = gl.function([x], ws[0], updates={w: w + x for w in ws})
    step(0)
    executable = step._executable
    code = type(executable).results.__code__
    interrupted = 0
    for line in range(1, 40):
        left = [line]

        def local(frame, event, _, left=left):
            if event == "line":
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt
            return local

        sys.settrace(lambda frame, *_, local=local: local if frame.f_code is code else None)
        try:
            step(x=1)  # by name: not the way of native code, which nothing interrupts
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(None)
        free = []

        def look(free=free):
            for w in ws:
                taken = w.lock.acquire(timeout=0)
                free.append(taken)
                if taken:
                    w.lock.release()

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert free == [True] * 3, line
    assert 10 < interrupted < 39
    (instance,) = executable.instances.values()
    assert len(instance.contexts) == 1 and instance.contexts[0].status[2] == 0
    before = ws[0].value
    step(2)
    np.testing.assert_array_equal(ws[0].value, before + 2)
    assert all((w.value == ws[0].value).all() for w in ws)


def test_a_call_like_the_last_one_runs_no_python(no_python):
    x = gl.placeholder(("B",), name="x")
    w = gl.parameter(np.zeros((), F32), name="w")
    one = gl.function([x], x * 2)
    many = gl.function([x], {"sum": gl.sum(x), "parts": (x + w, [w])}, updates={w: w + 1})
    none = gl.function([], updates={w: w * 2})
    a, b = np.arange(5, dtype=F32), np.ones(5, F32)
    for f in (one, many):
        f(a)
    none()  # w is 2
    no_python()
    assert one(b).tolist() == [2] * 5
    assert none() == ()
    given, held = many(b), sys.getrefcount(b)
    assert given["sum"] == 5
    assert given["parts"][0].tolist() == [5] * 5 and given["parts"][1] == [4]
    for _ in range(100):
        result = one(b)
    assert sys.getrefcount(b) == held
    assert sys.getrefcount(result) == 3, "it may be used again when nobody else has it"
    for args, names in (((), {"x": b}), ((b[:2],), {}), ((b, b), {}), ((b,), {"x": b}), ((1,), {})):
        with pytest.raises(AssertionError, match="not like"):
            one(*args, **names)
    assert w.value == 5


def test_calls_hold_no_more_of_what_all_share():
    x = gl.placeholder((3,), name="x")
    w = gl.parameter(np.zeros(3, F32), name="w")
    f = gl.function([x], gl.check(x + w, gl.all(x > 0), "positive"), updates={w: w + x})
    good, bad = np.ones(3, F32), np.zeros(3, F32)
    f(good)
    shared = None, True, False, np.float32, np.empty, w, w.lock
    gc.collect()
    before = [sys.getrefcount(thing) for thing in shared]
    tracemalloc.start()
    try:
        held = []
        for _ in range(4):
            for _ in range(100):
                f(good)
                with contextlib.suppress(gl.CheckError):
                    f(bad)
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[-1] - held[1] < 2000  # 10 bytes a call
    after = [sys.getrefcount(thing) for thing in shared]
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) < 100


def test_a_check_that_fails_in_a_call_like_the_last_one():
    """It raises what the first call would; nothing has changed, and the next one is right."""
    x = gl.placeholder((3,), name="x")
    w = gl.parameter(np.zeros(3, F32), name="w")
    step = gl.function([x], gl.check(x, gl.all(x > 0), "positive"), updates={w: w + x})
    for n in range(1, 4):
        assert step(np.ones(3, F32)).tolist() == [1, 1, 1]
        with pytest.raises(gl.CheckError, match="positive"):
            step(np.full(3, -1, F32))
        assert w.value.tolist() == [n] * 3
    (instance,) = step._executable.instances.values()
    assert len(instance.contexts) == 1


def test_results_that_cannot_be_made(no_python):
    """What Python raises is told, and the next call finds all free."""
    x = gl.placeholder((3,), name="x")
    w = gl.parameter(np.zeros(3, F32), name="w")
    f = gl.function([x], [x + w, x, w], updates={w: w + x})
    ones = np.ones(3, F32)
    f(ones)

    def fails(*_):
        raise MemoryError("no room")

    last = f._executable.last
    good = last[0]
    place, kept = good.index(np.empty, 12), QUICK.index("kept")  # of the second result
    no_python()
    for _ in range(3):
        last[0] = (*good[:kept], None, *good[kept + 1 : place], fails, *good[place + 1 :])
        with pytest.raises(MemoryError, match="no room"):
            f(ones)
        with pytest.raises(AssertionError, match="not like"):
            f(ones[:2])  # nothing is made for it
        last[0] = good
        assert w.lock.acquire(timeout=0)
        w.lock.release()
        assert [result.tolist() for result in f(ones)][1] == [1, 1, 1]
    assert w.value.tolist() == [4] * 3


def test_sizes_that_are_forgotten_and_profiles_give_their_memory_back(monkeypatch):
    """Before the next memory is made."""
    contexts = list[weakref.ref[Context]]()

    class Noted(Context):
        def __init__(self, *args):
            gc.collect()
            alive.append(sum(context() is not None for context in contexts))
            super().__init__(*args)
            contexts.append(weakref.ref(self))

    monkeypatch.setattr(executable, "Context", Noted)
    monkeypatch.setattr(executable, "KEPT", 0)
    x = gl.placeholder(("B",), name="x")
    f = gl.function([x], gl.sum(x[::-1] @ gl.sin(x)))
    alive = list[int]()
    for size in (3, 4, 5):
        f(np.ones(size, F32))
    assert alive == [0, 0, 0]
    contexts.clear()
    f.profile(np.ones(3, F32), repeat=2)
    assert alive[3:] == [0, 0]


@pytest.mark.parametrize("which", ["array", "lock"])
def test_what_changes_while_a_call_begins(no_python, which):
    """As by a finalizer, which may run whenever an object is made."""
    x = gl.placeholder((3,), name="x")
    v, w = (gl.parameter(np.zeros(3, F32), name=name) for name in "vw")
    f = gl.function([x], x + w, updates={w: w + x})
    array = np.ones(3, F32)
    f(array)
    old = w.lock

    def acquire(blocking):
        if which == "array":
            array.resize((1,), refcheck=False)
        else:
            share_lock((v, w))
        return old.acquire(blocking)

    last = f._executable.last
    place = QUICK.index("acquire")
    last[0] = (*last[0][:place], acquire, *last[0][place + 1 :])
    no_python()
    with pytest.raises(AssertionError, match="not like"):
        f(array)
    assert w.buffer.tolist() == [1] * 3
    free = list[bool]()
    thread = threading.Thread(target=lambda: free.append(old.acquire(timeout=0)))
    thread.start()
    thread.join()
    assert free == [True]


def test_a_function_has_a_signature_before_and_behind_its_first_call():
    x = gl.placeholder((), name="x")
    f = gl.function([x], x + 1)
    f(1)
    kinds = [p.kind.description for p in inspect.signature(f).parameters.values()]
    assert kinds == ["variadic positional", "variadic keyword"]
    assert type(f).__call__.__doc__ == "Run on arrays."


def test_two_threads_in_one_function_have_memory_of_their_own():
    x = gl.placeholder((300, 300), name="x")
    f = gl.function([x], gl.sum(gl.tanh(x @ x), axis=0), threads=1)
    given = [np.full((300, 300), n / 1000, F32) for n in range(1, 4)]
    right = [f(array) for array in given]
    wrong = list[int]()

    def calls(n):
        for _ in range(60):
            if not np.array_equal(f(given[n]), right[n]):
                wrong.append(n)

    threads = [threading.Thread(target=calls, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    (instance,) = f._executable.instances.values()
    assert 2 <= len(instance.contexts) <= 3
    assert all(context.status[2] == 0 for context in instance.contexts)


def test_a_lock_that_was_exchanged_between_calls_is_the_one_that_is_taken():
    x = gl.placeholder((), name="x")
    v, w = (gl.parameter(np.zeros(3, F32), name=name) for name in "vw")
    step = gl.function([x], None, updates={w: w + x})
    one = np.ones((), F32)
    step(one)
    new = v.lock
    share_lock((v, w))
    assert w.lock is new
    with new:
        waiting = threading.Thread(target=step, args=(one,))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive() and w.buffer[0] == 1
    waiting.join(20)
    assert w.value[0] == 2


def test_parameters_that_one_call_needs_share_a_lock():
    """Also with those that shared one with any of them; calls on other parameters are not held."""
    x = gl.placeholder((), name="x")
    a, b, c, d = (gl.parameter(np.zeros(3, F32), name=name) for name in "abcd")

    def moves(*ws):
        gl.function([x], None, updates={w: w + x for w in ws})(1)

    moves(a, b)
    moves(c)
    assert a.lock is b.lock and len({id(w.lock) for w in (a, c, d)}) == 3
    moves(b, c)
    assert a.lock is b.lock is c.lock is not d.lock
    assert [w.value[0] for w in (a, b, c, d)] == [1, 2, 2, 0]


def test_who_waited_for_a_lock_that_was_exchanged_waits_for_the_new_one():
    x = gl.placeholder((), name="x")
    v, w = (gl.parameter(np.zeros(3, F32), name=name) for name in "vw")
    step = gl.function([x], None, updates={w: w + x})
    step(1)
    old, new = w.lock, v.lock
    with new:
        with old:
            waiting = threading.Thread(target=step, args=(np.ones((), F32),))
            waiting.start()
            time.sleep(0.1)
            share_lock((v, w))
            assert w.lock is new
        waiting.join(0.1)
        assert waiting.is_alive() and w.buffer[0] == 1
    waiting.join(20)
    assert w.value[0] == 2


def test_who_holds_a_lock_can_read_the_value_while_others_wait_to_exchange_it():
    """As the handler of a signal does that came in a call."""
    v, w = (gl.parameter(np.zeros(3, F32), name=name) for name in "vw")
    read = list[float]()

    def holds():
        with w.lock:
            waiting.start()
            time.sleep(0.1)
            read.extend(w.value)

    waiting = threading.Thread(target=share_lock, args=((v, w),), daemon=True)
    holder = threading.Thread(target=holds, daemon=True)
    holder.start()
    holder.join(20)
    assert read == [0, 0, 0]
    waiting.join(20)
    assert v.lock is w.lock


@pytest.mark.parametrize(("size", "keeps"), [(100, 1), (100_000, 0)])
def test_a_long_copy_lets_other_threads_run(size, keeps):
    x = gl.placeholder((size,), name="x")
    f = gl.function([x], x)
    f(np.zeros(size, F32))
    (instance,) = f._executable.instances.values()
    (context,) = instance.contexts
    assert context.call._words.keeps == keeps


class Own(np.ndarray):
    """A subclass is no plain array."""


@pytest.mark.parametrize("rows", [3, 5000])
def test_arrays_unlike_those_of_the_last_call(rows):
    """What the quick way of a warm call must leave to the usual one, between plain calls."""
    x, n = gl.placeholder(("B", 4), name="x"), gl.placeholder(("B",), "int64", name="n")
    f = gl.function([x, n], x * 2 + n.astype("float32")[:, None])
    a = np.random.default_rng(0).standard_normal((rows, 4)).astype(F32)
    k = np.arange(rows)
    right = a * 2 + k[:, None].astype(F32)
    wide = np.zeros((rows, 8), F32)
    wide[:, ::2] = a
    alike = [
        (pickle.loads(pickle.dumps(a)), k),  # a dtype of its own, but the same
        (a.astype(">f4"), k),
        (np.asfortranarray(a), k),
        (wide[:, ::2], k),
        (a.view(Own), k),
        (a.tolist(), list(k)),
        (a, k.astype(np.longlong)),
        (a, k.astype(np.int32).astype(">i8")),
    ]
    wrong = [
        ((a,), gl.ArgumentError),
        ((a, k, k), gl.ArgumentError),
        ((a.astype(np.float64), k), gl.DTypeError),
        ((a.view(np.int32), k), gl.DTypeError),
        ((a, k.astype(np.uint64)), gl.DTypeError),
        ((a, k[:-1]), gl.ShapeError),
        ((a.T.copy(), k), gl.ShapeError),
        ((a[0], k), gl.ShapeError),
        ((a[None], k), gl.ShapeError),
        ((None, k), gl.DTypeError),
        ((x, k), gl.ArgumentError),
    ]
    np.testing.assert_array_equal(f(a, k), right)
    for given in alike:
        np.testing.assert_array_equal(f(*given), right)
        np.testing.assert_array_equal(f(a[:2], k[:2]), right[:2])
        np.testing.assert_array_equal(f(a, k), right)
    for given, error in wrong:
        with pytest.raises(error):
            f(*given)
        np.testing.assert_array_equal(f(a, k), right)
    np.testing.assert_array_equal(f(n=k, x=a), right)
    assert f(a[:0], k[:0]).shape == (0, 4)
