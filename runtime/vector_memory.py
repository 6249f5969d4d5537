# pyright: basic
"""Loads and stores of vectors, masks and reductions, emitted as LLVM IR.

Lanes that a mask leaves out never touch memory and read as 0, so that the tail of an array needs no
padding and no scalar loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llvmlite import ir

from ..ir.units import CACHED
from . import native
from .building import number, transposed, undefined, zeros
from .conversion import item_size, memory_type
from .lanes import Lanes, constant, declare, integer_type, lane_numbers, mangled, select

POINTER = ir.PointerType()
INT64 = integer_type(64)
LINE = 64  # bytes, and the most that a register holds


def opaque(builder: Any, pointer: Any) -> Any:
    """The pointer without its pointee."""
    return builder.bitcast(pointer, POINTER)


def element(builder: Any, pointer: Any, index: Any, dtype: str) -> Any:
    """The address of one element."""
    return builder.gep(opaque(builder, pointer), [index], source_etype=memory_type(dtype))


def elements(builder: Any, pointer: Any, indices: Any, dtype: str) -> Any:
    """The addresses of as many elements as there are indices."""
    result = builder.gep(opaque(builder, pointer), [indices], source_etype=memory_type(dtype))
    # llvmlite has no notion of a gep over a vector of indices; LLVM does.
    result.type = ir.VectorType(POINTER, indices.type.count)
    return result


def steps(builder: Any, stride: Any, count: int) -> Any:
    """lane·stride, a vector of int64."""
    numbers = lane_numbers(count, 64)
    return (Lanes(builder, stride).splat(count) * Lanes(builder, numbers)).value


def from_memory(value: Lanes, dtype: str) -> Lanes:
    return value != 0 if dtype == "bool" else value


def to_memory(value: Lanes, dtype: str) -> Lanes:
    return value.cast("zext", memory_type(dtype)) if dtype == "bool" else value


def _masked(builder: Any, operation: str, address: Any, value: Any, mask: Any, dtype: str) -> Any:
    """Call of llvm.masked.<operation>; these took the alignment as an argument until LLVM 22, which
    still reads it."""
    vector = ir.VectorType(memory_type(dtype), mask.type.count)
    place = f"v{mask.type.count}p0" if isinstance(address.type, ir.VectorType) else "p0"
    name = f"llvm.masked.{operation}.{mangled(vector)}.{place}"
    align = ir.Constant(integer_type(32), item_size(dtype))
    if value is None:
        arguments = [address, align, mask, constant(vector, 0)]
        result = vector
    else:
        arguments = [value, address, align, mask]
        result = ir.VoidType()
    callee = declare(builder.module, name, result, [x.type for x in arguments])
    return builder.call(callee, arguments)


def load(builder: Any, pointer: Any, index: Any, mask: Any, dtype: str) -> Lanes:
    """Neighbouring elements from `index` on."""
    address = element(builder, pointer, index, dtype)
    return from_memory(Lanes(builder, _masked(builder, "load", address, None, mask, dtype)), dtype)


def whole(builder: Any, mask: Any) -> Any:
    """Whether the mask leaves no lane out."""
    bits = builder.bitcast(mask, ir.IntType(mask.type.count))
    return builder.icmp_signed("==", bits, ir.Constant(bits.type, -1))


def load_far(builder: Any, pointer: Any, index: Any, mask: Any, dtype: str) -> Lanes:
    """`load`, of what caches may not hold: a plain one where the mask leaves no lane out.

    Masked loads and stores that miss the caches wait for one another on AMD's Zen 5, whatever the
    mask is: at a quarter of the speed.
    """
    address = element(builder, pointer, index, dtype)
    vector = ir.VectorType(memory_type(dtype), mask.type.count)
    with builder.if_else(whole(builder, mask)) as (yes, no):
        with yes:
            plain = builder.load(address, align=item_size(dtype), typ=vector), builder.block
        with no:
            masked = _masked(builder, "load", address, None, mask, dtype), builder.block
    found = builder.phi(vector)
    for value, block in (plain, masked):
        found.add_incoming(value, block)
    return from_memory(Lanes(builder, found), dtype)


def gather(builder: Any, pointer: Any, indices: Any, mask: Any, dtype: str) -> Lanes:
    """An element for each index."""
    address = elements(builder, pointer, indices, dtype)
    value = _masked(builder, "gather", address, None, mask, dtype)
    return from_memory(Lanes(builder, value), dtype)


def load_strided(
    builder: Any, pointer: Any, index: Any, stride: Any, mask: Any, dtype: str
) -> Lanes:
    """Elements index + lane·stride."""
    first = element(builder, pointer, index, dtype)
    return gather(builder, first, steps(builder, stride, mask.type.count), mask, dtype)


def broadcast(builder: Any, pointer: Any, index: Any, dtype: str, count: int) -> Lanes:
    """One element in every lane."""
    address = element(builder, pointer, index, dtype)
    value = builder.load(address, align=item_size(dtype), typ=memory_type(dtype))
    return from_memory(Lanes(builder, value), dtype).splat(count)


def store(builder: Any, pointer: Any, index: Any, value: Any, mask: Any, dtype: str) -> None:
    """Into neighbouring elements."""
    address = element(builder, pointer, index, dtype)
    data = to_memory(Lanes(builder, value), dtype).value
    _masked(builder, "store", address, data, mask, dtype)


def store_far(builder: Any, pointer: Any, index: Any, value: Any, mask: Any, dtype: str) -> None:
    """`store`, to where caches may not hold it; see `load_far`."""
    address = element(builder, pointer, index, dtype)
    data = to_memory(Lanes(builder, value), dtype).value
    with builder.if_else(whole(builder, mask)) as (yes, no):
        with yes:
            place = builder.bitcast(address, data.type.as_pointer())
            builder.store(data, place, align=item_size(dtype))
        with no:
            _masked(builder, "store", address, data, mask, dtype)


def store_past(
    builder: Any, pointer: Any, index: Any, value: Any, mask: Any, past: Any, dtype: str
) -> None:
    """`store_far`; where `past` holds, which only full masks may, and the address is a multiple of
    what a register holds, lines are not read first and do not stay in the caches."""
    address = element(builder, pointer, index, dtype)
    data = to_memory(Lanes(builder, value), dtype).value
    size = min(item_size(dtype) * mask.type.count, LINE)
    low = builder.and_(builder.ptrtoint(address, INT64), ir.Constant(INT64, size - 1))
    fits = builder.icmp_signed("==", low, ir.Constant(INT64, 0))
    with builder.if_else(builder.and_(past, fits)) as (yes, no):
        with yes:
            place = builder.inttoptr(builder.ptrtoint(address, INT64), data.type.as_pointer())
            instruction = builder.store(data, place, align=size)
            hint = builder.module.add_metadata([ir.Constant(integer_type(32), 1)])
            instruction.set_metadata("nontemporal", hint)
        with no:
            store_far(builder, pointer, index, value, mask, dtype)


def is_past(builder: Any, size: Any, output: Any, *inputs: Any) -> Any:
    """1 where a launch moves so many bytes (`size`) that caches do not hold them and `output` is
    none of `inputs`, which would have its lines in the caches anyway; else 0."""
    past = builder.icmp_signed(">=", size, ir.Constant(INT64, CACHED))
    own = builder.ptrtoint(output, INT64)
    for pointer in inputs:
        other = builder.icmp_signed("!=", builder.ptrtoint(pointer, INT64), own)
        past = builder.and_(past, other)
    return builder.zext(past, INT64)


def fence(builder: Any, past: Any) -> None:
    """What was stored past the caches is there before whatever is stored from now on."""
    with builder.if_then(builder.icmp_signed("!=", past, ir.Constant(INT64, 0)), likely=False):
        if native.host().triple.startswith("x86_64"):
            callee = declare(builder.module, "llvm.x86.sse.sfence", ir.VoidType(), [])
            builder.call(callee, [])
        else:
            builder.fence("seq_cst")


def scatter(builder: Any, pointer: Any, indices: Any, value: Any, mask: Any, dtype: str) -> None:
    """Into an element for each index; of equal indices the last lane stays."""
    address = elements(builder, pointer, indices, dtype)
    data = to_memory(Lanes(builder, value), dtype).value
    _masked(builder, "scatter", address, data, mask, dtype)


def store_strided(
    builder: Any, pointer: Any, index: Any, stride: Any, value: Any, mask: Any, dtype: str
) -> None:
    """Into elements index + lane·stride."""
    first = element(builder, pointer, index, dtype)
    scatter(builder, first, steps(builder, stride, mask.type.count), value, mask, dtype)


def rows_into(
    count: int, builder: Any, panel: Any, source: Any, row: Any, length: Any, rows: Any, dtype: str
) -> None:
    """panel[i·count + lane] = source[lane·row + i] for lane < rows and i < length, a constant."""
    for first in range(0, length.constant, count):
        wide = min(length.constant - first, count)
        block = [
            _masked(builder, "load", place, None, mask, dtype)
            for place, mask in _rows(builder, source, row, first, wide, rows, dtype, count)
        ]
        for i, value in enumerate(transposed(builder, block)[:wide]):
            place = _vector_at(builder, panel, (first + i) * count, value.type, dtype)
            builder.store(value, place, align=item_size(dtype))


def rows_out(
    count: int, builder: Any, panel: Any, target: Any, row: Any, length: Any, rows: Any, dtype: str
) -> None:
    """target[lane·row + i] = panel[i·count + lane]; as `rows_into`, the other way."""
    vector = ir.VectorType(memory_type(dtype), count)
    for first in range(0, length.constant, count):
        wide = min(length.constant - first, count)
        block = [undefined(vector)] * count
        for i in range(wide):
            place = _vector_at(builder, panel, (first + i) * count, vector, dtype)
            block[i] = builder.load(place, align=item_size(dtype), typ=vector)
        places = _rows(builder, target, row, first, wide, rows, dtype, count)
        for value, (place, mask) in zip(transposed(builder, block), places, strict=True):
            _masked(builder, "store", place, value, mask, dtype)


def _rows(
    builder: Any,
    pointer: Any,
    row: Any,
    first: int,
    wide: int,
    rows: Any,
    dtype: str,
    count: int,
) -> Iterator[tuple[Any, Any]]:
    """Where the row of each lane stands from its entry `first` on, and the mask of the `wide`
    entries that are there: none behind the last of `rows`."""
    word = integer_type(count)
    there, nothing = ir.Constant(word, (1 << wide) - 1), zeros(word)
    for lane in range(count):
        index = builder.add(builder.mul(row, number(lane)), number(first))
        inside = builder.icmp_signed("<", number(lane), rows)
        bits = builder.select(inside, there, nothing)
        mask = builder.bitcast(bits, ir.VectorType(integer_type(1), count))
        yield element(builder, pointer, index, dtype), mask


def _vector_at(builder: Any, pointer: Any, index: int, vector: Any, dtype: str) -> Any:
    place = element(builder, pointer, number(index), dtype)
    return builder.bitcast(place, vector.as_pointer())


def store_one(builder: Any, pointer: Any, index: Any, value: Any, dtype: str) -> None:
    """Lane 0 into one element."""
    address = element(builder, pointer, index, dtype)
    data = to_memory(Lanes(builder, value).extract(0), dtype).value
    builder.store(data, address, align=item_size(dtype))


def lanes_below(builder: Any, limit: Any, count: int) -> Lanes:
    """The mask lane < limit, for any int64."""
    scalar = Lanes(builder, limit)
    scalar = select(scalar < 0, 0, scalar)
    scalar = select(scalar > count, count, scalar)
    if native.host().lanes == 16 and 16 <= count <= 64:  # AVX-512, where masks have registers
        # A comparison LLVM would move into the loop that stands under the mask.
        below = scalar.constant(-1).shift_right_logical(64 - scalar)
        bits = select(scalar == 0, scalar.constant(0), below)
        bits = bits.cast("trunc", integer_type(count)) if count < 64 else bits
        return bits.cast("bitcast", ir.VectorType(integer_type(1), count))
    numbers = Lanes(builder, lane_numbers(count, 32))
    return numbers < scalar.cast("trunc", integer_type(32)).splat(count)


def reduce(value: Lanes, combine: Callable[[Lanes, Lanes], Lanes]) -> Lanes:
    """All lanes combined, in all lanes: lane i with i + half, until one is left."""
    count = value.type.count
    result = value
    half = count // 2
    while half >= 4:
        low: Sequence[int] = range(half)
        result = combine(result.shuffle(low), result.shuffle([half + lane for lane in low]))
        half //= 2
    while half:  # the rest of one register: lanes of no use beside the others cost nothing
        others = [lane ^ half for lane in range(result.type.count)]
        result = combine(result, result.shuffle(others))
        half //= 2
    return result.shuffle([0] * count)


def fail(builder: Any, status: Any, site: Any, indices: Any, bad: Any, any_bad: Any) -> None:
    """If a lane is bad and nothing failed before: its index to status[1], the site to status[0]."""
    with builder.if_then(any_bad, likely=False):
        place = opaque(builder, status)
        before = builder.load(place, align=8, typ=INT64)
        with builder.if_then(builder.icmp_signed("==", before, ir.Constant(INT64, 0))):
            count = bad.type.count
            word = integer_type(count)
            bits = builder.bitcast(bad, word)
            lane = builder.cttz(bits, ir.Constant(integer_type(1), 0))
            lane = builder.zext(lane, integer_type(32)) if count < 32 else lane
            index = builder.extract_element(indices, lane)
            second = builder.gep(place, [ir.Constant(INT64, 1)], source_etype=INT64)
            builder.store(index, second, align=8)
            builder.store(site, place, align=8)
