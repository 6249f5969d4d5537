# pyright: basic
"""Arithmetic on LLVM vectors, written as formulas.

`Lanes` pairs a value with the builder that continues its block, so that ``fma(x, y, 1.0) * z``
emits instructions. Floats and integers share the operators; what depends on signedness has a name
of its own, because LLVM's integers have none. Scalars work as well as vectors. Nothing here knows
Numba: a bare llvmlite module will do.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from .building import TextConstant, lane_list, number, undefined, zeros

FLOAT = ir.FloatType()
DOUBLE = ir.DoubleType()
Number = int | float

# LLVM 19 and later read `splat (float 1.0)`; spelling every lane out costs parsing time.
_HAS_SPLAT = llvm.llvm_version_info >= (19, 0, 0)


def integer_type(bits: int) -> ir.Type:
    """The LLVM integer of that many bits."""
    return ir.IntType(bits)


def element_type(type_: Any) -> Any:
    """The type of one lane; a scalar is its own lane."""
    return type_.element if isinstance(type_, ir.VectorType) else type_


def is_float(type_: Any) -> bool:
    return isinstance(element_type(type_), ir.FloatType | ir.DoubleType)


def bit_width(type_: Any) -> int:
    """Bits of one lane."""
    element = element_type(type_)
    if isinstance(element, ir.FloatType):
        return 32
    return 64 if isinstance(element, ir.DoubleType) else element.width


def like(type_: Any, element: Any) -> Any:
    """The type with as many lanes as `type_`, each an `element`."""
    return ir.VectorType(element, type_.count) if isinstance(type_, ir.VectorType) else element


def mangled(type_: Any) -> str:
    """How the type is called at the end of an intrinsic's name: ``v16f32``, ``i64``."""
    letter = "f" if is_float(type_) else "i"
    count = f"v{type_.count}" if isinstance(type_, ir.VectorType) else ""
    return f"{count}{letter}{bit_width(type_)}"


def _float_text(element: Any, value: float) -> str:
    # LLVM writes a float as the bits of the double that is equal to it.
    if isinstance(element, ir.FloatType) and math.isfinite(value):
        value = struct.unpack("f", struct.pack("f", value))[0]
    return "0x" + struct.pack(">d", value).hex().upper()


@functools.lru_cache(maxsize=4096)
def _constant(kind: str, element: Any, count: int, value: Number, sign: float) -> ir.Constant:
    if kind == "float":
        text = _float_text(element, float(value))
    else:
        width = element.width
        number = int(value) & ((1 << width) - 1)
        text = ("false", "true")[number] if width == 1 else str(number)
    if not count:
        return TextConstant(element, text)
    if _HAS_SPLAT:
        text = f"splat ({element} {text})"
    else:
        text = "<" + ", ".join([f"{element} {text}"] * count) + ">"
    return TextConstant(ir.VectorType(element, count), text)


def constant(type_: Any, value: Number) -> ir.Constant:
    """`value` in every lane; integers are taken modulo their width."""
    element = element_type(type_)
    count = type_.count if isinstance(type_, ir.VectorType) else 0
    kind = "float" if is_float(element) else f"i{element.width}"
    # 0.0 and -0.0 are one key of a dictionary, so the sign is part of it.
    sign = math.copysign(1.0, value) if kind == "float" else 1.0
    return _constant(kind, element, count, value, sign)


def lane_numbers(count: int, bits: int) -> ir.Constant:
    """The integer vector 0, 1, 2, …"""
    return lane_list(tuple(range(count)), bits)


