# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# (arrays of any dtype)
"""What actual numbers tell about a derivative on its way: norms, shares, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.dtypes import as_dtype
from ..ir.ops.types import finfo
from ..ir.tensor import Tensor

if TYPE_CHECKING:
    from ..compiler.trace import Passage

NumpyArray = np.ndarray[Any, Any]

SLOPE = 1e-3  # of an op that saturates: at most so much is "no derivative"
MOST = 0.9  # a share of entries from which on that is told
_SATURATING = ("sigmoid", "tanh", "erf", "erfc", "normal_cdf", "atan", "softplus", "softsign")
_NEVER_ZERO = ("exp", "exp2", "sigmoid", "softmax", "softplus", "erfc", "normal_cdf")
_PRODUCTS = ("multiply", "square", "divide")
_CHOOSING = ("relu", "maximum", "minimum")


@dataclass(frozen=True, slots=True)
class Numbers:
    """An array, or several, in figures.

    low, high: the range of what is finite, nan where nothing is.  norm: the Euclidean one.
    zero, subnormal, nan, infinite: shares of the entries.  size: how many there are.
    """

    low: float
    high: float
    norm: float
    zero: float
    subnormal: float
    nan: float
    infinite: float
    size: int

    def __str__(self) -> str:
        if not self.size:
            return "empty"
        parts = [f"{self.low:.3g} … {self.high:.3g}"]
        parts += [f"{percent(self.zero)} zero"] if self.zero else []
        return ", ".join([*parts, self.odd()] if self.odd() else parts)

    def odd(self) -> str:
        """The shares of entries that one would rather not see."""
        shares = ("subnormal", self.subnormal), ("nan", self.nan), ("infinite", self.infinite)
        return ", ".join(f"{percent(share)} {what}" for what, share in shares if share > 0)


def percent(share: float) -> str:
    """A share for reading; a little is not 0 %, nearly all is not 100 %."""
    if 0 < share < 0.005:
        return "<1 %"
    if 0.995 <= share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"


def norm(arrays: Sequence[NumpyArray]) -> float:
    """√Σx² over all entries, with no overflow or underflow on the way; nan and inf stay."""
    largest = 0.0
    for array in arrays:
        if array.size:
            largest = float(np.maximum(largest, np.max(np.abs(_wide(array)))))
    if largest == 0.0 or not np.isfinite(largest):
        return largest
    total = sum(float(np.sum(np.square(_wide(array) / largest))) for array in arrays)
    return largest * float(np.sqrt(total))


def norms_along(arrays: Sequence[NumpyArray]) -> NumpyArray:
    """The norm of each entry along axis 0, over all arrays together."""
    steps = arrays[0].shape[0]
    return np.array([norm([array[step] for array in arrays]) for step in range(steps)])


def _wide(array: NumpyArray) -> NumpyArray:
    return array.astype(np.float64)


def numbers(arrays: Sequence[NumpyArray]) -> Numbers:
    """The figures of arrays, taken together."""
    size = sum(array.size for array in arrays)
    if not size:
        return Numbers(np.nan, np.nan, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
    every = np.concatenate([_wide(array).ravel() for array in arrays])
    tiny = sum(_count_subnormal(array) for array in arrays)
    finite = every[np.isfinite(every)]
    return Numbers(
        float(finite.min()) if finite.size else np.nan,
        float(finite.max()) if finite.size else np.nan,
        norm(arrays),
        np.count_nonzero(every == 0) / size,
        tiny / size,
        np.count_nonzero(np.isnan(every)) / size,
        np.count_nonzero(np.isinf(every)) / size,
        size,
    )


def _count_subnormal(array: NumpyArray) -> int:
    dtype = as_dtype(array.dtype)
    if not dtype.is_float:
        return 0
    tiny = (array != 0) & (np.abs(_wide(array)) < finfo(dtype).smallest_normal)
    return int(np.count_nonzero(tiny))


def marks(passage: Passage, values: Callable[[Tensor], NumpyArray]) -> list[str]:
    """What a reader must know of this node: nan made, overflow, underflow, saturation, dead units.

    A value counts as made here where the operands are free of it.
    """
    node = passage.node
    operands = [values(operand) for operand in node.operands]
    result = values(node.results[0])
    found: list[str] = []
    finite = all(bool(np.isfinite(_wide(operand)).all()) for operand in operands)
    if finite:
        found += _not_finite("its value", [values(r) for r in node.results])
    vanished = _vanished(node.op.name, operands, result) if finite else 0.0
    if vanished:
        found.append(f"its value underflows to 0 in {percent(vanished)} of the entries")
    if not passage.arriving or passage.cut:
        return found
    arriving = [values(value) for value in passage.arriving if value is not None]
    passed = [values(value) for value in passage.passed if value is not None]
    if all(bool(np.isfinite(_wide(value)).all()) for value in arriving):
        found += _not_finite("the derivative", passed)
    partials = passage.partials
    if node.op.name == "softmax":
        found += _saturated(_softmax_slope(result, node.attrs["axis"]))
    for operand, partial, value in zip(node.operands, partials, passage.passed, strict=False):
        if partial is None or value is None:
            continue
        slope = np.broadcast_to(values(partial), result.shape)
        if node.op.name in _CHOOSING and partial.dtype.kind == "b":
            found += _dead(slope)
        elif node.op.name in _SATURATING:
            found += _saturated(slope)
        if operand.dtype.is_float and partial.dtype.is_float and not operand.dtype.is_half:
            lost = _lost(arriving[0], slope)
            if lost:
                found.append(f"cotangent · slope underflows to 0 in {percent(lost)} of the entries")
    if norm(arriving) > 0 and passed and norm(passed) == 0:
        found.append("nothing of the gradient gets through")
    return found


def _not_finite(what: str, arrays: Sequence[NumpyArray]) -> list[str]:
    figures = numbers(arrays)
    found: list[str] = []
    if figures.nan:
        found.append(f"{what} becomes nan here in {percent(figures.nan)} of the entries")
    if figures.infinite:
        found.append(f"{what} overflows here in {percent(figures.infinite)} of the entries")
    return found


def _vanished(name: str, operands: Sequence[NumpyArray], result: NumpyArray) -> float:
    """The share of entries that are 0 by underflow."""
    if not result.size or not (name in _NEVER_ZERO or name in _PRODUCTS):
        return 0.0
    zero = _wide(result) == 0
    if name in _PRODUCTS:
        for operand in operands:
            zero = zero & (_wide(operand) != 0)
    return np.count_nonzero(zero) / zero.size


def _softmax_slope(result: NumpyArray, axis: int) -> NumpyArray:
    """y · (1 - y) at the largest entry of each row bounds every derivative of that row."""
    if not result.size:
        return result
    largest = np.max(_wide(result), axis)
    return largest * (1 - largest)


def _saturated(slope: NumpyArray) -> list[str]:
    if not slope.size:
        return []
    share = np.count_nonzero(np.abs(_wide(slope)) <= SLOPE) / slope.size
    if share <= MOST:
        return []
    return [f"saturated: its slope is at most {SLOPE:g} in {percent(share)} of the entries"]


def _dead(passes: NumpyArray) -> list[str]:
    """Units, places along the last axis, where nothing passes whatever the sample."""
    if not passes.size or passes.ndim == 0:
        return []
    alive = np.any(passes, tuple(range(passes.ndim - 1)))
    dead = np.count_nonzero(~alive)
    return [f"dead: {dead} of {alive.size} units (last axis) pass nothing on"] if dead else []


def _lost(cotangent: NumpyArray, slope: NumpyArray) -> float:
    """The share of products that are 0 though no factor is."""
    with np.errstate(all="ignore"):
        lost = (cotangent != 0) & (slope != 0) & (cotangent * slope == 0)
    return np.count_nonzero(lost) / lost.size if lost.size else 0.0
