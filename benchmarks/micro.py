"""Times single operations: softmax, layer norm, reductions, matmul, convolutions with gradients.

    python benchmarks/micro.py matmul convolution --rounds 7

Each case is one line in each framework (`micro_cases.py`), on the same float32 arrays and as many
threads; all must give the same result.  Sides are timed in turns.  Printed are the time of each,
the median over the rounds of the best peer's time over ours, and the geometric mean over a suite;
the best peer of a case is the one with the least median.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np
from machine import in_turns, limit_threads, positive, ratios, repeated, write_json
from micro_cases import SUITES, Array, Case, Formula

PEERS = ("numpy", "torch", "jax")
BLOCK_SECONDS = 0.02
TOLERANCE = 2e-5  # of the largest entry: float32 sums of thousands, in other orders


class Modules:
    """The frameworks by short names, each imported when first used."""

    def __getattr__(self, name: str) -> Any:
        full = {"gl": "gradloom", "jnp": "jax.numpy", "pt": "pytensor.tensor"}.get(name, name)
        self.__dict__[name] = import_module(full)
        return self.__dict__[name]


def prepared(side: str, formula: Formula, arrays: Sequence[Array], m: Any) -> Callable[[], Any]:
    """What is timed: a call on arrays that the framework has already."""
    if side == "gradloom":
        inputs = [m.gl.placeholder(a.shape, str(a.dtype), f"x{k}") for k, a in enumerate(arrays)]
        function = m.gl.function(inputs, formula(*inputs))
        return lambda: function(*arrays)
    if side == "jax":
        own = [m.jnp.asarray(a) for a in arrays]
        compiled = m.jax.jit(formula)
        return lambda: compiled(*own).block_until_ready()
    if side == "torch":
        own = [m.torch.from_numpy(a) for a in arrays]

        def run() -> Any:
            with m.torch.inference_mode():
                return formula(*own)

        return run
    if side == "pytensor":
        symbols = [m.pt.tensor(dtype=str(a.dtype), shape=a.shape) for a in arrays]
        theirs = m.pytensor.function(symbols, formula(*symbols), mode="NUMBA")
        return lambda: theirs(*arrays)
    return lambda: formula(*arrays)


def check(case: Case, calls: dict[str, Callable[[], Any]]) -> None:
    """ArithmeticError where a side's result is not ours."""
    ours = np.asarray(calls["gradloom"]())
    for side, call in calls.items():
        theirs = np.asarray(call())
        if theirs.shape != ours.shape:
            raise ArithmeticError(f"{case.name}: {side} gives {theirs.shape}, we {ours.shape}")
        apart = float(np.max(np.abs(theirs - ours)) / max(float(np.max(np.abs(theirs))), 1e-30))
        if not apart <= TOLERANCE:
            raise ArithmeticError(f"{case.name}: {side} and gradloom are {apart:.2g} apart")


def compare(case: Case, peers: Sequence[str], rounds: int, m: Any) -> dict[str, Any]:
    """A row of figures: seconds of each side, the best peer, and its ratios to us."""
    sides = ["gradloom", *(peer for peer in peers if peer in case.formulas)]
    calls = {side: prepared(side, case.formulas[side], case.arrays, m) for side in sides}
    check(case, calls)

    def block(call: Callable[[], Any]) -> Callable[[int], float]:
        return lambda count: repeated(call, count)

    blocks = {side: block(call) for side, call in calls.items()}
    seconds = in_turns(blocks, BLOCK_SECONDS, rounds)
    best = min(sides[1:], key=lambda side: median(seconds[side]))
    found = ratios(seconds["gradloom"], seconds[best])
    return {"case": case.name, "seconds": seconds, "best": best, "ratio": median(found)}


def line(row: dict[str, Any]) -> str:
    times = "  ".join(f"{side} {median(t) * 1e6:9.1f}" for side, t in row["seconds"].items())
    return f"{row['case']:58s} µs: {times}   ratio to {row['best']} {row['ratio']:.2f}"


def run_suite(
    name: str, peers: Sequence[str], rounds: int, first: int | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of one suite, or of its first cases."""
    m = Modules()
    for case in islice(SUITES[name](m), first):
        yield {"suite": name, **compare(case, peers, rounds, m)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("suites", nargs="*", help=f"of {', '.join(SUITES)}; default: all")
    parser.add_argument("--vs", default=",".join(PEERS), metavar="PEER,…", dest="peers")
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--first", type=positive, help="only so many cases of each suite")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    options = parser.parse_args(arguments)
    limit_threads(options.threads)
    rows: list[dict[str, Any]] = []
    for name in options.suites or SUITES:
        found: list[dict[str, Any]] = []
        for row in run_suite(name, options.peers.split(","), options.rounds, options.first):
            print(line(row), flush=True)
            found.append(row)
        mean = geometric_mean(row["ratio"] for row in found)
        print(f"{name}: geometric mean over {len(found)} cases {mean:.2f}", flush=True)
        rows += found
    write_json(options.json, "micro", options.threads, rows)


if __name__ == "__main__":
    main()
