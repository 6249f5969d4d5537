# pyright: standard
"""Formulas for running values: each entry from all before it, with no running about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

NumpyArray = np.ndarray[Any, Any]


def _prefixes(fold: Callable[[NumpyArray], Any]) -> Callable[..., Any]:
    """A fold of every beginning of the axis, over longdouble where floats are folded."""

    def formula(x: NumpyArray, axis: int) -> Any:
        wide = np.moveaxis(x.astype(np.longdouble) if x.dtype.kind == "f" else x, axis, 0)
        result = np.empty_like(wide)
        for i in range(len(wide)):
            result[i] = fold(wide[: i + 1])
        return np.moveaxis(result, 0, axis)

    return formula


def _recurrence(a: NumpyArray, b: NumpyArray, axis: int) -> Any:
    """h[i] = Σ over j ≤ i of b[j] · Π over j < k ≤ i of a[k]."""
    factors, terms = (np.moveaxis(x.astype(np.longdouble), axis, 0) for x in (a, b))
    result = np.zeros_like(terms)
    for i in range(len(terms)):
        for j in range(i + 1):
            result[i] += terms[j] * np.prod(factors[j + 1 : i + 1], axis=0)
    return np.moveaxis(result, 0, axis)


FORMULAS: dict[str, Callable[..., Any]] = {
    "cumulative_sum": _prefixes(lambda x: np.sum(x, 0, dtype=x.dtype)),
    "cumulative_prod": _prefixes(lambda x: np.prod(x, 0, dtype=x.dtype)),
    "cumulative_max": _prefixes(lambda x: np.sort(x, 0)[-1]),
    "cumulative_min": _prefixes(lambda x: np.sort(x, 0)[0]),
    "cumulative_logsumexp": _prefixes(lambda x: np.log(np.sum(np.exp(x), 0))),
    "linear_recurrence": _recurrence,
}
