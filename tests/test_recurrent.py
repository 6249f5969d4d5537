# pyright: standard
"""Recurrent networks: each cell is its formula, gate by gate in NumPy, and the gradient of a loop
is that of the loop unrolled; stacks, both directions, and output fed back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.tensor import Tensor

from .op_cases import close

NumpyArray = np.ndarray[Any, Any]
R = gl.recurrent


def sigma(z: NumpyArray) -> NumpyArray:
    return 1 / (1 + np.exp(-z))


def gate(w: dict[str, NumpyArray], number: int, x: NumpyArray, h: NumpyArray) -> NumpyArray:
    """x w + h u + b of one gate."""
    size = w["u"].shape[0]
    columns = slice(number * size, (number + 1) * size)
    return x @ w["w"][:, columns] + h @ w["u"][:, columns] + w["b"][columns]


def simple(w: Any, carry: Any, x: Any) -> Any:
    h = np.tanh(gate(w, 0, x, carry[0]))
    return (h,), h


def rectified(w: Any, carry: Any, x: Any) -> Any:
    h = np.maximum(gate(w, 0, x, carry[0]), 0)
    return (h,), h


def leaky(w: Any, carry: Any, x: Any) -> Any:
    h = 0.7 * carry[0] + 0.3 * np.tanh(gate(w, 0, x, carry[0]))
    return (h,), h


def lstm(w: Any, carry: Any, x: Any) -> Any:
    h, c = carry
    p = w.get("p", np.zeros((3, h.shape[-1])))
    i = sigma(gate(w, 0, x, h) + p[0] * c)
    f = sigma(gate(w, 1, x, h) + p[1] * c)
    c = f * c + i * np.tanh(gate(w, 2, x, h))
    h = sigma(gate(w, 3, x, h) + p[2] * c) * np.tanh(c)
    return (h, c), h


def coupled(w: Any, carry: Any, x: Any) -> Any:
    h, c = carry
    p = w.get("p", np.zeros((2, h.shape[-1])))
    i = sigma(gate(w, 0, x, h) + p[0] * c)
    c = (1 - i) * c + i * np.tanh(gate(w, 1, x, h))
    h = sigma(gate(w, 2, x, h) + p[1] * c) * np.tanh(c)
    return (h, c), h


def gru_before(w: Any, carry: Any, x: Any) -> Any:
    (h,) = carry
    r, z = sigma(gate(w, 0, x, h)), sigma(gate(w, 1, x, h))
    n = np.tanh(gate(w, 2, x, r * h))
    h = (1 - z) * n + z * h
    return (h,), h


def gru_after(w: Any, carry: Any, x: Any) -> Any:
    (h,) = carry
    r, z = sigma(gate(w, 0, x, h)), sigma(gate(w, 1, x, h))
    inner = h @ w["u"][:, -h.shape[-1] :]
    n = np.tanh(gate(w, 2, x, 0 * h) + r * (inner + w["d"]))
    h = (1 - z) * n + z * h
    return (h,), h


class Kind(NamedTuple):
    """A cell: how it is made of weights, what it is in NumPy, and its weights at first."""

    make: Callable[..., Any]
    step: Callable[..., Any]
    weights: Callable[..., dict[str, Any]]
    carries: int = 1


KINDS = {
    "simple": Kind(R.simple, simple, R.simple_weights),
    "rectified": Kind(lambda **w: R.simple(**w, activation=gl.relu), rectified, R.simple_weights),
    "leaky": Kind(lambda **w: R.leaky(**w, rate=0.3), leaky, R.simple_weights),
    "lstm": Kind(R.lstm, lstm, R.lstm_weights, 2),
    "peepholes": Kind(R.lstm, lstm, lambda *a: R.lstm_weights(*a, peepholes=True), 2),
    "coupled": Kind(
        lambda **w: R.lstm(**w, coupled=True),
        coupled,
        lambda *a: R.lstm_weights(*a, coupled=True, peepholes=True),
        2,
    ),
    "gru": Kind(R.gru, gru_before, R.gru_weights),
    "gru_after": Kind(
        lambda **w: R.gru(**w, reset="after"),
        gru_after,
        lambda *a: R.gru_weights(*a, reset="after"),
    ),
}


def drawn(kind: Kind, inputs: int, hidden: int, seed: int = 0) -> dict[str, NumpyArray]:
    """Weights with no zeros among them."""
    rng = np.random.default_rng(seed)
    made = kind.weights(inputs, hidden, 0, "float64")
    return {name: rng.normal(size=w.shape) for name, w in made.items()}


def carried(kind: Kind, parts: Any) -> Any:
    """A carry as the cell wants it."""
    return tuple(parts) if kind.carries == 2 else parts[0]


def loop(kind: Kind, w: Any, carry: Any, xs: NumpyArray, backwards: bool = False) -> Any:
    """The last carries and the ys."""
    ys: list[Any] = [np.zeros_like(carry[0])] * len(xs)
    for t in range(len(xs))[::-1] if backwards else range(len(xs)):
        carry, ys[t] = kind.step(w, carry, xs[t])
    return carry, np.array(ys).reshape(len(xs), *carry[0].shape)


@pytest.mark.campaign(4)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("inputs", "hidden"), [(3, 5), (1, 1)])
def test_a_cell_is_its_formula(name: str, inputs: int, hidden: int) -> None:
    """Compiled once for all lengths and batches; and interpreted."""
    kind, rng = KINDS[name], np.random.default_rng(1)
    arrays = drawn(kind, inputs, hidden)
    weights = {key: gl.placeholder(a.shape, "float64", key) for key, a in arrays.items()}
    xs = gl.placeholder(("T", "B", inputs), "float64", "xs")
    init = [gl.placeholder(("B", hidden), "float64", f"c{i}") for i in range(kind.carries)]
    last, ys = gl.scan(kind.make(**weights), carried(kind, init), xs)
    inputs_ = [xs, *init, *weights.values()]
    function = gl.function(inputs_, [last, ys])
    for length, batch in ((0, 2), (1, 1), (1, 3), (6, 1), (7, 4)):
        values = rng.normal(size=(length, batch, inputs))
        starts = [rng.normal(size=(batch, hidden)) for _ in init]
        wanted = loop(kind, arrays, tuple(starts), values)
        got_last, got = function(values, *starts, *arrays.values())
        close(got, wanted[1])
        for one, other in zip(
            got_last if kind.carries == 2 else [got_last], wanted[0], strict=True
        ):
            close(one, other)
        feeds = dict(zip(inputs_, [values, *starts, *arrays.values()], strict=True))
        close(ys.eval(feeds), wanted[1])


@pytest.mark.campaign(2)
@pytest.mark.parametrize("name", ["simple", "leaky", "peepholes", "coupled", "gru", "gru_after"])
def test_gradients_are_those_of_the_loop_unrolled(name: str) -> None:
    """The loop compiled, the steps interpreted one by one."""
    kind, rng = KINDS[name], np.random.default_rng(2)
    weights = {key: gl.parameter(a, key) for key, a in drawn(kind, 3, 4).items()}
    cell = kind.make(**weights)
    xs = gl.placeholder((3, 2, 3), "float64", "xs")
    states = [gl.placeholder((2, 4), "float64", f"c{i}") for i in range(kind.carries)]
    init = carried(kind, states)
    carry, each = init, []
    for t in range(3):
        carry, y = cell(carry, xs[t])
        each.append(y)
    graphs = []
    for last, ys in (gl.scan(cell, init, xs), (carry, gl.stack(each))):
        loss = gl.sum(ys * gl.sin(ys)) + gl.sum((last[-1] if kind.carries == 2 else last) ** 2)
        slopes = gl.grad(loss, [*weights.values(), xs, *states])
        graphs.append(gl.Graph("loss", [xs, *states], [loss, *slopes]))
    values = [rng.normal(size=t.shape) for t in (xs, *states)]
    known = {w.name: w for w in weights.values()}
    wanted = gl.evaluate(graphs[1], dict(zip([xs, *states], values, strict=True)))
    for one, other in zip(gl.compile(graphs[0], known)(*values), wanted, strict=True):
        close(one, other)


def test_cells_take_one_sample_and_vmap_takes_many() -> None:
    cell = R.gru(**R.gru_weights(3, 4, 0, "float64"))
    zeros, many = gl.zeros((4,), "float64"), gl.zeros((6, 4), "float64")
    xs = gl.placeholder((6, 5, 3), "float64", "xs")
    mapped = gl.vmap(lambda x: gl.scan(cell, zeros, x)[1])(xs)
    batched = gl.swapaxes(gl.scan(cell, many, gl.swapaxes(xs, 0, 1))[1], 0, 1)
    slopes = [gl.grad(gl.sum(gl.square(ys)), xs) for ys in (mapped, batched)]
    values = np.random.default_rng(4).normal(size=(6, 5, 3))
    one, other, by_one, by_other = gl.function([xs], [mapped, batched, *slopes])(values)
    close(one, other)
    close(by_one, by_other)


def test_stacked_cells_are_a_scan_after_the_other() -> None:
    first = R.gru(**R.gru_weights(3, 4, 1, "float64"))
    second = R.lstm(**R.lstm_weights(4, 2, 2, "float64"))
    xs = gl.placeholder(("T", 2, 3), "float64", "xs")
    a, b = gl.zeros((2, 4), "float64"), gl.zeros((2, 2), "float64")
    (end_a, (end_b, _)), ys = gl.scan(R.stacked(first, second), (a, (b, b)), xs)
    last, middle = gl.scan(first, a, xs)
    (other, _), wanted = gl.scan(second, (b, b), middle)
    function = gl.function([xs], [ys, wanted, end_a, last, end_b, other])
    for length in (0, 1, 5):
        got = function(np.random.default_rng(length).normal(size=(length, 2, 3)))
        for one, two in zip(got[::2], got[1::2], strict=True):
            close(one, two)


def test_bidirectional_sees_both_sides() -> None:
    kind, rng = KINDS["lstm"], np.random.default_rng(5)
    arrays = [drawn(kind, 3, 4, seed) for seed in (1, 2)]
    cells = [kind.make(**w) for w in arrays]
    xs = gl.placeholder(("T", "B", 3), "float64", "xs")
    zero = gl.zeros(("B", 4), "float64")
    (ahead, back), ys = R.bidirectional(cells[0], cells[1], [(zero, zero), (zero, zero)], xs)
    function = gl.function([xs], [ys, ahead[0], back[0]])
    for length in (0, 1, 6):
        values = rng.normal(size=(length, 2, 3))
        start = (np.zeros((2, 4)),) * 2
        pairs = zip(arrays, (False, True), strict=True)
        (one, left), (two, right) = (loop(kind, w, start, values, back) for w, back in pairs)
        for got, wanted in zip(
            function(values), (np.concatenate([left, right], -1), one[0], two[0]), strict=True
        ):
            close(got, wanted)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_samples_of_different_lengths(name: str) -> None:
    """Each sample is what it is alone, in both directions; padding is nan, and has no slope."""
    kind, rng = KINDS[name], np.random.default_rng(9)
    arrays = [drawn(kind, 3, 4, seed) for seed in (3, 4)]
    weights = [{key: gl.parameter(a, key) for key, a in w.items()} for w in arrays]
    counts = np.array([5, 0, 1, 7])
    values = rng.normal(size=(7, 4, 3))
    values[np.arange(7)[:, None] >= counts] = np.nan
    xs = gl.placeholder(("T", 4, 3), "float64", "xs")
    lengths = gl.placeholder((4,), "int64", "lengths")
    init = carried(kind, [gl.zeros((4, 4), "float64")] * kind.carries)
    cells = [kind.make(**w) for w in weights]
    (ahead, back), ys = R.bidirectional(cells[0], cells[1], (init, init), xs, lengths)
    slopes = gl.grad(gl.sum(gl.square(ys)), [xs, weights[0]["w"]])
    ends = [end[0] if kind.carries == 2 else end for end in (ahead, back)]
    got, *got_ends, by_xs, by_w = gl.function([xs, lengths], [ys, *ends, *slopes])(values, counts)
    alone = gl.scan(cells[0], carried(kind, [gl.zeros((4,), "float64")] * kind.carries), xs[:, 0])
    slope = gl.Graph("one", [xs], [gl.grad(gl.sum(gl.square(alone[1])), weights[0]["w"])])
    total = np.zeros_like(by_w)
    for sample, count in enumerate(counts):
        own = values[:count, sample]
        start = (np.zeros(4),) * kind.carries
        for way, w in enumerate(arrays):
            last, wanted = loop(kind, w, start, own, backwards=way == 1)
            close(got[:count, sample, 4 * way : 4 * way + 4], wanted)
            close(got_ends[way][sample], last[0])
        total += gl.evaluate(slope, {xs: np.repeat(own[:, None], 4, axis=1)})
    assert not np.any(got[np.arange(7)[:, None] >= counts])
    assert not np.any(by_xs[np.arange(7)[:, None] >= counts]) and np.isfinite(by_xs).all()
    close(by_w, total, 1e-10)


# --- the output fed back --------------------------------------------------------------------------


def fed_back(w: Any, v: Any, xs: Any, targets: Any, use: Any) -> tuple[NumpyArray, NumpyArray]:
    """h' = tanh([x, y] w + h u + b), y' = h' v, in NumPy; `use` tells where y is a target."""
    h, y = np.zeros((xs.shape[1], 4)), np.zeros((xs.shape[1], 2))
    ys = []
    for t, x in enumerate(xs):
        y = np.where(use[t][:, None], targets[t], y)
        h = np.tanh(np.concatenate([x, y], -1) @ w["w"] + h @ w["u"] + w["b"])
        y = h @ v
        ys.append(y)
    return np.array(ys), y


