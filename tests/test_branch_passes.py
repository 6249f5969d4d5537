# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Passes go through branches, and what is told about them: reports, explanations, costs, text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.graph import Graph
from gradloom.ir.linearity import why_not_linear
from gradloom.ir.ops.control import placeholder_like
from gradloom.ir.ops.scan import make_scan
from gradloom.ir.program import Branch, walk
from gradloom.ir.tensor import Tensor

NumpyArray = np.ndarray[Any, Any]


def draw(*shape: int, seed: int = 0) -> NumpyArray:
    return np.random.default_rng(seed).normal(size=shape)


def ops_of(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.walk()]


# --- passes -------------------------------------------------------------------------------------


def test_a_known_index_leaves_its_branch_alone() -> None:
    x = gl.placeholder((3,), "float64", "x")
    y = gl.switch(gl.constant(7) - 6, [lambda: gl.sin(x), lambda: gl.cos(x), lambda: x])
    assert "switch" in ops_of(Graph("g", [x], [y]))
    run = gl.function([x], [y, gl.grad(gl.sum(y), x)])
    assert {"switch", "sin"}.isdisjoint(ops_of(run.stages["fold"]))
    array = draw(3)
    np.testing.assert_allclose(run(array)[0], np.cos(array))
    np.testing.assert_allclose(run(array)[1], -np.sin(array))
    only = gl.switch(gl.placeholder((), "int64", "i"), [lambda: gl.sin(x)])
    assert "switch" not in ops_of(
        gl.run_pass(Graph("g", Graph("g", (), [only]).free, [only]), "fold")
    )


def test_what_nobody_reads_goes() -> None:
    x, z = (gl.placeholder((3,), "float64", name) for name in "xz")
    p = gl.placeholder((), "bool", "p")
    first, _ = gl.cond(
        p,
        lambda: (gl.sin(x), gl.exp(z)),
        lambda: (gl.cond(p, lambda: (x, z), lambda: (z, x))[0], z),
    )
    before = Graph("g", [p, x, z], [first])
    after = gl.run_pass(before, "dead")
    assert "exp" in ops_of(before) and "exp" not in ops_of(after)
    (node,) = (node for node in after.nodes if node.op.name == "switch")
    assert len(node.results) == 1
    (inner,) = (other for other in after.walk() if other.op.name == "switch" and other is not node)
    assert len(inner.results) == 1
    x_only = gl.cond(p, lambda: (gl.sin(x), z), lambda: (x * x, z))[0]
    (node,) = (
        n
        for n in gl.run_pass(Graph("g", [p, x, z], [x_only]), "dead").nodes
        if n.op.name == "switch"
    )
    assert len(node.group(1)) == 1 and node.operands[1] is x


def test_rules_reach_into_branches() -> None:
    x = gl.placeholder((3,), name="x")
    p = gl.placeholder((), "bool", "p")
    y = gl.cond(p, lambda: gl.log(gl.softmax(x)), lambda: gl.log(gl.sum(gl.exp(x))) + x * 0)
    run = gl.function([p, x], [y, gl.grad(gl.sum(y), x)])
    found, slope = run(True, np.array([0, 200, -200], "float32"))
    np.testing.assert_allclose(found, [-200, 0, -400])
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(run(False, np.array([0, 200, -200], "float32"))[0], 200)
    told = str(run.report)
    assert "log-softmax" in told and "logsumexp" in told
    assert "test_branch_passes.py" in told


def test_a_branch_that_is_the_same_in_every_step_leaves_the_loop() -> None:
    xs = gl.placeholder((5, 3), "float64", "xs")
    w, p = gl.placeholder((3,), "float64", "w"), gl.placeholder((), "bool", "p")

    carry, x, q, v = (placeholder_like(t.type, "own") for t in (w, w, p, w))
    fixed = gl.cond(q, lambda: gl.exp(v) * 2.0, lambda: v)
    kept = gl.cond(q, lambda: gl.check(v, gl.all(v > 0), "positive"), lambda: v)
    body = Graph("body", [carry, x, q, v], [carry + fixed * x * kept])
    scan = make_scan(body, [gl.zeros(3, "float64")], [xs], [p, w], 5, False)
    before = Graph("g", [p, xs, w], scan.finals)
    after = gl.run_pass(before, "hoist")
    assert "switch" not in [node.op.name for node in before.nodes]
    assert [node.op.name for node in after.nodes].count("switch") == 1  # the other may fail
    assert ops_of(after).count("switch") == 2
    rows, given = draw(5, 3), np.abs(draw(3, seed=1))
    expected = rows.sum(0) * np.exp(given) * 2 * given
    np.testing.assert_allclose(gl.compile(after)(True, rows, given), expected)


