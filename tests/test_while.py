# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""while_loop: values, derivatives forwards and, with a bound, backwards; batched; its errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.dead import dead
from gradloom.ir.errors import IndexRangeError
from gradloom.ir.graph import Graph
from gradloom.ir.linearity import why_not_linear
from gradloom.ir.numerics import first_bad
from gradloom.ir.tensor import Tensor

from .loop_cases import Both, run
from .op_cases import close

NumpyArray = np.ndarray[Any, Any]


def collatz(n: int) -> int:
    steps = 0
    while n != 1:
        n, steps = (n // 2 if n % 2 == 0 else 3 * n + 1), steps + 1
    return steps


def collatz_loop(start: Tensor, bound: int | None = None) -> Tensor:
    def step(c: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        n, steps = c
        return gl.where(n % 2 == 0, n // 2, 3 * n + 1), steps + 1

    zero = gl.constant(0, "int64")
    return gl.while_loop(lambda c: c[0] != 1, step, (start, zero), bound=bound)[1]


@pytest.mark.parametrize("bound", [None, 111])
def test_integers(bound: int | None) -> None:
    """Zero steps, one, many; a bound that is just enough."""
    n = gl.placeholder((), "int64", "n")
    steps = collatz_loop(n, bound)
    compiled = Both([n], [steps])
    for start in (1, 2, 6, 27):
        assert int(compiled(start)[0]) == collatz(start)


def newton(x: Tensor, bound: int | None = None) -> Tensor:
    """√x by Newton's steps; `x` is read by the condition and the body from outside."""

    def step(c: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"root": (c["root"] + x / c["root"]) / 2, "old": c["root"]}

    init = {"old": x * 0, "root": x / 2 + 0.5}
    found = gl.while_loop(
        lambda c: gl.abs(c["root"] - c["old"]) > 1e-12 * x, step, init, bound=bound
    )
    return found["root"]


@pytest.mark.parametrize("bound", [None, 40])
def test_derivatives_forwards(bound: int | None) -> None:
    """Of √x: 1/(2√x), and the second one, by pushing twice."""
    x, v = gl.placeholder((), "float64", "x"), gl.placeholder((), "float64", "v")
    root = newton(x, bound)
    pushed = gl.jvp(root, x, v)
    twice = gl.jvp(pushed, x, v)
    compiled = Both([x, v], [root, pushed, twice])
    for value in (1.0, 2.0, 9.0, 1e4):
        found = compiled(value, 3.0)
        close(found, [value**0.5, 1.5 * value**-0.5, -2.25 * value**-1.5], 1e-9)


def test_derivatives_backwards() -> None:
    x = gl.placeholder((), "float64", "x")
    root = newton(x, 40)
    slope = gl.grad(root, x)
    second = gl.grad(slope, x)
    mixed = gl.jvp(slope, x, gl.ones((), "float64"))
    compiled = Both([x], [slope, second, mixed])
    for value in (1.0, 2.0, 9.0, 1e4):
        found = compiled(value)
        close(found, [0.5 * value**-0.5, *[-0.25 * value**-1.5] * 2], 1e-9)


def test_no_gradient_without_a_bound() -> None:
    x = gl.placeholder((), "float64", "x")
    root = newton(x)
    slope = gl.grad(root, x)
    with pytest.raises(gl.GradloomError, match="give it bound=") as caught:
        run([x], [slope], 2.0)
    assert "test_while.py:" in str(caught.value)


def test_a_bound_that_is_reached_fails_the_call() -> None:
    x = gl.placeholder((), "float64", "x")
    doubled = gl.while_loop(lambda c: c < 100, lambda c: 2 * c, x, bound=3)
    assert float(Both([x], [doubled])(13.0)[0]) == 104.0
    with pytest.raises(gl.CheckError, match="has not ended after 3 steps, its bound"):
        run([x], [doubled], 12.0)
    with pytest.raises(gl.CheckError, match="has not ended after 3 steps, its bound"):
        gl.function([x], doubled)(12.0)
    none = gl.while_loop(lambda c: c < 100, lambda c: 2 * c, x, bound=0)
    assert float(Both([x], [none])(100.0)[0]) == 100.0
    with pytest.raises(gl.CheckError, match="after 0 steps"):
        run([x], [none], 99.0)


@pytest.mark.parametrize("bound", [None, 200])
@pytest.mark.parametrize("starts", [[27, 1, 6, 97], [1, 1], [3], []])
def test_vmap(starts: list[int], bound: int | None) -> None:
    """Entries end apart; each counts its own steps, and there may be no entry at all."""
    n = gl.placeholder(("B",), "int64", "n")
    steps = gl.vmap(lambda start: collatz_loop(start, bound))(n)
    found = Both([n], [steps])(np.array(starts, "int64"))[0]
    assert found.tolist() == [collatz(start) for start in starts]


def test_vmap_of_derivatives() -> None:
    x = gl.placeholder((4,), "float64", "x")
    values = np.array([1.0, 2.0, 9.0, 1e4])
    one = gl.ones((), "float64")
    outputs = [
        gl.vmap(newton)(x),
        gl.vmap(lambda e: gl.jvp(newton(e), e, one))(x),
        gl.vmap(lambda e: gl.grad(newton(e, 40), e))(x),
        gl.grad(gl.sum(gl.vmap(lambda e: newton(e, 40))(x)), x),
        gl.vmap(lambda e: gl.grad(gl.grad(newton(e, 40), e), e))(x),
    ]
    root, pushed, slope, outer, second = Both([x], outputs)(values)
    close(root, values**0.5, 1e-12)
    for found in (pushed, slope, outer):
        close(found, 0.5 * values**-0.5, 1e-9)
    close(second, -0.25 * values**-1.5, 1e-9)


def test_vmap_of_a_condition_that_all_share() -> None:
    """The condition reads no batched value: it stays one, and no entry is chosen."""
    x = gl.placeholder((3, 2), "float64", "x")
    init = (gl.constant(0, "int64"), gl.zeros((2,), "float64"))

    def total(row: Tensor) -> Tensor:
        return gl.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, c[1] + row), init)[1]

    summed = gl.vmap(total)(x)
    assert "where" not in str(Graph("g", [x], [summed]))
    values = np.arange(6.0).reshape(3, 2)
    close(Both([x], [summed])(values)[0], 5 * values)


def test_jacobian_and_hessian() -> None:
    """Of a scan that stops and of a bounded while, against closed forms."""
    x = gl.placeholder((3,), "float64", "x")

    def powers(bound: int | None) -> Tensor:  # x^8, by squaring while all are small
        init = (x, gl.constant(0, "int64"))
        return gl.while_loop(
            lambda c: c[1] < 3, lambda c: (c[0] * c[0], c[1] + 1), init, bound=bound
        )[0]

    value = np.array([0.5, 1.5, -1.0])
    jacobian = gl.jacobian(powers(5), x)
    hessian = gl.hessian(gl.sum(powers(5)), x)
    found = Both([x], [jacobian, hessian])(value)
    close(found[0], np.diag(8 * value**7), 1e-12)
    close(found[1], np.diag(56 * value**6), 1e-12)


def test_nested() -> None:
    """A while in the body of a scan, and a scan in that of a while."""
    xs = gl.placeholder(("T",), "int64", "xs")
    total, each = gl.scan(lambda c, x: (c + (s := collatz_loop(x)), s), gl.constant(0, "int64"), xs)
    starts = np.array([27, 1, 6])
    found = Both([xs], [total, each])(starts)
    assert found[1].tolist() == [collatz(int(s)) for s in starts]
    assert int(found[0]) == sum(collatz(int(s)) for s in starts)

    y = gl.placeholder((3,), "float64", "y")

    def step(c: Tensor) -> Tensor:
        return gl.scan(lambda h, v: (h + v, None), c, y)[0]

    reached = gl.while_loop(lambda c: c < 10.0, step, gl.zeros((), "float64"), bound=20)
    value, slope = Both([y], [reached, gl.grad(reached, y)])(np.array([1.0, 1.0, 1.0]))
    assert float(value) == 12.0
    assert slope.tolist() == [4.0, 4.0, 4.0]


def test_text_and_verify() -> None:
    x = gl.placeholder(("B",), "float64", "x")
    looped = gl.vmap(newton)(x)
    stopped = gl.scan(lambda c, v: (c + v, c), x[0], x, until=lambda c: c > x[1])[1]
    graph = Graph("loops", [x], [looped, stopped])
    gl.verify(graph)
    assert gl.parse(str(graph)) == graph
    assert str(graph).count("graph @") == 5
    assert "while_loop" in gl.to_dot(graph) and "scan" in gl.to_dot(graph)


# --- what else walks loops ------------------------------------------------------------------------


def bad(inputs: Sequence[Tensor], outputs: Sequence[Tensor], *arrays: Any) -> str:
    return first_bad(Graph("bad", inputs, outputs), [np.asarray(a) for a in arrays], {}) or ""


def test_the_first_bad_node() -> None:
    """In a step, in what is asked before it, and not in what is not taken or only padding."""
    x = gl.placeholder((), "float64", "x")
    rooted = gl.while_loop(lambda c: c[1] < 5, lambda c: (gl.sqrt(c[0]) - 1, c[1] + 1), (x, 0))
    told = bad([x], [rooted[0]], 9.0)  # 2, 0.4, -0.36
    assert told.startswith("sqrt made") and "nan" in told and "in step 3 of the loop at" in told
    asked = gl.while_loop(lambda c: gl.log(c) > 0, lambda c: c - 2, x)
    told = bad([x], [asked], 4.5)  # 2.5, 0.5
    assert told == "" and float(run([x], [asked], 4.5)[0]) == 0.5
    told = bad([x], [asked], 4.0)
    assert told.startswith("log made") and "is asked before step 2 of the loop" in told

    xs = gl.placeholder((3,), "float64", "xs")
    stopped = gl.scan(lambda c, v: (c + gl.log(v), v), 0 * x, xs, until=lambda c: c > x)[0]
    assert bad([x, xs], [stopped], 1.0, [9.0, -1.0, 1.0]) == ""
    assert "in step 1 of the loop" in bad([x, xs], [stopped], 3.0, [9.0, -1.0, 1.0])

    rows, ends = gl.placeholder((3, 1), "float64", "rows"), gl.placeholder((1,), "int64", "ends")
    start = gl.zeros((1,), "float64")
    padded = gl.scan(lambda c, v: (c + gl.sqrt(v), c), start, rows, lengths=ends)[0]
    assert bad([rows, ends], [padded], [[1.0], [4.0], [np.nan]], [2]) == ""
    assert "input rows holds" in bad([rows, ends], [padded], [[1.0], [4.0], [np.nan]], [3])


def test_steps_that_are_not_taken_fail_no_check() -> None:
    def step(c: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return c + gl.check(v, v > 0, "must be positive"), c

    xs = gl.placeholder((3,), "float64", "xs")
    total = gl.scan(step, gl.zeros((), "float64"), xs, until=lambda c: c > 1)[0]
    assert float(run([xs], [total], np.array([2.0, -1.0, -1.0]))[0]) == 2.0
    with pytest.raises(gl.CheckError, match="must be positive"):
        run([xs], [total], np.array([1.0, -1.0, -1.0]))


def test_explained() -> None:
    xs = gl.placeholder((4,), "float64", "xs")
    x = gl.placeholder((), "float64", "x")
    last, ys = gl.scan(lambda c, v: (c * v, c * v), x, xs, until=lambda c: c > 5)
    loss = gl.sum(ys) + last
    feeds = {"xs": np.full(4, 2.0), "x": 1.0}
    assert "scan" in str(gl.explain_grad(loss, x, feeds))
    looped = gl.while_loop(lambda c: c < 9, lambda c: c * x, x, bound=9)
    assert "scan" in str(gl.explain_grad(looped, x))


def test_dead_carries() -> None:
    """What only feeds itself leaves a while_loop, with what it alone reads; what ends it stays."""
    x, w = gl.placeholder((), "float64", "x"), gl.placeholder((), "float64", "w")
    init = {"end": x, "unread": w, "total": 0.0 * x, "count": gl.constant(0, "int64")}

    def step(c: dict[str, Tensor]) -> dict[str, Tensor]:
        total, unread = c["total"] + c["end"], c["unread"] * w
        return {"end": c["end"] * 2, "unread": unread, "total": total, "count": c["count"] + 1}

    last = gl.while_loop(lambda c: c["end"] < 9, step, init)
    for name, carries in (("total", 2), ("count", 2), ("end", 1), ("unread", 2)):
        graph = Graph("g", [x, w], [last[name]])
        pruned = dead(graph)
        gl.verify(pruned)
        (node,) = [node for node in pruned.nodes if node.op.name == "while_loop"]
        assert node.groups == (carries, int(name == "unread"))
        feeds = {"x": 1.5, "w": 2.0}
        assert gl.evaluate(graph, feeds) == gl.evaluate(pruned, feeds)
        assert dead(pruned) is pruned


def test_linear_loops() -> None:
    """A loop is linear in what does not decide when it ends."""
    u, x = gl.placeholder((), "float64", "u"), gl.placeholder((), "float64", "x")
    zero, one = gl.constant(0, "int64"), gl.ones((), "float64")

    def blame(result: Tensor) -> str:
        return why_not_linear(Graph("g", [u, x], [result]), 1)

    def doubled(c: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return c[0] * x, c[1] + 1

    counted = gl.while_loop(lambda c: c[1] < 3, doubled, (u, zero))[0]
    by_size = gl.while_loop(lambda c: c[0] < 3, doubled, (u, zero))[0]
    by_other = gl.while_loop(lambda c: c[0] < u, lambda c: (c[0] + 1, c[1] * 2), (one, u))[1]
    assert blame(counted) == ""
    assert "less at test_while.py:" in blame(by_size)
    assert "less at test_while.py:" in blame(by_other)
    xs = gl.stack([x, x, x])
    stopped = gl.scan(lambda c, v: (c * v, c + c), u, xs, until=lambda c: x > 3)[1]
    bent = gl.scan(lambda c, v: (c * v, c + c), u, xs, until=lambda c: c > 3)[1]
    lengths = gl.constant([2], "int64")
    masked = gl.scan(lambda c, v: (c * v, c), u[None], xs[:, None], lengths=lengths)[1]
    assert [blame(gl.sum(stopped)), blame(gl.sum(masked))] == ["", ""]
    assert "greater at" in blame(gl.sum(bent))


def test_bits() -> None:
    """Threads and fusion change none; padding of nan passes the guards of check_numerics."""
    xs, w = gl.placeholder(("T", 3, 4), name="xs"), gl.placeholder((4, 4), name="w")
    ends = gl.placeholder((3,), "int64", "ends")

    def step(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return gl.tanh(c @ w + x), c * x

    start = gl.zeros((3, 4))
    padded = gl.scan(step, start, xs, lengths=ends)
    stopped = gl.scan(step, start, xs, until=lambda c: gl.sum(c) > 1.0)
    looped = gl.while_loop(lambda c: gl.sum(c) < 20, lambda c: c + w * w, w * 0, bound=9)
    loss = gl.sum(padded[0]) + gl.sum(stopped[1] * stopped[1]) + gl.sum(looped * w)
    outputs = [*padded, *stopped, looped, gl.grad(loss, w)]
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype("f4") for s in ((6, 3, 4), (4, 4))]
    wanted = run([xs, w, ends], outputs, *arrays, np.array([6, 0, 3]))
    first: list[bytes] = []
    for threads, fusion in ((1, True), (2, True), (1, False)):
        function = gl.function([xs, w, ends], outputs, threads=threads, fusion=fusion)
        found = function(*arrays, np.array([6, 0, 3]))
        first = first or [value.tobytes() for value in found]
        assert [value.tobytes() for value in found] == first
        for got, value in zip(found, wanted, strict=True):
            close(got, value, 1e-4)

    masked = gl.function([xs, w, ends], gl.grad(gl.sum(padded[0]), w), check_numerics=True)
    arrays[0][2:, 1] = np.nan
    assert np.isfinite(masked(*arrays, np.array([6, 2, 3]))).all()
    with pytest.raises(gl.NumericsError):
        masked(*arrays, np.array([6, 3, 3]))


@pytest.mark.parametrize("bound", [None, 9])
def test_entries_that_ended_cannot_fail(bound: int | None) -> None:
    """The last carry of each would be out of range for one more step."""
    starts, x = gl.placeholder((3,), "int64", "starts"), gl.placeholder((6,), "float64", "x")

    def tail(start: Tensor) -> Tensor:
        def step(c: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return c[0] + 1, c[1] + x[c[0]]

        zero = gl.zeros((), "float64")
        return gl.while_loop(lambda c: c[0] < 6, step, (start, zero), bound=bound)[1]

    inputs, outputs = [starts, x], [gl.vmap(tail)(starts)]
    if bound is not None:
        outputs.append(gl.grad(gl.sum(outputs[0]), x))
    values = np.array([1.0, 2, 4, 8, 16, 32])
    found = Both(inputs, outputs)([5, 2, 0], values)
    np.testing.assert_array_equal(found[0], [32, 60, 63])
    if bound is not None:
        np.testing.assert_array_equal(found[1], [1, 1, 2, 2, 2, 3])
    with pytest.raises(IndexRangeError):
        Both(inputs, outputs, compiled=False)([5, -7, 0], values)


def test_entries_that_ended_cannot_run_for_ever() -> None:
    """Halved while even, 0 would not come to an end."""
    starts = gl.placeholder((3,), "int64", "starts")

    def odd_part(n: Tensor) -> Tensor:
        return gl.while_loop(lambda d: d % 2 == 0, lambda d: d // 2, n - 1)

    last = gl.vmap(lambda n: gl.while_loop(lambda c: c > 1, odd_part, n))(starts)
    np.testing.assert_array_equal(Both([starts], [last])([3, 8, 15])[0], [1, 1, 1])
