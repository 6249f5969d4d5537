"""Residuals: what the way back through a loop would compute again is stored on the way there.

The body of a reverse scan holds the forward body once more, over the history of the carries.  Of
that the products and host calls are dear; they have the values that the forward scan had, so it
gives them out, one more stacked array each, and the way back reads them.  What is stored is the
end of the element-wise chain behind a product: the sum that enters the activation, say.  All else
is element-wise, and computed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ir.graph import Graph
from ..ir.ops.scan import Scan
from ..ir.tensor import Node, Tensor
from .bodies import end_of_chain, supplied
from .cse import node_key
from .report import Report
from .walk import in_regions

SHORT = 8  # terms of a product that are added up again sooner than their sum is stored and loaded

Place = tuple[Node, Tensor]  # a scan, and a tensor of its body


def residual(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with products and host calls of a loop's body read by the loops that compute them
    again from its history; in regions too."""
    graph = in_regions(graph, lambda region: residual(region, report))
    sources = _sources(graph)
    if not sources:
        return graph
    wanted: dict[Node, dict[Tensor, None]] = {}
    for places in sources.values():
        for node, tensor in places.values():
            wanted.setdefault(node, {})[tensor] = None
    stored: dict[Place, Tensor] = {}
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = node.remake([mapping.get(operand, operand) for operand in node.operands])
        results = dict(zip(node.results, made.results, strict=True))
        if node in wanted or node in sources:
            scan = Scan(made)
            places = sources.get(node, {})
            sequences = {tensor: stored[place] for tensor, place in places.items()}
            there = dict(zip(scan.body.outputs[len(scan.carries) :], scan.stacked, strict=True))
            new = [tensor for tensor in wanted.get(node, ()) if tensor not in there]
            changed, given, read = supplied(scan, sequences, {}, new)
            if changed:
                results = {old: changed[result] for old, result in results.items()}
            stored |= {(node, t): changed.get(result, result) for t, result in there.items()}
            stored |= {(node, t): result for t, result in zip(new, given, strict=True)}
            if report is not None:
                stems = [tensor.node for tensor in places if tensor in read]
                report += [Report("kept from the loop before", n.op.name, n.loc) for n in stems]
        mapping |= {old: result for old, result in results.items() if old is not result}
    return graph.map(mapping)


def _sources(graph: Graph) -> dict[Node, dict[Tensor, Place]]:
    """For each scan the tensors of its body that an earlier scan's body had, and where."""
    history: dict[Tensor, Node] = {}
    found: dict[Node, dict[Tensor, Place]] = {}
    for node in graph.nodes:
        if node.op.name != "scan":
            continue
        scan = Scan(node)
        makers = {history[s]: None for s in scan.sequences if s in history}
        same: dict[Tensor, Place] = {}
        for maker in makers:
            if _takes_steps_of(scan, Scan(maker)):
                for tensor, other in _match(scan, Scan(maker)).items():
                    known = found.get(maker, {})  # there it is read from a third
                    same.setdefault(tensor, known.get(other, (maker, other)))
        ends = _ends(scan, same)
        if ends:
            found[node] = ends
        history |= dict.fromkeys(scan.history, node)
    return found


def _takes_steps_of(scan: Scan, other: Scan) -> bool:
    """Whether every step that `scan` takes was one of `other`, whose rows are 0 elsewhere."""
    if scan.length != other.length:
        return False
    if other.proceed is not None:
        return scan.limit is other.steps
    return other.limit is None or scan.limit is other.limit


def _match(scan: Scan, other: Scan) -> dict[Tensor, Tensor]:
    """What is computed in the body of `scan`, to what has the same value in that of `other`."""
    n, m = len(other.carries), len(other.sequences)
    rows = [*zip(other.history, other.body.inputs[:n], strict=True)]
    rows += zip(other.sequences, other.body.inputs[n : n + m], strict=True)
    rows += zip(other.stacked, other.body.outputs[n:], strict=True)
    same = _paired(scan.sequences, scan.body.inputs[len(scan.carries) :], dict(rows))
    fixed = dict(zip(other.constants, other.body.inputs[n + m :], strict=True))
    start = len(scan.carries) + len(scan.sequences)
    same |= _paired(scan.constants, scan.body.inputs[start:], fixed)
    nodes: dict[Any, Node] = {}
    for node in other.body.nodes:
        nodes.setdefault(node_key(node, node.operands, node.regions), node)
    computed: dict[Tensor, Tensor] = {}
    for node in scan.body.nodes:
        if all(operand in same for operand in node.operands):
            operands = [same[operand] for operand in node.operands]
            there = nodes.get(node_key(node, operands, node.regions))
            if there is not None:
                computed |= zip(node.results, there.results, strict=True)
                same |= zip(node.results, there.results, strict=True)
    return computed


def _paired(
    operands: tuple[Tensor, ...], inputs: tuple[Tensor, ...], known: Mapping[Tensor, Tensor]
) -> dict[Tensor, Tensor]:
    """Inputs of a body to what `known` says of their operands."""
    pairs = zip(operands, inputs, strict=False)
    return {entry: known[operand] for operand, entry in pairs if operand in known}


def _ends(scan: Scan, same: Mapping[Tensor, Place]) -> dict[Tensor, Place]:
    """Of what the other body had, what is worth an array over all steps, and where it is."""
    found: dict[Tensor, Place] = {}
    for node in scan.body.nodes:
        if not _is_dear(node):
            continue
        for result in node.results:
            if result in same:
                end = end_of_chain(scan.body, result, lambda user: user.results[0] in same)
                found[end] = same[end]
    return found


def _is_dear(node: Node) -> bool:
    if node.op.kind == "contraction":
        terms = node.operands[0].shape[-1]
        return not isinstance(terms, int) or terms >= SHORT
    return node.op.kind == "host"
