# pyright: basic
"""The types of a kernel's names, found in one walk.

Numba's inference starts from nothing, asks every expression again until no type changes, and weighs
what types could become. In a kernel a name has one type from its first line on, and text stands
behind what it reads: so each expression is asked once.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from numba.core import ir
from numba.core.errors import TypingError


class Types:
    """Of a kernel in Numba's representation, whose arguments have the types `arguments`.

    names: the type of each name; of an argument as ``arg.name``, too.  calls: the signature of each
    expression.  values: the names that are assigned once, and read in that block alone: these need
    no memory.
    """

    def __init__(self, context: Any, function: ir.FunctionIR, arguments: Sequence[Any]) -> None:
        self.names: dict[str, Any] = {}
        self.calls: dict[Any, Any] = {}
        self._context = context
        self._arguments = arguments
        home: dict[str, int] = {}  # the block that assigns a name
        shared: set[str] = set()
        for label, block in function.blocks.items():
            for item in block.body:
                if isinstance(item, ir.Assign):
                    read = self._assign(item)
                    name = item.target.name
                    if name in home:
                        shared.add(name)
                    home[name] = label
                else:
                    read = [variable.name for variable in item.list_vars()]
                shared.update(name for name in read if home.get(name) != label)
        self.values = home.keys() - shared

    def _assign(self, item: ir.Assign) -> list[str]:
        """Note the type of what is assigned; the names that this reads."""
        name, read = item.target.name, list[str]()
        value: Any = item.value
        if isinstance(value, ir.Expr):
            read, made = self._expression(value)
        elif isinstance(value, ir.Var):
            read, made = [value.name], self._of(value)
        elif isinstance(value, ir.Arg):
            made = self.names[f"arg.{value.name}"] = self._arguments[value.index]
        else:
            made = self._context.resolve_value_type(value.value)
        known = self.names.setdefault(name, made)
        if known != made:
            raise TypingError(f"{name} of a kernel is {known} and then {made}")
        return read

    def _expression(self, value: ir.Expr) -> tuple[list[str], Any]:
        if value.op == "call":
            callee, operands = self._of(value.func), value.args
        else:
            operation = operator.getitem if value.op == "getitem" else value.fn
            callee = self._context.resolve_value_type(operation)
            operands = operands_of(value)
        signature = callee.get_call_type(self._context, [self._of(x) for x in operands], {})
        self.calls[value] = signature
        names = [x.name for x in operands]
        return [*names, value.func.name] if value.op == "call" else names, signature.return_type

    def _of(self, variable: ir.Var) -> Any:
        known = self.names.get(variable.name)
        if known is None:
            raise TypingError(f"{variable.name} of a kernel has no value yet")
        return known


def operands_of(value: ir.Expr) -> list[ir.Var]:
    """What an operator works on."""
    if value.op == "binop":
        return [value.lhs, value.rhs]
    return [value.value, value.index] if value.op == "getitem" else [value.value]
