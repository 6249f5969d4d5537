# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""The op of a function whose derivative is given beside it: a region for each.

    %1 = custom %x given %k {rules=("vjp",)} (graph @f ...) (graph @f_vjp ...) : f32[3]

Arguments come first; behind ``given`` stands what the regions read from outside.  The regions:

    function(arguments, given)                               -> results
    vjp(cotangents of float results, results, arguments, given) -> cotangents of float arguments
    jvp(tangents of float arguments, results, arguments, given) -> tangents of float results

Both rules are linear in what they take first, and each is the other's transpose: where one is
missing, it is the gradient of the other by that.  A rule that stands alone and is not seen to be
linear serves its own mode only: the attribute ``one_way`` says which op is to blame.

What a rule gives is ordinary graph, so derivatives of it are taken as of any other; the results
that it reads are those of the node, so that a second derivative meets the rule again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, GradientError, ShapeError
from ..graph import Graph, inline
from ..linearity import why_not_linear
from ..loc import quote
from ..op import MaybeTensors, Op, register
from ..tensor import Node, Tensor, TensorType
from .conversion import pin
from .create import zeros
from .reduction import sum
from .request import gradient

__all__: list[str] = []


def make_custom(
    function: Graph,
    rules: dict[str, Graph],
    arguments: Sequence[Tensor],
    given: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """The results of `function`, whose derivatives are the `rules`, "vjp" or "jvp" or both."""
    groups = (len(arguments), len(given))
    regions = (function, *rules.values())
    attrs: dict[str, Any] = {"rules": tuple(rules)}
    if len(rules) == 1:
        directions = function.outputs if "vjp" in rules else arguments
        blame = why_not_linear(regions[1], len(_floats(directions)), given)
        attrs |= {"one_way": blame} if blame else {}
    return Node(CUSTOM, [*arguments, *given], attrs, groups, regions).results


def modes_of(node: Node) -> tuple[str, ...]:
    """The modes, "reverse" and "forward", in which there is a derivative of a custom node."""
    both = ("reverse", "forward")
    if "one_way" not in node.attrs:
        return both
    return both[:1] if node.attrs["rules"] == ("vjp",) else both[1:]


def _floats(tensors: Sequence[Tensor]) -> list[int]:
    """Positions of the tensors that there are derivatives of and by."""
    return [i for i, tensor in enumerate(tensors) if tensor.dtype.is_float]


def _types(tensors: Sequence[Tensor], positions: Sequence[int]) -> list[TensorType]:
    return [tensors[i].type for i in positions]


def _infer_custom(node: Node) -> tuple[TensorType, ...]:
    rules = node.attrs["rules"]
    if len(node.regions) != 1 + len(rules) or rules not in (("vjp",), ("jvp",), ("vjp", "jvp")):
        raise ArgumentError(f"needs a function, a vjp or a jvp or both, got {rules}")
    function, arguments = node.regions[0], node.group(0)
    operands = [tensor.type for tensor in node.operands]
    results = [tensor.type for tensor in function.outputs]
    by_arguments = _types(arguments, _floats(arguments))
    of_results = _types(function.outputs, _floats(function.outputs))
    if not isinstance(node.attrs.get("one_way", ""), str):
        raise ArgumentError("one_way is a text")
    _check("function", function, operands, results)
    for name, region in zip(rules, node.regions[1:], strict=True):
        taken, made = (of_results, by_arguments) if name == "vjp" else (by_arguments, of_results)
        _check(name, region, [*taken, *results, *operands], made)
    return tuple(results)


def _check(
    name: str, region: Graph, inputs: Sequence[TensorType], outputs: Sequence[TensorType]
) -> None:
    if region.free or region.parameters:
        raise ArgumentError(f"the {name} must be closed over its inputs")
    for what, tensors, wanted in (
        ("takes", region.inputs, inputs),
        ("gives", region.outputs, outputs),
    ):
        found = [tensor.type for tensor in tensors]
        if found != [*wanted]:
            given, needed = (", ".join(map(str, types)) for types in (found, wanted))
            raise ShapeError(f"the {name} {what} {given} where {needed} is needed")


def _rule(node: Node, name: str) -> Graph | None:
    rules: tuple[str, ...] = node.attrs["rules"]
    return node.regions[1 + rules.index(name)] if name in rules else None


def _or_zeros(given: MaybeTensors, like: Sequence[Tensor]) -> list[Tensor]:
    """What is given for the floats among `like`, zeros where nothing is."""
    pairs = zip(given, like, strict=True)
    return [
        zeros(tensor.shape, tensor.dtype) if value is None else value
        for value, tensor in pairs
        if tensor.dtype.is_float
    ]


def _transposed(
    node: Node, given: Sequence[Tensor], like: Sequence[Tensor], rest: Sequence[Tensor]
) -> Sequence[Tensor]:
    """The transpose of the one, linear rule at `given`: its gradient by what it is linear in.

    That does not depend on where it is taken; it is at zeros, pinned to be a variable.
    GradientError for a rule that is not seen to be linear.
    """
    rule = node.regions[1]
    blame: str = node.attrs.get("one_way", "")
    if blame:
        (mode,) = modes_of(node)
        has, lacks = ("vjp", "jvp") if mode == "reverse" else ("jvp", "vjp")
        other = "forward" if mode == "reverse" else "reverse"
        direction = "cotangent" if has == "vjp" else "tangent"
        tap = ", or use gl.tap, if only the gradient is to change" if has == "vjp" else ""
        raise GradientError(
            f"{other} mode meets the {has} of {node.regions[0].name}, which is not seen to be "
            f"linear in its {direction} and so has no transpose: {blame}; "
            f"write a {lacks} as well{tap}; called at {quote(node.loc)}"
        )
    points = [pin(zeros(t.shape, t.dtype)) for t in like if t.dtype.is_float]
    return gradient(inline(rule, [*points, *rest]), points, given)


def _placed(values: Sequence[Tensor], tensors: Sequence[Tensor]) -> list[Tensor | None]:
    """The values where the floats stand among `tensors`, None at the others."""
    rest = iter(values)
    return [next(rest) if tensor.dtype.is_float else None for tensor in tensors]


def _vjp_custom(node: Node, cotangents: MaybeTensors) -> MaybeTensors:
    arguments, rest = node.group(0), [*node.results, *node.operands]
    given, rule = _or_zeros(cotangents, node.results), _rule(node, "vjp")
    if rule is not None:
        found: Sequence[Tensor] = inline(rule, [*given, *rest])
    else:
        found = _transposed(node, given, arguments, rest)
    return [*_placed(found, arguments), *[None] * node.groups[1]]


def _jvp_custom(node: Node, tangents: MaybeTensors) -> MaybeTensors:
    arguments, rest = node.group(0), [*node.results, *node.operands]
    moving = tangents[: len(arguments)]
    if all(tangent is None for tangent in moving):  # only what the rules read moves
        return [None] * len(node.results)
    given, rule = _or_zeros(moving, arguments), _rule(node, "jvp")
    if rule is not None:
        found: Sequence[Tensor] = inline(rule, [*given, *rest])
    else:
        found = _transposed(node, given, node.results, rest)
    return _placed(found, node.results)


def _batch_custom(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    """Batch every region.  What all entries share has one cotangent, the sum of theirs."""
    from ..batching import batch_graph

    size = next(t.shape[0] for t, flag in zip(operands, batched, strict=True) if flag)
    count = node.groups[0]
    shared = [not batched[i] for i in _floats(node.group(0))]
    results = [True] * len(node.results)
    of_results = [True] * len(_floats(node.results))
    rules: dict[str, Graph] = {}
    for name, region in zip(node.attrs["rules"], node.regions[1:], strict=True):
        taken = of_results if name == "vjp" else [not flag for flag in shared]
        wide = batch_graph(region, [*taken, *results, *batched], size)
        if name == "vjp":
            pairs = zip(wide.outputs, shared, strict=True)
            outputs = [sum(value, 0) if is_shared else value for value, is_shared in pairs]
            wide = Graph(wide.name, wide.inputs, outputs)
        rules[name] = wide
    function = batch_graph(node.regions[0], batched, size)
    return [*make_custom(function, rules, operands[:count], operands[count:])]


CUSTOM = register(
    Op(
        name="custom",
        kind="region",
        infer=_infer_custom,
        reference=lambda *arrays, rules, regions, groups: regions[0](*arrays),
        doc="A function with derivatives of its own: see gradloom.custom_derivative.",
        groups=("", "given"),
        attributes=("rules",),
        optional=("one_way",),
        vjp=_vjp_custom,
        jvp=_jvp_custom,
        batch=_batch_custom,
    )
)
