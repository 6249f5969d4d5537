# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""scan: a loop over the leading axis of sequences, with carries.

    %h, %ys, %hs = scan %h0 over %xs given %w {length=T, reverse=false} (graph @body ...)

The body takes carries, one entry of each sequence, and what it reads from outside; it gives the
carries for the next step and what is stacked.  The node's results: the last carries, the stacked
outputs, and the carries that entered each step (their history), which the way back reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import DimLike
from ..dtypes import bool_, int64
from ..errors import ArgumentError, ShapeError
from ..graph import Graph, inline
from ..loc import quote
from ..op import MaybeTensors, Op, register
from ..shapes import unify
from ..tensor import Node, Tensor, TensorType
from .control import placeholder_like, zeros_where_none
from .create import zeros
from .request import gradient, pushforward

__all__: list[str] = []


class Scan:
    """The parts of a scan node by name.

    carries, sequences, constants, limit: its operands; a limit, an int64 number, is how many of the
    `length` steps are taken at most: those before it in the order of the sequences.
    body: carries, entries and constants -> carries for the next step, and what is stacked.
    proceed: carries and constants -> whether to take one more step; asked before each.
    finals, stacked, history: its results; with `proceed` also how many steps were taken.  Rows of
    steps that were not taken are 0.
    """

    def __init__(self, node: Node) -> None:
        self.node, self.body = node, node.regions[0]
        self.proceed = node.regions[1] if len(node.regions) > 1 else None
        self.length: DimLike = node.attrs["length"]
        self.reverse: bool = node.attrs["reverse"]
        self.carries, self.sequences, self.constants = (node.group(i) for i in range(3))
        self.limit = node.group(3)[0] if node.groups[3] else None
        n, count = len(self.carries), len(self.body.outputs)
        self.finals, self.stacked = node.results[:n], node.results[n:count]
        self.history = node.results[count : count + n]
        self.steps = node.results[count + n] if self.proceed is not None else None

    @property
    def flow(self) -> tuple[Tensor, ...]:
        """The operands that are the body's inputs, sequences as a whole."""
        return (*self.carries, *self.sequences, *self.constants)

    @property
    def asked(self) -> list[int]:
        """Which of `flow` are the inputs of `proceed`: carries and constants."""
        n, m = len(self.carries), len(self.sequences)
        return [*range(n), *range(n + m, len(self.flow))]


def make_scan(
    body: Graph,
    carries: Sequence[Tensor],
    sequences: Sequence[Tensor],
    constants: Sequence[Tensor],
    length: DimLike,
    reverse: bool,
    proceed: Graph | None = None,
    limit: Tensor | None = None,
) -> Scan:
    """A scan node, by its parts."""
    limits = [] if limit is None else [limit]
    groups = (len(carries), len(sequences), len(constants), len(limits))
    operands = [*carries, *sequences, *constants, *limits]
    regions = (body,) if proceed is None else (body, proceed)
    return Scan(Node(SCAN, operands, {"length": length, "reverse": reverse}, groups, regions))


def _infer_scan(node: Node) -> tuple[TensorType, ...]:
    if len(node.groups) != 4 or node.groups[3] > 1 or len(node.regions) not in (1, 2):
        raise ArgumentError("needs a body, perhaps a region that stops it, and at most one limit")
    body, length, n = node.regions[0], node.attrs["length"], node.groups[0]
    flow = node.operands[: len(node.operands) - node.groups[3]]
    inputs = [tensor.type for tensor in body.inputs]
    if body.free or body.parameters or len(inputs) != len(flow):
        raise ArgumentError("the body must be closed over its inputs")
    wanted = [tensor.type for tensor in flow]
    for i in range(n, n + node.groups[1]):
        if wanted[i].ndim == 0:
            raise ShapeError(f"a sequence needs a leading axis, got {wanted[i]}")
        unify(wanted[i].shape[0], length, "lengths of the sequences")
        wanted[i] = TensorType(wanted[i].dtype, wanted[i].shape[1:])
    if inputs != wanted:
        raise ShapeError(f"the body takes {inputs} but gets {wanted}")
    check_carries(body, n)
    outputs = [tensor.type for tensor in body.outputs]
    rows = [*outputs[n:], *outputs[:n]]
    results = [
        *outputs[:n],
        *(TensorType(type_.dtype, (length, *type_.shape)) for type_ in rows),
    ]
    if node.groups[3] and node.group(3)[0].type != _COUNT:
        raise ShapeError(f"a limit is {_COUNT}, got {node.group(3)[0].type}")
    if len(node.regions) == 2:
        check_proceed(node.regions[1], [*wanted[:n], *wanted[n + node.groups[1] :]])
        if node.attrs["reverse"]:
            raise ArgumentError("a scan that stops goes forwards")
        results.append(_COUNT)
    return tuple(results)


