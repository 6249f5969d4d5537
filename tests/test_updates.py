# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Parameters and updates: all read the old values, whatever they read and however they overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl

F32 = np.float32
Array = np.ndarray[Any, Any]

V = gl.placeholder(("N",), name="v")


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def matrix(seed: int = 0, n: int = 7) -> Array:
    return np.random.default_rng(seed).random((n, n), F32)


@pytest.mark.parametrize("fusion", [True, False])
def test_all_updates_read_the_old_values(fusion: bool) -> None:
    a0, b0, c0 = matrix(1), matrix(2), matrix(3)
    a, b, c = (gl.parameter(v, name=n) for v, n in ((a0, "a"), (b0, "b"), (c0, "c")))
    step = gl.function([], gl.sum(a), updates={a: b, b: a + c, c: a @ b}, fusion=fusion)
    for _ in range(3):
        total = step()
        np.testing.assert_allclose(total, a0.sum(), rtol=1e-5)
        a0, b0, c0 = b0, a0 + c0, a0 @ b0
        for parameter, expected in ((a, a0), (b, b0), (c, c0)):
            np.testing.assert_allclose(parameter.value, expected, rtol=1e-5)


def test_swap_and_rotate() -> None:
    values = [matrix(i, 40) for i in range(3)]
    a, b, c = (gl.parameter(v, name=f"p{i}") for i, v in enumerate(values))
    swap = gl.function([], None, updates={a: b, b: a})
    assert swap() is None
    np.testing.assert_array_equal(a.value, values[1])
    np.testing.assert_array_equal(b.value, values[0])
    swap()
    rotate = gl.function([], None, updates={a: b, b: c, c: a})
    rotate()
    for parameter, value in zip((a, b, c), (values[1], values[2], values[0]), strict=True):
        np.testing.assert_array_equal(parameter.value, value)


OWN: dict[str, tuple[Any, Any]] = {
    "itself": (lambda w: w, lambda w: w),
    "transpose": (lambda w: w.T, lambda w: w.T),
    "transpose plus": (lambda w: w.T + w, lambda w: w.T + w),
    "reversed": (lambda w: w[::-1, ::-1], lambda w: w[::-1, ::-1]),
    "shifted": (lambda w: w + w[:, :1], lambda w: w + w[:, :1]),
    "shifted backwards": (lambda w: w[:1] - w, lambda w: w[:1] - w),
    "reshaped": (
        lambda w: gl.reshape(gl.reshape(w, (-1,))[::-1], w.shape),
        lambda w: w.reshape(-1)[::-1].reshape(w.shape),
    ),
    "product": (lambda w: w @ w, lambda w: w @ w),
    "product by transpose": (lambda w: w @ w.T, lambda w: w @ w.T),
    "product plus": (lambda w: w @ w + w.T, lambda w: w @ w + w.T),
    "rows gathered": (
        lambda w: gl.take(w, gl.arange(w.shape[0])[::-1], axis=0) + w,
        lambda w: w[::-1] + w,
    ),
    "sum": (lambda w: w - gl.sum(w, axis=0), lambda w: w - w.sum(0)),
    "row sum": (lambda w: w - gl.sum(w, axis=1, keepdims=True), lambda w: w - w.sum(1)[:, None]),
    "normalised": (lambda w: w / gl.sum(w), lambda w: w / w.sum()),
    "softmax by column": (
        lambda w: gl.softmax(w, axis=0),
        lambda w: np.exp(w) / np.exp(w).sum(0),
    ),
    "constant": (lambda w: gl.zeros(w.shape) + 2.0, lambda w: w * 0 + 2),
    "broadcast": (
        lambda w: gl.broadcast_to(w[0], w.shape),
        lambda w: np.broadcast_to(w[0], w.shape),
    ),
}


@pytest.mark.campaign(6)
@pytest.mark.parametrize("fusion", [True, False])
@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("size", [1, 7, 150])
def test_an_update_that_reads_its_own_parameter(name: str, size: int, fusion: bool) -> None:
    symbolic, numeric = OWN[name]
    value = matrix(0, size)
    w = gl.parameter(value, name="w")
    step = gl.function([], gl.sum(w, axis=0), updates={w: symbolic(w)}, fusion=fusion, threads=2)
    for _ in range(2):
        sums = step()
        np.testing.assert_allclose(sums, value.sum(0), rtol=1e-4)
        value = np.array(numeric(value))
        np.testing.assert_allclose(w.value, value, rtol=1e-4, atol=1e-4)
        w.value = value


