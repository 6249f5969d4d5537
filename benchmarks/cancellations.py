# pyright: standard
"""Rows of the stability table whose trouble is cancellation, squares, and branches not taken.

Differences of what is nearly equal lose digits, squares overflow or underflow below a root, and the
derivative of a branch that `where` does not take may be infinite.
"""

from __future__ import annotations

from gradloom.benchmarks.exponentials import ALL, NONZERO, POSITIVE, WIDE, Inputs
from gradloom.benchmarks.expressions import family

_NOISE = [[10000.25, 9999.5, 10000.0, 10001.0], [-9999.0, -10000.5, -10000.25, -9998.75]]
_SAMPLES: list[Inputs] = [
    {"x": _NOISE},
    {"x": [[1e8, 1e8 + 64, 1e8 - 128, 1e8 + 64], [1e8 + 128, 1e8 - 64, 1e8 - 64, 1e8]]},
    {"x": [[0.5, -0.25, 2.0, 1.0], [3.0, -1.0, 0.125, 0.0]]},
    {"x": [[7.0, 7.0, 7.0, 7.0], [1e-3, 1e-3, 1e-3, 1e-3]]},
]
_THREE: list[Inputs] = [  # no float32 is their mean
    {"x": [[10000.25, 9999.5, 10001.0], [-9999.0, -10000.5, -10000.25]]},
    {"x": [[1e-3, 3e-3, -1e-3], [100.0, 101.0, 99.0]]},
]
_TWO_SAMPLES: list[Inputs] = [
    {"x": _NOISE, "y": [[5000.5, 5000.0, 4999.25, 5002.0], [1.0, 2.0, -3.0, 0.5]]}
]
_POINTS: list[Inputs] = [
    {"x": [0.0, 1e30, 1e-30, 3.0, -1e30, 1e-30], "y": [0.0, 1e30, -1e-30, -4.0, 1.0, 0.0]}
]
_VECTORS: list[Inputs] = [
    {"x": [[0.0, 0.0, 0.0]]},
    {"x": [[1e30, -2e30, 1e29]]},
    {"x": [[1e-30, -2e-30, 0.0]]},
    {"x": [[3.0, -4.0, 12.0], [0.0, 1.0, 1e-4]]},
]
_DIRECTIONS = [*_VECTORS[1:], {"x": [[1e20, 1e20, -1e-20]]}]
_TWO_VECTORS: list[Inputs] = [
    {"x": [[3.0, -4.0, 12.0]], "y": [[1.0, 0.5, -0.25]]},
    {"x": [[1e30, -2e30, 1e29]], "y": [[1e-30, 2e-30, 5e-30]]},
]
_CLOSE_VECTORS: list[Inputs] = [
    *_TWO_VECTORS,
    {"x": [[3.0, -4.0, 12.0]], "y": [[3.0, -4.0, 12.0]]},
    {"x": [[1e30, -2e30, 1e29]], "y": [[-1e30, 2e30, 0.0]]},
]
_SIGNED = [-1e4, -100.0, -1.0, -1e-30, 0.0, 1e-30, 0.25, 4.0, 100.0, 1e4]
_TINY = [1e-30, 1e-8, 1e-4, -1e-4, 1e-3, 0.0]
_ANGLES = [*_TINY, 0.5, -1.5, 3.0, 100.0]
_POSITIVES = [value for value in POSITIVE if 1e-8 <= value]
_TAILS = [-1e4, -100.0, -12.0, -5.0, -0.5, -1e-4, 0.0, 1e-30, 0.25, 2.0, 5.0, 9.0, 100.0, 1e4]
_AFTER_ONE = [0.0, 1e-30, 1e-8, 1e-4, 0.25, 3.0]