_COUNT = TensorType(int64, ())


def check_carries(body: Graph, count: int) -> None:
    """ShapeError unless the first `count` outputs are typed like the first inputs."""
    if len(body.outputs) < count:
        raise ArgumentError(f"the body takes {count} carries and gives {len(body.outputs)}")
    for i, (before, after) in enumerate(zip(body.inputs[:count], body.outputs, strict=False)):
        if before.type != after.type:
            raise ShapeError(
                f"carry {i} enters the body as {before.type} but leaves it as {after.type}, made "
                f"at {quote(after.node.loc)}"
            )


def check_proceed(proceed: Graph, wanted: Sequence[TensorType]) -> None:
    """ShapeError or ArgumentError unless the region takes `wanted` and gives one bool."""
    if proceed.free or proceed.parameters or [t.type for t in proceed.inputs] != [*wanted]:
        raise ArgumentError("what stops the loop must be closed over its carries and constants")
    found = [tensor.type for tensor in proceed.outputs]
    if found != [TensorType(bool_, ())]:
        raise ShapeError(f"what stops the loop must be one bool, got {found}")


def _run_scan(
    *arrays: Any, length: int, reverse: bool, regions: Any, groups: Sequence[int]
) -> list[Any]:
    n, m, k, limited = groups
    carries, sequences, constants = arrays[:n], arrays[n : n + m], arrays[n + m : n + m + k]
    most = max(0, min(length, int(arrays[-1]))) if limited else length
    rows: dict[int, list[Any]] = {}
    for step in range(most)[::-1] if reverse else range(most):
        if len(regions) == 2 and not regions[1](*carries, *constants)[0]:
            break
        results = regions[0](*carries, *(xs[step] for xs in sequences), *constants)
        rows[step] = [*results[n:], *carries]
        carries = results[:n]
    taken = next(iter(rows.values()), None)
    like = [*regions[0].zeros()[n:], *arrays[:n]] if taken is None else taken
    columns = [np.zeros((length, *np.shape(row)), np.asarray(row).dtype) for row in like]
    for step, row in rows.items():
        for column, value in zip(columns, row, strict=True):
            column[step] = value
    return [*carries, *columns, *([np.int64(len(rows))] if len(regions) == 2 else [])]


def _taken(scan: Scan) -> Tensor | None:
    """How many steps were taken, where that need not be all: the limit of the way back."""
    return scan.limit if scan.proceed is None else scan.steps


