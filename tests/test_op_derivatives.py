"""Derivatives and batching of every op of the table, by cases that its entry gives.

Both modes against central differences in float64, second order too; vmap against a loop over the
entries, also with a named size.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.frontends.vmap import vmap
from gradloom.ir import dtypes as dt
from gradloom.ir.dims import symbol
from gradloom.ir.graph import Graph
from gradloom.ir.op import Op
from gradloom.ir.ops.control import placeholder_like
from gradloom.ir.ops.request import gradient, pushforward
from gradloom.ir.tensor import TensorType

from .op_cases import (
    FLOATS,
    OPS,
    STEP,
    Case,
    assert_as_reference,
    build,
    cases,
    check_cuda_source,
    generator,
    graph_of,
    interpret,
    ordinary_arrays,
    prepared,
    run,
)

NumpyArray = np.ndarray[Any, Any]

# --- derivatives ------------------------------------------------------------------------------


def has_derivative(op: Op) -> bool:
    return op.partials is not None or op.transpose is not None or op.vjp is not None


DIFFERENTIABLE = [op for op in OPS if has_derivative(op)]


def derivative_cases(op: Op) -> list[Case]:
    """Cases at float64 in and out."""
    found = list(cases(op, [dt.float64], (3, 4)))
    if op.kind == "elementwise" and len(op.operands) > 1:
        shapes = [((3, 1), (4,), ()), ((), (2, 1, 3), (1, 3)), ((0, 2), (1, 2), (2,))]
        found += [Case(op, c.dtypes, s[: len(c.dtypes)], c.attrs) for c in found for s in shapes]
    return [c for c in found if graph_of(c).outputs[0].dtype == dt.float64]


class Derivatives:
    """A case as a graph with its derivatives along drawn directions, in both modes.

    Its outputs: the float results, their Jacobian-vector products, the vector-Jacobian product of
    each float operand, and the derivatives of these along the direction.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        plain = graph_of(case)
        values, inputs = [t for t in plain.outputs if t.dtype.is_float], plain.inputs
        self.moving = [i for i, t in enumerate(inputs) if t.dtype.is_float]
        wrt = [inputs[i] for i in self.moving]
        weights = [placeholder_like(t.type, f"weight{i}") for i, t in enumerate(values)]
        direction = [placeholder_like(t.type, f"direction{i}") for i, t in enumerate(wrt)]
        found = gradient(values, wrt, weights)
        pushed = pushforward(values, wrt, direction)
        second = [gl.jvp(g, wrt, direction) for g in found]
        outputs = [*values, *pushed, *found, *second]
        self.counts = (len(values), len(values), len(found), len(found))
        self.graph = Graph("derivatives", [*inputs, *weights, *direction], outputs)
        rng = generator("derivatives", str(case))
        self.arrays = away_from_kinks(case)
        shapes: Any = [t.shape for t in (*values, *wrt)]
        drawn: list[NumpyArray] = [rng.normal(size=shape) for shape in shapes]
        self.weights, self.direction = drawn[: len(values)], drawn[len(values) :]
        if case.op.prepare is not None:  # along the space in which the operands lie
            other = away_from_kinks(case, 1)
            self.direction = [other[i] - self.arrays[i] for i in self.moving]

    def feeds(self, along: float = 0.0) -> list[NumpyArray]:
        """The graph's inputs, the operands moved so far along the direction."""
        moved: list[NumpyArray] = list(self.arrays)
        for i, direction in zip(self.moving, self.direction, strict=True):
            moved[i] = moved[i] + along * direction
        return [*moved, *self.weights, *self.direction]

    def split(self, outputs: Sequence[NumpyArray]) -> list[list[NumpyArray]]:
        """Results, Jacobian-vector products, vector-Jacobian products, and these derived."""
        remaining = iter(outputs)
        return [[next(remaining) for _ in range(count)] for count in self.counts]


