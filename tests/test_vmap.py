# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""vmap: over structures and axes, of derivatives and under them, against loops over the entries."""

from __future__ import annotations

from collections.abc import Callable
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


def is_a_loop(
    function: Callable[..., Tensor], *arrays: NumpyArray, tolerance: float = 1e-10
) -> NumpyArray:
    """vmap of `function` over the first axes, compiled and interpreted, is a loop over entries."""
    inputs = [gl.placeholder(("N", *a.shape[1:]), a.dtype, f"x{i}") for i, a in enumerate(arrays)]
    output = gl.vmap(function)(*inputs)
    graph = Graph("over", inputs, [output])
    assert gl.parse(str(graph)) == graph
    compiled = gl.function(inputs, output)
    singles = [gl.placeholder(a.shape[1:], a.dtype, f"x{i}") for i, a in enumerate(arrays)]
    one = gl.function(singles, function(*singles))
    for count in (len(arrays[0]), 1, 0):
        given = [a[:count] for a in arrays]
        found = compiled(*given)
        assert found.shape[0] == count
        for n in range(count):
            close(found[n], one(*(a[n] for a in given)), tolerance)
        feeds = {f"x{i}": a for i, a in enumerate(given)}
        close(gl.evaluate(graph, feeds), found, tolerance)
    return compiled(*arrays)


# --- derivatives inside -------------------------------------------------------------------------


def cross_entropy(z: Tensor, t: Tensor) -> Tensor:
    """As naive as it gets: overflows from 89, divides inf by inf."""
    p = gl.exp(z) / gl.sum(gl.exp(z))
    return -gl.log(p[t])


def test_gradients_of_a_naive_cross_entropy_are_stable():
    """At ±1e4 in float32: what vmap maps is made stable before it is differentiated."""
    z = gl.placeholder(("N", 4), name="z")
    t = gl.placeholder(("N",), "int64", name="t")
    slope = gl.vmap(lambda a, b: gl.grad(cross_entropy(a, b), a))(z, t)
    second = gl.vmap(lambda a, b: gl.hessian(cross_entropy(a, b), a))(z, t)
    rows = np.array(
        [[1e4, 0, 0, -1e4], [-1e4, -1e4, 1e4, 0], [1e4, 1e4, -1e4, 0], [1, 2, 3, 4]], np.float32
    )
    labels = np.array([3, 2, 0, 1])
    found, curved = gl.function([z, t], [slope, second])(rows, labels)
    wide = rows.astype(np.float64)
    p = np.exp(wide - wide.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(found, p - np.eye(4)[labels], rtol=1e-5, atol=1e-6)
    expected = p[:, :, None] * np.eye(4) - p[:, :, None] * p[:, None, :]
    np.testing.assert_allclose(curved, expected, rtol=1e-5, atol=1e-6)


def test_gradients_of_each_sample():
    """By weights that all samples share, in their structure; their mean is the mean's."""
    w = gl.parameter(np.random.default_rng(0).normal(size=(3, 4)), name="w")
    b = gl.parameter(np.zeros(4), name="b")
    x = gl.placeholder(("N", 3), "float64", "x")
    t = gl.placeholder(("N",), "int64", "t")

    def loss(x: Tensor, t: Tensor) -> Tensor:
        return cross_entropy(gl.tanh(x @ w) + b, t)

    each = gl.vmap(lambda x, t: gl.grad(loss(x, t), {"w": w, "b": b}))(x, t)
    mean = gl.grad(gl.mean(gl.vmap(loss)(x, t)), w)
    function = gl.function([x, t], [each["w"], each["b"], mean])
    one = gl.placeholder((3,), "float64", "one")
    label = gl.placeholder((), "int64", "label")
    single = gl.function([one, label], gl.grad(loss(one, label), [w, b]))
    rng = np.random.default_rng(1)
    for count in (5, 1, 0):
        xv, tv = rng.normal(size=(count, 3)), rng.integers(0, 4, count)
        by_w, by_b, whole = function(xv, tv)
        assert by_w.shape == (count, 3, 4)
        for n in range(count):
            wanted = single(xv[n], tv[n])
            close(by_w[n], wanted[0], 1e-12)
            close(by_b[n], wanted[1], 1e-12)
        if count:
            close(whole, by_w.mean(0), 1e-12)


def test_gradients_of_each_sample_are_stable_too():
    """A naive classifier at logits of ±1e4: shapes of the batched product hide nothing."""
    w = gl.parameter(np.array([[1e4, 0.0], [0.0, -1e4]], np.float32), name="w")
    x = gl.placeholder(("N", 2), name="x")
    t = gl.placeholder(("N",), "int64", "t")
    slope = gl.vmap(lambda x, t: gl.grad(cross_entropy(x @ w, t), w))(x, t)
    function = gl.function([x, t], slope)
    rows, labels = np.array([[1, 1], [-1, 1], [0, 0.5]], np.float32), np.array([1, 0, 1])
    p = np.array([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]])
    wanted = rows[:, :, None] * (p - np.eye(2)[labels])[:, None, :]
    np.testing.assert_allclose(function(rows, labels), wanted, rtol=1e-5, atol=1e-6)


