"""An interpreter with more digits, to judge graphs and passes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from gradloom.ir.graph import Graph
from gradloom.ir.interpret import bind_dims, evaluate_attribute
from gradloom.ir.tensor import Tensor


def evaluate_precisely(graph: Graph, feeds: Mapping[str, Any]) -> list[Any]:
    """The outputs with every float as NumPy's longdouble (64 bits of fraction where it has them).

    What it and a computation in the graph's own dtype disagree about is rounding.
    """
    leaves = (*graph.inputs, *graph.parameters)
    names = [graph.names[leaf] for leaf in leaves]
    arrays = [
        np.asarray(feeds[name], leaf.dtype.numpy) for name, leaf in zip(names, leaves, strict=True)
    ]
    types = [leaf.type for leaf in leaves]
    binding = bind_dims(types, [array.shape for array in arrays], names)

    return _precisely(graph, arrays, binding)


def _wide(array: Any) -> Any:
    array = np.asarray(array)
    return array.astype(np.longdouble) if array.dtype.kind == "f" else array


def _precisely(graph: Graph, arrays: Sequence[Any], binding: Mapping[str, int]) -> list[Any]:
    leaves = (*graph.inputs, *graph.parameters)
    values: dict[Tensor, Any] = {leaf: _wide(a) for leaf, a in zip(leaves, arrays, strict=True)}
    for node in graph.nodes:
        attrs = {key: evaluate_attribute(value, binding) for key, value in node.attrs.items()}
        operands = [values[operand] for operand in node.operands]
        if node.op.kind == "host":  # LAPACK has no longdouble
            operands = [
                np.asarray(x, np.float64 if x.dtype.kind == "f" else None) for x in operands
            ]
        if node.regions:
            attrs["groups"] = node.groups
            attrs["regions"] = [partial(_region, region, binding) for region in node.regions]
        with np.errstate(all="ignore"):
            if node.op.name == "fma":
                result = operands[0] * operands[1] + operands[2]
            elif node.op.name == "cast" and node.attrs["dtype"].is_float:
                result = operands[0].astype(np.longdouble)
            else:
                result = node.op.reference(*operands, **attrs)
        several: Any = result if isinstance(result, (tuple, list)) else [result]  # pyright: ignore
        values |= {t: _wide(r) for t, r in zip(node.results, several, strict=True)}
    return [values[output] for output in graph.outputs]


def _region(region: Graph, binding: Mapping[str, int], *arrays: Any) -> list[Any]:
    return _precisely(region, arrays, binding)
