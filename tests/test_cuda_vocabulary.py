# pyright: basic
"""What the device's vocabulary emits equals the plain Python one: its LLVM code, run on the CPU.

The functions that it calls by libdevice's names are stood in for by NumPy's.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from gradloom.ir.dtypes import ALL, BY_SHORT, DType
from gradloom.runtime import cuda_intrinsics as intrinsics
from gradloom.runtime.cuda_scalar import Scalar, convert
from gradloom.runtime.cuda_vocabulary import FLOAT_FUNCTIONS, python_vocabulary

VOCABULARY = python_vocabulary()
COMPUTED = [dtype for dtype in ALL if not dtype.is_half]  # tests/test_half.py has the halves
NUMBERS = [dtype for dtype in COMPUTED if dtype.kind != "b"]
FLOATS = [dtype for dtype in COMPUTED if dtype.is_float]
C_TYPES: dict[str, Any] = {"f32": ctypes.c_float, "f64": ctypes.c_double}
_kept: list[Any] = []


@functools.cache
def libdevice() -> None:
    """Callbacks under libdevice's names."""
    names = {"fabs": 1, "fmod": 2, "copysign": 2, "floor": 1, "pow": 2, "exp": 1, "sqrt": 1}
    for name, count in names.items():
        function: Any = getattr(np, {"pow": "power"}.get(name, name))
        for dtype in FLOATS:
            kind = C_TYPES[dtype.short]
            scalar = dtype.numpy.type

            def call(*values: float, f: Any = function, s: Any = scalar) -> float:
                with np.errstate(all="ignore"):
                    return float(f(*map(s, values)))

            callback = ctypes.CFUNCTYPE(kind, *[kind] * count)(call)
            _kept.append(callback)
            address = ctypes.cast(callback, ctypes.c_void_p).value
            llvm.add_symbol(f"__nv_{name}{'f' if dtype.bits == 32 else ''}", address)


def run(operands: Sequence[DType], result: DType, emit: Any, rows: Sequence[Any]) -> Any:
    """`emit` compiled for the CPU and called on every row of operands."""
    libdevice()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    scalars = [Scalar(dtype.kind, dtype.bits) for dtype in operands]
    module = ir.Module()
    pointer = ir.IntType(8).as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer] * 4), "f")
    builder: Any = ir.IRBuilder(function.append_basic_block())
    values = []
    for argument, scalar, dtype in zip(function.args[1:], scalars, operands, strict=False):
        memory = ir.IntType(8) if dtype.kind == "b" else scalar.llvm
        value = builder.load(builder.bitcast(argument, memory.as_pointer()), typ=memory)
        values.append(builder.trunc(value, scalar.llvm) if dtype.kind == "b" else value)
    made = emit(builder, scalars[0], *values)
    if result.kind == "b":
        made = builder.zext(made, ir.IntType(8))
    builder.store(made, builder.bitcast(function.args[0], made.type.as_pointer()))
    builder.ret_void()
    parsed = llvm.parse_assembly(str(module))
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(engine.get_function_address("f"))
    out = np.zeros(len(rows), result.numpy)
    for number, row in enumerate(rows):
        cells = [np.array([v], d.numpy) for v, d in zip(row, operands, strict=True)]
        places = [cell.ctypes.data for cell in cells]
        call(out[number:].ctypes.data, *places, *[0] * (3 - len(places)))
    return out


def edges(dtype: DType) -> list[Any]:
    if dtype.kind == "b":
        return [False, True]
    if dtype.is_float:
        values = [0.0, 1.0, 0.5, 2.5, 3.0, 127.5, 255.0, 1e10, 3e38, np.inf, 2.0**31, 2.0**63]
        signed = [dtype.numpy.type(sign * v) for v in values for sign in (1, -1)]
        return [*signed, dtype.numpy.type(np.nan)]
    limits = np.iinfo(dtype.numpy)
    values = {0, 1, 2, 3, 7, 100, limits.max, limits.max - 1, limits.min, limits.min + 1}
    if dtype.kind == "i":
        values |= {-1, -2, -3, -100}
    return [dtype.numpy.type(value) for value in sorted(values)]


def check(name: str, operands: Sequence[DType], result: DType, emit: Any, rows: Any) -> None:
    rows = list(rows)
    with np.errstate(all="ignore"):
        expected = np.array([VOCABULARY[name](*row) for row in rows], result.numpy)
    found = run(operands, result, emit, rows)
    if result.is_float and name in ("sigmoid", "rsqrt"):
        np.testing.assert_allclose(found, expected, 1e-6)
        return
    np.testing.assert_array_equal(found, expected)
    if result.is_float and name not in ("maximum", "minimum"):
        known = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found)[known], np.signbit(expected)[known])


@pytest.mark.parametrize("target", COMPUTED, ids=str)
def test_conversions(target: DType) -> None:
    to = Scalar(target.kind, target.bits)
    name = "boolean" if target.kind == "b" else target.short
    for source in COMPUTED:

        def emit(builder: Any, own: Scalar, x: Any) -> Any:
            return convert(builder, own, to, x)

        values = [np.bool_(v) if source.kind == "b" else v for v in edges(source)]
        check(name, [source], target, emit, [(value,) for value in values])


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "maximum", "minimum"])
def test_functions_of_two_numbers(name: str, dtype: DType) -> None:
    rows = itertools.product(edges(dtype), repeat=2)
    check(name, [dtype, dtype], dtype, intrinsics.SAME[name], rows)


