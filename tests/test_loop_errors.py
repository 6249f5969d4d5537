# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportArgumentType=false, reportCallIssue=false
# (wrong uses)
"""Wrong uses of loops: one clear error each, which names the line to blame.

Each case is a function that ends in an error.  The line marked `# here` must be in its message: it
stands in the body where what is wrong was made there, else where the loop is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import (
    ArgumentError,
    AxisError,
    CheckError,
    DTypeError,
    GradientError,
    IndexRangeError,
    ShapeError,
)
from gradloom.ir.tensor import Tensor

from .wrong_uses import Cases, Wrong

CASES = Cases()
wrong = CASES.wrong


# --- scan ----------------------------------------------------------------------------------------


@wrong(DTypeError, "the carry", "f64[3]", "f32[3]")
def a_carry_changes_its_dtype(x: Tensor, xs: Tensor) -> Any:
    def body(h: Tensor, a: Tensor) -> Any:
        after = gl.astype(h + a, "float32")  # here
        return after, None

    return gl.scan(body, x, xs)


@wrong(ShapeError, "the carry", "f64[3]", "f64[4,3]")
def a_carry_grows(x: Tensor, xs: Tensor) -> Any:
    def body(h: Tensor, a: Tensor) -> Any:
        after = h + xs  # here
        return after, a

    return gl.scan(body, x, xs)


@wrong(ShapeError, "h", "f64[3]", "f64[]")
def a_part_of_the_carry_changes(x: Tensor, xs: Tensor) -> Any:
    def body(carry: Any, a: Tensor) -> Any:
        total = gl.sum(carry["h"] * a)  # here
        return {"h": total, "n": carry["n"] + 1}, a

    return gl.scan(body, {"h": x, "n": gl.constant(0, "int64")}, xs)


@wrong(DTypeError, "n", "i64[]", "f64[]")
def a_count_becomes_a_float(x: Tensor, xs: Tensor) -> Any:
    def body(carry: Any, a: Tensor) -> Any:
        h, n = carry
        half = gl.astype(n, "float64") / 2  # here
        return (h + a, half), None

    return gl.scan(body, (x, gl.constant(0, "int64")), xs)


@wrong(ArgumentError, "the carry")
def a_carry_changes_its_structure(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda c, a: ({"h": c[0], "g": c[1]}, a), (x, x), xs)  # here


@wrong(ArgumentError, "the carry")
def a_carry_is_lost(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda c, a: ((c[0],), a), (x, x), xs)  # here


@wrong(ArgumentError, "pair")
def a_body_gives_no_pair(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h, a: h + a, x, xs)  # here


@wrong(ArgumentError, "pair")
def a_body_gives_nothing(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h, a: None, x, xs)  # here


@wrong(ArgumentError, "body", "carry, x")
def a_body_takes_the_carry_alone(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h: (h, h), x, xs)  # here


@wrong(ArgumentError, "function")
def a_body_is_a_tensor(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(x, x, xs)  # here


@wrong(ShapeError, "lengths", "f64[4,3]", "f64[3]")
def sequences_differ_in_length(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h, a: (h + a[0], None), x, (xs, x))  # here


@wrong(ShapeError, "leading axis", "f64[]")
def a_sequence_is_a_scalar(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h, a: (h + a, None), x, gl.sum(xs))  # here


@wrong(ArgumentError, "xs or a length")
def neither_sequences_nor_a_length(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h, a: (h, None), x)  # here


@wrong(ArgumentError, "negative", "-2")
def a_negative_length(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h, a: (h, None), x, length=-2)  # here


@wrong(ShapeError, "length is 5", "f64[4,3]")
def a_length_against_the_sequences(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h, a: (h + a, None), x, xs, length=5)  # here


@wrong(ArgumentError, "length", "tensor")
def a_length_is_a_tensor(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h, a: (h, None), x, length=gl.constant(3, "int64"))  # here


@wrong(ShapeError, "f64[3]", "f64[4]")
def an_op_in_a_body_fails(x: Tensor, xs: Tensor) -> Any:
    def body(h: Tensor, a: Tensor) -> Any:
        return h + gl.zeros((4,), "float64"), None  # here

    return gl.scan(body, x, xs)


# --- until and lengths ---------------------------------------------------------------------------


@wrong(ShapeError, "until", "one bool", "bool[3]")
def a_predicate_of_many(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(
        lambda h, a: (h + a, None),
        x,
        xs,
        until=lambda h: h > 1,  # here
    )


@wrong(DTypeError, "until", "one bool", "f64[]")
def a_predicate_of_numbers(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(
        lambda h, a: (h + a, None),
        x,
        xs,
        until=lambda h: gl.sum(h),  # here
    )


@wrong(ArgumentError, "until", "False")
def a_predicate_of_python(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h, a: (h + a, None), x, xs, until=lambda h: False)  # here


@wrong(DTypeError, "lengths", "integers", "f64[3]")
def lengths_are_floats(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h, a: (h + a, None), x, xs, lengths=x)  # here


@wrong(ShapeError, "lengths", "i64[]")
def lengths_are_one_number(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h, a: (h + a, None), x, xs, lengths=gl.constant(2, "int64"))  # here


@wrong(ShapeError, "5 samples", "the carry", "f64[3]")
def lengths_of_other_samples(x: Tensor, xs: Tensor) -> Any:
    lengths = gl.placeholder((5,), "int64", "lengths")
    return gl.scan(lambda h, a: (h + a, None), x, xs, lengths=lengths)  # here


@wrong(ShapeError, "3 samples", "y", "f64[]")
def a_row_without_the_samples(x: Tensor, xs: Tensor) -> Any:
    lengths = gl.placeholder((3,), "int64", "lengths")

    def body(h: Tensor, a: Tensor) -> Any:
        return h + a, gl.sum(h)  # here

    return gl.scan(body, x, xs, lengths=lengths)


# --- while_loop ----------------------------------------------------------------------------------


@wrong(ShapeError, "the carry", "f64[3]", "f64[]")
def the_carry_of_a_while_shrinks(x: Tensor, xs: Tensor) -> Any:
    def body(h: Tensor) -> Tensor:
        return gl.sum(h)  # here

    return gl.while_loop(lambda h: gl.sum(h) < 1, body, x)


@wrong(ShapeError, "cond", "one bool", "bool[3]")
def a_while_asks_many(x: Tensor, xs: Tensor) -> Any:
    return gl.while_loop(
        lambda h: h < 1,  # here
        lambda h: h + 1,
        x,
    )


@wrong(ArgumentError, "cond", "True")
def a_while_asks_python(x: Tensor, xs: Tensor) -> Any:
    return gl.while_loop(lambda h: True, lambda h: h + 1, x)  # here


@wrong(ArgumentError, "bound", "-1")
def a_negative_bound(x: Tensor, xs: Tensor) -> Any:
    return gl.while_loop(lambda h: gl.sum(h) < 1, lambda h: h + 1, x, bound=-1)  # here


@wrong(GradientError, "bound")
def the_gradient_of_an_endless_loop(x: Tensor, xs: Tensor) -> Any:
    last = gl.while_loop(lambda h: gl.sum(h) < 9, lambda h: h * 2, x)  # here
    return gl.function([x], gl.grad(gl.sum(last), x))


# --- map and associative_scan --------------------------------------------------------------------


@wrong(ArgumentError, "map: goes over tensors")
def a_map_over_nothing(x: Tensor, xs: Tensor) -> Any:
    return gl.map(lambda a: a, ())  # here


@wrong(ArgumentError, "function", "an entry of xs")
def a_map_of_two(x: Tensor, xs: Tensor) -> Any:
    return gl.map(lambda a, b: a + b, (xs, xs))  # here


@wrong(ShapeError, "map: goes over a leading axis", "f64[]")
def a_map_over_a_scalar(x: Tensor, xs: Tensor) -> Any:
    return gl.map(lambda a: a, gl.sum(x))  # here


@wrong(ShapeError, "f64[3]", "f64[]")
def an_associative_scan_changes_shapes(x: Tensor, xs: Tensor) -> Any:
    def both(a: Tensor, b: Tensor) -> Tensor:
        return gl.sum(a * b)  # here

    return gl.associative_scan(both, xs)


@wrong(ArgumentError, "function")
def an_associative_scan_by_a_tensor(x: Tensor, xs: Tensor) -> Any:
    return gl.associative_scan(x, xs)  # here


@wrong(AxisError, "2")
def an_associative_scan_along_no_axis(x: Tensor, xs: Tensor) -> Any:
    return gl.associative_scan(lambda a, b: a + b, xs, axis=2)  # here


# --- checkpoint ----------------------------------------------------------------------------------


@wrong(ArgumentError, "function", "f64[3]")
def a_checkpoint_of_a_tensor(x: Tensor, xs: Tensor) -> Any:
    return gl.checkpoint(gl.sin(x))  # here


@wrong(ShapeError, "f64[3]", "f64[4]")
def an_op_in_a_checkpoint_fails(x: Tensor, xs: Tensor) -> Any:
    return gl.checkpoint(lambda a: a + gl.zeros((4,), "float64"))(x)  # here


@wrong(ArgumentError, "checkpoint", "until")
def segments_of_a_loop_that_stops(x: Tensor, xs: Tensor) -> Any:
    def stops(h: Tensor) -> Tensor:
        return gl.sum(h) > 1

    return gl.scan(lambda h, a: (h + a, a), x, xs, until=stops, checkpoint="sqrt")  # here


@wrong(ArgumentError, "checkpoint", "0")
def segments_of_no_steps(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda h, a: (h + a, a), x, xs, checkpoint=0)  # here


# --- hints ---------------------------------------------------------------------------------------


@wrong(DTypeError, "the initial 0 is an i64: write 0.0 for a float")
def an_integer_to_begin_with(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(
        lambda c, a: (c + gl.sum(a), None),  # here
        0,
        xs,
    )


@wrong(DTypeError, "the initial 3 is an i64: write 3.0 for a float", "the carry[1]")
def an_integer_becomes_a_float(x: Tensor, xs: Tensor) -> Any:
    return gl.while_loop(
        lambda c: gl.sum(c[0]) < 1,
        lambda c: (c[0] + 1, gl.sum(c[0])),  # here
        (x, 3),
    )


@wrong(DTypeError, "the initial np.float64(0.0) is an f64")
def a_float_of_numpy(x: Tensor, xs: Tensor) -> Any:
    narrow = gl.astype(xs, "float32")
    return gl.scan(
        lambda c, a: (gl.sum(a), None),  # here
        np.float64(0),
        narrow,
    )


@wrong(ArgumentError, "the carry is one argument, a tuple of 2")
def a_body_of_several_arguments(x: Tensor, xs: Tensor) -> Any:
    return gl.while_loop(lambda c: c[0] < 3, lambda i, h: (i + 1, h), (0, x))  # here


@wrong(ArgumentError, "return carry, y")
def a_pair_without_its_row(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda c, a: (c[0] + a, c[1]), (x, x), xs)  # here


@wrong(DTypeError, "one tensor is needed, got a tuple of 2", "(carry, ys)")
def a_pair_as_a_tensor(x: Tensor, xs: Tensor) -> Any:
    return gl.exp(gl.scan(lambda c, a: (c + a, c), x, xs))  # here


@wrong(ArgumentError, "length is a number", "until=", "gl.while_loop(...)")
def a_length_that_is_computed(x: Tensor, xs: Tensor) -> Any:
    return gl.scan(lambda c, a: (c, None), x, length=gl.argmax(x))  # here


# --- at the call ---------------------------------------------------------------------------------


@wrong(CheckError, "has not ended after 3 steps")
def a_bound_is_exceeded(x: Tensor, xs: Tensor) -> Any:
    last = gl.while_loop(lambda h: gl.sum(h) < 100, lambda h: h + 1, x, bound=3)  # here
    return last.eval({"x": np.zeros(3)})


@wrong(CheckError, "length", "4 steps")
def a_sample_is_longer_than_the_loop(x: Tensor, xs: Tensor) -> Any:
    lengths = gl.placeholder((3,), "int64", "lengths")
    last, _ = gl.scan(lambda h, a: (h + a, None), x, xs, lengths=lengths)  # here
    feeds = {"x": np.zeros(3), "xs": np.zeros((4, 3)), "lengths": np.array([1, 5, 0])}
    return last.eval(feeds)


@wrong(ArgumentError, "other")
def a_body_reads_what_nothing_gives(x: Tensor, xs: Tensor) -> Any:
    other = gl.placeholder((3,), "float64", "other")
    last, _ = gl.scan(lambda h, a: (h + a * other, None), x, xs)
    return gl.function([x, xs], last)  # here


@wrong(ArgumentError, "other")
def a_predicate_reads_what_nothing_gives(x: Tensor, xs: Tensor) -> Any:
    other = gl.placeholder((), "float64", "other")
    last, _ = gl.scan(lambda h, a: (h + a, None), x, xs, until=lambda h: gl.sum(h) > other)
    return gl.function([x, xs], last)  # here


@wrong(IndexRangeError, "index 3 is out of range for size T, at", "; with T = 2")
def an_index_of_a_named_size(x: Tensor, xs: Tensor) -> Any:
    rows = gl.placeholder(("T", "N"), "float64", "rows")

    def body(t: Tensor, _: Any) -> Any:
        return t + 1, rows[t + 3]  # here

    _, ys = gl.scan(body, 0, length=rows.shape[0])
    return gl.function([rows], ys)(np.zeros((2, 5)))


@wrong(CheckError, "between 0 and the T steps", "it is 3, at", "; with T = 2")
def a_sample_is_longer_than_a_named_length(x: Tensor, xs: Tensor) -> Any:
    rows = gl.placeholder(("T", 2), "float64", "rows")
    last, _ = gl.scan(lambda h, a: (h + a, None), np.zeros(2), rows, lengths=[3, 0])  # here
    return gl.function([rows], last)(np.zeros((2, 2)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_wrong_use(case: Wrong) -> None:
    case.check()
