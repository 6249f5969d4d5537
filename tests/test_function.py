# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""What a compiled function does with its arguments, results and parameters."""

from __future__ import annotations

import copy
import mmap
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradloom as gl

F32 = np.float32
Array = np.ndarray[Any, Any]

X = gl.placeholder(("B", "N"), name="x")
V = gl.placeholder(("N",), name="v")
S = gl.placeholder((), name="s")
AFFINE = gl.function([X, V], {"sum": gl.sum(X * V, axis=1), "tanh": gl.tanh(X), "t": X.T})
IDENTITY = gl.function([X], X)
SCALAR = gl.function([S], S * 2)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# --- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 2, 37])
@pytest.mark.parametrize("columns", [0, 1, 3, 130])
def test_sizes_zero_and_one(rows: int, columns: int) -> None:
    x, v = rng().random((rows, columns), F32), rng().random(columns, F32)
    found = AFFINE(x, v)
    np.testing.assert_allclose(found["sum"], (x * v).sum(1), rtol=1e-5)
    np.testing.assert_allclose(found["tanh"], np.tanh(x), rtol=1e-6)
    np.testing.assert_array_equal(found["t"], x.T)
    assert found["t"].shape == (columns, rows) and found["t"].flags.c_contiguous


EMPTY = gl.function(
    [X, V],
    {
        "product": X @ V,
        "outer": V[:, None] @ V[None, :],
        "max": gl.max(X, axis=1),
        "mean": gl.mean(X, axis=1),
        "argmin": gl.argmin(gl.exp(X) + 1, axis=0),
        "softmax": gl.softmax(X, axis=1),
        "log_softmax": gl.log_softmax(X, axis=0),
        "reversed": X[::-1, ::-1],
        "grad": gl.grad(gl.sum(gl.logsumexp(X * V, axis=1)), V),
        "any": gl.any(X > 0, axis=1),
        "all": gl.all(X > 0, axis=1),
    },
)


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("columns", [0, 1, 33])
def test_compiled_equals_reference_at_sizes_zero_and_one(rows: int, columns: int) -> None:
    x, v = rng().random((rows, columns), F32) - F32(0.5), rng().random(columns, F32)
    found = EMPTY(x, v)
    expected = gl.evaluate(EMPTY.graph, {"x": x, "v": v})
    for (name, value), reference in zip(found.items(), expected, strict=True):
        assert value.shape == reference.shape and value.dtype == reference.dtype, name
        np.testing.assert_allclose(value, reference, rtol=2e-6, atol=1e-6, err_msg=name)


SPECIAL = [np.nan, np.inf, -np.inf, 1e4, -1e4, 0.0, -0.0, 1e-45, 3.4e38, 1.0]


def test_special_values_pass_through_and_compute_as_in_numpy() -> None:
    x = np.array([SPECIAL], F32)
    found = IDENTITY(x)
    np.testing.assert_array_equal(found.view(np.uint32), x.view(np.uint32))
    for rows in (x, x.T):
        result = gl.function([X], [X + 1, X * X, gl.maximum(X, 0.0), X < 1, gl.exp(-X * X)])(rows)
        with np.errstate(all="ignore"):
            expected = [rows + 1, rows * rows, np.maximum(rows, 0), rows < 1, np.exp(-rows * rows)]
        for a, b in zip(result, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def _unaligned(array: Array) -> Array:
    raw = b"\0" + array.tobytes()
    return np.frombuffer(raw, array.dtype, offset=1).reshape(array.shape)


def _negative(array: Array) -> Array:
    return np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]


def _strided(array: Array) -> Array:
    wide = np.full((array.shape[0] * 2, array.shape[1] * 3), np.nan, array.dtype)
    wide[::2, 1::3] = array
    return wide[::2, 1::3]


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _mapped(array: Array) -> Array:
    memory = mmap.mmap(-1, array.nbytes + 1)
    mapped: Array = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
    mapped[...] = array
    return mapped


