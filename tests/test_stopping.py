# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Scans that stop: by a condition on the carry, or after a number of steps for each sample; their
values and derivatives against the steps that are taken, written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.graph import Graph
from gradloom.ir.ops.scan import make_scan
from gradloom.ir.tensor import Tensor

from .loop_cases import Both, run
from .op_cases import close

NumpyArray = np.ndarray[Any, Any]


def body(carry: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    after = gl.tanh(w @ carry) + x
    return after, after * x


def derivatives(loss: Tensor, wrt: Sequence[Tensor], directions: Sequence[Tensor]) -> list[Tensor]:
    """The loss, its derivatives in both modes, and those of second order in three mixes."""
    slopes = gl.grad(loss, wrt)
    pushed = gl.jvp(loss, wrt, directions)
    along = gl.sum(slopes[0] * directions[0])
    for slope, direction in zip(slopes[1:], directions[1:], strict=True):
        along = along + gl.sum(slope * direction)
    second = [*gl.grad(along, wrt), gl.jvp(along, wrt, directions), *gl.grad(pushed, wrt)]
    return [loss, pushed, *slopes, *second]


# --- until ----------------------------------------------------------------------------------------


@pytest.mark.campaign(2)
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("length", [0, 1, 2, 6])
def test_until(length: int, backwards: bool) -> None:
    """Values and derivatives are those of the steps taken, be it none or all; other rows are 0."""
    w = gl.placeholder((2, 2), "float64", "w")
    h = gl.placeholder((2,), "float64", "h")
    xs = gl.placeholder((length, 2), "float64", "xs")
    limit = gl.placeholder((), "float64", "limit")
    rng = np.random.default_rng(length)
    arrays = [rng.normal(size=(2, 2)), np.array([0.1, 0.2]), 1 + rng.random((length, 2))]
    wrt = [w, h, xs]
    directions = [gl.placeholder(t.shape, t.dtype, f"d{i}") for i, t in enumerate(wrt)]
    along = [rng.normal(size=array.shape) for array in arrays]

    def loss_of(carry: Tensor, ys: Sequence[Tensor]) -> Tensor:
        loss = gl.sum(carry * carry) + gl.sum(w * w) + gl.sum(xs * gl.sin(xs))  # depends on all
        for y in ys:
            loss = loss + gl.sum(y * gl.sin(y))
        return loss

    def counted_body(c: dict[str, Tensor], x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        after, y = body(c["h"], x, w)
        return {"h": after, "n": c["n"] + 1}, y

    last, ys = gl.scan(
        counted_body,
        {"n": gl.constant(0, "int64"), "h": h},
        xs,
        reverse=backwards,
        until=lambda c: gl.sum(gl.abs(c["h"])) > limit,
    )
    counted, inputs = last["n"], [w, h, xs, *directions]
    by_scan = derivatives(loss_of(last["h"], [ys]), wrt, directions)
    compiled = Both([*inputs, limit], [counted, ys, *by_scan], length == 6)
    taken: set[int] = set()
    for bound in (0.2, 2.0, 3.0, 1e9):
        count, rows, *found = compiled(*arrays, *along, bound)
        steps = int(count)
        taken.add(steps)
        order = list(range(length))[::-1] if backwards else list(range(length))
        carry, each = h, list[Tensor]()
        for step in order[:steps]:
            carry, y = body(carry, xs[step], w)
            each.append(y)
        plain = derivatives(loss_of(carry, each), wrt, directions)
        for got, wanted in zip(found, run(inputs, plain, *arrays, *along), strict=True):
            close(got, wanted, 1e-11)
        assert not rows[order[steps:]].any()
        if steps < length:
            (size,) = run(inputs, [gl.sum(gl.abs(carry))], *arrays, *along)
            assert size > bound
    assert {0, length} <= taken and len(taken) > (length > 2) + (length > 0)


def test_until_is_asked_before_the_first_step() -> None:
    last, ys = gl.scan(lambda c, x: (c + x, c), 5.0, gl.ones((3,)), until=lambda c: c > 4.0)
    assert float(last.eval({})) == 5.0
    assert ys.eval({}).tolist() == [0.0, 0.0, 0.0]


def test_until_sees_the_carry_alone() -> None:
    """What exists inside the body is not there yet when the condition is asked."""
    seen: list[Tensor] = []

    def step(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(x + 1)
        return c + x, c

    with pytest.raises(gl.GradloomError, match="belongs to the body of the loop") as caught:
        gl.scan(step, gl.constant(0.0), gl.ones((3,)), until=lambda c: seen[0] > c)
    assert "test_stopping.py:" in str(caught.value)


def test_until_over_a_named_length() -> None:
    xs = gl.placeholder(("T",), "float64", "xs")
    last, ys = gl.scan(lambda c, x: (c + x, c), gl.zeros((), "float64"), xs, until=lambda c: c > 3)
    slope = gl.grad(last * last, xs)
    compiled = Both([xs], [last, ys, slope])
    for count in (0, 1, 2, 5, 9):
        total, _, by_xs = compiled(np.ones(count))
        steps = min(count, 4)
        assert float(total) == steps
        assert by_xs.tolist() == [2.0 * steps] * steps + [0.0] * (count - steps)


# --- lengths --------------------------------------------------------------------------------------


@pytest.mark.campaign(2)
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("lengths", [(3, 0, 5, 1), (0, 0, 0, 0), (2, 2, 2, 2), (5, 5, 5, 5)])
def test_lengths(lengths: Sequence[int], backwards: bool) -> None:
    """Each sample as if it were alone and cut to its length; padding of nan reaches nothing."""
    batch, steps = 4, 5
    w = gl.placeholder((3, 3), "float64", "w")
    u = gl.placeholder((2, 3), "float64", "u")
    h = gl.placeholder((batch, 3), "float64", "h")
    xs = gl.placeholder(("T", batch, 2), "float64", "xs")
    ends = gl.placeholder((batch,), "int32", "ends")
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=s) for s in ((3, 3), (2, 3), (batch, 3), (steps, batch, 2))]
    for b, end in enumerate(lengths):
        arrays[3][end:, b] = np.nan

    def step(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        after = gl.tanh(c @ w + x @ u) * gl.exp(gl.sum(x, axis=-1, keepdims=True))
        return after, after * c

    last, ys = gl.scan(step, h, xs, reverse=backwards, lengths=ends)
    loss = gl.sum(last * last) + gl.sum(gl.sin(ys))
    slopes = gl.grad(loss, [w, u, h, xs])
    pushed = gl.jvp(loss, [w, u], [w, u])
    second = gl.grad(gl.sum(slopes[0] * w), [u, h])
    outputs = [last, ys, *slopes, pushed, *second]
    found = Both([w, u, h, xs, ends], outputs, lengths == (3, 0, 5, 1))(*arrays, lengths)
    assert all(np.isfinite(value).all() for value in found)

    total = 0.0
    by_w, by_u, second_u = np.zeros((3, 3)), np.zeros((2, 3)), np.zeros((2, 3))
    for b, end in enumerate(lengths):
        cut = gl.placeholder((end, 1, 2), "float64", "cut")
        one = gl.placeholder((1, 3), "float64", "one")
        own, rows = gl.scan(step, one, cut, reverse=backwards)
        alone = gl.sum(own * own) + gl.sum(gl.sin(rows))
        first = gl.grad(alone, [w, u, one, cut] if end else [one])
        along = gl.sum(gl.grad(alone, w) * w) if end else gl.sum(one) * 0
        more = [gl.jvp(alone, [w, u], [w, u]), *gl.grad(along, [u, one])] if end else []
        given = [arrays[0], arrays[1], arrays[2][b : b + 1], arrays[3][:end, b : b + 1]]
        final, states, *rest = run([w, u, one, cut], [own, rows, *first, *more], *given)
        close(found[0][b : b + 1], final)
        close(found[1][:end, b : b + 1], states)
        assert not found[1][end:, b].any()
        assert not found[5][end:, b].any()
        close(found[4][b : b + 1], rest[2 if end else 0], 1e-11)
        if end:
            by_w, by_u, total = by_w + rest[0], by_u + rest[1], total + float(rest[4])
            second_u = second_u + rest[5]
            close(found[5][:end, b : b + 1], rest[3], 1e-11)
            close(found[8][b : b + 1], rest[6], 1e-11)
    close(found[2], by_w, 1e-11)
    close(found[3], by_u, 1e-11)
    close(found[6], total, 1e-11)
    close(found[7], second_u, 1e-11)


# --- batched --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_vmap_of_until(backwards: bool) -> None:
    """Over each operand, and what the condition reads: against a loop over the entries."""
    w = gl.placeholder((2, 2), "float64", "w")
    h = gl.placeholder((2,), "float64", "h")
    xs = gl.placeholder((5, 2), "float64", "xs")
    limit = gl.placeholder((), "float64", "limit")
    single = [w, h, xs, limit]

    def outputs(w: Tensor, h: Tensor, xs: Tensor, limit: Tensor) -> tuple[Tensor, ...]:
        last, ys = gl.scan(
            lambda c, x: body(c, x, w),
            h,
            xs,
            reverse=backwards,
            until=lambda c: gl.sum(gl.abs(c)) > limit,
        )
        loss = gl.sum(last * last) + gl.sum(ys * gl.sin(ys))
        slopes = gl.grad(loss, [w, h, xs])
        second = gl.grad(gl.sum(slopes[1] * h), [w, xs])
        return (last, ys, *slopes, *second, gl.jvp(loss, [h], [h]))

    rng = np.random.default_rng(0)
    entries = [
        [rng.normal(size=(2, 2)), 0.1 * rng.normal(size=2), 1 + rng.random((5, 2)), bound]
        for bound in (0.0, 2.5, 3.2, 1e9)
    ]
    alone = outputs(*single)
    for flags in [(0, 0, 0, 0), (0, None, None, None), (None, 0, 0, None), (None, None, None, 0)]:
        batched = [
            gl.placeholder(("N", *t.shape) if flag == 0 else t.shape, t.dtype, f"x{i}")
            for i, (t, flag) in enumerate(zip(single, flags, strict=True))
        ]
        arrays = [
            np.stack([entry[i] for entry in entries]) if flag == 0 else entries[2][i]
            for i, flag in enumerate(flags)
        ]
        made = list(gl.vmap(outputs, flags)(*batched))
        is_compiled = flags[:2] == (None, None) and not backwards
        found = Both(batched, made, is_compiled)(*arrays)
        for n, entry in enumerate(entries):
            own = [entry[i] if flag == 0 else entries[2][i] for i, flag in enumerate(flags)]
            for got, wanted in zip(found, run(single, alone, *own), strict=True):
                close(got[n], wanted, 1e-10)


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_vmap_of_lengths(backwards: bool) -> None:
    """Lengths for each entry: then the limit is batched, and the way back stops apart."""
    xs = gl.placeholder((3, 4, 2), "float64", "xs")  # entries, steps, samples
    ends = gl.placeholder((3, 2), "int64", "ends")

    def outputs(xs: Tensor, ends: Tensor) -> tuple[Tensor, ...]:
        def step(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            return gl.sin(c + x), c * x

        start = gl.zeros((2,), "float64")
        last, ys = gl.scan(step, start, xs, reverse=backwards, lengths=ends)
        loss = gl.sum(last * last) + gl.sum(ys)
        slope = gl.grad(loss, xs)
        return last, ys, slope, gl.grad(gl.sum(slope * slope), xs)

    rng = np.random.default_rng(0)
    values, lengths = rng.normal(size=(3, 4, 2)), np.array([[4, 2], [0, 0], [1, 3]])
    found = Both([xs, ends], list(gl.vmap(outputs)(xs, ends)))(values, lengths)
    shared = run([xs, ends], list(gl.vmap(outputs, (0, None))(xs, ends[0])), values, lengths)
    one, own = gl.placeholder((4, 2), "float64", "one"), gl.placeholder((2,), "int64", "own")
    alone = outputs(one, own)
    for n in range(3):
        for got, wanted in zip(found, run([one, own], alone, values[n], lengths[n]), strict=True):
            close(got[n], wanted, 1e-12)
        for got, wanted in zip(shared, run([one, own], alone, values[n], lengths[0]), strict=True):
            close(got[n], wanted, 1e-12)


def test_jacobian_and_hessian_of_a_scan_that_stops() -> None:
    x = gl.placeholder((3,), "float64", "x")
    limit = gl.placeholder((), "float64", "limit")
    last, ys = gl.scan(
        lambda c, v: (c * v, c * c), gl.ones((), "float64"), x, until=lambda c: c > limit
    )
    loss = last + gl.sum(ys)
    plain = {1: x[0] + 1.0, 2: x[0] * x[1] + 1.0 + x[0] ** 2}
    value = np.array([1.5, 2.0, 3.0])
    made = [gl.jacobian(loss, x), gl.jacobian(ys, x), gl.hessian(loss, x)]
    compiled = Both([x, limit], made)
    for steps, bound in ((1, 1.2), (2, 2.0)):
        jacobian, rows, hessian = compiled(value, bound)
        wanted = run([x], [gl.jacobian(plain[steps], x)], value)[0]
        close(jacobian, wanted, 1e-12)
        close(rows[0], np.zeros(3))
        close(rows[1], [3.0 if steps == 2 else 0.0, 0.0, 0.0])
        flat = np.array([[2.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
        close(hessian, flat if steps == 2 else np.zeros((3, 3)))


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_lengths_and_until(backwards: bool) -> None:
    """Both, over named sizes, with words by their numbers: no step once all that there is, is."""
    words = gl.placeholder(("T", "B"), "int64", "words")
    ends = gl.placeholder(("B",), "int64", "ends")
    table = gl.placeholder((4,), "float64", "table")
    most = gl.placeholder((), "float64", "most")
    last, ys = gl.scan(
        lambda c, k: (c + table[k], c),
        gl.zeros_like(ends).astype("float64"),
        words,
        reverse=backwards,
        lengths=ends,
        until=lambda c: gl.any(c > most),
    )
    slope = gl.grad(gl.sum(last), table)
    values = np.array([1.0, 2.0, 3.0, 4.0])
    rng = np.random.default_rng(0)
    compiled = Both([words, ends, table, most], [last, ys, slope])
    for steps, batch, bound in ((5, 0, 5), (1, 1, 5), (6, 3, 5), (9, 2, 5), (9, 3, 99)):
        numbers, cut = rng.integers(0, 4, (steps, batch)), rng.integers(0, steps // 2 + 2, batch)
        found = compiled(numbers, cut, values, bound)
        total, rows, counts = np.zeros(batch), np.zeros((steps, batch)), np.zeros(4)
        for step in range(steps)[:: -1 if backwards else 1]:
            if (total > bound).any():
                break
            for b in range(batch):
                if step < cut[b]:
                    rows[step, b] = total[b]
                    total[b] += values[numbers[step, b]]
                    counts[numbers[step, b]] += 1
        for got, wanted in zip(found, (total, rows, counts), strict=True):
            close(got, wanted)


def test_no_step_is_run_that_no_sample_takes() -> None:
    """A check in the body would fail there; and steps that a sample does not take see zeros."""
    xs, ends = gl.placeholder((4, 2), "float64", "xs"), gl.placeholder((2,), "int64", "ends")

    def step(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return gl.check(c + x, gl.any(x > 0), "a step without a positive entry"), c

    values = np.array([[1.0, 1.0], [2.0, -9.0], [0.0, 0.0], [0.0, 0.0]])
    last, _ = gl.scan(step, gl.zeros((2,), "float64"), xs, lengths=ends)
    assert run([xs, ends], [last], values, [2, 1])[0].tolist() == [3.0, 1.0]
    with pytest.raises(gl.CheckError, match="without a positive entry"):
        run([xs, ends], [last], values, [3, 1])


@pytest.mark.parametrize("kind", ["limit", "limit, reverse", "condition", "both"])
@pytest.mark.parametrize("flags", [(0, 0, 0), (0, None, None), (None, 0, None), (None, None, 0)])
def test_every_result_of_a_batched_scan(flags: tuple[int | None, ...], kind: str) -> None:
    """Histories and numbers of steps too, which are read where a derivative was taken before."""

    def results(start: Tensor, xs: Tensor, limit: Tensor) -> tuple[Tensor, ...]:
        c, x, before = (gl.placeholder((), "float64", name) for name in ("c", "x", "before"))
        body = Graph("body", [c, x], [c + x, gl.sqrt(c * x)])
        proceed = Graph("proceed", [before], [before < 4.0])
        asks, limited = kind in ("condition", "both"), kind != "condition"
        made = make_scan(
            body,
            [start],
            [xs],
            [],
            4,
            "reverse" in kind,
            proceed if asks else None,
            limit if limited else None,
        )
        return made.node.results

    single = [
        gl.placeholder((), "float64", "start"),
        gl.placeholder((4,), "float64", "xs"),
        gl.placeholder((), "int64", "limit"),
    ]
    rng = np.random.default_rng(0)
    entries = [
        [np.array(start), 1 + rng.random(4), np.array(limit)]
        for start, limit in ((0.5, 2), (3.0, 4), (9.0, 3), (0.1, 9), (2.0, -1), (0.2, 0))
    ]
    batched = [
        gl.placeholder(("N", *t.shape) if flag == 0 else t.shape, t.dtype, f"x{i}")
        for i, (t, flag) in enumerate(zip(single, flags, strict=True))
    ]
    arrays = [
        np.stack([entry[i] for entry in entries]) if flag == 0 else entries[0][i]
        for i, flag in enumerate(flags)
    ]
    if flags == (None, None, 0) and kind == "condition":  # the limit is not read
        return
    found = run(batched, list(gl.vmap(results, flags)(*batched)), *arrays)
    for n, entry in enumerate(entries):
        own = [entry[i] if flag == 0 else entries[0][i] for i, flag in enumerate(flags)]
        for got, wanted in zip(found, run(single, results(*single), *own), strict=True):
            close(got[n], wanted)
