# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (arrays of any dtype)
"""The reference interpreter: every op by its NumPy reference.  There is no second semantics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .array import Array
from .bodies import leaked, told_leak
from .dims import Dim, DimLike, solve, symbols
from .dims import evaluate as evaluate_dim
from .errors import ArgumentError, DTypeError, GradloomError, ShapeError
from .explain import explain
from .graph import LEAVES, Constraint, Graph
from .half import computes_in_float32, converted, may_become, wide_attributes, widened
from .loc import current_loc, quote
from .parameter import Parameter
from .tensor import Node, Tensor, TensorType

NumpyArray = np.ndarray[Any, Any]

# What makes a graph one without derivative requests; `frontends/gradient.py` adds it here, since ir
# knows nothing of the compiler.
before_evaluation: list[Callable[[Graph], Graph]] = []


def bind_dims(
    types: Sequence[TensorType],
    shapes: Sequence[tuple[int, ...]],
    names: Sequence[str],
    constraints: Sequence[Constraint] = (),
) -> dict[str, int]:
    """Solve the symbolic sizes of `types` from actual shapes, and check `constraints`.

    ShapeError where they disagree, with the name, or with the line that needs two sizes equal.
    """
    binding: dict[str, int] = {}
    later: list[tuple[DimLike, int, str]] = []
    for type_, shape, name in zip(types, shapes, names, strict=True):
        if len(shape) != type_.ndim:
            raise ShapeError(f"{name} must be {type_}, got shape {list(shape)}")
        later += [(size, actual, name) for size, actual in zip(type_.shape, shape, strict=True)]
    known = -1
    while len(binding) != known:  # a size such as 2*B may stand before the B that fixes it
        known = len(binding)
        later = [(size, n, name) for size, n, name in later if not solve(size, n, binding)]
    for size, actual, name in later:
        told = ""
        if isinstance(size, Dim):
            unknown = sorted(symbols(size) - binding.keys())
            told = f" ({size} = {evaluate_dim(size, binding)})" if not unknown else ""
            if len(unknown) > 1:
                told = f", from which {' and '.join(unknown)} cannot be told"
        raise ShapeError(f"{name} has size {actual} where {size} is needed{told}")
    for constraint in constraints:
        left = evaluate_dim(constraint.left, binding)
        right = evaluate_dim(constraint.right, binding)
        if left != right:
            raise ShapeError(
                f"{constraint} does not hold in this call: {left} against {right}; "
                f"needed at {quote(constraint.loc)}"
            )
    return binding


def check_dimensions(graph: Graph) -> None:
    """ArgumentError where a dimension occurs that no input's shape tells."""
    known: set[Any] = {0}
    for leaf in (*graph.inputs, *graph.parameters):
        known.update(name for size in leaf.shape for name in symbols(size))
    for node in graph.walk():
        sizes: list[Any] = [size for result in node.results for size in result.shape]
        for value in node.attrs.values():
            sizes += value if isinstance(value, tuple) else (value,)
        for size in sizes:
            if isinstance(size, Dim) and size not in known:
                unknown = sorted(symbols(size) - known)
                if unknown:
                    raise ArgumentError(
                        f"the dimension {unknown[0]} is in no input's shape, so that nothing tells "
                        f"its size; used by {node.op.name} at {quote(node.loc)}"
                    )
                known.add(size)


def evaluate_attribute(value: Any, binding: Mapping[str, int]) -> Any:
    """An attribute with its dimensions as numbers and its arrays as NumPy's."""
    match value:
        case Dim():
            return evaluate_dim(value, binding)
        case tuple():
            items: tuple[Any, ...] = value
            return tuple(evaluate_attribute(item, binding) for item in items)
        case Array():
            return value.values
        case _:
            return value


class BoundRegion:
    """A region as the reference of its op calls it: arrays to results."""

    def __init__(self, graph: Graph, binding: Mapping[str, int]) -> None:
        self.graph, self.binding = graph, binding

    def __call__(self, *arrays: NumpyArray) -> list[NumpyArray]:
        return run_graph(self.graph, arrays, self.binding)

    def zeros(self) -> list[NumpyArray]:
        """Zeros of the types of its results, without a run of it."""
        types = [output.type for output in self.graph.outputs]
        return [np.zeros(evaluate_attribute(t.shape, self.binding), t.dtype.numpy) for t in types]


def run_node(node: Node, operands: Sequence[NumpyArray], binding: Mapping[str, int]) -> list[Any]:
    """The node's results on actual arrays."""
    attrs = {key: evaluate_attribute(v, binding) for key, v in node.attrs.items()}
    in_float32 = computes_in_float32(node)
    if in_float32:
        attrs, operands = wide_attributes(attrs), [widened(operand) for operand in operands]
    if node.regions:
        attrs["regions"] = [BoundRegion(region, binding) for region in node.regions]
        attrs["groups"] = node.groups
    try:
        with np.errstate(all="ignore"):
            results = node.op.reference(*operands, **attrs)
    except GradloomError as error:
        raise type(error)(f"{error}, at {quote(node.loc)}") from None
    if len(node.results) == 1 and not isinstance(results, (tuple, list)):
        results = [results]
    return [
        converted(np.asarray(value, np.float32), result.dtype)
        if in_float32 and result.dtype.is_half
        else np.asarray(value, dtype=result.dtype.numpy)
        for value, result in zip(results, node.results, strict=True)
    ]


