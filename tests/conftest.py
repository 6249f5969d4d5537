"""What every test needs: a cache of its own for compiled kernels, hypothesis' settings, and the
samples that are drawn of the long campaigns; and what some need."""

import gc
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Generator
from typing import cast

import pytest
from hypothesis import HealthCheck, settings

# Set while conftest is imported, before any test imports gradloom; child processes inherit it.
# GRADLOOM_TEST_CACHE names one that is kept, so that a second run compiles little.
KEPT = os.environ.get("GRADLOOM_TEST_CACHE")
CACHE = KEPT or tempfile.mkdtemp(prefix="gradloom-tests-")
os.environ["GRADLOOM_CACHE_DIR"] = CACHE

# Graphs are many objects that live on: looking through them for garbage takes a tenth of the time.
gc.set_threshold(20_000, 20, 20)

# By what the cases of campaigns are drawn: the same each time, but for who asks for others.
SEED = os.environ.get("GRADLOOM_TEST_SEED", "0")

# An example may compile kernels, so it has no deadline. CI always tries the same examples.
settings.register_profile(
    "local", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("reproducible", settings.get_profile("local"), derandomize=True)
settings.load_profile("reproducible" if os.environ.get("CI") else "local")


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem() -> Generator[None, object, object]:
    """Of a test marked `campaign(n)`, one of each n cases is drawn; the others are slow.

    Not always the first, say, of each n, which may all be of a kind: another place each time.
    """
    found = yield
    if not isinstance(found, list):  # a class, or nothing
        return found
    cases = cast("list[pytest.Function]", found)
    mark = cases[0].get_closest_marker("campaign") if cases else None
    if mark is not None:
        size: int = mark.args[0]
        places = list(range(size))
        random.Random(f"{SEED} {cases[0].originalname}").shuffle(places)
        for number, first in enumerate(range(0, len(cases), size)):
            together = cases[first : first + size]
            drawn = places[number % size] % len(together)
            for place, case in enumerate(together):
                if place != drawn:
                    case.add_marker("slow")
    return cases


def pytest_report_header() -> str:
    return f"campaigns: cases drawn by GRADLOOM_TEST_SEED={SEED}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the session's cache away."""
    if not KEPT:
        shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture
def no_python(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it makes a call that native code does not make from beginning to end an error."""
    from gradloom.frontends.function import Function

    def usual(*_: object, **__: object) -> None:
        raise AssertionError("not like the last call")

    return lambda: monkeypatch.setattr(Function, "_usual", usual)
