# pyright: standard
"""Functions that reshape, join and part arrays, against NumPy: interpreter and compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.op import View

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7
V = np.array([3, 1, 2], np.int64)
S = np.arange(20, dtype=np.float64).reshape(4, 5)
BAD: Any = 1.5
NAMED = {"x": X, "v": V, "s": S}

# The same call on gradloom and on NumPy, arrays by name.
CALLS: list[Callable[[Any, Any, Any, Any], Any]] = [
    lambda m, x, v, s: m.flip(x, None),
    lambda m, x, v, s: m.flip(x, -1),
    lambda m, x, v, s: m.flip(x, (0, 2)),
    lambda m, x, v, s: m.roll(x, 1),
    lambda m, x, v, s: m.roll(x, -5, 1),
    lambda m, x, v, s: m.roll(x, (1, 2), (0, -1)),
    lambda m, x, v, s: m.roll(x, 1, (0, 2)),
    lambda m, x, v, s: m.roll(v, 300000001),
    lambda m, x, v, s: m.concatenate([x, x * 2, x[:, :0]], 1),
    lambda m, x, v, s: m.concatenate([x, v.astype("float32")], None),
    lambda m, x, v, s: m.concatenate([s[:, 2:], s[:, :2], s], -1),
    lambda m, x, v, s: m.stack([v, v[::-1], v]),
    lambda m, x, v, s: m.stack([s, s.T.reshape(4, 5)], -1),
    lambda m, x, v, s: m.stack([x[0, 0, 0], x[1, 1, 1]]),
    lambda m, x, v, s: m.split(s, 2)[1],
    lambda m, x, v, s: m.split(s, [1, 3, -1], 1)[2],
    lambda m, x, v, s: m.split(s, [3, 1, 100], 1)[1],
    lambda m, x, v, s: m.split(s, [3, 1, 100], 1)[3],
    lambda m, x, v, s: m.unstack(s)[3],
    lambda m, x, v, s: m.unstack(x, axis=1)[2],
    lambda m, x, v, s: m.tile(v, 3),
    lambda m, x, v, s: m.tile(x, (2, 1, 0)),
    lambda m, x, v, s: m.tile(v, (2, 2)),
    lambda m, x, v, s: m.tile(x, 2),
    lambda m, x, v, s: m.tile(x, np.array([2, 1])),
    lambda m, x, v, s: m.tile(v, np.array(2)),
    lambda m, x, v, s: m.repeat(x, 3),
    lambda m, x, v, s: m.repeat(x, 2, 1),
    lambda m, x, v, s: m.repeat(v, 0),
    lambda m, x, v, s: m.tril(s),
    lambda m, x, v, s: m.triu(s, 2),
    lambda m, x, v, s: m.tril(x, -1),
    lambda m, x, v, s: m.diagonal(s, 0, 0, 1),
    lambda m, x, v, s: m.diagonal(s, -2, 0, 1),
    lambda m, x, v, s: m.diagonal(x, 1, 2, 0),
    lambda m, x, v, s: m.eye(3, 4, 1, dtype="float32"),
    lambda m, x, v, s: m.eye(2, dtype="int32"),
    lambda m, x, v, s: m.moveaxis(x, (0, 2), (-1, 0)),
    lambda m, x, v, s: m.moveaxis(x, 0, -1),
    lambda m, x, v, s: m.swapaxes(x, 0, -1),
    lambda m, x, v, s: m.broadcast_arrays(v, s[:, :1])[0],
    lambda m, x, v, s: m.broadcast_to(s[:, None, :1], (2, 4, 3, 1)),
    lambda m, x, v, s: m.expand_dims(s, (0, -1)),
    lambda m, x, v, s: m.squeeze(s[:1, None, 1], (0, 1)),
    lambda m, x, v, s: m.full_like(x, 3.5),
    lambda m, x, v, s: m.full_like(v, True, dtype="bool"),
    lambda m, x, v, s: m.ones_like(s, dtype="int32") + m.zeros_like(s, dtype="int32"),
    lambda m, x, v, s: m.full((2, 0), 7, dtype="int16"),
    lambda m, x, v, s: x.flatten(),
    lambda m, x, v, s: x[:, :1].squeeze(1),
    lambda m, x, v, s: x.transpose(),
    lambda m, x, v, s: x.transpose(1, -1, 0),
    lambda m, x, v, s: x.transpose((2, 0, 1)),
    lambda m, x, v, s: m.arange(5),
    lambda m, x, v, s: m.arange(2, 11, 3),
    lambda m, x, v, s: m.arange(5, -6, -2, dtype="int32"),
    lambda m, x, v, s: m.arange(3, 3),
    lambda m, x, v, s: m.arange(4, 1),
    lambda m, x, v, s: m.arange(-4),
    lambda m, x, v, s: m.arange(0.5, 4, 0.25, dtype="float32"),
    lambda m, x, v, s: m.arange(1, 0, -0.125, dtype="float64"),
    lambda m, x, v, s: m.linspace(-1, 1, 9, dtype="float32"),
    lambda m, x, v, s: m.linspace(2.0, 1.0, 5, endpoint=False, dtype="float64"),
    lambda m, x, v, s: m.linspace(2, 3, 1, dtype="float64"),
    lambda m, x, v, s: m.linspace(2, 3, 0, dtype="float64"),
    lambda m, x, v, s: m.linspace(s[0], s[3], 4),
    lambda m, x, v, s: m.meshgrid(v, s[0], s[1, :2])[1],
    lambda m, x, v, s: m.meshgrid(v, s[0], s[1, :2], indexing="ij")[2],
    lambda m, x, v, s: m.meshgrid(v)[0],
    lambda m, x, v, s: m.pad(x, 1),
    lambda m, x, v, s: m.pad(s, ((1, 0), (0, 2)), constant_values=-np.inf),
    lambda m, x, v, s: m.pad(v, (2, 0), mode="constant", constant_values=9),
    lambda m, x, v, s: m.pad(x > 0, ((0, 0), (1, 2), (0, 0))),
    lambda m, x, v, s: m.pad(s, (2, 7), "reflect"),
    lambda m, x, v, s: m.pad(s[:1], 3, "reflect"),
    lambda m, x, v, s: m.pad(s, ((3, 13), (0, 0)), "symmetric"),
    lambda m, x, v, s: m.pad(s, ((0, 1), (6, 6)), "edge"),
    lambda m, x, v, s: m.pad(x, 5, "wrap"),
    lambda m, x, v, s: m.pad(x, [[0, 0]], "wrap"),
    lambda m, x, v, s: m.pad(x[:, :0], 1),
]


def tensors() -> dict[str, gl.Tensor]:
    return {k: gl.placeholder(a.shape, a.dtype, k) for k, a in NAMED.items()}


def test_as_numpy():
    """Every call, all in one compiled graph, and by the interpreter."""
    given = tensors()
    outputs = [call(gl, *given.values()) for call in CALLS]
    compiled = gl.function(list(given.values()), outputs)(*NAMED.values())
    feeds = {given[name]: array for name, array in NAMED.items()}
    for number, (call, output, got) in enumerate(zip(CALLS, outputs, compiled, strict=True)):
        wanted = call(np, *NAMED.values())
        for found in (output.eval(feeds), got):
            assert found.dtype == wanted.dtype, number
            np.testing.assert_array_equal(found, wanted, err_msg=str(number))
        assert output.shape == wanted.shape, number


def check(x: gl.Tensor, outputs: list[gl.Tensor], wanted: Callable[[Any], list[Any]]) -> None:
    """Outputs of a tensor [N, 3] for several N."""
    function = gl.function([x], outputs)
    for size in (0, 1, 2, 5):
        array = np.arange(size * 3.0).reshape(size, 3)
        by_interpreter = gl.evaluate(function.graph, {"x": array})
        for got, other, right in zip(function(array), by_interpreter, wanted(array), strict=True):
            np.testing.assert_array_equal(got, right)
            np.testing.assert_array_equal(other, right)


def test_named_sizes():
    x = gl.placeholder(("N", 3), "float64", "x")
    outputs = [
        gl.flip(x),
        gl.concat([x, x[:2], x * 2]),
        gl.roll(x, 2, 0),
        gl.roll(x, -7, 0),
        gl.diagonal(x),
        gl.diagonal(x, 1),
        gl.diagonal(x, -1),
        gl.tril(x),
        gl.tile(x, (2, 2)),
        gl.repeat(x, 2, 0),
        gl.split(x, [2], 0)[1],
        gl.stack([x, x])[1],
        gl.sort(x, 0, descending=True),
        gl.eye(x.shape[0], dtype="float64"),
        gl.pad(x, ((1, 2), (0, 1)), constant_values=5),
        gl.arange(1, x.shape[0] + 2),
        gl.arange(x.shape[0], 0, -2),
        gl.linspace(0, 1, x.shape[0], dtype="float64"),
        gl.expand(x[:, :1], (2, -1, 3)),
    ]
    check(
        x,
        outputs,
        lambda a: [
            np.flip(a),
            np.concatenate([a, a[:2], a * 2]),
            np.roll(a, 2, 0),
            np.roll(a, -7, 0),
            np.diagonal(a),
            np.diagonal(a, 1),
            np.diagonal(a, -1) if len(a) else a[0:0, 0],
            np.tril(a),
            np.tile(a, (2, 2)),
            np.repeat(a, 2, 0),
            np.split(a, [2], 0)[1],
            a,
            np.sort(a, 0)[::-1],
            np.eye(len(a)),
            np.pad(a, ((1, 2), (0, 1)), constant_values=5),
            np.arange(1, len(a) + 2),
            np.arange(len(a), 0, -2),
            np.linspace(0, 1, len(a)),
            np.broadcast_to(a[:, :1], (2, len(a), 3)),
        ],
    )


@pytest.mark.parametrize("mode", ["edge", "wrap", "reflect", "symmetric"])
def test_pad_named_sizes(mode: Any):
    x = gl.placeholder(("N", 2), "float64")
    padded = gl.pad(x, ((3, 4), (0, 1)), mode)
    slope = gl.grad(gl.sum(padded * padded), x)
    function = gl.function([x], [padded, slope])
    for size in (1, 2, 3, 9):
        array = np.arange(2.0 * size).reshape(size, 2) + 1
        wanted = np.pad(array, ((3, 4), (0, 1)), mode)
        copies = np.array([[(wanted == entry).sum() for entry in row] for row in array])
        got, gradient = function(array)
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(gradient, 2 * array * copies)


def test_concat_in_a_loop():
    """A window that moves over a sequence: the carry is joined anew each step."""
    start = gl.placeholder(3, "float64")
    entries = gl.placeholder("T", "float64")

    def step(carry: Any, entry: Any) -> Any:
        joined = gl.concat([carry[1:], gl.reshape(entry, (1,))])
        return joined, gl.sum(joined * gl.constant(np.array([1.0, 10.0, 100.0])))

    last, sums = gl.scan(step, start, entries)
    slope = gl.grad(gl.sum(sums * sums), entries)
    a, b = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0, 7.0])
    function = gl.function([start, entries], [last, sums, slope])
    got = function(a, b)
    whole = np.concatenate([a, b])
    wanted = np.array([np.dot(whole[i + 1 : i + 4], [1, 10, 100]) for i in range(4)])
    np.testing.assert_array_equal(got[0], whole[-3:])
    np.testing.assert_allclose(got[1], wanted)
    weights = np.array([100.0, 10.0, 1.0])
    slopes = [sum(2 * wanted[i + j] * weights[j] for j in range(3) if i + j < 4) for i in range(4)]
    np.testing.assert_allclose(got[2], slopes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: gl.concat([x, x[:, :, 0]]), "as many axes"),
        (lambda x: gl.concat([x, x[:, :2]], 0), "sizes of axis 1 differ: 3 against 2"),
        (lambda x: gl.concat([x, gl.ones((2, 3, 4), "int32")]), "do not promote"),
        (lambda x: gl.concat([x], 3), "axis 3 is out of range"),
        (lambda x: gl.concat([]), "at least one array"),
        (lambda x: gl.concat(x), "takes a list or tuple"),
        (lambda x: gl.stack([x, x[0]]), "one shape"),
        (lambda x: gl.split(x, 2, 1), "does not split into 2 equal parts"),
        (lambda x: gl.split(x, 0), "at least 1"),
        (lambda x: gl.unstack(gl.placeholder("N")), "not a named size"),
        (lambda x: gl.repeat(x, -1), "a number of repeats is at least 0, got -1"),
        (lambda x: gl.repeat(x, x), "must be an integer"),
        (lambda x: gl.tile(x, BAD), "must be an integer"),
        (lambda x: gl.tile(x, np.array([[2]])), r"must be an integer, got \[2\]"),
        (lambda x: gl.repeat(x, np.array([1.5])), "must be an integer, got np.float64"),
        (lambda x: gl.roll(x, (1, 2), (0, 1, 2)), "2 shifts do not fit 3 axes"),
        (lambda x: gl.roll(x, BAD), "a shift must be an integer"),
        (lambda x: gl.split(x, [BAD]), "a place to cut must be an integer"),
        (lambda x: gl.diagonal(x, BAD), "offset must be an integer"),
        (lambda x: gl.flip(x, (0, 0)), "names an axis twice"),
        (lambda x: gl.diagonal(x[0, 0]), "at least two axes"),
        (lambda x: gl.diagonal(x, 0, 1, -2), "must differ"),
        (lambda x: gl.tril(x[0, 0]), "at least two axes"),
        (lambda x: gl.moveaxis(x, (0, 1), 0), "2 axes do not move to 1 places"),
        (lambda x: gl.moveaxis(x, (0, -3), (0, 1)), "names an axis twice"),
        (lambda x: gl.swapaxes(x, 0, 3), "axis 3 is out of range"),
        (lambda x: gl.expand(x, (-1, 2, 3, 4)), "axis 0 is new"),
        (lambda x: gl.arange(0, 5, 0), "must not be 0"),
        (lambda x: gl.arange(x[0, 0, 0]), "a number or a size"),
        (lambda x: gl.arange(0.0, float("inf")), "no number of entries"),
        (lambda x: gl.linspace(0, 1, 3, dtype="int32"), "needs a float dtype"),
        (lambda x: gl.linspace(0, 1, -1), "must not be negative"),
        (lambda x: gl.meshgrid(x), "needs vectors"),
        (lambda x: gl.meshgrid(x[0, 0], indexing="xz"), "'xy' or 'ij'"),
        (lambda x: gl.pad(x, -1), "a width is at least 0, got -1"),
        (lambda x: gl.pad(x, ((1, 1), (1, 1))), "2 pairs of widths do not fit 3 axes"),
        (lambda x: gl.pad(x, (1, 2, 3)), "a pair an axis"),
        (lambda x: gl.pad(x, 1.5), "a width must be an integer"),
        (lambda x: gl.pad(x, 1, "mean"), "mode is one of constant, edge"),
        (lambda x: gl.pad(x[:0], 1, "edge"), "has nothing to show"),
        (lambda x: gl.pad(x, 1, constant_values=gl.ones(2)), "one number of f32"),
    ],
)
def test_errors(call: Callable[[Any], Any], message: str):
    x = gl.placeholder((2, 3, 4))
    with pytest.raises(gl.GradloomError, match=message) as caught:
        call(x)
    assert "test_shape_functions.py" in str(caught.value)


def test_kernels_of_many_axes():
    """None of them is called like a dtype (`i8`)."""
    x = gl.placeholder((2,) * 18, name="x")
    function = gl.function([x], x + gl.permute_dims(x, range(17, -1, -1)))
    value = np.arange(2**18, dtype=np.float32).reshape(x.shape)
    np.testing.assert_array_equal(function(value), value + value.T)


def test_a_reshape_is_a_view_where_numpys_is_one() -> None:
    """Of arrays that lie in another order, with steps, or in part of a larger one."""
    dice = np.random.default_rng(5)
    views = 0
    for _ in range(300):
        before = tuple(int(n) for n in dice.choice([1, 2, 3, 4, 6], size=dice.integers(1, 5)))
        memory = np.zeros(tuple(2 * n for n in before), np.float32)
        seen = memory[tuple(slice(0, n * s, s) for n in before for s in dice.integers(1, 3, 1))]
        if dice.random() < 0.5:
            seen = memory[: before[0]]
        seen = seen.transpose(dice.permutation(seen.ndim))
        after, rest = [], seen.size
        while rest > 1:
            after.append(int(dice.choice([n for n in range(2, rest + 1) if rest % n == 0])))
            rest //= after[-1]
        after = tuple(int(n) for n in dice.permutation(after))
        try:
            wanted = np.lib.stride_tricks.as_strided(seen)
            wanted.shape = after
        except AttributeError:
            wanted = None
        node: Any = gl.placeholder(seen.shape).reshape(after).node
        if node.op.name != "reshape":
            continue
        strides = tuple(s // 4 * (n != 1) for s, n in zip(seen.strides, seen.shape, strict=True))
        found = node.op.view(node, View(strides, 0))
        assert (found is None) == (wanted is None), (seen.shape, seen.strides, after)
        if wanted is not None:
            views += 1
            assert found.strides == tuple(s // 4 for s in wanted.strides)
    assert 50 < views < 250


def test_a_named_size_is_joined_and_parted() -> None:
    x = gl.placeholder(("B", 6, 8), name="x")
    part = x[:, :, 4:]
    for shape in (("B", 6, 2, 2), (6 * x.shape[0], 4), ("B", 3, 2, 4), (3 * x.shape[0], 2, 2, 2)):
        function = gl.function([x], gl.tanh(part.reshape(shape)))
        assert [kernel.name for kernel in function.kernels] == ["tanh_kernel"]
        given = np.random.default_rng(0).normal(size=(3, 6, 8)).astype("float32")
        wanted = np.tanh(given[:, :, 4:].reshape([-1, *shape[1:]]))
        np.testing.assert_allclose(function(given), wanted, rtol=1e-6)
