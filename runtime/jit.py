# pyright: basic
"""Numba as the front end of kernels: their syntax tree in, LLVM assembly out.

Of Numba the intermediate representation (see `numba_ir`), types (see `typed`), data models and
lowering are used. A target and typing context of our own know what kernels can say (`calls`,
`scalars`, `vector`) and load none of Numba's registries, which would bring in NumPy's ufuncs,
random numbers, lists, dictionaries and SciPy: half a second of imports, and most of the time of
every compile. Nothing is compiled by Numba itself; see `native`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Mapping
from typing import Any

from llvmlite import ir
from numba.core import funcdesc, lowering, types, typing
from numba.core import ir as numba_language
from numba.core.codegen import CodeLibrary, JITCodeLibrary
from numba.core.compiler import Flags
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.core.targetconfig import ConfigStack

from . import calls, numba_ir, scalars, vector
from .typed import Types, operands_of

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
        return scalars.CALLEES[func].get_call_type(self, args, kws)


_sizes: dict[str, int] = {}


class _TargetContext(CPUContext):
    """What kernels say in LLVM."""

    def refresh(self) -> None:
        pass

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Any:
        callee = fn if isinstance(fn, calls.Callee) else scalars.CALLEES[fn]
        return callee.implementation(self, sig)

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


class _Lower(lowering.Lower):
    """Numba's lowering, short where kernels are: nothing is counted, raised, tried or debugged."""

    def __init__(self, found: Types, *rest: Any) -> None:
        self._found = found
        super().__init__(*rest, metadata={})

    def _find_singly_assigned_variable(self) -> None:
        self._singly_assigned_vars, self._blk_local_varmap = self._found.values, {}

    def lower_block(self, block: Any) -> None:
        for item in block.body:
            self.loc = item.loc
            self.lower_inst(item)

    def lower_inst(self, inst: Any) -> None:
        if not isinstance(inst, numba_language.Assign):
            super().lower_inst(inst)
            return
        name = inst.target.name
        value = self.lower_assign(self.typeof(name), inst)
        if name in self._singly_assigned_vars:
            self._blk_local_varmap[name] = value
        else:
            self.builder.store(value, self.getvar(name))

    def lower_expr(self, resty: Any, expr: Any) -> Any:
        signature = self.fndesc.calltypes[expr]
        if expr.op == "call":
            callee, operands = self.typeof(expr.func.name), expr.args
        else:
            callee = operator.getitem if expr.op == "getitem" else expr.fn
            operands = operands_of(expr)
        values = [
            self.context.cast(self.builder, self.loadvar(x.name), self.typeof(x.name), wanted)
            for x, wanted in zip(operands, signature.args, strict=True)
        ]
        return self.context.get_function(callee, signature)(self.builder, values)


_typing_context = _TypingContext()
_target_context = _TargetContext(_typing_context)


def lower(tree: ast.FunctionDef, names: Mapping[str, Any]) -> tuple[str, str]:
    """The LLVM assembly of a kernel, not yet optimised, and the name of its function there."""
    function = numba_ir.read(tree, names)
    flags: Any = Flags()
    flags.error_model = "numpy"
    context: Any = _target_context
    with global_compiler_lock, ConfigStack().enter(flags):
        found = Types(_typing_context, function, ARGUMENTS)
        description = funcdesc.PythonFunctionDescriptor.from_specialized_function(
            function,
            found.names,
            types.none,
            found.calls,
            mangler=context.mangler,
            inline=False,
            noalias=False,
            abi_tags=(),
        )
        library = _Library(context.codegen(), description.unique_name)
        with context.push_code_library(library):
            _Lower(found, context, library, description, function).lower()
    return library.text, description.mangled_name
