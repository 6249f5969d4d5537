"""Values of a graph: typed symbolic tensors, and the immutable nodes that make them.

A Node applies an op to operands; its results are Tensors.  Python operators and NumPy functions
on Tensors build more nodes.  Equality of Tensors is a graph operation (``x == y``), so Tensors
are told apart by identity, and hash by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from .dims import DimLike, Shape, product
from .dtypes import DType, DTypeLike
from .errors import ArgumentError, DTypeError, GradientError, ShapeError, SymbolicError
from .explain import (
    NO_ASSIGNMENT,
    NO_ITERATION,
    NO_LENGTH,
    NO_MEMBERS,
    NO_TRUTH,
    explain,
    no_number,
)
from .loc import Loc, current_loc, quote
from .numpy_functions import call_numpy
from .op import Op

if TYPE_CHECKING:
    from .graph import Graph
    from .ops.updating import At

TensorLike = Any  # a Tensor, Python scalar, Dim, NumPy array or nested list of numbers


class TensorType(NamedTuple):
    """A dtype and a shape of ints and Dims, printed as ``f32[B,64]``."""

    dtype: DType
    shape: Shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> DimLike:
        return product(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


_numbers = count()


def next_number() -> int:
    """A number larger than those of all nodes so far, smaller than those of all to come."""
    return next(_numbers)


class Node:
    """An op applied to operands.  Immutable; `loc` takes no part in equality of graphs.

    number: nodes made later have larger ones, by which a branch knows what was built in it.
    """

    __slots__ = (
        *("__weakref__", "attrs", "groups", "loc", "number", "op", "operands", "regions"),
        "results",
    )

    def __init__(
        self,
        op: Op,
        operands: Sequence[Tensor],
        attrs: Mapping[str, Any],
        groups: tuple[int, ...] | None = None,
        regions: tuple[Graph, ...] = (),
        loc: Loc | None = None,
    ) -> None:
        self.op = op
        self.operands = tuple(operands)
        self.attrs = attrs
        self.groups: tuple[int, ...] = (len(self.operands),) if groups is None else groups
        self.regions = regions
        self.loc = current_loc() if loc is None else loc
        self.number = next_number()
        self.results: tuple[Tensor, ...] = ()
        try:
            types = op.infer(self)
        except (ShapeError, DTypeError, ArgumentError, GradientError) as error:
            raise explain(error, op.name, self.operands, self.loc) from None
        self.results = tuple(Tensor(self, i, type_) for i, type_ in enumerate(types))

    def group(self, position: int) -> tuple[Tensor, ...]:
        """The operands of the group at `position`."""
        start = sum(self.groups[:position])
        return self.operands[start : start + self.groups[position]]

    def remake(self, operands: Sequence[Tensor]) -> Node:
        """The same application to other operands; itself where they are the same."""
        if all(a is b for a, b in zip(operands, self.operands, strict=True)):
            return self
        return Node(self.op, operands, self.attrs, self.groups, self.regions, self.loc)

    def __reduce__(self) -> Any:
        raise TypeError("a node is what it is by identity: send str(graph), and parse it again")

    def __repr__(self) -> str:
        types = ", ".join(str(result.type) for result in self.results)
        return f"<{self.op.name} : {types}>"


_ops_module: ModuleType | None = None


def _ops() -> Any:
    """The public functions; imported late, because they are made of Tensors."""
    global _ops_module
    if _ops_module is None:
        from . import ops

        _ops_module = ops
    return _ops_module


class Tensor:
    """A symbolic array: result number `index` of `node`."""

    __slots__ = ("__weakref__", "index", "node", "type")

    __array_priority__ = 1000

    def __init__(self, node: Node, index: int, type_: TensorType) -> None:
        self.node = node
        self.index = index
        self.type = type_

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def size(self) -> DimLike:
        return self.type.size

    @property
    def T(self) -> Tensor:  # noqa: N802
        """The transpose of a matrix."""
        if self.ndim != 2:
            error = ShapeError("is for matrices; use matrix_transpose or permute_dims")
            raise explain(error, ".T", [self], current_loc())
        return _ops().permute_dims(self, (1, 0))

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """The last two axes exchanged."""
        return _ops().matrix_transpose(self)

    def astype(self, dtype: DTypeLike) -> Tensor:
        return _ops().astype(self, dtype)

    def reshape(self, *shape: Any) -> Tensor:
        return _ops().reshape(self, shape[0] if len(shape) == 1 else shape)

    def flatten(self) -> Tensor:
        return _ops().reshape(self, (-1,))

    def squeeze(self, axis: Any) -> Tensor:
        return _ops().squeeze(self, axis)

    def transpose(self, *axes: Any) -> Tensor:
        order = axes[0] if len(axes) == 1 and not hasattr(axes[0], "__index__") else axes
        return _ops().transpose(self, order or None)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return _ops().sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return _ops().mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return _ops().max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return _ops().min(self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return _ops().prod(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return _ops().var(self, axis=axis, keepdims=keepdims)

    def std(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return _ops().std(self, axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return _ops().any(self, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return _ops().all(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return _ops().argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return _ops().argmin(self, axis=axis, keepdims=keepdims)

    def clip(self, min: TensorLike = None, max: TensorLike = None) -> Tensor:
        return _ops().clip(self, min, max)

    @property
    def at(self) -> At:
        """``x.at[index].set(values)``, and add, max, min: x with other entries there."""
        from .ops.updating import At

        return At(self)

    def eval(self, feeds: Mapping[Any, Any] | None = None) -> Any:
        """The value under `feeds` (name or tensor to array), by the reference interpreter."""
        from .interpret import evaluate_tensor

        return evaluate_tensor(self, {} if feeds is None else feeds)

    def __getitem__(self, index: Any) -> Tensor:
        return _ops().getitem(self, index)

    def __add__(self, other: TensorLike) -> Tensor:
        return _ops().add(self, other)

    def __radd__(self, other: TensorLike) -> Tensor:
        return _ops().add(other, self)

    def __sub__(self, other: TensorLike) -> Tensor:
        return _ops().subtract(self, other)

    def __rsub__(self, other: TensorLike) -> Tensor:
        return _ops().subtract(other, self)

    def __mul__(self, other: TensorLike) -> Tensor:
        return _ops().multiply(self, other)

    def __rmul__(self, other: TensorLike) -> Tensor:
        return _ops().multiply(other, self)

    def __truediv__(self, other: TensorLike) -> Tensor:
        return _ops().divide(self, other)

    def __rtruediv__(self, other: TensorLike) -> Tensor:
        return _ops().divide(other, self)

    def __floordiv__(self, other: TensorLike) -> Tensor:
        return _ops().floor_divide(self, other)

    def __rfloordiv__(self, other: TensorLike) -> Tensor:
        return _ops().floor_divide(other, self)

    def __mod__(self, other: TensorLike) -> Tensor:
        return _ops().remainder(self, other)

    def __rmod__(self, other: TensorLike) -> Tensor:
        return _ops().remainder(other, self)

    def __pow__(self, other: TensorLike) -> Tensor:
        return _ops().pow(self, other)

    def __rpow__(self, other: TensorLike) -> Tensor:
        return _ops().pow(other, self)

    def __matmul__(self, other: TensorLike) -> Tensor:
        return _ops().matmul(self, other)

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return _ops().matmul(other, self)

    def __neg__(self) -> Tensor:
        return _ops().negative(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return _ops().abs(self)

    def __invert__(self) -> Tensor:
        return _ops().bitwise_invert(self)

    def __and__(self, other: TensorLike) -> Tensor:
        return _ops().bitwise_and(self, other)

    def __rand__(self, other: TensorLike) -> Tensor:
        return _ops().bitwise_and(other, self)

    def __or__(self, other: TensorLike) -> Tensor:
        return _ops().bitwise_or(self, other)

    def __ror__(self, other: TensorLike) -> Tensor:
        return _ops().bitwise_or(other, self)

    def __xor__(self, other: TensorLike) -> Tensor:
        return _ops().bitwise_xor(self, other)

    def __rxor__(self, other: TensorLike) -> Tensor:
        return _ops().bitwise_xor(other, self)

    def __lshift__(self, other: TensorLike) -> Tensor:
        return _ops().bitwise_left_shift(self, other)

    def __rlshift__(self, other: TensorLike) -> Tensor:
        return _ops().bitwise_left_shift(other, self)

    def __rshift__(self, other: TensorLike) -> Tensor:
        return _ops().bitwise_right_shift(self, other)

    def __rrshift__(self, other: TensorLike) -> Tensor:
        return _ops().bitwise_right_shift(other, self)

    def __lt__(self, other: TensorLike) -> Tensor:
        return _ops().less(self, other)

    def __le__(self, other: TensorLike) -> Tensor:
        return _ops().less_equal(self, other)

    def __gt__(self, other: TensorLike) -> Tensor:
        return _ops().greater(self, other)

    def __ge__(self, other: TensorLike) -> Tensor:
        return _ops().greater_equal(self, other)

    def __eq__(self, other: TensorLike) -> Tensor:  # type: ignore[override]
        return _ops().equal(self, other)

    def __ne__(self, other: TensorLike) -> Tensor:  # type: ignore[override]
        return _ops().not_equal(self, other)

    __hash__ = object.__hash__

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        function = getattr(_ops(), ufunc.__name__, None)
        if function is None or method != "__call__" or kwargs:
            name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
            name += f" with {', '.join(kwargs)}=" if kwargs else ""
            raise self._symbolic(f"np.{name} has no symbolic form")
        return function(*inputs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        try:
            return call_numpy(func, args, kwargs, _ops())
        except SymbolicError as error:
            raise self._symbolic(str(error)) from None

    def _symbolic(self, why: str) -> SymbolicError:
        made, here = quote(self.node.loc), quote(current_loc())
        return SymbolicError(f"{why}: {self!r} is symbolic, made at {made}\n  at {here}")

    def _no_number(self, *_: Any, **__: Any) -> Any:
        raise self._symbolic(no_number())

    __array__ = __float__ = __int__ = __index__ = __complex__ = _no_number

    def __bool__(self) -> bool:
        raise self._symbolic(NO_TRUTH)

    def __len__(self) -> int:
        raise self._symbolic(NO_LENGTH)

    def __iter__(self) -> Any:
        raise self._symbolic(NO_ITERATION)

    def __contains__(self, _: object) -> bool:
        raise self._symbolic(NO_MEMBERS)

    def __setitem__(self, *_: object) -> None:
        raise self._symbolic(NO_ASSIGNMENT)

    def __reduce__(self) -> Any:
        raise TypeError("a tensor is what it is by identity: send str(graph), and parse it again")

    def __repr__(self) -> str:
        name = self.node.attrs.get("name")
        return f"<{self.node.op.name}{f' {name}' if name else ''}: {self.type}>"
