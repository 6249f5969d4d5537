"""NumPy's functions called on Tensors: which of ours that means, and with which arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import SymbolicError

# Of the same name, but over the first two axes where ours takes the last two.
OTHER_AXES = {"np.diagonal", "np.trace"}


def call_numpy(
    func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], ops: Any
) -> Any:
    """`func(*args, **kwargs)` by our function of that name in `ops` or its `linalg`.

    Raises SymbolicError where there is none, or none that takes such arguments: an argument is
    handed on by its name, those in front that are named otherwise by their place.
    """
    module = func.__module__.replace("numpy", "np", 1)
    name = f"{module}.{func.__name__}"
    places = {"np": (ops, ops.linalg), "np.linalg": (ops.linalg,)}.get(module, ())
    found = [getattr(place, func.__name__, None) for place in places]
    function = next(filter(callable, found), None)
    if function is None or name in OTHER_AXES:
        raise SymbolicError(f"{name} has no symbolic form")
    try:
        theirs = inspect.signature(func)
    except ValueError:  # written in C
        return function(*args, **kwargs)
    ours = inspect.signature(function)
    leading: list[Any] = []
    named: dict[str, Any] = {}
    for key, value in theirs.bind(*args, **kwargs).arguments.items():
        kind = theirs.parameters[key].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            leading += value
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named |= value
        elif key in ours.parameters:
            named[key] = value
        elif named or key in kwargs:
            raise SymbolicError(f"{name} with {key}= has no symbolic form")
        else:
            leading.append(value)
    try:
        bound = ours.bind(*leading, **named)
    except TypeError as error:
        raise SymbolicError(f"{name} has no symbolic form with these arguments: {error}") from None
    return function(*bound.args, **bound.kwargs)
