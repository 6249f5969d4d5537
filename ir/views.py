"""Other pictures of a graph: a networkx graph to ask questions of, and DOT text to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .graph import Graph
from .tensor import Tensor

if TYPE_CHECKING:
    import networkx as nx


def to_networkx(graph: Graph) -> nx.MultiDiGraph[str]:
    """The graph with one node a tensor (its printed name) and one edge an operand.

    Nodes have `op`, `type` and `loc` as text; edges the operand's position.  Regions are not
    entered.
    """
    import networkx as nx  # late: it takes longer to import than the rest of the room

    found = cast(Any, nx.MultiDiGraph(name=graph.name))
    names = graph.names

    def add(tensor: Tensor) -> None:
        loc = ", ".join(map(str, tensor.node.loc))
        found.add_node(names[tensor], op=tensor.node.op.name, type=str(tensor.type), loc=loc)

    for leaf in (*graph.inputs, *graph.parameters):
        add(leaf)
    for node in graph.nodes:
        for result in node.results:
            add(result)
            for position, operand in enumerate(node.operands):
                found.add_edge(names[operand], names[result], position=position)
    return found


def to_dot(graph: Graph) -> str:
    """The graph in Graphviz's DOT language."""
    drawn = to_networkx(graph)
    lines = [f'digraph "{graph.name}" {{', "  node [shape=box, fontname=monospace]"]
    for name, data in drawn.nodes(data=True):
        lines.append(f'  "{name}" [label="%{name} = {data["op"]}\\n{data["type"]}"]')
    lines += [f'  "{before}" -> "{after}"' for before, after in drawn.edges()]
    for output in graph.outputs:
        lines.append(f'  "{graph.names[output]}" [peripheries=2]')
    return "\n".join([*lines, "}"]) + "\n"
