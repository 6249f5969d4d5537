"""The text of single instructions in a CUDA kernel, one scalar a thread.

Numba gives an operator on two small integers a 64-bit result, raises for ``//`` by zero, and
takes ``~`` of a bool for a number.  So what an op's expression means is made explicit here:
``//``, ``%``, ``<<``, ``>>`` and ``~`` become names of the vocabulary, and arithmetic on integers
is converted back to their own dtype.  A half is its 16 bits, an unsigned integer to Numba: where
one is cast, ``from_f16`` or ``from_bf16`` says so.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from math import prod

from ..ir.dtypes import BY_SHORT, DType
from ..ir.kernel import (
    Access,
    Axis,
    Compute,
    Constant,
    Contract,
    Index,
    Instruction,
    Kernel,
    Load,
    Reduce,
    Running,
    Size,
    Store,
)
from ..ir.loc import Loc
from ..ir.op import TABLE
from .scalar import condition, constant, expression, literal, reported

_CALLS = {
    ast.FloorDiv: "floor_divide",
    ast.Mod: "remainder",
    ast.LShift: "left_shift",
    ast.RShift: "right_shift",
}
_COMBINE = {"add": "{} + {}", "multiply": "{} * {}"}


class Lines:
    """Lines of Python under construction, with their indentation."""

    def __init__(self) -> None:
        self.depth = 0
        self._lines: list[str] = []

    def add(self, *lines: str) -> None:
        self._lines += [f"{'    ' * self.depth}{line}" for line in lines]

    def open(self, head: str) -> None:
        """Start a block; close it by taking 1 from `depth`."""
        self.add(head)
        self.depth += 1

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


class Names:
    """Names for what the text needs beside the kernel's own values, axes and arguments."""

    def __init__(self, kernel: Kernel) -> None:
        results = {item.result for item in kernel.body if not isinstance(item, Store)}
        arguments = {argument.name for argument in kernel.arguments}
        axes = {axis.name for axis in kernel.axes}
        self._taken = {*results, *arguments, *axes, *kernel.parameters, "status"}

    def fresh(self, base: str) -> str:
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}{number}"
        self._taken.add(name)
        return name


def value_dtypes(kernel: Kernel) -> dict[str, DType]:
    """The dtype of every value of `kernel`."""
    dtypes: dict[str, DType] = {}
    for item in kernel.body:
        if isinstance(item, Index):
            dtypes[item.result] = BY_SHORT["i64"]
        elif not isinstance(item, Store):
            dtypes[item.result] = item.dtype
    return dtypes


# --- sizes and indices --------------------------------------------------------------------------


def product(sizes: Iterable[Size]) -> str:
    """The product of sizes, its constant part first."""
    listed = list(sizes)
    number = prod(size for size in listed if isinstance(size, int))
    named = [size for size in listed if isinstance(size, str)]
    if number == 0:
        return "0"
    return " * ".join([*([str(number)] if number != 1 or not named else []), *named])


def unflatten(flat: str, axes: list[tuple[str, Size]]) -> list[str]:
    """Lines that set the index of each (name, extent) of `axes` from one in C order."""
    lines: list[str] = []
    for position, (name, extent) in enumerate(axes):
        inner = [size for _, size in axes[position + 1 :]]
        value = f"quotient({flat}, {product(inner)})" if product(inner) != "1" else flat
        lines.append(f"{name} = modulus({value}, {extent})" if position else f"{name} = {value}")
    return lines


def affine(strides: Iterable[tuple[str, Size]], offset: Size) -> list[str]:
    """The parts of offset + Σ index · stride."""
    parts = [str(offset)] if offset != 0 else []
    for name, stride in strides:
        if stride != 0:
            parts.append(name if stride == 1 else f"{stride} * {name}")
    return parts


def address(access: Access, axes: tuple[Axis, ...], extra: str = "") -> str:
    """The element of the buffer that `access` means at the current index."""
    parts = affine(zip((axis.name for axis in axes), access.strides, strict=True), access.offset)
    for term in access.terms:
        clamped = f"clamp({term.value}, {term.extent})"
        parts.append(clamped if term.stride == 1 else f"{term.stride} * {clamped}")
    if extra:
        parts.append(extra)
    return " + ".join(parts) or "0"


def unless_empty(access: Access, lines: list[str], otherwise: list[str]) -> list[str]:
    """`lines`, skipped where a computed index has nothing to choose from."""
    sizes = [t.extent for t in access.terms if not isinstance(t.extent, int) or t.extent < 1]
    if not sizes:
        return lines
    inside = " and ".join(f"{size} > 0" for size in sizes)
    return [*otherwise, f"if {inside}:", *(f"    {line}" for line in lines)]


# --- instructions -------------------------------------------------------------------------------


def comment(loc: Loc) -> str:
    return f"  # {', '.join(map(str, loc))}" if loc else ""


def memory_type(dtype: DType) -> str:
    """The name of the type that `dtype` has in memory; a bool is a byte, a half its bits."""
    return "uint8" if dtype.kind == "b" else "uint16" if dtype.is_half else dtype.name


