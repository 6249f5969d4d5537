"""Rules about roots of sums of squares: lengths, distances, root mean squares, directions.

The squares overflow above 1e19 and underflow below 1e-19 in float32, where the length is an
ordinary number, and at 0 the root has no derivative, where 0 serves as the length's.
"""

from __future__ import annotations

from math import isfinite, sqrt

from ..ir.dtypes import float32
from ..ir.op import TABLE
from ..ir.ops.arithmetic import absolute, cosine, divide, hypot, multiply, square
from ..ir.ops.build import apply, constant
from ..ir.ops.shape import only_ones_differ
from ..ir.ops.transcendental import sqrt as root
from ..ir.tensor import Node, Tensor
from .pattern import Match
from .polynomial import Polynomial, Reader, factor_of, number, scaled, squared
from .rewrite import Rule

_MOST = 8  # squares in one root that are taken apart


def _sides(tensor: Tensor) -> list[Tensor] | None:
    """What of which the squares add up to `tensor`; numbers ≥ 0 are squares too."""
    sides: list[Tensor] = []
    pending = [(tensor, 1.0)]
    while pending:
        term, factor = pending.pop()
        node, base, value = term.node, squared(term), number(term)
        if base is not None:
            sides.append(scaled(base, sqrt(factor)))
        elif _is_length_squared(term):
            sides.append(scaled(root(term), sqrt(factor)))
        elif value is not None and value > 0:
            sides.append(constant(sqrt(factor * value), tensor.dtype))
        elif node.op.name == "add":
            pending += [(operand, factor) for operand in node.operands[::-1]]
        elif node.op.name in ("multiply", "divide"):
            c, inner = factor_of(term)
            if inner is term or c <= 0:
                return None
            pending.append((inner, factor * c))
        else:
            return None
        if len(sides) + len(pending) > _MOST:
            return None
    return sides


def _is_length_squared(term: Tensor) -> bool:
    """Whether `term` is Σ x², but for x that is centred, as in a layer norm.

    That is of ordinary size, and √(variance + 1e-5) as cheap as it can be.
    """
    node = _flat(term).node
    base = squared(node.operands[0]) if node.op.name == "sum" else None
    return base is not None and not _is_centred(base)


def _is_centred(x: Tensor) -> bool:
    """Whether `x` is a difference from a mean."""
    node = x.node
    if node.op.name != "subtract":
        return False
    node = node.operands[1].node
    for _ in range(6):
        if node.op.kind == "view" or node.op.name in ("divide", "multiply", "stop_gradient"):
            ways = [t.node for t in node.operands if number(t) is None]
            node = ways[0] if ways else node
    return node.op.name == "sum"


def _hypotenuse(node: Node) -> Tensor | None:
    """√(x² + y² + …) by hypot, in pairs."""
    radicand = node.operands[0]
    if radicand.node.op.name not in ("add", "multiply") or not radicand.dtype.is_float:
        return None
    sides = _sides(radicand)
    if sides is None or all(number(side) is not None for side in sides):
        return None
    if len(sides) == 1:
        sides = [absolute(sides[0])]
    result = _of_sides(sides)
    return divide(1.0, result) if node.op.name == "rsqrt" else result


def _of_sides(sides: list[Tensor]) -> Tensor:
    result = sides[0]
    for side in sides[1:]:
        result = hypot(result, side)
    return result


def _share_of_squares(node: Node) -> Tensor | None:
    """c x² / (x² + y²) as c times the square of a cosine."""
    form = Reader().read(node.operands[0])
    return share_of_squares(form, node.operands[1]) if node.results[0].dtype.is_float else None


def share_of_squares(form: Polynomial, below: Tensor) -> Tensor | None:
    """`form` / `below`, where the one is c x² and the other a sum of squares, x² among them."""
    if len(form) != 1 or below.node.op.name != "add":
        return None
    ((monomial, factor),) = form.items()
    if len(monomial) != 2 or monomial[0] is not monomial[1]:
        return None
    sides = _sides(below) or []
    rest = [side for side in sides if side is not monomial[0]]
    if len(rest) != len(sides) - 1 or not rest:
        return None
    return scaled(square(cosine(monomial[0], _of_sides(rest))), factor)


def _root_of_scaled(node: Node) -> Tensor | None:
    """√(c · Σ x²) as √c · √(Σ x²), also by a size: the root mean square."""
    inner = node.operands[0].node
    if inner.op.name not in ("multiply", "divide"):
        return None
    for x, c in (inner.operands, inner.operands[::-1]):
        value = number(c)
        is_size = c.node.op.name == "dimension"
        if not is_size and (value is None or value <= 0 or not isfinite(value)):
            continue
        if not _is_sum_of_squares(x) or (inner.op.name == "divide" and x is not inner.operands[0]):
            continue
        scale = constant(sqrt(value), c.dtype) if value is not None else root(c)
        return (multiply if inner.op.name == "multiply" else divide)(root(x), scale)
    return None


def _is_sum_of_squares(tensor: Tensor) -> bool:
    node = tensor.node
    while node.op.kind in ("view", "gather"):
        node = node.operands[0].node
    if node.op.name in ("multiply", "divide"):
        return any(_is_sum_of_squares(operand) for operand in node.operands)
    return node.op.name == "sum" and squared(node.operands[0]) is not None


def _dot_with_itself(node: Node) -> Tensor | None:
    """A row times itself as a column: Σ x²."""
    left, right = (_flat(operand) for operand in node.operands)
    x, y = node.operands
    if left is not right or x.shape[:-1] != (1,) or y.shape[1:] != (1,):
        return None
    return apply(TABLE["sum"], [square(x)], axes=(1,))


