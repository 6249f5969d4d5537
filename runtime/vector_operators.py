# pyright: basic
"""What every operator and function does to the lanes, by dtype: two tables.

A row is the dtypes accepted, the result's dtype if it is another (or the one that each gives), and
the emitter, which is given the dtype and the operands. The semantics are NumPy's; where those are
undefined or trap (a shift by too much, a division by zero of integers) ours are fixed and stand
with the emitter.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from . import (
    arcs,
    error_functions,
    hyperbolic,
    integer,
    maths,
    power,
    remainder,
    roots,
    trigonometry,
)
from .conversion import DTYPES, FLOATS, INTEGERS, convert, is_signed
from .lanes import Lanes, absolute, copysign, fma, select
from .vector_memory import reduce

NUMBERS = (*INTEGERS, *FLOATS)
BITS = ("bool", *INTEGERS)
Emit = Callable[..., Lanes]
RANKS = {"f32": "i32", "f64": "i64"}
NUMBERS_OF_RANKS = {"i32": "f32", "i64": "f64"}
Row = tuple[Sequence[str], str | dict[str, str] | None, Emit]


def _plain(function: Callable[..., Any]) -> Emit:
    """An operator that `Lanes` has, the same for each dtype it is given."""
    return lambda dtype, *operands: function(*operands)


def _add(dtype: str, a: Lanes, b: Lanes) -> Lanes:
    return a | b if dtype == "bool" else a + b


def _multiply(dtype: str, a: Lanes, b: Lanes) -> Lanes:
    return a & b if dtype == "bool" else a * b


def _divide(dtype: str, a: Lanes, b: Lanes) -> Lanes:
    return convert(a, dtype, "f64") / convert(b, dtype, "f64") if dtype not in FLOATS else a / b


def _divmod(dtype: str, a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    if dtype in FLOATS:
        return remainder.divide(a, b)
    return integer.divide(a, b, is_signed(dtype))


def _shift_right(dtype: str, a: Lanes, b: Lanes) -> Lanes:
    return integer.shift_right(a, b, is_signed(dtype))


def _comparison(symbol: str) -> Emit:
    return lambda dtype, a, b: a.compare(symbol, b, is_signed(dtype))


def arity(function: Any) -> int:
    return 1 if function in (operator.neg, operator.pos, operator.invert) else 2


OPERATORS: dict[Any, Row] = {
    operator.add: (DTYPES, None, _add),
    operator.sub: (NUMBERS, None, _plain(operator.sub)),
    operator.mul: (DTYPES, None, _multiply),
    operator.truediv: (FLOATS, None, _divide),
    operator.floordiv: (NUMBERS, None, lambda dtype, a, b: _divmod(dtype, a, b)[0]),
    operator.mod: (NUMBERS, None, lambda dtype, a, b: _divmod(dtype, a, b)[1]),
    operator.neg: (NUMBERS, None, _plain(operator.neg)),
    operator.and_: (BITS, None, _plain(operator.and_)),
    operator.or_: (BITS, None, _plain(operator.or_)),
    operator.xor: (BITS, None, _plain(operator.xor)),
    operator.invert: (BITS, None, _plain(operator.invert)),
    operator.lshift: (INTEGERS, None, _plain(integer.shift_left)),
    operator.rshift: (INTEGERS, None, _shift_right),
    operator.lt: (DTYPES, "bool", _comparison("<")),
    operator.le: (DTYPES, "bool", _comparison("<=")),
    operator.gt: (DTYPES, "bool", _comparison(">")),
    operator.ge: (DTYPES, "bool", _comparison(">=")),
    operator.eq: (DTYPES, "bool", _comparison("==")),
    operator.ne: (DTYPES, "bool", _comparison("!=")),
}


def where(dtype: str, condition: Lanes, yes: Lanes, no: Lanes) -> Lanes:
    return select(condition, yes, no)


def philox_word(dtype: str, *words: Lanes) -> Lanes:
    return integer.philox(*words)


def _maximum(dtype: str, a: Lanes, b: Lanes) -> Lanes:
    if dtype in FLOATS:
        return maths.maximum(a, b)
    return a | b if dtype == "bool" else select(a.compare(">", b, is_signed(dtype)), a, b)


def _minimum(dtype: str, a: Lanes, b: Lanes) -> Lanes:
    if dtype in FLOATS:
        return maths.minimum(a, b)
    return a & b if dtype == "bool" else select(a.compare("<", b, is_signed(dtype)), a, b)


def _absolute(dtype: str, a: Lanes) -> Lanes:
    if dtype in FLOATS:
        return absolute(a)
    return select(a < 0, -a, a) if is_signed(dtype) else a


def _sign(dtype: str, a: Lanes) -> Lanes:
    if dtype in FLOATS:
        return maths.sign(a)
    positive = select(a != 0, a.constant(1), 0)
    return select(a < 0, a.constant(-1), positive) if is_signed(dtype) else positive


def _gated_multiply(dtype: str, a: Lanes, b: Lanes) -> Lanes:
    return select((a == 0.0) | (b == 0.0), a.constant(0.0), a * b)


def _gated_divide(dtype: str, a: Lanes, b: Lanes) -> Lanes:
    return select((a == 0.0) | (absolute(b) == maths.INF), a.constant(0.0), a / b)


def _power(dtype: str, a: Lanes, b: Lanes) -> Lanes:
    return power.power(a, b) if dtype in FLOATS else integer.power(a, b, is_signed(dtype))


def _reduction(combine: Emit) -> Emit:
    return lambda dtype, value: reduce(value, lambda a, b: combine(dtype, a, b))


def _extreme(sign: str, combine: Emit) -> Emit:
    """The greatest or the least lane; of floats, the one that `combine` would leave.

    Integers are compared in one cycle, floats with care for nan and −0 in many, and here each
    comparison waits for the one before.  So floats are compared as integers in the same order:
    the bits as they are, of negative numbers all but the sign turned over.  A nan is made the
    greatest number there is, or the least.
    """

    def emit(dtype: str, value: Lanes) -> Lanes:
        if dtype not in FLOATS:
            return reduce(value, lambda a, b: combine(dtype, a, b))
        nan = copysign(absolute(value), value.constant(1.0 if sign == ">" else -1.0))
        keys = maths.in_order(select(value == value, value, nan).as_bits())
        found = reduce(keys, lambda a, b: select(a.compare(sign, b), a, b))
        return maths.in_order(found).as_floats()

    return emit


def _running(combine: Emit) -> Emit:
    """From lane to lane, going on from the last lane of the vector before."""

    def emit(dtype: str, before: Lanes, *operands: Lanes) -> Lanes:
        count = before.type.count
        state, result = before.extract(count - 1), before
        for lane in range(count):
            state = combine(dtype, state, *(operand.extract(lane) for operand in operands))
            result = result.insert(lane, state)
        return result

    return emit


def _intrinsic(name: str) -> Emit:
    return lambda dtype, a: a.function(name)


FUNCTIONS: dict[str, Row] = {
    "maximum": (DTYPES, None, _maximum),
    "minimum": (DTYPES, None, _minimum),
    "rank_maximum": (FLOATS, RANKS, _plain(maths.rank_up)),
    "rank_minimum": (FLOATS, RANKS, _plain(maths.rank_down)),
    "ranked": (tuple(NUMBERS_OF_RANKS), NUMBERS_OF_RANKS, _plain(maths.ranked)),
    "absolute": (NUMBERS, None, _absolute),
    "sign": (NUMBERS, None, _sign),
    "reduce_add": (DTYPES, None, _reduction(_add)),
    "reduce_multiply": (DTYPES, None, _reduction(_multiply)),
    "reduce_maximum": (DTYPES, None, _extreme(">", _maximum)),
    "reduce_minimum": (DTYPES, None, _extreme("<", _minimum)),
    "running_add": (DTYPES, None, _running(_add)),
    "running_multiply": (DTYPES, None, _running(_multiply)),
    "running_maximum": (DTYPES, None, _running(_maximum)),
    "running_minimum": (DTYPES, None, _running(_minimum)),
    "running_fma": (FLOATS, None, _running(_plain(fma))),
    "fma": (FLOATS, None, _plain(fma)),
    "copysign": (FLOATS, None, _plain(copysign)),
    "floor": (FLOATS, None, _intrinsic("floor")),
    "ceil": (FLOATS, None, _intrinsic("ceil")),
    "rint": (FLOATS, None, _intrinsic("rint")),
    "trunc": (FLOATS, None, _intrinsic("trunc")),
    "sqrt": (FLOATS, None, _intrinsic("sqrt")),
    "isnan": (FLOATS, "bool", lambda dtype, a: a != a),
    "isinf": (FLOATS, "bool", lambda dtype, a: absolute(a) == maths.INF),
    "isfinite": (FLOATS, "bool", lambda dtype, a: absolute(a) < maths.INF),
    "exp": (FLOATS, None, _plain(maths.exp)),
    "exp2": (FLOATS, None, _plain(maths.exp2)),
    "expm1": (FLOATS, None, _plain(maths.expm1)),
    "log": (FLOATS, None, _plain(maths.log)),
    "log2": (FLOATS, None, _plain(maths.log2)),
    "log1p": (FLOATS, None, _plain(maths.log1p)),
    "tanh": (FLOATS, None, _plain(maths.tanh)),
    "sigmoid": (FLOATS, None, _plain(maths.sigmoid)),
    "erf": (FLOATS, None, _plain(maths.erf)),
    "normal_quantile": (FLOATS, None, _plain(maths.normal_quantile)),
    "rsqrt": (FLOATS, None, _plain(maths.rsqrt)),
    "sin": (FLOATS, None, _plain(trigonometry.sin)),
    "cos": (FLOATS, None, _plain(trigonometry.cos)),
    "gated_multiply": (FLOATS, None, _gated_multiply),
    "gated_divide": (FLOATS, None, _gated_divide),
    "power": (NUMBERS, None, _power),
    "log10": (FLOATS, None, _plain(power.log10)),
    "tan": (FLOATS, None, _plain(trigonometry.tan)),
    "asin": (FLOATS, None, _plain(arcs.asin)),
    "acos": (FLOATS, None, _plain(arcs.acos)),
    "atan": (FLOATS, None, _plain(arcs.atan)),
    "atan2": (FLOATS, None, _plain(arcs.atan2)),
    "sinh": (FLOATS, None, _plain(hyperbolic.sinh)),
    "cosh": (FLOATS, None, _plain(hyperbolic.cosh)),
    "asinh": (FLOATS, None, _plain(hyperbolic.asinh)),
    "acosh": (FLOATS, None, _plain(hyperbolic.acosh)),
    "atanh": (FLOATS, None, _plain(hyperbolic.atanh)),
    "cbrt": (FLOATS, None, _plain(roots.cbrt)),
    "hypot": (FLOATS, None, _plain(roots.hypot)),
    "erfc": (FLOATS, None, _plain(error_functions.erfc)),
    "erfinv": (FLOATS, None, _plain(error_functions.erfinv)),
    "normal_cdf": (FLOATS, None, _plain(error_functions.normal_cdf)),
    "nextafter": (FLOATS, None, _plain(maths.nextafter)),
    "signbit": (FLOATS, "bool", lambda dtype, a: a.as_bits() < 0),
}
