# pyright: standard
"""Running values as users call them: any axis, both ends, zeros and infinities, and their fusion.

Against NumPy and PyTorch; the generated tests have the derivatives at ordinary points.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import ArgumentError, DTypeError, GradloomError
from gradloom.ir.kernel import Reduce, Running
from gradloom.ir.tensor import Tensor

from .cuda_device import simulated
from .test_reductions import check, drawn, everywhere

NumpyArray = np.ndarray[Any, Any]
SHAPES = [(3, 40), (1, 1), (4, 0), (0, 2)]


def backwards(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, axis: np.flip(function(np.flip(x, axis), axis), axis)


RUNNING: dict[str, tuple[Callable[..., Tensor], Callable[..., Any]]] = {
    "sum": (gl.cumulative_sum, np.cumsum),
    "prod": (gl.cumulative_prod, np.cumprod),
    "max": (gl.cumulative_max, np.maximum.accumulate),
    "min": (gl.cumulative_min, np.minimum.accumulate),
    "logsumexp": (gl.cumulative_logsumexp, np.logaddexp.accumulate),
}


@pytest.mark.parametrize("name", RUNNING)
def test_along_any_axis_from_both_ends(name: str):
    build, by_numpy = RUNNING[name]
    ways = [(axis, reverse) for axis in (0, -1) for reverse in (False, True)]
    check(
        lambda t: [build(t, axis=axis, reverse=reverse) for axis, reverse in ways],
        lambda t: [(backwards(by_numpy) if r else by_numpy)(t, a) for a, r in ways],
        *map(drawn, SHAPES),
    )


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float32"])
def test_dtypes(dtype: str):
    """Sums and products widen as `sum` does, extremes stay."""
    x = drawn((37,), dtype)
    wide: Any = {"b": np.int64, "i": np.int64, "u": np.uint64}.get(x.dtype.kind, x.dtype)
    wanted = [
        np.cumsum(x, dtype=wide),
        np.cumprod(x, dtype=wide),
        np.maximum.accumulate(x),
        np.minimum.accumulate(x),
        np.cumsum(x, dtype=np.float32),
    ]
    for got in everywhere(
        lambda t: [
            *(build(t) for build, _ in list(RUNNING.values())[:4]),
            gl.cumsum(t, dtype="float32"),
        ],
        x,
    ):
        for value, right in zip(got, wanted, strict=True):
            assert value.dtype == right.dtype
            np.testing.assert_allclose(value, right, rtol=1e-5, atol=1e-5)


def test_an_initial_entry():
    x = drawn((3, 5))
    zero, one = np.zeros((3, 1)), np.ones((3, 1))
    wanted = [
        np.hstack([zero, np.cumsum(x, 1)]),
        np.hstack([one, np.cumprod(x, 1)]),
        np.hstack([backwards(np.cumsum)(x, 1), zero]),
    ]
    for got in everywhere(
        lambda t: [
            gl.cumulative_sum(t, axis=1, include_initial=True),
            gl.cumulative_prod(t, axis=1, include_initial=True),
            gl.cumulative_sum(t, axis=1, include_initial=True, reverse=True),
        ],
        x,
    ):
        for value, right in zip(got, wanted, strict=True):
            np.testing.assert_allclose(value, right, rtol=1e-12)


def test_infinities_and_nan():
    x = np.array([[-np.inf, -1e3, 2.0, 1e3], [0.0, np.inf, 5.0, -np.inf], [1.0, np.nan, 2.0, 3.0]])
    names = ("max", "min", "logsumexp", "sum")
    with np.errstate(all="ignore"):
        wanted = [RUNNING[name][1](x, 1) for name in names]
    for got in everywhere(lambda t: [RUNNING[name][0](t, axis=1) for name in names], x):
        for value, right in zip(got, wanted, strict=True):
            np.testing.assert_allclose(value, right, rtol=1e-14)


def test_log_sums_neither_overflow_nor_lose_digits():
    x = (drawn((3, 2000)) * 1e4).astype(np.float32)
    wanted = np.logaddexp.accumulate(x.astype(np.float64), 1)
    for got in everywhere(lambda t: [gl.cumulative_logsumexp(t, axis=1)], x):
        np.testing.assert_allclose(got[0], wanted, rtol=3e-7)


# --- derivatives where there are zeros, ties and infinities ---------------------------------------


def by_torch(build: Callable[[Any, Any], Any], x: NumpyArray, weight: NumpyArray) -> NumpyArray:
    torch = pytest.importorskip("torch")
    leaf = torch.tensor(x, requires_grad=True)
    (build(torch, leaf) * torch.tensor(weight)).sum().backward()
    return leaf.grad.numpy()


ZEROS = np.array([[2.0, 0.0, 3.0, -1.0], [0.0, 4.0, 0.0, 5.0], [1.5, 2.0, -0.5, 0.0]])


def product_slopes(x: NumpyArray, weight: NumpyArray, along: int | None) -> NumpyArray:
    """∂Σ weight · product / ∂x: products are linear in each entry, so a difference is exact."""
    found = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        ends: list[Any] = []
        for value in (0.0, 1.0):
            moved = x.copy()
            moved[place] = value
            result = np.prod(moved) if along is None else np.cumprod(moved, along)
            ends.append(np.sum(result * weight))
        found[place] = ends[1] - ends[0]
    return found


@pytest.mark.parametrize("axis", [0, 1])
def test_products_with_zeros(axis: int):
    weight = drawn((3, 4), seed=1)
    wanted = product_slopes(ZEROS, weight, axis)
    for got in everywhere(
        lambda t: [gl.grad(gl.sum(gl.cumprod(t, axis) * weight), t)], ZEROS, named=False
    ):
        np.testing.assert_allclose(got[0], wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_product_of_everything_with_zeros(zeros: int):
    """First and second order over two axes; the Hessian of a product is made of products."""
    x = np.array([[2.0, -1.0, 3.0], [0.5, 1.5, -2.0]])
    x.reshape(-1)[:zeros] = 0.0
    flat = x.reshape(-1)
    wanted = product_slopes(x, np.ones(()), None)
    direction = drawn((2, 3), seed=2)
    hessian = np.array(
        [[0.0 if i == j else np.prod(np.delete(flat, [i, j])) for j in range(6)] for i in range(6)]
    )
    curved = (hessian @ direction.reshape(-1)).reshape(2, 3)

    def build(t: Tensor) -> list[Tensor]:
        y = gl.prod(t)
        first = gl.grad(y, t)
        pushed = gl.jvp(y, t, gl.constant(direction))
        return [y, first, gl.grad(gl.sum(first * direction), t), pushed]

    for got in everywhere(build, x, named=False):
        np.testing.assert_allclose(got[0], np.prod(x), rtol=1e-14)
        np.testing.assert_allclose(got[1], wanted, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(got[2], curved, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(got[3], np.sum(wanted * direction), rtol=1e-13, atol=1e-13)


def test_extremes_with_ties_give_to_the_first():
    x = np.array([1.0, 3.0, 3.0, 2.0, 4.0, 4.0])
    weight = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    for got in everywhere(
        lambda t: [
            gl.grad(gl.sum(gl.cumulative_max(t) * weight), t),
            gl.grad(gl.sum(gl.cumulative_min(-t) * weight), t),
        ],
        x,
        named=False,
    ):
        np.testing.assert_array_equal(got[0], [1, 14, 0, 0, 48, 0])
        np.testing.assert_array_equal(got[1], [-1, -14, 0, 0, -48, 0])


def test_log_sums_as_torch_differentiates_them():
    x, weight = drawn((3, 20)) * 50, drawn((3, 20), seed=1)
    wanted = by_torch(lambda torch, leaf: torch.logcumsumexp(leaf, 1), x, weight)
    for got in everywhere(
        lambda t: [gl.grad(gl.sum(gl.cumulative_logsumexp(t, axis=1) * weight), t)], x, False
    ):
        np.testing.assert_allclose(got[0], wanted, rtol=1e-10, atol=1e-12)


def test_log_sums_of_what_is_masked_have_finite_derivatives():
    x = np.array([-np.inf, -np.inf, 1.0, 2.0, -np.inf])
    for got in everywhere(lambda t: [gl.grad(gl.sum(gl.cumulative_logsumexp(t)[2:]), t)], x, False):
        share = np.exp(1.0) / (np.exp(1.0) + np.exp(2.0))
        np.testing.assert_allclose(got[0], [0, 0, 1 + 2 * share, 2 - 2 * share, 0], atol=1e-14)


# --- recurrences ----------------------------------------------------------------------------------


def test_recurrence_broadcasts_and_runs_from_both_ends():
    x = drawn((4, 30))
    forward, backward = np.zeros((4, 30)), np.zeros((4, 30))
    state, behind = np.zeros(4), np.zeros(4)
    for i in range(30):
        forward[:, i] = state = 0.9 * state + x[:, i]
        backward[:, -1 - i] = behind = x[:, -1 - i] * behind + 1.0
    for got in everywhere(
        lambda t: [
            gl.linear_recurrence(0.9, t, axis=1),
            gl.linear_recurrence(t, 1.0, axis=1, reverse=True),
        ],
        x,
    ):
        np.testing.assert_allclose(got[0], forward, rtol=1e-12)
        np.testing.assert_allclose(got[1], backward, rtol=1e-12)


def test_recurrence_is_a_scan():
    """Values and derivatives are those of the loop, in one kernel instead."""
    a, b = gl.placeholder(("T", 3), "float64"), gl.placeholder(("T", 3), "float64")

    def step(h: Tensor, now: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        new = now[0] * h + now[1]
        return new, new

    _, looped = gl.scan(step, gl.zeros((3,), "float64"), (a, b))
    made = gl.linear_recurrence(a, b, axis=0)
    outputs = [
        result for h in (made, looped) for result in (h, *gl.grad(gl.sum(gl.square(h)), [a, b]))
    ]
    function = gl.function([a, b], outputs)
    for length in (0, 1, 17):
        x, y = drawn((length, 3), seed=3), drawn((length, 3), seed=4)
        got = function(x, y)
        for value, right in zip(got[:3], got[3:], strict=True):
            np.testing.assert_allclose(value, right, rtol=1e-10, atol=1e-12)


# --- fusion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1])
def test_running_values_share_a_kernel_with_their_neighbours(axis: int):
    x = gl.placeholder(("B", "N"))
    y = gl.exp(-gl.cumsum(gl.square(x), axis)) + gl.cumulative_max(gl.tanh(x), axis)
    function = gl.function([x], y)
    (kernel,) = function.program.kernels
    assert sum(isinstance(item, Running) for item in kernel.body) == 2
    apart = gl.function([x], y, fusion=False)
    assert len(apart.program.kernels) > 4
    for shape in [(33, 20), (1, 1), (0, 3), (3, 0)]:
        array = drawn(shape, "float32")
        np.testing.assert_array_equal(function(array), apart(array))


def test_a_sum_and_a_running_sum_stay_apart():
    """A block of threads shares the sum's row on a GPU, one walks it in order."""
    e = gl.exp(x := gl.placeholder((3, 100)))
    function = gl.function([x], [gl.sum(e, axis=1), gl.cumsum(e, axis=1)])
    for kernel in function.program.kernels:
        assert len({type(item) for item in kernel.body} & {Reduce, Running}) < 2
    array = drawn((3, 100), "float32")
    total, running = function(array)
    np.testing.assert_allclose(running[:, -1], total, rtol=1e-5)


