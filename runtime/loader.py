# pyright: basic
"""Kernel text to addresses: from the process, else from the disk cache, else compiled.

Numba reads a kernel (see `jit`), LLVM makes it object code (see `native`), and that is kept under a
key made of the text without comments, what the vocabulary's modules contain, the versions, the
processor and the lanes. A program whose kernels are all on disk imports neither Numba nor the
vocabulary.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..ir.collector import without_collector
from ..ir.progress import tell
from ..ir.units import CACHED, INSIDE
from . import contractions, native
from .cache import default_cache, reached
from .forks import wait_at_fork
from .pools import submit

_NAME = re.compile(r"\bdef +(\w+)")
_PRODUCT = r"((?:at_|in_|turn_)?(?:f32|f64|i32|i64))"
_CONTRACT = re.compile(rf"\b(?:contract_|(?=turn_)){_PRODUCT}\(")  # in kernel text
_VECTORS = re.compile(r"^ +vectors\((\d+)\)$", re.MULTILINE)  # in kernel text, of so many lanes
_CONTRACTION = re.compile((contractions.PREFIX + _PRODUCT).encode())  # in object code


@dataclass(frozen=True)
class Statistics:
    """Kernels since the start of the process: how each one asked for was come by.

    front_end, llvm: seconds that Numba and LLVM took for those compiled; beside each other.
    """

    compiled: int = 0
    loaded_from_disk: int = 0
    reused: int = 0
    front_end: float = 0.0
    llvm: float = 0.0


_lock = threading.RLock()
wait_at_fork(lambda: (_lock,))
_statistics = Statistics()
_addresses: dict[tuple[str, int], int] = {}  # by normal text and lanes


def statistics() -> Statistics:
    """How often kernels were compiled, loaded from disk, and found in the process."""
    return _statistics


def normalise(source: str) -> str:
    """The text that decides: no comments, no blank lines, the function named `kernel`.

    Kernel text has no strings (the whitelist sees to it), so what follows a # is a comment.
    """
    lines = (line.partition("#")[0].rstrip(" \t") for line in source.split("\n"))
    text = "\n".join(filter(None, lines)) + "\n"
    return _NAME.sub("def kernel", text, count=1)


def load_kernels(sources: Sequence[str], lanes: int | None = None) -> list[int]:
    """The address of each kernel: `int32 f(void*, void*, int64*, int64*, int64*, int64, int64)`.

    `lanes` is the number of vector lanes that the texts were written for (default: the machine's),
    and of products' vectors; a text whose own vectors have more lanes says so, `vectors(64)`.
    Give all the kernels of a program at once: what has to be compiled overlaps.

    Raises:
        ValueError: a text is not a kernel (see `whitelist`).
    """
    lanes = lanes or native.host().lanes
    texts = [normalise(source) for source in sources]
    with _lock:
        objects: dict[str, bytes] = {}
        missing: dict[str, str] = {}  # normal text: the text as given
        for text, source in zip(texts, sources, strict=True):
            if (text, lanes) in _addresses or text in objects or text in missing:
                _count("reused")
                continue
            data = default_cache().get(_cache_key(text, lanes))
            if data is None:
                missing[text] = source
            else:
                objects[text] = data
                _count("loaded_from_disk")
        if missing:
            made = _compile(list(missing.values()), lanes)
            for text, data in zip(missing, made, strict=True):
                default_cache().put(_cache_key(text, lanes), data)
                _count("compiled")
                objects[text] = data
        for text, data in objects.items():
            for dtype in set(_CONTRACTION.findall(data)):
                contractions.provide(dtype.decode(), lanes)
            native.load_object(data)
            _addresses[text, lanes] = native.address(_symbol(text, lanes))
        return [_addresses[text, lanes] for text in texts]


def load_kernel(source: str, lanes: int | None = None) -> int:
    """The address of one kernel."""
    return load_kernels([source], lanes)[0]


def _compile(sources: Sequence[str], lanes: int) -> list[bytes]:
    """Object code of kernels. LLVM works on one, without the GIL, while Numba reads the next; a
    second thread writes the text of products meanwhile, so that LLVM need not wait for it."""
    interval = sys.getswitchinterval()
    if len(sources) > 1:  # LLVM's thread needs the GIL for moments only, and must not wait for it
        sys.setswitchinterval(min(interval, 0.0005))
    products = {found for source in sources for found in _CONTRACT.findall(source)}
    try:
        with ThreadPoolExecutor(2) as llvm, without_collector():
            # The first of these while Numba is imported.
            tiles = [submit(llvm, contractions.contraction, dtype, lanes) for dtype in products]
            made: list[Future[tuple[bytes, float]]] = []
            for number, source in enumerate(sources, 1):
                tell(f"compiling kernel {number} of {len(sources)}")
                start = time.perf_counter()
                lowered = _lower(source, lanes)
                _count("front_end", time.perf_counter() - start)
                made.append(submit(llvm, _object_code, *lowered))
    finally:
        sys.setswitchinterval(interval)
    for product in tiles:
        product.result()
    for work in made:
        _count("llvm", work.result()[1])
    return [work.result()[0] for work in made]


def _object_code(assembly: str, prepare: Callable[[Any], None]) -> tuple[bytes, float]:
    """The object code, and the seconds of this thread that it took."""
    start = time.thread_time()
    data = native.compile_object(assembly, prepare=prepare)
    return data, time.thread_time() - start


@native.uses_llvm
def _lower(source: str, lanes: int) -> tuple[str, Callable[[Any], None]]:
    """The kernel in LLVM assembly, and what remains to be done to its module."""
    _import_numba()
    from . import jit
    from .whitelist import check_source

    text = normalise(source)
    own = _VECTORS.search(text)
    names = _namespace(int(own.group(1)) if own else lanes)
    assembly, symbol = jit.lower(check_source(source, names.keys()), names)
    for table in ("buffers", "dims"):  # read, and written by nobody while the kernel runs
        assembly = assembly.replace(f'%"arg.{table}"', f'noalias readonly %"arg.{table}"', 1)

    def prepare(module: Any) -> None:
        module.get_function(symbol).name = _symbol(text, lanes)

    return assembly, prepare


@functools.cache
def _import_numba() -> None:
    """Only when something must be compiled, and by a thread of its own: signals strike the main
    thread, and Python does not mend modules that an exception left half imported."""

    def work() -> None:
        with suppress(Exception):  # who imports it next is told
            importlib.import_module(".jit", __package__)

    thread = threading.Thread(target=work, name="gradloom imports Numba")
    thread.start()
    thread.join()


def _count(how: str, amount: float = 1) -> None:
    global _statistics
    _statistics = replace(_statistics, **{how: getattr(_statistics, how) + amount})


@functools.cache
def _namespace(lanes: int) -> dict[str, Any]:
    from . import scalars, vector

    return {**scalars.NAMES, **vector.vocabulary(lanes)}


def _key(text: str, lanes: int) -> str:
    digest = hashlib.sha256(_environment())
    digest.update(f"{lanes}\n{text}".encode())
    return digest.hexdigest()


def _cache_key(text: str, lanes: int) -> str:
    return "kernel-" + _key(text, lanes)


def _symbol(text: str, lanes: int) -> str:
    return "gradloom_kernel_" + _key(text, lanes)[:40]


@functools.cache
def _environment() -> bytes:
    """Everything but the text that object code depends on."""
    digest = hashlib.sha256(native.host().identity.encode())
    digest.update(f"{CACHED} {INSIDE} ".encode())
    digest.update(f"python {sys.version_info[:3]}".encode())
    # Numba's version is in a file of its own: reading that does not import Numba.
    numba = importlib.util.find_spec("numba")
    if numba is not None and numba.origin:
        digest.update((Path(numba.origin).parent / "_version.py").read_bytes())
    for path in reached("loader", "jit", "vector"):
        digest.update(path.read_bytes())
    return digest.digest()
