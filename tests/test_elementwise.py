# pyright: standard
"""Element-wise functions as users call them: the standard's list, activations, stable derivatives.

(Each entry of the table is checked from the table itself, in test_ops and test_op_derivatives.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
import pytest

import gradloom as gl
from gradloom.ir import dtypes as dt
from gradloom.ir.errors import DTypeError
from gradloom.ir.units import CACHED

from .op_cases import assert_close, edges, run, spacing

NumpyArray = np.ndarray[Any, Any]

# The functions of the array API 2024.12 by the kinds of dtype they take, complex apart.
STANDARD = {
    "biuf": ["equal", "not_equal", "logical_not", "logical_and", "logical_or", "logical_xor"],
    "biu": ["bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert"],
    "iu": ["bitwise_left_shift", "bitwise_right_shift"],
    "iuf": [
        *("abs", "add", "ceil", "clip", "floor", "floor_divide", "greater", "greater_equal"),
        *("isfinite", "isinf", "isnan", "less", "less_equal", "maximum", "minimum", "multiply"),
        *("negative", "positive", "pow", "remainder", "round", "sign", "square", "subtract"),
        "trunc",
    ],
    "f": [
        *("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "copysign", "cos", "cosh"),
        *("divide", "exp", "expm1", "hypot", "log", "log10", "log1p", "log2", "logaddexp"),
        *("nextafter", "reciprocal", "signbit", "sin", "sinh", "sqrt", "tan", "tanh"),
    ],
}
BOOLS = ("logical_not", "logical_and", "logical_or", "logical_xor")
UNARY = {
    *("abs", "ceil", "floor", "isfinite", "isinf", "isnan", "negative", "positive", "round"),
    *("sign", "square", "trunc", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh"),
    *("exp", "expm1", "log", "log10", "log1p", "log2", "reciprocal", "signbit", "sin", "sinh"),
    *("sqrt", "tan", "tanh", "bitwise_invert", "logical_not"),
}


def called(name: str, library: Any, x: Any, y: Any) -> Any:
    function = getattr(library, name)
    if name == "clip":
        return function(x, 1, 7)
    return function(x) if name in UNARY else function(x, y)


def operands(dtype: dt.DType) -> tuple[NumpyArray, NumpyArray]:
    values = edges(dtype)
    x, y = (axis.reshape(-1) for axis in np.meshgrid(values, values, indexing="ij"))
    return x, y


def wanted(name: str, x: NumpyArray, y: NumpyArray) -> NumpyArray:
    """NumPy's result, where it has one and does not trap."""
    with np.errstate(all="ignore"):
        if name in ("floor_divide", "remainder") and x.dtype.kind != "f":
            return np.where(y == 0, 0, called(name, np, x, np.where(y == 0, 1, y))).astype(x.dtype)
        if name == "floor_divide":  # NumPy's is nan for ∞ // 2, and −1 for 2 // −∞
            return np.where(np.isinf(x) | np.isinf(y), x / y, np.floor_divide(x, y))
        if name == "pow" and x.dtype.kind == "i":
            y = np.abs(np.maximum(y, -np.iinfo(x.dtype).max))
        return np.asarray(called(name, np, x, y))


@pytest.mark.campaign(4)
@pytest.mark.parametrize("dtype", [d for d in dt.ALL if not d.is_half], ids=str)
def test_the_standards_functions_are_numpys(dtype: dt.DType):
    """Every function of the standard at every dtype that it takes: values and dtype of the result,
    by the interpreter and compiled."""
    names = [name for kinds, group in STANDARD.items() if dtype.kind in kinds for name in group]
    arrays = operands(dtype)
    if "pow" in names and dtype.kind == "i":
        arrays = arrays[0], arrays[1] % 9  # negative exponents are below
    x, y = (gl.placeholder(("N",), dtype, name=name) for name in "xy")
    outputs = [called(name, gl, x, y) for name in names]
    compiled = run(gl.function([x, y], outputs), arrays)
    for name, output, found in zip(names, outputs, compiled, strict=True):
        expected = wanted(name, *arrays)
        if name == "round" and dtype.kind != "f":
            expected = arrays[0]
        for got in (output.eval({x: arrays[0], y: arrays[1]}), found):
            allowed = 4 * spacing(expected) if dtype.is_float and name not in BOOLS else 0.0
            if name == "logaddexp":
                allowed = 4 * np.maximum(spacing(arrays[0]), spacing(arrays[1]))
            if expected.dtype.kind != "f":
                assert got.dtype == expected.dtype, name
                np.testing.assert_array_equal(got, expected, err_msg=name)
            else:
                assert_close(np.asarray(got), expected, allowed, name)


