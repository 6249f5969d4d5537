"""The rules: formulas, each with the reason why its right side is as true and better.

A rule keeps the value, up to rounding, wherever all that is computed on the left is in the range of
the dtype, and the sum or product that it looks into is so in any order; numbers become one only
where the dtype has it.  Where the left side overflows or is nan the right side is free, and that is
the point of the first table, but infinity by an infinite input never becomes a number.  Rules keep
derivatives too, since they are applied before differentiation.  Tests are generated from here.
"""

from __future__ import annotations

from ..ir.dtypes import holds
from .cancellation import DIFFERENCES
from .error_functions import ERROR_FUNCTIONS
from .hyperbolic import HYPERBOLIC
from .indexing import INDEXING
from .lengths import LENGTHS, floats
from .logarithms import LOGARITHMS
from .moments import MOMENTS
from .pattern import Match
from .quotients import QUOTIENTS
from .rewrite import Rule
from .structural import STRUCTURAL


def _same_type(match: Match) -> bool:
    """For rules by which an op that changes nothing is dropped."""
    return match.tensors["x"].type == match.root.type


def _whole(match: Match) -> bool:
    """For rules that hold for integers alone: 0 · nan is nan."""
    return match.root.dtype.is_integer


def _comes_back(match: Match) -> bool:
    """For a cast there and back: nothing may be lost on the way, not even by a rounding."""
    source = match.tensors["x"].dtype
    return match.root.dtype == source and holds(match.attributes["d"], source)


def _signed(match: Match) -> bool:
    """For rules about -x as a sign: an unsigned -x wraps, and is no less than 0."""
    return match.root.dtype.kind != "u"


# Order counts: the first rule that fits a node is applied.
STABILISE = (
    *ERROR_FUNCTIONS,
    *HYPERBOLIC,
    *LOGARITHMS,
    Rule("1 - square(tanh(x)) -> tanh_slope(x)", "tanh rounds to 1"),
    Rule("(exp(x) - exp(-x)) / (exp(x) + exp(-x)) -> tanh(x)", "inf / inf for large x"),
    Rule("1 - erf(x) -> erfc(x)", "1 - 1 for large x"),
    Rule("1 - normal_cdf(x) -> normal_cdf(-x)", "1 - 1 for large x"),
    Rule("sqrt(square(x)) -> abs(x)", "the square overflows; at 0 the derivative is 0, not nan"),
    Rule("1 / sqrt(x) -> rsqrt(x)", "one op, and a derivative that does not square the root"),
    *LENGTHS,
    *QUOTIENTS,
    *MOMENTS,
    *DIFFERENCES,
)

_NEUTRAL = (
    Rule("x + 0 -> x", "exact up to the sign of a zero"),
    Rule("x - 0 -> x", "exact"),
    Rule("0 - x -> -x", "exact up to the sign of a zero"),
    Rule("x * 1 -> x", "exact"),
    Rule("x / 1 -> x", "exact"),
    Rule("x * -1 -> -x", "exact"),
    Rule("x / -1 -> -x", "exact"),
    Rule("x * 0 -> 0", "exact for integers; a float may be nan", _whole, forgets=True),
    Rule("x - x -> 0", "exact for integers; a float may be nan", _whole, forgets=True),
    Rule("maximum(x, x) -> x", "exact"),
    Rule("minimum(x, x) -> x", "exact"),
    Rule("where(c, x, x) -> x", "exact"),
    Rule(
        "where(c, where(c, x, y), z) -> where(c, x, z)",
        "exact: the inner choice is made",
        forgets=True,
    ),
    Rule(
        "where(c, x, where(c, y, z)) -> where(c, x, z)",
        "exact: the inner choice is made",
        forgets=True,
    ),
)

_SIGNS = (
    Rule("-(-x) -> x", "exact"),
    Rule("x + -y -> x - y", "exact: a difference is defined so"),
    Rule("x - -y -> x + y", "exact: a difference is defined so"),
    Rule("-(x - y) -> y - x", "exact up to the sign of a zero"),
    Rule("-x * y -> -(x * y)", "exact; the sign moves out to meet another"),
    Rule("-x / y -> -(x / y)", "exact; the sign moves out to meet another"),
    Rule("x / -y -> -(x / y)", "exact; the sign moves out to meet another"),
    Rule("sum(-x, a) -> -sum(x, a)", "exact: rounding is symmetric"),
    Rule("abs(-x) -> abs(x)", "exact, but where -x wraps", _signed),
    Rule("square(-x) -> square(x)", "exact"),
    Rule("cos(-x) -> cos(x)", "exact: cos is even"),
    Rule("tanh(-x) -> -tanh(x)", "exact: tanh is odd"),
    Rule("sin(-x) -> -sin(x)", "exact: sin is odd"),
    Rule("square(abs(x)) -> square(x)", "exact"),
    Rule("abs(abs(x)) -> abs(x)", "exact"),
    Rule(
        "abs(square(x)) -> square(x)",
        "exact for floats: a square is not negative",
        floats,
    ),
)

_POWERS = (
    Rule("x ** 1 -> x", "exact"),
    Rule("x ** 2 -> square(x)", "one multiplication, and rounded once"),
    Rule("x ** 3 -> x * square(x)", "two multiplications instead of exp and log"),
    Rule("x ** 0.5 -> sqrt(x)", "as exact as can be; they differ at -inf and -0"),
    Rule("x ** -0.5 -> rsqrt(x)", "cheaper than exp and log; they differ at -inf and -0"),
    Rule("x * (1 / y) -> x / y", "rounded once, and 1 / y may overflow where x / y does not"),
    Rule("x ** -1 -> 1 / x", "one division, and rounded once"),
    Rule("x ** -2 -> 1 / square(x)", "a multiplication and a division"),
    Rule("x ** 0 -> 1", "exact: by IEEE 754 this holds for nan too", forgets=True),
)

_GATES = (
    Rule("gated_multiply(x, 1 / y) -> gated_divide(x, y)", "rounded once, and 1 / y may overflow"),
    Rule("gated_multiply(x, -y) -> -gated_multiply(x, y)", "exact; the sign moves out"),
    Rule("gated_multiply(-x, y) -> -gated_multiply(x, y)", "exact; the sign moves out"),
    Rule("gated_divide(x, -y) -> -gated_divide(x, y)", "exact; the sign moves out"),
    Rule("gated_divide(-x, y) -> -gated_divide(x, y)", "exact; the sign moves out"),
)

_VIEWS = (
    Rule("reshape(x, s) -> x", "nothing changes", _same_type),
    Rule("broadcast_to(x, s) -> x", "nothing changes", _same_type),
    Rule("cast(x, d) -> x", "nothing changes", _same_type),
    Rule("cast(cast(x, d), e) -> x", "exact: every x is a d, and e is its own dtype", _comes_back),
    Rule("reshape(reshape(x, s), t) -> reshape(x, t)", "the order of the numbers is the same"),
    Rule("broadcast_to(broadcast_to(x, s), t) -> broadcast_to(x, t)", "repeated is repeated"),
)

SIMPLIFY = (*_NEUTRAL, *_SIGNS, *_POWERS, *_GATES, *_VIEWS, *STRUCTURAL, *INDEXING)
