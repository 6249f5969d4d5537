"""What stopped a call, as the user is told it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.errors import CheckError, GradloomError, IndexRangeError, NumericsError, ShapeError
from ..ir.graph import Graph
from ..ir.interpret import bind_dims
from ..ir.loc import quote

TOLD = (ShapeError, CheckError, IndexRangeError, NumericsError)  # what `call_error` adds to

Arrays = Sequence[np.ndarray[Any, Any]]


def call_error(graph: Graph, error: GradloomError, arrays: Arrays) -> GradloomError:
    """The error of a call of `graph` on `arrays`, with what these were in its message."""
    if isinstance(error, ShapeError):
        return ShapeError(_with_shapes(graph, error, arrays))
    return type(error)(_with_sizes(graph, error, arrays))


def _with_sizes(graph: Graph, error: GradloomError, arrays: Arrays) -> str:
    """The message, with the numbers that are meant by the named sizes in it."""
    types, shapes = [tensor.type for tensor in graph.inputs], [array.shape for array in arrays]
    binding = bind_dims(types, shapes, [graph.names[tensor] for tensor in graph.inputs])
    named = [
        f"{k} = {n}" for k, n in binding.items() if re.search(rf"\b{re.escape(k)}\b", str(error))
    ]
    return f"{error}; with {', '.join(named)}" if named else str(error)


def _with_shapes(graph: Graph, error: ShapeError, arrays: Arrays) -> str:
    """The message, with what each input should be, what it is, and the line it stems from."""
    lines = [f"@{graph.name}: {error}"]
    for tensor, array in zip(graph.inputs, arrays, strict=True):
        got, line = list(array.shape), quote(tensor.node.loc)
        lines.append(f"  {graph.names[tensor]}: {tensor.type} got shape {got}, made at {line}")
    return "\n".join(lines)
