"""Guards: a kernel that also raises a flag where a nan, or a new infinity, is made and needed.

The guarded kernel is the kernel with more instructions behind it, ordinary ones of the Kernel
language and one check a walk; what it stores is computed as before, so no bit changes.  A flag says
little: the call is then walked again by ``ir/numerics.py``, which finds the op.  So a flag must not
miss anything, and may err on the other side where exactness costs more.

Bad is a nan; and an infinity made of finite operands, so that what is infinite on purpose, such as
the mask of an attention, is not.  Needed is what reaches a store by a branch that ``where`` takes:

    need(x) = or over the users u of x of need(u),  and the condition where u chooses x by it.

The tests isnan, isinf and isfinite need nothing: they ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from math import isfinite, isnan

from ..ir.dtypes import DType, bool_, float32
from ..ir.kernel import (
    Compute,
    Constant,
    Contract,
    Index,
    Instruction,
    Kernel,
    Load,
    Reduce,
    Running,
    Store,
)

NUMBER = 1  # of the check that all guards of a program share

# Ops that ask whether a number is one.
TESTS = frozenset({"isnan", "isinf", "isfinite"})
# A nan among the operands (of `where`: in the branch taken) makes the result nan.
KEEP_NAN = frozenset(
    {"add", "subtract", "multiply", "divide", "fma", "negative", "abs", "square", "sqrt", "rsqrt"}
    | {"exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "tanh", "sigmoid", "softplus"}
    | {"sin", "cos", "tan", "erf", "erfc", "maximum", "minimum", "where", "relu"}
)
# Finite operands never make the result infinite.
BOUNDED = frozenset(
    {"where", "checked", "maximum", "minimum", "negative", "abs", "sign", "sqrt", "tanh", "sigmoid"}
    | {"sin", "cos", "atan", "erf", "erfc", "normal_cdf", "floor", "ceil", "round", "trunc"}
    | {"relu", "copysign", "stop_gradient", "pin"}
)
_FOLDS_THAT_KEEP_NAN = frozenset({"add", "multiply", "maximum", "minimum"})
_CHOOSE = frozenset({"maximum", "minimum"})  # folds whose result is one of the terms

Need = str | None  # the name of a bool, or None where a value is always needed


def guard(kernel: Kernel) -> Kernel:
    """The kernel with its guards."""
    return _Guard(kernel).guarded()


class _Guard:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.more: list[Compute] = []
        self.dtypes: dict[str, DType] = {}
        self.open: set[str] = set()  # values that may be anything: no numbers as written
        self.users: dict[str, list[Instruction]] = {}
        for item in kernel.body:
            if not isinstance(item, (Index, Store)):
                self.dtypes[item.result] = item.dtype
                if not isinstance(item, Constant) or not _is_finite(item.value):
                    self.open.add(item.result)
            for name in _operands(item):
                self.users.setdefault(name, []).append(item)
        self.made: dict[tuple[str, ...], str] = {}
        self.needs: dict[str, Need] = {}

    def guarded(self) -> Kernel:
        for item in reversed(self.kernel.body):
            if isinstance(item, Contract) and item.scratch is not None:
                self.needs[item.result] = None  # the product itself is what is left there
            self.pass_on(item)
        good: list[tuple[str, str]] = []  # what must hold, and the value that it is about
        for item in self.kernel.body:
            if not isinstance(item, (Index, Store)) and item.result in self.needs:
                if item.dtype.is_float:
                    for condition in self.conditions(item):
                        good.append((condition, item.result))
        body = [_with_check(item) for item in self.kernel.body]
        draft = replace(self.kernel, body=(*body, *self.more))
        stages, full = draft.stages(), draft.full()

        def walk(pair: tuple[str, str]) -> tuple[int, bool]:
            return stages[pair[0]], full[pair[0]]

        for _, group in groupby(sorted(good, key=walk), walk):
            pairs = list(group)
            together = pairs[0][0]
            for condition, _ in pairs[1:]:
                together = self.both(together, condition)
            value = pairs[-1][1]
            self.add("checked", (together, value), self.dtypes[value], NUMBER)
        return replace(self.kernel, body=(*body, *self.more))

    # --- who needs what

    def pass_on(self, item: Instruction) -> None:
        """The need of an instruction's operands, all of whose other users come later."""
        if isinstance(item, Store):
            for name in _operands(item):
                self.needs[name] = None
            return
        if isinstance(item, Compute) and item.check:
            self.needs.setdefault(item.result, None)
            self.needs[item.operands[0]] = None  # the condition is asked for in any case
        if item.result not in self.needs or (isinstance(item, Compute) and item.op in TESTS):
            return
        need = self.needs[item.result]
        match item:
            case Compute(op="where", operands=(condition, yes, no)):
                self.add_need(condition, need)
                self.add_need(yes, self.both_needs(need, condition))
                self.add_need(no, self.both_needs(need, self.opposite(condition)))
            case Reduce() | Running():  # a row needs all its terms
                for name in _operands(item):
                    self.add_need(name, None)
            case _:
                for name in _operands(item):
                    self.add_need(name, need)

    def add_need(self, name: str, need: Need) -> None:
        if name not in self.needs:
            self.needs[name] = need
            return
        before = self.needs[name]
        if before is None or need is None:
            self.needs[name] = None
        elif before != need:
            self.needs[name] = self.either(before, need)

    def both_needs(self, need: Need, condition: str) -> Need:
        return condition if need is None else self.both(need, condition)

    # --- what must hold of a value

    def conditions(self, item: Instruction) -> list[str]:
        assert not isinstance(item, (Index, Store))
        if self.is_covered(item.result) and not self.may_be_infinite(item):
            return []
        if isinstance(item, Constant) and not (isinstance(item.value, float) and isnan(item.value)):
            return []
        name = self.wide(item.result)
        if not self.may_be_infinite(item):
            found = [self.opposite(self.add_once("isnan", name))]
        elif operands := self.finite_operands(item):
            # a nan of finite operands is caught as well; one of an infinity here, if nobody else
            found = [self.either(self.finite(name), self.opposite(operands))]
            if not self.is_covered(item.result):
                found.append(self.opposite(self.add_once("isnan", name)))
        else:
            found = [self.finite(name)]
        need = self.needs[item.result]
        if need is None:
            return found
        return [self.either(condition, self.opposite(need)) for condition in found]

    def is_covered(self, name: str) -> bool:
        """Whether a nan here is a nan in each of its users, where that is needed."""
        return all(self.keeps_nan(user) for user in self.users.get(name, ()))

    def keeps_nan(self, user: Instruction) -> bool:
        match user:
            case Compute(op=op, dtype=dtype):
                return dtype.is_float and (op in KEEP_NAN or op == "cast")
            case Reduce(combine=combine):
                return combine in _FOLDS_THAT_KEEP_NAN
            case _:
                return False

    def may_be_infinite(self, item: Instruction) -> bool:
        """Whether finite operands, or memory, may make an infinity that is to be told."""
        match item:
            case Compute(op="cast", operands=(operand,), dtype=dtype):
                source = self.dtypes.get(operand)
                if source is None or not source.is_float:
                    return dtype.is_half
                return dtype.bits <= source.bits
            case Compute(op=op):
                return op not in BOUNDED
            case Reduce(combine=combine) | Running(combine=combine):
                return combine not in _CHOOSE
            case Contract():
                return True
            case _:
                return False

    def finite_operands(self, item: Instruction) -> str:
        """Whether the operands are finite; "" where that is not known, or always so."""
        if not isinstance(item, (Compute, Running)):
            return ""
        floats = [n for n in item.operands if n in self.open and self.dtypes[n].is_float]
        together = ""
        for name in dict.fromkeys(floats):
            this = self.finite(self.wide(name))
            together = self.both(together, this) if together else this
        return together

    # --- instructions

    def add(self, op: str, operands: tuple[str, ...], dtype: DType, check: int = 0) -> str:
        name = f"g{len(self.more)}"
        attrs = (("dtype", dtype),) if op == "cast" else ()
        self.more.append(Compute(name, op, operands, dtype, attrs, check))
        self.dtypes[name] = dtype
        return name

    def add_once(self, op: str, *operands: str) -> str:
        """A bool, computed once."""
        key = (op, *operands)
        if key not in self.made:
            self.made[key] = self.add(op, operands, bool_)
        return self.made[key]

    def wide(self, name: str) -> str:
        """The value; a half as float32."""
        if not self.dtypes[name].is_half:
            return name
        key = ("cast", name)
        if key not in self.made:
            self.made[key] = self.add("cast", (name,), float32)
        return self.made[key]

    def finite(self, name: str) -> str:
        return self.add_once("isfinite", name)

    def opposite(self, name: str) -> str:
        return self.add_once("bitwise_invert", name)

    def both(self, x: str, y: str) -> str:
        return self.add_once("bitwise_and", x, y)

    def either(self, x: str, y: str) -> str:
        return self.add_once("bitwise_or", x, y)


def _is_finite(value: bool | int | float | str) -> bool:
    return isinstance(value, str) or isfinite(value)  # a parameter of the kernel is a size


def _operands(item: Instruction) -> Sequence[str]:
    match item:
        case Compute(operands=operands) | Running(operands=operands):
            return operands
        case Reduce(operand=operand):
            return (operand,)
        case Load(access=access):
            return [term.value for term in access.terms]
        case Store(access=access, operand=operand):
            return [operand, *(term.value for term in access.terms)]
        case Index() | Constant() | Contract():
            return ()


def _with_check(item: Instruction) -> Instruction:
    """A store that adds to what stands there is checked for what it makes."""
    return (
        replace(item, check=NUMBER) if isinstance(item, Store) and item.combine == "add" else item
    )
