# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Eigenvalues of symmetric matrices and singular values, by NumPy's LAPACK on the host.

The signs of vectors, and which basis those of equal values have, are LAPACK's choice.  Derivatives
after Giles, Collected matrix derivative results for forward and reverse mode algorithmic
differentiation, 2008, and Townsend, Differentiating the singular value decomposition, 2016.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from ..dims import minimum
from ..op import MaybeTensors
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensor, primitive
from .contraction import matmul_
from .diagonal import diagonal
from .matrices import (
    add_to_diagonal,
    batch_matrices,
    check_matrix,
    check_square,
    from_diagonal,
    not_determined,
    on_host,
    safe_reciprocal,
    skew,
    symmetric,
    thirds,
)
from .shape import expand_dims, matrix_transpose

__all__ = ["eigh", "eigvalsh", "svd", "svdvals"]

_SIZES = [((), 3), ((2,), 2), ((), 1), ((), 0), ((0,), 2)]
_SQUARE: Any = tuple((((*lead, n, n),), {}) for lead, n in _SIZES)

# --- symmetric eigenvalues ------------------------------------------------------------------------


def _eigh_types(x: TensorType) -> tuple[TensorType, TensorType]:
    check_square(x)
    return TensorType(x.dtype, x.shape[:-1]), x


def _gaps(values: Tensor) -> Tensor:
    """1 / (λⱼ − λᵢ) at i, j, and 0 where they are equal."""
    return safe_reciprocal(expand_dims(values, -2) - expand_dims(values, -1))


def _eigh_vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (for_values, for_vectors), (values, vectors) = cotangents, node.results
    inner = None if for_values is None else from_diagonal(for_values)
    back = matrix_transpose(vectors)
    if for_vectors is not None:
        turn = _gaps(values) * matmul_(back, for_vectors)
        inner = turn if inner is None else inner + turn
    return [None if inner is None else symmetric(matmul_(matmul_(vectors, inner), back))]


def _eigh_jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (dx,), (values, vectors) = tangents, node.results
    if dx is None:
        return [None, None]
    inner = matmul_(matmul_(matrix_transpose(vectors), symmetric(dx)), vectors)
    return [diagonal(inner), matmul_(vectors, _gaps(values) * inner)]