def test_an_update_by_an_input_or_a_piece_of_it() -> None:
    w = gl.parameter(np.zeros(3, F32), name="w")
    v = gl.placeholder((3,), name="v")
    m = gl.placeholder((3, 3), name="m")
    step = gl.function([v, m], v, updates={w: v})
    values = np.array([1, 2, 3], F32)
    step(values, np.eye(3, dtype=F32))
    values[...] = 7
    np.testing.assert_array_equal(w.value, [1, 2, 3])
    column = gl.function([m], None, updates={w: m[:, 1]})
    column(np.arange(9, dtype=F32).reshape(3, 3))
    np.testing.assert_array_equal(w.value, [1, 4, 7])


def test_one_parameter_in_several_functions() -> None:
    w = gl.parameter(np.zeros(4, F32), name="w")
    up = gl.function([], None, updates={w: w + 1})
    double = gl.function([], w, updates={w: w * 2})
    read = gl.function([], gl.sum(w))
    up()
    up()
    np.testing.assert_array_equal(double(), np.full(4, 2))
    assert read() == 16
    w.value = np.zeros(4)
    up()
    assert read() == 4


def test_two_parameters_of_one_name_are_two() -> None:
    a, b = gl.parameter(np.zeros(2, F32), name="w"), gl.parameter(np.ones(3, F32), name="w")
    step = gl.function([], [a, b], updates={a: a + 1, b: b * 5})
    step()
    np.testing.assert_array_equal(a.value, [1, 1])
    np.testing.assert_array_equal(b.value, [5, 5, 5])
    assert gl.parse(str(step.graph)) == step.graph


@pytest.mark.parametrize("name", ["1st", "layer.0.weight", "ä", "0", "x-y", "param", "f32"])
def test_any_name_prints_and_parses(name: str) -> None:
    x = gl.placeholder((2,), name=name)
    w = gl.parameter(np.ones(2, F32), name=name)
    step = gl.function([x], x * w, updates={w: w + x})
    np.testing.assert_array_equal(step(**{name: [1, 2]}), [1, 2])
    graph = gl.parse(str(step.graph))
    assert str(graph) == str(step.graph) and graph == step.graph
    assert gl.parse_program(str(step.program)) == step.program


@pytest.mark.parametrize("name", ["my input", "", "%0", "a\nb", "a:b"])
def test_a_name_that_the_text_form_cannot_hold_is_refused(name: str) -> None:
    for make in (
        lambda: gl.placeholder((2,), name=name),
        lambda: gl.parameter(1.0, name=name),
        lambda: gl.function([V], V, name=name),
    ):
        with pytest.raises(ValueError, match="a name is made of letters, digits and"):
            make()


def test_parameters_without_axes_and_without_entries() -> None:
    scale = gl.parameter(2.0, name="scale")
    none = gl.parameter(np.zeros((0,), F32), name="none")
    steps = gl.parameter(0, name="steps")
    flag = gl.parameter(False, name="flag")
    small = gl.parameter(np.uint8(254), name="small")
    assert str(scale.type) == "f32[]" and str(steps.type) == "i64[]" and str(flag.type) == "bool[]"
    step = gl.function(
        [V],
        gl.sum(V) * scale + gl.sum(none),
        updates={
            scale: scale * 0.5,
            none: none + 1,
            steps: steps + 1,
            flag: ~flag,
            small: small + 1,
        },
    )
    assert [float(step([1, 2])) for _ in range(3)] == [6, 3, 1.5]
    assert steps.value == 3 and steps.value.dtype == np.int64
    assert flag.value and none.value.shape == (0,) and scale.value == 0.25
    assert small.value == 1 and small.value.dtype == np.uint8
    steps.value = 10
    step([1])
    assert steps.value == 11


def test_a_step_counter_in_a_schedule() -> None:
    count = gl.parameter(0, name="count")
    w = gl.parameter(np.float32(1), name="w")
    rate = 1.0 / (count + 1).astype("float32")
    step = gl.function([], rate, updates={w: w - rate, count: count + 1})
    assert [float(step()) for _ in range(4)] == [1, 0.5, pytest.approx(1 / 3), 0.25]
    assert float(w.value) == pytest.approx(1 - (1 + 0.5 + 1 / 3 + 0.25))


