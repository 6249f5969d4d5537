# pyright: basic
"""Products as functions compute them: any sizes and layouts, what follows, shares of threads."""

from __future__ import annotations

import itertools
from functools import cache
from random import Random

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.kernel import Contract
from gradloom.ir.program import Copy
from gradloom.ir.units import MUCH, NARROW, TILE, WIDE, box, strip_length
from gradloom.runtime.executable import Executable

from .staggered import staggered

SIZES = [0, 1, 2, 3, 7, 8, 9, 16, 17, 31, 33, 65]
LAYOUTS = [*itertools.product([False, True], repeat=2)]


@cache
def function(dtype, turned, follows, batch=False):
    """a @ b, each perhaps the transpose of what is given, and something that reads it."""
    lead = ("B",) if batch else ()
    a = gl.placeholder((*lead, *(("K", "M") if turned[0] else ("M", "K"))), dtype, name="a")
    b = gl.placeholder((*lead, *(("N", "K") if turned[1] else ("K", "N"))), dtype, name="b")
    c = gl.placeholder(("N",), dtype, name="c")
    left, right = (gl.swapaxes(x, -1, -2) if t else x for x, t in zip((a, b), turned, strict=True))
    product = left @ right
    results = {"": [product], "alone": [product * 2 + c], "beside": [product, product - c]}
    return gl.function([a, b, c], results[follows], threads=1)


@cache
def loaded(program, threads):
    return Executable(program, threads)


def drawn(rng, dtype, shape):
    if dtype[0] == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(-100, 100, shape).astype(dtype)


def judged(dtype, turned, follows, sizes, rng, lead=()):
    """One thread against float64; two and three against the bits of one."""
    rows, depth, columns = sizes
    a = drawn(rng, dtype, (*lead, *((depth, rows) if turned[0] else (rows, depth))))
    b = drawn(rng, dtype, (*lead, *((columns, depth) if turned[1] else (depth, columns))))
    c = drawn(rng, dtype, (columns,))
    wide = np.int64 if dtype[0] == "i" else np.float64
    left, right = (
        (x.swapaxes(-1, -2) if t else x).astype(wide) for x, t in zip((a, b), turned, strict=True)
    )
    product = left @ right
    wanted = {"": [product], "alone": [product * 2 + c], "beside": [product, product - c]}[follows]
    allowed = 0.0
    if dtype[0] == "f":
        allowed = 4 * (depth + 2) * np.finfo(dtype).eps * (np.abs(left) @ np.abs(right) + 1)
    made = function(dtype, turned, follows, bool(lead))
    one = made(a, b, c)
    for found, value in zip(one, wanted, strict=True):
        assert (np.abs(found.astype(wide) - value) <= allowed).all(), (turned, sizes)
    for order in ((0, 1), (2, 0, 1)):
        more = staggered(loaded(made.program, len(order)), [a, b, c], (), order)
        for found, value in zip(more, one, strict=True):
            assert found.tobytes() == value.tobytes(), (turned, sizes, order)


def test_rows_of_a_batch_that_meet_one_matrix_are_rows_of_one_product():
    x = gl.placeholder(("B", "T", 6), name="x")
    w, c = gl.placeholder((6, 5), name="w"), gl.placeholder((5,), name="c")
    heads = gl.placeholder(("B", 6, 5), name="heads")
    turned = gl.placeholder(("T", 5), name="turned")

    def axes(inputs, result):
        return [len(kernel.axes) for kernel in gl.function(inputs, result).program.kernels]

    assert axes([x, w, c], gl.tanh(x @ w + c)) == [2]
    assert axes([x, heads], x @ heads) == [3]  # another matrix an entry
    assert axes([x, turned], gl.swapaxes(x, 1, 2) @ turned) == [3]  # rows that lie elsewhere
    own = gl.placeholder(("B", 1, 5), name="own")
    assert axes([x, w, own], x @ w + own) == [3]  # what follows tells entries apart


@pytest.mark.parametrize("turned", LAYOUTS)
def test_any_sizes(turned):
    rng, pick = np.random.default_rng(0), Random(str(turned))
    for follows in ("", "alone", "beside"):
        for _ in range(12):
            judged("float32", turned, follows, [pick.choice(SIZES) for _ in range(3)], rng)


