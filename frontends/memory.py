"""Function.memory: how many bytes a call's temporaries take, and what lives when it is the most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from ..ir.dims import evaluate, symbols
from ..ir.errors import ArgumentError, ShapeError
from ..ir.interpret import bind_dims
from ..ir.loc import Loc
from ..ir.plan import lifetimes, nbytes, plan
from ..ir.program import BufferKind, Program
from ..ir.tensor import Tensor
from .table import aligned, lines_of

_SHOWN = 20  # rows of a printed table
_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


@dataclass(frozen=True, slots=True)
class Held:
    """A temporary that lives at the peak: the op and the user's lines that it was made by."""

    buffer: str
    bytes: int
    type: str
    op: str
    loc: Loc


@dataclass(frozen=True)
class Memory:
    """The bytes that one call works with, under one choice of sizes.

    total: of the one block that holds all temporaries, as it is allocated.  live: of those that
    live at the same time, at most; the rest of the block is gaps.  rows: what lives then, the
    largest first.  inputs, parameters, constants, results: bytes of these, which stand elsewhere.
    """

    total: int
    live: int
    rows: tuple[Held, ...]
    inputs: int
    parameters: int
    constants: int
    results: int

    def __str__(self) -> str:
        lines = [f"{text(self.total)} of temporaries, {text(self.live)} of them at the same time:"]
        shown = self.rows[:_SHOWN]
        cells = [[text(r.bytes), r.buffer, r.type, r.op, lines_of(r.loc)] for r in shown]
        lines += [f"  {line}" for line in (aligned(cells, left=(1, 2, 3, 4)) if cells else [])]
        rest = self.rows[_SHOWN:]
        if rest:
            lines.append(f"  and {len(rest)} more of {text(sum(row.bytes for row in rest))}")
        others = ("inputs", "parameters", "constants", "results")
        told = ", ".join(f"{name} {text(getattr(self, name))}" for name in others)
        return "\n".join([*lines, f"besides: {told}"])


def text(size: int) -> str:
    """Bytes as read by people: three figures and a unit."""
    for unit, name in _UNITS:
        if size >= unit:
            return (
                f"{size / unit:.3g} {name}" if size < 1000 * unit else f"{size / unit:.0f} {name}"
            )
    return f"{size} B"


def memory(program: Program, origins: Mapping[str, Tensor], binding: Mapping[str, int]) -> Memory:
    """What a call of `program` takes under `binding`; origins: what each buffer was made for."""

    def total(kind: BufferKind) -> int:
        return sum(nbytes(buffer, binding) for buffer in program.of_kind(kind))

    planned, spans = plan(program, binding), lifetimes(program)
    for result, taken in planned.over.items():  # the step that reads the one and makes the other
        spans[taken] = spans[taken][0], spans[result][0] - 1  # counts them once
    temporaries = [buffer for buffer in program.of_kind("temporary") if buffer.name in spans]
    change: dict[int, int] = {}
    for buffer in temporaries:
        first, last = spans[buffer.name]
        change[first] = change.get(first, 0) + nbytes(buffer, binding)
        change[last + 1] = change.get(last + 1, 0) - nbytes(buffer, binding)
    live = most = when = 0
    for moment in sorted(change):
        live += change[moment]
        if live > most:
            most, when = live, moment
    rows: list[Held] = []
    for buffer in temporaries:
        first, last = spans[buffer.name]
        if first <= when <= last:
            op, loc = _made_by(origins.get(buffer.name))
            size = nbytes(buffer, binding)
            rows.append(Held(buffer.name, size, str(buffer.type), op, loc))
    rows.sort(key=lambda row: -row.bytes)
    parts = total("input"), total("parameter"), total("constant"), total("output")
    return Memory(planned.total, most, tuple(rows), *parts)


def _made_by(tensor: Tensor | None) -> tuple[str, Loc]:
    if tensor is None:
        return "", ()
    node = tensor.node
    if node.op.name == "fused":
        pairs = zip(node.results, node.regions[0].outputs, strict=True)
        node = next(inner.node for result, inner in pairs if result is tensor)
    return node.op.name, node.loc


def binding_of(
    program: Program, names: Sequence[str], arrays: Sequence[Any], named: Mapping[str, Any]
) -> dict[str, int]:
    """The sizes that are meant: by name, or as those of inputs, in order or by name.

    ArgumentError for what is neither, and where a size stays unknown; ShapeError where they do not
    fit each other.
    """
    leaves = (*program.of_kind("input"), *program.of_kind("parameter"))
    needed = {name for leaf in leaves for size in leaf.type.shape for name in symbols(size)}
    given: dict[str, Any] = dict(zip(names, arrays, strict=False))
    sizes: dict[str, int] = {}
    for name, value in named.items():
        if name in needed and isinstance(value, Integral) and int(value) >= 0:
            sizes[name] = int(value)
        elif name in names and name not in given:
            given[name] = value
        else:
            known = ", ".join([*sorted(needed), *names])
            raise ArgumentError(f"@{program.name}: no size or input {name!r}; have {known}")
    if len(arrays) > len(names):
        raise ArgumentError(f"@{program.name}: {len(arrays)} arrays for {len(names)} inputs")
    types = [leaf.type for leaf in leaves]
    by_name = dict(zip(names, types, strict=False))
    shapes = [np.shape(value) for value in given.values()]
    for name, size in bind_dims([by_name[name] for name in given], shapes, [*given]).items():
        if sizes.setdefault(name, size) != size:
            raise ShapeError(f"@{program.name}: {name} is given as {sizes[name]} and as {size}")
    missing = sorted(needed - sizes.keys())
    if missing:
        example = ", ".join(f"{name}=128" for name in missing)
        raise ArgumentError(
            f"@{program.name}: the size of {missing[0]} is not known; say {example}"
        )
    shapes = [tuple(evaluate(size, sizes) for size in type_.shape) for type_ in types]
    return bind_dims(types, shapes, [leaf.name for leaf in leaves], program.constraints)
