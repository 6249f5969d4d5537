"""Left sides of products that are laid out nowhere: what reshapes of strided views walk.

Windows over an image are a view, but not one that is a matrix: the rows of a convolution's product
are two or three axes of it, and so are the columns.  A reshape of such a view would be a copy, many
times as large as the image.  A product reads its left side element by element, though, so that it
needs no strides: here the reshape becomes two tables of offsets, of the rows and of the columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir.array import Array
from ..ir.dims import DimLike, Shape, product
from ..ir.dtypes import int64
from ..ir.graph import Graph
from ..ir.op import View
from ..ir.ops.control import FUSED
from ..ir.shapes import contiguous_strides
from ..ir.tensor import Node, Tensor, TensorType
from .draft import Draft, finish
from .nominal import NOMINAL, nominal
from .runs import runs_of
from .storage import Lowering, Parts, Stored, Taken, Walked, copy, dense, launch

LARGEST = 1 << 16  # entries of a table that is a constant
LONGEST = 4096  # steps of one table, where fewer can be gone through in rounds
SHORTEST = 8  # steps worth a round of their own


def walked(state: Lowering, node: Node, place: Stored, graph: Graph) -> Stored | None:
    """How a reshape of what lies at `place` is walked where it is; None where it must be copied.

    Only products may read it, as their left side.
    """
    (operand,), (result,) = node.operands, node.results
    if place.walk is not None or result.ndim < 2 or not is_left_side(result, graph):
        return None
    if node.op.name == "patches":
        return _patches(node, _channels_last(state, operand, place))
    parts = _parts(operand.shape, place.view.strides, result.shape)
    if parts is None or any(len(part) > 1 for part in parts[:-2]):
        return None
    lead = [part[0][1] if part else 0 for part in parts[:-2]]
    *_, rows, steps = parts
    if len(rows) <= 1 and len(steps) <= 1:
        last = [part[0][1] if part else 0 for part in (rows, steps)]
        return Stored(place.buffer, View((*lead, *last), place.view.offset))
    period, stride = product(size for size, _ in steps), 0
    inner = product(size for size, _ in steps[1:])
    few = inner < SHORTEST if isinstance(inner, int) else nominal(inner) <= NOMINAL
    if not (isinstance(period, int) and period <= LONGEST) and not few:
        (_, stride), *steps = steps
        period = inner
    view = View((*lead, 0, 0), place.view.offset)
    return Stored(place.buffer, view, Walked(tuple(rows), tuple(steps), period, stride))


def _channels_last(state: Lowering, image: Tensor, place: Stored) -> Stored:
    """An image of which all channels of a pixel lie together: copied where they do not.

    Steps that follow each other, or rows, then read from one line of memory, and neighbours in a
    row of pixels of all images lie side by side.  For the gradient by
    the kernel, batch and channels have changed places; those that lay nearer are the channels.
    """
    first, _, second = place.view.strides[:3]
    if 1 in (first, second) or place.view.strides[3:] == ():
        return place
    axes = (0, 2) if nominal(first) > nominal(second) else (2, 0)
    order = (*(axis for axis in range(image.ndim) if axis not in axes), *axes)
    packed = contiguous_strides(tuple(image.shape[axis] for axis in order))
    strides = dict(zip(order, packed, strict=True))
    view = View(tuple(0 if n == 1 else strides[a] for a, n in enumerate(image.shape)), 0)
    target = Stored(state.temporary(image.type).buffer, view)
    copy(state, image, place, target)
    return target


def _patches(node: Node, place: Stored) -> Stored:
    """Windows that reach over the edges of an image, walked over the image alone."""
    attrs, shape = node.attrs, node.operands[0].shape
    first, groups, channels, *along = place.view.strides
    start = place.view.offset
    rows: list[tuple[DimLike, DimLike]] = []
    steps: list[tuple[DimLike, DimLike]] = []
    names = ("counts", "sizes", "lows", "strides", "dilations")
    axes = list(zip(*(attrs[name] for name in names), along, shape[3:], strict=True))
    for count, size, low, stride, dilation, step, _ in axes:
        start = start - low * step
        rows.append((count, stride * step))
        steps.append((size, dilation * step))
    rows, steps = [*rows, (shape[0], first)], [*steps, (shape[2], channels)]
    table, most = runs_of([axis[:5] + axis[6:] for axis in axes])
    runs = Taken(table, most, shape[0], shape[2])
    depth = product(size for size, _ in steps)
    view = View((groups, 0, 0), start)
    return Stored(place.buffer, view, Walked(_joined(rows), _joined(steps), depth, 0, runs))


def _joined(parts: Sequence[tuple[DimLike, DimLike]]) -> Parts:
    """The parts without those of size 1, neighbours that one stride walks as one."""
    found: list[tuple[DimLike, DimLike]] = []
    for size, stride in parts:
        if found and found[-1][1] == stride * size:
            found[-1] = (found[-1][0] * size, stride)
        elif size != 1:
            found.append((size, stride))
    return tuple(found)


def is_left_side(tensor: Tensor, graph: Graph) -> bool:
    """Whether all that reads the tensor are products, as their left side."""
    if tensor in graph.results_set:
        return False
    for user in graph.users.get(tensor, ()):
        if user.op is not FUSED:
            return False
        region = user.regions[0]
        for operand, inner in zip(user.operands, region.inputs, strict=True):
            if operand is not tensor:
                continue
            for reader in region.users.get(inner, ()):
                if reader.op.kind != "contraction" or any(x is inner for x in reader.operands[1:]):
                    return False
    return True


def _parts(before: Shape, strides: Sequence[DimLike], after: Shape) -> list[Parts] | None:
    """The axes of `before` that each axis of `after` is made of; None if it splits one.

    Neighbours that one stride walks are one part, and axes of size 1 are none.
    """
    left = [(n, s) for n, s in zip(before, strides, strict=True) if n != 1]
    found: list[Parts] = []
    for size in after:
        own: list[tuple[DimLike, DimLike]] = []
        whole: DimLike = 1
        while whole != size:
            if not left or size == 0:
                return None
            extent, stride = left.pop(0)
            whole = whole * extent
            if own and own[-1][1] == stride * extent:
                own[-1] = (own[-1][0] * extent, stride)
            else:
                own.append((extent, stride))
        found.append(tuple(own))
    return None if left else found


def tables(state: Lowering, node: Node, walk: Walked) -> list[str]:
    """The buffers of the tables of a walk that `node` takes."""
    found = [_table(state, node, walk.rows), _table(state, node, walk.steps)]
    if walk.runs is not None:
        table = walk.runs.table
        type_ = TensorType(int64, table.values.shape)
        found.append(state.buffer("constant", type_, value=table))
    return found


def _table(state: Lowering, node: Node, parts: Parts) -> str:
    """A buffer of all offsets that `parts` make, the last part fastest.

    A constant where the sizes are known, and else what a small kernel writes before the product;
    of one in a loop before the loop, since sizes stay.
    """
    sizes, strides = tuple(size for size, _ in parts), tuple(stride for _, stride in parts)
    total = product(sizes)
    type_ = TensorType(int64, (total,))
    known = [(n, s) for n, s in parts if isinstance(n, int) and isinstance(s, int)]
    if len(known) == len(parts) and isinstance(total, int) and total <= LARGEST:
        if parts not in state.tables:
            offsets = np.zeros(1, np.int64)
            for size, stride in known:
                offsets = (offsets[:, None] + np.arange(size) * stride).reshape(-1)
            state.tables[parts] = state.buffer("constant", type_, value=Array(offsets))
        return state.tables[parts]
    target = state.temporary(type_).buffer
    draft = Draft(sizes, ["parallel"] * len(sizes), 0, state.check)
    name = draft.argument(int64, True)
    draft.store(draft.index(strides), name, sizes, dense(TensorType(int64, sizes)))
    here = state.steps
    state.steps = here if state.early is None else state.early
    launch(state, node, *finish(draft, "offsets"), [target])
    state.steps = here
    return target
