# pyright: basic
"""Accuracy of the vector mathematics: errors in units in the last place, against mpmath.

    python benchmarks/accuracy.py                   # prints the table, writes docs/accuracy.md
    python benchmarks/accuracy.py tanh exp --quick  # a look at some rows

Arguments are bit patterns at even distances (so each exponent counts alike), special values, an
ordinary interval, and both sides of 0 and 1.  For float32 the reference is NumPy's float64, and
mpmath where that finds the largest errors; for float64 it is mpmath with 200 bits.  What has no
finite value has to be the same infinity, or nan.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import mpmath
import numpy as np

TABLE: Any = import_module("gradloom.ir.op").TABLE
PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"

LANES = 16
# The results (None) and errors of Numba's convention, then ours.
PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 2)
DTYPES = {"f32": np.float32, "f64": np.float64}
CONTEXT: Any = mpmath.mp.clone()
CONTEXT.prec = 200
Wide = Callable[[np.ndarray], np.ndarray]


class Function(NamedTuple):
    """Bounds for float32 and float64, references, and the interval of ordinary values."""

    bounds: tuple[float, float]
    wide: Wide
    exact: Callable[[Any], Any]
    low: tuple[float, float] = (-4.0, -4.0)
    high: tuple[float, float] = (4.0, 4.0)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


mp = CONTEXT
_erfc = np.vectorize(math.erfc, [float])
FUNCTIONS = {
    "exp": Function((1.0, 0.9), np.exp, mp.exp, (-104, -746), (89, 710)),
    "exp2": Function((1.0, 1.0), np.exp2, lambda x: mp.mpf(2) ** x, (-151, -1076), (129, 1025)),
    "expm1": Function((1.7, 1.8), np.expm1, mp.expm1, (-30, -50), (89, 710)),
    "log": Function((1.0, 1.0), np.log, mp.log, (0, 0)),
    "log2": Function((1.1, 1.0), np.log2, lambda x: mp.log(x) / mp.log(2), (0, 0)),
    "log1p": Function((1.6, 1.4), np.log1p, mp.log1p, (-1, -1)),
    "tanh": Function((1.4, 1.3), np.tanh, mp.tanh, (-10, -22), (10, 22)),
    "sigmoid": Function(
        (1.7, 1.3), _sigmoid, lambda x: 1 / (1 + mp.exp(-x)), (-104, -746), (20, 40)
    ),
    "erf": Function((1.1, 1.1), np.vectorize(math.erf, [float]), mp.erf, (-4.5, -6.5), (4.5, 6.5)),
    "rsqrt": Function((1.5, 1.5), lambda x: 1 / np.sqrt(x), lambda x: 1 / mp.sqrt(x), (0, 0)),
    "log10": Function((0.6, 0.6), np.log10, mp.log10, (0, 0)),
    "cbrt": Function((0.6, 0.6), np.cbrt, lambda x: mp.sign(x) * mp.cbrt(abs(x))),
    "erfc": Function((2.4, 1.8), _erfc, lambda x: mp.erfc(min(x, 40)), (-4, -6), (10.2, 27)),
    "erfinv": Function((0.6, 2.4), TABLE["erfinv"].reference, mp.erfinv, (-1, -1), (1, 1)),
    "normal_cdf": Function(
        (2.4, 2.2),
        TABLE["normal_cdf"].reference,
        lambda x: mp.erfc(min(-x / mp.sqrt(2), 40)) / 2,
        (-14.4, -38.6),
        (6, 9),
    ),
    "asin": Function((1.3, 1.9), np.asin, mp.asin, (-1, -1), (1, 1)),
    "acos": Function((1.2, 1.2), np.acos, mp.acos, (-1, -1), (1, 1)),
    "atan": Function((1.2, 1.2), np.atan, mp.atan, (-9, -9), (9, 9)),
    "sinh": Function((1.7, 1.6), np.sinh, mp.sinh, (-89, -710), (89, 710)),
    "cosh": Function((1.6, 1.4), np.cosh, mp.cosh, (-89, -710), (89, 710)),
    "asinh": Function((0.6, 1.8), np.asinh, mp.asinh),
    "acosh": Function((0.6, 2.0), np.acosh, mp.acosh, (1, 1), (9, 9)),
    "atanh": Function((0.6, 2.0), np.atanh, mp.atanh, (-1, -1), (1, 1)),
    "tan": Function((0.6, 3.0), np.tan, mp.tan, (-1e6, -100), (1e6, 100)),
    "sin": Function((1.9, 1.7), np.sin, mp.sin, (-1e6, -100), (1e6, 100)),
    "cos": Function((1.9, 1.7), np.cos, mp.cos, (-1e6, -100), (1e6, 100)),
}


def compute(expression: str, dtype: str, *arguments: np.ndarray, lanes: int = LANES) -> np.ndarray:
    """The expression of x (and y) by a kernel."""
    lines = [f"r = {dtype}_pointer(buffers, 0)"]
    names = "xy"[: len(arguments)]
    lines += [f"p{name} = {dtype}_pointer(buffers, {k + 1})" for k, name in enumerate(names)]
    lines += [f"for i in range(0, dims[0], {lanes}):", "    m = lanes(dims[0] - i)"]
    lines += [f"    {name} = load(p{name}, i, m)" for name in names]
    lines += [f"    store(r, i, {expression}, m)"]
    text = "".join(f"    {line}\n" for line in lines)
    text = f"def kernel(buffers, dims, status, tid, nth):\n{text}"
    loader: Any = import_module("gradloom.runtime.loader")
    function = PROTOTYPE(loader.load_kernel(text, lanes))
    result = np.empty_like(arguments[0])
    table = np.array([array.ctypes.data for array in (result, *arguments)], np.int64)
    dims = np.array([result.size, 0], np.int64)
    unused = np.zeros(2, np.int64)
    function(*(array.ctypes.data for array in (unused, unused, table, dims, unused)), 0, 1)
    return result


def arguments_of(function: Function, dtype: str, size: int) -> np.ndarray:
    """Special values, all bit patterns alike, the ordinary interval, and both sides of 0 and 1."""
    random = np.random.default_rng(11)
    single = dtype == "f32"
    low, high = (pair[0 if single else 1] for pair in (function.low, function.high))
    word = np.uint32 if single else np.uint64
    patterns = random.integers(0, np.iinfo(word).max, size, word, endpoint=True)
    limits = np.finfo(DTYPES[dtype])
    special = [0.0, 1.0, 2.0, np.inf, np.nan, limits.max, limits.tiny, limits.smallest_subnormal]
    special += [88.72284, 88.72283, 103.97, 709.782712893384, 709.79, 745.1, 745.2, 1022.0, 1024.0]
    special += [126.0, 128.0, 149.0, 150.0, 0.6, 0.34657, 0.41421, 0.70710678, 1.41421356]
    near = random.standard_normal(size) * 10.0 ** random.uniform(-9, 0, size)
    parts = [special, np.negative(special), random.uniform(low, high, size), near, 1 + near]
    return np.concatenate([patterns.view(DTYPES[dtype]), *parts]).astype(DTYPES[dtype])


def distance(actual: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """|actual − reference| in ULP of the rounded reference, which has more digits than `actual`."""
    rounded = reference.astype(actual.dtype)
    alike = (actual == rounded) | (np.isnan(actual) & np.isnan(rounded))
    error = np.abs(actual.astype(np.float64) - reference) / np.spacing(np.abs(rounded))
    ordinary = np.isfinite(actual) & np.isfinite(rounded)
    return np.where(ordinary, error, np.where(alike, 0.0, np.inf))


def exact_distance(
    actual: np.ndarray, exact: Callable[..., Any], rough: np.ndarray, *arguments: np.ndarray
) -> np.ndarray:
    """The same against mpmath; `rough` tells where the result is not a finite number."""
    errors = np.zeros(actual.size)
    for k, (value, near) in enumerate(zip(actual, rough, strict=True)):
        if not (np.isfinite(value) and np.isfinite(near)):
            same = value == near or (np.isnan(value) and np.isnan(near))
            errors[k] = 0.0 if same else np.inf
            continue
        truth = exact(*(CONTEXT.mpf(float(array[k])) for array in arguments))
        unit = CONTEXT.mpf(float(np.spacing(abs(float(truth)))))
        errors[k] = float(abs(CONTEXT.mpf(float(value)) - truth) / unit)
    return errors


# Of two arguments: bounds for float32 and float64, reference, exact reference.
PAIRS = {
    "atan2": ((0.6, 1.8), np.atan2, mp.atan2),
    "hypot": ((0.6, 1.2), np.hypot, mp.hypot),
}


class Row(NamedTuple):
    """Largest and mean error of float32 and of float64, in ULP, and where the largest are."""

    name: str
    single: tuple[float, float, float]
    double: tuple[float, float, float]


def measured(name: str, quick: bool = False) -> Row:
    """The errors of one function."""
    function = FUNCTIONS[name]
    patterns = np.arange(0, 2**32, 1021 if not quick else 65537, dtype=np.int64)
    x = patterns.astype(np.uint32).view(np.float32)
    x = np.concatenate([x, arguments_of(function, "f32", 5000 if quick else 500_000)])
    result = compute(f"{name}(x)", "f32", x)
    wide = function.wide(x.astype(np.float64))
    errors = distance(result, wide)
    worst = np.argsort(errors)[-50:]
    worst = worst[np.isfinite(wide[worst]) & np.isfinite(result[worst])]
    wide[worst] = [float(function.exact(CONTEXT.mpf(float(value)))) for value in x[worst]]
    single = _summary(distance(result, wide), x)
    x = arguments_of(function, "f64", 50 if quick else 5000)
    result = compute(f"{name}(x)", "f64", x)
    errors = exact_distance(result, function.exact, function.wide(x), x)
    return Row(name, single, _summary(errors, x))


def _summary(errors: np.ndarray, x: np.ndarray) -> tuple[float, float, float]:
    worst = int(np.argmax(errors))
    return float(errors[worst]), float(errors.mean()), float(x[worst])


def page(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    lines = [
        "# Accuracy of the vector mathematics\n",
        "*Written by `python benchmarks/accuracy.py`; do not edit.*\n",
        "Errors on CPU in units in the last place (ULP) of the exact result: the largest, the",
        "mean, and where the largest is. A result rounded once is off by half a unit at most.",
        "Tests hold fewer arguments of each function to bounds; `benchmarks/accuracy.py` has these",
        "bounds, and says which arguments are taken.\n",
        "| function | float32 largest | mean | at | float64 largest | mean | at |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, single, double in rows:
        figures = " | ".join(f"{a:.2f} | {b:.3f} | {x:.6g}" for a, b, x in (single, double))
        lines.append(f"| `{name}` | {figures} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="FUNCTION", help="default: all, and the page")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the arguments")
    options = parser.parse_args(arguments)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        rows = [measured(name, options.quick) for name in options.names or FUNCTIONS]
    text = page(rows)
    print(text, end="")
    if not options.names and not options.quick:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
