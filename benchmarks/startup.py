"""Times how long users wait: from the start of a process to the end of its first step.

    python benchmarks/startup.py mlp_small lstm --vs jax

Each figure is a process of its own, timed from outside; cold means that nothing compiled is on disk
yet, warm that the same process ran once before and left what it compiled (gradloom's cache, JAX's
persistent cache).  Sides take turns, and medians are quoted.  Modules' bytecode is on disk for both
sides, as an installer leaves it: each runs once unmeasured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from sides import PEERS, run_gradloom
from workloads import WORKLOADS

SYSTEMS = {"gradloom": run_gradloom, **PEERS}


def first_step(system: str, workload: str, threads: int) -> None:
    """What a process does."""
    SYSTEMS[system](WORKLOADS[workload](), threads).step()


def seconds(system: str, workload: str, threads: int, cache: Path) -> float:
    """One process, which keeps what it compiles in `cache`."""
    environment = os.environ | {
        "GRADLOOM_CACHE_DIR": str(cache),
        "GRADLOOM_THREADS": str(threads),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    command = [sys.executable, __file__, workload, "--only", system, "--threads", str(threads)]
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True)
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("workloads", nargs="+", choices=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--vs", choices=list(PEERS), default="jax", dest="peer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=list(SYSTEMS), help="be the process that is timed")
    options = parser.parse_args(arguments)
    if options.only:
        first_step(options.only, options.workloads[0], options.threads)
        return
    for workload in options.workloads:
        sides = ("gradloom", options.peer)
        found: dict[tuple[str, str], list[float]] = {}
        for side in sides:
            with tempfile.TemporaryDirectory() as cache:
                seconds(side, workload, options.threads, Path(cache))
        for round_ in range(options.rounds):
            for side in sides if round_ % 2 == 0 else sides[::-1]:
                with tempfile.TemporaryDirectory() as cache:
                    for state in ("cold", "warm"):
                        took = seconds(side, workload, options.threads, Path(cache))
                        found.setdefault((side, state), []).append(took)
        for state in ("cold", "warm"):
            ours, theirs = found["gradloom", state], found[options.peer, state]
            ratio = median(b / a for a, b in zip(ours, theirs, strict=True))
            print(
                f"{workload:12s} {state} start: ours {median(ours):.2f} s   "
                f"{options.peer} {median(theirs):.2f} s   ratio {ratio:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
