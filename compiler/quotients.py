"""Rules about quotients: hyperbolic functions from exponentials, and what is 0 / 0 at 0.

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
from ..ir.ops.transcendental import sigmoid
from ..ir.ops.trigonometry import sech, tan, tanh, tanh_slope
from ..ir.ops.types import finfo
from ..ir.tensor import Node, Tensor
from .polynomial import (
    Polynomial,
    Reader,
    build,
    factor_of,
    fits,
    number,
    plus,
    scaled,
    squared,
    times,
)
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
    if not node.results[0].dtype.is_float or number(below) is not None:
        return None
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


# --- hyperbolic functions ------------------------------------------------------------------------


def _hyperbolic(tensor: Tensor) -> tuple[str, float, Tensor] | None:
    """The name, c and x of c · cosh(x) or c · sinh(x), in exponentials too."""
    factor, inner = factor_of(tensor)
    node = inner.node
    if node.op.name in ("cosh", "sinh"):
        return node.op.name, factor, node.operands[0]
    if node.op.name == "exp_difference" and _are_opposite(*node.operands):
        return "sinh", 2 * factor, node.operands[0]
    if node.op.name in ("add", "subtract"):
        (c, x), (d, y) = (factor_of(operand) for operand in node.operands)
        if x.node.op.name == y.node.op.name == "exp" and abs(c) == abs(d):
            exponents = x.node.operands[0], y.node.operands[0]
            if _are_opposite(*exponents):
                d = d if node.op.name == "add" else -d
                return "cosh" if c == d else "sinh", 2 * c * factor, exponents[0]
    return None


def _are_opposite(x: Tensor, y: Tensor) -> bool:
    (c, one), (d, other) = factor_of(x), factor_of(y)
    if one is other:
        return c == -d
    differences = one.node.op.name == other.node.op.name == "subtract" and c == d
    return differences and all(
        a is b for a, b in zip(one.node.operands, other.node.operands[::-1], strict=True)
    )


def _between_exponents(node: Node) -> Tensor | None:
    """c e^((x + y) / 2) / (eˣ + eʸ) as c / 2 · sech((x − y) / 2), and the square of it.

    A number is e⁰.
    """
    above, below = node.operands
    base = squared(below)
    total = below if base is None else base
    if total.node.op.name != "add" or not total.dtype.is_float:
        return None
    reader = Reader(linear=True)
    found = [_exponential(tensor, reader) for tensor in (above, *total.node.operands)]
    if any(part is None for part in found):
        return None
    (c, middle), (d, x), (e, y) = [part for part in found if part is not None]
    if d != e or d <= 0 or plus(plus(x, y), middle, -2.0 if base is None else -1.0):
        return None
    half = times(plus(x, y, -1.0), 0.5)
    if not half:
        return None
    if base is None:
        return scaled(sech(build(half, below)), c / (2 * d))
    return scaled(tanh_slope(build(half, below)), c / (4 * d * d))


def _exponential(tensor: Tensor, reader: Reader) -> tuple[float, Polynomial] | None:
    """c and x of c · eˣ."""
    value = number(tensor)
    if value:
        return value, {}
    factor, inner = factor_of(tensor)
    if inner.node.op.name != "exp":
        return None
    return factor, reader.read(inner.node.operands[0])


def _over_cosh(node: Node) -> Tensor | None:
    above, below = node.operands
    (d, root), c = factor_of(below), number(above)
    base = squared(root)
    if base is not None and c is not None:
        under = _hyperbolic(base)
        if under is not None and under[0] == "cosh":
            return scaled(tanh_slope(under[2]), c / (d * under[1] ** 2))
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
    factor, x = factor_of(above)
    if x.node.op.name == "exp":
        exponent = x.node.operands[0]
        if _opposite_or_same(exponent, y):
            sign = -1.0 if _are_opposite(exponent, y) else 1.0
            return scaled(sigmoid(scaled(y, 2.0 * sign)), 2 * factor / d)
    return scaled(multiply(x, sech(y)), factor / d)


def _times_sech(node: Node) -> Tensor | None:
    """sinh(x) · sech(x), with numbers, as tanh(x)."""
    for above, other in (node.operands, node.operands[::-1]):
        over, (d, below) = _hyperbolic(above), factor_of(other)
        if over is None or over[0] != "sinh" or below.node.op.name != "sech":
            continue
        (_, c, x), (y,) = over, below.node.operands
        if _opposite_or_same(x, y):
            return scaled(tanh(y), -c * d if _are_opposite(x, y) else c * d)
    return None


def _half_angle(node: Node) -> Tensor | None:
    """c sin²(x / 2) / (d sin x), which 1 − cos x over sin x is."""
    (c, top), (d, bottom) = (factor_of(operand) for operand in node.operands)
    base = squared(top)
    if base is None or base.node.op.name != "sin" or bottom.node.op.name != "sin":
        return None
    half, x = base.node.operands[0], bottom.node.operands[0]
    (j, inner), (k, other) = factor_of(half), factor_of(x)
    if inner is not other or k != 2 * j:
        return None
    return scaled(tan(half), 0.5 * c / d)


def _opposite_sigmoids(node: Node) -> Tensor | None:
    """c σ(x) · d σ(−x) as c d / 4 · (1 − tanh²(x / 2))."""
    (c, one), (d, other) = (factor_of(operand) for operand in node.operands)
    if one.node.op.name != "sigmoid" or other.node.op.name != "sigmoid":
        return None
    x = one.node.operands[0]
    if 1.0 in (abs(c), abs(d)) or not _are_opposite(x, other.node.operands[0]):
        return None
    return scaled(tanh_slope(scaled(x, 0.5)), 0.25 * c * d)


def _opposite_or_same(x: Tensor, y: Tensor) -> bool:
    (c, one), (d, other) = factor_of(x), factor_of(y)
    return (one is other and c == d) or _are_opposite(x, y)


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


# Before the rules for logarithms, which see sigmoids in quotients of exponentials.
FIRST_QUOTIENTS = (
    Rule(
        "sinh(x) / cosh(x) -> tanh(x)",
        "inf / inf for large x; and so is the derivative of 1 / cosh(x)",
        code=_over_cosh,
        whole=True,
        roots=("divide",),
    ),
    Rule(
        "sinh(x) * sech(x) -> tanh(x)", "inf * 0 for large x", code=_times_sech, roots=("multiply",)
    ),
    Rule("expm1(x) / (1 + exp(x)) -> tanh(0.5 * x)", "inf / inf for large x"),
    Rule("(1 + exp(x)) / (1 + exp(-x)) -> exp(x)", "inf / inf, or the logarithm cancels"),
    Rule(
        "square(sin(x / 2)) / sin(x) -> 0.5 * tan(x / 2)",
        "the square underflows, and so does what the derivative is made of",
        code=_half_angle,
        roots=("divide",),
    ),
    Rule(
        "2 * sigmoid(x) * (2 * sigmoid(-x)) -> tanh_slope(x / 2)",
        "(1 + tanh(x)) * (1 - tanh(x)), whose derivative cancels near 0",
        code=_opposite_sigmoids,
        roots=("multiply",),
    ),
    Rule("-expm1(x) / (1 + exp(x)) -> tanh(-0.5 * x)", "inf / inf for large x"),
    Rule("(1 + exp(x)) / expm1(x) -> 1 / tanh(0.5 * x)", "inf / inf for large x"),
    Rule(
        "exp((x + y) / 2) / (exp(x) + exp(y)) -> 0.5 * sech((x - y) / 2)",
        "inf / inf for large x",
        code=_between_exponents,
        whole=True,
        roots=("divide",),
    ),
    Rule("log(0.5 * (exp(x) + exp(-x))) -> log_cosh(x)", "exp overflows, and near 0 it is log 1"),
)

QUOTIENTS = (
    Rule(
        "c * x / (c * y) -> x / y",
        "without the numbers other rules see what x / y is",
        code=_numbers_out,
        title="numbers out of a quotient",
        roots=("divide",),
    ),
    Rule(
        "1 / (1 / x) -> x",
        "1 / x overflows or underflows; the derivative is 0 / 0",
        title="reciprocal of a reciprocal",
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