LAYOUTS: dict[str, Any] = {
    "plain": lambda a: a,
    "fortran": np.asfortranarray,
    "negative strides": _negative,
    "strided": _strided,
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "read-only": _read_only,
    "unaligned": _unaligned,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "mapped": _mapped,
    "list": lambda a: a.tolist(),
    "tuple of arrays": tuple,
    "subclass": lambda a: a.view(np.recarray),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str) -> None:
    x, v = rng().random((19, 35), F32), rng().random(35, F32)
    given = LAYOUTS[layout](x)
    before = np.array(given, F32)
    found = AFFINE(given, v)
    np.testing.assert_array_equal(np.array(given, F32), before, err_msg="the argument is read only")
    for name, value in AFFINE(np.ascontiguousarray(before), v).items():
        np.testing.assert_array_equal(found[name], value)
        assert type(found[name]) is np.ndarray and found[name].dtype == F32
        assert found[name].dtype.isnative and found[name].flags.writeable


def test_a_file_mapped_array(tmp_path: Path) -> None:
    x = rng().random((9, 5), F32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(IDENTITY(mapped), x)


def test_scalars() -> None:
    for value in (1.5, np.float32(1.5), np.array(1.5, F32), np.array(1.5, ">f4")):
        found = SCALAR(value)
        assert found == 3 and type(found) is np.ndarray
        assert found.shape == () and found.dtype == F32
    assert SCALAR(2) == 4 and SCALAR(True) == 2
    for value in (np.float64(1.5), np.array(1.5), np.int64(1)):  # arrays are strong, as in NumPy
        with pytest.raises(TypeError, match=r"for s: f32\[\]"):
            SCALAR(value)


def test_python_numbers_for_every_dtype() -> None:
    for dtype in ("int8", "int32", "uint64", "float32", "float64", "bool"):
        n = gl.placeholder((2,), dtype, name="n")
        value = [True, False] if dtype == "bool" else [1, 0]
        found = gl.function([n], n)(value)
        assert found.dtype == dtype and list(found) == value
    n = gl.placeholder((2,), "int64", name="n")
    with pytest.raises(TypeError):
        gl.function([n], n)([1.0, 2.0])


def test_arguments_by_name_in_any_order() -> None:
    subtract = gl.function([V, S], V - S)
    for found in (subtract([1, 2], 1), subtract(s=1, v=[1, 2]), subtract([1, 2], s=1)):
        np.testing.assert_array_equal(found, [0, 1])


def test_two_inputs_may_be_the_same_array() -> None:
    a, b = gl.placeholder((4,), name="a"), gl.placeholder((4,), name="b")
    x = np.arange(4, dtype=F32)
    np.testing.assert_array_equal(gl.function([a, b], a + b)(x, x), 2 * x)
    base = np.arange(5, dtype=F32)
    np.testing.assert_array_equal(gl.function([a, b], a - b)(base[1:], base[:-1]), np.ones(4))


# --- results ------------------------------------------------------------------------------------


class Pair(NamedTuple):
    first: Any
    second: Any


def test_structures_of_outputs() -> None:
    double = V * 2
    v = np.ones(3, F32)

    def run(outputs: Any) -> Any:
        return gl.function([V], outputs)(v)

    assert run(None) is None
    assert run([]) == [] and run(()) == () and run({}) == {}
    assert isinstance(run(double), np.ndarray)
    assert [type(r) for r in run([double])] == [np.ndarray]
    assert isinstance(run((double, V)), tuple)
    nested = run({"a": [double, (V, {"b": V + 1})], "c": None, 3: Pair(V, double)})
    assert list(nested) == ["a", "c", 3] and nested["c"] is None
    np.testing.assert_array_equal(nested["a"][1][1]["b"], [2, 2, 2])
    assert isinstance(nested[3], Pair)
    np.testing.assert_array_equal(nested[3].second, [2, 2, 2])
    numbers = run([1.5, 2, np.arange(3), True])
    assert [str(n.dtype) for n in numbers] == ["float32", "int64", "int64", "bool"]


def test_no_inputs_and_constants_only() -> None:
    assert gl.function([], gl.constant(3.0))() == 3
    np.testing.assert_array_equal(gl.function([], gl.ones((2, 0)))(), np.ones((2, 0)))
    big = rng().random((100, 70))
    np.testing.assert_array_equal(gl.function([], gl.constant(big))(), big)
    np.testing.assert_array_equal(gl.function([], gl.arange(5)[::-2])(), [4, 2, 0])
    assert gl.function([], None)() is None
    assert gl.function([V], gl.constant(1))([1.0]) == 1
    assert gl.function([V], gl.dimension("N"))([1.0, 2.0]) == 2


W = gl.parameter(np.arange(12, dtype=F32).reshape(3, 4), name="w")
CONSTANT = np.arange(40, dtype=F32)
ALIASES = {
    "input": X,
    "input twice": X * 1,
    "permuted input": X.T,
    "slice of input": X[::-1, :1],
    "reshaped input": gl.reshape(X, (-1,)),
    "parameter": W,
    "permuted parameter": W.T,
    "reshaped parameter": gl.reshape(W, (12,)),
    "constant": gl.constant(CONSTANT),
    "small constant": gl.constant([1.0, 2.0]),
    "broadcast": gl.broadcast_to(S, (3, 3)),
    "computed": gl.tanh(X),
    "view of computed": gl.tanh(X).T[:, ::-1],
    "same again": gl.tanh(X),
}


def test_results_share_no_memory_with_anything() -> None:
    run = gl.function([X, S], {**ALIASES, "list": list(ALIASES.values())})
    x, s = rng().random((5, 4), F32), np.array(2, F32)
    first = run(x, s)
    flat = [*(first[name] for name in ALIASES), *first["list"]]
    kept = [value.copy() for value in flat]
    for i, one in enumerate(flat):
        assert not np.shares_memory(one, x) and not np.shares_memory(one, s)
        assert not np.shares_memory(one, CONSTANT)
        for other in flat[:i]:
            assert not np.shares_memory(one, other)
    again = run(x, s)
    for one in flat:
        one[...] = -7
    third = run(x, s)
    for result in (again, third):
        values = [*(result[n] for n in ALIASES), *result["list"]]
        for value, saved in zip(values, kept, strict=True):
            np.testing.assert_array_equal(value, saved)
    x[...] = 0
    np.testing.assert_array_equal(again["input"], kept[0])
    np.testing.assert_array_equal(W.value, np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(CONSTANT, np.arange(40))


def test_a_returned_parameter_is_the_value_before_its_update() -> None:
    w = gl.parameter(np.zeros(5, F32), name="w")
    step = gl.function([], [w, w + 1, gl.reshape(w, (1, 5))], updates={w: w + 1})
    for count in range(3):
        old, new, view = step()
        np.testing.assert_array_equal(old, np.full(5, count))
        np.testing.assert_array_equal(new, np.full(5, count + 1))
        np.testing.assert_array_equal(view, np.full((1, 5), count))
        old[...] = new[...] = 99
    np.testing.assert_array_equal(w.value, np.full(5, 3))


def test_data_given_to_constants_and_parameters_is_copied() -> None:
    data = np.ones(30, F32)
    w, c = gl.parameter(data, name="w"), gl.constant(data)
    both = gl.function([], w + c)
    data[...] = 5
    np.testing.assert_array_equal(both(), np.full(30, 2))
    value = w.value
    value[...] = 9
    np.testing.assert_array_equal(w.value, np.ones(30))
    new = np.full(30, 3, F32)
    w.value = new
    new[...] = 8
    np.testing.assert_array_equal(both(), np.full(30, 4))
    value = w.value
    both()
    w.value = new
    np.testing.assert_array_equal(value, np.full(30, 3))


# --- what tensors of NumPy and Python mean --------------------------------------------------------


def test_numpy_functions_build_graph() -> None:
    x = rng().random((3, 4), F32)

    def apply(v: Any) -> list[Any]:
        return [
            np.exp(v),
            np.sum(v),
            np.sum(v, axis=1, keepdims=True),
            np.max(v, axis=0),
            np.where(v > 0.5, v, F32(0)),
            np.float32(2) * v,
            np.ones((1,), F32) + v,
            np.multiply(2.0, v),
            np.maximum(v, 0.5),
            np.transpose(v),
            np.linalg.solve(v[:3, :3], v),
        ]

    found, expected = gl.function([X], apply(X))(x), apply(x)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        ("float32", 2.5, "float32"),
        ("float32", 2, "float32"),
        ("float64", 2.5, "float64"),
        ("int8", 2, "int8"),
        ("uint8", True, "uint8"),
        ("float32", np.float64(2), "float64"),
        ("float32", np.float32(2), "float32"),
        ("int8", np.int64(2), "int64"),
        ("float32", "float64", "float64"),
        ("int32", "int64", "int64"),
        ("uint8", "int8", "int16"),
        ("uint32", "int64", "int64"),
        ("int64", 2.5, None),
        ("int64", "float32", None),
        ("bool", "int64", None),
        ("uint64", "int64", None),
        ("float32", np.int64(2), None),
    ],
)
def test_promotion_is_the_standards(left: str, right: Any, result: str | None) -> None:
    a = gl.placeholder((2,), left, name="a")
    b = gl.placeholder((2,), right, name="b") if isinstance(right, str) else right
    for make in (lambda: a + b, lambda: b + a, lambda: gl.maximum(a, b)):
        if result is None:
            with pytest.raises(TypeError):
                make()
        else:
            assert make().dtype.name == result