@pytest.mark.parametrize("kinds", STANDARD)
def test_other_dtypes_are_refused(kinds: str):
    for name in STANDARD[kinds]:
        for dtype in (dt.bool_, dt.int32, dt.uint8, dt.float32):
            x = gl.placeholder((3,), dtype, name="x")
            if dtype.kind in kinds or name in BOOLS:
                called(name, gl, x, x)
            elif name != "clip" or dtype.kind == "b":
                with pytest.raises(DTypeError, match=str(dtype)):
                    called(name, gl, x, x)


def test_whole_numbers_need_no_rounding():
    x = gl.placeholder((3,), "int16", name="x")
    for function in (gl.floor, gl.ceil, gl.round, gl.trunc, gl.positive):
        assert function(x) is x
    assert gl.floor(3).eval() == 3
    with pytest.raises(DTypeError, match="numeric"):
        gl.positive(gl.placeholder((3,), "bool"))


def test_integer_arithmetic_never_traps():
    """What arithmetic.py promises, at every signed width."""
    for dtype in (dt.int8, dt.int16, dt.int32, dt.int64):
        low = int(np.iinfo(dtype.numpy).min)
        x = gl.placeholder((4,), dtype, name="x")
        values = np.array([low, -1, 0, 1], dtype.numpy)
        outputs = [x // -1, x % -1, x // 0, x % 0, -x, gl.abs(x), x**-1, x**-2, x << 100, x >> -1]
        promised = [
            *([low, 1, 0, -1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [low, 1, 0, -1]),
            *([low, 1, 0, 1], [0, -1, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [-1, -1, 0, 0]),
        ]
        compiled = run(gl.function([x], outputs), [values])
        for output, found, promise in zip(outputs, compiled, promised, strict=True):
            np.testing.assert_array_equal(found, promise)
            np.testing.assert_array_equal(output.eval({"x": values}), promise)


@pytest.mark.parametrize("fusion", [True, False])
def test_constants_keep_the_sign_of_zero(fusion: bool):
    """Kernels that differ in it alone are two, and an array of both zeros is not one number."""
    x, y, z = (gl.placeholder((size,)) for size in ("X", "Y", 4))
    mixed = np.array([0.0, -0.0, 0.0, -0.0], np.float32)
    outputs = [
        *(gl.atan2(x, 0.0), gl.atan2(y, -0.0), gl.copysign(z, 0.0), gl.copysign(z, -0.0)),
        *(gl.copysign(z, mixed), z * (gl.constant(mixed) * 2.0)),
    ]
    arrays = np.zeros(2, np.float32), np.zeros(3, np.float32), np.ones(4, np.float32)
    found = gl.function([x, y, z], outputs, fusion=fusion)(*arrays)
    signs = np.array([1, -1, 1, -1], np.float32)
    wanted = [np.zeros(2), np.full(3, np.float32(np.pi)), np.ones(4), -np.ones(4), signs, mixed]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(np.signbit(one), np.signbit(other))


def test_python_integers_must_fit():
    x = gl.placeholder((3,), "uint8", name="x")
    for make in (lambda: x + 256, lambda: x < 300, lambda: gl.clip(x, -1, 7), lambda: x * -1):
        with pytest.raises(DTypeError, match="does not fit u8"):
            make()
    np.testing.assert_array_equal(
        (x + 255).eval({"x": np.array([0, 1, 255], "uint8")}), [255, 0, 254]
    )


def test_operators_and_numpys_names():
    x = gl.placeholder((3,), "int32", name="x")
    values = np.array([1, -2, 3], "int32")
    for made, expected in [
        (x << 2, values << 2),
        (x >> 1, values >> 1),
        (1 << x, np.left_shift(1, values)),
        (-64 >> gl.abs(x), -64 >> np.abs(values)),
        (np.left_shift(x, x), np.left_shift(values, values)),
        (np.bitwise_not(x), ~values),
    ]:
        np.testing.assert_array_equal(made.eval({"x": values}), expected)
    z = gl.placeholder((3,), "float64", name="z")
    numbers = np.array([0.1, -0.4, 0.9])
    ufuncs: list[Any] = [np.arcsin, np.arccos, np.arctan, np.arcsinh, np.arctanh, np.sinh, np.cbrt]
    for ufunc in [*ufuncs, np.exp2, np.tan, np.signbit, np.sinc]:
        np.testing.assert_allclose(ufunc(z).eval({"z": numbers}), ufunc(numbers), 1e-13)
    arctan2: Any = np.arctan2
    found = arctan2(z, 2.0).eval({"z": numbers})
    np.testing.assert_allclose(found, np.arctan2(numbers, 2.0), 1e-13)


# --- activations ----------------------------------------------------------------------------------

m = mpmath


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + m.exp(-x))


SELU = m.mpf("1.0507009873554804934193349852946"), m.mpf("1.6732632423543772848170429916717")
# Each with its formula, in mpmath's numbers.
ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "relu6": (gl.relu6, lambda x: min(max(x, 0), 6)),
    "leaky_relu": (gl.leaky_relu, lambda x: x if x > 0 else x * m.mpf("0.01")),
    "prelu": (lambda x: gl.prelu(x, 0.25), lambda x: x if x > 0 else x / 4),
    "elu": (gl.elu, lambda x: x if x > 0 else m.expm1(x)),
    "elu of 2": (lambda x: gl.elu(x, 2.0), lambda x: x if x > 0 else 2 * m.expm1(x)),
    "celu of 2": (lambda x: gl.celu(x, 2.0), lambda x: x if x > 0 else 2 * m.expm1(x / 2)),
    "selu": (gl.selu, lambda x: SELU[0] * (x if x > 0 else SELU[1] * m.expm1(x))),
    "gelu": (gl.gelu, lambda x: x * m.ncdf(x)),
    "gelu by tanh": (
        lambda x: gl.gelu(x, approximate=True),
        lambda x: x * _sigmoid(m.sqrt(8 / m.pi) * (x + m.mpf("0.044715") * x**3)),
    ),
    "silu": (gl.silu, lambda x: x * _sigmoid(x)),
    "mish": (gl.mish, lambda x: x * m.tanh(m.log1p(m.exp(x)))),
    "softplus": (gl.softplus, lambda x: m.log1p(m.exp(x))),
    "log_sigmoid": (gl.log_sigmoid, lambda x: -m.log1p(m.exp(-x))),
    "hard_tanh": (gl.hard_tanh, lambda x: min(max(x, -1), 1)),
    "hard_sigmoid": (gl.hard_sigmoid, lambda x: min(max(x / 6 + 0.5, 0), 1)),
    "hard_silu": (gl.hard_silu, lambda x: x * min(max(x / 6 + 0.5, 0), 1)),
    "sinc": (gl.sinc, lambda x: m.sincpi(x)),
}


def precisely(formula: Callable[[Any], Any], values: NumpyArray) -> NumpyArray:
    """The formula in 60 digits, rounded to float64."""
    with m.workdps(60):
        return np.array([float(formula(m.mpf(float(value)))) for value in values])


@pytest.mark.campaign(3)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str):
    """Value and slope against the formula in 60 digits, from −30 to 30, in float32 and float64,
    by the interpreter and compiled; the call has a batch of named size, 0 and 1 too."""
    function, formula = ACTIVATIONS[name]
    points = np.concatenate([np.linspace(-29.7, 30, 61), np.linspace(-2.99, 2.9, 60)])
    values = points.astype(np.float32)
    value = precisely(formula, values)
    slope = precisely(lambda x: m.diff(formula, x, h=m.mpf(10) ** -20), values)
    for dtype, digits in ((dt.float32, 1.2e-7), (dt.float64, 2.3e-16)):
        x = gl.placeholder(("B",), dtype, name="x")
        y = function(x)
        outputs = [y, gl.grad(gl.sum(y), x)]
        compiled = gl.function([x], outputs)
        given = values.astype(dtype.numpy)
        for found in (run(compiled, [given]), [output.eval({"x": given}) for output in outputs]):
            # what is left of x·(1 − …) far out loses as many digits as the exponent has
            small = 1e3 * digits
            np.testing.assert_allclose(found[0], value, 64 * digits, 1e-30, err_msg=name)
            np.testing.assert_allclose(found[1], slope, small, 16 * digits, err_msg=name)
            assert found[0].dtype == found[1].dtype == dtype.numpy
        for size in (0, 1):
            got = run(compiled, [given[:size]])
            np.testing.assert_allclose(got[0], value[:size], 64 * digits, 1e-30)


