"""Random graphs for property tests, and an interpreter with more digits to judge them by.

Nodes are drawn from a pool, so that values are shared, over shapes that broadcast, with sizes 0
and 1 and the named dimension B.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradloom.ir import dtypes as dt
from gradloom.ir import ops as gl
from gradloom.ir.dims import Dim, symbol
from gradloom.ir.graph import Graph
from gradloom.ir.interpret import bind_dims, evaluate_attribute
from gradloom.ir.op import TABLE
from gradloom.ir.ops.build import INPUT, apply, call_elementwise
from gradloom.ir.tensor import Node, Tensor

from .op_cases import Case, accepts, ordinary_arrays, sampled_dtypes

Draw = Callable[[Any], Any]
Pool = list[Tensor]

_NOT_DRAWN = ("pin", "stop_gradient", "wrap_index", "cast")  # placed by other steps, or not at all
_STEPS = ("floor", "ceil", "round", "trunc", "sign", "floor_divide", "remainder")
_FLOAT_RULES = ("any", "numeric", "floating")


def _names(arity: int) -> list[str]:
    return sorted(
        name
        for name, op in TABLE.items()
        if op.kind == "elementwise"
        and len(op.operands) == arity
        and op.dtypes in _FLOAT_RULES
        and name not in _NOT_DRAWN
    )


UNARY, BINARY = _names(1), _names(2)
COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
NUMBERS = (0, 1, -1, 2, 3, 0.5, -2.0, 4)


def placeholder(name: str, shape: Sequence[int | Dim], dtype: dt.DType = dt.float32) -> Tensor:
    """An input."""
    return apply(INPUT, (), name=name, dtype=dtype, shape=tuple(shape))


def _pick(draw: Draw, pool: Pool) -> Tensor:
    return draw(st.sampled_from(pool))


def _pick_with(draw: Draw, pool: Pool, other: Tensor) -> Tensor:
    """A tensor that broadcasts with `other` for every size of B."""

    def fits(tensor: Tensor) -> bool:
        pairs = zip(tensor.shape[::-1], other.shape[::-1], strict=False)
        return all(a == b or a == 1 or b == 1 for a, b in pairs)

    return draw(st.sampled_from([tensor for tensor in pool if fits(tensor)]))


def _unary(draw: Draw, pool: Pool, names: Sequence[str]) -> Tensor:
    return call_elementwise(TABLE[draw(st.sampled_from(names))], [_pick(draw, pool)])


def _binary(draw: Draw, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(draw, pool)
    y = draw(st.sampled_from(NUMBERS)) if draw(st.booleans()) else _pick_with(draw, pool, x)
    operands = [x, y] if draw(st.booleans()) else [y, x]
    return call_elementwise(TABLE[draw(st.sampled_from(names))], operands)


def _choose(draw: Draw, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(draw, pool)
    y = _pick_with(draw, pool, x)
    condition = call_elementwise(TABLE[draw(st.sampled_from(COMPARISONS))], [x, y])
    if draw(st.booleans()):
        condition = condition & ~gl.isfinite(x) | (y > 0)
    return gl.where(condition, x, draw(st.sampled_from([y, 0, 1])))


def _fma(draw: Draw, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(draw, pool)
    y = _pick_with(draw, pool, x)
    return gl.fma(x, y, _pick_with(draw, pool, x * y))


def _reduce(draw: Draw, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(draw, pool)
    axes = draw(st.sets(st.integers(0, x.ndim - 1))) if x.ndim else set[int]()
    function = draw(st.sampled_from([gl.sum, gl.max, gl.min, gl.mean]))
    return function(x, axis=tuple(sorted(axes)), keepdims=draw(st.booleans()))


def _view(draw: Draw, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(draw, pool)
    if x.ndim > 3:
        return gl.reshape(x, (-1,)) if 0 not in x.shape else x
    kind = draw(st.sampled_from(["expand", "permute", "broadcast", "slice", "flat", "squeeze"]))
    if kind == "expand" or x.ndim == 0:
        return gl.expand_dims(x, draw(st.integers(0, x.ndim)))
    if kind == "permute":
        return gl.permute_dims(x, draw(st.permutations(range(x.ndim))))
    if kind == "broadcast":
        return gl.broadcast_to(x, (draw(st.integers(0, 2)), *x.shape))
    if kind == "flat":
        return gl.reshape(x, (x.size,))
    if kind == "squeeze":
        ones = [i for i, size in enumerate(x.shape) if size == 1]
        return gl.squeeze(x, ones)
    items = [slice(None)] * x.ndim
    axis = draw(st.integers(0, x.ndim - 1))
    items[axis] = draw(st.sampled_from([slice(None, None, -1), slice(None, None, 2)]))
    return x[tuple(items)]


def _index(draw: Draw, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(draw, pool)
    if x.ndim == 0:
        return x
    axis: int = draw(st.integers(0, x.ndim - 1))
    size = x.shape[axis]
    if isinstance(size, Dim):
        return gl.take(x, gl.arange(size), axis=axis)
    if size == 0:
        return x
    values = draw(st.lists(st.integers(-size, size - 1), min_size=1, max_size=3))
    if draw(st.booleans()):
        return gl.take(x, gl.constant(values, "int64"), axis=axis)
    ones = [1] * x.ndim
    ones[axis] = len(values)
    return gl.take_along_axis(x, gl.reshape(gl.constant(values, "int64"), ones), axis=axis)


def _product(draw: Draw, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(draw, pool)
    return gl.matmul(x, gl.matrix_transpose(x)) if x.ndim >= 2 else x * x


def _named_formula(draw: Draw, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(draw, pool)
    if x.ndim == 0:
        return x
    function = draw(st.sampled_from([gl.softmax, gl.log_softmax, gl.logsumexp]))
    return function(x, axis=draw(st.integers(0, x.ndim - 1)))


def _naive(draw: Draw, pool: Pool, names: Sequence[str]) -> Tensor:
    """What users write, and rules look for."""
    x = _pick(draw, pool)
    y = _pick_with(draw, pool, x)
    axis = draw(st.integers(0, x.ndim - 1)) if x.ndim else None
    e = gl.exp(x)
    ways: list[Callable[[], Tensor]] = [
        lambda: e / gl.sum(e, axis=axis, keepdims=True),
        lambda: gl.log(gl.sum(e, axis=axis)),
        lambda: gl.log(1 + e),
        lambda: 1 / (1 + gl.exp(-x)),
        lambda: 1 - gl.sigmoid(x),
        lambda: gl.log(gl.sigmoid(x)),
        lambda: gl.log(e / (1 + gl.exp(y))),
        lambda: e - 1,
        lambda: -x * -y,
        lambda: x + -y,
        lambda: gl.sqrt(x * x),
        lambda: gl.square(x) ** 0.5,
        lambda: (x * 1 + 0) / 4,
        lambda: gl.zeros_like(x) + 1.0,
    ]
    return draw(st.sampled_from(ways))()


# --- any other entry of the table -----------------------------------------------------------------

_MADE_BY_PASSES = ("partial_", "pin")
ENTRIES = sorted(
    op.name
    for op in TABLE.values()
    if op.samples and op.kind != "host" and not op.name.startswith(_MADE_BY_PASSES)
)


def _fit(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The numbers of `x`, over and over, in another shape; 0 where it has none."""
    if x.shape == shape:
        return x
    count = int(np.prod(shape, dtype=np.int64))
    place = gl.arange(count) % gl.maximum(gl.dimension(x.size), 1)
    taken = Node(TABLE["gather"], [gl.reshape(x, (x.size,)), place], {"axes": (0,)}, (1, 1))
    return gl.reshape(taken.results[0], shape)


