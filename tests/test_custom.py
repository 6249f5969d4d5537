# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""A user's own derivative.  Rules here are wrong on purpose, so that a value tells who made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.graph import Graph
from gradloom.ir.interpret import evaluate_graph
from gradloom.ir.tensor import Tensor
from gradloom.ir.text import constants_of

from .op_cases import close

NumpyArray = np.ndarray[Any, Any]
B3 = ("B", 3)


def run(inputs: Sequence[Tensor], outputs: Sequence[Tensor], *arrays: Any) -> list[NumpyArray]:
    """The outputs, compiled; the interpreter must say the same, and every stage read back."""
    graph = Graph("g", inputs, outputs)
    gl.verify(graph)
    compiled = gl.compile(graph)
    results = compiled(*arrays)
    results = results if isinstance(results, list) else [results]
    feeds = dict(zip(inputs, arrays, strict=True))
    for got, wanted in zip(results, evaluate_graph(graph, feeds)["outputs"], strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, 1e-5 if got.dtype == "f4" else 1e-12, 1e-12)
    for stage in (graph, *compiled.stages.values()):
        assert gl.parse(str(stage), constants_of(stage)) == stage
    return results


def array(*shape: int, seed: int = 0) -> NumpyArray:
    return np.random.default_rng(seed).normal(size=shape)


def ops_of(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.walk()]


def stage_before(compiled: gl.Function, name: str) -> Graph:
    names = list(compiled.stages)
    return compiled.stages[names[names.index(name) - 1]]


# sin, but f' is said to be 3 x; so f'' is 3, and f''' is 0.
def slope(direction: Tensor, result: Tensor, x: Tensor) -> Tensor:
    return direction * 3.0 * x


def own_sine(**rules: Any) -> Callable[[Tensor], Tensor]:
    return gl.custom_derivative(gl.sin, **rules)


RULES = {"vjp": {"vjp": slope}, "jvp": {"jvp": slope}, "both": {"vjp": slope, "jvp": slope}}
each_rule = pytest.mark.parametrize("rules", RULES.values(), ids=RULES)


@each_rule
def test_both_modes_and_all_orders_follow_the_rule(rules: Any):
    x, v = gl.placeholder(B3, "float64", "x"), gl.placeholder(B3, "float64", "v")
    loss = gl.sum(gl.square(own_sine(**rules)(x)))
    first = gl.grad(loss, x)
    pushed = gl.jvp(loss, x, v)
    second = gl.grad(gl.sum(first * v), x)
    outputs = [first, pushed, second, gl.jvp(first, x, v), gl.grad(pushed, x), gl.jvp(pushed, x, v)]
    third = gl.grad(gl.sum(gl.grad(gl.sum(gl.grad(gl.sum(own_sine(**rules)(x)), x)), x)), x)
    for batch in (0, 1, 4):
        a, d = array(batch, 3), array(batch, 3, seed=1)
        once = 2 * np.sin(a) * 3 * a
        twice = 2 * (3 * a) ** 2 + 2 * np.sin(a) * 3
        wanted = [once, np.sum(once * d), *[twice * d] * 3, np.sum(twice * d * d), 0 * a]
        for got, value in zip(run([x, v], [*outputs, third], a, d), wanted, strict=True):
            np.testing.assert_allclose(got, value, 1e-10, 1e-12)


@each_rule
def test_jacobians_and_hessians_follow_the_rule(rules: Any):
    x = gl.placeholder((3,), "float64", "x")
    own = own_sine(**rules)

    def loss(x: Tensor) -> Tensor:
        return gl.sum(gl.square(own(x)))

    outputs = [gl.hessian(loss(x), x), gl.hvp(loss(x), x, x)]
    outputs += [gl.jacobian(own(x), x, mode) for mode in ("reverse", "forward")]
    rows = gl.placeholder(B3, "float64", "rows")
    outputs.append(gl.vmap(lambda row: gl.hessian(loss(row), row))(rows))
    a, b = array(3), array(4, 3, seed=1)
    curve = 18 * a * a + 6 * np.sin(a)
    wanted = [np.diag(curve), curve * a, np.diag(3 * a), np.diag(3 * a)]
    wanted.append(np.array([np.diag(18 * row * row + 6 * np.sin(row)) for row in b]))
    for got, value in zip(run([x, rows], outputs, a, b), wanted, strict=True):
        np.testing.assert_allclose(got, value, 1e-10, 1e-12)


