# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (matplotlib)
"""gradient_norms: how large the gradient is from layer to layer, or from step to step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, log10, nan
from typing import Any

import numpy as np

from ..ir.errors import ArgumentError, GradloomError, ShapeError
from ..ir.explain import explain
from ..ir.graph import Graph, rebuild, topological
from ..ir.interpret import read_feeds
from ..ir.loc import current_loc, quote
from ..ir.op import TABLE
from ..ir.ops.build import apply
from ..ir.ops.control import placeholder_like
from ..ir.ops.create import zeros
from ..ir.ops.scan import Scan, make_scan
from ..ir.ops.types import finfo
from ..ir.parameter import Parameter
from ..ir.tensor import Tensor
from .function import function
from .gradient import check_tensor, grad
from .gradient_values import NumpyArray, norm, norms_along
from .table import aligned

LIMIT = 1e3  # the ratio of first and last norm from which on a gradient vanishes or explodes
_BAR = 40  # characters of the longest bar
_MANY = 16  # tensors to each of which no way of its own is worth its compile time
_ROWS = 60  # of a printed list; of longer ones the middle is left out


@dataclass(frozen=True)
class GradientNorms:
    """Norms of a gradient over depth, from what is farthest from the loss to what is nearest.

    labels: of the layers, or the numbers of the steps.  norms: a dict by label for layers, an
    array for steps.  values: the norms in order.  floors: of parameters, the norm that is lost in
    rounding when it is added to the parameter's own; 0 for other tensors.
    """

    labels: Sequence[str]
    values: NumpyArray
    floors: NumpyArray
    by_step: bool = False

    @property
    def norms(self) -> Any:
        """A dict of label to norm, or for steps an array."""
        if self.by_step:
            return self.values
        return {label: float(value) for label, value in zip(self.labels, self.values, strict=True)}

    @property
    def ratio(self) -> float:
        """The first norm over the last; nan where there are none, or 0 over 0."""
        if not len(self.values):
            return nan
        first, last = float(self.values[0]), float(self.values[-1])
        if last == 0.0:
            return nan if first == 0.0 or first != first else inf
        return first / last

    @property
    def verdict(self) -> str:
        """``vanishing``: the ratio is below 1/1000, or every norm is lost in its parameter's
        rounding; ``exploding``: the ratio is above 1000; ``steady``: neither; ``not finite``: there
        is a nan or infinite norm; ``zero``: all are 0; ``empty``: there are none."""
        if not len(self.values):
            return "empty"
        if not np.isfinite(self.values).all():
            return "not finite"
        if not np.any(self.values):
            return "zero"
        if self.ratio < 1 / LIMIT or self._lost:
            return "vanishing"
        return "exploding" if self.ratio > LIMIT else "steady"

    @property
    def _lost(self) -> bool:
        return bool(len(self.values)) and bool(np.all(self.values < self.floors))

    def __str__(self) -> str:
        known = [log10(v) for v in self.values if 0 < v < inf]
        low, high = (min(known), max(known)) if known else (0.0, 0.0)
        low = min(low, high - 1.0)  # norms that hardly differ look alike
        rows: list[list[str]] = []
        for label, value in zip(self.labels, self.values, strict=True):
            height = (log10(value) - low) / (high - low) if 0 < value < inf else 0.0
            rows.append([label, f"{value:.3g}", "▇" * max(round(_BAR * height), int(value > 0))])
        lines = aligned(rows, left=(0, 2)) if rows else []
        if len(lines) > _ROWS:
            half = _ROWS // 2
            lines[half:-half] = [f"… {len(lines) - 2 * half} more"]
        return "\n".join([*lines, self._verdict()])

    def _verdict(self) -> str:
        count = len(self.values)
        if not count:
            return f"empty: there are no {'steps' if self.by_step else 'tensors'}"
        text = f"{self.verdict}: the first norm is {self.ratio:.3g} times the last"
        if count > 1 and isfinite(self.ratio) and self.ratio > 0:
            rate = 10 ** (log10(self.ratio) / (count - 1))
            text += f", {rate:.3g} times a {'step' if self.by_step else 'layer'}"
        if self._lost:
            text += "; each is lost in the rounding of its parameter"
        return f"{text} (vanishing below {1 / LIMIT:g}, exploding above {LIMIT:g})"

    def plot(self, ax: Any = None) -> Any:
        """Draw the norms on a logarithmic axis, into `ax` or a new figure; returns the axes.

        Needs matplotlib (``pip install 'gradloom[plot]'``); ArgumentError without it.
        """
        if ax is None:
            try:
                from matplotlib import pyplot  # pyright: ignore
            except ImportError as error:
                raise ArgumentError(
                    "plot needs matplotlib, which is not installed: pip install 'gradloom[plot]'"
                ) from error
            ax = pyplot.subplots()[1]
        places = list(range(len(self.values)))
        ax.semilogy(places, self.values, marker="" if self.by_step else "o")
        if not self.by_step:
            ax.set_xticks(places, self.labels, rotation=90)
        ax.set_xlabel("step" if self.by_step else "layer, from the input to the loss")
        ax.set_ylabel("norm of the gradient")
        ax.set_title(self.verdict)
        return ax


def gradient_norms(
    loss: Tensor,
    tensors: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
    feeds: Mapping[Any, Any] | None = None,
) -> GradientNorms:
    """The Euclidean norm of ∂loss/∂t for each of `tensors`: does the gradient vanish or explode?

    tensors: a list or dict of parameters, or of any float tensors of the graph (the layers'
    activations), from the input to the loss; or one tensor of shape (T, …), whose axis 0 is time:
    then there is one norm a step.  If that tensor is what a scan gives out at each step (its
    states, say), the derivative at a step is by the value at that step wherever the loop goes on to
    use it: all of the loss's dependence on it, through later steps too.
    feeds: arrays by input, tensor or name; parameters have their current values unless fed too.

    Compiled and run once with `gradloom.function`; norms are exact where squares would overflow
    or underflow.  Returns GradientNorms: ``.norms``, ``.ratio``, ``.verdict``, ``.plot()``, and
    text with a bar a layer.  GradientError where the loss does not depend on a tensor,
    ArgumentError where an input has no array, or a name in `feeds` is none of theirs.
    """
    here = quote(current_loc())
    check_tensor("gradient_norms", loss)
    if isinstance(tensors, Tensor):
        if tensors.ndim == 0:
            raise ShapeError(
                f"gradient_norms: one tensor has its steps along axis 0, got {tensors.type}; for "
                f"one norm give a list, at {here}"
            )
        fed = _fed([loss, tensors], feeds)
        asked = _by_step(loss, tensors)
        found = asked if asked is not None else grad(loss, tensors)
        (array,) = _run([found], fed, here)
        values = norms_along([array])
        labels = [str(step) for step in range(len(values))]
        return GradientNorms(labels, values, np.zeros(len(values)), by_step=True)
    if not isinstance(tensors, Iterable) or isinstance(tensors, (set, frozenset)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(
            f"gradient_norms: needs a tensor, or a list or dict of them, got {tensors!r}, at {here}"
        )
    named = isinstance(tensors, Mapping)
    chosen = [check_tensor("gradient_norms", t) for t in (tensors.values() if named else tensors)]
    labels = [str(key) for key in tensors] if named else _labels(chosen)
    fed = _fed([loss, *chosen], feeds)
    found = grad(*_pinned(loss, chosen)) if len(chosen) > _MANY else grad(loss, chosen)
    arrays = _run(found, fed, here)
    floors = [
        norm([np.asarray(fed.get(t, t.value))]) * finfo(t.dtype).eps
        if isinstance(t, Parameter)
        else 0.0
        for t in chosen
    ]
    return GradientNorms(labels, np.array([norm([a]) for a in arrays]), np.array(floors))


def _fed(tensors: Sequence[Tensor], feeds: Mapping[Any, Any] | None) -> dict[Tensor, Any]:
    """What is fed, by input or parameter that the tensors depend on."""
    graph = Graph("gradient_norms", Graph("gradient_norms", (), tensors).free, tensors)
    try:
        return read_feeds(graph, {} if feeds is None else feeds)
    except GradloomError as error:
        raise explain(error, "gradient_norms", (), current_loc()) from None


def _pinned(loss: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The loss over pins in place of the computed ones of `tensors`, and these pins.

    Otherwise each computed tensor gets a way to the loss of its own (compiler/isolate.py), which
    for many of them is much to compile.  A rule that matches across one of them now finds nothing.
    """
    asked = set(tensors)
    mapping: dict[Tensor, Tensor] = {}
    for node in topological([loss]):
        rebuild([node], mapping)
        if node.op.kind != "leaf":
            for result in asked.intersection(node.results):
                mapping[result] = apply(TABLE["pin"], [mapping.get(result, result)])
    return mapping.get(loss, loss), [mapping.get(tensor, tensor) for tensor in tensors]


