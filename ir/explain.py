"""Errors that say what was asked of which types, and on which lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from .bodies import is_inside, note_of
from .errors import DTypeError, GradloomError
from .loc import Loc, current_loc, innermost_line, quote

P = ParamSpec("P")
R = TypeVar("R")

# What Python asks a tensor for, and what there is instead.
NO_TRUTH = (
    "there is no truth value before a function is called; for `if` use gl.where(...) or "
    "gl.cond(...), for `and`, `or`, `not` and `a < x < b` use &, | and ~ with brackets (or "
    "gl.logical_and ...), for max() and min() gl.maximum and gl.minimum, for `while` "
    "gl.while_loop(...)"
)
NO_LENGTH = "len() is for values; use .shape[0]"
NO_ITERATION = (
    "a tensor cannot be iterated over; use gl.scan(...) for one entry after the other, or "
    "indexing; for a few at once `k1, k2 = gl.unstack(x)`, as of x = gl.random.split(key)"
)
NO_MEMBERS = "`in` has no answer before a function is called; use gl.any(x == y)"
NO_ASSIGNMENT = (
    "a tensor cannot be assigned to; use x.at[...].set(...), which gives another one, or "
    "gl.where(...)"
)


def no_number() -> str:
    """What to say where Python asks for numbers: in a body there are none to be had at all."""
    instead = (
        "use gl.exp(...) for math.exp and the like, gl.astype(...) for float() and int(), "
        "gl.scan(...) or gl.while_loop(...) for range()"
    )
    if is_inside():
        return f"there are no numbers here: a body is called once, to build the graph; {instead}"
    return f"there are no numbers before a function is called; see also .eval(); {instead}"


def explain(error: GradloomError, what: str, operands: Iterable[Any], loc: Loc) -> GradloomError:
    """The error with `what` in front, and a line for each operand and for the place."""
    lines = [f"{what}: {error}"]
    for operand in operands:
        note = note_of(operand) if isinstance(error, DTypeError) else ""
        lines.append(f"  {operand.type} from {quote(operand.node.loc)}{note and f'; {note}'}")
    return _at("\n".join(lines), type(error), loc)


def _at(message: str, kind: type[GradloomError], loc: Loc) -> GradloomError:
    """The error that ends with its line."""
    place = f"  at {quote(loc)}"
    known = place in message.splitlines()
    explained_error = kind(message if known else f"{message}\n{place}")
    explained_error.explained = True
    return explained_error


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """A function that users call, whose own errors name it, its operands and the user's line.

    What a node inside said already stays as it is.  An error that the user's own function raised
    (the body of a loop) names the line in there, and keeps the way to it.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except GradloomError as error:
            if error.explained:
                raise
            inner = error.__traceback__ and error.__traceback__.tb_next
            line = innermost_line(inner)
            if line:
                raise _at(str(error), type(error), line).with_traceback(inner) from None
            values = (*args, *kwargs.values())
            operands = [v for v in values if hasattr(v, "type") and hasattr(v, "node")]
            raise explain(error, function.__name__, operands, current_loc()) from None

    return call
