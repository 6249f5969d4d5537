"""What passes over loops have in common: a loop that is given more, or gives out more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..ir.graph import Graph, topological
from ..ir.loc import located
from ..ir.ops.control import placeholder_like
from ..ir.ops.scan import Scan, make_scan
from ..ir.tensor import Node, Tensor


def supplied(
    scan: Scan,
    sequences: Mapping[Tensor, Tensor],
    constants: Mapping[Tensor, Tensor],
    stacked: Sequence[Tensor] = (),
) -> tuple[dict[Tensor, Tensor], list[Tensor], set[Tensor]]:
    """A scan of the same steps whose body reads some of its tensors instead of computing them.

    sequences, constants: tensors of the body, and what holds their values in all steps, or in each.
    stacked: tensors of the body that the scan is to give out as well.
    Returns the old results to the new ones, those for `stacked`, and which of the tensors are read.
    """
    body, n, m = scan.body, len(scan.carries), len(scan.sequences)
    entering = {t: placeholder_like(t.type, "given") for t in (*sequences, *constants)}
    mapping: dict[Tensor, Tensor] = dict(entering)
    for node in body.nodes:  # of several results only some may be given
        made = node.remake([mapping.get(operand, operand) for operand in node.operands])
        if made is not node:
            for old, new in zip(node.results, made.results, strict=True):
                mapping.setdefault(old, new)
    outputs = [mapping.get(output, output) for output in (*body.outputs, *stacked)]
    leaves = {node.results[0] for node in topological(outputs) if node.op.name == "input"}
    over = [tensor for tensor in sequences if entering[tensor] in leaves]
    given = [tensor for tensor in constants if entering[tensor] in leaves]
    if not over and not given and not stacked:
        return {}, [], set()
    inputs = [
        *body.inputs[: n + m],
        *(entering[tensor] for tensor in over),
        *body.inputs[n + m :],
        *(entering[tensor] for tensor in given),
    ]
    proceed = scan.proceed
    if proceed is not None and given:
        unread = [placeholder_like(tensor.type, "given") for tensor in given]
        proceed = Graph(proceed.name, [*proceed.inputs, *unread], proceed.outputs)
    with located(scan.node.loc):
        made = make_scan(
            Graph(body.name, inputs, outputs, parameters=()),
            scan.carries,
            [*scan.sequences, *(sequences[tensor] for tensor in over)],
            [*scan.constants, *(constants[tensor] for tensor in given)],
            scan.length,
            scan.reverse,
            proceed,
            scan.limit,
        )
    count = len(scan.stacked)
    results = [*made.finals, *made.stacked[:count], *made.history]
    results += [] if made.steps is None else [made.steps]
    pairs = dict(zip(scan.node.results, results, strict=True))
    return pairs, list(made.stacked[count:]), {*over, *given}


def end_of_chain(body: Graph, tensor: Tensor, accepted: Callable[[Node], bool]) -> Tensor:
    """The last of the element-wise ops behind `tensor` of which each is all that reads the one
    before, keeps its shape and takes no more memory."""
    while tensor not in body.outputs_set:
        users = body.users.get(tensor, ())
        if len(users) != 1 or users[0].op.kind != "elementwise" or not accepted(users[0]):
            break
        (result,) = users[0].results
        if result.shape != tensor.shape or result.dtype.bytes > tensor.dtype.bytes:
            break
        tensor = result
    return tensor
