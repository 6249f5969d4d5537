# pyright: basic
"""Kernel text in Numba's intermediate representation.

Numba reads the bytecode of Python functions, whatever they contain. Kernels are made of little (see
`whitelist`), and from their syntax tree the same representation is a short walk: a third of the
time, and no matter which Python runs. A loop over a `range` becomes what it means, a counter and a
comparison, so that nothing iterates.
"""

from __future__ import annotations

import ast
import operator
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from numba.core import ir
from numba.core.bytecode import FunctionIdentity

from .scalars import goes_on
from .whitelist import ARGUMENTS

_OPERATORS: dict[type[ast.AST], Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.LShift: operator.lshift, ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor,
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert,
    ast.Not: operator.not_, ast.And: operator.and_, ast.Or: operator.or_,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


def kernel(buffers: Any, dims: Any, status: Any, tid: Any, nth: Any) -> None:
    """What Numba takes every kernel for: it has the arguments."""


_IDENTITY = FunctionIdentity.from_function(kernel)


def read(tree: ast.FunctionDef, names: Mapping[str, Any]) -> ir.FunctionIR:
    """The kernel that `whitelist.check_source` gave; `names` is its vocabulary."""
    return _Reader(names).function(tree)


class _Reader:
    """Writes one block after the other; labels ascend as the text goes on."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names
        self.loc = ir.Loc("<kernel>", 1)
        self.scope = ir.Scope(None, self.loc)
        self.blocks: dict[int, ir.Block] = {}
        self.definitions: dict[str, list[Any]] = defaultdict(list)
        self.count = 0
        self.begin(self.label())

    def function(self, tree: ast.FunctionDef) -> ir.FunctionIR:
        for position, name in enumerate(ARGUMENTS):
            self.assign(name, ir.Arg(name, position, self.loc))
        self.statements(tree.body)
        nothing = self.temporary(ir.Const(None, self.loc))
        self.block.append(ir.Return(nothing, self.loc))
        count, names = len(ARGUMENTS), tuple(ARGUMENTS)
        return ir.FunctionIR(
            self.blocks, False, _IDENTITY, self.loc, self.definitions, count, names
        )

    # --- pieces

    def label(self) -> int:
        self.count += 1
        return self.count

    def begin(self, label: int) -> None:
        """From here on this block is written."""
        self.block = self.blocks[label] = ir.Block(self.scope, self.loc)

    def variable(self, name: str) -> ir.Var:
        return ir.Var(self.scope, name, self.loc)

    def assign(self, name: str, value: Any) -> ir.Var:
        target = self.variable(name)
        self.definitions[name].append(value)
        self.block.append(ir.Assign(value, target, self.loc))
        return target

    def temporary(self, value: Any) -> ir.Var:
        return self.assign(f"${self.label()}", value)

    def jump(self, label: int) -> None:
        self.block.append(ir.Jump(label, self.loc))

    def branch(self, condition: ir.Var, yes: int, no: int) -> None:
        self.block.append(ir.Branch(condition, yes, no, self.loc))

    def call(self, name: str, function: Any, arguments: Sequence[ir.Var]) -> Any:
        callee = self.temporary(ir.Global(name, function, self.loc))
        return ir.Expr.call(callee, arguments, (), self.loc)

    # --- statements

    def statements(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self.loc = ir.Loc("<kernel>", statement.lineno)
            self.statement(statement)

    def statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.assign(name, self.value(value))
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                right = self.operand(value)
                function = _OPERATORS[type(op)]
                self.assign(name, ir.Expr.binop(function, self.variable(name), right, self.loc))
            case ast.Expr(value=value):
                self.operand(value)
            case ast.If():
                self.conditional(statement)
            case ast.For():
                self.loop(statement)
            case _:
                assert isinstance(statement, ast.Pass)

    def conditional(self, statement: ast.If) -> None:
        yes, no, after = self.label(), self.label(), self.label()
        self.branch(self.truth(statement.test), yes, no)
        for label, body in ((yes, statement.body), (no, statement.orelse)):
            self.begin(label)
            self.statements(body)
            self.jump(after)
        self.begin(after)

    def loop(self, statement: ast.For) -> None:
        assert isinstance(statement.iter, ast.Call) and isinstance(statement.target, ast.Name)
        # Copies: the body may assign to the names that the bounds are told by.
        bounds = [self.temporary(self.value(bound)) for bound in statement.iter.args]
        if len(bounds) == 1:
            bounds.insert(0, self.temporary(ir.Const(0, self.loc)))
        if len(bounds) == 2:
            bounds.append(self.temporary(ir.Const(1, self.loc)))
        start, stop, step = bounds
        head, body = self.label(), self.label()
        counter = self.temporary(start)
        self.jump(head)
        self.begin(head)
        inside = self.temporary(self.call("goes_on", goes_on, [counter, stop, step]))
        ending = self.block
        self.begin(body)
        self.assign(statement.target.id, counter)
        self.assign(counter.name, ir.Expr.binop(operator.add, counter, step, self.loc))
        self.statements(statement.body)
        self.jump(head)
        after = self.label()
        ending.append(ir.Branch(inside, body, after, self.loc))
        self.begin(after)

    # --- values

    def truth(self, node: ast.expr) -> ir.Var:
        return self.temporary(self.call("bool", bool, [self.operand(node)]))

    def operand(self, node: ast.expr) -> ir.Var:
        """The variable that holds a value."""
        if isinstance(node, ast.Name) and node.id not in self.names:
            return self.variable(node.id)
        return self.temporary(self.value(node))

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=number):
                return ir.Const(number, self.loc)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=number)):
                return ir.Const(operator.neg(number), self.loc)  # type: ignore[arg-type]
            case ast.Name(id=name):
                if name in self.names:
                    return ir.Global(name, self.names[name], self.loc)
                return self.variable(name)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return ir.Expr.unary(operator.not_, self.truth(inner), self.loc)
            case ast.UnaryOp(op=op, operand=inner):
                return ir.Expr.unary(_OPERATORS[type(op)], self.operand(inner), self.loc)
            case (
                ast.BinOp(left=left, op=op, right=right)
                | ast.Compare(left=left, ops=[op], comparators=[right])
            ):
                operands = self.operand(left), self.operand(right)
                return ir.Expr.binop(_OPERATORS[type(op)], *operands, self.loc)
            case ast.BoolOp(op=op, values=values):
                # Nothing in a kernel has effects or fails, so both sides may be computed.
                first, *others = (self.truth(inner) for inner in values)
                for other in others:
                    both = ir.Expr.binop(_OPERATORS[type(op)], first, other, self.loc)
                    first = self.temporary(both)
                return first
            case ast.Subscript(value=ast.Name(id=name), slice=index):
                return ir.Expr.getitem(self.variable(name), self.operand(index), self.loc)
            case ast.Call(func=ast.Name(id=name), args=given):
                arguments = [self.operand(argument) for argument in given]
                return self.call(name, self.names[name], arguments)
        raise AssertionError(f"the whitelist knows more than this reader: {ast.dump(node)}")
