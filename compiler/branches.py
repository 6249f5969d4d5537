"""Lower switches: a native branch, whose bodies all write their results to the same buffers."""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.program import Branch, Copy, Step
from ..ir.tensor import Node, Tensor
from .loops import Lower
from .schedule import schedule
from .storage import Lowering, Stored, contiguous, copy, fills_buffer, typed


def lower_switch(
    state: Lowering,
    graph: Graph,
    stored: dict[Tensor, Stored],
    wanted: dict[Tensor, Stored],
    node: Node,
    lower: Lower,
) -> None:
    """A step that runs one of several bodies.

    Views of what is given stay views.  Each body keeps its own account of where values lie: a
    dense copy that one body makes is not there when another is taken.
    """
    index = typed(state, stored, node.operands[0])
    used = [i for i, t in enumerate(node.results) if t in graph.results_set or t in graph.users]
    for i in used:
        result = node.results[i]
        stored[result] = wanted.get(result) or state.temporary(result.type)
    targets = [stored[node.results[i]] for i in used]
    bodies: list[tuple[Step, ...]] = []
    outer_steps = state.steps
    for branch in node.regions:
        state.steps = []
        inner = {own: stored[t] for own, t in zip(branch.inputs, node.group(1), strict=True)}
        _body(state, branch, inner, [branch.outputs[i] for i in used], targets, lower)
        bodies.append(tuple(state.steps))
    state.steps = outer_steps
    if any(bodies):
        state.steps.append(Branch(index, tuple(bodies)))


def _body(
    state: Lowering,
    branch: Graph,
    inner: dict[Tensor, Stored],
    outputs: list[Tensor],
    targets: list[Stored],
    lower: Lower,
) -> None:
    """Steps that compute one branch, each output in its target."""
    own: dict[Tensor, Stored] = {}
    pending: list[tuple[Stored, Tensor]] = []
    for output, target in zip(outputs, targets, strict=True):
        if fills_buffer(output.node) and output not in own:
            own[output] = target
        else:
            pending.append((target, output))
    lower(state, branch, inner, own, schedule(branch))
    for target, output in pending:
        if state.guarded and output.dtype.is_float:  # a kernel looks at what it copies
            copy(state, output, inner[output], target)
        else:
            state.steps.append(Copy(target.buffer, contiguous(state, inner, output)))
