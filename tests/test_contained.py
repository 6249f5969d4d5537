"""Concats of what others hold: slices of these, the same values, and no way in a circle."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradloom as gl
from gradloom.compiler.pipeline import run_pass
from gradloom.ir.graph import Graph
from gradloom.ir.tensor import Tensor


def built(*outputs: Tensor, inputs: Any) -> tuple[Graph, list[Any]]:
    """The graph after the pass; its values are those before."""
    graph = Graph("g", inputs, outputs)
    made = run_pass(graph, "contained")
    feeds: dict[Tensor, Any] = {
        tensor: np.reshape(np.arange(float(tensor.size)) + 10.0 * i, tensor.shape)
        for i, tensor in enumerate(inputs)
    }
    before, after = gl.evaluate(graph, feeds), gl.evaluate(made, feeds)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    return made, after


def concats(graph: Graph) -> int:
    return sum(node.op.name == "concat" for node in graph.walk())


def inputs(count: int) -> list[Tensor]:
    return [gl.placeholder((2, n + 1), "float64", f"x{n}") for n in range(count)]


def test_a_run_of_parts_is_a_slice() -> None:
    a, b, c, d = inputs(4)
    whole, middle, same = (
        gl.concat(parts, axis=1) for parts in ((a, b, c, d), (b, c), (a, b, c, d))
    )
    graph, _ = built(gl.sin(middle), whole, same * 2, inputs=[a, b, c, d])
    assert concats(graph) == 2  # equal ones are for cse


def test_the_longest_holds_all() -> None:
    a, b, c, d = inputs(4)
    several = [gl.concat(parts, axis=1) for parts in ((a, b), (a, b, c), (a, b, c, d), (c, d))]
    graph, _ = built(*several, inputs=[a, b, c, d])
    assert concats(graph) == 1


def test_what_is_not_held_stays() -> None:
    """Other orders, other parts, another axis."""
    a, b, c, _ = inputs(4)
    others = [gl.concat(parts, axis=1) for parts in ((a, b, c), (b, a), (a, c), (a, a))]
    rows = gl.concat([a, a, a], axis=0)
    graph, _ = built(*others, rows, inputs=[a, b, c])
    assert concats(graph) == 5


def test_no_concat_waits_for_itself() -> None:
    """The longer one holds what is made of the shorter one; a third goes by it all the same."""
    a, b, c, _ = inputs(4)
    short = gl.concat([a, b], axis=1)
    long = gl.concat([a, b, c, gl.sum(short, axis=1, keepdims=True)], axis=1)
    graph, _ = built(long * short[0, 0], gl.concat([b, c], axis=1), inputs=[a, b, c])
    assert concats(graph) == 2


def test_concats_that_wait_for_each_other_are_not_made_twice() -> None:
    """Each of the longer ones holds what is made of the shorter one that the other holds."""
    a, b, c, d = inputs(4)
    first, second = gl.concat([a, b], axis=1), gl.concat([c, d], axis=1)
    longer = [gl.concat([a, b, gl.exp(-second)], axis=1), gl.concat([c, d, gl.sin(first)], axis=1)]
    for outputs in ([first, second, *longer], [*longer, second, first]):
        graph, _ = built(*outputs, inputs=[a, b, c, d])
        names = sorted(node.op.name for node in graph.walk() if node.op.kind != "leaf")
        assert names == sorted(["concat"] * 3 + ["exp", "negative", "sin", "slice"])


def test_in_loops_as_well() -> None:
    x = gl.placeholder(("T", 3), "float64", "x")

    def body(carry: Tensor, entry: Tensor) -> Any:
        longer = gl.concat([entry, carry, gl.sin(entry)], axis=0)
        return carry + gl.sum(longer), gl.concat([entry, carry], axis=0)

    last, rows = gl.scan(body, gl.zeros((3,), "float64"), x)
    graph = run_pass(Graph("g", [x], [last, rows]), "contained")
    assert concats(graph) == 1
    for length in (0, 1, 4):
        feeds = {x: np.arange(3.0 * length).reshape(length, 3)}
        for a, b in zip(
            gl.evaluate(Graph("g", [x], [last, rows]), feeds),
            gl.evaluate(graph, feeds),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