def declare(module: ir.Module, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    """The function of that name, declared in the module unless it is there."""
    found = module.globals.get(name)
    if found is None:
        found = ir.Function(module, ir.FunctionType(result, arguments), name)
    return found


class Lanes:
    """A vector value and the builder to continue with."""

    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("builder", "value")

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    @property
    def type(self) -> Any:
        return self.value.type

    @property
    def is_float(self) -> bool:
        return is_float(self.value.type)

    @property
    def bits(self) -> int:
        """Bits of one lane."""
        return bit_width(self.value.type)

    def constant(self, value: Number) -> Lanes:
        """`value` in every lane, typed as this vector."""
        return Lanes(self.builder, constant(self.type, value))

    def _other(self, other: Lanes | Number) -> Any:
        return other.value if isinstance(other, Lanes) else constant(self.type, other)

    def _binary(self, floats: str, integers: str, other: Lanes | Number) -> Lanes:
        emit = getattr(self.builder, floats if self.is_float else integers)
        return Lanes(self.builder, emit(self.value, self._other(other)))

    def __add__(self, other: Lanes | Number) -> Lanes:
        return self._binary("fadd", "add", other)

    def __sub__(self, other: Lanes | Number) -> Lanes:
        return self._binary("fsub", "sub", other)

    def __rsub__(self, other: Number) -> Lanes:
        return self.constant(other) - self

    def __mul__(self, other: Lanes | Number) -> Lanes:
        return self._binary("fmul", "mul", other)

    def __truediv__(self, other: Lanes | Number) -> Lanes:
        return self._binary("fdiv", "", other)

    def __rtruediv__(self, other: Number) -> Lanes:
        return self.constant(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Lanes:
        # Not `fneg`, which NVVM's older LLVM lacks; elsewhere LLVM makes that of it.
        return (-0.0 if self.is_float else 0) - self

    def __and__(self, other: Lanes | Number) -> Lanes:
        return self._binary("", "and_", other)

    def __or__(self, other: Lanes | Number) -> Lanes:
        return self._binary("", "or_", other)

    def __xor__(self, other: Lanes | Number) -> Lanes:
        return self._binary("", "xor", other)

    def __invert__(self) -> Lanes:
        return self ^ -1

    def __lshift__(self, other: Lanes | Number) -> Lanes:
        return self._binary("", "shl", other)

    def __rshift__(self, other: Lanes | Number) -> Lanes:
        """Arithmetic shift: the sign fills up. See `shift_right_logical`."""
        return self._binary("", "ashr", other)

    def shift_right_logical(self, other: Lanes | Number) -> Lanes:
        return self._binary("", "lshr", other)

    def compare(self, operator: str, other: Lanes | Number, signed: bool = True) -> Lanes:
        """Lane-wise comparison; with a NaN all are false but ``!=``, as IEEE 754 has it."""
        right = self._other(other)
        if self.is_float:
            emit = self.builder.fcmp_unordered if operator == "!=" else self.builder.fcmp_ordered
        else:
            emit = self.builder.icmp_signed if signed else self.builder.icmp_unsigned
        return Lanes(self.builder, emit(operator, self.value, right))

    def __lt__(self, other: Lanes | Number) -> Lanes:
        return self.compare("<", other)

    def __le__(self, other: Lanes | Number) -> Lanes:
        return self.compare("<=", other)

    def __gt__(self, other: Lanes | Number) -> Lanes:
        return self.compare(">", other)

    def __ge__(self, other: Lanes | Number) -> Lanes:
        return self.compare(">=", other)

    def __eq__(self, other: Lanes | Number) -> Lanes:  # type: ignore[override]
        return self.compare("==", other)

    def __ne__(self, other: Lanes | Number) -> Lanes:  # type: ignore[override]
        return self.compare("!=", other)

    def cast(self, instruction: str, element: Any) -> Lanes:
        """One of LLVM's conversions (``sitofp``, ``zext``, …) of every lane to `element`."""
        target = like(self.type, element)
        if target == self.type:
            return self
        return Lanes(self.builder, getattr(self.builder, instruction)(self.value, target))

    def as_bits(self) -> Lanes:
        """The bits of floats as integers of the same width."""
        return self.cast("bitcast", integer_type(self.bits))

    def as_floats(self) -> Lanes:
        """Integers read as the bits of floats of the same width."""
        return self.cast("bitcast", FLOAT if self.bits == 32 else DOUBLE)

    def shuffle(self, lanes: Sequence[int]) -> Lanes:
        """The vector made of those lanes."""
        mask = lane_list(tuple(lanes))
        nothing = undefined(self.type)
        return Lanes(self.builder, self.builder.shuffle_vector(self.value, nothing, mask))

    def part(self, first: int, count: int) -> Lanes:
        """The vector of `count` lanes from `first` on."""
        whole = first == 0 and count == self.type.count
        return self if whole else self.shuffle(range(first, first + count))

    @staticmethod
    def joined(parts: Sequence[Lanes]) -> Lanes:
        """Vectors of one length, a power of two of them, one behind the other."""
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [left._beside(right) for left, right in pairs]
        return parts[0]

    def _beside(self, right: Lanes) -> Lanes:
        both = lane_list(tuple(range(2 * self.type.count)))
        return Lanes(self.builder, self.builder.shuffle_vector(self.value, right.value, both))

    def extract(self, lane: int) -> Lanes:
        """One lane as a scalar."""
        index = number(lane, 32)
        return Lanes(self.builder, self.builder.extract_element(self.value, index))

    def insert(self, lane: int, value: Lanes) -> Lanes:
        """The vector with a scalar in one of its lanes."""
        index = number(lane, 32)
        return Lanes(self.builder, self.builder.insert_element(self.value, value.value, index))

    def splat(self, count: int) -> Lanes:
        """This scalar in each of `count` lanes."""
        vector = ir.VectorType(self.type, count)
        first = self.builder.insert_element(undefined(vector), self.value, number(0, 32))
        return Lanes(self.builder, first).shuffle([0] * count)

    def function(self, name: str, *others: Lanes | Number) -> Lanes:
        """LLVM's intrinsic `name` of this vector and others of its type."""
        arguments = [self.value, *(self._other(other) for other in others)]
        full = f"llvm.{name}.{mangled(self.type)}"
        callee = declare(self.builder.module, full, self.type, [self.type] * len(arguments))
        return Lanes(self.builder, self.builder.call(callee, arguments))


def select(condition: Lanes, yes: Lanes | Number, no: Lanes | Number) -> Lanes:
    """Lane by lane `yes` where `condition`, else `no`; one of them must be a vector."""
    typed = yes if isinstance(yes, Lanes) else no
    assert isinstance(typed, Lanes)
    builder = typed.builder
    left, right = typed._other(yes), typed._other(no)
    return Lanes(builder, builder.select(condition.value, left, right))


def any_lane(condition: Lanes) -> Any:
    """i1: whether a lane of the mask is set."""
    builder = condition.builder
    word = ir.IntType(condition.type.count)
    return builder.icmp_unsigned("!=", builder.bitcast(condition.value, word), zeros(word))


def fma(a: Lanes, b: Lanes | Number, c: Lanes | Number) -> Lanes:
    """a·b + c, rounded once."""
    return a.function("fma", b, c)


def absolute(x: Lanes) -> Lanes:
    """|x| of floats: clears the sign, of NaN too."""
    return x.function("fabs")


def copysign(magnitude: Lanes, sign: Lanes) -> Lanes:
    return magnitude.function("copysign", sign)


def in_double(function: Callable[..., Lanes]) -> Callable[..., Lanes]:
    """A function of float64 for float32 too, computed in float64 and rounded at the end.

    For what would lose the last bits of float32 otherwise, and is not asked for every day.
    """

    @functools.wraps(function)
    def either(*operands: Lanes) -> Lanes:
        if operands[0].bits == 64:
            return function(*operands)
        wide = [operand.cast("fpext", DOUBLE) for operand in operands]
        return function(*wide).cast("fptrunc", FLOAT)

    return either


def at_most(x: Lanes, bound: float) -> Lanes:
    """min(x, bound) for a finite bound; NaN stays NaN."""
    return select(x > bound, bound, x)


def at_least(x: Lanes, bound: float) -> Lanes:
    """max(x, bound) for a finite bound; NaN stays NaN."""
    return select(x < bound, bound, x)


def polynomial(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """Horner's scheme, coefficients from the constant term upwards."""
    result = x.constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = fma(result, x, coefficient)
    return result
