# pyright: basic
"""Elements of buffers, and vectors of them, as types of Numba."""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.extending import models, register_model

from .conversion import HALVES, convert, register_type
from .lanes import Lanes, integer_type


class Half(types.Type):
    """An element of a buffer of halves: no number of Numba's, but its 16 bits."""

    def __init__(self, dtype: str) -> None:
        super().__init__(name=dtype)


@register_model(Half)
class HalfModel(models.PrimitiveModel):
    """A half is stored as an integer."""

    def __init__(self, manager: Any, type_: Half) -> None:
        super().__init__(manager, type_, integer_type(16))


SCALARS: dict[str, Any] = {
    "bool": types.boolean,
    "i8": types.int8,
    "i16": types.int16,
    "i32": types.int32,
    "i64": types.int64,
    "u8": types.uint8,
    "u16": types.uint16,
    "u32": types.uint32,
    "u64": types.uint64,
    "f32": types.float32,
    "f64": types.float64,
    **{dtype: Half(dtype) for dtype in HALVES},
}
DTYPE_OF_SCALAR = {scalar: dtype for dtype, scalar in SCALARS.items()}


class Vector(types.Type):
    """So many lanes of one dtype; of bools one bit each."""

    def __init__(self, dtype: str, lanes: int) -> None:
        super().__init__(name=f"{dtype}x{lanes}")
        self.dtype = dtype
        self.lanes = lanes

    @property
    def key(self) -> Any:
        return self.dtype, self.lanes


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """A vector is one LLVM value."""

    def __init__(self, manager: Any, type_: Vector) -> None:
        lane = register_type(type_.dtype)
        super().__init__(manager, type_, ir.VectorType(lane, type_.lanes))


vector = functools.cache(Vector)


def splat_scalar(builder: Any, source: Any, target: Vector, value: Any) -> Any:
    """A scalar of Python in every lane, converted first."""
    dtype = DTYPE_OF_SCALAR[source]
    return convert(Lanes(builder, value), dtype, target.dtype).splat(target.lanes).value
