# ruff: noqa: E501 (a row of a table is a line)
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""What a user gets wrong in a call: every error says what, which types, and on which lines, and
leaves every parameter as it was."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradloom as gl


def line_of(tensor: gl.Tensor) -> str:
    """`file:line` of the tensor's making, as a message quotes it."""
    return str(tensor.node.loc[0])


def here(back: int = 0) -> str:
    """`file:line` of the caller, `back` lines up."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return f"test_call_errors.py:{frame.f_back.f_lineno - back}"


def failure(kind: type[BaseException], make: Callable[[], Any]) -> str:
    """The message of the error of that kind, which is one of ours, that `make` raises."""
    with pytest.raises(kind) as caught:
        make()
    assert isinstance(caught.value, gl.GradloomError)
    return str(caught.value)


# --- calling ------------------------------------------------------------------------------------

A = gl.placeholder(("B", 3), name="a")
C = gl.placeholder(("B",), name="c")
COUNT = gl.parameter(0, name="count")
STATE = gl.parameter(np.arange(9, dtype="float32").reshape(3, 3), name="state")
STEP = gl.function(
    [A, C], gl.sum(A @ STATE, axis=1) + C, updates={COUNT: COUNT + 1, STATE: STATE * 2}
)
F32 = "float32"
ROW = gl.placeholder((64,), name="row")
LABELS = gl.placeholder(("B",), "int64", name="labels")


@pytest.fixture
def unchanged() -> Iterator[None]:
    """A failed call leaves every parameter alone, and the function works afterwards."""
    count, state = COUNT.value, STATE.value
    yield
    assert COUNT.value == count
    np.testing.assert_array_equal(STATE.value, state)
    result = STEP(np.ones((2, 3), F32), np.ones(2, F32))
    np.testing.assert_array_equal(result, np.full(2, state.sum() + 1))
    assert COUNT.value == count + 1
    STATE.value = state


def ones(*shape: int, dtype: Any = F32) -> Any:
    return np.ones(shape, dtype)


Call = tuple[Callable[[], Any], type[BaseException], list[str]]
# fmt: off
CALLS: dict[str, Call] = {
    "float64": (lambda: STEP(ones(4, 3, dtype="f8"), ones(4)), TypeError, ["got float64[4, 3] for a: f32[B,3]"]),
    "int": (lambda: STEP(ones(4, 3, dtype=int), ones(4)), TypeError, ["got int64[4, 3] for a: f32[B,3]"]),
    "bool": (lambda: STEP(ones(4, 3), ones(4, dtype=bool)), TypeError, ["got bool[4] for c: f32[B]"]),
    "complex": (lambda: STEP(ones(4, 3), ones(4, dtype="c8")), TypeError, ["got complex64[4] for c"]),
    "objects": (lambda: STEP(ones(4, 3), [None] * 4), TypeError, ["got object[4] for c"]),
    "None": (lambda: STEP(ones(4, 3), None), TypeError, ["got object[] for c"]),
    "text": (lambda: STEP(ones(4, 3), "abc"), TypeError, ["for c: f32[B]"]),
    "ragged": (lambda: STEP(ones(4, 3), [[1], [1, 2]]), ValueError, ["needs an array for c: f32[B]"]),
    "rank": (lambda: STEP(ones(3), ones(4)), ValueError, ["a: f32[B,3] got shape [3]"]),
    "higher rank": (lambda: STEP([[[1, 2, 3]]], [1]), ValueError, ["got shape [1, 1, 3] for a: f32[B,3]"]),
    "size": (lambda: STEP(ones(4, 5), ones(4)), ValueError, ["a has size 5 where 3 is needed", "a: f32[B,3] got shape [4, 5]"]),
    "B twice": (lambda: STEP(ones(4, 3), ones(5)), ValueError, ["c has size 5 where B is needed (B = 4)", "a: f32[B,3] got shape [4, 3]", "c: f32[B] got shape [5]"]),
    "tensor": (lambda: STEP(A, ones(4)), ValueError, ["needs an array for a: f32[B,3]", "got a tensor"]),
    "parameter": (lambda: STEP(ones(4, 3), COUNT), ValueError, ["needs an array for c: f32[B]", "got a tensor"]),
}
UNBOUND: dict[str, Call] = {
    "missing": (lambda: STEP(ones(4, 3)), ValueError, ["input c is missing"]),
    "none": (lambda: STEP(), ValueError, ["input a is missing"]),
    "too many": (lambda: STEP(ones(4, 3), ones(4), ones(4)), ValueError, ["3 arguments given"]),
    "unknown": (lambda: STEP(ones(4, 3), z=ones(4)), ValueError, ["no input 'z'"]),
    "a parameter by name": (lambda: STEP(ones(4, 3), ones(4), count=1), ValueError, ["no input 'count'"]),
    "twice": (lambda: STEP(ones(4, 3), a=ones(4, 3)), ValueError, ["input a given twice"]),
    "twice and enough": (lambda: STEP(ones(4, 3), ones(4), c=ones(4)), ValueError, ["input c given twice"]),
}
# fmt: on


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_array(name: str) -> None:
    make, kind, parts = CALLS[name]
    message = failure(kind, make)
    for part in (*parts, "@function", f"made at {line_of(A)[:-4]}"):
        assert part in message


def test_hints_can_be_followed() -> None:
    half = gl.placeholder((3,), "bfloat16")
    double, wanted = gl.function([half], half * 2), np.ones(3, gl.bfloat16)
    assert "with .astype(gl.bfloat16)" in failure(TypeError, lambda: double(ones(3)))
    np.testing.assert_array_equal(double(ones(3).astype(gl.bfloat16)), wanted * 2)
    told = failure(TypeError, lambda: STEP(ones(4, 3), ones(4, dtype="f8")))
    assert "with .astype(gl.float32)" in told
    for hopeless in (None, "abc", [1, None]):
        assert "astype" not in failure(TypeError, lambda c=hopeless: STEP(ones(4, 3), c))


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", UNBOUND)
def test_wrong_arguments(name: str) -> None:
    make, kind, parts = UNBOUND[name]
    message = failure(kind, make)
    for part in (*parts, "@function", "the inputs are a: f32[B,3], c: f32[B]"):
        assert part in message


def test_integers_that_do_not_fit_are_not_wrapped() -> None:
    small = gl.placeholder((2,), "uint8", name="small")
    double = gl.function([small], small + small)
    np.testing.assert_array_equal(double([1, 100]), [2, 200])
    for values in ([300, 1], [-1, 1]):
        assert "got int64[2] for small: u8[2]" in failure(
            TypeError, lambda values=values: double(values)
        )


def test_sizes_that_must_be_equal_by_a_constraint() -> None:
    p, q = gl.placeholder(("P",), name="p"), gl.placeholder(("Q",), name="q")
    added = gl.function([p, q], p + q)
    line = here(1)
    np.testing.assert_array_equal(added([1, 2], [3, 4]), [4, 6])
    message = failure(ValueError, lambda: added(ones(3), ones(4)))
    assert "P == Q does not hold" in message and "3 against 4" in message
    assert f"needed at {line}: `added = gl.function([p, q], p + q)`" in message
    assert f"p: f32[P] got shape [3], made at {line_of(p)}" in message
    assert f"q: f32[Q] got shape [4], made at {line_of(q)}" in message
    np.testing.assert_array_equal(added([1, 2], [3, 4]), [4, 6])


def test_a_size_that_no_number_of_rows_gives() -> None:
    x = gl.placeholder(("2*B", 3), name="x")
    halves = gl.function([x], gl.reshape(x, ("B", 6)))
    assert halves(ones(4, 3)).shape == (2, 6)
    assert "x has size 5 where 2*B is needed" in failure(ValueError, lambda: halves(ones(5, 3)))


def test_a_dimension_that_no_input_tells() -> None:
    for make in (
        lambda: gl.function([LABELS], gl.reshape(LABELS, ("Q", 2))),
        lambda: gl.function([], gl.dimension("Q") + 1),
        lambda: gl.zeros(("Q",)).eval(),
    ):
        message = failure(ValueError, make)
        assert "the dimension Q is in no input's shape" in message
        assert f"test_call_errors.py:{make.__code__.co_firstlineno}: `" in message
    x = gl.placeholder(("P*Q", "R"), name="x")
    count = gl.function([x], gl.sum(x))
    message = failure(ValueError, lambda: count(ones(6, 2)))
    assert "x has size 6 where P*Q is needed, from which P and Q cannot be told" in message
    y, z = gl.placeholder(("P",), name="y"), gl.placeholder(("Q",), name="z")
    assert gl.function([x, y, z], gl.sum(x))(ones(6, 2), ones(3), ones(2)) == 12


def test_a_size_that_would_be_negative() -> None:
    x = gl.placeholder(("B",), name="x")
    fewer = gl.function([x], gl.zeros((x.shape[0] - 3,)))
    assert fewer(ones(5)).shape == (2,) and fewer(ones(3)).shape == (0,)
    message = failure(ValueError, lambda: fewer(ones(2)))
    assert "the size B-3 would be -1 in this call" in message
    assert f"x: f32[B] got shape [2], made at {line_of(x)}" in message


@pytest.mark.parametrize("threads", [1, 2])
def test_a_kernel_that_would_walk_over_fewer_than_nothing(threads: int) -> None:
    """A size that no array has: only a part of the result is written by this kernel."""
    x, y = gl.placeholder(("B",), name="x"), gl.placeholder(("N", 6), name="y")
    z = gl.placeholder((6,), name="z")
    rows = gl.sin(gl.broadcast_to(z, (x.shape[0] - 3, 6)))
    joined = gl.function([x, y, z], gl.concatenate([rows, y]), threads=threads)
    assert joined(ones(5), ones(9, 6), ones(6)).shape == (11, 6)
    message = failure(ValueError, lambda: joined(ones(1), ones(9, 6), ones(6)))
    assert "the size B-3 would be -2 in this call" in message


# --- indices at run time ------------------------------------------------------------------------

INDEX = gl.placeholder(("B",), "int64", name="index")
TABLE = gl.parameter(np.arange(12, dtype="float32").reshape(4, 3), name="table")
PICKED = gl.take(TABLE, INDEX, axis=0)
BAD = (4, -5, 2**40, -(2**40), 2**63 - 1, -(2**63))


def test_negative_indices_wrap() -> None:
    look = gl.function([INDEX], PICKED)
    found = look(np.array([0, -1, 3, -4]))
    np.testing.assert_array_equal(found, TABLE.value[[0, -1, 3, -4]])


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("threads", [1, 2])
def test_an_index_out_of_range_raises(bad: int, threads: int) -> None:
    look = gl.function([INDEX], PICKED, threads=threads)
    indices = np.zeros(20_000, np.int64)
    indices[12_345] = bad
    message = failure(IndexError, lambda: look(indices))
    assert f"index {bad} is out of range for size 4" in message
    assert line_of(PICKED) in message
    assert look(indices[:3]).shape == (3, 3)


def test_the_reference_raises_the_same() -> None:
    message = failure(IndexError, lambda: PICKED.eval({"index": np.array([4])}))
    assert "index 4 is out of range for size 4" in message and line_of(PICKED) in message


def test_an_index_out_of_range_changes_no_parameter() -> None:
    seen = gl.parameter(0, name="seen")
    change = gl.grad(gl.sum(PICKED * PICKED), TABLE)
    train = gl.function([INDEX], None, updates={TABLE: TABLE - 0.1 * change, seen: seen + 1})
    before = TABLE.value
    for bad in BAD:
        assert f"index {bad} is" in failure(IndexError, lambda bad=bad: train(np.array([0, bad])))
        np.testing.assert_array_equal(TABLE.value, before)
        assert seen.value == 0
    assert train(np.array([0, 1])) is None
    assert seen.value == 1
    np.testing.assert_allclose(TABLE.value[:2], before[:2] * 0.8, rtol=1e-6)
    TABLE.value = before


def test_an_update_of_what_needs_no_index_waits_for_the_check() -> None:
    state = gl.parameter(np.ones(50_000, "float32"), name="state")
    step = gl.function([INDEX], gl.sum(PICKED), updates={state: state + 1}, threads=2)
    failure(IndexError, lambda: step(np.array([9])))
    np.testing.assert_array_equal(state.value, np.ones(50_000))
    step(np.array([0]))
    np.testing.assert_array_equal(state.value, np.full(50_000, 2))


def test_an_index_out_of_range_inside_a_scan() -> None:
    total = gl.parameter(np.zeros(3, "float32"), name="total")

    def body(carry: gl.Tensor, index: gl.Tensor) -> tuple[gl.Tensor, gl.Tensor]:
        row = TABLE[index]
        return carry + row, row

    last, rows = gl.scan(body, total, INDEX)
    run = gl.function([INDEX], rows, updates={total: last})
    message = failure(IndexError, lambda: run(np.array([0, 1, 7, 2])))
    assert "index 7 is out of range for size 4" in message
    assert f"{here(7)}: `row = TABLE[index]`" in message
    np.testing.assert_array_equal(total.value, np.zeros(3))
    np.testing.assert_array_equal(run(np.array([0, -1])), TABLE.value[[0, -1]])
    np.testing.assert_array_equal(total.value, TABLE.value[[0, -1]].sum(0))


def test_an_index_into_nothing() -> None:
    x = gl.placeholder(("N", 3), name="x")
    look = gl.function([x, INDEX], gl.take(x, INDEX, axis=0))
    assert "index 0 is out of range for size" in failure(
        IndexError, lambda: look(ones(0, 3), np.array([0]))
    )
    assert look(ones(0, 3), np.array([], np.int64)).shape == (0, 3)


def test_a_singular_matrix() -> None:
    m = gl.placeholder((2, 2), name="m")
    state = gl.parameter(np.ones((2,), "float32"), name="state")
    solved = gl.solve(m, state)
    run = gl.function([m], solved, updates={state: solved})
    message = failure(ValueError, lambda: run(ones(2, 2)))
    assert "solve: Singular matrix" in message and line_of(solved) in message
    np.testing.assert_array_equal(state.value, [1, 1])
    np.testing.assert_array_equal(run(2 * np.eye(2, dtype=F32)), [0.5, 0.5])
    np.testing.assert_array_equal(state.value, [0.5, 0.5])


def test_two_threads_get_their_own_errors() -> None:
    look = gl.function([INDEX], PICKED)
    m = gl.placeholder((2, 2), name="m")
    solve = gl.function([m], gl.solve(m, gl.ones((2,))))
    wrong: list[str] = []

    def work(bad: int) -> None:
        for round in range(150):
            try:
                look(np.array([0, bad]))
                wrong.append("no error")
            except IndexError as error:
                if f"index {bad} is" not in str(error):
                    wrong.append(str(error))
            try:
                found = solve(ones(2, 2) if (round + bad) % 2 else np.eye(2, dtype=F32))
                if (round + bad) % 2 or (found != 1).any():
                    wrong.append("no error from solve")
            except ValueError as error:
                if not (round + bad) % 2 or "Singular" not in str(error):
                    wrong.append(str(error))

    threads = [threading.Thread(target=work, args=(bad,)) for bad in (5, 6, 8, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- parameters and the reference interpreter ----------------------------------------------------


def test_setting_a_parameter() -> None:
    w = gl.parameter(np.zeros((2, 2), F32), name="w")
    n = gl.parameter(np.int8(3), name="n")
    for target, value, got in [
        (w, np.ones(2), "parameter w is f32[2,2], got float64[2]"),
        (w, None, "parameter w is f32[2,2], got object[]"),
        (w, "abc", "parameter w is f32[2,2], got"),
        (w, 1j * np.ones((2, 2)), "parameter w is f32[2,2], got complex128[2, 2]"),
        (n, 1.5, "parameter n is i8[], got float64[]"),
    ]:
        before = target.value
        message = failure(ValueError, lambda t=target, v=value: setattr(t, "value", v))
        assert got in message
        np.testing.assert_array_equal(target.value, before)
    assert failure(TypeError, lambda: setattr(w, "value", w * 2))
    w.value = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(w.value, [[1, 2], [3, 4]])


def test_evaluating() -> None:
    assert "no value for labels: i64[B]" in failure(ValueError, lambda: (LABELS + 1).eval())
    wrong = {"labels": np.array([1.5])}
    assert "labels must be i64[B], got float64[1]" in failure(
        TypeError, lambda: (LABELS + 1).eval(wrong)
    )
    shape = {"row": np.zeros(3, F32)}
    assert "row has size 3 where 64 is needed" in failure(ValueError, lambda: ROW.eval(shape))


def test_sizes_that_must_be_equal_inside_a_loop() -> None:
    x = gl.placeholder(("B",), name="x")
    y = gl.placeholder(("C",), name="y")
    s = gl.placeholder(("T",), name="s")
    carry, _ = gl.scan(lambda c, t: (c + y * t, None), x, s)
    step = gl.function([x, y, s], carry)
    for function in (step, gl.compile(gl.parse(str(step.graph)))):
        with pytest.raises(ValueError, match="B == C does not hold"):
            function(np.ones(6, "float32"), np.ones(3, "float32"), np.ones(4, "float32"))


def test_text_without_its_constraints_still_checks_them() -> None:
    x = gl.placeholder(("B",), name="x")
    y = gl.placeholder(("C",), name="y")
    text = str(gl.function([x, y], x + y).graph)
    bare = "\n".join(line for line in text.splitlines() if "where" not in line)
    assert bare != text and gl.parse(bare) == gl.parse(text)


def test_one_parameter_cannot_stand_for_two() -> None:
    p = gl.parameter(np.ones(4, "float32"), "p")
    q = gl.parameter(np.ones(4, "float32"), "q")
    graph = gl.parse(str(gl.function([], [], {p: q * 2.0, q: p * 3.0}).graph))
    with pytest.raises(ValueError, match="one Parameter is given for two"):
        gl.compile(graph, {"p": p, "q": p})


def test_sizes_told_in_any_order() -> None:
    shapes = ("A+B+C",), ("A+B",), ("A",)
    inputs = [gl.placeholder(shape, name=f"x{i}") for i, shape in enumerate(shapes)]
    step = gl.function(inputs, [gl.sum(x) for x in inputs])
    assert step(*(np.ones(n, "float32") for n in (6, 3, 1))) == [6, 3, 1]
    part = gl.placeholder(("min(B,5)",), name="part")
    whole = gl.placeholder(("B",), name="whole")
    both = gl.function([part, whole], gl.sum(part) + gl.sum(whole))
    assert both(np.ones(5, "float32"), np.ones(8, "float32")) == 13
