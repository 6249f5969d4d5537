"""Derivative requests: nodes that ask, and that the differentiation pass expands.

While they stand in the graph, rules still match what they ask about as the user wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, GradientError
from ..op import Op, register
from ..tensor import Node, Tensor, TensorType


def _expanded_first(*_: Any, **__: Any) -> Any:
    raise ArgumentError("a request has no value of its own; differentiate the graph first")


def _infer_gradient(node: Node) -> tuple[TensorType, ...]:
    outputs, wrt, cotangents = node.group(0), node.group(1), node.group(2)
    if cotangents:
        _same_types("cotangent", cotangents, outputs)
    elif len(outputs) != 1 or outputs[0].shape != ():
        raise GradientError(f"the loss must be a scalar, got {outputs[0].type}; sum or average it")
    _floats(outputs, wrt)
    return tuple(tensor.type for tensor in wrt)


def _infer_pushforward(node: Node) -> tuple[TensorType, ...]:
    outputs, wrt, tangents = node.group(0), node.group(1), node.group(2)
    _same_types("tangent", tangents, wrt)
    _floats(outputs, wrt)
    return tuple(tensor.type for tensor in outputs)


def _same_types(what: str, given: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    if [t.type for t in given] != [t.type for t in wanted]:
        got = ", ".join(str(t.type) for t in given)
        raise GradientError(f"each {what} must be typed like its tensor, got {got}")


def _floats(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> None:
    for tensor in (*outputs, *wrt):
        if not tensor.dtype.is_float:
            raise GradientError(f"there is no derivative of or by {tensor.type}: it is no float")


GRADIENT = register(
    Op(
        name="gradient",
        kind="request",
        infer=_infer_gradient,
        reference=_expanded_first,
        doc="∂(Σ cotangent · output)/∂wrt, one result a wrt; without cotangents of a scalar.",
        groups=("", "wrt", "with"),
        no_gradient="it is expanded first",
    )
)

PUSHFORWARD = register(
    Op(
        name="pushforward",
        kind="request",
        infer=_infer_pushforward,
        reference=_expanded_first,
        doc="Σ ∂output/∂wrt · tangent, one result an output: forward mode.",
        groups=("", "wrt", "with"),
        no_gradient="it is expanded first",
    )
)


def gradient(
    outputs: Sequence[Tensor], wrt: Sequence[Tensor], cotangents: Sequence[Tensor] = ()
) -> tuple[Tensor, ...]:
    """Ask for reverse-mode derivatives."""
    operands = [*outputs, *wrt, *cotangents]
    return Node(GRADIENT, operands, {}, (len(outputs), len(wrt), len(cotangents))).results


def pushforward(
    outputs: Sequence[Tensor], wrt: Sequence[Tensor], tangents: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Ask for forward-mode derivatives."""
    operands = [*outputs, *wrt, *tangents]
    return Node(PUSHFORWARD, operands, {}, (len(outputs), len(wrt), len(tangents))).results
