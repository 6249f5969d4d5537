"""The verifier: re-run every type rule, and check that a graph is closed."""

from __future__ import annotations

from .errors import GradloomError, VerifyError
from .graph import LEAVES, Graph
from .tensor import Tensor


def verify(graph: Graph, after: str = "") -> None:
    """Raise VerifyError, with the graph and a mark at the node, where a rule is broken."""
    known: set[Tensor] = {*graph.inputs, *graph.parameters}
    for leaf in known:
        if leaf.node.op.name not in LEAVES:
            raise VerifyError(f"{leaf!r} stands as an input but is computed")
    if graph.free:
        raise VerifyError(f"{graph.free[0]!r} is used but is no input of @{graph.name}")
    for node in graph.nodes:
        problem = ""
        if any(operand not in known for operand in node.operands):
            problem = "reads a value that is not computed before it"
        else:
            try:
                types = node.op.infer(node)
            except GradloomError as error:
                problem = str(error)
            else:
                if types != tuple(result.type for result in node.results):
                    problem = f"should give {', '.join(map(str, types))}"
        if problem:
            where = f" after {after}" if after else ""
            line = f"%{graph.names[node.results[0]]} = {node.op.name}"
            text = str(graph).replace(line, f">>>>> {line}", 1)
            raise VerifyError(f"{line} {problem}{where}\n{text}")
        for region in node.regions:
            verify(region, after)
        known.update(node.results)
    for target, value in graph.updates:
        if target.type != value.type:
            raise VerifyError(f"update of {target!r} by {value.type}")
