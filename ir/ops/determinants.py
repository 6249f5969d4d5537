# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Determinants, by NumPy's LAPACK on the host."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..op import MaybeTensors
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensor, primitive
from .diagonal import diagonal
from .matrices import add_to_diagonal, batch_matrices, check_square, identity_like, on_host, thirds
from .reduction import squeeze_axes, sum_
from .shape import expand_dims, matrix_transpose
from .solving import solve_

__all__ = ["det", "slogdet"]


def _scalars(x: TensorType) -> TensorType:
    check_square(x)
    return TensorType(x.dtype, x.shape[:-2])


def _as_matrices(x: Tensor) -> Tensor:
    return expand_dims(x, (-2, -1))


def _inverse_times(x: Tensor, factor: Tensor) -> Tensor:
    """factor x⁻ᵀ, with a number a matrix."""
    return solve_(matrix_transpose(x), identity_like(x) * _as_matrices(factor))


def _trace_of_quotient(x: Tensor, y: Tensor) -> Tensor:
    """tr(x⁻¹ y)."""
    parts = diagonal(solve_(x, y))
    return squeeze_axes(sum_(parts, axes=(parts.ndim - 1,)), [parts.ndim - 1])


def _det_vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), value = cotangents, node.results[0]
    return [None if ct is None else _inverse_times(node.operands[0], ct * value)]


def _det_jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (dx,), value = tangents, node.results[0]
    return [None if dx is None else value * _trace_of_quotient(node.operands[0], dx)]


_SQUARE: Any = tuple((((*lead, n, n),), {}) for lead, n in [((), 3), ((2,), 2), ((), 1), ((), 0)])


@primitive(
    kind="host",
    infer=_scalars,
    reference=on_host("det", np.linalg.det),
    vjp=_det_vjp,
    jvp=_det_jvp,
    batch=batch_matrices,
    prepare=lambda x: (add_to_diagonal(x, 4.0),),
    samples=(*_SQUARE, (((0, 2, 2),), {})),
    work=thirds(2),  # LU, 3.2.1
)
def det_(x: Tensor) -> Tensor:
    """The determinant of square matrices (LAPACK getrf).

    d det = det · tr(x⁻¹ dx) (Giles 2008, 2.2.4): the derivative at a singular matrix makes the
    call fail.
    """
    ...


def det(x: TensorLike) -> Tensor:
    """The determinants of square matrices; that of an empty one is 1.

    The derivative is det · x⁻ᵀ, and fails in the call where x is singular.
    """
    return det_(as_tensor(x))


def _slogdet_types(x: TensorType) -> tuple[TensorType, TensorType]:
    return (_scalars(x), _scalars(x))


def _slogdet_vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    ct = cotangents[1]
    return [None if ct is None else _inverse_times(node.operands[0], ct)]


def _slogdet_jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (dx,) = tangents
    return [None, None if dx is None else _trace_of_quotient(node.operands[0], dx)]


@primitive(
    kind="host",
    infer=_slogdet_types,
    reference=on_host("slogdet", np.linalg.slogdet),
    vjp=_slogdet_vjp,
    jvp=_slogdet_jvp,
    batch=batch_matrices,
    prepare=lambda x: (add_to_diagonal(x, 4.0),),
    samples=_SQUARE,
    work=thirds(2),
)
def slogdet_(x: Tensor) -> tuple[Tensor, Tensor]:
    """The sign of the determinant, and ln of its absolute value (LAPACK getrf).

    d ln|det| = tr(x⁻¹ dx) (Giles 2008, 2.2.5); the sign is a step.
    """
    ...


class SlogdetResult(NamedTuple):
    """What slogdet gives."""

    sign: Tensor
    logabsdet: Tensor


def slogdet(x: TensorLike) -> SlogdetResult:
    """(sign, logabsdet) of the determinants of square matrices; 0 and −inf of singular ones.

    The derivative of logabsdet is x⁻ᵀ, and fails in the call where x is singular.
    """
    return SlogdetResult(*slogdet_(as_tensor(x)))
