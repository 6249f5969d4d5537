"""Lower a fused graph to a Program: buffers, kernels, and steps in order.

Views become strides and cost nothing; where a step needs dense memory, a copy kernel stands before
it.  An update is written straight into its parameter where nothing else reads the old value any
more, else into a temporary that is copied when nothing can fail any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from ..ir.array import Array
from ..ir.dims import minimum, product
from ..ir.graph import Graph
from ..ir.op import View
from ..ir.ops.branch import SWITCH
from ..ir.ops.control import FUSED
from ..ir.program import Check, Copy, Failure, Host, Program, Step
from ..ir.target import Target
from ..ir.tensor import Node, Tensor
from .branches import lower_switch
from .carries import root
from .draft import Draft, finish
from .emit_cpu import emit_cpu
from .guard import NUMBER
from .kernels import build_kernel, space_of_region
from .loops import lower_loop
from .orders import (
    laid,
    order_of,
    rows_in_lanes,
    rows_laid,
    stays_near,
    turned_first,
    wants_c_order,
)
from .parts import lies_at, parts_in_place, slices
from .schedule import schedule
from .storage import (
    Lowering,
    Stored,
    as_type,
    contiguous,
    copy,
    dense,
    fills_buffer,
    is_factor,
    is_whole,
    launch,
    move,
    right_sides,
    sole_right,
    typed,
)
from .updates import before_updates, direct_updates, in_order
from .walks import tables, walked


def lower(
    graph: Graph,
    target: Target,
    guarded: bool = False,
    order: Sequence[Node] | None = None,
    origins: dict[str, Tensor] | None = None,
) -> Program:
    """The program of a graph after fusion.

    guarded: each kernel as `guard` makes it.  Any may fail then, so none writes over a parameter.
    order: all nodes in the order in which they are to run, if not that of `schedule`.
    origins: is told of each buffer what it was made for.
    """
    state = Lowering(
        guarded=guarded, origins={} if origins is None else origins, walks=target.kind == "cpu"
    )
    if guarded:
        state.checks.append(Failure("NumericsError", "a number is nan or infinite"))
        assert len(state.checks) == NUMBER
    stored: dict[Tensor, Stored] = {}
    for leaves, kind in ((graph.inputs, "input"), (graph.parameters, "parameter")):
        for leaf in leaves:
            name = state.buffer(kind, leaf.type, graph.names[leaf])  # type: ignore[arg-type]
            stored[leaf] = Stored(name, dense(leaf.type))
            state.origins[name] = leaf
    direct = {} if guarded else direct_updates(graph)
    if order is not None:
        direct = in_order(graph, direct, order)
    outputs: dict[Tensor, str] = {}
    wanted: dict[Tensor, Stored] = {}
    for position, output in enumerate(graph.outputs):
        made = root(output)
        if output not in outputs and made not in wanted and fills_buffer(made.node):
            if made not in direct:
                outputs[output] = state.buffer("output", output.type, f"out{position}")
                wanted[made] = Stored(outputs[output], dense(made.type))
    order = schedule(graph, before_updates(graph, direct), direct) if order is None else order
    _lower_all(state, graph, stored, wanted, direct, order)

    returned: list[str] = []
    for position, output in enumerate(graph.outputs):
        name = outputs.get(output)
        if name is None or name in returned:
            name = state.buffer("output", output.type, f"out{position}")
            if state.guarded:
                state.steps.append(Copy(name, _guarded_source(state, stored, output)))
            else:
                move(state, output, stored[output], name)
        returned.append(name)
    copies: list[Step] = []
    for parameter, value in graph.updates:
        if root(value) not in direct:
            source = _guarded_source(state, stored, value)
            if state.buffers[source].kind == "parameter" and source != stored[parameter].buffer:
                held = state.temporary(value.type)
                state.steps.append(Copy(held.buffer, source))
                source = held.buffer
            if source != stored[parameter].buffer:
                copies.append(Copy(stored[parameter].buffer, source))
    if state.checks and not direct:
        state.steps.append(Check())
    state.steps += copies
    return Program(
        graph.name,
        target,
        tuple(state.buffers.values()),
        tuple(state.kernels.values()),
        tuple(state.steps),
        tuple(returned),
        graph.constraints,
        tuple(state.checks),
    )


def _lower_all(
    state: Lowering,
    graph: Graph,
    stored: dict[Tensor, Stored],
    wanted: dict[Tensor, Stored],
    direct: dict[Tensor, Tensor],
    order: Sequence[Node],
) -> None:
    """Steps for all nodes; those that write over parameters stand behind a check."""
    state.overwritten = {value: stored[parameter].buffer for value, parameter in direct.items()}
    late = {value.node for value in direct}
    start = 0
    for end, node in enumerate(order):
        if node not in late:
            continue
        lower_nodes(state, graph, stored, wanted, order[start:end])
        if state.checks and start == 0:
            state.steps.append(Check())
        lower_nodes(state, graph, stored, wanted, [node])
        for value in node.results:  # where the kernel could not write it in place
            target, source = state.overwritten[value], stored[value].buffer
            if source != target:
                source = as_type(state, source, state.buffers[target].type)
                state.steps.append(Copy(target, source))
        start = end + 1
    lower_nodes(state, graph, stored, wanted, order[start:])


def generate(program: Program) -> Program:
    """The program with each kernel's source for its target."""
    if program.target.kind == "cuda":
        from .emit_cuda import emit_cuda

        made = tuple(kernel.with_source(emit_cuda(kernel)) for kernel in program.kernels)
    else:
        lanes = program.target.lanes
        made = tuple(kernel.with_source(emit_cpu(kernel, lanes)) for kernel in program.kernels)
    return replace(program, kernels=made)


