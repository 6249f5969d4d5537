# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Derivatives in all modes: gradients, products, Jacobians, Hessians, against closed forms."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.graph import Graph
from gradloom.ir.tensor import Tensor

from .op_cases import close

NumpyArray = np.ndarray[Any, Any]


def requests(*tensors: Tensor) -> list[tuple[str, int]]:
    """The derivative requests of a graph: the op and its number of batch axes."""
    graph = Graph("asked", Graph("free", (), tensors).free, tensors)
    return [(n.op.name, n.attrs.get("batch", 0)) for n in graph.walk() if n.op.kind == "request"]


def both(inputs: list[Tensor], outputs: list[Tensor], *arrays: Any) -> list[NumpyArray]:
    """The outputs of compiled code, which must be those of the interpreter."""
    graph = Graph("both", inputs, outputs)
    assert gl.parse(str(graph)) == graph
    found = gl.function(inputs, outputs)(*arrays)
    names = [t.node.attrs["name"] for t in inputs]
    wanted = gl.evaluate(graph, dict(zip(names, arrays, strict=True)))
    wanted = wanted if len(outputs) > 1 else [wanted]
    for a, b in zip(found, wanted, strict=True):
        close(a, b, 1e-10)
    return found


@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (3, 2), (0, 2), (2, 0), (1, 1), (4, 1)])
def test_jacobian_of_a_layer(rows: int, columns: int):
    """y = tanh(A x): J = (1 − y²) A, in both modes; the mode with fewer passes is chosen."""
    a = gl.placeholder((rows, columns), "float64", "a")
    x = gl.placeholder((columns,), "float64", "x")
    y = gl.tanh(a @ x)
    chosen, back, forth = (gl.jacobian(y, x, mode) for mode in (None, "reverse", "forward"))
    mode = "pushforward" if columns < rows else "gradient"
    assert requests(chosen) == [(mode, 1)]
    assert requests(back) == [("gradient", 1)]
    assert requests(forth) == [("pushforward", 1)]
    rng = np.random.default_rng(0)
    av, xv = rng.normal(size=(rows, columns)), rng.normal(size=columns)
    expected = (1 - np.tanh(av @ xv) ** 2)[:, None] * av
    for found in both([a, x], [chosen, back, forth], av, xv):
        assert found.shape == (rows, columns)
        close(found, expected, 1e-12)


def test_jacobian_shapes_and_structures():
    """(*y.shape, *x.shape), y's structure outside and x's inside; scalars need no batch."""
    x = gl.placeholder((2, 3), "float64", "x")
    s = gl.placeholder((), "float64", "s")
    y = {"rows": gl.sum(x * x, axis=1) * s, "total": s * gl.sum(x)}
    for mode in (None, "reverse", "forward"):
        found = gl.jacobian(y, (x, [s]), mode)
        (rows_x, (rows_s,)), (total_x, (total_s,)) = found["rows"], found["total"]
        outputs = [rows_x, rows_s, total_x, total_s]
        assert [t.shape for t in outputs] == [(2, 2, 3), (2,), (2, 3), ()]
        xv, sv = np.random.default_rng(0).normal(size=(2, 3)), 1.5
        arrays = both([x, s], outputs, xv, np.array(sv))
        close(arrays[0], 2 * sv * np.eye(2)[:, :, None] * xv[None])
        close(arrays[1], np.sum(xv * xv, 1))
        close(arrays[2], np.full((2, 3), sv))
        close(arrays[3], np.sum(xv))
    assert requests(gl.jacobian(s * s, s)) == [("gradient", 0)]
    assert requests(gl.jacobian(gl.sin(s) * x, s)) == [("pushforward", 0)]


def test_a_jacobian_by_itself_is_the_identity():
    """Of every element by every element, for one axis, two, sizes of one and none."""
    for shape in [(3,), (2, 3), (1, 3, 1), (2, 1, 2), (1,), (0,), (2, 0), ()]:
        x = gl.placeholder(shape, "float64", "x")
        value = np.ones(shape)
        expected = np.eye(value.size).reshape((*shape, *shape))
        for mode in ("reverse", "forward"):
            (found,) = both([x], [gl.jacobian(x, x, mode)], value)
            np.testing.assert_array_equal(found, expected)


