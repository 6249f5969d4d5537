# pyright: standard
"""What a Kernel means, in NumPy: the standard that both code generators are held to.

Every value is an array over the index space, with size 1 along reduced axes where the kernel
computes it once per index of the parallel axes; an op is its reference of the op table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradloom.ir.dims import Dim, evaluate
from gradloom.ir.dtypes import DType
from gradloom.ir.kernel import (
    Access,
    Compute,
    Constant,
    Contract,
    Index,
    Kernel,
    Load,
    Reduce,
    Running,
    Size,
    Store,
)
from gradloom.ir.launch import varies
from gradloom.ir.op import TABLE
from gradloom.ir.ops.philox import philox  # the table is filled by importing the ops
from gradloom.ir.units import panel_columns

Array = np.ndarray[Any, Any]


def interpret_kernel(
    kernel: Kernel, arrays: Mapping[str, Array], parameters: Mapping[str, int]
) -> None:
    """Run `kernel` on flat arrays by argument name; outputs are written in place.

    A failed check raises what the op's reference raises.
    """
    with np.errstate(all="ignore"):
        if not kernel.chunk:
            _Run(kernel, arrays, parameters).run()
            return
        extent = _Run(kernel, arrays, parameters).extents[0]
        for piece, first in enumerate(range(0, extent, kernel.chunk)):
            run = _Run(kernel, arrays, parameters, piece)
            run.starts[0], run.extents[0] = first, min(kernel.chunk, extent - first)
            run.run()


class _Run:
    def __init__(
        self,
        kernel: Kernel,
        arrays: Mapping[str, Array],
        parameters: Mapping[str, int],
        piece: int = 0,
    ) -> None:
        self.kernel, self.arrays, self.parameters, self.piece = kernel, arrays, parameters, piece
        self.extents = [self.size(axis.extent) for axis in kernel.axes]
        self.starts = [0] * len(self.extents)
        self.reduced = tuple(n for n, axis in enumerate(kernel.axes) if axis.role == "reduce")
        self.full = kernel.full()
        self.values: dict[str, Array] = {}

    def size(self, size: Any) -> Any:
        if isinstance(size, Dim):  # as the parser reads a parameter among attributes
            return evaluate(size, self.parameters)
        return self.parameters.get(size, size) if isinstance(size, str) else size

    def space(self, full: bool) -> tuple[int, ...]:
        return tuple(
            1 if not full and n in self.reduced else size for n, size in enumerate(self.extents)
        )

    def axis_index(self, axis: int, full: bool) -> Array:
        """The index along `axis`, broadcast over the space."""
        shape = [1] * len(self.extents)
        count = self.space(full)[axis]
        shape[axis] = count
        index = np.arange(self.starts[axis], self.starts[axis] + count).reshape(shape)
        return np.broadcast_to(index, self.space(full))

    def affine(self, strides: tuple[Size, ...], offset: Size, full: bool) -> Array:
        total = np.full(self.space(full), self.size(offset), np.int64)
        for axis, stride in enumerate(strides):
            if stride != 0:
                total = total + self.axis_index(axis, full) * self.size(stride)
        return total

    def address(self, access: Access, full: bool) -> Array:
        total = self.affine(access.strides, access.offset, full)
        for term in access.terms:
            value = np.broadcast_to(self.values[term.value], self.space(full)).astype(np.int64)
            inside = np.clip(value, 0, max(self.size(term.extent) - 1, 0))
            total = total + inside * self.size(term.stride)
        return total

    def is_empty(self, access: Access) -> bool:
        """Whether a computed index has nothing to choose from: reads give 0, stores do nothing."""
        return any(self.size(term.extent) < 1 for term in access.terms)

    def run(self) -> None:
        stores: list[Store] = []
        for item in self.kernel.body:
            if isinstance(item, Store):
                stores.append(item)
                continue
            value = self.value(item)
            self.values[item.result] = np.broadcast_to(value, self.space(self.full[item.result]))
        for store in stores:
            self.store(store)

    def value(self, item: Any) -> Any:
        match item:
            case Load(result, access, dtype):
                buffer = self.arrays[access.argument]
                assert buffer.dtype == dtype.numpy
                if self.is_empty(access):
                    return np.zeros((), dtype.numpy)
                return buffer[self.checked(self.address(access, self.full[result]), buffer)]
            case Index(result, strides, offset):
                return self.affine(strides, offset, self.full[result])
            case Constant(_, value, dtype):
                return np.asarray(self.size(value), dtype.numpy)
            case Compute():
                return self.compute(item)
            case Reduce(_, combine, operand, dtype, identity):
                values = np.broadcast_to(self.values[operand], self.space(True))
                return _reduce(values.astype(dtype.numpy), combine, self.reduced, identity, dtype)
            case Running():
                return self.running(item)
            case Contract():
                return self.contract(item)
            case _:
                raise AssertionError(item)

    def compute(self, item: Compute) -> Any:
        op, operands = TABLE[item.op], [self.values[name] for name in item.operands]
        attrs = {name: self.size(value) for name, value in item.attrs}
        if op.name == "iota":
            return operands[0]
        if op.name == "random_bits":
            counter, key0, key1 = operands
            return philox(counter, key0, key1, attrs["stream"], attrs["word"])
        result = np.asarray(op.reference(*operands, **attrs))
        assert result.dtype == item.dtype.numpy, (item, result.dtype)
        return result

    def running(self, item: Running) -> Array:
        """One index of the reduced axis after the other."""
        (axis,) = self.reduced
        space = self.space(True)
        operands = [np.broadcast_to(self.values[name], space) for name in item.operands]
        state = np.full(self.space(False), _identity(item.identity, item.dtype), item.dtype.numpy)
        result = np.empty(space, item.dtype.numpy)
        for index in range(space[axis]):
            here = tuple(
                slice(index, index + 1) if n == axis else slice(None) for n in range(len(space))
            )
            state = TABLE[item.combine].reference(state, *(operand[here] for operand in operands))
            result[here] = state
        return result

    def contract(self, item: Contract) -> Array:
        """Sums in float64 (integers in their own dtype, which wraps around), from `initial` on."""
        *batch, _, _ = self.extents
        depth = self.size(item.depth)
        lhs = self.left(item, (*batch, self.extents[-2], depth))
        rhs = self.right(item, (*batch, depth, self.extents[-1]))
        if item.dtype.is_float:
            lhs, rhs = lhs.astype(np.float64), rhs.astype(np.float64)
        total = np.zeros((*lhs.shape[:-1], rhs.shape[-1]), rhs.dtype)
        for some, steps in self.taken(item, lhs.shape[-2], depth):
            total[..., some, :] = np.matmul(lhs[..., some, :][..., steps], rhs[..., steps, :])
        if item.initial is not None:
            total = total + self.operand(item.initial, tuple(self.extents))
        result = total.astype(item.dtype.numpy)
        stored = [i.access.argument for i in self.kernel.body if isinstance(i, Store)]
        if item.scratch is not None and item.scratch.argument not in stored:
            buffer = self.arrays[item.scratch.argument]
            buffer[self.places(item.scratch, result.shape, buffer)] = result
        return result

    def taken(self, item: Contract, rows: int, depth: int) -> list[tuple[slice, Array]]:
        """Groups of rows, each with the steps that it takes: by default all take all."""
        if item.walk is None or item.walk.runs is None:
            return [(slice(0, rows), np.arange(depth))]
        runs = item.walk.runs
        most, group, unit = self.size(runs.most), self.size(runs.group), self.size(runs.unit)
        table = self.arrays[runs.table].reshape(-1, 2 * most + 1)
        found: list[tuple[slice, Array]] = []
        for g in range(-(-rows // max(group, 1))):
            pairs = table[g, 1:].reshape(-1, 2) * unit
            steps = np.concatenate([np.arange(low, high) for low, high in pairs] + [np.arange(0)])
            found.append((slice(g * group, min((g + 1) * group, rows)), steps.astype(np.int64)))
        return found

    def left(self, item: Contract, shape: tuple[int, ...]) -> Array:
        """The left side: by its strides, or by the tables of its walk."""
        if item.walk is None or 0 in shape:
            return self.operand(item.lhs, shape)
        *_, rows, depth = shape
        period = self.size(item.walk.period)
        k = np.arange(depth)
        steps = self.arrays[item.walk.steps][k % period] + k // period * self.size(item.walk.stride)
        more = self.arrays[item.walk.rows][:rows, None] + steps
        if item.walk.runs is not None:  # what is not taken is not read
            taken = np.zeros((rows, depth), bool)
            for some, places in self.taken(item, rows, depth):
                taken[some, places] = True
            read = self.operand(item.lhs, shape, np.where(taken, more, more[taken][:1].sum()))
            return np.where(taken, read, np.zeros((), read.dtype))
        return self.operand(item.lhs, shape, more)

    def right(self, item: Contract, shape: tuple[int, ...]) -> Array:
        """The right side: by its strides, of which those of columns hold inside panels."""
        if item.panel_stride == 0:
            return self.operand(item.rhs, shape)
        width, j = panel_columns(item.dtype), np.arange(shape[-1])
        assert [self.size(stride) for stride in item.rhs.strides] == [width, 1]
        return self.operand(item.rhs, shape, j // width * (self.size(item.panel_stride) - width))

    def operand(self, access: Access, shape: tuple[int, ...], more: Any = 0) -> Array:
        buffer = self.arrays[access.argument]
        return buffer[self.places(access, shape, buffer, more)]

    def places(self, access: Access, shape: tuple[int, ...], buffer: Array, more: Any = 0) -> Array:
        address = np.full(shape, self.size(access.offset), np.int64) + more
        for stride, index in zip(access.strides, np.indices(shape), strict=True):
            address = address + index * self.size(stride)
        return self.checked(address, buffer)

    @staticmethod
    def checked(address: Array, buffer: Array) -> Array:
        if address.size and not (0 <= address.min() and address.max() < buffer.size):
            raise IndexError(f"address {address.min()} to {address.max()} of {buffer.size}")
        return address

    def store(self, store: Store) -> None:
        if self.is_empty(store.access):
            return
        full = varies(self.kernel, store, self.full)
        shape = self.space(full)
        buffer = self.arrays[store.access.argument]
        address = self.address(store.access, full)
        if not full and self.kernel.chunk:
            address = address + self.piece
        address = self.checked(address, buffer)
        value = np.broadcast_to(self.values[store.operand], shape)
        assert value.dtype == buffer.dtype, (store, value.dtype)
        if store.combine in ("", "last"):
            buffer[address] = value  # in C order, so that the last of those with one address stays
        else:
            getattr(np, store.combine).at(buffer, address, value)  # element by element


def _identity(name: str, dtype: DType) -> Any:
    if name in ("zero", "one"):
        return int(name == "one")
    if dtype.kind == "b":
        return name == "highest"
    if dtype.is_float:
        return np.inf if name == "highest" else -np.inf
    limits = np.iinfo(dtype.numpy)
    return limits.max if name == "highest" else limits.min


def _reduce(
    values: Array, combine: str, axes: tuple[int, ...], identity: str, dtype: DType
) -> Array:
    wide = (
        values.astype(np.float64) if dtype.is_float and combine in ("add", "multiply") else values
    )
    start = _identity(identity, dtype)
    function = getattr(np, combine)
    result = function.reduce(wide, axis=axes, keepdims=True, initial=start, dtype=wide.dtype)
    return np.asarray(result).astype(dtype.numpy)
