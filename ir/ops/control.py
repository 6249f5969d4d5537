# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Ops that hold graphs: scan, and the groups that fusion makes.

A region is closed: what its body reads from outside is an operand, and an input of the region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dims import DimLike, as_dim
from ..errors import ArgumentError, ShapeError
from ..graph import Graph, between, inline, rebuild
from ..loc import quote
from ..op import MaybeTensors, Op, register
from ..shapes import unify
from ..tensor import Node, Tensor, TensorType
from .build import INPUT, apply, as_tensor
from .create import zeros
from .request import gradient, pushforward
from .shape import broadcast_to, moveaxis

__all__ = ["scan"]

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


# --- scan -------------------------------------------------------------------------------------


def _counts(node: Node) -> tuple[int, int, int]:
    """How many carries, sequences and constants; the groups of the operands."""
    return node.groups[0], node.groups[1], node.groups[2]


def _infer_scan(node: Node) -> tuple[TensorType, ...]:
    body, length = node.regions[0], node.attrs["length"]
    carries, sequences, _ = _counts(node)
    inputs = [tensor.type for tensor in body.inputs]
    if body.free or body.parameters or len(inputs) != len(node.operands):
        raise ArgumentError("the body must be closed over its inputs")
    wanted = [tensor.type for tensor in node.operands]
    for i in range(carries, carries + sequences):
        if wanted[i].ndim == 0:
            raise ShapeError(f"a sequence needs a leading axis, got {wanted[i]}")
        unify(wanted[i].shape[0], length, "lengths of the sequences")
        wanted[i] = TensorType(wanted[i].dtype, wanted[i].shape[1:])
    if inputs != wanted:
        raise ShapeError(f"the body takes {inputs} but gets {wanted}")
    outputs = [tensor.type for tensor in body.outputs]
    for i, (before, after) in enumerate(zip(inputs[:carries], outputs, strict=False)):
        if before != after:
            raise ShapeError(
                f"carry {i} enters the body as {before} but leaves it as {after}, made at "
                f"{quote(body.outputs[i].node.loc)}"
            )
    stacked = [*outputs[carries:], *outputs[:carries]]
    return (
        *outputs[:carries],
        *(TensorType(type_.dtype, (length, *type_.shape)) for type_ in stacked),
    )


def _run_scan(*arrays: Any, length: int, reverse: bool, regions: Any, groups: Any) -> list[Any]:
    count, sequences, _ = groups
    carries = list(arrays[:count])
    constants = arrays[count + sequences :]
    steps: list[list[Any]] = []
    order = range(length)[::-1] if reverse else range(length)
    for step in order:
        elements = [xs[step] for xs in arrays[count : count + sequences]]
        results = regions[0](*carries, *elements, *constants)
        steps.append([*results[count:], *carries])
        carries = results[:count]
    if reverse:
        steps.reverse()
    if not steps:  # the shapes of a step are not known from data: run the body on zeros
        elements = [np.zeros(xs.shape[1:], xs.dtype) for xs in arrays[count : count + sequences]]
        results = regions[0](*arrays[:count], *elements, *constants)
        empty = [*results[count:], *results[:count]]
        return [*carries, *(np.zeros((0, *y.shape), y.dtype) for y in empty)]
    return [*carries, *(np.stack(column) for column in zip(*steps, strict=True))]


