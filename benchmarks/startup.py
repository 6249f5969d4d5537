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
from typing import Any

from machine import positive, ratios, write_json
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


def measure(workload: str, peer: str, threads: int, rounds: int) -> list[dict[str, Any]]:
    """A row each for cold and warm: the seconds of both sides, one figure a round."""
    sides = {"gradloom": "ours", peer: "theirs"}
    rows: list[dict[str, Any]] = [
        {"workload": workload, "peer": peer, "state": state, "ours": [], "theirs": []}
        for state in ("cold", "warm")
    ]
    for round_ in range(rounds):
        for system in list(sides) if round_ % 2 == 0 else list(sides)[::-1]:
            with tempfile.TemporaryDirectory() as cache:
                for row in rows:
                    row[sides[system]].append(seconds(system, workload, threads, Path(cache)))
    return rows


def line(row: dict[str, Any]) -> str:
    ours, theirs = row["ours"], row["theirs"]
    return (
        f"{row['workload']:12s} {row['state']} start: ours {median(ours):.2f} s   "
        f"{row['peer']} {median(theirs):.2f} s   ratio {median(ratios(ours, theirs)):.2f}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="default: all")
    parser.add_argument("--vs", choices=list(PEERS), default="jax", dest="peer")
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--only", choices=list(SYSTEMS), help="be the process that is timed")
    options = parser.parse_args(arguments)
    if options.only:
        first_step(options.only, options.workloads[0], options.threads)
        return
    rows: list[dict[str, Any]] = []
    for workload in options.workloads or WORKLOADS:
        found = measure(workload, options.peer, options.threads, options.rounds)
        print("\n".join(map(line, found)), flush=True)
        rows += found
    write_json(options.json, "startup", options.threads, rows)


if __name__ == "__main__":
    main()