def _guarded_source(state: Lowering, stored: dict[Tensor, Stored], tensor: Tensor) -> str:
    """A buffer that holds the tensor; in a guarded program not one that no kernel looked at."""
    source = contiguous(state, stored, tensor)
    state.origins.setdefault(source, tensor)
    given = state.buffers[source].kind in ("input", "parameter", "constant")
    if state.guarded and given and tensor.dtype.is_float:
        held = state.temporary(tensor.type)
        copy(state, tensor, Stored(source, dense(tensor.type)), held)
        return held.buffer
    return source


# --- nodes --------------------------------------------------------------------------------------


def lower_nodes(
    state: Lowering,
    graph: Graph,
    stored: dict[Tensor, Stored],
    wanted: dict[Tensor, Stored],
    nodes: Sequence[Node],
) -> None:
    """Steps for `nodes`; results that stand in `wanted` go there, others to temporaries."""
    wanted = parts_in_place(state, graph, nodes, wanted)
    for node in nodes:
        known = len(state.buffers)
        match node.op.kind:
            case "leaf":
                _leaf(state, stored, node)
            case "view":
                _view(state, graph, stored, node)
            case "order":
                stored[node.results[0]] = stored[node.operands[0]]
            case "host":
                _host(state, stored, node)
            case "concat":
                _concat(state, stored, wanted, node)
            case "scatter":
                _scatter(state, stored, wanted, node)
            case "region" if node.op is FUSED:
                _fused(state, graph, stored, wanted, node)
            case "region" if node.op is SWITCH:
                lower_switch(state, graph, stored, wanted, node, lower_nodes)
            case "region":
                lower_loop(state, graph, stored, wanted, node, lower_nodes)
            case _:
                raise AssertionError(f"{node.op.name} is left behind fusion")
        for result in node.results:
            if result in stored:  # not where nothing reads it
                state.origins.setdefault(stored[result].buffer, result)
        for name in islice(state.buffers, known, None):  # copies
            state.origins.setdefault(name, node.results[0])