def test_equal_switches_are_one() -> None:
    x = gl.placeholder((3,), "float64", "x")
    p = gl.placeholder((), "bool", "p")
    one, two = (gl.cond(p, lambda: gl.sin(x), lambda: x) for _ in range(2))
    other = gl.cond(p, lambda: gl.cos(x), lambda: x)
    run = gl.function([p, x], one + two * other)
    last = run.stages["fuse"]
    assert ops_of(last).count("switch") == 2


def test_switches_without_fusion_and_on_named_sizes() -> None:
    x = gl.placeholder(("B", "N"), name="x")
    i = gl.placeholder((), "int64", "i")
    y = gl.switch(
        i,
        [lambda: gl.softmax(x), lambda: x.T.reshape(x.shape), lambda: gl.cumulative_sum(x, axis=1)],
    )
    graph = Graph("g", [i, x], [y, gl.grad(gl.sum(y * y), x)])
    plain, fused = (gl.compile(graph, fusion=fusion) for fusion in (False, True))
    for shape in ((0, 3), (1, 1), (4, 5)):
        array = draw(*shape).astype("float32")
        for index in range(3):
            for a, b in zip(plain(index, array), fused(index, array), strict=True):
                np.testing.assert_array_equal(a, b)
            np.testing.assert_allclose(fused(index, array)[0], y.eval({i: index, x: array}), 1e-5)


# --- what is told about them --------------------------------------------------------------------


def test_explanations() -> None:
    x = gl.placeholder((3,), "float64", "x")
    p = gl.placeholder((), "bool", "p")
    y = gl.cond(p, lambda: gl.sin(x) @ gl.ones((3, 3), "float64"), lambda: x * 2.0)
    loss = gl.sum(y)
    found = gl.explain_grad(loss, x, {p: True, x: draw(3)})
    (row,) = (row for row in found.rows if row.op == "switch")
    assert found.exists and row.factor is not None
    assert "the derivative of the branch taken, of 2" in row.notes
    norms = gl.gradient_norms(loss, {"x": x, "y": y}, {p: False, x: draw(3)})
    np.testing.assert_allclose(norms.values, [np.sqrt(12), np.sqrt(3)])
    assert "switch" in gl.to_dot(Graph("g", [p, x], [y]))


def test_the_cost_of_a_switch_is_that_of_its_largest_branch() -> None:
    from gradloom.compiler.cost import cost

    x = gl.placeholder((4, 3), "float64", "x")
    p = gl.placeholder((), "bool", "p")
    small, large = (lambda: x + 1.0), (lambda: x @ gl.ones((3, 3), "float64"))
    y = gl.cond(p, large, small)
    assert cost(y.node) == cost(gl.cond(p, large, large).node)
    assert cost(y.node).flops != cost(gl.cond(p, small, small).node).flops


@pytest.mark.parametrize(
    "other, told",
    [
        (lambda x, _: x * 0.0, ""),
        (lambda _, w: gl.zeros(3), ""),
        (lambda _, w: w, "switch"),
        (lambda x, _: gl.sin(x), "sin"),
        (lambda x, w: gl.cond(w[0] > 0, lambda: x * w, lambda: -x), ""),
        (lambda x, w: gl.cond(x[0] > 0, lambda: x * w, lambda: -x), "greater"),
    ],
)
def test_linear_is_what_all_branches_give_so(other: Any, told: str) -> None:
    x, w = gl.placeholder((3,), name="x"), gl.placeholder((3,), name="w")
    p = gl.placeholder((), "bool", "p")
    y = gl.cond(p, lambda: 2.0 * x, lambda: other(x, w))
    found = why_not_linear(Graph("g", [x, w, p], [y]), 1)
    assert found.startswith(told) if told else not found


def test_a_rule_of_a_custom_derivative_may_branch() -> None:
    """It is linear where all branches are, and so serves forward mode as well."""
    x = gl.placeholder((3,), "float64", "x")

    def rule(cotangent: Tensor, _: Tensor, x: Tensor) -> Tensor:
        return gl.cond(gl.sum(x) > 0, lambda: 3.0 * cotangent, lambda: gl.zeros(3, "float64"))

    f = gl.custom_derivative(lambda x: x * x, vjp=rule)
    y = f(x)
    slope = gl.function([x], [gl.grad(gl.sum(y), x), gl.jvp(y, x, gl.ones(3, "float64"))])
    for found in slope(np.ones(3)):
        np.testing.assert_array_equal(found, 3)
    for found in slope(-np.ones(3)):
        np.testing.assert_array_equal(found, 0)


def test_programs_as_text() -> None:
    x = gl.placeholder((3,), name="x")
    p = gl.placeholder((), "bool", "p")
    run = gl.function([p, x], gl.cond(p, lambda: gl.sin(x), lambda: x))
    assert gl.parse_program(str(run.program)) == run.program
    for stage in run.stages.values():
        assert gl.parse(str(stage)) == stage
    (branch,) = (step for step in walk(run.program.steps) if isinstance(step, Branch))
    assert len(branch.bodies) == 2
