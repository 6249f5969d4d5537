"""Noise for training."""

from __future__ import annotations

from ..errors import ArgumentError, DTypeError
from ..tensor import Tensor, TensorLike
from .build import as_tensor
from .conversion import astype
from .logic import where
from .uniform import bernoulli, is_number

__all__ = ["dropout"]


def dropout(x: TensorLike, key: TensorLike, rate: TensorLike = 0.5) -> Tensor:
    """x/(1 − rate) with a probability of 1 − `rate` for each entry, else 0: the mean is x.

    Srivastava et al. 2014.  x: floats.  key: see ``random.key``; one for each call, by
    ``random.fold_in(key, step)`` say.  rate: a number in [0, 1], or a scalar Tensor of x's dtype.
    The mask is made where x is read, and stored (a byte an entry) only for a gradient elsewhere.
    For evaluation leave the call away.  ArgumentError for a number outside [0, 1].
    """
    tensor = as_tensor(x)
    if not tensor.dtype.is_float:
        raise DTypeError(f"needs a float dtype, got {tensor.dtype}")
    if is_number(rate):
        share = float(rate)
        if not 0 <= share <= 1:
            raise ArgumentError(f"a rate must be in [0, 1], got {share:g}")
        kept = bernoulli(key, 1.0 - share, tensor.shape)
        return where(kept, tensor * (1.0 / (1.0 - share) if share < 1 else 0.0), 0.0)
    portion = 1.0 - as_tensor(rate)
    kept = bernoulli(key, astype(portion, "float32"), tensor.shape)
    return where(kept, tensor / portion, 0.0)
