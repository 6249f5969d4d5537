"""Random numbers that are alike: uniform floats and integers, truth values, and orders.

All are formulas over random words, so that they are computed inside the kernels that read them.
Numbers of 32 bits come from one word, those of 64 from two of one counter.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from .. import dtypes as dt
from ..dims import Dim, Shape
from ..dtypes import DType, DTypeLike
from ..errors import ArgumentError, DTypeError, ShapeError
from ..shapes import broadcast
from ..tensor import Tensor, TensorLike
from .arithmetic import fma
from .build import as_tensor, constant, dimension
from .conversion import astype
from .logic import bitwise_and, bitwise_right_shift, greater_equal, less, where
from .philox import as_shape, words

__all__ = ["bernoulli", "randint", "uniform"]

P = ParamSpec("P")


# --- what every distribution asks of its arguments ------------------------------------------------


def is_number(value: Any) -> bool:
    """Whether a parameter is known now: a Python number or a scalar of NumPy."""
    return hasattr(value, "__float__") and not isinstance(value, Tensor) and not _axes(value)


def _axes(value: Any) -> int:
    return getattr(value, "ndim", 0)


def arguments(
    key: TensorLike, shape: Any, dtype: DTypeLike | None, *parameters: TensorLike
) -> tuple[Tensor, Shape, DType, list[Any]]:
    """The key, the sizes, the dtype, and each parameter as a float or a Tensor.

    Without `shape` the parameters' own; without `dtype` theirs, or float32.  ShapeError where a
    parameter does not broadcast to the result, DTypeError where it is of another dtype.
    """
    own = as_tensor(key)
    given = [float(p) if is_number(p) else as_tensor(p) for p in parameters]
    tensors = [p for p in given if isinstance(p, Tensor)]
    target = dt.as_dtype(dtype or (tensors[0].dtype if tensors else dt.float32))
    if not target.is_float:
        raise DTypeError(f"these numbers are floats, not {target}")
    for tensor in tensors:
        if tensor.dtype != target:
            raise DTypeError(f"a parameter of {target} numbers is {tensor.type}; cast with .astype")
    shapes = [tensor.shape for tensor in tensors]
    sizes = broadcast(shapes) if shape is None else as_shape(shape)
    full = (*own.shape[:-1], *sizes)
    for own_shape in shapes:
        check_fits(own_shape, full)
    return own, sizes, target, given


def drawn_wide(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """A distribution also for halves: drawn in float32, with float32 parameters, and rounded."""
    signature = inspect.signature(function)

    @wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        given = signature.bind(*args, **kwargs).arguments
        halves = [name for name, p in given.items() if isinstance(p, Tensor) and p.dtype.is_half]
        wanted = given.get("dtype") or (given[halves[0]].dtype if halves else dt.float32)
        target = dt.as_dtype(wanted)
        if not target.is_half:
            return function(*args, **kwargs)
        for name in halves:
            if given[name].dtype == target:
                given[name] = astype(given[name], dt.float32)
        given["dtype"] = dt.float32
        made: Any = function
        return astype(made(**given), target)

    return draw


def check_fits(shape: Shape, full: Shape) -> None:
    """ShapeError unless an array of `shape` broadcasts to `full`."""
    lead = len(full) - len(shape)
    together = broadcast([shape, full])  # raises where sizes differ
    grown = [n for n, own in zip(shape, full[max(lead, 0) :], strict=False) if own == 1 != n]
    if lead < 0 or grown:
        raise ShapeError(
            f"a parameter with sizes {list(shape)} does not fit {list(full)}: together they are "
            f"{list(together)}"
        )


def check_number(what: str, value: Any, low: float, high: float = math.inf) -> None:
    """ArgumentError where a parameter known now is not in [low, high], or not finite."""
    if isinstance(value, float) and not (low <= value <= high and math.isfinite(value)):
        bounds = f"in [{low:g}, {high:g}]" if high < math.inf else f"finite and at least {low:g}"
        raise ArgumentError(f"{what} must be {bounds}, got {value:g}")


def check_positive(what: str, value: Any) -> None:
    """ArgumentError where a parameter known now is not positive and finite."""
    if isinstance(value, float) and not 0 < value < math.inf:
        raise ArgumentError(f"{what} must be positive and finite, got {value:g}")


# --- floats ---------------------------------------------------------------------------------------


_DIGITS = {dt.float32: 24, dt.float16: 11, dt.bfloat16: 8}


def unit(key: Tensor, sizes: Shape, dtype: DType) -> Tensor:
    """[0, 1) in steps of 2⁻²⁴ (float32), 2⁻⁵³ (float64), or as fine as the halves are below 1."""
    if dtype != dt.float64:
        (word,) = words(key, sizes, 1)
        digits = _DIGITS[dtype]
        return astype(bitwise_right_shift(word, 32 - digits), dt.float32) * 2.0**-digits
    high, low = words(key, sizes, 2)
    top = astype(bitwise_right_shift(high, 5), dtype) * 2.0**26
    return (top + astype(bitwise_right_shift(low, 6), dtype)) * 2.0**-53


def fraction(key: Tensor, sizes: Shape, dtype: DType, second: bool = False) -> Tensor:
    """(0, 1] in steps that shrink towards 0: (k + ½)/2³² (float32) or /2⁶⁴ of an integer k, rounded
    to the dtype.  Its logarithm is finite, down to −22.9 and −45.

    second: another number of each counter, independent of what `side_and_tail` gives there.
    """
    if dtype == dt.float32:
        (word,) = words(key, sizes, 1, int(second))
        return (astype(word, dtype) + 0.5) * 2.0**-32
    high, low = words(key, sizes, 2, 2 * second)
    return (astype(high, dtype) * 2.0**32 + astype(low, dtype) + 0.5) * 2.0**-64


def side_and_tail(key: Tensor, sizes: Shape, dtype: DType) -> tuple[Tensor, Tensor]:
    """Whether a uniform number is in the lower half, and its distance from the nearer end.

    That lies in (0, ½], in steps that shrink towards 0, so both tails have all their digits: one
    word is read as a signed integer k, and k + ½ has its sign and its size.
    """
    if dtype == dt.float32:
        (word,) = words(key, sizes, 1)
        number, scale = astype(astype(word, dt.int32), dtype), 2.0**-32
    else:
        high, low = words(key, sizes, 2)
        number = astype(astype(high, dt.int32), dtype) * 2.0**32 + astype(low, dtype)
        scale = 2.0**-64
    number = number + 0.5
    return less(number, 0.0), abs(number) * scale


def uniform(
    key: TensorLike,
    shape: Any = None,
    low: TensorLike = 0.0,
    high: TensorLike = 1.0,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Uniform in [low, high): low + (high − low)·u.

    u has steps of 2⁻²⁴ in float32, from one word, and 2⁻⁵³ in float64, from two; of halves 2⁻¹¹ and
    2⁻⁸.  shape: the sizes, or those of the bounds; dtype likewise, or float32.  Where rounding
    reaches `high` the result is `low`.  Differentiable by the bounds.  ArgumentError for numbers
    with low ≥ high, or whose difference is infinite.
    """
    own, sizes, target, (least, most) = arguments(key, shape, dtype, low, high)
    u = astype(unit(own, sizes, target), target)
    if isinstance(least, float) and isinstance(most, float):
        if not least < most or not math.isfinite(most - least):
            raise ArgumentError(f"needs low < high and both finite, got {least:g} and {most:g}")
        if (least, most) == (0.0, 1.0):
            return u
    if isinstance(least, float) and least == 0.0:
        return u * most
    result = fma(u, most - least, least)
    return where(greater_equal(result, most), least, result)


