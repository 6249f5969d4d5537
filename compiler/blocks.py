"""Blocks: windows that lie side by side are taken before element-wise ops, and put back after them.

A pool reads what a convolution, its bias and its activation made in blocks; what it passes back is
made in blocks too, and put in its place before the activation's slope meets it.  Both are the same
numbers in another index space, and what changes the index space parts kernels.  So here the blocks
move: with them, bias, activation, pool and the masks for the way back are one kernel, the pool's
and the activation's slopes another.  Then no activation of full size is stored, only one mask.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.array import Array
from ..ir.dims import Shape
from ..ir.graph import Graph
from ..ir.loc import located
from ..ir.ops.build import apply
from ..ir.ops.shape import permute, reshape
from ..ir.ops.window import windows
from ..ir.tensor import Node, Tensor
from .walk import remake


@dataclass(frozen=True)
class _Blocks:
    """Windows of `sizes`, `counts` of them, side by side along the last axes."""

    counts: Shape
    sizes: Shape

    @property
    def spans(self) -> Shape:
        return tuple(o * k for o, k in zip(self.counts, self.sizes, strict=True))

    def taken(self, x: Tensor) -> Tensor:
        """The blocks of x, whose axes may be 1 where it is broadcast; a number as it is."""
        n = len(self.counts)
        if x.ndim == 0:
            return x
        if x.ndim < n:
            x = reshape(x, (*[1] * (n - x.ndim), *x.shape))
        ones = [size == 1 for size in x.shape[x.ndim - n :]]
        sizes = tuple(1 if one else k for one, k in zip(ones, self.sizes, strict=True))
        counts = tuple(1 if one else o for one, o in zip(ones, self.counts, strict=True))
        if all(ones):
            return reshape(x, (*x.shape, *sizes))
        dilations = (1,) * n
        return windows(x, counts=counts, sizes=sizes, strides=sizes, dilations=dilations)  # type: ignore[arg-type]

    def put_back(self, x: Tensor) -> Tensor:
        """The array that consists of the blocks x."""
        n = len(self.counts)
        lead = x.ndim - 2 * n
        pairs = [axis for i in range(n) for axis in (lead + i, lead + n + i)]
        return reshape(permute(x, axes=(*range(lead), *pairs)), (*x.shape[:lead], *self.spans))


def blocks(graph: Graph) -> Graph:
    """f(u, y), u blocks put back -> those of f put back; the blocks of f(x, y) -> f of blocks.

    And where(a, where(b, x, 0), 0) -> where(a & b, x, 0), of what meets so.  In regions too.
    """
    return _lifted(_sunk(graph))


def _sunk(graph: Graph) -> Graph:
    """Blocks are put back after element-wise ops instead of before them."""
    mapping: dict[Tensor, Tensor] = {}
    within: dict[Tensor, tuple[_Blocks, Tensor]] = {}  # what is put back, and of which blocks
    for node in graph.nodes:
        made = remake(node, mapping, blocks)
        found = _put_back(made)
        if found is not None and len(graph.users.get(node.results[0], ())) == 1:
            within[made.results[0]] = found
        elif node.op.kind == "elementwise" and not node.op.check:
            sunk = _after(graph, made, within)
            if sunk is not None:
                mapping[node.results[0]] = sunk[0]
                if len(graph.users.get(node.results[0], ())) == 1:
                    within[sunk[0]] = sunk[1]
                continue
        if made is not node:
            mapping.update(zip(node.results, made.results, strict=True))
    return graph.map(mapping) if mapping else graph


def _put_back(node: Node) -> tuple[_Blocks, Tensor] | None:
    """The blocks that the node puts back, if it does: `_expand_overlap_add` makes such a one."""
    if node.op.name != "reshape" or node.operands[0].node.op.name != "permute":
        return None
    apart, result = node.operands[0].node, node.results[0]
    (x,) = apart.operands
    n = x.ndim - result.ndim
    lead = x.ndim - 2 * n
    if n < 1 or lead < 0 or x.node.op.kind != "elementwise":
        return None
    counts, sizes = x.shape[lead : lead + n], x.shape[lead + n :]
    pairs = tuple(axis for i in range(n) for axis in (lead + i, lead + n + i))
    if apart.attrs["axes"] != (*range(lead), *pairs):
        return None
    found = _Blocks(counts, sizes)
    numbers = all(isinstance(size, int) for size in sizes)
    return (found, x) if numbers and result.shape == (*x.shape[:lead], *found.spans) else None


def _after(
    graph: Graph, node: Node, within: dict[Tensor, tuple[_Blocks, Tensor]]
) -> tuple[Tensor, tuple[_Blocks, Tensor]] | None:
    """The node's result as blocks put back, and what they are, if it reads such."""
    result = node.results[0]
    read = [within[x] for x in node.operands if x in within and x.shape == result.shape]
    if not read or any(found != read[0][0] for found, _ in read):
        return None
    form = read[0][0]
    operands: list[Tensor] = []
    with located(node.loc):
        for x in node.operands:
            operands.append(within[x][1] if x in within else form.taken(x))
        made = _met(apply(node.op, operands, **node.attrs))
        return form.put_back(made), (form, made)


