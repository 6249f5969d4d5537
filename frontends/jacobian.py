"""Matrices of derivatives: one request over a basis of directions, batched over one more axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, overload

from ..ir.dims import DimLike
from ..ir.errors import ArgumentError
from ..ir.graph import between
from ..ir.loc import current_loc, quote
from ..ir.ops import astype, moveaxis, ones, reshape
from ..ir.ops.create import iota
from ..ir.ops.custom import modes_of
from ..ir.ops.request import gradient, pushforward
from ..ir.shapes import contiguous_strides
from ..ir.tensor import Node, Tensor, TensorType
from .gradient import Structure, check_tensor, of_tensors, tensors_of
from .paths import check_paths

Mode = Literal["reverse", "forward"]


@overload
def jacobian(y: Tensor, x: Tensor, mode: Mode | None = None) -> Tensor: ...
@overload
def jacobian(y: Structure, x: Structure, mode: Mode | None = None) -> Any: ...
@of_tensors
def jacobian(y: Structure, x: Structure, mode: Mode | None = None) -> Any:
    """J[i…, j…] = ∂y[i…] / ∂x[j…], of the shape (\\*y.shape, \\*x.shape) and y's dtype.

    y, x: float tensors, or structures of them; for structures the result is y's structure, with
    that of x in place of each tensor.
    mode: ``"reverse"`` takes a pass for each number in y, ``"forward"`` one for each in x (all of
    them at once: one request over the identity).  None takes what needs fewer, a number rather
    than a named size, and in doubt reverse; what has one mode alone decides: a custom derivative
    with one rule, or a while_loop without a bound, which has the forward mode.

    Errors are those of `grad`; ArgumentError for another mode.
    """
    outputs, build_rows = tensors_of("jacobian", y)
    tensors, build_columns = tensors_of("jacobian", x)
    if mode not in (None, "reverse", "forward"):
        raise ArgumentError(
            f"jacobian: mode is 'reverse', 'forward' or None, got {mode!r}, "
            f"at {quote(current_loc())}"
        )
    check_paths(outputs, tensors)
    if (mode or _only_mode(outputs, tensors) or fewer_passes(outputs, tensors)) == "reverse":
        blocks = [_rows(output, tensors) for output in outputs]
    else:
        columns = [_columns(outputs, tensor) for tensor in tensors]
        blocks = [[column[i] for column in columns] for i in range(len(outputs))]
    return build_rows([build_columns(row) for row in blocks])


@overload
def hessian(y: Tensor, x: Tensor) -> Tensor: ...
@overload
def hessian(y: Tensor, x: Structure) -> Any: ...
@of_tensors
def hessian(y: Tensor, x: Structure) -> Any:
    """H[i…, j…] = ∂²y / ∂x[i…] ∂x[j…] of a scalar `y`, of the shape (\\*x.shape, \\*x.shape).

    x: a float tensor, or a structure of them; then the result is that structure, with it again in
    place of each tensor: the block of a and b is ``hessian(…)[a][b]``.  A block that vanishes is
    zeros.  Forward mode over reverse mode: one gradient, pushed along each direction of x; forward
    mode over forward mode where y has no other.
    """
    check_tensor("hessian", y)
    tensors, build = tensors_of("hessian", x)
    check_paths([y], tensors)
    if _only_mode([y], tensors) == "forward":
        slopes: Sequence[Tensor] = [_columns([y], tensor)[0] for tensor in tensors]
    else:
        slopes = gradient([y], tensors) if tensors else ()
    columns = [_columns(slopes, tensor) for tensor in tensors]
    return build([build([column[i] for column in columns]) for i in range(len(tensors))])


def fewer_passes(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> Mode:
    """The mode that needs no more passes than the other, as far as sizes tell."""
    rows: DimLike = 0
    columns: DimLike = 0
    for tensor in outputs:
        rows = rows + tensor.size
    for tensor in wrt:
        columns = columns + tensor.size
    if isinstance(rows, int) != isinstance(columns, int):
        return "reverse" if isinstance(rows, int) else "forward"
    gap = rows - columns
    factors = [gap] if isinstance(gap, int) else [factor for _, factor in gap.terms]
    return "forward" if gap != 0 and all(factor >= 0 for factor in factors) else "reverse"


def _only_mode(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> Mode | None:
    """The mode that everything on the way has, if only one is."""
    common = {"reverse", "forward"}
    for node in _with_inner(between(outputs, wrt)[0]):
        if node.op.name == "custom":
            common &= {*modes_of(node)}
        elif node.op.name == "while_loop" and any(t.dtype.is_float for t in node.results):
            common &= {"forward"}
    if len(common) == 1:
        return "reverse" if "reverse" in common else "forward"
    return None


def _with_inner(nodes: Iterable[Node]) -> Iterator[Node]:
    """The nodes, and those of their regions; but for the insides of what has rules of its own."""
    for node in nodes:
        yield node
        if node.op.name != "custom":
            for region in node.regions:
                yield from _with_inner(region.nodes)


def _rows(output: Tensor, wrt: Sequence[Tensor]) -> list[Tensor]:
    """∂output/∂x for each x of `wrt`, in reverse mode."""
    if output.ndim == 0:
        return list(gradient([output], wrt))
    found = gradient([output], wrt, [_directions(output.type)], 1)
    pairs = zip(found, wrt, strict=True)
    return [reshape(rows, (*output.shape, *tensor.shape)) for rows, tensor in pairs]


def _columns(outputs: Sequence[Tensor], wrt: Tensor) -> list[Tensor]:
    """∂y/∂wrt for each y of `outputs`, in forward mode."""
    if wrt.ndim == 0:
        return list(pushforward(outputs, [wrt], [ones((), wrt.dtype)]))
    found = pushforward(outputs, [wrt], [_directions(wrt.type)], 1)
    pairs = zip(found, outputs, strict=True)
    return [reshape(moveaxis(f, 0, -1), (*y.shape, *wrt.shape)) for f, y in pairs]


def _directions(like: TensorType) -> Tensor:
    """The identity: along the first axis, each array of this type that is 1 once and else 0.

    Made of positions, so that a kernel makes it again instead of reading it.
    """

    def along(axis: int, size: DimLike) -> Tensor:
        return iota(shape=tuple(size if i == axis else 1 for i in range(like.ndim + 1)), axis=axis)

    if like.size == 1:
        return ones((1, *like.shape), like.dtype)
    parts: list[Tensor] = []
    for axis, step in enumerate(contiguous_strides(like.shape)):
        if like.shape[axis] != 1:
            place = along(axis + 1, like.shape[axis])
            parts.append(place if step == 1 else place * step)
    position = sum(parts[1:], parts[0])  # of an entry, in the order of memory
    return astype(along(0, like.size) == position, like.dtype)
