"""Where values lie while a graph is lowered: buffers, how to walk them, and steps that copy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..ir.array import Array
from ..ir.dims import DimLike, Shape, floordiv, product
from ..ir.kernel import Kernel
from ..ir.op import View
from ..ir.ops.branch import SWITCH
from ..ir.ops.control import FUSED
from ..ir.ops.scan import SCAN
from ..ir.ops.while_loop import WHILE
from ..ir.program import Buffer, BufferKind, Copy, Failure, Launch, Step, chain
from ..ir.shapes import contiguous_strides
from ..ir.tensor import Node, Tensor, TensorType
from ..ir.units import panel_columns
from .draft import Draft, finish
from .guard import guard
from .nominal import nominal

SHORT = 16  # entries that do not fill a square
LARGE = 1 << 14  # elements for which a second step costs less than it saves
Parts = tuple[tuple[DimLike, DimLike], ...]  # sizes and strides of axes that are walked as one


@dataclass(frozen=True, slots=True)
class Taken:
    """The steps that rows take, if not all: see `ir.kernel.Runs`."""

    table: Array
    most: int
    group: DimLike
    unit: DimLike


@dataclass(frozen=True, slots=True)
class Walked:
    """How a product walks a left side that is no matrix in memory: see `ir.kernel.Walk`."""

    rows: Parts
    steps: Parts
    period: DimLike
    stride: DimLike
    runs: Taken | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a value lies: a buffer and how to walk it; by `walk` in place of the last two axes.

    panel_stride: of a matrix in panels (`ir.kernel.Contract`).  panels: a copy of it that is.
    """

    buffer: str
    view: View
    walk: Walked | None = None
    panel_stride: DimLike = 0
    panels: Stored | None = None


def dense(type_: TensorType) -> View:
    """The view of a C-contiguous buffer; size-1 axes have stride 0."""
    strides = contiguous_strides(type_.shape)
    return View(tuple(0 if n == 1 else s for n, s in zip(type_.shape, strides, strict=True)), 0)


@dataclass
class Lowering:
    """What grows while a graph is lowered.

    overwritten: the buffers that new values are written over.  origins: what each was made for.
    at_once: concats that are written when all before them is done: over what that may read.
    walks: whether this is for a CPU: products may read a left side by tables of offsets, kernels
    take the order in which memory lies.  tables: those that there are.
    early: in a loop, the steps before the outermost one.  fixed: nodes of bodies that run before
    their loops, once.
    """

    buffers: dict[str, Buffer] = field(default_factory=dict[str, Buffer])
    kernels: dict[Kernel, Kernel] = field(default_factory=dict[Kernel, Kernel])
    names: set[str] = field(default_factory=set[str])
    checks: list[Failure] = field(default_factory=list[Failure])
    steps: list[Step] = field(default_factory=list[Step])
    overwritten: dict[Tensor, str] = field(default_factory=dict[Tensor, str])
    origins: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    at_once: set[Tensor] = field(default_factory=set[Tensor])
    count: int = 0
    guarded: bool = False
    walks: bool = False
    tables: dict[Parts, str] = field(default_factory=dict[Parts, str])
    early: list[Step] | None = None
    fixed: set[Node] = field(default_factory=set[Node])

    def buffer(self, kind: BufferKind, type_: TensorType, name: str = "", **more: object) -> str:
        if not name:
            name = f"{kind[0]}{self.count}"
            self.count += 1
        while name in self.buffers:
            name += "_"
        self.buffers[name] = Buffer(name, kind, type_, **more)  # type: ignore[arg-type]
        return name

    def temporary(self, type_: TensorType) -> Stored:
        return Stored(self.buffer("temporary", type_), dense(type_))

    def base(self, name: str) -> str:
        """The buffer whose memory a window is part of."""
        return chain(name, self.buffers)[-1].name

    def check(self, node: Node) -> int:
        """The number under which a failure of `node` is reported."""
        self.checks.append(_failure(node))
        return len(self.checks)

    def kernel(self, made: Kernel) -> Kernel:
        """The program's kernel that does the same work as `made`, perhaps itself."""
        known = self.kernels.get(made.key)
        if known is None:
            name, number = made.name, 2
            while name in self.names:
                name, number = f"{made.name}_{number}", number + 1
            self.names.add(name)
            known = self.kernels[made.key] = replace(made, name=name)
        return known


