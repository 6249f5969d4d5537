# pyright: basic
"""How a call finds out that its threads only wait for each other."""

import numpy as np
import pytest

import gradloom as gl
from gradloom.runtime.team import Pace

LENGTHS = pytest.mark.parametrize("seconds", [1e-5, 1e-3, 0.02, 10.0])


def calls_made(seconds: float, alone: float, slept: bool) -> list[bool]:
    """Whether each of many calls is made together, where calls take so long."""
    pace, made = Pace(), list[bool]()
    for _ in range(max(4000, round(1 / seconds))):
        made.append(pace.together)
        if not pace.took(seconds if pace.together else alone, slept and pace.together):
            break
    return made


@LENGTHS
def test_alone_where_that_is_faster(seconds):
    made = calls_made(seconds, seconds / 3, True)
    assert sum(made) < 0.07 * len(made)
    assert sum(made[len(made) // 2 :]) > 0, "it tries again now and then"


@LENGTHS
def test_together_where_a_long_wait_is_worth_it(seconds):
    made = calls_made(seconds, 2 * seconds, True)
    early, late = (half.count(False) for half in (made[: len(made) // 2], made[len(made) // 2 :]))
    assert 0 < early < 0.1 * len(made)
    assert late < early, "it tries less and less often"


@LENGTHS
def test_one_long_wait_is_forgotten(seconds):
    made = calls_made(seconds, seconds / 3, False)
    assert all(made) and (len(made) - 2) * seconds <= max(5e-3, 3 * seconds) * 1.001


def test_when_the_cores_are_free_again_it_is_together():
    pace, busy, calls = Pace(), True, 0
    while calls < 5000:
        calls += 1
        busy = calls < 2000
        if not pace.took((3e-3 if busy else 1e-3) if pace.together else 2e-3, busy):
            break
    assert 2000 < calls < 2300


def test_calls_that_are_watched_give_the_same_results(monkeypatch):
    """Every call is watched, and trials follow one another."""
    made = list[bool]()

    def took(self: Pace, seconds: float, slept: bool) -> bool:
        made.append(self.together)
        self.together = len(made) % 3 == 0
        return True

    monkeypatch.setattr(Pace, "took", took)
    w = gl.parameter(np.zeros(60_000, np.float32), name="w")
    x = gl.placeholder((60_000,), name="x")
    step = gl.function([x], gl.sum(w * x), updates={w: w + gl.sin(x)}, threads=2)
    values = np.random.default_rng(0).standard_normal(60_000, np.float32)
    step(values)
    executable = step._executable
    (instance,) = executable.instances.values()
    (context,) = instance.idle
    context.call._words[20] = 1  # as if a thread had slept
    results = [step(values) for _ in range(50)]
    v = gl.parameter(np.zeros(60_000, np.float32), name="v")
    plain = gl.function([x], gl.sum(v * x), updates={v: v + gl.sin(x)}, threads=1)
    plain(values)
    assert [plain(values).tobytes() for _ in range(50)] == [r.tobytes() for r in results]
    assert w.value.tobytes() == v.value.tobytes()
    assert 0 < sum(made) < len(made) or executable.threads == 1
