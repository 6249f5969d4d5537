"""Graphs on which the coded rules about lengths and variances fire, and all the others."""

from __future__ import annotations

from .difference_examples import DIFFERENCES
from .mended_examples import MENDED
from .quotient_examples import QUOTIENTS

EXAMPLES: dict[str, list[str]] = {
    **DIFFERENCES,
    **QUOTIENTS,
    **MENDED,
    "square(x) / (square(x) + square(y)) -> square(cosine(x, y))": [
        """graph @g(%x: f32[B,4]) {
          %0 = square %x : f32[B,4]
          %1 = constant {value=1.0} : f32[]
          %2 = add %1, %0 : f32[B,4]
          %3 = divide %0, %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = constant {value=3.0} : f32[]
          %1 = square %x : f32[B,4]
          %2 = multiply %0, %1 : f32[B,4]
          %3 = square %y : f32[B,4]
          %4 = add %1, %3 : f32[B,4]
          %5 = divide %2, %4 : f32[B,4]
          return %5
        }""",
    ],
    "sqrt(c * sum(square(x), a)) -> sqrt(c) * length(x, a)": [
        """graph @g(%x: f32[B,4]) {
          %0 = square %x : f32[B,4]
          %1 = sum %0 {axes=(1,)} : f32[B,1]
          %2 = constant {value=0.25} : f32[]
          %3 = multiply %1, %2 : f32[B,1]
          %4 = sqrt %3 : f32[B,1]
          return %4
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = square %x : f32[B,4]
          %1 = sum %0 {axes=(0,)} : f32[1,4]
          %2 = dimension {size=B, dtype=f32} : f32[]
          %3 = divide %1, %2 : f32[1,4]
          %4 = sqrt %3 : f32[1,4]
          return %4
        }""",
    ],
    "sqrt(square(x) + square(y)) -> hypot(x, y)": [
        """graph @g(%x: f32[B,4]) {
          %0 = square %x : f32[B,4]
          %1 = constant {value=1.0} : f32[]
          %2 = add %0, %1 : f32[B,4]
          %3 = rsqrt %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=4.0} : f32[]
          %1 = square %x : f32[B,4]
          %2 = multiply %0, %1 : f32[B,4]
          %3 = sqrt %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = square %x : f32[B,4]
          %1 = sum %0 {axes=(1,)} : f32[B,1]
          %2 = constant {value=1.0} : f32[]
          %3 = add %1, %2 : f32[B,1]
          %4 = sqrt %3 : f32[B,1]
          return %4
        }""",
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = square %x : f32[B,4]
          %1 = multiply %y, %y : f32[B,4]
          %2 = add %0, %1 : f32[B,4]
          %3 = sqrt %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = constant {value=2.0} : f32[]
          %1 = square %x : f32[B,4]
          %2 = multiply %0, %1 : f32[B,4]
          %3 = square %y : f32[B,4]
          %4 = constant {value=3.0} : f32[]
          %5 = add %3, %4 : f32[B,4]
          %6 = add %2, %5 : f32[B,4]
          %7 = sqrt %6 : f32[B,4]
          return %7
        }""",
    ],
    "matmul(row, column) -> sum(square(x), a)": [
        """graph @g(%x: f32[5]) {
          %0 = reshape %x {shape=(1, 5)} : f32[1,5]
          %1 = reshape %x {shape=(5, 1)} : f32[5,1]
          %2 = matmul %0, %1 : f32[1,1]
          return %2
        }""",
    ],
    "sum(x * y, a) / (length(x, a) * length(y, a)) -> sum(x / length * y / length, a)": [
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = multiply %x, %y : f32[B,4]
          %1 = sum %0 {axes=(1,)} : f32[B,1]
          %2 = length %x {axes=(1,)} : f32[B,1]
          %3 = length %y {axes=(1,)} : f32[B,1]
          %4 = multiply %2, %3 : f32[B,1]
          %5 = divide %1, %4 : f32[B,1]
          return %5
        }""",
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = multiply %x, %y : f32[B,4]
          %1 = sum %0 {axes=(1,)} : f32[B,1]
          %2 = length %y {axes=(1,)} : f32[B,1]
          %3 = divide %1, %2 : f32[B,1]
          %4 = length %x {axes=(1,)} : f32[B,1]
          %5 = divide %3, %4 : f32[B,1]
          return %5
        }""",
    ],
    "sum(x * y, a) / n - sum(x, a) / n * sum(y, a) / n -> sum((x - mean) * (y - mean), a) / n": [
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = multiply %x, %y : f32[B,4]
          %1 = sum %0 {axes=(1,)} : f32[B,1]
          %2 = constant {value=0.25} : f32[]
          %3 = multiply %1, %2 : f32[B,1]
          %4 = sum %x {axes=(1,)} : f32[B,1]
          %5 = multiply %4, %2 : f32[B,1]
          %6 = sum %y {axes=(1,)} : f32[B,1]
          %7 = multiply %6, %2 : f32[B,1]
          %8 = multiply %5, %7 : f32[B,1]
          %9 = subtract %3, %8 : f32[B,1]
          return %9
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = sum %x {axes=(1,)} : f32[B,1]
          %1 = square %0 : f32[B,1]
          %2 = negative %1 : f32[B,1]
          %3 = constant {value=0.25} : f32[]
          %4 = multiply %2, %3 : f32[B,1]
          %5 = square %x : f32[B,4]
          %6 = sum %5 {axes=(1,)} : f32[B,1]
          %7 = add %4, %6 : f32[B,1]
          return %7
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = square %x : f32[B,4]
          %1 = sum %0 {axes=(0,)} : f32[1,4]
          %2 = dimension {size=B, dtype=f32} : f32[]
          %3 = divide %1, %2 : f32[1,4]
          %4 = sum %x {axes=(0,)} : f32[1,4]
          %5 = divide %4, %2 : f32[1,4]
          %6 = square %5 : f32[1,4]
          %7 = subtract %3, %6 : f32[1,4]
          return %7
        }""",
    ],
}
