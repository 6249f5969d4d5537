"""Every element-wise op of the table as a CUDA kernel, in the simulator, against its reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.op import Op

from .cuda_device import simulated
from .op_cases import (
    ELEMENTWISE,
    assert_as_reference,
    cases,
    edge_arrays,
    generator,
    graph_of,
)

NumpyArray = np.ndarray[Any, Any]
COUNT = 24  # values a case; the simulator runs one thread after another


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_simulated_elementwise(op: Op):
    """A choice of edge values at every dtype: what a kernel's text means on the device is what
    the reference says, integers that overflow, shifts by too much and nan included."""
    found = list(cases(op, shape=(COUNT,)))
    if op.name == "cast":  # from each dtype to some
        found = [case for i, case in enumerate(found) if i % 4 == 0]
    rng = generator("simulated", op.name)
    given: list[list[NumpyArray]] = []
    for case in found:
        arrays = edge_arrays(case)
        chosen = rng.choice(arrays[0].size, COUNT)
        given.append([array[chosen] for array in arrays])
    device = simulated(gl.compile(graph_of(*found)))
    with np.errstate(all="ignore"):
        results = device([array for arrays in given for array in arrays], [])
    for case, arrays, result in zip(found, given, results, strict=True):
        assert_as_reference(case, arrays, [result])
