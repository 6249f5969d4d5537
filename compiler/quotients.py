"""Rules about quotients: hyperbolic functions from exponentials, and what is 0 / 0 at 0.

Where numerator and denominator vanish together, as in sin(x) / x, the value survives rounding but
the derivative does not: it is a difference of quotients that agree in all digits.  Near 0 such a
quotient is therefore its Taylor series.
"""

from __future__ import annotations

from math import factorial, pi, sqrt

from ..ir.ops.arithmetic import absolute, divide, multiply, square
from ..ir.ops.logic import less, where
from ..ir.ops.special import normal_cdf
from ..ir.ops.transcendental import sigmoid
from ..ir.ops.trigonometry import sech, tanh
from ..ir.ops.types import finfo
from ..ir.tensor import Node, Tensor
from .lengths import squared
from .polynomial import number, scaled
from .rewrite import Rule


def _factor(tensor: Tensor) -> tuple[float, Tensor]:
    """c and x of c · x, where c is a number."""
    factor = 1.0
    for _ in range(8):
        node = tensor.node
        values = [number(operand) for operand in node.operands]
        if node.op.name == "negative":
            factor, tensor = -factor, node.operands[0]
        elif node.op.name == "multiply" and (values[0] or values[1]):
            first = values[0] is not None
            factor *= values[0 if first else 1] or 1.0
            tensor = node.operands[1 if first else 0]
        elif node.op.name == "divide" and values[1]:
            factor, tensor = factor / values[1], node.operands[0]
        else:
            break
    return factor, tensor


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


def _per_argument(function: Node) -> Tensor:
    """f(u) / u, by its series where u is small."""
    (u,), name = function.operands, function.op.name
    bound, coefficients = _ODD[name] if name in _ODD else _OTHERS[name]
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
    (a, top), (b, bottom) = _factor(above), _factor(below)
    if top.shape != node.results[0].shape:
        return None
    p, q = squared(top), squared(bottom)
    if p is not None and q is not None:
        return scaled(square(divide(p, q)), a / b)
    if p is not None:
        inner = _of_same(p, bottom)
        return None if inner is None else scaled(multiply(p, divide(p, bottom)), a / b)
    k = _of_same(top, bottom)
    return None if k is None else scaled(_per_argument(top.node), a * k / b)


def _numbers_out(node: Node) -> Tensor | None:
    (c, x), (d, y) = (_factor(operand) for operand in node.operands)
    if 1.0 in (abs(c), abs(d)) or not node.results[0].dtype.is_float:
        return None
    if x.shape != node.operands[0].shape or y.shape != node.operands[1].shape:
        return None
    return scaled(divide(x, y), c / d)


def _of_same(term: Tensor, x: Tensor) -> float | None:
    """k where `term` is f(k · x) for an f with a series."""
    node = term.node
    if node.op.name not in _ODD and node.op.name not in _OTHERS:
        return None
    k, inner = _factor(node.operands[0])
    return k if inner is x and not _is_guarded(x) else None


# --- hyperbolic functions ------------------------------------------------------------------------


def _hyperbolic(tensor: Tensor) -> tuple[str, float, Tensor] | None:
    """The name, c and x of c · cosh(x) or c · sinh(x), in exponentials too."""
    factor, inner = _factor(tensor)
    node = inner.node
    if node.op.name in ("cosh", "sinh"):
        return node.op.name, factor, node.operands[0]
    if node.op.name == "exp_difference" and _are_opposite(*node.operands):
        return "sinh", 2 * factor, node.operands[0]
    if node.op.name in ("add", "subtract"):
        (c, x), (d, y) = (_factor(operand) for operand in node.operands)
        if x.node.op.name == y.node.op.name == "exp" and abs(c) == abs(d):
            exponents = x.node.operands[0], y.node.operands[0]
            if _are_opposite(*exponents):
                d = d if node.op.name == "add" else -d
                return "cosh" if c == d else "sinh", 2 * c * factor, exponents[0]
    return None


def _are_opposite(x: Tensor, y: Tensor) -> bool:
    (c, one), (d, other) = _factor(x), _factor(y)
    return one is other and c == -d


