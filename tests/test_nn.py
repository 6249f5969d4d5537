# pyright: standard
"""``gl.nn``: convolutions by their definition, their derivatives, edges, and errors.

Against loops in NumPy and scipy.signal; PyTorch has a file of its own.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.frontends.vmap import vmap
from gradloom.ir.tensor import Tensor

from .nn_cases import both, first, image, loops, numbers, refused
from .op_cases import close


@pytest.mark.parametrize("n", [1, 2, 3])
def test_convolution_is_a_sum_over_windows(n: int):
    x, w = first(numbers(2, 3, 6, 5, 4), n), first(numbers(4, 3, 2, 3, 1), n)
    convolve = [gl.nn.conv1d, gl.nn.conv2d, gl.nn.conv3d][n - 1]
    strides, pads = (2, 1, 3)[:n], ((1, 0), (2, 1), (0, 1))[:n]
    got = both(lambda x, w: convolve(x, w, strides, pads), x, w)
    close(got, loops(x, w, strides, pads))
    close(both(lambda x, w: convolve(x, w), x, w), loops(x, w, [1] * n, [(0, 0)] * n))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_convolution_as_scipy_has_it(n: int):
    """flip=True is what mathematics calls a convolution; without it, correlation."""
    signal = pytest.importorskip("scipy.signal")
    x, w = numbers(*(7, 6, 5)[:n]), numbers(*(3, 2, 4)[:n])
    convolve = [gl.nn.conv1d, gl.nn.conv2d, gl.nn.conv3d][n - 1]
    for flip, function in ((True, signal.convolve), (False, signal.correlate)):
        got = both(lambda x, w, flip=flip: convolve(x, w, flip=flip), x[None, None], w[None, None])
        close(got[0, 0], function(x, w, "valid"))


def test_same_padding_keeps_the_size_and_pads_behind():
    for size, stride, kernel in itertools.product([1, 4, 5, 8], [1, 2, 3], [1, 2, 3, 4]):
        x, w = numbers(1, 1, size), numbers(1, 1, kernel)
        count = -(-size // stride)
        missing = max((count - 1) * stride + kernel - size, 0)
        pads = [(missing // 2, missing - missing // 2)]
        value = gl.nn.conv1d(x, w, stride, "same")
        assert value.shape == (1, 1, count)
        close(value.eval({}), loops(x, w, [stride], pads))
    x, w = numbers(2, 3, 5, 4), numbers(2, 3, 3, 2)
    got = both(lambda x, w: gl.nn.conv2d(x, w, padding="same"), x, w)
    close(got, loops(x, w, [1, 1], [(1, 1), (0, 1)]))


@pytest.mark.parametrize("channels", [7, 16, 48, 67])
def test_channels_of_a_pixel_are_steps_that_lie_together(channels: int):
    """Of the window's 25 × 48 or 67 steps there is more than one segment (`runtime/ragged.py`)."""
    rng = np.random.default_rng(channels)
    x, w = (
        rng.standard_normal(s).astype("f4") for s in ((9, channels, 6, 7), (33, channels, 5, 5))
    )
    image, kernel = gl.placeholder(("B", *x.shape[1:]), name="x"), gl.parameter(w, name="w")
    found = gl.function([image], gl.nn.conv2d(image, kernel, padding="same"))(x)
    padded = np.pad(x.astype("f8"), ((0, 0), (0, 0), (2, 2), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(2, 3))
    wanted = np.einsum("bcijkl,ockl->boij", windows, w)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)


def test_groups_and_dilation_are_smaller_convolutions():
    x, w = numbers(2, 6, 7, 9), numbers(4, 3, 3, 2)
    got = both(lambda x, w: gl.nn.conv2d(x, w, groups=2, dilation=(2, 3)), x, w)
    holes = np.zeros((4, 3, 5, 4))
    holes[:, :, ::2, ::3] = w
    halves = [
        loops(x[:, 3 * g : 3 * g + 3], holes[2 * g : 2 * g + 2], [1, 1], [(0, 0)] * 2)
        for g in (0, 1)
    ]
    close(got, np.concatenate(halves, 1))


