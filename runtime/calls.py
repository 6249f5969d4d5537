# pyright: basic
"""Calls in kernels, as Numba's type inference and lowering see them.

Numba finds out what a call means by trying every overload that any registry holds, with and without
literal types, and collects why each did not fit: for kernels, that was most of the time a compile
took. Here a function or an operator is one `Callee`, whose few rules are asked in order; the rule
that fits also says what is emitted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.core.errors import TypingError
from numba.core.extending import models, register_model
from numba.core.typing.templates import signature

# From the types of the arguments: (result, [parameters]), or something false.
Rule = Callable[..., Any]
# From builder, types and LLVM values of the arguments: the LLVM value of the result, or None.
Emit = Callable[..., Any]


class Callee(types.Callable, types.Opaque):
    """The type of one function or operator of kernels."""

    def __init__(self, name: str) -> None:
        super().__init__(name=f"{name} of kernels")
        self.called = name
        self.meanings: list[tuple[Rule, Emit]] = []

    @property
    def key(self) -> Any:
        return id(self)  # Numba takes types of one key for one: `load` of 4 lanes and `load` of 8

    def add(self, rule: Rule, emit: Emit) -> None:
        """One more meaning, after those there are."""
        self.meanings.append((rule, emit))

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        args = [types.unliteral(argument) for argument in args]
        for rule, _ in self.meanings:
            answer = rule(*args)
            if answer:
                result, parameters = answer
                return signature(result, *parameters)
        shown = ", ".join(map(str, args))
        raise TypingError(f"a kernel cannot call {self.called}({shown})")

    def get_call_signatures(self) -> Any:
        return [], True

    def get_impl_key(self, sig: Any) -> Any:
        return self

    def implementation(self, context: Any, call: Any) -> Any:
        """What lowering calls with the builder and the arguments, already cast to `call.args`."""
        emit = next(emit for rule, emit in self.meanings if rule(*call.args))

        def lower(builder: Any, values: Any, loc: Any = None) -> Any:
            value = emit(builder, call.args, *values)
            return context.get_dummy_value() if call.return_type == types.void else value

        return lower


register_model(Callee)(models.OpaqueModel)


class Named:
    """A name of the vocabulary: what a kernel's globals hold, and Numba knows the `callee` of."""

    def __init__(self, name: str, rule: Rule, emit: Emit) -> None:
        self.callee = Callee(name)
        self.callee.add(rule, emit)

    def __repr__(self) -> str:
        return f"<{self.callee.name}>"
