# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""How entries of the table are written: decorators that turn a typed stub into op and function.

The stub's positional parameters are the op's operands, its keyword-only ones the attributes, its
docstring the documentation.  What it is decorated with is the rest of the entry.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from operator import index
from typing import Any, Literal, ParamSpec, TypedDict, TypeVar, Unpack, cast

import numpy as np

from .. import dtypes as dt
from ..array import Array
from ..dims import Dim, DimLike, as_dim
from ..dtypes import DType, promote
from ..errors import ArgumentError, DTypeError, SymbolicError
from ..half import converted
from ..op import TABLE, Kind, MaybeTensors, Op, Partials, View, register
from ..shapes import broadcast
from ..tensor import Node, Tensor, TensorLike, TensorType

__all__ = ["as_tensor", "constant", "dimension"]

P = ParamSpec("P")
R = TypeVar("R", bound="Tensor | tuple[Tensor, ...]")


def apply(op: Op, operands: Sequence[Tensor], **attrs: Any) -> Tensor:
    """The (first) result of `op` on `operands`."""
    return Node(op, operands, attrs).results[0]


def register_leaf(name: str, attributes: tuple[str, ...], reference: Callable[..., Any]) -> Op:
    def infer(node: Node) -> tuple[TensorType, ...]:
        if "value" in node.attrs:
            values = node.attrs["value"].values
            return (TensorType(dt.as_dtype(values.dtype), values.shape),)
        return (TensorType(node.attrs["dtype"], node.attrs.get("shape", ())),)

    return register(
        Op(
            name=name,
            kind="leaf",
            infer=infer,
            reference=reference,
            attributes=attributes,
            no_gradient="it has no operands",
        )
    )


def _no_reference(**_: Any) -> Any:
    raise ArgumentError("an input or parameter is given, not computed")


INPUT = register_leaf("input", ("name", "dtype", "shape"), _no_reference)
PARAMETER = register_leaf("parameter", ("name", "dtype", "shape"), _no_reference)
CONSTANT = register_leaf("constant", ("value",), lambda value: value)
DIMENSION = register_leaf(
    "dimension", ("size", "dtype"), lambda size, dtype: converted(np.asarray(size), dtype)
)


def constant(value: Any, dtype: dt.DTypeLike | None = None) -> Tensor:
    """A constant tensor.

    value: numbers, nested lists or an array; a Python float is float32 and an int int64 unless
    `dtype` says otherwise, arrays keep their dtype.  The data is copied.
    """
    if isinstance(value, Tensor):
        return value
    return apply(CONSTANT, (), value=Array(as_array(value, dtype)))


