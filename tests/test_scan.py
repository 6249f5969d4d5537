"""Scans: derivatives in both modes and of second order against the unrolled graph, nested, batched,
over named lengths, with carries of any structure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.frontends.vmap import vmap
from gradloom.ir.graph import Graph
from gradloom.ir.tensor import Tensor

from .op_cases import close, slopes_of

NumpyArray = np.ndarray[Any, Any]
LENGTHS = (0, 1, 2, 7)


def unrolled(
    body: Callable[[Any, Tensor], tuple[Any, Tensor | None]],
    init: Any,
    xs: Tensor,
    length: int,
    backwards: bool = False,
) -> tuple[Any, list[Tensor | None]]:
    """What scan means, as graph without a loop."""
    carry = init
    ys: list[Tensor | None] = [None] * length
    for step in range(length)[::-1] if backwards else range(length):
        carry, ys[step] = body(carry, xs[step])
    return carry, ys


def both(length: int, backwards: bool) -> tuple[list[Tensor], Tensor, Tensor]:
    """Inputs, and the same loss by scan and unrolled: a recurrence with a weight from outside."""
    w = gl.placeholder((3, 3), "float64", "w")
    h = gl.placeholder((3,), "float64", "h")
    xs = gl.placeholder((length, 3), "float64", "xs")

    def body(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        after = gl.tanh(w @ carry + x)
        return after, after * x

    last, ys = gl.scan(body, h, xs, reverse=backwards)
    by_scan = gl.sum(last * last) + gl.sum(ys * gl.sin(ys))
    carry, each = unrolled(body, h, xs, length, backwards)
    plain = gl.sum(carry * carry)
    for y in each:
        assert y is not None
        plain = plain + gl.sum(y * gl.sin(y))
    return [w, h, xs], by_scan, plain


def values_of(inputs: Sequence[Tensor], seed: int = 0) -> list[NumpyArray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=t.shape) for t in inputs]  # type: ignore[arg-type]


@pytest.mark.campaign(2)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_scan_derivatives(length: int, backwards: bool):
    """Value, both modes and second order: scan = unrolled = central differences."""
    inputs, by_scan, plain = both(length, backwards)
    wrt = inputs if length else inputs[1:2]
    directions = [gl.placeholder(t.shape, t.dtype, f"d{i}") for i, t in enumerate(wrt)]
    results: list[list[NumpyArray]] = []
    arrays = [*values_of(inputs), *values_of(wrt, 1)]
    for loss in (by_scan, plain):
        slopes = gl.grad(loss, wrt)
        pushed = gl.jvp(loss, wrt, directions)
        products = gl.sum(slopes[0] * directions[0])
        for slope, direction in zip(slopes[1:], directions[1:], strict=True):
            products = products + gl.sum(slope * direction)
        outputs = [
            loss,
            pushed,
            *slopes,
            *gl.grad(products, wrt),
            gl.jvp(products, wrt, directions),
        ]
        graph = Graph("loss", [*inputs, *directions], outputs)
        results.append(gl.compile(graph)(*arrays))
    for got, wanted in zip(*results, strict=True):
        close(got, wanted, 1e-10)
    count = len(wrt)
    value = Graph("value", inputs, [by_scan])
    for i in range(count):
        slope = slopes_of(value, arrays[: len(inputs)], i if length else 1)
        close(results[0][2 + i], slope, 1e-7)
    along = sum(np.sum(s * d) for s, d in zip(results[0][2 : 2 + count], arrays[3:], strict=True))
    close(results[0][1], along, 1e-10)


def test_scan_over_a_named_length():
    """One compilation for every length; with a carry that is a dict and no y."""
    xs = gl.placeholder(("T", 3), "float64", "xs")
    decay = gl.placeholder((), "float64", "decay")

    def body(c: dict[str, Tensor], x: Tensor) -> tuple[dict[str, Tensor], None]:
        return {"sum": c["sum"] * decay + x, "count": c["count"] + 1}, None

    init = {"sum": gl.zeros((3,), "float64"), "count": gl.constant(0, "int64")}
    last, ys = gl.scan(body, init, xs)
    assert ys is None
    assert sorted(last) == ["count", "sum"]
    loss = gl.sum(gl.square(last["sum"]))
    function = gl.function([xs, decay], [last["sum"], last["count"], *gl.grad(loss, [xs, decay])])
    for length in (*LENGTHS, 40):
        values = np.random.default_rng(length).normal(size=(length, 3))
        total, count, by_xs, by_decay = function(values, 0.9)
        powers = 0.9 ** np.arange(length)[::-1]
        close(total, powers @ values)
        assert int(count) == length
        close(by_xs, 2 * powers[:, None] * total, 1e-10)
        slopes = np.arange(length)[::-1] * 0.9 ** (np.arange(length)[::-1] - 1.0)
        close(by_decay, np.sum(2 * total * (slopes @ values)), 1e-9)


def test_scan_without_sequences():
    x = gl.placeholder((2,), "float64", "x")
    last, ys = gl.scan(lambda c, _: (c * x, (c, {"twice": 2 * c})), x, length=4)
    function = gl.function([x], [last, *ys[:1], ys[1]["twice"], gl.grad(gl.sum(last), x)])
    value = np.array([1.5, -0.5])
    last_value, carries, twice, slope = function(value)
    close(last_value, value**5)
    close(carries, np.stack([value ** (i + 1) for i in range(4)]))
    close(twice, 2 * carries)
    close(slope, 5 * value**4)


@pytest.mark.campaign(2)
@pytest.mark.parametrize("lengths", [(2, 3), (0, 2), (3, 0), (1, 1)])
def test_nested_scans(lengths: tuple[int, int]):
    """A scan in the body of a scan, differentiated twice, against the unrolled graph."""
    outer, inner = lengths
    x = gl.placeholder((2,), "float64", "x")
    xs = gl.placeholder((outer, 2), "float64", "xs")

    def small(c: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return gl.sin(c + y * x), c * y

    def by_scan(c: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        last, stacked = gl.scan(small, c, gl.broadcast_to(y, (inner, 2)))
        return last, gl.sum(stacked, axis=0)

    def plain(c: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        total = gl.zeros((2,), "float64")
        for _ in range(inner):
            c, product = small(c, y)
            total = total + product
        return c, total

    last, ys = gl.scan(by_scan, x, xs)
    carry, each = unrolled(plain, x, xs, outer)
    losses = [gl.sum(last * 2) + gl.sum(ys * ys), gl.sum(carry * 2)]
    for y in each:
        assert y is not None
        losses[1] = losses[1] + gl.sum(y * y)
    results: list[Any] = []
    values = values_of([x, xs])
    for loss in losses:
        slope = gl.grad(loss, x)
        second = gl.grad(gl.sum(slope * slope), x) if inner and outer else slope
        results.append(gl.function([x, xs], [loss, slope, second])(*values))
    for got, wanted in zip(*results, strict=True):
        close(got, wanted, 1e-10)


def test_vmap_of_a_scan_and_scan_of_a_vmap():
    """Of values and of gradients, over each operand, against a loop over the entries."""
    inputs, _, _ = both(4, False)

    def run(w: Tensor, h: Tensor, xs: Tensor) -> tuple[Tensor, Tensor]:
        last, ys = gl.scan(lambda c, x: (gl.tanh(w @ c + x), c * x), h, xs)
        loss = gl.sum(last) + gl.sum(ys * ys)
        return loss, gl.grad(loss, w)

    single = gl.function(inputs, list(run(*inputs)))
    entries = [values_of(inputs, seed) for seed in range(3)]
    for flags in [(0, 0, 0), (0, None, None), (None, 0, None), (None, None, 0), (None, 0, 0)]:
        batched = [
            gl.placeholder(("N", *t.shape) if flag == 0 else t.shape, t.dtype, f"x{i}")
            for i, (t, flag) in enumerate(zip(inputs, flags, strict=True))
        ]
        function = gl.function(batched, list(vmap(run, flags)(*batched)))
        given = [
            np.stack([entry[i] for entry in entries]) if flag == 0 else entries[0][i]
            for i, flag in enumerate(flags)
        ]
        losses, slopes = function(*given)
        for n in range(3):
            own = [entries[n][i] if flag == 0 else entries[0][i] for i, flag in enumerate(flags)]
            loss, slope = single(*own)
            close(losses[n], loss)
            close(slopes[n], slope, 1e-11)

    rows = gl.placeholder((5, 2), "float64", "rows")

    def square(a: Tensor) -> Tensor:
        return gl.sum(a * a)

    dot = vmap(square)
    total, each = gl.scan(
        lambda c, r: (c + r, dot(gl.reshape(r, (2, 1)))), gl.zeros((2,), "float64"), rows
    )
    values = np.random.default_rng(3).normal(size=(5, 2))
    found = gl.function([rows], [total, each])(values)
    close(found[0], values.sum(0))
    close(found[1], values**2)


def test_carries_that_change_places():
    """(a, b) → (b, a + b): a carry must be read before it is overwritten."""
    a, b = gl.constant(0, "int64"), gl.constant(1, "int64")
    (last, _), ys = gl.scan(lambda c, _: ((c[1], c[0] + c[1]), c[0]), (a, b), length=10)
    found = gl.function([], [last, ys])()
    assert int(found[0]) == 55
    assert found[1].tolist() == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]


def test_a_carry_that_changes_its_type_names_the_line():
    x = gl.placeholder((3,), name="x")
    with pytest.raises(gl.GradloomError) as caught:
        gl.scan(lambda c, _: (gl.expand_dims(c, 0), c), x, length=2)
    assert "the carry enters the body as f32[3]" in str(caught.value)
    assert "test_scan.py:" in str(caught.value)


BODIES: list[Callable[[Any, Any], Any]] = [
    lambda h, a: (h + a * a * a, None),  # affine in the carry: some paths vanish
    lambda h, a: (h, a * a * a),  # nothing but outputs
    lambda h, a: (gl.sin(h + a), None),
    lambda h, a: (h * a + gl.exp(h), a * h),
]


@pytest.mark.campaign(2)
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("body", BODIES)
def test_reverse_over_reverse_equals_the_unrolled_graph(body: Any, order: int) -> None:
    x = gl.placeholder((3,), "float64", name="x")
    h, ys = gl.scan(body, gl.zeros((), "float64") + 0.1, x)
    looped: Any = h if ys is None else h + gl.sum(ys)
    plain: Any = gl.zeros((), "float64") + 0.1
    total: Any = 0.0
    for i in range(3):
        plain, y = body(plain, x[i])
        total = total if y is None else total + y
    plain = plain + total
    for _ in range(order):
        looped, plain = (gl.sum(gl.grad(y, x)) for y in (looped, plain))
    found, expected = gl.function([x], [looped, plain])(np.array([0.3, -0.7, 0.4]))
    np.testing.assert_allclose(found, expected, 1e-10, 1e-10)


def test_the_second_derivative_of_a_linear_function_is_zero() -> None:
    x = gl.placeholder((3,), "float64", name="x")
    slope = gl.grad(gl.sum(3.0 * x), x)
    assert (gl.function([x], gl.grad(gl.sum(slope), x))(np.ones(3)) == 0).all()
