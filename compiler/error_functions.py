"""Rules about the error function: the normal distribution, and what erfc is of after scaling.

In the tails erfc(x) is e^(−x²) over x, so a rounding error of x is multiplied by x², and a product
with e^(x²) is ∞ · 0 where the result is an ordinary number.
"""

from __future__ import annotations

from math import isclose, sqrt

from ..ir.ops.arithmetic import divide, multiply
from ..ir.ops.special import erfcx, normal_cdf
from ..ir.ops.types import finfo
from ..ir.tensor import Node, Tensor
from .polynomial import Reader, factor_of, scaled
from .rewrite import Rule


def _normal_cdf(node: Node) -> Tensor | None:
    """erfc(∓x / √2) as 2 Φ(±x), whose argument need not be rounded."""
    k, x = factor_of(node.operands[0])
    if not isclose(abs(k) * sqrt(2), 1.0, rel_tol=4 * float(finfo(x.dtype).eps)):
        return None
    return multiply(2.0, normal_cdf(scaled(x, -1.0 if k > 0 else 1.0)))


def _scaled_erfc(node: Node) -> Tensor | None:
    """e^(u²) erfc(u) as erfcx(u), also as a quotient and of Φ(x) = ½ erfc(−x / √2)."""
    (a, above), (b, below) = (factor_of(operand) for operand in node.operands)
    is_product = node.op.name == "multiply"
    for tail, other in ((above, below), (below, above)):
        if tail.node.op.name not in ("erfc", "normal_cdf") or other.node.op.name != "exp":
            continue
        is_normal = tail.node.op.name == "normal_cdf"
        k, x = factor_of(tail.node.operands[0])
        k = -k * sqrt(0.5) if is_normal else k
        over = not is_product and tail is above
        squares = Reader().read(other.node.operands[0])
        wanted = k * k if is_product else -k * k
        ((monomial, value),) = squares.items() if len(squares) == 1 else [((), 0.0)]
        if len(monomial) != 2 or any(t is not x for t in monomial):
            continue
        if not isclose(value, wanted, rel_tol=4 * float(finfo(x.dtype).eps)):
            continue
        result, size = erfcx(scaled(x, k)), 0.5 if is_normal else 1.0
        if is_product:
            return scaled(result, a * b * size)
        return scaled(result, a / b * size) if over else divide(a / (b * size), result)
    return None


ERROR_FUNCTIONS = (
    Rule(
        "exp(square(x)) * erfc(x) -> erfcx(x)",
        "inf * 0 for large x, and as a quotient, Mills ratio, 0 / 0",
        code=_scaled_erfc,
        title="erfcx",
        roots=("multiply", "divide"),
    ),
    Rule(
        "erfc(x / -1.4142135) -> 2 * normal_cdf(x)",
        "in the tails an error of the argument is multiplied by its square",
        code=_normal_cdf,
        roots=("erfc",),
    ),
)
