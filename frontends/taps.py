"""Taps: what happens to a gradient on its way back, and the clipping that is done with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import inf
from typing import Any

from ..ir.dtypes import float32, promote
from ..ir.errors import ArgumentError, DTypeError
from ..ir.explain import explained
from ..ir.ops import (
    as_tensor,
    astype,
    clip,
    constant,
    linalg,
    maximum,
    sqrt,
    square,
    stop_gradient,
    sum,
    where,
)
from ..ir.ops.control import flatten
from ..ir.tensor import Tensor, TensorLike
from .custom import apply_custom


@explained
def tap(x: Any, fn: Callable[[Any], Any]) -> Any:
    """x, whose cotangent becomes ``fn(cotangent)`` in reverse mode.

    x: a tensor, or a tuple, list or dict of them; `fn` then takes and gives that structure, at
    once for all (zeros for what the gradient does not reach, None for integers).  What `fn` gives
    must be typed like x, or be None for zero; it may read any tensor from outside.  Forward mode
    passes tangents on unchanged.  A second derivative differentiates what `fn` computes.

    A tap changes a gradient.  To read one, no tap is needed: ``gl.grad(loss, x)`` takes any tensor
    for x of which the loss is made, also one that was computed on the way.  What a body of a loop
    makes is none outside of it: `gradient_norms` tells of its gradient step by step.
    """
    if not callable(fn):
        raise ArgumentError(f"fn is a function of the cotangent, got {fn!r}")
    if not any(tensor.dtype.is_float for tensor in flatten(x)[0]):
        raise DTypeError("there is no gradient of what holds no float")

    def unchanged(x: Any) -> Any:
        return x

    def backwards(cotangent: Any, result: Any, x: Any) -> Any:
        return fn(cotangent)

    def forwards(tangent: Any, result: Any, x: Any) -> Any:
        return tangent

    rules = {"vjp": backwards, "jvp": forwards}
    return apply_custom("tap", unchanged, rules, {"vjp": "fn", "jvp": "the tangent"}, [x])


@explained
def clip_gradient(x: Any, limit: TensorLike) -> Any:
    """x, whose gradient is kept between −limit and limit, entry by entry; nan stays nan.

    x: a tensor or a structure of them.  limit: a number ≥ 0, or a tensor that broadcasts to x.
    For clipping a gradient as a value there is ``gl.clip``.
    """
    bound = _not_negative(limit, "limit")

    def clipped(cotangent: Tensor) -> Tensor:
        most = astype(bound, cotangent.dtype)
        return clip(cotangent, -most, most)

    def all_clipped(cotangents: Any) -> Any:
        tensors, build = flatten(cotangents)
        return build([clipped(tensor) for tensor in tensors])

    return tap(x, all_clipped)


@explained
def clip_gradient_by_global_norm(x: Any, max_norm: TensorLike) -> Any:
    """x, whose gradients are scaled down together where their norm is above `max_norm`.

    x: a tensor or a structure of them; see clip_by_global_norm, which they go through.
    """
    most = _not_negative(max_norm, "max_norm")
    return tap(x, lambda cotangents: clip_by_global_norm(cotangents, most))


@explained
def clip_by_global_norm(gradients: Any, max_norm: TensorLike) -> Any:
    """g · min(1, max_norm / ‖g‖₂), the norm over all entries of all tensors together.

    gradients: a tensor or a structure of them; the same comes back, each typed as it was.
    max_norm: a number ≥ 0 or a scalar tensor.  Within the limit nothing changes.  An infinite or
    nan entry makes every entry nan, since there is no such norm to scale by.

    Pascanu, Mikolov, Bengio: On the difficulty of training recurrent neural networks (2013).
    Here with the largest entry s taken out, so that no square overflows or underflows:
    ‖g‖ = s · r with r = ‖g / s‖ between 1 and √n, and the result is (g / s) · (max_norm / r).
    """
    tensors, build = flatten(gradients)
    if not all(tensor.dtype.is_float for tensor in tensors):
        raise DTypeError("gradients are floats")
    filled = [tensor for tensor in tensors if 0 not in [n for n in tensor.shape if type(n) is int]]
    if not filled:
        return build(tensors)
    dtype = reduce(promote, [tensor.dtype for tensor in filled], float32)  # halves as float32
    limit = astype(_not_negative(max_norm, "max_norm"), dtype)
    if limit.shape != ():
        raise ArgumentError(f"max_norm is a scalar, got {limit.type}")
    wide = [astype(tensor, dtype) for tensor in tensors]
    sizes = [linalg.vector_norm(astype(tensor, dtype), ord=inf) for tensor in filled]
    largest = stop_gradient(reduce(maximum, sizes))  # the result does not depend on it
    nothing = largest == 0
    unit = where(nothing, 1.0, largest)
    total = reduce(lambda a, b: a + b, [sum(square(tensor / unit)) for tensor in wide])
    rest = sqrt(where(nothing, 1.0, total))
    fits = nothing | (rest <= limit / unit)
    return build(
        [
            astype(where(fits, tensor, tensor / unit * (limit / rest)), before.dtype)
            for tensor, before in zip(wide, tensors, strict=True)
        ]
    )


def _not_negative(value: TensorLike, name: str) -> Tensor:
    """A limit as a tensor; ArgumentError for a number that is none."""
    is_number = isinstance(value, (int, float))
    if is_number and (isinstance(value, bool) or not value >= 0):
        raise ArgumentError(f"{name} is a number of at least 0, got {value!r}")
    tensor = constant(value, "float64") if is_number else as_tensor(value)
    if not tensor.dtype.is_float:
        raise DTypeError(f"{name} is a float, got {tensor.type}")
    return tensor
