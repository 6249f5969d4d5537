# pyright: standard
"""Rules stay within the range of their dtype: what is finite as it is written remains so.

Every formula at inputs where a product, a square or a number of the form that a rule gives it would
overflow or underflow, against float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl

CASES: list[tuple[str, str, dict[str, list[float]]]] = [
    # √a − k as (a − k²) / (√a + k)
    ("float16", "sqrt(x) - 300.0", {"x": [300.0, 6e4, 4.0]}),
    ("float16", "hypot(x, 2.0) - 1", {"x": [300.0, 0.0, 6e4]}),
    ("float16", "0.5 - 1 / hypot(x, 10.0)", {"x": [1000.0, 3.0]}),
    (
        "float16",
        "hypot(x, y) - hypot(x, z)",
        {"x": [3e4, 300.0], "y": [3e4, 1.0], "z": [10.0, 300.0]},
    ),
    ("float32", "hypot(x, y) - 1", {"x": [1e30, 3.0], "y": [1.0, 4.0]}),
    (
        "float32",
        "hypot(x, y) - hypot(x, z)",
        {"x": [1e30, 1.0], "y": [1e30, 1e-5], "z": [3e30, 1e-4]},
    ),
    ("float32", "sqrt(x) - 1", {"x": [np.inf, 0.0, 1.0, 1e38]}),
    ("float32", "sqrt(1 + x) - 1", {"x": [np.inf, 0.0, 1e-5, 1e38]}),
    ("float32", "sqrt(1 + x * x) - 1", {"x": [np.inf, 0.0, 1e-5, 1e30]}),
    ("float32", "sqrt(x) - sqrt(y)", {"x": [np.inf, 0.0, 1.0], "y": [1.0, 0.0, 1.0001]}),
    ("float32", "hypot(x, 1e-20) + x", {"x": [1e20, 0.0]}),
    ("float32", "1 / sqrt(x) - 1 / sqrt(x + 1e30)", {"x": [1e30, 3e30]}),
    ("float32", "x / (1 + y) - x / (1 + z)", {"x": [1e30], "y": [1e29], "z": [1e30]}),
    # numbers that meet
    ("float16", "(100 * x) / (1e-3 * y)", {"x": [0.01], "y": [100.0]}),
    ("float16", "2**-10 * (2**-15 * x)", {"x": [6e4]}),
    ("float32", "(1e30 * x) / (1e-20 * y)", {"x": [1e-20], "y": [1e10]}),
    ("float32", "(1e20 * x) / (2 * y)", {"x": [1e-30], "y": [1e20]}),
    ("float32", "1e30 * (2.0**60 * x)", {"x": [1e-25]}),
    # the order of a product
    ("float32", "(x / y) * exp(z) * (x / y) * exp(z)", {"x": [1e25], "y": [1e25], "z": [1.0]}),
    # sums and squares of halves
    ("float16", "sqrt(mean(x * x))", {"x": [300.0, 310.0, 320.0]}),
    ("float16", "mean(x * x) - square(mean(x))", {"x": [300.0, 310.0, 320.0]}),
    (
        "float16",
        "sum(x * y) / (sqrt(sum(x * x)) * sqrt(sum(y * y)))",
        {"x": [300.0, 200.0], "y": [2.0, 400.0]},
    ),
    ("float16", "sin(x) / x", {"x": [1e-3, 0.1, 0.6]}),
    ("float16", "1 - cos(x)", {"x": [0.01, 0.1, 1.0]}),
    ("float16", "x * x / (1 + x * x)", {"x": [0.01, 300.0, 6e4]}),
    ("float16", "sinh(x) / cosh(x)", {"x": [0.01, 8.0, 100.0]}),
    ("bfloat16", "1 - cos(x)", {"x": [0.01, 0.1, 1.0]}),
    ("bfloat16", "sqrt(mean(x * x))", {"x": [1e19, 2e19, 3e20]}),
    ("float32", "exp(x) - exp(y)", {"x": [-np.inf, 3.0], "y": [-np.inf, 2.0]}),
]
NAMES = "sqrt hypot mean square sin cos exp sum sinh cosh".split()
OURS: dict[str, Any] = {name: getattr(gl, name) for name in NAMES}
EXACT: dict[str, Any] = {name: getattr(np, name) for name in NAMES if name != "square"}
EXACT["square"] = np.square


@pytest.mark.parametrize("dtype, formula, inputs", CASES, ids=lambda case: str(case)[:60])
def test_stays_in_range(dtype: str, formula: str, inputs: dict[str, list[float]]):
    leaves = {name: gl.placeholder((len(v),), dtype, name=name) for name, v in inputs.items()}
    compiled = gl.function(list(leaves.values()), eval(formula, {**OURS, **leaves}))
    fed = [np.asarray(gl.constant(values, dtype).eval()) for values in inputs.values()]
    found = np.asarray(compiled(*fed), np.float64)
    with np.errstate(all="ignore"):
        wide = dict(zip(inputs, (values.astype(np.float64) for values in fed), strict=True))
        exact = eval(formula, {**EXACT, **wide})
    tolerance = 8 * gl.finfo(dtype).eps
    np.testing.assert_allclose(
        found, exact, rtol=tolerance, atol=2 * gl.finfo(dtype).smallest_normal
    )


def test_a_root_without_a_value_is_not_hidden():
    x, y = (gl.placeholder((1,), name=name) for name in "xy")
    compiled = gl.function([x, y], gl.sqrt(x) - gl.sqrt(y))
    value = np.array([-1.0], np.float32)
    assert np.isnan(compiled(value, value)).all()


def test_gradient_of_a_root_mean_square_of_halves():
    x = gl.placeholder((3,), "float16", name="x")
    values = np.array([300.0, 310.0, 320.0])
    compiled = gl.function([x], gl.grad(gl.sqrt(gl.mean(x * x)), x))
    length = np.sqrt(np.square(values).mean())
    np.testing.assert_allclose(compiled(values.astype(np.float16)), values / length / 3, 1e-3)
