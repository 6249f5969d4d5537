"""A lag of a hundred steps: what a simple recurrent network forgets and an LSTM remembers.

The first of 101 symbols is one of four; all others are noise, of four symbols that say nothing.
Asked at the end which one came first, a network must have carried it through the noise.  To learn
that, the gradient must come back over all the steps.  In the simple network each step multiplies
it by the weights and the slope of tanh, and it vanishes; through the cell of an LSTM it passes as
long as the forget gate is open (Hochreiter and Schmidhuber 1997; Bengio, Simard and Frasconi 1994).

Both are trained alike, on sequences drawn afresh for every step, and both begin with weights of
the state whose eigenvalues have the size 1/2, about what is customary.  (With `--radius 1`, begun
with an orthogonal matrix, the simple network keeps a part of the gradient, and learns something.)

    python examples/lag.py
"""

import argparse
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gradloom as gl

LAG, SYMBOLS = 100, 4
HIDDEN, BATCH = 32, 32
RATE, CLIP = 5e-3, 1.0

Array = NDArray[Any]


def sequences(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    """Symbols one-hot, [steps, size, 8], and the first of each."""
    symbols = rng.integers(SYMBOLS, 2 * SYMBOLS, (LAG + 1, size))
    symbols[0] = rng.integers(0, SYMBOLS, size)
    return np.eye(2 * SYMBOLS, dtype=np.float32)[symbols], symbols[0]


def adam(loss: gl.Tensor, parameters: list[gl.Parameter]) -> dict[Any, Any]:
    """New values by clipped gradients over the root of their mean square (Kingma and Ba 2015)."""
    gradients = gl.clip_by_global_norm(gl.grad(loss, parameters), CLIP)
    step = gl.parameter(0.0, "step")
    updates: dict[Any, Any] = {step: step + 1}
    for p, g in zip(parameters, gradients, strict=True):
        mean, square = (gl.parameter(np.zeros_like(p.value), f"{p.name}.{i}") for i in range(2))
        updates[mean] = 0.9 * mean + 0.1 * g
        updates[square] = 0.999 * square + 0.001 * g * g
        fresh = updates[mean] / (1 - 0.9 ** updates[step])
        size = gl.sqrt(updates[square] / (1 - 0.999 ** updates[step]))
        updates[p] = p - RATE * fresh / (size + 1e-8)
    return updates


def glorot(seed: int, rows: int, columns: int) -> Array:
    """Uniform on ±√(6 / (rows + columns))."""
    bound = np.sqrt(6 / (rows + columns))
    return np.random.default_rng(seed).uniform(-bound, bound, (rows, columns)).astype(np.float32)


class Network:
    """A recurrent layer that is read at its end, with what is compiled of it."""

    def __init__(self, name: str, radius: float, seed: int) -> None:
        x = gl.placeholder((LAG + 1, "B", 2 * SYMBOLS), name="x")
        t = gl.placeholder(("B",), "int64", name="t")
        zeros = gl.zeros((x.shape[1], HIDDEN))
        if name == "lstm":  # forget gates begin open, σ(5) = 0.993, input gates closed
            weights = gl.recurrent.lstm_weights(2 * SYMBOLS, HIDDEN, seed, forget_bias=5.0)
            weights["b"].value -= np.where(np.arange(4 * HIDDEN) < HIDDEN, np.float32(3), 0)
            (h, _), _ = gl.scan(gl.recurrent.lstm(**weights), (zeros, zeros), x)
        else:
            weights = gl.recurrent.simple_weights(2 * SYMBOLS, HIDDEN, seed)
            h, _ = gl.scan(gl.recurrent.simple(**weights), zeros, x)
        weights["u"].value *= np.float32(radius)
        v = gl.parameter(glorot(seed, HIDDEN, SYMBOLS), name="v")
        scores = gl.log_softmax(h @ v)
        self.x, self.t = x, t
        self.loss = -gl.mean(gl.take_along_axis(scores, t[:, None], axis=1))
        updates = adam(self.loss, [*weights.values(), v])
        self.train: Callable[..., Array] = gl.function([x, t], self.loss, updates=updates)
        self.right: Callable[..., Array] = gl.function([x, t], gl.argmax(scores, axis=1) == t)


def learn(network: Network, steps: int, rng: np.random.Generator) -> float:
    """So many steps of learning; returns the accuracy on 1000 sequences that are new to it."""
    started = time.perf_counter()
    for step in range(1, steps + 1):
        loss = network.train(*sequences(rng, BATCH))
        if step % 50 == 0:
            print(
                f"  step {step:4d}  loss {loss:.4f}  {time.perf_counter() - started:5.1f} s",
                flush=True,
            )
    return float(np.mean(network.right(*sequences(rng, 1000))))


def show(norms: dict[str, gl.GradientNorms]) -> None:
    """The norms over time as a table, and as a picture where there is matplotlib."""
    print("norm of the gradient by the input of a step, before learning")
    print("  step" + "".join(f"{name:>12}" for name in norms))
    for step in range(0, LAG + 1, 10):
        print(f"  {step:4d}" + "".join(f"{found.norms[step]:12.1e}" for found in norms.values()))
    for name, found in norms.items():
        print(f"  {name}: {found.verdict}")
    try:
        pyplot: Any = import_module("matplotlib.pyplot")
    except ImportError:
        return
    ax: Any = None
    for found in norms.values():
        ax = found.plot(ax)
    ax.set_title("how much the answer depends on each step, before learning")
    ax.legend(list(norms))
    ax.figure.savefig("lag.png")
    pyplot.close(ax.figure)
    print("the picture is in lag.png")


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train both as the command line says; returns their accuracies."""
    parser = argparse.ArgumentParser(description="remember a symbol through a hundred steps")
    parser.add_argument("--steps", type=int, default=300, help="of learning")
    parser.add_argument("--seed", type=int, default=0, help="of weights and sequences")
    parser.add_argument("--radius", type=float, default=0.5, help="of the weights of the state")
    options = parser.parse_args(arguments)
    networks = {name: Network(name, options.radius, options.seed) for name in ("simple", "lstm")}
    x, t = sequences(np.random.default_rng(options.seed), BATCH)
    show({name: gl.gradient_norms(n.loss, n.x, {n.x: x, n.t: t}) for name, n in networks.items()})
    accuracies: dict[str, float] = {}
    for name, network in networks.items():
        print(f"{name}, {options.steps} steps of {BATCH} sequences")
        accuracies[name] = learn(network, options.steps, np.random.default_rng(options.seed))
    for name, accuracy in accuracies.items():
        print(
            f"{name}: {accuracy:.1%} right after a lag of {LAG} steps; by chance {1 / SYMBOLS:.0%}"
        )
    return accuracies


if __name__ == "__main__":
    main()
