# pyright: standard
# ruff: noqa: E402  (torch decides whether there is anything to import for)
"""Convolutions and pools against PyTorch, where it is installed: values and gradients.

A configuration is drawn from its seed: op, number of axes, sizes from 1 up, stride, padding,
dilation, groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradloom as gl
from gradloom.ir.tensor import Tensor

F = torch.nn.functional
NumpyArray = np.ndarray[Any, Any]
Made = tuple[list[NumpyArray], Callable[..., Tensor], Callable[..., Any], str]


class Draw:
    """Numbers of a configuration."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.n = int(self.rng.integers(1, 4))

    def one(self, low: int, high: int) -> int:
        """Of low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def each(self, low: int, high: int) -> list[int]:
        """One for each spatial axis."""
        return [self.one(low, high) for _ in range(self.n)]

    def array(self, shape: Sequence[int]) -> NumpyArray:
        return self.rng.normal(size=shape)

    def sizes(self, windows: Sequence[int], dilations: Sequence[int]) -> list[int]:
        """Spatial sizes into which the windows fit."""
        return [d * (k - 1) + self.one(1, 5) for k, d in zip(windows, dilations, strict=True)]


def conv(draw: Draw) -> Made:
    n, groups = draw.n, draw.one(1, 3)
    kernel, stride, dilation, padding = (draw.each(*r) for r in [(1, 3), (1, 3), (1, 3), (0, 3)])
    inputs, outputs = draw.one(1, 3), draw.one(1, 3)
    x = draw.array([draw.one(1, 3), groups * inputs, *draw.sizes(kernel, dilation)])
    w = draw.array([groups * outputs, inputs, *kernel])
    ours, theirs = getattr(gl.nn, f"conv{n}d"), getattr(F, f"conv{n}d")
    numbers = (stride, padding, dilation, groups)
    return (
        [x, w],
        lambda x, w: ours(x, w, *numbers),
        lambda x, w: theirs(x, w, None, *numbers),
        f"conv {x.shape} {w.shape} {numbers}",
    )


def conv_same(draw: Draw) -> Made:
    n = draw.n
    kernel, dilation = draw.each(1, 4), draw.each(1, 2)
    x = draw.array([draw.one(1, 3), 2, *draw.each(1, 7)])
    w = draw.array([3, 2, *kernel])
    ours, theirs = getattr(gl.nn, f"conv{n}d"), getattr(F, f"conv{n}d")
    return (
        [x, w],
        lambda x, w: ours(x, w, padding="same", dilation=dilation),
        lambda x, w: theirs(x, w, None, 1, "same", dilation),
        f"conv same {x.shape} {w.shape} {dilation}",
    )


def conv_transpose(draw: Draw) -> Made:
    n, groups = draw.n, draw.one(1, 3)
    kernel, stride, dilation = (draw.each(1, 3) for _ in range(3))
    more = [draw.one(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True)]
    inputs, outputs = draw.one(1, 2), draw.one(1, 2)
    x = draw.array([draw.one(1, 3), groups * inputs, *draw.each(1, 4)])
    w = draw.array([groups * inputs, outputs, *kernel])
    made = zip(x.shape[2:], kernel, stride, dilation, more, strict=True)
    whole = [(size - 1) * s + d * (k - 1) + 1 + m for size, k, s, d, m in made]
    padding = [draw.one(0, min(3, (size - 1) // 2)) for size in whole]
    ours, theirs = getattr(gl.nn, f"conv_transpose{n}d"), getattr(F, f"conv_transpose{n}d")
    return (
        [x, w],
        lambda x, w: ours(x, w, stride, padding, more, dilation, groups),
        lambda x, w: theirs(x, w, None, stride, padding, more, groups, dilation),
        f"conv_transpose {x.shape} {w.shape} {(stride, padding, more, dilation, groups)}",
    )


def max_pool(draw: Draw) -> Made:
    size, stride, dilation = draw.each(1, 3), draw.each(1, 3), draw.each(1, 2)
    padding = [draw.one(0, k // 2) for k in size]
    x = draw.array([draw.one(1, 3), draw.one(1, 3), *draw.sizes(size, dilation)])
    ours, theirs = getattr(gl.nn, f"max_pool{draw.n}d"), getattr(F, f"max_pool{draw.n}d")
    numbers = (size, stride, padding, dilation)
    return [x], lambda x: ours(x, *numbers), lambda x: theirs(x, *numbers), f"max {numbers}"


def avg_pool(draw: Draw) -> Made:
    size, stride = draw.each(1, 3), draw.each(1, 3)
    padding = [draw.one(0, k // 2) for k in size]
    counts = bool(draw.one(0, 1))
    x = draw.array([draw.one(1, 3), draw.one(1, 3), *draw.sizes(size, [1] * draw.n)])
    ours, theirs = getattr(gl.nn, f"avg_pool{draw.n}d"), getattr(F, f"avg_pool{draw.n}d")
    return (
        [x],
        lambda x: ours(x, size, stride, padding, counts),
        lambda x: theirs(x, size, stride, padding, count_include_pad=counts),
        f"avg {x.shape} {(size, stride, padding, counts)}",
    )


def adaptive(draw: Draw) -> Made:
    kind, count = ["avg", "max"][draw.one(0, 1)], draw.each(1, 5)
    x = draw.array([draw.one(1, 3), draw.one(1, 3), *draw.each(1, 8)])
    theirs = getattr(F, f"adaptive_{kind}_pool{draw.n}d")
    ours = getattr(gl.nn, f"adaptive_{kind}_pool")
    return [x], lambda x: ours(x, count), lambda x: theirs(x, count), f"adaptive {kind} {count}"


def lp_pool(draw: Draw) -> Made:
    size, stride, p = draw.each(1, 3), draw.each(1, 3), draw.one(1, 4)
    x = draw.array([draw.one(1, 3), draw.one(1, 3), *draw.sizes(size, [1] * draw.n)])
    theirs = getattr(F, f"lp_pool{draw.n}d")
    walk = (tuple(size), tuple(stride)) if draw.n > 1 else (size[0], stride[0])
    return (
        [x],
        lambda x: gl.nn.lp_pool(x, p, size, stride),
        lambda x: theirs(abs(x), p, *walk),
        f"lp {x.shape} {(p, size, stride)}",
    )


def resize(draw: Draw) -> Made:
    x, count = draw.array([draw.one(1, 2), draw.one(1, 3), *draw.each(1, 6)]), draw.each(1, 9)
    method = ["nearest", "linear"][draw.one(0, 1)]
    linear = ["linear", "bilinear", "trilinear"][draw.n - 1]
    mode = linear if method == "linear" else "nearest-exact"
    return (
        [x],
        lambda x: gl.nn.resize(x, count, method),
        lambda x: F.interpolate(x, tuple(count), mode=mode),
        f"resize {x.shape} {count} {method}",
    )


def columns(draw: Draw) -> Made:
    draw.n = 2  # what PyTorch has
    size, stride, dilation, padding = (draw.each(*r) for r in [(1, 3), (1, 3), (1, 3), (0, 2)])
    x = draw.array([draw.one(1, 3), draw.one(1, 3), *draw.sizes(size, dilation)])
    shape = x.shape[2:]

    def ours(x: Tensor) -> Tensor:
        apart = gl.nn.unfold(x, size, stride, padding, dilation)
        return gl.nn.fold(apart * apart, shape, size, stride, padding, dilation)

    def theirs(x: Any) -> Any:
        apart = F.unfold(x, size, dilation, padding, stride)
        return F.fold(apart * apart, shape, size, dilation, padding, stride)

    return [x], ours, theirs, f"columns {x.shape} {(size, stride, padding, dilation)}"


KINDS = (conv, conv, conv, conv_same, conv_transpose, conv_transpose, max_pool, max_pool, avg_pool)
KINDS += (adaptive, lp_pool, resize, columns)


def expected(arrays: Sequence[NumpyArray], weight: NumpyArray, theirs: Any) -> list[NumpyArray]:
    leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    value = theirs(*leaves)
    (value * torch.tensor(weight)).sum().backward()
    return [value.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)]


def check(seed: int) -> None:
    """Values and gradients of one configuration, compiled and by the interpreter, in float64."""
    draw = Draw(seed)
    arrays, ours, theirs, about = KINDS[seed % len(KINDS)](draw)
    inputs = [gl.placeholder(a.shape, "float64", f"x{i}") for i, a in enumerate(arrays)]
    value = ours(*inputs)
    weight = draw.array(value.shape)  # type: ignore[arg-type]
    graph = gl.Graph("case", inputs, [value, *gl.grad(gl.sum(value * weight), inputs)])
    wanted = expected(arrays, weight, theirs)
    feeds = dict(zip(inputs, arrays, strict=True))
    for results in (gl.compile(graph)(*arrays), gl.evaluate(graph, feeds)):
        for got, right in zip(results, wanted, strict=True):
            assert got.shape == right.shape, about
            np.testing.assert_allclose(got, right, rtol=1e-11, atol=1e-11, err_msg=about)


@pytest.mark.parametrize("seed", range(20))
def test_sample(seed: int):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1300))
def test_campaign(seed: int):
    check(seed)
