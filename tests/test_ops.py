"""Every op of the table, by cases that its entry gives: no op is named where an entry can tell.

The reference (the entry's NumPy column) is checked against independent formulas, the type rule and
compiled code against the reference, both modes of derivatives against central differences,
batching against a loop.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.pipeline import compile_graph
from gradloom.frontends.gradient import vmap
from gradloom.ir import dtypes as dt
from gradloom.ir.dims import symbol
from gradloom.ir.errors import GradloomError
from gradloom.ir.graph import Graph
from gradloom.ir.op import TABLE, Op
from gradloom.ir.ops.control import placeholder_like
from gradloom.ir.target import Target
from gradloom.ir.tensor import Tensor, TensorType
from gradloom.ir.text import parse

from . import op_cases
from .op_cases import (
    ELEMENTWISE,
    FLOATS,
    OPS,
    SAMPLED,
    Case,
    allowance,
    assert_close,
    assert_same,
    build,
    cases,
    edge_arrays,
    generator,
    graph_of,
    interpret,
    ordinary_arrays,
    random_array,
    reference,
    spacing,
)

NumpyArray = np.ndarray[Any, Any]

# Without samples because their operands are graphs or names; test_kinds and test_text have them.
UNSAMPLED = {"input", "parameter", "constant", "dimension", "fused", "scan"}
UNSAMPLED |= {"gradient", "pushforward"}

# ULP between compiled code and the reference where it is not 4, and why.
ULPS: dict[str, tuple[int, str]] = {}

by_name = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def test_every_entry_is_tested():
    assert {op.name for op in OPS} | UNSAMPLED == TABLE.keys()
    for op in OPS:
        assert list(cases(op)), f"no case of {op.name}"
        assert op.doc, op.name


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
            (output,) = graph_of(this).outputs
            found = reference(op, ordinary_arrays(this), case.attrs)
            assert found.shape == output.shape, this
            assert found.dtype == output.dtype.numpy, this


def _wide(function: Callable[..., Any]) -> Callable[..., Any]:
    """A formula over NumPy's longdouble."""

    def formula(*arrays: NumpyArray, **attrs: Any) -> Any:
        return function(*(np.asarray(a, np.longdouble) for a in arrays), **attrs)

    return formula


