"""Derivatives in all modes: gradients, products, Jacobians, Hessians, against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.graph import Graph
from gradloom.ir.tensor import Tensor

from .op_cases import close

NumpyArray = np.ndarray[Any, Any]


def requests(*tensors: Tensor) -> list[tuple[str, int]]:
    """The derivative requests of a graph: the op and its number of batch axes."""
    graph = Graph("asked", Graph("free", (), tensors).free, tensors)
    return [(n.op.name, n.attrs.get("batch", 0)) for n in graph.walk() if n.op.kind == "request"]


def both(inputs: list[Tensor], outputs: list[Tensor], *arrays: Any) -> list[NumpyArray]:
    """The outputs of compiled code, which must be those of the interpreter."""
    graph = Graph("both", inputs, outputs)
    assert gl.parse(str(graph)) == graph
    found = gl.function(inputs, outputs)(*arrays)
    names = [t.node.attrs["name"] for t in inputs]
    wanted = gl.evaluate(graph, dict(zip(names, arrays, strict=True)))
    wanted = wanted if len(outputs) > 1 else [wanted]
    for a, b in zip(found, wanted, strict=True):
        close(a, b, 1e-10)
    return found


@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (3, 2), (0, 2), (2, 0), (1, 1), (4, 1)])
def test_jacobian_of_a_layer(rows: int, columns: int):
    """y = tanh(A x): J = (1 − y²) A, in both modes; the mode with fewer passes is chosen."""
    a = gl.placeholder((rows, columns), "float64", "a")
    x = gl.placeholder((columns,), "float64", "x")
    y = gl.tanh(a @ x)
    chosen, back, forth = (gl.jacobian(y, x, mode) for mode in (None, "reverse", "forward"))
    mode = "pushforward" if columns < rows else "gradient"
    assert requests(chosen) == [(mode, 1)]
    assert requests(back) == [("gradient", 1)]
    assert requests(forth) == [("pushforward", 1)]
    rng = np.random.default_rng(0)
    av, xv = rng.normal(size=(rows, columns)), rng.normal(size=columns)
    expected = (1 - np.tanh(av @ xv) ** 2)[:, None] * av
    for found in both([a, x], [chosen, back, forth], av, xv):
        assert found.shape == (rows, columns)
        close(found, expected, 1e-12)
