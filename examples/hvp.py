"""Products with the Hessian of a network of 100 000 parameters, which would fill 80 GB itself.

``gl.hvp`` pushes a direction through the gradient: the work of a few gradients, and memory of the
size of the parameters.  How much, the compiled program says before it runs.  Here the products find
the largest eigenvalue of the Hessian by power iteration, on scikit-learn's digits.  Near a minimum
gradient descent is stable at rates below 2 over it.

    python examples/hvp.py
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits  # pyright: ignore[reportMissingTypeStubs]

import gradloom as gl
from gradloom.ir.plan import plan

WIDTHS = (64, 260, 260, 60, 10)
SAMPLES = 64
ITERATIONS = 12

Array = NDArray[Any]


class Product(NamedTuple):
    """v ↦ H v and the gradient at given weights, both of all weights in one array; the bytes that
    a call of the product needs besides arguments and result."""

    hvp: Callable[[Array, Array], Array]
    gradient: Callable[[Array], Array]
    size: int
    peak: int


def network(x: gl.Tensor, weights: gl.Tensor) -> gl.Tensor:
    """The logits of a tanh network whose weights and biases lie in one array."""
    start = 0
    h = x
    for layer, (m, n) in enumerate(pairwise(WIDTHS)):
        w = gl.reshape(weights[start : start + m * n], (m, n))
        b = weights[start + m * n : start + m * n + n]
        start += m * n + n
        h = h @ w + b if layer == len(WIDTHS) - 2 else gl.tanh(h @ w + b)
    return h


def build() -> Product:
    """Compiled for digits that are constants of the graph."""
    digits = cast(Any, load_digits())
    x = gl.constant(digits.data[:SAMPLES] / 16)
    t = gl.constant(digits.target[:SAMPLES])
    count = sum(m * n + n for m, n in pairwise(WIDTHS))
    weights = gl.placeholder((count,), "float64", name="weights")
    v = gl.placeholder((count,), "float64", name="v")
    log_p = gl.log_softmax(network(x, weights), axis=1)
    loss = -gl.mean(gl.take_along_axis(log_p, t[:, None], axis=1))
    product = gl.function([weights, v], gl.hvp(loss, weights, v))
    gradient = gl.function([weights], gl.grad(loss, weights))
    return Product(product, gradient, count, plan(product.program, {}).total)


def start(count: int) -> Array:
    """Weights of a standard deviation that keeps tanh from saturating."""
    return np.random.default_rng(0).normal(0, 0.06, count)


def main() -> float:
    """The largest eigenvalue."""
    made = build()
    print(f"parameters      {made.size:14,d}   {8 * made.size:18,d} bytes")
    print(f"Hessian         {made.size**2:14,d}   {8 * made.size**2:18,d} bytes")
    print(f"peak of a product {'':12s}   {made.peak:18,d} bytes")
    weights = start(made.size)
    v = np.random.default_rng(1).normal(size=made.size)
    value = 0.0
    for number in range(1, ITERATIONS + 1):
        v /= np.linalg.norm(v)
        product = made.hvp(weights, v)
        value, v = float(v @ product), product
        print(f"{number:2d}  eigenvalue {value:.6f}")
    return value


if __name__ == "__main__":
    main()
