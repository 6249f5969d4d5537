"""What every test needs: a cache of its own for compiled kernels, and hypothesis' settings."""

import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# Set while conftest is imported, before any test imports gradloom; child processes inherit it.
# GRADLOOM_TEST_CACHE names one that is kept, so that a second run compiles little.
KEPT = os.environ.get("GRADLOOM_TEST_CACHE")
CACHE = KEPT or tempfile.mkdtemp(prefix="gradloom-tests-")
os.environ["GRADLOOM_CACHE_DIR"] = CACHE

# An example may compile kernels, so it has no deadline. CI always tries the same examples.
settings.register_profile(
    "local", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("reproducible", settings.get_profile("local"), derandomize=True)
settings.load_profile("reproducible" if os.environ.get("CI") else "local")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the session's cache away."""
    if not KEPT:
        shutil.rmtree(CACHE, ignore_errors=True)
