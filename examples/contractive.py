"""A contractive autoencoder: a penalty made of derivatives, differentiated again.

The code h = sigmoid(x W + b) of a picture should change little where the picture does, so that it
keeps only what tells pictures apart.  Added to the loss is ‖∂h/∂x‖²_F, the sum of the squared
Jacobian, averaged over the pictures (Rifai et al., Contractive auto-encoders, 2011).  The Jacobian
is asked for, nothing is derived by hand; descent then needs the derivative of that by W.

    python examples/contractive.py
"""

import argparse
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits  # pyright: ignore[reportMissingTypeStubs]

import gradloom as gl

PIXELS, CODE = 64, 24
BATCH, RATE = 32, 0.05

Array = NDArray[Any]


def encode(x: gl.Tensor, w: gl.Tensor, b: gl.Tensor) -> gl.Tensor:
    """The code of a picture, or of each of several."""
    return gl.sigmoid(x @ w + b)


def contraction(x: gl.Tensor, w: gl.Tensor, b: gl.Tensor) -> gl.Tensor:
    """The mean of ‖∂h/∂x‖²_F over the pictures in x."""

    def squared(picture: gl.Tensor) -> gl.Tensor:
        return gl.sum(gl.jacobian(encode(picture, w, b), picture) ** 2)

    return gl.mean(gl.vmap(squared)(x))


def train(pixels: Array, weight: float, epochs: int, seed: int = 0) -> list[tuple[float, float]]:
    """Errors of reconstruction and contractions, mean over each epoch, by gradient descent."""
    rng = np.random.default_rng(seed)
    x = gl.placeholder(("B", PIXELS), name="x")
    w = gl.parameter(rng.normal(0, 0.1, (PIXELS, CODE)).astype(np.float32), name="w")
    b = gl.parameter(np.zeros(CODE, np.float32), name="b")
    v = gl.parameter(rng.normal(0, 0.1, (CODE, PIXELS)).astype(np.float32), name="v")
    c = gl.parameter(pixels.mean(axis=0), name="c")

    error = gl.mean(gl.sum((encode(x, w, b) @ v + c - x) ** 2, axis=1))
    penalty = contraction(x, w, b)
    parameters = [w, b, v, c]
    slopes = gl.grad(error + weight * penalty, parameters)
    updates = {p: p - RATE * slope for p, slope in zip(parameters, slopes, strict=True)}
    step = gl.function([x], [error, penalty], updates=updates)

    history: list[tuple[float, float]] = []
    for _ in range(epochs):
        order = rng.permutation(len(pixels))
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        means = np.mean([step(pixels[chosen]) for chosen in batches], axis=0)
        history.append((float(means[0]), float(means[1])))
    return history


def main(arguments: Sequence[str] | None = None) -> dict[float, list[tuple[float, float]]]:
    parser = argparse.ArgumentParser(description="train two autoencoders on scikit-learn's digits")
    parser.add_argument("--weight", type=float, default=1.0, help="of the contraction in the loss")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args(arguments)
    pixels = (cast(Any, load_digits()).data / 16).astype(np.float32)
    weights = (0.0, options.weight)
    found = {weight: train(pixels, weight, options.epochs) for weight in weights}
    print("       " + "".join(f"   weight {weight:g}: error  |dh/dx|²" for weight in weights))
    for epoch, rows in enumerate(zip(*found.values(), strict=True), 1):
        columns = "".join(f"{error:19.3f} {penalty:9.3f}" for error, penalty in rows)
        print(f"epoch {epoch:2d}{columns}")
    return found


if __name__ == "__main__":
    main()
