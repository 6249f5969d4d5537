# pyright: standard
"""Formulas for ops whose reference is more than one function of NumPy, made in another way.

Maths in more digits, integers by Python's own, what moves numbers entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .formulas_cumulative import FORMULAS as CUMULATIVE
from .formulas_differences import FORMULAS as DIFFERENCES
from .formulas_linalg import EQUATIONS as EQUATIONS
from .formulas_linalg import FORMULAS as LINALG
from .formulas_maths import FORMULAS as MATHS
from .formulas_random import FORMULAS as RANDOM
from .formulas_shape import FORMULAS as SHAPE
from .formulas_shape import by_entry
from .formulas_windows import FORMULAS as WINDOWS

NumpyArray = np.ndarray[Any, Any]


def _wide(function: Callable[..., Any]) -> Callable[..., Any]:
    """A formula over NumPy's longdouble."""

    def formula(*arrays: NumpyArray, **attrs: Any) -> Any:
        return function(*(np.asarray(a, np.longdouble) for a in arrays), **attrs)

    return formula


def _softmax(x: NumpyArray, axis: int) -> Any:
    e = np.exp(x - np.max(x, axis, keepdims=True, initial=-np.inf))
    return e / np.sum(e, axis, keepdims=True)


def _pieces(function: Any) -> Callable[..., Any]:
    def formula(x: NumpyArray, axis: int, chunk: int) -> Any:
        count = -(-x.shape[axis] // chunk)
        shape = [count if i == axis else 1 for i in range(x.ndim)]

        def piece(place: tuple[int, ...]) -> Any:
            start = place[axis] * chunk
            return function(np.take(x, range(start, min(start + chunk, x.shape[axis])), axis))

        if x.dtype == bool:
            return by_entry(shape, piece, x)
        return by_entry(shape, piece, x.astype(np.longdouble) if x.dtype.kind == "f" else x)

    return formula


def _lowest(x: NumpyArray, largest: bool = False) -> Any:
    if x.dtype.kind == "f":
        return np.inf if largest else -np.inf
    limits = np.iinfo(np.int8 if x.dtype == bool else x.dtype)
    return limits.max if largest else limits.min


def _extreme(largest: bool) -> Callable[..., Any]:
    def fold(x: NumpyArray, axes: Any = None) -> Any:
        keep = axes is not None
        if x.dtype == bool:
            return (np.any if largest else np.all)(x, axes, keepdims=keep)
        function: Any = np.max if largest else np.min
        return function(x, axes, keepdims=keep, initial=_lowest(x, not largest))

    return fold


def _embed(x: NumpyArray, starts: Any, steps: Any, shape: Any) -> Any:
    result = np.zeros(shape, x.dtype)
    for place in np.ndindex(*x.shape):
        result[tuple(b + s * i for b, s, i in zip(starts, steps, place, strict=True))] = x[place]
    return result


def _slice(x: NumpyArray, starts: Any, sizes: Any, steps: Any) -> Any:
    return by_entry(
        sizes,
        lambda place: x[tuple(b + s * i for b, s, i in zip(starts, steps, place, strict=True))],
        x,
    )


def _iota(shape: Any, axis: int) -> Any:
    return by_entry(shape, lambda place: place[axis], np.zeros(0, np.int64))


def _gated(value: NumpyArray, opened: NumpyArray) -> Any:
    result = np.zeros_like(value)
    result[opened] = value[opened]
    return result


# Formulas of their own for entries whose reference is more than one function of NumPy.
INDEPENDENT: dict[str, Callable[..., Any]] = {
    "wrap_index": lambda index, size: (np.mod(index, size)).astype(index.dtype),
    "checked": lambda condition, x, message: np.where(condition, x, x),
    "stop_gradient": lambda x: x,
    "pin": lambda x: x,
    "after": lambda x, *others: x,
    "sum": lambda x, axes: np.sum(
        x, axes, dtype=np.longdouble if x.dtype.kind == "f" else x.dtype, keepdims=True
    ),
    "max": _extreme(largest=True),
    "min": _extreme(largest=False),
    "prod": lambda x, axes: np.prod(
        x, axes, dtype=np.longdouble if x.dtype.kind == "f" else x.dtype, keepdims=True
    ),
    "partial_prod": _pieces(lambda piece: np.prod(piece, dtype=piece.dtype)),
    "partial_sum": _pieces(lambda piece: np.sum(piece, dtype=piece.dtype)),
    "partial_max": _pieces(_extreme(largest=True)),
    "partial_min": _pieces(_extreme(largest=False)),
    "gated_multiply": lambda x, y: _gated(x * y, (x != 0) & (y != 0)),
    "gated_divide": lambda x, y: _gated(x / y, (x != 0) & (abs(y) != np.inf)),
    "matmul": lambda x, y: np.einsum("...ik,...kj->...ij", x, y),
    "matmul_add": lambda x, y, total: np.einsum("...ik,...kj->...ij", x, y) + total,
    "softmax": _wide(_softmax),
    "weighted_softmax": _wide(
        lambda x, w, axes: w * np.exp(x) / np.sum(w * np.exp(x), axes, keepdims=True)
    ),
    "log_softmax": _wide(lambda x, axis: np.log(_softmax(x, axis))),
    "logsumexp": _wide(lambda x, axes: np.log(np.sum(np.exp(x), axes, keepdims=True))),
    "embed": _embed,
    "slice": _slice,
    "iota": _iota,
    **MATHS,
    **RANDOM,
    **SHAPE,
    **CUMULATIVE,
    **DIFFERENCES,
    **LINALG,
    **WINDOWS,
}
