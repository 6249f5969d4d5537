# pyright: standard
"""Sums over windows by their definitions, entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

NumpyArray = np.ndarray[Any, Any]


def _wide(x: NumpyArray) -> Any:
    return np.longdouble if x.dtype.kind == "f" else x.dtype


def windows(x: NumpyArray, counts: Any, sizes: Any, strides: Any, dilations: Any) -> NumpyArray:
    n = len(counts)
    result = np.zeros((*x.shape[: x.ndim - n], *counts, *sizes), x.dtype)
    for o in np.ndindex(*counts):
        for k in np.ndindex(*sizes):
            at = tuple(a * s + b * d for a, b, s, d in zip(o, k, strides, dilations, strict=True))
            result[(..., *o, *k)] = x[(..., *at)]
    return result


def overlap_add(x: NumpyArray, shape: Any, strides: Any, dilations: Any) -> NumpyArray:
    n = len(shape)
    lead = x.ndim - 2 * n
    result = np.zeros((*x.shape[:lead], *shape), _wide(x))
    for o in np.ndindex(*x.shape[lead : lead + n]):
        for k in np.ndindex(*x.shape[lead + n :]):
            at = tuple(a * s + b * d for a, b, s, d in zip(o, k, strides, dilations, strict=True))
            result[(..., *at)] += x[(..., *o, *k)]
    return result


def convolve(
    x: NumpyArray,
    w: NumpyArray,
    counts: Any,
    lows: Any,
    strides: Any,
    dilations: Any,
    spreads: Any,
) -> NumpyArray:
    """Every pair of an entry of the kernel and one of the input goes where it belongs."""
    result = np.zeros((x.shape[0], w.shape[0], w.shape[1], *counts), _wide(x))
    wide, weights = x.astype(_wide(x)), w.astype(_wide(w))
    for k in np.ndindex(*w.shape[3:]):
        for i in np.ndindex(*x.shape[3:]):
            place: list[int] = []
            for axis in range(len(counts)):
                moved = i[axis] * spreads[axis] + lows[axis] - k[axis] * dilations[axis]
                if moved % strides[axis] or not 0 <= moved // strides[axis] < counts[axis]:
                    break
                place.append(moved // strides[axis])
            else:
                pair = wide[(slice(None),) * 3 + i], weights[(slice(None),) * 3 + k]
                result[(slice(None),) * 3 + tuple(place)] += np.einsum("ngc,goc->ngo", *pair)
    return result


def patches(
    x: NumpyArray, counts: Any, sizes: Any, lows: Any, strides: Any, dilations: Any
) -> NumpyArray:
    """Entry by entry, by definition."""
    batch, groups, channels = x.shape[:3]
    result = np.zeros((groups, *counts, batch, *sizes, channels), x.dtype)
    for o in np.ndindex(*counts):
        for k in np.ndindex(*sizes):
            place = np.multiply(o, strides) + np.multiply(k, dilations) - lows
            if (place >= 0).all() and (place < x.shape[3:]).all():
                result[(slice(None), *o, slice(None), *k)] = x[(..., *place)].transpose(1, 0, 2)
    return result.reshape((groups, prod(counts) * batch, prod(sizes) * channels))


FORMULAS: dict[str, Callable[..., Any]] = {
    "windows": windows,
    "overlap_add": overlap_add,
    "convolve": convolve,
    "patches": patches,
}