def _over_cosh(node: Node) -> Tensor | None:
    above, below = node.operands
    over, under = _hyperbolic(above), _hyperbolic(below)
    if under is None:
        return None
    name, d, y = under
    if over is not None and over[0] != name and _opposite_or_same(over[2], y):
        c = over[1] / d
        if name == "sinh":
            return divide(c, tanh(y))
        return scaled(tanh(y), -c if _are_opposite(over[2], y) else c)
    if name != "cosh":
        return None
    factor, x = _factor(above)
    if x.node.op.name == "exp":
        exponent = x.node.operands[0]
        if _opposite_or_same(exponent, y):
            sign = -1.0 if _are_opposite(exponent, y) else 1.0
            return scaled(sigmoid(scaled(y, 2.0 * sign)), 2 * factor / d)
    return scaled(multiply(x, sech(y)), factor / d)


def _opposite_or_same(x: Tensor, y: Tensor) -> bool:
    (c, one), (d, other) = _factor(x), _factor(y)
    return one is other and abs(c) == abs(d)


# --- the normal distribution ---------------------------------------------------------------------


def _normal_cdf(node: Node) -> Tensor | None:
    """erfc(∓x / √2) as 2 Φ(±x), whose argument need not be rounded."""
    k, x = _factor(node.operands[0])
    size = abs(k) * sqrt(2)
    if abs(size - 1) > 4 * float(finfo(x.dtype).eps):
        return None
    return multiply(2.0, normal_cdf(scaled(x, -1.0 if k > 0 else 1.0)))


def _constants_meet(node: Node) -> Tensor | None:
    """c · (d · x) as (c · d) · x, where c or d is a power of two, so that this is exact."""
    c, inner = _split(node)
    if inner is None:
        return None
    d, x = _split(inner.node)
    if x is None or not (_is_power_of_two(c) or _is_power_of_two(d)):
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


# Before the rules for logarithms, which see sigmoids in quotients of exponentials.
FIRST_QUOTIENTS = (
    Rule(
        "sinh(x) / cosh(x) -> tanh(x)",
        "inf / inf for large x; and so is the derivative of 1 / cosh(x)",
        code=_over_cosh,
        roots=("divide",),
    ),
    Rule("expm1(x) / (1 + exp(x)) -> tanh(0.5 * x)", "inf / inf for large x"),
    Rule("-expm1(x) / (1 + exp(x)) -> tanh(-0.5 * x)", "inf / inf for large x"),
    Rule("(1 + exp(x)) / expm1(x) -> 1 / tanh(0.5 * x)", "inf / inf for large x"),
    Rule("exp(x) / (1 + exp(2 * x)) -> 0.5 * sech(x)", "inf / inf for large x"),
    Rule("log(0.5 * (exp(x) + exp(-x))) -> log_cosh(x)", "exp overflows, and near 0 it is log 1"),
)

QUOTIENTS = (
    Rule(
        "c * x / (d * y) -> (c / d) * (x / y)",
        "without the numbers other rules see what x / y is",
        code=_numbers_out,
        roots=("divide",),
    ),
    Rule("x / abs(x) -> sign(x)", "the derivative is 0, not a difference of large numbers"),
    Rule("abs(x) / x -> sign(x)", "the derivative is 0, not a difference of large numbers"),
    Rule(
        "f(x) / x -> series(x)",
        "near 0 the derivative cancels; squares of both may underflow",
        code=_vanishing,
        roots=("divide",),
    ),
    Rule(
        "erfc(x / -1.4142135) -> 2 * normal_cdf(x)",
        "in the tails an error of the argument is multiplied by its square",
        code=_normal_cdf,
        roots=("erfc",),
    ),
    Rule(
        "c * (d * x) -> (c * d) * x",
        "exact where one of the numbers is a power of two",
        code=_constants_meet,
        roots=("multiply",),
    ),
    Rule("log(x + sqrt(difference_of_squares(x, 1))) -> acosh(x)", "the square overflows"),
    Rule("log(x + sqrt(x - 1) * sqrt(x + 1)) -> acosh(x)", "cancels near 1"),
)