def as_array(value: Any, dtype: dt.DTypeLike | None = None) -> np.ndarray[Any, Any]:
    """Numbers as an array of a dtype that there is, in the machine's byte order."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # nested lists of unequal lengths
        raise ArgumentError(f"{_shortened(value)} is no array: {error}") from None
    except SymbolicError:
        what = f"a {type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else value
        raise DTypeError(
            f"one tensor is needed, got {what}; gl.stack(...) makes one of several; gl.scan(...) "
            "gives a pair, (carry, ys)"
        ) from None
    if array.dtype.kind not in "biufc" and array.dtype.name not in dt.BY_NAME:
        raise DTypeError(f"{_shortened(value)} is no tensor, number or array of numbers")
    if dtype is None and array.dtype == np.float64:
        strong = isinstance(value, (np.ndarray, np.generic))
        dtype = "float64" if strong else "float32"
    return converted(array, dt.as_dtype(array.dtype if dtype is None else dtype))


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


def dimension(size: DimLike | str, dtype: dt.DTypeLike = "int64") -> Tensor:
    """A size as a scalar tensor."""
    size = as_dim(size)
    if isinstance(size, int):
        return constant(size, dtype)
    return apply(DIMENSION, (), size=size, dtype=dt.as_dtype(dtype))


def as_integer(value: Any, what: str, least: int | None = None) -> int:
    """An integer that a caller gave, of Python or NumPy; ArgumentError about `what` for others."""
    number = None
    if not isinstance(value, (bool, Dim, Tensor)):
        with suppress(TypeError):
            number = index(value)
    if number is None:
        raise ArgumentError(f"{what} must be an integer, got {value!r}")
    if least is not None and number < least:
        raise ArgumentError(f"{what} is at least {least}, got {number}")
    return number


def is_weak(value: object) -> bool:
    """Whether `value` is a Python number or a size, which takes the dtype of what it meets."""
    return isinstance(value, (bool, int, float, Dim)) and not isinstance(value, np.generic)


def _fits(value: object, dtype: DType) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, int) and dtype.is_integer:
        return dtype.lowest <= value <= dtype.highest
    if isinstance(value, (int, Dim)):
        return dtype.kind != "b"
    return dtype.is_float


def as_tensors(values: Sequence[TensorLike]) -> list[Tensor]:
    """Tensors from anything; Python scalars and sizes are weak: they take the others' dtype.

    A Python float beside integer tensors does not fit and raises DTypeError, as in the standard;
    nor does an integer that their dtype cannot hold.
    """
    strong = [v if isinstance(v, Tensor) else constant(v) for v in values if not is_weak(v)]
    numbers = [t.dtype for t in strong if t.dtype.kind != "b"] or [t.dtype for t in strong]
    common: DType | None = None
    if numbers and any(is_weak(v) for v in values):
        common = numbers[0]
        for dtype in numbers[1:]:
            common = promote(common, dtype)
    result: list[Tensor] = []
    remaining = iter(strong)
    for value in values:
        if not is_weak(value):
            result.append(next(remaining))
            continue
        if common is not None and not _fits(value, common):
            raise DTypeError(
                f"the Python scalar {value!r} does not fit {common}; cast with .astype"
            )
        dtype = dt.bool_ if isinstance(value, bool) and common is None else common
        if isinstance(value, Dim):
            result.append(dimension(value, dtype or "int64"))
        else:
            result.append(constant(value, dtype))
    return result


def as_tensor(value: TensorLike) -> Tensor:
    """One tensor from anything."""
    return as_tensors([value])[0]


# --- element-wise -----------------------------------------------------------------------------

_KINDS = {
    "any": "biuf",
    "numeric": "iuf",
    "floating": "f",
    "signed": "i",
    "integer": "iu",
    "bitwise": "biu",
    "compare": "iuf",
    "equal": "biuf",
    "test": "f",
    "where": "biuf",
    "cast": "biuf",
}

_WANTED = {
    "numeric": "a number",
    "compare": "a number",
    "bitwise": "an integer or bool",
    "floating": "a float",
    "test": "a float",
    "signed": "a signed integer",
    "integer": "an integer",
}


def _common(rule: str, dtypes: Sequence[DType]) -> DType:
    values = dtypes[1:] if rule == "where" else dtypes
    common = values[0]
    for dtype in values[1:]:
        common = promote(common, dtype)
    if common.kind not in _KINDS[rule]:
        raise DTypeError(f"needs {_WANTED.get(rule, rule)} dtype, got {common}")
    if rule == "where" and dtypes[0].kind != "b":
        raise DTypeError(f"the condition must be bool, got {dtypes[0]}")
    return common


def _infer_elementwise(node: Node) -> tuple[TensorType, ...]:
    rule = node.op.dtypes
    dtypes = [operand.dtype for operand in node.operands]
    common = _common(rule, dtypes)
    values = dtypes[1:] if rule == "where" else dtypes
    if any(dtype != common for dtype in values):
        raise DTypeError(f"operands must have one dtype, got {', '.join(map(str, dtypes))}")
    result = common
    if rule in ("compare", "equal", "test"):
        result = dt.bool_
    elif rule == "cast":
        result = node.attrs["dtype"]
    return (TensorType(result, broadcast([operand.shape for operand in node.operands])),)


def call_elementwise(op: Op, values: Sequence[TensorLike], **attrs: Any) -> Tensor:
    """`op` on anything: scalars become constants, dtypes are promoted by casts."""
    rule = op.dtypes
    if rule == "where":
        condition = as_tensor(values[0])
        operands = [condition, *as_tensors(values[1:])]
    else:
        operands = as_tensors(values)
    try:
        common = _common(rule, [operand.dtype for operand in operands])
    except DTypeError:
        return apply(op, operands, **attrs)  # fails again, with operands and lines
    first = 1 if rule == "where" else 0
    cast_op = TABLE["cast"] if "cast" in TABLE else op
    operands[first:] = [
        operand if operand.dtype == common else apply(cast_op, [operand], dtype=common)
        for operand in operands[first:]
    ]
    return apply(op, operands, **attrs)


def elementwise(
    code: str,
    reference: Callable[..., Any],
    partials: Partials | None = None,
    *,
    dtypes: str = "numeric",
    singular: bool = False,
    saturates: bool = False,
    no_gradient: str = "",
    check: str = "",
    commutative: bool = False,
    flops: int = 1,
    derivatives_at: tuple[float, float] = (-2.0, 2.0),
    integers: Callable[[Tensor], Tensor] | None = None,
) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Make a stub an element-wise op: see Op for the fields.

    integers: what the function of one operand gives for integers, where the op is of floats.
    """

    def decorate(stub: Callable[P, Tensor]) -> Callable[P, Tensor]:
        operands, attributes = _signature(stub)
        op = register(
            Op(
                name=stub.__name__.rstrip("_"),
                kind="elementwise",
                infer=_infer_elementwise,
                reference=reference,
                doc=inspect.getdoc(stub) or "",
                operands=operands,
                attributes=attributes,
                dtypes=dtypes,
                code=code,
                partials=partials,
                singular=singular,
                saturates=saturates,
                no_gradient=no_gradient,
                check=check,
                commutative=commutative,
                flops=flops,
                derivatives_at=derivatives_at,
            )
        )

        @wraps(stub)
        def function(*args: Any, **attrs: Any) -> Tensor:
            if len(args) != len(operands) or attrs.keys() != set(attributes):
                raise TypeError(
                    f"{op.name}() takes {', '.join((*operands, *attributes))}; got "
                    f"{', '.join([f'{len(args)} operands', *attrs])}"
                )
            if integers is not None:
                operand = as_tensor(args[0])
                if operand.dtype.is_integer:
                    return integers(operand)
            return call_elementwise(op, args, **attrs)

        return cast(Callable[P, Tensor], function)

    return decorate