def _leaf(state: Lowering, stored: dict[Tensor, Stored], node: Node) -> None:
    (result,) = node.results
    if isinstance(node.attrs.get("value"), Array):
        name = state.buffer("constant", result.type, value=node.attrs["value"])
        stored[result] = Stored(name, dense(result.type))
        return
    stored[result] = state.temporary(result.type)
    draft = Draft((), [], 0, state.check)
    name = draft.argument(result.dtype, True)
    draft.store(draft.constant(node.attrs["size"], result.dtype), name, (), View((), 0))
    launch(state, node, *finish(draft, "fill"), [stored[result].buffer])


def _view(state: Lowering, graph: Graph, stored: dict[Tensor, Stored], node: Node) -> None:
    (operand,), (result,) = node.operands, node.results
    assert node.op.view is not None
    view = node.op.view(node, stored[operand].view)
    buffer = stored[operand].buffer
    if view is None:
        place = walked(state, node, stored[operand], graph) if state.walks else None
        if place is not None:
            stored[result] = place
            return
        buffer = contiguous(state, stored, operand)
        view = node.op.view(node, dense(operand.type))
        assert view is not None, f"{node.op.name} lies nowhere: only products read it, on the left"
    stored[result] = Stored(buffer, view)


def _fused(
    state: Lowering,
    graph: Graph,
    stored: dict[Tensor, Stored],
    wanted: dict[Tensor, Stored],
    node: Node,
) -> None:
    region = node.regions[0]
    walk = next((w for x in node.operands if (w := stored[x].walk) is not None), None)
    alone = sole_right(node)
    panels = stored[alone].panels if alone is not None and walk is None else None
    for right in right_sides(node):
        if right is alone and panels is not None:
            continue
        strides = stored[right].view.strides
        turned = state.walks and right.ndim > 1 and strides[-2] == 1 and is_factor(node, right)
        turned = turned and (walk is None or walk.runs is None)
        if strides[-1] != 1 and not turned:
            contiguous(state, stored, right)
    operands = [stored[operand] for operand in node.operands]
    if panels is not None:
        operands = [panels if x is alone else stored[x] for x in node.operands]
    sources = [operand.view for operand in operands]
    targets = [_slice(state, result, wanted) for result in node.results]
    order = _order(state, graph, node, sources, targets, wanted)
    if any(inner.op.kind == "contraction" for inner in region.nodes):
        for position, result in enumerate(node.results):
            if result not in state.overwritten and result not in wanted:
                targets[position] = rows_laid(graph, result)
    arguments = [operand.buffer for operand in operands]
    if state.walks:
        space = space_of_region(region)
        for i in turned_first(region, space, sources, order):
            operand, axes = node.operands[i], order or range(len(space.shape))
            turned = state.temporary(operand.type)
            turned = replace(turned, view=laid(operand.shape, axes, len(space.shape)))
            copy(state, operand, stored[operand], turned)
            sources[i], arguments[i] = turned.view, turned.buffer
    panel_stride = 0 if panels is None else panels.panel_stride
    kernel, sizes = build_kernel(region, sources, state.check, targets, walk, order, panel_stride)
    arguments += tables(state, node, walk) if walk is not None else ()
    places: list[str] = []
    for position, result in enumerate(node.results):
        target = state.overwritten.get(result)
        if target is not None:
            names = [argument.name for argument in kernel.arguments]
            old = {names[i] for i, buffer in enumerate(arguments) if buffer == target}
            own = len(arguments) + position
            if not old or kernel.may_overwrite(names[own], old):
                stored[result] = Stored(target, dense(result.type))
        if result not in stored:
            stored[result] = wanted.get(result) or state.temporary(result.type)
            view = targets[position]
            if view is not None and result not in wanted:
                stored[result] = replace(stored[result], view=view)
        places.append(stored[result].buffer)
    launch(state, node, kernel, sizes, [*arguments, *places])


