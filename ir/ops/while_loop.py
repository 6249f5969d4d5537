# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""The op of a loop of which nothing says how many steps it takes.

    %x, %steps = while_loop %x0 given %w (graph @proceed ...) (graph @body ...)

Both regions take the carries and what they read from outside.  `proceed` says whether to take one
more step, `body` takes it.  The node's results: the last carries, and how many steps were taken.

The derivative forwards is a loop over values and tangents together.  The one backwards needs what
each step began with, and there is no telling how much that is; a loop with a bound is a scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import int64
from ..errors import ArgumentError, GradientError, ShapeError
from ..graph import Graph, inline
from ..loc import quote
from ..op import MaybeTensors, Op, register
from ..tensor import Node, Tensor, TensorType
from .control import placeholder_like, zeros_where_none
from .request import pushforward
from .scan import Scan, check_carries, check_proceed

__all__: list[str] = []


class While:
    """The parts of a while_loop node by name.

    carries, constants: its operands.  proceed, body: its regions, of carries and constants.
    finals, steps: its results.  flow, asked: the operands of the body, and which of them
    `proceed` takes; as of a scan, of which it has no more: no length, limit, or sequences.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.carries, self.constants = node.group(0), node.group(1)
        self.proceed, self.body = node.regions
        self.finals, self.steps = node.results[:-1], node.results[-1]
        self.sequences = self.stacked = self.history = ()
        self.length, self.limit, self.reverse = None, None, False
        self.flow = node.operands
        self.asked = list(range(len(node.operands)))


def loop_of(node: Node) -> Scan | While:
    """The parts of a loop of either op."""
    return Scan(node) if node.op.name == "scan" else While(node)


def make_while(
    proceed: Graph, body: Graph, carries: Sequence[Tensor], constants: Sequence[Tensor]
) -> While:
    """A while_loop node, by its parts."""
    groups = (len(carries), len(constants))
    return While(Node(WHILE, [*carries, *constants], {}, groups, (proceed, body)))


def _infer(node: Node) -> tuple[TensorType, ...]:
    if len(node.regions) != 2:
        raise ArgumentError("needs a region that says whether to go on, and a body")
    body, wanted = node.regions[1], [tensor.type for tensor in node.operands]
    check_proceed(node.regions[0], wanted)
    if body.free or body.parameters or len(body.inputs) != len(wanted):
        raise ArgumentError("the body must be closed over its inputs")
    inputs = [tensor.type for tensor in body.inputs]
    if inputs != wanted:
        raise ShapeError(f"the body takes {inputs} but gets {wanted}")
    if len(body.outputs) != node.groups[0]:
        raise ArgumentError(f"the body takes {node.groups[0]} carries, gives {len(body.outputs)}")
    check_carries(body, node.groups[0])
    return (*inputs[: node.groups[0]], TensorType(int64, ()))


def _run(*arrays: Any, regions: Any, groups: Sequence[int]) -> list[Any]:
    proceed, body = regions
    carries, constants = list(arrays[: groups[0]]), arrays[groups[0] :]
    steps = 0
    while proceed(*carries, *constants)[0]:
        carries, steps = body(*carries, *constants), steps + 1
    return [*carries, np.int64(steps)]


def _vjp(node: Node, _: MaybeTensors) -> MaybeTensors:
    raise GradientError(
        "a while_loop without a bound keeps nothing that its derivative backwards could be made "
        "of; give it bound=, the largest number of steps that it may take, or ask forwards "
        f"(gl.jvp); it stands at {quote(node.loc)}"
    )


def _jvp(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    """One loop over values and tangents together, as long as that over the values."""
    loop = While(node)
    body, n = loop.body, len(loop.carries)
    moving = [i for i, tensor in enumerate(node.operands) if tensor.dtype.is_float]
    given = zeros_where_none(tangents, node.operands)
    arguments = [placeholder_like(t.type, f"value{i}") for i, t in enumerate(body.inputs)]
    pushed = [placeholder_like(body.inputs[i].type, f"tangent{i}") for i in moving]
    outputs = inline(body, arguments)
    carried = [i for i in moving if i < n]
    found = pushforward([outputs[i] for i in carried], [arguments[i] for i in moving], pushed)
    k = len(carried)
    inputs = [*arguments[:n], *pushed[:k], *arguments[n:], *pushed[k:]]
    made = make_while(
        Graph(loop.proceed.name, inputs, inline(loop.proceed, arguments)),
        Graph(f"{body.name}_forward", inputs, [*outputs, *found]),
        [*loop.carries, *(given[i] for i in carried)],
        [*loop.constants, *(given[i] for i in moving[k:])],
    )
    result: list[Tensor | None] = [None] * len(node.results)
    for i, tangent in zip(carried, made.finals[n:], strict=True):
        result[i] = tangent
    return result


def _batch(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> Sequence[Tensor]:
    from .loop_batching import batch_while

    return batch_while(While(node), operands, batched)


WHILE = register(
    Op(
        name="while_loop",
        kind="region",
        infer=_infer,
        reference=_run,
        doc="A loop for as long as a condition on its carries holds: see gradloom.while_loop.",
        groups=("", "given"),
        vjp=_vjp,
        jvp=_jvp,
        batch=_batch,
    )
)