def _exact(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """A formula over mpmath's numbers with 50 digits."""

    def scalar(x: Any) -> float:
        with mpmath.workdps(50):
            return float(function(mpmath.mpf(float(x))))

    return np.vectorize(scalar, otypes=[np.float64])


def _softmax(x: NumpyArray, axis: int) -> Any:
    e = np.exp(x - np.max(x, axis, keepdims=True, initial=-np.inf))
    return e / np.sum(e, axis, keepdims=True)


def _cast(x: NumpyArray, dtype: dt.DType) -> NumpyArray:
    """By Python's own numbers."""
    limits = np.iinfo(dtype.numpy) if dtype.is_integer else None

    def one(value: Any) -> Any:
        if limits is not None and isinstance(value, float):
            if math.isnan(value):
                return 0
            whole = value if math.isinf(value) else int(value)
            return int(min(max(whole, int(limits.min)), int(limits.max)))
        if limits is not None:
            span = int(limits.max) - int(limits.min) + 1
            return (int(value) - int(limits.min)) % span + int(limits.min)
        return value

    flat = [one(value) for value in x.reshape(-1).tolist()]
    return np.array(flat, dtype.numpy).reshape(x.shape)


def _by_entry(shape: Sequence[int], entry: Callable[[tuple[int, ...]], Any], like: Any) -> Any:
    result = np.zeros(shape, like.dtype)
    for place in np.ndindex(*shape):
        result[place] = entry(place)
    return result


def _at(array: NumpyArray, place: Sequence[int]) -> Any:
    """An entry of an array that broadcasts."""
    return array[tuple(0 if n == 1 else i for i, n in zip(place, array.shape, strict=True))]


def _source(x: NumpyArray, place: tuple[int, ...], indices: Any, axes: Any) -> tuple[int, ...]:
    """Where in x an indexed entry lies."""
    given = {axis: int(_at(index, place)) for axis, index in zip(axes, indices, strict=True)}
    return tuple(given.get(i, 0 if x.shape[i] == 1 else place[i]) for i in range(x.ndim))


def _gather(x: NumpyArray, *indices: NumpyArray, axes: Any) -> Any:
    own = [1 if i in axes else n for i, n in enumerate(x.shape)]
    shape = np.broadcast_shapes(own, *(index.shape for index in indices))
    return _by_entry(shape, lambda place: x[_source(x, place, indices, axes)], x)


def _scatter_add(x: NumpyArray, updates: NumpyArray, *indices: NumpyArray, axes: Any) -> Any:
    result = x.astype(np.longdouble if x.dtype.kind == "f" else x.dtype)
    for place in np.ndindex(*updates.shape):
        target = _source(x, place, indices, axes)
        result[target] = result[target] | updates[place] if x.dtype == bool else (
            result[target] + updates[place]
        )
    return result


def _pieces(function: Any) -> Callable[..., Any]:
    def formula(x: NumpyArray, axis: int, chunk: int) -> Any:
        count = -(-x.shape[axis] // chunk)
        shape = [count if i == axis else 1 for i in range(x.ndim)]

        def piece(place: tuple[int, ...]) -> Any:
            start = place[axis] * chunk
            return function(np.take(x, range(start, min(start + chunk, x.shape[axis])), axis))

        if x.dtype == bool:
            return _by_entry(shape, piece, x)
        return _by_entry(shape, piece, x.astype(np.longdouble) if x.dtype.kind == "f" else x)

    return formula


def _lowest(x: NumpyArray, largest: bool = False) -> Any:
    if x.dtype.kind == "f":
        return np.inf if largest else -np.inf
    limits = np.iinfo(np.int8 if x.dtype == bool else x.dtype)
    return limits.max if largest else limits.min


def _extreme(largest: bool) -> Callable[..., Any]:
    def fold(x: NumpyArray, axes: Any = None) -> Any:
        keep = axes is not None
        if x.dtype == bool:
            return (np.any if largest else np.all)(x, axes, keepdims=keep)
        function: Any = np.max if largest else np.min
        return function(x, axes, keepdims=keep, initial=_lowest(x, not largest))

    return fold


def _embed(x: NumpyArray, starts: Any, steps: Any, shape: Any) -> Any:
    result = np.zeros(shape, x.dtype)
    for place in np.ndindex(*x.shape):
        result[tuple(b + s * i for b, s, i in zip(starts, steps, place, strict=True))] = x[place]
    return result


def _slice(x: NumpyArray, starts: Any, sizes: Any, steps: Any) -> Any:
    return _by_entry(
        sizes,
        lambda place: x[tuple(b + s * i for b, s, i in zip(starts, steps, place, strict=True))],
        x,
    )


def _floor_divide(x: Any, y: Any) -> Any:
    """⌊x / y⌋ of Python's integers, 0 by 0; NumPy's own for floats."""
    if x.dtype.kind == "f":
        return np.floor_divide(x, y)
    pairs = zip(x.reshape(-1).tolist(), y.reshape(-1).tolist(), strict=True)
    whole = np.array([a // b if b else 0 for a, b in pairs], object)
    return _cast(whole, dt.as_dtype(x.dtype)).reshape(x.shape)


def _remainder(x: Any, y: Any) -> Any:
    if x.dtype.kind == "f":
        return np.remainder(x, y)
    pairs = zip(x.reshape(-1).tolist(), y.reshape(-1).tolist(), strict=True)
    return np.array([a % b if b else 0 for a, b in pairs], x.dtype).reshape(x.shape)


def _iota(shape: Any, axis: int) -> Any:
    return _by_entry(shape, lambda place: place[axis], np.zeros(0, np.int64))


# Formulas of their own for entries whose reference is more than one function of NumPy.
INDEPENDENT: dict[str, Callable[..., Any]] = {
    "cast": _cast,
    "fma": _wide(lambda x, y, z: x * y + z),
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "rsqrt": _wide(lambda x: 1 / np.sqrt(x)),
    "erf": _exact(lambda x: mpmath.erf(x)),
    "sigmoid": _exact(lambda x: 1 / (1 + mpmath.exp(-x))),
    "softplus": _exact(lambda x: mpmath.log(1 + mpmath.exp(x))),
    "relu": lambda x: np.where(x < 0, 0, x).astype(x.dtype),
    "wrap_index": lambda index, size: (np.mod(index, size)).astype(index.dtype),
    "stop_gradient": lambda x: x,
    "pin": lambda x: x,
    "sum": lambda x, axes: np.sum(
        x, axes, dtype=np.longdouble if x.dtype.kind == "f" else x.dtype, keepdims=True
    ),
    "max": _extreme(largest=True),
    "min": _extreme(largest=False),
    "partial_sum": _pieces(lambda piece: np.sum(piece, dtype=piece.dtype)),
    "partial_max": _pieces(_extreme(largest=True)),
    "partial_min": _pieces(_extreme(largest=False)),
    "matmul": lambda x, y: np.einsum("...ik,...kj->...ij", x, y),
    "softmax": _wide(_softmax),
    "log_softmax": _wide(lambda x, axis: np.log(_softmax(x, axis))),
    "logsumexp": _wide(lambda x, axis: np.log(np.sum(np.exp(x), axis, keepdims=True))),
    "embed": _embed,
    "slice": _slice,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "iota": _iota,
    "solve": lambda a, b: np.linalg.inv(a.astype(np.float64)) @ b,
}
NUMPY = {"reshape", "permute", "broadcast_to", "random_bits"}  # random_bits: by its known answers


@pytest.mark.parametrize("op", [op for op in OPS if op.name in INDEPENDENT], ids=lambda op: op.name)
def test_reference_by_another_formula(op: Op):
    for case in cases(op):
        edge = op.kind == "elementwise"
        arrays = edge_arrays(case, 1000) if edge else ordinary_arrays(case)
        with np.errstate(all="ignore"):
            wanted = np.asarray(INDEPENDENT[op.name](*arrays, **case.attrs))
            found = reference(op, arrays, case.attrs)
            rounded = wanted.astype(found.dtype)
        if found.dtype.kind != "f":
            assert_same(found, rounded, case)
        elif edge:
            assert_close(found, rounded, 4 * spacing(rounded), case)
        else:
            assert_close(found, rounded, allowance(op, arrays, case.attrs, found), case)


def test_other_references_are_numpy_functions():
    for op in OPS:
        if op.name not in INDEPENDENT and op.name not in NUMPY:
            assert isinstance(op.reference, np.ufunc) or op.reference is np.where, op.name


def test_random_bits_give_the_known_answers():
    """Philox4x32-10 as its authors publish it (Random123, kat_vectors)."""
    op = TABLE["random_bits"]
    zeros = reference(op, [np.zeros(2, np.uint32)], {"shape": (), "stream": 0})
    assert int(zeros) == 0x6627E8D5


# --- (c) compiled code ----------------------------------------------------------------------------


def compiled(*cases_: Case) -> gl.Function:
    """One function with an output for each case."""
    return gl.compile(graph_of(*cases_))


def flat(arrays: Sequence[NumpyArray], shape: tuple[int, ...]) -> list[NumpyArray]:
    """So many of the entries of flat arrays, in `shape`."""
    return [np.resize(array, shape) if 0 not in shape else array[:0].reshape(shape) for array in arrays]


def run(function: gl.Function, arrays: Sequence[NumpyArray]) -> list[NumpyArray]:
    """The outputs as a list."""
    found = function(*arrays)
    return found if isinstance(found, list) else [found]


def assert_as_reference(case: Case, arrays: Sequence[NumpyArray], got: NumpyArray) -> None:
    op = case.op
    wanted = reference(op, arrays, case.attrs)
    if op.kind != "elementwise":
        assert_close(got, wanted, allowance(op, arrays, case.attrs, wanted), case)
    elif wanted.dtype.kind != "f":
        assert_same(got, wanted, case)
    else:
        ulps, _ = ULPS.get(op.name, (4, ""))
        assert_close(got, wanted, ulps * spacing(wanted), case)


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
            assert_as_reference(case, arrays, got)


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
            assert_as_reference(case, arrays, got)


def at_sizes(case: Case, sizes: dict[str, int]) -> Case:
    """The case with its dimensions bound."""
    from gradloom.ir.interpret import evaluate_attribute

    return Case(case.op, case.dtypes, evaluate_attribute(case.shapes, sizes), case.attrs)


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
    for case, arrays, got in zip(found, given, results, strict=True):
        assert_as_reference(case, arrays, got)


# --- (d) derivatives ------------------------------------------------------------------------------


def has_derivative(op: Op) -> bool:
    return op.partials is not None or op.transpose is not None or op.vjp is not None


DIFFERENTIABLE = [op for op in OPS if has_derivative(op)]
STEP = 1e-5


def derivative_cases(op: Op) -> list[Case]:
    """Cases at float64 in and out."""
    found = list(cases(op, [dt.float64], (3, 4)))
    if op.kind == "elementwise" and len(op.operands) > 1:
        shapes = [((3, 1), (4,), ()), ((), (2, 1, 3), (1, 3)), ((0, 2), (1, 2), (2,))]
        found += [Case(op, c.dtypes, s[: len(c.dtypes)], c.attrs) for c in found for s in shapes]
    return [c for c in found if graph_of(c).outputs[0].dtype == dt.float64]


class Derivatives:
    """A case as a graph with its derivatives along drawn directions, in both modes.

    outputs: value; vector-Jacobian products by each float operand; the Jacobian-vector product;
    its derivative along the same direction; and that of the first-order gradients.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        (value,) = graph_of(case).outputs
        self.inputs = list(value.node.operands)
        self.moving = [i for i, t in enumerate(self.inputs) if t.dtype.is_float]
        wrt = [self.inputs[i] for i in self.moving]
        weight = placeholder_like(value.type, "weight")
        direction = [placeholder_like(t.type, f"direction{i}") for i, t in enumerate(wrt)]
        found = gl.grad(value, wrt, weight)
        pushed = gl.jvp(value, wrt, direction)
        second = [gl.jvp(g, wrt, direction) for g in found]
        outputs = [value, pushed, *found, *second]
        self.graph = Graph("derivatives", [*self.inputs, weight, *direction], outputs)
        rng = generator("derivatives", str(case))
        self.arrays = away_from_kinks(case)
        shapes = [tuple(t.shape) for t in (value, *wrt)]
        self.weight, *self.direction = (rng.normal(size=s) for s in shapes)  # type: ignore[arg-type]

    def feeds(self, along: float = 0.0) -> list[NumpyArray]:
        """The graph's inputs, the operands moved so far along the direction."""
        moved = list(self.arrays)
        for i, direction in zip(self.moving, self.direction, strict=True):
            moved[i] = moved[i] + along * direction
        return [*moved, self.weight, *self.direction]


def away_from_kinks(case: Case) -> list[NumpyArray]:
    """Operands from the entry's range, in which no two numbers are near each other or a whole
    number: there derivatives may jump."""
    low, high = case.op.derivatives_at
    arrays = ordinary_arrays(case)
    floats = [i for i, dtype in enumerate(case.dtypes) if dtype.is_float]
    count = sum(arrays[i].size for i in floats)
    rng = generator("operands", str(case))
    grid = np.linspace(low, high, 2 * count + 6)[1:-1]
    grid += rng.uniform(-0.2, 0.2, grid.shape) * (grid[1] - grid[0])
    grid = grid[np.abs(grid - np.round(grid)) > 1e-3]
    drawn = rng.permutation(grid)[:count]
    start = 0
    for i in floats:
        arrays[i] = drawn[start : start + arrays[i].size].reshape(arrays[i].shape)
        start += arrays[i].size
    return arrays


def assert_near(got: Any, wanted: Any, about: object, tolerance: float = 2e-6) -> None:
    """Within `tolerance` of the largest entry (or of 1)."""
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0)))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * scale, err_msg=str(about))


