# pyright: basic
"""Contraction micro-kernels against NumPy: odd sizes, strides, bits that no division changes."""

import ctypes
import itertools
import re

import numpy as np
import pytest

from gradloom.ir.units import PANEL_ROW
from gradloom.runtime import contractions, native, tile

DTYPES = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64}
HOST = native.host().lanes
WIDTHS = [lanes for lanes in (4, 8, 16) if lanes <= HOST]
SIZES = [0, 1, 2, 5, 8, 13, 33]


def contract(dtype, lanes, a, b, c, start=None, panel=0):
    """C = A . B (+ start) in place; A and B have any strides, the rest contiguous rows.

    panel: from one panel of B to the next; then `b` is the view of the first columns of each."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function = ctypes.CFUNCTYPE(
        *(None, pointer, number, number, pointer, number, number, number, pointer, number),
        *(pointer, number, number, number, number, pointer, number),
    )(contractions.contraction(dtype, lanes))
    size = np.dtype(DTYPES[dtype]).itemsize
    rows, depth, columns = *a.shape, c.shape[1]
    function(
        a.ctypes.data, a.strides[0] // size, a.strides[1] // size,
        b.ctypes.data, b.strides[0] // size, b.strides[1] // size, panel,
        *(c.ctypes.data, c.strides[0] // size) * 2, rows, columns, depth,
        *((None, 0) if start is None else (start.ctypes.data, start.strides[0] // size)),
    )  # fmt: skip


def random(rng, dtype, shape):
    if dtype[0] == "f":
        return rng.standard_normal(shape).astype(DTYPES[dtype])
    return rng.integers(np.iinfo(DTYPES[dtype]).min, np.iinfo(DTYPES[dtype]).max, shape).astype(
        DTYPES[dtype]
    )


def padded(rng, dtype, rows, columns):
    """A view into a larger array of sentinels, and that array: nothing outside may be written."""
    whole = np.full((rows + 2, columns + 7), 77, DTYPES[dtype])
    return whole[1 : rows + 1, 3 : columns + 3], whole


@pytest.mark.campaign(2)
@pytest.mark.parametrize("lanes", WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_small_size(dtype, lanes):
    rng = np.random.default_rng(0)
    columns = {lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 7, 3 * lanes + 5, 4 * lanes + 3}
    columns = sorted({*SIZES, *columns})
    for rows, cols, depth in itertools.product(SIZES, columns, [0, 1, 3, 4, 10]):
        a = random(rng, dtype, (rows, depth))
        b = random(rng, dtype, (depth, cols))
        c, whole = padded(rng, dtype, rows, cols)
        contract(dtype, lanes, a, b, c)
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-5)
        c[:] = 77
        assert (whole == 77).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_operands(dtype):
    rng = np.random.default_rng(1)
    for rows, cols, depth in [(17, 37, 29), (8, 16, 16), (3, 70, 5)]:
        base = random(rng, dtype, (2 * max(rows, depth) + 1, 3 * max(rows, depth) + 1))
        b = random(rng, dtype, (depth, cols + 9))[:, 4 : cols + 4]
        operands = [
            base[:rows, :depth],
            base[:depth, :rows].T,
            base[: 2 * rows : 2, : 3 * depth : 3],
            base[:rows, :depth][::-1, ::-1],
            np.broadcast_to(base[:1, :depth], (rows, depth)),
            np.broadcast_to(base[:rows, :1], (rows, depth)),
        ]
        for a in operands:
            c, whole = padded(rng, dtype, rows, cols)
            contract(dtype, HOST, a, b, c)
            np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-4)
            c[:] = 77
            assert (whole == 77).all()


@pytest.mark.campaign(2)
@pytest.mark.parametrize("lanes", WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_right_sides_that_lie_otherwise(dtype, lanes):
    """Transposed, spread out, backwards, the same column again: the bits are those of a copy."""
    rng = np.random.default_rng(7)
    room = tile._Products(dtype, lanes, True).room(2)
    sizes = itertools.product([1, 3, 9, 70], [1, 2, 7, lanes, 4 * lanes + 3], [0, 1, 5, lanes + 1])
    for rows, cols, depth in [*sizes, (5, 37, room + 3), (70, 37, 2 * room + 3), (1, 99, room)]:
        base = random(rng, dtype, (2 * max(cols, depth) + 1, 2 * max(cols, depth) + 1))
        a = random(rng, dtype, (rows, depth))
        start = random(rng, dtype, (rows, cols))
        for b in [
            base[:cols, :depth].T,
            base[: 2 * cols : 2, :depth].T,
            base[: 2 * depth : 2, : 2 * cols : 2],
            base[:depth, :cols][::-1, ::-1],
            np.broadcast_to(base[:1, :depth].T, (depth, cols)),
        ]:
            for given in (None, start):
                plain = np.empty((rows, cols), DTYPES[dtype])
                contract(dtype, lanes, a, b.copy(), plain, given)
                c, whole = padded(rng, dtype, rows, cols)
                contract(dtype, lanes, a, b, c, given)
                np.testing.assert_array_equal(c, plain)
                c[:] = 77
                assert (whole == 77).all()
                with np.errstate(over="ignore"):
                    expected = a @ b + (0 if given is None else start)
                    np.testing.assert_allclose(plain, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.campaign(3)
@pytest.mark.parametrize("lanes", WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_panels_have_the_bits_of_rows(dtype, lanes):
    """Whatever stands behind the last column of the last panel."""
    rng = np.random.default_rng(9)
    wide = PANEL_ROW // np.dtype(DTYPES[dtype]).itemsize
    columns = [1, wide - 1, wide, wide + 1, 2 * wide, 3 * wide + lanes, 20 * wide + 5]
    sizes = itertools.product([0, 1, 2, 4, 5, 8, 13, 24, 33, 70], columns, [0, 1, 5, 70])
    long = 2 * tile.SEGMENT + 3, tile.DEEP + 3
    for rows, cols, depth in [*sizes, *itertools.product([1, 4, 7, 40], [2 * wide + 5], long)]:
        b, start = random(rng, dtype, (depth, cols)), random(rng, dtype, (rows, cols))
        count = -(-cols // wide)
        room = np.full((depth, count * wide), 77 if dtype[0] == "i" else np.nan, DTYPES[dtype])
        room[:, :cols] = b
        panels = room.reshape(depth, count, wide).transpose(1, 0, 2).copy()
        for a in (random(rng, dtype, (rows, depth)), random(rng, dtype, (depth, rows)).T):
            for given in (None, start):
                plain = np.empty((rows, cols), DTYPES[dtype])
                contract(dtype, lanes, a, b, plain, given)
                c, whole = padded(rng, dtype, rows, cols)
                contract(dtype, lanes, a, panels[0], c, given, panel=depth * wide)
                np.testing.assert_array_equal(c, plain)
                c[:] = 77
                assert (whole == 77).all()


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_each_element_is_one_chain_of_fused_multiply_adds(dtype):
    """Also over the segments of a long contraction: the bits are those of the plain loop."""
    if not native.host().fused:
        pytest.skip("no fma")
    rng = np.random.default_rng(2)
    slim = tile._Products(dtype, HOST, True).slim
    for cols, depth in [(HOST + 3, 2 * tile.SEGMENT + 37), (3, 2 * slim + 37)]:
        a, b = random(rng, dtype, (9, depth)), random(rng, dtype, (depth, cols))
        c = np.empty((9, cols), DTYPES[dtype])
        contract(dtype, HOST, a, b, c)
        if dtype == "f32":  # the product is exact in long double, and the sum nearly so
            expected = np.zeros((9, cols), np.float32)
            for k in range(depth):
                product = np.outer(a[:, k].astype(np.longdouble), b[k].astype(np.longdouble))
                expected = (product + expected).astype(np.float32)
        else:
            np.testing.assert_allclose(c, a @ b, rtol=1e-12, atol=1e-12)
            expected = np.zeros((9, cols))
            for k in range(depth):
                contract(dtype, HOST, a[:, k : k + 1], b[k : k + 1], expected, expected)
        np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_no_division_into_calls_changes_a_bit(dtype):
    rng = np.random.default_rng(3)
    rows, cols, depth = 85, 77, 2 * tile.SEGMENT + 11
    a, b = random(rng, dtype, (rows, depth)), random(rng, dtype, (depth, cols))
    whole = np.empty((rows, cols), DTYPES[dtype])
    contract(dtype, HOST, a, b, whole)
    for row_cuts, col_cuts in [([0, 85], [0, 1, 77]), ([0, 7, 8, 44, 45, 85], [0, 33, 34, 60, 77])]:
        parts = np.empty_like(whole)
        for top, bottom in itertools.pairwise(row_cuts):
            for left, right in itertools.pairwise(col_cuts):
                contract(
                    dtype, HOST, a[top:bottom], b[:, left:right], parts[top:bottom, left:right]
                )
        np.testing.assert_array_equal(parts, whole)
    for turned in [(np.asfortranarray(a), b), (a, np.asfortranarray(b))]:
        transposed = np.empty_like(whole)
        contract(dtype, HOST, *turned, transposed)
        np.testing.assert_array_equal(transposed, whole)
    for lanes in WIDTHS:
        other = np.empty_like(whole)
        contract(dtype, lanes, a, b, other)
        np.testing.assert_array_equal(other, whole)


@pytest.mark.parametrize("lanes", WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_start_at_what_is_given(dtype, lanes):
    """In another array and in C itself, at every edge; over several segments, too."""
    rng = np.random.default_rng(4)
    long = 2 * tile.SEGMENT + 3
    sizes = [*itertools.product([1, 2, 9, 13], [1, lanes, 4 * lanes + 3], [0, 1, 5, long])]
    for rows, cols, depth in sizes:
        a, b = random(rng, dtype, (rows, depth)), random(rng, dtype, (depth, cols))
        start = random(rng, dtype, (rows, cols + 5))[:, 2 : cols + 2]
        before = start.copy()
        c, whole = padded(rng, dtype, rows, cols)
        contract(dtype, lanes, a, b, c, start)
        np.testing.assert_array_equal(start, before)
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(c, start + a @ b, rtol=1e-4, atol=1e-4)
        contract(dtype, lanes, a, b, start, start)
        np.testing.assert_array_equal(start, c)
        c[:] = 77
        assert (whole == 77).all()


@pytest.mark.parametrize("depth", [1, tile.STREAMED, 5 * tile.STREAMED + 3, tile.DEEP + 3])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_a_few_long_rows_have_the_bits_of_many(dtype, depth):
    """They go through B in other steps."""
    rng = np.random.default_rng(6)
    rows, cols = 20, tile.LONG + 7
    a, b = random(rng, dtype, (rows, depth)), random(rng, dtype, (depth, cols))
    start = random(rng, dtype, (rows, cols))
    for given in (None, start):
        whole = np.empty((rows, cols), DTYPES[dtype])
        contract(dtype, HOST, a, b, whole, given)
        for few in (1, 3, tile.PLANS[HOST].middle[0].rows):
            c, around = padded(rng, dtype, few, cols)
            contract(dtype, HOST, a[:few], b, c, None if given is None else given[:few])
            np.testing.assert_array_equal(c, whole[:few])
            c[:] = 77
            assert (around == 77).all()


@pytest.mark.parametrize("lanes", WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_last_block_of_a_few_rows(dtype, lanes):
    """Lower than the tile that copies a block of B: what lies behind them stays as it is."""
    rng = np.random.default_rng(8)
    rows = {16: 15877, 8: 15877, 4: 16003}[lanes]
    a, b = random(rng, dtype, (rows, 3)), random(rng, dtype, (3, 40))
    c, around = padded(rng, dtype, rows, 40)
    contract(dtype, lanes, a, b, c)
    last = np.empty((9, 40), DTYPES[dtype])
    contract(dtype, lanes, a[-9:], b, last)
    np.testing.assert_array_equal(c[-9:], last)
    c[:] = 77
    assert (around == 77).all()


@pytest.mark.parametrize("lanes", WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_left_side_that_lies_transposed(dtype, lanes):
    """Its blocks are copied to strips, many rows and few, in several segments: the same bits."""
    rng = np.random.default_rng(6)
    sizes = [(rows, 130, 17) for rows in range(24, 45)]
    sizes += [(88, 130, 368), (145, 130, 432), (256, 130, 248)]  # as much as there is room for
    if dtype == "f32":
        sizes.append((13463, 130, 12))  # the last of many blocks has 23 rows
    for rows, cols, depth in [*sizes, (131, 200, 1100), (300, 129, 40), (40, 128, 12)]:
        a, b = random(rng, dtype, (depth, rows + 3)), random(rng, dtype, (depth, cols))
        left = a[:, 1 : rows + 1].T
        c, around = padded(rng, dtype, rows, cols)
        whole = np.empty((rows, cols), DTYPES[dtype])
        contract(dtype, lanes, np.ascontiguousarray(left), b, whole)
        contract(dtype, lanes, left, b, c)
        np.testing.assert_array_equal(c, whole)
        contract(dtype, lanes, np.ascontiguousarray(left), b, whole, whole)
        contract(dtype, lanes, left, b, c, c)
        np.testing.assert_array_equal(c, whole)
        c[:] = 77
        assert (around == 77).all()


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_two_products_onto_each_other_are_one(dtype):
    """The chain goes on: a product cut in two along its terms has the bits of the whole."""
    rng = np.random.default_rng(5)
    a, b = random(rng, dtype, (21, 50)), random(rng, dtype, (50, 35))
    whole, parts = (np.empty((21, 35), DTYPES[dtype]) for _ in range(2))
    contract(dtype, HOST, a, b, whole)
    contract(dtype, HOST, a[:, :17], b[:17], parts)
    contract(dtype, HOST, a[:, 17:], b[17:], parts, parts)
    np.testing.assert_array_equal(parts, whole)


def test_infinities_stay_in_their_rows_and_columns():
    a = np.ones((10, 20), np.float32)
    b = np.ones((20, 40), np.float32)
    a[3, 4], b[5, 35] = np.inf, np.nan
    c = np.empty((10, 40), np.float32)
    contract("f32", HOST, a, b, c)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(c, a @ b)


@pytest.mark.parametrize("lanes", WIDTHS)
@pytest.mark.parametrize("depth", [0, 16, 64, 1600])
def test_steps_in_units_of_neighbours(lanes, depth):
    """As many as there are, in as many segments; each row takes all units but the first."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function = ctypes.CFUNCTYPE(
        *(None, pointer, pointer, pointer, pointer, number, number, number, number),
        *(pointer, number, number, pointer, number, pointer, number),
        *(number, number, number, pointer, number),
    )(contractions.contraction("in_f32", lanes))
    rng = np.random.default_rng(depth)
    unit, count, columns = 16, 37, 21
    a, b = random(rng, "f32", (3000,)), random(rng, "f32", (depth, columns))
    rows = 8 * np.arange(count)
    steps = (rng.permutation(depth // unit)[:, None] * unit + np.arange(unit)).ravel()
    runs = np.tile([count, 1, depth // unit], (count, 1))
    c = np.full((count, columns), 7, np.float32)
    out = c.ctypes.data, columns
    tables = (table.ctypes.data for table in (rows, steps, runs))
    sizes = 1, 1, unit, 0
    function(
        a.ctypes.data, *tables, *sizes, b.ctypes.data, columns, 1, *out, *out,
        count, columns, depth, None, 0,
    )  # fmt: skip
    wanted = a[rows[:, None] + steps[unit:]].astype("f8") @ b[unit:]
    np.testing.assert_allclose(c, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(HOST != 16, reason="written for AVX-512")
@pytest.mark.parametrize("dtype", ["f32", "in_f32"])
def test_no_vector_is_spilled_or_moved_by_a_tile(dtype):
    """By tables alone ("at_"), tiles with masks do: they are compiled sooner."""
    text = native.assembly(tile.source(dtype, 16), simplify=False)
    tiles = re.findall(r"^(tile_\w+):(.*?)^\.Lfunc_end", text, re.DOTALL | re.MULTILINE)
    assert len(tiles) >= 6
    for name, body in tiles:
        assert "vfmadd" in body
        assert not re.findall(
            r"vmov\w+\s+(?:%zmm\d+, |-?\d*\(%rsp\), )(?:%zmm|-?\d*\(%rsp)", body
        ), name
