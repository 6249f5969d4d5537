# pyright: basic
"""Small results that nobody has any more are used again; all others are left alone."""

import weakref

import numpy as np
import pytest

import gradloom as gl

F32 = np.float32


@pytest.fixture
def again(no_python):
    """x + 1 of four numbers, called like the last time."""
    x = gl.placeholder((4,), name="x")
    f = gl.function([x], x + 1)
    f(np.zeros(4, F32))
    no_python()
    return lambda n: f(np.full(4, n, F32))


def test_small_results_that_nobody_has_are_used_again(no_python):
    x = gl.placeholder((4,), name="x")
    f = gl.function([x], [x + 1, gl.sum(x)])
    f(np.zeros(4, F32))
    no_python()
    made = list[object]()

    def empty(shape, dtype):
        made.append(shape)
        return np.empty(shape, dtype)

    last = f._executable.last
    last[0] = tuple(empty if thing is np.empty else thing for thing in last[0])
    for n in range(100):
        results = f(np.full(4, n, F32))  # while those of the last call are still there
        assert results[0].tolist() == [n + 1] * 4 and results[1] == 4 * n
    assert len(made) == 4
    with pytest.raises(ValueError, match="resize"):
        results[0].resize(8)
    results[0].resize(8, refcheck=False)


@pytest.mark.parametrize(
    "have",
    [
        lambda result: result,
        lambda result: result[2:],
        lambda result: result.reshape(2, 2).T,
        memoryview,
        lambda result: np.frombuffer(result, F32),
    ],
)
def test_results_that_somebody_has_are_left_alone(have, again):
    for n, thing in enumerate([have(again(n)) for n in range(10)]):
        assert (np.asarray(thing) == n + 1).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda result: setattr(result, "shape", (2, 2)),
        lambda result: setattr(result, "dtype", np.int32),
        lambda result: result.setflags(write=False),
        lambda result: result.resize((100,), refcheck=False),
        lambda result: result.__setstate__((1, (2,), np.dtype("f4"), False, bytes(8))),
    ],
)
def test_a_result_that_was_changed_is_not_used_again(change, again):
    for n in range(6):
        result = again(n)
        assert result.dtype == F32 and result.flags.writeable and result.tolist() == [n + 1] * 4
        change(result)


def test_a_weak_reference_sees_no_other_result(again):
    seen = [weakref.ref(again(n)) for n in range(10)]
    for n, reference in enumerate(seen):
        result = reference()
        assert result is None or result.tolist() == [n + 1] * 4
    assert sum(reference() is not None for reference in seen) <= 2


def test_large_results_are_not_kept(no_python):
    x = gl.placeholder((1 << 14, 2), name="x")
    f = gl.function([x], x + 1, threads=1)
    given = np.zeros((1 << 14, 2), F32)
    f(given)
    no_python()
    reference = weakref.ref(f(given))
    assert reference() is None
