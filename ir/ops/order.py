# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""Sorted order.  nan counts as the largest number, as in sorted arrays of NumPy, max and argmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..errors import ShapeError
from ..shapes import normalise_axis
from ..tensor import Node, Tensor, TensorLike, TensorType
from .build import as_tensor, primitive
from .gather import gather

__all__ = ["argsort", "sort"]


def _infer(x: TensorType, *, axis: int, descending: bool) -> TensorType:
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"axis {axis} is not one of {x.ndim} axes")
    return TensorType(dt.int64, x.shape)


def _argsort(x: Any, axis: int, descending: bool) -> Any:
    if not descending:
        return np.argsort(x, axis, kind="stable")
    backwards = np.argsort(np.flip(x, axis), axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(backwards, axis)  # so that equal entries keep their order


def _batch(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> list[Tensor]:
    attrs = node.attrs
    return [argsort_(*operands, axis=attrs["axis"] + 1, descending=attrs["descending"])]


@primitive(
    kind="host",
    infer=_infer,
    reference=_argsort,
    no_gradient="its result is no float",
    batch=_batch,
    samples=(
        (((7,),), {"axis": 0, "descending": False}),
        (((3, 40),), {"axis": 1, "descending": True}),
        (((4, 3, 2),), {"axis": 0, "descending": False}),
        (((1, 1),), {"axis": 1, "descending": True}),
        (((0, 2),), {"axis": 0, "descending": False}),
    ),
)
def argsort_(x: Tensor, *, axis: int, descending: bool) -> Tensor:
    """The places of the entries along `axis` in sorted order; equal ones stay in order."""
    ...


def argsort(x: TensorLike, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """int64 places of the entries of `x` along `axis` in sorted order.

    Equal entries stay in order, also where `descending`; `stable` is there for the standard's
    sake and changes nothing.  nan counts as the largest.  Computed by NumPy on the host.
    """
    tensor = as_tensor(x)
    place = normalise_axis(axis, tensor.ndim)
    return argsort_(tensor, axis=place, descending=bool(descending))


def sort(x: TensorLike, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """`x` in order along `axis`: ascending with nan last, or `descending` with nan first.

    The derivative of a sorted entry goes to where it came from; among equal ones the order stays.
    """
    tensor = as_tensor(x)
    place = normalise_axis(axis, tensor.ndim)
    return gather(tensor, argsort(tensor, place, descending, stable), axes=(place,))
