# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (arrays of any dtype)
"""Where the first nan or infinity of a computation comes from, by the reference interpreter.

The graph is walked three times: forwards for the values, backwards for which elements of them are
needed, and forwards again for the first node that makes a bad one.  Bad is, element by element, a
nan, and an infinity made of finite operands; of what is needed alone.  Since nodes are searched in
order, the operands of the node that is found hold no needed nan: it was made there.

Needed are all results; through ``where`` only the side that it takes; through what moves numbers
those that are moved; nothing through the tests isnan, isinf and isfinite.  A loop is walked step
by step, and so is what it asks whether to go on; of a switch the branch that was taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from .bad_numbers import told
from .errors import GradloomError
from .graph import Graph
from .half import widened
from .interpret import evaluate_attribute, run_node
from .loc import quote
from .ops.branch import branch_taken
from .ops.scan import Scan
from .ops.while_loop import While, loop_of
from .tensor import Node, Tensor

NumpyArray = np.ndarray[Any, Any]
Needs = dict[Tensor, NumpyArray]  # a bool for each element; what is not there is not needed

_TESTS = ("isnan", "isinf", "isfinite")
_MOVING = ("view", "order", "gather", "concat")  # kinds whose results are operands
_CHOOSING = ("max", "min", "cumulative_max", "cumulative_min", "scatter_set", "where", "checked")


@dataclass
class _Trace:
    """A graph's values in one run, up to the node that failed, if one did."""

    graph: Graph
    binding: Mapping[str, int]
    values: dict[Tensor, NumpyArray]
    nodes: list[Node] = field(default_factory=list[Node])
    steps: dict[Node, list[_Step]] = field(default_factory=dict["Node", "list[_Step]"])
    needs: Needs = field(default_factory=dict["Tensor", "NumpyArray"])
    failed: Node | None = None
    error: GradloomError | None = None


@dataclass
class _Step:
    """A step of a loop, by its number; or what was asked before it, whether to take it.

    Of a switch the one branch that was taken.
    """

    number: int
    trace: _Trace
    asks: bool = False


def first_bad(graph: Graph, leaves: Sequence[NumpyArray], binding: Mapping[str, int]) -> str | None:
    """Which node of `graph` makes the first nan or infinity, and of what; None where none does.

    leaves: values of the inputs, then of the parameters.  Raises what a node raises, if nothing
    bad was made before.
    """
    trace = _run(graph, leaves, binding)
    made = [tensor for tensor in graph.results if tensor in trace.values]
    _demand(trace, {tensor: np.ones(trace.values[tensor].shape, bool) for tensor in made})
    found = _search_leaves(trace) or _search(trace)
    if found is None and trace.error is not None:
        raise trace.error
    return found


# --- values -------------------------------------------------------------------------------------


def _run(graph: Graph, leaves: Sequence[NumpyArray], binding: Mapping[str, int]) -> _Trace:
    values = dict(zip((*graph.inputs, *graph.parameters), leaves, strict=True))
    trace = _Trace(graph, binding, values)
    for node in graph.nodes:
        operands = [values[operand] for operand in node.operands]
        try:
            if node.op.name in ("scan", "while_loop"):
                _run_steps(trace, node, operands)
            elif node.op.name == "switch":
                _run_branch(trace, node, operands)
            results = run_node(node, operands, binding)
        except GradloomError as error:
            trace.failed, trace.error = node, error
            return trace
        trace.nodes.append(node)
        values.update(zip(node.results, results, strict=True))
    return trace


def _order(trace: _Trace, loop: Scan | While) -> Iterable[int]:
    """The numbers of the steps that may be taken."""
    if isinstance(loop, While):
        return itertools.count()
    most = length = evaluate_attribute(loop.length, trace.binding)
    if loop.limit is not None:
        most = max(0, min(length, int(trace.values[loop.limit])))
    return range(most)[::-1] if loop.reverse else range(most)


def _run_steps(trace: _Trace, node: Node, operands: Sequence[NumpyArray]) -> None:
    """Keep a trace of each step of a loop; raise what a step raises."""
    loop = loop_of(node)
    n = len(loop.carries)
    sequences = range(n, len(loop.flow) - len(loop.constants))
    values = list(operands[: len(loop.flow)])
    kept = trace.steps[node] = list[_Step]()

    def run(number: int, region: Graph, leaves: Sequence[NumpyArray], asks: bool) -> _Trace:
        made = _run(region, leaves, trace.binding)
        kept.append(_Step(number, made, asks))
        if made.error is not None:
            raise made.error
        return made

    for number in _order(trace, loop):
        if loop.proceed is not None:
            asked = run(number, loop.proceed, [values[i] for i in loop.asked], True)
            if not asked.values[loop.proceed.outputs[0]]:
                break
        leaves = [v[number] if i in sequences else v for i, v in enumerate(values)]
        made = run(number, loop.body, leaves, False)
        values[:n] = [made.values[output] for output in loop.body.outputs[:n]]


