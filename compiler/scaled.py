"""Sums of weighted exponentials in quotients and logarithms: centred, so that none overflows.

Many tensors are a weight times an exponential, ``w · exp(x)``: products and quotients of such
are, and so are their sums: Σ w · exp(x) = exp(k) · Σ w · exp(x − k) for any centre k.  With k the
largest x whose weight is not 0 no term overflows, and the largest is not lost.  A quotient of two
such tensors, or the logarithm of one, does not depend on its centres, so no derivative flows into
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import log as log_of
from typing import NamedTuple
from weakref import WeakKeyDictionary

from ..ir.dtypes import holds
from ..ir.ops.arithmetic import add, maximum, minimum, subtract
from ..ir.ops.build import constant
from ..ir.ops.contraction import matmul_
from ..ir.ops.conversion import astype, stop_gradient
from ..ir.ops.logarithms import centred_exp
from ..ir.ops.logic import equal, isfinite, where
from ..ir.ops.reduction import max_, sum_
from ..ir.ops.shape import broadcast_to
from ..ir.ops.transcendental import expm1, log, sqrt
from ..ir.ops.types import finfo
from ..ir.tensor import Node, Tensor
from .pattern import uniform
from .positive import settled
from .terms import joined, laid_out
from .widen import wide

_DEEPEST = 24  # nodes above one another that are looked through
_MOST_READ = 250  # nodes that are looked at
_MOST_SUMS = 12  # that may meet: each has a centre of its own, and costs one
_MOST_TERMS = 24  # of a sum that share a centre
_BOUNDED = ("sigmoid", "softmax", "normal_cdf", "erfc")  # exponentials in disguise
_OWN = ("exp", "exp2", "exp_difference", "sinh", "cosh")
_THROUGH = {  # ops that are looked through, and operands that are exponentials with the result
    **dict.fromkeys(("multiply", "divide", "add", "subtract", "matmul"), slice(2)),
    **dict.fromkeys(("negative", "sum", "cast", "square", "sqrt", "pow"), slice(1)),
    "where": slice(1, 3),
}

# What is somewhere below a node, and would be found by looking through ops.
_NOTHING, _PROBABILITY, _EXPONENTIAL = 0, 1, 2
_below: WeakKeyDictionary[Node, int] = WeakKeyDictionary()


class Scaled(NamedTuple):
    """weight · exp(exponent).

    weight: None stands for 1.  sums: how many sums and differences meet in it.
    """

    exponent: Tensor
    weight: Tensor | None = None
    sums: int = 0


def read(tensor: Tensor, bounded: bool) -> Scaled | None:
    """`tensor` as a weight times an exponential; None where there is no exponential in it.

    Of halves, exponents and weights are float32: of an exponent, exp multiplies the rounding by
    its size.  bounded: whether probabilities are read as exponentials of their logarithms.
    """
    return _Reader(bounded).read(tensor)


def plain(tensor: Tensor) -> Scaled:
    return Scaled(constant(0, wide(tensor).dtype), wide(tensor))


def _looked_through(node: Node) -> Sequence[Tensor]:
    if len(node.results) != 1 or not node.results[0].dtype.is_float:
        return ()
    if node.op.kind in ("view", "gather"):
        return node.operands[:1]
    if node.op.name == "cast" and not holds(node.results[0].dtype, node.operands[0].dtype):
        return ()  # it rounds, and what is rounded is no exponential of the dtype's exponents
    return node.operands[_THROUGH.get(node.op.name, slice(0))]


def _what(node: Node, found: Sequence[int]) -> int:
    name = node.op.name
    if name in _OWN or (name == "pow" and _is_power_of_number(node)):
        return _EXPONENTIAL
    return max(found, default=_PROBABILITY if name in _BOUNDED else _NOTHING)


def _is_power_of_number(node: Node) -> bool:
    base, power = map(uniform, node.operands)
    return base is not None and base > 0 and power is None


class _Reader:
    """Reads each tensor once, however many others it is part of."""

    def __init__(self, bounded: bool) -> None:
        self.bounded = bounded
        self.least = _PROBABILITY if bounded else _EXPONENTIAL
        self.found: dict[Tensor, Scaled | None] = {}

    def read(self, tensor: Tensor, depth: int = 0) -> Scaled | None:
        if tensor in self.found:
            return self.found[tensor]
        if depth > _DEEPEST or len(self.found) >= _MOST_READ:
            return None
        if settled(tensor.node, _below, _looked_through, _what) < self.least:
            return None
        made = self.found[tensor] = self._made(tensor, depth + 1)
        if made is not None and made.sums > _MOST_SUMS:
            made = self.found[tensor] = None
        return made

    def _made(self, tensor: Tensor, depth: int) -> Scaled | None:
        node = tensor.node
        name, operands = node.op.name, node.operands
        if name in _OWN:
            return _own(name, [wide(operand) for operand in operands])
        if name in _BOUNDED:
            return Scaled(log(wide(tensor)))
        if name == "pow" and _is_power_of_number(node):
            number = uniform(operands[0])
            assert number is not None
            return Scaled(wide(operands[1]) * log_of(number))
        if name in ("add", "subtract"):
            return self._read_sum(tensor, depth)
        if name == "matmul":
            return self._read_matmul(node, depth)
        parts = [self.read(operand, depth) for operand in _looked_through(node)]
        if all(part is None for part in parts):
            return None
        if name == "where":
            return _choice(node, parts)
        if name in ("multiply", "divide"):
            x, y = (part or plain(t) for part, t in zip(parts, operands, strict=True))
            if name == "multiply":
                return Scaled(x.exponent + y.exponent, _times(x, y), x.sums + y.sums)
            return Scaled(x.exponent - y.exponent, _over(x, y), x.sums + y.sums)
        (inner,) = parts
        assert inner is not None
        return _of_one(node, inner)

    def _read_sum(self, tensor: Tensor, depth: int) -> Scaled | None:
        terms = laid_out(tensor, "add", "subtract", _MOST_TERMS)
        parts = [self.read(term, depth) for term, _ in terms]
        if all(part is None for part in parts):
            return None
        parts = [part or plain(t) for part, (t, _) in zip(parts, terms, strict=True)]
        return _total(parts, [positive for _, positive in terms])

    def _read_matmul(self, node: Node, depth: int) -> Scaled | None:
        a, b = node.operands
        x = self.read(a, depth)
        if x is not None:
            top = stop_gradient(_largest(x, (a.ndim - 1,)))
            return Scaled(top, matmul_(centred(x, top, a), wide(b)), x.sums + 1)
        y = self.read(b, depth)
        if y is None:
            return None
        top = stop_gradient(_largest(y, (b.ndim - 2,)))
        return Scaled(top, matmul_(wide(a), centred(y, top, b)), y.sums + 1)


def _own(name: str, operands: Sequence[Tensor]) -> Scaled:
    x = operands[0]
    if name == "exp":
        return Scaled(x)
    if name == "exp2":
        return Scaled(x * log_of(2))
    y = operands[1] if name == "exp_difference" else -x
    top = stop_gradient(maximum(x, y))
    top = where(isfinite(top), top, 0.0)
    if name == "cosh":
        return Scaled(top, 0.5 * (centred_exp(x, top) + centred_exp(y, top)), 1)
    weight = expm1(x - top) - expm1(y - top)  # which does not cancel: one of the two is 0
    return Scaled(top, 0.5 * weight if name == "sinh" else weight, 1)


def _of_one(node: Node, inner: Scaled) -> Scaled | None:
    exponent, weight, sums = inner
    (result,), operand = node.results, node.operands[0]
    match node.op.name:
        case "negative":
            return Scaled(
                exponent, constant(-1, exponent.dtype) if weight is None else -weight, sums
            )
        case "sum":
            return _over_axes(inner, operand, node.attrs["axes"])
        case "cast":
            dtype = wide(result).dtype
            weight = None if weight is None else astype(weight, dtype)
            return Scaled(astype(exponent, dtype), weight, sums)
        case "square":
            return Scaled(exponent + exponent, None if weight is None else weight * weight, sums)
        case "sqrt":
            return Scaled(0.5 * exponent, None if weight is None else sqrt(weight), sums)
        case "pow":
            power = uniform(node.operands[1])
            if power is None:
                return None
            return Scaled(exponent * power, None if weight is None else weight**power, sums)
        case _:
            parts = (exponent, weight)
            x, w = (None if t is None else _selected(node, operand, t) for t in parts)
            return None if x is None else Scaled(x, w, sums)


def _times(x: Scaled, y: Scaled) -> Tensor | None:
    if x.weight is None or y.weight is None:
        return x.weight if y.weight is None else y.weight
    return x.weight * y.weight


def _over(x: Scaled, y: Scaled) -> Tensor | None:
    if y.weight is None:
        return x.weight
    return (constant(1, y.weight.dtype) if x.weight is None else x.weight) / y.weight


def _choice(node: Node, parts: Sequence[Scaled | None]) -> Scaled:
    condition, *choices = node.operands
    x, y = parts
    if x is None or y is None:  # the other keeps its exponent: at 0, say, only the weight counts
        known = x or y
        assert known is not None
        exponent = known.exponent
        if uniform(choices[0 if x is None else 1]) != 0:
            exponent = where(condition, *([0.0, exponent] if x is None else [exponent, 0.0]))
        weights = [
            wide(choice) if part is None else 1.0 if part.weight is None else part.weight
            for part, choice in zip((x, y), choices, strict=True)
        ]
        return Scaled(exponent, where(condition, *weights), known.sums)
    weight = None
    if x.weight is not None or y.weight is not None:
        weight = where(condition, *(1.0 if p.weight is None else p.weight for p in (x, y)))
    return Scaled(where(condition, x.exponent, y.exponent), weight, x.sums + y.sums)


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


def _total(parts: Sequence[Scaled], signs: Sequence[bool]) -> Scaled:
    """The sum of `parts`, of which those with the sign False are subtracted."""
    first = parts[0].exponent
    if all(part.exponent is first for part in parts):
        one = constant(1, first.dtype)
        top, terms = first, [one if part.weight is None else part.weight for part in parts]
    else:
        top = reduce(maximum, map(_largest, parts))
        top = stop_gradient(where(isfinite(top), top, 0.0))
        terms = [centred(part, top) for part in parts]
    total = joined(list(zip(terms, signs, strict=True)), add, subtract)
    return Scaled(top, total, sum(part.sums for part in parts) + 1)
