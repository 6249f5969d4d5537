"""Which tensors have a logarithm of their own: what rules about ``log`` ask of their variables.

``log(x * y) -> log(x) + log(y)`` holds where x and y are positive and gains where one of them is an
exponential: its logarithm is its exponent, which neither overflows nor underflows.  Whether a
tensor is such a positive quantity is read off the graph: exponentials, probabilities, and what
products, quotients, powers, sums, maxima and selections make of them and of positive numbers.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from ..ir.array import Array
from ..ir.tensor import Node, Tensor
from .pattern import uniform

UNKNOWN = 0  # may be negative, or its logarithm is nothing better than log(x)
NUMBER = 1  # a constant or a size, not negative
EXPONENTIAL = 2  # is never negative, and has an exponential in it

_EXPONENTIALS = (
    *("exp", "exp2", "sigmoid", "softmax", "normal_cdf", "erfc", "cosh", "centred_exp"),
    *("tanh_slope", "sech"),
)
_NEVER_POSITIVE = ("log_softmax", "log_normal_cdf", "log1mexp")
_LARGEST = 4096  # elements of a constant whose signs are looked at

# Positions of the operands that must be positive for the result to be.
_FIRST = ("pow", "sqrt", "rsqrt", "square", "stop_gradient")
_ALL = ("multiply", "divide", "add", "maximum", "minimum", "concat")
_REDUCTIONS = ("sum", "prod", "max", "min", "cumulative_sum", "cumulative_prod")

_known: WeakKeyDictionary[Node, int] = WeakKeyDictionary()


def has_log(tensor: Tensor) -> bool:
    """Whether rules can turn ``log(tensor)`` into something that sees no exponential any more."""
    return kind(tensor) == EXPONENTIAL


def is_positive(tensor: Tensor) -> bool:
    """Whether `tensor` has a logarithm of its own, or is a number or size of 0 or more."""
    return kind(tensor) != UNKNOWN


def kind(tensor: Tensor) -> int:
    """UNKNOWN, NUMBER or EXPONENTIAL."""
    return settled(tensor.node, _known, _asked, _kind)


def settled(
    node: Node,
    known: MutableMapping[Node, int],
    asked: Callable[[Node], Sequence[Tensor]],
    decide: Callable[[Node, Sequence[int]], int],
) -> int:
    """What `decide` makes of a node and of what it made of the operands that it has `asked` for.

    Remembered in `known`, and found without recursion.
    """
    pending = [node]
    while pending:
        last = pending[-1]
        if last in known:
            pending.pop()
            continue
        wanted = asked(last)
        missing = [t.node for t in wanted if t.node not in known]
        if missing:
            pending.extend(missing)
            continue
        known[last] = decide(last, [known[t.node] for t in wanted])
        pending.pop()
    return known[node]


def _asked(node: Node) -> Sequence[Tensor]:
    """The operands whose sign decides about the sign of the result."""
    name, operands = node.op.name, node.operands
    if not node.results[0].dtype.is_float:
        return ()
    if name in _ALL:
        return operands
    if name == "where":
        return operands[1:]
    if name in _FIRST or name in _REDUCTIONS or node.op.kind in ("view", "gather"):
        return operands[:1]
    return operands[:1] if name == "cast" and operands[0].dtype.is_float else ()


def _kind(node: Node, found: Sequence[int]) -> int:
    name = node.op.name
    if not node.results[0].dtype.is_float or len(node.results) != 1:
        return UNKNOWN
    if name == "pow" and found[0] == NUMBER and uniform(node.operands[1]) is None:
        return EXPONENTIAL  # 2 ** x
    if found:
        return max(found) if min(found) != UNKNOWN else UNKNOWN
    own: Callable[[Node], int] | None = _OWN.get(name)
    if own is not None:
        return own(node)
    return EXPONENTIAL if name in _EXPONENTIALS else UNKNOWN


def _constant(node: Node) -> int:
    value = node.attrs.get("value")
    if not isinstance(value, Array) or not 0 < value.values.size <= _LARGEST:
        return UNKNOWN
    return NUMBER if bool(np.all(value.values >= 0)) else UNKNOWN


def _cast(node: Node) -> int:
    """Of a size, an integer, or of a mask, which is 0 or 1."""
    inner = node.operands[0]
    is_number = inner.node.op.name == "dimension" or inner.dtype.kind == "b"
    return NUMBER if is_number else UNKNOWN


def _subtract(node: Node) -> int:
    """1 - mask."""
    one, mask = node.operands
    is_mask = mask.node.op.name == "cast" and mask.node.operands[0].dtype.kind == "b"
    return NUMBER if is_mask and uniform(one) == 1 else UNKNOWN


def _negative(node: Node) -> int:
    """−expm1(x), which is 1 − eˣ, for an x that is no more than 0."""
    inner = node.operands[0].node
    if inner.op.name != "expm1":
        return UNKNOWN
    exponent = inner.operands[0].node
    while exponent.op.kind in ("view", "gather"):
        exponent = exponent.operands[0].node
    if exponent.op.name == "negative":
        positive = exponent.operands[0].node
        return EXPONENTIAL if positive.op.name in ("exp", "softplus", "square", "abs") else UNKNOWN
    return EXPONENTIAL if exponent.op.name in _NEVER_POSITIVE else UNKNOWN


_OWN: dict[str, Callable[[Node], int]] = {
    "constant": _constant,
    "dimension": lambda node: NUMBER,
    "cast": _cast,
    "negative": _negative,
    "subtract": _subtract,
}
