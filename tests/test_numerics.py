# pyright: standard
"""The naive cross-entropy script, however it is spelled, against 50 digits.

Nobody who writes ``exp(z) / sum(exp(z))`` thinks of overflow: the compiler must.  Logits here go up
to ±10⁴ in float32, where the formula as written gives nan.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.tensor import Tensor

NumpyArray = np.ndarray[Any, Any]
CLASSES = 10
TOLERANCE = 1e-6
TINY = float(np.finfo(np.float32).smallest_subnormal)


# --- how people write it --------------------------------------------------------------------------


def kept(z: Tensor) -> Tensor:
    return gl.exp(z) / gl.sum(gl.exp(z), axis=1, keepdims=True)


def new_axis(z: Tensor) -> Tensor:
    return gl.exp(z) / gl.sum(gl.exp(z), axis=1)[:, None]


def shared(z: Tensor) -> Tensor:
    e = gl.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def along_axis(p: Tensor, t: Tensor) -> Tensor:
    return -gl.mean(gl.log(gl.take_along_axis(p, t[:, None], axis=1)))


def by_arrays(p: Tensor, t: Tensor) -> Tensor:
    return -gl.mean(gl.log(p[gl.arange(p.shape[0]), t]))


def log_first(p: Tensor, t: Tensor) -> Tensor:
    return -gl.mean(gl.log(p)[gl.arange(p.shape[0]), t])


def by_one_hot(p: Tensor, t: Tensor) -> Tensor:
    return -gl.mean(gl.sum(gl.one_hot(t, CLASSES) * gl.log(p), axis=1))


def chosen_by_one_hot(p: Tensor, t: Tensor) -> Tensor:
    return -gl.mean(gl.log(gl.sum(p * gl.one_hot(t, CLASSES), axis=1)))


def summed(p: Tensor, t: Tensor) -> Tensor:
    return gl.sum(-gl.log(gl.take_along_axis(p, t[:, None], axis=1))) / p.shape[0]


SOFTMAXES = (kept, new_axis, shared)
LOSSES = (along_axis, by_arrays, log_first, by_one_hot, chosen_by_one_hot, summed)
SPELLINGS = [
    *[(softmax, along_axis) for softmax in SOFTMAXES],
    *[(kept, loss) for loss in LOSSES[1:]],
    (new_axis, by_arrays),
    (shared, by_one_hot),
]
by_spelling = pytest.mark.parametrize(
    "spelling", SPELLINGS, ids=lambda pair: f"{pair[0].__name__}-{pair[1].__name__}"
)


# --- logits ---------------------------------------------------------------------------------------


def _logits() -> dict[str, tuple[NumpyArray, NumpyArray]]:
    rng = np.random.default_rng(5)
    rows = 24
    t = rng.integers(0, CLASSES, rows)
    hot = np.eye(CLASSES)[t]
    ramp = np.linspace(-1e4, 1e4, rows)[:, None]
    found = {
        "normal": rng.normal(size=(rows, CLASSES)),
        "wide": rng.normal(size=(rows, CLASSES)) * 20,
        "huge": rng.uniform(-1e4, 1e4, (rows, CLASSES)),
        "signs of 1e4": rng.choice([-1e4, 1e4], (rows, CLASSES)),
        "shifted": rng.normal(size=(rows, CLASSES)) + ramp,
        "ties": rng.integers(-1, 2, (rows, CLASSES)) * 1e4,
        "all equal": np.broadcast_to(ramp, (rows, CLASSES)),
        "sure and right": 1e4 * hot,
        "sure and wrong": -1e4 * hot,
        "nearly sure": hot * np.linspace(1, 60, rows)[:, None],
        "surer and surer": hot * np.linspace(15, 80, rows)[:, None] + ramp.round(),
        "nearly wrong": -hot * np.linspace(1, 60, rows)[:, None],
    }
    return {name: (z.astype(np.float32), t) for name, z in found.items()}


LOGITS = _logits()
by_logits = pytest.mark.parametrize("name", LOGITS)


@cache
def exact(name: str) -> tuple[Any, NumpyArray, NumpyArray]:
    """Loss, its gradient by the logits and by p, each rounded once from 50 digits."""
    z, t = LOGITS[name]
    rows = len(t)
    loss: Any = mpmath.mpf(0)
    by_z = np.zeros(z.shape)
    by_p = np.zeros(z.shape)
    with mpmath.workdps(50):
        for i, (row, target) in enumerate(zip(z.tolist(), t.tolist(), strict=True)):
            top = max(row)
            e = [mpmath.exp(mpmath.mpf(value) - top) for value in row]
            total = mpmath.fsum(e)
            loss += (mpmath.log(total) - (mpmath.mpf(row[target]) - top)) / rows
            for j in range(CLASSES):
                # p - 1 of the target as the sum of the others: no digits are lost
                part = e[j] if j != target else -mpmath.fsum(e[:j] + e[j + 1 :])
                by_z[i, j] = float(part / total / rows)
            by_p[i, target] = float(-total / e[target] / rows)
        return float(loss), by_z, by_p


def assert_rows_close(got: NumpyArray, wanted: NumpyArray) -> None:
    """Each row within 1e-6 of its largest entry, or of what float32 can hold."""
    assert got.dtype == np.float32
    assert np.isfinite(got).all()
    largest = np.abs(wanted).max(axis=1, keepdims=True)
    distance = np.abs(got.astype(np.float64) - wanted)
    bad = ~(distance <= TOLERANCE * largest + TINY)
    assert not bad.any(), f"{got[bad][:5]} for {wanted[bad][:5]}, rows {np.argwhere(bad)[:5, 0]}"


def assert_by_p_close(got: NumpyArray, wanted: NumpyArray, name: str, spelling: Any) -> None:
    """Relatively close where float32 holds the value, inf of its sign where it does not.

    Who takes the logarithm of all of p asks for 0 · 1/p of the classes that are not the target:
    nothing is asserted of those where p is 0 in float32.
    """
    top = float(np.finfo(np.float32).max)
    held = np.abs(wanted) <= top * (1 - 1e-4)
    if spelling[1] in (log_first, by_one_hot):
        z = LOGITS[name][0].astype(np.float64)
        distance = z.max(axis=1, keepdims=True) - z
        held &= (wanted != 0) | (distance < 87)  # exp(-87) is a normal number
    np.testing.assert_allclose(got[held], wanted[held], rtol=1e-4)
    beyond = np.abs(wanted) > top * (1 + 1e-4)
    assert np.array_equal(got[beyond], np.sign(wanted[beyond]) * np.inf)


@cache
def made(spelling: Any, ask: str) -> gl.Function:
    """The loss and the gradients that are asked for, compiled."""
    z = gl.placeholder(("B", CLASSES), name="z")
    t = gl.placeholder(("B",), "int64", name="t")
    softmax, take = spelling
    p = softmax(z)
    loss = take(p, t)
    match ask:
        case "z":
            outputs: Any = [loss, gl.grad(loss, z)]
        case "p":
            outputs = [loss, gl.grad(loss, p)]
        case _:
            outputs = [loss, *gl.grad(loss, [z, p])]
    return gl.function([z, t], outputs)


@by_spelling
@by_logits
def test_loss_and_gradient_by_logits(spelling: Any, name: str):
    loss, by_z, _ = exact(name)
    found, gradient = made(spelling, "z")(*LOGITS[name])
    assert float(found) == pytest.approx(loss, rel=TOLERANCE, abs=TINY)
    assert_rows_close(gradient, by_z)


@by_spelling
@by_logits
def test_loss_asked_for_an_intermediate(spelling: Any, name: str):
    """p, the gradient of which is asked for, must stay in the graph; the loss is no worse."""
    loss, _, by_p = exact(name)
    found, gradient = made(spelling, "p")(*LOGITS[name])
    assert float(found) == pytest.approx(loss, rel=TOLERANCE, abs=TINY)
    assert_by_p_close(gradient, by_p, name, spelling)


@by_spelling
@by_logits
def test_both_asked_for(spelling: Any, name: str):
    loss, by_z, by_p = exact(name)
    found, gradient, intermediate = made(spelling, "both")(*LOGITS[name])
    assert float(found) == pytest.approx(loss, rel=TOLERANCE, abs=TINY)
    assert_rows_close(gradient, by_z)
    assert_by_p_close(intermediate, by_p, name, spelling)


@pytest.mark.parametrize("fusion", [True, False])
def test_the_stages_agree(fusion: bool):
    """Stabilised graphs are good by the interpreter too; the script as written is not."""
    z = gl.placeholder(("B", CLASSES), name="z")
    t = gl.placeholder(("B",), "int64", name="t")
    loss = along_axis(kept(z), t)
    function = gl.function([z, t], [loss, gl.grad(loss, z)], fusion=fusion)
    feeds = dict(zip("zt", LOGITS["huge"], strict=True))
    assert not np.isfinite(loss.eval(feeds))
    exact_loss, by_z, _ = exact("huge")
    *_, last = function.stages.values()
    for value, gradient in (gl.evaluate(last, feeds), function(**feeds)):
        assert float(value) == pytest.approx(exact_loss, rel=TOLERANCE)
        assert_rows_close(gradient, by_z)


# --- gradients of gradients -----------------------------------------------------------------------


def hessian_times(z: NumpyArray, v: NumpyArray) -> NumpyArray:
    """Σ ∂²loss/∂z∂z · v in closed form, float64: rows (p ∘ v − p (p·v)) / B."""
    z, v = z.astype(np.float64), v.astype(np.float64)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return (p * v - p * (p * v).sum(axis=1, keepdims=True)) / len(z)


Second = Callable[[Tensor, Tensor, Tensor], Tensor]


def reverse_over_reverse(loss: Tensor, z: Tensor, v: Tensor) -> Tensor:
    return gl.grad(gl.sum(gl.grad(loss, z) * v), z)


def forward_over_reverse(loss: Tensor, z: Tensor, v: Tensor) -> Tensor:
    return gl.jvp(gl.grad(loss, z), z, v)


def reverse_over_forward(loss: Tensor, z: Tensor, v: Tensor) -> Tensor:
    return gl.grad(gl.jvp(loss, z, v), z)


@pytest.mark.campaign(4)
@by_spelling
@pytest.mark.parametrize(
    "second", [reverse_over_reverse, forward_over_reverse, reverse_over_forward]
)
def test_hessian_vector_product(spelling: Any, second: Second):
    z = gl.placeholder(("B", CLASSES), name="z")
    v = gl.placeholder(("B", CLASSES), name="v")
    t = gl.placeholder(("B",), "int64", name="t")
    softmax, take = spelling
    product = second(take(softmax(z), t), z, v)
    logits, labels = LOGITS["normal"]
    direction = np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)
    got = gl.function([z, v, t], product)(logits, direction, labels)
    wanted = hessian_times(logits, direction)
    largest = np.abs(wanted).max(axis=1, keepdims=True)
    assert (np.abs(got - wanted) <= 3e-6 * largest).all()


def test_a_mask_stops_an_infinite_slope() -> None:
    x = gl.placeholder((3,), "float64", name="x")
    cases: list[tuple[Any, list[float]]] = [
        (1 / gl.where(x > 0.0, x, 0.0), [0, 0, -1]),
        (gl.sqrt(gl.relu(x)), [0, 0, 0.5]),
        (gl.sqrt(gl.where(x > 0.0, x * x, 0.0)), [0, 0, 1]),
        (gl.pow(x, 0.0), [0, 0, 0]),
    ]
    step = gl.function([x], [gl.grad(gl.sum(y), x) for y, _ in cases])
    for found, (_, expected) in zip(step(np.array([-1.0, 0.0, 1.0])), cases, strict=True):
        np.testing.assert_allclose(found, expected, 1e-12)


@pytest.mark.parametrize("scale", [60.0, 100.0])
def test_rows_that_are_nearly_sure_keep_the_digits_of_what_is_left(scale: float) -> None:
    """Their gradient is all tail: exp(x − max) with x − max rounded would lose digits of it."""
    rng = np.random.default_rng(3)
    logits = rng.uniform(-scale, scale, (1000, 10)).astype("float32")
    labels = logits.argmax(axis=1)
    z = gl.placeholder(("B", 10), name="z")
    t = gl.placeholder(("B",), "int64", name="t")
    p = gl.exp(z) / gl.sum(gl.exp(z), axis=1, keepdims=True)
    loss = -gl.mean(gl.log(gl.take_along_axis(p, t[:, None], axis=1)))
    found = gl.function([z, t], gl.grad(loss, z))(logits, labels)
    wide = logits.astype(np.longdouble)
    tail = np.exp(wide - wide.max(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    tail[rows, labels] = 0
    total = 1 + tail.sum(axis=1, keepdims=True)
    expected = tail / total / len(labels)
    expected[rows, labels] = -(tail.sum(axis=1) / total[:, 0]) / len(labels)
    largest = np.abs(expected).max(axis=1, keepdims=True)
    kept = largest[:, 0] > 1e-37
    assert (np.abs(found - expected) <= 3e-7 * largest)[kept].all() and kept.any()
