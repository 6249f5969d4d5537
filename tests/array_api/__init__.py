# pyright: standard
"""gradloom as an eager array library, for the conformance suite of the array API standard.

This package is a namespace of the standard (`asarray`, `add`, …, `linalg`) whose every function
goes through building a graph, compiling it and running it.  The suite (array-api-tests, by the
makers of the standard) runs on it, outside of this repository:

    git clone --recurse-submodules https://github.com/data-apis/array-api-tests
    pip install ndindex pytest-json-report
    python tests/array_api/run.py path/to/array-api-tests

which writes `docs/array_api.md`.  What is skipped, and why, stands in `skips.txt`.  The package is
made for tests: nobody should compute with it, a call costs a compile.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import gradloom as gl
from gradloom.ir import dtypes as _dtypes
from gradloom.ir.dtypes import DType

from .eager import CPU, Array, eager
from .functions import asarray, from_dlpack, repeat
from .standard import API_VERSION, EXTENSIONS, MEMORY, NOT_COVERED, SECTIONS

__array_api_version__ = API_VERSION

DTYPES: dict[str, DType] = {
    dtype.name: dtype for dtype in _dtypes.ALL if dtype.name not in ("float16", "bfloat16")
}


def namespace() -> ModuleType:
    """This module, as arrays give it."""
    return sys.modules[__name__]


def covered(section: str, name: str) -> bool:
    """Whether gradloom has the function."""
    if name in ("asarray", "from_dlpack", "__array_namespace_info__"):
        return True
    if name in NOT_COVERED or f"{section}.{name}" in NOT_COVERED:
        return False
    return hasattr(getattr(gl, section, None) if section in EXTENSIONS else gl, name)


class Info:
    """What `__array_namespace_info__` answers."""

    def capabilities(self) -> dict[str, Any]:
        return {
            "boolean indexing": False,
            "data-dependent shapes": False,
            "max dimensions": None,
        }

    def default_device(self) -> str:
        return CPU

    def devices(self) -> list[str]:
        return [CPU]

    def default_dtypes(self, *, device: str | None = None) -> dict[str, DType]:
        index = _dtypes.int64
        return {"real floating": _dtypes.float32, "integral": index, "indexing": index}

    def dtypes(self, *, device: str | None = None, kind: Any = None) -> dict[str, DType]:
        kinds = kind or ("bool", "numeric")
        return {name: dtype for name, dtype in DTYPES.items() if gl.isdtype(dtype, kinds)}


def __array_namespace_info__() -> Info:  # noqa: N807
    return Info()


def _enter_functions() -> None:
    module = sys.modules[__name__]
    for section, names in SECTIONS.items():
        if section in EXTENSIONS:
            functions = {
                name: eager(getattr(getattr(gl, section), name), *MEMORY.get(name, ()))
                for name in names
                if covered(section, name)
            }
            if functions:
                setattr(module, section, SimpleNamespace(**functions))
            continue
        for name in names:
            if covered(section, name) and not hasattr(module, name):
                setattr(module, name, eager(getattr(gl, name), *MEMORY.get(name, ())))
    for name, dtype in DTYPES.items():
        setattr(module, name, dtype)
    for name in ("e", "inf", "nan", "newaxis", "pi"):
        if hasattr(gl, name):
            setattr(module, name, getattr(gl, name))


_enter_functions()

__all__ = ["Array", "asarray", "from_dlpack", "repeat"]
