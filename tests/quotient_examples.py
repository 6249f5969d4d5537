"""Graphs on which the coded rules about quotients fire."""

from __future__ import annotations

QUOTIENTS: dict[str, list[str]] = {
    "exp(square(x)) * erfc(x) -> erfcx(x)": [
        """graph @g(%x: f32[B,4]) {
          %0 = square %x : f32[B,4]
          %1 = exp %0 : f32[B,4]
          %2 = erfc %x : f32[B,4]
          %3 = multiply %1, %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = normal_cdf %x : f32[B,4]
          %1 = constant {value=-0.5} : f32[]
          %2 = square %x : f32[B,4]
          %3 = multiply %1, %2 : f32[B,4]
          %4 = exp %3 : f32[B,4]
          %5 = divide %0, %4 : f32[B,4]
          return %5
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=3.0} : f32[]
          %1 = constant {value=2.0} : f32[]
          %2 = multiply %1, %x : f32[B,4]
          %3 = square %2 : f32[B,4]
          %4 = negative %3 : f32[B,4]
          %5 = exp %4 : f32[B,4]
          %6 = multiply %0, %5 : f32[B,4]
          %7 = erfc %2 : f32[B,4]
          %8 = divide %6, %7 : f32[B,4]
          return %8
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = multiply %x, %x : f32[B,4]
          %1 = constant {value=0.5} : f32[]
          %2 = multiply %0, %1 : f32[B,4]
          %3 = exp %2 : f32[B,4]
          %4 = negative %x : f32[B,4]
          %5 = normal_cdf %4 : f32[B,4]
          %6 = multiply %3, %5 : f32[B,4]
          return %6
        }""",
    ],
    "exp((x + y) / 2) / (exp(x) + exp(y)) -> 0.5 * sech((x - y) / 2)": [
        """graph @g(%x: f32[B,4]) {
          %0 = exp %x : f32[B,4]
          %1 = constant {value=1.0} : f32[]
          %2 = add %1, %0 : f32[B,4]
          %3 = square %2 : f32[B,4]
          %4 = divide %0, %3 : f32[B,4]
          return %4
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = exp %x : f32[B,4]
          %1 = constant {value=2.0} : f32[]
          %2 = multiply %1, %x : f32[B,4]
          %3 = exp %2 : f32[B,4]
          %4 = constant {value=1.0} : f32[]
          %5 = add %3, %4 : f32[B,4]
          %6 = divide %0, %5 : f32[B,4]
          return %6
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=2.0} : f32[]
          %1 = exp %x : f32[B,4]
          %2 = negative %x : f32[B,4]
          %3 = exp %2 : f32[B,4]
          %4 = add %1, %3 : f32[B,4]
          %5 = divide %0, %4 : f32[B,4]
          return %5
        }""",
    ],
    "c / (d / x) -> (c / d) * x": [
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = divide %0, %x : f32[B,4]
          %2 = divide %0, %1 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=3.0} : f32[]
          %1 = constant {value=-2.0} : f32[]
          %2 = divide %1, %x : f32[B,4]
          %3 = constant {value=0.5} : f32[]
          %4 = multiply %2, %3 : f32[B,4]
          %5 = divide %0, %4 : f32[B,4]
          return %5
        }""",
    ],
    "x / (1 + x) -> 1 - 1 / (1 + x)": [
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = add %0, %x : f32[B,4]
          %2 = divide %x, %1 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=2.0} : f32[]
          %1 = multiply %0, %x : f32[B,4]
          %2 = constant {value=3.0} : f32[]
          %3 = add %x, %2 : f32[B,4]
          %4 = divide %1, %3 : f32[B,4]
          return %4
        }""",
    ],
    "sinh(x) * sech(x) -> tanh(x)": [
        """graph @g(%x: f32[B,4]) {
          %0 = negative %x : f32[B,4]
          %1 = exp_difference %0, %x : f32[B,4]
          %2 = constant {value=0.5} : f32[]
          %3 = sech %x : f32[B,4]
          %4 = multiply %2, %3 : f32[B,4]
          %5 = multiply %1, %4 : f32[B,4]
          return %5
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=3.0} : f32[]
          %1 = subtract %0, %x : f32[B,4]
          %2 = subtract %x, %0 : f32[B,4]
          %3 = sech %2 : f32[B,4]
          %4 = sinh %1 : f32[B,4]
          %5 = multiply %3, %4 : f32[B,4]
          return %5
        }""",
    ],
    "sinh(x) / cosh(x) -> tanh(x)": [
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=3.0} : f32[]
          %1 = cosh %x : f32[B,4]
          %2 = square %1 : f32[B,4]
          %3 = divide %0, %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = sinh %x : f32[B,4]
          %1 = cosh %x : f32[B,4]
          %2 = divide %0, %1 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = negative %x : f32[B,4]
          %1 = cosh %0 : f32[B,4]
          %2 = constant {value=2.0} : f32[]
          %3 = sinh %x : f32[B,4]
          %4 = multiply %2, %3 : f32[B,4]
          %5 = divide %1, %4 : f32[B,4]
          return %5
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = exp %x : f32[B,4]
          %1 = negative %x : f32[B,4]
          %2 = exp %1 : f32[B,4]
          %3 = subtract %0, %2 : f32[B,4]
          %4 = add %2, %0 : f32[B,4]
          %5 = divide %3, %4 : f32[B,4]
          return %5
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = cosh %x : f32[B,4]
          %2 = divide %0, %1 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = negative %x : f32[B,4]
          %1 = exp %0 : f32[B,4]
          %2 = cosh %x : f32[B,4]
          %3 = divide %1, %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=3.0} : f32[]
          %1 = negative %x : f32[B,4]
          %2 = sinh %1 : f32[B,4]
          %3 = multiply %0, %2 : f32[B,4]
          %4 = exp %x : f32[B,4]
          %5 = exp %1 : f32[B,4]
          %6 = add %4, %5 : f32[B,4]
          %7 = divide %3, %6 : f32[B,4]
          return %7
        }""",
        """graph @g(%y: f32[B,4]) {
          %0 = constant {value=2.0} : f32[]
          %1 = multiply %0, %y : f32[B,4]
          %2 = exp %1 : f32[B,4]
          %3 = constant {value=-2.0} : f32[]
          %4 = multiply %3, %y : f32[B,4]
          %5 = exp %4 : f32[B,4]
          %6 = add %2, %5 : f32[B,4]
          %7 = divide %0, %6 : f32[B,4]
          return %7
        }""",
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = constant {value=0.5} : f32[]
          %1 = cosh %y : f32[B,4]
          %2 = multiply %0, %1 : f32[B,4]
          %3 = divide %x, %2 : f32[B,4]
          return %3
        }""",
    ],
    "c * x / (c * y) -> x / y": [
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = constant {value=3.0} : f32[]
          %1 = multiply %x, %0 : f32[B,4]
          %2 = constant {value=-3.0} : f32[]
          %3 = multiply %2, %y : f32[B,4]
          %4 = divide %1, %3 : f32[B,4]
          return %4
        }""",
    ],
    "f(x) / x -> series(x)": [
        """graph @g(%x: f32[B,4]) {
          %0 = sin %x : f32[B,4]
          %1 = divide %x, %0 : f32[B,4]
          return %1
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=2.0} : f32[]
          %1 = multiply %0, %x : f32[B,4]
          %2 = expm1 %x : f32[B,4]
          %3 = divide %1, %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = sin %x : f32[B,4]
          %1 = divide %0, %x : f32[B,4]
          return %1
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=2.0} : f32[]
          %1 = multiply %0, %x : f32[B,4]
          %2 = sinh %1 : f32[B,4]
          %3 = constant {value=3.0} : f32[]
          %4 = multiply %3, %x : f32[B,4]
          %5 = divide %2, %4 : f32[B,4]
          return %5
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = expm1 %x : f32[B,4]
          %1 = divide %0, %x : f32[B,4]
          return %1
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = abs %x : f32[B,4]
          %1 = log1p %0 : f32[B,4]
          %2 = divide %1, %0 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=2.0} : f32[]
          %1 = constant {value=0.5} : f32[]
          %2 = multiply %1, %x : f32[B,4]
          %3 = sin %2 : f32[B,4]
          %4 = square %3 : f32[B,4]
          %5 = multiply %0, %4 : f32[B,4]
          %6 = square %x : f32[B,4]
          %7 = divide %5, %6 : f32[B,4]
          return %7
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=0.5} : f32[]
          %1 = multiply %0, %x : f32[B,4]
          %2 = sin %1 : f32[B,4]
          %3 = square %2 : f32[B,4]
          %4 = divide %3, %x : f32[B,4]
          return %4
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = tan %x : f32[B,4]
          %1 = divide %0, %x : f32[B,4]
          return %1
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = tanh %x : f32[B,4]
          %1 = divide %0, %x : f32[B,4]
          return %1
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = asinh %x : f32[B,4]
          %1 = divide %0, %x : f32[B,4]
          return %1
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = atan %x : f32[B,4]
          %1 = divide %0, %x : f32[B,4]
          return %1
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = erf %x : f32[B,4]
          %1 = divide %0, %x : f32[B,4]
          return %1
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = tanh %x : f32[B,4]
          %1 = asin %0 : f32[B,4]
          %2 = divide %1, %0 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = sin %x : f32[B,4]
          %1 = atanh %0 : f32[B,4]
          %2 = divide %1, %0 : f32[B,4]
          return %2
        }""",
    ],
    "erfc(x / -1.4142135) -> 2 * normal_cdf(x)": [
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=-1.4142135623730951} : f32[]
          %1 = divide %x, %0 : f32[B,4]
          %2 = erfc %1 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=0.7071067811865476} : f32[]
          %1 = multiply %x, %0 : f32[B,4]
          %2 = erfc %1 : f32[B,4]
          return %2
        }""",
    ],
    "c * (d * x) -> (c * d) * x": [
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=0.5} : f32[]
          %1 = constant {value=3.0} : f32[]
          %2 = multiply %1, %x : f32[B,4]
          %3 = multiply %0, %2 : f32[B,4]
          return %3
        }""",
    ],
}
