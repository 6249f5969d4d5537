# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (structures of tensors)
"""What loops mean: gradloom's own, and the graph that each is equal to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradloom as gl
from gradloom.ir.ops.control import flatten
from gradloom.ir.tensor import Tensor


class Looped:
    """gradloom's own."""

    @staticmethod
    def cond(flag: Tensor, then: Any, otherwise: Any, *operands: Any) -> Any:
        return gl.cond(flag, then, otherwise, *operands)

    @staticmethod
    def switch(index: Tensor, branches: Any, *operands: Any) -> Any:
        return gl.switch(index, branches, *operands)

    @staticmethod
    def map(function: Any, xs: Any) -> Any:
        return gl.map(function, xs)

    @staticmethod
    def vmap(function: Any, xs: Any) -> Any:
        return gl.vmap(function)(xs)

    @staticmethod
    def checkpoint(function: Any) -> Any:
        return gl.checkpoint(function)

    @staticmethod
    def join(function: Any, xs: Any, reverse: bool) -> Any:
        return gl.associative_scan(function, xs, reverse=reverse)

    @staticmethod
    def scan(body: Any, init: Any, xs: Any, length: int, reverse: bool = False, **more: Any) -> Any:
        return gl.scan(body, init, xs, length, reverse, **more)

    @staticmethod
    def repeat(goes_on: Any, step: Any, init: Any, bound: int) -> Any:
        return gl.while_loop(goes_on, step, init, bound=bound)


class Unrolled:
    """What loops mean, as graphs without any: each step written out, what is not done masked."""

    @staticmethod
    def scan(
        body: Any,
        init: Any,
        xs: Any,
        length: int,
        reverse: bool = False,
        until: Any = None,
        lengths: Tensor | None = None,
        checkpoint: Any = None,
    ) -> tuple[Any, Any]:
        sequences, entry = flatten(xs)
        carry, active = init, None
        rows: dict[int, Any] = {}
        for t in range(length)[::-1] if reverse else range(length):
            if until is not None:
                goes_on = ~until(carry)
                active = goes_on if active is None else active & goes_on
            given = entry([x[t] for x in sequences])
            keep = active
            if lengths is not None:  # samples that are done get 0
                keep = lengths > t if active is None else active & (lengths > t)
                given = _chosen(lengths > t, given, None)
            after, rows[t] = body(carry, given)
            carry, rows[t] = _chosen(keep, after, carry), _chosen(keep, rows[t], None)
        if not length:  # as many rows, of what the body would give
            rows[0] = body(carry, entry([gl.zeros(x.shape[1:], x.dtype) for x in sequences]))[1]
        leaves = [flatten(rows[t]) for t in sorted(rows)]
        stacked = [
            gl.stack(list(column))[:length] for column in zip(*(x for x, _ in leaves), strict=True)
        ]
        return carry, leaves[0][1](stacked)

    @staticmethod
    def repeat(goes_on: Any, step: Any, init: Any, bound: int) -> Any:
        last, _ = Unrolled.scan(
            lambda state, _: (step(state), None), init, None, bound, until=lambda s: ~goes_on(s)
        )
        return last

    @staticmethod
    def cond(flag: Tensor, then: Any, otherwise: Any, *operands: Any) -> Any:
        return _chosen(flag, then(*operands), otherwise(*operands))

    @staticmethod
    def switch(index: Tensor, branches: Sequence[Any], *operands: Any) -> Any:
        found = branches[-1](*operands)
        for i in range(len(branches) - 1)[::-1]:
            found = _chosen(index <= i, branches[i](*operands), found)
        return found

    @staticmethod
    def map(function: Any, xs: Any) -> Any:
        length: Any = flatten(xs)[0][0].shape[0]
        return Unrolled.scan(lambda carry, x: (carry, function(x)), (), xs, length)[1]

    @staticmethod
    def vmap(function: Any, xs: Any) -> Any:
        return Unrolled.map(function, xs)

    @staticmethod
    def checkpoint(function: Any) -> Any:
        return function

    @staticmethod
    def join(function: Any, xs: Any, reverse: bool) -> Any:
        leaves, tree = flatten(xs)
        length: Any = leaves[0].shape[0]
        if not length:
            return xs
        rows = [tree([leaf[t] for leaf in leaves]) for t in range(length)]
        rows = rows[::-1] if reverse else rows
        for t in range(1, length):
            rows[t] = function(rows[t - 1], rows[t])
        rows = rows[::-1] if reverse else rows
        return tree([gl.stack(list(column)) for column in zip(*map(leaves_of, rows), strict=True)])


def _chosen(keep: Tensor | None, new: Any, old: Any) -> Any:
    """`new` where `keep` holds, which is one bool or one a sample; else `old`, or 0."""
    if keep is None:
        return new
    leaves, tree = flatten(new)
    others = [gl.zeros_like(leaf) for leaf in leaves] if old is None else leaves_of(old)
    chosen: list[Tensor] = []
    for one, other in zip(leaves, others, strict=True):
        mask = gl.reshape(keep, (*keep.shape, *[1] * (one.ndim - keep.ndim)))
        chosen.append(gl.where(mask, one, other))
    return tree(chosen)


def leaves_of(tree: Any) -> list[Tensor]:
    """The tensors of a structure."""
    return flatten(tree)[0]
