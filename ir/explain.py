"""Errors that say what was asked of which types, and on which lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from .errors import GradloomError
from .loc import Loc, current_loc, quote

P = ParamSpec("P")
R = TypeVar("R")


def explain(error: GradloomError, what: str, operands: Iterable[Any], loc: Loc) -> GradloomError:
    """The error with `what` in front, and a line for each operand and for the place."""
    lines = [f"{what}: {error}"]
    for operand in operands:
        lines.append(f"  {operand.type} from {quote(operand.node.loc)}")
    lines.append(f"  at {quote(loc)}")
    explained_error = type(error)("\n".join(lines))
    explained_error.explained = True
    return explained_error


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """A function that users call, whose own errors name it, its operands and the user's line.

    What a node inside said already stays as it is.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except GradloomError as error:
            if error.explained:
                raise
            values = (*args, *kwargs.values())
            operands = [v for v in values if hasattr(v, "type") and hasattr(v, "node")]
            raise explain(error, function.__name__, operands, current_loc()) from None

    return call
