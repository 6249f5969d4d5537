# pyright: basic
"""How a call finds out that its threads only wait for each other."""

import ctypes
import time

import numpy as np
import pytest

import gradloom as gl
from gradloom.runtime.assembly import FEWEST, MOST, WORKERS
from gradloom.runtime.pace import Pace
from gradloom.runtime.team import the_team

LENGTHS = pytest.mark.parametrize("seconds", [1e-5, 1e-3, 0.02, 10.0])


def calls_made(seconds: float, alone: float, slept: bool) -> list[bool]:
    """Whether each of many calls is made together, where calls take so long."""
    pace, made = Pace(), list[bool]()
    while len(made) < max(4000, round(10 / seconds)):
        made.append(pace.together)
        calls = pace.took(seconds if pace.together else alone, slept and pace.together)
        if calls == Pace.DONE:
            break
        made += [pace.settled] * calls
    return made


@LENGTHS
@pytest.mark.parametrize("slept", [False, True])
def test_alone_where_that_is_faster(seconds, slept):
    made = calls_made(seconds, seconds / 3, slept or seconds > Pace.LONG)
    assert sum(made) < 0.07 * len(made)
    assert sum(made[len(made) // 2 :]) > 0, "it tries again now and then"


@LENGTHS
@pytest.mark.parametrize("slept", [False, True])
def test_together_where_that_is_faster(seconds, slept):
    """With long waits, too."""
    made = calls_made(seconds, 2 * seconds, slept or seconds > Pace.LONG)
    early, late = (half.count(False) for half in (made[: len(made) // 2], made[len(made) // 2 :]))
    assert 0 < early < 0.1 * len(made)
    assert late < early, "it tries less and less often"


@pytest.mark.parametrize("seconds", [0.03, 10.0])
def test_long_calls_are_not_tried_alone_unless_a_thread_slept(seconds):
    made = calls_made(seconds, seconds / 3, False)
    assert all(made) and len(made) <= 4
    assert not all(calls_made(seconds, seconds / 3, True))


def test_a_trial_that_met_with_something_else_does_not_count():
    """As the first calls do, whose results stand in pages that are still to be found."""
    pace, asked = Pace(), 0
    while not (calls := pace.took(0.02 if asked < 6 else 1e-3 if pace.together else 2e-3, False)):
        asked += 1
    assert pace.settled and calls > 0, "all threads, as at the next trial"


def test_when_the_cores_are_free_again_it_is_together():
    pace, made = Pace(), list[bool]()
    while len(made) < 10_000:
        busy = len(made) < 2000
        made.append(pace.together)
        calls = pace.took((3e-3 if busy else 1e-3) if pace.together else 2e-3, busy)
        made += [pace.settled] * calls
    assert sum(made[:2000]) < 200 and sum(made[2200:]) > 0.97 * len(made[2200:])


def test_what_was_found_holds_for_so_many_calls(monkeypatch):
    """The words that Python and the launcher share."""
    asked = []

    def took(self: Pace, seconds: float, slept: bool) -> int:
        asked.append(self.together)
        self.settled = len(asked) % 2 == 0
        return 10 * len(asked)

    monkeypatch.setattr(Pace, "took", took)
    x = gl.placeholder((70, 70), name="x")
    f = gl.function([x], gl.sum(x @ x), threads=2)
    (instance,) = [f(np.ones((70, 70), np.float32)), *f._executable.instances.values()][1:]
    (context,) = instance.contexts
    assert instance.threads == 2, "tiny, but not too small for two threads"
    words = context.call._words
    assert (len(asked), words.left, words.alone, words.watch) == (1, 10, 1, 0)
    for left in range(9, -1, -1):
        f(np.ones((70, 70), np.float32))
        assert (len(asked), words.left, words.watch) == (1, left, int(left == 0))
    f(np.ones((70, 70), np.float32))
    assert (len(asked), words.left, words.alone, words.watch) == (2, 20, 0, 0)


def test_a_call_that_was_none_is_no_trial(monkeypatch):
    """Sizes change from call to call: each is first tried as the one before."""
    times = list[float]()

    def took(self: Pace, seconds: float, slept: bool) -> int:
        times.append(seconds)
        return 0

    monkeypatch.setattr(Pace, "took", took)
    x = gl.placeholder(("N", 70), name="x")
    f = gl.function([x], gl.sum(x @ x.T), threads=2)
    for _ in range(5):
        for n in (70, 71):
            f(np.ones((n, 70), np.float32))
    assert len(times) == 10


def test_calls_that_are_watched_give_the_same_results(monkeypatch):
    """Every call is watched, and trials follow one another."""
    made = list[bool]()

    def took(self: Pace, seconds: float, slept: bool) -> int:
        made.append(self.together)
        self.together = len(made) % 3 == 0
        return 0

    monkeypatch.setattr(Pace, "took", took)
    w = gl.parameter(np.zeros(60_000, np.float32), name="w")
    x = gl.placeholder((60_000,), name="x")
    step = gl.function([x], gl.sum(w * x), updates={w: w + gl.sin(x)}, threads=2)
    values = np.random.default_rng(0).standard_normal(60_000, np.float32)
    step(values)
    executable = step._executable
    (instance,) = executable.instances.values()
    (context,) = instance.contexts
    context.call._words.watch = 1  # as if a thread had slept
    results = [step(values) for _ in range(50)]
    v = gl.parameter(np.zeros(60_000, np.float32), name="v")
    plain = gl.function([x], gl.sum(v * x), updates={v: v + gl.sin(x)}, threads=1)
    plain(values)
    assert [plain(values).tobytes() for _ in range(50)] == [r.tobytes() for r in results]
    assert w.value.tobytes() == v.value.tobytes()
    assert 0 < sum(made) < len(made) or executable.threads == 1


@pytest.mark.skipif(not WORKERS, reason="no workers on this system")
def test_who_had_to_be_woken_waits_longer():
    """After a pause threads do not go on sleeping and waking each other at every call."""
    x = gl.placeholder((300, 300), name="x")
    product = gl.function([x], x @ x, threads=2)
    values = np.ones((300, 300), np.float32)
    product(values)
    pauses = ctypes.c_int64.from_address(the_team.state + 40)
    pauses.value = FEWEST
    end = time.monotonic() + 20
    while not the_team.asleep() and time.monotonic() < end:
        time.sleep(0.01)
    np.testing.assert_array_equal(product(values), np.full((300, 300), 300.0))
    assert pauses.value == MOST
    rung = ctypes.c_int64.from_address(the_team.state + 48)
    while rung.value and time.monotonic() < end:  # who waited may take note after the call's end
        time.sleep(0.001)
    assert rung.value == 0
