"""Lower loops: carries in buffers of their own, sequences and outputs through windows."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.errors import GradloomError
from ..ir.graph import Graph
from ..ir.ops.scan import Scan
from ..ir.program import Copy, Loop
from ..ir.tensor import Node, Tensor, TensorType
from .schedule import schedule
from .storage import Lowering, Stored, contiguous, dense, fills_buffer, typed

Lower = Callable[
    [Lowering, Graph, dict[Tensor, Stored], dict[Tensor, Stored], list[Node]], None
]  # `lower_nodes`, which calls this


def lower_scan(
    state: Lowering, graph: Graph, stored: dict[Tensor, Stored], node: Node, lower: Lower
) -> None:
    """A native loop: carries in buffers of their own, sequences and outputs through windows."""
    scan = Scan(node)
    if scan.proceed is not None or scan.limit is not None:
        raise GradloomError("a scan that stops is not compiled yet")
    body, length, reverse = scan.body, scan.length, scan.reverse
    n, m = len(scan.carries), len(scan.sequences)
    used = {result for result in node.results if result in graph.results_set}
    used |= {result for result in node.results if graph.users.get(result)}
    inner: dict[Tensor, Stored] = {}
    windows: list[str] = []

    def window(of: str, type_: TensorType) -> str:
        windows.append(state.buffer("window", type_, of=of, reverse=reverse))
        return windows[-1]

    carries: list[str] = []
    for i in range(n):
        source = contiguous(state, stored, node.operands[i])
        place = state.temporary(node.operands[i].type)
        state.steps.append(Copy(place.buffer, source))
        carries.append(place.buffer)
        inner[body.inputs[i]] = place
    for i in range(n, n + m):
        source = typed(state, stored, node.operands[i])
        type_ = body.inputs[i].type
        inner[body.inputs[i]] = Stored(window(source, type_), dense(type_))
    for i in range(n + m, len(node.operands)):
        inner[body.inputs[i]] = stored[node.operands[i]]

    outer_steps, state.steps = state.steps, []
    count = len(body.outputs)
    for i in range(n):
        history = node.results[count + i]
        if history in used:
            place = state.temporary(history.type)
            stored[history] = place
            state.steps.append(Copy(window(place.buffer, body.inputs[i].type), carries[i]))
    wanted: dict[Tensor, Stored] = {}
    pending: list[tuple[str, Tensor]] = []
    for output, result in zip(body.outputs[n:], node.results[n:count], strict=True):
        if result not in used:
            continue
        place = state.temporary(result.type)
        stored[result] = place
        target = window(place.buffer, output.type)
        if fills_buffer(output.node) and output not in wanted:
            wanted[output] = Stored(target, dense(output.type))
        else:
            pending.append((target, output))
    lower(state, body, inner, wanted, schedule(body))
    for target, output in pending:
        state.steps.append(Copy(target, contiguous(state, inner, output)))
    sources: list[str] = []
    for i, output in enumerate(body.outputs[:n]):
        source = contiguous(state, inner, output)
        if source in carries and source != carries[i]:  # it would be overwritten before it is read
            held = state.temporary(output.type)
            state.steps.append(Copy(held.buffer, source))
            source = held.buffer
        sources.append(source)
    for carry, source in zip(carries, sources, strict=True):
        if carry != source:
            state.steps.append(Copy(carry, source))
    steps, state.steps = state.steps, outer_steps
    state.steps.append(Loop(length, tuple(windows), tuple(steps)))
    for i in range(n):
        stored[node.results[i]] = Stored(carries[i], dense(node.results[i].type))
