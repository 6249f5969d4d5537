"""What is counted and measured along axes, composed of reductions."""

from __future__ import annotations

from collections.abc import Sequence

from .. import dtypes as dt
from ..dims import DimLike, product
from ..errors import ArgumentError, DTypeError
from ..shapes import normalise_axes
from ..tensor import Tensor, TensorLike
from .arithmetic import maximum, square
from .build import as_tensor, dimension
from .conversion import rounded_once
from .logic import equal, not_equal, where
from .reduction import sum
from .transcendental import sqrt

__all__ = ["count_nonzero", "mean", "std", "var"]

Axis = int | Sequence[int] | None


def _floating(x: TensorLike) -> Tensor:
    tensor = as_tensor(x)
    if not tensor.dtype.is_float:
        raise DTypeError(f"needs a float dtype, got {tensor.type}; cast with .astype")
    return tensor


def _count(x: Tensor, axis: Axis) -> Tensor:
    """The number of entries that a reduction over `axis` meets, in the dtype of `x`."""
    count: DimLike = product(x.shape[a] for a in normalise_axes(axis, x.ndim))
    return dimension(count, x.dtype)


def count_nonzero(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """How many entries along `axis` (None: of all) are not zero, as int64; nan is not zero."""
    tensor = as_tensor(x)
    is_counted = tensor if tensor.dtype.kind == "b" else not_equal(tensor, 0)
    return sum(is_counted, axis, keepdims, dt.int64)


@rounded_once
def mean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean over `axis` (None: all) of floats; nan where there is nothing."""
    tensor = _floating(x)
    return sum(tensor, axis, keepdims) / _count(tensor, axis)


@rounded_once
def var(x: TensorLike, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """The variance of floats, Σ (x − mean)² / (N − correction), over `axis` (None: all).

    N is the number of entries; correction=1 gives the unbiased estimate.  Where N ≤ correction
    the divisor is 0 and the result nan or inf.  The mean is taken first and then subtracted, so
    that a large mean costs no digits (Chan, Golub and LeVeque, The American Statistician 37, 1983).
    """
    if not isinstance(correction, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"correction is a number, got {correction!r}")
    tensor = _floating(x)
    away = tensor - mean(tensor, axis, keepdims=True)
    divisor = maximum(_count(tensor, axis) - float(correction), 0.0)
    return sum(square(away), axis, keepdims) / divisor


@rounded_once
def std(x: TensorLike, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """The standard deviation of floats, √var, over `axis` (None: all); see `var`.

    Where all entries are equal it has a kink; the derivative there is given as 0.
    """
    variance = var(x, axis, correction, keepdims)
    is_zero = equal(variance, 0.0)
    return where(is_zero, 0.0, sqrt(where(is_zero, 1.0, variance)))