LIMITS = {  # at −∞ and ∞
    "relu": (0.0, np.inf),
    "relu6": (0.0, 6.0),
    "elu": (-1.0, np.inf),
    "gelu": (0.0, np.inf),
    "silu": (0.0, np.inf),
    "mish": (0.0, np.inf),
    "softplus": (0.0, np.inf),
    "log_sigmoid": (-np.inf, 0.0),
    "sigmoid": (0.0, 1.0),
    "hard_silu": (0.0, np.inf),
    "hard_sigmoid": (0.0, 1.0),
    "normal_cdf": (0.0, 1.0),
    "erfc": (2.0, 0.0),
}


@pytest.mark.campaign(3)
@pytest.mark.parametrize("name", LIMITS)
def test_limits_of_activations(name: str):
    x = gl.placeholder((4,), name="x")
    function = gl.function([x], getattr(gl, name)(x))
    found = function(np.array([-np.inf, np.inf, np.nan, -3e38], np.float32))
    np.testing.assert_array_equal(found[:3], [*LIMITS[name], np.nan])
    assert np.isfinite(found[3]) or name == "log_sigmoid"


# --- derivatives where formulas overflow or cancel --------------------------------------------


def slopes(function: Callable[..., Any], *values: Any, dtype: str = "float32") -> list[Any]:
    """∂function/∂operand at one point, compiled, and the same of the interpreter."""
    inputs = [gl.placeholder((), dtype, name=f"x{i}") for i in range(len(values))]
    outputs = gl.grad(function(*inputs), inputs)
    given = [np.array(value, dtype) for value in values]
    compiled: Any = np.ravel(run(gl.function(inputs, outputs), given))
    feeds = {f"x{i}": value for i, value in enumerate(given)}
    np.testing.assert_allclose(compiled, [o.eval(feeds) for o in outputs], 3e-6, 1e-38)
    return [float(value) for value in compiled]


