# pyright: standard
"""What kernels make again instead of storing it: cheap values of the index; never random masks."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradloom as gl
from gradloom.compiler.recompute import made_where_read
from gradloom.frontends.function import Function
from gradloom.ir.dims import symbol
from gradloom.ir.ops.build import dimension
from gradloom.ir.ops.create import iota
from gradloom.ir.tensor import Tensor

NumpyArray = np.ndarray[Any, Any]
KEY = gl.random.key(11)
X = gl.placeholder(("B", 16), name="x")
W = gl.placeholder((16, 16), name="w")
RNG = np.random.default_rng(0)
FEEDS = {name: RNG.normal(size=(n, 16)).astype("float32") for name, n in (("x", 7), ("w", 16))}


def temporaries(function: Function) -> list[str]:
    """The types of the buffers between kernels."""
    buffers = function.program.buffers
    return sorted(str(buffer.type) for buffer in buffers if buffer.kind == "temporary")


def heads(mask: Tensor) -> Tensor:
    """Two products with a masked array, and what the gradient adds to them."""
    scores = gl.where(mask, X, -1e9)
    y = gl.softmax(scores @ W)
    return gl.sum(y * y)


def test_dropout_inside_a_chain_stores_nothing():
    function = gl.function([X], gl.nn.dropout(gl.tanh(X * 2), KEY, 0.3) + 1)
    assert len(function.kernels) == 1
    assert temporaries(function) == []


def test_dropout_for_a_gradient_elsewhere_stores_a_byte_an_entry():
    h = gl.nn.dropout(gl.sin(X @ W), KEY, 0.3)
    loss = gl.sum(gl.softmax(h @ W) ** 2)
    function = gl.function([X, W], gl.grad(loss, W))
    found = temporaries(function)
    assert found.count("bool[B,16]") == 1
    assert not [type_ for type_ in found if type_.startswith("u32")]


def test_masks_of_positions_are_made_where_they_are_read():
    rows, columns = gl.arange("B")[:, None], gl.arange(16)
    for mask in (rows >= columns, abs(rows - columns) < 4, rows - columns == 1):
        function = gl.function([X, W], gl.grad(heads(mask), X))
        assert not [t for t in temporaries(function) if not t.startswith("f32")]
        np.testing.assert_allclose(
            function(**FEEDS), gl.evaluate(function.graph, FEEDS), rtol=2e-4, atol=1e-6
        )


def test_dear_ones_are_stored():
    """A sine of the position costs more than four bytes out and in."""
    cheap = gl.astype(gl.arange("B"), "float32")[:, None] * 0.1
    table = gl.sin(gl.sin(cheap))

    def reads_twice(value: Tensor) -> Function:
        return gl.function([X, W], gl.softmax((X * value) @ W) * value @ W)

    column = {"f32[B]", "f32[B,1]"}
    assert column & {*temporaries(reads_twice(table))}
    assert not column & {*temporaries(reads_twice(cheap))}
    names = [node.op.name for node in made_where_read(reads_twice(table).stages["split"])]
    assert names.count("sin") == 1  # the inner one alone
    assert {"iota", "cast", "multiply"} <= {*names}


def test_what_readers_spread_is_stored_unless_a_cached_load_costs_more():
    """2048 rows would make 256 cosines each, but load them from the cache."""
    x = gl.placeholder((2048, 256), name="x")
    number = gl.astype(gl.arange(256), "float32")

    def stored(value: Tensor, other: Tensor = x) -> list[str]:
        return temporaries(gl.function([other], other + value))

    assert stored(gl.cos(number)) == ["f32[256]"]
    assert stored(gl.cos(number), gl.placeholder(("B", 256), name="x")) == ["f32[256]"]
    assert stored(gl.cos(number), gl.placeholder((256,), name="x")) == []
    assert stored(number * 0.5) == []
    assert stored(gl.cos(gl.astype(dimension("B"), "float32")), X) == []  # one entry
    batch = gl.placeholder(("B", 8, 16, 16), name="x")
    rows, columns = gl.arange(16)[:, None], gl.arange(16)
    for mask, data in ((rows >= columns, []), (abs(rows - columns) < 4, ["bool[16,16]"])):
        function = gl.function([batch], gl.where(mask, batch, -1e9))
        assert temporaries(function) == []  # what is stored is known: data
        assert [str(buffer.type) for buffer in function.program.of_kind("constant")] == data


def test_where_an_array_is_needed_there_is_one():
    """As a result, as what a gather or a product reads, through a view, from a loop."""
    position = gl.arange("B") * 3 + 1
    number = gl.astype(position, "float32")
    index = gl.astype(gl.abs(X[:, 0]), "int64")
    columns = iota(shape=(symbol("B"), 16), axis=1)
    total, _ = gl.scan(lambda c, n: (c + n * number, None), gl.zeros(("B",)), number)
    outputs = [
        position,
        gl.take(position, index) + 1,
        X.T @ number,
        number[::2] + 1.0,
        gl.broadcast_to(number, (3, "B")).T,
        X * number[:, None],
        total,
        gl.expand_dims(columns, 1) + gl.astype(X, "int64")[:, None, :],
        gl.sort(position % 5),
    ]
    function = gl.function([X], outputs)
    wanted = gl.evaluate(function.graph, {"x": FEEDS["x"]})
    for got, expected in zip(function(FEEDS["x"]), wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_what_a_view_of_positions_reads_is_made_before():
    """Its maker shares a space with its readers, and must not become one kernel with them."""
    x, z = gl.placeholder((5,), name="x"), gl.placeholder((6, 6), name="z")
    mask = gl.arange(6)[:, None] >= gl.arange(6)
    n = gl.placeholder(("N",), name="n")
    waves = gl.cos(gl.astype(gl.arange("N"), "float32"))
    outputs = [
        x * gl.astype(gl.arange(5)[::-1], "float32"),
        x * gl.flip(gl.linspace(0.0, 1.0, 5)),
        gl.where(gl.permute_dims(mask, (1, 0)), z, 0.0),
        gl.where(gl.flip(mask, axis=0), z, 0.0),
        gl.grad(gl.sum(gl.roll(n, 2) * waves), n),
    ]
    feeds = {
        name: RNG.normal(size=shape).astype("float32")
        for name, shape in (("x", 5), ("z", (6, 6)), ("n", 7))
    }
    for output in outputs:
        function = gl.function([x, z, n], output)
        wanted = gl.evaluate(function.graph, feeds)
        np.testing.assert_allclose(function(**feeds), wanted, rtol=1e-6)


def test_same_bits_without_fusion():
    rows, columns = gl.arange("B")[:, None], gl.arange(16)
    loss = heads((rows >= columns) & gl.random.bernoulli(KEY, 0.8, ("B", 16)))
    graph = gl.function([X, W], [loss, *gl.grad(loss, [X, W])]).graph
    fused, apart = gl.compile(graph)(**FEEDS), gl.compile(graph, fusion=False)(**FEEDS)
    for one, other in zip(fused, apart, strict=True):
        np.testing.assert_array_equal(one, other)
