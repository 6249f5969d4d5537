"""Rules about variances: the mean of the squares less the square of the mean.

Both are near the square of the mean, and of values far from 0 the difference keeps no digit.  The
sum of squares of what is left after the mean is subtracted keeps them all (Chan, Golub and LeVeque,
Algorithms for computing the sample variance, The American Statistician 37, 1983).

α Σ xy − β Σ x Σ y is α Σ (x − mean x) (y − mean y) where β n = α, n being the number of terms;
whether it is, is read off the numbers and sizes by which the sums are scaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose

from ..ir.dims import DimLike, product
from ..ir.ops.arithmetic import divide, multiply, square, subtract
from ..ir.ops.build import dimension
from ..ir.ops.conversion import stop_gradient
from ..ir.ops.reduction import sum_
from ..ir.ops.shape import only_ones_differ, reshape
from ..ir.tensor import Node, Tensor
from .polynomial import number
from .rewrite import Rule

_DEEPEST = 8


@dataclass(frozen=True)
class Scaled:
    """value · above / below · (the product of `factors`), sums in their general form."""

    value: float
    above: DimLike
    below: DimLike
    factors: tuple[Tensor, ...]

    def times(self, other: Scaled) -> Scaled:
        return Scaled(
            self.value * other.value,
            self.above * other.above,
            self.below * other.below,
            (*self.factors, *other.factors),
        )

    def over(self, other: Scaled) -> Scaled:
        return self.times(Scaled(1 / other.value, other.below, other.above, ()))


def _read(tensor: Tensor, depth: int = _DEEPEST) -> Scaled:
    """What `tensor` is a multiple of, seen through products, quotients and axes of size 1."""
    node = tensor.node
    value = number(tensor)
    if value:
        return Scaled(value, 1, 1, ())
    if node.op.name == "dimension":
        return Scaled(1.0, node.attrs["size"], 1, ())
    if depth:
        if node.op.name == "negative":
            return Scaled(-1.0, 1, 1, ()).times(_read(node.operands[0], depth - 1))
        if node.op.name == "square":
            base = _read(node.operands[0], depth - 1)
            return base.times(base)
        if node.op.name == "multiply":
            left, right = (_read(operand, depth - 1) for operand in node.operands)
            return left.times(right)
        if node.op.name == "divide":
            below = _read(node.operands[1], depth - 1)
            if not below.factors:
                return _read(node.operands[0], depth - 1).over(below)
        if node.op.name == "cast" and node.operands[0].node.op.name == "dimension":
            return _read(node.operands[0], depth - 1)
        if node.op.name == "reshape" and only_ones_differ(node.operands[0].shape, tensor.shape):
            return _read(node.operands[0], depth - 1)
    return Scaled(1.0, 1, 1, (tensor,))


def _has_sum(tensor: Tensor) -> bool:
    """Whether the first factor of `tensor` is a sum: seldom, and what else is read is for sums."""
    for _ in range(_DEEPEST):
        node = tensor.node
        if node.op.name not in ("negative", "square", "multiply", "divide", "reshape"):
            break
        tensor = node.operands[0]
        if number(tensor) is not None or tensor.node.op.name == "dimension":
            tensor = node.operands[-1]
    return tensor.node.op.name == "sum"


def _pair(summed: Tensor) -> tuple[float, Tensor, Tensor]:
    """c, x and y of c · x · y."""
    found = _read(summed)
    if len(found.factors) == 2 and found.above == found.below:
        x, y = found.factors
        if x.shape == y.shape == summed.shape:
            return found.value, x, y
    return 0.0, summed, summed


def _covariance(node: Node) -> Tensor | None:
    root = node.results[0]
    if not root.dtype.is_float or not all(map(_has_sum, node.operands)):
        return None
    first, second = (_read(operand) for operand in node.operands)
    sign = -1.0 if node.op.name == "subtract" else 1.0
    for products, means, outer in ((first, second, 1.0), (second, first, sign)):
        inner = sign if products is first else 1 / sign
        if len(products.factors) != 1 or len(means.factors) != 2:
            continue
        made = _centred(products, means, inner)
        if made is not None:
            value = made if outer == 1.0 else multiply(outer, made)
            return value if value.shape == root.shape else _as_shaped(value, root)
    return None


def _as_shaped(value: Tensor, root: Tensor) -> Tensor | None:
    return reshape(value, root.shape) if only_ones_differ(value.shape, root.shape) else None


def _centred(products: Scaled, means: Scaled, sign: float) -> Tensor | None:
    """α Σ xy + sign · β Σ x Σ y, if that is a covariance."""
    total, (one, other) = products.factors[0].node, means.factors
    if total.op.name != "sum" or one.node.op.name != "sum" or other.node.op.name != "sum":
        return None
    axes: tuple[int, ...] = total.attrs["axes"]
    inner = total.operands[0]
    if not (_folds_alike(one.node, total) and _folds_alike(other.node, total)):
        return None
    c, left, right = _pair(inner)
    a, x = _single(one.node.operands[0])
    b, y = _single(other.node.operands[0])
    found, wanted = [[_laid(t, total) for t in pair] for pair in ((x, y), (left, right))]
    matching = any(
        found[0] is first and found[1] is second for first, second in (wanted, wanted[::-1])
    )
    if not c or not matching:
        return None
    count = product(inner.shape[axis] for axis in axes)
    alpha, beta = products.value * c, -sign * means.value * a * b
    if not _agree(alpha, products, beta, means, count):
        return None
    n = dimension(count, inner.dtype)
    away = _from_mean(left, axes, n)
    spread = square(away) if left is right else multiply(away, _from_mean(right, axes, n))
    result = sum_(spread, axes=axes)
    if products.above != 1:
        result = multiply(result, dimension(products.above, inner.dtype))
    if products.below != 1:
        result = divide(result, dimension(products.below, inner.dtype))
    return result if alpha == 1.0 else multiply(alpha, result)


def _folds_all(total: Node) -> bool:
    shape = total.operands[0].shape
    return all(axis in total.attrs["axes"] for axis in range(len(shape)) if shape[axis] != 1)


def _folds_alike(one: Node, other: Node) -> bool:
    if _folds_all(one) and _folds_all(other):
        return True
    return bool(one.attrs["axes"] == other.attrs["axes"])


def _laid(x: Tensor, total: Node) -> Tensor:
    """What `x` is laid out from, where that does not count, as everything is summed."""
    while _folds_all(total) and x.node.op.name in ("reshape", "permute"):
        x = x.node.operands[0]
    return x


def _from_mean(x: Tensor, axes: tuple[int, ...], n: Tensor) -> Tensor:
    """x less its mean, and less what is left of it as the mean itself was rounded.

    That is 0 but for rounding, and so are its derivatives.  (A mean is written as the sum of parts,
    so that no rule takes it for one whose difference is still to be mended.)
    """
    part = divide(1.0, n)
    away = subtract(x, sum_(multiply(x, part), axes=axes))
    return subtract(away, stop_gradient(sum_(multiply(away, part), axes=axes)))


def _is_count(found: Scaled, count: DimLike) -> bool:
    if isinstance(count, int):
        return found.above == 1 and found.value == count
    return found.value == 1 and found.above == count


def _less_its_mean(node: Node) -> Tensor | None:
    """x − mean x."""
    x, mean = node.operands
    while mean.node.op.name == "reshape":
        mean = mean.node.operands[0]
    if mean.node.op.name != "divide" or not x.dtype.is_float:
        return None
    total, n = mean.node.operands
    if total.node.op.name != "sum" or total.node.operands[0] is not x:
        return None
    axes: tuple[int, ...] = total.node.attrs["axes"]
    count = product(x.shape[axis] for axis in axes)
    found = _read(n)
    if found.factors or found.below != 1 or not _is_count(found, count):
        return None
    made = _from_mean(x, axes, n)
    return made if made.shape == node.results[0].shape else None


def _single(tensor: Tensor) -> tuple[float, Tensor]:
    """c and x of c · x."""
    found = _read(tensor)
    if len(found.factors) == 1 and found.above == found.below:
        if found.factors[0].shape == tensor.shape:
            return found.value, found.factors[0]
    return 1.0, tensor


def _agree(alpha: float, products: Scaled, beta: float, means: Scaled, count: DimLike) -> bool:
    """Whether β · n = α: of the sizes exactly, of the numbers up to their rounding."""
    left, right = products.above * means.below, means.above * products.below * count
    if left == right:
        return isclose(alpha, beta, rel_tol=1e-6)
    if isinstance(left, int) and isinstance(right, int):
        return isclose(alpha * left, beta * right, rel_tol=1e-6)
    return False


MOMENTS = (
    Rule(
        "x - mean(x, a) -> x - mean(x, a) - mean(x - mean(x, a), a)",
        "of values far from 0 the mean is rounded by as much as they may differ",
        code=_less_its_mean,
        title="centred by the mean",
        roots=("subtract",),
    ),
    Rule(
        "sum(x * y, a) / n - sum(x, a) / n * sum(y, a) / n -> sum((x - mean) * (y - mean), a) / n",
        "both are near the square of the mean, and their difference keeps no digit",
        code=_covariance,
        whole=True,
        roots=("add", "subtract"),
    ),
)
