# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Products added to what is there: one pass over memory, in place, and the same bits however."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.pipeline import run_pass
from gradloom.ir.errors import NumericsError
from gradloom.ir.graph import Graph
from gradloom.ir.program import Launch, Loop
from gradloom.ir.tensor import Tensor
from gradloom.runtime import native

from .cuda_device import simulated
from .random_loops import ops_in, without

NumpyArray = np.ndarray[Any, Any]
Body = Callable[[Tensor, Any], Any]
SIZES = [(0, 3, 2), (1, 1, 1), (5, 1, 4), (1, 37, 3), (33, 65, 1), (17, 35, 0), (9, 16, 21)]
TOLERANCE = {"float32": 2e-5, "float64": 1e-13}
IN_LOOP = frozenset({"totals"})  # without this pass the sums stay in the loop


def onto(total: Tensor, entry: Any) -> Any:
    """What the gradient by a weight does in each step of a backward loop."""
    left, right = entry
    return total + left.T @ right, None


def summed(
    length: Any, rows: Any, columns: Any, depth: Any, dtype: str = "float32", body: Body = onto
) -> tuple[list[Tensor], list[Tensor]]:
    """The inputs and results of a loop that adds up products."""
    xs = gl.placeholder((length, depth, rows), dtype, "xs")
    ys = gl.placeholder((length, depth, columns), dtype, "ys")
    start = gl.placeholder((rows, columns), dtype, "start")
    total, more = gl.scan(body, start, (xs, ys))
    return [xs, ys, start], [total, *([] if more is None else [more])]


def drawn(
    length: int, rows: int, columns: int, depth: int, dtype: str = "float32", whole: bool = False
) -> list[NumpyArray]:
    rng = np.random.default_rng(length + rows + columns + depth)
    shapes = [(length, depth, rows), (length, depth, columns), (rows, columns)]
    if whole or dtype[0] == "i":
        return [rng.integers(-50, 50, shape).astype(dtype) for shape in shapes]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def reference(xs: NumpyArray, ys: NumpyArray, start: NumpyArray) -> NumpyArray:
    wide = np.dtype("f8") if start.dtype.kind == "f" else start.dtype
    return start + np.einsum("tki,tkj->ij", xs.astype(wide), ys.astype(wide))


def chain(xs: NumpyArray, ys: NumpyArray, start: NumpyArray) -> NumpyArray:
    """The sum's definition for float32: a multiply-add a term, in order, each rounded once.

    The product is exact in long double and the sum nearly: whether it rounds twice alike is rare
    enough for the few numbers here.
    """
    total = start.copy()
    for x, y in zip(xs.astype(np.longdouble), ys.astype(np.longdouble), strict=True):
        for row, other in zip(x, y, strict=True):
            total = (np.outer(row, other) + total).astype(np.float32)
    return total


def assert_chain(found: Any, xs: NumpyArray, ys: NumpyArray, start: NumpyArray) -> None:
    """The bits of `chain`, on a machine that has its multiply-add."""
    wanted = chain(xs, ys, start)
    if native.host().fused:
        np.testing.assert_array_equal(found, wanted)
    else:
        np.testing.assert_allclose(found, wanted, 2e-5, 2e-5)


def in_loop(function: gl.Function) -> list[Launch]:
    """The launches of the only loop; it holds nothing else."""
    (loop,) = (step for step in function.program.steps if isinstance(step, Loop))
    launches = [step for step in loop.body if isinstance(step, Launch)]
    assert len(launches) == len(loop.body)
    return launches


# --- values -----------------------------------------------------------------------------------


@pytest.mark.campaign(2)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("named", [False, True])
def test_sums_of_products(dtype: str, named: bool) -> None:
    tolerance = TOLERANCE[dtype]
    function = gl.function(*summed("T", "M", "N", "K", dtype)) if named else None
    for rows, columns, depth in SIZES:
        for length in (0, 1, 3):
            arrays = drawn(length, rows, columns, depth, dtype)
            run = function or gl.function(*summed(length, rows, columns, depth, dtype))
            (found,) = run(*arrays)
            np.testing.assert_allclose(found, reference(*arrays), tolerance, tolerance)
            if not named:
                inputs, outputs = summed(length, rows, columns, depth, dtype)
                value = outputs[0].eval(dict(zip(inputs, arrays, strict=True)))
                np.testing.assert_allclose(value, found, tolerance, tolerance)


