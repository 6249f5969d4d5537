"""The Program language: buffers and ordered steps over kernels.  Data, no behaviour.

A program is what the compiler hands to the runtime: it can be printed, parsed, saved and run on
another day.  Sizes are formulas in the dimensions; offsets of temporaries are planned from them
when the dimensions are known (``ir/plan.py``).  Steps stand in the order of execution; all steps
that can fail stand before the Check behind which parameters are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import pack, unpack
from typing import Any, Literal

from .array import Array
from .dims import DimLike
from .errors import CheckError, GradloomError, IndexRangeError, NumericsError
from .graph import Constraint
from .kernel import Kernel
from .loc import Loc, quote
from .target import Target
from .tensor import Node, TensorType

BufferKind = Literal["input", "parameter", "constant", "temporary", "output", "window"]


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory in C order.  A window lies over the buffer `of`, from its entry number `start` on.

    Loops that name a window move it by its own size with each step, to the next entry; or, if it
    is `reverse`, to the one before: then it starts at entry number `start` from the end.
    """

    name: str
    kind: BufferKind
    type: TensorType
    value: Array | None = None
    of: str = ""
    reverse: bool = False
    start: DimLike = 0


@dataclass(frozen=True, slots=True)
class Launch:
    """Run a kernel on buffers; `sizes` are its parameters.

    origin: the node that it computes, where that is known: for reports, and no part of the text.
    """

    kernel: str
    arguments: tuple[str, ...]
    sizes: tuple[DimLike, ...]
    origin: Node | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy all bytes of one buffer to another of the same type."""

    destination: str
    source: str


@dataclass(frozen=True, slots=True)
class Host:
    """Compute an op by its NumPy reference, between kernels.  origin: as of a Launch."""

    op: str
    operands: tuple[str, ...]
    results: tuple[str, ...]
    attrs: tuple[tuple[str, Any], ...] = ()
    check: int = 0
    origin: Node | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Check:
    """Leave the program if any check failed so far."""


@dataclass(frozen=True, slots=True)
class Break:
    """Leave the innermost loop if the bool in the buffer `flag` is false.

    It stands at the top level of the loop's body.  Like a Check it leaves the program if any check
    failed so far: a flag made of what is wrong may never become false.
    """

    flag: str


@dataclass(frozen=True, slots=True)
class Branch:
    """Run one of the bodies only: the one whose number, an int64, is in the buffer `index`.

    A number below 0 is the first body's, one above the last the last's.
    """

    index: str
    bodies: tuple[tuple[Step, ...], ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """Run `body` `count` times; the windows move on after each.

    count: None where only a Break ends the loop; it then has no windows.
    limit: the buffer of an int64, read once before the first step: at most that many steps, none if
        it is negative.  A reverse window then starts at entry `limit - 1`.
    steps: the buffer of an int64 that receives how many steps were taken, not counting one that a
        Break cut short.
    """

    count: DimLike | None
    windows: tuple[str, ...]
    body: tuple[Step, ...]
    limit: str = ""
    steps: str = ""


ErrorName = Literal["IndexRangeError", "CheckError", "NumericsError", "host"]
_ERRORS: dict[str, type[GradloomError]] = {
    error.__name__: error for error in (IndexRangeError, CheckError, NumericsError)
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failed check says.

    error: the error's name; ``host`` where a host step raises its own.  message: in it stand
    ``{value}`` for the integer that a kernel failed on, ``{number}`` for a float, ``{error}`` for
    what the host said, ``{lines}`` for the user's lines `loc`.
    """

    error: ErrorName
    message: str
    loc: Loc = ()

    def raised(self, word: int) -> GradloomError:
        """The error; `word` is the integer that the kernel left, or the bits of a float64."""
        (number,) = unpack("d", pack("q", word))
        text = self.message.replace("{value}", str(word)).replace("{number}", f"{number:g}")
        return _ERRORS[self.error](text.replace("{lines}", quote(self.loc)))

    def of_host(self, error: GradloomError) -> GradloomError:
        """What a host step raised, with its place."""
        text = self.message.replace("{error}", str(error))
        return type(error)(text.replace("{lines}", quote(self.loc)))


Step = Launch | Copy | Host | Check | Break | Branch | Loop


@dataclass(frozen=True, repr=False, eq=False)
class Program:
    """checks[i] says what check number i + 1 means."""

    name: str
    target: Target
    buffers: tuple[Buffer, ...]
    kernels: tuple[Kernel, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    constraints: tuple[Constraint, ...] = ()
    checks: tuple[Failure, ...] = ()

    def buffer(self, name: str) -> Buffer:
        return next(buffer for buffer in self.buffers if buffer.name == name)

    @property
    def guarded(self) -> bool:
        """Whether its kernels flag nans and infinities: then the first check is that flag."""
        return any(check.error == "NumericsError" for check in self.checks[:1])

    def of_kind(self, kind: BufferKind) -> tuple[Buffer, ...]:
        return tuple(buffer for buffer in self.buffers if buffer.kind == kind)

    def __repr__(self) -> str:
        return f"<program {self.name}: {len(self.kernels)} kernels, {len(self.steps)} steps>"

    def __str__(self) -> str:
        from .program_text import print_program

        return print_program(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def chain(name: str, buffers: Mapping[str, Buffer]) -> list[Buffer]:
    """A buffer, what it is a window of, what that is one of, and so on: the last has memory."""
    found = [buffers[name]]
    while found[-1].of:
        found.append(buffers[found[-1].of])
    return found


def walk(steps: tuple[Step, ...]) -> Iterator[Step]:
    """All steps, a loop and a branch before what is in them."""
    for step in steps:
        yield step
        for body in bodies(step):
            yield from walk(body)


def bodies(step: Step) -> tuple[tuple[Step, ...], ...]:
    """The steps inside a step: a loop's body, the ways of a branch."""
    match step:
        case Loop(body=body):
            return (body,)
        case Branch(bodies=ways):
            return ways
        case _:
            return ()


def reads_and_writes(step: Step, program: Program) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The buffers that a step reads, and those that it writes; not those of the steps inside it."""
    match step:
        case Launch(kernel=name, arguments=arguments):
            kernel = next(kernel for kernel in program.kernels if kernel.name == name)
            pairs = list(zip(arguments, kernel.arguments, strict=True))
            writes = tuple(name for name, argument in pairs if argument.is_output)
            return tuple(name for name, argument in pairs if not argument.is_output), writes
        case Copy(destination=destination, source=source):
            return (source,), (destination,)
        case Host(operands=operands, results=results):
            return operands, results
        case Break(flag=flag):
            return (flag,), ()
        case Branch(index=index):
            return (index,), ()
        case Loop(limit=limit, steps=steps):
            return ((limit,) if limit else ()), ((steps,) if steps else ())
        case Check():
            return (), ()
