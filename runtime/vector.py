# pyright: basic
"""Vectors as values of Numba: what the text of a CPU kernel may say.

A kernel is Python text in which every number with lanes is a `Vector` of one dtype; `vocabulary`
gives the names it may use. Lanes, masks and the order of reductions are thereby ours and not an
optimiser's choice. All functions emit LLVM IR directly, which keeps compiling short: Numba types
one call for each, and compiles no Python of ours.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types

from ..ir.units import INSIDE
from . import vector_memory as memory
from . import vector_operators as operators
from .building import number, zeros
from .calls import Emit, Named, Rule
from .conversion import FLOATS, HALVES, STORED, convert
from .elements import DTYPE_OF_SCALAR, SCALARS, Vector, splat_scalar, vector
from .lanes import Lanes, any_lane, constant, integer_type
from .scalars import operator_callee

INT64 = types.int64


def is_scalar(type_: Any) -> bool:
    return isinstance(type_, types.Number | types.Boolean)


def common_vector(arguments: Sequence[Any]) -> Vector | None:
    """The one vector type among arguments which are else scalars."""
    found = {argument for argument in arguments if isinstance(argument, Vector)}
    if len(found) != 1 or not all(x in found or is_scalar(x) for x in arguments):
        return None
    return found.pop()


class VectorFunction(Named):
    """A name of the vocabulary whose emitter may give its result as `Lanes`."""

    def __init__(self, name: str, rule: Rule, emit: Emit) -> None:
        def value(*arguments: Any) -> Any:
            result = emit(*arguments)
            return result.value if isinstance(result, Lanes) else result

        super().__init__(name, rule, value)


def lane_wise(
    accepts: Sequence[str], result: str | Mapping[str, str] | None = None
) -> Callable[..., Any]:
    """The rule of an operation on vectors of one dtype, with scalars splatted.

    result: its dtype, if it is another; or of each of those accepted its own.
    """

    def rule(*arguments: Any) -> Any:
        common = common_vector(arguments)
        if common is None or common.dtype not in accepts:
            return None
        dtype = result if result is None or isinstance(result, str) else result[common.dtype]
        return vector(dtype or common.dtype, common.lanes), [common] * len(arguments)

    return rule


def _operator_meaning(count: int, row: operators.Row) -> tuple[Rule, Emit]:
    accepts, result, emit = row
    of_lanes = lane_wise(accepts, result)

    def rule(*arguments: Any) -> Any:
        return len(arguments) == count and of_lanes(*arguments)

    def lower(builder: Any, given: Any, *values: Any) -> Any:
        return emit(given[0].dtype, *(Lanes(builder, x) for x in values)).value

    return rule, lower


for _function, _row in operators.OPERATORS.items():
    operator_callee(_function).add(*_operator_meaning(operators.arity(_function), _row))


def pointer_dtype(type_: Any) -> str | None:
    return DTYPE_OF_SCALAR.get(type_.dtype) if isinstance(type_, types.CPointer) else None


def pointer_type(dtype: str) -> Any:
    return types.CPointer(SCALARS[dtype])


def _element(builder: Any, _: Any, pointer: Any, index: Any) -> Any:
    address = memory.element(builder, pointer, index, "i64")
    return builder.load(address, align=8, typ=integer_type(64))


operator_callee(operator.getitem).add(  # `dims[number]`
    lambda pointer, index: (
        (pointer_dtype(pointer) == "i64" and index == INT64) and (INT64, [pointer, INT64])
    ),
    _element,
)


def _from_pointer(arguments: Callable[[str], Any], loads: bool) -> Rule:
    """The rule of a memory access, from the types of the arguments behind the pointer."""

    def rule(pointer: Any, *rest: Any) -> Any:
        dtype = pointer_dtype(pointer)
        expected = [] if dtype is None else arguments(dtype)
        if dtype is None or len(rest) != len(expected):
            return None
        for actual, wanted in zip(rest, expected, strict=True):
            if not (actual == wanted or is_scalar(actual)):
                return None
        value = expected[-1]
        result = vector(dtype, value.lanes) if loads else types.void
        return result, [pointer, *expected]

    return rule


def _memory_functions(count: int) -> dict[str, VectorFunction]:
    mask = vector("bool", count)
    indices = vector("i64", count)

    def kind(call_types: Any) -> str:
        return pointer_dtype(call_types[0]) or ""

    def data(dtype: str) -> Vector:
        return vector(dtype, count)

    def one_element(pointer: Any, index: Any) -> Any:
        dtype = pointer_dtype(pointer)
        return dtype and is_scalar(index) and (data(dtype), [pointer, INT64])

    def moved(pointer: Any, index: Any) -> Any:
        return pointer_dtype(pointer) and is_scalar(index) and (pointer, [pointer, INT64])

    def rows(dtype: str) -> Any:
        return [pointer_type(dtype), INT64, INT64, INT64]

    loads: dict[str, tuple[Callable[[str], Any], Callable[..., Any]]] = {
        "load": (lambda _: [INT64, mask], memory.load),
        "load_far": (lambda _: [INT64, mask], memory.load_far),
        "load_strided": (lambda _: [INT64, INT64, mask], memory.load_strided),
        "gather": (lambda _: [indices, mask], memory.gather),
    }
    stores: dict[str, tuple[Callable[[str], Any], Callable[..., Any]]] = {
        "store": (lambda d: [INT64, data(d), mask], memory.store),
        "store_far": (lambda d: [INT64, data(d), mask], memory.store_far),
        "store_strided": (lambda d: [INT64, INT64, data(d), mask], memory.store_strided),
        "scatter": (lambda d: [indices, data(d), mask], memory.scatter),
        "store_past": (lambda d: [INT64, data(d), mask, types.boolean], memory.store_past),
        "store_one": (lambda d: [INT64, data(d)], memory.store_one),
        "rows_into": (rows, functools.partial(memory.rows_into, count)),
        "rows_out": (rows, functools.partial(memory.rows_out, count)),
    }
    functions = {
        name: VectorFunction(
            name,
            _from_pointer(arguments, name in loads),
            lambda builder, given, *values, emit=emit: emit(builder, *values, kind(given)),
        )
        for name, (arguments, emit) in (loads | stores).items()
    }
    functions["broadcast"] = VectorFunction(
        "broadcast",
        one_element,
        lambda b, given, p, i: memory.broadcast(b, p, i, kind(given), count),
    )
    functions["offset"] = VectorFunction(
        "offset",
        moved,
        lambda b, given, p, n: b.bitcast(memory.element(b, p, n, kind(given)), p.type),
    )
    return functions


def _past_functions() -> dict[str, VectorFunction]:
    """Of stores that go past the caches: whether they shall, and waiting for them."""

    def rule(size: Any, *pointers: Any) -> Any:
        fits = is_scalar(size) and pointers and all(pointer_dtype(p) for p in pointers)
        return fits and (INT64, [INT64, *pointers])

    return {
        "is_past": VectorFunction(
            "is_past", rule, lambda builder, _, *values: memory.is_past(builder, *values)
        ),
        "fence": VectorFunction(
            "fence",
            lambda past: past == INT64 and (types.void, [INT64]),
            lambda builder, _, past: memory.fence(builder, past),
        ),
    }


def _pointer_function(dtype: str) -> VectorFunction:
    target = pointer_type(dtype)

    def rule(buffers: Any, number: Any) -> Any:
        return pointer_dtype(buffers) == "i64" and (target, [buffers, INT64])

    def emit(builder: Any, _: Any, buffers: Any, number: Any) -> Any:
        address = _element(builder, _, buffers, number)
        return builder.inttoptr(address, memory.memory_type(dtype).as_pointer())

    return VectorFunction(f"{dtype}_pointer", rule, emit)


def _inside_function(dtype: str) -> VectorFunction:
    """Memory of this call's own, on the stack, the same each time: so many elements, a constant,
    or INSIDE bytes."""
    pointer, element = pointer_type(dtype), memory.memory_type(dtype)

    def rule(*size: Any) -> Any:
        return len(size) < 2 and all(map(is_scalar, size)) and (pointer, [INT64] * len(size))

    def emit(builder: Any, _: Any, *size: Any) -> Any:
        count = size[0].constant if size else INSIDE // memory.item_size(dtype)
        kind = ir.ArrayType(element, count)
        with builder.goto_entry_block():
            place = builder.alloca(kind, name="inside")
            place.align = 64
            return builder.bitcast(place, element.as_pointer())

    return VectorFunction(f"{dtype}_inside", rule, emit)


def _cast_function(name: str, dtype: str, count: int) -> VectorFunction:
    target = vector(dtype, count)

    def rule(value: Any) -> Any:
        return (isinstance(value, Vector) or is_scalar(value)) and (target, [value])

    def emit(builder: Any, given: Any, value: Any) -> Any:
        if isinstance(given[0], Vector):
            return convert(Lanes(builder, value), given[0].dtype, dtype)
        return splat_scalar(builder, given[0], target, value)

    return VectorFunction(name, rule, emit)


def _index_functions(count: int) -> dict[str, VectorFunction]:
    mask, indices = vector("bool", count), vector("i64", count)
    status = types.CPointer(INT64)

    def emit_index(builder: Any, _: Any, start: Any, stride: Any) -> Any:
        return Lanes(builder, start).splat(count) + Lanes(
            builder, memory.steps(builder, stride, count)
        )

    def emit_fail(builder: Any, _: Any, place: Any, site: Any, index: Any, bad: Any) -> None:
        memory.fail(builder, place, site, index, bad, any_lane(Lanes(builder, bad)))

    def emit_word(builder: Any, given: Any, value: Any) -> Any:
        dtype = given[0].dtype
        if dtype in FLOATS or dtype in HALVES:
            return convert(Lanes(builder, value), dtype, "f64").as_bits()
        return convert(Lanes(builder, value), dtype, "i64")

    return {
        "word": VectorFunction(
            "word", lambda value: isinstance(value, Vector) and (indices, [value]), emit_word
        ),
        "first_lane": VectorFunction(
            "first_lane",
            lambda value: value == indices and (INT64, [indices]),
            lambda builder, _, value: builder.extract_element(value, number(0)),
        ),
        "lanes": VectorFunction(
            "lanes",
            lambda limit: is_scalar(limit) and (mask, [INT64]),
            lambda builder, _, limit: memory.lanes_below(builder, limit, count),
        ),
        "all_lanes": VectorFunction(
            "all_lanes",
            lambda: (mask, []),
            lambda builder, _: constant(ir.VectorType(integer_type(1), count), 1),
        ),
        "vectors": VectorFunction(  # says how many lanes they have, to who picks the vocabulary
            "vectors", lambda number: is_scalar(number) and (types.void, [INT64]), lambda *_: None
        ),
        "index": VectorFunction(
            "index", lambda start, stride: (indices, [INT64, INT64]), emit_index
        ),
        "fail": VectorFunction(
            "fail",
            lambda place, site, index, bad: (types.void, [status, INT64, indices, mask]),
            emit_fail,
        ),
    }


def _contraction(name: str) -> VectorFunction:
    """The call of a matrix product that is compiled apart; see `tile`.

    The last two arguments, what the sums start from and the stride of its rows, may be left out.
    """
    prefix, _, dtype = name.rpartition("_")
    pointer, table = pointer_type(dtype), pointer_type("i64")
    ways = {
        "": (INT64, INT64),
        "at": (table, table, INT64, INT64),
        "in": (table, table, table, INT64, INT64, INT64, INT64),
    }[prefix]
    right = (pointer, *[INT64] * (2 if prefix else 3))
    order = (pointer, *ways, *right, pointer, INT64, pointer, *[INT64] * 4)

    def rule(*given: Any) -> Any:
        wanted = (*order, pointer, INT64)[: len(given)]
        pairs = zip(wanted, given, strict=False)
        fits = all(want == INT64 or want == got for want, got in pairs)
        return fits and len(given) in (len(order), len(order) + 2) and (types.void, wanted)

    def emit(builder: Any, _: Any, *values: Any) -> None:
        values = tuple(
            memory.opaque(builder, x) if isinstance(x.type, ir.PointerType) else x for x in values
        )
        if len(values) == len(order):
            values = (*values, zeros(values[0].type), number(0))
        callee = memory.declare(
            builder.module, f"gradloom_contract_{name}", ir.VoidType(), [x.type for x in values]
        )
        builder.call(callee, values)

    return VectorFunction(f"contract_{name}", rule, emit)


def _turn(dtype: str) -> VectorFunction:
    """The call of a transposed copy that is compiled apart; see `turn`."""
    pointer = pointer_type(dtype)
    wanted = (pointer, INT64, pointer, INT64, INT64, INT64)

    def rule(*given: Any) -> Any:
        pairs = zip(wanted, given, strict=False)
        fits = all(want == INT64 or want == got for want, got in pairs)
        return fits and len(given) == len(wanted) and (types.void, wanted)

    def emit(builder: Any, _: Any, *values: Any) -> None:
        values = tuple(
            memory.opaque(builder, x) if isinstance(x.type, ir.PointerType) else x for x in values
        )
        name = f"gradloom_contract_turn_{dtype}"
        kinds = [x.type for x in values]
        builder.call(memory.declare(builder.module, name, ir.VoidType(), kinds), values)

    return VectorFunction(f"turn_{dtype}", rule, emit)


def _lane_functions(count: int) -> dict[str, VectorFunction]:
    mask = vector("bool", count)

    def on_lanes(emit: Callable[..., Lanes]) -> Callable[..., Lanes]:
        return lambda builder, given, *values: emit(
            given[-1].dtype, *(Lanes(builder, value) for value in values)
        )

    def where_rule(condition: Any, yes: Any, no: Any) -> Any:
        common = common_vector((yes, no))
        return condition == mask and common and (common, [mask, common, common])

    def philox_rule(*arguments: Any) -> Any:
        word = vector("u32", count)
        return len(arguments) == 5 and (word, [vector("i64", count), word, word, word, word])

    functions = {
        name: VectorFunction(name, lane_wise(accepts, result), on_lanes(emit))
        for name, (accepts, result, emit) in operators.FUNCTIONS.items()
    }
    functions["where"] = VectorFunction("where", where_rule, on_lanes(operators.where))
    functions["philox"] = VectorFunction("philox", philox_rule, on_lanes(operators.philox_word))
    return functions


@functools.cache
def vocabulary(lanes: int) -> dict[str, Any]:
    """The names of kernels with vectors of that many lanes, a power of two."""
    if lanes < 2 or lanes & (lanes - 1):
        raise ValueError(f"a vector has a power of two of lanes, at least 2, not {lanes}")
    names: dict[str, Any] = {}
    for dtype in STORED:
        cast = "boolean" if dtype == "bool" else dtype
        names[cast] = _cast_function(cast, dtype, lanes)
        names[f"{dtype}_pointer"] = _pointer_function(dtype)
        names[f"{dtype}_inside"] = _inside_function(dtype)
    for dtype in (*FLOATS, "i32", "i64"):
        for product in (dtype, f"at_{dtype}", f"in_{dtype}"):
            names[f"contract_{product}"] = _contraction(product)
        names[f"turn_{dtype}"] = _turn(dtype)
    names |= _past_functions()
    names |= _memory_functions(lanes) | _index_functions(lanes) | _lane_functions(lanes)
    return names