def away_from_kinks(case: Case, seed: int = 0) -> list[NumpyArray]:
    """Operands from the entry's range, in which no two numbers are near each other or a whole
    number: there derivatives may jump."""
    low, high = case.op.derivatives_at
    arrays = ordinary_arrays(case, seed)
    floats = [i for i, dtype in enumerate(case.dtypes) if dtype.is_float]
    count = sum(arrays[i].size for i in floats)
    rng = generator("operands", str(case), *[seed] * bool(seed))
    count, gap = 2 * count + 4, (high - low) / (2 * count + 5)
    grid = low + gap * (np.arange(1, count + 1) + rng.uniform(-0.2, 0.2, count))
    drawn = rng.permutation(grid[np.abs(grid - np.round(grid)) > 1e-3])
    start = 0
    for i in floats:
        arrays[i] = drawn[start : start + arrays[i].size].reshape(arrays[i].shape)
        start += arrays[i].size
    return prepared(case.op, arrays)


def assert_near(got: Any, wanted: Any, about: object, tolerance: float = 2e-6) -> None:
    """Within `tolerance` of the largest entry (or of 1)."""
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0)))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * scale, err_msg=str(about))


def expanded(graph: Graph) -> Graph:
    """The graph without requests."""
    while any(node.op.kind == "request" for node in graph.walk()):
        graph = gl.run_pass(graph, "differentiate")
    return graph


@pytest.mark.campaign(3)
@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_derivatives_are_central_differences(op: Op):
    assert derivative_cases(op)
    for case in derivative_cases(op):
        made = Derivatives(case)
        graph = expanded(made.graph)
        at, ahead, back = (interpret(graph, made.feeds(h)) for h in (0.0, STEP, -STEP))
        slopes = [
            np.where(a == b, 0.0, a - np.where(a == b, 0.0, b)) / (2 * STEP)
            for a, b in zip(ahead, back, strict=True)
        ]
        _, pushed, first, second = made.split(at)
        of_values, _, of_first, _ = made.split(slopes)
        for got, wanted in zip(pushed, of_values, strict=True):
            assert_near(got, wanted, (case, "forward"))
        backward = sum(np.sum(g * d) for g, d in zip(first, made.direction, strict=True))
        forward = sum(np.sum(t * w) for t, w in zip(pushed, made.weights, strict=True))
        assert_near(backward, forward, (case, "reverse"), 1e-12)
        for got, wanted in zip(second, of_first, strict=True):
            assert_near(got, wanted, (case, "second order"))


@pytest.mark.campaign(6)
@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_compiled_derivatives(op: Op):
    """One case of each op, all derivatives of it, against the interpreter."""
    found = derivative_cases(op)
    made = Derivatives(found[int(generator("choice", op.name).integers(len(found)))])
    wanted = interpret(expanded(made.graph), made.feeds())
    for got, reference_ in zip(run(gl.compile(made.graph), made.feeds()), wanted, strict=True):
        assert_near(got, reference_, made.case, 1e-12)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_no_derivative_gives_a_reason(op: Op):
    """Each entry has derivatives or says why not; the user's error quotes it."""
    assert has_derivative(op) != bool(op.no_gradient), op.name
    case = next(iter([*cases(op, [dt.float64]), *cases(op)]))
    if not op.no_gradient or not case.dtypes:
        return
    x = placeholder_like(TensorType(case.dtypes[-1], case.shapes[-1]), "x")
    if not x.dtype.is_float:
        return
    value, *_ = build(op, [x] * len(case.dtypes), case.attrs)
    with pytest.raises(gl.GradloomError, match=op.name) as caught:
        gl.grad(gl.sum(gl.astype(value, "float64")), x)
    assert op.no_gradient in str(caught.value)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_gradients_have_the_operands_dtype(dtype: dt.DType):
    for op in DIFFERENTIABLE:
        for case in cases(op, [dtype]):
            plain = graph_of(case)
            values = [t for t in plain.outputs if t.dtype.is_float]
            wrt = [t for t in plain.inputs if t.dtype.is_float]
            if not wrt or not values:
                continue
            weights = [placeholder_like(t.type, f"weight{i}") for i, t in enumerate(values)]
            found = gradient(values, wrt, weights)
            graph = Graph("typed", [*plain.inputs, *weights], found)
            after = gl.run_pass(graph, "differentiate")  # verifies
            assert [t.type for t in after.outputs] == [t.type for t in wrt]


# --- batching, and named sizes ----------------------------------------------------------------

BATCHABLE = [op for op in OPS if op.operands and (op.batch or op.kind == "elementwise")]


