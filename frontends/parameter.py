"""Placeholders and parameters: the leaves of what users build."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..ir.dims import DimLike, as_dim
from ..ir.dtypes import DTypeLike, as_dtype
from ..ir.errors import ArgumentError
from ..ir.explain import explained
from ..ir.ops.build import INPUT, PARAMETER, apply, as_array
from ..ir.parameter import Parameter
from ..ir.tensor import Node, Tensor, TensorType

_counts = {"x": 0, "w": 0}
_NAME = re.compile(r"[\w.-]+")


def check_name(name: str) -> str:
    """The name, if it can stand in the text form."""
    if not _NAME.fullmatch(name):
        raise ArgumentError(f"a name is made of letters, digits and _ . -, got {name!r}")
    return name


def _name(name: str | None, letter: str) -> str:
    """The name given, else the next free one."""
    if name is not None:
        return check_name(name)
    _counts[letter] += 1
    return f"{letter}{_counts[letter]}"


@explained
def placeholder(
    shape: Sequence[DimLike | str] | DimLike | str = (),
    dtype: DTypeLike = "float32",
    name: str | None = None,
) -> Tensor:
    """An input of a function: a tensor whose value a call gives.

    shape: sizes; a string names a dimension, which is bound by the call and may differ from one
    call to the next.
    """
    sizes = (shape,) if isinstance(shape, str) or not isinstance(shape, Sequence) else shape
    dims = tuple(as_dim(size) for size in sizes)
    attrs = {"name": _name(name, "x"), "dtype": as_dtype(dtype), "shape": dims}
    return apply(INPUT, (), **attrs)


@explained
def parameter(value: Any, name: str | None = None, dtype: DTypeLike | None = None) -> Parameter:
    """A tensor with state: ``.value`` reads and sets it, a function's `updates` replace it.

    value: the first value; arrays keep their dtype, Python numbers become float32 or int64
    unless `dtype` says otherwise.
    """
    array = as_array(value, dtype)
    kind = as_dtype(array.dtype)
    attrs = {"name": _name(name, "w"), "dtype": kind, "shape": array.shape}
    node = Node(PARAMETER, (), attrs)
    return Parameter(node, TensorType(kind, array.shape), array)
