# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Running values along an axis: cumulative sums, products, extremes and log-sums.

Their derivatives are linear recurrences, but the sum's, which is a sum from the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import maximum
from ..errors import ArgumentError, DTypeError
from ..op import MaybeTensors
from ..shapes import normalise_axis
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_integer, as_tensor, as_tensors, constant, primitive
from .conversion import accumulated
from .create import full, ones, zeros
from .join import concat_
from .logic import equal, isfinite, not_equal, where
from .recurrence import (
    CASES,
    batch_axis,
    before,
    floating_type,
    from_end,
    linear_recurrence_,
    same_type,
)
from .shape import broadcast_to
from .slicing import flip, slice_axis
from .transcendental import exp, log

__all__ = [
    "cumprod",
    "cumsum",
    "cumulative_logsumexp",
    "cumulative_max",
    "cumulative_min",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
]


def _numeric(x: TensorType, *, axis: int) -> TensorType:
    if x.dtype.kind == "b":
        raise DTypeError("needs a number dtype, got bool")
    return same_type(x, axis=axis)


_SAMPLES: Any = tuple(((shape,), {"axis": axis}) for shape, axis in CASES)


# --- sums and products ----------------------------------------------------------------------------


def _numpy_sum(x: Any, axis: int) -> Any:
    """In float64, where a kernel adds up in the dtype itself."""
    wide = np.float64 if x.dtype.kind == "f" else x.dtype
    return np.cumsum(x, axis, dtype=wide).astype(x.dtype)


def _transpose_sum(node: Node, cotangent: Tensor, _: int) -> Tensor:
    axis = node.attrs["axis"]
    return flip(cumulative_sum_(flip(cotangent, axis), axis=axis), axis)


@primitive(
    kind="cumulative",
    infer=_numeric,
    reference=_numpy_sum,
    linear=(0,),
    transpose=_transpose_sum,
    batch=batch_axis,
    combine="add",
    identity="zero",
    samples=_SAMPLES,
)
def cumulative_sum_(x: Tensor, *, axis: int) -> Tensor:
    """x[0] + … + x[i] along `axis`."""
    ...