@each_rule
def test_the_function_of_a_custom_node_becomes_the_kernels_of_the_plain_one(rules: Any):
    x = gl.placeholder(B3, "float64", "x")
    own = own_sine(**rules)

    def fused(f: Callable[[Tensor], Tensor]) -> gl.Function:
        return gl.function([x], [gl.exp(f(x * 2.0)), gl.sum(f(x), 1)])

    def looped(f: Callable[[Tensor], Tensor]) -> gl.Function:
        start = gl.zeros(3, "float64")
        return gl.function([x], gl.scan(lambda c, row: (f(c) + row, None), start, x)[0])

    for make in (fused, looped):
        with_rule, plain = make(own), make(gl.sin)
        assert [k.key for k in with_rule.kernels] == [k.key for k in plain.kernels]


def test_the_node_stands_until_no_derivative_is_asked_for():
    x = gl.placeholder(B3, "float64", "x")
    own = gl.custom_derivative(gl.exp, vjp=lambda u, r, x: 3.0 * u * r)
    slopes = gl.grad(gl.sum(own(x)), x)
    compiled = gl.function([x], gl.grad(gl.sum(gl.square(slopes)), x))
    last = [name for name in compiled.stages if name.startswith("release")][-1]
    assert last == "release-3"  # one before each of two rounds, which expand one request each
    for name, stage in compiled.stages.items():
        if name == last:
            break
        assert "custom" in ops_of(stage), name
    assert "custom" not in ops_of(compiled.stages[last])
    assert "pin" not in ops_of(compiled.stages[last])
    a = array(4, 3)
    close(compiled(a), 54 * np.exp(2 * a))


def test_what_is_released_meets_the_rules():
    """log of a softmax that stands in a custom function is a log_softmax, after derivatives."""
    x = gl.placeholder((3,), name="x")

    def naive(x: Tensor) -> Tensor:
        return gl.exp(x) / gl.sum(gl.exp(x))

    softmax = gl.custom_derivative(naive, jvp=lambda t, y, x: y * (t - gl.sum(y * t)))
    loss = -gl.log(softmax(x))[0]
    a = np.array([-1e4, 0.0, 1.0], "f4")
    forward = gl.function([x], loss)
    close(forward(a), 1e4 + np.log(1 + np.e), 1e-6)
    assert "log_softmax" in ops_of(stage_before(forward, "expand"))


# --- structures, integers, None -----------------------------------------------------------------


