# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportArgumentType=false, reportCallIssue=false
# (wrong uses)
"""Wrong uses of branches: one clear error each, which names the line to blame.

Each case is a function that ends in an error.  The line marked `# here` must be in its message: it
stands in the branch where what is wrong was made there, else where the choice is asked for.
"""

from __future__ import annotations

from typing import Any

import pytest

import gradloom as gl
from gradloom.ir.errors import ArgumentError, DTypeError, ShapeError
from gradloom.ir.tensor import Tensor

from .wrong_uses import Cases, Wrong

CASES = Cases()
wrong = CASES.wrong


@wrong(ArgumentError, "one bool", "bool[3]")
def a_condition_of_many(x: Tensor, xs: Tensor) -> Any:
    return gl.cond(x > 0, lambda: x, lambda: -x)  # here


@wrong(ArgumentError, "one bool", "f64[]")
def a_condition_is_a_number(x: Tensor, xs: Tensor) -> Any:
    return gl.cond(gl.sum(x), lambda: x, lambda: -x)  # here


@wrong(ShapeError, "f64[3]", "f64[]", "lambda: gl.sum(x)")
def branches_of_different_shapes(x: Tensor, xs: Tensor) -> Any:
    return gl.cond(
        gl.sum(x) > 0,
        lambda: gl.sin(x),
        lambda: gl.sum(x),  # here
    )


@wrong(DTypeError, "f64[3]", "f32[3]")
def branches_of_different_dtypes(x: Tensor, xs: Tensor) -> Any:
    def narrow() -> Tensor:
        return gl.astype(x, "float32")  # here

    return gl.cond(gl.sum(x) > 0, lambda: gl.sin(x), narrow)


@wrong(ArgumentError, "then", "else_")
def branches_of_different_structures(x: Tensor, xs: Tensor) -> Any:
    return gl.cond(gl.sum(x) > 0, lambda: (x, x), lambda: {"a": x, "b": x})  # here


@wrong(ArgumentError, "function", "else_")
def a_branch_is_a_tensor(x: Tensor, xs: Tensor) -> Any:
    return gl.cond(gl.sum(x) > 0, lambda: x, -x)  # here


@wrong(ArgumentError, "else_", "operand")
def a_branch_takes_no_operand(x: Tensor, xs: Tensor) -> Any:
    return gl.cond(gl.sum(x) > 0, lambda a: a, lambda: x, x)  # here


@wrong(ArgumentError, "at least one branch")
def no_branches(x: Tensor, xs: Tensor) -> Any:
    return gl.switch(gl.constant(0, "int64"), [])  # here


@wrong(ArgumentError, "function", "then")
def branches_are_no_list(x: Tensor, xs: Tensor) -> Any:
    return gl.cond(gl.sum(x) > 0, None, lambda: x)  # here


@wrong(ArgumentError, "sequence of functions")
def branches_are_one_function(x: Tensor, xs: Tensor) -> Any:
    return gl.switch(gl.constant(0, "int64"), lambda: x)  # here


@wrong(ArgumentError, "index", "f64[]")
def an_index_is_a_float(x: Tensor, xs: Tensor) -> Any:
    return gl.switch(gl.sum(x), [lambda: x, lambda: -x])  # here


@wrong(ShapeError, "f64[3]", "f64[4,3]")
def a_branch_in_a_loop_grows(x: Tensor, xs: Tensor) -> Any:
    def body(h: Tensor, a: Tensor) -> Any:
        low = gl.sum(h) < 0
        after = gl.cond(
            low,
            lambda: h + a,
            lambda: h + xs,  # here
        )
        return after, None

    return gl.scan(body, x, xs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_wrong_use(case: Wrong) -> None:
    case.check()