def expanded(graph: Graph) -> Graph:
    """The graph without requests."""
    while any(node.op.kind == "request" for node in graph.walk()):
        graph = gl.run_pass(graph, "differentiate")
    return graph


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_derivatives_are_central_differences(op: Op):
    assert derivative_cases(op)
    for case in derivative_cases(op):
        made = Derivatives(case)
        graph, count = expanded(made.graph), len(made.moving)
        at, ahead, back = (interpret(graph, made.feeds(h)) for h in (0.0, STEP, -STEP))
        slopes = [
            np.where(a == b, 0.0, a - np.where(a == b, 0.0, b)) / (2 * STEP)
            for a, b in zip(ahead, back, strict=True)
        ]
        _, pushed, *rest = at
        first, second = rest[:count], rest[count:]
        assert_near(pushed, slopes[0], (case, "forward"))
        backward = sum(np.sum(g * d) for g, d in zip(first, made.direction, strict=True))
        assert_near(backward, np.sum(pushed * made.weight), (case, "reverse"), 1e-12)
        for got, wanted in zip(second, slopes[2 : 2 + count], strict=True):
            assert_near(got, wanted, (case, "second order"))


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
    value = build(op, [x] * len(case.dtypes), case.attrs)
    with pytest.raises(gl.GradloomError, match=op.name) as caught:
        gl.grad(gl.sum(gl.astype(value, "float64")), x)
    assert op.no_gradient in str(caught.value)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_gradients_have_the_operands_dtype(dtype: dt.DType):
    for op in DIFFERENTIABLE:
        for case in cases(op, [dtype]):
            (value,) = graph_of(case).outputs
            wrt = [t for t in value.node.operands if t.dtype.is_float]
            if not wrt or not value.dtype.is_float:
                continue
            weight = placeholder_like(value.type, "weight")
            found = gl.grad(value, wrt, weight)
            graph = Graph("typed", [*value.node.operands, weight], found)
            after = gl.run_pass(graph, "differentiate")  # verifies
            assert [t.type for t in after.outputs] == [t.type for t in wrt]


