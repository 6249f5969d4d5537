"""Every rule of the tables, on a graph made from its own left side.

Where the left side is finite in its own dtype, the right side must be as near to the exact value
(of the left side, with more digits) as the left side is, or within rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradloom.compiler.beyond_formulas import is_number
from gradloom.compiler.differentiate import differentiate
from gradloom.compiler.lengths import two_vectors
from gradloom.compiler.pattern import Apply, Number, Pattern, Selection, Variable
from gradloom.compiler.rewrite import Rule, rewrite
from gradloom.compiler.rules import SIMPLIFY, STABILISE
from gradloom.ir import dtypes as dt
from gradloom.ir import ops as gl
from gradloom.ir.errors import GradloomError
from gradloom.ir.graph import Graph
from gradloom.ir.interpret import evaluate_graph
from gradloom.ir.ops.build import call_elementwise
from gradloom.ir.ops.request import gradient
from gradloom.ir.tensor import Node, Tensor
from gradloom.ir.text import parse
from gradloom.ir.verify import verify

from .graphs import placeholder
from .rule_examples import EXAMPLES as DIFFERENCES
from .rule_judge import assert_as_exact, feeds_of_size

ROWS = 160
FORMULAS = [rule for rule in (*STABILISE, *SIMPLIFY) if rule.code is None]
CODED = [rule for rule in (*STABILISE, *SIMPLIFY) if rule.code is not None]
EXTREME = [
    *(0.0, -0.0, 1e-40, -1e-30, 1e-12, 1e-4, -1e-4, 0.5, 1.0, -1.0, 3.0, -3.0, 17.0, -17.0, 40.0),
    *(-40.0, 87.0, -87.0, 88.9, -104.0, 300.0, -300.0, 1e4, -1e4, 1e19, -1e19, 1e30, -1e38),
    *(np.inf, -np.inf, np.nan),
]
MODERATE = [
    0.0,
    1e-5,
    -1e-3,
    0.1,
    1.0,
    -1.0,
    3.0,
    10.0,
    -10.0,
    30.0,
    100.0,
    -300.0,
    300.0,
    1e3,
    6e4,
]
SMALL = [value for value in MODERATE if abs(value) <= 10]
LARGE = [*MODERATE, 1e-30, -1e-12, 1e10, -1e19, 1e19, 1e30]
# Where a large term swallows the others, in `evaluate_precisely` too.
OF_SUMS = (
    "logsumexp(x, a) - x[i] -> -log_softmax(x, a)[i]",
    "x + y + z -> (x + z) + y",
    "exp_difference(y + c, y) -> exp(y) * expm1(c)",
    "f(x) - f(y) -> g(x, y)",
)

SHAPE = (ROWS, 4)
ATTRIBUTES: dict[str, Any] = {"a": (1,), "s": (4, ROWS), "t": (2, 2, ROWS)}
OWN_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "reshape(x, s) -> x": {"s": SHAPE},
    "broadcast_to(x, s) -> x": {"s": SHAPE},
    "cast(cast(x, d), e) -> x": {"d": dt.float64},
    "broadcast_to(broadcast_to(x, s), t) -> broadcast_to(x, t)": {"s": SHAPE, "t": (2, *SHAPE)},
}
# Where a row is summed: beyond 1e4 even the exact value would need more digits than there are, and
# one +inf makes a row nan on either side in its own way.  -inf, the usual mask, must work.
IN_A_ROW = [value for value in EXTREME if np.abs(value) <= 1e4 or value == -np.inf]
BUT_NOT_AT = {
    "x ** -0.5 -> rsqrt(x)": -np.inf,
    "exp(x) ** y -> exp(gated_multiply(x, y))": -np.inf,
    **{rule.formula: -np.inf for rule in FORMULAS if "sign(1 - x)" in rule.formula},
}
INTEGER = ("x * 0 -> 0", "x - x -> 0")
# Variables that a rule's condition wants to be a number.
# Rules about casts to halves and from them: of what, and to what.
HALVES = {
    "cast(square(x), d) -> square(cast(x, d))": (dt.float16, dt.float32),
    "square(cast(x, d)) -> cast(square(x), d)": (dt.float32, dt.float16),
    "sqrt(cast(x, d)) -> cast(sqrt(x), d)": (dt.float32, dt.float16),
    "cast(x, d) - cast(y, d) -> cast(x - y, d)": (dt.float32, dt.float16),
}
NUMBERS = {
    "x / (y + z) -> x * (sigmoid(log(y) - log(z)) / y)": {"y": 2.0},
    "y / (y + x) -> sigmoid(log(y) - log(x))": {"y": 2.0},
    "exp(x) / (exp(x) + y) -> sigmoid(x - log(y))": {"y": 2.0},
    "x ** y -> exp(y * log(x))": {"y": 0.3},
    "log(x ** y) -> y * log(abs(x))": {"y": 4.0},
    "log(y * sinh(x)) -> log(y) + log(sinh(x))": {"y": 2.0},
    "y ** x - 1 -> expm1(x * log(y))": {"y": 2.0},
    "1 - y ** x -> -expm1(x * log(y))": {"y": 2.0},
    "log(y ** x) -> x * log(y)": {"y": 2.0},
    "log((y + x) / (y - x)) -> 2 * atanh(x / y)": {"y": 2.0},
    "log((y - x) / (y + x)) -> -2 * atanh(x / y)": {"y": 2.0},
    "log1p(square(x) / y) -> log1p_square(x / sqrt(y))": {"y": 2.0},
    "1 - cosine(x, y) -> where(less(0, x), "
    "square(cosine(y, x)) / (1 + cosine(x, y)), 1 + cosine(-x, y))": {"y": 2.0},
    "log1p(y * square(x)) -> log1p_square(sqrt(y) * x)": {"y": 0.5},
    "log1p(y * (x * x)) -> log1p_square(sqrt(y) * x)": {"y": 0.5},
}


def _identity(tensor: Tensor) -> Tensor:
    return tensor


def _selected(tensor: Tensor) -> Tensor:
    """A view and a gather: every row's entry 1, say, as a vector."""
    if tensor.shape[1] == 1:
        return gl.reshape(tensor, (-1,))
    return gl.take_along_axis(tensor[::-1], gl.constant([[1]], "int64"), axis=1)[:, 0]


