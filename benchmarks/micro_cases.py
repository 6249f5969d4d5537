# pyright: standard
"""The cases of the micro benchmarks: one line in each framework, on the same arrays.

A case's formulas are functions of the framework's own arrays.  `numpy` is missing where it has no
such function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from workloads import EPSILON, Array, normal

Formula = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """A name, input arrays, and a formula for each framework."""

    name: str
    arrays: list[Array]
    formulas: dict[str, Formula]


def drawn(*shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(0)
    return [normal(rng, *shape) for shape in shapes]


def shown(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


ROWS = [
    (128, 10),
    (37, 1001),
    (4096, 128),
    (2048, 1024),
    (64, 50257),
    (8, 4, 64, 64),
    (1 << 16, 16),
]


def softmax(m: Any) -> Iterator[Case]:
    """Over the last axis."""

    def by_hand(x: Array) -> Array:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    for shape in ROWS:
        formulas: dict[str, Formula] = {
            "gradloom": lambda x: m.gl.softmax(x, axis=-1),
            "numpy": by_hand,
            "torch": lambda x: m.torch.softmax(x, -1),
            "jax": lambda x: m.jax.nn.softmax(x, -1),
        }
        yield Case(f"softmax {shown(shape)}", drawn(shape), formulas)


def layer_norm(m: Any) -> Iterator[Case]:
    """Over the last axis, with scale and shift."""

    def formula(module: Any) -> Formula:
        def norm(x: Any, scale: Any, shift: Any) -> Any:
            centred = x - module.mean(x, axis=-1, keepdims=True)
            variance = module.mean(module.square(centred), axis=-1, keepdims=True)
            return centred / module.sqrt(variance + EPSILON) * scale + shift

        return norm

    for shape in ROWS:
        formulas: dict[str, Formula] = {
            "gradloom": lambda *a: formula(m.gl)(*a),
            "numpy": formula(np),
            "torch": lambda x, s, t: m.torch.nn.functional.layer_norm(x, s.shape, s, t, EPSILON),
            "jax": lambda *a: formula(m.jnp)(*a),
        }
        yield Case(f"layer norm {shown(shape)}", drawn(shape, shape[-1:], shape[-1:]), formulas)


REDUCED = [(256, 384, 128), (1000, 1000), (3, 100003), (100003, 3)]


def reductions(m: Any) -> Iterator[Case]:
    """Sums, largest entries and means, over each axis and over all."""
    for shape in REDUCED:
        for axis in (*range(len(shape)), None):
            for name, torch_name in (("sum", "sum"), ("max", "amax"), ("mean", "mean")):
                torch_axis = tuple(range(len(shape))) if axis is None else axis

                def ours(x: Any, name: str = name, axis: Any = axis) -> Any:
                    return getattr(m.gl, name)(x, axis=axis)

                def numpys(x: Any, name: str = name, axis: Any = axis) -> Any:
                    return getattr(np, name)(x, axis=axis)

                def torchs(x: Any, name: str = torch_name, axis: Any = torch_axis) -> Any:
                    return getattr(m.torch, name)(x, axis)

                def jaxs(x: Any, name: str = name, axis: Any = axis) -> Any:
                    return getattr(m.jnp, name)(x, axis=axis)

                formulas = {"gradloom": ours, "numpy": numpys, "torch": torchs, "jax": jaxs}
                over = "all axes" if axis is None else f"axis {axis}"
                yield Case(f"{name} {shown(shape)} over {over}", drawn(shape), formulas)


PRODUCTS = [  # rows, inner, columns
    *[(1, 1, 1), (2, 2, 2), (3, 3, 3), (5, 7, 3), (8, 8, 8), (10, 10, 10), (16, 16, 16)],  # tiny
    *[(17, 19, 23), (31, 33, 35), (63, 65, 67), (97, 101, 103), (127, 129, 131)],  # odd
    *[(255, 257, 253), (100, 300, 10), (1000, 10, 1000), (333, 777, 555), (501, 499, 503)],
    *[(1, 1024, 1024), (1024, 1024, 1), (1024, 1, 1024), (4096, 64, 10), (10, 4096, 64)],  # skinny
    *[(8, 2048, 2048), (2048, 2048, 8), (64, 10000, 64), (20000, 16, 16), (3, 1000, 5)],
    *[(32, 64, 64), (32, 128, 512), (128, 784, 512), (128, 512, 256), (128, 256, 10)],  # layers
    *[(784, 128, 512), (512, 128, 384), (512, 512, 128), (64, 64, 64), (256, 256, 256)],
    *[(1024, 1024, 1024), (2048, 512, 2048), (512, 4096, 512)],  # large
]


def matmul(m: Any) -> Iterator[Case]:
    """Products of matrices."""
    for rows, inner, columns in PRODUCTS:
        formulas: dict[str, Formula] = dict.fromkeys(
            ("gradloom", "numpy", "torch", "jax"), lambda a, b: a @ b
        )
        arrays = drawn((rows, inner), (inner, columns))
        yield Case(f"matmul {shown((rows, inner, columns))}", arrays, formulas)


@dataclass(frozen=True)
class Convolution:
    """Sizes as deep learning counts them; padding on all sides."""

    batch: int
    channels: int
    height: int
    width: int
    results: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def name(self) -> str:
        size = shown((self.batch, self.channels, self.height, self.width))
        more = f", {self.groups} groups" if self.groups > 1 else ""
        more += f", stride {self.stride}" if self.stride > 1 else ""
        more += f", dilation {self.dilation}" if self.dilation > 1 else ""
        return f"{size} by {shown(self.kernel)} to {self.results}{more}"

    @property
    def arrays(self) -> list[Array]:
        """Input, kernel, and a cotangent of the result."""

        def count(size: int, kernel: int) -> int:
            span = self.dilation * (kernel - 1) + 1
            return (size + 2 * self.padding - span) // self.stride + 1

        height, width = count(self.height, self.kernel[0]), count(self.width, self.kernel[1])
        return drawn(
            (self.batch, self.channels, self.height, self.width),
            (self.results, self.channels // self.groups, *self.kernel),
            (self.batch, self.results, height, width),
        )


CONVOLUTIONS = [
    Convolution(64, 1, 28, 28, 16, (5, 5), padding=2),
    Convolution(64, 16, 14, 14, 32, (5, 5), padding=2),
    Convolution(32, 3, 32, 32, 32, (3, 3), padding=1),
    Convolution(16, 64, 28, 28, 64, (3, 3), padding=1),
    Convolution(8, 128, 14, 14, 128, (3, 3), padding=1),
    Convolution(8, 256, 7, 7, 256, (3, 3), padding=1),
    Convolution(4, 3, 112, 112, 64, (7, 7), stride=2, padding=3),
    Convolution(8, 64, 28, 28, 128, (3, 3), stride=2, padding=1),
    Convolution(16, 64, 28, 28, 64, (1, 1)),
    Convolution(8, 256, 14, 14, 64, (1, 1)),
    Convolution(8, 64, 14, 14, 256, (1, 1), stride=2),
    Convolution(8, 32, 28, 28, 32, (3, 3), padding=1, groups=32),
    Convolution(8, 32, 28, 28, 64, (3, 3), padding=1, groups=4),
    Convolution(4, 32, 28, 28, 32, (3, 3), padding=2, dilation=2),
    Convolution(1, 3, 64, 64, 8, (3, 3)),
    Convolution(1, 1, 8, 8, 1, (3, 3)),
    Convolution(7, 5, 13, 17, 11, (3, 5), padding=1),
    Convolution(16, 24, 1, 400, 48, (1, 9), padding=0),
    Convolution(2, 17, 31, 29, 19, (4, 4), stride=3),
    Convolution(128, 8, 8, 8, 16, (3, 3), padding=1),
]


def convolution(m: Any) -> Iterator[Case]:
    """Forward, and the gradients by the input and by the kernel."""
    for shape in CONVOLUTIONS:
        x, w, dy = shape.arrays
        forward, by_input, by_kernel = _convolutions(m, shape)
        yield Case(f"convolution {shape.name}", [x, w], forward)
        yield Case(f"convolution by input {shape.name}", [x, w, dy], by_input)
        yield Case(f"convolution by kernel {shape.name}", [x, w, dy], by_kernel)


def _convolutions(m: Any, shape: Convolution) -> list[dict[str, Formula]]:
    s, p, d, groups = shape.stride, shape.padding, shape.dilation, shape.groups

    def ours(x: Any, w: Any) -> Any:
        return m.gl.nn.conv2d(x, w, stride=s, padding=p, dilation=d, groups=groups)

    def torchs(x: Any, w: Any) -> Any:
        return m.torch.nn.functional.conv2d(x, w, None, s, p, d, groups)

    def jaxs(x: Any, w: Any) -> Any:
        return m.jax.lax.conv_general_dilated(
            x, w, (s, s), [(p, p)] * 2, rhs_dilation=(d, d), feature_group_count=groups
        )

    def torch_gradient(k: int) -> Formula:
        def gradient(x: Any, w: Any, dy: Any) -> Any:
            module, arrays = m.torch.nn.grad, (x, w)
            function = (module.conv2d_input, module.conv2d_weight)[k]
            sizes = [array.shape if n == k else array for n, array in enumerate(arrays)]
            return function(*sizes, dy, s, p, d, groups)

        return gradient

    def jax_gradient(k: int) -> Formula:
        return lambda x, w, dy: m.jax.vjp(jaxs, x, w)[1](dy)[k]

    def our_gradient(k: int) -> Formula:
        return lambda x, w, dy: m.gl.grad(m.gl.sum(ours(x, w) * dy), (x, w)[k])

    forward: dict[str, Formula] = {"gradloom": ours, "torch": torchs, "jax": jaxs}
    return [forward] + [
        {"gradloom": our_gradient(k), "torch": torch_gradient(k), "jax": jax_gradient(k)}
        for k in (0, 1)
    ]


SUITES: dict[str, Callable[[Any], Iterator[Case]]] = {
    "softmax": softmax,
    "layer_norm": layer_norm,
    "reductions": reductions,
    "matmul": matmul,
    "convolution": convolution,
}
