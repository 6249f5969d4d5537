# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""What ops that hold graphs have in common; and the groups that fusion makes.

A region is closed: what its body reads from outside is an operand, and an input of the region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from ..bodies import leaked, told_leak
from ..errors import ArgumentError
from ..graph import Graph, between, rebuild, topological
from ..loc import quote
from ..op import MaybeTensors, Op, register
from ..tensor import Tensor, TensorType
from .build import INPUT, apply, as_tensor
from .create import zeros
from .logic import where
from .shape import reshape

__all__: list[str] = []

# --- fused groups -----------------------------------------------------------------------------

FUSED = register(
    Op(
        name="fused",
        kind="region",
        infer=lambda node: tuple(output.type for output in node.regions[0].outputs),
        reference=lambda *arrays, regions, groups: regions[0](*arrays),
        doc="One kernel: the graph inside, computed in a single walk over its index space.",
        no_gradient="it is made after differentiation",
    )
)


def placeholder_like(type_: TensorType, name: str) -> Tensor:
    """An input of a region."""
    return apply(INPUT, (), name=name, dtype=type_.dtype, shape=type_.shape)


def close(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], name: str, since: int | None = None
) -> tuple[Graph, list[Tensor]]:
    """A region computing `outputs` from `inputs`, and the outer tensors it reads.

    Whatever does not depend on `inputs` stays outside: it is computed once; but for nodes made
    `since` that number, which are computed inside.  The way to what a derivative inside is asked of
    comes along, from what it is asked by.  ArgumentError for what another body alone knows.
    """
    graph = Graph(name, inputs, outputs, parameters=())
    leak = leaked(graph.free)
    if leak is not None:
        raise ArgumentError(told_leak(leak, outputs))
    inner: set[Tensor] = set(inputs)
    for node in graph.nodes:
        is_new = since is not None and node.number > since
        if is_new or any(operand in inner for operand in node.operands):
            inner.update(node.results)
    for node in reversed(graph.nodes):
        if node.op.kind == "request" and not inner.isdisjoint(node.results):
            for step in between(node.group(0), node.group(1))[0]:
                inner.update(step.results)
    reads = [
        operand
        for node in graph.nodes
        for operand in node.operands
        if not inner.isdisjoint(node.results)
    ]
    outer = dict.fromkeys(t for t in [*reads, *outputs] if t not in inner)
    small = {t for t in outer if t.node.op.name in ("constant", "dimension") and t.ndim == 0}
    captured = [t for t in outer if t not in small]
    fixed = [placeholder_like(t.type, f"given{i}") for i, t in enumerate(captured)]
    mapping = dict(zip(captured, fixed, strict=True))
    order = [node for node in graph.nodes if not inner.isdisjoint(node.results)]
    rebuild(order, mapping)
    closed = [mapping.get(output, output) for output in outputs]
    return Graph(name, [*inputs, *fixed], closed), captured


def flatten(
    tree: Any, leaf: Callable[[Any], Tensor] = as_tensor
) -> tuple[list[Tensor], Callable[[Sequence[Any]], Any]]:
    """The leaves of nested tuples, lists and dicts, and what builds such a structure again.

    leaf: what makes a leaf of anything else, a tensor by default.
    """
    if tree is None:
        return [], lambda _: None
    if isinstance(tree, (tuple, list)):
        parts: list[Any] = [flatten(item, leaf) for item in tree]  # pyright: ignore[reportUnknownVariableType]
        counts = [len(leaves) for leaves, _ in parts]
        kind: Any = type(tree)  # pyright: ignore[reportUnknownVariableType]

        def rebuild_sequence(values: Sequence[Any]) -> Any:
            items: list[Any] = []
            start = 0
            for (_, build), count in zip(parts, counts, strict=True):
                items.append(build(values[start : start + count]))
                start += count
            return kind(*items) if hasattr(kind, "_fields") else kind(items)

        return [item for leaves, _ in parts for item in leaves], rebuild_sequence
    if isinstance(tree, dict):
        keys: list[Any] = list(tree)  # pyright: ignore[reportUnknownArgumentType]
        leaves, build = flatten([tree[key] for key in keys], leaf)
        return leaves, lambda values: dict(zip(keys, build(values), strict=True))
    return [leaf(tree)], itemgetter(0)


def zeros_where_none(given: MaybeTensors, like: Sequence[Tensor]) -> list[Tensor]:
    """Cotangents or tangents, zeros where there is none."""
    return [
        zeros(t.shape, t.dtype) if value is None else value
        for value, t in zip(given, like, strict=True)
    ]


def choose(active: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """`new` where the bools `active` hold, along the first axes; `old` elsewhere."""
    rank = max(new.ndim, old.ndim) - active.ndim
    return where(reshape(active, (*active.shape, *[1] * rank)), new, old)


def close_all(
    regions: Sequence[tuple[str, Sequence[Tensor], Sequence[Tensor]]],
) -> tuple[list[Graph], list[Tensor]]:
    """Closed regions of (name, inputs, outputs), and the outer tensors that any of them reads.

    All take these behind their own inputs.  ArgumentError where one reads what exists inside
    another alone.
    """
    made = [close(outputs, inputs, name) for name, inputs, outputs in regions]
    for (name, inputs, _), (_, captured) in zip(regions, made, strict=True):
        for other, theirs, _ in regions:
            if theirs is not inputs:
                _refuse_leaks(name, captured, other, theirs)
    shared = list(dict.fromkeys(tensor for _, captured in made for tensor in captured))
    graphs: list[Graph] = []
    for (_, inputs, _), (graph, captured) in zip(regions, made, strict=True):
        own, read = graph.inputs[: len(inputs)], graph.inputs[len(inputs) :]
        known = dict(zip(captured, read, strict=True))
        more = [
            known[t] if t in known.keys() else placeholder_like(t.type, f"given{i}")
            for i, t in enumerate(shared)
        ]
        graphs.append(Graph(graph.name, [*own, *more], graph.outputs))
    return graphs, shared


def _refuse_leaks(
    name: str, captured: Sequence[Tensor], other: str, inside: Sequence[Tensor]
) -> None:
    theirs = set(inside)
    for node in topological(captured):
        if not theirs.isdisjoint(node.results) or not theirs.isdisjoint(node.operands):
            raise ArgumentError(
                f"{name} reads {node.results[0]!r}, made at {quote(node.loc)}, which exists "
                f"inside the {other} alone"
            )
