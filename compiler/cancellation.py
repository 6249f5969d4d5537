"""Rules about differences of what is nearly equal, which lose the digits that the two share.

Each difference has a form in which nothing cancels: 1 − cos x is 2 sin² (x/2), √a − √b is
(a − b) / (√a + √b), whose a − b is taken as it is written, √(x + 1) − √x over 1.  So that the
spelling does not count, a sum is read as a polynomial (polynomial.py): any two of its terms, or a
term and its number, may be such a difference, whatever else is added and by what it is scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt as root_of

from numpy import float32

from ..ir.ops.arithmetic import add, divide, maximum, minimum, multiply, negative, square, subtract
from ..ir.ops.build import constant
from ..ir.ops.differences import difference_of_squares, quotient_of
from ..ir.ops.logarithms import exp_difference
from ..ir.ops.logic import less, where
from ..ir.ops.shape import broadcast_to
from ..ir.ops.special import erf, erfc, normal_cdf
from ..ir.ops.transcendental import exp, expm1, sigmoid, sqrt
from ..ir.ops.trigonometry import asinh, cos, cosh, sin, sinh, tanh, tanh_slope
from ..ir.ops.types import finfo
from ..ir.tensor import Node, Tensor
from .lengths import share_of_squares
from .numbers_cancel import NUMBERS
from .polynomial import (
    Polynomial,
    Reader,
    build,
    cancels,
    fits,
    number,
    plus,
    scaled,
    squared,
    times,
)
from .positive import has_log
from .rewrite import Rule

Term = Callable[[Tensor], Tensor]


def _difference(node: Node) -> Tensor | None:
    """The sum or difference with one cancelling pair of its terms in a form that does not."""
    root = node.results[0]
    if not root.dtype.is_float:
        return None
    form = Reader(linear=True).read(root)
    terms = [(monomial[0], value) for monomial, value in form.items() if monomial]
    for i, (x, a) in enumerate(terms):
        for y, b in terms[:i]:
            if abs(a) != abs(b) or not _may_meet(x, y):
                continue
            made = _of_two(y, x, b == a)
            if made is not None:
                return _with_rest(scaled(made, b), form, (x, y))
    for x, a in terms:
        if form.get((), 0.0):
            made = _with_number(x, form[()] / a)
            if made is not None:
                return _with_rest(scaled(made, a), plus(form, {(): -form[()]}), (x,))
    return None


def _with_rest(made: Tensor, form: Polynomial, gone: tuple[Tensor, ...]) -> Tensor:
    rest = {
        monomial: value
        for monomial, value in form.items()
        if not monomial or all(monomial[0] is not tensor for tensor in gone)
    }
    return add(build(rest, made), made) if rest else made


# --- a term and a number ------------------------------------------------------------------------

# f(x) + k in another form, by the name of f and by k.
_WITH_NUMBERS: dict[tuple[str, float], Term] = {
    ("cos", -1.0): lambda x: -2.0 * square(sin(scaled(x, 0.5))),
    ("cos", 1.0): lambda x: 2.0 * square(cos(scaled(x, 0.5))),
    ("cosh", -1.0): lambda x: 2.0 * square(sinh(scaled(x, 0.5))),
    ("exp", -1.0): expm1,
    ("expm1", 1.0): exp,
    ("tanh", -1.0): lambda x: -2.0 * sigmoid(scaled(x, -2.0)),
    ("tanh", 1.0): lambda x: 2.0 * sigmoid(scaled(x, 2.0)),
    ("sigmoid", -1.0): lambda x: negative(sigmoid(negative(x))),
    ("sigmoid", -0.5): lambda x: 0.5 * tanh(scaled(x, 0.5)),
    ("erf", -1.0): lambda x: negative(erfc(x)),
    ("erf", 1.0): lambda x: erfc(negative(x)),
    ("erfc", -1.0): lambda x: negative(erf(x)),
    ("erfc", -2.0): lambda x: negative(erfc(negative(x))),
    ("normal_cdf", -1.0): lambda x: negative(normal_cdf(negative(x))),
    ("normal_cdf", -0.5): lambda x: 0.5 * erf(multiply(root_of(0.5), x)),
}

# The same of squares.
_OF_SQUARES: dict[tuple[str, float], Term] = {
    ("tanh", -1.0): lambda x: negative(tanh_slope(x)),
    ("sin", -1.0): lambda x: negative(square(cos(x))),
    ("cos", -1.0): lambda x: negative(square(sin(x))),
    ("cosh", -1.0): lambda x: square(sinh(x)),
}


def _with_number(term: Tensor, k: float) -> Tensor | None:
    """term + k where that cancels."""
    node = term.node
    name = node.op.name
    known = _WITH_NUMBERS.get((name, k))
    if known is not None:
        return known(node.operands[0])
    if name in ("sqrt", "hypot") and k < 0 and fits(k * k, term.dtype):
        is_rounded = float(float32(k * k)) != k * k
        return _over_the_sum(term, constant(-k, term.dtype), is_rounded)
    if name in ("divide", "quotient_of"):
        return _quotient_and_number(node, k)
    if k == -1.0:
        made = _power_less_one(term)
        if made is not None:
            return made
    base = squared(term)
    if base is None or k >= 0 or root_of(-k) ** 2 != -k:
        return None
    known = _OF_SQUARES.get((base.node.op.name, k))
    if known is not None:
        return known(base.node.operands[0])
    return _between_squares(base, constant(root_of(-k), term.dtype))


def _quotient_and_number(node: Node, k: float) -> Tensor | None:
    """p / q + k as (p + k · q) / q, where something of p + k · q goes."""
    above, below, *_ = node.operands
    sloped = node.operands[-1] if node.op.name == "quotient_of" else above
    reader = Reader()
    p, q = reader.read(above), times(reader.read(below), -k)
    if cancels(p, q):
        left = plus(p, q, -1.0)
        share = share_of_squares(left, below)
        if share is not None:
            return share
        if has_log(below) and number(above) is not None:
            return None  # a number over exponentials: sigmoid's rules know what overflows
        made = build(left, above)
        if has_log(below) and number(made) is not None:
            return divide(made, below)  # the same
        return quotient_of(*(broadcast_to(t, node.results[0].shape) for t in (made, below, sloped)))
    value = number(above)
    if value:
        made = _with_number(below, value / k)
        if made is not None:
            return divide(scaled(made, k), below)
    return None


def _power_less_one(term: Tensor) -> Tensor | None:
    """xⁿ − 1 as (x − 1) (1 + x + …), where x is 1 + y, say."""
    node, base, n = term.node, term, 1
    if node.op.name == "multiply":
        for one, other in (node.operands, node.operands[::-1]):
            if squared(other) is one:
                base, n = one, 3
    elif node.op.name == "pow":
        exponent = number(node.operands[1])
        if exponent is not None and 3 <= exponent <= 16 and exponent == int(exponent):
            base, n = node.operands[0], int(exponent)
    reader = Reader(linear=True)
    polynomial = reader.read(base)
    if n == 1 or not cancels(polynomial, {(): 1.0}):
        return None
    total = base + 1.0
    for _ in range(n - 2):
        total = total * base + 1.0
    return multiply(build(plus(polynomial, {(): -1.0}), base), total)


# --- two terms ----------------------------------------------------------------------------------


def _of_two(x: Tensor, y: Tensor, sum_: bool) -> Tensor | None:
    """x − y, or x + y where `sum_`, where that cancels."""
    for first, second in ((x, y), (y, x)):
        made = _hypotenuse(first, second, 1.0 if sum_ else -1.0)
        if made is not None:
            return made if sum_ or first is x else negative(made)
    if {x.node.op.name, y.node.op.name} == {"cosh", "sinh"}:
        (inner,), (other,) = x.node.operands, y.node.operands
        if inner is not other:
            return None
        if sum_:
            return exp(inner)
        return exp(negative(inner)) if x.node.op.name == "cosh" else negative(exp(negative(inner)))
    if sum_:
        return None
    names = {x.node.op.name, y.node.op.name}
    if names <= {"sqrt", "hypot"}:
        return _over_the_sum(x, y, is_rounded=False)
    for root, other in ((x, y), (y, x)):
        made = _root_less(root, other)
        if made is not None:
            return made if root is x else negative(made)
    bases = squared(x), squared(y)
    if bases[0] is not None and bases[1] is not None:
        return _between_squares(bases[0], bases[1])
    if names == {"divide"}:
        return _two_quotients(x.node, y.node)
    if len(names) == 1 and x.node.op.name in _BY_DIFFERENCE:
        return _by_difference(x, y)
    if names == {"exp"}:
        return exp_difference(x.node.operands[0], y.node.operands[0])
    return None


# What `_of_two` asks for; squares are products too.
_CANCELLING = ("cosh", "sinh", "sqrt", "hypot", "divide", "exp", "multiply", "square")


def _may_meet(x: Tensor, y: Tensor) -> bool:
    """Whether `_of_two` need be asked: of most of the many pairs it knows nothing."""
    name, other = x.node.op.name, y.node.op.name
    if "hypot" in (name, other) or "sqrt" in (name, other):
        return True
    known = name in _CANCELLING or name in _BY_DIFFERENCE
    return known and (other in _CANCELLING or other in _BY_DIFFERENCE)


def _radicand(term: Tensor, reader: Reader) -> Polynomial:
    """What `term` ≥ 0 is the root of."""
    node = term.node
    if node.op.name == "sqrt":
        inner = node.operands[0]
        if inner.node.op.name == "difference_of_squares":
            first, second = (reader.read(square(t)) for t in inner.node.operands)
            return plus(first, second, -1.0)
        return reader.read(inner)
    if node.op.name == "hypot":
        x, y = (reader.read(square(operand)) for operand in node.operands)
        return plus(x, y)
    return {(): (number(term) or 0.0) ** 2}


def _over_the_sum(x: Tensor, y: Tensor, is_rounded: bool) -> Tensor | None:
    """√a − √b as (a − b) / (√a + √b), and 0 where both are 0.

    Radicands as they stand are within the range of the dtype, but those of hypot are not: there
    something of a − b must go, and what is left be no sum of squares.  Where nothing goes, a − b
    still loses less than the roots do, unless b is rounded.
    """
    reader = Reader()
    a, b = _radicand(x, reader), _radicand(y, reader)
    has_hypot = "hypot" in (x.node.op.name, y.node.op.name)
    if not cancels(a, b):
        if has_hypot or is_rounded:
            return None
        return _over_total(subtract(_under_root(x), _under_root(y)), x, y)
    difference = plus(a, b, -1.0)
    if all(len(monomial) < 2 for monomial in difference):
        return _over_total(build(difference, x), x, y)
    if any(len(monomial) != 2 for monomial in difference):
        return None
    # x² may overflow where x · (x / …) does not
    ((first, second), value), *others = difference.items()
    if not others:
        return multiply(scaled(first, value), _over_total(second, x, y))
    ((third, fourth), other), *more = others
    if more or first is not second or third is not fourth or value != -other:
        return None
    made = multiply(subtract(first, third), _over_total(add(first, third), x, y))
    return scaled(made, value)


def _under_root(term: Tensor) -> Tensor:
    value = number(term)
    return term.node.operands[0] if value is None else constant(value * value, term.dtype)


def _over_total(above: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """above / (x + y) for x, y ≥ 0, with the least number in place of 0, and the largest of ∞: then
    0 / 0 is 0, and the root of ∞ remains ∞."""
    limits = finfo(x.dtype)
    if number(y) is not None:
        return divide(above, minimum(add(x, y), limits.max))
    half = add(0.5 * x, 0.5 * y)
    return divide(0.5 * above, maximum(minimum(half, limits.max), limits.smallest_normal))


_LEAST = 2.0**-10  # c by which no y is divided that is of any use


def _root_less(x: Tensor, y: Tensor) -> Tensor | None:
    """√a − y as (a − y²) / (√a + y) where y > 0, if something of a − y² goes."""
    if x.node.op.name != "sqrt":
        return None
    reader = Reader()
    a, b = _radicand(x, reader), reader.read(square(y))
    if not cancels(a, b):
        return None
    is_near = less(0.0, y)
    quotient = divide(build(plus(a, b, -1.0), x), where(is_near, x + y, 1.0))
    return where(is_near, quotient, subtract(x, y))


def _hypotenuse(x: Tensor, y: Tensor, sign: float) -> Tensor | None:
    """√(y² + c²) ± y as c · exp(±asinh(y / c)), which holds for y of either sign."""
    node = x.node
    if node.op.name != "hypot":
        return None
    for side, other in (node.operands, node.operands[::-1]):
        c = number(other)
        if not c or abs(c) < _LEAST:
            continue
        if side is y or (y.node.op.name == "abs" and side is y.node.operands[0]):
            made = exp(scaled(asinh(scaled(y, 1 / abs(c))), sign))
            return scaled(made, abs(c))
    return None


def _between_squares(x: Tensor, y: Tensor) -> Tensor:
    """x² − y² as (x − y) (x + y); each read as a polynomial, if that is shorter."""
    reader = Reader(linear=True)
    a, b = reader.read(x), reader.read(y)
    if cancels(a, b) or cancels(a, times(b, -1.0)):
        return multiply(build(plus(a, b, -1.0), x), build(plus(a, b), x))
    return difference_of_squares(x, y)


def _two_quotients(x: Node, y: Node) -> Tensor | None:
    """p / q − r / s as (p s − r q) / q / s, where something of the numerator goes."""
    (p, q), (r, s) = x.operands, y.operands
    reader = Reader()
    one, other = reader.read(multiply(p, s)), reader.read(multiply(r, q))
    if q is s or not cancels(one, other):
        return None
    left = plus(one, other, -1.0)
    if any(len(monomial) > 1 for monomial in left):
        return None  # a product may overflow
    return divide(divide(build(left, p), q), s)


# f(x) − f(y) by x − y, where something of that goes.
_BY_DIFFERENCE: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "sin": lambda x, y, d: 2.0 * (cos(0.5 * add(x, y)) * sin(scaled(d, 0.5))),
    "cos": lambda x, y, d: -2.0 * (sin(0.5 * add(x, y)) * sin(scaled(d, 0.5))),
    "cosh": lambda x, y, d: 2.0 * (sinh(0.5 * add(x, y)) * sinh(scaled(d, 0.5))),
    "sinh": lambda x, y, d: 2.0 * (cosh(0.5 * add(x, y)) * sinh(scaled(d, 0.5))),
    "sigmoid": lambda x, y, d: (
        tanh(scaled(d, 0.5))
        * (sigmoid(x) * sigmoid(negative(y)) + sigmoid(negative(x)) * sigmoid(y))
    ),
    "tan": lambda x, y, d: sin(d) / (cos(x) * cos(y)),
    "rsqrt": lambda x, y, d: negative(d) / add(sqrt(x), sqrt(y)) / sqrt(x) / sqrt(y),
}


def _by_difference(x: Tensor, y: Tensor) -> Tensor | None:
    reader = Reader()
    inner, other = x.node.operands[0], y.node.operands[0]
    a, b = reader.read(inner), reader.read(other)
    if not cancels(a, b):
        return None
    return _BY_DIFFERENCE[x.node.op.name](inner, other, build(plus(a, b, -1.0), inner))


def _near_exponentials(node: Node) -> Tensor | None:
    """eˣ − eʸ, where x − y is a number, as e^y (e^(x − y) − 1)."""
    x, y = node.operands
    reader = Reader()
    difference = plus(reader.read(x), reader.read(y), -1.0)
    if tuple(difference) != ((),):
        return None
    return multiply(expm1(build(difference, x)), exp(y))


DIFFERENCES = (
    *NUMBERS,
    Rule(
        "exp_difference(y + c, y) -> exp(y) * expm1(c)",
        "y + c is rounded",
        code=_near_exponentials,
        whole=True,
        roots=("exp_difference",),
    ),
    Rule(
        "f(x) - f(y) -> g(x, y)",
        "what x and y share cancels: 1 - cos(x) is 2 * square(sin(x / 2))",
        code=_difference,
        whole=True,
        title="difference without cancelling",
        roots=("add", "subtract"),
    ),
)
