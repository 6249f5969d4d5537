# pyright: basic
"""Numba as the front end of kernels: Python function in, LLVM assembly out.

Of Numba only the bytecode reader, type inference and lowering are used. A target and typing context
of our own know what kernels can say (`calls`, `scalars`, `vector`) and load none of Numba's
registries, which would bring in NumPy's ufuncs, random numbers, lists, dictionaries and SciPy: half
a second of imports, and most of the time of every compile. Nothing is compiled by Numba itself; see
`native`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import compiler, funcdesc, lowering, types, typing, untyped_passes
from numba.core.codegen import CodeLibrary, JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import LoweringPass, PassManager, register_pass
from numba.core.cpu import CPUContext
from numba.core.errors import TypingError
from numba.core.target_extension import (
    CPU,
    dispatcher_registry,
    jit_registry,
    target_override,
    target_registry,
)
from numba.core.typed_passes import NopythonTypeInference
from numba.core.typing.templates import signature

from . import calls, scalars, vector

_NAME = "gradloom"  # of our target among Numba's
ARGUMENTS = (
    types.CPointer(types.intp),  # buffers: this launch's slice of the table of addresses
    types.CPointer(types.int64),  # dims
    types.CPointer(types.int64),  # status
    types.int64,  # tid
    types.int64,  # nth
)


class _TypingContext(typing.context.BaseContext):
    """Types of what kernels say, and of nothing else."""

    def refresh(self) -> None:
        pass

    def resolve_value_type(self, val: Any) -> Any:
        if isinstance(val, calls.Named):
            return val.callee
        kind = type(val)
        if kind is bool:
            return types.boolean
        if kind is int:
            return types.int64 if -(1 << 63) <= val < 1 << 63 else types.uint64
        if kind is float:
            return types.float64
        if val is None:  # what a kernel returns
            return types.none
        callee = scalars.CALLEES.get(val)
        if callee is None:
            raise ValueError(f"nothing that a kernel may name: {val!r}")
        return callee

    def resolve_value_type_prefer_literal(self, value: Any) -> Any:
        return self.resolve_value_type(value)

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        if isinstance(func, calls.Callee):
            return func.get_call_type(self, args, kws)
        match func:
            case "getiter":
                return signature(scalars.RANGE, *args)
            case "iternext":
                return signature(scalars.PAIR, *args)
            case "pair_first":
                return signature(args[0].first_type, *args)
            case "pair_second":
                return signature(args[0].second_type, *args)
            case _:
                return scalars.CALLEES[func].get_call_type(self, args, kws)


def _implemented(emit: Callable[..., Any]) -> Callable[..., Any]:
    return lambda builder, values, loc=None: emit(builder, *values)


_sizes: dict[str, int] = {}


class _TargetContext(CPUContext):
    """What kernels say in LLVM."""

    def refresh(self) -> None:
        pass

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Any:
        if isinstance(fn, calls.Callee):
            return fn.implementation(self, sig)
        match fn:
            case "getiter":
                return _implemented(lambda builder, state: state)
            case "iternext":
                return _implemented(scalars.advance)
            case _:
                return scalars.CALLEES[fn].implementation(self, sig)

    def pair_first(self, builder: Any, val: Any, ty: Any) -> Any:
        return builder.extract_value(val, 0)

    def pair_second(self, builder: Any, val: Any, ty: Any) -> Any:
        return builder.extract_value(val, 1)

    def cast(self, builder: Any, val: Any, fromty: Any, toty: Any) -> Any:
        fromty, toty = types.unliteral(fromty), types.unliteral(toty)
        if fromty == toty:
            return val
        if isinstance(toty, vector.Vector):
            return vector.splat_scalar(builder, fromty, toty, val)
        if isinstance(toty, types.Integer) and isinstance(fromty, types.Integer):
            return val  # the same 64 bits
        if toty == types.int64 and fromty == types.boolean:
            return builder.zext(val, ir.IntType(64))
        return super().cast(builder, val, fromty, toty)

    def get_constant_generic(self, builder: Any, ty: Any, val: Any) -> Any:
        if isinstance(ty, calls.Callee | types.NoneType):
            return self.get_dummy_value()
        return ir.Constant(self.get_value_type(ty), val)

    def get_abi_sizeof(self, ty: Any) -> int:
        # Asked often, of few types, and each time LLVM would parse a module: which other threads
        # may be keeping busy just then.
        name = str(ty)
        size = _sizes.get(name)
        if size is None:
            size = _sizes[name] = super().get_abi_sizeof(ty)
        return size

    def declare_env_global(self, module: Any, envname: str) -> None:
        pass  # of a Python function: a kernel has none

    def post_lowering(self, module: Any, library: Any) -> None:
        pass  # no link with Numba's memory management: kernels allocate nothing


class _Library(JITCodeLibrary):
    """Keeps what is lowered into it instead of compiling it."""

    text = ""

    def __init__(self, codegen: Any, name: str) -> None:
        CodeLibrary.__init__(self, codegen, name)
        self._linking_libraries: list[Any] = []

    def create_ir_module(self, name: str) -> ir.Module:
        return ir.Module(name)

    def add_ir_module(self, ir_module: Any) -> None:
        self.text = str(ir_module)


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(LoweringPass):
    _name = "gradloom_lowering"

    def __init__(self) -> None:
        LoweringPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        context, library = state.targetctx, state.library
        description = funcdesc.PythonFunctionDescriptor.from_specialized_function(
            state.func_ir,
            state.typemap,
            state.return_type,
            state.calltypes,
            mangler=context.mangler,
            inline=False,
            noalias=False,
            abi_tags=(),
        )
        with context.push_code_library(library):
            lowering.Lower(
                context, library, description, state.func_ir, metadata=state.metadata
            ).lower()
        state.cr = description.mangled_name
        return True


class _Pipeline(compiler.CompilerBase):
    def define_pipelines(self) -> list[PassManager]:
        passes = PassManager("kernel")
        passes.add_pass(untyped_passes.TranslateByteCode, "bytecode")
        passes.add_pass(untyped_passes.FixupArgs, "arguments")
        passes.add_pass(untyped_passes.IRProcessing, "control flow")
        passes.add_pass(NopythonTypeInference, "types")
        passes.add_pass(_Lowering, "lowering")
        passes.finalize()
        return [passes]


class _Target(CPU):
    """So named, an intrinsic in a kernel is registered with our context and not with Numba's."""


