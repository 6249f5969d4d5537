# pyright: standard
"""Exact values and derivatives of formulas, in as many digits as asked for, by mpmath.

A number carries its slopes along (forward mode), so that one evaluation of a formula on arrays of
such numbers gives the value and the whole Jacobian.  What a formula means at its seams:

- 0 · anything is 0, so that 0 · log 0 is 0, and a slope of 0 stays 0 behind an infinite one: the
  norm has derivative 0 at 0;
- `where` has the derivative of the branch taken, `maximum` and `max` that of the first winner,
  |x| has the derivative 0 at 0;
- 1/0 and log 0 are infinite, 0/0 is nan: there the mathematics has no value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mpmath as mp
import numpy as np


def times(a: Any, b: Any) -> Any:
    """a · b, and 0 where either is."""
    return mp.mpf(0) if a == 0 or b == 0 else a * b


def over(a: Any, b: Any) -> Any:
    """a / b, infinite or nan where b is 0."""
    if b != 0:
        return a / b
    return mp.nan if a == 0 or mp.isnan(a) else mp.inf if a > 0 else -mp.inf


def entrywise(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A method of Numbers that takes an array of them as well."""

    def apply(self: Any, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return np.frompyfunc(lambda entry: method(self, entry), 1, 1)(other)
        return method(self, other)

    return apply


class Number:
    """A value, and its derivative by each entry of the inputs that it depends on."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any, slopes: Mapping[Any, Any] | None = None) -> None:
        self.value = value
        self.slopes = dict(slopes or {})

    def chain(self, value: Any, partial: Any) -> Number:
        return Number(value, {key: times(slope, partial) for key, slope in self.slopes.items()})

    def join(self, other: Number, value: Any, by_self: Any, by_other: Any) -> Number:
        result = self.chain(value, by_self)
        for key, slope in other.slopes.items():
            result.slopes[key] = result.slopes.get(key, 0) + times(slope, by_other)
        return result

    @entrywise
    def __add__(self, other: Any) -> Any:
        other = lift(other)
        return self.join(other, self.value + other.value, 1, 1)

    @entrywise
    def __sub__(self, other: Any) -> Any:
        other = lift(other)
        return self.join(other, self.value - other.value, 1, -1)

    @entrywise
    def __mul__(self, other: Any) -> Any:
        other = lift(other)
        return self.join(other, times(self.value, other.value), other.value, self.value)

    @entrywise
    def __truediv__(self, other: Any) -> Any:
        other = lift(other)
        value, one = over(self.value, other.value), over(mp.mpf(1), other.value)
        return self.join(other, value, one, -times(value, one))

    @entrywise
    def __pow__(self, other: Any) -> Any:
        other = lift(other)
        base, exponent = self.value, other.value
        by_base = times(exponent, power(base, exponent - 1))
        value = power(base, exponent)
        if not other.slopes:
            return self.chain(value, by_base)
        return self.join(other, value, by_base, times(value, log_or_nan(base)))

    def __radd__(self, other: Any) -> Any:
        return lift(other) + self

    def __rsub__(self, other: Any) -> Any:
        return lift(other) - self

    def __rmul__(self, other: Any) -> Any:
        return lift(other) * self

    def __rtruediv__(self, other: Any) -> Any:
        return lift(other) / self

    def __rpow__(self, other: Any) -> Any:
        return lift(other) ** self

    def __neg__(self) -> Number:
        return self.chain(-self.value, -1)

    def __abs__(self) -> Number:
        return self.chain(abs(self.value), mp.sign(self.value))

    @entrywise
    def __lt__(self, other: Any) -> bool:
        return bool(self.value < lift(other).value)

    @entrywise
    def __le__(self, other: Any) -> bool:
        return bool(self.value <= lift(other).value)

    @entrywise
    def __gt__(self, other: Any) -> bool:
        return bool(self.value > lift(other).value)

    @entrywise
    def __ge__(self, other: Any) -> bool:
        return bool(self.value >= lift(other).value)

    def __eq__(self, other: object) -> bool:
        return bool(self.value == lift(other).value)

    def __ne__(self, other: object) -> bool:
        return not self == other


def lift(value: Any) -> Number:
    """A Python or NumPy number as it is, bit by bit."""
    return value if isinstance(value, Number) else Number(_exact(value))


def _exact(value: Any) -> Any:
    return value if isinstance(value, mp.mpf) else mp.mpf(float(value))


def power(base: Any, exponent: Any) -> Any:
    if base == 0:
        return mp.mpf(1) if exponent == 0 else mp.mpf(0) if exponent > 0 else mp.inf
    if base < 0 and not mp.isint(exponent):
        return mp.nan
    return base**exponent


def log_or_nan(x: Any) -> Any:
    return -mp.inf if x == 0 else mp.log(x) if x > 0 else mp.nan


def root_or_nan(x: Any) -> Any:
    return mp.sqrt(x) if x >= 0 else mp.nan


def log1p_or_nan(x: Any) -> Any:
    return -mp.inf if x == -1 else mp.log1p(x) if x > -1 else mp.nan


def _bell(x: Any) -> Any:
    return 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)


# name: the function, and its derivative from operand and value
SCALAR: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "exp": (mp.exp, lambda x, y: y),
    "log": (log_or_nan, lambda x, y: over(mp.mpf(1), x)),
    "log1p": (log1p_or_nan, lambda x, y: over(mp.mpf(1), 1 + x)),
    "expm1": (mp.expm1, lambda x, y: y + 1),
    "sqrt": (root_or_nan, lambda x, y: over(mp.mpf(0.5), y)),
    "sin": (mp.sin, lambda x, y: mp.cos(x)),
    "cos": (mp.cos, lambda x, y: -mp.sin(x)),
    "sinh": (mp.sinh, lambda x, y: mp.cosh(x)),
    "cosh": (mp.cosh, lambda x, y: mp.sinh(x)),
    "tanh": (mp.tanh, lambda x, y: 1 - y * y),
    "erf": (mp.erf, lambda x, y: _bell(x)),
    "erfc": (mp.erfc, lambda x, y: -_bell(x)),
    "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), lambda x, y: y * (1 - y)),
}


def over_entries(function: Callable[..., Any], inputs: int = 1) -> Callable[..., Any]:
    """A function of Numbers for arrays of them."""
    made = np.frompyfunc(function, inputs, 1)
    return lambda *operands: np.asarray(made(*operands), object)


def _scalar(name: str) -> Callable[..., Any]:
    function, derivative = SCALAR[name]
    known: dict[Any, Any] = {}

    def apply(number: Any) -> Number:
        number = lift(number)
        key = (mp.mp.prec, number.value)
        if key not in known:
            value = function(number.value)
            known[key] = value, derivative(number.value, value) if number.slopes else 0
        value, partial = known[key]
        if number.slopes and partial == 0:
            partial = derivative(number.value, value)
        return number.chain(value, partial)

    return over_entries(apply)


def _larger(a: Any, b: Any) -> Number:
    a, b = lift(a), lift(b)
    return a if a.value >= b.value else b


def _smaller(a: Any, b: Any) -> Number:
    a, b = lift(a), lift(b)
    return a if a.value <= b.value else b


def _sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.asarray(np.sum(x, axis=axis, keepdims=keepdims), object)


def _max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.asarray(np.max(x, axis=axis, keepdims=keepdims), object)


def _mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    total = _sum(x, axis, keepdims)
    return np.asarray(total / (np.size(x) // max(1, total.size)), object)


def _prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.asarray(np.prod(x, axis=axis, keepdims=keepdims), object)


def _softmax(x: Any, axis: int) -> Any:
    powers = NAMES["exp"](x)
    return powers / _sum(powers, axis, True)


NAMES: dict[str, Callable[..., Any]] = {
    **{name: _scalar(name) for name in SCALAR},
    "abs": over_entries(lambda x: abs(lift(x))),
    "maximum": over_entries(_larger, 2),
    "minimum": over_entries(_smaller, 2),
    "where": over_entries(lambda c, x, y: lift(x) if c else lift(y), 3),
    "not_equal": over_entries(lambda x, y: lift(x) != lift(y), 2),
    "stop_gradient": over_entries(lambda x: Number(lift(x).value)),
    "float32": lambda x: x,
    "float64": lambda x: x,
    "sum": _sum,
    "max": _max,
    "mean": _mean,
    "prod": _prod,
    "softmax": _softmax,
    "matmul": np.matmul,
    "reshape": np.reshape,
    "transpose": np.transpose,
    "concat": lambda xs, axis: np.concatenate(xs, axis),
    "take_along_axis": np.take_along_axis,
    "arange": np.arange,
    "flip": lambda x, axis: np.flip(x, axis),
    "broadcast_to": np.broadcast_to,
}


class Truth:
    """A formula's value and its Jacobian by the inputs named in `by`, as arrays of mpf."""

    def __init__(
        self, formula: Callable[..., Any], inputs: Mapping[str, Any], by: list[str], digits: int
    ) -> None:
        with mp.workdps(digits):
            operands = {name: self._read(name, array, by) for name, array in inputs.items()}
            result = np.asarray(formula(NAMES, operands), object)
            numbers = [lift(entry) for entry in result.ravel()]
        self.shape = result.shape
        self.value = _array([number.value for number in numbers], result.shape)
        self._slopes = [  # where the value is infinite there is no slope to judge
            number.slopes if mp.isfinite(number.value) else dict.fromkeys(number.slopes, mp.nan)
            for number in numbers
        ]
        self._inputs, self.digits = inputs, digits

    @staticmethod
    def _read(name: str, array: Any, by: list[str]) -> Any:
        if array.dtype.kind not in "fO":
            return array
        numbers = [
            Number(_exact(entry), {(name, k): mp.mpf(1)} if name in by else None)
            for k, entry in enumerate(array.ravel())
        ]
        return _array(numbers, array.shape)

    def gradient(self, name: str, cotangent: Any) -> Any:
        """Σ cotangent · ∂value/∂name."""
        total = [mp.mpf(0)] * self._inputs[name].size
        with mp.workdps(self.digits):
            for weight, slopes in zip(np.ravel(cotangent), self._slopes, strict=True):
                for (owner, k), slope in slopes.items():
                    if owner == name:
                        total[k] = total[k] + times(_exact(weight), slope)
        return _array(total, self._inputs[name].shape)

    def tangent(self, tangents: Mapping[str, Any], absolute: bool = False) -> Any:
        """Σ ∂value/∂name · tangent over all names; or of the terms' absolute values."""
        moved: list[Any] = []
        with mp.workdps(self.digits):
            for slopes in self._slopes:
                parts = [
                    times(_exact(tangents[name].ravel()[k]), slope)
                    for (name, k), slope in slopes.items()
                ]
                moved.append(mp.fsum(parts, absolute=absolute))
        return _array(moved, self.shape)


def curvature(
    formula: Callable[..., Any],
    inputs: Mapping[str, Any],
    by: list[str],
    cotangent: Any,
    tangents: Mapping[str, Any],
    digits: int,
) -> dict[str, Any]:
    """The derivative of the gradient along `tangents`, by central differences.

    The step is 1e-60, and 200 more digits are taken than the gradient needs; where the gradient
    jumps the quotient comes out beyond float32.  Where it is infinite it has no derivative: nan.
    """
    more = digits + 200
    with mp.workdps(more):
        step = mp.mpf(10) ** -60
        ends: list[Truth] = []
        for sign in (1, -1):
            moved = dict(inputs)
            for name in by:
                pairs = zip(inputs[name].ravel(), tangents[name].ravel(), strict=True)
                entries = [_exact(x) + sign * step * _exact(v) for x, v in pairs]
                moved[name] = _array(entries, inputs[name].shape)
            ends.append(Truth(formula, moved, by, more))
        above, below = ends
        here = Truth(formula, inputs, by, more)
        found: dict[str, Any] = {}
        for name in by:
            slope = here.gradient(name, cotangent)
            moved = above.gradient(name, cotangent) - below.gradient(name, cotangent)
            entries = [
                m / (2 * step) if mp.isfinite(s) else mp.nan
                for m, s in zip(moved.ravel(), slope.ravel(), strict=True)
            ]
            found[name] = _array(entries, slope.shape)
        return found


def _array(entries: list[Any], shape: tuple[int, ...]) -> Any:
    """An array of objects; NumPy is not asked what they are."""
    array = np.empty(len(entries), object)
    array[:] = entries
    return array.reshape(shape)
