# pyright: standard
"""Formulas for ops that move numbers, entry by entry in Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

NumpyArray = np.ndarray[Any, Any]


def _concat(*parts: NumpyArray, axis: int) -> Any:
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    result, start = np.zeros(shape, parts[0].dtype), 0
    for part in parts:
        for place in np.ndindex(*part.shape):
            moved = list(place)
            moved[axis] += start
            result[tuple(moved)] = part[place]
        start += part.shape[axis]
    return result


def _diagonal(x: NumpyArray, offset: int) -> Any:
    *lead, rows, columns = x.shape
    places = [(i, i + offset) for i in range(rows) if 0 <= i + offset < columns]
    result = np.zeros((*lead, len(places)), x.dtype)
    for n, (i, j) in enumerate(places):
        result[..., n] = x[..., i, j]
    return result


def _argsort(x: NumpyArray, axis: int, descending: bool) -> Any:
    """By Python's sort, which keeps equal entries in order also where reversed."""

    def key(entry: Any) -> Any:
        return (1, 0) if isinstance(entry, float) and math.isnan(entry) else (0, entry)

    def line(values: NumpyArray) -> Any:
        entries = values.tolist()
        places = sorted(range(len(entries)), key=lambda i: key(entries[i]), reverse=descending)
        return np.array(places, np.int64)

    return np.apply_along_axis(line, axis, x) if x.size else np.zeros(x.shape, np.int64)


FORMULAS: dict[str, Callable[..., Any]] = {
    "argsort": _argsort,
    "concat": _concat,
    "diagonal": _diagonal,
}
