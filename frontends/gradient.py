"""Derivatives as users ask for them.  Each call adds a request to the graph; nothing is computed
until a function is compiled, and the derivative is itself a tensor that may be asked about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

from ..compiler.differentiate import differentiate_all
from ..ir.batching import batch_results
from ..ir.errors import ArgumentError, GradientError
from ..ir.graph import Graph
from ..ir.loc import current_loc, quote
from ..ir.ops import as_tensor
from ..ir.ops.control import flatten, placeholder_like
from ..ir.ops.request import gradient, pushforward
from ..ir.tensor import Tensor, TensorLike, TensorType


@overload
def grad(y: Tensor, wrt: Tensor, cotangent: TensorLike | None = None) -> Tensor: ...
@overload
def grad(y: Tensor, wrt: Sequence[Tensor], cotangent: TensorLike | None = None) -> list[Tensor]: ...
def grad(
    y: Tensor, wrt: Tensor | Sequence[Tensor], cotangent: TensorLike | None = None
) -> Tensor | list[Tensor]:
    """∂y/∂wrt for a scalar `y`; with a `cotangent` shaped like y, Σ cotangent · ∂y/∂wrt.

    wrt: any float tensor of the graph, or a sequence of them (then a list comes back), each
    result typed like its tensor.  A tensor that y does not depend on raises GradientError, with
    the place where the path ends.
    """
    tensors = [wrt] if isinstance(wrt, Tensor) else list(wrt)
    if not tensors:
        return []
    _check_tensors("grad", y, *tensors)
    given = [] if cotangent is None else [as_tensor(cotangent)]
    _check_paths([y], tensors)
    found = gradient([y], tensors, given)
    return found[0] if isinstance(wrt, Tensor) else list(found)


def jvp(y: Tensor, wrt: Tensor | Sequence[Tensor], tangent: Any) -> Tensor:
    """Forward mode: Σ ∂y/∂wrt · tangent, typed like `y`.

    wrt, tangent: a tensor and its tangent of the same type, or sequences of them.
    """
    tensors = [wrt] if isinstance(wrt, Tensor) else list(wrt)
    tangents = [tangent] if isinstance(wrt, Tensor) else list(tangent)
    _check_tensors("jvp", y, *tensors)
    return pushforward([y], tensors, [as_tensor(t) for t in tangents])[0]


def _check_tensors(what: str, *values: object) -> None:
    for value in values:
        if not isinstance(value, Tensor):
            raise ArgumentError(
                f"{what}: a derivative is of a tensor by tensors of its graph, got {value!r}, "
                f"at {quote(current_loc())}"
            )


def _check_paths(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> None:
    """Raise now, at the user's line, where no path leads; gradients inside count as paths."""
    from ..compiler.differentiate import no_path
    from ..ir.graph import topological

    found = set(outputs)  # what the outputs can be differentiated by
    for node in reversed(topological(outputs)):
        if node.op.no_gradient and node.op.kind != "request":
            continue
        if any(result in found and result.dtype.is_float for result in node.results):
            found.update(node.operands)
    for tensor in wrt:
        if tensor not in found:
            request = placeholder_like(tensor.type, "request").node
            if not tensor.dtype.is_float:
                raise GradientError(
                    f"gradient: there is no derivative by {tensor!r}, it is no float; "
                    f"asked at {quote(request.loc)}"
                )
            raise GradientError(no_path(outputs, tensor, request))


def vmap(function: Callable[..., Any], in_axes: int | Sequence[int | None] | None = 0) -> Any:
    """`function` over one more axis: its arguments carry it at `in_axes` (None: not at all).

    Returns a function of tensors to tensors whose results carry the axis in front.  What the
    function reads besides its arguments is shared by all entries.
    """
    from ..ir.ops import moveaxis

    def batched(*args: TensorLike) -> Any:
        tensors = [as_tensor(arg) for arg in args]
        if in_axes is None or isinstance(in_axes, int):
            axes: list[int | None] = [in_axes] * len(tensors)
        else:
            axes = list(in_axes)
        if len(axes) != len(tensors) or all(axis is None for axis in axes):
            raise ArgumentError(
                f"vmap: in_axes {in_axes} do not fit {len(tensors)} arguments, "
                f"at {quote(current_loc())}"
            )
        moved = [
            tensor if axis is None else moveaxis(tensor, axis, 0)
            for tensor, axis in zip(tensors, axes, strict=True)
        ]
        size = next(t.shape[0] for t, axis in zip(moved, axes, strict=True) if axis is not None)
        inner = [
            placeholder_like(
                TensorType(t.dtype, t.shape if axis is None else t.shape[1:]), f"entry{i}"
            )
            for i, (t, axis) in enumerate(zip(moved, axes, strict=True))
        ]
        leaves, build = flatten(function(*inner))
        graph = differentiate_all(Graph("vmap", inner, leaves, parameters=()))
        flags = [axis is not None for axis in axes]
        return build(batch_results(graph, moved, flags, size))

    return batched
