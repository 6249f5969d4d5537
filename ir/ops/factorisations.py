# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Cholesky and QR decompositions, by NumPy's LAPACK on the host.

Derivatives after Murray, Differentiation of the Cholesky decomposition, 2016; Seeger, Hetzel, Dai,
Meissner & Lawrence, Auto-differentiating linear algebra, 2017; and, of wide matrices, Roberts &
Roberts, QR and LQ decomposition matrix backpropagation algorithms, 2020.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from ..dims import minimum
from ..errors import ArgumentError
from ..op import MaybeTensors
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensor, primitive
from .contraction import matmul_
from .create import zeros_like
from .diagonal import tril
from .join import concat
from .matrices import (
    add_to_diagonal,
    batch_matrices,
    check_matrix,
    check_square,
    half_lower,
    not_determined,
    on_host,
    skew,
    symmetric,
    thirds,
)
from .shape import matrix_transpose
from .solving import triangular_solve_

__all__ = ["cholesky", "qr"]

_SIZES = [((), 3), ((2,), 2), ((), 1), ((), 0), ((0,), 2)]
_SQUARE: Any = tuple((((*lead, n, n),), {}) for lead, n in _SIZES)

# --- Cholesky -------------------------------------------------------------------------------------


def _same(x: TensorType) -> TensorType:
    check_square(x)
    return x


def _cholesky_vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), factor = cotangents, node.results[0]
    if ct is None:
        return [None]
    up = matrix_transpose(factor)
    inner = half_lower(matmul_(up, ct))
    half = triangular_solve_(up, inner, lower=False, unit=False)
    return [symmetric(triangular_solve_(up, matrix_transpose(half), lower=False, unit=False))]


def _cholesky_jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (dx,), factor = tangents, node.results[0]
    if dx is None:
        return [None]
    half = triangular_solve_(factor, symmetric(dx), lower=True, unit=False)
    inner = triangular_solve_(factor, matrix_transpose(half), lower=True, unit=False)
    return [matmul_(factor, half_lower(inner))]


@primitive(
    kind="host",
    infer=_same,
    reference=on_host("cholesky", np.linalg.cholesky),
    vjp=_cholesky_vjp,
    jvp=_cholesky_jvp,
    batch=batch_matrices,
    prepare=lambda x: (add_to_diagonal(x @ np.swapaxes(x, -1, -2), 4.0),),
    samples=_SQUARE,
    work=thirds(1),  # 4.2.5
)
def cholesky_(x: Tensor) -> Tensor:
    """The lower triangular l with l lᵀ = x, of symmetric positive definite x (LAPACK potrf).

    Reads the lower triangle.  dl = l Φ(l⁻¹ dx l⁻ᵀ), Φ the lower triangle with half the diagonal,
    and backwards x̄ = sym(l⁻ᵀ Φ(lᵀ l̄) l⁻¹) (Murray, Differentiation of the Cholesky
    decomposition, 2016): x is symmetric, so its gradient is.
    """
    ...


def cholesky(x: TensorLike, upper: bool = False) -> Tensor:
    """The lower triangular l with l lᵀ = x; `upper`: u = lᵀ with uᵀ u = x.

    x: symmetric positive definite matrices, of which the lower triangle is read; any other makes
    the call fail.  The gradient is symmetric: each entry has half of what moving both does.
    """
    result = cholesky_(as_tensor(x))
    return matrix_transpose(result) if upper else result


# --- QR -------------------------------------------------------------------------------------------


def _qr_types(x: TensorType, *, complete: bool) -> tuple[TensorType, TensorType]:
    check_matrix(x)
    *lead, rows, columns = x.shape
    inner = rows if complete else minimum(rows, columns)
    return (
        TensorType(x.dtype, (*lead, rows, inner)),
        TensorType(x.dtype, (*lead, inner, columns)),
    )


def _check_reduced(node: Node) -> None:
    q, r = node.results
    if q.shape[-1] != minimum(q.shape[-2], r.shape[-1]):
        raise not_determined(node, "mode='reduced'")


def _times_inverse(x: Tensor, r: Tensor) -> Tensor:
    """x r⁻¹ for upper triangular r."""
    right = matrix_transpose(r)
    return matrix_transpose(triangular_solve_(right, matrix_transpose(x), lower=True, unit=False))