def test_outputs_are_fed_back_or_forced() -> None:
    """Free, forced always, and where a coin says so; the readout's slope too."""
    rng = np.random.default_rng(6)
    w: dict[str, Any] = {
        "w": rng.normal(size=(5, 4)),
        "u": rng.normal(size=(4, 4)),
        "b": rng.normal(size=4),
    }
    v = rng.normal(size=(4, 2))
    values, goals = rng.normal(size=(6, 3, 3)), rng.normal(size=(6, 3, 2))
    before = np.concatenate([np.zeros((1, 3, 2)), goals[:-1]])
    coin = rng.random((6, 3)) < 0.5
    xs, targets = (gl.placeholder(a.shape, "float64") for a in (values, goals))
    use, read = gl.placeholder((6, 3), "bool"), gl.placeholder((4, 2), "float64")
    cell = R.simple(**w)

    def readout(h: Tensor) -> Tensor:
        return h @ read

    init = (gl.zeros((3, 4), "float64"), gl.zeros((3, 2), "float64"))
    seen = R.shifted(targets, init[1])
    (_, last), free = gl.scan(R.feedback(cell, readout), init, xs)
    forced = R.feedback(cell, readout, forced=True)
    _, always = gl.scan(lambda c, x: forced(c, (*x, None)), init, (xs, seen))
    _, sometimes = gl.scan(forced, init, (xs, seen, use))
    found = [free, always, sometimes]
    slopes = [gl.grad(gl.sum(gl.square(ys)), read) for ys in found]
    got = gl.function([xs, targets, use, read], [last, *found, *slopes])(values, goals, coin, v)
    never = np.zeros((6, 3), bool)
    close(got[0], fed_back(w, v, values, before, never)[1])
    for ys, slope, chosen in zip(got[1:4], got[4:], (never, ~never, coin), strict=True):
        close(ys, fed_back(w, v, values, before, chosen)[0])
        step = 1e-6 * rng.normal(size=v.shape)
        losses = [np.sum(fed_back(w, v + s, values, before, chosen)[0] ** 2) for s in (step, -step)]
        close(np.sum(slope * step), (losses[0] - losses[1]) / 2, 1e-7)


