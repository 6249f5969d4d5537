"""Derivative requests: nodes that ask, and that the differentiation pass expands.

While they stand in the graph, rules still match what they ask about as the user wrote it.

A request may ask for many derivatives at one place: with the attribute ``batch`` = k each
cotangent (tangent) has k more axes in front, and so has each result.  What leads from `wrt` to the
outputs is computed once; only what depends on the cotangent (tangent) has the axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..dims import Shape
from ..errors import ArgumentError, GradientError, ShapeError
from ..op import Op, register
from ..shapes import unify
from ..tensor import Node, Tensor, TensorType


def _expanded_first(*_: Any, **__: Any) -> Any:
    raise ArgumentError("a request has no value of its own; differentiate the graph first")


def _infer_gradient(node: Node) -> tuple[TensorType, ...]:
    outputs, wrt, cotangents = node.group(0), node.group(1), node.group(2)
    lead: Shape = ()
    if cotangents:
        lead = _leading("cotangent", cotangents, outputs, extra_axes(node))
    elif extra_axes(node):
        raise ArgumentError("a batch of gradients needs a batch of cotangents")
    elif len(outputs) != 1 or outputs[0].shape != ():
        raise GradientError(f"the loss must be a scalar, got {outputs[0].type}; sum or average it")
    _floats(outputs, wrt)
    return tuple(TensorType(tensor.dtype, (*lead, *tensor.shape)) for tensor in wrt)


def _infer_pushforward(node: Node) -> tuple[TensorType, ...]:
    outputs, wrt, tangents = node.group(0), node.group(1), node.group(2)
    lead = _leading("tangent", tangents, wrt, extra_axes(node))
    _floats(outputs, wrt)
    return tuple(TensorType(tensor.dtype, (*lead, *tensor.shape)) for tensor in outputs)


def extra_axes(node: Node) -> int:
    """How many axes the cotangents (tangents) of a request have in front."""
    return node.attrs.get("batch", 0)


def _leading(what: str, given: Sequence[Tensor], wanted: Sequence[Tensor], count: int) -> Shape:
    """The sizes of the `count` axes in front of what is `given`, which else is as `wanted`."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"batch is a number of axes, got {count!r}")
    lead: Shape | None = None
    for tensor, like in zip(given, wanted, strict=False):
        if tensor.ndim < count or tensor.type != (like.dtype, (*tensor.shape[:count], *like.shape)):
            break
        own = tensor.shape[:count]
        pairs = zip(own if lead is None else lead, own, strict=True)
        lead = tuple(unify(a, b, "sizes of the batch") for a, b in pairs)
    else:
        if len(given) == len(wanted):
            if count and lead is None:
                raise ShapeError(f"a batch of derivatives needs a {what}")
            return lead or ()
    got = ", ".join(str(tensor.type) for tensor in given)
    axes = f" behind {count} axes" if count else ""
    raise GradientError(f"each {what} must be typed like its tensor{axes}, got {got}")


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
        optional=("batch",),
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
        optional=("batch",),
        no_gradient="it is expanded first",
    )
)


def gradient(
    outputs: Sequence[Tensor],
    wrt: Sequence[Tensor],
    cotangents: Sequence[Tensor] = (),
    batch: int = 0,
) -> tuple[Tensor, ...]:
    """Ask for reverse-mode derivatives, one typed like each of `wrt` behind `batch` axes.

    cotangents: typed like the outputs, behind `batch` axes; none for one scalar output.
    """
    return ask(GRADIENT, outputs, wrt, cotangents, batch)


def pushforward(
    outputs: Sequence[Tensor], wrt: Sequence[Tensor], tangents: Sequence[Tensor], batch: int = 0
) -> tuple[Tensor, ...]:
    """Ask for forward-mode derivatives, one typed like each of the outputs behind `batch` axes.

    tangents: typed like `wrt`, behind `batch` axes.
    """
    return ask(PUSHFORWARD, outputs, wrt, tangents, batch)


def ask(
    op: Op, outputs: Sequence[Tensor], wrt: Sequence[Tensor], given: Sequence[Tensor], batch: int
) -> tuple[Tensor, ...]:
    """The results of a request of either mode."""
    groups = (len(outputs), len(wrt), len(given))
    attrs = {"batch": batch} if batch else {}
    return Node(op, [*outputs, *wrt, *given], attrs, groups).results