@primitive(
    kind="host",
    infer=_eigh_types,
    reference=on_host("eigh", np.linalg.eigh),
    vjp=_eigh_vjp,
    jvp=_eigh_jvp,
    batch=batch_matrices,
    prepare=lambda x: (add_to_diagonal(x + np.swapaxes(x, -1, -2), 0.0, 12.0, 24.0),),
    samples=_SQUARE,
    work=thirds(27),  # 8.3.3
)
def eigh_(x: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending λ and orthogonal v with x = v diag(λ) vᵀ, of symmetric x (LAPACK syevd).

    Reads the lower triangle.  dλ = diag(p), dv = v (f ∘ p) with p = vᵀ dx v and
    fᵢⱼ = 1 / (λⱼ − λᵢ), 0 where these are equal (Giles 2008, 3.1).
    """
    ...


class EighResult(NamedTuple):
    """What eigh gives."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eigh(x: TensorLike) -> EighResult:
    """Ascending eigenvalues, and eigenvectors in columns, of symmetric matrices.

    The lower triangle is read; the gradient is symmetric.  The derivative of eigenvectors exists
    for distinct eigenvalues; what turns vectors of equal ones among each other counts as 0.
    """
    return EighResult(*eigh_(as_tensor(x)))


def eigvalsh(x: TensorLike) -> Tensor:
    """Ascending eigenvalues of symmetric matrices, of which the lower triangle is read."""
    return eigh(x).eigenvalues


# --- singular values ------------------------------------------------------------------------------


def _svd_types(x: TensorType, *, full: bool) -> tuple[TensorType, TensorType, TensorType]:
    check_matrix(x)
    *lead, rows, columns = x.shape
    least = minimum(rows, columns)
    left, right = (rows, columns) if full else (least, least)
    return (
        TensorType(x.dtype, (*lead, rows, left)),
        TensorType(x.dtype, (*lead, least)),
        TensorType(x.dtype, (*lead, right, columns)),
    )


def _check_thin(node: Node) -> None:
    u, s, vh = node.results
    if not (u.shape[-1] == s.shape[-1] == vh.shape[-2]):
        raise not_determined(node, "full_matrices=False")


def _square_gaps(s: Tensor) -> Tensor:
    """1 / (sⱼ² − sᵢ²) at i, j, and 0 where they are equal."""
    row, column = expand_dims(s, -2), expand_dims(s, -1)
    return safe_reciprocal((row - column) * (row + column))


def _outside(basis: Tensor, x: Tensor) -> Tensor:
    """(1 − b bᵀ) x: the part that the columns of b do not span."""
    return x - matmul_(basis, matmul_(matrix_transpose(basis), x))


def _svd_vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (for_u, for_s, for_vh), (u, s, vh) = cotangents, node.results
    _check_thin(node)
    v, row, column = matrix_transpose(vh), expand_dims(s, -2), expand_dims(s, -1)
    parts: list[Tensor] = []
    if for_s is not None:
        parts.append(matmul_(u * expand_dims(for_s, -2), vh))
    if for_u is not None:
        inner = _square_gaps(s) * skew(matmul_(matrix_transpose(u), for_u)) * row
        outer = _outside(u, for_u) * safe_reciprocal(row)
        parts.append(matmul_(matmul_(u, inner) + outer, vh))
    if for_vh is not None:
        for_v = matrix_transpose(for_vh)
        inner = column * _square_gaps(s) * skew(matmul_(vh, for_v))
        outer = safe_reciprocal(column) * matrix_transpose(_outside(v, for_v))
        parts.append(matmul_(u, matmul_(inner, vh) + outer))
    return [reduce(add, parts) if parts else None]


def _svd_jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (dx,), (u, s, vh) = tangents, node.results
    if dx is None:
        return [None, None, None]
    _check_thin(node)
    v, row, column = matrix_transpose(vh), expand_dims(s, -2), expand_dims(s, -1)
    moved = matmul_(dx, v)
    core = matmul_(matrix_transpose(u), moved)
    back, gaps = matrix_transpose(core), _square_gaps(s)
    du = matmul_(u, gaps * (core * row + column * back))
    du = du + _outside(u, moved) * safe_reciprocal(row)
    dv = matmul_(v, gaps * (column * core + back * row))
    dv = dv + _outside(v, matmul_(matrix_transpose(dx), u)) * safe_reciprocal(row)
    return [du, diagonal(core), matrix_transpose(dv)]


@primitive(
    kind="host",
    infer=_svd_types,
    reference=on_host("svd", lambda x, full: np.linalg.svd(x, full_matrices=full)),
    vjp=_svd_vjp,
    jvp=_svd_jvp,
    batch=batch_matrices,
    prepare=lambda x: (add_to_diagonal(x, 4.0, 12.0, 24.0),),
    samples=tuple(
        ((shape,), {"full": shape == (2, 2)})
        for shape in [(3, 3), (4, 2), (2, 2, 3), (2, 2), (1, 1), (0, 3), (3, 0), (0, 2, 2)]
    ),
    work=thirds(66),  # 8.6.3
)
def svd_(x: Tensor, *, full: bool) -> tuple[Tensor, Tensor, Tensor]:
    """u, descending s ≥ 0 and vᵀ with x = u diag(s) vᵀ (LAPACK gesdd).

    p = uᵀ dx v: ds = diag(p), du = u (f ∘ (p s + s pᵀ)) + (1 − u uᵀ) dx v s⁻¹ with
    fᵢⱼ = 1 / (sⱼ² − sᵢ²), dv likewise of the transposed (Townsend, Differentiating the singular
    value decomposition, 2016).  Where singular values are equal or 0, such quotients count as 0.
    """
    ...


class SvdResult(NamedTuple):
    """What svd gives: U, S, and V transposed."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def svd(x: TensorLike, full_matrices: bool = True) -> SvdResult:
    """U, S, Vh with x = (U · S) Vh, the singular values S descending.

    full_matrices: U and Vh are square; they have derivatives only where False leaves them as they
    are.  Derivatives of U and Vh exist for distinct singular values above 0, what turns vectors of
    equal ones among each other counts as 0.
    """
    return SvdResult(*svd_(as_tensor(x), full=full_matrices))


def svdvals(x: TensorLike) -> Tensor:
    """The singular values, descending."""
    return svd(x, full_matrices=False).S
