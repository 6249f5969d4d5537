# pyright: standard
"""In which order kernels walk, and so how values lie: what may change, and that no number does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.kernels import space_of_region
from gradloom.compiler.orders import laid, order_of
from gradloom.compiler.pipeline import compile_graph
from gradloom.frontends.function import cpu_target
from gradloom.ir.dims import product
from gradloom.ir.op import View
from gradloom.ir.ops.control import FUSED
from gradloom.ir.ops.shape import reshape_
from gradloom.ir.shapes import contiguous_strides
from gradloom.runtime.executable import Executable

from .nn_cases import numbers
from .op_cases import close
from .staggered import staggered


def regions_of(value: gl.Tensor, *inputs: gl.Tensor) -> list[Any]:
    made = compile_graph(gl.Graph("g", list(inputs), [value]), cpu_target())
    return [node.regions[0] for node in made.stages["fuse"].nodes if node.op is FUSED]


def dense(*shape: Any) -> View:
    return View(contiguous_strides(shape), 0)


CHANNELS_LAST = View((4 * 5 * 3, 1, 5 * 3, 3), 0)  # (2, 3, 4, 5) with the axis of 3 innermost


def test_the_order_is_that_of_the_operands() -> None:
    x = gl.placeholder((2, 3, 4, 5))
    (region,) = regions_of(gl.relu(x) + 1.0, x)
    space = space_of_region(region)
    assert order_of(region, space, [dense(2, 3, 4, 5)], [None]) is None
    assert order_of(region, space, [CHANNELS_LAST], [None]) == (0, 2, 3, 1)
    assert laid((2, 3, 4, 5), (0, 2, 3, 1), 4).strides == CHANNELS_LAST.strides
    assert laid((3, 1, 1), (0, 2, 3, 1), 4).strides == (1, 0, 0)
    # One read against one write in the other order: then it stays.
    assert order_of(region, space, [CHANNELS_LAST], [dense(2, 3, 4, 5)]) is None


def test_small_windows_are_walked_across_not_along() -> None:
    """The largest of 2 × 2: vectors go along the results, not along a window of two."""
    x = gl.placeholder((2, 3, 32, 64))
    (region,) = regions_of(gl.nn.max_pool(x, 2), x)
    space = space_of_region(region)
    seen = View((6144, 2048, 128, 2, 64, 1), 0)
    order = order_of(region, space, [seen], [dense(2, 3, 16, 32, 1, 1)])
    assert order is not None and order[-1] == 3
    x = gl.placeholder((64, 64))
    (region,) = regions_of(gl.max(x, axis=1), x)
    assert order_of(region, space_of_region(region), [dense(64, 64)], [None]) is None


def test_a_sum_of_floats_keeps_its_order() -> None:
    for dtype, kept in (("float32", True), ("int64", False)):
        x = gl.placeholder((64, 96), dtype)
        (region,) = regions_of(gl.sum(x, axis=1), x)
        order = order_of(region, space_of_region(region), [View((1, 64), 0)], [None])
        assert (order is None) is kept


def network(x: gl.Tensor, w: gl.Tensor, b: gl.Tensor, v: gl.Tensor) -> gl.Tensor:
    h = gl.relu(gl.nn.conv2d(x, w, padding="same") + b[:, None, None])
    h = gl.nn.max_pool(h, 2)
    return gl.sum(gl.tanh(gl.nn.conv2d(h, v, padding=1)), axis=(1, 2, 3))


def build(shape: tuple[Any, ...]) -> tuple[list[gl.Tensor], list[gl.Tensor], Any]:
    inputs = [
        gl.placeholder(s, "float32", n)
        for s, n in zip((shape, (16, 2, 3, 3), (16,), (8, 16, 3, 3)), "xwbv", strict=True)
    ]
    y = network(*inputs)
    outputs = [y, *gl.grad(gl.mean(y), inputs)]
    made = compile_graph(gl.Graph("g", inputs, outputs), cpu_target())
    return inputs, outputs, made


@pytest.mark.parametrize("shape", [("B", 2, 8, 6), (3, 2, 8, 6), ("B", 2, 2, 2)])
def test_networks_over_images(shape: tuple[Any, ...]) -> None:
    inputs, outputs, made = build(shape)
    sizes = ((3, *shape[1:]), (16, 2, 3, 3), (16,), (8, 16, 3, 3))
    data = [numbers(*s).astype(np.float32) for s in sizes]
    one = Executable(made.program, 1)(data)
    for value, got in zip(outputs, one, strict=True):
        np.testing.assert_allclose(
            got, value.eval(dict(zip(inputs, data, strict=True))), 1e-4, 1e-4
        )
    loaded = Executable(made.program, 2)
    for order in ((0, 1), (1, 0)):
        for got, other in zip(one, staggered(loaded, data, [], order), strict=True):
            np.testing.assert_array_equal(got, other)


def test_what_follows_a_convolution_walks_its_channels() -> None:
    """Nothing but the padding is gathered, and the gradient by the bias is summed along them."""
    _, _, made = build(("B", 2, 8, 6))
    for kernel in made.program.kernels:
        if "relu" in kernel.name or "max" in kernel.name:
            assert "gather" not in kernel.source and "load_strided" not in kernel.source
    sums = [node for node in made.stages["split"].nodes if node.op.name == "sum"]
    along = [node for node in sums if node.operands[0].shape[-1] == 16]
    assert [node.attrs["axes"] for node in along] == [(1, 2), (0,)]


def test_sums_of_images_in_c_order_stay() -> None:
    x = gl.placeholder((4, 3, 8, 8), name="x")
    made = compile_graph(gl.Graph("g", [x], [gl.sum(gl.exp(x), axis=(0, 2, 3))]), cpu_target())
    (node,) = (node for node in made.stages["split"].nodes if node.op.name == "sum")
    assert node.attrs["axes"] == (0, 2, 3) and product(node.operands[0].shape) == 4 * 3 * 64


def test_whoever_wants_c_order_has_it() -> None:
    """A result, a reshape, the right side of a product: of a transposed value."""
    x, w = gl.placeholder(("N", 24), "float64", "x"), gl.placeholder((24, 5), "float64", "w")
    t = gl.tanh(gl.transpose(x @ w @ gl.transpose(w)))
    outputs = [t, gl.reshape(gl.exp(t), (-1,)), gl.sin(t) @ x, gl.sort(gl.cos(t), axis=0)]
    function = gl.function([x, w], outputs)
    for n in (0, 1, 40):
        data, weights = numbers(n, 24), numbers(24, 5) / 5
        for value, got in zip(outputs, function(data, weights), strict=True):
            close(got, value.eval({x: data, w: weights}))


def test_reshapes_that_join_axes_of_one_stride_are_views() -> None:
    """What a reshape says of strides is where NumPy finds the same elements."""
    rng = np.random.default_rng(3)
    seen = 0
    for _ in range(300):
        shape = tuple(map(int, rng.choice([1, 2, 3], rng.integers(1, 5))))
        axes = rng.permutation(len(shape))
        memory = np.arange(2 * int(np.prod(shape))).reshape(*shape, 2)[..., 0]
        value = memory.transpose(axes)
        cuts = sorted(rng.choice(len(shape) + 1, 2))
        groups = [value.shape[a:b] for a, b in zip([0, *cuts], [*cuts, len(shape)], strict=True)]
        after = tuple(int(np.prod(group)) for group in groups)
        x = gl.placeholder(value.shape)
        (node,) = (n for n in gl.Graph("g", [x], [reshape_(x, shape=after)]).nodes if n.operands)
        assert node.op.view is not None
        strides = tuple(
            0 if n == 1 else s // 8 for n, s in zip(value.shape, value.strides, strict=True)
        )
        view = node.op.view(node, View(strides, 0))
        if view is None:
            assert not np.shares_memory(value.reshape(after), value) or value.size < 2
            continue
        seen += 1
        places = sum(
            (i * s for i, s in zip(np.indices(after), view.strides, strict=True)),
            np.zeros(after, int),
        )
        np.testing.assert_array_equal(places, value.reshape(after))
    assert seen > 100


def test_pools_side_by_side_are_taken_back_without_a_gather() -> None:
    x = gl.placeholder(("B", 3, 8, 6), "float64", "x")
    gradient = gl.grad(gl.sum(gl.nn.max_pool(x, 2) ** 2), x)
    made = compile_graph(gl.Graph("g", [x], [gradient]), cpu_target())
    assert not any(node.op.kind == "gather" for node in made.stages["lift"].nodes)
    for n in (0, 1, 3):
        data = numbers(n, 3, 8, 6)
        assert made.program is not None
        close(Executable(made.program, 1)([data])[0], gradient.eval({x: data}))


@pytest.mark.parametrize("shape", [(32, 48), (3, 16, 5, 32), (16, 17), (0, 16, 16)])
def test_right_sides_the_other_way_round(shape: tuple[int, ...]) -> None:
    """A matrix that products need the other way round is copied exactly, whatever its sides."""
    x = gl.placeholder(shape, "float32", "x")
    y = gl.placeholder((*shape[:-2], 2, shape[-1]), "float32", "y")
    product = y @ gl.matrix_transpose(x)
    left = numbers(*shape[:-2], 2, shape[-1]).astype(np.float32)
    data = numbers(*shape).astype(np.float32)
    found = gl.function([x, y], product)(data, left)
    np.testing.assert_allclose(found, left @ np.swapaxes(data, -1, -2), 1e-4, 1e-4)