def spell(
    pattern: Pattern, leaves: dict[str, Tensor], attributes: dict[str, Any], view: Any
) -> Any:
    """The graph that a left side describes."""
    match pattern:
        case Variable(name=name):
            return leaves[name]
        case Number(value=value):
            return value
        case Selection(inner=inner):
            return view(spell(inner, leaves, attributes, view))
        case Apply(op=op):
            operands = [spell(operand, leaves, attributes, view) for operand in pattern.operands]
            attrs = {key: attributes[name] for key, name in pattern.attributes}
            if "axis" in attrs:
                (attrs["axis"],) = attrs["axis"]
            if op.kind == "elementwise":
                return call_elementwise(op, operands, **attrs)
            like = next(operand for operand in operands if isinstance(operand, Tensor))
            tensors = [
                operand
                if isinstance(operand, Tensor)
                else gl.broadcast_to(gl.constant(operand, like.dtype), like.shape)
                for operand in operands
            ]
            return Node(op, tensors, attrs).results[0]


def _conditions(pattern: Pattern) -> set[str]:
    """Variables that stand for a bool."""
    if not isinstance(pattern, Apply):
        return set()
    found = {name for operand in pattern.operands for name in _conditions(operand)}
    first = pattern.operands[0]
    return found | (
        {first.name} if pattern.op.name == "where" and isinstance(first, Variable) else set()
    )


def _variables(pattern: Pattern) -> set[str]:
    match pattern:
        case Variable(name=name):
            return {name}
        case Selection(inner=inner):
            return _variables(inner)
        case Apply(operands=operands):
            return {name for operand in operands for name in _variables(operand)}
        case _:
            return set()


