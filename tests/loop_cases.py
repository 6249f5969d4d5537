"""What tests of loops share: the interpreter, and compiled code beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import gradloom as gl
from gradloom.ir.graph import Graph
from gradloom.ir.tensor import Tensor

from .op_cases import close

NumpyArray = np.ndarray[Any, Any]


def run(inputs: Sequence[Tensor], outputs: Sequence[Tensor], *arrays: Any) -> list[NumpyArray]:
    """The interpreter's values."""
    graph = Graph("run", inputs, outputs)
    found = gl.evaluate(graph, dict(zip(inputs, arrays, strict=True)))
    return [found] if len(outputs) == 1 else found


class Both:
    """The interpreter, and unless `compiled` is False a function whose results are compared."""

    def __init__(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], compiled: bool = True
    ) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.function = gl.function(list(inputs), list(outputs)) if compiled else None

    def __call__(self, *arrays: Any) -> list[NumpyArray]:
        types = [tensor.dtype.numpy for tensor in self.inputs]
        given = [np.asarray(array, dtype) for array, dtype in zip(arrays, types, strict=True)]
        found = run(self.inputs, self.outputs, *given)
        if self.function is not None:
            for got, wanted in zip(self.function(*given), found, strict=True):
                close(got, wanted, 1e-10)
        return found
