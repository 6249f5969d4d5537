"""Differentiation: expand derivative requests into more graph, the innermost first.

Reverse mode walks the nodes between the outputs and what they are asked about backwards, once,
adding cotangents where a value has several users; forward mode walks them forwards.  Both take
what they need from the op's entry: partials of element-wise ops, the transpose of linear ones,
or rules of its own.  The result is ordinary graph, so requests about derivatives work as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..ir.batching import batch_leading
from ..ir.graph import Graph, topological
from ..ir.half import computes_in_float32
from ..ir.interpret import before_evaluation
from ..ir.loc import located, quote
from ..ir.op import MaybeTensors
from ..ir.ops.arithmetic import negative
from ..ir.ops.control import placeholder_like
from ..ir.ops.conversion import astype
from ..ir.ops.create import ones, zeros
from ..ir.ops.logic import where
from ..ir.ops.request import extra_axes
from ..ir.ops.shape import broadcast_to, sum_to
from ..ir.tensor import Node, Tensor
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


before_evaluation.append(differentiate_all)


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


def _between(outputs: Sequence[Tensor], wrt: Iterable[Tensor]) -> tuple[list[Node], set[Tensor]]:
    """The nodes on paths from `wrt` to `outputs`, in order, and the tensors that depend on wrt."""
    depends = set(wrt)
    path: list[Node] = []
    for node in topological(outputs):
        if any(operand in depends for operand in node.operands):
            path.append(node)
            depends.update(node.results)
    return path, depends


def pull(
    outputs: Sequence[Tensor], seeds: Sequence[Tensor], wrt: Sequence[Tensor]
) -> list[Tensor | None]:
    """Σ seed · ∂output/∂wrt for each of `wrt`; None where no path leads."""
    path, depends = _between(outputs, wrt)
    cotangents: dict[Tensor, Tensor] = {}

    def add(tensor: Tensor, value: Tensor) -> None:
        before = cotangents.get(tensor)
        cotangents[tensor] = value if before is None else before + value

    for output, seed in zip(outputs, seeds, strict=True):
        if output in depends:
            add(output, seed)
    asked = set(wrt)
    for node in reversed(path):
        arriving = [cotangents.get(result) for result in node.results]
        if all(value is None for value in arriving):
            continue
        with located(node.loc):
            for operand, value in zip(node.operands, _vjp(node, arriving, depends), strict=True):
                if value is not None and operand in depends:
                    add(operand, value)
        for result in node.results:  # its users are behind us: let go
            if result not in asked:
                cotangents.pop(result, None)
    return [cotangents.get(tensor) for tensor in wrt]


def _is_rounded_once(node: Node) -> bool:
    """Whether the derivative of an op on halves, often several ops, is computed in float32."""
    return computes_in_float32(node) and node.op.transpose is None


def _vjp(node: Node, cotangents: MaybeTensors, depends: set[Tensor]) -> MaybeTensors:
    op = node.op
    if _is_rounded_once(node):
        inner = in_float32(node)
        pairs = zip(inner.operands, node.operands, strict=True)
        reached = {tensor for tensor, before in pairs if before in depends}
        return as_before(_vjp(inner, _wide(cotangents), reached), node.operands)
    if op.vjp is not None:
        return op.vjp(node, cotangents)
    (cotangent,) = cotangents
    assert cotangent is not None
    result: list[Tensor | None] = [None] * len(node.operands)
    if op.partials is not None:
        for i, (operand, partial) in enumerate(zip(node.operands, _partials(node), strict=True)):
            if partial is not None and operand in depends and operand.dtype.is_float:
                value = sum_to(_scaled(cotangent, partial), operand.shape)
                result[i] = astype(value, operand.dtype)
    elif op.transpose is not None:
        for i in op.linear:
            if node.operands[i] in depends:
                result[i] = op.transpose(node, cotangent, i)
    return result


def _wide(values: MaybeTensors) -> MaybeTensors:
    return [None if value is None else wide(value) for value in values]


def _partials(node: Node) -> Sequence[Any]:
    assert node.op.partials is not None
    return node.op.partials(*node.operands, *node.results)


def _scaled(value: Tensor, partial: Any) -> Tensor:
    """value · partial; a bool partial lets the value through or stops it, be it infinite."""
    if isinstance(partial, float):
        return value if partial == 1.0 else negative(value) if partial == -1.0 else value * partial
    if partial.dtype.kind == "b":
        return where(partial, value, 0.0)
    return value * partial


# --- forward ----------------------------------------------------------------------------------


def push(outputs: Sequence[Tensor], tangents: dict[Tensor, Tensor]) -> list[Tensor]:
    """Σ ∂output/∂wrt · tangent for each output; zeros where nothing moves it."""
    path, _ = _between(outputs, tangents)
    moving = dict(tangents)
    for node in path:
        arriving = [moving.get(operand) for operand in node.operands]
        if all(value is None for value in arriving):
            continue
        with located(node.loc):
            for result, value in zip(node.results, _jvp(node, arriving), strict=True):
                if value is not None:
                    asked = tangents.get(result)
                    moving[result] = value if asked is None else asked + value
    return [
        moving[output] if output in moving else zeros(output.shape, output.dtype)
        for output in outputs
    ]


def _jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    op, (result, *_) = node.op, node.results
    if _is_rounded_once(node):
        return as_before(_jvp(in_float32(node), _wide(tangents)), node.results)
    if op.jvp is not None:
        return op.jvp(node, tangents)
    total: Tensor | None = None
    if op.partials is not None:
        for tangent, partial in zip(tangents, _partials(node), strict=True):
            if tangent is not None and partial is not None:
                value = astype(_scaled(tangent, partial), result.dtype)
                total = value if total is None else total + value
        if total is not None:
            total = broadcast_to(total, result.shape)
    elif op.transpose is not None:
        for i in op.linear:
            tangent = tangents[i]
            if tangent is not None:
                operands = [*node.operands[:i], tangent, *node.operands[i + 1 :]]
                value = node.remake(operands).results[0]
                total = value if total is None else total + value
    return [total, *[None] * (len(node.results) - 1)]


# --- no path ----------------------------------------------------------------------------------


def no_path(outputs: Sequence[Tensor], wrt: Tensor, request: Node) -> str:
    """Why there is no gradient: where the paths from `wrt` end."""
    name = wrt.node.attrs.get("name", repr(wrt))
    reached = {wrt}
    ends: list[str] = []
    for node in topological(outputs):
        if any(operand in reached for operand in node.operands):
            if node.op.no_gradient or not any(r.dtype.is_float for r in node.results):
                why = node.op.no_gradient or "its result is no float"
                ends.append(f"  {node.op.name} at {quote(node.loc)}: {why}")
            else:
                reached.update(node.results)
    if not ends:
        ends = [f"  the output does not depend on {name} at all"]
    lines = "\n".join(dict.fromkeys(ends))
    return (
        f"gradient: no path leads from {name} to the output; it stops where\n{lines}\n"
        f"  asked at {quote(request.loc)}"
    )