def _vjp_product(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    """Π over j < k, times Σ over i ≥ k of cotangent[i] · Π over k < j ≤ i; nothing is divided."""
    (ct,), axis = cotangents, node.attrs["axis"]
    if ct is None:
        return [None]
    others = before(node.results[0], axis, 1.0)
    return [others * from_end(node.operands[0], ct, axis)]


def _jvp_product(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (t,), axis = tangents, node.attrs["axis"]
    if t is None:
        return [None]
    moved = before(node.results[0], axis, 1.0) * t
    return [linear_recurrence_(node.operands[0], moved, axis=axis)]


@primitive(
    kind="cumulative",
    infer=_numeric,
    reference=lambda x, axis: np.cumprod(x, axis, dtype=x.dtype),
    vjp=_vjp_product,
    jvp=_jvp_product,
    batch=batch_axis,
    combine="multiply",
    identity="one",
    samples=_SAMPLES,
)
def cumulative_prod_(x: Tensor, *, axis: int) -> Tensor:
    """x[0] · … · x[i] along `axis`."""
    ...


def product_of_others(x: Tensor, axis: int) -> Tensor:
    """Π of the entries along `axis` but x[i] itself, exact also where some are 0."""
    front = before(cumulative_prod_(x, axis=axis), axis, 1.0)
    back = before(cumulative_prod_(flip(x, axis), axis=axis), axis, 1.0)
    return front * flip(back, axis)


# --- extremes -------------------------------------------------------------------------------------


def _stays(node: Node) -> Tensor:
    """1 where the extreme is the one before, else 0: there the entry itself has won."""
    y, axis = node.results[0], node.attrs["axis"]
    is_new = not_equal(y, before(y, axis, float("nan")))
    return where(is_new, zeros((), y.dtype), ones((), y.dtype))


def _vjp_extreme(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), axis = cotangents, node.attrs["axis"]
    if ct is None:
        return [None]
    stays = _stays(node)
    return [(1.0 - stays) * from_end(stays, ct, axis)]


def _jvp_extreme(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (t,), axis = tangents, node.attrs["axis"]
    if t is None:
        return [None]
    stays = _stays(node)
    return [linear_recurrence_(stays, (1.0 - stays) * t, axis=axis)]


@primitive(
    kind="cumulative",
    infer=same_type,
    reference=lambda x, axis: np.maximum.accumulate(x, axis),
    vjp=_vjp_extreme,
    jvp=_jvp_extreme,
    batch=batch_axis,
    combine="maximum",
    identity="lowest",
    samples=_SAMPLES,
)
def cumulative_max_(x: Tensor, *, axis: int) -> Tensor:
    """The largest of x[0] … x[i] along `axis`, nan from the first nan on."""
    ...


@primitive(
    kind="cumulative",
    infer=same_type,
    reference=lambda x, axis: np.minimum.accumulate(x, axis),
    vjp=_vjp_extreme,
    jvp=_jvp_extreme,
    batch=batch_axis,
    combine="minimum",
    identity="highest",
    samples=_SAMPLES,
)
def cumulative_min_(x: Tensor, *, axis: int) -> Tensor:
    """The smallest of x[0] … x[i] along `axis`, nan from the first nan on."""
    ...


# --- ln Σ exp -------------------------------------------------------------------------------------


def _numpy_logsumexp(x: Any, axis: int) -> Any:
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    return np.logaddexp.accumulate(x.astype(wide), axis).astype(x.dtype)


def _decay(y: Tensor, axis: int) -> Tensor:
    """exp(y[i−1] − y[i]), the share of all before i in the sum; y never falls."""
    earlier = before(y, axis, float("-inf"))
    return exp(where(equal(earlier, y), 0.0, earlier - y))


def _share(node: Node) -> Tensor:
    """exp(x[i] − y[i]), the share of entry i in the sum up to it; 1 where both are infinite."""
    x, y = node.operands[0], node.results[0]
    return exp(where(equal(x, y), 0.0, x - y))


def _vjp_logsumexp(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    (ct,), axis = cotangents, node.attrs["axis"]
    if ct is None:
        return [None]
    return [_share(node) * from_end(_decay(node.results[0], axis), ct, axis)]


def _jvp_logsumexp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    (t,), axis = tangents, node.attrs["axis"]
    if t is None:
        return [None]
    return [linear_recurrence_(_decay(node.results[0], axis), _share(node) * t, axis=axis)]


def _expand_logsumexp(node: Node) -> list[Tensor]:
    """Sums of exp(x − m) for the maximum m so far, scaled down wherever m grows."""
    x, axis = node.operands[0], node.attrs["axis"]
    top = cumulative_max_(x, axis=axis)
    centre = where(isfinite(top), top, 0.0)
    fall = exp(before(top, axis, float("-inf")) - centre)
    total = linear_recurrence_(fall, exp(x - centre), axis=axis)
    return [centre + log(total)]


@primitive(
    kind="composite",
    infer=floating_type,
    reference=_numpy_logsumexp,
    vjp=_vjp_logsumexp,
    jvp=_jvp_logsumexp,
    batch=batch_axis,
    expand=_expand_logsumexp,
    samples=_SAMPLES,
)
def cumulative_logsumexp_(x: Tensor, *, axis: int) -> Tensor:
    """ln(exp x[0] + … + exp x[i]) along `axis`."""
    ...


# --- what users call ------------------------------------------------------------------------------


def _along(
    function: Callable[..., Tensor], x: Tensor, axis: int | None, reverse: bool
) -> tuple[Tensor, int]:
    """`function` along an axis, perhaps from the end, and that axis counted from the front."""
    if axis is None:
        if x.ndim != 1:
            raise ArgumentError(f"needs an axis for {x.ndim} dimensions")
        axis = 0
    place = normalise_axis(axis, x.ndim)
    if not reverse:
        return function(x, axis=place), place
    return flip(function(flip(x, place), axis=place), place), place


def _accumulate(
    function: Callable[..., Tensor],
    x: TensorLike,
    axis: int | None,
    dtype: dt.DTypeLike | None,
    include_initial: bool,
    reverse: bool,
    initial: int,
) -> Tensor:
    tensor = accumulated(as_tensor(x), dtype)
    result, place = _along(function, tensor, axis, reverse)
    if not include_initial:
        return result
    shape = tuple(1 if i == place else size for i, size in enumerate(tensor.shape))
    start = full(shape, constant(initial, tensor.dtype))
    return concat_(*((result, start) if reverse else (start, result)), axis=place)


def cumulative_sum(
    x: TensorLike,
    axis: int | None = None,
    dtype: dt.DTypeLike | None = None,
    include_initial: bool = False,
    reverse: bool = False,
) -> Tensor:
    """x[0] + … + x[i] along `axis`, which may be left out for one dimension.

    dtype: to add up in, as of `sum`.  include_initial: a 0 before the first, one entry more.
    reverse: from the end, x[i] + … + x[−1] (an initial 0 then stands behind the last).
    Added up in order, entry by entry.
    """
    return _accumulate(cumulative_sum_, x, axis, dtype, include_initial, reverse, 0)


def cumulative_prod(
    x: TensorLike,
    axis: int | None = None,
    dtype: dt.DTypeLike | None = None,
    include_initial: bool = False,
    reverse: bool = False,
) -> Tensor:
    """x[0] · … · x[i] along `axis`; arguments as of `cumulative_sum`, the initial value is 1.

    The derivative is exact where entries are 0.
    """
    return _accumulate(cumulative_prod_, x, axis, dtype, include_initial, reverse, 1)


def cumulative_max(x: TensorLike, axis: int | None = None, reverse: bool = False) -> Tensor:
    """The largest of x[0] … x[i] along `axis`, nan from the first nan on.

    reverse: the largest of x[i] … x[−1].  The derivative goes to the first of equal winners met.
    """
    return _along(cumulative_max_, as_tensor(x), axis, reverse)[0]


def cumulative_min(x: TensorLike, axis: int | None = None, reverse: bool = False) -> Tensor:
    """The smallest of x[0] … x[i] along `axis`, nan from the first nan on; as `cumulative_max`."""
    return _along(cumulative_min_, as_tensor(x), axis, reverse)[0]


def cumulative_logsumexp(x: TensorLike, axis: int | None = None, reverse: bool = False) -> Tensor:
    """ln(exp x[0] + … + exp x[i]) along `axis` of floats, finite for finite x; −inf counts as none.

    reverse: over x[i] … x[−1].
    """
    return _along(cumulative_logsumexp_, as_tensor(x), axis, reverse)[0]


cumsum, cumprod = cumulative_sum, cumulative_prod


def diff(
    x: TensorLike,
    n: int = 1,
    axis: int = -1,
    prepend: TensorLike | None = None,
    append: TensorLike | None = None,
) -> Tensor:
    """x[i+1] − x[i] along `axis`, `n` times; what `cumulative_sum` undoes.

    Each time leaves one entry less, none of none.  prepend, append: what to put at the ends first,
    numbers or arrays with the other sizes of `x`.  Unsigned integers wrap around.
    """
    tensor, times = as_tensor(x), as_integer(n, "n", 0)
    if tensor.dtype.kind == "b":
        raise DTypeError("needs a number dtype, got bool; see not_equal")
    place = normalise_axis(axis, tensor.ndim)
    parts = [part for part in (prepend, x, append) if part is not None]
    if len(parts) > 1 and times:
        one = tuple(1 if i == place else size for i, size in enumerate(tensor.shape))
        ends = [broadcast_to(part, one) if part.ndim == 0 else part for part in as_tensors(parts)]
        tensor = concat_(*ends, axis=place)
    for _ in range(times):
        size = maximum(tensor.shape[place] - 1, 0)
        low = slice_axis(tensor, place, 0, size)
        tensor = slice_axis(tensor, place, tensor.shape[place] - size, size) - low
    return tensor