def test_division_power_and_comparison_dtypes() -> None:
    i = gl.placeholder((2,), "int64", name="i")
    assert (V / 2).dtype.name == "float32" and (2**V).dtype.name == "float32"
    assert (i // 2).dtype.name == "int64" and (i % 2 == 0).dtype.name == "bool"
    assert gl.sum(gl.placeholder((2,), "int8")).dtype.name == "int64"
    assert gl.sum(gl.placeholder((2,), "bool")).dtype.name == "int64"
    assert gl.sum(V).dtype.name == "float32" and gl.argmax(V).dtype.name == "int64"


def test_eval_for_a_quick_look() -> None:
    x = rng().random((2, 3), F32)
    np.testing.assert_allclose(gl.exp(X).eval({"x": x}), np.exp(x), rtol=1e-6)
    np.testing.assert_allclose(gl.exp(X).eval({X: x}), np.exp(x), rtol=1e-6)
    np.testing.assert_array_equal((W + 1).eval(), W.value + 1)
    np.testing.assert_array_equal((W + 1).eval({W: np.zeros((3, 4))}), np.ones((3, 4)))
    assert gl.constant(3).eval() == 3
    np.testing.assert_allclose(gl.grad(gl.sum(X * X), X).eval({"x": x}), 2 * x, rtol=1e-6)


def test_tensors_and_functions_are_neither_copied_nor_pickled() -> None:
    for value in (V, gl.exp(V), W, AFFINE):
        for work in (copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=r"send str\(graph\), and parse it again"):
                work(value)
    assert {V: 1}[V] == 1


def test_repr_says_what_is_called_how() -> None:
    assert repr(AFFINE) == "<function @function(x: f32[B,N], v: f32[N])>"
    assert repr(W) == "<parameter w: f32[3,4]>" and repr(gl.exp(V)) == "<exp: f32[N]>"


def test_numpys_functions_of_tensors() -> None:
    """Arguments go by their names in NumPy, or by place in front of those."""
    x = gl.placeholder((3, 4), "int32", name="x")
    values = np.arange(12, dtype=np.int32).reshape(3, 4)[::-1] % 7
    calls: list[Any] = [
        lambda a: np.sum(a, 0, "int64"),
        lambda a: np.clip(a, 1, 3),
        lambda a: np.sort(a, 0),
        lambda a: np.transpose(a),
        lambda a: np.where(a > 3, a, 0),
        lambda a: np.concatenate([a, a], 1),
        lambda a: np.einsum("ij,kj->ik", a, a),
        lambda a: np.outer(a[0], a[1]),
        lambda a: np.stack((a, a), axis=-1),
        lambda a: np.linalg.matrix_transpose(a),
    ]
    found = gl.function([x], [call(x) for call in calls])(values)
    for got, call in zip(found, calls, strict=True):
        np.testing.assert_array_equal(got, call(values))


def test_methods_are_the_functions() -> None:
    x = gl.placeholder((3, 4), "float64", name="x")
    values = np.random.default_rng(0).normal(size=(3, 4))
    names = ("sum", "mean", "max", "min", "prod", "var", "std", "any", "all", "argmax", "argmin")
    made = [getattr(x, name)(axis=1, keepdims=True) for name in names]
    found = gl.function([x], [*made, x.clip(-0.5), x.clip(max=0.1)])(values)
    wanted = [getattr(values, name)(axis=1, keepdims=True) for name in names]
    wanted += [values.clip(-0.5), values.clip(max=0.1)]
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want)


def test_large_results_start_with_a_page() -> None:
    """NumPy's start 16 bytes into one: loads then match no store but that to their own address."""
    x = gl.placeholder(("N",), name="x")
    plus = gl.function([x], x + 1)
    for size in (1 << 17, (1 << 16) + 3):
        given = np.zeros(size, np.float32)
        results = [plus(given) for _ in range(3)]
        assert [result.ctypes.data % 4096 for result in results] == [0, 0, 0]
        assert all(np.all(result == 1) for result in results)