def bernoulli(key: TensorLike, probability: TensorLike = 0.5, shape: Any = None) -> Tensor:
    """bool, true with `probability`: where a number of ``uniform`` is below it.

    So it is exact to 2⁻²⁴, or to 2⁻⁵³ where `probability` is a float64 Tensor.  shape: the sizes,
    or those of `probability`.  ArgumentError for a number outside [0, 1].
    """
    own, sizes, target, (chance,) = arguments(key, shape, None, probability)
    check_number("a probability", chance, 0, 1)
    if target.is_half:
        target, chance = dt.float32, astype(chance, dt.float32)
    return less(unit(own, sizes, target), chance)


# --- integers -------------------------------------------------------------------------------------


def randint(
    key: TensorLike,
    shape: Any,
    low: TensorLike,
    high: TensorLike,
    dtype: DTypeLike = "int64",
) -> Tensor:
    """Integers in [low, high), each as likely as the others to 2⁻³² of its probability.

    ⌊(high − low)·k / 2ⁿ⌋ + low of n random bits: n exceeds the bits of the difference by at least
    32.  The bounds are integers of the dtype, sizes, or Tensors of that dtype; of Tensors with
    low ≥ high nothing is said.  ArgumentError for numbers with low ≥ high or outside the dtype.
    """
    target, sizes, own = dt.as_dtype(dtype), as_shape(shape), as_tensor(key)
    if not target.is_integer:
        raise DTypeError(f"these numbers are integers, not {target}")
    bounds = [_bound(low, target), _bound(high, target)]
    least, most = bounds
    if isinstance(least, int) and isinstance(most, int):
        smallest = -(2 ** (target.bits - 1)) if target.kind == "i" else 0
        if not smallest <= least < most <= smallest + 2**target.bits:
            raise ArgumentError(f"needs low < high, both {target}, got {least} and {most}")
        span = most - least
        parts: list[Any] = [
            span >> 32 * i & 0xFFFFFFFF for i in range((span.bit_length() + 31) // 32)
        ]
    else:
        tensors = [b if isinstance(b, Tensor) else constant(b, target) for b in bounds]
        for tensor in tensors:
            check_fits(tensor.shape, (*own.shape[:-1], *sizes))
        width = astype(tensors[1], dt.uint64) - astype(tensors[0], dt.uint64)
        parts = _two_words(width)[: 2 if target.bits == 64 else 1]
        least = tensors[0]
    random = [astype(word, dt.uint64) for word in words(own, sizes, len(parts) + 1)]
    top = _high_product(random, parts)
    whole = top[0] if len(top) == 1 else top[0] + top[1] * 2**32
    start = least if isinstance(least, Tensor) else constant(least, target)
    return astype(whole, target) + start


def _bound(value: Any, dtype: DType) -> Any:
    """A bound as an int or a Tensor."""
    if isinstance(value, Dim):
        return dimension(value, dtype)
    if isinstance(value, Tensor) or _axes(value):
        tensor = as_tensor(value)
        if tensor.dtype != dtype:
            raise DTypeError(f"a bound of {dtype} numbers is {tensor.type}; cast with .astype")
        return tensor
    try:
        return operator.index(value)
    except TypeError:
        raise ArgumentError(f"a bound is an integer, got {value!r}") from None


def _two_words(number: Tensor) -> list[Tensor]:
    """The low and the high half of uint64."""
    return [bitwise_and(number, 0xFFFFFFFF), bitwise_right_shift(number, 32)]


def _high_product(words: list[Tensor], parts: list[Any]) -> list[Tensor]:
    """The upper words, as many as `parts`, of a product of numbers in words, the lowest first.

    On paper: a word times a word, one more word and the carry fit into 64 bits.
    """
    sums: list[Any] = [0] * len(parts)
    for word in words:
        carry: Any = 0
        for i, part in enumerate(parts):
            rest, carry = _two_words(word * part + sums[i] + carry)
            if i:
                sums[i - 1] = rest
        sums[-1] = carry
    return sums
