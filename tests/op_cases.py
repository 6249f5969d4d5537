"""Cases drawn from the op table: operands, attributes and arrays for any entry.

Nothing here is written for one op: what an operand may be follows from the entry's `dtypes`, kind,
groups of operands and `samples`.
"""

from __future__ import annotations

import ast
import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from gradloom.compiler.pipeline import compile_graph
from gradloom.frontends.function import Function
from gradloom.ir import dtypes as dt
from gradloom.ir.array import Array
from gradloom.ir.errors import GradloomError
from gradloom.ir.graph import Graph
from gradloom.ir.interpret import evaluate_graph
from gradloom.ir.op import TABLE, Op
from gradloom.ir.ops.control import placeholder_like
from gradloom.ir.target import Target
from gradloom.ir.tensor import Node, Tensor, TensorType

NumpyArray = np.ndarray[Any, Any]
STEP = 1e-5  # of central differences

# tests/test_half_ops.py has those stored in 16 bits.
DTYPES = tuple(dtype for dtype in dt.ALL if not dtype.is_half)
FLOATS = (dt.float32, dt.float64)
ELEMENTWISE = [op for op in TABLE.values() if op.kind == "elementwise"]
SAMPLED = [op for op in TABLE.values() if op.samples]
OPS = [*ELEMENTWISE, *SAMPLED]

# An element-wise entry has no samples: what its static attributes may be, by their name.
SIZE = 7
ATTRIBUTES: dict[str, tuple[Any, ...]] = {"dtype": DTYPES, "size": (SIZE,), "message": ("bad",)}


@dataclass(frozen=True)
class Case:
    """An op on operands of these dtypes and shapes."""

    op: Op
    dtypes: tuple[dt.DType, ...]
    shapes: tuple[tuple[Any, ...], ...]
    attrs: dict[str, Any]

    def __str__(self) -> str:
        types = ", ".join(
            str(TensorType(d, s)) for d, s in zip(self.dtypes, self.shapes, strict=True)
        )
        return f"{self.op.name}({types}) {self.attrs}"


def build(op: Op, operands: Sequence[Tensor], attrs: dict[str, Any]) -> tuple[Tensor, ...]:
    """The results of the op, its operands in their groups."""
    plain = len(op.operands) - 1
    groups = (plain, len(operands) - plain) if len(op.groups) > 1 else (len(operands),)
    return Node(op, operands, attrs, groups).results


def graph_of(*cases: Case) -> Graph:
    """A graph with all results of each case, its inputs named by case and operand."""
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    for number, case in enumerate(cases):
        own = [
            placeholder_like(TensorType(dtype, shape), f"x{number}_{i}")
            for i, (dtype, shape) in enumerate(zip(case.dtypes, case.shapes, strict=True))
        ]
        inputs += own
        outputs += build(case.op, own, case.attrs)
    return Graph("cases", inputs, outputs)


def references(op: Op, arrays: Sequence[NumpyArray], attrs: dict[str, Any]) -> list[NumpyArray]:
    """What the entry's reference gives, as it gives it: an array a result."""
    values = {k: v.values if isinstance(v, Array) else v for k, v in attrs.items()}
    with np.errstate(all="ignore"):
        return [np.asarray(value) for value in each(op.reference(*arrays, **values))]


def each(value: Any) -> Sequence[Any]:
    """The values that a function of several results gives, or the one of another."""
    return cast(Sequence[Any], value) if isinstance(value, tuple) else [value]


def reference(op: Op, arrays: Sequence[NumpyArray], attrs: dict[str, Any]) -> NumpyArray:
    """The reference of an op with one result."""
    (found,) = references(op, arrays, attrs)
    return found


def interpret(graph: Graph, arrays: Sequence[NumpyArray]) -> list[NumpyArray]:
    """The graph's outputs by the reference interpreter."""
    names = [graph.names[tensor] for tensor in graph.inputs]
    return evaluate_graph(graph, dict(zip(names, arrays, strict=True)))["outputs"]


def generator(*key: object) -> np.random.Generator:
    """Random numbers that depend on `key` alone."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


# --- which dtypes and attributes an entry takes -------------------------------------------------


def accepts(case: Case) -> bool:
    """Whether the type rule takes the case."""
    try:
        graph_of(case)
    except GradloomError:
        return False
    return True


def elementwise_dtypes(op: Op, dtype: dt.DType) -> tuple[dt.DType, ...]:
    """The dtypes of an element-wise op's operands at `dtype`."""
    rest = len(op.operands) - (op.dtypes == "where")
    return (*[dt.bool_] * (op.dtypes == "where"), *[dtype] * rest)


def attribute_choices(op: Op) -> list[dict[str, Any]]:
    """All attributes of an element-wise op."""
    choices = [ATTRIBUTES[name] for name in op.attributes]
    return [dict(zip(op.attributes, c, strict=True)) for c in itertools.product(*choices)]


def sampled_dtypes(op: Op, count: int, dtype: dt.DType) -> tuple[dt.DType, ...]:
    """Operands at `dtype`: those behind a word such as ``at`` are indices, those of generators
    keys."""
    if op.kind == "generator":
        return (dt.uint32,) * count
    plain = len(op.operands) - 1 if len(op.groups) > 1 else count
    return (*[dtype] * plain, *[dt.int64] * (count - plain))


