"""What an entry of the op table holds.

An op is described in one place, its entry under ``ir/ops``: how it is typed, what it computes
(the NumPy reference), how it is differentiated and batched, and what it becomes in a kernel.
Everything else in the project asks the entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .dims import DimLike

if TYPE_CHECKING:
    from .tensor import Node, Tensor, TensorType

Kind = Literal[
    "elementwise",  # one scalar expression of the operands at the same (broadcast) index
    "generator",  # one scalar expression of the index itself: iota, random bits
    "reduction",  # folds axes with an associative scalar operation, keeping them as size 1
    "cumulative",  # folds along one axis in order, and keeps every value on the way
    "contraction",  # sums products over a shared axis: matmul
    "view",  # other strides over the same memory: permute, broadcast, slice, reshape
    "order",  # the same memory as it is, once other values are there
    "gather",  # reads at computed indices
    "scatter",  # writes at computed indices
    "concat",  # copies parts into one buffer
    "composite",  # a formula over other ops, expanded before kernels are made
    "host",  # computed by NumPy between kernels
    "region",  # holds graphs: scan, fused groups
    "request",  # asks for a derivative; gone after differentiation
    "leaf",  # inputs, parameters, constants, sizes
]

MaybeTensors = Sequence["Tensor | None"]
Partials = Callable[..., Sequence[Any]]  # tensors, plain numbers, None for zero


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """How a view walks its operand's memory: elements to step by on each axis, and a start."""

    strides: tuple[DimLike, ...]
    offset: DimLike


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Op:
    """One row of the table.

    name: as printed, and the name in the rules' formulas.
    operands: their names, the last starred where there may be any number of it.
    groups: a word before each group of operands in the text form; the first is empty.
    attributes: names of the static attributes, in the order the rules may give them.
    optional: names of attributes that stand only where they are not what they mostly are.
    infer: from a node whose operands and attributes are set to its result types; raises
        ShapeError or DTypeError with the reason alone.
    reference: NumPy arrays and evaluated attributes to an array (or a tuple of arrays).
    partials: ∂result/∂operand for element-wise ops, and for composites that are such, from
        operands and result: a tensor, a plain number, None for zero, or a bool tensor where it is
        1 or 0.
    singular: whether a partial may be infinite or nan where the operands are finite, so that a
        derivative of 0 that meets it must stay 0.
    saturates: whether a partial vanishes where an operand grows, which may then be infinite.
    linear: positions of the operands in which the op is linear (each separately);
        `transpose(node, cotangent, position)` gives the cotangent of such an operand.
    vjp, jvp: both modes for what is neither element-wise nor linear.
    no_gradient: why there is no derivative, where there is none.
    batch: from a node, its operands and which of them carry a leading batch axis to results
        that carry one, or do not where no such operand reaches them; element-wise ops need none.
    code: the scalar expression (operands and attributes by name) for CPU and CUDA alike.
    check: a scalar condition that must hold, or the call fails.
    combine: the scalar operation of a reduction, and `identity`, its neutral element; a cumulative
        gives it the value before and the operands; of a linear composite "add" where it adds up
        (and so rounds); that of a scatter, where ``last`` keeps the last of the values for
        one place.
    view: the strides of the result over the operand's memory, or None where a copy is needed.
    expand: the formula of a composite, from a node to its results.
    flops: operations a result element, for the cost of a kernel.
    work: all operations of a node, where they are no multiple of its results.
    samples: (operand shapes, attributes) for the tests that are generated from the table.
    prepare: for these tests, from drawn arrays to operands with the structure that the op needs
        (positive definite, well conditioned); what it gives must lie in a linear space of such
        operands, along whose directions the derivatives then are checked.
    """

    name: str
    kind: Kind
    infer: Callable[[Node], tuple[TensorType, ...]]
    reference: Callable[..., Any]
    doc: str = ""
    operands: tuple[str, ...] = ()
    groups: tuple[str, ...] = ("",)
    attributes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    dtypes: str = "any"
    partials: Partials | None = None
    singular: bool = False
    saturates: bool = False
    linear: tuple[int, ...] = ()
    transpose: Callable[[Node, Tensor, int], Tensor] | None = None
    vjp: Callable[[Node, MaybeTensors], MaybeTensors] | None = None
    jvp: Callable[[Node, MaybeTensors], MaybeTensors] | None = None
    no_gradient: str = ""
    batch: Callable[[Node, Sequence[Tensor], Sequence[bool]], Sequence[Tensor]] | None = None
    code: str = ""
    check: str = ""
    commutative: bool = False
    combine: str = ""
    identity: Literal["zero", "one", "lowest", "highest"] = "zero"
    view: Callable[[Node, View], View | None] | None = None
    expand: Callable[[Node], Sequence[Tensor]] | None = None
    flops: int = 1
    work: Callable[[Node], DimLike] | None = None
    samples: tuple[tuple[tuple[tuple[int, ...], ...], dict[str, Any]], ...] = ()
    prepare: Callable[..., Sequence[Any]] | None = None
    derivatives_at: tuple[float, float] = field(default=(-2.0, 2.0))

    def __repr__(self) -> str:
        return f"<op {self.name}>"


TABLE: dict[str, Op] = {}


def register(op: Op) -> Op:
    """Enter `op` into the table."""
    if op.name in TABLE:
        raise ValueError(f"op {op.name} is in the table already")
    TABLE[op.name] = op
    return op
