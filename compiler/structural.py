"""Rules about shapes, which need code: they bring views into places where formulas meet.

Reshapes that only add or drop axes of size 1 move towards the results, broadcasts too, so that
``log(sum(exp(x))[:, 0])`` meets the rule for ``log(sum(exp(x)))``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import frexp, isfinite

from ..ir.errors import ShapeError
from ..ir.op import TABLE
from ..ir.ops.arithmetic import divide, multiply
from ..ir.ops.build import constant
from ..ir.ops.shape import broadcast_to, inverse, moved_ones, only_ones_differ, permute, reshape
from ..ir.ops.slicing import slice_
from ..ir.ops.types import finfo
from ..ir.shapes import broadcast
from ..ir.tensor import Node, Tensor
from .pattern import uniform
from .rewrite import Rule

_DEEPEST = 8  # ops behind which a number is looked for
# Every element-wise op but those that rules must not look through.
_ELEMENTWISE = tuple(
    name
    for name, op in TABLE.items()
    if op.kind == "elementwise" and name not in ("pin", "stop_gradient")
)
_REDUCTIONS = tuple(
    name
    for name, op in TABLE.items()
    if op.kind == "reduction" and op.attributes == ("axes",)  # not those of a piece of an axis
)


def _drop_broadcasts(node: Node) -> Tensor | None:
    operands = [
        t.node.operands[0] if t.node.op.name == "broadcast_to" else t for t in node.operands
    ]
    for i, operand in enumerate(operands):
        if operand.node.op.name != "reshape":
            continue
        source = operand.node.operands[0]
        if _without_leading_ones(source) != _without_leading_ones(operand):
            continue
        changed = [source if j == i else other for j, other in enumerate(operands)]
        if _broadcasts_to(changed, node.results[0].shape):
            operands = changed
    if all(a is b for a, b in zip(operands, node.operands, strict=True)):
        return None
    return node.remake(operands).results[0]


def _without_leading_ones(tensor: Tensor) -> tuple[object, ...]:
    shape = tensor.shape
    start = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return shape[start:]


def _broadcasts_to(operands: Sequence[Tensor], shape: tuple[object, ...], last: int = 0) -> bool:
    """Whether the operands' axes but for the `last` ones broadcast to `shape`."""
    try:
        return broadcast([x.shape[: x.ndim - last] for x in operands]) == shape
    except ShapeError:
        return False


def _is_squeeze(tensor: Tensor) -> bool:
    node = tensor.node
    return node.op.name == "reshape" and only_ones_differ(node.operands[0].shape, tensor.shape)


def _pull_reshape(node: Node) -> Tensor | None:
    after = node.results[0].shape
    whole = [t for t in node.operands if _is_squeeze(t) and t.shape == after]
    if not whole:
        return None
    before = whole[0].node.operands[0].shape
    operands: list[Tensor] = []
    for operand in node.operands:
        if _is_squeeze(operand):
            source = operand.node.operands[0]
            if source.shape != moved_ones(operand.shape, after, before):
                return None
            operands.append(source)
        elif operand.ndim == 0:
            operands.append(operand)
        else:
            return None
    return reshape(node.remake(operands).results[0], after)


def _pull_reshape_from_reduction(node: Node) -> Tensor | None:
    (operand,) = node.operands
    axes: tuple[int, ...] = node.attrs["axes"]
    if not _is_squeeze(operand) or any(operand.shape[axis] == 1 for axis in axes):
        return None
    source = operand.node.operands[0]
    places = [i for i, size in enumerate(source.shape) if size != 1]
    kept = [i for i, size in enumerate(operand.shape) if size != 1]
    moved = tuple(places[kept.index(axis)] for axis in axes)
    made = Node(node.op, [source], {"axes": moved}).results[0]
    return reshape(made, node.results[0].shape)


def _shrink_reduction(node: Node) -> Tensor | None:
    (operand,), axes = node.operands, node.attrs["axes"]
    kept = tuple(axis for axis in axes if operand.shape[axis] != 1)
    if not kept:
        return operand
    return None if kept == axes else Node(node.op, [operand], {"axes": kept}).results[0]


