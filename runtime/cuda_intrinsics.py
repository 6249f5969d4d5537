# pyright: basic
"""The vocabulary of CUDA kernels for Numba's compiler: each name as the LLVM code of one call.

Nothing here imports Numba's CUDA; ``device_vocabulary`` gets it.  Floats go to libdevice, in
their own width (a float32 kernel must hold no float64 instruction); what has to be exact at
the edges, conversions, divisions and maxima, is written out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ..ir.dtypes import ALL, HALVES
from . import maths
from .cuda_scalar import Scalar, convert, from_half, libdevice, to_half
from .cuda_vocabulary import FLOAT_FUNCTIONS, PHILOX_MULTIPLIERS, PHILOX_STEPS, Vocabulary
from .lanes import Lanes

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def _divide(b: Any, t: Scalar, x: Any, y: Any) -> tuple[Any, Any]:
    """⌊x / y⌋ and x − y·⌊x / y⌋."""
    return (_divide_floats if t.is_float else _divide_integers)(b, t, x, y)


def _divide_integers(b: Any, t: Scalar, x: Any, y: Any) -> tuple[Any, Any]:
    is_zero = b.icmp_unsigned("==", y, t(0))
    if t.kind == "u":
        safe = b.select(is_zero, t(1), y)
        quotient, rest = b.udiv(x, safe), b.urem(x, safe)
    else:
        is_minus = b.icmp_unsigned("==", y, t(-1))  # the lowest number by −1 overflows
        safe = b.select(b.or_(is_zero, is_minus), t(1), y)
        quotient, rest = b.sdiv(x, safe), b.srem(x, safe)
        signs_differ = b.icmp_signed("<", b.xor(rest, safe), t(0))
        down = b.and_(b.icmp_unsigned("!=", rest, t(0)), signs_differ)
        quotient = b.select(down, b.sub(quotient, t(1)), quotient)
        quotient = b.select(is_minus, b.sub(t(0), x), quotient)
        rest = b.select(down, b.add(rest, safe), rest)
    return b.select(is_zero, t(0), quotient), b.select(is_zero, t(0), rest)


def _divide_floats(b: Any, t: Scalar, x: Any, y: Any) -> tuple[Any, Any]:
    """By way of the exact remainder, as NumPy does it; a quotient of or by an infinity is x / y."""
    rest = libdevice(b, "fmod", t, x, y)
    has_rest = b.fcmp_unordered("!=", rest, t(0))
    signs_differ = b.xor(b.fcmp_ordered("<", y, t(0)), b.fcmp_ordered("<", rest, t(0)))
    down = b.and_(has_rest, signs_differ)
    quotient = b.fdiv(b.fsub(x, rest), y)
    quotient = b.select(down, b.fsub(quotient, t(1)), quotient)
    floor = libdevice(b, "floor", t, quotient)
    nearer = b.fcmp_ordered(">", b.fsub(quotient, floor), t(0.5))
    floor = b.select(nearer, b.fadd(floor, t(1)), floor)
    plain = b.fdiv(x, y)
    is_zero = b.fcmp_ordered("==", quotient, t(0))
    quotient = b.select(is_zero, libdevice(b, "copysign", t, t(0), plain), floor)
    special = b.fcmp_ordered("==", y, t(0))
    for number in (x, y):
        size = libdevice(b, "fabs", t, number)
        special = b.or_(special, b.fcmp_ordered("==", size, t(float("inf"))))
    quotient = b.select(special, plain, quotient)
    rest = b.select(down, b.fadd(rest, y), rest)
    return quotient, b.select(has_rest, rest, libdevice(b, "copysign", t, t(0), y))


def _extreme(b: Any, t: Scalar, x: Any, y: Any, sign: str) -> Any:
    if t.is_float:
        is_better = b.fcmp_ordered(sign, x, y)
        return b.select(b.or_(is_better, b.fcmp_unordered("uno", x, x)), x, y)
    compare = b.icmp_signed if t.kind == "i" else b.icmp_unsigned
    return b.select(compare(sign, x, y), x, y)


def _absolute(b: Any, t: Scalar, x: Any) -> Any:
    if t.is_float:
        return libdevice(b, "fabs", t, x)
    return x if t.kind != "i" else b.select(b.icmp_signed("<", x, t(0)), b.sub(t(0), x), x)


def _sign(b: Any, t: Scalar, x: Any) -> Any:
    if t.is_float:
        positive, negative = b.fcmp_ordered(">", x, t(0)), b.fcmp_ordered("<", x, t(0))
        rest = b.select(b.fcmp_unordered("uno", x, x), x, t(0))
        return b.select(positive, t(1), b.select(negative, t(-1), rest))
    is_zero = b.icmp_unsigned("==", x, t(0))
    if t.kind == "u":
        return b.select(is_zero, t(0), t(1))
    return b.select(is_zero, t(0), b.select(b.icmp_signed("<", x, t(0)), t(-1), t(1)))


def _sigmoid(b: Any, t: Scalar, x: Any) -> Any:
    e = libdevice(b, "exp", t, b.fsub(t(-0.0), libdevice(b, "fabs", t, x)))
    top = b.select(b.fcmp_ordered(">=", x, t(0)), t(1), e)
    return b.fdiv(top, b.fadd(t(1), e))


def _power(b: Any, t: Scalar, x: Any, y: Any) -> Any:
    """Of integers a loop over the exponent's bits; of negative exponents only ±1 keep anything."""
    if t.is_float:
        return libdevice(b, "pow", t, x, y)
    negative = b.icmp_signed("<", y, t(0)) if t.kind == "i" else ir.Constant(ir.IntType(1), 0)
    exponent = b.select(negative, b.and_(y, t(1)), y)
    before = b.block
    loop, end = b.append_basic_block("power"), b.append_basic_block("power_end")
    b.branch(loop)
    b.position_at_end(loop)
    result, base, rest = (b.phi(t.llvm) for _ in range(3))
    is_odd = b.icmp_unsigned("!=", b.and_(rest, t(1)), t(0))
    product = b.select(is_odd, b.mul(result, base), result)
    later = product, b.mul(base, base), b.lshr(rest, t(1))
    for phi, first, following in zip((result, base, rest), (t(1), x, exponent), later, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(following, loop)
    b.cbranch(b.icmp_unsigned("!=", later[2], t(0)), loop, end)
    b.position_at_end(end)
    is_unit = b.icmp_unsigned("==", x, t(1))
    if t.kind == "i":
        is_unit = b.or_(is_unit, b.icmp_unsigned("==", x, t(-1)))
    return b.select(b.and_(negative, b.not_(is_unit)), t(0), product)


def _shift(b: Any, t: Scalar, x: Any, count: Any, *, left: bool) -> Any:
    """By a count outside of [0, bits) every bit goes; to the right the sign fills up."""
    inside = b.icmp_unsigned("<", count, t(t.bits))
    if not left and t.kind == "i":
        return b.ashr(x, b.select(inside, count, t(t.bits - 1)))
    moved = (b.shl if left else b.lshr)(x, b.select(inside, count, t(0)))
    return b.select(inside, moved, t(0))


def _sign_bit(b: Any, t: Scalar, x: Any) -> Any:
    word = ir.IntType(t.bits)
    return b.icmp_signed("<", b.bitcast(x, word), ir.Constant(word, 0))


def _is_infinite(b: Any, t: Scalar, x: Any) -> Any:
    return b.fcmp_ordered("==", libdevice(b, "fabs", t, x), t(float("inf")))


def _is_finite(b: Any, t: Scalar, x: Any) -> Any:
    return b.fcmp_ordered("<", libdevice(b, "fabs", t, x), t(float("inf")))


def clamp_index(b: Any, value: Scalar, x: Any, extent: Any) -> Any:
    i64 = ir.Constant(_I64, 0), ir.Constant(_I64, 1)
    if value.bits < 64:
        x = (b.sext if value.kind == "i" else b.zext)(x, _I64)
    compare = b.icmp_unsigned if value.kind == "u" else b.icmp_signed
    last = b.sub(extent, i64[1])
    x = b.select(compare("<", x, last), x, last)
    return b.select(b.icmp_signed("<", x, i64[0]), i64[0], x)


def _normal_quantile(b: Any, t: Scalar, x: Any) -> Any:
    """The CPU's formula: with libdevice's, a stream of numbers would have other bits."""
    return maths.normal_quantile(Lanes(b, x)).value


def philox_word(b: Any, counter: Any, key0: Any, key1: Any, stream: Any, word: Any) -> Any:
    def halves(x: Any) -> tuple[Any, Any]:
        return b.trunc(b.lshr(x, ir.Constant(_I64, 32)), _I32), b.trunc(x, _I32)

    high, low = halves(counter)
    words = [low, high, stream, ir.Constant(_I32, 0)]
    keys = [key0, key1]
    for _ in range(10):
        products = [
            halves(b.mul(b.zext(word, _I64), ir.Constant(_I64, multiplier)))
            for word, multiplier in zip(words[::2], PHILOX_MULTIPLIERS, strict=True)
        ]
        (p_high, p_low), (q_high, q_low) = products
        first = b.xor(b.xor(q_high, words[1]), keys[0])
        third = b.xor(b.xor(p_high, words[3]), keys[1])
        words = [first, q_low, third, p_low]
        keys = [
            b.add(key, ir.Constant(_I32, step))
            for key, step in zip(keys, PHILOX_STEPS, strict=True)
        ]
    chosen = words[0]
    for number in (1, 2, 3):
        is_it = b.icmp_unsigned("==", word, ir.Constant(_I32, number))
        chosen = b.select(is_it, words[number], chosen)
    return chosen


def _gated(b: Any, t: Scalar, x: Any, shut: Any, value: Any) -> Any:
    """`value`, and 0 where x is 0 or `shut` holds."""
    return b.select(b.or_(b.fcmp_ordered("==", x, t(0)), shut), t(0), value)


def _named(symbol: str) -> Callable[..., Any]:
    return lambda b, t, x: libdevice(b, symbol, t, x)


# --- as Numba's names ---------------------------------------------------------------------------

SAME: dict[str, Callable[..., Any]] = {  # operands and result of one type
    "floor_divide": lambda b, t, x, y: _divide(b, t, x, y)[0],
    "remainder": lambda b, t, x, y: _divide(b, t, x, y)[1],
    "maximum": lambda b, t, x, y: _extreme(b, t, x, y, ">"),
    "minimum": lambda b, t, x, y: _extreme(b, t, x, y, "<"),
    "power": lambda b, t, x, y: _power(b, t, x, y),
    "left_shift": lambda b, t, x, y: _shift(b, t, x, y, left=True),
    "right_shift": lambda b, t, x, y: _shift(b, t, x, y, left=False),
    "copysign": lambda b, t, x, y: libdevice(b, "copysign", t, x, y),
    "nextafter": lambda b, t, x, y: libdevice(b, "nextafter", t, x, y),
    "hypot": lambda b, t, x, y: libdevice(b, "hypot", t, x, y),
    "atan2": lambda b, t, x, y: libdevice(b, "atan2", t, x, y),
    "fma": lambda b, t, x, y, z: libdevice(b, "fma", t, x, y, z),
    "gated_multiply": lambda b, t, x, y: _gated(
        b, t, x, b.fcmp_ordered("==", y, t(0)), b.fmul(x, y)
    ),
    "gated_divide": lambda b, t, x, y: _gated(b, t, x, _is_infinite(b, t, y), b.fdiv(x, y)),
    "quotient": lambda b, t, x, y: b.udiv(x, y),
    "modulus": lambda b, t, x, y: b.urem(x, y),
    "invert": lambda b, t, x: b.not_(x),
    "absolute": _absolute,
    "sign": _sign,
    "sigmoid": _sigmoid,
    "normal_quantile": _normal_quantile,
    "rsqrt": lambda b, t, x: b.fdiv(t(1), libdevice(b, "sqrt", t, x)),
    **{name: _named(symbol) for name, symbol in FLOAT_FUNCTIONS.items()},
}

TESTS: dict[str, Callable[..., Any]] = {  # of one float, a bool
    "signbit": _sign_bit,
    "isnan": lambda b, t, x: b.fcmp_unordered("uno", x, x),
    "isinf": _is_infinite,
    "isfinite": _is_finite,
}


def device_vocabulary(extending: Any, types: Any, *, narrow: bool) -> Vocabulary:
    """The vocabulary as Numba intrinsics.

    extending, types: ``numba.cuda.extending`` and ``numba.cuda.types``.  narrow: indices are
    int32, not int64.
    """
    made: Vocabulary = {"nan": float("nan"), "inf": float("inf")}

    def plain(numba_type: Any) -> Any:
        return types.unliteral(numba_type)

    def same(name: str, emit: Callable[..., Any], result: Any = None) -> Any:
        """An intrinsic whose operands all take the type of the first."""

        def sign(first: Any, count: int) -> tuple[Any, Any]:
            own = plain(first)
            scalar = Scalar.of(own, types)

            def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                return emit(builder, scalar, *values)

            return (result or own)(*[own] * count), code

        return _intrinsic(extending, name, emit.__code__.co_argcount, sign)

    for name, emit in SAME.items():
        made[name] = same(name, emit)
    for name, emit in TESTS.items():
        made[name] = same(name, emit, types.boolean)

    def cast(name: str, target: Any) -> Any:
        def typed(typing_context: Any, x: Any) -> Any:
            source = plain(x)
            pair = Scalar.of(source, types), Scalar.of(target, types)

            def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                return convert(builder, *pair, values[0])

            return target(source), code

        typed.__name__ = name
        return extending.intrinsic(typed)

    def halves(dtype: str) -> None:
        def rounded(typing_context: Any, x: Any) -> Any:
            source = plain(x)
            scalar = Scalar.of(source, types)
            return types.uint16(source), lambda c, b, s, v: to_half(b, dtype, scalar, v[0])

        def exact(typing_context: Any, bits: Any) -> Any:
            return types.float32(types.uint16), lambda c, b, s, v: from_half(b, dtype, v[0])

        for name, function in ((dtype, rounded), (f"from_{dtype}", exact)):
            function.__name__ = name
            made[name] = extending.intrinsic(function)

    for dtype in ALL:
        if dtype in HALVES:
            halves(dtype.short)
        elif dtype.kind == "b":
            made["boolean"] = cast("boolean", types.boolean)
        else:
            made[dtype.short] = cast(dtype.short, getattr(types, dtype.name))
            made[dtype.name] = getattr(types, dtype.name)
    made["index"] = cast("index", types.int32 if narrow else types.int64)

    @extending.intrinsic
    def where(typing_context: Any, condition: Any, x: Any, y: Any) -> Any:
        own = plain(x)
        return own(types.boolean, own, own), lambda c, b, s, values: b.select(*values)

    @extending.intrinsic
    def word(typing_context: Any, x: Any) -> Any:
        own = plain(x)
        scalar = Scalar.of(own, types)

        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            if not scalar.is_float:
                return convert(builder, scalar, Scalar("i", 64), values[0])
            wide = convert(builder, scalar, Scalar("f", 64), values[0])
            return builder.bitcast(wide, ir.IntType(64))

        return types.int64(own), code

    @extending.intrinsic
    def clamp(typing_context: Any, value: Any, extent: Any) -> Any:
        own = plain(value)
        scalar = Scalar.of(own, types)
        return types.int64(own, types.int64), lambda c, b, s, values: clamp_index(
            b, scalar, *values
        )

    @extending.intrinsic
    def philox(
        typing_context: Any, counter: Any, key0: Any, key1: Any, stream: Any, word: Any
    ) -> Any:
        own = types.uint32
        code = lambda c, b, s, values: philox_word(b, *values)  # noqa: E731
        return own(types.int64, own, own, own, own), code

    return {**made, "where": where, "word": word, "clamp": clamp, "philox": philox}


def _intrinsic(extending: Any, name: str, arguments: int, sign: Callable[..., Any]) -> Any:
    """Numba counts the parameters of the function that it is given."""
    one = lambda context, x: sign(x, 1)  # noqa: E731
    two = lambda context, x, y: sign(x, 2)  # noqa: E731
    three = lambda context, x, y, z: sign(x, 3)  # noqa: E731
    count = arguments - 2  # builder and type
    function = {1: one, 2: two, 3: three}[count]
    function.__name__ = name
    return extending.intrinsic(function)
