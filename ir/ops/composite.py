# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Named formulas: kept whole while rules match and gradients are taken, expanded before kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dims import product
from ..errors import DTypeError, ShapeError
from ..op import MaybeTensors
from ..shapes import keep_axes, normalise_axes
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensor, primitive
from .conversion import astype
from .gated import gated_multiply
from .logic import equal, isfinite, where
from .reduction import max_, squeeze_axes, sum_
from .shape import inverse, permute, reshape
from .transcendental import exp, expm1, log1p

Axes = tuple[int, ...]
Axis = int | Sequence[int] | None

__all__ = ["log_softmax", "logsumexp", "softmax"]


def _same(x: TensorType, *, axis: int) -> TensorType:
    if not x.dtype.is_float:
        raise DTypeError(f"needs a float dtype, got {x.dtype}")
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"axis {axis} is not one of {x.ndim} axes")
    return x


def _kept(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    if not x.dtype.is_float:
        raise DTypeError(f"needs a float dtype, got {x.dtype}")
    if normalise_axes(axes, x.ndim) != axes:
        raise ShapeError(f"axes must be in order and counted from the front, got {axes}")
    return TensorType(x.dtype, keep_axes(x.shape, axes))


def _centre(x: Tensor, axes: Axes) -> Tensor:
    """The maximum, or 0 where that is infinite, so that x − centre is never inf − inf."""
    top = max_(x, axes=axes)
    return where(isfinite(top), top, 0.0)


def _shifted(x: Tensor, axes: Axes) -> tuple[Tensor, Tensor]:
    """x − centre, rounded, and what the rounding lost (Knuth's two-sum, TAOCP 4.2.2).

    The difference of two floats near 100 is off by 4e-6, and exp makes that a relative error.
    """
    centre = _centre(x, axes)
    z = x - centre
    back = z - x
    lost = (x - (z - back)) - (centre + back)
    return z, lost


def _exp(z: Tensor, lost: Tensor) -> Tensor:
    """exp(z + lost) for a tiny second part, which is nan where z is infinite."""
    e = exp(z)
    return e + where(isfinite(z), e * lost, 0.0)


def _log_total(z: Tensor, lost: Tensor, axes: Axes) -> Tensor:
    """ln Σ exp(z), where the largest z is 0: exact to the last bits also where the others vanish.

    Σ exp(z) − 1 is summed without the ones, which would swallow it.
    """
    is_top = equal(z, 0.0)
    rest = sum_(where(is_top, 0.0, _exp(z, lost)), axes=axes)
    return log1p(rest + (sum_(astype(is_top, z.dtype), axes=axes) - 1.0))


def _numpy_shifted(x: Any, axes: Any) -> tuple[Any, Any]:
    """x − centre and the centre, with more digits than x has."""
    top = np.max(x, axes, keepdims=True, initial=-np.inf)
    centre = np.where(np.isfinite(top), top, 0)
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    return x.astype(wide) - centre, centre


def _numpy_log_total(z: Any, axes: Any) -> Any:
    is_top = z == 0
    rest = np.sum(np.where(is_top, 0, np.exp(z)), axes, keepdims=True)
    return np.log1p(rest + (np.sum(is_top, axes, keepdims=True) - 1))


def _numpy_logsumexp(x: Any, axes: Axes) -> Any:
    z, centre = _numpy_shifted(x, axes)
    return (centre + _numpy_log_total(z, axes)).astype(x.dtype)


def _numpy_log_softmax(x: Any, axis: int) -> Any:
    z, _ = _numpy_shifted(x, axis)
    return (z - _numpy_log_total(z, axis)).astype(x.dtype)


def _numpy_softmax(x: Any, axis: int) -> Any:
    e = np.exp(_numpy_shifted(x, axis)[0])
    return (e / np.sum(e, axis, keepdims=True)).astype(x.dtype)


def _expand_softmax(node: Node) -> list[Tensor]:
    axes = (node.attrs["axis"],)
    e = _exp(*_shifted(node.operands[0], axes))
    return [e / sum_(e, axes=axes)]


def _expand_log_softmax(node: Node) -> list[Tensor]:
    axes = (node.attrs["axis"],)
    z, lost = _shifted(node.operands[0], axes)
    return [z - _log_total(z, lost, axes)]


def _expand_logsumexp(node: Node) -> list[Tensor]:
    x, axes = node.operands[0], node.attrs["axes"]
    z, lost = _shifted(x, axes)
    return [_centre(x, axes) + _log_total(z, lost, axes)]


def _vjp_softmax(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), y, axes = cotangents, node.results[0], (node.attrs["axis"],)
    if ct is None:
        return [None]
    # y (ct − Σ y ct), centred twice: where one y is nearly 1 its difference is what rounding left,
    # the same for all entries, and beside it the true one, about 1 − y, is lost
    away = ct - sum_(ct * y, axes=axes)
    return [y * (away - sum_(away * y, axes=axes))]


def _vjp_log_softmax(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), x, axis = cotangents, node.operands[0], node.attrs["axis"]
    if ct is None:
        return [None]
    # ct − p Σ ct, with 1 − p by expm1: near p = 1 what is left of the target's entry is small
    others = sum_(ct, axes=(axis,)) - ct
    shares = softmax_(x, axis=axis)
    found = -expm1(node.results[0]) * ct - shares * others
    if ct.node.op.kind == "scatter":  # of the labels' entries: the others are 0, and none is lost
        return [found]
    # the sum over the axis is 0 but for what `others` lost, where p is nearly 1
    return [found - shares * sum_(found, axes=(axis,))]


def _jvp_log_softmax(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (t,), axis = tangents, node.attrs["axis"]
    if t is None:
        return [None]
    shares = softmax_(node.operands[0], axis=axis)
    away = t - sum_(shares * t, axes=(axis,))
    return [away - sum_(shares * away, axes=(axis,))]  # again, as for softmax


def _shares(node: Node) -> Tensor:
    """∂logsumexp(x)/∂x: softmax, over one axis or several."""
    return _softmax_over(node.operands[0], node.attrs["axes"])


def _vjp_logsumexp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,) = cotangents
    return [None if ct is None else gated_multiply(ct, _shares(node))]


def _jvp_logsumexp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (t,) = tangents
    return [None if t is None else sum_(_shares(node) * t, axes=node.attrs["axes"])]


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


def _batch_axes(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    axes = tuple(axis + 1 for axis in node.attrs["axes"])
    return [Node(node.op, operands, {"axes": axes}).results[0]]


@primitive(
    kind="composite",
    infer=_kept,
    reference=_numpy_logsumexp,
    vjp=_vjp_logsumexp,
    jvp=_jvp_logsumexp,
    batch=_batch_axes,
    expand=_expand_logsumexp,
    samples=(
        *((shapes, {"axes": (attrs["axis"],)}) for shapes, attrs in _SAMPLES),
        (((3, 2, 4),), {"axes": (0, 2)}),
        (((3, 5),), {"axes": (0, 1)}),
    ),
)
def logsumexp_(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    """ln Σ exp(x) over `axes`, kept as size 1."""
    ...


def _along_one(function: Callable[..., Tensor], x: Tensor, axes: Axes) -> Tensor:
    """`function` along `axes` laid out as one, and back."""
    if len(axes) == 1:
        return function(x, axis=axes[0])
    if not axes:
        return reshape(function(reshape(x, (*x.shape, 1)), axis=x.ndim), x.shape)
    order = (*(axis for axis in range(x.ndim) if axis not in axes), *axes)
    moved = permute(x, axes=order)
    kept = moved.shape[: x.ndim - len(axes)]
    flat = reshape(moved, (*kept, product(x.shape[axis] for axis in axes)))
    result = reshape(function(flat, axis=len(kept)), moved.shape)
    return permute(result, axes=inverse(order))


def _softmax_over(x: Tensor, axes: Axes) -> Tensor:
    return _along_one(softmax_, x, axes)


def softmax(x: TensorLike, axis: Axis = -1) -> Tensor:
    """exp(x) / Σ exp(x) over `axis`, an int, several, or None for all; finite for finite x."""
    tensor = as_tensor(x)
    return _softmax_over(tensor, normalise_axes(axis, tensor.ndim))


def log_softmax(x: TensorLike, axis: Axis = -1) -> Tensor:
    """ln softmax(x) over `axis`, an int, several, or None for all; finite for finite x."""
    tensor = as_tensor(x)
    return _along_one(log_softmax_, tensor, normalise_axes(axis, tensor.ndim))


def logsumexp(x: TensorLike, axis: Axis = -1, keepdims: bool = False) -> Tensor:
    """ln Σ exp(x) over `axis`, an int, several, or None for all; finite for finite x.

    −inf where there is nothing.  x is centred on its maximum first, and the largest term, exp(0),
    is left to log1p: so the result keeps its digits also where it is near that maximum.
    """
    tensor = as_tensor(x)
    axes = normalise_axes(axis, tensor.ndim)
    result = logsumexp_(tensor, axes=axes) if axes else tensor
    return result if keepdims else squeeze_axes(result, axes)