def read(element: str, dtype: DType) -> str:
    return f"boolean({element})" if dtype.kind == "b" else element


def written(value: str, dtype: DType) -> str:
    return f"u8({value})" if dtype.kind == "b" else value


def converted(text: str, dtype: DType) -> str:
    """An arithmetic expression brought back to `dtype`, where Numba would have widened it."""
    return f"{dtype.short}({text})" if dtype.is_integer and dtype.short != "i64" else text


class _Explicit(ast.NodeTransformer):
    def __init__(self, dtype: DType, cast: str) -> None:
        self.dtype, self.cast = dtype, cast

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id == self.cast and self.dtype.is_half:
            return ast.Call(ast.Name(f"from_{self.dtype}"), [node], [])
        return node

    def _converted(self, node: ast.expr) -> ast.expr:
        if self.dtype.is_integer and self.dtype.short != "i64":
            return ast.Call(ast.Name(self.dtype.short), [node], [])
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.right)
        name = _CALLS.get(type(node.op))  # pyright: ignore[reportArgumentType]
        if name is not None:
            return ast.Call(ast.Name(name), [left, right], [])
        made = ast.BinOp(left, node.op, right)
        if isinstance(left, ast.Compare) and isinstance(right, ast.Compare):
            return made
        return self._converted(made)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operand = self.visit(node.operand)
        if isinstance(node.op, ast.Invert):
            return ast.Call(ast.Name("invert"), [operand], [])
        if isinstance(operand, ast.Constant):  # the sign of a number
            return ast.UnaryOp(node.op, operand)
        return self._converted(ast.UnaryOp(node.op, operand))


def _operand_dtype(instruction: Compute, dtypes: dict[str, DType]) -> DType:
    op = TABLE[instruction.op]
    if op.kind == "generator" or not instruction.operands:
        return instruction.dtype
    return dtypes[instruction.operands[1 if op.dtypes == "where" else 0]]


def _explicit(text: str, instruction: Compute, dtypes: dict[str, DType]) -> str:
    tree = ast.parse(text, mode="eval").body
    cast = instruction.operands[0] if instruction.op == "cast" else ""
    return ast.unparse(_Explicit(_operand_dtype(instruction, dtypes), cast).visit(tree))


def combined(combine: str, left: str, right: str, dtype: DType) -> str:
    """`left` and `right` folded by a reduction's operation."""
    if combine not in _COMBINE:
        return f"{combine}({left}, {right})"
    return converted(_COMBINE[combine].format(left, right), dtype)


def _unless(condition: str, word: str, check: Size, loc: Loc = ()) -> list[str]:
    """Lines that report a failure, unless there was one before."""
    return [
        f"if not {condition}:{comment(loc)}",
        "    if status[0] == 0:",
        f"        status[1] = {word}",
        f"        status[0] = i64({check})",
    ]


def instruction_lines(
    item: Instruction, axes: tuple[Axis, ...], dtypes: dict[str, DType], piece: str = ""
) -> list[str]:
    """The lines of a Load, Index, Constant, Compute, Running or Store.

    piece: the number of the piece, where the kernel is chunked: a store's element.
    """
    match item:
        case Load(result, access, dtype):
            text = f"{result} = {read(f'{access.argument}[{address(access, axes)}]', dtype)}"
            zero = literal(0.0 if dtype.is_float else False if dtype.kind == "b" else 0, dtype)
            return unless_empty(access, [text], [f"{result} = {zero}"])
        case Index(result, strides, offset):
            parts = affine(zip((axis.name for axis in axes), strides, strict=True), offset)
            return [f"{result} = i64({' + '.join(parts) or '0'})"]
        case Constant(result):
            return [f"{result} = {constant(item)}"]
        case Compute(result, check=check, loc=loc):
            lines: list[str] = []
            if check != 0:
                holds = _explicit(condition(item, dtypes), item, dtypes)
                value = reported(item)
                if dtypes[value].is_half:
                    value = f"from_{dtypes[value]}({value})"
                lines += _unless(f"({holds})", f"word({value})", check, loc)
            value = _explicit(expression(item, dtypes), item, dtypes)
            return [*lines, f"{result} = {value}{comment(loc)}"]
        case Running(result, combine, operands, dtype, _, loc):
            value = combined(combine, result, ", ".join(operands), dtype)
            return [f"{result} = {value}{comment(loc)}"]
        case Store(access, operand, combine, check):
            element = f"{access.argument}[{address(access, axes, piece)}]"
            dtype, value = dtypes[operand], operand
            if combine not in ("", "last"):
                value = combined(combine, read(element, dtype), operand, dtype)
            lines = [f"{element} = {written(value, dtype)}"]
            if check and dtype.is_float:
                lines += _unless(f"isfinite({element})", f"word({element})", check)
            return unless_empty(access, lines, [])
        case Reduce(result) | Contract(result):
            raise ValueError(f"{result} is no single instruction")
