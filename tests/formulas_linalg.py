# pyright: standard
"""Formulas for the ops on matrices: other ways to the same numbers, and for results that are not
unique (the signs of eigenvectors, say) the equations that they fulfil."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

NumpyArray = np.ndarray[Any, Any]


def _transposed(x: NumpyArray) -> NumpyArray:
    return np.swapaxes(x, -1, -2)


def _product(a: NumpyArray, b: NumpyArray) -> NumpyArray:
    return np.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def _det(x: NumpyArray) -> NumpyArray:
    """Along the first row, in more digits."""
    wide = x.astype(np.longdouble)
    if x.shape[-1] == 0:
        return np.ones(x.shape[:-2], np.longdouble)
    total = np.zeros(x.shape[:-2], np.longdouble)
    for j in range(x.shape[-1]):
        minor = np.delete(wide[..., 1:, :], j, -1)
        total = total + (-1) ** j * wide[..., 0, j] * _det(minor)
    return total


def _inverse(a: NumpyArray) -> NumpyArray:
    """By the adjugate, in more digits."""
    wide = a.astype(np.longdouble)
    result = np.zeros_like(wide)
    for i, j in itertools.product(range(a.shape[-1]), repeat=2):
        minor = np.delete(np.delete(wide, i, -2), j, -1)
        result[..., j, i] = (-1) ** (i + j) * _det(minor) / _det(wide)
    return result


def _triangular_solve(a: NumpyArray, b: NumpyArray, lower: bool, unit: bool) -> NumpyArray:
    keep = np.tri(a.shape[-1], dtype=bool)
    triangle = np.where(keep if lower else keep.T, a, 0)
    if unit:
        triangle = np.where(np.eye(a.shape[-1], dtype=bool), 1, triangle)
    return _product(_inverse(triangle), b)


def _pinv(x: NumpyArray, rtol: NumpyArray) -> NumpyArray:
    """Of full rank: by the normal equations."""
    back = _transposed(x)
    if x.shape[-2] >= x.shape[-1]:
        return _product(_inverse(_product(back, x)), back)
    return _product(back, _inverse(_product(x, back)))


def _cholesky(x: NumpyArray) -> NumpyArray:
    """Column by column, in more digits."""
    wide, n = x.astype(np.longdouble), x.shape[-1]
    factor = np.zeros_like(wide)
    for j in range(n):
        rest = wide[..., j] - np.sum(factor * factor[..., j : j + 1, :], -1)
        factor[..., j] = np.where(np.arange(n) >= j, rest, 0) / np.sqrt(rest[..., j : j + 1])
    return factor


FORMULAS: dict[str, Callable[..., Any]] = {
    "solve": lambda a, b: _product(_inverse(a), b),
    "triangular_solve": _triangular_solve,
    "det": _det,
    "slogdet": lambda x: (np.sign(_det(x)), np.log(np.abs(_det(x)))),
    "pinv": _pinv,
    "cholesky": _cholesky,
}

Pairs = Sequence[tuple[Any, Any]]


def _orthonormal(columns: NumpyArray) -> tuple[Any, Any]:
    square = _product(_transposed(columns), columns)
    return square, np.broadcast_to(np.eye(columns.shape[-1]), square.shape)


def _eigh(arrays: Any, results: Any) -> Pairs:
    (x,), (values, vectors) = arrays, results
    return [
        (_product(x, vectors), vectors * values[..., None, :]),
        _orthonormal(vectors),
        (np.sort(values, -1), values),
    ]


def _svd(arrays: Any, results: Any, full: bool) -> Pairs:
    (x,), (u, s, vh) = arrays, results
    return [
        (_product(u * s[..., None, :], vh), x),
        _orthonormal(u),
        _orthonormal(_transposed(vh)),
        (-np.sort(-np.abs(s), -1), s),
    ]


def _qr(arrays: Any, results: Any, complete: bool) -> Pairs:
    (x,), (q, r) = arrays, results
    return [(_product(q, r), x), _orthonormal(q), (np.triu(r), r)]


# From operands, results and attributes to pairs that are equal.
EQUATIONS: dict[str, Callable[..., Pairs]] = {"eigh": _eigh, "svd": _svd, "qr": _qr}
