"""Constant folding: what depends on constants alone is computed now, by the NumPy reference."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..ir.array import Array
from ..ir.errors import GradloomError
from ..ir.graph import Graph, inline
from ..ir.interpret import run_node
from ..ir.loc import located
from ..ir.ops.branch import branch_taken
from ..ir.ops.build import constant
from ..ir.ops.shape import broadcast_to
from ..ir.tensor import Node, Tensor
from .pattern import uniform
from .report import Report
from .requests import asked_about
from .walk import remake

_LARGEST = 4096  # elements of a result that is kept as data
_FOLDED = (
    *("elementwise", "reduction", "cumulative", "contraction"),
    *("view", "gather", "scatter", "concat", "composite"),
)


def fold(graph: Graph, report: list[Report] | None = None) -> Graph:
    """The graph with constant nodes as data, and one branch of a switch by a constant; regions too.

    What one number fills stays a scalar, broadcast, so that kernels hold it as a literal; that
    works for symbolic shapes as well.  Random bits are not folded (they are cheaper to make than
    to read), nor what fails: that is the call's to report.
    """
    mapping: dict[Tensor, Tensor] = {}
    named = asked_about(graph)
    asked = set(named)
    for node in graph.nodes:
        made = remake(node, mapping, lambda region: fold(region, report))
        value = None
        if not asked.isdisjoint(node.operands):
            asked.update(node.results)  # a derivative by a constant goes by what is made of it
        if made.op.name == "switch" and named.isdisjoint(node.results):
            taken = _taken(made)
            if taken is not None:
                mapping.update(zip(node.results, inline(taken, made.group(1)), strict=True))
                if not asked.isdisjoint(node.results):
                    asked.update(mapping[result] for result in node.results)
                if report is not None:
                    report.append(Report("the branch taken", node.op.name, node.loc))
                continue
        if made.op.kind in _FOLDED and made.operands and asked.isdisjoint(node.results):
            with located(made.loc):
                value = _constant(made)
        if value is not None:
            mapping[node.results[0]] = value
            if report is not None:
                report.append(Report("fold", node.op.name, node.loc))
        elif made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
            if not asked.isdisjoint(node.results):
                asked.update(made.results)
    return graph.map(mapping) if mapping else graph


def _taken(switch: Node) -> Graph | None:
    """The branch that a switch takes, if that is known."""
    count = len(switch.regions)
    index = 0 if count == 1 else uniform(switch.operands[0])
    return None if index is None else switch.regions[branch_taken(int(index), count)]


def _constant(node: Node) -> Tensor | None:
    if node.op.name in ("pin", "stop_gradient"):
        return None
    result = node.results[0]
    if node.op.kind == "elementwise":
        numbers = [uniform(operand) for operand in node.operands]
        if all(number is not None for number in numbers):
            scalars = [
                np.array(number, operand.dtype.numpy)
                for number, operand in zip(numbers, node.operands, strict=True)
            ]
            return _filled(_run(node, scalars), result)
    arrays = [_data(operand) for operand in node.operands]
    size = result.size
    if any(array is None for array in arrays) or not isinstance(size, int) or size > _LARGEST:
        return None
    if node.op.name == "broadcast_to":  # a broadcast constant is as good, and smaller
        return None
    value = _run(node, arrays)
    if value is None or value.shape != result.shape:
        return None
    first = value.reshape(-1)[:1]
    if value.size > 1 and value.tobytes() == first.tobytes() * value.size:
        return _filled(first.reshape(()), result)
    return constant(value)


def _data(tensor: Tensor) -> Any:
    """The array that `tensor` is, if it is a constant, or a small one filled with a number."""
    value = tensor.node.attrs.get("value")
    if isinstance(value, Array):
        return value.values
    number, shape = uniform(tensor), [n for n in tensor.shape if isinstance(n, int)]
    if number is None or len(shape) < tensor.ndim or prod(shape) > _LARGEST:
        return None
    return np.full(shape, number, tensor.dtype.numpy)


def _run(node: Node, arrays: list[Any]) -> Any:
    try:
        (value,) = run_node(node, arrays, {})
    except (GradloomError, KeyError):  # it fails at the call, or depends on a symbolic size
        return None
    return value


def _filled(scalar: Any, like: Tensor) -> Tensor | None:
    return None if scalar is None else broadcast_to(constant(scalar), like.shape)
