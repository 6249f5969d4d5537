"""map and associative_scan: loops whose steps do not wait for each other, or hardly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..batching import batch_results
from ..bodies import Body
from ..dims import DimLike
from ..dtypes import bool_
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import inline
from ..loc import quote
from ..shapes import normalise_axis, unify
from ..tensor import Tensor, TensorType
from .build import as_tensor, as_tensors, constant, is_weak
from .control import choose, close, flatten, placeholder_like
from .create import zeros
from .join import concat, stack
from .loops import call_function, scan
from .scan import make_scan
from .shape import moveaxis, reshape
from .slicing import flip
from .structure import leaves_like, paths_of

__all__ = ["associative_scan", "map"]


def map(function: Callable[[Any], Any], xs: Any) -> Any:
    """The results of `function` for each entry of `xs` along its leading axis, stacked.

    xs: a tensor, or a tuple, list or dict of such, nested as you like, all of one length; the
    function takes one entry in that structure and gives any other.  It is a scan without a carry:
    entries are computed one after the other, in the memory of one.  `vmap` computes the same for
    all at once, which is faster where there is memory for it.

    Raises ArgumentError, ShapeError or DTypeError for what is no function, for no tensors, scalars
    and lengths that differ.
    """

    def body(_: Any, x: Any) -> tuple[None, Any]:
        return None, call_function(function, "function", ["an entry of xs"], [x])

    if not flatten(xs)[0]:
        raise ArgumentError(f"goes over tensors, got {xs!r}")
    return scan(body, None, xs)[1]


def associative_scan(
    function: Callable[[Any, Any], Any], xs: Any, axis: int = 0, reverse: bool = False
) -> Any:
    """Running results of an associative `function` along `axis`: y[0] = x[0] and

        y[i] = function(y[i - 1], x[i]);  from the other end if `reverse`: function(y[i + 1], x[i])

    xs: a tensor, or a tuple, list or dict of such, nested as you like, all of one length along
    `axis`.  The function takes two entries (without that axis) in the structure of xs and gives
    one more; it must be associative, f(f(a, b), c) = f(a, f(b, c)), but need not commute: products
    of matrices, compositions of affine maps.  The results have the types of xs.

    For a length n that is a number all is computed in about 2·log2(n) rounds of many calls at once
    (Brent, Kung: A regular layout for parallel adders, 1982), so floats are rounded in another
    order than in a loop.  For a named length it is a loop.

    Raises AxisError for an axis that is not there, and ArgumentError, ShapeError or DTypeError,
    with the line in the function, where it gives another structure or other types than it takes.
    """
    given, build = flatten(xs)
    paths = paths_of("xs", xs)
    if not given:
        raise ArgumentError(f"goes over tensors, got {xs!r}")
    rows: list[Tensor] = []
    for tensor, path in zip(given, paths, strict=True):
        if tensor.ndim == 0:
            raise ShapeError(f"goes along an axis, but {path} is {tensor.type}")
        rows.append(moveaxis(tensor, normalise_axis(axis, tensor.ndim), 0))
    length = rows[0].shape[0]
    for row, tensor, path in zip(rows, given, paths, strict=True):
        try:
            unify(row.shape[0], length)
        except ShapeError:
            told = f"{paths[0]} is {given[0].type} but {path} is {tensor.type}"
            raise ShapeError(f"lengths along axis {axis} differ: {told}") from None
    step = _Step(function, [TensorType(row.dtype, row.shape[1:]) for row in rows], paths, build)
    rows = [flip(row, 0) for row in rows] if reverse else rows
    found = _rounds(step, rows, length) if isinstance(length, int) else _loop(step, rows, length)
    found = [flip(row, 0) for row in found] if reverse else found
    places = [normalise_axis(axis, tensor.ndim) for tensor in given]
    return build([moveaxis(row, 0, place) for row, place in zip(found, places, strict=True)])


class _Step:
    """The function as a region: two entries, and what it reads from outside, to one entry.

    graph takes the leaves of both entries, then `captured`.
    """

    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        types: Sequence[TensorType],
        paths: Sequence[str],
        build: Callable[[Sequence[Any]], Any],
    ) -> None:
        left, right = (
            [placeholder_like(type_, f"{side}{i}") for i, type_ in enumerate(types)]
            for side in ("before", "x")
        )
        names = ["the result so far", "an entry of xs"]
        with Body("the function of the associative_scan", [*left, *right]):
            result = call_function(function, "function", names, [build(left), build(right)])
        outputs: list[Tensor] = []
        leaves = leaves_like(result, build(left), "an entry of xs", "the function")
        for leaf, wanted, path in zip(leaves, left, paths, strict=True):
            value = as_tensors([leaf, wanted])[0] if is_weak(leaf) else as_tensor(leaf)
            if value.type != wanted.type:
                kind = ShapeError if value.dtype == wanted.dtype else DTypeError
                raise kind(
                    f"the function takes {wanted.type} as an entry of {path} but gives "
                    f"{value.type}, made at {quote(value.node.loc)}"
                )
            outputs.append(value)
        self.graph, self.captured = close(outputs, [*left, *right], "combine")

    def of_entries(self, left: Sequence[Tensor], right: Sequence[Tensor]) -> list[Tensor]:
        """The function of two entries."""
        return inline(self.graph, [*left, *right, *self.captured])

    def of_rows(self, left: Sequence[Tensor], right: Sequence[Tensor], count: int) -> list[Tensor]:
        """The function of `count` pairs of entries at once."""
        flags = [True] * (2 * len(left)) + [False] * len(self.captured)
        return batch_results(self.graph, [*left, *right, *self.captured], flags, count)


def _rounds(step: _Step, rows: Sequence[Tensor], length: int) -> list[Tensor]:
    """Pairs of neighbours are combined, what is half as long then is scanned; that gives every
    second result, and the others are one more call each."""
    if length < 2:
        return [*rows]
    half, rest = length // 2, (length - 1) // 2

    def every_second(values: Sequence[Tensor], start: int, count: int) -> list[Tensor]:
        return [value[start : start + 2 * count - 1 : 2] for value in values]

    pairs = step.of_rows(every_second(rows, 0, half), every_second(rows, 1, half), half)
    odd = _rounds(step, pairs, half)  # the results at 1, 3, 5, ...
    even = [row[:1] for row in rows]
    if rest:
        before = [value[:rest] for value in odd]
        more = step.of_rows(before, every_second(rows, 2, rest), rest)
        even = [concat([first, others]) for first, others in zip(even, more, strict=True)]
    found: list[Tensor] = []
    for first, second in zip(even, odd, strict=True):
        both = reshape(stack([first[:half], second], 1), (2 * half, *first.shape[1:]))
        found.append(concat([both, first[half:]]) if length % 2 else both)
    return found


def _loop(step: _Step, rows: Sequence[Tensor], length: DimLike) -> list[Tensor]:
    """A scan whose carry is the result so far; a flag tells that there is none yet."""
    n = len(rows)
    started = placeholder_like(TensorType(bool_, ()), "started")
    types = [TensorType(row.dtype, row.shape[1:]) for row in rows]
    before = [placeholder_like(type_, f"before{i}") for i, type_ in enumerate(types)]
    entries = [placeholder_like(type_, f"x{i}") for i, type_ in enumerate(types)]
    combined = step.of_entries(before, entries)
    after = [choose(started, a, x) for a, x in zip(combined, entries, strict=True)]
    body, captured = close([constant(True), *after, *after], [started, *before, *entries], "body")
    starts = [constant(False), *(zeros(t.shape, t.dtype) for t in types)]
    return list(make_scan(body, starts, rows, captured, length, False).stacked[:n])