def test_structures_integers_and_results_that_nobody_reads():
    x, i = gl.placeholder(B3, "float64", "x"), gl.placeholder(B3, "int64", "i")
    seen: list[Any] = []

    def function(p: dict[str, Any], count: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        return p["a"] * p["b"][0], {"plus": p["a"] + count.astype("float64")}, count + 1

    def vjp(cotangent: Any, result: Any, p: Any, count: Tensor) -> Any:
        seen.append((cotangent, result))
        first, second, third = cotangent
        assert third is None
        return {"a": 5.0 * first + 7.0 * second["plus"], "b": [result[0] * first]}, None

    own = gl.custom_derivative(function, vjp=vjp)
    product, rest, more = own({"a": x, "b": [gl.exp(x)]}, i)
    assert isinstance(rest, dict) and more.dtype == gl.int64
    assert isinstance(seen[0][0][1], dict) and [t.type for t in seen[0][1][::2]] == [
        product.type,
        more.type,
    ]
    a, n = array(4, 3), np.arange(12).reshape(4, 3)
    by_product, by_rest = gl.grad(gl.sum(product), x), gl.grad(gl.sum(rest["plus"]), x)
    outputs = [product, rest["plus"], more, by_product, by_rest, gl.jvp(product, x, x)]
    wanted = [a * np.exp(a), a + n, n + 1, 5 + a * np.exp(2 * a), 7 + 0 * a]
    wanted.append(wanted[3] * a)
    for got, value in zip(run([x, i], outputs, a, n), wanted, strict=True):
        close(got, value, 1e-12)


def test_none_is_zero_and_a_number_is_everywhere():
    x, y = gl.placeholder(B3, "float64", "x"), gl.placeholder(("B",), "float64", "y")
    own = gl.custom_derivative(lambda x, y: x * y[:, None], vjp=lambda u, r, x, y: (None, 2))
    nothing = gl.custom_derivative(lambda x, y: (x, y), vjp=lambda u, r, x, y: None)
    slopes = gl.grad(gl.sum(own(x, y)), [x, y])
    none = gl.grad(gl.sum(nothing(x, y)[0]), [x, y])
    still = gl.custom_derivative(gl.exp, jvp=lambda t, r, x: None)
    found = run([x, y], [*slopes, *none, gl.jvp(still(x), x, x)], array(4, 3), array(4))
    for got, value in zip(found, (0, 2, 0, 0, 0), strict=True):
        np.testing.assert_array_equal(got, np.full_like(got, value))


def test_integers_alone_have_no_derivative_to_give():
    i = gl.placeholder(("B",), "int64", "i")
    own = gl.custom_derivative(lambda i: i + 1, vjp=lambda u, r, i: None)
    assert "custom" not in ops_of(Graph("g", [i], [own(i)]))
    np.testing.assert_array_equal(run([i], [own(i)], np.arange(3))[0], [1, 2, 3])


def test_the_other_mode_of_a_product():
    """One rule of a function of two, and both modes of its derivatives in closed form."""
    x, w = gl.placeholder(("B", 3), "float64", "x"), gl.placeholder((3, 2), "float64", "w")
    u = gl.placeholder(("B", 2), "float64", "u")
    dx, dw = gl.placeholder(("B", 3), "float64", "dx"), gl.placeholder((3, 2), "float64", "dw")
    pushed = gl.custom_derivative(gl.matmul, jvp=lambda t, r, x, w: t[0] @ w + x @ t[1])
    pulled = gl.custom_derivative(gl.matmul, vjp=lambda u, r, x, w: (u @ w.T, x.T @ u))
    arrays = [array(4, 3), array(3, 2, seed=1), array(4, 2, seed=2)]
    arrays += [array(4, 3, seed=3), array(3, 2, seed=4)]
    a, b, c, da, db = arrays
    for own in (pushed, pulled):
        y = own(x, w)
        outputs = [*gl.grad(y, [x, w], u), gl.jvp(y, [x, w], [dx, dw]), gl.jvp(y, w, dw)]
        found = run([x, w, u, dx, dw], outputs, *arrays)
        for got, value in zip(found, (c @ b.T, a.T @ c, da @ b + a @ db, a @ db), strict=True):
            close(got, value, 1e-12)


# --- where it stands ----------------------------------------------------------------------------


@each_rule
def test_asked_about_by_its_result_and_by_its_argument(rules: Any):
    x = gl.placeholder(B3, "float64", "x")
    before = gl.exp(x)
    after = own_sine(**rules)(before)
    loss = gl.sum(gl.square(after))
    a = array(4, 3)
    e, s = np.exp(a), np.sin(np.exp(a))
    found = run([x], [loss, *gl.grad(loss, [after, before, x])], a)
    wanted = [np.sum(s * s), 2 * s, 2 * s * 3 * e, 2 * s * 3 * e * e]
    for got, value in zip(found, wanted, strict=True):
        close(got, value, 1e-10)


@pytest.mark.campaign(4)
@each_rule
@pytest.mark.parametrize("length", [0, 1, 3])
def test_in_the_body_of_a_scan(rules: Any, length: int):
    xs, start = gl.placeholder((length, 2), "float64", "xs"), gl.placeholder((2,), "float64", "s")
    w = gl.placeholder((2,), "float64", "w")
    own = own_sine(**rules)
    last, _ = gl.scan(lambda c, row: (own(c * w) + row, None), start, xs)
    carry = start
    for step in range(length):
        carry = own(carry * w) + xs[step]
    arrays = [array(length, 2), array(2, seed=1), array(2, seed=2)]
    results: list[list[NumpyArray]] = []
    for end in (last, carry):
        loss = gl.sum(end * end)
        slopes = gl.grad(loss, [start, w] if length else [start])
        twice = gl.grad(gl.sum(slopes[0] * start), start)
        outputs = [loss, *slopes, twice, gl.jvp(slopes[0], start, start)]
        if end is last:
            results.append(run([xs, start, w], outputs, *arrays))
        else:
            feeds = dict(zip((xs, start, w), arrays, strict=True))
            results.append(gl.evaluate(Graph("unrolled", list(feeds), outputs), feeds))
    for got, wanted in zip(*results, strict=True):
        close(got, wanted, 1e-10)


@each_rule
def test_under_vmap(rules: Any):
    """Gradients of entries, the gradient of all, twice batched; what entries share is summed."""
    x, w = gl.placeholder(B3, "float64", "x"), gl.placeholder((3,), "float64", "w")
    own = own_sine(**rules)
    by_entry = gl.vmap(lambda row: gl.grad(gl.sum(own(row)), row))(x)
    of_all = gl.grad(gl.sum(gl.vmap(own)(x)), x)
    inner = gl.vmap(gl.vmap(lambda number: gl.grad(own(number), number)))(x)

    def weigh(x: Tensor, w: Tensor) -> Tensor:
        return gl.sum(x * w)

    def weigh_back(u: Tensor, r: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        return u * 5.0 * w, u * 7.0 * x

    def weigh_on(t: Any, r: Tensor, x: Tensor, w: Tensor) -> Tensor:
        return gl.sum(5.0 * w * t[0]) + gl.sum(7.0 * x * t[1])

    chosen = {"vjp": weigh_back, "jvp": weigh_on}
    weighed = gl.custom_derivative(weigh, **{kind: chosen[kind] for kind in rules})
    ys = gl.vmap(weighed, in_axes=(0, None))(x, w)
    outputs = [by_entry, of_all, inner, ys, *gl.grad(gl.sum(ys), [x, w])]
    outputs += [gl.jvp(ys, x, x), gl.jvp(ys, w, w)]
    for batch in (0, 1, 4):
        a, b = array(batch, 3), array(3, seed=1)
        wanted = [3 * a, 3 * a, 3 * a, a @ b, 5 * b + 0 * a, 7 * a.sum(0), 5 * a @ b, 7 * a @ b]
        for got, value in zip(run([x, w], outputs, a, b), wanted, strict=True):
            np.testing.assert_allclose(got, value, 1e-10, 1e-12)


def test_what_a_rule_reads_from_outside_is_batched_and_differentiated():
    x, k = gl.placeholder(B3, "float64", "x"), gl.placeholder(("B",), "float64", "k")

    def slope_of(row: Tensor, factor: Tensor) -> Tensor:
        own = gl.custom_derivative(gl.sin, vjp=lambda u, r, x: u * gl.exp(factor) * x)
        return gl.grad(gl.sum(own(row)), row)

    slopes = gl.vmap(slope_of)(x, k)
    a, b = array(4, 3), array(4, seed=1)
    found = run([x, k], [slopes, gl.grad(gl.sum(slopes), k)], a, b)
    close(found[0], np.exp(b)[:, None] * a)
    close(found[1], np.exp(b) * a.sum(1))


def test_only_what_a_rule_reads_is_batched():
    x, k = gl.placeholder((3,), "float64", "x"), gl.placeholder(("B",), "float64", "k")

    def slope_of(factor: Tensor) -> Tensor:
        own = gl.custom_derivative(gl.sin, vjp=lambda u, r, x: u * factor * x)
        return gl.grad(gl.sum(own(x)), x)

    slopes = gl.vmap(slope_of)(k)
    for batch in (0, 1, 4):
        a, b = array(3), array(batch, seed=1)
        close(run([x, k], [slopes], a, b)[0], b[:, None] * a)


def test_one_custom_function_within_another():
    """The outer rule hides the inner one; in a rule, an inner one gives the next derivative."""
    x = gl.placeholder(B3, "float64", "x")
    inner = gl.custom_derivative(gl.cos, vjp=lambda u, r, x: u * 5.0)

    @gl.custom_derivative(vjp=lambda u, r, x: u * inner(x))
    def outer(x: Tensor) -> Tensor:
        return 2.0 * inner(x)

    first = gl.grad(gl.sum(outer(x)), x)
    a = array(4, 3)
    found = run([x], [outer(x), first, gl.grad(gl.sum(first), x)], a)
    for got, value in zip(found, (2 * np.cos(a), np.cos(a), 5.0 + 0 * a), strict=True):
        close(got, value)


def test_sizes_that_a_call_finds_equal():
    """A rule may give a tensor over B where C is needed: the call checks that they are equal."""
    x, y = gl.placeholder(("B",), "float64", "x"), gl.placeholder(("C",), "float64", "y")
    own = gl.custom_derivative(lambda x, y: x + y, vjp=lambda u, r, x, y: (u * 2.0, u * 3.0))
    function = gl.function([x, y], gl.grad(gl.sum(own(x, y)), [x, y]))
    for size in (0, 1, 5):
        two, three = function(array(size), array(size))
        np.testing.assert_array_equal(two, np.full(size, 2.0))
        np.testing.assert_array_equal(three, np.full(size, 3.0))
    with pytest.raises(gl.GradloomError, match="B == C does not hold"):
        function(array(2), array(3))


def test_in_a_training_step():
    """SGD by the rule of a rounding, whose derivative passes straight through."""
    w = gl.parameter(np.array([0.2, 0.7, 1.4]), "w")
    x = gl.placeholder((3,), "float64", "x")
    rounded = gl.custom_derivative(gl.round, vjp=lambda u, r, x: u)
    loss = gl.sum(gl.square(rounded(w) - x))
    step = gl.function([x], loss, updates={w: w - 0.1 * gl.grad(loss, w)})
    value, target = w.value.copy(), np.array([3.0, -1.0, 0.5])
    for _ in range(3):
        close(step(target), np.sum((np.round(value) - target) ** 2))
        value -= 0.2 * (np.round(value) - target)
        close(w.value, value, 1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_that_are_not_wide(dtype: str):
    x = gl.placeholder((3,), dtype, "x")
    y = own_sine(vjp=slope)(x)
    slopes = gl.function([x], gl.grad(gl.sum(y.astype("float32")), x))
    a = np.array([0.5, -1.0, 2.0]).astype(gl.bfloat16.numpy if dtype == "bfloat16" else dtype)
    assert slopes(a).dtype == a.dtype
    np.testing.assert_array_equal(slopes(a).astype("f8"), [1.5, -3.0, 6.0])


def test_constants_and_stopped_tensors_may_be_read():
    x, w = gl.placeholder(B3, "float64", "x"), gl.placeholder((3,), "float64", "w")
    table = np.arange(3.0)
    stopped, index = gl.stop_gradient(gl.exp(w)), gl.argmax(w)

    @gl.custom_derivative(jvp=lambda t, r, x: t * stopped)
    def own(x: Tensor) -> Tensor:
        return x * table + stopped + gl.arange(3)[index].astype("float64")

    y = own(x)
    a, b = array(4, 3), array(3, seed=1)
    found = run([x, w], [y, gl.grad(gl.sum(y), x)], a, b)
    close(found[0], a * table + np.exp(b) + np.argmax(b))
    close(found[1], np.exp(b) + 0 * a)


def test_views_of_a_graph_with_a_custom_node():
    x = gl.placeholder(B3, name="x")
    graph = Graph("g", [x], [own_sine(vjp=slope, jvp=slope)(x)])
    assert "custom" in gl.to_dot(graph)
    assert gl.to_networkx(graph).number_of_edges() == 1
    broken = str(graph).replace("%result: f32[B,3]", "%result: f32[B,4]", 1)
    with pytest.raises(gl.GradloomError, match="the vjp takes"):
        gl.parse(broken)