def left_of(rule: Rule, dtype: dt.DType, view: Any = _identity) -> Graph:
    """A graph with the rule's left side as its output."""
    conditions = _conditions(rule.left)
    dtype, target = HALVES.get(rule.formula, (dtype, dtype))
    leaves: dict[str, Tensor] = {}
    given = NUMBERS.get(rule.formula, {})
    for name in sorted(_variables(rule.left) - given.keys()):
        beside = "/ y" in rule.formula or "stop_gradient(y), a" in rule.formula
        shape = (SHAPE[0], 1) if name == "y" and beside else SHAPE
        leaves[name] = placeholder(name, shape, dt.bool_ if name in conditions else dtype)
    attributes = {**ATTRIBUTES, "d": target, "e": dtype, **OWN_ATTRIBUTES.get(rule.formula, {})}
    logs = {name: gl.exp(leaf) for name, leaf in leaves.items() if name in rule.logs}
    numbers = {name: gl.constant(value, dtype) for name, value in given.items()}
    spelled = spell(rule.left, {**leaves, **logs, **numbers}, attributes, view)
    return Graph("left", list(leaves.values()), [spelled])


def _loses_digits(rule: Rule) -> bool:
    """Whether the left side has steps that even `evaluate_precisely` rounds too coarsely."""
    parts = (
        ", a)",
        "logaddexp(x, y)",
        "exp(x) ** y",
        "sign(1 - x)",
        "y * exp(x)",
        "x * sigmoid(y)",
    )
    return any(part in rule.formula for part in parts)


def feeds_for(graph: Graph, rule: Rule, seed: int, kind: str) -> dict[str, Any]:
    rng: Any = np.random.default_rng(seed)
    feeds: dict[str, Any] = {}
    for leaf in graph.inputs:
        shape: Any = leaf.shape
        values: Any = rng.normal(size=shape) * 3
        if kind == "positive":
            values = np.abs(values) + 0.1
            if "sign(1 - x)" in rule.formula:  # beyond 1 there is no value
                values = values % 1
        elif kind == "extreme":
            values = rng.choice(IN_A_ROW if _loses_digits(rule) else EXTREME, shape)
        if not leaf.dtype.is_float:
            values = rng.integers(0, 2 if leaf.dtype.kind == "b" else 100, shape)
        with np.errstate(over="ignore"):
            values = np.asarray(values).astype(leaf.dtype.numpy)
        if kind == "extreme":
            values[values == BUT_NOT_AT.get(rule.formula)] = 1
        feeds[graph.names[leaf]] = values
    return feeds


@pytest.mark.parametrize("rule", FORMULAS, ids=lambda rule: rule.formula)
@pytest.mark.parametrize("dtype", [dt.float16, dt.float32, dt.float64], ids=str)
def test_formula(rule: Rule, dtype: dt.DType):
    if dtype is dt.float16 and rule.condition in (is_number, two_vectors):
        pytest.skip("it leaves halves alone")
    if dtype is dt.float16 and rule.formula in (*INTEGER, "cast(cast(x, d), e) -> x"):
        pytest.skip("float64 does not go into a half, nor are halves integers")
    if rule.formula in INTEGER:
        dtype = dt.int32 if dtype is dt.float32 else dt.int64
    views = [_identity, _selected] if "view" in rule.formula else [_identity]
    for view in views:
        before = left_of(rule, dtype, view)
        after, reports = rewrite(before, [rule])
        assert reports, f"{rule} does not fire on its own left side:\n{before}"
        verify(after)
        assert [t.type for t in after.outputs] == [t.type for t in before.outputs]
        assert rewrite(after, [rule])[0] == after
        for seed, kind in enumerate(["normal", "positive", "extreme", "extreme"]):
            assert_as_exact(before, after, feeds_for(before, rule, seed, kind))


@pytest.mark.parametrize("rule", FORMULAS, ids=lambda rule: rule.formula)
def test_formula_keeps_derivatives(rule: Rule):
    if rule.forgets or rule.formula in (*INTEGER, *HALVES):
        pytest.skip("waits until derivatives are taken, or is about halves")
    before = left_of(rule, dt.float64)
    after, _ = rewrite(before, [rule])
    feeds = feeds_for(before, rule, 7, "positive")
    slopes: list[list[Any]] = []
    for graph in (before, after):
        wrt = [leaf for leaf in graph.inputs if leaf.dtype.is_float]
        weight = gl.cos(
            gl.reshape(
                gl.astype(gl.arange(graph.outputs[0].size), "float64"), graph.outputs[0].shape
            )
        )
        found = gradient([gl.sum(graph.outputs[0] * weight)], wrt)
        slopes.append(evaluate_graph(differentiate(graph.replace(list(found))), feeds)["outputs"])
    for left, right in zip(*slopes, strict=True):
        np.testing.assert_allclose(right[np.isfinite(left)], left[np.isfinite(left)], 1e-9, 1e-12)


