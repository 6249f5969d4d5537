# pyright: standard
"""Formulas for the entries of random numbers, made in another way (see op_formulas.py)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

NumpyArray = np.ndarray[Any, Any]


def normal_quantile(p: float) -> float:
    """The z with Φ(z) = p, by Newton's method on the logarithm of the tail, in 50 digits."""
    if p == 0.5 or not 0 < p < 1:
        return {0.0: -math.inf, 0.5: 0.0, 1.0: math.inf}.get(p, math.nan)
    with mpmath.workdps(50):
        tail: Any = min(mpmath.mpf(p), 1 - mpmath.mpf(p))
        t = mpmath.sqrt(-2 * mpmath.log(tail))
        z: Any = t - mpmath.log(2 * mpmath.pi * (t * t + 1)) / (2 * t)
        for _ in range(60):
            own: Any = mpmath.erfc(z / mpmath.sqrt(2)) / 2
            step: Any = mpmath.log(own / tail) * own / mpmath.npdf(z)
            z += step
            if abs(step) < 1e-22 * max(abs(z), 1e-30):
                break
        return float(z if p > 0.5 else -z)


def philox(counter: int, key: tuple[int, int], stream: int) -> list[int]:
    """Philox4x32-10 in Python's integers (Salmon et al. 2011)."""
    mask = 0xFFFFFFFF
    c, k = [counter & mask, counter >> 32, stream, 0], list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & mask, a >> 32 ^ c[3] ^ k[1], a & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


def random_bits(key: NumpyArray, shape: tuple[int, ...], stream: int, word: int) -> NumpyArray:
    """Each key's own array, number by number."""
    keys = [(int(a), int(b)) for a, b in key.reshape(-1, 2)]
    flat = [philox(i, own, stream)[word] for own in keys for i in range(math.prod(shape))]
    return np.array(flat, np.uint32).reshape((*key.shape[:-1], *shape))


FORMULAS: dict[str, Callable[..., Any]] = {
    "normal_quantile": np.vectorize(lambda p: normal_quantile(float(p)), otypes=[np.float64]),
    "random_bits": random_bits,
    "drawn": lambda x: x,
}