@pytest.mark.parametrize("dtype", ["float64", "int32", "int64"])
def test_other_types(dtype):
    rng, pick = np.random.default_rng(1), Random(dtype)
    for _ in range(8):
        judged(dtype, (False, True), "alone", [pick.choice(SIZES) for _ in range(3)], rng)


def test_batches():
    rng, pick = np.random.default_rng(2), Random(2)
    for lead in (0, 1, 3, 5):
        for follows in ("", "alone"):
            sizes = [pick.choice(SIZES) for _ in range(3)]
            judged("float32", (False, True), follows, sizes, rng, (lead,))


@pytest.mark.parametrize(
    "sizes",
    [
        (1, 70, 1100), (5, 33, 1030), (8, 9, 300), (1, 600, 1), (150, 300, 1),  # few rows; columns
        (200, 130, 70), (40, 900, 40), (300, 3, 300), (136, 400, 33),  # several blocks each way
    ],
)  # fmt: skip
def test_cut_in_several_ways(sizes):
    rng = np.random.default_rng(3)
    for turned in LAYOUTS:
        judged("float32", turned, "alone", sizes, rng)


@pytest.mark.slow
def test_many_more_sizes():
    rng, pick = np.random.default_rng(4), Random(4)
    sizes = [*SIZES, 64, 100, 127, 128, 129, 255, 400, 401, 777, 1025]
    for turned, follows in itertools.product(LAYOUTS, ("", "alone", "beside")):
        for _ in range(60):
            judged("float32", turned, follows, [pick.choice(sizes) for _ in range(3)], rng)


def test_transposed_factors_are_not_copied():
    for turned in LAYOUTS:
        made = function("float32", turned, "alone").program
        assert len(made.kernels) == 1
        assert not any(isinstance(step, Copy) for step in made.steps)
        (product,) = (i for i in made.kernels[0].body if isinstance(i, Contract))
        assert product.scratch is None  # nor do the sums need memory


def test_strips_are_as_many_as_threads_need():
    sizes = [0, 1, 20, 64, 65, 1000]
    cases = itertools.product(sizes, sizes, [0, 8, 500], [0, 1, 3], [1, 2, 7])
    for rows, columns, depth, entries, threads in cases:
        strip = strip_length(rows, columns, depth, entries, threads)
        strips = -(-columns // strip)
        assert strip >= NARROW and strip % WIDE == 0
        assert strips * max(entries, 1) <= threads + entries
        many = rows > columns or depth * columns < MUCH
        if threads == 1 or (entries * rows >= threads * TILE and many):
            assert strips <= 1
    assert strip_length(8, 1024, 8, 1, 2) == 512
    assert strip_length(32, 128, 128, 1, 2) == 128
    for depth, strip in ((MUCH // 512 - 1, 512), (MUCH // 512, 256)):
        assert strip_length(128, 512, depth, 1, 2) == strip
        assert strip_length(513, 512, depth, 1, 2) == 512
    assert box([2, TILE], 0, 2 * TILE) == [(0, 2), (0, TILE)]


def test_short_rows_that_are_updated_do_not_follow_each_other():
    """In the text; what the update gives is the same for rows of any length."""
    rng = np.random.default_rng(0)
    for columns in (1, 10, 16, 21):
        start = rng.standard_normal((7, columns)).astype("f4")
        w = gl.parameter(start, name="w")
        x, y = gl.placeholder((5, 7), name="x"), gl.placeholder((5, columns), name="y")
        step = gl.function([x, y], [], updates={w: w - 0.5 * (x.T @ y)})
        (kernel,) = step.kernels
        assert "for odd in" in kernel.source
        a, b = (rng.standard_normal((5, n)).astype("f4") for n in (7, columns))
        step(a, b)
        np.testing.assert_allclose(w.value, start - 0.5 * (a.T @ b), rtol=1e-5, atol=1e-6)
    f = gl.function([x, y], x.T @ y + 1.0)
    assert "for odd in" not in f.kernels[-1].source
