"""The text form of kernels: ``parse_kernel(str(kernel)) == kernel``."""

from __future__ import annotations

import re
from typing import Any

from .dims import Dim
from .dtypes import BY_SHORT
from .errors import ParseError
from .kernel import (
    Access,
    Argument,
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
    Runs,
    Size,
    Store,
    Term,
    Walk,
)
from .loc import Loc, parse_loc
from .loc import print_loc as _loc
from .text import print_attribute


def _affine(strides: tuple[Size, ...], offset: Size, axes: tuple[Axis, ...]) -> list[str]:
    parts: list[str] = []
    for stride, axis in zip(strides, axes, strict=True):
        if stride != 0:
            parts.append(axis.name if stride == 1 else f"{stride}*{axis.name}")
    if offset != 0 or not parts:
        parts.append(str(offset))
    return parts


def _access(access: Access, axes: tuple[Axis, ...]) -> str:
    parts = _affine(access.strides, access.offset, axes)
    parts += [f"{t.stride}*{t.value}<{t.extent}" for t in access.terms]
    return f"{access.argument}[{' + '.join(parts)}]"


def print_instruction(instruction: Instruction, axes: tuple[Axis, ...]) -> str:
    match instruction:
        case Load(result, access, dtype):
            return f"{result} = load {_access(access, axes)} : {dtype}"
        case Index(result, strides, offset):
            return f"{result} = index [{' + '.join(_affine(strides, offset, axes))}]"
        case Constant(result, value, dtype):
            text = value if isinstance(value, str) else print_attribute(value)
            return f"{result} = constant {text} : {dtype}"
        case Compute(result, op, operands, dtype, attrs, check, loc):
            inner = ", ".join(f"{key}={print_attribute(v)}" for key, v in attrs)
            text = f"{result} = {op} {', '.join(operands)}" + (f" {{{inner}}}" if attrs else "")
            return text + (f" check {check}" if check else "") + f" : {dtype}" + _loc(loc)
        case Reduce(result, combine, operand, dtype, identity, loc):
            return f"{result} = reduce {combine} {operand} from {identity} : {dtype}" + _loc(loc)
        case Running(result, combine, operands, dtype, identity, loc):
            text = f"{result} = running {combine} {', '.join(operands)} from {identity}"
            return f"{text} : {dtype}" + _loc(loc)
        case Contract(result, lhs, rhs, depth, scratch, dtype, initial, walk, stride, loc):
            left = _access(lhs, axes)
            if walk is not None:
                left += f" by {walk.rows}, {walk.steps} of {walk.period} at {walk.stride}"
                if (runs := walk.runs) is not None:
                    left += f" in {runs.table} of {runs.most} every {runs.group} by {runs.unit}"
            right = _access(rhs, axes) + (f" in panels of {stride}" if stride != 0 else "")
            text = f"{result} = contract {left}, {right} over {depth}"
            text += "" if initial is None else f" from {_access(initial, axes)}"
            text += "" if scratch is None else f" in {_access(scratch, axes)}"
            return f"{text} : {dtype}" + _loc(loc)
        case Store(access, operand, combine, check):
            text = f"store {_access(access, axes)} = {operand}" + (f" by {combine}" * bool(combine))
            return text + (f" check {check}" if check else "")


def print_kernel(kernel: Kernel) -> str:
    arguments = ", ".join(
        f"{a.name}: {'out ' if a.is_output else ''}{a.dtype}" for a in kernel.arguments
    )
    parameters = "; " + ", ".join(kernel.parameters) if kernel.parameters else ""
    axes = ", ".join(f"{axis.name}: {axis.role} {axis.extent}" for axis in kernel.axes)
    chunk = f" chunk {kernel.chunk}" if kernel.chunk else ""
    lines = [f"kernel {kernel.name}({arguments}{parameters}) over {axes}{chunk} {{"]
    lines += [f"  {print_instruction(item, kernel.axes)}" for item in kernel.body]
    return "\n".join([*lines, "}"])


_HEAD = re.compile(r"kernel (\w+)\(([^;)]*)(?:; ([^)]*))?\) over (.*?)(?: chunk (\d+))? \{$")
_LINES: dict[str, re.Pattern[str]] = {
    "load": re.compile(r"(\w+) = load (\w+)\[(.*)\] : (\w+)$"),
    "index": re.compile(r"(\w+) = index \[(.*)\]$"),
    "constant": re.compile(r"(\w+) = constant (\S+) : (\w+)$"),
    "reduce": re.compile(r"(\w+) = reduce (\w+) (\w+) from (\w+) : (\w+)$"),
    "running": re.compile(r"(\w+) = running (\w+) ([\w, ]+) from (\w+) : (\w+)$"),
    "contract": re.compile(
        r"(\w+) = contract (\w+)\[(.*)\](?: by (\w+), (\w+) of (\w+) at (-?\w+)"
        r"(?: in (\w+) of (\w+) every (\w+) by (\w+))?)?, "
        r"(\w+)\[([^\]]*)\](?: in panels of (\w+))? over (\w+)"
        r"(?: from (\w+)\[([^\]]*)\])?(?: in (\w+)\[([^\]]*)\])? : (\w+)$"
    ),
    "store": re.compile(r"store (\w+)\[(.*)\] = (\w+)(?: by (\w+))?(?: check (\w+))?$"),
    "compute": re.compile(r"(\w+) = (\w+) ([\w, ]*?)(?: \{(.*)\})?(?: check (\w+))? : (\w+)$"),
}