# --- everything else --------------------------------------------------------------------------


class Entry(TypedDict, total=False):
    """The fields of Op that a decorator may be given; see there."""

    groups: tuple[str, ...]
    partials: Partials
    saturates: bool
    linear: tuple[int, ...]
    transpose: Callable[[Node, Tensor, int], Tensor]
    vjp: Callable[[Node, MaybeTensors], MaybeTensors]
    jvp: Callable[[Node, MaybeTensors], MaybeTensors]
    no_gradient: str
    batch: Callable[[Node, Sequence[Tensor], Sequence[bool]], Sequence[Tensor]]
    code: str
    combine: str
    identity: Literal["zero", "one", "lowest", "highest"]
    view: Callable[[Node, View], View | None]
    expand: Callable[[Node], Sequence[Tensor]]
    flops: int
    work: Callable[[Node], DimLike]
    samples: Any
    prepare: Callable[..., Sequence[Any]]


def primitive(
    *, kind: Kind, infer: Callable[..., Any], reference: Callable[..., Any], **entry: Unpack[Entry]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a stub an op of any kind.

    `infer` gets the operands' types and the attributes; the other fields are Op's.  The function
    takes Tensors (a starred parameter takes any number) and keyword attributes as they are:
    public wrappers normalise what users write.  Where `infer` gives a tuple of types, the function
    gives as many Tensors.
    """

    def decorate(stub: Callable[P, R]) -> Callable[P, R]:
        operands, attributes = _signature(stub)

        def infer_node(node: Node) -> tuple[TensorType, ...]:
            result = infer(*[operand.type for operand in node.operands], **node.attrs)
            return (result,) if isinstance(result, TensorType) else tuple(result)

        op = register(
            Op(
                name=stub.__name__.rstrip("_"),
                kind=kind,
                infer=infer_node,
                reference=reference,
                doc=inspect.getdoc(stub) or "",
                operands=operands,
                attributes=attributes,
                **entry,
            )
        )
        split = len(op.groups) > 1

        @wraps(stub)
        def function(*args: Tensor, **attrs: Any) -> Tensor | tuple[Tensor, ...]:
            plain = len(operands) - 1
            groups = (plain, len(args) - plain) if split else (len(args),)
            ordered = {key: attrs[key] for key in attributes}
            results = Node(op, args, ordered, groups).results
            return results[0] if len(results) == 1 else results

        return cast(Callable[P, R], function)

    return decorate


def _signature(stub: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    parameters = inspect.signature(stub).parameters.values()
    operands = tuple(
        "*" * (p.kind is p.VAR_POSITIONAL) + p.name
        for p in parameters
        if p.kind is not p.KEYWORD_ONLY
    )
    return operands, tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
