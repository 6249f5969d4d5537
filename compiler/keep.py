"""What a kernel that walks over its rows several times need not compute twice.

A softmax adds up exponentials in one walk over a row and divides them in the next.  Until then they
can stand where the results will, if nobody reads there meanwhile: a load instead of an exponential.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..ir.kernel import Access, Compute, Contract, Instruction, Kernel, Load, Reduce, Running, Store
from ..ir.op import TABLE

FEWEST = 8  # operations worth a store and a load


@dataclass(frozen=True)
class Kept:
    """A value that the walk of `stage` stores at `access`, and later ones load from there."""

    value: str
    access: Access
    stage: int


def kept_value(kernel: Kernel) -> Kept | None:
    """The value whose keeping saves the last walk most, if that is enough."""
    if kernel.chunk or any(map(_is_special, kernel.body)):
        return None
    stage, full = kernel.stages(), kernel.full()
    last = max([0, *stage.values()])
    folded = {
        item.operand
        for item in kernel.body
        if isinstance(item, Reduce) and stage[item.result] == last
    }
    stores = [item for item in kernel.body if isinstance(item, Store)]
    final = {store.operand for store in stores if full[store.operand]}
    if any(stage[value] != last for value in final):
        return None
    before, after = _needed(kernel, folded), _needed(kernel, final)
    best, most = None, FEWEST - 1
    for store in stores:
        if not _is_free(kernel, store):
            continue
        dtype = next(a.dtype for a in kernel.arguments if a.name == store.access.argument)
        for item in kernel.body:
            if not isinstance(item, Compute) or item.dtype != dtype:
                continue
            if item.result not in before or item.result not in after:
                continue
            rest = _needed(kernel, final, item.result)
            saved = _work(kernel, after) - _work(kernel, rest)
            if saved > most and not _may_be_written(kernel, store, rest):
                best, most = Kept(item.result, store.access, last - 1), saved
    return best


def _is_special(item: Instruction) -> bool:
    """What goes in an order of its own, or may fail."""
    match item:
        case Store(combine=combine, access=access):
            return combine != "" or access.terms != ()
        case Compute(check=check):
            return check != 0
        case _:
            return isinstance(item, (Running, Contract))


def _needed(kernel: Kernel, roots: Collection[str], known: str = "") -> set[str]:
    """What a walk has to make at each index for `roots`, where `known` is there already."""
    full, needed = kernel.full(), set(roots)
    for item in reversed(kernel.body):
        if isinstance(item, Compute) and item.result in needed and item.result != known:
            needed |= set(item.operands)
        elif isinstance(item, Load) and item.result in needed:
            needed |= {term.value for term in item.access.terms}
    return {name for name in needed if full[name] and name != known}


def _work(kernel: Kernel, values: Collection[str]) -> int:
    """Operations."""
    computed = [i for i in kernel.body if isinstance(i, Compute) and i.result in values]
    return sum(TABLE[item.op].flops for item in computed)


def _is_free(kernel: Kernel, store: Store) -> bool:
    """Whether there is a place for each index, which this store alone writes, and nobody reads."""
    name = store.access.argument
    moves = all(
        axis.extent == 1 or stride != 0
        for axis, stride in zip(kernel.axes, store.access.strides, strict=True)
    )
    read = any(isinstance(i, Load) and i.access.argument == name for i in kernel.body)
    return moves and not read and len(kernel.stores(name)) == 1


def _may_be_written(kernel: Kernel, store: Store, values: Collection[str]) -> bool:
    """Whether one of the loads after the keeping may be of the same memory as the store."""
    full = kernel.full()
    return any(
        kernel.may_overwrite(store.access.argument, [item.access.argument])
        for item in kernel.body
        if isinstance(item, Load) and (item.result in values or not full[item.result])
    )