def _order(
    state: Lowering,
    graph: Graph,
    node: Node,
    sources: Sequence[View],
    targets: list[View | None],
    wanted: dict[Tensor, Stored],
) -> tuple[int, ...] | None:
    """The order of a kernel's axes, if not the graph's; `targets` then say which results lie so."""
    if not state.walks:
        return None
    region = node.regions[0]
    space = space_of_region(region)
    order = rows_in_lanes(space)
    if order is not None or any(result in state.overwritten for result in node.results):
        return order
    rank = len(space.shape)
    fixed = [
        target or (dense(result.type) if result in wanted else None)
        for result, target in zip(node.results, targets, strict=True)
    ]
    order = order_of(region, space, sources, fixed)
    if order is None:
        return None
    for i, result in enumerate(node.results):
        if fixed[i] is None and stays_near(result, order, rank):
            if wants_c_order(graph, result, laid(result.shape, order, rank)):
                fixed[i] = dense(result.type)
    order = order_of(region, space, sources, fixed)
    if order is not None:
        for i, result in enumerate(node.results):
            targets[i] = fixed[i] or laid(result.shape, order, rank)
    return order


def _slice(state: Lowering, result: Tensor, wanted: dict[Tensor, Stored]) -> View | None:
    """How a result shall lie in its buffer; None where that holds nothing else."""
    if result in state.overwritten or result not in wanted:
        return None
    place = wanted[result]
    return None if is_whole(state, place, result.type) else place.view


def _host(state: Lowering, stored: dict[Tensor, Stored], node: Node) -> None:
    operands = tuple(typed(state, stored, operand) for operand in node.operands)
    for result in node.results:
        stored[result] = state.temporary(result.type)
    state.checks.append(Failure("host", "{error}, at {lines}", node.loc))
    results = tuple(stored[result].buffer for result in node.results)
    attrs = tuple(node.attrs.items())
    state.steps.append(Host(node.op.name, operands, results, attrs, len(state.checks), node))


def _scatter(
    state: Lowering, stored: dict[Tensor, Stored], wanted: dict[Tensor, Stored], node: Node
) -> None:
    """A copy of the array, then a kernel that walks the indexed axes in order.

    No copy where the result is wanted in place of the array, as a loop may want a carry.
    """
    x, updates, *indices = node.operands
    (result,) = node.results
    axes: tuple[int, ...] = node.attrs["axes"]
    target = stored[result] = wanted.get(result) or state.temporary(result.type)
    if stored[x].buffer != target.buffer:
        copy(state, x, stored[x], target)
    room = minimum(product(x.shape[axis] for axis in axes), 1)  # no place, nothing to write
    shape = tuple(n * room if i in axes else n for i, n in enumerate(updates.shape))
    draft = Draft(
        shape, ["reduce" if i in axes else "parallel" for i in range(x.ndim)], 0, state.check
    )
    buffers: list[str] = []
    names: list[str] = []
    for tensor in (updates, *indices):
        argument = draft.argument(tensor.dtype, False)
        place = stored[tensor]
        buffers.append(place.buffer)
        names.append(draft.load(tensor, argument, place.view))
    out = draft.argument(x.dtype, True)
    strides = target.view.strides
    fixed = tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    terms = [
        (name, strides[axis], x.shape[axis]) for name, axis in zip(names[1:], axes, strict=True)
    ]
    draft.store(names[0], out, fixed, target.view, terms, node.op.combine)
    launch(state, node, *finish(draft, node.op.name), [*buffers, target.buffer])


def _concat(
    state: Lowering, stored: dict[Tensor, Stored], wanted: dict[Tensor, Stored], node: Node
) -> None:
    """A buffer, and a copy of each part that was not written to its slice of it."""
    (result,) = node.results
    target = stored[result] = wanted.get(result) or state.temporary(result.type)
    for part, view in slices(node, target.view):
        place = Stored(target.buffer, view)
        if not lies_at(stored[part], place, part.shape):
            copy(state, part, stored[part], place)
