"""The loops that users write: functions traced once, for the bodies of ``scan`` and ``while_loop``.

A loop steps over a structure of tensors, the carry: nested tuples, lists and dicts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..bodies import Body
from ..dims import Dim, DimLike, as_dim
from ..dtypes import bool_, int64
from ..errors import ArgumentError, DTypeError, ShapeError
from ..loc import quote
from ..shapes import unify
from ..tensor import Tensor, TensorLike, TensorType
from .assertion import check
from .build import as_tensor, as_tensors, dimension, is_weak
from .control import choose, close_all, flatten, placeholder_like
from .conversion import astype
from .create import arange, zeros
from .logic import logical_not
from .reduction import max as max_
from .scan import make_scan
from .segments import segmented, sizes_of
from .slicing import flip
from .structure import described, leaves_like, paths_of
from .while_loop import make_while

__all__ = ["scan", "while_loop"]

_OUT = "return it as y, or carry it"  # how what a body makes gets out


class _Carry:
    """The carry of a loop: its first value, and inputs of regions in its place."""

    def __init__(self, init: Any) -> None:
        self.first, self.build = flatten(init)
        self.paths = paths_of("the carry", init)
        self.given: list[Any] = flatten(init, lambda leaf: leaf)[0]

    def inputs(self) -> list[Tensor]:
        return [placeholder_like(t.type, f"carry{i}") for i, t in enumerate(self.first)]

    def notes(self, inputs: Sequence[Tensor]) -> dict[Tensor, str]:
        """What to say of inputs that were given as numbers, where their dtypes do not fit."""
        return {
            tensor: note
            for tensor, given in zip(inputs, self.given, strict=True)
            if (note := _hint(given, tensor))
        }

    def read(self, given: Any) -> list[Tensor]:
        """What a body gives for the next step, in the order of the carry; errors name its part."""
        like = self.build(self.first)  # built anew: the body may have changed the one it was given
        leaves = leaves_like(given, like, "the carry", "the body")
        found: list[Tensor] = []
        for i, (leaf, path) in enumerate(zip(leaves, self.paths, strict=True)):
            wanted = self.first[i]
            value = as_tensors([leaf, wanted])[0] if is_weak(leaf) else as_tensor(leaf)
            if value.type != wanted.type:
                kind = ShapeError if value.dtype == wanted.dtype else DTypeError
                hint = _hint(self.given[i], wanted) if kind is DTypeError else ""
                raise kind(
                    f"{path} enters the body as {wanted.type} but leaves it as {value.type}, made "
                    f"at {quote(value.node.loc)}{hint and f'; {hint}'}"
                )
            found.append(value)
        return found


def _hint(given: Any, first: Tensor) -> str:
    """What dtype the first value of a carry has, where that was given as a number."""
    if isinstance(given, (bool, Dim)) or not isinstance(given, (int, float, np.generic)):
        return ""
    told = f"the initial {given!r} is an {first.dtype}"
    if isinstance(given, np.generic) or first.dtype.is_float:
        return f"{told}: give it another dtype, as by gl.constant(value, dtype)"
    return f"{told}: write {float(given)} for a float"


def call_function(function: Any, what: str, names: Sequence[str], arguments: Sequence[Any]) -> Any:
    """What the user's function gives; ArgumentError where it cannot be called so."""
    if not callable(function) or isinstance(function, Tensor):
        raise ArgumentError(f"{what} is a function, got {function!r}")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        told = f"{what} is called with ({', '.join(names)}): {error}"
        if names[:1] == ["carry"] and isinstance(arguments[0], (tuple, list)):
            told += f"; the carry is one argument, {described(arguments[0])}"
        raise ArgumentError(told) from None
    except ValueError:  # it tells no signature
        pass
    return function(*arguments)


def _condition(function: Any, what: str, carry: Any, inputs: Sequence[Tensor] = ()) -> Tensor:
    """The bool that a function of the carry gives, of which `inputs` are there for it alone."""
    with Body(f"the {what} of the loop", inputs):
        value = call_function(function, what, ["carry"], [carry])
    if not isinstance(value, Tensor):
        raise ArgumentError(f"{what} gives a bool tensor made of the carry, got {value!r}")
    if value.dtype != bool_ or value.ndim:
        kind = ShapeError if value.dtype == bool_ else DTypeError
        hint = "; take all or any of it" if value.dtype == bool_ else ""
        raise kind(
            f"{what} gives one bool, got {value.type}, made at {quote(value.node.loc)}{hint}"
        )
    return value


def _steps(length: DimLike | str, what: str) -> DimLike:
    if isinstance(length, Tensor):
        raise ArgumentError(
            f"{what} is a number or a named size, got a tensor {length.type}; for a number of "
            "steps that is computed give the most as length, and end by until=, or lengths= for "
            "each sample; or use gl.while_loop(...), which may count"
        )
    if isinstance(length, int) and length < 0:
        raise ArgumentError(f"{what} is not negative, got {length}")
    return as_dim(length)