def _labels(tensors: Sequence[Tensor]) -> list[str]:
    """Names of parameters and inputs, ops with their line of others; numbered where they recur."""
    labels: list[str] = []
    for i, tensor in enumerate(tensors):
        lines = ", ".join(map(str, tensor.node.loc[:1]))
        label = tensor.node.attrs.get("name") or f"{tensor.node.op.name} {lines}"
        labels.append(label if label not in labels else f"{label} ({i})")
    return labels


def _run(found: Sequence[Tensor], fed: Mapping[Tensor, Any], here: str) -> list[NumpyArray]:
    """The arrays of the gradients, compiled; a parameter that is fed is an input as well."""
    values = dict(fed)
    given: dict[Tensor, Tensor] = {}
    for leaf in fed:
        if isinstance(leaf, Parameter):
            given[leaf] = placeholder_like(leaf.type, leaf.name)
            values[given[leaf]] = fed[leaf]
    rebuild(topological(found), given)
    found = [given.get(tensor, tensor) for tensor in found]
    inputs = list(Graph("norms", (), found).free)
    for leaf in inputs:
        if leaf not in values:
            name = leaf.node.attrs["name"]
            raise ArgumentError(f"gradient_norms: no array for {name}: {leaf.type}, at {here}")
    arrays = [values[leaf] for leaf in inputs]
    return function(inputs, found, name="gradient_norms")(*arrays)


