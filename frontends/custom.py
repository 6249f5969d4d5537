"""A user's own derivative: a function with its vjp, its jvp or both, as one ``custom`` node."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar, overload

from ..ir.errors import ArgumentError, GradloomError
from ..ir.explain import explain
from ..ir.graph import LEAVES, Graph, topological
from ..ir.loc import current_loc, quote
from ..ir.ops.control import close, placeholder_like
from ..ir.ops.custom import make_custom
from ..ir.tensor import Tensor
from .structures import Structures

P = ParamSpec("P")
R = TypeVar("R")
Rule = Callable[..., Any]


@overload
def custom_derivative(
    function: Callable[P, R], *, vjp: Rule | None = None, jvp: Rule | None = None
) -> Callable[P, R]: ...
@overload
def custom_derivative(
    function: None = None, *, vjp: Rule | None = None, jvp: Rule | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def custom_derivative(
    function: Callable[..., Any] | None = None,
    *,
    vjp: Rule | None = None,
    jvp: Rule | None = None,
) -> Callable[..., Any]:
    """`function` with a derivative that you write; ``@gl.custom_derivative(vjp=rule)`` as well.

    The function takes tensors, or tuples, lists and dicts of them, by position, and returns such.
    With J its Jacobian, the rules are

        vjp(cotangent, result, *args) -> Jᵀ · cotangent, structured like the arguments
        jvp(tangent, result, *args)   -> J · tangent, structured like the result

    The cotangent is structured like the result, the tangent like the arguments: a tuple of
    several, and of one argument that itself.  Integers have neither, so None stands there.  A
    rule may give None for zero.  It must be linear in what it takes first; then one rule is
    enough, the other mode being its transpose.  Where one rule alone is not seen to be linear, op
    by op (say it clips), a derivative in the other mode raises GradientError.  A rule is graph like
    any other: second derivatives are derivatives of your rule.  Nothing compares a rule with the
    function.

    The function may read constants, integers and stop_gradient-ed tensors from outside.  A float
    that depends on inputs or parameters would silently get no derivative, so that raises
    ArgumentError; rules may read it.  A rule that calls its own function has no end and raises
    ArgumentError: use `result`.  What a rule gives in another type than is needed raises
    ShapeError or DTypeError with the argument's name, another structure ArgumentError.

    Once all derivatives are taken, the function fuses with its neighbours as if written there.
    """
    if function is None:

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            return custom_derivative(function, vjp=vjp, jvp=jvp)

        return decorate
    rules = {kind: rule for kind, rule in (("vjp", vjp), ("jvp", jvp)) if rule is not None}
    if not rules or not all(map(callable, (function, *rules.values()))):
        what = "needs a function, and a vjp or a jvp that are functions"
        raise ArgumentError(f"custom_derivative: {what}, at {quote(current_loc())}")
    name = getattr(function, "__name__", type(function).__name__)
    titles = {kind: f"the {kind} of {name}" for kind in rules}

    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        if named:
            why = f"takes tensors by position, got {', '.join(named)}=; bind that in a closure"
            raise ArgumentError(f"{name}: {why}, at {quote(current_loc())}")
        return apply_custom(name, function, rules, titles, args)

    return call


def apply_custom(
    name: str,
    function: Callable[..., Any],
    rules: Mapping[str, Rule],
    titles: Mapping[str, str],
    args: Sequence[Any],
) -> Any:
    """What `function` gives for `args`, as one node.

    rules: "vjp", "jvp" or both.  Errors call the function `name` and its rules `titles`.
    """
    operands: list[Tensor] = []
    try:
        arguments = Structures(_argument_names(function, len(args)), args)
        operands = arguments.tensors
        return _apply(name, function, rules, titles, arguments)
    except GradloomError as error:
        if error.explained:
            raise
        raise explain(error, name, operands, current_loc()) from None


def _apply(
    name: str,
    function: Callable[..., Any],
    rules: Mapping[str, Rule],
    titles: Mapping[str, str],
    arguments: Structures,
) -> Any:
    inner = arguments.placeholders()
    results = Structures(["the result"], [function(*arguments.build(inner))])
    if not arguments.tensors or not results.tensors:
        raise ArgumentError("must take and give at least one tensor")
    if not arguments.floats or not results.floats:  # there is no derivative
        return function(*arguments.build(arguments.tensors))
    region = re.sub(r"\W", "", name) or "function"
    regions = [_Region(region, inner, results.tensors)]
    _refuse_silent_zeros(regions[0].captured)
    known = {*inner}  # inputs of regions, which others must not read
    for kind, rule in rules.items():
        own, produced = arguments.placeholders(), results.placeholders()
        taken, given = (results, arguments) if kind == "vjp" else (arguments, results)
        directions = taken.directions()
        first, second = taken.structured(directions), results.structured(produced)
        values = [first, second, *arguments.build(own)]
        _check_signature(rule, titles[kind], kind, len(values) - 2)
        with _no_rule_inside(function, name):
            answer = rule(*values)
        seeds = [tensor for tensor in directions if tensor is not None]
        inputs = [*seeds, *produced, *own]
        made = _Region(f"{region}_{kind}", inputs, given.read(answer, titles[kind]))
        _refuse_leaks(made.captured, known, titles[kind])
        known.update(inputs)
        regions.append(made)
    shared = list(dict.fromkeys(tensor for made in regions for tensor in made.captured))
    graphs = [made.reading(shared) for made in regions]
    closed = dict(zip(rules, graphs[1:], strict=True))
    return results.structured(make_custom(graphs[0], closed, arguments.tensors, shared))


def _argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """What the function calls its arguments; numbers where it does not say."""
    names: list[str] = []
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some built-in functions tell none
        parameters = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            names.append(parameter.name)
    names += [str(i) for i in range(len(names), count)]
    return [f"argument {name}" for name in names[:count]]


def _check_signature(rule: Rule, title: str, kind: str, count: int) -> None:
    """Say how rules are called where this one cannot be called so."""
    first = "cotangent" if kind == "vjp" else "tangent"
    try:
        inspect.signature(rule).bind(*range(count + 2))
    except TypeError as error:
        wanted = f"{kind}({first}, result, and {count} argument{'s' * (count != 1)})"
        raise ArgumentError(f"{title} is called as {wanted}: {error}") from None
    except ValueError:  # it tells no signature
        return


# --- what regions read from outside ---------------------------------------------------------------


class _Region:
    """A graph over `inputs`, and the outer tensors that it reads besides."""

    def __init__(self, name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        self.graph, self.captured = close(outputs, inputs, name)
        self.own = self.graph.inputs[: len(inputs)]

    def reading(self, shared: Sequence[Tensor]) -> Graph:
        """The graph with an input for each of `shared`, which are all that it reads and more."""
        read = dict(zip(self.captured, self.graph.inputs[len(self.own) :], strict=True))
        more = [
            read[tensor] if tensor in read.keys() else placeholder_like(tensor.type, "unread")
            for tensor in shared
        ]
        return Graph(self.graph.name, [*self.own, *more], self.graph.outputs)


def _refuse_silent_zeros(captured: Iterable[Tensor]) -> None:
    """ArgumentError for a float from outside that a derivative might be asked by."""
    for tensor in captured:
        moving: set[Tensor] = set()  # floats that change with an input or a parameter
        leaf: Tensor | None = None
        for node in topological([tensor]):
            if node.op.name in LEAVES:
                moving.update(t for t in node.results if t.dtype.is_float)
            elif node.op.kind == "request" or not node.op.no_gradient:
                if not moving.isdisjoint(node.operands):
                    moving.update(t for t in node.results if t.dtype.is_float)
        if tensor in moving:
            leaf = next(t for t in moving if t.node.op.name in LEAVES)
            raise ArgumentError(
                f"the function reads {tensor!r} from outside, made at {quote(tensor.node.loc)}, "
                f"which depends on {leaf!r} and would get no derivative; "
                "make it an argument or stop_gradient it"
            )


def _refuse_leaks(captured: Sequence[Tensor], inside: set[Tensor], title: str) -> None:
    """ArgumentError where a rule reads what was made while another region was traced."""
    for node in topological(captured):
        if not inside.isdisjoint(node.results):
            raise ArgumentError(
                f"{title} reads {node.results[0]!r}, which exists inside the function alone; "
                "compute it again from the arguments, or give it as another result"
            )


# The functions of which a rule is being traced.
_traced: ContextVar[tuple[Callable[..., Any], ...]] = ContextVar("traced", default=())


@contextmanager
def _no_rule_inside(function: Callable[..., Any], name: str) -> Generator[None]:
    """Refuse a rule that calls its own function: tracing it would have no end."""
    outer = _traced.get()
    if any(other is function for other in outer):
        raise ArgumentError(f"a rule of {name} calls {name} again, without an end; use its result")
    token = _traced.set((*outer, function))
    try:
        yield
    finally:
        _traced.reset(token)