# --- (e) batching, (g) named sizes ----------------------------------------------------------------

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
    output = vmap(lambda *own: build(case.op, own, case.attrs), axes)(*inputs)
    return Graph("batched", inputs, [output])


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
        fixed[i] if not flag
        else np.stack([entry[i] for entry in entries]) if entries
        else np.zeros(shapes[i], fixed[i].dtype)
        for i, flag in enumerate(flags)
    ]


def assert_batched(case: Case, entries: Sequence[Sequence[NumpyArray]], got: NumpyArray) -> None:
    (output,) = graph_of(case).outputs
    assert got.shape == (len(entries), *output.shape), case
    for entry, result in zip(entries, got, strict=True):
        wanted = reference(case.op, entry, case.attrs)
        if case.op.kind == "elementwise":
            assert_as_reference(case, entry, result)
        else:
            allowed = allowance(case.op, entry, case.attrs, wanted)
            assert_close(np.asarray(result), wanted, allowed, case)


@pytest.mark.parametrize("op", BATCHABLE, ids=lambda op: op.name)
def test_batching_is_a_loop(op: Op):
    for case in batch_cases(op):
        for flags in itertools.product([False, True], repeat=len(case.dtypes)):
            if any(flags):
                entries = batch_arrays(case, flags, 3)
                graph = batched_graph(case, flags, 3)
                (got,) = interpret(graph, stacked(case, entries, flags))
                assert_batched(case, entries, got)