HARD: list[tuple[Callable[..., Any], Sequence[float], Sequence[float]]] = [
    (gl.asinh, [1e30], [1e-30]),
    (gl.acosh, [1e30], [1e-30]),
    (gl.acosh, [1.0], [np.inf]),
    (gl.atanh, [1.0], [np.inf]),
    (gl.atanh, [1 - 2.0**-17], [65536.25]),
    (gl.atan, [1e15], [1e-30]),
    (gl.hypot, [0.0, 0.0], [0.0, 0.0]),
    (gl.hypot, [3e38, 4e37], [0.9912279, 0.13216372]),
    (gl.hypot, [3 * 2.0**-140, 4 * 2.0**-140], [0.6, 0.8]),
    (gl.atan2, [0.0, 0.0], [0.0, 0.0]),
    (gl.atan2, [1e30, 1e30], [5e-31, -5e-31]),
    (gl.logaddexp, [-np.inf, -np.inf], [0.5, 0.5]),
    (gl.logaddexp, [3.0, 3.0], [0.5, 0.5]),
    (gl.logaddexp, [-500.0, 500.0], [0.0, 1.0]),
    (gl.logaddexp, [-50.0, 10.0], [8.756511e-27, 1.0]),
    (gl.logaddexp, [-np.inf, 7.0], [0.0, 1.0]),
    (gl.log_sigmoid, [-1e4], [1.0]),
    (gl.log_sigmoid, [80.0], [1.8048514e-35]),
    (gl.logit, [1e-30], [1e30]),
    (gl.logit, [0.0], [np.inf]),
    (gl.erfc, [9.0], [-2.0 / math.sqrt(math.pi) * math.exp(-81.0)]),
    (gl.erfinv, [0.0], [0.5 * math.sqrt(math.pi)]),
    (gl.xlogy, [0.0, 0.0], [0.0, 0.0]),
    (gl.xlogy, [0.0, 2.0], [math.log(2.0), 0.0]),
    (gl.xlogy, [2.0, 0.0], [-np.inf, np.inf]),
    (gl.xlog1py, [0.0, -1.0], [0.0, 0.0]),
    (gl.xlog1py, [2.0, 1e-20], [1e-20, 2.0]),
    (gl.sinc, [0.0], [0.0]),
    (gl.sinc, [1e-4], [-(math.pi**2) / 3 * 1e-4]),
    (gl.sinc, [3.0], [-1 / 3]),
    (gl.cbrt, [-8.0], [1 / 12]),
    (gl.copysign, [-2.0, 3.0], [-1.0, 0.0]),
    (gl.copysign, [0.0, -3.0], [0.0, 0.0]),
    (lambda x: gl.gelu(x, approximate=True), [1e30], [1.0]),
    (gl.mish, [1e30], [1.0]),
    (gl.silu, [-1e30], [0.0]),
    (gl.celu, [1e30], [1.0]),
    (gl.elu, [-1e30], [0.0]),
    (gl.relu6, [6.0], [1.0]),
]


