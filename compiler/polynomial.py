"""Tensors read as polynomials over others: what rules about differences ask and build with.

``x + 1``, ``1 - (-x)`` and ``2 * (x * 0.5 + 0.5)`` are one polynomial, so a rule needs not list
the ways to spell it.  Numbers are read as floats, element-wise sums, differences and products as
what they are; everything else is an unknown.
"""

from __future__ import annotations

from math import isfinite

from ..ir.dtypes import DType
from ..ir.ops.arithmetic import add, multiply, negative, square, subtract
from ..ir.ops.build import constant
from ..ir.ops.types import finfo
from ..ir.tensor import Tensor
from .pattern import uniform

Monomial = tuple[Tensor, ...]  # unknowns that are multiplied; none for a number
Polynomial = dict[Monomial, float]

_DEEPEST = 6  # ops that are looked through
_MOST = 12  # monomials of a product


def number(tensor: Tensor) -> float | None:
    """The finite number that fills `tensor`, if there is one."""
    value = uniform(tensor)
    if value is None or isinstance(value, bool) or not isfinite(value):
        return None
    return float(value)


class Reader:
    """Reads and builds polynomials; unknowns have the order in which they were met.

    linear: products of unknowns are unknowns themselves.
    """

    def __init__(self, linear: bool = False) -> None:
        self.linear = linear
        self.places: dict[Tensor, int] = {}

    def read(self, tensor: Tensor, depth: int = _DEEPEST) -> Polynomial:
        value = number(tensor)
        if value is not None:
            return {(): value} if value else {}
        node = tensor.node
        name, operands = node.op.name, node.operands
        if depth and name in ("add", "subtract"):
            left, right = (self.read(operand, depth - 1) for operand in operands)
            return plus(left, right, 1.0 if name == "add" else -1.0)
        if depth and name == "negative":
            return times(self.read(operands[0], depth - 1), -1.0)
        if depth and name == "divide":
            divisor = number(operands[1])
            if divisor:
                return times(self.read(operands[0], depth - 1), 1 / divisor)
        if depth and name == "difference_of_squares" and not self.linear:
            squares = [self.read(square(operand), depth - 1) for operand in operands]
            return plus(squares[0], squares[1], -1.0)
        if depth and name in ("multiply", "square"):
            left, right = self.read(operands[0], depth - 1), self.read(operands[-1], depth - 1)
            for one, other in ((left, right), (right, left)):
                if all(monomial == () for monomial in one):
                    return times(other, one.get((), 0.0))
            if not self.linear and len(left) * len(right) <= _MOST:
                return self._product(left, right)
        self.places.setdefault(tensor, len(self.places))
        return {(tensor,): 1.0}

    def _product(self, left: Polynomial, right: Polynomial) -> Polynomial:
        result: Polynomial = {}
        for one, a in left.items():
            for other, b in right.items():
                monomial = tuple(sorted((*one, *other), key=lambda t: self.places[t]))
                result = plus(result, {monomial: a * b})
        return result


def plus(left: Polynomial, right: Polynomial, factor: float = 1.0) -> Polynomial:
    """left + factor · right, without what cancels."""
    result = dict(left)
    for monomial, value in right.items():
        total = result.get(monomial, 0.0) + factor * value
        if total:
            result[monomial] = total
        else:
            result.pop(monomial, None)
    return result


def times(polynomial: Polynomial, factor: float) -> Polynomial:
    return {monomial: factor * value for monomial, value in polynomial.items()} if factor else {}


def cancels(left: Polynomial, right: Polynomial) -> bool:
    """Whether something is in both that their difference has no more."""
    return len(plus(left, right, -1.0)) <= len(left) + len(right) - 2


def squared(tensor: Tensor) -> Tensor | None:
    """x where `tensor` is x²."""
    node = tensor.node
    if node.op.name == "square":
        return node.operands[0]
    if node.op.name == "multiply" and node.operands[0] is node.operands[1]:
        return node.operands[0]
    return None


def fits(value: float, dtype: DType) -> bool:
    """Whether `value` is a normal number of a float dtype: two numbers may only become one that is,
    as 1e30 · (1e20 · x) has a value where 1e50 · x has none."""
    limits = finfo(dtype)
    return limits.smallest_normal <= abs(value) <= limits.max


def factor_of(tensor: Tensor) -> tuple[float, Tensor]:
    """c and x of c · x, where c is a number."""
    factor = 1.0
    for _ in range(8):
        name, operands = tensor.node.op.name, tensor.node.operands
        if name == "negative":
            factor, tensor = -factor, operands[0]
        elif name == "multiply" and (value := number(operands[0])):
            factor, tensor = factor * value, operands[1]
        elif name == "multiply" and (value := number(operands[1])):
            factor, tensor = factor * value, operands[0]
        elif name == "divide" and (value := number(operands[1])):
            factor, tensor = factor / value, operands[0]
        else:
            break
    return factor, tensor


def scaled(tensor: Tensor, factor: float) -> Tensor:
    """factor · tensor; a factor in it already is taken along, where the dtype has the product."""
    if factor == 1.0:
        return tensor
    if factor == -1.0:
        return negative(tensor)
    node = tensor.node
    if node.op.name == "multiply":
        for one, other in (node.operands, node.operands[::-1]):
            value = number(one)
            if value is not None and fits(value * factor, tensor.dtype):
                return scaled(other, value * factor)
    if node.op.name == "negative":
        return scaled(node.operands[0], -factor)
    return multiply(factor, tensor)


def build(polynomial: Polynomial, like: Tensor) -> Tensor:
    """The sum as a tensor; a number is one of the dtype of `like`."""
    if not polynomial or tuple(polynomial) == ((),):
        return constant(polynomial.get((), 0.0), like.dtype)
    if len(polynomial) > 1 and () not in polynomial:
        shared = _shared(list(polynomial))
        if shared is not None:  # x² + 2x as x · (x + 2)
            rest: Polynomial = {}
            for monomial, value in polynomial.items():
                left = list(monomial)
                left.pop(next(i for i, t in enumerate(left) if t is shared))
                rest[tuple(left)] = value
            return multiply(shared, build(rest, like))
    result: Tensor | None = None
    terms = [item for item in polynomial.items() if item[0]]
    for monomial, value in sorted(terms, key=lambda item: item[1] < 0):
        size = abs(value)
        term = scaled(_product_of(monomial), -size if result is None and value < 0 else size)
        if result is None:
            result = term
        else:
            result = add(result, term) if value > 0 else subtract(result, term)
    assert result is not None
    value = polynomial.get((), 0.0)
    if not value:
        return result
    return add(result, value) if value > 0 else subtract(result, -value)


def _shared(monomials: list[Monomial]) -> Tensor | None:
    """An unknown of which every monomial has a power."""
    for tensor in monomials[0]:
        if all(any(t is tensor for t in monomial) for monomial in monomials):
            return tensor
    return None


def _product_of(monomial: Monomial) -> Tensor:
    first, *rest = monomial
    result = first
    while rest:
        if len(rest) % 2 and rest[0] is result:
            result = square(result)
            rest = rest[1:]
        else:
            result = multiply(result, rest.pop(0))
    return result
