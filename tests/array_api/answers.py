# pyright: standard
"""What the functions of the standard should give.

What NumPy's function of a name says otherwise than the standard stands in ``NUMPY``; results that
are right in more than one way (signs of eigenvectors) are compared by what ``VIEWS`` makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .draws import NumpyArray


def in_order(x: NumpyArray, axis: int, descending: bool) -> NumpyArray:
    """A stable argsort that knows descending order, which NumPy's does not."""
    place = np.unique(x, return_inverse=True)[1].reshape(x.shape)
    return np.argsort(-place if descending else place, axis, stable=True)


def quotient(x: NumpyArray, y: NumpyArray) -> NumpyArray:
    """The standard's ⌊x / y⌋, which differs from NumPy's where one of them is infinite."""
    if x.dtype.kind != "f":
        return np.floor_divide(x, y)
    return np.where(np.isinf(x) | np.isinf(y), x / y, np.floor_divide(x, y))


# NumPy's own where its function of the name takes or gives something else.
NUMPY: dict[str, Callable[..., Any]] = {
    "from_dlpack": np.asarray,
    "argsort": lambda x, axis, descending: in_order(x, axis, descending),
    "sort": lambda x, axis, descending: np.take_along_axis(x, in_order(x, axis, descending), axis),
    "floor_divide": quotient,
    "fft.fftfreq": lambda n, d: np.fft.fftfreq(n, d).astype(np.float32),
    "fft.rfftfreq": lambda n, d: np.fft.rfftfreq(n, d).astype(np.float32),
    "finfo": lambda dtype: np.finfo(dtype),
    "iinfo": lambda dtype: np.iinfo(dtype),
}

# Results that several answers are right for, as what does not depend on the choice.
VIEWS: dict[str, Callable[..., Sequence[Any]]] = {
    "empty": lambda x: [np.zeros_like(x)],
    "empty_like": lambda x: [np.zeros_like(x)],
    "linalg.eigh": lambda found: [found[0], np.abs(found[1])],
    "linalg.qr": lambda found: [found[0] @ found[1], np.abs(found[1])],
    "linalg.svd": lambda found: [
        found[1],
        np.abs(found[0]),
        (found[0] * found[1][..., None, :]) @ found[2],
    ],
    "finfo": lambda found: [np.asarray([float(found.eps), float(found.max), found.bits])],
    "iinfo": lambda found: [np.asarray([found.min, found.max], object)],
}