@pytest.mark.campaign(3)
@pytest.mark.parametrize("place", range(len(HARD)))
def test_slope_where_a_plain_formula_fails(place: int):
    function, values, expected = HARD[place]
    np.testing.assert_allclose(slopes(function, *values), expected, 1e-5, 1e-45)


@pytest.mark.campaign(3)
@pytest.mark.parametrize("at", [0.0, 1e-9, 0.3, 0.4999, 0.5001, 2.7, 1000.25])
def test_three_derivatives_of_sinc(at: float):
    """In float64, on both sides of where the series ends."""
    x = gl.placeholder((), "float64", name="x")
    outputs = [gl.sinc(x)]
    for _ in range(3):
        outputs.append(gl.grad(outputs[-1], x))
    found = run(gl.function([x], outputs), [np.array(at)])
    with m.workdps(80):
        exact = [m.diff(m.sincpi, m.mpf(at), order) if at else None for order in range(4)]
    zero = [1.0, 0.0, -(math.pi**2) / 3, 0.0]
    wanted_ = [float(e) if e is not None else z for e, z in zip(exact, zero, strict=True)]
    np.testing.assert_allclose(found, wanted_, 2e-12, 2e-13)


def test_tails_keep_their_digits():
    """Relative to the result, where 1 − erf(x) or x·(1 + erf(x)) has none left."""
    values = np.linspace(1.0, 9.0, 200).astype(np.float32)
    x = gl.placeholder(("N",), name="x")
    function = gl.function([x], [gl.erfc(x), gl.normal_cdf(-x), gl.gelu(-x), gl.log_sigmoid(x)])
    found = run(function, [values])
    formulas = [
        m.erfc,
        lambda v: m.ncdf(-v),
        lambda v: -v * m.ncdf(-v),
        lambda v: -m.log1p(m.exp(-v)),
    ]
    for got, formula in zip(found, formulas, strict=True):
        np.testing.assert_allclose(got, precisely(formula, values), 4e-7)


def test_roots_and_logarithms_that_are_whole():
    x = gl.placeholder(("N",), "float64", name="x")
    cubes = gl.function([x], gl.cbrt(x))(np.arange(-50.0, 50.0) ** 3)
    np.testing.assert_array_equal(cubes, np.arange(-50.0, 50.0))
    tens = gl.function([x], gl.log10(x))(np.array([10.0**n for n in range(23)]))
    np.testing.assert_array_equal(tens, np.arange(23.0))
    assert np.all(gl.function([x], gl.sinc(x))(np.arange(1.0, 40.0)) == 0)


@pytest.mark.parametrize("rows", [1, 3])
def test_more_than_caches_hold(rows: int):
    """Results that are stored past the caches, in rows that begin anywhere."""
    size = CACHED // 8 // rows + 7
    x = np.arange(rows * size, dtype=np.float32).reshape(rows, size)
    v = gl.placeholder(("R", "N"), name="v")
    for threads in (1, 2):
        result = gl.function([v], v + 1, threads=threads)(x)
        np.testing.assert_array_equal(result, x + 1)
