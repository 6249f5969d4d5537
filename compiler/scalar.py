"""Scalar code: an op's expression from the table, with the names of a kernel filled in.

The text is the same for every target; what ``tanh`` or ``where`` mean is the target's vocabulary.
Numbers are written with their dtype (``f32(0.5)``), so that nothing is promoted by accident.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache

from ..ir.dtypes import DType, int64
from ..ir.kernel import Compute, Constant, Reduce, Running
from ..ir.op import TABLE, Op

INDEX = int64  # the dtype of positions
GENERATOR_OPERANDS = ("index", "key0", "key1")


def type_name(dtype: DType) -> str:
    """The vocabulary's function that makes, or converts to, `dtype`."""
    return "boolean" if dtype.kind == "b" else dtype.short


def literal(value: bool | int | float | str, dtype: DType) -> str:
    """A number, or a parameter of the kernel, as a scalar of `dtype`."""
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return f"{type_name(dtype)}({'nan' if value != value else str(value)})"
        return f"{type_name(dtype)}({value!r})"
    return f"{type_name(dtype)}({value})"


def constant(instruction: Constant) -> str:
    """The expression of a Constant."""
    value = instruction.value
    if instruction.dtype.is_float and isinstance(value, int):
        value = float(value)
    return literal(value, instruction.dtype)


def identity(fold: Reduce | Running) -> str:
    """The neutral element of a reduction, or what a running value begins with."""
    dtype = fold.dtype
    match fold.identity:
        case "lowest":
            return literal(dtype.lowest, dtype)
        case "highest":
            return literal(dtype.highest, dtype)
        case name:
            number = int(name == "one")
            return literal(float(number) if dtype.is_float else number, dtype)


def expression(instruction: Compute, dtypes: Mapping[str, DType]) -> str:
    """The expression of a Compute, given the dtypes of the kernel's values."""
    op = TABLE[instruction.op]
    return _fill(op.code, op, instruction, dtypes)


def condition(instruction: Compute, dtypes: Mapping[str, DType]) -> str:
    """The expression that must hold for a checked op."""
    op = TABLE[instruction.op]
    return _fill(op.check, op, instruction, dtypes)


def reported(instruction: Compute) -> str:
    """The operand that a failed check names."""
    return instruction.operands[TABLE[instruction.op].dtypes == "where"]


def two_sum(total: str, value: str, zero: str) -> list[str]:
    """Lines that add `value` and ``total_lost`` to `total`, and keep what that rounds off.

    What an infinite sum has lost is nan, and forgotten.
    """
    term, new, part, lost = (f"{total}_{word}" for word in ("term", "new", "part", "lost"))
    return [
        f"{term} = {value} + {lost}",
        f"{new} = {total} + {term}",
        f"{part} = {new} - {total}",
        f"{lost} = ({total} - ({new} - {part})) + ({term} - {part})",
        f"{lost} = where(isfinite({lost}), {lost}, {zero})",
        f"{total} = {new}",
    ]


@lru_cache(maxsize=1024)
def _parsed(code: str) -> ast.expr:
    return ast.parse(code, mode="eval").body


def _fill(code: str, op: Op, instruction: Compute, dtypes: Mapping[str, DType]) -> str:
    names = GENERATOR_OPERANDS if op.kind == "generator" else op.operands
    values = dict(zip(names, instruction.operands, strict=False))
    if op.kind == "generator":
        own = instruction.dtype
    else:
        own = dtypes[instruction.operands[1 if op.dtypes == "where" else 0]]
    attrs = dict(instruction.attrs)

    class Filler(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            if node.id in values:
                return ast.Name(values[node.id])
            if node.id in attrs:
                value = attrs[node.id]
                if isinstance(value, DType):
                    return ast.Name(type_name(value))
                return _parsed(literal(value, own))
            return node

        def visit_Constant(self, node: ast.Constant) -> ast.expr:
            value = node.value
            assert isinstance(value, (int, float))
            return _parsed(literal(float(value) if own.is_float else value, own))

    return ast.unparse(Filler().visit(ast.parse(code, mode="eval").body))
