# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Systems of linear equations and inverses, by NumPy's LAPACK on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import DimLike, maximum
from ..errors import DTypeError, ShapeError
from ..op import MaybeTensors
from ..shapes import broadcast as broadcast_shapes
from ..shapes import unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensor, as_tensors, dimension, primitive
from .contraction import align_batch, matmul_
from .conversion import astype, of_one_dtype
from .diagonal import tril, triu
from .matrices import (
    add_to_diagonal,
    check_matrix,
    check_square,
    identity_like,
    on_diagonal,
    on_host,
    thirds,
)
from .reduction import squeeze_axes
from .shape import broadcast_to, matrix_transpose, reshape, spread_batch
from .types import finfo

__all__ = ["inv", "pinv", "solve", "triangular_solve"]

# --- solve ----------------------------------------------------------------------------------------


def _infer(a: TensorType, b: TensorType) -> TensorType:
    if a.ndim < 2 or b.ndim != a.ndim or a.shape[:-2] != b.shape[:-2]:
        raise ShapeError("needs matrices with the same leading axes")
    if a.dtype != b.dtype or not a.dtype.is_float:
        raise DTypeError(f"operands must share one float dtype, got {a.dtype} and {b.dtype}")
    unify(a.shape[-2], a.shape[-1], "the sizes of a square matrix")
    unify(a.shape[-1], b.shape[-2], "inner sizes")
    return b


def _vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), x = cotangents, node.results[0]
    if ct is None:
        return [None, None]
    for_b = solve_(matrix_transpose(node.operands[0]), ct)
    return [-matmul_(for_b, matrix_transpose(x)), for_b]


def _jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    rest = _moved(tangents[0], node.results[0], tangents[1])
    return [None if rest is None else solve_(node.operands[0], rest)]


def _moved(da: Tensor | None, x: Tensor, db: Tensor | None) -> Tensor | None:
    """db − da x, of those that there are."""
    if da is None:
        return db
    moved = matmul_(da, x)
    return -moved if db is None else db - moved


