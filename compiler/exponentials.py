"""Quotients and logarithms of sums of exponentials: shares where they are some, else centred."""

from __future__ import annotations

from collections.abc import Sequence
from math import log as log_of

from ..ir.ops.arithmetic import divide, multiply
from ..ir.ops.build import constant
from ..ir.ops.composite import logsumexp, softmax
from ..ir.ops.contraction import matmul_
from ..ir.ops.conversion import astype, stop_gradient
from ..ir.ops.join import concat
from ..ir.ops.reduction import max_, sum_
from ..ir.ops.shape import broadcast_to, reshape
from ..ir.ops.slicing import slice_axis
from ..ir.ops.transcendental import log
from ..ir.ops.weighted import weighted_softmax
from ..ir.shapes import keep_axes
from ..ir.tensor import Node, Tensor
from .beyond_formulas import is_mixed, selected_from
from .pattern import uniform
from .positive import has_log
from .rewrite import Rule
from .scaled import Scaled, centred, plain, read
from .terms import Term, joined, laid_out

_MOST = 24  # terms of a sum


def _quotient(node: Node) -> Tensor | None:
    x, y = node.operands
    below = read(y, bounded=False)
    if below is None or below.sums == 0 or below.weight is None:
        return None
    above = read(x, bounded=False) or plain(x)
    return astype(centred(above, below.exponent) / below.weight, y.dtype)


def _share(node: Node) -> Tensor | None:
    """A product over a sum along axes, as what softmax makes of the terms of the sum."""
    factors = laid_out(node.results[0], "multiply", "divide")
    for i, (y, multiplies) in enumerate(factors):
        if not multiplies and y.dtype.is_float:
            made = _shares(y, [*factors[:i], *factors[i + 1 :]])
            if made is not None:
                return made
    return None


def _shares(y: Tensor, above: Sequence[Term]) -> Tensor | None:
    """The product of `above` over the sum `y`, to which a number may be added."""
    number = None
    if y.node.op.name == "add":
        for total, other in (y.node.operands, y.node.operands[::-1]):
            value = uniform(other)
            if value is not None and value > 0:
                y, number = total, constant(value, other.dtype)
    if y.node.op.name != "sum":
        return None
    (terms,) = y.node.operands
    axes: tuple[int, ...] = y.node.attrs["axes"]
    if not terms.dtype.is_half:
        inner = read(terms, bounded=False)
    elif terms.node.op.name == "exp":  # its exponent is as it is; of others it would be rounded
        inner = Scaled(terms.node.operands[0])
    else:
        return None
    if inner is None or inner.sums or (number is not None and len(axes) != 1):
        return None
    exponent = _whole(inner.exponent, terms)
    weight = None if inner.weight is None else _whole(inner.weight, terms)
    if number is not None:  # one term more
        beside = keep_axes(terms.shape, axes)
        exponent = concat([exponent, broadcast_to(log(number), beside)], axes[0])
        if weight is not None:
            weight = concat([weight, broadcast_to(constant(1, number.dtype), beside)], axes[0])
    if weight is not None:
        shares = weighted_softmax(exponent, weight, axes=axes)
    elif number is not None:
        shares = softmax(exponent, axis=axes)
    else:
        shares = _softmax(terms, exponent, axes)
    if number is not None:
        shares = slice_axis(shares, axes[0], 0, terms.shape[axes[0]])
    return _share_of(above, terms, inner.exponent, shares, axes)


def _whole(tensor: Tensor, like: Tensor) -> Tensor:
    return tensor if tensor.shape == like.shape else broadcast_to(tensor, like.shape)