def _failure(node: Node) -> Failure:
    """What a failed check of `node` says."""
    if node.op.name == "checked":
        value = "{number}" if node.results[0].dtype.is_float else "{value}"
        text = f"{node.attrs['message']}: it is {value}, at {{lines}}"
        return Failure("CheckError", text, node.loc)
    text = f"index {{value}} is out of range for size {node.attrs['size']}, at {{lines}}"
    return Failure("IndexRangeError", text, node.loc)


def launch(
    state: Lowering, node: Node, kernel: Kernel, sizes: tuple[DimLike, ...], arguments: list[str]
) -> None:
    """A step that runs `kernel`, which computes `node`."""
    if state.guarded:
        kernel = guard(kernel)
    state.steps.append(Launch(state.kernel(kernel).name, tuple(arguments), sizes, node))


def is_whole(state: Lowering, place: Stored, type_: TensorType) -> bool:
    """Whether the place is all of its buffer, in C order."""
    in_order = place.view.strides == dense(type_).strides and place.view.offset == 0
    return in_order and state.buffers[place.buffer].type.size == type_.size


def contiguous(state: Lowering, stored: dict[Tensor, Stored], tensor: Tensor) -> str:
    """A buffer that holds exactly the tensor in C order; copied where it does not yet."""
    place = stored[tensor]
    if is_whole(state, place, tensor.type):
        return place.buffer
    target = state.temporary(tensor.type)
    copy(state, tensor, place, target)
    stored[tensor] = target
    return target.buffer


def copy(state: Lowering, tensor: Tensor, source: Stored, target: Stored) -> None:
    """A kernel that writes the tensor to another place.

    Or two: where what lies together is short, as the entries of a small filter are, that and what
    lies beside it are turned together first, and then whole rows go where they belong.
    """
    way = _halfway(tensor.shape, source.view, target.view) if state.walks else None
    if way is not None:
        between = replace(state.temporary(tensor.type), view=way)
        copy(state, tensor, source, between)
        source = between
    _copy(state, tensor, tensor.shape, source, target)


def in_panels(state: Lowering, tensor: Tensor, source: Stored) -> Stored:
    """A copy of a matrix of known size in panels; what the last one lacks is not written."""
    rows, columns = tensor.shape
    wide = panel_columns(tensor.dtype)
    assert isinstance(rows, int) and isinstance(columns, int)
    count, left = divmod(columns, wide)
    size = rows * wide
    place = state.temporary(TensorType(tensor.dtype, (count + (left > 0), rows, wide)))
    (row, column), start = source.view.strides, source.view.offset
    whole = replace(source, view=View((column * wide, row, column), start))
    _copy(state, tensor, (count, rows, wide), whole, replace(place, view=View((size, wide, 1), 0)))
    if left:
        rest = replace(source, view=View((row, column), start + count * wide * column))
        target = replace(place, view=View((wide, 1), count * size))
        _copy(state, tensor, (rows, left), rest, target)
    return replace(place, view=View((wide, 1), 0), panel_stride=size)


def _copy(state: Lowering, tensor: Tensor, shape: Shape, source: Stored, target: Stored) -> None:
    """A kernel that copies an array of this shape, for `tensor`."""
    draft = Draft(shape, ["parallel"] * len(shape), 0, state.check)
    read, written = draft.argument(tensor.dtype, False), draft.argument(tensor.dtype, True)
    value = draft.load(tensor, read, source.view, shape=shape)
    draft.store(value, written, shape, target.view)
    if state.walks:  # along what lies together where it goes
        steps = [abs(nominal(stride)) for stride in target.view.strides]
        draft.reorder(sorted(range(len(shape)), key=lambda axis: -steps[axis]))
    launch(state, tensor.node, *finish(draft, "copy"), [source.buffer, target.buffer])