def test_the_same_program_simulated_on_a_gpu():
    x = gl.placeholder(("B", 9))
    y = gl.cumulative_logsumexp(x, axis=1) + gl.cumprod(x, axis=0)
    step = gl.function([x], [y, gl.grad(gl.sum(y), x), gl.prod(x, axis=1)])
    array = drawn((5, 9), "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = simulated(step, "forward")([array], [])
    for got, wanted in zip(found, step(array), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=1e-5)


# --- differences ----------------------------------------------------------------------------------


def test_differences():
    times: list[Any] = [0, 1, np.int64(2), 3]
    cases = [(n, axis) for n in times for axis in (0, -1)]
    check(
        lambda t: [gl.diff(t, n, axis) for n, axis in cases],
        lambda t: [np.diff(t, n, axis) for n, axis in cases],
        *(drawn(shape) for shape in [(5, 4), (1, 1), (3, 0), (0, 2)]),
    )


def test_differences_with_ends_undo_running_sums():
    x, ends = drawn((3, 4)), drawn((3, 2), seed=1)
    wanted = [np.diff(x, 2, 1, ends, 1.0), x, np.diff(x, 1, 0, append=0.0)]
    for got in everywhere(
        lambda t: [
            gl.diff(t, 2, 1, ends, 1.0),
            gl.diff(gl.cumsum(t, 1), axis=1, prepend=0.0),
            gl.diff(t, axis=0, append=0.0),
        ],
        x,
        named=False,
    ):
        for value, right in zip(got, wanted, strict=True):
            np.testing.assert_allclose(value, right, rtol=1e-12, atol=1e-12)


def test_differences_that_there_are_not():
    x = gl.placeholder((3, 4))
    for n in (-1, 1.5, True):
        with pytest.raises(ArgumentError, match=r"n (must be an integer|is at least 0), got"):
            gl.diff(x, n)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="axis"):
        gl.diff(x, axis=2)
    with pytest.raises(ArgumentError, match="axis"):
        gl.diff(gl.placeholder(()))
    with pytest.raises(DTypeError, match="got bool"):
        gl.diff(gl.placeholder((3,), "bool"))


# --- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function", [gl.cumsum, gl.cumprod, gl.cumulative_max, gl.linear_recurrence]
)
def test_wrong_axes(function: Any):
    x = gl.placeholder((3, 4))
    build = (
        (lambda **a: function(x, x, **a))
        if function is gl.linear_recurrence
        else (lambda **a: function(x, **a))
    )
    for axis in (2, -3, 1.5):
        with pytest.raises(ArgumentError, match="axis"):
            build(axis=axis)


def test_what_needs_an_axis_says_so():
    for shape in ((), (3, 4)):
        with pytest.raises(ArgumentError, match="needs an axis for"):
            gl.cumsum(gl.placeholder(shape))
    assert gl.cumsum(gl.placeholder((4,))).shape == (4,)


def test_wrong_dtypes():
    whole = gl.placeholder((3,), "int32")
    for build in (gl.cumulative_logsumexp, lambda x: gl.linear_recurrence(x, x)):
        with pytest.raises(DTypeError, match="needs a float dtype"):
            build(whole)
    with pytest.raises(GradloomError):
        gl.linear_recurrence(gl.placeholder((3,)), gl.placeholder((4,)))