def test_the_mode_of_a_jacobian_over_named_sizes():
    """A known size wins over a named one; of two named ones the one that is never larger."""
    n, m = gl.placeholder(("n",), name="n"), gl.placeholder(("m",), name="m")
    two = gl.placeholder((2,), name="two")
    outer = n[:, None] * two
    for y, x, mode in [
        (gl.sum(n) * two, n, "gradient"),
        (gl.sum(two) * n, two, "pushforward"),
        (outer, n, "pushforward"),
        (gl.sum(outer, axis=1), outer, "gradient"),
        (gl.sum(n) * m, n, "gradient"),
        (gl.sin(n), n, "gradient"),
    ]:
        assert requests(gl.jacobian(y, x)) == [(mode, 1)]
    function = gl.function([n, two], gl.jacobian(outer, n))
    for size in (0, 1, 2, 5):
        value = np.arange(size, dtype=np.float32)
        found = function(value, np.array([2, 3], np.float32))
        close(found, np.eye(size)[:, None, :] * np.array([2, 3])[:, None])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_jacobian_and_hessian_of_other_dtypes(dtype: str):
    x = gl.placeholder((3,), dtype, "x")
    outputs = [gl.jacobian(x * x, x, "reverse"), gl.jacobian(x * x, x, "forward")]
    outputs.append(gl.hessian(gl.sum(x * x * x), x))
    assert all(t.dtype == x.dtype for t in outputs)
    value = np.array([1.0, 2.0, -0.5], x.dtype.numpy)
    back, forth, second = gl.function([x], outputs)(value)
    expected = np.diag(2 * value.astype(np.float64))
    for found, wanted in [(back, expected), (forth, expected), (second, 3 * expected)]:
        np.testing.assert_array_equal(found.astype(np.float64), wanted)


# --- second order -------------------------------------------------------------------------------


