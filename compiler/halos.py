"""Halos: the zeros around images are stored where who reads them cannot do without.

A product on CPU takes the windows over an image as its left side with no zeros around it.  For
others, and for other targets, `patches` becomes the padded image and windows over that.
"""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.loc import located
from ..ir.tensor import Node, Tensor
from .walk import remake


def halos(graph: Graph, walks: bool = True) -> Graph:
    """The graph with `patches` only as left sides of products, or nowhere; in regions too.

    walks: whether products may take them.
    """
    mapping: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        made = remake(node, mapping, lambda region: halos(region, walks))
        results = made.results
        if node.op.name == "patches" and not (walks and _is_known(node) and _is_left(graph, node)):
            assert made.op.expand is not None
            with located(made.loc):
                results = tuple(made.op.expand(made))
        if results is not node.results:
            mapping.update(zip(node.results, results, strict=True))
    return graph.map(mapping) if mapping else graph


def _is_known(node: Node) -> bool:
    """Whether a table can say which entries of each window lie on the image."""
    extents = node.operands[0].shape[3:]
    return all(isinstance(size, int) for size in (*node.attrs["counts"], *extents))


def _is_left(graph: Graph, node: Node) -> bool:
    """Whether products read it, as their left side, and nobody else."""
    (result,) = node.results
    return result not in graph.results_set and all(
        user.op.kind == "contraction" and all(x is not result for x in user.operands[1:])
        for user in graph.users.get(result, ())
    )