def _tall_vjp(q: Tensor, r: Tensor, for_q: Tensor | None, for_r: Tensor | None) -> Tensor | None:
    """Of x with at least as many rows as columns: x̄ = (q̄ + q m) r⁻ᵀ, where m is symmetric with
    the lower triangle of r r̄ᵀ − q̄ᵀ q."""
    core: Tensor | None = None
    if for_r is not None:
        core = matmul_(r, matrix_transpose(for_r))
    if for_q is not None:
        turn = matmul_(matrix_transpose(for_q), q)
        core = -turn if core is None else core - turn
    if core is None:
        return None
    middle = matmul_(q, tril(core) + matrix_transpose(tril(core, -1)))
    total = middle if for_q is None else for_q + middle
    return matrix_transpose(triangular_solve_(r, matrix_transpose(total), lower=False, unit=False))


def _tall_jvp(q: Tensor, r: Tensor, dx: Tensor) -> tuple[Tensor, Tensor]:
    """dq = q ω + (1 − q qᵀ) dx r⁻¹ and dr = (c − ω) r with c = qᵀ dx r⁻¹, where ω is
    antisymmetric with the lower triangle of c."""
    quotient = _times_inverse(dx, r)
    core = matmul_(matrix_transpose(q), quotient)
    turn = skew(tril(core, -1))
    upper = core - turn
    return quotient - matmul_(q, upper), matmul_(upper, r)


def _qr_vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (x,), (q, r), (for_q, for_r) = node.operands, node.results, cotangents
    _check_reduced(node)
    count = q.shape[-1]
    if r.shape[-1] == count:
        return [_tall_vjp(q, r, for_q, for_r)]
    # x = [x₁ x₂] = q [r₁ qᵀx₂]: q and r₁ are of the square x₁
    if for_r is None:
        left = _tall_vjp(q, r[..., :count], for_q, None)
        return [None if left is None else concat([left, zeros_like(x[..., count:])], axis=-1)]
    rest = matmul_(x[..., count:], matrix_transpose(for_r[..., count:]))
    total = rest if for_q is None else for_q + rest
    left = _tall_vjp(q, r[..., :count], total, for_r[..., :count])
    assert left is not None
    return [concat([left, matmul_(q, for_r[..., count:])], axis=-1)]


def _qr_jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (dx,), (x,), (q, r) = tangents, node.operands, node.results
    if dx is None:
        return [None, None]
    _check_reduced(node)
    count = q.shape[-1]
    dq, dr = _tall_jvp(q, r[..., :count], dx[..., :count])
    if r.shape[-1] == count:
        return [dq, dr]
    rest = matmul_(matrix_transpose(dq), x[..., count:])
    rest = rest + matmul_(matrix_transpose(q), dx[..., count:])
    return [dq, concat([dr, rest], axis=-1)]


@primitive(
    kind="host",
    infer=_qr_types,
    reference=on_host(
        "qr", lambda x, complete: np.linalg.qr(x, "complete" if complete else "reduced")
    ),
    vjp=_qr_vjp,
    jvp=_qr_jvp,
    batch=batch_matrices,
    prepare=lambda x: (add_to_diagonal(x, 6.0),),
    samples=tuple(
        ((shape,), {"complete": shape == (2, 2)})
        for shape in [(3, 3), (4, 2), (2, 2, 3), (2, 2), (1, 1), (0, 3), (3, 0), (0, 2, 2)]
    ),
    work=thirds(8),  # 5.2.2, q and r alike
)
def qr_(x: Tensor, *, complete: bool) -> tuple[Tensor, Tensor]:
    """q with orthonormal columns and upper triangular r with x = q r (LAPACK geqrf).

    The derivatives (Seeger et al. 2017; of wide x after Roberts & Roberts, QR and LQ decomposition
    matrix backpropagation algorithms, 2020) need the leading columns of x to be independent.
    """
    ...


class QrResult(NamedTuple):
    """What qr gives."""

    Q: Tensor
    R: Tensor


def qr(x: TensorLike, mode: Literal["reduced", "complete"] = "reduced") -> QrResult:
    """Q with orthonormal columns and upper triangular R with x = Q R.

    mode: "complete" makes Q square; it has derivatives only where "reduced" leaves it square.
    They need the first min(rows, columns) columns of x to be independent.
    """
    if mode not in ("reduced", "complete"):
        raise ArgumentError(f"mode is 'reduced' or 'complete', got {mode!r}")
    return QrResult(*qr_(as_tensor(x), complete=mode == "complete"))