def logistic(rows: int, columns: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """The negative log-likelihood of logistic regression, with labels 0 and 1."""
    x = gl.placeholder((rows, columns), "float64", "x")
    t = gl.placeholder((rows,), "float64", "t")
    w = gl.placeholder((columns,), "float64", "w")
    z = x @ w
    return [x, t, w], w, gl.sum(gl.log(1 + gl.exp(z)) - t * z)


def test_hessian_of_logistic_regression():
    """XᵀDX with D = σ(z) (1 − σ(z)); symmetric; its products without it."""
    inputs, w, loss = logistic(40, 6)
    v = gl.placeholder((6,), "float64", "v")
    h = gl.hessian(loss, w)
    assert requests(h) == [("gradient", 0), ("pushforward", 1)]
    rng = np.random.default_rng(1)
    xv, tv = rng.normal(size=(40, 6)), rng.integers(0, 2, 40).astype(float)
    wv, vv = rng.normal(size=6), rng.normal(size=6)
    found, product = both([*inputs, v], [h, gl.hvp(loss, w, v)], xv, tv, wv, vv)
    p = 1 / (1 + np.exp(-xv @ wv))
    expected = xv.T @ (xv * (p * (1 - p))[:, None])
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found, found.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(product, expected @ vv, rtol=1e-10, atol=1e-10)


def test_a_hessian_vector_product_makes_no_hessian():
    """No array of n × n anywhere, from the graph as built to the kernels."""
    n = 512
    inputs, w, loss = logistic(8, n)
    v = gl.placeholder((n,), "float64", "v")
    function = gl.function([*inputs, v], gl.hvp(loss, w, v))
    for stage in (function.graph, *function.stages.values()):
        for node in stage.walk():
            for result in node.results:
                assert isinstance(result.size, int)
                assert result.size <= 8 * n, node
    rng = np.random.default_rng(1)
    xv, wv, vv = rng.normal(size=(8, n)), rng.normal(size=n) / n, rng.normal(size=n)
    p = 1 / (1 + np.exp(-xv @ wv))
    found = function(xv, np.ones(8), wv, vv)
    close(found, xv.T @ (p * (1 - p) * (xv @ vv)), 1e-10)


def test_hessian_blocks():
    """Of structures, block by block; those that vanish are zeros; symmetric as a whole."""
    w = gl.placeholder((2, 3), "float64", "w")
    b = gl.placeholder((2,), "float64", "b")
    c = gl.placeholder((), "float64", "c")
    x = np.array([0.3, -0.2, 0.9])
    loss = gl.sum(gl.exp(w @ gl.constant(x) + b)) + 3.0 * c
    found = gl.hessian(loss, {"w": w, "rest": (b, c)})
    assert list(found) == ["w", "rest"]
    order = [("w", None), ("rest", 0), ("rest", 1)]

    def block(i: int, j: int) -> Tensor:
        (name, place), (other, inner) = order[i], order[j]
        row = found[name] if place is None else found[name][place]
        return row[other] if inner is None else row[other][inner]

    blocks = [block(i, j) for i in range(3) for j in range(3)]
    shapes = [(2, 3), (2,), ()]
    assert [t.shape for t in blocks] == [(*a, *b) for a in shapes for b in shapes]
    rng = np.random.default_rng(0)
    arrays = both([w, b, c], blocks, rng.normal(size=(2, 3)), rng.normal(size=2), np.array(1.0))
    rng = np.random.default_rng(0)
    e = np.exp(rng.normal(size=(2, 3)) @ x + rng.normal(size=2))
    extended = np.concatenate([np.kron(np.eye(2), x[None, :]).T, np.eye(2), np.zeros((1, 2))])
    expected = extended @ np.diag(e) @ extended.T
    rows = [
        np.concatenate([arrays[3 * i + j].reshape(n, -1) for j in range(3)], axis=1)
        for i, n in enumerate((6, 2, 1))
    ]
    close(np.concatenate(rows), expected, 1e-12)


def test_third_and_fourth_derivatives():
    """f = exp(a · x): every derivative is a product of as many a, times f."""
    x = gl.placeholder((2,), "float64", "x")
    a = np.array([0.5, -1.5])
    f = gl.exp(gl.sum(gl.constant(a) * x))
    third = gl.jacobian(gl.hessian(f, x), x)
    fourth = gl.jacobian(gl.jacobian(gl.hessian(f, x), x, "forward"), x, "reverse")
    again = gl.hessian(gl.sum(gl.hessian(f, x)), x)
    value = np.array([0.2, 0.7])
    found = both([x], [third, fourth, again], value)
    at = np.exp(a @ value)
    close(found[0], np.einsum("i,j,k", a, a, a) * at, 1e-12)
    close(found[1], np.einsum("i,j,k,l", a, a, a, a) * at, 1e-12)
    close(found[2], np.einsum("i,j,k,l->kl", a, a, a, a) * at, 1e-12)


def test_derivatives_that_vanish():
    """The Hessian of something linear is zeros, and the third derivative of a square."""
    x = gl.placeholder((3,), "float64", "x")
    linear = gl.hessian(gl.sum(2.0 * x), x)
    third = gl.jacobian(gl.hessian(gl.sum(x * x), x), x)
    products = gl.hvp(gl.sum(2.0 * x), x, x)
    for array in both([x], [linear, third, products], np.ones(3)):
        assert not array.any()


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_penalty_on_a_jacobian(mode: Any):
    """Contractive autoencoders train on ‖∂h/∂x‖²: its gradient by the weights."""
    w = gl.placeholder((4, 3), "float64", "w")
    x = gl.placeholder((3,), "float64", "x")
    penalty = gl.sum(gl.square(gl.jacobian(gl.tanh(w @ x), x, mode)))
    slope = gl.grad(penalty, w)
    rng = np.random.default_rng(0)
    wv, xv = rng.normal(size=(4, 3)), rng.normal(size=3)

    def value(w: NumpyArray) -> Any:
        return np.sum(((1 - np.tanh(w @ xv) ** 2)[:, None] * w) ** 2)

    found, at = both([w, x], [slope, penalty], wv, xv)
    close(at, value(wv))
    expected = np.zeros((4, 3))
    for place in np.ndindex(4, 3):
        step = np.zeros((4, 3))
        step[place] = 1e-6
        expected[place] = (value(wv + step) - value(wv - step)) / 2e-6
    close(found, expected, 1e-7)


# --- structures ---------------------------------------------------------------------------------


class Layer(NamedTuple):
    weight: Any
    bias: Any


def test_gradients_come_back_in_the_structure_that_was_given():
    w, b = gl.placeholder((3,), "float64", "w"), gl.placeholder((), "float64", "b")
    y = gl.sum(w * w) + 5.0 * b
    by_layer = gl.grad(y, Layer(w, b))
    assert isinstance(by_layer, Layer)
    nested: Any = gl.grad(y, {"a": [w, (b,)], "again": w})
    assert isinstance(nested["a"], list) and isinstance(nested["a"][1], tuple)
    outputs = [by_layer.weight, by_layer.bias, nested["a"][0], nested["a"][1][0], nested["again"]]
    value = np.array([1.0, 2.0, 3.0])
    found = both([w, b], outputs, value, np.array(1.0))
    for array, wanted in zip(found, [2 * value, 5, 2 * value, 5, 2 * value], strict=True):
        close(array, wanted)
    assert gl.grad(y, []) == []
    assert gl.grad(y, {}) == {}
    assert len(gl.grad(y, {"w": w, "b": b}.values())) == 2


def test_products_with_jacobians_of_structures():
    """u and v are structured like y and x; Σ u · (J v) = Σ (uᵀ J) · v."""
    w, b = gl.placeholder((3,), "float64", "w"), gl.placeholder((), "float64", "b")
    y = {"p": gl.sin(w) * b, "q": (gl.sum(w) * b,)}
    v = Layer(np.array([1.0, -2.0, 0.5]), 3.0)
    u: dict[str, Any] = {"p": np.array([0.1, 0.2, 0.3]), "q": [2]}
    pushed: Any = gl.jvp(y, Layer(w, b), v)
    pulled = gl.vjp(y, Layer(w, b), u)
    assert isinstance(pulled, Layer)
    assert isinstance(pushed["q"], tuple)
    wv, bv = np.array([0.3, 0.4, 0.5]), 0.7
    outputs = [pushed["p"], pushed["q"][0], *pulled]
    p, q, by_w, by_b = both([w, b], outputs, wv, np.array(bv))
    close(p, np.cos(wv) * v.weight * bv + np.sin(wv) * v.bias)
    close(q, np.sum(v.weight) * bv + np.sum(wv) * v.bias)
    close(by_w, u["p"] * np.cos(wv) * bv + 2 * bv)
    close(by_b, np.sum(u["p"] * np.sin(wv)) + 2 * np.sum(wv))
    close(np.sum(u["p"] * p) + 2 * q, np.sum(by_w * v.weight) + by_b * v.bias)
    product = gl.hvp(gl.sum(w**3) * b, Layer(w, b), v)
    found = both([w, b], list(product), wv, np.array(bv))
    close(found[0], 6 * wv * v.weight * bv + 3 * wv**2 * v.bias)
    close(found[1], np.sum(3 * wv**2 * v.weight))


# --- what a derivative may be asked of ----------------------------------------------------------


def test_derivatives_by_nodes_inside():
    """By an intermediate, by what a rule would rewrite, by an element, twice, and by y itself."""
    x = gl.parameter(np.array([0.1, 0.7, -0.4]), name="x")
    e = gl.exp(x)
    p = e / gl.sum(e)
    loss = -gl.log(p[1])
    first = x[1]
    square = first * first * x[0]
    chosen = [
        gl.jacobian(gl.log(p), p),
        gl.hessian(loss, p),
        gl.hessian(loss, x),
        *gl.grad(square, [first, first, square]),
        gl.hessian(square, first),
        gl.hvp(square, (x, first), (gl.ones(3, "float64"), 0.0))[0],
        gl.jvp(square, (x, first, x), (np.ones(3), 1.0, np.ones(3))),
    ]
    xv = np.array([0.1, 0.7, -0.4])
    pv = np.exp(xv) / np.sum(np.exp(xv))
    found = gl.function([], chosen)()
    close(found[0], np.diag(1 / pv))
    second = np.zeros((3, 3))
    second[1, 1] = 1 / pv[1] ** 2
    close(found[1], second)
    close(found[2], np.diag(pv) - np.outer(pv, pv), 1e-12)
    close(found[3], 2 * xv[1] * xv[0])
    close(found[4], 2 * xv[1] * xv[0])
    close(found[5], 1.0)
    close(found[6], 2 * xv[0])
    close(found[7], [2 * xv[1], 2 * xv[0] + 2 * xv[1], 0])
    along = 2 * xv[1] * xv[0] + xv[1] ** 2
    close(found[8], 2 * along + 2 * xv[1] * xv[0])
    for tensor, value in zip(chosen, found, strict=True):
        close(tensor.eval({}), value, 1e-12)


def test_a_tangent_that_moves_nothing_adds_nothing():
    """y = x²: along (x, z) as along x alone; by z alone there is an error, as in all modes."""
    x, z = gl.placeholder((), "float64", "x"), gl.placeholder((), "float64", "z")
    (found,) = both([x, z], [gl.jvp(x * x, (x, z), (2.0, 5.0))], np.array(3.0), np.array(1.0))
    close(found, 12.0)
    with pytest.raises(gl.GradloomError, match="does not depend on z"):
        gl.jvp(x * x, z, 1.0)


def test_a_function_of_a_function_is_computed_once():
    """z = f(f(f(w))): forwards and backwards use the same f(w) and f(f(w))."""
    w = gl.placeholder((), "float64", "w")

    def f(x: Tensor) -> Tensor:
        return gl.erf(x)

    function = gl.function([w], [f(f(f(w))), gl.grad(f(f(f(w))), w)])
    last = list(function.stages.values())[-1]
    names = [node.op.name for node in last.walk()]
    assert names.count("erf") == 3
    z, slope = function(0.4)
    at = [0.4]
    for _ in range(3):
        at.append(math.erf(at[-1]))
    close(z, at[3])
    close(slope, math.prod(2 / math.sqrt(math.pi) * math.exp(-a * a) for a in at[:3]), 1e-12)


def test_forward_mode_is_the_table_by_hand():
    """y = x₁ x₂ + sin x₁ at (2, 3), with tangents (1, 0) and (0, 1) as in any lecture."""
    x1, x2 = gl.placeholder((), "float64", "x1"), gl.placeholder((), "float64", "x2")
    a, b = x1 * x2, gl.sin(x1)
    for tangent, da, db in [((1.0, 0.0), 3.0, math.cos(2.0)), ((0.0, 1.0), 2.0, 0.0)]:
        pushed = gl.jvp((a, b, a + b), (x1, x2), tangent)
        found = both([x1, x2], list(pushed), np.array(2.0), np.array(3.0))
        for array, wanted in zip(found, [da, db, da + db], strict=True):
            close(array, wanted)


# --- in loops and steps -------------------------------------------------------------------------


def test_derivatives_inside_a_scan_and_of_it():
    """Newton's method as a loop, and how its end depends on the data."""
    a = gl.placeholder((3,), "float64", "a")

    def step(x: Tensor, _: Any) -> tuple[Tensor, Tensor]:
        loss = gl.sum(gl.exp(x) - a * x)
        return x - gl.linalg.inv(gl.hessian(loss, x)) @ gl.grad(loss, x), loss

    last, losses = gl.scan(step, gl.zeros(3, "float64"), length=8)
    value = np.array([0.5, 1.0, 2.0])
    found = both([a], [last, gl.jacobian(last, a), losses, gl.jacobian(last, a, "forward")], value)
    close(found[0], np.log(value), 1e-12)
    close(found[1], np.diag(1 / value), 1e-9)
    close(found[2][-1], np.sum(value - value * np.log(value)), 1e-12)
    close(found[3], np.diag(1 / value), 1e-9)


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_jacobian_of_a_loop_shares_its_states(mode: Any):
    """What all directions share, tanh of the state, is not made for each of them again."""
    x = gl.placeholder((5,), "float64", "x")
    last, _ = gl.scan(lambda c, _: (gl.tanh(c), None), x, length=3)
    function = gl.function([x], gl.jacobian(last, x, mode))
    shapes = [
        node.results[0].shape
        for node in list(function.stages.values())[-1].walk()
        if node.op.name == "tanh"
    ]
    assert set(shapes) == {(5,)}
    value = np.linspace(-1, 1, 5)
    found = function(value)
    step, slope = value, np.ones(5)
    for _ in range(3):
        step = np.tanh(step)
        slope = slope * (1 - step**2)
    close(found, np.diag(slope), 1e-12)


def test_a_derivative_in_a_loop_by_what_stands_outside():
    """Of something made outside the body from what stands outside too: the way comes along."""
    w = gl.placeholder((2,), "float64", "w")
    h = gl.exp(w)
    constant = gl.constant(2.0, "float64")
    scale = constant * constant

    def body(c: Tensor, _: Any) -> Any:
        return c + gl.grad(gl.sum(c * h), w), gl.grad(gl.sum(c) * scale, constant)

    last, slopes = gl.scan(body, gl.ones(2, "float64"), length=3)
    value = np.array([0.1, 0.2])
    found, each = both([w], [last, slopes], value)
    close(found, (1 + np.exp(value)) ** 3)
    close(each, [np.sum(4 * (1 + np.exp(value)) ** n) for n in range(3)])


@pytest.mark.parametrize("length", [0, 1, 4])
def test_jacobians_and_hessians_of_a_loop(length: int):
    """x → x sin(w x), repeated: as the unrolled graph."""
    x = gl.placeholder((2,), "float64", "x")
    w = gl.placeholder((2, 2), "float64", "w")
    looped, _ = gl.scan(lambda c, _: (c * gl.sin(w @ c), None), x, length=length)
    plain = x
    for _ in range(length):
        plain = plain * gl.sin(w @ plain)
    outputs = [
        [gl.jacobian(y, x, "reverse"), gl.jacobian(y, x, "forward"), gl.hessian(gl.sum(y * y), x)]
        for y in (looped, plain)
    ]
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=2), rng.normal(size=(2, 2))]
    found = gl.function([x, w], outputs[0])(*arrays)
    unrolled = Graph("unrolled", [x, w], outputs[1])
    for got, wanted in zip(found, gl.evaluate(unrolled, {x: arrays[0], w: arrays[1]}), strict=True):
        close(got, wanted, 1e-10)
    close(found[0], found[1], 1e-10)


