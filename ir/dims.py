"""Dimensions: integers, or exact polynomials over named symbols.

A symbolic dimension is kept in normal form: a sum of integer multiples of monomials over *atoms*.
An atom is a symbol (``B``), or a floor division, minimum or maximum that no rule reduces.  Two
dimensions are the same size for every binding of the symbols exactly where they are equal here,
up to what the atoms hide.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, wraps
from numbers import Integral
from typing import Union

from .dtypes import BY_SHORT
from .errors import ArgumentError, ParseError, ShapeError


@dataclass(frozen=True, slots=True)
class Call:
    """An atom: ``floordiv``, ``min`` or ``max`` of two dimensions."""

    function: str
    left: DimLike
    right: DimLike

    def __str__(self) -> str:
        return f"{self.function}({self.left},{self.right})"


Atom = str | Call
Monomial = tuple[Atom, ...]  # sorted by text, repeated for powers
_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*$")
_RESERVED = {*BY_SHORT, "true", "false", "none", "nan", "inf", "min", "max", "floordiv", "param"}


def _of_sizes(method: Callable[[Dim, DimLike], DimLike]) -> Callable[[Dim, DimLike], DimLike]:
    """Arithmetic that leaves what is no size to the other operand: a tensor, say."""

    @wraps(method)
    def arithmetic(self: Dim, other: DimLike) -> DimLike:
        return method(self, other) if isinstance(other, (Dim, Integral)) else NotImplemented

    return arithmetic


class Dim:
    """A dimension that holds at least one symbol; constants are plain ints."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        def text(item: tuple[Monomial, int]) -> tuple[int, list[str]]:
            return -len(item[0]), [str(atom) for atom in item[0]]

        items = terms.items()
        self.terms = tuple(sorted(items, key=text) if len(items) > 1 else items)
        self._hash = hash(self.terms)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    @_of_sizes
    def __add__(self, other: DimLike) -> DimLike:
        terms = dict(self.terms)
        for monomial, factor in _terms(other).items():
            terms[monomial] = terms.get(monomial, 0) + factor
        return _normal(terms)

    @_of_sizes
    def __mul__(self, other: DimLike) -> DimLike:
        if isinstance(other, int):
            return self if other == 1 else _normal({atoms: n * other for atoms, n in self.terms})
        terms: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other).items():
                monomial = tuple(sorted(left + right, key=str))
                terms[monomial] = terms.get(monomial, 0) + a * b
        return _normal(terms)

    def __neg__(self) -> DimLike:
        return self * -1

    @_of_sizes
    def __sub__(self, other: DimLike) -> DimLike:
        return self + -other

    @_of_sizes
    def __rsub__(self, other: DimLike) -> DimLike:
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__

    @_of_sizes
    def __floordiv__(self, other: DimLike) -> DimLike:
        return floordiv(self, other)

    @_of_sizes
    def __rfloordiv__(self, other: DimLike) -> DimLike:
        return floordiv(other, self)

    def __bool__(self) -> bool:
        raise ShapeError(f"the size {self} is not known before the call, so it has no truth value")

    def __index__(self) -> int:
        raise ShapeError(f"the size {self} is not known before the call, so it is no integer")

    def __str__(self) -> str:
        text = ""
        for monomial, factor in self.terms:
            sign = "-" if factor < 0 else "+" if text else ""
            parts = [str(atom) for atom in monomial]
            if abs(factor) != 1 or not parts:
                parts.insert(0, str(abs(factor)))
            text += sign + "*".join(parts)
        return text

    __repr__ = __str__


DimLike = Union[int, Dim]  # noqa: UP007  (a forward reference inside Call)
Shape = tuple[DimLike, ...]


def _terms(value: DimLike) -> dict[Monomial, int]:
    return dict(value.terms) if isinstance(value, Dim) else {(): int(value)}


def _normal(terms: Mapping[Monomial, int]) -> DimLike:
    kept = {monomial: factor for monomial, factor in terms.items() if factor}
    if not kept:
        return 0
    return kept[()] if kept.keys() == {()} else Dim(kept)