def _refuse(*arguments: Any, **options: Any) -> Any:
    """Stands for `jit`: an `overload` would be compiled by Numba, with all that this loads."""
    raise TypingError("in a kernel only intrinsics can be called")


class _Descriptor:
    target_context: Any


class _Dispatcher:
    targetdescr = _Descriptor


target_registry[_NAME] = _Target
_typing_context = _TypingContext()
_target_context = _TargetContext(_typing_context, _NAME)
_Descriptor.target_context = _target_context
dispatcher_registry[_Target] = _Dispatcher
jit_registry[_Target] = _refuse


def lower(function: Callable[..., None]) -> tuple[str, str]:
    """The LLVM assembly of a kernel, not yet optimised, and the name of its function there."""
    flags: Any = compiler.Flags()
    flags.error_model = "numpy"
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    with global_compiler_lock, target_override(_NAME):
        library = _Library(_target_context.codegen(), function.__name__)
        pipeline = _Pipeline(
            _typing_context, _target_context, library, ARGUMENTS, types.none, flags, {}
        )
        symbol = pipeline.compile_extra(function)
    if library._linking_libraries:
        raise NotImplementedError(
            "the kernel uses a function that Numba compiles on its own; "
            "the vocabulary must provide it as an intrinsic"
        )
    return library.text, symbol
