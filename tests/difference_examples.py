"""Graphs on which the coded rules about differences fire: pairs of terms that cancel."""

from __future__ import annotations

DIFFERENCES: dict[str, list[str]] = {
    "exp_difference(y + c, y) -> exp(y) * expm1(c)": [
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=0.5} : f32[]
          %1 = add %x, %0 : f32[B,4]
          %2 = exp_difference %1, %x : f32[B,4]
          return %2
        }""",
    ],
    "f(x) - f(y) -> g(x, y)": [
        """graph @g(%x: f32[B,4]) {
          %0 = cosh %x : f32[B,4]
          %1 = sinh %x : f32[B,4]
          %2 = subtract %0, %1 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = add %x, %0 : f32[B,4]
          %2 = cosh %1 : f32[B,4]
          %3 = cosh %x : f32[B,4]
          %4 = subtract %2, %3 : f32[B,4]
          return %4
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = add %x, %0 : f32[B,4]
          %2 = square %1 : f32[B,4]
          %3 = multiply %1, %2 : f32[B,4]
          %4 = subtract %3, %0 : f32[B,4]
          return %4
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = cos %x : f32[B,4]
          %2 = subtract %0, %1 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = cosh %x : f32[B,4]
          %1 = constant {value=1.0} : f32[]
          %2 = subtract %0, %1 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=3.0} : f32[]
          %1 = tanh %x : f32[B,4]
          %2 = multiply %0, %1 : f32[B,4]
          %3 = subtract %0, %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = add %x, %0 : f32[B,4]
          %2 = sqrt %1 : f32[B,4]
          %3 = sqrt %x : f32[B,4]
          %4 = subtract %2, %3 : f32[B,4]
          return %4
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=2.0} : f32[]
          %1 = hypot %x, %0 : f32[B,4]
          %2 = subtract %1, %x : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=2.0} : f32[]
          %1 = hypot %x, %0 : f32[B,4]
          %2 = abs %x : f32[B,4]
          %3 = subtract %1, %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = hypot %x, %0 : f32[B,4]
          %2 = add %1, %x : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = square %x : f32[B,4]
          %1 = square %y : f32[B,4]
          %2 = subtract %0, %1 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = add %0, %x : f32[B,4]
          %2 = multiply %1, %1 : f32[B,4]
          %3 = subtract %2, %0 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = divide %0, %x : f32[B,4]
          %2 = add %x, %0 : f32[B,4]
          %3 = divide %0, %2 : f32[B,4]
          %4 = subtract %1, %3 : f32[B,4]
          return %4
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = add %0, %x : f32[B,4]
          %2 = divide %x, %1 : f32[B,4]
          %3 = subtract %2, %0 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = cos %x : f32[B,4]
          %2 = divide %0, %1 : f32[B,4]
          %3 = subtract %2, %0 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = add %x, %0 : f32[B,4]
          %2 = sin %1 : f32[B,4]
          %3 = sin %x : f32[B,4]
          %4 = subtract %2, %3 : f32[B,4]
          return %4
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = add %x, %0 : f32[B,4]
          %2 = cos %1 : f32[B,4]
          %3 = cos %x : f32[B,4]
          %4 = subtract %2, %3 : f32[B,4]
          return %4
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = add %x, %0 : f32[B,4]
          %2 = tan %1 : f32[B,4]
          %3 = tan %x : f32[B,4]
          %4 = subtract %2, %3 : f32[B,4]
          return %4
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = abs %x : f32[B,4]
          %1 = constant {value=1.0} : f32[]
          %2 = add %0, %1 : f32[B,4]
          %3 = rsqrt %2 : f32[B,4]
          %4 = rsqrt %0 : f32[B,4]
          %5 = subtract %3, %4 : f32[B,4]
          return %5
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = abs %x : f32[B,4]
          %1 = sqrt %0 : f32[B,4]
          %2 = constant {value=2.0} : f32[]
          %3 = subtract %1, %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = constant {value=0.5} : f32[]
          %1 = exp %x : f32[B,4]
          %2 = multiply %0, %1 : f32[B,4]
          %3 = exp %y : f32[B,4]
          %4 = multiply %0, %3 : f32[B,4]
          %5 = subtract %2, %4 : f32[B,4]
          return %5
        }""",
        """graph @g(%x: f32[B,4], %y: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = add %y, %0 : f32[B,4]
          %2 = cos %x : f32[B,4]
          %3 = subtract %1, %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = sin %x : f32[B,4]
          %2 = square %1 : f32[B,4]
          %3 = subtract %0, %2 : f32[B,4]
          return %3
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = square %x : f32[B,4]
          %1 = constant {value=1.0} : f32[]
          %2 = add %0, %1 : f32[B,4]
          %3 = sqrt %2 : f32[B,4]
          %4 = subtract %3, %1 : f32[B,4]
          return %4
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=1.0} : f32[]
          %1 = erf %x : f32[B,4]
          %2 = add %0, %1 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = sigmoid %x : f32[B,4]
          %1 = constant {value=0.5} : f32[]
          %2 = subtract %0, %1 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = normal_cdf %x : f32[B,4]
          %1 = constant {value=0.5} : f32[]
          %2 = subtract %0, %1 : f32[B,4]
          return %2
        }""",
    ],
}