def _run_branch(trace: _Trace, node: Node, operands: Sequence[NumpyArray]) -> None:
    """Keep a trace of the branch that a switch takes; raise what it raises."""
    number = branch_taken(int(operands[0]), len(node.regions))
    made = _run(node.regions[number], operands[1:], trace.binding)
    trace.steps[node] = [_Step(number, made)]
    if made.error is not None:
        raise made.error


# --- needs --------------------------------------------------------------------------------------


def _add(needs: Needs, tensor: Tensor, mask: NumpyArray, shape: tuple[int, ...]) -> None:
    """Need `tensor` where `mask` is, summed over the axes along which it was broadcast."""
    extra = mask.ndim - len(shape)
    mask = np.asarray(mask.any(tuple(range(extra))))
    axes = tuple(i for i, size in enumerate(shape) if size == 1 and mask.shape[i] != 1)
    mask = np.broadcast_to(mask.any(axes, keepdims=True), shape)
    needs[tensor] = needs[tensor] | mask if tensor in needs else mask


def _demand(trace: _Trace, asked: Needs) -> None:
    """Fill in which elements are needed, given those of the results."""
    needs, values = trace.needs, trace.values
    for tensor, mask in asked.items():
        _add(needs, tensor, mask, values[tensor].shape)
    if trace.failed is not None:
        if trace.failed in trace.steps:
            _demand_inside(trace, trace.failed)
        else:
            for operand in trace.failed.operands:
                shape = values[operand].shape
                _add(needs, operand, np.ones(shape, bool), shape)
    for node in reversed(trace.nodes):
        if node in trace.steps:
            _demand_inside(trace, node)
            continue
        masks = [needs.get(result) for result in node.results]
        for operand, mask in zip(node.operands, _operand_needs(trace, node, masks), strict=True):
            if mask is not None:
                _add(needs, operand, np.asarray(mask), values[operand].shape)


def _operand_needs(
    trace: _Trace, node: Node, masks: Sequence[NumpyArray | None]
) -> Sequence[Any | None]:
    """A mask for each operand: which of its elements the needed ones of the results read."""
    values = [trace.values[operand] for operand in node.operands]
    (mask, *rest), name = masks, node.op.name
    if name == "checked":
        return [np.ones(values[0].shape, bool), mask]
    if name in _TESTS or all(m is None or not m.any() for m in masks):
        return [None] * len(values)
    if node.op.kind == "elementwise":
        if name == "where":
            return [mask, mask & values[0], mask & ~values[0]]
        return [mask] * len(values)
    every = [np.ones(value.shape, bool) for value in values]
    if mask is None or rest:
        return every
    if node.op.kind == "reduction" and mask.ndim == values[0].ndim and "chunk" not in node.attrs:
        return [np.broadcast_to(mask, values[0].shape)]
    if node.op.kind in _MOVING or name == "scatter_set":
        return _moved(trace, node, mask, values)
    return every


def _moved(
    trace: _Trace, node: Node, mask: NumpyArray, values: Sequence[NumpyArray]
) -> Sequence[Any | None]:
    """Numbers in place of the values show which of them stand where."""
    plain = len(values) if node.op.kind in ("view", "concat") else len(node.group(0))
    numbers, first = list(values), 0
    for i, value in enumerate(values[:plain]):
        numbers[i] = np.arange(first + 1, first + 1 + value.size).reshape(value.shape)
        first += value.size
    attrs = {key: evaluate_attribute(v, trace.binding) for key, v in node.attrs.items()}
    taken = np.zeros(first + 1, bool)
    taken[np.asarray(node.op.reference(*numbers, **attrs))[mask]] = True
    return [
        taken[numbers[i]] if i < plain else np.ones(value.shape, bool)
        for i, value in enumerate(values)
    ]


def _demand_inside(trace: _Trace, node: Node) -> None:
    (_demand_of_switch if node.op.name == "switch" else _demand_of_loop)(trace, node)


def _demand_of_switch(trace: _Trace, node: Node) -> None:
    """What the branch taken needs of what it was given; and the index."""
    (step,), wanted = trace.steps[node], Needs()
    inner = step.trace
    for result, output in zip(node.results, inner.graph.outputs, strict=True):
        if result in trace.needs and output in inner.values:
            _add(wanted, output, trace.needs[result], inner.values[output].shape)
    _demand(inner, wanted)
    _add(trace.needs, node.operands[0], np.ones((), bool), ())
    for operand, leaf in zip(node.group(1), inner.graph.inputs, strict=True):
        if leaf in inner.needs:
            _add(trace.needs, operand, inner.needs[leaf], inner.values[leaf].shape)