def symbol(name: str) -> Dim:
    """The named dimension `name`, an identifier that is no keyword of the text form."""
    if not _NAME.match(name) or name in _RESERVED:
        why = "is reserved" if name in _RESERVED else "is no identifier"
        raise ArgumentError(f"{name!r} is no name for a dimension: it {why}")
    return Dim({(name,): 1})


def as_dim(value: DimLike | str) -> DimLike:
    """An int ≥ 0, a Dim, or the name of one."""
    if isinstance(value, Dim):
        return value
    if not isinstance(value, str) and not hasattr(value, "__index__"):
        raise ArgumentError(f"a size is an integer or the name of a dimension, got {value!r}")
    size = parse_dim(value) if isinstance(value, str) else value.__index__()
    if isinstance(size, int) and size < 0:
        raise ShapeError(f"a size must not be negative, got {size}")
    return size


def floordiv(left: DimLike, right: DimLike) -> DimLike:
    """``left // right``, divided out where that is exact for every binding."""
    if right == 0:
        raise ArgumentError(f"the size {left} // 0 does not exist")
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    if right == 1 or left == 0:
        return left
    if left == right:
        return 1
    divisor = _terms(right)
    if len(divisor) == 1:
        ((atoms, factor),) = divisor.items()
        quotient: dict[Monomial, int] = {}
        for monomial, value in _terms(left).items():
            rest = list(monomial)
            if value % factor or any(rest.count(a) < atoms.count(a) for a in atoms):
                break
            for atom in atoms:
                rest.remove(atom)
            quotient[tuple(rest)] = value // factor
        else:
            return _normal(quotient)
    return Dim({(Call("floordiv", left, right),): 1})


def ceildiv(left: DimLike, right: DimLike) -> DimLike:
    return floordiv(left + right - 1, right)


def minimum(left: DimLike, right: DimLike) -> DimLike:
    """The smaller dimension, decided now where it is the same one for all sizes."""
    gap = left - right
    if never_negative(-gap):
        return left
    if never_negative(gap):
        return right
    return Dim({(Call("min", left, right),): 1})


def maximum(left: DimLike, right: DimLike) -> DimLike:
    """The larger dimension, decided now where it is the same one for all sizes."""
    gap = left - right
    if never_negative(gap):
        return left
    if never_negative(-gap):
        return right
    return Dim({(Call("max", left, right),): 1})


@lru_cache(maxsize=4096)
def never_negative(value: DimLike) -> bool:
    """Whether `value` is 0 or more whatever sizes its symbols stand for; False where unknown.

    A sum with minima and maxima in it is looked at with either side in the place of one: both sums
    must hold where the lesser side counts, one of them where it is the greater.
    """
    if isinstance(value, int):
        return value >= 0
    choices = [
        ((atom.function == "max") == (factor > 0), atom, factor)
        for monomial, factor in value.terms
        if len(monomial) == 1
        and isinstance(atom := monomial[0], Call)
        and atom.function != "floordiv"
    ]
    if not choices:
        return all(n > 0 and all(map(_is_natural, monomial)) for monomial, n in value.terms)
    one_is_enough, atom, factor = min(choices, key=lambda choice: choice[0])  # exact ones first
    rest = value - Dim({(atom,): factor})
    sums = (never_negative(rest + side * factor) for side in (atom.left, atom.right))
    return any(sums) if one_is_enough else all(sums)


def _is_natural(atom: Atom) -> bool:
    if isinstance(atom, str):
        return True
    if atom.function == "floordiv":
        return never_negative(atom.left) and never_negative(atom.right)
    return never_negative(Dim({(atom,): 1}))


def product(dims: Iterable[DimLike]) -> DimLike:
    result: DimLike = 1
    for dim in dims:
        result = result * dim
    return result


def symbols(value: DimLike) -> set[str]:
    """The names that `value` depends on."""
    found: set[str] = set()
    for monomial in _terms(value):
        for atom in monomial:
            if isinstance(atom, str):
                found.add(atom)
            else:
                found |= symbols(atom.left) | symbols(atom.right)
    return found


