# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Random numbers: counter-based, from explicit keys.

A key is two uint32 words.  Number i of an array is a pure function of key and i (Philox4x32-10,
Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), so a stream is the same on
every target and whatever is computed beside it, and recomputing costs no state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import DimLike, Shape, as_dim
from ..errors import DTypeError
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import constant, primitive
from .conversion import astype
from .logic import less

__all__ = ["bernoulli", "bits", "key", "split", "uniform"]

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)


def _philox(counter: Any, key0: Any, key1: Any, stream: int) -> Any:
    """The first word of Philox4x32-10 at (low, high of counter, stream, 0)."""
    counter = counter.astype(np.uint64)
    words = [counter & _LOW, counter >> np.uint64(32)]
    words += [np.full_like(counter, stream), np.zeros_like(counter)]
    for _ in range(10):
        p0, p1 = words[0] * _M0, words[2] * _M1
        words = [
            (p1 >> np.uint64(32)) ^ words[1] ^ key0,
            p1 & _LOW,
            (p0 >> np.uint64(32)) ^ words[3] ^ key1,
            p0 & _LOW,
        ]
        key0, key1 = key0 + _W0, key1 + _W1
    return words[0].astype(np.uint32)


def _infer(key: TensorType, *, shape: Shape, stream: int) -> TensorType:
    if key.dtype != dt.uint32 or key.ndim < 1 or key.shape[-1] != 2:
        raise DTypeError(f"a key is u32[2], got {key}")
    return TensorType(dt.uint32, (*key.shape[:-1], *shape))


def _reference(key: Any, shape: tuple[int, ...], stream: int) -> Any:
    counter = np.arange(int(np.prod(shape, dtype=np.int64)))
    key0, key1 = key[..., 0, None], key[..., 1, None]
    with np.errstate(over="ignore"):
        return _philox(counter, key0, key1, stream).reshape((*key.shape[:-1], *shape))


def _batch(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    return [random_bits(operands[0], **node.attrs)]


@primitive(
    kind="generator",
    infer=_infer,
    reference=_reference,
    code="philox(index, key0, key1, stream)",
    batch=_batch,
    flops=60,
    no_gradient="its result is no float",
    samples=(
        (((2,),), {"shape": (3, 4), "stream": 0}),
        (((3, 2),), {"shape": (5,), "stream": 1}),
        (((2,),), {"shape": (0,), "stream": 0}),
        (((2,),), {"shape": (), "stream": 0}),
    ),
)
def random_bits(key: Tensor, *, shape: Shape, stream: int) -> Tensor:
    """uint32 words: number i is Philox4x32-10 of `key` at counter (i, `stream`).

    Leading axes of `key` are a batch: each key has a stream of its own.
    """
    ...


def _shape(shape: Any) -> Shape:
    sizes = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    return tuple(as_dim(size) for size in sizes)


def key(seed: int) -> Tensor:
    """The key of a seed below 2⁶⁴."""
    words = [seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF]
    return constant(np.array(words, np.uint32))


def split(key: Tensor, count: DimLike = 2) -> Tensor:
    """`count` keys from one, u32[count, 2]; their streams and that of `key` are independent."""
    return random_bits(key, shape=(count, 2), stream=1)


def bits(key: Tensor, shape: Any) -> Tensor:
    """uint32, all values alike."""
    return random_bits(key, shape=_shape(shape), stream=0)


def uniform(key: Tensor, shape: Any) -> Tensor:
    """float32 in [0, 1): multiples of 2⁻²⁴, all alike."""
    return astype(bits(key, shape) // 256, dt.float32) * 2.0**-24


def bernoulli(key: Tensor, probability: TensorLike, shape: Any) -> Tensor:
    """bool, true with `probability`."""
    return less(uniform(key, shape), probability)
