"""Unroll: the steps of a short loop of little work, written out.

A step of a native loop costs about a microsecond besides its work, and no kernel reaches over its
border.  Written out, element-wise steps are one kernel.
"""

from __future__ import annotations

from ..ir.graph import Graph, inline
from ..ir.loc import located
from ..ir.ops.build import constant
from ..ir.ops.create import zeros
from ..ir.ops.join import stack
from ..ir.ops.scan import Scan
from ..ir.tensor import Tensor
from .cost import total
from .fuse import MOST_NODES
from .report import Report
from .walk import remake

# A core does about as many in the microsecond that a step costs anyway.
LITTLE = 16384


def unroll(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with the steps of short and small scans written out; in regions too.

    A scan of no step or one always is; another where all its steps fit into one kernel.
    """
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = remake(node, mapping, lambda region: unroll(region, report))
        results = made.results
        if made.op.name == "scan" and pays(Scan(made)):
            with located(node.loc):
                results = tuple(_written_out(Scan(made)))
            if report is not None:
                report.append(Report("loop written out", "scan", node.loc))
        if results is not node.results:
            mapping.update(zip(node.results, results, strict=True))
    return graph.map(mapping) if mapping else graph


def pays(scan: Scan) -> bool:
    """Whether the scan is better written out."""
    if not isinstance(scan.length, int) or scan.length == 0:
        return scan.length == 0
    if scan.proceed is not None or scan.limit is not None:
        return False
    nodes = sum(1 for _ in scan.body.walk()) + len(scan.sequences) + len(scan.stacked)
    if scan.length == 1 or scan.length * nodes > MOST_NODES:
        return scan.length == 1
    work = total(scan.body.nodes).flops
    return isinstance(work, int) and work <= LITTLE


def _written_out(scan: Scan) -> list[Tensor]:
    """The results of the scan, of its steps one behind the other."""
    assert isinstance(scan.length, int)
    n, carries = len(scan.carries), list(scan.carries)
    rows: dict[int, list[Tensor]] = {}
    for step in range(scan.length)[::-1] if scan.reverse else range(scan.length):
        entries = [_entry(sequence, step) for sequence in scan.sequences]
        outputs = inline(scan.body, [*carries, *entries, *scan.constants])
        rows[step] = [*outputs[n:], *carries]
        carries = outputs[:n]
    columns: list[Tensor] = []
    for i, whole in enumerate((*scan.stacked, *scan.history)):
        if rows:
            columns.append(stack([rows[step][i] for step in range(scan.length)]))
        else:
            columns.append(zeros(whole.shape, whole.dtype))
    return [*carries, *columns, *([] if scan.steps is None else [constant(0)])]


def _entry(sequence: Tensor, step: int) -> Tensor:
    """The entry of a step; of what a loop written out before stacked, what it stacked."""
    node = sequence.node
    if node.op.name == "concat" and node.attrs["axis"] == 0 and node.operands[0].shape[0] == 1:
        row = node.operands[step].node if len(node.operands) == sequence.shape[0] else node
        if row.op.name == "reshape" and row.operands[0].shape == sequence.shape[1:]:
            return row.operands[0]
    return sequence[step]
