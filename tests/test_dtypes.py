# pyright: standard
"""Data types: promotion, the standard's functions of them, and their names."""

from __future__ import annotations

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir import dtypes as dt


def test_promotion() -> None:
    """Within floats the wider one; the two halves, which hold each other not, meet in float32."""
    f16, bf16 = gl.placeholder((2,), gl.float16), gl.placeholder((2,), gl.bfloat16)
    f32, f64 = gl.placeholder((2,), gl.float32), gl.placeholder((2,), gl.float64)
    whole, truth = gl.placeholder((2,), gl.int32), gl.placeholder((2,), gl.bool)
    assert (f16 + bf16).dtype == gl.float32
    assert (f16 + f32).dtype == (bf16 * f32).dtype == gl.float32
    assert (f16 @ f64).dtype == (bf16 - f64).dtype == gl.float64
    assert (f16 + 2).dtype == (2.5 * f16).dtype == gl.float16
    assert (bf16 / 3).dtype == gl.where(truth, bf16, 0.0).dtype == gl.bfloat16
    with pytest.raises(gl.GradloomError, match="f16 and i32 do not promote"):
        gl.result_type(gl.float16, gl.int32)
    with pytest.raises(TypeError, match="i32"):
        f16 + whole  # pyright: ignore[reportUnusedExpression]


def test_limits() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for dtype in (gl.float16, gl.bfloat16, gl.float32, gl.float64):
        mine, theirs = gl.finfo(dtype), ml_dtypes.finfo(dtype.numpy)
        for name in ("bits", "eps", "max", "min", "smallest_normal"):
            assert getattr(mine, name) == float(getattr(theirs, name)), (dtype, name)
        assert mine.dtype == dtype
    for dtype in dt.INTEGERS:
        mine, theirs = gl.iinfo(dtype), np.iinfo(dtype.numpy)
        assert (mine.bits, mine.max, mine.min) == (theirs.bits, theirs.max, theirs.min)
    assert gl.finfo(gl.placeholder((), "bfloat16")).eps == 2.0**-7
    assert gl.iinfo("int8").max == 127
    with pytest.raises(TypeError, match="needs a float dtype, got i32"):
        gl.finfo("int32")
    with pytest.raises(TypeError, match="needs an integer dtype, got f16"):
        gl.iinfo(gl.float16)


NUMPYS = [dtype for dtype in dt.ALL if dtype != dt.bfloat16]


def test_functions_of_dtypes() -> None:
    """Against NumPy where it keeps kinds apart as the standard does."""
    kinds = ["bool", "signed integer", "unsigned integer", "integral", "real floating", "numeric"]
    for dtype in NUMPYS:
        for kind in [*kinds, "complex floating"]:
            assert gl.isdtype(dtype, kind) == np.isdtype(dtype.numpy, kind), (dtype, kind)
        assert gl.isdtype(dtype, (dtype, "bool"))
        assert not gl.isdtype(dtype, "complex floating")
    assert gl.isdtype(gl.bfloat16, "real floating")
    assert not gl.isdtype(gl.bfloat16, ("integral", gl.float16))
    for left in NUMPYS:
        for right in NUMPYS:
            together = np.result_type(left.numpy, right.numpy)
            if left.kind == right.kind or (left.is_integer and together.kind in "iu"):
                if right.is_integer == left.is_integer:
                    assert gl.result_type(left, right).numpy == together
                    assert gl.can_cast(left, right) == (together == right.numpy)
    assert not gl.can_cast(gl.int8, gl.float32)
    assert not gl.can_cast(gl.float16, gl.bfloat16)
    assert gl.can_cast(gl.placeholder((), "bfloat16"), "float32")
    assert gl.result_type(np.ones(2, np.float16), 1.5, 2) == gl.float16
    assert gl.result_type(1.5) == gl.float32
    assert gl.result_type(gl.int8, 3) == gl.int8
    with pytest.raises(TypeError, match="does not fit i8"):
        gl.result_type(gl.int8, 0.5)
    with pytest.raises(gl.GradloomError, match="at least one"):
        gl.result_type()
    with pytest.raises(TypeError, match="'floating' is no data type"):
        gl.isdtype(gl.float32, "floating")


def test_constants_and_dtypes_by_name() -> None:
    assert (gl.pi, gl.e, gl.inf) == (np.pi, np.e, np.inf)
    assert np.isnan(gl.nan)
    assert gl.newaxis is None
    for dtype in dt.ALL:
        assert getattr(gl, dtype.name) is dtype
        assert gl.astype(gl.zeros((2,)), dtype).dtype is dtype
    x = gl.placeholder((2,))
    assert x[:, gl.newaxis].shape == (2, 1)


def test_a_dtype_equals_what_names_it() -> None:
    assert gl.float32 == "float32" == gl.float32
    assert gl.float32 == "f32"
    assert gl.float32 == np.float32
    assert gl.float32 != "float64"
    assert gl.float32 != np.float64
    for name in ("complex64", "", "a, b", "If x is (3, 'nan)", "{}", "f4,"):
        assert gl.float32 != name
    assert gl.float32 != 5
    assert gl.float32 != None  # noqa: E711
    assert len({gl.float32, gl.float64, gl.bfloat16, gl.float32}) == 3


def test_numpy_makes_arrays_of_our_dtypes() -> None:
    for dtype in dt.ALL:
        assert np.ones(3, dtype).dtype == dtype.numpy  # type: ignore[call-overload]