def cases(op: Op, dtypes: Sequence[dt.DType] = DTYPES, shape: Any = (5, 3)) -> Iterator[Case]:
    """Every case of an entry, at each of `dtypes` that its type rule takes.

    An element-wise op's operands have `shape`; all others those of the entry's samples.
    """
    seen: set[str] = set()
    for dtype in dtypes:
        if op.kind == "elementwise":
            own = elementwise_dtypes(op, dtype)
            found = [Case(op, own, (shape,) * len(own), a) for a in attribute_choices(op)]
        else:
            found = [
                Case(op, sampled_dtypes(op, len(shapes), dtype), shapes, attrs)
                for shapes, attrs in op.samples
            ]
        for case in found:
            if str(case) not in seen and accepts(case):
                seen.add(str(case))
                yield case


# --- values ---------------------------------------------------------------------------------------


def edges(dtype: dt.DType) -> NumpyArray:
    """The values at which an implementation goes wrong first."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        values = [0, 1, 2, 3, 7, limits.max, limits.max - 1, limits.min, limits.min + 1]
        signed = [-1, -2, -3, -7] if dtype.kind == "i" else []
        return np.array([*values, *signed], dtype.numpy)
    limits = np.finfo(dtype.numpy)
    positive = [0.0, np.inf, 1.0, 0.5, 1.5, 2.0, 2.5, 3.0, 7.0, 1e-4, 40.0, 1e4, 2.0**31, 2.0**63]
    positive += [float(limits.max), float(limits.tiny), float(limits.smallest_subnormal), 1 / 3]
    return np.array([np.nan, *positive, *(-x for x in positive)], dtype.numpy)


def lowest_index(dtype: dt.DType) -> int:
    """The first index of an axis of SIZE entries."""
    return 0 if dtype.kind == "u" else -SIZE


def passing(op: Op, position: int, dtype: dt.DType) -> NumpyArray:
    """What that operand of an op with a check may be."""
    if op.dtypes == "where":
        return np.array([True]) if position == 0 else edges(dtype)
    return np.arange(lowest_index(dtype), SIZE, dtype=dtype.numpy)


def edge_arrays(case: Case, most: int = 4000) -> list[NumpyArray]:
    """Flat operands that hold every combination of edge values (a choice of so many), then
    random values."""
    rng = generator(str(case))
    if case.op.check:  # values that pass the check: indices, or a condition that holds
        values = [passing(case.op, i, dtype) for i, dtype in enumerate(case.dtypes)]
    else:
        values = [edges(dtype) for dtype in case.dtypes]
    grid = [axis.reshape(-1) for axis in np.meshgrid(*values, indexing="ij")]
    if grid[0].size > most:
        chosen = rng.choice(grid[0].size, most, replace=False)
        grid = [axis[chosen] for axis in grid]
    if case.op.check:
        return grid
    rest = [random_array(rng, dtype, (200,), 3.0) for dtype in case.dtypes]
    return [np.concatenate(pair) for pair in zip(grid, rest, strict=True)]


def random_array(
    rng: np.random.Generator, dtype: dt.DType, shape: Sequence[int], scale: float = 1.0
) -> NumpyArray:
    """Ordinary numbers of `dtype`."""
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.is_integer:
        low = 0 if dtype.kind == "u" else -50
        return np.asarray(rng.integers(low, 50, shape)).astype(dtype.numpy)
    return np.asarray(rng.normal(size=shape) * scale).astype(dtype.numpy)


def ordinary_arrays(case: Case, seed: int = 0, between: tuple[float, float] | None = None) -> Any:
    """Operands for one call: indices in range, floats `between` two bounds where given."""
    rng = generator(str(case), seed)
    op = case.op
    plain = len(op.operands) - 1 if len(op.groups) > 1 else len(case.shapes)
    arrays: list[NumpyArray] = []
    for i, (dtype, shape) in enumerate(zip(case.dtypes, case.shapes, strict=True)):
        if i >= plain:
            size = case.shapes[0][case.attrs["axes"][i - plain]]
            arrays.append(np.asarray(rng.integers(0, size, shape)))
        elif op.check and (i == 0 or op.dtypes != "where"):
            arrays.append(rng.choice(passing(op, i, dtype), shape))
        elif dtype.is_float and between is not None:
            arrays.append(np.asarray(rng.uniform(*between, shape)).astype(dtype.numpy))
        else:
            arrays.append(random_array(rng, dtype, shape))
    return prepared(op, arrays)


def prepared(op: Op, arrays: Sequence[NumpyArray]) -> list[NumpyArray]:
    """The operands with the structure that the op needs, in the dtypes that they had."""
    found = arrays if op.prepare is None else op.prepare(*arrays)
    return [np.asarray(a, b.dtype) for a, b in zip(found, arrays, strict=True)]


# --- what counts as equal -------------------------------------------------------------------------


def is_exact(op: Op) -> bool:
    """Whether results are chosen or moved, not rounded."""
    if op.kind in ("view", "gather", "generator", "concat"):
        return True
    if op.kind in ("reduction", "cumulative", "scatter"):
        return op.combine in ("maximum", "minimum", "last")
    return op.kind == "composite" and bool(op.linear) and op.combine != "add"


def assert_same(got: NumpyArray, wanted: NumpyArray, about: object) -> None:
    """The same shape, dtype and values; zeros of either sign are equal, and so are nans."""
    assert got.shape == wanted.shape, about
    assert got.dtype == wanted.dtype, about
    with np.errstate(invalid="ignore"):  # of a nan that signals
        bad = ~((got == wanted) | ((got != got) & (wanted != wanted)))
    assert not bad.any(), f"{about}: {got[bad][:4]} for {wanted[bad][:4]}"


def assert_close(got: NumpyArray, wanted: NumpyArray, allowed: Any, about: object) -> None:
    """Within `allowed` where finite; infinities and nans in the same places."""
    assert got.shape == wanted.shape, about
    assert got.dtype == wanted.dtype, about
    allowed = np.broadcast_to(allowed, wanted.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(got.astype(np.longdouble) - wanted.astype(np.longdouble))
    same = (got == wanted) | ((got != got) & (wanted != wanted))
    bad = ~(same | (np.isfinite(got) & np.isfinite(wanted) & (distance <= allowed)))
    if bad.any():
        first = np.argwhere(bad)[:4].tolist()
        raise AssertionError(
            f"{about}: {bad.sum()} values, at {first}: {got[bad][:4]} for {wanted[bad][:4]}, "
            f"allowed {allowed[bad][:4]}"
        )


def spacing(values: NumpyArray) -> Any:
    """One unit in the last place of each value."""
    below = np.nextafter(np.abs(np.where(np.isfinite(values), values, 0)), np.float32(0))
    return np.spacing(below).astype(np.longdouble)


def magnitude(op: Op, arrays: Sequence[NumpyArray], attrs: dict[str, Any]) -> Any:
    """What rounding is measured against where an op adds up products: their absolute sum."""
    absolute = [np.abs(array) if array.dtype.kind == "f" else array for array in arrays]
    return reference(op, absolute, attrs).astype(np.longdouble)


def allowance(
    op: Op, arrays: Sequence[NumpyArray], attrs: dict[str, Any], result: NumpyArray
) -> Any:
    """How far a result of other than element-wise ops may be from the reference."""
    if is_exact(op) or result.dtype.kind != "f":
        return 0.0
    rounding = float(np.finfo(result.dtype).eps)
    if op.linear or op.combine in ("add", "fma"):
        return 8 * rounding * magnitude(op, arrays, attrs)
    inputs = [float(np.max(np.abs(array))) for array in arrays if array.size]
    return 32 * rounding * np.maximum(np.abs(result), max([1.0, *inputs]))


def run(function: Function, arrays: Sequence[NumpyArray]) -> list[NumpyArray]:
    """The outputs as a list."""
    found = function(*arrays)
    return list(found) if len(function.graph.outputs) > 1 else [found]


# Between compiled code and the reference; what is one operation of the processor is exact.
ULPS = 4

# Sums of terms that may cancel: their rounding is measured against the operands.
SUMS = {"logaddexp"}


def assert_as_reference(
    case: Case, arrays: Sequence[NumpyArray], results: Sequence[NumpyArray]
) -> None:
    op = case.op
    for got, wanted in zip(results, references(op, arrays, case.attrs), strict=True):
        if op.kind != "elementwise":
            assert_close(got, wanted, allowance(op, arrays, case.attrs, wanted), case)
        elif wanted.dtype.kind != "f":
            assert_same(got, wanted, case)
        else:
            ulps = 0 if op.flops == 1 else ULPS
            unit = spacing(wanted)
            for array in arrays if op.name in SUMS else ():
                unit = np.maximum(unit, spacing(array))
            assert_close(got, wanted, ulps * unit, case)


def by_case(found: Sequence[Case], results: Sequence[NumpyArray]) -> list[list[NumpyArray]]:
    """The outputs of `graph_of(*found)`, those of each case together."""
    remaining = iter(results)
    return [[next(remaining) for _ in graph_of(case).outputs] for case in found]


def check_cuda_source(graph: Graph) -> None:
    """Every kernel of the graph has CUDA source that Python reads."""
    program = compile_graph(graph, Target("cuda")).program
    assert program is not None
    for kernel in program.kernels:
        (function,) = ast.parse(kernel.source).body
        assert isinstance(function, ast.FunctionDef)
        assert function.name == kernel.name


def close(got: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def slopes_of(graph: Graph, arrays: Sequence[NumpyArray], position: int) -> NumpyArray:
    """Central differences of a scalar graph by each entry of an operand."""
    found = np.zeros(arrays[position].shape)
    for place in np.ndindex(*found.shape):
        values: list[Any] = []
        for sign in (1, -1):
            moved = [array.copy() for array in arrays]
            moved[position][place] += sign * STEP
            values.append(interpret(graph, moved)[0])
        found[place] = (values[0] - values[1]) / (2 * STEP)
    return found
