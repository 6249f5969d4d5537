"""Derivatives of a function compared with central differences, in both modes and several orders."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ..ir.dtypes import as_dtype, float64
from ..ir.errors import ArgumentError, GradientError
from ..ir.graph import Graph
from ..ir.interpret import evaluate_graph
from ..ir.loc import current_loc, quote
from ..ir.ops import astype
from ..ir.ops import sum as total
from ..ir.ops.build import as_array
from ..ir.ops.control import flatten, placeholder_like
from ..ir.ops.request import gradient, pushforward
from ..ir.tensor import Tensor, TensorType
from .function import function as compiled_function

Array = np.ndarray[Any, Any]
_MODES = ("reverse", "forward")
# Of five values at distance h, f'(x) = Σ weight · f(x + offset · h) / h up to h⁴ (Abramowitz and
# Stegun 25.3.6).
_STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))
_ENTRIES = 256  # that are tried one by one where a derivative is wrong
_ROUNDINGS = 64  # of the function's value, that a difference may be off by


@dataclass(frozen=True)
class GradientCheck:
    """What `verify_grad` found: the largest error of each order, relative to the difference.

    errors: by the modes of an order, outermost first (``("forward", "reverse")`` is forward over
    reverse).  comparisons: how many numbers were compared.
    """

    errors: dict[tuple[str, ...], float]
    comparisons: int

    def __str__(self) -> str:
        lines = [f"{self.comparisons} comparisons; the largest relative errors:"]
        lines += [f"  {_named(modes)}: {error:.1e}" for modes, error in self.errors.items()]
        return "\n".join(lines)


def verify_grad(
    function: Callable[..., Any],
    inputs: Any,
    order: int = 2,
    *,
    seed: int = 0,
    directions: int = 2,
    step: float = 1e-4,
    rtol: float = 1e-6,
    compiled: bool = True,
) -> GradientCheck:
    """Check that the derivatives of `function` are what central differences say.

    function: from tensors to a tensor, or a tuple, list or dict of such.  inputs: its arguments,
    a tuple or list of arrays or of structures of arrays; anything else is the one argument.
    Floats become float64 and are moved; integers and bools are held fixed.

    With random weights u of the results, s(x) = Σ u · function(x).  Each input in turn is moved
    along random directions v: order 1 compares ∂s/∂x · v in reverse and in forward mode with

        (s(x − 2hv) − 8 s(x − hv) + 8 s(x + hv) − s(x + 2hv)) / 12h

    and each further order the derivative of that along a direction of all inputs, in every
    combination of modes, with differences of the order before.  So a rule that is wrong, in one
    mode or at one order, is named.  v has the size of the input, and h is `step`.  A kink closer
    than 2h|v| is seen as a wrong derivative: keep inputs away from those.  The values are those
    of compiled code, unless `compiled` is False.

    Raises GradientError with the modes, the order, the input, both numbers and the first entry
    that shows it where one differs by more than `rtol`, relatively (with room for the rounding of
    the differences), or is no number; ArgumentError where there is nothing to differentiate.
    """
    where = quote(current_loc())
    if not callable(function) or isinstance(function, Tensor):
        raise ArgumentError(
            f"verify_grad: needs a function and its inputs, as in gl.verify_grad(f, (x,)); got "
            f"{function!r}, at {where}"
        )
    if order < 1 or directions < 1:
        raise ArgumentError(f"verify_grad: order and directions are at least 1, at {where}")
    several = isinstance(inputs, (tuple, list))
    arguments: list[Any] = [*inputs] if several else [inputs]
    names: list[str] = []
    placeholders: list[Tensor] = []
    arrays: list[Array] = []

    def leaf(value: Any) -> Tensor:
        if isinstance(value, Tensor):
            raise ArgumentError(
                f"verify_grad: inputs are arrays, where the derivatives are checked; got the "
                f"tensor {value.type}, at {where}"
            )
        array = as_array(value)
        if as_dtype(array.dtype).is_float:
            array = np.asarray(value, np.float64)
        type_ = TensorType(as_dtype(array.dtype), array.shape)
        names.append(f"x{len(names)}")
        placeholders.append(placeholder_like(type_, names[-1]))
        arrays.append(array)
        return placeholders[-1]

    _, build = flatten(arguments, leaf)
    paths = [path for i, tree in enumerate(arguments) for path in _paths(tree, f"inputs[{i}]")]
    outputs, _ = flatten(function(*build(placeholders)))
    problem = _Problem(placeholders, outputs, order, compiled)
    if not problem.moved or not problem.weights:
        what = "result" if problem.moved else "input"
        raise ArgumentError(f"verify_grad: no {what} is a float, at {where}")
    rng = np.random.default_rng(seed)
    errors: dict[tuple[str, ...], float] = {}
    comparisons = 0
    for alone, number in product(problem.moved, range(directions)):
        weights = [rng.normal(size=tuple(map(int, t.shape))) for t in problem.weights]
        along = [_directions(rng, [arrays[i] for i in problem.moved]) for _ in range(order)]
        for i, v in zip(problem.moved, along[0], strict=True):
            v *= i == alone
        at = _Point(problem, arrays, along, weights)
        here = at.values(0, 0.0)
        for depth in range(1, order + 1):
            wanted, allowed = at.difference(depth, step)
            for modes in product(_MODES, repeat=depth):
                found = here[modes]
                error = abs(found - wanted)
                if not error <= rtol * max(abs(wanted), abs(found)) + allowed:
                    finite = math.isfinite(here[()])  # else every entry is off
                    blamed = at.entry_that_is_off(modes, step, rtol) if finite else None
                    named = "" if blamed is None else f" at {paths[blamed[0]]}{blamed[1]}"
                    named = named if finite else ", which the function itself gives"
                    raise GradientError(
                        f"verify_grad: the derivative of order {depth} ({_named(modes)}) by "
                        f"{paths[alone]} along direction {number} is {found!r}, but differences "
                        f"give {wanted!r}: off by {error:.3g}, allowed is {rtol:g} relatively and "
                        f"{allowed:.1g} for rounding; is the rule wrong, or is there a kink within "
                        f"2h = {2 * step:g} |v|, or a nan{named}?  Asked at {where}"
                    )
                relative = error / max(abs(wanted), allowed / rtol, 1e-300)
                errors[modes] = max(errors.get(modes, 0.0), relative)
                comparisons += 1
    return GradientCheck(errors, comparisons)


class _Problem:
    """The graph of s and its derivatives in all modes, as functions of x, directions and weights.

    moved: positions of the float inputs.
    """

    def __init__(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], order: int, compiled: bool
    ) -> None:
        self.moved = [i for i, tensor in enumerate(inputs) if tensor.dtype.is_float]
        xs = [inputs[i] for i in self.moved]
        floats = [output for output in outputs if output.dtype.is_float]
        self.weights = [
            placeholder_like(TensorType(float64, t.shape), f"u{i}") for i, t in enumerate(floats)
        ]
        self.directions = [
            [placeholder_like(x.type, f"v{k}_{i}") for i, x in enumerate(xs)] for k in range(order)
        ]
        self.modes: list[tuple[str, ...]] = [()]
        values: list[Tensor] = []
        if xs and floats:
            weighed = zip(floats, self.weights, strict=True)
            values.append(_total([astype(y, float64) * u for y, u in weighed]))
        below = list(values)
        for vs in self.directions if values else ():
            below = [_derivative(mode, s, xs, vs) for mode in _MODES for s in below]
            values += below
            last = [modes for modes in self.modes if len(modes) == len(self.modes[-1])]
            self.modes += [(mode, *modes) for mode in _MODES for modes in last]
        leaves = [*inputs, *(v for vs in self.directions for v in vs), *self.weights]
        self.graph = Graph("verify_grad", leaves, values)
        self.call: Any = compiled_function(leaves, values) if compiled and values else None

    def run(self, arrays: Sequence[Array]) -> dict[tuple[str, ...], float]:
        """The value of s, by (), and of each derivative, by its modes."""
        if self.call is not None:
            found = self.call(*arrays)
        else:
            names = [self.graph.names[leaf] for leaf in self.graph.inputs]
            found = evaluate_graph(self.graph, dict(zip(names, arrays, strict=True)))["outputs"]
        return dict(zip(self.modes, map(float, found), strict=True))


@dataclass
class _Point:
    """Where derivatives are compared: inputs, a direction of each order, and weights."""

    problem: _Problem
    inputs: Sequence[Array]
    along: Sequence[Sequence[Array]]
    weights: Sequence[Array]

    def values(self, depth: int, distance: float) -> dict[tuple[str, ...], float]:
        """All values at inputs moved so far along the direction of order `depth` + 1."""
        moved = list(self.inputs)
        for i, v in zip(self.problem.moved, self.along[depth], strict=True):
            moved[i] = moved[i] + distance * v
        return self.problem.run([*moved, *(v for vs in self.along for v in vs), *self.weights])

    def difference(self, depth: int, step: float) -> tuple[float, float]:
        """The derivative of order `depth` from values of the order before, and its rounding.

        Where a function saturates, its derivatives are small but made of what is not: so the values
        of all orders before count.
        """
        orders = [("reverse",) * below for below in range(depth)]
        values = [self.values(depth - 1, offset * step) for offset, _ in _STENCIL]
        terms = [
            weight / step * found[orders[-1]]
            for found, (_, weight) in zip(values, _STENCIL, strict=True)
        ]
        largest = max(abs(found[modes]) for found in values for modes in orders)
        return math.fsum(terms), _ROUNDINGS * 2.0**-52 * largest / step

    def entry_that_is_off(
        self, modes: tuple[str, ...], step: float, rtol: float
    ) -> tuple[int, list[int]] | None:
        """The first entry of an input that is off when the last direction is along it alone.

        Gives the input's position and the index; None where there is none, or too many to try.
        """
        last = len(modes) - 1
        moved = [(i, v) for i, v in zip(self.problem.moved, self.along[last], strict=True)]
        places = [(i, place) for i, v in moved for place in zip(*np.nonzero(v), strict=True)]
        for i, place in places if len(places) <= _ENTRIES else ():
            along = [np.zeros_like(v) for _, v in moved]
            own = along[self.problem.moved.index(i)]
            own[place] = float(np.max(np.abs(self.inputs[i]), initial=0.0)) or 1.0
            directions = [*self.along[:last], along, *self.along[last + 1 :]]
            point = _Point(self.problem, self.inputs, directions, self.weights)
            found = point.values(0, 0.0)[modes]
            wanted, allowed = point.difference(len(modes), step)
            if not abs(found - wanted) <= rtol * max(abs(wanted), abs(found)) + allowed:
                return i, [int(index) for index in place]
        return None


def _derivative(mode: str, s: Tensor, xs: Sequence[Tensor], vs: Sequence[Tensor]) -> Tensor:
    """∂s/∂x · v."""
    if mode == "forward":
        return pushforward([s], xs, vs)[0]
    return _total([g * v for g, v in zip(gradient([s], xs), vs, strict=True)])


def _total(tensors: Sequence[Tensor]) -> Tensor:
    first, *rest = [total(tensor) for tensor in tensors]
    for tensor in rest:
        first = first + tensor
    return first


def _directions(rng: np.random.Generator, arrays: Sequence[Array]) -> list[Array]:
    """A random direction for each array, of its size."""
    sizes = [float(np.max(np.abs(array), initial=0.0)) or 1.0 for array in arrays]
    pairs = zip(arrays, sizes, strict=True)
    return [rng.normal(size=array.shape) * np.float64(size) for array, size in pairs]


def _named(modes: tuple[str, ...]) -> str:
    return " over ".join(modes)


def _paths(tree: Any, path: str) -> list[str]:
    """Where each leaf of a structure stands."""
    if tree is None:
        return []
    if not isinstance(tree, (dict, tuple, list)):
        return [path]
    whole: Any = tree  # pyright: ignore[reportUnknownVariableType]
    items: Any = whole.items() if isinstance(whole, dict) else enumerate(whole)  # pyright: ignore
    return [found for key, value in items for found in _paths(value, f"{path}[{key!r}]")]
