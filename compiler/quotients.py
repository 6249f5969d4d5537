"""Rules about quotients: what is 0 / 0 at 0, and the numbers in them.

Where numerator and denominator vanish together, as in sin(x) / x, the value survives rounding but
the derivative does not: it is a difference of quotients that agree in all digits.  Near 0 such a
quotient is therefore its Taylor series.
"""

from __future__ import annotations

from math import factorial, pi, sqrt

from ..ir.dtypes import DType, float32
from ..ir.ops.arithmetic import absolute, divide, multiply, square
from ..ir.ops.differences import quotient_of
from ..ir.ops.logic import less, where
from ..ir.ops.shape import broadcast_to
from ..ir.ops.types import finfo
from ..ir.tensor import Node, Tensor
from .polynomial import (
    Reader,
    build,
    factor_of,
    fits,
    number,
    plus,
    scaled,
    squared,
)
from .positive import has_log
from .rewrite import Rule

# --- f(x) / x -----------------------------------------------------------------------------------


def _tangents(count: int) -> list[float]:
    """Coefficients of tan(x) / x in x²: the series of sin over that of cos."""
    found: list[float] = []
    for k in range(count):
        value = (-1) ** k / factorial(2 * k + 1)
        for j, earlier in enumerate(found):
            value -= earlier * (-1) ** (k - j) / factorial(2 * (k - j))
        found.append(value)
    return found


def _arc(k: int) -> float:
    return factorial(2 * k) / (4**k * factorial(k) ** 2 * (2 * k + 1))


# f(x) / x below a bound: coefficients in x² of odd functions, in x of the others.
_ODD: dict[str, tuple[float, list[float]]] = {
    "sin": (0.5, [(-1) ** k / factorial(2 * k + 1) for k in range(8)]),
    "sinh": (0.5, [1 / factorial(2 * k + 1) for k in range(8)]),
    "tan": (0.25, _tangents(10)),
    "tanh": (0.25, [(-1) ** k * c for k, c in enumerate(_tangents(10))]),
    "asin": (0.25, [_arc(k) for k in range(12)]),
    "asinh": (0.25, [(-1) ** k * _arc(k) for k in range(12)]),
    "atan": (0.25, [(-1) ** k / (2 * k + 1) for k in range(13)]),
    "atanh": (0.25, [1 / (2 * k + 1) for k in range(13)]),
    "erf": (0.5, [2 / sqrt(pi) * (-1) ** k / (factorial(k) * (2 * k + 1)) for k in range(10)]),
}
_OTHERS: dict[str, tuple[float, list[float]]] = {
    "expm1": (0.5, [1 / factorial(k + 1) for k in range(14)]),
    "log1p": (0.0625, [(-1) ** k / (k + 1) for k in range(13)]),
}


def _that_count(coefficients: list[float], largest: float, dtype: DType) -> list[float]:
    """The first coefficients: those of terms that count in `dtype`, in derivatives too."""
    least = finfo(float32 if dtype.is_half else dtype).eps / 256 * coefficients[0]
    return [c for k, c in enumerate(coefficients) if abs(c) * largest**k > least]


def _per_argument(function: Node) -> Tensor:
    """f(u) / u, by its series where u is small."""
    (u,), name = function.operands, function.op.name
    bound, coefficients = _ODD[name] if name in _ODD else _OTHERS[name]
    coefficients = _that_count(coefficients, bound**2 if name in _ODD else bound, u.dtype)
    is_small = less(absolute(u), bound)
    small = where(is_small, u, 0.0)
    z = square(small) if name in _ODD else small
    series = scaled(z, coefficients[-1])
    for coefficient in coefficients[-2:0:-1]:
        series = z * (series + coefficient)
    large = where(is_small, 1.0, u)
    quotient = divide(function.remake([large]).results[0], large)
    return where(is_small, series + coefficients[0], quotient)


def _is_guarded(u: Tensor) -> bool:
    """Whether small u are excluded already."""
    node = u.node
    return (
        node.op.name == "where"
        and node.operands[0].node.op.name == "less"
        and number(node.operands[1]) == 1.0
    )


def _vanishing(node: Node) -> Tensor | None:
    above, below = node.operands
    if not node.results[0].dtype.is_float:
        return None
    (a, top), (b, bottom) = factor_of(above), factor_of(below)
    if top.shape != node.results[0].shape:
        return None
    p, q = squared(top), squared(bottom)
    if p is not None and q is not None:
        return scaled(square(divide(p, q)), a / b)
    if p is not None:
        inner = _of_same(p, bottom)
        return None if inner is None else scaled(multiply(p, divide(p, bottom)), a / b)
    k = _of_same(top, bottom)
    if k is not None:
        return scaled(_per_argument(top.node), a * k / b)
    k = _of_same(bottom, top) if bottom.shape == top.shape else None
    return None if k is None else divide(a / (b * k), _per_argument(bottom.node))