def make_scan(
    body: Graph,
    carries: Sequence[Tensor],
    sequences: Sequence[Tensor],
    constants: Sequence[Tensor],
    length: DimLike,
    reverse: bool,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """A scan node: final carries, stacked outputs, and the carry that entered each step."""
    node = Node(
        SCAN,
        [*carries, *sequences, *constants],
        {"length": length, "reverse": reverse},
        (len(carries), len(sequences), len(constants)),
        (body,),
    )
    n, results = len(carries), list(node.results)
    return results[:n], results[n : len(results) - n], results[len(results) - n :]


def _zeros_where_none(given: MaybeTensors, like: Sequence[Tensor]) -> list[Tensor]:
    return [
        zeros(t.shape, t.dtype) if value is None else value
        for value, t in zip(given, like, strict=True)
    ]


def _vjp_scan(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    """A scan the other way: the carry's cotangent and the constants' sums are its carries."""
    n, m, _ = _counts(node)
    body, length = node.regions[0], node.attrs["length"]
    operands = node.operands
    is_float = [tensor.dtype.is_float for tensor in operands]
    history = node.results[len(node.results) - n :]
    given = _zeros_where_none(cotangents, node.results)

    floats = [i for i in range(n) if is_float[i]]
    emitted = [i for i in range(n, len(body.outputs)) if body.outputs[i].dtype.is_float]
    sequences = [i for i in range(n, n + m) if is_float[i]]
    constants = [i for i in range(n + m, len(operands)) if is_float[i]]

    def like(tensors: Sequence[Tensor], name: str) -> list[Tensor]:
        return [placeholder_like(t.type, f"{name}{i}") for i, t in enumerate(tensors)]

    back = like([body.inputs[i] for i in floats], "back")
    total = like([body.inputs[i] for i in constants], "total")
    state = like(body.inputs[:n], "state")
    element = like(body.inputs[n : n + m], "element")
    from_output = like([body.outputs[i] for i in emitted], "from_output")
    from_history = like([body.inputs[i] for i in floats], "from_history")
    fixed = like(body.inputs[n + m :], "fixed")

    arguments = [*state, *element, *fixed]
    outputs = inline(body, arguments)
    wrt = [arguments[i] for i in (*floats, *sequences, *constants)]
    seeds = [*back, *from_output]
    ys = [outputs[i] for i in (*floats, *emitted)]
    if ys and wrt:
        found = list(gradient(ys, wrt, seeds))
    else:
        found = [zeros(t.shape, t.dtype) for t in wrt]
    k = len(floats)
    carried = [a + b for a, b in zip(found[:k], from_history, strict=True)]
    for_elements = found[k : k + len(sequences)]
    sums = [a + b for a, b in zip(total, found[k + len(sequences) :], strict=True)]

    inner = Graph(
        f"{body.name}_reverse",
        [*back, *total, *state, *element, *from_output, *from_history, *fixed],
        [*carried, *sums, *for_elements],
    )
    final, stacked, _ = make_scan(
        inner,
        [*(given[i] for i in floats), *(zeros(t.shape, t.dtype) for t in total)],
        [
            *history,
            *operands[n : n + m],
            *(given[i] for i in emitted),
            *(given[len(body.outputs) + i] for i in floats),
        ],
        operands[n + m :],
        length,
        not node.attrs["reverse"],
    )
    result: list[Tensor | None] = [None] * len(operands)
    for i, value in zip((*floats, *constants, *sequences), (*final, *stacked), strict=True):
        result[i] = value
    return result


def _jvp_scan(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    """One scan over values and tangents together."""
    n, m, _ = _counts(node)
    body, operands = node.regions[0], node.operands
    moving = [i for i, tensor in enumerate(operands) if tensor.dtype.is_float]
    given = _zeros_where_none(tangents, operands)
    arguments = [placeholder_like(t.type, f"value{i}") for i, t in enumerate(body.inputs)]
    pushed = {i: placeholder_like(body.inputs[i].type, f"tangent{i}") for i in moving}
    outputs = inline(body, arguments)
    floats = [i for i, output in enumerate(outputs) if output.dtype.is_float]
    found = pushforward(
        [outputs[i] for i in floats], [arguments[i] for i in moving], [pushed[i] for i in moving]
    )
    out = dict(zip(floats, found, strict=True))

    def parts(low: int, high: int) -> list[int]:
        return [i for i in moving if low <= i < high]

    groups = [(0, n), (n, n + m), (n + m, len(operands))]
    inputs: list[Tensor] = []
    actual: list[list[Tensor]] = []
    for low, high in groups:
        inputs += [*arguments[low:high], *(pushed[i] for i in parts(low, high))]
        actual.append([*operands[low:high], *(given[i] for i in parts(low, high))])
    count = len(outputs)
    carried = [i for i in floats if i < n]
    emitted = [i for i in floats if i >= n]
    inner = Graph(
        f"{body.name}_forward",
        inputs,
        [
            *outputs[:n],
            *(out[i] for i in carried),
            *outputs[n:],
            *(out[i] for i in emitted),
        ],
    )
    carries, sequences, constants = actual
    final, stacked, history = make_scan(
        inner, carries, sequences, constants, node.attrs["length"], node.attrs["reverse"]
    )
    result: list[Tensor | None] = [None] * len(node.results)
    for place, i in enumerate(carried):
        result[i] = final[n + place]
        result[count + i] = history[n + place]
    for place, i in enumerate(emitted):
        result[i] = stacked[count - n + place]
    return result


def _batch_scan(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    """Batch the body, with sequences behind their step axis; a carry is batched once what enters
    it is, and what no batched value reaches stays as it is, for all entries."""
    from ..batching import batched_inputs, batched_values

    n, m, _ = _counts(node)
    body = node.regions[0]
    size = next(t.shape[0] for t, flag in zip(operands, batched, strict=True) if flag)
    flags = list(batched)
    while True:
        inputs = batched_inputs(body, flags, size)
        batch = batched_values(body, inputs, flags, size)
        reached = [output in batch.carrying for output in body.outputs]
        late = [i for i in range(n) if reached[i] and not flags[i]]
        if not late:
            break
        for i in late:
            flags[i] = True
    reached[:n] = flags[:n]
    pairs = zip(body.outputs, reached, strict=True)
    outputs = [batch.spread(output) if flag else batch.value(output) for output, flag in pairs]
    actual = list(operands)
    for i in range(n + m):
        if flags[i] and not batched[i]:
            actual[i] = broadcast_to(actual[i], (size, *actual[i].shape))
        elif flags[i] and i >= n:
            actual[i] = moveaxis(actual[i], 0, 1)
    closed = Graph(body.name, inputs, outputs, parameters=())
    parts = actual[:n], actual[n : n + m], actual[n + m :]
    length, reverse = node.attrs["length"], node.attrs["reverse"]
    final, stacked, history = make_scan(closed, *parts, length, reverse)
    behind = zip((*stacked, *history), (*reached[n:], *reached[:n]), strict=True)
    return [*final, *(moveaxis(y, 1, 0) if flag else y for y, flag in behind)]


SCAN = register(
    Op(
        name="scan",
        kind="region",
        infer=_infer_scan,
        reference=_run_scan,
        doc="A loop over the leading axis of sequences, with carries: see gradloom.scan.",
        groups=("", "over", "given"),
        attributes=("length", "reverse"),
        vjp=_vjp_scan,
        jvp=_jvp_scan,
        batch=_batch_scan,
    )
)


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: DimLike | str | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Loop over the leading axis: ``carry, y = body(carry, x)`` for each x of `xs`.

    init, xs: a tensor, or a tuple, list or dict of such, nested as you like; xs may be None, then
    `length` counts the steps.  Returns the last carry and the ys stacked along a new leading
    axis, in the structures that the body gives (y may be None).  Runs as a native loop; what the
    body reads from outside is found by itself.  A carry that changes type or shape raises
    ShapeError with the line in the body.
    """
    carries, carry_tree = flatten(init)
    sequences, x_tree = flatten(xs)
    if length is None:
        if not sequences:
            raise ArgumentError("scan needs xs or a length")
        if sequences[0].ndim == 0:
            raise ShapeError(f"scan goes over a leading axis, got {sequences[0].type}")
        length = sequences[0].shape[0]
    steps = as_dim(length)
    own = [placeholder_like(t.type, f"carry{i}") for i, t in enumerate(carries)]
    own += [
        placeholder_like(TensorType(t.dtype, t.shape[1:]), f"x{i}") for i, t in enumerate(sequences)
    ]
    n = len(carries)
    result: Any = body(carry_tree(own[:n]), x_tree(own[n:]))
    if not isinstance(result, tuple) or len(result) != 2:  # pyright: ignore[reportUnknownArgumentType]
        raise ArgumentError("the body of a scan returns a pair (carry, y)")
    new, new_tree = flatten(result[0])
    if len(new) != n:
        raise ArgumentError(f"the body takes {n} carries and returns {len(new)}")
    ys, y_tree = flatten(result[1])
    closed, captured = close([*new, *ys], own, "body")
    final, stacked, _ = make_scan(closed, carries, sequences, captured, steps, reverse)
    return new_tree(final), y_tree(stacked)


def close(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], name: str
) -> tuple[Graph, list[Tensor]]:
    """A region computing `outputs` from `inputs`, and the outer tensors it reads.

    Whatever does not depend on `inputs` stays outside: it is computed once.  The way to what a
    derivative inside is asked of comes along, from what it is asked by.
    """
    graph = Graph(name, inputs, outputs, parameters=())
    inner: set[Tensor] = set(inputs)
    for node in graph.nodes:
        if any(operand in inner for operand in node.operands):
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
    return [leaf(tree)], lambda values: values[0]
