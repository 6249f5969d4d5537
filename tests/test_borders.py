"""What kernels store for each other, and what readers make again: the cheapest choice."""

from __future__ import annotations

from collections.abc import Collection
from itertools import product
from random import Random

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.cut import FOREVER, Cut
from gradloom.compiler.fuse import fuse
from gradloom.frontends.function import Function
from gradloom.ir.tensor import Tensor

KEY = gl.random.key(3)
X = gl.placeholder(("B", 24), name="x")
W = gl.placeholder((24, 24), name="w")
V = gl.placeholder((24, 24), name="v")
RNG = np.random.default_rng(0)
FEEDS = {
    name: (RNG.normal(size=(n, 24)) / 4).astype("float32")
    for name, n in (("x", 5), ("w", 24), ("v", 24))
}


def temporaries(function: Function) -> list[str]:
    """The types of the buffers between kernels."""
    buffers = function.program.buffers
    return sorted(str(buffer.type) for buffer in buffers if buffer.kind == "temporary")


def ops(text: str) -> list[list[str]]:
    """The ops of each kernel of a graph."""
    fused = fuse(gl.parse(text))
    gl.verify(fused)
    return [
        [inner.op.name for inner in node.regions[0].nodes if inner.op.kind != "leaf"]
        for node in fused.nodes
        if node.op.name == "fused"
    ]


@pytest.mark.parametrize("seed", range(30))
def test_a_cut_is_the_cheapest_of_all(seed: int) -> None:
    random = Random(seed)
    inner = range(random.randint(1, 6))
    vertices = ["source", *inner, "sink"]
    edges = [
        (a, b, random.choice([1, 2, 5, 9]))
        for a in vertices
        for b in vertices
        if a != b and random.random() < 0.5
    ]
    cut = Cut()
    for edge in edges:
        cut.edge(*edge)

    def price(side: Collection[object]) -> int:
        return sum(c for a, b, c in edges if a in side and b not in side)

    found = cut.source_side("source", "sink")
    choices = product((False, True), repeat=len(inner))
    sides = [
        {"source", *(v for v, with_it in zip(inner, c, strict=True) if with_it)} for c in choices
    ]
    assert "source" in found and "sink" not in found
    assert price(found) == min(map(price, sides)) < FOREVER


def test_of_a_gelu_its_result_is_stored_and_its_slope() -> None:
    """Both are made of x @ w, and of one exponential of it."""
    loss = gl.sum(gl.square(gl.gelu(X @ W, approximate=True) @ V))
    function = gl.function([X, W, V], gl.grad(loss, [W, V]))
    hidden = [t for t in temporaries(function) if t == "f32[B,24]"]
    assert len(hidden) <= 4  # gelu(z), its slope, both gradients
    kernels = [stage.regions[0].nodes for stage in function.stages["fuse"].nodes if stage.regions]
    of_both = [[node.op.name for node in nodes].count("exp") for nodes in kernels]
    assert [count for count in of_both if count] == [1]
    assert not [t for t in temporaries(function) if t.startswith("bool")]
    alone = gl.function([X, W, V], gl.grad(loss, [W, V]), fusion=False)
    for one, other in zip(function(**FEEDS), alone(**FEEDS), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_a_kernel_reads_anyway_costs_it_nothing_more() -> None:
    """The way back through a softmax reads its cotangent and its shares, and makes their product
    itself, which is no second result of the product that the cotangent comes from."""
    loss = gl.sum(gl.square(gl.softmax(X @ W) @ V))
    function = gl.function([X, W, V], gl.grad(loss, W))
    results = [len(node.results) for node in function.stages["fuse"].nodes if node.regions]
    assert results and set(results) == {1}


def test_what_is_made_of_inputs_alone_needs_no_kernel_of_its_own() -> None:
    """x + 1 is read on both sides of a product, and made there twice."""
    found = ops(
        """graph @f(%x: f32[B,8], %w: f32[8,8]) {
          %0 = square %x : f32[B,8]
          %1 = matmul %x, %w : f32[B,8]
          %2 = add %1, %0 : f32[B,8]
          %3 = matmul %2, %w : f32[B,8]
          %4 = multiply %3, %0 : f32[B,8]
          return %4
        }"""
    )
    assert found == [["matmul", "square", "add"], ["matmul", "square", "multiply"]]


def test_dear_values_are_stored() -> None:
    """Eighty operations cost more than four bytes out and in."""
    text = """graph @f(%x: f32[B,8], %w: f32[8,8]) {{
      %0 = {op} %x : f32[B,8]
      %1 = matmul {left}, %w : f32[B,8]
      %2 = add %1, %0 : f32[B,8]
      %3 = matmul %2, %w : f32[B,8]
      %4 = multiply %3, %0 : f32[B,8]
      return %4
    }}"""
    for left in ("%x", "%0"):
        for op, times in (("erfinv", 1), ("square", 2)):
            found = [name for kernel in ops(text.format(op=op, left=left)) for name in kernel]
            assert found.count(op) == times


def test_random_bits_and_checks_are_made_once() -> None:
    mask = gl.random.uniform(KEY, X.shape) < 0.5
    index = gl.placeholder(("B", 24), "int64", name="i")
    checked = gl.check(X, index < 5, "too large")
    for value, op in ((gl.where(mask, X, 0), "random_bits"), (checked, "checked")):
        result = gl.tanh(value + X @ W) @ V * value
        inputs: list[Tensor] = [X, W, V, index]
        function = gl.function(inputs, result + gl.astype(index, "float32"))
        text = str(function.stages["fuse"])
        assert text.count(f"= {op} ") == 1


def test_a_row_is_read_and_not_made_for_each_element() -> None:
    """The root of a layer norm stays with its rows, and products read it."""

    def norm(x: Tensor) -> Tensor:
        centred = x - gl.mean(x, axis=-1, keepdims=True)
        return centred / gl.sqrt(gl.mean(gl.square(centred), axis=-1, keepdims=True) + 1e-5)

    loss = gl.sum(gl.square(gl.tanh(norm(X) @ W) @ V))
    function = gl.function([X, W, V], gl.grad(loss, X))
    rows = [t for t in temporaries(function) if t == "f32[B,1]"]
    assert rows
    for node in function.stages["fuse"].nodes:
        if node.op.name == "fused" and any(
            n.op.kind == "contraction" for n in node.regions[0].nodes
        ):
            assert not [n for n in node.regions[0].nodes if n.op.name in ("sqrt", "rsqrt")]


def test_what_a_product_reads_is_not_made_again_beside_it() -> None:
    """The square is a side of the product whose epilogue reads it as well."""
    found = ops(
        """graph @f(%x: f32[8,8], %w: f32[8,8]) {
          %0 = square %x : f32[8,8]
          %1 = matmul %w, %0 : f32[8,8]
          %2 = add %1, %0 : f32[8,8]
          %3 = matmul %2, %w : f32[8,8]
          %4 = add %3, %0 : f32[8,8]
          return %4
        }"""
    )
    assert found == [["square"], ["matmul", "add"], ["matmul", "square", "add"]]