def _demand_of_loop(trace: _Trace, node: Node) -> None:
    """Step by step, the last one first: what a step needs of its carries the one before made."""
    loop, needs = loop_of(node), trace.needs
    n, total = len(loop.carries), len(loop.body.outputs)
    sequences = range(n, len(loop.flow) - len(loop.constants))
    asked = [needs.get(result) for result in node.results]
    carried = asked[:n]

    def ask(i: int, mask: NumpyArray | None) -> None:
        if mask is not None:
            _add(needs, loop.flow[i], mask, trace.values[loop.flow[i]].shape)

    for step in reversed(trace.steps[node]):
        inner, region, places = step.trace, loop.body, range(len(loop.flow))
        rows: list[NumpyArray | None] = [None] * total
        if step.asks:
            assert loop.proceed is not None
            region, places = loop.proceed, loop.asked
            masks: Sequence[NumpyArray | None] = [np.ones((), bool)]
        else:
            if isinstance(loop, Scan):
                behind = asked[n : total + n]
                rows = [None if mask is None else mask[step.number] for mask in behind]
            masks = [*carried, *rows[: total - n]]
        wanted: Needs = {}
        for output, mask in zip(region.outputs, masks, strict=True):
            if mask is not None and output in inner.values:
                _add(wanted, output, mask, inner.values[output].shape)
        _demand(inner, wanted)
        found: list[NumpyArray | None] = [None] * len(loop.flow)
        for place, leaf in zip(places, region.inputs, strict=True):
            found[place] = inner.needs.get(leaf)
        before = carried if step.asks else rows[total - n :]
        carried = [_or(a, b) for a, b in zip(found[:n], before, strict=True)]
        for i, mask in enumerate(found[n:], n):
            if mask is not None and i in sequences:
                whole = np.zeros(trace.values[loop.flow[i]].shape, bool)
                whole[step.number] = mask
                mask = whole
            ask(i, mask)
    for i, mask in enumerate(carried):
        ask(i, mask)


def _or(x: NumpyArray | None, y: NumpyArray | None) -> NumpyArray | None:
    return y if x is None else x if y is None else x | y


# --- what is bad --------------------------------------------------------------------------------


def _search(trace: _Trace) -> str | None:
    """What the first bad value is, for the user; None where there is none."""
    nodes = trace.nodes if trace.failed is None else [*trace.nodes, trace.failed]
    for node in nodes:
        for step in trace.steps.get(node, ()):
            found = _search(step.trace)
            if found is not None:
                return f"{found}\n  in {_place(node, step)} at {quote(node.loc)}"
        for result in node.results:
            bad = _bad(trace, result)
            if bad is not None:
                made = "holds" if node.op.kind == "leaf" else "made"
                return told(trace.values, result, bad, f"{node.op.name} {made}")
    return None


def _place(node: Node, step: _Step) -> str:
    if node.op.name == "switch":
        return f"{step.trace.graph.name}, a branch"
    return f"{'what is asked before step' if step.asks else 'step'} {step.number} of the loop"


def _search_leaves(trace: _Trace) -> str | None:
    graph = trace.graph
    for word, leaves in (("input", graph.inputs), ("parameter", graph.parameters)):
        for leaf in leaves:
            bad = _bad(trace, leaf)
            if bad is not None:
                return told(trace.values, leaf, bad, f"{word} {graph.names[leaf]} holds")
    return None


def _bad(trace: _Trace, result: Tensor) -> NumpyArray | None:
    """Which elements of a result are bad; None where none is."""
    need, node = trace.needs.get(result), result.node
    if need is None or not result.dtype.is_float:
        return None
    values = widened(trace.values[result])
    bad = np.isnan(values)
    if node.op.kind not in ("leaf", "region"):
        bad |= np.isinf(values) & ~_reached(trace, node)
    bad &= need
    return bad if bad.any() else None


def _reached(trace: _Trace, node: Node) -> Any:
    """Where an operand that is not finite reaches the result (if in doubt, everywhere)."""
    op, floats = node.op, [i for i, t in enumerate(node.operands) if t.dtype.is_float]
    values: list[Any] = [trace.values[operand] for operand in node.operands]
    if op.kind in _MOVING or op.name in _CHOOSING:
        return np.True_
    infinite = {i: ~np.isfinite(widened(values[i])) for i in floats}
    if op.kind == "elementwise":
        return reduce(np.logical_or, infinite.values(), np.False_)
    if not any(mask.any() for mask in infinite.values()):
        return np.False_
    if set(floats) != set(op.linear):
        return np.True_
    attrs = {key: evaluate_attribute(v, trace.binding) for key, v in node.attrs.items()}
    reached: Any = np.False_
    for i in floats:  # 1 for each infinity, with coefficients 1
        given = list(values)
        for j in floats:
            given[j] = infinite[i].astype("f4") if j == i else np.ones(values[j].shape, "f4")
        reached = reached | (np.asarray(op.reference(*given, **attrs)) != 0)
    return reached