def judged_under_vmap(row: Any) -> None:
    """A row of the stability table, mapped beside an entry of zeros, is as good as alone."""
    from gradloom.benchmarks import stability
    from gradloom.benchmarks.systems import gradloom_names

    def runner(formula: Any, inputs: Any, by: list[str]) -> Any:
        def one(*given: Tensor) -> Any:
            *own, cotangent = given
            leaves = dict(zip(inputs, own, strict=True))
            value = formula(gradloom_names(), leaves)
            return (value, *gl.grad(gl.sum(value * cotangent), [leaves[name] for name in by]))

        singles = {n: gl.placeholder(a.shape, a.dtype, n) for n, a in inputs.items()}
        shape = formula(gradloom_names(), singles).shape
        many = [gl.placeholder(("N", *a.shape), a.dtype, n) for n, a in inputs.items()]
        many.append(gl.placeholder(("N", *shape), name="cotangent"))
        function = gl.function(many, list(gl.vmap(one)(*many)))

        def run(arrays: Any, cotangent: Any) -> Any:
            rows = [np.stack([np.zeros_like(a), a]) for a in (*arrays.values(), cotangent)]
            value, *slopes = (result[1] for result in function(*rows))
            return value, slopes

        return run

    stability.SYSTEMS["vmap"] = runner
    try:
        found = stability.judge(row, ["gradloom", "vmap"])
    finally:
        del stability.SYSTEMS["vmap"]
    assert stability.meets(found["vmap"]) or not stability.meets(found["gradloom"]), found


def stability_rows() -> list[Any]:
    pytest.importorskip("mpmath")
    from gradloom.benchmarks.stability import TABLE

    return TABLE


