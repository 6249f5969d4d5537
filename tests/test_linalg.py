# pyright: standard
"""``gl.linalg`` against NumPy and SciPy, its derivatives against central differences.

The ops themselves are checked by the tests that the table generates; here are the public functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.graph import Graph

from .matrices import general, placeholders, positive, square
from .op_cases import close, each, interpret, run

NumpyArray = np.ndarray[Any, Any]
inf = float("inf")

# --- values ---------------------------------------------------------------------------------------

Function = Callable[..., Any]
L = gl.linalg
numpy: Any = np.linalg  # takes our tensors too, and what its stubs do not say

# What is compared with NumPy: ours, NumPy's, and the operands.
VALUES: list[tuple[str, Function, Function, list[NumpyArray]]] = [
    ("solve", L.solve, np.linalg.solve, [square(3, 3), general(3, 2)]),
    ("solve a vector", L.solve, np.linalg.solve, [square(3, 3), general(3)]),
    ("solve many", L.solve, np.linalg.solve, [square(4, 1, 3, 3), general(5, 3, 2)]),
    ("solve nothing", L.solve, np.linalg.solve, [square(0, 3, 3), general(0, 3, 1)]),
    ("solve 0", L.solve, np.linalg.solve, [square(0, 0), general(0, 2)]),
    ("inv", L.inv, np.linalg.inv, [square(2, 3, 3)]),
    ("inv 0", L.inv, np.linalg.inv, [square(0, 0)]),
    ("det", L.det, np.linalg.det, [general(2, 3, 3)]),
    ("det 0", L.det, np.linalg.det, [general(0, 0)]),
    ("det of a singular matrix", L.det, np.linalg.det, [np.ones((2, 2))]),
    ("slogdet", L.slogdet, np.linalg.slogdet, [general(4, 3, 3)]),
    ("slogdet of a singular matrix", L.slogdet, np.linalg.slogdet, [np.zeros((2, 2))]),
    ("pinv", L.pinv, np.linalg.pinv, [general(2, 4, 3)]),
    (
        "pinv of rank 1",
        L.pinv,
        lambda x: np.linalg.pinv(x, rcond=1e-5),
        [np.outer(general(4), general(3))],
    ),
    (
        "pinv with tolerances",
        lambda x: L.pinv(x, rtol=gl.constant([0.5, 1e-9], "float64")),
        lambda x: np.linalg.pinv(x, rcond=np.array([0.5, 1e-9])),
        [general(2, 3, 3)],
    ),
    ("cholesky", L.cholesky, np.linalg.cholesky, [positive(2, 3, 3)]),
    (
        "cholesky upper",
        lambda x: L.cholesky(x, upper=True),
        lambda x: np.linalg.cholesky(x, upper=True),
        [positive(3, 3)],
    ),
    ("cholesky reads below", L.cholesky, np.linalg.cholesky, [np.tril(positive(3, 3))]),
    ("eigh", L.eigh, np.linalg.eigh, [positive(2, 3, 3)]),
    ("eigh reads below", L.eigh, np.linalg.eigh, [np.tril(positive(3, 3))]),
    ("eigvalsh", L.eigvalsh, np.linalg.eigvalsh, [positive(2, 3, 3)]),
    ("svd", L.svd, np.linalg.svd, [general(2, 3, 4)]),
    ("svd of tall", L.svd, np.linalg.svd, [general(4, 2)]),
    (
        "svd reduced",
        lambda x: L.svd(x, full_matrices=False),
        lambda x: np.linalg.svd(x, full_matrices=False),
        [general(2, 4, 3)],
    ),
    ("svd of nothing", L.svd, np.linalg.svd, [general(0, 2)]),
    ("svdvals", L.svdvals, np.linalg.svdvals, [general(2, 3, 4)]),
    ("qr", L.qr, np.linalg.qr, [general(2, 4, 3)]),
    ("qr of wide", L.qr, np.linalg.qr, [general(2, 4)]),
    (
        "qr complete",
        lambda x: L.qr(x, mode="complete"),
        lambda x: np.linalg.qr(x, "complete"),
        [general(4, 2)],
    ),
    ("matrix_rank", L.matrix_rank, np.linalg.matrix_rank, [np.outer(general(4), general(3))]),
    ("matrix_rank of many", L.matrix_rank, np.linalg.matrix_rank, [general(5, 2, 4)]),
    (
        "matrix_rank with rtol",
        lambda x: L.matrix_rank(x, rtol=0.3),
        lambda x: np.linalg.matrix_rank(x, rtol=0.3),
        [general(5, 3, 3)],
    ),
    *(
        (
            f"matrix_power {n}",
            lambda x, n=n: L.matrix_power(x, n),
            lambda x, n=n: np.linalg.matrix_power(x, n),
            [square(2, 3, 3)],
        )
        for n in (-3, -1, 0, 1, 2, 5, 8)
    ),
    ("trace", L.trace, lambda x: np.trace(x, 0, -2, -1), [general(2, 3, 4)]),
    (
        "trace beside",
        lambda x: L.trace(x, offset=-1),
        lambda x: np.trace(x, -1, -2, -1),
        [general(3, 4)],
    ),
    ("cross", L.cross, np.linalg.cross, [general(4, 3), general(3)]),
    (
        "cross of an axis",
        lambda x, y: L.cross(x, y, axis=0),
        lambda x, y: np.linalg.cross(x, y, axis=0),
        [general(3, 2), general(3, 2, seed=1)],
    ),
    ("outer", L.outer, np.linalg.outer, [general(3), general(2)]),
    ("kron", L.kron, np.kron, [general(2, 3), general(3, 2)]),
    ("kron of ranks", L.kron, np.kron, [general(3), general(2, 1, 2)]),
    ("kron of scalars", L.kron, np.kron, [general(), general(2)]),
    ("diagonal", L.diagonal, lambda x: np.diagonal(x, 0, -2, -1), [general(2, 3, 4)]),
    ("matrix_transpose", L.matrix_transpose, np.linalg.matrix_transpose, [general(2, 3, 4)]),
    *(
        (
            f"matrix_norm {order} {keep}",
            lambda x, o=order, k=keep: L.matrix_norm(x, keepdims=k, ord=o),
            lambda x, o=order, k=keep: numpy.matrix_norm(x, keepdims=k, ord=o),
            [general(2, 3, 4)],
        )
        for order in ("fro", "nuc", 1, -1, 2, -2, inf, -inf)
        for keep in (False, True)
    ),
    *(
        (
            f"vector_norm {order} {axis}",
            lambda x, o=order, a=axis: L.vector_norm(x, axis=a, keepdims=a == 1, ord=o),
            lambda x, o=order, a=axis: numpy.vector_norm(x, axis=a, keepdims=a == 1, ord=o),
            [general(2, 3, 4)],
        )
        for order in (0, 1, 2, 3, 0.5, 2.5, -1, -2, inf, -inf)
        for axis in (None, 1, (0, 2))
    ),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values(dtype: str):
    """All in one graph, by the interpreter and compiled."""
    inputs: list[gl.Tensor] = []
    outputs: list[gl.Tensor] = []
    arrays: list[NumpyArray] = []
    wanted: list[tuple[str, NumpyArray]] = []
    for number, (name, ours, theirs, operands) in enumerate(VALUES):
        own = [operand.astype(dtype) for operand in operands]
        leaves = [gl.placeholder(a.shape, dtype, f"x{number}_{i}") for i, a in enumerate(own)]
        inputs += leaves
        arrays += own
        results = each(ours(*leaves))
        expected = each(theirs(*own))
        assert len(results) == len(expected), name
        outputs += results
        wanted += [(name, np.asarray(value)) for value in expected]
    graph = Graph("values", inputs, outputs)
    tolerance = 1e-10 if dtype == "float64" else 2e-4
    for found in (interpret(graph, arrays), run(gl.compile(graph), arrays)):
        for got, output, (name, right) in zip(found, outputs, wanted, strict=True):
            assert got.shape == right.shape == output.shape, name
            assert got.dtype == right.dtype or name.startswith("matrix_rank"), name
            np.testing.assert_allclose(got, right, tolerance, tolerance, err_msg=name)


def test_triangular_solve_is_scipys():
    scipy = pytest.importorskip("scipy.linalg")
    a, b, v = general(4, 4) + 3 * np.eye(4), general(4, 2), general(4)
    for lower in (False, True):
        for transpose in (False, True):
            for unit in (False, True):
                inputs = placeholders([a, b, v])
                options = {"lower": lower, "transpose": transpose, "unit": unit}
                both = [gl.linalg.triangular_solve(inputs[0], x, **options) for x in inputs[1:]]
                found = interpret(Graph("triangular", inputs, both), [a, b, v])
                for got, right in zip(found, (b, v), strict=True):
                    close(
                        got,
                        scipy.solve_triangular(
                            a, right, lower=lower, trans=int(transpose), unit_diagonal=unit
                        ),
                    )


def test_triangular_solve_reads_one_triangle():
    a, b = square(3, 3), general(3, 1)
    a[0, 2] = np.nan
    x, y = placeholders([a, b])
    result = gl.linalg.triangular_solve(x, y, lower=True)
    loss = gl.sum(result)
    assert np.isfinite(result.eval({"x0": a, "x1": b})).all()
    slope = gl.grad(loss, x).eval({"x0": a, "x1": b})
    assert slope[0, 2] == 0 and np.isfinite(slope).all()


def test_fields_by_the_standards_names():
    x = gl.ones((2, 2), "float64")
    assert L.slogdet(x)._fields == ("sign", "logabsdet")
    assert L.eigh(x)._fields == ("eigenvalues", "eigenvectors")
    assert L.svd(x)._fields == ("U", "S", "Vh")
    assert L.qr(x)._fields == ("Q", "R")


def test_numpy_functions_on_tensors():
    x = positive(3, 3)
    (leaf,) = placeholders([x])
    close(numpy.inv(leaf).eval({"x0": x}), np.linalg.inv(x))
    w, v = numpy.eigh(leaf)
    close(((v * w) @ v.mT).eval({"x0": x}), x)
    with pytest.raises(gl.GradloomError, match=r"np\.linalg\.eigvals has no symbolic form"):
        numpy.eigvals(leaf)


def test_sizes_that_are_named():
    x = gl.placeholder(("B", "N", "N"), "float64", "x")
    b = gl.placeholder(("B", "N", "M"), "float64", "b")
    outputs = [
        L.solve(x, b),
        L.inv(x),
        L.det(x),
        *L.svd(b, full_matrices=False),
        *L.qr(b),
        L.pinv(b),
    ]
    function = gl.compile(Graph("named", [x, b], outputs))
    for batch, n, m in [(2, 3, 2), (0, 3, 2), (1, 1, 1), (3, 2, 4), (2, 0, 3)]:
        left, right = square(batch, n, n), general(batch, n, m)
        wanted = [
            np.linalg.solve(left, right),
            np.linalg.inv(left),
            np.linalg.det(left),
            *np.linalg.svd(right, full_matrices=False),
            *np.linalg.qr(right),
            np.linalg.pinv(right),
        ]
        for got, expected in zip(function(left, right), wanted, strict=True):
            assert got.shape == expected.shape
            close(got, expected, 1e-10)


def test_integers():
    x = np.arange(12).reshape(3, 4).astype("int8")
    y = x[:, :3]
    leaf, matrix = placeholders([x, y])
    for got, wanted in [
        (L.trace(leaf), np.trace(x)),
        (L.outer(leaf[0], leaf[1]), np.outer(x[0], x[1])),
        (L.kron(leaf, leaf), np.kron(x, x)),
        (L.cross(matrix, matrix[0]), np.cross(y, y[0])),
        (L.matrix_power(matrix, 3), np.linalg.matrix_power(y, 3)),
        (L.trace(leaf, dtype="float32"), np.trace(x, dtype="float32")),
    ]:
        found = got.eval({leaf: x, matrix: y})
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "array", "reason"),
    [
        (L.cholesky, -np.eye(2), "cholesky: Matrix is not positive definite"),
        (L.inv, np.ones((2, 2)), "solve: Singular matrix"),
        (L.inv, np.eye(2) * np.array([1, 0])[:, None, None], r"solve: .* at \[1\] of the batch"),
        (lambda x: L.solve(x, x), np.zeros((2, 2)), "solve: Singular matrix"),
        (lambda x: L.triangular_solve(x, x), np.zeros((2, 2)), "triangular_solve: Singular matrix"),
        (L.svdvals, np.full((2, 2), np.nan), "svd: SVD did not converge .*holds nan or infinity"),
        (L.pinv, np.full((2, 2), np.nan), "pinv: SVD did not converge .*holds nan or infinity"),
        (L.eigvalsh, np.full((3, 3), np.nan), "eigh: Eigenvalues did not converge .*holds nan"),
    ],
)
def test_the_call_fails(function: Function, array: NumpyArray, reason: str):
    """The op, LAPACK's reason and the user's line; and the next call works."""
    (x,) = placeholders([array])
    result = function(x)
    call = gl.function([x], result)
    for attempt in (lambda: call(array), lambda: result.eval({"x0": array})):
        with pytest.raises(ValueError, match=reason) as caught:
            attempt()
        assert "test_linalg.py" in str(caught.value)
    good = np.broadcast_to(np.eye(array.shape[-1]), array.shape)
    assert np.isfinite(call(good)).all()


def test_nan_that_lapack_lets_through_comes_out():
    x = np.eye(2)
    x[1, 1] = np.nan
    (leaf,) = placeholders([x])
    assert np.isnan(L.det(leaf).eval({"x0": x}))
    assert np.isnan(L.inv(leaf).eval({"x0": x})).any()


FLOATS, INTEGERS = gl.ones((3, 2), "float32"), gl.ones((2, 2), "int64")
VECTOR, SQUARE = gl.ones(3, "float32"), gl.ones((2, 2), "float32")


@pytest.mark.parametrize(
    ("build", "error", "reason"),
    [
        (lambda: L.cholesky(FLOATS), ValueError, "sizes of a square matrix differ: 3 against 2"),
        (lambda: L.det(FLOATS), ValueError, "square"),
        (lambda: L.inv(FLOATS), ValueError, "square"),
        (lambda: L.eigh(FLOATS), ValueError, "square"),
        (lambda: L.matrix_power(FLOATS, 2), ValueError, "square"),
        (lambda: L.inv(INTEGERS), TypeError, "needs a float dtype, got i64"),
        (lambda: L.svd(INTEGERS), TypeError, "needs a float dtype"),
        (lambda: L.solve(INTEGERS, INTEGERS), TypeError, "float dtype"),
        (lambda: L.matrix_norm(INTEGERS), TypeError, "needs a float dtype"),
        (lambda: L.vector_norm(INTEGERS), TypeError, "needs a float dtype"),
        (lambda: L.qr(VECTOR), ValueError, "at least two axes"),
        (lambda: L.solve(VECTOR, VECTOR), ValueError, "needs matrices"),
        (lambda: L.matrix_norm(VECTOR), ValueError, "at least two axes"),
        (lambda: L.matrix_norm(FLOATS, ord=3), ValueError, "ord is 'fro'"),
        (lambda: L.vector_norm(VECTOR, ord="fro"), ValueError, "ord is a number"),
        (lambda: L.vector_norm(VECTOR, axis=1), ValueError, "axis 1 is out of range"),
        (lambda: L.qr(FLOATS, mode="r"), ValueError, "mode is"),  # type: ignore[arg-type]
        (lambda: L.solve(SQUARE, FLOATS), ValueError, "inner sizes differ: 2 against 3"),
        (lambda: L.cross(FLOATS, FLOATS), ValueError, "vectors of 3 along axis -1"),
        (lambda: L.cross(VECTOR, gl.ones((2, 3)), axis=0), ValueError, "count it from the last"),
        (lambda: L.outer(FLOATS, VECTOR), ValueError, "needs two vectors"),
        (lambda: L.matrix_rank(VECTOR), ValueError, "at least two axes"),
    ],
)
def test_what_does_not_fit(build: Callable[[], Any], error: type[Exception], reason: str):
    with pytest.raises(error, match=reason) as caught:
        build()
    assert isinstance(caught.value, gl.GradloomError)
    assert "test_linalg.py" in str(caught.value)