@pytest.mark.parametrize("op", BATCHABLE, ids=lambda op: op.name)
def test_named_leading_size(op: Op):
    """Compiled once over a batch of B entries, called with 0, 1 and more."""
    found = [case for case in batch_cases(op) if all(0 not in shape for shape in case.shapes)]
    rng = generator("named", op.name)
    chosen = [found[i] for i in sorted(rng.permutation(len(found))[:3].tolist())]
    flags = [(True,) * len(case.dtypes) for case in chosen]
    graphs = [batched_graph(c, f, symbol("B")) for c, f in zip(chosen, flags, strict=True)]
    functions = [gl.compile(graph) for graph in graphs]
    for size in (0, 1, 5):
        for case, own, function in zip(chosen, flags, functions, strict=True):
            entries = batch_arrays(case, own, size)
            assert_batched(case, entries, function(*stacked(case, entries, own)))


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
    if op in BATCHABLE:
        first = batch_cases(op)[0]
        named = batched_graph(first, (True,) * len(first.dtypes), symbol("B") * 2 + 1)
        assert parse(str(named)) == named


@by_name
def test_cuda_source(op: Op):
    """Every kernel of every case, forwards and backwards, has CUDA source that Python reads."""
    graphs = [graph_of(case) for case in cases(op)]
    if op in DIFFERENTIABLE:
        graphs += [Derivatives(case).graph for case in derivative_cases(op)[:1]]
    for graph in graphs:
        program = compile_graph(graph, Target("cuda")).program
        assert program is not None
        for kernel in program.kernels:
            (function,) = ast.parse(kernel.source).body
            assert isinstance(function, ast.FunctionDef)
            assert function.name == kernel.name


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
                (output,) = graph_of(changed).outputs
            except GradloomError as error:
                refused += 1
                text = str(error)
                assert text.startswith(f"{op.name}: "), text
                assert "at op_cases.py:" in text, text
                for dtype, shape in zip(changed.dtypes, changed.shapes, strict=True):
                    assert str(TensorType(dtype, shape)) in text, text
                continue
            found = reference(op, ordinary_arrays(changed), changed.attrs)
            assert found.shape == output.shape, changed
            assert found.dtype == output.dtype.numpy, changed
    takes_all = len(op.operands) == 1 and (op.kind == "view" or op.dtypes in ("any", "cast"))
    assert refused or takes_all or not op.operands