def test_each_sum_is_one_chain_of_multiply_adds_over_all_steps() -> None:
    """The product is not rounded before it is added: nor is it at the border of two steps."""
    arrays = drawn(4, 9, 21, 7)
    (found,) = gl.function(*summed("T", "M", "N", "K"))(*arrays)
    assert_chain(found, *arrays)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_whole_numbers_exactly(dtype: str) -> None:
    """Integers wrap around."""
    function = gl.function(*summed("T", "M", "N", "K", dtype))
    for rows, columns, depth in SIZES:
        xs, ys, start = drawn(3, rows, columns, depth, dtype, whole=True)
        if dtype[0] == "i":
            start += np.iinfo(dtype).max - 100
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(function(xs, ys, start)[0], reference(xs, ys, start))


# --- one pass, in place -------------------------------------------------------------------------


def test_the_sum_is_written_where_it_stands() -> None:
    """One kernel a step, from the carry over the carry, with no scratch beside it."""
    function = without(IN_LOOP, *summed("T", "M", "N", "K"))
    (launch,) = in_loop(function)
    assert len(launch.arguments) == 4 and launch.arguments[2] == launch.arguments[3]
    (kernel,) = (k for k in function.program.kernels if k.name == launch.kernel)
    assert len(kernel.body) == 1 and " from a2[" in str(kernel)


def test_the_other_operand_first() -> None:
    arrays = drawn(3, 9, 5, 4)
    inputs, outputs = summed("T", "M", "N", "K", body=lambda c, e: (e[0].T @ e[1] + c, None))
    assert_chain(gl.function(inputs, outputs)(*arrays)[0], *arrays)
    swapped = without(IN_LOOP, inputs, outputs)
    assert_chain(swapped(*arrays)[0], *arrays)
    assert in_loop(swapped)[0].arguments[2] == in_loop(swapped)[0].arguments[3]


def test_what_follows_in_the_kernel_reads_the_new_sum() -> None:
    def body(total: Tensor, entry: Any) -> Any:
        after = total + entry[0].T @ entry[1]
        return after, gl.tanh(after) * entry[1][0]

    arrays = drawn(3, 9, 35, 4)
    for fusion in (True, False):
        run = gl.function(*summed("T", "M", 35, 4, body=body), fusion=fusion)
        found, more = run(*arrays)
        assert_chain(found, *arrays)
        for t in range(3):
            until = chain(arrays[0][: t + 1], arrays[1][: t + 1], arrays[2])
            np.testing.assert_allclose(more[t], np.tanh(until) * arrays[1][t, 0], 2e-6, 2e-6)
    first, *_ = in_loop(gl.function(*summed("T", "M", 35, 4, body=body)))
    assert first.arguments.count(first.arguments[2]) == 2, "still in place"


@pytest.mark.parametrize(
    "body",
    [
        lambda c, e: (c + e[0].T @ e[1], c),  # the old sum is kept for each step
        lambda c, e: (c + e[0].T @ e[1], gl.sum(c * c)),
        lambda c, e: (c + e[0].T @ e[1], gl.sin(c + e[0].T @ e[1]) * c),
        lambda c, e: (c + e[0].T @ e[1], gl.sum(gl.exp(c) @ e[1].T)),
    ],
)
def test_where_others_read_the_old_sum(body: Body) -> None:
    """In place after them, or elsewhere: the sums have the same bits."""
    arrays = drawn(4, 9, 35, 5)
    total, rows = gl.function(*summed("T", "M", "N", "K", body=body))(*arrays)
    assert_chain(total, *arrays)
    inputs, outputs = summed("T", "M", "N", "K", body=body)
    _, wanted = gl.evaluate(Graph("g", inputs, outputs), dict(zip(inputs, arrays, strict=True)))
    np.testing.assert_allclose(rows, wanted, 2e-4, 2e-4)


