# pyright: standard
# ruff: noqa: E501 (the head of a kernel is one line)
"""Kernels of every form that the CUDA generator knows, by name, with sizes to run them at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradloom.ir.kernel import Kernel
from gradloom.ir.kernel_text import parse_kernel


@dataclass(frozen=True)
class Case:
    """A kernel's text; bindings of its parameters; elements of each argument, as a formula."""

    text: str
    sizes: tuple[dict[str, int], ...]
    elements: tuple[str, ...]
    high: int = 5  # integers are drawn below this

    @property
    def kernel(self) -> Kernel:
        return parse_kernel(self.text)


CASES: dict[str, Case] = {
    "flat": Case(
        """kernel add_tanh(a0: f32, a1: f32, a2: out f32; d0) over i: parallel d0, j: parallel 10 {
          v0 = load a0[10*i + j] : f32
          v1 = load a1[j] : f32
          v2 = add v0, v1 : f32    @ digits.py:12
          v3 = tanh v2 : f32    @ digits.py:12
          store a2[10*i + j] = v3
        }""",
        ({"d0": 0}, {"d0": 1}, {"d0": 37}),
        ("10*d0", "10", "10*d0"),
    ),
    "three axes, reversed and shifted": Case(
        """kernel flip(a0: f64, a1: out f64; d0, d1) over i: parallel d0, j: parallel 3, k: parallel d1 {
          v0 = load a0[d1*i + -1*k + d0] : f64
          v1 = constant -0.5 : f64
          v2 = multiply v0, v1 : f64
          v3 = index [100*i + 10*j + k + 7]
          v4 = cast v3 {dtype=f64} : f64
          v5 = add v2, v4 : f64
          store a1[i + d0*j + 1] = v5
        }""",
        ({"d0": 0, "d1": 1}, {"d0": 5, "d1": 1}, {"d0": 9, "d1": 1}),
        ("2*d0 + 1", "3*d0 + 1"),
    ),
    "scalar": Case(
        """kernel one(a0: i64, a1: out i64) over i: parallel 1 {
          v0 = load a0[1] : i64
          v1 = square v0 : i64
          store a1[0] = v1
        }""",
        ({},),
        ("2", "1"),
    ),
    "bools": Case(
        """kernel logic(a0: bool, a1: bool, a2: out bool, a3: out i32; d0) over i: parallel d0 {
          v0 = load a0[i] : bool
          v1 = load a1[i] : bool
          v2 = bitwise_invert v0 : bool
          v3 = bitwise_and v2, v1 : bool
          v4 = equal v3, v0 : bool
          v5 = bitwise_xor v4, v1 : bool
          store a2[i] = v5
          v6 = cast v5 {dtype=i32} : i32
          v7 = constant 3 : i32
          v8 = where v0, v6, v7 : i32
          store a3[i] = v8
        }""",
        ({"d0": 0}, {"d0": 1}, {"d0": 37}),
        ("d0", "d0", "d0", "d0"),
    ),
    "small integers": Case(
        """kernel wraps(a0: i8, a1: i8, a2: out i8, a3: out i8, a4: out i8, a5: out u8; d0) over i: parallel d0 {
          v0 = load a0[i] : i8
          v1 = load a1[i] : i8
          v2 = multiply v0, v1 : i8
          v3 = multiply v2, v2 : i8
          v4 = multiply v3, v3 : i8
          v5 = subtract v4, v1 : i8
          v6 = floor_divide v5, v1 : i8
          store a2[i] = v6
          v7 = remainder v5, v1 : i8
          store a3[i] = v7
          v8 = negative v5 : i8
          v9 = abs v8 : i8
          v10 = sign v9 : i8
          v11 = maximum v10, v1 : i8
          store a4[i] = v11
          v12 = cast v5 {dtype=u8} : u8
          v13 = cast v1 {dtype=u8} : u8
          v14 = floor_divide v12, v13 : u8
          v15 = subtract v14, v13 : u8
          store a5[i] = v15
        }""",
        ({"d0": 37},),
        ("d0", "d0", "d0", "d0", "d0", "d0"),
    ),
    "softmax by rows": Case(
        """kernel softmax(a0: f32, a1: out f32, a2: out f32; d0, d1) over i: parallel d0, j: reduce d1 {
          v0 = load a0[d1*i + j] : f32
          v1 = reduce maximum v0 from lowest : f32    @ loss.py:8
          v2 = subtract v0, v1 : f32
          v3 = exp v2 : f32
          v4 = reduce add v3 from zero : f32    @ loss.py:8
          v5 = divide v3, v4 : f32
          store a1[d1*i + j] = v5
          v6 = log v4 : f32
          v7 = add v6, v1 : f32
          store a2[i] = v7
        }""",
        (
            {"d0": 0, "d1": 3},
            {"d0": 3, "d1": 0},
            {"d0": 1, "d1": 1},
            {"d0": 5, "d1": 37},
            {"d0": 2, "d1": 300},
        ),
        ("d0*d1", "d0*d1", "d0"),
    ),
    "softmax by columns": Case(
        """kernel softmax(a0: f32, a1: out f32, a2: out f32; d0, d1) over i: reduce d0, j: parallel d1 {
          v0 = load a0[d1*i + j] : f32
          v1 = reduce maximum v0 from lowest : f32    @ loss.py:8
          v2 = subtract v0, v1 : f32
          v3 = exp v2 : f32
          v4 = reduce add v3 from zero : f32
          v5 = divide v3, v4 : f32
          store a1[d1*i + j] = v5
          store a2[j] = v4
        }""",
        ({"d0": 0, "d1": 3}, {"d0": 3, "d1": 0}, {"d0": 1, "d1": 1}, {"d0": 7, "d1": 150}),
        ("d0*d1", "d0*d1", "d1"),
    ),
    "short rows of two axes": Case(
        """kernel spread(a0: f64, a1: out f64, a2: out i32; d0, d1) over i: reduce 3, j: parallel d0, k: reduce 4 {
          v0 = load a0[d1*i + 4*j + k] : f64
          v1 = reduce maximum v0 from lowest : f64
          v2 = reduce minimum v0 from highest : f64
          v3 = subtract v1, v2 : f64
          store a1[j] = v3
          v4 = equal v0, v1 : bool
          v5 = cast v4 {dtype=i32} : i32
          v6 = reduce add v5 from zero : i32
          store a2[j] = v6
        }""",
        ({"d0": 0, "d1": 0}, {"d0": 1, "d1": 4}, {"d0": 6, "d1": 24}),
        ("12*d0", "d0", "d0"),
    ),
    "any and all": Case(
        """kernel any_all(a0: bool, a1: out bool, a2: out bool; d0, d1) over i: parallel d0, j: reduce d1 {
          v0 = load a0[d1*i + j] : bool
          v1 = reduce maximum v0 from lowest : bool
          v2 = reduce minimum v0 from highest : bool
          store a1[i] = v1
          store a2[i] = v2
        }""",
        ({"d0": 4, "d1": 0}, {"d0": 9, "d1": 2}),
        ("d0*d1", "d0", "d0"),
    ),
    "product of small integers": Case(
        """kernel product(a0: u16, a1: out u16; d0, d1) over i: parallel d0, j: reduce d1 {
          v0 = load a0[d1*i + j] : u16
          v1 = reduce multiply v0 from one : u16
          store a1[i] = v1
        }""",
        ({"d0": 4, "d1": 0}, {"d0": 3, "d1": 37}),
        ("d0*d1", "d0"),
        high=50,
    ),
    "everything, in pieces": Case(
        """kernel total(a0: f32, a1: out f32; d0) over i: reduce d0, j: reduce 3 chunk 16 {
          v0 = load a0[3*i + j] : f32
          v1 = square v0 : f32
          v2 = reduce add v1 from zero : f32    @ loss.py:9
          store a1[0] = v2
        }""",
        ({"d0": 0}, {"d0": 1}, {"d0": 16}, {"d0": 37}),
        ("3*d0", "3 + d0//16"),
    ),
    "pieces of one axis": Case(
        """kernel peak(a0: f64, a1: out f64; d0) over i: reduce d0 chunk 300 {
          v0 = load a0[i] : f64
          v1 = reduce maximum v0 from lowest : f64
          store a1[0] = v1
        }""",
        ({"d0": 700},),
        ("d0", "3"),
    ),
    "running by columns": Case(
        """kernel running(a0: f32, a1: out f32, a2: out i32; d0, d1) over i: reduce d0, j: parallel d1 {
          v0 = load a0[d1*i + j] : f32
          v1 = running add v0 from zero : f32
          v2 = running maximum v1 from lowest : f32
          store a1[d1*i + j] = v2
          v3 = constant 2 : i32
          v4 = running multiply v3 from one : i32
          store a2[d1*i + j] = v4
        }""",
        ({"d0": 0, "d1": 3}, {"d0": 1, "d1": 1}, {"d0": 37, "d1": 20}),
        ("d0*d1", "d0*d1", "d0*d1"),
    ),
    "running along rows, behind a sum": Case(
        """kernel recurrence(a0: f64, a1: f64, a2: out f64, a3: out f64; d0) over i: parallel 3, j: reduce d0 {
          v0 = load a0[d0*i + j] : f64
          v1 = running minimum v0 from highest : f64
          v2 = reduce add v1 from zero : f64
          v3 = subtract v1, v2 : f64
          v4 = load a1[i] : f64
          v5 = sigmoid v4 : f64
          v6 = running fma v5, v3 from zero : f64
          v7 = subtract v6, v1 : f64
          store a2[d0*i + j] = v7
          store a3[i] = v2
        }""",
        ({"d0": 0}, {"d0": 1}, {"d0": 53}),
        ("3*d0", "3", "3*d0", "3"),
    ),
    "running bools and bytes": Case(
        """kernel bits(a0: bool, a1: u8, a2: out bool, a3: out u8; d0) over i: parallel d0, j: reduce 19 {
          v0 = load a0[19*i + j] : bool
          v1 = running minimum v0 from highest : bool
          store a2[19*i + j] = v1
          v2 = load a1[19*i + j] : u8
          v3 = running add v2 from zero : u8
          store a3[19*i + j] = v3
        }""",
        ({"d0": 0}, {"d0": 4}),
        ("19*d0", "19*d0", "19*d0", "19*d0"),
        100,
    ),
    "gather": Case(
        """kernel take(a0: f32, a1: i64, a2: out f32; d0, d1, d2) over i: parallel d0, j: parallel d1 {
          v0 = load a1[i] : i64
          v1 = wrap_index v0 {size=d2} check 3 : i64    @ digits.py:20
          v2 = load a0[j + d1*v1<d2] : f32
          store a2[d1*i + j] = v2
        }""",
        ({"d0": 0, "d1": 4, "d2": 0}, {"d0": 9, "d1": 4, "d2": 5}, {"d0": 40, "d1": 7, "d2": 5}),
        ("d1*d2", "d0", "d0*d1"),
    ),
    "selected along a row": Case(
        """kernel nll(a0: f32, a1: i64, a2: out f32, a3: out f32; d0, d1) over i: parallel d0, j: reduce d1 {
          v0 = load a1[i] : i64
          v1 = wrap_index v0 {size=d1} check 1 : i64    @ loss.py:3
          v2 = load a0[d1*i + j] : f32
          v3 = exp v2 : f32
          v4 = reduce add v3 from zero : f32
          v5 = log v4 : f32
          v6 = load a0[d1*i + 1*v1<d1] : f32
          v7 = subtract v5, v6 : f32
          store a2[i] = v7
          v8 = index [j]
          v9 = equal v8, v1 : bool
          v10 = cast v9 {dtype=f32} : f32
          v11 = divide v3, v4 : f32
          v12 = subtract v11, v10 : f32
          store a3[d1*i + j] = v12
        }""",
        ({"d0": 0, "d1": 6}, {"d0": 6, "d1": 10}),
        ("d0*d1", "d0", "d0", "d0*d1"),
    ),
    "scatter by columns": Case(
        """kernel add_rows(a0: f32, a1: i64, a2: out f32; d0, d1) over i: reduce d0, j: parallel d1 {
          v0 = load a1[i] : i64
          v1 = load a0[d1*i + j] : f32
          store a2[j + d1*v0<5] = v1 by add
        }""",
        ({"d0": 0, "d1": 4}, {"d0": 30, "d1": 4}),
        ("d0*d1", "d0", "5*d1"),
    ),
    "scatter along the last axis": Case(
        """kernel count(a0: i32, a1: out i32; d0) over i: reduce d0 {
          v0 = load a0[i] : i32
          v1 = constant 1 : i32
          store a1[1*v0<5] = v1 by add
        }""",
        ({"d0": 0}, {"d0": 30}),
        ("d0", "5"),
    ),
    "the last of several is stored": Case(
        """kernel put(a0: f32, a1: i64, a2: out f32; d0, d1) over i: reduce d0, j: parallel d1 {
          v0 = load a1[i] : i64
          v1 = load a0[d1*i + j] : f32
          store a2[j + d1*v0<5] = v1 by last
        }""",
        ({"d0": 0, "d1": 4}, {"d0": 30, "d1": 4}),
        ("d0*d1", "d0", "5*d1"),
    ),
    "the largest of several is stored": Case(
        """kernel highest(a0: f32, a1: i64, a2: out f32; d0) over i: reduce d0 {
          v0 = load a1[i] : i64
          v1 = load a0[i] : f32
          store a2[1*v0<5] = v1 by maximum
        }""",
        ({"d0": 0}, {"d0": 30}),
        ("d0", "d0", "5"),
    ),
    "random bits": Case(
        """kernel bits(a0: u32, a1: out u32, a2: out f32; d0) over i: parallel d0 {
          v0 = index [i]
          v1 = load a0[0] : u32
          v2 = load a0[1] : u32
          v3 = random_bits v0, v1, v2 {stream=2, word=1} : u32
          store a1[i] = v3
          v4 = constant 256 : u32
          v5 = floor_divide v3, v4 : u32
          v6 = cast v5 {dtype=f32} : f32
          store a2[i] = v6
        }""",
        ({"d0": 37},),
        ("2", "d0", "d0"),
        high=2**32,
    ),
    "functions": Case(
        """kernel functions(a0: f32, a1: f32, a2: out f32, a3: out i32, a4: out bool; d0) over i: parallel d0 {
          v0 = load a0[i] : f32
          v1 = load a1[i] : f32
          v2 = sigmoid v0 : f32
          v3 = softplus v1 : f32
          v4 = fma v2, v3, v0 : f32
          v5 = pow v3, v2 : f32
          v6 = floor_divide v4, v1 : f32
          v7 = remainder v4, v1 : f32
          v8 = add v5, v6 : f32
          v9 = add v8, v7 : f32
          v10 = erf v9 : f32
          v11 = abs v4 : f32
          v12 = rsqrt v11 : f32
          v13 = log1p v11 : f32
          v14 = add v12, v13 : f32
          v15 = sin v14 : f32
          v16 = expm1 v15 : f32
          v17 = maximum v16, v10 : f32
          v18 = round v17 : f32
          v19 = sign v1 : f32
          v20 = add v18, v19 : f32
          v21 = add v20, v16 : f32
          store a2[i] = v21
          v22 = constant 1e+10 : f32
          v23 = multiply v0, v22 : f32
          v24 = cast v23 {dtype=i32} : i32
          store a3[i] = v24
          v25 = isfinite v12 : bool
          store a4[i] = v25
        }""",
        ({"d0": 37},),
        ("d0", "d0", "d0", "d0", "d0"),
    ),
    "product": Case(
        """kernel linear(a0: f32, a1: f32, a2: f32, a3: out f32; d0, d1) over i: parallel d0, j: parallel 10 {
          v0 = contract a0[d1*i + j], a1[10*i + j] over d1 in a3[10*i + j] : f32    @ digits.py:31
          v1 = load a2[j] : f32
          v2 = add v0, v1 : f32
          v3 = tanh v2 : f32
          store a3[10*i + j] = v3
        }""",
        (
            {"d0": 0, "d1": 4},
            {"d0": 3, "d1": 0},
            {"d0": 1, "d1": 1},
            {"d0": 37, "d1": 18},
            {"d0": 70, "d1": 5},
        ),
        ("d0*d1", "10*d1", "10", "10*d0"),
    ),
    "product onto what is there": Case(
        """kernel added(a0: f32, a1: f32, a2: f32, a3: out f32; d0, d1) over i: parallel d0, j: parallel 10 {
          v0 = contract a0[i + d0*j], a1[10*i + j] over d1 from a2[12*i + j + 1] in a3[10*i + j] : f32
        }""",
        (
            {"d0": 0, "d1": 4},
            {"d0": 3, "d1": 0},
            {"d0": 1, "d1": 1},
            {"d0": 37, "d1": 18},
        ),
        ("d0*d1", "10*d1", "12*d0", "10*d0"),
    ),
    "product of a batch onto what is there, and more": Case(
        """kernel scaled(a0: f64, a1: f64, a2: f64, a3: out f64; d0, d1) over b: parallel 2, i: parallel d0, j: parallel 3 {
          v0 = contract a0[5*i + j], a1[3*i + j] over 5 from a2[d1*b + 3*i + j] in a3[d1*b + 3*i + j] : f64
          v1 = load a2[j] : f64
          v2 = multiply v0, v1 : f64
          store a3[d1*b + 3*i + j] = v2
        }""",
        ({"d0": 1, "d1": 3}, {"d0": 35, "d1": 105}),
        ("5*d0", "15", "6*d0", "6*d0"),
    ),
    "product of a transposed batch": Case(
        """kernel batched(a0: f64, a1: f64, a2: out f64; d0, d1, d2, d3) over b: parallel 2, i: parallel d0, j: parallel d1 {
          v0 = contract a0[d2*b + i + d0*j], a1[d1*i + j] over 5 in a2[d3*b + d1*i + j] : f64
        }""",
        ({"d0": 20, "d1": 33, "d2": 100, "d3": 660}, {"d0": 1, "d1": 70, "d2": 5, "d3": 70}),
        ("2*d2", "5*d1", "2*d0*d1"),
    ),
    "product of integers, kept and used": Case(
        """kernel shifted(a0: i32, a1: i32, a2: out i32, a3: out i64; d0) over i: parallel 20, j: parallel d0 {
          v0 = contract a0[3*i + j], a1[d0*i + j] over 3 in a2[d0*i + j] : i32
          v1 = index [d0*i + j]
          v2 = cast v0 {dtype=i64} : i64
          v3 = subtract v1, v2 : i64
          store a3[d0*i + j] = v3
        }""",
        (
            {"d0": 0},
            {"d0": 19},
        ),
        ("60", "3*d0", "20*d0", "20*d0"),
    ),
    "in place": Case(
        """kernel centre(a0: out f32, a1: out f32; d0, d1) over i: parallel d0, j: reduce d1 {
          v0 = load a0[d1*i + j] : f32
          v1 = load a1[i] : f32
          v2 = subtract v0, v1 : f32
          store a0[d1*i + j] = v2
          v3 = reduce add v2 from zero : f32
          v4 = add v1, v3 : f32
          store a1[i] = v4
        }""",
        ({"d0": 3, "d1": 40},),
        ("d0*d1", "d0"),
    ),
    "a row's own value in place": Case(
        """kernel scale(a0: f32, a1: out f32, a2: out f32; d0, d1) over i: parallel d0, j: reduce d1 {
          v0 = load a1[i] : f32
          v1 = load a0[d1*i + j] : f32
          v2 = multiply v0, v1 : f32
          store a2[d1*i + j] = v2
          v3 = square v0 : f32
          store a1[i] = v3
        }""",
        ({"d0": 3, "d1": 40},),
        ("d0*d1", "d0", "d0*d1"),
    ),
}


def make_arrays(case: Case, sizes: dict[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Flat arguments with random contents, outputs too."""
    random = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for argument, formula in zip(case.kernel.arguments, case.elements, strict=True):
        count: Any = eval(formula, {}, dict(sizes))
        dtype = argument.dtype
        if dtype.is_float:
            values = random.standard_normal(count)
        elif dtype.kind == "b":
            values = random.random(count) < 0.5
        else:
            low = 0 if dtype.kind == "u" or argument.dtype.bits == 64 else -1
            values = random.integers(low, case.high, count)
        arrays[argument.name] = values.astype(dtype.numpy)
    return arrays