def test_integer_convolutions_are_exact():
    rng = np.random.default_rng(0)
    for dtype in (np.int8, np.uint8, np.int32, np.int64):
        x = rng.integers(0, 100, (2, 2, 6)).astype(dtype)
        w = rng.integers(0, 100, (3, 2, 3)).astype(dtype)
        got = both(lambda x, w: gl.nn.conv1d(x, w), x, w)
        assert got.dtype == dtype
        assert np.array_equal(got, loops(x, w, [1], [(0, 0)]))  # wraps as NumPy's integers do
    refused("got bool", lambda: gl.nn.conv1d(x == 1, w == 1))
    refused("do not promote", lambda: gl.nn.conv1d(numbers(1, 2, 6), w))


def test_transposed_convolution_is_the_transpose():
    """⟨conv(x), y⟩ = ⟨x, conv_transpose(y)⟩ for all x and y."""
    x, w = numbers(2, 4, 8, 7), numbers(6, 2, 3, 2)
    walk: dict[str, Any] = {
        "stride": (3, 2),
        "padding": ((1, 0), (1, 2)),
        "dilation": (1, 2),
        "groups": 2,
    }
    forward = both(lambda x, w: gl.nn.conv2d(x, w, **walk), x, w)
    y = numbers(*forward.shape)
    rest = [(8 + 1 - 3) % 3, (7 + 3 - 3) % 2]
    back = both(lambda y, w: gl.nn.conv_transpose2d(y, w, output_padding=rest, **walk), y, w)
    assert back.shape == x.shape
    close(np.sum(forward * y), np.sum(x * back))


@pytest.mark.parametrize("n", [1, 2])
def test_locally_connected_has_a_kernel_for_each_position(n: int):
    x = numbers(2, 3, *(7, 5)[:n])
    w = numbers(*(3, 3)[:n], 4, 3, *(3, 1)[:n])
    connect = [gl.nn.locally_connected1d, gl.nn.locally_connected2d][n - 1]
    strides = (2, 2)[:n]
    got = both(lambda x, w: connect(x, w, strides), x, w)
    for place in np.ndindex(*(3, 3)[:n]):
        close(got[(..., *place)], loops(x, w[place], strides, [(0, 0)] * n)[(..., *place)])


def test_derivatives_of_convolutions_are_convolutions():
    """Of both operands and second order: no scatter, no windows, until kernels are made."""
    x, w = image(2, 4, 9), gl.placeholder((6, 2, 3), "float64", "w")
    y = gl.nn.conv1d(x, w, 2, 1, groups=2)
    first = gl.grad(gl.sum(y * y), [x, w])
    second = gl.grad(gl.sum(first[0] * first[0]) + gl.sum(first[1]), [x, w])
    graph = gl.Graph("g", [x, w], [*first, *second])
    while any(node.op.kind == "request" for node in graph.nodes):
        graph = gl.run_pass(graph, "differentiate")
    names = {node.op.name for node in graph.nodes}
    assert "convolve" in names
    assert names.isdisjoint({"windows", "overlap_add", "gather", "scatter_add", "embed"})


def test_one_by_one_kernels_are_one_product_without_copies():
    from gradloom.compiler.pipeline import compile_graph
    from gradloom.ir.target import Target

    x, w = image("B", 4, 5, 6), gl.placeholder((3, 4, 1, 1), "float64", "w")
    program = compile_graph(gl.Graph("g", [x, w], [gl.nn.conv2d(x, w)]), Target("cpu")).program
    assert program is not None
    assert [kernel.name for kernel in program.kernels] == ["matmul_kernel"]


def test_convolution_over_named_sizes():
    """Compiled once; batch 0, sizes 1 and up.  A size into which no window fits fails the call."""
    w = numbers(4, 3, 3, 2)
    x = image("B", 3, "H", "W")
    weights = gl.placeholder(w.shape, "float64", "w")
    y = gl.nn.conv2d(x, weights, (1, 2), ((0, 0), (1, 0)))
    function = gl.function([x, weights], [y, *gl.grad(gl.sum(y * y * y), [x, weights])])
    for shape in [(2, 3, 3, 1), (1, 3, 5, 8), (0, 3, 4, 4)]:
        data = numbers(*shape)
        got, by_x, by_w = function(data, w)
        close(got, loops(data, w, (1, 2), ((0, 0), (1, 0))))
        assert by_x.shape == data.shape
        fixed = image(*shape)
        same = gl.nn.conv2d(fixed, w, (1, 2), ((0, 0), (1, 0)))
        close(by_x, gl.grad(gl.sum(same * same * same), fixed).eval({fixed: data}))
        assert np.any(by_w) == (shape[0] > 0)
    for shape in [(2, 3, 2, 4), (2, 3, 0, 4), (2, 3, 3, 0)]:
        with pytest.raises(gl.GradloomError, match=r"max\(.*does not hold in this call"):
            function(numbers(*shape), w)
    assert gl.parse(str(gl.Graph("g", [x, weights], [y]))) == gl.Graph("g", [x, weights], [y])


