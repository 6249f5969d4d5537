"""Hoist: work that is the same in every step leaves the loop, and products of what the steps read
are computed for all steps at once.

A product of a step's entry and a matrix that the loop is given, such as ``x_t @ W``, waits for no
step before: over all steps it is one product of as many rows, which the tiles like better and all
threads share.  Each element stays the same chain of multiply-adds, so no bit changes.  Only what
cannot fail moves, since a loop may take no step at all: no checks and no host calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum

from ..ir.batching import Batch
from ..ir.dims import product
from ..ir.graph import Graph, rebuild, topological
from ..ir.loc import located
from ..ir.ops.contraction import matmul_
from ..ir.ops.scan import Scan
from ..ir.ops.shape import permute_dims, reshape
from ..ir.tensor import Node, Tensor
from .bodies import end_of_chain, supplied
from .report import Report
from .space import reads_at_index
from .walk import remake

FEW = 8  # operations an element that a step may do again sooner than it loads their result


class Known(IntEnum):
    """When the value of a tensor in the body is known: before the loop, for all steps, or not."""

    BEFORE = 0
    EACH_STEP = 1
    LATE = 2


def hoist(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with loop-invariant work before its loops, and products of sequences with fixed
    matrices as one product that the loop reads as one more sequence; in regions too."""
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = remake(node, mapping, lambda region: hoist(region, report))
        results: Sequence[Tensor] = made.results
        if made.op.name == "scan":
            results = _lightened(Scan(made), report)
        if results is not node.results:
            mapping.update(zip(node.results, results, strict=True))
    return graph.map(mapping) if mapping else graph


def _lightened(scan: Scan, report: list[Report] | None) -> Sequence[Tensor]:
    """The results of the scan, made by a loop that does less."""
    known = when_known(scan)
    fixed = _invariants(scan, known)
    products = _products(scan, known) if _worth_all_steps(scan) else []
    sequences = dict(zip(products, for_all_steps(scan, products), strict=True))
    constants = dict(zip(fixed, _before(scan, fixed), strict=True))
    results, _, read = supplied(scan, sequences, constants)
    if not read:
        return scan.node.results
    if report is not None:
        for titles, tensors in (
            ("product of all steps at once", products),
            ("out of the loop", fixed),
        ):
            report += [Report(titles, t.node.op.name, t.node.loc) for t in tensors if t in read]
    return [results[result] for result in scan.node.results]


def _worth_all_steps(scan: Scan) -> bool:
    """Whether all steps will be taken, as far as the graph knows.

    A loop that stops by itself takes fewer than its length, and so does the way back through it,
    which is told how many by the loop's own result.
    """
    return scan.proceed is None and (scan.limit is None or scan.limit.node.op.name != "scan")


def when_known(scan: Scan) -> dict[Tensor, Known]:
    """For each tensor of the body when its value is known, as far as it may be computed then."""
    n, m = len(scan.carries), len(scan.sequences)
    known = dict.fromkeys(scan.body.inputs[:n], Known.LATE)
    known |= dict.fromkeys(scan.body.inputs[n : n + m], Known.EACH_STEP)
    known |= dict.fromkeys(scan.body.inputs[n + m :], Known.BEFORE)
    for node in scan.body.nodes:
        when = max((known[operand] for operand in node.operands), default=Known.BEFORE)
        if when is Known.BEFORE and not _is_harmless(node):
            when = Known.LATE
        if when is Known.EACH_STEP and not _is_batched(node, known):
            when = Known.LATE
        known |= dict.fromkeys(node.results, when)
    return known


def _is_harmless(node: Node) -> bool:
    """Whether the node may run although the loop takes no step: it cannot fail, and it ends."""
    if node.op.kind in ("host", "request") or node.op.check:
        return False
    if node.op.kind == "region" and node.op.name not in ("scan", "switch"):
        return False
    return all(_is_harmless(inner) for region in node.regions for inner in region.nodes)


def _is_batched(node: Node, known: dict[Tensor, Known]) -> bool:
    """Whether all steps at once give the same bits in about the same memory.

    A product of two entries of a step is no product of more rows, and its result may be far
    larger than they are.  The order of a sum depends on which axes it walks, so sums stay.
    """
    if node.op.name == "matmul":
        return any(known[operand] is Known.BEFORE for operand in node.operands)
    return node.op.kind in ("elementwise", "view", "gather", "concat") and not node.op.check


