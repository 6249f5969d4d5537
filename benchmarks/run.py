"""Times gradloom against other frameworks on the same workloads, in one process.

    python benchmarks/run.py mlp_small mlp --vs jax,torch

First both sides take a few steps from the same parameters, and losses and parameters must agree.
Then each side is timed in turn, block after block, the order changing every round, and a block
always starts from the initial parameters: what disturbs the machine disturbs both.  The ratio is
the peer's time over ours, round by round; its median and quartiles are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import timeit
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from sides import PEERS, package, run_gradloom, version_of
from workloads import WORKLOADS, Array, Runner, Workload

STEPS_COMPARED = 5
# Relative, and about ten times what is seen between two frameworks that are both right.
RESULT_TOLERANCE = 2e-6
CHANGE_TOLERANCE = 1e-4
BLOCK_SECONDS = 0.1
UNTIMED_STEPS = 3  # at the start of a block: threads wake up, caches fill


@dataclass(frozen=True)
class Measurement:
    """Seconds a step, one entry a round, for one workload and one peer."""

    workload: str
    peer: str
    peer_version: str
    threads: int
    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]


def apart(ours: Array, theirs: Array) -> float:
    """The largest difference, as a part of the largest of their values."""
    return float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))


def difference(ours: Runner, theirs: Runner, start: Sequence[Array]) -> str:
    """What differs after a few steps from the same `start`, beyond float32's rounding; or nothing.

    Of parameters the change since the start is compared: the gradients must agree, and next to the
    parameters themselves they are small.
    """
    ours.reset()
    theirs.reset()
    for step in range(1, STEPS_COMPARED + 1):
        a, b = np.asarray(ours.step()), np.asarray(theirs.step())
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"step {step} gives {a.dtype}{a.shape} against {b.dtype}{b.shape}"
        if not apart(a, b) <= RESULT_TOLERANCE:
            return f"the results of step {step} are {apart(a, b):.2g} apart"
    for k, (a, b, v) in enumerate(zip(ours.parameters(), theirs.parameters(), start, strict=True)):
        if not apart(a - v, b - v) <= CHANGE_TOLERANCE:
            return f"parameter {k} changed differently: {apart(a - v, b - v):.2g} apart"
    return ""


def block(runner: Runner, calls: int) -> float:
    """Seconds a step over `calls` steps from the initial parameters."""
    runner.reset()
    for _ in range(UNTIMED_STEPS):
        runner.step()
    return timeit.timeit(runner.step, number=calls) / calls


def calls_in_a_block(runner: Runner) -> int:
    calls = 1
    while (seconds := block(runner, calls)) * calls < BLOCK_SECONDS / 4:
        calls *= 4
    return max(1, round(BLOCK_SECONDS / seconds))


def measure(ours: Runner, theirs: Runner, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds a step of each, in `rounds` pairs of blocks."""
    sides = (ours, theirs)
    calls = [calls_in_a_block(side) for side in sides]
    seconds: tuple[list[float], list[float]] = ([], [])
    for round_ in range(rounds):
        for side in (0, 1) if round_ % 2 == 0 else (1, 0):
            seconds[side].append(block(sides[side], calls[side]))
    return seconds


def line(m: Measurement) -> str:
    low, high = np.percentile(m.ratios, (25, 75))
    return (
        f"{m.workload:12s} ours {median(m.ours) * 1e6:9.1f} µs   "
        f"{m.peer} {m.peer_version} {median(m.theirs) * 1e6:9.1f} µs   "
        f"ratio {median(m.ratios):.2f} (quartiles {low:.2f} to {high:.2f})"
    )


def limit_threads(threads: int) -> None:
    """Hold this process to `threads` processors and tell every framework to use as many.

    Must be called before a framework is imported.
    """
    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        if threads > len(available):
            sys.exit(f"--threads {threads}, but this process may use {len(available)} processors")
        os.sched_setaffinity(0, available[:threads])
    for library in ("GRADLOOM", "OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMBA_NUM"):
        os.environ[f"{library}_THREADS"] = str(threads)


def peer_list(text: str) -> list[str]:
    peers = text.split(",")
    for peer in peers:
        if peer not in PEERS:
            raise argparse.ArgumentTypeError(f"{peer!r} is none of {', '.join(PEERS)}")
    return peers


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def compare(name: str, workload: Workload, peer: str, threads: int, rounds: int) -> Measurement:
    """Check and time one pair; ModuleNotFoundError where the peer is missing."""
    theirs = PEERS[peer](workload, threads)
    ours = run_gradloom(workload, threads)
    if reason := difference(ours, theirs, workload.parameters):
        raise ArithmeticError(f"{name}: gradloom and {peer} disagree, not timed: {reason}")
    seconds = measure(ours, theirs, rounds)
    return Measurement(name, peer, version_of(peer), threads, *seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says; 1 where results disagree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("workloads", nargs="+", choices=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--vs", type=peer_list, default=["jax"], metavar="PEER,…", dest="peers")
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--rounds", type=positive, default=15, help="pairs of timed blocks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    options = parser.parse_args(arguments)
    limit_threads(options.threads)

    measurements: list[Measurement] = []
    disagreed = False
    for name in options.workloads:
        workload = WORKLOADS[name]()
        for peer in options.peers:
            try:
                found = compare(name, workload, peer, options.threads, options.rounds)
            except ModuleNotFoundError as error:
                if error.name != package(peer):
                    raise
                print(f"{name:12s} {package(peer)} is not installed", flush=True)
            except NotImplementedError as error:
                print(error, flush=True)
            except ArithmeticError as error:
                print(error, flush=True)
                disagreed = True
            else:
                measurements.append(found)
                print(line(found), flush=True)
    if options.json:
        figures = [{**asdict(m), "ratios": m.ratios} for m in measurements]
        report = {"machine": platform.platform(), "measurements": figures}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(disagreed)


if __name__ == "__main__":
    sys.exit(main())