def _halfway(shape: Shape, read: View, written: View) -> View | None:
    """In between a short axis that lies innermost and another that shall: both with the next one
    in front of them as it was; None where one step does as well."""
    long = [axis for axis, size in enumerate(shape) if size != 1]
    if len(long) < 3 or not all(isinstance(shape[axis], int) for axis in long):
        return None
    if nominal(product(shape)) < LARGE:
        return None
    by_read = sorted(long, key=lambda axis: -abs(nominal(read.strides[axis])))
    last = min(long, key=lambda axis: abs(nominal(written.strides[axis])))
    beside, short = by_read[-2:]
    joined = read.strides[short] == 1 and read.strides[beside] == shape[short]
    if not joined or last in (beside, short) or nominal(shape[short]) >= SHORT:
        return None
    order = [*(axis for axis in by_read[:-2] if axis != last), beside, short, last]
    packed = contiguous_strides(tuple(shape[axis] for axis in order))
    strides = dict(zip(order, packed, strict=True))
    found = View(tuple(strides.get(axis, 0) for axis in range(len(shape))), 0)
    return None if found.strides == written.strides else found


def move(state: Lowering, tensor: Tensor, source: Stored, target: str) -> None:
    """Copy the tensor to all of another buffer, byte by byte where it lies as it shall."""
    if is_whole(state, source, tensor.type):
        state.steps.append(Copy(target, source.buffer))
    else:
        copy(state, tensor, source, Stored(target, dense(tensor.type)))


def typed(state: Lowering, stored: dict[Tensor, Stored], tensor: Tensor) -> str:
    """As `contiguous`, a buffer of the tensor's own type: for what goes by a buffer's shape."""
    return as_type(state, contiguous(state, stored, tensor), tensor.type)


def rows(state: Lowering, stored: dict[Tensor, Stored], tensor: Tensor) -> str:
    """As `typed`, for who only reads it: perhaps a name for some rows of a buffer."""
    place = stored[tensor]
    shape = state.buffers[place.buffer].type.shape
    row = product(shape[1:])
    start = 0 if row == 0 else floordiv(place.view.offset, row)
    in_order = place.view.strides == dense(tensor.type).strides and shape != ()
    if is_whole(state, place, tensor.type) or not in_order or start * row != place.view.offset:
        return typed(state, stored, tensor)
    return state.buffer("window", tensor.type, of=place.buffer, start=start)


def as_type(state: Lowering, name: str, type_: TensorType) -> str:
    """The buffer, or a name of another type for the same memory."""
    return name if state.buffers[name].type == type_ else state.buffer("window", type_, of=name)


def right_sides(node: Node) -> list[Tensor]:
    """What a fused product reads as its right side, or starts its sums from: that needs unit
    stride along its last axis."""
    region = node.regions[0]
    place = {tensor: i for i, tensor in enumerate(region.inputs)}
    products = [inner for inner in region.nodes if inner.op.kind == "contraction"]
    found = [node.operands[place[x]] for product in products for x in product.operands[1:]]
    return [right for right in found if right.shape[-1] != 1]


def sole_right(node: Node) -> Tensor | None:
    """The matrix that a fused product has as its right side, if nothing else in it reads that."""
    region = node.regions[0]
    outside = dict(zip(region.inputs, node.operands, strict=True))
    for inner in region.nodes:
        if inner.op.kind == "contraction":
            right = inner.operands[1]
            if right.ndim == 2 and region.users[right] == [inner] and right in outside:
                found = outside[right]
                alone = [x for x in node.operands if x is found] == [found]
                return found if alone and right not in region.outputs_set else None
    return None


def is_factor(node: Node, tensor: Tensor) -> bool:
    """Whether a fused product only multiplies by `tensor`, and so may read it transposed."""
    region = node.regions[0]
    inside = [x for x, y in zip(region.inputs, node.operands, strict=True) if y is tensor]
    starts = [x for n in region.nodes if n.op.kind == "contraction" for x in n.operands[2:]]
    return not any(x is start for x in inside for start in starts)


def fills_buffer(node: Node) -> bool:
    """Whether a node's results are written to buffers of their own, which may be chosen."""
    return node.op in (FUSED, SCAN, WHILE, SWITCH) or node.op.kind in ("concat", "scatter")