CANCELLATIONS = [
    *family(
        "variance",
        _SAMPLES,
        "mean(x * x, 1) - mean(x, 1) ** 2",
        "mean(x**2, 1, keepdims=True) - mean(x, 1, keepdims=True) ** 2",
        "mean(x**2, 0) - (m := mean(x, 0)) * m",
        "mean(x**2) - mean(x) ** 2",
        "sum(x * x, 1) / 4 - (sum(x, 1) / 4) ** 2",
        "(sum(x**2, 1) - sum(x, 1) ** 2 / 4) / 3",
        "0.25 * sum(x**2, 1) - 0.0625 * sum(x, 1) ** 2",
        "-(mean(x, 1) ** 2) + mean(x * x, 1)",
        "mean((2 * x) ** 2, 1) - mean(2 * x, 1) ** 2",
        "mean(reshape(transpose(x), (8,)) ** 2) - mean(x) ** 2",
    ),
    *family(
        "variance",
        _SAMPLES[:3],
        "sqrt(mean(x * x, 1) - mean(x, 1) ** 2)",
        "(x - (m := mean(x, 1, keepdims=True)))"
        " / sqrt(mean(x**2, 1, keepdims=True) - m**2 + 0.0625)",
    ),
    *family(
        "variance",
        _THREE,
        "mean(x * x, 1) - mean(x, 1) ** 2",
        "(sum(x**2, 1) - sum(x, 1) ** 2 / 3) / 2",
        "mean((x - mean(x, 1, keepdims=True)) ** 2, 1)",
    ),
    *family("variance", _TWO_SAMPLES, "mean(x * y, 1) - mean(x, 1) * mean(y, 1)"),
    *family(
        "norm",
        _POINTS,
        "sqrt(x * x + y * y)",
        "sqrt(y**2 + x**2)",
        "(x**2 + y**2) ** 0.5",
        "2 * sqrt(abs(x) ** 2 + abs(y) ** 2)",
        alone=True,
    ),
    *family(
        "norm",
        _VECTORS,
        "sqrt(sum(x**2, 1))",
        "sum(x * x, 1, keepdims=True) ** 0.5",
        "sqrt(sum(abs(x) ** 2))",
        "sqrt(mean(x**2, 1))",
        "sqrt(sum((3 * x) ** 2, 1))",
        "sqrt(x[:, 0] ** 2 + x[:, 1] ** 2 + x[:, 2] ** 2)",
        "sqrt(matmul(x, transpose(x)))[0, 0]",
        "sqrt(sum(x**2, 1, keepdims=True)) * 0.5 + x",
    ),
    *family(
        "norm",
        _DIRECTIONS,
        "x / sqrt(sum(x**2, 1, keepdims=True))",
        "x * sum(x**2, 1, keepdims=True) ** -0.5",
        "(1 / sqrt(sum(x * x, 1, keepdims=True))) * x",
    ),
    *family(
        "norm",
        _TWO_VECTORS,
        "sum(x * y, 1) / (sqrt(sum(x**2, 1)) * sqrt(sum(y**2, 1)))",
        "sum(x / sqrt(sum(x**2, 1, keepdims=True)) * y / sqrt(sum(y**2, 1, keepdims=True)), 1)",
    ),
    *family("norm", _CLOSE_VECTORS, "sqrt(sum((x - y) ** 2, 1))"),
    *family(
        "branches",
        [{"x": _SIGNED}],
        "where(x > 0, sqrt(x), 0.0)",
        "where(x > 0, log(x), 0.0)",
        "where(x > 0, 1 / x, 0.0)",
        "where(x > 0, x**0.5, -((-x) ** 0.5))",
        "where(x > 0, x * log(x), 0.0)",
        "where(x <= 0, 0.0, sqrt(x) * 2 + 1 / x)",
        "where(not_equal(x, 0), sin(x) / x, 1.0)",
        "where(not_equal(x, 0), x / abs(x), 0.0)",
        "where(x < 80, exp(x), 0.0)",
        "where(x > 1, log(x - 1), where(x > 0, sqrt(x), 0.0))",
        "where(abs(x) < 1, log(1 - x * x), 0.0)",
        "sqrt(where(x > 0, x, 1.0))",
        "where(x > 0, log(where(x > 0, x, 1.0)), 0.0)",
        "where(x > 0, sqrt(x * 0.25 + 0 * x), 0.0) * 3",
        alone=True,
    ),
    *family(
        "branches",
        [{"x": [1.0, 0.0, 1e4, 0.0], "y": [2.0, 0.0, 0.0, 3.0], "m": [1.0, 0.0, 1.0, 0.0]}],
        "where(not_equal(y, 0), x / y, 0.0)",
        "where(m > 0, sqrt(x), y)",
        "m * sqrt(x)",
        "m * log(x)",
        alone=True,
    ),
    *family(
        "branches",
        [{"x": [[4.0, 0.0, 1.0], [0.0, 0.0, 0.0]], "i": [0, 2]}],
        "sum(where(x > 0, sqrt(x), 0.0), 1)",
        "where(sum(x, 1) > 0, sqrt(sum(x * x, 1)), 0.0)",
        "sqrt(x)[:1, ::2] * 2",
    ),
    *family(
        "differences",
        [{"x": _ANGLES}],
        "1 - cos(x)",
        "cos(x) - 1",
        "-cos(2 * x) + 1",
        "3 * (1 - cos(x / 2))",
        alone=True,
    ),
    *family(
        "differences",
        [{"x": [1e-8, 1e-4, -1e-4, 1e-3, 0.5, -1.5, 3.0]}],
        "(1 - cos(x)) / (x * x)",
        "(1 - cos(x)) / x",
        "sqrt((1 - cos(x)) / 2)",
        "sin(x) / x",
        alone=True,
    ),
    *family(
        "differences",
        [{"x": _POSITIVES}],
        "sqrt(x + 1) - sqrt(x)",
        "-sqrt(x) + sqrt(1 + x)",
        "sqrt(x + 2) - sqrt(x + 1)",
        "1 / (sqrt(x + 1) - sqrt(x))",
        "sqrt(x * x + 1) - x",
        "1 / x - 1 / (x + 1)",
        alone=True,
    ),
    *family(
        "differences",
        [{"x": _AFTER_ONE}],
        "sqrt(1 + x) - 1",
        "1 - sqrt(1 + x * x)",
        "1 / (1 + x) - 1",
        "(1 + x) ** 2 - 1",
        alone=True,
    ),
    *family(
        "differences",
        [{"x": [1e4, 3.0, 1.0], "y": [9999.0, 3.001, 1.0]}],
        "x * x - y * y",
        alone=True,
    ),
    *family(
        "hyperbolic",
        [{"x": ALL}],
        "(exp(x) - exp(-x)) / (exp(x) + exp(-x))",
        "(exp(2 * x) - 1) / (exp(2 * x) + 1)",
        "(1 - exp(-2 * x)) / (1 + exp(-2 * x))",
        "1 - 2 / (exp(2 * x) + 1)",
        "2 / (1 + exp(-2 * x)) - 1",
        "sinh(x) / cosh(x)",
        "2 / (exp(x) + exp(-x))",
        "1 / cosh(x)",
        "log(cosh(x))",
        "log((exp(x) + exp(-x)) / 2)",
        "1 - tanh(x) ** 2",
        "1 - tanh(x)",
        alone=True,
    ),
    *family(
        "hyperbolic",
        [{"x": [*_ANGLES[:-1], 20.0, -80.0, 80.0]}],
        "(exp(x) - exp(-x)) / 2",
        "0.5 * exp(x) - 0.5 * exp(-x)",
        "cosh(x) - 1",
        alone=True,
    ),
    *family(
        "hyperbolic",
        [{"x": [value for value in ALL if abs(value) <= 1e4]}],
        "log(x + sqrt(x * x + 1))",
        alone=True,
    ),
    *family(
        "error function",
        [{"x": _TAILS}],
        "1 - erf(x)",
        "erf(x) - 1",
        "1 + erf(x)",
        "0.5 * (1 + erf(x / root2))",
        "0.5 * x * (1 + erf(x / root2))",
        "(1 - erf(x / root2)) / 2",
        alone=True,
    ),
    *family(
        "error function",
        [{"x": _TAILS}],
        "log(1 - erf(x))",
        alone=True,
        truth="log(erfc(x))",
    ),
    *family(
        "error function",
        [{"x": _TAILS}],
        "log(0.5 * (1 + erf(x / root2)))",
        alone=True,
        truth="log(erfc(-x / root2) / 2)",
    ),
    *family("error function", [{"x": WIDE}, {"x": NONZERO}], "erf(x) * 2", alone=True),
    *family(
        "differences",
        [{"x": [3.0, 9.0, 20.0, 100.0, 1e4, 0.5, -1.5, 1e-8]}],
        "1 - x / sqrt(1 + x * x)",
        alone=True,
    ),
    *family("differences", [{"x": [3.0, 20.0, 100.0, 1e4]}], "(sqrt(x * x - 4) - x) / 2"),
    *family(
        "differences",
        [{"x": [1e-30, -1e-8, 1e-4, 1e-3, 0.5, -1.5]}],
        "(1 - cos(x)) / sin(x)",
        alone=True,
    ),
    *family(
        "variance",
        _THREE[:1],
        "x - mean(x, 1, keepdims=True)",
        "(x - (m := mean(x, 1, keepdims=True)))"
        " / sqrt(mean(x**2, 1, keepdims=True) - m**2 + 0.0625)",
    ),
    *family("norm", [{"x": [[1e25, 2e25, 0.0], [1e-25, -3e-25, 1e-25]]}], "log(sum(x * x, 1))"),
]
