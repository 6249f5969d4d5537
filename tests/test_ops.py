"""Every op of the table, by cases that its entry gives: no op is named where an entry can tell.

The reference (the entry's NumPy column) is checked against independent formulas, the type rule and
compiled code against the reference.  What does not fit must be refused with the line.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir import dtypes as dt
from gradloom.ir.dims import symbol
from gradloom.ir.errors import GradloomError
from gradloom.ir.interpret import evaluate_attribute
from gradloom.ir.op import TABLE, Op
from gradloom.ir.tensor import TensorType
from gradloom.ir.text import parse

from . import op_cases
from .formulas_maths import by_code, called
from .op_cases import (
    ELEMENTWISE,
    FLOATS,
    OPS,
    SAMPLED,
    Case,
    allowance,
    assert_as_reference,
    assert_close,
    assert_same,
    by_case,
    cases,
    check_cuda_source,
    each,
    edge_arrays,
    generator,
    graph_of,
    interpret,
    ordinary_arrays,
    reference,
    references,
    run,
    spacing,
)
from .op_formulas import EQUATIONS, INDEPENDENT

NumpyArray = np.ndarray[Any, Any]

# Without samples because their operands are graphs or names; test_kinds and test_text have them.
UNSAMPLED = {
    *("input", "parameter", "constant", "dimension", "fused", "scan", "while_loop", "custom"),
    *("switch", "checkpoint", "gradient", "pushforward"),
}

by_name = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def test_every_entry_is_tested():
    assert {op.name for op in OPS} | UNSAMPLED == TABLE.keys()
    for op in OPS:
        assert list(cases(op)), f"no case of {op.name}"
        assert op.doc, op.name
        used = {(str(case.shapes), str(case.attrs)) for case in cases(op)}
        assert all((str(s), str(a)) in used for s, a in op.samples), f"a sample of {op.name}"


# --- (a) the type rule, (b) the reference ---------------------------------------------------------


def broadcasts(op: Op) -> list[tuple[tuple[int, ...], ...]]:
    """Shapes of the operands of an element-wise op: equal, of other ranks, of sizes 0 and 1."""
    pools = [((3, 4), (4,), (3, 1)), ((), (2, 3), (1,)), ((0, 1), (1, 3), ()), ((1, 1), (1,), ())]
    found = {(shape,) * len(op.operands) for shape in [(3, 4), (5,), (), (0, 2), (1,)]}
    for pool in pools:
        found |= set(itertools.permutations(pool, len(op.operands)))
    return sorted(found)


@by_name
def test_type_rule_is_what_the_reference_gives(op: Op):
    for case in cases(op):
        shapes = broadcasts(op) if op.kind == "elementwise" else [case.shapes]
        for own in shapes:
            this = Case(op, case.dtypes, own, case.attrs)
            found = references(op, ordinary_arrays(this), case.attrs)
            for array, output in zip(found, graph_of(this).outputs, strict=True):
                assert array.shape == output.shape, this
                assert array.dtype == output.dtype.numpy, this


NUMPY = {"reshape", "permute", "broadcast_to", "where"}


# Their code is a formula of other functions, which says again what the reference says.
BY_CODE = [
    op
    for op in ELEMENTWISE
    if op.name not in {*INDEPENDENT, *NUMPY} and not isinstance(op.reference, np.ufunc)
]


@pytest.mark.parametrize(
    "op", [*BY_CODE, *(op for op in OPS if op.name in INDEPENDENT)], ids=lambda op: op.name
)
def test_reference_by_another_formula(op: Op):
    formula = INDEPENDENT.get(op.name) or by_code(op)
    for case in cases(op):
        edge = op.kind == "elementwise"
        arrays = edge_arrays(case, 1000) if edge else ordinary_arrays(case)
        with np.errstate(all="ignore"):
            every = each(formula(*arrays, **case.attrs))
        for array, wanted in zip(references(op, arrays, case.attrs), every, strict=True):
            with np.errstate(all="ignore"):
                rounded = np.asarray(wanted).astype(array.dtype)
            if array.dtype.kind != "f":
                assert_same(array, rounded, case)
            elif edge:
                assert_close(array, rounded, 4 * spacing(rounded), case)
            else:
                assert_close(array, rounded, allowance(op, arrays, case.attrs, array), case)


@pytest.mark.parametrize("op", [op for op in OPS if op.name in EQUATIONS], ids=lambda op: op.name)
def test_reference_by_its_equations(op: Op):
    """What is not unique (eigenvectors, say) is what solves the equations that define it."""
    for case in cases(op):
        arrays = ordinary_arrays(case)
        results = references(op, arrays, case.attrs)
        scale = max([1.0, *(float(np.max(np.abs(a))) for a in (*arrays, *results) if a.size)])
        for left, right in EQUATIONS[op.name](arrays, results, **case.attrs):
            allowed = 64 * scale * float(np.finfo(arrays[0].dtype).eps)
            np.testing.assert_allclose(left, right, rtol=0, atol=allowed, err_msg=str(case))


def test_other_references_are_numpy_functions():
    """So that none is checked by itself alone."""
    for op in OPS:
        if op in BY_CODE:
            assert op.name not in called(op.code), op.name
        elif op.name not in {*INDEPENDENT, *EQUATIONS, *NUMPY}:
            assert isinstance(op.reference, np.ufunc), op.name


def test_random_bits_give_the_known_answers():
    """Philox4x32-10 as its authors publish it (Random123, kat_vectors)."""
    op, key = TABLE["random_bits"], np.zeros(2, np.uint32)
    words = [reference(op, [key], {"shape": (), "stream": 0, "word": i}) for i in range(4)]
    assert [int(word) for word in words] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


# --- (c) compiled code ----------------------------------------------------------------------------


def compiled(*cases_: Case) -> gl.Function:
    """One function with an output for each case."""
    return gl.compile(graph_of(*cases_))


def flat(arrays: Sequence[NumpyArray], shape: tuple[int, ...]) -> list[NumpyArray]:
    """So many of the entries of flat arrays, in `shape`."""
    return [
        np.resize(array, shape) if 0 not in shape else array[:0].reshape(shape) for array in arrays
    ]


@pytest.mark.campaign(2)
@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_compiled_elementwise(op: Op):
    """Edge values at every dtype, with named sizes that are 0, 1 and more in turn."""
    found = list(cases(op, shape=(symbol("B"), symbol("N"))))
    function = compiled(*found)
    assert all(tensor.shape == (symbol("B"), symbol("N")) for tensor in function.graph.outputs)
    edge = [edge_arrays(case) for case in found]
    widest = max(arrays[0].size for arrays in edge)
    for shape in [(1, widest), (0, 3), (2, 0), (1, 1), (3, 37)]:
        given = [flat(arrays, shape) for arrays in edge]
        results = run(function, [array for arrays in given for array in arrays])
        for case, arrays, got in zip(found, given, results, strict=True):
            assert_as_reference(case, arrays, [got])


@pytest.mark.campaign(4)
@pytest.mark.parametrize(
    "op", [op for op in ELEMENTWISE if len(op.operands) > 1], ids=lambda op: op.name
)
def test_compiled_broadcasting(op: Op):
    b, n = symbol("B"), symbol("N")
    first = next(cases(op))
    shapes = [((b, n), (n,), ()), ((b, 1), (1, n), (b, n)), ((3, 1), (1, 5), (5,))]
    shapes += [((0, 1), (1, 3), ()), ((), (4,), (1,))]
    found = [Case(op, first.dtypes, s[: len(op.operands)], first.attrs) for s in shapes]
    function = compiled(*found)
    for sizes in [{"B": 4, "N": 19}, {"B": 1, "N": 1}, {"B": 0, "N": 5}, {"B": 2, "N": 0}]:
        given = [ordinary_arrays(at_sizes(case, sizes)) for case in found]
        results = run(function, [array for arrays in given for array in arrays])
        for case, arrays, got in zip(found, given, results, strict=True):
            assert_as_reference(case, arrays, [got])


def at_sizes(case: Case, sizes: dict[str, int]) -> Case:
    """The case with its dimensions bound."""
    return Case(case.op, case.dtypes, evaluate_attribute(case.shapes, sizes), case.attrs)


@pytest.mark.campaign(2)
@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_compiled_samples(op: Op):
    """Every sample in float32 (or the entry's own dtype), and one at each other dtype."""
    plain = list(cases(op, [next(cases(op)).dtypes[0]] if next(cases(op)).dtypes else FLOATS))
    rest = [case for case in cases(op) if case not in plain]
    rng = generator(op.name)
    dtypes = sorted({case.dtypes[0] for case in rest}, key=str)
    chosen = [[case for case in rest if case.dtypes[0] == dtype] for dtype in dtypes]
    found = [*plain, *(group[rng.integers(len(group))] for group in chosen)]
    given = [ordinary_arrays(case) for case in found]
    results = run(compiled(*found), [array for arrays in given for array in arrays])
    for case, arrays, got in zip(found, given, by_case(found, results), strict=True):
        assert_as_reference(case, arrays, got)


# --- (f) text, and CUDA ---------------------------------------------------------------------------


@by_name
def test_text_round_trip(op: Op):
    found = list(cases(op))
    graph = graph_of(*found)
    again = parse(str(graph))
    assert again == graph
    assert str(again) == str(graph)
    arrays = [array for case in found for array in ordinary_arrays(case)]
    for got, wanted in zip(interpret(again, arrays), interpret(graph, arrays), strict=True):
        assert_same(got, wanted, op.name)


@pytest.mark.campaign(4)
@by_name
def test_cuda_source(op: Op):
    for case in cases(op):
        check_cuda_source(graph_of(case))


# --- (h) what does not fit ------------------------------------------------------------------------


def misfits(case: Case) -> list[Case]:
    """The case with one operand's dtype or shape changed."""
    found: list[Case] = []
    for i, shape in enumerate(case.shapes):
        for dtype in DTYPES_TRIED:
            dtypes = (*case.dtypes[:i], dtype, *case.dtypes[i + 1 :])
            found.append(Case(case.op, dtypes, case.shapes, case.attrs))
        others = [shape[1:], (2, *shape), *(_grown(shape, axis) for axis in range(len(shape)))]
        for other in others:
            shapes = (*case.shapes[:i], other, *case.shapes[i + 1 :])
            found.append(Case(case.op, case.dtypes, shapes, case.attrs))
    return found


DTYPES_TRIED = (*op_cases.DTYPES, dt.int8, dt.uint64)


def _grown(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return tuple(size + 2 if i == axis else size for i, size in enumerate(shape))


@by_name
def test_what_does_not_fit_is_an_error(op: Op):
    """Where an operand is exchanged, either the type rule refuses and names the line, or the
    reference takes it and gives what the rule says."""
    refused = 0
    for case in cases(op, FLOATS[:1] if op.samples else op_cases.DTYPES, (2, 3)):
        for changed in misfits(case):
            try:
                outputs = graph_of(changed).outputs
            except GradloomError as error:
                refused += 1
                text = str(error)
                assert text.startswith(f"{op.name}: "), text
                assert "at op_cases.py:" in text, text
                for dtype, shape in zip(changed.dtypes, changed.shapes, strict=True):
                    assert str(TensorType(dtype, shape)) in text, text
                continue
            found = references(op, ordinary_arrays(changed), changed.attrs)
            for array, output in zip(found, outputs, strict=True):
                assert array.shape == output.shape, changed
                assert array.dtype == output.dtype.numpy, changed
    takes_all = len(op.operands) == 1 and (op.kind == "view" or op.dtypes in ("any", "cast"))
    takes_all = takes_all or op.kind == "order"
    assert refused or takes_all or not op.operands
