# pyright: basic
"""Scalars and loops of kernels: int64 arithmetic as Python has it, comparisons, and `range`.

Numba's own are general (every width, exceptions, iterators in structures) and emit some hundred
instructions for a loop and forty for a division; these emit what there is to do. Nothing raises: a
quotient by zero is 0, and so is its remainder.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types

from .building import INT, larger, number, quotient, smaller
from .calls import Callee, Emit, Named, Rule

INT64 = types.int64
FLOAT64 = types.float64
BOOLEAN = types.boolean


def operands(*accepted: Any, result: Any = None) -> Rule:
    """The rule of a function on scalars of one of the types `accepted`."""

    def rule(*arguments: Any) -> Any:
        first = arguments[0]
        if first not in accepted or any(argument != first for argument in arguments):
            return None
        return result or first, arguments

    return rule


def _instruction(name: str, *flags: str) -> Emit:
    extra = {"flags": flags} if flags else {}
    return lambda builder, _, *values: getattr(builder, name)(*values, **extra)


def _comparison(symbol: str) -> Emit:
    return lambda builder, _, a, b: builder.icmp_signed(symbol, a, b)


def _zero(builder: Any, value: Any) -> Any:
    return builder.icmp_signed("==", value, number(0))


def divide(builder: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Quotient, rounded down, and remainder, with the sign of the divisor."""
    known = isinstance(b, ir.Constant) and b.constant not in (0, -1)
    # The processor traps on x / 0, and on the smallest integer / -1.
    odd = None if known else builder.icmp_unsigned("<", builder.add(b, number(1)), number(2))
    divisor = b if odd is None else builder.select(odd, number(1), b)
    result, rest = builder.sdiv(a, divisor), builder.srem(a, divisor)
    apart = builder.icmp_signed("<", builder.xor(rest, divisor), number(0))
    down = builder.and_(apart, builder.icmp_signed("!=", rest, number(0)))
    result = builder.sub(result, builder.zext(down, INT))
    rest = builder.select(down, builder.add(rest, divisor), rest)
    if odd is not None:
        by_one = builder.select(_zero(builder, b), number(0), builder.sub(number(0), a))
        result = builder.select(odd, by_one, result)
    return result, rest


def _shift(name: str, beyond: Callable[[Any, Any], Any]) -> Emit:
    """A shift; by 64 or more, or by a negative number, gives `beyond`."""

    def emit(builder: Any, _: Any, a: Any, b: Any) -> Any:
        fits = builder.icmp_unsigned("<", b, number(64))
        shifted = getattr(builder, name)(a, builder.select(fits, b, number(0)))
        return builder.select(fits, shifted, beyond(builder, a))

    return emit


_INTEGERS, _BITS = operands(INT64), operands(INT64, BOOLEAN)
_SCALAR_OPERATORS: dict[Any, tuple[Rule, Emit]] = {
    operator.add: (_INTEGERS, _instruction("add", "nsw")),
    operator.sub: (_INTEGERS, _instruction("sub", "nsw")),
    operator.mul: (_INTEGERS, _instruction("mul", "nsw")),
    operator.floordiv: (_INTEGERS, lambda builder, _, a, b: divide(builder, a, b)[0]),
    operator.mod: (_INTEGERS, lambda builder, _, a, b: divide(builder, a, b)[1]),
    operator.lshift: (_INTEGERS, _shift("shl", lambda builder, a: number(0))),
    operator.rshift: (_INTEGERS, _shift("ashr", lambda builder, a: builder.ashr(a, number(63)))),
    operator.and_: (_BITS, _instruction("and_")),
    operator.or_: (_BITS, _instruction("or_")),
    operator.xor: (_BITS, _instruction("xor")),
    operator.invert: (_INTEGERS, _instruction("not_")),
    operator.not_: (operands(BOOLEAN), _instruction("not_")),
    operator.pos: (operands(INT64, FLOAT64), lambda builder, _, a: a),
}
CALLEES: dict[Any, Callee] = {}  # of Python's own functions; `vector` adds meanings


def operator_callee(function: Any) -> Callee:
    """What an operator means in kernels."""
    if function not in CALLEES:
        CALLEES[function] = Callee(function.__name__)
    return CALLEES[function]


for _function, (_rule, _emit) in _SCALAR_OPERATORS.items():
    operator_callee(_function).add(_rule, _emit)
_COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
for _symbol, _name in _COMPARISONS.items():
    operator_callee(getattr(operator, _name)).add(
        operands(INT64, result=BOOLEAN), _comparison(_symbol)
    )
operator_callee(operator.neg).add(operands(INT64), _instruction("neg"))
operator_callee(operator.neg).add(operands(FLOAT64), _instruction("fneg"))


def _goes_on(builder: Any, _: Any, value: Any, stop: Any, step: Any) -> Any:
    """Whether a range that has come to `value` holds it; one whose step is 0 is empty."""
    below, above = (builder.icmp_signed(symbol, value, stop) for symbol in "<>")
    up, downwards = (builder.icmp_signed(symbol, step, number(0)) for symbol in "><")
    return builder.select(up, below, builder.and_(downwards, above))


goes_on = Named("range", operands(INT64, result=BOOLEAN), _goes_on)
CALLEES[bool] = Callee("bool")
CALLEES[bool].add(operands(BOOLEAN), lambda builder, _, a: a)  # asked of every condition
CALLEES[bool].add(operands(INT64, result=BOOLEAN), lambda b, _, a: b.not_(_zero(b, a)))


def _pair(*given: Any) -> Any:
    return len(given) == 2 and _INTEGERS(*given)


NAMES: dict[str, Any] = {
    "min": Named("min", _pair, lambda builder, _, x, y: smaller(builder, x, y)),
    "max": Named("max", _pair, lambda builder, _, x, y: larger(builder, x, y)),
    "quotient": Named("quotient", _pair, lambda builder, _, x, y: quotient(builder, x, y)),
    "range": range,
    "nan": float("nan"),
    "inf": float("inf"),
}
