# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Linear algebra that NumPy's LAPACK computes on the host, between kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..op import MaybeTensors
from ..shapes import broadcast as broadcast_shapes
from ..shapes import unify
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensors, primitive
from .contraction import align_batch, matmul_
from .shape import broadcast_to, matrix_transpose, reshape

__all__ = ["solve"]


def _infer(a: TensorType, b: TensorType) -> TensorType:
    if a.ndim < 2 or b.ndim != a.ndim or a.shape[:-2] != b.shape[:-2]:
        raise ShapeError("needs matrices with the same leading axes")
    if a.dtype != b.dtype or not a.dtype.is_float:
        raise DTypeError(f"operands must share one float dtype, got {a.dtype} and {b.dtype}")
    unify(a.shape[-2], a.shape[-1], "the sizes of a square matrix")
    unify(a.shape[-1], b.shape[-2], "inner sizes")
    return b


def _reference(a: Any, b: Any) -> Any:
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError as error:
        raise ArgumentError(f"solve: {error}") from None


def _vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), x = cotangents, node.results[0]
    if ct is None:
        return [None, None]
    for_b = solve_(matrix_transpose(node.operands[0]), ct)
    return [-matmul_(for_b, matrix_transpose(x)), for_b]


def _jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    ta, tb = tangents
    rest = tb
    if ta is not None:
        moved = matmul_(ta, node.results[0])
        rest = -moved if rest is None else rest - moved
    return [None if rest is None else solve_(node.operands[0], rest)]


def _align(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    batch = broadcast_shapes([a.shape[:-2], b.shape[:-2]])
    return (
        broadcast_to(a, (*batch, *a.shape[-2:])),
        broadcast_to(b, (*batch, *b.shape[-2:])),
    )


def _batch(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    a, b = align_batch(operands, batched)
    return [solve_(*_align(a, b))]


@primitive(
    kind="host",
    infer=_infer,
    reference=_reference,
    vjp=_vjp,
    jvp=_jvp,
    batch=_batch,
    samples=(
        (((3, 3), (3, 2)), {}),
        (((2, 4, 4), (2, 4, 1)), {}),
        (((1, 1), (1, 1)), {}),
    ),
)
def solve_(a: Tensor, b: Tensor) -> Tensor:
    """a⁻¹ b for square a (LAPACK gesv); a singular matrix makes the call fail.

    x = a⁻¹ b: dx = a⁻¹ (db − da x), and backwards b̄ = a⁻ᵀ x̄, ā = −b̄ xᵀ.
    """
    ...


def solve(a: TensorLike, b: TensorLike) -> Tensor:
    """x with a x = b; `b` is a vector where it has one axis, else matrices; leading axes
    broadcast."""
    left, right = as_tensors([a, b])
    if right.ndim == 1:
        return reshape(solve(left, reshape(right, (right.shape[0], 1))), (right.shape[0],))
    return solve_(*_align(left, right))
