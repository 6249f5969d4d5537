# pyright: standard
"""Eager arrays over compiled graphs: each call of a function is a graph that is built, compiled
and run, so that suites written for array libraries can judge gradloom.

A call's arrays become placeholders, everything else in it (axes, shapes, scalars, indices) is
static.  Sizes other than 1 become named sizes, the same name for the same size, so one compile
serves all shapes of one pattern; where the function refuses (it needs a number, or relates sizes
that have unrelated names), the call is built once more with the sizes as numbers.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import lru_cache, wraps
from typing import Any

import numpy as np

import gradloom as gl
from gradloom.ir.dtypes import DType, as_dtype

NumpyArray = np.ndarray[Any, Any]
CPU = "cpu"


class MissingError(NotImplementedError):
    """Asked for what a static graph cannot have."""


# --- the structure of a call ----------------------------------------------------------------------


def arrays_in(value: Any) -> Iterator[Array]:
    """The arrays in nested arguments, from left to right."""
    if isinstance(value, Array):
        yield value
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from arrays_in(entry)
    elif isinstance(value, dict):
        for entry in value.values():
            yield from arrays_in(entry)


def replaced(value: Any, tensors: Iterator[gl.Tensor]) -> Any:
    """The same nested arguments with the next of `tensors` in place of each array."""
    if isinstance(value, Array):
        return next(tensors)
    if isinstance(value, (list, tuple)):
        return type(value)(replaced(entry, tensors) for entry in value)
    if isinstance(value, dict):
        return {name: replaced(entry, tensors) for name, entry in value.items()}
    return value


def frozen(value: Any) -> Hashable:
    """Equal for arguments that make equal graphs, but for the arrays' sizes."""
    if isinstance(value, Array):
        return ("array", value.dtype)
    if isinstance(value, (list, tuple)):
        return (type(value), *map(frozen, value))
    if isinstance(value, dict):
        return tuple((name, frozen(entry)) for name, entry in value.items())
    if isinstance(value, slice):
        return (slice, frozen(value.start), frozen(value.stop), frozen(value.step))
    return (type(value), repr(value) if isinstance(value, float) else value)  # nan, -0.0


def named_shapes(arrays: Sequence[Array]) -> list[tuple[int | str, ...]]:
    """Shapes with a name for each size but 1."""
    names: dict[int, str] = {}
    return [
        tuple(1 if n == 1 else names.setdefault(n, f"n{len(names)}") for n in array.shape)
        for array in arrays
    ]


# --- calls ----------------------------------------------------------------------------------------


class Compiled:
    """A function at given types: what the call returns beside tensors, and the program."""

    def __init__(
        self, function: Callable[..., Any], arguments: Any, shapes: Sequence[tuple[int | str, ...]]
    ) -> None:
        inputs = [
            gl.placeholder(shape, array.dtype, name=f"x{i}")
            for i, (array, shape) in enumerate(zip(arrays_in(arguments), shapes, strict=True))
        ]
        args, kwargs = replaced(arguments, iter(inputs))
        self.result = function(*args, **kwargs)
        outputs = list(_tensors_in(self.result))
        self.program = gl.function(inputs, outputs) if outputs else None

    def __call__(self, arrays: Sequence[NumpyArray]) -> Any:
        found = self.program(*arrays) if self.program is not None else []
        return _filled(self.result, iter(found))


def _tensors_in(value: Any) -> Iterator[gl.Tensor]:
    if isinstance(value, gl.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _tensors_in(entry)


def _filled(value: Any, found: Iterator[NumpyArray]) -> Any:
    if isinstance(value, gl.Tensor):
        return Array(next(found))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_filled(entry, found) for entry in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(entry, found) for entry in value)
    return value


_compile = lru_cache(maxsize=4096)(
    lambda call, shapes: Compiled(call.function, call.arguments, shapes)
)
_refused: set[Hashable] = set()


class Call:
    """A function with its arguments; equal where the graphs would be, but for sizes."""

    def __init__(self, function: Callable[..., Any], arguments: Any) -> None:
        self.function, self.arguments = function, arguments
        self.key = (function, frozen(arguments))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and self.key == other.key


