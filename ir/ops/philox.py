# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Random words, and the keys that they are made from.

A key is two uint32 words.  Number i of an array is a pure function of key and i (Philox4x32-10,
Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"): a stream is the
same on every target and whatever is computed beside it, and recomputing it needs no state.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dims import DimLike, Shape, as_dim
from ..errors import ArgumentError, DTypeError
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensor, constant, primitive
from .conversion import astype
from .create import iota
from .logic import bitwise_left_shift, bitwise_or, bitwise_right_shift, bitwise_xor, equal, where
from .shape import expand_dims

__all__ = ["bits", "fold_in", "key", "split"]

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_NUMBERS, _SPLIT, _FOLD = 0, 1, 2  # streams: what one key gives for different uses


def philox(counter: Any, key0: Any, key1: Any, stream: int, word: int) -> Any:
    """That word of Philox4x32-10 at (low, high of counter, stream, 0)."""
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
    return words[word].astype(np.uint32)


def _infer(key: TensorType, *, shape: Shape, stream: int, word: int) -> TensorType:
    if key.dtype != dt.uint32 or key.ndim < 1 or key.shape[-1] != 2:
        raise DTypeError(f"a key is u32[2], got {key}")
    return TensorType(dt.uint32, (*key.shape[:-1], *shape))


def _reference(key: Any, shape: tuple[int, ...], stream: int, word: int) -> Any:
    counter = np.arange(int(np.prod(shape, dtype=np.int64)))
    key0, key1 = key[..., 0, None], key[..., 1, None]
    with np.errstate(over="ignore"):
        return philox(counter, key0, key1, stream, word).reshape((*key.shape[:-1], *shape))


def _batch(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    return [random_bits(operands[0], **node.attrs)]


@primitive(
    kind="generator",
    infer=_infer,
    reference=_reference,
    code="philox(index, key0, key1, stream, word)",
    batch=_batch,
    flops=60,
    no_gradient="its result is no float",
    samples=(
        (((2,),), {"shape": (3, 4), "stream": 0, "word": 0}),
        (((3, 2),), {"shape": (5,), "stream": 1, "word": 3}),
        (((2,),), {"shape": (0,), "stream": 0, "word": 1}),
        (((2,),), {"shape": (), "stream": 0, "word": 2}),
    ),
)
def random_bits(key: Tensor, *, shape: Shape, stream: int, word: int) -> Tensor:
    """uint32: number i is word 0, 1, 2 or 3 of Philox4x32-10 of `key` at counter (i, `stream`).

    Leading axes of `key` are a batch: each key has a stream of its own.  Several words of one
    counter cost a kernel hardly more than one.
    """
    ...


# --- keys ---------------------------------------------------------------------------------------


def _pair(value: Any, what: str) -> Tensor:
    """The low and the high word of integers below 2⁶⁴, along a new last axis."""
    if isinstance(value, Tensor) or getattr(value, "ndim", 0):
        value = as_tensor(value)
        if not value.dtype.is_integer:
            raise DTypeError(f"{what} is an integer, got {value.type}")
        whole = astype(value, dt.uint64)
        low, high = astype(whole, dt.uint32), astype(bitwise_right_shift(whole, 32), dt.uint32)
        if value.ndim:
            low, high = expand_dims(low, -1), expand_dims(high, -1)
        return where(equal(iota(shape=(2,), axis=0), 0), low, high)
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentError(f"{what} is an integer, got {value!r}") from None
    if isinstance(value, bool) or not -(2**63) <= number < 2**64:
        raise ArgumentError(f"{what} is an integer of 64 bits, got {value!r}")
    return constant(np.array([number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF], np.uint32))


def key(seed: TensorLike) -> Tensor:
    """The key of a seed: u32[2], its low and its high word.

    seed: an integer of 64 bits, or an array of them, whose keys then stand along its axes.
    Negative ones count from 2⁶⁴ down.  ArgumentError or DTypeError for anything else.
    """
    return _pair(seed, "a seed")


def split(key: TensorLike, count: DimLike | str = 2) -> Tensor:
    """`count` keys from one, u32[count, 2]; their streams and that of `key` are independent.

    Use a key once, for one array or one split: two arrays from one key are made from the same
    random words.
    """
    return random_bits(as_tensor(key), shape=(as_dim(count), 2), stream=_SPLIT, word=0)


def fold_in(key: TensorLike, data: TensorLike) -> Tensor:
    """The key that belongs to the number `data` under `key`: of a step, a layer, a row.

    data: as the seed of ``random.key``.  Different numbers give independent streams, and so do
    `key` and its splits: the key's own random words, with those of `data` written over them, are
    the key of the result.
    """
    own = random_bits(as_tensor(key), shape=(2,), stream=_FOLD, word=0)
    mixed = bitwise_xor(own, _pair(data, "what is folded in"))
    return random_bits(mixed, shape=(2,), stream=_FOLD, word=0)


# --- words --------------------------------------------------------------------------------------


def as_shape(shape: Any) -> Shape:
    """Sizes from one or several: integers, Dims and names of them."""
    sizes = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    return tuple(as_dim(size) for size in sizes)


def words(key: Tensor, shape: Shape, count: int, first: int = 0) -> list[Tensor]:
    """So many independent words for each place of an array, of the four from `first` on."""
    numbers = range(first, first + count)
    return [random_bits(key, shape=shape, stream=_NUMBERS, word=number) for number in numbers]


def joined(high: Tensor, low: Tensor) -> Tensor:
    """uint64 from two words."""
    return bitwise_or(bitwise_left_shift(astype(high, dt.uint64), 32), astype(low, dt.uint64))


def bits(key: TensorLike, shape: Any = (), dtype: dt.DTypeLike = "uint32") -> Tensor:
    """Random bits as unsigned integers of `dtype`, all values alike."""
    target, sizes = dt.as_dtype(dtype), as_shape(shape)
    if target.kind != "u":
        raise DTypeError(f"random bits are unsigned integers, not {target}")
    first, *rest = words(as_tensor(key), sizes, 2 if target.bits == 64 else 1)
    return joined(first, *rest) if rest else astype(first, target)
