# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Named formulas: kept whole while rules match and gradients are taken, expanded before kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..op import MaybeTensors
from ..shapes import keep_axes, normalise_axis
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensor, primitive
from .conversion import astype
from .logic import equal, isfinite, where
from .reduction import max_, squeeze_axes, sum_
from .transcendental import exp, expm1, log1p

__all__ = ["log_softmax", "logsumexp", "softmax"]


def _same(x: TensorType, *, axis: int) -> TensorType:
    if not x.dtype.is_float:
        raise DTypeError(f"needs a float dtype, got {x.dtype}")
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"axis {axis} is not one of {x.ndim} axes")
    return x


def _kept(x: TensorType, *, axis: int) -> TensorType:
    return TensorType(_same(x, axis=axis).dtype, keep_axes(x.shape, (axis,)))


def _centre(x: Tensor, axis: int) -> Tensor:
    """The maximum, or 0 where that is infinite, so that x − centre is never inf − inf."""
    top = max_(x, axes=(axis,))
    return where(isfinite(top), top, 0.0)


def _shifted(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """x − centre, rounded, and what the rounding lost (Knuth's two-sum, TAOCP 4.2.2).

    The difference of two floats near 100 is off by 4e-6, and exp makes that a relative error.
    """
    centre = _centre(x, axis)
    z = x - centre
    back = z - x
    lost = (x - (z - back)) - (centre + back)
    return z, where(isfinite(z), lost, 0.0)


def _exp(z: Tensor, lost: Tensor) -> Tensor:
    """exp(z + lost) for a tiny second part."""
    e = exp(z)
    return e + e * lost


def _log_total(z: Tensor, lost: Tensor, axis: int) -> Tensor:
    """ln Σ exp(z), where the largest z is 0: exact to the last bits also where the others vanish.

    Σ exp(z) − 1 is summed without the ones, which would swallow it.
    """
    is_top = equal(z, 0.0)
    rest = sum_(where(is_top, 0.0, _exp(z, lost)), axes=(axis,))
    return log1p(rest + (sum_(astype(is_top, z.dtype), axes=(axis,)) - 1.0))


def _numpy_shifted(x: Any, axis: int) -> tuple[Any, Any]:
    """x − centre and the centre, with more digits than x has."""
    top = np.max(x, axis, keepdims=True, initial=-np.inf)
    centre = np.where(np.isfinite(top), top, 0)
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    return x.astype(wide) - centre, centre


def _numpy_log_total(z: Any, axis: int) -> Any:
    is_top = z == 0
    rest = np.sum(np.where(is_top, 0, np.exp(z)), axis, keepdims=True)
    return np.log1p(rest + (np.sum(is_top, axis, keepdims=True) - 1))


def _numpy_logsumexp(x: Any, axis: int) -> Any:
    z, centre = _numpy_shifted(x, axis)
    return (centre + _numpy_log_total(z, axis)).astype(x.dtype)


def _numpy_log_softmax(x: Any, axis: int) -> Any:
    z, _ = _numpy_shifted(x, axis)
    return (z - _numpy_log_total(z, axis)).astype(x.dtype)


def _numpy_softmax(x: Any, axis: int) -> Any:
    e = np.exp(_numpy_shifted(x, axis)[0])
    return (e / np.sum(e, axis, keepdims=True)).astype(x.dtype)


def _expand_softmax(node: Node) -> list[Tensor]:
    axis = node.attrs["axis"]
    e = _exp(*_shifted(node.operands[0], axis))
    return [e / sum_(e, axes=(axis,))]


def _expand_log_softmax(node: Node) -> list[Tensor]:
    axis = node.attrs["axis"]
    z, lost = _shifted(node.operands[0], axis)
    return [z - _log_total(z, lost, axis)]


def _expand_logsumexp(node: Node) -> list[Tensor]:
    x, axis = node.operands[0], node.attrs["axis"]
    z, lost = _shifted(x, axis)
    return [_centre(x, axis) + _log_total(z, lost, axis)]


def _vjp_softmax(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), y, axis = cotangents, node.results[0], node.attrs["axis"]
    return [None if ct is None else y * (ct - sum_(ct * y, axes=(axis,)))]


def _vjp_log_softmax(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), x, axis = cotangents, node.operands[0], node.attrs["axis"]
    if ct is None:
        return [None]
    # ct − p Σ ct, with 1 − p by expm1: near p = 1 what is left of the target's entry is small
    others = sum_(ct, axes=(axis,)) - ct
    return [-expm1(node.results[0]) * ct - softmax_(x, axis=axis) * others]


def _jvp_log_softmax(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (t,), x, axis = tangents, node.operands[0], node.attrs["axis"]
    return [None if t is None else t - sum_(softmax_(x, axis=axis) * t, axes=(axis,))]


def _vjp_logsumexp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), x, axis = cotangents, node.operands[0], node.attrs["axis"]
    return [None if ct is None else ct * softmax_(x, axis=axis)]


def _jvp_logsumexp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (t,), x, axis = tangents, node.operands[0], node.attrs["axis"]
    return [None if t is None else sum_(softmax_(x, axis=axis) * t, axes=(axis,))]


def _batch(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    return [Node(node.op, operands, {"axis": node.attrs["axis"] + 1}).results[0]]


_SAMPLES: Any = (
    (((3, 4),), {"axis": 1}),
    (((3, 4),), {"axis": 0}),
    (((2, 3, 20),), {"axis": 2}),
    (((1, 1),), {"axis": 1}),
    (((0, 4),), {"axis": 1}),
)


@primitive(
    kind="composite",
    infer=_same,
    reference=_numpy_softmax,
    vjp=_vjp_softmax,
    jvp=_vjp_softmax,  # the Jacobian is symmetric
    batch=_batch,
    expand=_expand_softmax,
    samples=_SAMPLES,
)
def softmax_(x: Tensor, *, axis: int) -> Tensor:
    """exp(x) / Σ exp(x) along `axis`, of x less its maximum."""
    ...


@primitive(
    kind="composite",
    infer=_same,
    reference=_numpy_log_softmax,
    vjp=_vjp_log_softmax,
    jvp=_jvp_log_softmax,
    batch=_batch,
    expand=_expand_log_softmax,
    samples=_SAMPLES,
)
def log_softmax_(x: Tensor, *, axis: int) -> Tensor:
    """x − ln Σ exp(x) along `axis`, of x less its maximum."""
    ...


@primitive(
    kind="composite",
    infer=_kept,
    reference=_numpy_logsumexp,
    vjp=_vjp_logsumexp,
    jvp=_jvp_logsumexp,
    batch=_batch,
    expand=_expand_logsumexp,
    samples=_SAMPLES,
)
def logsumexp_(x: Tensor, *, axis: int) -> Tensor:
    """ln Σ exp(x) along `axis`, kept as size 1."""
    ...


def softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """exp(x) / Σ exp(x) along `axis`; finite for all finite x."""
    tensor = as_tensor(x)
    return softmax_(tensor, axis=normalise_axis(axis, tensor.ndim))


def log_softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """ln softmax(x) along `axis`; finite for all finite x."""
    tensor = as_tensor(x)
    return log_softmax_(tensor, axis=normalise_axis(axis, tensor.ndim))


def logsumexp(x: TensorLike, axis: int = -1, keepdims: bool = False) -> Tensor:
    """ln Σ exp(x) along `axis`; finite for all finite x."""
    tensor = as_tensor(x)
    place = normalise_axis(axis, tensor.ndim)
    result = logsumexp_(tensor, axis=place)
    return result if keepdims else squeeze_axes(result, (place,))
