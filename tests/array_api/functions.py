# pyright: standard
"""The functions of the standard that are more, or less, than a call of gradloom's."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradloom as gl
from gradloom.ir.dtypes import as_dtype
from gradloom.ir.ops.build import as_array

from .eager import CPU, Array, evaluate


def asarray(
    obj: Any, /, *, dtype: Any = None, device: str | None = None, copy: bool | None = None
) -> Array:
    """Data from outside, as `gl.constant` reads it; an Array is cast by `gl.astype`.

    (What is fed to a graph comes from outside: there is nothing to build.)
    """
    if device not in (None, CPU):
        raise ValueError("there is one device, 'cpu'")
    if not isinstance(obj, Array):
        values = as_array(_numbers(obj), dtype)
        if copy is False:
            raise ValueError("Python's numbers cannot be shared")
        return Array(np.array(values))
    if dtype is not None and as_dtype(dtype) != obj.dtype:
        if copy is False:
            raise ValueError("a cast needs a copy")
        return evaluate(gl.astype, obj, dtype)
    return Array(obj.values.copy()) if copy else obj


def _numbers(obj: Any) -> Any:
    """Nested lists with arrays among their entries as nested lists of numbers."""
    if isinstance(obj, Array):
        return obj.values
    if isinstance(obj, (list, tuple)):
        return [_numbers(entry) for entry in obj]
    return obj


def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Array:
    """Memory of another library, by NumPy."""
    if device not in (None, CPU):
        raise ValueError("there is one device, 'cpu'")
    return Array(np.from_dlpack(x, copy=copy))


def repeat(x: Array, repeats: Any, /, *, axis: int | None = None) -> Array:
    """`gl.repeat`, to which counts that are an array are static, as they shape the result."""
    counts = repeats.values.reshape(-1).tolist() if isinstance(repeats, Array) else repeats
    return evaluate(gl.repeat, x, counts, axis=axis)
