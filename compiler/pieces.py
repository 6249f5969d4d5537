"""Pieces: a sum of arrays that are zero but for a slice each is a concat, if no two slices meet.

The gradient by an array that was read in slices is such a sum: each slice's cotangent stands
among zeros (``embed``), which are masks once `expand` has gone by, so that every entry of the sum
would look at every term.  Adding zeros changes no number but the sign of a zero, so the sum may be
taken apart wherever each entry keeps its other terms in their order: ``(t + a) + b`` is
``t + concat(a, b)``, but ``(a + t) + (b + u)`` stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from ..ir.dims import DimLike, never_negative
from ..ir.graph import Graph
from ..ir.loc import located
from ..ir.ops.create import zeros
from ..ir.ops.join import concat
from ..ir.tensor import Node, Tensor
from .report import Report
from .walk import remake


def pieces(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with such sums as concats; in regions too."""
    sums = _sums(graph)
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = sums[node.results[0]].joined(node, mapping) if node.results[0] in sums else None
        if made is not None:
            mapping[node.results[0]] = made
            if report is not None:
                report.append(Report("slices joined", node.op.name, node.loc))
            continue
        remade = remake(node, mapping, lambda region: pieces(region, report))
        if remade is not node:
            mapping.update(zip(node.results, remade.results, strict=True))
    return graph.map(mapping) if mapping else graph


@dataclass(slots=True)
class _Sum:
    """rest + pieces, which are embeds along `axis`; None for no rest."""

    rest: Tensor | None
    pieces: list[Tensor]
    axis: int

    def and_also(self, other: _Sum) -> _Sum | None:
        """Both sums as one, where no entry gets its terms in another order; takes their lists."""
        if self.rest is not None and other.rest is not None:
            return None
        small, large = sorted((self, other), key=lambda part: len(part.pieces))
        if small.pieces and small.axis != large.axis:
            return None
        large.pieces += small.pieces
        rest = other.rest if self.rest is None else self.rest
        return _Sum(rest, large.pieces, large.axis)

    def joined(self, node: Node, mapping: Mapping[Tensor, Tensor]) -> Tensor | None:
        """The sum, that of `node`, with one concat; None where slices may meet."""
        parts = _laid_out(self.pieces, self.axis)
        if len(self.pieces) < 2 or parts is None:
            return None
        shape = list(self.pieces[0].shape)
        with located(node.loc):
            operands: list[Tensor] = []
            for part in parts:
                if isinstance(part, Tensor):
                    (source,) = part.node.operands
                    operands.append(mapping.get(source, source))
                else:
                    shape[self.axis] = part
                    operands.append(zeros(tuple(shape), node.results[0].dtype))
            made = concat(operands, self.axis)
            if self.rest is not None:
                made = mapping.get(self.rest, self.rest) + made
        return made if made.type == node.results[0].type else None


def _sums(graph: Graph) -> dict[Tensor, _Sum]:
    """The sums with pieces that are part of no larger one, by their results."""
    found: dict[Tensor, _Sum] = {}
    for node in graph.nodes:
        (result, *_), operands = node.results, node.operands
        if node.op.name != "add":
            continue
        terms: list[_Sum] = []
        for operand in operands:
            axis = _axis(operand.node) if operand.type == result.type else None
            alone = len(graph.users[operand]) == 1 and operand not in graph.results_set
            if operand in found and alone and operand.type == result.type:
                terms.append(found[operand])
            elif axis is not None:
                terms.append(_Sum(None, [operand], axis))
            else:
                terms.append(_Sum(operand, [], 0))
        both = terms[0].and_also(terms[1]) if terms[0] is not terms[1] else None
        if both is not None and both.pieces:
            found[result] = both
            for operand in operands:
                found.pop(operand, None)
    return found


def _axis(node: Node) -> int | None:
    """The axis along which a node lays its operand among zeros, if it does so along one."""
    if node.op.name != "embed":
        return None
    source, shape = node.operands[0].shape, node.attrs["shape"]
    starts, steps = node.attrs["starts"], node.attrs["steps"]
    found = [i for i, size in enumerate(shape) if (starts[i], source[i]) != (0, size)]
    whole = all(step == 1 or source[i] == 1 for i, step in enumerate(steps))
    return found[0] if whole and len(found) == 1 else None


def _laid_out(terms: Sequence[Tensor], axis: int) -> list[Tensor | DimLike] | None:
    """The pieces in order, and the sizes of the gaps around them; None where two may meet."""

    def span(piece: Tensor) -> tuple[DimLike, DimLike]:
        start = piece.node.attrs["starts"][axis]
        return start, start + piece.node.operands[0].shape[axis]

    def compare(one: Tensor, other: Tensor) -> int:
        (start, end), (begin, stop) = span(one), span(other)
        return -1 if never_negative(begin - end) else int(never_negative(start - stop))

    filled = [piece for piece in terms if piece.node.operands[0].shape[axis] != 0]
    parts: list[Tensor | DimLike] = []
    place: DimLike = 0
    for piece in sorted(filled, key=cmp_to_key(compare)):
        start, end = span(piece)
        if parts and not never_negative(start - place):
            return None
        parts += [piece] if start == place else [start - place, piece]
        place = end
    rest = terms[0].shape[axis] - place
    return [*parts, rest] if rest != 0 else parts
