# pyright: basic
"""Scalars of CUDA kernels: their types, the call of a libdevice function, and conversions."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from . import conversion, half
from .lanes import Lanes

_FLOATS = {32: ir.FloatType(), 64: ir.DoubleType()}


class Scalar:
    """A scalar type: its kind, as in DType, and its width."""

    def __init__(self, kind: str, bits: int) -> None:
        self.kind, self.bits = kind, bits
        self.llvm = _FLOATS[bits] if kind == "f" else ir.IntType(bits)

    @classmethod
    def of(cls, numba_type: Any, types: Any) -> Scalar:
        if isinstance(numba_type, types.Boolean):
            return cls("b", 1)
        if isinstance(numba_type, types.Float):
            return cls("f", numba_type.bitwidth)
        return cls("i" if numba_type.signed else "u", numba_type.bitwidth)

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def limits(self) -> tuple[int, int]:
        bits = self.bits - (self.kind == "i")
        return (-(1 << bits) if self.kind == "i" else 0), (1 << bits) - 1

    def __call__(self, number: float) -> ir.Constant:
        return ir.Constant(self.llvm, float(number) if self.is_float else int(number))


def libdevice(builder: Any, name: str, of: Scalar, *values: Any) -> Any:
    symbol = f"__nv_{name}{'f' if of.bits == 32 else ''}"
    function = builder.module.globals.get(symbol)
    if function is None:
        kind = ir.FunctionType(of.llvm, [of.llvm] * len(values))
        function = ir.Function(builder.module, kind, symbol)
    return builder.call(function, values)


def convert(b: Any, source: Scalar, target: Scalar, x: Any) -> Any:
    if target.kind == "b":
        if source.is_float:
            return b.fcmp_unordered("!=", x, source(0))
        return x if source.kind == "b" else b.icmp_unsigned("!=", x, source(0))
    if source.is_float and target.is_float:
        if source.bits == target.bits:
            return x
        return (b.fpext if source.bits < target.bits else b.fptrunc)(x, target.llvm)
    if target.is_float:
        return (b.sitofp if source.kind == "i" else b.uitofp)(x, target.llvm)
    if source.is_float:
        return _saturate(b, source, target, x)
    if source.bits == target.bits:
        return x
    if source.bits > target.bits:
        return b.trunc(x, target.llvm)
    return (b.sext if source.kind == "i" else b.zext)(x, target.llvm)


def to_half(b: Any, dtype: str, source: Scalar, x: Any) -> Any:
    """The bits of the half nearest to `x`, by integer arithmetic as on a CPU."""
    short = "bool" if source.kind == "b" else f"{source.kind}{source.bits}"
    return half.narrow(conversion.nearly(Lanes(b, x), short), dtype, instructions=False).value


def from_half(b: Any, dtype: str, bits: Any) -> Any:
    return half.widen(Lanes(b, bits), dtype, instructions=False).value


def _saturate(b: Any, source: Scalar, target: Scalar, x: Any) -> Any:
    """Float to integer: only what is inside both limits meets the conversion."""
    low, high = target.limits
    below = b.fcmp_ordered("<=", x, source(low))
    above = b.fcmp_ordered(">=", x, source(high))
    inside = b.fcmp_ordered("ord", x, x)
    inside = b.and_(inside, b.not_(b.or_(below, above)))
    safe = b.select(inside, x, source(0))
    value = (b.fptosi if target.kind == "i" else b.fptoui)(safe, target.llvm)
    return b.select(below, target(low), b.select(above, target(high), value))