def _numbers_out(node: Node) -> Tensor | None:
    (c, x), (d, y) = (factor_of(operand) for operand in node.operands)
    if abs(c) == 1.0 or abs(c) != abs(d) or not node.results[0].dtype.is_float:
        return None  # x / y may overflow or underflow where another multiple of it does not
    if x.shape != node.operands[0].shape or y.shape != node.operands[1].shape:
        return None
    return scaled(divide(x, y), c / d)


def _reciprocal_twice(node: Node) -> Tensor | None:
    """c / (k · (d / x)) as c / (k d) · x."""
    above, below = node.operands
    (k, inner), c = factor_of(below), number(above)
    if c is None or inner.node.op.name != "divide" or not node.results[0].dtype.is_float:
        return None
    d, x = number(inner.node.operands[0]), inner.node.operands[1]
    if not d or x.shape != node.results[0].shape or not fits(c / (d * k), x.dtype):
        return None
    return scaled(x, c / (d * k))


def _of_same(term: Tensor, x: Tensor) -> float | None:
    """k where `term` is f(k · x) for an f with a series."""
    node = term.node
    if node.op.name not in _ODD and node.op.name not in _OTHERS:
        return None
    k, inner = factor_of(node.operands[0])
    return k if inner is x and not _is_guarded(x) else None


def _less_a_number(node: Node) -> Tensor | None:
    """p / q with the derivative of p / q − k, whose numerator is a number: x / (1 + x)."""
    above, below = node.operands
    if not node.results[0].dtype.is_float or number(below) is not None or has_log(below):
        return None  # (of exponentials, other rules know better what overflows)
    reader = Reader()
    p, q = reader.read(above), reader.read(below)
    shared = [monomial for monomial in p if monomial and monomial in q]
    if len(p) != 1 or not shared or p[shared[0]] * q[shared[0]] < 0:
        return None  # (x / (1 - x) is what other rules know the logarithm of)
    rest = plus(p, q, -p[shared[0]] / q[shared[0]])
    if any(monomial for monomial in rest):
        return None
    shape = node.results[0].shape
    operands = (above, below, build(rest, above))
    return quotient_of(*(broadcast_to(tensor, shape) for tensor in operands))


# --- numbers --------------------------------------------------------------------------------------


def _constants_meet(node: Node) -> Tensor | None:
    """c · (d · x) as (c · d) · x, where c or d is a power of two and the dtype has their product.

    That is exact, but that no d · x overflows or underflows any more.
    """
    c, inner = _split(node)
    if inner is None:
        return None
    d, x = _split(inner.node)
    if x is None or not (_is_power_of_two(c) or _is_power_of_two(d)) or not fits(c * d, x.dtype):
        return None
    return scaled(x, c * d)


def _split(node: Node) -> tuple[float, Tensor | None]:
    if node.op.name == "multiply" and node.results[0].dtype.is_float:
        for one, other in (node.operands, node.operands[::-1]):
            value = number(one)
            if value:
                return value, other
    return 1.0, None


def _is_power_of_two(value: float) -> bool:
    return value.hex().lstrip("-").startswith("0x1.0000000000000p")


QUOTIENTS = (
    Rule(
        "c * x / (c * y) -> x / y",
        "without the numbers other rules see what x / y is",
        code=_numbers_out,
        title="numbers out of a quotient",
        roots=("divide",),
    ),
    Rule(
        "c / (d / x) -> (c / d) * x",
        "1 / x overflows or underflows; the derivative is 0 / 0",
        code=_reciprocal_twice,
        title="reciprocal of a reciprocal",
        roots=("divide",),
    ),
    Rule("x / abs(x) -> sign(x)", "the derivative is 0, not a difference of large numbers"),
    Rule("abs(x) / x -> sign(x)", "the derivative is 0, not a difference of large numbers"),
    Rule(
        "f(x) / x -> series(x)",
        "near 0 the derivative cancels; squares of both may underflow",
        code=_vanishing,
        whole=True,
        title="series near 0",
        roots=("divide",),
    ),
    Rule(
        "c * (d * x) -> (c * d) * x",
        "exact where one of the numbers is a power of two",
        code=_constants_meet,
        title="numbers of a product",
        roots=("multiply",),
    ),
    Rule(
        "x / (1 + x) -> 1 - 1 / (1 + x)",
        "the derivative of the one, 1 / q - x / q², cancels; the value of the other",
        code=_less_a_number,
        title="quotient less a number",
        roots=("divide",),
    ),
    Rule("log(1 / x - 1) -> log1p(-x) - log(x)", "the derivative of 1 / x overflows"),
    Rule("log(x + sqrt(difference_of_squares(x, 1))) -> acosh(x)", "the square overflows"),
    Rule("log(x + sqrt(x - 1) * sqrt(x + 1)) -> acosh(x)", "cancels near 1"),
)
