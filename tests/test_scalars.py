# pyright: basic
"""Integers and loops of kernels: as in Python, for every sign, and never a trap."""

import itertools

import numpy as np
import pytest

from gradloom.runtime import loader

from .test_loader import run

LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
EDGES = [LOWEST, LOWEST + 1, -17, -8, -3, -2, -1, 0, 1, 2, 3, 8, 15, 16, 17, 63, 64, HIGHEST]


def wrapped(value):
    """As 64 bits with a sign."""
    return (value - LOWEST) % (1 << 64) + LOWEST


def kernel(lines, count):
    """Runs `lines` on sizes a, b, …: what they leave in out[0], out[1], …"""
    body = "".join(f"    {line}\n" for line in lines)
    function = loader.load_kernel(
        f"def kernel(buffers, dims, status, tid, nth):\n    out = i64_pointer(buffers, 0)\n{body}"
    )

    def call(*sizes):
        out = np.full(count, -99, np.int64)
        assert run(function, [out], [*sizes, 0]) == 0
        return out.tolist()

    return call


def stores(*expressions):
    return [f"store_one(out, {k}, i64({text}))" for k, text in enumerate(expressions)]


def quotient(a, b):
    return wrapped(a // b) if b else 0


def test_quotients_of_sizes():
    """By comparing where they are small, by dividing otherwise."""
    division = kernel(["a = dims[0]", "b = dims[1]", *stores("quotient(a, b)")], 1)
    for a, b in itertools.product([*EDGES, 1 << 40, 3 << 40], [*EDGES, 1 << 40]):
        assert division(a, b) == [a // b if b > 0 else 0], (a, b)


def rest(a, b):
    return a % b if b else 0


def test_quotients_and_remainders():
    division = kernel(["a = dims[0]", "b = dims[1]", *stores("a // b", "a % b")], 2)
    for a, b in itertools.product(EDGES, EDGES):
        assert division(a, b) == [quotient(a, b), rest(a, b)], (a, b)


@pytest.mark.parametrize("b", [-8, -3, -1, 0, 1, 7, 16384])
def test_quotients_by_a_constant(b):
    division = kernel(["a = dims[0]", *stores(f"a // {b}", f"a % {b}")], 2)
    for a in EDGES:
        assert division(a) == [quotient(a, b), rest(a, b)], a


def test_bits_and_signs():
    texts = ("a & b", "a | b", "a ^ b", "~a", "-b", "+b", "a << b", "a >> b")
    bits = kernel(["a = dims[0]", "b = dims[1]", *stores(*texts)], len(texts))
    for a, b in itertools.product(EDGES, EDGES):
        inside = 0 <= b < 64
        left = wrapped(a << b) if inside else 0
        right = a >> b if inside else min(a >> 63, 0)
        expected = [a & b, a | b, a ^ b, ~a, wrapped(-b), b, left, right]
        assert bits(a, b) == expected, (a, b)


def test_sums_and_products():
    texts = ("a + b", "a - b", "a * b", "min(a, b)", "max(a, b)")
    sums = kernel(["a = dims[0]", "b = dims[1]", *stores(*texts)], len(texts))
    for a, b in itertools.product(range(-9, 10, 3), repeat=2):
        assert sums(a, b) == [a + b, a - b, a * b, min(a, b), max(a, b)]


def test_conditions():
    texts = ["a < b", "a <= b", "a > b", "a >= b", "a == b", "a != b"]
    texts += ["a < b and a > 0", "a < b or b < 0", "not a == b", "(a < b) ^ (b < 3)", "a"]
    lines = ["a = dims[0]", "b = dims[1]"]
    for k, text in enumerate(texts):
        lines += [f"store_one(out, {k}, i64(0))", f"if {text}:", f"    store_one(out, {k}, i64(1))"]
    conditions = kernel(lines, len(texts))
    for a, b in itertools.product([LOWEST, -1, 0, 2, 3, HIGHEST], repeat=2):
        assert conditions(a, b) == [int(bool(eval(text, {"a": a, "b": b}))) for text in texts]


def test_ranges():
    lines = ["total = 0", "for i in range(dims[0], dims[1], dims[2]):"]
    lines += ["    total = total * 3 + i + 1", *stores("total")]
    total = kernel(lines, 1)
    for start, stop, step in itertools.product([-3, 0, 4], [-4, 0, 1, 5], [-2, -1, 0, 1, 3]):
        expected = 0
        for i in range(start, stop, step) if step else ():
            expected = expected * 3 + i + 1
        assert total(start, stop, step) == [expected], (start, stop, step)


def test_a_range_may_be_walked_inside_another_and_its_index_changed():
    lines = ["total = 0", "for i in range(dims[0]):", "    for j in range(i):"]
    lines += ["        total = total + j", "    i = i + 100", "    total = total + i"]
    nested = kernel([*lines, *stores("total")], 1)
    for n in (0, 1, 2, 7):
        assert nested(n) == [sum(sum(range(i)) + i + 100 for i in range(n))]


def test_numbers_become_lanes_once():
    lines = stores("9223372036854775807", "True", "u64(18446744073709551615)", "f64(-inf)")
    lowest = kernel(lines, 4)()
    assert lowest == [HIGHEST, 1, -1, LOWEST]


@pytest.mark.parametrize("text", ["a + 0.5", "a / 2", "min(a, 0.5)", "-(a < 3)", "max(a)"])
def test_what_kernels_do_not_say(text):
    with pytest.raises(Exception, match="a kernel cannot call"):
        kernel(["a = dims[0]", *stores(text)], 1)


def test_a_name_has_one_type_and_a_value_before_it_is_read():
    with pytest.raises(Exception, match=r"n of a kernel is int64 and then float64"):
        kernel(["n = 1", "n = 0.5", *stores("1")], 1)
    with pytest.raises(Exception, match="m of a kernel has no value yet"):
        kernel(["n = m", "m = 1", *stores("n")], 1)


def test_names_of_one_block_and_of_several():
    lines = [
        *("a = dims[0]", "total = a", "other = 0"),
        *("for i in range(a):", "    b = i + 1", "    if b > 2:", "        other = other + b"),
        *("    else:", "        total = total + a", "    last = b", "n = last * 2"),
    ]
    assert kernel([*lines, *stores("total", "other", "n")], 3)(4) == [12, 7, 8]


def test_a_range_is_of_integers_and_walked_by_a_loop():
    with pytest.raises(Exception, match="a kernel cannot call range"):
        kernel(["for i in range(1, 2.5):", "    store_one(out, 0, i64(i))"], 1)
    with pytest.raises(Exception, match="range"):
        kernel(stores("range(3)"), 1)


def test_the_bounds_of_a_range_are_what_they_were():
    lines = ["n = dims[0]", "total = 0", "for i in range(n):", "    n = 2", "    total = total + i"]
    assert kernel([*lines, *stores("total", "n")], 2)(5) == [10, 2]
