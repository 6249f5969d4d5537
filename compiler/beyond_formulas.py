"""What the rules of logarithms.py cannot say as formulas: conditions, and a little code."""

from __future__ import annotations

import math

from ..ir.ops.arithmetic import absolute, add, multiply, sign, subtract
from ..ir.ops.build import constant
from ..ir.ops.composite import log_softmax, logsumexp
from ..ir.ops.create import arange
from ..ir.ops.logarithms import log1mexp
from ..ir.ops.logic import equal, less, where
from ..ir.ops.reduction import argmax, max_, sum_
from ..ir.ops.shape import only_ones_differ, reshape
from ..ir.ops.transcendental import exp, log, softplus
from ..ir.ops.types import finfo
from ..ir.shapes import keep_axes
from ..ir.tensor import Node, Tensor
from .pattern import Match, uniform
from .positive import NUMBER, has_log, kind


def is_number(match: Match) -> bool:
    """For a rule that asks for a positive number y, below what is no exponential itself.

    1 / y must be a number too; and an exponent that is a half would be rounded.
    """
    value, dtype = uniform(match.tensors["y"]), match.root.dtype
    if value is None or dtype.is_half or not value >= finfo(dtype).smallest_normal:
        return False
    return not has_log(match.tensors["x"])


def is_exponent(match: Match) -> bool:
    """For a rule by which log x - log y is rounded."""
    return match.tensors["y"].node.op.name == "exp"


def is_positive_number(match: Match) -> bool:
    value = uniform(match.tensors["y"])
    return value is not None and value > 0


def is_fraction(match: Match) -> bool:
    """For powers of a number y that is not whole."""
    value = uniform(match.tensors["y"])
    return value is not None and math.isfinite(value) and value % 1 != 0


def is_even(match: Match) -> bool:
    value = uniform(match.tensors["y"])
    return value is not None and math.isfinite(value) and value % 2 == 0 and value != 0


def is_tensor(match: Match) -> bool:
    """For rules that cost more than they gain where y is a number."""
    return uniform(match.tensors["y"]) is None


def log_of_number(node: Node) -> Tensor | None:
    value = uniform(node.operands[0])
    if value is None or not math.isfinite(value) or value <= 0:
        return None
    return constant(math.log(value), node.results[0].dtype)


def is_beside(match: Match) -> bool:
    """For rules by which y goes into a sum: it must not vary along what is summed."""
    return match.tensors["y"].shape == match.root.shape


def selected_from(x: Tensor, selected: Tensor, axes: tuple[int, ...]) -> Node | None:
    """The node that selects one entry of `x` along the one of `axes`; a squeeze may follow."""
    node = selected.node
    if node.op.name == "reshape" and only_ones_differ(node.operands[0].shape, selected.shape):
        node = node.operands[0].node
    if node.op.name not in ("gather", "slice") or node.operands[0] is not x or len(axes) != 1:
        return None
    (axis,) = axes
    if node.results[0].shape != keep_axes(x.shape, axes):
        return None
    if node.op.name == "gather":
        return node if node.attrs["axes"] == axes else None
    whole = (
        start == 0 and step == 1
        for i, (start, step) in enumerate(
            zip(node.attrs["starts"], node.attrs["steps"], strict=True)
        )
        if i != axis
    )
    return node if all(whole) else None


def difference_from_total(node: Node) -> Tensor | None:
    for i, total in enumerate(node.operands):
        inner = total.node
        if inner.op.name == "reshape" and only_ones_differ(inner.operands[0].shape, total.shape):
            inner = inner.operands[0].node
        if inner.op.name != "logsumexp":
            continue
        x, axes = inner.operands[0], inner.attrs["axes"]
        other = node.operands[1 - i]
        found = selected_from(x, other, axes)
        if found is not None and other.shape == total.shape == node.results[0].shape:
            shares = log_softmax(x, axis=axes[0])
            picked = found.remake([shares, *found.operands[1:]]).results[0]
            return reshape(picked if i else -picked, total.shape)
    return None