def relates_symbols(difference: DimLike) -> bool:
    """Whether ``difference == 0`` says more than that one symbol is a certain number.

    Factors of all its terms are no matter: ``B*C - 2*C`` is 0 where B is 2.  What a division, a
    minimum or a maximum hides may hold for many sizes, such as ``B//2*2 - B``.
    """
    monomials = list(_terms(difference))
    atoms = {atom for monomial in monomials for atom in monomial}
    if any(isinstance(atom, Call) for atom in atoms):
        return True
    powers = {atom: {monomial.count(atom) for monomial in monomials} for atom in atoms}
    return sum(len(found) > 1 for found in powers.values()) > 1


_FUNCTIONS: dict[str, Callable[[int, int], int]] = {
    "floordiv": lambda a, b: a // b,
    "min": min,
    "max": max,
}


def evaluate(value: DimLike, binding: Mapping[str, int]) -> int:
    """The integer that `value` is under `binding` of its symbols."""
    if isinstance(value, int):
        return value
    total = 0
    for monomial, factor in value.terms:
        for atom in monomial:
            if isinstance(atom, str):
                factor *= binding[atom]
            else:
                left, right = evaluate(atom.left, binding), evaluate(atom.right, binding)
                factor *= _FUNCTIONS[atom.function](left, right)
        total += factor
    return total


def substitute(value: DimLike, binding: Mapping[str, DimLike]) -> DimLike:
    """`value` with some symbols replaced by dimensions."""
    if isinstance(value, int):
        return value
    total: DimLike = 0
    for monomial, factor in value.terms:
        term: DimLike = factor
        for atom in monomial:
            if isinstance(atom, str):
                term = term * binding.get(atom, symbol(atom))
            else:
                left, right = substitute(atom.left, binding), substitute(atom.right, binding)
                make = {"floordiv": floordiv, "min": minimum, "max": maximum}[atom.function]
                term = term * make(left, right)
        total = total + term
    return total


def solve(value: DimLike, size: int, binding: dict[str, int]) -> bool:
    """Bind the one unknown symbol of ``value == size`` if `value` is linear in it.

    Returns whether `value` is `size` under the (perhaps extended) binding; raises nothing.
    A value with more unknowns is left alone and counts as not solved.
    """
    unknown = symbols(value) - binding.keys()
    if not unknown:
        return evaluate(value, binding) == size
    if len(unknown) > 1:
        return False
    (name,) = unknown
    atoms = {atom for monomial in _terms(value) for atom in monomial}
    if any(isinstance(atom, Call) and name in symbols(Dim({(atom,): 1})) for atom in atoms):
        return False  # a minimum, say, tells little about what is inside
    at_zero, at_one, at_two = (evaluate(value, {**binding, name: n}) for n in (0, 1, 2))
    slope = at_one - at_zero
    if slope == 0 or at_two - at_one != slope:
        return False
    found, rest = divmod(size - at_zero, slope)
    if rest or found < 0 or evaluate(value, {**binding, name: found}) != size:
        return False
    binding[name] = found
    return True


def parse_dims(text: str) -> Shape:
    """Dimensions between commas; those inside parentheses belong to a dimension."""
    parts: list[str] = [""]
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(parse_dim(part) for part in parts) if text.strip() else ()


@lru_cache(maxsize=4096)
def parse_dim(text: str) -> DimLike:
    """The dimension that `text` spells, such as ``2*B+1`` or ``max(floordiv(B,2),1)``."""
    try:
        return _from_ast(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, KeyError, TypeError):
        raise ParseError(f"{text!r} is no dimension") from None


def _from_ast(node: ast.expr) -> DimLike:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            return symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_from_ast(operand)
        case ast.BinOp(left=left, op=operator, right=right):
            a, b = _from_ast(left), _from_ast(right)
            match operator:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv():
                    return floordiv(a, b)
                case _:
                    raise TypeError
        case ast.Call(func=ast.Name(id=name), args=[left, right]):
            make = {"floordiv": floordiv, "min": minimum, "max": maximum}[name]
            return make(_from_ast(left), _from_ast(right))
        case _:
            raise TypeError
