# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""switch: one of several graphs, chosen by an index when the program runs.

    %y = switch %i given %x, %w (graph @branch0 ...) (graph @branch1 ...) : f32[3]

Every region takes what any of them reads from outside, and gives results of the same types.  Only
the region taken is computed.  The index is clamped: one below 0 takes the first region, one that
is too large the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..bodies import Body
from ..dims import DimLike
from ..dtypes import bool_, int64, uint64
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import Graph, inline
from ..loc import quote
from ..op import MaybeTensors, Op, register
from ..tensor import Node, Tensor, TensorType, next_number
from .arithmetic import minimum
from .control import close, flatten, placeholder_like, zeros_where_none
from .conversion import astype
from .logic import less_equal, where
from .loops import call_function
from .request import gradient, pushforward
from .shape import broadcast_to, reshape

__all__ = ["cond", "switch"]


def make_switch(index: Tensor, given: Sequence[Tensor], branches: Sequence[Graph]) -> Node:
    """A switch node, by its parts."""
    return Node(SWITCH, [index, *given], {}, (1, len(given)), tuple(branches))


def branch_taken(index: int, count: int) -> int:
    """Which of `count` branches an index takes."""
    return min(max(index, 0), count - 1)


def _infer_switch(node: Node) -> tuple[TensorType, ...]:
    if len(node.groups) != 2 or node.groups[0] != 1 or not node.regions:
        raise ArgumentError("needs an index and at least one branch")
    if node.operands[0].type != TensorType(int64, ()):
        raise ShapeError(f"the index is {int64}[], got {node.operands[0].type}")
    wanted = [tensor.type for tensor in node.group(1)]
    for branch in node.regions:
        if branch.free or branch.parameters or branch.updates:
            raise ArgumentError(f"{branch.name} must be closed over its inputs")
        found = [tensor.type for tensor in branch.inputs]
        if found != wanted:
            raise ShapeError(f"{branch.name} takes {found} but gets {wanted}")
    _check_results({f"{i} ({b.name})": b.outputs for i, b in enumerate(node.regions)})
    return tuple(output.type for output in node.regions[0].outputs)


def _check_results(results: Mapping[str, Sequence[Tensor]]) -> None:
    """Whether the results of all branches, by name, are of the types of the first one's."""
    (first, wanted), *others = results.items()
    for name, found in others:
        if len(found) != len(wanted):
            raise ArgumentError(f"{first} gives {len(wanted)} results, {name} {len(found)}")
        for i, (one, other) in enumerate(zip(wanted, found, strict=True)):
            if one.type != other.type:
                error = DTypeError if one.dtype != other.dtype else ShapeError
                raise error(
                    f"the branches must give the same types; result {i} is\n"
                    f"  {one.type} in {first}, from {quote(one.node.loc)}\n"
                    f"  {other.type} in {name}, from {quote(other.node.loc)}"
                )


def _run_switch(index: Any, *given: Any, regions: Any, groups: Sequence[int]) -> Any:
    return regions[branch_taken(int(index), len(regions))](*given)


def _floats(tensors: Sequence[Tensor]) -> list[int]:
    return [i for i, tensor in enumerate(tensors) if tensor.dtype.is_float]


def _like(tensors: Sequence[Tensor], name: str) -> list[Tensor]:
    return [placeholder_like(t.type, f"{name}{i}") for i, t in enumerate(tensors)]


