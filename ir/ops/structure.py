"""Structures of tensors, tuples, lists and dicts nested as you like: their parts by name.

`control.flatten` takes them apart; this says where a part stands, for messages, and compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ..errors import ArgumentError
from ..tensor import Tensor


def parts_of(tree: Any) -> dict[str, Any] | None:
    """The parts of a tuple, list or dict by their keys, as one writes them; None for a leaf."""
    if isinstance(tree, dict):
        return {f"[{key!r}]": part for key, part in cast(dict[Any, Any], tree).items()}
    if isinstance(tree, (tuple, list)):
        return {f"[{i}]": part for i, part in enumerate(cast(Sequence[Any], tree))}
    return None


def paths_of(path: str, tree: Any) -> list[str]:
    """Where each tensor of a structure stands, in the order of `flatten`."""
    parts = parts_of(tree)
    if parts is None:
        return [] if tree is None else [path]
    return [inner for key, part in parts.items() for inner in paths_of(path + key, part)]


def described(value: Any) -> str:
    """A value in a message: a tensor's type, or what kind of structure it is."""
    if isinstance(value, Tensor):
        return str(value.type)
    parts = parts_of(value)
    if parts is None:
        return repr(cast(object, value))
    keys = f" with {', '.join(key[1:-1] for key in parts)}" if isinstance(value, dict) else ""
    return f"a {type(cast(object, value)).__name__} of {len(parts)}{keys}"


def leaves_like(given: Any, like: Any, path: str, title: str) -> list[Any]:
    """What `given` has in place of each tensor of `like`; entries of dicts are found by key.

    ArgumentError, which says what `title` gives for which part, for another structure.
    """
    parts, own = parts_of(like), parts_of(given)
    if parts is None and own is None and (like is None) == (given is None):
        return [] if like is None else [given]
    if parts is None or own is None or parts.keys() != own.keys():
        raise ArgumentError(
            f"{title} gives {described(given)} for {path}, which is {described(like)}"
        )
    leaves: list[Any] = []
    for key, part in parts.items():
        leaves += leaves_like(own[key], part, path + key, title)
    return leaves
