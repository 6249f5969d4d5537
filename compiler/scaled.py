"""Sums of weighted exponentials in quotients and logarithms: centred, so that none overflows.

Many tensors are a weight times an exponential, ``w · exp(x)``: products and quotients of such
are, and so are their sums: Σ w · exp(x) = exp(k) · Σ w · exp(x − k) for any centre k.  With k the
largest x whose weight is not 0 no term overflows, and the largest is not lost.  A quotient of two
such tensors, or the logarithm of one, does not depend on its centres, so no derivative flows into
them.
"""

from __future__ import annotations

from math import log as log_of
from typing import NamedTuple

from ..ir.op import TABLE
from ..ir.ops.arithmetic import maximum, minimum
from ..ir.ops.build import constant
from ..ir.ops.contraction import matmul_
from ..ir.ops.conversion import cast, stop_gradient
from ..ir.ops.logarithms import centred_exp
from ..ir.ops.logic import equal, isfinite, less, where
from ..ir.ops.reduction import max_, sum_
from ..ir.ops.shape import broadcast_to
from ..ir.ops.transcendental import expm1, log
from ..ir.ops.types import finfo
from ..ir.tensor import Node, Tensor
from .pattern import uniform

_DEEPEST = 24
# Exponentials in disguise: bounded, but below they vanish.
_BOUNDED = ("sigmoid", "softmax", "normal_cdf", "erfc")


class Scaled(NamedTuple):
    """weight · exp(exponent).

    weight: None stands for 1.  sums: how many sums and differences meet in it.
    """

    exponent: Tensor
    weight: Tensor | None = None
    sums: int = 0


def read(tensor: Tensor, bounded: bool, depth: int = 0) -> Scaled | None:
    """`tensor` as a weight times an exponential; None where there is no exponential in it.

    bounded: whether probabilities are read as exponentials of their logarithms.
    """
    node = tensor.node
    if depth > _DEEPEST or len(node.results) != 1 or not tensor.dtype.is_float:
        return None
    name, operands = node.op.name, node.operands
    if name == "exp":
        return Scaled(operands[0])
    if name == "exp2":
        return Scaled(operands[0] * log_of(2))
    if name == "exp_difference":
        return _difference(*operands)
    if name == "sinh":
        return _halved(_difference(operands[0], -operands[0]))
    if name == "cosh":
        return _halved(_total(Scaled(operands[0]), Scaled(-operands[0]), "add"))
    if name == "pow":
        return _read_power(node, bounded, depth)
    if bounded and name in _BOUNDED:
        return Scaled(log(tensor))
    if name in ("multiply", "divide", "add", "subtract"):
        x, y = (read(operand, bounded, depth + 1) for operand in operands)
        if x is None and y is None:
            return None
        x, y = (part or plain(t) for part, t in zip((x, y), operands, strict=True))
        match name:
            case "multiply":
                return Scaled(x.exponent + y.exponent, _times(x, y), x.sums + y.sums)
            case "divide":
                return Scaled(x.exponent - y.exponent, _over(x, y), x.sums + y.sums)
            case _:
                return _total(x, y, name)
    selects = node.op.kind in ("view", "gather")
    if not selects and name not in ("negative", "sum", "where", "cast", "matmul", "square", "sqrt"):
        return None
    if name == "where":
        return _read_choice(node, bounded, depth)
    if name == "matmul":
        return _read_matmul(node, bounded, depth)
    inner = read(operands[0], bounded, depth + 1)
    if inner is None:
        return None
    exponent, weight, sums = inner
    match name:
        case "negative":
            return Scaled(exponent, constant(-1, tensor.dtype) if weight is None else -weight, sums)
        case "sum":
            return _over_axes(inner, operands[0], node.attrs["axes"])
        case "cast":
            dtype = tensor.dtype
            return Scaled(
                cast(exponent, dtype=dtype),
                None if weight is None else cast(weight, dtype=dtype),
                sums,
            )
        case "square":
            return Scaled(exponent + exponent, None if weight is None else weight * weight, sums)
        case "sqrt":
            weight = None if weight is None else Node(TABLE["sqrt"], [weight], {}).results[0]
            return Scaled(0.5 * exponent, weight, sums)
        case _:
            parts = (exponent, weight)
            x, w = (None if t is None else _selected(node, operands[0], t) for t in parts)
            return None if x is None else Scaled(x, w, sums)


def _difference(x: Tensor, y: Tensor) -> Scaled:
    """exp(x) − exp(y) to its last digits, without a centre: both parts have their derivatives."""
    weight = where(less(y, x), -expm1(y - x), expm1(x - y))
    return Scaled(maximum(x, y), weight, 1)


def _halved(x: Scaled) -> Scaled:
    return x._replace(weight=None if x.weight is None else 0.5 * x.weight)


