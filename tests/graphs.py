"""Random graphs for property tests.

Nodes are drawn from a pool, so that values are shared, over shapes that broadcast, with sizes 0
and 1 and the named dimension B.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from gradloom.ir import dtypes as dt
from gradloom.ir import ops as gl
from gradloom.ir.dims import Dim, symbol
from gradloom.ir.graph import Graph
from gradloom.ir.interpret import evaluate_attribute
from gradloom.ir.op import TABLE
from gradloom.ir.ops.build import INPUT, apply, call_elementwise
from gradloom.ir.tensor import Node, Tensor

from .op_cases import Case, accepts, elementwise_dtypes, ordinary_arrays, sampled_dtypes

Pool = list[Tensor]
T = TypeVar("T")


class Dice(ABC):
    """Where a random graph's choices come from."""

    @abstractmethod
    def integer(self, low: int, high: int) -> int: ...  # both included

    def flag(self) -> bool:
        return self.integer(0, 1) == 1

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[self.integer(0, len(choices) - 1)]

    def some(self, choices: Sequence[T]) -> list[T]:
        """Any number of them."""
        return [choice for choice in choices if self.flag()]

    def shuffled(self, choices: Sequence[T]) -> list[T]:
        rest = list(choices)
        return [rest.pop(self.integer(0, len(rest) - 1)) for _ in choices]


class Drawn(Dice):
    """Choices that hypothesis makes, and makes simpler where a test fails."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.draw = draw

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))


class Seeded(Dice):
    """All choices alike, and the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def integer(self, low: int, high: int) -> int:
        return self.random.randint(low, high)


# Placed by other steps, or not at all.
_NOT_DRAWN = ("pin", "stop_gradient", "wrap_index", "checked", "cast")
_STEPS = ("floor", "ceil", "round", "trunc", "sign", "floor_divide", "remainder", "copysign")
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


def _pick(dice: Dice, pool: Pool) -> Tensor:
    return dice.one_of(pool)


def _pick_with(dice: Dice, pool: Pool, other: Tensor) -> Tensor:
    """A tensor that broadcasts with `other` for every size of B."""

    def fits(tensor: Tensor) -> bool:
        pairs = zip(tensor.shape[::-1], other.shape[::-1], strict=False)
        return all(a == b or a == 1 or b == 1 for a, b in pairs)

    return dice.one_of([tensor for tensor in pool if fits(tensor)])


def _unary(dice: Dice, pool: Pool, names: Sequence[str]) -> Tensor:
    return call_elementwise(TABLE[dice.one_of(names)], [_pick(dice, pool)])