def test_batches_of_images_and_of_kernels():
    """vmap over either operand or both is a loop."""
    x, w = numbers(3, 2, 4, 8), numbers(3, 4, 2, 3)

    def one(x: Tensor, w: Tensor) -> Tensor:
        return gl.nn.conv1d(x, w, 2, 1, groups=2)

    for axes in ([0, 0], [0, None], [None, 0]):
        a, b = (array if axis == 0 else array[0] for array, axis in zip((x, w), axes, strict=True))
        got = both(vmap(one, axes), a, b)
        for i in range(3):
            own = [
                array[i] if axis == 0 else array for array, axis in zip((a, b), axes, strict=True)
            ]
            close(got[i], one(*(gl.constant(array) for array in own)).eval({}))


def test_float32_stays_float32():
    x, w = numbers(2, 3, 9).astype(np.float32), numbers(2, 3, 4).astype(np.float32)
    a, b = image(2, 3, 9, dtype="float32"), gl.placeholder(w.shape, "float32", "w")
    y = gl.nn.conv1d(a, b)
    got, by_x, by_w = gl.function([a, b], [y, *gl.grad(gl.sum(y), [a, b])])(x, w)
    assert {got.dtype, by_x.dtype, by_w.dtype} == {np.dtype(np.float32)}
    np.testing.assert_allclose(got, loops(x, w, [1], [(0, 0)]), rtol=1e-5, atol=1e-5)


def test_errors_of_convolutions_name_the_sizes():
    x, w = image(2, 4, 5, 5), gl.placeholder((6, 2, 3, 3), "float64", "w")
    conv, back = gl.nn.conv2d, gl.nn.conv_transpose2d
    refused("the input has 4 channels, the kernel is for 2", lambda: conv(x, w))
    refused("4 channels of the input do not divide into 3 groups", lambda: conv(x, w, groups=3))
    refused("6 kernels do not divide into 4 groups", lambda: conv(x, w[:, :1], groups=4))
    refused("groups is at least 1, got 0", lambda: conv(x, w, groups=0))
    refused("a kernel of 7 entries does not fit into 5", lambda: conv(x, w, dilation=3, groups=2))
    refused(
        "a kernel of 9 entries does not fit into 5 padded by 1 and 2",
        lambda: conv(x, w, 1, ((1, 2), (1, 2)), 4, 2),
    )
    refused("stride is at least 1, got 0", lambda: conv(x, w, 0, groups=2))
    refused(
        "stride is an integer or 2 of them, got (1, 1, 1)", lambda: conv(x, w, (1, 1, 1), groups=2)
    )
    refused("stride must be an integer, got 1.5", lambda: conv(x, w, 1.5, groups=2))
    refused("dilation is at least 1", lambda: conv(x, w, dilation=-1, groups=2))
    refused("got 'full'", lambda: conv(x, w, padding="full", groups=2))
    refused("padding is at least 0, got -1", lambda: conv(x, w, padding=-1, groups=2))
    refused(
        "padding is an integer, 2 of them or 2 pairs",
        lambda: conv(x, w, padding=((1,), (2,)), groups=2),
    )
    refused("the input needs 4 axes (N C H W), got f64[4,5,5]", lambda: conv(x[0], w))
    refused("the kernel needs 4 axes (O I H W)", lambda: conv(x, w[0]))
    refused("has no entries", lambda: conv(x, w[:, :, :0], groups=2))
    refused("the input has 4 channels, the kernel is for 6", lambda: back(x, w))
    refused("output_padding is below stride or dilation", lambda: back(x[:, :2], w[:2], 2, 0, 2))
    refused("padding by 9 and 9 leaves nothing of axis 2", lambda: back(x[:, :2], w[:2], 1, 9))
    refused(
        "numbers of positions along axis 2 differ: 3 against 4",
        lambda: gl.nn.locally_connected2d(x, numbers(4, 3, 6, 4, 3, 3)),
    )