def _met(x: Tensor) -> Tensor:
    """where(a, where(b, x, 0), 0) as where(a & b, x, 0)."""
    outer = x.node
    if outer.op.name != "where" or outer.operands[1].node.op.name != "where":
        return x
    a, within, zero = outer.operands
    b, chosen, other = within.node.operands
    if not (_is_zero(zero) and _is_zero(other)) or a.shape != b.shape:
        return x
    return apply(outer.op, (a & b, chosen, zero))


def _is_zero(x: Tensor) -> bool:
    """Whether it is the number 0, and not -0."""
    value = x.node.attrs.get("value")
    return x.ndim == 0 and isinstance(value, Array) and repr(value.values.item()) in ("0", "0.0")


def _lifted(graph: Graph) -> Graph:
    """Blocks are taken before element-wise ops instead of after them."""
    wanted = _wanted(graph)
    if not wanted:
        return graph
    mapping: dict[Tensor, Tensor] = {}
    made: dict[tuple[Tensor, _Blocks], Tensor] = {}

    def taken(x: Tensor, form: _Blocks) -> Tensor:
        if x.node in wanted and x.shape[x.ndim - len(form.counts) :] == wanted[x.node][1]:
            return made[x, form]
        now = mapping.get(x, x)
        if (now, form) not in made:
            made[now, form] = form.taken(now)
        return made[now, form]

    for node in graph.nodes:
        form = _form(node)
        if node in wanted:
            form, _ = wanted[node]
            with located(node.loc):
                operands = [taken(x, form) for x in node.operands]
                made[node.results[0], form] = apply(node.op, operands, **node.attrs)
        elif form is not None and node.operands[0].node in wanted:
            mapping[node.results[0]] = made[node.operands[0], form]
        else:
            again = remake(node, mapping, lambda region: region)
            if again is not node:
                mapping.update(zip(node.results, again.results, strict=True))
    return graph.map(mapping)


def _form(node: Node) -> _Blocks | None:
    """The blocks that the node takes, if it does."""
    attrs = node.attrs
    if node.op.name != "windows" or attrs["strides"] != attrs["sizes"]:
        return None
    if any(d != 1 for d in attrs["dilations"]) or len(attrs["counts"]) == 0:
        return None
    return _Blocks(attrs["counts"], attrs["sizes"])


def _wanted(graph: Graph) -> dict[Node, tuple[_Blocks, Shape]]:
    """Element-wise nodes of which only blocks are read, these, and the axes that they are of."""
    wanted: dict[Node, tuple[_Blocks, Shape]] = {}
    for node in reversed(graph.nodes):
        if node.op.kind != "elementwise" or node.op.check:
            continue
        result = node.results[0]
        if result in graph.results_set:
            continue
        forms: set[tuple[_Blocks, Shape] | None] = set()
        for user in graph.users.get(result, ()):
            form = _form(user)
            if form is not None:
                forms.add((form, result.shape[result.ndim - len(form.counts) :]))
            else:
                forms.add(wanted.get(user))
        if len(forms) != 1:
            continue
        (found,) = forms
        if found is not None and result.ndim >= len(found[1]):
            if result.shape[result.ndim - len(found[1]) :] == found[1]:
                wanted[node] = found
    return wanted