def _vjp_scan(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    """A scan the other way: the carry's cotangent and the constants' sums are its carries."""
    scan = Scan(node)
    body, flow, n, m = scan.body, scan.flow, len(scan.carries), len(scan.sequences)
    is_float = [tensor.dtype.is_float for tensor in flow]
    count = len(body.outputs)
    given = {i: value for i, value in enumerate(cotangents) if value is not None}

    floats = [i for i in range(n) if is_float[i]]
    emitted = [i for i in range(n, count) if i in given]
    remembered = [i for i in floats if count + i in given]
    sequences = [i for i in range(n, n + m) if is_float[i]]
    constants = [i for i in range(n + m, len(flow)) if is_float[i]]

    def like(tensors: Sequence[Tensor], name: str) -> list[Tensor]:
        return [placeholder_like(t.type, f"{name}{i}") for i, t in enumerate(tensors)]

    back = like([body.inputs[i] for i in floats], "back")
    total = like([body.inputs[i] for i in constants], "total")
    state = like(body.inputs[:n], "state")
    element = like(body.inputs[n : n + m], "element")
    from_output = like([body.outputs[i] for i in emitted], "from_output")
    from_history = like([body.inputs[i] for i in remembered], "from_history")
    fixed = like(body.inputs[n + m :], "fixed")

    arguments = [*state, *element, *fixed]
    outputs = inline(body, arguments)
    wrt = [arguments[i] for i in (*floats, *sequences, *constants)]
    seeds = [*back, *from_output]
    ys = [outputs[i] for i in (*floats, *emitted)]
    if ys and wrt:
        found = list(gradient(ys, wrt, seeds))
    else:
        found = [zeros(t.shape, t.dtype) for t in wrt]
    k = len(floats)
    carried = dict(zip(floats, found[:k], strict=True))
    for i, more in zip(remembered, from_history, strict=True):
        carried[i] = carried[i] + more
    for_elements = found[k : k + len(sequences)]
    sums = [a + b for a, b in zip(total, found[k + len(sequences) :], strict=True)]

    inner = Graph(
        f"{body.name}_reverse",
        [*back, *total, *state, *element, *from_output, *from_history, *fixed],
        [*carried.values(), *sums, *for_elements],
    )
    made = make_scan(
        inner,
        zeros_where_none(
            [*(given.get(i) for i in floats), *(None for _ in total)], [*back, *total]
        ),
        [
            *scan.history,
            *scan.sequences,
            *(given[i] for i in emitted),
            *(given[count + i] for i in remembered),
        ],
        scan.constants,
        scan.length,
        not scan.reverse,
        limit=_taken(scan),
    )
    result: list[Tensor | None] = [None] * len(node.operands)
    ways = (*floats, *constants, *sequences)
    for i, value in zip(ways, (*made.finals, *made.stacked), strict=True):
        result[i] = value
    return result


def _jvp_scan(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    """One scan over values and tangents together."""
    scan = Scan(node)
    body, flow, n, m = scan.body, scan.flow, len(scan.carries), len(scan.sequences)
    moves = [i < n or tangents[i] is not None for i in range(len(flow))]  # carries may, later
    moving = [i for i, tensor in enumerate(flow) if tensor.dtype.is_float and moves[i]]
    given = zeros_where_none(tangents[: len(flow)], flow)
    arguments = [placeholder_like(t.type, f"value{i}") for i, t in enumerate(body.inputs)]
    pushed = {i: placeholder_like(body.inputs[i].type, f"tangent{i}") for i in moving}
    outputs = inline(body, arguments)
    floats = [i for i, output in enumerate(outputs) if output.dtype.is_float]
    found = pushforward(
        [outputs[i] for i in floats], [arguments[i] for i in moving], [pushed[i] for i in moving]
    )
    out = dict(zip(floats, found, strict=True))

    def parts(low: int, high: int) -> list[int]:
        return [i for i in moving if low <= i < high]

    groups = [(0, n), (n, n + m), (n + m, len(flow))]
    inputs: list[list[Tensor]] = []
    actual: list[list[Tensor]] = []
    for low, high in groups:
        inputs.append([*arguments[low:high], *(pushed[i] for i in parts(low, high))])
        actual.append([*flow[low:high], *(given[i] for i in parts(low, high))])
    count = len(outputs)
    carried = [i for i in floats if i < n]
    emitted = [i for i in floats if i >= n]
    inner = Graph(
        f"{body.name}_forward",
        [*inputs[0], *inputs[1], *inputs[2]],
        [
            *outputs[:n],
            *(out[i] for i in carried),
            *outputs[n:],
            *(out[i] for i in emitted),
        ],
    )
    proceed = None
    if scan.proceed is not None:
        asked = inline(scan.proceed, [*arguments[:n], *arguments[n + m :]])
        proceed = Graph(scan.proceed.name, [*inputs[0], *inputs[2]], asked)
    carries, entries, constants = actual
    made = make_scan(
        inner, carries, entries, constants, scan.length, scan.reverse, proceed, scan.limit
    )
    result: list[Tensor | None] = [None] * len(node.results)
    for place, i in enumerate(carried):
        result[i] = made.finals[n + place]
        result[count + i] = made.history[n + place]
    for place, i in enumerate(emitted):
        result[i] = made.stacked[count - n + place]
    return result


def _batch_scan(
    node: Node, operands: Sequence[Tensor], batched: Sequence[bool]
) -> Sequence[Tensor]:
    from .loop_batching import batch_scan

    return batch_scan(Scan(node), operands, batched)


SCAN = register(
    Op(
        name="scan",
        kind="region",
        infer=_infer_scan,
        reference=_run_scan,
        doc="A loop over the leading axis of sequences, with carries: see gradloom.scan.",
        groups=("", "over", "given", "upto"),
        attributes=("length", "reverse"),
        vjp=_vjp_scan,
        jvp=_jvp_scan,
        batch=_batch_scan,
    )
)
