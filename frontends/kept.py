"""Finished programs on disk: who builds a graph that was compiled before runs no pass again.

A program is kept as its text, beside the object code of its kernels, under a key of all that the
passes saw: the text of the graph as built, what was asked for, our own sources, the versions.  Only
the user's lines are left out, since who moves them changes no program.  In their place stands the
rank of each among all lines of the graph: so the key knows which nodes share lines, and in what
order.  The text holds ranks as well, which become lines again when it is read for a graph.  Large
constants are those of that graph, or files of their own, by content.

What is on disk only runs.  Who looks at a stage, a kernel or a profile sees what the passes make.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.array import large
from ..ir.graph import Constraint, Graph
from ..ir.kernel import Compute, Contract, Kernel, Reduce, Running
from ..ir.loc import Line, Loc, current_loc
from ..ir.program import Failure, Program
from ..ir.program_text import parse_program
from ..ir.target import Target
from ..ir.text import constants_of
from ..runtime.cache import default_cache
from ..runtime.loader import normalise
from ..runtime.native import host

LARGEST = 32 << 20  # bytes of constants that a program may have of its own, to be kept
_PACKAGE = Path(__file__).parent.parent
_BLOB = re.compile(r'\bblob\("(\w+)"\)')


class Kept:
    """The place on disk of the program of one graph; `options`: all else that it depends on.

    There is none for CUDA, whose kernels Python would execute as they are read.
    """

    def __init__(self, graph: Graph, target: Target, options: Sequence[object]) -> None:
        self._graph = graph
        locs = [current_loc(), *_locs(graph)]
        self._lines = sorted({line for loc in locs for line in loc})
        self._ranks = {line: rank for rank, line in enumerate(self._lines)}
        ranks = [[self._ranks[line] for line in loc] for loc in locs]
        environment = _environment(_PACKAGE) if target.kind == "cpu" else ""
        seen = f"{environment}\n{target}\n{options}\n{graph.key}\n{ranks}"
        digest = hashlib.sha256(seen.encode()).hexdigest()
        self._key = f"graph-{digest}" if environment else ""

    def find(self) -> Program | None:
        """The program that was kept, at the lines of this graph; None where there is none."""
        data = default_cache().get(self._key) if self._key else None
        if data is None:
            return None
        text = data.decode()
        constants: dict[str, np.ndarray[Any, Any]] = {}
        held: list[object] = []  # what others let go of meanwhile would be missing
        for digest in _BLOB.findall(text):
            held.append(large(digest))
            if held[-1] is None:
                values = default_cache().get(f"constant-{digest}")
                if values is None:
                    return None
                constants[digest] = np.load(io.BytesIO(values), allow_pickle=False)
        return self._at_lines(parse_program(text, constants))

    def keep(self, program: Program) -> None:
        """Keep the program; quietly does nothing with one that would not be read back as it is."""
        try:
            bare = self._bare(program)
        except KeyError:  # a line that is none of the graph's
            return
        text, given = str(bare), constants_of(self._graph)
        arrays = {digest: large(digest) for digest in _BLOB.findall(text) if digest not in given}
        own = {digest: array.values for digest, array in arrays.items() if array is not None}
        plain = all(values.dtype.isbuiltin == 1 for values in own.values())  # .npy knows no other
        if not self._key or not plain or sum(values.nbytes for values in own.values()) > LARGEST:
            return
        if not _reads_back(text, bare):
            return
        for digest, values in own.items():
            file = io.BytesIO()
            np.save(file, values, allow_pickle=False)
            default_cache().put(f"constant-{digest}", file.getvalue())
        default_cache().put(self._key, text.encode())

    def _bare(self, program: Program) -> Program:
        """The program with ranks for lines, and without what is for readers alone."""

        def ranked(loc: Loc) -> Loc:
            return tuple(Line("line", self._ranks[line]) for line in loc)

        return replace(
            program,
            kernels=tuple(map(_bare_kernel, program.kernels)),
            constraints=tuple(
                Constraint(c.left, c.right, ranked(c.loc)) for c in program.constraints
            ),
            checks=tuple(replace(check, loc=ranked(check.loc)) for check in program.checks),
        )

    def _at_lines(self, program: Program) -> Program:
        """The program with this graph's lines for ranks."""

        def lines(of: Constraint | Failure) -> Loc:
            return tuple(self._lines[line.number] for line in of.loc)

        return replace(
            program,
            constraints=tuple(Constraint(c.left, c.right, lines(c)) for c in program.constraints),
            checks=tuple(replace(check, loc=lines(check)) for check in program.checks),
        )


def _locs(graph: Graph) -> Iterator[Loc]:
    """The lines of everything in a graph, in an order of its own."""
    for constraint in graph.constraints:
        yield constraint.loc
    for leaf in (*graph.inputs, *graph.parameters):
        yield leaf.node.loc
    for node in graph.nodes:
        yield node.loc
        for region in node.regions:
            yield from _locs(region)


def _bare_kernel(kernel: Kernel) -> Kernel:
    body = tuple(
        replace(item, loc=()) if isinstance(item, (Compute, Reduce, Running, Contract)) else item
        for item in kernel.body
    )
    return replace(kernel, body=body, source=normalise(kernel.source))


def _reads_back(text: str, program: Program) -> bool:
    """Whether the text gives the program, part by part: texts alone could be equal by mistake."""

    def parts(program: Program) -> list[object]:
        kernels = [(kernel.name, kernel.key, kernel.source) for kernel in program.kernels]
        constraints = [(str(c), c.loc) for c in program.constraints]
        rest = program.name, program.target, program.outputs, program.checks
        return [kernels, constraints, program.buffers, program.steps, *rest]

    try:
        return parts(parse_program(text)) == parts(program)
    except Exception:  # whatever it is that the text form cannot say
        return False


@functools.cache
def _environment(package: Path) -> str:
    """What a program depends on besides the graph: our sources, what folds constants, the machine.

    Empty where there are no sources to read.
    """
    digest = hashlib.sha256(host().identity.encode())
    digest.update(f"python {sys.version_info[:3]} numpy {np.__version__}".encode())
    sources = [path for room in ("ir", "compiler") for path in (package / room).rglob("*.py")]
    try:
        for path in (package / "frontends" / Path(__file__).name, *sorted(sources)):
            digest.update(f"\n{path.relative_to(package)}\n".encode() + path.read_bytes())
    except OSError:
        return ""
    return digest.hexdigest() if sources else ""