def _share_of(
    above: Sequence[Term], terms: Tensor, exponent: Tensor, shares: Tensor, axes: tuple[int, ...]
) -> Tensor | None:
    """The product of `above` over the sum of `terms`, where it is made of them."""
    rest = list(above)
    for own, multiplies in laid_out(terms, "multiply", "divide"):
        place = next((i for i, (t, up) in enumerate(rest) if t is own and up == multiplies), None)
        if place is None:
            break
        del rest[place]
    else:
        return joined([(shares, True), *rest], multiply, divide)
    for i, (x, multiplies) in enumerate(above):
        if not multiplies:
            continue
        rest = [*above[:i], *above[i + 1 :]]
        made = None
        name, operands = x.node.op.name, x.node.operands
        inside = operands[0] if name == "exp" else x
        found = selected_from(exponent if name == "exp" else terms, inside, axes)
        if found is not None:
            made = reshape(found.remake([shares, *found.operands[1:]]).results[0], x.shape)
        elif name == "matmul" and axes == (terms.ndim - 1,) and operands[0] is terms:
            made = matmul_(shares, operands[1])
        elif name == "sum" and x.node.attrs["axes"] == axes:
            inner = laid_out(operands[0], "multiply", "divide")
            made = _share_of(inner, terms, exponent, shares, axes)
            made = None if made is None else sum_(made, axes=axes)
        if made is not None:
            return joined([(made, True), *rest], multiply, divide)
    return None


def _softmax(x: Tensor, exponent: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Of a power of 2, say, the exponents are centred before they are multiplied by log(2)."""
    power = {"exp2": 0, "pow": 1}.get(x.node.op.name)
    if power is not None:
        plain = x.node.operands[power]
        if plain.shape == x.shape:
            centre = stop_gradient(max_(plain, axes=axes))
            base = 2.0 if power == 0 else uniform(x.node.operands[0])
            assert base is not None
            if base > 1:
                exponent = (plain - centre) * log_of(base)
    return softmax(exponent, axis=axes)


def _logarithm(node: Node) -> Tensor | None:
    (x,) = node.operands
    if has_log(x) and not is_mixed(x):
        return None
    found = read(x, bounded=True)
    if found is None or found.weight is None:
        return None
    return astype(found.exponent + log(found.weight), x.dtype)


def _parts(tensor: Tensor) -> list[Tensor]:
    """The terms, at least one, whose exponentials add up to that of `tensor`."""
    found: list[Tensor] = []
    pending = [tensor]
    while pending:
        term = pending.pop()
        name, operands = term.node.op.name, term.node.operands
        if name == "logaddexp" and len(pending) + len(found) < _MOST:
            pending += operands[::-1]
        elif name == "softplus" and (pending or found):
            found.append(constant(0, term.dtype))
            pending += operands
        else:
            found.append(term)
    return found


def _in_one(node: Node) -> Tensor | None:
    root = node.results[0]
    parts = _parts(root)
    sums = [part.node for part in parts if part.node.op.name == "logsumexp"]
    if not sums:
        return None  # pairs stay in one kernel
    axes, shape = sums[0].attrs["axes"], sums[0].results[0].shape
    if len(axes) != 1 or root.shape != shape or any(s.attrs["axes"] != axes for s in sums):
        return None
    if any(part.shape not in (shape, ()) for part in parts):
        return None
    spread = [
        part.node.operands[0] if part.node.op.name == "logsumexp" else broadcast_to(part, shape)
        for part in parts
    ]
    return logsumexp(concat(spread, axes[0]), axes[0], keepdims=True)


IN_ONE = Rule(
    "logaddexp(logsumexp(x), y) -> logsumexp([x, y])",
    "no sum is rounded before its difference from the others is taken",
    code=_in_one,
    roots=("logaddexp",),
    title="logsumexp",
)

SHARE = Rule(
    "w * exp(x) / Σ w * exp(x) -> weighted_softmax(x, w)",
    "exp overflows; and softmax knows its derivative where one share is nearly 1",
    code=_share,
    roots=("divide", "multiply"),
    title="softmax",
)

QUOTIENT = Rule(
    "w * exp(x) / Σ v * exp(y) -> w * exp(x - k) / Σ v * exp(y - k)",
    "exp overflows, or all terms of the sum underflow; with k the largest y none does",
    code=_quotient,
    roots=("divide",),
    late=True,
    title="centred exponentials",
)

LOGARITHM = Rule(
    "log(Σ w * exp(x)) -> k + log(Σ w * exp(x - k))",
    "exp overflows, or all terms of the sum underflow; with k the largest x none does",
    code=_logarithm,
    roots=("log",),
    late=True,
    title="centred exponentials",
)
