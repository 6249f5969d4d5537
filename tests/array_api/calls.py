# pyright: standard
"""How a call of each function of the standard is drawn, for a comparison with NumPy 2.

``CALLS[name](draw)`` gives the arguments, as NumPy arrays and static values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloom.ir import dtypes as dt

from .draws import PAIRS, SHAPES, Draw, NumpyArray, Shape

Arguments = tuple[Sequence[Any], dict[str, Any]]


# --- families -------------------------------------------------------------------------------------


def unary(kinds: str, low: float | None = None, high: float = 9) -> Callable[[Draw], Arguments]:
    """An element-wise function of one array: edge values, or numbers between bounds."""

    def call(draw: Draw) -> Arguments:
        dtype, shape = draw.dtype(kinds), draw.shape()
        return (
            draw.edgy(dtype, shape) if low is None else draw.array(dtype, shape, low, high),
        ), {}

    return call


def binary(kinds: str, low: float | None = None, high: float = 9) -> Callable[[Draw], Arguments]:
    def call(draw: Draw) -> Arguments:
        dtype = draw.dtype(kinds)
        pair = draw.one(PAIRS)
        if low is None:
            return tuple(draw.edgy(dtype, shape) for shape in pair), {}
        return tuple(draw.array(dtype, shape, low, high) for shape in pair), {}

    return call


def reduction(kinds: str, **options: Sequence[Any]) -> Callable[[Draw], Arguments]:
    """Over some axes that are not empty; with one of each option."""

    def call(draw: Draw) -> Arguments:
        shape = draw.one([shape for shape in SHAPES if 0 not in shape])
        chosen = {name: draw.one(values) for name, values in options.items()}
        axis = draw.axes(shape)
        return (draw.array(draw.dtype(kinds), shape),), {
            "axis": axis,
            "keepdims": draw.one([False, True]),
            **chosen,
        }

    return call


def along(
    kinds: str, *, empty: bool = True, **options: Sequence[Any]
) -> Callable[[Draw], Arguments]:
    """Along one axis, which may be empty."""

    def call(draw: Draw) -> Arguments:
        shape = draw.one([shape for shape in SHAPES if shape and (empty or 0 not in shape)])
        chosen = {name: draw.one(values) for name, values in options.items()}
        x = draw.few(draw.dtype(kinds), shape)
        return (x,), {"axis": draw.axis(shape), **chosen}

    return call


def like(draw: Draw) -> Arguments:
    return (draw.array(draw.dtype("fiub"), draw.shape()),), {"dtype": draw.one([None, dt.int32])}


def filled(draw: Draw) -> Arguments:
    return (draw.shape(),), {"dtype": draw.one([dt.float32, dt.uint8, dt.bool_])}


def moved(make: Callable[[Draw, NumpyArray], Arguments], least: int = 0) -> Any:
    """A function that moves the entries of an array of any dtype."""

    def call(draw: Draw) -> Arguments:
        x = draw.array(draw.dtype("fiub"), draw.shape(least))
        args, kwargs = make(draw, x)
        return (x, *args), kwargs

    return call


def several(draw: Draw, shapes: Sequence[Shape], kinds: str = "fiub") -> list[NumpyArray]:
    dtype = draw.dtype(kinds)
    return [draw.array(dtype, shape) for shape in shapes]


def joined(draw: Draw) -> Arguments:
    shape = draw.shape(1)
    axis = draw.axis(shape)
    other = list(shape)
    other[axis] += 1
    return (several(draw, [shape, tuple(other)]),), {"axis": axis}


def taken(draw: Draw) -> Arguments:
    x = draw.array(draw.dtype("fiub"), draw.one([(3, 4), (5,), (2, 3, 1)]))
    axis = draw.axis(x.shape)
    return (x, draw.array("int64", (4,), 0, x.shape[axis] - 1)), {"axis": axis}


def taken_along(draw: Draw) -> Arguments:
    x = draw.array(draw.dtype("fiub"), draw.one([(3, 4), (5,), (2, 3, 1)]))
    axis = draw.axis(x.shape)
    return (x, draw.array("int64", x.shape, -x.shape[axis], x.shape[axis] - 1)), {"axis": axis}


def searched(draw: Draw) -> Arguments:
    dtype = draw.dtype("fiu")
    x = np.sort(draw.few(dtype, draw.one([(9,), (0,), (1,)])))
    return (x, draw.few(dtype, draw.shape())), {"side": draw.one(["left", "right"])}


def shifted(draw: Draw) -> Arguments:
    dtype, pair = draw.dtype("iu"), draw.one(PAIRS)
    counts = draw.array(dtype, pair[1], 0, dtype.itemsize * 8 - 1)
    return (draw.edgy(dtype, pair[0]), counts), {}


def powers(draw: Draw) -> Arguments:
    dtype, (left, right) = draw.dtype("fiu"), draw.one(PAIRS)
    if dtype.kind == "f":
        return (draw.edgy(dtype, left), draw.edgy(dtype, right)), {}
    return (draw.array(dtype, left), draw.array(dtype, right, 0, 5)), {}


def clipped(draw: Draw) -> Arguments:
    dtype, (left, right) = draw.dtype("fiu"), draw.one(PAIRS)
    x, low = draw.edgy(dtype, left), draw.array(dtype, right, -9, 0)
    return (x,), {"min": draw.one([low, 2, None]), "max": draw.array(dtype, right, 3)}


def chosen(draw: Draw) -> Arguments:
    dtype, (left, right) = draw.dtype("fiub"), draw.one(PAIRS)
    return (draw.array("bool", left), draw.edgy(dtype, left), draw.edgy(dtype, right)), {}


def products(draw: Draw) -> Arguments:
    left, right = draw.one(
        [((2, 3), (3, 4)), ((3,), (3,)), ((2, 2, 3), (3, 1)), ((3,), (3, 2)), ((0, 2), (2, 0))]
    )
    dtype = draw.dtype("fiu")
    return (draw.array(dtype, left), draw.array(dtype, right)), {}


def inner(draw: Draw) -> Arguments:
    left, right = draw.one([((2, 3), (2, 3)), ((3,), (4, 3)), ((0,), (0,)), ((1,), (2, 1))])
    dtype = draw.dtype("fiu")
    return (draw.array(dtype, left), draw.array(dtype, right)), {}


def contracted(draw: Draw) -> Arguments:
    left, right, axes = draw.one(
        [((2, 3), (3, 4), 1), ((2, 3), (2, 3), 2), ((2,), (3,), 0), ((2, 3), (3, 2), ((0,), (1,)))]
    )
    dtype = draw.dtype("fiu")
    return (draw.array(dtype, left), draw.array(dtype, right)), {"axes": axes}


def solved(draw: Draw) -> Arguments:
    a = draw.matrix(batch=False)
    columns = draw.one([(2,), (), (1,)])
    return (a, draw.array(a.dtype, (a.shape[-1], *columns))), {}


def of_matrix(square: bool = True, **options: Sequence[Any]) -> Callable[[Draw], Arguments]:
    def call(draw: Draw) -> Arguments:
        chosen = {name: draw.one(values) for name, values in options.items()}
        return (draw.matrix(square),), chosen

    return call


def of_symmetric(draw: Draw) -> Arguments:
    return (draw.symmetric(),), {}


def ranged(draw: Draw) -> Arguments:
    return draw.one(
        [
            ((7,), {}),
            ((2, 9, 3), {"dtype": dt.int32}),
            ((0,), {}),
            ((9, 1, -2), {"dtype": dt.float64}),
            ((0, 1, 0.25), {"dtype": dt.float32}),
        ]
    )


def spaced(draw: Draw) -> Arguments:
    ends = draw.one([(0.1, 1.3), (2.0**24 + 1, -2.0), (1.0, 1.0)])
    return (*ends, draw.one([5, 1, 0, 2])), {
        "dtype": draw.one([dt.float64, dt.float32]),
        "endpoint": draw.one([True, False]),
    }


def identity(draw: Draw) -> Arguments:
    rows, columns = draw.one([(3, 4), (2, None), (0, 2), (1, 1)])
    return (rows, columns), {"k": draw.one([0, 1, -2]), "dtype": draw.one([dt.float32, dt.int8])}


def named_axes(draw: Draw, x: NumpyArray) -> Arguments:
    return (), {"axis": draw.one([None, *range(x.ndim)])}


def shifted_axes(draw: Draw, x: NumpyArray) -> Arguments:
    return (), {"axes": draw.one([None, *range(x.ndim)])}


def permuted(draw: Draw, x: NumpyArray) -> Arguments:
    return (tuple(draw.rng.permutation(x.ndim).tolist()),), {}


def repeated(draw: Draw, x: NumpyArray) -> Arguments:
    each = draw.array("int64", x.shape[:1], 0, 3)
    return (draw.one([2, each, 1, 0]),), {"axis": 0}


def reshaped(draw: Draw, x: NumpyArray) -> Arguments:
    return (draw.one([(-1,), (x.size,), (1, x.size, 1)] if x.size else [(x.size,)]),), {}


def rolled(draw: Draw, x: NumpyArray) -> Arguments:
    axis = draw.one([None, *range(x.ndim)])
    return (draw.one([1, -2, 5, 0]),), {"axis": axis}


def squeezed(draw: Draw, x: NumpyArray) -> Arguments:
    ones = [i for i, size in enumerate(x.shape) if size == 1]
    return (tuple(ones),), {}


def broadcast(draw: Draw, x: NumpyArray) -> Arguments:
    return ((draw.one([2, 0, 1]), *(draw.one([3, 0]) if n == 1 else n for n in x.shape)),), {}


def triangle(draw: Draw) -> Arguments:
    x = draw.array(draw.dtype("fiub"), draw.one([(3, 4), (2, 3, 2), (0, 2), (1, 1)]))
    return (x,), {"k": draw.one([0, 1, -1, 9])}


def differences(draw: Draw) -> Arguments:
    x = draw.array(draw.dtype("fi"), draw.one([(2, 5), (4,), (3, 1)]))
    return (x,), {"axis": draw.axis(x.shape), "n": draw.one([1, 2, 0])}


def dtype_and_kind(draw: Draw) -> Arguments:
    dtype = draw.one([dt.float32, dt.int8, dt.bool_, dt.uint64])
    kinds = ["numeric", "real floating", "bool", ("integral", "bool"), "unsigned integer"]
    return (dtype, draw.one([*kinds, dt.float32])), {}


def two_dtypes(draw: Draw) -> Arguments:
    pairs = [(dt.int8, dt.int32), (dt.float64, dt.float32), (dt.uint8, dt.int16)]
    return draw.one(pairs), {}


def frequencies(draw: Draw) -> Arguments:
    return (draw.one([1, 2, 8, 9]),), {"d": draw.one([1.0, 0.25])}


FLOATS = unary("f")
REAL = unary("fiu")
ANY = unary("fiub")
BITS = binary("iub")
COMPARED = binary("fiu")

CALLS: dict[str, Callable[[Draw], Arguments]] = {
    **dict.fromkeys("empty ones zeros".split(), filled),
    **dict.fromkeys("empty_like ones_like zeros_like".split(), like),
    "arange": ranged,
    "asarray": ANY,
    "eye": identity,
    "from_dlpack": ANY,
    "full": lambda draw: (
        (draw.shape(), draw.one([0.1, 7, True])),
        {"dtype": draw.one([dt.float64, dt.int8])},
    ),
    "full_like": moved(lambda draw, x: ((1,), {})),
    "linspace": spaced,
    "meshgrid": lambda draw: (several(draw, [(3,), (2,)]), {"indexing": draw.one(["xy", "ij"])}),
    "tril": triangle,
    "triu": triangle,
    "astype": lambda draw: ((draw.array(draw.dtype("iubf"), draw.shape(), 0), dt.int16), {}),
    "can_cast": two_dtypes,
    "finfo": lambda draw: ((draw.one([dt.float32, dt.float64]),), {}),
    "iinfo": lambda draw: ((draw.one([dt.int8, dt.uint64]),), {}),
    "isdtype": dtype_and_kind,
    "result_type": two_dtypes,
    # element-wise
    **dict.fromkeys("abs ceil floor negative positive round sign square trunc".split(), REAL),
    **dict.fromkeys("exp expm1 log log10 log1p log2 reciprocal signbit sqrt".split(), FLOATS),
    **dict.fromkeys("isfinite isinf isnan conj real".split(), REAL),
    **dict.fromkeys("asin asinh acosh atan atanh acos cosh sinh tanh".split(), FLOATS),
    **dict.fromkeys("cos sin tan".split(), unary("f", -30, 30)),
    **dict.fromkeys(
        "add subtract multiply maximum minimum remainder floor_divide".split(), COMPARED
    ),
    **dict.fromkeys("equal not_equal".split(), binary("fiub")),
    **dict.fromkeys("greater greater_equal less less_equal".split(), COMPARED),
    **dict.fromkeys("bitwise_and bitwise_or bitwise_xor".split(), BITS),
    **dict.fromkeys("bitwise_left_shift bitwise_right_shift".split(), shifted),
    **dict.fromkeys("atan2 copysign divide hypot logaddexp nextafter".split(), binary("f")),
    **dict.fromkeys("logical_and logical_or logical_xor".split(), binary("b")),
    "bitwise_invert": unary("iub"),
    "logical_not": unary("b"),
    "clip": clipped,
    "pow": powers,
    "where": chosen,
    # moving entries
    "take": taken,
    "take_along_axis": taken_along,
    "broadcast_arrays": lambda draw: (several(draw, draw.one(PAIRS)), {}),
    "broadcast_to": moved(broadcast),
    "concat": joined,
    "expand_dims": moved(lambda draw, x: ((), {"axis": draw.one([0, -1, x.ndim])})),
    "flip": moved(named_axes),
    "moveaxis": moved(lambda draw, x: ((draw.axis(x.shape), draw.axis(x.shape)), {}), 1),
    "permute_dims": moved(permuted),
    "repeat": moved(repeated, 1),
    "reshape": moved(reshaped),
    "roll": moved(rolled),
    "squeeze": moved(squeezed),
    "stack": lambda draw: ((several(draw, [(2, 3)] * draw.one([2, 1])),), {"axis": -1}),
    "tile": moved(lambda draw, x: ((draw.one([(2,), (2, 1, 2), (0,), ()]),), {})),
    "unstack": moved(lambda draw, x: ((), {"axis": draw.axis(x.shape)}), 1),
    # searching, sorting, folding
    "argmax": along("fiu", empty=False, keepdims=[False, True]),
    "argmin": along("fiu", empty=False, keepdims=[False, True]),
    "count_nonzero": reduction("fiub"),
    "searchsorted": searched,
    **dict.fromkeys("argsort sort".split(), along("fiub", descending=[False, True])),
    "cumulative_sum": along("fiu", include_initial=[False, True]),
    "cumulative_prod": along("fiu", include_initial=[False, True]),
    **dict.fromkeys("max min sum prod".split(), reduction("fiu")),
    "mean": reduction("f"),
    **dict.fromkeys("std var".split(), reduction("f", correction=[0, 0.5])),
    **dict.fromkeys("all any".split(), reduction("fiub")),
    "diff": differences,
    # linear algebra
    **dict.fromkeys("matmul linalg.matmul".split(), products),
    **dict.fromkeys("matrix_transpose linalg.matrix_transpose".split(), of_matrix(False)),
    **dict.fromkeys("tensordot linalg.tensordot".split(), contracted),
    **dict.fromkeys("vecdot linalg.vecdot".split(), inner),
    **dict.fromkeys("fft.fftfreq fft.rfftfreq".split(), frequencies),
    **dict.fromkeys("fft.fftshift fft.ifftshift".split(), moved(shifted_axes, 1)),
    **dict.fromkeys("linalg.cholesky linalg.eigh linalg.eigvalsh".split(), of_symmetric),
    "linalg.cross": lambda draw: (several(draw, [(2, 3), (2, 3)], "fi"), {}),
    "linalg.diagonal": of_matrix(False, offset=[0, 1, -1]),
    "linalg.trace": of_matrix(False, offset=[0, 1, -1]),
    **dict.fromkeys("linalg.det linalg.inv linalg.slogdet".split(), of_matrix()),
    "linalg.matrix_norm": of_matrix(False, ord=["fro", 1, -1, 2, -2, "nuc", np.inf, -np.inf]),
    "linalg.matrix_power": lambda draw: ((draw.matrix(), draw.one([2, 0, 3, -1])), {}),
    **dict.fromkeys("linalg.matrix_rank linalg.pinv".split(), of_matrix(False)),
    "linalg.outer": lambda draw: (several(draw, [(3,), (2,)], "fiu"), {}),
    "linalg.qr": of_matrix(False, mode=["reduced"]),
    "linalg.solve": solved,
    "linalg.svd": of_matrix(False, full_matrices=[False]),
    "linalg.svdvals": of_matrix(False),
    "linalg.vector_norm": of_matrix(False, axis=[0, -1], ord=[2, 1, 0, 3, 0.5]),
}
