# pyright: basic
"""CUDA: kernel text to PTX through Numba, and PTX to a device through its driver.

This is the only importer of ``numba.cuda``, and Numba does nothing but compile: programs are
loaded and launched by the driver itself, called through ctypes.  Compiling needs the packages of
the ``cuda`` extra and no GPU; PTX is kept on disk.

Numba's compiler is asked not to contract a product and a sum into one operation: where that
happens is decided in the graph, so that results do not depend on what was fused.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

from ..ir.errors import CudaUnavailableError
from ..ir.kernel import Kernel
from ..ir.launch import Dimensions
from .cache import default_cache, reached
from .cuda_executable import CudaExecutable, Device
from .cuda_intrinsics import device_vocabulary

__all__ = ["CudaDevice", "CudaExecutable", "compile_to_ptx", "device", "require_gpu"]

PACKAGES = (
    "numba-cuda",
    "nvidia-cuda-runtime",
    "nvidia-cuda-nvrtc",
    "nvidia-nvvm",
    "nvidia-nvjitlink",
)
_ENTRY = re.compile(r"\.visible \.entry (\w+)\(")
_VERSIONS = ("numba-cuda", "numba", "nvidia-nvvm")


@dataclass(frozen=True)
class Ptx:
    """A compiled kernel: its text, and the symbol to look up."""

    text: str
    entry: str


# --- what is there ------------------------------------------------------------------------------


def missing_packages() -> list[str]:
    """The packages of the ``cuda`` extra that are not installed."""
    missing: list[str] = []
    for name in PACKAGES:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return missing


@functools.cache
def _driver() -> Any:
    """The driver's library, initialised; an OSError or RuntimeError says why not."""
    library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    count = ctypes.c_int(0)
    for name, arguments in (("cuInit", (0,)), ("cuDeviceGetCount", (ctypes.byref(count),))):
        code = getattr(library, name)(*arguments)
        if code != 0:
            raise RuntimeError(f"its {name} failed with error {code}")
    if count.value == 0:
        raise RuntimeError("it knows no GPU")
    return library


def require_gpu() -> None:
    """Raise CudaUnavailableError, saying what was found, unless programs for CUDA can run here."""
    found: list[str] = []
    try:
        _driver()
    except OSError:
        found.append("no NVIDIA driver was found")
    except RuntimeError as error:
        found.append(f"an NVIDIA driver was found, but {error}")
    missing = missing_packages()
    if missing:
        found.append(f"these packages are not installed: {', '.join(missing)}")
    if found:
        raise CudaUnavailableError(
            'target="cuda" needs an NVIDIA GPU with its driver, and the packages that '
            f"gradloom's extra `cuda` installs; here, {', and '.join(found)}. "
            'target="cpu" runs everywhere.'
        )


# --- compiling ----------------------------------------------------------------------------------


def compile_to_ptx(source: str, kernel: Kernel, cc: tuple[int, int], narrow: bool = True) -> Ptx:
    """The PTX of `source`, the CUDA text of `kernel`, for compute capability `cc`; needs no GPU.

    narrow: sizes and indices are int32 (see ``ir.launch.is_narrow``).  Arguments are pointers,
    then sizes, then the pointer to the status words.
    """
    kinds = ",".join(argument.dtype.short for argument in kernel.arguments)
    versions = ",".join(importlib.metadata.version(name) for name in _VERSIONS)
    parts = (source, kinds, str(len(kernel.parameters)), str(cc), str(narrow), versions, _own())
    key = "ptx-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()
    data = default_cache().get(key)
    text = data.decode() if data is not None else _compile(source, kernel, cc, narrow)
    if data is None:
        default_cache().put(key, text.encode())
    match = _ENTRY.search(text)
    assert match is not None
    return Ptx(text, match[1])


