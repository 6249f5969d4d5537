"""What a step takes besides time: bytes of temporaries, and what it allocates once it is warm.

    python benchmarks/steady.py mlp cnn lstm attn

Temporaries are the bytes that gradloom plans and those it has in fact allocated, beside what XLA
says of JAX's step (`memory_analysis().temp_size_in_bytes`).  Once warm, a step should allocate
nothing but its result: `tracemalloc` counts what Python and NumPy hold more after many steps than
before, and what one step holds on the way; and the blocks of temporaries must be the same before
and after.
"""

from __future__ import annotations

import argparse
import gc
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import limit_threads, positive, write_json
from sides import PEERS, run_gradloom
from workloads import WORKLOADS, Runner, Workload

WARM = 5  # steps before anything is counted
GOES = 4


def arenas(runner: Runner) -> list[tuple[int, int]]:
    """Address and bytes of each block of temporaries that the step has allocated so far."""
    executable = runner.compiled._executable
    contexts = [c for instance in executable.instances.values() for c in instance.contexts]
    return [(c.arena.ctypes.data, c.arena.nbytes) for c in contexts]


def allocations(runner: Runner, steps: int) -> dict[str, int]:
    """growth: bytes held more after `steps` steps; on_the_way: bytes that a step needs for a while,
    less those of its result; new_arenas: blocks of temporaries that were not there before.

    Of a few goes the least counts: what Python keeps once and for all is no growth.
    """
    for _ in range(WARM):
        runner.step()
    result = np.asarray(runner.step())
    known = arenas(runner)
    tracemalloc.start()
    try:
        itself, _ = traced(runner, 0)
        goes = [traced(runner, steps) for _ in range(GOES)]
    finally:
        tracemalloc.stop()
    return {
        "growth": max(0, min(growth for growth, _ in goes) - itself),
        "on_the_way": min(peak for _, peak in goes) - result.nbytes,
        "new_arenas": len(set(arenas(runner)) - set(known)),
    }


def traced(runner: Runner, steps: int) -> tuple[int, int]:
    """Bytes more behind the steps than before, and at most on the way."""
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    for _ in range(steps):
        runner.step()
    _, peak = tracemalloc.get_traced_memory()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    return after - before, peak - before


def temporaries(runner: Runner, workload: Workload) -> dict[str, int]:
    """Bytes as planned and as allocated; behind a first step."""
    runner.step()
    planned = runner.compiled.memory(*workload.inputs).total
    return {"planned": planned, "allocated": max(size for _, size in arenas(runner))}


def temporaries_in_jax(workload: Workload, threads: int) -> int | None:
    """Bytes, or None where JAX is not installed."""
    try:
        compiled: Any = PEERS["jax"](workload, threads).compiled
    except ModuleNotFoundError:
        return None
    state = [workload.parameters] if workload.parameters else []
    analysis = compiled.lower(*state, *workload.inputs).compile().memory_analysis()
    return int(analysis.temp_size_in_bytes)


def examine(name: str, threads: int, steps: int) -> dict[str, Any]:
    """All figures of one workload."""
    workload = WORKLOADS[name]()
    runner = run_gradloom(workload, threads)
    found = temporaries(runner, workload)
    jax = temporaries_in_jax(workload, threads)
    return {"workload": name, **found, "jax": jax, "steps": steps, **allocations(runner, steps)}


def line(row: dict[str, Any]) -> str:
    jax = "not installed" if row["jax"] is None else f"{row['jax']:,}"
    return (
        f"{row['workload']:12s} temporaries {row['planned']:>12,} planned "
        f"{row['allocated']:>12,} allocated {jax:>12s} in JAX   {row['steps']} steps: "
        f"growth {row['growth']} bytes, on the way {row['on_the_way']}, "
        f"{row['new_arenas']} new arenas"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="default: all")
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--steps", type=positive, default=1000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    options = parser.parse_args(arguments)
    limit_threads(options.threads)
    rows: list[dict[str, Any]] = []
    for name in options.workloads or WORKLOADS:
        rows.append(examine(name, options.threads, options.steps))
        print(line(rows[-1]), flush=True)
    write_json(options.json, "steady", options.threads, rows)


if __name__ == "__main__":
    main()
