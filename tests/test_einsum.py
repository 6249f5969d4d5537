"""Einstein sums and the contractions beside them, against NumPy; the order that is chosen."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.graph import Graph

from .op_cases import close, generator, interpret, run, slopes_of

NumpyArray = np.ndarray[Any, Any]


def placeholders(arrays: Sequence[NumpyArray]) -> list[gl.Tensor]:
    return [gl.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(arrays)]


def check(subscripts: Any, arrays: Sequence[NumpyArray], **options: Any) -> None:
    """The interpreter against numpy.einsum."""
    inputs = placeholders(arrays)
    result = gl.einsum(subscripts, *inputs, **options)
    wanted = np.asarray(np.einsum(subscripts, *arrays))
    (got,) = interpret(Graph("einsum", inputs, [result]), arrays)
    assert result.shape == wanted.shape, subscripts
    assert got.dtype == wanted.dtype, subscripts
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-11, err_msg=str(subscripts))


# --- random strings -------------------------------------------------------------------------------


class Drawn:
    """A random string with operands: repeated labels, ellipses, sizes 0 and 1, either output."""

    def __init__(self, seed: int) -> None:
        rng = generator("einsum", seed)
        labels = list(rng.permutation(list(string.ascii_letters))[: rng.integers(1, 7)])
        sizes = {x: int(rng.choice([0, 1, 2, 3, 4], p=[0.05, 0.2, 0.3, 0.25, 0.2])) for x in labels}
        unnamed = [int(n) for n in rng.integers(1, 4, rng.integers(0, 3))]
        dtype = rng.choice(
            ["float64", "float32", "int64", "int8", "uint8"], p=[0.6, 0.1, 0.1, 0.1, 0.1]
        )
        terms: list[str] = []
        self.arrays: list[NumpyArray] = []
        for _ in range(rng.integers(1, 6)):
            own = [str(x) for x in rng.choice(labels, rng.integers(0, 4))]
            shape = [1 if rng.random() < 0.1 and own.count(x) == 1 else sizes[x] for x in own]
            if unnamed and rng.random() < 0.5:
                kept = unnamed[rng.integers(0, len(unnamed) + 1) :]
                place = int(rng.integers(0, len(own) + 1))
                shape[place:place] = [1 if rng.random() < 0.2 else n for n in kept]
                own.insert(place, "...")
            terms.append("".join(own))
            values: Any = rng.normal(size=shape) if "float" in dtype else rng.integers(0, 9, shape)
            self.arrays.append(np.asarray(values, dtype))
        self.subscripts = ",".join(terms)
        if rng.random() < 0.7:
            every = [x for x in dict.fromkeys("".join(terms)) if x != "."]
            some = [str(x) for x in rng.permutation(every)[: rng.integers(0, len(every) + 1)]]
            if "..." in self.subscripts:
                some.insert(int(rng.integers(0, len(some) + 1)), "...")
            self.subscripts += "->" + "".join(some)
        self.subscripts = self.subscripts.replace(",", " , ") if seed % 7 == 0 else self.subscripts
        self.optimize = [True, False, "greedy", "optimal"][seed % 4]


def check_drawn(seeds: Sequence[int]) -> None:
    """Each against NumPy by the interpreter, and all compiled as one function."""
    inputs: list[gl.Tensor] = []
    outputs: list[gl.Tensor] = []
    arrays: list[NumpyArray] = []
    about: list[str] = []
    wanted: list[NumpyArray] = []
    for seed in seeds:
        drawn = Drawn(seed)
        own = [gl.placeholder(a.shape, a.dtype, f"x{seed}_{i}") for i, a in enumerate(drawn.arrays)]
        inputs += own
        arrays += drawn.arrays
        outputs.append(gl.einsum(drawn.subscripts, *own, optimize=drawn.optimize))
        wanted.append(np.asarray(np.einsum(drawn.subscripts, *drawn.arrays)))
        about.append(f"{seed}: {drawn.subscripts} {[a.shape for a in drawn.arrays]}")
    graph = Graph("drawn", inputs, outputs)
    for results in (interpret(graph, arrays), run(gl.compile(graph), arrays)):
        for got, right, text in zip(results, wanted, about, strict=True):
            tolerance = 1e-4 if right.dtype == np.float32 else 1e-10
            assert got.shape == right.shape, text
            assert got.dtype == right.dtype, text
            np.testing.assert_allclose(got, right, tolerance, tolerance, err_msg=text)


def test_random_strings():
    check_drawn(range(40))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 300, 50))
def test_random_strings_all(start: int):
    check_drawn(range(start, start + 50))


# --- what a string may be -------------------------------------------------------------------------

A, B, C = (0.1 * np.arange(np.prod(n)).reshape(n) for n in [(2, 3), (3, 4), (2, 3, 4)])


@pytest.mark.parametrize(
    ("subscripts", "arrays"),
    [
        ("ij,jk->ik", [A, B]),
        ("ij,jk", [A, B]),
        ("ba", [A]),
        ("Ba", [A]),  # capital letters come first
        ("ij->", [A]),
        ("ii", [A[:, :2]]),
        ("ii->i", [A[:, :2]]),
        ("iiji->ij", [np.ones((2, 2, 5, 2))]),
        ("...i->...", [C]),
        ("...", [C]),
        ("i...->...i", [C]),
        ("...ij,jk->...ik", [C, np.ones((4, 5))]),
        ("...,...", [A, C[0, :, :1].T]),
        ("ij,jk", [A[:, :1], B]),  # size 1 broadcasts
        ("i,i->i", [A[0], A[0, :1]]),
        ("i,j,k,l->lkji", [A[0], A[1], B[0], B[1]]),
        (",->", [np.array(3.0), np.array(2.0)]),
        ("->", [np.array(3.0)]),
        ("", [np.array(3.0)]),
        (" i j , j k -> i k ", [A, B]),
        ("ij,ij,ij->", [A, A, A]),
        ("ij,kj->", [A, A]),
        ("ij,kl->jl", [A, B]),  # sums that concern one operand alone
        ("bij,bjk->kbi", [C, C.transpose(0, 2, 1)]),
        ("abc,cb->a", [C, B.T]),
        ("abc,abd->dc", [C, C]),
    ],
)
def test_strings(subscripts: str, arrays: list[NumpyArray]):
    for optimize in (True, False, "greedy"):
        check(subscripts, arrays, optimize=optimize)


def test_lists_instead_of_strings():
    x, y = placeholders([A, B])
    feeds = {x: A, y: B}
    close(gl.einsum(x, [0, 1], y, [1, 2]).eval(feeds), A @ B)
    close(gl.einsum(x, [7, 1], y, [1, 2], [2, 7]).eval(feeds), (A @ B).T)
    close(gl.einsum(x, [..., 1], y, [1, 2], [..., 2]).eval(feeds), A @ B)
    close(gl.einsum(x, [1, 0]).eval(feeds), A.T)  # in order of the numbers


def test_numpy_function_on_tensors():
    x, y = placeholders([A, B])
    numpy: Any = np
    close(numpy.einsum("ij,jk", x, y).eval({"x0": A, "x1": B}), A @ B)


def test_sizes_that_are_named():
    x = gl.placeholder(("B", "N", 3), "float64", "x")
    y = gl.placeholder(("B", "M", 3), "float64", "y")
    function = gl.compile(Graph("scores", [x, y], [gl.einsum("bnd,bmd->bnm", x, y)]))
    rng = generator("named")
    for b, n, m in [(2, 3, 4), (1, 1, 1), (0, 2, 3), (3, 0, 2), (5, 17, 2)]:
        arrays = [rng.normal(size=(b, n, 3)), rng.normal(size=(b, m, 3))]
        close(function(*arrays), np.einsum("bnd,bmd->bnm", *arrays))


@pytest.mark.parametrize(
    ("subscripts", "arrays", "error", "reason"),
    [
        ("ij,jk", [A], gl.GradloomError, "names 2 operands, got 1"),
        ("ij", [A, B], gl.GradloomError, "names 1 operands, got 2"),
        ("i1", [A], gl.GradloomError, "'1' in 'i1' is no label"),
        ("i>j", [A], gl.GradloomError, "'>' in"),
        ("ij->ii", [A], gl.GradloomError, "label i twice"),
        ("ij->k", [A], gl.GradloomError, "label k, which no operand has"),
        ("i", [A], ValueError, "names 1 axes"),
        ("ijk", [A], ValueError, "names 3 axes"),
        ("...i->i", [A], gl.GradloomError, "the output needs ..."),
        ("ij,jk", [A, A], ValueError, "sizes of j differ: 3 against 2"),
        ("ii", [A], ValueError, "sizes of i in one operand differ: 2 against 3"),
        ("ii", [A[:1]], ValueError, "in one operand"),
        ("i....", [A], gl.GradloomError, "is no label"),
        ("ij->", [A > 0], TypeError, "needs a number dtype, got bool"),
        ("ij,ij", [A, A.astype(int)], TypeError, "do not promote"),
    ],
)
def test_errors(subscripts: str, arrays: list[NumpyArray], error: type[Exception], reason: str):
    with pytest.raises(error) as caught:
        gl.einsum(subscripts, *placeholders(arrays))
    assert reason in str(caught.value)
    assert "test_einsum.py" in str(caught.value)


def test_more_errors():
    (x,) = placeholders([A])
    for wrong in [(x, [0, -1]), (x, [0, "j"]), (x, "ij"), (x, [..., ...]), ("ij",), ()]:
        with pytest.raises(gl.GradloomError):
            gl.einsum(*wrong)
    with pytest.raises(gl.GradloomError, match="optimize is"):
        gl.einsum("ij", x, optimize="best")


# --- the order ------------------------------------------------------------------------------------


def products_of(result: gl.Tensor) -> int:
    """Multiplications of the matrix products in a graph."""
    total = 0
    for node in Graph("count", [], [result]).walk():
        if node.op.name == "matmul":
            size: Any = node.results[0].size * node.operands[0].shape[-1]
            total += size
    return total


def test_a_chain_takes_the_cheap_order():
    shapes = [(2, 1000), (1000, 1000), (1000, 3)]
    x, y, z = (gl.zeros(shape) for shape in shapes)
    assert products_of(gl.einsum("ij,jk,kl->il", x, y, z)) == 2 * 1000 * 1000 + 2 * 1000 * 3
    assert products_of(gl.einsum("kl,jk,ij->il", z, y, x)) == 2 * 1000 * 1000 + 2 * 1000 * 3
    from_the_left = gl.einsum("kl,jk,ij->il", z, y, x, optimize=False)
    assert products_of(from_the_left) == 3 * 1000 * 1000 + 2 * 1000 * 3
    path, text = gl.einsum_path("kl,jk,ij->il", z, y, x)
    assert path == [(1, 2), (0, 1)]
    assert "4,012,000 operations" in text


def test_many_operands_are_contracted_greedily():
    letters = string.ascii_letters
    arrays = [generator("many", i).normal(size=(3, 3)) / 2 for i in range(12)]
    subscripts = ",".join(letters[i : i + 2] for i in range(12)) + "->am"
    inputs = placeholders(arrays)
    result = gl.einsum(subscripts, *inputs)
    assert products_of(result) == 11 * 27  # never an outer product
    (got,) = interpret(Graph("chain", inputs, [result]), arrays)
    close(got, np.linalg.multi_dot(arrays))


def test_products_without_needless_nodes():
    x, y = gl.zeros(("B", 3, 4)), gl.zeros(("B", 4, 5))
    names = [
        node.op.name for node in gl.einsum("bij,bjk->bik", x, y).node.operands[0].node.operands[:0]
    ]
    assert names == []
    ops = {node.op.name for node in Graph("batch", [], [gl.einsum("bij,bjk->bik", x, y)]).walk()}
    assert ops == {"matmul", "broadcast_to", "constant"}
    ops = {node.op.name for node in Graph("inner", [], [gl.einsum("ij,ij->i", x[0], x[0])]).walk()}
    assert "matmul" not in ops
    assert {"multiply", "sum"} <= ops


# --- derivatives ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subscripts", ["ij,jk->ik", "bij,bjk,ki->b", "ii,ij->j", "...i,ji->...j", "ij,ij->", "i,i,i->i"]
)
def test_derivatives(subscripts: str):
    sizes = dict(zip("bijk", (2, 3, 4, 2), strict=True)) | {"i": 3}
    terms = subscripts.partition("->")[0].split(",")
    shapes = [[2] * ("." in term) + [sizes[x] for x in term if x != "."] for term in terms]
    rng = generator("derivatives", subscripts)
    arrays = [rng.normal(size=shape) for shape in shapes]
    inputs = placeholders(arrays)
    loss = gl.sum(gl.sin(gl.einsum(subscripts, *inputs)))
    gradients = gl.grad(loss, inputs)
    direction = [gl.constant(rng.normal(size=shape)) for shape in shapes]
    pushed = gl.jvp(loss, inputs, direction)
    found = gl.compile(Graph("derivatives", inputs, [pushed, *gradients]))(*arrays)
    plain = Graph("loss", inputs, [loss])
    for i, slope in enumerate(found[1:]):
        close(slope, slopes_of(plain, arrays, i), 1e-7)
    along = [d.eval() for d in direction]
    close(found[0], sum(np.sum(s * d) for s, d in zip(found[1:], along, strict=True)), 1e-10)


# --- the other contractions -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "axes", [0, 1, 2, ([1, 2], [0, 1]), ([2], [1]), ([-1, 0], [1, 2]), (2, 1), ([], [])]
)
def test_tensordot(axes: Any):
    rng = generator("tensordot")
    arrays = [rng.normal(size=(2, 3, 4)), rng.normal(size=(3, 4, 2))]
    if axes == 1:
        arrays[1] = rng.normal(size=(4, 5))
    inputs = placeholders(arrays)
    graph = Graph("tensordot", inputs, [gl.tensordot(*inputs, axes=axes)])
    wanted = np.tensordot(*arrays, axes=axes)
    close(interpret(graph, arrays)[0], wanted)
    close(gl.compile(graph)(*arrays), wanted)
    assert graph.outputs[0].shape == wanted.shape


def test_vecdot():
    rng = generator("vecdot")
    cases: list[tuple[tuple[int, ...], tuple[int, ...], int]] = [
        ((3,), (3,), -1),
        ((2, 3), (3,), -1),
        ((2, 1, 3), (4, 3), -1),
        ((3, 2), (3, 2), 0),
        ((0,), (0,), -1),
    ]
    for one, other, axis in cases:
        arrays = [rng.normal(size=one), rng.normal(size=other)]
        x, y = inputs = placeholders(arrays)
        (got,) = interpret(Graph("v", inputs, [gl.vecdot(x, y, axis=axis)]), arrays)
        wanted = np.sum(np.moveaxis(arrays[0], axis, -1) * np.moveaxis(arrays[1], axis, -1), -1)
        close(got, wanted)


@pytest.mark.campaign(2)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "uint64", "int64"])
def test_integers_wrap(dtype: str):
    rng = generator("integers", dtype)
    limits = np.iinfo(dtype)
    arrays = [rng.integers(limits.min, limits.max, (3, 3), dtype) for _ in range(2)]
    x, y = inputs = placeholders(arrays)
    outputs = [gl.matmul(x, y), gl.vecdot(x, y), gl.tensordot(x, y, axes=1)]
    graph = Graph("integers", inputs, outputs)
    wanted = [np.matmul(*arrays), np.vecdot(*arrays), np.tensordot(*arrays, axes=1)]
    for results in (interpret(graph, arrays), run(gl.compile(graph), arrays)):
        for got, right in zip(results, wanted, strict=True):
            assert got.dtype == right.dtype
            np.testing.assert_array_equal(got, right)


def test_products_refuse():
    x, y, flags = placeholders([A, B, A > 0])
    cases: list[tuple[Callable[[], gl.Tensor], str]] = [
        (lambda: gl.matmul(flags, flags.T), "bool"),
        (lambda: gl.vecdot(flags, flags), "bool"),
        (lambda: gl.vecdot(x, y), "differ: 3 against 4"),
        (lambda: gl.vecdot(x, x[:, :1]), "the sizes of the axis differ"),
        (lambda: gl.vecdot(x, x, axis=2), "out of range"),
        (lambda: gl.vecdot(x, x[0], axis=0), "count it from the last"),
        (lambda: gl.tensordot(x, y, axes=3), "no 3 axes"),
        (lambda: gl.tensordot(x, y, axes=([0], [0])), "the sizes of axis 0 and axis 0 differ"),
        (lambda: gl.tensordot(x, x, axes=([0, 0], [0, 1])), "each once"),
        (lambda: gl.tensordot(x, y, axes="ij"), "pair"),
        (lambda: gl.matmul(x, gl.constant(1.0)), "at least one axis"),
    ]
    for build, reason in cases:
        with pytest.raises(gl.GradloomError, match=reason):
            build()