def _permute(node: Node) -> Tensor | None:
    (operand,), axes = node.operands, node.attrs["axes"]
    if axes == tuple(range(len(axes))):
        return operand
    if _long_axes(operand) <= 1:
        return reshape(operand, node.results[0].shape)
    inner = operand.node
    if inner.op.name != "permute":
        return None
    return permute(inner.operands[0], axes=tuple(inner.attrs["axes"][axis] for axis in axes))


def _long_axes(tensor: Tensor) -> int:
    return sum(size != 1 for size in tensor.shape)


def _pull_permute(node: Node) -> Tensor | None:
    permuted = [operand for operand in node.operands if operand.node.op.name == "permute"]
    if not permuted or node.results[0].shape != permuted[0].shape:
        return None
    axes = permuted[0].node.attrs["axes"]
    rank = len(axes)
    operands: list[Tensor] = []
    for operand in node.operands:
        if operand.node.op.name == "permute" and operand.node.attrs["axes"] == axes:
            operands.append(operand.node.operands[0])
        elif _long_axes(operand) <= 1:  # its axes may go anywhere: they are of size 1 but for one
            aligned = (*[1] * (rank - operand.ndim), *operand.shape)
            before = tuple(aligned[place] for place in inverse(axes))
            operands.append(operand if operand.ndim == 0 else reshape(operand, before))
        else:
            return None
    return permute(node.remake(operands).results[0], axes=axes)


def _pull_permute_from_reduction(node: Node) -> Tensor | None:
    inner = node.operands[0].node
    if inner.op.name != "permute":
        return None
    order = inner.attrs["axes"]
    axes = tuple(sorted(order[axis] for axis in node.attrs["axes"]))
    made = Node(node.op, [inner.operands[0]], {"axes": axes}).results[0]
    return permute(made, axes=order)


def _slice(node: Node) -> Tensor | None:
    (operand,), attrs = node.operands, node.attrs
    starts, sizes, steps = attrs["starts"], attrs["sizes"], attrs["steps"]
    if sizes == operand.shape and all(s == 0 for s in starts) and all(s == 1 for s in steps):
        return operand
    inner = operand.node
    if inner.op.name != "slice":
        return None
    first, stride = inner.attrs["starts"], inner.attrs["steps"]
    return slice_(
        inner.operands[0],
        starts=tuple(a + b * s for a, b, s in zip(first, starts, stride, strict=True)),
        sizes=sizes,
        steps=tuple(a * b for a, b in zip(stride, steps, strict=True)),
    )


def _view_of_uniform(node: Node) -> Tensor | None:
    (operand,) = node.operands
    inner = operand.node
    if inner.op.name != "broadcast_to" or inner.operands[0].ndim != 0:
        return None
    return broadcast_to(inner.operands[0], node.results[0].shape)


def _divide(node: Node) -> Tensor | None:
    x, divisor = node.operands
    value = uniform(divisor)
    if not isinstance(value, float) or not isfinite(value) or value in (0.0, 1.0, -1.0):
        return None
    limits = finfo(divisor.dtype)
    mantissa, _ = frexp(value)
    if abs(mantissa) != 0.5 or not limits.smallest_normal <= abs(1 / value) <= limits.max:
        return None
    return multiply(x, constant(1 / value, divisor.dtype))


def _drop_repeated_matrices(node: Node) -> Tensor | None:
    operands = list(node.operands)
    for i, operand in enumerate(node.operands):
        if operand.node.op.name == "broadcast_to":
            (source,) = operand.node.operands
            changed = [source if j == i else other for j, other in enumerate(operands)]
            same = source.ndim >= 2 and source.shape[-2:] == operand.shape[-2:]
            if same and _broadcasts_to(changed, node.results[0].shape[:-2], 2):
                operands = changed
    if all(a is b for a, b in zip(operands, node.operands, strict=True)):
        return None
    return node.remake(operands).results[0]