def test_updates_inside_a_scan_read_the_value_from_before() -> None:
    w = gl.parameter(np.ones(3, F32), name="w")

    def body(carry: Any, x: Any) -> Any:
        return carry * w + x, carry

    rows = gl.placeholder(("T", 3), name="rows")
    last, ys = gl.scan(body, w, rows)
    step = gl.function([rows], ys, updates={w: last})
    value = np.ones(3, F32)
    x = rng().random((4, 3), F32)
    for _ in range(2):
        found = step(x)
        carry, expected = value, []
        for row in x:
            expected.append(carry)
            carry = carry * value + row
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        value = carry
        np.testing.assert_allclose(w.value, value, rtol=1e-5)


def test_a_reverse_scan_over_a_reshaped_input() -> None:
    flat = gl.placeholder((6,), name="flat")
    rows = gl.reshape(flat, (3, 2))
    last, ys = gl.scan(lambda c, x: (c * 2 + x, c), gl.zeros((2,)), rows, reverse=True)
    found = gl.function([flat], [last, ys])(np.arange(6, dtype=F32))
    np.testing.assert_array_equal(found[0], [20, 27])
    np.testing.assert_array_equal(found[1], [[10, 13], [4, 5], [0, 0]])


def test_a_host_op_on_a_reshaped_operand() -> None:
    m, v = gl.placeholder((2, 2), name="m"), gl.placeholder((2,), name="v")
    solve = gl.function([m, v], gl.solve(m, v))
    np.testing.assert_array_equal(solve(2 * np.eye(2, dtype=F32), [1, 3]), [0.5, 1.5])


def test_an_update_is_not_stored_before_the_kernel_reads_the_old_value_again() -> None:
    """Both values come from one kernel that walks its rows twice."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 7)).astype("float32")
    first, second = gl.parameter(a, name="first"), gl.parameter(b, name="second")
    moved = first - 1.0
    total = gl.sum(moved * second, axis=1, keepdims=True)
    step = gl.function([], updates={first: moved, second: second - first * total})
    step()
    np.testing.assert_allclose(first.value, a - 1, 1e-6)
    expected = b - a * np.sum((a - 1) * b, axis=1, keepdims=True)
    np.testing.assert_allclose(second.value, expected, 1e-5, 1e-5)


def test_a_parameter_becomes_a_product() -> None:
    p = gl.parameter(np.zeros((2, 2), "float32"), name="p")
    q = gl.parameter(np.zeros((2, 2), "float32"), name="q")
    x = gl.placeholder((2, 2), name="x")
    gl.function([x], [], {p: x @ x})(np.ones((2, 2), "float32"))
    assert (p.value == 2).all()
    gl.function([x], [], {p: x @ x, q: q + gl.tanh(x @ x)})(np.full((2, 2), 2, "float32"))
    assert (p.value == 8).all()
    np.testing.assert_allclose(q.value, np.tanh(8), 1e-6)
    gl.function([x], [], {p: gl.tanh(x @ x) * p})(np.ones((2, 2), "float32"))
    np.testing.assert_allclose(p.value, 8 * np.tanh(2), 1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 16), (32, 1), (1, 32, 1)])
def test_a_small_parameter_beside_a_large_one_moves_once(shape: tuple[int, ...]) -> None:
    small = gl.parameter(np.zeros(shape, "float32"), name="small")
    large = gl.parameter(np.zeros((32, 16), "float32"), name="large")
    bias = gl.parameter(np.zeros((32, 1), "float32"), name="bias")
    g = gl.placeholder((32, 16), name="g")
    moved = small + 1.0
    slope = gl.sum(g, axis=1, keepdims=True)
    part = moved if len(shape) < 3 else gl.reshape(moved, (32, 1))
    updates: dict[gl.Parameter, gl.Tensor] = {small: moved, large: large - g * part}
    if shape in ((), (1,), (1, 1), (32, 1), (1, 32, 1)):
        updates[bias] = bias - slope * part
    gl.function([g], [], updates)(np.ones((32, 16), "float32"))
    assert (small.value == 1).all() and (large.value == -1).all()
    assert len(updates) == 2 or (bias.value == -16).all()
