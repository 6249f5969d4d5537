"""What a benchmark says of the machine it ran on, and how it takes its figures.

Nothing here imports a framework; `limit_threads` must come before one is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

PACKAGES = ("numpy", "numba", "llvmlite", "jax", "torch", "pytensor")
UNTIMED_SECONDS = 0.02


def positive(text: str) -> int:
    """A number on the command line that is at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def limit_threads(threads: int) -> None:
    """Hold this process to `threads` processors and tell every framework to use as many.

    NumPy's library of products reads the number when it is loaded, which is before a script has
    read its command line: where it may have read another, this process starts again.  It also reads
    then for how long its threads go on spinning when they have nothing to do, 0.1 s unless told,
    in which they would take a processor from the side that is timed next: 2^20 cycles will do.
    """
    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        if threads > len(available):
            sys.exit(f"--threads {threads}, but this process may use {len(available)} processors")
        os.sched_setaffinity(0, available[:threads])
    libraries = ("GRADLOOM", "OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMBA_NUM")
    wanted = {f"{library}_THREADS": str(threads) for library in libraries}
    wanted["OPENBLAS_THREAD_TIMEOUT"] = "20"
    if any(os.environ.get(name) != number for name, number in wanted.items()):
        os.environ.update(wanted)
        os.execv(sys.executable, sys.orig_argv)


def facts() -> dict[str, Any]:
    """Processor, system and versions; no names of hosts or places."""
    versions: dict[str, str] = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):  # what is not installed has none
            versions[package] = version(package)
    return {
        "processor": processor(),
        "processors": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def processor() -> str:
    """Its model, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def rounded(figures: Any) -> Any:
    """The same with four digits of each number: more is noise."""
    if isinstance(figures, float):
        return float(f"{figures:.4g}")
    if isinstance(figures, dict):
        pairs = cast(dict[str, Any], figures)
        return {key: rounded(value) for key, value in pairs.items()}
    return list(map(rounded, cast(list[Any], figures))) if isinstance(figures, list) else figures


def write_json(path: Path | None, kind: str, threads: int, rows: Any, **more: Any) -> None:
    """Figures of one kind with what they were taken on; nothing where there is no path."""
    if path is not None:
        report = {"kind": kind, "threads": threads, "machine": facts(), **more, "rows": rows}
        path.write_text(json.dumps(rounded(report)) + "\n")


def calls_in(seconds: float, block: Callable[[int], float]) -> int:
    """How many calls take about `seconds`; `block` says what one of so many takes."""
    calls = 1
    while (one := block(calls)) * calls < seconds / 4:
        calls *= 4
    return max(1, round(seconds / one))


def in_turns(
    sides: Mapping[str, Callable[[int], float]], seconds: float, rounds: int
) -> dict[str, list[float]]:
    """Seconds a call of each side, one figure a round: what disturbs the machine disturbs all.

    sides: for each, a function of a number of calls to the seconds that one of them took.  Each
    round goes through all, in blocks of about `seconds`, and every other one backwards.
    """
    calls = {name: calls_in(seconds, block) for name, block in sides.items()}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(rounds):
        for name in list(sides) if round_ % 2 == 0 else list(sides)[::-1]:
            found[name].append(sides[name](calls[name]))
    return found


def repeated(call: Callable[[], Any], calls: int) -> float:
    """Seconds a call, after some that are not timed: threads wake up, caches fill, and those of
    the side that had the machine before go to sleep."""
    end = time.perf_counter() + UNTIMED_SECONDS
    while time.perf_counter() < end:
        call()
    return timeit.timeit(call, number=calls) / calls


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Their time over ours, round by round."""
    return [b / a for a, b in zip(ours, theirs, strict=True)]