def plain(tensor: Tensor) -> Scaled:
    return Scaled(constant(0, tensor.dtype), tensor)


def _times(x: Scaled, y: Scaled) -> Tensor | None:
    if x.weight is None or y.weight is None:
        return x.weight if y.weight is None else y.weight
    return x.weight * y.weight


def _over(x: Scaled, y: Scaled) -> Tensor | None:
    if y.weight is None:
        return x.weight
    return (constant(1, y.weight.dtype) if x.weight is None else x.weight) / y.weight


def _read_power(node: Node, bounded: bool, depth: int) -> Scaled | None:
    base, power = node.operands
    number = uniform(base)
    if number is not None:
        return Scaled(power * log_of(number)) if number > 0 and uniform(power) is None else None
    inner = read(base, bounded, depth + 1)
    if inner is None or uniform(power) is None:
        return None
    weight = None if inner.weight is None else inner.weight**power
    return Scaled(inner.exponent * power, weight, inner.sums)


def _read_choice(node: Node, bounded: bool, depth: int) -> Scaled | None:
    condition, *choices = node.operands
    x, y = (read(choice, bounded, depth + 1) for choice in choices)
    if x is None and y is None:
        return None
    if x is None or y is None:  # the other keeps its exponent: at 0, say, only the weight counts
        known = x or y
        assert known is not None
        exponent = known.exponent
        if uniform(choices[0 if x is None else 1]) != 0:
            exponent = where(condition, *([0.0, exponent] if x is None else [exponent, 0.0]))
        weights = [
            choice if part is None else 1.0 if part.weight is None else part.weight
            for part, choice in zip((x, y), choices, strict=True)
        ]
        return Scaled(exponent, where(condition, *weights), known.sums)
    weight = None
    if x.weight is not None or y.weight is not None:
        weight = where(condition, *(1.0 if p.weight is None else p.weight for p in (x, y)))
    return Scaled(where(condition, x.exponent, y.exponent), weight, x.sums + y.sums)


def _read_matmul(node: Node, bounded: bool, depth: int) -> Scaled | None:
    a, b = node.operands
    x = read(a, bounded, depth + 1)
    if x is not None:
        top = stop_gradient(_largest(x, (a.ndim - 1,)))
        return Scaled(top, matmul_(centred(x, top, a), b), x.sums + 1)
    y = read(b, bounded, depth + 1)
    if y is None:
        return None
    top = stop_gradient(_largest(y, (b.ndim - 2,)))
    return Scaled(top, matmul_(a, centred(y, top, b)), y.sums + 1)


def _selected(node: Node, before: Tensor, tensor: Tensor) -> Tensor | None:
    """The same view of, or the same entries from, an exponent or a weight."""
    if tensor.shape != before.shape:
        tensor = broadcast_to(tensor, before.shape)
    return node.remake([tensor, *node.operands[1:]]).results[0]


def _largest(x: Scaled, axes: tuple[int, ...] = ()) -> Tensor:
    """The largest exponent whose weight is not 0, along `axes`; 0 where it is infinite."""
    exponent = x.exponent
    if x.weight is not None and uniform(x.weight) is None:
        exponent = where(equal(x.weight, 0.0), float("-inf"), exponent)
    top = max_(exponent, axes=axes) if axes else exponent
    return where(isfinite(top), top, 0.0) if axes else top


def centred(x: Scaled, top: Tensor, like: Tensor | None = None) -> Tensor:
    """weight · exp(exponent − top), of the shape of `like`, 0 where the weight is."""
    exponent = x.exponent
    if x.weight is None:
        value = centred_exp(exponent, top)
    else:
        if uniform(x.weight) is None:  # exp must not overflow where the weight is 0
            highest = top + 0.9 * log_of(finfo(exponent.dtype).max)
            exponent = where(equal(x.weight, 0.0), minimum(exponent, highest), exponent)
        value = centred_exp(exponent, top) * x.weight
    return value if like is None or value.shape == like.shape else broadcast_to(value, like.shape)


def _over_axes(x: Scaled, operand: Tensor, axes: tuple[int, ...]) -> Scaled:
    exponent = x.exponent
    if exponent.shape != operand.shape:
        x = x._replace(exponent=broadcast_to(exponent, operand.shape))
    top = stop_gradient(_largest(x, axes))
    return Scaled(top, sum_(centred(x, top, operand), axes=axes), x.sums + 1)


def _total(x: Scaled, y: Scaled, name: str) -> Scaled:
    top = maximum(_largest(x), _largest(y))
    top = stop_gradient(where(isfinite(top), top, 0.0))
    parts = [centred(part, top) for part in (x, y)]
    total = Node(TABLE[name], parts, {}).results[0]
    return Scaled(top, total, x.sums + y.sums + 1)
