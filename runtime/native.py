# pyright: basic
"""LLVM as the runtime uses it: text in, object code out, object code in, addresses out.

One target machine and one execution engine serve the process; the engine and what it has loaded are
never freed, because a parked worker thread or a bound program may still be inside. Nothing here
imports Numba.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from .cache import default_cache

_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A fork while another thread is inside LLVM would leave the child with LLVM's locks taken.
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


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
        return f"{self.triple} {self.cpu} {self.features} llvmlite {llvmlite.__version__}"


@functools.cache
def host() -> Host:
    """Probe this machine: triple, LLVM's name of the processor, its features, vector lanes."""
    with _lock:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        triple = llvm.get_process_triple()
        features = dict(llvm.get_host_cpu_features())
    is_arm = triple.startswith(("aarch64", "arm64"))
    fused = bool(features.get("fma")) or is_arm
    halves = bool(features.get("f16c")) or is_arm
    lanes = 16 if features.get("avx512f") else 8 if features.get("avx2") and fused else 4
    flags = ",".join(("+" if on else "-") + name for name, on in sorted(features.items()))
    return Host(triple, llvm.get_host_cpu_name(), flags, lanes, fused, halves)


@functools.cache
def _target_machine() -> Any:
    machine = host()
    # The JIT's code model is the large one: MCJIT may put code and constants gigabytes apart.
    return llvm.Target.from_triple(machine.triple).create_target_machine(
        cpu=machine.cpu, features=machine.features, opt=2, jit=True
    )


@functools.cache
def _engine() -> Any:
    machine = _target_machine.__wrapped__()  # one of its own: the engine takes it over
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
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


def optimise(text: str, simplify: bool = True, prepare: Callable[[Any], None] | None = None) -> Any:
    """Parse LLVM assembly, verify it, and `simplify` it (see `_PASSES`); the module.

    Carefully written text is left as it is (the code generator then does its part). `prepare` sees
    the parsed module before it is verified (to rename or link).
    """
    with _lock:
        machine = _target_machine()
        module = llvm.parse_assembly(text)
        module.triple = host().triple
        module.data_layout = str(machine.target_data)
        if prepare is not None:
            prepare(module)
        module.verify()
        passes = llvm.create_new_module_pass_manager()
        for name in _PASSES if simplify else ():
            getattr(passes, f"add_{name}_pass")()
        options = llvm.create_pipeline_tuning_options()
        passes.run(module, llvm.create_pass_builder(machine, options))
        return module


def compile_object(
    text: str, simplify: bool = True, prepare: Callable[[Any], None] | None = None
) -> bytes:
    """The object code of LLVM assembly `text` for this machine."""
    with _lock:
        return _target_machine().emit_object(optimise(text, simplify, prepare))


def assembly(text: str, simplify: bool = True) -> str:
    """The machine's own assembly of LLVM assembly `text`: to look at, and to count spills in."""
    with _lock:
        return _target_machine().emit_assembly(optimise(text, simplify))


def cached_object(key: str, produce: Callable[[], bytes]) -> tuple[bytes, bool]:
    """Object code from the disk cache, else from `produce`, and kept; whether it was on disk."""
    cache = default_cache()
    found = cache.get(key)
    if found is not None:
        return found, True
    made = produce()
    cache.put(key, made)
    return made, False


def load_object(data: bytes) -> Any:
    """Load object code into the process, for `address`. Returns the engine that owns it.

    The external symbols that it names must be known: loaded before, or given to `add_symbol`.
    """
    with _lock:
        engine = _engine()
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        engine.finalize_object()
        return engine


def address(symbol: str) -> int:
    """Where a loaded symbol is; KeyError when no loaded object defines it."""
    with _lock:
        found = _engine().get_function_address(symbol)
    if not found:
        raise KeyError(symbol)
    return found


def add_symbol(name: str, where: int) -> None:
    """Let objects loaded from now on refer to address `where` as `name`."""
    with _lock:
        llvm.add_symbol(name, where)
