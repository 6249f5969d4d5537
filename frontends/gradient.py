"""Derivatives as users ask for them.  Each call adds a request to the graph; nothing is computed
until a function is compiled, and the derivative is itself a tensor that may be asked about.

With J = ∂y/∂x: ``vjp`` gives uᵀJ and ``grad`` is that of a scalar, both in reverse mode; ``jvp``
gives J v in forward mode; ``hvp`` is the one over the other.  Where several tensors are meant they
may stand in tuples, named tuples, lists and dicts, nested as you like, and what is found comes back
in the same structure.  Directions have the structure of what they belong to, where a list may
stand for a tuple of the same length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, overload

from ..ir.errors import ArgumentError
from ..ir.graph import Graph
from ..ir.interpret import before_evaluation
from ..ir.loc import current_loc, quote
from ..ir.ops import as_tensor, constant
from ..ir.ops.build import is_weak
from ..ir.ops.control import flatten
from ..ir.ops.request import gradient, pushforward
from ..ir.tensor import Tensor, TensorLike
from .paths import check_paths

Structure = Any  # a tensor, or a tuple, list or dict of structures
S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


def of_tensors(function: Callable[P, R]) -> Callable[P, R]:
    """A derivative that, asked of a function, says that it is one of tensors."""

    @wraps(function)
    def call(*args: P.args, **named: P.kwargs) -> R:
        for value in (*args, *named.values())[:1]:
            if not isinstance(value, Tensor) and callable(value):
                name = function.__name__
                raise ArgumentError(
                    f"{name}: gradloom differentiates tensors, not functions: say y = f(x), then "
                    f"gl.{name}(y, x, …); got {value!r}, at {quote(current_loc())}"
                )
        return function(*args, **named)

    return call


@overload
def grad(y: Tensor, xs: Tensor, cotangent: TensorLike | None = None) -> Tensor: ...
@overload
def grad(y: Tensor, xs: S, cotangent: TensorLike | None = None) -> S: ...
@of_tensors
def grad(y: Tensor, xs: Structure, cotangent: TensorLike | None = None) -> Any:
    """∂y/∂x for a scalar `y`; with a `cotangent` u typed like y, Σ u · ∂y/∂x.  Reverse mode.

    xs: float tensors of the graph, leaves or not.  Returns their structure, each result typed like
    its tensor.  A tensor that y does not depend on raises GradientError, with the place where the
    path ends.
    """
    tensors, build = tensors_of("grad", xs)
    check_tensor("grad", y)
    if not tensors:
        return build([])
    given = [] if cotangent is None else [_seed(cotangent, y)]
    check_paths([y], tensors)
    return build(gradient([y], tensors, given))


@overload
def vjp(y: Structure, x: Tensor, u: Structure) -> Tensor: ...
@overload
def vjp(y: Structure, x: S, u: Structure) -> S: ...
@of_tensors
def vjp(y: Structure, x: Structure, u: Structure) -> Any:
    """uᵀ ∂y/∂x = Σ u · ∂y/∂x: reverse mode, structured and typed like `x`.

    u: the cotangents, structured and typed like `y`.
    """
    outputs, _ = tensors_of("vjp", y)
    tensors, build = tensors_of("vjp", x)
    seeds = seeds_like("vjp: u is structured like y", u, y)
    check_paths(outputs, tensors)
    return build(gradient(outputs, tensors, seeds) if tensors else [])


@overload
def jvp(y: Tensor, x: Structure, v: Structure) -> Tensor: ...
@overload
def jvp(y: S, x: Structure, v: Structure) -> S: ...
@of_tensors
def jvp(y: Structure, x: Structure, v: Structure) -> Any:
    """∂y/∂x v = Σ ∂y/∂x · v: forward mode, structured and typed like `y`.

    v: the tangents, structured and typed like `x`.  Where y depends on no tensor of x at all,
    GradientError.
    """
    outputs, build = tensors_of("jvp", y)
    tensors, _ = tensors_of("jvp", x)
    seeds = seeds_like("jvp: v is structured like x", v, x)
    check_paths(outputs, tensors, every=False)
    return build(pushforward(outputs, tensors, seeds) if outputs else [])


@overload
def hvp(y: Tensor, x: Tensor, v: Structure) -> Tensor: ...
@overload
def hvp(y: Tensor, x: S, v: Structure) -> S: ...
@of_tensors
def hvp(y: Tensor, x: Structure, v: Structure) -> Any:
    """The Hessian of a scalar `y` times `v`, structured and typed like `x`.

    Forward over reverse, ∂/∂ε ∇y(x + ε v) at ε = 0 (Pearlmutter, Fast exact multiplication by the
    Hessian, 1994): it costs a few gradients, and no Hessian is ever made.
    v: the direction, structured and typed like `x`.
    """
    tensors, build = tensors_of("hvp", x)
    check_tensor("hvp", y)
    seeds = seeds_like("hvp: v is structured like x", v, x)
    if not tensors:
        return build([])
    check_paths([y], tensors)
    return build(pushforward(gradient([y], tensors), tensors, seeds))


# --- what is given ----------------------------------------------------------------------------


def tensors_of(what: str, tree: Structure) -> tuple[list[Tensor], Any]:
    """The tensors of a structure, and what builds such a structure again."""
    if isinstance(tree, (set, frozenset)):
        raise ArgumentError(
            f"{what}: a set has no order, so that nobody could tell which derivative is which; "
            f"use a tuple, list or dict, at {quote(current_loc())}"
        )
    if isinstance(tree, Iterable) and not isinstance(tree, (tuple, list, dict, str, Tensor)):
        tree = list(tree)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return flatten(tree, lambda leaf: check_tensor(what, leaf))


def check_tensor(what: str, value: object) -> Tensor:
    """`value`, which must be a tensor."""
    if isinstance(value, Tensor):
        return value
    raise ArgumentError(
        f"{what}: a derivative is of a tensor by tensors of its graph, got {value!r}, "
        f"at {quote(current_loc())}"
    )


def seeds_like(what: str, given: Structure, tree: Structure) -> list[Tensor]:
    """The leaves of `given`, which is structured like `tree`, as tensors."""
    if isinstance(tree, dict):
        if isinstance(given, dict) and given.keys() == tree.keys():  # pyright: ignore
            pairs: Iterable[Any] = ((given[key], tree[key]) for key in tree)  # pyright: ignore
            return [leaf for pair in pairs for leaf in seeds_like(what, *pair)]
    elif isinstance(tree, Iterable) and not isinstance(tree, Tensor):
        own: list[Any] = list(tree)  # pyright: ignore[reportUnknownArgumentType]
        if isinstance(given, (tuple, list)) and len(given) == len(own):  # pyright: ignore
            pairs = zip(given, own, strict=True)  # pyright: ignore[reportUnknownArgumentType]
            return [leaf for pair in pairs for leaf in seeds_like(what, *pair)]
    elif tree is not None:
        return [_seed(given, tree)]
    elif given is None:
        return []
    raise ArgumentError(f"{what}, {tree!r}; got {given!r}, at {quote(current_loc())}")


def _seed(value: TensorLike, like: Tensor) -> Tensor:
    """A cotangent or tangent of `like`; a Python number takes its dtype."""
    return constant(value, like.dtype) if is_weak(value) else as_tensor(value)


def _taken(graph: Graph) -> Graph:
    """The graph with its derivatives taken: by the compiler, which is imported where there are
    some."""
    if all(node.op.kind != "request" for node in graph.walk()):
        return graph
    from ..compiler.differentiate import differentiate_all

    return differentiate_all(graph)


before_evaluation.append(_taken)
