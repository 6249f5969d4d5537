"""The text form of programs: ``parse_program(str(program)) == program``.

Blocks (kernels, sources, loops, branches) are indented by two spaces a level; a kernel's source
stands behind it, each line led by a bar.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from .array import Array, large
from .dims import parse_dim, parse_dims
from .dtypes import BY_SHORT
from .errors import ParseError
from .graph import Constraint
from .kernel import Kernel
from .kernel_text import parse_kernel, print_kernel
from .loc import parse_loc, print_loc
from .program import (
    Branch,
    Break,
    Buffer,
    Check,
    Copy,
    Failure,
    Host,
    Launch,
    Loop,
    Program,
    Step,
)
from .target import Target
from .tensor import TensorType
from .text import parse_attributes, print_attribute


def _print_buffer(buffer: Buffer) -> str:
    text = f"{buffer.kind} {buffer.name}: {buffer.type}"
    if buffer.value is not None:
        text += f" = {buffer.value}"
    if buffer.of:
        text += f" of {buffer.of}" + (" reverse" if buffer.reverse else "")
        text += f" from {buffer.start}" if buffer.start != 0 else ""
    return text


def _print_step(step: Step, indent: str) -> list[str]:
    match step:
        case Launch(kernel, arguments, sizes):
            tail = "; " + ", ".join(map(str, sizes)) if sizes else ""
            return [f"{indent}launch {kernel}({', '.join(arguments)}{tail})"]
        case Copy(destination, source):
            return [f"{indent}copy {destination} = {source}"]
        case Host(op, operands, results, attrs, check):
            inner = ", ".join(f"{key}={print_attribute(value)}" for key, value in attrs)
            call = f"host {', '.join(results)} = {op}({', '.join(operands)}) {{{inner}}}"
            return [f"{indent}{call} check {check}"]
        case Check():
            return [f"{indent}check"]
        case Break(flag):
            return [f"{indent}break unless {flag}"]
        case Branch(index, bodies):
            lines = [f"{indent}branch {index} {{"]
            for body in bodies:
                lines += [
                    f"{indent}  case {{",
                    *_print_steps(body, indent + "    "),
                    f"{indent}  }}",
                ]
            return [*lines, indent + "}"]
        case Loop(count, windows, body, limit, steps):
            head = "loop" if count is None else f"loop {count}"
            head += f" over ({', '.join(windows)})"
            head += (f" upto {limit}" if limit else "") + (f" counting {steps}" if steps else "")
            return [f"{indent}{head} {{", *_print_steps(body, indent + "  "), indent + "}"]


def _print_steps(steps: tuple[Step, ...], indent: str) -> list[str]:
    return [line for step in steps for line in _print_step(step, indent)]


def print_program(program: Program) -> str:
    lines = [f"program {program.name} on {program.target} {{"]
    lines += [f"  where {c}{print_loc(c.loc)}" for c in program.constraints]
    lines += ["  " + _print_buffer(buffer) for buffer in program.buffers]
    lines += [
        f"  check {c.error} {json.dumps(c.message)}{print_loc(c.loc)}" for c in program.checks
    ]
    for kernel in program.kernels:
        lines += ["  " + line for line in print_kernel(kernel).splitlines()]
        lines += ["  | " + line for line in kernel.source.splitlines()]
    lines += ["  steps {", *_print_steps(program.steps, "    ")]
    return "\n".join([*lines, "  }", f"  return {', '.join(program.outputs)}".rstrip(), "}"])


_NAMES = r"[\w., -]*"
_BUFFER = re.compile(
    r"(input|parameter|constant|temporary|output|window) ([\w.-]+): (\w+)\[([^\]]*)\](?: = (.*))?"
    r"(?: of ([\w.-]+)( reverse)?(?: from (.*))?)?$"
)
_LAUNCH = re.compile(rf"launch (\w+)\(({_NAMES})(?:; (.*))?\)$")
_HOST = re.compile(rf"host ({_NAMES}) = (\w+)\(({_NAMES})\) \{{(.*)\}} check (\d+)$")
_LOOP = re.compile(
    rf"loop (?:(.*) )?over \(({_NAMES})\)(?: upto ([\w.-]+))?(?: counting ([\w.-]+))? \{{$"
)
_BREAK = re.compile(r"break unless ([\w.-]+)$")
_BRANCH = re.compile(r"branch ([\w.-]+) \{$")


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split(", ")) if text else ()


class _Lines:
    def __init__(self, text: str) -> None:
        self.lines = [line for line in text.strip().splitlines()]
        self.at = 0

    def next(self) -> str:
        self.at += 1
        return self.lines[self.at - 1].strip()

    def peek(self) -> str:
        if self.at == len(self.lines):
            raise ParseError("the program ends too early")
        return self.lines[self.at].strip()


def _parse_buffer(line: str, blobs: Mapping[str, Any]) -> Buffer:
    match = _BUFFER.match(line)
    if match is None:
        raise ParseError(f"{line!r} is no buffer")
    kind, name, short, inner, value, of, reverse, start = match.groups(default="")
    type_ = TensorType(BY_SHORT[short], parse_dims(inner))
    array: Array | None = None
    if value:
        blob = re.match(r'blob\("(\w+)"\)$', value)
        if blob:
            digest = blob.group(1)
            array = Array(blobs[digest]) if digest in blobs else large(digest)
            if array is None:
                raise ParseError(f"the constant {digest} is not given")
        else:
            import numpy as np

            plain = re.sub(r"\bnan\b", "1e999-1e999", re.sub(r"\binf\b", "1e999", value))
            plain = plain.replace("true", "True").replace("false", "False")
            tree = ast.parse(plain, mode="eval")
            numbers = _number(tree.body)
            array = Array(np.array(numbers, type_.dtype.numpy).reshape(type_.shape))  # type: ignore[arg-type]
    first = parse_dim(start or "0")
    return Buffer(name, kind, type_, array, of, bool(reverse), first)  # type: ignore[arg-type]


def _number(node: ast.expr) -> Any:
    match node:
        case ast.List(elts=items):
            return [_number(item) for item in items]
        case ast.UnaryOp(operand=operand):
            return -_number(operand)
        case ast.BinOp():
            return float("nan")
        case ast.Constant(value=value):
            return value
        case _:
            raise ParseError(f"{ast.unparse(node)} is no number")


def _parse_steps(lines: _Lines, blobs: Mapping[str, Any]) -> tuple[Step, ...]:
    steps: list[Step] = []
    while (line := lines.next()) != "}":
        if line == "check":
            steps.append(Check())
        elif match := _LAUNCH.match(line):
            kernel, arguments, sizes = match.groups(default="")
            steps.append(Launch(kernel, _split(arguments), parse_dims(sizes)))
        elif line.startswith("copy "):
            destination, source = line.removeprefix("copy ").split(" = ")
            steps.append(Copy(destination, source))
        elif match := _HOST.match(line):
            results, op, operands, attrs, check = match.groups(default="")
            pairs = tuple(parse_attributes(attrs, blobs).items())
            steps.append(Host(op, _split(operands), _split(results), pairs, int(check)))
        elif match := _LOOP.match(line):
            number, windows, limit, taken = match.groups(default="")
            count = parse_dim(number) if number else None
            body = _parse_steps(lines, blobs)
            steps.append(Loop(count, _split(windows), body, limit, taken))
        elif match := _BREAK.match(line):
            steps.append(Break(match.group(1)))
        elif match := _BRANCH.match(line):
            bodies: list[tuple[Step, ...]] = []
            while lines.next() == "case {":
                bodies.append(_parse_steps(lines, blobs))
            steps.append(Branch(match.group(1), tuple(bodies)))
        else:
            raise ParseError(f"{line!r} is no step")
    return tuple(steps)


def parse_program(text: str, constants: Mapping[str, Any] | None = None) -> Program:
    """The program that `text` spells; ParseError otherwise."""
    blobs = constants or {}
    lines = _Lines(text)
    head = re.match(r"program (\S+) on (\w+)(?: lanes (\d+))? \{$", lines.next())
    if head is None:
        raise ParseError("the text does not start with a program")
    target = Target(head.group(2), int(head.group(3) or Target().lanes))
    constraints: list[Constraint] = []
    buffers: list[Buffer] = []
    checks: list[Failure] = []
    kernels: list[Kernel] = []
    while (line := lines.next()) != "steps {":
        if line.startswith("where "):
            sizes, _, tail = line.removeprefix("where ").partition("    @ ")
            left, right = sizes.split(" == ")
            loc = parse_loc(tail)
            constraints.append(Constraint(parse_dim(left), parse_dim(right), loc))
        elif line.startswith("check "):
            error, _, told = line.removeprefix("check ").partition(" ")
            message, end = json.JSONDecoder().raw_decode(told)
            loc = parse_loc(told[end:].removeprefix("    @ "))
            checks.append(Failure(error, message, loc))  # type: ignore[arg-type]
        elif line.startswith("kernel "):
            block = [line]
            while block[-1] != "}":
                block.append(lines.next())
            source: list[str] = []
            while lines.peek().startswith("|"):
                source.append(lines.lines[lines.at][4:])
                lines.at += 1
            made = parse_kernel("\n".join(block))
            kernels.append(made.with_source("\n".join([*source, ""]) if source else ""))
        else:
            buffers.append(_parse_buffer(line, blobs))
    steps = _parse_steps(lines, blobs)
    outputs = _split(lines.next().removeprefix("return").strip())
    return Program(
        head.group(1),
        target,
        tuple(buffers),
        tuple(kernels),
        steps,
        outputs,
        tuple(constraints),
        tuple(checks),
    )
