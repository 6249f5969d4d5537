"""Random orders, and draws from what there is."""

from __future__ import annotations

from typing import Any

from ..dims import DimLike
from ..errors import ArgumentError, ShapeError
from ..shapes import normalise_axis, unify
from ..tensor import Tensor, TensorLike
from .build import as_tensor, dimension
from .distributions import categorical, gumbel
from .indexing import take
from .order import argsort
from .philox import as_shape, bits
from .transcendental import log
from .uniform import randint

__all__ = ["choice", "permutation"]


def _source(x: Any, axis: int) -> tuple[DimLike, Tensor | None, int]:
    """How many there are to take, the array they are taken from, and along which axis."""
    if isinstance(x, Tensor) or getattr(x, "ndim", 0) or isinstance(x, (list, tuple)):
        array = as_tensor(x)
        place = normalise_axis(axis, array.ndim)
        return array.shape[place], array, place
    (size,) = as_shape(x)
    return size, None, 0


def permutation(key: TensorLike, x: TensorLike, axis: int = 0) -> Tensor:
    """A random order of an array's entries along `axis`, or of 0 … x − 1 for a size x.

    The order of random numbers of 64 bits, which one among n² / 2⁶⁵ arrays has two of alike.
    """
    size, array, place = _source(x, axis)
    order = argsort(bits(key, (size,), "uint64"))
    return order if array is None else take(array, order, axis=place)


def choice(
    key: TensorLike,
    x: TensorLike,
    shape: Any = (),
    replace: bool = True,
    p: TensorLike = None,
    axis: int = 0,
) -> Tensor:
    """Random entries of an array along `axis`, or of 0 … x − 1 for a size x: as many as `shape`.

    replace: whether one may come twice.  p: probabilities or weights, floats of one axis as long as
    x; without it all are alike.  The axis becomes those of `shape`.  ShapeError where there is
    nothing to choose from, or without replacement not enough; ArgumentError where the number
    of entries to be taken without replacement is no number yet.
    """
    size, array, place = _source(x, axis)
    sizes = as_shape(shape)
    scores: Tensor | None = None
    if p is not None:
        weights = as_tensor(p)
        if weights.ndim != 1:
            raise ShapeError(f"p needs one axis, got {weights.type}")
        unify(weights.shape[0], size, "numbers of entries and of probabilities")
        scores = log(weights)
    if isinstance(size, int) and size == 0:
        raise ShapeError("there is nothing to choose from")
    if replace and scores is None:
        index = randint(key, sizes, 0, size if isinstance(size, int) else dimension(size))
    elif replace:
        index = categorical(key, scores, shape=sizes)
    else:
        count: int = 1
        for n in sizes:
            if not isinstance(n, int):
                raise ArgumentError(f"how many to take must be a number, got {n}")
            count *= n
        if isinstance(size, int) and count > size:
            raise ShapeError(f"{count} of {size} entries cannot be taken without replacement")
        if scores is None:
            order = permutation(key, size)
        else:  # the order in which they would be drawn one by one (Yellott 1977)
            order = argsort(gumbel(key, (size,), scores, dtype=scores.dtype), descending=True)
        index = order[..., :count].reshape(*order.shape[:-1], *sizes)
    return index if array is None else take(array, index, axis=place)
