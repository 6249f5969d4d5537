# pyright: standard
"""Draws for calls of the standard's functions: shapes, dtypes and numbers that matter."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradloom.ir import dtypes as dt

from ..op_cases import edges

NumpyArray = np.ndarray[Any, Any]
Shape = tuple[int, ...]

SHAPES: tuple[Shape, ...] = ((2, 3), (0,), (1,), (), (2, 0, 3), (7,), (1, 3, 2), (2, 1))
PAIRS: tuple[tuple[Shape, Shape], ...] = (
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((), (2, 2)),
    ((0, 3), (1, 3)),
    ((2, 1), (1, 4)),
    ((1,), (0,)),
)
DTYPES = {
    "f": ("float32", "float64"),
    "i": ("int32", "int64", "int8", "int16"),
    "u": ("uint8", "uint64", "uint32", "uint16"),
    "b": ("bool",),
}


class Draw:
    """Draws of one example; the first of each choice is what hypothesis begins with."""

    def __init__(self, data: st.DataObject) -> None:
        self.one = lambda values: data.draw(st.sampled_from(values))
        self.rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))

    def dtype(self, kinds: str) -> np.dtype[Any]:
        return np.dtype(self.one([name for kind in kinds for name in DTYPES[kind]]))

    def array(self, dtype: Any, shape: Shape, low: float = -9, high: float = 9) -> NumpyArray:
        """Numbers between two bounds, whole ones for integers."""
        dtype = np.dtype(dtype)
        if dtype.kind == "f":
            return np.asarray(self.rng.uniform(low, high, shape)).astype(dtype)
        if dtype.kind == "b":
            return np.asarray(self.rng.integers(0, 2, shape)).astype(dtype)
        low = max(low, 0) if dtype.kind == "u" else low
        return np.asarray(self.rng.integers(int(low), int(high) + 1, shape)).astype(dtype)

    def few(self, dtype: Any, shape: Shape) -> NumpyArray:
        """Small whole numbers, so that many are equal."""
        return (
            np.round(self.array(np.float64, shape, -3, 3))
            .clip(0 if np.dtype(dtype).kind == "u" else -3)
            .astype(dtype)
        )

    def edgy(self, dtype: Any, shape: Shape) -> NumpyArray:
        """Numbers among which limits, zeros, infinities and nan are frequent."""
        plain = self.array(dtype, shape)
        special = np.asarray(self.rng.choice(edges(dt.as_dtype(dtype)), shape))
        return np.where(self.rng.integers(0, 2, shape) == 1, special, plain).astype(dtype)

    def axis(self, shape: Shape) -> int:
        return self.one(range(-len(shape), len(shape)))

    def axes(self, shape: Shape) -> Any:
        """None, an axis, or a tuple of axes."""
        some = tuple(i for i in range(len(shape)) if self.one([True, False]))
        return self.one([None, *range(len(shape)), some])

    def shape(self, least: int = 0) -> Shape:
        return self.one([shape for shape in SHAPES if len(shape) >= least])

    def matrix(self, square: bool = True, batch: bool = True) -> NumpyArray:
        """Matrices far from singular."""
        rows = self.one([3, 1, 2, 4])
        columns = rows if square else self.one([2, 1, 4])
        shape = (*(self.one([(), (2,), (0,)]) if batch else ()), rows, columns)
        drawn = self.rng.normal(size=shape) + 4 * np.eye(rows, columns)
        return drawn.astype(self.dtype("f"))

    def symmetric(self) -> NumpyArray:
        """Positive definite matrices with eigenvalues apart."""
        a = self.matrix()
        return ((a + np.swapaxes(a, -1, -2)) + np.diag(np.arange(1, a.shape[-1] + 1) * 4)).astype(
            a.dtype
        )