def _vjp_switch(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    """A switch on the same index; each branch computes its forward values again."""
    given = node.group(1)
    moving = _floats(given)
    asked = [i for i in _floats(node.results) if cotangents[i] is not None]
    seeds = [value for i in asked if (value := cotangents[i]) is not None]
    result: list[Tensor | None] = [None] * len(node.operands)
    if not moving or not asked:
        return result
    branches: list[Graph] = []
    for branch in node.regions:
        arguments, back = _like(branch.inputs, "given"), _like(seeds, "back")
        outputs = inline(branch, arguments)
        found = gradient([outputs[i] for i in asked], [arguments[i] for i in moving], back)
        branches.append(Graph(f"{branch.name}_reverse", [*arguments, *back], found))
    made = make_switch(node.operands[0], [*given, *seeds], branches)
    for i, value in zip(moving, made.results, strict=True):
        result[1 + i] = value
    return result


def _jvp_switch(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    """A switch on the same index, of tangents alone: values are those of the node."""
    given = node.group(1)
    moving = [i for i in _floats(given) if tangents[1 + i] is not None]
    asked = _floats(node.results)
    result: list[Tensor | None] = [None] * len(node.results)
    if not moving or not asked:
        return result
    pushed = zeros_where_none([tangents[1 + i] for i in moving], [given[i] for i in moving])
    branches: list[Graph] = []
    for branch in node.regions:
        arguments, along = _like(branch.inputs, "given"), _like(pushed, "tangent")
        outputs = inline(branch, arguments)
        found = pushforward([outputs[i] for i in asked], [arguments[i] for i in moving], along)
        branches.append(Graph(f"{branch.name}_forward", [*arguments, *along], found))
    made = make_switch(node.operands[0], [*given, *pushed], branches)
    for i, value in zip(asked, made.results, strict=True):
        result[i] = value
    return result


# --- batching -----------------------------------------------------------------------------------


def _batch_switch(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    """One index for all entries: a switch of batched branches.  An index an entry: what all
    branches give for all entries, and of that what is chosen; where a branch may fail, a loop over
    the entries, so that none fails that is not taken."""
    from .loop_batching import entry_by_entry, may_fail

    size = next(t.shape[0] for t, flag in zip(operands, batched, strict=True) if flag)
    if not batched[0]:
        return _switch_of_batches(node, operands, batched[1:], size)
    if any(may_fail(branch) for branch in node.regions):
        return entry_by_entry(node, operands, batched)
    return _choice_of_batches(node, operands, batched[1:], size)


def _switch_of_batches(
    node: Node, operands: Sequence[Tensor], flags: Sequence[bool], size: DimLike
) -> list[Tensor]:
    from ..batching import batched_inputs, batched_values

    inputs = [batched_inputs(branch, flags, size) for branch in node.regions]
    pairs = zip(node.regions, inputs, strict=True)
    batches = [batched_values(branch, own, flags, size) for branch, own in pairs]
    columns = list(zip(*(branch.outputs for branch in node.regions), strict=True))
    reached = [
        any(output in batch.carrying for output, batch in zip(column, batches, strict=True))
        for column in columns
    ]
    branches: list[Graph] = []
    for branch, own, batch in zip(node.regions, inputs, batches, strict=True):
        outputs = zip(branch.outputs, reached, strict=True)
        values = [batch.spread(t) if flag else batch.value(t) for t, flag in outputs]
        branches.append(Graph(branch.name, own, values, parameters=()))
    return list(make_switch(operands[0], operands[1:], branches).results)


def _choice_of_batches(
    node: Node, operands: Sequence[Tensor], flags: Sequence[bool], size: DimLike
) -> list[Tensor]:
    from ..batching import batch_results

    index, *given = operands
    if not any(flags):  # the branches are the same for all entries
        found = [inline(branch, given) for branch in node.regions]
    else:
        found = [batch_results(branch, given, flags, size) for branch in node.regions]
    results: list[Tensor] = []
    for result, (chosen, *others) in zip(node.results, zip(*found, strict=True), strict=True):
        at = reshape(index, (size, *[1] * result.ndim))
        for number, other in enumerate(others, 1):
            chosen = where(less_equal(number, at), other, chosen)
        results.append(broadcast_to(chosen, (size, *result.shape)))
    return results


SWITCH = register(
    Op(
        name="switch",
        kind="region",
        infer=_infer_switch,
        reference=_run_switch,
        doc="One of several graphs, by an index that is clamped: see gradloom.switch.",
        operands=("index", "*given"),
        groups=("", "given"),
        vjp=_vjp_switch,
        jvp=_jvp_switch,
        batch=_batch_switch,
    )
)


# --- what users call ----------------------------------------------------------------------------


def cond(pred: Any, then: Callable[..., Any], else_: Callable[..., Any], *operands: Any) -> Any:
    """``then(*operands)`` where `pred` is true, ``else_(*operands)`` where it is not; one alone
    is computed.

    pred: a bool tensor of shape ().  A Python bool chooses while the graph is built: nothing is
    left of the other branch.  Both functions give a tensor, or a tuple, list or dict of such,
    nested as you like, alike in structure, dtypes and shapes (plain numbers count as tensors).

    What the functions build is computed, and what they assert checked, when they are taken only.
    What is built outside of them is always computed, even where one function alone reads it.
    The derivative, in both modes, is that of the branch taken.  Under `vmap` with a `pred` that
    differs from entry to entry both are computed for all entries, and `where` chooses; branches
    that may fail, by a check or in NumPy, are computed in a loop over the entries, where taken.

    ArgumentError: `pred` is no bool of shape (), or the structures differ.  DTypeError, ShapeError:
    results of different types, with the lines of both.
    """
    if isinstance(pred, (bool, np.bool_)):
        return _called(*(("then", then) if pred else ("else_", else_)), operands)
    if not isinstance(pred, Tensor) or pred.type != TensorType(bool_, ()):
        got = pred.type if isinstance(pred, Tensor) else repr(pred)
        raise ArgumentError(f"the condition must be one bool, of shape (), got {got}")
    regions, captured, build = _traced({"then": then, "else_": else_}, operands)
    return build(astype(pred, int64), captured, regions[::-1])


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """``branches[index](*operands)``: one of several functions, chosen when the program runs.

    index: an integer tensor of shape (), or a Python integer, which chooses while the graph is
    built.  It is clamped: below 0 it takes the first branch, beyond the last one the last.
    All else is as for `cond`.
    """
    if not isinstance(branches, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"the branches are a sequence of functions, got {branches!r}")
    named = {f"branch{i}": branch for i, branch in enumerate(branches)}
    if not named:
        raise ArgumentError("needs at least one branch")
    if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
        return _called(*list(named.items())[branch_taken(int(index), len(named))], operands)
    if not isinstance(index, Tensor) or index.dtype.kind not in "iu" or index.shape != ():
        got = index.type if isinstance(index, Tensor) else repr(index)
        raise ArgumentError(f"the index must be one integer, of shape (), got {got}")
    if index.dtype == uint64:  # the largest would be negative
        index = minimum(index, len(named) - 1)
    regions, captured, build = _traced(named, operands)
    return build(astype(index, int64), captured, regions)


def _called(name: str, branch: Any, operands: Sequence[Any]) -> Any:
    return call_function(branch, name, [f"operand {i}" for i in range(len(operands))], operands)


Build = Callable[[Tensor, Sequence[Tensor], Sequence[Graph]], Any]


def _traced(
    branches: Mapping[str, Callable[..., Any]], operands: Sequence[Any]
) -> tuple[list[Graph], list[Tensor], Build]:
    """A region for each branch, what they read from outside, and what makes a switch of them and
    gives its results in the structure of the first branch's."""
    since = next_number()
    with Body("a branch"):
        trees = {name: _called(name, branch, operands) for name, branch in branches.items()}
    first, *_ = trees.values()
    leaves, arranged = flatten(first)
    _check_structures({name: _paths(tree) for name, tree in trees.items()})
    results = {
        name: flatten([_paths(tree)[path] for path in _paths(first)])[0]
        for name, tree in trees.items()
    }
    _check_results(results)
    together, captured = close([t for own in results.values() for t in own], (), "all", since)
    count = len(leaves)
    regions = [
        Graph(name, together.inputs, together.outputs[i * count : (i + 1) * count], parameters=())
        for i, name in enumerate(branches)
    ]

    def build(index: Tensor, given: Sequence[Tensor], ordered: Sequence[Graph]) -> Any:
        return arranged(make_switch(index, given, ordered).results if count else ())

    return regions, captured, build


def _check_structures(found: Mapping[str, Mapping[str, Any]]) -> None:
    (first, wanted), *others = found.items()
    for name, paths in others:
        if paths.keys() != wanted.keys():
            raise ArgumentError(
                "the branches must give the same structure; "
                f"{first} gives {_told(wanted)}, {name} gives {_told(paths)}"
            )


def _paths(tree: Any, path: str = "result") -> dict[str, Any]:
    """The leaves of nested tuples, lists and dicts by how they are reached."""
    if tree is None:
        return {}
    if isinstance(tree, (tuple, list)):
        items: Any = enumerate(tree)
    elif isinstance(tree, dict):
        items = tree.items()
    else:
        return {path: tree}
    return {k: v for key, part in items for k, v in _paths(part, f"{path}[{key!r}]").items()}


def _told(paths: Mapping[str, Any]) -> str:
    return ", ".join(paths) or "nothing"
