"""Index spaces: where a kernel computes a node, and which nodes fit into one kernel."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.dims import Shape
from ..ir.shapes import keep_axes
from ..ir.tensor import Node


@dataclass(frozen=True, slots=True)
class Space:
    """The index space of a group, the axes it reduces, and the length of split pieces.

    ordered: the one reduced axis is walked in order, for running values.  On a GPU one thread
    walks a row then, where a block of them shares it for a sum; so the two stay apart, lest a sum
    depend on what it is fused with.
    """

    shape: Shape
    reduced: tuple[int, ...] | None = None
    chunk: int = 0
    contraction: Node | None = None
    ordered: bool = False

    def join(self, other: Space) -> Space | None:
        """The space of both together, or None."""
        if self.contraction is not None and other.contraction is not None:
            return None
        contraction = self.contraction or other.contraction
        if self.shape == other.shape:
            if None not in (self.reduced, other.reduced) and (
                self.reduced != other.reduced
                or self.chunk != other.chunk
                or self.ordered != other.ordered
            ):
                return None
            reduced = other.reduced if self.reduced is None else self.reduced
            if contraction is not None and reduced is not None:
                return None
            ordered = self.ordered or other.ordered
            return Space(self.shape, reduced, max(self.chunk, other.chunk), contraction, ordered)
        for small, large in ((self, other), (other, self)):
            if large.reduced is None or large.chunk or small.reduced is not None:
                continue
            if small.contraction is None and _fits(small.shape, large):
                return large
        return None


def _fits(shape: Shape, space: Space) -> bool:
    """Whether a value of `shape` is one per index of the axes that `space` does not reduce."""
    kept = keep_axes(space.shape, space.reduced or ())
    offset = len(kept) - len(shape)
    return offset >= 0 and all(
        size == 1 or size == kept[offset + axis] for axis, size in enumerate(shape)
    )


def may_be_skipped(shape: Shape, space: Space) -> bool:
    """Whether `space` may have no index where a value of `shape` has elements."""
    if shape == space.shape:
        return False
    kept = keep_axes(space.shape, space.reduced or ())
    own = (*[1] * (len(kept) - len(shape)), *shape)
    return any(
        size == 1 and extent != 1 and not (isinstance(extent, int) and extent > 0)
        for size, extent in zip(own, kept, strict=True)
    )


def space_of(node: Node) -> Space | None:
    """The index space of a node that a kernel can compute; None for all others."""
    match node.op.kind:
        case "elementwise" | "gather" | "generator":
            return Space(node.results[0].shape)
        case "reduction":
            shape = node.operands[0].shape
            if "chunk" in node.attrs:
                return Space(shape, tuple(range(len(shape))), node.attrs["chunk"])
            return Space(shape, node.attrs["axes"])
        case "cumulative":
            shape, axis = node.results[0].shape, node.attrs["axis"]
            return Space(shape) if shape[axis] == 1 else Space(shape, (axis,), ordered=True)
        case "contraction":
            return Space(node.results[0].shape, contraction=node)
        case _:
            return None


def reads_at_index(node: Node, position: int) -> bool:
    """Whether `node` reads that operand only at its own index, so that both can share a kernel.

    What no kernel computes, such as a view, reads no operand so.
    """
    if space_of(node) is None or node.op.kind in ("contraction", "generator"):
        return False
    return not (node.op.kind == "gather" and position == 0)


def is_read(inline: frozenset[Node], node: Node, position: int) -> bool:
    """Whether `node` reads that operand, and does not make it again."""
    return node.operands[position].node not in inline or not reads_at_index(node, position)
