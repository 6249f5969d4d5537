"""The least time that a workload's step can take on this machine.

    python benchmarks/roofline.py mlp cnn --threads 2

A step must do the multiply-adds of its products and convolutions, forward and for the gradients,
and must read its inputs and parameters and write its results and new parameters once.  Nothing else
counts: not element-wise work, nor temporaries, nor what a compiler chooses to compute twice.  The
*floor* is the larger of these operations at the machine's peak of multiply-adds and these bytes at
its peak of memory traffic, both measured in this process by gradloom's own loops of vector
instructions; *share* of a time is floor / time (the roofline of Williams, Waterman and Patterson,
2009).

A peak is of its moment: memory of a virtual machine was seen to have twice the bandwidth a minute
later.  So `run.py` reads the peaks in turns with the steps that it times.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from math import prod
from statistics import median
from typing import Any

from machine import limit_threads, positive
from workloads import WORKLOADS, Array, Workload


@dataclass(frozen=True)
class Work:
    """What a step cannot do without: floating-point operations, bytes."""

    flops: int
    bytes: int

    def floor(self, flops_a_second: float, bytes_a_second: float) -> float:
        """Seconds."""
        return max(self.flops / flops_a_second, self.bytes / bytes_a_second)


FORWARD_AND_WEIGHTS = 2  # products where no gradient by the input is needed
ALL_WAYS = 3


def layers(x: Array, *parameters: Array) -> int:
    first, *others = parameters[::2]
    rows = len(x)
    return rows * (FORWARD_AND_WEIGHTS * first.size + ALL_WAYS * sum(w.size for w in others))


def cnn(x: Array, *parameters: Array) -> int:
    """The sizes of images are kept by the convolutions and halved by the pools."""
    first, second, dense = parameters[::2]
    pixels = prod(x.shape[2:])
    later = ALL_WAYS * (pixels // 4 * second.size + dense.size)
    return len(x) * (FORWARD_AND_WEIGHTS * pixels * first.size + later)


def lstm(x: Array, w_x: Array, w_h: Array, bias: Array, w: Array, b: Array) -> int:
    steps = x.shape[1] * (FORWARD_AND_WEIGHTS * w_x.size + ALL_WAYS * w_h.size)
    return len(x) * (steps + ALL_WAYS * w.size)


def attn(x: Array, *parameters: Array) -> int:
    """Two products in each head besides those with weights, together of the width's size."""
    batch, words, width = x.shape
    weights = sum(p.size for p in parameters if p.ndim == 2)
    return ALL_WAYS * batch * (words * weights + 2 * words * words * width)


MULTIPLY_ADDS = {"layers": layers, "cnn": cnn, "lstm": lstm, "attn": attn}


def work(workload: Workload) -> Work:
    """Of one step."""
    read = sum(array.nbytes for array in (*workload.inputs, *workload.parameters))
    if workload.model == "elementwise":
        return Work(0, read + workload.inputs[0].nbytes)
    multiply_adds = MULTIPLY_ADDS[workload.model](workload.inputs[0], *workload.parameters)
    return Work(2 * multiply_adds, read + sum(p.nbytes for p in workload.parameters))


@dataclass(frozen=True)
class Peaks:
    """float32 operations and bytes a second, both of `threads` threads together."""

    threads: int
    flops: float
    bytes: float

    def __str__(self) -> str:
        return (
            f"peak of {self.threads} threads: {self.flops / 1e9:.0f} Gflop/s in multiply-adds, "
            f"{self.bytes / 1e9:.1f} GB/s in a triad"
        )

    def floor(self, workload: Workload) -> float:
        """Seconds of a step at least."""
        return work(workload).floor(self.flops, self.bytes)


def measured(threads: int) -> Peaks:
    """This machine's, now: each the best of a few runs, since whatever disturbs only lowers it."""
    module: Any = import_module("gradloom.runtime.peaks")
    return Peaks(threads, module.multiply_adds(threads, 32), module.bandwidth(threads))


def usual(readings: Sequence[Peaks]) -> Peaks:
    """The medians of several readings."""
    flops, moved = median(p.flops for p in readings), median(p.bytes for p in readings)
    return Peaks(readings[0].threads, flops, moved)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="default: all")
    parser.add_argument("--threads", type=positive, default=2)
    options = parser.parse_args(arguments)
    limit_threads(options.threads)
    peaks = measured(options.threads)
    print(peaks)
    for name in options.workloads or WORKLOADS:
        workload = WORKLOADS[name]()
        needed = work(workload)
        print(
            f"{name:12s} {needed.flops / 1e6:8.1f} Mflop {needed.bytes / 1e6:8.2f} MB   "
            f"floor {peaks.floor(workload) * 1e6:8.1f} µs"
        )


if __name__ == "__main__":
    main()