def test_a_network_of_its_own_output_alone() -> None:
    """x None: nothing but y comes in; the length says how long it runs."""
    rng = np.random.default_rng(7)
    w, u, v = rng.normal(size=(2, 4)), rng.normal(size=(4, 4)), rng.normal(size=(4, 2))
    cell = R.feedback(R.simple(w, u), lambda h: gl.tanh(h @ v))
    init = (gl.zeros((1, 4), "float64"), gl.ones((1, 2), "float64"))
    _, ys = gl.scan(cell, init, length=5)
    h, y = np.zeros((1, 4)), np.ones((1, 2))
    for got in gl.function([], ys)():
        h = np.tanh(y @ w + h @ u)
        y = np.tanh(h @ v)
        close(got, y)


@pytest.mark.parametrize("length", [0, 1, 4])
def test_shifted_targets(length: int) -> None:
    targets = {"a": gl.placeholder(("T", 2), name="a"), "b": gl.placeholder(("T",), "int64", "b")}
    first = {"a": gl.ones((2,)), "b": gl.constant(7)}
    got = gl.function(list(targets.values()), R.shifted(targets, first))(
        np.arange(2 * length, dtype="f").reshape(length, 2), np.arange(length)
    )
    assert got["a"].shape == (length, 2)
    np.testing.assert_array_equal(got["b"], [7, *range(length - 1)][:length])
    if length:
        np.testing.assert_array_equal(got["a"][0], [1, 1])
        np.testing.assert_array_equal(got["a"][1:].ravel(), np.arange(2 * length - 2))


