# pyright: basic
"""LLVM as the runtime uses it: text in, object code out, object code in, addresses out.

One execution engine serves the process; it and what it has loaded are never freed, because a parked
worker thread or a bound program may still be inside. Several threads make object code at a time,
each with a target machine and an LLVM context that no other touches. Nothing here imports Numba.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import llvmlite
import llvmlite.binding as llvm

from .cache import default_cache
from .forks import wait_at_fork

P = ParamSpec("P")
R = TypeVar("R")

_lock = threading.RLock()  # of the engine


@functools.cache
def _llvmlite_lock() -> threading.RLock:
    """The one that llvmlite takes in each call (or another, should it keep that elsewhere)."""
    return getattr(getattr(llvm.ffi.lib, "_lock", None), "_lock", None) or threading.RLock()


def uses_llvm(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, which when it fails frees llvmlite's lock.

    Ctrl-C may strike when the main thread has got that lock, and before llvmlite knows: it would
    keep it, and all other threads wait for ever.
    """

    @functools.wraps(function)
    def freeing(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BaseException:
            with contextlib.suppress(RuntimeError):  # until this thread does not have it
                while True:
                    _llvmlite_lock().release()
            raise

    return freeing


# Where a branch crosses a multiple of 32 bytes, or ends at one, these decode it anew each time: an
# erratum of Intel's, "jump conditional code". A loop is then a quarter slower, or not, as it comes
# to lie; so LLVM shall pad the text. That is an option of the whole process, and harms nobody.
_PADDED = {"skylake", "skylake-avx512", "cascadelake"}


@dataclass(frozen=True)
class Host:
    """The machine that code is made for; `identity` is what cache keys must hold of it."""

    triple: str
    cpu: str
    features: str
    lanes: int  # float32 lanes of the widest vector registers
    fused: bool  # fma is an instruction, not a call into libm
    halves: bool  # and so are the conversions between float16 and float32

    @property
    def identity(self) -> str:
        padded = " padded" if self.cpu in _PADDED else ""
        return f"{self.triple} {self.cpu} {self.features} llvmlite {llvmlite.__version__}{padded}"


@functools.cache
@uses_llvm
def host() -> Host:
    """Probe this machine: triple, LLVM's name of the processor, its features, vector lanes; LLVM is
    told of the processor's erratum, if it has that."""
    with _lock:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        cpu = llvm.get_host_cpu_name()
        if cpu in _PADDED:
            llvm.set_option("gradloom", "--x86-branches-within-32B-boundaries")
        triple = llvm.get_process_triple()
        features = dict(llvm.get_host_cpu_features())
    is_arm = triple.startswith(("aarch64", "arm64"))
    fused = bool(features.get("fma")) or is_arm
    halves = bool(features.get("f16c")) or is_arm
    lanes = 16 if features.get("avx512f") else 8 if features.get("avx2") and fused else 4
    flags = ",".join(("+" if on else "-") + name for name, on in sorted(features.items()))
    return Host(triple, cpu, flags, lanes, fused, halves)


def _target_machine() -> Any:
    machine = host()
    # The JIT's code model is the large one: MCJIT may put code and constants gigabytes apart.
    return llvm.Target.from_triple(machine.triple).create_target_machine(
        cpu=machine.cpu, features=machine.features, opt=2, jit=True
    )


@functools.cache
def _engine() -> Any:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine._owned = True  # by nobody: never disposed of, not even at exit (see the docstring above)
    return engine


# What kernels need of LLVM's passes: variables become values, loops test at their end, and what is
# computed twice is computed once. Kernels come with their vectors and their unrolling written out,
# so the rest of the usual pipeline would find little and takes twice the time.
_PASSES = (
    "sroa",
    "simplify_cfg",
    "instruction_combine",
    "loop_rotate",
    "new_gvn",
    "instruction_combine",
)


class _Seat:
    """A target machine, and who holds `lock` may use it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    @functools.cached_property
    def machine(self) -> Any:
        return _target_machine()


_seats = tuple(_Seat() for _ in range(4))


@contextlib.contextmanager
def _seated() -> Iterator[Any]:
    """A target machine that is this thread's for a while."""
    seat = next((seat for seat in _seats if seat.lock.acquire(blocking=False)), None)
    if seat is None:
        seat = _seats[0]
        seat.lock.acquire()
    try:
        yield seat.machine
    finally:
        seat.lock.release()


def _locks() -> Iterator[threading.RLock]:
    """All that somebody may hold who is inside LLVM: of Numba, if a program has imported it."""
    module = sys.modules.get("numba.core.compiler_lock")
    numba = getattr(getattr(module, "global_compiler_lock", None), "_lock", None)
    if numba is not None:
        yield numba
    yield from (seat.lock for seat in _seats)
    yield _lock
    yield _llvmlite_lock()


wait_at_fork(_locks)


@contextlib.contextmanager
def _optimised(
    machine: Any, text: str, simplify: bool, prepare: Callable[[Any], None] | None = None
) -> Iterator[Any]:
    """Parse LLVM assembly, verify it, and `simplify` it (see `_PASSES`); the module, in a context
    of its own.

    Both are gone afterwards, while no fork comes between, and in this order: the garbage collector,
    which may find them in a traceback, would take the context first, and crash.

    Carefully written text is left as it is (the code generator then does its part). `prepare` sees
    the parsed module before it is verified (to rename).
    """
    context = llvm.create_context()
    module = llvm.parse_assembly(text, context)
    try:
        module.triple = host().triple
        module.data_layout = str(machine.target_data)
        if prepare is not None:
            prepare(module)
        module.verify()
        passes = llvm.create_new_module_pass_manager()
        for name in _PASSES if simplify else ():
            getattr(passes, f"add_{name}_pass")()
        passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
        yield module
    finally:
        module.close()
        context.close()


# llvmlite holds one lock for the whole process in each of its calls, and this one takes most of the
# time: other threads would wait for it, and the import of Numba, which asks LLVM for the
# processor's name. LLVM itself asks only that contexts and target machines are not shared.
_EMIT = "LLVMPY_TargetMachineEmitToMemory"
_library: Any = llvm.ffi.lib
_locked = getattr(_library, _EMIT)
_emit = ctypes.CFUNCTYPE(_locked.restype, *_locked.argtypes)((_EMIT, _library))


@uses_llvm
def compile_object(
    text: str, simplify: bool = True, prepare: Callable[[Any], None] | None = None
) -> bytes:
    """The object code of LLVM assembly `text` for this machine."""
    with _seated() as machine, _optimised(machine, text, simplify, prepare) as module:
        return _emitted(machine, module)


def _emitted(machine: Any, module: Any) -> bytes:
    with llvm.ffi.OutputString() as error:
        made = _emit(machine, module, 1, error)
        if not made:
            raise RuntimeError(str(error))
    try:
        start, size = _library.LLVMPY_GetBufferStart(made), _library.LLVMPY_GetBufferSize(made)
        return ctypes.string_at(start, size)
    finally:
        _library.LLVMPY_DisposeMemoryBuffer(made)


@uses_llvm
def assembly(text: str, simplify: bool = True) -> str:
    """The machine's own assembly of LLVM assembly `text`: to look at, and to count spills in."""
    with _seated() as machine, _optimised(machine, text, simplify) as module:
        return machine.emit_assembly(module)


def cached_object(key: str, produce: Callable[[], bytes]) -> tuple[bytes, bool]:
    """Object code from the disk cache, else from `produce`, and kept; whether it was on disk."""
    cache = default_cache()
    found = cache.get(key)
    if found is not None:
        return found, True
    made = produce()
    cache.put(key, made)
    return made, False


@uses_llvm
def load_object(data: bytes) -> Any:
    """Load object code into the process, for `address`. Returns the engine that owns it.

    The external symbols that it names must be known: loaded before, or given to `add_symbol`.
    """
    with _lock:
        engine = _engine()
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        engine.finalize_object()
        return engine


@uses_llvm
def address(symbol: str) -> int:
    """Where a loaded symbol is; KeyError when no loaded object defines it."""
    with _lock:
        found = _engine().get_function_address(symbol)
    if not found:
        raise KeyError(symbol)
    return found


@uses_llvm
def add_symbol(name: str, where: int) -> None:
    """Let objects loaded from now on refer to address `where` as `name`."""
    with _lock:
        llvm.add_symbol(name, where)
