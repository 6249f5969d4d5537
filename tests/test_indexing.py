# pyright: standard
"""``x[...]`` and ``x.at[...]`` against NumPy 2: drawn index expressions, many in one graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl

from .index_expressions import Drawn, NumpyArray, drawn

BATCH = 50  # expressions in one graph


def compare(outputs: list[gl.Tensor], wanted: list[NumpyArray], feeds: Any, about: Any) -> None:
    """By the interpreter and by compiled code."""
    function = gl.function([tensor for tensor, _ in feeds], outputs)
    arrays = [array for _, array in feeds]
    names = [function.graph.names[tensor] for tensor in function.graph.inputs]
    interpreted = gl.evaluate(function.graph, dict(zip(names, arrays, strict=True)))
    for got, other, right, where in zip(function(*arrays), interpreted, wanted, about, strict=True):
        for found in (got, other):
            assert found.dtype == right.dtype, where
            np.testing.assert_array_equal(found, right, err_msg=str(where), strict=True)


def check_reads(seeds: range, named: bool) -> None:
    found, feeds = drawn(seeds, named)
    outputs = [one.x[one.ours] for one in found]
    wanted = [np.asarray(one.array[one.numpy]) for one in found]
    if not named:
        assert [output.shape for output in outputs] == [array.shape for array in wanted]
    compare(outputs, wanted, feeds, [(one.array.shape, one.numpy) for one in found])


def written(one: Drawn, way: str, values: NumpyArray) -> NumpyArray:
    result = one.array.copy()
    match way:
        case "set":
            result[one.numpy] = values
        case "add":
            np.add.at(result, one.numpy, values)
        case "max":
            np.maximum.at(result, one.numpy, values)
        case _:
            np.minimum.at(result, one.numpy, values)
    return result


def check_writes(seeds: range, named: bool) -> None:
    found, feeds = drawn(seeds, named)
    outputs: list[gl.Tensor] = []
    wanted: list[NumpyArray] = []
    about: list[Any] = []
    for one in found:
        way = ("set", "add", "max", "min")[one.rng.integers(4)]
        shape = np.asarray(one.array[one.numpy]).shape
        start = int(one.rng.integers(len(shape) + 1))
        # (a number does not fit a named size, but for 1, which broadcasts)
        shape = tuple(1 if named or one.rng.random() < 0.2 else n for n in shape[start:])
        values = one.rng.normal(size=shape)
        wanted.append(written(one, way, values))
        tensor = gl.placeholder(shape, "float64")
        feeds.append((tensor, values))
        outputs.append(getattr(one.x.at[one.ours], way)(tensor))
        about.append((one.array.shape, one.numpy, way, shape))
    compare(outputs, wanted, feeds, about)


MASK = np.array([True, False, True])
LISTED: list[Any] = [
    (..., MASK, 0),
    (0, ..., MASK[:, None] & np.ones(4, bool)),
    (slice(None), [0], ..., [1]),
    (slice(None), [0, 1], None, [1, 0]),
    (slice(None), 0, [1, 0]),
    (0, slice(None), [1, 0]),
    (True, 0, slice(None), [2]),
    (np.zeros((2, 3, 4), bool),),
    (np.bool(False), ...),
    (np.array(1), np.uint8(2), np.array([[0]], np.int8)),
    ([], slice(5, 0, -2)),
    (),
    None,
]


def test_sizes_as_places():
    """Named sizes as bounds and places, and beside tensors."""
    x, i = gl.placeholder(("N", "M")), gl.placeholder((), "int64")
    n, m = x.shape
    outputs = [x[n - 1, m // 2 :], x[n - 3 :], x[n - i, 0]]
    outputs += [x[: n - 1][-1], x.at[n - 1].set(0.0), gl.arange(n)[::-1] * n - 2 * n + (n - i)]
    function = gl.function([x, i], outputs)
    for shape in ((2, 3), (4, 1), (5, 6)):
        a = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        rows, columns = shape
        zeroed = a.copy()
        zeroed[-1] = 0
        wanted = [a[-1, columns // 2 :], a[max(rows - 3, 0) :], a[rows - 2, 0], a[: rows - 1][-1]]
        wanted += [zeroed, np.arange(rows)[::-1] * rows - 2 * rows + rows - 2]
        for got, right in zip(function(a, 2), wanted, strict=True):
            np.testing.assert_array_equal(got, right)
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = n * 0.5  # pyright: ignore[reportOperatorIssue]


def test_in_loops_and_batches():
    """Writes in the body of a scan, differentiated; and each row of a batch its own write."""
    x, v = gl.placeholder(("T", 3), "float64"), gl.placeholder("T", "float64")
    i = gl.placeholder("T", "int64")

    def step(carry: Any, row: Any) -> Any:
        place, value = row
        new = carry.at[place].add(value).at[0].max(value)
        return new, gl.sort(new)[1]

    last, medians = gl.scan(step, gl.zeros(3, "float64"), (i, v))
    slope = gl.grad(gl.sum(last * last) + gl.sum(medians), v)
    rows = gl.vmap(lambda row, place, value: row.at[place].set(value))(x, i, v)
    tops = gl.vmap(lambda row: gl.top_k(row, 2).values)(x)
    function = gl.function([x, i, v], [last, medians, slope, rows, tops])
    a = np.random.default_rng(0).normal(size=(4, 3))
    places, values = np.array([1, 2, 1, -1]), np.array([0.5, -1.0, 2.0, 3.0])

    def run(values: NumpyArray) -> tuple[NumpyArray, list[float]]:
        carry, found = np.zeros(3), list[float]()
        for place, value in zip(places, values, strict=True):
            carry[place] += value
            carry[0] = max(carry[0], value)
            found.append(float(np.sort(carry)[1]))
        return carry, found

    def total(values: NumpyArray) -> float:
        carry, found = run(values)
        return float(np.sum(carry * carry) + np.sum(found))

    got = function(a, places, values)
    np.testing.assert_allclose(got[0], run(values)[0])
    np.testing.assert_allclose(got[1], run(values)[1])
    steps = 1e-6 * np.eye(4)
    slopes = [(total(values + h) - total(values - h)) / 2e-6 for h in steps]
    np.testing.assert_allclose(got[2], slopes, rtol=1e-6)
    wanted = a.copy()
    wanted[np.arange(4), places] = values
    np.testing.assert_array_equal(got[3], wanted)
    np.testing.assert_array_equal(got[4], -np.sort(-a, 1)[:, :2])


def test_listed():
    array = np.arange(24.0).reshape(2, 3, 4)
    x = gl.placeholder((2, 3, 4), "float64")
    outputs = [x[index] for index in LISTED]
    wanted = [np.asarray(array[index]) for index in LISTED]
    assert [output.shape for output in outputs] == [part.shape for part in wanted]
    compare(outputs, wanted, [(x, array)], LISTED)


@pytest.mark.parametrize("start", range(0, 100, BATCH))
def test_reads(start: int):
    check_reads(range(start, start + BATCH), named=start % 100 == BATCH)


@pytest.mark.parametrize("start", [1000])
def test_writes(start: int):
    check_writes(range(start, start + BATCH), named=False)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(2000, 3400, BATCH))
def test_many_reads(start: int):
    check_reads(range(start, start + BATCH), named=start % 100 == BATCH)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(4000, 4500, BATCH))
def test_many_writes(start: int):
    check_writes(range(start, start + BATCH), named=start % 100 == BATCH)


@pytest.mark.parametrize("index", [slice(1, 3), 1, np.array([1, 0, 1])], ids=str)
def test_of_bools_the_larger_is_either_and_the_smaller_both(index: Any):
    x, v = gl.placeholder(4, "bool", "x"), gl.placeholder(np.zeros(4)[index].shape, "bool", "v")
    feeds = [(x, np.array([0, 1, 0, 1]) == 1), (v, np.resize([True, False], v.shape))]
    wanted = [feeds[0][1].copy() for _ in range(2)]
    np.maximum.at(wanted[0], index, feeds[1][1])
    np.minimum.at(wanted[1], index, feeds[1][1])
    compare([x.at[index].max(v), x.at[index].min(v)], wanted, feeds, ["max", "min"])


# --- derivatives ----------------------------------------------------------------------------------

X, V = gl.placeholder((4, 3), "float64"), gl.placeholder((2, 3), "float64")
I = gl.placeholder(2, "int64")  # noqa: E741
ROWS = np.array([[3, 3], [0, 2], [-1, 3]])
DERIVATIVES: list[Callable[[], gl.Tensor]] = [
    lambda: X[I, 1:] * V[:, :2],
    lambda: X[::-2, None, [0, 0, 2]] ** 2,
    lambda: X[np.arange(12).reshape(4, 3) % 2 == 0],
    lambda: X.at[I].set(V * V),
    lambda: X.at[I].add(V),
    lambda: X.at[I].max(V),
    lambda: X.at[I].min(V),
    lambda: X.at[I, ::2].set(V[:, 1:] ** 3),
    lambda: X.at[1:3].set(V * X[2]),
    lambda: X.at[::-2, 1].max(V[:, 0]),
    lambda: X.at[..., 0].add(V[0, 0]),
    lambda: gl.put_along_axis(X, gl.constant([[1], [0], [1], [2]]), X[:, :1] * V[0, 1], 1),
    lambda: gl.dynamic_slice(X, I, (2, 2)) * V[:, 1:],
    lambda: gl.dynamic_update_slice(X, V[:, :2] ** 2, I),
    lambda: gl.take(X * X, I, axis=0),
    lambda: gl.take_along_axis(X, gl.constant([[0, 0], [1, 2], [2, 2], [1, 1]]), 1),
]


@pytest.mark.campaign(3)
@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_derivatives(rows: NumpyArray):
    """Both modes, compiled, against central differences; and the gradient of the gradient."""
    rng = np.random.default_rng(4)
    x, v = rng.normal(size=(4, 3)), rng.normal(size=(2, 3))
    dx, dv = rng.normal(size=(4, 3)), rng.normal(size=(2, 3))
    tx, tv = gl.constant(dx), gl.constant(dv)
    totals: list[gl.Tensor] = []
    outputs: list[gl.Tensor] = []
    for make in DERIVATIVES:
        value = make()
        total = gl.sum(value * gl.constant(rng.normal(size=value.shape)))
        gx, gv = (
            gl.grad(total * total, [X, V])
            if "V" in make.__code__.co_names
            else (
                gl.grad(total * total, X),
                gl.zeros((2, 3), "float64"),
            )
        )
        backward = gl.sum(gx * tx) + gl.sum(gv * tv)
        totals += [total * total, backward]
        outputs += [
            backward,
            gl.jvp(total * total, [X, V], [tx, tv]),
            gl.jvp(backward, [X, V], [tx, tv]),
        ]
    run = gl.function([X, V, I], outputs)
    found = np.array(run(x, v, rows)).reshape(-1, 3)
    values = gl.function([X, V, I], totals)
    h = 1e-5
    ahead, back = (np.array(values(x + s * dx, v + s * dv, rows)) for s in (h, -h))
    slopes = ((ahead - back) / (2 * h)).reshape(-1, 2)
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-12)
    np.testing.assert_allclose(found[:, 1:], slopes, rtol=1e-6, atol=1e-6)


def test_of_equal_ones_the_last_set_and_the_first_largest_has_the_derivative():
    x, v = gl.placeholder(2, "float64"), gl.placeholder(3, "float64")
    place = np.array([1, 1, 1])
    outputs: list[gl.Tensor] = []
    for way in ("set", "max", "add"):
        total = gl.sum(getattr(x.at[place], way)(v))
        outputs += gl.grad(total, [x, v])
    found = gl.function([x, v], outputs)(np.zeros(2), np.array([3.0, 3.0, 3.0]))
    wanted = [[1, 0], [0, 0, 1], [1, 0], [1, 0, 0], [1, 1], [1, 1, 1]]
    for got, right in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, right)


def test_writes_are_the_same_with_any_number_of_threads():
    """Many updates for few places: floats whose sum depends on the order."""
    rng = np.random.default_rng(8)
    x, v = gl.placeholder((5, 40)), gl.placeholder((900, 40))
    place = gl.placeholder(900, "int64")
    outputs = [getattr(x.at[place], way)(v) for way in ("set", "add", "max")]
    outputs += [gl.grad(gl.sum(output * output), v) for output in outputs]
    arrays = [rng.normal(size=(5, 40)), 1e4 * rng.normal(size=(900, 40))]
    given = [*(a.astype(np.float32) for a in arrays), rng.integers(0, 5, 900)]
    results = [gl.function([x, v, place], outputs, threads=n)(*given) for n in (1, 2, 2)]
    expected = given[0].copy()
    expected[given[2]] = given[1]
    np.testing.assert_array_equal(results[0][0], expected)
    for other in results[1:]:
        for got, first in zip(other, results[0], strict=True):
            assert got.tobytes() == first.tobytes()


# --- places that are data, and what does not fit ------------------------------------------------


def test_dynamic_slices_stay_inside():
    x, update = gl.placeholder(("N", 5), "int32"), gl.placeholder((2, 3), "int32")
    start = gl.placeholder(2, "int64")
    outputs = [gl.dynamic_slice(x, start, (2, 3)), gl.dynamic_update_slice(x, update, start)]
    outputs += [gl.dynamic_slice(x, [start[0], 1], (1, 4)), gl.dynamic_slice(x, (0, 0), x.shape)]
    function = gl.function([x, update, start], outputs)
    new = -np.arange(6, dtype=np.int32).reshape(2, 3)
    for size in (2, 3, 7):
        array = np.arange(size * 5, dtype=np.int32).reshape(size, 5)
        for places in ([0, 0], [1, 2], [-4, 100], [6, 1]):
            i, j = min(max(places[0], 0), size - 2), min(max(places[1], 0), 2)
            updated = array.copy()
            updated[i : i + 2, j : j + 3] = new
            row = min(max(places[0], 0), size - 1)
            wanted = [array[i : i + 2, j : j + 3], updated, array[row : row + 1, 1:], array]
            by_interpreter = gl.evaluate(
                function.graph, dict(zip(names(function), (array, new, places), strict=True))
            )
            for got, other, right in zip(
                function(array, new, places), by_interpreter, wanted, strict=True
            ):
                np.testing.assert_array_equal(got, right, strict=True)
                np.testing.assert_array_equal(other, right, strict=True)


def names(function: gl.Function) -> list[str]:
    return [function.graph.names[tensor] for tensor in function.graph.inputs]


B = gl.placeholder((3, 4))
N = gl.placeholder(("N", 4))
M = gl.placeholder(3, "bool")


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: B[3], IndexError, "getitem: index 3 is out of range for axis 0 of f32[3,4]"),
        (lambda: B[:, [0, -5]], IndexError, "index -5 is out of range for axis 1 of f32[3,4]"),
        (lambda: gl.take(B, [7], 0), IndexError, "take: index 7 is out of range for axis 0"),
        (lambda: B[0, 0, 0], IndexError, "3 indices for f32[3,4]"),
        (lambda: B[..., 0, ...], ValueError, "one ellipsis"),
        (lambda: B[1.0], TypeError, "an index must be an integer, got an array of float64"),
        (lambda: B[gl.ones(2)], TypeError, "an index must be an integer, got f32[2]"),
        (lambda: B[[0, 1], [0, 1, 2]], ValueError, "sizes of axis 0 differ: 2 against 3"),
        (
            lambda: B[[True, False]],
            ValueError,
            "sizes of the mask and of axis 0 differ: 2 against 3",
        ),
        (lambda: N[[True, False]], ValueError, "differ: 2 against N"),
        (lambda: B[np.ones((3, 4, 1), bool)], IndexError, "3 indices for f32[3,4]"),
        (lambda: B[M], ValueError, "use where(mask, x, 0), or nonzero(mask, size=...)"),
        (lambda: B[:: gl.sum(M)], ValueError, "step is an integer"),
        (lambda: B[gl.placeholder((), "int64") :], ValueError, "use dynamic_slice"),
        (lambda: B["a"], TypeError, "an index must be an integer"),
        (lambda: B[object()], ValueError, "is no index"),
        (lambda: B[[[0, 1], [0]]], ValueError, "is no index"),
        (lambda: B.at[5].set(0), IndexError, "x.at[...].set: index 5 is out of range"),
        (lambda: B.at[0].add(gl.ones(3)), ValueError, "sizes differ: 3 against 4"),
        (lambda: B.at[0].set(gl.ones((2, 4))), ValueError, "2 axes do not broadcast to 1"),
        (
            lambda: B.at[0].max(gl.ones(4, "float64")),
            TypeError,
            "f64[4] does not fit into f32[3,4]",
        ),
        (lambda: gl.ones(3, "int32").at[0].set(1.5), TypeError, "1.5 does not fit i32"),
        (lambda: gl.put_along_axis(B, [0], 1.0, 0), ValueError, "has not as many axes"),
        (lambda: gl.take_along_axis(B, [0], 0), ValueError, "has not as many axes"),
        (lambda: gl.dynamic_slice(B, [0], (1, 1)), ValueError, "got 1 and 2"),
        (
            lambda: gl.dynamic_slice(B, [0, 0], (4, 1)),
            ValueError,
            "4 entries do not fit into axis 0",
        ),
        (lambda: gl.dynamic_slice(B, [0, 0], (-1, 1)), ValueError, "must not be negative"),
        (lambda: gl.dynamic_slice(B, [0, 0.5], (1, 1)), TypeError, "start 1 must be one integer"),
        (lambda: gl.dynamic_update_slice(B, gl.ones(2), [0, 0]), ValueError, "as many axes"),
        (lambda: gl.dynamic_update_slice(B, gl.ones((4, 1)), [0, 0]), ValueError, "do not fit"),
    ],
)
def test_errors_where_built(make: Callable[[], Any], kind: type[Exception], message: str):
    with pytest.raises(kind) as caught:
        make()
    assert isinstance(caught.value, gl.GradloomError)
    assert message in str(caught.value)
    assert "at test_indexing.py:" in str(caught.value)


@pytest.mark.parametrize("size", [4, "N"])
def test_errors_of_the_call(size: Any):
    """Places that only the call knows: the error names the line that indexes."""
    x, i = gl.placeholder((size, 3), "float64"), gl.placeholder(2, "int64")
    lines = {
        "x[i, 1]": x[i, 1],
        "x.at[i].add(1.0)": x.at[i].add(1.0),
        "gl.take(x, i, 0)": gl.take(x, i, 0),
    }
    for line, output in lines.items():
        function = gl.function([x, i], output)

        def interpreted(*arrays: Any, function: gl.Function = function) -> Any:
            return gl.evaluate(function.graph, dict(zip(names(function), arrays, strict=True)))

        for call in (function, interpreted):
            for bad in (4, -5):
                with pytest.raises(IndexError) as caught:
                    call(np.ones((4, 3)), [0, bad])
                assert str(caught.value).startswith(f"index {bad} is out of range for size")
                assert line in str(caught.value)
        good = (np.ones((4, 3)), [0, -4])
        np.testing.assert_array_equal(function(*good), interpreted(*good))


@pytest.mark.parametrize("size", [300, "N"])
def test_counting_in_a_dtype_that_wraps(size: Any):
    """Only a dtype that holds all positions of an axis counts along all of it."""
    x = gl.placeholder((size,))
    counting = gl.arange(size)
    outputs = [x[gl.astype(counting, dtype)] for dtype in ("uint8", "int8", "int16", "uint64")]
    results = gl.function([x], outputs)(np.arange(300, dtype=np.float32))
    for dtype, found in zip(("uint8", "int8", "int16", "uint64"), results, strict=True):
        wanted = np.arange(300).astype(dtype).astype(np.int64) % 300
        np.testing.assert_array_equal(found, wanted, dtype)
