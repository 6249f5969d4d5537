"""Masks of positions that would be stored are data."""

from __future__ import annotations

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.masks import LARGEST, masks
from gradloom.ir.graph import Graph
from gradloom.ir.tensor import Tensor


def mask(size: int | str) -> Tensor:
    """Too many operations to be made again for each of many rows."""
    i = gl.arange(size) if isinstance(size, int) else gl.cumsum(gl.ones((size,), "int64")) - 1
    return (i % 7 % 3 == 1) & (i // 5 % 2 == 0) & (i * i % 11 < 6) & (i % 13 % 4 != 2)


def ops(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def test_a_stored_mask_is_data() -> None:
    x = gl.placeholder(("B", 40), name="x")
    step = gl.function([x], gl.where(mask(40), x, 0.0))
    assert len(step.kernels) == 1
    assert len(step.program.of_kind("constant")) == 1
    values = np.random.default_rng(0).normal(size=(6, 40)).astype("f4")
    i = np.arange(40)
    wanted = (i % 7 % 3 == 1) & (i // 5 % 2 == 0) & (i * i % 11 < 6) & (i % 13 % 4 != 2)
    np.testing.assert_array_equal(step(values), np.where(wanted, values, np.float32(0)))
    plain = gl.function([x], gl.where(mask(40), x, 0.0), fusion=False)
    np.testing.assert_array_equal(plain(values), step(values))


def test_what_stays() -> None:
    """What is large, of floats, cheap to make again, or of unknown size; and what is data now."""
    x, large = gl.placeholder(("B", 40), name="x"), gl.placeholder(("B", LARGEST + 1), name="l")
    floats = gl.cos(gl.astype(gl.arange(40), "float32")) * x
    cheap = gl.where(gl.arange(40) < 3, x, 0.0)
    for tensor in (gl.where(mask(LARGEST + 1), large, 0.0), floats, cheap):
        graph = Graph("g", [tensor_input(tensor)], [tensor])
        assert masks(graph) is graph
    small = Graph("g", [x], [gl.where(mask(40), x, 0.0)])
    made = masks(small)
    assert ops(made) == ["constant", "constant", "where"]
    assert masks(made) is made


def tensor_input(tensor: Tensor) -> Tensor:
    (leaf,) = Graph("all", (), [tensor]).free
    return leaf


def test_a_size_that_only_a_call_knows() -> None:
    """Even where the mask's own shape has numbers alone."""
    x = gl.placeholder(("B", 3), name="x")
    hard = (gl.arange(3) + x.shape[0]) % 7 % 5 % 3 * 11 % 9 % 4 == 1
    step = gl.function([x], gl.where(hard, x, 0.0))
    assert not step.program.of_kind("constant")
    for rows in (2, 5):
        wanted = (np.arange(3) + rows) % 7 % 5 % 3 * 11 % 9 % 4 == 1
        found = step(np.ones((rows, 3), "f4"))
        np.testing.assert_array_equal(found, np.broadcast_to(wanted, (rows, 3)))


@pytest.mark.parametrize("size", [0, 1])
def test_small_sizes(size: int) -> None:
    x = gl.placeholder(("B", size), name="x")
    step = gl.function([x], [gl.where(mask(size), x, 0.0), mask(size)])
    found, shown = step(np.ones((3, size), "f4"))
    assert found.shape == (3, size)
    assert shown.tolist() == [False] * size


def test_a_network_of_pools_and_padding_has_no_kernels_of_masks() -> None:
    x, w = gl.placeholder(("B", 1, 12, 12), name="x"), gl.parameter(np.ones((3, 1, 5, 5), "f4"))
    h = gl.nn.max_pool2d(gl.relu(gl.nn.conv2d(x, w, padding="same")), 2)
    step = gl.function([x], gl.grad(gl.sum(h * h), w))
    assert all(any(not a.is_output for a in kernel.arguments) for kernel in step.kernels)
