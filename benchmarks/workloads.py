"""The benchmark workloads: their data, and what a framework makes of them.

Every workload is float32 and one whole step.  `elementwise` is one long expression on three
vectors of 4 Mi elements.  The others are networks that classify: forward, softmax cross-entropy,
backward, and plain gradient descent at a rate of 0.01, on a fixed batch.

- `mlp_small`, `mlp`: layers of tanh.
- `cnn`: two times a convolution of 5 × 5 that keeps the size, relu and max-pooling of 2 × 2, then a
  dense layer, on 64 images of 28 × 28.
- `lstm`: a loop of 32 steps over 32 sequences at once, whose last state is classified.
- `attn`: one block of a transformer (layer norm, 4 heads of attention, residual; layer norm, gelu
  between two dense layers, residual) on 8 sequences of 64 words of width 128, each word classified.

How a framework is told them stands in a file of its own each (`in_gradloom.py`, `in_jax.py`, …),
and all of these in `sides.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
RATE = 0.01
HEADS = 4
EPSILON = 1e-5  # of layer norms


@dataclass(frozen=True)
class Workload:
    """Which model, input arrays, and the parameters' initial values."""

    model: str
    inputs: list[Array]
    parameters: list[Array]


@dataclass(frozen=True)
class Runner:
    """A workload in one framework.

    step: does one step, returns its result (the loss, or the vector) once everything is computed.
    parameters: their present values, as NumPy arrays.
    reset: puts the initial values back.
    compiled: the framework's own object for the step, where it has one.
    """

    step: Callable[[], Any]
    parameters: Callable[[], list[Array]]
    reset: Callable[[], None]
    compiled: Any = None


def no_parameters(step: Callable[[], Any], compiled: Any = None) -> Runner:
    """The runner of what learns nothing."""
    return Runner(step, lambda: [], lambda: None, compiled)


def glorot(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Normal values of variance 2 / (rows + columns), in float32."""
    values = rng.standard_normal((rows, columns)) * np.sqrt(2.0 / (rows + columns))
    return values.astype(np.float32)


def filters(rng: np.random.Generator, results: int, channels: int, size: int) -> Array:
    """Normal values of variance 2 / (entries that a result reads): suits relu (He et al. 2015)."""
    values = rng.standard_normal((results, channels, size, size))
    return (values * np.sqrt(2.0 / (channels * size * size))).astype(np.float32)


def normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def network(rng: np.random.Generator, widths: Sequence[int]) -> list[Array]:
    """Glorot weights and zero biases."""
    layers = [[glorot(rng, m, n), zeros(n)] for m, n in pairwise(widths)]
    return [array for layer in layers for array in layer]


# The order of the draws is part of a workload's definition: another order is other data.


def elementwise(size: int = 1 << 22) -> Workload:
    rng = np.random.default_rng(0)
    return Workload("elementwise", [normal(rng, size) for _ in range(3)], [])


def mlp_small() -> Workload:
    rng = np.random.default_rng(0)
    inputs = [normal(rng, 32, 64), rng.integers(0, 10, 32)]
    return Workload("layers", inputs, network(rng, (64, 64, 10)))


def mlp() -> Workload:
    rng = np.random.default_rng(0)
    parameters = network(rng, (784, 512, 256, 10))
    return Workload("layers", [normal(rng, 128, 784), rng.integers(0, 10, 128)], parameters)


def cnn(batch: int = 64) -> Workload:
    """Parameters: filters and bias of each convolution, then of the dense layer."""
    rng = np.random.default_rng(0)
    inputs = [normal(rng, batch, 1, 28, 28), rng.integers(0, 10, batch)]
    first, second = filters(rng, 16, 1, 5), filters(rng, 32, 16, 5)
    dense = network(rng, (32 * 7 * 7, 10))
    return Workload("cnn", inputs, [first, zeros(16), second, zeros(32), *dense])


def lstm() -> Workload:
    """Parameters: weights by the input, weights by the state, their bias; the output layer."""
    rng = np.random.default_rng(0)
    width, hidden = 64, 128
    inputs = [normal(rng, 32, 32, width), rng.integers(0, 10, 32)]
    gates = [glorot(rng, width, 4 * hidden), glorot(rng, hidden, 4 * hidden)]
    gates.append(zeros(4 * hidden))
    return Workload("lstm", inputs, [*gates, *network(rng, (hidden, 10))])


def attn() -> Workload:
    """Parameters: scale and shift of each norm, weights to queries, keys and values, weights of
    their result, the two dense layers, the output layer."""
    rng = np.random.default_rng(0)
    batch, words, width = 8, 64, 128
    inputs = [normal(rng, batch, words, width), rng.integers(0, 10, (batch, words))]
    norms = [np.ones(width, np.float32), zeros(width)] * 2
    heads = [glorot(rng, width, 3 * width), glorot(rng, width, width)]
    dense = network(rng, (width, 4 * width, width))
    return Workload("attn", inputs, [*norms, *heads, *dense, *network(rng, (width, 10))])


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "elementwise": elementwise,
    "mlp_small": mlp_small,
    "mlp": mlp,
    "cnn": cnn,
    "lstm": lstm,
    "attn": attn,
}