def _size(text: str) -> Size:
    return int(text) if re.match(r"-?\d+$", text) else text


def parse_access(argument: str, text: str, axes: tuple[Axis, ...]) -> Access:
    strides: list[Size] = [0] * len(axes)
    names = {axis.name: n for n, axis in enumerate(axes)}
    offset: Size = 0
    terms: list[Term] = []
    for part in text.split(" + "):
        stride, _, name = part.rpartition("*")
        if "<" in name:
            value, extent = name.split("<")
            terms.append(Term(value, _size(stride), _size(extent)))
        elif name in names:
            strides[names[name]] = _size(stride) if stride else 1
        else:
            offset = _size(part)
    return Access(argument, tuple(strides), offset, tuple(terms))


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if re.match(r"-?\d+$", text):
        return int(text)
    return text if re.match(r"d\d+$", text) else float(text)


def parse_instruction(text: str, axes: tuple[Axis, ...]) -> Instruction:
    from .text import parse_attributes

    loc: Loc = ()
    if "    @ " in text:
        text, tail = text.rsplit("    @ ", 1)
        loc = parse_loc(tail)
    for kind, pattern in _LINES.items():
        match = pattern.match(text)
        if match is None:
            continue
        parts = match.groups(default="")
        match kind, parts:
            case "load", (result, argument, inner, dtype):
                return Load(result, parse_access(argument, inner, axes), BY_SHORT[dtype])
            case "index", (result, inner):
                access = parse_access("", inner, axes)
                return Index(result, access.strides, access.offset)
            case "constant", (result, value, dtype):
                return Constant(result, _value(value), BY_SHORT[dtype])
            case "reduce", (result, combine, operand, identity, dtype):
                return Reduce(result, combine, operand, BY_SHORT[dtype], identity, loc)
            case "running", (result, combine, operands, identity, dtype):
                names = tuple(operands.split(", "))
                return Running(result, combine, names, BY_SHORT[dtype], identity, loc)
            case "contract", (result, a, left, *way, b, right, far, depth, c, start, s, at, kind):
                lhs, rhs = parse_access(a, left, axes), parse_access(b, right, axes)
                size, dtype = _size(depth), BY_SHORT[kind]
                initial = parse_access(c, start, axes) if c else None
                runs = Runs(way[4], *map(_size, way[5:])) if way[4] else None
                walk = None
                if way[0]:
                    walk = Walk(way[0], way[1], _size(way[2]), _size(way[3]), runs)
                scratch = parse_access(s, at, axes) if s else None
                stride = _size(far) if far else 0
                return Contract(result, lhs, rhs, size, scratch, dtype, initial, walk, stride, loc)
            case "store", (argument, inner, operand, combine, check):
                access = parse_access(argument, inner, axes)
                return Store(access, operand, combine, _size(check) if check else 0)
            case _, (result, op, operands, attrs, check, dtype):
                names = tuple(operands.split(", ")) if operands else ()
                found = parse_attributes(attrs).items() if attrs else ()
                pairs = tuple((key, str(v) if isinstance(v, Dim) else v) for key, v in found)
                number = _size(check) if check else 0
                return Compute(result, op, names, BY_SHORT[dtype], pairs, number, loc)
            case _:
                break
    raise ParseError(f"{text!r} is no instruction of a kernel")


def parse_kernel(text: str) -> Kernel:
    """The kernel that `text` spells; ParseError otherwise."""
    lines = [line.strip() for line in text.strip().splitlines()]
    head = _HEAD.match(lines[0])
    if head is None or lines[-1] != "}":
        raise ParseError(f"{lines[0]!r} is no head of a kernel")
    name, arguments, parameters, over, chunk = head.groups(default="")
    axes: list[Axis] = []
    for part in over.split(", ") if over else []:
        axis, role, extent = part.replace(":", "").split(" ")
        axes.append(Axis(axis, _size(extent), "reduce" if role == "reduce" else "parallel"))
    made: list[Argument] = []
    for part in arguments.split(", ") if arguments else []:
        argument, _, kind = part.partition(": ")
        made.append(Argument(argument, BY_SHORT[kind.removeprefix("out ")], "out " in kind))
    body = tuple(parse_instruction(line, tuple(axes)) for line in lines[1:-1])
    names = tuple(parameters.split(", ")) if parameters else ()
    return Kernel(name, tuple(made), names, tuple(axes), body, int(chunk or 0))