def _binary(dice: Dice, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(dice, pool)
    y = dice.one_of(NUMBERS) if dice.flag() else _pick_with(dice, pool, x)
    operands = [x, y] if dice.flag() else [y, x]
    return call_elementwise(TABLE[dice.one_of(names)], operands)


def _choose(dice: Dice, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(dice, pool)
    y = _pick_with(dice, pool, x)
    condition = call_elementwise(TABLE[dice.one_of(COMPARISONS)], [x, y])
    if dice.flag():
        condition = condition & ~gl.isfinite(x) | (y > 0)
    return gl.where(condition, x, dice.one_of([y, 0, 1]))


def _fma(dice: Dice, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(dice, pool)
    y = _pick_with(dice, pool, x)
    return gl.fma(x, y, _pick_with(dice, pool, x * y))


def _reduce(dice: Dice, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(dice, pool)
    axes = dice.some(range(x.ndim))
    function = dice.one_of([gl.sum, gl.max, gl.min, gl.mean])
    return function(x, axis=tuple(axes), keepdims=dice.flag())


def _view(dice: Dice, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(dice, pool)
    if x.ndim > 3:
        return gl.reshape(x, (-1,)) if 0 not in x.shape else x
    kind = dice.one_of(["expand", "permute", "broadcast", "slice", "flat", "squeeze"])
    if kind == "expand" or x.ndim == 0:
        return gl.expand_dims(x, dice.integer(0, x.ndim))
    if kind == "permute":
        return gl.permute_dims(x, dice.shuffled(range(x.ndim)))
    if kind == "broadcast":
        return gl.broadcast_to(x, (dice.integer(0, 2), *x.shape))
    if kind == "flat":
        return gl.reshape(x, (x.size,))
    if kind == "squeeze":
        ones = [i for i, size in enumerate(x.shape) if size == 1]
        return gl.squeeze(x, ones)
    items = [slice(None)] * x.ndim
    axis = dice.integer(0, x.ndim - 1)
    items[axis] = dice.one_of([slice(None, None, -1), slice(None, None, 2)])
    return x[tuple(items)]


def _index(dice: Dice, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(dice, pool)
    if x.ndim == 0:
        return x
    axis: int = dice.integer(0, x.ndim - 1)
    size = x.shape[axis]
    if isinstance(size, Dim):
        return gl.take(x, gl.arange(size), axis=axis)
    if size == 0:
        return x
    values = [dice.integer(-size, size - 1) for _ in range(dice.integer(1, 3))]
    if dice.flag():
        return gl.take(x, gl.constant(values, "int64"), axis=axis)
    ones = [1] * x.ndim
    ones[axis] = len(values)
    return gl.take_along_axis(x, gl.reshape(gl.constant(values, "int64"), ones), axis=axis)


def _product(dice: Dice, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(dice, pool)
    return gl.matmul(x, gl.matrix_transpose(x)) if x.ndim >= 2 else x * x


def _named_formula(dice: Dice, pool: Pool, names: Sequence[str]) -> Tensor:
    x = _pick(dice, pool)
    if x.ndim == 0:
        return x
    function = dice.one_of([gl.softmax, gl.log_softmax, gl.logsumexp])
    return function(x, axis=dice.integer(0, x.ndim - 1))


def _naive(dice: Dice, pool: Pool, names: Sequence[str]) -> Tensor:
    """What users write, and rules look for."""
    x = _pick(dice, pool)
    y = _pick_with(dice, pool, x)
    axis = dice.integer(0, x.ndim - 1) if x.ndim else None
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
    return dice.one_of(ways)()


# --- any other entry of the table -----------------------------------------------------------------

_MADE_BY_PASSES = ("partial_", "pin", "after", "matmul_add")
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
    size = gl.dimension(x.size)
    place = gl.arange(count) % gl.maximum(size, 1)
    taken = Node(TABLE["gather"], [gl.reshape(x, (x.size,)), place], {"axes": (0,)}, (1, 1))
    return gl.reshape(gl.where(size > 0, taken.results[0], 0), shape)


def _entry(dice: Dice, pool: Pool, integers: Tensor) -> Tensor:
    """An entry that has samples, on numbers of the pool, or integers, made to fit one of them."""
    op = TABLE[dice.one_of(ENTRIES)]
    shapes, attrs = dice.one_of(op.samples)
    integer = dice.flag()
    for dtype in (dt.int64, pool[0].dtype) if integer else (pool[0].dtype, dt.int64):
        case = Case(op, sampled_dtypes(op, len(shapes), dtype), shapes, attrs)
        if accepts(case):
            break
    else:
        return _pick(dice, pool)
    arrays = ordinary_arrays(case, dice.integer(0, 3))
    plain = len(op.operands) - 1 if len(op.groups) > 1 else len(shapes)
    operands: list[Tensor] = []
    for i, (array, type_) in enumerate(zip(arrays, case.dtypes, strict=True)):
        if i < plain and type_ == pool[0].dtype:
            operands.append(_fit(_pick(dice, pool), shapes[i]))
        elif i < plain and type_ == dt.int64:
            operands.append(_fit(integers, shapes[i]))
        else:  # places, keys
            operands.append(gl.constant(array))
    groups = (plain, len(operands) - plain) if len(op.groups) > 1 else None
    result = dice.one_of(Node(op, operands, attrs, groups).results)
    return result if result.dtype.is_float else gl.astype(result, pool[0].dtype)


# --- the rest of the table, where a small change of a number stays one ----------------------------

_QUOTIENTS = ("floor_divide", "remainder", "copysign")
_ROUNDINGS = ("floor", "ceil", "round", "trunc", "sign", "signbit", "isnan", "isinf")
INTEGER_OPS = sorted(
    op.name
    for op in TABLE.values()
    if op.kind == "elementwise"
    and not op.check
    and not op.attributes
    and accepts(Case(op, elementwise_dtypes(op, dt.int64), ((2,),) * len(op.operands), {}))
)


def _where(dice: Dice, pool: Pool, exact: Pool) -> Tensor:
    """A choice by numbers that are exact."""
    left = _pick(dice, exact)
    operands = [left, _pick_with(dice, exact, left)]
    condition = call_elementwise(TABLE[dice.one_of(COMPARISONS)], operands)
    x = _pick_with(dice, pool, condition)
    return gl.where(condition, x, _pick_with(dice, pool, gl.where(condition, x, x)))


def _of_integers(dice: Dice, integers: Pool) -> Tensor:
    """An element-wise op on integers, which has no rounding."""
    op = TABLE[dice.one_of(INTEGER_OPS)]
    operands = [_pick(dice, integers) for _ in op.operands]
    if op.dtypes == "where":
        operands[0] = operands[0] > 1
    return gl.astype(call_elementwise(op, operands), dt.int64)


def _solved(dice: Dice, pool: Pool, _: Sequence[str]) -> Tensor:
    """What the host computes, of a matrix that is far from singular."""
    a = _fit(_pick(dice, pool), (3, 3))
    a = gl.clip(gl.where(gl.isfinite(a), a, 0.0), -1.0, 1.0)
    matrix = a @ a.T + gl.eye(3, dtype=a.dtype)
    ways: list[Callable[[], Tensor]] = [
        lambda: gl.linalg.inv(matrix),
        lambda: gl.linalg.cholesky(matrix),
        lambda: gl.linalg.det(matrix),
        lambda: gl.linalg.slogdet(matrix)[1],
        lambda: gl.solve(matrix, a),
    ]
    return dice.one_of(ways)()


def _looped(dice: Dice, pool: Pool, _: Sequence[str]) -> Tensor:
    """A scan over rows, one of its three results."""
    x = _fit(_pick(dice, pool), (4, 3))
    start = gl.sum(x, axis=0)
    step: Any = dice.one_of([gl.tanh, gl.cumulative_sum, gl.softmax])
    last, rows = gl.scan(lambda carry, row: (step(carry + row), carry * row), start, x)
    return dice.one_of([last, rows])


STEPS = (_unary, _binary, _choose, _fma, _reduce, _view, _index, _product, _named_formula, _naive)


@st.composite
def graphs(draw: Any, smooth: bool = False, most_nodes: int = 10) -> Graph:
    """A graph of one or two outputs; `smooth` leaves out ops that jump where rounding may."""
    dice = Drawn(draw)
    unary = [name for name in UNARY if not smooth or name not in _STEPS]
    binary = [name for name in BINARY if not smooth or name not in _STEPS]
    steps = [step for step in STEPS if not smooth or step is not _choose]
    inputs = _inputs(dice)
    pool: Pool = list(inputs)
    for _ in range(dice.integer(1, most_nodes)):
        step = dice.one_of(steps)
        pool.append(step(dice, pool, unary if step is _unary else binary))
    return _graph(dice, inputs, pool[len(inputs) :])


def _inputs(dice: Dice, dtype: dt.DType | None = None) -> Pool:
    dtype = dtype or dice.one_of([dt.float32, dt.float64])
    width = dice.one_of([0, 1, 3, 4])
    rows = dice.one_of([symbol("B"), 1, 3])
    shapes = [(rows, width), (width,), (rows, 1), ()]
    return [placeholder(f"x{i}", shape, dtype) for i, shape in enumerate(shapes)]


def _graph(dice: Dice, inputs: Pool, made: Pool) -> Graph:
    outputs = [made[-1], *([dice.one_of(made)] if dice.flag() else [])]
    return Graph("drawn", inputs, outputs)


def graph_of_seed(seed: int, dtype: dt.DType | None = None) -> Graph:
    """A graph over the whole table; what jumps where rounding may is drawn on exact numbers.

    dtype: of its floats; without one, float32 or float64.
    """
    dice = Seeded(seed)
    inputs = _inputs(dice, dtype)
    bits = placeholder("n", (5, inputs[0].shape[0]), dt.int64)
    pool, exact, integers = list(inputs), list(inputs), [bits * 5 - 2]
    unary = [name for name in UNARY if name not in _STEPS]
    binary = [name for name in BINARY if name not in _STEPS]
    plain = [step for step in (*STEPS, _solved, _looped) if step not in (_unary, _choose)]
    for _ in range(dice.integer(3, 14)):
        match dice.integer(0, 10):
            case 0:
                made = _unary(dice, exact, _ROUNDINGS)
            case 1:
                made = _binary(dice, exact, _QUOTIENTS)
            case 2:
                made = _where(dice, pool, exact)
            case 3:
                integers.append(_of_integers(dice, integers))
                made = gl.astype(integers[-1], pool[0].dtype)
            case 4:
                made = _unary(dice, pool, unary)
            case 5:
                made = _binary(dice, pool, binary)
            case 6 | 7 | 8:
                made = _entry(dice, pool, integers[0])
            case _:
                made = dice.one_of(plain)(dice, pool, binary)
        pool.append(made if made.dtype.is_float else gl.astype(made, pool[0].dtype))
    return _graph(dice, [*inputs, bits], pool[len(inputs) :])


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
