# pyright: standard
"""What the tests of ``gl.nn`` share: numbers, both ways to evaluate, and loops over windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.tensor import Tensor

from .op_cases import close

NumpyArray = np.ndarray[Any, Any]


def numbers(*shape: int, seed: int = 0) -> NumpyArray:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def first(x: NumpyArray, n: int) -> NumpyArray:
    """The first of `n` spatial axes of three."""
    return x[(..., *[0] * (3 - n))]


def both(function: Callable[..., Tensor], *arrays: Any, names: Sequence[Any] = ()) -> NumpyArray:
    """The function's value by compiled code, which the interpreter's must be close to.

    names: shapes of the placeholders, those of the arrays where there are none.
    """
    given = [np.asarray(array) for array in arrays]
    shapes = names or [array.shape for array in given]
    inputs = [
        gl.placeholder(shape, array.dtype, f"x{i}")
        for i, (shape, array) in enumerate(zip(shapes, given, strict=True))
    ]
    value = function(*inputs)
    got = gl.function(inputs, value)(*given)
    close(value.eval(dict(zip(inputs, given, strict=True))), got)
    return got


def refused(text: str, function: Callable[[], Any], kind: type[Exception] = gl.GradloomError):
    with pytest.raises(kind) as caught:
        function()
    assert text in str(caught.value), str(caught.value)
    assert "at test_nn" in str(caught.value)


def image(*shape: Any, dtype: str = "float64") -> Tensor:
    return gl.placeholder(shape, dtype, "image")


def loops(x: NumpyArray, w: NumpyArray, strides: Sequence[int], pads: Any) -> NumpyArray:
    """Cross-correlation without groups and dilation, window by window."""
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    sizes = zip(x.shape[2:], w.shape[2:], strides, strict=True)
    counts = [(size - k) // s + 1 for size, k, s in sizes]
    result = np.zeros((x.shape[0], w.shape[0], *counts), x.dtype)
    for place in np.ndindex(*counts):
        walk = zip(place, w.shape[2:], strides, strict=True)
        cut = tuple(slice(o * s, o * s + k) for o, k, s in walk)
        result[(..., *place)] = np.tensordot(
            x[(..., *cut)], w, (list(range(1, x.ndim)), list(range(1, x.ndim)))
        )
    return result
