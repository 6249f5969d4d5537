"""Every op of the table on the simulated device: its CUDA text computes what its entry says.

The cases are those of tests/test_ops.py in small, the oracle is the entry's reference, and for
derivatives the interpreter.  A new entry is tested here with no line of its own.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gradloom.ir import dtypes as dt
from gradloom.ir.graph import Graph
from gradloom.ir.op import Op

from .cuda_device import simulated_graph
from .cuda_simulator import Order
from .op_cases import (
    ELEMENTWISE,
    OPS,
    Case,
    assert_as_reference,
    assert_same,
    by_case,
    cases,
    edge_arrays,
    graph_of,
    interpret,
    ordinary_arrays,
)
from .test_half_ops import steps_apart
from .test_op_derivatives import (
    DIFFERENTIABLE,
    Derivatives,
    assert_near,
    derivative_cases,
    expanded,
)

NumpyArray = np.ndarray[Any, Any]
MOST = 100  # elements of a case in CI: the simulated device is slow
EDGES = 60
WHOLE = [dtype for dtype in dt.ALL if not dtype.is_half]
ORDERS: tuple[Order, Order] = ("forward", "reverse")


def order_for(op: Op) -> Order:
    """In CI each op runs in one order of threads, half of the table in either."""
    return ORDERS[zlib.crc32(op.name.encode()) % 2]


def size(case: Case) -> int:
    """Elements of operands and results."""
    shapes: list[Any] = [*case.shapes, *(tensor.shape for tensor in graph_of(case).outputs)]
    return sum(math.prod(shape) for shape in shapes)


def run(graph: Graph, arrays: Sequence[NumpyArray], order: Order) -> list[NumpyArray]:
    """The outputs, from the simulated device."""
    return simulated_graph(graph, order)(list(arrays), [])


def check(found: Sequence[Case], given: Sequence[Sequence[NumpyArray]], order: Order) -> None:
    """One graph of all cases on the device, against the references."""
    results = run(graph_of(*found), [array for arrays in given for array in arrays], order)
    for case, arrays, got in zip(found, given, by_case(found, results), strict=True):
        if any(dtype.is_half for dtype in case.dtypes) or case.attrs.get("dtype") in dt.HALVES:
            assert_as_interpreted(case, arrays, got)
        else:
            assert_as_reference(case, arrays, got)


def assert_as_interpreted(
    case: Case, arrays: Sequence[NumpyArray], results: Sequence[NumpyArray]
) -> None:
    """On halves, which references do not know: the same float32 but for its last bits, rounded."""
    for got, wanted in zip(results, interpret(graph_of(case), arrays), strict=True):
        assert got.dtype == wanted.dtype and got.shape == wanted.shape, case
        if dt.as_dtype(wanted.dtype).is_half:
            assert steps_apart(got, wanted) <= 1, case
        elif wanted.dtype.kind == "f":
            np.testing.assert_allclose(got, wanted, 1e-5, 1e-6, err_msg=str(case))
        else:
            assert_same(got, wanted, case)


def small_cases(op: Op, dtypes: Sequence[dt.DType]) -> list[Case]:
    """Cases that are fast in the simulator; the smallest ones where all are larger."""
    found = sorted(cases(op, dtypes, (2, 3)), key=size)
    smallest = size(found[0])
    return [case for case in found if size(case) <= max(MOST, smallest)]


def first_dtype(op: Op) -> list[dt.DType]:
    """float32, or the first that the entry takes."""
    for dtype in (dt.float32, dt.int32, dt.bool_):
        if next(cases(op, [dtype]), None) is not None:
            return [dtype]
    return list(dt.ALL)


@pytest.mark.campaign(6)
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_samples(op: Op) -> None:
    found = small_cases(op, first_dtype(op))
    check(found, [ordinary_arrays(case) for case in found], order_for(op))


@pytest.mark.campaign(4)
@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_edges(op: Op) -> None:
    """Nan, infinities, limits, zeros of both signs: some of their combinations, at each dtype."""
    found = list(cases(op, WHOLE, (EDGES,)))
    check(found, [edge_operands(case) for case in found], order_for(op))


def edge_operands(case: Case) -> list[NumpyArray]:
    return [np.resize(array, EDGES) for array in edge_arrays(case, EDGES)]


@pytest.mark.campaign(6)
@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_derivatives(op: Op) -> None:
    """All derivatives of the smallest case that has elements."""
    found = [case for case in derivative_cases(op) if all(map(math.prod, case.shapes))]
    made = Derivatives(min(found, key=size))
    wanted = interpret(expanded(made.graph), made.feeds())
    got = run(made.graph, made.feeds(), order_for(op))
    for result, reference in zip(got, wanted, strict=True):
        assert_near(result, reference, made.case, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_case(op: Op, order: Order) -> None:
    """Every sample at every dtype; element-wise, the edge values at every dtype."""
    for case in cases(op, dt.ALL, (EDGES,)):
        wide = op.kind == "elementwise" and not any(dtype.is_half for dtype in case.dtypes)
        check([case], [edge_operands(case) if wide else ordinary_arrays(case)], order)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_every_derivative(op: Op, order: Order) -> None:
    for case in derivative_cases(op):
        made = Derivatives(case)
        wanted = interpret(expanded(made.graph), made.feeds())
        got = run(made.graph, made.feeds(), order)
        for result, reference in zip(got, wanted, strict=True):
            assert_near(result, reference, made.case, 1e-12)
