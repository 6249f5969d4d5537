# pyright: basic
"""What a warm call allocates, and what it finds of its arrays."""

import gc
import itertools
import pickle
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.parameter import share_lock

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
    assert len(instance.idle) == 1, "one context serves them all"
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
    code = type(executable).again.__code__
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
            step(1)
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
    before = ws[0].value
    step(2)
    np.testing.assert_array_equal(ws[0].value, before + 2)
    assert all((w.value == ws[0].value).all() for w in ws)


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
    (context,) = instance.idle
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
