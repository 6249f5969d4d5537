# pyright: standard
"""Formulas for ops that move numbers, entry by entry in Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

NumpyArray = np.ndarray[Any, Any]


def by_entry(shape: Sequence[int], entry: Callable[[tuple[int, ...]], Any], like: Any) -> Any:
    """An array of which `entry` says what stands at each place."""
    result = np.zeros(shape, like.dtype)
    for place in np.ndindex(*shape):
        result[place] = entry(place)
    return result


def _at(array: NumpyArray, place: Sequence[int]) -> Any:
    """An entry of an array that broadcasts."""
    return array[tuple(0 if n == 1 else i for i, n in zip(place, array.shape, strict=True))]


def _source(x: NumpyArray, place: tuple[int, ...], indices: Any, axes: Any) -> tuple[int, ...]:
    """Where in x an indexed entry lies."""
    given = {axis: int(_at(index, place)) for axis, index in zip(axes, indices, strict=True)}
    return tuple(given.get(i, 0 if x.shape[i] == 1 else place[i]) for i in range(x.ndim))


def _gather(x: NumpyArray, *indices: NumpyArray, axes: Any) -> Any:
    own = [1 if i in axes else n for i, n in enumerate(x.shape)]
    shape = np.broadcast_shapes(own, *(index.shape for index in indices))
    return by_entry(shape, lambda place: x[_source(x, place, indices, axes)], x)


def _scatter(combine: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The updates one after the other."""

    def formula(x: NumpyArray, updates: NumpyArray, *indices: NumpyArray, axes: Any) -> Any:
        result = x.astype(np.longdouble if x.dtype.kind == "f" else x.dtype)
        for place in np.ndindex(*updates.shape):
            target = _source(x, place, indices, axes)
            result[target] = combine(result[target], updates[place])
        return result

    return formula


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


def _searchsorted(x: NumpyArray, values: NumpyArray, right: bool) -> Any:
    """By counting."""

    def before(row: list[Any], value: Any) -> int:
        return sum(entry <= value if right else entry < value for entry in row)

    return by_entry(
        values.shape,
        lambda place: before(x[place[:-1]].tolist(), values[place]),
        np.zeros(0, np.int64),
    )


FORMULAS: dict[str, Callable[..., Any]] = {
    "argsort": _argsort,
    "concat": _concat,
    "diagonal": _diagonal,
    "gather": _gather,
    "scatter_add": _scatter(lambda a, b: a | b if isinstance(b, np.bool) else a + b),
    "searchsorted": _searchsorted,
    "scatter_set": _scatter(lambda _, b: b),
    "scatter_max": _scatter(lambda a, b: a if a >= b else b),
    "scatter_min": _scatter(lambda a, b: a if a <= b else b),
}