@pytest.mark.parametrize("dtype", [d for d in NUMBERS if d.is_float], ids=str)
@pytest.mark.parametrize("name", ["gated_multiply", "gated_divide"])
def test_gates(name: str, dtype: DType) -> None:
    rows = itertools.product(edges(dtype), repeat=2)
    check(name, [dtype, dtype], dtype, intrinsics.SAME[name], rows)


@pytest.mark.parametrize("dtype", [d for d in NUMBERS if d.is_integer], ids=str)
@pytest.mark.parametrize("name", ["power", "left_shift", "right_shift"])
def test_functions_of_two_integers(name: str, dtype: DType) -> None:
    """With counts and exponents from below 0 to beyond the number of bits."""
    counts = [0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 127]
    counts += [-1, -2, -9, -128] if dtype.kind == "i" else []
    rows = [(x, dtype.numpy.type(c)) for x in edges(dtype) for c in counts]
    check(name, [dtype, dtype], dtype, intrinsics.SAME[name], rows)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("name", ["absolute", "sign", "invert"])
def test_functions_of_one_number(name: str, dtype: DType) -> None:
    if name == "invert" and dtype.is_float:
        return
    rows = [(value,) for value in edges(dtype)]
    check(name, [dtype], dtype, intrinsics.SAME[name], rows)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_functions_of_one_float(dtype: DType) -> None:
    rows = [(value,) for value in edges(dtype)]
    for name, emit in intrinsics.TESTS.items():
        check(name, [dtype], BY_SHORT["bool"], emit, rows)
    for name in ("sigmoid", "rsqrt"):
        check(name, [dtype], dtype, intrinsics.SAME[name], rows)


def test_invert_of_bools() -> None:
    kind = BY_SHORT["bool"]
    check("invert", [kind], kind, intrinsics.SAME["invert"], [(np.False_,), (np.True_,)])


@pytest.mark.parametrize("dtype", [d for d in NUMBERS if d.is_integer], ids=str)
def test_clamp(dtype: DType) -> None:
    i64 = BY_SHORT["i64"]
    rows = [(value, extent) for value in edges(dtype) for extent in (1, 3, 101, 2**40)]

    def emit(builder: Any, own: Scalar, value: Any, extent: Any) -> Any:
        return intrinsics.clamp_index(builder, own, value, extent)

    check("clamp", [dtype, i64], i64, emit, rows)


@pytest.mark.parametrize(("stream", "word"), [(0, 0), (1, 3), (0xFFFFFFFF, 1), (2, 2)])
def test_philox(stream: int, word: int) -> None:
    """Against the plain one, whose words the op's reference shares (see test_emit_cuda)."""
    u32, i64 = BY_SHORT["u32"], BY_SHORT["i64"]

    def emit(builder: Any, _: Scalar, counter: Any, key0: Any, key1: Any) -> Any:
        constants = [ir.Constant(ir.IntType(32), number) for number in (stream, word)]
        return intrinsics.philox_word(builder, counter, key0, key1, *constants)

    rows = [(0, 0, 0), (1, 2, 3), (2**40 + 7, 0xFFFFFFFF, 0x80000000)]
    expected = [VOCABULARY["philox"](*row, stream, word) for row in rows]
    assert run([i64, u32, u32], u32, emit, rows).tolist() == [int(word) for word in expected]


@pytest.mark.parametrize(("dtype", "ulps"), [(BY_SHORT["f32"], 2), (BY_SHORT["f64"], 5)])
def test_normal_quantile(dtype: DType, ulps: int) -> None:
    """The device has the CPU's formula, so that normal numbers are the same on both."""
    special = [0.0, 1.0, 0.5, np.nan, -1.0, 2.0]
    rows = [
        (dtype.numpy.type(p),)
        for p in (*special, *np.linspace(0.001, 0.999, 99), *(2.0 ** -np.arange(2.0, 66.0)))
    ]
    found = run([dtype], dtype, intrinsics.SAME["normal_quantile"], rows)
    with np.errstate(all="ignore"):
        expected = np.array([VOCABULARY["normal_quantile"](*row) for row in rows])
    np.testing.assert_array_equal(found[:6], expected[:6])
    gap = np.abs(found[6:] - expected[6:])
    assert (gap <= ulps * np.spacing(np.abs(expected[6:]))).all()


def test_both_vocabularies_have_the_same_names() -> None:
    """Of the device's, the part that can be seen without Numba's CUDA."""
    device = {*intrinsics.SAME, *intrinsics.TESTS, *FLOAT_FUNCTIONS}
    assert device <= set(VOCABULARY)
    plain = set(VOCABULARY) - device
    types = {dtype.name for dtype in NUMBERS} | {dtype.short for dtype in NUMBERS}
    halves = {"f16", "bf16", "from_f16", "from_bf16"}
    others = {"boolean", "index", "nan", "inf", "where", "word", "clamp", "philox"}
    assert plain - types == halves | others
