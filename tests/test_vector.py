# pyright: basic
"""The vocabulary of CPU kernels against NumPy: memory, masks, reductions, failures, random bits."""

from __future__ import annotations

import ctypes
import mmap
import warnings
from typing import Any

import numpy as np
import pytest

from gradloom.ir.units import CACHED
from gradloom.runtime import loader
from gradloom.runtime.loader import load_kernel

LANES = 16
# The results (None) and errors of Numba's convention, then ours.
PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 2)
NUMPY = {
    "bool": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
    "f32": np.float32, "f64": np.float64,
}  # fmt: skip
FLOATS = ["f32", "f64"]
DTYPES = list(NUMPY)
PAGE = mmap.PAGESIZE


class Kernel:
    """A kernel from the text of its body, called on arrays or addresses."""

    def __init__(self, body: str, lanes: int = LANES) -> None:
        lines = "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))
        text = f"def kernel(buffers, dims, status, tid, nth):\n{lines}"
        self.function = PROTOTYPE(load_kernel(text, lanes))

    def __call__(self, *buffers: Any, dims: tuple[int, ...] = (), status: Any = None) -> None:
        addresses = [b if isinstance(b, int) else b.ctypes.data for b in buffers]
        table = np.array(addresses, dtype=np.int64)
        sizes = np.array([*dims, 0], dtype=np.int64)
        state = np.zeros(2, dtype=np.int64) if status is None else status
        unused = np.zeros(2, dtype=np.int64)
        arrays = (unused, unused, table, sizes, state)
        self.function(*(array.ctypes.data for array in arrays), 0, 1)


def samples(dtype: str, seed: int = 0) -> np.ndarray:
    """Special values first, then random ones of every size."""
    random = np.random.default_rng(seed)
    if dtype == "bool":
        return random.integers(0, 2, 61).astype(np.bool_)
    if dtype in FLOATS:
        special = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, -2.5, 3.0, 1e-42, -7.0]
        spread = random.standard_normal(80) * 10.0 ** random.uniform(-3, 3, 80)
        return np.concatenate([special, spread]).astype(NUMPY[dtype])
    limits = np.iinfo(NUMPY[dtype])
    special = [0, 1, 2, 3, limits.max, limits.min, limits.max - 1, limits.min + 1]
    special += [-1, -2, 7] if limits.min < 0 else [7]
    wide = random.integers(limits.min, limits.max, 60, NUMPY[dtype], endpoint=True)
    narrow = random.integers(-9 if limits.min < 0 else 0, 10, 20, NUMPY[dtype])
    return np.concatenate([np.array(special, NUMPY[dtype]), wide, narrow])