def run_graph(
    graph: Graph, leaves: Sequence[NumpyArray], binding: Mapping[str, int]
) -> list[NumpyArray]:
    """The graph's results, given inputs and then parameters."""
    values: dict[Tensor, NumpyArray] = dict(
        zip((*graph.inputs, *graph.parameters), leaves, strict=True)
    )
    for node in graph.nodes:
        results = run_node(node, [values[operand] for operand in node.operands], binding)
        values.update(zip(node.results, results, strict=True))
    return [values[result] for result in graph.results]


def read_feeds(graph: Graph, feeds: Mapping[Any, Any]) -> dict[Tensor, Any]:
    """What is fed, by input or parameter of `graph`; ArgumentError for a name that none has."""
    if not isinstance(feeds, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        kind = type(feeds).__name__
        raise ArgumentError(f"feeds are a dict of arrays by tensor or name, got a {kind}")
    by_name = {graph.names[leaf]: leaf for leaf in (*graph.inputs, *graph.parameters)}
    found: dict[Tensor, Any] = {}
    for key, value in feeds.items():
        leaf = key if isinstance(key, Tensor) else by_name.get(key)
        if leaf is None or leaf.node.op.name not in LEAVES:
            known = ", ".join(f"{name}: {tensor.type}" for name, tensor in by_name.items())
            raise ArgumentError(f"{key!r} is no input or parameter here; known: {known or 'none'}")
        found[leaf] = value
    return found


def bind_feeds(
    graph: Graph, feeds: Mapping[Any, Any], what: str, asked: Graph | None = None
) -> tuple[list[NumpyArray], dict[str, int]]:
    """The arrays of inputs and parameters, given by tensor or by name, and the sizes they bind.

    A Parameter that is not fed has its current value.  what: the user's function, for errors.
    asked: the graph as the user knows it, where `graph` was made of that; feeds may name what it
    alone reads.
    """
    try:
        return _bind_feeds(graph, read_feeds(asked or graph, feeds))
    except GradloomError as error:
        raise explain(error, what, (), current_loc()) from None


def _bind_feeds(graph: Graph, fed: Mapping[Tensor, Any]) -> tuple[list[NumpyArray], dict[str, int]]:
    leaves = (*graph.inputs, *graph.parameters)
    names = [graph.names[leaf] for leaf in leaves]
    arrays: list[NumpyArray] = []
    for leaf, name in zip(leaves, names, strict=True):
        if leaf in fed:
            value = fed[leaf]
        elif isinstance(leaf, Parameter):
            value = leaf.value
        else:
            raise ArgumentError(f"no value for {name}: {leaf.type}")
        array = np.asarray(value)
        if not may_become(array.dtype, leaf.dtype):
            raise DTypeError(f"{name} must be {leaf.type}, got {array.dtype}{list(array.shape)}")
        arrays.append(converted(array, leaf.dtype))
    check_dimensions(graph)
    types, shapes = [leaf.type for leaf in leaves], [array.shape for array in arrays]
    return arrays, bind_dims(types, shapes, names, graph.constraints)


def evaluate_graph(
    graph: Graph, feeds: Mapping[Any, Any], what: str = "evaluate"
) -> dict[str, list[NumpyArray]]:
    """Outputs and new parameter values; see `bind_feeds`."""
    asked = graph
    for prepare in before_evaluation:
        graph = prepare(graph)
    arrays, binding = bind_feeds(graph, feeds, what, asked)
    results = run_graph(graph, arrays, binding)
    count = len(graph.outputs)
    return {"outputs": results[:count], "updates": results[count:]}


def evaluate_tensor(tensor: Tensor, feeds: Mapping[Any, Any]) -> NumpyArray:
    """One tensor's value."""
    graph = Graph("eval", (), [tensor])
    leak = leaked(graph.free)
    if leak is not None:
        here = quote(current_loc())
        raise ArgumentError(f"eval: {told_leak(leak, [tensor])}, at {here}")
    graph = Graph("eval", graph.free, [tensor])
    return evaluate_graph(graph, feeds, "eval")["outputs"][0]


def evaluate(graph: Graph, feeds: Mapping[Any, Any]) -> Any:
    """The reference interpreter: outputs of `graph` on `feeds`, arrays by name or by tensor.

    One output gives one array, several a list; updates are computed but written nowhere.
    ArgumentError where an input has no array, or a name is none of the graph's.
    """
    outputs = evaluate_graph(graph, feeds)["outputs"]
    return outputs[0] if len(outputs) == 1 else outputs
