# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (arrays of any dtype)
"""What is said of a nan or infinity: how many there are, where, and what they were made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .half import widened
from .loc import quote
from .tensor import Tensor, TensorType

NumpyArray = np.ndarray[Any, Any]


def told(known: Mapping[Tensor, NumpyArray], result: Tensor, bad: NumpyArray, start: str) -> str:
    """The message: what and where, and what each operand was.

    known: the values of the result and of what it was made of.  bad: where the result is.
    """
    node, values = result.node, widened(known[result])
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    first = f", first at {list(place)}" if bad.ndim else ""
    type_ = _type(result, values)
    count = f"{values[place]!s} in its one number"
    if bad.ndim:
        count = f"{_counted(values[bad], values[place], bad.size)} numbers"
    lines = [f"{start} {count}{first}: {type_}, at {quote(node.loc)}"]
    for operand in node.operands:
        value = widened(known[operand])
        made = operand.node
        while made.op.kind == "view":  # the same numbers
            made = made.operands[0].node
        name = made.attrs.get("name", made.op.name)
        text = f"  of {name}: {_type(operand, value)}, {_described(value)}"
        if node.op.kind == "elementwise" and bad.ndim and value.size > 1:
            text += f", there {np.broadcast_to(value, bad.shape)[place]!s}"
        lines.append(text + (f", from {quote(made.loc)}" if made.loc else ""))
    return "\n".join(lines)


def _counted(bad: NumpyArray, first: Any, size: int) -> str:
    """How many there are of each kind, `first` in front: ``-inf in 1 and nan in 2 of 3``."""
    counts = {"nan": np.isnan(bad).sum(), "inf": (bad > 0).sum(), "-inf": (bad < 0).sum()}
    kinds = sorted((kind for kind in counts if counts[kind]), key=lambda kind: kind != str(first))
    return " and ".join(f"{kind} in {counts[kind]}" for kind in kinds) + f" of {size}"


def _type(tensor: Tensor, value: NumpyArray) -> TensorType:
    """The type that it had in this call."""
    return TensorType(tensor.dtype, value.shape)


def _described(value: NumpyArray) -> str:
    """The range of what is finite, and how much is not."""
    finite = value[np.isfinite(value)]
    if value.size == 1 or not value.size:
        return str(value.reshape(-1)[0]) if value.size else "empty"
    parts = [f"from {finite.min()!s} to {finite.max()!s}"] if finite.size else []
    for word, count in (("nan", np.isnan(value).sum()), ("infinite", np.isinf(value).sum())):
        if count:
            parts.append(f"{count} {word}")
    return ", ".join(parts)
