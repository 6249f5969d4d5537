"""Einstein sums: any number of operands, multiplied and summed by labels of their axes.

A sum of many operands is done in pairs, in the order that takes the fewest operations; each pair
is one matrix product over groups of axes (``contract``), so that the tiles do the work and
derivatives follow by composition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..dims import DimLike
from ..errors import ArgumentError, ShapeError
from ..shapes import unify
from ..tensor import Tensor, TensorLike
from .contraction import contract, permute_to, sum_over
from .contraction_order import Label, Labels, Step, as_number, find_order
from .conversion import of_one_dtype
from .diagonal import diagonal
from .shape import squeeze

__all__ = ["einsum", "einsum_path"]


def einsum(*args: Any, optimize: bool | str = True) -> Tensor:
    """The sum that Einstein's notation says: ``einsum("ij,jk->ik", x, y)`` is x @ y.

    args: the subscripts and the operands, as numpy.einsum takes them.  One letter names an axis;
    axes of a name have one size (1 broadcasts against others), a name twice in an operand is its
    diagonal, and names that the output lacks are summed.  ``...`` stands for axes without a name,
    which broadcast.  Without ``->`` the output has the names that occur once, in order of the
    alphabet.  Or operands and lists of integers in turn, perhaps with a list for the output.
    optimize: False goes from left to right, True or "optimal" takes the order with the fewest
    operations (over 8 operands by a greedy choice), "greedy" that choice; see einsum_path.

    The dtype is the common one of the operands; integers wrap around, bool has no sums.
    """
    operands, asked = _read(args)
    _check_optimize(optimize)
    tensors = of_one_dtype(operands)
    terms, output = _axes_named(asked, tensors)
    tensors, terms, sizes = _separate(tensors, terms, output)
    left = list(zip(tensors, terms, strict=True))
    for step in find_order(terms, output, _numbers(sizes), optimize):
        (x, x_labels), (y, y_labels) = left[step.first], left[step.second]
        product, labels = contract(x, x_labels, y, y_labels, step.result)
        left = [pair for i, pair in enumerate(left) if i not in (step.first, step.second)]
        left.append((product, tuple(labels)))
    ((result, labels),) = left
    return permute_to(result, labels, output)


def einsum_path(*args: Any, optimize: bool | str = True) -> tuple[list[tuple[int, int]], str]:
    """The order in which einsum contracts: the places of each pair in the list of operands (the
    product goes to its end), and a text with the subscripts and operations of each.

    Takes what einsum takes; a named size counts as 32.
    """
    operands, asked = _read(args)
    _check_optimize(optimize)
    tensors = of_one_dtype(operands)
    terms, output = _axes_named(asked, tensors)
    _, terms, sizes = _separate(tensors, terms, output)
    steps = find_order(terms, output, _numbers(sizes), optimize)
    total = sum(step.flops for step in steps)
    lines = [f"{_shown(terms)}->{_word(output)}: {total:,} operations", *map(_line, steps)]
    return [(step.first, step.second) for step in steps], "\n".join(lines)


def _line(step: Step) -> str:
    pair = f"({step.first}, {step.second})"
    return f"  {pair} {_shown(step.operands)}->{_word(step.result)}: {step.flops:,}"


def _shown(terms: Sequence[Labels]) -> str:
    return ",".join(map(_word, terms))


def _word(labels: Labels) -> str:
    return "".join(label if isinstance(label, str) else f"[{label}]" for label in labels)


# --- what is asked --------------------------------------------------------------------------------

_DOTS = "..."  # as one label: the axes without a name


@dataclass(frozen=True, slots=True)
class _Asked:
    """The labels of each operand and of the output (None: to be worked out), with `_DOTS`."""

    terms: list[list[Label]]
    output: list[Label] | None


def _read(args: Sequence[Any]) -> tuple[list[TensorLike], _Asked]:
    """Operands and labels from either form of the arguments."""
    if len(args) < 2:
        raise ArgumentError("needs subscripts and at least one operand")
    if not isinstance(args[0], str):
        return _read_lists(args)
    text = args[0].replace(" ", "")
    inputs, arrow, output = text.partition("->")
    terms = [_read_term(term, text) for term in inputs.split(",")]
    operands = list(args[1:])
    if len(terms) != len(operands):
        raise ArgumentError(f"{text!r} names {len(terms)} operands, got {len(operands)}")
    return operands, _Asked(terms, _read_term(output, text) if arrow else None)


def _read_term(term: str, text: str) -> list[Label]:
    before, dots, after = term.partition(_DOTS)
    for letter in before + after:
        if not (letter.isascii() and letter.isalpha()):
            raise ArgumentError(f"{letter!r} in {text!r} is no label: they are letters")
    return [*before, *([_DOTS] if dots else []), *after]


def _read_lists(args: Sequence[Any]) -> tuple[list[TensorLike], _Asked]:
    pairs = len(args) // 2
    terms = [_read_list(args[2 * i + 1]) for i in range(pairs)]
    output = _read_list(args[-1]) if len(args) % 2 else None
    return [args[2 * i] for i in range(pairs)], _Asked(terms, output)


def _read_list(given: Any) -> list[Label]:
    """Integers as labels.  They must not be negative: such labels are ours, for axes without a
    name."""
    found: list[Label] = []
    if isinstance(given, (list, tuple)):
        for item in cast(Sequence[Any], given):
            if item is Ellipsis:
                found.append(_DOTS)
            elif hasattr(item, "__index__") and not isinstance(item, (bool, Tensor)) and item >= 0:
                found.append(int(item))
            else:
                raise ArgumentError(f"{item!r} is no label: they are integers from 0 on, and ...")
        if found.count(_DOTS) < 2:
            return found
    raise ArgumentError(f"labels are a list of integers with at most one ..., got {given!r}")


def _check_optimize(optimize: bool | str) -> None:
    if not isinstance(optimize, bool) and optimize not in ("optimal", "greedy"):
        raise ArgumentError(f"optimize is True, False, 'optimal' or 'greedy', got {optimize!r}")


# --- with the operands ----------------------------------------------------------------------------


def _axes_named(asked: _Asked, tensors: Sequence[Tensor]) -> tuple[list[Labels], Labels]:
    """A label for each axis; those without a name are −1, −2, … from the last of them."""
    terms: list[Labels] = []
    most = 0
    for number, (term, tensor) in enumerate(zip(asked.terms, tensors, strict=True)):
        unnamed = tensor.ndim - len([label for label in term if label != _DOTS])
        if unnamed < 0 or (unnamed and _DOTS not in term):
            raise ShapeError(
                f"operand {number} is {tensor.type} but {_word(tuple(term))!r} names "
                f"{tensor.ndim - unnamed} axes"
            )
        most = max(most, unnamed)
        terms.append(_without_dots(term, unnamed))
    every = [label for term in terms for label in term]
    if asked.output is None:
        once = [label for label in every if every.count(label) == 1 and not _is_unnamed(label)]
        return terms, (*range(-most, 0), *sorted(once, key=lambda label: (str(type(label)), label)))
    output = _without_dots(asked.output, most)
    for label in output:
        if output.count(label) > 1:
            raise ArgumentError(f"the output has label {label} twice")
        if label not in every:
            raise ArgumentError(f"the output has label {label}, which no operand has")
    if most and _DOTS not in asked.output:
        raise ArgumentError(f"the output needs ... for {most} axes without a name")
    return terms, output


def _without_dots(term: Sequence[Label], count: int) -> Labels:
    if _DOTS not in term:
        return tuple(term)
    place = term.index(_DOTS)
    return (*term[:place], *range(-count, 0), *term[place + 1 :])


def _is_unnamed(label: Label) -> bool:
    return isinstance(label, int) and label < 0


def _separate(
    tensors: Sequence[Tensor], terms: Sequence[Labels], output: Labels
) -> tuple[list[Tensor], list[Labels], dict[Label, DimLike]]:
    """Operands that have each label once, at its full size, and no label that is nowhere else.

    So: diagonals of repeated labels, no axes of size 1 where others have more, and the sums that
    concern one operand alone.
    """
    pairs = [_diagonals(tensor, term) for tensor, term in zip(tensors, terms, strict=True)]
    sizes: dict[Label, DimLike] = {}
    for tensor, term in pairs:
        for label, size in zip(term, tensor.shape, strict=True):
            known = sizes.get(label, 1)
            if known == 1:
                sizes[label] = size
            elif size != 1:
                sizes[label] = unify(known, size, f"sizes of {label}")
    pairs = [_without_ones(tensor, term, sizes) for tensor, term in pairs]
    readers = Counter([*output, *(label for _, term in pairs for label in term)])
    found: list[Tensor] = []
    left: list[Labels] = []
    for tensor, term in pairs:
        alone = [axis for axis, label in enumerate(term) if readers[label] == 1]
        found.append(sum_over(tensor, alone))
        left.append([label for label in term if readers[label] > 1])
    return found, left, sizes


def _diagonals(tensor: Tensor, term: Labels) -> tuple[Tensor, Labels]:
    """Repeated labels made one axis, the last."""
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            first = term.index(label)
            second = term.index(label, first + 1)
            unify(tensor.shape[first], tensor.shape[second], f"sizes of {label} in one operand")
            tensor = diagonal(tensor, axis1=first, axis2=second)
            term = (*(x for i, x in enumerate(term) if i not in (first, second)), label)
    return tensor, term


def _without_ones(
    tensor: Tensor, term: Labels, sizes: dict[Label, DimLike]
) -> tuple[Tensor, Labels]:
    spread = [i for i, size in enumerate(tensor.shape) if size == 1 and sizes[term[i]] != 1]
    return squeeze(tensor, spread), tuple(x for i, x in enumerate(term) if i not in spread)


def _numbers(sizes: dict[Label, DimLike]) -> dict[Label, int]:
    return {label: as_number(size) for label, size in sizes.items()}
