"""The functions of the user's that are traced: bodies of loops, what vmap and checkpoint take.

A body is called once, with inputs that stand for what it gets when the program runs.  They, and
what is made of them, have values inside of it alone; this keeps book of that for messages.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from .loc import Loc, current_loc, quote

if TYPE_CHECKING:
    from .tensor import Node, Tensor


class Body:
    """While entered, the body is traced.

    what: how it is called in messages.  inputs: the tensors that it alone knows.  hint: how what is
    made in it gets out.  notes: what to say about an input whose dtype does not fit.
    """

    def __init__(
        self,
        what: str,
        inputs: Iterable[Tensor] = (),
        hint: str = "return it",
        notes: Mapping[Tensor, str] | None = None,
    ) -> None:
        self.what, self.hint = what, hint
        self.loc: Loc = current_loc()
        self.end: int | None = None  # nodes with larger numbers are made outside
        for tensor in inputs:
            _owners[tensor.node] = self
        for tensor, note in (notes or {}).items():
            _notes[tensor.node] = note

    def __enter__(self) -> Body:
        _here.depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        from .tensor import next_number

        _here.depth -= 1
        self.end = next_number()


class _Here(threading.local):
    depth = 0


_here = _Here()
_owners: WeakKeyDictionary[Node, Body] = WeakKeyDictionary()  # of leaves
_notes: WeakKeyDictionary[Node, str] = WeakKeyDictionary()


def is_inside() -> bool:
    """Whether a body is being traced."""
    return _here.depth > 0


def note_of(tensor: Tensor) -> str:
    """What there is to say about the dtype of a body's input; else nothing."""
    return _notes.get(tensor.node, "")


def leaked(leaves: Iterable[Tensor]) -> Tensor | None:
    """The first of the leaves that is an input of a body which is traced no more."""
    for leaf in leaves:
        owner = _owners.get(leaf.node)
        if owner is not None and owner.end is not None:
            return leaf
    return None


def told_leak(leaf: Tensor, results: Sequence[Tensor]) -> str:
    """Why there is no value of `results`, which need the leaked `leaf`: by the tensor of the body
    that what was made outside of it reads first."""
    from .graph import topological

    owner = _owners[leaf.node]
    assert owner.end is not None
    inner = {leaf}  # made inside, of the leaf
    kept = None
    for node in topological(results):
        read = [operand for operand in node.operands if operand in inner]
        if read and node.number > owner.end:
            kept = read[0]
            break
        if read:
            inner.update(node.results)
    kept = next(result for result in results if result in inner) if kept is None else kept
    made = "" if kept is leaf else f", made at {quote(kept.node.loc)},"
    return (
        f"{kept!r}{made} belongs to {owner.what} made at {quote(owner.loc)}; it has no value "
        f"outside: {owner.hint}"
    )
