"""Structures of tensors that a rule takes and gives: tuples, lists and dicts, each part named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from ..ir.errors import ArgumentError, DTypeError, ShapeError
from ..ir.loc import quote
from ..ir.ops import as_tensor, broadcast_to, constant, zeros
from ..ir.ops.build import is_weak
from ..ir.ops.control import flatten, placeholder_like
from ..ir.ops.structure import described, parts_of, paths_of
from ..ir.shapes import unify
from ..ir.tensor import Tensor, TensorType


class Structures:
    """The arguments of a function, or its result: trees of tensors, each with a name.

    tensors: all of them in order.  paths: where each stands, as a message says it
    (``argument x['w'][0]``).  floats: those that have a derivative.
    """

    def __init__(self, names: Sequence[str], trees: Sequence[Any]) -> None:
        self.names = names
        self.trees = tuple(trees)
        self.tensors, self.build = flatten(self.trees)  # build gives a tuple, an item a tree
        self.floats = [tensor for tensor in self.tensors if tensor.dtype.is_float]
        pairs = zip(names, self.trees, strict=True)
        self.paths = [path for name, tree in pairs for path in paths_of(name, tree)]

    def placeholders(self) -> list[Tensor]:
        """Inputs of a region in place of the tensors."""
        pairs = zip(self.paths, self.tensors, strict=True)
        return [placeholder_like(tensor.type, _as_word(path)) for path, tensor in pairs]

    def directions(self) -> list[Tensor | None]:
        """Inputs of a region for their tangents or cotangents; None for what has none."""
        pairs = zip(self.paths, self.tensors, strict=True)
        return [
            placeholder_like(tensor.type, f"d_{_as_word(path)}") if tensor.dtype.is_float else None
            for path, tensor in pairs
        ]

    def structured(self, values: Sequence[Any]) -> Any:
        """Values in place of the tensors: one tree as it is, several as a tuple."""
        trees = self.build(values)
        return trees[0] if len(trees) == 1 else trees

    def read(self, answer: Any, title: str) -> list[Tensor]:
        """What the rule `title` gives for each float, checked; zeros where it gives None.

        ArgumentError for another structure, ShapeError or DTypeError for another type.
        """
        count = len(self.trees)
        answers = [answer] if count == 1 else [None] * count if answer is None else answer
        if not isinstance(answers, (tuple, list)) or len(cast(list[Any], answers)) != count:
            raise ArgumentError(
                f"{title} gives {described(answer)} where a tuple of {count} is needed, for "
                f"{', '.join(self.names)}"
            )
        values: list[Any] = []
        for name, given, tree in zip(self.names, answers, self.trees, strict=True):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            values += _values_like(given, tree, name, title)
        found: list[Tensor] = []
        for value, tensor, path in zip(values, self.tensors, self.paths, strict=True):
            if tensor.dtype.is_float:
                found.append(_fitted(value, tensor.type, path, title))
            elif value is not None:
                told = f"{path}, which is {tensor.type} and has no derivative; give None"
                raise DTypeError(f"{title} gives {described(value)} for {told}")
        return found


def _as_word(path: str) -> str:
    """A path as a name in a graph: ``argument x['w'][0]`` as ``x_w_0``."""
    return re.sub(r"\W+", "_", path.split(" ", 1)[1]).strip("_")


def _values_like(given: Any, tree: Any, path: str, title: str) -> list[Any]:
    """What `given` has in place of each tensor of `tree`; a None may stand for a whole part."""
    if given is None:
        return [None] * len(paths_of(path, tree))
    parts, own = parts_of(tree), parts_of(given)
    if tree is not None and parts is None and own is None:
        return [given]
    if parts is None or own is None or parts.keys() != own.keys():
        told = f"{path}, which is {described(tree)}"
        raise ArgumentError(f"{title} gives {described(given)} for {told}")
    values: list[Any] = []
    for key, part in parts.items():
        values += _values_like(own[key], part, path + key, title)
    return values


def _fitted(value: Any, wanted: TensorType, path: str, title: str) -> Tensor:
    """`value` as a tensor of the type `wanted`: zeros for None, a Python number everywhere."""
    if value is None:
        return zeros(wanted.shape, wanted.dtype)
    if is_weak(value):
        return broadcast_to(constant(value, wanted.dtype), wanted.shape)
    tensor = as_tensor(value)
    if tensor.dtype != wanted.dtype or not _may_be_equal(tensor.type, wanted):
        kind = ShapeError if tensor.dtype == wanted.dtype else DTypeError
        told = f"{path}, which is {wanted}; made at {quote(tensor.node.loc)}"
        raise kind(f"{title} gives {tensor.type} for {told}")
    return broadcast_to(tensor, wanted.shape)  # a symbol for another: checked at the call


def _may_be_equal(left: TensorType, right: TensorType) -> bool:
    """Whether the shapes agree, up to symbols that a call may find equal."""
    if left.ndim != right.ndim:
        return False
    try:
        for pair in zip(left.shape, right.shape, strict=True):
            unify(*pair)
    except ShapeError:
        return False
    return True