def evaluate(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`function`, which builds graph, on arrays: built, compiled, run."""
    call = Call(function, (args, kwargs))
    arrays = list(arrays_in(call.arguments))
    values = [array.values for array in arrays]
    named = tuple(named_shapes(arrays))
    if any(map(any, named)) and (call, named) not in _refused:
        try:
            return _compile(call, named)(values)
        except gl.GradloomError:
            _refused.add((call, named))
    return _compile(call, tuple(array.shape for array in arrays))(values)


def eager(function: Callable[..., Any], *keywords: str) -> Callable[..., Any]:
    """A function of gradloom on arrays.

    keywords: those of the standard that concern where and when memory is made (``device``,
    ``copy``), which a graph has no use for; a value other than the default is an error.
    """
    signature = inspect.signature(function)
    extra = [name for name in keywords if name not in signature.parameters]

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name in extra:
            if name in kwargs and kwargs.pop(name) not in (None, CPU, True, False):
                raise ValueError(f"{name}= must be None")
        return evaluate(function, *args, **kwargs)

    parameters = list(signature.parameters.values())
    last = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
    added = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None) for n in extra]
    plain = [p for p in parameters if p not in last]
    call.__signature__ = signature.replace(parameters=[*plain, *added, *last])  # pyright: ignore
    return call


# --- arrays ---------------------------------------------------------------------------------------


def _static_index(index: Any) -> Any:
    """The index as graphs take it: arrays of ints stay, bools are what a static graph has not."""
    if isinstance(index, tuple):
        return tuple(map(_static_index, index))
    if isinstance(index, slice):  # its bounds shape the result
        bounds = (index.start, index.stop, index.step)
        return slice(*(int(b) if isinstance(b, Array) else b for b in bounds))
    if isinstance(index, Array) and index.dtype.kind == "b":
        raise MissingError("a boolean mask makes a shape from data")
    return index


def _getitem(x: gl.Tensor, index: Any) -> gl.Tensor:
    return x[index]


def _setitem(x: gl.Tensor, index: Any, value: Any) -> gl.Tensor:
    return x.at[index].set(value)  # pyright: ignore


def _masked(x: gl.Tensor, mask: gl.Tensor, value: Any) -> gl.Tensor:
    return gl.where(mask, gl.full_like(x, value), x)


def _binary(function: Callable[[Any, Any], Any]) -> tuple[Any, Any, Any]:
    """The operator, its reflection, and in place, on Tensors as users write it."""

    def forward(self: Array, other: Any, /) -> Any:
        if not isinstance(other, (Array, bool, int, float)):
            return NotImplemented
        return evaluate(function, self, other)

    def reflected(self: Array, other: Any, /) -> Any:
        if not isinstance(other, (Array, bool, int, float)):
            return NotImplemented
        return evaluate(function, other, self)

    def in_place(self: Array, other: Any, /) -> Any:
        result = evaluate(function, self, other)
        if result.shape != self.shape or result.dtype != self.dtype:
            raise TypeError(f"an array of {self.dtype!r}{list(self.shape)} cannot hold the result")
        self.values = result.values
        return self

    return forward, reflected, in_place


def _unary(function: Callable[[Any], Any]) -> Any:
    def method(self: Array, /) -> Any:
        return evaluate(function, self)

    return method


class Array:
    """An array of the standard, over NumPy's memory."""

    def __init__(self, values: Any) -> None:
        self.values: NumpyArray = np.asarray(values)

    @property
    def dtype(self) -> DType:
        return as_dtype(self.values.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def ndim(self) -> int:
        return self.values.ndim

    @property
    def size(self) -> int:
        return self.values.size

    @property
    def device(self) -> str:
        return CPU

    @property
    def T(self) -> Array:  # noqa: N802
        return evaluate(operator.attrgetter("T"), self)

    @property
    def mT(self) -> Array:  # noqa: N802
        return evaluate(operator.attrgetter("mT"), self)

    def to_device(self, device: str, /, *, stream: None = None) -> Array:
        if device != CPU or stream is not None:
            raise ValueError("there is one device, 'cpu', without streams")
        return self

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        from . import API_VERSION, namespace

        if api_version not in (None, API_VERSION):
            raise ValueError(f"this is version {API_VERSION} of the standard")
        return namespace()

    def __getitem__(self, index: Any, /) -> Array:
        return evaluate(_getitem, self, _static_index(index))

    def __setitem__(self, index: Any, value: Any, /) -> None:
        masked = isinstance(index, Array) and index.dtype.kind == "b"
        if masked and getattr(value, "ndim", 0) == 0:  # one value: no shape comes from data
            self.values = evaluate(_masked, self, index, value).values
        else:
            self.values = evaluate(_setitem, self, _static_index(index), value).values

    def __dlpack__(
        self,
        *,
        stream: None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        return self.values.__dlpack__(
            stream=stream, max_version=max_version, dl_device=dl_device, copy=copy
        )

    def __dlpack_device__(self) -> tuple[Any, int]:
        return self.values.__dlpack_device__()

    def __bool__(self) -> bool:
        return bool(self._one())

    def __int__(self) -> int:
        return int(self._one())

    def __float__(self) -> float:
        return float(self._one())

    def __complex__(self) -> complex:
        return complex(self._one())

    def __index__(self) -> int:
        return operator.index(self._one())

    def _one(self) -> Any:
        if self.ndim:
            raise TypeError(f"an array of shape {self.shape} is no number")
        return self.values[()]

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("an array without axes has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Array]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Array({self.values!r})"

    __hash__ = None  # type: ignore[assignment]
    __neg__, __pos__ = _unary(operator.neg), _unary(operator.pos)
    __abs__, __invert__ = _unary(operator.abs), _unary(operator.invert)
    __add__, __radd__, __iadd__ = _binary(operator.add)
    __sub__, __rsub__, __isub__ = _binary(operator.sub)
    __mul__, __rmul__, __imul__ = _binary(operator.mul)
    __truediv__, __rtruediv__, __itruediv__ = _binary(operator.truediv)
    __floordiv__, __rfloordiv__, __ifloordiv__ = _binary(operator.floordiv)
    __mod__, __rmod__, __imod__ = _binary(operator.mod)
    __pow__, __rpow__, __ipow__ = _binary(operator.pow)
    __matmul__, __rmatmul__, __imatmul__ = _binary(operator.matmul)
    __and__, __rand__, __iand__ = _binary(operator.and_)
    __or__, __ror__, __ior__ = _binary(operator.or_)
    __xor__, __rxor__, __ixor__ = _binary(operator.xor)
    __lshift__, __rlshift__, __ilshift__ = _binary(operator.lshift)
    __rshift__, __rrshift__, __irshift__ = _binary(operator.rshift)
    __eq__, __ne__ = _binary(operator.eq)[0], _binary(operator.ne)[0]  # type: ignore[assignment]
    __lt__, __le__ = _binary(operator.lt)[0], _binary(operator.le)[0]
    __gt__, __ge__ = _binary(operator.gt)[0], _binary(operator.ge)[0]
