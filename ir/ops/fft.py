"""``gradloom.fft``: what of the standard's extension is real: frequencies, and shifts of them.

The transforms themselves have complex results, and there are no complex numbers here.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import dtypes as dt
from ..dims import Dim, DimLike, as_dim, floordiv
from ..errors import ArgumentError
from ..shapes import normalise_axes
from ..tensor import Tensor, TensorLike
from .build import as_tensor, dimension
from .conversion import astype
from .create import arange
from .join import roll
from .logic import where

__all__ = ["fftfreq", "fftshift", "ifftshift", "rfftfreq"]

Axis = int | Sequence[int] | None


def _size(n: DimLike | str) -> DimLike:
    size = as_dim(n)
    if not isinstance(size, Dim) and size < 1:
        raise ArgumentError(f"the length of a transform is at least 1, got {size}")
    return size


def _frequencies(numbers: Tensor, n: DimLike, d: float, dtype: dt.DTypeLike) -> Tensor:
    """numbers / (d n), rounded once."""
    wide = astype(numbers, dt.float64) / (dimension(n, dt.float64) * float(d))
    return astype(wide, dtype)


def fftfreq(n: DimLike | str, d: float = 1.0, dtype: dt.DTypeLike = "float32") -> Tensor:
    """The frequencies of a discrete Fourier transform of n samples with spacing d, in its order.

    0, 1, …, ⌈n/2⌉ − 1, −⌊n/2⌋, …, −1, all over d·n: in cycles per unit of d.
    """
    size = _size(n)
    index = arange(size)
    return _frequencies(where(index < floordiv(size + 1, 2), index, index - size), size, d, dtype)


def rfftfreq(n: DimLike | str, d: float = 1.0, dtype: dt.DTypeLike = "float32") -> Tensor:
    """The frequencies of the transform of n real samples: 0, 1, …, ⌊n/2⌋, all over d·n."""
    size = _size(n)
    return _frequencies(arange(floordiv(size, 2) + 1), size, d, dtype)


def fftshift(x: TensorLike, axes: Axis = None) -> Tensor:
    """The zero frequency moved to the middle of `axes` (None: all): a roll by ⌊n/2⌋."""
    tensor = as_tensor(x)
    places = normalise_axes(axes, tensor.ndim)
    return roll(tensor, [floordiv(tensor.shape[i], 2) for i in places], places)


def ifftshift(x: TensorLike, axes: Axis = None) -> Tensor:
    """What undoes fftshift: a roll by −⌊n/2⌋."""
    tensor = as_tensor(x)
    places = normalise_axes(axes, tensor.ndim)
    return roll(tensor, [-floordiv(tensor.shape[i], 2) for i in places], places)
