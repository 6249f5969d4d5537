"""Handwritten digits: a 64-128-64-10 network, trained from first principles.

Everything that a library would hide is written out: the layers, the softmax, the loss and the
optimiser are formulas.  gradloom derives the gradient as more formulas, rewrites the naive softmax
into its stable form, fuses all of it into a few loops, and compiles one step that is called for
every mini-batch, whatever the size of the last one.

    python examples/digits.py --seed 0
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits  # pyright: ignore[reportMissingTypeStubs]

import gradloom as gl

WIDTHS = (64, 128, 64, 10)
MOMENTUM = 0.9
NOISE = 0.2  # standard deviation; pixels go from 0 to 1

Array = NDArray[Any]
Function = Callable[..., Array]


def load() -> tuple[Array, Array, Array, Array]:
    """Training pixels and labels, then held-out ones: every fifth sample is held out."""
    digits = cast(Any, load_digits())
    pixels, labels = (digits.data / 16).astype(np.float32), digits.target
    held_out = np.arange(len(labels)) % 5 == 0
    pixels -= np.mean(pixels[~held_out], axis=0)
    return pixels[~held_out], labels[~held_out], pixels[held_out], labels[held_out]


def glorot(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Uniform on ±√(6 / (rows + columns)), so that layers neither fade nor blow up."""
    bound = np.sqrt(6 / (rows + columns))
    return rng.uniform(-bound, bound, (rows, columns)).astype(np.float32)


def build(rng: np.random.Generator) -> tuple[Function, Function]:
    """Two compiled functions: (x, t, rate) -> loss, which also learns, and x -> probabilities."""
    weights = [gl.parameter(glorot(rng, m, n), name=f"w{m}_{n}") for m, n in pairwise(WIDTHS)]
    biases = [gl.parameter(np.zeros(n, np.float32), name=f"b_{n}") for n in WIDTHS[1:]]

    x = gl.placeholder(("B", WIDTHS[0]), name="x")
    t = gl.placeholder(("B",), "int64", name="t")
    rate = gl.placeholder((), name="rate")

    hidden = x
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        hidden = gl.relu(hidden @ w + b)
    z = hidden @ weights[-1] + biases[-1]
    p = gl.exp(z) / gl.sum(gl.exp(z), axis=1, keepdims=True)
    loss = -gl.mean(gl.log(gl.take_along_axis(p, t[:, None], axis=1)))

    # Momentum: a velocity for each parameter gathers its gradients and moves it.
    parameters = weights + biases
    velocities = [gl.parameter(np.zeros_like(q.value), name=f"v_{q.name}") for q in parameters]
    updates: dict[Any, Any] = {}
    for q, v, g in zip(parameters, velocities, gl.grad(loss, parameters), strict=True):
        updates[v] = MOMENTUM * v - rate * g
        updates[q] = q + updates[v]
    return gl.function([x, t, rate], loss, updates=updates), gl.function([x], p)


def batches(
    rng: np.random.Generator, pixels: Array, labels: Array, size: int
) -> Iterator[tuple[Array, Array]]:
    """Every sample once, in random order, with noise on its pixels: no two epochs see the same."""
    order = rng.permutation(len(labels))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        noise = rng.standard_normal((len(chosen), WIDTHS[0]), np.float32)
        yield pixels[chosen] + NOISE * noise, labels[chosen]


def main(arguments: Sequence[str] | None = None) -> float:
    """Train as the command line says; returns the accuracy on the held-out samples."""
    parser = argparse.ArgumentParser(description="train a small network on scikit-learn's digits")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and noise")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32, help="samples in a mini-batch")
    parser.add_argument("--rate", type=float, default=0.1, help="at the start; it falls to 0")
    options = parser.parse_args(arguments)

    rng = np.random.default_rng(options.seed)
    pixels, labels, held_out_pixels, held_out_labels = load()
    step, predict = build(rng)
    accuracy = 0.0
    for epoch in range(options.epochs):
        rate = np.float32(options.rate * (1 - epoch / options.epochs))
        started = time.perf_counter()
        shuffled = batches(rng, pixels, labels, options.batch)
        losses = [step(xb, tb, rate) for xb, tb in shuffled]
        speed = len(labels) / (time.perf_counter() - started)
        right = predict(held_out_pixels).argmax(axis=1) == held_out_labels
        accuracy = np.count_nonzero(right) / len(right)
        print(
            f"epoch {epoch + 1:2d}  loss {np.mean(losses):.4f}  accuracy {accuracy:.4f}"
            f"  {speed:9,.0f} samples/s",
            flush=True,
        )
    print(f"held-out accuracy: {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
