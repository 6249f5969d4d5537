# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""cond and switch: values, structures, what is captured, derivatives, batches and errors; each by
the interpreter and compiled, against NumPy, `where`, or the branch built alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import ArgumentError, CheckError, DTypeError, GradloomError, ShapeError
from gradloom.ir.graph import Graph
from gradloom.ir.tensor import Node, Tensor

NumpyArray = np.ndarray[Any, Any]


def values(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], *arrays: Any, rtol: float = 1e-12
) -> list[NumpyArray]:
    """What the compiled graph gives, after a comparison with the interpreter."""
    feeds = dict(zip(inputs, arrays, strict=True))
    found = gl.function(inputs, list(outputs))(*arrays)
    for output, value in zip(outputs, found, strict=True):
        np.testing.assert_allclose(value, output.eval(feeds), rtol, 1e-13)
    return found


def value(inputs: Sequence[Tensor], output: Tensor, *arrays: Any) -> NumpyArray:
    return values(inputs, [output], *arrays)[0]


def draw(*shape: int, seed: int = 0) -> NumpyArray:
    return np.random.default_rng(seed).normal(size=shape)


def switches(*outputs: Tensor) -> list[Node]:
    return [node for node in Graph("g", (), outputs).walk() if node.op.name == "switch"]


# --- values -------------------------------------------------------------------------------------


@pytest.mark.campaign(2)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (3, 4), ("B", 2)])
def test_one_of_two(shape: tuple[Any, ...]) -> None:
    x = gl.placeholder(shape, "float64", "x")
    p = gl.placeholder((), "bool", "p")
    y = gl.cond(p, lambda: gl.sin(x) * 2.0, lambda: gl.exp(x))
    array = draw(*(3 if size == "B" else size for size in shape))
    np.testing.assert_allclose(value([p, x], y, True, array), np.sin(array) * 2, 1e-14)
    np.testing.assert_allclose(value([p, x], y, False, array), np.exp(array), 1e-14)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint64"])
def test_a_switch_clamps_its_index(dtype: str) -> None:
    x = gl.placeholder((2,), "float64", "x")
    i = gl.placeholder((), dtype, "i")
    y = gl.switch(i, [lambda a, k=k: a + k for k in range(3)], x)
    run = gl.function([i, x], y)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    for index in (low, -1, 0, 1, 2, 3, high):
        if low <= index <= high:
            number = np.array(index, dtype)
            expected = np.array([5.0, 7.0]) + min(max(index, 0), 2)
            np.testing.assert_array_equal(run(number, [5.0, 7.0]), expected)
            np.testing.assert_array_equal(y.eval({i: number, x: [5.0, 7.0]}), expected)


class Pair(NamedTuple):
    left: Any
    right: Any


def test_structures() -> None:
    x = gl.placeholder((2,), "float64", "x")
    p = gl.placeholder((), "bool", "p")
    y = gl.cond(
        p,
        lambda: {"a": (x, 1.0), "b": Pair(x > 0, None)},
        lambda: {"b": Pair(x < 0, None), "a": (x * 2.0, 2.0)},
    )
    assert isinstance(y["b"], Pair) and y["b"].right is None and isinstance(y["a"], tuple)
    assert y["a"][1].type == ("float32", ()) or str(y["a"][1].type) == "f32[]"
    a, number, flags = values([p, x], [y["a"][0], y["a"][1], y["b"].left], False, [1.0, -1.0])
    np.testing.assert_array_equal(a, [2, -2])
    assert number == 2
    np.testing.assert_array_equal(flags, [False, True])
    assert gl.cond(p, lambda: None, lambda: None) is None
    assert gl.cond(p, lambda: (), lambda: ()) == ()


def test_what_python_knows_is_chosen_at_once() -> None:
    x = gl.placeholder((2,), name="x")

    def never(_: Any) -> Any:
        raise AssertionError("called")

    assert gl.cond(True, lambda a: a, never, x) is x
    assert gl.cond(np.bool_(False), never, lambda a: a, x) is x
    assert gl.switch(-3, [lambda a: a, never], x) is x
    assert gl.switch(np.int64(9), [never, lambda a: a], x) is x


