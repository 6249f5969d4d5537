# pyright: standard
"""Formulas of their own for the ops that rules put in place of differences and lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

NumpyArray = np.ndarray[Any, Any]


def _wide(x: NumpyArray) -> Any:
    return np.asarray(x, np.longdouble)


def _tanh_slope(x: NumpyArray) -> Any:
    return 1 / np.cosh(_wide(x)) ** 2


def _length(x: NumpyArray, axes: Any) -> Any:
    return np.sqrt(np.sum(_wide(x) ** 2, axes, keepdims=True))


def _cosine(x: NumpyArray, y: NumpyArray) -> Any:
    """Where the length overflows, 0."""
    with np.errstate(over="ignore"):
        length = np.sqrt(_wide(x) ** 2 + _wide(y) ** 2).astype(x.dtype)
    return _wide(x) / np.where(length == 0, 1, _wide(length))


FORMULAS: dict[str, Callable[..., Any]] = {
    "cosine": _cosine,
    "tanh_slope": _tanh_slope,
    "length": _length,
    "quotient_of": lambda x, y, z: _wide(x) / _wide(y),
}