def _entry(draw: Draw, pool: Pool, integers: Tensor) -> Tensor:
    """An entry that has samples, on numbers of the pool, or integers, made to fit one of them."""
    op = TABLE[draw(st.sampled_from(ENTRIES))]
    shapes, attrs = draw(st.sampled_from(op.samples))
    integer = draw(st.booleans())
    for dtype in (dt.int64, pool[0].dtype) if integer else (pool[0].dtype, dt.int64):
        case = Case(op, sampled_dtypes(op, len(shapes), dtype), shapes, attrs)
        if accepts(case):
            break
    else:
        return _pick(draw, pool)
    arrays = ordinary_arrays(case, draw(st.integers(0, 3)))
    plain = len(op.operands) - 1 if len(op.groups) > 1 else len(shapes)
    operands: list[Tensor] = []
    for i, (array, type_) in enumerate(zip(arrays, case.dtypes, strict=True)):
        if i < plain and type_ == pool[0].dtype:
            operands.append(_fit(_pick(draw, pool), shapes[i]))
        elif i < plain and type_ == dt.int64:
            operands.append(_fit(integers, shapes[i]))
        else:  # places, keys
            operands.append(gl.constant(array))
    groups = (plain, len(operands) - plain) if len(op.groups) > 1 else None
    result = draw(st.sampled_from(Node(op, operands, attrs, groups).results))
    return result if result.dtype.is_float else gl.astype(result, pool[0].dtype)


