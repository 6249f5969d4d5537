"""Turn: a product that is only read transposed is computed transposed.

The gradient by w of ``x @ w.T`` comes as the transpose of ``x.T @ g``, and so does that by the keys
of an attention.  Transposed again, (A·B)ᵀ = Bᵀ·Aᵀ, it stands in memory as it is read: nothing is
copied, and what follows, such as the update of the weight, may join its kernel.  Each entry is the
same chain of multiply-adds, its factors in the other order, so no bit changes.
"""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.loc import located
from ..ir.ops.build import apply
from ..ir.ops.shape import permute
from ..ir.tensor import Node, Tensor
from .walk import remake


def turn(graph: Graph) -> Graph:
    """permute(x @ y) -> permute(y.T @ x.T) where x is transposed itself, in regions too.

    All readers must want the rows of the product side by side, perhaps scaled or alike.
    """
    mapping: dict[Tensor, Tensor] = {}
    other_way: dict[Tensor, Tensor] = {}  # results, and what is made transposed instead
    for node in graph.nodes:
        wanted = node.op.name == "matmul" and _is_turned(graph, node)
        if wanted or any(operand in other_way for operand in node.operands):
            made = _made_so(node, mapping, other_way)
            if made is not None:
                other_way[node.results[0]] = made
                mapping[node.results[0]] = _turned(made)
                continue
        made = remake(node, mapping, turn)
        if made.op.name == "permute" and made is not node:
            mapping[node.results[0]] = _joined(made)
        elif made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping) if mapping else graph


def _made_so(
    node: Node, mapping: dict[Tensor, Tensor], other_way: dict[Tensor, Tensor]
) -> Tensor | None:
    """The node's result transposed, of what is there transposed; None of a permute, which ends
    it."""
    operands = [mapping.get(operand, operand) for operand in node.operands]
    if node.op.name == "permute":
        return None
    if node.op.name == "matmul":
        operands = [_turned(operand) for operand in operands[::-1]]
    else:
        operands = [
            other_way.get(before, now) for before, now in zip(node.operands, operands, strict=True)
        ]
    with located(node.loc):
        return apply(node.op, operands, **node.attrs)


def _is_turned(graph: Graph, node: Node) -> bool:
    """Whether all readers want the rows of the product side by side, as those of x are."""
    if _last_two(node.operands[0].node)[0] != 1:
        return False
    result = node.results[0]
    while result not in graph.results_set:
        users = graph.users.get(result, ())
        if all(_last_two(user)[1] == 2 for user in users):
            return bool(users)
        if len(users) != 1 or not _is_of_numbers(users[0], result):
            return False
        result = users[0].results[0]
    return False


def _is_of_numbers(node: Node, operand: Tensor) -> bool:
    """Whether a node does the same to each entry of an operand."""
    if node.op.kind != "elementwise" or node.op.check:
        return False
    return all(other is operand or other.ndim == 0 for other in node.operands)


def _last_two(node: Node) -> tuple[int, int]:
    """Which axes a permute puts second last and last, counted from the end; else zeros."""
    if node.op.name != "permute" or len(node.attrs["axes"]) < 2:
        return 0, 0
    rank = len(node.attrs["axes"])
    second, last = node.attrs["axes"][-2:]
    return rank - second, rank - last


def _turned(x: Tensor) -> Tensor:
    """x with its last two axes exchanged."""
    axes = list(range(x.ndim))
    return _joined(permute(x, axes=(*axes[:-2], axes[-1], axes[-2])).node)


def _joined(node: Node) -> Tensor:
    """The result of a permute, made of what its operand is a permute of."""
    inner, axes = node.operands[0].node, node.attrs["axes"]
    if inner.op.name != "permute":
        return node.results[0]
    axes = tuple(inner.attrs["axes"][axis] for axis in axes)
    if axes == tuple(range(len(axes))):
        return inner.operands[0]
    with located(node.loc):
        return permute(inner.operands[0], axes=axes)