# --- the steps of a loop ----------------------------------------------------------------------


def _by_step(loss: Tensor, states: Tensor) -> Tensor | None:
    """∂loss/∂(what a scan gives out at each step), within the loop too; None for other tensors.

    To the value of each step a zero is added, which comes from outside as one more sequence; the
    gradient by these zeros is that by the values.
    """
    node, place = states.node, states.index
    if node.op.name != "scan" or not states.dtype.is_float:
        return None
    scan = Scan(node)
    body, carries, sequences = scan.body, len(scan.carries), len(scan.sequences)
    if not carries <= place < len(body.outputs):  # a last carry, or those that entered each step
        return None
    value = body.outputs[place]
    arguments = [placeholder_like(t.type, f"given{i}") for i, t in enumerate(body.inputs)]
    shift = placeholder_like(value.type, "shift")
    mapping: dict[Tensor, Tensor] = dict(zip(body.inputs, arguments, strict=True))
    if value in mapping:
        mapping[value] = mapping[value] + shift
    for inner in body.nodes:
        rebuild([inner], mapping)
        if inner is value.node:
            mapping[value] = mapping.get(value, value) + shift
    first = carries + sequences
    shifted = Graph(
        body.name,
        [*arguments[:first], shift, *arguments[first:]],
        [mapping.get(output, output) for output in body.outputs],
    )
    shifts = zeros((scan.length, *value.shape), value.dtype)
    made = make_scan(
        shifted,
        scan.carries,
        [*scan.sequences, shifts],
        scan.constants,
        scan.length,
        scan.reverse,
        scan.proceed,
        scan.limit,
    )
    after = dict(zip(node.results, made.node.results, strict=True))
    rebuild([other for other in topological([loss]) if other is not node], after)
    return None if loss not in after else grad(after[loss], shifts)
