"""Differentiation: expand derivative requests into more graph, the innermost first.

Reverse mode walks the nodes between the outputs and what they are asked about backwards, once,
adding cotangents where a value has several users; forward mode walks them forwards.  Both take
what they need from the op's entry: partials of element-wise ops, the transpose of linear ones,
or rules of its own.  The result is ordinary graph, so requests about derivatives work as well.

A derivative of 0 stays 0 on its way through an op whose slope is infinite or nan there: products
with such partials are gated (``ir/ops/gated.py``), and so are those behind: behind a choice
(``where``, ``relu``, a slice), where what was not chosen may be anything, behind what saturates,
where 0 may meet an infinite slope, and behind what is steep, where it is the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir.batching import batch_leading
from ..ir.graph import Graph, between, topological
from ..ir.half import computes_in_float32
from ..ir.loc import located
from ..ir.op import MaybeTensors
from ..ir.ops.arithmetic import negative
from ..ir.ops.control import placeholder_like
from ..ir.ops.conversion import astype
from ..ir.ops.create import ones, zeros
from ..ir.ops.gated import gated_multiply
from ..ir.ops.logic import where
from ..ir.ops.request import extra_axes
from ..ir.ops.shape import broadcast_to, sum_to
from ..ir.tensor import Node, Tensor
from .opened import Opened, opens
from .requests import has_requests
from .walk import remake
from .widen import as_before, in_float32, wide


def differentiate(graph: Graph) -> Graph:
    """Expand every request whose own operands hold none; regions included."""
    mapping: dict[Tensor, Tensor] = {}
    tainted: set[Tensor] = set()  # depends on a request that stood in this graph
    for node in graph.nodes:
        made = remake(node, mapping, differentiate)
        if any(a is not b for a, b in zip(made.regions, node.regions, strict=True)):
            tainted.update(node.results)
        results: Sequence[Tensor] = made.results
        outer = any(operand in tainted for operand in node.operands)
        if node.op.kind == "request":
            tainted.update(node.results)
            if not outer and not _holds_request(made.operands):
                with located(node.loc):
                    results = expand_request(made)
        elif outer:
            tainted.update(node.results)
        if any(a is not b for a, b in zip(results, node.results, strict=True)):
            mapping.update(zip(node.results, results, strict=True))
    return graph.map(mapping) if mapping else graph


def differentiate_all(graph: Graph) -> Graph:
    """Expand requests until none is left."""
    while has_requests(graph):
        graph = differentiate(graph)
    return graph


def _holds_request(operands: Sequence[Tensor]) -> bool:
    return any(
        node.op.kind == "request" or any(has_requests(region) for region in node.regions)
        for node in topological(operands)
    )


def expand_request(node: Node) -> list[Tensor]:
    """The derivatives that `node` asks for; zeros where none leads from one to the other.

    That is no error here: what users ask is checked when they ask, and a second derivative of
    something linear, or a rule's request inside a loop, may well find no way.
    """
    outputs, wrt, given = node.group(0), node.group(1), node.group(2)
    if extra_axes(node):
        # Once for one cotangent (tangent), then that over the axes: what does not depend on it,
        # the way from `wrt` to the outputs, stays as it is.
        like = wrt if node.op.name == "pushforward" else outputs
        own = [placeholder_like(t.type, f"given{i}") for i, t in enumerate(like)]
        single = _expand(node, own)
        return batch_leading(
            Graph("derivative", own, single, parameters=()), given, extra_axes(node)
        )
    return _expand(node, given)


def _expand(node: Node, given: Sequence[Tensor]) -> list[Tensor]:
    outputs, wrt = node.group(0), node.group(1)
    if node.op.name == "pushforward":
        tangents: dict[Tensor, Tensor] = {}
        for tensor, tangent in zip(wrt, given, strict=True):
            tangents[tensor] = tangents[tensor] + tangent if tensor in tangents else tangent
        return push(outputs, tangents)
    seeds = given or [ones(output.shape, output.dtype) for output in outputs]
    found = pull(outputs, seeds, wrt)
    return [
        zeros(tensor.shape, tensor.dtype) if value is None else value
        for tensor, value in zip(wrt, found, strict=True)
    ]


# --- reverse ----------------------------------------------------------------------------------


def pull(
    outputs: Sequence[Tensor],
    seeds: Sequence[Tensor],
    wrt: Sequence[Tensor],
    note: Callable[[Node, MaybeTensors, MaybeTensors], None] | None = None,
) -> list[Tensor | None]:
    """Σ seed · ∂output/∂wrt for each of `wrt`; None where no path leads.

    note: is told of each node on the way what cotangents arrive and what it gives its operands;
    with it, functions of `checkpoint` count as one node.
    """
    opened = None if note else Opened(outputs, wrt)
    if opened is not None:
        outputs, wrt = opened.outputs, opened.wrt
    asked = set(wrt)
    path, depends = between(outputs, wrt)
    cotangents: dict[Tensor, Tensor] = {}
    gated: set[Tensor] = set()  # cotangents of which products are gated

    def add(tensor: Tensor, value: Tensor) -> None:
        before = cotangents.get(tensor)
        if before is None:
            cotangents[tensor] = value
            return
        cotangents[tensor] = before + value
        if before in gated or value in gated:
            gated.add(cotangents[tensor])

    for output, seed in zip(outputs, seeds, strict=True):
        if output in depends:
            add(output, seed)
    for node in reversed(path):
        arriving = [cotangents.get(result) for result in node.results]
        if all(value is None for value in arriving):
            continue
        with located(node.loc):
            read = node if opened is None else opened.read(node, arriving)
            pairs = zip(read.operands, node.operands, strict=True)
            found = _vjp(read, arriving, {own for own, t in pairs if t in depends}, gated)
            if note is not None:
                note(node, arriving, found)
            for operand, value in zip(node.operands, found, strict=True):
                if value is not None and operand in depends:
                    add(operand, value)
        for result in node.results:  # its users are behind us: let go
            if result not in asked:
                cotangents.pop(result, None)
    return [cotangents.get(tensor) for tensor in wrt]


def _is_rounded_once(node: Node) -> bool:
    """Whether the derivative of an op on halves, often several ops, is computed in float32."""
    return computes_in_float32(node) and node.op.transpose is None


# What selects leaves the derivative of all else 0, and what moves numbers about keeps it so.
_SELECTING = ("gather", "slice", "diagonal", "max", "min")
_MOVING = ("view", "order", "gather", "scatter", "concat", "reduction")


def _vjp(
    node: Node, cotangents: MaybeTensors, depends: set[Tensor], gated: set[Tensor]
) -> MaybeTensors:
    """The cotangents of the operands; those of which products are to be gated join `gated`."""
    op = node.op
    if _is_rounded_once(node):
        inner, wider = in_float32(node), _wide(cotangents)
        _inherit(gated, cotangents, wider)
        pairs = zip(inner.operands, node.operands, strict=True)
        reached = {tensor for tensor, before in pairs if before in depends}
        found = _vjp(inner, wider, reached, gated)
        result = as_before(found, node.operands)
        _inherit(gated, found, result)
        return result
    if op.partials is not None:
        return _elementwise_vjp(node, cotangents, depends, gated)
    if op.vjp is not None:
        result = op.vjp(node, cotangents)
    else:
        result = _transposed(node, cotangents, depends)
    moves = op.kind in _MOVING and any(value in gated for value in cotangents)
    if moves or op.name in _SELECTING:
        gated.update(value for value in result if value is not None)
    return result


def _inherit(gated: set[Tensor], before: MaybeTensors, after: MaybeTensors) -> None:
    pairs = zip(before, after, strict=True)
    gated.update(b for a, b in pairs if a is not None and b is not None and a in gated)


def _elementwise_vjp(
    node: Node, cotangents: MaybeTensors, depends: set[Tensor], gated: set[Tensor]
) -> MaybeTensors:
    (cotangent,) = cotangents
    assert cotangent is not None
    result: list[Tensor | None] = [None] * len(node.operands)
    for i, (operand, partial) in enumerate(zip(node.operands, _partials(node), strict=True)):
        if partial is not None and operand in depends and operand.dtype.is_float:
            is_gated = node.op.singular or cotangent in gated
            value = sum_to(_scaled(cotangent, partial, is_gated), operand.shape)
            result[i] = value = astype(value, operand.dtype)
            if is_gated or node.op.saturates or _is_choice(partial):
                gated.add(value)
    return result


def _transposed(node: Node, cotangents: MaybeTensors, depends: set[Tensor]) -> MaybeTensors:
    (cotangent,) = cotangents
    assert cotangent is not None
    result: list[Tensor | None] = [None] * len(node.operands)
    if node.op.transpose is not None:
        for i in node.op.linear:
            if node.operands[i] in depends:
                result[i] = node.op.transpose(node, cotangent, i)
    return result


def _wide(values: MaybeTensors) -> MaybeTensors:
    return [None if value is None else wide(value) for value in values]


def _partials(node: Node) -> Sequence[Any]:
    assert node.op.partials is not None
    return node.op.partials(*node.operands, *node.results)


def _is_choice(partial: Any) -> bool:
    return isinstance(partial, Tensor) and partial.dtype.kind == "b"


def _scaled(value: Tensor, partial: Any, gated: bool) -> Tensor:
    """value · partial, 0 where `gated` and value is; a bool partial lets it through or stops it."""
    if isinstance(partial, float):
        return value if partial == 1.0 else negative(value) if partial == -1.0 else value * partial
    if _is_choice(partial):
        return where(partial, value, 0.0)
    return gated_multiply(value, partial) if gated else value * partial


# --- forward ----------------------------------------------------------------------------------


def push(outputs: Sequence[Tensor], tangents: dict[Tensor, Tensor]) -> list[Tensor]:
    """Σ ∂output/∂wrt · tangent for each output; zeros where nothing moves it."""
    path, _ = between(outputs, tangents)
    moving = dict(tangents)
    gated: set[Tensor] = set()  # tangents of which products are gated
    for node in path:
        arriving = [moving.get(operand) for operand in node.operands]
        if all(value is None for value in arriving):
            continue
        for result, value in zip(node.results, _pushed(node, moving, gated), strict=True):
            if value is not None:
                asked = tangents.get(result)
                with located(node.loc):
                    moving[result] = value if asked is None else asked + value
    return [
        moving[output] if output in moving else zeros(output.shape, output.dtype)
        for output in outputs
    ]


def _pushed(node: Node, moving: dict[Tensor, Tensor], gated: set[Tensor]) -> MaybeTensors:
    """The tangents of the node's results; the function of a checkpoint is gone through."""
    if not opens(node):
        with located(node.loc):
            return _jvp(node, [moving.get(operand) for operand in node.operands], gated)
    region = node.regions[0]
    mapping = dict(zip(region.inputs, node.operands, strict=True))
    for inner in region.nodes:
        made = inner.remake([mapping.get(operand, operand) for operand in inner.operands])
        mapping.update(zip(inner.results, made.results, strict=True))
        if any(operand in moving for operand in made.operands):
            pairs = zip(made.results, _pushed(made, moving, gated), strict=True)
            moving.update((result, value) for result, value in pairs if value is not None)
    return [moving.get(mapping.get(output, output)) for output in region.outputs]


