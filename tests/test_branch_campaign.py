# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Random graphs as branches: the same bits as alone, and the derivatives of the branch taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.graph import Graph, inline
from gradloom.ir.ops.control import placeholder_like
from gradloom.ir.tensor import Tensor

from .graphs import feeds_of, graph_of_seed

NumpyArray = np.ndarray[Any, Any]


def ways(graph: Graph) -> tuple[Any, Any]:
    """A drawn graph as a function, and a function of the same types that is something else."""

    def then(*leaves: Tensor) -> tuple[Tensor, ...]:
        return tuple(inline(graph, leaves))

    def other(*leaves: Tensor) -> tuple[Tensor, ...]:
        scaled = [leaf * 0.5 if leaf.dtype.is_float else leaf for leaf in leaves]
        return tuple(gl.abs(result) + result for result in inline(graph, scaled))

    return then, other


def check(seed: int) -> None:
    graph = graph_of_seed(seed)
    then, other = ways(graph)
    inputs = [placeholder_like(leaf.type, graph.names[leaf]) for leaf in graph.inputs]
    p = gl.placeholder((), "bool", "p")
    results = {"cond": gl.cond(p, then, other, *inputs), True: then(*inputs), False: other(*inputs)}
    steps: dict[Any, Any] = {}
    for name, values in results.items():
        asked = [*values, *slopes(values, inputs)]
        steps[name] = gl.function([p, *inputs] if name == "cond" else inputs, asked)
    for batch in (1, 3):
        arrays = list(feeds_of(graph, seed, batch).values())
        for taken in (True, False):
            found, alone = steps["cond"](taken, *arrays), steps[taken](*arrays)
            for i, (one, same) in enumerate(zip(found, alone, strict=True)):
                if i < len(graph.outputs):
                    np.testing.assert_array_equal(one, same, f"seed {seed}, output {i}")
                else:
                    judge_slopes(one, same, f"seed {seed}, slope {i}")


def slopes(values: Sequence[Tensor], inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """The gradient of the sum of all by the first float; that of a constant is none."""
    floats = [value for value in values if value.dtype.is_float]
    first = next(leaf for leaf in inputs if leaf.dtype.is_float)
    total: Any = gl.sum(first * 0.25)
    for value in floats:
        total = total + gl.sum(gl.sin(value)).astype(first.dtype)
    return [gl.grad(total, first)]


def judge_slopes(one: NumpyArray, same: NumpyArray, told: str) -> None:
    """Equal up to rounding: the sum of the ways to a leaf may be in another order."""
    scale = max(1.0, float(np.abs(same[np.isfinite(same)]).max(initial=0)))
    digits = 1e-4 if one.dtype == np.float32 else 1e-11
    np.testing.assert_allclose(one, same, digits, digits * scale, err_msg=told)


@pytest.mark.campaign(3)
@pytest.mark.parametrize("seed", range(8))
def test_random_branches(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 300))
def test_many_more_random_branches(seed: int) -> None:
    check(seed)