def test_a_branch_may_give_what_it_was_given() -> None:
    x = gl.placeholder((2, 3), "float64", "x")
    z = gl.placeholder((3, 2), "float64", "z")
    p = gl.placeholder((), "bool", "p")
    y = gl.cond(p, lambda: (x.T, x.T, z), lambda: (z, x.T + 1.0, z))
    a, b = draw(2, 3), draw(3, 2, seed=1)
    for expected, found in zip((a.T, a.T, b), values([p, x, z], y, True, a, b), strict=True):
        np.testing.assert_array_equal(found, expected)
    for expected, found in zip((b, a.T + 1, b), values([p, x, z], y, False, a, b), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_what_is_built_in_a_branch_is_computed_there() -> None:
    x = gl.placeholder((3,), "float64", "x")
    p = gl.placeholder((), "bool", "p")
    outside = gl.exp(x)
    y = gl.cond(p, lambda: gl.sin(x) * outside + gl.sum(gl.arange(4.0)), lambda: outside)
    (node,) = switches(y)
    inside = [[inner.op.name for inner in branch.nodes] for branch in node.regions]
    assert inside[0] == []
    assert {"sin", "iota", "sum"} <= set(inside[1]) and "exp" not in inside[1]
    assert [operand.node.op.name for operand in node.group(1)] == ["input", "exp"]


def test_what_leaks_from_one_branch_to_the_other_is_computed_in_both() -> None:
    x = gl.placeholder((3,), "float64", "x")
    p = gl.placeholder((), "bool", "p")
    kept: list[Tensor] = []

    def then() -> Tensor:
        kept.append(gl.sin(x))
        return kept[0]

    y = gl.cond(p, then, lambda: kept[0] * 2.0)
    array = draw(3)
    np.testing.assert_allclose(value([p, x], y, False, array), 2 * np.sin(array))
    np.testing.assert_allclose(value([p, x], y, True, array), np.sin(array))


def test_halves_and_integers() -> None:
    for dtype in ("float16", "bfloat16", "int8", "bool"):
        x = gl.placeholder((4,), dtype, "x")
        p = gl.placeholder((), "bool", "p")
        y = gl.cond(p, lambda x=x: ~x if x.dtype.kind == "b" else x + x, lambda x=x: x)
        array = np.array([0, 1, 1, 0], dtype=x.dtype.numpy)
        run = gl.function([p, x], y)
        other = ~array if dtype == "bool" else array + array
        np.testing.assert_array_equal(run(True, array), other)
        np.testing.assert_array_equal(run(False, array), array)


# --- derivatives --------------------------------------------------------------------------------


def smooth(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Two formulas of which each lacks something of the other."""
    return gl.sum(gl.sin(x * w)) * x, gl.exp(x) * gl.sum(x)


@pytest.mark.parametrize("taken", [True, False])
def test_derivatives_are_those_of_the_branch_taken(taken: bool) -> None:
    x, w = (gl.placeholder((3,), "float64", name) for name in "xw")
    v, p = gl.placeholder((3,), "float64", "v"), gl.placeholder((), "bool", "p")
    y = gl.cond(p, lambda: smooth(x, w)[0], lambda: smooth(x, w)[1])
    alone = smooth(x, w)[0 if taken else 1] + 0.0 * w

    def asked(y: Tensor) -> list[Tensor]:
        loss = gl.sum(y * y)
        return [
            *gl.grad(loss, [x, w]),
            gl.jvp(y, [x, w], [v, 2.0 * v]),
            gl.hvp(loss, x, v),
            gl.hessian(loss, x),
            gl.jacobian(y, w, mode="forward"),
            gl.grad(gl.sum(gl.jvp(y, x, v)), x),
            gl.jvp(gl.grad(loss, w), w, v),
        ]

    arrays = [taken, draw(3), draw(3, seed=1), draw(3, seed=2)]
    found = values([p, x, w, v], asked(y), *arrays, rtol=1e-9)
    expected = gl.function([p, x, w, v], asked(alone))(*arrays)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, 1e-10, 1e-12)


def test_what_was_not_taken_does_not_leak() -> None:
    x = gl.placeholder((2, 2), "float64", "x")
    bad = np.array([[0.0, -1.0], [np.inf, np.nan]])
    y = gl.cond(
        gl.all(x > 0), lambda: gl.log(x) @ gl.sqrt(x), lambda: gl.where(gl.isfinite(x), x, 0.0)
    )
    loss = gl.sum(y)
    for found in values([x], [gl.grad(loss, x), gl.jvp(y, x, gl.ones((2, 2), "float64"))], bad):
        np.testing.assert_array_equal(found, [[1, 1], [0, 0]])


def test_integer_results_have_no_derivative_and_stop_none() -> None:
    x = gl.placeholder((3,), "float64", "x")
    p = gl.placeholder((), "bool", "p")
    place, top = gl.cond(
        p, lambda: (gl.argmax(x), gl.max(x)), lambda: (gl.argmin(x), gl.min(x) * 2.0)
    )
    loss = top * gl.astype(place, "float64")
    found = value([p, x], gl.grad(loss, x), True, [1.0, 5.0, 3.0])
    np.testing.assert_array_equal(found, [0, 1, 0])
    found = value([p, x], gl.grad(loss, x), False, [4.0, 5.0, 3.0])
    np.testing.assert_array_equal(found, [0, 0, 4])


def test_a_derivative_asked_within_a_branch() -> None:
    x, w = (gl.placeholder((3,), "float64", name) for name in "xw")
    p = gl.placeholder((), "bool", "p")
    h = gl.sin(x * w)
    loss = gl.sum(h * h)
    y = gl.cond(
        p,
        lambda: (gl.grad(loss, w), gl.grad(loss, h)),
        lambda: (gl.grad(gl.sum(gl.exp(h)), h), 2.0 * w),
    )
    a, b = draw(3), draw(3, seed=1)
    first, second = values([p, x, w], y, True, a, b)
    np.testing.assert_allclose(first, 2 * np.sin(a * b) * np.cos(a * b) * a)
    np.testing.assert_allclose(second, 2 * np.sin(a * b))
    first, second = values([p, x, w], y, False, a, b)
    np.testing.assert_allclose(first, np.exp(np.sin(a * b)))
    np.testing.assert_allclose(second, 2 * b)


def test_a_derivative_by_what_a_switch_gives() -> None:
    x = gl.placeholder((3,), "float64", "x")
    for p in (gl.placeholder((), "bool", "p"), gl.astype(gl.constant(1), "bool")):
        y = gl.cond(p, lambda: x, lambda: gl.sin(x))
        slope = gl.grad(gl.sum(y * y * x), y)  # not by x: y is another variable
        feeds = {x: draw(3), **({p: True} if p.node.op.name == "input" else {})}
        inputs = [leaf for leaf in feeds]
        found = gl.function(inputs, slope)(*feeds.values())
        np.testing.assert_allclose(found, 2 * feeds[x] * feeds[x])


# --- batches ------------------------------------------------------------------------------------


def of_entry(p: Tensor, a: Tensor, w: Tensor) -> Any:
    return gl.cond(p, lambda: (gl.sin(a @ w), gl.sum(w)), lambda: (a * 2.0, gl.max(a)))


def expected_of(p: bool, a: NumpyArray, w: NumpyArray) -> tuple[Any, Any]:
    return (np.sin(a @ w), w.sum()) if p else (a * 2, a.max())


@pytest.mark.parametrize("size", [0, 1, 4])
def test_one_condition_for_all_entries(size: int) -> None:
    p = gl.placeholder((), "bool", "p")
    a, w = gl.placeholder((size, 3), "float64", "a"), gl.placeholder((3, 3), "float64", "w")
    y = gl.vmap(of_entry, in_axes=(None, 0, None))(p, a, w)
    assert len(switches(*y)) == 1
    x, m = draw(size, 3), draw(3, 3, seed=1)
    for taken in (True, False):
        first, second = values([p, a, w], y, taken, x, m)
        for i in range(size):
            one, other = expected_of(taken, x[i], m)
            np.testing.assert_allclose(first[i], one)
            np.testing.assert_allclose(second[i], other)


@pytest.mark.parametrize("size", [0, 1, 4])
def test_a_condition_an_entry(size: int) -> None:
    p = gl.placeholder((size,), "bool", "p")
    a, w = gl.placeholder((size, 3), "float64", "a"), gl.placeholder((3, 3), "float64", "w")
    y = gl.vmap(of_entry, in_axes=(0, 0, None))(p, a, w)
    assert not switches(*y)
    flags, x, m = draw(size, seed=2) > 0, draw(size, 3), draw(3, 3, seed=1)
    first, second, slope = values([p, a, w], [*y, gl.grad(gl.sum(y[0]), w)], flags, x, m)
    total = np.zeros((3, 3))
    for i in range(size):
        one, other = expected_of(flags[i], x[i], m)
        np.testing.assert_allclose(first[i], one)
        np.testing.assert_allclose(second[i], other)
        total += np.outer(x[i], np.cos(x[i] @ m)) if flags[i] else 0
    np.testing.assert_allclose(slope, total, 1e-12, 1e-13)


def test_entries_with_the_index_alone() -> None:
    i = gl.placeholder((5,), "int64", "i")
    w = gl.placeholder((2,), "float64", "w")
    y = gl.vmap(lambda k: gl.switch(k, [lambda: w, lambda: w * 2.0, lambda: -w]))(i)
    found = value([i, w], y, [-4, 0, 1, 2, 9], [1.0, 3.0])
    np.testing.assert_array_equal(found, [[1, 3], [1, 3], [2, 6], [-1, -3], [-1, -3]])


def test_no_entry_fails_by_what_it_does_not_take() -> None:
    a = gl.placeholder((4,), "float64", "a")

    def root(x: Tensor) -> Tensor:
        return gl.cond(x >= 0, lambda: gl.sqrt(gl.check(x, x >= 0, "negative")), lambda: x)

    y = gl.vmap(root)(a)
    found, slope = values([a], [y, gl.grad(gl.sum(y), a)], [4.0, -1.0, 0.25, -7.0])
    np.testing.assert_array_equal(found, [2, -1, 0.5, -7])
    np.testing.assert_array_equal(slope, [0.25, 1, 1, 1])
    fails = gl.vmap(lambda x: gl.cond(x < 0, lambda: gl.check(x, x >= 0, "no"), lambda: x))(a)
    with pytest.raises(CheckError):
        fails.eval({a: [4.0, -1.0, 0.25, 1.0]})
    with pytest.raises(CheckError):
        gl.function([a], fails)([4.0, -1.0, 0.25, 1.0])


# --- errors -------------------------------------------------------------------------------------

x3 = gl.placeholder((3,), name="x3")
flag = gl.placeholder((), "bool", "flag")
number = gl.placeholder((), "int32", "number")

WRONG: dict[str, tuple[Callable[[], Any], type[GradloomError], str]] = {
    "not one": (lambda: gl.cond(x3 > 0, lambda: x3, lambda: x3), ArgumentError, "bool[3]"),
    "no bool": (lambda: gl.cond(number, lambda: x3, lambda: x3), ArgumentError, "i32[]"),
    "a float": (lambda: gl.cond(0.5, lambda: x3, lambda: x3), ArgumentError, "got 0.5"),
    "shapes": (lambda: gl.cond(flag, lambda: x3, lambda: x3[:2]), ShapeError, "f32[2] in else_"),
    "dtypes": (lambda: gl.cond(flag, lambda: 1, lambda: 2.0), DTypeError, "i64[] in then"),
    "structure": (
        lambda: gl.cond(flag, lambda: {"a": x3}, lambda: (x3, x3)),
        ArgumentError,
        "then gives result['a'], else_ gives result[0], result[1]",
    ),
    "nothing": (lambda: gl.cond(flag, lambda: None, lambda: x3), ArgumentError, "then gives noth"),
    "no branch": (lambda: gl.switch(number, []), ArgumentError, "at least one"),
    "float index": (lambda: gl.switch(x3[0], [lambda: x3]), ArgumentError, "f32[]"),
    "bool index": (lambda: gl.switch(True, [lambda: x3]), ArgumentError, "True"),
    "of a switch": (
        lambda: gl.switch(number, [lambda: x3, lambda: x3, lambda: gl.sum(x3)]),
        ShapeError,
        "f32[] in branch2, from test_branch.py",
    ),
    "no tensor": (lambda: gl.cond(flag, lambda: "a", lambda: x3), GradloomError, "a"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_name_the_lines(name: str) -> None:
    call, kind, told = WRONG[name]
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert told in message
    assert "test_branch.py" in message


def test_an_error_of_a_type_names_both_lines() -> None:
    def first() -> Tensor:
        return gl.exp(x3)

    def second() -> Tensor:
        return gl.sum(x3)

    with pytest.raises(ShapeError) as caught:
        gl.cond(flag, first, second)
    message = str(caught.value)
    assert "f32[3] in then" in message and "return gl.exp(x3)" in message
    assert "f32[] in else_" in message and "return gl.sum(x3)" in message


def test_text_of_a_bad_switch_is_refused() -> None:
    y = gl.cond(flag, lambda: x3 * 2.0, lambda: x3)
    text = str(Graph("g", [x3, flag], [y]))
    assert gl.parse(text) == Graph("g", [x3, flag], [y])
    for before, after in (
        ("switch %0", "switch %flag"),
        ("given %x3", ""),
        ("@else_(%given0: f32[3]", "@else_(%given0: f32[2]"),
    ):
        with pytest.raises(GradloomError):
            gl.parse(text.replace(before, after, 1))