def batch_cases(op: Op) -> list[Case]:
    """A case at one dtype for each sample; element-wise, operands of several ranks."""
    first = next(cases(op))
    found = list(cases(op, [first.dtypes[0]]))
    if op.kind != "elementwise":
        return found
    shapes = [((3,), (3,), (3,)), ((), (2, 3), (3,)), ((2, 1), (1, 3), ())]
    return [Case(op, c.dtypes, s[: len(c.dtypes)], c.attrs) for c in found for s in shapes]


def batched_graph(case: Case, flags: Sequence[bool], size: Any) -> Graph:
    """The case over a leading axis of the flagged operands."""
    inputs = [
        placeholder_like(TensorType(dtype, (size, *shape) if flag else shape), f"x{i}")
        for i, (dtype, shape, flag) in enumerate(zip(case.dtypes, case.shapes, flags, strict=True))
    ]
    axes = [0 if flag else None for flag in flags]
    outputs = vmap(lambda *own: build(case.op, own, case.attrs), axes)(*inputs)
    return Graph("batched", inputs, outputs)


def batch_arrays(case: Case, flags: Sequence[bool], size: int) -> list[list[NumpyArray]]:
    """Operands for each entry of a batch, the same where not flagged."""
    entries = [ordinary_arrays(case, seed) for seed in range(size)]
    fixed = ordinary_arrays(case, 99)
    return [[a if f else b for a, b, f in zip(e, fixed, flags, strict=True)] for e in entries]


def stacked(
    case: Case, entries: Sequence[Sequence[NumpyArray]], flags: Sequence[bool]
) -> list[NumpyArray]:
    """The arguments of the batched graph."""
    fixed = ordinary_arrays(case, 99)
    shapes = [(0, *shape) for shape in case.shapes]
    return [
        fixed[i]
        if not flag
        else np.stack([entry[i] for entry in entries])
        if entries
        else np.zeros(shapes[i], fixed[i].dtype)
        for i, flag in enumerate(flags)
    ]


def assert_batched(
    case: Case, entries: Sequence[Sequence[NumpyArray]], results: Sequence[NumpyArray]
) -> None:
    for got, output in zip(results, graph_of(case).outputs, strict=True):
        assert got.shape == (len(entries), *output.shape), case
    for i, entry in enumerate(entries):
        assert_as_reference(case, entry, [np.asarray(got[i]) for got in results])


@pytest.mark.parametrize("op", BATCHABLE, ids=lambda op: op.name)
def test_batching_is_a_loop(op: Op):
    for case in batch_cases(op):
        for flags in itertools.product([False, True], repeat=len(case.dtypes)):
            if any(flags):
                entries = batch_arrays(case, flags, 3)
                graph = batched_graph(case, flags, 3)
                results = interpret(graph, stacked(case, entries, flags))
                assert_batched(case, entries, results)


@pytest.mark.campaign(6)
@pytest.mark.parametrize("op", BATCHABLE, ids=lambda op: op.name)
def test_named_leading_size(op: Op):
    """Compiled once over a batch of B entries, called with 0, 1 and more."""
    found = [case for case in batch_cases(op) if all(0 not in shape for shape in case.shapes)]
    rng = generator("named", op.name)
    places: list[int] = rng.permutation(len(found))[:3].tolist()
    chosen = [found[i] for i in sorted(places)]
    flags = [(True,) * len(case.dtypes) for case in chosen]
    graphs = [batched_graph(c, f, symbol("B")) for c, f in zip(chosen, flags, strict=True)]
    functions = [gl.compile(graph) for graph in graphs]
    for size in (0, 1, 5):
        for case, own, function in zip(chosen, flags, functions, strict=True):
            entries = batch_arrays(case, own, size)
            assert_batched(case, entries, run(function, stacked(case, entries, own)))


@pytest.mark.parametrize("op", BATCHABLE, ids=lambda op: op.name)
def test_text_with_sizes_that_are_formulas(op: Op):
    first = batch_cases(op)[0]
    named = batched_graph(first, (True,) * len(first.dtypes), symbol("B") * 2 + 1)
    assert gl.parse(str(named)) == named


@pytest.mark.campaign(6)
@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_cuda_source_of_derivatives(op: Op):
    check_cuda_source(Derivatives(derivative_cases(op)[0]).graph)