def test_a_sum_that_is_a_factor_as_well_is_not_written_over_early() -> None:
    start = gl.placeholder(("N", "N"), "float64", "start")
    for body in (
        lambda c, _: (c + c @ c, None),
        lambda c, _: (c + c.T @ c, None),
        lambda c, _: (c + gl.sin(c) @ c.T, None),
    ):
        total, _ = gl.scan(body, start, length=3)
        array = np.random.default_rng(0).normal(size=(35, 35)) / 9
        wanted = total.eval({start: array})
        np.testing.assert_allclose(gl.function([start], total)(array), wanted, 1e-11, 1e-11)


def test_sums_of_a_loop_that_ends_by_itself() -> None:
    a, b = gl.placeholder((7, 5), "float32", "a"), gl.placeholder((7, 9), "float32", "b")
    start = gl.placeholder((5, 9), "float32", "start")

    def step(carry: Any) -> Any:
        n, total = carry
        return n + 1, total + (a * gl.astype(n, "float32")).T @ b

    _, total = gl.while_loop(lambda c: c[0] < 4, step, (gl.constant(0), start))
    function = gl.function([a, b, start], total)
    assert "matmul_add" in ops_in(function.stages["fuse"])
    xs, ys, first = drawn(1, 5, 9, 7)
    times = np.stack([xs[0] * np.float32(n) for n in range(4)])
    assert_chain(function(xs[0], ys[0], first), times, ys.repeat(4, 0), first)


def test_a_parameter_is_updated_in_place() -> None:
    xs, ys, first = drawn(1, 9, 35, 7)
    choices: list[Any] = [{}, {"fusion": False}, {"check_numerics": True}, {"threads": 2}]
    for options in choices:
        state = gl.parameter(first, "state")
        x, y = gl.placeholder(("K", 9), "float32", "x"), gl.placeholder(("K", 35), "float32", "y")
        step = gl.function([x, y], gl.sum(state), updates={state: state + x.T @ y}, **options)
        before = step(xs[0], ys[0])
        np.testing.assert_allclose(before, first.sum(), 1e-5)
        assert_chain(state.value, xs, ys, first)
        if "check_numerics" not in options:
            assert sum("matmul_add" in str(s) for s in step.program.steps) == 1
            assert not any(b.kind == "temporary" and b.type.ndim for b in step.program.buffers)


# --- the same bits ------------------------------------------------------------------------------


def test_no_option_changes_a_bit() -> None:
    for rows, columns, depth in [(70, 35, 9), (1, 37, 3), (5, 1, 4)]:
        arrays = drawn(3, rows, columns, depth)
        for fusion, threads, guarded in itertools.product((True, False), (1, 2, 3), (False, True)):
            function = gl.function(
                *summed(3, rows, columns, depth),
                fusion=fusion,
                threads=threads,
                check_numerics=guarded,
            )
            assert_chain(function(*arrays)[0], *arrays)


def test_steps_written_out_have_the_bits_of_the_loop() -> None:
    """A loop of one step is none."""
    arrays = drawn(1, 9, 35, 7)
    function = gl.function(*summed(1, 9, 35, 7))
    assert not any(isinstance(step, Loop) for step in function.program.steps)
    assert_chain(function(*arrays)[0], *arrays)


@pytest.mark.parametrize("order", ["forward", "reverse"])
def test_on_a_simulated_device(order: Any) -> None:
    function = gl.function(*summed("T", "M", "N", "K"))
    for rows, columns, depth in [(5, 18, 3), (1, 1, 1), (17, 2, 0), (0, 3, 2)]:
        arrays = drawn(2, rows, columns, depth)
        (found,) = simulated(function, order)(arrays)
        assert_chain(found, *arrays)


# --- numbers that are none ----------------------------------------------------------------------