@functools.cache
def _own() -> str:
    """What the vocabulary is made of: part of the key of what was compiled from it."""
    digest = hashlib.sha256()
    for path in reached("cuda_intrinsics", "cuda_vocabulary"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _numba(module: str = "") -> Any:
    """A module of ``numba.cuda``, which is the package numba-cuda where that is installed."""
    return importlib.import_module(f"numba.cuda.{module}".rstrip("."))


@functools.cache
def _vocabulary(narrow: bool) -> dict[str, Any]:
    extending, types = _numba("extending"), _numba("types")
    return {**device_vocabulary(extending, types, narrow=narrow), "cuda": _numba()}


def _compile(source: str, kernel: Kernel, cc: tuple[int, int], narrow: bool) -> str:
    types, compiler = _numba("types"), _numba("compiler")
    namespace = dict(_vocabulary(narrow))
    exec(compile(source, f"<{kernel.name}>", "exec"), namespace)
    function = namespace[kernel.name]
    assert isinstance(function, FunctionType)

    def pointer(dtype: Any) -> Any:
        stored = "uint8" if dtype.kind == "b" else "uint16" if dtype.is_half else dtype.name
        return types.CPointer(getattr(types, stored))

    index = types.int32 if narrow else types.int64
    signature = (
        *(pointer(argument.dtype) for argument in kernel.arguments),
        *(index for _ in kernel.parameters),
        types.CPointer(types.int64),
    )
    options = {"fastmath": False, "opt": 3, "fma": 0}
    result = compiler.compile_cuda(function, types.void, signature, cc=cc, nvvm_options=options)
    library, name = result.library, result.fndesc.llvm_func_name
    compiler.kernel_fixup(library.get_function(name), False)
    library._entry_name = name
    (text,) = library.get_asm_strs(cc=cc)
    return text.decode() if isinstance(text, bytes) else text


# --- the device ---------------------------------------------------------------------------------

_CAPABILITY = 75, 76  # the attributes major and minor


class CudaDevice(Device):
    """The first GPU: memory, and launches on one stream of our own."""

    def __init__(self) -> None:
        require_gpu()
        self._library = _driver()
        handle = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(handle), 0)
        major, minor = ctypes.c_int(), ctypes.c_int()
        for number, attribute in zip((major, minor), _CAPABILITY, strict=True):
            self._call("cuDeviceGetAttribute", ctypes.byref(number), attribute, handle)
        self.cc = (major.value, minor.value)
        self._context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), handle)
        self.enter()
        self._stream = ctypes.c_void_p()
        non_blocking = 1
        self._call("cuStreamCreate", ctypes.byref(self._stream), non_blocking)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(code, ctypes.byref(text))
            what = text.value.decode() if text.value else str(code)
            raise CudaUnavailableError(f"{name} failed: {what}")

    def enter(self) -> None:
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, nbytes: int) -> int:
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(nbytes, 1)))
        return address.value

    def release(self, address: int) -> None:
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def write(self, address: int, array: np.ndarray) -> None:
        if array.nbytes:
            size = ctypes.c_size_t(array.nbytes)
            source = ctypes.c_void_p(array.ctypes.data)
            self._call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), source, size, self._stream)
            self._call("cuStreamSynchronize", self._stream)  # the caller may change `array`

    def read(self, address: int, array: np.ndarray) -> None:
        if array.nbytes:
            size = ctypes.c_size_t(array.nbytes)
            target = ctypes.c_void_p(array.ctypes.data)
            self._call("cuMemcpyDtoHAsync_v2", target, ctypes.c_uint64(address), size, self._stream)
            self._call("cuStreamSynchronize", self._stream)

    def copy(self, destination: int, source: int, nbytes: int) -> None:
        if nbytes:
            to, of = ctypes.c_uint64(destination), ctypes.c_uint64(source)
            self._call("cuMemcpyDtoDAsync_v2", to, of, ctypes.c_size_t(nbytes), self._stream)

    def load(self, kernel: Kernel, narrow: bool) -> Any:
        ptx = compile_to_ptx(kernel.source, kernel, self.cc, narrow)
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), ptx.text.encode() + b"\0")
        self._call("cuModuleGetFunction", ctypes.byref(function), module, ptx.entry.encode())
        return function

    def launch(
        self,
        function: Any,
        grid: Dimensions,
        block: Dimensions,
        pointers: Sequence[int],
        sizes: Sequence[int],
        status: int,
        narrow: bool,
    ) -> None:
        index = ctypes.c_int32 if narrow else ctypes.c_int64
        values = [
            *map(ctypes.c_uint64, pointers),
            *map(index, sizes),
            ctypes.c_uint64(status),
        ]
        places = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        shared = 0
        self._call("cuLaunchKernel", function, *grid, *block, shared, self._stream, places, None)


@functools.cache
def device() -> CudaDevice:
    """The device that all programs of this process share."""
    return CudaDevice()