def signed_number(node: Node) -> Tensor | None:
    """A negative number added is a positive one subtracted, and the other way round."""
    x, y = node.operands
    if node.op.name == "add" and uniform(y) is None:
        x, y = y, x
    value = uniform(y)
    if value is None or not x.dtype.is_float or not value < 0:
        return None
    number = constant(-value, x.dtype)
    return subtract(x, number) if node.op.name == "add" else add(x, number)


def signed_exponent(node: Node) -> Tensor | None:
    inner = node.operands[0].node
    if inner.op.name != "negative" or inner.operands[0].node.op.name != "multiply":
        return None
    product = inner.operands[0].node
    for number, x in (product.operands, product.operands[::-1]):
        value = uniform(number)
        if value is not None:
            return exp(multiply(constant(-value, number.dtype), x))
    return None


def log_of_selection(node: Node) -> Tensor | None:
    selection = node.operands[0].node
    if selection.op.kind not in ("view", "gather") or not has_log(node.operands[0]):
        return None
    return selection.remake([log(selection.operands[0]), *selection.operands[1:]]).results[0]


def log_of_parts(node: Node) -> Tensor | None:
    joined = node.operands[0].node
    if joined.op.name != "concat" or not has_log(node.operands[0]):
        return None
    return joined.remake([log(part) for part in joined.operands]).results[0]


def log_of_product(node: Node) -> Tensor | None:
    product = node.operands[0].node
    if product.op.name != "prod":
        return None
    (x,), axes = product.operands, product.attrs["axes"]
    is_negative = less(product.remake([sign(x)]).results[0], 0.0)
    return where(is_negative, float("nan"), sum_(log(absolute(x)), axes=axes))


def log_of_the_others(node: Node) -> Tensor | None:
    """log(1 − p) for the p of a softmax: of the largest, by what the others add up to.

    The others' share beside the largest x has the logarithm −softplus(−log Σ exp(others − x)); all
    other probabilities are at most a half, and log(1 − p) is as good as p.
    """
    views: list[Node] = []
    tensor = node.operands[0]
    while tensor.node.op.kind in ("view", "gather"):
        views.append(tensor.node)
        tensor = tensor.node.operands[0]
    if tensor.node.op.name != "log_softmax":
        return None
    x = tensor.node.operands[0]
    axis: int = tensor.node.attrs["axis"]
    size = x.shape[axis]
    place = reshape(arange(size), tuple(size if i == axis else 1 for i in range(x.ndim)))
    is_largest = equal(place, argmax(x, axis=axis, keepdims=True))
    behind = where(is_largest, float("-inf"), x - max_(x, axes=(axis,)))
    others = logsumexp(behind, axis, keepdims=True)
    small = where(is_largest, -1.0, tensor)
    result = where(is_largest, -softplus(-others), log1mexp(small))
    for view in reversed(views):
        result = view.remake([result, *view.operands[1:]]).results[0]
    return result


def total_probability(node: Node) -> Tensor | None:
    (product,), axes = node.operands, node.attrs["axes"]
    factors = product.node.operands if product.node.op.name == "multiply" else (product,)
    for i, factor in enumerate(factors):
        if factor.node.op.name != "softmax" or factor.shape != product.shape:
            continue
        if axes != (factor.node.attrs["axis"],):
            continue
        others = [f for j, f in enumerate(factors) if j != i]
        if not others:
            return constant(1, product.dtype)
        (other,) = others
        place = axes[0] - product.ndim
        if -place > other.ndim or other.shape[place] == 1:
            return other
    return None


def is_mixed(tensor: Tensor) -> bool:
    """Whether the rules about logs would round log(2) + x, in a sum of terms with numbers."""
    node = tensor.node
    if node.op.name == "add":
        terms = [operand for operand in node.operands if uniform(operand) is None]
    elif node.op.name == "sum":
        terms = list(node.operands)
    else:
        return False
    return any(
        term.node.op.name in ("multiply", "divide")
        and any(kind(operand) == NUMBER for operand in term.node.operands)
        for term in terms
    )


def is_plain(match: Match) -> bool:
    """For rules about the logarithm of a sum, where none of its terms has a number for a factor."""
    return not is_mixed(match.root.node.operands[0])