def _align(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    batch = broadcast_shapes([a.shape[:-2], b.shape[:-2]])
    return (
        broadcast_to(a, (*batch, *a.shape[-2:])),
        broadcast_to(b, (*batch, *b.shape[-2:])),
    )


def _batch(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> Sequence[Tensor]:
    a, b = align_batch(operands, batched)
    return Node(node.op, _align(a, b), node.attrs).results


_SHAPES: Any = (
    ((3, 3), (3, 2)),
    ((2, 4, 4), (2, 4, 1)),
    ((1, 1), (1, 1)),
    ((0, 0), (0, 2)),
    ((0, 2, 2), (0, 2, 2)),
)


def _substitutions(node: Node) -> DimLike:
    """The operations of a back substitution, n² for each right side."""
    return node.results[0].size * node.operands[0].shape[-1]


@primitive(
    kind="host",
    infer=_infer,
    reference=on_host("solve", np.linalg.solve),
    vjp=_vjp,
    jvp=_jvp,
    batch=_batch,
    prepare=lambda a, b: (add_to_diagonal(a, 6.0), b),
    samples=tuple((shapes, {}) for shapes in _SHAPES),
    work=lambda node: thirds(2)(node) + 2 * _substitutions(node),
)
def solve_(a: Tensor, b: Tensor) -> Tensor:
    """a⁻¹ b for square a (LAPACK gesv); a singular matrix makes the call fail.

    x = a⁻¹ b: dx = a⁻¹ (db − da x), and backwards b̄ = a⁻ᵀ x̄, ā = −b̄ xᵀ
    (Giles, Collected matrix derivative results, 2008, 2.3.1).
    """
    ...


def _columns(left: TensorLike, right: TensorLike) -> tuple[Tensor, Tensor, bool]:
    """Matrices of one dtype with the same leading axes, and whether the right one is a vector."""
    x, b = of_one_dtype([left, right])
    is_vector = b.ndim == 1
    if is_vector:
        b = reshape(b, (b.shape[0], 1))
    if x.ndim < 2 or b.ndim < 2:
        raise ShapeError(f"needs matrices, got {x.type} and {b.type}")
    return (*_align(x, b), is_vector)


def solve(a: TensorLike, b: TensorLike) -> Tensor:
    """x with a x = b; `b` is a vector where it has one axis, else matrices; leading axes
    broadcast.  A singular matrix makes the call fail."""
    left, right, is_vector = _columns(a, b)
    result = solve_(left, right)
    return squeeze_axes(result, [result.ndim - 1]) if is_vector else result


def inv(x: TensorLike) -> Tensor:
    """The inverses of square matrices; a singular one makes the call fail."""
    tensor = as_tensor(x)
    check_square(tensor.type)
    return solve_(tensor, identity_like(tensor))


# --- triangular -----------------------------------------------------------------------------------


def _infer_triangular(a: TensorType, b: TensorType, *, lower: bool, unit: bool) -> TensorType:
    return _infer(a, b)


def _substitute(a: Any, b: Any, lower: bool, unit: bool) -> Any:
    """An upper triangle is its own LU decomposition without any exchange of rows, so that LAPACK's
    gesv is back substitution; a lower one becomes upper when both axes are turned around."""
    triangle = np.tril(a) if lower else np.triu(a)
    if unit:
        size = range(a.shape[-1])
        triangle[..., size, size] = 1
    if not lower:
        return np.linalg.solve(triangle, b)
    return np.linalg.solve(triangle[..., ::-1, ::-1], b[..., ::-1, :])[..., ::-1, :]


def _triangle(x: Tensor, lower: bool, unit: bool) -> Tensor:
    """The part that is read."""
    return tril(x, -int(unit)) if lower else triu(x, int(unit))


def _triangular_vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), x = cotangents, node.results[0]
    if ct is None:
        return [None, None]
    lower, unit = node.attrs["lower"], node.attrs["unit"]
    for_b = triangular_solve_(matrix_transpose(node.operands[0]), ct, lower=not lower, unit=unit)
    return [-_triangle(matmul_(for_b, matrix_transpose(x)), lower, unit), for_b]


def _triangular_jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    da, db = tangents
    moved = None if da is None else _triangle(da, **node.attrs)
    rest = _moved(moved, node.results[0], db)
    return [None if rest is None else triangular_solve_(node.operands[0], rest, **node.attrs)]


@primitive(
    kind="host",
    infer=_infer_triangular,
    reference=on_host("triangular_solve", _substitute),
    vjp=_triangular_vjp,
    jvp=_triangular_jvp,
    batch=_batch,
    prepare=lambda a, b: (add_to_diagonal(a, 6.0), b),
    samples=tuple(
        (shapes, {"lower": i % 2 == 0, "unit": i % 3 == 1})
        for i, shapes in enumerate((*_SHAPES, *_SHAPES[:1]))
    ),
    work=_substitutions,
)
def triangular_solve_(a: Tensor, b: Tensor, *, lower: bool, unit: bool) -> Tensor:
    """a⁻¹ b for the lower or upper triangle of a (with ones on its diagonal where `unit`).

    The derivatives are those of solve, for the entries that are read.
    """
    ...


def triangular_solve(
    a: TensorLike,
    b: TensorLike,
    lower: bool = False,
    transpose: bool = False,
    unit: bool = False,
) -> Tensor:
    """x with T x = b, where T is the upper (or `lower`) triangle of square `a`.

    The other triangle is not read.  transpose: solve Tᵀ x = b instead.  unit: T has ones on its
    diagonal, whatever stands there.  `b` is a vector where it has one axis; leading axes
    broadcast.  A zero on the diagonal makes the call fail.
    """
    left, right, is_vector = _columns(a, b)
    if transpose:
        left, lower = matrix_transpose(left), not lower
    result = triangular_solve_(left, right, lower=lower, unit=unit)
    return squeeze_axes(result, [result.ndim - 1]) if is_vector else result


# --- the pseudo-inverse ---------------------------------------------------------------------------


def _infer_pinv(x: TensorType, rtol: TensorType) -> TensorType:
    check_matrix(x)
    if rtol != TensorType(x.dtype, x.shape[:-2]):
        raise ShapeError(f"needs a tolerance for each matrix, got {rtol} for {x}")
    return TensorType(x.dtype, (*x.shape[:-2], x.shape[-1], x.shape[-2]))


def _projectors(x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """1 − x p and 1 − p x."""
    left, right = matmul_(x, p), matmul_(p, x)
    return on_diagonal(left) - left, on_diagonal(right) - right


def _pinv_vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), p, pt = cotangents, node.results[0], matrix_transpose(node.results[0])
    if ct is None:
        return [None, None]
    left, right = _projectors(node.operands[0], p)
    back = matrix_transpose(ct)
    total = -matmul_(matmul_(pt, ct), pt)
    total = total + matmul_(matmul_(left, back), matmul_(p, pt))
    return [total + matmul_(matmul_(pt, p), matmul_(back, right)), None]


def _pinv_jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    dx, p, pt = tangents[0], node.results[0], matrix_transpose(node.results[0])
    if dx is None:
        return [None]
    left, right = _projectors(node.operands[0], p)
    back = matrix_transpose(dx)
    total = -matmul_(matmul_(p, dx), p)
    total = total + matmul_(matmul_(p, pt), matmul_(back, left))
    return [total + matmul_(matmul_(right, back), matmul_(pt, p))]


def _batch_pinv(
    node: Node, operands: Sequence[Tensor], batched: Sequence[bool]
) -> Sequence[Tensor]:
    return Node(node.op, spread_batch(operands, batched), node.attrs).results


@primitive(
    kind="host",
    infer=_infer_pinv,
    reference=on_host("pinv", lambda x, rtol: np.linalg.pinv(x, rcond=rtol)),
    vjp=_pinv_vjp,
    jvp=_pinv_jvp,
    batch=_batch_pinv,
    prepare=lambda x, rtol: (add_to_diagonal(x, 6.0), rtol * 1e-3),
    samples=tuple(
        ((shape, shape[:-2]), {}) for shape in [(3, 3), (4, 2), (2, 2, 3), (1, 1), (0, 2), (2, 0)]
    ),
    work=thirds(72),  # an SVD and a product
)
def pinv_(x: Tensor, rtol: Tensor) -> Tensor:
    """The Moore–Penrose inverse by the singular values above rtol times the largest.

    p = x⁺: dp = −p dx p + p pᵀ dxᵀ (1 − x p) + (1 − p x) dxᵀ pᵀ p while the rank stays
    (Golub & Pereyra, SIAM J. Numer. Anal. 10, 1973, 4.12).
    """
    ...


def tolerance(x: Tensor, rtol: TensorLike | None) -> Tensor:
    """`rtol`, or the larger size of the matrices times the spacing at 1; one for each matrix."""
    if rtol is None:
        size = dimension(maximum(x.shape[-2], x.shape[-1]), x.dtype)
        found = size * finfo(x.dtype).eps
    else:
        found = astype(as_tensors([rtol, x])[0], x.dtype)
    return broadcast_to(found, x.shape[:-2])


def pinv(x: TensorLike, rtol: TensorLike | None = None) -> Tensor:
    """The Moore–Penrose inverses of matrices.

    rtol: singular values up to rtol times the largest count as 0; a number, or one a matrix.
    None: the larger size times the spacing of the dtype at 1.  The derivative holds while no
    singular value crosses that line.
    """
    tensor = as_tensor(x)
    check_matrix(tensor.type)
    return pinv_(tensor, tolerance(tensor, rtol))
