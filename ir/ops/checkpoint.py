# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Recomputation: functions whose inner values the way back does not keep but computes again.

    %1 = checkpoint %x given %w (graph @f ...) : f32[3]

The region is a function of its arguments and of what it reads from outside.  Its derivative in
reverse mode is that of the same function of ``after(x, cotangents)``: of the arguments, seen only
once the cotangents are there.  Nothing that is computed from that is what was computed from x.
The compiler goes through the function itself (``compiler/opened.py``); the rules here are for who
takes it as one node, and for a function of no argument, of which nothing is computed again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from ..bodies import Body
from ..errors import ArgumentError, ShapeError
from ..graph import Graph, inline
from ..op import MaybeTensors, Op, register
from ..tensor import Node, Tensor, TensorType
from .build import primitive
from .control import close, flatten, placeholder_like, zeros_where_none
from .conversion import pin
from .request import gradient, pushforward

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["checkpoint"]


def _batch_after(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    return [after(*operands)]


@primitive(
    kind="order",
    infer=lambda x, *others: x,
    reference=lambda x, *others: x,
    linear=(0,),
    transpose=lambda node, cotangent, _: cotangent,
    batch=_batch_after,
    samples=(
        (((2, 3), (4,)), {}),
        (((0,), ()), {}),
        (((1,), (1,), (2,)), {}),
    ),
)
def after(x: Tensor, *others: Tensor) -> Tensor:
    """x itself, without a copy, once all of `others` are computed.

    To every pass it is another tensor than x: what is computed from it is not merged with what is
    computed from x, and runs when the others are there.
    """
    ...


def _infer_checkpoint(node: Node) -> tuple[TensorType, ...]:
    (region,) = node.regions
    taken, given = ([t.type for t in tensors] for tensors in (region.inputs, node.operands))
    if region.free or region.parameters:
        raise ArgumentError("the function must be closed over its inputs")
    if taken != given:
        raise ShapeError(f"the function takes {taken} but gets {given}")
    return tuple(output.type for output in region.outputs)


def _vjp_checkpoint(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    """The gradient of the function of what comes after the cotangents."""
    seeds = [value for value in cotangents if value is not None]
    count, operands = node.groups[0], node.operands
    inner = [after(x, *seeds) for x in operands[:count]] + [pin(x) for x in operands[count:]]
    outputs = inline(node.regions[0], inner)
    wanted = [i for i, x in enumerate(operands) if x.dtype.is_float]
    pairs = [(y, value) for y, value in zip(outputs, cotangents, strict=True) if value is not None]
    result: list[Tensor | None] = [None] * len(operands)
    if pairs and wanted:
        ys, given = zip(*pairs, strict=True)
        found = gradient(ys, [inner[i] for i in wanted], given)
        for i, value in zip(wanted, found, strict=True):
            result[i] = value
    return result


def _jvp_checkpoint(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    """The function's own: forward mode keeps nothing for later."""
    moving = [i for i, value in enumerate(tangents) if value is not None]
    inner = [pin(x) if i in moving else x for i, x in enumerate(node.operands)]
    outputs = inline(node.regions[0], inner)
    floats = [i for i, y in enumerate(outputs) if y.dtype.is_float]
    given = zeros_where_none(tangents, node.operands)
    found = pushforward(
        [outputs[i] for i in floats], [inner[i] for i in moving], [given[i] for i in moving]
    )
    result: list[Tensor | None] = [None] * len(outputs)
    for i, value in zip(floats, found, strict=True):
        result[i] = value
    return result


def _batch_checkpoint(
    node: Node, operands: Sequence[Tensor], batched: Sequence[bool]
) -> Sequence[Tensor]:
    from ..batching import batch_graph

    size = next(t.shape[0] for t, flag in zip(operands, batched, strict=True) if flag)
    region = batch_graph(node.regions[0], batched, size)
    return make_checkpoint(region, operands[: node.groups[0]], operands[node.groups[0] :])


CHECKPOINT = register(
    Op(
        name="checkpoint",
        kind="region",
        infer=_infer_checkpoint,
        reference=lambda *arrays, regions, groups: regions[0](*arrays),
        doc="A function that is computed again for its gradient: see gradloom.checkpoint.",
        groups=("", "given"),
        vjp=_vjp_checkpoint,
        jvp=_jvp_checkpoint,
        batch=_batch_checkpoint,
    )
)


def make_checkpoint(
    region: Graph, arguments: Sequence[Tensor], given: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The results of `region`, a function of the arguments and of what it reads from outside."""
    groups = (len(arguments), len(given))
    return Node(CHECKPOINT, [*arguments, *given], {}, groups, (region,)).results


def checkpoint(function: Callable[P, R]) -> Callable[P, R]:
    """`function` with the same values, whose inner values are not kept for its gradient.

    Reverse mode computes them again from the arguments, once the gradient has come so far (Chen et
    al. 2016): less memory for more operations.  ``@gl.checkpoint`` works as well.  Arguments and
    results are tensors, or tuples, lists and dicts of them; anything else among the arguments is
    passed on as it is.  The function may read tensors from outside, and they get their gradients;
    what depends on no argument is computed once and kept.  Forward mode is not changed.

    Values and gradients have the bits of those of the plain function, with one exception: what is
    rewritten (`Function.report`, and plain simplifications) is found inside the function or outside
    of it.  Where a formula goes on across its border, as in ``checkpoint(log)(softmax(x))``, the
    derivative is taken as it is written.

    ArgumentError for what is no function, and for a call without a tensor among its arguments.
    """
    if not callable(function):
        raise ArgumentError(f"checkpoint needs a function, got {function!r}")

    @wraps(function)
    def call(*args: P.args, **named: P.kwargs) -> R:
        return _apply(function, args, named)

    return call


def _apply(function: Callable[..., Any], args: Any, named: Any) -> Any:
    leaves, build = flatten((args, named), lambda leaf: leaf)
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]  # pyright: ignore[reportUnnecessaryIsInstance]
    tensors = [leaves[i] for i in places]
    if not tensors:
        raise ArgumentError(
            "checkpoint: no argument is a tensor, so there is nothing to compute again from; "
            "make what the function reads an argument"
        )
    inner: list[Any] = list(leaves)
    inputs = [placeholder_like(t.type, f"x{i}") for i, t in enumerate(tensors)]
    for i, leaf in zip(places, inputs, strict=True):
        inner[i] = leaf
    own, named_own = build(inner)
    with Body("the function of the checkpoint", inputs):
        result = function(*own, **named_own)
    outputs, structured = flatten(result)
    name = re.sub(r"\W", "", getattr(function, "__name__", "")) or "function"
    region, captured = close(outputs, inputs, name)
    return structured(make_checkpoint(region, tensors, captured))