@pytest.mark.parametrize("dtype", [dt.int8, dt.uint8], ids=str)
def test_formulas_hold_for_integers_that_wrap(dtype: dt.DType):
    limits = np.iinfo(dtype.numpy)
    fired: set[str] = set()
    for rule in FORMULAS:
        if rule.formula in HALVES:
            continue
        try:
            before = left_of(rule, dtype)
        except GradloomError:  # a formula of floats alone
            continue
        after, reports = rewrite(before, [rule])
        if not reports:
            continue
        fired.add(rule.formula)
        rng = np.random.default_rng(3)
        feeds = {
            before.names[leaf]: rng.integers(0, 2, leaf.shape).astype(bool)
            if leaf.dtype == dt.bool_
            else rng.integers(limits.min, limits.max, leaf.shape, dtype.numpy, endpoint=True)
            for leaf in before.inputs
        }
        (left,), (right,) = (evaluate_graph(graph, feeds)["outputs"] for graph in (before, after))
        np.testing.assert_array_equal(right, left, rule.formula)
    assert {"x * 0 -> 0", "-x * y -> -(x * y)", "x ** 3 -> x * square(x)"} <= fired
    assert ("abs(-x) -> abs(x)" in fired) == (dtype.kind == "i")


# Rules that need code cannot be spelled from their formula: graphs on which each fires.
EXAMPLES: dict[str, list[str]] = {
    **DIFFERENCES,
    "gated_multiply(x, y) -> x * y": [
        """graph @g(%x: f32[3]) {
          %0 = constant {value=2.0} : f32[]
          %1 = gated_multiply %0, %x : f32[3]
          return %1 }""",
        """graph @g(%x: f32[B]) {
          %0 = constant {value=1.0} : f32[]
          %1 = dimension {size=B, dtype=f32} : f32[]
          %2 = divide %0, %1 : f32[]
          %3 = negative %2 : f32[]
          %4 = gated_divide %3, %x : f32[B]
          return %4 }""",
        """graph @g(%x: f32[3]) {
          %0 = constant {value=-3.0} : f32[]
          %1 = gated_divide %x, %0 : f32[3]
          return %1 }""",
    ],
    "f(broadcast_to(x), y) -> f(x, y)": [
        """graph @g(%x: f32[B,1], %y: f32[B,4]) {
          %0 = broadcast_to %x {shape=(B, 4)} : f32[B,4]
          %1 = add %0, %y : f32[B,4]
          return %1 }""",
        """graph @g(%x: f32[4]) {
          %0 = broadcast_to %x {shape=(B, 4)} : f32[B,4]
          %1 = exp %0 : f32[B,4]
          return %1 }""",
        """graph @g(%x: f32[1,4], %y: f32[3,4]) {
          %0 = reshape %x {shape=(4,)} : f32[4]
          %1 = subtract %y, %0 : f32[3,4]
          return %1 }""",
    ],
    "f(reshape(x), reshape(y)) -> reshape(f(x, y))": [
        """graph @g(%x: f32[B,1], %y: f32[B,1]) {
          %0 = reshape %x {shape=(B,)} : f32[B]
          %1 = reshape %y {shape=(B,)} : f32[B]
          %2 = add %0, %1 : f32[B]
          return %2 }""",
        """graph @g(%x: f32[1,1], %y: f32[]) {
          %0 = reshape %x {shape=()} : f32[]
          %1 = divide %0, %y : f32[]
          return %1 }""",
        """graph @g(%x: f32[B,1,4], %y: f32[B,1,1]) {
          %0 = reshape %x {shape=(B, 4)} : f32[B,4]
          %1 = reshape %y {shape=(B, 1)} : f32[B,1]
          %2 = divide %0, %1 : f32[B,4]
          return %2 }""",
    ],
    "matmul(broadcast_to(x), y) -> matmul(x, y)": [
        """graph @g(%x: f32[B,1,3], %y: f32[3,4]) {
          %0 = broadcast_to %y {shape=(B, 3, 4)} : f32[B,3,4]
          %1 = matmul %x, %0 : f32[B,1,4]
          return %1 }""",
    ],
    "f(permute(x), permute(y)) -> permute(f(x, y))": [
        """graph @g(%x: f32[B,4], %y: f32[B,1], %z: f32[]) {
          %0 = permute %x {axes=(1, 0)} : f32[4,B]
          %1 = reshape %y {shape=(B,)} : f32[B]
          %2 = fma %0, %1, %z : f32[4,B]
          return %2 }""",
        """graph @g(%x: f32[B,4,3], %y: f32[B,4,3]) {
          %0 = permute %x {axes=(2, 0, 1)} : f32[3,B,4]
          %1 = permute %y {axes=(2, 0, 1)} : f32[3,B,4]
          %2 = subtract %0, %1 : f32[3,B,4]
          return %2 }""",
    ],
    "reduce(permute(x)) -> permute(reduce(x))": [
        """graph @g(%x: f32[B,4,3]) {
          %0 = permute %x {axes=(2, 0, 1)} : f32[3,B,4]
          %1 = max %0 {axes=(0, 1)} : f32[1,1,4]
          return %1 }""",
    ],
    "reduce(x) over axes of size 1 -> x": [
        "graph @g(%x: f32[B,1]) { %0 = sum %x {axes=(1,)} : f32[B,1]\n return %0 }",
        "graph @g(%x: f32[3,1]) { %0 = max %x {axes=(0, 1)} : f32[1,1]\n return %0 }",
    ],
    "reduce(reshape(x)) -> reshape(reduce(x))": [
        """graph @g(%x: f32[1,3,1,4]) {
          %0 = reshape %x {shape=(3, 1, 4)} : f32[3,1,4]
          %1 = sum %0 {axes=(2,)} : f32[3,1,1]
          return %1 }""",
    ],
    "permute(permute(x)) -> permute(x)": [
        """graph @g(%x: f32[2,3,4]) {
          %0 = permute %x {axes=(2, 0, 1)} : f32[4,2,3]
          %1 = permute %0 {axes=(0, 2, 1)} : f32[4,3,2]
          return %1 }""",
        "graph @g(%x: f32[2,3]) { %0 = permute %x {axes=(0, 1)} : f32[2,3]\n return %0 }",
        "graph @g(%x: f32[B,1]) { %0 = permute %x {axes=(1, 0)} : f32[1,B]\n return %0 }",
    ],
    "slice(slice(x)) -> slice(x)": [
        """graph @g(%x: f32[20,3]) {
          %0 = slice %x {starts=(1, 0), sizes=(6, 3), steps=(3, 1)} : f32[6,3]
          %1 = slice %0 {starts=(5, 0), sizes=(3, 3), steps=(-2, 1)} : f32[3,3]
          return %1 }""",
        """graph @g(%x: f32[B]) {
          %0 = slice %x {starts=(0,), sizes=(B,), steps=(1,)} : f32[B]
          return %0 }""",
    ],
    "view(broadcast_to(scalar)) -> broadcast_to(scalar)": [
        """graph @g(%x: f32[]) {
          %0 = broadcast_to %x {shape=(B, 4)} : f32[B,4]
          %1 = permute %0 {axes=(1, 0)} : f32[4,B]
          return %1 }""",
    ],
    "x / 2**k -> x * 2**-k": [
        """graph @g(%x: f32[3]) {
          %0 = constant {value=8.0} : f32[]
          %1 = divide %x, %0 : f32[3]
          return %1 }""",
    ],
    "log(number) -> number": [
        """graph @g(%x: f32[3]) {
          %0 = constant {value=3.0} : f32[]
          %1 = log %0 : f32[]
          %2 = add %x, %1 : f32[3]
          return %2 }""",
    ],
    "sum(y * softmax(x, a), a) -> y": [
        """graph @g(%x: f32[B,4], %y: f32[B,1]) {
          %0 = softmax %x {axis=1} : f32[B,4]
          %1 = multiply %0, %y : f32[B,4]
          %2 = sum %1 {axes=(1,)} : f32[B,1]
          return %2 }""",
        """graph @g(%x: f32[B,4]) {
          %0 = softmax %x {axis=1} : f32[B,4]
          %1 = sum %0 {axes=(1,)} : f32[B,1]
          return %1 }""",
    ],
    "logaddexp(logsumexp(x), y) -> logsumexp([x, y])": [
        """graph @g(%x: f32[B,4], %y: f32[B,1]) {
          %0 = logsumexp %x {axes=(1,)} : f32[B,1]
          %1 = logaddexp %0, %y : f32[B,1]
          return %1 }""",
    ],
    "logsumexp(x, a) - x[i] -> -log_softmax(x, a)[i]": [
        """graph @g(%x: f32[B,4], %i: i64[B,1]) {
          %0 = logsumexp %x {axes=(1,)} : f32[B,1]
          %1 = reshape %0 {shape=(B,)} : f32[B]
          %2 = gather %x at %i {axes=(1,)} : f32[B,1]
          %3 = reshape %2 {shape=(B,)} : f32[B]
          %4 = subtract %1, %3 : f32[B]
          return %4 }""",
        """graph @g(%x: f32[B,4]) {
          %0 = logsumexp %x {axes=(1,)} : f32[B,1]
          %1 = slice %x {starts=(0, 2), sizes=(B, 1), steps=(1, 1)} : f32[B,1]
          %2 = subtract %1, %0 : f32[B,1]
          return %2 }""",
    ],
    "x - -c -> x + c": [
        """graph @g(%x: f32[3]) {
          %0 = constant {value=-1.5} : f32[]
          %1 = subtract %x, %0 : f32[3]
          return %1 }""",
        """graph @g(%x: f32[3]) {
          %0 = constant {value=-1.5} : f32[]
          %1 = add %0, %x : f32[3]
          return %1 }""",
    ],
    "exp(-(c * x)) -> exp(-c * x)": [
        """graph @g(%x: f32[3]) {
          %0 = constant {value=0.5} : f32[]
          %1 = multiply %x, %0 : f32[3]
          %2 = negative %1 : f32[3]
          %3 = exp %2 : f32[3]
          return %3 }""",
    ],
    "log(view(x)) -> view(log(x))": [
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = sigmoid %x : f32[B,4]
          %1 = softmax %y {axis=1} : f32[B,4]
          %2 = multiply %0, %1 : f32[B,4]
          %3 = permute %2 {axes=(1, 0)} : f32[4,B]
          %4 = log %3 : f32[4,B]
          return %4 }""",
    ],
    "log(Σ w * exp(x)) -> k + log(Σ w * exp(x - k))": [
        """graph @g(%x: f32[B,4], %w: f32[B,4]) {
          %0 = exp %x : f32[B,4]
          %1 = square %w : f32[B,4]
          %2 = multiply %0, %1 : f32[B,4]
          %3 = sum %2 {axes=(1,)} : f32[B,1]
          %4 = log %3 : f32[B,1]
          return %4 }""",
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = softmax %x {axis=1} : f32[B,4]
          %1 = square %y : f32[B,4]
          %2 = add %0, %1 : f32[B,4]
          %3 = log %2 : f32[B,4]
          return %3 }""",
    ],
    "exp(x) / (Σ exp(x) + exp(y)) -> softmax([x, y])[x]": [
        """graph @g(%x: f32[B,4], %y: f32[B,1]) {
          %0 = exp %x : f32[B,4]
          %1 = sum %0 {axes=(1,)} : f32[B,1]
          %2 = exp %y : f32[B,1]
          %3 = add %1, %2 : f32[B,1]
          %4 = constant {value=0.5} : f32[]
          %5 = add %3, %4 : f32[B,1]
          %6 = divide %0, %5 : f32[B,4]
          return %6 }""",
        """graph @g(%x: f32[4], %y: f32[4], %z: f32[4]) {
          %0 = exp %x : f32[4]
          %1 = exp %y : f32[4]
          %2 = exp %z : f32[4]
          %3 = add %0, %1 : f32[4]
          %4 = add %3, %2 : f32[4]
          %5 = divide %1, %4 : f32[4]
          return %5 }""",
    ],
    "Σ w * exp(x) / Σ exp(x) -> Σ w * softmax(x)": [
        """graph @g(%x: f32[B,4], %w: f32[B,4]) {
          %0 = exp %x : f32[B,4]
          %1 = multiply %w, %0 : f32[B,4]
          %2 = sum %1 {axes=(1,)} : f32[B,1]
          %3 = sum %0 {axes=(1,)} : f32[B,1]
          %4 = divide %2, %3 : f32[B,1]
          return %4 }""",
        """graph @g(%x: f32[B,4], %w: f32[4,3]) {
          %0 = exp %x : f32[B,4]
          %1 = matmul %0, %w : f32[B,3]
          %2 = sum %0 {axes=(1,)} : f32[B,1]
          %3 = divide %1, %2 : f32[B,3]
          return %3 }""",
    ],
    "w * exp(x) / Σ w * exp(x) -> weighted_softmax(x, w)": [
        """graph @g(%x: f32[B,4], %w: f32[B,4]) {
          %0 = exp %x : f32[B,4]
          %1 = abs %w : f32[B,4]
          %2 = multiply %1, %0 : f32[B,4]
          %3 = sum %2 {axes=(1,)} : f32[B,1]
          %4 = multiply %0, %x : f32[B,4]
          %5 = divide %1, %3 : f32[B,4]
          %6 = multiply %4, %5 : f32[B,4]
          return %6 }""",
        """graph @g(%x: f32[B,4], %y: f32[4,3]) {
          %0 = exp %x : f32[B,4]
          %1 = sum %0 {axes=(1,)} : f32[B,1]
          %2 = matmul %0, %y : f32[B,3]
          %3 = divide %2, %1 : f32[B,3]
          return %3 }""",
        """graph @g(%x: f32[B,4]) {
          %0 = exp %x : f32[B,4]
          %1 = sum %0 {axes=(1,)} : f32[B,1]
          %2 = slice %x {starts=(0, 2), sizes=(B, 1), steps=(1, 1)} : f32[B,1]
          %3 = exp %2 : f32[B,1]
          %4 = divide %3, %1 : f32[B,1]
          return %4 }""",
    ],
    "w * exp(x) / Σ v * exp(y) -> w * exp(x - k) / Σ v * exp(y - k)": [
        """graph @g(%x: f32[B,4], %w: f32[B,4], %y: f32[4,3]) {
          %0 = exp %x : f32[B,4]
          %1 = square %w : f32[B,4]
          %2 = multiply %1, %0 : f32[B,4]
          %3 = sum %2 {axes=(1,)} : f32[B,1]
          %4 = matmul %2, %y : f32[B,3]
          %5 = divide %4, %3 : f32[B,3]
          return %5 }""",
        """graph @g(%x: f32[B,4], %w: f32[B,4]) {
          %0 = exp %x : f32[B,4]
          %1 = abs %w : f32[B,4]
          %2 = add %1, %0 : f32[B,4]
          %3 = divide %w, %2 : f32[B,4]
          return %3 }""",
    ],
    "x + y + z -> (x + z) + y": [
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = softplus %x : f32[B,4]
          %1 = add %y, %0 : f32[B,4]
          %2 = subtract %1, %x : f32[B,4]
          return %2 }""",
    ],
    "x * y * z -> (x * z) * y": [
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = exp %x : f32[B,4]
          %1 = multiply %y, %0 : f32[B,4]
          %2 = negative %x : f32[B,4]
          %3 = sigmoid %2 : f32[B,4]
          %4 = multiply %3, %1 : f32[B,4]
          return %4 }""",
    ],
    "x * log(y) -> weighted_log(x, y)": [
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = square %y : f32[B,4]
          %1 = log %0 : f32[B,4]
          %2 = multiply %1, %x : f32[B,4]
          return %2 }""",
        """graph @g(%x: f32[B,4], %y: f32[B,4], %w: f32[4]) {
          %0 = abs %y : f32[B,4]
          %1 = log %0 : f32[B,4]
          %2 = log1p %0 : f32[B,4]
          %3 = subtract %1, %2 : f32[B,4]
          %4 = multiply %3, %x : f32[B,4]
          %5 = divide %4, %w : f32[B,4]
          return %5 }""",
    ],
    "where(true, x, y) -> x": [
        """graph @g(%x: f32[3], %y: f32[2,3]) {
          %0 = constant {value=true} : bool[]
          %1 = where %0, %x, %y : f32[2,3]
          return %1 }""",
    ],
    "gather(x, arange(n), i) -> gather(x, i)": [
        """graph @g(%x: f32[B,4], %i: i64[B,1]) {
          %0 = iota {shape=(B,), axis=0} : i64[B]
          %1 = wrap_index %0 {size=B} : i64[B]
          %2 = reshape %1 {shape=(B, 1)} : i64[B,1]
          %3 = gather %x at %2, %i {axes=(0, 1)} : f32[B,1]
          return %3 }""",
        """graph @g(%x: f32[3,2]) {
          %0 = constant {value=[0, 1, 2]} : i64[3,1]
          %1 = gather %x at %0 {axes=(0,)} : f32[3,2]
          return %1 }""",
    ],
    "scatter_add(0, x, i) -> where(iota == i, x, 0)": [
        """graph @g(%x: f32[B,1], %i: i64[B,1]) {
          %0 = constant {value=0.0} : f32[]
          %1 = broadcast_to %0 {shape=(B, 5)} : f32[B,5]
          %2 = scatter_add %1, %x at %i {axes=(1,)} : f32[B,5]
          return %2 }""",
    ],
    "sum(x * (iota == i), a) -> gather(x, i)": [
        """graph @g(%x: f32[B,5], %t: i64[B]) {
          %0 = wrap_index %t {size=5} : i64[B]
          %1 = reshape %0 {shape=(B, 1)} : i64[B,1]
          %2 = iota {shape=(1, 5), axis=1} : i64[1,5]
          %3 = equal %1, %2 : bool[B,5]
          %4 = cast %3 {dtype=f32} : f32[B,5]
          %5 = multiply %4, %x : f32[B,5]
          %6 = sum %5 {axes=(0, 1)} : f32[1,1]
          return %6 }""",
        """graph @g(%x: f32[B,5], %t: i64[1]) {
          %0 = constant {value=0.0} : f32[]
          %1 = wrap_index %t {size=5} : i64[1]
          %2 = iota {shape=(5,), axis=0} : i64[5]
          %3 = equal %2, %1 : bool[5]
          %4 = where %3, %x, %0 : f32[B,5]
          %5 = sum %4 {axes=(1,)} : f32[B,1]
          return %5 }""",
    ],
}


def test_every_coded_rule_has_an_example():
    assert {rule.formula for rule in CODED} == EXAMPLES.keys()


@pytest.mark.campaign(3)
@pytest.mark.parametrize("dtype", ["f16", "f32", "f64"])
@pytest.mark.parametrize("rule", CODED, ids=lambda rule: rule.formula)
def test_coded(rule: Rule, dtype: str):
    if dtype == "f16" and rule.formula == "x * log(y) -> weighted_log(x, y)":
        pytest.xfail("x is multiplied by each logarithm of a sum alone, and leaves the range")
    for text in EXAMPLES[rule.formula]:
        before = parse(text.replace("f32", dtype))
        after, reports = rewrite(before, [rule])
        if dtype == "f16" and not reports:  # rules may leave halves as they are
            continue
        assert reports, f"{rule} does not fire on\n{before}"
        verify(after)
        assert [t.type for t in after.outputs] == [t.type for t in before.outputs]
        for size in (0, 1, 7):
            if size == 0 and "arange" in rule.formula:
                continue
            if before.inputs[0].shape in ((), (4,)):  # B stands in no input
                continue
            assert_as_exact(before, after, feeds_of_size(before, size, None))
            if size == 7:
                among = MODERATE if dtype == "f16" else SMALL if rule.formula in OF_SUMS else LARGE
                for seed in range(20):
                    assert_as_exact(before, after, feeds_of_size(before, 8 + seed, among))


@pytest.mark.parametrize("rule", (*STABILISE, *SIMPLIFY), ids=lambda rule: rule.formula)
def test_gives_a_reason(rule: Rule):
    assert rule.reason
    assert rule.formula.count("->") == 1
    if rule.code is None:
        lost = _variables(rule.left) - _variables(rule.right) - _conditions(rule.left)
        assert rule.forgets == bool(lost)
