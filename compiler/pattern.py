"""Formulas as patterns over graphs: parsed once, matched from a root, rebuilt with what was found.

``exp(x) / sum(exp(x), a)`` reads as Python: operators and names are ops of the table, operands
come first and attributes behind them.  A name in an operand's place is a tensor, in an
attribute's place an attribute; a name that occurs twice must find the same thing twice (equal
nodes are one node, because ``cse`` runs first).  A number finds a constant that is filled with
it.  ``view(p)`` finds p behind any number of ops that only select elements, and on the right side
stands for the same selection from something else.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any

from ..ir.array import Array
from ..ir.op import TABLE, Op
from ..ir.ops.build import call_elementwise
from ..ir.ops.composite import log_softmax, softmax
from ..ir.tensor import Node, Tensor

_LONGEST_VIEW = 16  # selecting ops that a pattern looks through
_LARGEST_UNIFORM = 4096  # elements of a constant that is asked whether one number fills it
SELECTING = ("view", "gather")

# Ops of one axis that go over several by these functions.
_OVER_SEVERAL = {"softmax": softmax, "log_softmax": log_softmax}

_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.Pow: "pow",
}


@dataclass(frozen=True, slots=True)
class Variable:
    name: str


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Selection:
    """``view(inner)``"""

    inner: Pattern


@dataclass(frozen=True, slots=True)
class Apply:
    """An op on operands; attributes are pairs of its attribute's name and the variable's."""

    op: Op
    operands: tuple[Pattern, ...]
    attributes: tuple[tuple[str, str], ...] = ()


Pattern = Variable | Number | Selection | Apply


def parse_pattern(source: str) -> Pattern:
    """The pattern that one side of a formula spells; ValueError names what it cannot."""
    return _parse(ast.parse(source.strip(), mode="eval").body)


def _parse(node: ast.expr) -> Pattern:
    match node:
        case ast.Name(id=name):
            return Variable(name)
        case ast.Constant(value=int() | float() as value):
            return Number(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return Number(-value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return Apply(TABLE["negative"], (_parse(operand),))
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return Apply(TABLE[_OPERATORS[type(operator)]], (_parse(left), _parse(right)))
        case ast.Call(func=ast.Name(id="view"), args=[inner]):
            return Selection(_parse(inner))
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in TABLE:
            op = TABLE[name]
            count = len(op.operands)
            names = [
                argument.id for argument in arguments[count:] if isinstance(argument, ast.Name)
            ]
            if len(arguments) != count + len(op.attributes) or len(names) != len(op.attributes):
                raise ValueError(f"{name} takes {op.operands} and the attributes {op.attributes}")
            operands = tuple(_parse(argument) for argument in arguments[:count])
            return Apply(op, operands, tuple(zip(op.attributes, names, strict=True)))
        case _:
            raise ValueError(f"{ast.unparse(node)} is no pattern")


def orders(pattern: Pattern) -> Iterator[Pattern]:
    """The pattern with the operands of commutative ops in every order."""
    match pattern:
        case Selection(inner=inner):
            yield from (Selection(order) for order in orders(inner))
        case Apply(op=op, operands=operands, attributes=attributes):
            for chosen in product(*[list(orders(operand)) for operand in operands]):
                yield Apply(op, chosen, attributes)
                if op.commutative and chosen[0] != chosen[1]:
                    yield Apply(op, chosen[::-1], attributes)
        case _:
            yield pattern


def candidates(pattern: Pattern) -> frozenset[str] | None:
    """The ops of which `pattern` can find a result, by name; None where of any."""
    match pattern:
        case Variable():
            return None
        case Number():
            return frozenset({"constant", *_selecting_ops()})
        case Selection(inner=inner):
            names = candidates(inner)
            return None if names is None else names.union(_selecting_ops())
        case Apply(op=op):
            return frozenset({op.name})


@cache
def _selecting_ops() -> tuple[str, ...]:
    return tuple(op.name for op in TABLE.values() if op.kind in SELECTING)


def ops_of(pattern: Pattern) -> Iterator[str]:
    """The names of a pattern's ops, from the root inwards and from left to right."""
    match pattern:
        case Selection(inner=inner):
            yield from ops_of(inner)
        case Apply(op=op, operands=operands):
            yield op.name
            for operand in operands:
                yield from ops_of(operand)
        case _:
            pass