def test_infinities_and_nans_stay_where_they_are() -> None:
    xs, ys, start = drawn(2, 9, 21, 4)
    start[2, 3], start[8, 20], xs[1, 2, 5] = np.inf, np.nan, np.inf
    (found,) = gl.function(*summed("T", "M", "N", "K"))(xs, ys, start)
    wanted = reference(xs, ys, start)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_array_equal(np.isposinf(found), np.isposinf(wanted))
    assert np.isfinite(np.delete(found, 5, axis=0)).sum() == 8 * 21 - 2


def test_guards_tell_a_sum_that_overflows_from_one_that_was_infinite() -> None:
    function = gl.function(*summed("T", "M", "N", "K"), check_numerics=True)
    xs, ys, start = drawn(2, 9, 21, 4)
    start[2, 3] = np.inf
    np.testing.assert_array_equal(np.isinf(function(xs, ys, start)[0]), np.isinf(start))
    xs[1, 0, 4] = 3e38
    ys[1, 0, 7] = 1e30
    with pytest.raises(NumericsError):
        function(xs, ys, start)


# --- where it is chosen -------------------------------------------------------------------------


def chosen(body: Body, dtype: str = "float32", rank: int = 2) -> bool:
    """Whether a loop with that body adds a product to what is there."""
    size = (2,) * (rank - 2)
    xs = gl.placeholder((4, *size, 9, 9), dtype, "xs")
    start = gl.placeholder((*size, 9, 9), dtype, "start")
    total, more = gl.scan(body, start, (xs, xs))
    results = [total, *([] if more is None else [more])]
    ops = ops_in(run_pass(Graph("g", [xs, start, W], results), "contract_fma"))
    assert ("matmul_add" in ops) != ("matmul" in ops)
    return "matmul_add" in ops


W = gl.parameter(np.ones((9, 9), "float32"), "weight")


def test_where_it_is_chosen() -> None:
    assert chosen(onto)
    assert chosen(onto, "int32")
    assert chosen(lambda c, e: (c + gl.tanh(c) @ W, None)), "it has to wait for the carry"


def test_where_it_is_not() -> None:
    assert not chosen(lambda c, e: (c - e[0] @ e[1], None))
    assert not chosen(lambda c, e: (c.T + e[0] @ e[1], None)), "not what is replaced"
    assert not chosen(lambda c, e: (gl.tanh(c + e[0] @ e[1]), None)), "not what replaces it"
    assert not chosen(lambda c, e: (c + e[0] @ e[1], None), rank=3)
    assert not chosen(lambda c, e: (c + e[0] @ W, None)), "one product for all steps"
    assert not chosen(lambda c, e: (c + W @ W, None)), "one product before the loop"

    def read_elsewhere(c: Tensor, e: Any) -> Any:
        product = e[0] @ e[1]
        return c + product, gl.sum(product)

    assert not chosen(read_elsewhere)
    x, y = gl.placeholder((3, 4), name="x"), gl.placeholder((4, 3), name="y")
    z = gl.placeholder((3, 3), name="z")
    plain = run_pass(Graph("g", [x, y, z], [z + x @ y]), "contract_fma")
    assert ops_in(plain) == ["add", "matmul"], "the product's epilogue does it"


def test_a_product_for_all_steps_at_once_still_leaves_the_loop() -> None:
    xs = gl.placeholder(("T", 5, 9), "float32", "xs")
    total, _ = gl.scan(lambda c, x: (c + x @ W, None), gl.zeros((5, 9)), xs)
    function = gl.function([xs], total)
    assert "matmul" in [node.op.name for node in function.stages["hoist"].nodes]


def test_halves_are_added_up_as_before() -> None:
    """Between the product, which is rounded, and the sum."""
    function = gl.function(*summed("T", "M", "N", "K", "float16"))
    assert "matmul_add" not in ops_in(function.stages["fuse"])
    xs, ys, start = drawn(3, 5, 9, 4, "float16")
    total = start.copy()
    for x, y in zip(xs, ys, strict=True):
        total += (x.astype("f8").T @ y.astype("f8")).astype("float16")
    np.testing.assert_allclose(function(xs, ys, start)[0], total, 2e-3, 2e-3)
