"""The ways that a derivative can take, found where it is asked for; and where they end.

A request that no way leads to expands to zeros.  That is right inside of rules, but a user who asks
for it has made a mistake, which is said at once, at the line that asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir.bodies import leaked, told_leak
from ..ir.errors import GradientError
from ..ir.graph import LEAVES, Graph, topological
from ..ir.loc import current_loc, quote
from ..ir.ops.while_loop import loop_of
from ..ir.tensor import Node, Tensor


def check_paths(outputs: Sequence[Tensor], wrt: Sequence[Tensor], every: bool = True) -> None:
    """GradientError where no path leads; gradients inside count as paths.

    every: whether each of `wrt` needs a path, or one of them.
    """
    _refuse_leak(outputs)
    found = _sources(outputs)
    if not every and any(tensor in found and tensor.dtype.is_float for tensor in wrt):
        return
    for tensor in wrt:
        if tensor not in found:
            _refuse_leak([tensor])
            if not tensor.dtype.is_float:
                raise GradientError(
                    f"gradient: there is no derivative by {tensor!r}, it is no float; "
                    f"asked at {quote(current_loc())}"
                )
            raise GradientError(_no_path(outputs, tensor))


def _refuse_leak(tensors: Sequence[Tensor]) -> None:
    leaves = [node.results[0] for node in topological(tensors) if node.op.name in LEAVES]
    leak = leaked(leaves)
    if leak is not None:
        told = told_leak(leak, tensors)
        raise GradientError(f"gradient: {told}; asked at {quote(current_loc())}")


# --- from the outputs backwards -----------------------------------------------------------------


def _sources(outputs: Iterable[Tensor]) -> set[Tensor]:
    """The tensors that the outputs can be differentiated by."""
    wanted = list(outputs)
    found = set(wanted)
    for node in reversed(topological(wanted)):
        if node.op.no_gradient and node.op.kind != "request":
            continue
        if any(result in found and result.dtype.is_float for result in node.results):
            found.update(_operands_behind(node, found))
    return found


def _operands_behind(node: Node, found: set[Tensor]) -> Iterable[Tensor]:
    """The operands from which a path leads to a result that is in `found`."""
    if node.op.name in ("scan", "while_loop"):
        return _flow_behind(node, found)
    if node.op.name == "switch":
        given, regions = node.group(1), node.regions
    elif node.op.name == "checkpoint":
        given, regions = node.operands, node.regions
    else:
        return node.operands
    places = [i for i, result in enumerate(node.results) if result in found]
    behind: set[Tensor] = set()
    for region in regions:
        inner = _sources(region.outputs[i] for i in places)
        behind.update(t for t, leaf in zip(given, region.inputs, strict=True) if leaf in inner)
    return behind


def _flow_behind(node: Node, found: set[Tensor]) -> Iterable[Tensor]:
    """As above for a loop: through its body, as often as a carry leads on to another one."""
    loop = loop_of(node)
    body, n = loop.body, len(loop.carries)
    rows = [*loop.finals, *loop.stacked]
    wanted = {i for i, result in enumerate(rows) if result in found and result.dtype.is_float}
    entered = {i for i, result in enumerate(loop.history) if result in found}
    inner: set[Tensor] = set()
    more = wanted | entered
    while more:
        wanted |= more
        inner = _sources(body.outputs[i] for i in wanted) | {body.inputs[i] for i in entered}
        carried = {i for i in range(n) if body.inputs[i] in inner and body.inputs[i].dtype.is_float}
        more = carried - wanted
    return [t for t, leaf in zip(loop.flow, body.inputs, strict=True) if leaf in inner]


# --- from what is asked by onwards --------------------------------------------------------------


def _no_path(outputs: Sequence[Tensor], wrt: Tensor) -> str:
    """Why there is no gradient: where the paths from `wrt` end."""
    name = wrt.node.attrs.get("name", repr(wrt))
    order = topological(outputs)
    ends: list[str] = []
    _follow(order, {wrt}, ends)
    if not ends:
        ends = [f"  the output does not depend on {name} at all"]
        if len(wrt.node.results) > 1 and any(node is wrt.node for node in order):
            ends = [
                f"  the output reads other results of the {wrt.node.op.name} at "
                f"{quote(wrt.node.loc)}, but not {name}, which is made of what they are made of: "
                "gl.gradient_norms(loss, ys, feeds) shows the gradient by what each step gives; "
                "or add a sequence of zeros to it in the body, and ask by that"
            ]
    lines = "\n".join(dict.fromkeys(ends))
    return (
        f"gradient: no path leads from {name} to the output; it stops where\n{lines}\n"
        f"  asked at {quote(current_loc())}"
    )


def _follow(order: Iterable[Node], reached: set[Tensor], ends: list[str], note: str = "") -> None:
    """Add to `reached` what is differentiable by it, and to `ends` a line where that ends.

    note: what there is to say of an end besides.
    """
    for node in order:
        if not any(operand in reached for operand in node.operands):
            continue
        if node.op.no_gradient or not any(r.dtype.is_float for r in node.results):
            why = node.op.no_gradient or "its result is no float"
            ends.append(f"  {node.op.name} at {quote(node.loc)}: {why}{note}")
        elif node.op.name in ("scan", "while_loop"):
            reached.update(_through_loop(node, reached, ends))
        elif node.op.name in ("switch", "checkpoint"):
            given = node.group(1) if node.op.name == "switch" else node.operands
            for region in node.regions:
                inner = _entered(region, given, reached)
                _follow(region.nodes, inner, ends)
                reached.update(_left(node.results, region.outputs, inner))
        else:
            reached.update(node.results)


def _through_loop(node: Node, reached: set[Tensor], ends: list[str]) -> Iterable[Tensor]:
    """The results of a loop that are reached; a path may also end in what stops the loop."""
    loop = loop_of(node)
    body, n = loop.body, len(loop.carries)
    inner = _entered(body, loop.flow, reached)
    count = -1
    while count != len(inner):
        count = len(inner)
        _follow(body.nodes, inner, ends)
        inner.update(_left(body.inputs[:n], body.outputs[:n], inner))
    if loop.proceed is not None:
        places = zip(loop.proceed.inputs, loop.asked, strict=True)
        asked = {leaf for leaf, i in places if body.inputs[i] in inner}
        _follow(loop.proceed.nodes, asked, ends, "; it decides how many steps the loop takes")
    rows = [*loop.finals, *loop.stacked]
    return {
        *_left(rows, body.outputs, inner),
        *_left(rows[:n], body.inputs[:n], inner),  # no step may be taken
        *_left(loop.history, body.inputs[: len(loop.history)], inner),
    }


def _entered(region: Graph, given: Sequence[Tensor], reached: set[Tensor]) -> set[Tensor]:
    """The inputs of a region in place of what is reached."""
    return {leaf for leaf, t in zip(region.inputs, given, strict=True) if t in reached}


def _left(results: Sequence[Tensor], outputs: Sequence[Tensor], inner: set[Tensor]) -> list[Tensor]:
    """The results in place of outputs that are reached inside."""
    pairs = zip(results, outputs, strict=True)
    return [result for result, output in pairs if output in inner and result.dtype.is_float]
