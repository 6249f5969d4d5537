"""In which order a kernel walks its axes, and so in which order what it makes lies in memory.

A product over windows leaves an image with its channels last, which the graph sees with its
channels in front.  What follows (bias, activation, pool, padding) may walk it as it lies, whole
vectors of neighbours, and leave its own results in that order for the next.  So a kernel takes the
order in which it steps over memory least: by what its inputs say, not by what the graph calls its
axes.  A sum of floats keeps the graph's order, since its bits must not depend on where its operands
happen to lie; so does whatever somebody wants in C order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..ir.dims import DimLike, Shape, product
from ..ir.graph import Graph
from ..ir.op import View
from ..ir.ops.control import FUSED
from ..ir.shapes import contiguous_strides
from ..ir.tensor import Node, Tensor
from ..ir.units import LEAST
from .fuse import Space
from .nominal import nominal
from .space import reads_at_index
from .storage import dense
from .walks import is_left_side

Strides = tuple[DimLike, ...]

LANES = 16  # what a vector holds, roughly
APART = 5.0  # the cost of a vector of elements that are no neighbours, in vectors that are
CLEARLY = 0.7  # what another order may cost at most, as a share of the graph's own


@dataclass(frozen=True)
class _Access:
    strides: Strides  # over the whole space
    apart: frozenset[int] = frozenset()  # axes along which a computed index finds each element


def order_of(
    region: Graph, space: Space, sources: Sequence[View], targets: Sequence[View | None]
) -> tuple[int, ...] | None:
    """The order of the axes in which to walk a region, the last one in vectors; None: as they are.

    sources: how the inputs lie.  targets: how results must lie; None where any order will do.
    """
    if not _may_choose(region, space):
        return None
    rank = len(space.shape)
    accesses = _accesses(region, rank, sources)
    accesses += [
        _Access(_aligned(tensor.shape, view.strides, rank))
        for tensor, view in zip(region.outputs, targets, strict=True)
        if view is not None
    ]
    plain = tuple(range(rank))
    best, least = plain, CLEARLY * _cost(plain, space, accesses)
    long = [axis for axis in plain if space.shape[axis] != 1]
    for access in accesses:
        if any(access.strides[axis] == 0 for axis in long):
            continue  # it says too little
        order = sorted(plain, key=lambda axis: _far(access.strides[axis]), reverse=True)
        for candidate in (tuple(order), _parallel_last(order, space)):
            cost = _cost(candidate, space, accesses)
            if cost < least:
                best, least = candidate, cost
    return None if best == plain else best


def rows_in_lanes(space: Space) -> tuple[int, ...] | None:
    """The order of the axes with rows side by side in the lanes, where a row is reduced that would
    fill no vector.

    Each lane then folds a row of its own, so that nothing is folded across lanes, and what there is
    once a row costs a lane instead of a vector.  Whether it is so hangs on the shape alone, and
    with it the order of additions.
    """
    reduced = space.reduced or ()
    sizes = [space.shape[axis] for axis in reduced]
    short = [n for n in sizes if isinstance(n, int)]
    if not reduced or len(short) < len(sizes) or not 1 < prod(short) < LANES:
        return None
    if space.contraction is not None or space.chunk or space.ordered:
        return None
    plain = tuple(range(len(space.shape)))
    order = _parallel_last(plain, space)
    last = space.shape[order[-1]]
    few = order == plain or (isinstance(last, int) and last < LANES)
    return None if few else order


def laid(shape: Shape, order: Sequence[int], rank: int) -> View:
    """How a result of that shape lies in memory that is filled in the order of the axes."""
    missing = rank - len(shape)
    own = [axis - missing for axis in order if axis >= missing]
    packed = contiguous_strides(tuple(shape[axis] for axis in own))
    strides = dict(zip(own, packed, strict=True))
    return View(tuple(0 if n == 1 else strides[axis] for axis, n in enumerate(shape)), 0)


def rows_laid(graph: Graph, product: Tensor) -> View | None:
    """How the rows of a product lie best: its heads side by side, say; None: in C order.

    Their entries stay side by side, and so the product can leave them in any order.
    """
    best, least = None, _copies(graph, product, dense(product.type))
    for user in graph.users.get(product, ()):
        if user.op.name == "permute" and user.attrs["axes"][-1] == product.ndim - 1:
            view = laid(product.shape, user.attrs["axes"], product.ndim)
            copies = _copies(graph, product, view)
            if copies < least:
                best, least = view, copies
    return best


def wants_c_order(graph: Graph, tensor: Tensor, view: View) -> bool:
    """Whether somebody would copy a tensor that lies so, who need not if it lay in C order."""
    copied, _ = _copies(graph, tensor, view)
    return copied > 0 and _copies(graph, tensor, dense(tensor.type))[0] == 0


def turned_first(
    region: Graph, space: Space, sources: Sequence[View], order: Sequence[int] | None
) -> list[int]:
    """The inputs to copy before they are read in that order of the axes: those that lie the other
    way round, so that each vector is gathered from far apart, and are read more than once."""
    if space.contraction is not None or space.ordered or not space.shape:
        return []
    rank = len(space.shape)
    last = (rank - 1) if order is None else order[-1]
    found: list[int] = []
    for i, (tensor, view) in enumerate(zip(region.inputs, sources, strict=True)):
        plain = all(reads_at_index(node, k) for node, k in _readings(region, tensor))
        axis = last - (rank - tensor.ndim)
        if not plain or axis < 0 or _is_few(tensor.shape[axis]) or view.strides[axis] in (0, 1):
            continue
        turns = 1 in view.strides and not _is_few(view.strides[axis])
        if turns and nominal(product(space.shape)) >= 2 * nominal(tensor.size):
            found.append(i)
    return found


def _readings(region: Graph, tensor: Tensor) -> list[tuple[Node, int]]:
    users = region.users.get(tensor, ())
    return [(node, k) for node in users for k, x in enumerate(node.operands) if x is tensor]


def _is_few(size: DimLike) -> bool:
    return isinstance(size, int) and size < LEAST


def stays_near(tensor: Tensor, order: Sequence[int], rank: int) -> bool:
    """Whether vectors of a result that is made in that order are neighbours in C order too.

    If not, it is faster to turn what was made than to write it far apart.
    """
    axis = order[-1] - (rank - tensor.ndim)
    return axis < 0 or dense(tensor.type).strides[axis] in (0, 1)


def _copies(graph: Graph, tensor: Tensor, view: View) -> tuple[int, int]:
    """How many must copy a tensor that lies so, to read it as they do; and how many walk it by
    tables."""
    in_order = view.strides == dense(tensor.type).strides
    copied, walked = int(tensor in graph.results_set and not in_order), 0
    for user in graph.users.get(tensor, ()):
        if user.op is FUSED:
            region = user.regions[0]
            inner = region.inputs[next(i for i, x in enumerate(user.operands) if x is tensor)]
            apart = view.strides[-1:] != (1,) and tensor.shape[-1:] != (1,)
            copied += apart and any(
                reader.op.kind == "contraction" and reader.operands[0] is not inner
                for reader in region.users.get(inner, ())
            )
        elif user.op.view is not None:
            (result,), seen = user.results, user.op.view(user, view)
            if seen is not None:
                more = _copies(graph, result, seen)
                copied, walked = copied + more[0], walked + more[1]
            elif is_left_side(result, graph):
                walked += 1
            else:
                copied += 1
        else:
            copied += not in_order
    return copied, walked


def _may_choose(region: Graph, space: Space) -> bool:
    """Whether another order changes no bit."""
    if space.contraction is not None or space.chunk or space.ordered or len(space.shape) < 2:
        return False
    return all(
        node.op.kind != "reduction"
        or node.op.combine in ("maximum", "minimum")
        or not node.results[0].dtype.is_float
        for node in region.nodes
    )


def _accesses(region: Graph, rank: int, sources: Sequence[View]) -> list[_Access]:
    found: list[_Access] = []
    for tensor, view in zip(region.inputs, sources, strict=True):
        for reader in region.users.get(tensor, ()):
            apart = frozenset[int]()
            if reader.op.kind == "gather" and reader.operands[0] is tensor:
                apart = frozenset(
                    axis + rank - index.ndim
                    for index in reader.operands[1:]
                    for axis, n in enumerate(index.shape)
                    if n != 1
                )
            found.append(_Access(_aligned(tensor.shape, view.strides, rank), apart))
    return found


def _aligned(shape: Shape, strides: Strides, rank: int) -> Strides:
    own = [0 if n == 1 else s for n, s in zip(shape, strides, strict=True)]
    return (*[0] * (rank - len(own)), *own)


def _far(stride: DimLike) -> tuple[bool, int]:
    """How far a step leads; what has no number yet leads furthest, by as much as it seems."""
    return not isinstance(stride, int), abs(nominal(stride))


def _parallel_last(order: Sequence[int], space: Space) -> tuple[int, ...]:
    """The same with the last of the parallel axes behind all reduced ones."""
    reduced = space.reduced or ()
    parallel = [axis for axis in order if axis not in reduced and space.shape[axis] != 1]
    last = parallel[-1:]
    return (*[axis for axis in order if axis not in last], *last)


def _cost(order: Sequence[int], space: Space, accesses: Sequence[_Access]) -> float:
    """Vectors to load and store, roughly, for as many elements as there are lanes."""
    axes = [axis for axis in order if space.shape[axis] != 1]
    if not axes:
        return 0.0
    last = axes[-1]
    length: DimLike = space.shape[last]
    reduced = space.reduced or ()
    for before, axis in zip(axes[-2::-1], axes[:0:-1], strict=True):
        size = space.shape[axis]
        if {before, axis} & set(reduced):
            break
        if any(a.strides[before] != a.strides[axis] * size for a in accesses):
            break
        length = length * space.shape[before]
    filled = min(length, LANES) / LANES if isinstance(length, int) and length else 1.0
    cost = 1.0
    for access in accesses:
        stride = access.strides[last]
        if last in access.apart:
            cost += APART
        else:
            cost += 0.1 if stride == 0 else 1.0 if stride == 1 else APART
    return cost / filled
