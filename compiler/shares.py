"""An exponential over a sum that it is a term of: an entry of a softmax.

The quotient rule has two terms, ct · y and y · Σ ct · y.  Where one y is nearly 1 they are nearly
equal, and their difference, which is all of its derivative, is rounding.  The op knows better.
"""

from __future__ import annotations

from math import inf, log
from typing import NamedTuple

from ..ir.ops.build import constant
from ..ir.ops.composite import softmax
from ..ir.ops.contraction import matmul_
from ..ir.ops.join import concat
from ..ir.ops.reduction import sum_
from ..ir.ops.shape import broadcast_to, only_ones_differ, reshape
from ..ir.ops.slicing import slice_axis
from ..ir.shapes import keep_axes
from ..ir.tensor import Node, Tensor
from .pattern import uniform
from .rewrite import Rule

_MOST_TERMS = 64


class _Term(NamedTuple):
    """exp(exponent − centre) summed over `axes`; no derivative flows into the centre."""

    exponent: Tensor
    centre: Tensor | None = None
    axes: tuple[int, ...] = ()

    def sits(self, other: _Term) -> bool:
        return self.exponent is other.exponent and self.centre is other.centre


def _bare(tensor: Tensor) -> Tensor:
    """`tensor` before axes of size 1 were added or dropped."""
    node = tensor.node
    changed = node.op.name == "reshape" and only_ones_differ(node.operands[0].shape, tensor.shape)
    return node.operands[0] if changed else tensor


def _exponential(tensor: Tensor) -> _Term | None:
    node = tensor.node
    if node.op.name == "exp":
        return _Term(node.operands[0])
    if node.op.name == "centred_exp" and node.operands[0].shape == tensor.shape:
        centre = _bare(node.operands[1])
        return _Term(node.operands[0], centre) if centre.node.op.name == "stop_gradient" else None
    return None


def _terms(total: Tensor) -> list[_Term] | None:
    """What adds up to `total`; a positive number is the exponential of its logarithm."""
    found: list[_Term | None] = []
    pending = [total]
    while pending:
        tensor = _bare(pending.pop())
        node, number = tensor.node, uniform(tensor)
        if node.op.name == "add" and len(pending) + len(found) < _MOST_TERMS:
            pending += node.operands[::-1]
        elif number is not None:
            is_positive = 0 < number < inf
            found.append(_Term(constant(log(number), tensor.dtype)) if is_positive else None)
        elif node.op.name == "sum":
            term = _exponential(node.operands[0])
            found.append(term and term._replace(axes=node.attrs["axes"]))
        else:
            found.append(_exponential(tensor))
    terms = [term for term in found if term is not None]
    return terms if len(terms) == len(found) else None


def _softmax(own: _Term, others: list[_Term]) -> Tensor | None:
    """Softmax of all terms side by side, of it the entries that are `own`."""
    x = own.exponent
    if not others:
        return softmax(x, own.axes)
    summed = [term for term in (own, *others) if term.axes]
    axes = summed[0].axes if summed else (0,)
    kept = keep_axes(summed[0].exponent.shape, axes) if summed else (1, *x.shape)
    if len(axes) != 1:
        return None
    axis = axes[0]
    parts: list[Tensor] = []
    for term in (own, *others):
        y = term.exponent
        if term.axes:
            if term.axes != axes or keep_axes(y.shape, axes) != kept:
                return None
            parts.append(y)
        elif y.shape == ():
            parts.append(broadcast_to(y, kept))
        elif only_ones_differ(y.shape, kept):
            parts.append(reshape(y, kept))
        else:
            return None
    shares = softmax(concat(parts, axis), axis)
    return reshape(slice_axis(shares, axis, 0, parts[0].shape[axis]), x.shape)


def _stands_beside(total: Tensor, x: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether `total` is broadcast over the axes of `x` that were summed, and over no others."""
    shape = total.shape
    return (1,) * (x.ndim - len(shape)) + shape == keep_axes(x.shape, axes)


def _share(node: Node) -> Tensor | None:
    above, below = node.operands
    term, terms = _exponential(_bare(above)), _terms(below)
    if term is None or terms is None or above.shape != node.results[0].shape:
        return None
    own = [other for other in terms if other.sits(term)]
    others = [other for other in terms if not other.sits(term)]
    if len(own) != 1 or any(other.centre is not None for other in others):
        return None
    (summed,) = own
    if summed.axes:
        beside = _stands_beside(below, summed.exponent, summed.axes)
        return _softmax(summed, others) if beside and _bare(above) is above else None
    if below.shape != above.shape or (len(terms) < 3 and not any(t.axes for t in terms)):
        return None  # of two it is a sigmoid
    shares = _softmax(summed, others)
    return None if shares is None else reshape(shares, above.shape)


def _average(node: Node) -> Tensor | None:
    above, below = node.operands
    terms, inner = _terms(below), _bare(above).node
    if terms is None or len(terms) != 1 or not terms[0].axes:
        return None
    (total,) = terms
    x, axes = total.exponent, total.axes

    def shares(factor: Tensor) -> Tensor | None:
        term = _exponential(_bare(factor))
        found = term is not None and term.sits(total)
        return reshape(softmax(x, axes), factor.shape) if found else None

    if inner.op.name == "matmul" and axes == (x.ndim - 1,) and _stands_beside(below, x, axes):
        a, b = inner.operands
        left, right = shares(a), shares(b) if x.ndim == 1 else None
        if left is None and right is None:
            return None
        return reshape(
            matmul_(a if left is None else left, b if right is None else right), above.shape
        )
    if inner.op.name != "sum" or inner.attrs["axes"] != axes or above.shape != below.shape:
        return None
    product = inner.operands[0].node
    if product.op.name == "multiply" and product.results[0].shape == x.shape:
        for factor, weight in (product.operands, product.operands[::-1]):
            found = shares(factor)
            if found is not None:
                return reshape(sum_(weight * found, axes=axes), above.shape)
    return None


SHARES = (
    Rule(
        "exp(x) / (Σ exp(x) + exp(y)) -> softmax([x, y])[x]",
        "exp overflows; softmax's derivative is accurate where one entry is nearly certain",
        code=_share,
        roots=("divide",),
        title="softmax",
    ),
    Rule(
        "Σ w * exp(x) / Σ exp(x) -> Σ w * softmax(x)",
        "exp overflows; softmax's derivative is accurate where one entry is nearly certain",
        code=_average,
        roots=("divide",),
        title="softmax",
    ),
)
