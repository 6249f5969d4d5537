"""Rules that find hyperbolic functions in quotients of exponentials, ∞ / ∞ for large x."""

from __future__ import annotations

from ..ir.ops.arithmetic import divide, multiply
from ..ir.ops.transcendental import sigmoid
from ..ir.ops.trigonometry import sech, tan, tanh, tanh_slope
from ..ir.tensor import Node, Tensor
from .polynomial import Polynomial, Reader, build, factor_of, number, plus, scaled, squared, times
from .rewrite import Rule


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


# Before the rules for logarithms, which see sigmoids in quotients of exponentials.
HYPERBOLIC = (
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