def test_naive_formulas_are_stable_under_vmap():
    rows = stability_rows()
    for row in rows[:: len(rows) // 5]:
        judged_under_vmap(row)


@pytest.mark.slow
def test_all_naive_formulas_are_stable_under_vmap():
    for row in stability_rows():
        judged_under_vmap(row)


MATRIX = np.random.default_rng(5).normal(size=(3, 3))


def curve(x: Tensor) -> Tensor:
    return gl.sin(gl.constant(MATRIX) @ x) * x


INSIDE: dict[str, Callable[[Tensor], Tensor]] = {
    "gradient": lambda x: gl.grad(gl.sum(curve(x)), x),
    "jacobian, reverse": lambda x: gl.jacobian(curve(x), x, "reverse"),
    "jacobian, forward": lambda x: gl.jacobian(curve(x), x, "forward"),
    "hessian": lambda x: gl.hessian(gl.sum(curve(x)), x),
    "hvp": lambda x: gl.hvp(gl.sum(curve(x)), x, x * x),
    "vjp": lambda x: gl.vjp(curve(x), x, gl.exp(x)),
    "jvp": lambda x: gl.jvp(curve(x), x, gl.exp(x)),
    "gradient of a jacobian": lambda x: gl.grad(gl.sum(gl.jacobian(curve(x), x) ** 2), x),
    "jacobian of a hessian": lambda x: gl.jacobian(gl.hessian(gl.sum(curve(x)), x), x),
    "by an inner node": lambda x: gl.grad(gl.sum((y := curve(x)) * gl.exp(y)), y),
    "gradient of the end of a loop": lambda x: gl.grad(
        gl.sum(gl.scan(lambda c, _: (curve(c), None), x, length=3)[0]), x
    ),
    "jacobian of the end of a loop": lambda x: gl.jacobian(
        gl.scan(lambda c, _: (curve(c), None), x, length=3)[0], x
    ),
    "gradients inside a loop": lambda x: gl.scan(
        lambda c, _: (c - 0.1 * gl.grad(gl.sum(curve(c) ** 2), c), None), x, length=3
    )[0],
    "of a decomposition": lambda x: gl.grad(
        gl.sum(gl.linalg.cholesky(gl.eye(3, dtype="float64") * 4.0 + x[:, None] * x)), x
    ),
    "of a solution": lambda x: gl.jacobian(
        gl.solve(gl.eye(3, dtype="float64") * 4.0 + x[:, None] * x, gl.sin(x)), x
    ),
    "of sorted and gathered entries": lambda x: gl.grad(
        gl.sum(gl.sort(x) * gl.constant([1.0, 2.0, 3.0], "float64")) + x[gl.argmax(x)] ** 2, x
    ),
    "of entries set": lambda x: gl.jacobian(x.at[1].set(gl.exp(x[0])), x),
    "of a cumulative sum": lambda x: gl.jacobian(gl.cumulative_sum(gl.exp(x)), x),
}


@pytest.mark.campaign(6)
@pytest.mark.parametrize("name", INSIDE)
def test_derivatives_inside(name: str):
    is_a_loop(INSIDE[name], np.random.default_rng(0).normal(size=(4, 3)))


def test_a_vmap_in_a_vmap():
    """Gradients over two axes, by an argument of the inner and one of the outer function."""

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return gl.sum(gl.sin(x) * y * y)

    def outer(x: Tensor, ys: Tensor) -> Tensor:
        by_y = gl.vmap(lambda y: gl.grad(loss(x, y), y))(ys)
        by_x = gl.vmap(lambda y: gl.grad(loss(x, y), x))(ys)
        return by_y + by_x

    rng = np.random.default_rng(0)
    x, ys = rng.normal(size=(4, 3)), rng.normal(size=(4, 2, 3))
    found = is_a_loop(outer, x, ys)
    close(found, 2 * np.sin(x)[:, None] * ys + np.cos(x)[:, None] * ys**2, 1e-12)


# --- derivatives outside ------------------------------------------------------------------------


def test_derivatives_of_what_is_mapped():
    """The Jacobian of a map is block-diagonal; jvp and gradients are those of each entry."""
    x = gl.placeholder((2, 3), "float64", "x")
    v = gl.placeholder((2, 3), "float64", "v")
    y = gl.vmap(curve)(x)
    outputs = [
        gl.jacobian(y, x, "reverse"),
        gl.jacobian(y, x, "forward"),
        gl.jvp(y, x, v),
        gl.vjp(y, x, v),
        gl.vmap(lambda x: gl.jacobian(curve(x), x))(x),
        gl.hvp(gl.sum(y), x, v),
        gl.vmap(lambda x: gl.hessian(gl.sum(curve(x)), x))(x),
    ]
    rng = np.random.default_rng(0)
    xv, vv = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    back, forth, pushed, pulled, blocks, product, second = gl.function([x, v], outputs)(xv, vv)
    expected = np.zeros((2, 3, 2, 3))
    for n in range(2):
        z = MATRIX @ xv[n]
        close(blocks[n], np.diag(np.sin(z)) + (np.cos(z) * xv[n])[:, None] * MATRIX, 1e-12)
        expected[n, :, n, :] = blocks[n]
    close(back, expected, 1e-12)
    close(forth, expected, 1e-12)
    close(pushed, np.einsum("nij,nj->ni", blocks, vv), 1e-12)
    close(pulled, np.einsum("nij,ni->nj", blocks, vv), 1e-12)
    close(product, np.einsum("nij,nj->ni", second, vv), 1e-12)


def test_a_jacobian_by_vmap():
    """Rows of the identity as cotangents, columns as tangents: one request with a batch each."""
    x = gl.placeholder((3,), "float64", "x")
    y = curve(x)
    rows = gl.vmap(lambda u: gl.vjp(y, x, u))(gl.eye(3, dtype="float64"))
    columns = gl.vmap(lambda v: gl.jvp(y, x, v), out_axes=1)(gl.eye(3, dtype="float64"))
    twice = gl.vmap(gl.vmap(lambda u: gl.vjp(y, x, u)))
    each = twice(gl.reshape(gl.eye(6, dtype="float64")[:, :3], (2, 3, 3)))
    assert requests(rows) == [("gradient", 1)]
    assert requests(columns) == [("pushforward", 1)]
    assert requests(each) == [("gradient", 2)]
    value = np.random.default_rng(0).normal(size=3)
    j, by_rows, by_columns, many = gl.function([x], [gl.jacobian(y, x), rows, columns, each])(value)
    close(by_rows, j)
    close(by_columns, j)
    close(many[0], j)
    close(many[1], np.zeros((3, 3)))
    graph = Graph("each", [x], [each])
    assert "{batch=2}" in str(graph)
    assert gl.parse(str(graph)) == graph
    # over entries too: their axis is neither of the two
    over = gl.vmap(lambda x: twice_over(x))(gl.placeholder(("N", 3), "float64", "xs"))
    values = np.random.default_rng(1).normal(size=(2, 3))
    found = over.eval({"xs": values})
    compiled = gl.function(list(Graph("free", (), [over]).free), over)(values)
    for n in range(2):
        z = MATRIX @ values[n]
        expected = np.diag(np.sin(z)) + (np.cos(z) * values[n])[:, None] * MATRIX
        close(found[n][0], expected, 1e-12)
        close(compiled[n][0], expected, 1e-12)


def twice_over(x: Tensor) -> Tensor:
    seeds = gl.reshape(gl.eye(6, dtype="float64")[:, :3], (2, 3, 3))
    return gl.vmap(gl.vmap(lambda u: gl.vjp(curve(x), x, u)))(seeds)


# --- which tensor is meant ----------------------------------------------------------------------


def test_arguments_are_apart_from_what_else_they_are():
    """One tensor given twice, or read from outside as well, is asked about as the argument only."""
    x = gl.placeholder((3,), "float64", "x")
    value = np.array([1.0, 2.0, 5.0])
    cases: list[tuple[Tensor, NumpyArray]] = [
        (gl.vmap(lambda p, q: gl.grad(p * p * q, p))(x, x), 2 * value**2),
        (gl.vmap(lambda p: gl.grad(gl.sum(p * x), p))(x), np.full(3, 8.0)),
        (gl.vmap(lambda p: gl.grad(gl.sum(p * x), x))(x), np.repeat(value[:, None], 3, 1)),
        (gl.vmap(lambda p: gl.jvp(gl.sum(p * x), p, 1.0))(x), np.full(3, 8.0)),
        (
            gl.vmap(lambda u, p, q: u * gl.grad(gl.sum(p * p * q), p), (0, None, None))(x, x, x),
            2 * value[:, None] * value**2,
        ),
        (
            gl.vmap(lambda u, p, q: gl.vjp(p * q, p, u), (0, None, None))(
                gl.eye(3, dtype="float64"), x, x
            ),
            np.diag(value),
        ),
    ]
    found = gl.function([x], [tensor for tensor, _ in cases])(value)
    for array, (tensor, wanted) in zip(found, cases, strict=True):
        close(array, wanted)
        close(tensor.eval({"x": value}), wanted)


def test_derivatives_by_a_tensor_and_by_what_is_made_of_it():
    """∂y/∂x is along all ways, through p too, whoever else is asked about."""

    def slopes(x: Tensor) -> Any:
        p = gl.sin(x)
        y = gl.sum(p * p * x)
        pushed = gl.jvp(y, (x, p), (gl.ones(2, "float64"), gl.exp(x)))
        return (*gl.grad(y, (x, p)), pushed)

    values = np.random.default_rng(0).normal(size=(3, 2))
    x = gl.placeholder(("N", 2), "float64", "x")
    outputs = gl.vmap(slopes)(x)
    by_x = 2 * np.sin(values) * np.cos(values) * values + np.sin(values) ** 2
    by_p = 2 * np.sin(values) * values
    along = np.sum(by_x + by_p * np.exp(values), 1)
    found = gl.function([x], outputs)(values)
    for array, tensor, wanted in zip(found, outputs, (by_x, by_p, along), strict=True):
        close(array, wanted, 1e-12)
        close(tensor.eval({"x": values}), wanted, 1e-12)


# --- structures and axes ------------------------------------------------------------------------


class Pair(NamedTuple):
    first: Any
    second: Any


def test_structures_and_axes():
    """Arguments and results in structures; axes for all, for a part, or for each leaf."""
    a = gl.placeholder((4, 2), "float64", "a")
    b = gl.placeholder((2, 4), "float64", "b")
    c = gl.placeholder((2,), "float64", "c")

    def function(d: dict[str, Any], pair: Pair) -> Any:
        x, y = d["x"], d["rest"][0]
        return {"sum": x + y + pair.second, "pair": Pair(gl.sum(x * y), pair.second * 2.0)}

    arguments = ({"x": a, "rest": [b]}, Pair(None, c))
    axes = ({"x": 0, "rest": -1}, None)
    av, bv, cv = np.arange(8.0).reshape(4, 2), np.arange(8.0).reshape(2, 4) ** 2, np.array([1.0, 2])
    front = gl.vmap(function, axes)(*arguments)
    assert isinstance(front["pair"], Pair)
    back = gl.vmap(function, list(axes), {"sum": 1, "pair": (-1, None)})(*arguments)
    outputs = [front["sum"], *front["pair"], back["sum"], *back["pair"]]
    found = gl.function([a, b, c], outputs)(av, bv, cv)
    total, products = av + bv.T + cv, np.sum(av * bv.T, 1)
    for array, wanted in zip(
        found, [total, products, np.tile(2 * cv, (4, 1)), total.T, products, 2 * cv], strict=True
    ):
        close(array, wanted)
    last = gl.vmap(lambda a, b: a[:, None] * b, (0, 1), -1)(a, b)
    close(last.eval({"a": av, "b": bv}), np.einsum("ni,jn->ijn", av, bv))


def test_randomness_and_numbers():
    """A key an entry; a result that is a Python number; no result at all."""
    keys = gl.random.split(gl.random.key(3), 4)
    x = gl.placeholder((4, 2), "float32", "x")

    def noisy(key: Tensor, x: Tensor) -> Any:
        return gl.grad(gl.sum(gl.random.normal(key, (2,)) * x * x), x), 2, None

    slope, number, nothing = gl.vmap(noisy)(keys, x)
    assert nothing is None
    value = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    found, twos = gl.function([x], [slope, number])(value)
    draws = np.stack([gl.random.normal(keys[i], (2,)).eval({}) for i in range(4)])
    np.testing.assert_allclose(found, 2 * draws * value, rtol=1e-6)
    np.testing.assert_array_equal(twos, [2, 2, 2, 2])


# --- wrong uses ---------------------------------------------------------------------------------

A = gl.placeholder((3, 2), name="a")
B = gl.placeholder((4,), name="b")
S = gl.placeholder((), name="s")

# fmt: off
WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: gl.vmap(lambda a: a, None)(A), ValueError, "no argument has an axis to go over"),
    (lambda: gl.vmap(lambda: S)(), ValueError, "no argument has an axis to go over"),
    (lambda: gl.vmap(lambda a, b: a)(A, B), ValueError,
     "sizes differ: 3 against 4: arguments[0] is f32[3,2], axis 0; arguments[1] is f32[4], axis 0"),
    (lambda: gl.vmap(lambda s: s)(S), ValueError,
     "axis 0 is out of range for 0 dimensions: arguments[0] is f32[]"),
    (lambda: gl.vmap(lambda d: d, ({"x": 2},))({"x": A}), IndexError,
     "axis 2 is out of range for 2 dimensions: arguments[0]['x'] is f32[3,2]"),
    (lambda: gl.vmap(lambda a: a, (0, 0))(A), ValueError, "in_axes (0, 0) do not fit 1 arguments"),
    (lambda: gl.vmap(lambda a: a, ((0, 0),))((A,)), ValueError,
     "in_axes (0, 0) do not fit arguments[0]"),
    (lambda: gl.vmap(lambda a: a, ({"x": 0},))({"y": A}), ValueError,
     "in_axes {'x': 0} do not fit arguments[0]"),
    (lambda: gl.vmap(lambda a: a, "0")(A), ValueError, "in_axes '0' do not fit arguments"),
    (lambda: gl.vmap(lambda a: a, True)(A), ValueError, "in_axes True do not fit arguments"),
    (lambda: gl.vmap(lambda a: a, 0, None)(A), ValueError,
     "out_axes None of results: <input entry0: f32[2]> differs from entry to entry"),
    (lambda: gl.vmap(lambda a: a, 0, 2)(A), IndexError,
     "axis 2 is out of range for 2 dimensions: out_axes of results"),
    (lambda: gl.vmap(lambda a: a, 0, (0, 0))(A), ValueError, "out_axes (0, 0) do not fit results"),
    (lambda: gl.vmap(lambda a: gl.grad(gl.sum(a), B))(A), ValueError, "does not depend on b"),
    (lambda: gl.vmap(lambda a: gl.grad(a, a))(A), ValueError, "the loss must be a scalar"),
    (lambda: gl.vmap(A), ValueError, "goes over a function, as in gl.vmap(f)(x); got <input"),  # type: ignore[arg-type]
    (lambda: gl.vmap(lambda a: a)("abc"), TypeError, "an argument is no tensor: 'abc'"),
]
# fmt: on


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[2][:40])
def test_wrong_uses(case: Any):
    make, kind, message = case
    with pytest.raises(kind) as caught:
        make()
    assert message in str(caught.value)
    assert "test_vmap.py:" in str(caught.value)