@dataclass(slots=True)
class Match:
    """What a pattern found: the root, tensors and attributes by name, and all nodes it read."""

    root: Tensor
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    selected: Tensor | None = None  # what `view` looks at, and the ops between, outermost first
    selection: tuple[Node, ...] = ()
    nodes: list[Node] = field(default_factory=list[Node])


def find(pattern: Pattern, root: Tensor, opaque: Iterable[Tensor] = ()) -> Match | None:
    """The match of `pattern` at `root`, or None; it does not look into `opaque` tensors."""
    match = Match(root)
    return match if _find(pattern, root, match, opaque) else None


def _find(pattern: Pattern, tensor: Tensor, match: Match, opaque: Iterable[Tensor]) -> bool:
    if isinstance(pattern, Variable):
        return match.tensors.setdefault(pattern.name, tensor) is tensor
    if isinstance(pattern, Number):
        value = uniform(tensor)
        return value is not None and not isinstance(value, bool) and value == pattern.value
    if tensor is not match.root and tensor in opaque:
        return False
    if isinstance(pattern, Selection):
        return _find_behind_views(pattern.inner, tensor, match, opaque)
    node = tensor.node
    if node.op is not pattern.op or len(node.operands) != len(pattern.operands):
        return False
    for attribute, name in pattern.attributes:
        value = _as_set(attribute, node.attrs[attribute])
        if match.attributes.setdefault(name, value) != value:
            return False
    match.nodes.append(node)
    for inner, operand in zip(pattern.operands, node.operands, strict=True):
        if not _find(inner, operand, match, opaque):
            return False
    return True


def _find_behind_views(
    inner: Pattern, tensor: Tensor, match: Match, opaque: Iterable[Tensor]
) -> bool:
    tensors, attributes, nodes = dict(match.tensors), dict(match.attributes), len(match.nodes)
    passed: list[Node] = []
    while len(passed) < _LONGEST_VIEW:
        if _find(inner, tensor, match, opaque):
            match.selected, match.selection = tensor, tuple(passed)
            return True
        match.tensors, match.attributes = dict(tensors), dict(attributes)
        del match.nodes[nodes:]
        if tensor.node.op.kind not in SELECTING or tensor in opaque:
            break
        passed.append(tensor.node)
        tensor = tensor.node.operands[0]
    return False


def build(pattern: Pattern, match: Match) -> Tensor | float:
    """The right side of a formula over what the left side found."""
    match pattern:
        case Variable(name=name):
            return match.tensors[name]
        case Number(value=value):
            return value
        case Selection(inner=inner):
            tensor = build(inner, match)
            assert isinstance(tensor, Tensor) and match.selected is not None
            if tensor.type != match.selected.type:
                raise ValueError(f"{tensor.type} does not stand for {match.selected.type}")
            for node in reversed(match.selection):
                tensor = node.remake([tensor, *node.operands[1:]]).results[0]
            return tensor
        case Apply(op=op):
            operands = [build(operand, match) for operand in pattern.operands]
            if op.name in _OVER_SEVERAL:
                ((_, name),) = pattern.attributes
                return _OVER_SEVERAL[op.name](*operands, axis=match.attributes[name])
            attrs = {
                attribute: _from_set(attribute, match.attributes[name])
                for attribute, name in pattern.attributes
            }
            if op.kind == "elementwise":
                return call_elementwise(op, operands, **attrs)
            tensors = [operand for operand in operands if isinstance(operand, Tensor)]
            return Node(op, tensors, attrs).results[0]


def _as_set(attribute: str, value: Any) -> Any:
    """One axis and a set of axes meet in one form: a tuple."""
    return (value,) if attribute == "axis" else value


def _from_set(attribute: str, value: Any) -> Any:
    if attribute != "axis":
        return value
    (axis,) = value  # ValueError: the op does not go over several axes
    return axis


def uniform(tensor: Tensor) -> float | int | bool | None:
    """The one number that fills `tensor`, if it is a constant, seen through selecting ops."""
    node = tensor.node
    for _ in range(_LONGEST_VIEW):
        if node.op.kind not in SELECTING:
            break
        node = node.operands[0].node
    value = node.attrs.get("value")
    if not isinstance(value, Array) or value.values.size > _LARGEST_UNIFORM:
        return None
    return value.uniform()
