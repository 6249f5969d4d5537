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
from ..ir.ops.composite import logsumexp, softmax
from ..ir.ops.contraction import matmul_
from ..ir.ops.conversion import cast, stop_gradient
from ..ir.ops.join import concat, stack
from ..ir.ops.logarithms import centred_exp
from ..ir.ops.logic import equal, isfinite, where
from ..ir.ops.reduction import max_, sum_
from ..ir.ops.shape import broadcast_to
from ..ir.ops.transcendental import log
from ..ir.ops.types import finfo
from ..ir.tensor import Node, Tensor
from .pattern import uniform
from .positive import NUMBER, has_log, kind
from .rewrite import Rule

_DEEPEST = 24
# Exponentials in disguise: bounded, but below they vanish.
_HYPERBOLIC = {"sinh": "subtract", "cosh": "add"}
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
        return _total(Scaled(operands[0]), Scaled(operands[1]), "subtract")
    if name in ("sinh", "cosh"):
        found = _total(Scaled(operands[0]), Scaled(-operands[0]), _HYPERBOLIC[name])
        assert found.weight is not None
        return found._replace(weight=0.5 * found.weight)
    if name == "pow":
        return _read_power(node, bounded, depth)
    if bounded and name in _BOUNDED:
        return Scaled(log(tensor))
    if name in ("multiply", "divide", "add", "subtract"):
        x, y = (read(operand, bounded, depth + 1) for operand in operands)
        if x is None and y is None:
            return None
        x, y = (part or _plain(t) for part, t in zip((x, y), operands, strict=True))
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


def _plain(tensor: Tensor) -> Scaled:
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
        return Scaled(top, matmul_(_centred(x, top, a), b), x.sums + 1)
    y = read(b, bounded, depth + 1)
    if y is None:
        return None
    top = stop_gradient(_largest(y, (b.ndim - 2,)))
    return Scaled(top, matmul_(a, _centred(y, top, b)), y.sums + 1)


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


def _centred(x: Scaled, top: Tensor, like: Tensor | None = None) -> Tensor:
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
    return Scaled(top, sum_(_centred(x, top, operand), axes=axes), x.sums + 1)


def _total(x: Scaled, y: Scaled, name: str) -> Scaled:
    top = maximum(_largest(x), _largest(y))
    top = stop_gradient(where(isfinite(top), top, 0.0))
    parts = [_centred(part, top) for part in (x, y)]
    total = Node(TABLE[name], parts, {}).results[0]
    return Scaled(top, total, x.sums + y.sums + 1)


# --- rules ------------------------------------------------------------------------------------


def _quotient(node: Node) -> Tensor | None:
    x, y = node.operands
    below = read(y, bounded=False)
    if below is None or below.sums == 0 or below.weight is None:
        return None
    if y.node.op.name == "sum" and y.node.operands[0] is x:
        inner = read(x, bounded=False)
        if inner is not None and inner.weight is None:
            return _softmax(x, inner.exponent, y.node.attrs["axes"])
    above = read(x, bounded=False) or _plain(x)
    return _centred(above, below.exponent) / below.weight


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
    if has_log(x) and not _is_mixed(x):
        return None
    found = read(x, bounded=True)
    if found is None or found.weight is None:
        return None
    return found.exponent + log(found.weight)


def _is_mixed(tensor: Tensor) -> bool:
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


def _parts(tensor: Tensor) -> list[Tensor]:
    """The terms, at least one, whose exponentials add up to that of `tensor`."""
    found: list[Tensor] = []
    pending = [tensor]
    while pending:
        term = pending.pop()
        name, operands = term.node.op.name, term.node.operands
        if name == "logaddexp" and len(pending) + len(found) < _DEEPEST:
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
    if sums:
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
    if len(parts) < 3:
        return None
    spread = [broadcast_to(part, root.shape) for part in parts]
    return logsumexp(stack(spread), 0)


IN_ONE = Rule(
    "logaddexp(logaddexp(x, y), z) -> logsumexp([x, y, z])",
    "no sum is rounded before its difference from the others is taken",
    code=_in_one,
    roots=("logaddexp",),
)

QUOTIENT = Rule(
    "w * exp(x) / Σ v * exp(y) -> w * exp(x - k) / Σ v * exp(y - k)",
    "exp overflows, or all terms of the sum underflow; with k the largest y none does",
    code=_quotient,
    roots=("divide",),
)

LOGARITHM = Rule(
    "log(Σ w * exp(x)) -> k + log(Σ w * exp(x - k))",
    "exp overflows, or all terms of the sum underflow; with k the largest x none does",
    code=_logarithm,
    roots=("log",),
)
