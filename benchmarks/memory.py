"""Memory budgets: what temporaries take with and without, and what keeping to a budget costs.

    python benchmarks/memory.py [mlp] [lstm] [--budgets 50 25]

For each workload, a step of training, and each budget in percent of what the plain step takes: the
bytes that the plan predicts and that the call allocated, operations added, the time of a call, and
whether all results and new parameters are those of the plain step, bit for bit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import gradloom as gl

REPEATS = 5
Network = tuple[list[Any], Any, list[Any]]  # inputs, loss, parameters


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def mlp(layers: int = 24, width: int = 256, batch: int = 256) -> Network:
    """Layers of tanh(x @ w + b)."""
    x = gl.placeholder((batch, width), "float32", "x")
    weights = [gl.parameter(draw(width, width, seed=i) / 16, f"w{i}") for i in range(layers)]
    biases = [gl.parameter(draw(width, seed=i) / 16, f"b{i}") for i in range(layers)]
    value = x
    for weight, bias in zip(weights, biases, strict=True):
        value = gl.tanh(value @ weight + bias)
    return [x], gl.mean(gl.square(value)), [*weights, *biases]


def lstm(steps: int = 100, hidden: int = 128, batch: int = 32, features: int = 64) -> Network:
    """A layer of an LSTM over a sequence, read at its end."""
    x = gl.placeholder((steps, batch, features), "float32", "x")
    w = gl.parameter(draw(features, 4 * hidden) / 8, "w")
    u = gl.parameter(draw(hidden, 4 * hidden, seed=1) / 12, "u")
    b = gl.parameter(np.zeros(4 * hidden, np.float32), "b")

    def cell(carry: Any, row: Any) -> Any:
        h, c = carry
        i, f, o, g = gl.split(row @ w + h @ u + b, 4, 1)
        c = gl.sigmoid(f) * c + gl.sigmoid(i) * gl.tanh(g)
        return (gl.sigmoid(o) * gl.tanh(c), c), None

    zeros = gl.zeros((batch, hidden))
    (last, _), _ = gl.scan(cell, (zeros, zeros), x)
    return [x], gl.mean(gl.square(last)), [w, u, b]


WORKLOADS: Mapping[str, Callable[[], Network]] = {"mlp": mlp, "lstm": lstm}


class Step:
    """A step of gradient descent on new parameters, what it gives, and what it takes."""

    def __init__(self, network: Network, budget: int | None = None) -> None:
        inputs, loss, parameters = network
        gradients = gl.grad(loss, parameters)
        updates = {p: p - 0.1 * g for p, g in zip(parameters, gradients, strict=True)}
        self.function = gl.function(inputs, loss, updates, memory_budget=budget)
        feeds = [draw(*(int(n) for n in tensor.shape), seed=7) for tensor in inputs]
        self.results = [self.function(*feeds), *(p.value.copy() for p in parameters)]
        times: list[float] = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            self.function(*feeds)
            times.append(time.perf_counter() - start)
        self.seconds = min(times)
        self.predicted = self.function.memory().total

    @property
    def measured(self) -> int:
        """Bytes of the block that the calls allocated for temporaries."""
        executable: Any = self.function._executable  # pyright: ignore[reportPrivateUsage]
        (instance,) = executable.instances.values()
        return instance.contexts[0].arena.nbytes


def compare(name: str, budgets: Sequence[int]) -> list[str]:
    """A line for the plain step and one for each budget."""
    plain = Step(WORKLOADS[name]())
    mib = 2**20
    lines = [f"{name}: {plain.predicted / mib:.2f} MiB, {1000 * plain.seconds:.1f} ms"]
    for percent in budgets:
        budget = plain.predicted * percent // 100
        small = Step(WORKLOADS[name](), budget)
        told = small.function.recomputed
        same = all(map(np.array_equal, small.results, plain.results))
        lines.append(
            f"  {percent} %: budget {budget / mib:.2f} MiB, predicted {small.predicted / mib:.2f}, "
            f"measured {small.measured / mib:.2f}, saved {told.saved / mib:.2f}; operations "
            f"+{100 * told.added / told.flops:.0f} %, "
            f"time {100 * (small.seconds / plain.seconds - 1):+.0f} %, "
            f"{'the same bits' if same else 'OTHER BITS'}"
            + (f", segments {told.segments}" if told.segments else "")
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", choices=[*WORKLOADS, []], default=[])
    parser.add_argument("--budgets", nargs="*", type=int, default=[50, 25], help="in percent")
    given = parser.parse_args()
    for name in given.workloads or WORKLOADS:
        print("\n".join(compare(name, given.budgets)), flush=True)


if __name__ == "__main__":
    main()