def _where(node: Node) -> Tensor | None:
    condition, x, y = node.operands
    value = uniform(condition)
    return None if value is None else x if value else y


def _is_no_zero(tensor: Tensor, depth: int = _DEEPEST) -> bool:
    """Whether `tensor` is filled with a finite number other than 0, or one over a size.

    (A size of 0 leaves nothing to be scaled.)
    """
    value, node = uniform(tensor), tensor.node
    if value is not None:
        return value != 0 and isfinite(value)
    scales = node.op.kind == "view" or node.op.name in ("negative", "cast", "multiply", "divide")
    if scales and depth:
        return all(_is_no_zero(operand, depth - 1) for operand in node.operands)
    return node.op.name == "dimension"


def _open_gate(node: Node) -> Tensor | None:
    x, y = node.operands
    if not (_is_no_zero(x) or _is_no_zero(y)):
        return None
    return multiply(x, y) if node.op.name == "gated_multiply" else divide(x, y)


STRUCTURAL = (
    Rule(
        "gated_multiply(x, y) -> x * y",
        "exact where x or y is a number other than 0; a quotient is scaled alike",
        code=_open_gate,
        roots=("gated_multiply", "gated_divide"),
    ),
    Rule(
        "f(broadcast_to(x), y) -> f(x, y)",
        "element-wise ops broadcast by themselves; what all operands repeat is computed once",
        code=_drop_broadcasts,
        beside=("broadcast_to", "reshape"),
        roots=_ELEMENTWISE,
    ),
    Rule(
        "matmul(broadcast_to(x), y) -> matmul(x, y)",
        "products of matrices broadcast by themselves",
        code=_drop_repeated_matrices,
        beside=("broadcast_to",),
        roots=("matmul",),
    ),
    Rule(
        "f(reshape(x), reshape(y)) -> reshape(f(x, y))",
        "axes of size 1 come and go; behind the op they hide nothing from it",
        code=_pull_reshape,
        beside=("reshape",),
        roots=_ELEMENTWISE,
    ),
    Rule(
        "f(permute(x), permute(y)) -> permute(f(x, y))",
        "behind the op two permutations meet, and often undo each other",
        code=_pull_permute,
        beside=("permute",),
        roots=_ELEMENTWISE,
    ),
    Rule(
        "reduce(permute(x)) -> permute(reduce(x))",
        "the same numbers are folded, wherever their axes stand",
        code=_pull_permute_from_reduction,
        roots=_REDUCTIONS,
    ),
    Rule(
        "reduce(x) over axes of size 1 -> x",
        "the fold of one number is that number",
        code=_shrink_reduction,
        roots=_REDUCTIONS,
    ),
    Rule(
        "reduce(reshape(x)) -> reshape(reduce(x))",
        "axes of size 1 change nothing about the others",
        code=_pull_reshape_from_reduction,
        roots=_REDUCTIONS,
    ),
    Rule(
        "permute(permute(x)) -> permute(x)",
        "one permutation after another is a permutation; one that moves size 1 alone is a reshape",
        code=_permute,
        roots=("permute",),
    ),
    Rule(
        "slice(slice(x)) -> slice(x)",
        "steps multiply and starts add up; a slice of everything is nothing",
        code=_slice,
        roots=("slice",),
    ),
    Rule(
        "view(broadcast_to(scalar)) -> broadcast_to(scalar)",
        "every selection from one repeated number is that number repeated",
        code=_view_of_uniform,
        roots=("reshape", "permute", "slice", "windows", "diagonal"),
    ),
    Rule(
        "x / 2**k -> x * 2**-k",
        "exact: the reciprocal of a power of two is one, and multiplying is cheaper",
        code=_divide,
        roots=("divide",),
    ),
    Rule(
        "where(true, x, y) -> x",
        "a condition that is known chooses now",
        code=_where,
        roots=("where",),
        forgets=True,
    ),
)