def test_states_of_earlier_steps_as_the_docs_show() -> None:
    """A connection that skips steps: the carry holds the last three states."""
    rng = np.random.default_rng(8)
    w, u, v = (rng.normal(size=(3, 3)) for _ in range(3))

    def body(states: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        h = gl.tanh(x @ w + states[0] @ u + states[-1] @ v)
        return (h, *states[:-1]), h

    xs = gl.placeholder((6, 2, 3), "float64", "xs")
    _, ys = gl.scan(body, (gl.zeros((2, 3), "float64"),) * 3, xs)
    values = rng.normal(size=(6, 2, 3))
    states = [np.zeros((2, 3))] * 3
    for x in values:
        states.append(np.tanh(x @ w + states[-1] @ u + states[-3] @ v))
    close(gl.function([xs], ys)(values), states[3:])


# --- weights --------------------------------------------------------------------------------------


def test_weights_to_begin_with() -> None:
    inputs, hidden = 30, 20
    for name, gates in (("simple", 1), ("lstm", 4), ("coupled", 3), ("gru", 3), ("gru_after", 3)):
        made = KINDS[name].weights(inputs, hidden, 3)
        again = KINDS[name].weights(inputs, hidden, np.random.default_rng(3))
        other = KINDS[name].weights(inputs, hidden, 4)
        assert all(w.dtype == gl.float32 and isinstance(w, gl.Parameter) for w in made.values())
        np.testing.assert_array_equal(made["w"].value, again["w"].value)
        assert np.abs(made["w"].value - other["w"].value).max() > 0.1
        w, u = made["w"].value, made["u"].value
        assert w.shape == (inputs, gates * hidden)
        bound = np.sqrt(6 / (inputs + hidden))
        assert np.abs(w).max() <= bound and np.std(w) == pytest.approx(bound / np.sqrt(3), rel=0.1)
        for part in np.split(u, gates, axis=1):
            close(part.T @ part, np.eye(hidden), 1e-5)
        b = np.zeros((gates, hidden))
        if name == "lstm":
            b[1] = 1
        if name == "coupled":
            b[0] = -1
        np.testing.assert_array_equal(made["b"].value, b.ravel())
    names = [w.name for w in R.lstm_weights(1, 1, peepholes=True, name="top").values()]
    assert names == ["top.w", "top.u", "top.b", "top.p"]
    assert R.lstm_weights(1, 2, peepholes=True, forget_bias=2.5)["b"].value[2] == 2.5


def test_orthogonal_weights_are_spread_evenly() -> None:
    """Q is as likely as −Q: without the signs of R, QR gives entries of one sign more often."""
    entries = [R.simple_weights(1, 4, seed)["u"].value[0, 0] for seed in range(200)]
    assert abs(np.mean(entries)) < 0.12 and 0.4 < np.std(entries) < 0.6
