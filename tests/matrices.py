"""Matrices for the tests of linear algebra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import gradloom as gl

from .op_cases import generator

NumpyArray = np.ndarray[Any, Any]


def placeholders(arrays: Sequence[NumpyArray]) -> list[gl.Tensor]:
    return [gl.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(arrays)]


def general(*shape: int, seed: int = 0) -> NumpyArray:
    return generator("matrix", shape, seed).normal(size=shape)


def square(*shape: int) -> NumpyArray:
    """Well conditioned."""
    return general(*shape) + 4 * np.eye(shape[-1])


def positive(*shape: int) -> NumpyArray:
    """Symmetric positive definite, with distinct eigenvalues."""
    x = general(*shape)
    return x @ np.swapaxes(x, -1, -2) + np.diag(1.0 + 3 * np.arange(shape[-1]))