STEPS = (_unary, _binary, _choose, _fma, _reduce, _view, _index, _product, _named_formula, _naive)


@st.composite
def graphs(draw: Draw, smooth: bool = False, most_nodes: int = 10, entries: bool = False) -> Graph:
    """A graph of one or two outputs.

    smooth: leave out ops that jump where rounding may.  entries: draw from the whole table.
    """
    dtype = draw(st.sampled_from([dt.float32, dt.float64]))
    width = draw(st.sampled_from([0, 1, 3, 4]))
    rows = draw(st.sampled_from([symbol("B"), 1, 3]))
    shapes = [(rows, width), (width,), (rows, 1), ()]
    inputs = [placeholder(f"x{i}", shape, dtype) for i, shape in enumerate(shapes)]
    pool: Pool = list(inputs)
    zeros_and_ones = placeholder("n", (5, rows), dt.int64)
    integers = zeros_and_ones * 5 - 2
    unary = [name for name in UNARY if not smooth or name not in _STEPS]
    binary = [name for name in BINARY if not smooth or name not in _STEPS]
    steps = [step for step in STEPS if not smooth or step is not _choose]
    for _ in range(draw(st.integers(3 if entries else 1, most_nodes))):
        if entries and draw(st.booleans()):
            pool.append(_entry(draw, pool, integers))
            continue
        step = draw(st.sampled_from(steps))
        pool.append(step(draw, pool, unary if step is _unary else binary))
    made = pool[len(inputs) :]
    inputs += [zeros_and_ones] if entries else []
    outputs = [made[-1], *draw(st.lists(st.sampled_from(made), max_size=1))]
    return Graph("drawn", inputs, outputs)


def feeds_of(graph: Graph, seed: int, batch: int, scale: float = 2.0) -> dict[str, Any]:
    """Arrays for the inputs and parameters: floats around 0, integers 0 and 1."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, Any] = {}
    for leaf in (*graph.inputs, *graph.parameters):
        shape = tuple(evaluate_attribute(leaf.shape, {"B": batch}))
        values = rng.normal(size=shape) * scale
        if not leaf.dtype.is_float:
            values = rng.integers(0, 2, shape)
        feeds[graph.names[leaf]] = values.astype(leaf.dtype.numpy)
    return feeds


def evaluate_precisely(graph: Graph, feeds: Mapping[str, Any]) -> list[Any]:
    """The outputs with every float as NumPy's longdouble (64 bits of fraction where it has them).

    What it and a computation in the graph's own dtype disagree about is rounding.
    """
    leaves = (*graph.inputs, *graph.parameters)
    names = [graph.names[leaf] for leaf in leaves]
    arrays = [
        np.asarray(feeds[name], leaf.dtype.numpy) for name, leaf in zip(names, leaves, strict=True)
    ]
    types = [leaf.type for leaf in leaves]
    binding = bind_dims(types, [array.shape for array in arrays], names)

    def wide(array: Any) -> Any:
        array = np.asarray(array)
        return array.astype(np.longdouble) if array.dtype.kind == "f" else array

    values: dict[Tensor, Any] = {leaf: wide(a) for leaf, a in zip(leaves, arrays, strict=True)}
    for node in graph.nodes:
        attrs = {key: evaluate_attribute(value, binding) for key, value in node.attrs.items()}
        operands = [values[operand] for operand in node.operands]
        with np.errstate(all="ignore"):
            if node.op.name == "fma":
                result = operands[0] * operands[1] + operands[2]
            elif node.op.name == "cast" and node.attrs["dtype"].is_float:
                result = operands[0].astype(np.longdouble)
            else:
                result = node.op.reference(*operands, **attrs)
        several: Sequence[Any] = [result] if len(node.results) == 1 else result
        values |= {t: wide(r) for t, r in zip(node.results, several, strict=True)}
    return [values[output] for output in graph.outputs]