def _length(xs: Any, sequences: Sequence[Tensor], length: DimLike | str | None) -> DimLike:
    """How many steps there are; ShapeError where sequences disagree."""
    paths = paths_of("xs", xs)
    for path, sequence in zip(paths, sequences, strict=True):
        if sequence.ndim == 0:
            raise ShapeError(f"goes over a leading axis, but {path} is {sequence.type}")
    if length is None:
        if not sequences:
            raise ArgumentError("needs xs or a length")
        told, steps = f"{paths[0]} is {sequences[0].type}", sequences[0].shape[0]
    else:
        steps = _steps(length, "length")
        told = f"length is {steps}"
    for path, sequence in zip(paths, sequences, strict=True):
        try:
            unify(sequence.shape[0], steps)
        except ShapeError:
            raise ShapeError(
                f"sequences of different lengths: {told} but {path} is {sequence.type}"
            ) from None
    return steps


class _Samples:
    """Samples of which each takes the steps t < lengths[b]: ends, and who is active in a step.

    number: the input of the body that is the number of the step, an entry of one more sequence.
    """

    def __init__(self, lengths: TensorLike, steps: DimLike) -> None:
        given = as_tensor(lengths)
        if not given.dtype.is_integer:
            raise DTypeError(f"lengths are integers, got {given.type}")
        if given.ndim != 1:
            raise ShapeError(f"lengths are one number a sample, int64[B], got {given.type}")
        ends = astype(given, int64)
        told = f"a length is not between 0 and the {steps} steps of the scan"
        self.ends = check(ends, (ends >= 0) & (ends <= dimension(steps)), told)
        self.number = placeholder_like(TensorType(int64, ()), "number")
        self.active = self.number < self.ends

    def require(self, tensors: Sequence[Tensor], paths: Sequence[str]) -> None:
        """ShapeError where a tensor does not begin with the axis of the samples."""
        (batch,) = self.ends.shape
        for tensor, path in zip(tensors, paths, strict=True):
            try:
                unify((*tensor.shape, 0)[0], batch)
                fits = tensor.ndim > 0
            except ShapeError:
                fits = False
            if not fits:
                raise ShapeError(
                    f"with lengths of {batch} samples, {path} has their axis in front, got "
                    f"{tensor.type}, made at {quote(tensor.node.loc)}"
                )

    def or_zero(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors where samples are active, else 0."""
        return [choose(self.active, t, zeros((), t.dtype)) for t in tensors]

    def carried(self, new: Sequence[Tensor], old: Sequence[Tensor]) -> list[Tensor]:
        """New carries where samples are active, else the old ones."""
        return [choose(self.active, a, b) for a, b in zip(new, old, strict=True)]


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: DimLike | str | None = None,
    reverse: bool = False,
    until: Callable[[Any], Tensor] | None = None,
    lengths: TensorLike | None = None,
    checkpoint: int | str | None = None,
) -> tuple[Any, Any]:
    """Loop over the leading axis: ``carry, y = body(carry, x)`` for each x of `xs`.

    init, xs: a tensor, or a tuple, list or dict of such, nested as you like; xs may be None, then
    `length` counts the steps.  Returns the last carry and the ys stacked along a new leading
    axis, in the structures that the body gives (y may be None).  reverse: from the last entry to
    the first; each y stands where its x does.  Runs as a native loop; what the body reads from
    outside is found by itself.

    until: a function of the carry that gives one bool.  It is asked before each step, and no step
    is taken once it holds (Theano's scan asks after a step; JAX's while_loop asks whether to go
    on).  ys of steps that are not taken are 0.  To know how many were taken, count in the carry.

    lengths: an integer for each of B samples.  Each part of the carry and each y have the axis of
    the samples in front, entries of xs too.  Sample b takes the steps t < lengths[b] alone, in
    reverse as well: elsewhere its carry stays and its ys are 0.  Padding, which the body gets
    as 0, may be anything, nan included.  No step is run that no sample takes.

    checkpoint: what the gradient keeps of the carries that enter the T steps.  None: all of them.
    A number S: those that enter each S-th step, the others being computed again, S at a time; so
    T / S + S.  "sqrt": S = √T.  "log": segments of segments, about 4 · log₄ T, for log₄ T times the
    steps; both need a length that is a number.  The values are the same.  Not with `until`.

    Raises ArgumentError, ShapeError or DTypeError, with the line in the body, where the carry
    changes its structure, shape or dtype, where the body gives no pair, `until` no single bool,
    sequences differ in length, or a tensor lacks the samples' axis.  At the call a length that is
    negative or larger than the number of steps raises CheckError.
    """
    carry = _Carry(init)
    sequences, x_tree = flatten(xs)
    steps = _length(xs, sequences, length)
    own = carry.inputs()
    elements = [TensorType(t.dtype, t.shape[1:]) for t in sequences]
    entries = [placeholder_like(type_, f"x{i}") for i, type_ in enumerate(elements)]
    samples = None if lengths is None else _Samples(lengths, steps)
    given = entries
    if samples is not None:
        samples.require(carry.first, carry.paths)
        samples.require(entries, paths_of("an entry of xs", xs))
        given = samples.or_zero(entries)
        entries, sequences = [*entries, samples.number], [*sequences, arange(steps)]

    arguments = [carry.build(own), x_tree(given)]
    with Body("the body of the loop", [*own, *entries], _OUT, carry.notes(own)):
        result: Any = call_function(body, "the body", ["carry", "x"], arguments)
    if not isinstance(result, tuple) or len(result) != 2:  # pyright: ignore[reportUnknownArgumentType]
        raise ArgumentError(
            f"the body returns a pair (carry, y), got {described(result)}; without a y it ends "
            "with `return carry, None`"
        )
    try:
        new = carry.read(result[0])
    except ArgumentError as error:
        if described(result) != described(carry.build(own)):
            raise
        raise ArgumentError(
            f"{error}; the body returns what looks like the carry alone: `return carry, y`, or "
            "`return carry, None`"
        ) from None
    ys, y_tree = flatten(result[1])
    if samples is not None:
        samples.require(ys, paths_of("y", result[1]))
        new, ys = samples.carried(new, own), samples.or_zero(ys)
    regions = [("body", [*own, *entries], [*new, *ys])]
    if until is not None:
        asked = carry.inputs()
        holds = _condition(until, "until", carry.build(asked), asked)
        regions.append(("until", asked, [logical_not(holds)]))
    closed, captured = close_all(regions)
    sizes = sizes_of(steps, checkpoint)
    if sizes:
        if until is not None:
            raise ArgumentError(
                "checkpoint needs a fixed number of steps, so it does not take until"
            )
        parts = (closed[0], carry.first, sequences, captured, steps, reverse)
        finals, stacked = segmented(*parts, sizes)
        return carry.build(finals), y_tree(stacked)
    turned = reverse and until is not None  # the op with a condition goes forwards
    if turned:
        sequences = [flip(sequence, 0) for sequence in sequences]
    made = make_scan(
        closed[0],
        carry.first,
        sequences,
        captured,
        steps,
        reverse and not turned,
        closed[1] if until is not None else None,
        None if samples is None or turned else max_(samples.ends),
    )
    stacked = [flip(y, 0) for y in made.stacked] if turned else made.stacked
    return carry.build(made.finals), y_tree(stacked)


def while_loop(
    cond: Callable[[Any], Tensor],
    body: Callable[[Any], Any],
    init: Any,
    bound: DimLike | str | None = None,
) -> Any:
    """Loop while ``cond(carry)`` holds: ``carry = body(carry)``.  Returns the last carry.

    init: a tensor, or a tuple, list or dict of such, nested as you like; the body gives the same
    structure of the same types.  cond: gives one bool; asked before each step, so that there may be
    none.  What they read from outside is found by themselves.

    bound: the largest number of steps that the loop may take.  With it there is a derivative
    backwards, for which the carries of `bound` steps are kept; a loop that does not end by itself
    within it makes the call fail with CheckError.  Without it the derivative exists forwards
    (gl.jvp), `grad` raises GradientError, and a loop that never ends is never done.

    Raises ArgumentError, ShapeError or DTypeError, with the line in the body, where the carry
    changes its structure, shape or dtype, or `cond` gives no single bool.
    """
    carry = _Carry(init)
    own, asked = carry.inputs(), carry.inputs()
    with Body("the body of the loop", own, "carry it", carry.notes(own)):
        result = call_function(body, "the body", ["carry"], [carry.build(own)])
    new = carry.read(result)
    goes_on = _condition(cond, "cond", carry.build(asked), asked)
    regions = [("body", own, new), ("cond", asked, [goes_on])]
    (closed, proceed), captured = close_all(regions)
    if bound is None:
        made = make_while(proceed, closed, carry.first, captured)
        return carry.build(made.finals)
    most = _steps(bound, "bound")
    finals = make_scan(closed, carry.first, [], captured, most, False, proceed).finals
    ended = logical_not(_condition(cond, "cond", carry.build(finals)))
    told = f"the while_loop has not ended after {most} steps, its bound"
    values = [
        check(t, ended, f"{told}; {p} then") for t, p in zip(finals, carry.paths, strict=True)
    ]
    return carry.build(values)
