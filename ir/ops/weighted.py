# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""The softmax with weights, which masks are the plainest of: what rules make of its quotient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..op import MaybeTensors
from ..shapes import normalise_axes
from ..tensor import Node, Tensor, TensorType
from .arithmetic import minimum
from .build import primitive
from .logarithms import centred_exp
from .logic import equal, isfinite, where
from .reduction import max_, sum_
from .shape import spread_batch

__all__: list[str] = []

_HIGHEST = 80.0  # exp of it is finite in float32


def _infer(x: TensorType, w: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    if not x.dtype.is_float or x != w:
        raise DTypeError(f"needs floats of one type, got {x} and {w}")
    if normalise_axes(axes, x.ndim) != axes:
        raise ShapeError(f"axes must be in order and counted from the front, got {axes}")
    return x


def _numpy(x: Any, w: Any, axes: tuple[int, ...]) -> Any:
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    top = np.max(np.where(w == 0, -np.inf, x), axes, keepdims=True, initial=-np.inf)
    z = x.astype(wide) - np.where(np.isfinite(top), top, 0)
    e = np.where((w == 0) & (z > 0), 0, w * np.exp(z))
    return (e / np.sum(e, axes, keepdims=True)).astype(x.dtype)


def _shares(node: Node) -> Tensor:
    """exp(x) / Σ w · exp(x): the shares of weights of 1."""
    (x, w), axes = node.operands, node.attrs["axes"]
    top = max_(where(equal(w, 0.0), float("-inf"), x), axes=axes)
    top = where(isfinite(top), top, 0.0)
    e = centred_exp(where(equal(w, 0.0), minimum(x, top + _HIGHEST), x), top)
    return e / sum_(w * e, axes=axes)


def _vjp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), (_, w), axes = cotangents, node.operands, node.attrs["axes"]
    if ct is None:
        return [None, None]
    shares = _shares(node)
    y = w * shares
    away = ct - sum_(ct * y, axes=axes)
    away = away - sum_(away * y, axes=axes)  # as for softmax: what the first sum lost
    return [y * away, shares * away]


def _jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (by_x, by_w), (_, w), axes = tangents, node.operands, node.attrs["axes"]
    shares = _shares(node)
    y = w * shares
    total: Tensor | None = None
    if by_x is not None:
        away = by_x - sum_(by_x * y, axes=axes)
        total = y * (away - sum_(away * y, axes=axes))
    if by_w is not None:
        moved = shares * by_w
        moved = moved - y * sum_(moved, axes=axes)
        total = moved if total is None else total + moved
    return [total]


def _batch(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    axes = tuple(axis + 1 for axis in node.attrs["axes"])
    x, w = spread_batch(operands, batched)
    return [Node(node.op, [x, w], {"axes": axes}).results[0]]


@primitive(
    kind="composite",
    infer=_infer,
    reference=_numpy,
    vjp=_vjp,
    jvp=_jvp,
    batch=_batch,
    expand=lambda node: [node.operands[1] * _shares(node)],
    samples=(
        (((3, 4), (3, 4)), {"axes": (1,)}),
        (((2, 3, 4), (2, 3, 4)), {"axes": (0, 2)}),
        (((1, 1), (1, 1)), {"axes": (1,)}),
        (((0, 4), (0, 4)), {"axes": (1,)}),
    ),
)
def weighted_softmax(x: Tensor, w: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    """w · exp(x) / Σ w · exp(x) over `axes`, of x less its largest entry whose weight is not 0."""
    ...