def test_updates_by_newton():
    """A function whose update solves with the Hessian of its own loss."""
    w = gl.parameter(np.zeros(2), name="w")
    x = gl.placeholder(("n", 2), "float64", "x")
    t = gl.placeholder(("n",), "float64", "t")
    loss = gl.mean(gl.square(x @ w - t))
    step = gl.solve(gl.hessian(loss, w), gl.grad(loss, w))
    function = gl.function([x, t], loss, updates={w: w - step})
    rng = np.random.default_rng(0)
    xv = rng.normal(size=(9, 2))
    function(xv, xv @ np.array([3.0, -2.0]))
    close(w.value, [3.0, -2.0], 1e-10)


def test_batched_requests_as_text():
    """The attribute prints where there is a batch, and text that means none is no graph."""
    text = """graph @g(%x: f64[3], %u: f64[2,4,3]) {
      %0 = sin %x : f64[3]
      %1 = gradient %0 wrt %x with %u {batch=2} : f64[2,4,3]
      return %1
    }"""
    graph = gl.parse(text)
    assert gl.parse(str(graph)) == graph
    x, u = np.array([0.1, 0.2, 0.3]), np.random.default_rng(0).normal(size=(2, 4, 3))
    close(gl.evaluate(graph, {"x": x, "u": u}), u * np.cos(x))
    close(gl.compile(graph)(x, u), u * np.cos(x))
    for changed in (
        text.replace("batch=2", "batch=1"),
        text.replace("batch=2", "batch=3"),
        text.replace("batch=2", "batch=-1"),
        text.replace("batch=2", "batch=true"),
        text.replace("batch=2", "count=2"),
        text.replace(" {batch=2}", ""),
        text.replace(" with %u", ""),
    ):
        with pytest.raises(gl.GradloomError, match="line 3"):
            gl.parse(changed)


