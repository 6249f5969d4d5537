"""What every test needs: a cache of its own for compiled kernels, hypothesis' settings, and the
samples that are drawn of the long campaigns."""

import gc
import os
import random
import shutil
import tempfile
from itertools import groupby

import pytest
from hypothesis import HealthCheck, settings

# Set while conftest is imported, before any test imports gradloom; child processes inherit it.
# GRADLOOM_TEST_CACHE names one that is kept, so that a second run compiles little.
KEPT = os.environ.get("GRADLOOM_TEST_CACHE")
CACHE = KEPT or tempfile.mkdtemp(prefix="gradloom-tests-")
os.environ["GRADLOOM_CACHE_DIR"] = CACHE

# Graphs are many objects that live on: looking through them for garbage takes a tenth of the time.
gc.set_threshold(100_000, 50, 100)

# Which cases of the campaigns are drawn: the same everywhere, but for who asks for others.
SEED = os.environ.get("GRADLOOM_TEST_SEED", "0")

# An example may compile kernels, so it has no deadline. CI always tries the same examples.
settings.register_profile(
    "local", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("reproducible", settings.get_profile("local"), derandomize=True)
settings.load_profile("reproducible" if os.environ.get("CI") else "local")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked `campaign(n)`, one of each n cases is drawn; the others are slow."""
    for test, found in groupby(items, lambda item: item.nodeid.partition("[")[0]):
        cases = list(found)
        mark = cases[0].get_closest_marker("campaign")
        if mark is None:
            continue
        (size,) = mark.args
        draw = random.Random(f"{SEED} {test}")
        for first in range(0, len(cases), size):
            together = cases[first : first + size]
            drawn = draw.choice(together)
            for case in together:
                if case is not drawn:
                    case.add_marker("slow")


def pytest_report_header() -> str:
    return f"campaigns: cases drawn by GRADLOOM_TEST_SEED={SEED}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the session's cache away."""
    if not KEPT:
        shutil.rmtree(CACHE, ignore_errors=True)