def same(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal, NaN to NaN, and also in the sign of zeros."""
    expected = np.asarray(expected)
    np.testing.assert_array_equal(actual, expected)
    if expected.dtype.kind == "f":
        zero = expected == 0
        np.testing.assert_array_equal(np.signbit(actual[zero]), np.signbit(expected[zero]))


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """NumPy warns of overflow and division by zero, which are meant here."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@pytest.fixture(scope="module")
def guarded() -> Any:
    """A writable page between two that must not be touched: address of its first byte."""
    if not hasattr(mmap, "PROT_READ"):
        pytest.skip("this system has no mprotect")
    area = mmap.mmap(-1, 3 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert protect(start, PAGE, 0) == 0
    assert protect(start + 2 * PAGE, PAGE, 0) == 0
    yield start + PAGE
    assert protect(start, 3 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE) == 0


def page_view(address: int, dtype: str) -> np.ndarray:
    buffer = (ctypes.c_char * PAGE).from_address(address)
    return np.frombuffer(memoryview(buffer), NUMPY[dtype])


@pytest.mark.parametrize("far", ["", "_far"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_masked_lanes_touch_no_memory(dtype: str, far: str, guarded: int) -> None:
    item = np.dtype(NUMPY[dtype]).itemsize
    lanes_of = "m = lanes(dims[0])"
    contiguous = Kernel(
        f"p = {dtype}_pointer(buffers, 0)\nq = {dtype}_pointer(buffers, 1)\n{lanes_of}\n"
        f"store{far}(q, 0, load{far}(p, 0, m), m)\n"
        f"store{far}(q, 16, load{far}(p, 0, m), all_lanes())\n"
        f"store{far}(p, 0, load{far}(q, 0, m), m)"
    )
    backwards = Kernel(
        f"p = {dtype}_pointer(buffers, 0)\nq = {dtype}_pointer(buffers, 1)\n{lanes_of}\n"
        "store(q, 0, load_strided(p, 0, -1, m), m)\n"
        "store(q, 16, gather(p, index(0, -1), m), all_lanes())\n"
        "store_strided(p, 0, -1, load(q, 0, m), m)\n"
        "scatter(p, index(0, -1), load(q, 0, m), m)"
    )
    page = page_view(guarded, dtype)
    page[:] = samples("i64", 3).astype(NUMPY[dtype])[np.arange(page.size) % 50]
    before = page.copy()
    for count in (0, 1, 5, 15, 16):
        tail, head = page[page.size - count :], page[:count]
        copied = np.zeros(32, NUMPY[dtype])
        contiguous(guarded + PAGE - count * item, copied, dims=(count,))
        same(copied[:count], tail)
        same(copied[count:16], np.zeros(16 - count, NUMPY[dtype]))
        same(copied[16:], np.concatenate([tail, np.zeros(16 - count, NUMPY[dtype])]))
        copied = np.zeros(32, NUMPY[dtype])
        backwards(guarded + max(count - 1, 0) * item, copied, dims=(count,))
        same(copied[:count], head[::-1])
        same(copied[16:], np.concatenate([head[::-1], np.zeros(16 - count, NUMPY[dtype])]))
        same(page, before)


def test_masks() -> None:
    kernel = Kernel("store(bool_pointer(buffers, 0), 0, lanes(dims[0]), all_lanes())")
    for limit in (-(2**63), -1, 0, 1, 7, 16, 17, 2**32, 2**32 + 3, 2**63 - 1):
        result = np.zeros(16, np.bool_)
        kernel(result, dims=(limit,))
        same(result, np.arange(16) < limit)


def test_broadcast_store_one_offset_index() -> None:
    kernel = Kernel(
        "a = f64_pointer(buffers, 0)\nr = f64_pointer(buffers, 1)\nk = i64_pointer(buffers, 2)\n"
        "store(r, 0, broadcast(a, 3), all_lanes())\n"
        "store_one(r, 16, load(offset(a, 2), 0, lanes(4)))\n"
        "store(k, 0, index(5, -3), all_lanes())\n"
        "store_one(bool_pointer(buffers, 3), 0, broadcast(bool_pointer(buffers, 3), 1))"
    )
    a, result, numbers = np.arange(6.0), np.full(18, -1.0), np.zeros(16, np.int64)
    flags = np.array([False, True])
    kernel(a, result, numbers, flags)
    same(result, np.array([3.0] * 16 + [2.0, -1.0]))
    same(numbers, 5 - 3 * np.arange(16))
    assert flags[0]


def test_far_memory_is_accessed_without_masks_that_leave_no_lane_out() -> None:
    """Such accesses wait for one another on some processors, where caches do not have them."""
    text = (
        "def kernel(buffers, dims, status, tid, nth):\n"
        "    p = f32_pointer(buffers, 0)\n"
        "    m = lanes(dims[0])\n"
        "    {store}(p, 0, {load}(p, 16, m), m)\n"
    )
    near, far = (
        loader._lower(text.format(load=f"load{far}", store=f"store{far}"), LANES)[0]
        for far in ("", "_far")
    )
    for access in ("load <16 x float>", "store <16 x float>"):
        assert access in far
        assert access not in near


@pytest.mark.parametrize("dtype", ["i32", "f32", "f64"])
def test_stores_past_the_caches(dtype: str) -> None:
    """At whatever address; what the mask leaves out stays where it is not past."""
    kernel = Kernel(
        f"p = {dtype}_pointer(buffers, 0)\nr = {dtype}_pointer(buffers, 1)\n"
        "m = lanes(dims[1])\nstore_past(r, dims[0], load(p, 0, m), m, dims[2] > 0)\nfence(dims[2])"
    )
    values = np.arange(1, 17).astype(NUMPY[dtype])
    for place in (0, 1, 16, 21, 32):
        for count, past in ((16, 1), (16, 0), (5, 0)):
            result = np.zeros(80, NUMPY[dtype])
            kernel(values, result, dims=(place, count, past))
            expected = np.zeros(80, NUMPY[dtype])
            expected[place : place + count] = values[:count]
            same(result, expected)


def test_what_goes_past_the_caches() -> None:
    """Where there is more than caches hold, and the result is no input as well."""
    kernel = Kernel(
        "p = f32_pointer(buffers, 0)\nq = f32_pointer(buffers, 1)\n"
        "store_one(i64_pointer(buffers, 2), 0, index(is_past(dims[0], p, q), 0))"
    )
    a, b, answer = np.zeros(4, np.float32), np.zeros(4, np.float32), np.zeros(1, np.int64)
    for other, size, wanted in ((b, CACHED, 1), (b, CACHED - 1, 0), (a, CACHED, 0)):
        kernel(a, other, answer, dims=(size,))
        assert answer[0] == wanted


@pytest.mark.parametrize("dtype", DTYPES)
def test_strides_and_indices(dtype: str) -> None:
    kernel = Kernel(
        f"a = {dtype}_pointer(buffers, 0)\nr = {dtype}_pointer(buffers, 1)\n"
        "k = load(i64_pointer(buffers, 2), 0, all_lanes())\n"
        "store(r, 0, load_strided(a, 1, dims[0], all_lanes()), all_lanes())\n"
        "store(r, 16, gather(a, k, lanes(9)), all_lanes())\n"
        "store_strided(r, 32, dims[0], load(a, 0, all_lanes()), lanes(11))\n"
        "scatter(r, k + 80, load(a, 0, all_lanes()), lanes(13))"
    )
    a = np.resize(samples(dtype), 64)
    order = np.random.default_rng(1).permutation(40)[:16]
    result, expected = np.zeros(128, NUMPY[dtype]), np.zeros(128, NUMPY[dtype])
    kernel(a, result, order, dims=(3,))
    expected[:16] = a[1 : 1 + 48 : 3]
    expected[16:25] = a[order[:9]]
    expected[32 : 32 + 33 : 3] = a[:11]
    expected[80 + order[:13]] = a[:13]
    same(result, expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_ranks(dtype: str) -> None:
    """Integers in the order of floats, from which these come back; nan is beyond all."""
    word = {"f32": "i32", "f64": "i64"}[dtype]
    values = np.array([-np.inf, -1e30, -1.5, -1e-42, -0.0, 0.0, 1e-42, 1.5, 1e30, np.inf])
    x = np.concatenate([values, [np.nan, -np.nan], np.zeros(4)]).astype(NUMPY[dtype])
    ranks, other = np.zeros(16, NUMPY[word]), np.zeros(16, NUMPY[word])
    back = np.zeros(16, NUMPY[dtype])
    Kernel(
        f"x = load({dtype}_pointer(buffers, 0), 0, all_lanes())\nup = rank_maximum(x)\n"
        f"store({word}_pointer(buffers, 1), 0, up, all_lanes())\n"
        f"store({word}_pointer(buffers, 2), 0, rank_minimum(x), all_lanes())\n"
        f"store({dtype}_pointer(buffers, 3), 0, ranked(up), all_lanes())"
    )(x, ranks, other, back)
    assert np.all(np.diff(ranks[:10]) > 0) and np.all(ranks[10:12] > ranks[9])
    same(other[:10], ranks[:10])
    assert np.all(other[10:12] < ranks[0])
    same(back, x)


def test_scatter_to_one_place_keeps_the_last_lane() -> None:
    kernel = Kernel(
        "scatter(i32_pointer(buffers, 0), index(2, 0), i32(index(0, 1)), lanes(dims[0]))"
    )
    result = np.full(4, -1, np.int32)
    kernel(result, dims=(11,))
    same(result, np.array([-1, -1, 10, -1]))


def tree(values: np.ndarray, combine: Any) -> Any:
    """The reduction's definition: lane i with i + half."""
    while len(values) > 1:
        half = len(values) // 2
        values = combine(values[:half], values[half:])
    return values[0]


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("dtype", ["bool", "u8", "i32", "i64", "f32", "f64"])
def test_reductions(dtype: str, lanes: int) -> None:
    names = {
        "reduce_add": np.add, "reduce_multiply": np.multiply,
        "reduce_maximum": np.maximum, "reduce_minimum": np.minimum,
    }  # fmt: skip
    body = f"v = load({dtype}_pointer(buffers, 0), 0, all_lanes())\n"
    for number, name in enumerate(names):
        body += f"store({dtype}_pointer(buffers, {number + 1}), 0, {name}(v), all_lanes())\n"
    kernel = Kernel(body, lanes)
    random = np.random.default_rng(2)
    for _ in range(20):
        a = (random.standard_normal(lanes) * 20).astype(NUMPY[dtype])
        results = [np.zeros(lanes, NUMPY[dtype]) for _ in names]
        kernel(a, *results)
        for result, combine in zip(results, names.values(), strict=True):
            same(result, np.full(lanes, tree(a, combine)))
    if dtype in FLOATS:
        a[lanes // 2 + 1] = np.nan
        kernel(a, *results)
        assert all(np.isnan(result).all() for result in results)


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_extremes_of_special_numbers(dtype: str, lanes: int) -> None:
    """nan of either sign wins; +0 is above −0; infinities and subnormal numbers are numbers."""
    pointer = f"{dtype}_pointer(buffers, "
    kernel = Kernel(
        f"v = load({pointer}0), 0, all_lanes())\n"
        f"store({pointer}1), 0, reduce_maximum(v), all_lanes())\n"
        f"store({pointer}2), 0, reduce_minimum(v), all_lanes())\n",
        lanes,
    )
    kind = NUMPY[dtype]
    tiny = np.finfo(kind).smallest_subnormal
    numbers = [-np.inf, np.finfo(kind).min, -1.5, -1.0, -tiny, -0.0, 0.0, tiny, 1.0, 1.5, np.inf]
    rng = np.random.default_rng(0)
    greatest, least = np.zeros(lanes, kind), np.zeros(lanes, kind)
    for _ in range(200):
        places = rng.integers(0, len(numbers), lanes)
        chosen = np.array(numbers, kind)[places]
        kernel(chosen, greatest, least)
        for found, place in ((greatest, places.max()), (least, places.min())):
            assert found.tobytes() == np.full(lanes, numbers[place], kind).tobytes(), chosen
        for nan in (np.nan, -np.nan):
            chosen[rng.integers(lanes)] = nan
            kernel(chosen, greatest, least)
            assert np.isnan(greatest).all() and np.isnan(least).all()


def test_fail_reports_the_first_failure_only() -> None:
    kernel = Kernel(
        "fail(status, 7, index(100, 10), index(0, 1) > dims[0])\n"
        "fail(status, 8, index(0, 1), all_lanes())"
    )
    status = np.zeros(2, np.int64)
    kernel(dims=(4,), status=status)
    same(status, np.array([7, 150]))
    status[:] = 0
    kernel(dims=(99,), status=status)
    same(status, np.array([8, 0]))
    status[:] = (3, 5)
    kernel(dims=(4,), status=status)
    same(status, np.array([3, 5]))


def test_assignment_in_place() -> None:
    kernel = Kernel(
        "total = f32(0.0)\nbits = i32(1)\n"
        "for i in range(0, dims[0], 16):\n"
        "    total += load(f32_pointer(buffers, 0), i, lanes(dims[0] - i))\n"
        "    bits <<= 1\n"
        "store_one(f32_pointer(buffers, 1), 0, reduce_add(total))\n"
        "store_one(i32_pointer(buffers, 2), 0, bits)"
    )
    values, result, bits = np.arange(50, dtype=np.float32), np.zeros(1, "f4"), np.zeros(1, "i4")
    kernel(values, result, bits, dims=(50,))
    assert result[0] == values.sum() and bits[0] == 16


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i64"])
def test_contraction(dtype: str) -> None:
    kernel = Kernel(
        f"a = {dtype}_pointer(buffers, 0)\n"
        f"contract_{dtype}(a, 1, 5, {dtype}_pointer(buffers, 1), 7, 1, 0, "
        f"{dtype}_pointer(buffers, 2), 7, {dtype}_pointer(buffers, 2), 7, 5, 7, dims[0])"
    )
    random = np.random.default_rng(8)
    a, b = (random.integers(-9, 9, shape).astype(NUMPY[dtype]) for shape in ((3, 5), (3, 7)))
    result = np.zeros((5, 7), NUMPY[dtype])
    kernel(a, b, result, dims=(3,))
    same(result, a.T @ b)


def philox_reference(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 in Python's integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        left, right = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [
            (right >> 32) ^ c[1] ^ k[0], right & 0xFFFFFFFF,
            (left >> 32) ^ c[3] ^ k[1], left & 0xFFFFFFFF,
        ]  # fmt: skip
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def test_philox() -> None:
    # The reference itself against Random123's published answers.
    ones = 0xFFFFFFFF
    assert philox_reference([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox_reference([ones] * 4, [ones] * 2) == [
        0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD,
    ]  # fmt: skip
    random = np.random.default_rng(4)
    counter = random.integers(0, 2**63 - 1, 48)
    counter[:3] = (0, 1, 2**40 + 5)
    words = [random.integers(0, 2**32, 48, np.uint32) for _ in range(3)]
    words.append(random.integers(0, 4, 48, np.uint32))
    for word in words:
        word[:2] = 0
    kernel = Kernel(
        "for i in range(0, 48, 16):\n"
        "    c = load(i64_pointer(buffers, 0), i, all_lanes())\n"
        "    k = load(u32_pointer(buffers, 1), i, all_lanes())\n"
        "    l = load(u32_pointer(buffers, 2), i, all_lanes())\n"
        "    s = load(u32_pointer(buffers, 3), i, all_lanes())\n"
        "    w = load(u32_pointer(buffers, 4), i, all_lanes())\n"
        "    store(u32_pointer(buffers, 5), i, philox(c, k, l, s, w), all_lanes())"
    )
    result = np.zeros(48, np.uint32)
    kernel(counter, *words, result)
    expected = [
        philox_reference([c & ones, c >> 32, stream, 0], [key0, key1])[word]
        for c, key0, key1, stream, word in zip(
            counter.tolist(), *(w.tolist() for w in words), strict=True
        )
    ]
    same(result, np.array(expected, np.uint32))
    assert result[0] == 0x6627E8D5