# --- the same in every step ---------------------------------------------------------------------


def _invariants(scan: Scan, known: dict[Tensor, Known]) -> list[Tensor]:
    """What steps read of all that is known before, where a step would do or store it again."""
    body, found = scan.body, dict[Tensor, None]()
    work: dict[Node, int] = {}
    for node in body.nodes:
        if known[node.results[0]] is Known.BEFORE:
            below = max((work.get(operand.node, 0) for operand in node.operands), default=0)
            work[node] = below + _work(node)
            found |= dict.fromkeys(
                tensor for tensor in node.results if tensor in body.outputs_set and work[node] > FEW
            )
            continue
        for position, operand in enumerate(node.operands):
            maker = operand.node
            if known[operand] is not Known.BEFORE or maker.op.kind == "leaf":
                continue
            if work[maker] > FEW or not reads_at_index(node, position):
                found[operand] = None
    return list(found)


def _work(node: Node) -> int:
    """Operations an element; what no element-wise kernel does counts as many."""
    if node.op.kind in ("leaf", "view") or node.op.name == "iota":
        return 0
    if node.op.kind not in ("elementwise", "generator"):
        return FEW + 1
    return node.op.flops if node.results[0].size != 1 else 0


def _before(scan: Scan, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The values before the loop of what is the same in every step."""
    start = len(scan.carries) + len(scan.sequences)
    mapping = dict(zip(scan.body.inputs[start:], scan.constants, strict=True))
    rebuild(topological(tensors), mapping)
    return [mapping.get(tensor, tensor) for tensor in tensors]


# --- all steps at once ----------------------------------------------------------------------------


def _products(scan: Scan, known: dict[Tensor, Known]) -> list[Tensor]:
    """Products known for all steps, each with the element-wise ops behind it that are, too."""
    body = scan.body
    ends = [
        end_of_chain(body, node.results[0], lambda user: known[user.results[0]] is Known.EACH_STEP)
        for node in body.nodes
        if node.op.kind == "contraction" and known[node.results[0]] is Known.EACH_STEP
    ]
    return [end for end in dict.fromkeys(ends) if not _feeds_a_loop(body, [end])]


def _feeds_a_loop(body: Graph, tensors: Iterable[Tensor]) -> bool:
    """Whether a loop inside goes over it: then it is a product of many steps already.

    Such loops of loops are made to keep less in memory than all steps need.
    """
    for tensor in tensors:
        for user in body.users.get(tensor, ()):
            if user.op.name == "scan" and any(tensor is t for t in user.group(1)):
                return True
            if user.op.kind == "view" and _feeds_a_loop(body, user.results):
                return True
    return False


def for_all_steps(
    scan: Scan, tensors: Sequence[Tensor], kept: Mapping[Tensor, Tensor] | None = None
) -> list[Tensor]:
    """The tensors of the body over all steps, with the steps as leading axis.

    kept: tensors of the body that are there already, over all steps.
    """
    n, kept = len(scan.carries), kept or {}
    values = {**dict(zip(scan.body.inputs[n:], scan.flow[n:], strict=True)), **kept}
    entries = scan.body.inputs[n : n + len(scan.sequences)]
    batch = _AllSteps(scan.length, values, {*entries, *kept}, True)
    nodes = topological(tensors, [tensor.node for tensor in kept])
    batch.walk(node for node in nodes if node.op.name != "input")
    return [batch.spread(tensor) for tensor in tensors]


class _AllSteps(Batch):
    """Batching in which a product with a fixed matrix is one product of all rows there are."""

    def add(self, node: Node) -> None:
        made = self._of_all_rows(node) if node.op.kind == "contraction" else None
        if made is None:
            super().add(node)
            return
        self.values[node.results[0]] = made
        self.carrying.add(node.results[0])

    def _of_all_rows(self, node: Node) -> Tensor | None:
        left, right = node.operands
        x, y = self.value(left), self.value(right)
        with located(node.loc):
            if right not in self.carrying and y.ndim == 2:
                made = matmul_(reshape(x, (product(x.shape[:-1]), x.shape[-1])), y)
                return reshape(made, (*x.shape[:-1], y.shape[-1]))
            if left not in self.carrying and x.ndim == 2 and y.ndim == 3 and y.shape[-1] == 1:
                made = matmul_(reshape(y, y.shape[:-1]), permute_dims(x, (1, 0)))
                return reshape(made, (*made.shape, 1))
        return None
