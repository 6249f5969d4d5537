"""The verifier: re-run every type rule, and check that a graph is closed."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import GradloomError, VerifyError
from .graph import LEAVES, Graph
from .shapes import Equality, collect_equalities, counterexample
from .tensor import Node, Tensor


def verify(
    graph: Graph,
    after: str = "",
    known: Sequence[Equality] | None = None,
    sound: set[Node] | None = None,
) -> None:
    """Raise VerifyError, with the graph and a mark at the node, where a rule is broken.

    known: the equalities of sizes that hold, else the graph's constraints.  A pass keeps them; a
    node that takes more for granted would run unchecked, on sizes that differ.  sound: nodes whose
    types were found right under these, and need not be looked at again; more are added.
    """
    sound = set() if sound is None else sound
    if known is None:
        known = [Equality(c.left, c.right) for c in graph.constraints]
    computed: set[Tensor] = {*graph.inputs, *graph.parameters}
    for leaf in computed:
        if leaf.node.op.name not in LEAVES:
            raise VerifyError(f"{leaf!r} stands as an input but is computed")
    if graph.free:
        raise VerifyError(f"{graph.free[0]!r} is used but is no input of @{graph.name}")
    for node in graph.nodes:
        if any(operand not in computed for operand in node.operands):
            problem = "reads a value that is not computed before it"
        else:
            problem = "" if node in sound else _problem(node, known)
        if problem:
            where = f" after {after}" if after else ""
            line = f"%{graph.names[node.results[0]]} = {node.op.name}"
            text = str(graph).replace(line, f">>>>> {line}", 1)
            raise VerifyError(f"{line} {problem}{where}\n{text}")
        for region in node.regions:
            verify(region, after, known, sound)
        sound.add(node)
        computed.update(node.results)
    for target, value in graph.updates:
        if target.type != value.type:
            raise VerifyError(f"update of {target!r} by {value.type}")


def _problem(node: Node, known: Sequence[Equality]) -> str:
    """What the type rule of `node` finds wrong."""
    with collect_equalities() as assumed:
        try:
            types = node.op.infer(node)
        except GradloomError as error:
            return str(error)
    if types != tuple(result.type for result in node.results):
        return f"should give {', '.join(map(str, types))}"
    for claim in assumed:
        if claim not in known and counterexample(claim, known) is not None:
            return f"takes {claim.left} for {claim.right}, which nothing says"
    return ""