def _flat(tensor: Tensor) -> Tensor:
    """What reshapes that only add or drop axes of size 1, and the like permutations, are of."""
    node = tensor.node
    while node.op.kind == "view" and len(node.operands) == 1:
        source = node.operands[0]
        long = [size for size in tensor.shape if size != 1]
        if node.op.name not in ("reshape", "permute") or len(long) > 1:
            break
        if node.op.name == "reshape" and not only_ones_differ(source.shape, tensor.shape):
            break
        tensor, node = source, source.node
    return tensor


def _cosine(node: Node) -> Tensor | None:
    """Σ x · y / |x| / |y| as the sum of the products of directions."""
    above, below = node.operands
    if above.node.op.name == "divide":
        lengths = [above.node.operands[1], below]
        above = above.node.operands[0]
    elif below.node.op.name == "multiply":
        lengths = list(below.node.operands)
    else:
        return None
    inner = above.node
    if inner.op.name != "sum" or inner.operands[0].node.op.name != "multiply":
        return None
    x, y = inner.operands[0].node.operands
    for first, second in (lengths, lengths[::-1]):
        if _is_length(first, x, inner) and _is_length(second, y, inner):
            made = multiply(divide(x, first), divide(y, second))
            return Node(inner.op, [made], inner.attrs).results[0]
    return None


def _is_length(length: Tensor, x: Tensor, total: Node) -> bool:
    node = length.node
    return (
        node.op.name == "length"
        and node.operands[0] is x
        and node.attrs["axes"] == total.attrs["axes"]
    )


def floats(match: Match) -> bool:
    """For rules that hold for floats alone: the square of an integer may wrap."""
    return match.root.dtype.is_float


def _from_half(match: Match) -> bool:
    return match.tensors["x"].dtype.is_half and match.root.dtype == float32


def _both_to_half(match: Match) -> bool:
    return _to_half(match) and match.tensors["y"].dtype == float32


def two_vectors(match: Match) -> bool:
    """Not x by its own length; nor halves, of which directions underflow."""
    return match.tensors["x"] is not match.tensors["y"] and not match.root.dtype.is_half


def _to_half(match: Match) -> bool:
    """For what is rounded to a half only to go on with it; a mean, say, is computed in float32."""
    return match.root.dtype.is_half and match.tensors["x"].dtype == float32


LENGTHS = (
    Rule("x * x -> square(x)", "one name for a square"),
    Rule("cast(square(x), d) -> square(cast(x, d))", "a half overflows at 256²", _from_half),
    Rule("square(cast(x, d)) -> cast(square(x), d)", "rounded once", _to_half),
    Rule("sqrt(cast(x, d)) -> cast(sqrt(x), d)", "the square would not fit a half", _to_half),
    Rule(
        "cast(x, d) - cast(y, d) -> cast(x - y, d)", "rounded once, after it cancels", _both_to_half
    ),
    Rule(
        "sqrt(view(sum(square(x), a))) -> view(length(x, a))",
        "the squares overflow or underflow; at 0 the derivative is 0, not nan",
    ),
    Rule(
        "rsqrt(view(sum(square(x), a))) -> 1 / view(length(x, a))",
        "the squares overflow or underflow",
    ),
    Rule("sum(square(x), a) / length(x, a) -> length(x, a)", "inf / inf, or 0 / 0"),
    Rule("1 / length(x, a) * y -> y / length(x, a)", "1 / length may overflow"),
    Rule(
        "gated_multiply(gated_divide(x, length(y, a)), y)"
        " -> gated_multiply(x, gated_divide(y, length(y, a)))",
        "x / length may overflow, a direction is at most 1",
        two_vectors,
    ),
    Rule(
        "sqrt(c * sum(square(x), a)) -> sqrt(c) * length(x, a)",
        "the squares overflow or underflow: a root mean square",
        code=_root_of_scaled,
        whole=True,
        roots=("sqrt",),
    ),
    Rule(
        "sqrt(square(x) + square(y)) -> hypot(x, y)",
        "the squares overflow or underflow; at 0 the derivative is 0, not nan",
        code=_hypotenuse,
        whole=True,
        roots=("sqrt", "rsqrt"),
    ),
    Rule(
        "square(x) / (square(x) + square(y)) -> square(cosine(x, y))",
        "inf / inf; and the derivative cancels",
        code=_share_of_squares,
        whole=True,
        roots=("divide",),
    ),
    Rule("x / hypot(x, y) -> cosine(x, y)", "the derivative cancels where x is large"),
    Rule("x / hypot(y, x) -> cosine(x, y)", "the derivative cancels where x is large"),
    Rule(
        "sqrt(sum(square(x), a) * sum(square(y), a)) -> length(x, a) * length(y, a)",
        "the squares overflow or underflow",
    ),
    Rule(
        "matmul(row, column) -> sum(square(x), a)",
        "a product of a vector with itself is the square of its length",
        code=_dot_with_itself,
        roots=("matmul",),
    ),
    Rule(
        "sum(x * y, a) / (length(x, a) * length(y, a)) -> sum(x / length * y / length, a)",
        "the products overflow or underflow where their directions do not",
        code=_cosine,
        whole=True,
        roots=("divide",),
    ),
    Rule("square(x) ** y -> abs(x) ** (2 * y)", "the square overflows or underflows", floats),
)
