"""Times gradloom against other frameworks on the same workloads, in one process.

    python benchmarks/run.py mlp_small mlp --vs jax,torch

First both sides take a few steps from the same parameters, and losses and parameters must agree.
Then each side is timed in turn, block after block, the order changing every round, and a block
always starts from the initial parameters: what disturbs the machine disturbs both.  The ratio is
the peer's time over ours, round by round; its median and quartiles are printed.  The machine's own
peaks are read in each round, too; so the share of the roofline (`roofline.py`) is of one moment.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import geometric_mean, median

import numpy as np
from machine import in_turns, limit_threads, positive, ratios, repeated, write_json
from roofline import Peaks, measured, usual, work
from sides import PEERS, package, run_gradloom, version_of
from workloads import WORKLOADS, Array, Runner, Workload

STEPS_COMPARED = 5
# Relative, and about ten times what is seen between two frameworks that are both right.
RESULT_TOLERANCE = 2e-6
CHANGE_TOLERANCE = 1e-4
BLOCK_SECONDS = 0.1


@dataclass(frozen=True)
class Measurement:
    """Seconds a step, one entry a round, for one workload and one peer; floors: the least."""

    workload: str
    peer: str
    peer_version: str
    threads: int
    floors: list[float]
    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        return ratios(self.ours, self.theirs)

    @property
    def share(self) -> float:
        """Of the roofline: 1 is as fast as the machine allows."""
        return median(ratios(self.ours, self.floors))


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


def block(runner: Runner) -> Callable[[int], float]:
    """Seconds a step over some steps from the initial parameters, as a function of their number."""

    def run(calls: int) -> float:
        runner.reset()
        return repeated(runner.step, calls)

    return run


def line(m: Measurement) -> str:
    low, high = np.percentile(m.ratios, (25, 75))
    return (
        f"{m.workload:12s} ours {median(m.ours) * 1e6:9.1f} µs   "
        f"{m.peer} {m.peer_version} {median(m.theirs) * 1e6:9.1f} µs   "
        f"ratio {median(m.ratios):.2f} (quartiles {low:.2f} to {high:.2f})   "
        f"floor {median(m.floors) * 1e6:.1f} µs, share {m.share:.2f}"
    )


def peer_list(text: str) -> list[str]:
    peers = text.split(",")
    for peer in peers:
        if peer not in PEERS:
            raise argparse.ArgumentTypeError(f"{peer!r} is none of {', '.join(PEERS)}")
    return peers


def compare(
    name: str, workload: Workload, peer: str, threads: int, rounds: int, read: Callable[[], Peaks]
) -> Measurement:
    """Check and time one pair, reading the peaks in turns with them; ModuleNotFoundError where the
    peer is missing."""
    theirs = PEERS[peer](workload, threads)
    ours = run_gradloom(workload, threads)
    if reason := difference(ours, theirs, workload.parameters):
        raise ArithmeticError(f"{name}: gradloom and {peer} disagree, not timed: {reason}")

    def floor(_: int) -> float:
        return read().floor(workload)

    sides = {"ours": block(ours), "theirs": block(theirs), "floors": floor}
    seconds = in_turns(sides, BLOCK_SECONDS, rounds)
    return Measurement(name, peer, version_of(peer), threads, **seconds)


def means(measurements: Sequence[Measurement]) -> list[str]:
    """The geometric mean of each peer's ratios, where there are several."""
    found: dict[str, list[float]] = {}
    for m in measurements:
        found.setdefault(m.peer, []).append(median(m.ratios))
    return [
        f"geometric mean over {len(values)} workloads against {peer}: {geometric_mean(values):.2f}"
        for peer, values in found.items()
        if len(values) > 1
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says; 1 where results disagree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="default: all")
    parser.add_argument("--vs", type=peer_list, default=["jax"], metavar="PEER,…", dest="peers")
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--rounds", type=positive, default=15, help="pairs of timed blocks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(WORKLOADS)}")
    limit_threads(options.threads)
    readings: list[Peaks] = []

    def read() -> Peaks:
        readings.append(measured(options.threads))
        return readings[-1]

    print(read(), flush=True)
    measurements: list[Measurement] = []
    disagreed = False
    for name in options.workloads or WORKLOADS:
        workload = WORKLOADS[name]()
        for peer in options.peers:
            try:
                found = compare(name, workload, peer, options.threads, options.rounds, read)
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
    for mean in means(measurements):
        print(mean)
    figures = [
        {**asdict(m), **asdict(work(WORKLOADS[m.workload]())), "ratios": m.ratios, "share": m.share}
        for m in measurements
    ]
    peaks = asdict(usual(readings))
    write_json(options.json, "steps", options.threads, figures, peaks=peaks)
    return int(disagreed)


if __name__ == "__main__":
    sys.exit(main())