# --- wrong uses ---------------------------------------------------------------------------------

X = gl.placeholder((3,), name="x")
OTHER = gl.placeholder((3,), name="other")
I = gl.placeholder((3,), "int64", "i")  # noqa: E741
LOSS = gl.sum(X * X)

# fmt: off
WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: gl.jacobian(X, OTHER), gl.GradloomError, "does not depend on other"),
    (lambda: gl.hessian(LOSS, OTHER), gl.GradloomError, "does not depend on other"),
    (lambda: gl.hvp(LOSS, OTHER, OTHER), gl.GradloomError, "does not depend on other"),
    (lambda: gl.vjp(LOSS, OTHER, 1.0), gl.GradloomError, "does not depend on other"),
    (lambda: gl.jvp(LOSS, OTHER, OTHER), gl.GradloomError, "does not depend on other"),
    (lambda: gl.grad(LOSS, {"a": X, "b": OTHER}), gl.GradloomError, "does not depend on other"),
    (lambda: gl.jacobian(X * I.astype("float32"), I), gl.GradloomError, "it is no float"),
    (lambda: gl.jacobian(I * 2, I), gl.GradloomError, "it is no float"),
    (lambda: gl.jacobian(X, X, "up"), ValueError, "'forward' or None, got 'up'"),  # type: ignore[arg-type]
    (lambda: gl.jacobian(X, "x"), ValueError, "by tensors of its graph, got 'x'"),
    (lambda: gl.hessian(X * X, X), ValueError, "the loss must be a scalar, got f32[3]"),
    (lambda: gl.hessian([LOSS], X), ValueError, "hessian: a derivative is of a tensor"),  # type: ignore[arg-type]
    (lambda: gl.hvp(LOSS, X, X[:2]), ValueError, "like its tensor, got f32[2]"),
    (lambda: gl.vjp((X, X * X), X, X), ValueError, "vjp: u is structured like y"),
    (lambda: gl.vjp({"a": X * X}, X, {"b": X}), ValueError, "vjp: u is structured like y"),
    (lambda: gl.jvp(X, [X], [X, X]), ValueError, "jvp: v is structured like x"),
    (lambda: gl.grad(LOSS, {X}), ValueError, "grad: a set has no order"),  # type: ignore[arg-type]
    (lambda: gl.grad(gl.sum, X), ValueError, "gl.grad(y, x, …); got <function sum"),  # type: ignore[arg-type]
    (lambda: gl.grad(gl.sum), ValueError, "tensors, not functions: say y = f(x), then gl.grad"),  # type: ignore[call-overload]
    (lambda: gl.vjp(gl.sum, X), ValueError, "vjp: gradloom differentiates tensors"),  # type: ignore[call-overload]
    (lambda: gl.jvp(y=gl.sum, x=X, v=X), ValueError, "jvp: gradloom differentiates tensors"),
    (lambda: gl.hvp(gl.sum, X, X), ValueError, "hvp: gradloom differentiates tensors"),  # type: ignore[arg-type]
    (lambda: gl.jacobian(gl.sum), ValueError, "jacobian: gradloom differentiates"),  # type: ignore[call-overload]
    (lambda: gl.hessian(gl.sum), ValueError, "hessian: gradloom differentiates"),  # type: ignore[call-overload]
    (lambda: gl.vjp(X * X, X, X.astype("float64")), ValueError, "like its tensor, got f64[3]"),
]
# fmt: on


def test_a_list_of_directions_may_stand_for_a_tuple():
    found = gl.jvp(LOSS, (X,), [X]), gl.vjp([X * X], X, (X,)), gl.hvp(LOSS, [X], (X,))[0]
    value = np.array([1.0, 2.0, -3.0], np.float32)
    wanted = gl.jvp(LOSS, X, X), gl.vjp(X * X, X, X), gl.hvp(LOSS, X, X)
    results = gl.function([X], [*found, *wanted])(value)
    for got, same in zip(results[:3], results[3:], strict=True):
        np.testing.assert_array_equal(got, same)


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[2][:40])
def test_wrong_uses(case: Any):
    make, kind, message = case
    with pytest.raises(kind) as caught:
        make()
    assert message in str(caught.value)
    assert "test_modes.py:" in str(caught.value)