def _jvp(node: Node, tangents: MaybeTensors, gated: set[Tensor]) -> MaybeTensors:
    """The tangents of the results; those of which products are to be gated join `gated`."""
    op = node.op
    if _is_rounded_once(node):
        wider = _wide(tangents)
        _inherit(gated, tangents, wider)
        found = _jvp(in_float32(node), wider, gated)
        result = as_before(found, node.results)
        _inherit(gated, found, result)
        return result
    if op.jvp is not None:
        return op.jvp(node, tangents)
    total: Tensor | None = None
    if op.partials is not None:
        total = _elementwise_jvp(node, tangents, gated)
    elif op.transpose is not None:
        total = _linear_jvp(node, tangents)
        if op.kind in _MOVING and any(value in gated for value in tangents):
            gated.update(() if total is None else [total])
    return [total, *[None] * (len(node.results) - 1)]


def _elementwise_jvp(node: Node, tangents: MaybeTensors, gated: set[Tensor]) -> Tensor | None:
    (result,) = node.results
    total: Tensor | None = None
    for tangent, partial in zip(tangents, _partials(node), strict=True):
        if tangent is not None and partial is not None:
            value = _scaled(tangent, partial, node.op.singular or tangent in gated)
            value = astype(value, result.dtype)
            total = value if total is None else total + value
    if total is not None:
        total = broadcast_to(total, result.shape)
        if node.op.singular or any(value in gated for value in tangents):
            gated.add(total)
    return total


def _linear_jvp(node: Node, tangents: MaybeTensors) -> Tensor | None:
    total: Tensor | None = None
    for i in node.op.linear:
        tangent = tangents[i]
        if tangent is not None:
            operands = [*node.operands[:i], tangent, *node.operands[i + 1 :]]
            value = node.remake(operands).results[0]
            total = value if total is None else total + value
    return total


# --- no path ----------------------------------------------------------------------------------
